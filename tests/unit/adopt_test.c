/*
 * adopt_test.c - pages that hardly hold anything any more serve another class: contents, descriptions, double frees and counts stay
 * what they must be while two classes have blocks in one page. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/exp.h"

#define TAG 'tpdA'

static void Validate(void)
{
    const CHAR *Text = ExpValidatePools();
    if (Text != NULL)
        fail_msg("%s", Text);
}

/* Keeps the timer's trims away (and our own): until Resume nobody else touches a slab. */
static void Pause(void)
{
    __atomic_add_fetch(&ExpState.Auditing, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&ExpState.Trimming, __ATOMIC_SEQ_CST) != 0)
        sched_yield();
}

static void Resume(void)
{
    __atomic_sub_fetch(&ExpState.Auditing, 1, __ATOMIC_SEQ_CST);
}

static PUCHAR Take(ULONG64 Pool, ULONG Size)
{
    PUCHAR Block = ExAllocatePool2(Pool | POOL_FLAG_UNINITIALIZED, Size, TAG);
    assert_non_null(Block);
    memset(Block, (int)((ULONG_PTR)Block >> 5) & 0x7F, Size);
    return Block;
}

static void Look(const UCHAR *Block, ULONG Size)
{
    for (ULONG Index = 0; Index < Size; Index++)
        assert_int_equal(Block[Index], ((ULONG_PTR)Block >> 5) & 0x7F);
}

static ULONG64 Adopted(void)
{
    return __atomic_load_n(&ExpState.Adopted, __ATOMIC_RELAXED);
}

/* 256 pages of 128-byte blocks of which every page keeps one; then 448-byte blocks. */
#define PAGES 256u
#define NEW   1200u
static void Shrink(ULONG64 Pool, PUCHAR *Stay)
{
    static PUCHAR Blocks[PAGES * 32];
    ULONG Index, Count = 0;
    memset(Stay, 0, PAGES * sizeof(*Stay));
    for (Index = 0; Index < PAGES * 32; Index++)
        Blocks[Index] = Take(Pool, 128);
    for (Index = 0; Index < PAGES * 32; Index++) {
        if (((ULONG_PTR)Blocks[Index] & (PAGE_SIZE - 1)) / 128 == 5 && Count < PAGES)
            Stay[Count++] = Blocks[Index];
        else
            ExFreePoolWithTag(Blocks[Index], TAG);
    }
    assert_true(Count > PAGES - 4);
    ExpTrimPools(TRUE);
    Pause();
    Validate();
}

