#!/usr/bin/env bash
# Runs test programs on another kernel: in a virtual machine (qemu, software emulation) with one of Debian's.
# Installs the packages that are missing, and downloads the kernel once; both need Debian.
#
#   run_lane.sh LANE [PRESET [TEST...]]
#
# LANE is the series of the kernel, 6.12 or 6.1. The programs are those in build/PRESET, built already, "release" if
# none is given; without TESTs, those that test/CMakeLists.txt marks with LANES. Ends like run_tests.sh, with "N passed,
# N failed, N skipped", and leaves reports and logs in build/lanes/LANE/PRESET/out.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"
source "$(dirname "${BASH_SOURCE[0]}")/count_cases.sh"

if (($# == 0)); then
  echo "Usage: $0 LANE [PRESET [TEST...]], where LANE is 6.12 or 6.1" >&2
  exit 2
fi
lane=$1
preset=${2:-release}
shift
shift || true

# An emulated machine gets ten times the time that ctest gives on the real one.
test_seconds=600
boot_seconds=2400
memory=1G
# What is no part of these kernels: the disk, and what tests attach to, with what that depends on.
modules=(virtio_pci virtio_blk veth dummy cls_bpf sch_ingress act_bpf netkit)
# What of this machine is there beside busybox. Its shell would run its own ip rather than this one.
programs=(dash ip)

# Some of the tools below are where only root looks for programs.
PATH=$PATH:/usr/sbin:/sbin

cd "$tinybpf_root"
tests_folder=$tinybpf_root/build/$preset/test
if [[ ! -e $tests_folder/lanes.txt ]]; then
  say "build/$preset has no tests: build them first, with test/run_tests.sh $preset"
  exit 1
fi
if (($# == 0)); then
  mapfile -t tests <"$tests_folder/lanes.txt"
  set -- "${tests[@]}"
fi
for name in "$@"; do
  if [[ ! -x $tests_folder/$name ]]; then
    say "build/$preset/test/$name is not there: build it first"
    exit 1
  fi
done

# Lanes may be started at the same time: one after the other gets what it lacks.
mkdir -p build/lanes
exec {lock}>build/lanes/lock
flock "$lock"
install_packages qemu-system-x86 busybox-static cpio kmod e2fsprogs xz-utils zstd iproute2

newest_kernel() {
  apt-cache "${debian_apt[@]}" pkgnames "linux-image-$lane." | grep -- '-cloud-amd64$' | sort -V | tail -n 1
}

lane_folder=$tinybpf_root/build/lanes/$lane
mkdir -p "$lane_folder"
kernel_folder=$lane_folder/kernel
if ! unpack_debian "$kernel_folder" newest_kernel; then
  say "No kernel for lane $lane"
  exit 1
fi
exec {lock}>&-
kernel=$(echo "$kernel_folder"/boot/vmlinuz-*)
release=${kernel##*/vmlinuz-}

# Nor does one run wipe away another of the same build.
exec {lock}>"$lane_folder/$preset.lock"
flock "$lock"
work=$lane_folder/$preset
disk=$work/disk.img
initrd=$work/initrd.cpio
log=$work/serial.log
out=$work/out
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$disk" "$work/disk"' EXIT
trap 'exit 130' INT

# A small system: busybox, the modules, and the script that loads them and goes on to the disk.
make_initrd() {
  local root=$work/initrd module file
  mkdir -p "$root"/{bin,dev,disk,modules}
  cp "$(command -v busybox)" "$root/bin/busybox"
  "$root/bin/busybox" --install -s "$root/bin"
  find "$root/bin" -type l -exec ln -sf busybox {} \;
  cp test/lane_init.sh "$root/init"
  if [[ ! -e $kernel_folder/lib/modules/$release/modules.dep ]]; then
    depmod -b "$kernel_folder" "$release"
  fi
  for module in "${modules[@]}"; do
    modprobe -d "$kernel_folder" -S "$release" --show-depends "$module" 2>/dev/null || true
  done | sed -n 's/^insmod \([^ ]*\) *$/\1/p' | awk '!seen[$0]++' >"$work/modules"
  while read -r file; do
    module=${file##*/}
    module=${module%%.*}
    case $file in
      *.xz) xz -dc "$file" ;;
      *.zst) zstd -dcq "$file" ;;
      *) cat "$file" ;;
    esac >"$root/modules/$module"
    echo "$module" >>"$root/modules/order"
  done <"$work/modules"
  (cd "$root" && find . | cpio --quiet -o -H newc) >"$initrd"
}

# What the tests need, each file where it is on this machine.
make_disk() {
  local root=$work/disk file name
  mkdir -p "$root"/{usr/bin,usr/sbin,usr/lib,usr/lib64,etc,dev,proc,sys,tmp,run,root,boot,var,lane/out}
  for name in bin sbin lib lib64; do
    ln -s "usr/$name" "$root/$name"
  done
  cp "$(command -v busybox)" "$root/usr/bin/busybox"
  "$root/usr/bin/busybox" --install -s "$root/usr/bin"
  find "$root/usr/bin" -type l -exec ln -sf busybox {} \;
  cp "$kernel_folder/boot/config-$release" "$root/boot/"
  printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/false >"$root/etc/passwd"
  printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
  echo '127.0.0.1 localhost' >"$root/etc/hosts"
  cp test/lane_init.sh "$root/lane/init"
  g++ -o "$root/lane/exit" test/lane_exit.cpp
  local needed=("$root/lane/exit")
  for name in "${programs[@]}"; do
    needed+=("$(command -v "$name")")
    rm -f "$root/usr/bin/$name"
  done
  ln -sf dash "$root/usr/bin/sh"
  for name in "$@"; do
    needed+=("$tests_folder/$name")
    echo "$test_seconds $tests_folder/$name" >>"$root/lane/tests"
  done
  {
    printf '%s\n' "${needed[@]}"
    ldd "${needed[@]}" | sed -n 's/^.*[[:space:]]\(\/[^ ]*\) (0x.*$/\1/p'
    find "build/$preset/bpf" -name '*.o' -printf "$tinybpf_root/%p\n"
  } | sort -u >"$work/files"
  while read -r file; do
    if [[ $file == "$root"/* ]]; then continue; fi
    mkdir -p "$root${file%/*}"
    cp -L "$file" "$root$file"
  done <"$work/files"
  local kilobytes
  kilobytes=$(du -sk "$root" | cut -f 1)
  truncate -s $((kilobytes * 11 / 10 + 65536))K "$disk"
  mke2fs -q -t ext4 -O ^has_journal -d "$root" "$disk"
  rm -r "$root"
}

# Without cx16: this qemu's emulation of cmpxchg16b spoils the flags, and the kernel's allocator dies of it.
# The guest's CPUs take turns on one thread: side by side, one of them may run into the breakpoint by which the kernel
# patches code that the other one has patched already, and panics. A panic ends it at once, with 0; the exit code of a
# good run is 33 (see lane_exit.cpp).
# It goes with this script, whatever ends that, and with Ctrl-C. Where this machine's disk is full, the guest gets an
# error: qemu would have it wait.
boot() {
  local status=0
  : >"$log"
  setpriv --pdeathsig TERM timeout --foreground "$boot_seconds" \
    qemu-system-x86_64 -accel tcg,thread=single -cpu max,-cx16 -smp 2 -m "$memory" -machine q35 \
    -nodefaults -no-user-config -display none -no-reboot \
    -device isa-debug-exit,iobase=0xf4,iosize=0x04 -serial "file:$log" \
    -drive "file=$disk,if=virtio,format=raw,cache=unsafe,werror=report" -kernel "$kernel" -initrd "$initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable nowatchdog" || status=$?
  if [[ $status -ne 33 ]] || ! grep -q '^lane: end' "$log"; then
    local why="with $status"
    [[ $status -eq 0 ]] && why+=", as after a panic"
    [[ $status -eq 124 ]] && why="by its time limit of $boot_seconds s"
    say "Lane $lane ended $why, and without all tests run. The end of its log ($log):"
    tail -n 40 "$log" >&2
    return "$((status == 124 ? 124 : 1))"
  fi
}

say "Making lane $lane of build/$preset: $release, $# tests"
make_initrd
make_disk "$@"
say "Booting"
boot_status=0
boot || boot_status=$?
# The emulated timers of a busy machine can make a kernel give up before it has begun.
if ((boot_status == 1)) && ! grep -q '^lane: init' "$log"; then
  say "The kernel did not start. Once more"
  mv "$log" "$log.1"
  boot_status=0
  boot || boot_status=$?
fi

debugfs -R "rdump /lane/out $work" "$disk" 2>/dev/null || true
sed -n 's/\r$//; s/^lane: ran/ran/p' "$log"
for name in "$@"; do
  status=$(sed -n "s/^$name //p" "$out/outcomes" 2>/dev/null || true)
  if [[ $status == 0 && -e $out/$name ]]; then
    count_cases "$out/$name" ok
  else
    case $status in
      '') echo "$name did not end:" ;;
      0) echo "$name left no report:" ;;
      137) echo "$name was killed, by its time limit of $test_seconds s or for want of memory ($out/dmesg.log):" ;;
      *) echo "$name ended with $status:" ;;
    esac
    cat "$out/$name.log" 2>/dev/null || true
    count_cases "$out/$name" failed
  fi
done
if ((boot_status != 0 && failed == 0)); then
  failed=1
fi
print_counts
((failed == 0 && passed > 0))
