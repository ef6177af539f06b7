/* linux_tlb.c - the Linux TLB at the host's limits, with threads, against a model. SPDX-License-Identifier:
 * MIT */
#include "hal/kit.h"
#include "hal/linux/tlb.h"
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

static VOID Check(VOID)
{
    const CHAR *Broken = HalpValidateTb();
    if (Broken) {
        fail_msg("%s", Broken);
    }
}
static VOID Refuse(HAL_TRAP_FRAME *Frame)
{
    KitRefuse(Frame);
}
/* Mappings of this process that lie in the kernel's range, as the host counts them. */
static ULONG HostMappings(VOID)
{
    FILE *Maps = fopen("/proc/self/maps", "r");
    char Line[512];
    ULONG Count = 0;
    assert_non_null(Maps);
    while (fgets(Line, sizeof(Line), Maps)) {
        Count += HalIsSystemAddress(strtoull(Line, NULL, 16));
    }
    fclose(Maps);
    return Count;
}

static void Scattered_MorePagesThanTheHostHasMappings_AllWork(void **State)
{
    (void)State;
    const ULONG64 Pages = 66000;
    HAL_TB_STATISTICS S;
    KitStart(Pages + 100, 0);
    for (ULONG64 i = 0; i < Pages; i++) {
        KitMap(KitVa(i), KIT_DATA + (i * 7919) % Pages, KIT_RW);
    }
    for (ULONG64 i = 0; i < Pages; i++) {
        *(volatile ULONG64 *)(KitVa(i) + 8) = i ^ 0x5555;
    }
    HalQueryTb(&S);
    assert_true(S.PeakMappings <= HalFacts.TlbEntries);
    assert_true(HalFacts.TlbEntries <= 32768);
    assert_true(HostMappings() <= S.Mappings);
    assert_true(S.Evictions >= Pages - HalFacts.TlbEntries);
    for (ULONG64 i = 0; i < Pages; i += 3) {
        assert_int_equal(*(volatile ULONG64 *)(KitVa(i) + 8), i ^ 0x5555);
    }
    assert_int_equal(Kit.Count, 0);
    Check();
    HalFlushEntireTb();
    assert_int_equal(HostMappings(), 0);
    Check();
}

static void Scattered_SixtyFourThousandPagesInFiveHundredEntries(void **State)
{
    (void)State;
    const ULONG64 Pages = 65536;
    HAL_TB_STATISTICS S;
    KitStart(Pages, 512);
    for (ULONG64 i = 0; i < Pages; i++) {
        KitMap(KitVa(i), KIT_DATA + (i * 7919) % Pages, KIT_RW);
    }
    for (ULONG64 i = 0; i < Pages; i++) {
        *(volatile ULONG64 *)(KitVa(i) + 8) = i;
    }
    for (ULONG64 i = 0; i < Pages; i += 17) {
        assert_int_equal(*(volatile ULONG64 *)(KitVa(i) + 8), i);
    }
    HalQueryTb(&S);
    assert_true(S.PeakMappings <= 512);
    assert_true(HostMappings() <= 512);
    Check();
}

