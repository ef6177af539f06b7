/*
 * mdl.c - memory descriptor lists: describe a buffer, lock its pages, unlock them. SPDX-License-Identifier: MIT
 *
 * The structure is the WDK's: a header that speaks of virtual addresses, and behind it the frames.
 *
 *      MDL { StartVa, ByteOffset, ByteCount, MappedSystemVa, MdlFlags ... } | frame 0 | frame 1 | ... (span of pages)
 *
 * Flags, and who moves them (nothing else here does):
 *      MmInitializeMdl              0
 *      MmBuildMdlForNonPagedPool    + SOURCE_IS_NONPAGED_POOL (+ IO_SPACE)
 *      MmProbeAndLockPages          + PAGES_LOCKED (+ WRITE_OPERATION, + IO_SPACE)
 *      MmUnlockPages                - PAGES_LOCKED - IO_SPACE
 *      MmMapLockedPages...          + MAPPED_TO_SYSTEM_VA, and + PARTIAL_HAS_BEEN_MAPPED on a PARTIAL one   mdlmap.c
 *      MmUnmapLockedPages           - MAPPED_TO_SYSTEM_VA - PARTIAL_HAS_BEEN_MAPPED                       mdlmap.c
 *      MmMapLockedPagesWithReservedMapping, MmUnmapReservedMapping: the same two                          mdlreserve.c
 *
 * An MDL that is locked, mapped, built for nonpaged pool or partial is not to be locked: 0xC4/0xB0 (Driver Verifier's
 * number; made always, as a second lock would lose the first one's pages). The other stops that only the Verifier has are made
 * for verified drivers: 0xC4/0x6F, 0x7C, 0x7D, 0x7F, 0xB4, 0x140. The Size field is 16 bits wide; nothing here
 * reads it: the span of the buffer counts, up to 4 GiB less a page.
 *
 * Locking pins the frame (a reference): the owner may free its memory, the frame is not used again before the
 * unlock. Locking makes a pageable page present first and checks the access against the entry's protection,
 * user buffers against the user range. It is all or nothing: what raises leaves nothing locked.
 *
 * Host memory (a source driver's globals and stack) has no frames. MmProbeAndLockPages raises
 * STATUS_ACCESS_VIOLATION for it and MmBuildMdlForNonPagedPool stops with 0x1A/0x1240 and says so: use pool.
 * Memory of a pageable region is refused by MmBuildMdlForNonPagedPool even while it happens to be resident.
 *
 * Invariant M1: the references of a frame beyond its share are those of locked MDLs (and copies in progress).
 * Locks: PteLocks, PfnLock, in batches; the MDL itself is never touched under them. IRQL <= DISPATCH_LEVEL,
 * <= APC_LEVEL for pageable memory.
 */
#include "mm/mi.h"

/* The space whose pages the MDL locks: that of its buffer, or (selected pages have no buffer) of its process. */
static PMI_SPACE MiSpaceOfMdl(PMDL Mdl)
{
    PMI_SPACE Space = HalIsUserAddress((ULONG_PTR)Mdl->StartVa) ? MiSpaceOfVa((ULONG_PTR)Mdl->StartVa) : NULL;
    for (ULONG Index = 0; Space == NULL && Mdl->Process && Index < MiState->SpaceCount; Index++) {
        Space = MiState->Spaces[Index].Process == Mdl->Process ? &MiState->Spaces[Index] : NULL;
    }
    return Space;
}
static VOID MiChargeLockedPages(PMDL Mdl, LONG64 Pages)
{
    PMI_SPACE Space = MiSpaceOfMdl(Mdl);
    MiCountLockedPages(Space ? Space->Hal.Low : 0, Pages);
}

SIZE_T MmSizeOfMdl(PVOID Base, SIZE_T Length)
{
    return sizeof(MDL) + ADDRESS_AND_SIZE_TO_SPAN_PAGES(Base, Length) * sizeof(PFN_NUMBER);
}

