/*
 * iospace.c - MmMapIoSpace: device memory, and RAM that somebody holds, by physical address.
 * SPDX-License-Identifier: MIT
 *
 * The machine has device runs (memory that is not RAM) and RAM. A mapping of either is a run of system PTEs
 * whose entries carry the I/O mark, which is how MmUnmapIoSpace knows its own. RAM that nobody holds (a frame
 * on a list) may change hands at any moment, so mapping it is bug check 0x1A/0x1233, as Windows makes it.
 * Addresses at which the machine has nothing cannot be mapped here: NULL (Windows would map the hole).
 *
 * MmMapIoSpace maps executable and writable, as on Windows; MmMapIoSpaceEx maps with the protection asked
 * for. Locks: PfnLock to look at a frame; else as sysptes.c. IRQL <= DISPATCH_LEVEL.
 */
#include "mm/mi.h"

MI_PROT MiCacheProtection(MI_PROT Base, MEMORY_CACHING_TYPE CacheType)
{
    switch (CacheType) {
    case MmCached:
    case MmHardwareCoherentCached:
        return Base;
    case MmNonCached:
    case MmNonCachedUnordered:
        return Base | MI_PROT_NOCACHE;
    case MmWriteCombined:
    case MmUSWCCached:
        return Base | MI_PROT_WRITECOMBINE;
    default:
        return MI_PROT_INVALID;
    }
}

static PVOID MiMapIoSpace(PHYSICAL_ADDRESS Physical, SIZE_T Bytes, MI_PROT Protection)
{
    ULONG64 Start = (ULONG64)Physical.QuadPart;
    (VOID) KiCurrentThread();
    if (Bytes == 0 || Start + Bytes < Start) {
        return NULL;
    }
    PFN_NUMBER First = Start >> PAGE_SHIFT, Last = (Start + Bytes - 1) >> PAGE_SHIFT;
    for (PFN_NUMBER Page = First; Page <= Last; Page++) {
        const MI_RUN *Run = MiRunOfPage(Page);
        if (Run == NULL) {
            return NULL;
        }
        PMMPFN Pfn = MiPfn(Page);
        if (Pfn == NULL) {
            continue; /* device memory, or the core's own */
        }
        KiAcquireLock(&MiState->PfnLock);
        BOOLEAN Held = Pfn->ReferenceCount != 0;
        KiReleaseLock(&MiState->PfnLock);
        if (!Held) {
            KiStop(MEMORY_MANAGEMENT, "A driver mapped a page of RAM, by its physical address, that nobody has locked.", NULL,
                   0x1233, Page, 0, 0);
        }
    }
    ULONG_PTR Va = MiReserveSystemPtes(Last - First + 1, 0);
    if (Va == 0) {
        return NULL;
    }
    MiMapFrames(Va, Last - First + 1, NULL, First, MiPteIoSpace(0, Protection));
    return (PVOID)(Va | (Start & (PAGE_SIZE - 1)));
}

PVOID MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType)
{
    MI_PROT Protection = MiCacheProtection(MI_PROT_EXECUTE_READWRITE, CacheType);
    return Protection == MI_PROT_INVALID ? NULL : MiMapIoSpace(PhysicalAddress, NumberOfBytes, Protection);
}

PVOID MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, ULONG Protect)
{
    MI_PROT Protection = MiMakeProtection(Protect);
    if (Protection == MI_PROT_INVALID || !MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) ||
        MiProtIsCopyOnWrite(Protection) || (Protection & MI_PROT_BASE) == MI_PROT_EXECUTE) {
        return NULL;
    }
    return MiMapIoSpace(PhysicalAddress, NumberOfBytes, Protection);
}

VOID MmUnmapIoSpace(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
    ULONG_PTR Va = (ULONG_PTR)BaseAddress & ~(ULONG_PTR)(PAGE_SIZE - 1);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(BaseAddress, NumberOfBytes), Actual;
    (VOID) KiCurrentThread();
    MI_REGION *Region = MiRegionOfVa(Va);
    PMMPTE Pte = Region && Region->Id == MmRegionSystemPtes ? MiPteOf(Va) : NULL;
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    if (!MiPteIsValid(Entry) || !MiPteIsIoSpace(Entry) || MiCheckVa(Region, Va, Pages, &Actual) != MiVaExact) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapIoSpace was given an address and size that MmMapIoSpace did not map.", NULL, 0x400,
               (ULONG_PTR)BaseAddress, Pages, 0);
    }
    MiReleaseSystemPtes(Va, Pages);
}
