//! The runner on a host that systemd runs: as a unit it uses what it was given, started by hand it gets a scope of its
//! own, and what is systemd's it never writes.
//!
//! Only for the machine that `scripts/vm/systemd-tests.sh` boots: these tests start units and log in as root, which is not
//! for anybody's own host. So cargo does not run them unasked (`test = false`), and they fail elsewhere.

#[path = "../common/mod.rs"]
mod common;
mod machine;
mod service;

use common::{BINARY, Place, cmdline, is_gone, pids_below, send_signal, wait_until};
use machine::{By, TREE, Writers, alone, done, exec, nothing_is_left, only_systemd_wrote_outside, ours, scopes, show};
use machine::{quoted, read, stage, start, words};
use std::path::Path;
use std::process::Command;

const GRADER: By = By::Unit("grader", &["Delegate=yes"]);
const GRADER_GROUP: &str = "/sys/fs/cgroup/system.slice/grader.service";
/// Touches 200 MiB.
const HUNGRY: &str = "exec python3 -c 'b = bytearray(200 << 20)'";

#[track_caller]
fn limits_hold(by: By) {
    let place = Place::new();
    let hungry = exec(by, &place, &["--mem-limit", "64M"], HUNGRY);
    assert_eq!((hungry.code, hungry.verdict()), (Some(137), "memory-limit"), "{}{:#}", hungry.stderr, hungry.report);
    assert_eq!(hungry.report["peakMemorySource"], "memory.peak");
    let bomb = "python3 -c 'import os\nn = 0\ntry:\n  while os.fork() or os.read(0, 1) is None: n += 1\nexcept OSError: print(n)'";
    let crowd = exec(by, &place, &["--pids-limit", "20", "--timeout", "60"], bomb);
    assert!(crowd.number("pidsDenied") >= 1.0, "{}{:#}", crowd.stderr, crowd.report);
    assert!(crowd.number("peakPids") <= 20.0, "{:#}", crowd.report);
    let spin = "python3 -c 'import time\nwhile time.process_time() < 2: pass'";
    let slow = exec(by, &place, &["--cpu-limit", "0.2"], spin);
    assert!(slow.number("throttledSeconds") > 0.0, "{}{:#}", slow.stderr, slow.report);
    nothing_is_left();
}

#[test]
fn limits_hold_in_a_unit_with_delegation() {
    let _alone = alone();
    limits_hold(GRADER);
}

#[test]
fn limits_hold_for_one_who_starts_it_by_hand() {
    let _alone = alone();
    limits_hold(By::Hand);
}

#[test]
fn a_unit_with_delegation_works_below_its_own_group_and_ends_with_it() {
    let _alone = alone();
    let place = Place::new();
    let writers = Writers::watch();
    // Deaf to the signal with which systemd begins, and in a session of its own.
    let unit = start(GRADER, &place, &[], "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600' & sleep 600");
    let (stage, own) = (stage(), Path::new(GRADER_GROUP));
    assert!(stage.starts_with(own), "{}", stage.display());
    wait_until("the command's child", || pids_below(&stage).len() >= 4);
    let supervisor = pids_below(&own.join("supervisor"));
    assert!(supervisor.iter().any(|pid| cmdline(*pid).starts_with(BINARY)), "the runner is in a leaf of its own");
    assert_eq!(read(own, "cgroup.procs"), "", "and nothing beside it");
    let inside = pids_below(&stage);

    done(&["systemctl", "stop", "grader"]);
    assert!(inside.iter().chain(&supervisor).all(|pid| is_gone(*pid)), "processes are left: {inside:?}");
    nothing_is_left();
    assert!(!own.exists(), "the unit's group is gone");
    unit.wait();
    let inside = only_systemd_wrote_outside(GRADER_GROUP, &writers.end());
    assert!(inside.iter().any(|who| who == "ostest-sandbox"), "the runner is seen to write its own group: {inside:?}");
}

