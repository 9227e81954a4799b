//! Why a fetch failed, and who is to blame.
//!
//! It is decided by what is known: the step at which git failed, what the proxy saw, what the kernel measured, and the status that the
//! server gave. The submission is blamed where something shows that it is at fault. All else is the server's, or the mirror's: a
//! student is not to be answered for a network that is down. Nor is anybody to make a fault of the network out of a repository, by
//! which the grader would wait: of what git says while objects come or files are written, a part may be the repository's words, so
//! no such fault is read out of those.

use super::mirror::Repository;
use super::script::{Step, Told};
use crate::contain::Finished;
use crate::fault::{Blame, Cause, Fault};
use crate::proxy::{Refused, Why};
use crate::task::outward::{self, Reader};
use sandbox::outcome::{Ended, Verdict};
use std::time::Duration;

/// How the shell tells of a program that a signal has ended: this and its number. git's own errors end with 128.
const BY_SIGNAL: i32 = 128;

/// SIGXFSZ: a file was larger than it may be.
const TOO_LARGE: i32 = BY_SIGNAL + 25;

/// SIGABRT, SIGBUS, SIGSEGV: a program has crashed by itself.
const CRASHED: [i32; 3] = [BY_SIGNAL + 6, BY_SIGNAL + 7, BY_SIGNAL + 11];

/// Lines of git's that an operator is shown.
const SHOWN_LINES: usize = 20;

/// Where a repository is taken from.
#[derive(Debug)]
pub enum Origin {
    /// A git server.
    Server {
        /// `host:port`.
        place: String,
        /// Whether it has proved who it is.
        secure: bool,
        /// Whether the operator's credentials were shown to it.
        known: bool,
    },
    /// A mirror.
    Mirror(Repository),
}

/// A fetch that failed.
#[derive(Debug)]
pub struct Failure<'a> {
    /// What was to be fetched, for people.
    pub what: String,
    /// The branch; none: the default one.
    pub branch: Option<&'a str>,
    /// From where.
    pub origin: &'a Origin,
    /// What the script has said.
    pub told: &'a Told,
    /// What git has said, without secrets.
    pub said: &'a str,
    /// How the stage ended.
    pub finished: &'a Finished,
    /// The disk limit.
    pub disk: u64,
    /// The wall clock.
    pub wall: Duration,
}

