/*
 * discard.c - contents that nobody needs any more, in memory that stays promised. SPDX-License-Identifier: MIT
 *
 * A committed page whose contents may go becomes a demand-zero page again: its frame is free and its slot in a page file given
 * back, its charge is kept. The dead part of a kernel stack goes that way (stackswap.c).
 *
 * MEM_RESET lets contents go only when their frames are wanted. Documented: the data is of no interest any more, so the pages are not
 * written to the page file, and their memory may be zeroed; writing to them makes them of interest again. Such a page is standby, and
 * what it was remembered as (OriginalPte) is a demand-zero entry with a mark. MEM_RESET_UNDO: "if the function succeeds, all data is
 * intact"; it makes the pages modified again, and fails if it meets a mark in an entry.
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

/* ---- MEM_RESET ---- */
/* For each page of the range that has a frame or a mark: what to do with it. PteLock and PfnLock held. FALSE: its contents are gone. */
typedef BOOLEAN MI_RESET_VISIT(PMMPTE Pte, MMPTE Entry);

static BOOLEAN MiVisitPages(ULONG_PTR Va, SIZE_T Pages, MI_RESET_VISIT *Visit)
{
    BOOLEAN Good = TRUE;
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
            Good = (BOOLEAN)(Visit(Pte + Index, MiReadPte(Pte + Index)) && Good);
        }
        KiReleaseLock(&MiState->PfnLock);
        KiReleaseLock(MiPteLock(At));
    }
    return Good;
}

static BOOLEAN MiResetOne(PMMPTE Pte, MMPTE Entry)
{
    UNREFERENCED_PARAMETER(Pte);
    if (MiPteIsTransition(Entry)) {
        PMMPFN Pfn = MiPfn(MiPtePage(Entry));
        if (Pfn->State == MiPageModified || Pfn->State == MiPageStandby) {
            MiSetLostLocked(MiPtePage(Entry), Pfn, TRUE);
        }
    }
    return TRUE;
}

static BOOLEAN MiUndoOne(PMMPTE Pte, MMPTE Entry)
{
    if (MiPteIsValid(Entry) || MiPteIsTransition(Entry)) {
        PMMPFN Pfn = MiPfn(MiPtePage(Entry));
        if (Pfn && MiPteIsLost(Pfn->OriginalPte)) {
            MiSetLostLocked(MiPtePage(Entry), Pfn, FALSE);
        }
        return TRUE;
    }
    if (MiPteIsLost(Entry)) {
        MiWritePte(Pte, MiPteDemandZero(MiPteProtection(Entry)));
        return FALSE;
    }
    return TRUE;
}

VOID MiResetPages(ULONG_PTR Va, SIZE_T Pages)
{
    (VOID) MiTrimPages(Va, Pages);
    (VOID) MiVisitPages(Va, Pages, MiResetOne);
}

BOOLEAN MiUndoReset(ULONG_PTR Va, SIZE_T Pages)
{
    return MiVisitPages(Va, Pages, MiUndoOne);
}