#[test]
fn units_without_delegation_are_refused_and_nothing_is_written() {
    let _alone = alone();
    let place = Place::new();
    // The second is offered every controller by systemd, for its own limits.
    for by in [By::Unit("plain", &[]), By::Unit("limited", &["MemoryMax=1G", "TasksMax=500", "CPUQuota=150%"])] {
        let (name, report) = (if let By::Unit(name, _) = by { name } else { "" }, place.path().join("report.json"));
        let own = Path::new(TREE).join(format!("system.slice/{name}.service"));
        // The unit looks at the whole tree itself, before and after, while its own group is there.
        let look = format!("find {TREE} -type d -print -exec cat '{{}}/cgroup.subtree_control' ';'");
        let script = format!(
            "{look} >{dir}/before; {exec}; code=$?; {look} >{dir}/after; exit $code",
            dir = place.path().display(),
            exec = quoted(&words(&place, &report, &[], "true")),
        );
        let writers = Writers::watch();
        let refused = by.command(&["sh", "-c", &script].map(String::from)).output().expect("systemd-run starts");
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(125), "{text}");
        assert!(text.contains("Delegate=yes") && text.contains(&format!("{name}.service")), "{text}");
        let seen = |file: &str| std::fs::read_to_string(place.path().join(file)).expect("the unit has looked");
        assert!(seen("before").contains(&format!("{}\n", own.display())), "{}", seen("before"));
        assert_eq!(seen("before"), seen("after"), "nothing was made or written");
        let inside = only_systemd_wrote_outside(&own.display().to_string(), &writers.end());
        assert!(inside.iter().all(|who| who == "systemd"), "not for a moment either: {inside:?}");
        assert!(!report.exists() && ours().is_empty());
    }
}

#[test]
fn started_by_hand_it_has_a_scope_that_is_its_own() {
    let _alone = alone();
    let place = Place::new();
    let session = Command::new("su").args(["-l", "-c", "cat /proc/self/cgroup"]).output().expect("su starts").stdout;
    let session = String::from_utf8_lossy(&session).into_owned();
    assert!(session.contains("/user.slice/user-0.slice/session-"), "a login is a session here: {session}");

    let writers = Writers::watch();
    let first = start(By::Hand, &place, &[], "sleep 600");
    let stage = stage();
    let base = stage.parent().expect("a base");
    let scope = base.parent().expect("a scope");
    let name = scope.file_name().expect("a name").to_string_lossy().into_owned();
    let supervisor = pids_below(&scope.join("supervisor"));
    let runner = supervisor.into_iter().find(|pid| cmdline(*pid).starts_with(BINARY)).expect("the runner's leaf");
    let instance = base.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(name, format!("{instance}-{runner}.scope"));
    assert_eq!(scope, Path::new(TREE).join("system.slice").join(&name));
    assert_eq!((show(&name, "Delegate"), show(&name, "ActiveState")), ("yes".into(), "active".into()));

    // A second one beside it has its own, and the end of one is not the end of the other.
    let second = exec(By::Hand, &place, &[], "true");
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(stage.exists() && !is_gone(runner), "the first goes on");
    wait_until("the second's scope to be gone with it", || scopes() == [scope.to_path_buf()]);

    send_signal(runner, 15);
    first.wait();
    nothing_is_left();
    assert_eq!(show(&name, "LoadState"), "not-found", "systemd keeps nothing of it");
    // For a delegated scope systemd hands every controller down to the units of its slice. That is its own affair.
    let inside = only_systemd_wrote_outside(&format!("{TREE}/system.slice/{instance}-"), &writers.end());
    assert!(inside.iter().any(|who| who == "ostest-sandbox"), "the runner is seen to write its own group: {inside:?}");
}

#[test]
fn two_that_are_started_at_once_leave_each_other_alone() {
    let _alone = alone();
    let place = Place::new();
    for _ in 0..3 {
        let both = [(); 2].map(|()| start(By::Hand, &place, &[], "exit 7"));
        for run in both.map(machine::Started::wait) {
            assert_eq!(run.code, Some(7), "{}", run.stderr);
        }
    }
    nothing_is_left();
}

#[test]
fn what_a_killed_one_left_in_its_scope_is_swept_by_the_next_start() {
    let _alone = alone();
    for next in [By::Hand, GRADER] {
        let place = Place::new();
        let first = start(By::Hand, &place, &[], "sleep 600");
        let stage = stage();
        let scope = stage.ancestors().nth(2).expect("a scope").to_path_buf();
        // A sandbox dies with its launcher. This stands for a process that did not.
        let mut survivor = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        std::fs::write(stage.join("payload/cgroup.procs"), survivor.id().to_string()).expect("it is moved");
        // Frozen first, so that neither tidies up after the other: a runner and a launcher, killed in one moment.
        let leaf = scope.join("supervisor");
        let both = pids_below(&leaf);
        assert!(both.len() >= 2, "runner and launcher: {both:?}");
        let order = |file: &str| std::fs::write(leaf.join(file), "1").expect("the kernel takes it");
        order("cgroup.freeze");
        wait_until("them to be frozen", || read(&leaf, "cgroup.events").contains("frozen 1"));
        order("cgroup.kill");
        first.wait();
        wait_until("the two to be gone", || both.iter().all(|pid| is_gone(*pid)));
        let ended = survivor.try_wait().expect("wait");
        assert!(ended.is_none() && scope.exists(), "what was left is not: {ended:?}, the scope: {}", scope.exists());

        let run = exec(next, &place, &[], "true");
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(survivor.try_wait().expect("wait").is_some(), "what was left lives on after the next start");
        nothing_is_left();
    }
}

