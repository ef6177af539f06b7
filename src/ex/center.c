/*
 * center.c - what all threads share of a kind and class: the slabs, and a depot of full magazines. SPDX-License-Identifier: MIT
 *
 *   EXP_CENTER -- Magazines -> full -> full          whole magazines, handed from thread to thread by pointer
 *              |- Empties -> empty -> empty
 *              `- Lists[0..7] -> slab <-> slab       slabs that have free blocks: below an eighth used, a quarter, ...
 *
 * A thread that needs blocks takes a full magazine, or has its own filled from slabs: of the fullest list first, so that the
 * others run empty. A thread that has too many leaves a full magazine, or, when Depot of them lie here, has one emptied
 * into the slabs. So a steady state, also one where one thread allocates and another frees, moves pointers; and what grows or
 * shrinks passes the slabs once.
 *
 * Homes. A thread takes from one slab until that has no more, and meanwhile no other thread takes from it (cache.c says why). It then
 * goes on with the fullest slab that is nobody's home, and where there is none with a new one. Without memory for that it takes from
 * any. An empty slab that is somebody's home is kept for it until the next trim, and does not drain.
 *
 * Placement. Which free block of a slab is handed out next is chosen at random among the free ones of up to 64 neighbours,
 * by the thread's generator, seeded from the option seed=.
 *
 * Draining. Where a class has shrunk, a few blocks that live long are scattered over many slabs, and magazines would keep them there:
 * what is freed is handed out again at once, in its place, and nothing ever moves to the fuller slabs. So while a class is sparse (an
 * eighth of its blocks and more is free in slabs), slabs below three quarters full drain: a block that is freed in one goes straight back
 * to it (its page has no Plain in the map, so that the fast path leaves the free to the general one), and new blocks come from the
 * fullest slabs. The class contracts as its blocks end, and the draining ends with it.
 *
 * What even so stays behind at a trim does not hold its pages: a class that needs a slab takes such pages over (adopt.c).
 *
 * A slab that has no block in use any more is released at once, unless it is a home, or its centre would have no free block without it. A
 * slab and its tail are released together, when both are empty: condemned under the locks of both centres, the main's first
 * (its class is the larger one). Where the tail is the last to run empty the main's lock is only tried; the trim tries again.
 *
 * A block in a magazine is in use as far as its slab knows (Used), and free as far as its word knows (not live). Two threads
 * that free one block at the same instant both find its word live and both put it into a magazine. That is found when it
 * comes back to its slab twice, or when it is handed out for the second time.
 *
 * Invariants:
 *   C1 Full is the number of magazines here, at most the class's Depot and one for each thread that ended; none is empty
 *   C2 Used + number of set Free bits == BlockCount
 *   C3 a live block is neither in Free nor in a magazine; one that is not live is in exactly one of them
 *   C4 a slab is on the list of its fullness exactly if it has a free block; it is Listed then, else Full
 *   C5 a Free bit of a number that is no block's is never set
 *   C6 Blocks and FreeBlocks are the sums over the slabs of the centre that are not released; a slab that drains is listed
 *      or a host
 *
 * Nothing here touches a block.
 */
#include "ex/exp.h"

#define SPARSE_BYTES 32768u /* less is not worth it */
#define DRAIN_LISTS  6u     /* below three quarters: slabs on those above do not drain */

/* Centres have no more than they need to: one that is never used is never written to. */
static const EXP_CLASS *ExpClassOf(const EXP_CENTER *Center)
{
    return &ExpState.Classes[(ULONG)(Center - ExpState.Centers) % EXP_BINS];
}

BOOLEAN ExpIsUsed(const EXP_CENTER *Center)
{
    return __atomic_load_n(&Center->InUse, __ATOMIC_RELAXED);
}

