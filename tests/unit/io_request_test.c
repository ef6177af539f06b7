/*
 * io_request_test.c - requests of the user-mode requester in every buffering method. SPDX-License-Identifier: MIT
 */
#include "io_kit.h"
#include "ex/ex.h"

static PVOID SeenIn, SeenOut, SeenMdl;
static KPROCESSOR_MODE SeenMode, SeenPrevious;
static PEPROCESS SeenProcess;

/* Adds one to every input byte, into the output, by whatever method the code says. */
static NTSTATUS AddOne(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    ULONG In = Sp->Parameters.DeviceIoControl.InputBufferLength, Out = Sp->Parameters.DeviceIoControl.OutputBufferLength;
    PUCHAR Source = Irp->AssociatedIrp.SystemBuffer, Target = Irp->AssociatedIrp.SystemBuffer;
    ULONG Count = In < Out ? In : Out;
    UNREFERENCED_PARAMETER(Device);
    SeenMode = Irp->RequestorMode;
    SeenPrevious = ExGetPreviousMode();
    SeenProcess = IoGetCurrentProcess();
    assert_ptr_equal(IoGetRequestorProcess(Irp), SeenProcess);
    switch (METHOD_FROM_CTL_CODE(Sp->Parameters.DeviceIoControl.IoControlCode)) {
    case METHOD_IN_DIRECT:
    case METHOD_OUT_DIRECT:
        SeenMdl = MmGetMdlVirtualAddress(Irp->MdlAddress);
        Target = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
        assert_int_equal(MmGetMdlByteCount(Irp->MdlAddress), Out);
        break;
    case METHOD_NEITHER:
        Source = Sp->Parameters.DeviceIoControl.Type3InputBuffer;
        Target = Irp->UserBuffer;
        break;
    default:
        break;
    }
    SeenIn = Source;
    SeenOut = Target;
    for (ULONG i = 0; i < Count; i++)
        Target[i] = (UCHAR)(Source[i] + 1);
    return KitComplete(Irp, STATUS_SUCCESS, Count);
}

static void Try(ULONG Method)
{
    UCHAR In[5000], Out[6000];
    uint64_t Information = 0;
    for (size_t i = 0; i < sizeof In; i++)
        In[i] = (UCHAR)(i * 7);
    memset(Out, 0xee, sizeof Out);
    KitOpen(AddOne, 0);
    OK(ntmm_ioctl(KitFile, KIT_IOCTL(Method), In, sizeof In, Out, sizeof Out, &Information));
    assert_int_equal(Information, sizeof In);
    for (size_t i = 0; i < sizeof In; i++)
        assert_int_equal(Out[i], (UCHAR)(In[i] + 1));
    for (size_t i = sizeof In; i < sizeof Out; i++)
        assert_int_equal(Out[i], 0xee);
    assert_int_equal(SeenMode, UserMode);
    assert_int_equal(SeenPrevious, UserMode);
    assert_ptr_equal(SeenProcess, PspUserProcess);
    assert_ptr_equal(IoGetCurrentProcess(), PsInitialSystemProcess);
    KitClose();
    assert_int_equal(KitCreates, 1);
    assert_int_equal(KitCleanups, 1);
    assert_int_equal(KitCloses, 1);
}

static void Control_Buffered_SystemBuffer(void **state)
{
    (void)state;
    Try(METHOD_BUFFERED);
    assert_ptr_equal(SeenIn, SeenOut);
    assert_int_equal(MmRegionOf(SeenIn), MmRegionNonPagedPool);
}

static void Control_Direct_MdlOverUserPages(void **state)
{
    (void)state;
    Try(METHOD_OUT_DIRECT);
    assert_int_equal(MmRegionOf(SeenMdl), MmRegionUser);
    assert_int_equal(MmRegionOf(SeenOut), MmRegionSystemPtes);
    assert_int_equal(MmRegionOf(SeenIn), MmRegionNonPagedPool);
    Try(METHOD_IN_DIRECT);
}

static void Control_Neither_UserAddresses(void **state)
{
    (void)state;
    Try(METHOD_NEITHER);
    assert_int_equal(MmRegionOf(SeenIn), MmRegionUser);
    assert_int_equal(MmRegionOf(SeenOut), MmRegionUser);
}

static NTSTATUS Answer(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(Device);
    if (Irp->AssociatedIrp.SystemBuffer && Sp->Parameters.DeviceIoControl.OutputBufferLength)
        memset(Irp->AssociatedIrp.SystemBuffer, 'x', Sp->Parameters.DeviceIoControl.OutputBufferLength);
    ULONG In = Sp->Parameters.DeviceIoControl.InputBufferLength;
    return KitComplete(Irp, In == 1 ? STATUS_UNSUCCESSFUL : In == 2 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS, 3);
}