static void SparseSlabs_ServeAnotherClass(ULONG64 Pool)
{
    static PUCHAR Stay[PAGES], Blocks[NEW];
    EXP_POOL_TOTALS Before, After;
    EXP_BLOCK_INFO Info;
    ULONG64 Then = Adopted();
    ULONG Index, Hosts = 0;
    Shrink(Pool, Stay);
    ExpQueryPool(Pool == POOL_FLAG_PAGED, &Before);
    for (Index = 0; Index < NEW; Index++)
        Blocks[Index] = Take(Pool, 448);
    Validate();
    ExpQueryPool(Pool == POOL_FLAG_PAGED, &After);
    assert_true(Adopted() - Then >= NEW / 9);
    assert_true(After.PagesInSlabs < Before.PagesInSlabs + NEW / 9 / 4);
    for (Index = 0; Index < PAGES && Stay[Index] != NULL; Index++) {
        EXP_SLAB *Guest = (EXP_SLAB *)ExpLookupRun((ULONG_PTR)Stay[Index]);
        Look(Stay[Index], 128);
        assert_true(ExpDescribeBlock(Stay[Index] + 3, &Info));
        assert_true(Info.State == ExpBlockLive && Info.Start == (ULONG_PTR)Stay[Index] && Info.Size == 128 && Info.Tag == TAG);
        Hosts += Guest->Host != NULL;
    }
    assert_true(Hosts >= NEW / 9);
    for (Index = 0; Index < NEW; Index++) {
        Look(Blocks[Index], 448);
        assert_true(ExpDescribeBlock(Blocks[Index] + 440, &Info));
        assert_true(Info.State == ExpBlockLive && Info.Start == (ULONG_PTR)Blocks[Index] && Info.Size == 448);
    }
    /* Half of the new ones go and come again; then the old ones, whose places open. */
    for (Index = 0; Index < NEW; Index += 2)
        ExFreePoolWithTag(Blocks[Index], TAG);
    Validate();
    for (Index = 0; Index < NEW; Index += 2)
        Blocks[Index] = Take(Pool, 440);
    Validate();
    for (Index = 0; Index < PAGES && Stay[Index] != NULL; Index++) {
        ULONG_PTR Va = (ULONG_PTR)Stay[Index];
        EXP_SLAB *Host = ((EXP_SLAB *)ExpLookupRun(Va))->Host;
        BOOLEAN Had = Host != NULL && Host->Used == 1; /* others may be in magazines */
        Look(Stay[Index], 128);
        ExFreePoolWithTag(Stay[Index], TAG);
        assert_true(!Had || ((EXP_SLAB *)ExpLookupRun(Va))->Host == NULL);
        if (Index % 32 == 0)
            Validate();
    }
    for (Index = 0; Index < NEW; Index++) {
        Look(Blocks[Index], Index % 2 == 0 ? 440 : 448);
        ExFreePoolWithTag(Blocks[Index], TAG);
    }
    Validate();
    Resume();
    for (Index = 0; Index < 3; Index++)
        ExpTrimPools(TRUE);
    Pause();
    Validate();
    ExpQueryPool(Pool == POOL_FLAG_PAGED, &After);
    assert_true(After.PagesInSlabs + PAGES / 2 < Before.PagesInSlabs);
    Resume();
}

static void Adopt_NonPaged_BothClassesWhole(void **state)
{
    (void)state;
    SparseSlabs_ServeAnotherClass(POOL_FLAG_NON_PAGED);
}

static void Adopt_Paged_BothClassesWhole(void **state)
{
    (void)state;
    SparseSlabs_ServeAnotherClass(POOL_FLAG_PAGED);
}

static PVOID Victim;
static void FreeVictim(PVOID Unused)
{
    (void)Unused;
    ExFreePoolWithTag(Victim, TAG);
}

/* What is free in a page of two classes is no block of either: a second free is told as ever. */
static void Adopt_BlockOfHostFreedTwice_DoubleFree(void **state)
{
    static PUCHAR Stay[PAGES], Blocks[NEW];
    ntmm_bugcheck Stop;
    ULONG Index, Told = 0, Gone = 0;
    (void)state;
    Shrink(POOL_FLAG_NON_PAGED, Stay);
    for (Index = 0; Index < NEW; Index++)
        Blocks[Index] = Take(POOL_FLAG_NON_PAGED, 1024);
    for (Index = 0; Index < PAGES && Stay[Index] != NULL && Told < 4; Index++) {
        EXP_SLAB *Guest = (EXP_SLAB *)ExpLookupRun((ULONG_PTR)Stay[Index]);
        if (Guest->Host == NULL)
            continue;
        /* inside of a block of the host in use, where the guest has a closed one */
        Victim = Stay[Index] + 32;
        assert_true(ntmm_catch(FreeVictim, NULL, &Stop));
        assert_true(Stop.code == 0xC2 && Stop.parameters[0] == 0x46);
        ExFreePoolWithTag(Stay[Index], TAG);
        Victim = Stay[Index];
        Stay[Index] = NULL;
        Gone += ((EXP_SLAB *)ExpLookupRun((ULONG_PTR)Victim))->Host == NULL; /* it was the host's last one */
        assert_true(ntmm_catch(FreeVictim, NULL, &Stop));
        assert_int_equal(Stop.code, 0xC2);
        assert_int_equal(Stop.parameters[0], 7);
        assert_int_equal(Stop.parameters[2], TAG);
        assert_ptr_equal(Stop.parameters[3], Victim);
        Told++;
    }
    assert_int_equal(Told, 4);
    assert_true(Gone >= 1);
    Validate();
    for (Index = 0; Index < PAGES; Index++)
        if (Stay[Index] != NULL)
            ExFreePoolWithTag(Stay[Index], TAG);
    for (Index = 0; Index < NEW; Index++)
        ExFreePoolWithTag(Blocks[Index], TAG);
    Validate();
    Resume();
}

