/*
 * heapblock.c - the blocks of a heap: allocate, free, merge, resize. SPDX-License-Identifier: MIT
 *
 * Allocate: the first block that is large enough in the list of its size, then the first of the next lists; what is left over
 * stays free if a block could be made of it. If there is none, the delayed blocks are freed at last; then the heap grows.
 *
 * Free: the block is filled and waits among the last PSP_DELAYED; the one that waited longest is looked at, merged with free
 * neighbours, and put in front of the list of its size.
 *
 *      allocate --> Busy -- free --> Delayed -- PSP_DELAYED frees later --> Free -- allocate --> Busy
 *                                                                            +--- merged into a neighbour
 *
 * Whatever is read from the heap's memory may be damaged: an entry is checked before it is believed, links before they are
 * followed, guards and fillings before a block changes hands. Damage is noted in the call (PspDamaged), which then ends without
 * touching more; the routine stops the system after it has released its lock (heap.c). The heap's lock is held, or the caller
 * serialises.
 * Invariants: heap.h. Watch: PspValidateHeap, tests/unit/heap_test.c, tests/stress/heap_stress.c.
 */
#include "ps/heap.h"

VOID PspWriteEntry(PSP_HEAP *Heap, PSP_ENTRY *Entry, SIZE_T Granules, UCHAR State, UCHAR Unused, SIZE_T Previous)
{
    PSP_ENTRY New = {.Granules = (ULONG)Granules, .State = State, .Unused = Unused, .Previous = (ULONG)Previous};
    New.Check = PspCheckOf(Heap->Cookie, &New, (ULONG_PTR)Entry);
    New.Mark = PspMarkOf(Heap->Cookie, &New, (ULONG_PTR)Entry);
    *Entry = New;
}

static VOID PspSetPrevious(PSP_HEAP *Heap, PSP_ENTRY *Entry, SIZE_T Previous)
{
    Entry->Previous = (ULONG)Previous;
    Entry->Mark = PspMarkOf(Heap->Cookie, Entry, (ULONG_PTR)Entry);
}

static ULONG PspBinOf(SIZE_T Granules)
{
    ULONG Bin = 63u - (ULONG)__builtin_clzll(Granules);
    return Bin < PSP_BINS ? Bin : PSP_BINS - 1;
}

/* The entry behind one that is right, if it is right too and agrees. */
static PSP_ENTRY *PspCheckedNext(PSP_CALL *Call, PSP_ENTRY *Entry)
{
    PSP_ENTRY *Next = PspNext(Entry);
    if (!PspIsRight(Call->Heap, Next)) {
        PspExplainEntry(Call, Next, FALSE);
        return NULL;
    }
    if (Next->Previous != Entry->Granules) {
        PspDamaged(Call, PspDamageFreeEntry, (ULONG_PTR)Next);
        return NULL;
    }
    return Next;
}

/* ---- free lists ---- */
static BOOLEAN PspUnlink(PSP_CALL *Call, PSP_ENTRY *Entry)
{
    if (!PspCheckFreeLinks(Call, Entry))
        return FALSE;
    PSP_FREE *Free = (PSP_FREE *)PspBlockOf(Entry);
    RemoveEntryList(&Free->Links);
    Call->Heap->FreeBytes -= (SIZE_T)Entry->Granules * PSP_GRANULE;
    return TRUE;
}

VOID PspLinkFree(PSP_HEAP *Heap, PSP_ENTRY *Entry, SIZE_T Filled)
{
    PSP_FREE *Free = (PSP_FREE *)PspBlockOf(Entry);
    Free->Filled = Filled;
    Free->Check = ~(Filled ^ Heap->Cookie);
    InsertHeadList(&Heap->Free[PspBinOf(Entry->Granules)], &Free->Links);
    Heap->FreeBytes += (SIZE_T)Entry->Granules * PSP_GRANULE;
}

/* A block, not in use and in no list, whose first Filled bytes behind PSP_FREE are PSP_FILL: it is free now, with its free
 * neighbours. NULL: damage. */
