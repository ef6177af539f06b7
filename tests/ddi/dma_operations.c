/*
 * dma_operations.c - the members of DMA_OPERATIONS held to their pages, sentence by sentence: what dma.c has not.
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include "dma_kit.h"

static IRP Irps[2];
static struct {
    ULONG Calls;
    KIRQL Irql;
    PIRP Irp;
    PVOID Base;
    PSCATTER_GATHER_LIST List;
    PKTHREAD Thread;
    IO_ALLOCATION_ACTION Answer;
} Seen;
static void Note(PIRP Irp)
{
    Seen.Calls++;
    Seen.Irql = KeGetCurrentIrql();
    Seen.Irp = Irp;
    Seen.Thread = KeGetCurrentThread();
}
static IO_ALLOCATION_ACTION OnChannel(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object, (void)Context;
    Note(Irp);
    Seen.Base = MapRegisterBase;
    return Seen.Answer;
}
static VOID OnList(PDEVICE_OBJECT Object, PIRP Irp, PSCATTER_GATHER_LIST List, PVOID Context)
{
    (void)Object, (void)Context;
    Note(Irp);
    Seen.List = List;
}
static void Forget(IO_ALLOCATION_ACTION Answer)
{
    memset(&Seen, 0, sizeof(Seen));
    Seen.Answer = Answer;
}
static ULONG BitsOf(const DEVICE_DESCRIPTION *Description)
{
    ULONG Registers;
    DEVICE_DESCRIPTION Copy = *Description;
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Copy, &Registers);
    if (Adapter == NULL) {
        return 0;
    }
    ULONG Bits = CONTAINING_RECORD(Adapter, IOP_ADAPTER, Public)->AddressBits;
    OP(Adapter)->PutDmaAdapter(Adapter);
    return Bits;
}
static PDMA_ADAPTER GetSubordinate(ULONG Version)
{
    ULONG Registers;
    DEVICE_DESCRIPTION Slave = Describe(Version, 32, FALSE, 16 * PAGE_SIZE);
    Slave.Master = FALSE;
    return IoGetDmaAdapter(&Device, &Slave, &Registers);
}
static ULONG CacheOf(PVOID Va)
{
    return MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va))) & 0x18;
}
typedef struct _CONTEXT_BYTES {
    UCHAR Bytes[DMA_TRANSFER_CONTEXT_SIZE_V1] __attribute__((aligned(16)));
} CONTEXT_BYTES;
static PVOID Fresh(PDMA_ADAPTER Adapter, CONTEXT_BYTES *Context)
{
    assert_int_equal(OP(Adapter)->InitializeDmaTransferContext(Adapter, Context), STATUS_SUCCESS);
    return Context;
}

/* ---- IoGetDmaAdapter, DEVICE_DESCRIPTION ---- */
/* "DEVICE_DESCRIPTION_VERSION or DEVICE_DESCRIPTION_VERSION1: ... version 1 of the DMA_OPERATIONS structure", "VERSION2: version 2",
 * "VERSION3: version 3"; "regardless of the version ... DMA_ADAPTER->Version == 1". */
static void IoGetDmaAdapter_TableIsOfTheVersion(void **State)
{
    static const ULONG Sizes[] = {offsetof(DMA_OPERATIONS, CalculateScatterGatherList),
                                  offsetof(DMA_OPERATIONS, CalculateScatterGatherList),
                                  offsetof(DMA_OPERATIONS, GetDmaAdapterInfo), sizeof(DMA_OPERATIONS)};
    (void)State;
    for (ULONG Version = 0; Version < ARRAYSIZE(Sizes); Version++) {
        PDMA_ADAPTER Adapter = GetAdapter(Version, 64, TRUE, NULL);
        assert_non_null(Adapter);
        assert_int_equal(Adapter->Version, 1);
        assert_int_equal(OP(Adapter)->Size, Sizes[Version]);
        for (ULONG At = sizeof(PVOID); At < sizeof(DMA_OPERATIONS); At += sizeof(PVOID)) {
            PVOID Member;
            memcpy(&Member, (PUCHAR)OP(Adapter) + At, sizeof(Member));
            assert_int_equal(Member != NULL, At < Sizes[Version]);
        }
        OP(Adapter)->PutDmaAdapter(Adapter);
    }
}

/* "If Dma64BitAddresses is TRUE, Dma32BitAddresses is ignored"; "if ScatterGather is TRUE and InterfaceType is PCIBus,
 * Dma32BitAddresses is ignored and IoGetDmaAdapter assumes 32-bit DMA addresses"; version 3: both are "not used", "DmaAddressWidth must
 * be nonzero and must not exceed 64"; of a subordinate device it "is not used", and "the ScatterGather value is not used". */
static void DeviceDescription_AddressWidth(void **State)
{
    ULONG Registers;
    DMA_ADAPTER_INFO Info = {.Version = DMA_ADAPTER_INFO_VERSION1};
    (void)State;
    DEVICE_DESCRIPTION Two = Describe(2, 24, FALSE, PAGE_SIZE), Three = Describe(3, 24, TRUE, PAGE_SIZE);
    assert_int_equal(BitsOf(&Two), 24);
    Two.InterfaceType = PCIBus;
    assert_int_equal(BitsOf(&Two), 24);
    Two.ScatterGather = TRUE;
    assert_int_equal(BitsOf(&Two), 32);
    Two.Dma64BitAddresses = TRUE;
    assert_int_equal(BitsOf(&Two), 64);
    Three.Dma32BitAddresses = Three.Dma64BitAddresses = TRUE;
    Three.InterfaceType = PCIBus;
    assert_int_equal(BitsOf(&Three), 24);
    Three.DmaAddressWidth = 40;
    assert_int_equal(BitsOf(&Three), 40);
    Three.DmaAddressWidth = 0;
    assert_int_equal(BitsOf(&Three), 0);
    Three.DmaAddressWidth = 65;
    assert_int_equal(BitsOf(&Three), 0);
    Three.Master = FALSE;
    assert_int_equal(BitsOf(&Three), 32);
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Three, &Registers); /* with ScatterGather: the controller has none */
    assert_non_null(Adapter);
    assert_int_equal(OP(Adapter)->GetDmaAdapterInfo(Adapter, &Info), STATUS_SUCCESS);
    assert_int_equal(Info.V1.ScatterGatherLimit, 1);
    assert_int_equal(Info.V1.Flags, 0); /* "no flags are currently defined" */
    assert_int_equal(Info.V1.MinimumTransferUnit, 1);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* ---- common buffers ---- */
