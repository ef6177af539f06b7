/*
 * io_irp.c - IRPs as the documents describe them: stack locations, completion routines, cancellation, built requests.
 * Each test cites the sentence it checks. SPDX-License-Identifier: MIT
 */
#include "io_kit.h"

static PDEVICE_OBJECT Upper; /* attached over KitDevice: its driver is the kit's too */
static NTSTATUS (*UpperDispatch)(PDEVICE_OBJECT, PIRP);

static NTSTATUS (*LowerDispatch)(PDEVICE_OBJECT, PIRP);
static char Log[500];

static void Note(const char *Text)
{
    strcat(Log, Text);
    strcat(Log, " ");
}

static NTSTATUS Route(PDEVICE_OBJECT Device, PIRP Irp)
{
    return Device == Upper ? UpperDispatch(Device, Irp) : LowerDispatch(Device, Irp);
}

static NTSTATUS Succeed(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Note("lower");
    return KitComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS Fail(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Note("lower");
    return KitComplete(Irp, STATUS_UNSUCCESSFUL, 0);
}

static int Open(void **state)
{
    if (KitStart(state))
        return -1;
    KitOpen(Route, 0);
    OK(IoCreateDevice(KitDriver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Upper));
    assert_ptr_equal(IoAttachDeviceToDeviceStack(Upper, KitDevice), KitDevice);
    Upper->Flags &= ~DO_DEVICE_INITIALIZING;
    LowerDispatch = Succeed;
    return 0;
}

static int Close(void **state)
{
    IoDetachDevice(KitDevice);
    IoDeleteDevice(Upper);
    return ntmm_close(KitFile) || ntmm_remove_driver(KitLoaded, NULL) || KitStop(state);
}

static NTSTATUS Ask(void)
{
    Log[0] = 0;
    return ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, NULL, 0, NULL);
}

/* Page: IoAllocateIrp. "An IRP that is created by IoAllocateIrp must be initialized ..."; "StackSize: the number of I/O stack locations". */
static void IoAllocateIrp_Fields(void **state)
{
    (void)state;
    PIRP Irp = IoAllocateIrp(3, FALSE);
    assert_int_equal(Irp->Type, IO_TYPE_IRP);
    assert_int_equal(Irp->Size, IoSizeOfIrp(3));
    assert_int_equal(Irp->StackCount, 3);
    assert_int_equal(Irp->CurrentLocation, 4);
    assert_ptr_equal(IoGetCurrentIrpStackLocation(Irp), (PIO_STACK_LOCATION)(Irp + 1) + 3);
    assert_null(Irp->MdlAddress);
    assert_true(IsListEmpty(&Irp->ThreadListEntry));
    IoFreeIrp(Irp);
    assert_null(IoAllocateIrp(0, FALSE));
}

/* Page: IoReuseIrp. "reinitializes an IRP so that it can be reused"; "Iostatus: the NTSTATUS value to set in the IRP". */
static void IoReuseIrp_Reinitialises(void **state)
{
    (void)state;
    PIRP Irp = IoAllocateIrp(1, FALSE);
    IoSetNextIrpStackLocation(Irp);
    Irp->Cancel = TRUE;
    IoReuseIrp(Irp, STATUS_MORE_PROCESSING_REQUIRED);
    assert_int_equal(Irp->CurrentLocation, 2);
    assert_false(Irp->Cancel);
    FAILS(Irp->IoStatus.Status, STATUS_MORE_PROCESSING_REQUIRED);
    IoFreeIrp(Irp);
}