PMDL MmCreateMdl(PMDL MemoryDescriptorList, PVOID Base, SIZE_T Length)
{
    PMDL Mdl = MemoryDescriptorList;
    if (Mdl == NULL) {
        Mdl = ExAllocatePool2(POOL_FLAG_NON_PAGED, MmSizeOfMdl(Base, Length), ' ldM');
    }
    if (Mdl != NULL) {
        MmInitializeMdl(Mdl, Base, Length);
    }
    return Mdl;
}

/* The Verifier's stops for MmBuildMdlForNonPagedPool over memory that may be paged out. */
static DECLSPEC_NORETURN VOID MiStopPageableMdl(PMDL Mdl, BOOLEAN Pool)
{
    KIRQL Irql = KiCurrentThread()->Irql;
    if (Pool) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "MmBuildMdlForNonPagedPool was given a block of paged pool.", NULL, 0x7F,
               Irql, (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags);
    }
    KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An MDL was built, without locking, over memory that may be paged out.", NULL,
           0x140, Irql, (ULONG_PTR)Mdl, (ULONG_PTR)MmGetMdlVirtualAddress(Mdl));
}

VOID MmBuildMdlForNonPagedPool(PMDL Mdl)
{
    ULONG_PTR Va = (ULONG_PTR)Mdl->StartVa;
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    CSHORT Flags = MDL_SOURCE_IS_NONPAGED_POOL;
    (VOID) KiCurrentThread();
    for (SIZE_T Index = 0; Index < Pages; Index++, Va += PAGE_SIZE) {
        MI_REGION *Region = MiRegionOfVa(Va);
        PMMPTE Pte = Region ? MiPteOf(Va) : NULL;
        MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
        if (Region == NULL || !Region->Resident || !MiPteIsValid(Entry) || MiPteIsInWorkingSet(Entry)) {
            if (Region != NULL && !MiPteIsZero(Entry) && KiVerifies(KI_ANY_OPTION, __builtin_return_address(0))) {
                MiStopPageableMdl(Mdl, Region->Id == MmRegionPagedPool || Region->Id == MmRegionPagedSpecialPool);
            }
            KiStop(MEMORY_MANAGEMENT,
                   Region == NULL ? "MmBuildMdlForNonPagedPool was given memory that is not the system's: a global, a "
                                    "stack or the host's heap has no pages here; allocate the buffer from nonpaged pool."
                                  : "MmBuildMdlForNonPagedPool was given memory that is pageable or not allocated.",
                   NULL, 0x1240, (ULONG_PTR)Mdl, (ULONG_PTR)Pte, 0);
        }
        Frames[Index] = MiPtePage(Entry);
        if (MiPfn(Frames[Index]) == NULL) {
            Flags |= MDL_IO_SPACE;
        }
    }
    Mdl->Process = NULL;
    Mdl->MappedSystemVa = MmGetMdlVirtualAddress(Mdl);
    Mdl->MdlFlags |= Flags;
    KiMarkWritten(Mdl->MappedSystemVa, Mdl->ByteCount); /* by whom the MDL is made for, for all that a checker sees */
}

/* Frames handled under one hold of the locks. They go through a local array: the MDL is the driver's memory,
 * and might itself fault. */
#define MI_MDL_BATCH 64

/* Locks pages that are present and allow the access, without making any present. Returns how many, from the
 * start. */
static SIZE_T MiLockPresentPages(ULONG_PTR Va, SIZE_T Pages, BOOLEAN Write, PPFN_NUMBER Frames)
{
    PFN_NUMBER Batch[MI_MDL_BATCH];
    SIZE_T Locked = 0;
    while (Locked < Pages) {
        ULONG_PTR At = Va + (Locked << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At), Index = 0;
        Piece = Piece < MI_MDL_BATCH ? Piece : MI_MDL_BATCH;
        Piece = Pages - Locked < Piece ? (ULONG)(Pages - Locked) : Piece;
        if (Pte == NULL) {
            break;
        }
        KiAcquireLock(MiPteLock(At));
        KiAcquireLock(&MiState->PfnLock);
        for (; Index < Piece; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            if (!MiPteIsValid(Entry) || (Write && !MiPteIsWritable(Entry)) ||
                (MiPfn(MiPtePage(Entry)) && !MiReferenceFrameLocked(MiPtePage(Entry)))) {
                break;
            }
            if (Write && MiPfn(MiPtePage(Entry))) {
                MiPfn(MiPtePage(Entry))->Flags |= MI_PFN_MODIFIED; /* it will be written behind the entry's back */
                if (MiPteIsInWorkingSet(Entry) && MiHasWatches(MiWorkingSetOfVa(At))) {
                    MiNoteWritten(MiWorkingSetOfVa(At), At + ((ULONG_PTR)Index << PAGE_SHIFT));
                }
            }
            Batch[Index] = MiPtePage(Entry);
        }
        KiReleaseLock(&MiState->PfnLock);
        KiReleaseLock(MiPteLock(At));
        memcpy(Frames + Locked, Batch, Index * sizeof(*Frames));
        Locked += Index;
        if (Index < Piece) {
            break;
        }
    }
    return Locked;
}

