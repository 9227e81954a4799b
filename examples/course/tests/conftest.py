import os
import pathlib

import pytest

import assignment
import cores


def pytest_configure(config):
    if not os.environ.get("OSTEST_PROJECT"):
        raise pytest.UsageError("OSTEST_PROJECT is not set: it names the directory of the project to be tested")


def pytest_report_header():
    why = cores.unavailable()
    return [
        f"project: {os.environ['OSTEST_PROJECT']}, lab {assignment.lab_number()}",
        f"core files: {'none, ' + why if why else 'yes, crashes are shown with a stack'}",
    ]


def pytest_collection_modifyitems(config, items):
    """Leaves out what belongs to a later lab.

    Left out, not skipped: a skipped test is not a passed one, so a student of lab 1 could never pass as a whole.
    """
    later = [item for item in items if lab_of(item) > assignment.lab_number()]
    if later:
        items[:] = [item for item in items if item not in later]
        config.hook.pytest_deselected(items=later)


def lab_of(item):
    mark = item.get_closest_marker("lab")
    return mark.args[0] if mark else 1


@pytest.fixture(scope="session")
def project():
    return assignment.Project(pathlib.Path(os.environ["OSTEST_PROJECT"]).resolve())