/* Page: IoCopyCurrentIrpStackLocationToNext. "copies the IRP stack parameters ... " without the completion routine. */
static void IoCopyCurrentIrpStackLocationToNext_NoRoutine(void **state)
{
    (void)state;
    PIRP Irp = IoAllocateIrp(2, FALSE);
    IoSetNextIrpStackLocation(Irp);
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp), Next = IoGetNextIrpStackLocation(Irp);
    Sp->MajorFunction = IRP_MJ_READ;
    Sp->Parameters.Read.Length = 7;
    Sp->Control = SL_PENDING_RETURNED;
    Next->CompletionRoutine = NULL;
    Sp->CompletionRoutine = (PIO_COMPLETION_ROUTINE)(ULONG_PTR)1;
    IoCopyCurrentIrpStackLocationToNext(Irp);
    assert_int_equal(Next->MajorFunction, IRP_MJ_READ);
    assert_int_equal(Next->Parameters.Read.Length, 7);
    assert_int_equal(Next->Control, 0);
    assert_null(Next->CompletionRoutine);
    IoFreeIrp(Irp);
}

static NTSTATUS Routine(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    assert_ptr_equal(Device, Upper);
    Note(Context);
    if (Irp->PendingReturned)
        IoMarkIrpPending(Irp);
    return STATUS_CONTINUE_COMPLETION;
}

static BOOLEAN OnSuccess, OnError, OnCancel;
static NTSTATUS PassDown(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Note("upper");
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Routine, (PVOID) "routine", OnSuccess, OnError, OnCancel);
    return IoCallDriver(KitDevice, Irp);
}

/* Page: IoSetCompletionRoutine. "InvokeOnSuccess: ... called if the driver completes with a success status value", "InvokeOnError". */
static void IoSetCompletionRoutine_CalledForWhatWasAsked(void **state)
{
    (void)state;
    UpperDispatch = PassDown;
    OnSuccess = TRUE, OnError = OnCancel = FALSE;
    LowerDispatch = Succeed;
    OK(Ask());
    assert_string_equal(Log, "upper lower routine ");
    LowerDispatch = Fail;
    FAILS(Ask(), STATUS_UNSUCCESSFUL);
    assert_string_equal(Log, "upper lower ");
    OnSuccess = FALSE, OnError = TRUE;
    FAILS(Ask(), STATUS_UNSUCCESSFUL);
    assert_string_equal(Log, "upper lower routine ");
    LowerDispatch = Succeed;
    OK(Ask());
    assert_string_equal(Log, "upper lower ");
}

static NTSTATUS CompleteCancelled(PDEVICE_OBJECT Device, PIRP Irp)
{
    Irp->Cancel = TRUE;
    return Fail(Device, Irp);
}

/* "InvokeOnCancel: ... called if a driver or the kernel has called IoCancelIrp to cancel the IRP." */
static void IoSetCompletionRoutine_OnCancel(void **state)
{
    (void)state;
    UpperDispatch = PassDown;
    OnSuccess = OnError = FALSE, OnCancel = TRUE;
    LowerDispatch = CompleteCancelled;
    FAILS(Ask(), STATUS_UNSUCCESSFUL);
    assert_string_equal(Log, "upper lower routine ");
    LowerDispatch = Succeed;
}

static NTSTATUS Skip(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Note("upper");
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(KitDevice, Irp);
}

/* Page: IoSkipCurrentIrpStackLocation. "the lower driver receives the same IO_STACK_LOCATION". */
static void IoSkipCurrentIrpStackLocation_SameLocation(void **state)
{
    (void)state;
    UpperDispatch = Skip;
    OK(Ask());
    assert_string_equal(Log, "upper lower ");
}