static PSP_ENTRY *PspMakeFree(PSP_CALL *Call, PSP_ENTRY *Entry, SIZE_T Filled)
{
    PSP_HEAP *Heap = Call->Heap;
    SIZE_T Granules = Entry->Granules, Previous = Entry->Previous;
    PSP_ENTRY *Next = PspCheckedNext(Call, Entry);
    if (Next == NULL)
        return NULL;
    if (Next->State == PspBlockFree) {
        PSP_ENTRY *After = PspCheckedNext(Call, Next);
        if (After == NULL || !PspUnlink(Call, Next))
            return NULL;
        SIZE_T Theirs = ((PSP_FREE *)PspBlockOf(Next))->Filled;
        BOOLEAN Whole = Filled == PspRoom(Entry) - sizeof(PSP_FREE);
        Granules += Next->Granules;
        RtlFillMemory(Next, sizeof(PSP_ENTRY) + sizeof(PSP_FREE), PSP_FILL);
        Filled += Whole ? sizeof(PSP_ENTRY) + sizeof(PSP_FREE) + Theirs : 0;
        Next = After;
    }
    if (Previous != 0) {
        PSP_ENTRY *Before = (PSP_ENTRY *)((ULONG_PTR)Entry - Previous * PSP_GRANULE);
        if (!PspIsRight(Heap, Before) || Before->Granules != Previous) {
            PspExplainEntry(Call, Before, FALSE);
            return NULL;
        }
        if (Before->State == PspBlockFree) {
            if (!PspUnlink(Call, Before))
                return NULL;
            SIZE_T Theirs = ((PSP_FREE *)PspBlockOf(Before))->Filled;
            BOOLEAN Whole = Theirs == PspRoom(Before) - sizeof(PSP_FREE);
            RtlFillMemory(Entry, sizeof(PSP_ENTRY) + sizeof(PSP_FREE), PSP_FILL);
            Filled = Theirs + (Whole ? sizeof(PSP_ENTRY) + sizeof(PSP_FREE) + Filled : 0);
            Granules += Before->Granules;
            Previous = Before->Previous;
            Entry = Before;
        }
    }
    PspWriteEntry(Heap, Entry, Granules, PspBlockFree, 0, Previous);
    PspSetPrevious(Heap, Next, Granules);
    PspLinkFree(Heap, Entry, Filled);
    return Entry;
}

VOID PspGrowInto(PSP_CALL *Call, PSP_SEGMENT *Segment, PUCHAR To)
{
    PSP_HEAP *Heap = Call->Heap;
    PSP_ENTRY *Entry = (PSP_ENTRY *)Segment->Committed - 1; /* the old end */
    if (!PspIsRight(Heap, Entry)) {
        PspExplainEntry(Call, Entry, FALSE);
        return;
    }
    SIZE_T Granules = (SIZE_T)(To - Segment->Committed) / PSP_GRANULE;
    PspWriteEntry(Heap, Entry, Granules, PspBlockFree, 0, Entry->Previous);
    PspWriteEntry(Heap, PspNext(Entry), 1, PspBlockEnd, 0, Granules);
    Segment->Committed = To;
    PspMakeFree(Call, Entry, 0);
}

/* ---- delayed blocks ---- */
static VOID PspFreeAtLast(PSP_CALL *Call, PSP_ENTRY *Entry)
{
    PSP_HEAP *Heap = Call->Heap;
    if (!PspIsRight(Heap, Entry)) {
        PspExplainEntry(Call, Entry, TRUE);
        return;
    }
    if (Entry->State != PspBlockDelayed) {
        PspDamaged(Call, PspDamageState, (ULONG_PTR)Entry);
        return;
    }
    if (!PspCheckFill(Call, Entry, PspRoom(Entry)))
        return;
    SIZE_T Filled = PspRoom(Entry) < PSP_MAX_FILL ? PspRoom(Entry) : PSP_MAX_FILL;
    Entry = PspMakeFree(Call, Entry, Filled - sizeof(PSP_FREE));
    if (Entry != NULL && PspNext(Entry)->State == PspBlockEnd)
        PspShrinkHeap(Call, Entry);
}

