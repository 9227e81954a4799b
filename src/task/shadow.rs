//! Files that take the place of one that a suite has shipped, without touching it.
//!
//! make prefers a `GNUmakefile` to a `Makefile`, the linker a shared library to an archive, gcc a precompiled header to the header
//! itself. Whoever puts such a file beside a shipped one decides what a suite's tool does. Pure: which names take whose place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names that a tool prefers to one beside it, the one that is passed over last.
const PREFERRED: [&[&str]; 9] = [
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
];

/// What make's own rules make something out of, in the order in which they are looked for.
const SOURCES: [&str; 15] = ["c", "cc", "C", "cpp", "p", "f", "F", "m", "r", "s", "S", "mod", "sh", "cxx", "c++"];

/// Ends of names of headers.
const HEADERS: [&str; 6] = ["h", "hh", "hpp", "hxx", "inc", "h++"];

/// Where the system's headers and libraries lie, which one of the same name would take the place of.
const SYSTEM: [&str; 4] = ["/usr/include", "/usr/include/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib"];

/// Settings that a tool reads in its working directory, whoever wrote them.
const SETTINGS: [&str; 8] = [
    ".gdbinit",
    ".gdbearlyinit",
    ".lldbinit",
    ".valgrindrc",
    ".ltrace.conf",
    ".clang-tidy",
    "ccache.conf",
    "valgrindrc",
];

/// The files that a suite has shipped.
#[derive(Debug, Clone, Default)]
pub struct Originals {
    /// Names by folder; the top's is the empty one.
    folders: BTreeMap<String, BTreeSet<String>>,
    /// Folders by name.
    names: BTreeMap<String, String>,
}

impl Originals {
    /// Of paths below the suite's top.
    pub fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Originals {
        let mut originals = Originals::default();
        for path in paths {
            let (folder, name) = split(path);
            originals.folders.entry(folder.into()).or_default().insert(name.into());
            originals.names.insert(name.into(), folder.into());
        }
        originals
    }

    /// Folders in which something was shipped.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(String::as_str)
    }

    /// What a file that has come takes the place of; `None`: of nothing.
    pub fn hidden_by(&self, path: &str) -> Option<String> {
        let (folder, name) = split(path);
        if self.has(folder, name) {
            return None;
        }
        // Folders that a suite makes, and what it copies there, a project for example, are its own affair.
        if SETTINGS.contains(&name) && self.folders.contains_key(folder) {
            return Some("a tool's own settings".into());
        }
        self.beside(folder, name).or_else(|| self.elsewhere(folder, name))
    }

    /// What it takes the place of in its own folder.
    fn beside(&self, folder: &str, name: &str) -> Option<String> {
        for order in PREFERRED {
            let Some(at) = order.iter().position(|known| *known == name) else { continue };
            if let Some(passed_over) = order[at + 1..].iter().find(|later| self.has(folder, later)) {
                return Some((*passed_over).into());
            }
        }
        // gcc's and clang's precompiled headers; a folder of that name holds several.
        for (end, whole) in [(".gch", folder), (".pch", folder), (".gch", name), (".pch", name)] {
            let (at, header) = match whole.strip_suffix(end) {
                Some(header) if whole == name => (folder, header),
                Some(header) => split(header),
                None => continue,
            };
            if is_header(header) && self.has(at, header) {
                return Some(header.into());
            }
        }
        // Versions that make would fetch.
        let (above, last) = split(folder);
        let versioned = name.strip_suffix(",v").or(name.strip_prefix("s."));
        if let Some(original) = versioned {
            let at = if matches!(last, "RCS" | "SCCS") { above } else { folder };
            if self.has(at, original) {
                return Some(original.into());
            }
        }
        let (stem, end) = name.split_once('.').filter(|(stem, _)| !stem.is_empty())?;
        // A shared library, before its archive.
        if name.starts_with("lib") && (end == "so" || end.starts_with("so.")) && self.has(folder, &format!("{stem}.a"))
        {
            return Some(format!("{stem}.a"));
        }
        // An extension module, before the module; and Perl's byte code.
        if end.ends_with("so") && self.has(folder, &format!("{stem}.py")) {
            return Some(format!("{stem}.py"));
        }
        if end == "pmc" && self.has(folder, &format!("{stem}.pm")) {
            return Some(format!("{stem}.pm"));
        }
        // Another source of the same object.
        let rank = |end: &str| SOURCES.iter().position(|source| *source == end);
        let later = SOURCES.get(rank(end)? + 1..)?;
        later.iter().map(|end| format!("{stem}.{end}")).find(|source| self.has(folder, source))
    }

    /// What it takes the place of by being found earlier: a header or a library of a name that is another's.
    fn elsewhere(&self, folder: &str, name: &str) -> Option<String> {
        let library =
            name.starts_with("lib") && (name.ends_with(".a") || name.ends_with(".so") || name.contains(".so."));
        let near = self.folders.contains_key(folder) || folder.split('/').any(|part| part == "glibc-hwcaps");
        if !near || !(library || is_header(name)) {
            return None;
        }
        if let Some(at) = self.names.get(name) {
            return Some(if at.is_empty() { name.into() } else { format!("{at}/{name}") });
        }
        // As `sys/types.h`, too.
        let (_, last) = split(folder);
        let candidates = [name.to_owned(), format!("{last}/{name}")];
        let paths = SYSTEM.iter().flat_map(|dir| candidates.iter().map(move |name| Path::new(dir).join(name)));
        paths.into_iter().find(|path| path.exists()).map(|path| path.display().to_string())
    }

    fn has(&self, folder: &str, name: &str) -> bool {
        self.folders.get(folder).is_some_and(|names| names.contains(name))
    }
}

