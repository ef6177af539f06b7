/*
 * mdlmap.c - mapping the pages of an MDL to a second, real address. SPDX-License-Identifier: MIT
 *
 * A mapping is entries in system PTEs (or, UserMode, in the user range: mdluser.c) that show the MDL's frames; it owns
 * nothing, so the frames must be locked, or nonpaged, for as long as it stands. Both addresses show the same frame: a
 * write through one is seen through the other at once.
 *
 *      MDL --MappedSystemVa--> | system PTE | system PTE | (guard) |      StartVa --> | the buffer's own entries |
 *                                     `------------ the same frames ------------------------'
 *
 * Taking down is checked against what was put up (bug check 0xDA): that the MDL is mapped (6), at that address (3), with
 * as many pages (2; none at all 0x300), of the same buffer (5) and frames (4); that the addresses are one mapping (0x303, 0x304,
 * 0x306) and an MDL's (0x301: reserved mappings have their own routine). Mapping an MDL twice would lose the first mapping: 0xC4/0xB2;
 * unmapping through a partial MDL what its source mapped is 0xC4/0xB5 (Driver Verifier's numbers, made always).
 * For verified drivers 0xC4/0x85, 0x89, 0xB3 stand for 0x1A/0x1236, 0xB6 for 0xDA/6, 0xB9 for 0xDA/0x302; and mapping in a way
 * that stops the system when it fails is 0xC4/0x81 and 0x82.
 * Mappings with MdlMappingWithGuardPtes have one page of addresses behind them that never shows anything.
 * MmAdvanceMdl leaves addresses in front of the mapping (MDL_FREE_EXTRA_PTES; their number stands behind the array).
 *
 * Locks: as sysptes.c, mapping.c, cacheattr.c. IRQL <= DISPATCH_LEVEL; user mappings <= APC_LEVEL.
 */
#include "mm/mi.h"

#define MI_MDL_KEPT  (MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_SOURCE_IS_NONPAGED_POOL | MDL_IO_SPACE)
#define MI_MDL_BATCH 64

static inline SIZE_T MiPagesOfMdl(PMDL Mdl)
{
    return ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
}

static DECLSPEC_NORETURN VOID MiStopUnkept(PMDL Mdl, SIZE_T Index, const VOID *Caller)
{
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    if (KiVerifies(KI_ANY_OPTION, Caller)) {
        if (!(Mdl->MdlFlags & MI_MDL_KEPT)) {
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
                   "An MDL was mapped that is not locked, not built for nonpaged pool and not partial.", NULL, 0xB3,
                   (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_SOURCE_IS_NONPAGED_POOL);
        }
        if (MiPfn(Frames[Index]) == NULL) {
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An MDL was mapped that lists a page which is not RAM.", NULL, 0x89,
                   (ULONG_PTR)Mdl, (ULONG_PTR)&Frames[Index], Frames[Index]);
        }
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An MDL was mapped whose pages are not locked.", NULL, 0x85, (ULONG_PTR)Mdl,
               MiPagesOfMdl(Mdl), Frames[Index]);
    }
    KiStop(MEMORY_MANAGEMENT, "An MDL was mapped whose pages are not locked, or are not pages of this machine.", NULL, 0x1236,
           (ULONG_PTR)Mdl, (ULONG_PTR)&Frames[Index], Frames[Index]);
}

