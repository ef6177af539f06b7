/*
 * usermode.c - a hostile caller: code that runs as a process, in user mode, against a driver's METHOD_NEITHER path.
 * SPDX-License-Identifier: MIT
 *
 * Pages: "Using Neither Buffered Nor Direct I/O" (the driver must probe, under an exception handler, in the caller's context), ExGetPreviousMode,
 * ProbeForRead, NtAllocateVirtualMemory ("if the call is from user mode").
 */
#include "mm_kit.h"
#include "ps/psp.h"
#include <pthread.h>

#define IOCTL_SUM    CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_WAIT   CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_DOUBLE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)

static KEVENT InDriver, GoOn;
static PDEVICE_OBJECT Device;
static KPROCESSOR_MODE SeenMode;
static HANDLE SeenProcess;
static ULONG Captured;

/* The pattern of the page: probe and touch under a handler. */
static NTSTATUS Sum(PIO_STACK_LOCATION Stack, PULONG_PTR Information, BOOLEAN Wait)
{
    PUCHAR Bytes = Stack->Parameters.DeviceIoControl.Type3InputBuffer;
    ULONG Length = Stack->Parameters.DeviceIoControl.InputBufferLength;
    volatile ULONG Total = 0;
    __try {
        ProbeForRead(Bytes, Length, 1);
        Captured = Bytes[0];
        if (Wait) {
            KeSetEvent(&InDriver, 0, FALSE);
            KeWaitForSingleObject(&GoOn, Executive, KernelMode, FALSE, NULL);
        }
        for (ULONG i = 0; i < Length; i++)
            Total += Bytes[i];
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    *Information = Total;
    return STATUS_SUCCESS;
}
static NTSTATUS Dispatch(PDEVICE_OBJECT Unused, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG_PTR Information = 0;
    (void)Unused;
    if (Stack->MajorFunction == IRP_MJ_DEVICE_CONTROL) {
        ULONG Code = Stack->Parameters.DeviceIoControl.IoControlCode;
        SeenMode = ExGetPreviousMode();
        SeenProcess = PsGetCurrentProcessId();
        if (Code == IOCTL_DOUBLE) {
            PUCHAR Buffer = Irp->AssociatedIrp.SystemBuffer;
            Buffer[0] = (UCHAR)(Buffer[0] * 2);
            Information = 1;
        } else {
            Status = Sum(Stack, &Information, Code == IOCTL_WAIT);
        }
    }
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}
static VOID Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link;
    RtlInitUnicodeString(&Link, L"\\??\\Victim");
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}
static NTSTATUS Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNICODE_STRING Name, Link;
    (void)Path;
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        Driver->MajorFunction[i] = Dispatch;
    Driver->DriverUnload = Unload;
    RtlInitUnicodeString(&Name, L"\\Device\\Victim");
    RtlInitUnicodeString(&Link, L"\\??\\Victim");
    NTSTATUS Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    return NT_SUCCESS(Status) ? IoCreateSymbolicLink(&Link, &Name) : Status;
}

static ntmm_process *Process;
static ntmm_driver *Driver;
static PUCHAR KernelBytes;

static int32_t Run(int32_t (*Function)(void *), void *Argument)
{
    int32_t Result = -1;
    assert_int_equal(ntmm_process_run(Process, Function, Argument, &Result), STATUS_SUCCESS);
    return Result;
}

/* ---- rights ---- */
static int32_t ReadKernel(void *Argument)
{
    return *(volatile UCHAR *)Argument;
}
static int32_t ReadKernelGuarded(void *Argument)
{
    volatile int32_t Seen = 0;
    for (int i = 0; i < 2; i++) {
        __try {
            (void)*(volatile UCHAR *)Argument;
            return 1;
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Seen = (int32_t)GetExceptionCode();
        }
        if (Seen != (int32_t)STATUS_ACCESS_VIOLATION)
            return 2;
        ntmm_user_free(ntmm_user_allocate(100)); /* into the kernel and back */
    }
    return 3;
}
static void KernelAddresses_AreAccessViolations(void **State)
{
    (void)State;
    KernelBytes[0] = 7;                                                      /* a translation is cached */
    assert_int_equal(Run(ReadKernel, KernelBytes), STATUS_ACCESS_VIOLATION); /* unhandled: it ends */
    KernelBytes[0] = 8;
    assert_int_equal(Run(ReadKernelGuarded, KernelBytes), 3);
    assert_int_equal(KernelBytes[0], 8);
    assert_int_equal(ExGetPreviousMode(), KernelMode);
}

