#!/usr/bin/env bash
# Runs a command as root in a virtual machine with another kernel and a unified cgroup v2 tree. The machine sees this
# host's files as they are now; what it writes stays in its memory and is gone afterwards. /tmp, /run and /dev/shm are
# its own, and empty. It has no network but its loopback.
#
#   scripts/vm/run.sh [--kernel 6.12|6.1] [--systemd] [--append 'kernel args'] [--memory 4G] [--timeout SECONDS] [--once] -- COMMAND...
#
# With --systemd it is a Debian of its own that boots (image.sh), with systemd as pid 1; of this host's files it sees the
# current directory, where it is here, and all of them below /host, read-only. The command is a unit then, without a
# delegated control group.
#
# The command runs in the current directory, with HOME and PATH and the variables OSTEST_* of the caller. What it prints,
# on either stream, comes out as it comes; the exit code is the command's. 124: the time limit (1800 s by default); 125:
# the machine did not come up, four times, or went down on its own; its console is printed then.
#
# A command during which the emulator has made a fault is run again from the start; with --once it is not, and the exit code is 123.
#
# Where KVM does not work (in most containers and virtual machines) the processor is emulated: a boot takes 4 s, and
# heavy computation about 20 times as long as outside.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

kernel=6.12 systemd='' append='' memory=4G limit=1800 boot_limit=120 most_runs=2
while [ $# -gt 0 ]; do
  case $1 in
    --kernel) kernel=$2 && shift 2 ;;
    --systemd) systemd=1 boot_limit=300 && shift ;;
    --once) most_runs=1 && shift ;;
    --append) append=$2 && shift 2 ;;
    --memory) memory=$2 && shift 2 ;;
    --timeout) limit=$2 && shift 2 ;;
    --) shift && break ;;
    *) die "$1 is not an option; the command comes after --" ;;
  esac
