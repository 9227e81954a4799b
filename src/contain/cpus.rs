//! /sys inside: a few made-up files of what the stage has of the machine's processors.
//!
//! The kernel's own /sys is the whole machine with its devices, and much in it can be written to. Programs read a little of it:
//! which processors there are (the C library, Java, lscpu), how they are grouped, and their caches, which a program can ask the
//! processor for as well (CPUID). The numbers are those that sched_getaffinity and getcpu give. Pure but for what is read of caches
//! and of huge pages.

use super::tree::file;
use sandbox::cgroup::{parse_cores, show_cores};
use sandbox::plan::Mount;
use std::path::Path;

const CPU: &str = "/sys/devices/system/cpu";
const NODE: &str = "/sys/devices/system/node";
const HUGE: &str = "/sys/kernel/mm/transparent_hugepage";

/// Processors above which caches are left out, and above which each one's folder is: every file takes a page of the stage's memory.
const WITH_CACHES: usize = 16;
const WITH_FOLDERS: usize = 256;

/// What one level of a processor's cache is described by, beside who shares it.
const CACHE: [&str; 7] =
    ["coherency_line_size", "id", "level", "number_of_sets", "size", "type", "ways_of_associativity"];

/// What decides how a program's memory is laid out in pages.
const HUGE_PAGES: [&str; 3] = ["enabled", "hpage_pmd_size", "shmem_enabled"];

/// /sys of a stage with these cores, ascending, and so much memory.
pub fn mounts(cores: &[u32], memory: u64) -> Vec<Mount> {
    let Some(last) = cores.last() else { return Vec::new() };
    let all = show_cores(cores);
    let up_to = |last: u32| if last == 0 { "0".to_owned() } else { format!("0-{last}") };
    let mut files = Files(Vec::new());
    for (name, value) in [("online", &all), ("present", &all), ("possible", &up_to(*last)), ("offline", &String::new())]
    {
        files.line(format!("{CPU}/{name}"), value);
    }
    files.line(format!("{CPU}/kernel_max"), &last.to_string());
    if cores.len() <= WITH_FOLDERS {
        for &core in cores {
            files.topology(core, cores, *last);
        }
    }
    if cores.len() <= WITH_CACHES {
        for &core in cores {
            files.caches(core, cores, *last);
        }
    }
    for name in ["online", "possible", "has_cpu", "has_memory", "has_normal_memory"] {
        files.line(format!("{NODE}/{name}"), "0");
    }
    files.line(format!("{NODE}/node0/cpulist"), &all);
    files.line(format!("{NODE}/node0/cpumap"), &mask(cores, *last));
    files.line(format!("{NODE}/node0/distance"), "10");
    let (kib, zero) = (memory >> 10, 0);
    files.line(
        format!("{NODE}/node0/meminfo"),
        &format!(
            "Node 0 MemTotal:       {kib:8} kB\nNode 0 MemFree:        {kib:8} kB\nNode 0 MemUsed:        {zero:8} kB"
        ),
    );
    for name in HUGE_PAGES {
        if let Some(value) = read(&format!("{HUGE}/{name}")) {
            files.line(format!("{HUGE}/{name}"), &value);
        }
    }
    files.0
}

struct Files(Vec<Mount>);

impl Files {
    fn line(&mut self, path: String, value: &str) {
        let Mount::File { target, content, .. } = file(path, format!("{value}\n")) else { return };
        self.0.push(Mount::File { target, content, mode: 0o444 });
    }

    /// Each of them is a core by itself, and all are in one package.
    fn topology(&mut self, core: u32, cores: &[u32], last: u32) {
        let place = format!("{CPU}/cpu{core}/topology");
        for (name, value) in [("core_id", core), ("physical_package_id", 0), ("die_id", 0)] {
            self.line(format!("{place}/{name}"), &value.to_string());
        }
        for (names, who) in
            [(["thread_siblings", "core_cpus"], &[core][..]), (["core_siblings", "package_cpus"], cores)]
        {
            for name in names {
                self.line(format!("{place}/{name}"), &mask(who, last));
                self.line(format!("{place}/{name}_list"), &show_cores(who));
            }
        }
    }

