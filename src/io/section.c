/*
 * section.c - section objects, and the files behind them. SPDX-License-Identifier: MIT
 *
 * Implements Zw/NtCreateSection, OpenSection, MapViewOfSection, UnmapViewOfSection, ExtendSection, QuerySection, FlushVirtualMemory,
 * NtAreMappedFilesTheSame, MmCreateSection, MmMapViewOfSection, MmUnmapViewOfSection, the views in system and session space, and what file
 * systems ask of sections. Pages and views are mm's (mm/section.h).
 *
 *   handle -> SECTION { size, protection, attributes } -> segment <- views
 *                                                            ^  `- Context: the FILE_OBJECT, referenced
 *      FILE_OBJECT.SectionObjectPointer->DataSectionObject --'     (ImageSectionObject for images)
 *
 * A file has one data segment and one image segment: the pointers that its file system supplies lead from any open to it. They hold no
 * reference; who finds one there takes it only if it is not on its way out (MmTryReferenceSegment), and the last reference clears
 * the pointer. A file system without such pointers has a segment a section.
 *
 * Pages are read and written by IRP_PAGING_IO requests to the file's device, up to MM_SEGMENT_CLUSTER of them in one.
 *
 * Invariants:
 *   1. A section holds a reference of its segment; a view, another. A segment's file stays open until the segment is gone.
 *   2. What a section pointer names has a reference, or waits for IopSectionLock to clear it.
 * Locks: IopSectionLock guards the section pointers; nothing is called under it but mm's reference.
 * Watch: tests/ddi/ZwSection.c, tests/ddi/section_file.c.
 */
#include "io/iopp.h"
#include "mm/section.h"

#define TAG_SECTION 'tceS'

typedef struct _SECTION {
    PMM_SEGMENT Segment;
    ULONG64 Bytes; /* what the section shows of its segment; (interlocked) grows */
    ULONG Protection, Attributes;
    BOOLEAN HasFile;
    BOOLEAN NoExecute; /* an image that is only looked at: SEC_IMAGE_NO_EXECUTE */
} SECTION, *PSECTION;

static KI_LOCK IopSectionLock;

static VOID IopDeleteSection(PVOID Object)
{
    PSECTION Section = Object;
    if (Section->Segment != NULL)
        MmDereferenceSegment(Section->Segment);
}

OBJECT_TYPE IopSectionType = {
    .Name = L"Section",
    .Tag = TAG_SECTION,
    .ValidAccess = SECTION_ALL_ACCESS,
    .WaitOffset = -1,
    .Delete = IopDeleteSection,
};
static POBJECT_TYPE IopSectionTypePointer = &IopSectionType;
POBJECT_TYPE *MmSectionObjectType = &IopSectionTypePointer;

