/*
 * cache.c - what a thread holds: magazines of free blocks for each kind and class, and its counters.
 * SPDX-License-Identifier: MIT
 *
 *   bin:  Loaded  | bottom | block | block | block | ...        Top: the last one, Limit: where it would be full
 *         Chain   empty -> empty -> full -> full                Most of them at most
 *         Home    the slab that its magazines are filled from
 *
 * Allocation takes the block at Top and free puts one there. When Loaded is empty it changes places with the first full one of
 * the chain, and when it is full with an empty one. Only when that does not help is the centre asked (center.c): at least a
 * magazine's worth of operations lies between two such calls, whatever the pattern.
 *
 * How much a thread keeps. A chain is short at first, and grows when the thread asks the centre for what it gave to it before: a thread
 * that only frees, or only allocates, has nothing of a long one. And blocks from slabs are taken by a third of what the thread
 * has taken so far, four at least: what it will not need lies in its magazine.
 *
 * Threads keep apart: what a thread frees it is handed out again itself, as long as its chain holds it, and new blocks come from a
 * slab that no other thread takes from meanwhile. So neighbours in memory, and words that share a line, are mostly one thread's.
 *
 * A magazine's bottom entry has block 0, so that one load tells that there is nothing and which block there is otherwise.
 *
 * A thread that ends folds its counters and leaves its cache as it is, and the next thread that starts takes it over. Caches that
 * nobody has are emptied by the trim.
 *
 * What a thread does not use goes back. Chain changes hands by an exchange, on slow paths only, so that a trim takes it from a
 * thread that has not needed it since the trim before last, running or not. Loaded is the thread's alone: at the next slow path after
 * a trim it looks at its own bins (ExpVisitCache) and parks them: the next use of each comes to the slow path, too. Those that are still
 * parked when it looks again, and whose chains have not changed hands since the trim before last, it closes.
 *
 * Invariants:
 *   K1 Loaded->Entries <= Top <= Limit == Loaded->Entries + Room unless Parked, then Top == Limit == &ExpNoEntry; in Chain no magazine is empty behind one that is not
 *   K2 a bin whose Loaded is NULL has Top == Limit == &ExpNoEntry, no Chain and no Home; its bit in UsedBins is clear
 *   K3 a cache on FreeCaches has no thread; any other cache has one
 *   K4 Home is listed in the bin's centre, and names the bin
 *
 * A cache belongs to its thread, but for Chain, and Home (its centre's lock); CacheLock guards the two lists of caches.
 */
#include "ex/exp.h"

EXP_ENTRY ExpNoEntry;

static VOID ExpLoad(EXP_BIN *Bin, EXP_MAGAZINE *Magazine, ULONG Count)
{
    Bin->Loaded = Magazine;
    Bin->Top = &Magazine->Entries[Count];
    Bin->Limit = &Magazine->Entries[Magazine->Room];
}

/* Off: Loaded->Count tells. */
static VOID ExpUnload(EXP_BIN *Bin)
{
    if (!Bin->Parked)
        Bin->Loaded->Count = (ULONG)(Bin->Top - Bin->Loaded->Entries);
    Bin->Parked = FALSE;
    Bin->Top = Bin->Limit = &ExpNoEntry;
}

static VOID ExpUnpark(EXP_BIN *Bin)
{
    if (Bin->Parked) {
        Bin->Parked = FALSE;
        ExpLoad(Bin, Bin->Loaded, Bin->Loaded->Count);
    }
}

/* ---- the chain ---- */
static EXP_MAGAZINE *ExpTakeChain(EXP_BIN *Bin)
{
    if (__atomic_load_n(&Bin->Chain, __ATOMIC_RELAXED) == NULL)
        return NULL;
    return __atomic_exchange_n(&Bin->Chain, NULL, __ATOMIC_ACQ_REL);
}

