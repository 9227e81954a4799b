//! What fetch and prepare reach, with real git and pip: the listed servers, through the proxy, and nothing of the host's.

mod common;
mod support;

use serde_json::json;
use std::path::PathBuf;
use support::backend::Counting;
use support::servers::{Certificate, Server, Untouched, Upstream, wheel};
use support::{Graded, Place, need_root};

/// A submission and a suite that is a repository, served over TLS.
struct Course {
    place: Place,
    certificate: Certificate,
    git: Server,
    project: PathBuf,
}

impl Course {
    fn new() -> Course {
        let place = Place::new();
        place.repository("suite", &[("test_a.py", "def test_a(): pass\n")]);
        let certificate = Certificate::make(&place);
        let git = Server::git(&place, &certificate);
        let project = place.tree("project", &[("main.c", "int main(void) { return 0; }\n")]);
        Course { place, certificate, git, project }
    }

    /// Grades with the suite at this address. The configuration is this text.
    fn grade(&self, suite: &str, config: &str, more: &[&str]) -> Graded {
        let config = self.place.tree("config", &[("ostest.toml", config)]).join("ostest.toml").display().to_string();
        let ca = self.certificate.file.display().to_string();
        let (config, log) = (["--config", &config], ["--logger-level", "warning"]);
        let json = self.place.path("result.json");
        let mut command = self.place.command(&["grade"]);
        command.arg(&self.project).args(["--tests", suite, "--json"]).arg(&json).args(config).args(log).args(more);
        let output = command.env("GIT_SSL_CAINFO", ca).env_remove("OSTEST_ALLOW_INTERNAL").output().expect("it starts");
        let text = std::fs::read_to_string(&json).unwrap_or_else(|e| panic!("no result ({e}): {output:?}"));
        Graded { result: serde_json::from_str(&text).expect("a result is JSON"), output }
    }
}

fn log(graded: &Graded) -> String {
    String::from_utf8_lossy(&graded.output.stderr).into_owned()
}

#[test]
fn git_reaches_a_listed_server_of_the_operators_network_and_no_other() {
    if !need_root("git_reaches_a_listed_server_of_the_operators_network_and_no_other") {
        return;
    }
    let course = Course::new();
    let (suite, allow) = (course.git.url("suite"), format!("allow-internal = ['{}']", course.git.place()));
    let graded = course.grade(&suite, &allow, &[]);
    assert_eq!(graded.code(), 0, "{:#}", graded.result);
    // A server that does not work is no fault of the suite's author; a suite that is not there is.
    let graded = course.grade(&course.git.url("status/503/suite"), &allow, &[]);
    let said = format!("the server {} does not work (HTTP 503)", course.git.place());
    assert!(graded.error().contains(&said) && !graded.error().contains("cannot be had"), "{}", graded.error());
    let graded = course.grade(&course.git.url("none"), &allow, &[]);
    assert!(graded.error().starts_with("the test suite cannot be had"), "{}", graded.error());
    // Not allowed, the name is seen through; what a student would read has no address of the network.
    let graded = course.grade(&suite, "", &[]);
    let named = format!("{} leads to an internal address", course.git.place());
    assert!(graded.error().contains(&named), "{}", graded.error());
    // Which of them is first is for the host's /etc/hosts to say.
    let said = ["127.0.0.1", "::1"].map(|own| format!("it leads to the internal address {own} (the loopback)"));
    let count = said.iter().map(|said| log(&graded).matches(said.as_str()).count()).sum::<usize>();
    assert_eq!(count, 1, "{}", log(&graded));
}

