/*
 * ex.h - border.c: the executive: pools, lookaside lists, S-lists, resources, work items.
 * From include/nt/wdm/ex.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
F(PVOID, ExAllocatePool, POOL_TYPE, SIZE_T)
F(PVOID, ExAllocatePool2, POOL_FLAGS, SIZE_T, ULONG)
F(PVOID, ExAllocatePool3, POOL_FLAGS, SIZE_T, ULONG, PCPOOL_EXTENDED_PARAMETER, ULONG)
F(PVOID, ExAllocatePoolWithQuota, POOL_TYPE, SIZE_T)
F(PVOID, ExAllocatePoolWithQuotaTag, POOL_TYPE, SIZE_T, ULONG)
F(PVOID, ExAllocatePoolWithTag, POOL_TYPE, SIZE_T, ULONG)
F(PVOID, ExAllocatePoolWithTagPriority, POOL_TYPE, SIZE_T, ULONG, EX_POOL_PRIORITY)
F(VOID, ExFreePool, PVOID)
F(VOID, ExFreePool2, PVOID, ULONG, PCPOOL_EXTENDED_PARAMETER, ULONG)
F(VOID, ExFreePoolWithTag, PVOID, ULONG)
D(ExPoolZeroingNativelySupported)
F(SIZE_T, ExQueryPoolBlockSize, PVOID, PBOOLEAN)
F(PVOID, FsRtlAllocatePool, POOL_TYPE, ULONG)
F(PVOID, FsRtlAllocatePoolWithQuota, POOL_TYPE, ULONG)
F(PVOID, FsRtlAllocatePoolWithQuotaTag, POOL_TYPE, ULONG, ULONG)
F(PVOID, FsRtlAllocatePoolWithTag, POOL_TYPE, ULONG, ULONG)