static VOID PspFreeDelayed(PSP_CALL *Call)
{
    PSP_HEAP *Heap = Call->Heap;
    for (ULONG i = 0; i < PSP_DELAYED && Call->Type == 0; i++) {
        PSP_ENTRY *Entry = Heap->Delayed[i];
        Heap->Delayed[i] = NULL;
        if (Entry != NULL)
            PspFreeAtLast(Call, Entry);
    }
}

/* ---- allocate ---- */
/* A free block with enough granules, out of its list and looked at; NULL: none, or damage. */
static PSP_ENTRY *PspTakeFree(PSP_CALL *Call, SIZE_T Granules)
{
    PSP_HEAP *Heap = Call->Heap;
    for (ULONG Bin = PspBinOf(Granules); Bin < PSP_BINS; Bin++) {
        for (PLIST_ENTRY Link = Heap->Free[Bin].Flink; Link != &Heap->Free[Bin]; Link = Link->Flink) {
            PSP_ENTRY *Entry = (PSP_ENTRY *)Link - 1;
            if (PspSegmentOf(Call, (ULONG_PTR)Entry) == NULL) {
                PspDamaged(Call, PspDamageFreeLinks, (ULONG_PTR)&Heap->Free[Bin]);
                return NULL;
            }
            if (!PspIsRight(Heap, Entry)) {
                PspExplainEntry(Call, Entry, TRUE);
                return NULL;
            }
            if (Entry->State != PspBlockFree) {
                PspDamaged(Call, PspDamageState, (ULONG_PTR)Entry);
                return NULL;
            }
            if (!PspCheckFreeLinks(Call, Entry))
                return NULL;
            if (Entry->Granules >= Granules)
                return PspUnlink(Call, Entry) ? Entry : NULL;
        }
    }
    return NULL;
}

/* Makes a block of Granules from Entry, which is in no list and has Filled right bytes behind PSP_FREE. */
static BOOLEAN PspCut(PSP_CALL *Call, PSP_ENTRY *Entry, SIZE_T Granules, SIZE_T Size, SIZE_T Filled)
{
    PSP_HEAP *Heap = Call->Heap;
    PSP_ENTRY *Next = PspCheckedNext(Call, Entry);
    SIZE_T Left = Entry->Granules - Granules;
    if (Next == NULL)
        return FALSE;
    if (Left >= PSP_MIN_GRANULES) {
        SIZE_T Gone = Granules * PSP_GRANULE;
        PSP_ENTRY *Rest = (PSP_ENTRY *)((ULONG_PTR)Entry + Gone);
        PspWriteEntry(Heap, Rest, Left, PspBlockFree, 0, Granules);
        PspSetPrevious(Heap, Next, Left);
        PspWriteEntry(Heap, Entry, Granules, PspBlockBusy, 0, Entry->Previous);
        if (PspMakeFree(Call, Rest, Filled > Gone ? Filled - Gone : 0) == NULL)
            return FALSE;
    } else {
        Granules += Left;
    }
    SIZE_T Unused = Granules * PSP_GRANULE - sizeof *Entry - Size;
    PspWriteEntry(Heap, Entry, Granules, PspBlockBusy, (UCHAR)Unused, Entry->Previous);
    RtlFillMemory(PspBlockOf(Entry) + Size, Unused, PSP_GUARD);
    return TRUE;
}

static VOID PspAllocateLarge(PSP_CALL *Call, SIZE_T Size) /* new pages are zeroed, whatever the flags */
{
    PSP_HEAP *Heap = Call->Heap;
    SIZE_T Bytes = Size + sizeof(PSP_LARGE) + PSP_MIN_GUARD;
    PSP_LARGE *Large = Bytes < Size ? NULL : PspAllocateRegion(Heap, &Bytes, MEM_RESERVE | MEM_COMMIT);
    if (Large == NULL)
        return;
    if (Heap->Large.Flink->Blink != &Heap->Large || Heap->Large.Blink->Flink != &Heap->Large) {
        PspFreeRegion(Large, Bytes, MEM_RELEASE);
        PspDamaged(Call, PspDamageLargeLinks, (ULONG_PTR)&Heap->Large);
        return;
    }
    Large->Size = Size;
    Large->Bytes = Bytes;
    Large->Check = PspLargeCheck(Heap, Large);
    PspWriteEntry(Heap, &Large->Entry, 0, PspBlockLarge, 0, 0);
    Call->Block = Large + 1;
    RtlFillMemory((PUCHAR)Call->Block + Size, Bytes - sizeof *Large - Size, PSP_GUARD);
    InsertTailList(&Heap->Large, &Large->Links);
    Call->Status = STATUS_SUCCESS;
}

