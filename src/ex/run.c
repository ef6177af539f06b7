/*
 * run.c - free runs of pages: kept for the next user, found by size, joined with their neighbours, given back when idle.
 * SPDX-License-Identifier: MIT
 *
 * The pools take address space from the memory manager in arenas and never give it back; pages they commit and decommit in
 * it. A free run of pages is an EXP_SPAN: backed (its pages are committed and mapped, so that taking it costs a list
 * operation) or bare (address space only). Spans that lie side by side and are of one kind and state are one span.
 *
 *          ExpTakePages          ExpGivePages               ExpReturnPages (trim.c)
 *   bare ----commit----> in use --------------> backed span ------decommit------> bare span
 *                          ^---------------------|
 *
 * Spans hang on lists by size: one for each number of pages up to 32, four for each doubling above. A request takes from
 * the first list that can serve it, found by a bitmap; backed spans first, then bare ones, then a new arena. What is too
 * much is cut off and stays.
 *
 * Neighbours are found through the map (EXP_PAGE.Edge): the entry of a span's first page and of its last name it. Entries of pages
 * in between, and of pages in use, are NULL.
 *
 * A freed big block's first bytes are EXP_FILL_FREED when it becomes a span, and its page is marked (EXP_MAP.Marks). When
 * the page is taken again the bytes must still be there: 0xC6 otherwise. With KeepRuns off nothing stays backed, and a
 * touch of a freed big block faults.
 *
 * How much stays: at most a quarter of RAM, for LeastFree says how many pages nobody wanted since the last trim: those go.
 *
 * Invariants:
 *   R1 a span's first and last page's Edge name it, and no other span of its kind and state touches it
 *   R2 FreePages is the sum over backed spans; LeastFree <= FreePages
 *   R3 a span is on the list of its size; a list's Used bit is set exactly if it is not empty
 *   R4 no page of a span belongs to a run that is not released
 *   R5 pages committed, less those given back, are in slabs, in big blocks and in backed spans
 *
 * SpanLock, one for each region, guards spans, edges and counters. No memory is touched and no page committed or given
 * back while it is held: a span is taken out first.
 */
#include "ex/exp.h"

/* Arenas double: the map of a small pool's is one page. */
#define FIRST_ARENA_PAGES 256u
#define ARENA_PAGES       2048u

ULONG ExpSpanBin(SIZE_T Pages)
{
    ULONG Power;
    if (Pages <= 32)
        return (ULONG)Pages - 1;
    Power = 63 - (ULONG)__builtin_clzll(Pages);
    Power = 32 + (Power - 5) * 4 + (ULONG)((Pages >> (Power - 2)) & 3);
    return Power < EXP_SPAN_BINS ? Power : EXP_SPAN_BINS - 1;
}

static ULONG_PTR ExpEndOf(const EXP_SPAN *Span)
{
    return Span->Base + ((ULONG_PTR)Span->Pages << 12);
}

static EXP_SPAN **ExpEdge(ULONG Kind, ULONG_PTR Va)
{
    EXP_MAP *Map = &ExpState.Maps[EXP_IS_PAGED(Kind)];
    return &Map->Pages[(Va - Map->Base) >> 12].Edge;
}

/* ---- lists (SpanLock) ---- */
/* Others look at FreePages without the lock. */
static VOID ExpCountKept(ULONG Kind, SSIZE_T Pages)
{
    SIZE_T Free = ExpState.FreePages[Kind] + (SIZE_T)Pages;
    __atomic_store_n(&ExpState.FreePages[Kind], Free, __ATOMIC_RELAXED);
    if (Free < ExpState.LeastFree[Kind])
        ExpState.LeastFree[Kind] = Free;
}

static VOID ExpLinkSpan(EXP_SPAN *Span)
{
    EXP_SPAN **Head;
    Span->Bin = (USHORT)ExpSpanBin(Span->Pages);
    Head = &ExpState.Spans[Span->Kind][Span->Backed].Heads[Span->Bin];
    Span->Prev = NULL;
    Span->Next = *Head;
    if (*Head != NULL)
        (*Head)->Prev = Span;
    *Head = Span;
    ExpState.Spans[Span->Kind][Span->Backed].Used[Span->Bin / 64] |= 1ull << (Span->Bin % 64);
    *ExpEdge(Span->Kind, Span->Base) = Span;
    *ExpEdge(Span->Kind, ExpEndOf(Span) - PAGE_SIZE) = Span;
}

