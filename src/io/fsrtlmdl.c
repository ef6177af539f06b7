/*
 * fsrtlmdl.c - a file's data by MDL, without copying. SPDX-License-Identifier: MIT
 *
 * Implements FsRtlMdlReadEx, FsRtlPrepareMdlWriteEx, CcMdlReadComplete, CcMdlWriteComplete, CcMdlWriteAbort, and the forms for a file
 * system's own fast I/O table: FsRtlMdlReadDev, FsRtlMdlReadCompleteDev, FsRtlPrepareMdlWriteDev, FsRtlMdlWriteCompleteDev.
 *
 *      who wants the data                       the file system
 *      FsRtlMdlReadEx ------ fast I/O --------> MdlRead: TRUE, a chain          the device on top of the file's is asked
 *                     \----- IRP_MN_MDL ------> IRP_MJ_READ: Irp->MdlAddress    (no entry, or FALSE)
 *      CcMdlReadComplete --- fast I/O --------> MdlReadComplete: TRUE, done
 *                     \--- (no entry, or FALSE) the chain is unlocked and freed here
 *
 * Likewise for writes. Windows' cache manager stands where this file stops: no file is cached by the system here, so the Dev forms that
 * would take pages from its cache fail, and those that give pages back do it. Locks: none. PASSIVE_LEVEL. Watch: tests/ddi/mdl_files.c.
 */
#include "io/sectionp.h"

typedef struct _IOP_MDL_CALL {
    PFILE_OBJECT FileObject;
    PLARGE_INTEGER FileOffset;
    ULONG Length, LockKey;
    PMDL *MdlChain;
    PIO_STATUS_BLOCK IoStatus;
} IOP_MDL_CALL;

/* The table, if it is long enough to have an entry that ends there; NULL. */
static PFAST_IO_DISPATCH IopFastIoOf(PDEVICE_OBJECT Device, SIZE_T End)
{
    PFAST_IO_DISPATCH Table = Device->DriverObject->FastIoDispatch;
    return Table != NULL && Table->SizeOfFastIoDispatch >= End ? Table : NULL;
}
#define IOP_ENTRY_END(Entry) (offsetof(FAST_IO_DISPATCH, Entry) + sizeof(PVOID))

