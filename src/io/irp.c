/*
 * irp.c - I/O request packets: their memory, their way down and up the stack, cancellation. SPDX-License-Identifier: MIT
 *
 * Implements IoAllocateIrp(Ex), IoFreeIrp, IoInitializeIrp, IoReuseIrp, IoMakeAssociatedIrp, IofCallDriver,
 * IofCompleteRequest, IoForwardIrpSynchronously, IoSetCompletionRoutineEx, IoCancelIrp, IoCancelThreadIo, the cancel and VPB
 * spin locks, IoGetRequestorProcess(Id), IoIsOperationSynchronous, top-level IRPs.
 *
 *     [ IRP | location 1 | location 2 | ... | location StackCount ]
 *             lowest driver                   highest driver         CurrentLocation: StackCount+1 before the first call
 *
 *     CurrentLocation:  StackCount+1 --IofCallDriver--> StackCount ... 1    (0 would be 0x35)
 *                       up again in IofCompleteRequest, one location for each completion routine
 *                       StackCount+2: complete; completing again is 0x44, as is anything done to a freed packet
 *
 * Completion of a location: PendingReturned is the location's SL_PENDING_RETURNED; if its Control asks for this outcome,
 * the routine is called and may take the packet back with STATUS_MORE_PROCESSING_REQUIRED; otherwise the pending bit is
 * passed up. After the last location the I/O manager's part follows (finish.c).
 *
 * Invariants: 1. 1 <= CurrentLocation <= StackCount+1 from allocation to completion; 2. CurrentStackLocation is the address of
 * location CurrentLocation; 3. a completed packet has no cancel routine (0x48); 4. ThreadListEntry is linked only while
 * the packet belongs to a thread, and then it may not be freed by a driver (0xC9).
 * IRQL: <= DISPATCH_LEVEL throughout. The cancel spin lock is a spin lock that drivers hold; nothing of ours is under it.
 * Watch: tests/ddi/io_irp.c, tests/misuse/io_*.c, tests/stress/io_stress_test.c.
 */
#include "io/iopp.h"

#define IOP_IRP_TAG 0x20707249u /* 'Irp ' */

static KSPIN_LOCK IopCancelLock, IopVpbLock;

/* The type of a packet that may have been freed. */
KI_NO_MSAN __attribute__((no_sanitize("address", "thread"), noinline)) static BOOLEAN IopIsIrp(const volatile IRP *Irp)
{
    return Irp->Type == IO_TYPE_IRP;
}

VOID IoInitializeIrp(PIRP Irp, USHORT PacketSize, CCHAR StackSize)
{
    memset(Irp, 0, PacketSize);
    Irp->Type = IO_TYPE_IRP;
    Irp->Size = PacketSize;
    Irp->StackCount = StackSize;
    Irp->CurrentLocation = (CHAR)(StackSize + 1);
    InitializeListHead(&Irp->ThreadListEntry);
    Irp->Tail.Overlay.CurrentStackLocation = (PIO_STACK_LOCATION)(Irp + 1) + StackSize;
}

PIRP IopAllocateIrp(CCHAR StackSize)
{
    USHORT Size = IoSizeOfIrp(StackSize);
    PIRP Irp = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, Size, IOP_IRP_TAG);
    if (Irp == NULL)
        return NULL;
    IoInitializeIrp(Irp, Size, StackSize);
    Irp->AllocationFlags = IOP_IRP_ALLOCATED;
    return Irp;
}

PIRP IoAllocateIrp(CCHAR StackSize, BOOLEAN ChargeQuota)
{
    UNREFERENCED_PARAMETER(ChargeQuota);
    if (StackSize < 1)
        return NULL;
    return IopAllocateIrp(StackSize);
}

PIRP IoAllocateIrpEx(PDEVICE_OBJECT DeviceObject, CCHAR StackSize, BOOLEAN ChargeQuota)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return IoAllocateIrp(StackSize, ChargeQuota);
}

