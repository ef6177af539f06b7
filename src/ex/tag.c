/*
 * tag.c - who uses how much: counts and bytes of each tag in each pool.
 * SPDX-License-Identifier: MIT
 *
 * A pair of tag and pool (nonpaged or paged) has a slot, a number below EXP_TAG_SLOTS, for ever; a block's
 * word holds the slot. Slots are found through a chained hash table that is read without a lock and written
 * under TagLock. Slots 1 and 2 take every tag that comes when the table is full: their blocks are counted,
 * but their own tags are not known.
 *
 * Counting. Each thread has a counter for each slot it has used, which it alone writes, with plain adds; a
 * free is counted where it happens, so a thread's numbers mean little on their own, and a sum over all
 * threads and the slot's own record is exact whenever nothing is under way:
 *
 *     Bytes = EXP_TAG.Bytes + sum of EXP_COUNTER's change      (Allocs and Frees likewise)
 *
 * Peaks. A counter keeps its highest balance and the distance from it (EXP_COUNTER), and is folded into the slot when its
 * peak has risen, or its balance fallen, by its Reach (at its thread's next operation with the tag); the peak that a fold
 * sees is EXP_TAG.Bytes + Peak. With one thread that is the exact peak; with several it can miss what the others had not
 * folded: at most the Reach of each and one block (EXP_TAG_USE.PeakError is the sum of the Reaches). Reach is EXP_LEAST_REACH, and
 * doubles, up to EXP_MOST_REACH, when a counter is folded twice within REACH_OPERATIONS: two threads that fold by turns wait for
 * the record's line each time.
 *
 * A pool's totals are the sums over its tags when they are asked for; only its peak is kept, as the folds see it.
 *
 * Invariants:
 *   T1 a slot's Bytes summed over all threads equal the requested bytes of the live blocks whose words name it
 *   T2 Allocs - Frees, summed, equals the number of those blocks
 *   T3 the pool totals equal the sums over all live blocks of the pool
 *
 * TagLock is a leaf.
 */
#include "ex/exp.h"

EXP_TAG *ExpTagOfSlot(ULONG Slot)
{
    EXP_TAG *Chunk;
    if (Slot >= EXP_TAG_SLOTS)
        return NULL;
    Chunk = __atomic_load_n(&ExpState.TagChunks[Slot / EXP_COUNTERS], __ATOMIC_ACQUIRE);
    return Chunk != NULL ? &Chunk[Slot % EXP_COUNTERS] : NULL;
}

static ULONG ExpHashTag(ULONG Tag, BOOLEAN Paged)
{
    return (ULONG)(((Tag | (ULONG64)(Paged + 1) << 32) * 0x9E3779B97F4A7C15ull) >> 54); /* 1,024 chains */
}

static ULONG ExpSearchSlot(ULONG Tag, BOOLEAN Paged)
{
    ULONG Slot = __atomic_load_n(&ExpState.TagHash[ExpHashTag(Tag, Paged)], __ATOMIC_ACQUIRE);
    while (Slot != 0) {
        EXP_TAG *Record = ExpTagOfSlot(Slot);
        if (Record->Tag == Tag && Record->Paged == Paged)
            return Slot;
        Slot = Record->Next;
    }
    return 0;
}

ULONG ExpFindSlot(ULONG Tag, BOOLEAN Paged)
{
    ULONG Hash = ExpHashTag(Tag, Paged);
    ULONG Slot = ExpSearchSlot(Tag, Paged);
    EXP_TAG *Record;
    if (Slot != 0)
        return Slot;
    KiAcquireLock(&ExpState.TagLock);
    Slot = ExpSearchSlot(Tag, Paged);
    if (Slot == 0) {
        Slot = ExpState.TagCount;
        if (Slot < EXP_TAG_SLOTS && ExpTagOfSlot(Slot) == NULL) {
            EXP_TAG *Chunk = ExpMetaAllocate(ExpMetaOther, EXP_COUNTERS * sizeof(EXP_TAG));
            if (Chunk != NULL)
                ExpClear(Chunk, EXP_COUNTERS * sizeof(EXP_TAG));
            __atomic_store_n(&ExpState.TagChunks[Slot / EXP_COUNTERS], Chunk, __ATOMIC_RELEASE);
        }
        if (Slot < EXP_TAG_SLOTS && (Record = ExpTagOfSlot(Slot)) != NULL) {
            Record->Tag = Tag;
            Record->Paged = Paged;
            Record->Next = ExpState.TagHash[Hash];
            __atomic_store_n(&ExpState.TagHash[Hash], (USHORT)Slot, __ATOMIC_RELEASE);
            __atomic_store_n(&ExpState.TagCount, Slot + 1, __ATOMIC_RELEASE);
        } else {
            Slot = EXP_SLOT_OVERFLOW + Paged;
        }
    }
    KiReleaseLock(&ExpState.TagLock);
    return Slot;
}