/* The packet is ours again, whatever became of it. */
static NTSTATUS IopMdlRequestDone(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS IopMdlByPacket(const IOP_MDL_CALL *Call, PDEVICE_OBJECT Device, UCHAR Major)
{
    KEVENT Done;
    PIRP Irp = IoAllocateIrp(Device->StackSize, FALSE);
    if (Irp == NULL) {
        Call->IoStatus->Information = 0;
        return Call->IoStatus->Status = STATUS_INSUFFICIENT_RESOURCES;
    }
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    Irp->RequestorMode = KernelMode;
    Irp->Tail.Overlay.Thread = PsGetCurrentThread();
    Irp->Tail.Overlay.OriginalFileObject = Call->FileObject;
    PIO_STACK_LOCATION Location = IoGetNextIrpStackLocation(Irp);
    Location->MajorFunction = Major;
    Location->MinorFunction = IRP_MN_MDL;
    Location->FileObject = Call->FileObject;
    /* Read and Write have one shape. */
    Location->Parameters.Read.Length = Call->Length;
    Location->Parameters.Read.Key = Call->LockKey;
    Location->Parameters.Read.ByteOffset = *Call->FileOffset;
    IoSetCompletionRoutine(Irp, IopMdlRequestDone, &Done, TRUE, TRUE, TRUE);
    (VOID) IoCallDriver(Device, Irp);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    *Call->IoStatus = Irp->IoStatus;
    *Call->MdlChain = Irp->MdlAddress;
    Irp->MdlAddress = NULL;
    IoFreeIrp(Irp);
    return Call->IoStatus->Status;
}

static NTSTATUS IopMdlRequest(const IOP_MDL_CALL *Call, UCHAR Major)
{
    PDEVICE_OBJECT Device = IoGetRelatedDeviceObject(Call->FileObject);
    SIZE_T End = Major == IRP_MJ_READ ? IOP_ENTRY_END(MdlRead) : IOP_ENTRY_END(PrepareMdlWrite);
    PFAST_IO_DISPATCH Table = IopFastIoOf(Device, End);
    PFAST_IO_MDL_READ Routine = Table == NULL ? NULL : Major == IRP_MJ_READ ? Table->MdlRead : Table->PrepareMdlWrite;
    if (Routine != NULL &&
        KI_CALLOUT(BOOLEAN, Routine, (PFILE_OBJECT, PLARGE_INTEGER, ULONG, ULONG, PMDL *, PIO_STATUS_BLOCK, PDEVICE_OBJECT),
                   (Call->FileObject, Call->FileOffset, Call->Length, Call->LockKey, Call->MdlChain, Call->IoStatus, Device)))
        return Call->IoStatus->Status;
    return IopMdlByPacket(Call, Device, Major);
}

NTSTATUS FsRtlMdlReadEx(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey, PMDL *MdlChain,
                        PIO_STATUS_BLOCK IoStatus)
{
    IOP_MDL_CALL Call = {FileObject, FileOffset, Length, LockKey, MdlChain, IoStatus};
    return IopMdlRequest(&Call, IRP_MJ_READ);
}

NTSTATUS FsRtlPrepareMdlWriteEx(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey, PMDL *MdlChain,
                                PIO_STATUS_BLOCK IoStatus)
{
    IOP_MDL_CALL Call = {FileObject, FileOffset, Length, LockKey, MdlChain, IoStatus};
    return IopMdlRequest(&Call, IRP_MJ_WRITE);
}

/* ---- from the system's cache: no file is in it ---- */
BOOLEAN FsRtlMdlReadDev(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey, PMDL *MdlChain,
                        PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject)
{
    UNREFERENCED_PARAMETER(FileOffset);
    UNREFERENCED_PARAMETER(Length);
    UNREFERENCED_PARAMETER(LockKey);
    UNREFERENCED_PARAMETER(MdlChain);
    UNREFERENCED_PARAMETER(DeviceObject);
    KiTouch(FileObject);
    IoStatus->Status = STATUS_NOT_SUPPORTED;
    IoStatus->Information = 0;
    return FALSE;
}

BOOLEAN FsRtlPrepareMdlWriteDev(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey, PMDL *MdlChain,
                                PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject)
{
    return FsRtlMdlReadDev(FileObject, FileOffset, Length, LockKey, MdlChain, IoStatus, DeviceObject);
}

/* ---- back again ---- */
BOOLEAN FsRtlMdlReadCompleteDev(PFILE_OBJECT FileObject, PMDL MdlChain, PDEVICE_OBJECT DeviceObject)
{
    UNREFERENCED_PARAMETER(FileObject);
    UNREFERENCED_PARAMETER(DeviceObject);
    IopFreeMdlChain(MdlChain);
    return TRUE;
}

/* The pages that the chain has may be those of the file's data section: they are modified, and written now. */
static VOID IopFlushChain(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, PMDL MdlChain)
{
    PSECTION_OBJECT_POINTERS Pointers = FileObject->SectionObjectPointer;
    PMM_SEGMENT Segment = Pointers != NULL ? IopReferenceSlot(&Pointers->DataSectionObject) : NULL;
    ULONG64 Bytes = 0;
    if (Segment == NULL)
        return;
    for (PMDL Mdl = MdlChain; Mdl != NULL; Mdl = Mdl->Next)
        Bytes += MmGetMdlByteCount(Mdl);
    NTSTATUS Status = MmFlushSegment(Segment, (ULONG64)FileOffset->QuadPart, Bytes);
    MmDereferenceSegment(Segment);
    if (!NT_SUCCESS(Status))
        ExRaiseStatus(Status);
}

BOOLEAN FsRtlMdlWriteCompleteDev(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, PMDL MdlChain, PDEVICE_OBJECT DeviceObject)
{
    BOOLEAN Through = (FileObject->Flags & FO_WRITE_THROUGH) != 0;
    UNREFERENCED_PARAMETER(DeviceObject);
    if (Through)
        IopFlushChain(FileObject, FileOffset, MdlChain);
    IopFreeMdlChain(MdlChain);
    return !Through;
}

VOID CcMdlReadComplete(PFILE_OBJECT FileObject, PMDL MdlChain)
{
    PDEVICE_OBJECT Device = IoGetRelatedDeviceObject(FileObject);
    PFAST_IO_DISPATCH Table = IopFastIoOf(Device, IOP_ENTRY_END(MdlReadComplete));
    PFAST_IO_MDL_READ_COMPLETE Routine = Table != NULL ? Table->MdlReadComplete : NULL;
    if (Routine == NULL || !KI_CALLOUT(BOOLEAN, Routine, (PFILE_OBJECT, PMDL, PDEVICE_OBJECT), (FileObject, MdlChain, Device)))
        FsRtlMdlReadCompleteDev(FileObject, MdlChain, Device);
}

VOID CcMdlWriteComplete(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, PMDL MdlChain)
{
    PDEVICE_OBJECT Device = IoGetRelatedDeviceObject(FileObject);
    PFAST_IO_DISPATCH Table = IopFastIoOf(Device, IOP_ENTRY_END(MdlWriteComplete));
    PFAST_IO_MDL_WRITE_COMPLETE Routine = Table != NULL ? Table->MdlWriteComplete : NULL;
    if (Routine == NULL || !KI_CALLOUT(BOOLEAN, Routine, (PFILE_OBJECT, PLARGE_INTEGER, PMDL, PDEVICE_OBJECT),
                                       (FileObject, FileOffset, MdlChain, Device)))
        FsRtlMdlWriteCompleteDev(FileObject, FileOffset, MdlChain, Device);
}

VOID CcMdlWriteAbort(PFILE_OBJECT FileObject, PMDL MdlChain)
{
    UNREFERENCED_PARAMETER(FileObject);
    IopFreeMdlChain(MdlChain);
}
