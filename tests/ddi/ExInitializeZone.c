/*
 * ExInitializeZone.c - zones, which no page describes any more: what their header says. And the other obsolete forms that have a lock.
 * SPDX-License-Identifier: MIT
 */
#include <string.h>
#include "mm_kit.h"

static DECLSPEC_ALIGN(16) UCHAR First[16 + 4 * 24 + 8], Second[16 + 2 * 24];

static void BadSizes_Refused(void **State)
{
    ZONE_HEADER Zone;
    (void)State;
    assert_int_equal(ExInitializeZone(&Zone, 20, First, sizeof First), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExInitializeZone(&Zone, 0, First, sizeof First), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExInitializeZone(&Zone, 24, First + 4, 64), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExInitializeZone(&Zone, 24, First, 16 + 23), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExInitializeZone(&Zone, 24, First, 8), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExInitializeZone(&Zone, 24, First, 16 + 24), STATUS_SUCCESS);
    assert_int_equal(ExExtendZone(&Zone, Second + 4, 40), STATUS_UNSUCCESSFUL);
    assert_int_equal(ExExtendZone(&Zone, Second, 39), STATUS_UNSUCCESSFUL);
}

/* Every block once, each in its segment and apart from the others; then none. */
static void Blocks_AllOfBothSegments(void **State)
{
    ZONE_HEADER Zone;
    PUCHAR Blocks[6];
    unsigned Index, Other;
    (void)State;
    assert_int_equal(ExInitializeZone(&Zone, 24, First, sizeof First), STATUS_SUCCESS);
    assert_int_equal(Zone.TotalSegmentSize, sizeof First);
    for (Index = 0; Index < 4; Index++) {
        assert_false(ExIsFullZone(&Zone));
        Blocks[Index] = ExAllocateFromZone(&Zone);
        assert_true(ExIsObjectInFirstZoneSegment(&Zone, Blocks[Index]));
        assert_true(Blocks[Index] >= First + 16 && Blocks[Index] + 24 <= First + sizeof First);
    }
    assert_false(ExIsObjectInFirstZoneSegment(&Zone, Second));
    assert_true(ExIsFullZone(&Zone));
    assert_null(ExAllocateFromZone(&Zone));
    assert_int_equal(ExExtendZone(&Zone, Second, sizeof Second), STATUS_SUCCESS);
    assert_int_equal(Zone.TotalSegmentSize, sizeof First + sizeof Second);
    Blocks[4] = ExAllocateFromZone(&Zone);
    Blocks[5] = ExAllocateFromZone(&Zone);
    assert_null(ExAllocateFromZone(&Zone));
    for (Index = 0; Index < 6; Index++)
        for (Other = 0; Other < Index; Other++)
            assert_true(Blocks[Index] + 24 <= Blocks[Other] || Blocks[Other] + 24 <= Blocks[Index]);
    assert_null(ExFreeToZone(&Zone, Blocks[0]));
    assert_ptr_equal(ExFreeToZone(&Zone, Blocks[1]), Blocks[0]);
    assert_ptr_equal(ExAllocateFromZone(&Zone), Blocks[1]);
    assert_ptr_equal(ExAllocateFromZone(&Zone), Blocks[0]);
}

static void Interlocked_SameBlocks(void **State)
{
    ZONE_HEADER Zone;
    KSPIN_LOCK Lock;
    unsigned Index;
    PVOID Block = NULL;
    (void)State;
    KeInitializeSpinLock(&Lock);
    assert_int_equal(ExInitializeZone(&Zone, 24, First, sizeof First), STATUS_SUCCESS);
    assert_int_equal(ExInterlockedExtendZone(&Zone, Second, 16, &Lock), STATUS_UNSUCCESSFUL);
    assert_int_equal(ExInterlockedExtendZone(&Zone, Second, sizeof Second, &Lock), STATUS_SUCCESS);
    assert_int_equal(Zone.TotalSegmentSize, sizeof First + sizeof Second);
    for (Index = 0; Index < 6; Index++) {
        Block = ExInterlockedAllocateFromZone(&Zone, &Lock);
        assert_non_null(Block);
    }
    assert_null(ExInterlockedAllocateFromZone(&Zone, &Lock));
    assert_null(ExInterlockedFreeToZone(&Zone, Block, &Lock));
    assert_ptr_equal(ExInterlockedAllocateFromZone(&Zone, &Lock), Block);
}

/* ExInterlockedCompareExchange64: "If the Destination and Comparand are unequal, [it] simply returns the value of Destination." */
static void CompareExchange64_WithLock(void **State)
{
    LONGLONG Value = 1, New = 5, Old = 2;
    KSPIN_LOCK Lock;
    ULONG Word = 3;
    (void)State;
    KeInitializeSpinLock(&Lock);
    assert_int_equal(ExInterlockedCompareExchange64(&Value, &New, &Old, &Lock), 1);
    assert_int_equal(Value, 1);
    Old = 1;
    assert_int_equal(ExInterlockedCompareExchange64(&Value, &New, &Old, &Lock), 1);
    assert_int_equal(Value, 5);
    assert_int_equal(ExInterlockedExchangeAddLargeInteger(&Value, 7, &Lock), 5);
    assert_int_equal(Value, 12);
    assert_int_equal(ExInterlockedExchangeUlong(&Word, 9, &Lock), 3);
    assert_int_equal(Word, 9);
}

/* PshedAllocateMemory: "allocates a block of memory from the nonpaged pool", NULL without memory; PshedFreeMemory frees it. */
static void Pshed_BlockOfNonPagedPool(void **State)
{
    KIRQL Old;
    PVOID Block = PshedAllocateMemory(100);
    (void)State;
    assert_non_null(Block);
    memset(Block, 1, 100);
    PshedFreeMemory(Block);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Block = PshedAllocateMemory(8);
    assert_non_null(Block);
    PshedFreeMemory(Block);
    KeLowerIrql(Old);
    assert_null(PshedAllocateMemory(0xFFFFFFFF));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(BadSizes_Refused),          cmocka_unit_test(Blocks_AllOfBothSegments),
        cmocka_unit_test(Interlocked_SameBlocks),    cmocka_unit_test(CompareExchange64_WithLock),
        cmocka_unit_test(Pshed_BlockOfNonPagedPool),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
