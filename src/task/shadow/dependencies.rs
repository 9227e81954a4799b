//! Whether a file that make would read holds nothing but what compilers write: which objects are made anew when a header changes.
//!
//! make takes rules, recipes and variables from it, too, and so could somebody who puts one there before the compiler does.

use super::names::{end_of, is_source, split};
use super::recipes::resolved;

/// Ends of names of what a compiler says this of.
const OBJECTS: [&str; 8] = ["o", "lo", "os", "obj", "d", "gch", "pcm", "dep"];

/// Whether it is that. `ships`: whether the suite has shipped a file at this path. Of one that is still `written` to the last line
/// need not be whole.
pub fn is_dependencies(folder: &str, text: &str, written: bool, ships: &dyn Fn(&str) -> bool) -> bool {
    let joined = text.replace("\\\n", " ");
    // A rule with a recipe, a variable, a function.
    if joined.contains(['\t', '=', ';', '$', '%', '&', '|']) && joined.lines().any(is_more) {
        return false;
    }
    let whole = if written { joined.rsplit_once('\n').map_or("", |(whole, _)| whole) } else { &joined };
    whole.lines().all(|line| line.trim().is_empty() || line.starts_with('#') || is_rule(folder, line, ships))
}

fn is_more(line: &str) -> bool {
    !line.starts_with('#') && (line.starts_with('\t') || line.contains(['=', ';', '$', '%', '&', '|']))
}

fn is_rule(folder: &str, line: &str, ships: &dyn Fn(&str) -> bool) -> bool {
    let Some((targets, sources)) = line.split_once(':') else { return false };
    let mut sources = sources.split_whitespace().peekable();
    if sources.peek().is_some_and(|source| source.starts_with(':')) {
        return false;
    }
    let Some(first) = sources.peek().copied() else { return true };
    let safe = |said: &str| said.starts_with("/usr/") || shipped_at(folder, said, ships);
    let mut rest = sources;
    targets.split_whitespace().all(|target| {
        let name = split(target).1;
        match end_of(name).is_some_and(|end| OBJECTS.contains(&end)) {
            // An object of the suite's own is made of what the suite has shipped; of others nobody knows.
            true => is_source(first) && (safe(first) || !is_of_the_suite(folder, name, ships)),
            false => rest.all(safe),
        }
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