static KEVENT Reclaimed;
static NTSTATUS Reclaim(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    (void)Device, (void)Irp, (void)Context;
    Note("reclaim");
    KeSetEvent(&Reclaimed, 0, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS TakeBack(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    KeInitializeEvent(&Reclaimed, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Reclaim, NULL, TRUE, TRUE, TRUE);
    IoCallDriver(KitDevice, Irp);
    KeWaitForSingleObject(&Reclaimed, Executive, KernelMode, FALSE, NULL);
    Note("again");
    Irp->IoStatus.Information = 0;
    return KitComplete(Irp, STATUS_NOT_FOUND, 0);
}

/* Page: IO_COMPLETION_ROUTINE. "STATUS_MORE_PROCESSING_REQUIRED ... the I/O manager stops completion processing", the driver
 * "must complete the IRP later". */
static void Completion_MoreProcessingRequired_StopsTheWalk(void **state)
{
    (void)state;
    UpperDispatch = TakeBack;
    FAILS(Ask(), STATUS_NOT_FOUND);
    assert_string_equal(Log, "lower reclaim again ");
}

static NTSTATUS Forward(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    assert_true(IoForwardIrpSynchronously(KitDevice, Irp));
    Note("after");
    NTSTATUS Status = Irp->IoStatus.Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

/* Page: IoForwardIrpSynchronously. "sends an IRP to a specified driver and waits for that driver to complete the IRP"; TRUE. */
static void IoForwardIrpSynchronously_Waits(void **state)
{
    (void)state;
    UpperDispatch = Forward;
    OK(Ask());
    assert_string_equal(Log, "lower after ");
}

static KTIMER Timer;
static KDPC Dpc;
static VOID CompleteLater(PKDPC D, PVOID Context, PVOID A, PVOID B)
{
    (void)D, (void)A, (void)B;
    Note("dpc");
    KitComplete(Context, STATUS_SUCCESS, 0);
}

static NTSTATUS Pend(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due = {.QuadPart = -10000};
    UNREFERENCED_PARAMETER(Device);
    Note("lower");
    IoMarkIrpPending(Irp);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, CompleteLater, Irp);
    KeSetTimer(&Timer, Due, &Dpc);
    return STATUS_PENDING;
}

/* Page: IO_COMPLETION_ROUTINE / IoMarkIrpPending. The routine "must call IoMarkIrpPending if Irp->PendingReturned is TRUE". */
static void Completion_Pending_PropagatesUp(void **state)
{
    (void)state;
    OnSuccess = OnError = OnCancel = TRUE;
    LowerDispatch = Pend;
    UpperDispatch = PassDown;
    OK(Ask());
    assert_string_equal(Log, "upper lower dpc routine ");
    UpperDispatch = Skip;
    OK(Ask());
    UpperDispatch = Forward;
    OK(Ask());
    assert_string_equal(Log, "lower dpc after ");
    LowerDispatch = Succeed;
}

static NTSTATUS PassDownEx(PDEVICE_OBJECT Device, PIRP Irp)
{
    IoCopyCurrentIrpStackLocationToNext(Irp);
    OK(IoSetCompletionRoutineEx(Device, Irp, Routine, (PVOID) "ex", TRUE, FALSE, FALSE));
    return IoCallDriver(KitDevice, Irp);
}

/* Page: IoSetCompletionRoutineEx. "registers an IoCompletion routine ... the driver is not unloaded before the routine finishes". */
static void IoSetCompletionRoutineEx_KeepsTheDevice(void **state)
{
    (void)state;
    UpperDispatch = PassDownEx;
    LONG64 Before = ObpPointerCount(Upper);
    OK(Ask());
    assert_string_equal(Log, "lower ex ");
    assert_int_equal(ObpPointerCount(Upper), Before);
}

/* ---- built requests ---- */
static NTSTATUS EchoLower(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(Device);
    assert_int_equal(Irp->RequestorMode, KernelMode);
    Note(Sp->MajorFunction == IRP_MJ_INTERNAL_DEVICE_CONTROL ? "internal" : "control");
    ULONG Out = Sp->Parameters.DeviceIoControl.OutputBufferLength;
    PUCHAR Target = Irp->AssociatedIrp.SystemBuffer;
    if (METHOD_FROM_CTL_CODE(Sp->Parameters.DeviceIoControl.IoControlCode) == METHOD_OUT_DIRECT)
        Target = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    memset(Target, 'z', Out);
    return KitComplete(Irp, STATUS_SUCCESS, Out);
}

/* Page: IoBuildDeviceIoControlRequest. "If InternalDeviceIoControl is TRUE, ... IRP_MJ_INTERNAL_DEVICE_CONTROL"; "the I/O manager ...
 * sets the event and the status block when the lower driver completes". */
static void IoBuildDeviceIoControlRequest_EventAndStatus(void **state)
{
    (void)state;
    LowerDispatch = EchoLower;
    for (ULONG Method = METHOD_BUFFERED; Method <= METHOD_OUT_DIRECT; Method += METHOD_OUT_DIRECT) {
        PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_PAGED, 600, 'tseT');
        KEVENT Event;
        IO_STATUS_BLOCK Iosb = {0};
        KeInitializeEvent(&Event, NotificationEvent, FALSE);
        Log[0] = 0;
        PIRP Irp = IoBuildDeviceIoControlRequest(KIT_IOCTL(Method), KitDevice, NULL, 0, Buffer, 600, Method == METHOD_BUFFERED,
                                                 &Event, &Iosb);
        assert_non_null(Irp);
        assert_ptr_equal(Irp->Tail.Overlay.Thread, PsGetCurrentThread());
        OK(IoCallDriver(KitDevice, Irp));
        assert_int_not_equal(KeReadStateEvent(&Event), 0);
        OK(Iosb.Status);
        assert_int_equal(Iosb.Information, 600);
        assert_int_equal(Buffer[0], 'z');
        assert_int_equal(Buffer[599], 'z');
        assert_string_equal(Log, Method == METHOD_BUFFERED ? "internal " : "control ");
        ExFreePoolWithTag(Buffer, 'tseT');
    }
    LowerDispatch = Succeed;
}

static NTSTATUS PendEcho(PDEVICE_OBJECT Device, PIRP Irp)
{
    memset(Irp->AssociatedIrp.SystemBuffer, 'q', 8);
    Irp->IoStatus.Information = 8;
    return Pend(Device, Irp);
}

/* The same when the lower driver pends and completes from a DPC: paged memory is filled all the same. */
static void IoBuildDeviceIoControlRequest_PendingIntoPagedMemory(void **state)
{
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_PAGED, 8, 'tseT');
    KEVENT Event;
    IO_STATUS_BLOCK Iosb = {0};
    (void)state;
    LowerDispatch = PendEcho;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    PIRP Irp = IoBuildDeviceIoControlRequest(KIT_IOCTL(METHOD_BUFFERED), KitDevice, NULL, 0, Buffer, 8, FALSE, &Event, &Iosb);
    FAILS(IoCallDriver(KitDevice, Irp), STATUS_PENDING);
    OK(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL));
    OK(Iosb.Status);
    ExFreePoolWithTag(Buffer, 'tseT');
    LowerDispatch = Succeed;
}

