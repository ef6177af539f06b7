/*
 * dmasg.c - scatter/gather lists. SPDX-License-Identifier: MIT
 *
 * GetScatterGatherList sizes a list for the runs of the buffer, waits for the map registers it needs (only where pages are
 * bounced or translated), maps, and calls the driver's routine; BuildScatterGatherList does it in the caller's memory; the Ex
 * forms walk an MDL chain by offset and may answer at once (DMA_SYNCHRONOUS_CALLBACK). PutScatterGatherList flushes, gives the
 * registers back and frees what was made.
 *
 *      SCATTER_GATHER_LIST { NumberOfElements, Reserved, Elements[] { logical address, length } }
 *      the system's own record (IOP_LIST) is found by the list's address
 *
 * DMA_ZERO_BUFFERS clears the buffer of a read first; DMA_FAIL_ON_BOUNCE refuses instead of bouncing. BuildMdlFromScatterGather-
 * List describes what the device sees: the original MDL where nothing is bounced, else MDLs over bounce pages and frames, one for
 * each MDL of the buffer's chain.
 * A list that was made at once and without a routine holds the adapter object, too: FreeAdapterObject gives it back, and with
 * DeallocateObject the registers; then PutScatterGatherList may come or not.
 * A list that is put twice, or is none: 0xE6/6. Locks: dmap.h. IRQL: DISPATCH_LEVEL.
 */
#include "io/dmap.h"

static ULONG IopRegistersFor(IOP_ADAPTER *Adapter, const IOP_NEED *Need)
{
    return Adapter->Domain->Translates ? Need->Pages : Need->Bounced;
}

NTSTATUS IopCalculateScatterGatherList(PDMA_ADAPTER Public, PMDL Mdl, PVOID CurrentVa, ULONG Length,
                                       PULONG ScatterGatherListSize, PULONG pNumberOfMapRegisters)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, HIGH_LEVEL);
    IOP_NEED Need;
    if (Mdl) {
        ULONGLONG Offset = (ULONG_PTR)CurrentVa - (ULONG_PTR)MmGetMdlVirtualAddress(Mdl);
        if (!IopChainHolds(Mdl, Offset, Length))
            return STATUS_BUFFER_TOO_SMALL;
        IopMeasure(Adapter, Mdl, Offset, Length, &Need);
    } else {
        Need.Pages = Need.Elements = Need.Bounced = (ULONG)ADDRESS_AND_SIZE_TO_SPAN_PAGES(CurrentVa, Length);
    }
    if (Need.Pages > Adapter->MostRegisters)
        return STATUS_INSUFFICIENT_RESOURCES;
    *ScatterGatherListSize = sizeof(SCATTER_GATHER_LIST) + Need.Elements * sizeof(SCATTER_GATHER_ELEMENT);
    if (pNumberOfMapRegisters)
        *pNumberOfMapRegisters = Need.Pages;
    return STATUS_SUCCESS;
}

NTSTATUS IopGetDmaTransferInfo(PDMA_ADAPTER Public, PMDL Mdl, ULONGLONG Offset, ULONG Length, BOOLEAN WriteOnly,
                               PDMA_TRANSFER_INFO Info)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    IOP_NEED Need;
    UNREFERENCED_PARAMETER(WriteOnly);
    if (Info->Version != DMA_TRANSFER_INFO_VERSION1 && Info->Version != DMA_TRANSFER_INFO_VERSION2)
        return STATUS_NOT_SUPPORTED;
    if (!IopChainHolds(Mdl, Offset, Length))
        return STATUS_BUFFER_TOO_SMALL;
    IopMeasure(Adapter, Mdl, Offset, Length, &Need);
    Info->V1.MapRegisterCount = Need.Pages;
    Info->V1.ScatterGatherElementCount = Need.Elements;
    Info->V1.ScatterGatherListSize = (ULONG)(sizeof(SCATTER_GATHER_LIST) + Need.Elements * sizeof(SCATTER_GATHER_ELEMENT));
    if (Info->Version == DMA_TRANSFER_INFO_VERSION2)
        Info->V2.LogicalPageCount = Need.Pages;
    return STATUS_SUCCESS;
}

VOID IopDeliverList(IOP_LIST *List, IOP_SET *Set, PDEVICE_OBJECT Device)
{
    ULONG Length = List->Length;
    List->Set = Set;
    List->Public->Reserved = (ULONG_PTR)List;
    (VOID) IopMapWhole(Set, List->Mdl, List->Offset, &Length, List->Write, List->Public, List->Elements);
    if (List->Routine) {
        KIRQL Old;
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        KI_CALLOUT(VOID, List->Routine, (PDEVICE_OBJECT, PIRP, PSCATTER_GATHER_LIST, PVOID),
                   (Device, List->Irp, List->Public, List->Context));
        KeLowerIrql(Old);
    }
}