PIRP IoMakeAssociatedIrp(PIRP Irp, CCHAR StackSize)
{
    PIRP New = IoAllocateIrp(StackSize, FALSE);
    if (New == NULL)
        return NULL;
    New->Flags |= IRP_ASSOCIATED_IRP;
    New->Tail.Overlay.Thread = Irp->Tail.Overlay.Thread;
    New->AssociatedIrp.MasterIrp = Irp;
    return New;
}

VOID IoFreeIrp(PIRP Irp)
{
    if (!IopIsIrp(Irp))
        KiStop(MULTIPLE_IRP_COMPLETE_REQUESTS,
               "IoFreeIrp was given something that is not an IRP, or one that was freed already.", NULL, (ULONG_PTR)Irp, 0, 0,
               0);
    if (__builtin_expect(IopVerifiesBuffers(), 0))
        IopWatchEnd(Irp);
    if (!IsListEmpty(&Irp->ThreadListEntry))
        KiStop(DRIVER_VERIFIER_IOMANAGER_VIOLATION, "IoFreeIrp was given an IRP that still belongs to a thread.", NULL, 2,
               (ULONG_PTR)Irp, 0, 0);
    Irp->Type = 0;
    if (Irp->AllocationFlags & IOP_IRP_ALLOCATED)
        ExFreePoolWithTag(Irp, IOP_IRP_TAG);
}

VOID IoReuseIrp(PIRP Irp, NTSTATUS Iostatus)
{
    UCHAR Allocation = Irp->AllocationFlags;
    IoInitializeIrp(Irp, Irp->Size, (CCHAR)Irp->StackCount);
    Irp->AllocationFlags = Allocation;
    Irp->IoStatus.Status = Iostatus;
}

/* Security checks: a request of kernel mode that leads to a buffer of user mode, other than by an MDL. */
static VOID IopCheckBuffers(PIRP Irp, PIO_STACK_LOCATION Location, ULONG_PTR Caller)
{
    const KI_SECURITY_CHECKS *Checks = __atomic_load_n(&KiSecurityChecks, __ATOMIC_ACQUIRE);
    UCHAR Major = Location->MajorFunction;
    BOOLEAN Control = Major == IRP_MJ_DEVICE_CONTROL || Major == IRP_MJ_INTERNAL_DEVICE_CONTROL;
    if (Checks == NULL || (!Control && Major != IRP_MJ_READ && Major != IRP_MJ_WRITE))
        return;
    Checks->Irp(Caller, Irp, Irp->AssociatedIrp.SystemBuffer);
    if (Irp->MdlAddress == NULL)
        Checks->Irp(Caller, Irp, Irp->UserBuffer);
    if (Control && METHOD_FROM_CTL_CODE(Location->Parameters.DeviceIoControl.IoControlCode) == METHOD_NEITHER)
        Checks->Irp(Caller, Irp, Location->Parameters.DeviceIoControl.Type3InputBuffer);
}

/* The pools are about to free a block that a driver gave to ExFreePool: an IRP in use there is 0xC4/0x105. */
BOOLEAN IopIsLiveIrp(const VOID *Block, SIZE_T Size, ULONG Tag)
{
    return Tag == IOP_IRP_TAG && Size >= sizeof(IRP) && IopIsIrp(Block);
}

