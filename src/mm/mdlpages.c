/*
 * mdlpages.c - MmAllocatePagesForMdl: frames without an address, described by an MDL.
 * SPDX-License-Identifier: MIT
 *
 * The frames belong to the MDL (UNMAPPED in the frame database, one share, no entry); a driver maps them when
 * it wants to look at them. The range asked for is [LowAddress, HighAddress], and, when it has no more and
 * SkipBytes is not 0, the same range moved up by SkipBytes, and so on, as the page describes. Fewer bytes
 * than asked for is an answer (not with MM_ALLOCATE_FULLY_REQUIRED); NULL only if there are none. Frames are
 * zero unless MM_DONT_ZERO_ALLOCATION. MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS: chunks of SkipBytes (all in one
 * if 0), each contiguous.
 *
 * MmFreePagesFromMdl gives the frames back; the MDL itself is the caller's to ExFreePool. While another MDL
 * still has one of them locked it is 0x4E/0x9A. Locks: as pfn.c. IRQL <= DISPATCH_LEVEL.
 */
#include "mm/mi.h"

#define MI_MDL_PAGES_MAX ((0x100000000ull - PAGE_SIZE) >> PAGE_SHIFT)
#define MI_MDL_PAGES_KNOWN                                                                                                     \
    (MM_DONT_ZERO_ALLOCATION | MM_ALLOCATE_FROM_LOCAL_NODE_ONLY | MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_NO_WAIT |           \
     MM_ALLOCATE_PREFER_CONTIGUOUS | MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS | MM_ALLOCATE_FAST_LARGE_PAGES |                    \
     MM_ALLOCATE_TRIM_IF_NECESSARY | MM_ALLOCATE_AND_HOT_REMOVE)

static SIZE_T MiStore(PPFN_NUMBER Frames, SIZE_T Got, PFN_NUMBER Base, SIZE_T Count, BOOLEAN Zero)
{
    if (Zero) {
        HalZeroPages(Base, Count);
    }
    for (SIZE_T Index = 0; Index < Count; Index++) {
        Frames[Got + Index] = Base + Index;
    }
    return Got + Count;
}

/* Fills Frames from one range of physical memory, in pieces of Chunk (0: as they come). Returns the new
 * count. */
static SIZE_T MiTakeRange(PPFN_NUMBER Frames, SIZE_T Got, SIZE_T Want, PFN_NUMBER Low, PFN_NUMBER High, SIZE_T Chunk,
                          BOOLEAN Zero)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    SIZE_T Piece = Chunk ? Chunk : 512;
    while (Got < Want) {
        SIZE_T Some = Want - Got < Piece ? Want - Got : Piece;
        if (Chunk == 0 && Low == 0 && High >= MiState->HighestPage) {
            Some = MiTakeFrames((ULONG)Some, Zero ? MI_TAKE_ZEROED : 0, NULL, 0, &Base, &Dirty);
            if (Some == 0) {
                break;
            }
        } else if (!MiTakeContiguous(Some, Low, High, 0, &Base, &Dirty)) {
            if (Chunk || Some == 1) {
                break;
            }
            Piece = Some / 2;
            continue;
        }
        Got = MiStore(Frames, Got, Base, Some, Zero && Dirty);
    }
    return Got;
}

static VOID MiGiveBack(const PFN_NUMBER *Frames, SIZE_T Count)
{
    ULONG64 Freed = 0;
    for (SIZE_T Index = Count; Index-- > 0;) {
        Freed += MiReleaseFrames(Frames[Index], 1);
    }
    MiReturnCommitment(Freed);
    MiCheckConditions();
}

