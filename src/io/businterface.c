/*
 * businterface.c - the root bus's GUID_BUS_INTERFACE_STANDARD, and the configuration space behind it. SPDX-License-Identifier: MIT
 *
 * A driver gets the interface with IRP_MN_QUERY_INTERFACE from the physical device object (one of the root's: pnp.c sends the
 * request here) and gives it back with InterfaceDereference. Its context is that device object, which it keeps.
 *
 *      TranslateBusAddress    the root's addresses are the processor's
 *      GetDmaAdapter          as IoGetDmaAdapter, and at DISPATCH_LEVEL too
 *      GetBusData, SetBusData IOP_ROOT_CHILD.Config: as many bytes as the host has given it (ntmm_device_set_config), up to 256;
 *                             until then the device has none and both answer 0, as for a device that no bus hardware stands behind
 *      IRP_MN_READ_CONFIG, IRP_MN_WRITE_CONFIG: the same by request
 *
 * IoGetDmaAdapter asks the bus of a device that another driver enumerates for this interface first, as documented.
 *
 * The caller is a driver binary if the routine that is attached above the device is; it gets LdrpBusInterface's routines, which
 * stand on the other side of the border. Locks: IopBusLock over configuration spaces. IRQL: any for their bytes.
 */
#include "io/dmap.h"
#include "io/pnp.h"
#include <wdmguid.h>

static KI_LOCK IopBusLock;
const BUS_INTERFACE_STANDARD *IopForeignBusInterface;

static IOP_ROOT_CHILD *IopRootChild(PDEVICE_OBJECT Pdo)
{
    return (IOP_ROOT_CHILD *)Pdo->DeviceExtension;
}

/* Bytes moved between the configuration space and the caller's. */
static ULONG IopConfigBytes(PDEVICE_OBJECT Pdo, ULONG Space, PVOID Buffer, ULONG Offset, ULONG Length, BOOLEAN Write)
{
    IOP_ROOT_CHILD *Child = IopRootChild(Pdo);
    UCHAR Bytes[IOP_CONFIG_BYTES];
    ULONG Room;
    if (Space != PCI_WHICHSPACE_CONFIG)
        return 0;
    KiAcquireLock(&IopBusLock);
    Room = Child->ConfigBytes;
    memcpy(Bytes, Child->Config, sizeof Bytes); /* the caller's memory may fault, but not under a lock */
    KiReleaseLock(&IopBusLock);
    if (Offset >= Room)
        return 0;
    Length = Length < Room - Offset ? Length : Room - Offset;
    memcpy(Write ? Bytes + Offset : (PUCHAR)Buffer, Write ? (PUCHAR)Buffer : Bytes + Offset, Length);
    if (Write) {
        KiAcquireLock(&IopBusLock);
        memcpy(Child->Config + Offset, Bytes + Offset, Length);
        KiReleaseLock(&IopBusLock);
    }
    return Length;
}

BOOLEAN IopGiveConfig(PDEVICE_OBJECT Pdo, ULONG Offset, const VOID *Bytes, ULONG Length)
{
    if (!IopIsRootPdo(Pdo) || Offset > IOP_CONFIG_BYTES || Length > IOP_CONFIG_BYTES - Offset)
        return FALSE;
    IOP_ROOT_CHILD *Child = IopRootChild(Pdo);
    KiAcquireLock(&IopBusLock);
    memcpy(Child->Config + Offset, Bytes, Length);
    if (Child->ConfigBytes < Offset + Length)
        Child->ConfigBytes = Offset + Length;
    KiReleaseLock(&IopBusLock);
    return TRUE;
}

