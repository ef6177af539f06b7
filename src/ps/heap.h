/*
 * heap.h - the structures of heaps, for the three files that make them: heap.c (the routines, memory, who may call), heapblock.c (blocks:
 * allocate, free, merge) and heapcheck.c (what damage is). SPDX-License-Identifier: MIT
 *
 *      record (nonpaged pool)        the heap's memory: a first segment, more if it is growable
 *      +---------------+   Base      +-------+---------+---+-------+---+------+---+------+-----+-------------------+
 *      | lock, process |------------>| entry | PSP_HEAP| e | block | e | free | e | block| end | reserved only     |
 *      +---------------+             +-------+---------+---+-------+---+------+---+------+-----+-------------------+
 *                                    ^ handle                                            ^ Committed               ^ End
 *
 *      entry (16 bytes, in front of each block)      Granules State Unused Check | Previous Mark
 *      busy block        what was asked for, then Unused bytes of PSP_GUARD, at least 8
 *      delayed block     freed lately: PSP_FILL throughout; one of Heap->Delayed
 *      free block        PSP_FREE: its links in the list of its size, and how many bytes behind them are PSP_FILL
 *      large block       its own region of pages: PSP_LARGE, then the block, PSP_GUARD up to the end of the last page
 *
 * Check covers the first eight bytes of an entry and Mark the last eight, both with its address and the heap's cookie; so it is known
 * which half was written to: the first from the block before (overrun), the second from the block itself (underrun).
 *
 * Invariants
 *  H1. Entries tile each segment from Base to Committed; Previous is Granules of the one before, 0 for the first; the last is the end.
 *  H2. No two free blocks are neighbours.
 *  H3. Each free block is in the list of its size, once, and FreeBytes is their sum.
 *  H4. The delayed blocks are those of Heap->Delayed.
 *  H5. Guards and fillings are as they were written.
 *  H6. The large blocks' records are right, and in Heap->Large.
 */
#pragma once
#include "ps/psp.h"
#include "mm/vm.h"

#define PSP_HEAP_TAG      'paeH'
#define PSP_GRANULE       16u
#define PSP_MIN_GRANULES  3u /* entry and PSP_FREE */
#define PSP_MIN_GUARD     8u
#define PSP_GUARD         0xABu
#define PSP_FILL          0xFEu
#define PSP_MAX_FILL      0x10000u /* of one block */
#define PSP_MAX_BLOCK     0x7F000u
#define PSP_BINS          28u /* list n: blocks of 2^n granules and more */
#define PSP_DELAYED       16u
#define PSP_HEAP_SIGN     0x2153504145484E4Eull
#define PSP_HEAP_OWN_SIGN 0x3F70616548656854ull

typedef enum _PSP_BLOCK_STATE { /* no byte of a filling, and not 0 */
                                PspBlockBusy = 0xB1,
                                PspBlockDelayed = 0xD1,
                                PspBlockFree = 0xF1,
                                PspBlockStructure = 0x51, /* PSP_HEAP, or the PSP_SEGMENT of a later segment */
                                PspBlockLarge = 0x61,
                                PspBlockEnd = 0xE1,
} PSP_BLOCK_STATE;

typedef enum _PSP_DAMAGE { /* types of bug check 0x13A: heapcheck.c */
                           PspDamageEntry = 3,
                           PspDamageEntries = 4,
                           PspDamageLarge = 5,
                           PspDamageOverrun = 6,
                           PspDamageUnderrun = 7,
                           PspDamageFreedTwice = 8,
                           PspDamageNoBlock = 9,
                           PspDamageKeptFreed = 10,
                           PspDamageFilling = 11,
                           PspDamageOtherHeap = 12,
                           PspDamageFreeLinks = 13,
                           PspDamageLargeLinks = 14,
                           PspDamageUsedFreed = 15,
                           PspDamageHeap = 16,
                           PspDamageState = 17,
                           PspDamageFreeEntry = 18,
                           PspDamageNoHandle = 19,
                           PspDamageTooMuch = 20,
                           PspDamageCommit = 21,
                           PspDamageNoSize = 22,
                           PspDamageDelayed = 23,
} PSP_DAMAGE;

typedef struct _PSP_ENTRY {
    ULONG Granules; /* with the entry */
    UCHAR State, Unused;
    USHORT Check;
    ULONG Previous;
    ULONG Mark;
} PSP_ENTRY;
C_ASSERT(sizeof(PSP_ENTRY) == PSP_GRANULE);

