//! How a run ends, and what is told of it: by the command, by a signal, by an end of the runner or the launcher that
//! nobody planned. Needs root, but for the command line's own errors.

mod common;

use common::{BINARY, Place, all_pids, cmdline, is_gone, marked, need_root, send_signal, wait_until};
use std::process::Command;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[test]
fn exit_codes_come_through() {
    if !need_root("exit_codes_come_through") {
        return;
    }
    let place = Place::new();
    for code in [0, 1, 3, 125, 255] {
        let run = place.sh(&[], &format!("echo out; exit {code}"));
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        assert_eq!(run.report["exitCode"], code);
        assert_eq!(run.report["ended"], "exited");
        assert!(run.report["signal"].is_null());
        assert_eq!(run.verdict(), if code == 0 { "ok" } else { "failed" });
        assert_eq!(run.text(), "out\n");
    }
}

#[test]
fn death_by_signal_is_told_from_exit() {
    if !need_root("death_by_signal_is_told_from_exit") {
        return;
    }
    let place = Place::new();
    for (signal, name) in [(6, "SIGABRT"), (9, "SIGKILL"), (11, "SIGSEGV"), (15, "SIGTERM"), (34, "34")] {
        let run = place.sh(&[], &format!("kill -{signal} $$"));
        assert_eq!((run.code, run.verdict()), (Some(128 + signal), "signaled"), "{:#}", run.report);
        assert_eq!(run.report["signal"], signal);
        assert!(run.report["exitCode"].is_null());
        assert!(run.message().contains(name), "{}", run.message());
    }
    // An orphan's death is nobody's.
    let orphan = place.sh(&[], "(sh -c 'kill -35 $$' &); sleep 0.3; echo alive").good();
    assert_eq!(orphan.text(), "alive\n");
    // Without a signal of its own: what a shell makes of a child's death is an exit code.
    let told = place.sh(&[], "sh -c 'kill -11 $$'; exit $?");
    assert_eq!((told.code, told.verdict()), (Some(139), "failed"));
}

#[test]
fn a_command_that_cannot_start_is_a_sentence() {
    if !need_root("a_command_that_cannot_start_is_a_sentence") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let garbage = place.path().join("garbage");
    std::fs::write(&garbage, [0u8, 1, 2, 3]).expect("a file");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&garbage, PermissionsExt::from_mode(0o755)).expect("chmod");
    let garbage = garbage.to_str().expect("a plain path");
    for (program, wanted) in [
        ("no-such-program", "no such program"),
        ("/no/such/program", "no such program"),
        ("/etc/passwd", "not executable"),
        ("/tmp", "not executable"),
        (garbage, "no program for this machine"),
    ] {
        let run = place.run(&["--ro", garbage], &[program]);
        assert_eq!(run.code, Some(125), "{program}: {}", run.stderr);
        assert!(run.stderr.contains(program) && run.stderr.contains(wanted), "{program}: {}", run.stderr);
        assert!(run.report.is_null(), "nothing ran, so nothing is reported");
        place.nothing_left(&groups);
    }
    // Longer than what init can say: it says both ends, and that it is not the host's fault.
    let long = format!("/{}", "x".repeat(20_000));
    let run = place.run(&[], &[&long]);
    assert_eq!(run.code, Some(125), "{}", run.stderr);
    assert!(run.stderr.contains("bytes left out") && run.stderr.contains("could not be started"), "{}", run.stderr);
    place.nothing_left(&groups);
    let missing = place.run(&["--ro", "/no/such/path"], &["true"]);
    assert_eq!(missing.code, Some(2), "that is a wrong command line");
    assert!(missing.stderr.contains("/no/such/path"), "{}", missing.stderr);
    place.nothing_left(&groups);
}

#[test]
fn a_wrong_command_line_is_2() {
    for words in
        [&["exec", "--no-such-flag", "--", "true"][..], &["exec"], &["exec", "--mem-limit", "lots", "--", "true"]]
    {
        let out = Command::new(BINARY).args(words).output().expect("it starts");
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&out.stderr).starts_with("error: "), "{words:?}");
    }
}

#[test]
fn limits_of_zero_are_refused() {
    if !need_root("limits_of_zero_are_refused") {
        return;
    }
    for flags in [["--mem-limit", "0"], ["--pids-limit", "0"]] {
        let run = Place::new().run(&flags, &["true"]);
        assert!([Some(2), Some(125)].contains(&run.code), "{flags:?}: {:?}", run.code);
        assert!(!run.stderr.is_empty(), "{flags:?} is said");
    }
}

#[test]
fn a_daemon_that_holds_the_output_open_holds_nothing_up() {
    if !need_root("a_daemon_that_holds_the_output_open_holds_nothing_up") {
        return;
    }
    let place = Place::new();
    let word = format!("marked-{}-daemon", std::process::id());
    let script = format!("(setsid sh -c ': {word}; while :; do sleep 600; done' &); echo before; exit 4");
    let run = place.sh(&["--timeout", "50"], &script);
    assert_eq!((run.code, run.verdict()), (Some(4), "failed"), "it ended with its command, not with its time");
    assert_eq!(run.text(), "before\n");
    assert_eq!(marked(&word), [0; 0]);
}

