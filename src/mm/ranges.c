/*
 * ranges.c - the ranges of RAM, as drivers ask for them. SPDX-License-Identifier: MIT
 *
 * MmGetPhysicalMemoryRanges and its Ex forms hand out a snapshot in nonpaged pool, ended by an entry of
 * zeroes; the caller frees it. Runs that touch are one range. Device memory is not RAM and does not appear;
 * the frames that the core took for its own tables are RAM and do; what was removed (hotmem.c) does not.
 */
#include "mm/mi.h"

static PPHYSICAL_MEMORY_RANGE MiPhysicalRanges(VOID)
{
    (VOID) KiCurrentThread();
    ULONG64 Removed = __atomic_load_n(&MiState->RemovedPages, __ATOMIC_RELAXED);
    ULONG Room = MiState->RunCount + (ULONG)Removed + 1, Count = 0; /* a hole more is a range more */
    PPHYSICAL_MEMORY_RANGE Ranges =
        ExAllocatePool2(POOL_FLAG_NON_PAGED, (Room + 1) * sizeof(*Ranges), 'hPmM'); /* zeroed: ends itself */
    for (ULONG Index = 0; Ranges && Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        PFN_NUMBER End = Run->Device ? 0 : Run->BasePage + Run->PageCount;
        for (PFN_NUMBER Page = Run->BasePage; Page < End;) {
            PFN_NUMBER Last = Removed ? MiFindRemoved(Page, End, TRUE) : End;
            LONGLONG Base = (LONGLONG)(Page << PAGE_SHIFT), Bytes = (LONGLONG)((Last - Page) << PAGE_SHIFT);
            if (Bytes && Count && Ranges[Count - 1].BaseAddress.QuadPart + Ranges[Count - 1].NumberOfBytes.QuadPart == Base) {
                Ranges[Count - 1].NumberOfBytes.QuadPart += Bytes;
            } else if (Bytes && Count < Room) {
                Ranges[Count].BaseAddress.QuadPart = Base;
                Ranges[Count++].NumberOfBytes.QuadPart = Bytes;
            }
            Page = MiFindRemoved(Last, End, FALSE);
        }
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