EXP_COUNTER ExpNoCounters[EXP_COUNTERS];

/* NULL: no memory for the counter. */
EXP_COUNTER *ExpCounterOfSlotSlow(EXP_CACHE *Cache, ULONG Slot)
{
    EXP_COUNTER *Chunk = Cache->Chunks[Slot / EXP_COUNTERS];
    EXP_COUNTER *Counter;
    ULONG Interval = __atomic_load_n(&ExpSampleInterval, __ATOMIC_RELAXED);
    if (Chunk == ExpNoCounters) {
        Chunk = ExpMetaAllocate(ExpMetaOther, EXP_COUNTERS * sizeof(EXP_COUNTER));
        if (Chunk == NULL)
            return NULL;
        ExpClear(Chunk, EXP_COUNTERS * sizeof(EXP_COUNTER));
        __atomic_store_n(&Cache->Chunks[Slot / EXP_COUNTERS], Chunk, __ATOMIC_RELEASE);
    }
    Counter = &Chunk[Slot % EXP_COUNTERS];
    if (Counter->Tag == 0) {
        EXP_TAG *Record = ExpTagOfSlot(Slot);
        if (Record == NULL)
            return NULL;
        Counter->Slot = Slot;
        Counter->Reach = EXP_LEAST_REACH;
        Counter->Word = ExpMakeWord(Slot, 0, 0);
        /* So many allocations from the next sample as a thread is on average. */
        Cache->Random = Cache->Random * 6364136223846793005ull + 1442695040888963407ull;
        Counter->Left = 1 + (LONG)((Cache->Random >> 32) * (ULONG64)(Interval != 0 ? Interval : EXP_SAMPLE_AGAIN) >> 32);
        Counter->Allocs = (ULONG64)Counter->Left;
        /* Who sums looks at Record first. */
        __atomic_store_n(&Counter->Record, Record, __ATOMIC_RELEASE);
        __atomic_add_fetch(&Record->Threads, 1, __ATOMIC_RELAXED);
        Counter->Tag = Record->Tag;
    }
    return Counter;
}

EXP_COUNTER *ExpFindCounterSlow(EXP_CACHE *Cache, ULONG Tag, BOOLEAN Paged)
{
    ULONG Key = Tag | (ULONG)Paged << 31, Index = ExpTagCacheIndex(Key);
    EXP_COUNTER *Counter;
    if (Tag == Cache->Host->Tag && !Paged)
        return Cache->Host; /* malloc's is found without the table, which then stays untouched */
    Counter = ExpCounterOfSlotSlow(Cache, ExpFindSlot(Tag, Paged));
    if (Counter != NULL) {
        Cache->Tags[Index].Key = Key;
        Cache->Tags[Index].Counter = Counter;
    }
    return Counter;
}

