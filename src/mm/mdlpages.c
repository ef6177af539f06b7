/*
 * mdlpages.c - MmAllocatePagesForMdl: frames without an address, described by an MDL.
 * SPDX-License-Identifier: MIT
 *
 * The frames belong to the MDL (UNMAPPED in the frame database, one share, no entry); a driver maps them when it wants to
 * look at them. The range asked for is [LowAddress, HighAddress], and, when it has no more and SkipBytes is not 0, the same
 * range moved up by SkipBytes, and so on, as the page describes. Fewer bytes than asked for is an answer (not with
 * MM_ALLOCATE_FULLY_REQUIRED); NULL only if there are none. Frames are zero unless MM_DONT_ZERO_ALLOCATION.
 * MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS: chunks of SkipBytes (all in one if 0), each contiguous and aligned to its size.
 * MM_ALLOCATE_PREFER_CONTIGUOUS: in one piece if that can be had.
 *
 * When memory is short, a caller that may block (below DISPATCH_LEVEL, without MM_ALLOCATE_NO_WAIT) has the modified pages written
 * first, and with MM_ALLOCATE_TRIM_IF_NECESSARY the working sets trimmed of as much as is missing; for chunks, pages that can move
 * are moved out of the way (not with MM_ALLOCATE_FAST_LARGE_PAGES: what stands free, or nothing). MM_ALLOCATE_AND_HOT_REMOVE:
 * the pages are no RAM (hotmem.c) until they are freed.
 *
 * Nodes: each range is looked through in the ideal node first (the caller's, where none is named) and then in the others, nearest
 * first, unless MM_ALLOCATE_FROM_LOCAL_NODE_ONLY. Cache type: the plain routine leaves it to the first mapping, as MmNotMapped does.
 *
 * MmFreePagesFromMdl gives the frames back; the MDL itself is the caller's to ExFreePool. While another MDL still has one
 * of them locked it is 0x4E/0x9A. Locks: as pfn.c. IRQL <= DISPATCH_LEVEL.
 */
#include "mm/mi.h"

#define MI_MDL_PAGES_MAX ((0x100000000ull - PAGE_SIZE) >> PAGE_SHIFT)
#define MI_MDL_TRIES     100u     /* to make room, in vain, one after the other */
#define MI_MDL_MOMENT    2000000u /* ns */
#define MI_MDL_PAGES_KNOWN                                                                                                     \
    (MM_DONT_ZERO_ALLOCATION | MM_ALLOCATE_FROM_LOCAL_NODE_ONLY | MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_NO_WAIT |           \
     MM_ALLOCATE_PREFER_CONTIGUOUS | MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS | MM_ALLOCATE_FAST_LARGE_PAGES |                    \
     MM_ALLOCATE_TRIM_IF_NECESSARY | MM_ALLOCATE_AND_HOT_REMOVE)

typedef struct _MI_MDL_REQUEST {
    PPFN_NUMBER Frames; /* the MDL's: driver memory */
    SIZE_T Got, Want, Chunk;
    ULONG Node;
    BOOLEAN Zero, LocalOnly, Anywhere, Move;
} MI_MDL_REQUEST;

static VOID MiStoreRun(MI_MDL_REQUEST *Request, PFN_NUMBER Base, SIZE_T Count, BOOLEAN Zero)
{
    if (Zero) {
        HalZeroPages(Base, Count);
    }
    for (SIZE_T Index = 0; Index < Count; Index++) {
        Request->Frames[Request->Got++] = Base + Index;
    }
}

