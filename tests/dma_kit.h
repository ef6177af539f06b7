/*
 * dma_kit.h - what the tests of DMA share: adapters, a buffer, a device. SPDX-License-Identifier: MIT
 */
#pragma once
#include "mm_kit.h"
#include "io/dmap.h"

#define OP(Adapter) ((Adapter)->DmaOperations)

static DEVICE_OBJECT Device; /* stands for the physical device object: only its address and CurrentIrp are used */

static KIT_UNUSED PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}
static KIT_UNUSED DEVICE_DESCRIPTION Describe(ULONG Version, ULONG Bits, BOOLEAN ScatterGather, ULONG MaximumLength)
{
    DEVICE_DESCRIPTION Description;
    memset(&Description, 0, sizeof(Description));
    Description.Version = Version;
    Description.Master = TRUE;
    Description.ScatterGather = ScatterGather;
    Description.Dma32BitAddresses = Bits == 32;
    Description.Dma64BitAddresses = Bits == 64;
    Description.InterfaceType = Bits == 24 ? Isa : PCIBus; /* scatter/gather on PCI has 32 */
    Description.DmaAddressWidth = Version == 3 ? Bits : 0;
    Description.MaximumLength = MaximumLength;
    return Description;
}
static KIT_UNUSED PDMA_ADAPTER GetAdapter(ULONG Version, ULONG Bits, BOOLEAN ScatterGather, ULONG *Registers)
{
    ULONG Unused;
    DEVICE_DESCRIPTION Description = Describe(Version, Bits, ScatterGather, 64 * PAGE_SIZE);
    return IoGetDmaAdapter(&Device, &Description, Registers ? Registers : &Unused);
}
/* A locked buffer whose frames are, page for page, above or below 16 MiB and do not follow each other. */
static KIT_UNUSED PMDL ScatteredMdl(ULONG Pages, BOOLEAN High, ULONG Offset, ULONG Bytes)
{
    PMDL Mdl =
        MmAllocatePagesForMdl(At(High ? 0x1000000 : 0x100000), At(High ? ~0ull : 0xFFFFFF), At(0), (SIZE_T)Pages * PAGE_SIZE);
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    for (ULONG Page = 0; Page + 1 < Pages; Page += 2) { /* swap neighbours */
        PFN_NUMBER Frame = Frames[Page];
        Frames[Page] = Frames[Page + 1];
        Frames[Page + 1] = Frame;
    }
    Mdl->ByteOffset = Offset;
    Mdl->ByteCount = Bytes;
    return Mdl;
}
static KIT_UNUSED void FreeScattered(PMDL Mdl, ULONG Pages)
{
    if (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) {
        MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
    }
    Mdl->ByteOffset = 0;
    Mdl->ByteCount = Pages * PAGE_SIZE;
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
}
static KIT_UNUSED UCHAR *Mapped(PMDL Mdl)
{
    return MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
}
static KIT_UNUSED KIRQL AtDispatch(void)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    return Old;
}
static KIT_UNUSED void Fill(UCHAR *Bytes, ULONG Length, ULONG Seed)
{
    for (ULONG Index = 0; Index < Length; Index++) {
        Bytes[Index] = (UCHAR)((Index * 7 + Index / 251 + Seed) & 0xFF);
    }
}
static KIT_UNUSED BOOLEAN Same(const UCHAR *Bytes, ULONG Length, ULONG Seed)
{
    for (ULONG Index = 0; Index < Length; Index++) {
        if (Bytes[Index] != (UCHAR)((Index * 7 + Index / 251 + Seed) & 0xFF)) {
            return FALSE;
        }
    }
    return TRUE;
}
/* An adapter channel's callback that keeps the map registers: their base goes where Context points. */
static KIT_UNUSED IO_ALLOCATION_ACTION KeepRegisters(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object;
    (void)Irp;
    *(PVOID *)Context = MapRegisterBase;
    return DeallocateObjectKeepRegisters;
}
/* What the device does with a list: takes or gives the bytes that Fill makes. */
typedef struct _TRANSFER {
    const SCATTER_GATHER_LIST *List;
    UCHAR Bytes[64 * 4096];
    ULONG Length;
    BOOLEAN ToMemory;
} TRANSFER;
static KIT_UNUSED TRANSFER Transfer;
static KIT_UNUSED void DoTransfer(ntmm_device *Hardware, void *Context)
{
    TRANSFER *Job = Context;
    ULONG Done = 0;
    for (ULONG Index = 0; Index < Job->List->NumberOfElements; Index++) {
        const SCATTER_GATHER_ELEMENT *Element = &Job->List->Elements[Index];
        if (Job->ToMemory) {
            ntmm_device_write(Hardware, (uint64_t)Element->Address.QuadPart, Job->Bytes + Done, Element->Length);
        } else {
            ntmm_device_read(Hardware, (uint64_t)Element->Address.QuadPart, Job->Bytes + Done, Element->Length);
        }
        Done += Element->Length;
    }
    Job->Length = Done;
}