static VOID ExpRaisePeak(EXP_TAG *Tag, LONG64 Candidate)
{
    LONG64 Peak = __atomic_load_n(&Tag->Peak, __ATOMIC_RELAXED);
    while (Candidate > Peak &&
           !__atomic_compare_exchange_n(&Tag->Peak, &Peak, Candidate, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static VOID ExpAddBytes(EXP_TAG *Tag, LONG64 Bytes, LONG64 Highest)
{
    LONG64 Before = __atomic_fetch_add(&Tag->Bytes, Bytes, __ATOMIC_RELAXED);
    ExpRaisePeak(Tag, Before + Highest);
}

#define REACH_OPERATIONS 4096u

static VOID ExpTell(EXP_COUNTER *Counter, LONG64 Balance)
{
    EXP_TAG *Tag = Counter->Record;
    ExpAddBytes(Tag, Balance, Counter->Peak);
    ExpAddBytes(&ExpState.Totals[Tag->Paged], Balance, Counter->Peak);
    EXP_COUNT_STORE(Counter->Peak, 0);
    EXP_COUNT_STORE(Counter->Headroom, 0);
}

VOID ExpFold(EXP_COUNTER *Counter, LONG64 Balance)
{
    ULONG Operations = (ULONG)(ExpAllocs(Counter) + Counter->Frees);
    if (Operations - Counter->Folded < REACH_OPERATIONS && Counter->Reach < EXP_MOST_REACH)
        EXP_COUNT_STORE(Counter->Reach, Counter->Reach * 2);
    Counter->Folded = Operations;
    ExpTell(Counter, Balance);
}

BOOLEAN ExpRenew(EXP_CACHE *Cache, EXP_COUNTER *Counter)
{
    ULONG Interval = __atomic_load_n(&ExpSampleInterval, __ATOMIC_RELAXED);
    LONG Left = Counter->Deferred;
    BOOLEAN Ended = Left == 0, Sampled = FALSE;
    if (Counter->Peak > Counter->Reach)
        ExpFold(Counter, ExpBalance(Counter));
    Counter->Deferred = 0;
    if (Ended) {
        Sampled = Interval != 0;
        /* Half of the interval at least, and as long again at random. */
        Cache->Random = Cache->Random * 6364136223846793005ull + 1442695040888963407ull;
        Left = Sampled ? (LONG)(Interval / 2 + 1 + (ULONG)((Cache->Random >> 32) * (ULONG64)Interval >> 32)) : EXP_SAMPLE_AGAIN;
    }
    EXP_COUNT_STORE(Counter->Allocs, Counter->Allocs + (ULONG64)Left);
    EXP_COUNT_STORE(Counter->Left, Left);
    if (Ended) {
        ExpVisitCache(Cache);
        ExpNoteVolume((ULONG64)Left);
        if (Sampled && (Cache->Random >> 20 & 15) == 0)
            ExpMoveRoom((ULONG)(Cache->Random >> 24) & 0xFF);
    }
    return Sampled;
}

VOID ExpFoldCache(EXP_CACHE *Cache)
{
    ULONG Chunk, Index;
    for (Chunk = 0; Chunk < EXP_TAG_SLOTS / EXP_COUNTERS; Chunk++)
        for (Index = 0; Cache->Chunks[Chunk] != ExpNoCounters && Index < EXP_COUNTERS; Index++)
            if (Cache->Chunks[Chunk][Index].Tag != 0)
                ExpTell(&Cache->Chunks[Chunk][Index], ExpBalance(&Cache->Chunks[Chunk][Index]));
}

VOID ExpCountShared(ULONG Slot, LONG64 Bytes, BOOLEAN Alloc)
{
    EXP_TAG *Tag = ExpTagOfSlot(Slot);
    LONG64 Highest = Bytes > 0 ? Bytes : 0;
    ExpAddBytes(Tag, Bytes, Highest);
    ExpAddBytes(&ExpState.Totals[Tag->Paged], Bytes, Highest);
    __atomic_add_fetch(Alloc ? &Tag->Allocs : &Tag->Frees, 1, __ATOMIC_RELAXED);
}

/* ---- reading ---- */
static VOID ExpSumSlot(ULONG Slot, EXP_TAG_USE *Use)
{
    EXP_TAG *Tag = ExpTagOfSlot(Slot);
    EXP_CACHE *Cache;
    LONG64 Folded, Highest;
    ULONG Threads;
    memset(Use, 0, sizeof(*Use));
    if (Tag == NULL)
        return;
    Folded = __atomic_load_n(&Tag->Bytes, __ATOMIC_RELAXED);
    Threads = __atomic_load_n(&Tag->Threads, __ATOMIC_RELAXED);
    Use->Tag = Tag->Tag;
    Use->Paged = Tag->Paged;
    Use->Allocs = __atomic_load_n(&Tag->Allocs, __ATOMIC_RELAXED);
    Use->Frees = __atomic_load_n(&Tag->Frees, __ATOMIC_RELAXED);
    Use->Bytes = Folded;
    Use->PeakBytes = __atomic_load_n(&Tag->Peak, __ATOMIC_RELAXED);
    Use->Threads = Threads;
    KiAcquireLock(&ExpState.CacheLock);
    Cache = ExpState.Caches;
    KiReleaseLock(&ExpState.CacheLock);
    for (; Cache != NULL; Cache = Cache->NextCache) {
        const EXP_COUNTER *Counter;
        Counter = __atomic_load_n(&Cache->Chunks[Slot / EXP_COUNTERS], __ATOMIC_ACQUIRE);
        Counter += Slot % EXP_COUNTERS;
        if (__atomic_load_n(&Counter->Record, __ATOMIC_ACQUIRE) == NULL)
            continue; /* the thread has not used the slot */
        Use->Allocs += ExpAllocs(Counter);
        Use->Frees += EXP_COUNT_LOAD(Counter->Frees);
        Use->Bytes += ExpBalance(Counter);
        Use->Untold += (ULONG64)EXP_COUNT_LOAD(Counter->Reach);
        Highest = Folded + EXP_COUNT_LOAD(Counter->Peak);
        if (Highest > Use->PeakBytes)
            Use->PeakBytes = Highest;
    }
    if (Use->Bytes > Use->PeakBytes)
        Use->PeakBytes = Use->Bytes;
    if (Threads > 1)
        Use->PeakError = Use->Untold;
}

VOID ExpQueryTags(VOID (*Callback)(const EXP_TAG_USE *Use, PVOID Context), PVOID Context)
{
    ULONG Slot, Count = __atomic_load_n(&ExpState.TagCount, __ATOMIC_ACQUIRE);
    for (Slot = 1; Slot < Count; Slot++) {
        EXP_TAG_USE Use;
        ExpSumSlot(Slot, &Use);
        if (Use.Allocs != 0)
            Callback(&Use, Context);
    }
}

typedef struct _EXP_SUM {
    EXP_POOL_TOTALS *Totals;
    BOOLEAN Paged;
    ULONG Tags;
    LONG64 Least, Most; /* that the pool's peak can be, going by the tags' own */
    ULONG64 Error;
} EXP_SUM;

static VOID ExpAddUse(const EXP_TAG_USE *Use, PVOID Context)
{
    EXP_SUM *Sum = Context;
    if (Use->Paged != Sum->Paged)
        return;
    Sum->Totals->Allocs += Use->Allocs;
    Sum->Totals->Frees += Use->Frees;
    Sum->Totals->Bytes += Use->Bytes;
    Sum->Tags++;
    Sum->Least = Use->PeakBytes > Sum->Least ? Use->PeakBytes : Sum->Least;
    Sum->Most += Use->PeakBytes + (LONG64)Use->PeakError;
    Sum->Error += Use->Untold;
}

/* The pool's peak goes by what counters have told, so each may be its Reach off; the tags' peaks bound it. */
VOID ExpQueryPool(BOOLEAN Paged, EXP_POOL_TOTALS *Totals)
{
    EXP_SUM Sum = {.Totals = Totals, .Paged = Paged};
    LONG64 Runs;
    memset(Totals, 0, sizeof(*Totals));
    ExpQueryTags(ExpAddUse, &Sum);
    Totals->PeakBytes = __atomic_load_n(&ExpState.Totals[Paged].Peak, __ATOMIC_RELAXED);
    if (Totals->PeakBytes > Sum.Most)
        Totals->PeakBytes = Sum.Most;
    if (Totals->PeakBytes < Sum.Least)
        Totals->PeakBytes = Sum.Least;
    if (Totals->PeakBytes < Totals->Bytes)
        Totals->PeakBytes = Totals->Bytes;
    Totals->PeakError = (ULONG64)(Sum.Most > Totals->PeakBytes ? Sum.Most - Totals->PeakBytes : 0);
    if (Totals->PeakError > Sum.Error)
        Totals->PeakError = Sum.Error;
    Totals->PagesInSlabs = __atomic_load_n(&ExpState.SlabPages[Paged], __ATOMIC_RELAXED);
    Totals->PagesReturned = __atomic_load_n(&ExpState.ReturnedPages[Paged], __ATOMIC_RELAXED);
    KiAcquireLock(&ExpState.SpanLock[Paged]);
    Totals->PagesKept =
        Paged ? ExpState.FreePages[ExpPaged] : ExpState.FreePages[ExpNonPagedNx] + ExpState.FreePages[ExpNonPagedExecute];
    KiReleaseLock(&ExpState.SpanLock[Paged]);
    Totals->Trims = __atomic_load_n(&ExpState.Trims, __ATOMIC_RELAXED);
    /* Big blocks have what is neither a slab's nor kept; a change that is under way may show as less than none. */
    Runs = (LONG64)(__atomic_load_n(&ExpState.CommittedPages[Paged], __ATOMIC_RELAXED) - Totals->PagesReturned -
                    Totals->PagesKept - Totals->PagesInSlabs);
    Totals->PagesInRuns = Runs > 0 ? (ULONG64)Runs : 0;
}
