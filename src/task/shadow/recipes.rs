//! What a suite's own Makefiles and scripts say of files that it has not shipped: which they make, which they would take if they
//! were there, and which they copy.
//!
//! They are read as far as that goes without a shell or make: variables are followed, functions are not, and stand for anything.

use super::names::{end_of, is_included, is_source, join, split};
use super::variables::{Variables, assignment, logical_lines, wildcards};
use std::collections::BTreeSet;

/// Most names of each kind that are kept.
const KEPT: usize = 20_000;

/// Programs that copy.
const COPYING: [&str; 8] = ["cp", "install", "ln", "mv", "rsync", "copy", "copyfile", "copy2"];

/// What stands in a recipe that compiles.
const COMPILING: [&str; 7] = ["CC", "CXX", "cc", "gcc", "g++", "clang", "clang++"];

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Recipes {
    /// Paths that a Makefile has as targets.
    targets: BTreeSet<String>,
    /// Names that are made somewhere: a target of a file that others include, or where a script writes.
    made: BTreeSet<String>,
    /// Targets and their first prerequisites, each with a `%`.
    rules: Vec<(String, String)>,
    /// Names that make reads if they are there.
    included: Vec<glob::Pattern>,
    /// Folders, and the names that a Makefile there takes all of.
    picked: Vec<(String, glob::Pattern)>,
    /// Names that a shell reads.
    sourced: BTreeSet<String>,
    /// Names that are copied by a program.
    copied: Vec<glob::Pattern>,
    /// Names that are said at all.
    said: BTreeSet<String>,
    /// Make is told to look for sources elsewhere, too.
    searches: bool,
    /// gcc is told where to look for parts of itself (`-B`).
    prefixes: bool,
    /// A recipe takes all that its target is made of, or the first of it.
    takes: (bool, bool),
}

/// Whether this is a file to read, by its name.
pub fn is_told(name: &str) -> bool {
    is_makefile(name)
        || matches!(end_of(name), Some("py" | "sh" | "bash" | "bats" | "pl"))
        || matches!(name, "configure" | "run" | "build" | "check" | "test")
}

fn is_makefile(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with("makefile") || lower == "gnumakefile" || matches!(end_of(name), Some("mk" | "make"))
}

