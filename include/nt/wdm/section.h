/*
 * section.h - section objects: memory that several address spaces and the system see. Backed by the page file, by a file, or by a PE image.
 *
 * Zw and Nt forms as in vm.h. IRQL = PASSIVE_LEVEL unless said otherwise. SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_SECTION_
#define _NTMM_SECTION_

typedef enum _SECTION_INFORMATION_CLASS { SectionBasicInformation, SectionImageInformation } SECTION_INFORMATION_CLASS;
typedef struct _SECTION_BASIC_INFORMATION {
    PVOID BaseAddress;
    ULONG AllocationAttributes;
    LARGE_INTEGER MaximumSize;
} SECTION_BASIC_INFORMATION, *PSECTION_BASIC_INFORMATION;
C_ASSERT(sizeof(SECTION_BASIC_INFORMATION) == 0x18);
typedef struct _SECTION_IMAGE_INFORMATION {
    PVOID TransferAddress;
    ULONG ZeroBits;
    SIZE_T MaximumStackSize;
    SIZE_T CommittedStackSize;
    ULONG SubSystemType;
    USHORT SubSystemMinorVersion;
    USHORT SubSystemMajorVersion;
    USHORT MajorOperatingSystemVersion;
    USHORT MinorOperatingSystemVersion;
    USHORT ImageCharacteristics;
    USHORT DllCharacteristics;
    USHORT Machine;
    BOOLEAN ImageContainsCode;
    UCHAR ImageFlags;
    ULONG LoaderFlags;
    ULONG ImageFileSize;
    ULONG CheckSum;
} SECTION_IMAGE_INFORMATION, *PSECTION_IMAGE_INFORMATION;
C_ASSERT(sizeof(SECTION_IMAGE_INFORMATION) == 0x40);

/* Pages of a file, or of an image of it, that are to be read before they are needed. */
typedef struct _READ_LIST {
    struct _FILE_OBJECT *FileObject;
    ULONG NumberOfEntries;
    LOGICAL IsImage;
    FILE_SEGMENT_ELEMENT List[1]; /* Alignment: the offset of a page */
} READ_LIST, *PREAD_LIST;
C_ASSERT(sizeof(READ_LIST) == 0x18);

EXTERN_C_START

/* The type of section objects, for ObReferenceObjectByHandle. */
extern NTKERNELAPI POBJECT_TYPE *MmSectionObjectType;

/* Creates a section and a handle to it. Without a file: MaximumSize bytes of zeroes, rounded up to pages, charged now (SEC_COMMIT) or as views
 * commit them (SEC_RESERVE). With one: MaximumSize NULL or 0 is the file's size; a larger one extends the file if the section
 * may be written, else STATUS_SECTION_TOO_BIG; an empty file without a size is STATUS_MAPPED_FILE_SIZE_ZERO. Sections of one file share its
 * pages. SEC_IMAGE: a PE image for x64 (STATUS_INVALID_IMAGE_NOT_MZ, _NE_FORMAT, _WIN_16, _LE_FORMAT, _PROTECT, _FORMAT);
 * SEC_IMAGE_NO_EXECUTE, with PAGE_READONLY: one that is only looked at. What sections hold lives until the
 * last handle, reference and view are gone; changed pages of a file are written by then.
 * STATUS_INVALID_PARAMETER_4 (no size), STATUS_INVALID_PARAMETER_6 (attributes), STATUS_INVALID_PAGE_PROTECTION,
 * STATUS_INVALID_FILE_FOR_SECTION (no file, a folder, a device without files), STATUS_ACCESS_DENIED, STATUS_COMMITMENT_LIMIT,
 * STATUS_SECTION_TOO_BIG, STATUS_NOT_SUPPORTED (large pages, SEC_BASED), STATUS_OBJECT_NAME_COLLISION,
 * STATUS_INSUFFICIENT_RESOURCES. Page: ZwCreateSection, NtCreateSection. */
NTKERNELAPI NTSTATUS NTAPI ZwCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                           POBJECT_ATTRIBUTES ObjectAttributes, PLARGE_INTEGER MaximumSize,
                                           ULONG SectionPageProtection, ULONG AllocationAttributes, HANDLE FileHandle);
NTKERNELAPI NTSTATUS NTAPI NtCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                           POBJECT_ATTRIBUTES ObjectAttributes, PLARGE_INTEGER MaximumSize,
                                           ULONG SectionPageProtection, ULONG AllocationAttributes, HANDLE FileHandle);
