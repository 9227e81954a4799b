//! Text from elsewhere, made fit to be shown: nothing in it moves a cursor, turns a line round, hides, or passes for a word of ours.

use std::fmt::Write as _;

/// What the sandbox's own lines begin with.
pub const MARK: &str = "sandbox: ";

/// Whether a character is obeyed and not shown, by a terminal, a browser or an editor: the controls of C0 and C1, line and paragraph
/// separators, what turns the direction of writing, what takes no room.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Fillers, in the place of letters that are not there.
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
            // Tags, selectors of variants, and what is kept for more of the kind.
            | '\u{e0000}'..='\u{e0fff}')
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
            code @ ..=0xffff => write!(out, "\\u{code:04x}"),
            // Eight digits, as in C and in Python: five could be four and a digit that was printed.
            code => write!(out, "\\U{code:08x}"),
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

/// Whether this ends the word by which a line is known.
type Ends = fn(char) -> bool;

/// How lines begin that are the sandbox's own, and what stands after it.
const OURS: [(&str, Ends); 6] = [
    ("sandbox", is_colon),
    ("note", is_colon),
    ("tampering was seen", is_colon),
    ("stopped", is_colon),
    ("not run", is_colon),
    ("it passed", is_comma),
];

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
    // A filler is a letter as far as its kind goes.
    let word = |text: &str| text.find(|c: char| c.is_alphanumeric() && !is_hidden(c)).unwrap_or(text.len());
    let mut rest = &line[word(line)..];
    if let Some(said) = rest.strip_prefix('E').filter(|said| said.starts_with(char::is_whitespace)) {
        rest = &said[word(said)..];
    }
    OURS.iter().any(|(ours, ends)| {
        let seen = |c: &char| !is_hidden(*c) && !belongs_to_the_letter(*c);
        let mut letters = rest.chars().filter(seen).map(plain).filter(|c| !c.is_whitespace());
        ours.chars().filter(|c| *c != ' ').all(|ours| letters.next() == Some(ours)) && letters.next().is_some_and(ends)
    })
}

/// Accents that stand over the letter before them.
fn belongs_to_the_letter(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}')
}

/// A comma, or what looks like one.
fn is_comma(c: char) -> bool {
    matches!(c, ',' | '，' | '‚' | '،' | '﹐' | '︐' | 'ꓹ' | '¸')
}

/// A colon, or what looks like one.
fn is_colon(c: char) -> bool {
    matches!(
        c,
        ':' | '：'
            | '꞉'
            | '∶'
            | 'ː'
            | '˸'
            | '։'
            | '׃'
            | '܃'
            | '܄'
            | 'ः'
            | 'ઃ'
            | '᛬'
            | '᠃'
            | '᠉'
            | '⁚'
            | '⦂'
            | 'ꓽ'
            | '︓'
            | '︰'
            | '﹕'
    )
}

/// The letter that it looks like, as far as our own marks have it.
fn plain(c: char) -> char {
    // Alphabets that Unicode has once more, for mathematics, for wide type, in circles.
    let again = |first: u32| char::from_u32(u32::from('a') + (u32::from(c) - first) % 26).unwrap_or(c);
    match c {
        '\u{1d400}'..='\u{1d6a3}' => return again(0x1d400),
        '\u{24b6}'..='\u{24e9}' => return again(0x24b6),
        '\u{249c}'..='\u{24b5}' => return again(0x249c),
        '\u{1f110}'..='\u{1f129}' => return again(0x1f110),
        '\u{1f130}'..='\u{1f149}' => return again(0x1f130),
        '\u{1f150}'..='\u{1f169}' => return again(0x1f150),
        '\u{1f170}'..='\u{1f189}' => return again(0x1f170),
        '\u{ff21}'..='\u{ff3a}' => return again(0xff21),
        '\u{ff41}'..='\u{ff5a}' => return again(0xff41),
        _ => {}
    }
    match c {
        'ѕ' | 'Ѕ' | 'ꜱ' => 's',
        'а' | 'А' | 'α' | 'Α' | 'ɑ' | 'ᴀ' => 'a',
        'ո' | 'Ν' | 'п' | 'ɴ' => 'n',
        'ԁ' | 'ɗ' | 'ᴅ' => 'd',
        'в' | 'В' | 'Β' | 'ь' | 'Ь' | 'ʙ' => 'b',
        'о' | 'О' | 'ο' | 'Ο' | 'օ' | '0' | 'ᴏ' => 'o',
        'х' | 'Х' | 'χ' | 'Χ' | '×' => 'x',
        'т' | 'Т' | 'τ' | 'Τ' | 'ᴛ' => 't',
        'е' | 'Е' | 'Ε' | 'ε' | 'ҽ' | 'ᴇ' | 'ℯ' | 'ℰ' => 'e',
        'м' | 'М' | 'Μ' | 'ᴍ' => 'm',
        'р' | 'Р' | 'ρ' | 'Ρ' | 'ᴘ' => 'p',
        'г' | 'ʀ' | 'ᴦ' => 'r',
        'і' | 'І' | 'ι' | 'Ι' | 'ı' | 'ɪ' | 'l' | '1' | '|' => 'i',
        'ɡ' | 'ց' | 'ɢ' | 'ℊ' => 'g',
        'ԝ' | 'ѡ' | 'ω' | 'ᴡ' => 'w',
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
        assert_eq!(visible("a\u{2028}b\u{200b}\u{feff}\u{e0041}é🦀"), "a\\u2028b\\u200b\\ufeff\\U000e0041é🦀");
        assert_eq!(visible("a\u{3164}b\u{115f}c\u{e0100}\u{e0fff}"), "a\\u3164b\\u115fc\\U000e0100\\U000e0fff");
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
            "sandbox˸ x",
            "s\u{3164}a\u{e0101}n\u{115f}dbox\u{e0fff}: x",
            "\u{ffa0}sandbox: x",
            "𝗌𝖺𝗇𝖽𝖻𝗈𝗑: x",
            "note: x was loaded into pytest",
            "  Nоtе: x",
            "tampering was seen: x",
            "E   Tampering  was seen : x",
            "it passed, but the grader lost it",
            "E   It pаssed， but",
            "stopped: the host went down",
            "not run: the run ended before this test began",
            "tamperıng wаs seen：x",
        ] {
            assert_eq!(quoted(&format!("a\n{like}\nb")), format!("a\n> {like}\nb"), "{like}");
        }
        for other in [
            "sandboxes: x",
            "the sandbox: x",
            "> sandbox: x",
            "sand: x",
            "sandbox",
            "E",
            "",
            "notes: x",
            "prog.c:3:1: note: x",
            "note",
            "tampering: x",
            "note, that",
            "it passed the test",
            "stopped by SIGSTOP",
            "not running: x",
        ] {
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
        fn no_line_of_a_quoted_text_begins_like_ours(text in "(sandbox: |note: |tampering was seen: |SANDBOX:|E  |\n| |>|a|\\PC){0,30}") {
            let once = quoted(&text);
            prop_assert!(!once.split('\n').any(|line| line.starts_with(MARK) || line.starts_with("note: ")));
            prop_assert_eq!(quoted(&once), once.clone());
            prop_assert_eq!(once.lines().count(), text.lines().count());
        }
    }
}
