//! What sandboxes get because the runner has it: limits on core files, and cores.

/// A kernel on which a core can be interrupted wherever it is: an older one goes through each page of a mapping, also of terabytes
/// of which one page is there, and nothing ends that.
const KILLABLE_CORES: (u32, u32) = (6, 18);

/// Limits on core files, soft and hard: the runner's own, as a suite outside would find them, so that `ulimit -c unlimited` works. But
/// where the kernel hands cores to a program or a socket of the host, one byte, which is the value that it takes as "skip" (0
/// still starts the program).
pub fn core_limits() -> [u64; 2] {
    use sandbox::confine::rlimits::{own_core_ceiling, own_core_limit};
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = crate::check::kernel_version(&read("/proc/sys/kernel/osrelease"));
    judge_core_limits(&read("/proc/sys/kernel/core_pattern"), kernel, [own_core_limit(), own_core_ceiling()])
}

fn judge_core_limits(pattern: &str, kernel: Option<(u32, u32)>, own: [u64; 2]) -> [u64; 2] {
    let [soft, hard] = own;
    match pattern.as_bytes().first() {
        Some(b'|' | b'@') => [1, 1],
        _ if kernel.is_some_and(|kernel| kernel >= KILLABLE_CORES) => [soft, hard],
        _ => [soft, soft],
    }
}

/// The cores that this process may use, and with it what it starts; none where the kernel does not say.
pub fn cores() -> Vec<u32> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let count = nix::sched::CpuSet::count() as u32;
    set.map(|set| (0..count).filter(|core| set.is_set(*core as usize) == Ok(true)).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_limited_as_outside_unless_they_go_to_the_host_or_cannot_be_interrupted() {
        let (new, old, all) = (Some((6, 18)), Some((6, 12)), u64::MAX);
        assert_eq!(judge_core_limits("core\n", new, [0, all]), [0, all]);
        assert_eq!(judge_core_limits("/tmp/core.%p", new, [all, all]), [all, all]);
        assert_eq!(judge_core_limits("core", old, [0, all]), [0, 0]);
        assert_eq!(judge_core_limits("core", None, [0, all]), [0, 0]);
        for pattern in ["|/usr/lib/systemd/systemd-coredump %P", "@/run/cores.socket"] {
            assert_eq!(judge_core_limits(pattern, new, [0, all]), [1, 1]);
        }
    }
}
