/*
 * dma.c - cases of the detection matrix: DMA. SPDX-License-Identifier: MIT
 */
#include "matrix.h"
#include "io/dmap.h"

static DEVICE_OBJECT Device; /* stands for the physical device object */
#define OP(Adapter) ((Adapter)->DmaOperations)
#define DMA         "verifier=dma"

static PVOID Base;
static PSCATTER_GATHER_LIST List;
static PDMA_ADAPTER Get(ULONG Bits)
{
    ULONG Registers;
    DEVICE_DESCRIPTION Description = {.Version = DEVICE_DESCRIPTION_VERSION2,
                                      .Master = TRUE,
                                      .ScatterGather = TRUE,
                                      .Dma32BitAddresses = Bits == 32,
                                      .Dma64BitAddresses = Bits == 64,
                                      .InterfaceType = Bits == 24 ? Isa : PCIBus,
                                      .MaximumLength = 16 * PAGE_SIZE};
    return IoGetDmaAdapter(&Device, &Description, &Registers);
}
static IO_ALLOCATION_ACTION Keep(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object, (void)Irp, (void)Context;
    Base = MapRegisterBase;
    return KeepObject;
}
static IO_ALLOCATION_ACTION KeepRegisters(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Keep(Object, Irp, MapRegisterBase, Context);
    return DeallocateObjectKeepRegisters;
}
static VOID TakeList(PDEVICE_OBJECT Object, PIRP Irp, PSCATTER_GATHER_LIST ScatterGather, PVOID Context)
{
    (void)Object, (void)Irp, (void)Context;
    List = ScatterGather;
}
static void Channel(PDMA_ADAPTER Adapter, ULONG Registers, PDRIVER_CONTROL Routine)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, Registers, Routine, NULL);
    KeLowerIrql(Old);
}
static void FreeChannel(PDMA_ADAPTER Adapter)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    OP(Adapter)->FreeAdapterChannel(Adapter);
    KeLowerIrql(Old);
}
static void FreeRegisters(PDMA_ADAPTER Adapter, ULONG Count)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    OP(Adapter)->FreeMapRegisters(Adapter, Base, Count);
    KeLowerIrql(Old);
}
static NTSTATUS GetList(PDMA_ADAPTER Adapter, PMDL Mdl, PVOID Va, ULONG Length)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    NTSTATUS Status = OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, Va, Length, TakeList, NULL, TRUE);
    KeLowerIrql(Old);
    return Status;
}
static void PutList(PDMA_ADAPTER Adapter)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    OP(Adapter)->PutScatterGatherList(Adapter, List, TRUE);
    KeLowerIrql(Old);
}
static PHYSICAL_ADDRESS Map(PDMA_ADAPTER Adapter, PMDL Mdl, SIZE_T Offset, ULONG Bytes)
{
    return OP(Adapter)->MapTransfer(Adapter, Mdl, Base, (PUCHAR)MmGetMdlVirtualAddress(Mdl) + Offset, &Bytes, TRUE);
}
static void Flush(PDMA_ADAPTER Adapter, PMDL Mdl, ULONG Bytes)
{
    OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), Bytes, TRUE);
}
static PMDL HighMdl(ULONG Pages) /* out of reach of a device of 24 bits */
{
    return MmAllocatePagesForMdlEx(At(0x1000000), At(~0ull), At(0), (SIZE_T)Pages * PAGE_SIZE, MmCached, 0);
}

