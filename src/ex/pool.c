/*
 * pool.c - the pools' entry points: what drivers call, decoded and put together from the other files.
 * SPDX-License-Identifier: MIT
 *
 * Implements ExAllocatePool, ExAllocatePoolWithTag, ExAllocatePoolWithTagPriority, ExAllocatePoolWithQuota,
 * ExAllocatePoolWithQuotaTag, ExAllocatePool2, the FsRtlAllocatePool family, ExFreePool, ExFreePoolWithTag and
 * ExQueryPoolBlockSize; the forms with extended parameters are in pool3.c. Contracts: include/nt/wdm/ex.h.
 *
 * An allocation:  flags -> kind, options | IRQL, tag rules | class | tag counter | magazine -> block | freed
 * pattern checked | block's word | slack filled | stack | zeroes A free:         page map -> slab -> block
 * number -> block's word | live? | IRQL, tag, slack | counter | freed pattern | magazine
 *
 * The three kinds: NonPagedNx (NonPagedPoolNx, POOL_FLAG_NON_PAGED), NonPagedExecute (NonPagedPool,
 * POOL_FLAG_NON_PAGED_EXECUTE) and Paged. Session pool is the same pool: there is one session.
 *
 * Everything is checked before anything is changed, so that a stop that is caught (ntmm_catch) leaves the
 * pools whole.
 */
#include "ex/exp.h"

#undef ExAllocatePool
#undef ExAllocatePoolWithQuota
#undef ExFreePool
#undef FsRtlAllocatePoolWithTag
#undef FsRtlAllocatePoolWithQuotaTag

NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);

EXP_STATE ExpState;
VOID (*ExpSpecialFreeRoutine)(PVOID Block, ULONG Tag);
PVOID (*ExpVerifyAllocateRoutine)(const EXP_REQUEST *Request);
VOID (*ExpVerifyFreeRoutine)(PVOID Block, SIZE_T Size, ULONG Tag, EXP_KIND Kind);
volatile ULONG ExpSlow, ExpSampleInterval;
const BOOLEAN ExPoolZeroingNativelySupported = TRUE;

/* Options of an allocation, beside kind, size, tag and priority. */
#define EXP_ZERO     1u
#define EXP_ALIGNED  2u
#define EXP_QUOTA    4u
#define EXP_RAISE    8u
#define EXP_WITH_TAG 16u /* legacy form with a tag of its own: the tag rules of 0xC2 apply */

#define POOL_TRACKING 0x8u /* verifier flag */

static VOID ExpInitFlags(VOID);

/* ---- start and stop ---- */
NTSTATUS ExInitSystem(VOID)
{
    NTSTATUS Status;
    memset(&ExpState, 0, sizeof(ExpState));
    ExpResetStacks();
    ExpResetQuota();
    ExpInitClasses();
    ExpInitFlags();
    ExpState.StackDepth = KeOptions.StackDepth < EXP_MAX_STACK ? KeOptions.StackDepth : EXP_MAX_STACK;
    ExpState.Tracking = KeOptions.VerifierFlags & POOL_TRACKING;
    ExpState.SparePages = (ULONG)(KeOptions.RamBytes >> 20); /* pages: a 256th of RAM */
    ExpState.TagCount = 1;
    Status = ExpInitMeta();
    if (!NT_SUCCESS(Status))
        return Status;
    /* The slots of the tags that find no slot. */
    if (ExpFindSlot(EXP_TAG_OVERFLOW, FALSE) != EXP_SLOT_OVERFLOW || ExpTagOfSlot(EXP_SLOT_OVERFLOW) == NULL ||
        ExpFindSlot(EXP_TAG_OVERFLOW, TRUE) != EXP_SLOT_OVERFLOW + 1)
        return STATUS_NO_MEMORY;
    ExpState.Totals[1].Paged = TRUE;
    ExpInitLookaside();
    ExpResetSecurePools();
    ExpInitStringMemory();
    ExpState.Started = TRUE;
    KiThreadRundownRoutine = ExThreadRundown;
    return STATUS_SUCCESS;
}

