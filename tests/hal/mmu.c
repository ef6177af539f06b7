/* mmu.c - points 3, 4 and 6 of the contract: the tables are walked, bits are set, flushes forget. SPDX-License-Identifier: MIT */
#include "hal/kit.h"

#define BASE 100u

static VOID Refuse(HAL_TRAP_FRAME *Frame)
{
    KitRefuse(Frame);
}

static void Walk_PresentPage_ReadsAndWritesItsFrame(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA + 7, KIT_RW);
    KitFrame(KIT_DATA + 7)[3] = 0x1234567;
    assert_int_equal(KitRead(KitVa(BASE) + 24), 0x1234567);
    KitWrite(KitVa(BASE) + 32, 0x89ABC);
    assert_int_equal(KitFrame(KIT_DATA + 7)[4], 0x89ABC);
    assert_int_equal(Kit.Count, 0);
}

static void Walk_DemandZero_UpcallMapsAndTheAccessGoesOn(void **State);
static VOID MapAtFault(HAL_TRAP_FRAME *Frame)
{
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA + 20, KIT_RW);
}
static void Walk_DemandZero_UpcallMapsAndTheAccessGoesOn(void **State)
{
    (void)State;
    KitOnFault = MapAtFault;
    KitWrite(KitVa(BASE + 1) + 8, 42);
    assert_int_equal(Kit.Count, 1);
    assert_int_equal(Kit.Last.Vector, 14);
    assert_int_equal(Kit.Last.FaultAddress, KitVa(BASE + 1) + 8);
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE);
    assert_int_equal(KitFrame(KIT_DATA + 20)[1], 42);
}

static void Errors_ComeFromTheWalk(void **State)
{
    (void)State;
    ULONG64 Value;
    KitOnFault = Refuse;
    assert_false(KitTryRead(KitVa(BASE), &Value));
    assert_int_equal(Kit.Last.ErrorCode, 0);
    assert_false(KitTryWrite(KitVa(BASE), 1));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE);
    assert_false(KitTryFetch(KitVa(BASE)));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_FETCH);
    KitMap(KitVa(BASE), KIT_DATA, KIT_P | KIT_NX);
    assert_true(KitTryRead(KitVa(BASE), &Value));
    assert_false(KitTryWrite(KitVa(BASE), 1));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE | HALP_FAULT_PROTECTION);
    assert_false(KitTryFetch(KitVa(BASE)));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_FETCH | HALP_FAULT_PROTECTION);
    assert_int_equal(Kit.Count, 5);
}

static void Flush_UntilThen_TheOldFrameIsSeen(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    KitFrame(KIT_DATA)[0] = 1;
    KitFrame(KIT_DATA + 1)[0] = 2;
    assert_int_equal(KitRead(KitVa(BASE)), 1);
    KitMap(KitVa(BASE), KIT_DATA + 1, KIT_RW);
    assert_int_equal(KitRead(KitVa(BASE)), 1);
    HalFlushTb((PVOID)KitVa(BASE), 1);
    assert_int_equal(KitRead(KitVa(BASE)), 2);
}

static int Start(void **State)
{
    (void)State;
    KitStart(1024, 0);
    return 0;
}
static int Stop(void **State)
{
    (void)State;
    KitStop();
    return 0;
}
#define T(Name) cmocka_unit_test_setup_teardown(Name, Start, Stop)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        T(Walk_PresentPage_ReadsAndWritesItsFrame),
        T(Walk_DemandZero_UpcallMapsAndTheAccessGoesOn),
        T(Errors_ComeFromTheWalk),
        T(Flush_UntilThen_TheOldFrameIsSeen),
    };
    return cmocka_run_group_tests_name("hal.mmu", Tests, NULL, NULL);
}
