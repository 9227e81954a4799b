//! Who was refused which system call: the launcher's side of the filters' listener ([`crate::confine::told`]).
//!
//! Whoever called waits until the launcher has answered with the error that the policy gives. It takes a note of
//! the program, the call and the leaf, for the sentence that a student reads.
//!
//! The launcher's own time is nobody's but the host's, and programs can ask as fast as it answers. So answers are
//! rationed ([`Credit`]): whoever asks too often sleeps in the kernel, and is killed there like anywhere else. Notes are
//! few and short. No other thing that the launcher does waits for it.

use crate::confine::call;
use crate::confine::told::Answers;
use crate::outcome::Denied;
use crate::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Answers at once, before the ration begins.
const BURST: u32 = 10_000;

/// Time for each answer after that: a flood costs the host a few hundredths of a core.
const PACE: Duration = Duration::from_millis(1);

/// How long nobody is answered when the ration is used up.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers between two looks at everything else.
const BATCH: usize = 32;

/// Most notes of one leaf, and of all.
const NOTES_OF_LEAF: usize = 16;
const NOTES: usize = 1000;

/// Longest name of a program in bytes.
const MAX_NAME: usize = 64;

/// Tools that try a call and go on without it, each time that they start: no student has to read of them.
const TRIED: [(&str, &str); 1] = [("strace", "process_vm_readv")];

/// What of a call's answer is said to somebody, where the policy has no rule for it.
const REFUSED: Errno = Errno::EPERM;

/// The listener, and what was heard.
pub struct Denials {
    answers: Option<Answers>,
    listener: Option<OwnedFd>,
    credit: Credit,
    notes: Notes,
}

impl Denials {
    /// With what the policy answers, none where refusals are not told.
    pub fn new(answers: Option<Answers>) -> Denials {
        Denials { answers, listener: None, credit: Credit::new(Instant::now()), notes: Notes::default() }
    }

    /// Takes the listener over. A second one is nobody's, and is closed: its callers get ENOSYS.
    pub fn listen(&mut self, listener: OwnedFd) {
        if self.listener.is_none() && self.answers.is_some() {
            self.listener = Some(listener);
        }
    }

    /// The descriptor to be polled, while there is one and it may be answered.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().filter(|_| self.credit.left > 0).map(|fd| fd.as_fd())
    }

    /// How soon there is something to be answered again, where the ration is used up.
    pub fn pause(&self) -> Option<Duration> {
        (self.listener.is_some() && self.credit.left == 0).then_some(PAUSE)
    }

    /// Answers whoever waits, as far as the ration goes.
    pub fn hear(&mut self, now: Instant) {
        self.credit.refill(now);
        for _ in 0..BATCH {
            let Some(listener) = &self.listener else { return };
            let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
            let found = fds[0].revents().unwrap_or(PollFlags::empty());
            if found.contains(PollFlags::POLLIN) {
                if !self.credit.take() {
                    return;
                }
                if let Err(error) = answer_one(listener.as_fd(), self.answers.as_ref(), &mut self.notes) {
                    eprintln!("refused calls are told no more, and get ENOSYS: {error}");
                    self.listener = None;
                }
            } else if ready {
                // Everybody under the filter has ended.
                self.listener = None;
            } else {
                return;
            }
        }
    }

    /// Lets go of the listener, and gives what was noted.
    pub fn finish(&mut self) -> Vec<Denied> {
        self.listener = None;
        std::mem::take(&mut self.notes.all)
    }
}

/// Takes one waiting call, notes it and refuses it.
fn answer_one(listener: BorrowedFd<'_>, answers: Option<&Answers>, notes: &mut Notes) -> std::io::Result<()> {
    let Some(waiting) = sys::waiting_call(listener)? else { return Ok(()) };
    let rule = answers.and_then(|answers| answers.find(waiting.number, &waiting.args));
    let errno = rule.map_or(REFUSED as i32, |rule| rule.errno.cast_signed());
    let caller = Caller::of(waiting.tid);
    // Until here the number may have become somebody else's.
    if sys::still_waits(listener, waiting.id)
        && let (Some(caller), Some(rule)) = (caller, rule)
        && !TRIED.contains(&(&*caller.program, &*rule.syscall))
    {
        notes.take(Denied {
            leaf: caller.leaf,
            program: caller.program,
            call: call::describe(&rule.syscall, &waiting.args),
            error: words_of(errno),
            times: 1,
            instead: rule.instead.clone(),
        });
    }
    sys::refuse_call(listener, waiting.id, errno.cast_unsigned())
}

/// What perror says of an error number: that is what a student has seen.
fn words_of(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().into()
}

/// Who calls.
struct Caller {
    leaf: String,
    program: String,
}

