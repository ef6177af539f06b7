/*
 * pages.c - runs of pages in the regions: allocate, commit, protect, decommit, free. SPDX-License-Identifier:
 * MIT
 *
 * The layers above build on this: pools, images, stacks, tables. A run goes through
 *
 *      free --MmAllocatePages(RESERVE)--> reserved --MmCommitPages--> committed --MmDecommitPages--> reserved
 * --MmFreePages--> free
 *
 * and most go straight from free to committed and back. Committing a resident page means a frame and a valid
 * entry, with the machine's TB filled for the whole run, so that hot memory is not faulted in page by page.
 * Committing a pageable page means a demand-zero entry and a charge; the fault path does the rest.
 *
 * Taking backing away has three steps, because a frame may be used again only when no TB still shows it:
 *   1. valid entries become transition entries without access (they keep their frame; a touch now is a
 * stray);
 *   2. the TB is flushed for the run;
 *   3. entries become zero, frames go to the free list, and the charge with them.
 * MmProtectPages(PAGE_NOACCESS) is step 1 and 2 alone: the frame stays, and a later protection brings it
 * back.
 *
 * Invariant: a committed page of a resident region has exactly one frame, valid or in transition; see T3 in
 * pte.c. Locks: MI_REGION.Lock inside region.c; PteLocks for pageable regions and for every change of
 * protection.
 */
#include "mm/mi.h"

#define MI_PROTECT_PIECE 64u
#define MI_MOST_WAITS    64u /* for pages, in one allocation */

static VOID MiLockEntries(ULONG_PTR Va)
{
    KiAcquireLock(MiPteLock(Va));
}
static VOID MiUnlockEntries(ULONG_PTR Va)
{
    KiReleaseLock(MiPteLock(Va));
}
static inline ULONG MiPiece(ULONG_PTR Va, SIZE_T Pages)
{
    ULONG Some = MiEntriesToTableEnd(Va);
    return Pages < Some ? (ULONG)Pages : Some;
}

/* Whether it is worth waiting for a page: nonpageable memory may still grow. */
static BOOLEAN MiMayGrow(VOID)
{
    KiAcquireLock(&MiState->PfnLock);
    BOOLEAN May = !MiIsMappedWriter() && /* others wait for it */
                  MiState->NonPageableFrames + MiState->LockedFrames + MiThreshold(LeastPageable) < MiManagedPages();
    KiReleaseLock(&MiState->PfnLock);
    return May;
}

/* Frames behind [Va, Va + Pages), charged already. Returns the pages done: all, or fewer when RAM ran out. */
static SIZE_T MiBackPages(ULONG_PTR Va, SIZE_T Pages, MI_PROT Protection, BOOLEAN User, ULONG Flags)
{
    BOOLEAN Zero = (Flags & MM_PAGES_ZERO) != 0;
    SIZE_T Done = 0;
    ULONG Waits = 0;
    while (Done < Pages) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        PFN_NUMBER Base;
        BOOLEAN Dirty;
        ULONG Got =
            MiTakeFrames(MiPiece(At, Pages - Done), (Zero ? MI_TAKE_ZEROED : 0) | MiTakeNodeOfFlags(Flags), Pte, &Base, &Dirty);
        if (Got == 0) {
            if (!(Flags & MM_PAGES_NODE_ONLY) && Waits++ < MI_MOST_WAITS && MiMayGrow() && MiWaitForPages()) {
                continue;
            }
            break;
        }
        if (Zero && Dirty) {
            HalZeroPages(Base, Got);
        }
        MiCountEntries(Pte, (LONG)Got);
        for (ULONG Index = 0; Index < Got; Index++) {
            MiWritePte(Pte + Index, MiPteValid(Base + Index, Protection, User));
        }
        Done += Got;
    }
    return Done;
}

static VOID MiMakeDemandZero(ULONG_PTR Va, SIZE_T Pages, MMPTE Entry)
{
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiPiece(At, Pages - Done);
        MiLockEntries(At);
        MiCountEntries(Pte, (LONG)Piece);
        for (ULONG Index = 0; Index < Piece; Index++) {
            MiWritePte(Pte + Index, Entry);
        }
        MiUnlockEntries(At);
        Done += Piece;
    }
}

