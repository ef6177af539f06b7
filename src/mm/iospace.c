/*
 * iospace.c - MmMapIoSpace: device memory, and RAM that somebody holds, by physical address.
 * SPDX-License-Identifier: MIT
 *
 * The machine has device runs (memory that is not RAM), RAM, and holes between them. A mapping of any is a run of system
 * PTEs whose entries carry the I/O mark, and a record that MmUnmapIoSpace is checked against. RAM that nobody holds (a
 * frame on a list) may change hands at any moment, so mapping it is bug check 0x1A/0x1233, as Windows makes it.
 *
 * A hole answers a read with ones and drops what is written. Here all holes show one frame, filled with ones whenever a
 * hole is mapped: reads are ones, but a write is seen until the next such mapping. MmGetPhysicalAddress answers with the
 * hole's own address.
 *
 * MmMapIoSpace maps executable and writable, as on Windows; MmMapIoSpaceEx maps with the protection asked for. The cache
 * type asked for gives way to the one that the pages have (cacheattr.c).
 *
 * MmAllocateMdlForIoSpace describes device memory by an MDL: page-aligned ranges that are not RAM, less than 4 GiB of
 * them in all; else STATUS_INVALID_PARAMETER_1. It is mapped like any other and freed with IoFreeMdl.
 *
 * Locks: PfnLock to look at a frame; else as sysptes.c, mapping.c, cacheattr.c. IRQL <= DISPATCH_LEVEL.
 */
#include "mm/mi.h"

PFN_NUMBER MiHolePage(VOID)
{
    PFN_NUMBER Page;
    BOOLEAN Dirty, Mine = FALSE;
    KiAcquireLock(&MiState->PfnLock);
    PFN_NUMBER Hole = MiState->HolePage;
    KiReleaseLock(&MiState->PfnLock);
    if (Hole == 0 && MiChargeCommitment(1, HighPoolPriority)) {
        if (MiTakeFrames(1, 0, NULL, &Page, &Dirty) == 0) {
            MiReturnCommitment(1);
            return 0;
        }
        KiAcquireLock(&MiState->PfnLock);
        if (MiState->HolePage == 0) {
            MiState->HolePage = Page;
            Mine = TRUE;
        }
        Hole = MiState->HolePage;
        KiReleaseLock(&MiState->PfnLock);
        if (!Mine) {
            MiReturnCommitment(MiReleaseFrames(Page, 1));
        }
    }
    if (Hole) {
        memset(HalWindow(Hole), 0xFF, PAGE_SIZE);
    }
    return Hole;
}

