//! A group of systemd's own for a runner that was started by hand.
//!
//! On a host that systemd runs every group is systemd's, unless it was delegated: it would take controllers away from
//! what we made at its next change of the tree (DOMjudge #3638). A unit says `Delegate=yes`; a person who types `sudo
//! ostest-sandbox` has said nothing, and is in the scope of his login session. So we ask systemd for a scope of our own
//! that is delegated to us, and are moved into it. It ends with the last process in it.
//!
//! systemd is asked by its own `busctl`, which every systemd host has: a D-Bus client in this process would leave threads
//! behind, and the mount namespace that is made next is for a process with one thread.

use super::outside;
use anyhow::Context;
use sandbox::cgroup::{Base, CgroupError, SCOPE_SLICE, is_scope_of, scope_name};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long systemd may take to move us. It does it in milliseconds unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The base of this runner, in a scope of its own where it was started in a group that is systemd's; and how it was come by.
pub fn base(instance: &str) -> anyhow::Result<(Base, String)> {
    let found = match Base::detect(instance) {
        Err(CgroupError::NotDelegated { group }) if is_by_hand(&group, std::env::var_os("INVOCATION_ID").is_some()) => {
            enter(instance).with_context(|| {
                format!(
                    "the control group {} belongs to systemd, and a scope of our own could not be had; start \
                     ostest-sandbox as a unit with Delegate=yes, or under `systemd-run --scope -p Delegate=yes …`",
                    group.display()
                )
            })?;
            Base::detect(instance)?
        }
        other => other?,
    };
    let systemd = Path::new("/run/systemd/system").is_dir();
    let origin = origin(&found, instance, systemd);
    Ok((found, origin))
}

/// How a base was come by, for people.
fn origin(base: &Base, instance: &str, systemd: bool) -> String {
    let Base::Unified { dir } = base else {
        return "v1 controllers beside a v2 tree".into();
    };
    let own = dir.parent().unwrap_or(dir);
    let unit = own.ancestors().find(|around| {
        let kind = around.extension().and_then(|kind| kind.to_str());
        matches!(kind, Some("service" | "scope" | "slice"))
    });
    match unit.and_then(|unit| unit.file_name()).and_then(|name| name.to_str()) {
        _ if !systemd => "no systemd, so the tree is ours".into(),
        Some(_) if unit.is_some_and(|unit| is_scope_of(unit, instance)) => {
            "started by hand, in a scope that systemd made for it".into()
        }
        Some(name) => format!("systemd delegated {name} to it"),
        None => "systemd delegated the group to it".into(),
    }
}

/// Whether we may leave this group of systemd's for a scope of our own. Not if systemd started us as (a part of) a
/// service: it would lose sight of what it is to stop. `invoked` tells whether systemd's variable INVOCATION_ID is set, which
/// services hand down to what they start, and which logins and sudo take away.
fn is_by_hand(group: &Path, invoked: bool) -> bool {
    let units = group.ancestors().filter_map(|around| around.extension()?.to_str());
    let innermost = units.into_iter().find(|kind| matches!(*kind, "service" | "scope" | "slice"));
    !(innermost == Some("service") && invoked)
}

/// Has systemd move this process into a new delegated scope, and waits until it is there.
fn enter(instance: &str) -> anyhow::Result<()> {
    let name = scope_name(instance, std::process::id());
    let asked = outside::command("busctl")
        .args(arguments(&name, std::process::id()))
        .output()
        .context("systemd's program busctl cannot be started (Debian: apt-get install systemd)")?;
    anyhow::ensure!(
        asked.status.success(),
        "systemd did not make the scope {name}: {} (is the system bus there? Debian: apt-get install dbus)",
        String::from_utf8_lossy(&asked.stderr).trim()
    );
    // The answer says that the job is in systemd's queue.
    let until = Instant::now() + PATIENCE;
    loop {
        let groups = std::fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup cannot be read")?;
        if is_in(&groups, &name) {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < until,
            "systemd took the order to make the scope {name}, and had not moved this process into it after {} s; see \
             `systemctl status {name}`",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_in(self_cgroup: &str, scope: &str) -> bool {
    let v2 = self_cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    v2.is_some_and(|group| Path::new(group).file_name().is_some_and(|name| name == scope))
}

/// `busctl call` of StartTransientUnit (org.freedesktop.systemd1(5)): name, mode, properties, auxiliary units.
fn arguments(name: &str, pid: u32) -> Vec<String> {
    let pid = pid.to_string();
    let limit = u64::MAX.to_string();
    let mut words = vec![
        "--system",
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        name,
        "fail",
    ];
    let properties: [&[&str]; 6] = [
        // Not the command line, which may hold a password: descriptions go to the journal.
        &["Description", "s", "ostest-sandbox, started by hand"],
        &["Slice", "s", SCOPE_SLICE],
        &["PIDs", "au", "1", &pid],
        &["Delegate", "b", "true"],
        // Each stage has a limit of its own; systemd's default would count all slots together.
        &["TasksMax", "t", &limit],
        // Or a scope that failed would stay on the list of units.
        &["CollectMode", "s", "inactive-or-failed"],
    ];
    let count = properties.len().to_string();
    words.push(&count);
    words.extend(properties.iter().flat_map(|property| property.iter().copied()));
    words.push("0");
    words.into_iter().map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_not_left_and_a_session_is() {
        let at = |group: &str, invoked| is_by_hand(&Path::new("/sys/fs/cgroup").join(group), invoked);
        assert!(at("user.slice/user-0.slice/session-1.scope", false));
        assert!(at("user.slice/user-0.slice/session-1.scope", true));
        assert!(at("system.slice/ssh.service", false), "a shell of an sshd without pam_systemd");
        assert!(!at("system.slice/grader.service", true));
        assert!(!at("system.slice/grader.service/wrapper", true));
        assert!(at("", false), "the root itself");
    }

    #[test]
    fn it_is_said_how_the_groups_were_come_by() {
        let said = |dir: &str, systemd| {
            let dir = Path::new("/sys/fs/cgroup").join(dir).join("ostest-sandbox-0a");
            origin(&Base::Unified { dir }, "0a", systemd)
        };
        assert!(said("system.slice/grader.service", true).contains("grader.service"));
        assert!(said("system.slice/ostest-sandbox-0a-7.scope", true).contains("by hand"));
        assert!(said("system.slice/run-u3.scope", true).contains("run-u3.scope"));
        assert!(said("", false).contains("no systemd"));
    }

    #[test]
    fn the_order_holds_one_value_for_each_type_it_announces() {
        let words = arguments("ostest-sandbox-0a-7.scope", 7);
        let at = words.iter().position(|word| word == "fail").unwrap();
        assert_eq!(words[at + 1], "6");
        assert_eq!(words.last().map(String::as_str), Some("0"));
        assert!(words.windows(4).any(|w| w == ["PIDs", "au", "1", "7"]));
        assert!(words.windows(3).any(|w| w == ["Delegate", "b", "true"]));
    }

    #[test]
    fn the_scope_is_where_we_are_and_not_where_we_once_were() {
        let name = "ostest-sandbox-0a-7.scope";
        assert!(is_in("0::/system.slice/ostest-sandbox-0a-7.scope\n", name));
        assert!(is_in("1:name=systemd:/x\n0::/system.slice/ostest-sandbox-0a-7.scope\n", name));
        assert!(!is_in("0::/user.slice/session-1.scope\n", name));
        assert!(!is_in("0::/system.slice/ostest-sandbox-0a-7.scope/supervisor\n", name));
    }
}
