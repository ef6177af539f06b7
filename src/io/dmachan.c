/*
 * dmachan.c - adapter channels and map registers: who waits, who is served, what is given back. SPDX-License-Identifier: MIT
 *
 * An adapter has one channel and MostRegisters map registers. A request waits until both are free and is then served, in order
 * of arrival, on the thread that freed them (or at once); serving means calling the driver's routine at DISPATCH_LEVEL, which
 * says what becomes of the two:
 *
 *      waiting --IopServeQueue--> routine --KeepObject---------------------> channel held  --FreeAdapterChannel--> free
 *                                         --DeallocateObjectKeepRegisters--> registers out --FreeMapRegisters----> free
 *                                         --DeallocateObject---------------> free
 *
 * Scatter/gather lists wait in the same queue; a list keeps its registers and not the channel. A set of registers (IOP_SET, the
 * MapRegisterBase of drivers) reserves bounce pages or logical pages, so that mapping a transfer cannot fail.
 *
 * Freed twice: 0xE6/4 (channel), 0xE6/5 (registers); a second request of a device that has one, or from its own routine: 0xE6/0xB.
 *
 * A transfer context names a request for who may want to cancel it:
 *
 *      fresh --request--> waiting --served--> granted --request--> waiting ...
 *        `---CancelAdapterChannel--- | --------' CancelMappedTransfer
 *                                    `--> cancelled: STATUS_CANCELLED for whoever comes with it, until it is initialised again
 *
 * Invariants: 1. ChannelBusy while a routine of the channel runs or Held is set. 2. A bounce register's bit is set exactly while
 * a set has it. 3. Only one thread at a time serves an adapter's queue (Granting), so the order of arrival is kept.
 * Locks: IOP_ADAPTER.Lock; never held across a routine.
 */
#include "io/dmap.h"

#define IOP_CONTEXT_MAGIC 0x74784374u

/* ---- registers ---- */
static BOOLEAN IopTakeRegisters(IOP_ADAPTER *Adapter, ULONG Count, ULONG *First)
{
    ULONG Run = 0;
    for (ULONG Index = 0; Index < Adapter->MostRegisters; Index++) {
        Run = Adapter->Used[Index / 64] >> (Index % 64) & 1 ? 0 : Run + 1;
        if (Run == Count) {
            *First = Index + 1 - Count;
            for (ULONG Bit = *First; Bit <= Index; Bit++)
                Adapter->Used[Bit / 64] |= 1ull << (Bit % 64);
            return TRUE;
        }
    }
    return FALSE;
}

IOP_SET *IopGrantSet(IOP_ADAPTER *Adapter, ULONG Registers, PVOID TransferContext)
{
    BOOLEAN Slots = Adapter->Bounces || Adapter->Domain->Translates, Good = TRUE;
    ULONG Pieces = Slots || Adapter->Verified ? (Registers < 1024 ? Registers : 1024) + 1 : 0;
    Pieces *= Adapter->Verified ? 2 : 1; /* with those that need no register */
    IOP_SET *Set = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Set + Pieces * sizeof(IOP_PIECE), IOP_DMA_TAG);
    if (Set == NULL)
        return NULL;
    Set->Adapter = Adapter;
    Set->Count = Registers;
    Set->TransferContext = TransferContext;
    Set->PieceMax = Pieces;
    if (Adapter->Domain->Translates && Registers)
        Good = IopReserveLogical(Adapter->Domain, Registers, 1, 0, Adapter->Limit, &Set->LogicalPage);
    KiAcquireLock(&Adapter->Lock);
    if (Good && Adapter->Bounces && Registers)
        Good = IopTakeRegisters(Adapter, Registers, &Set->First);
    if (Good) {
        InsertTailList(&Adapter->Sets, &Set->Link);
        Adapter->SetCount++;
    }
    KiReleaseLock(&Adapter->Lock);
    if (!Good) {
        if (Set->LogicalPage)
            IopReleaseLogical(Adapter->Domain, Set->LogicalPage, Registers);
        ExFreePoolWithTag(Set, IOP_DMA_TAG);
        return NULL;
    }
    IopCheckRegisters(Adapter, Set->First, Registers);
    return Set;
}

VOID IopFreeSet(IOP_SET *Set)
{
    IOP_ADAPTER *Adapter = Set->Adapter;
    if (Set->LogicalPage)
        IopReleaseLogical(Adapter->Domain, Set->LogicalPage, Set->Count);
    IopFillRegisters(Adapter, Set->First, Set->Count);
    KiAcquireLock(&Adapter->Lock);
    for (ULONG Bit = Set->First; Adapter->Bounces && Bit < Set->First + Set->Count; Bit++)
        Adapter->Used[Bit / 64] &= ~(1ull << (Bit % 64));
    RemoveEntryList(&Set->Link);
    Adapter->SetCount--;
    KiReleaseLock(&Adapter->Lock);
    ExFreePoolWithTag(Set, IOP_DMA_TAG);
}

