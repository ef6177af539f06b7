/*
 * special.c - special pool: blocks with pages of their own, next to pages that nobody may touch. SPDX-License-Identifier: MIT
 *
 * A block gets whole pages, and one page of addresses behind them that is never backed. The block lies at the end of its
 * last page (an overrun faults at once) or at the start (an underrun does, on the unbacked page of the run before):
 *
 *      Va                                  Va + Pages                Va                             Va + Pages
 *      | fill fill [ block ... ] tail | no access |                  | [ block ... ] fill fill | no access |
 *                  ^Start, 16-byte aligned  verify end               ^Start            verify start
 *
 * A block of a page and more must start on a page, so its tail lies behind it at either end. Fill and tail hold a byte of the
 * block's own, and are checked when it is freed. Freed pages lose their frames at once, but their addresses wait in a queue
 * before they are used again: a touch meanwhile is a use after free.
 *
 *   what                                     special pool asked for            a sampled block
 *   a touch behind the block                 0xCD, 0xD6 by a driver            the same
 *   a touch of a freed block                 0xCC, 0xD5 by a driver            the same
 *   fill changed, found when freed           0xC1/0x23; one bit only 0x32      the same
 *   tail changed, found when freed           0xC1/0x24; one bit only 0x32      0x19/0x21, as in the ordinary pool
 *   freed twice, or never allocated          0xC1/0x20                         0xC2/0x07; 0xC2/0x44, 0x50
 *   freed in the middle                      0xC1/0x21                         0xC2/0x46, 0x41286
 *   freed at an IRQL too high                0xC1/0x31                         0xC2/0x09
 *   freed with another tag                   0xC2/0x0A                         the same
 *
 * A sample is made in the name of the ordinary pool, so what the ordinary pool would have found keeps its code.
 * Nonpaged blocks are in MmRegionSpecialPool, paged ones in MmRegionPagedSpecialPool and pageable like any.
 *
 *   ViMaps[pool]: page of the region --> VI_BLOCK of the run it belongs to (live, or freed and still waiting)
 *
 * The cost is the host's: a mapping made and one taken away for each block. ViAnchor keeps what need not be made anew.
 *
 * States: live --- ViFreeSpecial: pages decommitted ---> freed, in the queue --- the queue is full ---> record and addresses free.
 *
 * When addresses or memory run out the caller takes an ordinary block; ViCounters.SpecialPoolFull counts them. A sixteenth of the
 * region waits in the queue at most; what waits is given up before a request fails.
 *
 * Invariants: V1. every page of a run in use maps to its record, and no other page does; V2. LivePages is the sum of the live
 * blocks' pages; V3. the queue holds QueuePages pages, all of freed blocks.
 *
 * SpecialLock (leaf) guards the maps, queue and free records; not held across calls of the memory manager. IRQL <= DISPATCH_LEVEL.
 * Watch: tests/unit/special_pool_test.c, tests/misuse/special_pool.c.
 */
#include "vf/vfp.h"

NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);

#define MAP_PER_PAGE     (PAGE_SIZE / sizeof(VI_BLOCK *))
#define RECORDS_A_PAGE   (PAGE_SIZE / sizeof(VI_BLOCK))
#define POOL_TAG_ALL     0x2Au
#define VI_ANCHORED      0x200000u /* bytes that a page table of the host shows */
#define VI_UNINITIALISED 0xA5      /* what nobody has written yet; not zero, so that whoever counts on zeroes is told */

typedef struct _VI_BLOCK {
    struct _VI_BLOCK *Next; /* in the queue, or of free records */
    ULONG_PTR Va, Start;
    SIZE_T Size, Pages;
    ULONG Tag, Slot;
    ULONG Stacks[2];
    UCHAR Kind, Fill;
    volatile BOOLEAN Live;
    BOOLEAN Strict, Protected;
    ULONG_PTR Caller;
    ULONG Freeing; /* last: claimed without the lock */
} VI_BLOCK;

