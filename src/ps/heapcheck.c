/*
 * heapcheck.c - what is wrong with a heap, or with what a heap routine was given: one type of bug check 0x13A.
 * SPDX-License-Identifier: MIT
 *
 * The types, and how each is told:
 *    3  one entry is not right, and nothing says how that came       4  as 3, and other entries of the segment are not right either
 *    5  the record in front of a large block is not right            6  the guard behind the block before is damaged: overrun
 *    7  only the half of an entry next to its own block: underrun    8  a block freed that is free
 *    9  not a block's address, or not a heap's                      10  the heap's own structure was to be freed, or a segment's
 *   11  the filling of a free block is damaged: used after free     12  the block of another heap
 *   13  the links of a free block are damaged                       14  the links of a large block are
 *   15  the size of a free block was asked for, or it was resized   16  the heap's structure is damaged
 *   17  a block on the list of delayed or free ones says it is neither  18  an entry of a free block is damaged, or two neighbours disagree
 *   19  no handle                                                   20  more than MaximumAllocationSize
 *   21  the commit routine gave pages outside of the reserve        22  the size of what is no block was asked for
 *   23  the filling of a block freed lately is damaged: used after free
 * The address (parameter 3) is: 3, 4, 17, 18: the entry; 6, 7, 11, 23: the first damaged byte, as far as it is
 * known; 5, 14: the record (14: or the list's head); 13: the links; 8, 9, 10, 12, 15, 22: the address given; 16: the heap; 19: 0;
 * 20: the size asked for; 21: where the routine says that its pages end.
 *
 * A call stops at the first damage; it changes nothing after that. Entries before the damaged one are looked at from the segment's
 * beginning, because the first damage is the one to explain. Called with the heap's lock held; reads only the heap's memory, or
 * by reads that may fail.
 */
#include "ps/heap.h"

const CHAR *PspHeapWords(ULONG Type)
{
    static const CHAR *const Words[] = {
        [PspDamageEntry] = "A heap block's header was overwritten.",
        [PspDamageEntries] = "Several headers of heap blocks were overwritten.",
        [PspDamageLarge] = "The header of a large heap block was overwritten.",
        [PspDamageOverrun] = "A heap block was written to behind its end.",
        [PspDamageUnderrun] = "A heap block was written to in front of its beginning.",
        [PspDamageFreedTwice] = "A heap block was freed that is free already.",
        [PspDamageNoBlock] = "A heap routine was given an address that is no heap, or no block of it.",
        [PspDamageKeptFreed] = "A part of a heap that the heap keeps for itself was to be freed.",
        [PspDamageFilling] = "Memory of a heap was written to after it was freed.",
        [PspDamageOtherHeap] = "A heap block was given to another heap than the one it came from.",
        [PspDamageFreeLinks] =
            "The list of free heap blocks was overwritten: a freed block was written to, or the one before it too far.",
        [PspDamageLargeLinks] = "The list of a heap's large blocks was overwritten.",
        [PspDamageUsedFreed] = "A heap block was used in a call after it was freed.",
        [PspDamageHeap] = "The structure at the beginning of a heap was overwritten.",
        [PspDamageState] = "A freed heap block's header says that the block is in use: old bytes were written back.",
        [PspDamageFreeEntry] = "The header of a free heap block was overwritten, or contradicts its neighbour.",
        [PspDamageNoHandle] = "A heap routine was given no heap.",
        [PspDamageTooMuch] = "More was asked for than the heap's MaximumAllocationSize.",
        [PspDamageCommit] = "A heap's commit routine reported pages that are not the heap's.",
        [PspDamageNoSize] = "The size of something was asked for that is no block of the heap.",
        [PspDamageDelayed] = "A heap block was written to shortly after it was freed.",
    };
    return Type < RTL_NUMBER_OF(Words) ? Words[Type] : NULL;
}

VOID PspDamaged(PSP_CALL *Call, ULONG Type, ULONG_PTR Address)
{
    if (Call->Type == 0) {
        Call->Type = Type;
        Call->Address = Address;
    }
}

PUCHAR PspFirstOther(PUCHAR From, PUCHAR To, UCHAR Byte)
{
    while (From < To && *From == Byte)
        From++;
    return From;
}

/* NULL also if the list of segments is damaged, which is then noted. */
PSP_SEGMENT *PspSegmentOf(PSP_CALL *Call, ULONG_PTR Address)
{
    PSP_HEAP *Heap = Call->Heap;
    PLIST_ENTRY Before = &Heap->Segments;
    for (PLIST_ENTRY Link = Before->Flink; Link != &Heap->Segments; Before = Link, Link = Link->Flink) {
        PSP_SEGMENT *Segment = CONTAINING_RECORD(Link, PSP_SEGMENT, Links);
        if (!PspCanRead(Link) || Link->Blink != Before) {
            PspDamaged(Call, PspDamageLargeLinks, (ULONG_PTR)Before);
            return NULL;
        }
        if (Address - (ULONG_PTR)Segment->Base < (ULONG_PTR)(Segment->Committed - Segment->Base))
            return Segment;
    }
    return NULL;
}

