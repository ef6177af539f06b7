/*
 * revoke.c - revocable translations: what a thread that denies them meets, what HalRevokeTb forgets, and what it costs.
 * SPDX-License-Identifier: MIT
 */
#include "hal/kit.h"
#include <pthread.h>
#if !KIT_SCRIPTED
#include "hal/linux/tlb.h"
#define CHECK() assert_ptr_equal(HalpValidateTb(), NULL)
#else
#define CHECK() ((void)0)
#endif

#define REVOCABLE (KIT_RW | HAL_PTE_REVOCABLE)

static VOID Refuse(HAL_TRAP_FRAME *Frame)
{
    KitRefuse(Frame);
}

static void Denied_AccessFaultsThoughTheTablesAllowIt(void **State)
{
    ULONG64 Value;
    (void)State;
    KitMap(KitVa(0), KIT_DATA, REVOCABLE);
    KitMap(KitVa(1), KIT_DATA + 1, KIT_RW);
    KitWrite(KitVa(0), 1); /* allowed until denied */
    KitOnFault = Refuse;
    HalDenyRevocable(TRUE);
    assert_true(KitTryRead(KitVa(0), &Value)); /* cached: it stands until revoked */
    assert_int_equal(HalRevokeTb(), 1);
    assert_false(KitTryRead(KitVa(0), &Value));
    assert_int_equal(Kit.Last.FaultAddress, KitVa(0));
    assert_int_equal(Kit.Last.ErrorCode & HALP_FAULT_PROTECTION, 0);
    assert_false(KitTryWrite(KitVa(0) + 8, 2));
    assert_int_equal(Kit.Last.ErrorCode & (HALP_FAULT_PROTECTION | HALP_FAULT_WRITE), HALP_FAULT_WRITE);
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 2, 0), STATUS_SUCCESS); /* no hint loads it either */
    assert_false(KitTryRead(KitVa(0), &Value));
    ULONG Faults = Kit.Count;
    assert_true(KitTryWrite(KitVa(1), 3)); /* others are not concerned */
    HalDenyRevocable(FALSE);
    assert_true(KitTryRead(KitVa(0), &Value));
    assert_int_equal(Value, 1);
    assert_int_equal(Kit.Count, Faults); /* came back without the core */
    CHECK();
}

static void Revoke_ForgetsJustTheRevocable(void **State)
{
    HAL_TB_STATISTICS Before, After;
    (void)State;
    for (ULONG i = 0; i < 64; i++) { /* no two neighbours in order, every third one revocable */
        KitMap(KitVa(2 * i), KIT_DATA + 3 * i, i % 3 == 0 ? REVOCABLE : KIT_RW);
        KitWrite(KitVa(2 * i), i);
    }
    assert_int_equal(HalRevokeTb(), 22);
    assert_int_equal(HalRevokeTb(), 0);
    CHECK();
    HalQueryTb(&Before);
    for (ULONG i = 0; i < 64; i++) {
        assert_int_equal(KitRead(KitVa(2 * i)), i);
    }
    HalQueryTb(&After);
    assert_int_equal(After.Faults - Before.Faults, 22);
    assert_int_equal(HalRevokeTb(), 22);
    /* runs: neighbours that came with one fault or one hint go together */
    for (ULONG i = 0; i < 32; i++) {
        KitMap(KitVa(512 + i), KIT_DATA + 512 + i, REVOCABLE | KIT_A | KIT_D);
    }
    KitMap(KitVa(544), KIT_DATA + 544, KIT_RW | KIT_A | KIT_D); /* goes on in frames, but is of the other kind */
    assert_int_equal(HalFillTb((PVOID)KitVa(512), 33, 0), STATUS_SUCCESS);
    KitWrite(KitVa(544), 7);
    CHECK();
    assert_int_equal(HalRevokeTb(), 32);
    HalQueryTb(&Before);
    assert_int_equal(KitRead(KitVa(544)), 7);
    HalQueryTb(&After);
    assert_int_equal(After.Faults, Before.Faults);
    CHECK();
}

static void Revoke_AfterFlushSplitAndEviction_ChainIsRight(void **State)
{
    (void)State;
    KitStop();
    KitStart(2048, 64);
    for (ULONG i = 0; i < 32; i++) {
        KitMap(KitVa(512 + i), KIT_DATA + 512 + i, REVOCABLE | KIT_A | KIT_D);
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(512), 32, 0), STATUS_SUCCESS);
    HalFlushTb((PVOID)KitVa(520), 4); /* a hole in the middle of a run */
    CHECK();
    assert_int_equal(HalRevokeTb(), KIT_SCRIPTED ? 12 : 28); /* the double takes a quarter of its entries as a hint: 16 */
    for (ULONG i = 0; i < 400; i++) {                        /* more than are kept: some are replaced */
        KitMap(KitVa(1024 + i), KIT_DATA + (i * 7) % 2000, i & 1 ? REVOCABLE : KIT_RW);
        KitWrite(KitVa(1024 + i), i);
    }
    CHECK();
    ULONG64 Pages = HalRevokeTb();
    assert_true(Pages > 0 && Pages <= 64);
    assert_int_equal(HalRevokeTb(), 0);
    CHECK();
}

static void Pinned_IsNotRevocable(void **State)
{
    ULONG64 Value;
    (void)State;
    KitMap(KitVa(0), KIT_DATA, REVOCABLE);
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 1, HAL_FILL_PINNED), STATUS_SUCCESS);
    HalDenyRevocable(TRUE);
    assert_int_equal(HalRevokeTb(), 0);
    assert_true(KitTryWrite(KitVa(0), 5));
    assert_true(KitTryRead(KitVa(0), &Value));
    HalDenyRevocable(FALSE);
    CHECK();
}

/* Other threads are as they were: a revocation costs them a fill, which no core sees. */
static volatile LONG Turn;
static void *Other(void *Argument)
{
    static int Slot;
    ULONG64 Sum = 0;
    (void)Argument;
    HalSetCurrentThread(&Slot);
    for (ULONG i = 0; i < 200; i++) {
        Sum += KitRead(KitVa(i % 8));
        __atomic_store_n(&Turn, (LONG)i + 1, __ATOMIC_SEQ_CST);
    }
    HalSetCurrentThread(NULL);
    return (void *)Sum;
}

static void Denied_OtherThreadsAreNot(void **State)
{
    pthread_t Thread;
    void *Sum;
    (void)State;
    for (ULONG i = 0; i < 8; i++) {
        KitMap(KitVa(i), KIT_DATA + 2 * i, REVOCABLE);
        KitWrite(KitVa(i), 1);
    }
    HalDenyRevocable(TRUE);
    Turn = 0;
    assert_int_equal(pthread_create(&Thread, NULL, Other, NULL), 0);
    while (__atomic_load_n(&Turn, __ATOMIC_SEQ_CST) < 200) {
        HalRevokeTb();
    }
    pthread_join(Thread, &Sum);
    HalDenyRevocable(FALSE);
    assert_int_equal((ULONG64)Sum, 200);
    assert_int_equal(Kit.Count, 0);
    CHECK();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Denied_AccessFaultsThoughTheTablesAllowIt),
        KIT_TEST(Revoke_ForgetsJustTheRevocable),
        KIT_TEST(Revoke_AfterFlushSplitAndEviction_ChainIsRight),
        KIT_TEST(Pinned_IsNotRevocable),
        KIT_TEST(Denied_OtherThreadsAreNot),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
