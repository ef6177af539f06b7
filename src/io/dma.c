/*
 * dma.c - DMA adapters: made for a device's description, checked at every call, ended. SPDX-License-Identifier: MIT
 *
 * IoGetDmaAdapter looks at what the device can do and decides how its transfers are mapped:
 *
 *      iommu=1                                    logical addresses of the device's domain, one run a buffer    (dmadom.c)
 *      scatter/gather, reaches all of RAM         physical addresses, run by run
 *      scatter/gather, fewer address bits         the same; pages out of reach are bounced                      (dmamap.c)
 *      no scatter/gather                          a buffer in several runs is bounced whole
 *
 * Address bits, versions 0 to 2: Dma64BitAddresses 64; Dma32BitAddresses, or scatter/gather on PCI, 32; else 24 (ISA). Version 3:
 * DmaAddressWidth and nothing else. A description without Master is that of a device of the system DMA controller (dmasys.c),
 * which has no scatter/gather, and 32 bits where the description's version cannot tell.
 *
 * DmaOperations points at the table of the description's version (0 and 1: 1): it ends before the next version's operations, which
 * Size says, and they are NULL. DMA_ADAPTER.Version is 1 always.
 * Memory of an adapter (bounce pages, common buffers for which no node is named) is of its device's node, where the bus driver has
 * told it, else of the node of whoever made the adapter.
 * Every operation checks its adapter (0xE6/0x18 after PutDmaAdapter, 0x19 NULL) and its IRQL (0xE6/0x13): Driver Verifier's
 * stops, made always. PutDmaAdapter with something outstanding is 0xE6/7 (common buffers), 8 (channel), 9 (registers), 0xA.
 *
 * Locks: dmap.h. Watch: tests/ddi/dma.c, tests/misuse/dma.c.
 */
#include "io/dmap.h"
#include "io/pnp.h"

KI_LOCK IopDmaLock;
static LIST_ENTRY IopAdapters = {&IopAdapters, &IopAdapters};

VOID IopDmaStop(const CHAR *Words, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3, ULONG_PTR P4)
{
    KiStop(DRIVER_VERIFIER_DMA_VIOLATION, Words, NULL, P1, P2, P3, P4);
}

IOP_ADAPTER *IopCheckAdapter(PDMA_ADAPTER Public, UCHAR Irql)
{
    KIRQL Now = KiCurrentThread()->Irql;
    BOOLEAN Known = FALSE;
    if (Public == NULL)
        IopDmaStop("A DMA routine was called with a NULL adapter.", 0x19, 0, 0, 0);
    KiAcquireLock(&IopDmaLock);
    for (LIST_ENTRY *Entry = IopAdapters.Flink; Entry != &IopAdapters && !Known; Entry = Entry->Flink)
        Known = &CONTAINING_RECORD(Entry, IOP_ADAPTER, Link)->Public == Public;
    KiReleaseLock(&IopDmaLock);
    if (!Known)
        IopDmaStop("A DMA routine was called with an adapter that was released, or never was one.", 0x18, (ULONG_PTR)Public, 0,
                   0);
    if ((Irql & IOP_EXACTLY) && Now != (Irql & ~IOP_EXACTLY))
        IopDmaStop("A DMA routine was called at another IRQL than it must be called at.", 0x13, 1, Irql & ~IOP_EXACTLY, Now);
    if (Now > (Irql & ~IOP_EXACTLY))
        IopDmaStop("A DMA routine was called above its highest IRQL.", 0x13, 2, Irql, Now);
    return CONTAINING_RECORD(Public, IOP_ADAPTER, Public);
}

/* The highest address of RAM. */
static ULONG64 IopHighestRam(VOID)
{
    PPHYSICAL_MEMORY_RANGE Ranges = MmGetPhysicalMemoryRanges();
    ULONG64 Highest = ~0ull;
    for (ULONG Index = 0; Ranges && Ranges[Index].NumberOfBytes.QuadPart; Index++)
        Highest = (ULONG64)(Ranges[Index].BaseAddress.QuadPart + Ranges[Index].NumberOfBytes.QuadPart) - 1;
    if (Ranges)
        ExFreePool(Ranges);
    return Highest;
}

/* How many bits of an address the device, or the controller that moves its bytes, puts out. */
static ULONG IopAddressBits(const DEVICE_DESCRIPTION *Description)
{
    if (Description->Version >= DEVICE_DESCRIPTION_VERSION3)
        return Description->Master ? Description->DmaAddressWidth : 32;
    if (Description->Dma64BitAddresses)
        return 64;
    return Description->Dma32BitAddresses ||
                   (Description->Master && Description->ScatterGather && Description->InterfaceType == PCIBus)
               ? 32
               : 24;
}

