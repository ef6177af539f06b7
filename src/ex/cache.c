/*
 * cache.c - what a thread owns: bins of slabs, frees that come from other threads, and the end of a thread.
 * SPDX-License-Identifier: MIT
 *
 * A thread's EXP_CACHE has a bin for each pool kind and size class. A bin allocates from the bitmap word that Bin->Word
 * points at, in its current slab; a bin without one points at ExpNoWord, which is always 0, so the hot path has one test.
 *
 *   Bin->Slab (Current)     Bin->Partial -> slab <-> slab      Bin->Spare -> slab (empty)   full slabs: on no list
 *
 * ExpRefill looks, in this order: other words of the current slab, frees by others into it, the remote queue, the
 * partial list, the spares, the abandoned slabs of the class, and last the memory manager.
 *
 * Frees by other threads. The freer sets the block's bit in Slab->Remote, and, if it is the one to change RemoteQueued
 * from 0 to 1, pushes the slab on its owner's RemoteHead. The owner takes the whole queue at once, clears RemoteQueued
 * first and collects the bits after, so that a bit set later is announced again. A slab may turn up on the queue of a
 * cache that no longer owns it: it is passed on. A closed queue (no thread has the cache) takes nothing: the bits wait
 * for whoever adopts the slab.
 *
 * The end of a thread (ExThreadRundown) closes the queue, releases what is empty and abandons the rest. The cache is kept
 * for the next thread.
 *
 * Empty slabs stay with their thread as spares, up to ExpState.SparePages for all its bins together (a 256th of RAM),
 * so that a steady state does not go back and forth to the memory manager; beyond that they are released at once.
 *
 * Invariants:
 *   C1 a slab is on the All list of its owner, and its owner's alone; a slab and its tail have one owner
 *   C2 Used + number of set Free bits == BlockCount
 *   C3 a free block's word is not live; a live block's bit is in neither Free nor Remote
 *   C4 a slab on a partial list is Partial, the bin's slab is Current, a spare is Spare and empty
 *   C5 a Full slab has no Free bit
 *
 * Nothing here touches a block. AbandonLock is taken for the abandoned lists only; the rest belongs to one thread.
 */
#include "ex/exp.h"

ULONG64 ExpNoWord;

/* ---- lists ---- */
static EXP_BIN *ExpBinOf(EXP_CACHE *Cache, const EXP_SLAB *Slab)
{
    return &Cache->Bins[Slab->Run.Kind][Slab->Run.Class];
}

static VOID ExpPush(EXP_SLAB **Head, EXP_SLAB *Slab)
{
    Slab->Prev = NULL;
    Slab->Next = *Head;
    if (*Head != NULL)
        (*Head)->Prev = Slab;
    *Head = Slab;
}

static VOID ExpUnlink(EXP_SLAB **Head, EXP_SLAB *Slab)
{
    if (Slab->Prev != NULL)
        Slab->Prev->Next = Slab->Next;
    else
        *Head = Slab->Next;
    if (Slab->Next != NULL)
        Slab->Next->Prev = Slab->Prev;
    Slab->Next = Slab->Prev = NULL;
}

static VOID ExpOwn(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    Slab->AllPrev = NULL;
    Slab->AllNext = Cache->All;
    if (Cache->All != NULL)
        Cache->All->AllPrev = Slab;
    Cache->All = Slab;
    Cache->SlabCount++;
    if (!Slab->IsTail)
        ExpBinOf(Cache, Slab)->Slabs++;
}

static VOID ExpDisown(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    if (Slab->AllPrev != NULL)
        Slab->AllPrev->AllNext = Slab->AllNext;
    else
        Cache->All = Slab->AllNext;
    if (Slab->AllNext != NULL)
        Slab->AllNext->AllPrev = Slab->AllPrev;
    Slab->AllNext = Slab->AllPrev = NULL;
    Cache->SlabCount--;
    if (!Slab->IsTail)
        ExpBinOf(Cache, Slab)->Slabs--;
}

