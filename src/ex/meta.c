/*
 * meta.c - where the pools keep what they know: memory for records, and the page maps.
 * SPDX-License-Identifier: MIT
 *
 * Records. Resident memory of MmRegionSystemData, taken in chunks of 64 KiB and cut from the front. A record
 * that is no longer needed goes to the free list of its exact size and is used again for that use and size
 * only; nothing returns to the memory manager until ExShutdownSystem. So a pointer to a record may be
 * followed at any later time.
 *
 * Page maps. One per pool region: a flat array with a pointer for each page, in reserved address space that
 * is backed from the front as the region grows (Covered). An entry is the EXP_RUN whose page it is, or NULL.
 *
 * Ghosts. When a run's pages go back, its record stays in the map until EXP_GHOSTS later ones have followed
 * it, or the pages are used by a new run. A second free of such a block is then still named as what it is.
 *
 * Invariants:
 *   M1 an entry of a page below Covered is NULL, a run that spans the page, or a ghost that spanned it
 *   M2 every page of a run that is not released points at the run
 *   M3 a ghost is in the ring exactly once
 *
 * Locks: MapLock for growth of Covered; MetaLock for records; GhostLock for the ring. Entries are atomic.
 */
#include "ex/exp.h"

#define META_CHUNK_PAGES 16u
#define META_SIZES       512u /* records of up to 32 KiB */
#define MAP_STEP_PAGES   16u  /* of map memory: 8,192 entries, 32 MiB of a region */

typedef struct _META_FREE {
    struct _META_FREE *Next;
} META_FREE;

static struct {
    PUCHAR Cursor, End;
    META_FREE *Free[EXP_METAS][META_SIZES + 1];
} ExpMeta;

PVOID ExpMetaAllocate(EXP_META Use, SIZE_T Bytes)
{
    SIZE_T Room = (Bytes + 63) & ~(SIZE_T)63;
    SIZE_T List = Room / 64;
    PVOID Record = NULL;
    if (List > META_SIZES)
        return NULL;
    KiAcquireLock(&ExpState.MetaLock);
    if (ExpMeta.Free[Use][List] != NULL) {
        Record = ExpMeta.Free[Use][List];
        ExpMeta.Free[Use][List] = ExpMeta.Free[Use][List]->Next;
    } else {
        if ((SIZE_T)(ExpMeta.End - ExpMeta.Cursor) < Room) {
            /* The rest of the old chunk is given up: less than one record. On a small machine take less at a
             * time. */
            SIZE_T Pages = Room > META_CHUNK_PAGES * PAGE_SIZE ? (Room + PAGE_SIZE - 1) / PAGE_SIZE : META_CHUNK_PAGES;
            PUCHAR Chunk = MmAllocatePages(MmRegionSystemData, Pages, MM_PAGES_ZERO, HighPoolPriority);
            if (Chunk == NULL) {
                Pages = (Room + PAGE_SIZE - 1) / PAGE_SIZE;
                Chunk = MmAllocatePages(MmRegionSystemData, Pages, MM_PAGES_ZERO, HighPoolPriority);
            }
            if (Chunk == NULL)
                goto Done;
            ExpMeta.Cursor = Chunk;
            ExpMeta.End = Chunk + Pages * PAGE_SIZE;
        }
        Record = ExpMeta.Cursor;
        ExpMeta.Cursor += Room;
    }
Done:
    KiReleaseLock(&ExpState.MetaLock);
    return Record;
}

/* The record's contents are the caller's to clear: late readers of a dead record rely on its state field. */
VOID ExpMetaFree(EXP_META Use, PVOID Record, SIZE_T Bytes)
{
    SIZE_T List = (Bytes + 63) / 64;
    META_FREE *Free = Record;
    KiAcquireLock(&ExpState.MetaLock);
    Free->Next = ExpMeta.Free[Use][List];
    ExpMeta.Free[Use][List] = Free;
    KiReleaseLock(&ExpState.MetaLock);
}

