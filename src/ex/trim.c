/*
 * trim.c - memory goes back: what the pools keep and nobody wanted for a while is given up. SPDX-License-Identifier: MIT
 *
 * Free memory lies in four places, and each knows how much of it nobody wanted since the last trim:
 *
 *   caches of threads that ended     all of it
 *   magazines of those that live     the chain, if it has not changed hands; Loaded is for the thread itself to give up (cache.c)
 *   depots of full magazines         the fewest there were (EXP_CENTER.LeastFull)
 *   the last slab of a centre        if no thread asked the centre for slabs
 *   backed spans of pages            the lowest count there was (ExpState.LeastFree)
 *
 * A trim gives up just that much, so a steady state loses nothing it will ask for again, and a spike that has been freed is
 * gone after two trims: the first sees that it was free at the end, the second that it was free all the time. Blocks go to
 * their slabs, empty slabs to spans, spans' pages to the memory manager and from there to the host.
 *
 * When: each second while anything is kept (trimtimer.c), and sooner where much happens: a trim by volume is due when threads have
 * allocated half as many blocks as there are (ExpPace), an eighth where more than a few pages are kept, and 65,536 at least. What
 * it gave up and was committed again before the next one was given up too early: then the next waits twice as long, up to four
 * times; else half as long. And where nothing was given up, and hardly a slab came or went, the next waits twice as long, too, up to
 * 64 times, for as long as that is so: a steady load pays nothing for what it does not need.
 *
 * What is counted: ExpState.Trims, ReturnedPages; shown by ExpQueryPool.
 *
 * Not given up: the loaded magazines of threads that sleep (at most one for each class that they use), and the page maps.
 */
#include "ex/exp.h"

#define MUCH_KEPT      256u /* pages */
#define FEW_SLABS      64u  /* pages */
#define MOST_FRUITLESS 6u

static SIZE_T ExpSlabPages(VOID)
{
    return __atomic_load_n(&ExpState.SlabPages[0], __ATOMIC_RELAXED) +
           __atomic_load_n(&ExpState.SlabPages[1], __ATOMIC_RELAXED);
}

/* Since the last trim slabs came or went, more than a few. */
static BOOLEAN ExpHasChanged(VOID)
{
    SIZE_T Now = ExpSlabPages(), Then = __atomic_load_n(&ExpState.TrimSlabs, __ATOMIC_RELAXED), Few = Then / 1024 + FEW_SLABS;
    return Now > Then + Few || Now + Few < Then;
}

/* So many allocations until a trim by volume. */
static ULONG64 ExpTurn(ULONG64 Share)
{
    return (Share > EXP_LEAST_TURN ? Share : EXP_LEAST_TURN) << ExpState.Patience;
}

/* When the next trim by volume is due. Of two trims at once the later one says nothing. */
static VOID ExpPace(ULONG64 Live, ULONG64 Returned)
{
    ULONG64 Committed = __atomic_load_n(&ExpState.CommittedPages[0], __ATOMIC_RELAXED) +
                        __atomic_load_n(&ExpState.CommittedPages[1], __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&ExpState.Pacing, 1, __ATOMIC_ACQUIRE) != 0)
        return;
    if (ExpState.TrimReturned != 0 && Committed - ExpState.TrimCommitted > ExpState.TrimReturned)
        ExpState.Patience += ExpState.Patience < 2;
    else
        ExpState.Patience -= ExpState.Patience != 0;
    if (Returned != 0 || ExpHasChanged())
        __atomic_store_n(&ExpState.Fruitless, 0, __ATOMIC_RELAXED);
    else if (ExpState.Fruitless < MOST_FRUITLESS)
        __atomic_store_n(&ExpState.Fruitless, ExpState.Fruitless + 1, __ATOMIC_RELAXED);
    ExpState.TrimCommitted = Committed;
    ExpState.TrimReturned = Returned;
    __atomic_store_n(&ExpState.TrimSlabs, ExpSlabPages(), __ATOMIC_RELAXED);
    __atomic_store_n(&ExpState.Turn, ExpTurn(Live / 2), __ATOMIC_RELAXED);
    __atomic_store_n(&ExpState.TurnKept, ExpTurn(Live / 8), __ATOMIC_RELAXED);
    __atomic_store_n(&ExpState.Pacing, 0, __ATOMIC_RELEASE);
}

