/*
 * dmabuf.c - common buffers: memory that driver and device use at the same time. SPDX-License-Identifier: MIT
 *
 * AllocateCommonBuffer and its Ex, WithBounds, Domain and vector forms hand out whole contiguous pages within the device's reach,
 * with their logical address: the physical one, or (iommu=1) one of the domain, mapped both ways until the buffer is freed.
 * CreateCommonBufferFromMdl shows the device pages that the caller has; their frames must follow each other unless the domain
 * translates. A vector is an array of equal buffers; its elements can be freed one by one.
 *
 * DOMAIN_COMMON_BUFFER_LARGE_PAGE: physical and logical address are multiples of 2 MiB, and so is what is shown to the device.
 *
 * FreeCommonBuffer wants exactly what was allocated: length, both addresses, cache type; else, and for a second time, 0xE6/3.
 * Locks: IOP_ADAPTER.Lock over the list. PASSIVE_LEVEL.
 */
#include "io/dmap.h"

typedef struct _IOP_BOUNDS {
    ULONG64 Low, High; /* logical */
    BOOLEAN Cached, Large;
    BOOLEAN CacheEnabled; /* what is to be told when it is freed */
    NODE_REQUIREMENT Node;
} IOP_BOUNDS;

#define IOP_LARGE_PAGE (512u * PAGE_SIZE) /* "a larger page granularity of PAGE_SIZE * 512" */

static VOID IopKeep(IOP_ADAPTER *Adapter, IOP_BUFFER *Buffer)
{
    KiAcquireLock(&Adapter->Lock);
    InsertTailList(&Adapter->Buffers, &Buffer->Link);
    Adapter->BufferCount++;
    KiReleaseLock(&Adapter->Lock);
}

/* Logical addresses for [Va, Va + Length) in the domain; Align: in pages. */
static BOOLEAN IopShowBuffer(IOP_DOMAIN *Domain, PVOID Va, SIZE_T Length, ULONG Align, ULONG64 Low, ULONG64 High,
                             ULONG64 Access, PPHYSICAL_ADDRESS Logical)
{
    ULONG First, Pages = (ULONG)BYTES_TO_PAGES(Length);
    if (!Domain->Translates) {
        *Logical = MmGetPhysicalAddress(Va);
        return (ULONG64)Logical->QuadPart >= Low && (ULONG64)Logical->QuadPart + Length - 1 <= High;
    }
    if (!IopReserveLogical(Domain, Pages, Align, Low, High, &First))
        return FALSE;
    for (ULONG Page = 0; Page < Pages; Page++)
        IopMapLogical(Domain, First + Page,
                      (PFN_NUMBER)MmGetPhysicalAddress((PUCHAR)Va + (SIZE_T)Page * PAGE_SIZE).QuadPart >> PAGE_SHIFT, Access);
    Logical->QuadPart = (LONGLONG)((ULONG64)First << PAGE_SHIFT);
    return TRUE;
}

