/*
 * hotmem.c - RAM that is taken away and brought back, and RAM that is bad. SPDX-License-Identifier: MIT
 *
 * MmRemovePhysicalMemory takes every frame of a range, moving pageable pages out of it, and keeps them: they are then in no list,
 * belong to nobody, and do not appear in MmGetPhysicalMemoryRanges. MmAddPhysicalMemory brings back what was removed; the machine
 * has no other RAM to add. MmMarkPhysicalMemoryAsBad does the same and puts the frames on the bad list; they stay in the ranges.
 * All or nothing: a page that nobody can move (resident memory, page tables, locked pages) fails the whole. The commitment that
 * the frames carried goes with them.
 *
 *      in use, free --Remove--> Active, nobody's; in Removed[] --Add--> free
 *                   --Mark...Bad--> Bad                        --Mark...Good--> free
 *
 * Locks: MI_STATE.RemovedLock around the table; then as movepage.c. IRQL <= APC_LEVEL.
 */
#include "mm/mi.h"

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

BOOLEAN MiIsRemoved(PFN_NUMBER Page)
{
    BOOLEAN Removed = FALSE;
    KiAcquireLock(&MiState->RemovedLock);
    for (ULONG Index = 0; Index < MiState->RemovedCount && !Removed; Index++) {
        Removed = Page - MiState->Removed[Index].Base < MiState->Removed[Index].Count;
    }
    KiReleaseLock(&MiState->RemovedLock);
    return Removed;
}

NTSTATUS MmRemovePhysicalMemory(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes)
{
    PFN_NUMBER First, Count;
    (VOID) KiCurrentThread();
    if (!MiRangeOf(StartAddress, NumberOfBytes, &First, &Count)) {
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = MiTakeAway(First, Count);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    KiAcquireLock(&MiState->RemovedLock);
    BOOLEAN Room = MiState->RemovedCount < MI_MAX_REMOVED;
    if (Room) {
        MiState->Removed[MiState->RemovedCount++] = (MI_EXTENT){First, Count};
    }
    KiReleaseLock(&MiState->RemovedLock);
    if (!Room) {
        (VOID) MiReleaseFrames(First, Count);
        MiReturnCommitment(Count);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}

NTSTATUS MmAddPhysicalMemory(PPHYSICAL_ADDRESS StartAddress, PLARGE_INTEGER NumberOfBytes)
{
    PFN_NUMBER First, Count;
    NTSTATUS Status = STATUS_CONFLICTING_ADDRESSES;
    (VOID) KiCurrentThread();
    if (!MiRangeOf(StartAddress, NumberOfBytes, &First, &Count)) {
        return STATUS_INVALID_PARAMETER;
    }
    KiAcquireLock(&MiState->RemovedLock);
    for (ULONG Index = 0; Index < MiState->RemovedCount; Index++) {
        MI_EXTENT Gone = MiState->Removed[Index];
        if (First < Gone.Base || First + Count > Gone.Base + Gone.Count) {
            continue;
        }
        MI_EXTENT Low = {Gone.Base, First - Gone.Base};
        MI_EXTENT High = {First + Count, Gone.Base + Gone.Count - (First + Count)};
        if (Low.Count && High.Count && MiState->RemovedCount == MI_MAX_REMOVED) {
            Status = STATUS_INSUFFICIENT_RESOURCES;
            break;
        }
        MiState->Removed[Index] = Low.Count ? Low : High;
        if (Low.Count && High.Count) {
            MiState->Removed[MiState->RemovedCount++] = High;
        } else if (Low.Count == 0 && High.Count == 0) {
            MiState->Removed[Index] = MiState->Removed[--MiState->RemovedCount];
        }
        Status = STATUS_SUCCESS;
        break;
    }
    KiReleaseLock(&MiState->RemovedLock);
    if (NT_SUCCESS(Status)) {
        MiReturnCommitment(MiReleaseFrames(First, Count));
    }
    return Status;
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
