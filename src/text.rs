//! Texts of untrusted content, made fit to be shown, and of untrusted length, kept short.

mod names;
mod shown;

pub use names::apart;
pub use shown::{MARK, is_hidden, quoted, visible, visible_json, visible_line};

/// Leaves out the middle of a text that has more than `max` bytes and says how much: the head of a failure says what
/// was tried, its tail what came of it. The result has at most `max` bytes and the note.
pub fn cut_middle(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head = boundary_before(text, max / 2);
    let tail = boundary_after(text, text.len() - max / 2);
    format!("{}\n[... {} bytes left out ...]\n{}", &text[..head], tail - head, &text[tail..])
}

/// The last character boundary at or before `index`.
pub(crate) fn boundary_before(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// The first character boundary at or after `index`.
fn boundary_after(text: &str, index: usize) -> usize {
    (index..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())
}

/// The last lines of a program's output, at most `lines` of them and `max` bytes.
pub fn last_lines(text: &str, lines: usize, max: usize) -> &str {
    let text = text.trim_end();
    let tail = &text[boundary_after(text, text.len().saturating_sub(max))..];
    match tail.rmatch_indices('\n').nth(lines.saturating_sub(1)) {
        Some((newline, _)) => &tail[newline + 1..],
        None => tail,
    }
}

/// Some of many names, for a sentence: `a, b, c and 7 more`.
pub fn some_of<'a>(names: impl IntoIterator<Item = &'a str>, shown: usize) -> String {
    let mut names = names.into_iter();
    let first: Vec<&str> = names.by_ref().take(shown).collect();
    match names.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_stay_as_they_are() {
        assert_eq!(cut_middle("ab", 2), "ab");
        assert_eq!(last_lines("a\nb\n", 5, 100), "a\nb");
        assert_eq!(some_of(["a", "b"], 2), "a, b");
    }

    #[test]
    fn long_texts_keep_both_ends_on_character_boundaries() {
        assert_eq!(cut_middle("äöüäöü", 6), "ä\n[... 8 bytes left out ...]\nü");
        assert_eq!(last_lines("a\nb\nc\n", 2, 100), "b\nc");
        assert_eq!(last_lines("äöü", 5, 3), "ü");
        assert_eq!(some_of(["a", "b", "c"], 1), "a and 2 more");
    }
}
