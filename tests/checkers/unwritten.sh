#!/bin/bash
# unwritten.sh PROGRAM: under the memory sanitizer each use of memory that nobody wrote, or that was given back, is reported at its line
# with the origin of the bytes; what was written where the sanitizer does not look, by assembly, the host's kernel, a device, through
# another address of the same memory, is not.
set -u
program=$1 failed=0 source=$(dirname "$0")/unwritten.c
there=$(mktemp -d); trap 'rm -rf "$there"' EXIT
fail() { echo "FAILED: $1"; head -40 <<<"$out"; failed=1; }
out=$(NTMM_OPTIONS="ram=32M,pagefile=$there/page:64M:128M,drive=$there" timeout 120 "$program" good 2>&1); status=$?
[ $status = 0 ] && [ "$(tail -1 <<<"$out")" = good ] || fail "the correct program is accused (exit $status)"
use=$(grep -n '/\* the line \*/' "$source" | cut -d: -f1)
reported() { # reported KIND LINE ORIGIN
    grep -q "WARNING: MemorySanitizer: use-of-uninitialized-value" <<<"$out" || fail "$1: not reported (exit $status)"
    grep -q "unwritten\.c:$2" <<<"${out%%was *}" || fail "$1: not at line $2"
    [ -z "$3" ] || grep -q "unwritten\.c:$3" <<<"${out#*was }" || fail "$1: the origin is not line $3"
}
for kind in pool with-tag paged large list paged-list list-again contiguous copied freed page-freed list-freed; do
    out=$(timeout 60 "$program" $kind 2>&1); status=$?
    case $kind in
        page-freed) origin=$(grep -n '/\* made: .*\bfreed\b' "$source" | cut -d: -f1) ;;
        list-freed) origin= ;;
        *) origin=$(grep -nE "/\* made: (.* )?$kind( .*)?\*/" "$source" | cut -d: -f1) ;;
    esac
    reported $kind "$use" "$origin"
done
for kind in pool paged; do # each block in pages of its own
    out=$(NTMM_OPTIONS=verifier=special_pool timeout 60 "$program" $kind 2>&1); status=$?
    reported "$kind, special pool" "$use" "$(grep -n "/\* made: $kind \*/" "$source" | cut -d: -f1)"
done
out=$(timeout 60 "$program" local 2>&1); status=$?
reported local "$use" "" && { grep -q "in the stack frame of function 'Sin'" <<<"$out" || fail "local: no origin"; }
out=$(timeout 60 "$program" argument 2>&1); status=$?
reported argument "$(grep -n '/\* passed: argument' "$source" | cut -d: -f1)" ""
out=$(timeout 60 "$program" event 2>&1); status=$?
grep -q "MemorySanitizer: use-of-uninitialized-value" <<<"$out" && grep -q "in the stack frame of function 'Header'" <<<"$out" ||
    fail "event: the kernel used an event that nobody initialised, and nothing was said"
exit $failed
