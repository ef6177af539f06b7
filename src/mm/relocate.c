/*
 * relocate.c - base relocations: what a view of an image needs changed where the image does not lie at its preferred base.
 * SPDX-License-Identifier: MIT
 *
 * An image's base relocations say where it holds addresses of its own. A view at another base than the preferred one shows the
 * pages that have some by copies of its own, in which the difference of the bases has been added to each:
 *
 *      segment:  | page 2, as the file has it |                  shared by all views that need nothing changed there
 *                        | first touch (sharedfault.c): copied, then MiRelocate
 *                        v
 *      view:     | page 2 + Delta |                               private from then on, its home is the page file
 *
 * On Windows an image has one base for all processes at a time, and its relocated pages are shared. Here processes never use
 * the same addresses (space.c), so no two views have one base and nothing relocated can be shared.
 *
 * The headers' ImageBase is relocated with the rest, as Windows does: so who relocates an image that he finds at another base than
 * its headers say finds nothing left to do. Pages that all processes write to together (shared writable sections) are shown as
 * they are. An image without relocations, or from which they were stripped, is shown as it is everywhere.
 *
 * The directory is read once, when the segment is made, and is trusted no more than the rest of the file:
 *
 *      MI_FIXUPS: | First[Pages + 1] | entries: type, offset within page | across: those that touch two pages, with their bytes |
 *
 * entries of page n are [First[n], First[n + 1]), so that a fault finds them at once. One that begins in a page and ends in the
 * next cannot be done by looking at either page alone: its original bytes are kept, and either page gets its part of the sum.
 *
 * Invariants:
 *   R1  First[] ascends; an entry lies in its page whole.
 *   R2  What crosses lies in the image whole; both its pages are marked (MI_CROSSED).
 * Locks: none; nothing changes after the segment is made. Watch: tests/ddi/section_image.c.
 */
#include "mm/segment.h"

typedef struct _MI_ACROSS {
    ULONG Rva, Type;
    UCHAR Bytes[8];
} MI_ACROSS;

typedef struct _MI_FIXUPS {
    ULONG Pages, AcrossCount;
    MI_ACROSS *Across;
    USHORT *Entries; /* type << 12 | offset, as in the file */
    ULONG First[];   /* MI_CROSSED: something crosses one of the page's ends */
} MI_FIXUPS;
#define MI_CROSSED 0x80000000u
static inline ULONG MiFirstOf(const MI_FIXUPS *Fixups, ULONG64 Page)
{
    return Fixups->First[Page] & ~MI_CROSSED;
}

/* IMAGE_REL_BASED_ */
#define MI_REL_ABSOLUTE 0u /* nothing: fills up a block */
#define MI_REL_HIGH     1u
#define MI_REL_LOW      2u
#define MI_REL_HIGHLOW  3u
#define MI_REL_DIR64    10u

static inline ULONG MiFixupBytes(ULONG Type) /* 0: none that is known */
{
    return Type == MI_REL_DIR64 ? 8 : Type == MI_REL_HIGHLOW ? 4 : Type == MI_REL_HIGH || Type == MI_REL_LOW ? 2 : 0;
}

/* ---- the directory ---- */
typedef struct _MI_DIRECTORY {
    const UCHAR *Bytes;
    ULONG Size;
    ULONG ImageBytes, BaseField;
    MI_FIXUPS *Fixups;   /* NULL: only count */
    ULONG *Counts;       /* for each page; then, where its next entry goes */
    ULONG Total, Across; /* found so far */
} MI_DIRECTORY;

static BOOLEAN MiTakeFixup(MI_DIRECTORY *Directory, ULONG64 Rva, ULONG Type)
{
    ULONG Bytes = MiFixupBytes(Type), Page = (ULONG)(Rva >> PAGE_SHIFT), Offset = (ULONG)Rva & (PAGE_SIZE - 1);
    if (Type == MI_REL_ABSOLUTE) {
        return TRUE;
    }
    if (Bytes == 0 || Rva > Directory->ImageBytes || Directory->ImageBytes - Rva < Bytes) {
        return FALSE;
    }
    if (Offset + Bytes > PAGE_SIZE) {
        if (Directory->Fixups) {
            Directory->Fixups->Across[Directory->Across] = (MI_ACROSS){.Rva = (ULONG)Rva, .Type = Type};
        }
        Directory->Across++;
        return TRUE;
    }
    if (Directory->Fixups) {
        Directory->Fixups->Entries[Directory->Counts[Page]] = (USHORT)(Type << 12 | Offset);
    }
    Directory->Counts[Page]++;
    Directory->Total++;
    return TRUE;
}

