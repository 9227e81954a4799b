//! The layers behind the namespaces: Landlock and seccomp; and a /proc that the kernel will give to a sandbox.

use super::Finding;
use super::facts::{boot_parameter, boot_with, read};
use sandbox::host::Landlock;
use sandbox::ledger::{Ledger, LedgerError};
use sandbox::plan::{Layer, Policy};

/// Whether Landlock is there.
pub fn landlock() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    judge_landlock(
        sandbox::host::landlock(),
        &Lsm {
            active: read("/sys/kernel/security/lsm"),
            cmdline: read("/proc/cmdline").unwrap_or_default(),
            config: read(format!("/boot/config-{release}")),
        },
    )
}

/// Where the kernel's list of security modules can be found.
struct Lsm {
    /// Those in force, where securityfs is mounted.
    active: Option<String>,
    /// The boot parameters.
    cmdline: String,
    /// The configuration that the kernel was built with.
    config: Option<String>,
}

impl Lsm {
    /// The present list with Landlock in front. `capability` is always there and is not to be named.
    fn with_landlock(&self) -> String {
        let built_in = || self.config.as_ref()?.lines().find_map(|line| line.strip_prefix("CONFIG_LSM="));
        let present = self.active.as_deref().or_else(|| boot_parameter(&self.cmdline, "lsm")).or_else(built_in);
        let Some(present) = present else {
            return "lsm=landlock,… with the kernel's own list (CONFIG_LSM of /boot/config-*) behind it".into();
        };
        let names = present.trim_matches('"').split(',').map(str::trim);
        let names = names.filter(|name| !name.is_empty() && !matches!(*name, "capability" | "landlock"));
        format!("lsm={}", std::iter::once("landlock").chain(names).collect::<Vec<_>>().join(","))
    }
}

fn judge_landlock(state: Landlock, lsm: &Lsm) -> Finding {
    const NAME: &str = "landlock";
    let (found, remedy) = match state {
        Landlock::Abi(abi) => {
            // What each newer ABI adds to the layer.
            let lacking: Vec<_> = [
                (2, "renames between directories (5.19)"),
                (3, "truncation (6.2)"),
                (5, "ioctls on devices (6.10)"),
                (6, "signals and abstract sockets (6.12)"),
            ]
            .into_iter()
            .filter(|(since, _)| abi < *since)
            .map(|(_, what)| what)
            .collect();
            let newer =
                if lacking.is_empty() { String::new() } else { format!("; newer kernels add: {}", lacking.join(", ")) };
            return Finding::green(NAME, format!("ABI {abi}{newer}"));
        }
        Landlock::SwitchedOff => ("built in and not switched on at boot".to_string(), boot_with(&lsm.with_landlock())),
        Landlock::Absent => (
            "this kernel was built without it, or a filter around us hides it".to_string(),
            "use a kernel with CONFIG_SECURITY_LANDLOCK (Debian 12, Ubuntu 22.04 and newer have it); in a container, \
             allow landlock_create_ruleset(2)"
                .to_string(),
        ),
        Landlock::Unclear(answer) => (format!("the kernel does not say: {answer}"), boot_with(&lsm.with_landlock())),
    };
    Finding::red(NAME, found, remedy).lacking(Layer::Landlock)
}

/// Whether filters can be installed, and all policies made into some.
pub fn seccomp() -> Finding {
    let compiled = [Policy::Fetch, Policy::Build, Policy::Test]
        .into_iter()
        .try_for_each(|policy| {
            sandbox::confine::seccomp::compile(policy).and_then(|_| sandbox::confine::told::compile(policy)).map(drop)
        })
        .and_then(|()| sandbox::confine::seccomp::compile_init().map(drop));
    judge_seccomp(read("/proc/sys/kernel/seccomp/actions_avail").as_deref(), compiled.map_err(|e| e.to_string()))
}

fn judge_seccomp(actions: Option<&str>, compiled: Result<(), String>) -> Finding {
    const NAME: &str = "seccomp";
    if let Err(error) = compiled {
        return Finding::red(NAME, error, "use a machine whose architecture has a policy: x86-64");
    }
    let Some(actions) = actions else {
        let remedy = "use a kernel with CONFIG_SECCOMP_FILTER (each kernel of Debian and Ubuntu has it)";
        return Finding::red(NAME, "this kernel has no filters", remedy).lacking(Layer::Seccomp);
    };
    let lacking: Vec<_> =
        ["kill_process", "errno", "allow"].into_iter().filter(|a| !actions.split(' ').any(|have| have == *a)).collect();
    if !lacking.is_empty() {
        let found = format!("this kernel's filters cannot answer with {}", lacking.join(", "));
        return Finding::red(NAME, found, "use a newer kernel: 4.14 brought the last of them");
    }
    let told = match actions.split_whitespace().any(|action| action == "user_notif") {
        true => "",
        false => "; a student will not be told which system calls were refused, which takes Linux 5.0",
    };
    Finding::green(NAME, format!("filters are available, and each stage's can be made{told}"))
}

