/*
 * io_irp.c - what a driver can do wrong with IRPs, devices, objects and work items: the stop, with all five numbers.
 * SPDX-License-Identifier: MIT
 */
#include "io_kit.h"
#include "ex/work.h"

static ntmm_bugcheck Stop;
static void Expect(void (*Function)(void *), void *Argument, uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4)
{
    PEPROCESS Before = IoGetCurrentProcess();
    assert_true(ntmm_catch(Function, Argument, &Stop));
    assert_int_equal(Stop.code, Code);
    assert_int_equal(Stop.parameters[0], P1);
    assert_int_equal(Stop.parameters[1], P2);
    assert_int_equal(Stop.parameters[2], P3);
    assert_int_equal(Stop.parameters[3], P4);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_ptr_equal(IoGetCurrentProcess(), Before);
}
#define P(X) ((uint64_t)(ULONG_PTR)(X))

static NTSTATUS KeepIt(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    (void)Device, (void)Irp, (void)Context;
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS AnswerOk(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return KitComplete(Irp, STATUS_SUCCESS, 0);
}

static void CompleteAgain(void *Irp)
{
    IoCompleteRequest((PIRP)Irp, IO_NO_INCREMENT);
}

static void FreeIt(void *Irp)
{
    IoFreeIrp(Irp);
}

static void CallKit(void *Irp)
{
    IoCallDriver(KitDevice, (PIRP)Irp);
}

/* Page: Bug Check 0x44. "a driver has tried to request an IRP be completed that is already complete." P1: the IRP. */
static void Irp_CompletedTwice_0x44(void **state)
{
    PIRP Irp = IoAllocateIrp(2, FALSE);
    (void)state;
    /* A routine at the bottom that keeps the packet: it is at location 2 of 2 afterwards. */
    IoSetNextIrpStackLocation(Irp);
    IoGetNextIrpStackLocation(Irp)->MajorFunction = IRP_MJ_READ;
    IoSetCompletionRoutine(Irp, KeepIt, NULL, TRUE, TRUE, TRUE);
    OK(IoCallDriver(KitDevice, Irp));
    Irp->CurrentLocation = 4; /* as it is after the last completion routine */
    Expect(CompleteAgain, Irp, 0x44, P(Irp), 0, 0, 0);
    IoFreeIrp(Irp);
}

static void Irp_FreedTwice_0x44(void **state)
{
    DECLSPEC_ALIGN(16) UCHAR Memory[sizeof(IRP) + 2 * sizeof(IO_STACK_LOCATION)];
    PIRP Irp = (PIRP)Memory;
    (void)state;
    IoInitializeIrp(Irp, sizeof Memory, 2);
    IoFreeIrp(Irp);
    Expect(FreeIt, Irp, 0x44, P(Irp), 0, 0, 0);
    Expect(CompleteAgain, Irp, 0x44, P(Irp), 0, 0, 0);
    Expect(CallKit, Irp, 0xC9, 3, P(Irp), 0, 0);
}

/* Page: Bug Check 0x35. "The IoCallDriver packet has no more stack locations remaining." P1: the IRP. */
static void Irp_NoStackLocation_0x35(void **state)
{
    PIRP Irp = IoAllocateIrp(1, FALSE);
    (void)state;
    IoSetNextIrpStackLocation(Irp);
    Expect(CallKit, Irp, 0x35, P(Irp), 0, 0, 0);
    IoFreeIrp(Irp);
}

static VOID SomeCancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    (void)Device, (void)Irp;
}

/* Page: Bug Check 0x48. "An IRP that was cancelled has been completed, but it still has a cancel routine" P1 IRP, P2 routine. */
static void Irp_CompletedWithCancelRoutine_0x48(void **state)
{
    PIRP Irp = IoAllocateIrp(1, FALSE);
    (void)state;
    IoSetCancelRoutine(Irp, SomeCancel);
    Expect(CompleteAgain, Irp, 0x48, P(Irp), P(SomeCancel), 0, 0);
    IoSetCancelRoutine(Irp, NULL);
    IoFreeIrp(Irp);
}

static void CallNothing(void *Device)
{
    PIRP Irp = IoAllocateIrp(1, FALSE);
    IoCallDriver((PDEVICE_OBJECT)Device, Irp);
}

static void Irp_SentToNoDevice_0xC9_4(void **state)
{
    KEVENT Event;
    (void)state;
    Expect(CallNothing, &Event, 0xC9, 4, P(&Event), 0, 0);
}

static void Irp_OfAThreadFreed_0xC9_2(void **state)
{
    KEVENT Event;
    IO_STATUS_BLOCK Iosb;
    (void)state;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    PIRP Irp = IoBuildDeviceIoControlRequest(KIT_IOCTL(METHOD_BUFFERED), KitDevice, NULL, 0, NULL, 0, FALSE, &Event, &Iosb);
    Expect(FreeIt, Irp, 0xC9, 2, P(Irp), 0, 0);
    OK(IoCallDriver(KitDevice, Irp));
}

