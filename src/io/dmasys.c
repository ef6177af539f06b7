/*
 * dmasys.c - the system DMA controller: devices that cannot put out addresses themselves. SPDX-License-Identifier: MIT
 *
 * A description without Master is that of a device with a line to a system DMA controller, which moves its bytes. Its adapter maps
 * as any other (one run at a time: what is in several is bounced), and mapping a transfer programs the channel:
 *
 *      idle --MapTransfer(Ex)--> armed --device asks, bytes move, count goes down--> terminal count --FlushAdapterBuffers--> idle
 *                                  |                                                   `--AutoInitialize: begins again
 *                                  `--CancelMappedTransfer--> cancelled --FlushAdapterBuffers--> idle
 *
 * The device's side is ntmm_device_system_dma: so many bytes in or out, in the direction that was programmed, until the count
 * is used up. ReadDmaCounter is what is left. At terminal count, and when a transfer is cancelled, the completion routine of
 * MapTransferEx is called at DISPATCH_LEVEL, on the thread that brought it about. ConfigureAdapterChannel's functions are the
 * controller's own: whoever plays the device may play them too (ntmm_device_on_configure); else there are none.
 *
 * Locks: IOP_ADAPTER.Lock guards IOP_ADAPTER.System; no lock is held while bytes move or a routine runs. IRQL <= DISPATCH_LEVEL.
 */
#include "io/dmap.h"

VOID IopArmSystemDma(IOP_ADAPTER *Adapter, PHYSICAL_ADDRESS Logical, ULONG Length, BOOLEAN Write,
                     PDMA_COMPLETION_ROUTINE Routine, PVOID Context)
{
    if (Adapter->Description.Master)
        return;
    KiAcquireLock(&Adapter->Lock);
    Adapter->System = (IOP_SYSTEM_DMA){.State = IopDmaArmed,
                                       .Logical = Logical,
                                       .Length = Length,
                                       .Write = Write,
                                       .Round = Adapter->System.Round + 1,
                                       .Routine = Routine,
                                       .Context = Context};
    KiReleaseLock(&Adapter->Lock);
}

VOID IopDisarmSystemDma(IOP_ADAPTER *Adapter)
{
    if (Adapter->Description.Master)
        return;
    KiAcquireLock(&Adapter->Lock);
    Adapter->System.State = IopDmaIdle;
    KiReleaseLock(&Adapter->Lock);
}

static VOID IopTellCompleted(IOP_ADAPTER *Adapter, const IOP_SYSTEM_DMA *Dma, DMA_COMPLETION_STATUS Status)
{
    KIRQL Old;
    if (Dma->Routine == NULL)
        return;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KI_CALLOUT(VOID, Dma->Routine, (PDMA_ADAPTER, PDEVICE_OBJECT, PVOID, DMA_COMPLETION_STATUS),
               (&Adapter->Public, Adapter->Device, Dma->Context, Status));
    KeLowerIrql(Old);
}

ULONG IopSystemDmaTransfer(PDEVICE_OBJECT Device, PVOID Bytes, ULONG Length)
{
    ULONG Moved = 0;
    while (Moved < Length) {
        IOP_ADAPTER *Adapter = IopSystemAdapterOf(Device);
        if (Adapter == NULL)
            break;
        KiAcquireLock(&Adapter->Lock);
        IOP_SYSTEM_DMA Dma = Adapter->System;
        KiReleaseLock(&Adapter->Lock);
        ULONG Some = Dma.State == IopDmaArmed ? Dma.Length - Dma.Done : 0;
        Some = Some < Length - Moved ? Some : Length - Moved;
        if (Some == 0)
            break;
        /* Write is the driver's word: memory to device. */
        IopDeviceAccess(Device, (ULONG64)Dma.Logical.QuadPart + Dma.Done, (PUCHAR)Bytes + Moved, Some, !Dma.Write);
        BOOLEAN Ended = FALSE, Mine;
        KiAcquireLock(&Adapter->Lock);
        Mine = Adapter->System.State == IopDmaArmed && Adapter->System.Round == Dma.Round;
        if (Mine) {
            Adapter->System.Done += Some;
            Ended = Adapter->System.Done == Dma.Length;
            if (Ended && Adapter->Description.AutoInitialize)
                Adapter->System.Done = 0;
            else if (Ended)
                Adapter->System.State = IopDmaTerminal;
        }
        KiReleaseLock(&Adapter->Lock);
        if (!Mine)
            break; /* it was flushed or cancelled under the device's hands */
        Moved += Some;
        if (Ended)
            IopTellCompleted(Adapter, &Dma, DmaComplete);
    }
    return Moved;
}