PMDL MmAllocatePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                             SIZE_T TotalBytes, MEMORY_CACHING_TYPE CacheType, ULONG Flags)
{
    SIZE_T Want = BYTES_TO_PAGES(TotalBytes), Got = 0, Chunk = 0;
    PFN_NUMBER Low = ((ULONG64)LowAddress.QuadPart + PAGE_SIZE - 1) >> PAGE_SHIFT;
    PFN_NUMBER High = (ULONG64)HighAddress.QuadPart >> PAGE_SHIFT, Skip = (ULONG64)SkipBytes.QuadPart >> PAGE_SHIFT;
    BOOLEAN Zero = !(Flags & MM_DONT_ZERO_ALLOCATION), All = (Flags & MM_ALLOCATE_FULLY_REQUIRED) != 0;
    (VOID) KiCurrentThread();
    if (Want == 0 || Want > MI_MDL_PAGES_MAX || (Flags & ~(ULONG)MI_MDL_PAGES_KNOWN) || Low > High ||
        ((ULONG64)SkipBytes.QuadPart & (PAGE_SIZE - 1)) || MiCacheProtection(MI_PROT_READWRITE, CacheType) == MI_PROT_INVALID) {
        return NULL;
    }
    if (KiFailHere(KiResourcePages, 0, TotalBytes)) {
        return NULL;
    }
    if (Flags & MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS) {
        Chunk = Skip ? Skip : Want;
        All = Skip == 0 ? TRUE : All;
        if (Chunk & (Chunk - 1) && Skip) {
            return NULL; /* SkipBytes must be a power of two then */
        }
    }
    /* What there is commitment for: fewer pages are an answer too. */
    while (Want && !MiChargeCommitment(Want, NormalPoolPriority)) {
        if (All) {
            return NULL;
        }
        Want -= Want / 4 + 1;
    }
    PMDL Mdl =
        Want ? ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, MmSizeOfMdl(NULL, Want << PAGE_SHIFT), ' ldM')
             : NULL;
    if (Mdl == NULL) {
        MiReturnCommitment(Want);
        return NULL;
    }
    PPFN_NUMBER Frames = MmGetMdlPfnArray(Mdl);
    if (Chunk) {
        Got = MiTakeRange(Frames, 0, Want, Low, High, Chunk, Zero);
    } else {
        while (Got < Want && Low <= MiState->HighestPage) {
            Got = MiTakeRange(Frames, Got, Want, Low, High, 0, Zero);
            if (Skip == 0) {
                break;
            }
            Low += Skip;
            High += Skip;
        }
    }
    MiReturnCommitment(Want - Got);
    if (Got == 0 || (All && Got < Want)) {
        MiGiveBack(Frames, Got);
        ExFreePoolWithTag(Mdl, ' ldM');
        return NULL;
    }
    MmInitializeMdl(Mdl, NULL, Got << PAGE_SHIFT);
    Mdl->Process = NULL;
    Mdl->MappedSystemVa = NULL;
    Mdl->MdlFlags = MDL_PAGES_LOCKED;
    MiCheckConditions();
    return Mdl;
}

PMDL MmAllocatePagesForMdl(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                           SIZE_T TotalBytes)
{
    return MmAllocatePagesForMdlEx(LowAddress, HighAddress, SkipBytes, TotalBytes, MmCached, 0);
}

static VOID MiFreePagesFromMdl(PMDL Mdl, BOOLEAN Zero)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    (VOID) KiCurrentThread();
    for (SIZE_T Index = 0; Index < Pages; Index++) {
        PFN_NUMBER Frame = Frames[Index];
        KiAcquireLock(&MiState->PfnLock);
        PMMPFN Pfn = MiPfn(Frame);
        ULONG State = Pfn ? Pfn->State : MiPageBad, References = Pfn ? Pfn->ReferenceCount : 0;
        BOOLEAN Mine = Pfn && State == MiPageActive && (Pfn->Flags & MI_PFN_UNMAPPED) && !(Pfn->Flags & MI_PFN_TABLE);
        KiReleaseLock(&MiState->PfnLock);
        if (!Mine) {
            KiStop(PFN_LIST_CORRUPT,
                   "MmFreePagesFromMdl was given a page that MmAllocatePagesForMdl did not allocate, or that "
                   "is free already.",
                   NULL, 0x99, Frame, State, 0);
        }
        if (References > 1) {
            KiStop(PFN_LIST_CORRUPT, "MmFreePagesFromMdl was given a page that an MDL still has locked.", NULL, 0x9A, Frame,
                   State, References);
        }
    }
    if (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) {
        MmUnmapLockedPages(Mdl->MappedSystemVa, Mdl);
    }
    for (SIZE_T Index = 0; Zero && Index < Pages; Index++) {
        HalZeroPages(Frames[Index], 1);
    }
    MiGiveBack(Frames, Pages);
    Mdl->MdlFlags &= (CSHORT)~MDL_PAGES_LOCKED;
}

VOID MmFreePagesFromMdl(PMDL MemoryDescriptorList)
{
    MiFreePagesFromMdl(MemoryDescriptorList, FALSE);
}

VOID MmFreePagesFromMdlEx(PMDL MemoryDescriptorList, ULONG Flags)
{
    MiFreePagesFromMdl(MemoryDescriptorList, (Flags & MM_FREE_MDL_PAGES_ZERO) != 0);
}