/* Unlocks frames. Returns the index of the first that was not locked, or Count. */
static SIZE_T MiUnlockFrames(const PFN_NUMBER *Frames, SIZE_T Count)
{
    PFN_NUMBER Batch[MI_MDL_BATCH];
    ULONG64 Commit = 0;
    SIZE_T Done = 0;
    BOOLEAN Good = TRUE;
    while (Done < Count && Good) {
        SIZE_T Some = Count - Done < MI_MDL_BATCH ? Count - Done : MI_MDL_BATCH;
        memcpy(Batch, Frames + Done, Some * sizeof(*Frames));
        KiAcquireLock(&MiState->PfnLock);
        for (SIZE_T Index = 0; Index < Some && Good; Index++) {
            Good = MiPfn(Batch[Index]) == NULL || MiDereferenceFrameLocked(Batch[Index], &Commit);
            Done += Good;
        }
        KiReleaseLock(&MiState->PfnLock);
    }
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    return Done;
}

/* Locks Pages pages from Va on. On failure nothing of them is locked. */
static NTSTATUS MiLockRange(ULONG_PTR Va, SIZE_T Pages, BOOLEAN Write, PPFN_NUMBER Frames, PVOID Caller)
{
    SIZE_T Locked = 0;
    NTSTATUS Status = STATUS_SUCCESS;
    while (NT_SUCCESS(Status)) {
        Locked += MiLockPresentPages(Va + (Locked << PAGE_SHIFT), Pages - Locked, Write, Frames + Locked);
        if (Locked == Pages) {
            return STATUS_SUCCESS;
        }
        ULONG_PTR At = Va + (Locked << PAGE_SHIFT);
        MI_REGION *Region = MiRegionOfVa(At);
        PMMPTE Pte = Region ? MiPteOf(At) : NULL;
        KIRQL Irql = KiCurrentThread()->Irql;
        if (Irql >= DISPATCH_LEVEL && Pte && !MiPteIsValid(MiReadPte(Pte)) && !Region->Resident &&
            !MiPteIsZero(MiReadPte(Pte))) {
            MiUnlockFrames(Frames, Locked);
            KiStop(IRQL_NOT_LESS_OR_EQUAL, "MmProbeAndLockPages met a page that is not resident, at DISPATCH_LEVEL or above.",
                   NULL, At, Irql, Write, (ULONG_PTR)Caller);
        }
        PFN_NUMBER Frame;
        Status = MiMakePresent(At, Write, FALSE, &Frame);
        if (NT_SUCCESS(Status)) {
            Frames[Locked++] = Frame;
        } else if (Status == STATUS_GUARD_PAGE_VIOLATION) {
            Status = MiTakeGuard(At) ? STATUS_GUARD_PAGE_VIOLATION : STATUS_SUCCESS;
        }
    }
    MiUnlockFrames(Frames, Locked);
    return Status;
}

/* What stands in the way of locking an MDL: it would lose what it has. */
#define MI_MDL_NOT_TO_LOCK (MDL_MAPPED_TO_SYSTEM_VA | MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL)

static VOID MiCheckLockable(PMDL Mdl, ULONG Type, const CHAR *Words)
{
    if (Mdl->MdlFlags & MI_MDL_NOT_TO_LOCK) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, Words, NULL, Type, (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags,
               MI_MDL_NOT_TO_LOCK);
    }
}

