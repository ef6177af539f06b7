/*
 * mdlreserve.c - reserved mapping addresses: a driver's own piece of system PTEs, for mapping when nothing may fail.
 * SPDX-License-Identifier: MIT
 *
 * MmAllocateMappingAddress takes addresses and page tables and ties them to a pool tag. Every later call names the tag.
 * MmMapLockedPagesWithReservedMapping shows an MDL there without allocating anything, so that NULL can only mean that the
 * MDL spans more pages than there are; MmUnmapReservedMapping empties the reservation; MmFreeMappingAddress ends it.
 *
 *      none --MmAllocateMappingAddress--> empty --MmMapLockedPagesWithReservedMapping--> used
 *       ^------MmFreeMappingAddress--------' ^------------MmUnmapReservedMapping---------'
 *
 * The result of mapping includes the MDL's byte offset; MappedSystemVa, as documented, does not. Any other arrow is bug
 * check 0xDA: no bytes 0x100; free with a wrong tag 0x101, of no reservation 0x102, of a used one 0x103; mapping with a
 * wrong tag 0x104, without a reservation 0x105, into a used one 0x107; unmapping with a wrong tag 0x108, an empty one
 * 0x109, of more pages than it has 0x10A, of more than are mapped 0x10B, of fewer 0x10C. "Mappings" in the parameters
 * are addresses and counts of pages.
 *
 * Locks: as sysptes.c and mapping.c. IRQL <= APC_LEVEL to reserve and free, <= DISPATCH_LEVEL to map and unmap.
 */
#include "mm/mi.h"

static ULONG_PTR MiReserveDivisible(SIZE_T Pages)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    for (ULONG Try = 0; Try < 16; Try++) { /* another thread may take the place that was found */
        ULONG_PTR Wide = MiAllocateVa(Region, 2 * Pages - 1), Size = Pages << PAGE_SHIFT;
        if (Wide == 0) {
            break;
        }
        ULONG_PTR Va = (Wide + Size - 1) / Size * Size;
        MiFreeVa(Region, Wide, 2 * Pages - 1);
        if (!MiAllocateVaAt(Region, Va, Pages)) {
            continue;
        }
        if (!MiMakePageTables(Va, Pages)) {
            MiFreeVa(Region, Va, Pages);
            break;
        }
        MiChargeRegion(Region, Pages);
        return Va;
    }
    MiCount(&Region->Failures);
    return 0;
}

PVOID MmAllocateMappingAddressEx(SIZE_T NumberOfBytes, ULONG PoolTag, ULONG Flags)
{
    SIZE_T Pages = (NumberOfBytes >> PAGE_SHIFT) + (NumberOfBytes & (PAGE_SIZE - 1) ? 1 : 0);
    MiRequireIrql(APC_LEVEL, 0xE5, "MmAllocateMappingAddress was called above APC_LEVEL.", 0, 0);
    if (Pages == 0) {
        KiStop(SYSTEM_PTE_MISUSE, "MmAllocateMappingAddress was asked for no bytes.", NULL, 0x100, 0, PoolTag,
               (ULONG_PTR)__builtin_return_address(0));
    }
    if (Pages > MAXULONG || (Flags & ~(ULONG)MM_MAPPING_ADDRESS_DIVISIBLE)) {
        return NULL;
    }
    ULONG_PTR Va = Flags & MM_MAPPING_ADDRESS_DIVISIBLE ? MiReserveDivisible(Pages) : MiReserveSystemPtes(Pages, 0);
    MI_MAPPING Mapping = {.Va = Va, .Pages = Pages, .Tag = PoolTag, .Kind = MiMappingReserved};
    if (Va && !MiRecordMapping(&Mapping)) {
        MiReleaseSystemPtes(Va, Pages);
        Va = 0;
    }
    return (PVOID)Va;
}

PVOID MmAllocateMappingAddress(SIZE_T NumberOfBytes, ULONG PoolTag)
{
    return MmAllocateMappingAddressEx(NumberOfBytes, PoolTag, 0);
}

static BOOLEAN MiFindReservation(ULONG_PTR Va, MI_MAPPING *Mapping)
{
    return MiFindMapping(Va, Mapping) && Mapping->Kind == MiMappingReserved;
}

