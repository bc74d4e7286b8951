#!/usr/bin/env bash
# Builds the tests and runs them all, as root against the running kernel.
# Installs the packages that are missing (Debian 12), and mounts tracefs and bpffs where they are missing.
#
#   run_tests.sh [PRESET [CTEST OPTION...]]
#
# PRESET is one of CMakePresets.json, "release" if none is given. The last line counts test cases, not test programs:
# "N passed, N failed, N skipped". Fails if a case failed, or if none ran.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../cmake/bootstrap.sh"
source "$(dirname "${BASH_SOURCE[0]}")/count_cases.sh"

preset=${1:-release}
shift || true

need_root "load BPF programs"
install_packages "${tinybpf_packages[@]}" libboost-test1.81-dev systemtap-sdt-dev
mount_kernel_filesystems
build "$preset"

say "Running the tests in build/$preset"
cd "$tinybpf_root"
reports=$tinybpf_root/build/$preset/test-reports
results=$reports/ctest.xml
rm -rf "$reports"
mkdir -p "$reports"
ctest_status=0
ctest --preset "$preset" --parallel "$(nproc)" --output-junit "$results" "$@" || ctest_status=$?

while read -r name status; do
  [[ $status == run ]] && status=ok
  count_cases "$reports/$name" "$status"
done < <(sed -n 's/^.*<testcase name="\([^"]*\)".* status="\([^"]*\)".*$/\1 \2/p' "$results")

# Of a part of the tests it would have holes.
if (($# == 0)) && [[ -x build/$preset/test/feature_table ]]; then
  "build/$preset/test/feature_table" "$reports"
fi
print_counts
((ctest_status == 0 && failed == 0 && passed > 0))
