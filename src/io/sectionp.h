/*
 * sectionp.h - section objects, for section.c, sectionview.c and sectionfs.c. SPDX-License-Identifier: MIT
 */
#pragma once
#include "io/iopp.h"
#include "mm/section.h"

typedef struct _SECTION {
    PMM_SEGMENT Segment; /* NULL: physical memory */
    ULONG64 Bytes;       /* what the section shows of its segment; (atomic) only grows */
    ULONG Protection, Attributes;
    BOOLEAN HasFile;
    BOOLEAN Writes;    /* of a file, and views of it may write: counted with the segment */
    BOOLEAN NoExecute; /* an image that is only looked at: SEC_IMAGE_NO_EXECUTE */
} SECTION, *PSECTION;

extern OBJECT_TYPE IopSectionType;
BOOLEAN IopIsWritable(ULONG Protection);
BOOLEAN IopIsSectionProtection(ULONG Protection);
/* The segment that a section pointer names, referenced; NULL: none, or one on its way out. */
PMM_SEGMENT IopReferenceSlot(PVOID *Slot);