VOID MmFreeMappingAddress(PVOID BaseAddress, ULONG PoolTag)
{
    ULONG_PTR Va = (ULONG_PTR)BaseAddress;
    MI_MAPPING Mapping;
    MiRequireIrql(APC_LEVEL, 0xE5, "MmFreeMappingAddress was called above APC_LEVEL.", 0, 0);
    if (!MiFindReservation(Va, &Mapping)) {
        KiStop(SYSTEM_PTE_MISUSE, "MmFreeMappingAddress was given an address that is not (or no longer) reserved.", NULL, 0x102,
               Va, PoolTag, 0);
    }
    if (Mapping.Tag != PoolTag) {
        KiStop(SYSTEM_PTE_MISUSE, "MmFreeMappingAddress was called with a tag that is not the owner's.", NULL, 0x101, Va,
               PoolTag, Mapping.Tag);
    }
    if (Mapping.Mapped) {
        KiStop(SYSTEM_PTE_MISUSE, "MmFreeMappingAddress was called while an MDL is still mapped there.", NULL, 0x103, Va,
               PoolTag, Mapping.Pages);
    }
    if (MiForgetMapping(Va)) {
        MiReleaseSystemPtes(Va, Mapping.Pages);
    }
}

PVOID MmMapLockedPagesWithReservedMapping(PVOID MappingAddress, ULONG PoolTag, PMDL Mdl, MEMORY_CACHING_TYPE CacheType)
{
    ULONG_PTR Va = (ULONG_PTR)MappingAddress;
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    MI_MAPPING Mapping;
    MI_CACHE Cache;
    MiRequireIrql(DISPATCH_LEVEL, 0x76, "MmMapLockedPagesWithReservedMapping was called above DISPATCH_LEVEL.", (ULONG_PTR)Mdl,
                  KernelMode);
    if (!MiFindReservation(Va, &Mapping)) {
        KiStop(SYSTEM_PTE_MISUSE, "MmMapLockedPagesWithReservedMapping was given an address that is not reserved.", NULL, 0x105,
               Va, PoolTag, 0);
    }
    if (Mapping.Tag != PoolTag) {
        KiStop(SYSTEM_PTE_MISUSE, "MmMapLockedPagesWithReservedMapping was called with a tag that is not the owner's.", NULL,
               0x104, Va, PoolTag, Mapping.Tag);
    }
    if (Pages == 0 || Pages > Mapping.Pages || !MiCacheOfType(CacheType, &Cache)) {
        return NULL;
    }
    if (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An MDL was mapped that has a system mapping already.", NULL, 0xB2,
               (ULONG_PTR)Mdl, (USHORT)Mdl->MdlFlags, MDL_MAPPED_TO_SYSTEM_VA);
    }
    Cache = MiPrepareMdlFrames(Mdl, Pages, Cache, __builtin_return_address(0));
    if (!MiSetReservedMapping(Va, Pages, Mdl, MmGetMdlPfnArray(Mdl)[0])) {
        KiStop(SYSTEM_PTE_MISUSE, "An MDL was mapped to reserved addresses that still show another one.", NULL, 0x107, Va, Va,
               Va + ((Mapping.Mapped ? Mapping.Mapped - 1 : 0) << PAGE_SHIFT));
    }
    MiMapMdlFrames(Mdl, Pages, Va, MI_PROT_EXECUTE_READWRITE, Cache, FALSE);
    Mdl->MappedSystemVa = (PVOID)Va;
    Mdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA | (Mdl->MdlFlags & MDL_PARTIAL ? MDL_PARTIAL_HAS_BEEN_MAPPED : 0);
    return (PVOID)(Va + Mdl->ByteOffset);
}

VOID MmUnmapReservedMapping(PVOID BaseAddress, ULONG PoolTag, PMDL Mdl)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    MI_MAPPING Mapping;
    MiRequireIrql(DISPATCH_LEVEL, 0x79, "MmUnmapReservedMapping was called above DISPATCH_LEVEL.", (ULONG_PTR)BaseAddress,
                  (ULONG_PTR)Mdl);
    BOOLEAN Known = MiFindReservation(Va, &Mapping);
    if (Known && Mapping.Tag != PoolTag) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapReservedMapping was called with a tag that is not the owner's.", NULL, 0x108, Va,
               PoolTag, Mapping.Tag);
    }
    if (!Known || Mapping.Mapped == 0) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapReservedMapping was called for reserved addresses that show nothing.", NULL, 0x109,
               Va, PoolTag, 0);
    }
    if (Pages > Mapping.Pages) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapReservedMapping was asked to unmap more pages than are reserved.", NULL, 0x10A, Va,
               Mapping.Pages, Pages);
    }
    if (Pages > Mapping.Mapped) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapReservedMapping was asked to unmap more pages than are mapped.", NULL, 0x10B, Va,
               PoolTag, Pages);
    }
    if (Pages < Mapping.Mapped) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapReservedMapping would leave a part of the MDL mapped.", NULL, 0x10C, Va, PoolTag,
               Pages);
    }
    MiUnmapFrames(Va, Pages);
    (VOID) MiSetReservedMapping(Va, 0, NULL, 0);
    Mdl->MdlFlags &= (CSHORT) ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED);
}
