/*
 * invariant_mdl.c - Driver Verifier's options 0x2000 and 0x4000: buffers of direct requests that change under way.
 * SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <ntifs.h>
#include <sys/wait.h>
#include <unistd.h>

/* A filter above a disk; what each does to the buffer. */
static struct {
    BOOLEAN FilterWrites, DiskWrites;
} Sin;
static PDEVICE_OBJECT Disk, Filter;
static PVOID Seen;

static NTSTATUS Finish(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Location = IoGetCurrentIrpStackLocation(Irp);
    if (Location->MajorFunction != IRP_MJ_READ && Location->MajorFunction != IRP_MJ_WRITE) {
        return Finish(Irp, STATUS_SUCCESS, 0);
    }
    PUCHAR Buffer = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute);
    Seen = Buffer;
    if (Device == Filter) {
        if (Sin.FilterWrites) {
            Buffer[5] ^= 1;
        }
        IoCopyCurrentIrpStackLocationToNext(Irp);
        return IoCallDriver(Disk, Irp);
    }
    ULONG Length =
        Location->MajorFunction == IRP_MJ_READ ? Location->Parameters.Read.Length : Location->Parameters.Write.Length;
    if (Location->MajorFunction == IRP_MJ_READ || Sin.DiskWrites) {
        Buffer[Length - 1] ^= 0x80;
    }
    return Finish(Irp, STATUS_SUCCESS, Length);
}

static NTSTATUS NTAPI Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Invariant");
    (void)Path;
    for (ULONG Function = 0; Function <= IRP_MJ_MAXIMUM_FUNCTION; Function++) {
        Driver->MajorFunction[Function] = Dispatch;
    }
    NTSTATUS Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Disk);
    if (NT_SUCCESS(Status)) {
        Disk->Flags |= DO_DIRECT_IO;
        Disk->Flags &= ~DO_DEVICE_INITIALIZING;
        Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Filter);
    }
    if (NT_SUCCESS(Status)) {
        Filter->Flags |= DO_DIRECT_IO;
        IoAttachDeviceToDeviceStack(Filter, Disk);
        Filter->Flags &= ~DO_DEVICE_INITIALIZING;
    }
    return Status;
}

static ntmm_file *File;
static UCHAR Data[9000];
static void Write(void *Argument)
{
    (void)Argument;
    assert_int_equal(ntmm_write(File, Data, sizeof(Data), 0, NULL), 0);
}
static void Read(void *Argument)
{
    (void)Argument;
    assert_int_equal(ntmm_read(File, Data, sizeof(Data), 0, NULL), 0);
}

static void Run(ULONG Mask)
{
    ntmm_options Options;
    ntmm_driver *Driver;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.verifier = Mask;
    assert_int_equal(ntmm_start(&Options), 0);
    memset(&Sin, 0, sizeof(Sin));
    assert_int_equal(ntmm_add_driver("invariant", Entry, &Driver), 0);
    assert_int_equal(ntmm_open("\\Device\\Invariant", &File), 0);
    /* right ones: a write that nobody changes, a read that the disk fills */
    assert_false(ntmm_catch(Write, NULL, NULL));
    assert_false(ntmm_catch(Read, NULL, NULL));
    assert_false(ntmm_catch(Write, NULL, NULL));
}

static void ExpectStop(void (*Function)(void *), ULONG_PTR Type, PDEVICE_OBJECT Device)
{
    ntmm_bugcheck Stop;
    assert_true(ntmm_catch(Function, NULL, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DETECTED_VIOLATION);
    assert_int_equal(Stop.parameters[0], Type);
    assert_int_equal(Stop.parameters[1], (ULONG_PTR)Device);
    assert_int_equal(((PIRP)Stop.parameters[2])->Type, IO_TYPE_IRP);
    assert_int_equal(Stop.parameters[3], (ULONG_PTR)Seen);
}

static void Stack_WriteChanged_IsSeenAtItsCompletion(void **State)
{
    (void)State;
    Run(0x2010);
    Sin.DiskWrites = TRUE;
    ExpectStop(Write, 0x1010, Disk);
    Sin.DiskWrites = FALSE;
    Sin.FilterWrites = TRUE;
    ExpectStop(Write, 0x1010, Disk); /* found where it is completed */
    ExpectStop(Read, 0x1011, Disk);
    Sin.FilterWrites = FALSE;
    assert_false(ntmm_catch(Write, NULL, NULL)); /* and nobody else is accused for it */
    assert_false(ntmm_catch(Read, NULL, NULL));
    _exit(0);
}

static void None_NothingIsSaid(void **State)
{
    (void)State;
    Run(0x10);
    Sin.DiskWrites = Sin.FilterWrites = TRUE;
    assert_false(ntmm_catch(Write, NULL, NULL));
    assert_false(ntmm_catch(Read, NULL, NULL));
    _exit(0);
}
static void Driver_WriteChanged_IsSeenWhenPassedOn(void **State)
{
    (void)State;
    Run(0x4010);
    Sin.FilterWrites = TRUE;
    ExpectStop(Write, 0x1010, Disk);
    _exit(0);
}

/* What a caught stop leaves in the middle of a request cannot be stopped in order: each test has a process. */
static void InChild(void (*Test)(void **))
{
    int Status;
    pid_t Child = fork();
    if (Child == 0) {
        Test(NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFEXITED(Status) && WEXITSTATUS(Status) == 0);
}
static void Stack(void **State)
{
    (void)State;
    InChild(Stack_WriteChanged_IsSeenAtItsCompletion);
}
static void Driver(void **State)
{
    (void)State;
    InChild(Driver_WriteChanged_IsSeenWhenPassedOn);
}
static void None(void **State)
{
    (void)State;
    InChild(None_NothingIsSaid);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Stack), cmocka_unit_test(Driver), cmocka_unit_test(None)};
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
