//! What was met by policy or by a full disk, in words for whoever wrote the program: clauses that stand alone or behind others.
//! Pure. What a student chose, the name of a program, was made harmless where it was noted.

use crate::outcome::{Denied, Full};

/// Most clauses of one kind.
const MOST: usize = 8;

/// `prog called mount, which is refused here (Operation not permitted): what can be done instead`.
pub fn denied(denied: &Denied) -> String {
    let Denied { program, call, error, times, instead, .. } = denied;
    let times = if *times > 1 { format!(" {times} times") } else { String::new() };
    let instead = instead.as_deref().unwrap_or("it is not among the system calls of this course's machine");
    format!("{program} called {call}{times}, which is refused here ({error}): {instead}")
}

/// All of these, and how many are left out.
pub fn all_denied<'a>(all: impl IntoIterator<Item = &'a Denied>) -> Vec<String> {
    let mut all = all.into_iter();
    let mut clauses: Vec<String> = all.by_ref().take(MOST).map(denied).collect();
    let more = all.count();
    if more > 0 {
        clauses.push(format!("{more} other refused calls were made"));
    }
    clauses
}

/// `/tmp (64.0 MiB) was full at the end …`.
pub fn full(full: &Full) -> String {
    let (place, size) = (&full.place, bytes(full.bytes));
    let what = match full.files {
        true => format!("{place} ({size}) had no room for another file at the end"),
        false => format!("{place} ({size}) was full at the end"),
    };
    format!(
        "{what}, so that writing there fails (No space left on device): write less, or remove what is not needed any more"
    )
}

/// `/tmp (64.0 MiB) was full for a while …`.
pub fn was_full(full: &Full) -> String {
    let (place, size) = (&full.place, bytes(full.bytes));
    let what = match full.files {
        true => format!("{place} ({size}) had no room for another file for a while"),
        false => format!("{place} ({size}) was full for a while"),
    };
    // What pytest captures lies there as well, and is gone when it has read it.
    let output = if place == "/tmp" { "; what programs print lies there, too, until pytest has read it" } else { "" };
    format!(
        "{what}: what was written there meanwhile failed (No space left on device); write less, or remove what is not needed any more{output}"
    )
}

/// `its sockets took up to 600.0 MiB …`.
pub fn sockets(held: u64, limit: u64) -> String {
    format!(
        "its sockets took up to {} of the kernel's memory, which is beyond the memory limit of {}: accept, read and close what was \
         connected, sent and opened",
        bytes(held),
        bytes(limit)
    )
}

/// `the kernel held 64.0 MiB of its own memory for it …`.
pub fn uncharged(held: u64, limit: u64) -> String {
    format!(
        "the kernel held {} of its own memory for it, beside what counts as the program's, and the memory limit of {} is the limit \
         of that, too: it is what waits in sockets, locks of files, and whatever else is opened, queued or set and never given back",
        bytes(held),
        bytes(limit)
    )
}

/// Bytes with one decimal in the largest unit that fits.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{:.1} GiB", b as f64 / (1u64 << 30) as f64),
        b if b >= 1 << 20 => format!("{:.1} MiB", b as f64 / (1u64 << 20) as f64),
        b => format!("{:.1} KiB", b as f64 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(times: u64, instead: Option<&str>) -> Denied {
        Denied {
            leaf: "t0".into(),
            program: "prog".into(),
            call: "mount".into(),
            error: "Operation not permitted".into(),
            times,
            instead: instead.map(Into::into),
        }
    }

    #[test]
    fn a_refusal_names_program_call_error_and_what_to_do() {
        assert_eq!(
            denied(&note(1, Some("write below /tmp"))),
            "prog called mount, which is refused here (Operation not permitted): write below /tmp"
        );
        assert_eq!(
            denied(&note(3, None)),
            "prog called mount 3 times, which is refused here (Operation not permitted): it is not among the system calls of \
             this course's machine"
        );
        let many = vec![note(1, None); 10];
        let clauses = all_denied(&many);
        assert_eq!((clauses.len(), &*clauses[8]), (9, "2 other refused calls were made"));
        assert_eq!(all_denied(&many[..2]).len(), 2);
    }

    #[test]
    fn a_full_place_says_its_size() {
        let place = |files| full(&Full { place: "/tmp".into(), bytes: 64 << 20, files });
        assert!(place(false).starts_with("/tmp (64.0 MiB) was full at the end, so"), "{}", place(false));
        assert!(place(true).starts_with("/tmp (64.0 MiB) had no room for another file"), "{}", place(true));
        let was = |place: &str| was_full(&Full { place: place.into(), bytes: 64 << 20, files: false });
        assert!(was("/tmp").starts_with("/tmp (64.0 MiB) was full for a while") && was("/tmp").contains("pytest"));
        assert!(!was("/dev/shm").contains("pytest"), "{}", was("/dev/shm"));
    }
}
