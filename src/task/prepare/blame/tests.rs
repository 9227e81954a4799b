use super::*;
use crate::fault::Blame;
use crate::proxy::address::Kind;
use sandbox::outcome::{OutputCount, Usage};

fn outcome(verdict: Verdict, code: i32) -> Outcome {
    Outcome {
        ended: Ended::Exited { code },
        verdict,
        message: "it ended".into(),
        wall_ms: 1,
        usage: Usage::default(),
        limits: Vec::new(),
        output: OutputCount::default(),
        degraded: Vec::new(),
        allowed: sandbox::groups::Groups::NONE,
        denied: Vec::new(),
        untold: None,
        full: Vec::new(),
        sockets: None,
        uncharged: None,
    }
}

/// Of a build that ended with this code and these words; `more` says what else is known.
fn whole(code: i32, said: &str, more: impl FnOnce(&mut Failed<'_>)) -> Fault {
    ended(&outcome(Verdict::Failed, code), said, more)
}

fn ended(outcome: &Outcome, said: &str, more: impl FnOnce(&mut Failed<'_>)) -> Fault {
    let mut failed = Failed {
        outcome,
        said,
        refused: &[],
        own_requirements: false,
        hashes: false,
        files_alone: false,
        memory: 1 << 30,
        disk: 256 << 20,
    };
    more(&mut failed);
    fault(&failed)
}

fn blamed(code: i32, said: &str) -> (Blame, Cause) {
    let fault = whole(code, said, |_| {});
    (fault.blame, fault.cause)
}

const SUITE: (Blame, Cause) = (Blame::Suite, Cause::Suite);
const INDEX: (Blame, Cause) = (Blame::Network, Cause::Index);
const LET_IN: (Blame, Cause) = (Blame::Host, Cause::Index);
const HOST: (Blame, Cause) = (Blame::Host, Cause::Environment);
/// What pip ends with, whatever kept it from the index.
const NO_SUCH: &str = "ERROR: Could not find a version that satisfies the requirement pytest==9 (from versions: none)\n\
    ERROR: No matching distribution found for pytest==9\n";

#[test]
fn what_pip_says_of_an_index_that_is_down_is_the_networks() {
    for line in [
        "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken by \
         'NewConnectionError(...)': /simple/pytest/",
        "Could not fetch URL https://i.example/simple/pytest/: connection error: HTTPSConnectionPool(host='i.example', port=443): \
         Max retries exceeded with url: /simple/pytest/ - skipping",
        "2026-01-01T10:00:00,000 Could not fetch URL https://i.example/simple/pytest/: 503 Server Error: Service Unavailable for url: \
         https://i.example/simple/pytest/ - skipping",
        "Could not fetch URL https://i.example/simple/pytest/: 429 Client Error: Too Many Requests for url: https://i.example/ - skipping",
        "Could not fetch URL https://i.example/s/: HTTPSConnectionPool(host='i.example', port=443): Max retries exceeded with url: \
         /s/ (Caused by ResponseError('too many 502 error responses')) - skipping",
        "ERROR: HTTP error 500 while getting https://i.example/p.whl (from https://i.example/simple/)",
        "There was a problem confirming the ssl certificate: certificate verify failed: unable to get local issuer certificate",
        "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host='i.example', port=443): Read timed out.",
        "pip._vendor.urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(1 bytes read)')",
    ] {
        assert_eq!(blamed(NO_PACKAGES, &format!("{NO_SUCH}{line}\n")), INDEX, "{line}");
    }
    let forbidden =
        "Could not fetch URL https://i.example/simple/pytest/: 403 Client Error: Forbidden for url: https://i.example/";
    assert_eq!(blamed(NO_PACKAGES, &format!("{NO_SUCH}{forbidden}\n")), LET_IN);
}

#[test]
fn what_the_proxy_could_not_do_is_never_the_suites() {
    let refused = |why: Why| {
        let refused = [Refused { place: "i.example:443".into(), why }];
        let fault = {
            let outcome = outcome(Verdict::Failed, NO_PACKAGES);
            fault(&Failed {
                outcome: &outcome,
                said: NO_SUCH,
                refused: &refused,
                own_requirements: false,
                hashes: false,
                files_alone: false,
                memory: 1,
                disk: 1,
            })
        };
        assert!(fault.detail.contains("i.example"), "{fault:?}");
        (fault.blame, fault.cause)
    };
    assert_eq!(refused(Why::NoAddress("none".into())), INDEX);
    assert_eq!(refused(Why::Unreachable("refused".into())), INDEX);
    assert_eq!(refused(Why::NotListed), LET_IN);
    assert_eq!(refused(Why::Internal(Kind::LinkLocal, "169.254.169.254".parse().unwrap())), LET_IN);
    assert_eq!(refused(Why::TooMuch(1 << 30)), HOST);
}

#[test]
fn requirements_that_no_index_can_meet_are_the_suites() {
    let not_found = "Could not fetch URL https://i.example/simple/pytest/: 404 Client Error: Not Found for url: https://i.example/4503/";
    for said in [
        NO_SUCH.to_string(),
        format!("{NO_SUCH}{not_found}\n"),
        "ERROR: Invalid requirement: 'pytest ===== 8': Expected end\n    pytest ===== 8\n".into(),
        "ERROR: Could not open requirements file: [Errno 2] No such file or directory: '/run/ostest/other.txt'".into(),
        "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting dependencies.\n\
         ERROR: ResolutionImpossible: for help visit https://pip.example/"
            .into(),
        "error: subprocess-exited-with-error\n  × Getting requirements to build wheel did not run successfully.".into(),
    ] {
        assert_eq!(blamed(NO_PACKAGES, &said), SUITE, "{said}");
    }
    let fault = whole(NO_PACKAGES, NO_SUCH, |_| {});
    assert!(fault.message.ends_with("asks for `pytest==9`, which the package index does not have for this Python"));
    let fault =
        whole(NO_PACKAGES, "ERROR: Invalid requirement: 'x y' (from line 1 of /run/ostest/requirements.txt)", |_| {});
    assert!(fault.message.ends_with("(Invalid requirement: 'x y' (from line 1 of requirements.txt))"), "{fault:?}");
    // A line that cannot be read is wrong, whoever else is away.
    let both = "ERROR: Invalid requirement: 'x y'\nWARNING: Retrying (Retry(total=4))\n";
    assert_eq!(blamed(NO_PACKAGES, both), SUITE);
}

#[test]
fn what_the_operator_has_chosen_is_not_the_suites() {
    let alone = whole(NO_PACKAGES, NO_SUCH, |failed| failed.files_alone = true);
    assert_eq!((alone.blame, alone.cause), LET_IN);
    assert!(alone.detail.contains("PIP_FIND_LINKS"), "{}", alone.detail);
    let own = whole(NO_PACKAGES, NO_SUCH, |failed| failed.own_requirements = true);
    assert_eq!((own.blame, own.cause), INDEX);
    let mismatch = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.";
    assert_eq!(blamed(NO_PACKAGES, mismatch), INDEX);
    assert_eq!(whole(NO_PACKAGES, mismatch, |failed| failed.hashes = true).blame, Blame::Suite);
}

#[test]
fn limits_and_disks_are_the_hosts() {
    let no_room = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
    assert_eq!(blamed(NO_PACKAGES, no_room), HOST);
    assert!(whole(NO_PACKAGES, no_room, |_| {}).message.ends_with("the grading machine's disk is full"));
    let mut full = outcome(Verdict::Failed, NO_PACKAGES);
    full.full.push(Full { place: "/tmp".into(), bytes: 256 << 20, files: false });
    let limit = ended(&full, no_room, |_| {});
    assert!(limit.message.ends_with("more room than the limit of 256.0 MiB"), "{limit:?}");
    assert!(limit.detail.contains("--disk-limit"), "{limit:?}");
    for (verdict, remedy) in [(Verdict::MemoryLimit, "--mem-limit"), (Verdict::TimeLimit, "[prepare]")] {
        let fault = ended(&outcome(verdict, 137), "", |_| {});
        assert_eq!((fault.blame, fault.cause.clone()), HOST);
        assert!(fault.detail.contains(remedy), "{fault:?}");
    }
    // Time that ran out while nobody answered.
    let fault = ended(&outcome(Verdict::TimeLimit, 137), "WARNING: Retrying (Retry(total=0))", |_| {});
    assert_eq!((fault.blame, fault.cause), INDEX);
    assert_eq!(blamed(NO_VENV, "ensurepip is not available"), HOST);
    assert_eq!(blamed(NO_PACKAGES, "Traceback (most recent call last):"), HOST);
    assert_eq!(blamed(1, ""), HOST);
}

#[test]
fn a_pytest_that_does_not_run_is_whose_it_is() {
    assert!(whole(NO_PYTEST, "/venv/bin/python: No module named pytest", |_| {}).message.contains("ask for pytest"));
    assert_eq!(blamed(NO_PYTEST, "ImportError: x"), SUITE);
    let own = whole(NO_PYTEST, "ImportError: x", |failed| failed.own_requirements = true);
    assert_eq!((own.blame, own.cause), HOST);
}

#[test]
fn a_status_is_a_number_that_stands_alone() {
    assert_eq!(status("Could not fetch URL https://i.example/503/: 404 Client Error: Not Found"), None);
    assert_eq!(status("Could not fetch URL https://i.example:500/x: 502 Server Error"), Some(502));
    assert_eq!(status("collected 503 items"), None);
    assert_eq!(
        status(
            "Could not fetch URL https://i.example/: (Caused by ProxyError('Tunnel connection failed: 502 Bad Gateway'))"
        ),
        None
    );
}

proptest::proptest! {
    #[test]
    fn any_words_blame_somebody(code in 0i32..100, said in "(.|\\n){0,200}") {
        let fault = whole(code, &said, |_| {});
        proptest::prop_assert!(fault.message.starts_with("the suite's Python environment could not be built: "));
        proptest::prop_assert!(fault.blame != Blame::Submission && !fault.message.contains('\n'));
    }
}
