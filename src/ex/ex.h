/*
 * ex.h - what the pools offer to the layers above them: start and stop, the end of a thread, what is known
 * about a block, tag use, the validator, and the variables through which other layers take part. The pools'
 * own structures are in exp.h; driver-visible declarations in include/nt/wdm/ex.h. SPDX-License-Identifier:
 * MIT
 */
#pragma once
#include "mm/mm.h"

/* After MmInitSystem. STATUS_NO_MEMORY. */
NTSTATUS ExInitSystem(VOID);
/* Forgets every block; before MmShutdownSystem, when no other thread uses pools any more. */
VOID ExShutdownSystem(VOID);
/* A thread ends: its blocks stay, its cache is given up. Called by ke on the ending thread or on its behalf,
 * after its last kernel call and before the KTHREAD is freed. IRQL <= DISPATCH_LEVEL. */
VOID ExThreadRundown(KTHREAD *Thread);

#define EXP_MAX_STACK 16

/* ExAllocatePoolWithTag(NonPagedPoolNx, ...) in the name of whoever called the routine that allocates: the block is its leak if it is not
 * freed. Caller: that routine's return address. IRQL <= DISPATCH_LEVEL. */
PVOID ExpAllocateFor(SIZE_T Size, ULONG Tag, ULONG_PTR Caller);

typedef enum _EXP_BLOCK_STATE {
    ExpBlockNone,  /* no pool block is, or is known to have been, at or around the address */
    ExpBlockLive,  /* allocated */
    ExpBlockFreed, /* was allocated and has been freed */
    ExpBlockNever, /* in a page that pools own, but never handed out */
} EXP_BLOCK_STATE;

typedef struct _EXP_BLOCK_INFO {
    EXP_BLOCK_STATE State;
    ULONG_PTR Start;
    SIZE_T Size;        /* bytes asked for; ExpBlockNever: the room */
    SIZE_T Room;        /* bytes up to the next block */
    SIZE_T Front, Tail; /* bytes before Start, and behind Size, that hold the pattern Fill while the block lives */
    UCHAR Fill;
    LONG_PTR Offset; /* of the address asked about, from Start */
    ULONG Tag;       /* 0: unknown */
    POOL_TYPE PoolType;
    BOOLEAN QuotaCharged;
    ULONG AllocFrames, FreeFrames; /* frames below that are valid */
    ULONG_PTR AllocStack[EXP_MAX_STACK], FreeStack[EXP_MAX_STACK];
} EXP_BLOCK_INFO;
/* What is known about the block that holds Address, or held it. FALSE (State ExpBlockNone): not pool. Reads
 * metadata only, never the block. Any IRQL; exact while nobody frees the block at the same moment. */
BOOLEAN ExpDescribeBlock(const volatile VOID *Address, EXP_BLOCK_INFO *Info);
/* Calls back for each live block, in address order of each pool, until the callback returns FALSE. The
 * callback must not allocate or free pool. Meant for a quiet system: blocks that come or go meanwhile may be
 * seen or not. */
VOID ExpEnumerateBlocks(BOOLEAN (*Callback)(const EXP_BLOCK_INFO *Info, PVOID Context), PVOID Context);

typedef struct _EXP_TAG_USE {
    ULONG Tag;
    BOOLEAN Paged; /* else nonpaged, executable or not */
    ULONG64 Allocs, Frees;
    LONG64 Bytes, PeakBytes;
    ULONG64 PeakError; /* PeakBytes is within this of the truth; 0: exact (one thread used the tag) */
    ULONG64 Untold;    /* the most that the threads together keep to themselves: 64 KiB each, 1 MiB of one busy with the tag */
    ULONG Threads;     /* that have counted for the tag */
} EXP_TAG_USE;
/* Calls back for each tag and pool ever used, in no order. Sums exact when nobody allocates or frees
 * meanwhile. */
VOID ExpQueryTags(VOID (*Callback)(const EXP_TAG_USE *Use, PVOID Context), PVOID Context);

typedef struct _EXP_POOL_TOTALS {
    ULONG64 Allocs, Frees;
    LONG64 Bytes;
    LONG64 PeakBytes; /* of all tags together */
    ULONG64 PeakError;
    ULONG64 PagesInSlabs, PagesInRuns; /* held from the memory manager */
    ULONG64 PagesKept;                 /* free, and committed still for whoever is next */
    ULONG64 PagesReturned;             /* ever given back to the memory manager */
    ULONG64 Trims;                     /* of all pools */
} EXP_POOL_TOTALS;
VOID ExpQueryPool(BOOLEAN Paged, EXP_POOL_TOTALS *Totals);

/* NULL, or the text of the first broken invariant. Meant for a quiet system: no allocation or free at the
 * same time. */
const CHAR *ExpValidatePools(VOID);

/* ---- variables other layers set ---- */
/* ldr: the ms_abi entries of ExAllocatePoolWithTag and ExFreePool (and the Ex forms), which a lookaside list
 * that was initialised by a PE driver carries, because the driver's own inlined code calls them.
 * ExpMakeLookasideForeign puts them in where the list has the native defaults. NULL: native ones stay. */
extern PVOID ExpForeignAllocate, ExpForeignFree, ExpForeignAllocateEx, ExpForeignFreeEx;
VOID ExpMakeLookasideForeign(PVOID Lookaside);
/* A lookaside list in use whose head starts inside [Base, Base + Bytes), or NULL: freeing it is 0xC4/0xCC. Any IRQL. */
PVOID ExpFindLookaside(const VOID *Base, SIZE_T Bytes);
/* Other objects in use, as far as the Verifier's options have them noted (objects.c). Any IRQL. */
typedef enum _EXP_OBJECT_KIND { ExpObjectResource, ExpObjectRemoveLock, ExpObjectKinds } EXP_OBJECT_KIND;
PVOID ExpFindObject(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes);
const VOID *ExpNoteObject(EXP_OBJECT_KIND Kind, const VOID *Object); /* initialised; its record, not NULL, if it was already */
VOID ExpForgetObject(EXP_OBJECT_KIND Kind, const VOID *Object);      /* deleted */
VOID ExpForgetObjects(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes);
VOID ExpResetObjects(VOID);
/* Stops with 0x96 if a queued work item lies inside (work.c). */
VOID ExpCheckNoWorkItem(const VOID *Base, SIZE_T Bytes);
extern ULONG ExpLookasidePeriod; /* milliseconds between two adjustments of their depths */
/* ps: charges and returns pool quota. NULL: every charge succeeds and is only counted. */
extern NTSTATUS (*ExpChargeQuotaRoutine)(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
extern VOID (*ExpReturnQuotaRoutine)(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
/* vf: takes an address that lies in special pool. NULL: 0xC2/0x42 like any address that is not pool. */
extern VOID (*ExpSpecialFreeRoutine)(PVOID Block, ULONG Tag, ULONG_PTR Caller);
/* vf: what is known of an address of special pool; visits its live blocks (FALSE: the visitor wants no more). */
extern BOOLEAN (*ExpDescribeSpecialRoutine)(ULONG_PTR Address, EXP_BLOCK_INFO *Info);
extern BOOLEAN (*ExpEnumerateSpecialBlocksRoutine)(BOOLEAN (*Callback)(const EXP_BLOCK_INFO *Info, PVOID Context),
                                                   PVOID Context);
/* vf: tells the validator of every live block of special pool, with the slot that ExpChargeTag gave. */
extern VOID (*ExpEnumerateSpecialRoutine)(VOID (*Visit)(ULONG Slot, SIZE_T Size, PVOID Context), PVOID Context);
