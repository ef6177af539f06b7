#!/bin/bash
# citizens.sh BUILD WINE: programs and drivers that are right, with everything on, raise nothing that is not a true finding: the example
# driver (binary and source), hidparse.sys, the driver tests of Debian's wine package, and real programs on libntmm_malloc.so. What
# remains is analysed in docs/CITIZENS.md, and expected here to the line: a finding that goes, or comes, fails.
set -u
build=$1 wine=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
ntmm=$build/src/ntmm
# standard (0x209BB: special pool, force IRQL, pool tracking, I/O, deadlock, DMA, security, miscellaneous, DDI compliance), invariant
# MDLs (0x6000), code integrity (0x2000000). Low resources are off: these programs may fail when they are refused.
all=0x20269bb
less_special=0x68ba # and less code integrity, security and DDI compliance checks
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
status=0
fail() { echo "FAILED: $1"; tail -60 "$work/out"; status=1; }
run() { timeout 100 "$@" >"$work/out" 2>&1; }

requests=(--ioctl 0x72004 --in 626f6f74 --write 00112233 --read 4 --offset 0 --ioctl 0x72000 --out-size 16 --ioctl 0x7200e --in 0000000000020000
    --out-size 512 --ioctl 0x72014 --in 0000000000020000 --out-size 4 --ioctl 0x72018 --in 00002000 --repeat 20)
run "$ntmm" run "$build/examples/ramdisk.sys" "${requests[@]}" --verifier=$all && grep -q "Everything it allocated was freed" "$work/out" ||
    fail "the example driver is accused"
NTMM_OPTIONS=verifier=$all run "$build/bench/bench_driver" --scale 1 && ! grep -q STOP "$work/out" || fail "the example driver's source is accused"
if [ -x "$build/tests/test_real.hidparse" ]; then
    NTMM_OPTIONS=verifier=$all run "$build/tests/test_real.hidparse" && ! grep -q STOP "$work/out" || fail "hidparse.sys is accused"
fi

# Real programs: the library has no options to turn on; its checks are on always. What varies is where blocks lie.
library=$build/src/preload/libntmm_malloc.so
if [ -f "$library" ]; then
    text='import json; d = {str(i): list(range(i % 50)) for i in range(3000)}; assert json.loads(json.dumps(d)) == d'
    for seed in 1 2 3; do
        export NTMM_MALLOC_OPTIONS=seed=$seed
        LD_PRELOAD=$library run python3 -c "$text" || fail "python3 on the pools, seed $seed"
        LD_PRELOAD=$library run git -C "$top" log --oneline -5 || fail "git on the pools, seed $seed"
        LD_PRELOAD=$library run sort "$top/src/host/bugchecks.def" || fail "sort on the pools, seed $seed"
    done
    unset NTMM_MALLOC_OPTIONS
fi

(cd "$top" && scripts/fetch-wine-drivers "$wine") >"$work/fetch" 2>&1 || { echo "not looked at: the drivers of wine's source ($(tail -1 "$work/fetch"))"; exit $status; }
drive() { # as its other half would have left it
    rm -rf "$work/c"; mkdir -p "$work/c/windows"; touch "$work/c/windows/winetest_ntoskrnl_okfile"; cp "$wine/driver2.sys" "$work/c/driver2.tmp"
}
drive
shared=(--section '\BaseNamedObjects\winetest_ntoskrnl_section=4096' "--drive=$work/c")
run "$ntmm" run "$wine/driver2.sys" --verifier=$all || fail "driver2.sys is accused"
run "$ntmm" run "$wine/driver3.sys" --verifier=$all # it refuses to start on purpose
grep -q 'driver3.sys: 1 finding' "$work/out" && ! grep -q STOP "$work/out" || fail "driver3.sys is accused"
run "$ntmm" run "$wine/driver_pnp.sys" --pnp 'ROOT\WINETEST' "${shared[@]}" --verifier=$all || fail "driver_pnp.sys is accused"
cp "$wine/driver.sys" "$work/WineTestDriver.sys"
large() {
    drive
    run "$ntmm" run "$work/WineTestDriver.sys" "${shared[@]}" --ioctl 0x222004 --in 00000000000000000000000000000000 --out-size 16 \
        --service 'WineTestDriver2=\??\C:\driver2.tmp' --verifier="$1"
}
large $less_special # it frees an MDL whose page it has locked
grep -q '^\*\*\* STOP: 0x000000CB ' "$work/out" && grep -q 'test_mdl_map' "$work/out" || fail "driver.sys: another finding than the locked page"
large $((less_special & ~8)) # without pool tracking: one thread's handle is never closed
grep -q 'WineTestDriver.sys: 1 finding\.' "$work/out" && grep -q 'create_thread' "$work/out" && ! grep -q STOP "$work/out" ||
    fail "driver.sys: another finding than the handle"
large $((less_special | 0x100)) # it references a NULL handle
grep -q '^\*\*\* STOP: 0x000000C4 (0x00000000000000F5,' "$work/out" && grep -q 'test_ob_reference' "$work/out" || fail "driver.sys: security checks find something else"
large $((less_special | 0x20000)) # it inserts into a device queue at PASSIVE_LEVEL
grep -q '^\*\*\* STOP: 0x000000C4 (0x0000000000020003,' "$work/out" && grep -q 'test_queue' "$work/out" || fail "driver.sys: DDI compliance finds something else"
large $((all & ~0x20000)) # it maps an MDL executable
grep -q '^\*\*\* STOP: 0x000000C4 (0x0000000000002002,' "$work/out" && grep -q 'test_mdl_map' "$work/out" || fail "driver.sys: code integrity finds something else"
large $((less_special | 1)) # it reads behind the last stack location of its packet
grep -q '^\*\*\* STOP: 0x000000D6 ' "$work/out" && grep -q 'completion_ioctl' "$work/out" || fail "driver.sys: special pool finds something else"
exit $status