static VOID ExpUnlinkSpan(EXP_SPAN *Span)
{
    EXP_SPAN **Head = &ExpState.Spans[Span->Kind][Span->Backed].Heads[Span->Bin];
    if (Span->Prev != NULL)
        Span->Prev->Next = Span->Next;
    else
        *Head = Span->Next;
    if (Span->Next != NULL)
        Span->Next->Prev = Span->Prev;
    if (*Head == NULL)
        ExpState.Spans[Span->Kind][Span->Backed].Used[Span->Bin / 64] &= ~(1ull << (Span->Bin % 64));
    *ExpEdge(Span->Kind, Span->Base) = NULL;
    *ExpEdge(Span->Kind, ExpEndOf(Span) - PAGE_SIZE) = NULL;
}

static VOID ExpDropSpan(EXP_SPAN *Span)
{
    ExpUnlinkSpan(Span);
    ExpMetaFree(ExpMetaOther, Span, sizeof(EXP_SPAN));
}

/* Enters a free run and joins it with what lies beside it. FALSE: no memory to remember it. */
static BOOLEAN ExpInsertSpan(ULONG Kind, ULONG_PTR Base, SIZE_T Pages, BOOLEAN Backed)
{
    const EXP_MAP *Map = &ExpState.Maps[EXP_IS_PAGED(Kind)];
    EXP_SPAN *Low = Base > Map->Base ? *ExpEdge(Kind, Base - PAGE_SIZE) : NULL, *High = NULL, *Span;
    ULONG_PTR End = Base + (Pages << 12);
    if (End - Map->Base < __atomic_load_n(&Map->Covered, __ATOMIC_RELAXED))
        High = *ExpEdge(Kind, End);
    if (Backed)
        ExpCountKept(Kind, (SSIZE_T)Pages);
    if (Low != NULL && Low->Kind == Kind && Low->Backed == Backed && ExpEndOf(Low) == Base) {
        ExpUnlinkSpan(Low);
        Base = Low->Base;
        Pages += Low->Pages;
    } else {
        Low = NULL;
    }
    if (High != NULL && High->Kind == Kind && High->Backed == Backed && High->Base == End) {
        Pages += High->Pages;
        if (Low == NULL) {
            ExpUnlinkSpan(High);
            Low = High;
        } else {
            ExpDropSpan(High);
        }
    }
    Span = Low != NULL ? Low : ExpMetaAllocate(ExpMetaOther, sizeof(EXP_SPAN));
    if (Span == NULL) {
        if (Backed)
            ExpCountKept(Kind, -(SSIZE_T)Pages);
        return FALSE;
    }
    Span->Base = Base;
    Span->Pages = (ULONG)Pages;
    Span->Kind = (UCHAR)Kind;
    Span->Backed = Backed;
    ExpLinkSpan(Span);
    return TRUE;
}

/* The first list from Bin on that is not empty; EXP_SPAN_BINS: none. */
static ULONG ExpNextBin(ULONG Kind, ULONG Backed, ULONG Bin)
{
    const ULONG64 *Used = ExpState.Spans[Kind][Backed].Used;
    ULONG Word = Bin / 64;
    ULONG64 Bits;
    if (Bin >= EXP_SPAN_BINS)
        return EXP_SPAN_BINS;
    Bits = Used[Word] & (~0ull << (Bin % 64));
    if (Bits == 0 && ++Word < EXP_SPAN_BINS / 64)
        Bits = Used[Word];
    return Bits != 0 ? Word * 64 + (ULONG)__builtin_ctzll(Bits) : EXP_SPAN_BINS;
}

