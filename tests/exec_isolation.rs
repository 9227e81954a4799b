//! What a command sees of the host, and what it can reach: nothing that is not its own. Needs root.

mod common;

use common::{FIRST_ID, Place, field, need_root, need_tool};
use std::collections::BTreeSet;

/// Prints `name=value` lines for the process that the shell starts next.
const STATUS: &str = r#"
sed -n 's/^\([A-Za-z]*\):[[:space:]]*/\1=/p' /proc/self/status
echo umask=$(umask)
echo hostname=$(cat /proc/sys/kernel/hostname)
echo core=$(ulimit -c)
cd /proc/self/ns && for n in user mnt pid net ipc uts cgroup; do echo ns-$n=$(readlink $n); done
"#;

#[test]
fn it_is_an_unprivileged_user_in_namespaces_of_its_own() {
    if !need_root("it_is_an_unprivileged_user_in_namespaces_of_its_own") {
        return;
    }
    let run = Place::new().sh(&[], &format!("id; {STATUS}")).good();
    assert!(run.text().starts_with("uid=1000(student) gid=1000(student) groups=1000(student)\n"), "{}", run.text());
    let seen = run.values();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
    assert_eq!((seen["NoNewPrivs"].as_str(), seen["Seccomp"].as_str()), ("1", "2"));
    for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let host = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace");
        let inside = &seen[&format!("ns-{name}")];
        assert!(inside.starts_with(&format!("{name}:[")), "{name} is {inside}");
        assert_ne!(*inside, host.to_string_lossy(), "the {name} namespace is the host's");
    }
    assert_eq!(seen["hostname"], "sandbox");
    assert_eq!(seen["umask"], "0022");
}

#[test]
fn signals_are_as_a_program_expects_them() {
    if !need_root("signals_are_as_a_program_expects_them") {
        return;
    }
    let seen = Place::new().sh(&[], STATUS).good().values();
    // Rust ignores SIGPIPE in the launcher, and glibc ignores its own two in whatever posix_spawn starts.
    assert_eq!(seen["SigIgn"], "0000000000000000");
    assert_eq!(seen["SigBlk"], "0000000000000000");
    let piped = Place::new().sh(&[], "bash -c 'yes | head -n1 >/dev/null; echo ${PIPESTATUS[0]}'").good();
    assert_eq!(piped.text(), "141\n", "SIGPIPE ends a writer whose reader is gone");
}

#[test]
fn from_outside_it_is_nobody_of_the_host() {
    if !need_root("from_outside_it_is_nobody_of_the_host") {
        return;
    }
    let place = Place::new();
    let groups = place.groups();
    let running = place.start(&[], &["sleep", "600"]);
    // Init and the command.
    common::wait_until("the command", || {
        place.wait_for_pids(&groups, 2).into_iter().any(|pid| common::cmdline(pid).starts_with("sleep 600"))
    });
    for pid in place.wait_for_pids(&groups, 2) {
        for name in ["Uid", "Gid"] {
            let ids = field(pid, name).expect("it runs");
            let ids: Vec<u32> = ids.split_whitespace().map(|id| id.parse().expect("a number")).collect();
            assert!(ids.iter().all(|id| *id >= FIRST_ID), "{name} of {} is {ids:?}", common::cmdline(pid));
        }
        assert_eq!(field(pid, "Groups").as_deref(), Some(""), "supplementary groups of the host");
    }
    running.signal(15);
    assert_eq!(running.wait().verdict(), "interrupted");
    place.nothing_left(&groups);
}