typedef struct _VI_MAP {
    ULONG_PTR Base;
    SIZE_T Pages;
    VI_BLOCK **Entries; /* reserved; backed a page at a time */
    PUCHAR Backed;      /* a byte for each page of Entries */
    VI_BLOCK *First, **Last;
    SIZE_T QueuePages, LivePages;
    PVOID Anchor; /* see ViAnchor */
    ULONG_PTR AnchorPart;
} VI_MAP;

static KI_LOCK SpecialLock;
static VI_MAP ViMaps[2];
static VI_BLOCK *ViFreeRecords;
static ULONG ViFillSeed;
static BOOLEAN ViSpecialStarted;

/* ---- maps and records ---- */
static VI_MAP *ViMapOf(ULONG_PTR Address)
{
    for (ULONG Paged = 0; Paged < 2; Paged++)
        if ((Address - ViMaps[Paged].Base) >> PAGE_SHIFT < ViMaps[Paged].Pages)
            return &ViMaps[Paged];
    return NULL;
}

static VI_BLOCK *ViLookup(const VI_MAP *Map, ULONG_PTR Address)
{
    SIZE_T Page = (Address - Map->Base) >> PAGE_SHIFT;
    if (Page >= Map->Pages || !__atomic_load_n(&Map->Backed[Page / MAP_PER_PAGE], __ATOMIC_ACQUIRE))
        return NULL;
    return __atomic_load_n(&Map->Entries[Page], __ATOMIC_ACQUIRE);
}