/* ---- lists of slabs (the centre's lock) ---- */
/* Which list, and how far Used may move on it: eighths of BlockCount; full is on none. */
static VOID ExpChooseList(EXP_SLAB *Slab)
{
    ULONG All = Slab->BlockCount, List = ExpListFor(Slab);
    Slab->List = (UCHAR)List;
    Slab->Least = (USHORT)((List * All + EXP_LISTS - 1) / EXP_LISTS);
    Slab->Most = (USHORT)(((List + 1) * All + EXP_LISTS - 1) / EXP_LISTS - 1);
}

static VOID ExpLink(EXP_CENTER *Center, EXP_SLAB *Slab)
{
    EXP_SLAB **Head;
    ExpChooseList(Slab);
    Slab->State = ExpSlabListed;
    Head = &Center->Lists[Slab->List];
    Slab->Prev = NULL;
    Slab->Next = *Head;
    if (*Head != NULL)
        (*Head)->Prev = Slab;
    *Head = Slab;
}

VOID ExpUnlink(EXP_CENTER *Center, EXP_SLAB *Slab)
{
    if (Slab->Prev != NULL)
        Slab->Prev->Next = Slab->Next;
    else
        Center->Lists[Slab->List] = Slab->Next;
    if (Slab->Next != NULL)
        Slab->Next->Prev = Slab->Prev;
    Slab->State = ExpSlabFull;
}

/* After Used has changed: no, while it stays where it is listed for. */
static inline BOOLEAN ExpMustSettle(const EXP_SLAB *Slab)
{
    return Slab->State != ExpSlabListed || Slab->Used < Slab->Least || Slab->Used > Slab->Most;
}

/* An eighth of the class and more is free in its slabs. */
BOOLEAN ExpIsSparse(const EXP_CENTER *Center)
{
    return Center->FreeBlocks > Center->Blocks / 8 && (SIZE_T)Center->FreeBlocks * ExpClassOf(Center)->Size > SPARSE_BYTES;
}

static VOID ExpDrain(EXP_SLAB *Slab, BOOLEAN Drain)
{
    if (Drain == Slab->Draining)
        return;
    __atomic_store_n(&Slab->Draining, Drain, __ATOMIC_RELAXED);
    if (!Slab->IsTail)
        ExpShowRun(&Slab->Run, !Drain);
}

VOID ExpSettle(EXP_CENTER *Center, EXP_SLAB *Slab)
{
    if (Slab->State == ExpSlabListed)
        ExpUnlink(Center, Slab);
    if (Slab->Used != Slab->BlockCount)
        ExpLink(Center, Slab);
    ExpDrain(Slab, Slab->State == ExpSlabListed && Slab->List < DRAIN_LISTS && Slab->Home == NULL && ExpIsSparse(Center));
}

/* Slabs that came to their lists before the class was sparse. Only what is sparse at a trim, and has much, gives pages to others, until the
 * next one: blocks that come and go leave a class sparse for a moment all the time, and it would want its pages again at once. */
static VOID ExpDrainSome(EXP_CENTER *Center)
{
    ULONG List, Left = 4096;
    BOOLEAN Sparse = ExpIsSparse(Center);
    ExpNoteDonor(Center, Sparse && (SIZE_T)Center->FreeBlocks * ExpClassOf(Center)->Size >
                                       __atomic_load_n(&ExpState.LeastGift, __ATOMIC_RELAXED));
    if (!Sparse)
        return;
    for (List = 0; List < DRAIN_LISTS; List++) {
        EXP_SLAB *Slab;
        for (Slab = Center->Lists[List]; Slab != NULL && Left-- != 0; Slab = Slab->Next)
            ExpDrain(Slab, Slab->Home == NULL);
    }
}

VOID ExpEnterSlab(EXP_CENTER *Center, EXP_SLAB *Slab)
{
    __atomic_store_n(&Center->InUse, TRUE, __ATOMIC_RELAXED);
    Center->Blocks += Slab->BlockCount;
    Center->FreeBlocks += Slab->BlockCount;
    ExpLink(Center, Slab);
}

