//! The plan, as a launcher reads it.

use sandbox::confine::landlock;
use sandbox::mounts;
use sandbox::plan::{Mount, Plan};
use sandbox::wire::{MAX_PLAN, encode_plan, read_plan};
use std::collections::BTreeSet;
use std::path::Path;

/// The bytes are a plan's JSON; and once more what a launcher finds on its standard input.
pub fn check(bytes: &[u8]) -> &'static str {
    if let Ok(body) = read_plan(&mut &bytes[..]) {
        assert!(body.len() <= MAX_PLAN as usize && bytes[4..].starts_with(&body));
    }
    let Ok(plan) = serde_json::from_slice::<Plan>(bytes) else { return "refused" };
    let sent = encode_plan(&plan).expect("a plan that was read is no longer than one that can be sent");
    let came = read_plan(&mut &sent[..]).expect("the launcher reads what the runner sends");
    assert_eq!(serde_json::from_slice::<Plan>(&came).expect("and understands it"), plan);
    if plan.validate().is_err() {
        return "invalid";
    }
    is_contained(&plan);
    "valid"
}

/// Of a plan that the launcher carries out.
fn is_contained(plan: &Plan) {
    // The name becomes a directory of the cgroup tree.
    assert!(!plan.name.is_empty() && plan.name.len() <= 64 && !plan.name.contains(['/', '.', '\0']));
    // No id inside is an id of the host's own users, and none of those that have a meaning is root's.
    assert!(plan.ids.base >= 1 << 16 && plan.ids.base.checked_add(plan.ids.count).is_some());
    let ids =
        [plan.user.uid, plan.user.gid].into_iter().chain(plan.apart.iter().flat_map(|apart| [apart.uid, apart.gid]));
    assert!(ids.into_iter().all(|id| id != 0 && id < plan.ids.count));
    assert!(plan.apart.is_none_or(|apart| apart.uid != plan.user.uid && apart.gid != plan.user.gid));
    let limits = plan.limits;
    assert!([limits.memory, limits.pids, limits.cpu_millis, limits.wall_ms].into_iter().all(|limit| limit > 0));
    assert!(!plan.command.argv.is_empty());
    let words = plan.command.argv.iter().chain(plan.command.env.keys()).chain(plan.command.env.values());
    assert!(words.into_iter().all(|word| !word.contains('\0')));
    let inside = |path: &Path| path.is_absolute() && !path.to_string_lossy().split('/').any(|part| part == "..");
    assert!(plan.mounts.iter().filter_map(Mount::target).all(inside));
    let dev = plan.mounts.iter().position(|mount| matches!(mount, Mount::Dev { .. }));
    let proc = plan.mounts.iter().position(|mount| matches!(mount, Mount::Proc));
    assert!(dev.is_some() && dev < proc);
    let numbers = plan.channels.numbers();
    assert!(numbers.iter().all(|fd| (3..64).contains(fd)));
    assert_eq!(BTreeSet::from_iter(&numbers).len(), numbers.len());
    // The second layer lets nothing be written that the first does not mount writable.
    for tree in landlock::writable(plan).trees {
        let mounted = plan.mounts.iter().any(|mount| match mount {
            Mount::Tmpfs { target, .. } | Mount::Bind { target, writable: true, .. } => *target == tree,
            _ => false,
        });
        // Parts of /dev, which there is.
        let of_dev = ["/dev/shm", mounts::QUEUES].map(Path::new).contains(&tree.as_path());
        assert!(mounted || of_dev, "{} is nowhere mounted writable", tree.display());
    }
}
