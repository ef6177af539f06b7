/*
 * finish.c - the I/O manager's own part of completing a request. SPDX-License-Identifier: MIT
 *
 * After the last completion routine a packet is one of three kinds:
 *
 *   request   the host-side API or a Zw service made it (IOP_IRP_REQUEST). Its thread waits on the request's event and
 *             finishes the packet itself, at PASSIVE_LEVEL: what the special kernel APC does in Windows.
 *   owned     IoBuildDeviceIoControlRequest or IoBuildSynchronousFsdRequest made it, or an asynchronous Zw service. Finished
 *             where it completes if that cannot fault, else by a system worker.
 *   driver's  from IoAllocateIrp or IoBuildAsynchronousFsdRequest; its completion routine should have kept it. It is finished
 *             and freed like an owned one, but its MDLs are left alone.
 *
 *     request.State:  WAITING --completed--> DONE (event set) --waiter--> finished
 *                        \--- waiter gives up ---> ABANDONED --completed--> finished by the completer
 *
 * Finishing: copy Information bytes from the system buffer unless the status is an error, free the system buffer, unlock and
 * free the MDLs, store the I/O status block, free the packet, then set the caller's event: whoever it wakes finds
 * everything given back.
 *
 * A driver that returns STATUS_PENDING for a packet it completes without IoMarkIrpPending leaves its caller waiting for ever in
 * Windows. Here the request ends, and a line on the console says so; likewise a driver that returns another status
 * than STATUS_PENDING without having completed the packet.
 *
 * Invariants: 1. exactly one of waiter and completer finishes a request; 2. a packet of a thread is in IopThreadIrps until then.
 * Locks: IopThreadIrpLock (leaf).
 */
#include "io/iopp.h"
#include "ex/work.h"

static LIST_ENTRY IopThreadIrps = {&IopThreadIrps, &IopThreadIrps};
static KI_LOCK IopThreadIrpLock;

VOID IopQueueThreadIrp(PIRP Irp)
{
    KiAcquireLock(&IopThreadIrpLock);
    InsertTailList(&IopThreadIrps, &Irp->ThreadListEntry);
    KiReleaseLock(&IopThreadIrpLock);
}

VOID IopDequeueThreadIrp(PIRP Irp)
{
    KiAcquireLock(&IopThreadIrpLock);
    if (!IsListEmpty(&Irp->ThreadListEntry)) {
        RemoveEntryList(&Irp->ThreadListEntry);
        InitializeListHead(&Irp->ThreadListEntry);
    }
    KiReleaseLock(&IopThreadIrpLock);
}

VOID IoCancelThreadIo(PETHREAD Thread)
{
    for (;;) {
        PIRP Irp = NULL;
        KiAcquireLock(&IopThreadIrpLock);
        for (PLIST_ENTRY E = IopThreadIrps.Flink; E != &IopThreadIrps; E = E->Flink) {
            PIRP Candidate = CONTAINING_RECORD(E, IRP, ThreadListEntry);
            if (Candidate->Tail.Overlay.Thread == Thread && !__atomic_exchange_n(&Candidate->Cancel, TRUE, __ATOMIC_SEQ_CST)) {
                Irp = Candidate;
                break;
            }
        }
        KiReleaseLock(&IopThreadIrpLock);
        if (Irp == NULL)
            return;
        IoCancelIrp(Irp);
    }
}

const CHAR *IopValidateIrps(VOID)
{
    const CHAR *Broken = NULL;
    KiAcquireLock(&IopThreadIrpLock);
    for (PLIST_ENTRY E = IopThreadIrps.Flink; E != &IopThreadIrps && !Broken; E = E->Flink) {
        PIRP Irp = CONTAINING_RECORD(E, IRP, ThreadListEntry);
        if (E->Flink->Blink != E)
            Broken = "finish 2: the list of threads' packets is broken";
        else if (Irp->Type != IO_TYPE_IRP)
            Broken = "finish 2: a freed packet is still on its thread's list";
        else if (Irp->Tail.Overlay.Thread == NULL)
            Broken = "finish 2: a packet on a thread's list has no thread";
    }
    KiReleaseLock(&IopThreadIrpLock);
    return Broken;
}

static VOID IopWarn(const CHAR *Text)
{
    SIZE_T Length = 0;
    while (Text[Length])
        Length++;
    HalPrint(Text, Length);
}

/* To a buffer of the requester: managed memory, or the host's (a source driver's own). */
static VOID IopCopyOut(PVOID Target, const VOID *Source, SIZE_T Length)
{
    if (MmRegionOf(Target) == MmRegionNone)
        memcpy(Target, Source, Length);
    else
        MmCopyToManaged(Target, Source, Length);
}