MI_CACHE MiPrepareMdlFrames(PMDL Mdl, SIZE_T Pages, MI_CACHE Wanted, const VOID *Caller)
{
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    PFN_NUMBER Batch[MI_MDL_BATCH];
    MI_CACHE All = Wanted;
    BOOLEAN Same = TRUE, Kept = (Mdl->MdlFlags & MI_MDL_KEPT) != 0;
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG Some = Pages - Done < MI_MDL_BATCH ? (ULONG)(Pages - Done) : MI_MDL_BATCH, Index = 0;
        BOOLEAN Good = Kept, Device = FALSE;
        memcpy(Batch, Frames + Done, Some * sizeof(*Batch)); /* driver memory, and may fault */
        KiAcquireLock(&MiState->PfnLock);
        for (; Good && Index < Some; Index++) {
            PMMPFN Pfn = MiPfn(Batch[Index]);
            if (Pfn == NULL) {
                Device = TRUE;
                continue;
            }
            if (Pfn->ReferenceCount == 0) {
                break;
            }
            MI_CACHE Cache = (MI_CACHE)(Pfn->Flags >> MI_PFN_CACHE_SHIFT);
            if (Cache == MiCacheUndecided) {
                Cache = Wanted == MiCacheUndecided ? MiCacheCached : Wanted;
                Pfn->Flags = (USHORT)((Pfn->Flags & ~MI_PFN_CACHE) | (USHORT)(Cache << MI_PFN_CACHE_SHIFT));
            }
            Same = Same && (Done + Index == 0 || Cache == All);
            All = Done + Index == 0 ? Cache : All;
        }
        KiReleaseLock(&MiState->PfnLock);
        for (ULONG Page = 0; Device && Page < Index; Page++) {
            if (MiPfn(Batch[Page])) {
                continue;
            }
            if (MiRunOfPage(Batch[Page]) == NULL && !(Mdl->MdlFlags & MDL_IO_SPACE)) {
                MiStopUnkept(Mdl, Done + Page, Caller);
            }
            MI_CACHE Cache = MiDecideCache(Batch[Page], Wanted);
            Same = Same && (Done + Page == 0 || Cache == All);
            All = Done + Page == 0 ? Cache : All;
        }
        if (Index < Some) {
            MiStopUnkept(Mdl, Done + Index, Caller);
        }
        Done += Some;
    }
    return Same ? All : MiCacheUndecided;
}

VOID MiMapMdlFrames(PMDL Mdl, SIZE_T Pages, ULONG_PTR Va, MI_PROT Protection, MI_CACHE Cache, BOOLEAN User)
{
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    if (Cache != MiCacheUndecided && !(Mdl->MdlFlags & MDL_IO_SPACE)) {
        MiMapFrames(Va, Pages, Frames, 0, MiPteValid(0, MiProtectionWithCache(Protection, Cache), User));
        return;
    }
    for (SIZE_T Page = 0; Page < Pages; Page++) { /* each frame with its own type; what has nothing behind it is a hole */
        PFN_NUMBER Frame = Frames[Page];
        MMPTE Entry = MiPteValid(0, MiProtectionWithCache(Protection, MiDecideCache(Frame, MiCacheCached)), User);
        MiMapFrames(Va + (Page << PAGE_SHIFT), 1, NULL, MiRunOfPage(Frame) ? Frame : MiHolePage(), Entry);
    }
}

VOID (*MiVerifyExecuteRoutine)(ULONG Type, ULONG_PTR Caller, ULONG_PTR Value);