impl Recipes {
    /// Reads one of the suite's files.
    pub fn read(&mut self, path: &str, text: &str) {
        let (folder, name) = split(path);
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || "._-+".contains(c))) {
            if word.contains('.') && self.said.len() < KEPT {
                self.said.insert(word.to_owned());
            }
        }
        if is_makefile(name) {
            self.makefile(folder, text, end_of(name).is_some_and(|end| end == "mk"));
        } else {
            let is_python = name.ends_with(".py");
            for line in logical_lines(text) {
                self.shell(&line, is_python);
            }
        }
    }

    /// Whether the suite makes this file.
    pub fn make(&self, path: &str, ships: &dyn Fn(&str) -> bool) -> bool {
        let (folder, name) = split(path);
        self.targets.contains(path)
            || self.made.contains(name)
            || ships(&format!("{path}.in"))
            || self.is_grammars(path, ships)
            || self.rules.iter().any(|(target, source)| {
                let (before, after) = target.split_once('%').unwrap_or((target, ""));
                let stem = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                stem.is_some_and(|stem| !stem.is_empty() && ships(&join(folder, &source.replace('%', stem))))
            })
    }

    /// Whether it is what yacc and lex make, by make's own rules.
    fn is_grammars(&self, path: &str, ships: &dyn Fn(&str) -> bool) -> bool {
        let (folder, name) = split(path);
        let stem = name.split('.').next().unwrap_or(name);
        matches!(end_of(name), Some("c" | "cc" | "cpp" | "h" | "hpp"))
            && (matches!(stem, "lex" | "y")
                || ["y", "l", "yy", "ll", "ypp", "lex"]
                    .iter()
                    .any(|end| ships(&join(folder, &format!("{stem}.{end}")))))
    }

    /// Whether make would read a file of this name.
    pub fn include(&self, name: &str) -> bool {
        self.included.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether make reads anything that may be missing.
    pub fn includes(&self) -> bool {
        !self.included.is_empty()
    }

    /// Whether a Makefile takes whatever has such a name.
    pub fn pick(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        self.picked.iter().any(|(at, pattern)| at == folder && pattern.matches(name))
    }

    /// Whether a shell would read a file of this name.
    pub fn source(&self, name: &str) -> bool {
        self.sourced.contains(name)
    }

    /// Whether a program of the suite's copies a file of this name.
    pub fn copy(&self, name: &str) -> bool {
        self.copied.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether the name stands anywhere in what was read.
    pub fn say(&self, name: &str) -> bool {
        self.said.contains(name)
    }

    /// Whether make looks for sources in other folders.
    pub fn search(&self) -> bool {
        self.searches
    }

    /// Whether gcc is told to look for parts of itself in a folder.
    pub fn prefix(&self) -> bool {
        self.prefixes
    }

    /// Whether a recipe takes all that its target is made of, and whether one takes the first of it.
    pub fn takes(&self) -> (bool, bool) {
        self.takes
    }

    fn makefile(&mut self, folder: &str, text: &str, is_part: bool) {
        let lines: Vec<String> = logical_lines(text);
        let variables = Variables::of(&lines);
        let expand = |text: &str| variables.expand(text);
        self.takes.0 |= ["$^", "$+", "$?", "$(^", "$(+", "${^"].iter().any(|all| text.contains(all));
        self.prefixes |= ["-B.", "-B$", "-B/"].iter().any(|prefix| text.contains(prefix));
        self.takes.1 |= ["$<", "$(<", "${<"].iter().any(|first| text.contains(first));
        for line in &lines {
            for pattern in wildcards(line) {
                self.picks(folder, &expand(pattern));
            }
            if let Some(recipe) = line.strip_prefix('\t') {
                let words: Vec<String> = expand(recipe).split_whitespace().map(str::to_owned).collect();
                let compiles = recipe.split(|c: char| !(c.is_ascii_alphanumeric() || c == '+'));
                if compiles.into_iter().any(|word| COMPILING.contains(&word)) {
                    for word in words.iter().filter(|word| word.contains('*')) {
                        self.picks(folder, word);
                    }
                }
                self.shell(recipe, false);
                continue;
            }
            let bare = line.split(" #").next().unwrap_or(line).trim();
            let (first, rest) = bare.split_once(char::is_whitespace).unwrap_or((bare, ""));
            if bare.starts_with('#') {
                continue;
            } else if matches!(first, "include" | "-include" | "sinclude") {
                for word in expand(rest).split_whitespace() {
                    self.includes_one(word);
                }
            } else if first == "vpath" || bare.starts_with("VPATH") {
                self.searches = true;
            } else if assignment(line).is_none()
                && let Some((targets, sources)) = bare.split_once(':')
                && !sources.contains('=')
            {
                let sources = expand(sources.trim_start_matches(':'));
                for target in expand(targets).split_whitespace() {
                    self.target(folder, target, sources.split_whitespace().next().unwrap_or_default(), is_part);
                }
            }
        }
    }

    fn target(&mut self, folder: &str, target: &str, source: &str, is_part: bool) {
        // One of which a part is not known could be anything.
        if target.contains('*') || self.targets.len() + self.rules.len() + self.made.len() > KEPT {
            return;
        }
        if target.contains('%') {
            if source.contains('%') && !source.contains('*') {
                self.rules.push((target.into(), source.into()));
            }
            return;
        }
        match is_part {
            true => self.made.extend([split(target).1.to_owned()]),
            false => self.targets.extend(resolved(folder, target)),
        }
    }

    fn includes_one(&mut self, word: &str) {
        let name = split(word).1;
        // Of a function's result nothing is known: it is what gcc writes.
        let name = if name.trim_matches('*').is_empty() { "*.d" } else { name };
        if let Some(pattern) = pattern(name)
            && self.included.len() < KEPT
            && !self.included.contains(&pattern)
        {
            self.included.push(pattern);
        }
    }

    fn picks(&mut self, folder: &str, words: &str) {
        for word in words.split_whitespace() {
            let Some(path) = resolved(folder, word) else { continue };
            let (at, name) = split(&path);
            if !name.contains('*') || !(is_source(name) || is_included(name)) {
                continue;
            }
            if let Some(pattern) = pattern(name)
                && self.picked.len() < KEPT
            {
                self.picked.push((at.to_owned(), pattern));
            }
        }
    }

    /// A line of Python's: what it writes to.
    fn written(&mut self, line: &str) {
        let modes = ["\"w\"", "'w'", "\"wb\"", "'wb'", "\"x\"", "'x'", "\"a\"", "'a'"];
        let opened = line.split_once("open(").and_then(|(_, rest)| {
            let end = modes.iter().filter_map(|mode| rest.find(mode)).min()?;
            Some(&rest[..end])
        });
        // What is written is no name.
        let whole = line.split(".write_").next().filter(|before| before.len() < line.len());
        for text in opened.into_iter().chain(whole).filter(|text| !text.contains("include")) {
            let words = text.split(|c: char| c.is_whitespace() || "\"'(),/+".contains(c));
            let names = words.filter(|word| end_of(word).is_some_and(|end| !end.is_empty()));
            if self.made.len() < KEPT {
                self.made.extend(names.map(str::to_owned));
            }
        }
    }

    /// A line of a script's.
    fn shell(&mut self, line: &str, is_python: bool) {
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || "\"'`()[]{},;".contains(c))
            .filter(|word| !word.is_empty())
            .collect();
        let is_copy = |word: &&str| COPYING.contains(&split(word).1) || word.starts_with("shutil.");
        if words.iter().any(is_copy) && self.copied.len() < KEPT {
            let names = words.iter().map(|word| split(word).1).filter(|name| name.contains('.') && name.len() > 2);
            let named =
                names.filter(|name| name.split('.').all(|part| !part.is_empty()) && !name.starts_with("shutil."));
            self.copied.extend(named.filter_map(pattern));
        }
        if is_python {
            self.written(line);
            return;
        }
        let name_of = |word: &str| {
            let name = split(word).1;
            (!name.is_empty() && !name.contains(['$', '*']) && self.made.len() + self.sourced.len() < KEPT)
                .then(|| name.to_owned())
        };
        let (mut made, mut sourced) = (Vec::new(), Vec::new());
        for (index, word) in words.iter().enumerate() {
            let next = words.get(index + 1).copied().unwrap_or_default();
            let before = index.checked_sub(1).map_or("", |before| words[before]);
            match *word {
                "." | "source" if !COPYING.contains(&split(before).1) => sourced.extend(name_of(next)),
                ">" | ">>" | "1>" | "-o" | "tee" => made.extend(name_of(next)),
                _ => {
                    if let Some(target) = word.strip_prefix(">>").or(word.strip_prefix('>')) {
                        made.extend(name_of(target));
                    }
                }
            }
        }
        self.made.extend(made.into_iter().filter(|name| name.contains('.')));
        self.sourced.extend(sourced.into_iter().filter(|name| name != "." && name != ".."));
    }
}

/// A pattern of names. What is not known twice is not known once.
fn pattern(name: &str) -> Option<glob::Pattern> {
    let mut text = String::new();
    for c in name.chars() {
        if c != '*' || !text.ends_with('*') {
            text.push(c);
        }
    }
    glob::Pattern::new(&text).ok()
}

/// A path below the suite's top, as somebody in this folder says it; `None`: it leads out of it.
pub fn resolved(folder: &str, said: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let below = match said.strip_prefix('/') {
        Some(_) => {
            parts.clear();
            said.strip_prefix(crate::contain::tree::inside::SUITE)?
        }
        None => said,
    };
    for part in below.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