/* ---- the operations ---- */
ULONG IopReadDmaCounter(PDMA_ADAPTER Public)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    KiAcquireLock(&Adapter->Lock);
    ULONG Left = Adapter->System.State == IopDmaIdle ? 0 : Adapter->System.Length - Adapter->System.Done;
    KiReleaseLock(&Adapter->Lock);
    return Left;
}

static LIST_ENTRY IopFunctions = {&IopFunctions, &IopFunctions}; /* IopDmaLock */
static volatile LONG IopFunctionCalls;

VOID IopSetChannelFunctions(IOP_CHANNEL_FUNCTIONS *Functions)
{
    KiAcquireLock(&IopDmaLock);
    InsertHeadList(&IopFunctions, &Functions->Link);
    KiReleaseLock(&IopDmaLock);
}

VOID IopForgetChannelFunctions(IOP_CHANNEL_FUNCTIONS *Functions)
{
    KiAcquireLock(&IopDmaLock);
    RemoveEntryList(&Functions->Link);
    KiReleaseLock(&IopDmaLock);
    while (__atomic_load_n(&IopFunctionCalls, __ATOMIC_SEQ_CST))
        YieldProcessor();
}

NTSTATUS IopConfigureAdapterChannel(PDMA_ADAPTER Public, ULONG FunctionNumber, PVOID Context)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    IOP_CHANNEL_FUNCTIONS *Found = NULL;
    NTSTATUS Status = STATUS_NOT_IMPLEMENTED; /* "does not implement the function specified by FunctionNumber" */
    if (Adapter->Description.Master)
        return Status;
    KiAcquireLock(&IopDmaLock);
    for (LIST_ENTRY *Entry = IopFunctions.Flink; Entry != &IopFunctions && !Found; Entry = Entry->Flink)
        if (CONTAINING_RECORD(Entry, IOP_CHANNEL_FUNCTIONS, Link)->Device == Adapter->Device)
            Found = CONTAINING_RECORD(Entry, IOP_CHANNEL_FUNCTIONS, Link);
    if (Found)
        __atomic_fetch_add(&IopFunctionCalls, 1, __ATOMIC_SEQ_CST);
    KiReleaseLock(&IopDmaLock);
    if (Found) {
        Status = Found->Routine(Found, FunctionNumber, Context);
        __atomic_fetch_sub(&IopFunctionCalls, 1, __ATOMIC_SEQ_CST);
    }
    return Status;
}

NTSTATUS IopCancelMappedTransfer(PDMA_ADAPTER Public, PVOID DmaTransferContext)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    if (Adapter->Description.Master)
        return STATUS_NOT_IMPLEMENTED;
    IOP_TRANSFER_CONTEXT *Context = DmaTransferContext;
    BOOLEAN Mine = FALSE;
    KiAcquireLock(&Adapter->Lock);
    IOP_SYSTEM_DMA Dma = Adapter->System;
    for (LIST_ENTRY *Entry = Adapter->Sets.Flink; Entry != &Adapter->Sets && !Mine && Context; Entry = Entry->Flink) {
        IOP_SET *Set = CONTAINING_RECORD(Entry, IOP_SET, Link);
        Mine = Set->TransferContext == Context && !Set->Cancelled;
        if (Mine) {
            __atomic_store_n(&Set->Cancelled, TRUE, __ATOMIC_RELAXED); /* "prevents any further transfers under this context" */
            Context->State = IopContextCancelled;
        }
    }
    if (Mine && Dma.State == IopDmaArmed)
        Adapter->System.State = IopDmaStopped;
    KiReleaseLock(&Adapter->Lock);
    if (!Mine)
        return STATUS_UNSUCCESSFUL; /* nothing was allocated for the context, or it is cancelled */
    if (Dma.State == IopDmaArmed)
        IopTellCompleted(Adapter, &Dma, DmaCancelled);
    return STATUS_SUCCESS;
}