/* ---- the interface ---- */
static VOID IopBusReference(PVOID Context)
{
    ObfReferenceObject(Context);
}
static VOID IopBusDereference(PVOID Context)
{
    ObfDereferenceObject(Context);
}
static BOOLEAN IopTranslateBusAddress(PVOID Context, PHYSICAL_ADDRESS BusAddress, ULONG Length, PULONG AddressSpace,
                                      PPHYSICAL_ADDRESS TranslatedAddress)
{
    UNREFERENCED_PARAMETER(Context);
    if (*AddressSpace > 1 || (ULONG64)BusAddress.QuadPart + Length < (ULONG64)BusAddress.QuadPart)
        return FALSE;
    *TranslatedAddress = BusAddress;
    return TRUE;
}
static PDMA_ADAPTER IopBusGetDmaAdapter(PVOID Context, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters)
{
    PDEVICE_OBJECT Pdo = Context;
    ULONG Node = KeGetCurrentNodeNumber();
    (VOID) IopNumaNodeOf(Pdo, &Node); /* at DISPATCH_LEVEL not to be had: the caller's */
    return IopMakeAdapter(Pdo, Description, NumberOfMapRegisters, KiVerifies(KI_VERIFY_DMA, __builtin_return_address(0)), Node);
}
static ULONG IopSetBusData(PVOID Context, ULONG DataType, PVOID Buffer, ULONG Offset, ULONG Length)
{
    return IopConfigBytes(Context, DataType, Buffer, Offset, Length, TRUE);
}
static ULONG IopGetBusData(PVOID Context, ULONG DataType, PVOID Buffer, ULONG Offset, ULONG Length)
{
    return IopConfigBytes(Context, DataType, Buffer, Offset, Length, FALSE);
}
const BUS_INTERFACE_STANDARD IopBusInterface = {.Size = sizeof(BUS_INTERFACE_STANDARD),
                                                .Version = 1,
                                                .InterfaceReference = IopBusReference,
                                                .InterfaceDereference = IopBusDereference,
                                                .TranslateBusAddress = IopTranslateBusAddress,
                                                .GetDmaAdapter = IopBusGetDmaAdapter,
                                                .SetBusData = IopSetBusData,
                                                .GetBusData = IopGetBusData};

NTSTATUS IopRootBusRequest(PDEVICE_OBJECT Pdo, PIO_STACK_LOCATION Location, PIRP Irp)
{
    BOOLEAN Write = Location->MinorFunction == IRP_MN_WRITE_CONFIG;
    if (Location->MinorFunction == IRP_MN_QUERY_INTERFACE) {
        if (!IsEqualGUID(Location->Parameters.QueryInterface.InterfaceType, &GUID_BUS_INTERFACE_STANDARD))
            return Irp->IoStatus.Status; /* left as it came */
        if (Location->Parameters.QueryInterface.Size < sizeof(BUS_INTERFACE_STANDARD))
            return STATUS_INVALID_PARAMETER;
        PDEVICE_OBJECT Above = Pdo->AttachedDevice;
        BOOLEAN Foreign = Above && IopForeignBusInterface &&
                          KiIsForeignCode((const volatile VOID *)(ULONG_PTR)Above->DriverObject->MajorFunction[IRP_MJ_PNP]);
        BUS_INTERFACE_STANDARD Interface = Foreign ? *IopForeignBusInterface : IopBusInterface;
        Interface.Context = Pdo;
        *(PBUS_INTERFACE_STANDARD)Location->Parameters.QueryInterface.Interface = Interface;
        ObfReferenceObject(Pdo);
        return STATUS_SUCCESS;
    }
    ULONG Done =
        IopConfigBytes(Pdo, Location->Parameters.ReadWriteConfig.WhichSpace, Location->Parameters.ReadWriteConfig.Buffer,
                       Location->Parameters.ReadWriteConfig.Offset, Location->Parameters.ReadWriteConfig.Length, Write);
    if (Done == 0 && IopRootChild(Pdo)->ConfigBytes == 0)
        return Irp->IoStatus.Status;
    Irp->IoStatus.Information = Done;
    return Done == Location->Parameters.ReadWriteConfig.Length ? STATUS_SUCCESS : STATUS_INVALID_DEVICE_REQUEST;
}

/* ---- IoGetDmaAdapter's side ---- */
BOOLEAN IopAskBusForAdapter(PDEVICE_OBJECT Pdo, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters,
                            PDMA_ADAPTER *Adapter)
{
    BUS_INTERFACE_STANDARD Interface;
    if (!IopIsOtherBusesPdo(Pdo))
        return FALSE;
    RtlZeroMemory(&Interface, sizeof Interface);
    if (!NT_SUCCESS(IopQueryInterface(Pdo, &GUID_BUS_INTERFACE_STANDARD, sizeof Interface, 1, (PINTERFACE)&Interface)))
        return FALSE;
    if (Interface.GetDmaAdapter)
        *Adapter = KI_CALLOUT(PDMA_ADAPTER, Interface.GetDmaAdapter, (PVOID, PDEVICE_DESCRIPTION, PULONG),
                              (Interface.Context, Description, NumberOfMapRegisters));
    if (Interface.InterfaceDereference)
        KI_CALLOUT(VOID, Interface.InterfaceDereference, (PVOID), (Interface.Context));
    return Interface.GetDmaAdapter != NULL;
}
