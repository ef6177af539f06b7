/*
 * discard.c - contents that nobody needs any more, in memory that stays promised. SPDX-License-Identifier: MIT
 *
 * A committed page whose contents may go becomes a demand-zero page again: its frame is free and its slot in a page file given
 * back, its charge is kept. The dead part of a kernel stack goes that way (stackswap.c).
 *
 * Only pages that no entry maps go, which is what MiTrimPages leaves: a valid page, one that is locked or in I/O, and one
 * of a section keep their contents. A page of zeroes is what the next touch finds, or the old contents; nothing between.
 *
 * Locks: PteLocks, PfnLock inside.
 */
#include "mm/mi.h"

/* PteLock and PfnLock held. */
static BOOLEAN MiDiscardEntry(PMMPTE Pte, MMPTE Entry)
{
    MI_PROT Protection = MiPteProtection(Entry);
    if (MiPteIsPageFile(Entry)) {
        MiReleaseSlots(MiSlotOfPte(Entry), 1);
    } else {
        PMMPFN Pfn = MiPfn(MiPtePage(Entry));
        if (Pfn->ReferenceCount != 0 || Pfn->State == MiPageActive) {
            return FALSE;
        }
        (VOID) MiDeleteFrameLocked(MiPtePage(Entry), Pfn);
    }
    MiWritePte(Pte, MiPteDemandZero(Protection));
    return TRUE;
}

ULONG64 MiDiscardPages(ULONG_PTR Va, SIZE_T Pages)
{
    ULONG64 Gone = 0;
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At);
        Piece = Pages - Done < Piece ? (ULONG)(Pages - Done) : Piece;
        Done += Piece;
        if (Pte == NULL) {
            continue;
        }
        KiAcquireLock(MiPteLock(At));
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Piece; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            if (MiPteIsTransition(Entry) || MiPteIsPageFile(Entry)) {
                Gone += MiDiscardEntry(Pte + Index, Entry);
            }
        }
        KiReleaseLock(&MiState->PfnLock);
        KiReleaseLock(MiPteLock(At));
    }
    if (Gone) {
        MiPagesBecameAvailable();
    }
    return Gone;
}