#[test]
fn systemd_takes_nothing_away_while_a_stage_runs() {
    let _alone = alone();
    for by in [GRADER, By::Hand] {
        let place = Place::new();
        let gate = tempfile::tempdir().expect("a directory");
        let dir = gate.path().to_str().expect("a plain path");
        let flags = ["--mem-limit", "96M", "--pids-limit", "33", "--cpu-limit", "0.5", "--ro", dir];
        let script = format!("while ! [ -e {dir}/go ]; do sleep 0.2; done; {HUNGRY}");
        let run = start(by, &place, &flags, &script);
        let stage = stage();
        let base = stage.parent().expect("a base");
        let own = base.parent().expect("a unit");
        let seen = || {
            let limits = ["memory.max", "memory.swap.max", "pids.max", "cpu.max"].map(|file| read(&stage, file));
            (limits, [&stage, base, own].map(|group| read(group, "cgroup.subtree_control")))
        };
        let before = seen();
        assert_eq!(before.0, ["100663296", "0", "33", "50000 100000"]);
        // Whatever makes systemd go through its tree: its configuration again, and units that bring controllers and take
        // them along again.
        done(&["systemctl", "daemon-reload"]);
        let limited = ["-p", "MemoryMax=50M", "-p", "CPUQuota=10%", "-p", "TasksMax=9"];
        done(&[&["systemd-run", "--quiet", "--wait"][..], &limited, &["true"]].concat());
        done(&[&["systemd-run", "--quiet", "--unit=neighbour"][..], &limited, &["sleep", "600"]].concat());
        done(&["systemd-run", "--quiet", "--wait", "true"]);
        done(&["systemctl", "set-property", "--runtime", "neighbour", "CPUWeight=50"]);
        done(&["systemctl", "stop", "neighbour"]);
        done(&["systemctl", "daemon-reload"]);
        done(&["systemctl", "daemon-reexec"]);
        assert_eq!(seen(), before);
        // Not only in the files.
        std::fs::write(gate.path().join("go"), "").expect("a file");
        let run = run.wait();
        assert_eq!((run.code, run.verdict()), (Some(137), "memory-limit"), "{}{:#}", run.stderr, run.report);
        nothing_is_left();
    }
}

#[test]
fn a_delegated_scope_that_somebody_asked_for_is_used_as_it_is() {
    let _alone = alone();
    let place = Place::new();
    let run = start(By::Scope("wanted", &["Delegate=yes"]), &place, &[], "sleep 600");
    let stage = stage();
    let own = Path::new(TREE).join("system.slice/wanted.scope");
    assert!(stage.starts_with(&own), "{}", stage.display());
    done(&["systemctl", "stop", "wanted.scope"]);
    run.wait();
    nothing_is_left();
}

#[test]
fn where_systemd_cannot_be_asked_it_says_so_and_writes_nothing() {
    let _alone = alone();
    let place = Place::new();
    let report = place.path().join("report.json");
    let mut command = vec!["env".to_string(), "PATH=/nowhere".into()];
    command.extend(words(&place, &report, &[], "true"));
    let writers = Writers::watch();
    let refused = By::Hand.command(&command).output().expect("su starts");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(125), "{text}");
    assert!(text.contains("busctl") && text.contains("systemd-run --scope -p Delegate=yes"), "{text}");
    only_systemd_wrote_outside("(nowhere)", &writers.end());
    assert!(!report.exists() && ours().is_empty());
}

#[test]
fn check_says_where_the_groups_are_or_what_is_missing() {
    let _alone = alone();
    let place = Place::new();
    let state = place.state();
    let words = [BINARY, "check", "--json", "--state-dir", state.to_str().expect("a plain path")];
    let finding = |by: By| {
        let out = by.command(&words.map(String::from)).output().expect("it starts");
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        let all = said["findings"].as_array().expect("findings").clone();
        let one = all.into_iter().find(|f| f["name"] == "cgroups").expect("a finding named cgroups");
        one.as_object().expect("fields").values().filter_map(|v| v.as_str()).collect::<Vec<_>>().join(" ")
    };
    let unit = finding(GRADER);
    assert!(unit.contains("unified") && unit.contains(GRADER_GROUP), "{unit}");
    let plain = finding(By::Unit("plain", &[]));
    assert!(plain.contains("Delegate=yes") && plain.contains("systemctl edit plain.service"), "{plain}");
    let by_hand = finding(By::Hand);
    let scope = format!("unified: cgroup v2 at {TREE}/system.slice/ostest-sandbox-");
    assert!(by_hand.contains(&scope) && by_hand.contains(".scope/"), "{by_hand}");
    nothing_is_left();
}