VOID (*MmTrackLocksRoutine)(PMDL Mdl, SIZE_T Pages, const VOID *Caller);
VOID (*MmLockedAtExitRoutine)(PVOID Process);
static VOID MiTrackLocks(PMDL Mdl, SIZE_T Pages, const VOID *Caller)
{
    VOID (*Routine)(PMDL, SIZE_T, const VOID *) = __atomic_load_n(&MmTrackLocksRoutine, __ATOMIC_ACQUIRE);
    if (__builtin_expect(Routine != NULL, 0)) {
        Routine(Mdl, Pages, Caller);
    }
}

static VOID MiNoteLocked(PMDL Mdl, SIZE_T Pages, BOOLEAN Write, BOOLEAN User, const VOID *Caller)
{
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    KTHREAD *Thread = KiCurrentThread();
    CSHORT Flags = MDL_PAGES_LOCKED | (Write ? MDL_WRITE_OPERATION : 0);
    const MI_RUN *Run = NULL;
    for (SIZE_T Index = 0; Index < Pages; Index++) {
        if (Run == NULL || Frames[Index] - Run->FirstPage >= Run->Managed) {
            Run = MiRunOfPage(Frames[Index]);
            if (MiPfn(Frames[Index]) == NULL) {
                Flags |= MDL_IO_SPACE;
                break;
            }
        }
    }
    Mdl->Process = NULL;
    if (User) {
        Mdl->Process = Thread->AttachedProcess ? Thread->AttachedProcess : Thread->Process;
        MiChargeLockedPages(Mdl, (LONG64)Pages);
    }
    Mdl->MdlFlags = (CSHORT)((Mdl->MdlFlags & ~MDL_WRITE_OPERATION) | Flags);
    MiTrackLocks(Mdl, Pages, Caller);
}

static NTSTATUS MiLockMdl(PMDL Mdl, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation, PVOID Caller)
{
    ULONG_PTR Start = (ULONG_PTR)MmGetMdlVirtualAddress(Mdl);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(Start, Mdl->ByteCount);
    BOOLEAN Write = Operation != IoReadAccess, User = HalIsUserAddress(Start);
    if (AccessMode != KernelMode && (!User || (Mdl->ByteCount && !HalIsUserAddress(Start + Mdl->ByteCount - 1)))) {
        return STATUS_ACCESS_VIOLATION;
    }
    if (KiFailHere(KiResourceLock, 0, Mdl->ByteCount)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (User && Mdl->ByteCount && (!MiIsCurrentVa(Start) || !MiIsCurrentVa(Start + Mdl->ByteCount - 1))) {
        return STATUS_ACCESS_VIOLATION; /* another process's */
    }
    NTSTATUS Status = MiLockRange((ULONG_PTR)Mdl->StartVa, Pages, Write, MmGetMdlPfnArray(Mdl), Caller);
    if (NT_SUCCESS(Status)) {
        MiNoteLocked(Mdl, Pages, Write, User, Caller);
        if (Write) {
            KiMarkWritten(Start, Mdl->ByteCount);
        }
    }
    return Status;
}

NTSTATUS MmLockMdl(PMDL Mdl, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation)
{
    MiCheckLockable(Mdl, 0xB1, "MmProbeAndLockProcessPages was called for an MDL that is locked, mapped, built or partial.");
    return MiLockMdl(Mdl, AccessMode, Operation, __builtin_return_address(0));
}

/* The Verifier's stop for locking what is no RAM: a device's memory, or what is behind no device, mapped. */
static VOID MiCheckRam(PMDL Mdl)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    for (SIZE_T Index = 0; Index < Pages; Index++) {
        PFN_NUMBER Frame = (ULONG64)MmGetPhysicalAddress((PUCHAR)Mdl->StartVa + (Index << PAGE_SHIFT)).QuadPart >> PAGE_SHIFT;
        if (MiRunOfPage(Frame) == NULL || MiRunOfPage(Frame)->Device) {
            MmUnlockPages(Mdl);
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "MmProbeAndLockPages was called for pages that are not RAM.", NULL, 0x6F,
                   (ULONG_PTR)Mdl, Frame, MiState->HighestPage);
        }
    }
}

