/*
 * zone.c - zones: blocks of one size in memory of the caller's. SPDX-License-Identifier: MIT
 *
 * Implements ExInitializeZone, ExExtendZone and ExInterlockedExtendZone; taking and giving blocks are macros (include/nt/wdm/zone.h).
 *
 *    ZONE_HEADER.SegmentList --> segment: | ZONE_SEGMENT_HEADER | block | block | ... | rest |   (the last one added is the first)
 *    ZONE_HEADER.FreeList ----------------------------------------^  Next --> ...
 *
 * A segment's blocks are linked before the zone names it, in order of address, so that the lowest is handed out first. Invariants: 1. a
 * block lies in one segment whole; 2. TotalSegmentSize is the sum of the segments' sizes. No lock but the caller's; any IRQL.
 * Watch: tests/ddi/ExInitializeZone.c.
 */
#include "ex/exp.h"

#define ZONE_UNIT 8u

static BOOLEAN ExpIsSegment(ULONG BlockSize, const VOID *Segment, ULONG SegmentSize)
{
    return Segment != NULL && BlockSize != 0 && BlockSize % ZONE_UNIT == 0 && (ULONG_PTR)Segment % ZONE_UNIT == 0 &&
           SegmentSize >= sizeof(ZONE_SEGMENT_HEADER) && SegmentSize - sizeof(ZONE_SEGMENT_HEADER) >= BlockSize;
}

/* The segment's blocks, linked, before those of Rest; returns the first. */
static PSINGLE_LIST_ENTRY ExpCutSegment(ULONG BlockSize, PVOID Segment, ULONG SegmentSize, PSINGLE_LIST_ENTRY Rest)
{
    ULONG Blocks = (SegmentSize - (ULONG)sizeof(ZONE_SEGMENT_HEADER)) / BlockSize;
    PUCHAR First = (PUCHAR)Segment + sizeof(ZONE_SEGMENT_HEADER);
    while (Blocks-- != 0) {
        PSINGLE_LIST_ENTRY Block = (PSINGLE_LIST_ENTRY)(PVOID)(First + (SIZE_T)Blocks * BlockSize);
        Block->Next = Rest;
        Rest = Block;
    }
    return Rest;
}

static VOID ExpAddSegment(PZONE_HEADER Zone, PVOID Segment, ULONG SegmentSize)
{
    PZONE_SEGMENT_HEADER Header = Segment;
    Header->SegmentList.Next = Zone->SegmentList.Next;
    Header->Reserved = NULL;
    Zone->FreeList.Next = ExpCutSegment(Zone->BlockSize, Segment, SegmentSize, Zone->FreeList.Next);
    Zone->SegmentList.Next = &Header->SegmentList;
    Zone->TotalSegmentSize += SegmentSize;
}

NTSTATUS ExInitializeZone(PZONE_HEADER Zone, ULONG BlockSize, PVOID InitialSegment, ULONG InitialSegmentSize)
{
    if (!ExpIsSegment(BlockSize, InitialSegment, InitialSegmentSize))
        return STATUS_INVALID_PARAMETER;
    Zone->FreeList.Next = Zone->SegmentList.Next = NULL;
    Zone->BlockSize = BlockSize;
    Zone->TotalSegmentSize = 0;
    ExpAddSegment(Zone, InitialSegment, InitialSegmentSize);
    return STATUS_SUCCESS;
}

NTSTATUS ExExtendZone(PZONE_HEADER Zone, PVOID Segment, ULONG SegmentSize)
{
    if (!ExpIsSegment(Zone->BlockSize, Segment, SegmentSize))
        return STATUS_UNSUCCESSFUL;
    ExpAddSegment(Zone, Segment, SegmentSize);
    return STATUS_SUCCESS;
}

/* By the routines that serialise the other interlocked operations on the free list: a block each, as a chain cannot be given. */
NTSTATUS ExInterlockedExtendZone(PZONE_HEADER Zone, PVOID Segment, ULONG SegmentSize, PKSPIN_LOCK Lock)
{
    PZONE_SEGMENT_HEADER Header = Segment;
    PSINGLE_LIST_ENTRY Block, Next;
    if (!ExpIsSegment(Zone->BlockSize, Segment, SegmentSize))
        return STATUS_UNSUCCESSFUL;
    Header->Reserved = NULL;
    for (Block = ExpCutSegment(Zone->BlockSize, Segment, SegmentSize, NULL); Block != NULL; Block = Next) {
        Next = Block->Next;
        ExInterlockedPushEntryList(&Zone->FreeList, Block, Lock);
    }
    ExInterlockedPushEntryList(&Zone->SegmentList, &Header->SegmentList, Lock);
    ExInterlockedAddUlong(&Zone->TotalSegmentSize, SegmentSize, Lock);
    return STATUS_SUCCESS;
}
