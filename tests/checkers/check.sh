#!/bin/bash
# check.sh KIND PROGRAM: a plain build of the library under a memory checker (asan: the program is built with it; valgrind): an overrun
# and a use after free are reported by the checker at the line, with the block; a correct program is not accused.
set -u
kind=$1 program=$2 failed=0
line=$(grep -n "the line" "$(dirname "$0")/overrun.c" | cut -d: -f1)
run() {
    if [ "$kind" = valgrind ]; then
        valgrind -q --error-exitcode=9 --vex-iropt-register-updates=allregs-at-mem-access "$program" "$@" 2>&1
    else
        "$program" "$@" 2>&1
    fi
}
expect() { # expect WORDS PATTERN TEXT
    grep -qE -- "$2" <<<"$3" || { echo "FAILED: $1: \"$2\" is not in:"; echo "$3"; failed=1; }
}
out=$(run $([ "$kind" = valgrind ] && echo plain || echo good)); status=$?
[ $status = 0 ] && [ "$(tail -1 <<<"$out")" = good ] || { echo "FAILED: the correct program is accused (exit $status):"; echo "$out"; failed=1; }
for sin in overrun freed; do
    out=$(run $sin); status=$?
    [ $status != 0 ] || { echo "FAILED: $sin ends with 0"; failed=1; }
    expect "$sin: the line" "overrun\.c:$line" "$out"
    if [ "$kind" = valgrind ]; then
        expect "$sin" "Invalid write of size 1" "$out"
        if [ $sin = overrun ]; then expect "$sin: the block" "is 1 bytes after a block of size 44 alloc'd" "$out"
        else expect "$sin: the block" "is 40 bytes inside a block of size 44 free'd" "$out"; fi
    else
        expect "$sin" "ERROR: AddressSanitizer: use-after-poison" "$out"
        if [ $sin = overrun ]; then expect "$sin: the stop" '^\*\*\* STOP: 0x000000D6 \(0x[0-9A-F]{16},0x0000000000000001,' "$out"
        else expect "$sin: the stop" '^\*\*\* STOP: 0x000000D5 \(0x[0-9A-F]{16},0x0000000000000001,' "$out"; fi
        expect "$sin: the block's history" "pool block: .* 44 bytes, tag 'Test'" "$out"
    fi
done
exit $failed
