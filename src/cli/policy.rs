//! `policy`: which system calls a stage allows, and why, for people.

mod diff;
mod explain;
mod groups;
mod show;

use super::Failure;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use sandbox::confine::listing::{Kind, POLICIES};
use sandbox::confine::policy::{Policy, TargetArch};
use sandbox::confine::seen;
use sandbox::groups::{Group, Groups};
use std::collections::BTreeMap;
use std::path::Path;

/// Exit code of what cannot be shown: no such call, stage or file.
const WRONG: u8 = 2;

const AFTER_HELP: &str = "\
Each stage has a list of the system calls that it allows; the rest is answered with an error, and nothing else happens. What is \
listed nowhere does not exist for a program (ENOSYS), so that it tries something else. `init` is pid 1 of every sandbox.

    ostest-sandbox policy show                    all calls in all stages
    ostest-sandbox policy show test               one stage: every call, its conditions, and who needs it
    ostest-sandbox policy show test --allow perf  the same with a group of calls that a laboratory can be allowed
    ostest-sandbox policy groups                  these groups: what each is for, its calls, and what allowing it gives up
    ostest-sandbox policy explain ptrace          why my program is told \"Operation not permitted\", and what works instead
    ostest-sandbox policy explain 425             the same by the number that a log or strace shows
    ostest-sandbox policy diff build test         what the second allows more, and less
    ostest-sandbox policy diff test test+perf     what a group opens
    ostest-sandbox policy diff test my-test.json  the same of a changed copy of policies/test.json

Who needs a call was recorded (scripts/record_syscalls.sh), or the rule says it. It needs no root, and looks at nothing on this \
host. Exit codes: 0 shown, or no difference; 1 diff has found differences; 2 there is no such call, stage or file.";

/// Flags of `policy`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct PolicyArgs {
    #[command(subcommand)]
    what: What,
    /// As JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Processor whose calls are meant [default: this host's]
    #[arg(long, global = true, value_name = "ARCH")]
    arch: Option<Arch>,
}

/// What to show.
#[derive(Debug, Subcommand)]
enum What {
    /// Show the calls of a stage, or of all stages beside each other
    Show {
        /// fetch, build, test or init
        stage: Option<String>,
        /// With this group of calls on top (repeatable)
        #[arg(long, value_name = "GROUP", requires = "stage")]
        allow: Vec<Group>,
    },
    /// Show the groups of calls that the operator can allow a laboratory
    Groups,
    /// Say what comes of one call in each stage, why, and what can be used instead
    Explain {
        /// Name or number of the call
        syscall: String,
    },
    /// Say what the second policy allows more and less than the first
    Diff {
        /// A stage (test+GROUP: with a group), or a file like those of policies/
        first: String,
        /// A stage, or a file like those of policies/
        second: String,
    },
}

/// Processors for which there are filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
}

/// Shows it; the number is the exit code.
pub fn main(args: &PolicyArgs) -> Result<u8, Failure> {
    go(args).map_err(Failure::with(WRONG))
}

fn go(args: &PolicyArgs) -> anyhow::Result<u8> {
    let arch = match args.arch {
        Some(arch) => arch,
        None => Arch::from_str(std::env::consts::ARCH, false).map_err(|_| {
            anyhow::anyhow!("there are no filters for this processor; say --arch x86_64 or --arch aarch64")
        })?,
    };
    let kernel = Kernel::of(arch);
    match &args.what {
        What::Show { stage: None, .. } => show::all(&kernel, args.json)?,
        What::Show { stage: Some(stage), allow } => {
            let groups: Groups = allow.iter().copied().collect();
            anyhow::ensure!(groups.is_empty() || stage == "test", "groups of calls go on top of the test stage alone");
            show::one(&kernel, &groups.on(stage), args.json)?
        }
        What::Groups => groups::all(args.json)?,
        What::Explain { syscall } => explain::explain(&kernel, syscall, args.json)?,
        What::Diff { first, second } => {
            let differ = diff::diff(&load(first, arch)?, &load(second, arch)?, args.json)?;
            return Ok(u8::from(differ));
        }
    }
    Ok(0)
}

/// The calls that a kernel has on one kind of processor.
struct Kernel {
    arch: Arch,
    numbers: BTreeMap<&'static str, u32>,
}

impl Kernel {
    fn of(arch: Arch) -> Kernel {
        // Numbers are small and not negative.
        let pair = |name, id: i32| (name, id.unsigned_abs());
        let numbers = match arch {
            Arch::X86_64 => syscalls::x86_64::Sysno::iter().map(|call| pair(call.name(), call.id())).collect(),
            // The table has one call by the name of that architecture's headers; policies have one name for all.
            Arch::Aarch64 => syscalls::aarch64::Sysno::iter()
                .map(|call| pair(if call.name() == "fstatat" { "newfstatat" } else { call.name() }, call.id()))
                .collect(),
        };
        Kernel { arch, numbers }
    }

