/*
 * fast.h - the pools' fast paths: what nearly every allocation and free does, in one straight line each.
 * SPDX-License-Identifier: MIT
 *
 * Inlined into the pools' entries (fast.c) and into malloc and free of libntmm_malloc.so. A fast path covers blocks up to
 * EXP_MAX_SMALL with a plain tag that the thread has used before, while the thread has a free block of the class, or room for
 * one. It looks first and changes afterwards: whatever it does not cover, and whatever is wrong, goes to the general path
 * (pool.c) in a tail call, with nothing changed, to be done or told there. No call is made otherwise, so no register is saved.
 *
 * An allocation:  size -> bin | block and word at Top, freed pattern whole* | tag's counter: not yet its turn for a
 * look | word written | allocations, bytes, peak | slack filled*
 *
 * A free:  page -> words and bin | not above the IRQL | number, exactly | word: live | tag the same | room at Top | slack whole* |
 * bytes, frees | freed pattern* | word | block at Top
 *
 * What is marked * is done where ExpFast.Checks says so: always but with verifier=none. The entries look at it once and take
 * one of two straight lines, each of which keeps to few registers; without checks none is saved.
 *
 * What a free reads that another thread may have written: the page's entry, the block's word and (*) the block; a tail's slab. What an
 * allocation reads: the word and (*) the block, both last touched by the free that put it there.
 *
 * Counting is part of the straight line: Headroom tells in either direction that the counter's other fields must
 * move (EXP_COUNTER). A peak that has risen by the counter's Reach is left to the tag's next allocation, by cutting Left short.
 */
#pragma once
#include "ex/exp.h"

#ifndef EXP_ACCOUNTING
#define EXP_ACCOUNTING 1 /* 0: what bench_tags compares with, to tell what counting costs; the figures are wrong then */
#endif

/* Is the freed pattern in the block's first bytes? Like ExpIsFreedFill, with a branch for each word, none of which is ever taken, and
 * none on the size, which is as good as random. */
static inline __attribute__((always_inline)) BOOLEAN ExpIsUntouched(ULONG_PTR Block, const EXP_BIN *Bin)
{
    const ULONG64 *At = (const ULONG64 *)Block, *Second = (const ULONG64 *)(Block + Bin->Second), Pattern = EXP_FREED_PATTERN;
    return !(__builtin_expect(At[0] != Pattern, 0) || __builtin_expect(At[1] != Pattern, 0) ||
             __builtin_expect(Second[0] != Pattern, 0) || __builtin_expect(Second[1] != Pattern, 0));
}

static inline __attribute__((always_inline)) VOID ExpFillFreedAs(ULONG_PTR Block, const EXP_BIN *Bin)
{
    ULONG64 *At = (ULONG64 *)Block, *Second = (ULONG64 *)(Block + Bin->Second);
    At[0] = At[1] = EXP_FREED_PATTERN;
    Second[0] = Second[1] = EXP_FREED_PATTERN;
}

/* An allocation that raises the peak: Headroom has gone below 0. What was just written is read again, so that the ordinary way needs
 * no register for it. */
static inline __attribute__((always_inline)) VOID ExpRaise(EXP_COUNTER *Counter)
{
    LONG64 Peak = EXP_COUNT_LOAD(Counter->Peak) - EXP_COUNT_LOAD(Counter->Headroom);
    EXP_COUNT_STORE(Counter->Peak, Peak);
    EXP_COUNT_STORE(Counter->Headroom, 0);
    if (__builtin_expect(Peak > EXP_COUNT_LOAD(Counter->Reach), 0) && EXP_COUNT_LOAD(Counter->Left) > 0) {
        Counter->Deferred = EXP_COUNT_LOAD(Counter->Left);
        EXP_COUNT_STORE(Counter->Allocs, Counter->Allocs - (ULONG64)EXP_COUNT_LOAD(Counter->Left));
        EXP_COUNT_STORE(Counter->Left, 0);
    }
}

/* 0: take the general path. Kind: EXP_FAST_KIND; Size: not 0, and not above MaxSmall; Checks: a constant, so that the code
 * with checks and that without each keep to few registers. */