VOID MmProbeAndLockPages(PMDL Mdl, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation)
{
    MiRequireIrql(DISPATCH_LEVEL, 0x70, "MmProbeAndLockPages was called above DISPATCH_LEVEL.", (ULONG_PTR)Mdl,
                  (ULONG_PTR)AccessMode);
    MiCheckLockable(Mdl, 0xB0, "MmProbeAndLockPages was called for an MDL that is locked, mapped, built or partial already.");
    NTSTATUS Status = MiLockMdl(Mdl, AccessMode, Operation, __builtin_return_address(0));
    if (!NT_SUCCESS(Status)) {
        ExRaiseStatus(Status);
    }
    if (KiVerifies(KI_ANY_OPTION, __builtin_return_address(0)) && MmRegionOf(Mdl->StartVa) == MmRegionSystemPtes) {
        MiCheckRam(Mdl);
    }
}

VOID MmProbeAndLockSelectedPages(PMDL Mdl, PFILE_SEGMENT_ELEMENT SegmentArray, KPROCESSOR_MODE AccessMode,
                                 LOCK_OPERATION Operation)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount), Locked = 0;
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    BOOLEAN Write = Operation != IoReadAccess, User = FALSE;
    NTSTATUS Status = KiFailHere(KiResourceLock, 0, Mdl->ByteCount) ? STATUS_INSUFFICIENT_RESOURCES : STATUS_SUCCESS;
    const KTHREAD *Thread = KiCurrentThread();
    MiRequireIrql(DISPATCH_LEVEL, 0x72, "MmProbeAndLockSelectedPages was called above DISPATCH_LEVEL.", (ULONG_PTR)Mdl,
                  (ULONG_PTR)(Thread->AttachedProcess ? Thread->AttachedProcess : Thread->Process));
    MiCheckLockable(Mdl, 0xB0, "MmProbeAndLockSelectedPages was called for an MDL that is locked, mapped, built or partial.");
    while (Locked < Pages && NT_SUCCESS(Status)) {
        ULONG_PTR Va = (ULONG_PTR)SegmentArray[Locked].Buffer; /* driver memory: read once, with nothing held */
        User |= HalIsUserAddress(Va);
        if (Va & (PAGE_SIZE - 1)) {
            Status = STATUS_DATATYPE_MISALIGNMENT;
        } else if (HalIsUserAddress(Va) ? !MiIsCurrentVa(Va) : AccessMode != KernelMode) {
            Status = STATUS_ACCESS_VIOLATION;
        } else {
            Status = MiLockRange(Va, 1, Write, Frames + Locked, __builtin_return_address(0));
            Locked += NT_SUCCESS(Status);
            KiMarkWritten(Va, PAGE_SIZE);
        }
    }
    if (!NT_SUCCESS(Status)) {
        MiUnlockFrames(Frames, Locked);
        ExRaiseStatus(Status);
    }
    MiNoteLocked(Mdl, Pages, Write, User, __builtin_return_address(0));
}

static DECLSPEC_NORETURN VOID MiStopUnlock(PMDL Mdl, PFN_NUMBER Frame)
{
    PMMPFN Pfn = MiPfn(Frame);
    if (HalIsUserAddress((ULONG_PTR)Mdl->StartVa)) {
        KiStop(PROCESS_HAS_LOCKED_PAGES,
               "MmUnlockPages was called for process pages that are not locked: twice, or never locked.", NULL, 1,
               (ULONG_PTR)Mdl, MiSpaceOfMdl(Mdl) ? MiSpaceOfMdl(Mdl)->LockedPages : MiState->LockedPages, 0);
    }
    KiStop(PFN_LIST_CORRUPT, "MmUnlockPages was called for pages that are not locked: twice, or never locked.", NULL, 7, Frame,
           Pfn && Pfn->State == MiPageActive ? Pfn->u2.ShareCount : 0, 0);
}