/* ---- homes (the centre's lock) ---- */
static VOID ExpSetHome(EXP_BIN *Bin, EXP_SLAB *Slab)
{
    if (Bin->Home != NULL)
        Bin->Home->Home = NULL;
    Bin->Home = Slab;
    if (Slab != NULL)
        Slab->Home = Bin;
}

/* The fullest slab that is nobody's home; Any: or somebody's. */
static EXP_SLAB *ExpFullest(const EXP_CENTER *Center, BOOLEAN Any)
{
    ULONG List = EXP_LISTS;
    while (List-- != 0) {
        EXP_SLAB *Slab;
        for (Slab = Center->Lists[List]; Slab != NULL; Slab = Slab->Next)
            if (Any || Slab->Home == NULL)
                return Slab;
    }
    return NULL;
}

/* ---- empty slabs ---- */
/* Off its list for good. Nobody finds it any more, so it is released when no lock is held. */
static VOID ExpCondemn(EXP_CENTER *Center, EXP_SLAB *Slab)
{
    ExpUnlink(Center, Slab);
    if (Slab->Home != NULL)
        ExpSetHome(Slab->Home, NULL);
    Slab->State = ExpSlabReleased;
    Center->Blocks -= Slab->BlockCount;
    Center->FreeBlocks -= Slab->BlockCount;
    if (!Slab->IsTail)
        Center->Pages -= Slab->Run.Pages;
}

/* The centre's lock is held. A slab of the centre is empty: released, if the other one of its pages is empty too. */
VOID ExpNoteEmpty(EXP_CENTER *Center, EXP_SLAB *Slab, EXP_VICTIMS *Victims, BOOLEAN Keep)
{
    EXP_SLAB *Twin = Slab->Tail;
    EXP_CENTER *Other;
    BOOLEAN Empty;
    if (Victims->Count == EXP_VICTIMS_MAX || Slab->Host != NULL)
        return; /* it stays; the trim finds it, where no other slab's blocks are in its pages any more */
    if (Keep && Slab->Home != NULL)
        return;
    if (Keep && Center->Lists[0] == Slab && Slab->Next == NULL && ExpFullest(Center, TRUE) == Slab)
        return;
    if (Twin != NULL) {
        Other = &ExpState.Centers[ExpBinOfSlab(Twin)];
        if (Other < Center)
            KiAcquireLock(&Other->Lock);
        else if (!KiTryAcquireLock(&Other->Lock)) /* the order is the other one: it stays then, as above */
            return;
        Empty = Twin->Used == 0 && Twin->Host == NULL;
        if (Empty)
            ExpCondemn(Other, Twin);
        KiReleaseLock(&Other->Lock);
        if (!Empty)
            return;
    }
    ExpCondemn(Center, Slab);
    Victims->Slabs[Victims->Count++] = Slab->IsTail ? Twin : Slab;
}

static VOID ExpReleaseVictims(const EXP_VICTIMS *Victims)
{
    ULONG Index;
    for (Index = 0; Index < Victims->Count; Index++)
        ExpFreeSlab(Victims->Slabs[Index]);
}

/* ---- blocks (the centre's lock) ---- */
/* Random numbers enough for placement: xorshift. */
static inline ULONG64 ExpRandom(ULONG64 *State)
{
    ULONG64 X = *State;
    X ^= X << 13;
    X ^= X >> 7;
    X ^= X << 17;
    return *State = X;
}

static ULONG ExpTakeOf(EXP_SLAB *Slab, EXP_ENTRY *Entries, ULONG Want, ULONG64 *Seed)
{
    ULONG Word, Count = 0;
    ULONG64 Random = 0;
    for (Word = 0; Word < Slab->FreeWords && Count < Want; Word++) {
        ULONG64 Bits = Slab->Free[Word];
        while (Bits != 0 && Count < Want) {
            ULONG Turn, Number;
            if (Random == 0)
                Random = ExpRandom(Seed);
            Turn = (ULONG)Random & 63;
            Random >>= 6;
            Number = ((ULONG)__builtin_ctzll(Bits >> Turn | Bits << (-Turn & 63)) + Turn) & 63;
            Bits &= ~(1ull << Number);
            Number += Word * 64;
            Entries[Count].Block = ExpBlockAddress(Slab, Number);
            Entries[Count].Word = &ExpWordsOf(Slab)[Number];
            Count++;
        }
        Slab->Free[Word] = Bits;
    }
    Slab->Used = (USHORT)(Slab->Used + Count);
    return Count;
}

