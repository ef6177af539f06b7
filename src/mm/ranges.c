/*
 * ranges.c - the ranges of RAM, as drivers ask for them. SPDX-License-Identifier: MIT
 *
 * MmGetPhysicalMemoryRanges and its Ex forms hand out a snapshot in nonpaged pool, ended by an entry of
 * zeroes; the caller frees it. Runs that touch are one range. Device memory is not RAM and does not appear;
 * the frames that the core took for its own tables are RAM and do. Locks: none, the runs never change.
 */
#include "mm/mi.h"

static PPHYSICAL_MEMORY_RANGE MiPhysicalRanges(VOID)
{
    (VOID) KiCurrentThread();
    PPHYSICAL_MEMORY_RANGE Ranges =
        ExAllocatePool2(POOL_FLAG_NON_PAGED, (MiState->RunCount + 1) * sizeof(*Ranges), 'hPmM'); /* zeroed: ends itself */
    ULONG Count = 0;
    for (ULONG Index = 0; Ranges && Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        if (Run->Device || Run->PageCount == 0) {
            continue;
        }
        LONGLONG Base = (LONGLONG)(Run->BasePage << PAGE_SHIFT), Bytes = (LONGLONG)(Run->PageCount << PAGE_SHIFT);
        if (Count && Ranges[Count - 1].BaseAddress.QuadPart + Ranges[Count - 1].NumberOfBytes.QuadPart == Base) {
            Ranges[Count - 1].NumberOfBytes.QuadPart += Bytes;
            continue;
        }
        Ranges[Count].BaseAddress.QuadPart = Base;
        Ranges[Count++].NumberOfBytes.QuadPart = Bytes;
    }
    return Ranges;
}

PPHYSICAL_MEMORY_RANGE MmGetPhysicalMemoryRanges(VOID)
{
    return MiPhysicalRanges();
}

PPHYSICAL_MEMORY_RANGE MmGetPhysicalMemoryRangesEx(PVOID PartitionObject)
{
    return PartitionObject == NULL ? MiPhysicalRanges() : NULL;
}

PPHYSICAL_MEMORY_RANGE MmGetPhysicalMemoryRangesEx2(PVOID PartitionObject, ULONG Flags)
{
    if (Flags &
        ~(ULONG)(MM_GET_PHYSICAL_MEMORY_RANGES_INCLUDE_FILE_ONLY | MM_GET_PHYSICAL_MEMORY_RANGES_INCLUDE_ALL_PARTITIONS)) {
        return NULL;
    }
    return PartitionObject == NULL ? MiPhysicalRanges() : NULL;
}