static NTSTATUS ReturnRaised(PDEVICE_OBJECT Device, PIRP Irp)
{
    KIRQL Irql;
    NTSTATUS Status = AnswerOk(Device, Irp);
    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    return Status;
}

static void ControlKit(void *File)
{
    ntmm_ioctl(File, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, NULL, 0, NULL);
}

/* Page: Bug Check 0x4A. "a thread is returning to user mode from a system call when its IRQL is still above PASSIVE_LEVEL." */
static void Request_ReturnsRaised_0x4A(void **state)
{
    (void)state;
    KitDispatch = ReturnRaised;
    Expect(ControlKit, KitFile, 0x4A, P(KitDriver->MajorFunction[IRP_MJ_DEVICE_CONTROL]), DISPATCH_LEVEL, 0, 0);
    KitDispatch = AnswerOk;
}

static void Request_ReturnsRaisedVerified_0xC9_5(void **state)
{
    (void)state;
    KitDispatch = ReturnRaised;
    KeOptions.VerifierFlags |= 0x10;
    Expect(ControlKit, KitFile, 0xC9, 5, P(KitDevice), PASSIVE_LEVEL, DISPATCH_LEVEL);
    KeOptions.VerifierFlags &= ~0x10u;
    KitDispatch = AnswerOk;
}

static NTSTATUS CompletePending(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return KitComplete(Irp, STATUS_PENDING, 0);
}

static PIRP Sent;
static NTSTATUS RememberAndCompletePending(PDEVICE_OBJECT Device, PIRP Irp)
{
    Sent = Irp;
    return CompletePending(Device, Irp);
}

static void Irp_CompletedWithStatusPendingVerified_0xC9_6(void **state)
{
    (void)state;
    KitDispatch = RememberAndCompletePending;
    KeOptions.VerifierFlags |= 0x10;
    assert_true(ntmm_catch(ControlKit, KitFile, &Stop));
    KeOptions.VerifierFlags &= ~0x10u;
    KitDispatch = AnswerOk;
    assert_int_equal(Stop.code, 0xC9);
    assert_int_equal(Stop.parameters[0], 6);
    assert_int_equal(Stop.parameters[1], STATUS_PENDING);
    assert_int_equal(Stop.parameters[2], P(Sent));
    assert_int_equal(Stop.parameters[3], 0);
    /* The request never ended: end it, as the driver should have. */
    KitComplete(Sent, STATUS_SUCCESS, 0);
}

static VOID Tick(PDEVICE_OBJECT Device, PVOID Context)
{
    (void)Device, (void)Context;
}

static void InitTimer(void *Device)
{
    IoInitializeTimer(Device, Tick, NULL);
}

static void Timer_InitializedTwiceVerified_0xC9_A(void **state)
{
    (void)state;
    InitTimer(KitDevice);
    KeOptions.VerifierFlags |= 0x10;
    Expect(InitTimer, KitDevice, 0xC9, 0xA, P(KitDevice), 0, 0);
    KeOptions.VerifierFlags &= ~0x10u;
}

/* ---- objects ---- */
static void Deref(void *Object)
{
    ObDereferenceObject(Object);
}

static void Ref(void *Object)
{
    ObReferenceObject(Object);
}

/* Page: Bug Check 0x18. "The reference count of an object is illegal for the current state of the object." P1 type, P2 object. */
static void Object_DereferencedTooOften_0x18(void **state)
{
    HANDLE Handle;
    PVOID Object;
    (void)state;
    OK(ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE));
    OK(ObReferenceObjectByHandle(Handle, 0, *ExEventObjectType, KernelMode, &Object, NULL));
    ObDereferenceObject(Object);
    Expect(Deref, Object, 0x18, P(*ExEventObjectType), P(Object), 0, 0); /* the handle's reference */
    OK(ZwClose(Handle));
}

static void Object_NeverOne_0x18(void **state)
{
    ULONG64 Stack[40] = {0};
    PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 256, 'tseT');
    (void)state;
    Expect(Deref, &Stack[20], 0x18, 0, P(&Stack[20]), 0, 0);
    Expect(Ref, &Stack[20], 0x18, 0, P(&Stack[20]), 0, 0);
    Expect(Ref, (PUCHAR)Block + 128, 0x18, 0, P((PUCHAR)Block + 128), 0, 0);
    Expect(Ref, NULL, 0x18, 0, 0, 0, 0);
    ExFreePoolWithTag(Block, 'tseT');
}

/* ---- MDLs ---- */
static PMDL Source, Target;
static PUCHAR Buffer;
static void PartialTooSmall(void *Unused)
{
    (void)Unused;
    IoBuildPartialMdl(Source, Target, Buffer, 2 * PAGE_SIZE);
}

static void PartialOutside(void *Unused)
{
    (void)Unused;
    IoBuildPartialMdl(Source, Target, Buffer + PAGE_SIZE, 2 * PAGE_SIZE);
}