typedef struct _IOP_ORDER {
    PDEVICE_OBJECT Device;
    PVOID TransferContext;
    PMDL Mdl;
    ULONGLONG Offset;
    ULONG Length, Flags;
    PDRIVER_LIST_CONTROL Routine;
    PVOID Context;
    BOOLEAN Write;
    PVOID Buffer; /* the caller's, or NULL */
    ULONG BufferLength;
    PSCATTER_GATHER_LIST *Out;
} IOP_ORDER;

static NTSTATUS IopMakeList(IOP_ADAPTER *Adapter, const IOP_ORDER *Order)
{
    IOP_NEED Need;
    BOOLEAN Now = (Order->Flags & DMA_SYNCHRONOUS_CALLBACK) != 0;
    IopCheckChain(Adapter, Order->Mdl, Order->Offset, Order->Length);
    if (!IopChainHolds(Order->Mdl, Order->Offset, Order->Length))
        return STATUS_BUFFER_TOO_SMALL;
    for (PMDL Mdl = Order->Mdl; Mdl; Mdl = Mdl->Next)
        IopCheckMdl(Mdl);
    IopMeasure(Adapter, Order->Mdl, Order->Offset, Order->Length, &Need);
    ULONG Registers = IopRegistersFor(Adapter, &Need);
    SIZE_T Bytes = sizeof(SCATTER_GATHER_LIST) + Need.Elements * sizeof(SCATTER_GATHER_ELEMENT);
    if (Registers > Adapter->MostRegisters || ((Order->Flags & DMA_FAIL_ON_BOUNCE) && Need.Bounced))
        return STATUS_INSUFFICIENT_RESOURCES;
    if (Order->Buffer && Order->BufferLength < Bytes)
        return STATUS_BUFFER_TOO_SMALL;
    IOP_LIST *List = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *List, IOP_DMA_TAG);
    PSCATTER_GATHER_LIST Public = Order->Buffer ? Order->Buffer : ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes, IOP_DMA_TAG);
    IOP_SET *Set = NULL;
    if (List == NULL || Public == NULL)
        goto NoMemory;
    if (Order->Buffer)
        IopFreeSpentLists(Adapter, Order->Buffer);
    *List = (IOP_LIST){.Adapter = Adapter,
                       .Public = Public,
                       .Own = Order->Buffer == NULL,
                       .Holds = Order->Routine == NULL,
                       .Write = Order->Write,
                       .Elements = Need.Elements,
                       .Mdl = Order->Mdl,
                       .Offset = Order->Offset,
                       .Length = Order->Length,
                       .Routine = Order->Routine,
                       .Context = Order->Context,
                       .Irp = IopCurrentIrp(Order->Device)};
    BOOLEAN Wait;
    KiAcquireLock(&Adapter->Lock);
    Wait = Registers && (!IsListEmpty(&Adapter->Waiting) || Adapter->Granting);
    InsertTailList(&Adapter->Lists, &List->Link);
    Adapter->ListCount++;
    Adapter->ListsMade++;
    KiReleaseLock(&Adapter->Lock);
    if (Order->Out)
        *Order->Out = Public;
    if (Now || !Wait) { /* nobody before us: now, if the registers are there */
        Set = Wait ? NULL : IopGrantSet(Adapter, Registers, Order->TransferContext);
        if (Set) {
            IopSettleContext(Adapter, Order->TransferContext, IopContextGranted);
            IopDeliverList(List, Set, Order->Device);
            return STATUS_SUCCESS;
        }
    }
    if (!Now) {
        IOP_DMA_REQUEST Request = {.Device = Order->Device,
                                   .TransferContext = Order->TransferContext,
                                   .Registers = Registers,
                                   .Ex = TRUE,
                                   .List = List};
        NTSTATUS Status = IopQueueRequest(Adapter, &Request);
        if (NT_SUCCESS(Status))
            return Status;
    }
    KiAcquireLock(&Adapter->Lock);
    RemoveEntryList(&List->Link);
    Adapter->ListCount--;
    Adapter->ListsMade--;
    KiReleaseLock(&Adapter->Lock);