/* From the bin's home, and where that has no more from the fullest slab that is nobody's, which becomes its home. Any: from any slab. */
static ULONG ExpTakeListed(EXP_CENTER *Center, EXP_BIN *Bin, EXP_ENTRY *Entries, ULONG Want, ULONG64 *Seed, BOOLEAN Any)
{
    ULONG Count = 0;
    while (Count < Want) {
        EXP_SLAB *Slab = Bin->Home;
        ULONG Some;
        if (Slab == NULL) {
            Slab = ExpFullest(Center, Any);
            if (Slab == NULL)
                break;
            if (Slab->Home == NULL)
                ExpSetHome(Bin, Slab);
        }
        Some = ExpTakeOf(Slab, Entries + Count, Want - Count, Seed);
        Count += Some;
        Center->FreeBlocks -= Some;
        if (Slab->Used == Slab->BlockCount && Slab->Home != NULL)
            ExpSetHome(Slab->Home, NULL);
        if (ExpMustSettle(Slab))
            ExpSettle(Center, Slab);
    }
    return Count;
}

static VOID ExpPutBack(EXP_CENTER *Center, const EXP_ENTRY *Entries, ULONG Count, EXP_VICTIMS *Victims, ULONG_PTR *Twice)
{
    ULONG Index;
    for (Index = 0; Index < Count; Index++) {
        ULONG_PTR Block = Entries[Index].Block;
        EXP_SLAB *Slab = ExpSlabOf(Block, Entries[Index].Word);
        ULONG Number = (ULONG)(Entries[Index].Word - ExpWordsOf(Slab));
        ULONG64 Bit = 1ull << (Number % 64);
        if (__builtin_expect(Slab->State == ExpSlabHost, 0)) {
            if (!ExpYield(Center, Slab, Number, Victims))
                *Twice = Block;
            continue;
        }
        if (Slab->Free[Number / 64] & Bit) {
            *Twice = Block;
            continue;
        }
        Slab->Free[Number / 64] |= Bit;
        Slab->Used--;
        Center->FreeBlocks++;
        if (ExpMustSettle(Slab))
            ExpSettle(Center, Slab);
        if (Slab->Used == 0)
            ExpNoteEmpty(Center, Slab, Victims, TRUE);
    }
}

static VOID ExpStopTwice(ULONG_PTR Block)
{
    if (Block != 0)
        KiStop(0xC2, "A pool block was freed twice, by two threads at the same time.", (PVOID)Block, 7, 0, 0, Block);
}

/* ---- magazines ---- */
static SIZE_T ExpMagazineBytes(const EXP_CENTER *Center)
{
    return sizeof(EXP_MAGAZINE) + (1 + (SIZE_T)ExpClassOf(Center)->Magazine) * sizeof(EXP_ENTRY);
}

/* The centre's lock is held, by both. */
static EXP_MAGAZINE *ExpPopEmpty(EXP_CENTER *Center)
{
    EXP_MAGAZINE *Magazine = Center->Empties;
    if (Magazine == NULL)
        return NULL;
    Center->Empties = Magazine->Next;
    if (--Center->Spare < Center->LeastSpare)
        Center->LeastSpare = Center->Spare;
    return Magazine;
}

static VOID ExpPushEmpty(EXP_CENTER *Center, EXP_MAGAZINE *Magazine)
{
    Magazine->Next = Center->Empties;
    Center->Empties = Magazine;
    Center->Spare++;
}

