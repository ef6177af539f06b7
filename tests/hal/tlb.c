/* tlb.c - the bound on cached translations, pinned fills, hints, flushes of a part. SPDX-License-Identifier:
 * MIT */
#include "hal/kit.h"
#if !KIT_SCRIPTED
#include "hal/linux/tlb.h"
#define CHECK()                                                                                                                \
    do {                                                                                                                       \
        const CHAR *Broken = HalpValidateTb();                                                                                 \
        if (Broken) {                                                                                                          \
            fail_msg("%s", Broken);                                                                                            \
        }                                                                                                                      \
    } while (0)
#else
#define CHECK() ((void)0)
#endif

static VOID Refuse(HAL_TRAP_FRAME *Frame)
{
    KitRefuse(Frame);
}

/* Every frame of the second run at a page of its own, no two neighbours in order. */
static VOID MapScattered(ULONG64 Pages, ULONG64 Bits)
{
    for (ULONG64 i = 0; i < Pages; i++) {
        KitMap(KitVa(i), KIT_DATA + (i * 7919) % Pages, Bits);
    }
}

static void Bound_LargerWorkingSet_IsNeverExceeded(void **State)
{
    (void)State;
    const ULONG64 Pages = 4096;
    HAL_TB_STATISTICS Statistics;
    KitStart(Pages, 512);
    assert_int_equal(HalFacts.TlbEntries, 512);
    MapScattered(Pages, KIT_RW);
    for (ULONG64 i = 0; i < Pages; i++) {
        KitWrite(KitVa(i) + 16, i);
    }
    for (ULONG64 i = 0; i < Pages; i++) {
        assert_int_equal(KitRead(KitVa((i * 5) % Pages) + 16), (i * 5) % Pages);
    }
    HalQueryTb(&Statistics);
    assert_true(Statistics.PeakMappings <= 512);
    assert_true(Statistics.Mappings <= 512);
    assert_true(Statistics.Evictions >= Pages - 512);
    assert_true(Statistics.FilledPages >= Pages);
    assert_true(Statistics.Faults >= Pages);
    assert_int_equal(Kit.Count, 0);
    CHECK();
    KitStop();
}

static void Pinned_StaysUnderPressure_AndSetsBits(void **State)
{
    (void)State;
    HAL_TB_STATISTICS Before, After;
    KitStart(2048, 64);
    for (ULONG i = 0; i < 8; i++) {
        KitMap(KitVa(3000 + i), KIT_DATA + 2000 - 3 * i, KIT_RW | KIT_NX);
    }
    KitMap(KitVa(3008), KIT_DATA + 1900, KIT_P);
    assert_int_equal(HalFillTb((PVOID)KitVa(3000), 9, HAL_FILL_PINNED), STATUS_SUCCESS);
    for (ULONG i = 0; i < 8; i++) {
        assert_int_equal(*KitPte(KitVa(3000 + i)) & (KIT_A | KIT_D), KIT_A | KIT_D);
    }
    assert_int_equal(*KitPte(KitVa(3008)) & (KIT_A | KIT_D), KIT_A);
    MapScattered(1024, KIT_RW);
    for (ULONG i = 0; i < 1024; i++) {
        KitWrite(KitVa(i), i);
    }
    HalFlushEntireTb(); /* pinned translations that are still right stay */
    HalQueryTb(&Before);
    for (ULONG i = 0; i < 8; i++) {
        KitWrite(KitVa(3000 + i), i);
    }
    KitRead(KitVa(3008));
    HalQueryTb(&After);
    assert_int_equal(After.Faults, Before.Faults);
    /* until flushed */
    KitFrame(KIT_DATA)[0] = 123;
    KitMap(KitVa(3000), KIT_DATA, KIT_RW);
    assert_int_not_equal(KitRead(KitVa(3000)), 123);
    HalFlushTb((PVOID)KitVa(3000), 1);
    assert_int_equal(KitRead(KitVa(3000)), 123);
    CHECK();
    KitStop();
}

static void Pinned_EntireFlush_DropsWhatChanged(void **State)
{
    (void)State;
    KitStart(2048, 64);
    KitMap(KitVa(1), KIT_DATA, KIT_RW);
    KitMap(KitVa(2), KIT_DATA + 1, KIT_RW);
    KitFrame(KIT_DATA + 5)[0] = 5;
    assert_int_equal(HalFillTb((PVOID)KitVa(1), 2, HAL_FILL_PINNED), STATUS_SUCCESS);
    KitMap(KitVa(2), KIT_DATA + 5, KIT_RW);
    HalFlushEntireTb();
    assert_int_equal(KitRead(KitVa(2)), 5);
    assert_int_equal(KitRead(KitVa(1)), 0);
    CHECK();
    KitStop();
}

