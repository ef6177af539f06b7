/*
 * sectionview.c - the services that map, unmap and flush views of sections. SPDX-License-Identifier: MIT
 *
 * Implements Zw/NtMapViewOfSection(Ex), UnmapViewOfSection(Ex), FlushVirtualMemory, NtAreMappedFilesTheSame, MmMapViewOfSection,
 * MmUnmapViewOfSection, and the views in system and session space. The objects are section.c's, the views are mm's (mm/section.h).
 *
 * The Ex forms take extended parameters in place of ZeroBits, CommitSize and InheritDisposition: address requirements, a node,
 * the machine of an image (there is one). MEM_REPLACE_PLACEHOLDER maps a view in place of exactly one placeholder, of any page
 * of the section; MEM_PRESERVE_PLACEHOLDER leaves it behind when the view goes.
 *
 * A section of physical memory has no segment: its views show frames by their numbers (mm/physview.c).
 * IRQL = PASSIVE_LEVEL. Watch: tests/ddi/section_file.c, section_ex.c.
 */
#include "io/sectionp.h"

#define IOP_MACHINE 0x8664 /* IMAGE_FILE_MACHINE_AMD64 */

/* ---- views ---- */
/* What a section of one protection may be mapped with: writing needs it, executing needs it, copies on write need reading only. */
static BOOLEAN IopMayMap(ULONG Section, ULONG View)
{
    const ULONG Execute = PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY;
    if ((View & 0xFF) == PAGE_NOACCESS)
        return TRUE;
    if (IopIsWritable(View) && !IopIsWritable(Section))
        return FALSE;
    return !(View & Execute) || (Section & Execute);
}

static ACCESS_MASK IopViewAccess(ULONG Protection)
{
    ACCESS_MASK Access = IopIsWritable(Protection) ? SECTION_MAP_WRITE : SECTION_MAP_READ;
    if (Protection & (PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY))
        Access |= SECTION_MAP_EXECUTE;
    return Access;
}

/* What is asked of a view; Base, Offset and Size come back as they are. */
typedef struct _IOP_MAP {
    PVOID Base;
    LARGE_INTEGER Offset;
    SIZE_T Size, CommitSize;
    ULONG Type, Protection;
    MM_ADDRESS_LIMITS Limits;
} IOP_MAP;

/* "Always sets the cache type of the mapped pages to match the cache type supplied when the section object was created." */
static ULONG IopCachedAs(PSECTION Section, ULONG Protection)
{
    const ULONG Both = PAGE_NOCACHE | PAGE_WRITECOMBINE;
    if (Section->Segment == NULL || (Section->Attributes & SEC_IMAGE) || (Protection & 0xFF) == PAGE_NOACCESS)
        return Protection;
    return (Protection & ~Both) | (Section->Attributes & SEC_NOCACHE        ? PAGE_NOCACHE
                                   : Section->Attributes & SEC_WRITECOMBINE ? PAGE_WRITECOMBINE
                                                                            : 0);
}

