/*
 * io_stress_test.c - many threads send requests to one device that queues them; some are cancelled, some completed by a
 * thread, some at once. The object and handle validators run in between. SPDX-License-Identifier: MIT
 */
#include "io_kit.h"
#include "ex/ex.h"
#include "ex/work.h"

enum { Threads = 6, Rounds = 400 };

/* ---- a queue in a driver: IoCsq over a spin lock ---- */
static IO_CSQ Csq;
static LIST_ENTRY Queue;
static KSPIN_LOCK QueueLock;
static LONG Inserted, Completed, Cancelled;

static VOID CsqInsert(PIO_CSQ C, PIRP Irp)
{
    UNREFERENCED_PARAMETER(C);
    InsertTailList(&Queue, &Irp->Tail.Overlay.ListEntry);
    Inserted++;
}

static VOID CsqRemove(PIO_CSQ C, PIRP Irp)
{
    UNREFERENCED_PARAMETER(C);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP CsqPeek(PIO_CSQ C, PIRP Irp, PVOID Context)
{
    PLIST_ENTRY Next = Irp ? Irp->Tail.Overlay.ListEntry.Flink : Queue.Flink;
    (void)C, (void)Context;
    return Next == &Queue ? NULL : CONTAINING_RECORD(Next, IRP, Tail.Overlay.ListEntry);
}

static VOID CsqAcquire(PIO_CSQ C, PKIRQL Irql)
{
    UNREFERENCED_PARAMETER(C);
    KeAcquireSpinLock(&QueueLock, Irql);
}

static VOID CsqRelease(PIO_CSQ C, KIRQL Irql)
{
    UNREFERENCED_PARAMETER(C);
    KeReleaseSpinLock(&QueueLock, Irql);
}

static VOID CsqCancelled(PIO_CSQ C, PIRP Irp)
{
    UNREFERENCED_PARAMETER(C);
    InterlockedIncrement(&Cancelled);
    KitComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    ULONG In = IoGetCurrentIrpStackLocation(Irp)->Parameters.DeviceIoControl.InputBufferLength;
    if (In % 3 == 0)
        return KitComplete(Irp, STATUS_SUCCESS, In);
    IoCsqInsertIrp(&Csq, Irp, NULL);
    return STATUS_PENDING;
}

static volatile bool Ending;
static void *Completer(void *Unused)
{
    (void)Unused;
    KeGetCurrentIrql();
    while (!__atomic_load_n(&Ending, __ATOMIC_ACQUIRE)) {
        PIRP Irp = IoCsqRemoveNextIrp(&Csq, NULL);
        if (Irp == NULL) {
            LARGE_INTEGER Wait = {.QuadPart = -1000};
            KeDelayExecutionThread(KernelMode, FALSE, &Wait);
            continue;
        }
        PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
        ULONG In = Sp->Parameters.DeviceIoControl.InputBufferLength;
        InterlockedIncrement(&Completed);
        KitComplete(Irp, STATUS_SUCCESS, In);
    }
    return NULL;
}

static LONG Bad;
static void *Sender(void *Argument)
{
    unsigned Seed = (unsigned)(uintptr_t)Argument * 7919 + 1;
    ntmm_file *File;
    UCHAR Buffer[300], Out[300];
    if (ntmm_open("\\\\.\\Kit", &File)) {
        InterlockedIncrement(&Bad);
        return NULL;
    }
    for (int i = 0; i < Rounds; i++) {
        uint64_t Information = 0;
        Seed = Seed * 1103515245 + 12345;
        size_t Length = 1 + (Seed >> 16) % 299;
        memset(Buffer, (int)Length, sizeof Buffer);
        memset(Out, 0, sizeof Out);
        ntmm_set_timeout(File, (Seed & 0x100) ? 1 : 0);
        int32_t Status = ntmm_ioctl(File, KIT_IOCTL(METHOD_BUFFERED), Buffer, Length, Out, sizeof Out, &Information);
        bool Good =
            Status == STATUS_CANCELLED || (Status == STATUS_SUCCESS && Information == Length && Out[0] == (UCHAR)Length &&
                                           Out[Length - 1] == (UCHAR)Length && (Length == 300 || Out[Length] == 0));
        if (!Good)
            InterlockedIncrement(&Bad);
    }
    ntmm_close(File);
    return NULL;
}

static void Requests_ManyThreadsWithCancel_NoneLost(void **state)
{
    pthread_t Senders[Threads], Helper;
    (void)state;
    InitializeListHead(&Queue);
    KeInitializeSpinLock(&QueueLock);
    OK(IoCsqInitialize(&Csq, CsqInsert, CsqRemove, CsqPeek, CsqAcquire, CsqRelease, CsqCancelled));
    KitOpen(Dispatch, 0);
    LONG Files = (*IoFileObjectType) ? KitCreates : 0;
    pthread_create(&Helper, NULL, Completer, NULL);
    for (uintptr_t i = 0; i < Threads; i++)
        pthread_create(&Senders[i], NULL, Sender, (void *)i);
    for (int i = 0; i < 50; i++) {
        const CHAR *Wrong = IopValidate();
        if (Wrong)
            fail_msg("%s", Wrong);
        HalYield();
    }
    for (uintptr_t i = 0; i < Threads; i++)
        pthread_join(Senders[i], NULL);
    __atomic_store_n(&Ending, true, __ATOMIC_RELEASE);
    pthread_join(Helper, NULL);
    assert_int_equal(Bad, 0);
    assert_true(IsListEmpty(&Queue));
    assert_int_equal(Inserted, Completed + Cancelled);
    assert_int_equal(KitCreates, Files + Threads);
    const CHAR *Broken = ObpValidate();
    if (Broken)
        fail_msg("%s", Broken);
    KitClose();
    assert_int_equal(KitCloses, Threads + 1);
}

/* ---- names and handles from many threads ---- */
static void *Namer(void *Argument)
{
    WCHAR Text[] = L"\\BaseNamedObjects\\StressX";
    (void)Argument;
    for (int i = 0; i < Rounds; i++) {
        UNICODE_STRING Name;
        OBJECT_ATTRIBUTES A;
        HANDLE Handle;
        LONG Old;
        Text[24] = (WCHAR)('A' + i % 3);
        RtlInitUnicodeString(&Name, Text);
        InitializeObjectAttributes(&A, &Name, OBJ_CASE_INSENSITIVE | OBJ_OPENIF | OBJ_KERNEL_HANDLE, NULL, NULL);
        NTSTATUS Status = ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &A, NotificationEvent, FALSE);
        if (!NT_SUCCESS(Status) || ZwSetEvent(Handle, &Old) || ZwClose(Handle))
            InterlockedIncrement(&Bad);
    }
    return NULL;
}

static void Names_ManyThreads_ObjectsGo(void **state)
{
    pthread_t All[Threads];
    LONG Before = ObpEventType.Objects;
    (void)state;
    for (uintptr_t i = 0; i < Threads; i++)
        pthread_create(&All[i], NULL, Namer, (void *)i);
    for (int i = 0; i < 20; i++) {
        const CHAR *Broken = ObpValidate();
        if (Broken)
            fail_msg("%s", Broken);
    }
    for (uintptr_t i = 0; i < Threads; i++)
        pthread_join(All[i], NULL);
    ExpDrainWork();
    assert_int_equal(Bad, 0);
    assert_int_equal(ObpEventType.Objects, Before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Requests_ManyThreadsWithCancel_NoneLost),
        cmocka_unit_test(Names_ManyThreads_ObjectsGo),
    };
    return cmocka_run_group_tests(tests, KitStart, KitStop);
}
