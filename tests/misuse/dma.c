/*
 * dma.c - the sins with DMA: 0xE6 with all five numbers, and what an IOMMU stops. SPDX-License-Identifier: MIT
 */
#include "dma_kit.h"

static int StartIommu(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 2;
    Options.iommu = true;
    return ntmm_start(&Options);
}

static PDMA_ADAPTER Adapter;
static PMDL Mdl;
static PVOID Base, Va;
static PHYSICAL_ADDRESS Logical;
static PSCATTER_GATHER_LIST List;
static ULONG Length;

static IO_ALLOCATION_ACTION Keep(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)KeepRegisters(Object, Irp, MapRegisterBase, Context);
    return KeepObject;
}
static VOID TakeList(PDEVICE_OBJECT Object, PIRP Irp, PSCATTER_GATHER_LIST ScatterGather, PVOID Context)
{
    (void)Object;
    (void)Irp;
    (void)Context;
    List = ScatterGather;
}
static void Put(void *Unused)
{
    (void)Unused;
    OP(Adapter)->PutDmaAdapter(Adapter);
}
static PDMA_OPERATIONS Operations;
static void PutThis(void *This)
{
    Operations->PutDmaAdapter(This);
}
static void FreeBuffer(void *Unused)
{
    (void)Unused;
    OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
}
static void AllocateLow(void *Unused)
{
    (void)Unused;
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 1, Keep, &Base);
}
static void AllocateAgain(void *Unused)
{
    (void)Unused;
    KIRQL Old = AtDispatch();
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 1, Keep, &Base);
    KeLowerIrql(Old);
}
static void FreeChannel(void *Unused)
{
    (void)Unused;
    KIRQL Old = AtDispatch();
    OP(Adapter)->FreeAdapterChannel(Adapter);
    KeLowerIrql(Old);
}
static void FreeRegisters(void *This)
{
    KIRQL Old = AtDispatch();
    OP(Adapter)->FreeMapRegisters(Adapter, This, 2);
    KeLowerIrql(Old);
}
static void PutList(void *This)
{
    KIRQL Old = AtDispatch();
    OP(Adapter)->PutScatterGatherList(Adapter, This, TRUE);
    KeLowerIrql(Old);
}
static void Flush(void *Bytes)
{
    (void)OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), (ULONG)(ULONG_PTR)Bytes, TRUE);
}
static void MapAt(void *Where)
{
    ULONG Bytes = Length;
    (void)OP(Adapter)->MapTransfer(Adapter, Mdl, Base, Where, &Bytes, TRUE);
}
static void AllocateBufferHigh(void *Unused)
{
    (void)Unused;
    KIRQL Old = AtDispatch();
    (void)OP(Adapter)->AllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    KeLowerIrql(Old);
}

static void Adapters_Misused_AreE6(void **State)
{
    (void)State;
    Adapter = GetAdapter(2, 64, TRUE, NULL);
    Operations = OP(Adapter);
    KitExpectStop(PutThis, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x19, 0, 0, 0);
    KitExpectStop(AllocateBufferHigh, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x13, 2, PASSIVE_LEVEL, DISPATCH_LEVEL);
    KitExpectStop(AllocateLow, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x13, 1, DISPATCH_LEVEL, PASSIVE_LEVEL);
    Va = OP(Adapter)->AllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    KitExpectStop(Put, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 7, Adapter, 1, 0);
    Logical.QuadPart++;
    KitExpectStop(FreeBuffer, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 3, 1, 0, 0);
    Logical.QuadPart--;
    FreeBuffer(NULL);
    KitExpectStop(FreeBuffer, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 3, 1, 0, 0);
    KIRQL Old = AtDispatch();
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 1, Keep, &Base);
    KeLowerIrql(Old);
    KitExpectStop(Put, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 8, Adapter, 1, 0);
    KitExpectStop(AllocateAgain, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0xB, 1, 0, 0);
    FreeChannel(NULL);
    KitExpectStop(FreeChannel, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 4, 1, 0, 0);
    Old = AtDispatch();
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 2, KeepRegisters, &Base);
    KeLowerIrql(Old);
    KitExpectStop(Put, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 9, Adapter, 2, 0);
    FreeRegisters(Base);
    KitExpectStop(FreeRegisters, Base, DRIVER_VERIFIER_DMA_VIOLATION, 5, 2, 0, 0);
    Mdl = ScatteredMdl(2, TRUE, 0, PAGE_SIZE);
    Old = AtDispatch();
    (void)OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 64, TakeList, NULL, TRUE);
    KeLowerIrql(Old);
    KitExpectStop(Put, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0xA, Adapter, 1, 0);
    PutList(List);
    KitExpectStop(PutList, List, DRIVER_VERIFIER_DMA_VIOLATION, 6, 1, 2, 0);
    FreeScattered(Mdl, 2);
    Put(NULL);
    KitExpectStop(PutThis, Adapter, DRIVER_VERIFIER_DMA_VIOLATION, 0x18, Adapter, 0, 0);
}

