/*
 * lookaside.c - lookaside lists: caches of free entries of one size that their owners keep. SPDX-License-Identifier: MIT
 *
 * Implements the NPaged, Paged and Ex forms of initialise, allocate, free, delete and flush, and ExAdjustLookasideDepth. The
 * structures are the kit's to the byte, because older headers inline allocate and free into drivers:
 *
 *    allocate:  TotalAllocates++;  entry = pop ListHead;           none: AllocateMisses++, entry = Allocate(Type, Size, Tag)
 *    free:      TotalFrees++;      depth of ListHead >= Depth:     FreeMisses++, Free(entry);   else push
 *
 * So Allocate and Free must be callable by the code that has the list: a list initialised by a PE driver is given the ms_abi
 * entries by ExpMakeLookasideForeign, and everything here calls them by KI_CALLOUT.
 *
 * Depth. A list starts with EXP_DEPTH_START. Every second a timer's DPC looks at each list (the timer runs while there are
 * lists) and adjusts it to its use since the last time: more where more than one allocation in 200 found it empty, in
 * proportion to the misses, up to MaximumDepth; one less where fewer did; half of what it has above the start where nobody
 * allocated. Entries beyond a smaller depth go as they are freed. ExAdjustLookasideDepth does the same at once.
 *
 * The counters are the documented plain ones: concurrent users may lose a count.
 *
 * The lists in use are kept in a table of their own, by address, not through ListEntry, with what they are known by (entry size
 * and tag). A list whose owner forgot to delete it is thereby found when its memory is freed (ExpFindLookaside), and is
 * recognised by the scan, which forgets it: memory that has become something else is not written to. Where its memory is gone the
 * scan stops the system with 0x0A. ListEntry points at itself.
 *
 *    none --- ExpEnterList ---> in the table <--> being scanned --- ExpRemoveList (waits for the scan) ---> none
 *
 * Misuse that Driver Verifier finds under miscellaneous checks (0x800): initialising a list that is in the table (0xC4/0xCA),
 * deleting one that is not (0xC4/0xCB), entries that are too small for a link (0xC4/0xCD).
 *
 * LookasideLock (leaf) guards the table and ExpScanned, and is never held while a list is touched. Watch: ExpFindLookaside,
 * tests/ddi/ExInitializeLookasideListEx.c, tests/misuse/lookaside.c.
 */
#include "ex/exp.h"

#undef ExFreePool

#define EXP_DEPTH_START     4u
#define EXP_MISSES_IN       200u /* allocations, of which one may find the list empty */
#define LIST_BUCKETS        64u
#define VERIFIER_MISC       0x800u
#define ADDRESS_IN(P, B, N) ((ULONG_PTR)(P) - (ULONG_PTR)(B) < (N))

typedef struct _LIST_RECORD {
    struct _LIST_RECORD *Next;
    GENERAL_LOOKASIDE_POOL *List;
    ULONG Tag, Size;
    ULONG Pass; /* the scan that saw it last */
} LIST_RECORD;

static LIST_RECORD *ExpLists[LIST_BUCKETS];
static KI_LOCK LookasideLock;
static GENERAL_LOOKASIDE_POOL *volatile ExpScanned; /* the scan is at this list */
static BOOLEAN ExpScanning;                         /* somebody scans */
static ULONG ExpPass, ExpListCount;
static BOOLEAN ExpTimerRuns;
static KTIMER ExpTimer;
static KDPC ExpDpc;
ULONG ExpLookasidePeriod = 1000;
PVOID ExpForeignAllocate, ExpForeignFree, ExpForeignAllocateEx, ExpForeignFreeEx;

static KDEFERRED_ROUTINE ExpScanDpc;

VOID ExpInitLookaside(VOID)
{
    memset(ExpLists, 0, sizeof(ExpLists));
    ExpScanned = NULL;
    ExpScanning = ExpTimerRuns = FALSE;
    ExpPass = ExpListCount = 0;
    KeInitializeTimer(&ExpTimer);
    KeInitializeDpc(&ExpDpc, ExpScanDpc, NULL);
}

static VOID ExpSetScanTimer(VOID)
{
    LARGE_INTEGER Due = {.QuadPart = -(LONGLONG)ExpLookasidePeriod * 10000};
    KeSetTimer(&ExpTimer, Due, &ExpDpc);
}

