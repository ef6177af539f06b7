/*
 * meta.c - the page maps: which run a page belongs to. SPDX-License-Identifier: MIT
 *
 * Page maps. One per pool region: flat arrays with an element for each page, in reserved address space that is backed from
 * the front as the region grows (Covered). An entry of Pages names the EXP_RUN whose page it is, or none; Plain tells
 * the fast path what it needs of a slab's page without its record; Edge and Marks are run.c's.
 *
 * Each page of a slab names it. A big block is named by its first page and by those whose number is a multiple of EXP_MILE; what the entries of
 * its other pages say, NULL or a ghost of before, means nothing. So a run of 256 pages is entered and forgotten with a handful of writes, a free
 * finds its block by one load as ever, and only who asks about an address inside a block (ExpFindRun, for reports) looks at pages before it.
 *
 *     page     60    61    62    63    64    65   ...   127   128   129         a big block from 61 to 129
 *              .     Run   ?     ?     Run   ?           ?    Run   ?
 *
 * Ghosts. When a run's pages go back, its record stays in the map until EXP_GHOSTS later ones have followed
 * it, or the pages are used by a new run. A second free of such a block is then still named as what it is. The record of a slab whose pages
 * another class has taken over (adopt.c) lingers likewise, but in no map: it tells where that class has never had a block.
 *
 * Invariants:
 *   M1 an entry of a page below Covered is NULL, a run that spans the page, or a ghost that spanned it
 *   M2 every page of a run that is not released, and that must name it, points at the run; no page points at another one that is not released
 *      and its Plain tells the words and bin of a page of a slab that does not drain, and is 0 otherwise
 *   M3 a ghost is in the ring exactly once; one in no map lies over pages that are another run's
 *
 * Locks: MapLock for growth of Covered; GhostLock for the ring, and while an entry's run is looked at that may go meanwhile. Entries are atomic.
 */
#include "ex/exp.h"

#define MAP_STEP (8u * 512u) /* pages of a region, for which the map grows at a time: 8 pages of entries */

static PVOID ExpReserveMap(SIZE_T Bytes)
{
    return MmAllocatePages(MmRegionSystemData, (Bytes + PAGE_SIZE - 1) / PAGE_SIZE, MM_PAGES_RESERVE, HighPoolPriority);
}

