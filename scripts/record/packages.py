"""Makes two small Python packages for pip to install, as an index has them, and the source of one for git.

    packages.py INDEX SOURCE
"""

import io
import pathlib
import sys
import tarfile
import zipfile

index, source = map(pathlib.Path, sys.argv[1:])

SETUP = """from setuptools import Extension, setup
setup(name="lab-extension", version="1.0", ext_modules=[Extension("lab_extension", ["lab_extension.c"])])
"""
EXTENSION = """#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "lab_extension", NULL, -1, NULL, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_lab_extension(void) { return PyModule_Create(&module); }
"""
METADATA = "Metadata-Version: 2.1\nName: lab-wheel\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

source.mkdir()
(source / "setup.py").write_text(SETUP)
(source / "lab_extension.c").write_text(EXTENSION)
for name in ("lab-extension", "lab-wheel"):
    (index / name).mkdir(parents=True)
with tarfile.open(index / "lab-extension" / "lab-extension-1.0.tar.gz", "w:gz") as archive:
    for file in source.iterdir():
        archive.add(file, f"lab-extension-1.0/{file.name}")
    information = b"Metadata-Version: 1.0\nName: lab-extension\nVersion: 1.0\n"
    member = tarfile.TarInfo("lab-extension-1.0/PKG-INFO")
    member.size = len(information)
    archive.addfile(member, io.BytesIO(information))
with zipfile.ZipFile(index / "lab-wheel" / "lab_wheel-1.0-py3-none-any.whl", "w") as wheel:
    files = {"lab_wheel.py": "", "lab_wheel-1.0.dist-info/METADATA": METADATA, "lab_wheel-1.0.dist-info/WHEEL": WHEEL}
    for name, text in files.items():
        wheel.writestr(name, text)
    record = "".join(f"{name},,\n" for name in [*files, "lab_wheel-1.0.dist-info/RECORD"])
    wheel.writestr("lab_wheel-1.0.dist-info/RECORD", record)
