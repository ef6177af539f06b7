/*
 * pool_test.c - the pools inside: classes, thread caches, tags and peaks, descriptions, stacks, what the
 * validator sees. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/exp.h"

#define NONPAGED (POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED)

static void Validate(void)
{
    const CHAR *Text = ExpValidatePools();
    if (Text != NULL)
        fail_msg("%s", Text);
}

/* ---- slab.c ---- */
static void Classes_Waste_AtMostAnEighth(void **state)
{
    ULONG Size;
    (void)state;
    for (Size = 1; Size <= EXP_MAX_PAGE; Size++) {
        ULONG Room = ExpState.Classes[ExpClassOfSize(Size)].Size;
        ULONG Aligned = ExpState.Classes[ExpClassFor(Size, 64)].Size;
        assert_true(Room >= Size);
        assert_true(Room - Size < 16 || (Room - Size) * (Size <= 576 || Size > 1360 ? 8u : 4u) <= Room);
        assert_true(Aligned >= Size && Aligned % 64 == 0);
        assert_true(Aligned - Size < 1024); /* fits the block word */
    }
}

static void Classes_Tails_EndAtThePage(void **state)
{
    ULONG Class, Tails = 0;
    (void)state;
    for (Class = 0; Class < EXP_CLASSES; Class++) {
        const EXP_CLASS *C = &ExpState.Classes[Class];
        if (C->PagesPerBlock > 1)
            continue;
        assert_true((ULONG)C->PerPage * C->Size <= C->TailOffset);
        if (C->TailOffset != PAGE_SIZE) {
            assert_int_equal(C->TailOffset + ExpState.Classes[C->TailClass].Size, PAGE_SIZE);
            Tails++;
        } else {
            assert_true(PAGE_SIZE - (ULONG)C->PerPage * C->Size < 256);
        }
    }
    assert_true(Tails > 5);
}

/* Blocks and tails fill the page: of a size just over half a page the other part is used too. */
static void Slab_TailBlocks_ServeTheirClass(void **state)
{
    PVOID Mains[64], Tails[64];
    ULONG Index, Shared = 0;
    (void)state;
    for (Index = 0; Index < 64; Index++)
        Mains[Index] = ExAllocatePool2(NONPAGED, 2560, 'liaT');
    for (Index = 0; Index < 64; Index++) {
        EXP_RUN *Run;
        Tails[Index] = ExAllocatePool2(NONPAGED, 1536, 'liaT');
        Run = ExpLookupRun((ULONG_PTR)Tails[Index]);
        if (ExpSlabAt(Run, (ULONG_PTR)Tails[Index])->IsTail)
            Shared++;
    }
    assert_true(Shared >= 32);
    Validate();
    for (Index = 0; Index < 64; Index++) {
        ExFreePool(Mains[Index]);
        ExFreePool(Tails[Index]);
    }
    Validate();
}

/* ---- cache.c ---- */
static PVOID Passed[512];

static void *AllocateAndEnd(void *Tag)
{
    ULONG Index;
    for (Index = 0; Index < 512; Index++)
        Passed[Index] = ExAllocatePool2(NONPAGED, 1 + Index * 7, (ULONG)(ULONG_PTR)Tag);
    return NULL;
}

static void Thread_Ends_BlocksStaySlabsAreAdopted(void **state)
{
    pthread_t Thread;
    ULONG Index;
    (void)state;
    assert_int_equal(pthread_create(&Thread, NULL, AllocateAndEnd, (void *)(ULONG_PTR)'dnEA'), 0);
    pthread_join(Thread, NULL);
    Validate();
    for (Index = 0; Index < 512; Index++) {
        assert_non_null(Passed[Index]);
        memset(Passed[Index], 0x42, 1 + Index * 7);
        ExFreePoolWithTag(Passed[Index], 'dnEA');
    }
    Validate();
    /* This thread empties its magazines: what was abandoned becomes its own, or is released. */
    ExpTrimCache(KiCurrentThread()->ExCache);
    Validate();
}

static void *FreeAll(void *Unused)
{
    ULONG Index;
    (void)Unused;
    for (Index = 0; Index < 512; Index++)
        ExFreePool(Passed[Index]);
    return NULL;
}

static void Thread_FreesAnothersBlocks_OwnerGetsThemBack(void **state)
{
    pthread_t Thread;
    ULONG Round;
    EXP_POOL_TOTALS Now;
    ULONG64 First = 0, Last = 0; /* the most of each half: trims take some away meanwhile */
    (void)state;
    for (Round = 0; Round < 60; Round++) {
        ULONG64 *Most = Round < 30 ? &First : &Last;
        AllocateAndEnd((void *)(ULONG_PTR)'tmeR');
        assert_int_equal(pthread_create(&Thread, NULL, FreeAll, NULL), 0);
        pthread_join(Thread, NULL);
        Validate();
        ExpQueryPool(FALSE, &Now);
        *Most = Now.PagesInSlabs > *Most ? Now.PagesInSlabs : *Most;
    }
    assert_true(Last <= First + First / 2); /* what never came back would double it */
}

static EXP_TAG_USE *UseOf(ULONG Tag);

