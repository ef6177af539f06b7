/*
 * pages.c - mm.h's runs of pages for the pools, directly addressed, over private memory of the process.
 * SPDX-License-Identifier: MIT
 *
 * Two regions, one for pool and one for the pools' own records, each a stretch of addresses reserved at start (the options'
 * ram=) and opened from the front as it grows. A page is a page of the host: backed when touched, zero when fresh, copied
 * on write after a fork. What is freed is given back to the host at once (the pools above keep what they will want again),
 * so every page that is handed out is zero or, within a run that was not freed, the caller's.
 *
 *     Base        runs in use and free extents ...        Top          Opened            End
 *     |####|....|###########|..|#####################|....|  accessible  |  reserved only  |
 *
 * A free extent is described beside the region, in Extents[page], at its first and its last page: its length, and links of
 * the bin it is in. Bins are exact up to 32 pages and quarters of powers of two beyond; a bit per bin that is not empty.
 * Allocation takes the best bin's first extent that is long enough and gives its tail back; free joins with both
 * neighbours. So neither searches.
 *
 * Invariants: 1. a page is in a run, in exactly one free extent, or at or above Top; 2. two free extents never touch, nor
 * does one touch Top; 3. Extents of pages that neither begin nor end a free extent are not read, those that border one
 * have Count 0; 4. pages of free extents and above Top are zero.
 *
 * Lock: PagesLock, innermost; not held across the host's calls that give memory back.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include "hal/linux/sys.h"
#include "preload/preload.h"

#define OPEN_STEP  ((SIZE_T)32 << 20)
#define EXACT_BINS 32u
#define BINS       128u
#define NO_PAGE    0xFFFFFFFFu

typedef struct _EXTENT {
    ULONG Count; /* at the first and the last page of a free extent; 0: not free */
    ULONG Next, Prev;
} EXTENT;

typedef struct _REGION {
    MM_REGION Id;
    const CHAR *Name;
    ULONG_PTR Base;
    ULONG Pages, Top, Opened; /* pages: reserved, ever in use, accessible */
    EXTENT *Extents;
    ULONG64 InUse, Peak, Failures;
    ULONG64 Full[BINS / 64];
    ULONG Bins[BINS];
} REGION;

SIZE_T PreloadLimit = (SIZE_T)1 << 46;
static KI_LOCK PagesLock;
static REGION Regions[2] = {{.Id = MmRegionNonPagedPool, .Name = "nonpaged pool"},
                            {.Id = MmRegionSystemData, .Name = "system data"}};