static PVOID MiMapLockedPages(PMDL Mdl, KPROCESSOR_MODE AccessMode, MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress,
                              BOOLEAN BugCheckOnFailure, ULONG Priority, const VOID *Caller)
{
    SIZE_T Pages = MiPagesOfMdl(Mdl);
    ULONG Guard = Priority & MdlMappingWithGuardPtes ? 1 : 0;
    MI_PROT Protection = Priority & MdlMappingNoWrite ? MI_PROT_EXECUTE_READ : MI_PROT_EXECUTE_READWRITE;
    MI_CACHE Cache;
    if (__builtin_expect(MiVerifyExecuteRoutine != NULL, 0) && AccessMode == KernelMode && !(Priority & MdlMappingNoExecute)) {
        MiVerifyExecuteRoutine(0x2002, (ULONG_PTR)Caller, Priority);
    }
    if (AccessMode != KernelMode || (Priority & MdlMappingNoExecute)) {
        Protection = Priority & MdlMappingNoWrite ? MI_PROT_READONLY : MI_PROT_READWRITE;
    }
    if (!MiCacheOfType(CacheType, &Cache)) {
        if (AccessMode != KernelMode) {
            ExRaiseStatus(STATUS_INVALID_PARAMETER);
        }
        return NULL;
    }
    if (Pages == 0) {
        KiStop(SYSTEM_PTE_MISUSE, "An MDL of no bytes was mapped.", NULL, 0x200, 0, 0, 0);
    }
    if (AccessMode == KernelMode && (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An MDL was mapped that has a system mapping already.", NULL, 0xB2,
               (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, MDL_MAPPED_TO_SYSTEM_VA);
    }
    Cache = MiPrepareMdlFrames(Mdl, Pages, Cache, Caller);
    if (AccessMode != KernelMode) {
        return MiMapMdlToUser(Mdl, Pages, Protection, Cache, RequestedAddress);
    }
    ULONG_PTR Va = MiReserveSystemPtes(Pages, Guard);
    MI_MAPPING Mapping = {.Va = Va,
                          .Pages = Pages + Guard,
                          .Mapped = Pages,
                          .First = MmGetMdlPfnArray(Mdl)[0],
                          .Mdl = Mdl,
                          .StartVa = Mdl->StartVa,
                          .Kind = MiMappingMdl,
                          .Guard = (UCHAR)Guard};
    if (Va && !MiRecordMapping(&Mapping)) {
        MiReleaseSystemPtes(Va, Pages + Guard);
        Va = 0;
    }
    if (Va == 0) {
        if (BugCheckOnFailure) {
            MiStopNoSystemPtes(Pages);
        }
        return NULL;
    }
    MiMapMdlFrames(Mdl, Pages, Va, Protection, Cache, FALSE);
    Mdl->MappedSystemVa = (PVOID)(Va + Mdl->ByteOffset);
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA | (Mdl->MdlFlags & MDL_PARTIAL ? MDL_PARTIAL_HAS_BEEN_MAPPED : 0);
    return Mdl->MappedSystemVa;
}

PVOID MmMapLockedPagesSpecifyCache(PMDL Mdl, KPROCESSOR_MODE AccessMode, MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress,
                                   ULONG BugCheckOnFailure, ULONG Priority)
{
    MiRequireIrql(AccessMode == KernelMode ? DISPATCH_LEVEL : APC_LEVEL, AccessMode == KernelMode ? 0x76 : 0x77,
                  "MmMapLockedPagesSpecifyCache was called at too high an IRQL.", (ULONG_PTR)Mdl, (ULONG_PTR)AccessMode);
    if (BugCheckOnFailure && AccessMode == KernelMode && KiVerifies(KI_ANY_OPTION, __builtin_return_address(0))) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               "MmMapLockedPagesSpecifyCache was called with BugCheckOnFailure, which stops the system when it fails.", NULL,
               0x82, (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, 0);
    }
    return MiMapLockedPages(Mdl, AccessMode, CacheType, RequestedAddress, BugCheckOnFailure != 0, Priority,
                            __builtin_return_address(0));
}

PVOID MmMapLockedPages(PMDL Mdl, KPROCESSOR_MODE AccessMode)
{
    MiRequireIrql(AccessMode == KernelMode ? DISPATCH_LEVEL : APC_LEVEL, AccessMode == KernelMode ? 0x74 : 0x75,
                  "MmMapLockedPages was called at too high an IRQL.", (ULONG_PTR)Mdl, (ULONG_PTR)AccessMode);
    if (KiVerifies(KI_ANY_OPTION, __builtin_return_address(0))) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               "MmMapLockedPages was called, which stops the system when it fails: use MmMapLockedPagesSpecifyCache.", NULL,
               0x81, (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, 0);
    }
    return MiMapLockedPages(Mdl, AccessMode, MmCached, NULL, TRUE, HighPagePriority, __builtin_return_address(0));
}

