/*
 * pool.c - the pools' general paths: whatever the fast ones do not cover, and every stop. SPDX-License-Identifier: MIT
 *
 * Implements ExAllocatePool, ExAllocatePoolWithTagPriority, ExAllocatePoolWithQuota, ExAllocatePoolWithQuotaTag, the
 * FsRtlAllocatePool family and ExQueryPoolBlockSize; ExAllocatePool2, ExAllocatePoolWithTag and the free routines begin in
 * fast.c and come here; the forms with extended parameters are in pool3.c. Contracts: include/nt/wdm/ex.h.
 *
 * An allocation:  flags -> kind, options | IRQL, tag rules | the verifier's routine | class | tag counter | magazine -> block |
 * freed pattern checked | block's word | slack filled | stack | zeroes
 * A free:         page map -> slab -> block number -> block's word | live? | IRQL, tag, slack | the verifier's routine |
 * counter | freed pattern | magazine
 *
 * The three kinds: NonPagedNx (NonPagedPoolNx, POOL_FLAG_NON_PAGED), NonPagedExecute (NonPagedPool,
 * POOL_FLAG_NON_PAGED_EXECUTE) and Paged. Session pool is the same pool: there is one session.
 *
 * Everything is checked before anything is changed, so that a stop that is caught (ntmm_catch) leaves the pools whole.
 *
 * ExpSlow is changed through ExpSetSlow alone, which rewrites the fast paths' tables under MapLock.
 */
#include "ex/exp.h"

#undef ExAllocatePool
#undef ExAllocatePoolWithQuota
#undef ExFreePool
#undef FsRtlAllocatePoolWithTag
#undef FsRtlAllocatePoolWithQuotaTag

NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);

EXP_STATE ExpState;
VOID (*ExpSpecialFreeRoutine)(PVOID Block, ULONG Tag, ULONG_PTR Caller);
PVOID (*ExpVerifyAllocateRoutine)(const EXP_REQUEST *Request);
VOID (*ExpVerifyFreeRoutine)(PVOID Block, SIZE_T Size, ULONG Tag, EXP_KIND Kind);
volatile ULONG ExpSlow, ExpSampleInterval;
const EXP_MEMORY_TOOL *ExpMemoryTool;
const BOOLEAN ExPoolZeroingNativelySupported = TRUE;

#define SPECIAL_POOL  0x1u /* verifier flags */
#define POOL_TRACKING 0x8u

static VOID ExpInitFlags(VOID);

/* ---- start and stop ---- */
static SIZE_T ExpReclaim(VOID)
{
    return ExpTrimPools(TRUE);
}

NTSTATUS ExInitSystem(VOID)
{
    NTSTATUS Status;
    ULONG Index;
    ExpClear(&ExpState, sizeof(ExpState));
    ExpResetStacks();
    ExpResetQuota();
    ExpClear(&ExpFast, sizeof(ExpFast));
    ExpFast.Checks = !KeOptions.BareBlocks;
    ExpInitClasses();
    ExpState.Seed = KeOptions.Seed;
    ExpState.StackDepth = KeOptions.StackDepth < EXP_MAX_STACK ? KeOptions.StackDepth : EXP_MAX_STACK;
    ExpState.KeepRuns = KeOptions.KeepRuns && !(KiVerifierFlags() & SPECIAL_POOL);
    ExpFast.MaxSmall = ExpState.KeepRuns ? EXP_MAX_SMALL : EXP_MAX_PAGE;
    ULONG Slow = (ExpReadSlow() & EXP_SLOW_FAIL) | (ExpMemoryTool != NULL ? EXP_SLOW_TOOL : 0) |
                 (ExpState.StackDepth != 0 ? EXP_SLOW_STACKS : 0) |
                 ((KiVerifierFlags() & POOL_TRACKING) != 0 ? EXP_SLOW_TRACKING : 0);
    __atomic_store_n(&ExpSlow, Slow, __ATOMIC_RELAXED);
    ExpState.TagCount = 1;
    ExpState.TagChunks[0] = ExpState.FirstTags;
    Status = ExpInitMeta();
    if (!NT_SUCCESS(Status))
        return Status;
    if (ExpHasPagedPool())
        ExpInitFlags();
    ExpInitFast();
    for (Index = 0; Index < 2; Index++) {
        ExpFast.Maps[Index].Base = ExpState.Maps[Index].Base;
        ExpFast.Maps[Index].Plain = ExpState.Maps[Index].Plain;
    }
    /* The slots of the tags that find no slot. */
    if (ExpFindSlot(EXP_TAG_OVERFLOW, FALSE) != EXP_SLOT_OVERFLOW || ExpTagOfSlot(EXP_SLOT_OVERFLOW) == NULL ||
        ExpFindSlot(EXP_TAG_OVERFLOW, TRUE) != EXP_SLOT_OVERFLOW + 1)
        return STATUS_NO_MEMORY;
    ExpInitLookaside();
    ExpResetSecurePools();
    ExpResetObjects();
    ExpInitStringMemory();
    ExpInitTrim();
    ExpState.Turn = ExpState.TurnKept = EXP_LEAST_TURN;
    ExpState.LeastGift = EXP_LEAST_GIFT;
    MmReclaimRoutine = ExpReclaim;
    ExpState.Started = TRUE;
    KiThreadRundownRoutine = ExThreadRundown;
    return STATUS_SUCCESS;
}

VOID ExShutdownSystem(VOID)
{
    KTHREAD *Thread = HalCurrentThread();
    ExpStopTrim();
    MmReclaimRoutine = NULL;
    memset(&ExpFast, 0, sizeof(ExpFast));
    ExpUnpoison(ExpState.Maps[0].Base, ExpState.Maps[0].Covered);
    ExpUnpoison(ExpState.Maps[1].Base, ExpState.Maps[1].Covered);
    /* Other threads that stay attached have been told by KeShutdownSystem. */
    if (Thread != NULL)
        Thread->ExCache = Thread->ExBare = NULL;
    ExpState.Started = FALSE;
    KiThreadRundownRoutine = NULL;
}

