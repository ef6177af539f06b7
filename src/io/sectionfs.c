/*
 * sectionfs.c - what file systems ask of the sections of their files. SPDX-License-Identifier: MIT
 *
 * Implements MmFlushImageSection, MmForceSectionClosed(Ex), MmCanFileBeTruncated, MmDoesFileHaveUserWritableReferences,
 * MmGetMaximumFileSectionSize, MmDisableModifiedWriteOfSection and MmPrefetchPages. All but the last two ask about the segments
 * that a file's section pointers name (section.c); a segment goes with its last reference, so there is never one to be closed
 * by force: it is gone already, or somebody has it.
 *
 * IRQL <= APC_LEVEL; MmPrefetchPages PASSIVE_LEVEL. Watch: tests/ddi/section_file.c, section_fs.c.
 */
#include "io/sectionp.h"

/* Whether a section pointer names nothing any more. */
static BOOLEAN IopSlotIsFree(PVOID *Slot, BOOLEAN Flush)
{
    PMM_SEGMENT Segment = IopReferenceSlot(Slot);
    if (Segment == NULL)
        return TRUE;
    if (Flush)
        (VOID) MmFlushSegment(Segment, 0, 0);
    MmDereferenceSegment(Segment);
    return FALSE;
}

static BOOLEAN IopHasWriteProbes(PVOID *Slot)
{
    PMM_SEGMENT Segment = IopReferenceSlot(Slot);
    if (Segment == NULL)
        return FALSE;
    BOOLEAN Some = MmSegmentHasWriteProbes(Segment);
    MmDereferenceSegment(Segment);
    return Some;
}

BOOLEAN NTAPI MmFlushImageSection(PSECTION_OBJECT_POINTERS SectionObjectPointer, MMFLUSH_TYPE FlushType)
{
    /* "If ... MmFlushForDelete ... and there are one or more outstanding write probes on the file's data section" */
    if (FlushType == MmFlushForDelete && IopHasWriteProbes(&SectionObjectPointer->DataSectionObject))
        return FALSE;
    return IopSlotIsFree(&SectionObjectPointer->ImageSectionObject, FALSE);
}

BOOLEAN NTAPI MmForceSectionClosed(PSECTION_OBJECT_POINTERS SectionObjectPointer, BOOLEAN DelayClose)
{
    UNREFERENCED_PARAMETER(DelayClose); /* a segment goes with its last reference anyway */
    return MmForceSectionClosedEx(SectionObjectPointer, MM_FORCE_CLOSED_DATA | MM_FORCE_CLOSED_IMAGE);
}

BOOLEAN NTAPI MmForceSectionClosedEx(PSECTION_OBJECT_POINTERS SectionObjectPointer, ULONG ForceCloseFlags)
{
    BOOLEAN Data = !(ForceCloseFlags & MM_FORCE_CLOSED_DATA) || IopSlotIsFree(&SectionObjectPointer->DataSectionObject, TRUE);
    BOOLEAN Image =
        !(ForceCloseFlags & MM_FORCE_CLOSED_IMAGE) || IopSlotIsFree(&SectionObjectPointer->ImageSectionObject, FALSE);
    return Data && Image;
}

/* Whoever holds a data section of the file "holds a reference", which forbids all but growth; and "a mapped view within the truncation
 * range" is one of these. */
BOOLEAN NTAPI MmCanFileBeTruncated(PSECTION_OBJECT_POINTERS SectionPointer, PLARGE_INTEGER NewFileSize)
{
    ULONG64 New = NewFileSize ? (ULONG64)NewFileSize->QuadPart : 0;
    if (!IopSlotIsFree(&SectionPointer->ImageSectionObject, FALSE))
        return FALSE;
    PMM_SEGMENT Segment = IopReferenceSlot(&SectionPointer->DataSectionObject);
    if (Segment == NULL)
        return TRUE;
    BOOLEAN May = New > MmSegmentBytes(Segment) && !MmSegmentHasWriteProbes(Segment);
    MmDereferenceSegment(Segment);
    return May;
}

ULONG NTAPI MmDoesFileHaveUserWritableReferences(PSECTION_OBJECT_POINTERS SectionPointer)
{
    PMM_SEGMENT Segment = IopReferenceSlot(&SectionPointer->DataSectionObject);
    if (Segment == NULL)
        return 0;
    ULONG Writers = MmSegmentWriters(Segment);
    MmDereferenceSegment(Segment);
    return Writers;
}

BOOLEAN NTAPI MmDisableModifiedWriteOfSection(PSECTION_OBJECT_POINTERS SectionObjectPointer)
{
    PMM_SEGMENT Segment = IopReferenceSlot(&SectionObjectPointer->DataSectionObject);
    if (Segment == NULL)
        return FALSE;
    MmDisableModifiedWrite(Segment);
    MmDereferenceSegment(Segment);
    return TRUE;
}

NTSTATUS NTAPI MmPrefetchPages(ULONG NumberOfLists, PREAD_LIST *ReadLists)
{
    NTSTATUS Status = STATUS_SUCCESS;
    if (NumberOfLists == 0)
        return STATUS_INVALID_PARAMETER_1;
    for (ULONG List = 0; List < NumberOfLists; List++) { /* nothing is read for lists of which one is wrong */
        PFILE_OBJECT File = ReadLists[List]->FileObject;
        PSECTION_OBJECT_POINTERS Pointers = File != NULL ? File->SectionObjectPointer : NULL;
        PMM_SEGMENT Segment = NULL;
        if (Pointers != NULL)
            Segment = IopReferenceSlot(ReadLists[List]->IsImage ? &Pointers->ImageSectionObject : &Pointers->DataSectionObject);
        if (Segment == NULL)
            return STATUS_INVALID_PARAMETER_1;
        MmDereferenceSegment(Segment);
    }
    for (ULONG List = 0; List < NumberOfLists && NT_SUCCESS(Status); List++) {
        const READ_LIST *Read = ReadLists[List];
        PSECTION_OBJECT_POINTERS Pointers = Read->FileObject->SectionObjectPointer;
        PMM_SEGMENT Segment = IopReferenceSlot(Read->IsImage ? &Pointers->ImageSectionObject : &Pointers->DataSectionObject);
        for (ULONG Entry = 0; Segment != NULL && Entry < Read->NumberOfEntries && NT_SUCCESS(Status); Entry++)
            Status = MmPrefetchSegment(Segment, Read->List[Entry].Alignment);
        if (Segment != NULL)
            MmDereferenceSegment(Segment);
    }
    return Status;
}

ULONGLONG NTAPI MmGetMaximumFileSectionSize(VOID)
{
    return 1ull << 40;
}
