/*
 * file.c - file objects: what a name of a device opens, and the Zw services on them. SPDX-License-Identifier: MIT
 *
 * Implements IoFileObjectType, IoGetDeviceObjectPointer, ZwCreateFile, ZwOpenFile, ZwReadFile, ZwWriteFile,
 * ZwDeviceIoControlFile, ZwQueryInformationFile, ZwSetInformationFile. There are no file systems of the host: a name must lead to
 * a device.
 *
 *     \Device\Name\rest  --IopParseDevice-->  FILE_OBJECT { DeviceObject = Name's, FileName = "\rest" }
 *
 *     made --IRP_MJ_CREATE ok--> open --last handle closed: IRP_MJ_CLEANUP--> cleaned --last reference: IRP_MJ_CLOSE--> freed
 *       \--failed--> freed (no cleanup, no close)
 *
 * Requests go to the top of the device's stack. A file opened with FILE_SYNCHRONOUS_IO_(NON)ALERT does one request at a
 * time and waits for it; any other may return STATUS_PENDING, and the event or the file object is signalled.
 *
 * Invariants: 1. FO_FILE_OPEN: create succeeded, and close will be sent once; 2. FO_CLEANUP_COMPLETE: cleanup was sent, once;
 * 3. an open file holds its device (IopReferenceDevice).
 */
#include "io/iopp.h"

static VOID IopCloseFile(PVOID Object);
static VOID IopHandleClosed(PVOID Object, LONG Remaining)
{
    if (Remaining == 0)
        IopCleanupFile(Object);
}

static VOID IopQueryFileName(PVOID Object, PVOID *Base, PUNICODE_STRING Suffix)
{
    PFILE_OBJECT File = Object;
    *Base = File->DeviceObject;
    *Suffix = File->FileName;
}

OBJECT_TYPE IopFileType = {.Name = L"File",
                           .Tag = 'eliF',
                           .WaitOffset = offsetof(FILE_OBJECT, Event),
                           .ValidAccess = FILE_ALL_ACCESS,
                           .Delete = IopCloseFile,
                           .Close = IopHandleClosed,
                           .QueryName = IopQueryFileName};
static POBJECT_TYPE IopFileTypePointer = &IopFileType;
POBJECT_TYPE *IoFileObjectType = &IopFileTypePointer;

/* A packet for a request that must be made: waits for memory. */
static PIRP IopMustAllocateIrp(CCHAR StackSize)
{
    for (;;) {
        PIRP Irp = IopAllocateIrp(StackSize);
        IOP_REQUEST *Request = Irp ? IopCreateRequest(Irp) : NULL;
        if (Request)
            return Irp;
        if (Irp)
            IoFreeIrp(Irp);
        HalYield();
    }
}

static VOID IopSendSimple(PFILE_OBJECT File, UCHAR Major)
{
    PDEVICE_OBJECT Top = IoGetRelatedDeviceObject(File);
    PIRP Irp = IopMustAllocateIrp(Top->StackSize);
    IOP_REQUEST *Request = Irp->Tail.Overlay.IrpExtension;
    BOOLEAN Abandoned;
    Irp->Flags |= IRP_SYNCHRONOUS_API | IRP_CLOSE_OPERATION;
    Irp->RequestorMode = KernelMode;
    IoGetNextIrpStackLocation(Irp)->MajorFunction = Major;
    IoGetNextIrpStackLocation(Irp)->FileObject = File;
    IopSendAndWait(Top, Request, 0, NULL, &Abandoned);
    if (!Abandoned)
        IopDestroyRequest(Request);
}

VOID IopCleanupFile(PFILE_OBJECT File)
{
    ULONG Old = __atomic_fetch_or(&File->Flags, FO_CLEANUP_COMPLETE, __ATOMIC_ACQ_REL);
    if (!(Old & FO_FILE_OPEN) || (Old & FO_CLEANUP_COMPLETE))
        return;
    IopSendSimple(File, IRP_MJ_CLEANUP);
}

