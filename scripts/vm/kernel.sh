#!/usr/bin/env bash
# Gets Debian's current kernel of a series and makes an initramfs with the modules that its root needs; does nothing where
# both are there. Prints the directory, which holds `vmlinuz` and `initramfs`. What runs in it comes with each job (run.sh).
#
#   scripts/vm/kernel.sh 6.12|6.1
#
# OSTEST_VM_MIRROR names a Debian mirror where the host's own apt sources name none (on Ubuntu, say).
# OSTEST_VM_CACHE is where everything goes; by default ~/.cache/ostest-sandbox-vm. Remove it to get newer kernels.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

# Where each series is the current kernel. The cloud flavour has all that is needed here, virtiofs included, at half the
# size.
case ${1:-} in
  6.12) suite=trixie ;;
  6.1) suite=bookworm ;;
  *) die "say which kernel: 6.12 or 6.1" ;;
esac
meta=linux-image-cloud-amd64
modules=(virtio_pci virtiofs overlay)
dir=$cache/$1
# Checkouts share the kernel, and may differ in this script: one's initramfs is not another's.
ready=$dir/$(sha256sum <"$0" | cut -c 1-12)

[ "$(uname -m)" = x86_64 ] || die "the test machine is made for x86_64 hosts only"
install_missing --no-install-recommends busybox-static cpio kmod xz-utils >&2

# apt with a sources list and a state of its own: the host's stays as it is.
private_apt() {
  local command=$1
  shift
  "$command" -qq -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}

get_kernel() {
  local from image
  from=$(mirror)
  have_keyring
  say "Getting Debian's kernel $1 into $dir" >&2
  rm -rf "$dir"
  mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache" "$dir/unpacked"
  echo "deb [arch=amd64 signed-by=$keyring] $from $suite main" >"$dir/apt/sources.list"
  private_apt apt-get update >&2
  # The package's name holds its version, which moves on; the meta-package knows today's.
  image=$(private_apt apt-cache show "$meta" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
  case $image in
    linux-image-"$1".*) ;;
    *) die "$meta in $suite is ${image:-missing}, and not a $1 kernel" ;;
  esac
  (cd "$dir" && private_apt apt-get download "$image") >&2
  dpkg-deb -x "$dir/$image"_*.deb "$dir/unpacked"
  rm -rf "$dir/apt" "$dir/$image"_*.deb
}

# busybox, and the modules in loading order.
make_initramfs() {
  local unpacked=$dir/unpacked version tree=$dir/tree image file
  image=$(echo "$unpacked"/boot/vmlinuz-*)
  version=${image##*/vmlinuz-}
  # Newer packages have their modules below /usr, as on a merged system.
  [ -e "$unpacked/lib" ] || ln -s usr/lib "$unpacked/lib"
  depmod -b "$unpacked" "$version"
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,modules,proc,sys,dev,host,upper,new} "$ready.part"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  # modprobe prints what it would load, in order, each once per module asked for; insmod in the guest then needs neither
  # depmod's files nor xz. What is built in prints no path.
  for module in "${modules[@]}"; do
    modprobe -d "$unpacked" -S "$version" --show-depends "$module"
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
    while read -r file; do
      case $file in
        *.xz) xz -dc "$file" >"$tree/modules/$(basename "$file" .xz)" && basename "$file" .xz ;;
        *) cp "$file" "$tree/modules/" && basename "$file" ;;
      esac
    done >"$tree/modules/order"
  (cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$ready.part/initramfs"
  ln -f "$image" "$ready.part/vmlinuz"
  mv "$ready.part" "$ready"
  rm -rf "$tree"
}

one_at_a_time
# get_kernel removes apt's state last: where it is still there, it did not get to the end.
if [ ! -d "$dir/unpacked/boot" ] || [ -d "$dir/apt" ]; then
  get_kernel "$1"
fi
if [ ! -d "$ready" ]; then
  rm -rf "$ready.part"
  make_initramfs
fi
printf '%s\n' "$ready"