EXP_MAGAZINE *ExpCreateMagazine(EXP_CENTER *Center)
{
    ULONG Room = ExpClassOf(Center)->Magazine;
    EXP_MAGAZINE *Magazine;
    KiAcquireLock(&Center->Lock);
    Magazine = ExpPopEmpty(Center);
    KiReleaseLock(&Center->Lock);
    if (Magazine == NULL) {
        __atomic_store_n(&Center->InUse, TRUE, __ATOMIC_RELAXED);
        Magazine = ExpMetaAllocate(ExpMetaOther, ExpMagazineBytes(Center));
    }
    if (Magazine != NULL) {
        Magazine->Room = Room;
        Magazine->Count = 0;
        Magazine->Entries[0].Block = 0;
    }
    return Magazine;
}

EXP_MAGAZINE *ExpFillMagazine(EXP_CENTER *Center, EXP_BIN *Bin, ULONG64 *Seed, EX_POOL_PRIORITY Priority)
{
    EXP_MAGAZINE *Empty = Bin->Loaded, *Magazine;
    ULONG Try, Want = Bin->Taken / 3 > 4 ? Bin->Taken / 3u : 4;
    BOOLEAN Any = FALSE;
    Want = Want < Empty->Room ? Want : Empty->Room;
    KiAcquireLock(&Center->Lock);
    if (Center->Magazines != NULL) {
        Magazine = Center->Magazines;
        Center->Magazines = Magazine->Next;
        Center->Full--;
        if (Center->Full < Center->LeastFull)
            Center->LeastFull = Center->Full;
        Empty->Count = 0;
        ExpPushEmpty(Center, Empty);
        KiReleaseLock(&Center->Lock);
        return Magazine;
    }
    Center->SpareUsed = TRUE;
    for (Try = 0; Try < 4; Try++) {
        ULONG Pages = Center->Pages;
        Empty->Count = ExpTakeListed(Center, Bin, &Empty->Entries[1], Want, Seed, Any);
        KiReleaseLock(&Center->Lock);
        if (Empty->Count != 0) {
            Bin->Taken = (USHORT)(Bin->Taken + Empty->Count < 1024 ? Bin->Taken + Empty->Count : 1024);
            return Empty;
        }
        if (Any)
            return NULL;
        ULONG Index = (ULONG)(Center - ExpState.Centers);
        /* Donors is looked at here, too: ExpAdopt lies in code that a process without any does not touch (malloc.ld). */
        if (__atomic_load_n(&ExpState.Donors[Index / EXP_BINS], __ATOMIC_RELAXED) == 0 || !ExpAdopt(Center)) {
            const EXP_CLASS *Class = ExpClassOf(Center);
            ULONG Least = Class->PagesPerBlock, Half = Least;
            EXP_SLAB *Slab;
            while (Half * 2 <= Class->Pages && Half * 4 <= Pages)
                Half *= 2;
            Slab = ExpCreateSlab((EXP_KIND)(Index / EXP_BINS), Index % EXP_BINS, Half, Priority);
            KiAcquireLock(&Center->Lock);
            Any = Slab == NULL; /* then other threads' homes must do */
            if (Any)
                continue;
            Center->Pages += Slab->Run.Pages;
            ExpEnterSlab(Center, Slab);
            if (Slab->Tail != NULL) {
                EXP_CENTER *Other = &ExpState.Centers[ExpBinOfSlab(Slab->Tail)];
                KiAcquireLock(&Other->Lock);
                ExpEnterSlab(Other, Slab->Tail);
                KiReleaseLock(&Other->Lock);
            }
        } else {
            KiAcquireLock(&Center->Lock);
        }
    }
    Empty->Count = ExpTakeListed(Center, Bin, &Empty->Entries[1], Want, Seed, TRUE);
    KiReleaseLock(&Center->Lock);
    return Empty->Count != 0 ? Empty : NULL;
}

VOID ExpLeaveHome(EXP_CENTER *Center, EXP_BIN *Bin)
{
    KiAcquireLock(&Center->Lock);
    ExpSetHome(Bin, NULL);
    KiReleaseLock(&Center->Lock);
}