static VOID ExpStamp(EXP_BIN *Bin)
{
    __atomic_store_n(&Bin->Stamp, (ULONG)__atomic_load_n(&ExpState.Trims, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static VOID ExpPutChain(EXP_BIN *Bin, EXP_MAGAZINE *Chain)
{
    ExpStamp(Bin);
    __atomic_store_n(&Bin->Chain, Chain, __ATOMIC_RELEASE);
}

/* The link to the first full one, which all that follow are too. */
static EXP_MAGAZINE **ExpFullOf(EXP_MAGAZINE **Chain)
{
    while (*Chain != NULL && (*Chain)->Count == 0)
        Chain = &(*Chain)->Next;
    return Chain;
}

/* To the centre: a chain that is no bin's any more. */
static VOID ExpGiveChain(EXP_CENTER *Center, EXP_MAGAZINE *Chain)
{
    while (Chain != NULL) {
        EXP_MAGAZINE *Magazine = Chain;
        Chain = Chain->Next;
        ExpGiveEmpty(Center, Magazine->Count != 0 ? ExpDeposit(Center, Magazine, TRUE) : Magazine);
    }
}

/* ---- bins ---- */
static BOOLEAN ExpOpenBin(EXP_CACHE *Cache, ULONG BinIndex)
{
    EXP_BIN *Bin = &Cache->Bins[BinIndex];
    EXP_MAGAZINE *Magazine = ExpCreateMagazine(&ExpState.Centers[BinIndex]);
    if (Magazine == NULL)
        return FALSE;
    ExpLoad(Bin, Magazine, 0);
    ExpStamp(Bin);
    __atomic_store_n(&Cache->UsedBins[BinIndex / EXP_BINS],
                     Cache->UsedBins[BinIndex / EXP_BINS] | 1ull << (BinIndex % EXP_BINS), __ATOMIC_RELAXED);
    return TRUE;
}

/* Gives up a bin's blocks and magazines. */
static VOID ExpCloseBin(EXP_CACHE *Cache, ULONG BinIndex)
{
    EXP_BIN *Bin = &Cache->Bins[BinIndex];
    EXP_CENTER *Center = &ExpState.Centers[BinIndex];
    EXP_MAGAZINE *Loaded = Bin->Loaded, *Chain = ExpTakeChain(Bin);
    ExpUnload(Bin);
    __atomic_store_n(&Cache->UsedBins[BinIndex / EXP_BINS],
                     Cache->UsedBins[BinIndex / EXP_BINS] & ~(1ull << (BinIndex % EXP_BINS)), __ATOMIC_RELAXED);
    Bin->Loaded = NULL;
    Bin->Taken = 0;
    Bin->Spilt = FALSE;
    Bin->Most = ExpState.Classes[BinIndex % EXP_BINS].FirstChain;
    ExpLeaveHome(Center, Bin);
    ExpGiveEmpty(Center, ExpDeposit(Center, Loaded, TRUE));
    ExpGiveChain(Center, Chain);
}

/* Blocks that were never handed out get the freed pattern, so that the fast path need not know. */
static VOID ExpPrepare(const EXP_MAGAZINE *Magazine, ULONG BlockSize)
{
    ULONG Index;
    for (Index = 1; Index <= Magazine->Count; Index++) {
        const EXP_ENTRY *Entry = &Magazine->Entries[Index];
        if (ExpChecks() && ExpReadWord(Entry->Word) == 0) {
            ExpUnpoison(Entry->Block, BlockSize);
            ExpFillFreed((PVOID)Entry->Block, BlockSize);
            ExpPoison(Entry->Block, BlockSize);
        }
    }
}

BOOLEAN ExpRefill(EXP_CACHE *Cache, ULONG BinIndex, EX_POOL_PRIORITY Priority)
{
    EXP_BIN *Bin = &Cache->Bins[BinIndex];
    EXP_MAGAZINE *Magazine, *Chain, **Full;
    ExpArmTrim(); /* a load of small blocks frees no pages, yet what an earlier spike left must go */
    ExpVisitCache(Cache);
    if (Bin->Loaded == NULL && !ExpOpenBin(Cache, BinIndex))
        return FALSE;
    ExpUnpark(Bin);
    if (Bin->Top->Block != 0)
        return TRUE;
    Chain = ExpTakeChain(Bin);
    Full = ExpFullOf(&Chain);
    Magazine = *Full;
    if (Magazine != NULL) {
        *Full = Magazine->Next;
        Bin->Loaded->Count = 0;
        Bin->Loaded->Next = Chain;
        ExpPutChain(Bin, Bin->Loaded);
        ExpLoad(Bin, Magazine, Magazine->Count);
        return TRUE;
    }
    if (Chain != NULL)
        ExpPutChain(Bin, Chain);
    ExpStamp(Bin);
    if (Bin->Spilt) { /* what it gave away it wants back: a longer chain would have kept it */
        const EXP_CLASS *Class = &ExpState.Classes[BinIndex % EXP_BINS];
        Bin->Spilt = FALSE;
        Bin->Most = Bin->Most * 2u < Class->Chain ? (UCHAR)(Bin->Most * 2u) : Class->Chain;
    }
    Magazine = ExpFillMagazine(&ExpState.Centers[BinIndex], Bin, &Cache->Random, Priority);
    if (Magazine == NULL)
        return FALSE;
    if (Magazine == Bin->Loaded) /* from slabs; those of a magazine have been through a thread's hands */
        ExpPrepare(Magazine, Bin->BlockSize);
    ExpLoad(Bin, Magazine, Magazine->Count);
    return TRUE;
}

BOOLEAN ExpMakeRoom(EXP_CACHE *Cache, ULONG BinIndex)
{
    EXP_BIN *Bin = &Cache->Bins[BinIndex];
    EXP_CENTER *Center = &ExpState.Centers[BinIndex];
    EXP_MAGAZINE *Empty, *Chain, **Full;
    ULONG Count;
    ExpVisitCache(Cache);
    if (Bin->Loaded == NULL)
        return ExpOpenBin(Cache, BinIndex);
    ExpUnpark(Bin);
    if (Bin->Top != Bin->Limit)
        return TRUE;
    Chain = ExpTakeChain(Bin);
    if (Chain != NULL && Chain->Count == 0) {
        Empty = Chain;
        Chain = Chain->Next;
    } else {
        for (Count = 0, Full = &Chain; Count + 1 < Bin->Most && *Full != NULL; Count++)
            Full = &(*Full)->Next;
        Empty = *Full; /* the one that has lain here longest */
        *Full = NULL;
        if (Chain != NULL)
            ExpPutChain(Bin, Chain);
        Bin->Spilt |= Empty != NULL;
        Empty = Empty == NULL ? ExpCreateMagazine(Center) : ExpDeposit(Center, Empty, FALSE); /* which may stop */
        if (Empty == NULL)
            return FALSE;
        Chain = ExpTakeChain(Bin);
    }
    Full = ExpFullOf(&Chain);
    ExpUnload(Bin);
    Bin->Loaded->Next = *Full;
    *Full = Bin->Loaded;
    ExpPutChain(Bin, Chain);
    ExpLoad(Bin, Empty, 0);
    return TRUE;
}

VOID ExpSpill(EXP_CACHE *Cache, ULONG BinIndex, ULONG_PTR Block, EXP_WORD *Word)
{
    EXP_BIN *Bin;
    if (Cache == NULL || !ExpMakeRoom(Cache, BinIndex)) {
        EXP_ENTRY Entry = {Block, Word};
        ExpReturnBlocks(&ExpState.Centers[BinIndex], &Entry, 1);
        return;
    }
    Bin = &Cache->Bins[BinIndex];
    Bin->Top++;
    Bin->Top->Block = Block;
    Bin->Top->Word = Word;
}

/* Gives up every block and magazine. */
VOID ExpTrimCache(EXP_CACHE *Cache)
{
    ULONG Kind;
    for (Kind = 0; Kind < EXP_KINDS; Kind++)
        while (Cache->UsedBins[Kind] != 0)
            ExpCloseBin(Cache, Kind * EXP_BINS + (ULONG)__builtin_ctzll(Cache->UsedBins[Kind]));
}

VOID ExpVisitCache(EXP_CACHE *Cache)
{
    ULONG64 Now = __atomic_load_n(&ExpState.Trims, __ATOMIC_RELAXED), Bits;
    ULONG Kind;
    if (__builtin_expect(Cache->Visited == Now, 1) || Cache->Thread == NULL)
        return;
    Cache->Visited = Now;
    for (Kind = 0; Kind < EXP_KINDS; Kind++) {
        if (EXP_IRQL_TOO_HIGH(Cache->Thread->Irql, Kind))
            continue; /* pages of paged pool may be given back by this */
        for (Bits = Cache->UsedBins[Kind]; Bits != 0; Bits &= Bits - 1) {
            ULONG BinIndex = Kind * EXP_BINS + (ULONG)__builtin_ctzll(Bits);
            EXP_BIN *Bin = &Cache->Bins[BinIndex];
            if (!Bin->Parked) {
                ExpUnload(Bin);
                Bin->Parked = TRUE;
            } else if ((ULONG)Now - Bin->Stamp >= 2) {
                ExpCloseBin(Cache, BinIndex);
            }
        }
    }
}

VOID ExpTrimIdleBins(BOOLEAN All)
{
    ULONG64 Now = __atomic_load_n(&ExpState.Trims, __ATOMIC_RELAXED), Bits;
    EXP_CACHE *Cache;
    ULONG Kind;
    KiAcquireLock(&ExpState.CacheLock);
    Cache = ExpState.Caches;
    KiReleaseLock(&ExpState.CacheLock);
    for (; Cache != NULL; Cache = Cache->NextCache) {
        for (Kind = 0; Kind < EXP_KINDS; Kind++) {
            for (Bits = __atomic_load_n(&Cache->UsedBins[Kind], __ATOMIC_RELAXED); Bits != 0; Bits &= Bits - 1) {
                ULONG BinIndex = Kind * EXP_BINS + (ULONG)__builtin_ctzll(Bits);
                EXP_CENTER *Center = &ExpState.Centers[BinIndex];
                EXP_BIN *Bin = &Cache->Bins[BinIndex];
                if (!All && (ULONG)Now - __atomic_load_n(&Bin->Stamp, __ATOMIC_RELAXED) < 2)
                    continue;
                ExpGiveChain(Center, ExpTakeChain(Bin));
            }
        }
    }
}

VOID ExpTrimFreeCaches(VOID)
{
    EXP_CACHE *Caches, *Cache;
    KiAcquireLock(&ExpState.CacheLock);
    Caches = ExpState.FreeCaches;
    ExpState.FreeCaches = NULL;
    KiReleaseLock(&ExpState.CacheLock);
    while ((Cache = Caches) != NULL) {
        Caches = Cache->NextFree;
        ExpTrimCache(Cache);
        KiAcquireLock(&ExpState.CacheLock);
        Cache->NextFree = ExpState.FreeCaches;
        ExpState.FreeCaches = Cache;
        KiReleaseLock(&ExpState.CacheLock);
    }
}

static EXP_CACHE *ExpCreateCache(VOID)
{
    EXP_CACHE *Cache = ExpMetaAllocate(ExpMetaOther, sizeof(EXP_CACHE));
    /* Where there is no paged pool (libntmm_malloc.so) there is no other kind than the first: pages not written to stay untouched. */
    ULONG Index, Kinds = ExpHasPagedPool() ? EXP_KINDS : 1;
    if (Cache == NULL)
        return NULL;
    ExpClear(Cache, sizeof(EXP_CACHE));
    Cache->Bins[EXP_NO_BIN].TailOffset = PAGE_SIZE;
    for (Index = 0; Index < Kinds * EXP_BINS; Index++) {
        if (Index % EXP_BINS < EXP_CLASSES) {
            const EXP_CLASS *Class = &ExpState.Classes[Index % EXP_BINS];
            Cache->Bins[Index].Top = Cache->Bins[Index].Limit = &ExpNoEntry;
            Cache->Bins[Index].BlockSize = Class->Size;
            Cache->Bins[Index].Most = Class->FirstChain;
            Cache->Bins[Index].Magic = Class->Magic;
            Cache->Bins[Index].TailOffset = Class->TailOffset;
            Cache->Bins[Index].Second = Class->Size > 16 ? 16 : 0;
            Cache->Bins[Index].Irql = EXP_HIGHEST_IRQL(Index / EXP_BINS);
        }
    }
    Cache->Host = &Cache->NoHost;
    Cache->NoHost.Word = 1;
    Cache->Chunks[0] = Cache->First;
    for (Index = 1; Index < ARRAYSIZE(Cache->Chunks); Index++)
        Cache->Chunks[Index] = ExpNoCounters;
    KiAcquireLock(&ExpState.CacheLock);
    ExpState.Seed = ExpState.Seed * 6364136223846793005ull + 1442695040888963407ull;
    Cache->Random = ExpState.Seed | 1;
    Cache->Shade = ExpState.CacheCount++ % EXP_SHADES;
    Cache->NextCache = ExpState.Caches;
    ExpState.Caches = Cache;
    KiReleaseLock(&ExpState.CacheLock);
    return Cache;
}

EXP_CACHE *ExpGetCache(KTHREAD *Thread)
{
    EXP_CACHE *Cache = Thread->ExCache;
    if (Cache != NULL)
        return Cache;
    if (!ExpState.Started)
        return NULL;
    KiAcquireLock(&ExpState.CacheLock);
    Cache = ExpState.FreeCaches;
    if (Cache != NULL)
        ExpState.FreeCaches = Cache->NextFree;
    KiReleaseLock(&ExpState.CacheLock);
    if (Cache == NULL)
        Cache = ExpCreateCache();
    if (Cache == NULL)
        return NULL;
    Cache->Thread = Thread;
    Thread->ExCache = Cache;
    Thread->ExBare = ExpChecks() ? NULL : Cache;
    return Cache;
}

VOID ExThreadRundown(KTHREAD *Thread)
{
    EXP_CACHE *Cache = Thread->ExCache;
    if (Cache == NULL || !ExpState.Started)
        return;
    Thread->ExCache = Thread->ExBare = NULL;
    Cache->Thread = NULL;
    ExpFoldCache(Cache);
    KiAcquireLock(&ExpState.CacheLock);
    Cache->NextFree = ExpState.FreeCaches;
    ExpState.FreeCaches = Cache;
    KiReleaseLock(&ExpState.CacheLock);
    ExpArmTrim();
}
