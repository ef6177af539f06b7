/*
 * vm.h - virtual memory of processes, for the layers above: what the services of ps/vmservice.c and io/section.c are made of.
 * SPDX-License-Identifier: MIT
 *
 * None of these takes handles, probes arguments, or asks who calls: the services do. All work on any address space, whoever calls,
 * and return the statuses that the services document. IRQL = PASSIVE_LEVEL.
 */
#pragma once
#include "mm/mm.h"

/* Where a new allocation may lie; all 0: anywhere. */
typedef struct _MM_ADDRESS_LIMITS {
    ULONG_PTR Lowest, Highest; /* Highest inclusive */
    SIZE_T Alignment;
    ULONG NodePlusOne; /* the NUMA node its pages are wanted from; 0: that of whoever touches them first */
} MM_ADDRESS_LIMITS;
NTSTATUS MmAllocateVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Type, ULONG Protect,
                           const MM_ADDRESS_LIMITS *Limits);
NTSTATUS MmFreeVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG FreeType);
NTSTATUS MmProtectVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Protect, ULONG *Old);
NTSTATUS MmQueryVirtual(PMM_SPACE Space, PVOID Va, PMEMORY_BASIC_INFORMATION Info);
NTSTATUS MmQueryRegionOf(PMM_SPACE Space, PVOID Va, PMEMORY_REGION_INFORMATION Info);
VOID MmQueryWorkingSetEx(PMM_SPACE Space, PMEMORY_WORKING_SET_EX_INFORMATION Entry);
/* Pages of a range allocated with MEM_WRITE_WATCH that were written to, from *From (0: the beginning) on, at most *Count of them; *From
 * is where to go on. Found NULL: only Reset. STATUS_INVALID_PARAMETER_1 (not such a range), _2, _3 (not user memory). */
NTSTATUS MmFindWritten(PMM_SPACE Space, PVOID Base, SIZE_T Size, BOOLEAN Reset, ULONG_PTR *From, PVOID *Found, ULONG *Count);
NTSTATUS MmLockVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG MapType);
NTSTATUS MmUnlockVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG MapType);
/* Between two address spaces (either may be the caller's; kernel addresses and the host's are everybody's): *Done bytes were copied.
 * STATUS_PARTIAL_COPY: not all. */
NTSTATUS MmCopyBetween(PMM_SPACE From, const VOID *FromVa, PMM_SPACE To, VOID *ToVa, SIZE_T Bytes, SIZE_T *Done);
/* Copies that obey protections and never fault: for arguments of a caller in Mode. Kernel addresses are none of a user's. */
NTSTATUS MmCaptureFrom(KPROCESSOR_MODE Mode, VOID *To, const VOID *From, SIZE_T Bytes);
NTSTATUS MmReleaseTo(KPROCESSOR_MODE Mode, VOID *To, const VOID *From, SIZE_T Bytes);
/* Makes pages of a range present, as a hint. */
VOID MmPrefetchVirtual(PMM_SPACE Space, PVOID Base, SIZE_T Size);
