/*
 * olddma.c - a Plug and Play driver binary that reaches its bus through GUID_BUS_INTERFACE_STANDARD and does DMA by the obsolete
 * names of the operations, imported. Its START_DEVICE fails with the number of the first thing that went wrong.
 * SPDX-License-Identifier: MIT
 */
#include <initguid.h>
#include <ntddk.h>
#include <wdmguid.h>

/* The names as functions of the HAL and the kernel: newer headers make them macros or inline. */
typedef IO_ALLOCATION_ACTION(NTAPI *CONTROL)(PDEVICE_OBJECT, PIRP, PVOID, PVOID);
NTSTATUS NTAPI Old_IoAllocateAdapterChannel(PDMA_ADAPTER, PDEVICE_OBJECT, ULONG, CONTROL,
                                            PVOID) __asm__("IoAllocateAdapterChannel");
PHYSICAL_ADDRESS NTAPI Old_IoMapTransfer(PDMA_ADAPTER, PMDL, PVOID, PVOID, PULONG, BOOLEAN) __asm__("IoMapTransfer");
BOOLEAN NTAPI Old_IoFlushAdapterBuffers(PDMA_ADAPTER, PMDL, PVOID, PVOID, ULONG, BOOLEAN) __asm__("IoFlushAdapterBuffers");
VOID NTAPI Old_IoFreeAdapterChannel(PDMA_ADAPTER) __asm__("IoFreeAdapterChannel");
VOID NTAPI Old_IoFreeMapRegisters(PDMA_ADAPTER, PVOID, ULONG) __asm__("IoFreeMapRegisters");
PDMA_ADAPTER NTAPI Old_HalGetAdapter(PDEVICE_DESCRIPTION, PULONG) __asm__("HalGetAdapter");
PVOID NTAPI Old_HalAllocateCommonBuffer(PDMA_ADAPTER, ULONG, PPHYSICAL_ADDRESS, BOOLEAN) __asm__("HalAllocateCommonBuffer");
VOID NTAPI Old_HalFreeCommonBuffer(PDMA_ADAPTER, ULONG, PHYSICAL_ADDRESS, PVOID, BOOLEAN) __asm__("HalFreeCommonBuffer");
ULONG NTAPI Old_HalReadDmaCounter(PDMA_ADAPTER) __asm__("HalReadDmaCounter");

static PDEVICE_OBJECT Lower;
static PVOID Registers;
static IO_ALLOCATION_ACTION Answer;

static IO_ALLOCATION_ACTION NTAPI OnChannel(PDEVICE_OBJECT Device, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Device;
    (void)Irp;
    *(ULONG *)Context += 1;
    Registers = MapRegisterBase;
    return Answer;
}

/* A request to the device below, as drivers make it. */
static NTSTATUS Ask(PIO_STACK_LOCATION Like, PULONG_PTR Information)
{
    KEVENT Event;
    IO_STATUS_BLOCK Block;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    PIRP Irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, Lower, NULL, 0, NULL, &Event, &Block);
    if (Irp == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    Next->MinorFunction = Like->MinorFunction;
    Next->Parameters = Like->Parameters;
    NTSTATUS Status = IoCallDriver(Lower, Irp);
    if (Status == STATUS_PENDING) {
        KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
        Status = Block.Status;
    }
    if (Information)
        *Information = Block.Information;
    return Status;
}

static VOID Describe(PDEVICE_DESCRIPTION Description)
{
    RtlZeroMemory(Description, sizeof *Description);
    Description->Version = DEVICE_DESCRIPTION_VERSION;
    Description->Master = TRUE;
    Description->ScatterGather = TRUE;
    Description->InterfaceType = PCIBus;
    Description->MaximumLength = 65536; /* 24 address bits: transfers are bounced */
}

/* 0: all is well. */
static ULONG UseInterface(void)
{
    BUS_INTERFACE_STANDARD Bus;
    IO_STACK_LOCATION Like;
    DEVICE_DESCRIPTION Description;
    PHYSICAL_ADDRESS Address, Logical;
    ULONG Space = 0, Most = 0, Id = 0;
    ULONG_PTR Information = 0;
    KIRQL Irql;
    RtlZeroMemory(&Bus, sizeof Bus);
    RtlZeroMemory(&Like, sizeof Like);
    Like.MinorFunction = IRP_MN_QUERY_INTERFACE;
    Like.Parameters.QueryInterface.InterfaceType = &GUID_BUS_INTERFACE_STANDARD;
    Like.Parameters.QueryInterface.Size = sizeof Bus;
    Like.Parameters.QueryInterface.Version = 1;
    Like.Parameters.QueryInterface.Interface = (PINTERFACE)&Bus;
    if (!NT_SUCCESS(Ask(&Like, NULL)) || Bus.Size != sizeof Bus || Bus.Version != 1)
        return 1;
    Address.QuadPart = 0xFEE00000;
    if (!Bus.TranslateBusAddress(Bus.Context, Address, 4096, &Space, &Logical) || Space != 0 ||
        Logical.QuadPart != Address.QuadPart)
        return 2;
    if (Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, &Id, 0, sizeof Id) != 0) /* the host has given it none */
        return 3;
    RtlZeroMemory(&Like, sizeof Like);
    Like.MinorFunction = IRP_MN_READ_CONFIG;
    Like.Parameters.ReadWriteConfig.Buffer = &Id;
    Like.Parameters.ReadWriteConfig.Length = sizeof Id;
    if (Ask(&Like, &Information) != STATUS_NOT_SUPPORTED)
        return 4;
    Describe(&Description);
    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    PDMA_ADAPTER Adapter = Bus.GetDmaAdapter(Bus.Context, &Description, &Most);
    KeLowerIrql(Irql);
    if (Adapter == NULL || Most != 17 || Adapter->DmaOperations->GetDmaAlignment(Adapter) != 1)
        return 5;
    Adapter->DmaOperations->PutDmaAdapter(Adapter);
    Bus.InterfaceReference(Bus.Context);
    Bus.InterfaceDereference(Bus.Context);
    Bus.InterfaceDereference(Bus.Context);
    return 0;
}

