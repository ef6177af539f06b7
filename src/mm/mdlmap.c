/*
 * mdlmap.c - mapping the pages of an MDL to a second, real address. SPDX-License-Identifier: MIT
 *
 * A mapping is entries in system PTEs (or, UserMode, in the user range) that show the MDL's frames; it owns
 * nothing, so the frames must be locked, or nonpaged, for as long as it stands. Both addresses show the same
 * frame: a write through one is seen through the other at once.
 *
 *      MDL --MappedSystemVa--> | system PTE | system PTE | (guard) |      StartVa --> | the buffer's own
 * entries |
 *                                     `------------ the same frames ------------------------'
 *
 * Taking down is checked against what was put up (bug check 0xDA): that the MDL is mapped (6), at that
 * address (3), with as many pages (2), of the same frames (4); at last that the addresses are one mapping
 * (0x306). Mappings with MdlMappingWithGuardPtes have one page of addresses behind them that never shows
 * anything. MmAdvanceMdl leaves addresses in front of the mapping (MDL_FREE_EXTRA_PTES; their number stands
 * behind the array).
 *
 * Locks: as sysptes.c. IRQL <= DISPATCH_LEVEL; user mappings <= APC_LEVEL.
 */
#include "mm/mi.h"

/* Stops if a page of the MDL is not one that somebody keeps. */
static VOID MiCheckMdlFrames(PMDL Mdl, SIZE_T Pages)
{
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    const USHORT Kept = MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_SOURCE_IS_NONPAGED_POOL | MDL_IO_SPACE;
    for (SIZE_T Index = 0; Index < Pages; Index++) {
        PMMPFN Pfn = MiPfn(Frames[Index]);
        BOOLEAN Good = (Mdl->MdlFlags & Kept) != 0 && MiRunOfPage(Frames[Index]) != NULL;
        if (Good && Pfn) {
            KiAcquireLock(&MiState->PfnLock);
            Good = Pfn->ReferenceCount != 0;
            KiReleaseLock(&MiState->PfnLock);
        }
        if (!Good) {
            KiStop(MEMORY_MANAGEMENT, "An MDL was mapped whose pages are not locked, or are not pages of this machine.", NULL,
                   0x1236, (ULONG_PTR)Mdl, (ULONG_PTR)&Frames[Index], Frames[Index]);
        }
    }
}

static PVOID MiMapToUser(PMDL Mdl, SIZE_T Pages, MI_PROT Protection, PVOID Requested)
{
    ULONG_PTR Va;
    NTSTATUS Status = MiReserveUserMapping(Pages, Requested ? PAGE_ALIGN(Requested) : NULL, &Va);
    if (!NT_SUCCESS(Status)) {
        ExRaiseStatus(Status == STATUS_CONFLICTING_ADDRESSES ? Status : STATUS_INSUFFICIENT_RESOURCES);
    }
    MiMapFrames(Va, Pages, MmGetMdlPfnArray(Mdl), 0, MiPteValid(0, Protection, TRUE));
    return (PVOID)(Va + Mdl->ByteOffset);
}

PVOID MmMapLockedPagesSpecifyCache(PMDL Mdl, KPROCESSOR_MODE AccessMode, MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress,
                                   ULONG BugCheckOnFailure, ULONG Priority)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    ULONG Guard = Priority & MdlMappingWithGuardPtes ? 1 : 0;
    MI_PROT Protection = Priority & MdlMappingNoWrite ? MI_PROT_EXECUTE_READ : MI_PROT_EXECUTE_READWRITE;
    (VOID) KiCurrentThread();
    if (AccessMode != KernelMode || (Priority & MdlMappingNoExecute)) {
        Protection = Priority & MdlMappingNoWrite ? MI_PROT_READONLY : MI_PROT_READWRITE;
    }
    Protection = MiCacheProtection(Protection, CacheType);
    if (Protection == MI_PROT_INVALID) {
        if (AccessMode != KernelMode) {
            ExRaiseStatus(STATUS_INVALID_PARAMETER);
        }
        return NULL;
    }
    if (Pages == 0) {
        KiStop(SYSTEM_PTE_MISUSE, "An MDL of no bytes was mapped.", NULL, 0x200, 0, 0, 0);
    }
    MiCheckMdlFrames(Mdl, Pages);
    if (AccessMode != KernelMode) {
        return MiMapToUser(Mdl, Pages, Protection, RequestedAddress);
    }
    ULONG_PTR Va = MiReserveSystemPtes(Pages, Guard);
    if (Va == 0) {
        if (BugCheckOnFailure) {
            MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
            KiStop(NO_MORE_SYSTEM_PTES, "There are no system PTEs left to map an MDL, and the caller asked to stop then.", NULL,
                   0, Pages, Region->Bits - Region->AddressPages, Region->Bits);
        }
        return NULL;
    }
    MiMapFrames(Va, Pages, MmGetMdlPfnArray(Mdl), 0, MiPteValid(0, Protection, FALSE));
    Mdl->MappedSystemVa = (PVOID)(Va + Mdl->ByteOffset);
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA | (Mdl->MdlFlags & MDL_PARTIAL ? MDL_PARTIAL_HAS_BEEN_MAPPED : 0);
    return Mdl->MappedSystemVa;
}

