/*
 * dma.c - DMA adapters: a test for each documented sentence, with a simulated device that moves the bytes.
 * SPDX-License-Identifier: MIT
 */
#include "dma_kit.h"

static PSCATTER_GATHER_LIST Given;
static ULONG ListCalls;
/* AdapterListControl. */
static VOID OnList(PDEVICE_OBJECT Object, PIRP Irp, PSCATTER_GATHER_LIST List, PVOID Context)
{
    assert_ptr_equal(Object, &Device);
    assert_ptr_equal(Irp, Device.CurrentIrp);
    assert_ptr_equal(Context, &Given);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    Given = List;
    ListCalls++;
}
static ULONG BytesOf(const SCATTER_GATHER_LIST *List)
{
    ULONG Bytes = 0;
    for (ULONG Index = 0; Index < List->NumberOfElements; Index++) {
        Bytes += List->Elements[Index].Length;
    }
    return Bytes;
}

/* IoGetDmaAdapter: "returns a pointer to the DMA adapter structure"; "NULL if an adapter could not be allocated"; the number
 * of map registers is "the maximum number ... that the driver can allocate for any DMA transfer". */
static void IoGetDmaAdapter_VersionsAndRegisters(void **State)
{
    ULONG Registers = 0;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(DEVICE_DESCRIPTION_VERSION, 64, TRUE, &Registers);
    assert_non_null(Adapter);
    assert_int_equal(Adapter->Version, 1);
    assert_int_equal(Adapter->Size, sizeof(DMA_ADAPTER));
    assert_int_equal(Registers, 65); /* 64 pages that begin inside one */
    assert_int_equal(OP(Adapter)->GetDmaAlignment(Adapter), 1);
    assert_int_equal(OP(Adapter)->ReadDmaCounter(Adapter), 0);
    OP(Adapter)->PutDmaAdapter(Adapter);
    Adapter = GetAdapter(DEVICE_DESCRIPTION_VERSION3, 32, TRUE, NULL);
    assert_int_equal(Adapter->Version, 1);
    assert_int_equal(OP(Adapter)->Size, 0x140);
    DMA_ADAPTER_INFO Info = {.Version = DMA_ADAPTER_INFO_VERSION1};
    assert_int_equal(OP(Adapter)->GetDmaAdapterInfo(Adapter, &Info), STATUS_SUCCESS);
    assert_int_equal(Info.V1.DmaAddressWidth, 32);
    Info.Version = 2;
    assert_int_equal(OP(Adapter)->GetDmaAdapterInfo(Adapter, &Info), STATUS_NOT_SUPPORTED);
    assert_int_equal(OP(Adapter)->ConfigureAdapterChannel(Adapter, 0, NULL), STATUS_NOT_IMPLEMENTED);
    OP(Adapter)->PutDmaAdapter(Adapter);
    assert_null(GetAdapter(4, 64, TRUE, NULL)); /* "an unsupported version" */
}

static UCHAR SystemBytes[5000];
static volatile ULONG Completions, LastCompletion;
static VOID OnCompletion(PDMA_ADAPTER Adapter, PDEVICE_OBJECT Object, PVOID Context, DMA_COMPLETION_STATUS Status)
{
    (void)Adapter;
    assert_ptr_equal(Object, &Device);
    assert_ptr_equal(Context, SystemBytes);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    Completions++;
    LastCompletion = Status;
}
static IO_ALLOCATION_ACTION Keep(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object;
    (void)Irp;
    *(PVOID *)Context = MapRegisterBase;
    return KeepObject;
}

/* A description without Master: the system DMA controller moves the bytes. ReadDmaCounter: "the number of bytes remaining to be
 * transferred"; the buffer has what the device sent after FlushAdapterBuffers. */