#[test]
fn the_hosts_files_are_not_there_and_the_systems_cannot_be_written() {
    if !need_root("the_hosts_files_are_not_there_and_the_systems_cannot_be_written") {
        return;
    }
    let place = Place::new();
    let secret = place.path().join("secret");
    std::fs::write(&secret, "of the host").expect("a file");
    let script = format!(
        "for p in /etc/machine-id /etc/fstab /etc/ssl/private /etc/ssh /root /home /var/lib /boot /srv /run \
                  /sys/fs /sys/class /sys/block /sys/firmware /opt /mnt {state} {secret}; do
             [ -e $p ] && echo visible=$p; done
         for p in / /usr /usr/bin /etc /etc/alternatives /dev /proc/sys/kernel /sys /sys/devices/system/cpu /var; do
             touch $p/x 2>/dev/null && echo written=$p; mkdir $p/y 2>/dev/null && echo written=$p; done
         for p in /etc/passwd /etc/hosts /etc/os-release /usr/bin/env /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern \
                  /sys/devices/system/cpu/online; do
             (: >> $p) 2>/dev/null && echo opened=$p; done
         for p in /tmp /task /dev/shm; do echo x > $p/f && [ $(cat $p/f) = x ] && echo own=$p; done
         (cat /etc/shadow && echo read) 2>&1 | sed 's/.*: /shadow=/'
         echo root=$(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\/ \\([a-z]*\\).*/\\1/p' /proc/self/mountinfo)
         echo accounts=$(cut -d: -f1 /etc/passwd | tr '\\n' ' ')",
        state = place.state().display(),
        secret = secret.display(),
    );
    let run = place.sh(&[], &script).good();
    let of = |name: &str| -> Vec<String> {
        let text = run.text();
        text.lines().filter_map(|l| l.strip_prefix(&format!("{name}="))).map(String::from).collect()
    };
    assert_eq!(of("visible"), [""; 0], "of the host");
    assert_eq!(of("written"), [""; 0]);
    assert_eq!(of("opened"), [""; 0]);
    assert_eq!(of("own"), ["/tmp", "/task", "/dev/shm"]);
    assert_eq!(of("shadow"), ["Permission denied"]);
    assert_eq!(of("root"), ["ro"]);
    assert_eq!(of("accounts"), ["root student nobody"], "accounts are made up");
}

#[test]
fn the_root_holds_only_what_the_plan_names() {
    if !need_root("the_root_holds_only_what_the_plan_names") {
        return;
    }
    let run = Place::new().sh(&[], "ls -A /; echo; ls -A /dev; echo; ls -A /tmp /task | grep -v :").good();
    let text = run.text();
    let mut parts = text.split("\n\n").map(|p| p.split_whitespace().map(String::from).collect::<BTreeSet<_>>());
    let allowed =
        ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "task", "tmp", "usr", "var"];
    let root = parts.next().expect("a list");
    assert!(root.iter().all(|name| allowed.contains(&name.as_str())), "{root:?}");
    let devices = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    assert_eq!(parts.next().expect("a list"), devices.map(String::from).into());
    assert_eq!(parts.next().unwrap_or_default(), BTreeSet::new(), "/tmp and /task are empty");
}

#[test]
fn devices_work_and_none_can_be_made() {
    if !need_root("devices_work_and_none_can_be_made") {
        return;
    }
    let script = "
        for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo missing $d; done
        mknod /tmp/null c 1 3 2>/dev/null && echo made a device
        mknod /task/sda b 8 0 2>/dev/null && echo made a disk
        mkfifo /tmp/fifo && [ -p /tmp/fifo ] || echo no fifo
        head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x > /dev/null
        (echo x > /dev/full) 2>/dev/null && echo full took it
        echo told > /dev/stderr; echo told > /dev/stdout; chmod 600 /dev/null 2>/dev/null && echo chmod
        cat /dev/stdin | wc -c";
    let run = Place::new().sh(&[], script).good();
    assert_eq!(run.text(), "4\n4\ntold\n0\n");
    assert_eq!(run.stderr, "told\n");
}

#[test]
fn proc_tells_nothing_of_the_host() {
    if !need_root("proc_tells_nothing_of_the_host") {
        return;
    }
    let script = "
        for f in kcore keys timer_list sysrq-trigger kallsyms sched_debug kmsg; do
            [ -e /proc/$f ] && echo $f=$(head -c 100 /proc/$f 2>/dev/null | wc -c); done
        (echo b > /proc/sysrq-trigger) 2>/dev/null && [ ! -c /proc/sysrq-trigger ] && echo sysrq=1
        echo pids=$(ls /proc | grep -c '^[0-9]')
        grep -v ':/$' /proc/self/cgroup | sed 's/^/group=/'
        for f in /proc/1/environ /proc/1/mem /proc/1/root/ /proc/1/fd/ /proc/1/cwd/; do
            case $f in */) ls $f;; *) head -c1 $f;; esac > /dev/null 2>&1 && echo init=$f; done
        true";
    let seen = Place::new().sh(&[], script).good().values();
    // init, the shell, and the pipe's processes.
    assert!(seen["pids"].parse::<u32>().expect("a number") <= 6, "processes of the host are visible: {seen:?}");
    assert!(!seen.contains_key("group"), "cgroup paths of the host are visible: {seen:?}");
    assert!(!seen.contains_key("init"), "init can be looked into: {seen:?}");
    let loud: Vec<_> = seen.iter().filter(|(name, value)| *name != "pids" && *value != "0").collect();
    assert!(loud.is_empty(), "{loud:?}");
}

#[test]
fn only_the_three_standard_descriptors_are_open() {
    if !need_root("only_the_three_standard_descriptors_are_open") {
        return;
    }
    let place = Place::new();
    let program = place.compile(
        "descriptors",
        r#"#include <fcntl.h>
           #include <stdio.h>
           int main(void) { for (int fd = 0; fd < 4096; fd++) if (fcntl(fd, F_GETFD) != -1) printf("%d\n", fd); }"#,
    );
    assert_eq!(place.run(&["--ro", &program], &[&program]).good().text(), "0\n1\n2\n");
}

