/*
 * heap.c - cases of the detection matrix: heaps (RtlCreateHeap). SPDX-License-Identifier: MIT
 *
 * The structures are those of src/ps/heap.h: an entry of 16 bytes in front of each block, eight or more guard bytes behind it.
 */
#include "matrix.h"
#include "ps/heap.h"

static PVOID Made(void)
{
    return RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, NULL);
}
static PUCHAR Of(PVOID Heap, SIZE_T Size)
{
    return RtlAllocateHeap(Heap, 0, Size);
}
static PSP_ENTRY *EntryOf(PUCHAR Block)
{
    return (PSP_ENTRY *)Block - 1;
}
/* Freed, and no longer among those freed lately. */
static void FreeAtLast(PVOID Heap, PUCHAR Block)
{
    PUCHAR Small[PSP_DELAYED];
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        Small[i] = Of(Heap, 1);
    RtlFreeHeap(Heap, 0, Block);
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        RtlFreeHeap(Heap, 0, Small[i]);
}
#define EXPECT(Type, Heap, Address) Expect(0x13A, Type, P(Heap), P(Address), 0)

/* ---- damage to blocks in use ---- */
SIN(Header)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Heap, 100);
    memset(EntryOf(C), 0, 16); /* a stray write */
    EXPECT(3, Heap, EntryOf(C));
    if (Argument == 0)
        RtlFreeHeap(Heap, 0, C);
    else if (Argument == 1)
        RtlFreeHeap(Heap, 0, B); /* the one before it */
    else
        RtlDestroyHeap(Heap);
}
RIGHT(Header)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Heap, 100);
    memset(B, 0, 100);
    memset(C, 0, 100);
    RtlFreeHeap(Heap, 0, C);
    RtlFreeHeap(Heap, 0, B);
    RtlDestroyHeap(Heap);
}
SIN(Headers)
{
    PVOID Heap = Made();
    PUCHAR A = Of(Heap, 100), B = Of(Heap, 100), C = Of(Heap, 100);
    for (int i = 0; i < 16; i++)
        (B - 16)[i] = (C - 16)[i] = 0x41; /* a loop with the wrong stride */
    EXPECT(4, Heap, EntryOf(B));
    if (Argument == 0)
        RtlFreeHeap(Heap, 0, C);
    else
        RtlDestroyHeap(Heap);
    Sink = *A;
}
SIN(LargeHeader)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1 << 20);
    memset(B - 16 - Argument, 0x41, 16);
    EXPECT(5, Heap, B - sizeof(PSP_LARGE));
    RtlFreeHeap(Heap, 0, B);
}
RIGHT(LargeHeader)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1 << 20);
    memset(B, 0x41, 1 << 20);
    B = RtlReAllocateHeap(Heap, 0, B, 2 << 20);
    memset(B, 0x41, 2 << 20);
    RtlFreeHeap(Heap, 0, B);
    RtlDestroyHeap(Heap);
}
/* Argument: bytes too many; plus 1000: found at the next block's free; 2000: when the heap goes; 3000: when the block is resized. */
SIN(Overrun)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Heap, 100);
    memset(B, 0x41, 100 + Argument % 1000);
    EXPECT(6, Heap, B + 100);
    if (Argument < 1000)
        RtlFreeHeap(Heap, 0, B);
    else if (Argument < 2000)
        RtlFreeHeap(Heap, 0, C);
    else if (Argument < 3000)
        RtlDestroyHeap(Heap);
    else
        RtlReAllocateHeap(Heap, 0, B, 50);
}
RIGHT(Overrun)
{
    PVOID Heap = Made();
    for (SIZE_T Size = 0; Size < 300; Size++) {
        PUCHAR B = Of(Heap, Size), C = Of(Heap, Size);
        memset(B, 0x41, Size);
        memset(C, 0x41, Size);
        C = RtlReAllocateHeap(Heap, 0, C, Size + 10);
        memset(C, 0x42, Size + 10);
        RtlFreeHeap(Heap, 0, B);
        if (Size % 3 == 0)
            RtlFreeHeap(Heap, 0, C);
    }
    RtlDestroyHeap(Heap);
}
SIN(LargeOverrun)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 600000);
    B[600000] = 0;
    EXPECT(6, Heap, B + 600000);
    RtlFreeHeap(Heap, 0, B);
}
SIN(Underrun)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Heap, 100);
    C[-1 - (int)Argument] ^= 0x41;
    EXPECT(7, Heap, C - 8);
    RtlFreeHeap(Heap, 0, Argument == 0 ? C : B);
}
RIGHT(Underrun)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Heap, 100);
    C[0] = B[99] = 1;
    RtlFreeHeap(Heap, 0, C);
    RtlFreeHeap(Heap, 0, B);
    RtlDestroyHeap(Heap);
}

