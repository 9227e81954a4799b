//! A Makefile's lines and variables, as far as they can be read without make.

use std::cell::Cell;
use std::collections::BTreeMap;

/// Most characters of what a variable comes to.
const EXPANDED: usize = 1 << 16;

/// Most variables that are looked up for one Makefile.
const LOOKED_UP: usize = 20_000;

/// Lines, with what a backslash continues.
pub fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(part) if open.len() < EXPANDED => {
                open.push_str(part);
                open.push(' ');
            }
            _ => {
                open.push_str(line);
                lines.push(std::mem::take(&mut open));
            }
        }
    }
    if !open.is_empty() {
        lines.push(open);
    }
    lines
}

/// Name and value of a variable, and whether it is added to what there was.
pub fn assignment(line: &str) -> Option<(&str, &str, bool)> {
    let (left, value) = line.split_once('=')?;
    let adds = left.ends_with('+');
    let left = left.trim_end_matches([':', '?', '+', '!']).trim();
    let name = left.strip_prefix("export ").or(left.strip_prefix("override ")).unwrap_or(left).trim();
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    plain.then_some((name, value.trim(), adds))
}

/// The arguments of each `$(wildcard …)`.
pub fn wildcards(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("(wildcard ").filter_map(|(at, found)| {
        let rest = &line[at + found.len()..];
        Some(&rest[..closing(rest, '(', ')')?])
    })
}

/// Where what was opened before is closed.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0u32;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            match depth {
                0 => return Some(at),
                _ => depth -= 1,
            }
        }
    }
    None
}

/// A Makefile's variables.
pub struct Variables {
    values: BTreeMap<String, String>,
    /// How many may still be looked up: they can name each other.
    left: Cell<usize>,
}

impl Variables {
    /// Those that these lines set, the last word first.
    pub fn of(lines: &[String]) -> Variables {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for line in lines.iter().filter(|line| !line.starts_with('\t')) {
            let Some((name, value, adds)) = assignment(line) else { continue };
            let known = values.entry(name.to_owned()).or_default();
            match adds {
                true if known.len() < EXPANDED => *known = format!("{known} {value}"),
                true => {}
                false => *known = value.to_owned(),
            }
        }
        Variables { values, left: Cell::new(LOOKED_UP) }
    }

    /// What make would make of it; `*` for what is not known here.
    pub fn expand(&self, text: &str) -> String {
        self.expand_at(text, 0)
    }

    fn expand_at(&self, text: &str, depth: u32) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let Some(next) = rest.chars().next() else { break };
            let (open, close) = match next {
                '(' => ('(', ')'),
                '{' => ('{', '}'),
                other => {
                    // A target, or what it is made of.
                    out.push(if other == '$' { '$' } else { '@' });
                    rest = &rest[other.len_utf8()..];
                    continue;
                }
            };
            let Some(end) = closing(&rest[1..], open, close) else { break };
            let inner = &rest[1..=end];
            rest = &rest[end + 2..];
            out.push_str(&self.value(inner, depth));
            if out.len() > EXPANDED || self.left.get() == 0 {
                return "*".into();
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, inner: &str, depth: u32) -> String {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        if depth > 8 || left == 0 {
            return "*".into();
        }
        let starred = |text: &str| match text.trim() {
            ending if ending.contains('%') => ending.replace('%', "*"),
            ending => format!("*{ending}"),
        };
        if let Some(arguments) = inner.strip_prefix("wildcard ") {
            return self.expand_at(arguments, depth + 1);
        }
        if let Some(arguments) = inner.strip_prefix("patsubst ") {
            return self.expand_at(&starred(arguments.split(',').nth(1).unwrap_or_default()), depth + 1);
        }
        if let Some((_, ending)) = inner.split_once(':').and_then(|(_, rest)| rest.split_once('=')) {
            return self.expand_at(&starred(ending), depth + 1);
        }
        if inner.contains([' ', '$', ',']) {
            return "*".into();
        }
        self.values.get(inner).map(|text| self.expand_at(text, depth + 1)).unwrap_or_default()
    }
}