EXP_MAGAZINE *ExpDeposit(EXP_CENTER *Center, EXP_MAGAZINE *Magazine, BOOLEAN Drain)
{
    EXP_VICTIMS Victims;
    ULONG_PTR Twice = 0;
    Victims.Count = 0;
    KiAcquireLock(&Center->Lock);
    if (!Drain && Magazine->Count != 0 && Center->Full < ExpClassOf(Center)->Depot) {
        EXP_MAGAZINE *Empty = ExpPopEmpty(Center);
        Magazine->Next = Center->Magazines;
        Center->Magazines = Magazine;
        Center->Full++;
        KiReleaseLock(&Center->Lock);
        return Empty != NULL ? Empty : ExpCreateMagazine(Center);
    }
    ExpPutBack(Center, &Magazine->Entries[1], Magazine->Count, &Victims, &Twice);
    Magazine->Count = 0;
    KiReleaseLock(&Center->Lock);
    ExpReleaseVictims(&Victims);
    ExpStopTwice(Twice);
    return Magazine;
}

VOID ExpReturnBlocks(EXP_CENTER *Center, EXP_ENTRY *Entries, ULONG Count)
{
    EXP_VICTIMS Victims;
    ULONG_PTR Twice = 0;
    Victims.Count = 0;
    KiAcquireLock(&Center->Lock);
    ExpPutBack(Center, Entries, Count, &Victims, &Twice);
    KiReleaseLock(&Center->Lock);
    ExpReleaseVictims(&Victims);
    ExpStopTwice(Twice);
}

VOID ExpGiveEmpty(EXP_CENTER *Center, EXP_MAGAZINE *Magazine)
{
    KiAcquireLock(&Center->Lock);
    ExpPushEmpty(Center, Magazine);
    KiReleaseLock(&Center->Lock);
}

ULONG ExpTrimCenter(EXP_CENTER *Center, BOOLEAN All)
{
    ULONG Idle, Live, Empties;
    EXP_MAGAZINE *Empty;
    EXP_VICTIMS Victims;
    BOOLEAN Spare;
    if (!ExpIsUsed(Center))
        return 0;
    KiAcquireLock(&Center->Lock);
    Idle = All ? Center->Full : Center->LeastFull;
    Spare = All || !Center->SpareUsed;
    KiReleaseLock(&Center->Lock);
    while (Idle-- != 0) {
        EXP_MAGAZINE *Magazine;
        KiAcquireLock(&Center->Lock);
        Magazine = Center->Magazines;
        if (Magazine != NULL) {
            Center->Magazines = Magazine->Next;
            Center->Full--;
        }
        KiReleaseLock(&Center->Lock);
        if (Magazine == NULL)
            break;
        ExpGiveEmpty(Center, ExpDeposit(Center, Magazine, TRUE));
    }
    KiAcquireLock(&Center->Lock);
    Empties = All ? Center->Spare : Center->LeastSpare;
    while (Empties-- != 0 && (Empty = ExpPopEmpty(Center)) != NULL)
        ExpMetaFree(ExpMetaOther, Empty, ExpMagazineBytes(Center));
    Center->LeastSpare = Center->Spare;
    Center->LeastFull = Center->Full;
    Center->SpareUsed = FALSE;
    do {
        EXP_SLAB *Slab;
        Victims.Count = 0;
        for (Slab = Center->Lists[0]; Slab != NULL && Victims.Count < EXP_VICTIMS_MAX;) {
            EXP_SLAB *Next = Slab->Next;
            if (Slab->Used == 0)
                ExpNoteEmpty(Center, Slab, &Victims, !Spare);
            Slab = Next;
        }
        KiReleaseLock(&Center->Lock);
        ExpReleaseVictims(&Victims);
        KiAcquireLock(&Center->Lock);
    } while (Victims.Count == EXP_VICTIMS_MAX);
    ExpDrainSome(Center);
    Live = Center->Blocks - Center->FreeBlocks;
    KiReleaseLock(&Center->Lock);
    return Live;
}
