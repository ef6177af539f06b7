/*
 * copyvm.c - copies between address spaces, and of arguments, that never fault. SPDX-License-Identifier: MIT
 *
 * The work of MmCopyVirtualMemory, NtReadVirtualMemory and NtWriteVirtualMemory, and of services that read and write their caller's
 * arguments. Each page is made present and its frame held while bytes move through the window, so neither side need be
 * attached to, and a page that goes meanwhile is not missed. Protections are obeyed; a guard page is taken as by an access.
 *
 * An address of the user range must be of the space that is named; kernel addresses and the host's memory belong to every space.
 * Locks: as MiMakePresent; none while bytes move. IRQL <= APC_LEVEL. Watch: tests/ddi/MmCopyVirtualMemory.c.
 */
#include "mm/mi.h"
#include "mm/vm.h"

/* A page of a space, held, and where its bytes are to be had. *Frame 0: nothing is held. */
static NTSTATUS MiHoldPage(PMI_SPACE Space, ULONG_PTR Va, SIZE_T Bytes, BOOLEAN Write, UCHAR **Bytes8, PFN_NUMBER *Frame)
{
    *Frame = 0;
    if (!HalIsUserAddress(Va) && !HalIsSystemAddress(Va)) {
        *Bytes8 = (UCHAR *)Va;
        return HalProbeHostMemory((const VOID *)Va, Bytes, Write) ? STATUS_SUCCESS : STATUS_ACCESS_VIOLATION;
    }
    if (HalIsUserAddress(Va) && Va - Space->Hal.Low >= Space->Hal.High - Space->Hal.Low) {
        return STATUS_ACCESS_VIOLATION;
    }
    NTSTATUS Status = MiMakePresent(Va, Write, FALSE, Frame);
    if (Status == STATUS_GUARD_PAGE_VIOLATION) {
        *Frame = 0;
        return MiTakeGuard(Va) ? Status : STATUS_ACCESS_VIOLATION;
    }
    if (!NT_SUCCESS(Status)) {
        *Frame = 0;
        return Status;
    }
    if (MiPfn(*Frame) == NULL) {
        *Frame = 0;
        return STATUS_ACCESS_VIOLATION; /* I/O space: a read may have effects */
    }
    *Bytes8 = (UCHAR *)HalWindow(*Frame) + (Va & (PAGE_SIZE - 1));
    return STATUS_SUCCESS;
}

static VOID MiLetPageGo(PFN_NUMBER Frame)
{
    ULONG64 Commit = 0;
    if (Frame == 0) {
        return;
    }
    KiAcquireLock(&MiState->PfnLock);
    (VOID) MiDereferenceFrameLocked(Frame, &Commit);
    KiReleaseLock(&MiState->PfnLock);
    if (Commit) {
        MiReturnCommitment(Commit);
    }
}

static inline SIZE_T MiToPageEnd(ULONG_PTR Va)
{
    return PAGE_SIZE - (Va & (PAGE_SIZE - 1));
}

static NTSTATUS MiCopyPages(PMI_SPACE From, ULONG_PTR Source, PMI_SPACE To, ULONG_PTR Target, SIZE_T Bytes, SIZE_T *Done)
{
    for (*Done = 0; *Done < Bytes;) {
        ULONG_PTR In = Source + *Done, Out = Target + *Done;
        SIZE_T Some = MiToPageEnd(In) < MiToPageEnd(Out) ? MiToPageEnd(In) : MiToPageEnd(Out);
        UCHAR *Read, *Written;
        PFN_NUMBER InFrame, OutFrame;
        Some = Some < Bytes - *Done ? Some : Bytes - *Done;
        NTSTATUS Status = MiHoldPage(From, In, Some, FALSE, &Read, &InFrame);
        if (!NT_SUCCESS(Status)) {
            return Status;
        }
        Status = MiHoldPage(To, Out, Some, TRUE, &Written, &OutFrame);
        if (NT_SUCCESS(Status)) {
            memmove(Written, Read, Some);
            KiMarkWritten(Written, Some);
            KiMarkWritten(Out, Some);
            MiLetPageGo(OutFrame);
            *Done += Some;
        }
        MiLetPageGo(InFrame);
        if (!NT_SUCCESS(Status)) {
            return Status;
        }
    }
    return STATUS_SUCCESS;
}

NTSTATUS MmCopyBetween(PMM_SPACE From, const VOID *FromVa, PMM_SPACE To, VOID *ToVa, SIZE_T Bytes, SIZE_T *Done)
{
    NTSTATUS Status = MiCopyPages(From, (ULONG_PTR)FromVa, To, (ULONG_PTR)ToVa, Bytes, Done);
    return Status == STATUS_ACCESS_VIOLATION ? STATUS_PARTIAL_COPY : Status;
}

static BOOLEAN MiIsForUser(const VOID *Va, SIZE_T Bytes)
{
    ULONG_PTR Start = (ULONG_PTR)Va, End = Start + Bytes - 1;
    return End >= Start && !HalIsSystemAddress(Start) && !HalIsSystemAddress(End);
}

NTSTATUS MmCaptureFrom(KPROCESSOR_MODE Mode, VOID *To, const VOID *From, SIZE_T Bytes)
{
    SIZE_T Done;
    if (Mode == KernelMode) {
        memcpy(To, From, Bytes);
        return STATUS_SUCCESS;
    }
    if (!MiIsForUser(From, Bytes)) {
        return STATUS_ACCESS_VIOLATION;
    }
    return MiCopyPages(MiCurrentSpace(), (ULONG_PTR)From, MiCurrentSpace(), (ULONG_PTR)To, Bytes, &Done);
}

NTSTATUS MmReleaseTo(KPROCESSOR_MODE Mode, VOID *To, const VOID *From, SIZE_T Bytes)
{
    SIZE_T Done;
    if (Mode == KernelMode) {
        memcpy(To, From, Bytes);
        return STATUS_SUCCESS;
    }
    if (!MiIsForUser(To, Bytes)) {
        return STATUS_ACCESS_VIOLATION;
    }
    return MiCopyPages(MiCurrentSpace(), (ULONG_PTR)From, MiCurrentSpace(), (ULONG_PTR)To, Bytes, &Done);
}