static void Pinned_TooMany_IsNoMemory(void **State)
{
    (void)State;
    HAL_TB_STATISTICS Statistics;
    KitStart(2048, 64);
    MapScattered(1024, KIT_RW);
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 1024, HAL_FILL_PINNED), STATUS_NO_MEMORY);
    ULONG Pinned = 0;
    while (HalFillTb((PVOID)KitVa(Pinned), 1, HAL_FILL_PINNED) == STATUS_SUCCESS) {
        Pinned++;
        assert_true(Pinned < 64);
    }
    assert_true(Pinned >= 32);
    /* and everything else still works */
    for (ULONG i = 0; i < 1024; i++) {
        KitWrite(KitVa(i), i);
    }
    HalQueryTb(&Statistics);
    assert_true(Statistics.PeakMappings <= 64);
    CHECK();
    KitStop();
}

static void Pinned_NotPresent_IsInvalidAddress(void **State)
{
    (void)State;
    KitStart(2048, 0);
    KitMap(KitVa(0), KIT_DATA, KIT_RW);
    KitMap(KitVa(2), KIT_DATA + 2, KIT_RW);
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 3, HAL_FILL_PINNED), STATUS_INVALID_ADDRESS);
    assert_int_equal(HalFillTb((PVOID)(HalFacts.SystemEnd - 4096), 2, HAL_FILL_PINNED), STATUS_INVALID_ADDRESS);
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 0, HAL_FILL_PINNED), STATUS_SUCCESS);
    CHECK();
    KitStop();
}

static void Fill_Hint_LoadsWhatIsPresent(void **State)
{
    (void)State;
    ULONG64 Value;
    HAL_TB_STATISTICS Before, After;
    KitStart(2048, 0);
    for (ULONG i = 0; i < 32; i++) {
        if (i != 9) {
            KitMap(KitVa(i), KIT_DATA + i, KIT_RW | KIT_A | KIT_D);
        }
        KitFrame(KIT_DATA + i)[0] = i;
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 32, 0), STATUS_SUCCESS);
    HalQueryTb(&Before);
    for (ULONG i = 0; i < 32; i++) {
        if (i != 9) {
            assert_int_equal(KitRead(KitVa(i)), i);
            KitWrite(KitVa(i), i);
        }
    }
    HalQueryTb(&After);
    assert_int_equal(After.Faults, Before.Faults);
    KitOnFault = Refuse;
    assert_false(KitTryRead(KitVa(9), &Value));
    CHECK();
    KitStop();
}

/* However the host backs what is to be filled in order, large pages or small: it is zero, is what was written, and parts of it can be
 * given back. */
static void Fill_Wanted_FreshRamIsRamAsAnyOther(void **State)
{
    (void)State;
    KitStart(2048, 512);
    const PFN_NUMBER First = (KIT_DATA + 511) & ~511ull;
    *(ULONG64 *)HalWindow(First + 300) = 300; /* somebody was here before */
    for (ULONG i = 0; i < 512; i++) {
        KitMap(KitVa(i), First + i, KIT_RW);
    }
    for (ULONG i = 0; i < 512; i += 64) {
        assert_int_equal(HalFillTb((PVOID)KitVa(i), 64, HAL_FILL_WANTED), STATUS_SUCCESS);
        for (ULONG Page = i; Page < i + 64; Page++) {
            assert_int_equal(KitRead(KitVa(Page)), Page == 300 ? 300 : 0);
            assert_int_equal(KitRead(KitVa(Page) + 4088), 0);
            KitWrite(KitVa(Page), Page + 1);
        }
        HalFlushTb((PVOID)KitVa(i), 64);
    }
    HalDiscardPages(First + 64, 32);
    HalZeroPages(First + 128, 1);
    for (ULONG Page = 0; Page < 512; Page++) {
        BOOLEAN Gone = (Page >= 64 && Page < 96) || Page == 128;
        assert_int_equal(*(ULONG64 *)HalWindow(First + Page), Gone ? 0 : Page + 1);
        assert_int_equal(KitRead(KitVa(Page)), Gone ? 0 : Page + 1);
    }
    assert_int_equal(Kit.Count, 0);
    CHECK();
    KitStop();
}

