/*
 * tlb.c - the TLB, filled by software: the host's mappings of simulated addresses. SPDX-License-Identifier:
 * MIT
 *
 * This file alone maps and unmaps in the kernel and user ranges. Both ranges are holes in the process; a
 * mapping there is a cached translation. A fault walks the core's page tables (walk.h) and, if they permit
 * the access, maps the frame from the RAM file; HalFlushTb unmaps. Nothing else unmaps, so a flush that the
 * core forgot shows as stale data, as it does on hardware. Forgetting more is always legal, which is how the
 * number of host mappings stays bounded.
 *
 * A run is a stretch of pages with contiguous frames and one protection: one host mapping at most.
 *
 *     Runs[1..]   { Page, Frame, Count, Protection, Pinned }      unpinned ones chained oldest to newest
 *        ^
 *     Span[i].Slot[page]    number of the run that holds the page, 0: none       4 bytes a page, sparse
 *     Span[i].Filled[block] pages held in each block of 512, so that wide flushes skip what is empty
 *
 * A page that may be written but is not Dirty is mapped read-only; the first write faults and upgrades it.
 * With a fault come those neighbours in its aligned 64 KiB that continue its frames, have Accessed set and
 * come out with the same protection: bits that the core reads to age pages are never set by read-ahead. A 2
 * MiB page is mapped whole. A pinned fill counts as use: it sets Accessed, and Dirty where writing is
 * allowed, so that no later access faults.
 *
 * Translations of entries with HAL_PTE_REVOCABLE carry PROT_REVOCABLE in their run's protection, so runs never mix the two kinds;
 * the revocable runs are on a chain of their own besides, and HalRevokeTb walks just that. A thread that denies them is told at its
 * fault that there is nothing.
 *
 * The host frees one of its page tables with the last mapping in those 2 MiB, and making it anew for the next costs as much as the
 * mapping. So where a block of 512 pages runs empty for the second time in a row, an anchor stays in it: a page of the block that
 * is mapped without any access, which is as good as none to whoever touches it. There is one in all; what is filled over it takes
 * its place.
 *
 * An address space is a part of the user range with a root of its own (HAL_ADDRESS_SPACE); Owner[] tells, for each GiB of the user
 * range, which. Which root a fault walks depends on the thread, which translations are whose on the address alone. All spaces'
 * translations can stand side by side, since their parts do not overlap; one that its last thread leaves gives its own up, and all others
 * do when a thread enters a space that sweeps (the System process's, where drivers' threads run).
 *
 * Invariants (HalpValidateTb)
 *  1. Slot[p] = r if and only if run r is live and Page <= p < Page + Count; Filled[b] counts the non-zero
 * slots.
 *  2. A walk and the mapping of its result are one critical section, so a flush that returns leaves nothing
 * older mapped.
 *  3. Live runs number at most Limit, except that splitting pinned runs may exceed it; host mappings <= live
 * runs, and the anchor.
 *  4. The chain holds exactly the unpinned live runs.
 *  4b. The revocable chain holds exactly the live runs with PROT_REVOCABLE; none of them is pinned.
 *  5. A translation that was not present is never recorded.
 *  6. Cached of a space is the number of slots of its part that are not 0; if no thread is in it, that is 0 (but for the instant of leaving).
 *
 * Lock: HalpTb.Lock, innermost of all; taken in the signal handler, so its holder never touches a simulated
 * address. Watch: HalQueryTb; tests/hal/tlb.c and tests/hal/mmu.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include "hal/linux/halp.h"
#include "hal/linux/tlb.h"

#define READ_AHEAD_PAGES 16u
#define MERGE_PAGES      64u  /* runs grow to this by merging: the grain of eviction */
#define POPULATE_PAGES   512u /* longer runs get their host page tables as they are touched */
#define BLOCK_PAGES      512u
#define SPARE_RUNS       4096u
#define LARGE_FROM       64u /* a fill of that many pages of fresh RAM is not the last in its 2 MiB */
#define LARGE_TRIES      8u
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif
#define GIB_PAGES      0x40000u
#define PROT_REVOCABLE 0x80u /* of a run; the host is not told */

typedef struct _HALP_RUN {
    ULONG64 Page; /* first virtual page number */
    PFN_NUMBER Frame;
    ULONG64 Count;
    ULONG Next, Prev; /* unpinned: by age; free: Next */
    ULONG RevocableNext, RevocablePrev;
    UCHAR Protection;
    BOOLEAN Pinned, Live;
} HALP_RUN;

typedef struct _HALP_SPAN {
    ULONG64 First, Pages; /* virtual page numbers */
    ULONG *Slot;
    USHORT *Filled;
    ULONG64 LivePages;
} HALP_SPAN;

static struct {
    volatile LONG Lock;
    PFN_NUMBER Root;
    HALP_SPAN Span[2]; /* user, kernel */
    HALP_RUN *Runs;    /* [0] unused */
    ULONG Capacity, Fresh, FreeHead;
    ULONG Oldest, Newest;
    ULONG Live, PinnedRuns, Limit;
    volatile ULONG Revocable;  /* first of the revocable runs, 0: none; read without the lock */
    PHAL_ADDRESS_SPACE *Owner; /* a GiB of the user range each; NULL: no space's */
    PUCHAR Backed;             /* a bit a frame: the host has memory behind it, as far as this file knows */
    ULONG64 Anchor;            /* virtual page number of the anchor, 0: none; its slot is 0 */
    ULONG64 Emptied;           /* block that ran empty last */
    ULONG LargeRefused;        /* how often the host had no large page in a row */
    HAL_TB_STATISTICS Statistics;
} HalpTb;