/* ---- wrong arguments ---- */
SIN(Twice)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Heap, 100);
    if (Argument == 0) {
        RtlFreeHeap(Heap, 0, B);
    } else { /* long ago: it is part of a larger free block */
        FreeAtLast(Heap, B);
        FreeAtLast(Heap, C);
        B = C;
    }
    EXPECT(8, Heap, B);
    RtlFreeHeap(Heap, 0, B);
}
RIGHT(Twice)
{
    PVOID Heap = Made();
    for (int i = 0; i < 100; i++)
        RtlFreeHeap(Heap, 0, Of(Heap, 100)); /* perhaps the same address: another block */
    RtlFreeHeap(Heap, 0, NULL);
    RtlDestroyHeap(Heap);
}
/* 0: inside a block; 1: not aligned; 2: pool; 3: a destroyed heap; 4: no heap; 5: no memory; 6: the stack */
SIN(Argument9)
{
    PVOID Heap = Made(), Handle = Heap;
    PUCHAR B = Of(Heap, 100), Local[4], Wrong[] = {B + 16, B + 1, NonPaged(PAGE_SIZE), B, B, (PUCHAR)0x10, (PUCHAR)Local};
    if (Argument == 3)
        RtlDestroyHeap(Heap);
    if (Argument == 4)
        Handle = Wrong[2];
    EXPECT(9, Handle, Argument == 3 || Argument == 4 ? Handle : Wrong[Argument]);
    RtlFreeHeap(Handle, 0, Wrong[Argument]);
}
SIN(DestroyTwice)
{
    PVOID Heap = Made();
    RtlDestroyHeap(Heap);
    EXPECT(9, Heap, Heap);
    RtlDestroyHeap(Heap);
}
RIGHT(DestroyTwice)
{
    PVOID Heap = Made();
    RtlDestroyHeap(Heap);
    Heap = Made();
    RtlDestroyHeap(Heap);
}
SIN(OwnStructure)
{
    PVOID Heap = Made();
    PUCHAR At = Argument == 0 ? Heap : (PUCHAR)Heap + 16;
    EXPECT(0xA, Heap, At);
    RtlFreeHeap(Heap, 0, At); /* for RtlDestroyHeap */
}
RIGHT(OwnStructure)
{
    PVOID Heap = Made();
    Sink = (UCHAR)(RtlDestroyHeap(Heap) == NULL);
}
SIN(OtherHeap)
{
    PVOID Heap = Made(), Other = Made();
    PUCHAR B = Of(Other, Argument);
    EXPECT(0xC, Heap, B);
    RtlFreeHeap(Heap, 0, B);
}
RIGHT(OtherHeap)
{
    PVOID Heap = Made(), Other = Made();
    PUCHAR B = Of(Heap, 100), C = Of(Other, 100), D = Of(Heap, 1 << 20), E = Of(Other, 1 << 20);
    RtlFreeHeap(Heap, 0, B);
    RtlFreeHeap(Heap, 0, D);
    RtlDestroyHeap(Heap);
    RtlFreeHeap(Other, 0, C);
    RtlFreeHeap(Other, 0, E);
    RtlDestroyHeap(Other);
}
SIN(SizeOfFree)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100);
    RtlFreeHeap(Heap, 0, B);
    EXPECT(0xF, Heap, B);
    if (Argument == 0)
        Sink = (UCHAR)RtlSizeHeap(Heap, 0, B);
    else
        RtlReAllocateHeap(Heap, 0, B, 200);
}
RIGHT(SizeOfFree)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 100);
    B = RtlReAllocateHeap(Heap, 0, B, 200);
    Sink = (UCHAR)RtlSizeHeap(Heap, 0, B);
    RtlFreeHeap(Heap, 0, B);
    RtlDestroyHeap(Heap);
}
SIN(NoHeap)
{
    Expect(0x13A, 0x13, 0, 0, 0);
    if (Argument == 0)
        Sink = (UCHAR)P(Of(NULL, 100));
    else if (Argument == 1)
        RtlFreeHeap(NULL, 0, (PVOID)&Sink);
    else
        RtlDestroyHeap(NULL);
}
RIGHT(NoHeap)
{
    PVOID Heap = RtlCreateHeap(0, NULL, 0, 0, NULL, NULL); /* refused: not growable */
    if (Heap != NULL)
        RtlDestroyHeap(Heap);
}
SIN(OverLimit)
{
    RTL_HEAP_PARAMETERS Parameters = {.Length = sizeof Parameters, .MaximumAllocationSize = 4096};
    PVOID Heap = RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, &Parameters);
    PUCHAR B = Of(Heap, 4096);
    Expect(0x13A, 0x14, P(Heap), 4097, 0);
    if (Argument == 0)
        Sink = *Of(Heap, 4097);
    else
        RtlReAllocateHeap(Heap, 0, B, 4097);
}
RIGHT(OverLimit)
{
    RTL_HEAP_PARAMETERS Parameters = {.Length = sizeof Parameters, .MaximumAllocationSize = 4096};
    PVOID Heap = RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, &Parameters), Free = Made();
    Sink = *Of(Heap, 4096);
    if (Of(Free, ~(SIZE_T)0) == NULL) /* no limit was set: it fails */
        RtlDestroyHeap(Free);
    RtlDestroyHeap(Heap);
}
SIN(SizeOfNothing)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1 << 20);
    if (Argument == 0)
        RtlFreeHeap(Heap, 0, B);
    else
        B = NonPaged(PAGE_SIZE);
    EXPECT(0x16, Heap, B);
    Sink = (UCHAR)RtlSizeHeap(Heap, 0, B);
}
RIGHT(SizeOfNothing)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1 << 20);
    Sink = (UCHAR)RtlSizeHeap(Heap, 0, B);
    RtlFreeHeap(Heap, 0, B);
    RtlDestroyHeap(Heap);
}