static void Mdl_PartialMisused_0x40_0x12E(void **state)
{
    (void)state;
    Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, 2 * PAGE_SIZE, 'tseT');
    Source = IoAllocateMdl(Buffer, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
    Target = IoAllocateMdl(Buffer, PAGE_SIZE, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(Source);
    Expect(PartialTooSmall, NULL, 0x40, 0, 0, 0, 0);
    Expect(PartialOutside, NULL, 0x12E, P(Source), P(Target), P(Buffer + PAGE_SIZE), 2 * PAGE_SIZE);
    IoFreeMdl(Target);
    IoFreeMdl(Source);
    ExFreePoolWithTag(Buffer, 'tseT');
}

/* ---- work items ---- */
static KEVENT Go;
static VOID Wait(PDEVICE_OBJECT Device, PVOID Context)
{
    (void)Device, (void)Context;
    KeWaitForSingleObject(&Go, Executive, KernelMode, FALSE, NULL);
}

static VOID Nothing(PDEVICE_OBJECT Device, PVOID Context)
{
    (void)Device, (void)Context;
}

static PIO_WORKITEM Blockers[64], Item;
static void QueueIt(void *Unused)
{
    (void)Unused;
    IoQueueWorkItem(Item, Nothing, DelayedWorkQueue, NULL);
}

static void FreeItem(void *Unused)
{
    (void)Unused;
    IoFreeWorkItem(Item);
}

/* Page: Bug Check 0x96. "a queue entry was removed that contained a NULL pointer", here: queued twice. P1: the item. */
static void WorkItem_QueuedTwice_0x96(void **state)
{
    (void)state;
    KeInitializeEvent(&Go, NotificationEvent, FALSE);
    for (size_t i = 0; i < ARRAYSIZE(Blockers); i++) { /* all workers busy: what is queued stays queued */
        Blockers[i] = IoAllocateWorkItem(KitDevice);
        IoQueueWorkItem(Blockers[i], Wait, DelayedWorkQueue, NULL);
    }
    Item = IoAllocateWorkItem(KitDevice);
    QueueIt(NULL);
    Expect(QueueIt, NULL, 0x96, P(Item), 0, 0, 0);
    Expect(FreeItem, NULL, 0x96, P(Item), 0, 0, 0);
    KeSetEvent(&Go, 0, FALSE);
    ExpDrainWork();
    IoFreeWorkItem(Item);
    for (size_t i = 0; i < ARRAYSIZE(Blockers); i++)
        IoFreeWorkItem(Blockers[i]);
}

/* ---- processes and PnP ---- */
static void AttachUser(void *Unused)
{
    (void)Unused;
    KeAttachProcess(PsInitialSystemProcess);
}

static void Process_AttachedTwice_0x05(void **state)
{
    (void)state;
    OK(PspCreateUserProcess());
    KeAttachProcess(PspUserProcess);
    KeDetachProcess();
    KAPC_STATE Apc;
    KeStackAttachProcess(PspUserProcess, &Apc);
    Expect(AttachUser, NULL, 0x05, P(PsInitialSystemProcess), P(PspUserProcess), 1, 0);
    KeUnstackDetachProcess(&Apc);
}

static void AskProperty(void *Device)
{
    ULONG Length;
    IoGetDeviceProperty(Device, DevicePropertyHardwareID, 0, NULL, &Length);
}

/* Page: Bug Check 0xCA. Parameter 1 = 2: "Invalid PDO. An API that requires a PDO has been called with either an FDO, ..." */
static void Pnp_NotAPdo_0xCA(void **state)
{
    (void)state;
    Expect(AskProperty, KitDevice, 0xCA, 2, P(KitDevice), 0, 0);
}

static int Open(void **state)
{
    if (KitStart(state))
        return -1;
    KitOpen(AnswerOk, 0);
    return 0;
}

static int Close(void **state)
{
    return ntmm_close(KitFile) || ntmm_remove_driver(KitLoaded, NULL) || KitStop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Irp_CompletedTwice_0x44),
        cmocka_unit_test(Irp_FreedTwice_0x44),
        cmocka_unit_test(Irp_NoStackLocation_0x35),
        cmocka_unit_test(Irp_CompletedWithCancelRoutine_0x48),
        cmocka_unit_test(Irp_SentToNoDevice_0xC9_4),
        cmocka_unit_test(Irp_OfAThreadFreed_0xC9_2),
        cmocka_unit_test(Request_ReturnsRaised_0x4A),
        cmocka_unit_test(Request_ReturnsRaisedVerified_0xC9_5),
        cmocka_unit_test(Irp_CompletedWithStatusPendingVerified_0xC9_6),
        cmocka_unit_test(Timer_InitializedTwiceVerified_0xC9_A),
        cmocka_unit_test(Mdl_PartialMisused_0x40_0x12E),
        cmocka_unit_test(WorkItem_QueuedTwice_0x96),
        cmocka_unit_test(Process_AttachedTwice_0x05),
        cmocka_unit_test(Pnp_NotAPdo_0xCA),
        cmocka_unit_test(Object_NeverOne_0x18),
        cmocka_unit_test(Object_DereferencedTooOften_0x18),
    };
    return cmocka_run_group_tests(tests, Open, Close);
}
