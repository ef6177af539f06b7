/*
 * csq.c - cancel-safe IRP queues. SPDX-License-Identifier: MIT
 *
 * Implements IoCsqInitialize(Ex), IoCsqInsertIrp(Ex), IoCsqRemoveIrp, IoCsqRemoveNextIrp. The driver supplies the list and its
 * lock; this file supplies the rules that make cancelling safe:
 *
 *   insert: with the driver's lock: mark pending, Irp -> Csq (DriverContext[3]), insert, set the cancel routine; if it was
 *           cancelled before that and the routine is still ours to take, take the IRP out again and complete it as cancelled
 *   remove: with the lock: take the cancel routine away; whoever gets it owns the IRP
 *   cancel: release the cancel spin lock, then with the driver's lock take the IRP out, and complete it
 *
 * Tail.Overlay.DriverContext[3] holds the queue or the context while the IRP is queued (documented as reserved).
 */
#include "io/iopp.h"

static VOID IopCsqLock(PIO_CSQ Csq, PKIRQL Irql)
{
    KI_CALLOUT(VOID, Csq->CsqAcquireLock, (PIO_CSQ, PKIRQL), (Csq, Irql));
}

static VOID IopCsqUnlock(PIO_CSQ Csq, KIRQL Irql)
{
    KI_CALLOUT(VOID, Csq->CsqReleaseLock, (PIO_CSQ, KIRQL), (Csq, Irql));
}

static VOID IopCsqTakeOut(PIO_CSQ Csq, PIRP Irp)
{
    KI_CALLOUT(VOID, Csq->CsqRemoveIrp, (PIO_CSQ, PIRP), (Csq, Irp));
}

static PIO_CSQ IopCsqOf(PIRP Irp, PIO_CSQ_IRP_CONTEXT *Context)
{
    PVOID Word = Irp->Tail.Overlay.DriverContext[3];
    *Context = NULL;
    if (((PIO_CSQ)Word)->Type == IO_TYPE_CSQ_IRP_CONTEXT) {
        *Context = Word;
        return (*Context)->Csq;
    }
    return Word;
}

static VOID IopCsqCancel(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_CSQ_IRP_CONTEXT Context;
    PIO_CSQ Csq;
    KIRQL Irql;
    UNREFERENCED_PARAMETER(DeviceObject);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    Csq = IopCsqOf(Irp, &Context);
    IopCsqLock(Csq, &Irql);
    IopCsqTakeOut(Csq, Irp);
    if (Context)
        Context->Irp = NULL; /* IoCsqRemoveIrp finds nothing */
    IopCsqUnlock(Csq, Irql);
    KI_CALLOUT(VOID, Csq->CsqCompleteCanceledIrp, (PIO_CSQ, PIRP), (Csq, Irp));
}

NTSTATUS IoCsqInitialize(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP CsqInsertIrp, PIO_CSQ_REMOVE_IRP CsqRemoveIrp,
                         PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp, PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock,
                         PIO_CSQ_RELEASE_LOCK CsqReleaseLock, PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp)
{
    *Csq = (IO_CSQ){IO_TYPE_CSQ,    CsqInsertIrp,   CsqRemoveIrp,           CsqPeekNextIrp,
                    CsqAcquireLock, CsqReleaseLock, CsqCompleteCanceledIrp, NULL};
    return STATUS_SUCCESS;
}

NTSTATUS IoCsqInitializeEx(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP_EX CsqInsertIrp, PIO_CSQ_REMOVE_IRP CsqRemoveIrp,
                           PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp, PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock,
                           PIO_CSQ_RELEASE_LOCK CsqReleaseLock, PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp)
{
    IoCsqInitialize(Csq, (PIO_CSQ_INSERT_IRP)(ULONG_PTR)CsqInsertIrp, CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock,
                    CsqReleaseLock, CsqCompleteCanceledIrp);
    Csq->Type = IO_TYPE_CSQ_EX;
    return STATUS_SUCCESS;
}

NTSTATUS IoCsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context, PVOID InsertContext)
{
    NTSTATUS Status = STATUS_SUCCESS;
    KIRQL Irql;
    if (Context) {
        *Context = (IO_CSQ_IRP_CONTEXT){IO_TYPE_CSQ_IRP_CONTEXT, Irp, Csq};
        Irp->Tail.Overlay.DriverContext[3] = Context;
    } else {
        Irp->Tail.Overlay.DriverContext[3] = Csq;
    }
    IopCsqLock(Csq, &Irql);
    if (Csq->Type == IO_TYPE_CSQ_EX)
        Status = KI_CALLOUT(NTSTATUS, Csq->CsqInsertIrp, (PIO_CSQ, PIRP, PVOID), (Csq, Irp, InsertContext));
    else
        KI_CALLOUT(VOID, Csq->CsqInsertIrp, (PIO_CSQ, PIRP), (Csq, Irp));
    if (!NT_SUCCESS(Status)) {
        IopCsqUnlock(Csq, Irql);
        return Status;
    }
    IoMarkIrpPending(Irp);
    IoSetCancelRoutine(Irp, IopCsqCancel);
    if (__atomic_load_n(&Irp->Cancel, __ATOMIC_SEQ_CST) && IoSetCancelRoutine(Irp, NULL) != NULL) {
        IopCsqTakeOut(Csq, Irp);
        if (Context)
            Context->Irp = NULL;
        IopCsqUnlock(Csq, Irql);
        KI_CALLOUT(VOID, Csq->CsqCompleteCanceledIrp, (PIO_CSQ, PIRP), (Csq, Irp));
        return Status;
    }
    IopCsqUnlock(Csq, Irql);
    return Status;
}

VOID IoCsqInsertIrp(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context)
{
    IoCsqInsertIrpEx(Csq, Irp, Context, NULL);
}

PIRP IoCsqRemoveNextIrp(PIO_CSQ Csq, PVOID PeekContext)
{
    PIRP Irp = NULL;
    KIRQL Irql;
    IopCsqLock(Csq, &Irql);
    for (;;) {
        Irp = KI_CALLOUT(PIRP, Csq->CsqPeekNextIrp, (PIO_CSQ, PIRP, PVOID), (Csq, Irp, PeekContext));
        if (Irp == NULL)
            break;
        /* Being cancelled: the cancel routine waits for our lock and will take it out. */
        if (IoSetCancelRoutine(Irp, NULL) == NULL)
            continue;
        IopCsqTakeOut(Csq, Irp);
        PIO_CSQ_IRP_CONTEXT Context;
        IopCsqOf(Irp, &Context);
        if (Context)
            Context->Irp = NULL;
        Irp->Tail.Overlay.DriverContext[3] = NULL;
        break;
    }
    IopCsqUnlock(Csq, Irql);
    return Irp;
}

PIRP IoCsqRemoveIrp(PIO_CSQ Csq, PIO_CSQ_IRP_CONTEXT Context)
{
    PIRP Irp;
    KIRQL Irql;
    IopCsqLock(Csq, &Irql);
    Irp = Context->Irp;
    if (Irp && IoSetCancelRoutine(Irp, NULL) == NULL)
        Irp = NULL;
    if (Irp) {
        IopCsqTakeOut(Csq, Irp);
        Context->Irp = NULL;
        Irp->Tail.Overlay.DriverContext[3] = NULL;
    }
    IopCsqUnlock(Csq, Irql);
    return Irp;
}
