/*
 * section.c - section objects, and the files behind them. SPDX-License-Identifier: MIT
 *
 * Implements Zw/NtCreateSection(Ex), OpenSection, ExtendSection, QuerySection, MmCreateSection and
 * FsRtlCreateSectionForDataScan. Views are sectionview.c's, what file systems ask of sections is sectionfs.c's, and pages are
 * mm's (mm/section.h).
 *
 *   handle -> SECTION { size, protection, attributes } -> segment <- views        (\Device\PhysicalMemory: no segment)
 *                                                            ^ `- Context: the FILE_OBJECT, referenced
 *                                                            |
 *      FILE_OBJECT.SectionObjectPointer->DataSectionObject --'     (ImageSectionObject for images)
 *
 * A file has one data segment and one image segment: the pointers that its file system supplies lead from any open to it. They
 * hold no reference; who finds one there takes it only if it is not on its way out (MmTryReferenceSegment), and the last
 * reference clears the pointer. A file system without such pointers has a segment a section.
 *
 * Pages are read and written by IRP_PAGING_IO requests to the file's device, up to MM_SEGMENT_CLUSTER of them in one.
 *
 * Invariants:
 *   1. A section holds a reference of its segment; a view, another. A segment's file stays open until the segment is gone.
 *   2. What a section pointer names has a reference, or waits for IopSectionLock to clear it.
 *   3. Neither a section nor, on its behalf, a file ever becomes shorter.
 * Locks: IopSectionLock guards the section pointers; nothing is called under it but mm's reference. IopGrowth, a resource, is
 * held over the requests by which a file grows; it comes before all others.
 * Watch: tests/ddi/ZwSection.c, tests/ddi/section_file.c, tests/ddi/section_fs.c.
 */
#include "io/sectionp.h"

#define TAG_SECTION 'tceS'

static KI_LOCK IopSectionLock;
static ERESOURCE IopGrowth;
static PSECTION IopPhysicalMemory;

static VOID IopDeleteSection(PVOID Object)
{
    PSECTION Section = Object;
    if (Section->Segment != NULL) {
        if (Section->Writes)
            MmCountSegmentWriter(Section->Segment, -1);
        MmDereferenceSegment(Section->Segment);
    }
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

/* The file has Bytes at least. Between the question and the order nobody else may have it grow: the order would cut that off. */
static NTSTATUS IopGrowFile(PFILE_OBJECT File, ULONG64 Bytes)
{
    FILE_END_OF_FILE_INFORMATION End = {.EndOfFile = {.QuadPart = (LONGLONG)Bytes}};
    ULONG_PTR Stored;
    ULONG64 Has = 0;
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&IopGrowth, TRUE);
    NTSTATUS Status = IopFileBytes(File, &Has);
    if (NT_SUCCESS(Status) && Has < Bytes)
        Status = IopFileRequest(File, IRP_MJ_SET_INFORMATION, &End, sizeof End, 0, FileEndOfFileInformation, &Stored);
    ExReleaseResourceLite(&IopGrowth);
    KeLeaveCriticalRegion();
    return Status;
}

static PVOID *IopSlotOf(PFILE_OBJECT File, BOOLEAN Image)
{
    PSECTION_OBJECT_POINTERS Pointers = File->SectionObjectPointer;
    return Pointers == NULL ? NULL : Image ? &Pointers->ImageSectionObject : &Pointers->DataSectionObject;
}

PMM_SEGMENT IopReferenceSlot(PVOID *Slot)
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
BOOLEAN IopIsWritable(ULONG Protection)
{
    return (Protection & (PAGE_READWRITE | PAGE_EXECUTE_READWRITE)) != 0;
}

BOOLEAN IopIsSectionProtection(ULONG Protection)
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
    ULONG NodePlusOne;
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
        Status = IopGrowFile(File, Wanted);
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
    if (NT_SUCCESS(Status)) {
        if (New->NodePlusOne)
            MmSetSegmentNode(New->Made.Segment, New->NodePlusOne);
        New->Made.Writes = New->File != NULL && !(New->Attributes & SEC_IMAGE) && IopIsWritable(New->Protection);
        if (New->Made.Writes)
            MmCountSegmentWriter(New->Made.Segment, 1);
        *(PSECTION)Object = New->Made;
    }
    return Status;
}

/* A pointer that a user gave: the kernel's range is not his. */
static BOOLEAN IopMayUse(KPROCESSOR_MODE Mode, const VOID *Pointer)
{
    return Mode == KernelMode || !HalIsSystemAddress((ULONG_PTR)Pointer);
}

