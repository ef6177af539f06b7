/*
 * lookaside.c - lookaside lists: caches of free entries of one size that their owners keep.
 * SPDX-License-Identifier: MIT
 *
 * Implements the NPaged, Paged and Ex forms of initialise, allocate, free, delete and flush. The structures
 * are the kit's to the byte, because older headers inline allocate and free into drivers:
 *
 *    allocate:  TotalAllocates++;  entry = pop ListHead;  none: AllocateMisses++, entry = Allocate(Type,
 * Size, Tag) free:      TotalFrees++;  depth of ListHead >= Depth: FreeMisses++, Free(entry);  else push
 *
 * So Allocate and Free must be callable by the code that has the list: a list initialised by a PE driver is
 * given the ms_abi entries by ExpMakeLookasideForeign, and everything here calls them by KI_CALLOUT.
 *
 * Depth. A list starts with EXP_DEPTH_START and is adjusted by ExpAdjustList to its use since the last time:
 * more where more than one allocation in 200 found it empty, in proportion to the misses, up to MaximumDepth;
 * one less where nobody allocates. The lists are adjusted as they miss, and all of them by
 * ExAdjustLookasideDepth.
 *
 * The counters are the documented plain ones: concurrent users may lose a count.
 *
 * The lists in use are kept in a table of their own, by address, not through ListEntry: a list whose owner
 * forgot to delete it is then found by its address without being touched. ListEntry points at itself.
 *
 * LookasideLock guards the table and is never held while a list is touched.
 */
#include "ex/exp.h"

#undef ExFreePool

#define EXP_DEPTH_START  4u
#define EXP_ADJUST_EVERY 64u /* misses */
#define LIST_BUCKETS     64u

typedef struct _LIST_RECORD {
    struct _LIST_RECORD *Next;
    GENERAL_LOOKASIDE_POOL *List;
} LIST_RECORD;

static LIST_RECORD *ExpLists[LIST_BUCKETS];
static KI_LOCK LookasideLock;
PVOID ExpForeignAllocate, ExpForeignFree, ExpForeignAllocateEx, ExpForeignFreeEx;

VOID ExpInitLookaside(VOID)
{
    memset(ExpLists, 0, sizeof(ExpLists));
}

static LIST_RECORD **ExpBucketOf(const VOID *List)
{
    return &ExpLists[((ULONG_PTR)List >> 4) * 0x9E3779B97F4A7C15ull >> 58];
}

/* Without memory for the record the list works all the same; it is only not adjusted from outside. */
static VOID ExpEnterList(GENERAL_LOOKASIDE_POOL *List)
{
    LIST_RECORD *Record = ExpMetaAllocate(ExpMetaOther, sizeof(LIST_RECORD));
    LIST_RECORD **Bucket = ExpBucketOf(List);
    if (Record == NULL)
        return;
    Record->List = List;
    KiAcquireLock(&LookasideLock);
    Record->Next = *Bucket;
    *Bucket = Record;
    KiReleaseLock(&LookasideLock);
}

static VOID ExpRemoveList(GENERAL_LOOKASIDE_POOL *List)
{
    LIST_RECORD **Link = ExpBucketOf(List), *Record;
    KiAcquireLock(&LookasideLock);
    while ((Record = *Link) != NULL && Record->List != List)
        Link = &Record->Next;
    if (Record != NULL)
        *Link = Record->Next;
    KiReleaseLock(&LookasideLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(LIST_RECORD));
}

/* ---- the default routines of the Ex form ---- */
static PVOID ExpLookasideAllocate(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    UNREFERENCED_PARAMETER(Lookaside);
    return ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag);
}

static VOID ExpLookasideFree(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside)
{
    UNREFERENCED_PARAMETER(Lookaside);
    ExFreePool(Buffer);
}

VOID ExpMakeLookasideForeign(PVOID Lookaside)
{
    GENERAL_LOOKASIDE_POOL *List = Lookaside;
    if (List->Allocate == ExAllocatePoolWithTag && ExpForeignAllocate != NULL)
        List->Allocate = (PALLOCATE_FUNCTION)(ULONG_PTR)ExpForeignAllocate;
    if (List->Free == ExFreePool && ExpForeignFree != NULL)
        List->Free = (PFREE_FUNCTION)(ULONG_PTR)ExpForeignFree;
    if (List->AllocateEx == ExpLookasideAllocate && ExpForeignAllocateEx != NULL)
        List->AllocateEx = (PALLOCATE_FUNCTION_EX)(ULONG_PTR)ExpForeignAllocateEx;
    if (List->FreeEx == ExpLookasideFree && ExpForeignFreeEx != NULL)
        List->FreeEx = (PFREE_FUNCTION_EX)(ULONG_PTR)ExpForeignFreeEx;
}