/* ---- freed blocks ---- */
SIN(UsedLater) /* the block was freed long ago; found when it is handed out, or the heap goes */
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1000);
    Of(Heap, 10);
    FreeAtLast(Heap, B);
    B[500] = 1;
    EXPECT(0xB, Heap, B + 500);
    if (Argument == 0)
        Sink = *Of(Heap, 1000);
    else
        RtlDestroyHeap(Heap);
}
RIGHT(UsedLater)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1000), C = Of(Heap, 10);
    B[500] = 1;
    FreeAtLast(Heap, B);
    memset(Of(Heap, 1000), 2, 1000);
    memset(C, 1, 10);
    RtlDestroyHeap(Heap);
}
SIN(UsedSoon) /* the block was freed a moment ago */
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1000);
    RtlFreeHeap(Heap, 0, B);
    B[Argument % 1000] = 1;
    EXPECT(0x17, Heap, B + Argument % 1000);
    for (ULONG i = 0; i < PSP_DELAYED && Argument < 1000; i++)
        RtlFreeHeap(Heap, 0, Of(Heap, 10));
    RtlDestroyHeap(Heap);
}
SIN(FreeLinks)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1000);
    Of(Heap, 10);
    FreeAtLast(Heap, B);
    memset(B, (int)Argument, 16); /* a list entry at its beginning, say */
    EXPECT(0xD, Heap, B);
    Sink = *Of(Heap, 1000);
}
SIN(LargeLinks)
{
    PVOID Heap = Made();
    PUCHAR B = Of(Heap, 1 << 20), C = Of(Heap, 1 << 20);
    memset(B - sizeof(PSP_LARGE), 0, 16);
    EXPECT(0xE, Heap, B - sizeof(PSP_LARGE));
    RtlFreeHeap(Heap, 0, B);
    Sink = *C;
}
SIN(OverrunIntoHeap) /* by whoever uses the memory in front of the caller's block */
{
    PUCHAR Both = NonPaged(5 * PAGE_SIZE);
    PVOID Heap = RtlCreateHeap(0, Both + PAGE_SIZE, 4 * PAGE_SIZE, 0, NULL, NULL);
    memset(Both, 0, PAGE_SIZE + 24);
    EXPECT(0x10, Heap, Heap);
    Sink = *Of(Heap, 100);
}
RIGHT(OverrunIntoHeap)
{
    PUCHAR Both = NonPaged(5 * PAGE_SIZE);
    PVOID Heap = RtlCreateHeap(0, Both + PAGE_SIZE, 4 * PAGE_SIZE, 0, NULL, NULL);
    memset(Both, 0, PAGE_SIZE);
    memset(Of(Heap, 100), 0, 100);
    RtlDestroyHeap(Heap);
    memset(Both, 0, 5 * PAGE_SIZE);
    ExFreePool(Both);
}
SIN(OldHeaderBack) /* a block saved with what is in front of it, and put back after it was freed */
{
    PVOID Heap = Made();
    UCHAR Saved[116];
    PUCHAR B = Of(Heap, 100);
    memcpy(Saved, B - 16, sizeof Saved);
    RtlFreeHeap(Heap, 0, B);
    memcpy(B - 16, Saved, sizeof Saved);
    EXPECT(0x11, Heap, EntryOf(B));
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        RtlFreeHeap(Heap, 0, Of(Heap, 10));
}
SIN(FreeHeader)
{
    PVOID Heap = Made();
    PUCHAR A = Of(Heap, 100), B = Of(Heap, 1000);
    Of(Heap, 10);
    FreeAtLast(Heap, B);
    memset(EntryOf(B), 0, 16);
    EXPECT(0x12, Heap, EntryOf(B));
    Sink = *Of(Heap, 1000);
    Sink = *A;
}