/* ---- parts of blocks ---- */
static BOOLEAN PspIsLink(PSP_CALL *Call, PLIST_ENTRY Link)
{
    PSP_HEAP *Heap = Call->Heap;
    return (ULONG_PTR)Link % 8 == 0 &&
           ((Link >= Heap->Free && Link < Heap->Free + PSP_BINS) || PspSegmentOf(Call, (ULONG_PTR)Link) != NULL);
}

BOOLEAN PspCheckFreeLinks(PSP_CALL *Call, const PSP_ENTRY *Entry)
{
    PSP_FREE *Free = (PSP_FREE *)PspBlockOf(Entry);
    if (!PspIsLink(Call, Free->Links.Flink) || !PspIsLink(Call, Free->Links.Blink) ||
        Free->Links.Flink->Blink != &Free->Links || Free->Links.Blink->Flink != &Free->Links) {
        PspDamaged(Call, PspDamageFreeLinks, (ULONG_PTR)Free);
        return FALSE;
    }
    if (Free->Check != ~(Free->Filled ^ Call->Heap->Cookie) || Free->Filled > PspRoom(Entry) - sizeof *Free) {
        PspDamaged(Call, PspDamageFilling, (ULONG_PTR)&Free->Filled);
        return FALSE;
    }
    return TRUE;
}

/* The first Bytes of a block that is not in use, and the room for PSP_FREE behind them, are as they were filled. */
BOOLEAN PspCheckFill(PSP_CALL *Call, const PSP_ENTRY *Entry, SIZE_T Bytes)
{
    BOOLEAN Delayed = Entry->State == PspBlockDelayed;
    PUCHAR From = PspBlockOf(Entry) + (Delayed ? 0 : sizeof(PSP_FREE));
    SIZE_T Filled = Delayed ? PspRoom(Entry) : ((PSP_FREE *)PspBlockOf(Entry))->Filled;
    Filled = Filled < Bytes ? Filled : Bytes;
    Filled = Delayed && Filled > PSP_MAX_FILL ? PSP_MAX_FILL : Filled;
    PUCHAR Bad = PspFirstOther(From, From + Filled, PSP_FILL);
    if (Bad == From + Filled)
        return TRUE;
    PspDamaged(Call, Delayed ? PspDamageDelayed : PspDamageFilling, (ULONG_PTR)Bad);
    return FALSE;
}

BOOLEAN PspCheckLarge(PSP_CALL *Call, PSP_LARGE *Large)
{
    PSP_HEAP *Heap = Call->Heap;
    if (!PspIsRight(Heap, &Large->Entry) || Large->Check != PspLargeCheck(Heap, Large)) {
        PspDamaged(Call, PspDamageLarge, (ULONG_PTR)Large);
        return FALSE;
    }
    if (!PspCanRead(Large->Links.Flink) || !PspCanRead(Large->Links.Blink) || Large->Links.Flink->Blink != &Large->Links ||
        Large->Links.Blink->Flink != &Large->Links) {
        PspDamaged(Call, PspDamageLargeLinks, (ULONG_PTR)Large);
        return FALSE;
    }
    PUCHAR End = (PUCHAR)Large + Large->Bytes, Bad = PspFirstOther((PUCHAR)(Large + 1) + Large->Size, End, PSP_GUARD);
    if (Bad != End)
        PspDamaged(Call, PspDamageOverrun, (ULONG_PTR)Bad);
    return Bad == End;
}

/* ---- damaged entries ---- */
/* Whether two or more entries from Entry on, which is damaged, to the end of the segment are not right: one that is right says where the
 * one before it begins. */
static BOOLEAN PspMoreDamage(PSP_CALL *Call, const PSP_SEGMENT *Segment, const PSP_ENTRY *Entry)
{
    const PSP_ENTRY *End = (const PSP_ENTRY *)Segment->Committed;
    const PSP_ENTRY *First = Entry;
    do
        Entry++;
    while (Entry < End && !PspIsRight(Call->Heap, Entry));
    if (Entry < End && (ULONG_PTR)Entry - (SIZE_T)Entry->Previous * PSP_GRANULE != (ULONG_PTR)First)
        return TRUE;
    while (Entry < End && PspIsRight(Call->Heap, Entry) && Entry->Granules != 0)
        Entry = PspNext(Entry);
    return Entry < End;
}