/* AllocateCommonBuffer: "CacheEnabled is ignored ... on x64 cached memory is enabled"; "at least a page"; "appears contiguous to the
 * device". AllocateCommonBufferEx: "If FALSE, it is disabled"; "from memory below this address", "NULL: no maximum"; "PreferredNode is a
 * number in the range 0 to N-1". */
static void AllocateCommonBuffer_CacheBoundsNode(void **State)
{
    PHYSICAL_ADDRESS Logical, Max = At(0x800000);
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 32, TRUE, NULL);
    for (ULONG Cached = 0; Cached < 2; Cached++) {
        PUCHAR Va = OP(Adapter)->AllocateCommonBuffer(Adapter, 2 * PAGE_SIZE + 1, &Logical, (BOOLEAN)Cached);
        assert_non_null(Va);
        assert_int_equal(CacheOf(Va), 0);
        assert_int_equal(Logical.QuadPart & (PAGE_SIZE - 1), 0);
        for (ULONG Page = 0; Page < 3; Page++) {
            assert_int_equal(MmGetPhysicalAddress(Va + Page * PAGE_SIZE).QuadPart, Logical.QuadPart + Page * PAGE_SIZE);
        }
        OP(Adapter)->FreeCommonBuffer(Adapter, 2 * PAGE_SIZE + 1, Logical, Va, (BOOLEAN)Cached);
        Va = OP(Adapter)->AllocateCommonBufferEx(Adapter, Cached ? &Max : NULL, PAGE_SIZE, &Logical, (BOOLEAN)Cached, 0);
        assert_non_null(Va);
        assert_int_equal(CacheOf(Va), Cached ? 0 : MI_PROT_NOCACHE);
        assert_true(!Cached || Logical.QuadPart + PAGE_SIZE <= 0x800000);
        OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, (BOOLEAN)Cached);
    }
    assert_null(OP(Adapter)->AllocateCommonBufferEx(Adapter, NULL, PAGE_SIZE, &Logical, TRUE, KeQueryHighestNodeNumber() + 1));
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* AllocateCommonBufferWithBounds, AllocateDomainCommonBuffer: "at and above this address"; "only values of MmNonCached and MmCached are
 * supported", NULL: "the hardware platform default"; DOMAIN_COMMON_BUFFER_LARGE_PAGE: "a larger page granularity of PAGE_SIZE * 512". */
