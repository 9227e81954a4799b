//! Where the tools of the system look by themselves: a file of a name that lies there is taken instead, where it is found earlier.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Headers of C and C++.
static HEADERS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    folders(&[
        "/usr/include",
        "/usr/include/*-linux-gnu*",
        "/usr/local/include",
        "/usr/lib/gcc/*/*/include",
        "/usr/lib/gcc/*/*/include-fixed",
        "/usr/lib/llvm-*/lib/clang/*/include",
    ])
});

/// Headers of C++ that have no ending.
static CXX: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    folders(&["/usr/include/c++/*", "/usr/include/*-linux-gnu*/c++/*", "/usr/lib/llvm-*/include/c++/v1"])
});

/// Libraries, and the objects that are linked into every program.
static LIBRARIES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    folders(&["/usr/lib/*-linux-gnu*", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/gcc/*/*"])
});

/// Perl's modules.
static PERL: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    folders(&[
        "/usr/share/perl/5*",
        "/usr/share/perl5",
        "/usr/lib/*-linux-gnu*/perl/5*",
        "/usr/lib/*-linux-gnu*/perl5/5*",
        "/usr/lib/*-linux-gnu*/perl-base",
        "/usr/local/share/perl/5*",
    ])
});

/// What pkg-config and CMake look for.
static PACKAGES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    folders(&[
        "/usr/lib/*-linux-gnu*/pkgconfig",
        "/usr/lib/pkgconfig",
        "/usr/share/pkgconfig",
        "/usr/share/cmake-*/Modules",
    ])
});

/// The names of Python's own modules.
static PYTHON: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let all = folders(&[
        "/usr/lib/python3.*",
        "/usr/lib/python3.*/lib-dynload",
        "/usr/local/lib/python3.*",
        "/usr/local/lib/python3.*/lib-dynload",
    ]);
    let entries = all.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_module = name.ends_with(".py") || name.ends_with(".so") || entry.path().join("__init__.py").exists();
        is_module.then(|| name.split('.').next().unwrap_or_default().to_owned())
    });
    named.filter(|name| !name.is_empty()).collect()
});

/// A header that is included by this name.
pub fn header(name: &str) -> Option<String> {
    within(&HEADERS, name).or_else(|| within(&CXX, name))
}

/// A header of C++ that is included by this name, which has no ending.
pub fn bare_header(name: &str) -> Option<String> {
    within(&CXX, name)
}

/// A library, or an object that is linked into every program.
pub fn library(name: &str) -> Option<String> {
    within(&LIBRARIES, name)
}

/// A module of Perl's, by its path.
pub fn perl(name: &str) -> Option<String> {
    within(&PERL, name)
}

/// A description of a package.
pub fn package(name: &str) -> Option<String> {
    within(&PACKAGES, name)
}

/// Whether something there is included or loaded by a path that leads through this folder.
pub fn has_folder(name: &str) -> bool {
    let all = HEADERS.iter().chain(CXX.iter()).chain(PERL.iter());
    is_plain(name) && all.into_iter().any(|folder| folder.join(name).is_dir())
}

/// Whether Python has a module of this name.
pub fn is_python(module: &str) -> bool {
    PYTHON.contains(module)
}

fn folders(patterns: &[&str]) -> Vec<PathBuf> {
    let found = patterns.iter().flat_map(|pattern| glob::glob(pattern).into_iter().flatten().flatten());
    found.filter(|path| path.is_dir()).collect()
}

fn within(folders: &[PathBuf], name: &str) -> Option<String> {
    if !is_plain(name) {
        return None;
    }
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).map(|path| path.display().to_string())
}

/// Names come from inside, where they can be anything.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !Path::new(name).is_absolute() && name.split('/').all(|part| part != "..")
}