IOP_SET *IopCheckSet(IOP_ADAPTER *Adapter, PVOID MapRegisterBase)
{
    BOOLEAN Known = FALSE;
    KiAcquireLock(&Adapter->Lock);
    for (LIST_ENTRY *Entry = Adapter->Sets.Flink; Entry != &Adapter->Sets && !Known; Entry = Entry->Flink)
        Known = CONTAINING_RECORD(Entry, IOP_SET, Link) == MapRegisterBase;
    KiReleaseLock(&Adapter->Lock);
    return Known ? MapRegisterBase : NULL;
}

/* ---- the queue ---- */
/* What the routine of the channel said. */
static VOID IopFollow(IOP_ADAPTER *Adapter, IOP_SET *Set, IO_ALLOCATION_ACTION Action)
{
    if (Action == DeallocateObject)
        IopFreeSet(Set);
    KiAcquireLock(&Adapter->Lock);
    if (Action == KeepObject) {
        Adapter->Held = Set;
    } else {
        Adapter->ChannelBusy = FALSE;
        Adapter->HeldBy = NULL;
    }
    KiReleaseLock(&Adapter->Lock);
}

static IO_ALLOCATION_ACTION IopCallRoutine(const IOP_DMA_REQUEST *Request, IOP_SET *Set)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old); /* FreeAdapterObject and CancelAdapterChannel may come from below */
    IO_ALLOCATION_ACTION Action = KI_CALLOUT(IO_ALLOCATION_ACTION, Request->Routine, (PDEVICE_OBJECT, PIRP, PVOID, PVOID),
                                             (Request->Device, Request->Irp, Set, Request->Context));
    KeLowerIrql(Old);
    return Action;
}

/* Lock held. NULL: there is none. */
static VOID IopSettleContextLocked(IOP_TRANSFER_CONTEXT *Context, IOP_CONTEXT_STATE State)
{
    if (Context != NULL && Context->State == IopContextWaiting)
        Context->State = State;
}

VOID IopServeQueue(IOP_ADAPTER *Adapter)
{
    for (;;) {
        IOP_DMA_REQUEST *Request = NULL;
        KiAcquireLock(&Adapter->Lock);
        if (!Adapter->Granting && !IsListEmpty(&Adapter->Waiting)) {
            Request = CONTAINING_RECORD(Adapter->Waiting.Flink, IOP_DMA_REQUEST, Link);
            if (Request->Routine && Adapter->ChannelBusy)
                Request = NULL;
            Adapter->Granting = Request != NULL;
        }
        KiReleaseLock(&Adapter->Lock);
        if (Request == NULL)
            return;
        IOP_SET *Set = IopGrantSet(Adapter, Request->Registers, Request->TransferContext);
        KiAcquireLock(&Adapter->Lock);
        if (Set) {
            RemoveEntryList(&Request->Link);
            IopSettleContextLocked(Request->TransferContext, IopContextGranted);
            if (Request->Routine) {
                Adapter->ChannelBusy = TRUE;
                Adapter->HeldBy = Request->Device;
            }
        }
        Adapter->Granting = FALSE;
        KiReleaseLock(&Adapter->Lock);
        if (Set == NULL)
            return; /* whoever frees registers comes by again */
        if (Request->Routine)
            IopFollow(Adapter, Set, IopCallRoutine(Request, Set));
        else
            IopDeliverList(Request->List, Set, Request->Device);
        ExFreePoolWithTag(Request, IOP_DMA_TAG);
    }
}

NTSTATUS IopQueueRequest(IOP_ADAPTER *Adapter, const IOP_DMA_REQUEST *Like)
{
    IOP_DMA_REQUEST *Request = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Request, IOP_DMA_TAG);
    BOOLEAN Twice = FALSE;
    if (Request == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    *Request = *Like;
    Request->Irp = IopCurrentIrp(Like->Device);
    KiAcquireLock(&Adapter->Lock);
    if (Like->Routine && !Like->Ex && Like->Device) {
        Twice = Adapter->ChannelBusy && Adapter->HeldBy == Like->Device; /* or its routine has not returned */
        for (LIST_ENTRY *Entry = Adapter->Waiting.Flink; Entry != &Adapter->Waiting && !Twice; Entry = Entry->Flink) {
            IOP_DMA_REQUEST *Other = CONTAINING_RECORD(Entry, IOP_DMA_REQUEST, Link);
            Twice = Other->Routine && !Other->Ex && Other->Device == Like->Device;
        }
    }
    if (!Twice)
        InsertTailList(&Adapter->Waiting, &Request->Link);
    KiReleaseLock(&Adapter->Lock);
    if (Twice) {
        ExFreePoolWithTag(Request, IOP_DMA_TAG);
        IopDmaStop("A device asked for its adapter channel while it has it, or waits for it.", 0xB, 1, 0, 0);
    }
    IopServeQueue(Adapter);
    return STATUS_SUCCESS;
}