/* The first damage between the beginning of a segment and Entry, which is damaged if it is an entry. Before: the entry before it. */
static VOID PspExplainDamage(PSP_CALL *Call, PSP_SEGMENT *Segment, const PSP_ENTRY *Before, const PSP_ENTRY *Entry,
                             BOOLEAN Free)
{
    PSP_HEAP *Heap = Call->Heap;
    if (Before != NULL && Before->State == PspBlockBusy) {
        PUCHAR End = (PUCHAR)Entry, Bad = PspFirstOther(End - Before->Unused, End, PSP_GUARD);
        if (Bad != End) {
            PspDamaged(Call, PspDamageOverrun, (ULONG_PTR)Bad);
            return;
        }
    } else if (Before != NULL && (Before->State == PspBlockDelayed || Before->State == PspBlockFree)) {
        if (!PspCheckFill(Call, Before, PspRoom(Before)))
            return;
    }
    if (PspMoreDamage(Call, Segment, Entry))
        PspDamaged(Call, PspDamageEntries, (ULONG_PTR)Entry);
    else if (PspFrontIsRight(Heap->Cookie, Entry, (ULONG_PTR)Entry) && Entry->State == PspBlockBusy)
        PspDamaged(Call, PspDamageUnderrun, (ULONG_PTR)&Entry->Previous);
    else
        PspDamaged(Call, Free ? PspDamageFreeEntry : PspDamageEntry, (ULONG_PTR)Entry);
}

/* Goes through a segment up to an address. NULL: damage, which was noted. Else the entry of the block that the address lies in; if that
 * is the address of an entry, this one. */
static const PSP_ENTRY *PspWalkTo(PSP_CALL *Call, PSP_SEGMENT *Segment, ULONG_PTR Address, BOOLEAN Free)
{
    const PSP_ENTRY *Before = NULL, *Entry = (const PSP_ENTRY *)Segment->Base;
    for (;;) {
        if (!PspIsRight(Call->Heap, Entry)) {
            PspExplainDamage(Call, Segment, Before, Entry, Free && (ULONG_PTR)Entry == Address);
            return NULL;
        }
        if (Entry->Previous != (Before != NULL ? Before->Granules : 0) || Entry->Granules == 0 ||
            (PUCHAR)PspNext(Entry) > Segment->Committed) {
            PspDamaged(Call, PspDamageFreeEntry, (ULONG_PTR)Entry);
            return NULL;
        }
        if (Address - (ULONG_PTR)Entry < (SIZE_T)Entry->Granules * PSP_GRANULE)
            return Entry;
        Before = Entry;
        Entry = PspNext(Entry);
    }
}

VOID PspExplainEntry(PSP_CALL *Call, const PSP_ENTRY *Entry, BOOLEAN Free)
{
    PSP_SEGMENT *Segment = PspSegmentOf(Call, (ULONG_PTR)Entry);
    if (Call->Type != 0)
        return;
    if (Segment == NULL || PspWalkTo(Call, Segment, (ULONG_PTR)Entry, Free) != NULL) /* no entry is there any more */
        PspDamaged(Call, Free ? PspDamageFreeEntry : PspDamageEntry, (ULONG_PTR)Entry);
}

VOID PspExplainBlock(PSP_CALL *Call, PVOID Block)
{
    PSP_HEAP *Heap = Call->Heap;
    ULONG_PTR Address = (ULONG_PTR)Block;
    PSP_SEGMENT *Segment = PspSegmentOf(Call, Address);
    if (Call->Type != 0)
        return;
    if (Segment != NULL) {
        ULONG_PTR At = Address == (ULONG_PTR)Segment->Base ? Address : Address - sizeof(PSP_ENTRY);
        const PSP_ENTRY *Entry = PspWalkTo(Call, Segment, At, FALSE);
        if (Entry == NULL)
            return;
        if (Entry->State == PspBlockStructure)
            PspDamaged(Call, PspDamageKeptFreed, Address);
        else if (Address % PSP_GRANULE == 0 && (Entry->State == PspBlockFree || Entry->State == PspBlockDelayed))
            PspDamaged(Call, Call->Query ? PspDamageUsedFreed : PspDamageFreedTwice, Address);
        else
            PspDamaged(Call, PspDamageNoBlock, Address);
        return;
    }
    PLIST_ENTRY Before = &Heap->Large;
    for (PLIST_ENTRY Link = Before->Flink; Link != &Heap->Large; Before = Link, Link = Link->Flink) {
        PSP_LARGE *Large = CONTAINING_RECORD(Link, PSP_LARGE, Links);
        if (!PspCanRead(Link) || Link->Blink != Before) {
            PspDamaged(Call, PspDamageLargeLinks, (ULONG_PTR)Before);
            return;
        }
        if (Block == Large + 1) {
            PspCheckLarge(Call, Large);
            return;
        }
    }
    for (PLIST_ENTRY Link = Heap->Segments.Flink; Link != &Heap->Segments; Link = Link->Flink) {
        PSP_SEGMENT *Each = CONTAINING_RECORD(Link, PSP_SEGMENT, Links);
        if (Address - (ULONG_PTR)Each->Base < (ULONG_PTR)(Each->End - Each->Base) && Address % PSP_GRANULE == 0) {
            PspDamaged(Call, Call->Query ? PspDamageUsedFreed : PspDamageFreedTwice,
                       Address); /* its pages have gone back since it was freed */
            return;
        }
    }
    if (Address % PSP_GRANULE == 0 && PspIsAnotherHeaps(Call, Address))
        PspDamaged(Call, PspDamageOtherHeap, Address);
    else
        PspDamaged(Call, Call->Query ? PspDamageNoSize : PspDamageNoBlock, Address);
}