static LIST_RECORD **ExpBucketOf(const VOID *List)
{
    return &ExpLists[((ULONG_PTR)List >> 4) * 0x9E3779B97F4A7C15ull >> 58];
}

/* Without memory for the record the list works all the same; its depth is not adjusted then. */
static VOID ExpEnterList(GENERAL_LOOKASIDE_POOL *List)
{
    LIST_RECORD *Record = ExpMetaAllocate(ExpMetaOther, sizeof(LIST_RECORD)), *Known;
    LIST_RECORD **Bucket = ExpBucketOf(List);
    BOOLEAN SetTimer = FALSE;
    KiAcquireLock(&LookasideLock);
    for (Known = *Bucket; Known != NULL && Known->List != List;)
        Known = Known->Next;
    if (Known == NULL && Record != NULL) {
        Known = Record;
        Record = NULL;
        Known->List = List;
        Known->Pass = ExpPass;
        Known->Next = *Bucket;
        *Bucket = Known;
        __atomic_fetch_add(&ExpListCount, 1, __ATOMIC_RELAXED);
        SetTimer = !ExpTimerRuns;
        ExpTimerRuns = TRUE;
    }
    if (Known != NULL) {
        Known->Tag = List->Tag;
        Known->Size = List->Size;
    }
    KiReleaseLock(&LookasideLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(LIST_RECORD));
    if (SetTimer)
        ExpSetScanTimer();
}

/* Afterwards the scan does not touch the list any more. FALSE: it was not in the table. */
static BOOLEAN ExpRemoveList(GENERAL_LOOKASIDE_POOL *List)
{
    LIST_RECORD **Link = ExpBucketOf(List), *Record;
    KiAcquireLock(&LookasideLock);
    while ((Record = *Link) != NULL && Record->List != List)
        Link = &Record->Next;
    if (Record != NULL) {
        *Link = Record->Next;
        __atomic_fetch_sub(&ExpListCount, 1, __ATOMIC_RELAXED);
    }
    KiReleaseLock(&LookasideLock);
    while (__atomic_load_n(&ExpScanned, __ATOMIC_ACQUIRE) == List)
        YieldProcessor();
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(LIST_RECORD));
    return Record != NULL;
}

PVOID ExpFindLookaside(const VOID *Base, SIZE_T Bytes)
{
    PVOID Found = NULL;
    if (__atomic_load_n(&ExpListCount, __ATOMIC_RELAXED) == 0)
        return NULL;
    KiAcquireLock(&LookasideLock);
    for (ULONG Bucket = 0; Bucket < LIST_BUCKETS && Found == NULL; Bucket++)
        for (const LIST_RECORD *Record = ExpLists[Bucket]; Record != NULL && Found == NULL; Record = Record->Next)
            if (ADDRESS_IN(Record->List, Base, Bytes))
                Found = Record->List;
    KiReleaseLock(&LookasideLock);
    return Found;
}

/* Driver Verifier's rules, before anything is changed. */
static VOID ExpCheckInitialize(const VOID *Lookaside, SIZE_T Size)
{
    if (__builtin_expect(!(KiVerifierFlags() & VERIFIER_MISC), 1))
        return;
    if (ExpFindLookaside(Lookaside, 1) != NULL)
        KiStop(0xC4, "A lookaside list was initialised that is initialised already.", Lookaside, 0xCA, (ULONG_PTR)Lookaside, 0,
               0);
    if (Size < LOOKASIDE_MINIMUM_BLOCK_SIZE)
        KiStop(0xC4, "A lookaside list was initialised for entries that are too small to be linked.", Lookaside, 0xCD,
               (ULONG_PTR)Lookaside, Size, LOOKASIDE_MINIMUM_BLOCK_SIZE);
}

