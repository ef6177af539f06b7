/*
 * startio.c - device queues, and StartIo on top of them. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeDeviceQueue, KeInsert(ByKey)DeviceQueue, KeRemove(ByKey)DeviceQueue, KeRemoveDeviceQueueIfBusy,
 * KeRemoveEntryDeviceQueue, IoStartPacket, IoStartNextPacket(ByKey), IoSetStartIoAttributes.
 *
 *     not busy --insert: FALSE, nothing queued--> busy --insert: TRUE, queued--> busy
 *     busy --remove, empty: NULL--> not busy;  busy --remove--> an entry, still busy
 *
 * A queue has a spin lock of its own, taken at DISPATCH_LEVEL. IoStartPacket with a cancel function holds the cancel spin lock
 * as documented, until the packet is CurrentIrp or queued.
 * With DeferredStartIo a StartIo that itself asks for the next packet is not entered again: it is counted, and the outermost
 * call goes on with the next.
 */
#include "io/iopp.h"

VOID KeInitializeDeviceQueue(PKDEVICE_QUEUE DeviceQueue)
{
    memset(DeviceQueue, 0, sizeof *DeviceQueue);
    DeviceQueue->Type = 20; /* DeviceQueueObject */
    DeviceQueue->Size = sizeof *DeviceQueue;
    InitializeListHead(&DeviceQueue->DeviceListHead);
    KeInitializeSpinLock(&DeviceQueue->Lock);
}

static KIRQL IopLockQueue(PKDEVICE_QUEUE Queue)
{
    KIRQL Irql;
    KeAcquireSpinLock(&Queue->Lock, &Irql);
    return Irql;
}

BOOLEAN KeInsertDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry)
{
    KIRQL Irql = IopLockQueue(DeviceQueue);
    BOOLEAN Busy = DeviceQueue->Busy;
    DeviceQueue->Busy = TRUE;
    if (Busy)
        InsertTailList(&DeviceQueue->DeviceListHead, &DeviceQueueEntry->DeviceListEntry);
    DeviceQueueEntry->Inserted = Busy;
    KeReleaseSpinLock(&DeviceQueue->Lock, Irql);
    return Busy;
}

BOOLEAN KeInsertByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry, ULONG SortKey)
{
    KIRQL Irql = IopLockQueue(DeviceQueue);
    BOOLEAN Busy = DeviceQueue->Busy;
    DeviceQueue->Busy = TRUE;
    DeviceQueueEntry->SortKey = SortKey;
    if (Busy) {
        /* Before the first entry with a greater key. */
        PLIST_ENTRY At = DeviceQueue->DeviceListHead.Flink;
        while (At != &DeviceQueue->DeviceListHead &&
               CONTAINING_RECORD(At, KDEVICE_QUEUE_ENTRY, DeviceListEntry)->SortKey <= SortKey)
            At = At->Flink;
        InsertTailList(At, &DeviceQueueEntry->DeviceListEntry);
    }
    DeviceQueueEntry->Inserted = Busy;
    KeReleaseSpinLock(&DeviceQueue->Lock, Irql);
    return Busy;
}

static PKDEVICE_QUEUE_ENTRY IopTakeEntry(PKDEVICE_QUEUE Queue, const ULONG *SortKey)
{
    KIRQL Irql = IopLockQueue(Queue);
    PKDEVICE_QUEUE_ENTRY Entry = NULL;
    if (IsListEmpty(&Queue->DeviceListHead)) {
        Queue->Busy = FALSE;
    } else {
        /* With a key: the first whose key is not less, else the first of all. */
        PLIST_ENTRY At = Queue->DeviceListHead.Flink;
        if (SortKey) {
            while (At != &Queue->DeviceListHead &&
                   CONTAINING_RECORD(At, KDEVICE_QUEUE_ENTRY, DeviceListEntry)->SortKey < *SortKey)
                At = At->Flink;
            if (At == &Queue->DeviceListHead)
                At = At->Flink;
        }
        RemoveEntryList(At);
        Entry = CONTAINING_RECORD(At, KDEVICE_QUEUE_ENTRY, DeviceListEntry);
        Entry->Inserted = FALSE;
    }
    KeReleaseSpinLock(&Queue->Lock, Irql);
    return Entry;
}

PKDEVICE_QUEUE_ENTRY KeRemoveDeviceQueue(PKDEVICE_QUEUE DeviceQueue)
{
    return IopTakeEntry(DeviceQueue, NULL);
}

PKDEVICE_QUEUE_ENTRY KeRemoveByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, ULONG SortKey)
{
    return IopTakeEntry(DeviceQueue, &SortKey);
}

PKDEVICE_QUEUE_ENTRY KeRemoveByKeyDeviceQueueIfBusy(PKDEVICE_QUEUE DeviceQueue, ULONG SortKey)
{
    return DeviceQueue->Busy ? IopTakeEntry(DeviceQueue, &SortKey) : NULL;
}

BOOLEAN KeRemoveEntryDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry)
{
    KIRQL Irql = IopLockQueue(DeviceQueue);
    BOOLEAN Queued = DeviceQueueEntry->Inserted;
    if (Queued) {
        RemoveEntryList(&DeviceQueueEntry->DeviceListEntry);
        DeviceQueueEntry->Inserted = FALSE;
    }
    KeReleaseSpinLock(&DeviceQueue->Lock, Irql);
    return Queued;
}

