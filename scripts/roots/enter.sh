#!/usr/bin/env bash
# The first process of a fresh Debian (see run.sh): makes its root, in namespaces of its own, and runs the command there. It
# is entered with pivot_root, since from a chroot nobody makes a user namespace.
#
#   enter.sh MEMORY IMAGE TOP TARGET KEPT CARGO_HOME RUSTUP_HOME PIP COMMAND [ARGUMENT...]
set -euo pipefail

memory=$1 image=$2 top=$3 target=$4 kept=$5 cargo_home=$6 rustup_home=$7 pip=$8
shift 8
user=teacher
home=/home/$user
root=$memory/root

# over SOURCE TARGET: a directory as it is, and changes over it, in memory; who owns what is such a change, too.
over() {
  local name
  name=$(mktemp -d "$memory/over-XXXXXX")
  mkdir -p "$2" "$name/changes" "$name/work"
  mount -t overlay -o "lowerdir=$1,upperdir=$name/changes,workdir=$name/work,metacopy=on" ostest-root "$2"
}

mount -t tmpfs -o mode=755,size=75% ostest-root "$memory"
over "$image" "$root"

mount -t proc proc "$root/proc"
# As on a host that has been up for a while: low pids look like exit codes.
echo 20000 >"$root/proc/sys/kernel/ns_last_pid"
# With all control groups of this host.
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root"/dev/{pts,shm}
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
ln -s pts/ptmx "$root/dev/ptmx"
for link in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do ln -s "${link#*:}" "$root/dev/${link%%:*}"; done

# As Debian's installer leaves it.
hostname debian
echo debian >"$root/etc/hostname"
printf '%s\n' '127.0.0.1 localhost' '127.0.1.1 debian' '::1 localhost ip6-localhost ip6-loopback' \
  'ff02::1 ip6-allnodes' 'ff02::2 ip6-allrouters' >"$root/etc/hosts"
chroot "$root" useradd --create-home --home-dir "$home" --shell /bin/bash "$user"
chmod 0700 "$root$home"
echo "$user ALL=(ALL:ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/$user"

# The way to the network, and to packages.
cat /etc/resolv.conf >"$root/etc/resolv.conf"
bundle=/etc/ssl/certs/ca-certificates.crt
[ ! -e "$bundle" ] || cat "$bundle" >"$root$bundle"
printf '[global]\n%s\n' "$pip" >"$root/etc/pip.conf"
while read -r path; do
  [ ! -d "$path" ] || over "$path" "$root$path"
done < <(sed -n 's/^[a-z-]* = \(\/.*\)$/\1/p' <<<"$pip")

# The checkout and what was built in it, where they are on the host: a program knows where it was built. Nobody but its owner
# may enter it, as below a home of mode 0700.
over "$top" "$root$top"
[ "${target#"$top"/}" != "$target" ] || { mkdir -p "$target" && over "$target" "$root$target"; }
# So does cargo: what was built elsewhere than where its own home is now it builds anew.
for part in "$cargo_home:.cargo" "$rustup_home:.rustup"; do
  path=${part%%:*}
  over "$path" "$root$path"
  ln -s "$path" "$root$home/${part##*:}"
  while path=${path%/*} && [ -n "$path" ]; do chmod a+x "$root$path"; done
done
chroot "$root" chown -R "$user:" "$top" "$target" "$home" "$cargo_home" "$rustup_home"
chmod 0700 "$root$top"
# What tests keep from one run to the next, which on the host was made with the host's Python.
mount --bind "$kept" "$root$target/tmp"

mkdir "$root/old"
cd "$root"
pivot_root . old
cd "$top"
umount -l /old
rmdir /old
# Not as the first process, which would have to look after everybody's orphans: bash does that here.
code=0
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" LANG=C.UTF-8 CARGO_NET_OFFLINE="${CARGO_NET_OFFLINE:-}" \
  runuser -u "$user" -- env HOME="$home" USER="$user" CARGO_HOME="$cargo_home" RUSTUP_HOME="$rustup_home" PATH="$home/.cargo/bin:/usr/local/bin:/usr/bin:/bin" "$@" || code=$?
exit "$code"
