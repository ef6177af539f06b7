/*
 * mdlinfo.c - smaller questions about the pages of an MDL, and the mapping for crash dumps. SPDX-License-Identifier: MIT
 *
 * MmAreMdlPagesCached, MmMdlPageContentsState, MmMdlPagesAreZero; MmMapMemoryDumpMdlEx, which shows an MDL at addresses that
 * the caller reserved (MmAllocateMappingAddress), one MDL at a time, without taking any lock that could be held, as code
 * that writes a dump must. Locks: cacheattr.c for cache types. IRQL <= DISPATCH_LEVEL; the dump routines at any.
 */
#include "mm/mi.h"

LOGICAL MmAreMdlPagesCached(PMDL Mdl)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    (VOID) KiCurrentThread();
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        MI_CACHE Cache = MiCacheOfPage(Frames[Page]);
        if (Cache == MiCacheNone || Cache == MiCacheWriteCombined) {
            return FALSE;
        }
    }
    return TRUE;
}

MM_MDL_PAGE_CONTENTS_STATE MmMdlPageContentsState(PMDL Mdl, MM_MDL_PAGE_CONTENTS_STATE State)
{
    MM_MDL_PAGE_CONTENTS_STATE Old =
        Mdl->MdlFlags & MDL_PAGE_CONTENTS_INVARIANT ? MmMdlPageContentsInvariant : MmMdlPageContentsDynamic;
    if (State == MmMdlPageContentsInvariant) {
        Mdl->MdlFlags |= MDL_PAGE_CONTENTS_INVARIANT;
    } else if (State == MmMdlPageContentsDynamic) {
        Mdl->MdlFlags &= (CSHORT)~MDL_PAGE_CONTENTS_INVARIANT;
    }
    return Old;
}

ULONG MmMdlPagesAreZero(PMDL Mdl)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount), Left = Mdl->ByteCount;
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    SIZE_T Offset = Mdl->ByteOffset;
    (VOID) KiCurrentThread();
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        SIZE_T Some = PAGE_SIZE - Offset < Left ? PAGE_SIZE - Offset : Left;
        if (MiRunOfPage(Frames[Page]) == NULL) {
            return FALSE;
        }
        const UCHAR *Bytes = (const UCHAR *)HalWindow(Frames[Page]) + Offset;
        for (SIZE_T Index = 0; Index < Some; Index++) {
            if (Bytes[Index]) {
                return FALSE;
            }
        }
        Left -= Some;
        Offset = 0;
    }
    return TRUE;
}

NTSTATUS MmMapMemoryDumpMdlEx(PVOID Va, PFN_NUMBER PageTotal, PMDL MemoryDumpMdl, ULONG Flags)
{
    ULONG_PTR Base = (ULONG_PTR)Va;
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(MemoryDumpMdl), MemoryDumpMdl->ByteCount);
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(MemoryDumpMdl);
    MI_MAPPING Mapping;
    (VOID) KiCurrentThread();
    if (Flags & ~(ULONG)(MM_DUMP_MAP_CACHED | MM_DUMP_MAP_INVALIDATE) || Pages > PageTotal || (Base & (PAGE_SIZE - 1))) {
        return STATUS_INVALID_PARAMETER;
    }
    if (!MiFindMapping(Base, &Mapping) || Mapping.Kind != MiMappingReserved || PageTotal > Mapping.Pages) {
        return STATUS_INVALID_ADDRESS;
    }
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        if (MiRunOfPage(Frames[Page]) == NULL) {
            return STATUS_INVALID_PARAMETER;
        }
    }
    if (Flags & MM_DUMP_MAP_INVALIDATE) {
        MiUnmapFrames(Base, PageTotal);
        (VOID) MiSetReservedMapping(Base, 0, NULL, 0);
    }
    if (!MiSetReservedMapping(Base, Pages, MemoryDumpMdl, Frames[0])) {
        return STATUS_CONFLICTING_ADDRESSES; /* something is mapped, and was not to be cleared */
    }
    MiMapFrames(Base, Pages, Frames, 0, MiPteValid(0, MI_PROT_READWRITE, FALSE));
    MemoryDumpMdl->MappedSystemVa = (PVOID)(Base + MemoryDumpMdl->ByteOffset);
    MemoryDumpMdl->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    return STATUS_SUCCESS;
}