/* ---- run.c, trim.c: driven by hand; the timer would do the same after a second and two ---- */
static uint64_t FreeFrames(void)
{
    MM_COUNTERS Counters;
    MmQueryCounters(&Counters);
    return Counters.FreePages + Counters.ZeroedPages;
}

/* FALSE: the timer's trim came in between, so nothing can be said. */
static BOOLEAN SpikeAndTwoTrims(void)
{
    static PVOID Blocks[4000];
    EXP_POOL_TOTALS Full, Empty, Kept, Last;
    uint64_t Frames, Freed;
    ULONG Index;
    ExpTrimCache(KiCurrentThread()->ExCache);
    ExpTrimPools(TRUE);
    for (Index = 0; Index < 4000; Index++)
        Blocks[Index] = ExAllocatePool2(NONPAGED, 2000, 'rapS');
    Frames = FreeFrames();
    ExpQueryPool(FALSE, &Full);
    ExpTrimPools(FALSE); /* a trim was, before they are freed: none of them is given up by it */
    for (Index = 0; Index < 4000; Index++)
        ExFreePool(Blocks[Index]);
    ExpQueryPool(FALSE, &Empty);
    ExpTrimPools(FALSE);
    ExpQueryPool(FALSE, &Kept);
    ExpTrimPools(FALSE);
    ExpQueryPool(FALSE, &Last);
    Freed = FreeFrames();
    Validate();
    if (Last.Trims - Full.Trims != 3)
        return FALSE;
    assert_true(Full.PagesInSlabs >= 2000);
    assert_true(Empty.PagesInSlabs < Full.PagesInSlabs / 8);
    assert_true(Empty.PagesKept >= 1900); /* kept: the next one to ask has them */
    assert_int_equal(Empty.PagesReturned, Full.PagesReturned);
    assert_true(Kept.PagesKept >= 1900); /* they were in use since the trim before */
    assert_true(Last.PagesKept < 64);
    assert_true(Last.PagesReturned - Kept.PagesReturned >= 1900);
    assert_true(Freed >= Frames + 1900);
    return TRUE;
}

static void Trim_SpikeFreed_PagesGoBackAfterTwo(void **state)
{
    (void)state;
    while (!SpikeAndTwoTrims())
        ;
}

/* What a steady state frees and allocates again is not given up under it, whatever the trims. */
static BOOLEAN SteadyUnderTrims(void)
{
    PVOID Blocks[64];
    EXP_POOL_TOTALS Start, First, Last;
    ULONG Round, Index;
    ExpQueryPool(FALSE, &Start);
    for (Round = 0; Round < 12; Round++) {
        for (Index = 0; Index < 64; Index++)
            Blocks[Index] = ExAllocatePool2(NONPAGED, 64 + Index * 900, 'tSgT');
        if (Round == 4)
            ExpQueryPool(FALSE, &First);
        ExpTrimPools(FALSE);
        for (Index = 0; Index < 64; Index++)
            ExFreePool(Blocks[Index]);
    }
    ExpQueryPool(FALSE, &Last);
    Validate();
    if (Last.Trims - Start.Trims != 12)
        return FALSE; /* the timer's came in between: more trims than turns */
    assert_true(Last.PagesReturned - First.PagesReturned <= 16);
    return TRUE;
}

static void Trim_SteadyState_NothingIsReturned(void **state)
{
    (void)state;
    while (!SteadyUnderTrims())
        ;
}

/* cache.c: a thread that lives and does nothing keeps one magazine of a class until it comes by again, and then none. */
static pthread_barrier_t IdleBarrier;
static void *IdleThread(void *Unused)
{
    PVOID Blocks[32];
    ULONG Size, Index, Round;
    (void)Unused;
    for (Size = 1024; Size <= 4096; Size += 96) {
        for (Index = 0; Index < 32; Index++)
            Blocks[Index] = ExAllocatePool2(NONPAGED, Size, 'eldI');
        for (Index = 0; Index < 32; Index++)
            ExFreePool(Blocks[Index]);
    }
    pthread_barrier_wait(&IdleBarrier);
    for (Round = 0; Round < 2; Round++) {
        pthread_barrier_wait(&IdleBarrier);                                 /* trims */
        Blocks[0] = ExAllocatePool2(NONPAGED, 5000 + 4096 * Round, 'eldI'); /* a class that it has not used: a slow path */
        ExFreePool(Blocks[0]);
        pthread_barrier_wait(&IdleBarrier);
    }
    pthread_barrier_wait(&IdleBarrier);
    return NULL;
}

/* Trims that give nothing back, while no slab comes or goes, become rare; and are as before once slabs do. */
static void Trim_NothingToGive_ComesRarely(void **state)
{
    PVOID Blocks[2048];
    ULONG Index;
    ULONG64 Quiet;
    (void)state;
    for (Index = 0; Index < 32; Index++)
        ExpTrimPools(FALSE);
    Quiet = ExpVolumeDue();
    assert_true(Quiet >= (ULONG64)EXP_LEAST_TURN << 6);
    for (Index = 0; Index < ARRAYSIZE(Blocks); Index++)
        Blocks[Index] = ExAllocatePool2(NONPAGED, 1024, 'eraR');
    assert_true(ExpVolumeDue() <= (ULONG64)EXP_LEAST_TURN << 2);
    for (Index = 0; Index < ARRAYSIZE(Blocks); Index++)
        ExFreePool(Blocks[Index]);
    Validate();
}