#[test]
fn orphans_are_reaped() {
    if !need_root("orphans_are_reaped") {
        return;
    }
    // When they end is the scheduler's business; that none stays is init's.
    let script = "for i in 1 2 3 4 5 6 7 8; do (true & true &); done
        for i in $(seq 200); do
            left=$(grep -l '^State:.Z' /proc/[0-9]*/status)
            [ -z \"$left\" ] && [ $i -gt 5 ] && exit 0
            sleep 0.05
        done
        echo \"$left\"";
    assert_eq!(Place::new().sh(&[], script).good().text(), "", "zombies are left to init, which reaps");
}

#[test]
fn told_to_stop_it_interrupts_and_leaves_nothing() {
    if !need_root("told_to_stop_it_interrupts_and_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    for signal in [SIGTERM, SIGINT] {
        let running = place.start(&[], &["sh", "-c", "trap '' TERM INT; echo begun; sleep 600 & wait; sleep 600"]);
        let pids = place.wait_for_pids(&groups, 3);
        running.signal(signal);
        let run = running.wait();
        assert_eq!((run.code, run.verdict()), (Some(137), "interrupted"), "{}\n{:#}", run.stderr, run.report);
        assert!(run.message().contains("interrupted"));
        assert!(pids.into_iter().all(is_gone));
        place.nothing_left(&groups);
    }
}

#[test]
fn a_runner_that_is_killed_takes_everything_with_it() {
    if !need_root("a_runner_that_is_killed_takes_everything_with_it") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let running =
        place.start(&[], &["sh", "-c", "trap '' TERM INT HUP; setsid sleep 600 & sleep 600 & kill -STOP $!; wait"]);
    let launcher = running.launcher();
    let inside = place.wait_for_pids(&groups, 4);
    running.signal(SIGKILL);
    assert_eq!(running.wait().signal, Some(SIGKILL));
    wait_until("the launcher's end", || is_gone(launcher));
    wait_until("the sandbox's end", || inside.iter().all(|pid| is_gone(*pid)));
    wait_until("no process in the groups", || common::pids_below(&groups[0]).is_empty());
    // What nobody was left to remove, the next run on the same state directory removes.
    place.run(&[], &["true"]).good();
    place.nothing_left(&groups);
}

#[test]
fn a_launcher_that_is_killed_is_said_and_leaves_nothing() {
    if !need_root("a_launcher_that_is_killed_is_said_and_leaves_nothing") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let running = place.start(&[], &["sh", "-c", "trap '' TERM INT HUP; setsid sleep 600 & wait"]);
    let launcher = running.launcher();
    let inside = place.wait_for_pids(&groups, 3);
    send_signal(launcher, SIGKILL);
    let run = running.wait();
    assert_eq!(run.code, Some(125), "{}", run.stderr);
    assert!(run.stderr.contains("the launcher was killed from outside, by signal 9 (SIGKILL)"), "{}", run.stderr);
    assert!(run.stderr.contains("dmesg"), "{}", run.stderr);
    assert!(inside.iter().all(|pid| is_gone(*pid)), "whoever kills a launcher ends its sandbox");
    place.nothing_left(&groups);
}

#[test]
fn a_launcher_that_is_told_to_stop_ends_in_good_order() {
    if !need_root("a_launcher_that_is_told_to_stop_ends_in_good_order") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let running = place.start(&[], &["sleep", "600"]);
    place.wait_for_pids(&groups, 2);
    // Its signals are heard from the moment at which the command has started.
    let pid = place.wait_for_pids(&groups, 2);
    wait_until("the command", || pid.iter().any(|p| cmdline(*p).starts_with("sleep")));
    send_signal(running.launcher(), SIGTERM);
    let run = running.wait();
    assert_eq!(run.code, Some(125), "nothing was graded: {}", run.stderr);
    assert!(run.stderr.contains("somebody else than the runner told the launcher to stop"), "{}", run.stderr);
    place.nothing_left(&groups);
}

#[test]
fn init_killed_from_outside_is_no_success() {
    if !need_root("init_killed_from_outside_is_no_success") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let running = place.start(&[], &["sleep", "600"]);
    let mut init = None;
    wait_until("the command beside its init", || {
        let pids = common::pids_below(&groups[0]);
        let sleeps = pids.iter().any(|p| cmdline(*p).starts_with("sleep"));
        init = pids.into_iter().find(|p| cmdline(*p).starts_with("ostest-init"));
        sleeps && init.is_some()
    });
    send_signal(init.expect("just found"), SIGKILL);
    let run = running.wait();
    assert_eq!((run.code, run.verdict()), (Some(137), "signaled"), "{:#}", run.report);
    assert_eq!(run.report["ended"], "killed");
    place.nothing_left(&groups);
}

#[test]
fn the_printed_plan_is_a_plan_and_nothing_is_done() {
    if !need_root("the_printed_plan_is_a_plan_and_nothing_is_done") {
        return;
    }
    let place = Place::new();
    let plan = place.plan(&["--mem-limit", "48M", "--policy", "build", "--timeout", "7"]);
    assert_eq!(plan.validate(), Ok(()));
    assert_eq!((plan.limits.memory, plan.limits.wall_ms), (48 << 20, 7000));
    assert_eq!(plan.policy, sandbox::plan::Policy::Build);
    assert_eq!(plan.command.argv, ["true"]);
    assert_eq!(plan.network, sandbox::plan::Network::Loopback);
    assert!(plan.waived.is_empty());
    place.nothing_left(&place.groups());
}

#[test]
fn runs_on_one_state_directory_do_not_disturb_each_other() {
    if !need_root("runs_on_one_state_directory_do_not_disturb_each_other") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let long = place.start(&[], &["sh", "-c", "echo $$; while [ ! -e /tmp/end ]; do sleep 0.05; done"]);
    let before = place.wait_for_pids(&groups, 2);
    for number in 0..3 {
        let short = place.sh(&[], &format!("echo {number}; ls /tmp /task; id -u")).good();
        assert!(short.text().starts_with(&format!("{number}\n")) && short.text().ends_with("1000\n"));
    }
    // One of them crashes; what it leaves must not be swept away together with the one that runs.
    let crashed = place.start(&[], &["sleep", "600"]);
    wait_until("the second sandbox", || common::pids_below(&groups[0]).iter().any(|p| cmdline(*p) == "sleep 600 "));
    crashed.signal(SIGKILL);
    crashed.wait();
    place.run(&[], &["true"]).good();
    assert!(before.iter().take(1).all(|pid| !is_gone(*pid)), "the first one goes on");
    long.signal(SIGTERM);
    assert_eq!(long.wait().verdict(), "interrupted");
    place.run(&[], &["true"]).good();
    place.nothing_left(&groups);
}

#[test]
fn eight_at_a_time_have_ids_of_their_own() {
    if !need_root("eight_at_a_time_have_ids_of_their_own") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    // Each waits until all have begun, which they see from outside: nobody inside sees another.
    let script = "echo $(sed -n '1s/ *0 *\\([0-9]*\\).*/\\1/p' /proc/self/uid_map); sleep 600";
    let running: Vec<_> = (0..8).map(|_| place.start(&[], &["sh", "-c", script])).collect();
    wait_until("eight sandboxes", || {
        let sleeping = |pid: &i32| cmdline(*pid) == "sleep 600 ";
        common::pids_below(&groups[0]).iter().filter(|pid| sleeping(pid)).count() == 8
    });
    for run in &running {
        run.signal(SIGTERM);
    }
    let mut ids: Vec<String> = running.into_iter().map(|run| run.wait().text()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8, "{ids:?}");
    place.nothing_left(&groups);
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    if !need_root("a_reader_that_goes_away_ends_the_run") {
        return;
    }
    let place = Place::new();
    let report = place.path().join("report.json");
    let mut command = place.exec(&["--timeout", "600"]);
    command.arg("--report").arg(&report).args(["--", "sh", "-c", "yes"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(141), "as SIGPIPE would have");
    let text = std::fs::read_to_string(report).expect("a report");
    assert!(text.contains("\"verdict\": \"interrupted\""), "{text}");
    assert!(!all_pids().into_iter().any(|pid| cmdline(pid).contains(place.path().to_str().expect("a plain path"))));
}

#[test]
fn many_short_runs_come_and_go_on_one_state_directory() {
    if !need_root("many_short_runs_come_and_go_on_one_state_directory") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    // The last one to go takes the groups away while the next one is just coming.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..8 {
                    place.run(&[], &["true"]).good();
                }
            });
        }
    });
    place.nothing_left(&groups);
}

#[test]
fn groups_that_the_last_run_took_away_are_made_again() {
    if !need_root("groups_that_the_last_run_took_away_are_made_again") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    // This test is the run that is just ending: it holds the directory's lock alone and removes the groups.
    std::fs::create_dir_all(place.state()).expect("the state directory");
    let lock = std::fs::File::create(place.state().join("users.lock")).expect("the lock");
    lock.lock().expect("nobody else is there");
    let running = place.start(&[], &["true"]);
    let pid = running.pid().to_string();
    wait_until("the next run to wait for its turn", || {
        let locks = std::fs::read_to_string("/proc/locks").expect("the locks");
        locks.lines().any(|line| line.contains("->") && line.split_whitespace().any(|word| word == pid))
    });
    for dir in &groups {
        std::fs::remove_dir(dir).expect("an empty group");
    }
    drop(lock);
    running.wait().good();
    place.nothing_left(&groups);
}
