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

# Each test program leaves a report of its cases (see main.cpp); a case that started and did not pass has failed, also
# where it never ended. A program that failed without a failed case of its own (a leak found at its end, a timeout)
# counts as one. So does a test without a report, which is no Boost.Test program.
passed=0 failed=0 skipped=0
count() { grep -c "^$1 " "$report" || true; }
while read -r name status; do
  report=$reports/$name
  if [[ -e $report ]]; then
    failed_here=$(($(count started) - $(count passed)))
    passed=$((passed + $(count passed)))
    skipped=$((skipped + $(count skipped)))
    grep '^skipped ' "$report" || true
    if [[ $status != run && $failed_here -eq 0 ]]; then
      failed_here=1
    fi
    failed=$((failed + failed_here))
  elif [[ $status == run ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
done < <(sed -n 's/^.*<testcase name="\([^"]*\)".* status="\([^"]*\)".*$/\1 \2/p' "$results")

echo "$passed passed, $failed failed, $skipped skipped"
((ctest_status == 0 && failed == 0 && passed > 0))