/* ---- files ---- */
/* A request of the system's own for a file. Buffer is resident. */
static NTSTATUS IopFileRequest(PFILE_OBJECT File, UCHAR Major, PVOID Buffer, ULONG Length, LONGLONG Offset, ULONG Class,
                               ULONG_PTR *Stored)
{
    PDEVICE_OBJECT Top = IoGetRelatedDeviceObject(File);
    PIRP Irp = IopAllocateIrp(Top->StackSize);
    IOP_REQUEST *Request = Irp ? IopCreateRequest(Irp) : NULL;
    BOOLEAN Abandoned = FALSE, Transfer = Major == IRP_MJ_READ || Major == IRP_MJ_WRITE;
    NTSTATUS Status = STATUS_SUCCESS;
    *Stored = 0;
    if (Request == NULL) {
        if (Irp)
            IoFreeIrp(Irp);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    if (Transfer) {
        Status = IopSetTransfer(Irp, Major, Top->Flags, Buffer, Length, Offset, KernelMode);
        Irp->Flags |= IRP_PAGING_IO | IRP_NOCACHE;
    } else {
        Irp->AssociatedIrp.SystemBuffer = Buffer;
        Next->Parameters.QueryFile.Length = Length; /* SetFile has the same layout */
        Next->Parameters.QueryFile.FileInformationClass = (FILE_INFORMATION_CLASS)Class;
    }
    if (!NT_SUCCESS(Status)) {
        IoFreeIrp(Irp);
        IopDestroyRequest(Request);
        return Status;
    }
    Irp->Flags |= IRP_SYNCHRONOUS_API;
    Irp->RequestorMode = KernelMode;
    Next->MajorFunction = Major;
    Next->FileObject = File;
    Status = IopSendAndWait(Top, Request, 0, Stored, &Abandoned);
    if (!Abandoned)
        IopDestroyRequest(Request);
    return Status;
}

/* ---- pages of files ----
 * A transfer goes through a buffer of nonpaged pool, since the file's device takes buffers, not frames of the window. */
typedef struct _IOP_PAGES {
    PFILE_OBJECT File;
    ULONG64 Offset;
    const PVOID *Pages;
    ULONG Bytes;
} IOP_PAGES;

static VOID IopCopyPages(const PVOID *Pages, PUCHAR Buffer, ULONG Bytes, BOOLEAN Out)
{
    for (ULONG At = 0; At < Bytes; At += PAGE_SIZE) {
        ULONG Piece = Bytes - At < PAGE_SIZE ? Bytes - At : PAGE_SIZE;
        memcpy(Out ? Buffer + At : Pages[At >> PAGE_SHIFT], Out ? Pages[At >> PAGE_SHIFT] : Buffer + At, Piece);
    }
}

static NTSTATUS IopTransferPages(const IOP_PAGES *Io, UCHAR Major, PVOID Given, ULONG *Done)
{
    ULONG Most = Given != NULL ? MM_SEGMENT_BUFFER : Io->Bytes;
    NTSTATUS Status = STATUS_SUCCESS;
    PUCHAR Buffer = Given;
    *Done = 0;
    while (Buffer == NULL) {
        Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, Most, TAG_SECTION);
        if (Buffer == NULL && Most <= PAGE_SIZE)
            return STATUS_INSUFFICIENT_RESOURCES;
        Most = Buffer != NULL ? Most : (Most / 2 + PAGE_SIZE - 1) & ~(ULONG)(PAGE_SIZE - 1);
    }
    while (*Done < Io->Bytes && NT_SUCCESS(Status)) {
        ULONG Length = Io->Bytes - *Done < Most ? Io->Bytes - *Done : Most;
        const PVOID *Pages = Io->Pages + (*Done >> PAGE_SHIFT);
        ULONG_PTR Stored = 0;
        if (Major == IRP_MJ_WRITE)
            IopCopyPages(Pages, Buffer, Length, TRUE);
        Status = IopFileRequest(Io->File, Major, Buffer, Length, (LONGLONG)(Io->Offset + *Done), 0, &Stored);
        Stored = Stored < Length ? Stored : Length;
        if (NT_SUCCESS(Status) && Major == IRP_MJ_READ)
            IopCopyPages(Pages, Buffer, (ULONG)Stored, FALSE);
        *Done += NT_SUCCESS(Status) ? (ULONG)Stored : 0;
        if (Stored < Length)
            break;
    }
    if (Given == NULL)
        ExFreePoolWithTag(Buffer, TAG_SECTION);
    return Status;
}

static NTSTATUS IopReadForSegment(PVOID Context, ULONG64 Offset, const PVOID *Pages, ULONG Bytes, ULONG *Done)
{
    IOP_PAGES Io = {Context, Offset, Pages, Bytes};
    NTSTATUS Status = IopTransferPages(&Io, IRP_MJ_READ, NULL, Done);
    return Status == STATUS_END_OF_FILE ? STATUS_SUCCESS : Status;
}

static NTSTATUS IopWriteForSegment(PVOID Context, ULONG64 Offset, const PVOID *Pages, ULONG Bytes, PVOID Buffer)
{
    IOP_PAGES Io = {Context, Offset, Pages, Bytes};
    ULONG Done;
    NTSTATUS Status = IopTransferPages(&Io, IRP_MJ_WRITE, Buffer, &Done);
    return NT_SUCCESS(Status) && Done != Bytes ? STATUS_DISK_FULL : Status;
}

static VOID IopCloseSegment(PVOID Context, PMM_SEGMENT Segment)
{
    PFILE_OBJECT File = Context;
    KiAcquireLock(&IopSectionLock);
    if (File->SectionObjectPointer != NULL) {
        PSECTION_OBJECT_POINTERS Pointers = File->SectionObjectPointer;
        if (Pointers->DataSectionObject == Segment)
            Pointers->DataSectionObject = NULL;
        if (Pointers->ImageSectionObject == Segment)
            Pointers->ImageSectionObject = NULL;
    }
    KiReleaseLock(&IopSectionLock);
    ObfDereferenceObject(File);
}

static const MM_SEGMENT_IO IopSegmentIo = {IopReadForSegment, IopWriteForSegment, IopCloseSegment};