static inline __attribute__((always_inline)) ULONG_PTR ExpTryAllocate(EXP_CACHE *Cache, ULONG Kind, SIZE_T Size,
                                                                      EXP_COUNTER *Counter, BOOLEAN Checks)
{
    EXP_BIN *Bin = (EXP_BIN *)((PUCHAR)Cache->Bins + Kind + ExpBinOf(Size));
    EXP_ENTRY *Entry = Bin->Top;
    ULONG_PTR Block = Entry->Block;
    SIZE_T BlockSize = Bin->BlockSize;
    if (__builtin_expect(Block == 0, 0))
        return 0;
    if (Checks) {
        ExpUnpoison(Block, BlockSize);
        if (__builtin_expect(!ExpIsUntouched(Block, Bin), 0)) {
            ExpPoison(Block, BlockSize);
            return 0;
        }
    }
#if EXP_ACCOUNTING
    EXP_COUNT_STORE(Counter->Left, Counter->Left - 1);
    if (__builtin_expect(Counter->Left < 0, 0)) {
        ExpPoison(Block, BlockSize);
        return 0;
    }
    Bin->Top = Entry - 1;
    EXP_COUNT_STORE(Counter->Headroom, Counter->Headroom - (LONG)Size);
    if (__builtin_expect(Counter->Headroom < 0, 0))
        ExpRaise(Counter);
#else
    Bin->Top = Entry - 1;
#endif
    ExpWriteWord(Entry->Word, Counter->Word + (ULONG)Size);
    if (Checks && BlockSize != Size)
        ExpFillSlack((PVOID)Block, Size, BlockSize);
    ExpUnpoison(Block, Size);
    ExpPoison(Block + Size, BlockSize - Size);
    return Block;
}

/* A word of a live block that was not charged quota; and, for frees without tag, whose tag is not protected. Compared as
 * signed: LIVE is the sign. */
C_ASSERT(EXP_WORD_LIVE == 0x80000000u && EXP_WORD_QUOTA == 0x40000000u && EXP_WORD_PROTECTED == 0x20000000u);
#define EXP_IS_PLAIN(Word)     ((LONG)(Word) < (LONG)(EXP_WORD_LIVE | EXP_WORD_QUOTA))
#define EXP_IS_UNGUARDED(Word) ((LONG)(Word) < (LONG)(EXP_WORD_LIVE | EXP_WORD_PROTECTED))

typedef enum _EXP_FREE_MODE {
    ExpFreeTagged,   /* the tag must be that of the block */
    ExpFreeUntagged, /* any tag that is not protected */
    ExpFreeHost      /* EXP_HOST_TAG, any IRQL */
} EXP_FREE_MODE;

/* The word of a block that may be its page's tail, and its bin. NULL: it is not. */
static inline __attribute__((always_inline)) EXP_WORD *ExpFindTail(EXP_CACHE *Cache, ULONG_PTR Block, EXP_BIN **Bin)
{
    const EXP_SLAB *Tail, *Main;
    if ((Block & (PAGE_SIZE - 1)) < (*Bin)->TailOffset)
        return NULL;
    Main = (const EXP_SLAB *)ExpLookupRun(Block);
    if (__builtin_expect(Main == NULL, 0) || __builtin_expect(Main->Run.Gate < 0, 0) ||
        __builtin_expect((Tail = Main->Tail) == NULL, 0) ||
        __builtin_expect((Block & (PAGE_SIZE - 1)) != (*Bin)->TailOffset, 0))
        return NULL;
    *Bin = &Cache->Bins[ExpBinOfSlab(Tail)];
    return ExpWordsOf(Tail) + ((Block - Main->Run.Base) >> 12);
}

typedef struct _EXP_FOUND {
    EXP_BIN *Bin;
    EXP_WORD *At;
    EXP_COUNTER *Counter;
    ULONG Size;
} EXP_FOUND;

/* Is the block with this word one that may be freed so, by a thread with this cache? */
static inline __attribute__((always_inline)) BOOLEAN ExpMatchWord(EXP_CACHE *Cache, EXP_WORD Word, ULONG Tag,
                                                                  EXP_FREE_MODE Mode, EXP_FOUND *Found)
{
    EXP_COUNTER *Counter;
    if (Mode == ExpFreeHost) {
        Found->Counter = Counter = Cache->Host;
        Found->Size = Word - Counter->Word;
        return __builtin_expect(Found->Size <= EXP_MAX_SMALL, 1); /* live, of the one tag, neither charged nor protected */
    }
    if (__builtin_expect(Mode == ExpFreeTagged ? !EXP_IS_PLAIN(Word) : !EXP_IS_UNGUARDED(Word), 0))
        return FALSE;
    C_ASSERT(EXP_COUNTERS == 64 && EXP_TAG_SLOTS == 64 * 128);
    Found->Counter = Counter = &Cache->Chunks[Word >> 22 & 0x7F][Word >> 16 & 63];
    Found->Size = EXP_WORD_SIZE(Word);
    return __builtin_expect(Mode == ExpFreeTagged ? Counter->Tag == Tag : Counter->Tag != 0, 1);
}