/* The Verifier's stops for unlocking an MDL that says itself that it is not locked. */
static DECLSPEC_NORETURN VOID MiStopNotLocked(PMDL Mdl)
{
    USHORT Flags = (USHORT)Mdl->MdlFlags;
    if (Flags & MDL_PARTIAL) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "MmUnlockPages was called for a partial MDL: its source is what is locked.",
               NULL, 0xB4, (ULONG_PTR)Mdl, Flags, MDL_PARTIAL);
    }
    KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
           Flags & MDL_SOURCE_IS_NONPAGED_POOL
               ? "MmUnlockPages was called for an MDL that was built for nonpaged pool, which is never unlocked."
               : "MmUnlockPages was called for an MDL whose pages were never locked, or are unlocked already.",
           NULL, Flags & MDL_SOURCE_IS_NONPAGED_POOL ? 0x7D : 0x7C, (ULONG_PTR)Mdl, Flags, 0);
}

VOID MmUnlockPages(PMDL Mdl)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    MiRequireIrql(DISPATCH_LEVEL, 0x78, "MmUnlockPages was called above DISPATCH_LEVEL.", (ULONG_PTR)Mdl, 0);
    if (!(Mdl->MdlFlags & MDL_PAGES_LOCKED)) {
        if (KiVerifies(KI_ANY_OPTION, __builtin_return_address(0))) {
            MiStopNotLocked(Mdl);
        }
        MiStopUnlock(Mdl, Pages ? Frames[0] : 0);
    }
    if (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) {
        MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
    }
    SIZE_T Bad = MiUnlockFrames(Frames, Pages);
    if (Bad != Pages) {
        MiStopUnlock(Mdl, Frames[Bad]);
    }
    if (Mdl->Process) {
        MiChargeLockedPages(Mdl, -(LONG64)Pages);
    }
    MiTrackLocks(Mdl, 0, NULL);
    Mdl->MdlFlags &= (CSHORT) ~(MDL_PAGES_LOCKED | MDL_IO_SPACE);
}

NTSTATUS MmAdvanceMdl(PMDL Mdl, ULONG NumberOfBytes)
{
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    (VOID) KiCurrentThread();
    if (NumberOfBytes > Mdl->ByteCount) {
        return STATUS_INVALID_PARAMETER_2;
    }
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    SIZE_T Passed = ((SIZE_T)Mdl->ByteOffset + NumberOfBytes) >> PAGE_SHIFT;
    Passed = Passed < Pages ? Passed : Pages;
    BOOLEAN OwnMapping = (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) && !(Mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL);
    if (Passed) {
        ULONG64 Extra = Passed;
        if (OwnMapping) { /* the addresses passed stay taken until the unmap, but show nothing any more */
            MiUnmapFrames((ULONG_PTR)PAGE_ALIGN(Mdl->MappedSystemVa), Passed);
            Extra += Mdl->MdlFlags & MDL_FREE_EXTRA_PTES ? Frames[Pages] : 0;
        }
        if (Mdl->MdlFlags & MDL_PAGES_LOCKED) {
            SIZE_T Bad = MiUnlockFrames(Frames, Passed);
            if (Bad != Passed) {
                MiStopUnlock(Mdl, Frames[Bad]);
            }
            if (Mdl->Process) {
                MiChargeLockedPages(Mdl, -(LONG64)Passed);
            }
        }
        memmove(Frames, Frames + Passed, (Pages - Passed) * sizeof(*Frames));
        if (OwnMapping) {
            Frames[Pages - Passed] = Extra; /* behind the array, as many as MmUnmapLockedPages must add below */
            Mdl->MdlFlags |= MDL_FREE_EXTRA_PTES;
        }
        Mdl->StartVa = (PVOID)((ULONG_PTR)Mdl->StartVa + (Passed << PAGE_SHIFT));
    }
    Mdl->ByteOffset = (ULONG)(Mdl->ByteOffset + NumberOfBytes - (Passed << PAGE_SHIFT));
    Mdl->ByteCount -= NumberOfBytes;
    if (Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) {
        Mdl->MappedSystemVa = (PVOID)((ULONG_PTR)Mdl->MappedSystemVa + NumberOfBytes);
    }
    return STATUS_SUCCESS;
}