NTSTATUS IopAllocateAdapterChannel(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, ULONG NumberOfMapRegisters,
                                   PDRIVER_CONTROL ExecutionRoutine, PVOID Context)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    IopCheckRegisterCount(Adapter, NumberOfMapRegisters);
    if (NumberOfMapRegisters > Adapter->MostRegisters)
        return STATUS_INSUFFICIENT_RESOURCES;
    IOP_DMA_REQUEST Request = {
        .Device = Device, .Registers = NumberOfMapRegisters, .Routine = ExecutionRoutine, .Context = Context};
    return IopQueueRequest(Adapter, &Request);
}

VOID IopFreeAdapterChannel(PDMA_ADAPTER Public)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    KiAcquireLock(&Adapter->Lock);
    IOP_SET *Set = Adapter->Held;
    Adapter->Held = NULL;
    KiReleaseLock(&Adapter->Lock);
    if (Set == NULL)
        IopDmaStop("An adapter channel was freed that is not allocated.", 4, 1, 0, 0);
    if (Set->BytesMapped)
        IopDmaStop("An adapter channel was freed before its buffers were flushed.", 0xD, Set->BytesMapped, 0, 0);
    IopFollow(Adapter, Set, DeallocateObject);
    IopServeQueue(Adapter);
}

VOID IopFreeMapRegisters(PDMA_ADAPTER Public, PVOID MapRegisterBase, ULONG NumberOfMapRegisters)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    IOP_SET *Set = IopCheckSet(Adapter, MapRegisterBase);
    if (Set == NULL || Set == Adapter->Held || Set->Count != NumberOfMapRegisters)
        IopDmaStop("Map registers were freed that are not allocated, or another number of them.", 5, NumberOfMapRegisters, 0,
                   0);
    if (Set->BytesMapped)
        IopDmaStop("Map registers were freed while they are mapped.", 0x10, Set->Next, 0, 0);
    IopFreeSet(Set);
    IopServeQueue(Adapter);
}

/* ---- version 3 ---- */
NTSTATUS IopInitializeDmaTransferContext(PDMA_ADAPTER Public, PVOID DmaTransferContext)
{
    (VOID) IopCheckAdapter(Public, DISPATCH_LEVEL);
    if (DmaTransferContext == NULL)
        return STATUS_INVALID_PARAMETER;
    RtlZeroMemory(DmaTransferContext, DMA_TRANSFER_CONTEXT_SIZE_V1);
    *(IOP_TRANSFER_CONTEXT *)DmaTransferContext = (IOP_TRANSFER_CONTEXT){IOP_CONTEXT_MAGIC, IopContextFresh, Public};
    return STATUS_SUCCESS;
}

static BOOLEAN IopIsContext(const IOP_ADAPTER *Adapter, const IOP_TRANSFER_CONTEXT *Context)
{
    return Context != NULL && Context->Magic == IOP_CONTEXT_MAGIC && Context->Adapter == &Adapter->Public;
}

NTSTATUS IopTakeContext(IOP_ADAPTER *Adapter, PVOID DmaTransferContext)
{
    IOP_TRANSFER_CONTEXT *Context = DmaTransferContext;
    NTSTATUS Status = STATUS_SUCCESS;
    if (!IopIsContext(Adapter, Context))
        return STATUS_INVALID_PARAMETER;
    KiAcquireLock(&Adapter->Lock);
    if (Context->State == IopContextCancelled)
        Status = STATUS_CANCELLED;
    else if (Context->State == IopContextWaiting)
        Status = STATUS_INVALID_PARAMETER; /* "must be unique across all adapter allocation requests" */
    else
        Context->State = IopContextWaiting;
    KiReleaseLock(&Adapter->Lock);
    return Status;
}

VOID IopSettleContext(IOP_ADAPTER *Adapter, PVOID DmaTransferContext, IOP_CONTEXT_STATE State)
{
    KiAcquireLock(&Adapter->Lock);
    IopSettleContextLocked(DmaTransferContext, State);
    KiReleaseLock(&Adapter->Lock);
}

