/*
 * lockvm.c - pages that a process keeps in RAM, and hints to bring pages in. SPDX-License-Identifier: MIT
 *
 * The work of ZwLockVirtualMemory, ZwUnlockVirtualMemory and prefetching. Two kinds of lock a page (MAP_PROCESS, MAP_SYSTEM), once each:
 * a bit a kind in the range's LockBits. A page with either holds one reference of its frame, as an MDL would, so it stays in RAM; a page
 * that is written on copy is copied when it is locked. Decommitting, freeing and the process's end undo locks.
 *
 * At most half of RAM can be locked (STATUS_WORKING_SET_QUOTA).
 * Locks: MI_SPACE.Lock; PfnLock inside. Watch: tests/ddi/ZwLockVirtualMemory.c.
 */
#include "mm/mi.h"
#include "mm/vm.h"

#define MI_TAG_LOCK 'kLmM'
#define MAP_BOTH    (MAP_PROCESS | MAP_SYSTEM)

static inline ULONG MiLockKinds(PMMVAD Vad, ULONG_PTR Va)
{
    SIZE_T Page = (Va - Vad->Start) >> PAGE_SHIFT;
    return Vad->LockBits ? (Vad->LockBits[Page / 4] >> (Page % 4 * 2)) & MAP_BOTH : 0;
}
static inline VOID MiSetLockKinds(PMMVAD Vad, ULONG_PTR Va, ULONG Kinds)
{
    SIZE_T Page = (Va - Vad->Start) >> PAGE_SHIFT;
    Vad->LockBits[Page / 4] = (UCHAR)((Vad->LockBits[Page / 4] & ~(MAP_BOTH << (Page % 4 * 2))) | Kinds << (Page % 4 * 2));
}

BOOLEAN MiIsVadPageLocked(PMMVAD Vad, ULONG_PTR Va)
{
    return MiLockKinds(Vad, Va) != 0;
}

static VOID MiUnlockOne(PMMVAD Vad, ULONG_PTR Va)
{
    ULONG64 Commit = 0;
    KiAcquireLock(MiPteLock(Va));
    MMPTE Entry = MiReadPte(MiPteOf(Va));
    KiAcquireLock(&MiState->PfnLock);
    if (MiPteIsPrototype(Entry)) { /* out of the working set; the lock keeps the frame with the prototype entry */
        Entry = MiReadPte(MiPtePrototypeAddress(Entry));
    }
    (VOID) MiDereferenceFrameLocked(MiPtePage(Entry), &Commit);
    KiReleaseLock(&MiState->PfnLock);
    KiReleaseLock(MiPteLock(Va));
    Vad->LockedPages--;
    __atomic_fetch_sub(&MiState->LockedVirtualPages, 1, __ATOMIC_RELAXED);
    if (Commit) {
        MiReturnCommitment(Commit);
    }
}

VOID MiUnlockVadPages(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End)
{
    UNREFERENCED_PARAMETER(Space);
    for (ULONG_PTR At = Start; At < End && Vad->LockedPages; At += PAGE_SIZE) {
        if (MiLockKinds(Vad, At)) {
            MiUnlockOne(Vad, At);
            MiSetLockKinds(Vad, At, 0);
        }
    }
    if (Vad->LockBits && Vad->LockedPages == 0) {
        ExFreePoolWithTag(Vad->LockBits, MI_TAG_LOCK);
        Vad->LockBits = NULL;
    }
}