    fn caches(&mut self, core: u32, cores: &[u32], last: u32) {
        for index in 0.. {
            let host = format!("{CPU}/cpu{core}/cache/index{index}");
            if !Path::new(&host).is_dir() {
                return;
            }
            for name in CACHE {
                if let Some(value) = read(&format!("{host}/{name}")) {
                    self.line(format!("{host}/{name}"), &value);
                }
            }
            let shared = read(&format!("{host}/shared_cpu_list"))
                .and_then(|text| parse_cores(Path::new(&host), &text).ok())
                .unwrap_or_default();
            let shared: Vec<u32> =
                cores.iter().copied().filter(|other| *other == core || shared.contains(other)).collect();
            self.line(format!("{host}/shared_cpu_list"), &show_cores(&shared));
            self.line(format!("{host}/shared_cpu_map"), &mask(&shared, last));
        }
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// As the kernel writes masks: words of 32 bits in hex, the highest first and without leading zeros.
fn mask(cores: &[u32], last: u32) -> String {
    let mut words = vec![0u32; last as usize / 32 + 1];
    for core in cores.iter().filter(|core| **core <= last) {
        words[*core as usize / 32] |= 1 << (core % 32);
    }
    let width = (last % 32 / 4 + 1) as usize;
    let mut text = String::new();
    for (index, word) in words.iter().rev().enumerate() {
        text += &if index == 0 { format!("{word:0width$x}") } else { format!(",{word:08x}") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(mounts: &[Mount], path: &str) -> Option<String> {
        mounts.iter().find_map(|mount| match mount {
            Mount::File { target, content, .. } if target == Path::new(path) => Some(content.trim_end().to_owned()),
            _ => None,
        })
    }

    #[test]
    fn it_tells_of_the_stages_processors_and_of_no_others() {
        let mounts = mounts(&[2, 3, 5], 512 << 20);
        let cpu = |name: &str| content(&mounts, &format!("{CPU}/{name}"));
        assert_eq!(cpu("online").as_deref(), Some("2-3,5"));
        assert_eq!(cpu("present").as_deref(), Some("2-3,5"));
        assert_eq!(cpu("possible").as_deref(), Some("0-5"));
        assert_eq!(cpu("cpu5/topology/core_id").as_deref(), Some("5"));
        assert_eq!(cpu("cpu3/topology/thread_siblings").as_deref(), Some("08"));
        assert_eq!(cpu("cpu3/topology/package_cpus_list").as_deref(), Some("2-3,5"));
        assert_eq!(cpu("cpu0/topology/core_id"), None);
        assert_eq!(content(&mounts, &format!("{NODE}/node0/cpumap")).as_deref(), Some("2c"));
        assert!(content(&mounts, &format!("{NODE}/node0/meminfo")).is_some_and(|text| text.contains(" 524288 kB")));
    }

    #[test]
    fn a_large_machine_takes_few_files() {
        let all: Vec<u32> = (0..1024).collect();
        assert!(mounts(&all, 1 << 30).len() < 30);
        assert!(mounts(&all[..256], 1 << 30).len() < 256 * 12);
        assert_eq!(mounts(&[], 1 << 30), []);
    }

    #[test]
    fn masks_are_written_as_the_kernel_does() {
        assert_eq!(mask(&[0, 1], 1), "3");
        assert_eq!(mask(&[0], 0), "1");
        assert_eq!(mask(&[0], 63), "00000000,00000001");
        assert_eq!(mask(&[33], 34), "2,00000000");
    }

    proptest! {
        #[test]
        fn every_core_has_its_bit(cores in proptest::collection::btree_set(0u32..2000, 1..50)) {
            let cores: Vec<u32> = cores.into_iter().collect();
            let text = mask(&cores, *cores.last().unwrap_or(&0));
            let words: Vec<u32> = text.rsplit(',').map(|word| u32::from_str_radix(word, 16).unwrap()).collect();
            let set = |core: &u32| words[*core as usize / 32] & 1 << (core % 32) != 0;
            let found: Vec<u32> = (0..words.len() as u32 * 32).filter(set).collect();
            prop_assert_eq!(found, cores);
        }
    }
}