VOID PspAllocateBlock(PSP_CALL *Call, ULONG Flags, SIZE_T Size)
{
    PSP_HEAP *Heap = Call->Heap;
    Call->Status = STATUS_NO_MEMORY;
    Call->Block = NULL;
    if (Heap->MaximumSize != 0 && Size > Heap->MaximumSize) {
        PspDamaged(Call, PspDamageTooMuch, Size);
        return;
    }
    if (Size > Heap->Threshold) {
        if (Heap->Flags & HEAP_GROWABLE)
            PspAllocateLarge(Call, Size);
        else
            Call->Status = STATUS_BUFFER_TOO_SMALL;
        return;
    }
    SIZE_T Granules = (sizeof(PSP_ENTRY) + Size + PSP_MIN_GUARD + PSP_GRANULE - 1) / PSP_GRANULE;
    Granules = Granules < PSP_MIN_GRANULES ? PSP_MIN_GRANULES : Granules;
    PSP_ENTRY *Entry = PspTakeFree(Call, Granules);
    if (Entry == NULL && Call->Type == 0) {
        PspFreeDelayed(Call);
        Entry = Call->Type == 0 ? PspTakeFree(Call, Granules) : NULL;
    }
    if (Entry == NULL && Call->Type == 0 && PspGrowHeap(Call, Granules * PSP_GRANULE))
        Entry = PspTakeFree(Call, Granules);
    if (Entry == NULL)
        return;
    SIZE_T Filled = ((PSP_FREE *)PspBlockOf(Entry))->Filled;
    if (!PspCheckFill(Call, Entry, Granules * PSP_GRANULE) || !PspCut(Call, Entry, Granules, Size, Filled))
        return;
    Call->Block = PspBlockOf(Entry);
    Call->Status = STATUS_SUCCESS;
    if (Flags & HEAP_ZERO_MEMORY)
        RtlZeroMemory(Call->Block, Size);
}

/* ---- free, size, resize ---- */
/* The entry of a block in use that nobody has overrun, not large; NULL: a large one (*Large), or damage. */
static PSP_ENTRY *PspBusyBlock(PSP_CALL *Call, PVOID Block, PSP_LARGE **Large)
{
    PSP_ENTRY *Entry = (PSP_ENTRY *)Block - 1;
    *Large = NULL;
    if ((ULONG_PTR)Block % PSP_GRANULE != 0 || !PspCanRead(Entry) || !PspIsRight(Call->Heap, Entry) ||
        (Entry->State != PspBlockBusy && Entry->State != PspBlockLarge)) {
        PspExplainBlock(Call, Block);
        return NULL;
    }
    if (Entry->State == PspBlockLarge) {
        PSP_LARGE *Found = CONTAINING_RECORD(Entry, PSP_LARGE, Entry);
        if (PspCheckLarge(Call, Found))
            *Large = Found;
        return NULL;
    }
    PUCHAR End = (PUCHAR)PspNext(Entry), Guard = End - Entry->Unused, Bad = PspFirstOther(Guard, End, PSP_GUARD);
    if (Bad != End) {
        PspDamaged(Call, PspDamageOverrun, (ULONG_PTR)Bad);
        return NULL;
    }
    return PspCheckedNext(Call, Entry) != NULL ? Entry : NULL;
}

VOID PspFreeBlock(PSP_CALL *Call, PVOID Block)
{
    PSP_HEAP *Heap = Call->Heap;
    PSP_LARGE *Large;
    PSP_ENTRY *Entry = PspBusyBlock(Call, Block, &Large);
    if (Large != NULL) {
        RemoveEntryList(&Large->Links);
        PspFreeRegion(Large, Large->Bytes, MEM_RELEASE);
        return;
    }
    if (Entry == NULL)
        return;
    SIZE_T Room = PspRoom(Entry);
    RtlFillMemory(Block, Room < PSP_MAX_FILL ? Room : PSP_MAX_FILL, PSP_FILL);
    PspWriteEntry(Heap, Entry, Entry->Granules, PspBlockDelayed, 0, Entry->Previous);
    PSP_ENTRY *Oldest = Heap->Delayed[Heap->NextDelayed % PSP_DELAYED];
    Heap->Delayed[Heap->NextDelayed++ % PSP_DELAYED] = Entry;
    if (Oldest != NULL)
        PspFreeAtLast(Call, Oldest);
}