static void Trim_ThreadIdle_ItsMagazinesGoBack(void **state)
{
    pthread_t Thread;
    EXP_POOL_TOTALS Before, Full, Half, Last;
    ULONG Index, Round;
    (void)state;
    ExpTrimPools(TRUE);
    ExpQueryPool(FALSE, &Before);
    assert_int_equal(pthread_barrier_init(&IdleBarrier, NULL, 2), 0);
    assert_int_equal(pthread_create(&Thread, NULL, IdleThread, NULL), 0);
    pthread_barrier_wait(&IdleBarrier);
    ExpQueryPool(FALSE, &Full);
    for (Index = 0; Index < 4; Index++)
        ExpTrimPools(FALSE);
    Validate();
    ExpQueryPool(FALSE, &Half);
    for (Round = 0; Round < 2; Round++) {
        pthread_barrier_wait(&IdleBarrier);
        pthread_barrier_wait(&IdleBarrier);
        for (Index = 0; Index < 3; Index++)
            ExpTrimPools(FALSE);
    }
    Validate();
    ExpQueryPool(FALSE, &Last);
    assert_true(Full.PagesInSlabs >= Before.PagesInSlabs + 100);
    assert_true(Half.PagesInSlabs <= Full.PagesInSlabs - 50);
    assert_true(Last.PagesInSlabs <= Before.PagesInSlabs + 12);
    pthread_barrier_wait(&IdleBarrier);
    pthread_join(Thread, NULL);
    pthread_barrier_destroy(&IdleBarrier);
}

/* One that is no sample in special pool. */
static PUCHAR OrdinaryBlock(SIZE_T Size)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, Size, 'dorO');
    while (MmRegionOf(Block) != MmRegionNonPagedPool) {
        ExFreePool(Block);
        Block = ExAllocatePool2(NONPAGED, Size, 'dorO');
    }
    return Block;
}

/* cache.c: a bin that is used between any two looks at it stays open, wherever its Top stands; one that is not is closed. */
static void Trim_BinInUse_StaysOpen(void **state)
{
    EXP_CACHE *Cache = ExpGetCache((KTHREAD *)KeGetCurrentThread());
    EXP_BIN *Bin = &Cache->Bins[ExpClassOfSize(176)];
    ULONG Round;
    (void)state;
    for (Round = 0; Round < 6; Round++) {
        ExFreePool(OrdinaryBlock(176));
        assert_non_null(Bin->Loaded);
        assert_false(Bin->Parked);
        ExpTrimPools(FALSE);
        ExpVisitCache(Cache);
        assert_true(Bin->Parked);
        Validate();
    }
    for (Round = 0; Round < 4; Round++) {
        ExpTrimPools(FALSE);
        ExpVisitCache(Cache);
    }
    assert_null(Bin->Loaded);
    assert_null(Bin->Home);
    Validate();
}

/* cache.c: two threads that allocate by turns are given blocks of different pages. */
#define TURNS 40
static pthread_barrier_t TurnBarrier;
static void *TurnThread(void *Argument)
{
    PVOID *Blocks = Argument;
    ULONG Turn;
    for (Turn = 0; Turn < TURNS; Turn++) {
        pthread_barrier_wait(&TurnBarrier);
        Blocks[Turn] = ExAllocatePool2(NONPAGED, 80, 'nruT');
    }
    pthread_barrier_wait(&TurnBarrier);
    return NULL;
}

static void Threads_AllocateByTurns_ShareNoPage(void **state)
{
    static PVOID Blocks[2][TURNS];
    pthread_t Threads[2];
    ULONG One, Other;
    (void)state;
    ExpTrimPools(TRUE);
    assert_int_equal(pthread_barrier_init(&TurnBarrier, NULL, 2), 0);
    for (One = 0; One < 2; One++)
        assert_int_equal(pthread_create(&Threads[One], NULL, TurnThread, Blocks[One]), 0);
    for (One = 0; One < 2; One++)
        pthread_join(Threads[One], NULL);
    pthread_barrier_destroy(&TurnBarrier);
    for (One = 0; One < TURNS; One++)
        for (Other = 0; Other < TURNS; Other++)
            assert_true((ULONG_PTR)Blocks[0][One] >> 12 != (ULONG_PTR)Blocks[1][Other] >> 12);
    for (One = 0; One < 2 * TURNS; One++)
        ExFreePool(Blocks[One / TURNS][One % TURNS]);
    Validate();
}

/* record.c: what the pools knew about blocks that are gone goes back too. */
static void Trim_SpikeFreed_RecordsGoBack(void **state)
{
    static PVOID Blocks[60000];
    MM_REGION_INFO Before, Full, Last;
    ULONG Index;
    (void)state;
    for (Index = 0; Index < 4; Index++)
        ExpTrimPools(TRUE);
    MmQueryRegion(MmRegionSystemData, &Before);
    for (Index = 0; Index < 60000; Index++)
        assert_non_null(Blocks[Index] = ExAllocatePool2(NONPAGED, 100, 'rceR'));
    MmQueryRegion(MmRegionSystemData, &Full);
    assert_true(Full.PagesInUse - Before.PagesInUse >= 60000 * 4 / PAGE_SIZE);
    for (Index = 0; Index < 60000; Index++)
        ExFreePool(Blocks[Index]);
    for (Index = 0; Index < 4; Index++)
        ExpTrimPools(TRUE);
    Validate();
    MmQueryRegion(MmRegionSystemData, &Last);
    assert_true(Last.PagesInUse - Before.PagesInUse <= (Full.PagesInUse - Before.PagesInUse) / 4);
}

