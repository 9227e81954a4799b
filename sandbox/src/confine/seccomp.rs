//! System call filters: a policy becomes BPF programs, which a process puts on itself.
//!
//! The launcher compiles before it clones; the confined side only installs. In between the
//! programs are plain data ([`Programs`]).
//!
//! Filters stack. The kernel runs all of them on every call, newest first, and the most restrictive
//! answer wins; among equally restrictive ones, which all error numbers are, the newest filter's
//! does (`seccomp_run_filters` replaces an answer only by a strictly stricter one). Hence the order
//! of installation:
//!
//! 1. the guard against x32, which kills;
//! 2. the allow-list, which answers everything else with ENOSYS;
//! 3. one filter per other error number, EPERM first. They turn ENOSYS into an answer that people
//!    understand, and they never allow anything: a call that slips through them still has to be on
//!    the allow-list.
//!
//! Where refusals are to be told, a stack with a listener ([`super::told`]) stands in the place of this one.
//!
//! Installing 3 under 2 needs `seccomp` and `prctl` on the allow-list. That gives an attacker
//! nothing: a filter that is in force can be neither removed nor loosened.

use super::policy::{Allowed, Policy, PolicyError};
use super::rules::{self, Atom, Test, Width};
use super::told::{self, Refusal};
use seccompiler::{BpfProgram, TargetArch, sock_filter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const EPERM: u32 = libc::EPERM as u32;
const ENOSYS: u32 = libc::ENOSYS as u32;

/// Compiled filters, in the order in which they are installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Vec<Instruction>>", into = "Vec<Vec<Instruction>>")]
pub struct Programs(Vec<BpfProgram>);

/// One BPF instruction as plain numbers: code, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

impl Programs {
    /// The programs, in the order in which they are installed.
    pub fn as_slice(&self) -> &[BpfProgram] {
        &self.0
    }

    /// Of one program.
    pub(super) fn one(program: BpfProgram) -> Programs {
        Programs(vec![program])
    }
}

impl From<Vec<Vec<Instruction>>> for Programs {
    fn from(plain: Vec<Vec<Instruction>>) -> Self {
        let program = |instructions: Vec<Instruction>| {
            instructions.into_iter().map(|(code, jt, jf, k)| sock_filter { code, jt, jf, k }).collect()
        };
        Programs(plain.into_iter().map(program).collect())
    }
}

impl From<Programs> for Vec<Vec<Instruction>> {
    fn from(programs: Programs) -> Self {
        let plain = |program: BpfProgram| program.into_iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        programs.0.into_iter().map(plain).collect()
    }
}

/// Why filters cannot be made or installed.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The policy's files are wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy does not compile; most often a misspelt system call.
    #[error(
        "the policy {name} cannot be compiled for {arch}: {source}; \
         correct policies/{name}.json or a file that it includes"
    )]
    Compile {
        /// The policy.
        name: String,
        /// The architecture.
        arch: String,
        /// What seccompiler says.
        source: seccompiler::Error,
    },
    /// There are no filters for this processor.
    #[error(
        "there are no system call filters for the processor {arch}: \
         run the sandbox on x86_64 or aarch64"
    )]
    Architecture {
        /// Its name.
        arch: String,
    },
    /// A call's number is not where a filter has it.
    #[error(
        "the number of the system call {name:?} cannot be found in a filter on it; compile the policies in the tests"
    )]
    Number {
        /// The call.
        name: String,
    },
    /// There is nothing to install.
    #[error("there are no filters to install; the launcher must compile a policy first")]
    Nothing,
    /// The kernel does not take a filter.
    #[error(
        "filter {number} of {count} cannot be installed: {source}; the kernel needs \
         CONFIG_SECCOMP_FILTER, and an outer sandbox or container must allow seccomp(2)"
    )]
    Install {
        /// Which one, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// What seccompiler says.
        source: seccompiler::Error,
    },
    /// The process's status cannot be read.
    #[error(
        "{STATUS} cannot be read to check the filters: {source}; \
         /proc must be mounted before they are installed"
    )]
    Status {
        /// Why.
        source: std::io::Error,
    },
    /// The process's status does not have a line that it must have.
    #[error("{STATUS} has no line {line:?}; the sandbox needs Linux 5.10 or newer with seccomp")]
    StatusLine {
        /// The line's name.
        line: &'static str,
    },
    /// Not everything is in force that was installed.
    #[error(
        "the filters are not in force: {STATUS} says Seccomp {mode} with {found} filters, \
         expected 2 with {expected}; the command was not run"
    )]
    NotInForce {
        /// The mode that was read.
        mode: usize,
        /// The number of filters that was read.
        found: usize,
        /// The number of filters that it should be.
        expected: usize,
    },
}

