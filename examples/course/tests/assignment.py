"""What is to be tested: the project, and up to which lab."""

import os

import programs
from patience import PATIENCE

# Compiling takes processor time: 30 s of it where the operator says nothing.
COMPILE_TIMEOUT = 18 * PATIENCE


def lab_number():
    return int(os.environ.get("OSTEST_LAB") or 2)  # without a word: everything


class Project:
    """The student's project."""

    def __init__(self, directory):
        self.directory = directory

    def make(self, *arguments):
        return programs.run(["make", *arguments], cwd=self.directory, timeout=COMPILE_TIMEOUT)

    def built(self, path, *make_arguments):
        """A file that `make` is to build, built if need be: so every test can also be run on its own."""
        file = self.directory / path
        if not file.is_file():
            made = self.make(*make_arguments).expect_end(0)
            if not file.is_file():
                made.fail(f"expected {path} to be there after make, but it is not")
        return file