VOID ExShutdownSystem(VOID)
{
    KTHREAD *Thread = HalCurrentThread();
    ExpUnpoison(ExpState.Maps[0].Base, ExpState.Maps[0].Covered);
    ExpUnpoison(ExpState.Maps[1].Base, ExpState.Maps[1].Covered);
    /* Other threads that stay attached have been told by KeShutdownSystem. */
    if (Thread != NULL)
        Thread->ExCache = NULL;
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

/* A block of more than a page. */
static DECLSPEC_NOINLINE PVOID ExpAllocateLarge(EXP_CACHE *Cache, EXP_KIND Kind, SIZE_T Size, ULONG Tag, ULONG Options,
                                                EX_POOL_PRIORITY Priority, ULONG Flags, PVOID Frame)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    EXP_COUNTER *Counter = ExpFindCounter(Cache, Tag, Paged);
    SIZE_T Slack = (0 - Size) & (PAGE_SIZE - 1);
    PVOID Block;
    if (Counter == NULL)
        return NULL;
    Block = ExpAllocateBig(Cache, Kind, Size, Counter->Slot, Flags, (Options & EXP_ZERO) != 0, Priority);
    if (Block == NULL)
        return NULL;
    ExpCountAlloc(Cache, Counter, Paged, Size);
    if (Slack != 0)
        memset((PUCHAR)Block + Size, EXP_FILL_SLACK, Slack < 16 ? Slack : 16);
    ExpPoison((PUCHAR)Block + Size, Slack);
    if (ExpState.StackDepth != 0)
        ((EXP_BIG *)ExpLookupRun((ULONG_PTR)Block))->Stacks[0] = ExpCaptureStack(Frame);
    return Block;
}

/* Keeps the stack of the allocation (Which 0) or the free (1) of a small block. */
static DECLSPEC_NOINLINE VOID ExpNoteStack(ULONG_PTR Block, const EXP_WORD *Word, ULONG Which, PVOID Frame)
{
    EXP_SLAB *Slab = ExpSlabAt(ExpLookupRun(Block), Block);
    Slab->Stacks[2 * (Word - Slab->Words) + Which] = ExpCaptureStack(Frame);
}

/* A block that was used before is about to be handed out again. */
static inline VOID ExpCheckReuse(EXP_BIN *Bin, ULONG_PTR Block, SIZE_T BlockSize, EXP_WORD Old)
{
    if (__builtin_expect(Old & EXP_WORD_LIVE, 0))
        KiStop(0xC2, "A pool block was freed twice, by two threads at the same time.", (PVOID)Block, 7, 0, 0, Block);
    if (__builtin_expect(!ExpIsFreedFill((PVOID)Block, BlockSize), 0)) {
        Bin->Top++; /* not taken */
        ExpStopFreedFill((PVOID)Block, BlockSize);
    }
}

static inline __attribute__((always_inline)) PVOID ExpAllocateBlock(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, ULONG Tag,
                                                                    ULONG Options, EX_POOL_PRIORITY Priority, ULONG Flags)
{
    EXP_CACHE *Cache = Thread->ExCache;
    ULONG Paged = EXP_IS_PAGED(Kind);
    EXP_COUNTER *Counter;
    EXP_BIN *Bin;
    EXP_ENTRY *Entry;
    ULONG Class, Slack, BlockSize;
    ULONG_PTR Block;
    EXP_WORD Old;
    if (__builtin_expect(Cache == NULL, 0)) {
        Cache = ExpGetCache(Thread);
        if (Cache == NULL)
            return NULL;
    }
    if (__builtin_expect(Tag & EXP_PROTECTED, 0)) {
        Tag &= ~EXP_PROTECTED;
        Flags |= EXP_WORD_PROTECTED;
    }
    if (__builtin_expect(Size > EXP_MAX_SMALL, 0))
        return ExpAllocateLarge(Cache, Kind, Size, Tag, Options, Priority, Flags, __builtin_frame_address(0));
    Class = (Options & EXP_ALIGNED) ? ExpState.AlignedClassOf[(Size + 15) >> 4] : ExpState.ClassOf[(Size + 15) >> 4];
    Counter = ExpFindCounter(Cache, Tag, Paged);
    if (__builtin_expect(Counter == NULL, 0))
        return NULL;
    Bin = &Cache->Bins[Kind][Class];
    BlockSize = Bin->BlockSize;
    if (__builtin_expect(Bin->Top == Bin->Base, 0) && !ExpRefill(Cache, Kind, Class, Priority))
        return NULL;
    Entry = --Bin->Top;
    Block = Entry->Block;
    Old = ExpReadWord(Entry->Word);
    ExpUnpoison(Block, BlockSize);
    if (Old != 0)
        ExpCheckReuse(Bin, Block, BlockSize, Old);
    Slack = BlockSize - (ULONG)Size;
    ExpWriteWord(Entry->Word, ExpMakeWord(Counter->Slot, Slack, Flags));
    ExpCountAlloc(Cache, Counter, Paged, Size);
    if (Slack != 0)
        ExpFillSlack((PVOID)Block, Size, Slack);
    if (__builtin_expect(ExpState.StackDepth != 0, 0))
        ExpNoteStack(Block, Entry->Word, 0, __builtin_frame_address(0));
    if (Options & EXP_ZERO)
        memset((PVOID)Block, 0, Size);
    ExpPoison(Block + Size, Slack);
    return (PVOID)Block;
}