static inline ULONG MiLongAt(const UCHAR *At)
{
    ULONG Value;
    memcpy(&Value, At, sizeof(Value));
    return Value;
}

/* Every fixup of the directory, and the headers' own. FALSE: it contradicts itself. */
static BOOLEAN MiWalkDirectory(MI_DIRECTORY *Directory)
{
    ULONG At = 0;
    Directory->Total = Directory->Across = 0;
    if (!MiTakeFixup(Directory, Directory->BaseField, MI_REL_DIR64)) {
        return FALSE;
    }
    while (Directory->Size - At >= 8) {
        ULONG Rva = MiLongAt(Directory->Bytes + At), Size = MiLongAt(Directory->Bytes + At + 4);
        if (Size == 0) {
            break; /* what is left is padding */
        }
        if (Size < 8 || (Size & 1) || Size > Directory->Size - At) {
            return FALSE;
        }
        for (ULONG Entry = 8; Entry < Size; Entry += 2) {
            USHORT Value;
            memcpy(&Value, Directory->Bytes + At + Entry, sizeof(Value));
            if (!MiTakeFixup(Directory, (ULONG64)Rva + (Value & 0xFFF), (ULONG)Value >> 12)) {
                return FALSE;
            }
        }
        At += Size;
    }
    return TRUE;
}

static NTSTATUS MiReadAcross(PMI_SEGMENT Segment, MI_FIXUPS *Fixups)
{
    NTSTATUS Status = STATUS_SUCCESS;
    for (ULONG Index = 0; Index < Fixups->AcrossCount && NT_SUCCESS(Status); Index++) {
        MI_ACROSS *Across = &Fixups->Across[Index];
        Fixups->First[Across->Rva >> PAGE_SHIFT] |= MI_CROSSED;
        Fixups->First[(Across->Rva >> PAGE_SHIFT) + 1] |= MI_CROSSED;
        Status = MiReadImageBytes(Segment, Across->Rva, Across->Bytes, MiFixupBytes(Across->Type));
    }
    return Status;
}

