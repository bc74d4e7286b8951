# shellcheck shell=bash disable=SC2034
# Sourced by the project's scripts: gets a machine ready to build and to run BPF programs, and says what it does.
#
#   say TEXT                  prints what is being done, in one line; like all that is here, to standard error, so that
#                             standard output is the program's own
#   need_root WHY             ends the script unless it runs as root
#   install_packages PKG...   on Debian: the packages that are missing, and only those; no apt-get where none is
#   mount_kernel_filesystems  tracefs and bpffs, where they are missing
#   build PRESET              configures and builds in build/PRESET

tinybpf_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building the library and the examples takes; only the tests take more.
tinybpf_packages=(
  g++ cmake ninja-build pkg-config clang-16 bpftool libbpf-dev libelf-dev
  libboost1.81-dev libboost-json1.81-dev libboost-program-options1.81-dev
  iproute2 # xdp_counter makes its interfaces with it
)

say() {
  printf '== %s\n' "$*" >&2
}

need_root() {
  if [[ $EUID -ne 0 ]]; then
    printf '%s has to run as root, to %s. Try: sudo %s\n' "$0" "$1" "$0" >&2
    exit 1
  fi
}

install_packages() {
  local package missing=()
  if ! command -v dpkg-query apt-get >/dev/null; then
    say "Not a Debian system: nothing is installed here. Needed are what Debian 12 calls: $*"
    return
  fi
  for package in "$@"; do
    # shellcheck disable=SC2016  # ${...} is dpkg-query's own
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    return
  fi
  need_root "install packages"
  say "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Packages that are in the way, such as another version of Boost, are for the user to remove.
  local log
  log=$(mktemp)
  if ! { apt-get update -qq &&
    apt-get install -qq -y --no-install-recommends --no-remove "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm "$log"
    say "The packages could not be installed: see above what apt-get says"
    exit 1
  fi
  rm "$log"
}

# Tracepoints are found in tracefs, and maps, programs and links are pinned in bpffs.
mount_kernel_filesystems() {
  local type folder
  while read -r type folder; do
    if [[ $(stat -f -c %T "$folder" 2>/dev/null) != "$type"* ]]; then
      say "Mounting $type on $folder"
      mount -t "$type" "$type" "$folder"
    fi
  done <<<'tracefs /sys/kernel/tracing
bpf /sys/fs/bpf'
}

build() {
  local preset=$1 log=$tinybpf_root/build/$1.log
  say "Building in build/$preset"
  mkdir -p "$tinybpf_root/build"
  (
    cd "$tinybpf_root" || exit
    if ! cmake --preset "$preset" >"$log" 2>&1; then
      cat "$log"
      exit 1
    fi
    cmake --build --preset "$preset"
  ) >&2
}
