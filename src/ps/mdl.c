/*
 * mdl.c - locking the pages of another process. SPDX-License-Identifier: MIT
 *
 * Implements MmProbeAndLockProcessPages: attaches to the process, locks there, detaches, and only then raises. An MDL that
 * is locked, mapped, built or partial already is 0xC4/0xB1. Locks: none. IRQL <= APC_LEVEL.
 */
#include "mm/mm.h"
#include "ps/psp.h"

VOID MmProbeAndLockProcessPages(PMDL Mdl, PEPROCESS Process, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation)
{
    KAPC_STATE State;
    KIRQL Irql = KiCurrentThread()->Irql;
    BOOLEAN Attach = Process != PsGetCurrentProcess();
    NTSTATUS Status;
    if (Irql > DISPATCH_LEVEL)
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "MmProbeAndLockProcessPages was called above DISPATCH_LEVEL.", NULL, 0x71,
               Irql, (ULONG_PTR)Mdl, (ULONG_PTR)Process);
    if (Attach)
        KeStackAttachProcess(Process, &State);
    Status = MmLockMdl(Mdl, AccessMode, Operation);
    if (Attach)
        KeUnstackDetachProcess(&State);
    if (!NT_SUCCESS(Status))
        ExRaiseStatus(Status);
}
