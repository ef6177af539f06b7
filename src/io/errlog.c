/*
 * errlog.c - the error log: entries are printed. SPDX-License-Identifier: MIT
 *
 * Implements IoAllocateErrorLogEntry, IoWriteErrorLogEntry, IoFreeErrorLogEntry, IoRaiseHardError,
 * IoSetHardErrorOrVerifyDevice. A written entry becomes one line on the console and is freed.
 *
 *     [ IOP_LOG_ENTRY | IO_ERROR_LOG_PACKET and what the driver puts behind it ]
 *                     ^ what the driver gets
 */
#include "io/iopp.h"

typedef struct _IOP_LOG_ENTRY {
    PVOID Object;
    ULONG Size, Pad;
} IOP_LOG_ENTRY;

PVOID IoAllocateErrorLogEntry(PVOID IoObject, UCHAR EntrySize)
{
    if (IoObject == NULL || EntrySize < sizeof(IO_ERROR_LOG_PACKET) || EntrySize > ERROR_LOG_MAXIMUM_SIZE)
        return NULL;
    IOP_LOG_ENTRY *Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Entry + EntrySize, IOP_TAG);
    if (Entry == NULL)
        return NULL;
    ObfReferenceObject(IoObject);
    *Entry = (IOP_LOG_ENTRY){IoObject, EntrySize, 0};
    return Entry + 1;
}

VOID IoFreeErrorLogEntry(PVOID ElEntry)
{
    IOP_LOG_ENTRY *Entry = (IOP_LOG_ENTRY *)ElEntry - 1;
    ObfDereferenceObject(Entry->Object);
    ExFreePoolWithTag(Entry, IOP_TAG);
}

VOID IoWriteErrorLogEntry(PVOID ElEntry)
{
    IOP_LOG_ENTRY *Entry = (IOP_LOG_ENTRY *)ElEntry - 1;
    PIO_ERROR_LOG_PACKET Packet = ElEntry;
    PDEVICE_OBJECT Device = Entry->Object;
    PDRIVER_OBJECT Driver = Device->Type == IO_TYPE_DRIVER ? (PDRIVER_OBJECT)Entry->Object : Device->DriverObject;
    DbgPrint(
        "%s: error log entry: code 0x%08X, final status 0x%08X, unique value 0x%X, major function 0x%02X, %u bytes of data\n",
        IopDriver(Driver)->Name, (unsigned)Packet->ErrorCode, (unsigned)Packet->FinalStatus, (unsigned)Packet->UniqueErrorValue,
        (unsigned)Packet->MajorFunctionCode, (unsigned)Packet->DumpDataSize);
    IoFreeErrorLogEntry(ElEntry);
}

VOID IoRaiseHardError(PIRP Irp, PVPB Vpb, PDEVICE_OBJECT RealDeviceObject)
{
    /* There is nobody to ask: the request fails as if the user had chosen to. */
    UNREFERENCED_PARAMETER(Vpb);
    UNREFERENCED_PARAMETER(RealDeviceObject);
    IoCompleteRequest(Irp, IO_DISK_INCREMENT);
}

VOID IoSetHardErrorOrVerifyDevice(PIRP Irp, PDEVICE_OBJECT DeviceObject)
{
    UNREFERENCED_PARAMETER(Irp);
    UNREFERENCED_PARAMETER(DeviceObject);
}