static PVOID HalpTable(ULONG64 Bytes)
{
    LONG64 Va = HalpMmap(0, Bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (HalpFailed(Va)) {
        return NULL;
    }
    HalpSyscall(SYS_madvise, (ULONG64)Va, Bytes, MADV_NOHUGEPAGE, 0, 0, 0);
    return (PVOID)Va;
}

static HALP_SPAN *HalpSpanOf(ULONG64 Page)
{
    for (ULONG i = 0; i < 2; i++) {
        if (Page - HalpTb.Span[i].First < HalpTb.Span[i].Pages) {
            return &HalpTb.Span[i];
        }
    }
    return NULL;
}
static ULONG HalpRunAt(const HALP_SPAN *Span, ULONG64 Page)
{
    return Page - Span->First < Span->Pages ? Span->Slot[Page - Span->First] : 0;
}
static PHAL_ADDRESS_SPACE HalpOwnerOf(const HALP_SPAN *Span, ULONG64 Page)
{
    return Span == &HalpTb.Span[0] ? HalpTb.Owner[(Page - Span->First) / GIB_PAGES] : NULL;
}
/* The table for a page, whoever asks: its space's, or the kernel's. */
static PFN_NUMBER HalpRootOfPage(const HALP_SPAN *Span, ULONG64 Page)
{
    PHAL_ADDRESS_SPACE Space = HalpOwnerOf(Span, Page);
    return Space ? Space->Root : HalpTb.Root;
}
/* The table that the calling thread's processor would walk. */
static PFN_NUMBER HalpRootOfThread(ULONG_PTR Va)
{
    PHAL_ADDRESS_SPACE Space = HalpThread.Space;
    return Space && HalIsUserAddress(Va) ? (Va - Space->Low < Space->High - Space->Low ? Space->Root : 0)
                                         : __atomic_load_n(&HalpTb.Root, __ATOMIC_RELAXED);
}
static VOID HalpCountCached(HALP_SPAN *Span, ULONG64 Page, ULONG64 Count, LONG Change)
{
    for (ULONG64 End = Page + Count, Next; Page < End; Page = Next) {
        PHAL_ADDRESS_SPACE Space = HalpOwnerOf(Span, Page);
        Next = Span->First + ((Page - Span->First) / GIB_PAGES + 1) * GIB_PAGES;
        Next = Next < End ? Next : End;
        if (Space) {
            __atomic_fetch_add(&Space->Cached, (LONG64)(Next - Page) * Change, __ATOMIC_RELAXED);
        }
    }
}
static VOID HalpSetSlots(HALP_SPAN *Span, ULONG64 Page, ULONG64 Count, ULONG Run, LONG Change)
{
    if (Change && Span == &HalpTb.Span[0]) {
        HalpCountCached(Span, Page, Count, Change);
    }
    for (ULONG64 i = Page - Span->First; i < Page - Span->First + Count; i++) {
        Span->Slot[i] = Run;
        Span->Filled[i / BLOCK_PAGES] = (USHORT)(Span->Filled[i / BLOCK_PAGES] + Change);
    }
    __atomic_store_n(&Span->LivePages, Span->LivePages + (ULONG64)((LONG64)Count * Change), __ATOMIC_RELAXED);
}

/* ---- runs ---- */
static VOID HalpChain(ULONG Run)
{
    HalpTb.Runs[Run].Prev = HalpTb.Newest;
    HalpTb.Runs[Run].Next = 0;
    if (HalpTb.Newest) {
        HalpTb.Runs[HalpTb.Newest].Next = Run;
    } else {
        HalpTb.Oldest = Run;
    }
    HalpTb.Newest = Run;
}
static VOID HalpUnchain(ULONG Run)
{
    HALP_RUN *R = &HalpTb.Runs[Run];
    if (R->Prev) {
        HalpTb.Runs[R->Prev].Next = R->Next;
    } else {
        HalpTb.Oldest = R->Next;
    }
    if (R->Next) {
        HalpTb.Runs[R->Next].Prev = R->Prev;
    } else {
        HalpTb.Newest = R->Prev;
    }
}
static VOID HalpChainRevocable(ULONG Run)
{
    ULONG First = HalpTb.Revocable;
    HalpTb.Runs[Run].RevocablePrev = 0;
    HalpTb.Runs[Run].RevocableNext = First;
    if (First) {
        HalpTb.Runs[First].RevocablePrev = Run;
    }
    __atomic_store_n(&HalpTb.Revocable, Run, __ATOMIC_RELEASE);
}
static VOID HalpUnchainRevocable(ULONG Run)
{
    HALP_RUN *R = &HalpTb.Runs[Run];
    if (R->RevocablePrev) {
        HalpTb.Runs[R->RevocablePrev].RevocableNext = R->RevocableNext;
    } else {
        __atomic_store_n(&HalpTb.Revocable, R->RevocableNext, __ATOMIC_RELEASE);
    }
    if (R->RevocableNext) {
        HalpTb.Runs[R->RevocableNext].RevocablePrev = R->RevocablePrev;
    }
}
static ULONG HalpNewRun(ULONG64 Page, PFN_NUMBER Frame, ULONG64 Count, UCHAR Protection, BOOLEAN Pinned)
{
    ULONG Run = HalpTb.FreeHead;
    if (Run) {
        HalpTb.FreeHead = HalpTb.Runs[Run].Next;
    } else if (HalpTb.Fresh < HalpTb.Capacity) {
        Run = HalpTb.Fresh++;
    } else {
        HalpFatal("the table of host mappings is full of pinned runs");
    }
    HalpTb.Runs[Run] =
        (HALP_RUN){.Page = Page, .Frame = Frame, .Count = Count, .Protection = Protection, .Pinned = Pinned, .Live = TRUE};
    if (Pinned) {
        HalpTb.PinnedRuns++;
    } else {
        HalpChain(Run);
    }
    if (Protection & PROT_REVOCABLE) {
        HalpChainRevocable(Run);
    }
    HalpTb.Live++;
    HalpTb.Statistics.Mappings = HalpTb.Live;
    if (HalpTb.Live > HalpTb.Statistics.PeakMappings) {
        HalpTb.Statistics.PeakMappings = HalpTb.Live;
    }
    return Run;
}
static VOID HalpFreeRun(ULONG Run)
{
    if (HalpTb.Runs[Run].Pinned) {
        HalpTb.PinnedRuns--;
    } else {
        HalpUnchain(Run);
    }
    if (HalpTb.Runs[Run].Protection & PROT_REVOCABLE) {
        HalpUnchainRevocable(Run);
    }
    HalpTb.Runs[Run].Live = FALSE;
    HalpTb.Runs[Run].Next = HalpTb.FreeHead;
    HalpTb.FreeHead = Run;
    HalpTb.Live--;
    HalpTb.Statistics.Mappings = HalpTb.Live;
}
/* Forgets [Page, Page + Count) of a run that holds all of it; the host's mapping is the caller's affair. */
static VOID HalpCarve(HALP_SPAN *Span, ULONG Run, ULONG64 Page, ULONG64 Count)
{
    HALP_RUN *R = &HalpTb.Runs[Run];
    ULONG64 Left = Page - R->Page, Right = R->Page + R->Count - (Page + Count);
    HalpSetSlots(Span, Page, Count, 0, -1);
    if (Left == 0 && Right == 0) {
        HalpFreeRun(Run);
    } else if (Left == 0) {
        R->Page += Count;
        R->Frame += Count;
        R->Count = Right;
    } else {
        R->Count = Left;
        if (Right != 0) {
            ULONG Other = HalpNewRun(Page + Count, R->Frame + Left + Count, Right, R->Protection, R->Pinned);
            HalpSetSlots(Span, Page + Count, Right, Other, 0);
        }
    }
}
/* Records a run just mapped over empty slots, growing a neighbour where it continues it. */
static VOID HalpRecord(HALP_SPAN *Span, ULONG64 Page, PFN_NUMBER Frame, ULONG64 Count, UCHAR Protection, BOOLEAN Pinned)
{
    ULONG Left = Pinned ? 0 : HalpRunAt(Span, Page - 1), Right = Pinned ? 0 : HalpRunAt(Span, Page + Count);
    HALP_RUN *L = &HalpTb.Runs[Left], *R = &HalpTb.Runs[Right];
    HalpTb.Statistics.Fills++;
    HalpTb.Statistics.FilledPages += Count;
    if (Left && !L->Pinned && L->Protection == Protection && L->Frame + L->Count == Frame && L->Count + Count <= MERGE_PAGES) {
        HalpSetSlots(Span, Page, Count, Left, 1);
        L->Count += Count;
    } else if (Right && !R->Pinned && R->Protection == Protection && Frame + Count == R->Frame &&
               R->Count + Count <= MERGE_PAGES) {
        HalpSetSlots(Span, Page, Count, Right, 1);
        R->Page = Page;
        R->Frame = Frame;
        R->Count += Count;
    } else {
        HalpSetSlots(Span, Page, Count, HalpNewRun(Page, Frame, Count, Protection, Pinned), 1);
    }
}

/* ---- the host ---- */
/* Evicts the run filled longest ago; FALSE if all are pinned. Where the process has used up the host's
 * mappings elsewhere, taking one from the middle of a larger mapping fails: then the next that goes without a
 * split is taken. */
static BOOLEAN HalpEvict(VOID)
{
    for (ULONG Run = HalpTb.Oldest; Run; Run = HalpTb.Runs[Run].Next) {
        HALP_RUN *R = &HalpTb.Runs[Run];
        if (!HalpFailed(HalpMunmap(R->Page << 12, R->Count << 12))) {
            HalpTb.Statistics.Evictions++;
            HalpCarve(HalpSpanOf(R->Page), Run, R->Page, R->Count);
            return TRUE;
        }
    }
    return FALSE;
}
/* Makes room for Count more runs. FALSE if only pinned ones are left to evict. */
static BOOLEAN HalpReserve(ULONG Count)
{
    while (HalpTb.Live + Count > HalpTb.Limit) {
        if (!HalpEvict()) {
            return FALSE;
        }
    }
    return TRUE;
}
/* [Page, Page + Count), which no slot shows any more, is about to be unmapped: is an anchor needed to keep the host's table? */
static VOID HalpKeepTable(ULONG64 Page, ULONG64 Count)
{
    HALP_SPAN *Span = HalpSpanOf(Page);
    ULONG64 Block = Page / BLOCK_PAGES, Place = Block * BLOCK_PAGES + BLOCK_PAGES - 1;
    if ((Page + Count - 1) / BLOCK_PAGES != Block || Span->Filled[(Page - Span->First) / BLOCK_PAGES] != 0 ||
        HalpTb.Anchor / BLOCK_PAGES == Block) {
        return;
    }
    if (HalpTb.Emptied != Block) {
        HalpTb.Emptied = Block;
        return;
    }
    Place = Place < Page + Count ? Block * BLOCK_PAGES : Place;
    if (Place - Page < Count ||
        HalpFailed(HalpMmap(Place << 12, 1 << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0))) {
        return;
    }
    if (HalpTb.Anchor) {
        HalpMunmap(HalpTb.Anchor << 12, 1 << 12);
    }
    HalpTb.Anchor = Place;
}
static VOID HalpUnmap(ULONG64 Page, ULONG64 Count)
{
    if (HalpTb.Anchor - Page < Count) {
        HalpTb.Anchor = 0; /* in a gap between runs */
    }
    HalpKeepTable(Page, Count);
    while (HalpFailed(HalpMunmap(Page << 12, Count << 12))) {
        if (!HalpEvict()) {
            HalpFatal("the host refuses to unmap a page");
        }
    }
}
/* Were all these frames backed? They are taken to be from now on. The bits are a hint, set and cleared
 * without the lock. */
static BOOLEAN HalpNoteBacked(PFN_NUMBER Frame, ULONG64 Count)
{
    BOOLEAN All = TRUE;
    for (PFN_NUMBER i = Frame; i < Frame + Count; i++) {
        UCHAR Bit = (UCHAR)(1u << (i & 7));
        if (!(__atomic_load_n(&HalpTb.Backed[i >> 3], __ATOMIC_RELAXED) & Bit)) {
            __atomic_fetch_or(&HalpTb.Backed[i >> 3], Bit, __ATOMIC_RELAXED);
            All = FALSE;
        }
    }
    return All;
}
VOID HalpSetBacked(PFN_NUMBER Frame, ULONG64 Count, BOOLEAN Backed)
{
    if (Backed) {
        HalpNoteBacked(Frame, Count);
        return;
    }
    for (PFN_NUMBER i = Frame; i < Frame + Count; i++) {
        __atomic_fetch_and(&HalpTb.Backed[i >> 3], (UCHAR) ~(1u << (i & 7)), __ATOMIC_RELAXED);
    }
}
/* Before RAM that nobody has touched is filled in order: the host backs the 2 MiB that it is in by one of its large pages, which costs it as
 * much as 20 small ones, and makes mapping, unmapping and transfers of them cheaper ever after. Where the host refuses, has no such call
 * or not enough memory in a row, it is small pages. */
static VOID HalpBackLarge(PFN_NUMBER Frame)
{
    PFN_NUMBER First = Frame & ~(PFN_NUMBER)(BLOCK_PAGES - 1);
    const ULONG64 *Bits = (const ULONG64 *)(PVOID)&HalpTb.Backed[First >> 3];
    ULONG Backed = 0;
    if (HalpTb.LargeRefused >= LARGE_TRIES || HalpFramesAt(&HalpMachine.Physical, First) < BLOCK_PAGES) {
        return;
    }
    for (ULONG i = 0; i < BLOCK_PAGES / 64; i++) {
        Backed += (ULONG)__builtin_popcountll(__atomic_load_n(&Bits[i], __ATOMIC_RELAXED));
    }
    if (Backed > BLOCK_PAGES / 4) {
        return; /* much would be copied */
    }
    (VOID) * (volatile UCHAR *)HalWindow(Frame); /* the call wants a page table to be there */
    LONG64 Status = HalpSyscall(SYS_madvise, (ULONG64)HalWindow(First), BLOCK_PAGES << 12, MADV_COLLAPSE, 0, 0, 0);
    if (!HalpFailed(Status)) {
        HalpNoteBacked(First, BLOCK_PAGES);
        HalpTb.LargeRefused = 0;
    } else {
        HalpTb.LargeRefused += Status == -EINVAL ? LARGE_TRIES : 1;
    }
}
/* A run whose frames the host has backed before is mapped with its page tables filled in at once; of a fresh
 * one only what is touched shall cost memory. A single page is about to be touched, as others are that are Wanted. */
static VOID HalpMap(ULONG64 Page, PFN_NUMBER Frame, ULONG64 Count, UCHAR Protection, BOOLEAN Wanted)
{
    BOOLEAN Backed = HalpNoteBacked(Frame, Count), Populate = (Backed && Count <= POPULATE_PAGES) || Count == 1 || Wanted;
    int Flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE | (Populate ? MAP_POPULATE : 0);
    if (HalpTb.Anchor - Page < Count) {
        HalpTb.Anchor = 0;
    }
    if (Wanted && !Backed && Count >= LARGE_FROM) {
        HalpBackLarge(Frame);
    }
    while (
        HalpFailed(HalpMmap(Page << 12, Count << 12, Protection & ~PROT_REVOCABLE, Flags, HalpMachine.RamFile, Frame << 12))) {
        if (!HalpEvict()) {
            HalpFatal("the host refuses to map a page");
        }
    }
}

/* ---- faults ---- */
static UCHAR HalpProtection(const HALP_LEAF *Leaf, ULONG64 Entry)
{
    return (UCHAR)(PROT_READ | (HalpLeafWritable(Leaf, Entry) ? PROT_WRITE : 0) |
                   (HalpLeafExecutable(Leaf, Entry) ? PROT_EXEC : 0) | (Entry & HAL_PTE_REVOCABLE ? PROT_REVOCABLE : 0));
}
/* May the page come along with a fault beside it? */
static BOOLEAN HalpGoesAlong(const HALP_LEAF *Leaf, LONG64 Distance, UCHAR Protection)
{
    if (Leaf->Level == 2) {
        return TRUE;
    }
    ULONG64 Entry = __atomic_load_n(&Leaf->Table[(LONG64)Leaf->Index + Distance], __ATOMIC_RELAXED);
    return (Entry & (HALP_PTE_PRESENT | HALP_PTE_ACCESSED)) == (HALP_PTE_PRESENT | HALP_PTE_ACCESSED) &&
           HalpPteFrame(Entry) == Leaf->Frame + (ULONG64)Distance && HalpProtection(Leaf, Entry) == Protection;
}
static VOID HalpFillAround(HALP_SPAN *Span, ULONG64 Page, const HALP_LEAF *Leaf, UCHAR Protection)
{
    ULONG64 Grain = Leaf->Level == 2 ? 512 : READ_AHEAD_PAGES;
    ULONG64 Low = Page & ~(Grain - 1), High = Low + Grain, First = Page, End = Page + 1;
    ULONG64 Behind = HalpFramesAt(&HalpMachine.Physical, Leaf->Frame);
    while (First > Low && !HalpRunAt(Span, First - 1) && HalpGoesAlong(Leaf, (LONG64)(First - 1 - Page), Protection) &&
           HalpFramesAt(&HalpMachine.Physical, Leaf->Frame - (Page - First) - 1) == Behind + (Page - First) + 1) {
        First--;
    }
    while (End < High && !HalpRunAt(Span, End) && End - Page < Behind &&
           HalpGoesAlong(Leaf, (LONG64)(End - Page), Protection)) {
        End++;
    }
    HalpMap(First, Leaf->Frame - (Page - First), End - First, Protection, FALSE);
    HalpRecord(Span, First, Leaf->Frame - (Page - First), End - First, Protection, FALSE);
}

BOOLEAN HalpTbFault(ULONG_PTR Va, ULONG Access, ULONG *Error)
{
    HALP_LEAF Leaf;
    ULONG64 Page = Va >> 12;
    HALP_SPAN *Span = HalpSpanOf(Page);
    if (!Span) {
        return FALSE;
    }
    HalpAcquire(&HalpTb.Lock);
    HalpTb.Statistics.Faults++;
    if (!HalpWalk(&HalpMachine.Physical, HalpRootOfThread(Va), Va, Access, TRUE, &Leaf, Error)) {
        HalpRelease(&HalpTb.Lock);
        return FALSE;
    }
    UCHAR Protection = HalpProtection(&Leaf, Leaf.Entry);
    HalpReserve(3);
    ULONG Run = HalpRunAt(Span, Page);
    if ((Protection & PROT_REVOCABLE) && HalpDenyRevocable && !(Run && HalpTb.Runs[Run].Pinned)) {
        HalpRelease(&HalpTb.Lock);
        *Error = Access & HALP_ACCESS_MASK;
        return FALSE;
    }
    if (!Run) {
        HalpFillAround(Span, Page, &Leaf, Protection);
    } else {
        HALP_RUN *R = &HalpTb.Runs[Run];
        UCHAR Needed =
            (UCHAR)(PROT_READ | ((Access & HALP_FAULT_WRITE) ? PROT_WRITE : 0) | ((Access & HALP_FAULT_FETCH) ? PROT_EXEC : 0));
        if ((R->Protection & Needed) != Needed) {
            BOOLEAN Pinned = R->Pinned;
            Protection &= (UCHAR)(Pinned ? ~PROT_REVOCABLE : 0xFF);
            BOOLEAN Same = R->Frame + (Page - R->Page) == Leaf.Frame;
            if (!Same || HalpFailed(HalpMprotect(Page << 12, HAL_PAGE_SIZE, Protection & ~PROT_REVOCABLE))) {
                HalpMap(Page, Leaf.Frame, 1, Protection, FALSE);
            }
            Run = HalpRunAt(Span, Page);
            if (Run) {
                HalpCarve(Span, Run, Page, 1);
            }
            HalpRecord(Span, Page, Leaf.Frame, 1, Protection, Pinned);
        } /* else another thread filled it while this one was on its way here */
    }
    HalpRelease(&HalpTb.Lock);
    return TRUE;
}

/* ---- the contract's calls ---- */
/* Forgets what is cached in a stretch of one span, keeping (if asked) pinned runs whose tables still agree.
 * Consecutive runs go with one call to the host. */
static VOID HalpFlushSpan(HALP_SPAN *Span, ULONG64 Page, ULONG64 Count, BOOLEAN KeepPinned, const volatile LONG64 *Live)
{
    ULONG64 End = Page + Count, From = 0, To = 0; /* what is to be unmapped */
    while (Page < End && *Live != 0) {
        ULONG64 Index = Page - Span->First;
        if (Index % BLOCK_PAGES == 0 && Span->Filled[Index / BLOCK_PAGES] == 0) {
            Page += BLOCK_PAGES;
            continue;
        }
        ULONG Run = Span->Slot[Index];
        if (!Run) {
            Page++;
            continue;
        }
        HALP_RUN *R = &HalpTb.Runs[Run];
        ULONG64 Stop = R->Page + R->Count < End ? R->Page + R->Count : End;
        if (KeepPinned && R->Pinned) {
            HALP_LEAF Leaf;
            ULONG Error;
            ULONG64 Good = Page;
            while (Good < Stop &&
                   HalpWalk(&HalpMachine.Physical, HalpRootOfPage(Span, Good), Good << 12, 0, FALSE, &Leaf, &Error) &&
                   Leaf.Frame == R->Frame + (Good - R->Page) &&
                   (HalpProtection(&Leaf, Leaf.Entry) & R->Protection) == R->Protection) {
                Good++;
            }
            if (Good > Page) {
                if (To != 0) {
                    HalpUnmap(From, To - From);
                    From = To = 0;
                }
                Page = Good;
                continue;
            }
            Stop = Page + 1;
        }
        if (To == 0) {
            From = Page;
        }
        To = Stop;
        HalpTb.Statistics.FlushedPages += Stop - Page;
        HalpCarve(Span, Run, Page, Stop - Page);
        Page = Stop;
    }
    if (To != 0) {
        HalpUnmap(From, To - From);
    }
}
static VOID HalpFlushRange(ULONG_PTR Va, SIZE_T Pages, BOOLEAN KeepPinned)
{
    ULONG64 Page = Va >> 12, End = Page + Pages;
    if (End < Page) {
        End = ~0ull;
    }
    for (ULONG i = 0; i < 2; i++) {
        HALP_SPAN *Span = &HalpTb.Span[i];
        ULONG64 Low = Page > Span->First ? Page : Span->First;
        ULONG64 High = End < Span->First + Span->Pages ? End : Span->First + Span->Pages;
        if (Low < High) {
            HalpFlushSpan(Span, Low, High - Low, KeepPinned, (const volatile LONG64 *)&Span->LivePages);
        }
    }
}

VOID HalFlushTb(PVOID Va, SIZE_T Pages)
{
    HalpAcquire(&HalpTb.Lock);
    HalpTb.Statistics.Flushes++;
    HalpReserve(1); /* the middle of a run may go */
    HalpFlushRange((ULONG_PTR)Va, Pages, FALSE);
    HalpRelease(&HalpTb.Lock);
}

VOID HalFlushEntireTb(VOID)
{
    HalpAcquire(&HalpTb.Lock);
    HalpTb.Statistics.Flushes++;
    HalpFlushRange(0, ~0ull, TRUE);
    HalpRelease(&HalpTb.Lock);
}

ULONG64 HalRevokeTb(VOID)
{
    ULONG64 From = 0, To = 0, Pages = 0;
    ULONG Run;
    if (__atomic_load_n(&HalpTb.Revocable, __ATOMIC_ACQUIRE) == 0) {
        return 0;
    }
    HalpAcquire(&HalpTb.Lock);
    HalpTb.Statistics.Flushes++;
    /* Runs filled one after the other tend to be neighbours, the newest first: they go with one call to the host. */
    while ((Run = HalpTb.Revocable) != 0) {
        HALP_RUN R = HalpTb.Runs[Run];
        if (R.Page + R.Count == From) {
            From = R.Page;
        } else if (R.Page == To) {
            To += R.Count;
        } else {
            if (To != 0) {
                HalpUnmap(From, To - From);
            }
            /* Unmapping may evict: the run at hand is then the first one still, or is gone. */
            if (HalpTb.Revocable != Run) {
                From = To = 0;
                continue;
            }
            From = R.Page;
            To = R.Page + R.Count;
        }
        Pages += R.Count;
        HalpTb.Statistics.FlushedPages += R.Count;
        HalpCarve(HalpSpanOf(R.Page), Run, R.Page, R.Count);
    }
    if (To != 0) {
        HalpUnmap(From, To - From);
    }
    HalpRelease(&HalpTb.Lock);
    return Pages;
}

VOID HalSetRootTable(PFN_NUMBER Root)
{
    HalpAcquire(&HalpTb.Lock);
    HalpTb.Root = Root;
    HalpFlushRange(HalFacts.UserBase, (HalFacts.UserEnd - HalFacts.UserBase) >> 12, FALSE);
    HalpRelease(&HalpTb.Lock);
}

/* ---- address spaces ---- */
static VOID HalpDropSpace(PHAL_ADDRESS_SPACE Space)
{
    HalpAcquire(&HalpTb.Lock);
    if (Space->Running == 0 && Space->Cached != 0) { /* a thread that came meanwhile may keep them */
        HalpTb.Statistics.Flushes++;
        HalpReserve(1);
        HalpFlushSpan(&HalpTb.Span[0], Space->Low >> 12, (Space->High - Space->Low) >> 12, FALSE, &Space->Cached);
    }
    HalpRelease(&HalpTb.Lock);
}

/* Forgets the translations of every space but one. Those who run there fault them in again. */
static VOID HalpDropOthers(PHAL_ADDRESS_SPACE Space)
{
    ULONG64 Parts = HalpTb.Span[0].Pages / GIB_PAGES;
    HalpAcquire(&HalpTb.Lock);
    for (ULONG64 i = 0; i < Parts;) {
        PHAL_ADDRESS_SPACE Other = HalpTb.Owner[i];
        if (Other && Other != Space && Other->Cached != 0) {
            HalpTb.Statistics.Flushes++;
            HalpReserve(1);
            HalpFlushSpan(&HalpTb.Span[0], Other->Low >> 12, (Other->High - Other->Low) >> 12, FALSE, &Other->Cached);
        }
        i = Other ? (Other->High - HalFacts.UserBase) >> 30 : i + 1;
    }
    HalpRelease(&HalpTb.Lock);
}

static VOID HalpSetOwner(PHAL_ADDRESS_SPACE Space, PHAL_ADDRESS_SPACE Owner)
{
    HalpAcquire(&HalpTb.Lock);
    for (ULONG64 i = (Space->Low - HalFacts.UserBase) >> 30; i < (Space->High - HalFacts.UserBase) >> 30; i++) {
        HalpTb.Owner[i] = Owner;
    }
    HalpRelease(&HalpTb.Lock);
}

VOID HalAddAddressSpace(PHAL_ADDRESS_SPACE Space)
{
    Space->Running = 0;
    Space->Cached = 0;
    HalFlushTb((PVOID)Space->Low, (Space->High - Space->Low) >> 12);
    HalpSetOwner(Space, Space);
}

VOID HalRemoveAddressSpace(PHAL_ADDRESS_SPACE Space)
{
    HalpDropSpace(Space);
    HalpSetOwner(Space, NULL);
}

VOID HalActivateAddressSpace(PHAL_ADDRESS_SPACE Space)
{
    PHAL_ADDRESS_SPACE Old = HalpThread.Space;
    if (Old == Space) {
        return;
    }
    if (Space) {
        __atomic_add_fetch(&Space->Running, 1, __ATOMIC_SEQ_CST);
    }
    HalpThread.Space = Space;
    if (Old && __atomic_sub_fetch(&Old->Running, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&Old->Cached, __ATOMIC_RELAXED) != 0) {
        HalpDropSpace(Old);
    }
    if (Space && Space->Sweeps &&
        __atomic_load_n(&HalpTb.Span[0].LivePages, __ATOMIC_RELAXED) !=
            (ULONG64)__atomic_load_n(&Space->Cached, __ATOMIC_RELAXED)) {
        HalpDropOthers(Space);
    }
}

/* One run of a fill: the pages from Page on, before End, that are contiguous and protected alike. Count 0:
 * not present. */
static ULONG64 HalpMeasure(ULONG64 Page, ULONG64 End, BOOLEAN Pinned, BOOLEAN Mark, PFN_NUMBER *Frame, UCHAR *Protection)
{
    ULONG64 At = Page;
    for (; At < End; At++) {
        HALP_LEAF Leaf;
        ULONG Error;
        if (!HalpWalk(&HalpMachine.Physical, HalpRootOfThread(At << 12), At << 12, 0, Mark, &Leaf, &Error)) {
            break;
        }
        if (Pinned && Leaf.UpperWrite && (Leaf.Entry & HALP_PTE_WRITE)) {
            if (Mark &&
                !HalpWalk(&HalpMachine.Physical, HalpRootOfThread(At << 12), At << 12, HALP_FAULT_WRITE, TRUE, &Leaf, &Error)) {
                break;
            }
            Leaf.Entry |= HALP_PTE_DIRTY;
        }
        UCHAR This = HalpProtection(&Leaf, Leaf.Entry);
        if (Pinned) {
            This &= (UCHAR)~PROT_REVOCABLE;
        } else if ((This & PROT_REVOCABLE) && HalpDenyRevocable) {
            break; /* a hint that comes at the wrong time */
        }
        if (At == Page) {
            *Frame = Leaf.Frame;
            *Protection = This;
        } else if (Leaf.Frame != *Frame + (At - Page) || This != *Protection ||
                   HalpFramesAt(&HalpMachine.Physical, *Frame) <= At - Page) {
            break;
        }
    }
    return At - Page;
}

NTSTATUS HalFillTb(PVOID Va, SIZE_T Pages, ULONG Flags)
{
    ULONG64 Page = (ULONG_PTR)Va >> 12, End = Page + Pages, Count;
    BOOLEAN Pinned = (Flags & HAL_FILL_PINNED) != 0;
    HALP_SPAN *Span = HalpSpanOf(Page);
    NTSTATUS Status = STATUS_SUCCESS;
    PFN_NUMBER Frame = 0;
    UCHAR Protection = 0;
    ULONG Budget = HalpTb.Limit / 4; /* a hint does not empty the cache for its own sake */
    if (Pages == 0) {
        return STATUS_SUCCESS;
    }
    if (!Span || End < Page || End > Span->First + Span->Pages) {
        return STATUS_INVALID_ADDRESS;
    }
    HalpAcquire(&HalpTb.Lock);
    if (Pinned) {
        ULONG Needed = 0;
        for (ULONG64 At = Page; At < End; At += Count, Needed++) {
            Count = HalpMeasure(At, End, TRUE, FALSE, &Frame, &Protection);
            if (Count == 0) {
                Status = STATUS_INVALID_ADDRESS;
                goto Done;
            }
        }
        if (HalpTb.PinnedRuns + Needed > HalpTb.Limit / 4 * 3 || !HalpReserve(Needed + 2)) {
            Status = STATUS_NO_MEMORY;
            goto Done;
        }
    }
    while (Page < End && (Pinned || Budget-- != 0)) {
        Count = HalpMeasure(Page, End, Pinned, TRUE, &Frame, &Protection);
        if (Count == 0) {
            if (Pinned) {
                Status = STATUS_INVALID_ADDRESS; /* the tables changed under us */
                break;
            }
            Page++;
            continue;
        }
        ULONG Run;
        if (!Pinned) {
            /* What is cached stays: only the gaps are filled. */
            ULONG64 Free = 0;
            while (Free < Count && !HalpRunAt(Span, Page + Free)) {
                Free++;
            }
            if (Free == 0) {
                Page++;
                Budget++;
                continue;
            }
            Count = Free;
            HalpReserve(2);
        }
        HalpMap(Page, Frame, Count, Protection, (Flags & HAL_FILL_WANTED) != 0);
        for (ULONG64 At = Page; Pinned && At < Page + Count; At++) {
            Run = HalpRunAt(Span, At);
            if (Run) {
                ULONG64 Stop = HalpTb.Runs[Run].Page + HalpTb.Runs[Run].Count;
                Stop = Stop < Page + Count ? Stop : Page + Count;
                HalpCarve(Span, Run, At, Stop - At);
                At = Stop - 1;
            }
        }
        HalpRecord(Span, Page, Frame, Count, Protection, Pinned);
        Page += Count;
    }
Done:
    HalpRelease(&HalpTb.Lock);
    return Status;
}

BOOLEAN HalTranslate(ULONG_PTR Va, PHYSICAL_ADDRESS *Physical)
{
    HALP_LEAF Leaf;
    ULONG Error;
    if (!HalpIsOurs(Va) || !HalpWalk(&HalpMachine.Physical, HalpRootOfThread(Va), Va, 0, FALSE, &Leaf, &Error)) {
        return FALSE;
    }
    Physical->QuadPart = (LONGLONG)((Leaf.Frame << 12) | (Va & 0xFFF));
    return TRUE;
}

VOID HalQueryTb(HAL_TB_STATISTICS *Statistics)
{
    HalpAcquire(&HalpTb.Lock);
    *Statistics = HalpTb.Statistics;
    HalpRelease(&HalpTb.Lock);
}

/* ---- start, stop, validation ---- */
NTSTATUS HalpStartTb(ULONG Entries)
{
    const ULONG_PTR Base[2] = {HalFacts.UserBase, HalFacts.SystemBase}, End[2] = {HalFacts.UserEnd, HalFacts.SystemEnd};
    CHAR Text[24] = {0};
    ULONG64 Maximum = 65530;
    LONG64 File =
        HalpSyscall(SYS_openat, (ULONG64)AT_FDCWD, (ULONG64) "/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (!HalpFailed(File)) {
        LONG64 Length = HalpSyscall(SYS_read, (ULONG64)File, (ULONG64)Text, sizeof(Text), 0, 0, 0);
        if (!HalpFailed(Length) && Length > 0) {
            Maximum = 0;
            for (LONG64 i = 0; i < Length && Text[i] >= '0' && Text[i] <= '9'; i++) {
                Maximum = Maximum * 10 + (ULONG64)(Text[i] - '0');
            }
        }
        HalpSyscall(SYS_close, (ULONG64)File, 0, 0, 0, 0, 0);
    }
    ULONG64 Limit = Maximum > 8192 + 2 * 64 ? (Maximum - 8192) / 2 : 64;
    Limit = Limit < 32768 ? Limit : 32768;
    if (Entries != 0 && Entries < Limit) {
        Limit = Entries < 16 ? 16 : Entries;
    }
    __builtin_memset(&HalpTb, 0, sizeof(HalpTb));
    HalpTb.Limit = (ULONG)Limit;
    HalpTb.Capacity = (ULONG)Limit + SPARE_RUNS;
    HalpTb.Fresh = 1;
    HalpTb.Runs = HalpTable((ULONG64)HalpTb.Capacity * sizeof(HALP_RUN));
    HalpTb.Backed = (PUCHAR)HalpTable((HalpMachine.WindowBytes >> 15) + 1);
    HalpTb.Owner = HalpTable(((HalFacts.UserEnd - HalFacts.UserBase) >> 30) * sizeof(PHAL_ADDRESS_SPACE) + 1);
    BOOLEAN Good = HalpTb.Runs != NULL && HalpTb.Backed != NULL && HalpTb.Owner != NULL;
    for (ULONG i = 0; i < 2; i++) {
        HALP_SPAN *Span = &HalpTb.Span[i];
        Span->First = Base[i] >> 12;
        Span->Pages = (End[i] - Base[i]) >> 12;
        if (Span->Pages != 0) {
            Span->Slot = HalpTable(Span->Pages * sizeof(ULONG));
            Span->Filled = HalpTable(Span->Pages / BLOCK_PAGES * sizeof(USHORT));
            Good = Good && Span->Slot && Span->Filled;
        }
    }
    HalFacts.TlbEntries = (ULONG)Limit;
    if (!Good) {
        HalpStopTb();
        return STATUS_NO_MEMORY;
    }
    return STATUS_SUCCESS;
}

VOID HalpStopTb(VOID)
{
    if (HalpTb.Anchor) {
        HalpMunmap(HalpTb.Anchor << 12, 1 << 12);
    }
    for (ULONG i = 0; i < 2; i++) {
        HALP_SPAN *Span = &HalpTb.Span[i];
        if (Span->LivePages != 0) {
            HalpMunmap(Span->First << 12, Span->Pages << 12);
        }
        if (Span->Slot) {
            HalpMunmap((ULONG64)Span->Slot, Span->Pages * sizeof(ULONG));
        }
        if (Span->Filled) {
            HalpMunmap((ULONG64)Span->Filled, Span->Pages / BLOCK_PAGES * sizeof(USHORT));
        }
    }
    if (HalpTb.Owner) {
        HalpMunmap((ULONG64)HalpTb.Owner, ((HalFacts.UserEnd - HalFacts.UserBase) >> 30) * sizeof(PHAL_ADDRESS_SPACE) + 1);
    }
    if (HalpTb.Backed) {
        HalpMunmap((ULONG64)HalpTb.Backed, (HalpMachine.WindowBytes >> 15) + 1);
    }
    if (HalpTb.Runs) {
        HalpMunmap((ULONG64)HalpTb.Runs, (ULONG64)HalpTb.Capacity * sizeof(HALP_RUN));
    }
    __builtin_memset(&HalpTb, 0, sizeof(HalpTb));
}

const CHAR *HalpValidateTb(VOID)
{
    const CHAR *Broken = NULL;
    ULONG64 Pages = 0, SlotPages = 0, Chained = 0, Live = 0, Unpinned = 0, Revocable = 0;
    HalpAcquire(&HalpTb.Lock);
    for (ULONG i = 1; i < HalpTb.Fresh; i++) {
        HALP_RUN *R = &HalpTb.Runs[i];
        if (!R->Live) {
            continue;
        }
        Live++;
        Unpinned += !R->Pinned;
        Revocable += (R->Protection & PROT_REVOCABLE) != 0;
        if (R->Pinned && (R->Protection & PROT_REVOCABLE)) {
            Broken = "tlb 4b: a pinned run is revocable";
        }
        Pages += R->Count;
        HALP_SPAN *Span = HalpSpanOf(R->Page);
        for (ULONG64 Page = R->Page; Page < R->Page + R->Count; Page++) {
            if (!Span || HalpRunAt(Span, Page) != i) {
                Broken = "tlb 1: a page of a live run is not recorded in its slot";
            }
        }
    }
    for (ULONG i = 0; i < 2; i++) {
        HALP_SPAN *Span = &HalpTb.Span[i];
        for (ULONG64 Block = 0; Block < Span->Pages / BLOCK_PAGES; Block++) {
            ULONG Count = 0;
            if (Span->Filled[Block] == 0) {
                continue; /* slots that stand without being counted show in SlotPages */
            }
            for (ULONG j = 0; j < BLOCK_PAGES; j++) {
                Count += Span->Slot[Block * BLOCK_PAGES + j] != 0;
            }
            SlotPages += Count;
            if (Count != Span->Filled[Block]) {
                Broken = "tlb 1: Filled does not count the slots of its block";
            }
        }
    }
    for (ULONG64 i = 0; i < HalpTb.Span[0].Pages / GIB_PAGES; i++) {
        PHAL_ADDRESS_SPACE Space = HalpTb.Owner[i];
        LONG64 Cached = 0;
        if (Space == NULL || Space->Low != HalFacts.UserBase + (i << 30)) {
            continue;
        }
        for (ULONG64 j = i * (GIB_PAGES / BLOCK_PAGES); j < ((Space->High - HalFacts.UserBase) >> 21); j++) {
            Cached += HalpTb.Span[0].Filled[j];
        }
        if (Cached != Space->Cached) {
            Broken = "tlb 6: a space's cached pages are miscounted";
        } else if (Cached != 0 && Space->Running == 0) {
            Broken = "tlb 6: a space that no thread is in has cached translations";
        }
    }
    for (ULONG Run = HalpTb.Oldest; Run; Run = HalpTb.Runs[Run].Next) {
        Chained++;
        if (!HalpTb.Runs[Run].Live || HalpTb.Runs[Run].Pinned) {
            Broken = "tlb 4: a dead or pinned run is on the chain";
        }
    }
    for (ULONG Run = HalpTb.Revocable; Run; Run = HalpTb.Runs[Run].RevocableNext) {
        Revocable--;
        if (!HalpTb.Runs[Run].Live || !(HalpTb.Runs[Run].Protection & PROT_REVOCABLE)) {
            Broken = "tlb 4b: a dead or lasting run is on the revocable chain";
        }
    }
    if (Revocable != 0) {
        Broken = "tlb 4b: the revocable chain misses a run";
    }
    if (Pages != SlotPages || SlotPages != HalpTb.Span[0].LivePages + HalpTb.Span[1].LivePages) {
        Broken = "tlb 1: pages of runs, slots and counts differ";
    } else if (Live != HalpTb.Live || Live - Unpinned != HalpTb.PinnedRuns) {
        Broken = "tlb 3: live or pinned runs are miscounted";
    } else if (Live > HalpTb.Limit && HalpTb.PinnedRuns == 0) {
        Broken = "tlb 3: more runs than the bound";
    } else if (Chained != Unpinned) {
        Broken = "tlb 4: the chain misses a run";
    }
    HalpRelease(&HalpTb.Lock);
    return Broken;
}
