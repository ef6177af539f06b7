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
 * Peaks. A thread folds its counter into the slot when its Balance has moved by more than EXP_FOLD_BYTES (at its next
 * operation with the tag), and keeps the highest Balance in between, so the peak that a fold sees is EXP_TAG.Bytes +
 * MaxDelta. With one thread that is the exact peak; with several it can miss what the others had not folded: at most
 * EXP_FOLD_BYTES and one block each (EXP_TAG_USE.PeakError counts the EXP_FOLD_BYTES).
 *
 * Invariants:
 *   T1 a slot's Bytes summed over all threads equal the requested bytes of the live blocks whose words name
 * it T2 Allocs - Frees, summed, equals the number of those blocks T3 the pool totals equal the sums over all
 * slots of the pool
 *
 * TagLock is a leaf.
 */
#include "ex/exp.h"

EXP_TAG *ExpTagOfSlot(ULONG Slot)
{
    EXP_TAG *Chunk;
    if (Slot >= EXP_TAG_SLOTS)
        return &ExpState.Totals[Slot - EXP_TAG_SLOTS];
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
                memset(Chunk, 0, EXP_COUNTERS * sizeof(EXP_TAG));
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
    if (Chunk == ExpNoCounters) {
        Chunk = ExpMetaAllocate(ExpMetaOther, EXP_COUNTERS * sizeof(EXP_COUNTER));
        if (Chunk == NULL)
            return NULL;
        memset(Chunk, 0, EXP_COUNTERS * sizeof(EXP_COUNTER));
        __atomic_store_n(&Cache->Chunks[Slot / EXP_COUNTERS], Chunk, __ATOMIC_RELEASE);
    }
    Counter = &Chunk[Slot % EXP_COUNTERS];
    if (Counter->Tag == 0) {
        EXP_TAG *Record = ExpTagOfSlot(Slot);
        if (Record == NULL)
            return NULL;
        Counter->Slot = Slot;
        Counter->Word = ExpMakeWord(Slot, 0, 0);
        Counter->Balance = Counter->MaxBalance = EXP_FOLD_BYTES;
        /* Who sums looks at Total first. */
        __atomic_store_n(&Counter->Total, &Cache->Total[Record->Paged], __ATOMIC_RELEASE);
        __atomic_add_fetch(&Record->Threads, 1, __ATOMIC_RELAXED);
        Counter->Tag = Record->Tag;
    }
    return Counter;
}