static VOID IopCloseFile(PVOID Object)
{
    PFILE_OBJECT File = Object;
    if (File->Flags & FO_FILE_OPEN) {
        IopCleanupFile(File); /* an object that never had a handle, or whose handle is this reference */
        IopSendSimple(File, IRP_MJ_CLOSE);
    }
    ObpFreeString(&File->FileName);
    if (File->RelatedFileObject)
        ObfDereferenceObject(File->RelatedFileObject);
    if (File->DeviceObject)
        IopDereferenceDevice(File->DeviceObject);
}

NTSTATUS IopParseDevice(PVOID Object, PCUNICODE_STRING Rest, OBP_OPEN *Open, PVOID *Result)
{
    PDEVICE_OBJECT Device = Object, Top;
    IOP_OPEN *Packet = Open->Context;
    PFILE_OBJECT File;
    IO_SECURITY_CONTEXT Security;
    ACCESS_STATE Access;
    PIRP Irp;
    IOP_REQUEST *Request;
    BOOLEAN Abandoned;
    NTSTATUS Status;
    if (Open->Type != &IopFileType || Packet == NULL) {
        if (Rest->Length)
            return STATUS_OBJECT_TYPE_MISMATCH;
        ObfReferenceObject(Object);
        *Result = Object;
        return STATUS_SUCCESS;
    }
    if (!IopDeviceUsable(Device))
        return STATUS_NO_SUCH_DEVICE;
    IopReferenceDevice(Device);
    if ((Device->Flags & DO_EXCLUSIVE) && Device->ReferenceCount > 1) {
        IopDereferenceDevice(Device);
        return STATUS_ACCESS_DENIED;
    }
    Status = ObpCreateObject(&IopFileType, sizeof(FILE_OBJECT), (PVOID *)&File);
    if (!NT_SUCCESS(Status)) {
        IopDereferenceDevice(Device);
        return Status;
    }
    File->Type = IO_TYPE_FILE;
    File->Size = sizeof(FILE_OBJECT);
    File->DeviceObject = Device;
    File->Vpb = Device->Vpb;
    File->Flags = ((Packet->Options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT)) ? FO_SYNCHRONOUS_IO : 0) |
                  ((Packet->Options & FILE_SYNCHRONOUS_IO_ALERT) ? FO_ALERTABLE_IO : 0) |
                  ((Packet->Options & FILE_NO_INTERMEDIATE_BUFFERING) ? FO_NO_INTERMEDIATE_BUFFERING : 0) |
                  ((Packet->Options & FILE_WRITE_THROUGH) ? FO_WRITE_THROUGH : 0) |
                  ((Packet->Options & FILE_SEQUENTIAL_ONLY) ? FO_SEQUENTIAL_ONLY : 0);
    KeInitializeEvent(&File->Lock, SynchronizationEvent, FALSE);
    KeInitializeEvent(&File->Event, NotificationEvent, FALSE);
    InitializeListHead(&File->IrpList);
    if (Rest->Length)
        Status = ObpCopyString(Rest, &File->FileName);
    Top = IoGetAttachedDevice(Device);
    Irp = NT_SUCCESS(Status) ? IopAllocateIrp(Top->StackSize) : NULL;
    Request = Irp ? IopCreateRequest(Irp) : NULL;
    if (Request == NULL) {
        if (Irp)
            IoFreeIrp(Irp);
        ObfDereferenceObject(File);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    memset(&Access, 0, sizeof Access);
    Access.RemainingDesiredAccess = 0;
    Access.OriginalDesiredAccess = Access.PreviouslyGrantedAccess = Open->Access;
    Security = (IO_SECURITY_CONTEXT){NULL, &Access, Open->Access, Packet->Options};
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    Next->MajorFunction = IRP_MJ_CREATE;
    Next->FileObject = File;
    Next->Parameters.Create.SecurityContext = &Security;
    Next->Parameters.Create.Options = (Packet->Disposition << 24) | (Packet->Options & 0xffffff);
    Next->Parameters.Create.FileAttributes = (USHORT)Packet->FileAttributes;
    Next->Parameters.Create.ShareAccess = (USHORT)Packet->ShareAccess;
    Next->Parameters.Create.EaLength = Packet->EaLength;
    Irp->AssociatedIrp.SystemBuffer = Packet->EaBuffer;
    Irp->Flags |= IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API;
    Irp->RequestorMode = Open->Mode;
    Irp->Tail.Overlay.OriginalFileObject = NULL;
    Status = IopSendAndWait(Top, Request, 0, &Packet->Information, &Abandoned);
    if (!Abandoned)
        IopDestroyRequest(Request);
    Packet->Status = Status;
    if (Status == STATUS_REPARSE)
        Status = STATUS_OBJECT_NAME_INVALID; /* no driver's reparse leads anywhere here */
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(File);
        return Status;
    }
    __atomic_fetch_or(&File->Flags, FO_FILE_OPEN, __ATOMIC_ACQ_REL);
    *Result = File;
    return STATUS_SUCCESS;
}

