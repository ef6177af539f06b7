/*
 * dma_flush.c - FlushAdapterBuffers(Ex) ends the transfers it names and no others; lists over chains of MDLs.
 * SPDX-License-Identifier: MIT
 */
#include "dma_kit.h"

static PVOID Base;
static PHYSICAL_ADDRESS Map(PDMA_ADAPTER Adapter, PMDL Mdl, ULONG Offset, ULONG Length, BOOLEAN Write)
{
    ULONG Wanted = Length;
    PHYSICAL_ADDRESS Logical =
        OP(Adapter)->MapTransfer(Adapter, Mdl, Base, (PUCHAR)MmGetMdlVirtualAddress(Mdl) + Offset, &Length, Write);
    assert_int_equal(Length, Wanted);
    return Logical;
}
static void Flush(PDMA_ADAPTER Adapter, PMDL Mdl, ULONG Offset, ULONG Length)
{
    assert_true(
        OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, (PUCHAR)MmGetMdlVirtualAddress(Mdl) + Offset, Length, FALSE));
}

/* FlushAdapterBuffers "flushes any data remaining in the ... adapter's internal cache" of the buffer that Mdl, CurrentVa and Length
 * name: the bytes of another transfer of the same map registers are the device's still. */
static void Flush_OneOfTwo_LeavesTheOther(void **State)
{
    (void)State;
    ntmm_device *Hardware = ntmm_device_create(&Device);
    PDMA_ADAPTER Adapter = GetAdapter(2, 24, TRUE, NULL);
    PMDL Mdl = ScatteredMdl(4, TRUE, 0, 4 * PAGE_SIZE);
    UCHAR *Va = Mapped(Mdl);
    memset(Va, 0x11, 4 * PAGE_SIZE);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 4, KeepRegisters, &Base), STATUS_SUCCESS);
    PHYSICAL_ADDRESS First = Map(Adapter, Mdl, 0, 2 * PAGE_SIZE, FALSE), Second = Map(Adapter, Mdl, 2 * PAGE_SIZE, 512, FALSE);
    ntmm_device_write(Hardware, (uint64_t)First.QuadPart, "first", 6);
    ntmm_device_write(Hardware, (uint64_t)Second.QuadPart, "second", 7);
    Flush(Adapter, Mdl, 2 * PAGE_SIZE, 512);
    assert_string_equal((char *)Va + 2 * PAGE_SIZE, "second");
    assert_int_equal(Va[0], 0x11); /* not flushed */
    ntmm_device_write(Hardware, (uint64_t)First.QuadPart + PAGE_SIZE, "more", 5);
    Second = Map(Adapter, Mdl, 3 * PAGE_SIZE, PAGE_SIZE, FALSE); /* the register that came free serves again */
    ntmm_device_write(Hardware, (uint64_t)Second.QuadPart, "third", 6);
    Flush(Adapter, Mdl, 0, 2 * PAGE_SIZE);
    assert_string_equal((char *)Va, "first");
    assert_string_equal((char *)Va + PAGE_SIZE, "more");
    assert_int_equal(Va[3 * PAGE_SIZE], 0x11);
    Flush(Adapter, Mdl, 3 * PAGE_SIZE, PAGE_SIZE);
    assert_string_equal((char *)Va + 3 * PAGE_SIZE, "third");
    OP(Adapter)->FreeMapRegisters(Adapter, Base, 4);
    KeLowerIrql(Old);
    FreeScattered(Mdl, 4);
    OP(Adapter)->PutDmaAdapter(Adapter);
    ntmm_device_destroy(Hardware);
}

/* A device that moved fewer bytes than it might have: what is flushed is brought, what is not is not; the registers may be freed. */
static void Flush_Part_BringsThatPart(void **State)
{
    (void)State;
    ntmm_device *Hardware = ntmm_device_create(&Device);
    for (ULONG Round = 0; Round < 3; Round++) {
        PDMA_ADAPTER Adapter = GetAdapter(2, 24, TRUE, NULL);
        PMDL Mdl = ScatteredMdl(4, TRUE, 0x40, 3 * PAGE_SIZE);
        UCHAR *Va = Mapped(Mdl), Sent[3 * PAGE_SIZE];
        memset(Va, 0x22, 3 * PAGE_SIZE);
        memset(Sent, 0x33, sizeof(Sent));
        KIRQL Old = AtDispatch();
        assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 4, KeepRegisters, &Base), STATUS_SUCCESS);
        PHYSICAL_ADDRESS Logical = Map(Adapter, Mdl, 0, 3 * PAGE_SIZE, FALSE);
        ntmm_device_write(Hardware, (uint64_t)Logical.QuadPart, Sent, sizeof(Sent));
        Flush(Adapter, Mdl, 100, 5000);
        assert_int_equal(Va[99], 0x22);
        assert_int_equal(Va[100], 0x33);
        assert_int_equal(Va[5099], 0x33);
        assert_int_equal(Va[5100], 0x22);
        if (Round == 1) { /* the rest can be flushed later */
            Flush(Adapter, Mdl, 0, 100);
            Flush(Adapter, Mdl, 5100, 3 * PAGE_SIZE - 5100);
            assert_int_equal(Va[0], 0x33);
            assert_int_equal(Va[3 * PAGE_SIZE - 1], 0x33);
        } else if (Round == 2) { /* or all be mapped again */
            memset(Va, 0x44, 3 * PAGE_SIZE);
            Logical = Map(Adapter, Mdl, 0, 3 * PAGE_SIZE, TRUE);
            ntmm_device_read(Hardware, (uint64_t)Logical.QuadPart, Sent, sizeof(Sent));
            assert_int_equal(Sent[3 * PAGE_SIZE - 1], 0x44);
            assert_true(OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), 3 * PAGE_SIZE, TRUE));
            assert_int_equal(Va[0], 0x44);
        }
        OP(Adapter)->FreeMapRegisters(Adapter, Base, 4);
        KeLowerIrql(Old);
        FreeScattered(Mdl, 4);
        OP(Adapter)->PutDmaAdapter(Adapter);
    }
    ntmm_device_destroy(Hardware);
}

