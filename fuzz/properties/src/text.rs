//! Texts of students and of backends, made short and harmless.

use crate::is_harmless;
use ostest_sandbox::backend::text::{excerpt, shorten};
use ostest_sandbox::text::{MARK, cut_middle, last_lines, quoted, some_of, visible};

/// Caps that small inputs reach.
const CAPS: [usize; 4] = [0, 3, 64, 100];

/// The bytes are a text.
pub fn check(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    for cap in CAPS {
        let quoted = excerpt(bytes, cap);
        assert!(is_harmless(&quoted) && !quoted.contains('\n') && quoted.len() <= 4 * cap + 3, "{quoted:?}");
        let cut = cut_middle(&text, cap);
        assert!(cut.len() <= cap.max(text.len().min(cap)) + 48);
        assert!(text.len() > cap || cut == text);
        let tail = last_lines(&text, 3, cap);
        assert!(tail.len() <= cap && tail.lines().count() <= 3 && text.contains(tail));
        let short = shorten(text.clone().into_owned(), cap.max(64));
        assert!(short.len() <= cap.max(64));
    }
    let shown = visible(&text);
    assert!(is_harmless(&shown));
    assert_eq!(visible(&shown), shown);
    let set_apart = quoted(&text);
    assert!(!set_apart.split('\n').any(|line| line.starts_with(MARK)) && quoted(&set_apart) == set_apart);
    let words: Vec<&str> = text.split(' ').collect();
    assert!(some_of(words.iter().copied(), words.len()) == words.join(", "));
    if text.len() > 100 { "long" } else { "short" }
}
