/*
 * dmamap.c - mapping a transfer: physical runs, logical pages, or bounce pages; and flushing. SPDX-License-Identifier: MIT
 *
 * A map register of a set is a slot that can show the device one page of a buffer:
 *
 *      device reaches the frames     nothing is needed: the logical address is the physical one, run by run
 *      it does not                   the slot's bounce page; written to the device: copied before, read: copied by the flush
 *      translated (iommu=1)          the slot's logical page shows the frame, for the direction of the transfer only
 *
 *      IOP_SET  | piece | piece | ... | free slots        Next: the first slot behind all that are in use; dmaflush.c frees
 *
 * An adapter without scatter/gather gets every transfer in one run: a buffer whose frames do not follow each other is bounced.
 * Bytes move through the frames' window, so the buffer needs no system address.
 *
 * Misuse, made always (Driver Verifier's numbers): an MDL that is not locked 0xE6/0xE; an address outside it 0xE6/0x1B; no bytes
 * 0xE6/0x21; a flush of more than is mapped 0xE6/0; of nothing 0xE6/0x20; more transfers than slots without a flush 0xE6/0xD.
 *
 * Locks: none over a set: it is its driver's. IopDmaLock inside dmadom.c. IRQL <= DISPATCH_LEVEL.
 */
#include "io/dmap.h"

static inline PFN_NUMBER IopFrameAt(PMDL Mdl, ULONG Offset)
{
    return MmGetMdlPfnArray(Mdl)[((ULONGLONG)Mdl->ByteOffset + Offset) >> PAGE_SHIFT];
}
static inline ULONG IopOffsetInPage(PMDL Mdl, ULONG Offset)
{
    return (Mdl->ByteOffset + Offset) & (PAGE_SIZE - 1);
}
static inline BOOLEAN IopReaches(const IOP_ADAPTER *Adapter, PFN_NUMBER Frame)
{
    return (Frame << PAGE_SHIFT | (PAGE_SIZE - 1)) <= Adapter->Limit;
}

PMDL IopFindMdl(PMDL Mdl, ULONGLONG *Offset)
{
    while (Mdl && *Offset >= Mdl->ByteCount) {
        *Offset -= Mdl->ByteCount;
        Mdl = Mdl->Next;
    }
    return Mdl;
}

BOOLEAN IopChainHolds(PMDL Mdl, ULONGLONG Offset, ULONG Length)
{
    ULONGLONG Bytes = 0;
    for (; Mdl; Mdl = Mdl->Next)
        Bytes += Mdl->ByteCount;
    return Length && Offset < Bytes && Length <= Bytes - Offset;
}

VOID IopCheckMdl(PMDL Mdl)
{
    if (!(Mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL)))
        IopDmaStop("DMA was asked for with an MDL whose pages are not locked.", 0xE, (ULONG_PTR)Mdl, 0, 0);
}

/* Bytes from Offset on, at most Length, whose frames follow each other and are all in reach, or all out of it. */
static ULONG IopRunLength(const IOP_ADAPTER *Adapter, PMDL Mdl, ULONG Offset, ULONG Length, BOOLEAN *Reached)
{
    ULONG Run = PAGE_SIZE - IopOffsetInPage(Mdl, Offset);
    PFN_NUMBER Frame = IopFrameAt(Mdl, Offset);
    *Reached = IopReaches(Adapter, Frame);
    while (Run < Length) {
        PFN_NUMBER Next = IopFrameAt(Mdl, Offset + Run);
        if (IopReaches(Adapter, Next) != *Reached || (*Reached && Next != Frame + 1))
            break;
        Frame = Next;
        Run += PAGE_SIZE;
    }
    return Run < Length ? Run : Length;
}

VOID IopMeasure(IOP_ADAPTER *Adapter, PMDL Mdl, ULONGLONG Offset, ULONG Length, IOP_NEED *Need)
{
    *Need = (IOP_NEED){0, 0, 0};
    while (Length && (Mdl = IopFindMdl(Mdl, &Offset)) != NULL) {
        ULONG Here = (ULONG)(Mdl->ByteCount - Offset), Done = 0;
        Here = Here < Length ? Here : Length;
        ULONG Pages = (IopOffsetInPage(Mdl, (ULONG)Offset) + Here + PAGE_SIZE - 1) >> PAGE_SHIFT;
        Need->Pages += Pages;
        if (Adapter->Domain->Translates) {
            Need->Elements++;
        } else {
            while (Done < Here) {
                BOOLEAN Reached;
                ULONG Run = IopRunLength(Adapter, Mdl, (ULONG)Offset + Done, Here - Done, &Reached);
                Need->Bounced += Reached ? 0 : (IopOffsetInPage(Mdl, (ULONG)Offset + Done) + Run + PAGE_SIZE - 1) >> PAGE_SHIFT;
                Need->Elements++;
                Done += Run;
            }
            if (!Adapter->Description.ScatterGather && Need->Elements > 1)
                Need->Bounced = Need->Pages;
        }
        Offset += Here;
        Length -= Here;
    }
}