/* ---- allocation ---- */
static POOL_TYPE ExpPoolType(EXP_KIND Kind, ULONG Options)
{
    ULONG Type = Kind == ExpPaged ? PagedPool : Kind == ExpNonPagedNx ? NonPagedPoolNx : NonPagedPoolExecute;
    return (POOL_TYPE)(Type | (Options & EXP_ALIGNED ? NonPagedPoolCacheAligned : 0));
}

static DECLSPEC_NOINLINE VOID ExpStopIrql(EXP_KIND Kind, ULONG Options, SIZE_T Size, KIRQL Irql)
{
    if (KiVerifierFlags() != 0)
        KiStop(0xC4, "Pool was allocated at an IRQL that is too high for the pool type.", NULL, EXP_IS_PAGED(Kind) ? 1 : 2,
               Irql, (ULONG_PTR)ExpPoolType(Kind, Options), Size);
    KiStop(0xC2, "Pool was allocated at an IRQL that is too high for the pool type.", NULL, 8, Irql,
           (ULONG_PTR)ExpPoolType(Kind, Options), Size);
}

static DECLSPEC_NOINLINE VOID ExpCheckNewTag(ULONG Type, SIZE_T Size, ULONG Tag, ULONG_PTR Caller)
{
    ULONG Byte;
    if (Tag == 0)
        KiStop(0xC2, "Pool was allocated with a tag of zero.", NULL, 0x9B, Type, Size, Caller);
    if ((Tag & 0xFFFFFF) == 0x474942 && ((Tag >> 24) == 0 || (Tag >> 24) == ' '))
        KiStop(0xC2, "Pool was allocated with the reserved tag BIG.", NULL, 0x9C, Type, Size, Caller);
    for (Byte = 0; Byte < 4; Byte++) {
        ULONG C = (Tag >> (Byte * 8)) & 0xFF;
        if ((C >= '0' && C <= '9') || ((C | 0x20) >= 'a' && (C | 0x20) <= 'z'))
            return;
    }
    KiStop(0xC2, "Pool was allocated with a tag that has no letter or digit.", NULL, 0x9D, Tag, Type, Caller);
}

/* A block of more than the largest class, aligned to more than a page, or wanted from a NUMA node: pages of its own. */
static PVOID ExpAllocateLarge(EXP_CACHE *Cache, EXP_KIND Kind, SIZE_T Size, SIZE_T Alignment, ULONG Tag, ULONG Options,
                              EX_POOL_PRIORITY Priority, ULONG Flags, ULONG_PTR Caller)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    EXP_COUNTER *Counter = ExpFindCounter(Cache, Tag, Paged);
    SIZE_T Room = ROUND_TO_PAGES(Size);
    PVOID Block;
    if (Counter == NULL)
        return NULL;
    Block = ExpAllocateBig(Kind, Size, Alignment, Counter->Slot, Flags, (Options & EXP_ZERO) != 0, Priority);
    if (Block == NULL)
        return NULL;
    ExpCountAlloc(Cache, Counter, Size);
    if (Room != Size && ExpChecks())
        ExpFillSlackOnly(Block, Size, Room);
    ExpTellAllocated(Block, Size, (Options & EXP_ZERO) != 0);
    ExpPoison((PUCHAR)Block + Size, Room - Size);
    if ((ExpReadSlow() & EXP_SLOW_STACKS) && Caller != 0)
        ((EXP_BIG *)ExpLookupRun((ULONG_PTR)Block))->Stacks[0] = ExpCaptureStack(Caller);
    return Block;
}

/* Keeps the stack of the allocation (Which 0) or the free (1) of a small block. */
static VOID ExpNoteStack(ULONG_PTR Block, const EXP_WORD *Word, ULONG Which, ULONG_PTR Caller)
{
    EXP_SLAB *Slab = ExpSlabOf(Block, Word);
    ExpStacksOf(Slab)[2 * (Word - ExpWordsOf(Slab)) + Which] = ExpCaptureStack(Caller);
}

/* A block that was used before is about to be handed out again. */
static VOID ExpCheckReuse(ULONG_PTR Block, SIZE_T BlockSize, EXP_WORD Old)
{
    if (__builtin_expect(Old & EXP_WORD_LIVE, 0))
        KiStop(0xC2, "A pool block was freed twice, by two threads at the same time.", (PVOID)Block, 7, 0, 0, Block);
    if (ExpChecks() && __builtin_expect(!ExpIsFreedFill((PVOID)Block, BlockSize), 0))
        ExpStopFreedFill((PVOID)Block, BlockSize);
}

