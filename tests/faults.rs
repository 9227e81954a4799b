//! Faults of the network and of the host, made and mended under a runner: what each costs, as rows of one table (`-- --nocapture`).

mod common;
mod support;

use common::{cmdline, field, is_gone, send_signal, wait_until};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::backend::Counting;
use support::running::{Everything, Running, passed, status};
use support::servers::{Certificate, NAME, Server, wheel};
use support::{Place, need_root};

const KILL: i32 = 9;

/// Where nobody answers a question for a name.
const NO_RESOLVER: &str = "nameserver 127.0.0.254\noptions timeout:1 attempts:1\n";

#[test]
fn a_name_that_is_not_resolved_costs_no_attempt() {
    if !need_root("a_name_that_is_not_resolved_costs_no_attempt") {
        return;
    }
    let (place, suite) = Place::with_good();
    let certificate = Certificate::make(&place);
    let server = Server::git(&place, &certificate);
    let top = format!("https://{NAME}:{}/", server.port);
    let of = |attempt: u64| json!({"attempt": attempt, "repositoryUrl": format!("{top}good"), "branch": "main"});
    let backend = Counting::start([of(1)], || ());
    // The runner's own view of who knows names.
    let known = format!("127.0.0.1 localhost {NAME}\n");
    let files = place.tree("names", &[("hosts", &known), ("resolv.conf", NO_RESOLVER)]);
    let hosts = files.join("hosts");
    let mut command = place.runner(&backend.url, &suite);
    command.args(["--concurrent", "2", "--logger-level", "warning", "--allow-url", &top]);
    command.args(["--allow-internal", &format!("{NAME}:{}", server.port)]).env("GIT_SSL_CAINFO", &certificate.file);
    let runner = Running::of(&place, with_files(&command, &files));
    let all = Everything { place: &place, backend: &backend, runner: &runner, of: &of };
    let given = all.meet(
        "DNS",
        "2",
        // In place: a bind mount shows the file that it was made of.
        || std::fs::write(&hosts, "127.0.0.1 localhost\n").expect("a file"),
        || std::fs::write(&hosts, &known).expect("a file"),
    );
    assert_eq!(given, 1);
    runner.ends();
}