NTSTATUS ZwCreateFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                      PIO_STATUS_BLOCK IoStatusBlock, PLARGE_INTEGER AllocationSize, ULONG FileAttributes, ULONG ShareAccess,
                      ULONG CreateDisposition, ULONG CreateOptions, PVOID EaBuffer, ULONG EaLength)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, FileHandle, IoStatusBlock, AllocationSize, EaBuffer);
    IOP_OPEN Packet = {.Options = CreateOptions,
                       .Disposition = CreateDisposition,
                       .FileAttributes = FileAttributes,
                       .ShareAccess = ShareAccess,
                       .EaBuffer = EaBuffer,
                       .EaLength = EaLength};
    UNREFERENCED_PARAMETER(AllocationSize);
    *FileHandle = NULL;
    if (CreateDisposition > FILE_OVERWRITE_IF)
        return STATUS_INVALID_PARAMETER;
    if ((CreateOptions & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT)) && !(DesiredAccess & SYNCHRONIZE))
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = ObpOpenWithHandle(&IopFileType, ObjectAttributes, DesiredAccess, &Packet, FileHandle);
    IoStatusBlock->Status = Status;
    IoStatusBlock->Information = NT_SUCCESS(Status) ? Packet.Information : 0;
    return Status;
}

NTSTATUS ZwOpenFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                    PIO_STATUS_BLOCK IoStatusBlock, ULONG ShareAccess, ULONG OpenOptions)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, FileHandle, IoStatusBlock);
    return ZwCreateFile(FileHandle, DesiredAccess, ObjectAttributes, IoStatusBlock, NULL, 0, ShareAccess, FILE_OPEN,
                        OpenOptions, NULL, 0);
}

