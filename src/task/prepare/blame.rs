//! Whose fault it is that an environment could not be built, from what pip and the proxy have said. Pure.

use crate::fault::{Cause, Fault};
use crate::proxy::{Refused, Why};
use crate::task::outward::{self, Reader};
use crate::units;
use sandbox::outcome::{Ended, Full, Outcome, Verdict};

/// How the script says that no environment could be made.
pub const NO_VENV: i32 = 91;
/// How it says that pip could not install.
pub const NO_PACKAGES: i32 = 92;
/// How it says that pytest does not run with what was installed.
pub const NO_PYTEST: i32 = 93;

/// Lines of the tools' own words that an operator is shown.
const LINES: usize = 40;

/// All that is known of a build that failed.
#[derive(Debug)]
pub struct Failed<'a> {
    /// How the stage ended.
    pub outcome: &'a Outcome,
    /// What it printed: errors first.
    pub said: &'a str,
    /// What it wanted of its proxy and did not get.
    pub refused: &'a [Refused],
    /// Whether the requirements are the runner's own, because the suite states none.
    pub own_requirements: bool,
    /// Whether they name packages by their hashes.
    pub hashes: bool,
    /// Whether pip takes the operator's files and asks no index.
    pub files_alone: bool,
    /// The stage's limits: memory and disk in bytes.
    pub memory: u64,
    /// See there.
    pub disk: u64,
}

/// What pip says of connections, in the words of the libraries that it uses.
const CONNECTION: [&str; 21] = [
    "Retrying (Retry(",
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Read timed out",
    "ProxyError",
    "Cannot connect to proxy",
    "Tunnel connection failed",
    "SSLError",
    "SSLEOFError",
    "CERTIFICATE_VERIFY_FAILED",
    "certificate verify failed",
    "Max retries exceeded",
    "ConnectionResetError",
    "Connection aborted",
    "Connection broken",
    "RemoteDisconnected",
    "IncompleteRead",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
];

/// What says that a requirements.txt cannot be what was meant, whatever an index has.
const UNREADABLE: [&str; 14] = [
    "Invalid requirement",
    "Could not open requirements file",
    "error: no such option",
    "error: unrecognized arguments",
    "is not a valid editable requirement",
    "should either be a path to a local project or a VCS",
    "does not appear to be a Python project",
    "is not installable",
    "Hashes are required in --require-hashes mode",
    "must have their versions pinned",
    "is not a valid wheel filename",
    "Invalid wheel filename",
    "looks like a filename, but the file does not exist",
    "is not a supported wheel on this platform",
];

/// What says that requirements exclude each other.
const CONFLICT: [&str; 3] = ["ResolutionImpossible", "conflicting dependencies", "Double requirement given"];

/// What says that there is no such package, or no such version.
const NONE: [&str; 2] =
    ["No matching distribution found for ", "Could not find a version that satisfies the requirement "];

/// What says that a package could not be built from its source.
const SOURCE: [&str; 7] = [
    "subprocess-exited-with-error",
    "metadata-generation-failed",
    "legacy-install-failure",
    "Failed building wheel",
    "Could not build wheels",
    "Failed to build ",
    "Command errored out with exit status",
];

/// Who has to act, and what both readers are told.
pub fn fault(failed: &Failed<'_>) -> Fault {
    let fault = decide(failed);
    let mut detail = vec![fault.detail.clone()];
    let refused = outward::explain(failed.refused, Reader::Operator);
    if !refused.is_empty() {
        detail.push(refused.join("; "));
    }
    detail.push(failed.outcome.message.clone());
    let lines: Vec<&str> = failed.said.trim().lines().collect();
    detail.extend(lines[lines.len().saturating_sub(LINES)..].iter().map(|line| (*line).to_string()));
    detail.retain(|part| !part.trim().is_empty());
    fault.with_detail(detail.join("\n"))
}

