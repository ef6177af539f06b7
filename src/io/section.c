/*
 * section.c - section objects backed by memory: created, opened by name, mapped and unmapped.
 * SPDX-License-Identifier: MIT
 *
 * Implements ZwCreateSection, ZwOpenSection, ZwMapViewOfSection and ZwUnmapViewOfSection for sections without a file. A
 * section's pages are one page-aligned block of nonpaged pool, so they are resident; a view is a real second
 * address of the same frames, made by an MDL of its own that is mapped into the user range. File-backed and image
 * sections, extension and views at a chosen address are refused, not pretended.
 *
 *   SECTION (object) ---- Memory: the pages
 *      ^   referenced by
 *   VIEW (in SectionViews) ---- Mdl over part of Memory, mapped at Base
 *
 * Invariants:
 *   1. A view holds a reference to its section; the section's memory lives until the last view and handle are gone.
 *   2. A view is in SectionViews exactly while it is mapped.
 *   3. Base .. Base + Size of two views of the list never overlap.
 * Locks: SectionLock guards the list only; mapping and unmapping are done outside it, at PASSIVE_LEVEL.
 */
#include "io/iop.h"

#define TAG_SECTION 'tceS'

typedef struct _SECTION {
    SIZE_T Bytes; /* whole pages */
    PVOID Memory;
    ULONG Protection;
} SECTION, *PSECTION;

typedef struct _VIEW {
    LIST_ENTRY Link;
    PSECTION Section;
    PMDL Mdl;
    PVOID Base;
    SIZE_T Size;
} VIEW, *PVIEW;

static KI_LOCK SectionLock;
static LIST_ENTRY SectionViews = {&SectionViews, &SectionViews};

static VOID IopDeleteSection(PVOID Object)
{
    PSECTION Section = Object;

    if (Section->Memory != NULL)
        ExFreePoolWithTag(Section->Memory, TAG_SECTION);
}

OBJECT_TYPE IopSectionType = {
    .Name = L"Section",
    .Tag = TAG_SECTION,
    .ValidAccess = SECTION_ALL_ACCESS,
    .WaitOffset = -1,
    .Delete = IopDeleteSection,
};

typedef struct _SECTION_REQUEST {
    SIZE_T Bytes;
    ULONG Protection;
} SECTION_REQUEST;

static NTSTATUS IopSetupSection(PVOID Object, PVOID Context)
{
    PSECTION Section = Object;
    const SECTION_REQUEST *Request = Context;

    Section->Memory = ExAllocatePool2(POOL_FLAG_NON_PAGED, Request->Bytes, TAG_SECTION);
    if (Section->Memory == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Section->Bytes = Request->Bytes;
    Section->Protection = Request->Protection;
    return STATUS_SUCCESS;
}

static BOOLEAN IopIsWritableProtection(ULONG Protection)
{
    return (Protection & (PAGE_READWRITE | PAGE_EXECUTE_READWRITE)) != 0;
}

static BOOLEAN IopIsSectionProtection(ULONG Protection)
{
    switch (Protection & ~(ULONG)(PAGE_NOCACHE | PAGE_WRITECOMBINE)) {
    case PAGE_READONLY:
    case PAGE_READWRITE:
    case PAGE_WRITECOPY:
    case PAGE_EXECUTE:
    case PAGE_EXECUTE_READ:
    case PAGE_EXECUTE_READWRITE:
    case PAGE_EXECUTE_WRITECOPY:
        return TRUE;
    default:
        return FALSE;
    }
}

NTSTATUS NTAPI ZwCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                               PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                               HANDLE FileHandle)
{
    SECTION_REQUEST Request;

    if (FileHandle != NULL || (AllocationAttributes & ~(ULONG)(SEC_COMMIT | SEC_RESERVE | SEC_NOCACHE)) != 0)
        return STATUS_NOT_SUPPORTED;
    if (!IopIsSectionProtection(SectionPageProtection))
        return STATUS_INVALID_PAGE_PROTECTION;
    if ((AllocationAttributes & (SEC_COMMIT | SEC_RESERVE)) == 0)
        return STATUS_INVALID_PARAMETER_6;
    if (MaximumSize == NULL || MaximumSize->QuadPart <= 0)
        return STATUS_INVALID_PARAMETER_4;
    if ((ULONGLONG)MaximumSize->QuadPart > MAXULONG - PAGE_SIZE)
        return STATUS_INSUFFICIENT_RESOURCES;
    Request.Bytes = ((SIZE_T)MaximumSize->QuadPart + PAGE_SIZE - 1) & ~(SIZE_T)(PAGE_SIZE - 1);
    Request.Protection = SectionPageProtection;
    return ObpCreateWithHandle(&IopSectionType, sizeof(SECTION), ObjectAttributes, DesiredAccess, IopSetupSection, &Request,
                               SectionHandle);
}

NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    return ObpOpenWithHandle(&IopSectionType, ObjectAttributes, DesiredAccess, NULL, SectionHandle);
}

/* Maps Mdl's pages into the user range; the routine raises where it cannot. */
static PVOID IopMapUserView(PMDL Mdl, BOOLEAN Writable)
{
    PVOID Base = NULL;

    __try {
        Base = MmMapLockedPagesSpecifyCache(Mdl, UserMode, MmCached, NULL, FALSE,
                                            NormalPagePriority | (Writable ? 0 : MdlMappingNoWrite));
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Base = NULL;
    }
    return Base;
}

NTSTATUS NTAPI ZwMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                  SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                  SECTION_INHERIT InheritDisposition, ULONG AllocationType, ULONG Win32Protect)
{
    ULONGLONG Offset = SectionOffset != NULL ? (ULONGLONG)SectionOffset->QuadPart : 0;
    PSECTION Section;
    SIZE_T Size;
    PVIEW View;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(ZeroBits);
    UNREFERENCED_PARAMETER(CommitSize);
    UNREFERENCED_PARAMETER(InheritDisposition);
    UNREFERENCED_PARAMETER(AllocationType);
    if (ProcessHandle != (HANDLE)(LONG_PTR)-1)
        return STATUS_INVALID_HANDLE;
    if (*BaseAddress != NULL)
        return STATUS_INVALID_PARAMETER_3;
    if (!IopIsSectionProtection(Win32Protect))
        return STATUS_INVALID_PAGE_PROTECTION;
    if (Offset % 0x10000 != 0)
        return STATUS_MAPPED_ALIGNMENT;
    Status = ObReferenceObjectByHandle(SectionHandle, SECTION_MAP_READ, &IopSectionType, KernelMode, (PVOID *)&Section, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Size = (*ViewSize + PAGE_SIZE - 1) & ~(SIZE_T)(PAGE_SIZE - 1);
    if (Offset >= Section->Bytes || *ViewSize > Section->Bytes || Size > Section->Bytes - Offset) {
        Status = STATUS_INVALID_VIEW_SIZE;
    } else if (IopIsWritableProtection(Win32Protect) && !IopIsWritableProtection(Section->Protection)) {
        Status = STATUS_SECTION_PROTECTION;
    } else {
        if (Size == 0)
            Size = Section->Bytes - Offset;
        View = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(VIEW), TAG_SECTION);
        if (View == NULL) {
            Status = STATUS_INSUFFICIENT_RESOURCES;
        } else {
            View->Section = Section;
            View->Size = Size;
            View->Mdl = IoAllocateMdl((PUCHAR)Section->Memory + Offset, (ULONG)Size, FALSE, FALSE, NULL);
            if (View->Mdl != NULL) {
                MmBuildMdlForNonPagedPool(View->Mdl);
                View->Base = IopMapUserView(View->Mdl, IopIsWritableProtection(Win32Protect));
            }
            if (View->Base == NULL) {
                if (View->Mdl != NULL)
                    IoFreeMdl(View->Mdl);
                ExFreePoolWithTag(View, TAG_SECTION);
                Status = STATUS_NO_MEMORY;
            } else {
                *BaseAddress = View->Base;
                *ViewSize = Size;
                KiAcquireLock(&SectionLock);
                InsertTailList(&SectionViews, &View->Link);
                KiReleaseLock(&SectionLock);
                return STATUS_SUCCESS; /* the view keeps the reference */
            }
        }
    }
    ObDereferenceObject(Section);
    return Status;
}

NTSTATUS NTAPI ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress)
{
    PVIEW View = NULL;
    PLIST_ENTRY Entry;

    if (ProcessHandle != (HANDLE)(LONG_PTR)-1)
        return STATUS_INVALID_HANDLE;
    KiAcquireLock(&SectionLock);
    for (Entry = SectionViews.Flink; Entry != &SectionViews; Entry = Entry->Flink) {
        View = CONTAINING_RECORD(Entry, VIEW, Link);
        if ((ULONG_PTR)BaseAddress - (ULONG_PTR)View->Base < View->Size) {
            RemoveEntryList(Entry);
            break;
        }
        View = NULL;
    }
    KiReleaseLock(&SectionLock);
    if (View == NULL)
        return STATUS_NOT_MAPPED_VIEW;
    MmUnmapLockedPages(View->Base, View->Mdl);
    IoFreeMdl(View->Mdl);
    ObDereferenceObject(View->Section);
    ExFreePoolWithTag(View, TAG_SECTION);
    return STATUS_SUCCESS;
}