/// The same command where the files of a folder lie over those in /etc.
fn with_files(inner: &Command, files: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script =
        "for file in hosts resolv.conf; do mount --bind \"$0/$file\" \"/etc/$file\" || exit; done; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(files).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

#[test]
fn an_index_that_is_down_costs_no_attempt() {
    if !need_root("an_index_that_is_down_costs_no_attempt") {
        return;
    }
    let (place, suite) = Place::with_good();
    place.own_cache();
    let certificate = Certificate::make(&place);
    // A package that no other index has; pytest comes from where it always does.
    let wheels = place.tree("wheels", &[]);
    wheel(&wheels, "ostest_probe", &[("ostest_probe.py", "ANSWER = 42\n")]);
    let index = Server::index(wheels, &certificate);
    let of =
        |attempt: u64| json!({"attempt": attempt, "repositoryUrl": "https://course.example/good", "branch": "main"});
    let backend = Counting::start([of(1)], || ());
    let usual = std::env::var("PIP_CERT").unwrap_or_else(|_| "/etc/ssl/certs/ca-certificates.crt".into());
    let trusted = [&std::fs::read(usual).unwrap_or_default()[..], &std::fs::read(&certificate.file).expect("a file")];
    let bundle = place.path("bundle.pem");
    std::fs::write(&bundle, trusted.concat()).expect("a file");
    let mut command = place.runner(&backend.url, &suite);
    command.args(["--concurrent", "2", "--logger-level", "warning", "--allow-internal", &index.place()]);
    command.env("PIP_CERT", &bundle).env("PIP_RETRIES", "0").env("PIP_EXTRA_INDEX_URL", index.url("simple"));
    let runner = Running::of(&place, command);
    let all = Everything { place: &place, backend: &backend, runner: &runner, of: &of };
    let down = place.path("wheels/.down");
    let given = all.meet(
        "package index down",
        "2",
        || {
            std::fs::write(&down, "").expect("a file");
            std::fs::write(suite.join("requirements.txt"), "pytest\nostest-probe\n").expect("a file");
            std::fs::write(suite.join("test_a.py"), "import ostest_probe\ndef test_a(): pass\n").expect("a file");
        },
        || std::fs::remove_file(&down).expect("no file"),
    );
    assert_eq!(given, 1);
    runner.ends();
}

#[test]
fn a_submission_that_breaks_its_own_sandbox_holds_up_nobody_else() {
    if !need_root("a_submission_that_breaks_its_own_sandbox_holds_up_nobody_else") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("Makefile", "all:\n")]);
    // Of this test alone, whoever else runs it on this host.
    let name = format!("poison{}", std::process::id());
    let makefile = format!("all:\n\tcp /bin/sleep {name} && ./{name} 600\n");
    place.repository("poison", &[("Makefile", &makefile)]);
    let suite =
        place.tree("suite", &[("test_a.py", "def test_a(): pass\n"), ("ostest.toml", "[build]\ncommand = ['make']\n")]);
    let of = |attempt: u64, name: &str| json!({"attempt": attempt, "repositoryUrl": format!("https://course.example/{name}"), "branch": "main"});
    let backend = Counting::start([of(1, "good"), of(2, "poison"), of(3, "good"), of(4, "good")], || ());
    // Somebody who knows a way to end init or the launcher from within, played from outside.
    let (over, killed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let player = std::thread::spawn({
        let (over, killed, command) = (over.clone(), killed.clone(), format!("./{name} 600"));
        move || {
            while !over.load(Ordering::Relaxed) {
                // Each in turn: either is the sandbox's end.
                let whom = ["ostest-init", "ostest-launch"][killed.load(Ordering::Relaxed) % 2];
                if let Some(pid) = above(&command, whom) {
                    send_signal(pid, KILL);
                    wait_until("it is gone", || is_gone(pid));
                    killed.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
    let arguments = ["--concurrent", "2", "--logger-level", "warning", "--answer-within", "60"];
    let runner = Running::start(&place, &backend, &suite, &arguments);
    backend.wait("the answers of all", |books| books.taken.len() == 4);
    over.store(true, Ordering::Relaxed);
    player.join().expect("it ends");
    let taken = backend.books().taken.clone();
    let (good, poison): (Vec<_>, Vec<_>) = taken.iter().partition(|result| result["attempt"] != 2);
    assert!(good.iter().all(|result| passed(result)), "{taken:#?}\n{}", runner.log());
    assert_eq!(poison[0]["testResults"]["isError"], true, "{poison:#?}");
    let said = poison[0]["testResults"]["errorDetails"].to_string();
    assert!(said.contains("not to blame"), "{said}");
    assert!(killed.load(Ordering::Relaxed) > 1, "it is tried again");
    assert!(runner.log().contains("works for other tasks"), "{}", runner.log());
    wait_until("nothing is held", || status(&place)["held"] == json!([]));
    runner.ends();
}

/// The process with this in its command line above the one with that command line, on the host.
fn above(command: &str, whom: &str) -> Option<i32> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pid: i32 = pids.into_iter().find(|pid| cmdline(*pid).trim() == command)?;
    while pid > 1 {
        if cmdline(pid).contains(whom) {
            return Some(pid);
        }
        pid = field(pid, "PPid")?.trim().parse().ok()?;
    }
    None
}

#[test]
fn a_suite_that_cannot_be_collected_costs_no_attempt() {
    if !need_root("a_suite_that_cannot_be_collected_costs_no_attempt") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    place.repository("other", &[("main.c", "int main(void) { return 0; }\n")]);
    let good = "def test_a(): pass\n";
    let suite = place.tree("suite", &[("test_a.py", good)]);
    let of = |attempt: u64| {
        let name = if attempt == 1 { "good" } else { "other" };
        json!({"attempt": attempt, "repositoryUrl": format!("https://course.example/{name}"), "branch": "main"})
    };
    let backend = Counting::start([of(1)], || ());
    let arguments = ["--concurrent", "8", "--logger-level", "warning"];
    let runner = Running::start(&place, &backend, &suite, &arguments);
    let all = Everything { place: &place, backend: &backend, runner: &runner, of: &of };
    let broken = || std::fs::write(suite.join("test_a.py"), "import nothing_of_this_name\n").expect("a file");
    let mended = || std::fs::write(suite.join("test_a.py"), good).expect("a file");
    assert_eq!(all.meet("suite's test module broken", "8", broken, mended), 1);
    runner.ends();
    // The next run knows submissions with which it has started.
    broken();
    std::fs::remove_file(place.path("log")).expect("a log");
    let counts = || {
        let books = backend.books();
        (books.taken.len(), books.handed.len())
    };
    let (taken, handed) = counts();
    backend.books().queue.extend((101..=103).map(of));
    let runner = Running::start(&place, &backend, &suite, &arguments);
    wait_until("a task is held", || status(&place)["held"].as_array().is_some_and(|held| !held.is_empty()));
    assert_eq!(counts(), (taken, handed + 1), "{}", runner.log());
    mended();
    backend.wait("all results", |books| books.taken.len() == taken + 3);
    assert!(backend.books().taken.iter().all(passed), "{:#?}", backend.books().taken);
    runner.ends();
}

#[test]
fn a_submission_on_which_the_suite_chokes_is_answered_and_keeps_nobody() {
    if !need_root("a_submission_on_which_the_suite_chokes_is_answered_and_keeps_nobody") {
        return;
    }
    let place = Place::new();
    place.repository("good", &[("main.c", "int main(void) { return 0; }\n")]);
    place.repository("bad", &[("README", "no program\n")]);
    let tests = "import os\nopen(os.path.join(os.environ['OSTEST_PROJECT'], 'main.c'))\ndef test_a(): pass\n";
    let suite = place.tree("suite", &[("test_a.py", tests)]);
    let of = |attempt: u64, name: &str| json!({"attempt": attempt, "repositoryUrl": format!("https://course.example/{name}"), "branch": "main"});
    let backend = Counting::start([of(1, "bad"), of(2, "good"), of(3, "bad"), of(4, "good")], || ());
    let runner = Running::start(&place, &backend, &suite, &["--concurrent", "1", "--logger-level", "warning"]);
    backend.wait("the answers of all", |books| books.taken.len() == 4);
    for result in &backend.books().taken {
        let is_bad = result["attempt"].as_u64().is_some_and(|attempt| attempt % 2 == 1);
        assert_eq!(passed(result), !is_bad, "{result:#}\n{}", runner.log());
        assert!(!is_bad || result["testResults"]["errorDetails"].to_string().contains("main.c"), "{result:#}");
    }
    assert!(!runner.log().contains("is held"), "{}", runner.log());
    runner.ends();
}