VOID IopBounce(IOP_SET *Set, const IOP_PIECE *Piece, BOOLEAN ToDevice)
{
    PUCHAR Bounce =
        Set->Adapter->BounceVa + (SIZE_T)(Set->First + Piece->First) * PAGE_SIZE + IopOffsetInPage(Piece->Mdl, Piece->Offset);
    for (ULONG Done = 0; Done < Piece->Length;) {
        ULONG At = IopOffsetInPage(Piece->Mdl, Piece->Offset + Done), Some = PAGE_SIZE - At;
        Some = Some < Piece->Length - Done ? Some : Piece->Length - Done;
        PUCHAR Buffer = (PUCHAR)HalWindow(IopFrameAt(Piece->Mdl, Piece->Offset + Done)) + At;
        RtlCopyMemory(ToDevice ? Bounce + Done : Buffer, ToDevice ? Buffer : Bounce + Done, Some);
        KiMarkWritten(ToDevice ? Bounce + Done : Buffer, Some);
        Done += Some;
    }
}

PHYSICAL_ADDRESS IopMapRun(IOP_SET *Set, PMDL Mdl, ULONG Offset, PULONG Length, BOOLEAN Write)
{
    IOP_ADAPTER *Adapter = Set->Adapter;
    PHYSICAL_ADDRESS Logical;
    BOOLEAN Reached, Translates = Adapter->Domain->Translates;
    ULONG At = IopOffsetInPage(Mdl, Offset), Run = IopRunLength(Adapter, Mdl, Offset, *Length, &Reached);
    if (!Translates && Reached && (Adapter->Description.ScatterGather || Run == *Length)) {
        if (Adapter->Verified)
            IopCheckNotMapped(Set, Mdl, Offset, Run);
        if (Adapter->Verified && Set->Direct < Set->PieceMax / 2 && Set->PieceCount < Set->PieceMax) {
            IopDropRemnants(Set, Mdl, Offset, Run);
            Set->Direct++;
            Set->Pieces[Set->PieceCount++] = (IOP_PIECE){.Mdl = Mdl, .Offset = Offset, .Length = Run, .Write = Write};
        } else {
            Set->Unlisted += Run;
        }
        *Length = Run;
        Set->BytesMapped += Run;
        Logical.QuadPart = (LONGLONG)(IopFrameAt(Mdl, Offset) << PAGE_SHIFT | At);
        return Logical;
    }
    if (Translates || !Adapter->Description.ScatterGather)
        Run = *Length;
    if (Adapter->Verified)
        IopCheckNotMapped(Set, Mdl, Offset, Run);
    ULONG Left, Pages = (At + Run + PAGE_SIZE - 1) >> PAGE_SHIFT;
    IopDropRemnants(Set, Mdl, Offset, Run);
    if (Pages > Set->Count - Set->Next || Set->PieceCount == Set->PieceMax)
        IopDropRemnants(Set, NULL, 0, 0);
    Left = Set->Count - Set->Next;
    if (Left == 0 || Set->PieceCount == Set->PieceMax)
        IopDmaStop("A transfer was mapped while all map registers are in use: adapter buffers were not flushed.", 0xD,
                   Set->BytesMapped, (ULONG_PTR)Set->Count * PAGE_SIZE, 0);
    if (Pages > Left) {
        Pages = Left;
        Run = Left * PAGE_SIZE - At;
    }
    IOP_PIECE *Piece = &Set->Pieces[Set->PieceCount++];
    *Piece = (IOP_PIECE){Mdl, Offset, Run, Set->Next, Pages, !Translates, Write, FALSE};
    Set->Next += Pages;
    Set->BytesMapped += Run;
    *Length = Run;
    if (Translates) {
        for (ULONG Page = 0; Page < Pages; Page++)
            IopMapLogical(Adapter->Domain, Set->LogicalPage + Piece->First + Page,
                          MmGetMdlPfnArray(Mdl)[(((ULONGLONG)Mdl->ByteOffset + Offset) >> PAGE_SHIFT) + Page],
                          Write ? IOP_DEVICE_READS : IOP_DEVICE_WRITES);
        Logical.QuadPart = (LONGLONG)((ULONG64)(Set->LogicalPage + Piece->First) << PAGE_SHIFT | At);
    } else {
        if (Write)
            IopBounce(Set, Piece, TRUE);
        Logical.QuadPart = (LONGLONG)((Adapter->BounceFrame + Set->First + Piece->First) << PAGE_SHIFT | At);
    }
    return Logical;
}