static PVOID MiMapIoSpace(PHYSICAL_ADDRESS Physical, SIZE_T Bytes, MI_PROT Protection, const VOID *Caller)
{
    ULONG64 Start = (ULONG64)Physical.QuadPart;
    BOOLEAN Holes = FALSE;
    if (Bytes == 0 || Start + Bytes < Start || Start + Bytes > 1ull << 52) {
        return NULL;
    }
    PFN_NUMBER First = Start >> PAGE_SHIFT, Last = (Start + Bytes - 1) >> PAGE_SHIFT;
    SIZE_T Pages = Last - First + 1;
    if (Pages > MiState->Regions[MmRegionSystemPtes].Bits) {
        return NULL;
    }
    for (PFN_NUMBER Page = First; Page <= Last; Page++) {
        Holes |= MiRunOfPage(Page) == NULL;
        PMMPFN Pfn = MiPfn(Page);
        if (Pfn == NULL) {
            continue; /* device memory, or the core's own */
        }
        KiAcquireLock(&MiState->PfnLock);
        BOOLEAN Held = Pfn->ReferenceCount != 0;
        KiReleaseLock(&MiState->PfnLock);
        if (!Held) {
            if (KiVerifies(KI_ANY_OPTION, Caller)) {
                KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "MmMapIoSpace was called for a page of RAM that nobody has locked.",
                       NULL, 0x83, Start, Bytes, Page);
            }
            KiStop(MEMORY_MANAGEMENT, "A driver mapped a page of RAM, by its physical address, that nobody has locked.", NULL,
                   0x1233, Page, 0, 0);
        }
    }
    PFN_NUMBER Hole = Holes ? MiHolePage() : 0;
    MI_CACHE Wanted = MiCacheOfProtection(Protection), Cache = MiDecideCache(First, Wanted);
    ULONG_PTR Va = Holes && Hole == 0 ? 0 : MiReserveSystemPtes(Pages, 0);
    MI_MAPPING Mapping = {
        .Va = Va, .Pages = Pages, .Mapped = Pages, .First = First, .Kind = MiMappingIo, .Cache = (UCHAR)Cache};
    if (Va && !MiRecordMapping(&Mapping)) {
        MiReleaseSystemPtes(Va, Pages);
        Va = 0;
    }
    if (Va == 0) {
        return NULL;
    }
    for (PFN_NUMBER Page = First; Page <= Last;) { /* in runs of one cache type, all there or all holes */
        BOOLEAN There = MiRunOfPage(Page) != NULL;
        PFN_NUMBER Next = Page + 1;
        Cache = MiDecideCache(Page, Wanted);
        while (There && Next <= Last && MiRunOfPage(Next) && MiDecideCache(Next, Wanted) == Cache) {
            Next++;
        }
        MiMapFrames(Va + ((Page - First) << PAGE_SHIFT), Next - Page, NULL, There ? Page : Hole,
                    MiPteIoSpace(0, MiProtectionWithCache(Protection, Cache)));
        Page = Next;
    }
    return (PVOID)(Va | (Start & (PAGE_SIZE - 1)));
}

PVOID MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType)
{
    MI_CACHE Cache;
    MiRequireIrql(DISPATCH_LEVEL, 0x73, "MmMapIoSpace was called above DISPATCH_LEVEL.", (ULONG_PTR)PhysicalAddress.QuadPart,
                  NumberOfBytes);
    if (!MiCacheOfType(CacheType, &Cache)) {
        return NULL;
    }
    return MiMapIoSpace(PhysicalAddress, NumberOfBytes, MiProtectionWithCache(MI_PROT_EXECUTE_READWRITE, Cache),
                        __builtin_return_address(0));
}

PVOID MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, ULONG Protect)
{
    MI_PROT Protection = MiMakeProtection(Protect);
    MiRequireIrql(DISPATCH_LEVEL, 0x73, "MmMapIoSpaceEx was called above DISPATCH_LEVEL.", (ULONG_PTR)PhysicalAddress.QuadPart,
                  NumberOfBytes);
    MI_VERIFY_PROTECTION(Protection, Protect);
    if (Protection == MI_PROT_INVALID || !MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) ||
        MiProtIsCopyOnWrite(Protection) || (Protection & MI_PROT_BASE) == MI_PROT_EXECUTE) {
        return NULL;
    }
    return MiMapIoSpace(PhysicalAddress, NumberOfBytes, Protection, __builtin_return_address(0));
}

VOID MmUnmapIoSpace(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(BaseAddress, NumberOfBytes);
    MI_MAPPING Mapping;
    MiRequireIrql(DISPATCH_LEVEL, 0x7B, "MmUnmapIoSpace was called above DISPATCH_LEVEL.", (ULONG_PTR)BaseAddress,
                  NumberOfBytes);
    BOOLEAN Known = MiFindMapping(Va, &Mapping) && Mapping.Kind == MiMappingIo;
    if (Known && Mapping.Mapped != Pages) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapIoSpace was given another size than was mapped.", NULL, 0x305, (ULONG_PTR)BaseAddress,
               Pages, Mapping.Mapped);
    }
    if (!Known || !MiForgetMapping(Va)) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapIoSpace was given an address that MmMapIoSpace did not map.", NULL, 0x400,
               (ULONG_PTR)BaseAddress, Pages, 0);
    }
    MiReleaseSystemPtes(Va, Pages);
}

