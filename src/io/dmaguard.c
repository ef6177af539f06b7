/*
 * dmaguard.c - DMA verification (option 0x80): what stands around a verified adapter's buffers. SPDX-License-Identifier: MIT
 *
 * An adapter is verified if its driver was when it asked for it (IoGetDmaAdapter). Its common buffers stand between guards, in
 * pages of their own that neither driver nor device has been told of; they are looked at when the buffer is freed:
 *
 *      | 0F 0F 0F ... "DmaVrfy0" | the buffer's bytes | "DmaVrfy0" 0F 0F ... to the end of the next page |
 *        0xE6/F/4      0xE6/F/1      Va, Length          0xE6/F/2   0xE6/F/5
 *
 * Its free map registers (bounce pages) are filled with 0x0F and looked at when they are given out again and when the adapter goes:
 * a device that still writes there, or a driver by an old address, is 0xE6/F/3.
 *
 * IRQL: that of the callers. Locks: none; the memory is its caller's alone.
 */
#include "io/dmap.h"

#define IOP_GUARD_BYTE 0x0F
static const CHAR IopGuardTag[8] = {'D', 'm', 'a', 'V', 'r', 'f', 'y', '0'};

SIZE_T IopGuardedSize(ULONG Length)
{
    return ROUND_TO_PAGES((SIZE_T)Length + sizeof(IopGuardTag)) + 2 * PAGE_SIZE;
}

/* Block has IopGuardedSize(Length) bytes. Returns the buffer in it. */
PVOID IopGuardBuffer(PVOID Block, ULONG Length)
{
    PUCHAR Va = (PUCHAR)Block + PAGE_SIZE, End = (PUCHAR)Block + IopGuardedSize(Length);
    memset(Block, IOP_GUARD_BYTE, PAGE_SIZE - sizeof(IopGuardTag));
    memcpy(Va - sizeof(IopGuardTag), IopGuardTag, sizeof(IopGuardTag));
    memcpy(Va + Length, IopGuardTag, sizeof(IopGuardTag));
    memset(Va + Length + sizeof(IopGuardTag), IOP_GUARD_BYTE, (SIZE_T)(End - Va) - Length - sizeof(IopGuardTag));
    return Va;
}

/* The first byte of the range that is not the guard's, or NULL. */
static PUCHAR IopFirstChanged(PUCHAR From, PUCHAR End)
{
    while (From < End && *From == IOP_GUARD_BYTE)
        From++;
    return From < End ? From : NULL;
}

VOID IopCheckGuards(PVOID Buffer, ULONG Length)
{
    PUCHAR Va = Buffer, Front = Va - PAGE_SIZE, Tag = Va + Length, Changed;
    if (memcmp(Va - sizeof(IopGuardTag), IopGuardTag, sizeof(IopGuardTag)) != 0)
        IopDmaStop("Bytes in front of a common buffer were overwritten.", 0xF, 1, Length, (ULONG_PTR)Va);
    if (memcmp(Tag, IopGuardTag, sizeof(IopGuardTag)) != 0)
        IopDmaStop("Bytes behind a common buffer were overwritten.", 0xF, 2, Length, (ULONG_PTR)Va);
    if ((Changed = IopFirstChanged(Front, Va - sizeof(IopGuardTag))) != NULL)
        IopDmaStop("The page in front of a common buffer was overwritten.", 0xF, 4, (ULONG_PTR)Va, (ULONG_PTR)Changed);
    if ((Changed = IopFirstChanged(Tag + sizeof(IopGuardTag), Front + IopGuardedSize(Length))) != NULL)
        IopDmaStop("The page behind a common buffer was overwritten.", 0xF, 5, (ULONG_PTR)Va, (ULONG_PTR)Changed);
}

VOID IopFillRegisters(IOP_ADAPTER *Adapter, ULONG First, ULONG Count)
{
    if (Adapter->Verified && Adapter->Bounces)
        memset(Adapter->BounceVa + (SIZE_T)First * PAGE_SIZE, IOP_GUARD_BYTE, (SIZE_T)Count * PAGE_SIZE);
}

VOID IopCheckRegisters(IOP_ADAPTER *Adapter, ULONG First, ULONG Count)
{
    if (!Adapter->Verified || !Adapter->Bounces)
        return;
    PUCHAR Start = Adapter->BounceVa + (SIZE_T)First * PAGE_SIZE;
    PUCHAR Changed = IopFirstChanged(Start, Start + (SIZE_T)Count * PAGE_SIZE);
    if (Changed != NULL)
        IopDmaStop("A map register was written to while it was free.", 0xF, 3, (ULONG_PTR)Changed, 0);
}

/* The bytes of the set's MDL from Offset on are not mapped through it already: a flush is missing. */
VOID IopCheckNotMapped(const IOP_SET *Set, PMDL Mdl, ULONG Offset, ULONG Length)
{
    ULONG_PTR Va = (ULONG_PTR)MmGetMdlVirtualAddress(Mdl);
    for (ULONG Index = 0; Index < Set->PieceCount; Index++) {
        const IOP_PIECE *Piece = &Set->Pieces[Index];
        if (!Piece->Partly && Piece->Mdl == Mdl && Offset < Piece->Offset + Piece->Length && Piece->Offset < Offset + Length)
            IopDmaStop("A part of a buffer was mapped for DMA that is mapped already and was not flushed.", 0x1D, Va + Offset,
                       Va + Offset + Length, Va + (Offset > Piece->Offset ? Offset : Piece->Offset));
    }
}

/* A verified adapter was asked for more than the chain of MDLs holds. */
VOID IopCheckChain(IOP_ADAPTER *Adapter, PMDL Mdl, ULONGLONG Offset, ULONG Length)
{
    ULONGLONG Bytes = 0;
    if (!Adapter->Verified || IopChainHolds(Mdl, Offset, Length) || Length == 0)
        return;
    for (; Mdl; Mdl = Mdl->Next)
        Bytes += Mdl->ByteCount;
    IopDmaStop("DMA was asked for more bytes than the chain of MDLs has.", 0x24, (ULONG_PTR)(Offset + Length - Bytes), 0, 0);
}

VOID IopCheckRegisterCount(IOP_ADAPTER *Adapter, ULONG Count)
{
    if (Adapter->Verified && Count > Adapter->MostRegisters)
        IopDmaStop("More map registers were asked for than the adapter has.", 0xC, Count, Adapter->MostRegisters, 0);
}