/* Backs the map's pages for a run. Two may do it at once: the second finds it done. */
static BOOLEAN ViBackMap(VI_MAP *Map, ULONG_PTR Va, SIZE_T Pages)
{
    SIZE_T First = ((Va - Map->Base) >> PAGE_SHIFT) / MAP_PER_PAGE,
           Last = (((Va - Map->Base) >> PAGE_SHIFT) + Pages - 1) / MAP_PER_PAGE;
    for (; First <= Last; First++) {
        UCHAR None = 0;
        if (__atomic_load_n(&Map->Backed[First], __ATOMIC_ACQUIRE) == 1)
            continue;
        if (!__atomic_compare_exchange_n(&Map->Backed[First], &None, 2, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            while (__atomic_load_n(&Map->Backed[First], __ATOMIC_ACQUIRE) == 2)
                YieldProcessor();
            First--; /* look again: it may have failed */
            continue;
        }
        if (!NT_SUCCESS(MmCommitPages(Map->Entries + First * MAP_PER_PAGE, 1, MM_PAGES_ZERO))) {
            __atomic_store_n(&Map->Backed[First], 0, __ATOMIC_RELEASE);
            return FALSE;
        }
        __atomic_store_n(&Map->Backed[First], 1, __ATOMIC_RELEASE);
    }
    return TRUE;
}

static VOID ViEnter(VI_MAP *Map, VI_BLOCK *Block, VI_BLOCK *Value)
{
    SIZE_T Page = (Block->Va - Map->Base) >> PAGE_SHIFT;
    for (SIZE_T Index = 0; Index <= Block->Pages; Index++)
        __atomic_store_n(&Map->Entries[Page + Index], Value, __ATOMIC_RELEASE);
}

static VI_BLOCK *ViTakeRecord(VOID)
{
    VI_BLOCK *Record, *Fresh;
    KiAcquireLock(&SpecialLock);
    Record = ViFreeRecords;
    if (Record != NULL)
        ViFreeRecords = Record->Next;
    KiReleaseLock(&SpecialLock);
    if (Record != NULL)
        return Record;
    Fresh = MmAllocatePages(MmRegionSystemData, 1, MM_PAGES_ZERO, HighPoolPriority);
    if (Fresh == NULL)
        return NULL;
    KiAcquireLock(&SpecialLock);
    for (ULONG Index = 1; Index < RECORDS_A_PAGE; Index++) {
        Fresh[Index].Next = ViFreeRecords;
        ViFreeRecords = &Fresh[Index];
    }
    KiReleaseLock(&SpecialLock);
    return Fresh;
}

static VOID ViGiveRecord(VI_BLOCK *Record)
{
    KiAcquireLock(&SpecialLock);
    Record->Next = ViFreeRecords;
    ViFreeRecords = Record;
    KiReleaseLock(&SpecialLock);
}

/* Gives up the addresses that have waited longest, until no more than Keep pages wait. FALSE: nothing waited. */
static BOOLEAN ViDrainQueue(VI_MAP *Map, SIZE_T Keep)
{
    BOOLEAN Any = FALSE;
    for (;;) {
        VI_BLOCK *Block = NULL;
        KiAcquireLock(&SpecialLock);
        if (Map->QueuePages > Keep && (Block = Map->First) != NULL) {
            Map->First = Block->Next;
            if (Map->First == NULL)
                Map->Last = &Map->First;
            Map->QueuePages -= Block->Pages;
            ViEnter(Map, Block, NULL);
        }
        KiReleaseLock(&SpecialLock);
        if (Block == NULL)
            return Any;
        MmFreePages((PVOID)Block->Va, Block->Pages + 1);
        ViGiveRecord(Block);
        Any = TRUE;
    }
}

/* ---- what is to be special ---- */
/* Windows' PoolTag value: a number that is a size class's top plus the granule (16) chooses sizes, else it is a tag, in which '?'
 * stands for any letter and '*' for any rest. */
static BOOLEAN ViTagMatches(ULONG Pattern, ULONG Tag)
{
    for (ULONG Byte = 0; Byte < 4; Byte++) {
        UCHAR P = (UCHAR)(Pattern >> (8 * Byte)), C = (UCHAR)(Tag >> (8 * Byte));
        if (P == '*')
            return TRUE;
        if (P != '?' && P != C)
            return FALSE;
    }
    return TRUE;
}

BOOLEAN ViIsSpecialRequest(const EXP_REQUEST *Request)
{
    ULONG Value = VfOptions.SpecialTag;
    if (Value == 0)
        return FALSE;
    if (Value == POOL_TAG_ALL)
        return TRUE;
    if (Value < PAGE_SIZE && ((Request->Size + 15) & ~(SIZE_T)15) + 16 == Value)
        return TRUE;
    return ViTagMatches(Value, Request->Tag);
}

/* ---- allocate ---- */
static ULONG_PTR ViPlace(const EXP_REQUEST *Request, ULONG_PTR Va, SIZE_T Pages)
{
    BOOLEAN Start = VfOptions.SpecialStart;
    SIZE_T Align = Request->Aligned ? 64 : 16;
    if (Request->Priority & 8)
        Start = Request->Priority & 1;
    if (Start || Request->Size >= PAGE_SIZE)
        return Va;
    return (Va + (Pages << PAGE_SHIFT) - (Request->Size != 0 ? Request->Size : 1)) & ~(ULONG_PTR)(Align - 1);
}

static VOID ViFillAround(const VI_BLOCK *Block)
{
    ULONG_PTR Behind = Block->Start + Block->Size, End = Block->Va + (Block->Pages << PAGE_SHIFT);
    memset((PVOID)Block->Va, Block->Fill, Block->Start - Block->Va);
    memset((PVOID)Behind, Block->Fill, End - Behind);
}

/* Keeps the host's page table of the 2 MiB that addresses now come from: it goes with the last page that it shows, and to make
 * it again costs half as much as all the rest of a block. An anchor is a page of nobody's that may only be read, and a page behind
 * it. One in two addresses is a guard, so the walk enters another 2 MiB every 256 blocks. */
static VOID ViAnchor(VI_MAP *Map, ULONG_PTR Va)
{
    ULONG_PTR Part = Va / VI_ANCHORED + 1;
    PVOID Anchor, Gone;
    if (Map != &ViMaps[0] || __atomic_load_n(&Map->AnchorPart, __ATOMIC_RELAXED) == Part)
        return;
    Anchor = MmAllocatePages(MmRegionSpecialPool, 2, MM_PAGES_RESERVE, LowPoolPriority);
    if (Anchor == NULL)
        return;
    if ((ULONG_PTR)Anchor / VI_ANCHORED + 1 != Part || !NT_SUCCESS(MmCommitPages(Anchor, 1, MM_PAGES_ZERO))) {
        MmFreePages(Anchor, 2);
        Anchor = NULL;
    } else {
        (VOID) MmProtectPages(Anchor, 1, PAGE_READONLY);
        (VOID) HalFillTb(Anchor, 1, 0);
    }
    KiAcquireLock(&SpecialLock);
    Gone = Map->Anchor;
    Map->Anchor = Anchor;
    __atomic_store_n(&Map->AnchorPart, Part, __ATOMIC_RELAXED);
    KiReleaseLock(&SpecialLock);
    if (Gone != NULL)
        MmFreePages(Gone, 2);
}

/* Addresses and their backing; what waits in the queue is given up before this fails. */
static PVOID ViTakePages(VI_MAP *Map, EXP_KIND Kind, SIZE_T Pages)
{
    MM_REGION Region = Kind == ExpPaged ? MmRegionPagedSpecialPool : MmRegionSpecialPool;
    PVOID Va;
    do {
        Va = MmAllocatePages(Region, Pages + 1, MM_PAGES_RESERVE, LowPoolPriority);
        if (Va != NULL && ViBackMap(Map, (ULONG_PTR)Va, Pages + 1) &&
            NT_SUCCESS(MmCommitPages(Va, Pages, Kind == ExpNonPagedExecute ? MM_PAGES_EXECUTE : 0))) {
            ViAnchor(Map, (ULONG_PTR)Va);
            return Va;
        }
        if (Va != NULL)
            MmFreePages(Va, Pages + 1);
    } while (ViDrainQueue(Map, 0));
    return NULL;
}

PVOID ViAllocateSpecial(const EXP_REQUEST *Request, BOOLEAN Strict)
{
    ULONG Paged = EXP_IS_PAGED(Request->Kind);
    SIZE_T Pages = Request->Size == 0 ? 1 : (Request->Size + PAGE_SIZE - 1) >> PAGE_SHIFT;
    VI_MAP *Map = &ViMaps[Paged];
    VI_BLOCK *Block;
    if (!ViSpecialStarted || Pages + 1 > Map->Pages / 4 || Request->Size > MAXULONG_PTR / 2)
        return NULL;
    Block = ViTakeRecord();
    if (Block == NULL)
        return NULL;
    Block->Va = (ULONG_PTR)ViTakePages(Map, Request->Kind, Pages);
    if (Block->Va == 0 || !ExpChargeTag(Request->Tag, (BOOLEAN)Paged, Request->Size, &Block->Slot)) {
        if (Block->Va != 0)
            MmFreePages((PVOID)Block->Va, Pages + 1);
        ViGiveRecord(Block);
        return NULL;
    }
    Block->Next = NULL;
    Block->Pages = Pages;
    Block->Size = Request->Size;
    Block->Tag = Request->Tag;
    Block->Kind = (UCHAR)Request->Kind;
    Block->Fill =
        (UCHAR)(0x21 + (__atomic_add_fetch(&ViFillSeed, 0x9E3779B1u, __ATOMIC_RELAXED) >> 25)); /* never 0, nor letters' fill */
    Block->Strict = Strict;
    Block->Protected = Request->Protected;
    Block->Freeing = 0;
    Block->Start = ViPlace(Request, Block->Va, Pages);
    Block->Caller = ViCallerOf(Request->Caller);
    Block->Stacks[0] = ExpState.StackDepth != 0 ? ExpCaptureStack(Request->Caller) : 0;
    Block->Stacks[1] = 0;
    ViFillAround(Block);
    memset((PVOID)Block->Start, Request->Zero ? 0 : VI_UNINITIALISED, Block->Size);
    if (!Request->Zero)
        KiMarkUnwritten(Block->Start, Block->Size);
    KiAcquireLock(&SpecialLock);
    Block->Live = TRUE;
    ViEnter(Map, Block, Block);
    Map->LivePages += Pages;
    KiReleaseLock(&SpecialLock);
    return (PVOID)Block->Start;
}

/* ---- free ---- */
static VOID ViCheckFill(const VI_BLOCK *Block, ULONG_PTR From, ULONG_PTR To, BOOLEAN Tail)
{
    if (From == To ||
        (*(const UCHAR *)From == Block->Fill && memcmp((const VOID *)From, (const UCHAR *)From + 1, To - From - 1) == 0))
        return; /* each byte is as the one before */
    for (const UCHAR *At = (const UCHAR *)From; At < (const UCHAR *)To; At++) {
        UCHAR Bits = (UCHAR)(*At ^ Block->Fill), Found = *At;
        EXP_ANY64 Behind = {0};
        if (Bits == 0)
            continue;
        memcpy(&Behind, (const VOID *)From, To - From < 8 ? To - From : 8);
        KI_BUGCHECK Stop = {.Code = 0xC1,
                            .Parameters = {Block->Start, (ULONG_PTR)At, Found, Tail ? 0x24 : 0x23},
                            .Words =
                                Tail ? "Bytes right behind a block of special pool were overwritten; found when it was freed."
                                     : "Bytes in front of a block of special pool were overwritten; found when it was freed.",
                            .Block = (PVOID)Block->Start,
                            .EvidenceAt = (ULONG_PTR)At,
                            .EvidenceBytes = 1,
                            .Evidence = {Found}};
        *(UCHAR *)(ULONG_PTR)At = Block->Fill; /* so that a test that caught this can free the block */
        if (Tail && !Block->Strict) {
            Stop.Code = 0x19;
            Stop.Words = "Bytes behind a pool block were overwritten; found when it was freed.";
            Stop.Parameters[0] = 0x21;
            Stop.Parameters[1] = Block->Start;
            Stop.Parameters[2] = Block->Size;
            Stop.Parameters[3] = Behind.Value;
        } else if ((Bits & (Bits - 1)) == 0) {
            Stop.Words = "One bit beside a block of special pool has changed: an overrun or underrun, or bad memory.";
            Stop.Parameters[3] = 0x32;
        }
        KiBugCheck(&Stop);
    }
}

static DECLSPEC_NORETURN VOID ViStopFree(PVOID Address, const VI_BLOCK *Block)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    BOOLEAN Paged = ViMapOf(Va) == &ViMaps[1], Twice = Block != NULL && !Block->Live && Block->Start == Va;
    if ((Block == NULL || Block->Strict) && Block != NULL && Block->Live)
        KiStop(0xC1, "An address inside a block of special pool was freed, not the block's start.", Address, Va, Block->Size,
               Block->Start + Block->Size - Va, 0x21);
    if (Block == NULL || Block->Strict)
        KiStop(0xC1,
               Twice ? "A block of special pool was freed that is free already: double free."
                     : "An address of special pool was freed that is not allocated.",
               Address, Va, 0, 0, 0x20);
    if (Twice)
        KiStop(0xC2, "A pool block was freed that is free already: double free.", Address, 7, 0, Block->Tag, Va);
    if (Paged)
        KiStop(0xC2, "An address inside a paged pool block was freed, not the block's start.", Address, 0x41286, 0, 0,
               (Va - ViMaps[1].Base) >> PAGE_SHIFT);
    KiStop(0xC2, "An address inside a pool block was freed, not the block's start.", Address, 0x46, Va, 0, 0);
}

