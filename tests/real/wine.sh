#!/bin/bash
# wine.sh NTMM DIR: the WDM driver tests of Debian's wine source package, written against Windows, built where this runs
# and loaded by `ntmm run`. driver2, driver3 and driver_pnp must come up clean; driver as far as it can, with what is
# missing listed by name. Exit 77: the source cannot be had here.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
ntmm=$1
dir=$2
(cd "$top" && scripts/fetch-wine-drivers "$dir") || exit $?
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/c/windows"
touch "$work/c/windows/winetest_ntoskrnl_okfile"
status=0
# Their other half, a Windows program, shares this section with them and has made a file for their output.
shared=(--section '\BaseNamedObjects\winetest_ntoskrnl_section=4096' "--drive=$work/c")
run() { # run NAME ARGUMENTS...: leaves the report in $work/NAME and the exit code in $code
    local name=$1; shift
    timeout "${limit:-100}" "$ntmm" run "$dir/$name.sys" "$@" >"$work/$name" 2>&1
    code=$?
}
fail() { echo "$1.sys: $2"; tail -60 "$work/$1"; status=1; }

run driver2
[ $code = 0 ] || fail driver2 "not clean (exit $code)"
# Its DriverEntry refuses on purpose; that must be the only finding.
run driver3
[ $code = 1 ] && grep -q 'DriverEntry returned 0xC0000002' "$work/driver3" && grep -q 'driver3.sys: 1 finding' "$work/driver3" &&
    grep -q 'Everything it allocated was freed' "$work/driver3" || fail driver3 "not clean (exit $code)"
run driver_pnp --pnp 'ROOT\WINETEST' "${shared[@]}"
[ $code = 0 ] || fail driver_pnp "not clean (exit $code)"
# The large one, under the service name that it looks for. Its 0x222004 runs its checks; what they find goes to the file.
cp "$dir/driver.sys" "$dir/WineTestDriver.sys"
run WineTestDriver "${shared[@]}"
[ $code = 0 ] || fail WineTestDriver "not clean (exit $code)"
# It loads driver2 as the service WineTestDriver2, whose file its other half would have named *.tmp.
cp "$dir/driver2.sys" "$work/c/driver2.tmp"
checks=$work/c/windows/winetest_ntoskrnl_okfile
# All of the main test runs; docs/CAVEATS.md has the reasons of the checks that fail. It gives its threads fixed milliseconds to come to a
# wait: on a machine that is busy elsewhere they may be late, and a resource that was then not released holds the rest of it. So it has
# three tries; what is wrong with us is wrong in each.
main_test() {
    : >"$checks"
    why=""
    limit=40 run WineTestDriver --ioctl 0x222004 --in 00000000000000000000000000000000 --out-size 16 "${shared[@]}" \
        --service 'WineTestDriver2=\??\C:\driver2.tmp'
    failures=$(grep -c 'Test failed' "$checks")
    case $code in 0 | 1) ;; *) why="the run itself failed (exit $code)" ;; esac # 1: it never closes a thread's handle
    grep -q '^ioctl 0x00222004.*STATUS_SUCCESS' "$work/WineTestDriver" || why="${why:-its main test did not come to its end}"
    ! grep -q 'are missing' "$work/WineTestDriver" || why="imports are missing"
    [ "$failures" -le 15 ] || why="${why:-$failures of its checks failed; 15 are known}"
    [ -z "$why" ]
}
main_test || main_test || main_test || fail WineTestDriver "$why"
[ $status = 0 ] && echo "driver2, driver3, driver_pnp: clean; driver: loads and unloads clean, runs its main test; $failures of its checks fail:"
cat "$checks"
exit $status