NTSTATUS MiCommit(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages, MI_PROT Protection, ULONG Flags, EX_POOL_PRIORITY Priority)
{
    if (!MiChargeCommitment(Pages, Priority)) {
        return STATUS_COMMITMENT_LIMIT;
    }
    if (!MiMakePageTables(Va, Pages)) {
        MiReturnCommitment(Pages);
        return STATUS_NO_MEMORY;
    }
    if (!Region->Resident) {
        MiMakeDemandZero(Va, Pages, MiPteOnNode(MiPteDemandZero(Protection), Flags >> 16 & 0xFF));
        MiChargeRegion(Region, Pages);
        MiCheckConditions();
        return STATUS_SUCCESS;
    }
    SIZE_T Done = MiBackPages(Va, Pages, Protection, Region->User, Flags);
    MiChargeRegion(Region, Done);
    NTSTATUS Status = STATUS_NO_MEMORY;
    if (Done == Pages) {
        Status = HalFillTb((PVOID)Va, Pages, Flags & MM_PAGES_PINNED ? HAL_FILL_PINNED : 0);
        if (NT_SUCCESS(Status) || !(Flags & MM_PAGES_PINNED)) {
            MiCheckConditions();
            return STATUS_SUCCESS; /* without pinning the fill is a hint */
        }
    }
    MiReturnCommitment(Pages - Done);
    MiDecommit(Region, Va, Done);
    return Status;
}

/* What step 1 found. */
typedef struct _MI_DETACHED {
    ULONG64 Gone;  /* committed pages without an active frame: they are gone already */
    ULONG64 Freed; /* of these, those whose charge goes back now */
    BOOLEAN AnyValid;
} MI_DETACHED;

/* An entry that is not valid, PteLock and PfnLock held. */
static VOID MiDetachInvalid(PMMPTE Pte, MMPTE Entry, MI_DETACHED *Detached)
{
    if (MiPteIsTransition(Entry)) {
        PMMPFN Pfn = MiPfn(MiPtePage(Entry));
        if (Pfn->State == MiPageActive) {
            MiWritePte(Pte, MiPteTransition(MiPtePage(Entry), MI_PROT_NOACCESS));
            return;
        }
        MiClearEntry(Pte);
        Detached->Freed += MiDeleteFrameLocked(MiPtePage(Entry), Pfn);
    } else {
        if (MiPteIsPageFile(Entry)) {
            MiReleaseSlots(MiSlotOfPte(Entry), 1);
        }
        MiClearEntry(Pte);
        Detached->Freed++;
    }
    Detached->Gone++;
}

static VOID MiDetachPages(ULONG_PTR Va, SIZE_T Pages, MI_DETACHED *Detached)
{
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiPiece(At, Pages - Done), Left = 0;
        BOOLEAN Locked = FALSE;
        Done += Piece;
        if (Pte == NULL) {
            continue;
        }
        MiLockEntries(At);
        for (ULONG Index = 0; Index < Piece; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            if (MiPteIsValid(Entry)) {
                MiWritePte(Pte + Index, MiPteTransition(MiPtePage(Entry), MI_PROT_NOACCESS));
                Left += MiPteIsInWorkingSet(Entry);
                Detached->AnyValid = TRUE;
            } else if (!MiPteIsZero(Entry)) {
                if (!Locked) {
                    Locked = TRUE;
                    KiAcquireLock(&MiState->PfnLock);
                    Entry = MiReadPte(Pte + Index); /* it may have lost its frame */
                }
                MiDetachInvalid(Pte + Index, Entry, Detached);
            }
        }
        if (Locked) {
            KiReleaseLock(&MiState->PfnLock);
        }
        if (Left) {
            MiLeaveWorkingSet(MiWorkingSetOfVa(At), Pte, Left);
        }
        MiUnlockEntries(At);
    }
}

/* Step 3. Returns the pages that had a frame; *Freed counts those whose charge goes back now. */
static ULONG64 MiDropPages(ULONG_PTR Va, SIZE_T Pages, ULONG64 *Freed)
{
    ULONG64 Backed = 0;
    PFN_NUMBER Base = 0, Count = 0;
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiPiece(At, Pages - Done), Cleared = 0;
        Done += Piece;
        if (Pte == NULL) {
            continue;
        }
        MiLockEntries(At); /* whoever finds the frame through the entry finds it still owned */
        for (ULONG Index = 0; Index < Piece; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            if (!MiPteIsTransition(Entry)) {
                continue;
            }
            MiWritePte(Pte + Index, MI_ZERO_PTE);
            Cleared++;
            if (Count && Base + Count == MiPtePage(Entry)) {
                Count++;
                continue;
            }
            *Freed += Count ? MiReleaseFrames(Base, Count) : 0;
            Base = MiPtePage(Entry);
            Count = 1;
        }
        MiUnlockEntries(At);
        if (Cleared) {
            MiCountEntries(Pte, -(LONG)Cleared);
            Backed += Cleared;
        }
    }
    *Freed += Count ? MiReleaseFrames(Base, Count) : 0;
    return Backed;
}

