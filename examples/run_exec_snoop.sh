#!/usr/bin/env bash
# Builds exec_snoop and runs it with the arguments given here: one line for every program started on this machine.
# Installs the packages that are missing (Debian 12), and mounts tracefs and bpffs where they are missing.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"

need_root "load BPF programs"
install_packages "${tinybpf_packages[@]}"
mount_kernel_filesystems
build examples

say "Running build/examples/examples/exec_snoop $*"
exec "$tinybpf_root/build/examples/examples/exec_snoop" "$@"