NoMemory:
    if (List)
        ExFreePoolWithTag(List, IOP_DMA_TAG);
    if (Public && Order->Buffer == NULL)
        ExFreePoolWithTag(Public, IOP_DMA_TAG);
    return STATUS_INSUFFICIENT_RESOURCES;
}

static ULONGLONG IopOffsetInChain(PMDL Mdl, PVOID CurrentVa)
{
    ULONG_PTR Start = (ULONG_PTR)MmGetMdlVirtualAddress(Mdl), Va = (ULONG_PTR)CurrentVa;
    if (Va < Start)
        IopDmaStop("A scatter/gather list was asked for that begins before the first MDL.", 0x1F, 1, Va, (ULONG_PTR)Mdl);
    if (Va - Start >= Mdl->ByteCount)
        IopDmaStop("A scatter/gather list was asked for that begins after the first MDL.", 0x1F, 2, Va, (ULONG_PTR)Mdl);
    return Va - Start;
}

NTSTATUS IopGetScatterGatherList(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, PMDL Mdl, PVOID CurrentVa, ULONG Length,
                                 PDRIVER_LIST_CONTROL ExecutionRoutine, PVOID Context, BOOLEAN WriteToDevice)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    IOP_ORDER Order = {.Device = Device,
                       .Mdl = Mdl,
                       .Offset = IopOffsetInChain(Mdl, CurrentVa),
                       .Length = Length,
                       .Routine = ExecutionRoutine,
                       .Context = Context,
                       .Write = WriteToDevice};
    return IopMakeList(Adapter, &Order);
}

NTSTATUS IopBuildScatterGatherList(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, PMDL Mdl, PVOID CurrentVa, ULONG Length,
                                   PDRIVER_LIST_CONTROL ExecutionRoutine, PVOID Context, BOOLEAN WriteToDevice,
                                   PVOID ScatterGatherBuffer, ULONG ScatterGatherLength)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    IOP_ORDER Order = {.Device = Device,
                       .Mdl = Mdl,
                       .Offset = IopOffsetInChain(Mdl, CurrentVa),
                       .Length = Length,
                       .Routine = ExecutionRoutine,
                       .Context = Context,
                       .Write = WriteToDevice,
                       .Buffer = ScatterGatherBuffer,
                       .BufferLength = ScatterGatherLength};
    return ScatterGatherBuffer ? IopMakeList(Adapter, &Order) : STATUS_BUFFER_TOO_SMALL;
}

static NTSTATUS IopMakeListEx(IOP_ADAPTER *Adapter, IOP_ORDER *Order, PDMA_COMPLETION_ROUTINE Completion)
{
    ULONG Known = DMA_SYNCHRONOUS_CALLBACK | DMA_ZERO_BUFFERS | DMA_FAIL_ON_BOUNCE;
    BOOLEAN Now = (Order->Flags & DMA_SYNCHRONOUS_CALLBACK) != 0;
    IopCheckChain(Adapter, Order->Mdl, Order->Offset, Order->Length);
    if ((Order->Flags & ~Known) || Completion || !Adapter->Description.Master || /* "only for bus-master adapters" */
        (Order->Routine == NULL && (!Now || Order->Out == NULL)) || !IopChainHolds(Order->Mdl, Order->Offset, Order->Length))
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = IopTakeContext(Adapter, Order->TransferContext);
    if (!NT_SUCCESS(Status))
        return Status;
    if ((Order->Flags & DMA_ZERO_BUFFERS) && !Order->Write) {
        ULONGLONG Offset = Order->Offset;
        PMDL Mdl = Order->Mdl;
        for (ULONG Done = 0; Done < Order->Length && (Mdl = IopFindMdl(Mdl, &Offset)) != NULL;) {
            ULONG At = (ULONG)((Mdl->ByteOffset + Offset) & (PAGE_SIZE - 1)), Some = PAGE_SIZE - At;
            Some = Some < Mdl->ByteCount - Offset ? Some : (ULONG)(Mdl->ByteCount - Offset);
            Some = Some < Order->Length - Done ? Some : Order->Length - Done;
            RtlZeroMemory((PUCHAR)HalWindow(MmGetMdlPfnArray(Mdl)[(Mdl->ByteOffset + Offset) >> PAGE_SHIFT]) + At, Some);
            Done += Some;
            Offset += Some;
        }
    }
    Status = IopMakeList(Adapter, Order);
    if (!NT_SUCCESS(Status))
        IopSettleContext(Adapter, Order->TransferContext, IopContextFresh);
    return Status;
}