/* From one range, which one node holds or which nobody divides. */
static VOID MiTakePiece(MI_MDL_REQUEST *Request, ULONG Node, PFN_NUMBER Low, PFN_NUMBER High)
{
    PFN_NUMBER Base, Cursor = 0;
    BOOLEAN Dirty;
    while (Request->Chunk && Request->Got < Request->Want) {
        SIZE_T Some = Request->Chunk;
        PFN_NUMBER Boundary = (Some & (Some - 1)) == 0 ? Some : 0; /* within one multiple of its size: aligned */
        if (!MiTakeContiguous(Some, Low, High, Boundary, &Base, &Dirty)) {
            if (!Request->Move || !MiMoveAndTake(Some, Low, High, Boundary, &Base)) {
                return;
            }
            Dirty = TRUE;
        }
        MiStoreRun(Request, Base, Some, Request->Zero && Dirty);
    }
    ULONG Flags = (Request->Zero ? MI_TAKE_ZEROED : 0) | (MiState->Nodes == 1 ? 0 : MI_TAKE_LOCAL | MI_TAKE_NODE(Node));
    while (Request->Anywhere && Request->Got < Request->Want) { /* runs of frames map best */
        SIZE_T Some = Request->Want - Request->Got < 512 ? Request->Want - Request->Got : 512;
        Some = MiTakeFrames((ULONG)Some, Flags, NULL, &Base, &Dirty);
        if (Some == 0 && MiState->Nodes > 1) {
            break; /* standby pages are found below */
        }
        if (Some == 0) {
            return;
        }
        MiStoreRun(Request, Base, Some, Request->Zero && Dirty);
    }
    while (Request->Got < Request->Want && Cursor <= High) {
        PFN_NUMBER Batch[64];
        ULONG64 Old;
        ULONG Want = Request->Want - Request->Got < 64 ? (ULONG)(Request->Want - Request->Got) : 64;
        ULONG Some = MiTakeInRange(Want, Low, High, &Cursor, Batch, &Old);
        for (ULONG Index = 0; Index < Some; Index++) {
            MiStoreRun(Request, Batch[Index], 1, Request->Zero && (Old >> Index & 1));
        }
    }
}

/* From one range: the ideal node's part, then those of the others. */
static VOID MiTakeRange(MI_MDL_REQUEST *Request, PFN_NUMBER Low, PFN_NUMBER High)
{
    for (ULONG Turn = 0; Turn < (Request->LocalOnly ? 1 : MiState->Nodes) && Request->Got < Request->Want; Turn++) {
        PFN_NUMBER First = Low, Last = High;
        ULONG Node = MiState->Node[Request->Node].Order[Turn];
        if (MiClipToNode(Node, &First, &Last)) {
            MiTakePiece(Request, Node, First, Last);
        }
    }
}

/* From the range and, Skip not 0, from those above it. */
static VOID MiTakeRanges(MI_MDL_REQUEST *Request, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Skip)
{
    while (Request->Got < Request->Want && Low <= MiState->HighestPage) {
        MiTakeRange(Request, Low, High);
        if (Skip == 0) {
            break;
        }
        Low += Skip;
        High += Skip;
    }
}

/* Pages that are in use become available. FALSE: none did. IRQL <= APC_LEVEL. */
static BOOLEAN MiMakeRoom(ULONG64 Missing, BOOLEAN Trim)
{
    ULONG64 Before = MiAvailable(), Taken = 0;
    for (PMMSUPPORT Set = Trim ? MiNextWorkingSet(NULL) : NULL; Set; Set = MiNextWorkingSet(Set)) {
        ULONG64 Visit = __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED) + 64;
        Taken += Taken < Missing ? MiTrimBusyWorkingSet(Set, Missing - Taken, Visit, MI_AGE_ANY) : 0;
    }
    while (MiAvailable() < Before + Missing && MiWriteModifiedPages(Missing) != 0) {
        ULONG64 Errors = __atomic_load_n(&MiState->Pager.WriteErrors, __ATOMIC_RELAXED);
        MiWaitForWrites();
        if (__atomic_load_n(&MiState->Pager.WriteErrors, __ATOMIC_RELAXED) != Errors) {
            break;
        }
    }
    MiWaitForWrites();
    return MiAvailable() > Before;
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

