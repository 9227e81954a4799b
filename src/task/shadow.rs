//! Files that take the place of one that a suite has shipped, without touching it.
//!
//! make prefers a `GNUmakefile` to a `Makefile`, the linker a shared library to an archive, gcc a precompiled header to the header
//! itself, and everything that looks in more than one folder takes what it finds first. Whoever puts such a file beside a shipped one
//! decides what a suite's tool does. Which names take whose place is known by the names that were shipped, by what the system has, and
//! by what the suite's own Makefiles and scripts say.

mod dependencies;
mod names;
mod recipes;
mod system;
#[cfg(test)]
mod tests;
mod variables;

pub use names::is_source;
use names::{end_of, is_header, is_included, is_input, is_library, is_searched, join, split};
use recipes::Recipes;
pub use recipes::resolved;
use std::collections::{BTreeMap, BTreeSet};

/// What comes of a file that takes another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It says what a tool does: nobody but the suite may.
    Settings,
    /// It is found earlier. A suite that builds there makes such files, too, or copies a submission's.
    Found,
    /// make reads it where it is there. Compilers write such files, by which alone nothing else happens.
    Rules,
    /// Python loads it in another's place.
    Module,
    /// Python would load it if it is asked for by its name.
    Neighbour,
    /// A build could take it for its own.
    Doubtful,
}

/// Whose place a file takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hides {
    /// In words, or a path.
    pub original: String,
    /// What comes of it.
    pub kind: Kind,
}

impl Hides {
    fn new(kind: Kind, original: impl Into<String>) -> Option<Hides> {
        Some(Hides { original: original.into(), kind })
    }
}

/// The files that a suite has shipped.
#[derive(Debug, Clone, Default)]
pub struct Originals {
    /// Names by folder; the top's is the empty one.
    folders: BTreeMap<String, BTreeSet<String>>,
    /// Paths by name.
    names: BTreeMap<String, Vec<String>>,
    recipes: Recipes,
}