/* By the one who frees it, who may have read it before. */
static inline __attribute__((always_inline)) VOID ExpEndWord(EXP_WORD *At)
{
#ifdef KI_TSAN
    ExpWriteWord(At, ExpReadWord(At) & ~EXP_WORD_LIVE);
#else
    *At &= ~EXP_WORD_LIVE;
#endif
}

/* What is known of the block that starts at an address. FALSE: take the general path. Irql: the caller's, where Mode is not
 * ExpFreeHost. Tails: a constant, whether it may be a page's tail; the code that looks for one needs registers of its own. */
static inline __attribute__((always_inline)) BOOLEAN ExpFindForFree(EXP_CACHE *Cache, ULONG_PTR Block, ULONG Tag, CHAR Irql,
                                                                    EXP_FREE_MODE Mode, BOOLEAN Tails, EXP_FOUND *Found)
{
    ULONG64 Product, Plain, *Plains = ExpFast.Maps[0].Plain;
    ULONG_PTR Page = Block - ExpFast.Maps[0].Base;
    EXP_BIN *Bin;
    if (__builtin_expect(Page >= EXP_PEEK(ExpFast.Maps[0].Covered), 0)) {
        Page = Block - ExpFast.Maps[1].Base;
        if (Mode == ExpFreeHost || __builtin_expect(Page >= EXP_PEEK(ExpFast.Maps[1].Covered), 0))
            return FALSE;
        Plains = ExpFast.Maps[1].Plain;
    }
    Plain = __atomic_load_n(&Plains[Page >> 12], __ATOMIC_ACQUIRE);
    Found->Bin = Bin = (EXP_BIN *)((PUCHAR)Cache->Bins + EXP_PLAIN_BIN(Plain));
    if (Mode != ExpFreeHost && __builtin_expect(Irql > Bin->Irql, 0))
        return FALSE;
    Product = (ULONG64)(Block & (PAGE_SIZE - 1)) * Bin->Magic;
    Found->At = EXP_PLAIN_WORD(Plain, Product >> 32);
    if (__builtin_expect((ULONG)Product < Bin->Magic, 1)) {
        if (__builtin_expect(ExpMatchWord(Cache, ExpReadWord(Found->At), Tag, Mode, Found), 1))
            return TRUE;
        if (!Tails || ExpReadWord(Found->At) != 0)
            return FALSE;
    }
    if (!Tails)
        return FALSE;
    /* A tail begins where no block of the page does, or, if it does so exactly, with the number of none, whose word is 0. */
    Found->At = ExpFindTail(Cache, Block, &Found->Bin);
    return Found->At != NULL && ExpMatchWord(Cache, ExpReadWord(Found->At), Tag, Mode, Found);
}

/* FALSE: take the general path, or ExpTryFreeAgain first. */
static inline __attribute__((always_inline)) BOOLEAN ExpTryFreeAs(EXP_CACHE *Cache, ULONG_PTR Block, ULONG Tag, CHAR Irql,
                                                                  EXP_FREE_MODE Mode, BOOLEAN Tails, BOOLEAN Checks)
{
    EXP_FOUND Found;
    EXP_COUNTER *Counter;
    EXP_BIN *Bin;
    EXP_ENTRY *Top;
    LONG Size, BlockSize;
    /* Written to below or, soon, by whom it is handed out to; what is known of it is looked up meanwhile. */
    __builtin_prefetch((PVOID)Block, 1);
    if (__builtin_expect(!ExpFindForFree(Cache, Block, Tag, Irql, Mode, Tails, &Found), 0))
        return FALSE;
    Bin = Found.Bin;
    Counter = Found.Counter;
    BlockSize = Bin->BlockSize;
    Size = (LONG)Found.Size;
    if (Checks) {
        ExpUnpoison(Block + Size, BlockSize - Size);
        if (Size != BlockSize && __builtin_expect(!ExpIsSlackWhole((PVOID)Block, Size, BlockSize), 0)) {
            ExpPoison(Block + Size, BlockSize - Size);
            return FALSE;
        }
    }
    Top = Bin->Top;
    if (__builtin_expect(Top == Bin->Limit, 0))
        return FALSE;
#if EXP_ACCOUNTING
    {
        LONG Headroom = Counter->Headroom + (LONG)Size;
        if (__builtin_expect(Headroom > Counter->Reach, 0))
            return FALSE; /* the general path will fold */
        EXP_COUNT_STORE(Counter->Headroom, Headroom);
        EXP_COUNT_STORE(Counter->Frees, Counter->Frees + 1);
    }
#else
    (VOID) Counter;
#endif
    if (Checks)
        ExpFillFreedAs(Block, Bin);
    ExpPoison(Block, BlockSize);
    ExpEndWord(Found.At);
    Top[1].Block = Block;
    Top[1].Word = Found.At;
    Bin->Top = Top + 1;
    return TRUE;
}

