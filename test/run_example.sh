#!/usr/bin/env bash
# Runs an example that watches programs start, starts some meanwhile, and checks what it printed.
#
#   run_example.sh REGEX PROGRAM [ARGUMENT...]
#
# The example has to end by itself, successfully, and every line of its output has to match REGEX, an extended regular
# expression; one of them has to be about /bin/true.
set -euo pipefail

regex=$1
shift

output=$(mktemp)
said=$(mktemp)
trap 'rm -f "$output" "$said"' EXIT

fail() {
  echo "$*; it printed:"
  cat "$output" "$said"
  exit 1
}

"$@" >"$output" 2>"$said" &
example=$!
while ! grep -q Watching "$said"; do
  kill -0 "$example" 2>/dev/null || fail "the example ended before it watched"
done
while kill -0 "$example" 2>/dev/null; do
  /bin/true
done
wait "$example" || fail "the example failed with status $?"

[[ -s $output ]] || fail "the example saw nothing"
grep -Evq "$regex" "$output" && fail "a line does not match $regex"
grep -q true "$output" || fail "no line tells of /bin/true"
cat "$output" "$said"