static PVOID IopMakeBuffer(IOP_ADAPTER *Adapter, IOP_DOMAIN *Domain, ULONG Length, const IOP_BOUNDS *Bounds,
                           PPHYSICAL_ADDRESS Logical)
{
    PHYSICAL_ADDRESS Low = {.QuadPart = Domain->Translates ? 0 : (LONGLONG)Bounds->Low}, Boundary = {.QuadPart = 0};
    ULONG64 Highest = Bounds->High < Adapter->Limit ? Bounds->High : Adapter->Limit;
    PHYSICAL_ADDRESS High = {.QuadPart = Domain->Translates ? -1 : (LONGLONG)Highest};
    IOP_BUFFER *Buffer = Length ? ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Buffer, IOP_DMA_TAG) : NULL;
    BOOLEAN Guarded = Adapter->Verified && !Bounds->Large;
    SIZE_T Shown = Length, Bytes;
    if (Bounds->Large) {
        Shown = ((SIZE_T)Length + IOP_LARGE_PAGE - 1) & ~(SIZE_T)(IOP_LARGE_PAGE - 1);
        Boundary.QuadPart = IOP_LARGE_PAGE;
        while ((SIZE_T)Boundary.QuadPart < Shown)
            Boundary.QuadPart *= 2;
    }
    /* As large as its boundary: it begins there. */
    Bytes = Bounds->Large ? (SIZE_T)Boundary.QuadPart : Guarded ? IopGuardedSize(Length) : Length;
    PVOID Block = Buffer ? MmAllocateContiguousNodeMemory(Bytes, Low, High, Boundary,
                                                          PAGE_READWRITE | (Bounds->Cached ? 0 : PAGE_NOCACHE), Bounds->Node)
                         : NULL;
    PVOID Va = Block && Guarded ? IopGuardBuffer(Block, Length) : Block;
    if (Va == NULL || !IopShowBuffer(Domain, Va, Shown, Bounds->Large ? IOP_LARGE_PAGE / PAGE_SIZE : 1, Bounds->Low, Highest,
                                     IOP_DEVICE_READS | IOP_DEVICE_WRITES, Logical)) {
        if (Block)
            MmFreeContiguousMemory(Block);
        if (Buffer)
            ExFreePoolWithTag(Buffer, IOP_DMA_TAG);
        return NULL;
    }
    *Buffer = (IOP_BUFFER){.Va = Va,
                           .Length = Length,
                           .Logical = *Logical,
                           .Pages = Domain->Translates ? (ULONG)BYTES_TO_PAGES(Shown) : 0,
                           .Domain = Domain,
                           .CacheEnabled = Bounds->CacheEnabled,
                           .Guarded = Guarded};
    IopKeep(Adapter, Buffer);
    return Va;
}

static VOID IopEndBuffer(IOP_BUFFER *Buffer)
{
    if (Buffer->Guarded)
        IopCheckGuards(Buffer->Va, Buffer->Length);
    if (Buffer->Pages)
        IopReleaseLogical(Buffer->Domain, (ULONG)((ULONG64)Buffer->Logical.QuadPart >> PAGE_SHIFT), Buffer->Pages);
    if (!Buffer->Borrowed)
        MmFreeContiguousMemory(Buffer->Guarded ? (PUCHAR)Buffer->Va - PAGE_SIZE : Buffer->Va);
    ExFreePoolWithTag(Buffer, IOP_DMA_TAG);
}

static inline IOP_BOUNDS IopAnywhere(const IOP_ADAPTER *Adapter)
{
    return (IOP_BOUNDS){0, ~0ull, TRUE, FALSE, TRUE, MM_ANY_NODE_OK | Adapter->Node};
}

/* "The preferred NUMA node", one that there is: another one if it has no room. */
static inline NODE_REQUIREMENT IopPreferred(NODE_REQUIREMENT Node)
{
    return Node <= KeQueryHighestNodeNumber() ? Node | MM_ANY_NODE_OK : Node;
}

PVOID IopAllocateCommonBuffer(PDMA_ADAPTER Public, ULONG Length, PPHYSICAL_ADDRESS LogicalAddress, BOOLEAN CacheEnabled)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_BOUNDS Bounds = IopAnywhere(Adapter);
    Bounds.CacheEnabled = CacheEnabled != FALSE; /* "is ignored": the memory is cached */
    return IopMakeBuffer(Adapter, Adapter->Domain, Length, &Bounds, LogicalAddress);
}

PVOID IopAllocateCommonBufferEx(PDMA_ADAPTER Public, PPHYSICAL_ADDRESS MaximumAddress, ULONG Length,
                                PPHYSICAL_ADDRESS LogicalAddress, BOOLEAN CacheEnabled, NODE_REQUIREMENT PreferredNode)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_BOUNDS Bounds = IopAnywhere(Adapter);
    Bounds.Cached = Bounds.CacheEnabled = CacheEnabled != FALSE;
    Bounds.High = MaximumAddress ? (ULONG64)MaximumAddress->QuadPart : ~0ull;
    Bounds.Node = IopPreferred(PreferredNode);
    return IopMakeBuffer(Adapter, Adapter->Domain, Length, &Bounds, LogicalAddress);
}