VOID PspSizeBlock(PSP_CALL *Call, PVOID Block)
{
    PSP_LARGE *Large;
    PSP_ENTRY *Entry = PspBusyBlock(Call, Block, &Large);
    Call->Size = Large != NULL ? Large->Size : Entry != NULL ? PspRoom(Entry) - Entry->Unused : 0;
}

/* Resizes where the block is, if its room or a free neighbour allows. */
static BOOLEAN PspResizeHere(PSP_CALL *Call, PSP_ENTRY *Entry, SIZE_T Size)
{
    SIZE_T Granules = (sizeof(PSP_ENTRY) + Size + PSP_MIN_GUARD + PSP_GRANULE - 1) / PSP_GRANULE;
    Granules = Granules < PSP_MIN_GRANULES ? PSP_MIN_GRANULES : Granules;
    if (Granules > Entry->Granules) {
        PSP_ENTRY *Next = PspCheckedNext(Call, Entry);
        if (Next == NULL || Next->State != PspBlockFree || Entry->Granules + (SIZE_T)Next->Granules < Granules)
            return FALSE;
        PSP_ENTRY *After = PspCheckedNext(Call, Next);
        if (After == NULL || !PspCheckFreeLinks(Call, Next) || !PspCheckFill(Call, Next, PspRoom(Next)) ||
            !PspUnlink(Call, Next))
            return FALSE;
        SIZE_T Both = Entry->Granules + (SIZE_T)Next->Granules;
        PspWriteEntry(Call->Heap, Entry, Both, PspBlockBusy, 0, Entry->Previous);
        PspSetPrevious(Call->Heap, After, Both);
    }
    return PspCut(Call, Entry, Granules, Size, 0);
}

VOID PspReAllocateBlock(PSP_CALL *Call, ULONG Flags, PVOID Block, SIZE_T Size)
{
    PSP_LARGE *Large;
    PSP_HEAP *Heap = Call->Heap;
    PSP_ENTRY *Entry = PspBusyBlock(Call, Block, &Large);
    Call->Status = STATUS_NO_MEMORY;
    if (Call->Type != 0)
        return;
    if (Heap->MaximumSize != 0 && Size > Heap->MaximumSize) {
        PspDamaged(Call, PspDamageTooMuch, Size);
        return;
    }
    SIZE_T Old = Large != NULL ? Large->Size : PspRoom(Entry) - Entry->Unused;
    BOOLEAN Here = FALSE;
    if (Large != NULL) {
        SIZE_T Room = Large->Bytes - sizeof *Large - PSP_MIN_GUARD;
        if (Size <= Room && Size > Heap->Threshold) {
            Large->Size = Size;
            Large->Check = PspLargeCheck(Heap, Large);
            RtlFillMemory((PUCHAR)Block + Size, Large->Bytes - sizeof *Large - Size, PSP_GUARD);
            Here = TRUE;
        }
    } else if (Size <= Heap->Threshold) {
        Here = PspResizeHere(Call, Entry, Size);
    }
    if (Call->Type != 0)
        return;
    if (Here) {
        Call->Block = Block;
        Call->Status = STATUS_SUCCESS;
    } else if (!(Flags & HEAP_REALLOC_IN_PLACE_ONLY)) {
        PspAllocateBlock(Call, 0, Size);
        if (Call->Type != 0 || Call->Block == NULL)
            return;
        RtlCopyMemory(Call->Block, Block, Old < Size ? Old : Size);
        PspFreeBlock(Call, Block);
    }
    if (Call->Block != NULL && Size > Old && (Flags & HEAP_ZERO_MEMORY))
        RtlZeroMemory((PUCHAR)Call->Block + Old, Size - Old);
}