static NTSTATUS ReadLower(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    PUCHAR Target = (Device->Flags & DO_BUFFERED_IO) ? Irp->AssociatedIrp.SystemBuffer
                    : (Device->Flags & DO_DIRECT_IO) ? MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority)
                                                     : Irp->UserBuffer;
    assert_int_equal(Sp->Parameters.Read.ByteOffset.QuadPart, 4096);
    for (ULONG i = 0; i < Sp->Parameters.Read.Length; i++)
        Target[i] = (UCHAR)i;
    return KitComplete(Irp, STATUS_SUCCESS, Sp->Parameters.Read.Length);
}

/* Page: IoBuildSynchronousFsdRequest. Buffers are set up as the target's DO_BUFFERED_IO and DO_DIRECT_IO ask. */
static void IoBuildSynchronousFsdRequest_ByDeviceFlags(void **state)
{
    static const ULONG Kinds[] = {DO_BUFFERED_IO, DO_DIRECT_IO, 0};
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, 5000, 'tseT');
    (void)state;
    LowerDispatch = ReadLower;
    for (size_t k = 0; k < ARRAYSIZE(Kinds); k++) {
        KEVENT Event;
        IO_STATUS_BLOCK Iosb = {0};
        LARGE_INTEGER Offset = {.QuadPart = 4096};
        KitDevice->Flags = (KitDevice->Flags & ~(ULONG)(DO_BUFFERED_IO | DO_DIRECT_IO)) | Kinds[k];
        KeInitializeEvent(&Event, NotificationEvent, FALSE);
        memset(Buffer, 0xff, 5000);
        PIRP Irp = IoBuildSynchronousFsdRequest(IRP_MJ_READ, KitDevice, Buffer, 5000, &Offset, &Event, &Iosb);
        OK(IoCallDriver(KitDevice, Irp));
        assert_int_equal(Iosb.Information, 5000);
        assert_int_equal(Buffer[4999], (UCHAR)4999);
    }
    KitDevice->Flags &= ~(ULONG)(DO_BUFFERED_IO | DO_DIRECT_IO);
    ExFreePoolWithTag(Buffer, 'tseT');
    LowerDispatch = Succeed;
}