PVOID MmMapVideoDisplay(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType)
{
    return MmMapIoSpace(PhysicalAddress, NumberOfBytes, CacheType);
}

VOID MmUnmapVideoDisplay(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
    MmUnmapIoSpace(BaseAddress, NumberOfBytes);
}

typedef struct _MI_PAGE_RANGE {
    PFN_NUMBER First, Last;
} MI_PAGE_RANGE;

static BOOLEAN MiShowsRange(const MI_MAPPING *Mapping, PVOID Context)
{
    const MI_PAGE_RANGE *Range = Context;
    return Mapping->Kind == MiMappingIo && Mapping->First <= Range->Last && Range->First < Mapping->First + Mapping->Mapped;
}

LOGICAL MmIsIoSpaceActive(PHYSICAL_ADDRESS StartAddress, SIZE_T NumberOfBytes)
{
    ULONG64 Start = (ULONG64)StartAddress.QuadPart;
    MI_PAGE_RANGE Range = {Start >> PAGE_SHIFT, (Start + NumberOfBytes - 1) >> PAGE_SHIFT};
    MI_MAPPING Mapping;
    ULONG Cursor = 0, Skip = 0;
    (VOID) KiCurrentThread();
    return NumberOfBytes != 0 && MiNextMapping(&Cursor, &Skip, MiShowsRange, &Range, &Mapping);
}

NTSTATUS MmAllocateMdlForIoSpace(PMM_PHYSICAL_ADDRESS_LIST PhysicalAddressList, SIZE_T NumberOfEntries, PMDL *NewMdl)
{
    ULONG64 Pages = 0;
    MiRequireIrql(DISPATCH_LEVEL, 0x7E, "MmAllocateMdlForIoSpace was called above DISPATCH_LEVEL.", DISPATCH_LEVEL, 0);
    for (SIZE_T Entry = 0; Entry < NumberOfEntries; Entry++) {
        ULONG64 Start = (ULONG64)PhysicalAddressList[Entry].PhysicalAddress.QuadPart;
        ULONG64 Bytes = PhysicalAddressList[Entry].NumberOfBytes;
        if (((Start | Bytes) & (PAGE_SIZE - 1)) || Bytes == 0 || Start + Bytes < Start || Start + Bytes > 1ull << 52 ||
            Bytes >= 1ull << 32 || (Pages += Bytes >> PAGE_SHIFT) >= 1ull << (32 - PAGE_SHIFT)) {
            return STATUS_INVALID_PARAMETER_1;
        }
        for (PFN_NUMBER Page = Start >> PAGE_SHIFT; Page < (Start + Bytes) >> PAGE_SHIFT; Page++) {
            const MI_RUN *Run = MiRunOfPage(Page);
            if (Run && !Run->Device) {
                return STATUS_INVALID_PARAMETER_1; /* RAM */
            }
        }
    }
    if (Pages == 0) {
        return STATUS_INVALID_PARAMETER_2;
    }
    PMDL Mdl = ExAllocatePool2(POOL_FLAG_NON_PAGED, MmSizeOfMdl(NULL, Pages << PAGE_SHIFT), ' ldM');
    if (Mdl == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MmInitializeMdl(Mdl, NULL, Pages << PAGE_SHIFT);
    Mdl->MdlFlags = MDL_IO_SPACE | MDL_PAGES_LOCKED;
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    for (SIZE_T Entry = 0; Entry < NumberOfEntries; Entry++) {
        PFN_NUMBER First = (ULONG64)PhysicalAddressList[Entry].PhysicalAddress.QuadPart >> PAGE_SHIFT;
        for (SIZE_T Page = 0; Page < PhysicalAddressList[Entry].NumberOfBytes >> PAGE_SHIFT; Page++) {
            *Frames++ = First + Page;
        }
    }
    *NewMdl = Mdl;
    return STATUS_SUCCESS;
}