static void AllocateCommonBufferWithBounds_FlagsAndTypes(void **State)
{
    static const struct {
        MEMORY_CACHING_TYPE Type;
        BOOLEAN Good;
        ULONG Cache;
    } Types[] = {{MmCached, TRUE, 0},
                 {MmNonCached, TRUE, MI_PROT_NOCACHE},
                 {MmWriteCombined, FALSE, 0},
                 {MmHardwareCoherentCached, FALSE, 0},
                 {MmMaximumCacheType, FALSE, 0}};
    PHYSICAL_ADDRESS Logical, Low = At(0x500000), High = At(0x5FFFFF);
    PVOID Va;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 32, TRUE, NULL);
    HANDLE Domain = OP(Adapter)->GetDmaDomain(Adapter);
    for (ULONG Index = 0; Index < ARRAYSIZE(Types); Index++) {
        MEMORY_CACHING_TYPE Type = Types[Index].Type;
        Va = OP(Adapter)->AllocateCommonBufferWithBounds(Adapter, &Low, &High, PAGE_SIZE, 0, &Type, 0, &Logical);
        assert_int_equal(Va != NULL, Types[Index].Good);
        if (Va) {
            assert_in_range(Logical.QuadPart, 0x500000, 0x5FF000);
            assert_int_equal(CacheOf(Va), Types[Index].Cache);
            OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, Type == MmCached);
        }
        NTSTATUS Status =
            OP(Adapter)->AllocateDomainCommonBuffer(Adapter, Domain, &High, PAGE_SIZE, 0, &Type, 0, &Logical, &Va);
        assert_int_equal(Status, Types[Index].Good ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER);
        if (NT_SUCCESS(Status)) {
            assert_in_range(Logical.QuadPart, 0, 0x5FF000);
            OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, Type == MmCached);
        }
    }
    Va = OP(Adapter)->AllocateCommonBufferWithBounds(Adapter, NULL, NULL, 100, DOMAIN_COMMON_BUFFER_LARGE_PAGE, NULL, 0,
                                                     &Logical);
    assert_non_null(Va);
    assert_int_equal(Logical.QuadPart & (512 * PAGE_SIZE - 1), 0);
    ((PUCHAR)Va)[512 * PAGE_SIZE - 1] = 1;
    assert_int_equal(MmGetPhysicalAddress((PUCHAR)Va + 511 * PAGE_SIZE).QuadPart, Logical.QuadPart + 511 * PAGE_SIZE);
    OP(Adapter)->FreeCommonBuffer(Adapter, 100, Logical, Va, TRUE);
    assert_null(OP(Adapter)->AllocateCommonBufferWithBounds(Adapter, NULL, NULL, 100, 0x80, NULL, 0, &Logical));
    assert_int_equal(OP(Adapter)->AllocateDomainCommonBuffer(Adapter, Domain, NULL, 100, 0x80, NULL, 0, &Logical, &Va),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(OP(Adapter)->AllocateDomainCommonBuffer(Adapter, &Low, NULL, 100, 0, NULL, 0, &Logical, &Va),
                     STATUS_INVALID_HANDLE);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* CreateCommonBufferFromMdl: "with SubSection ... a chained MDL can be provided, but the portion must be contained in a single MDL";
 * "ReadOnly and WriteOnly are only permissible if the DMA Adapter is using DMA Remapping": STATUS_NOT_SUPPORTED; "accessible to the device";
 * the limits are inclusive. "The driver is still responsible for unlocking and freeing the MDL". */
static void CreateCommonBufferFromMdl_ChainsAndConfigurations(void **State)
{
    PHYSICAL_ADDRESS Logical;
    KIT_MDL One, Two;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, NULL);
    PUCHAR First = MmAllocateContiguousMemory(2 * PAGE_SIZE, At(~0ull)),
           Second = MmAllocateContiguousMemory(2 * PAGE_SIZE, At(~0ull));
    MmInitializeMdl(&One.Mdl, First, 2 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(&One.Mdl);
    MmInitializeMdl(&Two.Mdl, Second, 2 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(&Two.Mdl);
    One.Mdl.Next = &Two.Mdl;
    DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION Part = {.ConfigType = CommonBufferConfigTypeSubSection,
                                                     .SubSection = {3 * PAGE_SIZE, PAGE_SIZE}};
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, NULL, 0, &Logical), STATUS_INVALID_PARAMETER);
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, &Part, 1, &Logical), STATUS_SUCCESS);
    assert_int_equal(Logical.QuadPart, MmGetPhysicalAddress(Second + PAGE_SIZE).QuadPart);
    OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Second + PAGE_SIZE, FALSE);
    Part.SubSection.Offset = PAGE_SIZE;
    Part.SubSection.Length = 2 * PAGE_SIZE; /* in both */
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, &Part, 1, &Logical), STATUS_INVALID_PARAMETER);
    Part.SubSection.Offset = 100;
    Part.SubSection.Length = PAGE_SIZE;
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, &Part, 1, &Logical), STATUS_INVALID_PARAMETER);
    One.Mdl.Next = NULL;
    for (ULONG Access = CommonBufferHardwareAccessReadOnly; Access <= CommonBufferHardwareAccessMax; Access++) {
        DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION Rights = {.ConfigType = CommonBufferConfigTypeHardwareAccessPermissions,
                                                           .HardwareAccessType = Access};
        NTSTATUS Status = OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, &Rights, 1, &Logical);
        assert_int_equal(Status, Access == CommonBufferHardwareAccessMax         ? STATUS_INVALID_PARAMETER
                                 : Access == CommonBufferHardwareAccessReadWrite ? STATUS_SUCCESS
                                                                                 : STATUS_NOT_SUPPORTED);
        if (NT_SUCCESS(Status)) {
            OP(Adapter)->FreeCommonBuffer(Adapter, 2 * PAGE_SIZE, Logical, First, TRUE);
        }
    }
    PHYSICAL_ADDRESS Start = MmGetPhysicalAddress(First);
    DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION Limits = {.ConfigType = CommonBufferConfigTypeLogicalAddressLimits};
    Limits.LogicalAddressLimits.MinimumAddress = Start;
    Limits.LogicalAddressLimits.MaximumAddress = At((ULONG64)Start.QuadPart + 2 * PAGE_SIZE - 1);
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, &Limits, 1, &Logical), STATUS_SUCCESS);
    OP(Adapter)->FreeCommonBuffer(Adapter, 2 * PAGE_SIZE, Logical, First, TRUE);
    Limits.LogicalAddressLimits.MaximumAddress.QuadPart--;
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &One.Mdl, &Limits, 1, &Logical), STATUS_INVALID_PARAMETER);
    MmFreeContiguousMemory(First);
    MmFreeContiguousMemory(Second);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* ---- channels ---- */
/* AdapterControl: "Irp is equal to the value of the CurrentIrp member of DeviceObject when the callback routine was registered"; "called at
 * DISPATCH_LEVEL", also when FreeAdapterObject, which may be called below, lets the next one go on. */
static void AdapterControl_IrpAndIrql(void **State)
{
    CONTEXT_BYTES Context;
    PVOID Base;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, NULL);
    PMDL Mdl = ScatteredMdl(2, FALSE, 0, PAGE_SIZE);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Fresh(Adapter, &Context), 1,
                                                           DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
                     STATUS_SUCCESS);
    Forget(DeallocateObject);
    Device.CurrentIrp = &Irps[0];
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 1, OnChannel, NULL), STATUS_SUCCESS);
    Device.CurrentIrp = &Irps[1];
    KeLowerIrql(Old);
    OP(Adapter)->FreeAdapterObject(Adapter, KeepObject); /* "has no effect" */
    assert_int_equal(Seen.Calls, 0);
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
    assert_int_equal(Seen.Calls, 1);
    assert_ptr_equal(Seen.Irp, &Irps[0]);
    assert_int_equal(Seen.Irql, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    Old = AtDispatch();
    assert_int_equal(
        OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 100, OnList, NULL, TRUE),
        STATUS_SUCCESS);
    assert_ptr_equal(Seen.Irp, &Irps[1]);
    OP(Adapter)->PutScatterGatherList(Adapter, Seen.List, TRUE);
    KeLowerIrql(Old);
    Device.CurrentIrp = NULL;
    FreeScattered(Mdl, 2);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

static PDMA_ADAPTER Again;
static void AllocateFromWithin(void *Unused)
{
    (void)Unused;
    (void)OP(Again)->AllocateAdapterChannel(Again, &Device, 1, OnChannel, NULL);
}
static IO_ALLOCATION_ACTION Greedy(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object, (void)Irp, (void)MapRegisterBase, (void)Context;
    ntmm_bugcheck Stop;
    assert_true(ntmm_catch(AllocateFromWithin, NULL, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DMA_VIOLATION);
    assert_int_equal(Stop.parameters[0], 0xB);
    assert_int_equal(Stop.parameters[1], 1);
    return DeallocateObject;
}
/* "A driver must not call AllocateAdapterChannel from within its AdapterControl routine." */
static void AllocateAdapterChannel_FromAdapterControl_IsE6_B(void **State)
{
    (void)State;
    Again = GetAdapter(2, 64, TRUE, NULL);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Again)->AllocateAdapterChannel(Again, &Device, 1, Greedy, NULL), STATUS_SUCCESS);
    KeLowerIrql(Old);
    OP(Again)->PutDmaAdapter(Again);
}