/* ---- a commit routine ---- */
static PUCHAR Limit;
static NTSTATUS NTAPI CommitTooMuch(PVOID Base, PVOID *CommitAddress, PSIZE_T CommitSize)
{
    (void)Base;
    *CommitSize = (SIZE_T)(Limit - (PUCHAR)*CommitAddress) + (Argument == 0 ? PAGE_SIZE : 0); /* more than there is */
    return STATUS_SUCCESS;
}
static PVOID WithRoutine(void)
{
    PUCHAR Base = NonPaged(6 * PAGE_SIZE);
    RTL_HEAP_PARAMETERS Parameters = {.Length = sizeof Parameters,
                                      .InitialCommit = PAGE_SIZE,
                                      .InitialReserve = 5 * PAGE_SIZE,
                                      .CommitRoutine = CommitTooMuch};
    Limit = Base + 5 * PAGE_SIZE;
    return RtlCreateHeap(0, Base, 0, 0, NULL, &Parameters);
}
SIN(CommitRoutine)
{
    PVOID Heap = WithRoutine();
    EXPECT(0x15, Heap, (PUCHAR)Heap + 6 * PAGE_SIZE);
    Sink = *Of(Heap, 2 * PAGE_SIZE);
}
RIGHT(CommitRoutine)
{
    Argument = 1;
    PVOID Heap = WithRoutine();
    Sink = *Of(Heap, 2 * PAGE_SIZE);
    RtlDestroyHeap(Heap);
}