static void Flush_OfAPart_KeepsTheRest(void **State)
{
    (void)State;
    HAL_TB_STATISTICS Before, After;
    static const struct {
        ULONG First, Count;
    } Part[] = {{4, 3}, {0, 1}, {15, 1}, {1, 1}, {8, 7}, {20, 12}, {40, 24}, {32, 3}};
    BOOLEAN Flushed[64] = {FALSE};
    KitStart(2048, 0);
    for (ULONG i = 0; i < 64; i++) {
        KitMap(KitVa(i), KIT_DATA + i, KIT_RW | KIT_A | KIT_D);
        KitFrame(KIT_DATA + i)[0] = i;
        KitFrame(KIT_DATA + 1000 + i)[0] = 1000 + i;
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 64, 0), STATUS_SUCCESS);
    for (ULONG i = 0; i < 64; i++) {
        KitMap(KitVa(i), KIT_DATA + 1000 + i, KIT_RW | KIT_A | KIT_D);
    }
    for (ULONG p = 0; p < ARRAYSIZE(Part); p++) {
        HalFlushTb((PVOID)KitVa(Part[p].First), Part[p].Count);
        CHECK();
        for (ULONG i = Part[p].First; i < Part[p].First + Part[p].Count; i++) {
            Flushed[i] = TRUE;
        }
        HalQueryTb(&Before);
        for (ULONG i = 0; i < 64; i++) {
            if (!Flushed[i]) {
                assert_int_equal(KitRead(KitVa(i)), i);
            }
        }
        HalQueryTb(&After);
        assert_int_equal(After.Faults, Before.Faults);
    }
    for (ULONG i = 0; i < 64; i++) {
        assert_int_equal(KitRead(KitVa(i)), Flushed[i] ? 1000 + i : i);
    }
    CHECK();
    KitStop();
}

/* A block of addresses that runs empty again and again: what is mapped there next, also at its first and last page, is what the
 * tables say, and nothing is seen where they say nothing. */
static void Flush_LastOfABlock_AgainAndAgain(void **State)
{
    static const ULONG64 Places[] = {0, 511, 7, 511, 0, 510, 511, 512, 1023, 512, 3};
    (void)State;
    KitStart(64, 64);
    KitOnFault = Refuse;
    for (ULONG64 i = 0; i < 44; i++) {
        ULONG64 Va = KitVa(Places[i / 4]);
        KitMap(Va, KIT_DATA + i % 5, KIT_RW);
        KitWrite(Va, i);
        assert_int_equal(KitRead(Va), i);
        assert_int_equal(*KitFrame(KIT_DATA + i % 5), i);
        KitUnmap(Va);
        HalFlushTb((PVOID)Va, i % 3 ? 1 : 2);
        CHECK();
        for (ULONG Index = 0; i % 4 == 3 && Index < ARRAYSIZE(Places); Index++) {
            ULONG64 Value;
            assert_false(KitTryRead(KitVa(Places[Index]), &Value));
        }
    }
    KitStop();
}

static void Statistics_Count(void **State)
{
    (void)State;
    HAL_TB_STATISTICS S;
    KitStart(2048, 0);
    KitMap(KitVa(0), KIT_DATA, KIT_RW);
    KitMap(KitVa(1000), KIT_DATA + 9, KIT_RW);
    KitWrite(KitVa(0), 1);
    KitWrite(KitVa(1000), 1);
    HalQueryTb(&S);
    assert_int_equal(S.Faults, 2);
    assert_int_equal(S.Fills, 2);
    assert_int_equal(S.FilledPages, 2);
    assert_int_equal(S.Mappings, 2);
    assert_int_equal(S.Evictions, 0);
    HalFlushTb((PVOID)KitVa(0), 1);
    HalFlushTb((PVOID)KitVa(0), 1);
    HalQueryTb(&S);
    assert_int_equal(S.Flushes, 2);
    assert_int_equal(S.FlushedPages, 1);
    assert_int_equal(S.Mappings, 1);
    assert_int_equal(S.PeakMappings, 2);
    KitStop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_teardown(Bound_LargerWorkingSet_IsNeverExceeded, KitTeardown),
        cmocka_unit_test_teardown(Pinned_StaysUnderPressure_AndSetsBits, KitTeardown),
        cmocka_unit_test_teardown(Pinned_EntireFlush_DropsWhatChanged, KitTeardown),
        cmocka_unit_test_teardown(Pinned_TooMany_IsNoMemory, KitTeardown),
        cmocka_unit_test_teardown(Pinned_NotPresent_IsInvalidAddress, KitTeardown),
        cmocka_unit_test_teardown(Fill_Hint_LoadsWhatIsPresent, KitTeardown),
        cmocka_unit_test_teardown(Fill_Wanted_FreshRamIsRamAsAnyOther, KitTeardown),
        cmocka_unit_test_teardown(Flush_OfAPart_KeepsTheRest, KitTeardown),
        cmocka_unit_test_teardown(Flush_LastOfABlock_AgainAndAgain, KitTeardown),
        cmocka_unit_test_teardown(Statistics_Count, KitTeardown),
    };
    return cmocka_run_group_tests_name("hal.tlb", Tests, NULL, NULL);
}