PDMA_ADAPTER IopMakeAdapter(PDEVICE_OBJECT Device, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters,
                            BOOLEAN Verified, ULONG Node)
{
    ULONG Bits = IopAddressBits(Description);
    if (Description->Version > DEVICE_DESCRIPTION_VERSION3 || Bits < 16 || Bits > 64)
        return NULL;
    IOP_ADAPTER *Adapter = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Adapter, IOP_DMA_TAG);
    if (Adapter == NULL)
        return NULL;
    Adapter->Public.Version = 1; /* "regardless of the version" */
    Adapter->Public.Size = sizeof(DMA_ADAPTER);
    Adapter->Public.DmaOperations = Description->Version >= DEVICE_DESCRIPTION_VERSION3   ? &IopDmaOperations
                                    : Description->Version == DEVICE_DESCRIPTION_VERSION2 ? &IopDmaOperations2
                                                                                          : &IopDmaOperations1;
    Adapter->Device = Device;
    Adapter->Node = Node;
    Adapter->Verified = Verified;
    RtlCopyMemory(&Adapter->Description, Description,
                  Description->Version >= DEVICE_DESCRIPTION_VERSION3 ? sizeof *Description
                                                                      : offsetof(DEVICE_DESCRIPTION, DmaAddressWidth));
    if (!Description->Master)
        Adapter->Description.ScatterGather = FALSE; /* "is not used": it is the controller's */
    Adapter->AddressBits = Bits;
    Adapter->Limit = Bits == 64 ? ~0ull : (1ull << Bits) - 1;
    InitializeListHead(&Adapter->Waiting);
    InitializeListHead(&Adapter->Sets);
    InitializeListHead(&Adapter->Lists);
    InitializeListHead(&Adapter->Buffers);
    Adapter->Bounces = !KeOptions.Iommu && (!Adapter->Description.ScatterGather || IopHighestRam() > Adapter->Limit);
    ULONG Wanted = Description->MaximumLength ? (Description->MaximumLength - 1) / PAGE_SIZE + 2 : 17;
    ULONG Most = Adapter->Bounces ? IOP_BOUNCE_REGISTERS : IOP_MOST_REGISTERS;
    Adapter->MostRegisters = Wanted < Most ? Wanted : Most;
    if (Adapter->Bounces) {
        PHYSICAL_ADDRESS Zero = {.QuadPart = 0}, Highest = {.QuadPart = (LONGLONG)Adapter->Limit};
        while (Adapter->MostRegisters > 1 && Adapter->BounceVa == NULL) {
            Adapter->BounceVa = MmAllocateContiguousNodeMemory((SIZE_T)Adapter->MostRegisters * PAGE_SIZE, Zero, Highest, Zero,
                                                               PAGE_READWRITE, MM_ANY_NODE_OK | Node);
            if (Adapter->BounceVa == NULL)
                Adapter->MostRegisters /= 2;
        }
        Adapter->BounceFrame = (PFN_NUMBER)MmGetPhysicalAddress(Adapter->BounceVa).QuadPart >> PAGE_SHIFT;
    }
    Adapter->OwnDomain = Adapter->Domain = IopCreateDomain(KeOptions.Iommu);
    if (Adapter->Domain == NULL || (Adapter->Bounces && Adapter->BounceVa == NULL)) {
        if (Adapter->Domain)
            IopDeleteDomain(Adapter->Domain);
        if (Adapter->BounceVa)
            MmFreeContiguousMemory(Adapter->BounceVa);
        ExFreePoolWithTag(Adapter, IOP_DMA_TAG);
        return NULL;
    }
    KiAcquireLock(&IopDmaLock);
    InsertTailList(&IopAdapters, &Adapter->Link);
    KiReleaseLock(&IopDmaLock);
    IopFillRegisters(Adapter, 0, Adapter->MostRegisters);
    *NumberOfMapRegisters = Adapter->MostRegisters;
    return &Adapter->Public;
}