/* No record begins at Va: says what is there. */
static DECLSPEC_NORETURN VOID MiStopUnmapUnknown(ULONG_PTR Va, SIZE_T Pages)
{
    MI_REGION *Region = MiRegionOfVa(Va);
    SIZE_T Actual;
    if (Region && Region->Id == MmRegionSystemPtes && MiCheckVa(Region, Va, Pages, &Actual) == MiVaInside) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given an address inside another mapping.", NULL, 0x304, Va, Pages, 0);
    }
    if (Region == NULL || Region->Id != MmRegionSystemPtes) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given an address where nothing is ever mapped.", NULL, 0x303, Va,
               Pages, 0);
    }
    KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for a mapping that is already gone.", NULL, 0x306, Va, Va, Pages);
}

VOID MmUnmapLockedPages(PVOID BaseAddress, PMDL Mdl)
{
    SIZE_T Pages = MiPagesOfMdl(Mdl), Extra = 0;
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    MI_MAPPING Mapping;
    if (HalIsUserAddress((ULONG_PTR)BaseAddress)) {
        MiRequireIrql(APC_LEVEL, 0x7A, "MmUnmapLockedPages was called for a user address above APC_LEVEL.",
                      (ULONG_PTR)BaseAddress, (ULONG_PTR)Mdl);
        MiUnmapMdlFromUser(BaseAddress, Mdl, Pages, __builtin_return_address(0));
        return;
    }
    MiRequireIrql(DISPATCH_LEVEL, 0x79, "MmUnmapLockedPages was called above DISPATCH_LEVEL.", (ULONG_PTR)BaseAddress,
                  (ULONG_PTR)Mdl);
    if (!(Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)) {
        if (KiVerifies(KI_ANY_OPTION, __builtin_return_address(0))) {
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "MmUnmapLockedPages was called for an MDL that has no system mapping.",
                   NULL, 0xB6, (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, MDL_MAPPED_TO_SYSTEM_VA);
        }
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL that is not mapped.", NULL, 6, (ULONG_PTR)Mdl,
               (ULONG_PTR)BaseAddress, Pages);
    }
    if (Mdl->MappedSystemVa != BaseAddress) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given another address than the MDL is mapped at.", NULL, 3,
               (ULONG_PTR)Mdl, (ULONG_PTR)Mdl->MappedSystemVa, (ULONG_PTR)BaseAddress);
    }
    if ((Mdl->MdlFlags & (MDL_PARTIAL | MDL_PARTIAL_HAS_BEEN_MAPPED)) == MDL_PARTIAL) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               "MmUnmapLockedPages was called for a partial MDL, whose mapping is that of its source.", NULL, 0xB5,
               (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, MDL_PARTIAL);
    }
    if (Pages == 0) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL of no bytes.", NULL, 0x300, (ULONG_PTR)BaseAddress,
               0, 0);
    }
    if (Mdl->MdlFlags & MDL_FREE_EXTRA_PTES) {
        Extra = Frames[Pages];
    }
    ULONG_PTR First = (ULONG_PTR)PAGE_ALIGN(BaseAddress), Va = First - (Extra << PAGE_SHIFT);
    if (!MiFindMapping(Va, &Mapping)) {
        MiStopUnmapUnknown(First, Pages);
    }
    if (Mapping.Kind != MiMappingMdl) {
        KiStop(SYSTEM_PTE_MISUSE,
               "MmUnmapLockedPages was called for a mapping that it did not make: a reserved one has MmUnmapReservedMapping.",
               NULL, 0x301, Va, 0, 0);
    }
    if (Mapping.Mapped != Pages + Extra) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL whose size is not that of its mapping.", NULL, 2,
               (ULONG_PTR)Mdl, Mapping.Mapped, Pages);
    }
    MMPTE Entry = MiReadPte(MiPteOf(First));
    if (MiPtePage(Entry) != Frames[0] && MiRunOfPage(Frames[0])) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL whose first page is not the one that was mapped.",
               NULL, 4, (ULONG_PTR)Mdl, MiPtePage(Entry), Frames[0]);
    }
    PVOID StartVa = (PVOID)((ULONG_PTR)Mdl->StartVa - (Extra << PAGE_SHIFT));
    if (Mapping.StartVa != StartVa) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was called for an MDL whose buffer is not the one that was mapped.", NULL,
               5, (ULONG_PTR)Mdl, (ULONG_PTR)Mapping.StartVa, (ULONG_PTR)StartVa);
    }
    if (!MiForgetMapping(Va)) { /* two threads at once: one is the second */
        MiStopUnmapUnknown(First, Pages);
    }
    MiReleaseSystemPtes(Va, Mapping.Pages);
    Mdl->MdlFlags &= (CSHORT) ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED | MDL_FREE_EXTRA_PTES);
}

