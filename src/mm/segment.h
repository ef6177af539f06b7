/*
 * segment.h - what section.c, view.c and imagesection.c share. SPDX-License-Identifier: MIT
 */
#pragma once
#include "mm/mi.h"
#include "mm/section.h"

#define MI_TAG_SEGMENT 'geSM'

/* A stretch of an image that comes from one place of its file. */
typedef struct _MI_PART {
    ULONG64 FirstPage, PageCount; /* of the image */
    ULONG64 FileOffset, FileBytes;
    MI_PROT Protection; /* of views */
} MI_PART;

typedef struct _MI_SEGMENT {
    volatile LONG References;
    EX_PUSH_LOCK Lock; /* prototype entries, size, views. After MI_SPACE.Lock, before every lock of mi.h */
    ULONG64 Bytes, Pages;
    PFN_NUMBER
    *Tables; /* frames of prototype entries, MI_PROTOTYPES each; before the first, the array it replaced, which faults may
                         * still be reading */
    ULONG64 TableCount;
    ULONG64 Charged;  /* pages of commitment: page file only */
    ULONG64 Resident; /* entries that have a frame */
    LIST_ENTRY Views; /* MI_VIEW.Link */
    volatile ULONG ViewCount;
    const MM_SEGMENT_IO *Io; /* NULL: page file */
    PVOID Context;
    BOOLEAN Reserve;
    MI_PART *Parts; /* image */
    ULONG PartCount;
    MM_IMAGE_FACTS Image;
} MI_SEGMENT, *PMI_SEGMENT;

typedef struct _MI_VIEW {
    LIST_ENTRY Link;
    PMI_SEGMENT Segment;
    ULONG_PTR Start, End;
    ULONG64 FirstPage; /* of the segment, at Start */
    BOOLEAN System;
} MI_VIEW, *PMI_VIEW;

/* A frame of prototype entries begins with these two words, so an entry's address tells its segment and page. */
typedef struct _MI_PROTOTYPES_HEADER {
    PMI_SEGMENT Segment;
    ULONG64 FirstPage;
} MI_PROTOTYPES_HEADER;
#define MI_PROTOTYPES (PAGE_SIZE / sizeof(MMPTE) - 2)

static inline PMMPTE MiPrototypeOf(PMI_SEGMENT Segment, ULONG64 Page)
{
    return (PMMPTE)HalWindow(__atomic_load_n(&Segment->Tables, __ATOMIC_ACQUIRE)[Page / MI_PROTOTYPES]) + 2 +
           Page % MI_PROTOTYPES;
}
static inline PMI_SEGMENT MiSegmentOfPrototype(PMMPTE Prototype, ULONG64 *Page)
{
    MI_PROTOTYPES_HEADER *Header = (MI_PROTOTYPES_HEADER *)PAGE_ALIGN((PVOID)Prototype);
    *Page = Header->FirstPage + (ULONG64)(Prototype - ((PMMPTE)Header + 2));
    return Header->Segment;
}
VOID MiMarkPrototypeDirty(PMMPTE Prototype);
NTSTATUS MiAddPrototypes(PMI_SEGMENT Segment, ULONG64 Pages, MMPTE Value); /* segment locked, or not known yet */
PMI_SEGMENT MiNewSegment(const MM_SEGMENT_IO *Io, PVOID Context);
VOID MiDropSegment(PMI_SEGMENT Segment); /* one that nobody refers to, without its Close */
const MI_PART *MiPartOf(PMI_SEGMENT Segment, ULONG64 Page);
static inline VOID MiLockSegment(PMI_SEGMENT Segment)
{
    ExAcquirePushLockExclusiveEx(&Segment->Lock, 0);
}
static inline VOID MiUnlockSegment(PMI_SEGMENT Segment)
{
    ExReleasePushLockExclusiveEx(&Segment->Lock, 0);
}
const CHAR *MiValidateSegment(PMM_SEGMENT Segment);
NTSTATUS MiFlushSegmentLocked(PMI_SEGMENT Segment, ULONG64 First, ULONG64 Count);