static inline VOID ExpCheckIrql(KTHREAD *Thread, EXP_KIND Kind, ULONG Options, SIZE_T Size)
{
    if (__builtin_expect(EXP_IRQL_TOO_HIGH(Thread->Irql, Kind), 0))
        ExpStopIrql(Kind, Options, Size, Thread->Irql);
}

/* With quota: the process current at the call is charged, except for a page and more. */
static DECLSPEC_NOINLINE PVOID ExpAllocateWithQuota(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, ULONG Tag, ULONG Options,
                                                    EX_POOL_PRIORITY Priority)
{
    struct _KPROCESS *Process = Thread->AttachedProcess != NULL ? Thread->AttachedProcess : Thread->Process;
    BOOLEAN Charge = Size < PAGE_SIZE, Paged = (BOOLEAN)EXP_IS_PAGED(Kind);
    NTSTATUS Status = Charge ? ExpChargeQuota(Process, Paged, Size) : STATUS_SUCCESS;
    PVOID Block = NULL;
    if (NT_SUCCESS(Status)) {
        Block = ExpAllocateBlock(Thread, Kind, Size, Tag, Options, Priority, Charge ? EXP_WORD_QUOTA : 0);
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

static inline __attribute__((always_inline)) PVOID ExpAllocate(KTHREAD *Thread, EXP_KIND Kind, SIZE_T Size, ULONG Tag,
                                                               ULONG Options, EX_POOL_PRIORITY Priority)
{
    PVOID Block;
    ExpCheckIrql(Thread, Kind, Options, Size);
    if (__builtin_expect(ExpSlow & EXP_SLOW_FAIL, 0) && KiFailHere(KiResourcePool, Tag, Size)) {
        if (Options & EXP_RAISE)
            ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
        return NULL;
    }
    if (__builtin_expect(Options & EXP_QUOTA, 0))
        return ExpAllocateWithQuota(Thread, Kind, Size, Tag, Options, Priority);
    Block = ExpAllocateBlock(Thread, Kind, Size, Tag, Options, Priority, 0);
    if (__builtin_expect(Block == NULL && (Options & EXP_RAISE), 0))
        ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
    return Block;
}

/* The forms that take a POOL_TYPE. */
static inline __attribute__((always_inline)) PVOID ExpAllocateLegacy(ULONG Type, SIZE_T Size, ULONG Tag, ULONG Options,
                                                                     EX_POOL_PRIORITY Priority, ULONG_PTR Caller)
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
    if (Options & EXP_WITH_TAG) {
        if (ExpState.Tracking)
            ExpCheckNewTag(Type, Size, Tag, Caller);
        if (Tag == 0)
            Tag = EXP_TAG_NONE;
    }
    return ExpAllocate(Thread, Kind, Size, Tag, Options, Priority);
}

PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

PVOID ExAllocatePool(POOL_TYPE PoolType, SIZE_T NumberOfBytes)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, EXP_TAG_NONE, 0, HighPoolPriority, 0);
}