/* ---- the whole heap ---- */
static VOID PspCheckSegment(PSP_CALL *Call, PSP_SEGMENT *Segment, SIZE_T *FreeBytes)
{
    const PSP_ENTRY *Entry = PspWalkTo(Call, Segment, (ULONG_PTR)Segment->Committed - sizeof *Entry, FALSE);
    if (Entry == NULL)
        return;
    if (Entry->State != PspBlockEnd) {
        PspDamaged(Call, PspDamageFreeEntry, (ULONG_PTR)Entry);
        return;
    }
    BOOLEAN WasFree = FALSE;
    for (Entry = (const PSP_ENTRY *)Segment->Base; Call->Type == 0 && Entry->State != PspBlockEnd; Entry = PspNext(Entry)) {
        PUCHAR End = (PUCHAR)PspNext(Entry);
        if (Entry->State == PspBlockBusy) {
            PUCHAR Bad = PspFirstOther(End - Entry->Unused, End, PSP_GUARD);
            if (Bad != End)
                PspDamaged(Call, PspDamageOverrun, (ULONG_PTR)Bad);
        } else if (Entry->State == PspBlockFree) {
            *FreeBytes += (SIZE_T)Entry->Granules * PSP_GRANULE;
            if (WasFree)
                PspDamaged(Call, PspDamageFreeEntry, (ULONG_PTR)Entry);
            else if (PspCheckFreeLinks(Call, Entry))
                PspCheckFill(Call, Entry, PspRoom(Entry));
        } else if (Entry->State == PspBlockDelayed) {
            ULONG Slot = 0;
            while (Slot < PSP_DELAYED && Call->Heap->Delayed[Slot] != Entry)
                Slot++;
            if (Slot == PSP_DELAYED)
                PspDamaged(Call, PspDamageState, (ULONG_PTR)Entry);
            else
                PspCheckFill(Call, Entry, PspRoom(Entry));
        } else if (Entry->State != PspBlockStructure) {
            PspDamaged(Call, PspDamageFreeEntry, (ULONG_PTR)Entry);
        }
        WasFree = Entry->State == PspBlockFree;
    }
}

VOID PspCheckHeap(PSP_CALL *Call)
{
    PSP_HEAP *Heap = Call->Heap;
    SIZE_T FreeBytes = 0;
    PspSegmentOf(Call, 0); /* the list itself */
    for (PLIST_ENTRY Link = Heap->Segments.Flink; Call->Type == 0 && Link != &Heap->Segments; Link = Link->Flink)
        PspCheckSegment(Call, CONTAINING_RECORD(Link, PSP_SEGMENT, Links), &FreeBytes);
    for (ULONG i = 0; Call->Type == 0 && i < PSP_DELAYED; i++) {
        PSP_ENTRY *Entry = Heap->Delayed[i];
        if (Entry != NULL && (!PspIsRight(Heap, Entry) || Entry->State != PspBlockDelayed))
            PspDamaged(Call, PspDamageState, (ULONG_PTR)Entry);
    }
    PLIST_ENTRY Before = &Heap->Large;
    for (PLIST_ENTRY Link = Before->Flink; Call->Type == 0 && Link != &Heap->Large; Before = Link, Link = Link->Flink) {
        if (!PspCanRead(Link) || Link->Blink != Before)
            PspDamaged(Call, PspDamageLargeLinks, (ULONG_PTR)Before);
        else
            PspCheckLarge(Call, CONTAINING_RECORD(Link, PSP_LARGE, Links));
    }
    if (Call->Type == 0 && FreeBytes != Heap->FreeBytes)
        PspDamaged(Call, PspDamageHeap, (ULONG_PTR)Heap);
}