static void Control_Buffered_CopiesInformationBytesUnlessError(void **state)
{
    (void)state;
    char Out[8] = "abcdefg";
    uint64_t Information;
    KitOpen(Answer, 0);
    FAILS(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), "1", 1, Out, sizeof Out, &Information), STATUS_UNSUCCESSFUL);
    assert_string_equal(Out, "abcdefg");
    FAILS(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), "12", 2, Out, sizeof Out, &Information), STATUS_BUFFER_OVERFLOW);
    assert_string_equal(Out, "xxxdefg");
    assert_int_equal(Information, 3);
    memcpy(Out, "abcdefg", 8);
    OK(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, Out, sizeof Out, &Information));
    assert_string_equal(Out, "xxxdefg");
    OK(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, NULL, 0, &Information));
    KitClose();
}

/* ---- read and write ---- */
static UCHAR Store[10000];
static NTSTATUS ReadWrite(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    PUCHAR Buffer = (Device->Flags & DO_BUFFERED_IO) ? Irp->AssociatedIrp.SystemBuffer
                    : (Device->Flags & DO_DIRECT_IO)
                        ? (Irp->MdlAddress ? MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority) : NULL)
                        : Irp->UserBuffer;
    ULONG Length = Sp->Parameters.Read.Length, Offset = (ULONG)Sp->Parameters.Read.ByteOffset.QuadPart;
    if (Offset >= sizeof Store)
        return KitComplete(Irp, STATUS_END_OF_FILE, 0);
    if (Length > sizeof Store - Offset)
        Length = (ULONG)sizeof Store - Offset;
    if (Length == 0)
        return KitComplete(Irp, STATUS_SUCCESS, 0);
    if (Sp->MajorFunction == IRP_MJ_READ)
        memcpy(Buffer, Store + Offset, Length);
    else
        memcpy(Store + Offset, Buffer, Length);
    return KitComplete(Irp, STATUS_SUCCESS, Length);
}

static void Transfer_AllKinds_BytesArrive(void **state)
{
    static const ULONG Kinds[] = {DO_BUFFERED_IO, DO_DIRECT_IO, 0};
    UCHAR Out[5000], In[5000];
    uint64_t Information;
    (void)state;
    for (size_t k = 0; k < ARRAYSIZE(Kinds); k++) {
        memset(Store, 0, sizeof Store);
        for (size_t i = 0; i < sizeof In; i++)
            In[i] = (UCHAR)(i + k);
        KitOpen(ReadWrite, Kinds[k]);
        OK(ntmm_write(KitFile, In, sizeof In, 100, &Information));
        assert_int_equal(Information, sizeof In);
        memset(Out, 0, sizeof Out);
        OK(ntmm_read(KitFile, Out, sizeof Out, 100, &Information));
        assert_memory_equal(In, Out, sizeof In);
        memset(Out, 0x55, sizeof Out);
        OK(ntmm_read(KitFile, Out, 10, sizeof Store - 4, &Information));
        assert_int_equal(Information, 4);
        FAILS(ntmm_read(KitFile, Out, 10, sizeof Store, &Information), STATUS_END_OF_FILE);
        OK(ntmm_read(KitFile, NULL, 0, 0, &Information));
        KitClose();
    }
}

/* ---- pending ---- */
static KTIMER Timer;
static KDPC Dpc;
static VOID FinishDpc(PKDPC D, PVOID Context, PVOID A, PVOID B)
{
    PIRP Irp = Context;
    (void)D, (void)A, (void)B;
    memcpy(Irp->AssociatedIrp.SystemBuffer, "late", 5);
    KitComplete(Irp, STATUS_SUCCESS, 5);
}

static NTSTATUS Later(PDEVICE_OBJECT Device, PIRP Irp)
{
    LARGE_INTEGER Due = {.QuadPart = -20000};
    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, FinishDpc, Irp);
    KeSetTimer(&Timer, Due, &Dpc);
    return STATUS_PENDING;
}

static void Pending_CompletedByDpc_IsWaitedFor(void **state)
{
    char Out[8] = "";
    uint64_t Information;
    (void)state;
    KitOpen(Later, 0);
    OK(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, Out, sizeof Out, &Information));
    assert_string_equal(Out, "late");
    KitClose();
}

static PIRP Held;
static VOID HeldCancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KitComplete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS Hold(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(Device);
    IoMarkIrpPending(Irp);
    Held = Irp;
    if (Sp->Parameters.DeviceIoControl.InputBufferLength)
        IoSetCancelRoutine(Irp, HeldCancel);
    return STATUS_PENDING;
}