static PVOID MapNothing(SIZE_T Bytes, int Protection)
{
    LONG64 Va = HalpMmap(0, Bytes, Protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return HalpFailed(Va) ? NULL : (PVOID)Va;
}

static BOOLEAN Protect(PVOID Va, SIZE_T Bytes, int Protection)
{
    return HalpMprotect((ULONG64)Va, Bytes, Protection) == 0;
}

static VOID GiveBack(PVOID Va, SIZE_T Pages)
{
    HalpSyscall3(SYS_madvise, (ULONG64)Va, Pages << PAGE_SHIFT, MADV_DONTNEED);
}

static BOOLEAN StartRegion(REGION *Region, ULONG64 Bytes)
{
    for (; Bytes >= 16 << 20; Bytes /= 2) {
        PVOID Va = MapNothing(Bytes, PROT_NONE);
        if (Va == NULL)
            continue; /* a limit of address space: less will do */
        Region->Extents = MapNothing((Bytes >> PAGE_SHIFT) * sizeof(EXTENT), PROT_READ | PROT_WRITE);
        if (Region->Extents == NULL) {
            HalpMunmap((ULONG64)Va, Bytes);
            continue;
        }
        Region->Base = (ULONG_PTR)Va;
        Region->Pages = (ULONG)(Bytes >> PAGE_SHIFT);
        for (ULONG Bin = 0; Bin < BINS; Bin++)
            Region->Bins[Bin] = NO_PAGE;
        return TRUE;
    }
    return FALSE;
}

BOOLEAN PreloadStartPages(VOID)
{
    ULONG64 Bytes = (PreloadOptions.Ram + OPEN_STEP - 1) / OPEN_STEP * OPEN_STEP;
    /* records take a few per cent of the pool, and a word of page map per page; leave room for blocks of 16 bytes */
    if (!StartRegion(&Regions[0], Bytes) || !StartRegion(&Regions[1], Bytes / 2 + (64 << 20)))
        return FALSE;
    PreloadLimit = (SIZE_T)Regions[0].Pages << PAGE_SHIFT;
    return TRUE;
}

/* ---- bins ---- */
static ULONG BinOf(ULONG Count)
{
    ULONG Log;
    if (Count <= EXACT_BINS)
        return Count - 1;
    Log = 31 - (ULONG)__builtin_clz(Count);
    return EXACT_BINS + (Log - 5) * 4 + ((Count >> (Log - 2)) & 3);
}

static VOID Insert(REGION *Region, ULONG First, ULONG Count)
{
    ULONG Bin = BinOf(Count);
    EXTENT *Extent = &Region->Extents[First];
    Region->Extents[First + Count - 1].Count = Count;
    *Extent = (EXTENT){Count, Region->Bins[Bin], NO_PAGE};
    if (Extent->Next != NO_PAGE)
        Region->Extents[Extent->Next].Prev = First;
    Region->Bins[Bin] = First;
    Region->Full[Bin / 64] |= 1ull << (Bin % 64);
}

static VOID Remove(REGION *Region, ULONG First)
{
    EXTENT *Extent = &Region->Extents[First];
    ULONG Count = Extent->Count, Bin = BinOf(Count);
    if (Extent->Next != NO_PAGE)
        Region->Extents[Extent->Next].Prev = Extent->Prev;
    if (Extent->Prev != NO_PAGE)
        Region->Extents[Extent->Prev].Next = Extent->Next;
    else if ((Region->Bins[Bin] = Extent->Next) == NO_PAGE)
        Region->Full[Bin / 64] &= ~(1ull << (Bin % 64));
    Region->Extents[First + Count - 1].Count = 0;
    Extent->Count = 0;
}

static ULONG FindExtent(const REGION *Region, ULONG Count)
{
    ULONG Bin = BinOf(Count), Tries = 8, Word;
    for (ULONG At = Region->Bins[Bin]; At != NO_PAGE && Tries-- > 0; At = Region->Extents[At].Next)
        if (Region->Extents[At].Count >= Count)
            return At;
    Bin++;
    for (Word = Bin / 64; Word < BINS / 64; Word++) {
        ULONG64 Bits = Region->Full[Word] & (Word == Bin / 64 ? ~0ull << (Bin % 64) : ~0ull);
        if (Bits != 0)
            return Region->Bins[Word * 64 + (ULONG)__builtin_ctzll(Bits)];
    }
    return NO_PAGE;
}

/* ---- runs ---- */
static BOOLEAN Open(REGION *Region, ULONG Pages)
{
    SIZE_T Bytes = (SIZE_T)(Pages - Region->Opened) << PAGE_SHIFT;
    PVOID At = (PVOID)(Region->Base + ((ULONG_PTR)Region->Opened << PAGE_SHIFT));
    Bytes = (Bytes + OPEN_STEP - 1) / OPEN_STEP * OPEN_STEP;
    if (Bytes > (SIZE_T)(Region->Pages - Region->Opened) << PAGE_SHIFT)
        Bytes = (SIZE_T)(Region->Pages - Region->Opened) << PAGE_SHIFT;
    if (!Protect(At, Bytes, PROT_READ | PROT_WRITE))
        return FALSE;
    Region->Opened += (ULONG)(Bytes >> PAGE_SHIFT);
    return TRUE;
}

static ULONG TakeRun(REGION *Region, ULONG Count)
{
    ULONG First = FindExtent(Region, Count);
    if (First != NO_PAGE) {
        ULONG Length = Region->Extents[First].Count;
        Remove(Region, First);
        if (Length > Count)
            Insert(Region, First + Count, Length - Count);
        return First;
    }
    if (Count > Region->Pages - Region->Top || (Region->Top + Count > Region->Opened && !Open(Region, Region->Top + Count)))
        return NO_PAGE;
    First = Region->Top;
    Region->Top += Count;
    return First;
}

static REGION *RegionOf(ULONG_PTR Va)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(Regions); Index++)
        if (Va - Regions[Index].Base < (ULONG_PTR)Regions[Index].Pages << PAGE_SHIFT)
            return &Regions[Index];
    return NULL;
}

