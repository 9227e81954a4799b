//! A value that is wrong ends any command with 2, and the message names the flag, or the file with its line, and says what is
//! allowed.

mod common;

use clap::CommandFactory;
use ostest_sandbox::cli::Cli;
use std::collections::BTreeSet;
use std::process::Command;

/// A command, a flag, a value, and a word of what is allowed.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("", "--concurrent", "0", "from 1 to 512"),
    ("", "--concurrent", "513", "from 1 to 512"),
    ("", "--concurrent", "-1", "from 1 to 512"),
    ("", "--concurrent", "many", "from 1 to 512"),
    ("", "--memory-unit", "x", "KiB or MiB"),
    ("", "--logger-level", "loud", "debug, info"),
    ("", "--log-format", "xml", "text, json, journal"),
    ("", "--backend-url", "backend", "URL"),
    ("", "--backend-url", "ftp://backend", "http:// or https://"),
    ("", "--backend-url", "http://me:secret@backend", "--login and --password"),
    ("", "--allow-url", "http//x y", "write one such as https://"),
    ("", "--git-mirror", "x", "URLPREFIX=DIR"),
    ("", "--git-mirror", "https://a/=/nowhere", "name one that holds"),
    ("", "--tests", "/nowhere", "name a directory, or a git URL"),
    ("", "--tests", "/etc/passwd", "name one, or a git URL"),
    ("", "--check-interval", "-1", "write seconds (600) or 10m"),
    ("", "--check-interval", "soon", "write seconds (600) or 10m"),
    ("", "--refresh-time", "soon", "write seconds"),
    ("", "--connect-timeout", "0", "more than 0"),
    ("", "--idle-timeout", "0", "more than 0"),
    ("", "--request-timeout", "0s", "more than 0"),
    ("", "--drain-timeout", "x", "write seconds"),
    ("", "--answer-within", "0", "more than 0"),
    ("", "--error-limit", "99", "from 100 on"),
    ("", "--quarantine-after", "-1", "0.."),
    ("", "--proxy-timeout", "x", "write seconds"),
    ("", "--check-proc-interval", "x", "write seconds"),
    ("", "--mem-limit", "0", "a limit of zero"),
    ("", "--mem-limit", "1.5G", "such as 512M"),
    ("", "--disk-limit", "lots", "such as 512M"),
    ("", "--output-limit", "0", "a limit of zero"),
    ("", "--pids-limit", "0", "a limit of zero"),
    ("", "--pids-limit", "x", "such as 256"),
    ("", "--cpu-limit", "0", "write 2 or 0.5"),
    ("", "--timeout", "-1", "write seconds"),
    ("", "--allow-internal", "a b", "10.1.0.0/16"),
    ("", "--allow-degraded", "walls", "landlock"),
    ("", "--config", "/nowhere", "cannot be read"),
    ("--auth", "--password-file", "/nowhere", "cannot be read"),
    ("", "--ca-file", "/nowhere", "PEM"),
    ("check", "--concurrent", "0", "from 1 to 512"),
    ("check", "--tests", "/nowhere", "name a directory"),
    ("grade /nowhere", "--lab", "x", "invalid digit"),
    ("grade /tmp", "--tests", "/nowhere", "name a directory"),
    ("grade /tmp", "--mem-limit", "x", "such as 512M"),
    ("grade /tmp", "--config", "/nowhere", "cannot be read"),
    ("exec", "--mem-limit", "x", "such as 512M"),
    ("exec", "--policy", "x", "fetch, build, test"),
    ("exec", "--ro", "/nowhere", "that is there"),
    ("exec", "--allow", "io-uring", "io_uring"),
    ("check --attacks", "--allow", "x", "seccomp-notify"),
    ("policy show test", "--allow", "x", "containers"),
    ("exec", "--config", "/nowhere", "cannot be read"),
    ("spool list", "--config", "/nowhere", "cannot be read"),
    ("spool retry x", "--backend-url", "ftp://x", "http:// or https://"),
    ("policy show", "--arch", "z80", "x86_64, aarch64"),
    ("spool retry --all", "--status", "x", "invalid digit"),
    ("mock-backend", "--listen", "5000", "ADDR:PORT"),
    ("mock-backend", "--listen", "127.0.0.1:http", "ADDR:PORT"),
    ("mock-backend", "--auth", "x", "NAME:PASSWORD"),
    ("mock-backend", "--tasks", "/nowhere", "a file in JSON"),
    ("mock-backend", "--tasks", "/etc/passwd", "not valid"),
    ("mock-backend", "--like", "x", "os-nsu"),
    ("mock-backend --like os-nsu", "--user", "x", "NAME:PASSWORD:ROLE"),
    ("mock-backend --like os-nsu", "--arrive-every", "x", "10m"),
    ("mock-backend", "--repeat", "0", "1.."),
    ("mock-backend", "--fail", "101", "0..=100"),
    ("mock-backend --fail 1", "--fail-by", "x", "take-and-drop"),
    ("mock-backend", "--seed", "x", "invalid digit"),
];

