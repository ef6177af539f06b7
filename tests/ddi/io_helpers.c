/*
 * io_helpers.c - device queues, StartIo, cancel-safe queues, work items, remove locks, timers, partial MDLs, notifications,
 * by their documents. SPDX-License-Identifier: MIT
 */
#include "io_kit.h"
#include "ex/work.h"

static NTSTATUS StartIoDispatch(PDEVICE_OBJECT Device, PIRP Irp);
static int Open(void **state)
{
    if (KitStart(state))
        return -1;
    KitOpen(StartIoDispatch, 0);
    return 0;
}

static int Close(void **state)
{
    KitClose();
    return KitStop(state);
}

/* ---- device queues ---- */
/* Page: KeInsertDeviceQueue. "If the device queue is empty... sets the queue to a busy state and returns FALSE"; KeRemoveDeviceQueue:
 * "NULL ... the queue is set to a not-busy state"; KeInsertByKeyDeviceQueue: sorted by key. */
static void KeDeviceQueue_BusyAndOrder(void **state)
{
    KDEVICE_QUEUE Queue;
    KDEVICE_QUEUE_ENTRY E[4];
    (void)state;
    KeInitializeDeviceQueue(&Queue);
    assert_false(KeInsertDeviceQueue(&Queue, &E[0]));
    assert_true(Queue.Busy);
    assert_false(E[0].Inserted);
    assert_true(KeInsertByKeyDeviceQueue(&Queue, &E[1], 30));
    assert_true(KeInsertByKeyDeviceQueue(&Queue, &E[2], 10));
    assert_true(KeInsertByKeyDeviceQueue(&Queue, &E[3], 20));
    assert_true(KeRemoveEntryDeviceQueue(&Queue, &E[3]));
    assert_false(KeRemoveEntryDeviceQueue(&Queue, &E[3]));
    assert_ptr_equal(KeRemoveByKeyDeviceQueue(&Queue, 20), &E[1]);
    assert_ptr_equal(KeRemoveByKeyDeviceQueue(&Queue, 20), &E[2]);
    assert_null(KeRemoveDeviceQueue(&Queue));
    assert_false(Queue.Busy);
}

/* ---- StartIo ---- */
static PIRP Current;
static LONG Starts;
static KIRQL StartLevel;
static VOID StartIo(PDEVICE_OBJECT Device, PIRP Irp)
{
    assert_ptr_equal(Device->CurrentIrp, Irp);
    StartLevel = KeGetCurrentIrql();
    Current = Irp;
    __atomic_add_fetch(&Starts, 1, __ATOMIC_RELEASE);
}

static NTSTATUS StartIoDispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    IoMarkIrpPending(Irp);
    IoStartPacket(Device, Irp, NULL, NULL);
    return STATUS_PENDING;
}

static void Finish(void)
{
    KIRQL Irql;
    PIRP Irp = Current;
    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    IoStartNextPacket(KitDevice, FALSE);
    KitComplete(Irp, STATUS_SUCCESS, 0);
    KeLowerIrql(Irql);
}

static void *Ask(void *File)
{
    ntmm_ioctl(File, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, NULL, 0, NULL);
    return NULL;
}

/* Page: IoStartPacket. "calls the driver's StartIo routine with the IRP or inserts the IRP into the device queue if the device is
 * already busy"; StartIo runs at DISPATCH_LEVEL. IoStartNextPacket: "dequeues the next IRP ... and calls StartIo". */
static void IoStartPacket_OneAtATime(void **state)
{
    pthread_t Threads[3];
    (void)state;
    KitDriver->DriverStartIo = StartIo;
    for (int i = 0; i < 3; i++)
        pthread_create(&Threads[i], NULL, Ask, KitFile);
    for (LONG Done = 0; Done < 3; Done++) {
        while (__atomic_load_n(&Starts, __ATOMIC_ACQUIRE) <= Done) {
            LARGE_INTEGER Soon = {.QuadPart = -1000};
            KeDelayExecutionThread(KernelMode, FALSE, &Soon);
        }
        assert_int_equal(StartLevel, DISPATCH_LEVEL);
        assert_int_equal(__atomic_load_n(&Starts, __ATOMIC_ACQUIRE), Done + 1);
        Finish();
    }
    for (int i = 0; i < 3; i++)
        pthread_join(Threads[i], NULL);
    assert_null(KitDevice->CurrentIrp);
    assert_false(KitDevice->DeviceQueue.Busy);
}