static NTSTATUS FreeAsync(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    for (PMDL Mdl = Irp->MdlAddress, Next; Mdl; Mdl = Next) {
        Next = Mdl->Next;
        MmUnlockPages(Mdl);
        IoFreeMdl(Mdl);
    }
    IoFreeIrp(Irp);
    KeSetEvent(Context, 0, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Page: IoBuildAsynchronousFsdRequest. "... must be freed by the IoCompletion routine", MDLs unlocked and freed by it too. */
static void IoBuildAsynchronousFsdRequest_RoutineFrees(void **state)
{
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, 5000, 'tseT');
    KEVENT Event;
    LARGE_INTEGER Offset = {.QuadPart = 4096};
    (void)state;
    LowerDispatch = ReadLower;
    KitDevice->Flags |= DO_DIRECT_IO;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    PIRP Irp = IoBuildAsynchronousFsdRequest(IRP_MJ_READ, KitDevice, Buffer, 5000, &Offset, NULL);
    IoSetCompletionRoutine(Irp, FreeAsync, &Event, TRUE, TRUE, TRUE);
    OK(IoCallDriver(KitDevice, Irp));
    assert_int_not_equal(KeReadStateEvent(&Event), 0);
    assert_int_equal(Buffer[1], 1);
    KitDevice->Flags &= ~(ULONG)DO_DIRECT_IO;
    ExFreePoolWithTag(Buffer, 'tseT');
    LowerDispatch = Succeed;
}

static NTSTATUS KeepAll(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    (void)Device, (void)Irp;
    ++*(int *)Context;
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Page: IoMakeAssociatedIrp. "the master IRP ... is completed when all associated IRPs have been completed" (IrpCount). */
static void IoMakeAssociatedIrp_MasterCompletesLast(void **state)
{
    int Done = 0;
    (void)state;
    PIRP Master = IoAllocateIrp(2, FALSE);
    IoSetCompletionRoutine(Master, KeepAll, &Done, TRUE, TRUE, TRUE);
    IoSetNextIrpStackLocation(Master);
    PIRP One = IoMakeAssociatedIrp(Master, 1), Two = IoMakeAssociatedIrp(Master, 1);
    Master->AssociatedIrp.IrpCount = 2;
    IoGetNextIrpStackLocation(One)->MajorFunction = IoGetNextIrpStackLocation(Two)->MajorFunction = IRP_MJ_WRITE;
    OK(IoCallDriver(KitDevice, One));
    assert_int_equal(Done, 0);
    OK(IoCallDriver(KitDevice, Two));
    assert_int_equal(Done, 1);
    IoFreeIrp(Master);
}

/* ---- cancellation ---- */
static int CancelCalls;
static KIRQL CancelLevel;
static VOID OnCancelled(PDEVICE_OBJECT Device, PIRP Irp)
{
    assert_ptr_equal(Device, KitDevice);
    assert_true(Irp->Cancel);
    CancelLevel = KeGetCurrentIrql();
    CancelCalls++;
    IoReleaseCancelSpinLock(Irp->CancelIrql);
}

/* Page: IoCancelIrp. "sets the cancel bit in a given IRP and calls the cancel routine for the IRP if there is one"; "TRUE if the IRP
 * was cancelled; FALSE: the cancel bit was set but it was not cancelable". The routine runs holding the cancel spin lock. */
static void IoCancelIrp_CallsTheRoutineOnce(void **state)
{
    (void)state;
    PIRP Irp = IoAllocateIrp(1, FALSE);
    IoSetNextIrpStackLocation(Irp);
    IoGetCurrentIrpStackLocation(Irp)->DeviceObject = KitDevice;
    assert_false(IoCancelIrp(Irp));
    assert_true(Irp->Cancel);
    assert_null(IoSetCancelRoutine(Irp, OnCancelled));
    assert_true(IoCancelIrp(Irp));
    assert_int_equal(CancelCalls, 1);
    assert_int_equal(CancelLevel, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_false(IoCancelIrp(Irp));
    assert_int_equal(CancelCalls, 1);
    IoFreeIrp(Irp);
}

static PDEVICE_OBJECT CancelDevice;
static VOID OnCancelledUnsent(PDEVICE_OBJECT Device, PIRP Irp)
{
    CancelDevice = Device;
    IoReleaseCancelSpinLock(Irp->CancelIrql);
}

/* An IRP that was not sent yet has no current stack location: nothing behind its last one is looked at. */
static void IoCancelIrp_UnsentIrp_NoDevice(void **state)
{
    (void)state;
    PIRP Irp = IoAllocateIrp(1, FALSE);
    CancelDevice = KitDevice;
    assert_null(IoSetCancelRoutine(Irp, OnCancelledUnsent));
    assert_true(IoCancelIrp(Irp));
    assert_null(CancelDevice);
    IoFreeIrp(Irp);
}

/* Page: IoSetCancelRoutine. "returns the previous value of Irp->CancelRoutine". */
static void IoSetCancelRoutine_ReturnsPrevious(void **state)
{
    (void)state;
    PIRP Irp = IoAllocateIrp(1, FALSE);
    assert_null(IoSetCancelRoutine(Irp, OnCancelled));
    assert_ptr_equal(IoSetCancelRoutine(Irp, NULL), OnCancelled);
    IoFreeIrp(Irp);
}

/* Page: IoGetTopLevelIrp / IoSetTopLevelIrp. */
static void IoSetTopLevelIrp_PerThread(void **state)
{
    (void)state;
    assert_null(IoGetTopLevelIrp());
    IoSetTopLevelIrp((PIRP)FSRTL_FSP_TOP_LEVEL_IRP);
    assert_ptr_equal(IoGetTopLevelIrp(), (PIRP)FSRTL_FSP_TOP_LEVEL_IRP);
    IoSetTopLevelIrp(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(IoAllocateIrp_Fields),
        cmocka_unit_test(IoReuseIrp_Reinitialises),
        cmocka_unit_test(IoCopyCurrentIrpStackLocationToNext_NoRoutine),
        cmocka_unit_test(IoSetCompletionRoutine_CalledForWhatWasAsked),
        cmocka_unit_test(IoSetCompletionRoutine_OnCancel),
        cmocka_unit_test(IoSkipCurrentIrpStackLocation_SameLocation),
        cmocka_unit_test(Completion_MoreProcessingRequired_StopsTheWalk),
        cmocka_unit_test(IoForwardIrpSynchronously_Waits),
        cmocka_unit_test(Completion_Pending_PropagatesUp),
        cmocka_unit_test(IoSetCompletionRoutineEx_KeepsTheDevice),
        cmocka_unit_test(IoBuildDeviceIoControlRequest_EventAndStatus),
        cmocka_unit_test(IoBuildDeviceIoControlRequest_PendingIntoPagedMemory),
        cmocka_unit_test(IoBuildSynchronousFsdRequest_ByDeviceFlags),
        cmocka_unit_test(IoBuildAsynchronousFsdRequest_RoutineFrees),
        cmocka_unit_test(IoMakeAssociatedIrp_MasterCompletesLast),
        cmocka_unit_test(IoCancelIrp_CallsTheRoutineOnce),
        cmocka_unit_test(IoCancelIrp_UnsentIrp_NoDevice),
        cmocka_unit_test(IoSetCancelRoutine_ReturnsPrevious),
        cmocka_unit_test(IoSetTopLevelIrp_PerThread),
    };
    return cmocka_run_group_tests(tests, Open, Close);
}