PDMA_ADAPTER IoGetDmaAdapter(PDEVICE_OBJECT PhysicalDeviceObject, PDEVICE_DESCRIPTION DeviceDescription,
                             PULONG NumberOfMapRegisters)
{
    KIRQL Irql = KiCurrentThread()->Irql;
    if (Irql > PASSIVE_LEVEL)
        IopDmaStop("IoGetDmaAdapter was called above PASSIVE_LEVEL.", 0x13, 2, PASSIVE_LEVEL, Irql);
    ULONG Node = KeGetCurrentNodeNumber();
    PDMA_ADAPTER Given = NULL;
    if (PhysicalDeviceObject && IopAskBusForAdapter(PhysicalDeviceObject, DeviceDescription, NumberOfMapRegisters, &Given))
        return Given;
    (VOID) IopNumaNodeOf(PhysicalDeviceObject, &Node);
    return IopMakeAdapter(PhysicalDeviceObject, DeviceDescription, NumberOfMapRegisters,
                          KiVerifies(KI_VERIFY_DMA, __builtin_return_address(0)), Node);
}

PADAPTER_OBJECT HalGetAdapter(PDEVICE_DESCRIPTION DeviceDescription, PULONG NumberOfMapRegisters)
{
    return IoGetDmaAdapter(NULL, DeviceDescription, NumberOfMapRegisters);
}

/* Firmware does not tell where devices are, but a bus driver may: DEVPKEY_Numa_Proximity_Domain, whose domains are the nodes. */
NTSTATUS IoGetDeviceNumaNode(PDEVICE_OBJECT Pdo, PUSHORT NodeNumber)
{
    ULONG Node;
    (VOID) KiCurrentThread();
    (VOID) IopNodeOfPdo(Pdo); /* or stops */
    if (!IopNumaNodeOf(Pdo, &Node))
        return STATUS_NOT_FOUND;
    *NodeNumber = (USHORT)Node;
    return STATUS_SUCCESS;
}

IOP_ADAPTER *IopSystemAdapterOf(PDEVICE_OBJECT Device)
{
    IOP_ADAPTER *Found = NULL;
    KiAcquireLock(&IopDmaLock);
    for (LIST_ENTRY *Entry = IopAdapters.Flink; Entry != &IopAdapters && !Found; Entry = Entry->Flink) {
        IOP_ADAPTER *Adapter = CONTAINING_RECORD(Entry, IOP_ADAPTER, Link);
        Found = Adapter->Device == Device && !Adapter->Description.Master ? Adapter : NULL;
    }
    KiReleaseLock(&IopDmaLock);
    return Found;
}

/* Deletes a domain that no adapter has any longer: its maker is gone, and nobody has joined it. */
static VOID IopDropDomain(IOP_DOMAIN *Domain)
{
    BOOLEAN Used = FALSE;
    KiAcquireLock(&IopDmaLock);
    for (LIST_ENTRY *Entry = IopAdapters.Flink; Entry != &IopAdapters && !Used; Entry = Entry->Flink) {
        IOP_ADAPTER *Adapter = CONTAINING_RECORD(Entry, IOP_ADAPTER, Link);
        Used = Adapter->Domain == Domain || Adapter->OwnDomain == Domain;
    }
    KiReleaseLock(&IopDmaLock);
    if (!Used)
        IopDeleteDomain(Domain);
}

VOID IopPutDmaAdapter(PDMA_ADAPTER Public)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    if (Adapter->BufferCount)
        IopDmaStop("An adapter was released while common buffers of it are allocated.", 7, (ULONG_PTR)Public,
                   (ULONG_PTR)Adapter->BufferCount, 0);
    if (Adapter->ChannelBusy || !IsListEmpty(&Adapter->Waiting))
        IopDmaStop("An adapter was released while its channel is allocated.", 8, (ULONG_PTR)Public, 1, 0);
    if (Adapter->ListCount)
        IopDmaStop("An adapter was released while scatter/gather lists of it are out.", 0xA, (ULONG_PTR)Public,
                   (ULONG_PTR)Adapter->ListCount, 0);
    if (!IsListEmpty(&Adapter->Sets)) {
        ULONG Registers = 0;
        for (LIST_ENTRY *Entry = Adapter->Sets.Flink; Entry != &Adapter->Sets; Entry = Entry->Flink)
            Registers += CONTAINING_RECORD(Entry, IOP_SET, Link)->Count;
        IopDmaStop("An adapter was released while map registers of it are allocated.", 9, (ULONG_PTR)Public, Registers, 0);
    }
    IopCheckRegisters(Adapter, 0, Adapter->MostRegisters);
    IopFreeSpentLists(Adapter, NULL);
    KiAcquireLock(&IopDmaLock);
    RemoveEntryList(&Adapter->Link);
    KiReleaseLock(&IopDmaLock);
    IopDropDomain(Adapter->OwnDomain);
    if (Adapter->Domain != Adapter->OwnDomain)
        IopDropDomain(Adapter->Domain);
    if (Adapter->BounceVa)
        MmFreeContiguousMemory(Adapter->BounceVa);
    ExFreePoolWithTag(Adapter, IOP_DMA_TAG);
}