static void Transfers_Misused_AreE6(void **State)
{
    (void)State;
    Adapter = GetAdapter(2, 24, TRUE, NULL);
    Mdl = ScatteredMdl(4, TRUE, 0, 4 * PAGE_SIZE);
    PUCHAR Start = MmGetMdlVirtualAddress(Mdl);
    KIRQL Old = AtDispatch();
    (void)OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 2, KeepRegisters, &Base);
    KeLowerIrql(Old);
    KitExpectStop(Flush, (void *)64, DRIVER_VERIFIER_DMA_VIOLATION, 0x20, Base, Start, Mdl);
    Length = 64;
    KitExpectStop(MapAt, Start + 4 * PAGE_SIZE, DRIVER_VERIFIER_DMA_VIOLATION, 0x1B, Start + 4 * PAGE_SIZE, Mdl, 0);
    Length = 0;
    KitExpectStop(MapAt, Start, DRIVER_VERIFIER_DMA_VIOLATION, 0x21, 0, 0, 0);
    Length = 64;
    Mdl->MdlFlags = 0;
    KitExpectStop(MapAt, Start, DRIVER_VERIFIER_DMA_VIOLATION, 0xE, Mdl, 0, 0);
    Mdl->MdlFlags = MDL_PAGES_LOCKED;
    MapAt(Start);
    MapAt(Start + PAGE_SIZE);
    KitExpectStop(MapAt, Start + 2 * PAGE_SIZE, DRIVER_VERIFIER_DMA_VIOLATION, 0xD, 128, 2 * PAGE_SIZE, 0);
    KitExpectStop(Flush, (void *)129, DRIVER_VERIFIER_DMA_VIOLATION, 0, 1, 128, 129);
    KitExpectStop(FreeRegisters, Base, DRIVER_VERIFIER_DMA_VIOLATION, 0x10, 2, 0, 0);
    Flush((void *)64); /* the first of the two: exactly what is named */
    KitExpectStop(FreeRegisters, Base, DRIVER_VERIFIER_DMA_VIOLATION, 0x10, 2, 0, 0);
    KitExpectStop(Flush, (void *)64, DRIVER_VERIFIER_DMA_VIOLATION, 0x20, Base, Start, Mdl); /* once more */
    (void)OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, Start + PAGE_SIZE, 64, TRUE);
    FreeRegisters(Base);
    FreeScattered(Mdl, 4);
    Put(NULL);
}

