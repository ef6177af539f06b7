/*
 * io_device.c - devices, names, files, driver extensions, share access, by their documents. SPDX-License-Identifier: MIT
 */
#include "io_kit.h"
#include "io/iopp.h"

static LONG IopDeviceTypeObjects(void)
{
    return __atomic_load_n(&IopDeviceType.Objects, __ATOMIC_RELAXED);
}

static NTSTATUS ReadWrite(PDEVICE_OBJECT Device, PIRP Irp);
static int Open(void **state)
{
    if (KitStart(state))
        return -1;
    KitOpen(ReadWrite, DO_BUFFERED_IO);
    return 0;
}

static int Close(void **state)
{
    KitClose();
    return KitStop(state);
}

/* Page: IoCreateDevice. "DeviceExtensionSize ... The device extension is initialized to zeros"; DO_DEVICE_INITIALIZING is set;
 * "STATUS_OBJECT_NAME_COLLISION: an object with that name already exists". */
static void IoCreateDevice_Fields(void **state)
{
    UNICODE_STRING Name = KitString(L"\\Device\\KitTwo");
    PDEVICE_OBJECT One, Two;
    (void)state;
    OK(IoCreateDevice(KitDriver, 100, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, TRUE, &One));
    assert_int_equal(One->Type, IO_TYPE_DEVICE);
    assert_int_equal(One->Size, sizeof(DEVICE_OBJECT) + 100);
    assert_int_equal(One->Flags, DO_DEVICE_INITIALIZING | DO_EXCLUSIVE | DO_DEVICE_HAS_NAME);
    assert_int_equal(One->Characteristics, FILE_DEVICE_SECURE_OPEN);
    assert_int_equal(One->StackSize, 1);
    assert_ptr_equal(One->DriverObject, KitDriver);
    assert_ptr_equal(KitDriver->DeviceObject, One);
    assert_ptr_equal(One->NextDevice, KitDevice);
    for (int i = 0; i < 100; i++)
        assert_int_equal(((PUCHAR)One->DeviceExtension)[i], 0);
    FAILS(IoCreateDevice(KitDriver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Two), STATUS_OBJECT_NAME_COLLISION);
    assert_null(Two);
    IoDeleteDevice(One);
    assert_ptr_equal(KitDriver->DeviceObject, KitDevice);
    OK(IoCreateDevice(KitDriver, 0, &Name, FILE_DEVICE_DISK, 0, FALSE, &Two));
    assert_non_null(Two->Vpb);
    assert_null(Two->DeviceExtension);
    IoDeleteDevice(Two);
}

