/*
 * ramdisk.c - a RAM disk, as a WDM driver: one device that reads, writes and answers a few requests.
 *
 * The disk is one block of nonpaged pool, guarded by a spin lock, so that it can be copied at DISPATCH_LEVEL.
 * The label lives in paged pool and is touched at PASSIVE_LEVEL only, under a fast mutex. The last transfers
 * are remembered in records that come from a lookaside list. Reads and writes use direct I/O: the caller's
 * pages are locked by the I/O manager and seen through an MDL. Nothing here knows that it may run anywhere
 * but on Windows.
 *
 * Built with RAMDISK_BUGGY this is the driver's twin, with five bugs of the kind that pass every test on a
 * quiet machine. SPDX-License-Identifier: MIT
 */
#include <ntddk.h>
#include "ramdisk.h"

/* Nothing here is code; kits older than Windows 8 do not know how to say so. */
#ifndef MdlMappingNoExecute
#define MdlMappingNoExecute 0x40000000
#endif
#ifndef POOL_NX_ALLOCATION
#define POOL_NX_ALLOCATION 512
#endif

#define TAG_DISK   'ksDR'
#define TAG_LABEL  'bLDR'
#define TAG_RECORD 'eRDR'

typedef struct _RECORD {
    LIST_ENTRY Link;
    RAMDISK_EXTENT Extent;
} RECORD, *PRECORD;

typedef struct _RAMDISK {
    KSPIN_LOCK Lock; /* Disk, Bytes, History, Remembered, Reads, Writes */
    PUCHAR Disk;
    ULONG Bytes;
    LIST_ENTRY History; /* RECORD, newest first */
    ULONG Remembered;
    ULONG Reads, Writes;
    NPAGED_LOOKASIDE_LIST Records;
    FAST_MUTEX LabelMutex; /* Label */
    PUCHAR Label;          /* paged */
} RAMDISK, *PRAMDISK;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD RamDiskUnload;
static DRIVER_DISPATCH RamDiskOpenClose;
static DRIVER_DISPATCH RamDiskReadWrite;
static DRIVER_DISPATCH RamDiskControl;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(INIT, DriverEntry)
#endif

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

/* Remembers a transfer; the oldest record beyond the depth is forgotten. Lock held. */
static VOID Remember(PRAMDISK Disk, ULONG Offset, ULONG Length)
{
    PRECORD Record;

    if (Disk->Remembered == RAMDISK_HISTORY_DEPTH) {
        Record = CONTAINING_RECORD(RemoveTailList(&Disk->History), RECORD, Link);
        Disk->Remembered--;
    } else {
        Record = ExAllocateFromNPagedLookasideList(&Disk->Records);
        if (Record == NULL)
            return; /* the history is a convenience */
    }
    Record->Extent.Offset = Offset;
    Record->Extent.Length = Length;
    InsertHeadList(&Disk->History, &Record->Link);
    Disk->Remembered++;
}

/* Copies between the disk and a resident buffer. */
static NTSTATUS Transfer(PRAMDISK Disk, PVOID Buffer, ULONG Offset, ULONG Length, BOOLEAN Write)
{
    NTSTATUS Status = STATUS_SUCCESS;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Disk->Lock, &OldIrql);
    if (Offset > Disk->Bytes || Length > Disk->Bytes - Offset) {
        Status = STATUS_NONEXISTENT_SECTOR;
    } else {
        if (Write) {
            RtlCopyMemory(Disk->Disk + Offset, Buffer, Length);
            Disk->Writes++;
        } else {
            RtlCopyMemory(Buffer, Disk->Disk + Offset, Length);
            Disk->Reads++;
        }
        Remember(Disk, Offset, Length);
    }
    KeReleaseSpinLock(&Disk->Lock, OldIrql);
    return Status;
}

static NTSTATUS RamDiskOpenClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS RamDiskReadWrite(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN Write = Stack->MajorFunction == IRP_MJ_WRITE;
    ULONG Length = Write ? Stack->Parameters.Write.Length : Stack->Parameters.Read.Length;
    LONGLONG Offset = Write ? Stack->Parameters.Write.ByteOffset.QuadPart : Stack->Parameters.Read.ByteOffset.QuadPart;
    NTSTATUS Status;
    PVOID Buffer;

    if (Length == 0)
        return Complete(Irp, STATUS_SUCCESS, 0);
    if (Offset < 0 || Offset > RAMDISK_MAXIMUM_BYTES)
        return Complete(Irp, STATUS_NONEXISTENT_SECTOR, 0);
    Buffer = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute);
    if (Buffer == NULL)
        return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Status = Transfer(Device->DeviceExtension, Buffer, (ULONG)Offset, Length, Write);
    return Complete(Irp, Status, NT_SUCCESS(Status) ? Length : 0);
}