/* Takes the slab out of whatever its bin holds it by. */
static VOID ExpDetach(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    EXP_BIN *Bin = ExpBinOf(Cache, Slab);
    switch (Slab->State) {
    case ExpSlabCurrent:
        Bin->Slab = NULL;
        Bin->Word = &ExpNoWord;
        break;
    case ExpSlabPartial:
        ExpUnlink(&Bin->Partial, Slab);
        break;
    case ExpSlabSpare:
        ExpUnlink(&Bin->Spare, Slab);
        Cache->SparePages -= Slab->Run.Pages;
        break;
    }
    Slab->State = ExpSlabFull;
}

/* ---- making the current slab ---- */
static BOOLEAN ExpFindWord(EXP_BIN *Bin)
{
    EXP_SLAB *Slab = Bin->Slab;
    ULONG Word;
    for (Word = 0; Word < Slab->WordCount; Word++) {
        if (Slab->Free[Word] != 0) {
            Bin->Word = &Slab->Free[Word];
            Bin->WordBase = Word * 64;
            return TRUE;
        }
    }
    return FALSE;
}

static ULONG ExpCountBits(ULONG64 Bits)
{
    /* By hand: without the instruction the compiler calls a library function. */
    Bits -= (Bits >> 1) & 0x5555555555555555ull;
    Bits = (Bits & 0x3333333333333333ull) + ((Bits >> 2) & 0x3333333333333333ull);
    Bits = (Bits + (Bits >> 4)) & 0x0F0F0F0F0F0F0F0Full;
    return (ULONG)((Bits * 0x0101010101010101ull) >> 56);
}

/* Owner: takes in the blocks that others freed. Two threads that free one block at the same instant are told here. */
static VOID ExpCollect(EXP_SLAB *Slab)
{
    ULONG_PTR Twice = 0;
    ULONG Word;
    for (Word = 0; Word < Slab->WordCount; Word++) {
        ULONG64 Bits, Both;
        if (__atomic_load_n(&Slab->Remote[Word], __ATOMIC_RELAXED) == 0)
            continue;
        Bits = __atomic_exchange_n(&Slab->Remote[Word], 0, __ATOMIC_SEQ_CST);
        Both = Bits & Slab->Free[Word];
        if (Both != 0)
            Twice = ExpBlockAddress(Slab, Word * 64 + (ULONG)__builtin_ctzll(Both));
        Slab->Free[Word] |= Bits;
        Slab->Used = (USHORT)(Slab->Used - ExpCountBits(Bits & ~Both));
    }
    if (Twice != 0)
        KiStop(0xC2, "A pool block was freed twice, by two threads at the same time.", (PVOID)Twice, 7, 0, 0, Twice);
}

static BOOLEAN ExpHasRemote(const EXP_SLAB *Slab)
{
    ULONG Word;
    for (Word = 0; Word < Slab->WordCount; Word++)
        if (__atomic_load_n(&Slab->Remote[Word], __ATOMIC_SEQ_CST) != 0)
            return TRUE;
    return FALSE;
}

static BOOLEAN ExpMakeCurrent(EXP_BIN *Bin, EXP_SLAB *Slab)
{
    Slab->State = ExpSlabCurrent;
    Bin->Slab = Slab;
    if (ExpFindWord(Bin))
        return TRUE;
    ExpCollect(Slab);
    if (ExpFindWord(Bin))
        return TRUE;
    Slab->State = ExpSlabFull;
    Bin->Slab = NULL;
    Bin->Word = &ExpNoWord;
    return FALSE;
}

/* ---- giving up empty slabs ---- */
static BOOLEAN ExpIsEmpty(const EXP_SLAB *Main)
{
    return Main->Used == 0 && (Main->Tail == NULL || Main->Tail->Used == 0);
}

static VOID ExpDiscard(EXP_CACHE *Cache, EXP_SLAB *Main)
{
    EXP_SLAB *Tail = Main->Tail;
    ExpDetach(Cache, Main);
    ExpDisown(Cache, Main);
    if (Tail != NULL) {
        ExpDetach(Cache, Tail);
        ExpDisown(Cache, Tail);
    }
    ExpFreeSlab(Main);
}

/* A slab has no block in use any more. */
static VOID ExpRetire(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    EXP_SLAB *Main = Slab->IsTail ? Slab->Tail : Slab;
    EXP_BIN *Bin = ExpBinOf(Cache, Main);
    if (!ExpIsEmpty(Main) || Main->State == ExpSlabCurrent || Main->State == ExpSlabSpare)
        return;
    if (Cache->SparePages + Main->Run.Pages <= ExpState.SparePages) {
        ExpDetach(Cache, Main);
        Main->State = ExpSlabSpare;
        ExpPush(&Bin->Spare, Main);
        Cache->SparePages += Main->Run.Pages;
    } else {
        ExpDiscard(Cache, Main);
    }
}

