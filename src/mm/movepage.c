/*
 * movepage.c - moving pages out of the way of contiguous memory. SPDX-License-Identifier: MIT
 *
 * A frame whose only user is one pageable entry can be exchanged for another: its contents are copied while the entry is
 * taken away, and the entry then names the new frame. MiMoveAndTake looks for a stretch of frames that are free, in standby, or
 * can be moved, takes what is free of it, moves the rest, and hands the stretch over.
 *
 *      before   | free | A of entry P | standby |  ...  | B free |
 *      after    | ours |     ours     |   ours  |  ...  | B of entry P, with A's contents |
 *
 * Movable: active and in one working set, or on the modified list, or a section's page that no view shows and that is to be written;
 * not locked, not in I/O. Everything else (resident memory, page tables, pages that an MDL or the core holds) ends a stretch. Who shows
 * a section's page is known to the views alone: so where a stretch lacks nothing but such pages, all working sets are trimmed once,
 * and what they showed is then in standby, or can be moved.
 * The order for an active
 * page is that of trimming (workset.c): the entry is exchanged for a transition entry, the TB is flushed, and only then is the
 * page copied, so no write is lost; a fault in between waits for the entry's lock.
 *
 * Locks: the frame's PteLock, then PfnLock. IRQL < DISPATCH_LEVEL. Watch: MiState->MovedPages; tests/ddi/mm_contiguous.c.
 */
#include "mm/mi.h"

#define MI_MOVE_TRIES 8u

#define MI_NOT_MOVABLE                                                                                                         \
    (MI_PFN_TABLE | MI_PFN_COMMIT | MI_PFN_UNMAPPED | MI_PFN_READING | MI_PFN_WRITING | MI_PFN_DELETED | MI_PFN_LOCKED)

/* PfnLock held, for all of these. */
static BOOLEAN MiCanMove(const MMPFN *Pfn)
{
    if ((Pfn->Flags & MI_NOT_MOVABLE) || !(Pfn->Flags & MI_PFN_PAGEABLE) || Pfn->PteAddress == NULL) {
        return FALSE;
    }
    if (Pfn->State == MiPageModified || Pfn->State == MiPageMapped) {
        return (Pfn->Flags & MI_PFN_LISTED) && Pfn->ReferenceCount == 0;
    }
    return Pfn->State == MiPageActive && !(Pfn->Flags & MI_PFN_PROTOTYPE) && Pfn->ReferenceCount == 1 &&
           Pfn->u2.ShareCount == 1;
}

/* Views show it: it could be moved, or be had, once it is trimmed from their working sets. */
static BOOLEAN MiIsShown(const MMPFN *Pfn)
{
    return !(Pfn->Flags & MI_NOT_MOVABLE) && (Pfn->Flags & MI_PFN_PAGEABLE) && (Pfn->Flags & MI_PFN_PROTOTYPE) &&
           Pfn->State == MiPageActive && Pfn->ReferenceCount == 1;
}

/* The frames change places: New, which is ours, gets what Page has. */
static VOID MiExchangeFrames(PFN_NUMBER Page, PFN_NUMBER New)
{
    PMMPFN Old = MiPfn(Page), Fresh = MiPfn(New);
    MI_PAGE_STATE State = Old->State;
    USHORT Kept = Old->Flags & (USHORT)(MI_PFN_MODIFIED | MI_PFN_CACHE | MI_PFN_PROTOTYPE);
    UCHAR File = Old->File;
    Fresh->PteAddress = Old->PteAddress;
    Fresh->OriginalPte = Old->OriginalPte;
    Old->OriginalPte = MI_ZERO_PTE; /* the copy in the page file is New's */
    Fresh->Priority = Old->Priority;
    Fresh->Flags = (USHORT)((Fresh->Flags & ~(MI_PFN_UNMAPPED | MI_PFN_CACHE)) | Kept);
    MiSetPageableLocked(Fresh, TRUE);
    if (State != MiPageActive) { /* a file's pages are counted while they are in use: neither is, when File changes */
        Fresh->u2.ShareCount = 0;
        Fresh->ReferenceCount = 0;
        MiSetPageState(New, Fresh, State);
        Fresh->File = File;
        Old->File = FALSE;
        MiSetPageState(Page, Old, MiPageActive);
        Old->u1.UsedEntries = 0;
        Old->u2.ShareCount = 1;
        Old->ReferenceCount = 1;
    }
    MiSetPageableLocked(Old, FALSE);
    Old->PteAddress = NULL;
    Old->Flags = MI_PFN_UNMAPPED;
    MiState->MovedPages++;
}

