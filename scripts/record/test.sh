# What the test stage runs: pytest with what suites use, the programs of labs, sanitizers, valgrind, debuggers.
# record_syscalls.sh sources it under the recorder. Wants $labs, the directory of the labs' sources.
# shellcheck shell=bash disable=SC2154

for source in "$labs"/*.c; do
  name=lab-$(basename "${source%.c}")
  gcc -Wall -g -pthread -o "$name" "$source" -lrt
  "./$name"
  # The C library of other systems. What it lacks does not compile, and is left out.
  if musl-gcc -static -pthread -o musl-lab "$source" 2>/dev/null; then ./musl-lab || true; fi
  # The sanitizers' own libraries answer for some calls otherwise than the kernel does: what they ask for is what counts.
  for sanitizer in address undefined thread; do
    if gcc -g -pthread "-fsanitize=$sanitizer" -o "$sanitizer-sanitizer" "$source" -lrt; then
      timeout 60 "./$sanitizer-sanitizer" >/dev/null 2>&1 || true
    fi
  done
done

# Programs with mistakes, under everything that finds them.
printf '#include <stdlib.h>\nint main(void) { void *volatile p = malloc(7); p = 0; return 0; }\n' >leak.c
printf 'int main(int n, char **v) { (void)v; int a[4] = {0}; return a[n + 3]; }\n' >overflow.c
printf 'int main(int n, char **v) { (void)v; int x = 0x7fffffff; x += n; return x == 5; }\n' >undefined.c
printf 'int main(void) { int *volatile p = 0; return *p; }\n' >crash.c
cat >race.c <<'C'
#include <pthread.h>
int x;
void *f(void *p) { for (int i = 0; i < 100000; i++) x++; return p; }
int main(void) { pthread_t a, b; pthread_create(&a, 0, f, 0); pthread_create(&b, 0, f, 0); pthread_join(a, 0); pthread_join(b, 0); return 0; }
C
says() {
  local wanted=$1
  shift
  "$@" >said 2>&1 || true
  grep -qE -- "$wanted" said || { cat said >&2 && return 1; }
}
for compiler in gcc clang; do
  while read -r sanitizer program wanted; do
    $compiler -g -pthread "-fsanitize=$sanitizer" -o "$sanitizer-sanitizer" "$program.c"
    says "$wanted" "./$sanitizer-sanitizer"
  done <<'CASES'
address overflow stack-buffer-overflow
undefined undefined signed integer overflow
address leak detected memory leaks
leak leak detected memory leaks
thread race data race
CASES
done
gcc -g -o leaking leak.c
gcc -g -o crashing crash.c
gcc -g -pthread -o racing race.c
says "definitely lost: 7 bytes" valgrind --leak-check=full ./leaking
says "data race" valgrind --tool=helgrind ./racing
says "Conflicting" valgrind --tool=drd ./racing
valgrind --quiet --tool=massif --massif-out-file=massif.out ./leaking
ms_print massif.out >/dev/null
says "refs" valgrind --tool=callgrind --callgrind-out-file=callgrind.out ./leaking
says "exited" valgrind --trace-children=yes --log-file=valgrind.%p sh -c './leaking; echo exited'
for lab in threads processes memory sockets; do
  # Its clone and its signals are not quite the kernel's: what it asks for is what counts.
  timeout 60 valgrind --quiet "./lab-$lab" >/dev/null 2>&1 || true
done
export DEBUGINFOD_URLS=
says "in main [(][)] at crash.c:1" gdb -nx --batch -ex run -ex bt ./crashing
says "Breakpoint 1, f" gdb -nx --batch -ex 'break f' -ex run -ex 'info threads' -ex next -ex 'watch x' -ex continue ./racing
sleep 30 &
sleeping=$!
says "nanosleep" gdb -nx --batch -ex bt -p "$sleeping"
says "nanosleep|restart_syscall" timeout 1 strace -p "$sleeping"
kill "$sleeping"
wait "$sleeping" || true
(ulimit -c unlimited; ./crashing) || true
for core in core core.*; do [ ! -f "$core" ] || gdb -nx --batch -ex bt ./crashing "$core"; done
says execve strace -f sh -c ./leaking
says calls strace -c -f ./lab-processes
says malloc ltrace -f ./leaking
cat /proc/self/status /proc/self/maps /proc/cpuinfo >/dev/null
ls -l /proc/self/fd >/dev/null
ps -ef >/dev/null
for command in nproc free ipcs "ip addr" "setarch -R true" "taskset 1 true" "nice true" "setsid true" "prlimit --nofile=100 true" \
  "timeout 1 true" "stdbuf -o0 true" "flock lock true"; do
  $command >/dev/null
done

# Suites: plain, on several processes, with terminals, with a look at processes.
cat >test_suite.py <<'PYTHON'
import asyncio, concurrent.futures, ctypes, fcntl, http.server, mmap, multiprocessing, os, pty, resource, select, selectors, shutil, signal
import socket, subprocess, sys, tempfile, threading, time, urllib.request

import pytest


def test_subprocess(tmp_path):
    done = subprocess.run(["sh", "-c", "cat; exit 3"], input=b"x", capture_output=True, timeout=10, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, b"x")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "10"], timeout=0.1)
    limited = subprocess.Popen(["sleep", "10"], start_new_session=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    os.killpg(limited.pid, signal.SIGTERM)
    assert limited.wait() == -signal.SIGTERM
    assert os.posix_spawn("/bin/true", ["true"], os.environ) and os.wait()


def test_terminal():
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("tty", ["tty"])
    assert b"/dev/pts" in os.read(fd, 100)
    os.waitpid(pid, 0)


def test_pexpect():
    pexpect = pytest.importorskip("pexpect")
    shell = pexpect.spawn("sh", ["-c", "read x; echo got $x; read y"], timeout=10)
    shell.sendline("word")
    shell.expect("got word")
    shell.sendintr()
    shell.close(force=True)


def test_psutil():
    psutil = pytest.importorskip("psutil")
    child = psutil.Popen(["sleep", "10"])
    assert child.name() == "sleep" and child.memory_info().rss and psutil.Process().children() and psutil.net_connections() is not None
    child.suspend(), child.resume(), child.nice(5), child.cpu_affinity(), child.ionice(), child.rlimit(resource.RLIMIT_NOFILE)
    child.terminate()
    child.wait(10)
    psutil.cpu_times(), psutil.virtual_memory(), psutil.disk_usage("."), psutil.net_if_addrs()


def test_servers():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with urllib.request.urlopen("http://localhost:%d/" % server.server_port, timeout=10) as answer:
        assert answer.status == 200
    server.shutdown()

    async def talk():
        process = await asyncio.create_subprocess_exec("true")
        await asyncio.sleep(0.01)
        return await process.wait()

    assert asyncio.run(talk()) == 0


def test_memory_and_time(tmp_path):
    with mmap.mmap(-1, 4096) as area:
        area[0] = 1
    with multiprocessing.Pool(2) as pool:
        assert pool.map(abs, [-1]) == [1]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(abs, [-1])) == [1]
    shutil.copytree(os.getcwd(), tmp_path / "copy", ignore=shutil.ignore_patterns("*lab*"), ignore_dangling_symlinks=True)
    signal.setitimer(signal.ITIMER_REAL, 5)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert os.sched_getaffinity(0) and time.perf_counter() and resource.getrusage(resource.RUSAGE_CHILDREN)
    ctypes.CDLL(None).getpid()
PYTHON
/usr/bin/python3 -m pytest -q --junit-xml=report.xml -p no:cacheprovider test_suite.py
/usr/bin/python3 -m pytest -q -n 2 test_suite.py