/* Where nothing is bounced: each transfer is flushed once, in any order. */
static void Flush_Direct_EachOnce(void **State)
{
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, NULL);
    PMDL Mdl = ScatteredMdl(4, FALSE, 0, 4 * PAGE_SIZE);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 4, KeepRegisters, &Base), STATUS_SUCCESS);
    for (ULONG Page = 0; Page < 4; Page++) {
        (void)Map(Adapter, Mdl, Page * PAGE_SIZE, 300, TRUE);
    }
    for (ULONG Page = 4; Page-- > 0;) {
        assert_int_equal(OP(Adapter)->FlushAdapterBuffersEx(Adapter, Mdl, Base, (ULONGLONG)Page * PAGE_SIZE, 300, TRUE),
                         STATUS_SUCCESS);
    }
    assert_int_equal(OP(Adapter)->FlushAdapterBuffersEx(Adapter, Mdl, Base, 4 * PAGE_SIZE, 1, TRUE), STATUS_INVALID_PARAMETER);
    OP(Adapter)->FreeMapRegisters(Adapter, Base, 4);
    KeLowerIrql(Old);
    FreeScattered(Mdl, 4);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

static PSCATTER_GATHER_LIST Given;
static VOID OnList(PDEVICE_OBJECT Object, PIRP Irp, PSCATTER_GATHER_LIST List, PVOID Context)
{
    (void)Object;
    (void)Irp;
    (void)Context;
    Given = List;
}

/* BuildMdlFromScatterGatherList "builds an MDL corresponding to a scatter/gather list": of a chain of buffers that begin and end
 * inside pages, a chain. Its MDLs show what the device sees. */
static void BuildMdl_ChainWithGaps_IsAChain(void **State)
{
    static const ULONG Offsets[] = {0x123, 0, 0xFF0}, Lengths[] = {5000, 700, 2 * 4096};
    PMDL Parts[3], Target = NULL;
    UCHAR *Va[3];
    ULONG Total = 0, Count = 0;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(2, 24, TRUE, NULL);
    for (ULONG Index = 0; Index < 3; Index++) {
        Parts[Index] = ScatteredMdl(4, Index != 1, Offsets[Index], Lengths[Index]); /* the second is in the device's reach */
        Va[Index] = Mapped(Parts[Index]);
        memset(Va[Index], (int)(0xA0 + Index), Lengths[Index]);
        Total += Lengths[Index];
    }
    Parts[0]->Next = Parts[1];
    Parts[1]->Next = Parts[2];
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Parts[0], MmGetMdlVirtualAddress(Parts[0]), Total,
                                                       OnList, NULL, TRUE),
                     STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->BuildMdlFromScatterGatherList(Adapter, Given, Parts[0], &Target), STATUS_SUCCESS);
    KeLowerIrql(Old);
    for (PMDL Mdl = Target; Mdl; Mdl = Mdl->Next, Count++) {
        assert_int_equal(MmGetMdlByteCount(Mdl), Lengths[Count]);
        assert_int_equal(MmGetMdlByteOffset(Mdl), Offsets[Count]);
        UCHAR *Seen = Mapped(Mdl);
        assert_int_equal(Seen[0], 0xA0 + Count);
        assert_int_equal(Seen[Lengths[Count] - 1], 0xA0 + Count);
        assert_int_equal(MmGetMdlPfnArray(Mdl)[0] == MmGetMdlPfnArray(Parts[Count])[0], Count == 1);
        assert_in_range(MmGetMdlPfnArray(Mdl)[0] << PAGE_SHIFT, 0, 0xFFFFFF);
        MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
    }
    assert_int_equal(Count, 3);
    Old = AtDispatch();
    OP(Adapter)->PutScatterGatherList(Adapter, Given, TRUE); /* and frees them */
    KeLowerIrql(Old);
    for (ULONG Index = 0; Index < 3; Index++) {
        FreeScattered(Parts[Index], 4);
    }
    OP(Adapter)->PutDmaAdapter(Adapter);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Flush_OneOfTwo_LeavesTheOther),
        cmocka_unit_test(Flush_Part_BringsThatPart),
        cmocka_unit_test(Flush_Direct_EachOnce),
        cmocka_unit_test(BuildMdl_ChainWithGaps_IsAChain),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