static void SystemDma_MovesByTheController(void **State)
{
    DEVICE_DESCRIPTION Slave = Describe(2, 24, FALSE, 16 * PAGE_SIZE);
    ULONG Registers, Length = 5000;
    PVOID Base = NULL;
    (void)State;
    Slave.Master = FALSE;
    Slave.InterfaceType = Isa;
    Slave.DmaChannel = 2;
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Slave, &Registers);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    assert_non_null(Adapter);
    assert_int_equal(OP(Adapter)->Size, offsetof(DMA_OPERATIONS, GetDmaAdapterInfo)); /* version 2's table ends there */
    assert_null(OP(Adapter)->GetDmaAdapterInfo);
    PMDL Mdl = ScatteredMdl(4, TRUE, 100, Length); /* out of ISA's reach, and in pieces: bounced */
    PUCHAR Va = Mapped(Mdl);
    Fill(SystemBytes, Length, 3);
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, Length), 0); /* nothing is mapped */
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 3, Keep, &Base), STATUS_SUCCESS);
    PHYSICAL_ADDRESS Logical = OP(Adapter)->MapTransfer(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), &Length, FALSE);
    assert_int_equal(Length, 5000);
    assert_true(Logical.QuadPart + Length <= 0x1000000);
    assert_int_equal(OP(Adapter)->ReadDmaCounter(Adapter), 5000);
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, 3000), 3000);
    assert_int_equal(OP(Adapter)->ReadDmaCounter(Adapter), 2000);
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes + 3000, 4000), 2000); /* terminal count */
    assert_int_equal(OP(Adapter)->ReadDmaCounter(Adapter), 0);
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, 1), 0);
    assert_true(OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), Length, FALSE));
    assert_true(Same(Va, Length, 3));
    /* to the device */
    Fill(Va, Length, 9);
    OP(Adapter)->MapTransfer(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), &Length, TRUE);
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, Length), Length);
    assert_true(Same(SystemBytes, Length, 9));
    OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Base, MmGetMdlVirtualAddress(Mdl), Length, TRUE);
    OP(Adapter)->FreeAdapterChannel(Adapter);
    KeLowerIrql(Old);
    OP(Adapter)->PutDmaAdapter(Adapter);
    ntmm_device_destroy(Hardware);
    FreeScattered(Mdl, 4);
}

/* Version 3: DmaCompletionRoutine at terminal count, "system DMA only"; CancelMappedTransfer, flush still required; AutoInitialize: the
 * transfer begins again. */
static void SystemDma_CompletesAndCancels(void **State)
{
    DEVICE_DESCRIPTION Slave = Describe(3, 32, FALSE, 16 * PAGE_SIZE);
    UCHAR Context[DMA_TRANSFER_CONTEXT_SIZE_V1] __attribute__((aligned(16))), Room[256];
    PSCATTER_GATHER_LIST List = (PSCATTER_GATHER_LIST)Room;
    DMA_ADAPTER_INFO Info = {.Version = DMA_ADAPTER_INFO_VERSION1};
    ULONG Registers, Length = 4000;
    PVOID Base = NULL;
    (void)State;
    Slave.Master = FALSE;
    Slave.DmaRequestLine = 7;
    Slave.AutoInitialize = TRUE;
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Slave, &Registers);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    PMDL Mdl = ScatteredMdl(2, FALSE, 0, Length);
    assert_int_equal(OP(Adapter)->GetDmaAdapterInfo(Adapter, &Info), STATUS_SUCCESS);
    assert_true(Info.V1.ReadDmaCounterAvailable);
    assert_int_equal(Info.V1.ScatterGatherLimit, 1);
    assert_int_equal(OP(Adapter)->InitializeDmaTransferContext(Adapter, Context), STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->ConfigureAdapterChannel(Adapter, 1, NULL), STATUS_NOT_IMPLEMENTED);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->CancelMappedTransfer(Adapter, Context), STATUS_UNSUCCESSFUL); /* nothing is mapped */
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Context, 2, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
        STATUS_SUCCESS);
    assert_int_equal(
        OP(Adapter)->MapTransferEx(Adapter, Mdl, Base, 0, 0, &Length, FALSE, List, sizeof(Room), OnCompletion, SystemBytes),
        STATUS_SUCCESS);
    assert_int_equal(List->NumberOfElements, 1);
    Completions = 0;
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, 4000), 4000);
    assert_int_equal(Completions, 1);
    assert_int_equal(LastCompletion, DmaComplete);
    assert_int_equal(OP(Adapter)->ReadDmaCounter(Adapter), 4000); /* begins again */
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, 5000), 5000);
    assert_int_equal(Completions, 2);
    assert_int_equal(OP(Adapter)->ReadDmaCounter(Adapter), 3000);
    assert_int_equal(OP(Adapter)->CancelMappedTransfer(Adapter, Context), STATUS_SUCCESS);
    assert_int_equal(LastCompletion, DmaCancelled);
    assert_int_equal(ntmm_device_system_dma(Hardware, SystemBytes, 100), 0);
    assert_int_equal(OP(Adapter)->CancelMappedTransfer(Adapter, Context), STATUS_UNSUCCESSFUL);
    assert_int_equal(OP(Adapter)->FlushAdapterBuffersEx(Adapter, Mdl, Base, 0, Length, FALSE), STATUS_SUCCESS);
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
    KeLowerIrql(Old);
    OP(Adapter)->PutDmaAdapter(Adapter);
    ntmm_device_destroy(Hardware);
    FreeScattered(Mdl, 2);
}