static VOID ViFreeSpecial(PVOID Address, ULONG Tag, ULONG_PTR Caller)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    VI_MAP *Map = ViMapOf(Va);
    VI_BLOCK *Block = Map != NULL ? ViLookup(Map, Va) : NULL;
    KIRQL Irql = KiCurrentThread()->Irql;
    POOL_TYPE Type;
    BOOLEAN Full;
    ULONG Stack;
    if (Block == NULL || !Block->Live || Block->Start != Va)
        ViStopFree(Address, Block);
    Type = Block->Kind == ExpPaged ? PagedPool : Block->Kind == ExpNonPagedNx ? NonPagedPoolNx : NonPagedPoolExecute;
    if (EXP_IRQL_TOO_HIGH(Irql, Block->Kind)) {
        if (Block->Strict)
            KiStop(0xC1, "Special pool was freed at an IRQL that is too high for the pool type.", Address, Irql, Type, Va,
                   0x31);
        KiStop(0xC2, "Pool was freed at an IRQL that is too high for the pool type.", Address, 9, Irql, Type, Va);
    }
    if ((Tag != 0 || Block->Protected) && (Tag & ~EXP_PROTECTED) != Block->Tag)
        KiStop(0xC2, "A pool block was freed with another tag than it was allocated with.", Address, 0xA, Va,
               Block->Protected ? Block->Tag | EXP_PROTECTED : Block->Tag, Tag);
    ViCheckContents(Address, Block->Size, Block->Tag, (EXP_KIND)Block->Kind);
    ViCheckFill(Block, Block->Start + Block->Size, Block->Va + (Block->Pages << PAGE_SHIFT), TRUE);
    ViCheckFill(Block, Block->Va, Block->Start, FALSE);
    if (__atomic_exchange_n(&Block->Freeing, 1, __ATOMIC_ACQ_REL) != 0)
        ViStopFree(Address, Block); /* another thread was quicker */
    ExpReturnTag(Block->Slot, Block->Size);
    Stack = ExpState.StackDepth != 0 ? ExpCaptureStack(Caller) : 0;
    KiAcquireLock(&SpecialLock);
    Block->Stacks[1] = Stack;
    Block->Live = FALSE;
    Map->LivePages -= Block->Pages;
    KiReleaseLock(&SpecialLock);
    MmDecommitPages((PVOID)Block->Va, Block->Pages);
    KiAcquireLock(&SpecialLock);
    Block->Next = NULL;
    *Map->Last = Block;
    Map->Last = &Block->Next;
    Map->QueuePages += Block->Pages;
    Full = Map->QueuePages > Map->Pages / 16;
    KiReleaseLock(&SpecialLock);
    if (Full) /* a stretch at once, so that the next blocks lie together again (ViAnchor) */
        (VOID) ViDrainQueue(Map, Map->Pages / 16 - Map->Pages / 64);
}

