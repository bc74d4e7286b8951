# shellcheck shell=bash disable=SC2034
# Sourced by the project's scripts: gets a machine ready to build and to run BPF programs, and says what it does.
#
#   say TEXT                  prints what is being done, in one line; like all that is here, to standard error, so that
#                             standard output is the program's own
#   need_root WHY             ends the script unless it runs as root
#   install_packages PKG...   on Debian: the packages that are missing, and only those; no apt-get where none is
#   mount_kernel_filesystems  tracefs and bpffs, where they are missing
#   unpack_debian FOLDER FIND [ARGUMENT...]
#                             on Debian: downloads packages and unpacks them into FOLDER, without installing them. FIND
#                             is a function that prints their names, and is only called if FOLDER is not there yet
#   fetch_libbpf              puts a newer libbpf than that of the machine into build/libbpf-backports
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

# Packages of this release of Debian and of its backports, from the mirror that the machine itself uses. What apt-get
# needs for that is kept in build/apt: the machine's own sources and lists stay as they are.
declare -a debian_apt=()
prepare_debian_apt() {
  local folder=$tinybpf_root/build/apt codename mirror
  if ! command -v apt-get dpkg >/dev/null; then
    say "Not a Debian system: packages of Debian cannot be downloaded here"
    return 1
  fi
  codename=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016  # $(...) is apt-get's own
  mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    sed -n "s/^$codename main //p" | head -n 1)
  if [[ -z $codename || -z $mirror ]]; then
    say "The sources of apt-get name no mirror of the release '$codename' of Debian"
    return 1
  fi
  mkdir -p "$folder"/{lists,archives}/partial
  printf "deb $mirror %s main\n" "$codename" "$codename-backports" >"$folder/sources.list"
  debian_apt=(
    -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$folder/lists" -o "Dir::Cache=$folder" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root
  )
  apt-get "${debian_apt[@]}" update -qq >&2
}

unpack_debian() {
  local folder=$1 packages package
  shift
  if [[ -d $folder ]]; then
    return
  fi
  prepare_debian_apt || return
  packages=$("$@") || return
  say "Downloading $packages"
  rm -rf "$folder.new"
  mkdir -p "$folder.new/packages"
  # shellcheck disable=SC2086  # several names
  (cd "$folder.new/packages" && apt-get "${debian_apt[@]}" download -qq $packages >&2) || return
  for package in "$folder.new"/packages/*.deb; do
    dpkg -x "$package" "$folder.new" || return
  done
  rm -r "$folder.new/packages"
  mv "$folder.new" "$folder"
}

# For the presets that build with it. It is used where it lies.
fetch_libbpf() {
  local folder=$tinybpf_root/build/libbpf-backports codename
  codename=$(. /etc/os-release && printf %s "${VERSION_CODENAME:-}")
  unpack_debian "$folder" echo "libbpf1/$codename-backports libbpf-dev/$codename-backports" &&
    mkdir -p "$folder/pkgconfig" &&
    sed "s|^prefix=.*|prefix=$folder/usr|" "$folder"/usr/lib/*/pkgconfig/libbpf.pc >"$folder/pkgconfig/libbpf.pc"
}

build() {
  local preset=$1 log=$tinybpf_root/build/$1.log
  if [[ $preset == clang ]]; then
    fetch_libbpf
  fi
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