static VOID ExpCheckDelete(const VOID *Lookaside)
{
    if (__builtin_expect((KiVerifierFlags() & VERIFIER_MISC) != 0, 0) && ExpFindLookaside(Lookaside, 1) == NULL)
        KiStop(0xC4, "A lookaside list was deleted that is not initialised, or was deleted before.", Lookaside, 0xCB,
               (ULONG_PTR)Lookaside, 0, 0);
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
    ExpCheckInitialize(List, Size);
    InitializeSListHead(&List->ListHead);
    List->Depth = EXP_DEPTH_START;
    List->MaximumDepth = EX_MAXIMUM_LOOKASIDE_DEPTH_BASE;
    List->TotalAllocates = List->AllocateMisses = 0;
    List->TotalFrees = List->FreeMisses = 0;
    List->Type = (POOL_TYPE)Type;
    List->Tag = Tag;
    /* What does not fit into 32 bits fails when an entry is allocated: nobody gets a small one. */
    List->Size = (ULONG)(Size < LOOKASIDE_MINIMUM_BLOCK_SIZE ? LOOKASIDE_MINIMUM_BLOCK_SIZE
                         : Size > MAXULONG                   ? MAXULONG
                                                             : Size);
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
#define EXP_READ(Field)     __atomic_load_n(&(Field), __ATOMIC_RELAXED)
#define EXP_COUNT_UP(Field) __atomic_store_n(&(Field), __atomic_load_n(&(Field), __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED)

/* The counts and the depth are what older headers inline into drivers, plainly: no race for a checker to tell. */
static KI_NO_TSAN VOID ExpAdjustList(GENERAL_LOOKASIDE_POOL *List)
{
    ULONG Total = EXP_READ(List->TotalAllocates), Missed = EXP_READ(List->AllocateMisses);
    ULONG Allocates = Total - List->LastTotalAllocates, Misses = Missed - List->LastAllocateMisses;
    ULONG Depth = EXP_READ(List->Depth), Most = List->MaximumDepth;
    List->LastTotalAllocates = Total;
    List->LastAllocateMisses = Missed;
    if (Misses > Allocates)
        Misses = Allocates;
    if (Allocates == 0) {
        if (Depth > EXP_DEPTH_START)
            Depth -= (Depth - EXP_DEPTH_START + 1) / 2;
    } else if ((ULONG64)Misses * EXP_MISSES_IN > Allocates) {
        ULONG Room = Most > Depth ? Most - Depth : 0;
        Depth += (ULONG)((ULONG64)Misses * Room / Allocates / 2) + (Room > 0);
        if (Depth > Most)
            Depth = Most;
    } else if (Depth > EXP_DEPTH_START) {
        Depth--;
    }
    __atomic_store_n(&List->Depth, (USHORT)Depth, __ATOMIC_RELAXED);
}

/* Is what the record says still there? LookasideOther: the memory has become something else. */
typedef enum _LOOKASIDE_STATE { LookasideThere, LookasideOther, LookasideGone } LOOKASIDE_STATE;
static LOOKASIDE_STATE ExpIsStillList(const GENERAL_LOOKASIDE_POOL *List, ULONG Tag, ULONG Size)
{
    ULONG64 TagAndSize, Flink;
    C_ASSERT(offsetof(GENERAL_LOOKASIDE_POOL, Size) == offsetof(GENERAL_LOOKASIDE_POOL, Tag) + 4);
    if (!KiTryRead((const volatile ULONG64 *)(const volatile VOID *)&List->Tag, &TagAndSize) ||
        !KiTryRead((const volatile ULONG64 *)(const volatile VOID *)&List->ListEntry.Flink, &Flink))
        return LookasideGone;
    return TagAndSize == (Tag | (ULONG64)Size << 32) && Flink == (ULONG_PTR)&List->ListEntry ? LookasideThere : LookasideOther;
}

/* A list that this pass has not seen, now held by ExpScanned; NULL: there is none. */
static GENERAL_LOOKASIDE_POOL *ExpNextToScan(ULONG *Bucket, ULONG *Tag, ULONG *Size)
{
    GENERAL_LOOKASIDE_POOL *List = NULL;
    KiAcquireLock(&LookasideLock);
    for (; *Bucket < LIST_BUCKETS && List == NULL; *Bucket += List == NULL) {
        LIST_RECORD *Record = ExpLists[*Bucket];
        while (Record != NULL && Record->Pass == ExpPass)
            Record = Record->Next;
        if (Record != NULL) {
            Record->Pass = ExpPass;
            List = Record->List;
            *Tag = Record->Tag;
            *Size = Record->Size;
        }
    }
    __atomic_store_n(&ExpScanned, List, __ATOMIC_RELEASE);
    KiReleaseLock(&LookasideLock);
    return List;
}

VOID ExAdjustLookasideDepth(VOID)
{
    GENERAL_LOOKASIDE_POOL *List = NULL;
    LOOKASIDE_STATE State = LookasideThere;
    ULONG Bucket = 0, Tag = 0, Size = 0;
    BOOLEAN Busy;
    (VOID) KiCurrentThread();
    KiAcquireLock(&LookasideLock);
    Busy = ExpScanning;
    ExpScanning = TRUE;
    ExpPass += !Busy;
    KiReleaseLock(&LookasideLock);
    if (Busy)
        return; /* it is being done */
    while (State != LookasideGone && (List = ExpNextToScan(&Bucket, &Tag, &Size)) != NULL) {
        State = ExpIsStillList(List, Tag, Size);
        if (State == LookasideThere)
            ExpAdjustList(List);
        __atomic_store_n(&ExpScanned, NULL, __ATOMIC_RELEASE);
        if (State != LookasideThere)
            ExpRemoveList(List);
    }
    KiAcquireLock(&LookasideLock);
    ExpScanning = FALSE;
    KiReleaseLock(&LookasideLock);
    if (State == LookasideGone)
        KiStop(0x0A, "The memory of a lookaside list is gone: the list was not deleted, or its head is not in nonpaged memory.",
               List, (ULONG_PTR)List, KiCurrentThread()->Irql, 0, (ULONG_PTR)KiTryReadAt);
}

static VOID ExpScanDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    BOOLEAN Again;
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    ExAdjustLookasideDepth();
    KiAcquireLock(&LookasideLock);
    Again = ExpTimerRuns = ExpListCount != 0;
    KiReleaseLock(&LookasideLock);
    if (Again)
        ExpSetScanTimer();
}

