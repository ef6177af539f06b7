/*
 * segment.h - what section.c, sharedfault.c, mapwrite.c, view.c and imagesection.c share. SPDX-License-Identifier: MIT
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
    EX_PUSH_LOCK Lock; /* size, views, flushing. After MI_SPACE.Lock, before every lock of mi.h */
    LIST_ENTRY All;    /* (SegmentLock) MI_STATE.Segments */
    ULONG64 Bytes, Pages;
    PFN_NUMBER
    *Tables; /* frames of prototype entries, MI_PROTOTYPES each; before the first, the array it replaced, which faults may
                         * still be reading */
    ULONG64 TableCount;
    ULONG64 Charged;  /* pages of commitment: those whose home is the page file */
    LIST_ENTRY Views; /* MI_VIEW.Link */
    volatile ULONG ViewCount;
    const MM_SEGMENT_IO *Io; /* NULL: page file */
    PVOID Context;
    BOOLEAN Reserve;
    MI_PART *Parts; /* image */
    ULONG PartCount;
    volatile LONG Writers;   /* (interlocked) sections and views that may write */
    BOOLEAN NoModifiedWrite; /* (PfnLock) modified pages wait for a flush */
    UCHAR NodePlusOne;       /* the NUMA node that all its pages are wanted from; 0: the view's, or that of who touches them */
    struct _MI_FIXUPS *Fixups; /* image: relocate.c; NULL: it has none */
    MM_IMAGE_FACTS Image;
} MI_SEGMENT, *PMI_SEGMENT;

typedef struct _MI_VIEW {
    LIST_ENTRY Link;
    PMI_SEGMENT Segment;
    ULONG_PTR Start, End;
    ULONG64 FirstPage; /* of the segment, at Start */
    BOOLEAN System;
    BOOLEAN NoExecute; /* of an image: to be looked at only */
    BOOLEAN Writes;    /* counted in Writers */
    UCHAR NodePlusOne; /* the NUMA node that its pages are wanted from; 0: none */
} MI_VIEW, *PMI_VIEW;

/* A frame of prototype entries begins with these two words, so an entry's address tells its segment and page. Bit 0 is set in both: they
 * look like valid entries, so that nobody who looks at the neighbours of the first entry takes them for a page that is not there. */
typedef struct _MI_PROTOTYPES_HEADER {
    ULONG_PTR Segment;
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
    *Page = (Header->FirstPage >> 1) + (ULONG64)(Prototype - ((PMMPTE)Header + 2));
    return (PMI_SEGMENT)(Header->Segment & ~(ULONG_PTR)1);
}
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
/* sharedfault.c: the home of a page when it is not resident, and whether that is the file. */
static inline BOOLEAN MiIsPageOfFile(PMI_SEGMENT Segment, ULONG64 Page)
{
    if (Segment->Io == NULL) {
        return FALSE;
    }
    const MI_PART *Part = Segment->Parts ? MiPartOf(Segment, Page) : NULL;
    return !Part || !MiProtAllowsWrite(Part->Protection) || MiProtIsCopyOnWrite(Part->Protection);
}
/* imagesection.c: Bytes of an image at an address of it, as its file has them. At PASSIVE_LEVEL. */
NTSTATUS MiReadImageBytes(PMI_SEGMENT Segment, ULONG64 Rva, PUCHAR Bytes, ULONG Count);
/* relocate.c. What is to be added where, by the image's directory at Rva (Bytes 0: it has none), and where the headers name the base
 * (BaseField). STATUS_INVALID_IMAGE_FORMAT, STATUS_INSUFFICIENT_RESOURCES, or what reading says. */
NTSTATUS MiReadFixups(PMI_SEGMENT Segment, ULONG Rva, ULONG Bytes, ULONG BaseField);
BOOLEAN MiIsRelocated(PMI_SEGMENT Segment, ULONG64 Page);
VOID MiRelocate(PMI_SEGMENT Segment, ULONG64 Page, ULONG64 Delta, PUCHAR Bytes);
/* view.c: a range for a view: where the request says, its record *Result made like *Like, with page tables. The space locked. */
NTSTATUS MiPlaceView(PMI_SPACE Space, ULONG_PTR Start, SIZE_T Size, const MM_VIEW_REQUEST *Request, PMMVAD Like,
                     PMMVAD *Result);
/* view.c: takes shares away that entries of one table had: Old[n] for each bit n of Gone[] was there, none is in a TB any more. Entries'
 * lock held. */
VOID MiDropShares(PMMSUPPORT Set, PMMPTE Pte, const MMPTE *Old, ULONG Count);
/* mapwrite.c: writes what is modified of pages [First, First + Count) and waits. Segment locked. */
NTSTATUS MiFlushSegmentLocked(PMI_SEGMENT Segment, ULONG64 First, ULONG64 Count);