static NTSTATUS IopMapSection(PSECTION Section, KPROCESS *Process, IOP_MAP *Map)
{
    MM_VIEW_REQUEST Request = {.Type = Map->Type, .Limits = Map->Limits, .NoExecute = Section->NoExecute};
    ULONG64 Bytes = __atomic_load_n(&Section->Bytes, __ATOMIC_ACQUIRE), Offset = (ULONG64)Map->Offset.QuadPart;
    BOOLEAN Image = (Section->Attributes & SEC_IMAGE) != 0, Replaces = (Map->Type & MEM_REPLACE_PLACEHOLDER) != 0;
    if (!IopIsSectionProtection(Map->Protection) && (Map->Protection & 0xFF) != PAGE_NOACCESS)
        return STATUS_INVALID_PAGE_PROTECTION;
    if ((ULONG_PTR)Map->Base > (ULONG_PTR)MmHighestUserAddress)
        return STATUS_INVALID_PARAMETER_3;
    if (Section->NoExecute && Map->Protection != PAGE_READONLY)
        return STATUS_INVALID_PAGE_PROTECTION;
    if (!Image && !IopMayMap(Section->Protection, Map->Protection))
        return STATUS_SECTION_PROTECTION;
    Request.Protect = IopCachedAs(Section, Map->Protection);
    if (Section->Segment == NULL) {
        Map->Offset.QuadPart &= ~(LONGLONG)0xFFFF; /* where memory begins is not the caller's choice */
        return MmMapPhysicalView(Process->Space, &Map->Base, (ULONG64)Map->Offset.QuadPart, &Map->Size, &Request);
    }
    if (Offset % (Replaces ? PAGE_SIZE : 0x10000) != 0)
        return STATUS_MAPPED_ALIGNMENT;
    Bytes = (Bytes + PAGE_SIZE - 1) & ~(ULONG64)(PAGE_SIZE - 1);
    if (Offset >= Bytes || Map->Size > Bytes - Offset)
        return STATUS_INVALID_VIEW_SIZE;
    if (Map->Size == 0)
        Map->Size = Bytes - Offset;
    if (Map->CommitSize > Map->Size)
        return STATUS_INVALID_PARAMETER_5;
    Request.Offset = Offset;
    NTSTATUS Status = MmMapView(Section->Segment, Process->Space, &Map->Base, &Map->Size, &Request);
    if (NT_SUCCESS(Status) && Image && !Section->NoExecute) {
        PFILE_OBJECT File = MmSegmentContext(Section->Segment);
        PspNotifyImage(&File->FileName, Process->ProcessId, Map->Base, Map->Size, FALSE);
    }
    if (NT_SUCCESS(Status) && Map->CommitSize && (Section->Attributes & SEC_RESERVE)) {
        PVOID At = Map->Base;
        NTSTATUS Commit = MmAllocateVirtual(Process->Space, &At, &Map->CommitSize, MEM_COMMIT, PAGE_READWRITE, NULL);
        if (!NT_SUCCESS(Commit)) {
            (VOID) MmUnmapView(Process->Space, Map->Base, FALSE);
            return Commit;
        }
    }
    return Status;
}

/* The parameters that only the older forms have. */
static NTSTATUS IopCheckOlder(IOP_MAP *Map, ULONG_PTR ZeroBits, SECTION_INHERIT Inherit)
{
    if (ZeroBits > 21 && ZeroBits < 32)
        return STATUS_INVALID_PARAMETER_4;
    if (Inherit != ViewShare && Inherit != ViewUnmap)
        return STATUS_INVALID_PARAMETER_8;
    if (Map->Type & ~(ULONG)(MEM_TOP_DOWN | MEM_RESERVE))
        return STATUS_INVALID_PARAMETER_9;
    if (ZeroBits && Map->Base == NULL)
        Map->Limits.Highest = ZeroBits < 32 ? 0xFFFFFFFFull >> ZeroBits : ~0ull >> __builtin_clzll(ZeroBits);
    return STATUS_SUCCESS;
}

static NTSTATUS IopCaptureMap(KPROCESSOR_MODE Mode, PVOID *BaseAddress, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                              IOP_MAP *Map)
{
    NTSTATUS Status = MmCaptureFrom(Mode, &Map->Base, BaseAddress, sizeof Map->Base);
    if (NT_SUCCESS(Status))
        Status = MmCaptureFrom(Mode, &Map->Size, ViewSize, sizeof Map->Size);
    if (NT_SUCCESS(Status) && SectionOffset != NULL)
        Status = MmCaptureFrom(Mode, &Map->Offset, SectionOffset, sizeof Map->Offset);
    return Status;
}

/* By handles, and back to the caller. */
static NTSTATUS IopMapCaptured(KPROCESSOR_MODE Mode, HANDLE SectionHandle, HANDLE ProcessHandle, IOP_MAP *Map,
                               PVOID *BaseAddress, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize)
{
    PSECTION Section;
    KPROCESS *Process;
    NTSTATUS Status = ObReferenceObjectByHandle(SectionHandle, IopViewAccess(Map->Protection), &IopSectionType, Mode,
                                                (PVOID *)&Section, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    /* "Only data/pf-backed section views are supported (no images, physical memory, etc.)" */
    if ((Map->Type & MEM_REPLACE_PLACEHOLDER) && (Section->Segment == NULL || (Section->Attributes & SEC_IMAGE)))
        Status = STATUS_INVALID_PARAMETER_6;
    if (NT_SUCCESS(Status))
        Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Mode, &Process);
    if (NT_SUCCESS(Status)) {
        Status = IopMapSection(Section, Process, Map);
        PspCloseSpace(Process);
    }
    BOOLEAN Moves = Section->Segment == NULL && SectionOffset != NULL;
    ObfDereferenceObject(Section);
    if (NT_SUCCESS(Status)) {
        (VOID) MmReleaseTo(Mode, BaseAddress, &Map->Base, sizeof Map->Base);
        (VOID) MmReleaseTo(Mode, ViewSize, &Map->Size, sizeof Map->Size);
        if (Moves)
            (VOID) MmReleaseTo(Mode, SectionOffset, &Map->Offset, sizeof Map->Offset);
    }
    return Status;
}