fn decide(failed: &Failed<'_>) -> Fault {
    let said = |words: &[&str]| words.iter().any(|word| failed.said.contains(word));
    let code = match failed.outcome.ended {
        Ended::Exited { code } => code,
        _ => 0,
    };
    if code == NO_PACKAGES && said(&UNREADABLE) {
        let line = line_with(failed.said, &UNREADABLE);
        return Fault::suite(sentence(&format!("its requirements.txt is not valid ({line})")));
    }
    if failed.outcome.verdict == Verdict::MemoryLimit {
        let limit = units::show_bytes(failed.memory);
        return limited(&format!("its packages need more memory than the limit of {limit}"), "--mem-limit raises it");
    }
    if let Some(fault) = full(failed) {
        return fault;
    }
    if let Some(fault) = network(failed) {
        return fault;
    }
    if failed.outcome.verdict == Verdict::TimeLimit {
        return limited("it took longer than it may", "`timeout` in [prepare] says how long that is");
    }
    match code {
        NO_VENV => Fault::host(Cause::Environment, sentence("the grading machine's Python cannot make one"))
            .with_detail("try `python3 -m venv /tmp/x` on the host; Debian: apt-get install python3-venv"),
        NO_PACKAGES => packages(failed),
        NO_PYTEST if failed.own_requirements => {
            Fault::host(Cause::Environment, sentence("pytest does not run on the grading machine"))
        }
        NO_PYTEST if said(&["No module named pytest"]) => {
            Fault::suite(sentence("its requirements.txt does not ask for pytest"))
        }
        NO_PYTEST => Fault::suite(sentence("pytest does not run with the packages that its requirements.txt asks for")),
        _ => Fault::host(Cause::Environment, sentence("a tool failed on the grading machine")),
    }
}

/// pip had everything that it needed of the network and of the disk, and did not install.
fn packages(failed: &Failed<'_>) -> Fault {
    let has = |words: &[&str]| words.iter().any(|word| failed.said.contains(word));
    if has(&CONFLICT) {
        return Fault::suite(sentence("the packages that its requirements.txt asks for exclude each other"));
    }
    if has(&["DO NOT MATCH THE HASHES"]) {
        let what = "a package is not the one that its hash names";
        return match failed.hashes {
            true => Fault::suite(sentence(what)),
            false => Fault::network(Cause::Index, sentence(what)),
        };
    }
    if has(&NONE) {
        let asked = asked_for(failed.said).map_or("a package".into(), |name| format!("`{name}`"));
        return match (failed.files_alone, failed.own_requirements) {
            (true, _) => Fault::host(
                Cause::Index,
                sentence(&format!("{asked} is not among the packages that the grading machine has")),
            )
            .with_detail(
                "pip asks no index here (PIP_NO_INDEX): put the file into the directory that PIP_FIND_LINKS names, with \
                 what it depends on, readable for all",
            ),
            (false, true) => Fault::network(Cause::Index, sentence(&format!("the package index has no {asked}"))),
            (false, false) => Fault::suite(sentence(&format!(
                "its requirements.txt asks for {asked}, which the package index does not have for this Python"
            ))),
        };
    }
    if has(&SOURCE) {
        return Fault::suite(sentence("a package that its requirements.txt asks for cannot be built from its source"));
    }
    Fault::host(Cause::Environment, sentence("pip failed on the grading machine"))
}

/// Room that ran out: of the stage, or of the host's disk.
fn full(failed: &Failed<'_>) -> Option<Fault> {
    let has = |words: &[&str]| words.iter().any(|word| failed.said.contains(word));
    let no_room = has(&["No space left on device", "[Errno 28]"]);
    if has(&["File too large", "[Errno 27]"]) || (no_room && !failed.outcome.full.is_empty()) {
        let limit = units::show_bytes(failed.outcome.full.first().map_or(failed.disk, |full: &Full| full.bytes));
        let what = format!("its packages need more room than the limit of {limit}");
        return Some(limited(&what, "--disk-limit raises it"));
    }
    if has(&["can't start new thread", "Resource temporarily unavailable"]) {
        return Some(limited("its packages start more processes than they may", "--pids-limit raises that"));
    }
    let host = |what: &str, remedy: &str| {
        Some(Fault::host(Cause::Environment, sentence(what)).with_detail(remedy.to_string()))
    };
    if no_room || has(&["Disk quota exceeded", "[Errno 122]"]) {
        return host("the grading machine's disk is full", "make room where the state directory is");
    }
    if has(&["Read-only file system", "Input/output error", "[Errno 5]", "[Errno 30]"]) {
        return host(
            "the grading machine's disk does not work",
            "look at the disk that the state directory is on: `dmesg`",
        );
    }
    None
}