/* AllocateAdapterChannelEx: "fails if MapRegisterBase is non-NULL and the DMA_SYNCHRONOUS_CALLBACK flag is not set, or if
 * MapRegisterBase and ExecutionRoutine are both NULL"; "this routine is to be called in the context of the calling thread, before
 * AllocateAdapterChannelEx returns"; the context "must be unique across all adapter allocation requests". InitializeDmaTransferContext:
 * STATUS_INVALID_PARAMETERS. */
static void AllocateAdapterChannelEx_Parameters(void **State)
{
    CONTEXT_BYTES One, Two;
    PVOID Base;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, NULL);
    assert_int_equal(OP(Adapter)->InitializeDmaTransferContext(Adapter, NULL), STATUS_INVALID_PARAMETER);
    (void)Fresh(Adapter, &One);
    (void)Fresh(Adapter, &Two);
    KIRQL Old = AtDispatch();
    const struct {
        ULONG Flags;
        PDRIVER_CONTROL Routine;
        PVOID *Base;
    } Bad[] = {{0, OnChannel, &Base},
               {0, NULL, &Base},
               {0, NULL, NULL},
               {DMA_SYNCHRONOUS_CALLBACK, NULL, NULL},
               {0x80, OnChannel, NULL}};
    for (ULONG Index = 0; Index < ARRAYSIZE(Bad); Index++) {
        assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &One, 1, Bad[Index].Flags, Bad[Index].Routine,
                                                               NULL, Bad[Index].Base),
                         STATUS_INVALID_PARAMETER);
    }
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, NULL, 1, 0, OnChannel, NULL, NULL),
                     STATUS_INVALID_PARAMETER);
    Forget(KeepObject);
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &One, 1, DMA_SYNCHRONOUS_CALLBACK, OnChannel, NULL, &Base),
        STATUS_SUCCESS);
    assert_int_equal(Seen.Calls, 1);
    assert_ptr_equal(Seen.Thread, KeGetCurrentThread());
    assert_ptr_equal(Seen.Base, Base);
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &Two, 1, 0, OnChannel, NULL, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &Two, 1, 0, OnChannel, NULL, NULL),
                     STATUS_INVALID_PARAMETER); /* it waits */
    assert_int_equal(Seen.Calls, 1);
    Seen.Answer = DeallocateObject;
    /* "releases the adapter object, but does not release any map registers"; "must explicitly release any ... by FreeMapRegisters" */
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObjectKeepRegisters);
    assert_int_equal(Seen.Calls, 2);
    OP(Adapter)->FreeMapRegisters(Adapter, Base, 1);
    KeLowerIrql(Old);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* CancelAdapterChannel: "TRUE, if the adapter object is waiting ... the AdapterControl routine is not called", "FALSE, if the routine was
 * already called"; it "can preemptively cancel future channel allocation requests that use the specified DMA transfer context". */
static void CancelAdapterChannel_WaitingEarlyAndLate(void **State)
{
    CONTEXT_BYTES Held, Other;
    PVOID Base;
    ULONG Registers;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 24, TRUE, &Registers);
    PMDL Mdl = ScatteredMdl(2, TRUE, 0, PAGE_SIZE);
    PSCATTER_GATHER_LIST List;
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Fresh(Adapter, &Held), Registers,
                                                           DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
                     STATUS_SUCCESS);
    assert_false(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, &Held)); /* allocated */
    Forget(DeallocateObject);
    assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, Fresh(Adapter, &Other), Mdl, 0, 100, 0, OnList, NULL,
                                                         TRUE, NULL, NULL, NULL),
                     STATUS_SUCCESS); /* there is no map register left: it waits */
    assert_true(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, &Other));
    assert_false(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, &Other));
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &Other, 1, 0, OnChannel, NULL, NULL),
                     STATUS_CANCELLED);
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
    assert_int_equal(Seen.Calls, 0);
    assert_true(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, Fresh(Adapter, &Other))); /* before the request */
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &Other, 1, 0, OnChannel, NULL, NULL),
                     STATUS_CANCELLED);
    assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, &Other, Mdl, 0, 100, DMA_SYNCHRONOUS_CALLBACK, NULL,
                                                         NULL, TRUE, NULL, NULL, &List),
                     STATUS_CANCELLED);
    assert_int_equal(Seen.Calls, 0);
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Fresh(Adapter, &Other), 1, 0, OnChannel, NULL, NULL),
        STATUS_SUCCESS);
    assert_int_equal(Seen.Calls, 1);
    assert_false(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, NULL));
    KeLowerIrql(Old);
    FreeScattered(Mdl, 2);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

static PDMA_ADAPTER Raced;
static LONG RacedCalls, RacedEnd;
static IO_ALLOCATION_ACTION CountCall(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object, (void)Irp, (void)MapRegisterBase, (void)Context;
    __atomic_add_fetch(&RacedCalls, 1, __ATOMIC_SEQ_CST);
    return DeallocateObject;
}
/* Holds the channel, and gives it back to whoever waits. */
static void *HoldAndFree(void *Unused)
{
    CONTEXT_BYTES Context;
    PVOID Base;
    while (!__atomic_load_n(&RacedEnd, __ATOMIC_SEQ_CST)) {
        (void)OP(Raced)->InitializeDmaTransferContext(Raced, &Context);
        KIRQL Old = AtDispatch();
        NTSTATUS Status =
            OP(Raced)->AllocateAdapterChannelEx(Raced, &Device, &Context, 1, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base);
        KeLowerIrql(Old);
        if (NT_SUCCESS(Status)) {
            OP(Raced)->FreeAdapterObject(Raced, DeallocateObject);
        }
    }
    return Unused;
}
/* A request that is cancelled while the channel is given back by another thread: either CancelAdapterChannel is TRUE, or the routine is
 * called, and never both or neither. */