/* ---- initialise ---- */
static VOID ExpInitializeList(GENERAL_LOOKASIDE_POOL *List, ULONG Type, SIZE_T Size, ULONG Tag)
{
    InitializeSListHead(&List->ListHead);
    List->Depth = EXP_DEPTH_START;
    List->MaximumDepth = EX_MAXIMUM_LOOKASIDE_DEPTH_BASE;
    List->TotalAllocates = List->AllocateMisses = 0;
    List->TotalFrees = List->FreeMisses = 0;
    List->Type = (POOL_TYPE)Type;
    List->Tag = Tag;
    List->Size = (ULONG)(Size < LOOKASIDE_MINIMUM_BLOCK_SIZE ? LOOKASIDE_MINIMUM_BLOCK_SIZE : Size);
    List->ListEntry.Flink = List->ListEntry.Blink = &List->ListEntry;
    List->LastTotalAllocates = List->LastAllocateMisses = 0;
    List->Future[0] = List->Future[1] = 0;
}

static VOID ExpInitializeGeneral(PGENERAL_LOOKASIDE Lookaside, PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free, ULONG Type,
                                 SIZE_T Size, ULONG Tag)
{
    GENERAL_LOOKASIDE_POOL *List = (GENERAL_LOOKASIDE_POOL *)Lookaside;
    ExpInitializeList(List, Type, Size, Tag);
    List->Allocate = Allocate != NULL ? Allocate : ExAllocatePoolWithTag;
    List->Free = Free != NULL ? Free : ExFreePool;
    ExpEnterList(List);
}

VOID ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free,
                                     ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    UNREFERENCED_PARAMETER(Depth);
    ExpInitializeGeneral(&Lookaside->L, Allocate, Free,
                         NonPagedPoolExecute | (Flags & (POOL_RAISE_IF_ALLOCATION_FAILURE | POOL_NX_ALLOCATION)), Size, Tag);
}

VOID ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate, PFREE_FUNCTION Free,
                                    ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    UNREFERENCED_PARAMETER(Depth);
    ExpInitializeGeneral(&Lookaside->L, Allocate, Free,
                         PagedPool | (Flags & (POOL_RAISE_IF_ALLOCATION_FAILURE | POOL_NX_ALLOCATION)), Size, Tag);
}

NTSTATUS ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PALLOCATE_FUNCTION_EX Allocate, PFREE_FUNCTION_EX Free,
                                     POOL_TYPE PoolType, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    ULONG Type = PoolType;
    UNREFERENCED_PARAMETER(Depth);
    if ((Type & ~(7u | POOL_NX_ALLOCATION | NonPagedPoolSession)) != 0 || (Type & NonPagedPoolMustSucceed))
        return STATUS_INVALID_PARAMETER_4;
    if (Flags > EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE ||
        (Flags == EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE && Allocate == NULL))
        return STATUS_INVALID_PARAMETER_5;
    if (Flags == EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL)
        Type |= POOL_RAISE_IF_ALLOCATION_FAILURE;
    else if (Flags == EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE)
        Type |= POOL_QUOTA_FAIL_INSTEAD_OF_RAISE;
    ExpInitializeList(&Lookaside->L, Type, Size, Tag);
    Lookaside->L.AllocateEx = Allocate != NULL ? Allocate : ExpLookasideAllocate;
    Lookaside->L.FreeEx = Free != NULL ? Free : ExpLookasideFree;
    ExpEnterList(&Lookaside->L);
    return STATUS_SUCCESS;
}

/* ---- depth ---- */
#define EXP_COUNT_UP(Field) __atomic_store_n(&(Field), __atomic_load_n(&(Field), __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED)

static VOID ExpAdjustList(GENERAL_LOOKASIDE_POOL *List)
{
    ULONG Allocates = List->TotalAllocates - List->LastTotalAllocates;
    ULONG Misses = List->AllocateMisses - List->LastAllocateMisses;
    ULONG Depth = List->Depth;
    List->LastTotalAllocates = List->TotalAllocates;
    List->LastAllocateMisses = List->AllocateMisses;
    if (Allocates == 0) {
        Depth -= Depth > EXP_DEPTH_START;
    } else if ((ULONG64)Misses * 200 > Allocates) {
        ULONG Room = List->MaximumDepth > Depth ? List->MaximumDepth - Depth : 0;
        Depth += (ULONG)((ULONG64)Misses * Room / Allocates / 2) + (Room > 0);
        if (Depth > List->MaximumDepth)
            Depth = List->MaximumDepth;
    }
    __atomic_store_n(&List->Depth, (USHORT)Depth, __ATOMIC_RELAXED);
}

static VOID ExpCountMiss(GENERAL_LOOKASIDE_POOL *List)
{
    EXP_COUNT_UP(List->AllocateMisses);
    if (List->AllocateMisses - List->LastAllocateMisses >= EXP_ADJUST_EVERY)
        ExpAdjustList(List);
}

/* Lists come and go meanwhile: the table is read a bucket at a time, and the lists touched without the lock.
 * A list that is deleted by another thread at that moment must not be: adjust from where lists do not go
 * away. */
