/*
 * cache.c - what a thread owns: magazines of free blocks, and slabs; frees from other threads; its end.
 * SPDX-License-Identifier: MIT
 *
 * A thread's EXP_CACHE has a bin for each pool kind and size class.
 *
 *   Bin->Base .. Top .. Limit    the magazine: free blocks of any thread's slabs, last in, first out
 *   Bin->Slab (Current)     Bin->Partial -> slab <-> slab     Bin->Spare -> slab (empty)     full: no list
 *
 * Allocation takes from the magazine and free puts into it; neither looks at a slab's bitmaps. ExpRefill
 * fills half of an empty magazine from a slab; ExpFreeSlow empties half of a full one, the half that was
 * freed first. A block in a magazine is in use as far as its slab knows (Used), and free as far as its word
 * knows (not live).
 *
 * ExpRefill looks, in this order: the current slab, frees by others into it, the remote queue, the partial
 * list, the spares, the abandoned slabs of the class, and last the memory manager.
 *
 * Blocks of other threads' slabs. The bits of blocks of one word go back together: they are set in
 * Slab->Remote, and whoever changes RemoteQueued from 0 to 1 pushes the slab on its owner's RemoteHead. The
 * owner takes the whole queue at once, clears RemoteQueued first and collects the bits after, so that a bit
 * set later is announced again. A slab may turn up on the queue of a cache that no longer owns it: it is
 * passed on. A closed queue (no thread has the cache) takes nothing: the bits wait for whoever adopts the
 * slab.
 *
 * The end of a thread (ExThreadRundown) empties the magazines, closes the queue, releases what is empty and
 * abandons the rest. The cache is kept for the next thread.
 *
 * Empty slabs stay with their thread as spares, up to ExpState.SparePages for all its bins together (a 256th
 * of RAM), so that a steady state does not go back and forth to the memory manager; beyond that they are
 * released at once.
 *
 * Two threads that free one block at the same instant both find its word live and both take it. That is found
 * when the block is handed out, or goes back to its slab, for the second time.
 *
 * Invariants:
 *   C1 a slab is on the All list of its owner, and its owner's alone; a slab and its tail have one owner
 *   C2 Used + number of set Free bits == BlockCount
 *   C3 a live block is in none of Free, Remote and the magazines; one that is not live is in exactly one of
 * them C4 a slab on a partial list is Partial, the bin's slab is Current, a spare is Spare and empty C5 a
 * Full slab has no Free bit
 *
 * Nothing here touches a block. AbandonLock is taken for the abandoned lists only; the rest belongs to one
 * thread.
 */
#include "ex/exp.h"

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

/* ---- from slabs to magazines ---- */
static ULONG ExpCountBits(ULONG64 Bits)
{
    /* By hand: without the instruction the compiler calls a library function. */
    Bits -= (Bits >> 1) & 0x5555555555555555ull;
    Bits = (Bits & 0x3333333333333333ull) + ((Bits >> 2) & 0x3333333333333333ull);
    Bits = (Bits + (Bits >> 4)) & 0x0F0F0F0F0F0F0F0Full;
    return (ULONG)((Bits * 0x0101010101010101ull) >> 56);
}

/* Moves free blocks of the current slab, of one bitmap word, into the empty magazine. FALSE: it has none. */
static BOOLEAN ExpTakeBlocks(EXP_BIN *Bin)
{
    EXP_SLAB *Slab = Bin->Slab;
    ULONG Word, Count, Want = (Bin->Room + 1) / 2;
    for (Word = 0; Word < Slab->WordCount; Word++) {
        ULONG64 Bits = Slab->Free[Word];
        if (Bits == 0)
            continue;
        Count = ExpCountBits(Bits);
        if (Count > Want)
            Count = Want;
        Slab->Used = (USHORT)(Slab->Used + Count);
        Bin->Top = Bin->Base + Count;
        while (Count-- != 0) {
            ULONG Number = Word * 64 + (ULONG)__builtin_ctzll(Bits);
            Bits &= Bits - 1;
            Bin->Base[Count].Block = ExpBlockAddress(Slab, Number);
            Bin->Base[Count].Word = &Slab->Words[Number];
        }
        Slab->Free[Word] = Bits;
        return TRUE;
    }
    return FALSE;
}

static DECLSPEC_NORETURN VOID ExpStopTwice(ULONG_PTR Block)
{
    KiStop(0xC2, "A pool block was freed twice, by two threads at the same time.", (PVOID)Block, 7, 0, 0, Block);
}

/* Owner: takes in the blocks that others freed. Two threads that free one block at the same instant are told
 * here. */
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
        ExpStopTwice(Twice);
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
    if (ExpTakeBlocks(Bin))
        return TRUE;
    ExpCollect(Slab);
    if (ExpTakeBlocks(Bin))
        return TRUE;
    Slab->State = ExpSlabFull;
    Bin->Slab = NULL;
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

/* Blocks have come back to a slab of this thread. */
static VOID ExpSettle(EXP_CACHE *Cache, EXP_SLAB *Slab)
{
    if (Slab->State == ExpSlabFull && Slab->Used < Slab->BlockCount) {
        Slab->State = ExpSlabPartial;
        ExpPush(&ExpBinOf(Cache, Slab)->Partial, Slab);
    }
    if (Slab->Used == 0)
        ExpRetire(Cache, Slab);
}