static NTSTATUS IopFileBytes(PFILE_OBJECT File, ULONG64 *Bytes)
{
    FILE_STANDARD_INFORMATION Standard;
    ULONG_PTR Stored;
    memset(&Standard, 0, sizeof Standard);
    if (!NT_SUCCESS(
            IopFileRequest(File, IRP_MJ_QUERY_INFORMATION, &Standard, sizeof Standard, 0, FileStandardInformation, &Stored)) ||
        Standard.Directory || Standard.EndOfFile.QuadPart < 0)
        return STATUS_INVALID_FILE_FOR_SECTION;
    *Bytes = (ULONG64)Standard.EndOfFile.QuadPart;
    return STATUS_SUCCESS;
}

static NTSTATUS IopSetFileBytes(PFILE_OBJECT File, ULONG64 Bytes)
{
    FILE_END_OF_FILE_INFORMATION End = {.EndOfFile = {.QuadPart = (LONGLONG)Bytes}};
    ULONG_PTR Stored;
    return IopFileRequest(File, IRP_MJ_SET_INFORMATION, &End, sizeof End, 0, FileEndOfFileInformation, &Stored);
}

static PVOID *IopSlotOf(PFILE_OBJECT File, BOOLEAN Image)
{
    PSECTION_OBJECT_POINTERS Pointers = File->SectionObjectPointer;
    return Pointers == NULL ? NULL : Image ? &Pointers->ImageSectionObject : &Pointers->DataSectionObject;
}

static PMM_SEGMENT IopReferenceSlot(PVOID *Slot)
{
    PMM_SEGMENT Segment = NULL;
    if (Slot != NULL) {
        KiAcquireLock(&IopSectionLock);
        Segment = *Slot;
        if (Segment != NULL && !MmTryReferenceSegment(Segment))
            Segment = NULL;
        KiReleaseLock(&IopSectionLock);
    }
    return Segment;
}

/* The file's segment, of at least Bytes (an image: whole). */
static NTSTATUS IopSegmentOfFile(PFILE_OBJECT File, BOOLEAN Image, ULONG64 Bytes, PMM_SEGMENT *Segment)
{
    PVOID *Slot = IopSlotOf(File, Image);
    NTSTATUS Status = STATUS_SUCCESS;
    for (;;) {
        *Segment = IopReferenceSlot(Slot);
        if (*Segment != NULL)
            break;
        ObfReferenceObject(File);
        Status = Image ? MmCreateImageSegment(Bytes, &IopSegmentIo, File, Segment)
                       : MmCreateSegment(Bytes, FALSE, &IopSegmentIo, File, Segment);
        if (!NT_SUCCESS(Status)) {
            ObfDereferenceObject(File);
            return Status;
        }
        if (Slot == NULL)
            return STATUS_SUCCESS;
        KiAcquireLock(&IopSectionLock);
        BOOLEAN First = *Slot == NULL;
        if (First)
            *Slot = *Segment;
        KiReleaseLock(&IopSectionLock);
        if (First)
            return STATUS_SUCCESS;
        MmDereferenceSegment(*Segment); /* another thread was faster, or the old one is just going */
        HalYield();
    }
    if (!Image && MmSegmentBytes(*Segment) < Bytes)
        Status = MmExtendSegment(*Segment, Bytes);
    if (!NT_SUCCESS(Status))
        MmDereferenceSegment(*Segment);
    return Status;
}

/* ---- creating ---- */
static BOOLEAN IopIsWritable(ULONG Protection)
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

typedef struct _IOP_NEW_SECTION {
    LONGLONG Maximum; /* 0: not given */
    ULONG Protection, Attributes;
    PFILE_OBJECT File; /* or NULL */
    SECTION Made;
} IOP_NEW_SECTION;

static NTSTATUS IopCheckSection(const IOP_NEW_SECTION *New)
{
    const ULONG Kinds = SEC_COMMIT | SEC_RESERVE,
                Known = Kinds | SEC_IMAGE | SEC_NOCACHE | SEC_FILE | SEC_WRITECOMBINE | SEC_NO_CHANGE;
    ULONG Attributes = New->Attributes;
    if (Attributes & (SEC_LARGE_PAGES | SEC_BASED | SEC_64K_PAGES | SEC_HUGE_PAGES))
        return STATUS_NOT_SUPPORTED;
    BOOLEAN Image = (Attributes & SEC_IMAGE) != 0;
    /* "must be combined with the PAGE_READONLY page protection value" */
    if ((Attributes & SEC_IMAGE_NO_EXECUTE) == SEC_IMAGE_NO_EXECUTE && New->Protection != PAGE_READONLY)
        return STATUS_INVALID_PAGE_PROTECTION;
    if ((Attributes & ~Known) || (!(Attributes & Kinds) && !Image) || (Attributes & Kinds) == Kinds ||
        (Image && (Attributes & Kinds)))
        return STATUS_INVALID_PARAMETER_6;
    if (!IopIsSectionProtection(New->Protection))
        return STATUS_INVALID_PAGE_PROTECTION;
    if (Image && New->File == NULL)
        return STATUS_INVALID_FILE_FOR_SECTION;
    if (New->Maximum < 0 || (New->Maximum == 0 && New->File == NULL))
        return STATUS_INVALID_PARAMETER_4;
    return (ULONG64)New->Maximum > MmGetMaximumFileSectionSize() ? STATUS_SECTION_TOO_BIG : STATUS_SUCCESS;
}