/// Filters of one thread, as the kernel counts them. Not `self`: that is the first thread's.
const STATUS: &str = "/proc/thread-self/status";

/// Compiles a stage's policy for the processor that this runs on.
pub fn compile(policy: crate::plan::Policy) -> Result<Programs, SeccompError> {
    compile_for(policy.file(), native()?)
}

/// Compiles the policy of this name for the processor that this runs on: a stage's with the groups that are on top of it.
pub fn compile_named(name: &str) -> Result<Programs, SeccompError> {
    compile_for(name, native()?)
}

/// Compiles the policy that pid 1 puts on itself once the payload runs.
pub fn compile_init() -> Result<Programs, SeccompError> {
    compile_for("init", native()?)
}

/// Compiles the policy of this name for any architecture.
pub fn compile_for(name: &str, arch: TargetArch) -> Result<Programs, SeccompError> {
    compile_policy(&Policy::load(name, arch)?, arch)
}

/// Compiles a policy that has been put together for this architecture.
pub fn compile_policy(policy: &Policy, arch: TargetArch) -> Result<Programs, SeccompError> {
    stack(policy, arch, &[])
}

/// The stack of a policy, without the refusals that a listener answers: these the allow-list lets pass.
pub(super) fn stack(policy: &Policy, arch: TargetArch, told: &[Refusal]) -> Result<Programs, SeccompError> {
    let mut programs = Vec::new();
    if arch == TargetArch::x86_64 {
        programs.push(x32_guard());
    }
    let mut allowed = allow_list(policy);
    // One that is allowed whatever its arguments passes already; and a rule beside the one without arguments would narrow it.
    let narrowed = told.iter().filter(|told| policy.allow.get(&told.syscall) != Some(&Allowed::Always));
    allowed.extend(narrowed.flat_map(|told| rules_of(&told.syscall, told.rule.as_ref())));
    let mismatch = json!({ "errno": ENOSYS });
    programs.push(translate(policy, arch, filter(mismatch, json!("allow"), allowed))?);
    for (errno, rules) in refusals(policy, !told.is_empty()) {
        programs.push(translate(policy, arch, filter(json!("allow"), json!({ "errno": errno }), rules))?);
    }
    Ok(Programs(programs))
}

/// One filter that gives `answer` to these calls and lets all others pass.
pub(super) fn one_filter<'a>(
    policy: &Policy,
    arch: TargetArch,
    told: impl IntoIterator<Item = &'a Refusal>,
    errno: u32,
) -> Result<BpfProgram, SeccompError> {
    let rules = told.into_iter().flat_map(|told| rules_of(&told.syscall, told.rule.as_ref())).collect();
    translate(policy, arch, filter(json!("allow"), json!({ "errno": errno }), rules))
}

/// The number of a call, which seccompiler knows and does not tell: it stands in a filter on that call alone.
pub(super) fn number(policy: &Policy, arch: TargetArch, name: &str) -> Result<u32, SeccompError> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let rules = vec![json!({ "syscall": name })];
    let program = translate(policy, arch, filter(json!("allow"), json!({ "errno": EPERM }), rules))?;
    let mut after = program.iter().skip_while(|i| !(i.code == LOAD && i.k == 0));
    let compared = after.find(|i| i.code == EQUAL).map(|i| i.k);
    compared.ok_or_else(|| SeccompError::Number { name: name.into() })
}

/// Puts the filters on the calling thread and whatever it starts from now on, for good, and reads
/// back that they are in force. Sets no_new_privs. Needs /proc.
pub fn install(programs: &Programs) -> Result<(), SeccompError> {
    let count = programs.0.len();
    if count == 0 {
        return Err(SeccompError::Nothing);
    }
    // A container around the sandbox has filters of its own already.
    let (_, before) = read_status()?;
    for (index, program) in programs.0.iter().enumerate() {
        seccompiler::apply_filter(program).map_err(|source| SeccompError::Install {
            number: index + 1,
            count,
            source,
        })?;
    }
    let (mode, found) = read_status()?;
    let expected = before + count;
    if mode != 2 || found != expected {
        return Err(SeccompError::NotInForce { mode, found, expected });
    }
    Ok(())
}

pub(super) fn native() -> Result<TargetArch, SeccompError> {
    let arch = std::env::consts::ARCH;
    match TargetArch::try_from(arch) {
        Ok(arch @ (TargetArch::x86_64 | TargetArch::aarch64)) => Ok(arch),
        // seccompiler knows riscv64 too, but the policies have not been tried there.
        _ => Err(SeccompError::Architecture { arch: arch.into() }),
    }
}