#[test]
fn an_internal_address_is_refused_however_it_is_spelled() {
    if !need_root("an_internal_address_is_refused_however_it_is_spelled") {
        return;
    }
    let (course, host) = (Course::new(), Untouched::listen());
    let port = host.port();
    for spelled in
        ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "LOCALHOST.", "0.0.0.0"]
    {
        let graded = course.grade(&format!("https://{spelled}:{port}/a.git"), "", &[]);
        assert!(graded.error().contains("leads to an internal address"), "{spelled}: {}", graded.error());
    }
    let graded = course.grade("http://169.254.169.254/latest/meta-data", "", &[]);
    assert!(graded.error().contains("169.254.169.254:80 leads to an internal address"), "{}", graded.error());
    // git does not follow where a server leads; if it did, the proxy would not let it.
    let allow = format!("allow-internal = ['{}']", course.git.place());
    let graded = course.grade(&course.git.url(&format!("to/127.0.0.1:{port}/a.git")), &allow, &[]);
    assert!(graded.error().contains("could not be fetched"), "{}", graded.error());
    host.assert();
}

#[test]
fn a_submission_from_the_backends_own_address_is_refused_and_submodules_are_not_fetched() {
    if !need_root("a_submission_from_the_backends_own_address_is_refused_and_submodules_are_not_fetched") {
        return;
    }
    let (course, host) = (Course::new(), Untouched::listen());
    let submodule = format!("[submodule \"s\"]\n\tpath = s\n\turl = https://127.0.0.1:{}/s.git\n", host.port());
    course.place.repository("good", &[("main.c", "int main(void) { return 0; }\n"), (".gitmodules", &submodule)]);
    let linked = std::process::Command::new("git")
        .args(["-c", "user.name=S", "-c", "user.email=s@course.example", "-C"])
        .arg(course.place.path("git/good"))
        .args(["update-index", "--add", "--cacheinfo"])
        .arg(format!("160000,{},s", "1".repeat(40)))
        .status();
    assert!(linked.expect("git starts").success());
    let committed = std::process::Command::new("git")
        .args(["-c", "user.name=S", "-c", "user.email=s@course.example", "-C"])
        .arg(course.place.path("git/good"))
        .args(["commit", "-q", "-m", "Link"])
        .status();
    assert!(committed.expect("git starts").success());
    let backend = Counting::start([], || {});
    let port = backend.url.rsplit_once(':').expect("a port").1.to_string();
    let task = |attempt: u32, url: String| json!({"attempt": attempt, "repositoryUrl": url, "branch": "main"});
    backend.books().queue.extend([
        task(1, course.git.url("good")),
        task(2, format!("http://localhost:{port}/a.git")),
        task(3, course.git.url("endless/a.git")),
    ]);
    let suite = course.place.path("git/suite");
    let mut runner = course.place.command(&["--once", "--backend-url", &backend.url, "--logger-level", "warning"]);
    runner.args(["--allow-url", &course.git.url(""), "--allow-url", &format!("http://localhost:{port}/")]);
    // The loopback as a network: it does not lift what keeps the backend out of reach.
    runner.args(["--allow-internal", &course.git.place(), "--allow-internal", "127.0.0.0/8", "--disk-limit", "8M"]);
    runner.env("OSTEST_TESTS", suite).env("GIT_SSL_CAINFO", &course.certificate.file).env("no_proxy", "*");
    let output = runner.output().expect("the runner starts");
    assert!(output.status.success(), "{output:?}");
    let taken = backend.books().taken.clone();
    let result = |attempt: u32| {
        let found = taken.iter().find(|result| result["attempt"] == attempt).expect("it is answered");
        let body = &found["testResults"];
        (body["isPassed"] == true, body["errorDetails"].as_str().expect("a string").to_string())
    };
    assert_eq!(result(1), (true, String::new()));
    let (_, error) = result(2);
    assert!(error.contains(&format!("localhost:{port} leads to an internal address")), "{error}");
    let (_, error) = result(3);
    assert!(error.contains("sent more than the 32 MiB that may come"), "{error}");
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(log.contains("(the backend's)") && log.contains("has moved 32 MiB"), "{log}");
    host.assert();
}

