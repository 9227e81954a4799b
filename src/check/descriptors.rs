//! Whether this process may open as many files as it will: where it may not, stages fail in the middle, in any call that wants one.

use super::Finding;
use crate::contain::OPEN_FILES;
use crate::proxy;
use sandbox::confine::rlimits;

/// Name of the finding.
pub const NAME: &str = "open files";

/// What the runner itself has open: its log, locks, spool, runtime, and connections to the backend. 15 were counted, without
/// results on their way; a launcher has 55, and numbers up to 80 or so.
const OWN: u64 = 64;

/// What a stage has open beside its proxy's connections: the launcher's two pipes, socket and pidfd, and the proxy's listener. 5
/// were counted for each slot.
const STAGE: u64 = 8;

/// What one connection of a stage's proxy has open: to the client, to the server, and what the resolver opens meanwhile.
const CONNECTION: u64 = 3;

/// Raises the limit to what so many slots need at their peak, and judges what came of it.
pub fn look(slots: usize) -> Finding {
    let need = need(slots);
    match rlimits::raise_open_files(need) {
        Ok((soft, hard)) => judge(soft, hard, need, slots),
        Err(error) => Finding::red(NAME, format!("the limit cannot be raised: {error}"), REMEDY),
    }
}

/// For commands that have one slot and no findings: what [`look`] says in red, as an error.
pub fn ensure() -> anyhow::Result<()> {
    let finding = look(1);
    anyhow::ensure!(finding.grade != super::Grade::Red, "{}; {}", finding.found, finding.remedy);
    Ok(())
}

const REMEDY: &str = "raise the hard limit: `LimitNOFILE=65536` in the unit, `ulimit -Hn 65536` in root's shell, `--ulimit nofile=65536` of \
    a container engine; or lower --concurrent";

fn need(slots: usize) -> u64 {
    let connections = proxy::Limits::new(0).at_once as u64;
    OWN + slots as u64 * (STAGE + CONNECTION * connections)
}

fn judge(soft: u64, hard: u64, need: u64, slots: usize) -> Finding {
    let slots = if slots == 1 { "one slot needs".into() } else { format!("{slots} slots need") };
    if soft < need {
        let found = format!("this process may have {hard} files open (RLIMIT_NOFILE), and {slots} up to {need}");
        return Finding::red(NAME, found, REMEDY);
    }
    match hard < OPEN_FILES {
        true => Finding::yellow(
            NAME,
            format!("programs inside may have {hard} files open, where elsewhere they have {OPEN_FILES}"),
            REMEDY,
        ),
        false => Finding::green(NAME, format!("this process may have {soft} open, and {slots} up to {need}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn the_usual_limits_hold_the_usual_slots() {
        assert!(need(2) < 1024, "{}", need(2));
        assert!(need(512) < 65_536, "what the unit has: {}", need(512));
        assert!(need(1) > 128, "a launcher's own need is below it");
    }

    #[test]
    fn too_few_are_red_and_few_inside_are_yellow() {
        let red = judge(128, 128, 272, 2);
        assert!(
            red.grade == Grade::Red && red.remedy.contains("LimitNOFILE") && red.found.contains("2 slots"),
            "{red:?}"
        );
        assert_eq!(judge(1024, 1024, 272, 2).grade, Grade::Yellow);
        assert_eq!(judge(1024, 524_288, 272, 2).grade, Grade::Green);
    }
}