/* center.c, draining: one block in ten of a class stays behind in every page. As they end and others take their place, in no
 * order, the class contracts to the pages that it needs. */
static void Class_Shrinks_ItContracts(void **state)
{
    static PVOID Blocks[20000], Stay[2000];
    EXP_POOL_TOTALS Before, Full, Sparse, Last;
    ULONG Index, Random = 1;
    (void)state;
    ExpTrimPools(TRUE);
    ExpQueryPool(FALSE, &Before);
    for (Index = 0; Index < 20000; Index++)
        assert_non_null(Blocks[Index] = ExAllocatePool2(NONPAGED, 170, 'knhS'));
    ExpQueryPool(FALSE, &Full);
    assert_true(Full.PagesInSlabs - Before.PagesInSlabs >= 850); /* 23 a page */
    for (Index = 0; Index < 20000; Index++)
        if (Index % 10 == 0)
            Stay[Index / 10] = Blocks[Index];
        else
            ExFreePool(Blocks[Index]);
    Validate();
    ExpTrimPools(TRUE);
    ExpQueryPool(FALSE, &Sparse);
    assert_true(Sparse.PagesInSlabs - Before.PagesInSlabs > 500); /* nearly every page has one */
    for (Index = 0; Index < 10000; Index++) {
        Random = Random * 1664525 + 1013904223;
        ExFreePool(Stay[(Random >> 8) % 2000]);
        assert_non_null(Stay[(Random >> 8) % 2000] = ExAllocatePool2(NONPAGED, 170, 'knhS'));
        if (Index % 1000 == 0)
            Validate();
    }
    ExpTrimPools(TRUE);
    ExpQueryPool(FALSE, &Last);
    assert_true(Last.PagesInSlabs - Before.PagesInSlabs < 2000 / 23 * 3 / 2);
    for (Index = 0; Index < 2000; Index++)
        ExFreePool(Stay[Index]);
    Validate();
}

static void Trim_ThreadEnded_ItsFreeBlocksGoBack(void **state)
{
    pthread_t Thread;
    EXP_POOL_TOTALS Before, After;
    ULONG Index;
    (void)state;
    ExpTrimPools(TRUE);
    ExpTrimCache(KiCurrentThread()->ExCache);
    ExpTrimPools(TRUE);
    ExpQueryPool(FALSE, &Before);
    assert_int_equal(pthread_create(&Thread, NULL, AllocateAndEnd, (void *)(ULONG_PTR)'dnET'), 0);
    pthread_join(Thread, NULL);
    assert_int_equal(pthread_create(&Thread, NULL, FreeAll, NULL), 0);
    pthread_join(Thread, NULL);
    ExpTrimPools(FALSE);
    ExpTrimPools(FALSE);
    ExpTrimPools(FALSE);
    ExpQueryPool(FALSE, &After);
    assert_true(After.PagesInSlabs <= Before.PagesInSlabs + 4);
    assert_int_equal(After.Bytes, Before.Bytes);
    Validate();
    for (Index = 0; Index < 512; Index++)
        Passed[Index] = NULL;
}

static void Runs_Freed_JoinAndServeLargerOnes(void **state)
{
    PUCHAR Blocks[16], Whole;
    EXP_POOL_TOTALS First, Last;
    ULONG Index;
    (void)state;
    ExpTrimPools(TRUE);
    for (Index = 0; Index < 16; Index++)
        Blocks[Index] = ExAllocatePool2(NONPAGED, 40 * PAGE_SIZE, 'nuRT');
    for (Index = 0; Index < 16; Index += 2)
        ExFreePool(Blocks[Index]);
    Validate();
    for (Index = 1; Index < 16; Index += 2)
        ExFreePool(Blocks[Index]);
    Validate();
    ExpQueryPool(FALSE, &First);
    Whole = ExAllocatePool2(NONPAGED, 16 * 40 * PAGE_SIZE, 'nuRT'); /* of what the sixteen left: no page is new */
    ExpQueryPool(FALSE, &Last);
    assert_int_equal(First.PagesKept - Last.PagesKept, 16 * 40);
    Whole[0] = Whole[16 * 40 * PAGE_SIZE - 1] = 1;
    ExFreePool(Whole);
    Validate();
}

static VOID AllocateBig(PVOID Unused)
{
    (void)Unused;
    (void)!ExAllocatePool2(NONPAGED, 100 * PAGE_SIZE, 'giBT');
}