#[test]
fn where_the_operator_has_a_proxy_git_goes_through_it() {
    if !need_root("where_the_operator_has_a_proxy_git_goes_through_it") {
        return;
    }
    let (course, upstream) = (Course::new(), Upstream::start());
    let config = format!(
        "allow-internal = ['{}']\n[fetch]\nenv = {{ https_proxy = 'http://me:secret@127.0.0.1:{}' }}",
        course.git.place(),
        upstream.port
    );
    let graded = course.grade(&course.git.url("suite"), &config, &[]);
    assert_eq!(graded.code(), 0, "{:#}", graded.result);
    let heads = upstream.heads();
    let whole =
        |head: &String| head.starts_with(&format!("CONNECT {} ", course.git.place())) && head.contains("Basic ");
    assert!(!heads.is_empty() && heads.iter().all(whole), "{heads:?}");
    // What it cannot go through it does not go around.
    let mut runner = course.place.command(&["--once"]);
    let output = runner.env("https_proxy", "socks5://me:secret@127.0.0.1:1").output().expect("the runner starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("http://host:port") && !said.contains("secret"), "{said}");
}

/// A program that stands in for git inside, and tries to get out.
const PROBE: &str = r#"#!/bin/bash
reach() {
    # In a process of its own: a redirection that fails would end this one.
    if (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; then echo "PROBE: reached $1:$2" >&2; else count=$((count + 1)); fi
}
ask() {
    exec 3<>/dev/tcp/127.0.0.1/3128 || echo "PROBE: there is no proxy" >&2
    printf '%s HTTP/1.1\r\n\r\n' "$1" >&3
    read -r _ status _ <&3
    exec 3>&-
    if [ "$status" = "$2" ]; then count=$((count + 1)); else echo "PROBE: $1 was answered $status" >&2; fi
}
count=0
for host in 127.0.0.1 ::1 localhost OWN; do reach "$host" HOST; done
for port in 22 53 80 443 GIT; do reach 127.0.0.1 "$port"; done
reach 169.254.169.254 80
for name in 127.0.0.1 127.1 2130706433 0x7f.1 0177.1 localhost LOCALHOST. '[::1]' '[::ffff:127.0.0.1]' '[64:ff9b::7f00:1]' OWN; do
    ask "CONNECT $name:HOST" 403
    ask "GET http://$name:HOST/" 403
done
ask "CONNECT 169.254.169.254:80" 403
ask "CONNECT elsewhere.invalid:443" 403
for bad in 'localhost' 'a@localhost:GIT' '[fe80::1%25lo]:GIT' 'localhost%2e:GIT' 'localhost:0' ''; do ask "CONNECT $bad" 400; done
ask "CONNECT localhost:GIT" 200
grep -c : /proc/net/dev >&2
echo "PROBE: $(ls /proc/self/fd | wc -w) descriptors, $count as expected" >&2
exit 1
"#;

#[test]
fn inside_the_fetch_stage_there_is_nothing_but_the_proxy() {
    if !need_root("inside_the_fetch_stage_there_is_nothing_but_the_proxy") {
        return;
    }
    let (course, host) = (Course::new(), Untouched::listen());
    // The address by which others reach this host, if it has one.
    let route = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|s| s.connect("192.0.2.1:9").map(|()| s));
    let own = route.and_then(|s| s.local_addr()).map_or("127.0.0.1".to_string(), |address| address.ip().to_string());
    let probe = PROBE
        .replace("HOST", &host.port().to_string())
        .replace("GIT", &course.git.port.to_string())
        .replace("OWN", &own);
    let tools = course.place.tree("tools", &[("git", &probe)]);
    std::fs::set_permissions(tools.join("git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let config = format!(
        "allow-internal = ['{}']\n[fetch]\nenv = {{ TOOLS = '{tools}', PATH = '{tools}:/usr/bin:/bin' }}\n",
        course.git.place(),
        tools = tools.display()
    );
    let graded = course.grade(&course.git.url("suite"), &config, &[]);
    let said: Vec<&str> = graded.error().lines().filter(|line| line.starts_with("PROBE")).collect();
    // 10 connections that fail, 22 + 2 that the proxy refuses, 6 that it cannot read, one that it makes.
    assert_eq!(said.len(), 1, "{}", graded.error());
    assert!(said[0].ends_with(" 41 as expected"), "{}", graded.error());
    assert!(graded.error().lines().any(|line| line == "1"), "one interface: {}", graded.error());
    host.assert();
}

/// A course whose packages come from an index of its own, and whose environments are not shared with other tests.
fn with_index() -> (Course, Server, String) {
    let course = Course::new();
    course.place.own_cache();
    let wheels = course.place.tree("wheels", &[]);
    wheel(&wheels, "ostest_probe", &[("ostest_probe.py", "ANSWER = 42\n")]);
    // What stands in for pytest when the environment is tried. No test can run with it.
    wheel(&wheels, "pytest", &[("pytest/__init__.py", ""), ("pytest/__main__.py", "import ostest_probe\n")]);
    let index = Server::index(wheels, &course.certificate);
    let env = format!(
        "PIP_INDEX_URL = '{}', PIP_CERT = '{}', PIP_RETRIES = '0', PIP_NO_INDEX = '0', PIP_FIND_LINKS = ''",
        index.url("simple"),
        course.certificate.file.display()
    );
    (course, index, env)
}

#[test]
fn pip_takes_packages_from_the_operators_index() {
    if !need_root("pip_takes_packages_from_the_operators_index") {
        return;
    }
    let (course, index, env) = with_index();
    let suite = course.place.tree("own-suite", &[("requirements.txt", "pytest\nostest-probe\n"), ("test_a.py", "")]);
    let suite = suite.display().to_string();
    let graded =
        course.grade(&suite, &format!("allow-internal = ['{}']\n[prepare]\nenv = {{ {env} }}", index.place()), &[]);
    let built = std::fs::read_dir(course.place.path("state/cache")).expect("a cache").flatten().find_map(|entry| {
        let lib = std::fs::read_dir(entry.path().join("lib")).ok()?.flatten().next()?;
        Some(lib.path().join("site-packages/ostest_probe.py")).filter(|file| file.exists())
    });
    assert!(built.is_some(), "{}", graded.error());
    assert!(!graded.error().contains("could not be built"), "{}", graded.error());
}

#[test]
fn where_an_index_leads_to_internal_addresses_pip_does_not_get() {
    if !need_root("where_an_index_leads_to_internal_addresses_pip_does_not_get") {
        return;
    }
    let ((course, index, env), host) = (with_index(), Untouched::listen());
    let places =
        [format!("127.0.0.1:{}", host.port()), format!("localhost:{}", host.port()), "169.254.169.254:80".into()];
    let suite = course.place.tree("own-suite", &[("requirements.txt", "ostest-nothing\n"), ("test_a.py", "")]);
    let suite = suite.display().to_string();
    let led =
        |place: &String| index.url(&format!("to/{}/{place}", if place.ends_with(":80") { "http" } else { "https" }));
    let extra: Vec<String> = places.iter().map(led).collect();
    let config = |hosts: &[String]| {
        format!(
            "allow-internal = ['{}']\n[prepare]\nhosts = {hosts:?}\nenv = {{ {env}, PIP_EXTRA_INDEX_URL = '{}' }}",
            index.place(),
            extra.join(" ")
        )
    };
    let graded = course.grade(&suite, &config(&[]), &[]);
    for place in &places {
        assert!(
            graded.error().contains(&format!("{place} is not one that packages may come from")),
            "{}",
            graded.error()
        );
    }
    // On the list, the addresses are looked at.
    let graded = course.grade(&suite, &config(&places), &[]);
    for place in &places {
        assert!(graded.error().contains(&format!("{place} leads to the internal address")), "{}", graded.error());
    }
    host.assert();
}
