/*
 * hotmem.c - RAM that is taken away and brought back, and RAM that is bad. SPDX-License-Identifier: MIT
 *
 * MmRemovePhysicalMemory takes every frame of a range, moving pageable pages out of it, and keeps them: they are then in no list,
 * belong to nobody, and do not appear in MmGetPhysicalMemoryRanges. MmAddPhysicalMemory brings back what was removed; the machine
 * has no other RAM to add. MmMarkPhysicalMemoryAsBad does the same and puts the frames on the bad list; they stay in the ranges.
 * All or nothing: a page that nobody can move (resident memory, page tables, locked pages) fails the whole. The commitment that
 * the frames carried goes with them.
 *
 *      in use, free --Remove--> Active, nobody's, MI_PFN_REMOVED --Add--> free
 *                   --Mark...Bad--> Bad                        --Mark...Good--> free
 *
 * Pages for an MDL may be removed while they are its own (MM_ALLOCATE_AND_HOT_REMOVE): freeing them brings them back.
 * Locks: PfnLock; as movepage.c. IRQL <= APC_LEVEL.
 */
#include "mm/mi.h"

#define MI_LOOK_AT_ONCE 4096u /* frames, under one lock */

static BOOLEAN MiRangeOf(PPHYSICAL_ADDRESS Start, PLARGE_INTEGER Bytes, PFN_NUMBER *First, PFN_NUMBER *Count)
{
    ULONG64 Address = (ULONG64)Start->QuadPart, Length = (ULONG64)Bytes->QuadPart;
    *First = Address >> PAGE_SHIFT;
    *Count = Length >> PAGE_SHIFT;
    if (Length == 0 || ((Address | Length) & (PAGE_SIZE - 1)) || Address + Length < Address ||
        *Count > MiState->HighestPage + 1) {
        return FALSE;
    }
    for (PFN_NUMBER Page = *First; Page < *First + *Count; Page++) {
        if (MiPfn(Page) == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Every frame of the range becomes ours, or none. */
static NTSTATUS MiTakeAway(PFN_NUMBER First, PFN_NUMBER Count)
{
    PFN_NUMBER Taken = 0, Base;
    if (!MiChargeCommitment(Count, HighPoolPriority)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    for (; Taken < Count; Taken++) {
        PFN_NUMBER Cursor = 0, Frame;
        ULONG64 Dirty;
        if (MiTakeInRange(1, First + Taken, First + Taken, &Cursor, &Frame, &Dirty) == 0 &&
            !MiMoveAndTake(1, First + Taken, First + Taken, 0, &Base)) {
            break;
        }
    }
    if (Taken == Count) {
        return STATUS_SUCCESS;
    }
    (VOID) MiReleaseFrames(First, Taken);
    MiReturnCommitment(Count);
    return STATUS_INVALID_ADDRESS;
}

VOID MiMarkRemovedLocked(PMMPFN Pfn)
{
    Pfn->Flags |= MI_PFN_REMOVED;
    MiState->RemovedPages++;
}

PFN_NUMBER MiFindRemoved(PFN_NUMBER Page, PFN_NUMBER End, BOOLEAN Removed)
{
    while (Page < End) {
        BOOLEAN Found = FALSE;
        PFN_NUMBER Stop = End - Page < MI_LOOK_AT_ONCE ? End : Page + MI_LOOK_AT_ONCE;
        KiAcquireLock(&MiState->PfnLock);
        while (Page < Stop && !Found) {
            const MMPFN *Pfn = MiPfn(Page); /* NULL: the core's own, which stays */
            Found = (Pfn && (Pfn->Flags & MI_PFN_REMOVED)) == Removed;
            Page += !Found;
        }
        KiReleaseLock(&MiState->PfnLock);
        if (Found) {
            break;
        }
    }
    return Page;
}

NTSTATUS MmRemovePhysicalMemory(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes)
{
    PFN_NUMBER First, Count;
    (VOID) KiCurrentThread();
    if (!MiRangeOf(StartAddress, NumberOfBytes, &First, &Count)) {
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = MiTakeAway(First, Count);
    if (NT_SUCCESS(Status)) {
        KiAcquireLock(&MiState->PfnLock);
        for (PFN_NUMBER Page = First; Page < First + Count; Page++) {
            MiMarkRemovedLocked(MiPfn(Page));
        }
        KiReleaseLock(&MiState->PfnLock);
    }
    return Status;
}

NTSTATUS MmAddPhysicalMemory(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes)
{
    PFN_NUMBER First, Count;
    (VOID) KiCurrentThread();
    if (!MiRangeOf(StartAddress, NumberOfBytes, &First, &Count)) {
        return STATUS_INVALID_PARAMETER;
    }
    BOOLEAN Mine = TRUE;
    KiAcquireLock(&MiState->PfnLock);
    for (PFN_NUMBER Page = First; Mine && Page < First + Count; Page++) {
        Mine = (MiPfn(Page)->Flags & MI_PFN_REMOVED) != 0 && MiPfn(Page)->ReferenceCount == 1;
    }
    for (PFN_NUMBER Page = First; Mine && Page < First + Count; Page++) {
        MiPfn(Page)->Flags &= (USHORT)~MI_PFN_REMOVED; /* nobody else brings it back */
        MiState->RemovedPages--;
    }
    KiReleaseLock(&MiState->PfnLock);
    if (!Mine) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    MiReturnCommitment(MiReleaseFrames(First, Count));
    return STATUS_SUCCESS;
}

NTSTATUS MmMarkPhysicalMemoryAsBad(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes)
{
    PFN_NUMBER First, Count;
    (VOID) KiCurrentThread();
    if (!MiRangeOf(StartAddress, NumberOfBytes, &First, &Count)) {
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = MiTakeAway(First, Count);
    for (PFN_NUMBER Page = First; NT_SUCCESS(Status) && Page < First + Count; Page++) {
        KiAcquireLock(&MiState->PfnLock);
        PMMPFN Pfn = MiPfn(Page);
        Pfn->ReferenceCount = 0;
        Pfn->u2.ShareCount = 0;
        MiSetPageState(Page, Pfn, MiPageBad);
        KiReleaseLock(&MiState->PfnLock);
    }
    return Status;
}

NTSTATUS MmMarkPhysicalMemoryAsGood(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes)
{
    PFN_NUMBER First, Count;
    BOOLEAN Bad = TRUE;
    (VOID) KiCurrentThread();
    if (!MiRangeOf(StartAddress, NumberOfBytes, &First, &Count)) {
        return STATUS_INVALID_PARAMETER;
    }
    KiAcquireLock(&MiState->PfnLock);
    for (PFN_NUMBER Page = First; Bad && Page < First + Count; Page++) {
        Bad = MiPfn(Page)->State == MiPageBad;
    }
    for (PFN_NUMBER Page = First; Bad && Page < First + Count; Page++) {
        PMMPFN Pfn = MiPfn(Page);
        MiSetPageState(Page, Pfn, MiPageActive);
        Pfn->u1.UsedEntries = 0;
        Pfn->u2.ShareCount = 1;
        Pfn->ReferenceCount = 1;
    }
    KiReleaseLock(&MiState->PfnLock);
    if (!Bad) {
        return STATUS_INVALID_PARAMETER;
    }
    MiReturnCommitment(MiReleaseFrames(First, Count));
    return STATUS_SUCCESS;
}

NTSTATUS MmCreateMirror(VOID)
{
    return STATUS_NOT_SUPPORTED;
}