static NTSTATUS IopMapViewOfSection(KPROCESSOR_MODE Mode, HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                    ULONG_PTR ZeroBits, SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                    SECTION_INHERIT Inherit, ULONG Type, ULONG Protection)
{
    IOP_MAP Map = {.CommitSize = CommitSize, .Type = Type, .Protection = Protection};
    NTSTATUS Status = IopCaptureMap(Mode, BaseAddress, SectionOffset, ViewSize, &Map);
    if (NT_SUCCESS(Status))
        Status = IopCheckOlder(&Map, ZeroBits, Inherit);
    return NT_SUCCESS(Status) ? IopMapCaptured(Mode, SectionHandle, ProcessHandle, &Map, BaseAddress, SectionOffset, ViewSize)
                              : Status;
}

NTSTATUS NTAPI ZwMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                  SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                  SECTION_INHERIT InheritDisposition, ULONG AllocationType, ULONG Win32Protect)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, SectionOffset, ViewSize);
    PSP_SERVE(FALSE);
    return IopMapViewOfSection(Service_.Mode, SectionHandle, ProcessHandle, BaseAddress, ZeroBits, CommitSize, SectionOffset,
                               ViewSize, InheritDisposition, AllocationType, Win32Protect);
}

NTSTATUS NTAPI NtMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                  SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                  SECTION_INHERIT InheritDisposition, ULONG AllocationType, ULONG Win32Protect)
{
    PSP_SERVE(TRUE);
    return IopMapViewOfSection(Service_.Mode, SectionHandle, ProcessHandle, BaseAddress, ZeroBits, CommitSize, SectionOffset,
                               ViewSize, InheritDisposition, AllocationType, Win32Protect);
}

static NTSTATUS IopMapViewOfSectionEx(KPROCESSOR_MODE Mode, HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                      PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize, ULONG Type, ULONG Protection,
                                      PMEM_EXTENDED_PARAMETER Parameters, ULONG Count)
{
    IOP_MAP Map = {.Type = Type, .Protection = Protection};
    USHORT Machine = PSP_ANY_MACHINE;
    NTSTATUS Status = IopCaptureMap(Mode, BaseAddress, SectionOffset, ViewSize, &Map);
    if (NT_SUCCESS(Status))
        Status = PspReadParameters(Mode, Parameters, Count, &Map.Limits, &Machine);
    if (!NT_SUCCESS(Status))
        return Status;
    if (Type & ~(ULONG)(MEM_RESERVE | MEM_TOP_DOWN | MEM_DIFFERENT_IMAGE_BASE_OK | MEM_REPLACE_PLACEHOLDER))
        return STATUS_INVALID_PARAMETER_6; /* MEM_LARGE_PAGES, too: no section has any */
    if (Map.Base != NULL && (Map.Limits.Lowest || Map.Limits.Highest || Map.Limits.Alignment))
        return STATUS_INVALID_PARAMETER;
    if (Machine != PSP_ANY_MACHINE && Machine != IOP_MACHINE)
        return STATUS_NOT_SUPPORTED;
    return IopMapCaptured(Mode, SectionHandle, ProcessHandle, &Map, BaseAddress, SectionOffset, ViewSize);
}

NTSTATUS NTAPI ZwMapViewOfSectionEx(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                    PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize, ULONG AllocationType, ULONG PageProtection,
                                    PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, SectionOffset, ViewSize, ExtendedParameters);
    PSP_SERVE(FALSE);
    return IopMapViewOfSectionEx(Service_.Mode, SectionHandle, ProcessHandle, BaseAddress, SectionOffset, ViewSize,
                                 AllocationType, PageProtection, ExtendedParameters, ExtendedParameterCount);
}

