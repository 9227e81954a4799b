//! Texts for backends that keep only so many characters: what of a long one is most useful, and that it was cut.

/// Between two parts of a text of which something in the middle is missing.
const GAP: &str = " … ";

/// A text of at most so many characters, which are Unicode's and not bytes.
///
/// A longer one keeps the beginning of its first line, which says what happened, and what comes from the most telling line on:
/// the first that a compiler, a linker or git calls an error, else the last of a traceback, else the end. Its own end says that
/// it was cut.
pub fn brief(text: &str, limit: usize) -> String {
    let length = text.chars().count();
    if length <= limit {
        return text.to_owned();
    }
    let note = format!(" … (cut; {length} characters in all)");
    let room = limit.saturating_sub(note.chars().count());
    let text = text.trim();
    let first = text.lines().next().unwrap_or_default().trim_end();
    let rest = text[first.len()..].trim_start();
    let kept = match rest.is_empty() {
        true => head(first, room).to_owned(),
        false => {
            let begin = head(first, room / 2);
            let room = room.saturating_sub(begin.chars().count() + GAP.chars().count());
            let telling = telling(rest).map_or_else(|| tail(rest, room), |at| head(&rest[at..], room));
            // Where nothing is missing between the two it is a line's end.
            let gap = if begin == first && rest.starts_with(telling) { "\n" } else { GAP };
            format!("{begin}{gap}{}", telling.trim_end())
        }
    };
    // A limit that has no room for the note itself.
    head(&format!("{kept}{note}"), limit).to_owned()
}

/// Two texts, one below the other, in so many characters together. The second has a third of them where both are long.
pub fn brief_of_two(first: &str, second: &str, limit: usize) -> String {
    if first.is_empty() || second.is_empty() {
        return brief(&format!("{first}{second}"), limit);
    }
    let (one, two) = (first.chars().count(), second.chars().count());
    if one + 1 + two <= limit {
        return format!("{first}\n{second}");
    }
    let two = two.min((limit / 3).max(limit.saturating_sub(1 + one)));
    let second = brief(second, two);
    let left = limit.saturating_sub(1 + second.chars().count());
    format!("{}\n{second}", brief(first, left))
}

/// Where the most telling line begins, unless that is the end.
fn telling(text: &str) -> Option<usize> {
    let lines = || text.split_inclusive('\n').scan(0, |at, line| Some((std::mem::replace(at, *at + line.len()), line)));
    let is_error = |line: &str| {
        ["error:", "fatal:", "Sanitizer: ", "undefined reference", "multiple definition"]
            .iter()
            .any(|word| line.contains(word))
    };
    // `ModuleNotFoundError: No module named 'x'`, and pytest's lines of the same.
    let is_exception = |line: &str| {
        let word = line.trim_start_matches("E ").trim_start().split([':', ' ', '\n']).next().unwrap_or_default();
        word.ends_with("Error") || word.ends_with("Exception")
    };
    let found = lines().find(|(_, line)| is_error(line));
    found.or_else(|| lines().filter(|(_, line)| is_exception(line)).last()).map(|(at, _)| at)
}

/// The beginning of a text, in so many characters.
fn head(text: &str, room: usize) -> &str {
    match text.char_indices().nth(room) {
        None => text,
        Some((mut at, _)) => {
            // A letter and its accents are seen as one.
            while text[at..].starts_with(belongs_to_the_one_before)
                && let Some(before) = text[..at].char_indices().next_back()
            {
                at = before.0;
            }
            &text[..at]
        }
    }
}

/// The end of a text, in so many characters, from the beginning of a line if there is one.
fn tail(text: &str, room: usize) -> &str {
    let length = text.chars().count();
    if length <= room {
        return text;
    }
    let at = text.char_indices().nth(length - room).map_or(text.len(), |(at, _)| at);
    let end = text[at..].trim_start_matches(belongs_to_the_one_before);
    match end.split_once('\n') {
        Some((_, lines)) if !lines.trim().is_empty() => lines,
        _ => end,
    }
}