VOID IopFinish(PIRP Irp)
{
    IO_STATUS_BLOCK Result = Irp->IoStatus;
    PKEVENT Event = Irp->UserEvent;
    PIO_STATUS_BLOCK UserIosb = Irp->UserIosb;
    PFILE_OBJECT File = Irp->Tail.Overlay.OriginalFileObject;
    BOOLEAN Owned = (Irp->AllocationFlags & IOP_IRP_OWNED) != 0;
    if (Owned && (Irp->Flags & IRP_BUFFERED_IO)) {
        if ((Irp->Flags & IRP_INPUT_OPERATION) && !NT_ERROR(Result.Status) && Irp->UserBuffer && Result.Information) {
            /* The system buffer may be larger than the caller's: no more than that was asked for is copied. */
            SIZE_T Room = (SIZE_T)Irp->Overlay.AsynchronousParameters.UserApcContext, Length = Result.Information;
            if (Length > Room) {
                IopWarn(
                    "ntmm: a driver completed a buffered request with more bytes in Information than the output buffer has\n");
                Length = Room;
            }
            IopCopyOut(Irp->UserBuffer, Irp->AssociatedIrp.SystemBuffer, Length);
        }
    }
    if (Owned && (Irp->Flags & IRP_DEALLOCATE_BUFFER) && Irp->AssociatedIrp.SystemBuffer)
        ExFreePoolWithTag(Irp->AssociatedIrp.SystemBuffer, IOP_TAG);
    if (Owned) {
        IopFreeMdlChain(Irp->MdlAddress);
        Irp->MdlAddress = NULL;
    }
    IopDequeueThreadIrp(Irp);
    IoFreeIrp(Irp);
    if (UserIosb) {
        UserIosb->Information = Result.Information;
        __atomic_store_n(&UserIosb->Status, Result.Status, __ATOMIC_RELEASE);
    }
    if (File && Owned) {
        KeSetEvent(&File->Event, IO_NO_INCREMENT, FALSE);
        File->FinalStatus = Result.Status;
    }
    if (Event)
        KeSetEvent(Event, IO_NO_INCREMENT, FALSE);
    if (File && Owned) { /* a Zw service's: the event is an object that it referenced */
        if (Event)
            ObfDereferenceObject(Event);
        ObfDereferenceObject(File);
    }
}

static VOID IopFinishWork(PVOID Context)
{
    IopFinish(Context);
}

/* Whether writing there can page-fault. */
static BOOLEAN IopMayFault(const VOID *Address)
{
    MM_REGION Region = MmRegionOf(Address);
    return Address && Region != MmRegionNone && Region != MmRegionNonPagedPool && Region != MmRegionKernelStacks &&
           Region != MmRegionDriverImages && Region != MmRegionSystemPtes;
}

static VOID IopFinishSomewhere(PIRP Irp)
{
    /* The work item lives in the packet: its drivers are done with the space they had there. */
    C_ASSERT(sizeof(WORK_QUEUE_ITEM) <= sizeof Irp->Tail.Overlay.DriverContext);
    BOOLEAN Copies = (Irp->Flags & IRP_INPUT_OPERATION) && (Irp->Flags & IRP_BUFFERED_IO);
    if (KeGetCurrentIrql() < DISPATCH_LEVEL || (!(Copies && IopMayFault(Irp->UserBuffer)) && !IopMayFault(Irp->UserIosb))) {
        IopFinish(Irp);
        return;
    }
    PWORK_QUEUE_ITEM Item = (PWORK_QUEUE_ITEM)(PVOID)Irp->Tail.Overlay.DriverContext;
    ExInitializeWorkItem(Item, IopFinishWork, Irp);
    ExQueueWorkItem(Item, CriticalWorkQueue);
}

/* ---- requests ---- */
static VOID IopFreeUserPages(IOP_REQUEST *Request)
{
    for (ULONG i = 0; i < 2; i++)
        if (Request->UserPages[i] && !__atomic_load_n(&Request->Process->Exited, __ATOMIC_ACQUIRE)) {
            MmFreeUserPages(Request->UserPages[i], Request->UserPageCount[i]);
            Request->UserPages[i] = NULL;
        }
}

IOP_REQUEST *IopCreateRequest(PIRP Irp)
{
    IOP_REQUEST *Request = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Request, IOP_TAG);
    if (Request == NULL)
        return NULL;
    KeInitializeEvent(&Request->Done, NotificationEvent, FALSE);
    Request->Irp = Irp;
    Irp->AllocationFlags |= IOP_IRP_REQUEST | IOP_IRP_OWNED;
    Irp->Tail.Overlay.IrpExtension = Request;
    return Request;
}