NTSTATUS NTAPI NtMapViewOfSectionEx(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                    PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize, ULONG AllocationType, ULONG PageProtection,
                                    PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount)
{
    PSP_SERVE(TRUE);
    return IopMapViewOfSectionEx(Service_.Mode, SectionHandle, ProcessHandle, BaseAddress, SectionOffset, ViewSize,
                                 AllocationType, PageProtection, ExtendedParameters, ExtendedParameterCount);
}

NTSTATUS NTAPI MmMapViewOfSection(PVOID SectionObject, PEPROCESS Process, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                  SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                  SECTION_INHERIT InheritDisposition, ULONG AllocationType, ULONG Win32Protect)
{
    IOP_MAP Map = {
        .Base = *BaseAddress, .Size = *ViewSize, .CommitSize = CommitSize, .Type = AllocationType, .Protection = Win32Protect};
    if (SectionOffset != NULL)
        Map.Offset = *SectionOffset;
    NTSTATUS Status = IopCheckOlder(&Map, ZeroBits, InheritDisposition);
    if (!NT_SUCCESS(Status))
        return Status;
    if (!ExAcquireRundownProtection(&Process->ExitRundown))
        return STATUS_PROCESS_IS_TERMINATING;
    Status = IopMapSection(SectionObject, Process, &Map);
    ExReleaseRundownProtection(&Process->ExitRundown);
    *BaseAddress = Map.Base;
    *ViewSize = Map.Size;
    return Status;
}

static NTSTATUS IopUnmapViewOfSection(KPROCESSOR_MODE Mode, HANDLE ProcessHandle, PVOID BaseAddress, ULONG Flags)
{
    KPROCESS *Process;
    if (Flags & ~(ULONG)(MEM_UNMAP_WITH_TRANSIENT_BOOST | MEM_PRESERVE_PLACEHOLDER))
        return STATUS_INVALID_PARAMETER_3;
    NTSTATUS Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmUnmapView(Process->Space, BaseAddress, (Flags & MEM_PRESERVE_PLACEHOLDER) != 0);
    PspCloseSpace(Process);
    return Status;
}

NTSTATUS NTAPI ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress)
{
    PSP_SERVE(FALSE);
    return IopUnmapViewOfSection(Service_.Mode, ProcessHandle, BaseAddress, 0);
}

NTSTATUS NTAPI NtUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress)
{
    PSP_SERVE(TRUE);
    return IopUnmapViewOfSection(Service_.Mode, ProcessHandle, BaseAddress, 0);
}

NTSTATUS NTAPI ZwUnmapViewOfSectionEx(HANDLE ProcessHandle, PVOID BaseAddress, ULONG Flags)
{
    PSP_SERVE(FALSE);
    return IopUnmapViewOfSection(Service_.Mode, ProcessHandle, BaseAddress, Flags);
}

NTSTATUS NTAPI NtUnmapViewOfSectionEx(HANDLE ProcessHandle, PVOID BaseAddress, ULONG Flags)
{
    PSP_SERVE(TRUE);
    return IopUnmapViewOfSection(Service_.Mode, ProcessHandle, BaseAddress, Flags);
}

NTSTATUS NTAPI MmUnmapViewOfSection(PEPROCESS Process, PVOID BaseAddress)
{
    if (!ExAcquireRundownProtection(&Process->ExitRundown))
        return STATUS_PROCESS_IS_TERMINATING;
    NTSTATUS Status = MmUnmapView(Process->Space, BaseAddress, FALSE);
    ExReleaseRundownProtection(&Process->ExitRundown);
    return Status;
}

static NTSTATUS IopFlush(KPROCESSOR_MODE Mode, HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                         PIO_STATUS_BLOCK IoStatus)
{
    KPROCESS *Process;
    IO_STATUS_BLOCK Result = {.Information = 0};
    PVOID Base;
    SIZE_T Size;
    NTSTATUS Status = MmCaptureFrom(Mode, &Base, BaseAddress, sizeof Base);
    if (NT_SUCCESS(Status))
        Status = MmCaptureFrom(Mode, &Size, RegionSize, sizeof Size);
    if (NT_SUCCESS(Status))
        Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmFlushVirtual(Process->Space, &Base, &Size);
    PspCloseSpace(Process);
    Result.Status = Status;
    if (NT_SUCCESS(Status)) {
        (VOID) MmReleaseTo(Mode, BaseAddress, &Base, sizeof Base);
        (VOID) MmReleaseTo(Mode, RegionSize, &Size, sizeof Size);
    }
    if (IoStatus != NULL)
        (VOID) MmReleaseTo(Mode, IoStatus, &Result, sizeof Result);
    return Status;
}