VOID ExAdjustLookasideDepth(VOID)
{
    GENERAL_LOOKASIDE_POOL *Batch[32];
    ULONG Bucket, Count, Skip, Index;
    for (Bucket = 0; Bucket < LIST_BUCKETS; Bucket++) {
        for (Skip = 0;; Skip += Count) {
            LIST_RECORD *Record;
            KiAcquireLock(&LookasideLock);
            for (Record = ExpLists[Bucket], Index = 0; Record != NULL && Index < Skip; Index++)
                Record = Record->Next;
            for (Count = 0; Record != NULL && Count < ARRAYSIZE(Batch); Record = Record->Next)
                Batch[Count++] = Record->List;
            KiReleaseLock(&LookasideLock);
            for (Index = 0; Index < Count; Index++)
                ExpAdjustList(Batch[Index]);
            if (Count < ARRAYSIZE(Batch))
                break;
        }
    }
}

/* ---- allocate and free ---- */
static inline PVOID ExpPopList(GENERAL_LOOKASIDE_POOL *List)
{
    PVOID Entry;
    EXP_COUNT_UP(List->TotalAllocates);
    Entry = ExpPopPoolEntry(&List->ListHead);
    if (Entry == NULL)
        ExpCountMiss(List);
    return Entry;
}

static inline BOOLEAN ExpPushList(GENERAL_LOOKASIDE_POOL *List, PVOID Entry)
{
    EXP_COUNT_UP(List->TotalFrees);
    if (ExQueryDepthSList(&List->ListHead) >= __atomic_load_n(&List->Depth, __ATOMIC_RELAXED)) {
        EXP_COUNT_UP(List->FreeMisses);
        return FALSE;
    }
    ExpInterlockedPushEntrySList(&List->ListHead, Entry);
    return TRUE;
}

static VOID ExpFreeEntry(GENERAL_LOOKASIDE_POOL *List, PVOID Entry)
{
    if (List->Free == ExFreePool)
        ExFreePool(Entry);
    else
        KI_CALLOUT(VOID, List->Free, (PVOID), (Entry));
}

static VOID ExpFreeEntryEx(PLOOKASIDE_LIST_EX Lookaside, PVOID Entry)
{
    KI_CALLOUT(VOID, Lookaside->L.FreeEx, (PVOID, PLOOKASIDE_LIST_EX), (Entry, Lookaside));
}

static PVOID ExpAllocateFromGeneral(PGENERAL_LOOKASIDE Lookaside)
{
    GENERAL_LOOKASIDE_POOL *List = (GENERAL_LOOKASIDE_POOL *)Lookaside;
    PVOID Entry = ExpPopList(List);
    if (Entry == NULL)
        Entry = List->Allocate == ExAllocatePoolWithTag
                    ? ExAllocatePoolWithTag(List->Type, List->Size, List->Tag)
                    : KI_CALLOUT(PVOID, List->Allocate, (POOL_TYPE, SIZE_T, ULONG), (List->Type, List->Size, List->Tag));
    return Entry;
}

static VOID ExpFreeToGeneral(PGENERAL_LOOKASIDE Lookaside, PVOID Entry)
{
    GENERAL_LOOKASIDE_POOL *List = (GENERAL_LOOKASIDE_POOL *)Lookaside;
    if (!ExpPushList(List, Entry))
        ExpFreeEntry(List, Entry);
}

static VOID ExpDeleteGeneral(PGENERAL_LOOKASIDE Lookaside)
{
    GENERAL_LOOKASIDE_POOL *List = (GENERAL_LOOKASIDE_POOL *)Lookaside;
    PSLIST_ENTRY Entry;
    ExpRemoveList(List);
    while ((Entry = ExpPopPoolEntry(&List->ListHead)) != NULL)
        ExpFreeEntry(List, Entry);
}

PVOID ExAllocateFromNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside)
{
    return ExpAllocateFromGeneral(&Lookaside->L);
}

PVOID ExAllocateFromPagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside)
{
    return ExpAllocateFromGeneral(&Lookaside->L);
}

VOID ExFreeToNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry)
{
    ExpFreeToGeneral(&Lookaside->L, Entry);
}

VOID ExFreeToPagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PVOID Entry)
{
    ExpFreeToGeneral(&Lookaside->L, Entry);
}

VOID ExDeleteNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside)
{
    ExpDeleteGeneral(&Lookaside->L);
}

VOID ExDeletePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside)
{
    ExpDeleteGeneral(&Lookaside->L);
}

PVOID ExAllocateFromLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    PVOID Entry = ExpPopList(&Lookaside->L);
    if (Entry == NULL)
        Entry = KI_CALLOUT(PVOID, Lookaside->L.AllocateEx, (POOL_TYPE, SIZE_T, ULONG, PLOOKASIDE_LIST_EX),
                           (Lookaside->L.Type, Lookaside->L.Size, Lookaside->L.Tag, Lookaside));
    return Entry;
}

VOID ExFreeToLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PVOID Entry)
{
    if (!ExpPushList(&Lookaside->L, Entry))
        ExpFreeEntryEx(Lookaside, Entry);
}

VOID ExFlushLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    PSLIST_ENTRY Entry;
    while ((Entry = ExpPopPoolEntry(&Lookaside->L.ListHead)) != NULL)
        ExpFreeEntryEx(Lookaside, Entry);
}

VOID ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    ExpRemoveList(&Lookaside->L);
    ExFlushLookasideListEx(Lookaside);
}
