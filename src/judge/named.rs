//! What the sandbox has a part in and only the program hears of: signals, and errors of calls that nobody is asked about. So it is
//! said what they mean where pytest's text names them, and not that a program met one. Each sentence is true of whoever reads it.

use super::reasons::Met;
use nix::libc;
use sandbox::confine::told::Refusal;
use sandbox::words::bytes;

/// Most refused calls that are explained.
const MOST: usize = 4;

/// Clauses on what the text of a test names.
pub(super) fn of(met: &Met<'_>) -> Vec<String> {
    let mut clauses = signals(met);
    clauses.extend(quiet(met));
    clauses.extend(cores(met));
    clauses
}

/// Signals that the kernel has sent for a limit or a filter of the sandbox's, or for one of the program's own.
fn signals(met: &Met<'_>) -> Vec<String> {
    let mut clauses = Vec::new();
    // Where no program was started nothing ended by a signal.
    let ran =
        met.leaf.is_none_or(|leaf| leaf.entered > 0 || leaf.memory.peak.as_ref().is_some_and(|peak| peak.value > 0));
    let size = bytes(met.limits.file);
    if ran && names_signal(met.text, 31, &["SIGSYS", "Bad system call"]) {
        clauses.push(
            "signal 31 (SIGSYS) ends a program here that makes a 32-bit or an x32 system call (int 0x80, gcc -m32), and anywhere \
             one that its own seccomp filter ends: build it for this machine, make calls through the C library, and look at what \
             its filter refuses"
                .into(),
        );
    }
    if ran && names_signal(met.text, 25, &["SIGXFSZ", "File size limit exceeded"]) {
        clauses.push(format!(
            "signal 25 (SIGXFSZ) is what a program gets that makes a file longer than the limit of {size}, or than one that it or \
             its parent has set (setrlimit, ulimit -f): write less, or look at the offset that it seeks to"
        ));
    } else if names_error(met.text, libc::EFBIG) {
        clauses.push(format!(
            "\"File too large\" is what a program gets that ignores SIGXFSZ, as Python does, and makes a file longer than the limit \
             of {size}, or than one that it or its parent has set (setrlimit, ulimit -f): write less, or look at the offset that it \
             seeks to"
        ));
    }
    clauses
}

/// Calls that are refused without a word, by their names beside their errors; or that there are such, where an error stands alone.
fn quiet(met: &Met<'_>) -> Vec<String> {
    let text = met.text;
    let errors = [libc::ENOSYS, libc::EOPNOTSUPP].into_iter().filter(|errno| names_error(text, *errno));
    let mut clauses: Vec<String> = Vec::new();
    for errno in errors {
        let with = |refusal: &&Refusal| refusal.errno == errno.cast_unsigned();
        let called = met.quiet.iter().filter(with).filter(|refusal| names_call(text, &refusal.syscall));
        let called: Vec<String> = called.take(MOST).map(|refusal| sentence(&refusal.syscall, refusal)).collect();
        let said = called.is_empty() && met.denied.iter().all(|denied| denied.error != words_of(errno));
        clauses.extend(called);
        match (errno, met.quiet.iter().find(with)) {
            (libc::ENOSYS, _) if said => clauses.push(format!(
                "\"{}\" is what a program gets from a system call that this course's machine does not have: `strace` shows which \
                 call it was",
                words_of(errno)
            )),
            // Nothing shows that it was this one.
            (_, Some(refusal)) if said => clauses.push(format!(
                "\"{}\" is what a program gets here from {}, among other calls: {}",
                words_of(errno),
                refusal.syscall,
                instead(refusal)
            )),
            _ => {}
        }
    }
    clauses
}

fn sentence(call: &str, refusal: &Refusal) -> String {
    format!("{call} is refused here ({}): {}", words_of(refusal.errno.cast_signed()), instead(refusal))
}

fn instead(refusal: &Refusal) -> &str {
    refusal.instead.as_deref().unwrap_or("it is not among the system calls of this course's machine")
}

/// That a limit on core files cannot be raised.
fn cores(met: &Met<'_>) -> Option<String> {
    // What shells say, and Python.
    let shell = met.text.contains("core file size: cannot modify limit");
    let python = met.text.contains("RLIMIT_CORE")
        && ["not allowed to raise maximum limit", "Operation not permitted"].iter().any(|says| met.text.contains(says));
    (shell || python).then(|| {
        let most = met.limits.cores;
        let limit = if most <= 1 {
            "there are no core files here".to_owned()
        } else {
            format!("core files are limited to {}", bytes(most))
        };
        format!("{limit}, and a program cannot raise that limit: look at the program with gdb while it runs")
    })
}

/// Whether a text says that something ended by this signal: by one of its names, or by a return code as Python gives it (the
/// number, negative) or a shell (128 more), where there was a shell.
fn names_signal(text: &str, number: u32, names: &[&str]) -> bool {
    // Lines of the test itself, of which a traceback is made, say what it expects.
    let mut said = text.lines().filter(|line| !line.starts_with([' ', '>']));
    if said.any(|line| names.iter().any(|name| line.contains(name))) {
        return true;
    }
    let shell = ["shell=True", "os.system", "'sh'", "'bash'", "/sh'", "/bash'", "sh: ", "bash: "];
    let mut codes = vec![format!("-{number}")];
    codes.extend(shell.iter().any(|word| text.contains(word)).then(|| (128 + number).to_string()));
    text.lines().any(|line| {
        let low = line.to_ascii_lowercase();
        let about = ["returncode", "exit", "status", "code"].iter().any(|word| low.contains(word));
        about && codes.iter().any(|code| has_number(line, code))
    })
}