impl Failure<'_> {
    /// Who is to blame, with a sentence for the student and what is known for the operator.
    pub fn fault(&self) -> Fault {
        let fault = self.by_limits().unwrap_or_else(|| match self.told.step {
            // The shell and git themselves do not work.
            Step::Start | Step::Make | Step::End => self.sandbox(),
            Step::List => self.at_list(),
            Step::Choose => self.at_choice(),
            Step::Fetch => self.at_fetch(),
            Step::Unpack => self.at_unpack(),
        });
        let detail = if fault.blame == Blame::Submission { self.words() } else { self.detail() };
        fault.with_detail(detail)
    }

    fn by_limits(&self) -> Option<Fault> {
        let Finished { outcome, refused, traffic, .. } = self.finished;
        let by_server = matches!(self.told.step, Step::List | Step::Fetch);
        // The proxy's own knowledge, before what git made of it.
        if let Some(entry) = refused.iter().find(|entry| matches!(entry.why, Why::TooMuch(_))) {
            return Some(self.submission(&sentence(entry)));
        }
        if let Some(said) = outward::explain(refused, Reader::Student).into_iter().next().filter(|_| by_server) {
            // An address that is written down, and no answer of a name server: no network will ever make it another.
            let internal = refused.iter().any(|entry| matches!(entry.why, Why::Internal(..)));
            return Some(if internal && self.is_literal() { self.submission(&said) } else { self.elsewhere(&said) });
        }
        match outcome.verdict {
            Verdict::MemoryLimit => return Some(self.submission(&format!("git failed, {}", outcome.message))),
            Verdict::TimeLimit => return Some(self.too_slow(traffic.received)),
            Verdict::Signaled => return Some(self.sandbox()),
            _ => {}
        }
        let code = if let Ended::Exited { code } = outcome.ended { code } else { 0 };
        // Everything that git writes to is of the sandbox, and as large as the disk limit says; nothing of it is the host's disk.
        let full = !outcome.full.is_empty() || self.has("No space left on device") || self.has("File too large");
        if full || code == TOO_LARGE {
            return Some(self.submission("it is larger than the disk limit"));
        }
        // A git that crashes while it reads the repository does so over what is in it, and one of its helpers that runs out of memory
        // does, too: git then says no more than that the helper has ended.
        let reads = matches!(self.told.step, Step::Fetch | Step::Unpack);
        if reads && outcome.usage.oom_kills.as_ref().is_some_and(|kills| kills.value > 0) {
            return Some(self.submission("git needs more memory for it than there is; make it smaller"));
        }
        if reads && CRASHED.contains(&code) {
            return Some(self.submission("git crashed on it"));
        }
        // Somebody on the host has killed git, or it had no room for a thread. Later, git quotes names of the repository's files, which
        // may be these words.
        let quotes_none = matches!(self.told.step, Step::Start | Step::Make | Step::List);
        let starved = ["unable to create thread", "cannot fork", "unable to create async thread"];
        let starved = quotes_none && starved.iter().any(|text| self.has(text));
        (code > BY_SIGNAL || starved).then(|| self.sandbox())
    }

    /// Whether the URL names its server by an address, or as this machine.
    fn is_literal(&self) -> bool {
        let Origin::Server { place, .. } = self.origin else { return false };
        let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host).trim_matches(['[', ']']);
        host.parse::<std::net::IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost")
    }

    /// The wall clock ran out. It is the submission's only if git itself worked on it for most of the time, or if more has come than
    /// could be kept; a slow network looks the same otherwise.
    fn too_slow(&self, received: u64) -> Fault {
        let seconds = self.wall.as_secs();
        let worked = self.finished.outcome.usage.cpu_us.as_ref().map_or(0, |figure| figure.value);
        if worked >= self.wall.as_micros().try_into().unwrap_or(u64::MAX) / 2 {
            return self.submission(&format!("git needs more than {seconds} s for it; make it smaller"));
        }
        if received > self.disk {
            return self.submission("it is larger than the disk limit");
        }
        match self.told.step {
            Step::List | Step::Fetch => self.elsewhere(&format!("it did not come within {seconds} s")),
            _ => self.sandbox(),
        }
    }

    /// Of what git says here nothing comes out of the repository; names of branches hold no ends of lines.
    fn at_list(&self) -> Fault {
        let Origin::Server { place, secure, known } = self.origin else {
            return self.elsewhere(UNREADABLE);
        };
        let place = shown(place);
        let absent = "there is no such repository; check the address";
        let secret = "the repository does not exist or is not public";
        let leads = "the address leads elsewhere; give the one that it leads to";
        match self.status() {
            // Many servers say so of what the token may not see.
            Some(404 | 410 | 451) if *known => self.submission(
                "there is no such repository, or the grader may not see it; check the address, and ask your teacher",
            ),
            Some(404 | 410 | 451) => self.submission(absent),
            // The same as 429, in the words of some.
            Some(403) if self.is_throttled() => self.elsewhere(&format!("the server {place} is busy (HTTP 403)")),
            Some(401 | 403) if *known => self.not_let_in(),
            Some(401 | 403) => self.submission(secret),
            // Without TLS it may be anybody who says so, such as the login page of a network.
            Some(300..=399) if *secure => self.submission(leads),
            Some(429) => self.elsewhere(&format!("the server {place} is busy (HTTP 429)")),
            Some(status) => self.elsewhere(&format!("the server {place} does not work (HTTP {status})")),
            None if self.asks_for_login() && *known => self.not_let_in(),
            None if self.asks_for_login() => self.submission(secret),
            None if self.line(|line| line.starts_with("fatal: repository '") && line.ends_with("' not found")) => {
                self.submission(absent)
            }
            None if self.is_no_repository() && *secure => {
                self.submission("the server has a page at this address, and no repository; check the address")
            }
            None if self.is_no_repository() => {
                self.elsewhere(&format!("the server {place} answers with something else than git"))
            }
            None if self.has("unable to update url base from redirection") && *secure => self.submission(leads),
            None if self.has("certificate") => self.elsewhere(&format!("the server {place} cannot prove who it is")),
            None if self.finished.traffic.connections == 0 => {
                self.elsewhere(&format!("the server {place} cannot be reached"))
            }
            None => self.elsewhere(&format!("the server {place} broke off")),
        }
    }

    /// The server has told its branches, and this is not among them.
    fn at_choice(&self) -> Fault {
        let Told { tag, has, branches, .. } = self.told;
        // Without this line the script itself has failed.
        let Some(count) = *branches else { return self.sandbox() };
        if self.told.silent {
            return match self.origin {
                Origin::Server { place, .. } => {
                    self.elsewhere(&format!("the server {} answers with something else than git", shown(place)))
                }
                Origin::Mirror(_) => self.elsewhere(UNREADABLE),
            };
        }
        let Some(branch) = self.branch else {
            return self.submission("it has no default branch, or nothing has been pushed to it");
        };
        if let Origin::Mirror(repository) = self.origin
            && super::meant(branch).into_iter().chain([branch]).any(|name| repository.has_branch(name))
        {
            return self.elsewhere(UNREADABLE);
        }
        let same = has.iter().find(|name| name.eq_ignore_ascii_case(branch));
        let is_commit = (7..=64).contains(&branch.len()) && branch.bytes().all(|b| b.is_ascii_hexdigit());
        self.submission(&match (tag, same) {
            (Some(tag), _) => format!("{tag:?} is a tag and no branch; make a branch of it and give that one"),
            _ if count == 0 => "it has no branches; nothing has been pushed to it".into(),
            (None, Some(same)) => format!("there is no such branch; there is {same:?}"),
            _ if is_commit => "there is no such branch; this looks like a commit: give the branch that it is on".into(),
            _ if branch.starts_with("refs/tags/") || branch.starts_with("tags/") => {
                "this names a tag and no branch; make a branch of it and give that one".into()
            }
            _ => {
                format!("there is no such branch; check its name, and that it has been pushed; {}", listed(has, count))
            }
        })
    }

    fn at_fetch(&self) -> Fault {
        // git's own words on an object that it does not take: "error: object ID: hasDotgit: contains '.git'".
        let object = self.lines().find_map(|line| line.strip_prefix("error: object ")?.rsplit_once(": "));
        if let Some((_, what)) = object.filter(|_| self.has("fsck error") || self.has("Error in object")) {
            return self.submission(&format!(
                "it holds something that no repository should, which git refuses ({}); rewrite it without that",
                cut(what)
            ));
        }
        if self.line(|line| line.starts_with("fatal: couldn't find remote ref ")) {
            return self.submission("there is no such branch any more");
        }
        match self.origin {
            Origin::Server { place, .. } => {
                self.elsewhere(&format!("the server {} broke off while it sent the repository", shown(place)))
            }
            Origin::Mirror(_) => self.elsewhere(UNREADABLE),
        }
    }

    fn at_unpack(&self) -> Fault {
        let long = ["File name too long", "fatal: cannot create directory at", "unable to create file"];
        if long.iter().any(|text| self.has(text)) {
            // Of a long path git says so much that the reason does not fit.
            return self.submission("it holds a path that cannot be made here, most likely because it is too long");
        }
        self.submission(&format!("git failed, {}", self.finished.outcome.message))
    }

    fn submission(&self, why: &str) -> Fault {
        Fault::submission(format!("{} could not be fetched: {why}", self.what))
    }

    /// Whoever holds the repository is to blame.
    fn elsewhere(&self, why: &str) -> Fault {
        let message = format!("{} could not be fetched: {why}; if this goes on, tell your teacher", self.what);
        match self.origin {
            Origin::Server { place, .. } => Fault::network(Cause::Server(place.clone()), message),
            Origin::Mirror(repository) => Fault::host(Cause::Mirror(repository.prefix.clone()), message),
        }
    }

    fn not_let_in(&self) -> Fault {
        match self.origin {
            Origin::Server { place, .. } => Fault::host(
                Cause::Server(place.clone()),
                format!(
                    "{} could not be fetched: the server {} does not let the grader in; tell your teacher",
                    self.what,
                    shown(place)
                ),
            ),
            Origin::Mirror(_) => self.elsewhere(UNREADABLE),
        }
    }

    fn sandbox(&self) -> Fault {
        Fault::host(
            Cause::Sandbox,
            format!("{} could not be fetched: git does not work on the grading machine", self.what),
        )
    }

    /// For the operator: how it ended, what the proxy has seen, git's words.
    fn detail(&self) -> String {
        let Finished { outcome, refused, traffic, .. } = self.finished;
        let mut all = vec![format!("fetch ended at the step {:?}: {}", self.told.step, outcome.message)];
        if let Origin::Server { .. } = self.origin {
            all.push(format!("{} connections were made, and {} bytes came", traffic.connections, traffic.received));
        }
        all.extend(outward::explain(refused, Reader::Operator));
        if matches!(self.origin, Origin::Mirror(_)) && (self.has("ermission denied") || self.has("does not appear")) {
            all.push("what a mirror holds has to be readable for all users".into());
        }
        all.extend(self.last().map(str::to_string));
        all.join("\n")
    }

    /// git's words, for whoever the submission belongs to: where a mirror lies is no matter of theirs.
    fn words(&self) -> String {
        let words = self.last().collect::<Vec<_>>().join("\n");
        match self.origin {
            Origin::Server { .. } => words,
            Origin::Mirror(repository) => words.replace(&repository.path.display().to_string(), "the repository"),
        }
    }

    fn last(&self) -> impl Iterator<Item = &str> {
        let count = self.said.trim_end().lines().count();
        self.said.trim_end().lines().skip(count.saturating_sub(SHOWN_LINES)).map(cut)
    }

    /// git's own lines: what a server's own programs say is told as its words.
    fn lines(&self) -> impl Iterator<Item = &str> {
        let by_server = ["remote:", "fatal: remote error:"];
        self.said.lines().filter(move |line| !by_server.iter().any(|start| line.starts_with(start)))
    }

    fn has(&self, text: &str) -> bool {
        self.line(|line| line.contains(text))
    }

    fn line(&self, wanted: impl FnMut(&str) -> bool) -> bool {
        self.lines().any(wanted)
    }

    /// The status that the server gave, where it was an error.
    fn status(&self) -> Option<u16> {
        let said = |line: &str| line.split_once("The requested URL returned error: ")?.1.get(..3)?.parse().ok();
        self.lines().find_map(said)
    }

    fn asks_for_login(&self) -> bool {
        let words = ["could not read Username", "could not read Password", "Authentication failed"];
        words.iter().any(|text| self.has(text))
    }

    fn is_no_repository(&self) -> bool {
        self.has("not valid: is this a git repository?")
    }

    fn is_throttled(&self) -> bool {
        let said = self.said.to_ascii_lowercase();
        ["rate limit", "too many requests", "abuse"].iter().any(|text| said.contains(text))
    }
}

const UNREADABLE: &str = "the grading machine's copy of it cannot be read";

fn sentence(refused: &Refused) -> String {
    outward::explain(std::slice::from_ref(refused), Reader::Student).concat()
}

/// The port of https says nothing to most people.
fn shown(place: &str) -> &str {
    place.strip_suffix(":443").unwrap_or(place)
}

/// The beginning of a line that may be long.
fn cut(line: &str) -> &str {
    line.char_indices().nth(300).map_or(line, |(end, _)| &line[..end])
}

fn listed(has: &[String], count: usize) -> String {
    let names: Vec<&str> = has.iter().map(|name| cut(name)).collect();
    match count.saturating_sub(names.len()) {
        0 => format!("it has {}", names.join(", ")),
        more => format!("it has {} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