static void CancelAdapterChannel_RacesWithTheGrant(void **State)
{
    pthread_t Other;
    LONG Expected = 0;
    (void)State;
    Raced = GetAdapter(3, 64, TRUE, NULL);
    RacedCalls = RacedEnd = 0;
    assert_int_equal(pthread_create(&Other, NULL, HoldAndFree, NULL), 0);
    for (ULONG Round = 0; Round < 3000; Round++) {
        CONTEXT_BYTES Context;
        (void)Fresh(Raced, &Context);
        KIRQL Old = AtDispatch();
        assert_int_equal(OP(Raced)->AllocateAdapterChannelEx(Raced, &Device, &Context, 1, 0, CountCall, NULL, NULL),
                         STATUS_SUCCESS);
        KeLowerIrql(Old);
        if (!OP(Raced)->CancelAdapterChannel(Raced, &Device, &Context)) {
            Expected++;
            while (__atomic_load_n(&RacedCalls, __ATOMIC_SEQ_CST) != Expected) { /* "or is about to be called" */
                YieldProcessor();
            }
        }
        assert_int_equal(__atomic_load_n(&RacedCalls, __ATOMIC_SEQ_CST), Expected);
    }
    __atomic_store_n(&RacedEnd, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(pthread_join(Other, NULL), 0);
    assert_int_equal(RacedCalls, Expected);
    OP(Raced)->PutDmaAdapter(Raced);
}

/* ---- mapping ---- */
static PDMA_ADAPTER MapAdapter;
static PMDL MapMdl;
static PVOID MapBase;
static void MapTooMuch(void *Unused)
{
    ULONG Length = 3 * PAGE_SIZE;
    (void)Unused;
    (void)OP(MapAdapter)->MapTransfer(MapAdapter, MapMdl, MapBase, MmGetMdlVirtualAddress(MapMdl), &Length, TRUE);
}
/* MapTransfer, not a "bus master with scatter/gather support": "the input and output values of Length are identical". */
static void MapTransfer_WithoutScatterGather_LengthStays(void **State)
{
    (void)State;
    MapAdapter = GetAdapter(2, 64, FALSE, NULL);
    MapMdl = ScatteredMdl(4, TRUE, 0x300, 3 * PAGE_SIZE);
    Forget(DeallocateObjectKeepRegisters);
    KIRQL Old = AtDispatch();
    for (ULONG Registers = 2; Registers <= 4; Registers += 2) {
        assert_int_equal(OP(MapAdapter)->AllocateAdapterChannel(MapAdapter, &Device, Registers, OnChannel, NULL),
                         STATUS_SUCCESS);
        MapBase = Seen.Base;
        if (Registers == 2) { /* which cannot be kept with two */
            KeLowerIrql(Old);
            KitExpectStop(MapTooMuch, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0, 2, 4, 2);
            Old = AtDispatch();
            (void)OP(MapAdapter)
                ->FlushAdapterBuffers(MapAdapter, MapMdl, MapBase, MmGetMdlVirtualAddress(MapMdl), 2 * PAGE_SIZE - 0x300, TRUE);
        } else {
            ULONG Length = 3 * PAGE_SIZE;
            (void)OP(MapAdapter)->MapTransfer(MapAdapter, MapMdl, MapBase, MmGetMdlVirtualAddress(MapMdl), &Length, TRUE);
            assert_int_equal(Length, 3 * PAGE_SIZE);
            (void)OP(MapAdapter)
                ->FlushAdapterBuffers(MapAdapter, MapMdl, MapBase, MmGetMdlVirtualAddress(MapMdl), Length, TRUE);
        }
        OP(MapAdapter)->FreeMapRegisters(MapAdapter, MapBase, Registers);
    }
    KeLowerIrql(Old);
    FreeScattered(MapMdl, 4);
    OP(MapAdapter)->PutDmaAdapter(MapAdapter);
}

static void MapAgain(void *List)
{
    ULONG Length = 100;
    (void)OP(MapAdapter)->MapTransferEx(MapAdapter, MapMdl, MapBase, 0, 0, &Length, TRUE, List, 256, NULL, NULL);
}
/* MapTransferEx: "If Offset = N, where N1 < N < N1 + N2, the buffer ... starts at an offset of N - N1 bytes in MDL2"; "the scatter/gather
 * buffer might not be large enough to describe the entire buffer ... *Length ... tells how much"; "too small to contain a list of at least
 * one element ... STATUS_INVALID_PARAMETER"; ScatterGatherBuffer "is a required parameter" of bus masters; "For a bus-master adapter, set
 * [DmaCompletionRoutine] to NULL"; FlushAdapterBuffersEx "must occur before the next MapTransferEx call". */
static void Complete(PDMA_ADAPTER Adapter, PDEVICE_OBJECT Object, PVOID Context, DMA_COMPLETION_STATUS Status)
{
    (void)Adapter, (void)Object;
    *(ULONG *)Context = 0x10000u | Status;
}
static void MapTransferEx_OffsetsLengthsAndBuffers(void **State)
{
    CONTEXT_BYTES Context;
    UCHAR Room[512] __attribute__((aligned(16)));
    PSCATTER_GATHER_LIST List = (PSCATTER_GATHER_LIST)Room;
    ULONG Length = 3 * PAGE_SIZE;
    (void)State;
    MapAdapter = GetAdapter(3, 64, TRUE, NULL);
    MapMdl = ScatteredMdl(4, TRUE, 0x10, PAGE_SIZE);
    PMDL Second = ScatteredMdl(4, TRUE, 0x20, 3 * PAGE_SIZE);
    MapMdl->Next = Second;
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(MapAdapter)
                         ->AllocateAdapterChannelEx(MapAdapter, &Device, Fresh(MapAdapter, &Context), 8,
                                                    DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &MapBase),
                     STATUS_SUCCESS);
    assert_int_equal(OP(MapAdapter)->MapTransferEx(MapAdapter, MapMdl, MapBase, 0, 0, &Length, TRUE, NULL, 0, NULL, NULL),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(
        OP(MapAdapter)->MapTransferEx(MapAdapter, MapMdl, MapBase, 0, 0, &Length, TRUE, List, sizeof(Room), Complete, NULL),
        STATUS_INVALID_PARAMETER);
    assert_int_equal(OP(MapAdapter)
                         ->MapTransferEx(MapAdapter, MapMdl, MapBase, 0, 0, &Length, TRUE, List,
                                         sizeof(SCATTER_GATHER_LIST) + sizeof(SCATTER_GATHER_ELEMENT) - 1, NULL, NULL),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(
        OP(MapAdapter)
            ->MapTransferEx(MapAdapter, MapMdl, MapBase, 4 * PAGE_SIZE, 0, &Length, TRUE, List, sizeof(Room), NULL, NULL),
        STATUS_INVALID_PARAMETER); /* "0 to N-1" */
    /* from the second MDL's 256th byte on; one element at a time */
    ULONG Done = 0;
    for (ULONGLONG Offset = PAGE_SIZE + 0x100; Done < 2 * PAGE_SIZE; Offset += Length) {
        Length = 2 * PAGE_SIZE - Done;
        assert_int_equal(OP(MapAdapter)
                             ->MapTransferEx(MapAdapter, MapMdl, MapBase, Offset, 0, &Length, TRUE, List,
                                             sizeof(SCATTER_GATHER_LIST) + sizeof(SCATTER_GATHER_ELEMENT), NULL, NULL),
                         STATUS_SUCCESS);
        assert_int_equal(List->NumberOfElements, 1);
        assert_int_equal(List->Elements[0].Length, Length);
        ULONG At = (ULONG)Offset - PAGE_SIZE + 0x20;
        assert_int_equal(List->Elements[0].Address.QuadPart,
                         (MmGetMdlPfnArray(Second)[At >> PAGE_SHIFT] << PAGE_SHIFT) + (At & (PAGE_SIZE - 1)));
        KeLowerIrql(Old);
        KitExpectStop(MapAgain, Room, DRIVER_VERIFIER_DMA_VIOLATION, 0xD, Length, 8 * PAGE_SIZE, 0);
        Old = AtDispatch();
        assert_int_equal(OP(MapAdapter)->FlushAdapterBuffersEx(MapAdapter, MapMdl, MapBase, Offset, Length, TRUE),
                         STATUS_SUCCESS);
        Done += Length;
    }
    OP(MapAdapter)->FreeAdapterObject(MapAdapter, DeallocateObject);
    assert_int_equal(OP(MapAdapter)->FlushDmaBuffer(MapAdapter, MapMdl, TRUE), STATUS_SUCCESS);
    KeLowerIrql(Old);
    FreeScattered(Second, 4);
    MapMdl->Next = NULL;
    FreeScattered(MapMdl, 4);
    OP(MapAdapter)->PutDmaAdapter(MapAdapter);
}

static ULONG MappedLength;
static void CompleteAndLook(PDMA_ADAPTER Adapter, PDEVICE_OBJECT Object, PVOID Context, DMA_COMPLETION_STATUS Status)
{
    assert_int_equal(MappedLength, 3000);
    Complete(Adapter, Object, Context, Status);
}
/* System DMA: "the caller can set ScatterGatherBuffer = NULL"; "the updated *Length output value is always written before the
 * DmaCompletionRoutine runs". CancelMappedTransfer "marks the associated transfer context as canceled, which prevents any further transfers
 * under this context", "its completion routine is called, but the status might be DmaCancelled"; MapTransferEx: STATUS_CANCELLED. */
static void SystemDma_DefaultBufferAndCancelledContext(void **State)
{
    static UCHAR Bytes[4096];
    CONTEXT_BYTES Context, Stranger;
    ULONG Completed = 0, Rest = 1000;
    PVOID Base;
    (void)State;
    PDMA_ADAPTER Adapter = GetSubordinate(3);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    PMDL Mdl = ScatteredMdl(2, FALSE, 0, PAGE_SIZE);
    (void)Fresh(Adapter, &Stranger);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Fresh(Adapter, &Context), 2,
                                                           DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
                     STATUS_SUCCESS);
    MappedLength = 3000;
    assert_int_equal(
        OP(Adapter)->MapTransferEx(Adapter, Mdl, Base, 0, 0, &MappedLength, FALSE, NULL, 0, CompleteAndLook, &Completed),
        STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->CancelMappedTransfer(Adapter, &Stranger), STATUS_UNSUCCESSFUL); /* not of this transfer */
    assert_int_equal(ntmm_device_system_dma(Hardware, Bytes, 3000), 3000);
    assert_int_equal(Completed, 0x10000u | DmaComplete);
    assert_int_equal(OP(Adapter)->FlushAdapterBuffersEx(Adapter, Mdl, Base, 0, 3000, FALSE), STATUS_SUCCESS);
    MappedLength = 3000;
    assert_int_equal(
        OP(Adapter)->MapTransferEx(Adapter, Mdl, Base, 0, 0, &MappedLength, FALSE, NULL, 0, CompleteAndLook, &Completed),
        STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->CancelMappedTransfer(Adapter, &Context), STATUS_SUCCESS);
    assert_int_equal(Completed, 0x10000u | DmaCancelled);
    assert_int_equal(OP(Adapter)->FlushAdapterBuffersEx(Adapter, Mdl, Base, 0, 3000, FALSE), STATUS_SUCCESS); /* "always" */
    assert_int_equal(OP(Adapter)->MapTransferEx(Adapter, Mdl, Base, 3000, 0, &Rest, FALSE, NULL, 0, NULL, NULL),
                     STATUS_CANCELLED);
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, &Context, 2, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
        STATUS_CANCELLED);
    KeLowerIrql(Old);
    FreeScattered(Mdl, 2);
    ntmm_device_destroy(Hardware);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* ---- lists ---- */
/* GetScatterGatherListEx: "<= DISPATCH_LEVEL", its routine at DISPATCH_LEVEL; "do not use for a system DMA adapter"; "fails if
 * DMA_SYNCHRONOUS_CALLBACK is set and ScatterGatherList and ExecutionRoutine are both NULL, or if it is not set and ExecutionRoutine is NULL";
 * Offset "0 to N-1", Length "1 to N-Offset". BuildScatterGatherListEx: the output pointer "always matches ScatterGatherBuffer";
 * STATUS_BUFFER_TOO_SMALL. */
static void ListsEx_Parameters(void **State)
{
    CONTEXT_BYTES Context;
    UCHAR Room[256] __attribute__((aligned(16)));
    PSCATTER_GATHER_LIST List = NULL;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, NULL), System = GetSubordinate(3);
    PMDL Mdl = ScatteredMdl(2, FALSE, 0, PAGE_SIZE);
    (void)Fresh(Adapter, &Context);
    const struct {
        ULONGLONG Offset;
        ULONG Length, Flags;
        PDRIVER_LIST_CONTROL Routine;
        PSCATTER_GATHER_LIST *List;
    } Bad[] = {{PAGE_SIZE, 1, 0, OnList, NULL},
               {0, 0, 0, OnList, NULL},
               {1, PAGE_SIZE, 0, OnList, NULL},
               {0, 100, 0, NULL, &List},
               {0, 100, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL},
               {0, 100, 0x80, OnList, NULL}};
    KIRQL Old = AtDispatch();
    for (ULONG Index = 0; Index < ARRAYSIZE(Bad); Index++) {
        assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, &Context, Mdl, Bad[Index].Offset,
                                                             Bad[Index].Length, Bad[Index].Flags, Bad[Index].Routine, NULL,
                                                             TRUE, NULL, NULL, Bad[Index].List),
                         STATUS_INVALID_PARAMETER);
        assert_int_equal(OP(Adapter)->BuildScatterGatherListEx(Adapter, &Device, &Context, Mdl, Bad[Index].Offset,
                                                               Bad[Index].Length, Bad[Index].Flags, Bad[Index].Routine, NULL,
                                                               TRUE, Room, sizeof(Room), NULL, NULL, Bad[Index].List),
                         STATUS_INVALID_PARAMETER);
    }
    assert_int_equal(OP(Adapter)->BuildScatterGatherListEx(Adapter, &Device, &Context, Mdl, 0, 100, 0, OnList, NULL, TRUE, NULL,
                                                           0, NULL, NULL, NULL),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(OP(Adapter)->BuildScatterGatherListEx(Adapter, &Device, &Context, Mdl, 0, 100, 0, OnList, NULL, TRUE, Room,
                                                           20, NULL, NULL, NULL),
                     STATUS_BUFFER_TOO_SMALL);
    Forget(KeepObject);
    assert_int_equal(OP(Adapter)->BuildScatterGatherListEx(Adapter, &Device, &Context, Mdl, 0, 100, DMA_SYNCHRONOUS_CALLBACK,
                                                           OnList, NULL, TRUE, Room, sizeof(Room), NULL, NULL, &List),
                     STATUS_SUCCESS);
    assert_ptr_equal(List, Room);
    assert_ptr_equal(Seen.List, Room);
    assert_ptr_equal(Seen.Thread, KeGetCurrentThread());
    OP(Adapter)->PutScatterGatherList(Adapter, List, TRUE);
    assert_int_equal(OP(System)->GetScatterGatherListEx(System, &Device, Fresh(System, &Context), Mdl, 0, 100, 0, OnList, NULL,
                                                        TRUE, NULL, NULL, NULL),
                     STATUS_INVALID_PARAMETER);
    KeLowerIrql(Old);
    assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, Fresh(Adapter, &Context), Mdl, 0, 100, 0, OnList,
                                                         NULL, TRUE, NULL, NULL, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(Seen.Irql, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    Old = AtDispatch();
    OP(Adapter)->PutScatterGatherList(Adapter, Seen.List, TRUE);
    KeLowerIrql(Old);
    FreeScattered(Mdl, 2);
    OP(System)->PutDmaAdapter(System);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* "If the driver does not supply an AdapterListControl routine ... the driver must call FreeAdapterObject to free the resources";
 * FreeAdapterObject: DeallocateObject "releases any map registers", DeallocateObjectKeepRegisters "does not". PutScatterGatherList, which
 * frees the list, may come after either, or alone. */
static void ListsEx_WithoutRoutine_FreeAdapterObject(void **State)
{
    CONTEXT_BYTES Context;
    UCHAR Room[256] __attribute__((aligned(16)));
    PSCATTER_GATHER_LIST List;
    ULONG Registers;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 24, TRUE, &Registers);
    PMDL Mdl = ScatteredMdl(4, TRUE, 0, 2 * PAGE_SIZE);
    UCHAR *Va = Mapped(Mdl);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    for (ULONG Way = 0; Way < 6; Way++) {
        memset(Va, 0x11, 2 * PAGE_SIZE);
        (void)Fresh(Adapter, &Context);
        KIRQL Old = AtDispatch();
        NTSTATUS Status =
            Way < 3 ? OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, &Context, Mdl, 0, 2 * PAGE_SIZE,
                                                          DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, FALSE, NULL, NULL, &List)
                    : OP(Adapter)->BuildScatterGatherListEx(Adapter, &Device, &Context, Mdl, 0, 2 * PAGE_SIZE,
                                                            DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, FALSE, Room, sizeof(Room),
                                                            NULL, NULL, &List);
        assert_int_equal(Status, STATUS_SUCCESS);
        KeLowerIrql(Old);
        ntmm_device_write(Hardware, (uint64_t)List->Elements[0].Address.QuadPart, "moved", 6);
        assert_int_equal(Va[0], 0x11); /* bounced */
        if (Way % 3 == 0) {
            OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
            assert_string_equal((char *)Va, "moved");
            assert_int_equal(CONTAINING_RECORD(Adapter, IOP_ADAPTER, Public)->SetCount, 0);
        } else if (Way % 3 == 1) {
            OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObjectKeepRegisters);
            assert_int_equal(CONTAINING_RECORD(Adapter, IOP_ADAPTER, Public)->SetCount, 1);
        }
        if (Way != 3) { /* that one is left: its buffer serves again, and the adapter may go */
            Old = AtDispatch();
            OP(Adapter)->PutScatterGatherList(Adapter, List, FALSE);
            KeLowerIrql(Old);
        }
        assert_string_equal((char *)Va, "moved");
    }
    (void)Fresh(Adapter, &Context);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, &Context, Mdl, 0, 100, DMA_SYNCHRONOUS_CALLBACK,
                                                         NULL, NULL, FALSE, NULL, NULL, &List),
                     STATUS_SUCCESS);
    KeLowerIrql(Old);
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
    OP(Adapter)->PutDmaAdapter(Adapter);
    ntmm_device_destroy(Hardware);
    FreeScattered(Mdl, 4);
}

