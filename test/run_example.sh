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

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
output=$folder/output
said=

fail() {
  echo "$*; it printed:"
  cat "$output"
  echo "$said"
  exit 1
}

# What it says is read without starting a program: those that wait for it are seen, too.
mkfifo "$folder/said"
"$@" >"$output" 2>"$folder/said" &
example=$!
exec 3<"$folder/said"
while [[ $said != *Watching* ]]; do
  read -r line <&3 || fail "the example ended before it watched"
  said+=$line$'\n'
done
while kill -0 "$example" 2>/dev/null; do
  /bin/true
done
while read -r line <&3; do
  said+=$line$'\n'
done
wait "$example" || fail "the example failed with status $?"

[[ -s $output ]] || fail "the example saw nothing"
grep -Evq "$regex" "$output" && fail "a line does not match $regex"
grep -q true "$output" || fail "no line tells of /bin/true"
cat "$output"
echo "$said"