/* GetScatterGatherList: the system "allocates, fills in and passes a scatter/gather list"; the elements are the buffer's frames. */
static void GetScatterGatherList_DescribesTheFrames(void **State)
{
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(2, 64, TRUE, NULL);
    PMDL Mdl = ScatteredMdl(8, TRUE, 0x123, 6 * PAGE_SIZE);
    UCHAR *Va = Mapped(Mdl);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    ULONG Size = 0, Registers = 0;
    assert_int_equal(
        OP(Adapter)->CalculateScatterGatherList(Adapter, Mdl, MmGetMdlVirtualAddress(Mdl), 6 * PAGE_SIZE, &Size, &Registers),
        STATUS_SUCCESS);
    assert_int_equal(Registers, 7);
    Fill(Va, 6 * PAGE_SIZE, 1);
    KIRQL Old = AtDispatch();
    ListCalls = 0;
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 6 * PAGE_SIZE,
                                                       OnList, &Given, TRUE),
                     STATUS_SUCCESS);
    assert_int_equal(ListCalls, 1);
    assert_int_equal(BytesOf(Given), 6 * PAGE_SIZE);
    assert_int_equal(Size, sizeof(*Given) + Given->NumberOfElements * sizeof(Given->Elements[0]));
    assert_int_equal(Given->Elements[0].Address.QuadPart, (MmGetMdlPfnArray(Mdl)[0] << PAGE_SHIFT) + 0x123);
    KeLowerIrql(Old);
    Transfer.List = Given;
    Transfer.ToMemory = FALSE;
    ntmm_device_post(Hardware, DoTransfer, &Transfer);
    ntmm_device_wait(Hardware);
    assert_int_equal(Transfer.Length, 6 * PAGE_SIZE);
    assert_true(Same(Transfer.Bytes, 6 * PAGE_SIZE, 1));
    Old = AtDispatch();
    OP(Adapter)->PutScatterGatherList(Adapter, Given, TRUE);
    /* a part of the buffer, by CurrentVa; and the list in the caller's memory */
    UCHAR Buffer[512];
    assert_int_equal(OP(Adapter)->BuildScatterGatherList(Adapter, &Device, Mdl, (PUCHAR)MmGetMdlVirtualAddress(Mdl) + PAGE_SIZE,
                                                         100, OnList, &Given, FALSE, Buffer, sizeof(Buffer)),
                     STATUS_SUCCESS);
    assert_ptr_equal(Given, Buffer);
    assert_int_equal(Given->NumberOfElements, 1);
    assert_int_equal(Given->Elements[0].Address.QuadPart, (MmGetMdlPfnArray(Mdl)[1] << PAGE_SHIFT) + 0x123);
    PMDL Target = NULL;
    assert_int_equal(OP(Adapter)->BuildMdlFromScatterGatherList(Adapter, Given, Mdl, &Target), STATUS_SUCCESS);
    assert_ptr_equal(Target, Mdl); /* nothing is bounced */
    OP(Adapter)->PutScatterGatherList(Adapter, Given, FALSE);
    assert_int_equal(OP(Adapter)->BuildScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 6 * PAGE_SIZE,
                                                         OnList, &Given, FALSE, Buffer, 30),
                     STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 7 * PAGE_SIZE,
                                                       OnList, &Given, TRUE),
                     STATUS_BUFFER_TOO_SMALL); /* "the MDL chain is too short" */
    KeLowerIrql(Old);
    ntmm_device_destroy(Hardware);
    FreeScattered(Mdl, 8);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* A device that cannot address the buffer: the system bounces it, and the flush in PutScatterGatherList brings the bytes. */
