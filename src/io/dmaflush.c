/*
 * dmaflush.c - the end of a transfer: what was mapped is brought back, and its map registers are free again.
 * SPDX-License-Identifier: MIT
 *
 * FlushAdapterBuffers names bytes of an MDL, and ends the mapping of exactly those; other transfers of the same registers stay as
 * they are. A transfer of which only some bytes are flushed (the device moved fewer than it might have) is split:
 *
 *      piece      |-----------------------------|            counted in BytesMapped
 *      flush             |==========|
 *      after      |------|          |-----------| PARTLY     not counted: its driver has flushed it, and may free its registers
 *
 * What is left of such a transfer can still be flushed; it goes without a word when its bytes are mapped again, when registers run
 * short, or with the registers. Transfers that need no registers are counted, not listed (but for verified adapters): Unlisted
 * while nothing of them was flushed, Loose after that.
 *
 * Misuse: of what is not mapped 0xE6/0x20, of more than is mapped 0xE6/0. Invariant: BytesMapped is the sum of the pieces that are
 * not PARTLY, and of Unlisted. Locks: none over a set: it is its driver's. IRQL <= DISPATCH_LEVEL. Watch: tests/ddi/dma_flush.c.
 */
#include "io/dmap.h"

/* The bytes [From, End) of the MDL, which lie in the piece. */
static IOP_PIECE IopPartOf(const IOP_PIECE *Piece, ULONG From, ULONG End)
{
    IOP_PIECE Part = *Piece;
    ULONG Start = (Piece->Mdl->ByteOffset + Piece->Offset) & ~(PAGE_SIZE - 1);
    Part.Offset = From;
    Part.Length = End - From;
    if (Piece->Pages) {
        ULONG First = (Piece->Mdl->ByteOffset + From - Start) >> PAGE_SHIFT;
        Part.Pages = ((Piece->Mdl->ByteOffset + End - Start + PAGE_SIZE - 1) >> PAGE_SHIFT) - First;
        Part.First = Piece->First + First;
    }
    return Part;
}

static VOID IopCountFree(IOP_SET *Set)
{
    Set->Next = Set->Direct = Set->Partly = 0;
    for (ULONG Index = 0; Index < Set->PieceCount; Index++) {
        const IOP_PIECE *Piece = &Set->Pieces[Index];
        Set->Partly += Piece->Partly;
        Set->Direct += Piece->Pages == 0;
        if (Piece->Pages && Piece->First + Piece->Pages > Set->Next)
            Set->Next = Piece->First + Piece->Pages;
    }
}

/* The device does not reach the part's bytes any more, as far as no other piece needs their pages. */
static VOID IopHide(IOP_SET *Set, const IOP_PIECE *Part)
{
    for (ULONG Page = Part->First; !Part->Bounced && Page < Part->First + Part->Pages; Page++) {
        BOOLEAN Needed = FALSE;
        for (ULONG Index = 0; (Page == Part->First || Page + 1 == Part->First + Part->Pages) && Index < Set->PieceCount;
             Index++) {
            const IOP_PIECE *Other = &Set->Pieces[Index];
            Needed |= Page >= Other->First && Page < Other->First + Other->Pages;
        }
        if (!Needed)
            IopUnmapLogical(Set->Adapter->Domain, Set->LogicalPage + Page);
    }
}

static VOID IopRemovePiece(IOP_SET *Set, ULONG Index)
{
    Set->Pieces[Index] = Set->Pieces[--Set->PieceCount];
}

VOID IopDropRemnants(IOP_SET *Set, PMDL Mdl, ULONG Offset, ULONG Length)
{
    for (ULONG Index = Set->Partly ? Set->PieceCount : 0; Index-- > 0;) {
        IOP_PIECE Piece = Set->Pieces[Index];
        if (Piece.Partly &&
            (Mdl == NULL || (Piece.Mdl == Mdl && Offset < Piece.Offset + Piece.Length && Piece.Offset < Offset + Length))) {
            IopRemovePiece(Set, Index);
            IopHide(Set, &Piece);
        }
    }
    if (Set->Partly)
        IopCountFree(Set);
}

VOID IopTakeBackPiece(IOP_SET *Set)
{
    IOP_PIECE Piece = Set->Pieces[--Set->PieceCount];
    Set->BytesMapped -= Piece.Length;
    IopHide(Set, &Piece);
    IopCountFree(Set);
}

