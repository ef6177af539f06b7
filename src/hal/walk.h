/*
 * walk.h - the MMU: one walker of x86-64 page tables, shared by every HAL. SPDX-License-Identifier: MIT
 *
 * It owns the reading of page tables that the core wrote into frames, and the Accessed and Dirty bits that a
 * processor sets there. It implements point 4 of the contract in hal.h; what a HAL caches of the answers is
 * its own affair (the Linux HAL: tlb.c; the scripted double: mmu.c).
 *
 *     63  62..52   51..12   11..9  8  7  6  5  4  3  2  1  0
 *     NX  core's   frame    core's    L  D  A        U  W  P        L: in a level-2 entry, a 2 MiB page
 *
 * What an access may do is the AND of W and U over the levels and the OR of NX. Accesses of the supervisor
 * ignore U (as with SMEP and SMAP off) and obey W (as with CR0.WP set).
 *
 * Invariants
 *  1. Bits are set only after the whole translation is known to be permitted, so a refused write leaves D
 * clear.
 *  2. A bit is set by compare-and-swap of the very entry that was read; if that entry changed, the walk
 * starts again.
 *  3. A frame number that the machine has no memory for is never dereferenced: the walk reports a reserved
 * bit. Locks: none. A HAL that caches the answer holds its own lock over walk and caching (see tlb.c,
 * invariant 2). Tests: tests/hal/mmu.c, over both HALs.
 */
#pragma once
#include <ntdef.h>
#include "hal/hal.h"

#define HALP_PTE_PRESENT  0x1ull
#define HALP_PTE_WRITE    0x2ull
#define HALP_PTE_USER     0x4ull
#define HALP_PTE_ACCESSED 0x20ull
#define HALP_PTE_DIRTY    0x40ull
#define HALP_PTE_LARGE    0x80ull
#define HALP_PTE_NX       (1ull << 63)

/* The page-fault error code's bits; WRITE, USER and FETCH also name an access. */
#define HALP_FAULT_PROTECTION 0x01u
#define HALP_FAULT_WRITE      0x02u
#define HALP_FAULT_USER       0x04u
#define HALP_FAULT_RESERVED   0x08u
#define HALP_FAULT_FETCH      0x10u
#define HALP_ACCESS_MASK      (HALP_FAULT_WRITE | HALP_FAULT_USER | HALP_FAULT_FETCH)

#define HALP_MAX_RUNS 64u

/* The physical address space as a walker sees it. */
typedef struct _HALP_PHYSICAL {
    ULONG_PTR WindowBase;
    ULONG RunCount;
    HAL_RUN Runs[HALP_MAX_RUNS];
} HALP_PHYSICAL;

/* A translation found. */
typedef struct _HALP_LEAF {
    volatile ULONG64 *Table;                /* the table page that holds the leaf */
    ULONG Index;                            /* of the leaf in it */
    ULONG Level;                            /* 1, or 2 for a 2 MiB page */
    ULONG64 Entry;                          /* the leaf as it now is */
    PFN_NUMBER Frame;                       /* of the 4 KiB page asked for */
    BOOLEAN UpperWrite, UpperUser, UpperNx; /* what the levels above the leaf allow */
} HALP_LEAF;

static inline PFN_NUMBER HalpPteFrame(ULONG64 Entry)
{
    return (Entry >> 12) & 0xFFFFFFFFFFull;
}

/* How many frames from Frame on exist in its run; 0: none. */
static inline PFN_NUMBER HalpFramesAt(const HALP_PHYSICAL *Physical, PFN_NUMBER Frame)
{
    for (ULONG i = 0; i < Physical->RunCount; i++) {
        if (Frame - Physical->Runs[i].BasePage < Physical->Runs[i].PageCount) {
            return Physical->Runs[i].BasePage + Physical->Runs[i].PageCount - Frame;
        }
    }
    return 0;
}

