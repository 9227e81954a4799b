//! Filters with a listener, in force: what happens when nobody listens, and when somebody else does already.
//!
//! As in `seccomp_live.rs`, each case runs in a process of its own, which this test binary starts with `TOLD_LIVE` in the
//! environment. Needs no privileges; as root it shows that the filters refuse and not the kernel's permissions.

use sandbox::confine::seccomp;
use sandbox::confine::told::{self, Installed};
use sandbox::plan::Policy;
use sandbox::sys;
use std::os::fd::AsFd;
use std::process::Command;

const CASE: &str = "TOLD_LIVE";

/// A call that succeeds wherever it is allowed, and that nobody is allowed: `unshare` of nothing.
fn unshare_nothing() -> i32 {
    // SAFETY: the call has no pointers.
    match unsafe { libc::syscall(libc::SYS_unshare, 0) } {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    }
}

/// Calls that are allowed, and of which nobody is asked: what a lock meets at a descriptor that there is not, what an attribute meets.
fn lock_and_set_nothing() -> [i32; 2] {
    let error = |done: libc::c_int| match done {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    };
    // SAFETY: the kernel looks at the descriptor before it reads the lock, which is one in any case.
    let lock = unsafe { libc::fcntl(-1, libc::F_SETLK, &raw const *Box::new(std::mem::zeroed::<libc::flock>())) };
    let lock = error(lock);
    // SAFETY: the name and the value are strings that live, of which the kernel reads as many bytes as it is told.
    let attribute = unsafe { libc::fsetxattr(-1, c"user.a".as_ptr(), c"b".as_ptr().cast(), 1, 0) };
    [lock, error(attribute)]
}

/// A filter that lets everything pass.
fn open_filter() -> Vec<libc::sock_filter> {
    let (code, k) = ((libc::BPF_RET | libc::BPF_K) as u16, libc::SECCOMP_RET_ALLOW);
    vec![libc::sock_filter { code, jt: 0, jf: 0, k }]
}

/// Not a test of its own: the inside of the others.
#[test]
fn enter() {
    let Ok(case) = std::env::var(CASE) else { return };
    assert_eq!(unshare_nothing(), 0, "allowed before");
    let (listening, answers) = told::compile(Policy::Test).expect("it compiles");
    match case.as_str() {
        "closed" => {
            let Installed::Told(listener) = told::install(&listening).expect("it can be installed") else {
                panic!("no listener");
            };
            drop(listener);
            // The kernel's own answer, and never that the call goes on.
            assert_eq!(unshare_nothing(), libc::ENOSYS);
            // There is no listener any more, and the kernel would give one; it would go before ours.
            let error = sys::install_listener(&open_filter()).expect_err("nobody inside makes a listener");
            assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
            assert_eq!(unshare_nothing(), libc::ENOSYS);
        }
        "held" => {
            let Installed::Told(listener) = told::install(&listening).expect("it can be installed") else {
                panic!("no listener");
            };
            let caller = std::thread::spawn(unshare_nothing);
            let waiting = loop {
                if let Some(waiting) = sys::waiting_call(listener.as_fd()).expect("a call") {
                    break waiting;
                }
            };
            assert_eq!(i64::from(waiting.number), libc::SYS_unshare);
            assert!(sys::still_waits(listener.as_fd(), waiting.id));
            let rule = answers.find(waiting.number, &waiting.args).expect("a refusal");
            assert_eq!((&*rule.syscall, rule.errno), ("unshare", libc::EPERM as u32));
            sys::refuse_call(listener.as_fd(), waiting.id, rule.errno).expect("an answer");
            assert_eq!(caller.join().expect("a thread"), libc::EPERM);
            assert!(!sys::still_waits(listener.as_fd(), waiting.id));
            let late = sys::refuse_call(listener.as_fd(), waiting.id, rule.errno);
            assert!(late.is_ok(), "who has ended is beyond answers: {late:?}");

            // Nobody answers, and they do not wait: the kernel's own answer, and the filter's.
            assert_eq!(lock_and_set_nothing(), [libc::EBADF, libc::EOPNOTSUPP]);
        }
        "outer" => {
            let outer = sys::install_listener(&open_filter()).expect("a listener around the sandbox");
            assert_eq!(told::availability().expect("a status"), told::Availability::Perhaps);
            let Installed::Untold(why) = told::install(&listening).expect("nothing is broken") else {
                panic!("a second listener");
            };
            assert_eq!(why.raw_os_error(), Some(libc::EBUSY));
            assert_eq!(unshare_nothing(), 0, "nothing is in force yet");
            seccomp::install(&seccomp::compile(Policy::Test).expect("it compiles")).expect("the plain filters");
            assert_eq!(unshare_nothing(), libc::EPERM);
            drop(outer);
        }
        other => panic!("no case {other}"),
    }
    println!("THROUGH {case}");
}

#[track_caller]
fn case(name: &str) {
    let mut program = Command::new(std::env::current_exe().expect("this program"));
    let output = program.args(["--exact", "enter", "--nocapture"]).env(CASE, name).output().expect("it starts");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    assert!(output.status.success() && text.contains(&format!("THROUGH {name}")), "{text}");
}

#[test]
fn where_nobody_listens_nothing_is_allowed() {
    case("closed");
}

#[test]
fn whoever_is_refused_gets_the_policys_error() {
    case("held");
}

#[test]
fn where_somebody_listens_already_the_plain_filters_refuse() {
    case("outer");
}
