"""The files that the assignment asks for are where it asks for them."""

import pytest

LAB_1 = ["Makefile", "src/text.h", "src/text.c", "src/wcount.c"]
LAB_2 = ["src/kvd.c"]


@pytest.mark.parametrize("path", LAB_1 + [pytest.param(path, marks=pytest.mark.lab(2)) for path in LAB_2])
def test_file_is_there(project, path):
    file = project.directory / path
    if not file.is_file():
        beside = sorted(entry.name for entry in file.parent.iterdir()) if file.parent.is_dir() else "no such directory"
        pytest.fail(f"expected the file {path}; in {file.parent.name}/ there is: {beside}", pytrace=False)