/* FALSE: "only values of MmNonCached and MmCached are supported", and of the flags DOMAIN_COMMON_BUFFER_LARGE_PAGE. */
static BOOLEAN IopSetForm(IOP_BOUNDS *Bounds, const MEMORY_CACHING_TYPE *CacheType, ULONG Flags)
{
    Bounds->Large = (Flags & DOMAIN_COMMON_BUFFER_LARGE_PAGE) != 0;
    Bounds->Cached = Bounds->CacheEnabled = CacheType == NULL || *CacheType == MmCached;
    return (Bounds->Cached || *CacheType == MmNonCached) && !(Flags & ~(ULONG)DOMAIN_COMMON_BUFFER_LARGE_PAGE);
}

PVOID IopAllocateCommonBufferWithBounds(PDMA_ADAPTER Public, PPHYSICAL_ADDRESS MinimumAddress, PPHYSICAL_ADDRESS MaximumAddress,
                                        ULONG Length, ULONG Flags, MEMORY_CACHING_TYPE *CacheType,
                                        NODE_REQUIREMENT PreferredNode, PPHYSICAL_ADDRESS LogicalAddress)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_BOUNDS Bounds = IopAnywhere(Adapter);
    if (!IopSetForm(&Bounds, CacheType, Flags))
        return NULL;
    Bounds.Low = MinimumAddress ? (ULONG64)MinimumAddress->QuadPart : 0;
    Bounds.High = MaximumAddress ? (ULONG64)MaximumAddress->QuadPart : ~0ull;
    Bounds.Node = IopPreferred(PreferredNode);
    return IopMakeBuffer(Adapter, Adapter->Domain, Length, &Bounds, LogicalAddress);
}

NTSTATUS IopAllocateDomainCommonBuffer(PDMA_ADAPTER Public, HANDLE DomainHandle, PPHYSICAL_ADDRESS MaximumAddress, ULONG Length,
                                       ULONG Flags, MEMORY_CACHING_TYPE *CacheType, NODE_REQUIREMENT PreferredNode,
                                       PPHYSICAL_ADDRESS LogicalAddress, PVOID *VirtualAddress)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_BOUNDS Bounds = IopAnywhere(Adapter);
    if (!IopIsDomain(DomainHandle))
        return STATUS_INVALID_HANDLE;
    if (Length == 0 || !IopSetForm(&Bounds, CacheType, Flags))
        return STATUS_INVALID_PARAMETER;
    Bounds.High = MaximumAddress ? (ULONG64)MaximumAddress->QuadPart : ~0ull;
    Bounds.Node = IopPreferred(PreferredNode);
    *VirtualAddress = IopMakeBuffer(Adapter, DomainHandle, Length, &Bounds, LogicalAddress);
    return *VirtualAddress ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

VOID IopFreeCommonBuffer(PDMA_ADAPTER Public, ULONG Length, PHYSICAL_ADDRESS LogicalAddress, PVOID VirtualAddress,
                         BOOLEAN CacheEnabled)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_BUFFER *Found = NULL;
    KiAcquireLock(&Adapter->Lock);
    for (LIST_ENTRY *Entry = Adapter->Buffers.Flink; Entry != &Adapter->Buffers && !Found; Entry = Entry->Flink) {
        IOP_BUFFER *Buffer = CONTAINING_RECORD(Entry, IOP_BUFFER, Link);
        if (Buffer->Va == VirtualAddress && Buffer->Length == Length && Buffer->Logical.QuadPart == LogicalAddress.QuadPart &&
            (Buffer->Borrowed || Buffer->CacheEnabled == (CacheEnabled != FALSE)))
            Found = Buffer;
    }
    if (Found) {
        RemoveEntryList(&Found->Link);
        Adapter->BufferCount--;
    }
    KiReleaseLock(&Adapter->Lock);
    if (Found == NULL)
        IopDmaStop("A common buffer was freed that is not allocated, or with other arguments than it was allocated with.", 3, 1,
                   0, 0);
    IopEndBuffer(Found);
}