/* Grows or shrinks the disk, keeping what fits. */
static NTSTATUS Resize(PRAMDISK Disk, ULONG Bytes)
{
    PUCHAR New, Old;
    KIRQL OldIrql;

    if (Bytes == 0 || Bytes > RAMDISK_MAXIMUM_BYTES)
        return STATUS_INVALID_PARAMETER;
    New = ExAllocatePoolWithTag(NonPagedPoolNx, Bytes, TAG_DISK);
    if (New == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(New, Bytes);
    KeAcquireSpinLock(&Disk->Lock, &OldIrql);
    RtlCopyMemory(New, Disk->Disk, Bytes < Disk->Bytes ? Bytes : Disk->Bytes);
    Old = Disk->Disk;
    Disk->Disk = New;
    Disk->Bytes = Bytes;
    KeReleaseSpinLock(&Disk->Lock, OldIrql);
    ExFreePoolWithTag(Old, TAG_DISK);
#ifdef RAMDISK_BUGGY
    if (Bytes < PAGE_SIZE)
        ExFreePoolWithTag(Old, TAG_DISK); /* bug 2: a small disk is freed twice */
    New[0] = Old[0];                      /* bug 3: the boot sector is fetched from the disk that is gone */
#endif
    return STATUS_SUCCESS;
}

/* The sum of an extent's bytes. */
static NTSTATUS Checksum(PRAMDISK Disk, const RAMDISK_EXTENT *Extent, PULONG Sum)
{
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Total = 0, Index;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Disk->Lock, &OldIrql);
    if (Extent->Offset > Disk->Bytes || Extent->Length > Disk->Bytes - Extent->Offset)
        Status = STATUS_NONEXISTENT_SECTOR;
    else
        for (Index = 0; Index < Extent->Length; Index++)
            Total += Disk->Disk[Extent->Offset + Index];
    KeReleaseSpinLock(&Disk->Lock, OldIrql);
    *Sum = Total;
    return Status;
}

/* The label travels through Buffer. */
static NTSTATUS SetLabel(PRAMDISK Disk, const VOID *Buffer, ULONG Length)
{
    if (Length > RAMDISK_LABEL_BYTES)
        return STATUS_INVALID_PARAMETER;
#ifdef RAMDISK_BUGGY /* "one lock is enough", and paged pool is asked for under it */
    {
        PUCHAR Old = Disk->Label;
        KIRQL OldIrql;

        KeAcquireSpinLock(&Disk->Lock, &OldIrql);
        Disk->Label = ExAllocatePoolWithTag(PagedPool, RAMDISK_LABEL_BYTES, TAG_LABEL); /* bug 1 */
        KeReleaseSpinLock(&Disk->Lock, OldIrql);
        ExFreePoolWithTag(Old, TAG_LABEL);
    }
#endif
    ExAcquireFastMutex(&Disk->LabelMutex);
    RtlZeroMemory(Disk->Label, RAMDISK_LABEL_BYTES);
    RtlCopyMemory(Disk->Label, Buffer, Length);
    ExReleaseFastMutex(&Disk->LabelMutex);
    return STATUS_SUCCESS;
}

static VOID GetLabel(PRAMDISK Disk, PUCHAR Buffer)
{
    static const UCHAR Unnamed[RAMDISK_LABEL_BYTES] = "ram disk";

    ExAcquireFastMutex(&Disk->LabelMutex);
    RtlCopyMemory(Buffer, Disk->Label[0] != 0 ? Disk->Label : Unnamed, RAMDISK_LABEL_BYTES);
#ifdef RAMDISK_BUGGY /* bug 4: upper-cases the constant in place of the copy */
    ((PUCHAR)(ULONG_PTR)Unnamed)[0] = 'R';
#endif
    ExReleaseFastMutex(&Disk->LabelMutex);
}