static NTSTATUS IopCreateSection(KPROCESSOR_MODE Mode, PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                 POBJECT_ATTRIBUTES Attributes, PLARGE_INTEGER MaximumSize, ULONG Protection,
                                 ULONG AllocationAttributes, HANDLE FileHandle, ULONG NodePlusOne)
{
    IOP_NEW_SECTION New = {.Protection = Protection, .Attributes = AllocationAttributes, .NodePlusOne = NodePlusOne};
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
                            AllocationAttributes, FileHandle, 0);
}

NTSTATUS NTAPI NtCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                               PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                               HANDLE FileHandle)
{
    PSP_SERVE(TRUE);
    return IopCreateSection(Service_.Mode, SectionHandle, DesiredAccess, ObjectAttributes, MaximumSize, SectionPageProtection,
                            AllocationAttributes, FileHandle, 0);
}

/* Of a section: the node that its pages are wanted from. "Only one instance of an extended parameter can be specified." */
static NTSTATUS IopReadSectionParameters(KPROCESSOR_MODE Mode, PMEM_EXTENDED_PARAMETER Parameters, ULONG Count,
                                         ULONG *NodePlusOne)
{
    ULONG Seen = 0;
    *NodePlusOne = 0;
    if (Count != 0 && (Parameters == NULL || Count >= MemSectionExtendedParameterMax))
        return STATUS_INVALID_PARAMETER;
    for (ULONG i = 0; i < Count; i++) {
        MEM_EXTENDED_PARAMETER One;
        NTSTATUS Status = MmCaptureFrom(Mode, &One, &Parameters[i], sizeof One);
        if (!NT_SUCCESS(Status))
            return Status;
        if (One.Reserved || One.Type == 0 || One.Type >= MemSectionExtendedParameterMax || (Seen & (1u << One.Type)))
            return STATUS_INVALID_PARAMETER;
        Seen |= 1u << One.Type;
        if (One.Type != MemSectionExtendedParameterNumaNode)
            return STATUS_NOT_SUPPORTED; /* physical pages, signing levels */
        if (One.ULong > KeQueryHighestNodeNumber())
            return STATUS_INVALID_PARAMETER;
        *NodePlusOne = One.ULong + 1;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS IopCreateSectionEx(KPROCESSOR_MODE Mode, PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                   POBJECT_ATTRIBUTES Attributes, PLARGE_INTEGER MaximumSize, ULONG Protection,
                                   ULONG AllocationAttributes, HANDLE FileHandle, PMEM_EXTENDED_PARAMETER Parameters,
                                   ULONG Count)
{
    ULONG Node;
    NTSTATUS Status = IopReadSectionParameters(Mode, Parameters, Count, &Node);
    return NT_SUCCESS(Status) ? IopCreateSection(Mode, SectionHandle, DesiredAccess, Attributes, MaximumSize, Protection,
                                                 AllocationAttributes, FileHandle, Node)
                              : Status;
}

NTSTATUS NTAPI ZwCreateSectionEx(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                 PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                                 HANDLE FileHandle, PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, SectionHandle, MaximumSize, ExtendedParameters);
    PSP_SERVE(FALSE);
    return IopCreateSectionEx(Service_.Mode, SectionHandle, DesiredAccess, ObjectAttributes, MaximumSize, SectionPageProtection,
                              AllocationAttributes, FileHandle, ExtendedParameters, ExtendedParameterCount);
}

NTSTATUS NTAPI NtCreateSectionEx(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                 PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                                 HANDLE FileHandle, PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount)
{
    PSP_SERVE(TRUE);
    return IopCreateSectionEx(Service_.Mode, SectionHandle, DesiredAccess, ObjectAttributes, MaximumSize, SectionPageProtection,
                              AllocationAttributes, FileHandle, ExtendedParameters, ExtendedParameterCount);
}

/* Of an open file that there is no handle to. */
NTSTATUS NTAPI FsRtlCreateSectionForDataScan(PHANDLE SectionHandle, PVOID *SectionObject, PLARGE_INTEGER SectionFileSize,
                                             PFILE_OBJECT FileObject, ACCESS_MASK DesiredAccess,
                                             POBJECT_ATTRIBUTES ObjectAttributes, PLARGE_INTEGER MaximumSize,
                                             ULONG SectionPageProtection, ULONG AllocationAttributes, ULONG Flags)
{
    IOP_NEW_SECTION New = {.Protection = SectionPageProtection, .Attributes = SEC_COMMIT, .File = FileObject};
    HANDLE Handle;
    UNREFERENCED_PARAMETER(MaximumSize); /* "reserved for future use", as are the flags */
    UNREFERENCED_PARAMETER(Flags);
    if (SectionPageProtection != PAGE_READONLY && SectionPageProtection != PAGE_READWRITE)
        return STATUS_INVALID_PARAMETER_8;
    if ((AllocationAttributes & ~(ULONG)SEC_FILE) != SEC_COMMIT)
        return STATUS_INVALID_PARAMETER_9;
    NTSTATUS Status =
        ObpCreateWithHandle(&IopSectionType, sizeof(SECTION), ObjectAttributes, DesiredAccess, IopSetupSection, &New, &Handle);
    if (NT_SUCCESS(Status)) {
        Status = ObReferenceObjectByHandle(Handle, 0, &IopSectionType, KernelMode, SectionObject, NULL);
        if (!NT_SUCCESS(Status))
            (VOID) ZwClose(Handle);
    }
    if (NT_SUCCESS(Status)) {
        *SectionHandle = Handle;
        if (SectionFileSize != NULL)
            SectionFileSize->QuadPart = (LONGLONG)New.Made.Bytes;
    }
    return Status == STATUS_MAPPED_FILE_SIZE_ZERO ? STATUS_END_OF_FILE : Status;
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

/* ---- opening, and the section that is there from the start ---- */
/* \Device\PhysicalMemory: everything that has a physical address, by it. */
NTSTATUS IopInitSections(VOID)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\PhysicalMemory");
    PSECTION Section;
    NTSTATUS Status = ObpCreateObject(&IopSectionType, sizeof *Section, (PVOID *)&Section);
    if (!NT_SUCCESS(Status))
        return Status;
    *Section = (SECTION){.Bytes = MM_PHYSICAL_BYTES, .Protection = PAGE_EXECUTE_READWRITE};
    Status = ObpInsertName(Section, NULL, &Name, OBJ_PERMANENT, NULL);
    IopPhysicalMemory = NT_SUCCESS(Status) ? Section : NULL;
    ObfDereferenceObject(Section);
    if (NT_SUCCESS(Status))
        Status = ExInitializeResourceLite(&IopGrowth);
    return Status;
}

VOID IopShutdownSections(VOID)
{
    if (IopPhysicalMemory != NULL) {
        ObMakeTemporaryObject(IopPhysicalMemory);
        (VOID) ExDeleteResourceLite(&IopGrowth);
    }
    IopPhysicalMemory = NULL;
}

static BOOLEAN IopIsPhysicalMemory(HANDLE Handle)
{
    PSECTION Section;
    if (!NT_SUCCESS(ObReferenceObjectByHandle(Handle, 0, &IopSectionType, KernelMode, (PVOID *)&Section, NULL)))
        return FALSE;
    BOOLEAN Physical = Section->Segment == NULL;
    ObfDereferenceObject(Section);
    return Physical;
}

NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, SectionHandle);
    return ObpOpenWithHandle(&IopSectionType, ObjectAttributes, DesiredAccess, NULL, SectionHandle);
}