static NTSTATUS ExpInitMap(EXP_MAP *Map, MM_REGION Region)
{
    MM_REGION_INFO Info;
    SIZE_T Pages;
    MmQueryRegion(Region, &Info);
    Map->Base = Info.Base;
    Map->Size = Info.End - Info.Base;
    Map->Covered = 0;
    Pages = (((Map->Size >> 12) + MAP_STEP - 1) & ~(SIZE_T)(MAP_STEP - 1));
    Map->Pages = ExpReserveMap(Pages * sizeof(EXP_PAGE));
    Map->Plain = ExpReserveMap(Pages * sizeof(ULONG64));
    Map->Marks = ExpReserveMap(Pages / 8);
    return Map->Pages != NULL && Map->Plain != NULL && Map->Marks != NULL ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

NTSTATUS ExpInitMeta(VOID)
{
    NTSTATUS Status;
    ExpInitRecords();
    Status = ExpInitMap(&ExpState.Maps[0], MmRegionNonPagedPool);
    if (NT_SUCCESS(Status))
        Status = ExpInitMap(&ExpState.Maps[1], MmRegionPagedPool);
    return Status;
}

/* Backs elements [First, First + MAP_STEP) of an array; what an earlier failure left backed stays. */
static BOOLEAN ExpBackMap(PVOID Array, SIZE_T First, SIZE_T Bits)
{
    SIZE_T From = First * Bits / 8 / PAGE_SIZE, To = ((First + MAP_STEP) * Bits / 8 + PAGE_SIZE - 1) / PAGE_SIZE;
    for (; From < To; From++) {
        NTSTATUS Status = MmCommitPages((PUCHAR)Array + From * PAGE_SIZE, 1, MM_PAGES_ZERO | MM_PAGES_NO_RECLAIM);
        if (!NT_SUCCESS(Status) && Status != STATUS_ALREADY_COMMITTED)
            return FALSE;
    }
    return TRUE;
}

BOOLEAN ExpCoverPages(ULONG Paged, ULONG_PTR Base, SIZE_T Pages)
{
    EXP_MAP *Map = &ExpState.Maps[Paged];
    SIZE_T End = Base - Map->Base + (Pages << 12);
    BOOLEAN Done = TRUE;
    if (__atomic_load_n(&Map->Covered, __ATOMIC_ACQUIRE) >= End)
        return TRUE;
    KiAcquireLock(&ExpState.MapLock);
    while (Done && Map->Covered < End) {
        SIZE_T First = ((Map->Covered >> 12) + MAP_STEP - 1) & ~(SIZE_T)(MAP_STEP - 1), Covered = (First + MAP_STEP) << 12;
        Done = ExpBackMap(Map->Pages, First, 128) && ExpBackMap(Map->Plain, First, 64) && ExpBackMap(Map->Marks, First, 1);
        if (Done)
            __atomic_store_n(&Map->Covered, Covered < Map->Size ? Covered : Map->Size, __ATOMIC_RELEASE);
    }
    ExpShowCovered();
    KiReleaseLock(&ExpState.MapLock);
    return Done;
}

/* The next page of the run's, by number in the region, that names it. */
static inline SIZE_T ExpNextNamed(const EXP_RUN *Run, SIZE_T Page)
{
    return Run->Type == ExpRunSlab ? Page + 1 : (Page | (EXP_MILE - 1)) + 1;
}

VOID ExpMapRun(EXP_RUN *Run)
{
    EXP_MAP *Map = &ExpState.Maps[Run->Kind == ExpPaged];
    SIZE_T Page = (Run->Base - Map->Base) >> 12, End = Page + Run->Pages;
    for (; Page < End; Page = ExpNextNamed(Run, Page))
        __atomic_store_n(&Map->Pages[Page].Run, Run, __ATOMIC_RELEASE);
    if (Run->Type == ExpRunSlab)
        ExpShowRun(Run, TRUE);
}

VOID ExpShowRun(EXP_RUN *Run, BOOLEAN Fast)
{
    const EXP_MAP *Map = &ExpState.Maps[EXP_IS_PAGED(Run->Kind)];
    const EXP_SLAB *Slab = (const EXP_SLAB *)Run;
    SIZE_T First = (Run->Base - Map->Base) >> 12;
    ULONG Page;
    for (Page = 0; Page < Run->Pages; Page++)
        __atomic_store_n(&Map->Plain[First + Page],
                         Fast ? EXP_PLAIN(ExpWordsOf(Slab) + Page * ExpStride(Slab), ExpBinOfSlab(Slab)) : 0, __ATOMIC_RELEASE);
}

static VOID ExpForgetGhost(EXP_RUN *Run)
{
    EXP_MAP *Map = &ExpState.Maps[Run->Kind == ExpPaged];
    SIZE_T Page = (Run->Base - Map->Base) >> 12, End = Page + Run->Pages;
    for (; Page < End; Page = ExpNextNamed(Run, Page)) {
        EXP_RUN *Expected = Run;
        if (__atomic_load_n(&Map->Pages[Page].Run, __ATOMIC_RELAXED) != Run)
            continue; /* in use again, as the pages of most ghosts are: a load is cheaper than an exchange */
        __atomic_compare_exchange_n(&Map->Pages[Page].Run, &Expected, NULL, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
}

VOID ExpEnterGhost(EXP_RUN *Run)
{
    EXP_RUN *Oldest;
    __atomic_store_n(&Run->Gate, EXP_GATE_RELEASED, __ATOMIC_RELEASE);
    KiAcquireLock(&ExpState.GhostLock);
    Oldest = ExpState.Ghosts[ExpState.GhostNext];
    __atomic_store_n(&ExpState.Ghosts[ExpState.GhostNext], Run, __ATOMIC_RELEASE);
    ExpState.GhostNext = (ExpState.GhostNext + 1) % EXP_GHOSTS;
    if (Oldest != NULL)
        ExpForgetGhost(Oldest);
    KiReleaseLock(&ExpState.GhostLock);
    if (Oldest != NULL)
        ExpRecycleRecord(Oldest);
}

static BOOLEAN ExpSpans(const EXP_RUN *Run, ULONG_PTR Address)
{
    return Address - Run->Base < (ULONG_PTR)Run->Pages << 12;
}

/* The run in use that a page belongs to which need not name it: one that begins before it, and is named by a page between the last mile and it. */
static EXP_RUN *ExpFindAround(const EXP_MAP *Map, ULONG_PTR Address)
{
    SIZE_T Page = (Address - Map->Base) >> 12;
    for (;; Page--) {
        EXP_RUN *Run = ExpLookupIn(Map, Page << 12);
        if (Run != NULL && !ExpIsReleased(Run))
            return ExpSpans(Run, Address) ? Run : NULL;
        if (Page % EXP_MILE == 0)
            return NULL;
    }
}

/* The latest. */
static EXP_RUN *ExpFindReleased(ULONG_PTR Address)
{
    ULONG Index, Next = ExpState.GhostNext;
    for (Index = 1; Index <= EXP_GHOSTS; Index++) {
        EXP_RUN *Run = __atomic_load_n(&ExpState.Ghosts[(Next - Index) % EXP_GHOSTS], __ATOMIC_RELAXED);
        if (Run != NULL && ExpSpans(Run, Address))
            return Run;
    }
    return NULL;
}

EXP_RUN *ExpFindRun(ULONG_PTR Address)
{
    const EXP_MAP *Map = &ExpState.Maps[Address - ExpState.Maps[1].Base < ExpState.Maps[1].Size];
    EXP_RUN *Run = ExpLookupRun(Address), *Found;
    ULONG Try;
    BOOLEAN Locked = FALSE;
    if (Run != NULL && !ExpIsReleased(Run))
        return Run;
    if (Address - Map->Base >= __atomic_load_n(&Map->Covered, __ATOMIC_ACQUIRE))
        return NULL;
    /* The lock keeps records from being used again. Reports come at any time, also while its owner is stopped: then they do without. */
    for (Try = 0; Try < 1000 && !(Locked = KiTryAcquireLock(&ExpState.GhostLock)); Try++)
        HalPause();
    Found = ExpFindAround(Map, Address);
    if (Found == NULL)
        Found = ExpFindReleased(Address);
    if (Locked)
        KiReleaseLock(&ExpState.GhostLock);
    return Found != NULL ? Found : Run;
}

/* Without the lock, as for reports: what it finds is a record, if perhaps of another life. */
EXP_SLAB *ExpFindGhost(ULONG_PTR Address)
{
    ULONG Index, Number;
    for (Index = 0; Index < EXP_GHOSTS; Index++) {
        EXP_SLAB *Slab = (EXP_SLAB *)__atomic_load_n(&ExpState.Ghosts[Index], __ATOMIC_RELAXED);
        if (Slab == NULL || Slab->Run.Type != ExpRunSlab || !ExpSpans(&Slab->Run, Address))
            continue;
        if ((Address & (PAGE_SIZE - 1)) >= ExpTailOffset(Slab))
            continue;
        Number = ExpNumberAround(Slab, Address);
        if (Address - ExpBlockAddress(Slab, Number) < Slab->BlockSize && ExpReadWord(&ExpWordsOf(Slab)[Number]) != 0)
            return Slab;
    }
    return NULL;
}

VOID ExpReleaseRun(EXP_RUN *Run, BOOLEAN Marked)
{
    ULONG_PTR Base = Run->Base;
    ULONG Pages = Run->Pages;
    EXP_KIND Kind = (EXP_KIND)Run->Kind;
    __atomic_store_n(&Run->Gate, EXP_GATE_RELEASED, __ATOMIC_RELEASE);
    if (Run->Type == ExpRunSlab)
        ExpShowRun(Run, FALSE);
    ExpEnterGhost(Run);
    /* Last: from here the pages may be another run's. */
    ExpGivePages(Kind, Base, Pages, Marked);
}