/* ---- faults ---- */
/* mm asks about an address of special pool that is not there. Overruns land on the page behind a run, which is also the one in
 * front of the next: the nearer block is blamed. 0: nothing is known. */
static ULONG ViDescribeFault(ULONG_PTR Address, BOOLEAN Driver)
{
    VI_MAP *Map = ViMapOf(Address);
    const VI_BLOCK *Block = Map != NULL ? ViLookup(Map, Address) : NULL,
                   *Next = Map != NULL ? ViLookup(Map, Address + PAGE_SIZE) : NULL;
    if (Block != NULL && Next != NULL && Next != Block && Next->Live && Address >= Block->Va + (Block->Pages << PAGE_SHIFT) &&
        Next->Start - Address < Address - (Block->Start + Block->Size))
        Block = Next;
    if (Block == NULL && Next != NULL)
        Block = Next; /* in front of the first block there is */
    if (Block == NULL)
        return 0;
    if (Block->Live)
        return Driver ? 0xD6 : 0xCD;
    return Driver ? 0xD5 : 0xCC;
}

/* ---- for reports ---- */
static VOID ViDescribe(const VI_BLOCK *Block, ULONG_PTR Va, EXP_BLOCK_INFO *Info)
{
    Info->State = Block->Live ? ExpBlockLive : ExpBlockFreed;
    Info->Start = Block->Start;
    Info->Size = Block->Size;
    Info->Room = Block->Va + (Block->Pages << PAGE_SHIFT) - Block->Start;
    Info->Front = Block->Start - Block->Va;
    Info->Tail = Info->Room - Block->Size;
    Info->Fill = Block->Fill;
    Info->Offset = (LONG_PTR)(Va - Block->Start);
    Info->Tag = Block->Tag;
    Info->PoolType = Block->Kind == ExpPaged ? PagedPool : Block->Kind == ExpNonPagedNx ? NonPagedPoolNx : NonPagedPoolExecute;
    Info->AllocFrames = ExpReadStack(Block->Stacks[0], Info->AllocStack);
    if (!Block->Live)
        Info->FreeFrames = ExpReadStack(Block->Stacks[1], Info->FreeStack);
}

