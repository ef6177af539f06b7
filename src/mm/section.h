/*
 * section.h - segments: the pages that sections name, for the layers above. SPDX-License-Identifier: MIT
 *
 * A segment is what io/section.c's section objects stand for: pages of zeroes, of a file, or of an image, that any number of views
 * show. It lives while a section, a view or a page fault refers to it. IRQL = PASSIVE_LEVEL.
 */
#pragma once
#include "mm/vm.h"

typedef struct _MI_SEGMENT *PMM_SEGMENT;

/* Where a segment's pages come from and go to, but for the page file's. Pages[n] points at the n-th page of the transfer, resident memory;
 * Bytes may end inside the last. At most MM_SEGMENT_CLUSTER pages. A read may be short only at the end of the file. Both are called with no
 * spin lock held, and wait. Buffer: MM_SEGMENT_BUFFER bytes of nonpaged pool that Write may use, so that it need not allocate any; or
 * NULL. Close is called once, with the last reference. */
#define MM_SEGMENT_CLUSTER 64u
#define MM_SEGMENT_BUFFER  (16u * PAGE_SIZE)
typedef struct _MM_SEGMENT_IO {
    NTSTATUS (*Read)(PVOID Context, ULONG64 Offset, const PVOID *Pages, ULONG Bytes, ULONG *Done);
    NTSTATUS (*Write)(PVOID Context, ULONG64 Offset, const PVOID *Pages, ULONG Bytes, PVOID Buffer);
    VOID (*Close)(PVOID Context, PMM_SEGMENT Segment);
} MM_SEGMENT_IO;

/* One reference is the caller's. Io NULL: pages of zeroes, charged now, or (Reserve) as views commit them.
 * STATUS_COMMITMENT_LIMIT, STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS MmCreateSegment(ULONG64 Bytes, BOOLEAN Reserve, const MM_SEGMENT_IO *Io, PVOID Context, PMM_SEGMENT *Segment);
/* Of a PE image for x64. STATUS_INVALID_IMAGE_NOT_MZ, _FORMAT, _WIN_16, STATUS_INVALID_FILE_FOR_SECTION, and what Read says. */
NTSTATUS MmCreateImageSegment(ULONG64 FileBytes, const MM_SEGMENT_IO *Io, PVOID Context, PMM_SEGMENT *Segment);
VOID MmReferenceSegment(PMM_SEGMENT Segment);
BOOLEAN MmTryReferenceSegment(PMM_SEGMENT Segment); /* FALSE: it is on its way out */
VOID MmDereferenceSegment(PMM_SEGMENT Segment);
NTSTATUS MmExtendSegment(PMM_SEGMENT Segment, ULONG64 Bytes);
ULONG64 MmSegmentBytes(PMM_SEGMENT Segment);
ULONG MmSegmentViews(PMM_SEGMENT Segment);
BOOLEAN MmSegmentIsImage(PMM_SEGMENT Segment);
/* Writes changed pages of [Offset, Offset + Bytes) (Bytes 0: all) to the file. */
NTSTATUS MmFlushSegment(PMM_SEGMENT Segment, ULONG64 Offset, ULONG64 Bytes);

/* Views. *Base and *Size as ZwMapViewOfSection has them. STATUS_IMAGE_NOT_AT_BASE is a success. */
typedef struct _MM_VIEW_REQUEST {
    ULONG64 Offset;
    ULONG Type, Protect;      /* MEM_, PAGE_ */
    MM_ADDRESS_LIMITS Limits; /* and the node */
    BOOLEAN NoExecute;        /* an image that is only looked at */
} MM_VIEW_REQUEST;
NTSTATUS MmMapView(PMM_SEGMENT Segment, PMM_SPACE Space, PVOID *Base, SIZE_T *Size, const MM_VIEW_REQUEST *Request);
/* Preserve: the placeholder that the view took the place of comes back. */
NTSTATUS MmUnmapView(PMM_SPACE Space, PVOID Address, BOOLEAN Preserve);
NTSTATUS MmFlushVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size);
/* The segment of the view at an address, referenced, and its I/O context; NULL: no view. */
PMM_SEGMENT MmSegmentOfView(PMM_SPACE Space, PVOID Address);
PVOID MmSegmentContext(PMM_SEGMENT Segment);
/* Raises: an access whose page cannot be read raises STATUS_IN_PAGE_ERROR in place of bug check 0x7A. */
NTSTATUS MmMapSystemView(PMM_SEGMENT Segment, ULONG64 Offset, SIZE_T *Size, BOOLEAN Write, BOOLEAN Raises, PVOID *Base);
NTSTATUS MmUnmapSystemView(PVOID Base);
/* physview.c: a view of physical addresses [Offset, Offset + *Size); Offset a multiple of 64 KiB. */
#define MM_PHYSICAL_BYTES (1ull << 52)
NTSTATUS MmMapPhysicalView(PMM_SPACE Space, PVOID *Base, ULONG64 Offset, SIZE_T *Size, const MM_VIEW_REQUEST *Request);

VOID MmSetSegmentNode(PMM_SEGMENT Segment, ULONG NodePlusOne); /* where its pages are wanted from, from now on */
/* Sections that may write; with the views that may, what MmSegmentWriters counts. */
VOID MmCountSegmentWriter(PMM_SEGMENT Segment, LONG Change);
ULONG MmSegmentWriters(PMM_SEGMENT Segment);
BOOLEAN MmSegmentHasWriteProbes(PMM_SEGMENT Segment); /* somebody has modified pages of it locked */
VOID MmDisableModifiedWrite(PMM_SEGMENT Segment);     /* only flushes write its pages to the file from now on */
/* Has a page, and neighbours of it, read if only the file has it. STATUS_INSUFFICIENT_RESOURCES, or the device's error. */
NTSTATUS MmPrefetchSegment(PMM_SEGMENT Segment, ULONG64 Offset);

typedef struct _MM_IMAGE_FACTS {
    ULONG64 PreferredBase, StackReserve, StackCommit;
    ULONG EntryPoint, SizeOfImage, CheckSum, LoaderFlags;
    USHORT Machine, Characteristics, DllCharacteristics, Subsystem, SubsystemMajor, SubsystemMinor, OsMajor, OsMinor;
    BOOLEAN ContainsCode;
} MM_IMAGE_FACTS;
const MM_IMAGE_FACTS *MmImageFacts(PMM_SEGMENT Segment); /* NULL: no image */
