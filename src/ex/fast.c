/*
 * fast.c - the pools' fast paths: what nearly every allocation and free does, in one straight line each.
 * SPDX-License-Identifier: MIT
 *
 * Implements ExAllocatePool2, ExAllocatePoolWithTag, ExFreePoolWithTag, ExFreePool and their like for malloc. A fast path
 * covers blocks up to EXP_MAX_SMALL with a plain tag that the thread has used before, while the thread has a free block of the
 * class, or room for one. It looks first and changes afterwards: whatever it does not cover, and whatever is wrong, goes to
 * the general path (pool.c) in a tail call, with nothing changed, to be done or told there. No call is made otherwise, so no
 * register is saved.
 *
 * An allocation:  flags -> highest IRQL, kind | size -> class -> bin | tag -> counter | block and word at Top, not live,
 * freed pattern whole | word written | allocations, bytes, peak | slack filled | zeroes
 *
 * A free:  page -> words and bin | not above the IRQL | number, exactly | word, live | slot -> counter, tag the same | slack whole |
 * frees, bytes | freed pattern | word | block at Top
 *
 * What a free reads that another thread may have written: the page's entry, the block's word and the block; a tail's slab. What an allocation reads: the word and the block, both last touched by the free that put it there.
 */
#define EXP_FAST_PATHS
#include "ex/exp.h"

#undef ExFreePool

#ifndef EXP_ACCOUNTING
#define EXP_ACCOUNTING 1 /* 0: what bench_tags compares with, to tell what counting costs; the figures are wrong then */
#endif

EXP_FAST ExpFast;

/* Is the freed pattern in the block's first bytes? Like ExpIsFreedFill, with a branch for each word: none is ever taken. */
static inline __attribute__((always_inline)) BOOLEAN ExpIsUntouched(ULONG_PTR Block, ULONG BlockSize)
{
    const ULONG64 *At = (const ULONG64 *)Block, Pattern = EXP_FREED_PATTERN;
    if (__builtin_expect(At[0] != Pattern, 0) || __builtin_expect(At[1] != Pattern, 0))
        return FALSE;
    if (__builtin_expect(BlockSize >= 32, 1) &&
        (__builtin_expect(At[2] != Pattern, 0) || __builtin_expect(At[3] != Pattern, 0)))
        return FALSE;
    return TRUE;
}

/* 0: take the general path. */
static inline __attribute__((always_inline)) ULONG_PTR ExpTryAllocate(EXP_CACHE *Cache, ULONG Decoded, SIZE_T Size, ULONG Tag)
{
    ULONG Key = Tag | (Decoded & EXP_FAST_PAGED), Index = ExpTagCacheIndex(Key);
    EXP_COUNTER *Counter = Cache->Tags[Index].Counter;
    EXP_BIN *Bin = &Cache->Bins[((Decoded >> 8) & 0xFF) + ExpFast.ClassOf[(Size + 15) >> 4]];
    EXP_ENTRY *Entry = Bin->Top;
    ULONG_PTR Block = Entry->Block;
    ULONG BlockSize;
#if EXP_ACCOUNTING
    LONG64 Bytes, TotalBytes;
#endif
    if (__builtin_expect(Cache->Tags[Index].Key != Key, 0) || __builtin_expect(Block == 0, 0) ||
        __builtin_expect(--Cache->Countdown < 0, 0))
        return 0;
    ExpUnpoison(Block, Bin->BlockSize);
    if (__builtin_expect(!ExpIsUntouched(Block, Bin->BlockSize), 0)) {
        ExpPoison(Block, Bin->BlockSize);
        return 0;
    }
#if EXP_ACCOUNTING
    Bytes = Counter->Balance + (LONG64)Size;
    TotalBytes = Counter->Total->Balance + (LONG64)Size;
    if (Bytes > Counter->MaxBalance || TotalBytes > Counter->Total->MaxBalance) {
        if (__builtin_expect(Bytes > 2 * EXP_FOLD_BYTES, 0) || __builtin_expect(TotalBytes > 2 * EXP_FOLD_BYTES, 0)) {
            ExpPoison(Block, Bin->BlockSize);
            return 0;
        }
        if (Bytes > Counter->MaxBalance)
            EXP_COUNT_STORE(Counter->MaxBalance, Bytes);
        if (TotalBytes > Counter->Total->MaxBalance)
            EXP_COUNT_STORE(Counter->Total->MaxBalance, TotalBytes);
    }
    EXP_COUNT_STORE(Counter->Balance, Bytes);
    EXP_COUNT_STORE(Counter->Total->Balance, TotalBytes);
    EXP_COUNT_STORE(Counter->Allocs, Counter->Allocs + 1);
#endif
    Bin->Top = Entry - 1;
    BlockSize = Bin->BlockSize;
    ExpWriteWord(Entry->Word, Counter->Word | (BlockSize - (ULONG)Size) << 14);
    if (BlockSize != (ULONG)Size)
        ExpFillSlack((PVOID)Block, Size, BlockSize);
    ExpPoison(Block + Size, BlockSize - Size);
    return Block;
}