static NTSTATUS RamDiskControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PRAMDISK Disk = Device->DeviceExtension;
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG InLength = Stack->Parameters.DeviceIoControl.InputBufferLength;
    ULONG OutLength = Stack->Parameters.DeviceIoControl.OutputBufferLength;
    PVOID Buffer = Irp->AssociatedIrp.SystemBuffer;
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG_PTR Information = 0;
    KIRQL OldIrql;

    switch (Stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_RAMDISK_INFO: {
        PRAMDISK_INFO Info = Buffer;

        if (OutLength < sizeof(*Info)) {
            Status = STATUS_BUFFER_TOO_SMALL;
            break;
        }
        KeAcquireSpinLock(&Disk->Lock, &OldIrql);
        Info->Bytes = Disk->Bytes;
        Info->Reads = Disk->Reads;
        Info->Writes = Disk->Writes;
        Info->Reserved = 0;
        KeReleaseSpinLock(&Disk->Lock, OldIrql);
        Information = sizeof(*Info);
        break;
    }
    case IOCTL_RAMDISK_SET_LABEL:
        Status = SetLabel(Disk, Buffer, InLength);
        break;
    case IOCTL_RAMDISK_GET_LABEL:
        if (OutLength < RAMDISK_LABEL_BYTES) {
            Status = STATUS_BUFFER_TOO_SMALL;
            break;
        }
        GetLabel(Disk, Buffer);
        Information = RAMDISK_LABEL_BYTES;
        break;
    case IOCTL_RAMDISK_READ: {
        PRAMDISK_EXTENT Extent = Buffer;
        PVOID Target;

        if (InLength < sizeof(*Extent) || OutLength < Extent->Length || Irp->MdlAddress == NULL) {
            Status = STATUS_BUFFER_TOO_SMALL;
            break;
        }
        Target = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority | MdlMappingNoExecute);
        if (Target == NULL) {
            Status = STATUS_INSUFFICIENT_RESOURCES;
            break;
        }
        Status = Transfer(Disk, Target, Extent->Offset, Extent->Length, FALSE);
        if (NT_SUCCESS(Status))
            Information = Extent->Length;
        break;
    }
    case IOCTL_RAMDISK_HISTORY: {
        PRAMDISK_EXTENT Extent = Buffer;
        PLIST_ENTRY Entry;

        KeAcquireSpinLock(&Disk->Lock, &OldIrql);
        for (Entry = Disk->History.Flink; Entry != &Disk->History; Entry = Entry->Flink) {
            if (OutLength - Information < sizeof(*Extent)) {
                Status = STATUS_BUFFER_OVERFLOW;
                break;
            }
            *Extent++ = CONTAINING_RECORD(Entry, RECORD, Link)->Extent;
            Information += sizeof(*Extent);
        }
        KeReleaseSpinLock(&Disk->Lock, OldIrql);
        break;
    }
    case IOCTL_RAMDISK_CHECKSUM:
        if (InLength < sizeof(RAMDISK_EXTENT) || OutLength < sizeof(ULONG)) {
            Status = STATUS_BUFFER_TOO_SMALL;
            break;
        }
        {
            RAMDISK_EXTENT Extent = *(PRAMDISK_EXTENT)Buffer; /* Buffer is the answer's place too */

            Status = Checksum(Disk, &Extent, Buffer);
        }
        Information = NT_SUCCESS(Status) ? sizeof(ULONG) : 0;
        break;
    case IOCTL_RAMDISK_RESIZE:
        Status = InLength < sizeof(ULONG) ? STATUS_BUFFER_TOO_SMALL : Resize(Disk, *(PULONG)Buffer);
        break;
    default:
        Status = STATUS_INVALID_DEVICE_REQUEST;
        break;
    }
    return Complete(Irp, Status, Information);
}

static VOID RamDiskUnload(PDRIVER_OBJECT Driver)
{
    PDEVICE_OBJECT Device = Driver->DeviceObject;
    PRAMDISK Disk = Device->DeviceExtension;
    UNICODE_STRING Link = RTL_CONSTANT_STRING(RAMDISK_LINK_NAME);

    IoDeleteSymbolicLink(&Link);
#ifndef RAMDISK_BUGGY /* bug 5: the records in the history are forgotten */
    while (!IsListEmpty(&Disk->History))
        ExFreeToNPagedLookasideList(&Disk->Records, CONTAINING_RECORD(RemoveHeadList(&Disk->History), RECORD, Link));
#endif
    ExDeleteNPagedLookasideList(&Disk->Records);
    ExFreePoolWithTag(Disk->Label, TAG_LABEL);
    ExFreePoolWithTag(Disk->Disk, TAG_DISK);
    IoDeleteDevice(Device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(RAMDISK_DEVICE_NAME);
    UNICODE_STRING Link = RTL_CONSTANT_STRING(RAMDISK_LINK_NAME);
    PDEVICE_OBJECT Device;
    PRAMDISK Disk;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, sizeof(RAMDISK), &Name, FILE_DEVICE_DISK, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Disk = Device->DeviceExtension;
    KeInitializeSpinLock(&Disk->Lock);
    InitializeListHead(&Disk->History);
    ExInitializeFastMutex(&Disk->LabelMutex);
    Disk->Bytes = RAMDISK_DEFAULT_BYTES;
    Disk->Disk = ExAllocatePoolWithTag(NonPagedPoolNx, Disk->Bytes, TAG_DISK);
    Disk->Label = ExAllocatePoolWithTag(PagedPool, RAMDISK_LABEL_BYTES, TAG_LABEL);
    if (Disk->Disk == NULL || Disk->Label == NULL) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
        goto Undo;
    }
    RtlZeroMemory(Disk->Disk, Disk->Bytes);
    RtlZeroMemory(Disk->Label, RAMDISK_LABEL_BYTES);
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status))
        goto Undo;
    ExInitializeNPagedLookasideList(&Disk->Records, NULL, NULL, POOL_NX_ALLOCATION, sizeof(RECORD), TAG_RECORD, 0);

    Driver->MajorFunction[IRP_MJ_CREATE] = RamDiskOpenClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = RamDiskOpenClose;
    Driver->MajorFunction[IRP_MJ_READ] = RamDiskReadWrite;
    Driver->MajorFunction[IRP_MJ_WRITE] = RamDiskReadWrite;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = RamDiskControl;
    Driver->DriverUnload = RamDiskUnload;
    Device->Flags |= DO_DIRECT_IO;
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;

Undo:
    if (Disk->Label != NULL)
        ExFreePoolWithTag(Disk->Label, TAG_LABEL);
    if (Disk->Disk != NULL)
        ExFreePoolWithTag(Disk->Disk, TAG_DISK);
    IoDeleteDevice(Device);
    return Status;
}