/* ---- down ---- */
NTSTATUS IofCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION Location;
    PDRIVER_DISPATCH Dispatch;
    if (!IopIsIrp(Irp))
        KiStop(DRIVER_VERIFIER_IOMANAGER_VIOLATION,
               "IoCallDriver was given something that is not an IRP, or one that was freed.", NULL, 3, (ULONG_PTR)Irp, 0, 0);
    if (ObpTypeOf(DeviceObject) != &IopDeviceType)
        KiStop(DRIVER_VERIFIER_IOMANAGER_VIOLATION, "IoCallDriver was given something that is not a device object.", NULL, 4,
               (ULONG_PTR)DeviceObject, 0, 0);
    Irp->CurrentLocation--;
    if (Irp->CurrentLocation <= 0)
        KiStop(NO_MORE_IRP_STACK_LOCATIONS, "IoCallDriver was called with an IRP that has no stack location left.", NULL,
               (ULONG_PTR)Irp, 0, 0, 0);
    Location = --Irp->Tail.Overlay.CurrentStackLocation;
    Location->DeviceObject = DeviceObject;
    Dispatch = Location->MajorFunction <= IRP_MJ_MAXIMUM_FUNCTION
                   ? DeviceObject->DriverObject->MajorFunction[Location->MajorFunction]
                   : IopInvalidDeviceRequest;
    if (__builtin_expect(KiSecurityChecks != NULL, 0) && Irp->RequestorMode == KernelMode)
        IopCheckBuffers(Irp, Location, (ULONG_PTR)__builtin_return_address(0));
    if (__builtin_expect(IopVerifiesBuffers(), 0))
        IopWatchCall(DeviceObject, Irp, Location->MajorFunction);
    KIRQL Before = KeGetCurrentIrql();
    NTSTATUS Status = KI_CALLOUT(NTSTATUS, Dispatch, (PDEVICE_OBJECT, PIRP), (DeviceObject, Irp));
    if ((KiVerifierFlags() & IOP_VERIFY_IO) && KeGetCurrentIrql() != Before)
        KiStopFor((const VOID *)(ULONG_PTR)Dispatch, DRIVER_VERIFIER_IOMANAGER_VIOLATION,
                  "A dispatch routine returned at another IRQL than it was called at.", 5, (ULONG_PTR)DeviceObject, Before,
                  KeGetCurrentIrql());
    return Status;
}

static NTSTATUS IopForwardDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    if (Irp->PendingReturned)
        KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

BOOLEAN IoForwardIrpSynchronously(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    KEVENT Event;
    if (Irp->CurrentLocation <= 1)
        return FALSE;
    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, IopForwardDone, &Event, TRUE, TRUE, TRUE);
    if (IoCallDriver(DeviceObject, Irp) == STATUS_PENDING)
        KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
    return TRUE;
}

/* ---- up ---- */
static VOID IopZeroLocation(PIO_STACK_LOCATION Location)
{
    Location->MinorFunction = 0;
    Location->Flags = 0;
    Location->Control = 0;
    memset(&Location->Parameters, 0, sizeof Location->Parameters);
    Location->FileObject = NULL;
}