/* The same by object: a referenced section, of a file by handle or by FILE_OBJECT. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI MmCreateSection(PVOID *SectionObject, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                           PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection, ULONG AllocationAttributes,
                                           HANDLE FileHandle, struct _FILE_OBJECT *FileObject);
/* With extended parameters: MemSectionExtendedParameterNumaNode, the node that the section's pages are wanted from.
 * STATUS_INVALID_PARAMETER: an unknown or a second parameter of a type, no such node; STATUS_NOT_SUPPORTED: physical pages (AWE), signing levels.
 * Page: NtCreateSectionEx. */
NTKERNELAPI NTSTATUS NTAPI ZwCreateSectionEx(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                             POBJECT_ATTRIBUTES ObjectAttributes, PLARGE_INTEGER MaximumSize,
                                             ULONG SectionPageProtection, ULONG AllocationAttributes, HANDLE FileHandle,
                                             PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount);
NTKERNELAPI NTSTATUS NTAPI NtCreateSectionEx(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                             POBJECT_ATTRIBUTES ObjectAttributes, PLARGE_INTEGER MaximumSize,
                                             ULONG SectionPageProtection, ULONG AllocationAttributes, HANDLE FileHandle,
                                             PMEM_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParameterCount);
/* A section of an open file by its object, for who has no handle of it: a handle and a referenced object. PAGE_READONLY or PAGE_READWRITE
 * (else STATUS_INVALID_PARAMETER_8), SEC_COMMIT, perhaps with SEC_FILE (STATUS_INVALID_PARAMETER_9). STATUS_END_OF_FILE: an empty file;
 * STATUS_INVALID_FILE_FOR_SECTION, STATUS_INSUFFICIENT_RESOURCES. IRQL <= APC_LEVEL. Page: FsRtlCreateSectionForDataScan. */
NTKERNELAPI NTSTATUS NTAPI FsRtlCreateSectionForDataScan(PHANDLE SectionHandle, PVOID *SectionObject,
                                                         PLARGE_INTEGER SectionFileSize, struct _FILE_OBJECT *FileObject,
                                                         ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                                         PLARGE_INTEGER MaximumSize, ULONG SectionPageProtection,
                                                         ULONG AllocationAttributes, ULONG Flags);
/* Opens a section by name; \Device\PhysicalMemory shows all that has a physical address, and is opened from kernel mode only.
 * STATUS_OBJECT_NAME_NOT_FOUND, STATUS_ACCESS_DENIED. Page: ZwOpenSection. */
NTKERNELAPI NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes);
NTKERNELAPI NTSTATUS NTAPI NtOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes);
/* Maps a view: [*SectionOffset, + *ViewSize) of the section, size 0 meaning to its end; the size rounded up to pages is written back. At
 * *BaseAddress, or (NULL) anywhere. Of an image: STATUS_IMAGE_NOT_AT_BASE (a success) where it does not lie at its preferred base; its pages are
 * relocated then.
 * STATUS_MAPPED_ALIGNMENT (offset or base no multiple of 64 KiB), STATUS_INVALID_VIEW_SIZE, STATUS_SECTION_PROTECTION (the section does not
 * allow it), STATUS_INVALID_PAGE_PROTECTION, STATUS_CONFLICTING_ADDRESSES, STATUS_NO_MEMORY, STATUS_INVALID_PARAMETER_3 (base), _4 (zero
 * bits), _5 (CommitSize), _8 (inherit), _9 (type). Page: ZwMapViewOfSection. */
NTKERNELAPI NTSTATUS NTAPI ZwMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                              ULONG_PTR ZeroBits, SIZE_T CommitSize, PLARGE_INTEGER SectionOffset,
                                              PSIZE_T ViewSize, SECTION_INHERIT InheritDisposition, ULONG AllocationType,
                                              ULONG Win32Protect);
NTKERNELAPI NTSTATUS NTAPI NtMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                              ULONG_PTR ZeroBits, SIZE_T CommitSize, PLARGE_INTEGER SectionOffset,
                                              PSIZE_T ViewSize, SECTION_INHERIT InheritDisposition, ULONG AllocationType,
                                              ULONG Win32Protect);
/* With extended parameters in place of zero bits, commit size and inheritance: address requirements (not with a base), a node, an image's machine.
 * MEM_REPLACE_PLACEHOLDER: in place of exactly one placeholder (STATUS_CONFLICTING_ADDRESSES), from any page of the section that is no image.
 * As above, and STATUS_INVALID_PARAMETER_6 (type), STATUS_INVALID_PARAMETER, STATUS_NOT_SUPPORTED (other parameters). Cache types are the
 * section's, here as above. Page: ZwMapViewOfSectionEx. */