NTSTATUS NTAPI ZwFlushVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, PIO_STATUS_BLOCK IoStatus)
{
    KI_CHECK_SERVICE(NULL, NULL, BaseAddress, RegionSize, IoStatus);
    PSP_SERVE(FALSE);
    return IopFlush(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, IoStatus);
}

NTSTATUS NTAPI NtFlushVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize, PIO_STATUS_BLOCK IoStatus)
{
    PSP_SERVE(TRUE);
    return IopFlush(Service_.Mode, ProcessHandle, BaseAddress, RegionSize, IoStatus);
}

NTSTATUS NTAPI NtAreMappedFilesTheSame(PVOID File1MappedAsAnImage, PVOID File2MappedAsFile)
{
    PSP_SERVE(TRUE);
    PMM_SPACE Space = PsGetCurrentProcess()->Space;
    PMM_SEGMENT One = MmSegmentOfView(Space, File1MappedAsAnImage), Two = MmSegmentOfView(Space, File2MappedAsFile);
    NTSTATUS Status = STATUS_INVALID_ADDRESS;
    if (One != NULL && Two != NULL) {
        PFILE_OBJECT A = MmSegmentContext(One), B = MmSegmentContext(Two);
        Status = A == NULL || B == NULL ? STATUS_CONFLICTING_ADDRESSES
                 : One == Two || (A->SectionObjectPointer && A->SectionObjectPointer == B->SectionObjectPointer)
                     ? STATUS_SUCCESS
                     : STATUS_NOT_SAME_DEVICE;
    }
    if (One != NULL)
        MmDereferenceSegment(One);
    if (Two != NULL)
        MmDereferenceSegment(Two);
    return Status;
}

/* ---- views in system space ---- */
NTSTATUS NTAPI MmMapViewInSystemSpaceEx(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize, PLARGE_INTEGER SectionOffset,
                                        ULONG_PTR Flags)
{
    PSECTION Object = Section;
    ULONG64 Offset = SectionOffset ? (ULONG64)SectionOffset->QuadPart : 0;
    ULONG64 Bytes = (__atomic_load_n(&Object->Bytes, __ATOMIC_ACQUIRE) + PAGE_SIZE - 1) & ~(ULONG64)(PAGE_SIZE - 1);
    if (Flags & ~(ULONG_PTR)MM_SYSTEM_VIEW_EXCEPTIONS_FOR_INPAGE_ERRORS)
        return STATUS_INVALID_PARAMETER_5;
    if (Object->Segment == NULL)
        return STATUS_INVALID_PARAMETER_1; /* physical memory has MmMapIoSpace */
    if (Offset >= Bytes || *ViewSize > Bytes - Offset)
        return STATUS_INVALID_VIEW_SIZE;
    if (*ViewSize == 0)
        *ViewSize = Bytes - Offset;
    return MmMapSystemView(Object->Segment, Offset, ViewSize, IopIsWritable(Object->Protection),
                           (Flags & MM_SYSTEM_VIEW_EXCEPTIONS_FOR_INPAGE_ERRORS) != 0, MappedBase);
}

NTSTATUS NTAPI MmMapViewInSystemSpace(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize)
{
    return MmMapViewInSystemSpaceEx(Section, MappedBase, ViewSize, NULL, 0);
}

NTSTATUS NTAPI MmMapViewInSessionSpaceEx(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize, PLARGE_INTEGER SectionOffset,
                                         ULONG_PTR Flags)
{
    return MmMapViewInSystemSpaceEx(Section, MappedBase, ViewSize, SectionOffset, Flags);
}

NTSTATUS NTAPI MmMapViewInSessionSpace(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize)
{
    return MmMapViewInSystemSpaceEx(Section, MappedBase, ViewSize, NULL, 0);
}

NTSTATUS NTAPI MmUnmapViewInSystemSpace(PVOID MappedBase)
{
    return MmUnmapSystemView(MappedBase);
}

NTSTATUS NTAPI MmUnmapViewInSessionSpace(PVOID MappedBase)
{
    return MmUnmapSystemView(MappedBase);
}
