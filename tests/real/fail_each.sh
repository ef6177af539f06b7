#!/bin/bash
# fail_each.sh NTMM EXAMPLES: the example driver under --fail-each handles every failure; its shards add up; an interrupted campaign goes
# on; a key replays; bad arguments are named.
set -u
ntmm=$1; sys=$2/ramdisk.sys
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
failed=0
check() { # check WORDS COMMAND...: the command succeeds
    local words=$1; shift
    if ! "$@"; then echo "FAILED: $words"; failed=1; fi
}
requests=(--ioctl 0x7200e --in 0000000000020000 --out-size 512 --ioctl 0x72018 --in 00002000)
"$ntmm" run "$sys" "${requests[@]}" --fail-each >"$dir/whole" 2>&1; status=$?
check "every failure is handled (exit 0): $(tail -1 "$dir/whole")" test $status = 0
keys() { grep -ohE '^ +[0-9a-f]{16}(-[0-9a-f]{16})*$' "$@" | sort; }
stacks() { grep -ohE '[0-9a-f]{16}$' "$@" | sort -u; } # shards that reach one stack after different failures try it each
check "ten points and more" test "$(keys "$dir/whole" | wc -l)" -ge 10
for shard in 1 2 3; do "$ntmm" run "$sys" "${requests[@]}" --fail-each --shard $shard/3 >"$dir/shard$shard" 2>&1; done
check "three shards are the whole" diff <(stacks "$dir/whole") <(stacks "$dir"/shard[123])
"$ntmm" run "$sys" "${requests[@]}" --fail-each --state "$dir/state" >/dev/null 2>&1
head -n $(($(wc -l <"$dir/state") - 3)) "$dir/state" >"$dir/cut"; printf '{"done":"0' >>"$dir/cut"
"$ntmm" run "$sys" "${requests[@]}" --fail-each --state "$dir/cut" >"$dir/resumed" 2>&1
check "resumed with three runs" grep -q " in 3 runs" "$dir/resumed"
check "resumed finds the same" diff <(keys "$dir/whole") <(keys "$dir/resumed")
key=$(keys "$dir/whole" | head -1)
"$ntmm" run "$sys" "${requests[@]}" --fail-at $key >"$dir/replay" 2>&1
check "the replay refuses one request and is clean" test $? = 0
check "the replay says so" grep -q "1 of 1 refused" "$dir/replay"
"$ntmm" run "$sys" "${requests[@]}" --fail-each --json 2>/dev/null | python3 -c 'import json, sys; r = json.load(sys.stdin); sys.exit(not (r["handled"] == len(r["points"]) >= 10))'
check "the JSON has the points" test $? = 0
"$ntmm" run "$sys" --fail-each --state "$dir/cut" >"$dir/other" 2>&1; status=$?
check "another campaign's state is refused" test $status = 2 -a -n "$(grep -F "$dir/cut" "$dir/other")"
for bad in "--fail-each --shard 4/3" "--shard 1/2" "--fail-at 12" "--fail-each --jobs 0" "--fail-each --no-fork"; do
    "$ntmm" run "$sys" $bad >"$dir/bad" 2>&1; status=$?
    check "$bad is refused with a sentence: $(cat "$dir/bad")" test $status = 2 -a "$(wc -l <"$dir/bad")" = 1
done
exit $failed
