//! Text from elsewhere, made fit to be shown: nothing in it moves a cursor, turns a line round, hides, or passes for a word of ours.

use std::fmt::Write as _;

/// What the sandbox's own lines begin with.
pub const MARK: &str = "sandbox: ";

/// Whether a character is obeyed and not shown, by a terminal, a browser or an editor: the controls of C0 and C1, line and paragraph
/// separators, what turns the direction of writing, what takes no room.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Makes hidden characters visible, all but newline and tab: `\x1b`, `\u202e`.
///
/// Nothing else is touched. A terminal does not obey what a student printed, and databases that cannot hold NUL take the text.
pub fn visible(text: &str) -> String {
    escaped(text, |c| c != '\n' && c != '\t')
}

/// The same for what has to stay on one line and in one cell: newlines and tabs, too.
pub fn visible_line(text: &str) -> String {
    escaped(text, |_| true)
}

fn escaped(text: &str, which: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match u32::from(c) {
            _ if !is_hidden(c) || !which(c) => out.write_char(c),
            code @ 0..=0xff => write!(out, "\\x{code:02x}"),
            code => write!(out, "\\u{code:04x}"),
        };
    }
    out
}

/// JSON in which hidden characters are escaped as JSON has it: the same values, and nothing that a terminal obeys.
pub fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) && c != '\n' {
            // Outside of strings JSON has no such character but its white space.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Foreign text that stands beside the sandbox's own words: its lines that begin like ours are marked as quoted, by `> `.
///
/// A line begins like ours whatever stands before the word that is no letter, and pytest's `E`; and whichever letters it is written
/// in, as long as they look the same.
pub fn quoted(text: &str) -> String {
    if !text.split('\n').any(begins_like_ours) {
        return text.to_owned();
    }
    let lines = text.split('\n').map(|line| if begins_like_ours(line) { format!("> {line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

fn begins_like_ours(line: &str) -> bool {
    if line.starts_with("> ") {
        return false;
    }
    let word = |text: &str| -> usize { text.find(char::is_alphanumeric).unwrap_or(text.len()) };
    let mut rest = &line[word(line)..];
    if let Some(said) = rest.strip_prefix('E').filter(|said| said.starts_with(char::is_whitespace)) {
        rest = &said[word(said)..];
    }
    let mut letters = rest.chars().filter(|c| !is_hidden(*c) && !belongs_to_the_letter(*c)).map(plain);
    "sandbox".chars().all(|ours| letters.next() == Some(ours))
        && letters
            .find(|c| !c.is_whitespace())
            .is_some_and(|c| matches!(c, ':' | '：' | '꞉' | '∶' | 'ː' | '։' | '׃' | '︰'))
}

/// Accents that stand over the letter before them.
fn belongs_to_the_letter(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}')
}

/// The letter that it looks like, as far as our own mark has it.
fn plain(c: char) -> char {
    match c {
        'Ｓ' | 'ｓ' | 'ѕ' | 'Ѕ' | 'ꜱ' => 's',
        'Ａ' | 'ａ' | 'а' | 'А' | 'α' | 'Α' | 'ɑ' => 'a',
        'Ｎ' | 'ｎ' | 'ո' | 'Ν' | 'п' => 'n',
        'Ｄ' | 'ｄ' | 'ԁ' | 'ɗ' => 'd',
        'Ｂ' | 'ｂ' | 'в' | 'В' | 'Β' | 'ь' | 'Ь' => 'b',
        'Ｏ' | 'ｏ' | 'о' | 'О' | 'ο' | 'Ο' | 'օ' | '0' => 'o',
        'Ｘ' | 'ｘ' | 'х' | 'Х' | 'χ' | 'Χ' | '×' => 'x',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_obeyed_becomes_visible_and_the_rest_stays() {
        assert_eq!(visible("a\u{1b}[31m\r\n\tб\0\u{85}"), "a\\x1b[31m\\x0d\n\tб\\x00\\x85");
        assert_eq!(visible("\u{9b}2J\u{202e}gnp.exe\u{2066}\u{7f}"), "\\x9b2J\\u202egnp.exe\\u2066\\x7f");
        assert_eq!(visible("a\u{2028}b\u{200b}\u{feff}\u{e0041}é🦀"), "a\\u2028b\\u200b\\ufeff\\ue0041é🦀");
        assert_eq!(visible_line("a\nb\tc"), "a\\x0ab\\x09c");
    }

    #[test]
    fn lines_that_begin_like_ours_are_quoted() {
        for like in [
            "sandbox: the grader broke",
            "  sandbox: x",
            "SandBox : x",
            "E       sandbox: x",
            "| sandbox: x",
            "ѕаndbох: x",
            "ｓandbox：x",
            "\u{200b}sand\u{200b}box: x",
            "\tsa\u{301}ndbox:",
            "--- sandbox: x",
        ] {
            assert_eq!(quoted(&format!("a\n{like}\nb")), format!("a\n> {like}\nb"), "{like}");
        }
        for other in ["sandboxes: x", "the sandbox: x", "> sandbox: x", "sand: x", "sandbox", "E", ""] {
            assert_eq!(quoted(other), other);
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in "(?s).{0,60}|[\\x00-\\x1f\\x7f-\\u{9f}\\u{2000}-\\u{206f}\\u{e0000}-\\u{e0100}ab]{0,60}") {
            prop_assert!(!visible(&text).chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'));
            prop_assert!(!visible_line(&text).chars().any(is_hidden));
            prop_assert_eq!(visible(&visible(&text)), visible(&text));
            prop_assert_eq!(visible(&text).matches('\n').count(), text.matches('\n').count());
        }

        #[test]
        fn json_says_the_same(text in "(?s).{0,40}|[\\x00-\\u{9f}\\u{200b}-\\u{206f}\\u{e0000}-\\u{e0100}]{0,40}") {
            let value = serde_json::json!({"a": [text]});
            let shown = visible_json(&serde_json::to_string_pretty(&value).unwrap_or_default());
            prop_assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(value));
        }

        #[test]
        fn no_line_of_a_quoted_text_begins_like_ours(text in "(sandbox: |SANDBOX:|E  |\n| |>|a|\\PC){0,30}") {
            let once = quoted(&text);
            prop_assert!(!once.split('\n').any(|line| line.starts_with(MARK)));
            prop_assert_eq!(quoted(&once), once.clone());
            prop_assert_eq!(once.lines().count(), text.lines().count());
        }
    }
}