NTSTATUS NTAPI NtOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    PSP_SERVE(TRUE);
    HANDLE Handle;
    KPROCESSOR_MODE Mode = Service_.Mode;
    if (!IopMayUse(Mode, SectionHandle) || !IopMayUse(Mode, ObjectAttributes))
        return STATUS_ACCESS_VIOLATION;
    NTSTATUS Status = ObpOpenWithHandle(&IopSectionType, ObjectAttributes, DesiredAccess, NULL, &Handle);
    /* "User applications cannot access \Device\PhysicalMemory directly" */
    if (NT_SUCCESS(Status) && Mode != KernelMode && IopIsPhysicalMemory(Handle)) {
        (VOID) ZwClose(Handle);
        return STATUS_ACCESS_DENIED;
    }
    if (NT_SUCCESS(Status))
        (VOID) MmReleaseTo(Mode, SectionHandle, &Handle, sizeof Handle);
    return Status;
}

/* ---- growing and asking ---- */
static NTSTATUS IopExtendSection(KPROCESSOR_MODE Mode, HANDLE SectionHandle, PLARGE_INTEGER NewSectionSize)
{
    PSECTION Section;
    LARGE_INTEGER Size;
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
        Status = IopGrowFile(MmSegmentContext(Section->Segment), (ULONG64)Size.QuadPart);
        if (NT_SUCCESS(Status))
            Status = MmExtendSegment(Section->Segment, (ULONG64)Size.QuadPart);
        while (NT_SUCCESS(Status) && Now < (ULONG64)Size.QuadPart &&
               !__atomic_compare_exchange_n(&Section->Bytes, &Now, (ULONG64)Size.QuadPart, FALSE, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED)) {
        }
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
    const MM_IMAGE_FACTS *Facts = Section->Segment ? MmImageFacts(Section->Segment) : NULL;
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