impl Caller {
    fn of(tid: i32) -> Option<Caller> {
        let groups = std::fs::read_to_string(format!("/proc/{tid}/cgroup")).ok()?;
        let exe = std::fs::read_link(format!("/proc/{tid}/exe"));
        let program = match &exe {
            Ok(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Err(_) => std::fs::read_to_string(format!("/proc/{tid}/comm")).ok(),
        };
        Some(Caller { leaf: leaf_in(&groups)?, program: shown(&program.unwrap_or_default()) })
    }
}

/// The leaf: the last part of the group in the v2 tree, which hybrid hosts have as well.
fn leaf_in(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The name of a program, which a student chooses: it stays one word of one line, whatever it is.
pub(crate) fn shown(name: &str) -> String {
    let name = name.trim_end_matches('\n');
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain) {
        return name.into();
    }
    let mut short = String::new();
    for c in name.chars() {
        let escaped: String = match c {
            // Of letters only those that look like what they are, and nothing that changes the direction of a line.
            ' ' | '!'..='~' if c != '"' && c != '\\' => c.into(),
            c if c.is_alphanumeric() => c.into(),
            c => c.escape_default().collect(),
        };
        if short.len() + escaped.len() > MAX_NAME {
            short.push('…');
            break;
        }
        short.push_str(&escaped);
    }
    format!("\"{short}\"")
}

/// What was noted.
#[derive(Default)]
struct Notes {
    all: Vec<Denied>,
}

impl Notes {
    /// Notes a refusal, or counts it with its like.
    fn take(&mut self, new: Denied) {
        let same = |old: &&mut Denied| old.leaf == new.leaf && old.program == new.program && old.call == new.call;
        if let Some(old) = self.all.iter_mut().find(same) {
            old.times += 1;
            return;
        }
        let of_leaf = self.all.iter().filter(|old| old.leaf == new.leaf).count();
        if of_leaf < NOTES_OF_LEAF && self.all.len() < NOTES {
            self.all.push(new);
        }
    }
}

/// How many answers may still be given.
#[derive(Debug)]
struct Credit {
    left: u32,
    /// Until when what has passed has been counted.
    counted: Instant,
}

impl Credit {
    fn new(now: Instant) -> Credit {
        Credit { left: BURST, counted: now }
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.counted).as_millis() / PACE.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(BURST);
        // What is left over of the time counts next time.
        self.counted += PACE * earned.min(BURST);
        if self.left == BURST {
            self.counted = now;
        }
    }

    fn take(&mut self) -> bool {
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(leaf: &str, call: &str) -> Denied {
        let (program, error) = ("prog".into(), "Operation not permitted".into());
        Denied { leaf: leaf.into(), program, call: call.into(), error, times: 1, instead: None }
    }

    #[test]
    fn a_name_stays_one_word_of_one_line() {
        assert_eq!(shown("prog"), "prog");
        assert_eq!(shown("python3.11"), "python3.11");
        assert_eq!(shown("prog (deleted)"), "prog");
        assert_eq!(shown("comm\n"), "comm");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a b"), "\"a b\"");
        assert_eq!(shown("x\n5 tests passed"), "\"x\\n5 tests passed\"");
        assert_eq!(shown("\u{1b}[32m\u{202e}\"\\"), "\"\\u{1b}[32m\\u{202e}\\\"\\\\\"");
        assert_eq!(shown("задача"), "\"задача\"");
        let long = shown(&"n".repeat(300));
        assert!(long.len() < MAX_NAME + 8 && long.ends_with("n…\""), "{long}");
        assert!(shown(&"\n".repeat(300)).len() < MAX_NAME + 8);
    }

    #[test]
    fn an_error_is_called_what_perror_calls_it() {
        assert_eq!(words_of(libc::ENOLCK), "No locks available");
        assert_eq!(words_of(libc::EOPNOTSUPP), "Operation not supported");
        assert_eq!(words_of(libc::EPERM), "Operation not permitted");
    }

    #[test]
    fn the_leaf_is_the_last_part_of_the_v2_group() {
        let hybrid = "12:pids:/a/x\n4:memory:/a/s/t1\n0::/ostest/one/slot0-test/t17\n";
        assert_eq!(leaf_in(hybrid).as_deref(), Some("t17"));
        assert_eq!(leaf_in("0::/payload\n").as_deref(), Some("payload"));
        assert_eq!(leaf_in("0::/\n"), None);
        assert_eq!(leaf_in("4:memory:/a/t1\n"), None);
    }

    #[test]
    fn notes_are_counted_and_few() {
        let mut notes = Notes::default();
        for _ in 0..3 {
            notes.take(note("t1", "mount"));
        }
        notes.take(note("t2", "mount"));
        let times: Vec<_> = notes.all.iter().map(|n| (&*n.leaf, n.times)).collect();
        assert_eq!(times, [("t1", 3), ("t2", 1)]);
        for leaf in 0..200 {
            for call in 0..100 {
                notes.take(note(&format!("t{leaf}"), &format!("socket({call})")));
            }
        }
        assert_eq!(notes.all.len(), NOTES);
        assert_eq!(notes.all.iter().filter(|n| n.leaf == "t1").count(), NOTES_OF_LEAF);
    }

    #[test]
    fn a_flood_is_answered_at_its_pace_and_a_few_at_once() {
        let begin = Instant::now();
        let mut credit = Credit::new(begin);
        for _ in 0..BURST {
            assert!(credit.take());
        }
        assert!(!credit.take());
        credit.refill(begin + PACE / 2);
        assert!(!credit.take());
        credit.refill(begin + PACE + PACE / 2);
        assert!(credit.take() && !credit.take());
        // The other half was not lost.
        credit.refill(begin + 2 * PACE);
        assert!(credit.take() && !credit.take());
        credit.refill(begin + Duration::from_secs(86_400));
        assert_eq!(credit.left, BURST);
        credit.refill(begin + Duration::from_secs(86_400) + 5 * PACE);
        assert_eq!(credit.left, BURST, "no more than that is ever saved up");
    }
}