VOID IofCompleteRequest(PIRP Irp, CCHAR PriorityBoost)
{
    UNREFERENCED_PARAMETER(PriorityBoost);
    if (!IopIsIrp(Irp) || Irp->CurrentLocation > Irp->StackCount + 1)
        KiStop(MULTIPLE_IRP_COMPLETE_REQUESTS,
               "A driver completed an IRP that is complete already, or that was freed: usually two drivers, or two routines of "
               "one, believe that they own it.",
               NULL, (ULONG_PTR)Irp, 0, 0, 0);
    if ((KiVerifierFlags() & IOP_VERIFY_IO) && (Irp->IoStatus.Status == STATUS_PENDING || Irp->IoStatus.Status == -1))
        KiStop(DRIVER_VERIFIER_IOMANAGER_VIOLATION, "An IRP was completed with the status STATUS_PENDING, or with -1.", NULL, 6,
               (ULONG_PTR)(ULONG)Irp->IoStatus.Status, (ULONG_PTR)Irp, 0);
    if (__atomic_load_n(&Irp->CancelRoutine, __ATOMIC_ACQUIRE))
        KiStop(CANCEL_STATE_IN_COMPLETED_IRP, "An IRP was completed while its cancel routine was still set.", NULL,
               (ULONG_PTR)Irp, (ULONG_PTR)Irp->CancelRoutine, 0, 0);
    if (__builtin_expect(IopVerifiesBuffers(), 0))
        IopWatchComplete(Irp);
    for (;;) {
        PIO_STACK_LOCATION Location = Irp->Tail.Overlay.CurrentStackLocation;
        NTSTATUS Status = Irp->IoStatus.Status;
        if (Irp->CurrentLocation > Irp->StackCount) {
            Irp->CurrentLocation++;
            break;
        }
        UCHAR Control = Location->Control;
        Irp->PendingReturned = (Control & SL_PENDING_RETURNED) != 0;
        Irp->CurrentLocation++;
        Irp->Tail.Overlay.CurrentStackLocation++;
        if ((NT_SUCCESS(Status) && (Control & SL_INVOKE_ON_SUCCESS)) ||
            (!NT_SUCCESS(Status) && (Control & SL_INVOKE_ON_ERROR)) ||
            (__atomic_load_n(&Irp->Cancel, __ATOMIC_ACQUIRE) && (Control & SL_INVOKE_ON_CANCEL))) {
            PIO_COMPLETION_ROUTINE Routine = Location->CompletionRoutine;
            PVOID Context = Location->Context;
            /* The device of the driver that set the routine: one location up, none for a requester that is no driver. */
            PDEVICE_OBJECT Device = Irp->CurrentLocation == Irp->StackCount + 1 ? NULL : Location[1].DeviceObject;
            IopZeroLocation(Location);
            if (KI_CALLOUT(NTSTATUS, Routine, (PDEVICE_OBJECT, PIRP, PVOID), (Device, Irp, Context)) ==
                STATUS_MORE_PROCESSING_REQUIRED)
                return;
        } else {
            if (Irp->PendingReturned && Irp->CurrentLocation <= Irp->StackCount)
                IoMarkIrpPending(Irp);
            IopZeroLocation(Location);
        }
    }
    if (__builtin_expect(IopVerifiesBuffers(), 0))
        IopWatchEnd(Irp);
    if (Irp->Flags & IRP_ASSOCIATED_IRP) {
        PIRP Master = Irp->AssociatedIrp.MasterIrp;
        LONG Left = __atomic_sub_fetch(&Master->AssociatedIrp.IrpCount, 1, __ATOMIC_ACQ_REL);
        IoFreeIrp(Irp);
        if (Left == 0)
            IoCompleteRequest(Master, IO_NO_INCREMENT);
        return;
    }
    IopCompleteTop(Irp);
}

typedef struct _IOP_EX_CONTEXT {
    PIO_COMPLETION_ROUTINE Routine;
    PVOID Context;
    PDEVICE_OBJECT Device;
} IOP_EX_CONTEXT;

static NTSTATUS IopExCompletion(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    IOP_EX_CONTEXT Copy = *(IOP_EX_CONTEXT *)Context;
    ExFreePoolWithTag(Context, IOP_TAG);
    NTSTATUS Status = STATUS_CONTINUE_COMPLETION;
    if (Copy.Routine) {
        Status = KI_CALLOUT(NTSTATUS, Copy.Routine, (PDEVICE_OBJECT, PIRP, PVOID), (DeviceObject, Irp, Copy.Context));
    } else if (Irp->PendingReturned && Irp->CurrentLocation <= Irp->StackCount) {
        IoMarkIrpPending(Irp);
    }
    ObfDereferenceObject(Copy.Device);
    return Status;
}

NTSTATUS IoSetCompletionRoutineEx(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE CompletionRoutine,
                                  PVOID Context, BOOLEAN InvokeOnSuccess, BOOLEAN InvokeOnError, BOOLEAN InvokeOnCancel)
{
    /* The device, and with it the driver, stays until its routine has run, whatever the outcome: it is called for all three and
     * calls the driver's for those asked for. */
    IOP_EX_CONTEXT *Own = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Own, IOP_TAG);
    if (Own == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    ObfReferenceObject(DeviceObject);
    *Own = (IOP_EX_CONTEXT){CompletionRoutine, Context, DeviceObject};
    if (!InvokeOnSuccess && !InvokeOnError && !InvokeOnCancel)
        Own->Routine = NULL;
    IoSetCompletionRoutine(Irp, IopExCompletion, Own, TRUE, TRUE, TRUE);
    return STATUS_SUCCESS;
}