/* Start and end of a request, and the one range that holds it all. */
static NTSTATUS MiFindLockRange(PMI_SPACE Space, PVOID Base, SIZE_T Size, ULONG_PTR *Start, ULONG_PTR *End, PMMVAD *Vad)
{
    *Start = (ULONG_PTR)Base & ~(ULONG_PTR)(PAGE_SIZE - 1);
    *End = ((ULONG_PTR)Base + Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    if (Space->Dying) {
        return STATUS_PROCESS_IS_TERMINATING;
    }
    *Vad = MiFindVad(Space, *Start);
    return *Vad && (*Vad)->End >= *End && (*Vad)->Type != MiVadLocked ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION;
}

static NTSTATUS MiLockPages(PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG MapType, ULONG_PTR *Done, BOOLEAN *Was)
{
    NTSTATUS Status = STATUS_SUCCESS;
    for (*Done = Start; *Done < End; *Done += PAGE_SIZE) {
        ULONG_PTR At = *Done;
        ULONG Kinds = MiLockKinds(Vad, At);
        PFN_NUMBER Frame;
        *Was |= (Kinds & MapType) != 0;
        if (Kinds == 0) {
            PMMPTE Pte = MiPteOf(At);
            BOOLEAN Write = Pte && MiProtIsCopyOnWrite(MiPteProtection(MiReadPte(Pte)));
            Status = MiMakePresent(At, Write, FALSE, &Frame);
            if (!NT_SUCCESS(Status)) {
                return Status == STATUS_GUARD_PAGE_VIOLATION && MiTakeGuard(At) ? Status : STATUS_ACCESS_VIOLATION;
            }
            Vad->LockedPages++;
            __atomic_fetch_add(&MiState->LockedVirtualPages, 1, __ATOMIC_RELAXED);
        }
        MiSetLockKinds(Vad, At, Kinds | MapType);
    }
    return STATUS_SUCCESS;
}

NTSTATUS MmLockVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG MapType)
{
    ULONG_PTR Start, End, Done;
    PMMVAD Vad;
    BOOLEAN Was = FALSE;
    if (MapType == 0 || (MapType & ~MAP_BOTH)) {
        return STATUS_INVALID_PARAMETER_4;
    }
    NTSTATUS Status = MiCheckRange(*Base, *Size, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_3);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    MiLockSpace(Space);
    Status = MiFindLockRange(Space, *Base, *Size, &Start, &End, &Vad);
    if (NT_SUCCESS(Status) && __atomic_load_n(&MiState->LockedVirtualPages, __ATOMIC_RELAXED) + ((End - Start) >> PAGE_SHIFT) >
                                  MiState->TotalPages / 2) {
        Status = STATUS_WORKING_SET_QUOTA;
    }
    if (NT_SUCCESS(Status) && Vad->LockBits == NULL) {
        SIZE_T Bytes = ((Vad->End - Vad->Start) >> PAGE_SHIFT) / 4 + 1;
        Vad->LockBits = ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes, MI_TAG_LOCK);
        Status = Vad->LockBits ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
    }
    if (NT_SUCCESS(Status)) {
        Status = MiLockPages(Vad, Start, End, MapType, &Done, &Was);
        if (!NT_SUCCESS(Status)) { /* pages that were locked before stay locked, with the new kind beside the old */
            MiUnlockVadPages(Space, Vad, Start, Was ? Start : Done);
        }
    }
    MiUnlockSpace(Space);
    if (NT_SUCCESS(Status)) {
        *Base = (PVOID)Start;
        *Size = End - Start;
        return Was ? STATUS_WAS_LOCKED : STATUS_SUCCESS;
    }
    return Status;
}

NTSTATUS MmUnlockVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG MapType)
{
    ULONG_PTR Start, End, At;
    PMMVAD Vad;
    if (MapType == 0 || (MapType & ~MAP_BOTH)) {
        return STATUS_INVALID_PARAMETER_4;
    }
    NTSTATUS Status = MiCheckRange(*Base, *Size, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_3);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    MiLockSpace(Space);
    Status = MiFindLockRange(Space, *Base, *Size, &Start, &End, &Vad);
    for (At = Start; NT_SUCCESS(Status) && At < End; At += PAGE_SIZE) {
        Status = (MiLockKinds(Vad, At) & MapType) == MapType ? STATUS_SUCCESS : STATUS_NOT_LOCKED;
    }
    for (At = Start; NT_SUCCESS(Status) && At < End; At += PAGE_SIZE) {
        ULONG Left = MiLockKinds(Vad, At) & ~MapType;
        if (Left == 0) {
            MiUnlockOne(Vad, At);
        }
        MiSetLockKinds(Vad, At, Left);
    }
    if (NT_SUCCESS(Status)) {
        MiUnlockVadPages(Space, Vad, Start, Start); /* the bits, if no page is locked any more */
        *Base = (PVOID)Start;
        *Size = End - Start;
    }
    MiUnlockSpace(Space);
    return Status;
}

VOID MmPrefetchVirtual(PMM_SPACE Space, PVOID Base, SIZE_T Size)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(Base), End = (ULONG_PTR)Base + Size;
    for (; Va < End && Va - Space->Hal.Low < Space->Hal.High - Space->Hal.Low; Va += PAGE_SIZE) {
        (VOID) MiMakePresent(Va, FALSE, FALSE, NULL);
    }
}