static int32_t WriteNull(void *Argument)
{
    *(volatile int *)Argument = 1;
    return 0;
}
static int32_t TellMode(void *Argument)
{
    (void)Argument;
    return ExGetPreviousMode();
}
static void UserCode_IsUserMode_AndEndsWithItsException(void **State)
{
    (void)State;
    assert_int_equal(Run(TellMode, NULL), UserMode);
    assert_int_equal(Run(WriteNull, (void *)16), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Run(TellMode, NULL), UserMode);
}

/* ---- services called from user mode ---- */
static int32_t CallServices(void *Kernel)
{
    PVOID Base = NULL;
    SIZE_T Size = PAGE_SIZE;
    if (NtAllocateVirtualMemory(NtCurrentProcess(), Kernel, 0, &Size, MEM_COMMIT, PAGE_READWRITE) != STATUS_ACCESS_VIOLATION)
        return 1;
    if (NtAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, Kernel, MEM_COMMIT, PAGE_READWRITE) != STATUS_ACCESS_VIOLATION)
        return 2;
    if (ZwAllocateVirtualMemory(NtCurrentProcess(), Kernel, 0, &Size, MEM_COMMIT, PAGE_READWRITE) != STATUS_ACCESS_VIOLATION)
        return 3; /* user code has no Zw that is more than Nt */
    if (NtAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT, PAGE_READWRITE) != STATUS_SUCCESS)
        return 4;
    *(volatile UCHAR *)Base = 5;
    PVOID *Nested = Base; /* arguments in user memory itself */
    Nested[0] = NULL;
    Nested[1] = (PVOID)(ULONG_PTR)PAGE_SIZE;
    if (NtAllocateVirtualMemory(NtCurrentProcess(), &Nested[0], 0, (PSIZE_T)&Nested[1], MEM_COMMIT, PAGE_READWRITE) !=
        STATUS_SUCCESS)
        return 5;
    *(volatile UCHAR *)Nested[0] = 6;
    MEMORY_BASIC_INFORMATION Info;
    if (NtQueryVirtualMemory(NtCurrentProcess(), Base, MemoryBasicInformation, &Info, sizeof Info, NULL) != STATUS_SUCCESS ||
        Info.State != MEM_COMMIT)
        return 6;
    if (NtQueryVirtualMemory(NtCurrentProcess(), Base, MemoryBasicInformation, Kernel, sizeof Info, NULL) !=
        STATUS_ACCESS_VIOLATION)
        return 7;
    SIZE_T Done;
    if (NtReadVirtualMemory(NtCurrentProcess(), Kernel, Base, 8, &Done) != STATUS_ACCESS_VIOLATION)
        return 8;
    if (NtWriteVirtualMemory(NtCurrentProcess(), Base, Kernel, 8, &Done) != STATUS_ACCESS_VIOLATION)
        return 9;
    return 0;
}
static void Services_ProbeTheirCaller(void **State)
{
    (void)State;
    assert_int_equal(Run(CallServices, KernelBytes), 0);
}

/* ---- requests ---- */
static int32_t Requests(void *Kernel)
{
    ntmm_file *File;
    uint64_t Information = 0;
    UCHAR *Bytes = ntmm_user_allocate(2 * PAGE_SIZE);
    int32_t Failed = 0;
    if (Bytes == NULL || ntmm_open("Victim", &File) != STATUS_SUCCESS)
        return 1;
    Bytes[PAGE_SIZE - 1] = 3;
    Bytes[PAGE_SIZE] = 4;
    if (ntmm_user_ioctl(File, IOCTL_SUM, Bytes, 2 * PAGE_SIZE, NULL, 0, &Information) != STATUS_SUCCESS || Information != 7)
        Failed = 2;
    else if (ntmm_user_ioctl(File, IOCTL_SUM, Kernel, 64, NULL, 0, NULL) != STATUS_ACCESS_VIOLATION)
        Failed = 3;
    else if (ntmm_user_ioctl(File, IOCTL_SUM, Bytes, 3 * PAGE_SIZE, NULL, 0, NULL) != STATUS_ACCESS_VIOLATION)
        Failed = 4; /* one page too many */
    else if (ntmm_user_ioctl(File, IOCTL_SUM, (void *)8, 8, NULL, 0, NULL) != STATUS_ACCESS_VIOLATION)
        Failed = 5;
    else if (ntmm_user_ioctl(File, IOCTL_SUM, Bytes, 0xFFFFFFFF, NULL, 0, NULL) != STATUS_ACCESS_VIOLATION)
        Failed = 6;
    else if (ntmm_user_ioctl(File, IOCTL_DOUBLE, Kernel, 1, Kernel, 1, NULL) != STATUS_ACCESS_VIOLATION)
        Failed = 7; /* the I/O manager probes what it copies itself */
    else if (ntmm_user_ioctl(File, IOCTL_DOUBLE, Bytes + PAGE_SIZE, 1, Bytes, 1, &Information) != STATUS_SUCCESS ||
             Bytes[0] != 8)
        Failed = 8;
    ntmm_close(File);
    ntmm_user_free(Bytes);
    return Failed;
}
static void Requests_OfUserPointers(void **State)
{
    (void)State;
    assert_int_equal(Run(Requests, KernelBytes), 0);
    assert_int_equal(SeenMode, UserMode);
    assert_int_equal((ULONG_PTR)SeenProcess, ntmm_process_id(Process));
}