#[test]
fn only_the_loopback_is_there_and_it_works() {
    let name = "only_the_loopback_is_there_and_it_works";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    let script = r#"
import errno, os, socket
print("interfaces=" + " ".join(n for _, n in socket.if_nameindex()))
def talk(family, address):
    server = socket.socket(family); server.bind((address, 0)); server.listen()
    client = socket.create_connection(server.getsockname()[:2])
    client.sendall(b"hello"); print(f"{address}=" + server.accept()[0].recv(5).decode())
talk(socket.AF_INET, "127.0.0.1")
if os.path.exists("/proc/net/if_inet6"):
    talk(socket.AF_INET6, "::1")
def out(family, address, kind):
    # An address that belongs to nobody; in an empty namespace nothing leaves anyway.
    s = socket.socket(family, kind); s.settimeout(20)
    try: s.connect((address, 9)); return "connected"
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    print(f"out-{int(kind)}=" + out(socket.AF_INET, "192.0.2.1", kind))
if os.path.exists("/proc/net/if_inet6"):
    print("out-v6=" + out(socket.AF_INET6, "2001:db8::1", socket.SOCK_STREAM))
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print("raw=yes")
except OSError: print("raw=no")
try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print("icmp=yes")
except OSError: print("icmp=no")
"#;
    let seen = Place::new().run(&[], &["/usr/bin/python3", "-c", script]).good().values();
    assert_eq!(seen["interfaces"], "lo");
    assert_eq!(seen["127.0.0.1"], "hello");
    assert!(seen.get("::1").is_none_or(|v| v == "hello"), "{seen:?}");
    assert_eq!((seen["out-1"].as_str(), seen["out-2"].as_str()), ("ENETUNREACH", "ENETUNREACH"));
    assert!(seen.get("out-v6").is_none_or(|v| v == "ENETUNREACH" || v == "EADDRNOTAVAIL"), "{seen:?}");
    assert_eq!((seen["raw"].as_str(), seen["icmp"].as_str()), ("no", "no"));
}

#[test]
fn sockets_of_the_host_cannot_be_reached() {
    let name = "sockets_of_the_host_cannot_be_reached";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    let word = format!("ostest-{}-abstract", std::process::id());
    let address = SocketAddr::from_abstract_name(&word).expect("an address");
    let listener = UnixListener::bind_addr(&address).expect("an abstract socket");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tcp.local_addr().expect("an address").port();
    assert!(UnixStream::connect_addr(&address).is_ok(), "it can be reached on the host");
    drop(listener.accept());
    let script = format!(
        "import socket
for family, address in ((socket.AF_UNIX, '\\0{word}'), (socket.AF_INET, ('127.0.0.1', {port}))):
    try: socket.socket(family).connect(address); print('connected')
    except OSError as e: print(type(e).__name__)"
    );
    let run = Place::new().run(&[], &["/usr/bin/python3", "-c", &script]).good();
    assert_eq!(run.text(), "ConnectionRefusedError\nConnectionRefusedError\n");
}

#[test]
fn killing_everything_kills_only_its_own() {
    if !need_root("killing_everything_kills_only_its_own") {
        return;
    }
    let place = Place::new();
    let (groups, neighbour) = (place.groups(), Place::new());
    let (their_groups, theirs) = (neighbour.groups(), neighbour.start(&[], &["sleep", "600"]));
    let before = neighbour.wait_for_pids(&their_groups, 2);
    // A shell has kill built in: no process is left that could be needed to go on.
    let script = "kill -9 1; kill -0 1 && echo may; sleep 500 & kill -9 -1; wait; echo alive; kill -9 0";
    let run = place.sh(&[], script);
    assert_eq!(run.text(), "alive\n");
    assert_eq!((run.code, run.verdict()), (Some(137), "signaled"), "{:#}", run.report);
    place.nothing_left(&groups);
    assert_eq!(neighbour.wait_for_pids(&their_groups, 2), before, "another sandbox goes on");
    theirs.signal(15);
    theirs.wait();
}

