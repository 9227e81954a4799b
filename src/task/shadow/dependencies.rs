//! Whether a file that make would read holds nothing but what compilers write: which objects are made anew when a header changes.
//!
//! make takes rules, recipes and variables from it, too, and so could somebody who puts one there before the compiler does.

use super::names::{end_of, is_header, is_source, split};
use super::recipes::resolved;

/// Ends of names of what a compiler says this of.
const OBJECTS: [&str; 8] = ["o", "lo", "os", "obj", "d", "gch", "pcm", "dep"];

/// What is known of the suite.
pub struct Suite<'a> {
    /// Whether it has shipped a file at this path.
    pub ships: &'a dyn Fn(&str) -> bool,
    /// Whether a recipe of its takes all prerequisites (`$^`).
    pub takes_all: bool,
    /// Whether one takes the first (`$<`).
    pub takes_first: bool,
}

/// Whether it is that. Of one that is still `written` to the last line need not be whole.
pub fn is_dependencies(folder: &str, text: &str, written: bool, suite: &Suite<'_>) -> bool {
    let joined = text.replace("\\\n", " ");
    // A rule with a recipe, a variable, a function.
    if joined.lines().any(is_more) {
        return false;
    }
    let whole = if written { joined.rsplit_once('\n').map_or("", |(whole, _)| whole) } else { &joined };
    whole.lines().all(|line| line.trim().is_empty() || line.starts_with('#') || is_rule(folder, line, suite))
}

fn is_more(line: &str) -> bool {
    !line.starts_with('#') && (line.starts_with('\t') || line.contains(['=', ';', '$', '%', '&', '|']))
}

fn is_rule(folder: &str, line: &str, suite: &Suite<'_>) -> bool {
    let Some((targets, sources)) = line.split_once(':') else { return false };
    let sources: Vec<&str> = sources.split_whitespace().collect();
    let Some(first) = sources.first().copied() else { return true };
    if first.starts_with(':') {
        return false;
    }
    let safe = |said: &str| said.starts_with("/usr/") || shipped_at(folder, said, suite.ships);
    targets.split_whitespace().all(|target| {
        let name = split(target).1;
        // What is the suite's own is made of what the suite has shipped; of others nobody knows.
        if !is_of_the_suite(folder, name, suite.ships) && is_source(first) {
            return true;
        }
        if end_of(name).is_some_and(|end| OBJECTS.contains(&end)) {
            return is_source(first) && safe(first);
        }
        // A program that is compiled and linked in one has sources of others, too, which a recipe names itself.
        let taken = |at: usize| suite.takes_all || (suite.takes_first && at == 0);
        sources.iter().enumerate().all(|(at, said)| safe(said) || is_header(said) || !taken(at))
    })
}

/// Whether the suite has shipped something that this object could be made of.
fn is_of_the_suite(folder: &str, object: &str, ships: &dyn Fn(&str) -> bool) -> bool {
    let stem = object.split('.').next().unwrap_or(object);
    super::names::SOURCES.iter().any(|end| shipped_at(folder, &format!("{stem}.{end}"), ships))
}

/// Whether this is a shipped file, as said in the folder or in one above it, where make may have been started.
fn shipped_at(folder: &str, said: &str, ships: &dyn Fn(&str) -> bool) -> bool {
    let mut at = folder;
    loop {
        if resolved(at, said).is_some_and(|path| ships(&path)) {
            return true;
        }
        if at.is_empty() {
            return false;
        }
        at = split(at).0;
    }
}