static void HostIsOutOfMappings_FaultsStillWork(void **State)
{
    (void)State;
    const ULONG Mine = 65600;
    static PVOID Held[65600];
    ULONG Got = 0;
    KitStart(40000, 0);
    for (ULONG64 i = 0; i < 20000; i++) {
        KitMap(KitVa(i), KIT_DATA + (i * 7919) % 20000, KIT_RW);
    }
    for (ULONG64 i = 0; i < 10000; i++) {
        *(volatile ULONG64 *)KitVa(i) = i;
    }
    /* the program itself uses up the rest: no two alike beside each other */
    for (; Got < Mine; Got++) {
        Held[Got] = mmap(NULL, 4096, Got % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (Held[Got] == MAP_FAILED) {
            break;
        }
    }
    assert_true(Got < Mine);
    for (ULONG64 i = 10000; i < 20000; i++) {
        *(volatile ULONG64 *)KitVa(i) = i;
    }
    for (ULONG64 i = 0; i < 20000; i += 7) {
        assert_int_equal(*(volatile ULONG64 *)KitVa(i), i);
    }
    HalFlushTb((PVOID)KitVa(100), 19000);
    Check();
    while (Got-- != 0) {
        munmap(Held[Got], 4096);
    }
}

static void ReadAhead_TakesOnlyWhatWasUsedBefore(void **State)
{
    (void)State;
    HAL_TB_STATISTICS S;
    KitStart(2048, 0);
    for (ULONG i = 0; i < 32; i++) {
        KitMap(KitVa(i), KIT_DATA + i, KIT_RW | KIT_A | (i < 24 ? KIT_D : 0));
    }
    *(volatile ULONG64 *)KitVa(3) = 1; /* brings 0..15 */
    HalQueryTb(&S);
    assert_int_equal(S.FilledPages, 16);
    assert_int_equal(S.Mappings, 1);
    (void)*(volatile ULONG64 *)KitVa(20); /* brings 16..23: dirty, writable; grows the run before it */
    HalQueryTb(&S);
    assert_int_equal(S.FilledPages, 24);
    assert_int_equal(S.Mappings, 1);
    (void)*(volatile ULONG64 *)KitVa(30); /* brings 24..31 read-only: a write has yet to set Dirty */
    HalQueryTb(&S);
    assert_int_equal(S.FilledPages, 32);
    assert_int_equal(S.Mappings, 2);
    *(volatile ULONG64 *)KitVa(28) = 1;
    HalQueryTb(&S);
    assert_int_equal(S.Mappings, 4);
    assert_int_equal(*KitPte(KitVa(27)) & KIT_D, 0);
    assert_int_equal(*KitPte(KitVa(28)) & KIT_D, KIT_D);
    assert_int_equal(HostMappings(), 4);
    Check();
}

static void LargePage_IsOneMapping(void **State)
{
    (void)State;
    HAL_TB_STATISTICS S;
    KitStart(2048, 0);
    ULONG_PTR Va = KitVa(512 * 4);
    PFN_NUMBER Frame = (KIT_DATA + 511) & ~511ull;
    *KitPde(Va) = (Frame << 12) | KIT_RW | HALP_PTE_LARGE;
    for (ULONG i = 0; i < 512; i++) {
        *(volatile ULONG64 *)(Va + i * 4096) = i;
    }
    HalQueryTb(&S);
    assert_int_equal(S.Faults, 1);
    assert_int_equal(S.Mappings, 1);
    assert_int_equal(KitFrame(Frame + 511)[0], 511);
    HalFlushTb((PVOID)(Va + 100 * 4096), 1);
    HalQueryTb(&S);
    assert_int_equal(S.Mappings, 2);
    Check();
}

/* Pages of the process that the host has memory for, of a range. */
static ULONG HostPages(ULONG64 Frame, ULONG Count)
{
    UCHAR Present[1024];
    ULONG Got = 0;
    assert_int_equal(mincore(HalWindow(Frame), Count * 4096ul, Present), 0);
    for (ULONG i = 0; i < Count; i++) {
        Got += Present[i] & 1;
    }
    return Got;
}
static void FreshFrames_CostMemoryOnlyWhenTouched(void **State)
{
    (void)State;
    KitStart(2048, 0);
    for (ULONG i = 0; i < 512; i++) {
        KitMap(KitVa(i), KIT_DATA + i, KIT_RW | KIT_A | KIT_D);
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(0), 512, 0), STATUS_SUCCESS);
    assert_int_equal(HostPages(KIT_DATA, 512), 0);
    *(volatile ULONG64 *)KitVa(100) = 1;
    assert_int_equal(HostPages(KIT_DATA, 512), 1);
    HalZeroPages(KIT_DATA + 32, 16);
    HalDiscardPages(KIT_DATA + 100, 1);
    assert_int_equal(HostPages(KIT_DATA, 512), 16);
}