#[test]
fn privilege_cannot_be_gained() {
    let name = "privilege_cannot_be_gained";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    let place = Place::new();
    let program = place.compile(
        "rise",
        r#"#define _GNU_SOURCE
           #include <sched.h>
           #include <stdio.h>
           #include <sys/mount.h>
           #include <unistd.h>
           int main(void) {
               if (geteuid() != getuid() || geteuid() == 0) puts("setuid");
               if (unshare(CLONE_NEWUSER) == 0) puts("user namespace");
               if (unshare(CLONE_NEWNS) == 0) puts("mount namespace");
               if (setuid(0) == 0 || setresuid(0, 0, 0) == 0) puts("root");
               if (setgid(0) == 0) puts("group root");
               if (mount("none", "/tmp", "tmpfs", 0, 0) == 0) puts("mount");
               if (umount2("/proc/keys", MNT_DETACH) == 0) puts("umount");
               if (chroot("/tmp") == 0) puts("chroot");
               if (sethostname("x", 1) == 0) puts("hostname");
               puts("end");
           }"#,
    );
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o6755)).expect("chmod");
    let script = format!("{program}; cp {program} /tmp/own && chmod 6755 /tmp/own && /tmp/own; unshare -Ur id");
    let run = place.sh(&["--ro", &program], &script);
    assert_eq!(run.text(), "end\nend\n");
    assert_ne!(run.code, Some(0), "unshare -U is refused");
}

#[test]
fn terminals_and_shared_memory_work() {
    let name = "terminals_and_shared_memory_work";
    if !need_root(name) || !need_tool(name, "python3") {
        return;
    }
    let script = r#"
import multiprocessing.shared_memory as sm, os, pty
print("status", pty.spawn(["/bin/sh", "-c", "test -t 0 && tty && echo from a terminal"]), flush=True)
block = sm.SharedMemory(create=True, size=4096); block.buf[0] = 7
again = sm.SharedMemory(block.name); print("shared", again.buf[0]); again.close(); block.close(); block.unlink()
"#;
    let text = Place::new().run(&[], &["/usr/bin/python3", "-c", script]).good().text();
    for wanted in ["/dev/pts/", "from a terminal", "status 0", "shared 7"] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
}

#[test]
fn core_files_are_as_on_the_host_but_never_piped_to_it() {
    if !need_root("core_files_are_as_on_the_host_but_never_piped_to_it") {
        return;
    }
    let place = Place::new();
    let piped = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the pattern").starts_with('|');
    let host = std::process::Command::new("sh").args(["-c", "ulimit -c"]).output().expect("a shell").stdout;
    let inside =
        place.sh(&[], "ulimit -c; sed -n 's/^Max core file size *//p' /proc/self/limits; ulimit -Hc").good().text();
    let [blocks, bytes, most] = inside.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {inside}") };
    // Where neither we nor the launcher can raise it from 0 (sudo's, in a container) it stays, and `check` says what follows.
    let can_raise = std::process::Command::new("sh").args(["-c", "ulimit -c 1"]).output().expect("a shell").status;
    if piped && can_raise.success() {
        assert_eq!(bytes.split_whitespace().next(), Some("1"), "the value with which the kernel starts no handler");
    } else {
        assert_eq!(blocks, String::from_utf8_lossy(&host).trim());
        // On older kernels nothing ends a core of terabytes.
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
        if ostest_sandbox::check::kernel_version(&kernel).is_some_and(|kernel| kernel >= (6, 18)) {
            let host = std::process::Command::new("sh").args(["-c", "ulimit -Hc"]).output().expect("a shell").stdout;
            assert_eq!(most, String::from_utf8_lossy(&host).trim(), "how far a program may raise it");
        }
    }
}

/// Tools whose configuration packages keep in /etc, and programs that ask which processors there are.
#[test]
fn what_tools_read_of_the_system_is_there() {
    if !need_root("what_tools_read_of_the_system_is_there") {
        return;
    }
    let script = "set -e
         . /etc/os-release; [ -n \"$NAME\" ]; [ \"$(cat /etc/hostname)\" = sandbox ]
         grep -q ' / ' /etc/mtab; grep -q /bin/sh /etc/shells; [ -r /etc/login.defs ]; [ -r /etc/resolv.conf ]
         [ ! -e /usr/lib/ssl ] || { [ -r /usr/lib/ssl/openssl.cnf ]; [ -d /usr/lib/ssl/certs/ ]; }
         echo x > /var/tmp/x; [ -e /tmp/x ]
         for java in /usr/lib/jvm/*/conf/security/java.security /usr/lib/jvm/*/lib/jvm.cfg; do
             case $java in *'*'*) ;; *) [ -r $java ];; esac; done
         [ $(nproc) = $(getconf _NPROCESSORS_ONLN) ]
         cpus=/sys/devices/system/cpu; first=$(sed 's/[-,].*//' $cpus/online)
         taskset -p $$ >/dev/null; [ $(cat $cpus/cpu$first/topology/core_id) = $first ]
         lscpu >/dev/null; cat /sys/devices/system/node/online $cpus/possible $cpus/present >/dev/null
         echo well";
    let run = Place::new().sh(&[], script);
    assert_eq!(run.text(), "well\n", "{}", run.stderr);
}
