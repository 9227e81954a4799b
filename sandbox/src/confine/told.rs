//! Refusals that somebody hears of: who called what, beside the error that the caller got.
//!
//! A filter that answers with an error number tells nobody. So these calls are answered with
//! SECCOMP_RET_USER_NOTIF, by which the kernel asks whoever holds the filter's listener, the
//! launcher, and lets the caller wait. The launcher takes a note and gives the error that the plain
//! filter would have given ([`Answers`]); it never lets a call go on. So nobody is asked about a call that is allowed: it would
//! cost each honest caller a wait, and an EINTR where a signal comes meanwhile.
//!
//! What keeps this as closed as the plain filters:
//!
//! - Where nobody holds the listener any more the kernel answers ENOSYS by itself.
//! - An error number is a stricter answer than a question, and a killed process a stricter one still. So the
//!   allow-list has to let these calls pass, and they are refused by the listener's filter alone. Hence it is the
//!   first that is installed, and [`install`] does all or nothing.
//! - A newer filter that asks goes before ours, and *its* listener may let a call go on. So nobody inside may make
//!   a listener: the policies refuse the flag, which is told like any other refusal. While ours is held the kernel
//!   refuses it as well, since a process has one at the most (EBUSY); when it is not, our filter asks nobody (ENOSYS).
//!
//! For that reason there is none where a container around the sandbox has one already ([`availability`]); then the plain
//! filters are in force, and refusals are not told.

use super::policy::{Allowed, Policy, Refused};
use super::rules::{self, AnyOf};
use super::seccomp::{self, Programs, SeccompError};
use super::verdict::holds;
use crate::sys;
use seccompiler::TargetArch;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

const EPERM: u32 = libc::EPERM as u32;

/// A refusal of a policy, whichever way it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the call.
    pub syscall: String,
    /// The arguments with which it is refused; `None` for all.
    pub rule: Option<AnyOf>,
    /// The error.
    pub errno: u32,
    /// What can be done instead.
    pub instead: Option<String>,
    /// Nobody is to be told.
    quiet: bool,
}

impl Refusal {
    fn of(refused: &Refused) -> Refusal {
        Refusal {
            syscall: refused.syscall.clone(),
            rule: refused.rule.clone(),
            errno: refused.errno,
            instead: refused.words.instead.clone(),
            quiet: refused.words.quiet,
        }
    }

    /// Whether somebody is to hear of it. Not of what libraries ask for to find out what a kernel has: these rules are quiet.
    pub fn is_told(&self) -> bool {
        !self.quiet
    }
}

/// Calls that the compiler's table has no number for, so that no rule can name them: refused as whatever is listed nowhere.
const NEWER: [&str; 4] = ["setxattrat", "getxattrat", "listxattrat", "removexattrat"];

/// What a stage's policy refuses and tells nobody when it happens: libraries and tools ask for it and go on without. Whoever fails
/// by it can still be told what it is. `policy` is its name ([`crate::plan::Plan::policy_name`]). None for a processor without policies.
pub fn quiet_of(policy: &str) -> Vec<Refusal> {
    let load = |arch| Policy::load(policy, arch).ok();
    seccomp::native().ok().and_then(load).map(|policy| quiet(&policy)).unwrap_or_default()
}

fn quiet(policy: &Policy) -> Vec<Refusal> {
    let newer = NEWER.into_iter().filter(|call| !policy.allow.contains_key(*call)).map(|call| Refusal {
        syscall: call.into(),
        rule: None,
        errno: libc::ENOSYS as u32,
        instead: Some("use setxattr, getxattr, listxattr and removexattr, as far as they are allowed here".into()),
        quiet: true,
    });
    refusals(policy).into_iter().filter(|refusal| refusal.quiet).chain(newer).collect()
}

/// Every refusal of a policy.
pub fn refusals(policy: &Policy) -> Vec<Refusal> {
    let conditional = policy.allow.iter().filter_map(|(syscall, allowed)| match allowed {
        Allowed::Always => None,
        Allowed::When { rule, otherwise, words } => Some(Refusal {
            syscall: syscall.clone(),
            rule: Some(rules::complement(rule)),
            errno: *otherwise,
            instead: words.instead.clone(),
            quiet: words.quiet,
        }),
    });
    conditional.chain(policy.refuse.iter().map(Refusal::of)).collect()
}

/// Among several errors for one call that which is the greatest by this is given: EPERM before none.
pub(super) fn precedence(errno: u32) -> (bool, u32) {
    (errno != EPERM, errno)
}

/// What the launcher answers with.
#[derive(Debug)]
pub struct Answers {
    policy: Policy,
    arch: TargetArch,
    told: Vec<Refusal>,
    /// The calls' numbers. Found out when the first call is refused: it takes longer than to compile all filters.
    numbers: OnceCell<BTreeMap<u32, String>>,
}