static PVOID ExpTryBlock(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, SIZE_T Alignment, ULONG Tag, ULONG Options,
                         EX_POOL_PRIORITY Priority, ULONG Flags, ULONG_PTR Caller)
{
    EXP_CACHE *Cache = ExpGetCache(Thread);
    ULONG Paged = EXP_IS_PAGED(Kind), BinIndex, BlockSize;
    EXP_COUNTER *Counter;
    EXP_BIN *Bin;
    EXP_ENTRY *Entry;
    ULONG_PTR Block;
    EXP_WORD Old;
    if (Cache == NULL)
        return NULL;
    if (Tag & EXP_PROTECTED) {
        Tag &= ~EXP_PROTECTED;
        Flags |= EXP_WORD_PROTECTED;
    }
    if (Tag == 0)
        Tag = EXP_TAG_NONE;
    if (Size > ExpFast.MaxSmall || Alignment > PAGE_SIZE || EXP_NODE_OF(Priority) != 0)
        return ExpAllocateLarge(Cache, Kind, Size, Alignment, Tag, Options, Priority, Flags, Caller);
    SIZE_T Wanted = Size != 0 ? Size : 1;
    /* With pool tracking no block of less than a page is without slack: it sees every overrun. */
    if ((ExpReadSlow() & EXP_SLOW_TRACKING) && Size < PAGE_SIZE)
        Wanted++;
    if ((Options & EXP_ALIGNED) && Alignment < SYSTEM_CACHE_ALIGNMENT_SIZE)
        Alignment = SYSTEM_CACHE_ALIGNMENT_SIZE;
    BinIndex = (ULONG)Kind * EXP_BINS + ExpClassFor(Wanted, Alignment);
    Counter = ExpFindCounter(Cache, Tag, Paged);
    if (Counter == NULL)
        return NULL;
    Bin = &Cache->Bins[BinIndex];
    BlockSize = Bin->BlockSize;
    if (Bin->Top->Block == 0 && !ExpRefill(Cache, BinIndex, Priority))
        return NULL;
    Entry = Bin->Top;
    Block = Entry->Block;
    Old = ExpReadWord(Entry->Word);
    ExpUnpoison(Block, BlockSize);
    if (Old != 0)
        ExpCheckReuse(Block, BlockSize, Old);
    Bin->Top = Entry - 1;
    ExpWriteWord(Entry->Word, ExpMakeWord(Counter->Slot, (ULONG)Size, Flags));
    ExpCountAlloc(Cache, Counter, Size);
    if (BlockSize != (ULONG)Size && ExpChecks())
        ExpFillSlack((PVOID)Block, Size, BlockSize);
    if ((ExpReadSlow() & EXP_SLOW_STACKS) && Caller != 0)
        ExpNoteStack(Block, Entry->Word, 0, Caller);
    if (Options & EXP_ZERO)
        memset((PVOID)Block, 0, Size);
    ExpTellAllocated((PVOID)Block, Size, (Options & EXP_ZERO) != 0);
    ExpPoison(Block + Size, BlockSize - Size);
    return (PVOID)Block;
}

/* What did not fit may fit when this thread gives up what it keeps: its blocks hold pages, and lie between free ones. */
static PVOID ExpAllocateBlock(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, SIZE_T Alignment, ULONG Tag, ULONG Options,
                              EX_POOL_PRIORITY Priority, ULONG Flags, ULONG_PTR Caller)
{
    PVOID Block = ExpTryBlock(Thread, Kind, Size, Alignment, Tag, Options, Priority, Flags, Caller);
    if (__builtin_expect(Block == NULL, 0) && Thread->Irql < DISPATCH_LEVEL && Thread->ExCache != NULL &&
        Size <= ExpState.Maps[EXP_IS_PAGED(Kind)].Size) {
        ExpTrimCache(Thread->ExCache);
        ExpTrimPools(TRUE);
        Block = ExpTryBlock(Thread, Kind, Size, Alignment, Tag, Options, Priority, Flags, Caller);
    }
    return Block;
}

static VOID ExpCheckIrql(KTHREAD *Thread, EXP_KIND Kind, ULONG Options, SIZE_T Size)
{
    if (EXP_IRQL_TOO_HIGH(Thread->Irql, Kind))
        ExpStopIrql(Kind, Options, Size, Thread->Irql);
}

/* What the verifier makes of a request: a block, EXP_REQUEST_FAIL, or NULL: an ordinary block. */
static PVOID ExpAskVerifier(EXP_CACHE *Cache, EXP_KIND Kind, SIZE_T Size, ULONG Tag, ULONG Options, EX_POOL_PRIORITY Priority,
                            ULONG_PTR Caller)
{
    EXP_REQUEST Request;
    BOOLEAN Sampled = FALSE;
    ULONG Own = (Tag & ~EXP_PROTECTED) != 0 ? Tag & ~EXP_PROTECTED : EXP_TAG_NONE;
    EXP_COUNTER *Counter = Cache != NULL ? ExpFindCounter(Cache, Own, EXP_IS_PAGED(Kind)) : NULL;
    if (Counter != NULL && Counter->Left <= 0)
        Sampled = ExpRenew(Cache, Counter);
    if (ExpVerifyAllocateRoutine == NULL || (!Sampled && !(Options & EXP_SPECIAL) && !(ExpReadSlow() & EXP_SLOW_ALLOCATE)))
        return NULL;
    if (Sampled)
        __atomic_add_fetch(&ExpState.Sampled, 1, __ATOMIC_RELAXED);
    Request.Kind = Kind;
    Request.Size = Size;
    Request.Tag = Own;
    Request.Protected = (Tag & EXP_PROTECTED) != 0;
    Request.Zero = (Options & EXP_ZERO) != 0;
    Request.Aligned = (Options & EXP_ALIGNED) != 0;
    Request.Quota = (Options & EXP_QUOTA) != 0;
    Request.Sampled = Sampled;
    Request.Wanted = (Options & EXP_SPECIAL) != 0;
    Request.Priority = Priority;
    Request.Caller = Caller;
    return ExpVerifyAllocateRoutine(&Request);
}

