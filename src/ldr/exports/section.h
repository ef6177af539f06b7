/*
 * section.h - border.c: section.
 * From include/nt/wdm/section.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
F(NTSTATUS, ZwCreateSection, PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES, PLARGE_INTEGER, ULONG, ULONG, HANDLE)
F(NTSTATUS, ZwMapViewOfSection, HANDLE, HANDLE, PVOID *, ULONG_PTR, SIZE_T, PLARGE_INTEGER, PSIZE_T, SECTION_INHERIT, ULONG,
  ULONG)
F(NTSTATUS, ZwOpenSection, PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES)
F(NTSTATUS, ZwUnmapViewOfSection, HANDLE, PVOID)