NTSTATUS IoGetDeviceObjectPointer(PUNICODE_STRING ObjectName, ACCESS_MASK DesiredAccess, PFILE_OBJECT *FileObject,
                                  PDEVICE_OBJECT *DeviceObject)
{
    KI_SECURITY(Routine, ObjectName, FileObject, sizeof *FileObject);
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Iosb;
    HANDLE Handle;
    InitializeObjectAttributes(&Attributes, ObjectName, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS Status = ZwOpenFile(&Handle, DesiredAccess, &Attributes, &Iosb, 0, FILE_NON_DIRECTORY_FILE);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObReferenceObjectByHandle(Handle, 0, &IopFileType, KernelMode, (PVOID *)FileObject, NULL);
    if (NT_SUCCESS(Status))
        *DeviceObject = IoGetRelatedDeviceObject(*FileObject);
    ZwClose(Handle); /* sends the cleanup; the caller's reference keeps the file until it lets go */
    return Status;
}

/* ---- requests by handle ---- */
static VOID IopLockFile(PFILE_OBJECT File)
{
    while (__atomic_exchange_n(&File->Busy, 1, __ATOMIC_ACQ_REL)) {
        __atomic_add_fetch(&File->Waiters, 1, __ATOMIC_ACQ_REL);
        /* Woken by an unlock; looks again now and then in case that came between the two counts. */
        LARGE_INTEGER Soon = {.QuadPart = -10 * 10000};
        KeWaitForSingleObject(&File->Lock, Executive, KernelMode, FALSE, &Soon);
        __atomic_sub_fetch(&File->Waiters, 1, __ATOMIC_ACQ_REL);
    }
}

static VOID IopUnlockFile(PFILE_OBJECT File)
{
    __atomic_store_n(&File->Busy, 0, __ATOMIC_RELEASE);
    if (__atomic_load_n(&File->Waiters, __ATOMIC_ACQUIRE))
        KeSetEvent(&File->Lock, IO_NO_INCREMENT, FALSE);
}

/* What the services have in common, around Fill, which prepares the packet. */
typedef struct _IOP_SERVICE {
    UCHAR Major;
    ULONG Code;
    PVOID In, Out;
    ULONG InLength, OutLength;
    LONGLONG Offset;
    ULONG InformationClass;
} IOP_SERVICE;

static NTSTATUS IopFill(PIRP Irp, PDEVICE_OBJECT Top, const IOP_SERVICE *Service)
{
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    NTSTATUS Status;
    switch (Service->Major) {
    case IRP_MJ_READ:
    case IRP_MJ_WRITE:
        return IopSetTransfer(Irp, Service->Major, Top->Flags, Service->Out, Service->OutLength, Service->Offset, KernelMode);
    case IRP_MJ_QUERY_INFORMATION:
    case IRP_MJ_SET_INFORMATION:
        /* Buffered always: device control's buffered method has the same buffers, the parameters differ. */
        if (Service->Major == IRP_MJ_QUERY_INFORMATION)
            Status = IopSetControl(Irp, Service->Major, METHOD_BUFFERED, NULL, 0, Service->Out, Service->OutLength, KernelMode);
        else
            Status = IopSetControl(Irp, Service->Major, METHOD_BUFFERED, Service->Out, Service->OutLength, NULL, 0, KernelMode);
        memset(&Next->Parameters, 0, sizeof Next->Parameters);
        Next->Parameters.QueryFile.Length = Service->OutLength;
        Next->Parameters.QueryFile.FileInformationClass = Service->InformationClass;
        return Status;
    default:
        return IopSetControl(Irp, Service->Major, Service->Code, Service->In, Service->InLength, Service->Out,
                             Service->OutLength, KernelMode);
    }
}

static NTSTATUS IopService(HANDLE FileHandle, HANDLE EventHandle, PIO_APC_ROUTINE ApcRoutine, PIO_STATUS_BLOCK Iosb,
                           const PLARGE_INTEGER ByteOffset, IOP_SERVICE *Service)
{
    PFILE_OBJECT File;
    PKEVENT Event = NULL;
    PDEVICE_OBJECT Top;
    PIRP Irp;
    NTSTATUS Status;
    if (ApcRoutine)
        return STATUS_NOT_SUPPORTED; /* there are no APCs */
    Status = ObReferenceObjectByHandle(FileHandle, 0, &IopFileType, KernelMode, (PVOID *)&File, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    BOOLEAN Synchronous = (File->Flags & FO_SYNCHRONOUS_IO) != 0;
    if (Service->Major == IRP_MJ_READ || Service->Major == IRP_MJ_WRITE) {
        if (ByteOffset && !(ByteOffset->HighPart == -1 && ByteOffset->LowPart == 0xfffffffeu))
            Service->Offset = ByteOffset->QuadPart;
        else if (Synchronous)
            Service->Offset = File->CurrentByteOffset.QuadPart;
        else
            Status = STATUS_INVALID_PARAMETER;
        if (NT_SUCCESS(Status) && Service->Offset < 0 && !(Service->Major == IRP_MJ_WRITE && Service->Offset == -1))
            Status = STATUS_INVALID_PARAMETER;
    }
    if (NT_SUCCESS(Status) && EventHandle) {
        Status = ObReferenceObjectByHandle(EventHandle, EVENT_MODIFY_STATE, &ObpEventType, KernelMode, (PVOID *)&Event, NULL);
        if (NT_SUCCESS(Status))
            KeClearEvent(Event);
    }
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(File);
        return Status;
    }
    if (Synchronous)
        IopLockFile(File);
    KeClearEvent(&File->Event);
    Top = IoGetRelatedDeviceObject(File);
    Irp = IopAllocateIrp(Top->StackSize);
    Status = Irp ? IopFill(Irp, Top, Service) : STATUS_INSUFFICIENT_RESOURCES;
    if (!NT_SUCCESS(Status)) {
        if (Irp)
            IoFreeIrp(Irp);
        if (Synchronous)
            IopUnlockFile(File);
        if (Event)
            ObfDereferenceObject(Event);
        ObfDereferenceObject(File);
        return Status;
    }
    IoGetNextIrpStackLocation(Irp)->FileObject = File;
    /* An information request is synchronous whatever the file is. */
    if (Synchronous || Service->Major == IRP_MJ_QUERY_INFORMATION || Service->Major == IRP_MJ_SET_INFORMATION) {
        IOP_REQUEST *Request = IopCreateRequest(Irp);
        ULONG_PTR Information = 0;
        BOOLEAN Abandoned = FALSE;
        if (Request) {
            Irp->Flags |= IRP_SYNCHRONOUS_API;
            Status = IopSendAndWait(Top, Request, 0, &Information, &Abandoned);
            if (!Abandoned)
                IopDestroyRequest(Request);
        } else {
            IopUndo(Irp);
            IoFreeIrp(Irp);
            Status = STATUS_INSUFFICIENT_RESOURCES;
        }
        Iosb->Status = Status;
        Iosb->Information = Information;
        if (Event)
            KeSetEvent(Event, IO_NO_INCREMENT, FALSE);
        KeSetEvent(&File->Event, IO_NO_INCREMENT, FALSE);
        if (Synchronous)
            IopUnlockFile(File);
        if (Event)
            ObfDereferenceObject(Event);
        ObfDereferenceObject(File);
        return Status;
    }
    /* finish.c drops the references to file and event. */
    Irp->AllocationFlags |= IOP_IRP_OWNED;
    Irp->UserIosb = Iosb;
    Irp->UserEvent = Event;
    Irp->Tail.Overlay.OriginalFileObject = File;
    Irp->Tail.Overlay.Thread = KiCurrentThread();
    IopQueueThreadIrp(Irp);
    return IofCallDriver(Top, Irp);
}

NTSTATUS ZwReadFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                    PIO_STATUS_BLOCK IoStatusBlock, PVOID Buffer, ULONG Length, PLARGE_INTEGER ByteOffset, PULONG Key)
{
    KI_CHECK_SERVICE(NULL, NULL, IoStatusBlock, Buffer, ByteOffset, Key);
    IOP_SERVICE Service = {.Major = IRP_MJ_READ, .Out = Buffer, .OutLength = Length};
    UNREFERENCED_PARAMETER(ApcContext);
    UNREFERENCED_PARAMETER(Key);
    return IopService(FileHandle, Event, ApcRoutine, IoStatusBlock, ByteOffset, &Service);
}