static void GetScatterGatherList_OutOfReach_IsBounced(void **State)
{
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(2, 24, TRUE, NULL);
    PMDL Mdl = ScatteredMdl(8, TRUE, 0x10, 7 * PAGE_SIZE), Target = NULL;
    UCHAR *Va = Mapped(Mdl);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    for (ULONG Way = 0; Way < 2; Way++) {
        BOOLEAN Write = Way == 0;
        Fill(Va, 7 * PAGE_SIZE, Write ? 3 : 4);
        KIRQL Old = AtDispatch();
        assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Mdl, MmGetMdlVirtualAddress(Mdl), 7 * PAGE_SIZE,
                                                           OnList, &Given, Write),
                         STATUS_SUCCESS);
        KeLowerIrql(Old);
        assert_int_equal(BytesOf(Given), 7 * PAGE_SIZE);
        for (ULONG Index = 0; Index < Given->NumberOfElements; Index++) {
            assert_in_range(Given->Elements[Index].Address.QuadPart + Given->Elements[Index].Length - 1, 0, 0xFFFFFF);
        }
        assert_int_equal(OP(Adapter)->BuildMdlFromScatterGatherList(Adapter, Given, Mdl, &Target), STATUS_SUCCESS);
        assert_ptr_not_equal(Target, Mdl);
        assert_int_equal(MmGetMdlPfnArray(Target)[0], Given->Elements[0].Address.QuadPart >> PAGE_SHIFT);
        assert_int_equal(OP(Adapter)->BuildMdlFromScatterGatherList(Adapter, Given, Mdl, &Target), STATUS_NONE_MAPPED);
        Transfer.List = Given;
        Transfer.ToMemory = !Write;
        Fill(Transfer.Bytes, 7 * PAGE_SIZE, 9);
        ntmm_device_post(Hardware, DoTransfer, &Transfer);
        ntmm_device_wait(Hardware);
        assert_true(Write ? Same(Transfer.Bytes, 7 * PAGE_SIZE, 3) : Same(Va, 7 * PAGE_SIZE, 4)); /* not there yet */
        Old = AtDispatch();
        OP(Adapter)->PutScatterGatherList(Adapter, Given, Write);
        KeLowerIrql(Old);
        assert_true(Same(Va, 7 * PAGE_SIZE, Write ? 3 : 9));
    }
    /* pages within reach are not bounced */
    PMDL Low = ScatteredMdl(4, FALSE, 0, 4 * PAGE_SIZE);
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->GetScatterGatherList(Adapter, &Device, Low, MmGetMdlVirtualAddress(Low), 4 * PAGE_SIZE,
                                                       OnList, &Given, TRUE),
                     STATUS_SUCCESS);
    assert_int_equal(Given->Elements[0].Address.QuadPart >> PAGE_SHIFT, MmGetMdlPfnArray(Low)[0]);
    OP(Adapter)->PutScatterGatherList(Adapter, Given, TRUE);
    KeLowerIrql(Old);
    FreeScattered(Low, 4);
    ntmm_device_destroy(Hardware);
    FreeScattered(Mdl, 8);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* ---- channels ---- */
static struct {
    PVOID Base;
    ULONG Calls, Order[8];
    IO_ALLOCATION_ACTION Answer;
} Channel;
static IO_ALLOCATION_ACTION OnChannel(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object;
    (void)Irp;
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    Channel.Base = MapRegisterBase;
    Channel.Order[Channel.Calls++ % 8] = (ULONG)(ULONG_PTR)Context;
    return Channel.Answer;
}