typedef struct _PSP_FREE {
    LIST_ENTRY Links;
    SIZE_T Filled, Check; /* of Filled */
} PSP_FREE;

typedef struct _PSP_LARGE {
    LIST_ENTRY Links;
    SIZE_T Size, Bytes; /* asked for; of the region */
    ULONG64 Check;      /* of both */
    ULONG64 Spare;
    PSP_ENTRY Entry;
} PSP_LARGE;
C_ASSERT(sizeof(PSP_LARGE) % PSP_GRANULE == 0);

typedef struct _PSP_SEGMENT {
    LIST_ENTRY Links;
    PUCHAR Base, Committed, End;
} PSP_SEGMENT;

struct _PSP_HEAP;
typedef struct _PSP_HEAP_RECORD {
    LIST_ENTRY Links; /* (PspHeapLock) */
    struct _PSP_HEAP *Heap;
    ULONG64 Cookie;
    KPROCESS *Process; /* whose user range it is in; NULL: anybody may use it */
    PERESOURCE Lock;   /* NULL: not serialised */
    ERESOURCE OwnLock;
} PSP_HEAP_RECORD;

typedef struct _PSP_HEAP {
    PSP_ENTRY Entry;
    ULONG64 Front; /* signature */
    ULONG64 Cookie;
    PSP_HEAP_RECORD *Record;
    ULONG Flags;
    ULONG Protect;
    BOOLEAN Owned;   /* the first segment is the heap's to release */
    BOOLEAN Commits; /* pages are the heap's to commit */
    BOOLEAN Returns; /* and to decommit */
    PRTL_HEAP_COMMIT_ROUTINE CommitRoutine;
    SIZE_T SegmentReserve, SegmentCommit, DeCommitBlock, DeCommitTotal, MaximumSize, Threshold;
    SIZE_T FreeBytes;
    LIST_ENTRY Segments, Large;
    PSP_SEGMENT First;
    LIST_ENTRY Free[PSP_BINS];
    PSP_ENTRY *Delayed[PSP_DELAYED];
    ULONG NextDelayed;
    ULONG64 Back;
} PSP_HEAP;

/* One call of a routine: the heap, and the damage it met (Type 0: none). */
typedef struct _PSP_CALL {
    PSP_HEAP *Heap;
    PSP_HEAP_RECORD *Record;
    BOOLEAN Locked, Query; /* a size or reallocation was asked for, not a free */
    NTSTATUS Status;
    PVOID Block; /* result */
    SIZE_T Size;
    ULONG Type; /* PSP_DAMAGE */
    ULONG_PTR Address;
} PSP_CALL;

static inline ULONG64 PspMix(ULONG64 Value)
{
    Value *= 0x9E3779B97F4A7C15ull;
    Value ^= Value >> 29;
    Value *= 0xBF58476D1CE4E5B9ull;
    return Value ^ Value >> 32;
}
static inline USHORT PspCheckOf(ULONG64 Cookie, const PSP_ENTRY *Entry, ULONG_PTR Address)
{
    return (USHORT)PspMix(Cookie ^ Address ^ ((ULONG64)Entry->Granules << 16 | (ULONG64)Entry->State << 8 | Entry->Unused) * 3);
}
static inline ULONG PspMarkOf(ULONG64 Cookie, const PSP_ENTRY *Entry, ULONG_PTR Address)
{
    return (ULONG)PspMix(~Cookie ^ Address ^ (ULONG64)Entry->Previous << 20);
}
static inline BOOLEAN PspFrontIsRight(ULONG64 Cookie, const PSP_ENTRY *Entry, ULONG_PTR Address)
{
    return Entry->Check == PspCheckOf(Cookie, Entry, Address);
}
static inline BOOLEAN PspBackIsRight(ULONG64 Cookie, const PSP_ENTRY *Entry, ULONG_PTR Address)
{
    return Entry->Mark == PspMarkOf(Cookie, Entry, Address);
}
static inline BOOLEAN PspIsRight(const PSP_HEAP *Heap, const PSP_ENTRY *Entry)
{
    return PspFrontIsRight(Heap->Cookie, Entry, (ULONG_PTR)Entry) && PspBackIsRight(Heap->Cookie, Entry, (ULONG_PTR)Entry);
}
static inline PSP_ENTRY *PspNext(const PSP_ENTRY *Entry)
{
    return (PSP_ENTRY *)((ULONG_PTR)Entry + (SIZE_T)Entry->Granules * PSP_GRANULE);
}
static inline PUCHAR PspBlockOf(const PSP_ENTRY *Entry)
{
    return (PUCHAR)(Entry + 1);
}
static inline SIZE_T PspRoom(const PSP_ENTRY *Entry)
{
    return (SIZE_T)Entry->Granules * PSP_GRANULE - sizeof *Entry;
}
static inline ULONG64 PspLargeCheck(const PSP_HEAP *Heap, const PSP_LARGE *Large)
{
    return PspMix(Heap->Cookie ^ (ULONG_PTR)Large ^ Large->Size * 5 ^ Large->Bytes << 20);
}

