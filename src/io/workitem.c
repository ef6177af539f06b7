/*
 * workitem.c - work items that keep their device, and with it their driver, while they are queued. SPDX-License-Identifier: MIT
 *
 * Implements IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem(Ex), IoSizeofWorkItem, IoInitializeWorkItem,
 * IoUninitializeWorkItem.
 *
 *     idle --IoQueueWorkItem: reference on the object--> queued --worker--> routine runs --> reference dropped
 *
 * The item is idle again before the routine is called, so the routine may queue or free it; nothing of it is touched after.
 * Queued twice: INVALID_WORK_QUEUE_ITEM (0x96: item, 0, 0, 0). Freed while queued: 0x96 too. A device's driver counts what is
 * queued or runs, which an unload reports.
 */
#include "io/iopp.h"

struct _IO_WORKITEM {
    WORK_QUEUE_ITEM Item;
    PVOID Object;
    union {
        PIO_WORKITEM_ROUTINE Routine;
        PIO_WORKITEM_ROUTINE_EX RoutineEx;
    };
    PVOID Context;
    volatile LONG Queued;
    BOOLEAN Extended;
};

static IOP_DRIVER *IopDriverOf(PVOID Object)
{
    if (((PDEVICE_OBJECT)Object)->Type == IO_TYPE_DRIVER)
        return IopDriver(Object);
    return IopDriver(((PDEVICE_OBJECT)Object)->DriverObject);
}

ULONG IoSizeofWorkItem(VOID)
{
    return sizeof(struct _IO_WORKITEM);
}

VOID IoInitializeWorkItem(PVOID IoObject, PIO_WORKITEM IoWorkItem)
{
    memset(IoWorkItem, 0, sizeof *IoWorkItem);
    IoWorkItem->Object = IoObject;
}

PIO_WORKITEM IoAllocateWorkItem(PDEVICE_OBJECT DeviceObject)
{
    PIO_WORKITEM Item = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Item, IOP_WORKITEM_TAG);
    if (Item)
        IoInitializeWorkItem(DeviceObject, Item);
    return Item;
}

VOID IoUninitializeWorkItem(PIO_WORKITEM IoWorkItem)
{
    if (__atomic_load_n(&IoWorkItem->Queued, __ATOMIC_ACQUIRE))
        KiStop(INVALID_WORK_QUEUE_ITEM, "A work item was freed while it was queued.", NULL, (ULONG_PTR)IoWorkItem, 0, 0, 0);
}

VOID IoFreeWorkItem(PIO_WORKITEM IoWorkItem)
{
    IoUninitializeWorkItem(IoWorkItem);
    ExFreePoolWithTag(IoWorkItem, IOP_WORKITEM_TAG);
}

static VOID IopRunWorkItem(PVOID Parameter)
{
    PIO_WORKITEM Item = Parameter;
    struct _IO_WORKITEM Copy = *Item;
    IOP_DRIVER *Driver = IopDriverOf(Copy.Object);
    __atomic_add_fetch(&Driver->ItemsRun, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&Item->Queued, 0, __ATOMIC_RELEASE);
    if (Copy.Extended)
        KI_CALLOUT(VOID, Copy.RoutineEx, (PVOID, PVOID, PIO_WORKITEM), (Copy.Object, Copy.Context, Item));
    else
        KI_CALLOUT(VOID, Copy.Routine, (PDEVICE_OBJECT, PVOID), (Copy.Object, Copy.Context));
    __atomic_sub_fetch(&Driver->WorkItems, 1, __ATOMIC_SEQ_CST);
    /* First the reference: who waits for the routine to return finds that the device is gone as well. The
     * driver stays until then: an unload waits for it, or keeps it (driver.c). */
    ObfDereferenceObject(Copy.Object);
    __atomic_sub_fetch(&Driver->ItemsRun, 1, __ATOMIC_SEQ_CST);
    HalWake(&Driver->ItemsRun, MAXLONG);
}

static VOID IopQueueItem(PIO_WORKITEM Item, WORK_QUEUE_TYPE QueueType)
{
    ObfReferenceObject(Item->Object);
    __atomic_add_fetch(&IopDriverOf(Item->Object)->WorkItems, 1, __ATOMIC_ACQ_REL);
    ExInitializeWorkItem(&Item->Item, IopRunWorkItem, Item);
    ExQueueWorkItem(&Item->Item, QueueType);
}

static VOID IopClaimItem(PIO_WORKITEM Item)
{
    if (__atomic_exchange_n(&Item->Queued, 1, __ATOMIC_ACQ_REL))
        KiStop(INVALID_WORK_QUEUE_ITEM, "A work item was queued while it was queued already.", NULL, (ULONG_PTR)Item, 0, 0, 0);
}

VOID IoQueueWorkItem(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE WorkerRoutine, WORK_QUEUE_TYPE QueueType, PVOID Context)
{
    IopClaimItem(IoWorkItem);
    IoWorkItem->Routine = WorkerRoutine;
    IoWorkItem->Extended = FALSE;
    IoWorkItem->Context = Context;
    IopQueueItem(IoWorkItem, QueueType);
}

VOID IoQueueWorkItemEx(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE_EX WorkerRoutine, WORK_QUEUE_TYPE QueueType, PVOID Context)
{
    IopClaimItem(IoWorkItem);
    IoWorkItem->RoutineEx = WorkerRoutine;
    IoWorkItem->Extended = TRUE;
    IoWorkItem->Context = Context;
    IopQueueItem(IoWorkItem, QueueType);
}