/* AllocateAdapterChannel, MapTransfer in a loop, FlushAdapterBuffers, FreeMapRegisters: the packet-based sequence. */
static void MapTransfer_PacketSequence_MovesTheBytes(void **State)
{
    const struct {
        ULONG Bits;
        BOOLEAN ScatterGather;
    } Kinds[] = {{64, TRUE}, {64, FALSE}, {24, TRUE}, {24, FALSE}};
    (void)State;
    ntmm_device *Hardware = ntmm_device_create(&Device);
    for (size_t Kind = 0; Kind < ARRAYSIZE(Kinds); Kind++) {
        PDMA_ADAPTER Adapter = GetAdapter(2, Kinds[Kind].Bits, Kinds[Kind].ScatterGather, NULL);
        PMDL Mdl = ScatteredMdl(6, TRUE, 0x777, 5 * PAGE_SIZE);
        UCHAR *Va = Mapped(Mdl);
        for (ULONG Way = 0; Way < 2; Way++) {
            BOOLEAN Write = Way == 0;
            PUCHAR CurrentVa = MmGetMdlVirtualAddress(Mdl);
            ULONG Left = 5 * PAGE_SIZE, Done = 0, Runs = 0;
            Fill(Va, Left, 20);
            Fill(Transfer.Bytes, Left, 30);
            memset(&Channel, 0, sizeof(Channel));
            Channel.Answer = DeallocateObjectKeepRegisters;
            KIRQL Old = AtDispatch();
            assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 6, OnChannel, NULL), STATUS_SUCCESS);
            assert_int_equal(Channel.Calls, 1);
            while (Left) {
                ULONG Length = Left;
                PHYSICAL_ADDRESS Logical = OP(Adapter)->MapTransfer(Adapter, Mdl, Channel.Base, CurrentVa, &Length, Write);
                assert_in_range(Length, 1, Left);
                if (Kinds[Kind].Bits == 24) {
                    assert_in_range(Logical.QuadPart + Length - 1, 0, 0xFFFFFF);
                }
                if (Write) {
                    ntmm_device_read(Hardware, (uint64_t)Logical.QuadPart, Transfer.Bytes + Done, Length);
                } else {
                    ntmm_device_write(Hardware, (uint64_t)Logical.QuadPart, Transfer.Bytes + Done, Length);
                }
                CurrentVa += Length;
                Done += Length;
                Left -= Length;
                Runs++;
            }
            /* bounce pages follow each other; frames do not */
            assert_int_equal(Runs == 1, !Kinds[Kind].ScatterGather || Kinds[Kind].Bits == 24);
            assert_true(OP(Adapter)->FlushAdapterBuffers(Adapter, Mdl, Channel.Base, MmGetMdlVirtualAddress(Mdl), 5 * PAGE_SIZE,
                                                         Write));
            OP(Adapter)->FreeMapRegisters(Adapter, Channel.Base, 6);
            KeLowerIrql(Old);
            assert_true(Write ? Same(Transfer.Bytes, 5 * PAGE_SIZE, 20) : Same(Va, 5 * PAGE_SIZE, 30));
        }
        FreeScattered(Mdl, 6);
        OP(Adapter)->PutDmaAdapter(Adapter);
    }
    ntmm_device_destroy(Hardware);
}

/* "If the channel is not available, the request is queued until it is"; order of arrival; "STATUS_INSUFFICIENT_RESOURCES if
 * NumberOfMapRegisters is larger than" the adapter has. */
static void AllocateAdapterChannel_Busy_Queues(void **State)
{
    DEVICE_OBJECT Second, Third;
    ULONG Registers;
    (void)State;
    memset(&Second, 0, sizeof(Second));
    memset(&Third, 0, sizeof(Third));
    PDMA_ADAPTER Adapter = GetAdapter(2, 24, FALSE, &Registers);
    memset(&Channel, 0, sizeof(Channel));
    Channel.Answer = KeepObject;
    KIRQL Old = AtDispatch();
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, Registers + 1, OnChannel, NULL),
                     STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 2, OnChannel, (PVOID)1), STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Second, 2, OnChannel, (PVOID)2), STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Third, 2, OnChannel, (PVOID)3), STATUS_SUCCESS);
    assert_int_equal(Channel.Calls, 1);
    OP(Adapter)->FreeAdapterChannel(Adapter);
    assert_int_equal(Channel.Calls, 2);
    Channel.Answer = DeallocateObject;
    OP(Adapter)->FreeAdapterChannel(Adapter);
    assert_int_equal(Channel.Calls, 3);
    assert_int_equal(Channel.Order[0], 1);
    assert_int_equal(Channel.Order[1], 2);
    assert_int_equal(Channel.Order[2], 3);
    /* registers that are out make the next one wait, too */
    Channel.Answer = DeallocateObjectKeepRegisters;
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, Registers, OnChannel, (PVOID)4), STATUS_SUCCESS);
    PVOID First = Channel.Base;
    assert_int_equal(OP(Adapter)->AllocateAdapterChannel(Adapter, &Device, 1, OnChannel, (PVOID)5), STATUS_SUCCESS);
    assert_int_equal(Channel.Calls, 4);
    OP(Adapter)->FreeMapRegisters(Adapter, First, Registers);
    assert_int_equal(Channel.Calls, 5);
    OP(Adapter)->FreeMapRegisters(Adapter, Channel.Base, 1);
    KeLowerIrql(Old);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* ---- version 3 ---- */