/* The range's bytes in a piece. FALSE: none. */
static BOOLEAN IopMeet(const IOP_PIECE *Piece, PMDL Mdl, ULONG Offset, ULONG Length, ULONG *From, ULONG *End)
{
    *From = Offset > Piece->Offset ? Offset : Piece->Offset;
    *End = Offset + Length < Piece->Offset + Piece->Length ? Offset + Length : Piece->Offset + Piece->Length;
    return Piece->Mdl == Mdl && *From < *End;
}

static VOID IopFlushRange(IOP_SET *Set, PMDL Mdl, ULONG Offset, ULONG Length, BOOLEAN Write)
{
    ULONG Count = Set->PieceCount, From, End;
    for (ULONG Index = Count; Index-- > 0;) { /* what a split adds is not of the range */
        IOP_PIECE Piece = Set->Pieces[Index];
        if (!IopMeet(&Piece, Mdl, Offset, Length, &From, &End))
            continue;
        if (From > Piece.Offset && End < Piece.Offset + Piece.Length && Set->PieceCount == Set->PieceMax)
            From = Piece.Offset; /* no room for both its ends */
        IOP_PIECE Part = IopPartOf(&Piece, From, End), Front = IopPartOf(&Piece, Piece.Offset, From),
                  Tail = IopPartOf(&Piece, End, Piece.Offset + Piece.Length);
        Front.Partly = Tail.Partly = TRUE;
        Set->BytesMapped -= Piece.Partly ? 0 : Piece.Length;
        if (Piece.Bounced && !Write && !Piece.Write)
            IopBounce(Set, &Part, FALSE);
        IopRemovePiece(Set, Index);
        if (Front.Length)
            Set->Pieces[Set->PieceCount++] = Front;
        if (Tail.Length)
            Set->Pieces[Set->PieceCount++] = Tail;
        IopHide(Set, &Part);
    }
}

VOID IopFlushTransfer(IOP_SET *Set, PMDL Mdl, ULONGLONG Offset, ULONG Length, BOOLEAN Write, PVOID Va)
{
    ULONG64 Listed = 0, Partly = 0;
    PMDL Here = Mdl;
    ULONGLONG At = Offset;
    ULONG From, End;
    for (ULONG Done = 0; Done < Length && (Here = IopFindMdl(Here, &At)) != NULL;) {
        ULONG Some = Here->ByteCount - (ULONG)At < Length - Done ? Here->ByteCount - (ULONG)At : Length - Done;
        for (ULONG Index = 0; Index < Set->PieceCount; Index++) {
            if (IopMeet(&Set->Pieces[Index], Here, (ULONG)At, Some, &From, &End)) {
                Listed += End - From;
                Partly += Set->Pieces[Index].Partly ? End - From : 0;
            }
        }
        Done += Some;
        At += Some;
    }
    if (Listed == 0 && Set->Unlisted == 0 && Set->Loose == 0)
        IopDmaStop("Adapter buffers were flushed that are not mapped.", 0x20, (ULONG_PTR)Set, (ULONG_PTR)Va, (ULONG_PTR)Mdl);
    if (Length > Set->BytesMapped + Set->Loose + Partly)
        IopDmaStop("More bytes were flushed than are mapped.", 0, 1, Set->BytesMapped, Length);
    IopDisarmSystemDma(Set->Adapter);
    if (Listed < Length && Set->Unlisted + Set->Loose) {
        ULONG64 All = Set->Unlisted + Set->Loose, Rest = Length - Listed;
        Set->BytesMapped -= Set->Unlisted;
        Set->Unlisted = 0;
        Set->Loose = All > Rest ? All - Rest : 0;
    }
    Here = Mdl;
    At = Offset;
    for (ULONG Done = 0; Listed && Done < Length && (Here = IopFindMdl(Here, &At)) != NULL;) {
        ULONG Some = Here->ByteCount - (ULONG)At < Length - Done ? Here->ByteCount - (ULONG)At : Length - Done;
        IopFlushRange(Set, Here, (ULONG)At, Some, Write);
        Done += Some;
        At += Some;
    }
    IopCountFree(Set);
}

VOID IopFlushSet(IOP_SET *Set, BOOLEAN Write)
{
    IopDisarmSystemDma(Set->Adapter);
    while (Set->PieceCount) {
        IOP_PIECE Piece = Set->Pieces[--Set->PieceCount];
        if (Piece.Bounced && !Write && !Piece.Write)
            IopBounce(Set, &Piece, FALSE);
        for (ULONG Page = 0; !Piece.Bounced && Page < Piece.Pages; Page++)
            IopUnmapLogical(Set->Adapter->Domain, Set->LogicalPage + Piece.First + Page);
    }
    Set->Next = Set->Direct = Set->Partly = 0;
    Set->BytesMapped = Set->Unlisted = Set->Loose = 0;
}