static PMDL MiAllocatePagesForMdl(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                                  SIZE_T TotalBytes, MI_CACHE Cache, ULONG Node, ULONG Flags)
{
    MI_MDL_REQUEST Request = {.Want = BYTES_TO_PAGES(TotalBytes), .Node = Node};
    PFN_NUMBER Low = ((ULONG64)LowAddress.QuadPart + PAGE_SIZE - 1) >> PAGE_SHIFT;
    PFN_NUMBER High = (ULONG64)HighAddress.QuadPart >> PAGE_SHIFT, Skip = (ULONG64)SkipBytes.QuadPart >> PAGE_SHIFT;
    BOOLEAN All = (Flags & MM_ALLOCATE_FULLY_REQUIRED) != 0, Chunks = (Flags & MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS) != 0;
    KIRQL Irql = KiCurrentThread()->Irql;
    MiRequireIrql(DISPATCH_LEVEL, 0x7E, "Pages for an MDL were asked for above DISPATCH_LEVEL.", DISPATCH_LEVEL, 0);
    if (Request.Want == 0 || Request.Want > MI_MDL_PAGES_MAX || (Flags & ~(ULONG)MI_MDL_PAGES_KNOWN) || Low > High ||
        ((ULONG64)SkipBytes.QuadPart & (PAGE_SIZE - 1)) || Node >= MiState->Nodes ||
        ((Flags & MM_ALLOCATE_FAST_LARGE_PAGES) && !Chunks) ||
        ((Flags & MM_ALLOCATE_AND_HOT_REMOVE) && (All || Irql != PASSIVE_LEVEL))) {
        return NULL;
    }
    if (KiFailHere(KiResourcePages, 0, TotalBytes)) {
        return NULL;
    }
    Request.Zero = !(Flags & MM_DONT_ZERO_ALLOCATION);
    Request.LocalOnly = (Flags & MM_ALLOCATE_FROM_LOCAL_NODE_ONLY) != 0;
    Request.Anywhere = Low == 0 && High >= MiState->HighestPage;
    if (Chunks) {
        Request.Chunk = Skip ? Skip : Request.Want;
        All = Skip == 0 ? TRUE : All;
        if (Skip && ((Skip & (Skip - 1)) || Request.Want % Skip)) {
            return NULL;
        }
    }
    /* What there is commitment for: fewer pages are an answer too. */
    while (Request.Want && !MiChargeCommitment(Request.Want, NormalPoolPriority)) {
        if (All) {
            return NULL;
        }
        Request.Want -= Request.Want / 4 + 1;
        Request.Want -= Request.Chunk ? Request.Want % Request.Chunk : 0;
    }
    PMDL Mdl = Request.Want ? ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED,
                                              MmSizeOfMdl(NULL, Request.Want << PAGE_SHIFT), ' ldM')
                            : NULL;
    if (Mdl == NULL) {
        MiReturnCommitment(Request.Want);
        return NULL;
    }
    Request.Frames = MmGetMdlPfnArray(Mdl);
    if ((Flags & MM_ALLOCATE_PREFER_CONTIGUOUS) && !Chunks) {
        Request.Chunk = Request.Want;
        MiTakeRange(&Request, Low, High);
        Request.Chunk = 0;
    }
    BOOLEAN MayBlock = Irql < DISPATCH_LEVEL && !(Flags & MM_ALLOCATE_NO_WAIT);
    Request.Move = Chunks && MayBlock && !(Flags & MM_ALLOCATE_FAST_LARGE_PAGES);
    MiTakeRanges(&Request, Low, High, Chunks ? 0 : Skip);
    for (ULONG Idle = 0; Request.Got < Request.Want && MayBlock && MiThreshold(Plenty) && Idle < MI_MDL_TRIES;) {
        LONG Sequence = __atomic_load_n(&MiState->Pager.Available, __ATOMIC_SEQ_CST);
        if (!MiMakeRoom(Request.Want - Request.Got, (Flags & MM_ALLOCATE_TRIM_IF_NECESSARY) != 0)) {
            if (!(Flags & MM_ALLOCATE_TRIM_IF_NECESSARY)) {
                break;
            }
            /* A trimmer may be inside, or others take what we make: they get a moment. */
            Idle++;
            (VOID) HalWait(&MiState->Pager.Available, Sequence, HalQueryTime() + MI_MDL_MOMENT);
        }
        SIZE_T Got = Request.Got;
        MiTakeRanges(&Request, Low, High, Chunks ? 0 : Skip);
        Idle = Request.Got > Got ? 0 : Idle;
    }
    MiReturnCommitment(Request.Want - Request.Got);
    if (Request.Got == 0 || (All && Request.Got < Request.Want)) {
        MiGiveBack(Request.Frames, Request.Got);
        ExFreePoolWithTag(Mdl, ' ldM');
        return NULL;
    }
    for (SIZE_T Index = 0; Cache != MiCacheCached && Index < Request.Got; Index++) {
        MiSetFrameCache(Request.Frames[Index], 1, Cache);
    }
    if (Flags & MM_ALLOCATE_AND_HOT_REMOVE) {
        KiAcquireLock(&MiState->PfnLock);
        for (SIZE_T Index = 0; Index < Request.Got; Index++) {
            MiMarkRemovedLocked(MiPfn(Request.Frames[Index]));
        }
        KiReleaseLock(&MiState->PfnLock);
    }
    MmInitializeMdl(Mdl, NULL, Request.Got << PAGE_SHIFT);
    Mdl->Process = NULL;
    Mdl->MappedSystemVa = NULL;
    Mdl->MdlFlags = MDL_PAGES_LOCKED;
    MiCheckConditions();
    return Mdl;
}

