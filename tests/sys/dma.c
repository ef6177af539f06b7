/*
 * dma.c - a driver binary that does DMA through the table its adapter carries; its DriverEntry says how far it came.
 * SPDX-License-Identifier: MIT
 */
#include <ntddk.h>

static PVOID Registers;
static PSCATTER_GATHER_LIST List;

static IO_ALLOCATION_ACTION NTAPI OnChannel(PDEVICE_OBJECT Device, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Device;
    (void)Irp;
    *(ULONG *)Context += 1;
    Registers = MapRegisterBase;
    return DeallocateObjectKeepRegisters;
}
static VOID NTAPI OnList(PDEVICE_OBJECT Device, PIRP Irp, PSCATTER_GATHER_LIST ScatterGather, PVOID Context)
{
    (void)Device;
    (void)Irp;
    *(ULONG *)Context += 16;
    List = ScatterGather;
}
static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    DEVICE_DESCRIPTION Description;
    PHYSICAL_ADDRESS Logical;
    PDEVICE_OBJECT Device;
    ULONG Most = 0, Calls = 0, Length = 5000, Size = 0;
    KIRQL Irql;
    (void)RegistryPath;
    if (!NT_SUCCESS(IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device)))
        return STATUS_INSUFFICIENT_RESOURCES;
    Driver->DriverUnload = Unload;
    RtlZeroMemory(&Description, sizeof Description);
    Description.Version = DEVICE_DESCRIPTION_VERSION2;
    Description.Master = TRUE;
    Description.ScatterGather = TRUE;
    Description.InterfaceType = PCIBus;
    Description.MaximumLength = 65536; /* 24 address bits: transfers are bounced */
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(Device, &Description, &Most);
    if (Adapter == NULL || Most != 17 || Adapter->DmaOperations->GetDmaAlignment(Adapter) != 1)
        return STATUS_DEVICE_CONFIGURATION_ERROR;
    PUCHAR Common = Adapter->DmaOperations->AllocateCommonBuffer(Adapter, 4096, &Logical, TRUE);
    if (Common == NULL || Logical.QuadPart != MmGetPhysicalAddress(Common).QuadPart || Logical.QuadPart >= 0x1000000)
        return STATUS_NO_MEMORY;
    Adapter->DmaOperations->FreeCommonBuffer(Adapter, 4096, Logical, Common, TRUE);

    PUCHAR Buffer = ExAllocatePoolWithTag(NonPagedPool, 8192, 'amDt');
    PMDL Mdl = IoAllocateMdl(Buffer, 5000, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(Mdl);
    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    NTSTATUS Status = Adapter->DmaOperations->AllocateAdapterChannel(Adapter, Device, 2, OnChannel, &Calls);
    if (NT_SUCCESS(Status)) {
        Logical = Adapter->DmaOperations->MapTransfer(Adapter, Mdl, Registers, Buffer, &Length, TRUE);
        Calls += Length != 0 && Logical.QuadPart + Length <= 0x1000000 ? 256 : 0;
        Adapter->DmaOperations->FlushAdapterBuffers(Adapter, Mdl, Registers, Buffer, Length, TRUE);
        Adapter->DmaOperations->FreeMapRegisters(Adapter, Registers, 2);
        Status = Adapter->DmaOperations->CalculateScatterGatherList(Adapter, Mdl, Buffer, 5000, &Size, NULL);
    }
    if (NT_SUCCESS(Status))
        Status = Adapter->DmaOperations->GetScatterGatherList(Adapter, Device, Mdl, Buffer, 5000, OnList, &Calls, FALSE);
    if (NT_SUCCESS(Status)) {
        Calls += List->NumberOfElements >= 1 && List->Elements[0].Length >= 1 ? 4096 : 0;
        Adapter->DmaOperations->PutScatterGatherList(Adapter, List, FALSE);
    }
    KeLowerIrql(Irql);
    Adapter->DmaOperations->PutDmaAdapter(Adapter);
    IoFreeMdl(Mdl);
    ExFreePoolWithTag(Buffer, 'amDt');
    return Calls == 1 + 16 + 256 + 4096 ? Status : STATUS_UNSUCCESSFUL;
}