VOID MiDecommit(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages)
{
    MI_DETACHED Detached = {0, 0, FALSE};
    if (Pages == 0) {
        return;
    }
    MiDetachPages(Va, Pages, &Detached);
    KiMarkWritten(Va, Pages << PAGE_SHIFT); /* what comes here next begins as zeroes */
    if (Detached.AnyValid) {
        HalFlushTb((PVOID)Va, Pages);
    }
    ULONG64 Backed = MiDropPages(Va, Pages, &Detached.Freed);
    MiReturnRegion(Region, Backed + Detached.Gone);
    MiReturnCommitment(Detached.Freed);
    MiCheckConditions();
}

static MI_PROT MiProtectionOfFlags(ULONG Flags)
{
    return Flags & MM_PAGES_EXECUTE ? MI_PROT_EXECUTE_READWRITE : MI_PROT_READWRITE;
}

SIZE_T (*MmReclaimRoutine)(VOID);

/* As MiCommit; what the layers above keep without need is asked for before giving up. */
static NTSTATUS MiCommitOrReclaim(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages, MI_PROT Protection, ULONG Flags,
                                  EX_POOL_PRIORITY Priority)
{
    NTSTATUS Status = MiCommit(Region, Va, Pages, Protection, Flags, Priority);
    if (!NT_SUCCESS(Status) && !(Flags & MM_PAGES_NO_RECLAIM) && MmReclaimRoutine != NULL && MmReclaimRoutine() != 0) {
        Status = MiCommit(Region, Va, Pages, Protection, Flags, Priority);
    }
    return Status;
}

static PVOID MiAllocateRun(MI_REGION *Region, SIZE_T Pages, MI_PROT Protection, ULONG Flags, EX_POOL_PRIORITY Priority)
{
    ULONG_PTR Va = MiAllocateVa(Region, Pages);
    if (Va) {
        if ((Flags & MM_PAGES_RESERVE) || NT_SUCCESS(MiCommitOrReclaim(Region, Va, Pages, Protection, Flags, Priority))) {
            return (PVOID)Va;
        }
        MiFreeVa(Region, Va, Pages);
    }
    MiCount(&Region->Failures);
    return NULL;
}

static VOID MiFreeRun(ULONG_PTR Va, SIZE_T Pages)
{
    MI_REGION *Region = MiRegionOfVa(Va);
    SIZE_T Actual = 0;
    if (Region == NULL || (Va & (PAGE_SIZE - 1)) || MiCheckVa(Region, Va, Pages, &Actual) != MiVaExact) {
        KiStop(MEMORY_MANAGEMENT, "Pages were freed that are not exactly one allocated run of pages.", NULL, 0x5305, Va,
               Actual << PAGE_SHIFT, 0);
    }
    MiDecommit(Region, Va, Pages);
    MiFreeVa(Region, Va, Pages);
}

PVOID MmAllocatePages(MM_REGION Id, SIZE_T Pages, ULONG Flags, EX_POOL_PRIORITY Priority)
{
    if (Id <= MmRegionNone || Id >= MmRegionUser) {
        return NULL;
    }
    return MiAllocateRun(&MiState->Regions[Id], Pages, MiProtectionOfFlags(Flags), Flags, Priority);
}

VOID MmFreePages(PVOID Va, SIZE_T Pages)
{
    MiFreeRun((ULONG_PTR)Va, Pages);
}

NTSTATUS MmCommitPages(PVOID Address, SIZE_T Pages, ULONG Flags)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    MI_REGION *Region = MiRegionOfVa(Va);
    if (Region == NULL || !MiVaIsAllocated(Region, Va, Pages)) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiPiece(At, Pages - Done);
        for (ULONG Index = 0; Pte && Index < Piece; Index++) {
            if (!MiPteIsZero(MiReadPte(Pte + Index))) {
                return STATUS_ALREADY_COMMITTED;
            }
        }
        Done += Piece;
    }
    NTSTATUS Status = MiCommitOrReclaim(Region, Va, Pages, MiProtectionOfFlags(Flags), Flags,
                                        (EX_POOL_PRIORITY)(HighPoolPriority - ((Flags >> 8) & 0x30u)));
    if (!NT_SUCCESS(Status)) {
        MiCount(&Region->Failures);
    }
    return Status;
}