static ULONG UseOldNames(PDEVICE_OBJECT Device)
{
    DEVICE_DESCRIPTION Description;
    PHYSICAL_ADDRESS Logical;
    ULONG Most = 0, Calls = 0, Length, Bad = 0;
    KIRQL Irql;
    Describe(&Description);
    PDMA_ADAPTER Adapter = Old_HalGetAdapter(&Description, &Most);
    if (Adapter == NULL || Most != 17)
        return 11;
    PUCHAR Common = Old_HalAllocateCommonBuffer(Adapter, 4096, &Logical, TRUE);
    if (Common == NULL || Logical.QuadPart != MmGetPhysicalAddress(Common).QuadPart || Logical.QuadPart >= 0x1000000)
        return 12;
    Old_HalFreeCommonBuffer(Adapter, 4096, Logical, Common, TRUE);
    PUCHAR Buffer = ExAllocatePoolWithTag(NonPagedPool, 8192, 'amDt');
    PMDL Mdl = IoAllocateMdl(Buffer, 5000, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(Mdl);
    for (ULONG Way = 0; Way < 2 && Bad == 0; Way++) {
        Answer = Way ? KeepObject : DeallocateObjectKeepRegisters;
        Length = 5000;
        KeRaiseIrql(DISPATCH_LEVEL, &Irql);
        if (!NT_SUCCESS(Old_IoAllocateAdapterChannel(Adapter, Device, 2, OnChannel, &Calls)) || Calls != Way + 1) {
            Bad = 13;
        } else {
            Logical = Old_IoMapTransfer(Adapter, Mdl, Registers, Buffer, &Length, TRUE);
            Bad = Length != 5000 || Logical.QuadPart + Length > 0x1000000 ? 14 : 0;
            Bad = Old_HalReadDmaCounter(Adapter) == 0 ? Bad : 15; /* a bus master has no count */
            Bad = Old_IoFlushAdapterBuffers(Adapter, Mdl, Registers, Buffer, Length, TRUE) ? Bad : 16;
            if (Way)
                Old_IoFreeAdapterChannel(Adapter);
            else
                Old_IoFreeMapRegisters(Adapter, Registers, 2);
        }
        KeLowerIrql(Irql);
    }
    Adapter->DmaOperations->PutDmaAdapter(Adapter);
    IoFreeMdl(Mdl);
    ExFreePoolWithTag(Buffer, 'amDt');
    return Bad;
}

static NTSTATUS NTAPI Pnp(PDEVICE_OBJECT Device, PIRP Irp)
{
    UCHAR Minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    if (Minor == IRP_MN_START_DEVICE) {
        ULONG Bad = UseInterface();
        Bad = Bad ? Bad : UseOldNames(Device);
        Irp->IoStatus.Status = Bad ? (NTSTATUS)(0xE0000000 + Bad) : STATUS_SUCCESS;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);
        return Bad ? (NTSTATUS)(0xE0000000 + Bad) : STATUS_SUCCESS;
    }
    IoSkipCurrentIrpStackLocation(Irp);
    NTSTATUS Status = IoCallDriver(Lower, Irp);
    if (Minor == IRP_MN_REMOVE_DEVICE) {
        IoDetachDevice(Lower);
        IoDeleteDevice(Device);
    }
    return Status;
}

static NTSTATUS NTAPI AddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT PhysicalDevice)
{
    PDEVICE_OBJECT Device;
    NTSTATUS Status = IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Lower = IoAttachDeviceToDeviceStack(Device, PhysicalDevice);
    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    (void)Driver;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    (void)RegistryPath;
    Driver->DriverUnload = Unload;
    Driver->DriverExtension->AddDevice = AddDevice;
    Driver->MajorFunction[IRP_MJ_PNP] = Pnp;
    return STATUS_SUCCESS;
}