NTSTATUS IopGetScatterGatherListEx(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, PVOID DmaTransferContext, PMDL Mdl,
                                   ULONGLONG Offset, ULONG Length, ULONG Flags, PDRIVER_LIST_CONTROL ExecutionRoutine,
                                   PVOID Context, BOOLEAN WriteToDevice, PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
                                   PVOID CompletionContext, PSCATTER_GATHER_LIST *ScatterGatherList)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    IOP_ORDER Order = {Device,  DmaTransferContext, Mdl,  Offset, Length,           Flags, ExecutionRoutine,
                       Context, WriteToDevice,      NULL, 0,      ScatterGatherList};
    UNREFERENCED_PARAMETER(CompletionContext);
    return IopMakeListEx(Adapter, &Order, DmaCompletionRoutine);
}

NTSTATUS IopBuildScatterGatherListEx(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, PVOID DmaTransferContext, PMDL Mdl,
                                     ULONGLONG Offset, ULONG Length, ULONG Flags, PDRIVER_LIST_CONTROL ExecutionRoutine,
                                     PVOID Context, BOOLEAN WriteToDevice, PVOID ScatterGatherBuffer, ULONG ScatterGatherLength,
                                     PDMA_COMPLETION_ROUTINE DmaCompletionRoutine, PVOID CompletionContext,
                                     PVOID ScatterGatherList)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    IOP_ORDER Order = {Device,
                       DmaTransferContext,
                       Mdl,
                       Offset,
                       Length,
                       Flags,
                       ExecutionRoutine,
                       Context,
                       WriteToDevice,
                       ScatterGatherBuffer,
                       ScatterGatherLength,
                       ScatterGatherList};
    UNREFERENCED_PARAMETER(CompletionContext);
    if (ScatterGatherBuffer == NULL)
        return STATUS_INVALID_PARAMETER;
    return IopMakeListEx(Adapter, &Order, DmaCompletionRoutine);
}

/* The record of a list that is out, or NULL. */
static IOP_LIST *IopFindList(IOP_ADAPTER *Adapter, PSCATTER_GATHER_LIST Public, BOOLEAN Remove)
{
    IOP_LIST *Found = NULL;
    KiAcquireLock(&Adapter->Lock);
    for (LIST_ENTRY *Entry = Adapter->Lists.Flink; Entry != &Adapter->Lists && !Found; Entry = Entry->Flink) {
        IOP_LIST *List = CONTAINING_RECORD(Entry, IOP_LIST, Link);
        Found = List->Public == Public && (List->Set || List->Spent) ? List : NULL;
    }
    if (Found && Remove) {
        RemoveEntryList(&Found->Link);
        Adapter->ListCount -= Found->Spent ? 0 : 1;
    }
    KiReleaseLock(&Adapter->Lock);
    return Found;
}

static VOID IopFreeChain(PMDL Mdl)
{
    while (Mdl) {
        PMDL Next = Mdl->Next;
        if (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)
            MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
        IoFreeMdl(Mdl);
        Mdl = Next;
    }
}

/* What a list has beside its own memory. */
static VOID IopEndTransfer(IOP_LIST *List, BOOLEAN Write)
{
    IopFlushSet(List->Set, Write);
    IopFreeSet(List->Set);
    IopFreeChain(List->Target);
    List->Set = NULL;
    List->Target = NULL;
}

VOID IopFreeList(IOP_LIST *List)
{
    if (List->Own)
        ExFreePoolWithTag(List->Public, IOP_DMA_TAG);
    ExFreePoolWithTag(List, IOP_DMA_TAG);
}

/* A list without a routine holds the adapter object until its driver gives that back: its registers go then, or (Keep-
 * Registers) with PutScatterGatherList. */
BOOLEAN IopReleaseHeldList(IOP_ADAPTER *Adapter, IO_ALLOCATION_ACTION Action)
{
    IOP_LIST *Found = NULL;
    KiAcquireLock(&Adapter->Lock);
    for (LIST_ENTRY *Entry = Adapter->Lists.Flink; Entry != &Adapter->Lists && !Found; Entry = Entry->Flink) {
        IOP_LIST *List = CONTAINING_RECORD(Entry, IOP_LIST, Link);
        Found = List->Holds && List->Set ? List : NULL;
    }
    if (Found) {
        Found->Holds = FALSE;
        if (Action == DeallocateObject)
            RemoveEntryList(&Found->Link);
    }
    KiReleaseLock(&Adapter->Lock);
    if (Found == NULL || Action != DeallocateObject)
        return Found != NULL;
    IopEndTransfer(Found, Found->Write);
    Found->Spent = TRUE;
    KiAcquireLock(&Adapter->Lock);
    InsertTailList(&Adapter->Lists, &Found->Link);
    Adapter->ListCount--;
    KiReleaseLock(&Adapter->Lock);
    IopServeQueue(Adapter);
    return TRUE;
}