static void Version3_ChannelsMapsAndCancels(void **State)
{
    UCHAR Context[2][DMA_TRANSFER_CONTEXT_SIZE_V1], Buffer[512];
    PVOID Base = NULL;
    PSCATTER_GATHER_LIST List = (PSCATTER_GATHER_LIST)Buffer;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 24, TRUE, NULL);
    PMDL One = ScatteredMdl(4, TRUE, 0x30, 2 * PAGE_SIZE), Two = ScatteredMdl(4, TRUE, 0x55, 3 * PAGE_SIZE);
    UCHAR *VaOne = Mapped(One), *VaTwo = Mapped(Two);
    One->Next = Two;
    KIRQL Old = AtDispatch();
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Context[0], 8, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
        STATUS_INVALID_PARAMETER); /* the context is not initialised */
    assert_int_equal(OP(Adapter)->InitializeDmaTransferContext(Adapter, Context[0]), STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->InitializeDmaTransferContext(Adapter, Context[1]), STATUS_SUCCESS);
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Context[0], 8, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
        STATUS_SUCCESS);
    assert_non_null(Base);
    /* "DMA_SYNCHRONOUS_CALLBACK: STATUS_INSUFFICIENT_RESOURCES if the resources are not available now" */
    assert_int_equal(
        OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Context[1], 8, DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, &Base),
        STATUS_INSUFFICIENT_RESOURCES);
    memset(&Channel, 0, sizeof(Channel));
    Channel.Answer = DeallocateObject;
    assert_int_equal(OP(Adapter)->AllocateAdapterChannelEx(Adapter, &Device, Context[1], 8, 0, OnChannel, NULL, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(Channel.Calls, 0);
    assert_true(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, Context[1])); /* "TRUE if it was pending" */
    assert_false(OP(Adapter)->CancelAdapterChannel(Adapter, &Device, Context[1]));
    /* MapTransferEx along the chain: from the middle of the first MDL into the second */
    Fill(VaOne, 2 * PAGE_SIZE, 50);
    Fill(VaTwo, 3 * PAGE_SIZE, 60);
    ULONG Length = PAGE_SIZE + 2 * PAGE_SIZE;
    assert_int_equal(OP(Adapter)->MapTransferEx(Adapter, One, Base, PAGE_SIZE, 0, &Length, TRUE, List, 20, NULL, NULL),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(
        OP(Adapter)->MapTransferEx(Adapter, One, Base, PAGE_SIZE, 0, &Length, TRUE, List, sizeof(Buffer), NULL, NULL),
        STATUS_SUCCESS);
    assert_int_equal(Length, 3 * PAGE_SIZE);
    assert_int_equal(BytesOf(List), 3 * PAGE_SIZE);
    Transfer.List = List;
    Transfer.ToMemory = FALSE;
    KeLowerIrql(Old);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    ntmm_device_post(Hardware, DoTransfer, &Transfer);
    ntmm_device_wait(Hardware);
    ntmm_device_destroy(Hardware);
    assert_memory_equal(Transfer.Bytes, VaOne + PAGE_SIZE, PAGE_SIZE);
    assert_memory_equal(Transfer.Bytes + PAGE_SIZE, VaTwo, 2 * PAGE_SIZE);
    Old = AtDispatch();
    assert_int_equal(OP(Adapter)->FlushAdapterBuffersEx(Adapter, One, Base, PAGE_SIZE, 3 * PAGE_SIZE, TRUE), STATUS_SUCCESS);
    OP(Adapter)->FreeAdapterObject(Adapter, DeallocateObject);
    /* lists, at once */
    DMA_TRANSFER_INFO Info = {.Version = DMA_TRANSFER_INFO_VERSION2};
    assert_int_equal(OP(Adapter)->GetDmaTransferInfo(Adapter, One, 0, 5 * PAGE_SIZE, TRUE, &Info), STATUS_SUCCESS);
    assert_int_equal(Info.V2.MapRegisterCount, 3 + 4);
    assert_int_equal(OP(Adapter)->GetDmaTransferInfo(Adapter, One, 0, 6 * PAGE_SIZE, TRUE, &Info), STATUS_BUFFER_TOO_SMALL);
    Info.Version = 7;
    assert_int_equal(OP(Adapter)->GetDmaTransferInfo(Adapter, One, 0, PAGE_SIZE, TRUE, &Info), STATUS_NOT_SUPPORTED);
    assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, Context[0], One, 100, 4 * PAGE_SIZE,
                                                         DMA_SYNCHRONOUS_CALLBACK | DMA_ZERO_BUFFERS, NULL, NULL, FALSE, NULL,
                                                         NULL, &Given),
                     STATUS_SUCCESS);
    assert_int_equal(BytesOf(Given), 4 * PAGE_SIZE);
    OP(Adapter)->PutScatterGatherList(Adapter, Given, FALSE);
    assert_int_equal(VaOne[99], (UCHAR)((99 * 7 + 50) & 0xFF));
    assert_int_equal(OP(Adapter)->GetScatterGatherListEx(Adapter, &Device, Context[0], One, 100, 4 * PAGE_SIZE,
                                                         DMA_SYNCHRONOUS_CALLBACK | DMA_FAIL_ON_BOUNCE, NULL, NULL, FALSE, NULL,
                                                         NULL, &Given),
                     STATUS_INSUFFICIENT_RESOURCES);
    KeLowerIrql(Old);
    FreeScattered(Two, 4);
    One->Next = NULL;
    FreeScattered(One, 4);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* ---- common buffers ---- */
