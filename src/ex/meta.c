/*
 * meta.c - the page maps: which run a page belongs to. SPDX-License-Identifier: MIT
 *
 * Page maps. One per pool region: flat arrays with an element for each page, in reserved address space that is backed from
 * the front as the region grows (Covered). An entry is the EXP_RUN whose page it is, or NULL; Plain tells
 * the fast path what it needs of a slab's page without its record; Edges and Marks are run.c's.
 *
 * Ghosts. When a run's pages go back, its record stays in the map until EXP_GHOSTS later ones have followed
 * it, or the pages are used by a new run. A second free of such a block is then still named as what it is. The record of a slab whose pages
 * another class has taken over (adopt.c) lingers likewise, but in no map: it tells where that class has never had a block.
 *
 * Invariants:
 *   M1 an entry of a page below Covered is NULL, a run that spans the page, or a ghost that spanned it
 *   M2 every page of a run that is not released points at the run
 *      and its Plain tells the words and bin of a page of a slab that does not drain, and is 0 otherwise
 *   M3 a ghost is in the ring exactly once; one in no map lies over pages that are another run's
 *
 * Locks: MapLock for growth of Covered; GhostLock for the ring. Entries are atomic.
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
    Map->Entries = ExpReserveMap(Pages * sizeof(EXP_RUN *));
    Map->Plain = ExpReserveMap(Pages * sizeof(ULONG64));
    Map->Edges = ExpReserveMap(Pages * sizeof(EXP_SPAN *));
    Map->Marks = ExpReserveMap(Pages / 8);
    return Map->Entries != NULL && Map->Plain != NULL && Map->Edges != NULL && Map->Marks != NULL ? STATUS_SUCCESS
                                                                                                  : STATUS_NO_MEMORY;
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
        Done = ExpBackMap(Map->Entries, First, 64) && ExpBackMap(Map->Plain, First, 64) && ExpBackMap(Map->Edges, First, 64) &&
               ExpBackMap(Map->Marks, First, 1);
        if (Done)
            __atomic_store_n(&Map->Covered, Covered < Map->Size ? Covered : Map->Size, __ATOMIC_RELEASE);
    }
    ExpShowCovered();
    KiReleaseLock(&ExpState.MapLock);
    return Done;
}

VOID ExpMapRun(EXP_RUN *Run)
{
    EXP_MAP *Map = &ExpState.Maps[Run->Kind == ExpPaged];
    SIZE_T First = (Run->Base - Map->Base) >> 12;
    ULONG Page;
    for (Page = 0; Page < Run->Pages; Page++)
        __atomic_store_n(&Map->Entries[First + Page], Run, __ATOMIC_RELEASE);
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
        __atomic_store_n(&Map->Plain[First + Page], Fast ? EXP_PLAIN(Slab->Words + Page * Slab->Stride, Slab->Bin) : 0,
                         __ATOMIC_RELEASE);
}

static VOID ExpForgetGhost(EXP_RUN *Run)
{
    EXP_MAP *Map = &ExpState.Maps[Run->Kind == ExpPaged];
    EXP_RUN **Entry = &Map->Entries[(Run->Base - Map->Base) >> 12];
    ULONG Page;
    for (Page = 0; Page < Run->Pages; Page++) {
        EXP_RUN *Expected = Run;
        if (__atomic_load_n(&Entry[Page], __ATOMIC_RELAXED) != Run)
            continue; /* in use again, as the pages of most ghosts are: a load is cheaper than an exchange */
        __atomic_compare_exchange_n(&Entry[Page], &Expected, NULL, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
    ExpRecycleRecord(Run);
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
}

/* Without the lock, as for reports: what it finds is a record, if perhaps of another life. */
EXP_SLAB *ExpFindGhost(ULONG_PTR Address)
{
    ULONG Index, Number;
    for (Index = 0; Index < EXP_GHOSTS; Index++) {
        EXP_SLAB *Slab = (EXP_SLAB *)__atomic_load_n(&ExpState.Ghosts[Index], __ATOMIC_RELAXED);
        if (Slab == NULL || Slab->Run.Type != ExpRunSlab || Address - Slab->Run.Base >= (ULONG_PTR)Slab->Run.Pages << 12)
            continue;
        if ((Address & (PAGE_SIZE - 1)) >= Slab->TailOffset)
            continue;
        Number = ExpNumberAround(Slab, Address);
        if (Address - ExpBlockAddress(Slab, Number) < Slab->BlockSize && ExpReadWord(&Slab->Words[Number]) != 0)
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