EXP_COUNTER *ExpFindCounterSlow(EXP_CACHE *Cache, ULONG Tag, BOOLEAN Paged)
{
    ULONG Key = Tag | (ULONG)Paged << 31, Index = ExpTagCacheIndex(Key);
    EXP_COUNTER *Counter = ExpCounterOfSlotSlow(Cache, ExpFindSlot(Tag, Paged));
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

VOID ExpFold(EXP_COUNTER *Counter, EXP_TAG *Tag)
{
    LONG64 Before = __atomic_fetch_add(&Tag->Bytes, Counter->Balance - EXP_FOLD_BYTES, __ATOMIC_RELAXED);
    ExpRaisePeak(Tag, Before + Counter->MaxBalance - EXP_FOLD_BYTES);
    __atomic_add_fetch(&Tag->Allocs, Counter->Allocs, __ATOMIC_RELAXED);
    __atomic_add_fetch(&Tag->Frees, Counter->Frees, __ATOMIC_RELAXED);
    EXP_COUNT_STORE(Counter->Balance, EXP_FOLD_BYTES);
    EXP_COUNT_STORE(Counter->MaxBalance, EXP_FOLD_BYTES);
    EXP_COUNT_STORE(Counter->Allocs, 0);
    EXP_COUNT_STORE(Counter->Frees, 0);
}

VOID ExpFoldSlow(EXP_COUNTER *Counter)
{
    ExpFold(Counter, ExpTagOfSlot(Counter->Slot));
}

VOID ExpFoldCache(EXP_CACHE *Cache)
{
    ULONG Chunk, Index;
    for (Chunk = 0; Chunk < EXP_TAG_SLOTS / EXP_COUNTERS; Chunk++)
        for (Index = 0; Cache->Chunks[Chunk] != ExpNoCounters && Index < EXP_COUNTERS; Index++)
            if (Cache->Chunks[Chunk][Index].Tag != 0)
                ExpFoldSlow(&Cache->Chunks[Chunk][Index]);
    ExpFoldSlow(&Cache->Total[0]);
    ExpFoldSlow(&Cache->Total[1]);
}

VOID ExpCountShared(ULONG Slot, LONG64 Bytes, BOOLEAN Alloc)
{
    EXP_TAG *Tag = ExpTagOfSlot(Slot);
    EXP_TAG *Total = &ExpState.Totals[Tag->Paged];
    ExpRaisePeak(Tag, __atomic_add_fetch(&Tag->Bytes, Bytes, __ATOMIC_RELAXED));
    ExpRaisePeak(Total, __atomic_add_fetch(&Total->Bytes, Bytes, __ATOMIC_RELAXED));
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
    Use->PeakError = Threads > 1 ? (ULONG64)Threads * EXP_FOLD_BYTES : 0;
    KiAcquireLock(&ExpState.CacheLock);
    Cache = ExpState.Caches;
    KiReleaseLock(&ExpState.CacheLock);
    for (; Cache != NULL; Cache = Cache->NextCache) {
        const EXP_COUNTER *Counter;
        if (Slot >= EXP_TAG_SLOTS) {
            Counter = &Cache->Total[Slot - EXP_TAG_SLOTS];
        } else {
            Counter = __atomic_load_n(&Cache->Chunks[Slot / EXP_COUNTERS], __ATOMIC_ACQUIRE);
            Counter += Slot % EXP_COUNTERS;
        }
        if (__atomic_load_n(&Counter->Total, __ATOMIC_ACQUIRE) == NULL)
            continue; /* the thread has not used the slot */
        Use->Allocs += EXP_COUNT_LOAD(Counter->Allocs);
        Use->Frees += EXP_COUNT_LOAD(Counter->Frees);
        Use->Bytes += EXP_COUNT_LOAD(Counter->Balance) - EXP_FOLD_BYTES;
        Highest = Folded + EXP_COUNT_LOAD(Counter->MaxBalance) - EXP_FOLD_BYTES;
        if (Highest > Use->PeakBytes)
            Use->PeakBytes = Highest;
    }
    if (Use->Bytes > Use->PeakBytes)
        Use->PeakBytes = Use->Bytes;
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
    BOOLEAN Paged;
    ULONG64 Allocs, Frees;
} EXP_SUM;

static VOID ExpAddUse(const EXP_TAG_USE *Use, PVOID Context)
{
    EXP_SUM *Sum = Context;
    if (Use->Paged == Sum->Paged) {
        Sum->Allocs += Use->Allocs;
        Sum->Frees += Use->Frees;
    }
}

VOID ExpQueryPool(BOOLEAN Paged, EXP_POOL_TOTALS *Totals)
{
    EXP_TAG_USE Use;
    EXP_SUM Sum = {Paged, 0, 0};
    ExpSumSlot(EXP_TAG_SLOTS + Paged, &Use);
    ExpQueryTags(ExpAddUse, &Sum);
    Totals->Allocs = Sum.Allocs;
    Totals->Frees = Sum.Frees;
    Totals->Bytes = Use.Bytes;
    Totals->PeakBytes = Use.PeakBytes;
    Totals->PeakError = Use.PeakError;
    Totals->PagesInSlabs = __atomic_load_n(&ExpState.SlabPages[Paged], __ATOMIC_RELAXED);
    Totals->PagesReturned = __atomic_load_n(&ExpState.ReturnedPages[Paged], __ATOMIC_RELAXED);
    KiAcquireLock(&ExpState.SpanLock[Paged]);
    Totals->PagesKept =
        Paged ? ExpState.FreePages[ExpPaged] : ExpState.FreePages[ExpNonPagedNx] + ExpState.FreePages[ExpNonPagedExecute];
    KiReleaseLock(&ExpState.SpanLock[Paged]);
    Totals->Trims = __atomic_load_n(&ExpState.Trims, __ATOMIC_RELAXED);
    Totals->PagesInRuns = __atomic_load_n(&ExpState.RunPages[Paged], __ATOMIC_RELAXED);
}