/* ---- cancellation ---- */
VOID IoAcquireCancelSpinLock(PKIRQL Irql)
{
    KeAcquireSpinLock(&IopCancelLock, Irql);
}

VOID IoReleaseCancelSpinLock(KIRQL Irql)
{
    KeReleaseSpinLock(&IopCancelLock, Irql);
}

VOID IoAcquireVpbSpinLock(PKIRQL Irql)
{
    KeAcquireSpinLock(&IopVpbLock, Irql);
}

VOID IoReleaseVpbSpinLock(KIRQL Irql)
{
    KeReleaseSpinLock(&IopVpbLock, Irql);
}

BOOLEAN IoCancelIrp(PIRP Irp)
{
    KIRQL Irql;
    IoAcquireCancelSpinLock(&Irql);
    __atomic_store_n(&Irp->Cancel, TRUE, __ATOMIC_SEQ_CST);
    PDRIVER_CANCEL Routine = IoSetCancelRoutine(Irp, NULL);
    if (Routine == NULL) {
        IoReleaseCancelSpinLock(Irql);
        return FALSE;
    }
    if (Irp->CurrentLocation > Irp->StackCount + 1)
        KiStop(CANCEL_STATE_IN_COMPLETED_IRP, "A completed IRP with a cancel routine was cancelled.", NULL, (ULONG_PTR)Irp,
               (ULONG_PTR)Routine, 0, 0);
    Irp->CancelIrql = Irql;
    /* A request that was not sent anywhere yet has no current location behind its last one. */
    PDEVICE_OBJECT Device = Irp->CurrentLocation <= Irp->StackCount ? IoGetCurrentIrpStackLocation(Irp)->DeviceObject : NULL;
    /* The routine releases the cancel spin lock. */
    KI_CALLOUT(VOID, Routine, (PDEVICE_OBJECT, PIRP), (Device, Irp));
    return TRUE;
}

/* ---- whose request ---- */
PEPROCESS IoGetRequestorProcess(PIRP Irp)
{
    PETHREAD Thread = Irp->Tail.Overlay.Thread;
    const IOP_REQUEST *Request =
        Irp->AllocationFlags & IOP_IRP_REQUEST ? (const IOP_REQUEST *)Irp->Tail.Overlay.IrpExtension : NULL;
    if (Request && Request->Process)
        return Request->Process;
    if (Irp->RequestorMode == UserMode && PspUserProcess)
        return PspUserProcess;
    if (Thread == NULL)
        return NULL;
    return Thread->Process ? Thread->Process : PsInitialSystemProcess;
}

ULONG IoGetRequestorProcessId(PIRP Irp)
{
    PEPROCESS Process = IoGetRequestorProcess(Irp);
    return Process ? (ULONG)(ULONG_PTR)Process->ProcessId : 0;
}

BOOLEAN IoIs32bitProcess(PIRP Irp)
{
    UNREFERENCED_PARAMETER(Irp);
    return FALSE;
}

BOOLEAN IoIsOperationSynchronous(PIRP Irp)
{
    PIO_STACK_LOCATION Location = IoGetCurrentIrpStackLocation(Irp);
    if (Irp->Flags & (IRP_SYNCHRONOUS_API | IRP_PAGING_IO))
        return (Irp->Flags & IRP_SYNCHRONOUS_API) != 0;
    return Location->FileObject && (Location->FileObject->Flags & FO_SYNCHRONOUS_IO);
}

PIRP IoGetTopLevelIrp(VOID)
{
    return KiCurrentThread()->IoState;
}

VOID IoSetTopLevelIrp(PIRP Irp)
{
    KiCurrentThread()->IoState = Irp;
}

PVOID IoGetInitialStack(VOID)
{
    return (PVOID)KiCurrentThread()->StackHigh;
}
