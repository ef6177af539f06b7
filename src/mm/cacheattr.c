/*
 * cacheattr.c - the cache type of each frame, and what wins when two mappings disagree. SPDX-License-Identifier: MIT
 *
 * One frame must not be mapped with two cache types at once, so the type belongs to the frame and not to a mapping:
 *   RAM              in MMPFN.Flags while the frame is in use: cached, noncached, write-combined, or undecided (pages for
 *                    an MDL before their first mapping); goes back to cached with the frame
 *   device memory    that of the mapping that stands (its MI_MAPPING record); none: undecided
 *   either           a permanent type, where MmSetPermanentCacheAttribute gave one
 * The type asked for counts only where the frame is undecided; else the existing type wins, silently, as the documents of
 * MmMapLockedPagesSpecifyCache and MmMapIoSpace have it. It is kept in the entries and changes nothing else.
 *
 * MmGetCacheAttribute answers with the type in force: STATUS_INVALID_PARAMETER where nothing is mapped or known.
 *
 * Locks: PfnLock for RAM, MI_MAPPINGS.Lock for device memory; never both. Any IRQL.
 */
#include "mm/mi.h"

/* MI_CACHE of a WDK type; FALSE: no such type. */
BOOLEAN MiCacheOfType(MEMORY_CACHING_TYPE Type, MI_CACHE *Cache)
{
    switch ((LONG)Type) {
    case MmCached:
    case MmHardwareCoherentCached:
        *Cache = MiCacheCached;
        return TRUE;
    case MmNonCached:
    case MmNonCachedUnordered:
        *Cache = MiCacheNone;
        return TRUE;
    case MmWriteCombined:
    case MmUSWCCached:
        *Cache = MiCacheWriteCombined;
        return TRUE;
    default:
        return FALSE;
    }
}

MI_PROT MiProtectionWithCache(MI_PROT Base, MI_CACHE Cache)
{
    Base &= MI_PROT_BASE;
    return Cache == MiCacheNone ? Base | MI_PROT_NOCACHE : Cache == MiCacheWriteCombined ? Base | MI_PROT_WRITECOMBINE : Base;
}

MI_CACHE MiCacheOfProtection(MI_PROT Protection)
{
    return (Protection & 0x18u) == MI_PROT_NOCACHE        ? MiCacheNone
           : (Protection & 0x18u) == MI_PROT_WRITECOMBINE ? MiCacheWriteCombined
                                                          : MiCacheCached;
}

VOID MiSetFrameCache(PFN_NUMBER Base, SIZE_T Count, MI_CACHE Cache)
{
    KiAcquireLock(&MiState->PfnLock);
    for (SIZE_T Index = 0; Index < Count; Index++) {
        PMMPFN Pfn = MiPfn(Base + Index);
        if (Pfn) {
            Pfn->Flags = (USHORT)((Pfn->Flags & ~MI_PFN_CACHE) | (USHORT)(Cache << MI_PFN_CACHE_SHIFT));
        }
    }
    KiReleaseLock(&MiState->PfnLock);
}

static BOOLEAN MiShowsPage(const MI_MAPPING *Mapping, PVOID Context)
{
    PFN_NUMBER Page = *(PFN_NUMBER *)Context;
    return Mapping->Kind == MiMappingIo && Page - Mapping->First < Mapping->Mapped;
}

/* Device memory or a hole. */
static MI_CACHE MiCacheOfDevice(PFN_NUMBER Page)
{
    MI_MAPPING Mapping;
    ULONG Cursor = 0, Skip = 0;
    return MiNextMapping(&Cursor, &Skip, MiShowsPage, &Page, &Mapping) ? Mapping.Cache : MiCacheUndecided;
}

MI_CACHE MiCacheOfPage(PFN_NUMBER Page)
{
    for (ULONG Index = 0; Index < MiState->PermanentCount; Index++) {
        const MI_CACHE_RANGE *Range = &MiState->Permanent[Index];
        if (Page - Range->First < Range->Count) {
            return Range->Cache;
        }
    }
    PMMPFN Pfn = MiPfn(Page);
    if (Pfn == NULL) {
        const MI_RUN *Run = MiRunOfPage(Page);
        return Run && !Run->Device ? MiCacheCached : MiCacheOfDevice(Page);
    }
    KiAcquireLock(&MiState->PfnLock);
    MI_CACHE Cache = (MI_CACHE)(Pfn->Flags >> MI_PFN_CACHE_SHIFT);
    KiReleaseLock(&MiState->PfnLock);
    return Cache;
}