static BOOLEAN ViDescribeBlock(ULONG_PTR Va, EXP_BLOCK_INFO *Info)
{
    VI_MAP *Map = ViMapOf(Va);
    const VI_BLOCK *Block = Map != NULL ? ViLookup(Map, Va) : NULL;
    if (Block != NULL)
        ViDescribe(Block, Va, Info);
    return Block != NULL;
}

/* Visit gets a copy: the block may be freed meanwhile. */
static VOID ViVisitLive(VOID (*Visit)(const VI_BLOCK *Block, PVOID Context), PVOID Context)
{
    for (ULONG Paged = 0; Paged < 2 && ViSpecialStarted; Paged++) {
        const VI_MAP *Map = &ViMaps[Paged];
        for (SIZE_T Page = 0; Page < Map->Pages; Page++) {
            const VI_BLOCK *Block;
            VI_BLOCK Copy;
            if (!Map->Backed[Page / MAP_PER_PAGE]) {
                Page |= MAP_PER_PAGE - 1;
                continue;
            }
            if (__atomic_load_n(&Map->Entries[Page], __ATOMIC_ACQUIRE) == NULL)
                continue;
            KiAcquireLock(&SpecialLock);
            Block = Map->Entries[Page];
            Copy.Live = Block != NULL && Block->Live && Block->Va == Map->Base + (Page << PAGE_SHIFT);
            if (Copy.Live)
                memcpy(&Copy, Block, offsetof(VI_BLOCK, Freeing));
            KiReleaseLock(&SpecialLock);
            if (Copy.Live)
                Visit(&Copy, Context);
        }
    }
}