NTKERNELAPI NTSTATUS NTAPI ZwMapViewOfSectionEx(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                                PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize, ULONG AllocationType,
                                                ULONG PageProtection, PMEM_EXTENDED_PARAMETER ExtendedParameters,
                                                ULONG ExtendedParameterCount);
NTKERNELAPI NTSTATUS NTAPI NtMapViewOfSectionEx(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                                PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize, ULONG AllocationType,
                                                ULONG PageProtection, PMEM_EXTENDED_PARAMETER ExtendedParameters,
                                                ULONG ExtendedParameterCount);
/* The same by objects. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI MmMapViewOfSection(PVOID SectionObject, PEPROCESS Process, PVOID *BaseAddress, ULONG_PTR ZeroBits,
                                              SIZE_T CommitSize, PLARGE_INTEGER SectionOffset, PSIZE_T ViewSize,
                                              SECTION_INHERIT InheritDisposition, ULONG AllocationType, ULONG Win32Protect);
/* Unmaps the view that holds BaseAddress, all of it. STATUS_NOT_MAPPED_VIEW; STATUS_INVALID_PAGE_PROTECTION (secured).
 * Page: ZwUnmapViewOfSection. */
NTKERNELAPI NTSTATUS NTAPI ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress);
NTKERNELAPI NTSTATUS NTAPI NtUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress);
NTKERNELAPI NTSTATUS NTAPI MmUnmapViewOfSection(PEPROCESS Process, PVOID BaseAddress);
/* MEM_PRESERVE_PLACEHOLDER: the placeholder comes back that the view took the place of (STATUS_CONFLICTING_ADDRESSES: it took none's).
 * MEM_UNMAP_WITH_TRANSIENT_BOOST changes nothing. STATUS_INVALID_PARAMETER_3 (flags). Page: UnmapViewOfFile2. */
NTKERNELAPI NTSTATUS NTAPI ZwUnmapViewOfSectionEx(HANDLE ProcessHandle, PVOID BaseAddress, ULONG Flags);
NTKERNELAPI NTSTATUS NTAPI NtUnmapViewOfSectionEx(HANDLE ProcessHandle, PVOID BaseAddress, ULONG Flags);
/* Grows a section of a file, and the file with it; *NewSectionSize smaller than it is is told the size. STATUS_SECTION_NOT_EXTENDED: no
 * file, or an image. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI ZwExtendSection(HANDLE SectionHandle, PLARGE_INTEGER NewSectionSize);
NTKERNELAPI NTSTATUS NTAPI NtExtendSection(HANDLE SectionHandle, PLARGE_INTEGER NewSectionSize);
/* SECTION_BASIC_INFORMATION; SECTION_IMAGE_INFORMATION (STATUS_SECTION_NOT_IMAGE). STATUS_INFO_LENGTH_MISMATCH,
 * STATUS_INVALID_INFO_CLASS. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI ZwQuerySection(HANDLE SectionHandle, SECTION_INFORMATION_CLASS SectionInformationClass,
                                          PVOID SectionInformation, SIZE_T SectionInformationLength, PSIZE_T ReturnLength);
NTKERNELAPI NTSTATUS NTAPI NtQuerySection(HANDLE SectionHandle, SECTION_INFORMATION_CLASS SectionInformationClass,
                                          PVOID SectionInformation, SIZE_T SectionInformationLength, PSIZE_T ReturnLength);
/* Writes the changed pages of a view of a file back; *RegionSize 0: to the view's end. STATUS_NOT_MAPPED_VIEW, STATUS_NOT_MAPPED_DATA (no
 * file behind it), or the device's error. Page: ZwFlushVirtualMemory. */
NTKERNELAPI NTSTATUS NTAPI ZwFlushVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                                                PIO_STATUS_BLOCK IoStatus);
NTKERNELAPI NTSTATUS NTAPI NtFlushVirtualMemory(HANDLE ProcessHandle, PVOID *BaseAddress, PSIZE_T RegionSize,
                                                PIO_STATUS_BLOCK IoStatus);
/* STATUS_SUCCESS: both addresses of the current process lie in views of one file; STATUS_NOT_SAME_DEVICE: of two;
 * STATUS_CONFLICTING_ADDRESSES, STATUS_INVALID_ADDRESS: no views of files. Undocumented. */