/* With quota: the process current at the call is charged, except for a page and more. */
static PVOID ExpAllocateWithQuota(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, ULONG Tag, ULONG Options,
                                  EX_POOL_PRIORITY Priority, ULONG_PTR Caller)
{
    struct _KPROCESS *Process = Thread->AttachedProcess != NULL ? Thread->AttachedProcess : Thread->Process;
    BOOLEAN Charge = Size < PAGE_SIZE, Paged = (BOOLEAN)EXP_IS_PAGED(Kind);
    NTSTATUS Status = Charge ? ExpChargeQuota(Process, Paged, Size) : STATUS_SUCCESS;
    PVOID Block = NULL;
    if (NT_SUCCESS(Status)) {
        Block = ExpAllocateBlock(Thread, Kind, Size, 1, Tag, Options, Priority, Charge ? EXP_WORD_QUOTA : 0, Caller);
        if (Block != NULL && Charge && !ExpRecordQuota(Block, Process)) {
            ExpFreeBlock(Block, Tag, TRUE); /* finds no record and returns nothing */
            Block = NULL;
        }
        if (Block == NULL) {
            Status = STATUS_INSUFFICIENT_RESOURCES;
            if (Charge)
                ExpReturnQuota(Process, Paged, Size);
        }
    }
    if (Block == NULL && (Options & EXP_RAISE))
        ExRaiseStatus(Status);
    return Block;
}

static PVOID ExpAllocate(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, ULONG Tag, ULONG Options, EX_POOL_PRIORITY Priority,
                         ULONG_PTR Caller)
{
    PVOID Block;
    ExpCheckIrql(Thread, Kind, Options, Size);
    if ((ExpReadSlow() & EXP_SLOW_FAIL) && KiFailHere(KiResourcePool, Tag, Size)) {
        if (Options & EXP_RAISE)
            ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
        return NULL;
    }
    Block = ExpAskVerifier(ExpGetCache(Thread), Kind, Size, Tag, Options, EXP_PLAIN_PRIORITY(Priority), Caller);
    if (Block == EXP_REQUEST_FAIL)
        Block = NULL;
    else if (Block != NULL)
        return Block;
    else if (Options & EXP_QUOTA)
        return ExpAllocateWithQuota(Thread, Kind, Size, Tag, Options, Priority, Caller);
    else
        Block = ExpAllocateBlock(Thread, Kind, Size, 1, Tag, Options, Priority, 0, Caller);
    if (Block == NULL && (Options & EXP_RAISE))
        ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
    return Block;
}

/* The forms that take a POOL_TYPE. */
PVOID ExpAllocateLegacy(ULONG Type, SIZE_T Size, ULONG Tag, ULONG Options, EX_POOL_PRIORITY Priority, ULONG_PTR Caller)
{
    KTHREAD *Thread = KiCurrentThread(); /* first: it may be what starts the system */
    EXP_KIND Kind = (Type & PagedPool) ? ExpPaged : (Type & POOL_NX_ALLOCATION) ? ExpNonPagedNx : ExpNonPagedExecute;
    if (Type & (NonPagedPoolMustSucceed | NonPagedPoolCacheAligned | POOL_RAISE_IF_ALLOCATION_FAILURE | POOL_ZERO_ALLOCATION)) {
        if (Type & NonPagedPoolMustSucceed)
            KiStop(0xC2, "Must-succeed pool was asked for; no such pool exists any more.", NULL, 0x9A, Type, Size, Tag);
        if (Type & NonPagedPoolCacheAligned)
            Options |= EXP_ALIGNED;
        if (Type & POOL_RAISE_IF_ALLOCATION_FAILURE)
            Options |= EXP_RAISE;
        if (Type & POOL_ZERO_ALLOCATION)
            Options |= EXP_ZERO;
    }
    if ((Options & EXP_WITH_TAG) && (ExpReadSlow() & EXP_SLOW_TRACKING))
        ExpCheckNewTag(Type, Size, Tag, Caller);
    return ExpAllocate(Thread, Kind, Size, Tag, Options, Priority, Caller);
}

PVOID ExpAllocateFor(SIZE_T Size, ULONG Tag, ULONG_PTR Caller)
{
    return ExpAllocateLegacy((ULONG)NonPagedPoolNx, Size, Tag, EXP_WITH_TAG, HighPoolPriority, Caller);
}

PVOID ExAllocatePool(POOL_TYPE PoolType, SIZE_T NumberOfBytes)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, EXP_TAG_NONE, 0, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

PVOID ExAllocatePoolWithTagPriority(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, EX_POOL_PRIORITY Priority)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, Priority, (ULONG_PTR)__builtin_return_address(0));
}

static PVOID ExpAllocateLegacyQuota(ULONG Type, SIZE_T Size, ULONG Tag, ULONG Options, ULONG_PTR Caller)
{
    Options |= EXP_QUOTA;
    if (!(Type & POOL_QUOTA_FAIL_INSTEAD_OF_RAISE))
        Options |= EXP_RAISE;
    return ExpAllocateLegacy(Type, Size, Tag, Options, HighPoolPriority, Caller);
}

PVOID ExAllocatePoolWithQuotaTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExpAllocateLegacyQuota(PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, (ULONG_PTR)__builtin_return_address(0));
}

PVOID ExAllocatePoolWithQuota(POOL_TYPE PoolType, SIZE_T NumberOfBytes)
{
    return ExpAllocateLegacyQuota(PoolType, NumberOfBytes, EXP_TAG_NONE, 0, (ULONG_PTR)__builtin_return_address(0));
}

#define POOL2_KINDS (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED)
#define POOL2_KNOWN                                                                                                            \
    (POOL2_KINDS | POOL_FLAG_USE_QUOTA | POOL_FLAG_UNINITIALIZED | POOL_FLAG_SESSION | POOL_FLAG_CACHE_ALIGNED |               \
     POOL_FLAG_RAISE_ON_FAILURE)

PVOID ExpFailFlags(POOL_FLAGS Flags)
{
    if (Flags & POOL_FLAG_RAISE_ON_FAILURE)
        ExRaiseStatus(STATUS_INVALID_PARAMETER);
    return NULL;
}

/* What the low nine flags ask for: kind and options, or POOL2_BAD. The lower half of the flags is required:
 * what is not known fails. The upper half is optional. */
#define POOL2_BAD        0xFFu
#define POOL2_KIND(D)    ((EXP_KIND)((D) >> 6))
#define POOL2_OPTIONS(D) ((D)&0x3Fu)
static UCHAR ExpFlagTable[512];