NTSTATUS ZwWriteFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                     PIO_STATUS_BLOCK IoStatusBlock, PVOID Buffer, ULONG Length, PLARGE_INTEGER ByteOffset, PULONG Key)
{
    KI_CHECK_SERVICE(NULL, NULL, IoStatusBlock, Buffer, ByteOffset, Key);
    IOP_SERVICE Service = {.Major = IRP_MJ_WRITE, .Out = Buffer, .OutLength = Length};
    UNREFERENCED_PARAMETER(ApcContext);
    UNREFERENCED_PARAMETER(Key);
    return IopService(FileHandle, Event, ApcRoutine, IoStatusBlock, ByteOffset, &Service);
}

NTSTATUS ZwDeviceIoControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                               PIO_STATUS_BLOCK IoStatusBlock, ULONG IoControlCode, PVOID InputBuffer, ULONG InputBufferLength,
                               PVOID OutputBuffer, ULONG OutputBufferLength)
{
    KI_CHECK_SERVICE(NULL, NULL, IoStatusBlock, InputBuffer, OutputBuffer);
    IOP_SERVICE Service = {.Major = IRP_MJ_DEVICE_CONTROL,
                           .Code = IoControlCode,
                           .In = InputBuffer,
                           .InLength = InputBufferLength,
                           .Out = OutputBuffer,
                           .OutLength = OutputBufferLength};
    UNREFERENCED_PARAMETER(ApcContext);
    return IopService(FileHandle, Event, ApcRoutine, IoStatusBlock, NULL, &Service);
}