/* A big block that stays mapped after its free carries the freed pattern like a small one. */
static void Runs_FreedBlockWrittenTo_SeenWhenTakenAgain(void **state)
{
    PUCHAR Block;
    ntmm_bugcheck Stop;
    (void)state;
    ExpTrimPools(TRUE);
    Block = ExAllocatePool2(NONPAGED, 100 * PAGE_SIZE, 'giBT');
    ExFreePool(Block);
    ExpUnpoison(Block, PAGE_SIZE);
    Block[8] = 0x11;
    assert_true(ntmm_catch(AllocateBig, NULL, &Stop));
    assert_int_equal(Stop.code, 0xC6);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Block + 8);
    Validate();
    AllocateBig(NULL); /* said once */
    ExFreePool(Block);
    Validate();
}

static void Runs_ZeroedRequests_AreZero(void **state)
{
    ULONG Round, At;
    (void)state;
    for (Round = 0; Round < 4; Round++) {
        PUCHAR Block = ExAllocatePool2(Round < 2 ? POOL_FLAG_NON_PAGED : POOL_FLAG_PAGED, 70 * PAGE_SIZE + 5, 'oZgT');
        for (At = 0; At < 70 * PAGE_SIZE + 5; At++)
            if (Block[At] != 0)
                fail_msg("byte %u of a zeroed block is %02x", At, Block[At]);
        memset(Block, 0x77, 70 * PAGE_SIZE + 5);
        ExFreePool(Block);
    }
}

/* ---- center.c: the option seed= decides which free block is next ---- */
static void Placement_SameClass_NotInAddressOrder(void **state)
{
    PVOID Blocks[48];
    ULONG Index, Up = 0;
    (void)state;
    ExpTrimCache(KiCurrentThread()->ExCache);
    ExpTrimPools(TRUE);
    for (Index = 0; Index < 48; Index++)
        Blocks[Index] = ExAllocatePool2(NONPAGED, 80, 'cnaR');
    for (Index = 1; Index < 48; Index++)
        Up += Blocks[Index] == (PUCHAR)Blocks[Index - 1] + 80 || Blocks[Index] == (PUCHAR)Blocks[Index - 1] - 80;
    /* 47 in address order; 8 by this placement, and no more than 28 in 100,000 draws. */
    assert_true(Up < 36);
    for (Index = 0; Index < 48; Index++)
        ExFreePool(Blocks[Index]);
}

/* ---- malloc's entries ---- */
static void MallocLike_SizesAlignmentsResizing(void **state)
{
    static const SIZE_T Sizes[] = {0, 1, 24, 100, 1000, 4000, 5000, 40000, 300000};
    ULONG Index, Shift;
    (void)state;
    for (Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
        for (Shift = 0; Shift <= 16; Shift += 2) {
            PUCHAR Block = ExpMallocLike(Sizes[Index], (SIZE_T)1 << Shift);
            assert_non_null(Block);
            if ((ULONG_PTR)Block & (((ULONG_PTR)1 << Shift) - 1))
                fail_msg("%zu bytes aligned to 1 << %u lie at %p", (size_t)Sizes[Index], Shift, (void *)Block);
            assert_int_equal(ExpSizeLike(Block), Sizes[Index] == 0 && Shift >= 12 ? 1 : Sizes[Index]);
            memset(Block, 0x33, Sizes[Index]);
            if (Sizes[Index] > 16 && ExpResizeLike(Block, Sizes[Index] - 8)) {
                assert_int_equal(ExpSizeLike(Block), Sizes[Index] - 8);
                assert_int_equal(Block[Sizes[Index] - 9], 0x33);
            }
            ExpFreeLike(Block);
        }
    }
    Validate();
    assert_int_equal(UseOf(EXP_HOST_TAG)->Bytes, 0);
}

/* ---- tag.c ---- */
static EXP_TAG_USE Found;
static BOOLEAN Seen;

static VOID Look(const EXP_TAG_USE *Use, PVOID Context)
{
    if (Use->Tag == (ULONG)(ULONG_PTR)Context && !Use->Paged) {
        Found = *Use;
        Seen = TRUE;
    }
}

static EXP_TAG_USE *UseOf(ULONG Tag)
{
    Seen = FALSE;
    ExpQueryTags(Look, (PVOID)(ULONG_PTR)Tag);
    return Seen ? &Found : NULL;
}

static void Tags_OneThread_ExactToTheByte(void **state)
{
    PVOID Blocks[100];
    ULONG Index, Bytes = 0;
    EXP_TAG_USE *Use;
    (void)state;
    assert_null(UseOf('xEgT'));
    for (Index = 0; Index < 100; Index++) {
        Blocks[Index] = ExAllocatePool2(NONPAGED, 1 + Index * 50, 'xEgT');
        Bytes += 1 + Index * 50;
    }
    Use = UseOf('xEgT');
    assert_int_equal(Use->Bytes, Bytes);
    assert_int_equal(Use->Allocs, 100);
    assert_int_equal(Use->Frees, 0);
    assert_int_equal(Use->PeakBytes, Bytes);
    assert_int_equal(Use->PeakError, 0);
    for (Index = 0; Index < 100; Index += 2)
        ExFreePool(Blocks[Index]);
    Blocks[0] = ExAllocatePool2(NONPAGED, 60, 'xEgT');
    ExFreePool(Blocks[0]);
    for (Index = 1; Index < 100; Index += 2)
        ExFreePool(Blocks[Index]);
    Use = UseOf('xEgT');
    assert_int_equal(Use->Bytes, 0);
    assert_int_equal(Use->Allocs, 101);
    assert_int_equal(Use->Frees, 101);
    assert_int_equal(Use->PeakBytes, Bytes);
}