static NTSTATUS IopMakeFileSection(IOP_NEW_SECTION *New)
{
    PFILE_OBJECT File = New->File;
    BOOLEAN Image = (New->Attributes & SEC_IMAGE) != 0;
    ULONG64 Bytes = 0, Wanted;
    if (IoGetRelatedDeviceObject(File) == NULL)
        return STATUS_INVALID_FILE_FOR_SECTION;
    NTSTATUS Status = IopFileBytes(File, &Bytes);
    if (!NT_SUCCESS(Status))
        return Status;
    Wanted = New->Maximum ? (ULONG64)New->Maximum : Bytes;
    if (Wanted == 0)
        return STATUS_MAPPED_FILE_SIZE_ZERO;
    if (Wanted > MmGetMaximumFileSectionSize())
        return STATUS_SECTION_TOO_BIG;
    if (Image) {
        Status = IopSegmentOfFile(File, TRUE, Bytes, &New->Made.Segment);
        if (NT_SUCCESS(Status))
            New->Made.Bytes = MmSegmentBytes(New->Made.Segment);
        return Status;
    }
    if (Wanted > Bytes) {
        if (!IopIsWritable(New->Protection))
            return STATUS_SECTION_TOO_BIG;
        Status = IopSetFileBytes(File, Wanted);
        if (!NT_SUCCESS(Status))
            return Status;
        Bytes = Wanted;
    }
    Status = IopSegmentOfFile(File, FALSE, Bytes, &New->Made.Segment);
    New->Made.Bytes = Wanted;
    return Status;
}

static NTSTATUS IopMakeSection(IOP_NEW_SECTION *New)
{
    NTSTATUS Status = IopCheckSection(New);
    if (!NT_SUCCESS(Status))
        return Status;
    New->Made.Protection = New->Protection;
    New->Made.Attributes = New->Attributes;
    New->Made.HasFile = New->File != NULL;
    New->Made.NoExecute = (New->Attributes & SEC_IMAGE_NO_EXECUTE) == SEC_IMAGE_NO_EXECUTE;
    if (New->File != NULL)
        return IopMakeFileSection(New);
    New->Made.Bytes = ((ULONG64)New->Maximum + PAGE_SIZE - 1) & ~(ULONG64)(PAGE_SIZE - 1);
    return MmCreateSegment(New->Made.Bytes, (New->Attributes & SEC_RESERVE) != 0, NULL, NULL, &New->Made.Segment);
}

static NTSTATUS IopSetupSection(PVOID Object, PVOID Context)
{
    IOP_NEW_SECTION *New = Context;
    NTSTATUS Status = IopMakeSection(New);
    if (NT_SUCCESS(Status))
        *(PSECTION)Object = New->Made;
    return Status;
}

/* A pointer that a user gave: the kernel's range is not his. */
static BOOLEAN IopMayUse(KPROCESSOR_MODE Mode, const VOID *Pointer)
{
    return Mode == KernelMode || !HalIsSystemAddress((ULONG_PTR)Pointer);
}

