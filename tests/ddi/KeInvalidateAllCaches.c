/*
 * KeInvalidateAllCaches.c - small routines of the kernel and of the file system library: caches, IRQL by other names, locks that the system
 * makes. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <ntifs.h>
#include "tag_kit.h"

/* "Callers ... IRQL <= DISPATCH_LEVEL." KeInvalidateRangeAllCaches: a pointer and a size in bytes; both return when the flush is done. */
static void KeInvalidateAllCaches_UpToDispatchLevel(void **State)
{
    ULONG64 Line[8] = {1, 2, 3};
    KIRQL Old;
    (void)State;
    (void)KeInvalidateAllCaches();
    KeInvalidateRangeAllCaches(Line, sizeof Line);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    (void)KeInvalidateAllCaches();
    KeInvalidateRangeAllCaches(Line, sizeof Line);
    KeLowerIrql(Old);
    assert_int_equal(Line[2], 3);
}

static void InvalidateAll(void *Level)
{
    KIRQL Old;
    KeRaiseIrql((KIRQL)(ULONG_PTR)Level, &Old);
    (void)KeInvalidateAllCaches();
}
static void InvalidateRange(void *Level)
{
    KIRQL Old;
    KeRaiseIrql((KIRQL)(ULONG_PTR)Level, &Old);
    KeInvalidateRangeAllCaches(&Old, sizeof Old);
}
static void KeInvalidateAllCaches_AboveDispatchLevel_Stops(void **State)
{
    (void)State;
    ExpectStop(InvalidateAll, (void *)(ULONG_PTR)(DISPATCH_LEVEL + 1), DRIVER_VERIFIER_DETECTED_VIOLATION, 0xE5,
               DISPATCH_LEVEL + 1, 0, 0);
    ExpectStop(InvalidateRange, (void *)(ULONG_PTR)HIGH_LEVEL, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xE5, HIGH_LEVEL, 0, 0);
}

/* "returns the preferred alignment, in bytes, for memory structures that can be shared by more than one processor"; any level. */
static void KeGetRecommendedSharedDataAlignment_IsACacheLine(void **State)
{
    KIRQL Old;
    (void)State;
    ULONG Bytes = KeGetRecommendedSharedDataAlignment();
    assert_int_equal(Bytes, SYSTEM_CACHE_ALIGNMENT_SIZE);
    assert_int_equal(Bytes & (Bytes - 1), 0);
    KeRaiseIrql(HIGH_LEVEL, &Old);
    ULONG Raised = KeGetRecommendedSharedDataAlignment();
    KeLowerIrql(Old);
    assert_int_equal(Raised, Bytes);
    assert_int_equal(KeGetDcacheFillSize(), 1);
}

/* KzRaiseIrql: "The original (unraised) IRQL value to be used in a subsequent call to KzLowerIrql"; "same as the KeRaiseIrql function". */
static void KzRaiseIrql_IsKeRaiseIrql(void **State)
{
    (void)State;
    KIRQL First = KzRaiseIrql(APC_LEVEL);
    KIRQL Second = KzRaiseIrql(HIGH_LEVEL);
    KIRQL At = KeGetCurrentIrql();
    KzLowerIrql(Second);
    KIRQL After = KeGetCurrentIrql();
    KzLowerIrql(First);
    assert_int_equal(First, PASSIVE_LEVEL);
    assert_int_equal(Second, APC_LEVEL);
    assert_int_equal(At, HIGH_LEVEL);
    assert_int_equal(After, APC_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void RaiseDown(void *Unused)
{
    (void)Unused;
    (void)KzRaiseIrql(DISPATCH_LEVEL);
    (void)KzRaiseIrql(APC_LEVEL);
}
static void KzRaiseIrql_Down_Stops(void **State)
{
    (void)State;
    ExpectStop(RaiseDown, NULL, DRIVER_VERIFIER_DETECTED_VIOLATION, 0x30, DISPATCH_LEVEL, APC_LEVEL, 0);
}

/* FsRtlAllocateAePushLock: "a pointer to the allocated and initialized auto-expand push lock"; "the system associates the pool tag with the
 * allocated memory"; FsRtlFreeAePushLock deallocates it. */
static void FsRtlAllocateAePushLock_InPoolOfThatTag(void **State)
{
    static const POOL_TYPE Types[] = {NonPagedPoolNx, PagedPool};
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Types); Index++) {
        PVOID Lock = FsRtlAllocateAePushLock(Types[Index], 'kLeA');
        assert_non_null(Lock);
        assert_int_equal(KitTagUse('kLeA').Blocks, 1);
        FsRtlFreeAePushLock(Lock);
        assert_int_equal(KitTagUse('kLeA').Blocks, 0);
    }
}

/* FsRtlAllocateResource is "obsolete, but is exported to support existing driver binaries": what it gives can be acquired. */
static void FsRtlAllocateResource_CanBeAcquired(void **State)
{
    PERESOURCE First = FsRtlAllocateResource(), Second = FsRtlAllocateResource();
    (void)State;
    assert_non_null(First);
    assert_non_null(Second);
    assert_ptr_not_equal(First, Second);
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceExclusiveLite(First, TRUE));
    assert_true(ExAcquireResourceSharedLite(Second, FALSE));
    assert_true(ExIsResourceAcquiredExclusiveLite(First));
    ExReleaseResourceLite(Second);
    ExReleaseResourceLite(First);
    KeLeaveCriticalRegion();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(KeInvalidateAllCaches_UpToDispatchLevel),
        cmocka_unit_test(KeInvalidateAllCaches_AboveDispatchLevel_Stops),
        cmocka_unit_test(KeGetRecommendedSharedDataAlignment_IsACacheLine),
        cmocka_unit_test(KzRaiseIrql_IsKeRaiseIrql),
        cmocka_unit_test(KzRaiseIrql_Down_Stops),
        cmocka_unit_test(FsRtlAllocateAePushLock_InPoolOfThatTag),
        cmocka_unit_test(FsRtlAllocateResource_CanBeAcquired),
    };
    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
