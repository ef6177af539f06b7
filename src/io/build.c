/*
 * build.c - filling IRPs: transfers and device control in their buffering methods. SPDX-License-Identifier: MIT
 *
 * Implements IoBuildDeviceIoControlRequest, IoBuildSynchronousFsdRequest, IoBuildAsynchronousFsdRequest, and the same for
 * the Zw services and the host-side API.
 *
 *     method          input                              output
 *     buffered        SystemBuffer (copied in)           SystemBuffer, copied to UserBuffer at the end
 *     in direct       SystemBuffer (copied in)           MdlAddress, locked for reading
 *     out direct      SystemBuffer (copied in)           MdlAddress, locked for writing
 *     neither         Type3InputBuffer                   UserBuffer
 *     read/write      by the device's flags: DO_BUFFERED_IO, DO_DIRECT_IO, neither
 *
 * A buffer that faults while it is copied or locked fails the call (NULL, or the exception's code).
 */
#include "io/iopp.h"

NTSTATUS IopTryCopy(PVOID Target, const VOID *Source, SIZE_T Length)
{
    __try {
        memcpy(Target, Source, Length);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

static NTSTATUS IopTryLock(PMDL Mdl, KPROCESSOR_MODE Mode, LOCK_OPERATION Operation)
{
    __try {
        MmProbeAndLockPages(Mdl, Mode, Operation);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }
    return STATUS_SUCCESS;
}

VOID IopFreeMdlChain(PMDL Mdl)
{
    while (Mdl != NULL) {
        PMDL Next = Mdl->Next;
        if (Mdl->MdlFlags & MDL_PAGES_LOCKED)
            MmUnlockPages(Mdl); /* which unmaps */
        IoFreeMdl(Mdl);
        Mdl = Next;
    }
}

VOID IopUndo(PIRP Irp)
{
    if ((Irp->Flags & IRP_DEALLOCATE_BUFFER) && Irp->AssociatedIrp.SystemBuffer)
        ExFreePoolWithTag(Irp->AssociatedIrp.SystemBuffer, IOP_TAG);
    Irp->AssociatedIrp.SystemBuffer = NULL;
    Irp->Flags &= ~(ULONG)(IRP_DEALLOCATE_BUFFER | IRP_BUFFERED_IO | IRP_INPUT_OPERATION);
    IopFreeMdlChain(Irp->MdlAddress);
    Irp->MdlAddress = NULL;
}

static NTSTATUS IopSystemBuffer(PIRP Irp, const VOID *In, SIZE_T InLength, SIZE_T Size)
{
    PVOID Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Size, IOP_TAG);
    if (Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Irp->AssociatedIrp.SystemBuffer = Buffer;
    Irp->Flags |= IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER;
    return InLength ? IopTryCopy(Buffer, In, InLength) : STATUS_SUCCESS;
}

static NTSTATUS IopLockedMdl(PIRP Irp, PVOID Buffer, ULONG Length, KPROCESSOR_MODE Mode, LOCK_OPERATION Operation)
{
    PMDL Mdl = IoAllocateMdl(Buffer, Length, FALSE, FALSE, Irp);
    if (Mdl == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    return IopTryLock(Mdl, Mode, Operation);
}

NTSTATUS IopSetControl(PIRP Irp, UCHAR Major, ULONG Code, PVOID In, ULONG InLength, PVOID Out, ULONG OutLength,
                       KPROCESSOR_MODE Mode)
{
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    ULONG Method = METHOD_FROM_CTL_CODE(Code);
    NTSTATUS Status = STATUS_SUCCESS;
    Next->MajorFunction = Major;
    Next->Parameters.DeviceIoControl.OutputBufferLength = OutLength;
    Next->Parameters.DeviceIoControl.InputBufferLength = InLength;
    Next->Parameters.DeviceIoControl.IoControlCode = Code;
    Irp->RequestorMode = Mode;
    switch (Method) {
    case METHOD_BUFFERED:
        if (InLength || OutLength)
            Status = IopSystemBuffer(Irp, In, In ? InLength : 0, InLength > OutLength ? InLength : OutLength);
        Irp->UserBuffer = Out;
        Irp->Overlay.AsynchronousParameters.UserApcContext = (PVOID)(ULONG_PTR)OutLength;
        if (Out && OutLength)
            Irp->Flags |= IRP_INPUT_OPERATION;
        break;
    case METHOD_IN_DIRECT:
    case METHOD_OUT_DIRECT:
        if (InLength && In)
            Status = IopSystemBuffer(Irp, In, InLength, InLength);
        if (NT_SUCCESS(Status) && OutLength && Out)
            Status = IopLockedMdl(Irp, Out, OutLength, Mode, Method == METHOD_IN_DIRECT ? IoReadAccess : IoWriteAccess);
        break;
    default:
        Irp->UserBuffer = Out;
        Next->Parameters.DeviceIoControl.Type3InputBuffer = In;
        break;
    }
    if (!NT_SUCCESS(Status))
        IopUndo(Irp);
    return Status;
}

NTSTATUS IopSetTransfer(PIRP Irp, UCHAR Major, ULONG DeviceFlags, PVOID Buffer, ULONG Length, LONGLONG Offset,
                        KPROCESSOR_MODE Mode)
{
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    BOOLEAN Read = Major == IRP_MJ_READ;
    NTSTATUS Status = STATUS_SUCCESS;
    Next->MajorFunction = Major;
    Irp->RequestorMode = Mode;
    if (Major != IRP_MJ_READ && Major != IRP_MJ_WRITE)
        return STATUS_SUCCESS;
    /* Read and Write have one layout. */
    Next->Parameters.Read.Length = Length;
    Next->Parameters.Read.ByteOffset.QuadPart = Offset;
    Irp->Flags |= Read ? IRP_READ_OPERATION : IRP_WRITE_OPERATION;
    Irp->UserBuffer = Buffer;
    if (DeviceFlags & DO_BUFFERED_IO) {
        if (Length)
            Status = IopSystemBuffer(Irp, Buffer, Read ? 0 : Length, Length);
        Irp->Overlay.AsynchronousParameters.UserApcContext = (PVOID)(ULONG_PTR)Length;
        if (Read && Length)
            Irp->Flags |= IRP_INPUT_OPERATION;
    } else if (DeviceFlags & DO_DIRECT_IO) {
        if (Length)
            Status = IopLockedMdl(Irp, Buffer, Length, Mode, Read ? IoWriteAccess : IoReadAccess);
    }
    if (!NT_SUCCESS(Status))
        IopUndo(Irp);
    return Status;
}

PIRP IoBuildDeviceIoControlRequest(ULONG IoControlCode, PDEVICE_OBJECT DeviceObject, PVOID InputBuffer, ULONG InputBufferLength,
                                   PVOID OutputBuffer, ULONG OutputBufferLength, BOOLEAN InternalDeviceIoControl, PKEVENT Event,
                                   PIO_STATUS_BLOCK IoStatusBlock)
{
    PIRP Irp = IopAllocateIrp(DeviceObject->StackSize);
    if (Irp == NULL)
        return NULL;
    NTSTATUS Status =
        IopSetControl(Irp, InternalDeviceIoControl ? IRP_MJ_INTERNAL_DEVICE_CONTROL : IRP_MJ_DEVICE_CONTROL, IoControlCode,
                      InputBuffer, InputBufferLength, OutputBuffer, OutputBufferLength, KernelMode);
    if (!NT_SUCCESS(Status)) {
        IoFreeIrp(Irp);
        return NULL;
    }
    Irp->AllocationFlags |= IOP_IRP_OWNED;
    Irp->UserEvent = Event;
    Irp->UserIosb = IoStatusBlock;
    Irp->Tail.Overlay.Thread = KiCurrentThread();
    IopQueueThreadIrp(Irp);
    return Irp;
}

PIRP IoBuildAsynchronousFsdRequest(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, ULONG Length,
                                   PLARGE_INTEGER StartingOffset, PIO_STATUS_BLOCK IoStatusBlock)
{
    PIRP Irp = IopAllocateIrp(DeviceObject->StackSize);
    if (Irp == NULL)
        return NULL;
    NTSTATUS Status = IopSetTransfer(Irp, (UCHAR)MajorFunction, DeviceObject->Flags, Buffer, Length,
                                     StartingOffset ? StartingOffset->QuadPart : 0, KernelMode);
    if (!NT_SUCCESS(Status)) {
        IoFreeIrp(Irp);
        return NULL;
    }
    Irp->UserIosb = IoStatusBlock;
    Irp->Tail.Overlay.Thread = KiCurrentThread();
    return Irp;
}

PIRP IoBuildSynchronousFsdRequest(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, ULONG Length,
                                  PLARGE_INTEGER StartingOffset, PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock)
{
    PIRP Irp = IoBuildAsynchronousFsdRequest(MajorFunction, DeviceObject, Buffer, Length, StartingOffset, IoStatusBlock);
    if (Irp == NULL)
        return NULL;
    Irp->AllocationFlags |= IOP_IRP_OWNED;
    Irp->Flags |= IRP_SYNCHRONOUS_API;
    Irp->UserEvent = Event;
    IopQueueThreadIrp(Irp);
    return Irp;
}