/* A section's page that no view shows: nobody can write to it, and its entry changes under PfnLock only. */
static BOOLEAN MiMoveUnseen(PFN_NUMBER Page, PFN_NUMBER New, PMMPTE Prototype)
{
    PMMPFN Pfn = MiPfn(Page);
    KiAcquireLock(MiPrototypeLock(Prototype));
    KiAcquireLock(&MiState->PfnLock);
    BOOLEAN Good = MiCanMove(Pfn) && (Pfn->Flags & MI_PFN_PROTOTYPE) && Pfn->PteAddress == Prototype;
    if (Good) {
        MMPTE Entry = MiReadPte(Prototype);
        memcpy(HalWindow(New), HalWindow(Page), PAGE_SIZE);
        MiExchangeFrames(Page, New);
        MiWritePte(Prototype, MiPteWithPage(Entry, New));
    }
    KiReleaseLock(&MiState->PfnLock);
    KiReleaseLock(MiPrototypeLock(Prototype));
    return Good;
}

/* FALSE: it cannot be moved (any more); nothing has changed then. */
static BOOLEAN MiMovePage(PFN_NUMBER Page, PFN_NUMBER New)
{
    PMMPFN Pfn = MiPfn(Page);
    KiAcquireLock(&MiState->PfnLock);
    PMMPTE Pte = MiCanMove(Pfn) ? Pfn->PteAddress : NULL;
    BOOLEAN Unseen = Pte && (Pfn->Flags & MI_PFN_PROTOTYPE);
    ULONG_PTR Va = Pte && !Unseen ? MiVaOfPte(Pte) : 0;
    KiReleaseLock(&MiState->PfnLock);
    if (Va == 0) {
        return Unseen && MiMoveUnseen(Page, New, Pte);
    }
    KiAcquireLock(MiPteLock(Va));
    KiAcquireLock(&MiState->PfnLock);
    MMPTE Entry = MiReadPte(Pte);
    BOOLEAN Active = Pfn->State == MiPageActive;
    BOOLEAN Good = MiCanMove(Pfn) && !(Pfn->Flags & MI_PFN_PROTOTYPE) && Pfn->PteAddress == Pte && MiVaOfPte(Pte) == Va &&
                   (Active ? MiPteIsValid(Entry) && !MiPteIsLarge(Entry) : MiPteIsTransition(Entry)) &&
                   MiPtePage(Entry) == Page;
    KiReleaseLock(&MiState->PfnLock);
    if (Good && Active) {
        Entry = MiExchangePte(Pte, MiPteTransition(Page, MI_PROT_NOACCESS));
        HalFlushTb((PVOID)Va, 1);
    }
    if (Good) {
        memcpy(HalWindow(New), HalWindow(Page), PAGE_SIZE);
        KiAcquireLock(&MiState->PfnLock);
        Good = MiCanMove(Pfn) && !(Pfn->Flags & MI_PFN_PROTOTYPE) && Pfn->PteAddress == Pte &&
               (Pfn->State == MiPageActive) == Active;
        if (Good) {
            MiExchangeFrames(Page, New);
            MiWritePte(Pte, MiPteWithPage(Entry, New));
        }
        KiReleaseLock(&MiState->PfnLock);
        if (!Good && Active) {
            MiWritePte(Pte, Entry); /* somebody took a reference meanwhile: all is as it was */
        }
    }
    KiReleaseLock(MiPteLock(Va));
    return Good;
}