/* ---- from magazines to slabs, one's own and others' ---- */
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

/* Gives entries of a magazine back to their slabs. */
static VOID ExpPutBack(EXP_CACHE *Cache, EXP_ENTRY *Entries, ULONG Count)
{
    ULONG_PTR Twice = 0;
    ULONG Index, Other;
    for (Index = 0; Index < Count; Index++) {
        ULONG_PTR Block = Entries[Index].Block;
        EXP_SLAB *Slab;
        ULONG64 Bits, Old;
        ULONG Number, Word;
        if (Block == 0)
            continue;
        Slab = ExpSlabAt(ExpLookupRun(Block), Block);
        Number = (ULONG)(Entries[Index].Word - Slab->Words);
        Word = Number / 64;
        Bits = 1ull << (Number % 64);
        /* The rest of the same word with it. */
        for (Other = Index + 1; Other < Count; Other++) {
            Number = (ULONG)(Entries[Other].Word - Slab->Words);
            if (Number / 64 == Word && Entries[Other].Block != 0 && Number < Slab->BlockCount) {
                if (Bits & 1ull << (Number % 64))
                    Twice = Entries[Other].Block;
                Bits |= 1ull << (Number % 64);
                Entries[Other].Block = 0;
            }
        }
        if (Cache != NULL && __atomic_load_n(&Slab->Owner, __ATOMIC_RELAXED) == Cache) {
            Old = Slab->Free[Word];
            Slab->Free[Word] = Old | Bits;
            Slab->Used = (USHORT)(Slab->Used - ExpCountBits(Bits & ~Old));
            if (Slab->Used == 0 || Slab->State == ExpSlabFull)
                ExpSettle(Cache, Slab);
        } else {
            Old = __atomic_fetch_or(&Slab->Remote[Word], Bits, __ATOMIC_SEQ_CST);
            ExpAnnounceToOwner(Cache, Slab);
        }
        if (Old & Bits)
            Twice = Block;
    }
    if (Twice != 0)
        ExpStopTwice(Twice);
}

/* Room in the magazine: makes it, or empties the older half of it. FALSE: no memory for one. */
static BOOLEAN ExpMakeRoom(EXP_CACHE *Cache, EXP_BIN *Bin)
{
    EXP_ENTRY Batch[64];
    ULONG Half = Bin->Room / 2, Count = (ULONG)(Bin->Top - Bin->Base);
    if (Bin->Base == NULL) {
        EXP_ENTRY *Base = ExpMetaAllocate(ExpMetaOther, Bin->Room * sizeof(EXP_ENTRY));
        if (Base == NULL)
            return FALSE;
        Bin->Base = Bin->Top = Base;
        Bin->Limit = Base + Bin->Room;
        return TRUE;
    }
    /* Out of the magazine first: putting back may stop the system. */
    memcpy(Batch, Bin->Base, Half * sizeof(EXP_ENTRY));
    memmove(Bin->Base, Bin->Base + Half, (Count - Half) * sizeof(EXP_ENTRY));
    Bin->Top -= Half;
    ExpPutBack(Cache, Batch, Half);
    return TRUE;
}

static VOID ExpEmptyMagazines(EXP_CACHE *Cache)
{
    EXP_BIN *Bin = &Cache->Bins[0][0], *End = Bin + EXP_KINDS * EXP_CLASSES;
    for (; Bin < End; Bin++) {
        ULONG Count = (ULONG)(Bin->Top - Bin->Base);
        Bin->Top = Bin->Base;
        if (Count != 0)
            ExpPutBack(Cache, Bin->Base, Count);
    }
}

VOID ExpFreeSlow(EXP_CACHE *Cache, EXP_BIN *Bin, ULONG_PTR Block, EXP_WORD *Word)
{
    EXP_ENTRY Entry = {Block, Word};
    if (Cache != NULL && ExpMakeRoom(Cache, Bin))
        *Bin->Top++ = Entry;
    else
        ExpPutBack(Cache, &Entry, 1);
}

static VOID ExpDrain(EXP_CACHE *Cache, EXP_SLAB *NewHead)
{
    EXP_SLAB *Slab = __atomic_exchange_n(&Cache->RemoteHead, NewHead, __ATOMIC_SEQ_CST);
    while (Slab != NULL && Slab != EXP_CLOSED) {
        EXP_SLAB *Next = __atomic_load_n(&Slab->RemoteNext, __ATOMIC_RELAXED);
        __atomic_exchange_n(&Slab->RemoteQueued, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&Slab->Owner, __ATOMIC_SEQ_CST) == Cache) {
            ExpCollect(Slab);
            ExpSettle(Cache, Slab);
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
    ExpSettle(Cache, Main);
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
    if (Bin->Base == NULL && !ExpMakeRoom(Cache, Bin))
        return FALSE;
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
    ExpEmptyMagazines(Cache);
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
            for (Class = 0; Class < EXP_CLASSES; Class++) {
                Cache->Bins[Kind][Class].Room = ExpState.Classes[Class].Magazine;
                Cache->Bins[Kind][Class].BlockSize = ExpState.Classes[Class].Size;
            }
        for (Class = 0; Class < ARRAYSIZE(Cache->Chunks); Class++)
            Cache->Chunks[Class] = ExpNoCounters;
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
    ExpEmptyMagazines(Cache);
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
