//! Text from elsewhere, made cut to be quoted and stored.

use crate::text::visible;

/// Cuts the middle out of a text longer than `cap` bytes, and says there how many bytes are missing.
///
/// Head and tail are what matters in a failure's text: the assertion stands at one of the two. The result is never
/// longer than `cap`, provided that `cap` has room for the note (64 bytes).
pub fn shorten(text: String, cap: usize) -> String {
    if text.len() <= cap {
        return text;
    }
    let keep = cap.saturating_sub(64);
    let head = floor_boundary(&text, keep / 2);
    let tail = ceil_boundary(&text, text.len() - keep / 2);
    format!("{}\n[... {} bytes left out ...]\n{}", &text[..head], tail - head, &text[tail..])
}

/// The same for what is told of a test, where what its programs wrote stands last and is the least: that is cut first, to a third
/// where both parts are long.
pub fn shorten_reason(text: String, cap: usize) -> String {
    match text.find(CAPTURED) {
        Some(at) if text.len() > cap && cap >= 3 * 64 => {
            let (said, captured) = text.split_at(at);
            let room = (cap / 3).max(cap.saturating_sub(said.len()));
            let captured = shorten(captured.to_owned(), room);
            let said = shorten(said.to_owned(), cap - captured.len());
            said + &captured
        }
        _ => shorten(text, cap),
    }
}

/// What stands before what was captured (`ostest_told.py`).
const CAPTURED: &str = "\n\n--- Captured ";

/// The beginning of a foreign text on one line, for an error message.
///
/// At most `max` bytes are looked at; what is no UTF-8 is replaced, and a cut is shown by `…`.
pub fn excerpt(bytes: &[u8], max: usize) -> String {
    let (shown, cut) = match bytes.get(..max) {
        Some(head) if bytes.len() > max => (head, "…"),
        _ => (bytes, ""),
    };
    let text = visible(&String::from_utf8_lossy(shown));
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}{cut}")
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_excerpt_is_one_line_and_says_that_it_was_cut() {
        assert_eq!(excerpt(b"<html>\n  no\xff", 100), "<html> no\u{fffd}");
        assert_eq!(excerpt(b"abcdef", 3), "abc…");
        assert_eq!(excerpt(b"abc", 3), "abc");
    }

    #[test]
    fn shortening_says_how_much_is_missing() {
        let short = shorten("x".repeat(1000), 164);
        assert_eq!(short, format!("{0}\n[... 900 bytes left out ...]\n{0}", "x".repeat(50)));
        assert_eq!(shorten("short".into(), 164), "short");
    }

    #[test]
    fn of_a_reason_what_was_captured_goes_first() {
        let said = format!("E {}", "a".repeat(150));
        let whole = format!("{said}\n\n--- Captured stdout call ---\n{}", "b".repeat(4000));
        let short = shorten_reason(whole.clone(), 600);
        assert!(short.len() <= 600 && short.starts_with(&said) && short.contains("bytes left out"), "{short}");
        let both = format!("E {}\n\n--- Captured stdout call ---\n{}", "a".repeat(4000), "b".repeat(4000));
        let short = shorten_reason(both, 600);
        assert!(short.len() <= 600 && short.matches("bytes left out").count() == 2 && short.ends_with('b'), "{short}");
        assert_eq!(shorten_reason(whole.clone(), 10_000), whole);
    }

    proptest! {
        #[test]
        fn shortening_a_reason_keeps_to_its_cap(said in "\\PC{0,300}", captured in "\\PC{0,300}", cap in 64usize..500) {
            let whole = format!("{said}{CAPTURED}{captured}");
            prop_assert!(shorten_reason(whole, cap).len() <= cap);
        }

        #[test]
        fn shortening_keeps_to_its_cap(text in "\\PC{0,400}", cap in 64usize..300) {
            let short = shorten(text, cap);
            prop_assert!(short.len() <= cap);
        }
    }
}