static NTSTATUS IopCreateSection(KPROCESSOR_MODE Mode, PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                 POBJECT_ATTRIBUTES Attributes, PLARGE_INTEGER MaximumSize, ULONG Protection,
                                 ULONG AllocationAttributes, HANDLE FileHandle)
{
    IOP_NEW_SECTION New = {.Protection = Protection, .Attributes = AllocationAttributes};
    HANDLE Handle = NULL;
    NTSTATUS Status = STATUS_SUCCESS;
    if (!IopMayUse(Mode, SectionHandle) || !IopMayUse(Mode, Attributes))
        return STATUS_ACCESS_VIOLATION;
    if (MaximumSize != NULL)
        Status = MmCaptureFrom(Mode, &New.Maximum, MaximumSize, sizeof New.Maximum);
    if (NT_SUCCESS(Status) && FileHandle != NULL)
        Status = ObReferenceObjectByHandle(
            FileHandle,
            FILE_READ_DATA | (IopIsWritable(Protection) && !(AllocationAttributes & SEC_IMAGE) ? FILE_WRITE_DATA : 0),
            &IopFileType, Mode, (PVOID *)&New.File, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = IopCheckSection(&New); /* before a name is looked up */
    if (NT_SUCCESS(Status))
        Status =
            ObpCreateWithHandle(&IopSectionType, sizeof(SECTION), Attributes, DesiredAccess, IopSetupSection, &New, &Handle);
    if (New.File != NULL)
        ObfDereferenceObject(New.File);
    if (NT_SUCCESS(Status))
        (VOID) MmReleaseTo(Mode, SectionHandle, &Handle, sizeof Handle);
    return Status;
}

NTSTATUS NTAPI ZwCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                               PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                               HANDLE FileHandle)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, SectionHandle, MaximumSize);
    PSP_SERVE(FALSE);
    return IopCreateSection(Service_.Mode, SectionHandle, DesiredAccess, ObjectAttributes, MaximumSize, SectionPageProtection,
                            AllocationAttributes, FileHandle);
}

NTSTATUS NTAPI NtCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                               PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                               HANDLE FileHandle)
{
    PSP_SERVE(TRUE);
    return IopCreateSection(Service_.Mode, SectionHandle, DesiredAccess, ObjectAttributes, MaximumSize, SectionPageProtection,
                            AllocationAttributes, FileHandle);
}

NTSTATUS NTAPI MmCreateSection(PVOID *SectionObject, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                               PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                               HANDLE FileHandle, struct _FILE_OBJECT *FileObject)
{
    IOP_NEW_SECTION New = {.Maximum = MaximumSize ? MaximumSize->QuadPart : 0,
                           .Protection = SectionPageProtection,
                           .Attributes = AllocationAttributes,
                           .File = FileObject};
    PVOID Object = NULL, File = NULL;
    NTSTATUS Status = STATUS_SUCCESS;
    UNREFERENCED_PARAMETER(DesiredAccess);
    UNREFERENCED_PARAMETER(ObjectAttributes); /* the object has no name */
    *SectionObject = NULL;
    if (FileObject == NULL && FileHandle != NULL) {
        Status = ObReferenceObjectByHandle(FileHandle, 0, &IopFileType, KernelMode, &File, NULL);
        New.File = File;
    }
    if (NT_SUCCESS(Status))
        Status = ObpCreateObject(&IopSectionType, sizeof(SECTION), &Object);
    if (NT_SUCCESS(Status)) {
        Status = IopSetupSection(Object, &New);
        if (!NT_SUCCESS(Status))
            ObfDereferenceObject(Object);
    }
    if (File != NULL)
        ObfDereferenceObject(File);
    if (NT_SUCCESS(Status))
        *SectionObject = Object;
    return Status;
}

NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, SectionHandle);
    return ObpOpenWithHandle(&IopSectionType, ObjectAttributes, DesiredAccess, NULL, SectionHandle);
}

NTSTATUS NTAPI NtOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    PSP_SERVE(TRUE);
    KPROCESSOR_MODE Mode = Service_.Mode;
    if (!IopMayUse(Mode, SectionHandle) || !IopMayUse(Mode, ObjectAttributes))
        return STATUS_ACCESS_VIOLATION;
    return ObpOpenWithHandle(&IopSectionType, ObjectAttributes, DesiredAccess, NULL, SectionHandle);
}

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