static EXP_SPAN *ExpFindSpan(ULONG Kind, ULONG Backed, SIZE_T Pages)
{
    ULONG Bin = ExpSpanBin(Pages), Tries = 8;
    EXP_SPAN *Span;
    for (Span = ExpState.Spans[Kind][Backed].Heads[Bin]; Span != NULL; Span = Span->Next) {
        if (Span->Pages >= Pages)
            return Span;
        if (--Tries == 0 && Bin != EXP_SPAN_BINS - 1)
            break;
    }
    Bin = ExpNextBin(Kind, Backed, Bin + 1);
    return Bin < EXP_SPAN_BINS ? ExpState.Spans[Kind][Backed].Heads[Bin] : NULL;
}

/* Takes pages out of a span; the rest stays. 0: the kind has no such span in that state. */
static ULONG_PTR ExpCutSpan(ULONG Kind, ULONG Backed, SIZE_T Pages, SIZE_T Alignment)
{
    EXP_SPAN *Span = ExpFindSpan(Kind, Backed, Pages + (Alignment >> 12) - 1);
    ULONG_PTR Base, End, From;
    if (Span == NULL)
        return 0;
    Base = Span->Base;
    End = ExpEndOf(Span);
    From = (Base + Alignment - 1) & ~(Alignment - 1);
    ExpUnlinkSpan(Span);
    if (Backed)
        ExpCountKept(Kind, -(SSIZE_T)Pages);
    if (From + (Pages << 12) < End) {
        Span->Base = From + (Pages << 12);
        Span->Pages = (ULONG)((End - Span->Base) >> 12);
        ExpLinkSpan(Span);
        Span = NULL;
    }
    if (From > Base) {
        EXP_SPAN *Front = Span != NULL ? Span : ExpMetaAllocate(ExpMetaOther, sizeof(EXP_SPAN));
        Span = NULL;
        if (Front != NULL) { /* else these pages are lost: only for alignments above a page, without memory */
            Front->Base = Base;
            Front->Pages = (ULONG)((From - Base) >> 12);
            Front->Kind = (UCHAR)Kind;
            Front->Backed = (UCHAR)Backed;
            ExpLinkSpan(Front);
        }
    }
    if (Span != NULL)
        ExpMetaFree(ExpMetaOther, Span, sizeof(EXP_SPAN));
    return From;
}

/* ---- arenas ---- */
static BOOLEAN ExpAddArena(EXP_KIND Kind, SIZE_T Pages)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    SIZE_T Want = __atomic_load_n(&ExpState.ArenaPages[Kind], __ATOMIC_RELAXED);
    PVOID Base;
    BOOLEAN Done;
    Want = Want < FIRST_ARENA_PAGES ? FIRST_ARENA_PAGES : Want < ARENA_PAGES ? Want : ARENA_PAGES;
    Want = Want > Pages ? Want : Pages;
    /* A small region is not taken whole for one kind. */
    while (Want > Pages && Want > ExpState.Maps[Paged].Size >> 15)
        Want = Want / 2 > Pages ? Want / 2 : Pages;
    Base = MmAllocatePages(Paged ? MmRegionPagedPool : MmRegionNonPagedPool, Want, MM_PAGES_RESERVE, HighPoolPriority);
    if (Base == NULL && Want > Pages)
        Base =
            MmAllocatePages(Paged ? MmRegionPagedPool : MmRegionNonPagedPool, Want = Pages, MM_PAGES_RESERVE, HighPoolPriority);
    if (Base == NULL)
        return FALSE;
    Done = ExpCoverPages(Paged, (ULONG_PTR)Base, Want);
    if (Done) {
        KiAcquireLock(&ExpState.SpanLock[Paged]);
        Done = ExpInsertSpan(Kind, (ULONG_PTR)Base, Want, FALSE);
        __atomic_store_n(&ExpState.ArenaPages[Kind], ExpState.ArenaPages[Kind] + (Done ? Want : 0), __ATOMIC_RELAXED);
        KiReleaseLock(&ExpState.SpanLock[Paged]);
    }
    if (!Done)
        MmFreePages(Base, Want);
    return Done;
}