static NTSTATUS OpenKernel(const WCHAR *Path, ULONG Options, HANDLE *Handle)
{
    UNICODE_STRING Name = KitString(Path);
    OBJECT_ATTRIBUTES A;
    IO_STATUS_BLOCK Iosb;
    InitializeObjectAttributes(&A, &Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    return ZwOpenFile(Handle, GENERIC_READ | SYNCHRONIZE, &A, &Iosb, 0, Options);
}

/* "Exclusive ... only one handle to the device can be open at a time"; an initialising device cannot be opened. */
static void IoCreateDevice_ExclusiveAndInitialising(void **state)
{
    UNICODE_STRING Name = KitString(L"\\Device\\KitTwo");
    PDEVICE_OBJECT Device;
    HANDLE One, Two;
    (void)state;
    OK(IoCreateDevice(KitDriver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, TRUE, &Device));
    FAILS(OpenKernel(L"\\Device\\KitTwo", 0, &One), STATUS_NO_SUCH_DEVICE);
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    OK(OpenKernel(L"\\Device\\KitTwo", 0, &One));
    FAILS(OpenKernel(L"\\Device\\KitTwo", 0, &Two), STATUS_ACCESS_DENIED);
    OK(ZwClose(One));
    OK(OpenKernel(L"\\Device\\KitTwo", 0, &One));
    /* Page: IoDeleteDevice. "If ... a driver calls IoDeleteDevice while handles are open, the device is deleted when the last closes". */
    LONG Devices = IopDeviceTypeObjects();
    IoDeleteDevice(Device);
    FAILS(OpenKernel(L"\\Device\\KitTwo", 0, &Two), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_int_equal(IopDeviceTypeObjects(), Devices);
    OK(ZwClose(One));
    assert_int_equal(IopDeviceTypeObjects(), Devices - 1);
}

/* Page: IoAttachDeviceToDeviceStack. "sets the AttachedDevice field", "returns a pointer to the device object to which it attached",
 * "StackSize ... one more than"; Page: IoGetAttachedDeviceReference: "the highest level device object", referenced. */
static void IoAttachDevice_Stacks(void **state)
{
    PDEVICE_OBJECT A, B, Top, Lower, Attached;
    UNICODE_STRING Name = KitString(L"\\Device\\Kit");
    (void)state;
    OK(IoCreateDevice(KitDriver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &A));
    OK(IoCreateDevice(KitDriver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &B));
    A->Flags &= ~DO_DEVICE_INITIALIZING;
    B->Flags &= ~DO_DEVICE_INITIALIZING;
    assert_ptr_equal(IoAttachDeviceToDeviceStack(A, KitDevice), KitDevice);
    assert_int_equal(A->StackSize, 2);
    OK(IoAttachDevice(B, &Name, &Attached));
    assert_ptr_equal(Attached, A);
    assert_int_equal(B->StackSize, 3);
    assert_ptr_equal(A->AttachedDevice, B);
    LONG64 Count = ObpPointerCount(B);
    Top = IoGetAttachedDeviceReference(KitDevice);
    assert_ptr_equal(Top, B);
    assert_int_equal(ObpPointerCount(B), Count + 1);
    ObDereferenceObject(Top);
    assert_ptr_equal(IoGetAttachedDevice(KitDevice), B);
    Lower = IoGetLowerDeviceObject(B);
    assert_ptr_equal(Lower, A);
    ObDereferenceObject(Lower);
    assert_null(IoGetLowerDeviceObject(KitDevice));
    Lower = IoGetDeviceAttachmentBaseRef(B);
    assert_ptr_equal(Lower, KitDevice);
    ObDereferenceObject(Lower);
    PDEVICE_OBJECT List[3];
    ULONG Actual;
    FAILS(IoEnumerateDeviceObjectList(KitDriver, List, sizeof(PVOID), &Actual), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(Actual, 3);
    OK(IoEnumerateDeviceObjectList(KitDriver, List, sizeof List, &Actual));
    for (int i = 0; i < 3; i++)
        ObDereferenceObject(List[i]);
    IoDetachDevice(A);
    IoDetachDevice(KitDevice);
    assert_null(KitDevice->AttachedDevice);
    /* A stack whose top is being deleted is not attached to. */
    IoDeleteDevice(B);
    HANDLE Handle;
    OK(OpenKernel(L"\\Device\\Kit", 0, &Handle));
    OK(ZwClose(Handle));
    IoDeleteDevice(A);
}

/* Page: IoGetDeviceObjectPointer. "returns a pointer to the top object in the named device object's stack and a pointer to the
 * corresponding file object"; "dereferencing the file object ... " closes it. */
static void IoGetDeviceObjectPointer_FileHoldsTheDevice(void **state)
{
    UNICODE_STRING Name = KitString(L"\\DosDevices\\Kit"), Missing = KitString(L"\\Device\\Nope");
    PFILE_OBJECT File;
    PDEVICE_OBJECT Device;
    LONG Closes = KitCloses, Cleanups = KitCleanups;
    (void)state;
    OK(IoGetDeviceObjectPointer(&Name, FILE_ALL_ACCESS, &File, &Device));
    assert_ptr_equal(Device, KitDevice);
    assert_ptr_equal(File->DeviceObject, KitDevice);
    assert_int_equal(KitCleanups, Cleanups + 1);
    assert_int_equal(KitCloses, Closes);
    ObDereferenceObject(File);
    assert_int_equal(KitCloses, Closes + 1);
    FAILS(IoGetDeviceObjectPointer(&Missing, FILE_ALL_ACCESS, &File, &Device), STATUS_OBJECT_NAME_NOT_FOUND);
}

/* ---- files ---- */
static UCHAR Store[1000];
static NTSTATUS ReadWrite(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    UNREFERENCED_PARAMETER(Device);
    ULONG Offset = (ULONG)Sp->Parameters.Read.ByteOffset.QuadPart, Length = Sp->Parameters.Read.Length;
    switch (Sp->MajorFunction) {
    case IRP_MJ_READ:
        memcpy(Irp->AssociatedIrp.SystemBuffer, Store + Offset, Length);
        Sp->FileObject->CurrentByteOffset.QuadPart = Offset + Length;
        return KitComplete(Irp, STATUS_SUCCESS, Length);
    case IRP_MJ_WRITE:
        memcpy(Store + Offset, Irp->AssociatedIrp.SystemBuffer, Length);
        Sp->FileObject->CurrentByteOffset.QuadPart = Offset + Length;
        return KitComplete(Irp, STATUS_SUCCESS, Length);
    case IRP_MJ_QUERY_INFORMATION:
        if (Sp->Parameters.QueryFile.FileInformationClass != FileStandardInformation)
            return KitComplete(Irp, STATUS_INVALID_PARAMETER, 0);
        ((PFILE_STANDARD_INFORMATION)Irp->AssociatedIrp.SystemBuffer)->EndOfFile.QuadPart = sizeof Store;
        return KitComplete(Irp, STATUS_SUCCESS, sizeof(FILE_STANDARD_INFORMATION));
    case IRP_MJ_DEVICE_CONTROL:
        return KitComplete(Irp, STATUS_SUCCESS, 0);
    default:
        return KitComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

/* Page: ZwReadFile / ZwWriteFile. A synchronous file keeps a position: "If ByteOffset is NULL, ... the current file position";
 * an asynchronous one needs ByteOffset (STATUS_INVALID_PARAMETER). Information: "the number of bytes actually read". */
static void ZwReadFile_PositionAndOffsets(void **state)
{
    HANDLE Sync, Async;
    IO_STATUS_BLOCK Iosb;
    LARGE_INTEGER At = {.QuadPart = 10};
    char Buffer[8] = {0};
    FILE_POSITION_INFORMATION Position;
    FILE_STANDARD_INFORMATION Standard;
    (void)state;
    OK(OpenKernel(L"\\Device\\Kit", FILE_SYNCHRONOUS_IO_NONALERT, &Sync));
    OK(OpenKernel(L"\\Device\\Kit", 0, &Async));
    OK(ZwWriteFile(Sync, NULL, NULL, NULL, &Iosb, (PVOID) "hello", 5, &At, NULL));
    assert_int_equal(Iosb.Information, 5);
    OK(ZwWriteFile(Sync, NULL, NULL, NULL, &Iosb, (PVOID) "!", 2, NULL, NULL));
    OK(ZwQueryInformationFile(Sync, &Iosb, &Position, sizeof Position, FilePositionInformation));
    assert_int_equal(Position.CurrentByteOffset.QuadPart, 17);
    Position.CurrentByteOffset.QuadPart = 10;
    OK(ZwSetInformationFile(Sync, &Iosb, &Position, sizeof Position, FilePositionInformation));
    OK(ZwReadFile(Sync, NULL, NULL, NULL, &Iosb, Buffer, 7, NULL, NULL));
    assert_string_equal(Buffer, "hello!");
    FAILS(ZwReadFile(Async, NULL, NULL, NULL, &Iosb, Buffer, 7, NULL, NULL), STATUS_INVALID_PARAMETER);
    OK(ZwReadFile(Async, NULL, NULL, NULL, &Iosb, Buffer, 7, &At, NULL));
    OK(ZwQueryInformationFile(Async, &Iosb, &Standard, sizeof Standard, FileStandardInformation));
    assert_int_equal(Standard.EndOfFile.QuadPart, sizeof Store);
    FAILS(ZwQueryInformationFile(Async, &Iosb, &Standard, sizeof Standard, FileBasicInformation), STATUS_INVALID_PARAMETER);
    HANDLE Event;
    OK(ZwCreateEvent(&Event, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE));
    OK(ZwDeviceIoControlFile(Async, Event, NULL, NULL, &Iosb, KIT_IOCTL(METHOD_BUFFERED), NULL, 0, NULL, 0));
    LARGE_INTEGER Now = {.QuadPart = 0};
    OK(ZwWaitForSingleObject(Event, FALSE, &Now));
    OK(ZwClose(Event));
    FAILS(ZwReadFile(Event, NULL, NULL, NULL, &Iosb, Buffer, 7, &At, NULL), STATUS_INVALID_HANDLE);
    OK(ZwClose(Sync));
    OK(ZwClose(Async));
}

/* A name may go on behind the device's: that is the file object's name. */
static void ZwOpenFile_RestIsTheFileName(void **state)
{
    HANDLE Handle;
    PFILE_OBJECT File;
    struct {
        OBJECT_NAME_INFORMATION Info;
        WCHAR Text[64];
    } Out;
    ULONG Length;
    UNICODE_STRING Rest = KitString(L"\\dir\\file"), Whole = KitString(L"\\Device\\Kit\\dir\\file");
    (void)state;
    OK(OpenKernel(L"\\??\\Kit\\dir\\file", 0, &Handle));
    OK(ObReferenceObjectByHandle(Handle, 0, *IoFileObjectType, KernelMode, (PVOID *)&File, NULL));
    assert_true(RtlEqualUnicodeString(&File->FileName, &Rest, FALSE));
    OK(ObQueryNameString(File, &Out.Info, sizeof Out, &Length));
    assert_true(RtlEqualUnicodeString(&Out.Info.Name, &Whole, FALSE));
    ObDereferenceObject(File);
    OK(ZwClose(Handle));
}

/* Page: IoAllocateDriverObjectExtension. "STATUS_OBJECT_NAME_COLLISION: ... ClientIdentificationAddress already exists"; zeroed. */
static void IoAllocateDriverObjectExtension_OnePerId(void **state)
{
    PVOID One, Two;
    (void)state;
    OK(IoAllocateDriverObjectExtension(KitDriver, (PVOID)&KitDriver, 32, &One));
    assert_int_equal(*(ULONG64 *)One, 0);
    FAILS(IoAllocateDriverObjectExtension(KitDriver, (PVOID)&KitDriver, 32, &Two), STATUS_OBJECT_NAME_COLLISION);
    assert_ptr_equal(IoGetDriverObjectExtension(KitDriver, (PVOID)&KitDriver), One);
    assert_null(IoGetDriverObjectExtension(KitDriver, (PVOID)1));
}

static LONG Passes;
static VOID Again(PDRIVER_OBJECT Driver, PVOID Context, ULONG Count)
{
    assert_ptr_equal(Context, &Passes);
    assert_int_equal(Count, (ULONG)Passes + 1);
    if (++Passes < 3)
        IoRegisterDriverReinitialization(Driver, Again, Context);
}

static NTSTATUS Late(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNREFERENCED_PARAMETER(Path);
    Driver->DriverUnload = KitUnload;
    IoRegisterDriverReinitialization(Driver, Again, &Passes);
    assert_int_equal(Passes, 0);
    return STATUS_SUCCESS;
}

/* Page: DRIVER_REINITIALIZE. "Count: ... the number of times this routine has been called", it may register itself again. */
static void IoRegisterDriverReinitialization_CalledAfterEntry(void **state)
{
    ntmm_driver *Driver;
    (void)state;
    OK(ntmm_add_driver("Late", Late, &Driver));
    assert_int_equal(Passes, 3);
    OK(ntmm_remove_driver(Driver, NULL));
}

/* Page: IoCheckShareAccess. "STATUS_SHARING_VIOLATION: the requestor cannot access the file because ..." */
static void IoCheckShareAccess_Conflicts(void **state)
{
    FILE_OBJECT A = {0}, B = {0};
    SHARE_ACCESS Share;
    (void)state;
    IoSetShareAccess(FILE_READ_DATA, FILE_SHARE_READ, &A, &Share);
    assert_int_equal(Share.OpenCount, 1);
    OK(IoCheckShareAccess(FILE_READ_DATA, FILE_SHARE_READ, &B, &Share, FALSE));
    assert_int_equal(Share.OpenCount, 1);
    FAILS(IoCheckShareAccess(FILE_WRITE_DATA, FILE_SHARE_READ, &B, &Share, TRUE), STATUS_SHARING_VIOLATION);
    FAILS(IoCheckShareAccess(FILE_READ_DATA, FILE_SHARE_WRITE, &B, &Share, TRUE), STATUS_SHARING_VIOLATION);
    OK(IoCheckShareAccess(FILE_READ_DATA, FILE_SHARE_READ, &B, &Share, TRUE));
    assert_int_equal(Share.Readers, 2);
    IoRemoveShareAccess(&A, &Share);
    IoRemoveShareAccess(&B, &Share);
    assert_int_equal(Share.OpenCount + Share.Readers + Share.SharedRead, 0);
}

/* Page: IoAllocateErrorLogEntry. "EntrySize ... cannot be larger than ERROR_LOG_MAXIMUM_SIZE"; NULL. */
static void IoAllocateErrorLogEntry_Sizes(void **state)
{
    (void)state;
    assert_null(IoAllocateErrorLogEntry(KitDevice, 255));
    assert_null(IoAllocateErrorLogEntry(KitDevice, 8));
    PIO_ERROR_LOG_PACKET Packet = IoAllocateErrorLogEntry(KitDevice, sizeof(IO_ERROR_LOG_PACKET) + 8);
    assert_non_null(Packet);
    assert_int_equal(Packet->ErrorCode, 0);
    IoFreeErrorLogEntry(Packet);
    Packet = IoAllocateErrorLogEntry(KitDriver, sizeof(IO_ERROR_LOG_PACKET));
    Packet->ErrorCode = STATUS_UNSUCCESSFUL;
    IoWriteErrorLogEntry(Packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(IoCreateDevice_Fields),
        cmocka_unit_test(IoCreateDevice_ExclusiveAndInitialising),
        cmocka_unit_test(IoAttachDevice_Stacks),
        cmocka_unit_test(IoGetDeviceObjectPointer_FileHoldsTheDevice),
        cmocka_unit_test(ZwReadFile_PositionAndOffsets),
        cmocka_unit_test(ZwOpenFile_RestIsTheFileName),
        cmocka_unit_test(IoAllocateDriverObjectExtension_OnePerId),
        cmocka_unit_test(IoRegisterDriverReinitialization_CalledAfterEntry),
        cmocka_unit_test(IoCheckShareAccess_Conflicts),
        cmocka_unit_test(IoAllocateErrorLogEntry_Sizes),
    };
    return cmocka_run_group_tests(tests, Open, Close);
}
