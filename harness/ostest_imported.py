"""Does something to a module as soon as it has been imported, before whoever imports it sees it. Standard library only, Python 3.9 and later."""

import sys


class Imported:
    """Stands in front of Python's finders until all modules that are waited for have come."""

    def __init__(self):
        self.waiting = {}

    def after(self, name, act):
        if name in sys.modules:
            act(sys.modules[name])
            return
        self.waiting.setdefault(name, []).append(act)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        acts = self.waiting.get(name)
        if acts is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                return self.followed(name, spec, acts)
        return None

    def followed(self, name, spec, acts):
        loader = spec.loader
        if not hasattr(loader, "exec_module"):
            return spec
        load = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            load(module)
            self.waiting.pop(name, None)
            for act in acts:
                act(module)

        loader.exec_module = exec_module
        return spec

    # What else the protocol of finders has: nothing is kept.
    def invalidate_caches(self):
        pass