/* ---- the operations ---- */
static ULONG IopOffsetOf(PMDL Mdl, PVOID CurrentVa, ULONG Length)
{
    ULONG_PTR Start = (ULONG_PTR)MmGetMdlVirtualAddress(Mdl), Va = (ULONG_PTR)CurrentVa;
    if (Va < Start || Va - Start >= Mdl->ByteCount)
        IopDmaStop("DMA was asked for at an address outside the MDL.", 0x1B, Va, (ULONG_PTR)Mdl, 0);
    if (Length == 0)
        IopDmaStop("DMA was asked for a buffer of no bytes.", 0x21, 0, 0, 0);
    return (ULONG)(Va - Start);
}

static IOP_SET *IopSetOf(IOP_ADAPTER *Adapter, PVOID MapRegisterBase, PVOID Va, PMDL Mdl)
{
    IOP_SET *Set = IopCheckSet(Adapter, MapRegisterBase);
    if (Set == NULL)
        IopDmaStop("A DMA routine was given map registers that are not allocated.", 0x20, (ULONG_PTR)MapRegisterBase,
                   (ULONG_PTR)Va, (ULONG_PTR)Mdl);
    return Set;
}

PHYSICAL_ADDRESS IopMapTransfer(PDMA_ADAPTER Public, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa, PULONG Length,
                                BOOLEAN WriteToDevice)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    ULONG Offset = IopOffsetOf(Mdl, CurrentVa, *Length);
    IOP_SET *Set = IopSetOf(Adapter, MapRegisterBase, CurrentVa, Mdl);
    IopCheckMdl(Mdl);
    ULONG Rest = Mdl->ByteCount - Offset, Wanted;
    if (Adapter->Verified && *Length > Rest && IopOffsetInPage(Mdl, Mdl->ByteCount - 1) + (ULONG64)*Length - Rest >= PAGE_SIZE)
        IopDmaStop("DMA was asked for beyond the last page of the MDL.", 0x1F, 3, (ULONG_PTR)Mdl, *Length);
    *Length = Wanted = *Length < Rest ? *Length : Rest;
    PHYSICAL_ADDRESS Logical = IopMapRun(Set, Mdl, Offset, Length, WriteToDevice);
    if (*Length < Wanted && !Adapter->Description.ScatterGather) /* its one run would be shorter than was asked for */
        IopDmaStop("A transfer was mapped that needs more map registers than are allocated for it.", 0, 2,
                   BYTES_TO_PAGES(IopOffsetInPage(Mdl, Offset) + Wanted), Set->Count);
    IopArmSystemDma(Adapter, Logical, *Length, WriteToDevice, NULL, NULL);
    return Logical;
}

BOOLEAN IopFlushAdapterBuffers(PDMA_ADAPTER Public, PMDL Mdl, PVOID MapRegisterBase, PVOID CurrentVa, ULONG Length,
                               BOOLEAN WriteToDevice)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    ULONG Offset = IopOffsetOf(Mdl, CurrentVa, Length);
    IopFlushTransfer(IopSetOf(Adapter, MapRegisterBase, CurrentVa, Mdl), Mdl, Offset, Length, WriteToDevice, CurrentVa);
    return TRUE;
}

NTSTATUS IopFlushAdapterBuffersEx(PDMA_ADAPTER Public, PMDL Mdl, PVOID MapRegisterBase, ULONGLONG Offset, ULONG Length,
                                  BOOLEAN WriteToDevice)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    if (!IopChainHolds(Mdl, Offset, Length))
        return STATUS_INVALID_PARAMETER;
    IopFlushTransfer(IopSetOf(Adapter, MapRegisterBase, NULL, Mdl), Mdl, Offset, Length, WriteToDevice, NULL);
    return STATUS_SUCCESS;
}