SIZE_T ExpTrimPools(BOOLEAN All)
{
    SIZE_T Returned = 0;
    ULONG Kind, Class;
    ULONG64 Live = 0;
    __atomic_add_fetch(&ExpState.Trimming, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ExpState.Auditing, __ATOMIC_SEQ_CST) != 0) {
        __atomic_sub_fetch(&ExpState.Trimming, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    ExpTrimFreeCaches();
    ExpTrimIdleBins(All);
    for (Kind = 0; Kind < EXP_KINDS; Kind++)
        for (Class = 0; Class < EXP_CLASSES; Class++)
            Live += ExpTrimCenter(&ExpState.Centers[Kind * EXP_BINS + Class], All);
    for (Kind = 0; Kind < EXP_KINDS; Kind++) {
        KI_LOCK *Lock = &ExpState.SpanLock[EXP_IS_PAGED(Kind)];
        SIZE_T Idle;
        KiAcquireLock(Lock);
        Idle = All ? ExpState.FreePages[Kind] : ExpState.LeastFree[Kind];
        KiReleaseLock(Lock);
        Returned += ExpReturnPages((EXP_KIND)Kind, Idle);
        KiAcquireLock(Lock);
        ExpState.LeastFree[Kind] = ExpState.FreePages[Kind];
        KiReleaseLock(Lock);
    }
    ExpPace(Live, Returned);
    Returned += ExpTrimRecords();
    if (!All && Returned != 0) /* else somebody waits for them */
        MmDiscardFreePages(Returned);
    __atomic_add_fetch(&ExpState.Trims, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&ExpState.Trimming, 1, __ATOMIC_SEQ_CST);
    return Returned;
}

/* Of what the slabs have, a sixty-fourth is kept besides. */
static BOOLEAN ExpIsMuchKept(VOID)
{
    SIZE_T Kept = 0;
    ULONG Kind;
    for (Kind = 0; Kind < EXP_KINDS; Kind++)
        Kept += __atomic_load_n(&ExpState.FreePages[Kind], __ATOMIC_RELAXED);
    return Kept > MUCH_KEPT && Kept > ExpSlabPages() / 64;
}

ULONG64 ExpVolumeDue(VOID)
{
    ULONG64 Turn = __atomic_load_n(ExpIsMuchKept() ? &ExpState.TurnKept : &ExpState.Turn, __ATOMIC_RELAXED);
    return ExpHasChanged() ? Turn : Turn << __atomic_load_n(&ExpState.Fruitless, __ATOMIC_RELAXED);
}

VOID ExpNoteVolume(ULONG64 Allocations)
{
    ULONG64 Volume = __atomic_add_fetch(&ExpState.Volume, Allocations, __ATOMIC_RELAXED);
    if (Volume >= ExpVolumeDue() && __atomic_exchange_n(&ExpState.Volume, 0, __ATOMIC_RELAXED) >= Volume)
        ExpTrimSoon();
}

BOOLEAN ExpIsAnythingKept(VOID)
{
    BOOLEAN Kept = FALSE;
    ULONG Index;
    for (Index = 0; Index < EXP_KINDS && !Kept; Index++) {
        KI_LOCK *Lock = &ExpState.SpanLock[EXP_IS_PAGED(Index)];
        KiAcquireLock(Lock);
        Kept = ExpState.FreePages[Index] != 0;
        KiReleaseLock(Lock);
    }
    for (Index = 0; Index < EXP_KINDS * EXP_BINS && !Kept; Index++) {
        if (!ExpIsUsed(&ExpState.Centers[Index]))
            continue;
        KiAcquireLock(&ExpState.Centers[Index].Lock);
        Kept = ExpState.Centers[Index].Full != 0;
        KiReleaseLock(&ExpState.Centers[Index].Lock);
    }
    return Kept;
}