static VOID ExpInitFlags(VOID)
{
    ULONG Flags;
    for (Flags = 0; Flags < ARRAYSIZE(ExpFlagTable); Flags++) {
        ULONG Pool = Flags & (ULONG)POOL2_KINDS, Options = 0;
        if ((Flags & ~(ULONG)POOL2_KNOWN) != 0 || Pool == 0 || (Pool & (Pool - 1)) != 0) {
            ExpFlagTable[Flags] = POOL2_BAD;
            continue;
        }
        if (!(Flags & POOL_FLAG_UNINITIALIZED))
            Options |= EXP_ZERO;
        if (Flags & POOL_FLAG_CACHE_ALIGNED)
            Options |= EXP_ALIGNED;
        if (Flags & POOL_FLAG_USE_QUOTA)
            Options |= EXP_QUOTA;
        if (Flags & POOL_FLAG_RAISE_ON_FAILURE)
            Options |= EXP_RAISE;
        Pool = Pool == POOL_FLAG_NON_PAGED ? ExpNonPagedNx : Pool == POOL_FLAG_PAGED ? ExpPaged : ExpNonPagedExecute;
        ExpFlagTable[Flags] = (UCHAR)(Pool << 6 | Options);
    }
}

/* ---- what the fast paths may do ---- */
static ULONG ExpFastEntry(EXP_KIND Kind)
{
    return (UCHAR)EXP_HIGHEST_IRQL(Kind) | (ULONG)Kind << 12 | (Kind == ExpPaged ? EXP_FAST_PAGED : 0);
}

/* MapLock, or nobody else about. */
VOID ExpShowCovered(VOID)
{
    ULONG Index;
    for (Index = 0; Index < 2; Index++)
        __atomic_store_n(&ExpFast.Maps[Index].Covered, ExpReadSlow() != 0 ? 0 : ExpState.Maps[Index].Covered, __ATOMIC_RELEASE);
}

VOID ExpInitFast(VOID)
{
    ULONG Index;
    BOOLEAN Slow = ExpReadSlow() != 0;
    ExpShowCovered();
    if (!ExpHasPagedPool())
        return; /* nobody asks by flags or types */
    for (Index = 0; Index < ARRAYSIZE(ExpFast.Flags); Index++) {
        ULONG Decoded = ExpFlagTable[Index], Entry = EXP_FAST_NO;
        /* No more than zeroes: neither aligned nor charged; one that fails comes back to raise. */
        if (!Slow && Decoded != POOL2_BAD && (POOL2_OPTIONS(Decoded) & ~(EXP_ZERO | EXP_RAISE)) == 0)
            Entry = ExpFastEntry(POOL2_KIND(Decoded));
        __atomic_store_n(&ExpFast.Flags[Index], Entry, __ATOMIC_RELAXED);
    }
    for (Index = 0; Index < ARRAYSIZE(ExpFast.Types); Index++) {
        ULONG Entry = EXP_FAST_NO;
        if (!Slow && (Index & ~(ULONG)(PagedPool | POOL_NX_ALLOCATION | POOL_RAISE_IF_ALLOCATION_FAILURE)) == 0)
            Entry = ExpFastEntry((Index & PagedPool)            ? ExpPaged
                                 : (Index & POOL_NX_ALLOCATION) ? ExpNonPagedNx
                                                                : ExpNonPagedExecute);
        __atomic_store_n(&ExpFast.Types[Index], Entry, __ATOMIC_RELAXED);
    }
}

/* For a fork: every lock, in order, so that what they guard is whole. */
VOID ExpLockPools(BOOLEAN Lock)
{
    KI_LOCK *Others[] = {&ExpState.GhostLock, &ExpState.SpanLock[0], &ExpState.SpanLock[1],
                         &ExpState.MapLock,   &ExpState.MetaLock,    &ExpState.TagLock,
                         &ExpState.StackLock, &ExpState.QuotaLock,   &ExpState.CacheLock};
    ULONG Index;
    VOID (*Do)(PKI_LOCK) = Lock ? KiAcquireLock : KiReleaseLock;
    for (Index = EXP_KINDS * EXP_BINS; Index-- != 0;) /* a class before those of its tails */
        Do(&ExpState.Centers[Index].Lock);
    for (Index = 0; Index < ARRAYSIZE(Others); Index++)
        Do(Others[Index]);
}

VOID ExpSetSlow(ULONG Set, ULONG Clear)
{
    KiAcquireLock(&ExpState.MapLock);
    __atomic_store_n(&ExpSlow, (ExpReadSlow() & ~Clear) | Set, __ATOMIC_RELAXED);
    ExpInitFast();
    KiReleaseLock(&ExpState.MapLock);
}

PVOID ExpAllocateFlags(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, EX_POOL_PRIORITY Priority, ULONG_PTR Caller)
{
    KTHREAD *Thread = KiCurrentThread(); /* first: it may be what starts the system */
    ULONG Decoded = ExpFlagTable[Flags & 0x1FF];
    if ((Flags & 0xFFFFFE00) != 0 || Decoded == POOL2_BAD || Size == 0 || Tag == 0)
        return ExpFailFlags(Flags);
    return ExpAllocate(Thread, POOL2_KIND(Decoded), Size, Tag,
                       POOL2_OPTIONS(Decoded) | ((Flags & POOL_FLAG_SPECIAL_POOL) ? EXP_SPECIAL : 0), Priority, Caller);
}

/* ---- the file systems' forms: they raise ---- */
PVOID FsRtlAllocatePool(POOL_TYPE PoolType, ULONG NumberOfBytes)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, EXP_TAG_NONE, EXP_RAISE, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

