#!/bin/bash
# races.sh PROGRAM: under the thread sanitizer, memory that goes through the pools, lookaside lists, S-lists, special pool and secure
# pools from one thread to another is not accused; two threads in one block, and a thread that writes to a block that it gave back, are.
set -u
program=$1 failed=0
export TSAN_OPTIONS="halt_on_error=1 exitcode=66 history_size=7"
run() { out=$(setarch "$(uname -m)" -R timeout 60 "$program" "$@" 2>&1); status=$?; }
for kind in npaged paged page large npaged-list paged-list ex-list s-list secure; do
    run $kind
    [ $status = 0 ] || { echo "FAILED: $kind: exit $status"; head -60 <<<"$out"; failed=1; }
    [ $kind != secure ] || continue # nobody writes to it but the library
    for sin in shared late; do
        run $kind $sin
        [ $status = 66 ] && grep -q "WARNING: ThreadSanitizer: data race" <<<"$out" && grep -q "handover.c" <<<"$out" ||
            { echo "FAILED: $kind $sin: not reported (exit $status)"; head -60 <<<"$out"; failed=1; }
    done
done
for options in verifier=0x1 verifier=none special_pool_rate=1000000,special_pool_sample=1; do
    for kind in npaged paged large ex-list; do
        NTMM_OPTIONS=$options run $kind
        [ $status = 0 ] || [ $status = 3 ] || { echo "FAILED: $kind with $options: exit $status"; head -60 <<<"$out"; failed=1; }
    done
done
exit $failed