/* DDI compliance, additional (0x00080000): memory below 4 GiB is asked for only by who has no better device. */
VOID MiCheckHighest(PHYSICAL_ADDRESS Highest, SIZE_T Bytes, const VOID *Caller)
{
    if ((ULONG64)Highest.QuadPart <= MAXULONG && KiVerifies(0x00080000, Caller)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "Physical memory below 4 GiB was asked for.", NULL, 0x141,
               (ULONG_PTR)Highest.QuadPart, Bytes, 0);
    }
}

PMDL MmAllocatePagesForMdl(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                           SIZE_T TotalBytes)
{
    MiCheckHighest(HighAddress, TotalBytes, __builtin_return_address(0));
    return MiAllocatePagesForMdl(LowAddress, HighAddress, SkipBytes, TotalBytes, MiCacheUndecided, MiCurrentNode(), 0);
}

PMDL MmAllocateNodePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                                 SIZE_T TotalBytes, MEMORY_CACHING_TYPE CacheType, ULONG IdealNode, ULONG Flags)
{
    MiCheckHighest(HighAddress, TotalBytes, __builtin_return_address(0));
    MI_CACHE Cache = MiCacheUndecided;
    (VOID) KiCurrentThread();
    if (CacheType != MmNotMapped && !MiCacheOfType(CacheType, &Cache)) {
        return NULL;
    }
    return MiAllocatePagesForMdl(LowAddress, HighAddress, SkipBytes, TotalBytes, Cache, IdealNode, Flags);
}

PMDL MmAllocatePartitionNodePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                                          SIZE_T TotalBytes, MEMORY_CACHING_TYPE CacheType, ULONG IdealNode, ULONG Flags,
                                          PVOID PartitionObject)
{
    return PartitionObject
               ? NULL
               : MmAllocateNodePagesForMdlEx(LowAddress, HighAddress, SkipBytes, TotalBytes, CacheType, IdealNode, Flags);
}

PMDL MmAllocatePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress, PHYSICAL_ADDRESS SkipBytes,
                             SIZE_T TotalBytes, MEMORY_CACHING_TYPE CacheType, ULONG Flags)
{
    MiCheckHighest(HighAddress, TotalBytes, __builtin_return_address(0));
    return MmAllocateNodePagesForMdlEx(LowAddress, HighAddress, SkipBytes, TotalBytes, CacheType, MiCurrentNode(), Flags);
}

static VOID MiFreePagesFromMdl(PMDL Mdl, BOOLEAN Zero)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(MmGetMdlVirtualAddress(Mdl), Mdl->ByteCount);
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    MiRequireIrql(DISPATCH_LEVEL, 0x7E, "MmFreePagesFromMdl was called above DISPATCH_LEVEL.", DISPATCH_LEVEL, 0);
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
