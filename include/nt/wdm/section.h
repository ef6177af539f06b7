/*
 * section.h - section objects: memory that several address spaces see. This version has sections backed by memory alone
 * (no file, no image); they are resident. SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_SECTION_
#define _NTMM_SECTION_

EXTERN_C_START

/* Creates a section of MaximumSize bytes (rounded up to pages), zeroed, and a handle to it. Its memory lives until the
 * last handle, reference and view are gone. IRQL PASSIVE_LEVEL. Page: ZwCreateSection.
 * STATUS_INVALID_PARAMETER_4 (no size), STATUS_INVALID_PAGE_PROTECTION, STATUS_INVALID_PARAMETER_6 (neither SEC_COMMIT nor
 * SEC_RESERVE), STATUS_NOT_SUPPORTED (a file, or image or large-page sections), STATUS_OBJECT_NAME_COLLISION,
 * STATUS_INSUFFICIENT_RESOURCES. */
NTKERNELAPI NTSTATUS NTAPI ZwCreateSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
                                           POBJECT_ATTRIBUTES ObjectAttributes, PLARGE_INTEGER MaximumSize,
                                           ULONG SectionPageProtection, ULONG AllocationAttributes, HANDLE FileHandle);
/* Opens a section by name. IRQL PASSIVE_LEVEL. Page: ZwOpenSection. STATUS_OBJECT_NAME_NOT_FOUND. */
NTKERNELAPI NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes);
/* Maps a view of the section into the user address range: [*SectionOffset, + *ViewSize), the size rounded up to pages and
 * 0 meaning "to the end". The address is the system's choice. IRQL PASSIVE_LEVEL. Page: ZwMapViewOfSection.
 * STATUS_INVALID_PARAMETER_3 (an address was asked for), STATUS_MAPPED_ALIGNMENT (offset not a multiple of 64 KiB),
 * STATUS_INVALID_VIEW_SIZE (beyond the end), STATUS_SECTION_PROTECTION, STATUS_INVALID_HANDLE, STATUS_NO_MEMORY. */
NTKERNELAPI NTSTATUS NTAPI ZwMapViewOfSection(HANDLE SectionHandle, HANDLE ProcessHandle, PVOID *BaseAddress,
                                              ULONG_PTR ZeroBits, SIZE_T CommitSize, PLARGE_INTEGER SectionOffset,
                                              PSIZE_T ViewSize, SECTION_INHERIT InheritDisposition, ULONG AllocationType,
                                              ULONG Win32Protect);
/* Unmaps the view that holds BaseAddress. IRQL PASSIVE_LEVEL. Page: ZwUnmapViewOfSection. STATUS_NOT_MAPPED_VIEW. */
NTKERNELAPI NTSTATUS NTAPI ZwUnmapViewOfSection(HANDLE ProcessHandle, PVOID BaseAddress);

EXTERN_C_END
#endif