/* ---- vectors ---- */
struct _DMA_COMMON_BUFFER_VECTOR {
    ULONG Count, Size;
    BOOLEAN Cached;
    struct {
        PVOID Va; /* NULL: freed */
        PHYSICAL_ADDRESS Logical;
    } Elements[];
};

NTSTATUS IopAllocateCommonBufferVector(PDMA_ADAPTER Public, PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress,
                                       MEMORY_CACHING_TYPE CacheType, ULONG IdealNode, ULONG Flags, ULONG NumberOfElements,
                                       ULONGLONG SizeOfElements, PDMA_COMMON_BUFFER_VECTOR *VectorOut)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    IOP_BOUNDS Bounds = {
        .Low = (ULONG64)LowAddress.QuadPart, .High = (ULONG64)HighAddress.QuadPart, .Node = IdealNode | MM_ANY_NODE_OK};
    if (NumberOfElements == 0 || NumberOfElements > 0x10000 || SizeOfElements == 0 || SizeOfElements > MAXULONG ||
        !IopSetForm(&Bounds, &CacheType, Flags))
        return STATUS_INVALID_PARAMETER;
    PDMA_COMMON_BUFFER_VECTOR Vector =
        ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Vector + NumberOfElements * sizeof Vector->Elements[0], IOP_DMA_TAG);
    if (Vector == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Vector->Size = (ULONG)SizeOfElements;
    Vector->Cached = Bounds.Cached;
    while (Vector->Count < NumberOfElements) {
        Vector->Elements[Vector->Count].Va =
            IopMakeBuffer(Adapter, Adapter->Domain, (ULONG)SizeOfElements, &Bounds, &Vector->Elements[Vector->Count].Logical);
        if (Vector->Elements[Vector->Count].Va == NULL) {
            IopFreeCommonBufferVector(Public, Vector);
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        Vector->Count++;
    }
    *VectorOut = Vector;
    return STATUS_SUCCESS;
}

VOID IopGetCommonBufferFromVectorByIndex(PDMA_ADAPTER Public, PDMA_COMMON_BUFFER_VECTOR Vector, ULONG Index,
                                         PVOID *VirtualAddressOut, PPHYSICAL_ADDRESS LogicalAddressOut)
{
    (VOID) IopCheckAdapter(Public, HIGH_LEVEL);
    *VirtualAddressOut = Index < Vector->Count ? Vector->Elements[Index].Va : NULL;
    LogicalAddressOut->QuadPart = *VirtualAddressOut ? Vector->Elements[Index].Logical.QuadPart : 0;
}

VOID IopFreeCommonBufferFromVector(PDMA_ADAPTER Public, PDMA_COMMON_BUFFER_VECTOR Vector, ULONG Index)
{
    if (Index >= Vector->Count || Vector->Elements[Index].Va == NULL)
        IopDmaStop("An element of a common buffer vector was freed twice, or is none.", 3, 1, 0, 0);
    IopFreeCommonBuffer(Public, Vector->Size, Vector->Elements[Index].Logical, Vector->Elements[Index].Va, Vector->Cached);
    Vector->Elements[Index].Va = NULL;
}

VOID IopFreeCommonBufferVector(PDMA_ADAPTER Public, PDMA_COMMON_BUFFER_VECTOR Vector)
{
    for (ULONG Index = 0; Index < Vector->Count; Index++)
        if (Vector->Elements[Index].Va)
            IopFreeCommonBufferFromVector(Public, Vector, Index);
    ExFreePoolWithTag(Vector, IOP_DMA_TAG);
}

/* ---- of an MDL ---- */
NTSTATUS IopCreateCommonBufferFromMdl(PDMA_ADAPTER Public, PMDL Mdl, PDMA_COMMON_BUFFER_EXTENDED_CONFIGURATION ExtendedConfigs,
                                      ULONG ExtendedConfigsCount, PPHYSICAL_ADDRESS LogicalAddress)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, PASSIVE_LEVEL);
    ULONG64 Low = 0, High = Adapter->Limit, Access = IOP_DEVICE_READS | IOP_DEVICE_WRITES;
    ULONGLONG Offset = 0;
    ULONG Length = Mdl->ByteCount, Seen = 0;
    for (ULONG Index = 0; Index < ExtendedConfigsCount; Index++) {
        const DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION *Config = &ExtendedConfigs[Index];
        if ((ULONG)Config->ConfigType >= CommonBufferConfigTypeMax || (Seen & 1u << Config->ConfigType))
            return STATUS_INVALID_PARAMETER;
        Seen |= 1u << Config->ConfigType;
        if (Config->ConfigType == CommonBufferConfigTypeLogicalAddressLimits) {
            Low = (ULONG64)Config->LogicalAddressLimits.MinimumAddress.QuadPart;
            High = (ULONG64)Config->LogicalAddressLimits.MaximumAddress.QuadPart < High
                       ? (ULONG64)Config->LogicalAddressLimits.MaximumAddress.QuadPart
                       : High;
        } else if (Config->ConfigType == CommonBufferConfigTypeSubSection) {
            Offset = Config->SubSection.Offset;
            Length = Config->SubSection.Length;
        } else {
            if ((ULONG)Config->HardwareAccessType >= CommonBufferHardwareAccessMax)
                return STATUS_INVALID_PARAMETER;
            if (Config->HardwareAccessType != CommonBufferHardwareAccessReadWrite && !Adapter->Domain->Translates)
                return STATUS_NOT_SUPPORTED; /* "only permissible if ... using DMA Remapping" */
            Access = Config->HardwareAccessType == CommonBufferHardwareAccessReadOnly    ? IOP_DEVICE_READS
                     : Config->HardwareAccessType == CommonBufferHardwareAccessWriteOnly ? IOP_DEVICE_WRITES
                                                                                         : Access;
        }
    }
    if (Mdl->Next && !(Seen & 1u << CommonBufferConfigTypeSubSection))
        return STATUS_INVALID_PARAMETER;
    Mdl = IopFindMdl(Mdl, &Offset);
    if (Mdl == NULL || Length == 0 || Length > Mdl->ByteCount - Offset || (Length & (PAGE_SIZE - 1)) ||
        ((Mdl->ByteOffset + Offset) & (PAGE_SIZE - 1)) ||
        !(Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)))
        return STATUS_INVALID_PARAMETER;
    PVOID Va = (PUCHAR)Mdl->MappedSystemVa + Offset;
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl) + ((Mdl->ByteOffset + Offset) >> PAGE_SHIFT);
    for (ULONG Page = 1; !Adapter->Domain->Translates && Page < Length >> PAGE_SHIFT; Page++)
        if (Frames[Page] != Frames[0] + Page)
            return STATUS_INVALID_PARAMETER; /* the device would need them in one run */
    IOP_BUFFER *Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Buffer, IOP_DMA_TAG);
    if (Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (!IopShowBuffer(Adapter->Domain, Va, Length, 1, Low, High, Access, LogicalAddress)) {
        ExFreePoolWithTag(Buffer, IOP_DMA_TAG);
        return Adapter->Domain->Translates ? STATUS_INSUFFICIENT_RESOURCES : STATUS_INVALID_PARAMETER;
    }
    *Buffer = (IOP_BUFFER){.Va = Va,
                           .Length = Length,
                           .Logical = *LogicalAddress,
                           .Pages = Adapter->Domain->Translates ? Length >> PAGE_SHIFT : 0,
                           .Domain = Adapter->Domain,
                           .Borrowed = TRUE};
    IopKeep(Adapter, Buffer);
    return STATUS_SUCCESS;
}