/* Counts, then fills in. Counts[]: zeroes, one for each page. */
static NTSTATUS MiMakeFixups(PMI_SEGMENT Segment, MI_DIRECTORY *Directory, ULONG Pages)
{
    if (!MiWalkDirectory(Directory) || Directory->Across > Pages) {
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    SIZE_T Table = sizeof(MI_FIXUPS) + ((SIZE_T)Pages + 1) * sizeof(ULONG), Across = (Table + 7) & ~(SIZE_T)7;
    SIZE_T Entries = Across + Directory->Across * sizeof(MI_ACROSS);
    MI_FIXUPS *Fixups = ExAllocatePool2(POOL_FLAG_NON_PAGED, Entries + Directory->Total * sizeof(USHORT), MI_TAG_SEGMENT);
    if (Fixups == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Fixups->Pages = Pages;
    Fixups->AcrossCount = Directory->Across;
    Fixups->Across = (MI_ACROSS *)((PUCHAR)Fixups + Across);
    Fixups->Entries = (USHORT *)((PUCHAR)Fixups + Entries);
    for (ULONG Page = 0, Before = 0; Page <= Pages; Page++) {
        ULONG Count = Page < Pages ? Directory->Counts[Page] : 0;
        Fixups->First[Page] = Before;
        if (Page < Pages) {
            Directory->Counts[Page] = Before;
        }
        Before += Count;
    }
    Directory->Fixups = Fixups;
    (VOID) MiWalkDirectory(Directory);
    Segment->Fixups = Fixups; /* the segment frees it */
    return MiReadAcross(Segment, Fixups);
}

NTSTATUS MiReadFixups(PMI_SEGMENT Segment, ULONG Rva, ULONG Bytes, ULONG BaseField)
{
    ULONG ImageBytes = Segment->Image.SizeOfImage, Pages = (ULONG)MI_BYTES_TO_PAGES((ULONG64)ImageBytes);
    if (Bytes == 0) {
        return STATUS_SUCCESS;
    }
    const MI_PART *Part = MiPartOf(Segment, Rva >> PAGE_SHIFT);
    if (Part == NULL || Rva - (Part->FirstPage << PAGE_SHIFT) > Part->FileBytes ||
        Bytes > Part->FileBytes - (Rva - (Part->FirstPage << PAGE_SHIFT))) {
        return STATUS_INVALID_IMAGE_FORMAT; /* so it is not larger than the file */
    }
    MI_DIRECTORY Directory = {.Size = Bytes, .ImageBytes = ImageBytes, .BaseField = BaseField};
    PUCHAR Copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes, MI_TAG_SEGMENT);
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    Directory.Counts = ExAllocatePool2(POOL_FLAG_NON_PAGED, (SIZE_T)Pages * sizeof(ULONG), MI_TAG_SEGMENT);
    Directory.Bytes = Copy;
    if (Copy && Directory.Counts) {
        Status = MiReadImageBytes(Segment, Rva, Copy, Bytes);
        if (NT_SUCCESS(Status)) {
            Status = MiMakeFixups(Segment, &Directory, Pages);
        }
    }
    if (Directory.Counts) {
        ExFreePoolWithTag(Directory.Counts, MI_TAG_SEGMENT);
    }
    if (Copy) {
        ExFreePoolWithTag(Copy, MI_TAG_SEGMENT);
    }
    return Status;
}

/* ---- pages ---- */
static inline BOOLEAN MiTouches(const MI_ACROSS *Across, ULONG64 Page)
{
    return Across->Rva >> PAGE_SHIFT == Page || (Across->Rva >> PAGE_SHIFT) + 1 == Page;
}

BOOLEAN MiIsRelocated(PMI_SEGMENT Segment, ULONG64 Page)
{
    const MI_FIXUPS *Fixups = Segment->Fixups;
    if (Fixups == NULL || Page >= Fixups->Pages || !MiIsPageOfFile(Segment, Page)) {
        return FALSE;
    }
    return (Fixups->First[Page] & MI_CROSSED) || MiFirstOf(Fixups, Page) != MiFirstOf(Fixups, Page + 1);
}

static VOID MiAddDelta(PUCHAR At, ULONG Type, ULONG64 Delta)
{
    ULONG64 Value = 0;
    ULONG Bytes = MiFixupBytes(Type);
    memcpy(&Value, At, Bytes);
    Value += Type == MI_REL_HIGH ? Delta >> 16 : Delta;
    memcpy(At, &Value, Bytes);
}

/* Bytes: the page's, all of them. */
VOID MiRelocate(PMI_SEGMENT Segment, ULONG64 Page, ULONG64 Delta, PUCHAR Bytes)
{
    const MI_FIXUPS *Fixups = Segment->Fixups;
    for (ULONG Index = MiFirstOf(Fixups, Page); Index < MiFirstOf(Fixups, Page + 1); Index++) {
        MiAddDelta(Bytes + (Fixups->Entries[Index] & 0xFFF), (ULONG)Fixups->Entries[Index] >> 12, Delta);
    }
    for (ULONG Index = 0; Index < Fixups->AcrossCount && (Fixups->First[Page] & MI_CROSSED); Index++) {
        const MI_ACROSS *Across = &Fixups->Across[Index];
        if (!MiTouches(Across, Page)) {
            continue;
        }
        UCHAR Sum[8];
        memcpy(Sum, Across->Bytes, sizeof(Sum));
        MiAddDelta(Sum, Across->Type, Delta);
        for (ULONG Byte = 0; Byte < MiFixupBytes(Across->Type); Byte++) {
            if ((Across->Rva + Byte) >> PAGE_SHIFT == Page) {
                Bytes[(Across->Rva + Byte) & (PAGE_SIZE - 1)] = Sum[Byte];
            }
        }
    }
}