/// What kept pip from an index, if anything did: pip goes on without it, and then says that there is no such package.
fn network(failed: &Failed<'_>) -> Option<Fault> {
    let worst = |is: &dyn Fn(&Why) -> bool| failed.refused.iter().any(|refused| is(&refused.why));
    if worst(&|why| matches!(why, Why::NotListed | Why::Internal(..))) {
        let what = "the grading machine does not let it take packages from where they are";
        // The tool asks many places, and any of these may be the one that it needed.
        let remedy =
            "hosts of packages belong into [prepare] hosts, those of a network of your own into allow-internal";
        return Some(Fault::host(Cause::Index, sentence(what)).with_detail(remedy));
    }
    if worst(&|why| matches!(why, Why::TooMuch(_) | Why::TooMany(_))) {
        return Some(limited(
            "its packages are larger than what it may fetch",
            "`traffic-limit` in [prepare] raises it",
        ));
    }
    let remedy =
        "is a package index reachable from the host? (proxy and index belong into [prepare] env of the configuration)";
    let away = |what: &str| Some(Fault::network(Cause::Index, sentence(what)).with_detail(remedy));
    let unreachable = || away("the package index cannot be reached");
    if worst(&|why| matches!(why, Why::NoAddress(_) | Why::Unreachable(_))) {
        return unreachable();
    }
    match failed.said.lines().find_map(status) {
        Some(401 | 403 | 407) => {
            let what = "the package index does not let the grading machine in";
            Some(Fault::host(Cause::Index, sentence(what)).with_detail(remedy))
        }
        Some(status) if status == 429 || status >= 500 => {
            away(&format!("the package index does not work (it answers with {status})"))
        }
        _ if failed.said.lines().any(is_connection) => unreachable(),
        _ => None,
    }
}

fn is_connection(line: &str) -> bool {
    CONNECTION.iter().any(|word| line.contains(word))
}

/// The HTTP status that a line of pip's tells of.
fn status(line: &str) -> Option<u16> {
    let about =
        ["Could not fetch URL", "HTTP error ", "Client Error", "Server Error", "error responses", "WARNING: 40"];
    // What a proxy says of a tunnel is not the index's answer.
    if !about.iter().any(|word| line.contains(word)) || line.contains("Tunnel connection failed") {
        return None;
    }
    // Not a part of an address: a number that stands alone.
    let numbers = line.split([' ', ':', '(']).filter_map(|word| word.parse::<u16>().ok());
    numbers.into_iter().find(|status| (400..600).contains(status) && *status != 404)
}

/// The package of which pip says that there is none.
fn asked_for(said: &str) -> Option<String> {
    let after = |word: &&str| said.lines().find_map(|line| Some(line.split_once(*word)?.1.to_string()));
    let text = NONE.iter().find_map(after)?;
    let name = text.split(" (from ").next().unwrap_or_default().trim();
    Some(name.chars().take(100).collect()).filter(|name: &String| !name.is_empty())
}

/// The first line in which one of these words stands, without what pip writes before each error.
fn line_with(said: &str, words: &[&str]) -> String {
    let line = said.lines().find(|line| words.iter().any(|word| line.contains(word))).unwrap_or_default();
    let line = line.trim().trim_start_matches("ERROR: ").trim_end_matches(['.', ':']);
    // It stands for a file inside, which nobody outside knows.
    line.replace("/run/ostest/requirements.txt", "requirements.txt").chars().take(200).collect()
}

fn limited(what: &str, remedy: &str) -> Fault {
    Fault::host(Cause::Environment, sentence(what)).with_detail(remedy)
}

fn sentence(why: &str) -> String {
    format!("the suite's Python environment could not be built: {why}")
}

#[cfg(test)]
mod tests;