/* Four threads whose usual size drifts from phase to phase; one block in eight lives for a phase longer. */
#define RING  3000u
#define LONG_ 400u
static void *Drift(void *Context)
{
    static const ULONG Usual[] = {100, 180, 400, 700, 300, 130, 1100, 90};
    uint64_t Random = (uint64_t)(uintptr_t)Context * 77 + 1;
    PUCHAR *Ring = calloc(RING, sizeof(*Ring)), *Long = calloc(LONG_, sizeof(*Long));
    ULONG *Sizes = calloc(RING + LONG_, sizeof(*Sizes)), Phase, Step;
    for (Phase = 0; Phase < 2 * ARRAYSIZE(Usual); Phase++) {
        ExpTrimPools(FALSE); /* which finds the sparse classes */
        for (Step = 0; Step < RING; Step++) {
            BOOLEAN Keeps;
            PUCHAR *Slot;
            ULONG *Size;
            Random = Random * 6364136223846793005ull + 1442695040888963407ull;
            Keeps = (Random >> 40) % 8 == 0;
            Slot = Keeps ? &Long[(Random >> 45) % LONG_] : &Ring[Step];
            Size = Keeps ? &Sizes[RING + (ULONG)(Slot - Long)] : &Sizes[Step];
            if (*Slot != NULL) {
                if (**Slot != (UCHAR)*Size || (*Slot)[*Size - 1] != (UCHAR)*Size)
                    abort();
                ExFreePoolWithTag(*Slot, TAG);
            }
            *Size = Usual[Phase % ARRAYSIZE(Usual)] / 2 + (ULONG)(Random >> 33) % Usual[Phase % ARRAYSIZE(Usual)];
            *Slot = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, *Size, TAG);
            if (*Slot == NULL)
                abort();
            **Slot = (*Slot)[*Size - 1] = (UCHAR)*Size;
        }
    }
    for (Step = 0; Step < RING + LONG_; Step++) {
        PUCHAR Block = Step < RING ? Ring[Step] : Long[Step - RING];
        if (Block != NULL)
            ExFreePoolWithTag(Block, TAG);
    }
    free(Ring);
    free(Long);
    free(Sizes);
    return NULL;
}

static void Adopt_FourThreadsDrift_AllAccountedFor(void **state)
{
    pthread_t Threads[4];
    ULONG Index;
    (void)state;
    for (Index = 0; Index < 4; Index++)
        assert_int_equal(pthread_create(&Threads[Index], NULL, Drift, (void *)(uintptr_t)(Index + 1)), 0);
    for (Index = 0; Index < 4; Index++)
        pthread_join(Threads[Index], NULL);
    Validate();
    ExpTrimPools(TRUE);
    ExpTrimPools(TRUE);
    Validate();
    print_message("%llu slabs taken over\n", (unsigned long long)Adopted());
}

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.stacks = 0;
    Options.special_pool_sample = 0;
    if (ntmm_start(&Options) != 0)
        return -1;
    __atomic_store_n(&ExpState.LeastGift, 0, __ATOMIC_RELAXED); /* classes as small as these give pages, too */
    return 0;
}

static int End(void **state)
{
    (void)state;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(Adopt_NonPaged_BothClassesWhole, Start, End),
        cmocka_unit_test_setup_teardown(Adopt_Paged_BothClassesWhole, Start, End),
        cmocka_unit_test_setup_teardown(Adopt_BlockOfHostFreedTwice_DoubleFree, Start, End),
        cmocka_unit_test_setup_teardown(Adopt_FourThreadsDrift_AllAccountedFor, Start, End),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