NTSTATUS MmProtectMdlSystemAddress(PMDL Mdl, ULONG NewProtect)
{
    MI_PROT Protection = MiMakeProtection(NewProtect);
    SIZE_T Pages = MiPagesOfMdl(Mdl);
    (VOID) KiCurrentThread();
    MI_VERIFY_PROTECTION(Protection, NewProtect);
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
        MI_CACHE Cache = MiCacheOfPage(MiPtePage(Entry));
        MiWritePte(Pte, Protection == MI_PROT_NOACCESS
                            ? MiPteTransition(MiPtePage(Entry), Protection)
                            : MiPteValid(MiPtePage(Entry), MiProtectionWithCache(Protection, Cache), FALSE));
    }
    HalFlushTb((PVOID)Va, Pages);
    return STATUS_SUCCESS;
}

NTSTATUS MmMapMdl(PMDL Mdl, ULONG Protection, PMM_MDL_ROUTINE DriverRoutine, PVOID DriverContext)
{
    MI_PROT Prot = MiMakeProtection(Protection);
    SIZE_T Pages = MiPagesOfMdl(Mdl);
    MiRequireIrql(DISPATCH_LEVEL, 0x76, "MmMapMdl was called above DISPATCH_LEVEL.", (ULONG_PTR)Mdl, KernelMode);
    if (Prot == MI_PROT_INVALID || !MiProtAllowsAccess(Prot) || MiProtIsCopyOnWrite(Prot) || (Prot & ~MI_PROT_BASE)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    if (Pages == 0) {
        return STATUS_INVALID_PARAMETER_1;
    }
    if (Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL)) {
        KI_CALLOUT(VOID, DriverRoutine, (PVOID, PVOID), (DriverContext, Mdl->MappedSystemVa));
        return STATUS_SUCCESS;
    }
    MI_CACHE Cache = MiPrepareMdlFrames(Mdl, Pages, MiCacheCached, __builtin_return_address(0));
    ULONG_PTR Va = MiReserveSystemPtes(Pages, 0);
    MI_MAPPING Mapping = {.Va = Va,
                          .Pages = Pages,
                          .Mapped = Pages,
                          .First = MmGetMdlPfnArray(Mdl)[0],
                          .Mdl = Mdl,
                          .StartVa = Mdl->StartVa,
                          .Kind = MiMappingMdl};
    if (Va == 0 || !MiRecordMapping(&Mapping)) {
        if (Va) {
            MiReleaseSystemPtes(Va, Pages);
        }
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MiMapMdlFrames(Mdl, Pages, Va, Prot, Cache, FALSE);
    KI_CALLOUT(VOID, DriverRoutine, (PVOID, PVOID), (DriverContext, (PVOID)(Va + Mdl->ByteOffset)));
    (VOID) MiForgetMapping(Va);
    MiReleaseSystemPtes(Va, Pages);
    return STATUS_SUCCESS;
}