PVOID ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block;
    ULONG Decoded;
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0) ||
        __builtin_expect(Flags >= ARRAYSIZE(ExpFast.Flags), 0) || __builtin_expect(NumberOfBytes - 1 >= ExpFast.MaxSmall, 0) ||
        __builtin_expect((LONG)Tag <= 0, 0))
        goto General;
    Decoded = __atomic_load_n(&ExpFast.Flags[Flags], __ATOMIC_RELAXED);
    if (__builtin_expect((CHAR)Thread->Irql > (CHAR)Decoded, 0))
        goto General;
    Block = ExpTryAllocate(Thread->ExCache, Decoded, NumberOfBytes, Tag);
    if (__builtin_expect(Block == 0, 0))
        goto General;
    if (Decoded & EXP_FAST_ZERO)
        return memset((PVOID)Block, 0, NumberOfBytes);
    return (PVOID)Block;
General:
    return ExpAllocateFlags(Flags, NumberOfBytes, Tag, HighPoolPriority, (ULONG_PTR)__builtin_return_address(0));
}

PVOID ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block;
    ULONG Decoded;
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect(Thread->ExCache == NULL, 0) ||
        __builtin_expect((ULONG)PoolType >= ARRAYSIZE(ExpFast.Types), 0) ||
        __builtin_expect(NumberOfBytes - 1 >= ExpFast.MaxSmall, 0) || __builtin_expect((LONG)Tag <= 0, 0))
        goto General;
    Decoded = __atomic_load_n(&ExpFast.Types[PoolType], __ATOMIC_RELAXED);
    if (__builtin_expect((CHAR)Thread->Irql > (CHAR)Decoded, 0))
        goto General;
    Block = ExpTryAllocate(Thread->ExCache, Decoded, NumberOfBytes, Tag);
    if (__builtin_expect(Block == 0, 0))
        goto General;
    return (PVOID)Block;
General:
    return ExpAllocateLegacy((ULONG)PoolType, NumberOfBytes, Tag, EXP_WITH_TAG, HighPoolPriority,
                             (ULONG_PTR)__builtin_return_address(0));
}

/* A word of a live block that was not charged quota; and, for frees without tag, whose tag is not protected. Compared as
 * signed: LIVE is the sign. */
C_ASSERT(EXP_WORD_LIVE == 0x80000000u && EXP_WORD_QUOTA == 0x40000000u && EXP_WORD_PROTECTED == 0x20000000u);
#define EXP_IS_PLAIN(Word)     ((LONG)(Word) < (LONG)(EXP_WORD_LIVE | EXP_WORD_QUOTA))
#define EXP_IS_UNGUARDED(Word) ((LONG)(Word) < (LONG)(EXP_WORD_LIVE | EXP_WORD_PROTECTED))