/* ---- cancel-safe queues ---- */
static LIST_ENTRY CsqList;
static KSPIN_LOCK CsqSpin;
static LONG CsqCancelledCount;
static NTSTATUS CsqRefuse;
static NTSTATUS CsqInsert(PIO_CSQ Csq, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Csq);
    if (!NT_SUCCESS(CsqRefuse))
        return CsqRefuse;
    if (Context)
        InsertHeadList(&CsqList, &Irp->Tail.Overlay.ListEntry);
    else
        InsertTailList(&CsqList, &Irp->Tail.Overlay.ListEntry);
    return STATUS_SUCCESS;
}

static VOID CsqRemove(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP CsqPeek(PIO_CSQ Csq, PIRP Irp, PVOID Context)
{
    PLIST_ENTRY Next = Irp ? Irp->Tail.Overlay.ListEntry.Flink : CsqList.Flink;
    (void)Csq, (void)Context;
    return Next == &CsqList ? NULL : CONTAINING_RECORD(Next, IRP, Tail.Overlay.ListEntry);
}

static VOID CsqAcquire(PIO_CSQ Csq, PKIRQL Irql)
{
    UNREFERENCED_PARAMETER(Csq);
    KeAcquireSpinLock(&CsqSpin, Irql);
}

static VOID CsqRelease(PIO_CSQ Csq, KIRQL Irql)
{
    UNREFERENCED_PARAMETER(Csq);
    KeReleaseSpinLock(&CsqSpin, Irql);
}

static VOID CsqDone(PIO_CSQ Csq, PIRP Irp)
{
    (void)Csq, (void)Irp;
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    CsqCancelledCount++;
}

static PIRP NewIrp(void)
{
    PIRP Irp = IoAllocateIrp(1, FALSE);
    IoSetNextIrpStackLocation(Irp);
    IoGetCurrentIrpStackLocation(Irp)->DeviceObject = KitDevice;
    return Irp;
}

/* Page: IoCsqInsertIrp "marks the IRP pending"; IoCsqRemoveNextIrp "the next matching IRP or NULL"; IoCsqRemoveIrp "NULL if the IRP has
 * been removed or cancelled"; a cancelled IRP goes to CsqCompleteCanceledIrp; IoCsqInsertIrpEx returns what CsqInsertIrpEx did. */
static void IoCsq_InsertRemoveCancel(void **state)
{
    IO_CSQ Csq;
    IO_CSQ_IRP_CONTEXT Context, Other;
    PIRP A = NewIrp(), B = NewIrp(), C = NewIrp(), D = NewIrp();
    (void)state;
    InitializeListHead(&CsqList);
    KeInitializeSpinLock(&CsqSpin);
    OK(IoCsqInitializeEx(&Csq, CsqInsert, CsqRemove, CsqPeek, CsqAcquire, CsqRelease, CsqDone));
    OK(IoCsqInsertIrpEx(&Csq, A, NULL, NULL));
    OK(IoCsqInsertIrpEx(&Csq, B, &Context, NULL));
    OK(IoCsqInsertIrpEx(&Csq, C, &Other, (PVOID)1));
    assert_int_equal(IoGetCurrentIrpStackLocation(A)->Control & SL_PENDING_RETURNED, SL_PENDING_RETURNED);
    CsqRefuse = STATUS_DEVICE_BUSY;
    FAILS(IoCsqInsertIrpEx(&Csq, D, NULL, NULL), STATUS_DEVICE_BUSY);
    CsqRefuse = STATUS_SUCCESS;
    assert_ptr_equal(IoCsqRemoveNextIrp(&Csq, NULL), C);
    assert_null(IoCsqRemoveIrp(&Csq, &Other));
    assert_null(C->CancelRoutine);
    assert_true(IoCancelIrp(A));
    assert_int_equal(CsqCancelledCount, 1);
    assert_ptr_equal(IoCsqRemoveIrp(&Csq, &Context), B);
    assert_null(IoCsqRemoveNextIrp(&Csq, NULL));
    /* Cancelled before it was queued. */
    assert_false(IoCancelIrp(D));
    OK(IoCsqInsertIrpEx(&Csq, D, NULL, NULL));
    assert_int_equal(CsqCancelledCount, 2);
    assert_true(IsListEmpty(&CsqList));
    IoFreeIrp(A), IoFreeIrp(B), IoFreeIrp(C), IoFreeIrp(D);
}

/* ---- work items ---- */
static LONG Worked;
static VOID Work(PDEVICE_OBJECT Device, PVOID Context)
{
    assert_ptr_equal(Device, KitDevice);
    assert_ptr_equal(Context, &Worked);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_ptr_equal(IoGetCurrentProcess(), PsInitialSystemProcess);
    InterlockedIncrement(&Worked);
}

static VOID WorkEx(PVOID Object, PVOID Context, PIO_WORKITEM Item)
{
    Work(Object, Context);
    IoFreeWorkItem(Item);
}

/* Page: IoQueueWorkItem. "runs in a system thread at PASSIVE_LEVEL"; "the routine may free the work item"; the device is referenced. */
static void IoQueueWorkItem_RunsOnce(void **state)
{
    LONG64 Before = ObpPointerCount(KitDevice);
    (void)state;
    PIO_WORKITEM Item = IoAllocateWorkItem(KitDevice), Own = ExAllocatePool2(POOL_FLAG_NON_PAGED, IoSizeofWorkItem(), 'tseT');
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, &Worked);
    ExpDrainWork();
    assert_int_equal(Worked, 1);
    IoQueueWorkItemEx(Item, WorkEx, CriticalWorkQueue, &Worked);
    IoInitializeWorkItem(KitDevice, Own);
    IoQueueWorkItem(Own, Work, DelayedWorkQueue, &Worked);
    ExpDrainWork();
    assert_int_equal(Worked, 3);
    IoUninitializeWorkItem(Own);
    ExFreePoolWithTag(Own, 'tseT');
    assert_int_equal(ObpPointerCount(KitDevice), Before);
}