PVOID ExAllocatePoolWithTagPriority(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, EX_POOL_PRIORITY Priority)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, (EX_POOL_PRIORITY)(Priority & 0x30),
                             (ULONG_PTR)__builtin_return_address(0));
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
    return ExpAllocateLegacyQuota(PoolType, NumberOfBytes, EXP_TAG_NONE, 0, 0);
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

static inline __attribute__((always_inline)) PVOID ExpAllocateFlags(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag,
                                                                    EX_POOL_PRIORITY Priority)
{
    KTHREAD *Thread = KiCurrentThread(); /* first: it may be what starts the system */
    ULONG Decoded = ExpFlagTable[Flags & 0x1FF];
    if (__builtin_expect((Flags & 0xFFFFFE00) != 0 || Decoded == POOL2_BAD || Size == 0 || Tag == 0, 0))
        return ExpFailFlags(Flags);
    return ExpAllocate(Thread, POOL2_KIND(Decoded), Size, Tag, POOL2_OPTIONS(Decoded), Priority);
}

PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    return ExpAllocateFlags(Flags, NumberOfBytes, Tag, HighPoolPriority);
}

PVOID ExpAllocateWithPriority(POOL_FLAGS Flags, SIZE_T Size, ULONG Tag, EX_POOL_PRIORITY Priority)
{
    return ExpAllocateFlags(Flags, Size, Tag, Priority);
}

/* ---- the file systems' forms: they raise ---- */
PVOID FsRtlAllocatePool(POOL_TYPE PoolType, ULONG NumberOfBytes)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, EXP_TAG_NONE, EXP_RAISE, HighPoolPriority, 0);
}