/* GetScatterGatherList: "the number of map registers required is larger than the value returned by IoGetDmaAdapter":
 * STATUS_INSUFFICIENT_RESOURCES; it "does not have the queuing restrictions"; "the driver should retain this pointer".
 * CalculateScatterGatherList: "if NULL for the Mdl ... the maximum possible size"; pNumberOfMapRegisters "either NULL or"; any IRQL;
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_BUFFER_TOO_SMALL. */
static void Lists_SizesAndLimits(void **State)
{
    ULONG Registers, Size, Most, Needed;
    KIRQL Old;
    DEVICE_DESCRIPTION Small = Describe(2, 24, TRUE, PAGE_SIZE);
    (void)State;
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Small, &Registers);
    assert_int_equal(Registers, 2);
    PMDL Mdl = ScatteredMdl(4, TRUE, 0, 4 * PAGE_SIZE);
    PUCHAR Va = MmGetMdlVirtualAddress(Mdl);
    KeRaiseIrql(HIGH_LEVEL, &Old);
    assert_int_equal(OP(Adapter)->CalculateScatterGatherList(Adapter, NULL, Va + 1, PAGE_SIZE, &Most, &Needed), STATUS_SUCCESS);
    KeLowerIrql(Old);
    assert_int_equal(Needed, 2);
    assert_int_equal(OP(Adapter)->CalculateScatterGatherList(Adapter, Mdl, Va, 2 * PAGE_SIZE, &Size, NULL), STATUS_SUCCESS);
    assert_in_range(Size, sizeof(SCATTER_GATHER_LIST) + sizeof(SCATTER_GATHER_ELEMENT), Most);
    assert_int_equal(OP(Adapter)->CalculateScatterGatherList(Adapter, Mdl, Va, 3 * PAGE_SIZE, &Size, NULL),
                     STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(OP(Adapter)->CalculateScatterGatherList(Adapter, Mdl, Va, 5 * PAGE_SIZE, &Size, NULL),
                     STATUS_BUFFER_TOO_SMALL);
    Old = AtDispatch();
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, Va, 3 * PAGE_SIZE, OnList, NULL, TRUE),
                     STATUS_INSUFFICIENT_RESOURCES);
    Forget(KeepObject);
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, Va, 100, OnList, NULL, TRUE), STATUS_SUCCESS);
    PSCATTER_GATHER_LIST First = Seen.List;
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, Va + PAGE_SIZE, 100, OnList, NULL, TRUE),
                     STATUS_SUCCESS);
    PSCATTER_GATHER_LIST Second = Seen.List;
    assert_int_equal(Seen.Calls, 2);
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, Va, 100, OnList, NULL, TRUE), STATUS_SUCCESS);
    assert_int_equal(Seen.Calls, 2); /* waits for a register */
    OP(Adapter)->PutScatterGatherList(Adapter, First, TRUE);
    assert_int_equal(Seen.Calls, 3);
    OP(Adapter)->PutScatterGatherList(Adapter, Second, TRUE);
    /* BuildMdlFromScatterGatherList: "STATUS_INVALID_PARAMETER: OriginalMdl is NULL"; PutScatterGatherList "unmaps and frees the
     * associated MDLs". */
    PMDL Target;
    assert_int_equal(OP(Adapter)->BuildMdlFromScatterGatherList(Adapter, Seen.List, NULL, &Target), STATUS_INVALID_PARAMETER);
    assert_int_equal(OP(Adapter)->BuildMdlFromScatterGatherList(Adapter, Seen.List, Mdl, &Target), STATUS_SUCCESS);
    KeLowerIrql(Old);
    assert_ptr_not_equal(Target, Mdl);
    assert_non_null(Mapped(Target));
    Old = AtDispatch();
    OP(Adapter)->PutScatterGatherList(Adapter, Seen.List, TRUE);
    KeLowerIrql(Old);
    FreeScattered(Mdl, 4);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(IoGetDmaAdapter_TableIsOfTheVersion),
        cmocka_unit_test(DeviceDescription_AddressWidth),
        cmocka_unit_test(AllocateCommonBuffer_CacheBoundsNode),
        cmocka_unit_test(AllocateCommonBufferWithBounds_FlagsAndTypes),
        cmocka_unit_test(CreateCommonBufferFromMdl_ChainsAndConfigurations),
        cmocka_unit_test(AdapterControl_IrpAndIrql),
        cmocka_unit_test(AllocateAdapterChannel_FromAdapterControl_IsE6_B),
        cmocka_unit_test(AllocateAdapterChannelEx_Parameters),
        cmocka_unit_test(CancelAdapterChannel_WaitingEarlyAndLate),
        cmocka_unit_test(CancelAdapterChannel_RacesWithTheGrant),
        cmocka_unit_test(MapTransfer_WithoutScatterGather_LengthStays),
        cmocka_unit_test(MapTransferEx_OffsetsLengthsAndBuffers),
        cmocka_unit_test(SystemDma_DefaultBufferAndCancelledContext),
        cmocka_unit_test(ListsEx_Parameters),
        cmocka_unit_test(ListsEx_WithoutRoutine_FreeAdapterObject),
        cmocka_unit_test(Lists_SizesAndLimits),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
