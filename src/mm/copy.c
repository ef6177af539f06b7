/*
 * copy.c - copies that must not fault: managed memory is reached through its frames. SPDX-License-Identifier:
 * MIT
 *
 * MmCopyToManaged and MmCopyFromManaged serve the layers above: any managed address, of any protection (a
 * read-only image section, special pool without access), paged in on the way; the frame is locked while it is
 * copied, so a concurrent free cannot hand it to someone else. Host memory, where it is accessible, is copied
 * as it is.
 *
 * MmCopyMemory is the driver's safe copy: it obeys the protections, answers with a count instead of a fault,
 * and refuses I/O space.
 *
 * Locks: as MiMakePresent; none while bytes move. IRQL <= APC_LEVEL for pageable memory.
 */
#include "mm/mi.h"

static VOID MiUnpin(PFN_NUMBER Frame)
{
    ULONG64 Commit = 0;
    KiAcquireLock(&MiState->PfnLock);
    (VOID) MiDereferenceFrameLocked(Frame, &Commit);
    KiReleaseLock(&MiState->PfnLock);
    if (Commit) {
        MiReturnCommitment(Commit);
    }
}

/* Moves bytes between Buffer and managed Va; stops at the first page that cannot be reached. *Done says how
 * far. */
static NTSTATUS MiCopyManaged(ULONG_PTR Va, UCHAR *Buffer, SIZE_T Length, BOOLEAN Write, BOOLEAN AnyProtection, SIZE_T *Done)
{
    *Done = 0;
    while (*Done < Length) {
        ULONG_PTR At = Va + *Done;
        SIZE_T Some = PAGE_SIZE - (At & (PAGE_SIZE - 1));
        Some = Some < Length - *Done ? Some : Length - *Done;
        if (HalIsSystemAddress(At) || HalIsUserAddress(At)) {
            PFN_NUMBER Frame;
            NTSTATUS Status = AnyProtection || HalIsSystemAddress(At) || MiIsCurrentVa(At)
                                  ? MiMakePresent(At, Write, AnyProtection, &Frame)
                                  : STATUS_ACCESS_VIOLATION; /* another process's */
            if (!NT_SUCCESS(Status)) {
                return Status == STATUS_GUARD_PAGE_VIOLATION ? STATUS_ACCESS_VIOLATION : Status;
            }
            if (!AnyProtection && MiPfn(Frame) == NULL) {
                return STATUS_ACCESS_VIOLATION; /* I/O space: a read may have effects */
            }
            UCHAR *Window = (UCHAR *)HalWindow(Frame) + (At & (PAGE_SIZE - 1));
            if (Write) {
                memcpy(Window, Buffer + *Done, Some);
                KiMarkWritten(Window, Some); /* shown again when the frame is another's */
                KiMarkWritten(At, Some);
            } else {
                memcpy(Buffer + *Done, Window, Some);
            }
            if (MiPfn(Frame)) {
                MiUnpin(Frame);
            }
        } else {
            if (!HalProbeHostMemory((PVOID)At, Some, Write)) {
                return STATUS_ACCESS_VIOLATION;
            }
            if (Write) {
                memcpy((PVOID)At, Buffer + *Done, Some);
            } else {
                memcpy(Buffer + *Done, (PVOID)At, Some);
            }
        }
        *Done += Some;
    }
    return STATUS_SUCCESS;
}

NTSTATUS MmCopyToManaged(PVOID Va, const VOID *Source, SIZE_T Length)
{
    SIZE_T Done;
    return MiCopyManaged((ULONG_PTR)Va, (UCHAR *)(ULONG_PTR)Source, Length, TRUE, TRUE, &Done);
}

NTSTATUS MmCopyFromManaged(VOID *Target, const VOID *Va, SIZE_T Length)
{
    SIZE_T Done;
    return MiCopyManaged((ULONG_PTR)Va, Target, Length, FALSE, TRUE, &Done);
}

static NTSTATUS MiCopyPhysical(UCHAR *Target, ULONG64 Physical, SIZE_T Length, SIZE_T *Done)
{
    *Done = 0;
    while (*Done < Length) {
        ULONG64 At = Physical + *Done;
        SIZE_T Some = PAGE_SIZE - (At & (PAGE_SIZE - 1));
        Some = Some < Length - *Done ? Some : Length - *Done;
        const MI_RUN *Run = MiRunOfPage(At >> PAGE_SHIFT);
        if (Run == NULL || Run->Device) {
            return STATUS_INVALID_ADDRESS;
        }
        memcpy(Target + *Done, (const UCHAR *)HalWindow(At >> PAGE_SHIFT) + (At & (PAGE_SIZE - 1)), Some);
        *Done += Some;
    }
    return STATUS_SUCCESS;
}

NTSTATUS MmCopyMemory(PVOID TargetAddress, MM_COPY_ADDRESS SourceAddress, SIZE_T NumberOfBytes, ULONG Flags,
                      PSIZE_T NumberOfBytesTransferred)
{
    (VOID) KiCurrentThread();
    *NumberOfBytesTransferred = 0;
    if (Flags == MM_COPY_MEMORY_VIRTUAL) {
        return MiCopyManaged((ULONG_PTR)SourceAddress.VirtualAddress, TargetAddress, NumberOfBytes, FALSE, FALSE,
                             NumberOfBytesTransferred);
    }
    if (Flags == MM_COPY_MEMORY_PHYSICAL) {
        return MiCopyPhysical(TargetAddress, (ULONG64)SourceAddress.PhysicalAddress.QuadPart, NumberOfBytes,
                              NumberOfBytesTransferred);
    }
    return STATUS_INVALID_PARAMETER;
}