MI_CACHE MiDecideCache(PFN_NUMBER Page, MI_CACHE Wanted)
{
    MI_CACHE Cache = MiCacheOfPage(Page);
    if (Cache == MiCacheUndecided) {
        Cache = Wanted == MiCacheUndecided ? MiCacheCached : Wanted;
        if (MiPfn(Page)) {
            MiSetFrameCache(Page, 1, Cache);
        }
    }
    return Cache;
}

NTSTATUS MmGetCacheAttributeEx(PHYSICAL_ADDRESS PhysicalAddress, ULONG Flags, MEMORY_CACHING_TYPE *CacheType)
{
    static const MEMORY_CACHING_TYPE Types[] = {MmCached, MmNonCached, MmWriteCombined};
    PFN_NUMBER Page = (PFN_NUMBER)PhysicalAddress.QuadPart >> PAGE_SHIFT;
    const MI_RUN *Run;
    (VOID) KiCurrentThread();
    Run = MiRunOfPage(Page);
    if ((Flags & ~(ULONG)MM_GET_CACHE_ATTRIBUTE_IO_SPACE) ||
        ((Flags & MM_GET_CACHE_ATTRIBUTE_IO_SPACE) != 0) != (Run == NULL || Run->Device)) {
        return STATUS_INVALID_PARAMETER;
    }
    MI_CACHE Cache = MiCacheOfPage(Page);
    if (Cache == MiCacheUndecided) {
        return STATUS_INVALID_PARAMETER;
    }
    *CacheType = Types[Cache];
    return STATUS_SUCCESS;
}

NTSTATUS MmGetCacheAttribute(PHYSICAL_ADDRESS PhysicalAddress, MEMORY_CACHING_TYPE *CacheType)
{
    (VOID) KiCurrentThread();
    const MI_RUN *Run = MiRunOfPage((PFN_NUMBER)PhysicalAddress.QuadPart >> PAGE_SHIFT);
    return MmGetCacheAttributeEx(PhysicalAddress, Run == NULL || Run->Device ? MM_GET_CACHE_ATTRIBUTE_IO_SPACE : 0, CacheType);
}

NTSTATUS MmSetPermanentCacheAttribute(PHYSICAL_ADDRESS StartAddress, LONGLONG NumberOfBytes, MEMORY_CACHING_TYPE CacheType,
                                      ULONG Flags)
{
    MI_CACHE Cache;
    ULONG64 Start = (ULONG64)StartAddress.QuadPart;
    PFN_NUMBER First = Start >> PAGE_SHIFT, Count = (ULONG64)NumberOfBytes >> PAGE_SHIFT;
    NTSTATUS Status = STATUS_SUCCESS;
    (VOID) KiCurrentThread();
    if (NumberOfBytes <= 0 || ((Start | (ULONG64)NumberOfBytes) & (PAGE_SIZE - 1)) || Start + (ULONG64)NumberOfBytes < Start ||
        !MiCacheOfType(CacheType, &Cache) || (Flags & ~(ULONG)MM_PERMANENT_ADDRESS_IS_IO_SPACE)) {
        return STATUS_INVALID_PARAMETER;
    }
    for (PFN_NUMBER Page = First; Page < First + Count; Page++) {
        const MI_RUN *Run = MiRunOfPage(Page);
        if ((Run == NULL || Run->Device) != ((Flags & MM_PERMANENT_ADDRESS_IS_IO_SPACE) != 0)) {
            return STATUS_INVALID_PARAMETER;
        }
        MI_CACHE Now = MiCacheOfPage(Page);
        if (Now != MiCacheUndecided && Now != Cache) {
            return STATUS_CONFLICTING_ADDRESSES; /* it is mapped otherwise, or is permanent already */
        }
    }
    KiAcquireLock(&MiState->PfnLock);
    if (MiState->PermanentCount == MI_PERMANENT_CACHE) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    } else {
        MiState->Permanent[MiState->PermanentCount] = (MI_CACHE_RANGE){First, Count, Cache};
        __atomic_store_n(&MiState->PermanentCount, MiState->PermanentCount + 1, __ATOMIC_RELEASE);
    }
    KiReleaseLock(&MiState->PfnLock);
    return Status;
}