NTKERNELAPI NTSTATUS NTAPI NtAreMappedFilesTheSame(PVOID File1MappedAsAnImage, PVOID File2MappedAsFile);

/* Views in system space, of any section but an image; *ViewSize 0: all of it. STATUS_INVALID_VIEW_SIZE, STATUS_MAPPED_ALIGNMENT,
 * STATUS_NO_MEMORY, STATUS_INVALID_PARAMETER_1 (physical memory). MM_SYSTEM_VIEW_EXCEPTIONS_FOR_INPAGE_ERRORS: an access whose page cannot be
 * read raises STATUS_IN_PAGE_ERROR; without it, that is bug check 0x7A. Session space is system space: there is one session. Page: MmMapViewInSystemSpace, MmMapViewInSessionSpace, MmMapViewInSystemSpaceEx. */
NTKERNELAPI NTSTATUS NTAPI MmMapViewInSystemSpace(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize);
NTKERNELAPI NTSTATUS NTAPI MmMapViewInSessionSpace(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize);
NTKERNELAPI NTSTATUS NTAPI MmMapViewInSystemSpaceEx(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize,
                                                    PLARGE_INTEGER SectionOffset, ULONG_PTR Flags);
NTKERNELAPI NTSTATUS NTAPI MmMapViewInSessionSpaceEx(PVOID Section, PVOID *MappedBase, PSIZE_T ViewSize,
                                                     PLARGE_INTEGER SectionOffset, ULONG_PTR Flags);
/* STATUS_NOT_MAPPED_VIEW. */
NTKERNELAPI NTSTATUS NTAPI MmUnmapViewInSystemSpace(PVOID MappedBase);
NTKERNELAPI NTSTATUS NTAPI MmUnmapViewInSessionSpace(PVOID MappedBase);

/* For file systems. MmFlushImageSection: TRUE if no image of the file is mapped (the unmapped is forgotten); FALSE, too, for deletion while
 * pages of the data section are locked for writing. MmForceSectionClosed: TRUE if the file has no section left. MmCanFileBeTruncated:
 * FALSE with an image section, with pages of the data section locked for writing, or when that has users and the new size (NULL: 0) is not
 * larger than the file. MmDoesFileHaveUserWritableReferences: sections and views of the file that may write to it. IRQL <= APC_LEVEL. Page: by name. */
NTKERNELAPI BOOLEAN NTAPI MmFlushImageSection(PSECTION_OBJECT_POINTERS SectionObjectPointer, MMFLUSH_TYPE FlushType);
NTKERNELAPI BOOLEAN NTAPI MmForceSectionClosed(PSECTION_OBJECT_POINTERS SectionObjectPointer, BOOLEAN DelayClose);
NTKERNELAPI BOOLEAN NTAPI MmForceSectionClosedEx(PSECTION_OBJECT_POINTERS SectionObjectPointer, ULONG ForceCloseFlags);
NTKERNELAPI BOOLEAN NTAPI MmCanFileBeTruncated(PSECTION_OBJECT_POINTERS SectionPointer, PLARGE_INTEGER NewFileSize);
NTKERNELAPI ULONG NTAPI MmDoesFileHaveUserWritableReferences(PSECTION_OBJECT_POINTERS SectionPointer);
NTKERNELAPI ULONGLONG NTAPI MmGetMaximumFileSectionSize(VOID);
/* The file's changed pages are written by flushes only from now on. FALSE: it has no data section. Undocumented. */
NTKERNELAPI BOOLEAN NTAPI MmDisableModifiedWriteOfSection(PSECTION_OBJECT_POINTERS SectionObjectPointer);
/* Marks the pages of a view in system space that are resident as modified. TRUE: there was one that was not. IRQL <= DISPATCH_LEVEL.
 * Page: MmSetAddressRangeModified. */
NTKERNELAPI BOOLEAN NTAPI MmSetAddressRangeModified(PVOID Address, SIZE_T Length);
/* Reads pages of files that have sections, and their neighbours, before they are needed; an image's by their offset in the image. What is
 * there already is not read. STATUS_INVALID_PARAMETER_1 (no lists, a file without such a section), STATUS_INSUFFICIENT_RESOURCES, or the
 * device's error. Page: MmPrefetchPages. */
NTKERNELAPI NTSTATUS NTAPI MmPrefetchPages(ULONG NumberOfLists, PREAD_LIST *ReadLists);

EXTERN_C_END
#endif