PVOID FsRtlAllocatePoolWithTag(POOL_TYPE PoolType, ULONG NumberOfBytes, ULONG Tag)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, Tag, EXP_RAISE | EXP_WITH_TAG, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

/* One status for every failure, a quota's too: the only one that the pages have. */
static PVOID ExpAllocateFsRtlQuota(ULONG Type, SIZE_T Size, ULONG Tag, ULONG Options, ULONG_PTR Caller)
{
    PVOID Block = ExpAllocateLegacyQuota((Type & ~(ULONG)POOL_RAISE_IF_ALLOCATION_FAILURE) | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE,
                                         Size, Tag, Options, Caller);
    if (Block == NULL)
        ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
    return Block;
}

PVOID FsRtlAllocatePoolWithQuota(POOL_TYPE PoolType, ULONG NumberOfBytes)
{
    return ExpAllocateFsRtlQuota(PoolType, NumberOfBytes, EXP_TAG_NONE, 0, (ULONG_PTR)__builtin_return_address(0));
}

PVOID FsRtlAllocatePoolWithQuotaTag(POOL_TYPE PoolType, ULONG NumberOfBytes, ULONG Tag)
{
    return ExpAllocateFsRtlQuota(PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, (ULONG_PTR)__builtin_return_address(0));
}

/* ---- pshed.dll's ---- */
#define PSHED_TAG 'dhsP'