/// Accents, variants and joiners.
fn belongs_to_the_one_before(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_stays_and_letters_are_counted_not_bytes() {
        let text = "я".repeat(255);
        assert_eq!(brief(&text, 255), text);
        let cut = brief(&"я".repeat(256), 255);
        assert!(cut.chars().count() == 255 && cut.ends_with("я … (cut; 256 characters in all)"), "{cut}");
    }

    #[test]
    fn of_a_compilers_output_the_first_error_stays() {
        let noise = "gcc -Wall -c -o bin/text.o src/text.c\n".repeat(20);
        let text = format!(
            "the build failed: `make`: exited with 2\n{noise}src/text.c:9:5: error: expected ‘;’ before ‘return’\n    9 |     return n\n{noise}make: *** [Makefile:4: all] Error 1"
        );
        let cut = brief(&text, 255);
        assert!(
            cut.starts_with("the build failed: `make`: exited with 2 … src/text.c:9:5: error: expected ‘;’"),
            "{cut}"
        );
        assert!(cut.ends_with(&format!(" … (cut; {} characters in all)", text.chars().count())), "{cut}");
    }

    #[test]
    fn of_a_traceback_the_exception_stays_and_of_anything_else_the_end() {
        let frames = "  File \"/task/suite/conftest.py\", line 3, in <module>\n    import nothing\n".repeat(9);
        let text = format!(
            "the suite did not start\nTraceback (most recent call last):\n{frames}ModuleNotFoundError: No module named 'nothing'"
        );
        let cut = brief(&text, 255);
        assert!(
            cut.starts_with("the suite did not start … ModuleNotFoundError: No module named 'nothing' … (cut; "),
            "{cut}"
        );
        let text = format!("it ended\n{}the last word", "and so on\n".repeat(100));
        let cut = brief(&text, 100);
        assert!(cut.starts_with("it ended … and so on\n") && cut.contains("\nthe last word … (cut; "), "{cut}");
    }

    #[test]
    fn nothing_is_called_missing_where_nothing_is() {
        let cut = brief(&format!("the clone failed\nfatal: {}", "x".repeat(300)), 120);
        assert!(cut.starts_with("the clone failed\nfatal: xxx"), "{cut}");
    }

    #[test]
    fn two_texts_share_the_room() {
        let long = "слово ".repeat(100);
        let both = brief_of_two(&format!("broken\n{long}"), &format!("tampering was seen: {long}"), 255);
        assert!(both.chars().count() <= 255, "{both}");
        let (first, second) = both.rsplit_once('\n').unwrap();
        assert!(first.starts_with("broken") && first.contains("(cut; "), "{both}");
        assert!(second.starts_with("tampering was seen") && second.contains("(cut; "), "{both}");
        assert_eq!(brief_of_two("a", "b", 255), "a\nb");
        let kept = brief_of_two("short", &long, 255);
        assert!(kept.starts_with("short\nслово") && kept.chars().count() > 240, "{kept}");
    }

    #[test]
    fn accents_stay_with_their_letters() {
        let text = "и\u{306}".repeat(100);
        assert_eq!(head(&text, 4), "и\u{306}и\u{306}");
        assert_eq!(head(&text, 5), "и\u{306}и\u{306}");
        assert_eq!(tail(&text, 3), "и\u{306}");
    }

    proptest! {
        #[test]
        fn never_longer_and_the_same_where_it_fits(text in "(?s).{0,600}", limit in 0usize..400) {
            let cut = brief(&text, limit);
            prop_assert!(cut.chars().count() <= limit);
            prop_assert!(text.chars().count() > limit || cut == text);
            if text.chars().count() > limit && limit >= 64 {
                prop_assert!(cut.ends_with(" characters in all)"), "{cut}");
            }
        }

        #[test]
        fn two_are_never_longer_together(one in "(?s).{0,400}", two in "(?s).{0,400}", limit in 1usize..400) {
            prop_assert!(brief_of_two(&one, &two, limit).chars().count() <= limit);
        }

        #[test]
        fn real_outputs_in_any_order_keep_their_error(before in 0usize..60, after in 0usize..60) {
            let text = format!("the build failed\n{}a.c:1:1: error: no\n{}", "cc -c a.c\n".repeat(before), "make: leaving\n".repeat(after));
            prop_assert!(brief(&text, 100).contains("a.c:1:1: error: no"));
        }
    }
}
