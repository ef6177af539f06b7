/*
 * remlock.c - remove locks. SPDX-License-Identifier: MIT
 *
 * Implements IoInitializeRemoveLockEx, IoAcquireRemoveLockEx, IoReleaseRemoveLockEx, IoReleaseRemoveLockAndWaitEx.
 *
 *     IoCount: 1 (the device's own) + acquisitions.  Removed: acquisitions fail with STATUS_DELETE_PENDING.
 *     AndWait: Removed, drops the caller's and the device's own, waits for 0 (RemoveEvent).
 *
 * Under I/O verification a lock that is initialised again before it was removed, in memory that was not freed meanwhile, is
 * 0xC4/0xD7. Only the common block of a free build is used; Tag, File and the limits are accepted and not tracked.
 */
#include "io/iopp.h"
#include "ex/ex.h"

VOID IoInitializeRemoveLockEx(PIO_REMOVE_LOCK Lock, ULONG AllocateTag, ULONG MaxLockedMinutes, ULONG HighWatermark,
                              ULONG RemlockSize)
{
    UNREFERENCED_PARAMETER(AllocateTag);
    UNREFERENCED_PARAMETER(MaxLockedMinutes);
    UNREFERENCED_PARAMETER(HighWatermark);
    if (KiVerifies(KI_VERIFY_IO, __builtin_return_address(0))) {
        const VOID *Shadow = ExpNoteObject(ExpObjectRemoveLock, Lock);
        if (Shadow != NULL)
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
                   "A remove lock was initialised that is initialised already and was not removed.", Lock, 0xD7,
                   (ULONG_PTR)Shadow, (ULONG_PTR)Lock, 0);
    }
    memset(Lock, 0, RemlockSize < sizeof *Lock ? sizeof *Lock : RemlockSize);
    Lock->Common.IoCount = 1;
    KeInitializeEvent(&Lock->Common.RemoveEvent, SynchronizationEvent, FALSE);
}

static VOID IopRemoveLockDrop(PIO_REMOVE_LOCK Lock)
{
    if (__atomic_sub_fetch(&Lock->Common.IoCount, 1, __ATOMIC_ACQ_REL) == 0)
        KeSetEvent(&Lock->Common.RemoveEvent, IO_NO_INCREMENT, FALSE);
}

NTSTATUS IoAcquireRemoveLockEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, PCSTR File, ULONG Line, ULONG RemlockSize)
{
    UNREFERENCED_PARAMETER(Tag);
    UNREFERENCED_PARAMETER(File);
    UNREFERENCED_PARAMETER(Line);
    UNREFERENCED_PARAMETER(RemlockSize);
    __atomic_add_fetch(&RemoveLock->Common.IoCount, 1, __ATOMIC_ACQ_REL);
    if (!__atomic_load_n(&RemoveLock->Common.Removed, __ATOMIC_ACQUIRE))
        return STATUS_SUCCESS;
    IopRemoveLockDrop(RemoveLock);
    return STATUS_DELETE_PENDING;
}

VOID IoReleaseRemoveLockEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, ULONG RemlockSize)
{
    UNREFERENCED_PARAMETER(Tag);
    UNREFERENCED_PARAMETER(RemlockSize);
    IopRemoveLockDrop(RemoveLock);
}

VOID IoReleaseRemoveLockAndWaitEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, ULONG RemlockSize)
{
    UNREFERENCED_PARAMETER(Tag);
    UNREFERENCED_PARAMETER(RemlockSize);
    ExpForgetObject(ExpObjectRemoveLock, RemoveLock);
    __atomic_store_n(&RemoveLock->Common.Removed, TRUE, __ATOMIC_RELEASE);
    __atomic_sub_fetch(&RemoveLock->Common.IoCount, 1, __ATOMIC_ACQ_REL);
    if (__atomic_sub_fetch(&RemoveLock->Common.IoCount, 1, __ATOMIC_ACQ_REL) > 0)
        KeWaitForSingleObject(&RemoveLock->Common.RemoveEvent, Executive, KernelMode, FALSE, NULL);
}