/* Maps along the chain into Elements[Room]; returns how many, *Length what they hold. */
static ULONG IopMapChain(IOP_SET *Set, PMDL Mdl, ULONGLONG Offset, PULONG Length, BOOLEAN Write,
                         PSCATTER_GATHER_ELEMENT Elements, ULONG Room)
{
    ULONG Count = 0, Done = 0;
    while (Done < *Length && (Mdl = IopFindMdl(Mdl, &Offset)) != NULL) {
        ULONG Some = (ULONG)(Mdl->ByteCount - Offset);
        Some = Some < *Length - Done ? Some : *Length - Done;
        ULONG Pieces = Set->PieceCount;
        IopCheckMdl(Mdl);
        PHYSICAL_ADDRESS Logical = IopMapRun(Set, Mdl, (ULONG)Offset, &Some, Write);
        SCATTER_GATHER_ELEMENT *Last = Count ? &Elements[Count - 1] : NULL;
        if (Last && Last->Address.QuadPart + Last->Length == Logical.QuadPart) {
            Last->Length += Some;
        } else if (Count == Room) {
            if (Set->PieceCount > Pieces) { /* it does not fit: as if it had not been mapped */
                IopTakeBackPiece(Set);
            } else {
                Set->Unlisted -= Some;
                Set->BytesMapped -= Some;
            }
            break;
        } else {
            Elements[Count++] = (SCATTER_GATHER_ELEMENT){.Address = Logical, .Length = Some};
        }
        Done += Some;
        Offset += Some;
        if (Set->Adapter->Bounces || Set->Adapter->Domain->Translates) {
            if (Set->Next == Set->Count)
                break; /* the rest in the next round */
        }
    }
    *Length = Done;
    return Count;
}

ULONG IopMapWhole(IOP_SET *Set, PMDL Mdl, ULONGLONG Offset, PULONG Length, BOOLEAN Write, PSCATTER_GATHER_LIST List, ULONG Room)
{
    List->NumberOfElements = IopMapChain(Set, Mdl, Offset, Length, Write, List->Elements, Room);
    return List->NumberOfElements;
}

NTSTATUS IopMapTransferEx(PDMA_ADAPTER Public, PMDL Mdl, PVOID MapRegisterBase, ULONGLONG Offset, ULONG DeviceOffset,
                          PULONG Length, BOOLEAN WriteToDevice, PSCATTER_GATHER_LIST ScatterGatherBuffer,
                          ULONG ScatterGatherBufferLength, PDMA_COMPLETION_ROUTINE DmaCompletionRoutine,
                          PVOID CompletionContext)
{
    IOP_ADAPTER *Adapter = IopCheckAdapter(Public, DISPATCH_LEVEL);
    IOP_SET *Set = IopSetOf(Adapter, MapRegisterBase, NULL, Mdl);
    union {
        SCATTER_GATHER_LIST List;
        UCHAR Bytes[sizeof(SCATTER_GATHER_LIST) + sizeof(SCATTER_GATHER_ELEMENT)];
    } Default;
    UNREFERENCED_PARAMETER(DeviceOffset);
    IopCheckChain(Adapter, Mdl, Offset, *Length);
    if (ScatterGatherBuffer == NULL && !Adapter->Description.Master) { /* "an internally allocated, default buffer" */
        ScatterGatherBuffer = &Default.List;
        ScatterGatherBufferLength = sizeof Default;
    }
    if ((DmaCompletionRoutine && Adapter->Description.Master) || ScatterGatherBuffer == NULL ||
        ScatterGatherBufferLength < sizeof Default || !IopChainHolds(Mdl, Offset, *Length))
        return STATUS_INVALID_PARAMETER; /* completion routines are for system DMA */
    if (__atomic_load_n(&Set->Cancelled, __ATOMIC_RELAXED))
        return STATUS_CANCELLED;
    if (Set->BytesMapped)
        IopDmaStop("MapTransferEx was called again before the adapter buffers were flushed.", 0xD, Set->BytesMapped,
                   (ULONG_PTR)Set->Count * PAGE_SIZE, 0);
    ScatterGatherBuffer->Reserved = 0;
    (VOID) IopMapWhole(Set, Mdl, Offset, Length, WriteToDevice, ScatterGatherBuffer,
                       Adapter->Description.Master
                           ? (ULONG)((ScatterGatherBufferLength - sizeof(SCATTER_GATHER_LIST)) / sizeof(SCATTER_GATHER_ELEMENT))
                           : 1);
    if (ScatterGatherBuffer->NumberOfElements)
        IopArmSystemDma(Adapter, ScatterGatherBuffer->Elements[0].Address, *Length, WriteToDevice, DmaCompletionRoutine,
                        CompletionContext);
    return STATUS_SUCCESS;
}

NTSTATUS IopFlushDmaBuffer(PDMA_ADAPTER Public, PMDL Mdl, BOOLEAN ReadOperation)
{
    UNREFERENCED_PARAMETER(ReadOperation);
    (VOID) IopCheckAdapter(Public, DISPATCH_LEVEL);
    IopCheckMdl(Mdl); /* and nothing to do: caches are coherent */
    return STATUS_SUCCESS;
}
