//! The attacks, as they were when this was built. One line each; a test compares them with the folder.

/// An attack's source.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// What it attacks: the folder.
    pub folder: &'static str,
    /// Its name, which no other one has.
    pub name: &'static str,
    /// With the dot: `.c` is compiled, `.sh` is given to a shell.
    pub ending: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// What the C ones include.
pub const HEADER: &str = include_str!("../../tests/attacks/cases/attack.h");

macro_rules! files {
    ($($folder:literal $ending:literal: $($name:literal),+;)+) => {
        &[$($(File {
            folder: $folder,
            name: $name,
            ending: $ending,
            text: include_str!(concat!("../../tests/attacks/cases/", $folder, "/", $name, $ending)),
        },)+)+]
    };
}

/// All of them.
pub const FILES: &[File] = files! {
    "resources" ".c": "busy_threads", "deep_nesting", "descriptor_flood", "disk_fill", "disk_reserve", "endless_advice", "endless_mincore", "filter_flood", "fork_bomb",
        "inode_flood", "memory_access_lists", "memory_backlog", "memory_bomb", "memory_counters", "memory_datagrams", "memory_default_lists",
        "memory_error_queue", "memory_file", "memory_locks", "memory_mounts",
        "memory_netlink", "memory_packet_options", "memory_page_tables", "memory_pipes", "memory_private", "memory_queues", "memory_rings", "memory_shared", "memory_socket_options",
        "memory_sockets", "memory_system_v", "memory_tcp", "memory_watches", "oom_score", "orphan_bomb", "output_drip",
        "output_flood", "pressure_watches", "real_time", "sleep_for_ever", "terminal_flood", "thread_bomb", "vfork_bomb", "zombies";
    "resources" ".sh": "compile_incbin", "compile_linker", "compile_macros", "compile_make", "compile_templates", "compile_zero";
    "files" ".c": "anonymous_program", "devices", "handles", "leave_traces", "mount", "overwrite_init", "proc_host", "read_accounts",
        "read_secret", "second_root", "set_user_id", "write_file", "write_system";
    "privilege" ".c": "administer", "capabilities", "container", "control_group", "init", "init_limits", "kernel_surface", "keys", "listener", "open_descriptors",
        "other_entries", "ring", "terminal", "user_namespace";
    "network" ".c": "abstract_socket", "families", "host_loopback", "outside", "raw", "socket_file";
    "others" ".c": "accounts", "core_dump", "host_name", "kill_all", "limit", "look_into", "shared_memory", "signal";
    "outlive" ".c": "daemon", "held_open", "race";
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_file_of_the_folder_is_on_the_list_and_no_name_is_there_twice() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/cases");
        let mut there = BTreeSet::new();
        for folder in std::fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
            there.extend(std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()));
        }
        let path = |file: &File| top.join(file.folder).join(format!("{}{}", file.name, file.ending));
        assert_eq!(there, FILES.iter().map(path).collect());
        assert_eq!(FILES.iter().map(|file| file.name).collect::<BTreeSet<_>>().len(), FILES.len());
    }
}