impl Originals {
    /// Of paths below the suite's top; `text` gives what a file holds, of those of which it matters.
    pub fn new<'a>(paths: impl Iterator<Item = &'a str>, text: &dyn Fn(&str) -> Option<String>) -> Originals {
        let mut originals = Originals::default();
        for path in paths {
            let (folder, name) = split(path);
            originals.folders.entry(folder.into()).or_default().insert(name.into());
            for (at, _) in folder.match_indices('/') {
                originals.folders.entry(folder[..at].into()).or_default();
            }
            originals.names.entry(name.into()).or_default().push(path.into());
            if recipes::is_told(name)
                && let Some(text) = text(path)
            {
                originals.recipes.read(path, &text);
            }
        }
        originals
    }

    /// Folders in which something was shipped.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(String::as_str)
    }

    /// Shipped files of this name.
    pub fn of_name(&self, name: &str) -> impl Iterator<Item = &str> {
        self.names.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether a program of the suite's copies files of this name.
    pub fn copies(&self, path: &str) -> bool {
        self.recipes.copy(split(path).1)
    }

    /// Whether the suite's own scripts name it.
    pub fn says(&self, path: &str) -> bool {
        self.recipes.say(split(path).1)
    }

    /// Whether a file that make reads says no more than a compiler would.
    pub fn is_dependencies(&self, path: &str, text: &str, written: bool) -> bool {
        let (takes_all, takes_first) = self.recipes.takes();
        let suite = dependencies::Suite { ships: &|path| self.ships(path), takes_all, takes_first };
        dependencies::is_dependencies(split(path).0, text, written, &suite)
    }

    /// Whether what comes into this folder, which was not shipped, could take the place of something.
    pub fn is_watched(&self, folder: &str) -> bool {
        // What make reads where it is there may lie anywhere.
        (self.recipes.includes() && self.builds_above(split(folder).0)) || self.holds(folder)
    }

    /// Whether something is found earlier by a path through this folder.
    fn holds(&self, folder: &str) -> bool {
        let (above, name) = split(folder);
        let leads = |rel: &str| {
            let within = format!("/{rel}/");
            let shipped = self.folders.keys().any(|known| format!("/{known}/").contains(&within));
            shipped || system::has_folder(rel)
        };
        let has_python = self.folders.get(above).is_some_and(|names| names.iter().any(|name| name.ends_with(".py")));
        names::is_fitting(folder)
            || matches!(name, "RCS" | "SCCS" | "__pycache__")
            || [".gch", ".pch"].iter().any(|end| name.ends_with(end))
            || (has_python && (system::is_python(name) || self.of_name(&format!("{name}.py")).next().is_some()))
            || self.near(folder).any(|(_, rel)| leads(rel))
    }

    /// The same of a link, which can lead to a folder.
    pub fn hidden_by_link(&self, path: &str) -> Option<Hides> {
        self.hidden_by(path).or_else(|| match self.holds(path) {
            true => Hides::new(Kind::Found, "what is found below"),
            false if self.is_watched(path) => Hides::new(Kind::Doubtful, "a folder of the build's"),
            false => None,
        })
    }

    /// What a file that has come takes the place of; `None`: of nothing.
    pub fn hidden_by(&self, path: &str) -> Option<Hides> {
        let (folder, name) = split(path);
        if self.has(folder, name) {
            return None;
        }
        // Folders that a suite makes, and what it copies there, a project for example, are its own affair.
        if names::SETTINGS.contains(&name) && self.folders.contains_key(folder) {
            return Hides::new(Kind::Settings, "a tool's own settings");
        }
        if self.recipes.prefix() && names::PARTS.contains(&name) && self.folders.contains_key(folder) {
            return Hides::new(Kind::Settings, "the compiler's own part");
        }
        if let Some(hides) = self.beside(folder, name) {
            return Some(hides);
        }
        let makes = self.recipes.make(path, &|path| self.ships(path));
        // What a compiler writes may lie in a folder that the build has made.
        let written = matches!(end_of(name), Some("d" | "dep")) || name.contains("depend") || name.ends_with("deps");
        let near = self.folders.contains_key(folder) || (written && self.builds_above(folder));
        if near && self.recipes.include(name) {
            // It is looked at although the suite makes it: make reads it before.
            let is_made = makes && !written;
            return if is_made { None } else { Hides::new(Kind::Rules, "what a Makefile of the suite's includes") };
        }
        if makes {
            return None;
        }
        if self.folders.contains_key(folder) && self.recipes.source(name) {
            return Hides::new(Kind::Settings, "what a script of the suite's reads");
        }
        if self.recipes.pick(path) {
            return Hides::new(Kind::Found, "what a Makefile of the suite's takes all of");
        }
        self.module(folder, name).or_else(|| self.elsewhere(path)).or_else(|| self.doubtful(folder, name))
    }

    /// What it takes the place of in its own folder.
    fn beside(&self, folder: &str, name: &str) -> Option<Hides> {
        for order in names::PREFERRED {
            let Some(at) = order.iter().position(|known| *known == name) else { continue };
            if let Some(passed_over) = order[at + 1..].iter().find(|later| self.has(folder, later)) {
                return Hides::new(Kind::Settings, *passed_over);
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
                return Hides::new(Kind::Settings, header);
            }
        }
        // Versions that make would fetch.
        let (above, last) = split(folder);
        let versioned = name.strip_suffix(",v").or(name.strip_prefix("s."));
        if let Some(original) = versioned {
            let at = if matches!(last, "RCS" | "SCCS") { above } else { folder };
            if self.has(at, original) {
                return Hides::new(Kind::Settings, original);
            }
        }
        let (stem, end) = name.split_once('.').filter(|(stem, _)| !stem.is_empty())?;
        // A shared library, before its archive.
        if name.starts_with("lib") && (end == "so" || end.starts_with("so.")) && self.has(folder, &format!("{stem}.a"))
        {
            return Hides::new(Kind::Settings, format!("{stem}.a"));
        }
        if end == "pmc" && self.has(folder, &format!("{stem}.pm")) {
            return Hides::new(Kind::Settings, format!("{stem}.pm"));
        }
        if let Some(package) = name.strip_suffix("-uninstalled.pc").map(|package| format!("{package}.pc"))
            && (self.names.contains_key(&package) || system::package(&package).is_some())
        {
            return Hides::new(Kind::Settings, package);
        }
        // Another source of the same object.
        let rank = |end: &str| names::SOURCES.iter().position(|source| *source == end);
        let later = names::SOURCES.get(rank(end)? + 1..)?;
        let source = later.iter().map(|end| format!("{stem}.{end}")).find(|source| self.has(folder, source))?;
        Hides::new(Kind::Found, source)
    }

    /// What Python loads: a program finds modules beside itself before its own.
    fn module(&self, folder: &str, name: &str) -> Option<Hides> {
        let (at, stem, end) = match name.split_once('.')? {
            ("__init__", end) => (split(folder).0, split(folder).1, end),
            (stem, end) => (folder, stem, end),
        };
        let is_extension = end == "so" || (end.ends_with(".so") && (end.contains("cpython") || end.contains("abi3")));
        let here = self.folders.get(at)?;
        if stem.is_empty() || !(matches!(end, "py" | "pyc") || is_extension) {
            return None;
        }
        let source = format!("{stem}.py");
        if here.contains(&source) || self.has(&join(at, stem), "__init__.py") {
            return Hides::new(Kind::Module, source);
        }
        let has_python = here.iter().any(|other| other.ends_with(".py"));
        // A library of C's, too, has this ending.
        if is_extension && (!has_python || stem.starts_with("lib")) {
            return None;
        }
        if system::is_python(stem) {
            return Hides::new(Kind::Module, format!("Python's own {stem}"));
        }
        if let Some(other) = self.of_name(&source).next() {
            return Hides::new(Kind::Module, other);
        }
        // A library that a test loads by its path has such a name, too.
        if has_python && end != "so" { Hides::new(Kind::Neighbour, "what programs beside it load") } else { None }
    }

    /// What it takes the place of by being found earlier.
    fn elsewhere(&self, path: &str) -> Option<Hides> {
        let (folder, name) = split(path);
        if is_library(name) {
            let fitting = names::without_fitting(folder);
            let at = fitting.unwrap_or(folder);
            let stem = name.split('.').next().unwrap_or(name);
            let names = [name.to_owned(), format!("{stem}.a"), format!("{stem}.so")];
            let shipped = names.iter().find_map(|name| self.of_name(name).next().map(str::to_owned));
            let known = shipped.or_else(|| names.iter().find_map(|name| system::library(name)));
            return known.filter(|_| self.folders.contains_key(at)).and_then(|known| Hides::new(Kind::Found, known));
        }
        let end = end_of(name);
        // What make makes of a source beside it has its name.
        let stem = name.split('.').next().unwrap_or(name);
        let has_source = names::SOURCES.iter().any(|end| self.has(folder, &format!("{stem}.{end}")));
        let included = is_included(name);
        let searched = is_searched(name) || (is_source(name) && self.recipes.search());
        self.near(path).find_map(|(at, rel)| {
            let mut known = None;
            if included || searched {
                known = self.of_name(name).find(|other| ends_in(other, rel)).map(str::to_owned);
            }
            let known = known.or_else(|| match end {
                _ if included => system::header(rel),
                Some("pm" | "pl") => system::perl(rel),
                Some("pc") => system::package(name),
                Some("cmake") if name.starts_with("Find") => system::package(name),
                Some("o") if !has_source => system::library(rel),
                None if !has_source && self.has_cxx(at) => system::bare_header(rel),
                _ => None,
            });
            known.and_then(|known| Hides::new(Kind::Found, known))
        })
    }

    /// What a build may take for its own, without being told to by what can be read here.
    fn doubtful(&self, folder: &str, name: &str) -> Option<Hides> {
        if !self.builds_in(folder) {
            return None;
        }
        let cache = name == "CMakeCache.txt" && self.has(folder, "CMakeLists.txt");
        let input = is_input(name) && !self.recipes.say(name);
        if cache || input { Hides::new(Kind::Doubtful, "an input of the build there") } else { None }
    }

    /// Shipped folders that it lies in or below, with the path from there on.
    fn near<'a>(&self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let cuts = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
        std::iter::once(("", path))
            .chain(cuts)
            .filter(|(folder, _)| folder.is_empty() || self.folders.contains_key(*folder))
    }

    /// Whether something is built in this folder.
    fn builds_in(&self, folder: &str) -> bool {
        let builds =
            ["Makefile", "makefile", "GNUmakefile", "CMakeLists.txt", "SConstruct", "meson.build", "Makefile.PL"];
        builds.iter().any(|build| self.has(folder, build))
    }

    /// The same of the folder or one above it.
    fn builds_above(&self, folder: &str) -> bool {
        self.builds_in(folder) || (!folder.is_empty() && self.builds_above(split(folder).0))
    }

    /// Whether something was shipped in this folder.
    pub fn has_folder(&self, folder: &str) -> bool {
        self.folders.contains_key(folder)
    }

    fn has_cxx(&self, folder: &str) -> bool {
        let ends = ["cpp", "cc", "cxx", "C", "c++", "hpp", "hh", "hxx"];
        let names = self.folders.get(folder).into_iter().flatten();
        names.into_iter().any(|name| end_of(name).is_some_and(|end| ends.contains(&end)))
    }

    fn ships(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        self.has(folder, name)
    }

    fn has(&self, folder: &str, name: &str) -> bool {
        self.folders.get(folder).is_some_and(|names| names.contains(name))
    }
}

/// Whether the path is found by this name in some folder.
fn ends_in(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|above| above.is_empty() || above.ends_with('/'))
}