/* ---- StartIo ---- */
static VOID IopCallStartIo(PDEVICE_OBJECT Device, PIRP Irp)
{
    KI_CALLOUT(VOID, Device->DriverObject->DriverStartIo, (PDEVICE_OBJECT, PIRP), (Device, Irp));
}

static PKDEVICE_QUEUE_ENTRY IopNextEntry(PDEVICE_OBJECT Device, const ULONG *Key)
{
    return IopTakeEntry(&Device->DeviceQueue, Key);
}

static VOID IopStartEntry(PDEVICE_OBJECT Device, BOOLEAN Cancelable, const ULONG *Key)
{
    KIRQL Irql = 0;
    if (Cancelable)
        IoAcquireCancelSpinLock(&Irql);
    /* CurrentIrp is written while the queue is busy only: a queue found empty is another thread's at once. */
    Device->CurrentIrp = NULL;
    PKDEVICE_QUEUE_ENTRY Entry = IopNextEntry(Device, Key);
    PIRP Irp = Entry ? CONTAINING_RECORD(Entry, IRP, Tail.Overlay.DeviceQueueEntry) : NULL;
    if (Irp)
        Device->CurrentIrp = Irp;
    if (Irp && Cancelable && (IopDevice(Device)->Flags & IOP_D_NO_CANCEL))
        IoSetCancelRoutine(Irp, NULL);
    if (Cancelable)
        IoReleaseCancelSpinLock(Irql);
    if (Irp)
        IopCallStartIo(Device, Irp);
}

static VOID IopStartNext(PDEVICE_OBJECT Device, BOOLEAN Cancelable, const ULONG *Key)
{
    IOP_DEVICE *Private = IopDevice(Device);
    if (!(Private->Flags & IOP_D_DEFER_STARTIO)) {
        IopStartEntry(Device, Cancelable, Key);
        return;
    }
    if (__atomic_add_fetch(&Private->StartIoCount, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    do
        IopStartEntry(Device, Cancelable, Key);
    while (__atomic_sub_fetch(&Private->StartIoCount, 1, __ATOMIC_ACQ_REL) > 0);
}

VOID IoStartPacket(PDEVICE_OBJECT DeviceObject, PIRP Irp, PULONG Key, PDRIVER_CANCEL CancelFunction)
{
    KIRQL OldIrql, CancelIrql = 0;
    BOOLEAN Queued;
    KeRaiseIrql(DISPATCH_LEVEL, &OldIrql);
    if (CancelFunction) {
        IoAcquireCancelSpinLock(&CancelIrql);
        IoSetCancelRoutine(Irp, CancelFunction);
    }
    if (Key)
        Queued = KeInsertByKeyDeviceQueue(&DeviceObject->DeviceQueue, &Irp->Tail.Overlay.DeviceQueueEntry, *Key);
    else
        Queued = KeInsertDeviceQueue(&DeviceObject->DeviceQueue, &Irp->Tail.Overlay.DeviceQueueEntry);
    if (!Queued) {
        DeviceObject->CurrentIrp = Irp;
        if (CancelFunction) {
            if (IopDevice(DeviceObject)->Flags & IOP_D_NO_CANCEL)
                IoSetCancelRoutine(Irp, NULL);
            IoReleaseCancelSpinLock(CancelIrql);
        }
        if (IopDevice(DeviceObject)->Flags & IOP_D_DEFER_STARTIO) {
            if (__atomic_add_fetch(&IopDevice(DeviceObject)->StartIoCount, 1, __ATOMIC_ACQ_REL) == 1) {
                IopCallStartIo(DeviceObject, Irp);
                while (__atomic_sub_fetch(&IopDevice(DeviceObject)->StartIoCount, 1, __ATOMIC_ACQ_REL) > 0)
                    IopStartEntry(DeviceObject, CancelFunction != NULL, Key);
            }
        } else {
            IopCallStartIo(DeviceObject, Irp);
        }
    } else if (CancelFunction) {
        /* Cancelled in the meantime: its routine takes it off the queue, as it would from outside. */
        if (Irp->Cancel) {
            PDRIVER_CANCEL Routine = IoSetCancelRoutine(Irp, NULL);
            Irp->CancelIrql = CancelIrql;
            if (Routine)
                KI_CALLOUT(VOID, Routine, (PDEVICE_OBJECT, PIRP), (DeviceObject, Irp));
            else
                IoReleaseCancelSpinLock(CancelIrql);
        } else {
            IoReleaseCancelSpinLock(CancelIrql);
        }
    }
    KeLowerIrql(OldIrql);
}

VOID IoStartNextPacket(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable)
{
    IopStartNext(DeviceObject, Cancelable, NULL);
}

VOID IoStartNextPacketByKey(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable, ULONG Key)
{
    IopStartNext(DeviceObject, Cancelable, &Key);
}

VOID IoSetStartIoAttributes(PDEVICE_OBJECT DeviceObject, BOOLEAN DeferredStartIo, BOOLEAN NonCancelable)
{
    if (DeferredStartIo)
        IopDevice(DeviceObject)->Flags |= IOP_D_DEFER_STARTIO;
    if (NonCancelable)
        IopDevice(DeviceObject)->Flags |= IOP_D_NO_CANCEL;
}