SIN(E6_0_1)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(2);
    Channel(Adapter, 2, KeepRegisters);
    Map(Adapter, Mdl, 0, 64);
    Expect(0xE6, 0, 1, 64, 65);
    Flush(Adapter, Mdl, 65);
}
RIGHT(transfer)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(4);
    Channel(Adapter, 4, KeepRegisters);
    for (int Round = 0; Round < 3; Round++) { /* the same bytes again after each flush */
        Map(Adapter, Mdl, 0, PAGE_SIZE);
        Map(Adapter, Mdl, PAGE_SIZE, 3 * PAGE_SIZE);
        Flush(Adapter, Mdl, 4 * PAGE_SIZE);
    }
    FreeRegisters(Adapter, 4);
    OP(Adapter)->PutDmaAdapter(Adapter);
}
SIN(E6_3)
{
    PDMA_ADAPTER Adapter = Get(64);
    PHYSICAL_ADDRESS Logical;
    PVOID Va = OP(Adapter)->AllocateCommonBuffer(Adapter, 100, &Logical, TRUE);
    OP(Adapter)->FreeCommonBuffer(Adapter, 100, Logical, Va, TRUE);
    Expect(0xE6, 3, 1, ANY, ANY);
    OP(Adapter)->FreeCommonBuffer(Adapter, 100, Logical, Va, TRUE);
}
RIGHT(buffer)
{
    PDMA_ADAPTER Adapter = Get(24);
    for (ULONG Length = 1; Length < 3 * PAGE_SIZE; Length += 1023) {
        PHYSICAL_ADDRESS Logical;
        PUCHAR Va = OP(Adapter)->AllocateCommonBuffer(Adapter, Length, &Logical, Length & 1);
        memset(Va, 0x5A, Length);
        OP(Adapter)->FreeCommonBuffer(Adapter, Length, Logical, Va, Length & 1);
    }
    OP(Adapter)->PutDmaAdapter(Adapter);
}
SIN(E6_4)
{
    PDMA_ADAPTER Adapter = Get(64);
    Channel(Adapter, 1, Keep);
    FreeChannel(Adapter);
    Expect(0xE6, 4, 1, ANY, ANY);
    FreeChannel(Adapter);
}
RIGHT(channel)
{
    PDMA_ADAPTER Adapter = Get(64);
    for (int Round = 0; Round < 3; Round++) {
        Channel(Adapter, 1, Keep);
        FreeChannel(Adapter);
    }
    OP(Adapter)->PutDmaAdapter(Adapter);
}
SIN(E6_5)
{
    PDMA_ADAPTER Adapter = Get(24);
    Channel(Adapter, 2, KeepRegisters);
    FreeRegisters(Adapter, 2);
    Expect(0xE6, 5, 2, ANY, ANY);
    FreeRegisters(Adapter, 2);
}
SIN(E6_6)
{
    PDMA_ADAPTER Adapter = Get(64);
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    GetList(Adapter, Mdl, MmGetMdlVirtualAddress(Mdl), 64);
    PutList(Adapter);
    Expect(0xE6, 6, 1, 2, ANY);
    PutList(Adapter);
}
RIGHT(list)
{
    PDMA_ADAPTER Adapter = Get(64);
    PMDL Mdl = LockedMdl(3 * PAGE_SIZE), Second = LockedMdl(100);
    Mdl->Next = Second;
    GetList(Adapter, Mdl, (PUCHAR)MmGetMdlVirtualAddress(Mdl) + 10, 3 * PAGE_SIZE + 90); /* to the last byte of the chain */
    PutList(Adapter);
    OP(Adapter)->PutDmaAdapter(Adapter);
}
SIN(E6_left) /* what is out when the adapter goes: 7 buffers, 8 the channel, 9 registers, A lists */
{
    PDMA_ADAPTER Adapter = Get(64);
    PHYSICAL_ADDRESS Logical;
    PMDL Mdl;
    switch (Argument) {
    case 7:
        (void)OP(Adapter)->AllocateCommonBuffer(Adapter, 100, &Logical, TRUE);
        break;
    case 8:
        Channel(Adapter, 1, Keep);
        break;
    case 9:
        Channel(Adapter, 2, KeepRegisters);
        break;
    default:
        Mdl = LockedMdl(PAGE_SIZE);
        GetList(Adapter, Mdl, MmGetMdlVirtualAddress(Mdl), 64);
    }
    Expect(0xE6, Argument, P(Adapter), Argument == 9 ? 2 : 1, ANY);
    OP(Adapter)->PutDmaAdapter(Adapter);
}
SIN(E6_B)
{
    PDMA_ADAPTER Adapter = Get(64);
    Channel(Adapter, 1, Keep);
    Expect(0xE6, 0xB, 1, ANY, ANY);
    Channel(Adapter, 1, Keep);
}
SIN(E6_C)
{
    PDMA_ADAPTER Adapter = Get(24);
    Expect(0xE6, 0xC, 1000, 17, ANY);
    Channel(Adapter, 1000, Keep);
}
RIGHT(E6_C)
{
    PDMA_ADAPTER Adapter = Get(24);
    Channel(Adapter, 17, Keep); /* all there are */
    FreeChannel(Adapter);
    OP(Adapter)->PutDmaAdapter(Adapter);
}
SIN(E6_D)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(2);
    Channel(Adapter, 2, Keep);
    Map(Adapter, Mdl, 0, 64);
    Expect(0xE6, 0xD, 64, ANY, ANY);
    FreeChannel(Adapter);
}
SIN(E6_E)
{
    PDMA_ADAPTER Adapter = Get(64);
    PMDL Mdl = IoAllocateMdl(Paged(64), 64, FALSE, FALSE, NULL);
    Expect(0xE6, 0xE, P(Mdl), ANY, ANY);
    GetList(Adapter, Mdl, MmGetMdlVirtualAddress(Mdl), 64);
}
SIN(E6_F) /* around a common buffer */
{
    PDMA_ADAPTER Adapter = Get(64);
    PHYSICAL_ADDRESS Logical;
    PUCHAR Va = OP(Adapter)->AllocateCommonBuffer(Adapter, 100, &Logical, TRUE), Hit;
    Hit = Argument == 1 ? Va - 1 : Argument == 2 ? Va + 100 : Argument == 4 ? Va - 100 : Va + 200;
    *Hit ^= 1;
    if (Argument < 4)
        Expect(0xE6, 0xF, Argument, 100, P(Va));
    else
        Expect(0xE6, 0xF, Argument, P(Va), P(Hit));
    OP(Adapter)->FreeCommonBuffer(Adapter, 100, Logical, Va, TRUE);
}
SIN(E6_F_3) /* a device that goes on after its registers were freed */
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(1);
    Channel(Adapter, 2, KeepRegisters);
    PHYSICAL_ADDRESS Logical = Map(Adapter, Mdl, 0, PAGE_SIZE);
    Flush(Adapter, Mdl, PAGE_SIZE);
    FreeRegisters(Adapter, 2);
    PUCHAR Register = MmGetVirtualForPhysical(Logical);
    Register[5] = 1;
    Expect(0xE6, 0xF, 3, P(Register) + 5, ANY);
    Channel(Adapter, 2, KeepRegisters);
}
SIN(E6_10)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(2);
    Channel(Adapter, 2, KeepRegisters);
    Map(Adapter, Mdl, 0, 64);
    Expect(0xE6, 0x10, 1, ANY, ANY);
    FreeRegisters(Adapter, 2);
}
SIN(E6_13_1)
{
    PDMA_ADAPTER Adapter = Get(64);
    Expect(0xE6, 0x13, 1, DISPATCH_LEVEL, PASSIVE_LEVEL);
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 1, Keep, NULL);
}
SIN(E6_13_2)
{
    PDMA_ADAPTER Adapter = Get(64);
    PHYSICAL_ADDRESS Logical;
    Raise(DISPATCH_LEVEL);
    Expect(0xE6, 0x13, 2, PASSIVE_LEVEL, DISPATCH_LEVEL);
    (void)OP(Adapter)->AllocateCommonBuffer(Adapter, 100, &Logical, TRUE);
}
SIN(E6_18)
{
    PDMA_ADAPTER Adapter = Get(64);
    PDMA_OPERATIONS Operations = OP(Adapter);
    Operations->PutDmaAdapter(Adapter);
    Expect(0xE6, 0x18, P(Adapter), ANY, ANY);
    (void)Operations->GetDmaAlignment(Adapter);
}
SIN(E6_19)
{
    PDMA_ADAPTER Adapter = Get(64);
    Expect(0xE6, 0x19, ANY, ANY, ANY);
    OP(Adapter)->PutDmaAdapter(NULL);
}
SIN(E6_1B)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(1);
    Channel(Adapter, 2, KeepRegisters);
    Expect(0xE6, 0x1B, P(MmGetMdlVirtualAddress(Mdl)) + PAGE_SIZE, P(Mdl), ANY);
    Map(Adapter, Mdl, PAGE_SIZE, 64);
}
SIN(E6_1D)
{
    PDMA_ADAPTER Adapter = Get(Argument ? 24 : 64);
    PMDL Mdl = HighMdl(1);
    uint64_t Va = P(MmGetMdlVirtualAddress(Mdl));
    Channel(Adapter, 2, KeepRegisters);
    Map(Adapter, Mdl, 0, 64);
    Expect(0xE6, 0x1D, Va + 32, Va + 132, Va + 32);
    Map(Adapter, Mdl, 32, 100);
}
SIN(E6_1F_1)
{
    PDMA_ADAPTER Adapter = Get(64);
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PUCHAR Before = (PUCHAR)MmGetMdlVirtualAddress(Mdl) - 1;
    Expect(0xE6, 0x1F, 1, P(Before), P(Mdl));
    GetList(Adapter, Mdl, Before, 64);
}
SIN(E6_1F_2)
{
    PDMA_ADAPTER Adapter = Get(64);
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PUCHAR Behind = (PUCHAR)MmGetMdlVirtualAddress(Mdl) + PAGE_SIZE;
    Expect(0xE6, 0x1F, 2, P(Behind), P(Mdl));
    GetList(Adapter, Mdl, Behind, 64);
}
SIN(E6_1F_3)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(1);
    Channel(Adapter, 4, KeepRegisters);
    Expect(0xE6, 0x1F, 3, P(Mdl), PAGE_SIZE + 1);
    Map(Adapter, Mdl, 0, PAGE_SIZE + 1);
}
SIN(E6_20)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(1);
    Channel(Adapter, 2, KeepRegisters);
    Expect(0xE6, 0x20, P(Base), P(MmGetMdlVirtualAddress(Mdl)), P(Mdl));
    Flush(Adapter, Mdl, 64);
}
SIN(E6_21)
{
    PDMA_ADAPTER Adapter = Get(24);
    PMDL Mdl = HighMdl(1);
    Channel(Adapter, 2, KeepRegisters);
    Expect(0xE6, 0x21, ANY, ANY, ANY);
    Map(Adapter, Mdl, 0, 0);
}
SIN(E6_24)
{
    PDMA_ADAPTER Adapter = Get(64);
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Expect(0xE6, 0x24, 28, ANY, ANY);
    GetList(Adapter, Mdl, (PUCHAR)MmGetMdlVirtualAddress(Mdl) + 128, PAGE_SIZE - 100);
}
SIN(E6_26)
{
    PDMA_ADAPTER Adapter = Get(64);
    UCHAR Bytes[16];
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    uint64_t Physical = (uint64_t)MmGetMdlPfnArray(Mdl)[0] << PAGE_SHIFT; /* no address of the device's */
    (void)Adapter;
    Expect(0xE6, 0x26, P(&Device), Physical, 1);
    IopDeviceAccess(&Device, Physical, Bytes, sizeof Bytes, FALSE);
}
RIGHT(E6_26)
{
    PDMA_ADAPTER Adapter = Get(64);
    PHYSICAL_ADDRESS Logical;
    UCHAR Bytes[16];
    PVOID Va = OP(Adapter)->AllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    IopDeviceAccess(&Device, (uint64_t)Logical.QuadPart, Bytes, sizeof Bytes, FALSE);
    IopDeviceAccess(&Device, (uint64_t)Logical.QuadPart, Bytes, sizeof Bytes, TRUE);
    OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

CASES(Dma){"0xE6/0x0/0x1", DMA, Sin_E6_0_1, Right_transfer, 0}, {"0xE6/0x3", DMA, Sin_E6_3, Right_buffer, 0},
    {"0xE6/0x4", DMA, Sin_E6_4, Right_channel, 0}, {"0xE6/0x5", DMA, Sin_E6_5, Right_transfer, 0},
    {"0xE6/0x6", DMA, Sin_E6_6, Right_list, 0}, {"0xE6/0x7", DMA, Sin_E6_left, Right_buffer, 7},
    {"0xE6/0x8", DMA, Sin_E6_left, Right_channel, 8}, {"0xE6/0x9", DMA, Sin_E6_left, Right_transfer, 9},
    {"0xE6/0xA", DMA, Sin_E6_left, Right_list, 10}, {"0xE6/0xB", DMA, Sin_E6_B, Right_channel, 0},
    {"0xE6/0xC", DMA, Sin_E6_C, Right_E6_C, 0}, {"0xE6/0xD", DMA, Sin_E6_D, Right_transfer, 0},
    {"0xE6/0xE", DMA, Sin_E6_E, Right_list, 0}, {"0xE6/0xF/0x01", DMA, Sin_E6_F, Right_buffer, 1},
    {"0xE6/0xF/0x02", DMA, Sin_E6_F, Right_buffer, 2}, {"0xE6/0xF/0x03", DMA, Sin_E6_F_3, Right_transfer, 0},
    {"0xE6/0xF/0x04", DMA, Sin_E6_F, Right_buffer, 4}, {"0xE6/0xF/0x05", DMA, Sin_E6_F, Right_buffer, 5},
    {"0xE6/0x10", DMA, Sin_E6_10, Right_transfer, 0}, {"0xE6/0x14", DMA, Sin_E6_13_1, NULL, 0},
    {"0xE6/0x13/0x01", DMA, Sin_E6_13_1, Right_channel, 0}, {"0xE6/0x13/0x02", DMA, Sin_E6_13_2, Right_buffer, 0},
    {"0xE6/0x18", DMA, Sin_E6_18, Right_channel, 0}, {"0xE6/0x19", DMA, Sin_E6_19, Right_channel, 0},
    {"0xE6/0x1B", DMA, Sin_E6_1B, Right_transfer, 0}, {"0xE6/0x1D", DMA, Sin_E6_1D, Right_transfer, 0},
    {"0xE6/0x1D", DMA, Sin_E6_1D, Right_transfer, 1}, {"0xE6/0x1F/0x01", DMA, Sin_E6_1F_1, Right_list, 0},
    {"0xE6/0x1F/0x02", DMA, Sin_E6_1F_2, Right_list, 0}, {"0xE6/0x1F/0x03", DMA, Sin_E6_1F_3, Right_transfer, 0},
    {"0xE6/0x20", DMA, Sin_E6_20, Right_transfer, 0}, {"0xE6/0x16", DMA, Sin_E6_20, NULL, 0},
    {"0xE6/0x21", DMA, Sin_E6_21, Right_transfer, 0}, {"0xE6/0x24", DMA, Sin_E6_24, Right_list, 0},
    {"0xE6/0x26", "verifier=dma,iommu=1", Sin_E6_26, Right_E6_26, 0}, END_CASES(Dma)