/// Folder and name; the top's folder is the empty one.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn is_header(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| HEADERS.contains(&end))
}

#[cfg(test)]
mod tests {
    use super::Originals;
    use proptest::prelude::*;

    fn suite() -> Originals {
        let paths = "Makefile lab1/Makefile lab1/checker.cpp lab1/helper.py lib/libcheck.a include/check.h lab2/makefile \
                     cm/CMakeLists.txt lab1/run.sh tool/Mod.pm";
        Originals::new(paths.split_whitespace())
    }

    #[test]
    fn a_name_that_a_tool_prefers_takes_a_shipped_files_place() {
        for (planted, original) in [
            ("GNUmakefile", "Makefile"),
            ("lab1/makefile", "Makefile"),
            ("lab2/GNUmakefile", "makefile"),
            ("lab1/Kbuild", "Makefile"),
            ("cm/CMakePresets.json", "CMakeLists.txt"),
            ("lab1/checker.c", "checker.cpp"),
            ("lab1/run.c", "run.sh"),
            ("lib/libcheck.so", "libcheck.a"),
            ("lib/libcheck.so.1", "libcheck.a"),
            ("include/check.h.gch", "check.h"),
            ("include/check.h.gch/c++", "check.h"),
            ("lab1/check.h", "include/check.h"),
            ("lab1/glibc-hwcaps/x86-64-v3/libcheck.a", "lib/libcheck.a"),
            ("lab1/helper.cpython-311-x86_64-linux-gnu.so", "helper.py"),
            ("lab1/RCS/Makefile,v", "Makefile"),
            ("lab1/s.Makefile", "Makefile"),
            ("tool/Mod.pmc", "Mod.pm"),
            ("lab1/.gdbinit", "a tool's own settings"),
        ] {
            assert_eq!(suite().hidden_by(planted).as_deref(), Some(original), "{planted}");
        }
    }

    #[test]
    fn a_header_of_the_systems_name_is_one_too() {
        if std::path::Path::new("/usr/include/stdio.h").exists() {
            assert_eq!(suite().hidden_by("lab1/stdio.h").as_deref(), Some("/usr/include/stdio.h"));
            assert_eq!(suite().hidden_by("copy/of/a/project/stdio.h"), None);
        }
    }

    #[test]
    fn what_a_build_makes_takes_nobodys_place() {
        for made in [
            "lab1/checker.o",
            "lab1/bin/checker",
            "lab1/checker",
            "lab1/checker.d",
            "lab1/generated-for-the-lab.h",
            "lab3/GNUmakefile",
            "lab1/libplugin-of-the-lab.so",
            "out.txt",
            "lab1/Makefile",
            "lab1/main.c",
            "lab1/.clang-format",
            "build/.gdbinit",
            "build/check.h",
        ] {
            assert_eq!(suite().hidden_by(made), None, "{made}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(path in "(([A-Za-z.,+]{0,6}/){0,3})(lib|s\\.)?[A-Za-z.,+é]{0,8}(\\.so|\\.h|\\.gch|,v)?") {
            let _ = suite().hidden_by(&path);
        }
    }
}