PVOID PshedAllocateMemory(ULONG Size)
{
    return ExpAllocateLegacy((ULONG)NonPagedPoolNx, Size, PSHED_TAG, EXP_WITH_TAG, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

VOID PshedFreeMemory(PVOID Address)
{
    ExFreePoolWithTag(Address, PSHED_TAG);
}

/* ---- free ---- */
static DECLSPEC_NOINLINE VOID ExpStopFreeIrql(PVOID Block, EXP_KIND Kind, KIRQL Irql)
{
    if (KiVerifierFlags() != 0)
        KiStop(0xC4, "Pool was freed at an IRQL that is too high for the pool type.", Block, EXP_IS_PAGED(Kind) ? 0x11 : 0x12,
               Irql, (ULONG_PTR)ExpPoolType(Kind, 0), (ULONG_PTR)Block);
    KiStop(0xC2, "Pool was freed at an IRQL that is too high for the pool type.", Block, 9, Irql,
           (ULONG_PTR)ExpPoolType(Kind, 0), (ULONG_PTR)Block);
}

/* Tagged: a tag that is not zero must match. A protected tag must be given, and match. */
static inline VOID ExpCheckTag(PVOID Block, EXP_WORD Word, ULONG Own, ULONG Tag, BOOLEAN Tagged)
{
    if (__builtin_expect(!Tagged && !(Word & EXP_WORD_PROTECTED), 0))
        return;
    if (__builtin_expect((Tag & ~EXP_PROTECTED) != Own, 0) && EXP_WORD_SLOT(Word) > EXP_SLOT_OVERFLOW + 1)
        KiStop(0xC2, "A pool block was freed with another tag than it was allocated with.", Block, 0xA, (ULONG_PTR)Block,
               (Word & EXP_WORD_PROTECTED) ? Own | EXP_PROTECTED : Own, Tag);
}

/* Under pool tracking: what is being freed holds no timer that runs and no DPC that waits. */
static VOID ExpCheckContents(PVOID Block, SIZE_T Size)
{
    PKTIMER Timer = KiFindTimer(Block, Size);
    PKDPC Dpc = KiFindDpc(Block, Size);
    if (Timer != NULL)
        KiStop(0xC7, "A pool block that holds an active timer was freed.", Block, 0, (ULONG_PTR)Timer, (ULONG_PTR)Block,
               (ULONG_PTR)Block + Size);
    if (Dpc != NULL)
        KiStop(0xC7, "A pool block that holds a queued DPC was freed.", Block, 1, (ULONG_PTR)Dpc, (ULONG_PTR)Block,
               (ULONG_PTR)Block + Size);
}

/* The counter of the one tag that malloc has, from the thread's first operation on. */
static VOID ExpFindHost(EXP_CACHE *Cache)
{
    EXP_COUNTER *Counter;
    if (Cache != NULL && Cache->Host == &Cache->NoHost &&
        (Counter = ExpCounterOfSlotSlow(Cache, ExpFindSlot(EXP_HOST_TAG, FALSE))) != NULL)
        Cache->Host = Counter;
}

static VOID ExpFreeLarge(KTHREAD *Thread, EXP_BIG *Big, PVOID Block, ULONG Tag, ULONG Options, ULONG_PTR Caller)
{
    EXP_WORD Word = ExpReadWord(&Big->Word);
    ULONG Slot = EXP_WORD_SLOT(Word), Own;
    EXP_KIND Kind = (EXP_KIND)Big->Run.Kind;
    EXP_CACHE *Cache;
    EXP_COUNTER *Counter;
    SIZE_T Room = (SIZE_T)Big->Run.Pages << 12;
    if (Big->Run.Base != (ULONG_PTR)Block || !(Word & EXP_WORD_LIVE))
        ExpStopBadFree(Block);
    if (!(Options & EXP_HOST) && EXP_IRQL_TOO_HIGH(Thread->Irql, Kind))
        ExpStopFreeIrql(Block, Kind, Thread->Irql);
    Own = ExpTagOfSlot(Slot)->Tag;
    ExpCheckTag(Block, Word, Own, Tag, (Options & EXP_WITH_TAG) != 0);
    if ((ExpReadSlow() & EXP_SLOW_TRACKING) && Kind != ExpPaged)
        ExpCheckContents(Block, Big->Size);
    ExpUnpoison(Block, Room);
    if (ExpChecks())
        ExpCheckSlack(Block, Big->Size, Room);
    if ((ExpReadSlow() & EXP_SLOW_FREE) && ExpVerifyFreeRoutine != NULL && !(Options & EXP_HOST))
        ExpVerifyFreeRoutine(Block, Big->Size, Own, Kind);
    if (!(__atomic_fetch_and(&Big->Word, ~EXP_WORD_LIVE, __ATOMIC_ACQ_REL) & EXP_WORD_LIVE))
        ExpStopBadFree(Block); /* another thread was quicker */
    Cache = ExpGetCache(Thread);
    Counter = Cache != NULL ? ExpCounterOfSlot(Cache, Slot) : NULL;
    if (Counter != NULL) {
        ExpCountFree(Counter, Big->Size);
    } else {
        ExpCountShared(Slot, -(LONG64)Big->Size, FALSE);
    }
    if ((ExpReadSlow() & EXP_SLOW_STACKS) && Caller != 0)
        Big->Stacks[1] = ExpCaptureStack(Caller);
    ExpTellFreed(Block, Room);
    ExpFreeBig(Big);
}

static VOID ExpFreeStrange(PVOID Block, ULONG Tag, ULONG_PTR Caller)
{
    if (ExpSpecialFreeRoutine != NULL &&
        (MmRegionOf(Block) == MmRegionSpecialPool || MmRegionOf(Block) == MmRegionPagedSpecialPool))
        ExpSpecialFreeRoutine(Block, Tag, Caller);
    else
        ExpStopBadFree(Block);
}

VOID ExpFreeGeneral(PVOID Block, ULONG Tag, ULONG Options, ULONG_PTR Caller)
{
    KTHREAD *Thread = KiCurrentThread();
    EXP_RUN *Run = ExpLookupRun((ULONG_PTR)Block);
    EXP_CACHE *Cache;
    EXP_COUNTER *Counter;
    EXP_SLAB *Slab;
    EXP_BIN *Bin;
    EXP_WORD Word;
    EXP_KIND Kind;
    ULONG Number, Slot, Own;
    SIZE_T Size;
    if (Run == NULL || ExpIsReleased(Run)) {
        ExpFreeStrange(Block, Tag, Caller);
        return;
    }
    if (Run->Type != ExpRunSlab) {
        ExpFreeLarge(Thread, (EXP_BIG *)Run, Block, Tag, Options, Caller);
        return;
    }
    Slab = ExpFindSlab(Run, (ULONG_PTR)Block);
    Number = ExpBlockNumber(Slab, (ULONG_PTR)Block);
    if (Number == MAXULONG)
        ExpStopBadFree(Block);
    Word = ExpReadWord(&ExpWordsOf(Slab)[Number]);
    if (!(Word & EXP_WORD_LIVE))
        ExpStopBadFree(Block);
    Kind = (EXP_KIND)Slab->Run.Kind;
    if (!(Options & EXP_HOST) && EXP_IRQL_TOO_HIGH(Thread->Irql, Kind))
        ExpStopFreeIrql(Block, Kind, Thread->Irql);
    Slot = EXP_WORD_SLOT(Word);
    Size = EXP_WORD_SIZE(Word);
    Cache = ExpGetCache(Thread);
    if (Options & EXP_HOST)
        ExpFindHost(Cache);
    Counter = Cache != NULL ? ExpCounterOfSlot(Cache, Slot) : NULL;
    Own = Counter != NULL ? Counter->Tag : ExpTagOfSlot(Slot)->Tag;
    ExpCheckTag(Block, Word, Own, Tag, (Options & EXP_WITH_TAG) != 0);
    if ((ExpReadSlow() & EXP_SLOW_TRACKING) && Kind != ExpPaged)
        ExpCheckContents(Block, Size);
    ExpUnpoison(Block, Slab->BlockSize);
    if (ExpChecks())
        ExpCheckSlack(Block, Size, Slab->BlockSize);
    if ((ExpReadSlow() & EXP_SLOW_FREE) && ExpVerifyFreeRoutine != NULL && !(Options & EXP_HOST))
        ExpVerifyFreeRoutine(Block, Size, Own, Kind);
    if (Word & EXP_WORD_QUOTA)
        ExpReleaseQuota(Block, Kind == ExpPaged, Size);
    if (Counter != NULL) {
        ExpCountFree(Counter, Size);
    } else {
        ExpCountShared(Slot, -(LONG64)Size, FALSE);
    }
    if (ExpState.StackDepth != 0 && Caller != 0)
        ExpStacksOf(Slab)[2 * Number + 1] = ExpCaptureStack(Caller);
    if (ExpChecks())
        ExpFillFreed(Block, Slab->BlockSize);
    ExpTellFreed(Block, Slab->BlockSize);
    ExpPoison(Block, Slab->BlockSize);
    ExpWriteWord(&ExpWordsOf(Slab)[Number], Word & ~EXP_WORD_LIVE);
    if (__atomic_load_n(&Slab->Draining, __ATOMIC_RELAXED))
        Cache = NULL;
    Bin = Cache != NULL ? &Cache->Bins[ExpBinOfSlab(Slab)] : NULL;
    if (Bin != NULL && Bin->Top != Bin->Limit) {
        Bin->Top++;
        Bin->Top->Block = (ULONG_PTR)Block;
        Bin->Top->Word = &ExpWordsOf(Slab)[Number];
    } else {
        ExpSpill(Cache, ExpBinOfSlab(Slab), (ULONG_PTR)Block, &ExpWordsOf(Slab)[Number]);
    }
}

VOID ExpFreeBlock(PVOID Block, ULONG Tag, BOOLEAN Tagged)
{
    ExpFreeGeneral(Block, Tag, Tagged ? EXP_WITH_TAG : 0, (ULONG_PTR)__builtin_return_address(0));
}

/* ---- for malloc ---- */
static PVOID ExpAllocateHost(SIZE_T Size, SIZE_T Alignment, ULONG Options)
{
    KTHREAD *Thread = KiCurrentThread();
    ExpFindHost(ExpGetCache(Thread));
    if (Size == 0 && Alignment >= PAGE_SIZE)
        Size = 1; /* a run of no pages is none */
    return ExpAllocateBlock(Thread, ExpNonPagedNx, Size, Alignment < 16 ? 16 : Alignment, EXP_HOST_TAG, EXP_HOST | Options,
                            HighPoolPriority, 0, 0);
}

PVOID ExpMallocGeneral(SIZE_T Size, SIZE_T Alignment)
{
    return ExpAllocateHost(Size, Alignment, 0);
}

PVOID ExpCallocGeneral(SIZE_T Size)
{
    return ExpAllocateHost(Size, 16, EXP_ZERO);
}

/* The live block that starts at Block: its slab and number, or its EXP_BIG (Number MAXULONG). */
static EXP_RUN *ExpFindLive(PVOID Block, ULONG *Number)
{
    EXP_RUN *Run = ExpLookupRun((ULONG_PTR)Block);
    *Number = MAXULONG;
    if (Run == NULL || ExpIsReleased(Run))
        ExpStopBadFree(Block);
    if (Run->Type == ExpRunBig) {
        if (Run->Base != (ULONG_PTR)Block || !(ExpReadWord(&((EXP_BIG *)Run)->Word) & EXP_WORD_LIVE))
            ExpStopBadFree(Block);
        return Run;
    }
    Run = &ExpFindSlab(Run, (ULONG_PTR)Block)->Run;
    *Number = ExpBlockNumber((EXP_SLAB *)Run, (ULONG_PTR)Block);
    if (*Number == MAXULONG || !(ExpReadWord(&ExpWordsOf((EXP_SLAB *)Run)[*Number]) & EXP_WORD_LIVE))
        ExpStopBadFree(Block);
    return Run;
}

SIZE_T ExpSizeLike(PVOID Block)
{
    ULONG Number;
    EXP_RUN *Run = ExpFindLive(Block, &Number);
    const EXP_SLAB *Slab = (const EXP_SLAB *)Run;
    return Number == MAXULONG ? ((EXP_BIG *)Run)->Size : EXP_WORD_SIZE(ExpReadWord(&ExpWordsOf(Slab)[Number]));
}

BOOLEAN ExpResizeLike(PVOID Block, SIZE_T Size)
{
    KTHREAD *Thread = KiCurrentThread();
    EXP_CACHE *Cache = ExpGetCache(Thread);
    ULONG Number;
    EXP_RUN *Run = ExpFindLive(Block, &Number);
    EXP_SLAB *Slab = (EXP_SLAB *)Run;
    EXP_BIG *Big = (EXP_BIG *)Run;
    EXP_WORD Word = ExpReadWord(Number == MAXULONG ? &Big->Word : &ExpWordsOf(Slab)[Number]);
    SIZE_T Room = Number == MAXULONG ? (SIZE_T)Run->Pages << 12 : Slab->BlockSize;
    SIZE_T Old = Number == MAXULONG ? Big->Size : EXP_WORD_SIZE(Word);
    EXP_COUNTER *Counter = Cache != NULL ? ExpCounterOfSlot(Cache, EXP_WORD_SLOT(Word)) : NULL;
    if (Counter == NULL || !ExpStaysInPlace(Room, Size) || (Word & EXP_WORD_QUOTA) || Size == 0)
        return FALSE;
    ExpUnpoison(Block, Room);
    if (ExpChecks())
        ExpCheckSlack(Block, Old, Room);
    if (Number == MAXULONG)
        Big->Size = Size;
    else
        ExpWriteWord(&ExpWordsOf(Slab)[Number], ExpMakeWord(EXP_WORD_SLOT(Word), (ULONG)Size, Word & EXP_WORD_PROTECTED));
    ExpCountDown(Counter, Old);
    ExpCountUp(Counter, Size);
    if (Room != Size && ExpChecks())
        ExpFillSlackOnly(Block, Size, Room);
    ExpPoison((PUCHAR)Block + Size, Room - Size);
    return TRUE;
}

BOOLEAN ExpIsPoolAddress(const volatile VOID *Address)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    return Va - ExpState.Maps[0].Base < ExpState.Maps[0].Size || Va - ExpState.Maps[1].Base < ExpState.Maps[1].Size;
}

/* ---- accounting for others ---- */
BOOLEAN ExpChargeTag(ULONG Tag, BOOLEAN Paged, SIZE_T Bytes, ULONG *Slot)
{
    EXP_CACHE *Cache = ExpGetCache(KiCurrentThread());
    EXP_COUNTER *Counter = Cache != NULL ? ExpFindCounter(Cache, Tag, Paged) : NULL;
    if (Counter == NULL)
        return FALSE;
    ExpCountAlloc(Cache, Counter, Bytes);
    *Slot = Counter->Slot;
    return TRUE;
}

VOID ExpReturnTag(ULONG Slot, SIZE_T Bytes)
{
    EXP_CACHE *Cache = ExpGetCache(KiCurrentThread());
    EXP_COUNTER *Counter = Cache != NULL ? ExpCounterOfSlot(Cache, Slot) : NULL;
    if (Counter != NULL) {
        ExpCountFree(Counter, Bytes);
    } else {
        ExpCountShared(Slot, -(LONG64)Bytes, FALSE);
    }
}

SIZE_T ExQueryPoolBlockSize(PVOID PoolBlock, PBOOLEAN QuotaCharged)
{
    EXP_BLOCK_INFO Info;
    if (!ExpDescribeBlock(PoolBlock, &Info) || Info.State != ExpBlockLive || Info.Offset != 0)
        ExpStopBadFree(PoolBlock);
    *QuotaCharged = Info.QuotaCharged;
    return Info.Size;
}