VOID ExpFreeLocalSlow(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    if (Slab->State == ExpSlabFull && Slab->Used < Slab->BlockCount) {
        Slab->State = ExpSlabPartial;
        ExpPush(&ExpBinOf(Cache, Slab)->Partial, Slab);
    }
    if (Slab->Used == 0)
        ExpRetire(Cache, Slab);
}

/* ---- frees by other threads ---- */
static BOOLEAN ExpAnnounce(EXP_CACHE *Owner, EXP_SLAB *Slab)
{
    EXP_SLAB *Head = __atomic_load_n(&Owner->RemoteHead, __ATOMIC_SEQ_CST);
    do {
        if (Head == EXP_CLOSED)
            return FALSE;
        __atomic_store_n(&Slab->RemoteNext, Head, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&Owner->RemoteHead, &Head, Slab, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return TRUE;
}

static EXP_SLAB *ExpAdopt(EXP_CACHE *Cache, EXP_KIND Kind, ULONG Class, EXP_SLAB *Wanted);

static VOID ExpAnnounceToOwner(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    EXP_CACHE *Owner;
    if (__atomic_load_n(&Slab->RemoteQueued, __ATOMIC_SEQ_CST) != 0 ||
        __atomic_exchange_n(&Slab->RemoteQueued, 1, __ATOMIC_SEQ_CST) != 0)
        return;
    Owner = __atomic_load_n(&Slab->Owner, __ATOMIC_SEQ_CST);
    if (Owner != NULL && ExpAnnounce(Owner, Slab))
        return;
    __atomic_store_n(&Slab->RemoteQueued, 0, __ATOMIC_SEQ_CST);
    /* Abandoned: whoever frees into it takes it over, so that it does not stay behind empty. */
    if (Cache != NULL && __atomic_load_n(&Slab->Owner, __ATOMIC_SEQ_CST) == NULL)
        ExpAdopt(Cache, (EXP_KIND)Slab->Run.Kind, Slab->Run.Class, Slab);
}

VOID ExpFreeRemote(EXP_CACHE *Cache, EXP_SLAB *Slab, ULONG Number)
{
    ULONG64 Bit = 1ull << (Number % 64);
    ULONG64 Old = __atomic_fetch_or(&Slab->Remote[Number / 64], Bit, __ATOMIC_SEQ_CST);
    if (Old & Bit) {
        ULONG_PTR Block = ExpBlockAddress(Slab, Number);
        KiStop(0xC2, "A pool block was freed twice, by two threads at the same time.", (PVOID)Block, 7, 0, 0, Block);
    }
    ExpAnnounceToOwner(Cache, Slab);
}

static VOID ExpDrain(EXP_CACHE *Cache, EXP_SLAB *NewHead)
{
    EXP_SLAB *Slab = __atomic_exchange_n(&Cache->RemoteHead, NewHead, __ATOMIC_SEQ_CST);
    while (Slab != NULL && Slab != EXP_CLOSED) {
        EXP_SLAB *Next = __atomic_load_n(&Slab->RemoteNext, __ATOMIC_RELAXED);
        __atomic_exchange_n(&Slab->RemoteQueued, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&Slab->Owner, __ATOMIC_SEQ_CST) == Cache) {
            ExpCollect(Slab);
            ExpFreeLocalSlow(Cache, Slab);
        } else if (ExpHasRemote(Slab)) {
            ExpAnnounceToOwner(NULL, Slab);
        }
        Slab = Next;
    }
}

/* ---- abandoned slabs ---- */
static EXP_SLAB *ExpAdopt(EXP_CACHE *Cache, EXP_KIND Kind, ULONG Class, EXP_SLAB *Wanted)
{
    EXP_SLAB *Main = NULL, *Tail;
    KiAcquireLock(&ExpState.AbandonLock);
    if (Wanted == NULL)
        Main = ExpState.Abandoned[Kind][Class];
    else if (Wanted->State == ExpSlabAbandoned)
        Main = Wanted->IsTail ? Wanted->Tail : Wanted;
    if (Main != NULL) {
        Tail = Main->Tail;
        Kind = (EXP_KIND)Main->Run.Kind;
        Class = Main->Run.Class;
        ExpUnlink(&ExpState.Abandoned[Kind][Class], Main);
        __atomic_sub_fetch(&ExpState.AbandonedCount[Kind][Class], 1, __ATOMIC_RELAXED);
        Main->State = ExpSlabFull;
        if (Tail != NULL) {
            Tail->State = ExpSlabFull;
            __atomic_store_n(&Tail->Owner, Cache, __ATOMIC_SEQ_CST);
        }
        __atomic_store_n(&Main->Owner, Cache, __ATOMIC_SEQ_CST);
    }
    KiReleaseLock(&ExpState.AbandonLock);
    if (Main == NULL)
        return NULL;
    ExpOwn(Cache, Main);
    ExpCollect(Main);
    if (Tail != NULL) {
        ExpOwn(Cache, Tail);
        ExpCollect(Tail);
        if (Tail->Used < Tail->BlockCount) {
            Tail->State = ExpSlabPartial;
            ExpPush(&ExpBinOf(Cache, Tail)->Partial, Tail);
        }
    }
    ExpFreeLocalSlow(Cache, Main);
    return Main;
}

static VOID ExpAbandon(EXP_CACHE *Cache, EXP_SLAB *Main)
{
    EXP_SLAB *Tail = Main->Tail;
    ULONG Kind = Main->Run.Kind, Class = Main->Run.Class;
    ExpDetach(Cache, Main);
    ExpDisown(Cache, Main);
    if (Tail != NULL) {
        ExpDetach(Cache, Tail);
        ExpDisown(Cache, Tail);
    }
    KiAcquireLock(&ExpState.AbandonLock);
    Main->State = ExpSlabAbandoned;
    if (Tail != NULL) {
        Tail->State = ExpSlabAbandoned;
        __atomic_store_n(&Tail->Owner, NULL, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&Main->Owner, NULL, __ATOMIC_SEQ_CST);
    ExpPush(&ExpState.Abandoned[Kind][Class], Main);
    __atomic_add_fetch(&ExpState.AbandonedCount[Kind][Class], 1, __ATOMIC_RELAXED);
    KiReleaseLock(&ExpState.AbandonLock);
}

/* ---- the two doors of the hot paths ---- */
BOOLEAN ExpRefill(EXP_CACHE *Cache, EXP_KIND Kind, ULONG Class, EX_POOL_PRIORITY Priority)
{
    EXP_BIN *Bin = &Cache->Bins[Kind][Class];
    EXP_SLAB *Slab = Bin->Slab;
    ULONG Try;
    if (Slab != NULL && ExpMakeCurrent(Bin, Slab))
        return TRUE;
    if (__atomic_load_n(&Cache->RemoteHead, __ATOMIC_RELAXED) != NULL)
        ExpDrain(Cache, NULL);
    while ((Slab = Bin->Partial) != NULL) {
        ExpUnlink(&Bin->Partial, Slab);
        if (ExpMakeCurrent(Bin, Slab))
            return TRUE;
    }
    if ((Slab = Bin->Spare) != NULL) {
        ExpDetach(Cache, Slab);
        if (ExpMakeCurrent(Bin, Slab))
            return TRUE;
    }
    while (__atomic_load_n(&ExpState.AbandonedCount[Kind][Class], __ATOMIC_RELAXED) > 0 &&
           ExpAdopt(Cache, Kind, Class, NULL) != NULL) {
        /* The adopted slab may have gone to the partial list, the spare, or, full, to no list. */
        Slab = Bin->Partial != NULL ? Bin->Partial : Bin->Spare;
        if (Slab != NULL) {
            ExpDetach(Cache, Slab);
            if (ExpMakeCurrent(Bin, Slab))
                return TRUE;
        }
    }
    for (Try = 0; Try < 2; Try++) {
        Slab = ExpCreateSlab(Cache, Kind, Class, Priority);
        if (Slab != NULL) {
            ExpOwn(Cache, Slab);
            if (Slab->Tail != NULL) {
                ExpOwn(Cache, Slab->Tail);
                Slab->Tail->State = ExpSlabPartial;
                ExpPush(&ExpBinOf(Cache, Slab->Tail)->Partial, Slab->Tail);
            }
            return ExpMakeCurrent(Bin, Slab);
        }
        ExpTrimCache(Cache);
    }
    return FALSE;
}

VOID ExpTrimCache(EXP_CACHE *Cache)
{
    EXP_SLAB *Slab, *Next;
    if (__atomic_load_n(&Cache->RemoteHead, __ATOMIC_RELAXED) != NULL)
        ExpDrain(Cache, NULL);
    for (Slab = Cache->All; Slab != NULL; Slab = Slab->AllNext)
        ExpCollect(Slab);
    for (Slab = Cache->All; Slab != NULL; Slab = Next) {
        /* A tail goes with its main slab: step over pairs without losing the place. */
        Next = Slab->AllNext;
        if (Slab->IsTail || !ExpIsEmpty(Slab))
            continue;
        if (Next == Slab->Tail && Next != NULL)
            Next = Next->AllNext;
        ExpDiscard(Cache, Slab);
    }
    /* What was full and has been collected from must be found again. */
    for (Slab = Cache->All; Slab != NULL; Slab = Slab->AllNext)
        if (Slab->State == ExpSlabFull && Slab->Used < Slab->BlockCount) {
            Slab->State = ExpSlabPartial;
            ExpPush(&ExpBinOf(Cache, Slab)->Partial, Slab);
        }
}

/* ---- a thread's cache ---- */
EXP_CACHE *ExpGetCache(KTHREAD *Thread)
{
    EXP_CACHE *Cache = Thread->ExCache;
    ULONG Kind, Class;
    if (Cache != NULL)
        return Cache;
    if (!ExpState.Started)
        return NULL;
    KiAcquireLock(&ExpState.CacheLock);
    Cache = ExpState.FreeCaches;
    if (Cache != NULL)
        ExpState.FreeCaches = Cache->NextFree;
    KiReleaseLock(&ExpState.CacheLock);
    if (Cache == NULL) {
        Cache = ExpMetaAllocate(ExpMetaOther, sizeof(EXP_CACHE));
        if (Cache == NULL)
            return NULL;
        memset(Cache, 0, sizeof(EXP_CACHE));
        for (Kind = 0; Kind < EXP_KINDS; Kind++)
            for (Class = 0; Class < EXP_CLASSES; Class++)
                Cache->Bins[Kind][Class].Word = &ExpNoWord;
        Cache->Total[0].Slot = EXP_TAG_SLOTS;
        Cache->Total[1].Slot = EXP_TAG_SLOTS + 1;
        Cache->Total[0].InUse = Cache->Total[1].InUse = TRUE;
        __atomic_add_fetch(&ExpState.Totals[0].Threads, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&ExpState.Totals[1].Threads, 1, __ATOMIC_RELAXED);
        KiAcquireLock(&ExpState.CacheLock);
        Cache->NextCache = ExpState.Caches;
        ExpState.Caches = Cache;
        KiReleaseLock(&ExpState.CacheLock);
    }
    Cache->Thread = Thread;
    __atomic_store_n(&Cache->RemoteHead, NULL, __ATOMIC_SEQ_CST);
    Thread->ExCache = Cache;
    return Cache;
}

VOID ExThreadRundown(KTHREAD *Thread)
{
    EXP_CACHE *Cache = Thread->ExCache;
    EXP_SLAB *Slab;
    if (Cache == NULL || !ExpState.Started)
        return;
    Thread->ExCache = NULL;
    ExpDrain(Cache, EXP_CLOSED);
    while ((Slab = Cache->All) != NULL) {
        EXP_SLAB *Main = Slab->IsTail ? Slab->Tail : Slab;
        ExpCollect(Main);
        if (Main->Tail != NULL)
            ExpCollect(Main->Tail);
        if (ExpIsEmpty(Main))
            ExpDiscard(Cache, Main);
        else
            ExpAbandon(Cache, Main);
    }
    ExpFoldCache(Cache);
    Cache->Thread = NULL;
    KiAcquireLock(&ExpState.CacheLock);
    Cache->NextFree = ExpState.FreeCaches;
    ExpState.FreeCaches = Cache;
    KiReleaseLock(&ExpState.CacheLock);
}