/* tag.c: a thread that moves much of a tag all the time keeps more of it to itself; a peak of one thread is exact for all that. */
static void Tags_BusyThread_TellsMoreRarely(void **state)
{
    static PVOID Blocks[100];
    ULONG Round, Index;
    EXP_TAG_USE *Use;
    (void)state;
    Blocks[0] = ExAllocatePool2(NONPAGED, 20000, 'yBgT');
    Use = UseOf('yBgT');
    assert_int_equal(Use->Untold, EXP_LEAST_REACH);
    ExFreePool(Blocks[0]);
    for (Round = 0; Round < 10; Round++) {
        for (Index = 0; Index < 100; Index++)
            Blocks[Index] = ExAllocatePool2(NONPAGED, 30000, 'yBgT');
        Use = UseOf('yBgT');
        assert_int_equal(Use->Bytes, 3000000);
        for (Index = 0; Index < 100; Index++)
            ExFreePool(Blocks[Index]);
    }
    Use = UseOf('yBgT');
    assert_int_equal(Use->Untold, EXP_MOST_REACH);
    assert_int_equal(Use->Bytes, 0);
    assert_int_equal(Use->Allocs, 1001);
    assert_int_equal(Use->Frees, 1001);
    assert_int_equal(Use->PeakBytes, 3000000);
    assert_int_equal(Use->PeakError, 0);
}

static void Tags_PagedAndNonPaged_CountedApart(void **state)
{
    PVOID Block = ExAllocatePool2(POOL_FLAG_PAGED, 100, 'trpA');
    (void)state;
    assert_null(UseOf('trpA'));
    ExFreePool(Block);
}

static void Tags_MoreThanTheTable_CountedTogether(void **state)
{
    ULONG Index, Other = 0;
    EXP_TAG_USE *Use;
    PVOID Block;
    (void)state;
    for (Index = 0; Index < EXP_TAG_SLOTS + 500; Index++) {
        Block = ExAllocatePool2(NONPAGED, 16, 0x30303030 + (Index & 63) + ((Index >> 6 & 63) << 8) + (Index >> 12 << 16));
        assert_non_null(Block);
        ExFreePoolWithTag(Block, 0x30303030 + (Index & 63) + ((Index >> 6 & 63) << 8) + (Index >> 12 << 16));
        Other++;
    }
    Use = UseOf(EXP_TAG_OVERFLOW);
    assert_non_null(Use);
    assert_true(Use->Allocs >= 500 && Use->Allocs < Other);
    assert_int_equal(Use->Bytes, 0);
    Validate();
}

/* ---- describe.c, stack.c ---- */
__attribute__((noinline)) static PVOID AllocateHere(SIZE_T Bytes)
{
    PVOID Block = ExAllocatePool2(NONPAGED, Bytes, 'rcsD');
    __asm__ volatile("" : : "r"(Block)); /* no tail call */
    return Block;
}

__attribute__((noinline)) static void FreeHere(PVOID Block)
{
    ExFreePool(Block);
    __asm__ volatile("" : : "r"(Block));
}

/* The innermost frame is the caller of the pool's routine. */
static BOOLEAN IsCaller(const ULONG_PTR *Frames, ULONG Count, ULONG_PTR Function)
{
    return Count != 0 && Frames[0] - Function < 256;
}

static void Describe_Block_AllThatIsKnown(void **state)
{
    static const SIZE_T Sizes[] = {40, 1000, 3000, 4096, 20000};
    ULONG Index;
    (void)state;
    for (Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
        PUCHAR Block = AllocateHere(Sizes[Index]);
        EXP_BLOCK_INFO Info;
        assert_true(ExpDescribeBlock(Block + Sizes[Index] / 2, &Info));
        assert_int_equal(Info.State, ExpBlockLive);
        assert_int_equal(Info.Start, (ULONG_PTR)Block);
        assert_int_equal(Info.Offset, Sizes[Index] / 2);
        assert_int_equal(Info.Size, Sizes[Index]);
        assert_true(Info.Room >= Info.Size);
        assert_int_equal(Info.Tag, 'rcsD');
        assert_int_equal(Info.PoolType, NonPagedPoolNx);
        assert_true(IsCaller(Info.AllocStack, Info.AllocFrames, (ULONG_PTR)AllocateHere));
        assert_int_equal(Info.FreeFrames, 0);
        FreeHere(Block);
        assert_true(ExpDescribeBlock(Block, &Info));
        assert_int_equal(Info.State, ExpBlockFreed);
        assert_int_equal(Info.Tag, 'rcsD');
        assert_int_equal(Info.Size, Sizes[Index]);
        assert_true(IsCaller(Info.AllocStack, Info.AllocFrames, (ULONG_PTR)AllocateHere));
        assert_true(IsCaller(Info.FreeStack, Info.FreeFrames, (ULONG_PTR)FreeHere));
    }
}

