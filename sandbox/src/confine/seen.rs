//! Which programs were seen to make which calls: `policies/seen/*.txt`, which `scripts/record_syscalls.sh` writes.
//!
//! A line is a call, a tab, the programs. A call of which policies look at the arguments has them, as far as they are looked at:
//! `ioctl(_,0x5401)`.

use std::collections::BTreeSet;

const FILES: &[(&str, &str)] = &[
    ("fetch", include_str!("../../../policies/seen/fetch.txt")),
    ("build", include_str!("../../../policies/seen/build.txt")),
    ("test", include_str!("../../../policies/seen/test.txt")),
    ("init", include_str!("../../../policies/seen/init.txt")),
];

/// A call that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its name.
    pub syscall: &'a str,
    /// Those of its arguments that were noted; `None` where nobody looks at any.
    pub args: Option<Vec<Option<u64>>>,
    /// The programs that made it.
    pub programs: Vec<&'a str>,
}

/// What was seen in the stage of this name, which is that of its policy.
pub fn in_stage(stage: &str) -> Vec<Seen<'static>> {
    let text = FILES.iter().find(|(name, _)| *name == stage).map_or("", |(_, text)| text);
    text.lines().filter_map(line).collect()
}

/// The programs that made a call in these stages.
pub fn programs<'a>(stages: impl IntoIterator<Item = &'a str>, syscall: &str) -> BTreeSet<&'static str> {
    let seen = stages.into_iter().flat_map(in_stage).filter(|seen| seen.syscall == syscall);
    seen.flat_map(|seen| seen.programs).collect()
}

/// A line of a file; `None` for a remark. A line that is neither has no programs, which a test finds.
fn line(text: &str) -> Option<Seen<'_>> {
    if text.starts_with('#') {
        return None;
    }
    let (call, programs) = text.split_once('\t').unwrap_or((text, ""));
    let (syscall, args) = match call.strip_suffix(')').and_then(|call| call.split_once('(')) {
        Some((syscall, args)) => (syscall, Some(args.split(',').map(number).collect())),
        None => (call, None),
    };
    Some(Seen { syscall, args, programs: programs.split(' ').filter(|name| !name.is_empty()).collect() })
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_calls_with_their_programs() {
        assert_eq!(line("# read\tcat"), None);
        assert_eq!(line("read\tcat dog"), Some(Seen { syscall: "read", args: None, programs: vec!["cat", "dog"] }));
        let ioctl = line("ioctl(_,0x5401)\tsh").unwrap();
        assert_eq!((ioctl.syscall, ioctl.args), ("ioctl", Some(vec![None, Some(0x5401)])));
    }
}