/* ---- the IOMMU ---- */
static ntmm_device *Hardware;
static ULONG64 Target;
static void DeviceReads(void *Unused)
{
    UCHAR Byte;
    (void)Unused;
    ntmm_device_read(Hardware, Target, &Byte, 1);
}
static void DeviceWrites(void *Unused)
{
    (void)Unused;
    ntmm_device_write(Hardware, Target, "x", 1);
}
static void Iommu_DeviceOutOfItsDomain_IsE6_26(void **State)
{
    (void)State;
    Adapter = GetAdapter(3, 64, TRUE, NULL);
    Hardware = ntmm_device_create(&Device);
    Mdl = ScatteredMdl(8, TRUE, 0x40, 7 * PAGE_SIZE);
    UCHAR *Bytes = Mapped(Mdl);
    Target = MmGetMdlPfnArray(Mdl)[0] << PAGE_SHIFT; /* a physical address is none of its own */
    KitExpectStop(DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 1);
    KitExpectStop(DeviceWrites, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 2);
    for (ULONG Way = 0; Way < 2; Way++) {
        BOOLEAN Write = Way == 0;
        Fill(Bytes, 7 * PAGE_SIZE, 5);
        KIRQL Old = AtDispatch();
        assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 7 * PAGE_SIZE,
                                                           TakeList, NULL, Write),
                         STATUS_SUCCESS);
        KeLowerIrql(Old);
        assert_int_equal(List->NumberOfElements, 1); /* contiguous for the device */
        assert_int_not_equal(List->Elements[0].Address.QuadPart >> PAGE_SHIFT, MmGetMdlPfnArray(Mdl)[0]);
        Fill(Transfer.Bytes, 7 * PAGE_SIZE, 6);
        Transfer.List = List;
        Transfer.ToMemory = !Write;
        ntmm_device_post(Hardware, DoTransfer, &Transfer);
        ntmm_device_wait(Hardware);
        assert_true(Write ? Same(Transfer.Bytes, 7 * PAGE_SIZE, 5) : Same(Bytes, 7 * PAGE_SIZE, 6));
        Target = (ULONG64)List->Elements[0].Address.QuadPart;
        KitExpectStop(Write ? DeviceWrites : DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target,
                      Write ? 4 : 3);
        Target = (ULONG64)List->Elements[0].Address.QuadPart + 7 * PAGE_SIZE; /* what lies behind the buffer's last page */
        PutList(List);
        KitExpectStop(Write ? DeviceReads : DeviceWrites, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target,
                      Write ? 5 : 6);
    }
    Va = OP(Adapter)->AllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    Target = (ULONG64)Logical.QuadPart + 5;
    DeviceWrites(NULL);
    assert_int_equal(((PUCHAR)Va)[5], 'x');
    DeviceReads(NULL);
    FreeBuffer(NULL);
    KitExpectStop(DeviceWrites, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 6);
    FreeScattered(Mdl, 8);
    ntmm_device_destroy(Hardware);
    Put(NULL);
}

/* JoinDmaDomain: two devices that see the same mappings; LeaveDmaDomain: no longer. */
static void Iommu_Domains_AreJoinedAndLeft(void **State)
{
    static DEVICE_OBJECT Second;
    ULONG Registers;
    (void)State;
    DEVICE_DESCRIPTION Description = Describe(3, 64, TRUE, PAGE_SIZE);
    Adapter = GetAdapter(3, 64, TRUE, NULL);
    PDMA_ADAPTER Other = IoGetDmaAdapter(&Second, &Description, &Registers);
    HANDLE Domain = OP(Adapter)->GetDmaDomain(Adapter), Mine = OP(Other)->GetDmaDomain(Other);
    assert_ptr_not_equal(Domain, Mine);
    Hardware = ntmm_device_create(&Second);
    Va = OP(Adapter)->AllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    Target = (ULONG64)Logical.QuadPart;
    KitExpectStop(DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Second, Target, 1);
    assert_int_equal(OP(Other)->JoinDmaDomain(Other, (HANDLE)&Description), STATUS_INVALID_HANDLE);
    assert_int_equal(OP(Other)->JoinDmaDomain(Other, Domain), STATUS_SUCCESS);
    assert_ptr_equal(OP(Other)->GetDmaDomain(Other), Domain);
    DeviceReads(NULL);
    assert_int_equal(OP(Adapter)->JoinDmaDomain(Adapter, Mine), STATUS_DEVICE_BUSY); /* its buffer is mapped */
    PVOID Shared;
    PHYSICAL_ADDRESS At2;
    assert_int_equal(
        OP(Other)->AllocateDomainCommonBuffer(Other, Domain, NULL, PAGE_SIZE, 0, NULL, MM_ANY_NODE_OK, &At2, &Shared),
        STATUS_SUCCESS);
    OP(Other)->FreeCommonBuffer(Other, PAGE_SIZE, At2, Shared, TRUE);
    assert_int_equal(OP(Other)->LeaveDmaDomain(Other), STATUS_SUCCESS);
    assert_int_equal(OP(Other)->LeaveDmaDomain(Other), STATUS_INVALID_PARAMETER);
    KitExpectStop(DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Second, Target, 1);
    FreeBuffer(NULL);
    ntmm_device_destroy(Hardware);
    OP(Other)->PutDmaAdapter(Other);
    Put(NULL);
}

/* CreateCommonBufferFromMdl with remapping: scattered pages are one run, with the access that was asked for; a common buffer in large
 * pages begins at a multiple of 2 MiB for the device, too. */
