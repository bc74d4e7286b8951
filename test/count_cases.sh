# shellcheck shell=bash disable=SC2034
# Sourced by what runs test programs. Each leaves a report of its cases (see main.cpp); a case that started and did not
# pass has failed, also where it never ended. A program that failed without a failed case of its own (a leak found at
# its end, a timeout) counts as one. So does a test without a report, which is no Boost.Test program.

passed=0 failed=0 skipped=0

# count_cases REPORT OUTCOME: adds the cases of a test program that ended well (OUTCOME is ok) or did not, and names
# those that were skipped or failed.
count_cases() {
  local report=$1 outcome=$2 failed_here
  if [[ -e $report ]]; then
    failed_here=$(($(count_lines started) - $(count_lines passed)))
    passed=$((passed + $(count_lines passed)))
    skipped=$((skipped + $(count_lines skipped)))
    grep '^skipped ' "$report" || true
    awk '/^started / { open[substr($0, 9)] } /^passed / { delete open[substr($0, 8)] }
      END { for (name in open) print "failed " name }' "$report" | sort
    if [[ $outcome != ok && $failed_here -eq 0 ]]; then
      failed_here=1
    fi
    failed=$((failed + failed_here))
  elif [[ $outcome == ok ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
}

# Of count_cases.
count_lines() { grep -c "^$1 " "$report" || true; }

print_counts() { echo "$passed passed, $failed failed, $skipped skipped"; }