/// Whether a text has this error, in words or by its name.
fn names_error(text: &str, errno: i32) -> bool {
    let name = match errno {
        libc::EFBIG => "EFBIG",
        libc::ENOSYS => "ENOSYS",
        _ => "EOPNOTSUPP",
    };
    text.contains(&words_of(errno)) || text.contains(name)
}

/// What perror says of an error number.
fn words_of(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().into()
}

/// Whether a call stands in a text by its name, also as `SYS_name` or `os.name`, and not as a part of another.
fn names_call(text: &str, call: &str) -> bool {
    text.match_indices(call).any(|(at, _)| {
        let before = &text[..at];
        let alone = before.ends_with("SYS_") || before.ends_with("NR_");
        let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        (alone || !word(before.chars().next_back())) && !word(text[at + call.len()..].chars().next())
    })
}

/// Whether a number stands in a line, and not as a part of another.
fn has_number(line: &str, number: &str) -> bool {
    line.match_indices(number).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + number.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_');
        !part(before) && !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::super::InForce;
    use super::*;
    use sandbox::confine::told::quiet_of;
    use sandbox::outcome::{Denied, LeafUsage};

    fn said(entered: u64, text: &str) -> Vec<String> {
        let limits =
            InForce { memory: 512 << 20, pids: 64, cpu_millis: 1000, file: 128 << 20, cores: 1, test_time: None };
        let leaf = LeafUsage { leaf: "t0".into(), entered, ..Default::default() };
        let quiet = quiet_of(sandbox::plan::Policy::Test.file());
        of(&Met { leaf: Some(&leaf), denied: &[], full: &[], late: false, quiet: &quiet, text, limits: &limits })
    }

    #[test]
    fn signals_are_explained_where_they_are_named() {
        for text in [
            "E  assert -31 == 0\nE   +  where -31 = CompletedProcess(args=['x'], returncode=-31).returncode",
            "E   died with <Signals.SIGSYS: 31>.",
            "Bad system call (core dumped)",
            ">   subprocess.run('x', shell=True)\nE   exit status 159",
        ] {
            let clauses = said(1, text);
            assert!(clauses.len() == 1 && clauses[0].contains("32-bit"), "{text}: {clauses:?}");
            assert!(clauses[0].contains("its own seccomp filter"), "{clauses:?}");
            assert_eq!(said(0, text), [""; 0], "no program has run");
        }
        let clauses = said(1, "returncode=-25");
        assert!(clauses[0].contains("limit of 128.0 MiB, or than one that it or its parent has set"), "{clauses:?}");
        for text in ["assert -31 == 0", "returncode=-311", "status 1159", "code 3-31", "exit 15.159", "returncode=31"] {
            assert_eq!(said(1, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_number_that_a_program_chose_and_a_name_in_the_tests_own_lines_are_no_signals() {
        for text in
            ["E  assert 159 == 0\nE  where 159 = CompletedProcess(args=['x'], returncode=159)", "exit status 153"]
        {
            assert_eq!(said(1, text), [""; 0], "{text}");
        }
        assert_eq!(said(1, ">   assert text == 'SIGXFSZ'\n    # SIGSYS\nE   assert 'a' == 'b'"), [""; 0]);
    }

    #[test]
    fn whoever_ignores_the_signal_hears_of_the_error() {
        for text in ["E  AssertionError: write: File too large", "OSError: [Errno 27] File too large"] {
            let clauses = said(1, text);
            assert!(clauses.len() == 1 && clauses[0].starts_with("\"File too large\" is what"), "{clauses:?}");
        }
    }

    #[test]
    fn calls_that_are_refused_without_a_word_are_explained_by_their_errors() {
        let one = |text: &str, wanted: &str| {
            let clauses = said(1, text);
            assert!(clauses.len() == 1 && clauses[0].starts_with(wanted), "{text}: {clauses:?}");
        };
        one(
            "E  OSError: [Errno 95] Operation not supported: 'f'\n>  os.setxattr('f', b'user.a', b'')",
            "setxattr is refused",
        );
        one("E  syscall(SYS_get_mempolicy) errno=38 Function not implemented", "get_mempolicy is refused here");
        one("E  setxattrat: Function not implemented", "setxattrat is refused here (Function not implemented): use");
        one("E  clone3: Function not implemented", "clone3 is refused here (Function not implemented): use fork");
        one("E  who knows: Function not implemented", "\"Function not implemented\" is what a program gets");
        one(
            "E  who knows: Operation not supported",
            "\"Operation not supported\" is what a program gets here from setxattr, among other calls: ",
        );
        for text in ["setxattr failed", "sysfs on /sys", "assert 1 == 0"] {
            assert_eq!(said(1, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn an_error_that_is_told_with_its_call_is_not_told_again() {
        let limits =
            InForce { memory: 512 << 20, pids: 64, cpu_millis: 1000, file: 128 << 20, cores: 1, test_time: None };
        let denied = Denied {
            leaf: "t0".into(),
            program: "prog".into(),
            call: "io_setup".into(),
            error: "Function not implemented".into(),
            times: 1,
            instead: None,
        };
        let (text, denied) = ("E  io_setup: Function not implemented", [&denied]);
        let met = Met { leaf: None, denied: &denied, full: &[], late: false, quiet: &[], text, limits: &limits };
        assert_eq!(of(&met), [""; 0]);
    }

    #[test]
    fn a_limit_on_cores_that_cannot_be_raised_is_told() {
        for text in [
            "sh: 1: ulimit: core file size: cannot modify limit: Operation not permitted",
            ">  resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\nE  ValueError: not allowed to raise maximum limit",
        ] {
            let clauses = said(1, text);
            assert!(clauses.len() == 1 && clauses[0].starts_with("there are no core files here"), "{clauses:?}");
        }
    }
}