static void Iommu_CommonBufferOfAnMdl_HasItsAccess(void **State)
{
    static const ULONG Kinds[] = {CommonBufferHardwareAccessReadOnly, CommonBufferHardwareAccessWriteOnly,
                                  CommonBufferHardwareAccessReadWrite};
    (void)State;
    Adapter = GetAdapter(3, 64, TRUE, NULL);
    Hardware = ntmm_device_create(&Device);
    Mdl = ScatteredMdl(4, TRUE, 0, 4 * PAGE_SIZE);
    PUCHAR Bytes = Mapped(Mdl);
    for (ULONG Index = 0; Index < ARRAYSIZE(Kinds); Index++) {
        DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION Rights = {.ConfigType = CommonBufferConfigTypeHardwareAccessPermissions,
                                                           .HardwareAccessType = Kinds[Index]};
        assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, Mdl, &Rights, 1, &Logical), STATUS_SUCCESS);
        Target = (ULONG64)Logical.QuadPart + 3 * PAGE_SIZE + 7;
        Bytes[3 * PAGE_SIZE + 7] = 0;
        if (Kinds[Index] == CommonBufferHardwareAccessReadOnly) {
            KitExpectStop(DeviceWrites, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 4);
        } else {
            DeviceWrites(NULL);
            assert_int_equal(Bytes[3 * PAGE_SIZE + 7], 'x');
        }
        if (Kinds[Index] == CommonBufferHardwareAccessWriteOnly) {
            KitExpectStop(DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 3);
        } else {
            DeviceReads(NULL);
        }
        OP(Adapter)->FreeCommonBuffer(Adapter, 4 * PAGE_SIZE, Logical, Bytes, TRUE);
        KitExpectStop(DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 5);
    }
    Va = OP(Adapter)->AllocateCommonBufferWithBounds(Adapter, NULL, NULL, PAGE_SIZE, DOMAIN_COMMON_BUFFER_LARGE_PAGE, NULL, 0,
                                                     &Logical);
    assert_non_null(Va);
    assert_int_equal(Logical.QuadPart & (512 * PAGE_SIZE - 1), 0);
    Target = (ULONG64)Logical.QuadPart + 511 * PAGE_SIZE;
    DeviceWrites(NULL);
    assert_int_equal(((PUCHAR)Va)[511 * PAGE_SIZE], 'x');
    FreeBuffer(NULL);
    KitExpectStop(DeviceReads, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x26, &Device, Target, 5);
    FreeScattered(Mdl, 4);
    ntmm_device_destroy(Hardware);
    Put(NULL);
}

static void DomainAtDispatch(void *Unused)
{
    (void)Unused;
    KIRQL Old = AtDispatch();
    (void)OP(Adapter)->GetDmaDomain(Adapter);
    KeLowerIrql(Old);
}
/* GetDmaDomain: "PASSIVE_LEVEL"; FreeCommonBuffer: "the parameters ... must match exactly", CacheEnabled too, though it was ignored. */
static void Operations_WrongIrqlOrArguments(void **State)
{
    (void)State;
    Adapter = GetAdapter(3, 64, TRUE, NULL);
    KitExpectStop(DomainAtDispatch, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 0x13, 2, PASSIVE_LEVEL, DISPATCH_LEVEL);
    Va = OP(Adapter)->AllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, FALSE);
    KitExpectStop(FreeBuffer, NULL, DRIVER_VERIFIER_DMA_VIOLATION, 3, 1, 0, 0);
    OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, FALSE);
    Put(NULL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Adapters_Misused_AreE6), cmocka_unit_test(Transfers_Misused_AreE6),
                                       cmocka_unit_test(Operations_WrongIrqlOrArguments)};
    const struct CMUnitTest Iommu[] = {cmocka_unit_test(Iommu_DeviceOutOfItsDomain_IsE6_26),
                                       cmocka_unit_test(Iommu_CommonBufferOfAnMdl_HasItsAccess),
                                       cmocka_unit_test(Iommu_Domains_AreJoinedAndLeft)};
    int Failed = cmocka_run_group_tests(Tests, KitStart, KitStop);
    return Failed + cmocka_run_group_tests(Iommu, StartIommu, KitStop);
}