/* ---- remove locks ---- */
static IO_REMOVE_LOCK Lock;
static volatile LONG Removed;
static void *Remove(void *Unused)
{
    (void)Unused;
    OK(IoAcquireRemoveLock(&Lock, (PVOID)2));
    IoReleaseRemoveLockAndWait(&Lock, (PVOID)2);
    __atomic_store_n(&Removed, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Page: IoReleaseRemoveLockAndWait. "releases a remove lock ... and waits until all acquisitions of the lock have been released";
 * IoAcquireRemoveLock: "STATUS_DELETE_PENDING" once it was called. */
static void IoRemoveLock_WaitsForHolders(void **state)
{
    pthread_t Thread;
    (void)state;
    IoInitializeRemoveLock(&Lock, 'kcoL', 0, 0);
    OK(IoAcquireRemoveLock(&Lock, (PVOID)1));
    pthread_create(&Thread, NULL, Remove, NULL);
    NTSTATUS Status;
    while ((Status = IoAcquireRemoveLock(&Lock, (PVOID)3)) == STATUS_SUCCESS)
        IoReleaseRemoveLock(&Lock, (PVOID)3);
    FAILS(Status, STATUS_DELETE_PENDING);
    assert_int_equal(Removed, 0);
    IoReleaseRemoveLock(&Lock, (PVOID)1);
    pthread_join(Thread, NULL);
    assert_int_equal(Removed, 1);
}

/* ---- timers ---- */
static KEVENT Ticked;
static VOID Tick(PDEVICE_OBJECT Device, PVOID Context)
{
    assert_ptr_equal(Device, KitDevice);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeSetEvent(Context, 0, FALSE);
}

/* Page: IoInitializeTimer. The routine "is called once per second", at DISPATCH_LEVEL, while the timer is started. */
static void IoTimer_CallsOncePerSecond(void **state)
{
    LARGE_INTEGER Limit = {.QuadPart = -30000000}, None = {.QuadPart = 0};
    (void)state;
    KeInitializeEvent(&Ticked, SynchronizationEvent, FALSE);
    OK(IoInitializeTimer(KitDevice, Tick, &Ticked));
    IoStartTimer(KitDevice);
    OK(KeWaitForSingleObject(&Ticked, Executive, KernelMode, FALSE, &Limit));
    IoStopTimer(KitDevice);
    KeFlushQueuedDpcs();
    KeClearEvent(&Ticked);
    FAILS(KeWaitForSingleObject(&Ticked, Executive, KernelMode, FALSE, &None), STATUS_TIMEOUT);
}

/* ---- MDLs ---- */
/* Page: IoAllocateMdl. "SecondaryBuffer ... FALSE: primary, Irp->MdlAddress; TRUE: chained"; Page: IoBuildPartialMdl. "Length: if zero,
 * the partial MDL maps to the end"; shares the source's mapping. */
static void IoBuildPartialMdl_DescribesPart(void **state)
{
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, 3 * PAGE_SIZE, 'tseT');
    PIRP Irp = IoAllocateIrp(1, FALSE);
    (void)state;
    PMDL Mdl = IoAllocateMdl(Buffer, 3 * PAGE_SIZE, FALSE, FALSE, Irp),
         Second = IoAllocateMdl(Buffer + 100, 50, TRUE, FALSE, Irp);
    assert_ptr_equal(Irp->MdlAddress, Mdl);
    assert_ptr_equal(Mdl->Next, Second);
    assert_int_equal(MmGetMdlByteOffset(Second), 100);
    assert_int_equal(MmGetMdlByteCount(Second), 50);
    Irp->MdlAddress = NULL;
    Mdl->Next = NULL;
    MmBuildMdlForNonPagedPool(Mdl);
    PMDL Part = IoAllocateMdl(Buffer + PAGE_SIZE + 10, PAGE_SIZE, FALSE, FALSE, NULL);
    IoBuildPartialMdl(Mdl, Part, Buffer + PAGE_SIZE + 10, PAGE_SIZE);
    assert_true(Part->MdlFlags & MDL_PARTIAL);
    assert_int_equal(MmGetMdlPfnArray(Part)[0], MmGetMdlPfnArray(Mdl)[1]);
    assert_int_equal(MmGetMdlPfnArray(Part)[1], MmGetMdlPfnArray(Mdl)[2]);
    assert_ptr_equal(MmGetSystemAddressForMdlSafe(Part, NormalPagePriority), Buffer + PAGE_SIZE + 10);
    IoBuildPartialMdl(Mdl, Part, Buffer + 2 * PAGE_SIZE, 0);
    assert_int_equal(MmGetMdlByteCount(Part), PAGE_SIZE);
    IoFreeMdl(Part);
    IoFreeMdl(Second);
    IoFreeMdl(Mdl);
    IoFreeIrp(Irp);
    ExFreePoolWithTag(Buffer, 'tseT');
    /* A locked source that is not mapped: the part has a mapping of its own, which IoFreeMdl takes down. */
    Buffer = ExAllocatePool2(POOL_FLAG_PAGED, 2 * PAGE_SIZE, 'tseT');
    memset(Buffer, 3, 2 * PAGE_SIZE);
    Mdl = IoAllocateMdl(Buffer, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
    Part = IoAllocateMdl(Buffer + PAGE_SIZE, 100, FALSE, FALSE, NULL);
    IoBuildPartialMdl(Mdl, Part, Buffer + PAGE_SIZE, 100);
    PUCHAR Alias = MmGetSystemAddressForMdlSafe(Part, NormalPagePriority);
    assert_ptr_not_equal(Alias, Buffer + PAGE_SIZE);
    Alias[5] = 9;
    assert_int_equal(Buffer[PAGE_SIZE + 5], 9);
    assert_true(Part->MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED);
    IoFreeMdl(Part);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    ExFreePoolWithTag(Buffer, 'tseT');
}

/* ---- notifications of ps ---- */
static LONG Created, Ended, Images;
static VOID ProcessNotify(HANDLE Parent, HANDLE Process, BOOLEAN Create)
{
    assert_ptr_equal(Parent, (HANDLE)4);
    assert_ptr_not_equal(Process, Parent);
    if (Create)
        Created++;
    else
        Ended++;
}

static VOID ProcessNotifyEx(PEPROCESS Process, HANDLE Id, PPS_CREATE_NOTIFY_INFO Info)
{
    assert_ptr_equal(PsGetProcessId(Process), Id);
    if (Info)
        Created++;
    else
        Ended++;
}

static VOID ImageNotify(PUNICODE_STRING Name, HANDLE Process, PIMAGE_INFO Info)
{
    assert_int_equal(Name->Length, 2);
    assert_null(Process);
    assert_true(Info->SystemModeImage);
    assert_int_equal(Info->ImageSize, 4096);
    Images++;
}

/* Page: PsSetCreateProcessNotifyRoutine. "STATUS_INVALID_PARAMETER: the specified routine was already registered"; Remove. */
static void PsSetNotifyRoutine_RegisterCallRemove(void **state)
{
    UNICODE_STRING Name = KitString(L"x");
    (void)state;
    OK(PsSetCreateProcessNotifyRoutine(ProcessNotify, FALSE));
    FAILS(PsSetCreateProcessNotifyRoutine(ProcessNotify, FALSE), STATUS_INVALID_PARAMETER);
    OK(PsSetCreateProcessNotifyRoutineEx(ProcessNotifyEx, FALSE));
    PspNotifyProcess(PspUserProcess, TRUE);
    PspNotifyProcess(PspUserProcess, FALSE);
    assert_int_equal(Created, 2);
    assert_int_equal(Ended, 2);
    OK(PsSetCreateProcessNotifyRoutine(ProcessNotify, TRUE));
    OK(PsSetCreateProcessNotifyRoutineEx(ProcessNotifyEx, TRUE));
    FAILS(PsSetCreateProcessNotifyRoutine(ProcessNotify, TRUE), STATUS_PROCEDURE_NOT_FOUND);
    PspNotifyProcess(PspUserProcess, TRUE);
    assert_int_equal(Created, 2);
    OK(PsSetLoadImageNotifyRoutine(ImageNotify));
    PspNotifyImage(&Name, NULL, KitDevice, 4096, TRUE);
    assert_int_equal(Images, 1);
    OK(PsRemoveLoadImageNotifyRoutine(ImageNotify));
    FAILS(PsRemoveLoadImageNotifyRoutine(ImageNotify), STATUS_PROCEDURE_NOT_FOUND);
}

/* Page: PsChargePoolQuota. "raises STATUS_QUOTA_EXCEEDED"; PsReturnPoolQuota gives back. */
static void PsChargePoolQuota_LimitAndReturn(void **state)
{
    NTSTATUS Raised = STATUS_SUCCESS;
    (void)state;
    PspUserProcess->QuotaLimit[1] = 1000;
    OK(PsChargeProcessPoolQuota(PspUserProcess, PagedPool, 900));
    FAILS(PsChargeProcessPoolQuota(PspUserProcess, PagedPool, 200), STATUS_QUOTA_EXCEEDED);
    __try {
        PsChargePoolQuota(PspUserProcess, PagedPool, 200);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Raised = GetExceptionCode();
    }
    FAILS(Raised, STATUS_QUOTA_EXCEEDED);
    PsReturnPoolQuota(PspUserProcess, PagedPool, 900);
    assert_int_equal(PspUserProcess->QuotaUsage[1], 0);
    assert_int_equal(PspUserProcess->QuotaPeak[1], 900);
    PspUserProcess->QuotaLimit[1] = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(KeDeviceQueue_BusyAndOrder),       cmocka_unit_test(IoStartPacket_OneAtATime),
        cmocka_unit_test(IoCsq_InsertRemoveCancel),         cmocka_unit_test(IoQueueWorkItem_RunsOnce),
        cmocka_unit_test(IoRemoveLock_WaitsForHolders),     cmocka_unit_test(IoTimer_CallsOncePerSecond),
        cmocka_unit_test(IoBuildPartialMdl_DescribesPart),  cmocka_unit_test(PsSetNotifyRoutine_RegisterCallRemove),
        cmocka_unit_test(PsChargePoolQuota_LimitAndReturn),
    };
    return cmocka_run_group_tests(tests, Open, Close);
}