typedef struct _VI_VISIT {
    VOID (*Slots)(ULONG Slot, SIZE_T Size, PVOID Context);
    BOOLEAN (*Blocks)(const EXP_BLOCK_INFO *Info, PVOID Context);
    PVOID Context;
    BOOLEAN Stopped;
} VI_VISIT;

static VOID ViVisitSlot(const VI_BLOCK *Block, PVOID Context)
{
    VI_VISIT *Visit = Context;
    Visit->Slots(Block->Slot, Block->Size, Visit->Context);
}

static VOID ViVisitInfo(const VI_BLOCK *Block, PVOID Context)
{
    VI_VISIT *Visit = Context;
    EXP_BLOCK_INFO Info;
    memset(&Info, 0, sizeof(Info));
    if (Visit->Stopped)
        return;
    ViDescribe(Block, Block->Start, &Info);
    Visit->Stopped = !Visit->Blocks(&Info, Visit->Context);
}

static VOID ViEnumerateSlots(VOID (*Slots)(ULONG Slot, SIZE_T Size, PVOID Context), PVOID Context)
{
    VI_VISIT Visit = {.Slots = Slots, .Context = Context};
    ViVisitLive(ViVisitSlot, &Visit);
}

static BOOLEAN ViEnumerateBlocks(BOOLEAN (*Callback)(const EXP_BLOCK_INFO *Info, PVOID Context), PVOID Context)
{
    VI_VISIT Visit = {.Blocks = Callback, .Context = Context};
    ViVisitLive(ViVisitInfo, &Visit);
    return !Visit.Stopped;
}