/* ---- allocate and free ---- */
/* Memory checkers are told that an entry in a list is nobody's, behind its link. */
static inline VOID ExpHideEntry(const GENERAL_LOOKASIDE_POOL *List, PVOID Entry)
{
    if (List->Size > sizeof(SLIST_ENTRY))
        ExpPoison((PUCHAR)Entry + sizeof(SLIST_ENTRY), List->Size - sizeof(SLIST_ENTRY));
}
static inline PVOID ExpShowEntry(const GENERAL_LOOKASIDE_POOL *List, PVOID Entry)
{
    if (Entry != NULL && List->Size > sizeof(SLIST_ENTRY))
        ExpUnpoison((PUCHAR)Entry + sizeof(SLIST_ENTRY), List->Size - sizeof(SLIST_ENTRY));
    return Entry;
}

static inline PVOID ExpPopList(GENERAL_LOOKASIDE_POOL *List)
{
    PVOID Entry;
    EXP_COUNT_UP(List->TotalAllocates);
    Entry = ExpShowEntry(List, ExpPopPoolEntry(&List->ListHead));
    if (Entry == NULL)
        EXP_COUNT_UP(List->AllocateMisses);
    else
        KiMarkUnwritten(Entry, List->Size); /* what it held is the last owner's */
    return Entry;
}

static inline BOOLEAN ExpPushList(GENERAL_LOOKASIDE_POOL *List, PVOID Entry)
{
    EXP_COUNT_UP(List->TotalFrees);
    if (ExQueryDepthSList(&List->ListHead) >= __atomic_load_n(&List->Depth, __ATOMIC_RELAXED)) {
        EXP_COUNT_UP(List->FreeMisses);
        return FALSE;
    }
    ExpHideEntry(List, Entry);
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
    ExpCheckDelete(List);
    ExpRemoveList(List);
    while ((Entry = ExpShowEntry(List, ExpPopPoolEntry(&List->ListHead))) != NULL)
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
    while ((Entry = ExpShowEntry(&Lookaside->L, ExpPopPoolEntry(&Lookaside->L.ListHead))) != NULL)
        ExpFreeEntryEx(Lookaside, Entry);
}

VOID ExDeleteLookasideListEx(PLOOKASIDE_LIST_EX Lookaside)
{
    ExpCheckDelete(&Lookaside->L);
    ExpRemoveList(&Lookaside->L);
    ExFlushLookasideListEx(Lookaside);
}