/* The lowest stretch at or above *Start that might be had, in [*Start, High], with Shown after a trim; FALSE: there is none. */
static BOOLEAN MiFindMovable(PFN_NUMBER *Start, PFN_NUMBER Count, PFN_NUMBER High, PFN_NUMBER Boundary, BOOLEAN Shown)
{
    BOOLEAN Found = FALSE;
    for (ULONG Index = 0; Index < MiState->RunCount && !Found; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        PFN_NUMBER At = *Start < Run->FirstPage ? Run->FirstPage : *Start, End = Run->FirstPage + Run->Managed;
        KiAcquireLock(&MiState->PfnLock);
        while (Run->Managed && At < End && !Found) {
            if (Boundary && At / Boundary != (At + Count - 1) / Boundary) {
                At = (At / Boundary + 1) * Boundary;
            }
            if (At >= End || End - At < Count || At + Count - 1 > High) {
                break;
            }
            PFN_NUMBER Length = 0;
            while (Length < Count) {
                const MMPFN *Pfn = &Run->Pfn[At + Length - Run->FirstPage];
                if (!MiIsToBeHad(Pfn) && !MiCanMove(Pfn) && !(Shown && MiIsShown(Pfn))) {
                    break;
                }
                Length++;
            }
            Found = Length == Count;
            At = Found ? At : At + Length + 1;
        }
        KiReleaseLock(&MiState->PfnLock);
        *Start = Found ? At : *Start;
    }
    return Found;
}

static inline BOOLEAN MiMine(const ULONG64 *Mine, PFN_NUMBER Index)
{
    return (Mine[Index / 64] >> (Index % 64)) & 1;
}
static inline VOID MiMakeMine(ULONG64 *Mine, PFN_NUMBER Index)
{
    Mine[Index / 64] |= 1ull << (Index % 64);
}

/* Takes and moves until the whole stretch is ours. */
static BOOLEAN MiClearStretch(PFN_NUMBER Start, PFN_NUMBER Count, ULONG64 *Mine)
{
    PFN_NUMBER Batch[64], Cursor = 0, New;
    ULONG64 Dirty;
    BOOLEAN Unused;
    memset(Mine, 0, (Count + 63) / 64 * sizeof(*Mine));
    while (Cursor <= Start + Count - 1) {
        ULONG Some = MiTakeInRange(64, Start, Start + Count - 1, &Cursor, Batch, &Dirty);
        for (ULONG Index = 0; Index < Some; Index++) {
            MiMakeMine(Mine, Batch[Index] - Start);
        }
    }
    for (PFN_NUMBER Index = 0; Index < Count; Index++) {
        while (!MiMine(Mine, Index)) {
            if (MiTakeFrames(1, 0, NULL, &New, &Unused) == 0) {
                return FALSE;
            }
            if (New - Start < Count) { /* became free just now, and is wanted itself */
                MiMakeMine(Mine, New - Start);
                continue;
            }
            if (!MiMovePage(Start + Index, New)) {
                (VOID) MiReleaseFrames(New, 1);
                return FALSE;
            }
            MiMakeMine(Mine, Index);
        }
    }
    return TRUE;
}

BOOLEAN MiMoveAndTake(PFN_NUMBER Count, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Boundary, PFN_NUMBER *Base)
{
    PFN_NUMBER Start = Low;
    BOOLEAN Done = FALSE, Trimmed = FALSE;
    if (Count == 0 || (Boundary && Count > Boundary)) {
        return FALSE;
    }
    ULONG64 *Mine = ExAllocatePool2(POOL_FLAG_NON_PAGED, (Count + 63) / 64 * sizeof(*Mine), 'vMmM');
    for (ULONG Try = 0; Mine && !Done && Try < MI_MOVE_TRIES; Try++) {
        if (!MiFindMovable(&Start, Count, High, Boundary, FALSE)) {
            Start = Low;
            if (Trimmed || !MiFindMovable(&Start, Count, High, Boundary, TRUE)) {
                break;
            }
            for (PMMSUPPORT Set = MiNextWorkingSet(NULL); Set; Set = MiNextWorkingSet(Set)) {
                ULONG64 Pages = __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED);
                (VOID) MiTrimBusyWorkingSet(Set, Pages, Pages + 64, MI_AGE_ANY);
            }
            Trimmed = TRUE;
            Start = Low;
            continue;
        }
        Done = MiClearStretch(Start, Count, Mine);
        if (Done) {
            *Base = Start;
            break;
        }
        for (PFN_NUMBER Index = 0; Index < Count; Index++) {
            if (MiMine(Mine, Index)) {
                (VOID) MiReleaseFrames(Start + Index, 1); /* their charge is the block's, and the caller's to return */
            }
        }
        Start++;
    }
    if (Mine) {
        ExFreePoolWithTag(Mine, 'vMmM');
    }
    return Done;
}