/* AllocateCommonBuffer: "allocates memory and maps it so that it is simultaneously accessible from both the processor and a
 * device". */
static void AllocateCommonBuffer_BothSeeIt(void **State)
{
    PHYSICAL_ADDRESS Logical, High = At(0x7FFFFF), Low = At(0x400000);
    MEMORY_CACHING_TYPE Type = MmNonCached;
    UCHAR Bytes[64];
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 24, TRUE, NULL);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    PUCHAR Va = OP(Adapter)->AllocateCommonBuffer(Adapter, 3 * PAGE_SIZE, &Logical, FALSE);
    assert_non_null(Va);
    assert_in_range(Logical.QuadPart + 3 * PAGE_SIZE - 1, 0, 0xFFFFFF);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va))) & 0x18, 0); /* CacheEnabled "is ignored" */
    memset(Va, 0x5C, 3 * PAGE_SIZE);
    ntmm_device_read(Hardware, (uint64_t)Logical.QuadPart + 2 * PAGE_SIZE - 5, Bytes, 10);
    assert_int_equal(Bytes[9], 0x5C);
    ntmm_device_write(Hardware, (uint64_t)Logical.QuadPart + 7, "device", 6);
    assert_memory_equal(Va + 7, "device", 6);
    OP(Adapter)->FreeCommonBuffer(Adapter, 3 * PAGE_SIZE, Logical, Va, FALSE);
    Va = OP(Adapter)->AllocateCommonBufferEx(Adapter, &High, 100, &Logical, TRUE, MM_ANY_NODE_OK);
    assert_in_range(Logical.QuadPart, 0, 0x7FFFFF);
    OP(Adapter)->FreeCommonBuffer(Adapter, 100, Logical, Va, TRUE);
    Va = OP(Adapter)->AllocateCommonBufferWithBounds(Adapter, &Low, &High, 2 * PAGE_SIZE, 0, &Type, MM_ANY_NODE_OK, &Logical);
    assert_in_range(Logical.QuadPart, 0x400000, 0x7FFFFF);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va))) & 0x18, MI_PROT_NOCACHE);
    OP(Adapter)->FreeCommonBuffer(Adapter, 2 * PAGE_SIZE, Logical, Va, FALSE);
    assert_null(OP(Adapter)->AllocateCommonBuffer(Adapter, 0x40000000, &Logical, TRUE)); /* "NULL if it cannot" */
    PDMA_COMMON_BUFFER_VECTOR Vector;
    assert_int_equal(
        OP(Adapter)->AllocateCommonBufferVector(Adapter, At(0), At(~0ull), MmCached, 0, 0, 5, 2 * PAGE_SIZE, &Vector),
        STATUS_SUCCESS);
    PVOID Element, Other;
    OP(Adapter)->GetCommonBufferFromVectorByIndex(Adapter, Vector, 4, &Element, &Logical);
    assert_int_equal(MmGetPhysicalAddress(Element).QuadPart, Logical.QuadPart);
    OP(Adapter)->FreeCommonBufferFromVector(Adapter, Vector, 4);
    OP(Adapter)->GetCommonBufferFromVectorByIndex(Adapter, Vector, 4, &Other, &Logical);
    assert_null(Other);
    OP(Adapter)->FreeCommonBufferVector(Adapter, Vector);
    assert_int_equal(OP(Adapter)->AllocateCommonBufferVector(Adapter, At(0), At(~0ull), MmCached, 0, 0, 0, 1, &Vector),
                     STATUS_INVALID_PARAMETER);
    ntmm_device_destroy(Hardware);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* CreateCommonBufferFromMdl: "page-aligned", "mapped into the system address space", contiguous without remapping. */
