# Brings what a Python or a pytest would take for its own: settings, modules, plugins, byte code.
# stopped by: the suite is collected from a tree of its own, and nothing that a student could have written is loaded
# result: passed
for name in conftest.py sitecustomize.py usercustomize.py pytest.py _pytest.py subprocess.py os.py test_extra.py; do
    printf 'import os\nopen("%s", "w")\nos._exit(0)\n' "$MARK" >"$name"
done
printf '[pytest]\naddopts = --collect-only -p evil\n' | tee pytest.ini tox.ini setup.cfg >/dev/null
printf '[tool.pytest.ini_options]\naddopts = "--collect-only"\n' >pyproject.toml
printf 'import os; os._exit(0)\n' >evil.pth
mkdir -p __pycache__
printf 'x' >__pycache__/conftest.cpython-311.pyc
commit