/// Flags whose every text is right, or which are looked at when something is there to be looked at.
const ANY: &[&str] = &[
    "--login",
    "--password",
    "--get-api",
    "--post-api",
    "--login-api",
    "--token-refresh-api",
    "--tests-branch",
    "--state-dir",
    "--logger-output",
    "--json",
    "--html",
    "--test",
    "--report",
    "--only",
    "--off",
];

fn run(words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(common::BINARY).args(words).env_clear().env("PATH", "/usr/bin:/bin").output();
    let output = output.expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_wrong_value_ends_any_command_with_2_and_names_its_flag() {
    for (command, flag, value, allowed) in WRONG {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.extend([*flag, *value]);
        if *command == "exec" {
            words.extend(["--", "true"]);
        }
        let (code, said) = run(&words);
        assert_eq!(code, Some(2), "{words:?}: {said}");
        assert!(said.contains(allowed), "{words:?} does not say {allowed:?}: {said}");
        let names_it = said.contains(flag) || (*flag == "--config" && said.contains("the configuration /nowhere"));
        assert!(names_it, "{words:?} does not name its flag: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let (code, said) = run(&["--mock"]);
    assert!(code == Some(2) && said.contains("mock-backend"), "{said}");
}

#[test]
fn every_flag_that_takes_a_value_is_in_the_table() {
    let known: BTreeSet<&str> = WRONG.iter().map(|(_, flag, ..)| *flag).chain(ANY.iter().copied()).collect();
    let (mut left, mut missing) = (vec![Cli::command()], BTreeSet::new());
    while let Some(command) = left.pop() {
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            let flag = arg.get_long().map(|name| format!("--{name}"));
            missing.extend(flag.filter(|flag| !known.contains(flag.as_str())));
        }
        left.extend(command.get_subcommands().cloned());
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// A line of the file, and a word of what is allowed.
const WRONG_LINES: &[(&str, &str)] = &[
    ("concurrent = 0", "from 1 to 512"),
    ("concurrent = \"x\"", "from 1 to 512"),
    ("memory-unit = \"x\"", "KiB or MiB"),
    ("logger-level = \"loud\"", "debug, info"),
    ("log-format = \"xml\"", "text, json, journal"),
    ("backend-url = \"ftp://x\"", "http:// or https://"),
    ("allow-url = [\"http//x y\"]", "write one such as https://"),
    ("check-interval = -1", "write seconds"),
    ("refresh-time = \"soon\"", "write seconds"),
    ("connect-timeout = 0", "more than 0"),
    ("idle-timeout = 0", "more than 0"),
    ("request-timeout = 0.0", "more than 0"),
    ("drain-timeout = \"x\"", "write seconds"),
    ("answer-within = 0", "more than 0"),
    ("error-limit = 99", "from 100 on"),
    ("quarantine-after = -1", "u32"),
    ("proxy-timeout = \"x\"", "write seconds"),
    ("mem-limit = 0", "a limit of zero"),
    ("disk-limit = \"lots\"", "such as 512M"),
    ("output-limit = 0", "a limit of zero"),
    ("pids-limit = 0", "a limit of zero"),
    ("cpu-limit = 0", "write 2 or 0.5"),
    ("timeout = -1", "write seconds"),
    ("allow-internal = [\"a b\"]", "10.1.0.0/16"),
    ("allow-degraded = [\"walls\"]", "landlock"),
    ("lab.1.mem-limit = 0", "a limit of zero"),
    ("lab.1.allow = [\"x\"]", "seccomp-notify"),
    ("test.test-timeout = \"x\"", "write seconds"),
    ("fetch.traffic-limit = \"x\"", "such as 512M"),
    ("prepare.hosts = [\"a b\"]", "host"),
    ("pin-cores = 1", "boolean"),
    ("concurent = 2", "concurrent"),
];

#[test]
fn a_wrong_line_of_the_file_ends_any_command_with_2_and_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("runner.toml");
    let path = file.to_str().expect("a plain path");
    for (number, (line, allowed)) in WRONG_LINES.iter().enumerate() {
        std::fs::write(&file, format!("# the grader\n{line}\n")).expect("a file");
        let commands: [&[&str]; 5] =
            [&[], &["check"], &["grade", "/tmp"], &["spool", "list"], &["exec", "--print-plan"]];
        let mut words = [commands[number % commands.len()], &["--config", path]].concat();
        if words[0] == "exec" {
            words.extend(["--", "true"]);
        }
        let (code, said) = run(&words);
        assert_eq!(code, Some(2), "{words:?}, {line}: {said}");
        let key = line.split([' ', '=']).next().expect("a key");
        for part in [path, "line 2", key, allowed] {
            assert!(said.contains(part), "{line}: {part:?} is not in: {said}");
        }
    }
}