done
[ $# -gt 0 ] || die "there is no command after --"
need_root
case $PWD/ in
  /tmp/* | /run/* | /dev/* | /proc/* | /sys/*) die "the machine has a $PWD of its own: go elsewhere" ;;
esac

install_missing --no-install-recommends qemu-system-x86 qemu-system-common busybox-static cpio >&2
virtiofsd=
for candidate in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
  [ -x "$candidate" ] && virtiofsd=$candidate && break
done
if [ -z "$virtiofsd" ]; then
  # Debian 12 ships it with qemu, later ones on its own.
  install_missing --no-install-recommends virtiofsd >&2
  virtiofsd=/usr/libexec/virtiofsd
fi
files=$("$(dirname "$0")/kernel.sh" "$kernel" | tail -n 1)
image=
if [ -n "$systemd" ]; then
  image=$("$(dirname "$0")/image.sh" | tail -n 1)
  append="systemd.unit=ostest-vm.target systemd.show_status=0 systemd.firstboot=0 systemd.getty_auto=0 $append"
  # What goes wrong in it is in its journal, which is gone with it.
  append="systemd.journald.forward_to_console=1 systemd.journald.max_level_console=warning $append"
fi

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
qemu_pid='' fs_pid='' cat_pid=''
stop() {
  # Only these, by their ids. Killing qemu ends virtiofsd, whose socket it held; the reader ends with its pipe.
  for pid in $qemu_pid $fs_pid $cat_pid; do
    kill -KILL "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  # The shell does not wait for what it has disowned.
  while kill -0 ${qemu_pid:-none} 2>/dev/null; do
    sleep 0.05
  done
  qemu_pid='' fs_pid='' cat_pid=''
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP

# The job, and the init that starts it, as files of a second initramfs, which the kernel unpacks over the first: a kernel
# command line holds no spaces.
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
pack_job() {
  local variable
  mkdir -p "$dir/tree/job"
  {
    for variable in HOME PATH ${!OSTEST_@}; do
      printf 'export %s=%q\n' "$variable" "${!variable-}"
    done
    printf 'cd %q || exit 125\nexec' "$PWD"
    printf ' %q' "$@"
    printf '\n'
  } >"$dir/tree/job/command"
  printf '%s\n' "$token" >"$dir/tree/job/token"
  cp "$here/init" "$dir/tree/init"
  chmod 755 "$dir/tree/init"
  cp "$here/guest.sh" "$here/probes.py" "$dir/tree/job/"
  if [ -n "$image" ]; then
    printf '%s\n' "$image" >"$dir/tree/job/image"
    printf '%s\n' "$PWD" >"$dir/tree/job/directory"
  fi
  (cd "$dir/tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$dir/job.cpio.gz"
  cat "$files/initramfs" "$dir/job.cpio.gz" >"$dir/initrd"
}

# The host's root, read-only even for a guest that is root: virtiofsd gets a mount namespace in which nothing can be
# written, whatever it is asked for.
share_root() {
  mkdir -p "$dir/root"
  rm -f "$dir/fs.sock"
  # shellcheck disable=SC2016 # expanded by the inner shell
  unshare --mount --propagation private bash -c '
    mount --rbind / "$1"
    findmnt -Rrno TARGET "$1" | while IFS= read -r target; do
      mount -o remount,bind,ro "$(printf "%b" "$target")"
    done
    exec "$2" --socket-path="$3" -o source="$1" -o cache=always -o sandbox=chroot -o xattr --thread-pool-size=1
  ' share "$dir/root" "$virtiofsd" "$dir/fs.sock" >"$dir/fs.log" 2>&1 &
  fs_pid=$!
  for _ in {1..100}; do
    # 00010000 marks a socket on which somebody listens; its file is there a moment earlier.
    grep -q " 00010000 .*$dir/fs.sock\$" /proc/net/unix && return 0
    kill -0 "$fs_pid" 2>/dev/null || break
    sleep 0.05
  done
  cat "$dir/fs.log" >&2
  die "virtiofsd does not share the host's root"
}

# boot ACCELERATION BOOT_LIMIT LIMIT: 0 and `code` set when the job ended; 1 when the machine did not come up; 2 when it
# went down before the job ended; 3 at the time limit.
boot() {
  local accel=$1 cpu deadline state=booting
  case $accel in
    kvm) cpu=host ;;
    # A processor with little to emulate: `max` doubles the time of a boot.
    *) cpu=Nehalem accel=tcg,thread=multi,tb-size=512 ;;
  esac
  share_root
  rm -f "$dir/output" && mkfifo "$dir/output"
  cat "$dir/output" &
  cat_pid=$!
  : >"$dir/console"
  # Landlock is compiled in, and off unless lsm= names it. The second serial port carries the job's output alone.
  qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -M q35 -m "$memory" -smp 2 -nodefaults -no-user-config \
    -display none -no-reboot -kernel "$files/vmlinuz" -initrd "$dir/initrd" \
    -append "console=ttyS0 loglevel=4 panic=-1 mitigations=off lsm=landlock tsc=reliable random.trust_cpu=on psi=1 $append" \
    -chardev file,id=console,path="$dir/console" -serial chardev:console \
    -chardev file,id=output,path="$dir/output" -serial chardev:output \
    -chardev socket,id=fs,path="$dir/fs.sock" -device vhost-user-fs-pci,chardev=fs,tag=hostroot \
    -object memory-backend-memfd,id=mem,size="$memory",share=on -numa node,memdev=mem \
    -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
    </dev/null >"$dir/qemu.log" 2>&1 &
  qemu_pid=$!
  # Or the shell would say by itself how it ended; whoever calls knows better whether that matters.
  disown "$qemu_pid"
  deadline=$((SECONDS + $2))
  while kill -0 "$qemu_pid" 2>/dev/null; do
    if [ "$state" = booting ] && grep -q "^$token up" "$dir/console"; then
      state=running deadline=$((SECONDS + $3))
    fi
    # Switching off is quick; a machine that hangs there has done its work all the same.
    if [ "$state" = running ] && grep -q "^$token exit" "$dir/console"; then
      state=ended deadline=$((SECONDS + 10))
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
      kill -KILL "$qemu_pid"
      [ "$state" = ended ] && break
      stop
      [ "$state" = running ] && return 3
      return 1
    fi
    sleep 0.1
  done
  # The reader ends by itself when all output has been passed on.
  wait "$cat_pid" 2>/dev/null || true
  cat_pid=
  stop
  code=$(sed -n "s/^$token exit \([0-9]*\)\r*$/\1/p" "$dir/console" | tail -n 1)
  [ -n "$code" ] && return 0
  grep -q "^$token up" "$dir/console" && return 2
  return 1
}

# A /dev/kvm says little: it may refuse every machine, or boot none. So it is tried, once for each boot of this host.
acceleration() {
  local memo
  if ! { : <>/dev/kvm; } 2>/dev/null; then
    accel=tcg
    return
  fi
  memo=$cache/kvm-$kernel-$(cat /proc/sys/kernel/random/boot_id)
  if [ ! -e "$memo" ]; then
    pack_job true
    if boot kvm 20 20 && [ "$code" = 0 ]; then
      echo kvm >"$memo"
    else
      echo tcg >"$memo"
    fi
  fi
  accel=$(cat "$memo")
}

# Whether the kernel died of what no processor does. It patches its own code while it runs, by way of a breakpoint: emulated, one
# processor may still meet the breakpoint when the other has taken it back. Or its flags are those of another register: what is
# above the 22nd is 0 in a processor. Any other death is one that the command may have caused.
is_emulators_fault() {
  grep -q 'Oops: int3' "$dir/console" && return 0
  grep -Eq 'RSP: 0018:[0-9a-f]+ EFLAGS: ([1-9a-f]|0[1-9a-f]|00[4-9a-f])[0-9a-f]*' "$dir/console"
}

show_console() {
  printf -- '-- the console of the machine (%s, %s):\n' "$kernel" "$accel" >&2
  cat "$dir/console" "$dir/qemu.log" >&2
  printf -- '--\n' >&2
}

code='' accel=''
acceleration
pack_job "$@"
# A boot takes seconds, and is tried again more often than the command.
boots=0 runs=0
while [ "$boots" -lt 4 ] && [ "$runs" -lt "$most_runs" ]; do
  result=0
  boot "$accel" "$boot_limit" "$limit" || result=$?
  boots=$((boots + 1))
  case $result in
    0) exit "$code" ;;
    1) show_console && printf 'run.sh: boot %s did not come up\n' "$boots" >&2 ;;
    2)
      runs=$((runs + 1))
      show_console && printf 'run.sh: the machine went down before the command ended\n' >&2
      [ "$accel" != kvm ] && is_emulators_fault || exit 125
      [ "$most_runs" -gt 1 ] || { printf 'run.sh: that was the emulator'"'"'s fault\n' >&2 && exit 123; }
      printf 'run.sh: that was the emulator'"'"'s fault, and the command is run from the start\n' >&2
      ;;
    3) printf 'run.sh: the command was stopped after %s s\n' "$limit" >&2 && exit 124 ;;
  esac
done
exit 125