impl Answers {
    /// The rule that refuses a call with these arguments. `None` is not to be expected, and is to be refused as well.
    pub fn find(&self, number: u32, args: &[u64; 6]) -> Option<&Refusal> {
        let name = self.numbers.get_or_init(|| self.numbers()).get(&number)?;
        let fits = |rule: &&Refusal| {
            rule.syscall == *name && rule.rule.as_ref().is_none_or(|arguments| holds(arguments, args))
        };
        self.told.iter().filter(fits).max_by_key(|told| precedence(told.errno))
    }

    fn numbers(&self) -> BTreeMap<u32, String> {
        let names: BTreeSet<&String> = self.told.iter().map(|rule| &rule.syscall).collect();
        // One that cannot be found out is refused without a name. The tests find all.
        let number = |name: &String| Some((seccomp::number(&self.policy, self.arch, name).ok()?, name.clone()));
        names.into_iter().filter_map(number).collect()
    }
}

/// Filters of a payload whose refusals are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The one with a listener.
    listener: Programs,
    /// All others.
    others: Programs,
}

/// Compiles a stage's policy for the processor that this runs on: the filters, and what calls are to be answered.
///
/// # Errors
/// When the policy does not compile.
pub fn compile(policy: crate::plan::Policy) -> Result<(Listening, Answers), SeccompError> {
    compile_for(policy.file(), seccomp::native()?)
}

/// The same by name: a stage's policy with the groups that are on top of it.
///
/// # Errors
/// When the policy does not compile.
pub fn compile_named(name: &str) -> Result<(Listening, Answers), SeccompError> {
    compile_for(name, seccomp::native()?)
}

/// The same for any architecture.
///
/// # Errors
/// When the policy does not compile.
pub fn compile_for(name: &str, arch: TargetArch) -> Result<(Listening, Answers), SeccompError> {
    let policy = Policy::load(name, arch)?;
    let told: Vec<Refusal> = refusals(&policy).into_iter().filter(Refusal::is_told).collect();
    let mut listener = seccomp::one_filter(&policy, arch, &told, EPERM)?;
    // seccompiler cannot write it. Where this found nothing the filter would refuse by itself, and nothing be open.
    let plain = libc::SECCOMP_RET_ERRNO | EPERM;
    for instruction in listener.iter_mut().filter(|i| i.code == RETURN && i.k == plain) {
        instruction.k = libc::SECCOMP_RET_USER_NOTIF;
    }
    let others = seccomp::stack(&policy, arch, &told)?;
    let answers = Answers { policy, arch, told, numbers: OnceCell::new() };
    Ok((Listening { listener: Programs::one(listener), others }, answers))
}

/// Whether the kernel will give a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It has them, and there is no filter around this process.
    Sure,
    /// It has them, and there are filters around this process, one of which may have a listener: that has to be tried.
    Perhaps,
    /// It is older than Linux 5.0.
    Never,
}

/// Whether the kernel will give a listener to what this process starts.
///
/// # Errors
/// When the process's own status cannot be read.
pub fn availability() -> Result<Availability, SeccompError> {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if !actions.split_ascii_whitespace().any(|action| action == "user_notif") {
        return Ok(Availability::Never);
    }
    let (mode, _) = seccomp::read_status()?;
    Ok(if mode == 0 { Availability::Sure } else { Availability::Perhaps })
}

/// A filter's instruction that gives an answer.
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What [`install`] did.
#[derive(Debug)]
pub enum Installed {
    /// All filters are in force; who holds this is asked.
    Told(OwnedFd),
    /// Nothing is in force: the kernel gives no listener, and why not.
    Untold(io::Error),
}

/// Puts all filters on the calling thread and whatever it starts from now on, for good. Gives back the listener, of which
/// nothing that is confined may keep a copy. Sets no_new_privs. Needs /proc.
///
/// # Errors
/// When some are in force and not all: the caller must not go on.
pub fn install(programs: &Listening) -> Result<Installed, SeccompError> {
    let [listener] = programs.listener.as_slice() else { return Err(SeccompError::Nothing) };
    let instructions: Vec<libc::sock_filter> =
        listener.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    match sys::install_listener(&instructions) {
        Ok(fd) => seccomp::install(&programs.others).map(|()| Installed::Told(fd)),
        Err(error) => Ok(Installed::Untold(error)),
    }
}

#[cfg(test)]
impl Listening {
    /// In the order in which they are installed.
    pub(super) fn all(&self) -> Vec<seccompiler::BpfProgram> {
        self.listener.as_slice().iter().chain(self.others.as_slice()).cloned().collect()
    }
}