VOID MmDecommitPages(PVOID Address, SIZE_T Pages)
{
    MI_REGION *Region = MiRegionOfVa((ULONG_PTR)Address);
    if (Region == NULL || !MiVaIsAllocated(Region, (ULONG_PTR)Address, Pages)) {
        KiStop(MEMORY_MANAGEMENT, "Pages were decommitted that are not allocated.", NULL, 0x5305, (ULONG_PTR)Address,
               Pages << PAGE_SHIFT, 0);
    }
    MiDecommit(Region, (ULONG_PTR)Address, Pages);
}

/* Up to 64 entries of one table. TRUE: some were valid and need a flush. */
static BOOLEAN MiProtectPiece(MI_REGION *Region, ULONG_PTR Va, ULONG Pages, MI_PROT Protection)
{
    PMMPTE Pte = MiPteOf(Va);
    MMPTE Old[MI_PROTECT_PIECE];
    ULONG64 Gone = 0;
    ULONG Left = 0;
    BOOLEAN Present = MiProtAllowsAccess(Protection) && !MiProtIsGuard(Protection), AnyValid = FALSE;
    MiLockEntries(Va);
    KiAcquireLock(&MiState->PfnLock); /* transition entries */
    for (ULONG Index = 0; Index < Pages; Index++) {
        MMPTE Entry = MiReadPte(Pte + Index);
        if (MiPteIsValid(Entry)) {
            BOOLEAN Pageable = MiPteIsInWorkingSet(Entry);
            AnyValid = TRUE;
            MMPTE New;
            do {
                New = !Present   ? MiPteTransition(MiPtePage(Entry), Protection)
                      : Pageable ? MiPteWithProtection(Entry, Protection)
                                 : MiPteValid(MiPtePage(Entry), Protection, Region->User);
            } while (!MiCompareExchangePte(Pte + Index, &Entry, New));
            if (!Present && Pageable) { /* nothing maps it any more: trimmed */
                if (MiPteIsDirty(Entry) && MiHasWatches(MiWorkingSetOfVa(Va))) {
                    MiNoteWritten(MiWorkingSetOfVa(Va), Va + ((ULONG_PTR)Index << PAGE_SHIFT));
                }
                Old[Index] = Entry;
                Gone |= 1ull << Index;
                Left++;
            }
        } else if (MiPteIsTransition(Entry) && Present && MiPfn(MiPtePage(Entry))->State == MiPageActive) {
            MiWritePte(Pte + Index, MiPteValid(MiPtePage(Entry), Protection, Region->User));
        } else {
            MiWritePte(Pte + Index, MiPteBacking(Entry, Protection)); /* the next fault makes it what it says */
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    if (Gone) {
        HalFlushTb((PVOID)Va, Pages);
        (VOID) MiListTaken(MiWorkingSetOfVa(Va), Old, Gone);
        MiLeaveWorkingSet(MiWorkingSetOfVa(Va), Pte, Left);
    }
    MiUnlockEntries(Va);
    return AnyValid;
}

NTSTATUS MmProtectPages(PVOID Address, SIZE_T Pages, ULONG Protect)
{
    ULONG_PTR Va = (ULONG_PTR)Address & ~(ULONG_PTR)(PAGE_SIZE - 1);
    MI_REGION *Region = MiRegionOfVa(Va);
    MI_PROT Protection = MiMakeProtection(Protect);
    if (Protection == MI_PROT_INVALID || MiProtIsCopyOnWrite(Protection) ||
        (MiProtIsGuard(Protection) && !(Region && Region->User))) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    if (Region == NULL || (!Region->User && !MiVaIsAllocated(Region, Va, Pages))) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    for (SIZE_T Page = 0; Page < Pages; Page++) { /* all or nothing */
        PMMPTE Pte = MiPteOf(Va + (Page << PAGE_SHIFT));
        if (Pte == NULL || MiPteIsZero(MiReadPte(Pte))) {
            return STATUS_NOT_COMMITTED;
        }
    }
    BOOLEAN AnyValid = FALSE;
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        ULONG Piece = MiPiece(At, Pages - Done);
        Piece = Piece < MI_PROTECT_PIECE ? Piece : MI_PROTECT_PIECE;
        AnyValid |= MiProtectPiece(Region, At, Piece, Protection);
        Done += Piece;
    }
    if (AnyValid) {
        HalFlushTb((PVOID)Va, Pages);
    }
    if (MiProtAllowsAccess(Protection) && !MiProtIsGuard(Protection) && Region->Resident) {
        (VOID) HalFillTb((PVOID)Va, Pages, 0);
    }
    return STATUS_SUCCESS;
}