VOID IopFreeSpentLists(IOP_ADAPTER *Adapter, PVOID Buffer)
{
    for (IOP_LIST *Found = NULL;; Found = NULL) {
        KiAcquireLock(&Adapter->Lock);
        for (LIST_ENTRY *Entry = Adapter->Lists.Flink; Entry != &Adapter->Lists && !Found; Entry = Entry->Flink) {
            IOP_LIST *List = CONTAINING_RECORD(Entry, IOP_LIST, Link);
            Found = List->Spent && (Buffer == NULL || List->Public == Buffer) ? List : NULL;
        }
        if (Found)
            RemoveEntryList(&Found->Link);
        KiReleaseLock(&Adapter->Lock);
        if (Found == NULL)
            return;
        IopFreeList(Found);
    }
}

VOID IopPutScatterGatherList(PDMA_ADAPTER Public, PSCATTER_GATHER_LIST ScatterGather, BOOLEAN WriteToDevice)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    IOP_LIST *List = IopFindList(Adapter, ScatterGather, TRUE);
    if (List == NULL)
        IopDmaStop("A scatter/gather list was put that is none, or was put before.", 6, (ULONG_PTR)Adapter->ListsMade,
                   (ULONG_PTR)(Adapter->ListsMade - Adapter->ListCount) + 1, 0);
    if (!List->Spent)
        IopEndTransfer(List, WriteToDevice);
    IopFreeList(List);
    IopServeQueue(Adapter);
}

/* A chain of MDLs, one for each of the buffer's, over what the device sees. */
static NTSTATUS IopDescribeList(IOP_LIST *List, PMDL *Target)
{
    const SCATTER_GATHER_ELEMENT *Element = List->Public->Elements;
    PMDL Source = List->Mdl, *Link = Target;
    ULONGLONG Offset = List->Offset;
    ULONG InElement = 0;
    *Target = NULL;
    for (ULONG Left = List->Length; Left && (Source = IopFindMdl(Source, &Offset)) != NULL; Link = &(*Link)->Next) {
        ULONG Some = Source->ByteCount - (ULONG)Offset < Left ? Source->ByteCount - (ULONG)Offset : Left;
        ULONG InPage = (Source->ByteOffset + (ULONG)Offset) & (PAGE_SIZE - 1); /* bouncing keeps it */
        PMDL Mdl = IoAllocateMdl((PVOID)(ULONG_PTR)InPage, Some, FALSE, FALSE, NULL);
        if (Mdl == NULL) {
            IopFreeChain(*Target);
            *Target = NULL;
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        for (ULONG Done = 0, Step; Done < Some; Done += Step) {
            ULONG64 Address = (ULONG64)Element->Address.QuadPart + InElement;
            Step = PAGE_SIZE - (ULONG)(Address & (PAGE_SIZE - 1));
            Step = Step < Some - Done ? Step : Some - Done;
            MmGetMdlPfnArray(Mdl)[(InPage + Done) >> PAGE_SHIFT] = Address >> PAGE_SHIFT;
            InElement += Step;
            if (InElement == Element->Length) {
                Element++;
                InElement = 0;
            }
        }
        Mdl->MdlFlags |= MDL_PAGES_LOCKED;
        *Link = Mdl;
        Left -= Some;
        Offset += Some;
    }
    return STATUS_SUCCESS;
}

NTSTATUS IopBuildMdlFromScatterGatherList(PDMA_ADAPTER Public, PSCATTER_GATHER_LIST ScatterGather, PMDL OriginalMdl,
                                          PMDL *TargetMdl)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    IOP_LIST *List = IopFindList(Adapter, ScatterGather, FALSE);
    if (List == NULL || List->Spent || OriginalMdl == NULL)
        return STATUS_INVALID_PARAMETER;
    if (List->Target)
        return STATUS_NONE_MAPPED;
    BOOLEAN Bounced = FALSE;
    for (ULONG Index = 0; Index < List->Set->PieceCount && !Bounced; Index++)
        Bounced = List->Set->Pieces[Index].Bounced;
    if (!Bounced) {
        *TargetMdl = OriginalMdl;
        return STATUS_SUCCESS;
    }
    NTSTATUS Status = IopDescribeList(List, &List->Target);
    if (NT_SUCCESS(Status))
        *TargetMdl = List->Target;
    return Status;
}