NTSTATUS ZwFsControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine, PVOID ApcContext,
                         PIO_STATUS_BLOCK IoStatusBlock, ULONG FsControlCode, PVOID InputBuffer, ULONG InputBufferLength,
                         PVOID OutputBuffer, ULONG OutputBufferLength)
{
    KI_CHECK_SERVICE(NULL, NULL, IoStatusBlock, InputBuffer, OutputBuffer);
    IOP_SERVICE Service = {.Major = IRP_MJ_FILE_SYSTEM_CONTROL,
                           .Code = FsControlCode,
                           .In = InputBuffer,
                           .InLength = InputBufferLength,
                           .Out = OutputBuffer,
                           .OutLength = OutputBufferLength};
    UNREFERENCED_PARAMETER(ApcContext);
    return IopService(FileHandle, Event, ApcRoutine, IoStatusBlock, NULL, &Service);
}

/* The classes that the I/O manager answers itself. STATUS_NOT_IMPLEMENTED: ask the driver. */
static NTSTATUS IopOwnInformation(PFILE_OBJECT File, PVOID Information, ULONG Length, FILE_INFORMATION_CLASS Class, BOOLEAN Set,
                                  PULONG_PTR Stored)
{
    *Stored = 0;
    switch (Class) {
    case FilePositionInformation:
        if (Length < sizeof(FILE_POSITION_INFORMATION))
            return STATUS_INFO_LENGTH_MISMATCH;
        if (!(File->Flags & FO_SYNCHRONOUS_IO))
            return STATUS_NOT_IMPLEMENTED;
        if (Set) {
            File->CurrentByteOffset = ((FILE_POSITION_INFORMATION *)Information)->CurrentByteOffset;
        } else {
            ((FILE_POSITION_INFORMATION *)Information)->CurrentByteOffset = File->CurrentByteOffset;
            *Stored = sizeof(FILE_POSITION_INFORMATION);
        }
        return STATUS_SUCCESS;
    case FileAlignmentInformation:
        if (Set)
            return STATUS_INVALID_INFO_CLASS;
        if (Length < sizeof(FILE_ALIGNMENT_INFORMATION))
            return STATUS_INFO_LENGTH_MISMATCH;
        ((FILE_ALIGNMENT_INFORMATION *)Information)->AlignmentRequirement = File->DeviceObject->AlignmentRequirement;
        *Stored = sizeof(FILE_ALIGNMENT_INFORMATION);
        return STATUS_SUCCESS;
    default:
        return STATUS_NOT_IMPLEMENTED;
    }
}

static NTSTATUS IopInformation(HANDLE FileHandle, PIO_STATUS_BLOCK Iosb, PVOID Information, ULONG Length,
                               FILE_INFORMATION_CLASS Class, BOOLEAN Set)
{
    PFILE_OBJECT File;
    ULONG_PTR Stored;
    if (Class <= 0 || Class >= FileMaximumInformation)
        return STATUS_INVALID_INFO_CLASS;
    NTSTATUS Status = ObReferenceObjectByHandle(FileHandle, 0, &IopFileType, KernelMode, (PVOID *)&File, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = IopOwnInformation(File, Information, Length, Class, Set, &Stored);
    ObfDereferenceObject(File);
    if (Status != STATUS_NOT_IMPLEMENTED) {
        Iosb->Status = Status;
        Iosb->Information = Stored;
        return Status;
    }
    IOP_SERVICE Service = {.Major = Set ? IRP_MJ_SET_INFORMATION : IRP_MJ_QUERY_INFORMATION,
                           .Out = Information,
                           .OutLength = Length,
                           .InformationClass = (ULONG)Class};
    return IopService(FileHandle, NULL, NULL, Iosb, NULL, &Service);
}

NTSTATUS ZwQueryInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FileInformation, ULONG Length,
                                FILE_INFORMATION_CLASS FileInformationClass)
{
    return IopInformation(FileHandle, IoStatusBlock, FileInformation, Length, FileInformationClass, FALSE);
}

NTSTATUS ZwSetInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock, PVOID FileInformation, ULONG Length,
                              FILE_INFORMATION_CLASS FileInformationClass)
{
    return IopInformation(FileHandle, IoStatusBlock, FileInformation, Length, FileInformationClass, TRUE);
}
