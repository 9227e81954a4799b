"""`make` and `make clean` do what the assignment says."""

import pytest

import assignment
import programs

PRODUCTS = ["bin/libtext.a", "bin/wcount"] + (["bin/kvd"] if assignment.lab_number() >= 2 else [])


def test_clean_removes_what_was_built(project):
    project.built("bin/wcount")
    made = project.make("clean").expect_end(0)
    left = [path for path in PRODUCTS if (project.directory / path).exists()]
    if left:
        made.fail(f"expected make clean to remove everything that was built, but there still is {', '.join(left)}")


@pytest.mark.dependency(name="make")
def test_make_builds_everything(project):
    made = project.make().expect_end(0)
    missing = [path for path in PRODUCTS if not (project.directory / path).is_file()]
    if missing:
        made.fail(f"expected make to build {', '.join(missing)}, but it is not there")


@pytest.mark.dependency(depends=["make"])
def test_second_make_has_nothing_to_do(project):
    asked = project.make("--question")
    if asked.status != 0:
        asked.fail("expected nothing to be left to do after make, but make would build something again: a target that is "
                   "never made under its own name, or one that is missing from .PHONY?")


@pytest.mark.dependency(depends=["make"])
def test_no_warnings(project):
    """The flags are the suite's: a Makefile without -Wall does not make the code any better."""
    for source in sorted((project.directory / "src").glob("*.c")):
        command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-fsyntax-only", f"src/{source.name}"]
        compiled = programs.run(command, cwd=project.directory, timeout=assignment.COMPILE_TIMEOUT)
        if compiled.status != 0 or compiled.output["stderr"]:
            compiled.fail("expected the compiler to have nothing to say")


def test_sanitizers_are_built_in(project):
    """An instrumented program calls __asan_init when it starts; one whose Makefile ignores SAN=1 does not."""
    program = project.built("bin-san/wcount", "SAN=1")
    looked = programs.run(["grep", "-c", "__asan_init", program], cwd=project.directory)
    if looked.status != 0:
        looked.fail("expected make SAN=1 to build bin-san/wcount with -fsanitize=address, but it calls no __asan_init")