    /// A call by its name or number. A number that nothing has is a call without a name.
    fn find(&self, text: &str) -> anyhow::Result<(Option<&'static str>, u32)> {
        if let Ok(number) = text.parse::<u32>() {
            return Ok((self.numbers.iter().find(|(_, n)| **n == number).map(|(name, _)| *name), number));
        }
        match self.numbers.get_key_value(text) {
            Some((name, number)) => Ok((Some(name), *number)),
            None => bail!(
                "there is no system call {text:?} on {}{}; `ostest-sandbox policy show` has those that policies speak of",
                self.arch.name(),
                self.like(text)
            ),
        }
    }

    /// Calls of which a name that is none may be a part; functions of the C library often are.
    fn like(&self, text: &str) -> String {
        let near: Vec<&str> =
            self.numbers.keys().copied().filter(|name| name.contains(text) || text.contains(name)).take(5).collect();
        if near.is_empty() { String::new() } else { format!(", but {}", near.join(", ")) }
    }
}

impl Arch {
    fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    fn target(self) -> TargetArch {
        match self {
            Arch::X86_64 => TargetArch::x86_64,
            Arch::Aarch64 => TargetArch::aarch64,
        }
    }
}

/// The policy of a stage, or of a file, which finds what it includes beside it or among those of this program.
fn load(name: &str, arch: Arch) -> anyhow::Result<Policy> {
    let with_groups = name.strip_prefix("test+").filter(|_| !name.ends_with(".json"));
    if let Some(groups) = with_groups {
        groups.split('+').try_for_each(|group| group.parse::<Group>().map(drop)).map_err(anyhow::Error::msg)?;
    }
    if POLICIES.contains(&name) || with_groups.is_some() {
        return Ok(Policy::load(name, arch.target())?);
    }
    let path = Path::new(name);
    if !name.ends_with(".json") {
        bail!("there is no stage {name:?}; the stages are {}, or name a file that ends in .json", POLICIES.join(", "));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("the policy {name} cannot be read"))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let source = |wanted: &str| {
        if wanted == stem {
            return Some(text.clone());
        }
        let beside = std::fs::read_to_string(path.with_file_name(format!("{wanted}.json"))).ok();
        beside.or_else(|| Policy::embedded(wanted).map(str::to_owned))
    };
    let mut policy = Policy::from_sources(&stem, arch.target(), &source)?;
    // A misspelt call is found by whoever compiles; here it would be taken for one that is not refused.
    sandbox::confine::seccomp::compile_policy(&policy, arch.target())?;
    policy.name = name.to_string();
    Ok(policy)
}

/// The programs that were seen to make a call in a stage; where there are none, in the others, which share its lists.
fn programs(stage: &str, call: &str) -> Vec<&'static str> {
    let here = seen::programs([stage], call);
    let all = if here.is_empty() { seen::programs(POLICIES, call) } else { here };
    all.into_iter().collect()
}

/// Some of these names, and how many there are beside.
fn some(names: &[&str], count: usize) -> String {
    match names.len().checked_sub(count) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..count].join(", ")),
    }
}

/// A word for JSON.
fn verdict(kind: Kind) -> &'static str {
    match kind {
        Kind::Allowed => "allowed",
        Kind::Conditional => "conditional",
        Kind::Refused => "refused",
        Kind::Unlisted => "unlisted",
    }
}

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Allowed => "\x1b[32m",
        Kind::Conditional => "\x1b[33m",
        Kind::Refused => "\x1b[31m",
        Kind::Unlisted => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_name_and_number() {
        let x86_64 = Kernel::of(Arch::X86_64);
        assert_eq!(x86_64.find("ptrace").unwrap(), (Some("ptrace"), 101));
        assert_eq!(x86_64.find("425").unwrap(), (Some("io_uring_setup"), 425));
        assert_eq!(x86_64.find("9999").unwrap(), (None, 9999));
        let error = x86_64.find("pthread_mount").unwrap_err().to_string();
        assert!(error.contains("pthread_mount") && error.contains("but mount"), "{error}");
        assert_eq!(Kernel::of(Arch::Aarch64).find("newfstatat").unwrap(), (Some("newfstatat"), 79));
    }

    #[test]
    fn a_changed_copy_of_a_policy_finds_what_it_includes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.json");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write(r#"{"about": "mine", "include": ["test"], "allow": [{"why": "w", "syscalls": ["acct"]}]}"#);
        let path = file.display().to_string();
        let error = load(&path, Arch::X86_64).unwrap_err().to_string();
        assert!(error.contains("acct is in both"), "{error}");
        write(r#"{"about": "mine", "include": ["test"], "allow": [{"why": "w", "syscalls": ["vserver"]}]}"#);
        assert!(load(&path, Arch::X86_64).unwrap().allow.contains_key("vserver"));
        write(r#"{"about": "mine", "include": ["test"], "allow": [{"why": "w", "syscalls": ["raed"]}]}"#);
        assert!(load(&path, Arch::X86_64).unwrap_err().to_string().contains("raed"));
        assert!(load("tset", Arch::X86_64).unwrap_err().to_string().contains("the stages are"));
    }

    #[test]
    fn many_names_become_a_few() {
        assert_eq!(some(&["a", "b", "c"], 3), "a, b, c");
        assert_eq!(some(&["a", "b", "c"], 1), "a and 2 more");
    }
}