VOID IopDestroyRequest(IOP_REQUEST *Request)
{
    IopFreeUserPages(Request);
    if (Request->KeepFile)
        ObfDereferenceObject(Request->FileObject);
    if (Request->Process)
        ObfDereferenceObject(Request->Process);
    ExFreePoolWithTag(Request, IOP_TAG);
}

static VOID IopFinishAbandoned(PVOID Context)
{
    IOP_REQUEST *Request = Context;
    IopFinish(Request->Irp);
    IopDestroyRequest(Request);
}

VOID IopCompleteTop(PIRP Irp)
{
    IOP_REQUEST *Request = (Irp->AllocationFlags & IOP_IRP_REQUEST) ? Irp->Tail.Overlay.IrpExtension : NULL;
    LONG Waiting = IOP_R_WAITING;
    if (Request == NULL) {
        IopFinishSomewhere(Irp);
        return;
    }
    if (__atomic_compare_exchange_n(&Request->State, &Waiting, IOP_R_DONE, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        KeSetEvent(&Request->Done, IO_NO_INCREMENT, FALSE);
        return;
    }
    /* Abandoned. */
    if (KeGetCurrentIrql() == PASSIVE_LEVEL) {
        IopFinishAbandoned(Request);
        return;
    }
    PWORK_QUEUE_ITEM Item = (PWORK_QUEUE_ITEM)(PVOID)Irp->Tail.Overlay.DriverContext;
    ExInitializeWorkItem(Item, IopFinishAbandoned, Request);
    ExQueueWorkItem(Item, DelayedWorkQueue);
}

static BOOLEAN IopWaitMs(PKEVENT Event, ULONG Ms)
{
    LARGE_INTEGER Due = {.QuadPart = -(LONGLONG)Ms * 10000};
    return KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, Ms ? &Due : NULL) == STATUS_SUCCESS;
}

NTSTATUS IopSendAndWait(PDEVICE_OBJECT Device, IOP_REQUEST *Request, ULONG TimeoutMs, ULONG_PTR *Information,
                        BOOLEAN *Abandoned)
{
    PIRP Irp = Request->Irp;
    LONG Waiting = IOP_R_WAITING;
    NTSTATUS Returned, Status;
    ULONG Major = IoGetNextIrpStackLocation(Irp)->MajorFunction;
    PDRIVER_DISPATCH Dispatch = Device->DriverObject->MajorFunction[Major <= IRP_MJ_MAXIMUM_FUNCTION ? Major : 0];
    *Abandoned = FALSE;
    Irp->Tail.Overlay.Thread = KiCurrentThread();
    IopQueueThreadIrp(Irp);
    Returned = IofCallDriver(Device, Irp);
    if (KeGetCurrentIrql() != PASSIVE_LEVEL)
        KiStopFor((const VOID *)(ULONG_PTR)Dispatch, IRQL_GT_ZERO_AT_SYSTEM_SERVICE,
                  "A driver's dispatch routine returned from a request above PASSIVE_LEVEL.", (ULONG_PTR)Dispatch,
                  KeGetCurrentIrql(), 0, 0);
    if (Returned != STATUS_PENDING) {
        if (__atomic_compare_exchange_n(&Request->State, &Waiting, IOP_R_ABANDONED, FALSE, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            IopWarn("ntmm: a driver returned from a request without completing it and without STATUS_PENDING\n");
            *Abandoned = TRUE;
            if (Information)
                *Information = 0;
            return Returned;
        }
    } else {
        BOOLEAN Came = IopWaitMs(&Request->Done, TimeoutMs);
        if (!Came) {
            IoCancelIrp(Irp);
            Came = IopWaitMs(&Request->Done, TimeoutMs < 1000 ? 1000 : TimeoutMs);
        }
        if (!Came && __atomic_compare_exchange_n(&Request->State, &Waiting, IOP_R_ABANDONED, FALSE, __ATOMIC_ACQ_REL,
                                                 __ATOMIC_ACQUIRE)) {
            *Abandoned = TRUE;
            if (Information)
                *Information = 0;
            return STATUS_IO_TIMEOUT;
        }
        if (!Irp->PendingReturned)
            IopWarn("ntmm: a driver returned STATUS_PENDING for an IRP that it completed without IoMarkIrpPending\n");
    }
    /* Complete, but the completer may still be inside KeSetEvent: its last touch is before the wait is over. */
    KeWaitForSingleObject(&Request->Done, Executive, KernelMode, FALSE, NULL);
    Request->IoStatus = Irp->IoStatus;
    Status = Irp->IoStatus.Status;
    if (Information)
        *Information = Irp->IoStatus.Information;
    IopFinish(Irp);
    return Status;
}
