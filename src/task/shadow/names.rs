//! Names that tools know by themselves.

/// Names that a tool prefers to one beside it, the one that is passed over last.
pub const PREFERRED: [&[&str]; 13] = [
    &["GNUmakefile", "makefile", "Makefile"],
    // BSD's make, and the kernel's.
    &["BSDmakefile", "makefile", "Makefile"],
    &["Kbuild", "Makefile"],
    &["CMakePresets.json", "CMakeLists.txt"],
    &["CMakeUserPresets.json", "CMakeLists.txt"],
    &["SConstruct", "Sconstruct", "sconstruct", "SConstruct.py"],
    &["rakefile", "Rakefile"],
    &["justfile", "Justfile"],
    &[".justfile", "justfile"],
    &["meson.options", "meson_options.txt"],
    &["configure.ac", "configure.in"],
    &["BUILD.bazel", "BUILD"],
    &["WORKSPACE.bazel", "WORKSPACE"],
];

/// What make's own rules make something out of, in the order in which they are looked for.
pub const SOURCES: [&str; 15] = ["c", "cc", "C", "cpp", "p", "f", "F", "m", "r", "s", "S", "mod", "sh", "cxx", "c++"];

/// Ends of names of what is included in C and C++.
const INCLUDED: [&str; 15] =
    ["h", "hh", "hpp", "hxx", "inc", "h++", "H", "def", "tcc", "tpp", "ipp", "inl", "txx", "ixx", "tbl"];

/// Ends of names of headers, of which gcc keeps precompiled ones.
const HEADERS: [&str; 7] = ["h", "hh", "hpp", "hxx", "inc", "h++", "H"];

/// Ends of names that a tool looks for in more than one place, beside headers, libraries and modules.
const SEARCHED: [&str; 19] = [
    "mk", "make", "pm", "pl", "sh", "bash", "cmake", "pc", "awk", "sed", "m4", "ld", "lds", "supp", "gdb", "lua",
    "tcl", "exp", "rb",
];

/// Ends of names of what a build takes as its input, wherever it finds it.
const INPUTS: [&str; 12] = ["c", "cc", "C", "cpp", "cxx", "c++", "s", "S", "mk", "pm", "conf", "y"];

/// Settings that a tool reads in its working directory, whoever wrote them.
pub const SETTINGS: [&str; 28] = [
    ".gdbinit",
    ".gdbearlyinit",
    ".lldbinit",
    ".valgrindrc",
    ".ltrace.conf",
    ".clang-tidy",
    "ccache.conf",
    "valgrindrc",
    ".proverc",
    ".indent.pro",
    ".splintrc",
    "site.exp",
    ".bazelrc",
    "setup_suite.bash",
    ".perltidyrc",
    ".perlcriticrc",
    ".shellcheckrc",
    ".pylintrc",
    "pylintrc",
    ".flake8",
    "mypy.ini",
    ".mypy.ini",
    ".ruff.toml",
    ".octaverc",
    ".Rprofile",
    ".irbrc",
    ".rspec",
    ".cppcheck",
];

/// What gcc looks for in the folder that `-B` names.
pub const PARTS: [&str; 7] = ["specs", "cc1", "cc1plus", "collect2", "lto-wrapper", "as", "ld"];

/// Folders in which the dynamic linker looks for a library that fits the processor better, also of older C libraries.
const FITTING: [&str; 12] = [
    "glibc-hwcaps",
    "x86-64-v2",
    "x86-64-v3",
    "x86-64-v4",
    "tls",
    "x86_64",
    "haswell",
    "xeon_phi",
    "avx512_1",
    "i686",
    "sse2",
    "aarch64",
];

/// What comes behind the last dot; of `.profile` nothing does.
pub fn end_of(name: &str) -> Option<&str> {
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, end)| end)
}

/// Whether gcc could keep it precompiled.
pub fn is_header(name: &str) -> bool {
    end_of(name).is_some_and(|end| HEADERS.contains(&end))
}

/// Whether it is a file that others include.
pub fn is_included(name: &str) -> bool {
    end_of(name).is_some_and(|end| INCLUDED.contains(&end))
}

/// Whether an object is made of it.
pub fn is_source(name: &str) -> bool {
    end_of(name).is_some_and(|end| SOURCES.contains(&end))
}

/// Whether a tool looks for such a file in more than one place.
pub fn is_searched(name: &str) -> bool {
    end_of(name).is_some_and(|end| SEARCHED.contains(&end))
}

/// Whether a build could take it for its input.
pub fn is_input(name: &str) -> bool {
    end_of(name).is_some_and(|end| INPUTS.contains(&end))
}

/// Whether it has the name of a library.
pub fn is_library(name: &str) -> bool {
    name.starts_with("lib") && (name.ends_with(".a") || name.ends_with(".so") || name.contains(".so."))
}

/// The folder without what the dynamic linker looks for first in it; `None`: nothing of that.
pub fn without_fitting(folder: &str) -> Option<&str> {
    let mut rest = folder;
    loop {
        let (above, last) = split(rest);
        if rest.is_empty() || !FITTING.contains(&last) {
            return (rest != folder).then_some(rest);
        }
        rest = above;
    }
}

/// Whether a folder has such a name.
pub fn is_fitting(folder: &str) -> bool {
    FITTING.contains(&split(folder).1)
}

/// Folder and name; the top's folder is the empty one.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path below a folder.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