/// Kills what asks for the x32 table: the same architecture value as x86_64 with bit 30 set in the
/// call's number, which gives every call a second number that lists forget (seccompiler #74).
/// The allow-list would answer ENOSYS; killing is what happens to the other foreign table, i386.
/// Number -1 has the bit as well and passes: it is no call but what a tracer writes to have one
/// skipped.
fn x32_guard() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    let jump = |code: u32, k: u32, jt: u8, jf: u8| sock_filter {
        code: (libc::BPF_JMP | code | libc::BPF_K) as u16,
        jt,
        jf,
        k,
    };
    let plain = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    vec![
        // The number is the first field of struct seccomp_data.
        plain(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump(libc::BPF_JEQ, u32::MAX, 1, 0),
        jump(libc::BPF_JSET, X32_BIT, 1, 0),
        plain(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        plain(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

/// The rules of the main filter: what is listed passes, everything else does not exist.
fn allow_list(policy: &Policy) -> Vec<Value> {
    let mut rules = Vec::new();
    for (syscall, allowed) in &policy.allow {
        let when = match allowed {
            Allowed::Always => None,
            Allowed::When { rule, .. } => Some(rule),
        };
        rules.extend(rules_of(syscall, when));
    }
    rules
}

/// The rules of the filters that refuse, by error number; EPERM first, so that every other, more
/// particular answer is newer and wins. Without those that are told, where they are.
fn refusals(policy: &Policy, are_told: bool) -> Vec<(u32, Vec<Value>)> {
    let mut by_errno: BTreeMap<(bool, u32), Vec<Value>> = BTreeMap::new();
    for refusal in told::refusals(policy) {
        // Refused with ENOSYS and allowed nowhere (the policy was checked): nothing to add.
        let nothing = refusal.errno == ENOSYS && refusal.rule.is_none();
        let asked = are_told && refusal.is_told();
        if !(nothing || asked) {
            let rules = by_errno.entry(told::precedence(refusal.errno)).or_default();
            rules.extend(rules_of(&refusal.syscall, refusal.rule.as_ref()));
        }
    }
    by_errno.into_iter().map(|((_, errno), rules)| (errno, rules)).collect()
}

/// The rules on one call in seccompiler's JSON; without arguments, one.
fn rules_of(syscall: &str, rule: Option<&rules::AnyOf>) -> Vec<Value> {
    match rule {
        None => vec![json!({ "syscall": syscall })],
        Some(rule) => rules::lower(rule).iter().map(|all| rule_of(syscall, all)).collect(),
    }
}

/// A filter in seccompiler's JSON.
fn filter(mismatch: Value, matches: Value, rules: Vec<Value>) -> Value {
    json!({ "mismatch_action": mismatch, "match_action": matches, "filter": rules })
}

/// A rule in seccompiler's JSON.
fn rule_of(syscall: &str, all: &[Atom]) -> Value {
    let condition = |atom: &Atom| {
        let (op, value) = match atom.test {
            Test::Eq(value) => (json!("eq"), value),
            Test::Ne(value) => (json!("ne"), value),
            Test::MaskedEq(mask, value) => (json!({ "masked_eq": mask }), value),
        };
        let width = match atom.width {
            Width::Dword => "dword",
            Width::Qword => "qword",
        };
        json!({ "index": atom.index, "type": width, "op": op, "val": value })
    };
    json!({ "syscall": syscall, "args": all.iter().map(condition).collect::<Vec<_>>() })
}

/// One filter from seccompiler's JSON to BPF. By way of JSON because that frontend has the tables
/// of names and numbers for every architecture, and they are public nowhere else.
fn translate(policy: &Policy, arch: TargetArch, filter: Value) -> Result<BpfProgram, SeccompError> {
    let text = json!({ "filter": filter }).to_string();
    let failed = |source| SeccompError::Compile { name: policy.name.clone(), arch: format!("{arch:?}"), source };
    let mut map = seccompiler::compile_from_json(text.as_bytes(), arch).map_err(failed)?;
    map.remove("filter").ok_or_else(|| failed(seccompiler::Error::EmptyFilter))
}

/// The thread's seccomp mode and its number of filters.
pub(super) fn read_status() -> Result<(usize, usize), SeccompError> {
    let text = std::fs::read_to_string(STATUS).map_err(|source| SeccompError::Status { source })?;
    let field = |line: &'static str| {
        text.lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().parse().ok())
            .ok_or(SeccompError::StatusLine { line })
    };
    Ok((field("Seccomp")?, field("Seccomp_filters")?))
}