/* ---- marks: the pages are the caller's, but their words are shared ---- */
static VOID ExpMark(ULONG Paged, ULONG_PTR Base)
{
    const EXP_MAP *Map = &ExpState.Maps[Paged];
    SIZE_T Page = (Base - Map->Base) >> 12;
    __atomic_fetch_or(&Map->Marks[Page / 64], 1ull << (Page % 64), __ATOMIC_RELAXED);
}

/* The first marked page, unmarked now; 0: none. */
static ULONG_PTR ExpTakeMark(ULONG Paged, ULONG_PTR *Next, ULONG_PTR End)
{
    const EXP_MAP *Map = &ExpState.Maps[Paged];
    SIZE_T Page = (*Next - Map->Base) >> 12, Last = (End - Map->Base) >> 12;
    while (Page < Last) {
        ULONG64 Bits = __atomic_load_n(&Map->Marks[Page / 64], __ATOMIC_RELAXED) & (~0ull << (Page % 64));
        if (Bits != 0) {
            SIZE_T Found = Page / 64 * 64 + (SIZE_T)__builtin_ctzll(Bits);
            if (Found >= Last)
                break;
            __atomic_fetch_and(&Map->Marks[Found / 64], ~(1ull << (Found % 64)), __ATOMIC_RELAXED);
            *Next = Map->Base + ((ULONG_PTR)(Found + 1) << 12);
            return Map->Base + ((ULONG_PTR)Found << 12);
        }
        Page = (Page / 64 + 1) * 64;
    }
    *Next = End;
    return 0;
}

/* Whoever wrote to a block that had been freed is told now; the pages stay free. */
static VOID ExpCheckMarks(EXP_KIND Kind, ULONG_PTR Base, SIZE_T Pages)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    ULONG_PTR Next = Base, End = Base + (Pages << 12), Page;
    while ((Page = ExpTakeMark(Paged, &Next, End)) != 0) {
        if (__builtin_expect(ExpIsFreedFill((PVOID)Page, PAGE_SIZE), 1))
            continue;
        ExpMark(Paged, Page);
        KiAcquireLock(&ExpState.SpanLock[Paged]);
        ExpInsertSpan((ULONG)Kind, Base, Pages, TRUE);
        KiReleaseLock(&ExpState.SpanLock[Paged]);
        ExpStopFreedFill((PVOID)Page, PAGE_SIZE);
    }
}

/* ---- take and give ---- */
ULONG_PTR ExpTakePages(EXP_KIND Kind, SIZE_T Pages, SIZE_T Alignment, BOOLEAN *Zero, EX_POOL_PRIORITY Priority)
{
    ULONG Paged = EXP_IS_PAGED(Kind), Try, Flags;
    ULONG_PTR Base;
    if (Alignment < PAGE_SIZE)
        Alignment = PAGE_SIZE;
    if (Pages > ExpState.Maps[Paged].Size >> 12)
        return 0;
    Flags = (Kind == ExpNonPagedExecute ? MM_PAGES_EXECUTE : 0) | (*Zero ? MM_PAGES_ZERO : 0) | MM_PAGES_PRIORITY(Priority) |
            EXP_NODE_FLAGS(Priority);
    for (Try = 0; Try < 2; Try++) {
        KiAcquireLock(&ExpState.SpanLock[Paged]);
        Base = EXP_NODE_OF(Priority) != 0 ? 0 : ExpCutSpan((ULONG)Kind, TRUE, Pages, Alignment);
        KiReleaseLock(&ExpState.SpanLock[Paged]);
        if (Base != 0) {
            ExpUnpoison(Base, Pages << 12);
            ExpCheckMarks(Kind, Base, Pages);
            *Zero = FALSE;
            return Base;
        }
        KiAcquireLock(&ExpState.SpanLock[Paged]);
        Base = ExpCutSpan((ULONG)Kind, FALSE, Pages, Alignment);
        KiReleaseLock(&ExpState.SpanLock[Paged]);
        if (Base == 0 && ExpAddArena(Kind, Pages + (Alignment >> 12) - 1)) {
            KiAcquireLock(&ExpState.SpanLock[Paged]);
            Base = ExpCutSpan((ULONG)Kind, FALSE, Pages, Alignment);
            KiReleaseLock(&ExpState.SpanLock[Paged]);
        }
        if (Base != 0) {
            if (NT_SUCCESS(MmCommitPages((PVOID)Base, Pages, Flags))) {
                __atomic_add_fetch(&ExpState.CommittedPages[Paged], Pages, __ATOMIC_RELAXED);
                *Zero = (Flags & MM_PAGES_ZERO) != 0 || Paged;
                return Base;
            }
            KiAcquireLock(&ExpState.SpanLock[Paged]);
            ExpInsertSpan((ULONG)Kind, Base, Pages, FALSE);
            KiReleaseLock(&ExpState.SpanLock[Paged]);
        }
        /* Address space of another kind, or what lies in depots, may be what is missing. */
        if (Try == 0) {
            ULONG Turn;
            ExpTrimPools(TRUE);
            /* And what another thread's trim has in its hands right now. */
            for (Turn = 0; Turn < 20000 && __atomic_load_n(&ExpState.Trimming, __ATOMIC_SEQ_CST) != 0; Turn++)
                HalYield();
        }
    }
    return 0;
}