CASES(Heap){"0x13A/0x3", "", Sin_Header, Right_Header, 0}, {"0x13A/0x3", "", Sin_Header, NULL, 1},
    {"0x13A/0x3", "", Sin_Header, NULL, 2}, {"0x13A/0x4", "", Sin_Headers, Right_Header, 0},
    {"0x13A/0x4", "", Sin_Headers, NULL, 1}, {"0x13A/0x5", "", Sin_LargeHeader, Right_LargeHeader, 0},
    {"0x13A/0x5", "", Sin_LargeHeader, NULL, 16}, {"0x13A/0x6", "", Sin_Overrun, Right_Overrun, 1},
    {"0x13A/0x6", "", Sin_Overrun, NULL, 30}, {"0x13A/0x6", "", Sin_Overrun, NULL, 1030},
    {"0x13A/0x6", "", Sin_Overrun, NULL, 1200}, {"0x13A/0x6", "", Sin_Overrun, NULL, 2001},
    {"0x13A/0x6", "", Sin_Overrun, NULL, 3001}, {"0x13A/0x6", "", Sin_LargeOverrun, Right_LargeHeader, 0},
    {"0x13A/0x7", "", Sin_Underrun, Right_Underrun, 0}, {"0x13A/0x7", "", Sin_Underrun, NULL, 3},
    {"0x13A/0x8", "", Sin_Twice, Right_Twice, 0}, {"0x13A/0x8", "", Sin_Twice, NULL, 1},
    {"0x13A/0x9", "", Sin_Argument9, Right_Header, 0}, {"0x13A/0x9", "", Sin_Argument9, NULL, 1},
    {"0x13A/0x9", "", Sin_Argument9, NULL, 2}, {"0x13A/0x9", "", Sin_Argument9, NULL, 3},
    {"0x13A/0x9", "", Sin_Argument9, NULL, 4}, {"0x13A/0x9", "", Sin_Argument9, NULL, 5},
    {"0x13A/0x9", "", Sin_Argument9, NULL, 6}, {"0x13A/0x9", "", Sin_DestroyTwice, Right_DestroyTwice, 0},
    {"0x13A/0xA", "", Sin_OwnStructure, Right_OwnStructure, 0}, {"0x13A/0xA", "", Sin_OwnStructure, NULL, 1},
    {"0x13A/0xB", "", Sin_UsedLater, Right_UsedLater, 0}, {"0x13A/0xB", "", Sin_UsedLater, NULL, 1},
    {"0x13A/0xC", "", Sin_OtherHeap, Right_OtherHeap, 100}, {"0x13A/0xC", "", Sin_OtherHeap, NULL, 1 << 20},
    {"0x13A/0xD", "", Sin_FreeLinks, Right_UsedLater, 0}, {"0x13A/0xD", "", Sin_FreeLinks, NULL, 0x41},
    {"0x13A/0xE", "", Sin_LargeLinks, Right_LargeHeader, 0}, {"0x13A/0xF", "", Sin_SizeOfFree, Right_SizeOfFree, 0},
    {"0x13A/0xF", "", Sin_SizeOfFree, NULL, 1}, {"0x13A/0x10", "", Sin_OverrunIntoHeap, Right_OverrunIntoHeap, 0},
    {"0x13A/0x11", "", Sin_OldHeaderBack, Right_Twice, 0}, {"0x13A/0x12", "", Sin_FreeHeader, Right_UsedLater, 0},
    {"0x13A/0x13", "", Sin_NoHeap, Right_NoHeap, 0}, {"0x13A/0x13", "", Sin_NoHeap, NULL, 1},
    {"0x13A/0x13", "", Sin_NoHeap, NULL, 2}, {"0x13A/0x14", "", Sin_OverLimit, Right_OverLimit, 0},
    {"0x13A/0x14", "", Sin_OverLimit, NULL, 1}, {"0x13A/0x15", "", Sin_CommitRoutine, Right_CommitRoutine, 0},
    {"0x13A/0x16", "", Sin_SizeOfNothing, Right_SizeOfNothing, 0}, {"0x13A/0x16", "", Sin_SizeOfNothing, NULL, 1},
    {"0x13A/0x17", "", Sin_UsedSoon, Right_UsedLater, 500}, {"0x13A/0x17", "", Sin_UsedSoon, NULL, 0},
    {"0x13A/0x17", "", Sin_UsedSoon, NULL, 1500}, END_CASES(Heap)