ULONG IopGetDmaAlignment(PDMA_ADAPTER Public)
{
    (VOID) IopCheckAdapter(Public, DISPATCH_LEVEL);
    return 1;
}

NTSTATUS IopGetDmaAdapterInfo(PDMA_ADAPTER Public, PDMA_ADAPTER_INFO Info)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    if (Info->Version != DMA_ADAPTER_INFO_VERSION1)
        return STATUS_NOT_SUPPORTED;
    Info->V1 = (DMA_ADAPTER_INFO_V1){.ReadDmaCounterAvailable = !Adapter->Description.Master,
                                     .ScatterGatherLimit = Adapter->Description.ScatterGather ? Adapter->MostRegisters : 1,
                                     .DmaAddressWidth = Adapter->AddressBits,
                                     .MinimumTransferUnit = 1};
    return STATUS_SUCCESS;
}

/* ---- domains, as adapters see them ---- */
HANDLE IopGetDmaDomain(PDMA_ADAPTER Public)
{
    return IopCheckAdapter(Public, PASSIVE_LEVEL)->Domain;
}

/* The domain of a handle: one that an adapter has. Changes no count. */
static IOP_DOMAIN *IopDomainOfHandle(HANDLE Handle)
{
    IOP_DOMAIN *Found = NULL;
    KiAcquireLock(&IopDmaLock);
    for (LIST_ENTRY *Entry = IopAdapters.Flink; Entry != &IopAdapters && !Found; Entry = Entry->Flink) {
        IOP_ADAPTER *Adapter = CONTAINING_RECORD(Entry, IOP_ADAPTER, Link);
        Found = Adapter->Domain == Handle || Adapter->OwnDomain == Handle ? (IOP_DOMAIN *)Handle : NULL;
    }
    KiReleaseLock(&IopDmaLock);
    return Found;
}

static NTSTATUS IopMoveToDomain(IOP_ADAPTER *Adapter, IOP_DOMAIN *Domain)
{
    NTSTATUS Status = STATUS_SUCCESS;
    IOP_DOMAIN *Old = Adapter->Domain;
    KiAcquireLock(&Adapter->Lock);
    if (Adapter->BufferCount || Adapter->ListCount || !IsListEmpty(&Adapter->Sets)) {
        Status = STATUS_DEVICE_BUSY;
    } else {
        KiAcquireLock(&IopDmaLock);
        Adapter->Domain = Domain;
        KiReleaseLock(&IopDmaLock);
    }
    KiReleaseLock(&Adapter->Lock);
    IopDropDomain(Old);
    return Status;
}

NTSTATUS IopJoinDmaDomain(PDMA_ADAPTER Public, HANDLE DomainHandle)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_DOMAIN *Domain = IopDomainOfHandle(DomainHandle);
    return Domain ? IopMoveToDomain(Adapter, Domain) : STATUS_INVALID_HANDLE;
}

NTSTATUS IopLeaveDmaDomain(PDMA_ADAPTER Public)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    return Adapter->Domain == Adapter->OwnDomain ? STATUS_INVALID_PARAMETER : IopMoveToDomain(Adapter, Adapter->OwnDomain);
}

BOOLEAN IopIsDomain(HANDLE Handle)
{
    return IopDomainOfHandle(Handle) != NULL;
}

/* The domain that a device is in: that of its first adapter. NULL: it has none. */
IOP_DOMAIN *IopDomainOfDevice(PDEVICE_OBJECT Device)
{
    IOP_DOMAIN *Found = NULL;
    for (LIST_ENTRY *Entry = IopAdapters.Flink; Entry != &IopAdapters && !Found; Entry = Entry->Flink) {
        IOP_ADAPTER *Adapter = CONTAINING_RECORD(Entry, IOP_ADAPTER, Link);
        Found = Adapter->Device == Device ? Adapter->Domain : NULL;
    }
    return Found;
}

#define IOP_MEMBER(Name, Type) .Name = Iop##Name,
DMA_OPERATIONS IopDmaOperations1 = IOP_TABLE_VERSION1(IOP_MEMBER);
DMA_OPERATIONS IopDmaOperations2 = IOP_TABLE_VERSION2(IOP_MEMBER);
DMA_OPERATIONS IopDmaOperations = IOP_TABLE_VERSION3(IOP_MEMBER);

/* The system goes: what drivers left behind goes with their pool. */
VOID IopShutdownDma(VOID)
{
    InitializeListHead(&IopAdapters);
}