static NTSTATUS ExpInitMap(EXP_MAP *Map, MM_REGION Region)
{
    MM_REGION_INFO Info;
    MmQueryRegion(Region, &Info);
    Map->Base = Info.Base;
    Map->Size = Info.End - Info.Base;
    Map->Covered = 0;
    Map->Entries = MmAllocatePages(MmRegionSystemData, ((Map->Size >> 12) * sizeof(EXP_RUN *) + PAGE_SIZE - 1) / PAGE_SIZE,
                                   MM_PAGES_RESERVE, HighPoolPriority);
    return Map->Entries != NULL ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

NTSTATUS ExpInitMeta(VOID)
{
    NTSTATUS Status;
    memset(&ExpMeta, 0, sizeof(ExpMeta));
    Status = ExpInitMap(&ExpState.Maps[0], MmRegionNonPagedPool);
    if (NT_SUCCESS(Status))
        Status = ExpInitMap(&ExpState.Maps[1], MmRegionPagedPool);
    return Status;
}

static BOOLEAN ExpGrowMap(EXP_MAP *Map, SIZE_T Bytes)
{
    BOOLEAN Done = TRUE;
    KiAcquireLock(&ExpState.MapLock);
    while (Done && Map->Covered < Bytes) {
        SIZE_T First = (Map->Covered >> 12) * sizeof(EXP_RUN *) / PAGE_SIZE;
        SIZE_T All = ((Map->Size >> 12) * sizeof(EXP_RUN *) + PAGE_SIZE - 1) / PAGE_SIZE;
        SIZE_T Pages = All - First < MAP_STEP_PAGES ? All - First : MAP_STEP_PAGES;
        SIZE_T Covered = Map->Covered + Pages * (PAGE_SIZE / sizeof(EXP_RUN *)) * PAGE_SIZE;
        if (!NT_SUCCESS(MmCommitPages((PUCHAR)Map->Entries + First * PAGE_SIZE, Pages, MM_PAGES_ZERO)))
            Done = FALSE;
        else
            __atomic_store_n(&Map->Covered, Covered < Map->Size ? Covered : Map->Size, __ATOMIC_RELEASE);
    }
    KiReleaseLock(&ExpState.MapLock);
    return Done;
}

BOOLEAN ExpMapRun(EXP_RUN *Run)
{
    EXP_MAP *Map = &ExpState.Maps[Run->Kind == ExpPaged];
    SIZE_T End = Run->Base - Map->Base + (SIZE_T)Run->Pages * PAGE_SIZE;
    EXP_RUN **Entry = &Map->Entries[(Run->Base - Map->Base) >> 12];
    ULONG Page;
    if (__atomic_load_n(&Map->Covered, __ATOMIC_ACQUIRE) < End && !ExpGrowMap(Map, End))
        return FALSE;
    for (Page = 0; Page < Run->Pages; Page++)
        __atomic_store_n(&Entry[Page], Run, __ATOMIC_RELEASE);
    return TRUE;
}

static VOID ExpForgetGhost(EXP_RUN *Run)
{
    EXP_MAP *Map = &ExpState.Maps[Run->Kind == ExpPaged];
    EXP_RUN **Entry = &Map->Entries[(Run->Base - Map->Base) >> 12];
    ULONG Page;
    for (Page = 0; Page < Run->Pages; Page++) {
        EXP_RUN *Expected = Run;
        __atomic_compare_exchange_n(&Entry[Page], &Expected, NULL, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
    ExpRecycleRecord(Run);
}

VOID ExpReleaseRun(EXP_RUN *Run)
{
    PVOID Base = (PVOID)Run->Base;
    ULONG Pages = Run->Pages;
    EXP_RUN *Oldest;
    __atomic_store_n(&Run->Released, TRUE, __ATOMIC_RELEASE);
    KiAcquireLock(&ExpState.GhostLock);
    Oldest = ExpState.Ghosts[ExpState.GhostNext];
    ExpState.Ghosts[ExpState.GhostNext] = Run;
    ExpState.GhostNext = (ExpState.GhostNext + 1) % EXP_GHOSTS;
    if (Oldest != NULL)
        ExpForgetGhost(Oldest);
    KiReleaseLock(&ExpState.GhostLock);
    /* Last: from here the pages may be another run's. */
    MmFreePages(Base, Pages);
}