static VOID ExpDecommit(EXP_KIND Kind, ULONG_PTR Base, SIZE_T Pages)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    ULONG_PTR Next = Base;
    while (ExpTakeMark(Paged, &Next, Base + (Pages << 12)) != 0)
        ;
    ExpUnpoison(Base, Pages << 12);
    MmDecommitPages((PVOID)Base, Pages);
    KiAcquireLock(&ExpState.SpanLock[Paged]);
    ExpInsertSpan((ULONG)Kind, Base, Pages, FALSE);
    KiReleaseLock(&ExpState.SpanLock[Paged]);
    __atomic_add_fetch(&ExpState.ReturnedPages[Paged], Pages, __ATOMIC_RELAXED);
}

VOID ExpGivePages(EXP_KIND Kind, ULONG_PTR Base, SIZE_T Pages, BOOLEAN Marked)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    BOOLEAN Kept = FALSE;
    if (ExpState.KeepRuns) {
        ExpPoison(Base, Pages << 12);
        if (Marked)
            ExpMark(Paged, Base);
        KiAcquireLock(&ExpState.SpanLock[Paged]);
        if (ExpState.FreePages[Kind] + Pages <= KeOptions.RamBytes >> 14)
            Kept = ExpInsertSpan((ULONG)Kind, Base, Pages, TRUE);
        KiReleaseLock(&ExpState.SpanLock[Paged]);
    }
    if (!Kept)
        ExpDecommit(Kind, Base, Pages);
    else
        ExpArmTrim();
}

SIZE_T ExpReturnPages(EXP_KIND Kind, SIZE_T Pages)
{
    ULONG Paged = EXP_IS_PAGED(Kind);
    SIZE_T Done = 0;
    while (Done < Pages) {
        const ULONG64 *Used = ExpState.Spans[Kind][TRUE].Used;
        SIZE_T Some = 0;
        ULONG_PTR Base = 0;
        KiAcquireLock(&ExpState.SpanLock[Paged]);
        if ((Used[0] | Used[1]) != 0) {
            ULONG Bin = Used[1] != 0 ? 127 - (ULONG)__builtin_clzll(Used[1]) : 63 - (ULONG)__builtin_clzll(Used[0]);
            EXP_SPAN *Span = ExpState.Spans[Kind][TRUE].Heads[Bin];
            Some = Span->Pages < Pages - Done ? Span->Pages : Pages - Done;
            Base = Span->Base;
            ExpUnlinkSpan(Span);
            ExpCountKept(Kind, -(SSIZE_T)Some);
            if (Some < Span->Pages) { /* the front goes */
                Span->Base += Some << 12;
                Span->Pages -= (ULONG)Some;
                ExpLinkSpan(Span);
            } else {
                ExpMetaFree(ExpMetaOther, Span, sizeof(EXP_SPAN));
            }
        }
        KiReleaseLock(&ExpState.SpanLock[Paged]);
        if (Base == 0)
            break;
        ExpDecommit(Kind, Base, Some);
        Done += Some;
    }
    return Done;
}