static inline __attribute__((always_inline)) BOOLEAN ExpTryFree(EXP_CACHE *Cache, ULONG_PTR Block, ULONG Tag, CHAR Irql,
                                                                EXP_FREE_MODE Mode, BOOLEAN Checks)
{
    return ExpTryFreeAs(Cache, Block, Tag, Irql, Mode, FALSE, Checks);
}

/* ---- when a fast path has said no: most likely for want of blocks or of room for one, or for a counter that is full ---- */
/* TRUE: it would say yes now. */
static inline BOOLEAN ExpReadyToAllocate(EXP_CACHE *Cache, ULONG Kind, SIZE_T Size)
{
    EXP_BIN *Bin = (EXP_BIN *)((PUCHAR)Cache->Bins + Kind + ExpBinOf(Size));
    return Bin->Top->Block == 0 && ExpRefill(Cache, (ULONG)(Bin - Cache->Bins), HighPoolPriority);
}

static inline BOOLEAN ExpTryFreeAgain(EXP_CACHE *Cache, ULONG_PTR Block, ULONG Tag, CHAR Irql, EXP_FREE_MODE Mode)
{
    EXP_FOUND Found;
    if (!ExpFindForFree(Cache, Block, Tag, Irql, Mode, TRUE, &Found))
        return FALSE;
    if (Found.Counter->Headroom + (LONG)Found.Size > Found.Counter->Reach)
        ExpFold(Found.Counter, ExpBalance(Found.Counter));
    if (Found.Bin->Top == Found.Bin->Limit && !ExpMakeRoom(Cache, (ULONG)(Found.Bin - Cache->Bins)))
        return FALSE;
    return ExpTryFreeAs(Cache, Block, Tag, Irql, Mode, TRUE, ExpChecks());
}

/* ---- for realloc ---- */
typedef enum _EXP_RESIZED {
    ExpResizeUnknown, /* the general path will do it, or stop */
    ExpResizeMove,    /* a live block that does not fit, or would waste more than half: Old tells its bytes */
    ExpResizeDone
} EXP_RESIZED;

static inline __attribute__((always_inline)) EXP_RESIZED ExpTryResizeLike(EXP_CACHE *Cache, PVOID Block, SIZE_T Size,
                                                                          SIZE_T *Old)
{
    EXP_FOUND Found;
    SIZE_T BlockSize;
    if (__builtin_expect(Cache == NULL, 0) || !ExpFindForFree(Cache, (ULONG_PTR)Block, 0, 0, ExpFreeHost, TRUE, &Found))
        return ExpResizeUnknown;
    *Old = Found.Size;
    BlockSize = Found.Bin->BlockSize;
    if (!ExpStaysInPlace(BlockSize, Size))
        return ExpResizeMove;
    ExpUnpoison(Block, BlockSize);
    if (ExpChecks() && *Old != BlockSize && __builtin_expect(!ExpIsSlackWhole(Block, *Old, BlockSize), 0))
        return ExpResizeUnknown;
    ExpWriteWord(Found.At, Found.Counter->Word + (ULONG)Size);
    ExpCountDown(Found.Counter, *Old);
    ExpCountUp(Found.Counter, Size);
    if (ExpChecks() && Size != BlockSize)
        ExpFillSlackOnly(Block, Size, BlockSize);
    ExpPoison((PUCHAR)Block + Size, BlockSize - Size);
    return ExpResizeDone;
}

/* ---- for malloc: Cache is the thread's, or NULL. 0 and FALSE: take the general path ---- */
static inline __attribute__((always_inline)) PVOID ExpTryMallocLike(EXP_CACHE *Cache, SIZE_T Size, BOOLEAN Checks)
{
    if (__builtin_expect(Cache == NULL, 0) || __builtin_expect(Size - 1 >= ExpFast.MaxSmall, 0))
        return NULL;
    return (PVOID)ExpTryAllocate(Cache, 0, Size, Cache->Host, Checks);
}

static inline __attribute__((always_inline)) BOOLEAN ExpTryFreeLike(EXP_CACHE *Cache, PVOID Block, BOOLEAN Checks)
{
    return __builtin_expect(Cache != NULL, 1) && ExpTryFree(Cache, (ULONG_PTR)Block, 0, 0, ExpFreeHost, Checks);
}