/* What of a leaf entry counts with the levels above it: may it be written (now: it is dirty), executed. */
static inline BOOLEAN HalpLeafWritable(const HALP_LEAF *Leaf, ULONG64 Entry)
{
    return Leaf->UpperWrite && (Entry & HALP_PTE_WRITE) && (Entry & HALP_PTE_DIRTY);
}
static inline BOOLEAN HalpLeafExecutable(const HALP_LEAF *Leaf, ULONG64 Entry)
{
    return !Leaf->UpperNx && !(Entry & HALP_PTE_NX);
}

/* Translates Va for an access (HALP_FAULT_WRITE, _USER, _FETCH). Mark: as the processor would, with A and D
 * set. FALSE: *Error is the page-fault error code. */
static inline BOOLEAN HalpWalk(const HALP_PHYSICAL *Physical, PFN_NUMBER Root, ULONG_PTR Va, ULONG Access, BOOLEAN Mark,
                               HALP_LEAF *Leaf, ULONG *Error)
{
    volatile ULONG64 *Slot[5];
    ULONG64 Entry[5];
    ULONG Level;
Again:
    Leaf->UpperWrite = TRUE;
    Leaf->UpperUser = TRUE;
    Leaf->UpperNx = FALSE;
    *Error = Access & HALP_ACCESS_MASK;
    if (Root == 0) {
        return FALSE;
    }
    PFN_NUMBER Frame = Root;
    for (Level = 4;; Level--) {
        if (HalpFramesAt(Physical, Frame) == 0) {
            *Error |= HALP_FAULT_PROTECTION | HALP_FAULT_RESERVED;
            return FALSE;
        }
        Leaf->Table = (volatile ULONG64 *)(Physical->WindowBase + (Frame << 12));
        Leaf->Index = (ULONG)(Va >> (12 + 9 * (Level - 1))) & 511;
        Slot[Level] = Leaf->Table + Leaf->Index;
        Entry[Level] = __atomic_load_n(Slot[Level], __ATOMIC_ACQUIRE);
        if (!(Entry[Level] & HALP_PTE_PRESENT)) {
            return FALSE;
        }
        if (Level == 1 || (Level == 2 && (Entry[Level] & HALP_PTE_LARGE))) {
            break;
        }
        if (Level > 2 && (Entry[Level] & HALP_PTE_LARGE)) {
            *Error |= HALP_FAULT_PROTECTION | HALP_FAULT_RESERVED;
            return FALSE;
        }
        Leaf->UpperWrite &= (Entry[Level] & HALP_PTE_WRITE) != 0;
        Leaf->UpperUser &= (Entry[Level] & HALP_PTE_USER) != 0;
        Leaf->UpperNx |= (Entry[Level] & HALP_PTE_NX) != 0;
        Frame = HalpPteFrame(Entry[Level]);
    }
    Leaf->Level = Level;
    Frame = HalpPteFrame(Entry[Level]);
    if (Level == 2) {
        Frame = (Frame & ~511ull) | ((Va >> 12) & 511);
    }
    Leaf->Frame = Frame;
    if (HalpFramesAt(Physical, Frame) == 0) {
        *Error |= HALP_FAULT_PROTECTION | HALP_FAULT_RESERVED;
        return FALSE;
    }
    if (((Access & HALP_FAULT_WRITE) && !(Leaf->UpperWrite && (Entry[Level] & HALP_PTE_WRITE))) ||
        ((Access & HALP_FAULT_USER) && !(Leaf->UpperUser && (Entry[Level] & HALP_PTE_USER))) ||
        ((Access & HALP_FAULT_FETCH) && !HalpLeafExecutable(Leaf, Entry[Level]))) {
        *Error |= HALP_FAULT_PROTECTION;
        return FALSE;
    }
    if (Mark) {
        for (ULONG At = 4; At >= Level; At--) {
            ULONG64 Want = Entry[At] | HALP_PTE_ACCESSED;
            if (At == Level && (Access & HALP_FAULT_WRITE)) {
                Want |= HALP_PTE_DIRTY;
            }
            if (Want != Entry[At] &&
                !__atomic_compare_exchange_n(Slot[At], &Entry[At], Want, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
                goto Again;
            }
            Entry[At] = Want;
        }
    }
    Leaf->Entry = Entry[Level];
    return TRUE;
}
