use super::*;
use proptest::prelude::*;
use std::path::Path;

#[test]
fn unknown_keys_are_errors_with_their_name() {
    for text in ["mem-limt = 1", "[test]\ncomand = []", "[lab.1]\ntimeuot = 3", "[labs.1]\n"] {
        assert!(toml::from_str::<FileOptions>(text).is_err(), "{text}");
        assert!(SuiteOptions::parse(text).is_err(), "{text}");
    }
    for lab in ["one", "01", "\"+1\"", "-1", "4294967296"] {
        let text = format!("[lab.{lab}]\ntimeout = 3");
        assert!(SuiteOptions::parse(&text).is_err_and(|e| e.contains("names no laboratory")), "{lab}");
        assert!(FileOptions::parse(&text).is_err_and(|e| e.contains("names no laboratory")), "{lab}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_quoted_but_for_its_password() {
    let wrong = |text: &str| FileOptions::parse(text).unwrap_err();
    assert!(wrong("auth = 'yes'").contains("auth = 'yes'"));
    for text in ["password = hunter2", "password = 12345678", "auth = true\n \"password\" = [ 'hunter2' ]\n"] {
        let told = wrong(text);
        assert!(told.contains("the password has to be a text in quotes"), "{told}");
        assert!(!told.contains("hunter2") && !told.contains("12345678"), "{told}");
    }
    let told = wrong("\r\rpassword = \"hunter2\"\nallow-url = [");
    assert!(!told.contains("hunter2"), "{told}");
    let told = wrong("password = \"hunter2\"\nauth = 5");
    assert!(told.contains("line 2: ") && told.contains("boolean") && !told.contains("hunter2"), "{told}");
    assert!(!wrong("password = \"\"\"\nhunter2\n\"\"").contains("hunter2"));
    assert!(wrong("password-file = 5").contains("password-file = 5"));
}

#[test]
fn credentials_name_a_file_and_never_hold_a_token() {
    let of = |keys: &str| {
        let text = format!("[credentials.\"https://git.example/org/\"]\nuser = \"u\"\n{keys}");
        FileOptions::parse(&text).map(|file| file.credentials["https://git.example/org/"].clone())
    };
    for good in ["token-file = '/etc/token'", "token-credential = 'git'"] {
        assert_eq!(of(good).unwrap().check(), Ok(()), "{good}");
    }
    for wrong in
        ["", "token-file = 'token'", "token-credential = '../x'", "token-file = '/t'\ntoken-credential = 'git'"]
    {
        assert!(of(wrong).unwrap().check().is_err(), "{wrong}");
    }
    assert!(
        CredentialOptions { user: "a:b".into(), token_file: Some("/t".into()), token_credential: None }
            .check()
            .is_err()
    );
    for secret in ["token = 'hunter2'", "token = hunter2", "token-file = '/t'\ntoken = ['hunter2']"] {
        let told = of(secret).unwrap_err();
        assert!(told.contains("line ") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_limit_of_nothing_is_an_error_where_it_is_written() {
    for text in ["pids-limit = 0", "pids-limit = '0'", "mem-limit = 0", "cpu-limit = 0.0", "output-limit = '0M'"] {
        assert!(FileOptions::parse(text).is_err(), "{text}");
        // A suite's would be taken for the host's fault.
        assert!(SuiteOptions::parse(&format!("[lab.1]\n{text}")).is_err(), "{text}");
    }
}

#[test]
fn an_error_limit_has_room_for_a_sentence_wherever_it_is_written() {
    for text in ["error-limit = 255", "error-limit = \"255\""] {
        let limit = FileOptions::parse(text).unwrap().error_limit;
        assert_eq!(limit.map(|limit| limit.0.get()), Some(255), "{text}");
    }
    for text in ["error-limit = 99", "error-limit = -1", "error-limit = \"few\"", "error-limit = 255.5"] {
        assert!(FileOptions::parse(text).is_err_and(|problem| problem.contains("from 100 on")), "{text}");
    }
}

#[test]
fn what_pytest_collects_is_hidden_and_a_suite_may_say_otherwise() {
    let hidden = |toml: &str, path: &str| SuiteOptions::parse(toml).unwrap().test.hides(path);
    for (path, is) in
        [("test_a.py", true), ("lab1/deep/conftest.py", true), ("a_test.py", true), ("lab1/help.py", false)]
    {
        assert_eq!(hidden("", path), is, "{path}");
    }
    let own = "[test]\nhidden = ['answers/**/*.json', '*.key']";
    for (path, is) in
        [("test_a.py", false), ("answers/1/a.json", true), ("b/answers/1/a.json", false), ("x/y.key", true)]
    {
        assert_eq!(hidden(own, path), is, "{path}");
    }
    assert!(!hidden("[test]\nhidden = []", "test_a.py"));
    assert!(SuiteOptions::parse("[test]\nhidden = ['a[']").is_err_and(|e| e.contains("no pattern")));
}

#[test]
fn values_are_written_as_on_the_command_line() {
    let file: FileOptions = toml::from_str(
        "mem-limit = '1G'\ntimeout = 90\ncpu-limit = 0.5\nallow-degraded = ['landlock']\n[git-mirror]\n'https://a/' = '/srv'",
    )
    .unwrap();
    assert_eq!(file.mem_limit, Some(Size(1 << 30)));
    assert_eq!(file.timeout, Some(Span(Duration::from_secs(90))));
    assert_eq!(file.allow_degraded, [LayerName(Layer::Landlock)]);
    assert_eq!(file.git_mirror["https://a/"], Path::new("/srv"));
}

#[test]
fn a_suite_lowers_limits_and_never_raises_them() {
    let base = Limits::from_options(LimitOptions::default(), 1);
    let wish = |m| LimitOptions { mem_limit: Some(Size(m)), ..LimitOptions::default() };
    assert_eq!(base.lowered_by(wish(1 << 20)).memory, 1 << 20);
    assert_eq!(base.lowered_by(wish(1 << 40)).memory, 512 << 20);
    assert_eq!(base.with(wish(1 << 40)).memory, 1 << 40);
}

#[test]
fn a_mirror_is_a_prefix_and_a_directory() {
    let mirror: Mirror = "https://github.com/=/srv/git".parse().unwrap();
    assert_eq!((mirror.prefix.as_str(), mirror.dir.to_str()), ("https://github.com/", Some("/srv/git")));
    assert!("/srv/git".parse::<Mirror>().is_err());
}

/// A line of limits with a value that is good, odd or none.
fn any_limit() -> impl Strategy<Value = String> {
    let key =
        prop::sample::select(vec!["mem-limit", "pids-limit", "cpu-limit", "disk-limit", "output-limit", "timeout"]);
    let value = prop_oneof![
        (0u64..1 << 40).prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|x| format!("{x:?}").to_lowercase()),
        "[0-9]{1,3}[KMGTms]?".prop_map(|text| format!("'{text}'")),
    ];
    (key, value).prop_map(|(key, value)| format!("{key} = {value}"))
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,60}|(\\[?\\[?[a-z.1]{1,8}\\]?\\]? ?=? ?['\"0-9a-z{\\[]{0,6}\n){0,4}") {
        let _ = FileOptions::parse(&text).map(|file| Limits::from_options(file.limits(), 2));
        let _ = SuiteOptions::parse(&text);
    }

    #[test]
    fn what_a_suite_asks_for_is_found_lowers_and_leaves_something(limit in any_limit(), lab: u32) {
        let base = Limits::from_options(LimitOptions::default(), 2);
        if let Ok(suite) = SuiteOptions::parse(&format!("[lab.{lab}]\n{limit}")) {
            let wish = suite.of_lab(Some(lab)).limits();
            prop_assert_ne!(wish, LimitOptions::default());
            let low = base.lowered_by(wish);
            for (is, was) in [
                (low.memory, base.memory),
                (low.pids, base.pids),
                (low.cpu_millis, base.cpu_millis),
                (low.disk, base.disk),
                (low.output, base.output),
            ] {
                prop_assert!((1..=was).contains(&is), "{:?}", low);
            }
            prop_assert!(low.timeout <= base.timeout && !low.timeout.is_zero());
        }
    }

    #[test]
    fn no_pattern_of_hidden_files_hangs_or_panics(pattern in "[a*?\\[\\]!/.-]{0,24}", path in "[a/.]{0,24}") {
        if let Ok(hidden) = Hidden::try_from(pattern) {
            let _ = hidden.matches(&path);
        }
    }
}

#[test]
fn groups_of_calls_are_known_by_name_and_asked_for_by_laboratory() {
    let set = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Groups>();
    let file =
        FileOptions::parse("[test]\nallow = [\"landlock\"]\n[lab.3]\nallow = [\"io_uring\", \"perf\"]\n").unwrap();
    let grading = crate::task::bound::tests::of_file(&file, 1);
    assert_eq!(grading.allowed(Some(3)), set(&["landlock", "perf", "io_uring"]));
    assert_eq!((grading.allowed(Some(4)), grading.allowed(None)), (set(&["landlock"]), set(&["landlock"])));
    for text in ["[lab.3]\nallow = [\"io-uring\"]", "[test]\nallow = [\"everything\"]", "[lab.3]\nallow = \"perf\""] {
        assert!(FileOptions::parse(text).is_err() && SuiteOptions::parse(text).is_err(), "{text}");
    }
    let error = FileOptions::parse("[lab.3]\nallow = [\"ptrace\"]").unwrap_err();
    assert!(error.contains("ptrace") && error.contains("seccomp-notify"), "{error}");
    // Neither a flag nor a key outside of these sections.
    assert!(FileOptions::parse("allow = [\"perf\"]").is_err() && SuiteOptions::parse("allow = [\"perf\"]").is_err());

    let suite = |text: &str| SuiteOptions::parse(text).unwrap();
    assert_eq!(suite("needs = [\"make\"]").asks_for(Some(3)), None);
    let speaks = suite("[test]\nallow = [\"xattrs\"]\n[lab.3]\nallow = [\"perf\"]\n");
    assert_eq!(speaks.asks_for(Some(3)), Some(set(&["xattrs", "perf"])));
    assert_eq!(speaks.asks_for(Some(4)), Some(set(&["xattrs"])));
    assert_eq!(suite("[lab.3]\nallow = [\"perf\"]\n").asks_for(Some(4)), Some(Groups::NONE));
}