/* Few of a big block's pages name it (meta.c): what is said of an address in any of them is the same. */
static void Describe_InsideOfBigBlocks_EveryPage(void **state)
{
    PUCHAR Block, Small, Inner;
    EXP_BLOCK_INFO Info;
    ULONG Page;
    (void)state;
    ExpTrimPools(TRUE);
    Block = ExAllocatePool2(NONPAGED, 300 * PAGE_SIZE, 'gBsD');
    Validate();
    for (Page = 0; Page < 300; Page++) {
        assert_true(ExpDescribeBlock(Block + Page * PAGE_SIZE + 7, &Info));
        assert_int_equal(Info.State, ExpBlockLive);
        assert_int_equal(Info.Start, (ULONG_PTR)Block);
    }
    ExFreePool(Block);
    for (Page = 0; Page < 300; Page++) {
        assert_true(ExpDescribeBlock(Block + Page * PAGE_SIZE + 7, &Info));
        assert_int_equal(Info.State, ExpBlockFreed);
        assert_int_equal(Info.Tag, 'gBsD');
    }
    /* A smaller one in front of the same pages: the first pages are its own, those behind it are still those of the one that was freed. */
    Small = ExAllocatePool2(NONPAGED, 20 * PAGE_SIZE, 'sBsD');
    assert_ptr_equal(Small, Block);
    for (Page = 0; Page < 300; Page++) {
        assert_true(ExpDescribeBlock(Block + Page * PAGE_SIZE + 7, &Info));
        assert_int_equal(Info.State, Page < 20 ? ExpBlockLive : ExpBlockFreed);
        assert_int_equal(Info.Tag, Page < 20 ? 'sBsD' : 'gBsD');
    }
    Validate();
    Inner = ExAllocatePool2(NONPAGED, 280 * PAGE_SIZE, 'iBsD');
    assert_ptr_equal(Inner, Block + 20 * PAGE_SIZE);
    ExFreePool(Small);
    for (Page = 0; Page < 300; Page++) {
        assert_true(ExpDescribeBlock(Block + Page * PAGE_SIZE + 7, &Info));
        assert_int_equal(Info.State, Page < 20 ? ExpBlockFreed : ExpBlockLive);
        assert_int_equal(Info.Tag, Page < 20 ? 'sBsD' : 'iBsD'); /* of two that were freed there the later one */
    }
    ExFreePool(Inner);
    Validate();
}

static VOID FreeAt(PVOID Address)
{
    ExFreePool(Address);
}

/* A page that begins nobody's block any more may still be named by what had it before. */
static void Free_InsideOfBigBlock_SaysSo(void **state)
{
    PUCHAR Pieces[8], Whole;
    ntmm_bugcheck Stop;
    ULONG Index;
    (void)state;
    ExpTrimPools(TRUE);
    Whole = ExAllocatePool2(NONPAGED, 8 * 30 * PAGE_SIZE, 'wBsD');
    ExFreePool(Whole); /* the only pages kept: what follows is cut from them */
    for (Index = 0; Index < 8; Index++) {
        Pieces[Index] = ExAllocatePool2(NONPAGED, 30 * PAGE_SIZE, 'pBsD');
        assert_ptr_equal(Pieces[Index], Whole + Index * 30 * PAGE_SIZE);
    }
    for (Index = 0; Index < 8; Index++)
        ExFreePool(Pieces[Index]);
    assert_ptr_equal(ExAllocatePool2(NONPAGED, 8 * 30 * PAGE_SIZE, 'wBsD'), Whole);
    for (Index = 1; Index < 8; Index++) {
        assert_true(ntmm_catch(FreeAt, Pieces[Index], &Stop));
        assert_int_equal(Stop.code, 0xC2);
        assert_int_equal(Stop.parameters[0], 0x46);
        assert_int_equal(Stop.parameters[1], (ULONG_PTR)Pieces[Index]);
    }
    Validate();
    ExFreePool(Whole);
    assert_true(ntmm_catch(FreeAt, Whole, &Stop));
    assert_int_equal(Stop.code, 0xC2);
    assert_int_equal(Stop.parameters[0], 7);
    Validate();
}

static void Describe_NoPool_False(void **state)
{
    EXP_BLOCK_INFO Info;
    assert_false(ExpDescribeBlock(state, &Info));
    assert_int_equal(Info.State, ExpBlockNone);
    assert_false(ExpDescribeBlock(NULL, &Info));
}

typedef struct LIST {
    ULONG Count;
    ULONG_PTR Last;
    SIZE_T Bytes;
} LIST;

static BOOLEAN Gather(const EXP_BLOCK_INFO *Info, PVOID Context)
{
    LIST *List = Context;
    if (Info->Tag == 'munE') {
        assert_true(Info->Start > List->Last);
        List->Last = Info->Start;
        List->Count++;
        List->Bytes += Info->Size;
    }
    return List->Count < 90;
}

static void Enumerate_LiveBlocks_EachOnceInOrder(void **state)
{
    PVOID Blocks[100];
    LIST List = {0, 0, 0};
    ULONG Index;
    (void)state;
    for (Index = 0; Index < 100; Index++)
        Blocks[Index] = ExAllocatePool2(NONPAGED, 100 + Index * 100, 'munE');
    for (Index = 0; Index < 100; Index += 2)
        ExFreePool(Blocks[Index]);
    ExpEnumerateBlocks(Gather, &List);
    assert_int_equal(List.Count, 50);
    assert_int_equal(List.Bytes, 50 * 100 + 100 * 2500);
    for (Index = 1; Index < 100; Index += 2)
        ExFreePool(Blocks[Index]);
}

