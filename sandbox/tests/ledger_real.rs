//! The ledger on the kernel at hand: what no control group pays for is booked to whoever took it, what one pays for is not, and what is
//! given back is taken off again. Needs root.

use sandbox::ledger::{Account, Ledger};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// A line on standard output for each step, and one from standard input before the next.
const PROGRAM: &str = r#"
import fcntl, os, resource, struct, sys
def step(text):
    print(text, flush=True)
    sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
step("here")
pipes = [os.pipe() for _ in range(128)]
for _, end in pipes:
    os.write(end, bytes(65536))
step("pipes")
files = []
for number in range(120):
    fd = os.open("/dev/shm/ledger-%d-%d" % (os.getpid(), number), os.O_RDWR | os.O_CREAT, 0o600)
    os.unlink("/dev/shm/ledger-%d-%d" % (os.getpid(), number))
    files.append(fd)
    for byte in range(500, 0, -1):
        fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, byte * 2, 1, 0))
step("locks")
"#;

/// A group of the v2 tree, wherever that is; gone with this.
struct Group(PathBuf);

impl Group {
    fn make() -> Group {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a v2 tree");
        let root = PathBuf::from(line.split(' ').nth(4).expect("a place"));
        let group = root.join(format!("ledger-test-{}", std::process::id()));
        std::fs::create_dir(&group).expect("a group");
        Group(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(10);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn pages_that_nobody_pays_for_are_booked_and_given_back() {
    let root = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nUid:\t0\t0\t"));
    if !root {
        assert!(std::env::var_os("OSTEST_REQUIRE_ROOT").is_none(), "this test needs root");
        println!("SKIPPED: it needs root");
        return;
    }
    let ledger = Ledger::open().expect("the ledger can be kept");
    let claim = ledger.claim(512 * MIB).expect("an account");
    let account = Account::open(claim.share()).expect("it can be opened by its number");
    let group = Group::make();
    account.add(&group.0).expect("it is entered");
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let (mut input, mut output) =
        (child.stdin.take().expect("a pipe"), BufReader::new(child.stdout.take().expect("a pipe")));
    let mut step = |wanted: &str| {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), wanted);
        let held = account.held().expect("the account can be read");
        println!("{wanted}: {} KiB", held >> 10);
        held
    };
    step("here");
    std::fs::write(group.0.join("cgroup.procs"), child.id().to_string()).expect("it is moved");
    input.write_all(b"\n").expect("it goes on");
    let pipes = step("pipes");
    assert!(pipes < 4 * MIB, "8 MiB of pipes are charged to the group: {pipes}");
    input.write_all(b"\n").expect("it goes on");
    let locks = step("locks") - pipes;
    // 60 000 of them, 192 bytes or so each.
    assert!((8 * MIB..24 * MIB).contains(&locks), "{locks}");
    drop(input);
    assert!(child.wait().expect("it ends").success());
    let held = || account.held().expect("the account can be read");
    wait_until("what was taken is given back", || held() <= 4 * MIB);
    assert_eq!(account.beyond().expect("the account can be read"), None);
    // The account ends with the claim, and the maps with the ledger.
    let share = claim.share();
    drop((claim, account));
    Account::open(share).expect("the maps are there as long as the ledger is");
    drop(ledger);
    // The kernel lets go of programs, and of what they use, a grace period later.
    wait_until("nothing is left of it", || Account::open(share).is_err());
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