static void Pending_TimeOut_IsCancelled(void **state)
{
    (void)state;
    KitOpen(Hold, 0);
    ntmm_set_timeout(KitFile, 20);
    FAILS(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_BUFFERED), "c", 1, NULL, 0, NULL), STATUS_CANCELLED);
    KitClose();
}

static void Pending_NeverCompleted_IsLeftToTheDriver(void **state)
{
    char Out[16] = "keep";
    (void)state;
    KitOpen(Hold, 0);
    ntmm_set_timeout(KitFile, 20);
    FAILS(ntmm_ioctl(KitFile, KIT_IOCTL(METHOD_OUT_DIRECT), NULL, 0, Out, sizeof Out, NULL), STATUS_IO_TIMEOUT);
    assert_true(Held->Cancel);
    assert_string_equal(Out, "keep");
    /* The packet and its pages are still good; completing gives everything back. */
    memset(MmGetSystemAddressForMdlSafe(Held->MdlAddress, NormalPagePriority), 1, sizeof Out);
    KitComplete(Held, STATUS_SUCCESS, sizeof Out);
    KitClose();
    assert_int_equal(KitCloses, 1);
}

static NTSTATUS Refuse(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = KitString(L"\\Device\\Left");
    PDEVICE_OBJECT Device;
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Key;
    InitializeObjectAttributes(&Attributes, RegistryPath, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    OK(ZwOpenKey(&Key, KEY_READ, &Attributes));
    OK(ZwClose(Key));
    OK(IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device));
    return STATUS_DEVICE_CONFIGURATION_ERROR;
}

static void Driver_EntryFails_DevicesGo(void **state)
{
    ntmm_driver *Driver;
    ntmm_file *File;
    (void)state;
    FAILS(ntmm_add_driver("Refuse", Refuse, &Driver), STATUS_DEVICE_CONFIGURATION_ERROR);
    assert_null(Driver);
    FAILS(ntmm_open("\\Device\\Left", &File), STATUS_OBJECT_NAME_NOT_FOUND);
    FAILS(ntmm_open("\\\\.\\Nowhere", &File), STATUS_OBJECT_NAME_NOT_FOUND);
    FAILS(ntmm_open("", &File), STATUS_OBJECT_NAME_INVALID);
    /* The name is free again. */
    FAILS(ntmm_add_driver("Refuse", Refuse, &Driver), STATUS_DEVICE_CONFIGURATION_ERROR);
}

static VOID LazyUnload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
}

static NTSTATUS Lazy(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = KitEntry(Driver, RegistryPath);
    Driver->DriverUnload = LazyUnload;
    return Status;
}

static void Driver_LeavesThings_TheyAreCounted(void **state)
{
    ntmm_driver *Driver;
    ntmm_leftovers Left;
    ntmm_file *File;
    (void)state;
    OK(ntmm_add_driver("Lazy", Lazy, &Driver));
    OK(ntmm_remove_driver(Driver, &Left));
    assert_int_equal(Left.devices, 1);
    assert_int_equal(Left.symbolic_links, 1);
    FAILS(ntmm_open("\\\\.\\Kit", &File), STATUS_OBJECT_NAME_NOT_FOUND);
}

static NTSTATUS NoDispatch(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = KitString(L"\\Device\\Mute");
    PDEVICE_OBJECT Device;
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->DriverUnload = KitUnload;
    return IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
}

static void Driver_WithoutDispatch_InvalidDeviceRequest(void **state)
{
    ntmm_driver *Driver;
    ntmm_file *File;
    (void)state;
    OK(ntmm_add_driver("Mute", NoDispatch, &Driver));
    FAILS(ntmm_open("\\Device\\Mute", &File), STATUS_INVALID_DEVICE_REQUEST);
    OK(ntmm_remove_driver(Driver, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Control_Buffered_SystemBuffer),
        cmocka_unit_test(Control_Direct_MdlOverUserPages),
        cmocka_unit_test(Control_Neither_UserAddresses),
        cmocka_unit_test(Control_Buffered_CopiesInformationBytesUnlessError),
        cmocka_unit_test(Transfer_AllKinds_BytesArrive),
        cmocka_unit_test(Pending_CompletedByDpc_IsWaitedFor),
        cmocka_unit_test(Pending_TimeOut_IsCancelled),
        cmocka_unit_test(Pending_NeverCompleted_IsLeftToTheDriver),
        cmocka_unit_test(Driver_EntryFails_DevicesGo),
        cmocka_unit_test(Driver_LeavesThings_TheyAreCounted),
        cmocka_unit_test(Driver_WithoutDispatch_InvalidDeviceRequest),
    };
    return cmocka_run_group_tests(tests, KitStart, KitStop);
}