static NTSTATUS IopMapSection(PSECTION Section, KPROCESS *Process, PVOID *Base, ULONG_PTR ZeroBits, SIZE_T CommitSize,
                              ULONG64 Offset, SIZE_T *Size, SECTION_INHERIT Inherit, ULONG Type, ULONG Protection)
{
    MM_VIEW_REQUEST Request = {.Offset = Offset, .Type = Type, .Protect = Protection, .NoExecute = Section->NoExecute};
    ULONG64 Bytes = __atomic_load_n(&Section->Bytes, __ATOMIC_ACQUIRE);
    BOOLEAN Image = (Section->Attributes & SEC_IMAGE) != 0;
    if (!IopIsSectionProtection(Protection) && (Protection & 0xFF) != PAGE_NOACCESS)
        return STATUS_INVALID_PAGE_PROTECTION;
    if ((ULONG_PTR)*Base > (ULONG_PTR)MmHighestUserAddress)
        return STATUS_INVALID_PARAMETER_3;
    if (ZeroBits > 21 && ZeroBits < 32)
        return STATUS_INVALID_PARAMETER_4;
    if (Inherit != ViewShare && Inherit != ViewUnmap)
        return STATUS_INVALID_PARAMETER_8;
    if (Type & ~(ULONG)(MEM_TOP_DOWN | MEM_RESERVE))
        return STATUS_INVALID_PARAMETER_9;
    if (!Image && !IopMayMap(Section->Protection, Protection))
        return STATUS_SECTION_PROTECTION;
    if (Offset % 0x10000 != 0)
        return STATUS_MAPPED_ALIGNMENT;
    Bytes = (Bytes + PAGE_SIZE - 1) & ~(ULONG64)(PAGE_SIZE - 1);
    if (Offset >= Bytes || *Size > Bytes - Offset)
        return STATUS_INVALID_VIEW_SIZE;
    if (*Size == 0)
        *Size = Bytes - Offset;
    if (CommitSize > *Size)
        return STATUS_INVALID_PARAMETER_5;
    if (ZeroBits && *Base == NULL)
        Request.Limits.Highest = ZeroBits < 32 ? 0xFFFFFFFFull >> ZeroBits : ~0ull >> __builtin_clzll(ZeroBits);
    NTSTATUS Status = MmMapView(Section->Segment, Process->Space, Base, Size, &Request);
    if (NT_SUCCESS(Status) && Image && !Section->NoExecute) {
        PFILE_OBJECT File = MmSegmentContext(Section->Segment);
        PspNotifyImage(&File->FileName, Process->ProcessId, *Base, *Size, FALSE);
    }
    if (NT_SUCCESS(Status) && CommitSize && (Section->Attributes & SEC_RESERVE)) {
        PVOID At = *Base;
        NTSTATUS Commit = MmAllocateVirtual(Process->Space, &At, &CommitSize, MEM_COMMIT, PAGE_READWRITE, NULL);
        if (!NT_SUCCESS(Commit)) {
            (VOID) MmUnmapView(Process->Space, *Base, FALSE);
            return Commit;
        }
    }
    return Status;
}