NTSTATUS IopAllocateAdapterChannelEx(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, PVOID DmaTransferContext,
                                     ULONG NumberOfMapRegisters, ULONG Flags, PDRIVER_CONTROL ExecutionRoutine,
                                     PVOID ExecutionContext, PVOID *MapRegisterBase)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, IOP_EXACTLY | DISPATCH_LEVEL);
    BOOLEAN Now = (Flags & DMA_SYNCHRONOUS_CALLBACK) != 0, Free;
    if ((Flags & ~(ULONG)DMA_SYNCHRONOUS_CALLBACK) || (ExecutionRoutine == NULL && MapRegisterBase == NULL) ||
        (MapRegisterBase && !Now))
        return STATUS_INVALID_PARAMETER;
    IopCheckRegisterCount(Adapter, NumberOfMapRegisters);
    if (NumberOfMapRegisters > Adapter->MostRegisters)
        return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS Status = IopTakeContext(Adapter, DmaTransferContext);
    if (!NT_SUCCESS(Status))
        return Status;
    IOP_DMA_REQUEST Request = {.Device = Device,
                               .Irp = IopCurrentIrp(Device),
                               .TransferContext = DmaTransferContext,
                               .Registers = NumberOfMapRegisters,
                               .Ex = TRUE,
                               .Routine = ExecutionRoutine,
                               .Context = ExecutionContext};
    if (!Now) {
        Status = IopQueueRequest(Adapter, &Request);
        if (!NT_SUCCESS(Status))
            IopSettleContext(Adapter, DmaTransferContext, IopContextFresh);
        return Status;
    }
    KiAcquireLock(&Adapter->Lock);
    Free = !Adapter->ChannelBusy && !Adapter->Granting && IsListEmpty(&Adapter->Waiting);
    Adapter->ChannelBusy |= Free;
    KiReleaseLock(&Adapter->Lock);
    IOP_SET *Set = Free ? IopGrantSet(Adapter, NumberOfMapRegisters, DmaTransferContext) : NULL;
    if (Set == NULL) {
        if (Free) {
            KiAcquireLock(&Adapter->Lock);
            Adapter->ChannelBusy = FALSE;
            KiReleaseLock(&Adapter->Lock);
        }
        IopSettleContext(Adapter, DmaTransferContext, IopContextFresh);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    IopSettleContext(Adapter, DmaTransferContext, IopContextGranted);
    if (MapRegisterBase)
        *MapRegisterBase = Set;
    IopFollow(Adapter, Set, ExecutionRoutine ? IopCallRoutine(&Request, Set) : KeepObject);
    return STATUS_SUCCESS;
}

BOOLEAN IopCancelAdapterChannel(PDMA_ADAPTER Public, PDEVICE_OBJECT Device, PVOID DmaTransferContext)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    IOP_TRANSFER_CONTEXT *Context = DmaTransferContext;
    IOP_DMA_REQUEST *Found = NULL;
    BOOLEAN Early;
    if (!IopIsContext(Adapter, Context))
        return FALSE;
    KiAcquireLock(&Adapter->Lock);
    Early = Context->State == IopContextFresh; /* before the request: that is cancelled when it comes */
    for (LIST_ENTRY *Entry = Adapter->Waiting.Flink; Entry != &Adapter->Waiting && !Found; Entry = Entry->Flink) {
        IOP_DMA_REQUEST *Request = CONTAINING_RECORD(Entry, IOP_DMA_REQUEST, Link);
        if (Request->TransferContext == DmaTransferContext && Request->Device == Device &&
            !(Adapter->Granting && Entry == Adapter->Waiting.Flink))
            Found = Request;
    }
    if (Found) {
        RemoveEntryList(&Found->Link);
        if (Found->List) {
            RemoveEntryList(&Found->List->Link);
            Adapter->ListCount--;
        }
    }
    if (Found || Early)
        Context->State = IopContextCancelled;
    KiReleaseLock(&Adapter->Lock);
    if (Found == NULL)
        return Early;
    if (Found->List)
        IopFreeList(Found->List);
    ExFreePoolWithTag(Found, IOP_DMA_TAG);
    IopServeQueue(Adapter);
    return TRUE;
}

VOID IopFreeAdapterObject(PDMA_ADAPTER Public, IO_ALLOCATION_ACTION AllocationAction)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    if (AllocationAction == KeepObject)
        return;
    KiAcquireLock(&Adapter->Lock);
    IOP_SET *Set = Adapter->Held;
    Adapter->Held = NULL;
    KiReleaseLock(&Adapter->Lock);
    if (Set == NULL && IopReleaseHeldList(Adapter, AllocationAction))
        return;
    if (Set == NULL)
        IopDmaStop("FreeAdapterObject was called while the adapter channel is not allocated.", 4, 1, 0, 0);
    if (AllocationAction == DeallocateObject && Set->BytesMapped)
        IopDmaStop("An adapter channel was freed before its buffers were flushed.", 0xD, Set->BytesMapped, 0, 0);
    IopFollow(Adapter, Set, AllocationAction);
    IopServeQueue(Adapter);
}