/* ---- threads ---- */
static struct {
    pthread_barrier_t Barrier;
    volatile LONG Stop;
    ULONG64 Pages;
} T;

static void *SamePages(void *Argument)
{
    HalSetCurrentThread(Argument);
    for (ULONG64 Page = 0; Page < T.Pages; Page++) {
        pthread_barrier_wait(&T.Barrier);
        __atomic_add_fetch((ULONG64 *)KitVa(Page), 1, __ATOMIC_RELAXED);
    }
    HalSetCurrentThread(NULL);
    return NULL;
}
static void TwoThreads_FaultOnTheSamePage_BothGoOn(void **State)
{
    (void)State;
    pthread_t Threads[2];
    int Slot[2];
    KitStart(2048, 64);
    KitCountOnly = TRUE;
    T.Pages = 1500;
    for (ULONG64 i = 0; i < T.Pages; i++) {
        KitMap(KitVa(i), KIT_DATA + i, KIT_RW);
    }
    pthread_barrier_init(&T.Barrier, NULL, 2);
    for (ULONG i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&Threads[i], NULL, SamePages, &Slot[i]), 0);
    }
    for (ULONG i = 0; i < 2; i++) {
        pthread_join(Threads[i], NULL);
    }
    pthread_barrier_destroy(&T.Barrier);
    for (ULONG64 i = 0; i < T.Pages; i++) {
        assert_int_equal(KitFrame(KIT_DATA + i)[0], 2);
    }
    assert_int_equal(Kit.Count, 0);
    Check();
}

static void *Flusher(void *Argument)
{
    ULONG64 Seed = 99;
    HalSetCurrentThread(Argument);
    while (!__atomic_load_n(&T.Stop, __ATOMIC_ACQUIRE)) {
        Seed = Seed * 6364136223846793005ull + 1442695040888963407ull;
        HalFlushTb((PVOID)KitVa((Seed >> 33) % T.Pages), 1 + (Seed >> 20) % 40);
    }
    HalSetCurrentThread(NULL);
    return NULL;
}
static void Threads_TouchWhileAnotherFlushes_LoseNothing(void **State)
{
    (void)State;
    pthread_t Thread;
    int Slot;
    ULONG64 Seed = 1;
    static ULONG64 Model[1024];
    memset(Model, 0, sizeof(Model));
    KitStart(2048, 128);
    KitCountOnly = TRUE;
    T.Pages = 1024;
    T.Stop = 0;
    for (ULONG64 i = 0; i < T.Pages; i++) {
        KitMap(KitVa(i), KIT_DATA + (i ^ (i >> 4 & 3)), KIT_RW);
    }
    assert_int_equal(pthread_create(&Thread, NULL, Flusher, &Slot), 0);
    for (ULONG Round = 0; Round < 60000; Round++) {
        Seed = Seed * 6364136223846793005ull + 1442695040888963407ull;
        ULONG64 Page = (Seed >> 33) % T.Pages;
        if (Seed & 0x10000) {
            *(volatile ULONG64 *)KitVa(Page) = ++Model[Page];
        } else {
            assert_int_equal(*(volatile ULONG64 *)KitVa(Page), Model[Page]);
        }
    }
    __atomic_store_n(&T.Stop, 1, __ATOMIC_RELEASE);
    pthread_join(Thread, NULL);
    assert_int_equal(Kit.Count, 0);
    Check();
}