/* Two threads of the process: one in the driver, the other changes or frees the buffer under it. */
static UCHAR *Shared;
static int32_t InnerAsk(void *Argument)
{
    ntmm_file *File;
    uint64_t Information = 0;
    if (ntmm_open("Victim", &File) != STATUS_SUCCESS)
        return 1;
    int32_t Status = ntmm_user_ioctl(File, IOCTL_WAIT, Shared, 16, NULL, 0, &Information);
    ntmm_close(File);
    *(uint64_t *)Argument = Information;
    return Status;
}
static int32_t Change(void *Argument)
{
    if (Argument)
        return ntmm_user_free(Shared);
    Shared[0] = 100;
    return 0;
}
static int32_t Prepare(void *Argument)
{
    (void)Argument;
    Shared = ntmm_user_allocate(16);
    Shared[0] = 1;
    return 0;
}
typedef struct {
    uint64_t Information;
    int32_t Status;
} ASKED;
static void *Asker(void *Argument)
{
    ASKED *Asked = Argument;
    ntmm_process_run(Process, InnerAsk, &Asked->Information, &Asked->Status);
    return NULL;
}
static ASKED AskWhile(void *FreeIt)
{
    ASKED Asked = {0, 0};
    pthread_t Thread;
    assert_int_equal(Run(Prepare, NULL), 0);
    assert_int_equal(pthread_create(&Thread, NULL, Asker, &Asked), 0);
    KeWaitForSingleObject(&InDriver, Executive, KernelMode, FALSE, NULL);
    assert_int_equal(ntmm_process_end(Process, 0), STATUS_DEVICE_BUSY); /* its code runs */
    assert_int_equal(Run(Change, FreeIt), 0);
    KeSetEvent(&GoOn, 0, FALSE);
    pthread_join(Thread, NULL);
    return Asked;
}
static void Buffer_ChangedUnderTheDriver(void **State)
{
    (void)State;
    ASKED Asked = AskWhile(NULL);
    assert_int_equal(Asked.Status, STATUS_SUCCESS);
    assert_int_equal(Captured, 1); /* what it looked at first is not what it used: the double fetch */
    assert_int_equal(Asked.Information, 100);
}
static void Buffer_FreedUnderTheDriver_IsAnExceptionThatItHandles(void **State)
{
    (void)State;
    ASKED Asked = AskWhile(&Asked);
    assert_int_equal(Asked.Status, STATUS_ACCESS_VIOLATION);
}

static int Start(void **State)
{
    if (KitStart(State) != 0 || ntmm_add_driver("Victim", Entry, &Driver) != 0 || ntmm_process_create("hostile", &Process) != 0)
        return -1;
    KeInitializeEvent(&InDriver, SynchronizationEvent, FALSE);
    KeInitializeEvent(&GoOn, SynchronizationEvent, FALSE);
    KernelBytes = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, 'tseT');
    return KernelBytes ? 0 : -1;
}
static int Stop(void **State)
{
    ExFreePoolWithTag(KernelBytes, 'tseT');
    if (ntmm_process_end(Process, 0) != 0 || ntmm_remove_driver(Driver, NULL) != 0 || MiValidateAll() != NULL)
        return -1;
    return KitStop(State);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(KernelAddresses_AreAccessViolations),
        cmocka_unit_test(UserCode_IsUserMode_AndEndsWithItsException),
        cmocka_unit_test(Services_ProbeTheirCaller),
        cmocka_unit_test(Requests_OfUserPointers),
        cmocka_unit_test(Buffer_ChangedUnderTheDriver),
        cmocka_unit_test(Buffer_FreedUnderTheDriver_IsAnExceptionThatItHandles),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