PVOID MmMapLockedPages(PMDL Mdl, KPROCESSOR_MODE AccessMode)
{
    return MmMapLockedPagesSpecifyCache(Mdl, AccessMode, MmCached, NULL, TRUE, HighPagePriority);
}

static VOID MiUnmapFromUser(PVOID BaseAddress, SIZE_T Pages)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    if (!MiIsUserMapping(Va, Pages)) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given a user address that is not the MDL's mapping.", NULL, 0x302,
               (ULONG_PTR)BaseAddress, 0, 0);
    }
    MiUnmapFrames(Va, Pages);
    MiReleaseUserMapping(Va, Pages);
}

VOID MmUnmapLockedPages(PVOID BaseAddress, PMDL Mdl)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount), Extra = 0, Actual = 0;
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    (VOID) KiCurrentThread();
    if (HalIsUserAddress((ULONG_PTR)BaseAddress)) {
        MiUnmapFromUser(BaseAddress, Pages);
        return;
    }
    if (!(Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL that is not mapped.", NULL, 6, (ULONG_PTR)Mdl,
               (ULONG_PTR)BaseAddress, Pages);
    }
    if (Mdl->MappedSystemVa != BaseAddress) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given another address than the MDL is mapped at.", NULL, 3,
               (ULONG_PTR)Mdl, (ULONG_PTR)Mdl->MappedSystemVa, (ULONG_PTR)BaseAddress);
    }
    if (Mdl->MdlFlags & MDL_FREE_EXTRA_PTES) {
        Extra = Frames[Pages];
    }
    ULONG_PTR First = (ULONG_PTR)PAGE_ALIGN(BaseAddress), Va = First - (Extra << PAGE_SHIFT);
    MI_REGION *Region = MiRegionOfVa(Va);
    MI_VA_CHECK Check =
        Region && Region->Id == MmRegionSystemPtes ? MiCheckVa(Region, Va, Pages + Extra, &Actual) : MiVaNotAllocated;
    PMMPTE Pte = Check == MiVaNotAllocated || Check == MiVaPartlyFree ? NULL : MiPteOf(First);
    if (Check == MiVaWrongSize && Actual == Pages + Extra + 1 &&
        MiPteIsZero(MiReadPte(MiPteOf(Va + ((Actual - 1) << PAGE_SHIFT))))) {
        Check = MiVaExact; /* the guard page */
        Extra++;
    } else {
        Actual = Check == MiVaExact ? Pages + Extra : Actual;
    }
    if (Pte == NULL) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for a mapping that is already gone.", NULL, 0x306, First,
               First, Pages);
    }
    if (Check == MiVaInside) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given an address inside another mapping.", NULL, 0x304, First, Pages,
               0);
    }
    if (Check != MiVaExact) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL whose size is not that of its mapping.", NULL, 2,
               (ULONG_PTR)Mdl, Actual, Pages);
    }
    MMPTE Entry = MiReadPte(Pte);
    if (Pages && MiPtePage(Entry) != Frames[0]) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL whose first page is not the one that was mapped.",
               NULL, 4, (ULONG_PTR)Mdl, MiPtePage(Entry), Frames[0]);
    }
    MiReleaseSystemPtes(Va, Pages + Extra);
    Mdl->MdlFlags &= (CSHORT) ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED | MDL_FREE_EXTRA_PTES);
}

NTSTATUS MmProtectMdlSystemAddress(PMDL Mdl, ULONG NewProtect)
{
    MI_PROT Protection = MiMakeProtection(NewProtect);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    (VOID) KiCurrentThread();
    if (Protection == MI_PROT_INVALID || MiProtIsCopyOnWrite(Protection) ||
        (Protection & ~MI_PROT_BASE && Protection != MI_PROT_NOACCESS)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    if (!(Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) || (Mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL)) {
        return STATUS_NOT_MAPPED_VIEW;
    }
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(Mdl->MappedSystemVa);
    for (SIZE_T Index = 0; Index < Pages; Index++) {
        PMMPTE Pte = MiPteOf(Va + (Index << PAGE_SHIFT));
        MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
        if (!MiPteIsValid(Entry) && !MiPteIsTransition(Entry)) {
            KiStop(MEMORY_MANAGEMENT, "The protection of an MDL was changed whose mapping is not valid.", NULL, 0x1235,
                   (ULONG_PTR)Mdl, (ULONG_PTR)Pte, 0);
        }
        MiWritePte(Pte, Protection == MI_PROT_NOACCESS ? MiPteTransition(MiPtePage(Entry), Protection)
                                                       : MiPteValid(MiPtePage(Entry), Protection, FALSE));
    }
    HalFlushTb((PVOID)Va, Pages);
    return STATUS_SUCCESS;
}
