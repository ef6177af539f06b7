#!/bin/bash
# check.sh KIND PROGRAM: the library under a memory checker (asan: the program is built with it, the library in the presets asan and
# asan-clang too; valgrind): overruns, uses after free and uses of a lookaside list's free entries are reported by the checker at the
# line, with the block; a correct program is not accused.
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
sins="overrun freed ex-list" # valgrind is slow
[ "$kind" = valgrind ] || sins="$sins large-overrun large-freed npaged-list paged-overrun paged-freed paged-list"
for sin in $sins; do
    out=$(run $sin); status=$?
    [ $status != 0 ] || { echo "FAILED: $sin ends with 0"; failed=1; }
    expect "$sin: the line" "overrun\.c:$line" "$out"
    case $sin in large*) size="9000|9,000" ;; *) size=44 ;; esac
    if [ "$kind" = valgrind ]; then
        expect "$sin" "Invalid write of size 1" "$out"
        case $sin in
            *overrun) expect "$sin: the block" "is 1 bytes after a block of size ${size#*|} alloc'd" "$out" ;;
            *freed) expect "$sin: the block" "bytes inside a block of size ${size#*|} free'd" "$out" ;;
            *) expect "$sin: the block" "bytes inside a block of size 44 alloc'd" "$out" ;;
        esac
    else
        expect "$sin" "ERROR: AddressSanitizer: use-after-poison" "$out"
        case $sin in *overrun) stop=6 ;; *) stop=5 ;; esac
        expect "$sin: the stop" "^\\*\\*\\* STOP: 0x000000D$stop \\(0x[0-9A-F]{16},0x0000000000000001," "$out"
        expect "$sin: the block's history" "pool block: .* ($size) bytes, tag 'Test'" "$out"
        case $sin in *list) expect "$sin: said so" "free in a lookaside list" "$out" ;; esac
    fi
done
exit $failed
