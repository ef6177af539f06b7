/*
 * zone.h - zones: blocks of one size in memory of the caller's. SPDX-License-Identifier: MIT
 *
 * Obsolete since Windows 2000, which has lookaside lists, and declared by ntddk.h for the drivers that still use them. A zone is a header and
 * one or more segments; a segment begins with a ZONE_SEGMENT_HEADER and is cut into blocks of the zone's size, a multiple of 8 bytes. Free
 * blocks are linked through their first eight bytes. Nothing of a zone is ever given back to anybody. The forms without a lock are the
 * caller's to serialise. Any IRQL, as far as header and segments are resident.
 */
#ifndef _NTMM_ZONE_
#define _NTMM_ZONE_

typedef struct _ZONE_SEGMENT_HEADER {
    SINGLE_LIST_ENTRY SegmentList;
    PVOID Reserved;
} ZONE_SEGMENT_HEADER, *PZONE_SEGMENT_HEADER;
typedef struct _ZONE_HEADER {
    SINGLE_LIST_ENTRY FreeList;
    SINGLE_LIST_ENTRY SegmentList;
    ULONG BlockSize;
    ULONG TotalSegmentSize;
} ZONE_HEADER, *PZONE_HEADER;
C_ASSERT(sizeof(ZONE_SEGMENT_HEADER) == 0x10 && sizeof(ZONE_HEADER) == 0x18 && offsetof(ZONE_HEADER, BlockSize) == 0x10);

EXTERN_C_START
/* A zone over InitialSegmentSize bytes at InitialSegment. STATUS_INVALID_PARAMETER: block size or segment not a multiple of 8, or a segment
 * that does not hold its header and a block. */
NTKERNELAPI NTSTATUS ExInitializeZone(PZONE_HEADER Zone, ULONG BlockSize, PVOID InitialSegment, ULONG InitialSegmentSize);
/* Another segment. STATUS_UNSUCCESSFUL: as above. */
NTKERNELAPI NTSTATUS ExExtendZone(PZONE_HEADER Zone, PVOID Segment, ULONG SegmentSize);
NTKERNELAPI NTSTATUS ExInterlockedExtendZone(PZONE_HEADER Zone, PVOID Segment, ULONG SegmentSize, PKSPIN_LOCK Lock);
EXTERN_C_END

/* A block, or NULL. */
#define ExAllocateFromZone(Zone) ((PVOID)PopEntryList(&(Zone)->FreeList))
/* Gives a block back; the block that was the first free one, or NULL. */
#define ExFreeToZone(Zone, Block)                                                                                              \
    (((PSINGLE_LIST_ENTRY)(Block))->Next = (Zone)->FreeList.Next, (Zone)->FreeList.Next = ((PSINGLE_LIST_ENTRY)(Block)),       \
     ((PSINGLE_LIST_ENTRY)(Block))->Next)
/* No block is free. */
#define ExIsFullZone(Zone)                        ((Zone)->FreeList.Next == (PSINGLE_LIST_ENTRY)NULL)
#define ExInterlockedAllocateFromZone(Zone, Lock) ((PVOID)ExInterlockedPopEntryList(&(Zone)->FreeList, (Lock)))
#define ExInterlockedFreeToZone(Zone, Block, Lock)                                                                             \
    ((PVOID)ExInterlockedPushEntryList(&(Zone)->FreeList, ((PSINGLE_LIST_ENTRY)(Block)), (Lock)))
/* Of a zone that was not extended: does the block lie in it? */
#define ExIsObjectInFirstZoneSegment(Zone, Object)                                                                             \
    ((BOOLEAN)(((PUCHAR)(Object) >= (PUCHAR)(Zone)->SegmentList.Next) &&                                                       \
               ((PUCHAR)(Object) < (PUCHAR)(Zone)->SegmentList.Next + (Zone)->TotalSegmentSize)))

#endif
