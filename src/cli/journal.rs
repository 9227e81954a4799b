//! The journal, where it reads what this program prints: each line begins with its priority, as sd-daemon(3) has it, and has no
//! time, which the journal knows.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use tracing::Level;

/// Whether what is written to this descriptor goes to the journal. That systemd's variable is there does not say so: it is handed
/// down to programs whose output somebody else reads (systemd.exec(5)).
pub fn reads(output: impl AsFd) -> bool {
    let told = std::env::var("JOURNAL_STREAM").ok();
    let Some(told) = told.as_deref().and_then(parse_stream) else { return false };
    let output = output.as_fd().try_clone_to_owned().map(File::from);
    output.and_then(|file| file.metadata()).is_ok_and(|file| (file.dev(), file.ino()) == told)
}

/// `DEVICE:INODE`, both decimal.
fn parse_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// The last words of a program that could not do its work, on standard error.
pub fn complain(text: &str) {
    if reads(std::io::stderr()) {
        super::out::say(prefixed(Level::ERROR, text).trim_end());
    } else {
        super::out::say(text);
    }
}

/// syslog(3)'s number of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Every line with the priority: the journal makes an entry of each, and one without would pass for a notice.
pub fn prefixed(level: Level, text: &str) -> String {
    let number = priority(level);
    text.trim().lines().fold(String::new(), |mut all, line| {
        // Writing to a string does not fail.
        let _ = writeln!(all, "<{number}>{line}");
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stream_is_two_decimal_numbers() {
        assert_eq!(parse_stream("9:41255"), Some((9, 41255)));
        for wrong in ["", "9", "9:", ":1", "9:1:1", "9: 1", "0x9:1", "-1:1"] {
            assert_eq!(parse_stream(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_line_has_its_priority() {
        assert_eq!(prefixed(Level::INFO, " INFO taken\n"), "<6>INFO taken\n");
        assert_eq!(prefixed(Level::ERROR, "pip said:\n<7>not ours\n"), "<3>pip said:\n<3><7>not ours\n");
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].map(priority);
        assert_eq!(all, [3, 4, 6, 7, 7]);
    }

    proptest! {
        #[test]
        fn any_device_and_inode_are_read_and_nothing_else_is(device: u64, inode: u64, text in "\\PC{0,20}") {
            prop_assert_eq!(parse_stream(&format!("{device}:{inode}")), Some((device, inode)));
            if let Some((device, inode)) = parse_stream(&text) {
                prop_assert!(text.contains(&device.to_string()) && text.ends_with(&inode.to_string()));
            }
        }

        #[test]
        fn no_text_puts_a_line_of_its_own_priority_into_the_journal(text in "[a-z<>0-9\\n\\r ]{0,60}") {
            prop_assert!(prefixed(Level::WARN, &text).lines().all(|line| line.starts_with("<4>")));
        }
    }
}