/* ---- validate.c: a validator that sees nothing is no validator ---- */
static void Validator_BrokenStructures_Named(void **state)
{
    PVOID Block = ExAllocatePool2(NONPAGED, 100, 'dliV');
    EXP_SLAB *Slab = ExpSlabAt(ExpLookupRun((ULONG_PTR)Block), (ULONG_PTR)Block);
    ULONG Number = ExpBlockNumber(Slab, (ULONG_PTR)Block);
    EXP_COUNTER *Counter = ExpFindCounter(KiCurrentThread()->ExCache, 'dliV', FALSE);
    (void)state;
    Validate();
    Slab->Used++;
    assert_memory_equal(ExpValidatePools(), "C2", 2);
    Slab->Used--;
    Slab->Used--;
    Slab->Free[Number / 64] ^= 1ull << (Number % 64);
    assert_memory_equal(ExpValidatePools(), "C3", 2);
    Slab->Free[Number / 64] ^= 1ull << (Number % 64);
    Slab->Used++;
    Counter->Peak++;
    assert_memory_equal(ExpValidatePools(), "T1", 2);
    Counter->Peak--;
    Counter->Frees++;
    assert_memory_equal(ExpValidatePools(), "T2", 2);
    Counter->Frees--;
    Validate();
    ExFreePool(Block);
}

#ifdef EXP_ASAN
int __asan_address_is_poisoned(const volatile void *Address);
static void Sanitizer_AllButTheBlock_Poisoned(void **state)
{
    PUCHAR Block = OrdinaryBlock(100), Big = OrdinaryBlock(5000);
    (void)state;
    assert_false(__asan_address_is_poisoned(Block));
    assert_false(__asan_address_is_poisoned(Block + 99));
    assert_true(__asan_address_is_poisoned(Block + 100));
    assert_true(__asan_address_is_poisoned(Block + 111));
    assert_false(__asan_address_is_poisoned(Big + 4999));
    assert_true(__asan_address_is_poisoned(Big + 5000));
    ExFreePool(Block);
    assert_true(__asan_address_is_poisoned(Block));
    assert_true(__asan_address_is_poisoned(Block + 99));
    ExFreePool(Big);
}
#endif

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.stacks = 8;
    Options.special_pool_sample = 0; /* each block is of the class that its size says */
    return ntmm_start(&Options);
}

static int End(void **state)
{
    (void)state;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Classes_Waste_AtMostAnEighth),
        cmocka_unit_test(Classes_Tails_EndAtThePage),
        cmocka_unit_test(Slab_TailBlocks_ServeTheirClass),
        cmocka_unit_test(Thread_Ends_BlocksStaySlabsAreAdopted),
        cmocka_unit_test(Thread_FreesAnothersBlocks_OwnerGetsThemBack),
        cmocka_unit_test(Trim_SpikeFreed_PagesGoBackAfterTwo),
        cmocka_unit_test(Trim_SteadyState_NothingIsReturned),
        cmocka_unit_test(Trim_NothingToGive_ComesRarely),
        cmocka_unit_test(Trim_ThreadIdle_ItsMagazinesGoBack),
        cmocka_unit_test(Trim_BinInUse_StaysOpen),
        cmocka_unit_test(Threads_AllocateByTurns_ShareNoPage),
        cmocka_unit_test(Trim_SpikeFreed_RecordsGoBack),
        cmocka_unit_test(Class_Shrinks_ItContracts),
        cmocka_unit_test(Trim_ThreadEnded_ItsFreeBlocksGoBack),
        cmocka_unit_test(Runs_Freed_JoinAndServeLargerOnes),
        cmocka_unit_test(Runs_FreedBlockWrittenTo_SeenWhenTakenAgain),
        cmocka_unit_test(Runs_ZeroedRequests_AreZero),
        cmocka_unit_test(Placement_SameClass_NotInAddressOrder),
        cmocka_unit_test(MallocLike_SizesAlignmentsResizing),
        cmocka_unit_test(Tags_OneThread_ExactToTheByte),
        cmocka_unit_test(Tags_BusyThread_TellsMoreRarely),
        cmocka_unit_test(Tags_PagedAndNonPaged_CountedApart),
        cmocka_unit_test(Describe_Block_AllThatIsKnown),
        cmocka_unit_test(Describe_InsideOfBigBlocks_EveryPage),
        cmocka_unit_test(Free_InsideOfBigBlock_SaysSo),
        cmocka_unit_test(Describe_NoPool_False),
        cmocka_unit_test(Enumerate_LiveBlocks_EachOnceInOrder),
        cmocka_unit_test(Validator_BrokenStructures_Named),
#ifdef EXP_ASAN
        cmocka_unit_test(Sanitizer_AllButTheBlock_Poisoned),
#endif
        cmocka_unit_test(Tags_MoreThanTheTable_CountedTogether),
    };
    return cmocka_run_group_tests(tests, Start, End);
}