static VOID ViSumPages(const VI_BLOCK *Block, PVOID Context)
{
    ((SIZE_T *)Context)[Block->Kind == ExpPaged] += Block->Pages;
}

const CHAR *ViValidateSpecialPool(VOID)
{
    SIZE_T Live[2] = {0, 0};
    ViVisitLive(ViSumPages, Live);
    for (ULONG Paged = 0; Paged < 2 && ViSpecialStarted; Paged++) {
        const VI_MAP *Map = &ViMaps[Paged];
        SIZE_T Queued = 0;
        for (const VI_BLOCK *Block = Map->First; Block != NULL; Block = Block->Next) {
            if (Block->Live)
                return "V3: a live block of special pool is in the queue";
            if (ViLookup(Map, Block->Va) != Block || ViLookup(Map, Block->Va + (Block->Pages << PAGE_SHIFT)) != Block)
                return "V1: the map does not lead to a block of special pool";
            Queued += Block->Pages;
        }
        if (Queued != Map->QueuePages)
            return "V3: the queue's pages are not those counted";
        if (Live[Paged] != Map->LivePages)
            return "V2: the live blocks' pages are not those counted";
    }
    return NULL;
}

/* ---- start and stop ---- */
NTSTATUS ViInitSpecialPool(VOID)
{
    ViFreeRecords = NULL;
    ViFillSeed = (ULONG)KeOptions.Seed * 0x85EBCA6Bu;
    for (ULONG Paged = 0; Paged < 2; Paged++) {
        VI_MAP *Map = &ViMaps[Paged];
        MM_REGION_INFO Info;
        SIZE_T MapPages;
        MmQueryRegion(Paged ? MmRegionPagedSpecialPool : MmRegionSpecialPool, &Info);
        memset(Map, 0, sizeof(*Map));
        Map->Base = Info.Base;
        Map->Pages = (Info.End - Info.Base) >> PAGE_SHIFT;
        Map->Last = &Map->First;
        MapPages = (Map->Pages + MAP_PER_PAGE - 1) / MAP_PER_PAGE;
        /* A page of nobody's in front of the first block. */
        (VOID) MmAllocatePages(Paged ? MmRegionPagedSpecialPool : MmRegionSpecialPool, 1, MM_PAGES_RESERVE, HighPoolPriority);
        Map->Entries = MmAllocatePages(MmRegionSystemData, MapPages, MM_PAGES_RESERVE, HighPoolPriority);
        Map->Backed =
            MmAllocatePages(MmRegionSystemData, (MapPages + PAGE_SIZE - 1) >> PAGE_SHIFT, MM_PAGES_ZERO, HighPoolPriority);
        if (Map->Entries == NULL || Map->Backed == NULL)
            return STATUS_NO_MEMORY;
    }
    ViSpecialStarted = TRUE;
    ExpSpecialFreeRoutine = ViFreeSpecial;
    ExpEnumerateSpecialRoutine = ViEnumerateSlots;
    ExpDescribeSpecialRoutine = ViDescribeBlock;
    ExpEnumerateSpecialBlocksRoutine = ViEnumerateBlocks;
    MmSpecialFaultRoutine = ViDescribeFault;
    return STATUS_SUCCESS;
}

VOID ViStopSpecialPool(VOID)
{
    ViSpecialStarted = FALSE;
    ExpSpecialFreeRoutine = NULL;
    ExpEnumerateSpecialRoutine = NULL;
    ExpDescribeSpecialRoutine = NULL;
    ExpEnumerateSpecialBlocksRoutine = NULL;
    MmSpecialFaultRoutine = NULL;
    memset(ViMaps, 0, sizeof(ViMaps));
}