/* Random changes of the tables, flushed as the contract asks, against what must be seen. */
static void Random_Operations_AgreeWithTheTables(void **State)
{
    (void)State;
    enum { PAGES = 300 };
    static PFN_NUMBER Frame[PAGES]; /* 0: not present */
    static BOOLEAN Writable[PAGES];
    ULONG64 Seed = 7, Value;
    KitStart(2048, 48);
    memset(Frame, 0, sizeof(Frame));
    KitOnFault = Refuse;
    for (ULONG i = 0; i < 2048; i++) {
        KitFrame(KIT_DATA + i)[0] = KIT_DATA + i;
    }
    for (ULONG Round = 0; Round < 30000; Round++) {
        Seed = Seed * 6364136223846793005ull + 1442695040888963407ull;
        ULONG64 R = Seed >> 24, Page = R % PAGES, Count = 1 + (R >> 12) % 12;
        Count = Page + Count > PAGES ? PAGES - Page : Count;
        switch ((R >> 30) % 8) {
        case 0: /* map a contiguous stretch */
            for (ULONG64 i = 0; i < Count; i++) {
                Frame[Page + i] = KIT_DATA + (R >> 8) % 1500 + i;
                Writable[Page + i] = (R >> 3) & 1;
                KitMap(KitVa(Page + i), Frame[Page + i],
                       KIT_P | (Writable[Page + i] ? KIT_W : 0) | ((R & 2) ? KIT_A | KIT_D : 0) | KIT_NX);
            }
            HalFlushTb((PVOID)KitVa(Page), Count);
            break;
        case 1:
            for (ULONG64 i = 0; i < Count; i++) {
                Frame[Page + i] = 0;
                KitUnmap(KitVa(Page + i));
            }
            HalFlushTb((PVOID)KitVa(Page), Count);
            break;
        case 2:
            HalFillTb((PVOID)KitVa(Page), Count, 0);
            break;
        case 3: {
            BOOLEAN All = TRUE;
            for (ULONG64 i = 0; i < Count; i++) {
                All = All && Frame[Page + i] != 0;
            }
            NTSTATUS Status = HalFillTb((PVOID)KitVa(Page), Count, HAL_FILL_PINNED);
            assert_true(All ? Status == STATUS_SUCCESS || Status == STATUS_NO_MEMORY : Status == STATUS_INVALID_ADDRESS);
            break;
        }
        case 4:
            if (R % 50 == 0) {
                HalFlushEntireTb();
            }
            break;
        default:
            if (R & 1) {
                assert_int_equal(KitTryRead(KitVa(Page), &Value), Frame[Page] != 0);
                if (Frame[Page]) {
                    assert_int_equal(Value, Frame[Page]);
                }
            } else {
                assert_int_equal(KitTryWrite(KitVa(Page) + 8, R), Frame[Page] != 0 && Writable[Page]);
                if (Frame[Page] && Writable[Page]) {
                    assert_int_equal(KitFrame(Frame[Page])[1], R);
                }
            }
        }
        if (Round % 500 == 0) {
            Check();
        }
    }
    Check();
    assert_true(HostMappings() <= HalFacts.TlbEntries + 64);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_teardown(Scattered_MorePagesThanTheHostHasMappings_AllWork, KitTeardown),
        cmocka_unit_test_teardown(Scattered_SixtyFourThousandPagesInFiveHundredEntries, KitTeardown),
        cmocka_unit_test_teardown(HostIsOutOfMappings_FaultsStillWork, KitTeardown),
        cmocka_unit_test_teardown(ReadAhead_TakesOnlyWhatWasUsedBefore, KitTeardown),
        cmocka_unit_test_teardown(LargePage_IsOneMapping, KitTeardown),
        cmocka_unit_test_teardown(FreshFrames_CostMemoryOnlyWhenTouched, KitTeardown),
        cmocka_unit_test_teardown(TwoThreads_FaultOnTheSamePage_BothGoOn, KitTeardown),
        cmocka_unit_test_teardown(Threads_TouchWhileAnotherFlushes_LoseNothing, KitTeardown),
        cmocka_unit_test_teardown(Random_Operations_AgreeWithTheTables, KitTeardown),
    };
    return cmocka_run_group_tests_name("hal.linux_tlb", Tests, NULL, NULL);
}