static inline BOOLEAN PspCanRead(const VOID *Address)
{
    ULONG64 Word;
    return (ULONG_PTR)Address >= PAGE_SIZE && (LONG64)((ULONG_PTR)Address << 16) >> 16 == (LONG64)(ULONG_PTR)Address &&
           KiTryRead((const volatile ULONG64 *)((ULONG_PTR)Address & ~(ULONG_PTR)7), &Word);
}

/* ---- heapblock.c ---- */
VOID PspWriteEntry(PSP_HEAP *Heap, PSP_ENTRY *Entry, SIZE_T Granules, UCHAR State, UCHAR Unused, SIZE_T Previous);
/* A free block whose entry is written, and whose first Filled bytes behind PSP_FREE are PSP_FILL, comes into the list of its size. */
VOID PspLinkFree(PSP_HEAP *Heap, PSP_ENTRY *Entry, SIZE_T Filled);
/* The bytes from Committed up to To become a free block, an end behind them. */
VOID PspGrowInto(PSP_CALL *Call, PSP_SEGMENT *Segment, PUCHAR To);
/* Call->Block, or Call->Status. */
VOID PspAllocateBlock(PSP_CALL *Call, ULONG Flags, SIZE_T Size);
VOID PspFreeBlock(PSP_CALL *Call, PVOID Block);
VOID PspReAllocateBlock(PSP_CALL *Call, ULONG Flags, PVOID Block, SIZE_T Size);
VOID PspSizeBlock(PSP_CALL *Call, PVOID Block);
/* ---- heap.c ---- */
/* At least Bytes more behind Segment's committed part, or a new segment with room for them. FALSE: there is no memory, or damage. */
BOOLEAN PspGrowHeap(PSP_CALL *Call, SIZE_T Bytes);
/* The free block at the end of a segment may be given back, in part or with its segment. */
VOID PspShrinkHeap(PSP_CALL *Call, PSP_ENTRY *Free);
PVOID PspAllocateRegion(PSP_HEAP *Heap, SIZE_T *Bytes, ULONG Type);
VOID PspFreeRegion(PVOID Base, SIZE_T Bytes, ULONG Type);
BOOLEAN PspIsAnotherHeaps(const PSP_CALL *Call, ULONG_PTR Block);
/* NULL, or what is wrong with the heap, which nobody else uses meanwhile. */
const CHAR *PspValidateHeap(PVOID HeapHandle);
/* ---- heapcheck.c ---- */
VOID PspDamaged(PSP_CALL *Call, ULONG Type, ULONG_PTR Address);
/* The entry where one must be is not right: finds out how it came to that. Free: it is known to be that of a free block. */
VOID PspExplainEntry(PSP_CALL *Call, const PSP_ENTRY *Entry, BOOLEAN Free);
/* An address is not that of a block in use: why not? */
VOID PspExplainBlock(PSP_CALL *Call, PVOID Block);
/* The first byte of [From, To) that is not Byte, or To. */
PUCHAR PspFirstOther(PUCHAR From, PUCHAR To, UCHAR Byte);
PSP_SEGMENT *PspSegmentOf(PSP_CALL *Call, ULONG_PTR Address);
BOOLEAN PspCheckFreeLinks(PSP_CALL *Call, const PSP_ENTRY *Entry);
BOOLEAN PspCheckFill(PSP_CALL *Call, const PSP_ENTRY *Entry, SIZE_T Bytes);
BOOLEAN PspCheckLarge(PSP_CALL *Call, PSP_LARGE *Large);
/* Looks at every block: damage into Call. */
VOID PspCheckHeap(PSP_CALL *Call);
const CHAR *PspHeapWords(ULONG Type);