PVOID MmAllocatePages(MM_REGION Id, SIZE_T Pages, ULONG Flags, EX_POOL_PRIORITY Priority)
{
    REGION *Region = Id == MmRegionNonPagedPool ? &Regions[0] : Id == MmRegionSystemData ? &Regions[1] : NULL;
    ULONG First = NO_PAGE;
    UNREFERENCED_PARAMETER(Flags);
    UNREFERENCED_PARAMETER(Priority);
    if (Region == NULL || Pages == 0 || Pages > Region->Pages) {
        errno = ENOMEM;
        return NULL;
    }
    KiAcquireLock(&PagesLock);
    First = TakeRun(Region, (ULONG)Pages);
    if (First != NO_PAGE) {
        Region->InUse += Pages;
        Region->Peak = Region->InUse > Region->Peak ? Region->InUse : Region->Peak;
    } else {
        Region->Failures++;
    }
    KiReleaseLock(&PagesLock);
    if (First == NO_PAGE) {
        errno = ENOMEM;
        return NULL;
    }
    return (PVOID)(Region->Base + ((ULONG_PTR)First << PAGE_SHIFT));
}

VOID MmFreePages(PVOID Address, SIZE_T Pages)
{
    REGION *Region = RegionOf((ULONG_PTR)Address);
    ULONG First = (ULONG)(((ULONG_PTR)Address - Region->Base) >> PAGE_SHIFT), Count = (ULONG)Pages;
    GiveBack(Address, Pages); /* before others can have it */
    KiAcquireLock(&PagesLock);
    Region->InUse -= Pages;
    if (First + Count < Region->Top && Region->Extents[First + Count].Count != 0) {
        ULONG Next = Region->Extents[First + Count].Count;
        Remove(Region, First + Count);
        Count += Next;
    }
    if (First > 0 && Region->Extents[First - 1].Count != 0) {
        ULONG Before = Region->Extents[First - 1].Count;
        Remove(Region, First - Before);
        First -= Before;
        Count += Before;
    }
    if (First + Count == Region->Top)
        Region->Top = First;
    else
        Insert(Region, First, Count);
    KiReleaseLock(&PagesLock);
}

/* A run that was only reserved is accessible all the same: pages come as they are touched. */
NTSTATUS MmCommitPages(PVOID Va, SIZE_T Pages, ULONG Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    return RegionOf((ULONG_PTR)Va) != NULL && Pages != 0 ? STATUS_SUCCESS : STATUS_CONFLICTING_ADDRESSES;
}

VOID MmDecommitPages(PVOID Va, SIZE_T Pages)
{
    GiveBack(Va, Pages);
}

ULONG64 MmDiscardFreePages(ULONG64 Pages)
{
    return Pages; /* they went to the host at once */
}

NTSTATUS MmProtectPages(PVOID Va, SIZE_T Pages, ULONG Protection)
{
    int Host = Protection == PAGE_NOACCESS ? PROT_NONE : PROT_READ | (Protection == PAGE_READONLY ? 0 : PROT_WRITE);
    return Protect(Va, Pages << PAGE_SHIFT, Host) ? STATUS_SUCCESS : STATUS_CONFLICTING_ADDRESSES;
}

VOID MmQueryRegion(MM_REGION Id, MM_REGION_INFO *Info)
{
    const REGION *Region = Id == MmRegionNonPagedPool ? &Regions[0] : Id == MmRegionSystemData ? &Regions[1] : NULL;
    /* Paged pool, which nobody asks for here, is a region of one page that no address is in. */
    *Info = (MM_REGION_INFO){.Region = Id, .Name = "none", .Base = 1ull << 62, .End = (1ull << 62) + PAGE_SIZE};
    if (Region != NULL)
        *Info = (MM_REGION_INFO){.Region = Id,
                                 .Name = Region->Name,
                                 .Base = Region->Base,
                                 .End = Region->Base + ((ULONG_PTR)Region->Pages << PAGE_SHIFT),
                                 .PagesInUse = Region->InUse,
                                 .PeakPages = Region->Peak,
                                 .PageLimit = Region->Pages,
                                 .Failures = Region->Failures};
}

MM_REGION MmRegionOf(const volatile VOID *Va)
{
    const REGION *Region = RegionOf((ULONG_PTR)Va);
    return Region != NULL ? Region->Id : MmRegionNone;
}

VOID PreloadLockPages(BOOLEAN Lock)
{
    if (Lock)
        KiAcquireLock(&PagesLock);
    else
        KiReleaseLock(&PagesLock);
}