static void CreateCommonBufferFromMdl_Conditions(void **State)
{
    PHYSICAL_ADDRESS Logical;
    KIT_MDL Kit;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, NULL);
    PUCHAR Va = MmAllocateContiguousMemory(4 * PAGE_SIZE, At(~0ull));
    MmInitializeMdl(&Kit.Mdl, Va, 4 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(&Kit.Mdl);
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &Kit.Mdl, NULL, 0, &Logical), STATUS_SUCCESS);
    assert_int_equal(Logical.QuadPart, MmGetPhysicalAddress(Va).QuadPart);
    OP(Adapter)->FreeCommonBuffer(Adapter, 4 * PAGE_SIZE, Logical, Va, TRUE);
    Va[0] = 1; /* the pages stay the caller's */
    Kit.Mdl.ByteCount = 100;
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &Kit.Mdl, NULL, 0, &Logical), STATUS_INVALID_PARAMETER);
    DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION Configs[2] = {
        {.ConfigType = CommonBufferConfigTypeSubSection, .SubSection = {PAGE_SIZE, PAGE_SIZE}},
        {.ConfigType = CommonBufferConfigTypeSubSection, .SubSection = {PAGE_SIZE, PAGE_SIZE}}};
    Kit.Mdl.ByteCount = 4 * PAGE_SIZE;
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &Kit.Mdl, Configs, 2, &Logical), STATUS_INVALID_PARAMETER);
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, &Kit.Mdl, Configs, 1, &Logical), STATUS_SUCCESS);
    assert_int_equal(Logical.QuadPart, MmGetPhysicalAddress(Va + PAGE_SIZE).QuadPart);
    OP(Adapter)->FreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va + PAGE_SIZE, TRUE);
    MmFreeContiguousMemory(Va);
    PMDL Scattered = ScatteredMdl(4, TRUE, 0, 4 * PAGE_SIZE);
    assert_int_equal(OP(Adapter)->CreateCommonBufferFromMdl(Adapter, Scattered, NULL, 0, &Logical), STATUS_INVALID_PARAMETER);
    FreeScattered(Scattered, 4);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

/* Where nothing is, a device reads ones. The obsolete names are the operations. */
static void Device_Hole_ReadsOnes_ObsoleteNames(void **State)
{
    UCHAR Bytes[8] = {0};
    PHYSICAL_ADDRESS Logical;
    ULONG Registers;
    (void)State;
    ntmm_device *Hardware = ntmm_device_create(&Device);
    ntmm_device_write(Hardware, 1ull << 40, "lost", 4);
    ntmm_device_read(Hardware, 1ull << 40, Bytes, 8);
    assert_int_equal(Bytes[0], 0xFF);
    ntmm_device_destroy(Hardware);
    DEVICE_DESCRIPTION Description = Describe(1, 32, TRUE, PAGE_SIZE);
    PDMA_ADAPTER Adapter = HalGetAdapter(&Description, &Registers);
    PVOID Va = HalAllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    HalFreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Va, TRUE);
    assert_int_equal(HalReadDmaCounter(Adapter), 0);
    KeFlushIoBuffers(NULL, TRUE, TRUE);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(IoGetDmaAdapter_VersionsAndRegisters),
        cmocka_unit_test(SystemDma_MovesByTheController),
        cmocka_unit_test(SystemDma_CompletesAndCancels),
        cmocka_unit_test(GetScatterGatherList_DescribesTheFrames),
        cmocka_unit_test(GetScatterGatherList_OutOfReach_IsBounced),
        cmocka_unit_test(MapTransfer_PacketSequence_MovesTheBytes),
        cmocka_unit_test(AllocateAdapterChannel_Busy_Queues),
        cmocka_unit_test(Version3_ChannelsMapsAndCancels),
        cmocka_unit_test(AllocateCommonBuffer_BothSeeIt),
        cmocka_unit_test(CreateCommonBufferFromMdl_Conditions),
        cmocka_unit_test(Device_Hole_ReadsOnes_ObsoleteNames),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