static NTSTATUS IopMapViewOfSection(KPROCESSOR_MODE Mode, HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                    ULONG_PTR ZeroBits, SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                    SECTION_INHERIT Inherit, ULONG Type, ULONG Protection)
{
    PSECTION Section;
    KPROCESS *Process;
    PVOID Base;
    SIZE_T Size;
    LARGE_INTEGER Offset = {.QuadPart = 0};
    NTSTATUS Status = MmCaptureFrom(Mode, &Base, BaseAddress, sizeof Base);
    if (NT_SUCCESS(Status))
        Status = MmCaptureFrom(Mode, &Size, ViewSize, sizeof Size);
    if (NT_SUCCESS(Status) && SectionOffset != NULL)
        Status = MmCaptureFrom(Mode, &Offset, SectionOffset, sizeof Offset);
    if (NT_SUCCESS(Status))
        Status =
            ObReferenceObjectByHandle(SectionHandle, IopViewAccess(Protection), &IopSectionType, Mode, (PVOID *)&Section, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Mode, &Process);
    if (NT_SUCCESS(Status)) {
        Status = IopMapSection(Section, Process, &Base, ZeroBits, CommitSize, (ULONG64)Offset.QuadPart, &Size, Inherit, Type,
                               Protection);
        PspCloseSpace(Process);
    }
    ObfDereferenceObject(Section);
    if (NT_SUCCESS(Status)) {
        (VOID) MmReleaseTo(Mode, BaseAddress, &Base, sizeof Base);
        (VOID) MmReleaseTo(Mode, ViewSize, &Size, sizeof Size);
    }
    return Status;
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

NTSTATUS NTAPI MmMapViewOfSection(PVOID SectionObject, PEPROCESS Process, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                  SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                  SECTION_INHERIT InheritDisposition, ULONG AllocationType, ULONG Win32Protect)
{
    if (!ExAcquireRundownProtection(&Process->ExitRundown))
        return STATUS_PROCESS_IS_TERMINATING;
    NTSTATUS Status = IopMapSection(SectionObject, Process, BaseAddress, ZeroBits, CommitSize,
                                    SectionOffset ? (ULONG64)SectionOffset->QuadPart : 0, ViewSize, InheritDisposition,
                                    AllocationType, Win32Protect);
    ExReleaseRundownProtection(&Process->ExitRundown);
    return Status;
}

static NTSTATUS IopUnmapViewOfSection(KPROCESSOR_MODE Mode, HANDLE ProcessHandle, PVOID BaseAddress)
{
    KPROCESS *Process;
    NTSTATUS Status = PspOpenSpace(ProcessHandle, PROCESS_VM_OPERATION, Mode, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = MmUnmapView(Process->Space, BaseAddress, FALSE);
    PspCloseSpace(Process);
    return Status;
}

NTSTATUS NTAPI ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress)
{
    PSP_SERVE(FALSE);
    return IopUnmapViewOfSection(Service_.Mode, ProcessHandle, BaseAddress);
}

NTSTATUS NTAPI NtUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress)
{
    PSP_SERVE(TRUE);
    return IopUnmapViewOfSection(Service_.Mode, ProcessHandle, BaseAddress);
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
    if (Offset >= Bytes || *ViewSize > Bytes - Offset)
        return STATUS_INVALID_VIEW_SIZE;
    if (*ViewSize == 0)
        *ViewSize = Bytes - Offset;
    return MmMapSystemView(Object->Segment, Offset, ViewSize, IopIsWritable(Object->Protection), MappedBase);
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

/* ---- growing and asking ---- */
static NTSTATUS IopExtendSection(KPROCESSOR_MODE Mode, HANDLE SectionHandle, PLARGE_INTEGER NewSectionSize)
{
    PSECTION Section;
    LARGE_INTEGER Size;
    ULONG64 FileBytes = 0;
    NTSTATUS Status = MmCaptureFrom(Mode, &Size, NewSectionSize, sizeof Size);
    if (NT_SUCCESS(Status))
        Status = ObReferenceObjectByHandle(SectionHandle, SECTION_EXTEND_SIZE, &IopSectionType, Mode, (PVOID *)&Section, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    ULONG64 Now = __atomic_load_n(&Section->Bytes, __ATOMIC_ACQUIRE);
    if (!Section->HasFile || (Section->Attributes & SEC_IMAGE)) {
        Status = STATUS_SECTION_NOT_EXTENDED;
    } else if (Size.QuadPart < 0 || (ULONG64)Size.QuadPart > MmGetMaximumFileSectionSize()) {
        Status = STATUS_SECTION_TOO_BIG;
    } else if ((ULONG64)Size.QuadPart <= Now) {
        Size.QuadPart = (LONGLONG)Now;
    } else {
        PFILE_OBJECT File = MmSegmentContext(Section->Segment);
        Status = IopFileBytes(File, &FileBytes);
        if (NT_SUCCESS(Status) && FileBytes < (ULONG64)Size.QuadPart)
            Status = IopSetFileBytes(File, (ULONG64)Size.QuadPart);
        if (NT_SUCCESS(Status))
            Status = MmExtendSegment(Section->Segment, (ULONG64)Size.QuadPart);
        if (NT_SUCCESS(Status))
            __atomic_store_n(&Section->Bytes, (ULONG64)Size.QuadPart, __ATOMIC_RELEASE);
    }
    ObfDereferenceObject(Section);
    if (NT_SUCCESS(Status))
        Status = MmReleaseTo(Mode, NewSectionSize, &Size, sizeof Size);
    return Status;
}

NTSTATUS NTAPI ZwExtendSection(HANDLE SectionHandle, PLARGE_INTEGER NewSectionSize)
{
    KI_CHECK_SERVICE(NULL, NULL, NewSectionSize);
    PSP_SERVE(FALSE);
    return IopExtendSection(Service_.Mode, SectionHandle, NewSectionSize);
}

NTSTATUS NTAPI NtExtendSection(HANDLE SectionHandle, PLARGE_INTEGER NewSectionSize)
{
    PSP_SERVE(TRUE);
    return IopExtendSection(Service_.Mode, SectionHandle, NewSectionSize);
}

static VOID IopDescribeImage(const MM_IMAGE_FACTS *Facts, PSECTION_IMAGE_INFORMATION Info)
{
    *Info = (SECTION_IMAGE_INFORMATION){.TransferAddress = (PVOID)(Facts->PreferredBase + Facts->EntryPoint),
                                        .MaximumStackSize = Facts->StackReserve,
                                        .CommittedStackSize = Facts->StackCommit,
                                        .SubSystemType = Facts->Subsystem,
                                        .SubSystemMajorVersion = Facts->SubsystemMajor,
                                        .SubSystemMinorVersion = Facts->SubsystemMinor,
                                        .MajorOperatingSystemVersion = Facts->OsMajor,
                                        .MinorOperatingSystemVersion = Facts->OsMinor,
                                        .ImageCharacteristics = Facts->Characteristics,
                                        .DllCharacteristics = Facts->DllCharacteristics,
                                        .Machine = Facts->Machine,
                                        .ImageContainsCode = Facts->ContainsCode,
                                        .LoaderFlags = Facts->LoaderFlags,
                                        .ImageFileSize = Facts->SizeOfImage,
                                        .CheckSum = Facts->CheckSum};
}

static NTSTATUS IopQuerySection(KPROCESSOR_MODE Mode, HANDLE SectionHandle, SECTION_INFORMATION_CLASS Class, PVOID Information,
                                SIZE_T Length, PSIZE_T ReturnLength)
{
    PSECTION Section;
    union {
        SECTION_BASIC_INFORMATION Basic;
        SECTION_IMAGE_INFORMATION Image;
    } Answer;
    SIZE_T Need = Class == SectionBasicInformation ? sizeof Answer.Basic : sizeof Answer.Image;
    if (Class != SectionBasicInformation && Class != SectionImageInformation)
        return STATUS_INVALID_INFO_CLASS;
    if (Length < Need)
        return STATUS_INFO_LENGTH_MISMATCH;
    NTSTATUS Status = ObReferenceObjectByHandle(SectionHandle, SECTION_QUERY, &IopSectionType, Mode, (PVOID *)&Section, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    const MM_IMAGE_FACTS *Facts = MmImageFacts(Section->Segment);
    memset(&Answer, 0, sizeof Answer);
    if (Class == SectionImageInformation) {
        Status = Facts ? STATUS_SUCCESS : STATUS_SECTION_NOT_IMAGE;
        if (Facts)
            IopDescribeImage(Facts, &Answer.Image);
    } else {
        Answer.Basic.AllocationAttributes = Section->Attributes | (Section->HasFile ? SEC_FILE : 0);
        Answer.Basic.MaximumSize.QuadPart = (LONGLONG)__atomic_load_n(&Section->Bytes, __ATOMIC_RELAXED);
    }
    ObfDereferenceObject(Section);
    if (NT_SUCCESS(Status))
        Status = MmReleaseTo(Mode, Information, &Answer, Need);
    if (NT_SUCCESS(Status) && ReturnLength != NULL)
        Status = MmReleaseTo(Mode, ReturnLength, &Need, sizeof Need);
    return Status;
}

NTSTATUS NTAPI ZwQuerySection(HANDLE SectionHandle, SECTION_INFORMATION_CLASS SectionInformationClass, PVOID SectionInformation,
                              SIZE_T SectionInformationLength, PSIZE_T ReturnLength)
{
    KI_CHECK_SERVICE(NULL, NULL, SectionInformation);
    PSP_SERVE(FALSE);
    return IopQuerySection(Service_.Mode, SectionHandle, SectionInformationClass, SectionInformation, SectionInformationLength,
                           ReturnLength);
}

NTSTATUS NTAPI NtQuerySection(HANDLE SectionHandle, SECTION_INFORMATION_CLASS SectionInformationClass, PVOID SectionInformation,
                              SIZE_T SectionInformationLength, PSIZE_T ReturnLength)
{
    PSP_SERVE(TRUE);
    return IopQuerySection(Service_.Mode, SectionHandle, SectionInformationClass, SectionInformation, SectionInformationLength,
                           ReturnLength);
}

/* ---- what file systems ask ---- */
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

BOOLEAN NTAPI MmFlushImageSection(PSECTION_OBJECT_POINTERS SectionObjectPointer, MMFLUSH_TYPE FlushType)
{
    UNREFERENCED_PARAMETER(FlushType);
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

BOOLEAN NTAPI MmCanFileBeTruncated(PSECTION_OBJECT_POINTERS SectionPointer, PLARGE_INTEGER NewFileSize)
{
    ULONG64 New = NewFileSize ? (ULONG64)NewFileSize->QuadPart : 0;
    if (!IopSlotIsFree(&SectionPointer->ImageSectionObject, FALSE))
        return FALSE;
    PMM_SEGMENT Segment = IopReferenceSlot(&SectionPointer->DataSectionObject);
    if (Segment == NULL)
        return TRUE;
    BOOLEAN May = New >= MmSegmentBytes(Segment);
    MmDereferenceSegment(Segment);
    return May;
}

ULONG NTAPI MmDoesFileHaveUserWritableReferences(PSECTION_OBJECT_POINTERS SectionPointer)
{
    PMM_SEGMENT Segment = IopReferenceSlot(&SectionPointer->DataSectionObject);
    if (Segment == NULL)
        return 0;
    ULONG Views = MmSegmentViews(Segment);
    MmDereferenceSegment(Segment);
    return Views;
}

ULONGLONG NTAPI MmGetMaximumFileSectionSize(VOID)
{
    return 1ull << 40;
}