PVOID FsRtlAllocatePoolWithTag(POOL_TYPE PoolType, ULONG NumberOfBytes, ULONG Tag)
{
    return ExpAllocateLegacy(PoolType, NumberOfBytes, Tag, EXP_RAISE | EXP_WITH_TAG, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

PVOID FsRtlAllocatePoolWithQuota(POOL_TYPE PoolType, ULONG NumberOfBytes)
{
    return ExpAllocateLegacyQuota(PoolType, NumberOfBytes, EXP_TAG_NONE, EXP_RAISE, 0);
}

PVOID FsRtlAllocatePoolWithQuotaTag(POOL_TYPE PoolType, ULONG NumberOfBytes, ULONG Tag)
{
    return ExpAllocateLegacyQuota(PoolType, NumberOfBytes, Tag, EXP_RAISE | EXP_WITH_TAG,
                                  (ULONG_PTR)__builtin_return_address(0));
}

/* ---- free ---- */
static DECLSPEC_NOINLINE VOID ExpStopFreeIrql(PVOID Block, EXP_KIND Kind, KIRQL Irql)
{
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
static DECLSPEC_NOINLINE VOID ExpCheckContents(PVOID Block, SIZE_T Size)
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

static DECLSPEC_NOINLINE VOID ExpFreeLarge(KTHREAD *Thread, EXP_BIG *Big, PVOID Block, ULONG Tag, BOOLEAN Tagged, PVOID Frame)
{
    EXP_WORD Word = ExpReadWord(&Big->Word);
    ULONG Slot = EXP_WORD_SLOT(Word);
    EXP_KIND Kind = (EXP_KIND)Big->Run.Kind;
    EXP_CACHE *Cache;
    EXP_COUNTER *Counter;
    SIZE_T Slack = (0 - Big->Size) & (PAGE_SIZE - 1);
    if (Big->Run.Base != (ULONG_PTR)Block || !(Word & EXP_WORD_LIVE))
        ExpStopBadFree(Block);
    if (EXP_IRQL_TOO_HIGH(Thread->Irql, Kind))
        ExpStopFreeIrql(Block, Kind, Thread->Irql);
    ExpCheckTag(Block, Word, ExpTagOfSlot(Slot)->Tag, Tag, Tagged);
    if (ExpState.Tracking && Kind != ExpPaged)
        ExpCheckContents(Block, Big->Size);
    ExpUnpoison(Block, (SIZE_T)Big->Run.Pages * PAGE_SIZE);
    if (Slack != 0)
        ExpCheckSlack(Block, Big->Size, (ULONG)Slack);
    if (!(__atomic_fetch_and(&Big->Word, ~EXP_WORD_LIVE, __ATOMIC_ACQ_REL) & EXP_WORD_LIVE))
        ExpStopBadFree(Block); /* another thread was quicker */
    Cache = ExpGetCache(Thread);
    Counter = Cache != NULL ? ExpCounterOfSlot(Cache, Slot) : NULL;
    if (Counter != NULL)
        ExpCountFree(Cache, Counter, EXP_IS_PAGED(Kind), Big->Size);
    else
        ExpCountShared(Slot, -(LONG64)Big->Size, FALSE);
    if (ExpState.StackDepth != 0)
        Big->Stacks[1] = ExpCaptureStack(Frame);
    ExpFreeBig(Big);
}

static DECLSPEC_NOINLINE VOID ExpFreeStrange(PVOID Block, ULONG Tag)
{
    if (ExpSpecialFreeRoutine != NULL && MmRegionOf(Block) == MmRegionSpecialPool)
        ExpSpecialFreeRoutine(Block, Tag);
    else
        ExpStopBadFree(Block);
}

static inline __attribute__((always_inline)) VOID ExpFreeInline(PVOID Block, ULONG Tag, BOOLEAN Tagged)
{
    KTHREAD *Thread = KiCurrentThread();
    EXP_RUN *Run = ExpLookupRun((ULONG_PTR)Block);
    EXP_CACHE *Cache;
    EXP_COUNTER *Counter;
    EXP_SLAB *Slab;
    EXP_BIN *Bin;
    EXP_WORD Word;
    EXP_KIND Kind;
    ULONG Number, Slot, Slack;
    SIZE_T Size;
    if (__builtin_expect(Run == NULL || Run->Released, 0)) {
        ExpFreeStrange(Block, Tag);
        return;
    }
    if (__builtin_expect(Run->Type != ExpRunSlab, 0)) {
        ExpFreeLarge(Thread, (EXP_BIG *)Run, Block, Tag, Tagged, __builtin_frame_address(0));
        return;
    }
    Slab = ExpSlabAt(Run, (ULONG_PTR)Block);
    Number = ExpBlockNumber(Slab, (ULONG_PTR)Block);
    if (__builtin_expect(Number == MAXULONG, 0))
        ExpStopBadFree(Block);
    Word = ExpReadWord(&Slab->Words[Number]);
    if (__builtin_expect(!(Word & EXP_WORD_LIVE), 0))
        ExpStopBadFree(Block);
    Kind = (EXP_KIND)Slab->Run.Kind;
    if (__builtin_expect(EXP_IRQL_TOO_HIGH(Thread->Irql, Kind), 0))
        ExpStopFreeIrql(Block, Kind, Thread->Irql);
    Slot = EXP_WORD_SLOT(Word);
    Slack = EXP_WORD_SLACK(Word);
    Size = Slab->BlockSize - Slack;
    Cache = Thread->ExCache;
    if (__builtin_expect(Cache == NULL, 0))
        Cache = ExpGetCache(Thread);
    Counter = Cache != NULL ? ExpCounterOfSlot(Cache, Slot) : NULL;
    ExpCheckTag(Block, Word, __builtin_expect(Counter != NULL, 1) ? Counter->Tag : ExpTagOfSlot(Slot)->Tag, Tag, Tagged);
    if (__builtin_expect(ExpState.Tracking, 0) && Kind != ExpPaged)
        ExpCheckContents(Block, Size);
    ExpUnpoison(Block, Slab->BlockSize);
    if (Slack != 0)
        ExpCheckSlack(Block, Size, Slack);
    if (__builtin_expect(Word & EXP_WORD_QUOTA, 0))
        ExpReleaseQuota(Block, Kind == ExpPaged, Size);
    if (__builtin_expect(Counter != NULL, 1))
        ExpCountFree(Cache, Counter, EXP_IS_PAGED(Kind), Size);
    else
        ExpCountShared(Slot, -(LONG64)Size, FALSE);
    if (__builtin_expect(Slab->Stacks != NULL, 0))
        Slab->Stacks[2 * Number + 1] = ExpCaptureStack(__builtin_frame_address(0));
    ExpFillFreed(Block, Slab->BlockSize);
    ExpPoison(Block, Slab->BlockSize);
    ExpWriteWord(&Slab->Words[Number], Word & ~EXP_WORD_LIVE);
    Bin = Cache != NULL ? &Cache->Bins[Kind][Slab->Run.Class] : NULL;
    if (__builtin_expect(Bin != NULL && Bin->Top != Bin->Limit, 1)) {
        Bin->Top->Block = (ULONG_PTR)Block;
        Bin->Top->Word = &Slab->Words[Number];
        Bin->Top++;
    } else {
        ExpFreeSlow(Cache, Bin, (ULONG_PTR)Block, &Slab->Words[Number]);
    }
}

VOID ExpFreeBlock(PVOID Block, ULONG Tag, BOOLEAN Tagged)
{
    ExpFreeInline(Block, Tag, Tagged);
}

VOID ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    ExpFreeInline(P, Tag, Tag != 0);
}

VOID ExFreePool(PVOID P)
{
    ExpFreeInline(P, 0, FALSE);
}

PVOID ExpMallocLike(SIZE_T Size, SIZE_T Alignment, ULONG Tag)
{
    KTHREAD *Thread = KiCurrentThread();
    if (Alignment > 64)
        Size = Alignment > PAGE_SIZE ? 0 - (SIZE_T)1 : Size < PAGE_SIZE ? PAGE_SIZE : Size;
    return ExpAllocateBlock(Thread, ExpNonPagedNx, Size, Tag, Alignment > 16 ? EXP_ALIGNED : 0, HighPoolPriority, 0);
}

VOID ExpFreeLike(PVOID Block)
{
    ExpFreeInline(Block, 0, FALSE);
}

SIZE_T ExpSizeLike(PVOID Block)
{
    EXP_BLOCK_INFO Info;
    if (!ExpDescribeBlock(Block, &Info) || Info.State != ExpBlockLive || Info.Offset != 0)
        ExpStopBadFree(Block);
    return Info.Size;
}

BOOLEAN ExpResizeLike(PVOID Block, SIZE_T Size)
{
    UNREFERENCED_PARAMETER(Block);
    UNREFERENCED_PARAMETER(Size);
    return FALSE; /* always allowed to say no */
}

BOOLEAN ExpIsPoolAddress(const volatile VOID *Address)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    return Va - ExpState.Maps[0].Base < ExpState.Maps[0].Size || Va - ExpState.Maps[1].Base < ExpState.Maps[1].Size;
}

BOOLEAN ExpChargeTag(ULONG Tag, BOOLEAN Paged, SIZE_T Bytes, ULONG *Slot)
{
    EXP_CACHE *Cache = ExpGetCache(KiCurrentThread());
    EXP_COUNTER *Counter = Cache != NULL ? ExpFindCounter(Cache, Tag, Paged) : NULL;
    if (Counter == NULL)
        return FALSE;
    ExpCountAlloc(Cache, Counter, Paged, Bytes);
    *Slot = Counter->Slot;
    return TRUE;
}

VOID ExpReturnTag(ULONG Slot, SIZE_T Bytes)
{
    EXP_CACHE *Cache = ExpGetCache(KiCurrentThread());
    EXP_COUNTER *Counter = Cache != NULL ? ExpCounterOfSlot(Cache, Slot) : NULL;
    if (Counter != NULL)
        ExpCountFree(Cache, Counter, ExpTagOfSlot(Slot)->Paged, Bytes);
    else
        ExpCountShared(Slot, -(LONG64)Bytes, FALSE);
}

SIZE_T ExQueryPoolBlockSize(PVOID PoolBlock, PBOOLEAN QuotaCharged)
{
    EXP_BLOCK_INFO Info;
    if (!ExpDescribeBlock(PoolBlock, &Info) || Info.State != ExpBlockLive || Info.Offset != 0)
        ExpStopBadFree(PoolBlock);
    *QuotaCharged = Info.QuotaCharged;
    return Info.Size;
}