/// Whether memory that no control group pays for can be booked to whoever takes it.
pub fn ledger() -> Finding {
    judge_ledger(Ledger::open().map(|ledger| ledger.size()))
}

/// Name of the finding on the ledger.
pub const LEDGER: &str = "ledger";

fn judge_ledger(opened: Result<u64, LedgerError>) -> Finding {
    const NAME: &str = LEDGER;
    match opened {
        Ok(bytes) => {
            let found = format!(
                "pages that no control group pays for are booked; its notes take {} MiB",
                bytes.div_ceil(1 << 20)
            );
            Finding::green(NAME, found)
        }
        Err(error) => {
            let found = format!("memory that no control group pays for is not held: {error}");
            Finding::red(NAME, found, error.remedy()).lacking(Layer::Ledger)
        }
    }
}

/// Directories in /proc that the kernel keeps empty for others to mount on: nothing is hidden there.
const EMPTY: [&str; 2] = ["/proc/sys/fs/binfmt_misc", "/proc/fs/nfsd"];

/// Whether a /proc is in sight that hides nothing.
pub fn proc_in_sight() -> Finding {
    judge_proc(&read("/proc/self/mountinfo").unwrap_or_default())
}

/// The kernel gives a user namespace a new /proc only while it sees one, anywhere, that shows everything and may be written:
/// else a namespace would be a way round what somebody hid.
fn judge_proc(mountinfo: &str) -> Finding {
    const NAME: &str = "/proc";
    // id parent device root point options… - type source
    let mounts: Vec<Vec<&str>> =
        mountinfo.lines().map(|line| line.split(' ').collect()).filter(|l: &Vec<_>| l.len() > 8).collect();
    let kind = |line: &[&str]| {
        line.iter().position(|word| *word == "-").and_then(|at| line.get(at + 1).map(|k| k.to_string()))
    };
    let mut hidden = Vec::new();
    let candidates = mounts.iter().filter(|line| kind(line).as_deref() == Some("proc") && line[3] == "/");
    for candidate in candidates {
        let (id, point) = (candidate[0], candidate[4]);
        if candidate[5].split(',').any(|option| option == "ro") {
            hidden.push(format!("{point} is read-only"));
            continue;
        }
        let over: Vec<_> = mounts
            .iter()
            .filter(|line| line[1] == id && line[4] != point)
            .map(|line| line[4])
            .filter(|over| !EMPTY.contains(&over.replacen(point, "/proc", 1).as_str()))
            .collect();
        if over.is_empty() {
            return Finding::green(NAME, "not masked; sandboxes can mount their own");
        }
        hidden.push(format!("mounts lie over {}", crate::text::some_of(over, 3)));
    }
    let found = if hidden.is_empty() { "none is mounted whole".into() } else { hidden.join("; ") };
    Finding::red(
        NAME,
        format!("{found}: the kernel refuses a sandbox a /proc of its own"),
        "start the container with all of it: `docker run --security-opt systempaths=unconfined`, `podman run --security-opt \
         unmask=ALL`, procMount: Unmasked in Kubernetes; on a host, `umount` what lies over it",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn lsm(active: Option<&str>, cmdline: &str, config: Option<&str>) -> Lsm {
        Lsm { active: active.map(str::to_string), cmdline: cmdline.into(), config: config.map(str::to_string) }
    }

    #[test]
    fn landlock_that_lsm_leaves_out_comes_with_the_exact_parameter() {
        let ubuntu = lsm(Some("lockdown,capability,yama,apparmor"), "quiet lsm=yama", None);
        let finding = judge_landlock(Landlock::SwitchedOff, &ubuntu);
        assert!(finding.remedy.contains("boot with lsm=landlock,lockdown,yama,apparmor ("), "{finding:?}");
        assert_eq!((finding.grade, finding.layer), (Grade::Red, Some(Layer::Landlock)));
        let by_hand = judge_landlock(Landlock::SwitchedOff, &lsm(None, "root=/dev/vda lsm=yama,apparmor", None));
        assert!(by_hand.remedy.contains("boot with lsm=landlock,yama,apparmor ("), "{by_hand:?}");
        let config = "CONFIG_SECURITY=y\nCONFIG_LSM=\"yama,loadpin,integrity\"\n";
        let built_in = judge_landlock(Landlock::SwitchedOff, &lsm(None, "quiet", Some(config)));
        assert!(built_in.remedy.contains("boot with lsm=landlock,yama,loadpin,integrity ("), "{built_in:?}");
        let unknown = judge_landlock(Landlock::SwitchedOff, &lsm(None, "", None));
        assert!(unknown.remedy.contains("CONFIG_LSM"), "{unknown:?}");
        let nothing = judge_landlock(Landlock::SwitchedOff, &lsm(None, "lsm=", None));
        assert!(nothing.remedy.contains("boot with lsm=landlock ("), "{nothing:?}");
    }

    #[test]
    fn landlock_that_was_not_built_wants_another_kernel() {
        let finding = judge_landlock(Landlock::Absent, &lsm(None, "", None));
        assert!(finding.remedy.contains("CONFIG_SECURITY_LANDLOCK"), "{finding:?}");
        assert!(finding.remedy.ends_with("--allow-degraded landlock"));
    }

    #[test]
    fn an_old_abi_is_green_and_says_what_newer_ones_bring() {
        let none = lsm(None, "", None);
        let debian = judge_landlock(Landlock::Abi(2), &none);
        assert!(debian.grade == Grade::Green && debian.found.contains("6.12"), "{debian:?}");
        assert_eq!(judge_landlock(Landlock::Abi(7), &none).found, "ABI 7");
    }

    #[test]
    fn seccomp_needs_filters_and_their_answers() {
        const ALL: &str = "kill_process kill_thread trap errno user_notif trace log allow";
        let all = judge_seccomp(Some(ALL), Ok(()));
        assert!(all.grade == Grade::Green && !all.found.contains("told"), "{all:?}");
        let untold = judge_seccomp(Some("kill_process kill_thread trap errno trace log allow"), Ok(()));
        assert!(untold.grade == Grade::Green && untold.found.contains("will not be told"), "{untold:?}");
        let none = judge_seccomp(None, Ok(()));
        assert_eq!((none.grade, none.layer), (Grade::Red, Some(Layer::Seccomp)));
        let old = judge_seccomp(Some("kill trap errno trace allow"), Ok(()));
        assert!(old.found.contains("kill_process") && old.layer.is_none(), "{old:?}");
        assert_eq!(judge_seccomp(Some(ALL), Err("no policy for riscv64".into())).grade, Grade::Red);
    }

    #[test]
    fn a_ledger_that_cannot_be_kept_says_what_to_do() {
        assert_eq!(judge_ledger(Ok(16 << 20)).grade, Grade::Green);
        let finding = judge_ledger(Err(LedgerError::Forbidden));
        assert_eq!((finding.grade, finding.layer), (Grade::Red, Some(Layer::Ledger)));
        assert!(
            finding.remedy.contains("CAP_BPF") && finding.remedy.ends_with("--allow-degraded ledger"),
            "{finding:?}"
        );
        assert!(judge_ledger(Err(LedgerError::NoTypes)).remedy.contains("CONFIG_DEBUG_INFO_BTF"));
    }

    const PROC: &str = "23 28 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw\n\
        35 23 0:32 / /proc/sys/fs/binfmt_misc rw,relatime shared:15 - autofs systemd-1 rw,fd=29\n\
        36 35 0:33 / /proc/sys/fs/binfmt_misc rw,relatime shared:16 - binfmt_misc binfmt_misc rw\n";

    #[test]
    fn a_proc_of_debian_hides_nothing() {
        assert_eq!(judge_proc(PROC).grade, Grade::Green);
    }

    #[test]
    fn a_masked_proc_of_a_container_is_named() {
        let docker = "700 690 0:60 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
            701 700 0:60 /bus /proc/bus ro,nosuid - proc proc rw\n\
            702 700 0:61 / /proc/acpi ro,relatime - tmpfs tmpfs ro\n\
            703 700 0:62 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw\n\
            704 700 0:62 /null /proc/keys rw,nosuid - tmpfs tmpfs rw\n";
        let finding = judge_proc(docker);
        assert!(finding.grade == Grade::Red && finding.found.contains("/proc/bus, /proc/acpi, /proc/kcore and 1 more"));
        let whole = format!("{docker}800 690 0:70 / /mnt/proc rw,relatime - proc proc rw\n");
        assert_eq!(judge_proc(&whole).grade, Grade::Green, "one that is whole, anywhere, is enough");
        assert_eq!(judge_proc("").grade, Grade::Red);
        assert!(judge_proc(&PROC.replace("/proc rw,", "/proc ro,")).found.contains("read-only"));
    }
}
