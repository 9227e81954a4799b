//! What is said of each call that is refused: the error that a kernel without it gives, and what to do instead.

mod common;

use common::{Place, need_root};

/// Makes one call after the other, and says nothing of it; then a lock, of which nobody is told.
const ASK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static int failed;
#define ASK(call) if ((call) == -1) failed++; else printf("allowed: %s\n", #call);
int main(void) {
    static char some[256];
    ASK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
    ASK(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 0));
    ASK(syscall(SYS_io_setup, 8, some));
    ASK(syscall(444 /* landlock_create_ruleset */, 0, 0, 1));
    ASK(syscall(SYS_process_vm_readv, getppid(), some, 0, some, 0, 0));
    ASK(syscall(SYS_remap_file_pages, some, 4096, 0, 0, 0));
    ASK(syscall(447 /* memfd_secret */, 0));
    ASK(syscall(SYS_setfsuid, getuid()));
    ASK(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0));
    ASK(syscall(SYS_fanotify_init, 0, 0));
    ASK(syscall(SYS_perf_event_open, some, 0, -1, -1, 0));
    ASK(syscall(SYS_bpf, 0, some, 72));
    ASK(unshare(CLONE_FILES));
    ASK(unshare(CLONE_NEWUSER));
    ASK(socket(AF_INET, SOCK_STREAM, 132));
    ASK(socket(AF_INET, SOCK_DGRAM, 136));
    ASK(socket(AF_INET, 12, 0));
    ASK(socketpair(AF_INET, SOCK_STREAM, 0, (int *)some));
    ASK(setsockopt(socket(AF_UNIX, SOCK_DGRAM, 0), SOL_SOCKET, SO_ATTACH_FILTER, some, 16));
    ASK(madvise(some, 0, MADV_REMOVE));
    ASK(mincore(some, 1l << 33, (unsigned char *)some));
    /* Nobody hears of these. */
    ASK(syscall(SYS_clone3, 0, 0));
    ASK(syscall(SYS_get_mempolicy, 0, 0, 0, 0, 0));
    ASK(syscall(SYS_setxattr, "/tmp", "user.a", "b", 1, 0));
    struct flock lock = { .l_type = F_WRLCK };
    if (fcntl(open("/tmp/file", O_RDWR | O_CREAT, 0600), F_SETLK, &lock)) perror("lock");
    return failed;
}"#;

/// Others, of which each has a rule of its own.
const MORE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static int failed;
#define ASK(call) if ((call) == -1) failed++; else printf("allowed: %s\n", #call);
int main(void) {
    static char some[256];
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { 1, &allow };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ASK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) puts("no filter without a listener");
    ASK(prctl(62 /* PR_SCHED_CORE */, 0, 0, 0, some));
    ASK(syscall(449 /* futex_waitv */, some, 1, 0, 0, 0));
    ASK(syscall(451 /* cachestat */, 0, some, some, 0));
    ASK(syscall(448 /* process_mrelease */, 0, 0));
    ASK(syscall(SYS_adjtimex, some));
    ASK(socket(AF_INET, SOCK_SEQPACKET, 0));
    ASK(socket(AF_INET, SOCK_DGRAM, 1));
    ASK(socket(AF_PACKET, SOCK_RAW, 0));
    return failed;
}"#;

/// The calls that were told: call, error, and what to do instead.
fn told(run: &common::Run) -> Vec<[String; 3]> {
    let all = run.report["refusedCalls"].as_array().expect("a list").iter();
    all.map(|one| ["call", "error", "instead"].map(|key| one[key].as_str().expect("a text").to_owned())).collect()
}

#[test]
fn each_of_these_has_a_true_sentence_of_its_own() {
    if !need_root("each_of_these_has_a_true_sentence_of_its_own") {
        return;
    }
    let place = Place::new();
    let program = place.compile("more", MORE);
    let run = place.run(&["--ro", &program], &[&program]);
    assert_eq!(run.text(), "", "{}", run.stderr);
    let told = told(&run);
    for (call, error, instead) in [
        ("seccomp", "Device or resource busy", "use a filter that answers by itself"),
        ("prctl(PR_SCHED_CORE)", "Invalid argument", "who shares a core"),
        ("futex_waitv", "Function not implemented", "wait for one futex"),
        ("cachestat", "Function not implemented", "map the file and ask mincore"),
        ("process_mrelease", "Function not implemented", "wait for the process"),
        ("adjtimex", "Operation not permitted", "read the clock"),
        ("socket(AF_INET, SOCK_SEQPACKET, 0)", "Socket type not supported", "TCP is SOCK_STREAM"),
        ("socket(AF_INET, SOCK_DGRAM, 1)", "Permission denied", "see whether a server is there"),
        ("socket(AF_PACKET, SOCK_RAW, 0)", "Operation not permitted", "use TCP"),
    ] {
        let found = told.iter().find(|one| one[0].starts_with(call));
        let found = found.unwrap_or_else(|| panic!("nobody is told of {call}: {told:#?}"));
        assert!(found[1] == error && found[2].starts_with(instead), "{found:?}");
    }
    assert_eq!(told.len(), 9, "{told:#?}");
}

#[test]
fn each_refusal_has_its_own_error_and_its_own_sentence() {
    if !need_root("each_refusal_has_its_own_error_and_its_own_sentence") {
        return;
    }
    const NOT_PERMITTED: &str = "Operation not permitted";
    const NOT_THERE: &str = "Function not implemented";
    const INVALID: &str = "Invalid argument";
    let place = Place::new();
    let program = place.compile("ask", ASK);
    let run = place.run(&["--ro", &program], &[&program]);
    assert_eq!(run.text(), "", "{}", run.stderr);
    let told = told(&run);
    // Notes of one leaf are 16 at the most.
    for (call, error, instead) in [
        ("prctl(PR_SET_SECCOMP)", INVALID, "use SECCOMP_MODE_FILTER"),
        ("seccomp(SECCOMP_SET_MODE_STRICT)", INVALID, "use SECCOMP_SET_MODE_FILTER"),
        ("io_setup", NOT_THERE, "use POSIX aio_read"),
        ("landlock_create_ruleset", NOT_THERE, "use file modes"),
        ("process_vm_readv", NOT_THERE, "share memory"),
        ("remap_file_pages", NOT_THERE, "map the parts"),
        ("memfd_secret", NOT_THERE, "use memfd_create"),
        ("setfsuid", NOT_THERE, "use seteuid"),
        ("kcmp", NOT_PERMITTED, "compare st_dev"),
        ("fanotify_init", NOT_PERMITTED, "use inotify"),
        ("perf_event_open", NOT_PERMITTED, "there are no hardware counters here: use getrusage"),
        ("bpf", NOT_PERMITTED, "there are no BPF programs"),
        ("unshare(CLONE_FILES)", NOT_PERMITTED, "start with fork"),
        ("unshare(CLONE_NEWUSER)", NOT_PERMITTED, "namespaces are not part"),
        ("socket(AF_INET, SOCK_STREAM, 132)", "Protocol not supported", "use TCP"),
        ("socket(AF_INET, SOCK_DGRAM, 136)", "Protocol not supported", "use TCP"),
    ] {
        let found = told.iter().find(|one| one[0] == call);
        let found = found.unwrap_or_else(|| panic!("nobody is told of {call}: {told:#?}"));
        assert!(found[1] == error && found[2].starts_with(instead), "{found:?}");
    }
    assert_eq!(told.len(), 16, "{told:#?}");
    assert_eq!(run.report["exitCode"], 24, "all were refused");
}