/* FALSE: take the general path. */
static inline __attribute__((always_inline)) BOOLEAN ExpTryFree(ULONG_PTR Block, ULONG Tag, BOOLEAN Tagged, BOOLEAN Host)
{
    const KTHREAD *Thread = HalCurrentThread();
    EXP_CACHE *Cache;
    EXP_COUNTER *Counter;
    EXP_BIN *Bin;
    EXP_ENTRY *Top;
    EXP_WORD *At, Word;
    ULONG64 Product, Plain, *Plains = ExpFast.Maps[0].Plain;
    ULONG_PTR Page = Block - ExpFast.Maps[0].Base;
    ULONG InPage = (ULONG)Block & (PAGE_SIZE - 1), BinIndex, Size, BlockSize;
    __builtin_prefetch((PVOID)Block); /* what is known about it is looked up meanwhile */
    if (__builtin_expect(Thread == NULL, 0) || __builtin_expect((Cache = Thread->ExCache) == NULL, 0))
        return FALSE;
    if (__builtin_expect(Page >= __atomic_load_n(&ExpFast.Maps[0].Covered, __ATOMIC_ACQUIRE), 0)) {
        Page = Block - ExpFast.Maps[1].Base;
        if (__builtin_expect(Page >= __atomic_load_n(&ExpFast.Maps[1].Covered, __ATOMIC_ACQUIRE), 0))
            return FALSE;
        Plains = ExpFast.Maps[1].Plain;
    }
    Page >>= 12;
    Plain = __atomic_load_n(&Plains[Page], __ATOMIC_ACQUIRE);
    BinIndex = EXP_PLAIN_BIN(Plain);
    if (__builtin_expect(Plain == 0, 0) || __builtin_expect(!Host && (CHAR)Thread->Irql > ExpFast.Bins[BinIndex].Irql, 0))
        return FALSE;
    if (__builtin_expect(InPage >= ExpFast.Bins[BinIndex].TailOffset, 0)) {
        EXP_RUN **Entries = Plains == ExpFast.Maps[0].Plain ? ExpFast.Maps[0].Entries : ExpFast.Maps[1].Entries;
        const EXP_SLAB *Tail, *Main = (const EXP_SLAB *)__atomic_load_n(&Entries[Page], __ATOMIC_ACQUIRE);
        if (__builtin_expect(Main == NULL, 0) || __builtin_expect(Main->Run.Gate < 0, 0) ||
            __builtin_expect((Tail = Main->Tail) == NULL, 0) || __builtin_expect(InPage != Tail->Offset, 0))
            return FALSE;
        At = &Tail->WordsOfMap[Page];
        BinIndex = Tail->Bin;
    } else {
        Product = (ULONG64)InPage * ExpFast.Bins[BinIndex].Magic;
        if (__builtin_expect((ULONG)Product >= ExpFast.Bins[BinIndex].Magic, 0))
            return FALSE;
        At = EXP_PLAIN_WORDS(Plain) + (Product >> 32);
    }
    Word = ExpReadWord(At);
    if (__builtin_expect(Tagged ? !EXP_IS_PLAIN(Word) : !EXP_IS_UNGUARDED(Word), 0))
        return FALSE;
    Counter = &Cache->Chunks[(Word >> 6) & 0xFF][Word & 63];
    C_ASSERT(EXP_COUNTERS == 64 && EXP_TAG_SLOTS == 64 * 256);
    Bin = &Cache->Bins[BinIndex];
    Top = Bin->Top;
    if (__builtin_expect(Tagged ? Counter->Tag != Tag : Counter->Tag == 0, 0) || __builtin_expect(Top == Bin->Limit, 0))
        return FALSE;
    BlockSize = ExpFast.Bins[BinIndex].BlockSize;
    Size = BlockSize - EXP_WORD_SLACK(Word);
    ExpUnpoison(Block + Size, BlockSize - Size);
    if (Size != BlockSize && __builtin_expect(!ExpIsSlackWhole((PVOID)Block, Size, BlockSize), 0)) {
        ExpPoison(Block + Size, BlockSize - Size);
        return FALSE;
    }
#if EXP_ACCOUNTING
    EXP_COUNT_STORE(Counter->Balance, Counter->Balance - (LONG64)Size);
    if (__builtin_expect(Counter->Balance < 0, 0)) {
        EXP_COUNT_STORE(Counter->Balance, Counter->Balance + (LONG64)Size); /* the general path will fold */
        return FALSE;
    }
    EXP_COUNT_STORE(Counter->Total->Balance, Counter->Total->Balance - (LONG64)Size);
    if (__builtin_expect(Counter->Total->Balance < 0, 0)) {
        EXP_COUNT_STORE(Counter->Balance, Counter->Balance + (LONG64)Size);
        EXP_COUNT_STORE(Counter->Total->Balance, Counter->Total->Balance + (LONG64)Size);
        return FALSE;
    }
    EXP_COUNT_STORE(Counter->Frees, Counter->Frees + 1);
#endif
    ExpFillFreed((PVOID)Block, BlockSize);
    ExpPoison(Block, BlockSize);
    ExpWriteWord(At, Word & ~EXP_WORD_LIVE);
    Top[1].Block = Block;
    Top[1].Word = At;
    Bin->Top = Top + 1;
    return TRUE;
}

VOID ExFreePoolWithTag(PVOID P, ULONG Tag)
{
    if (__builtin_expect((LONG)Tag <= 0, 0) || __builtin_expect(!ExpTryFree((ULONG_PTR)P, Tag, TRUE, FALSE), 0))
        ExpFreeGeneral(P, Tag, Tag != 0 ? EXP_WITH_TAG : 0, (ULONG_PTR)__builtin_return_address(0));
}

VOID ExFreePool(PVOID P)
{
    if (__builtin_expect(!ExpTryFree((ULONG_PTR)P, 0, FALSE, FALSE), 0))
        ExpFreeGeneral(P, 0, 0, (ULONG_PTR)__builtin_return_address(0));
}

/* ---- for malloc ---- */
PVOID ExpMallocLike(SIZE_T Size, SIZE_T Alignment, ULONG Tag)
{
    const KTHREAD *Thread = HalCurrentThread();
    ULONG_PTR Block;
    if (__builtin_expect(Thread != NULL, 1) && __builtin_expect(Thread->ExCache != NULL, 1) &&
        __builtin_expect(Size - 1 < ExpFast.MaxSmall, 1) && __builtin_expect(Alignment <= 16, 1)) {
        Block = ExpTryAllocate(Thread->ExCache, 0, Size, Tag);
        if (__builtin_expect(Block != 0, 1))
            return (PVOID)Block;
    }
    return ExpMallocGeneral(Size, Alignment, Tag);
}

VOID ExpFreeLike(PVOID Block)
{
    if (__builtin_expect(!ExpTryFree((ULONG_PTR)Block, 0, FALSE, TRUE), 0))
        ExpFreeGeneral(Block, 0, EXP_HOST, 0);
}
