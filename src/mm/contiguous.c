/*
 * contiguous.c - memory whose frames follow each other, for devices that address memory physically.
 * SPDX-License-Identifier: MIT
 *
 * MmAllocateContiguousMemory and its forms, and MmAllocateNonCachedMemory (which promises whole uncached pages only). The
 * frames come from MiTakeContiguous with the caller's bounds and boundary, the addresses from the system-PTE region, and
 * each entry owns its frame: so MmGetVirtualForPhysical answers with it, and an MDL over it can be built or locked. A
 * block is known by its first frame's CONTIGUOUS flag, its record (mapping.c) and the exact run of addresses; freeing
 * anything else is 0xC2/0x60.
 *
 * Nodes: a block lies within one node, the one asked for or, with MM_ANY_NODE_OK, the nearest that can hold it if that one cannot;
 * a block that no node can hold may straddle nodes where any will do. MM_ANY_NODE_OK without a node that is there: the caller's. Where no stretch of frames is free, pages that can move are moved
 * out of the way (movepage.c), unless the caller is at DISPATCH_LEVEL or said MM_ALLOCATE_CONTIGUOUS_MEMORY_FAST_ONLY.
 *
 * Freeing while an MDL still has pages of it locked is 0x4E/0x9A.
 * Locks: as pages.c and pfn.c. IRQL <= DISPATCH_LEVEL.
 */
#include "mm/mi.h"

/* Makes the entries of [Va, Va + Pages) own the frames from Base on. */
static VOID MiMapOwned(ULONG_PTR Va, SIZE_T Pages, PFN_NUMBER Base, MI_PROT Protection)
{
    for (SIZE_T Done = 0; Done < Pages;) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At);
        Piece = Pages - Done < Piece ? (ULONG)(Pages - Done) : Piece;
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Piece; Index++) {
            PMMPFN Pfn = MiPfn(Base + Done + Index);
            Pfn->PteAddress = Pte + Index;
            Pfn->Flags = (USHORT)((Pfn->Flags & ~MI_PFN_UNMAPPED) | (Done + Index == 0 ? MI_PFN_CONTIGUOUS : 0));
        }
        KiReleaseLock(&MiState->PfnLock);
        Done += Piece;
    }
    MiMapFrames(Va, Pages, NULL, Base, MiPteValid(0, Protection, FALSE));
}

/* Frames for a block, from the nodes in the order that Node asks for. */
static BOOLEAN MiTakeOnNodes(SIZE_T Pages, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Boundary, ULONG Node, BOOLEAN Move,
                             PFN_NUMBER *Base)
{
    BOOLEAN Any = (Node & MM_ANY_NODE_OK) != 0, Dirty;
    ULONG Ideal = Node & ~MM_ANY_NODE_OK;
    Ideal = Ideal < MiState->Nodes ? Ideal : MiCurrentNode();
    /* Another node before moving pages, and moving them before a block in two nodes. */
    for (ULONG Pass = 0; Pass < (Any && MiState->Nodes > 1 ? 4 : 2); Pass++) {
        BOOLEAN Moving = Pass & 1, Across = Pass > 1;
        for (ULONG Turn = 0; Turn < (Any && !Across ? MiState->Nodes : 1) && (Move || !Moving); Turn++) {
            PFN_NUMBER First = Low, Last = High;
            if ((Across || MiClipToNode(MiState->Node[Ideal].Order[Turn], &First, &Last)) &&
                (Moving ? MiMoveAndTake(Pages, First, Last, Boundary, Base)
                        : MiTakeContiguous(Pages, First, Last, Boundary, Base, &Dirty))) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

typedef struct _MI_CONTIGUOUS_REQUEST {
    SIZE_T Bytes;
    PHYSICAL_ADDRESS Lowest, Highest, Boundary;
    MI_PROT Protection;
    ULONG Node, Tag;
    BOOLEAN FastOnly;
} MI_CONTIGUOUS_REQUEST;

static NTSTATUS MiAllocateContiguous(const MI_CONTIGUOUS_REQUEST *Request, PVOID *Address)
{
    SIZE_T Pages = BYTES_TO_PAGES(Request->Bytes);
    ULONG64 Low = ((ULONG64)Request->Lowest.QuadPart + PAGE_SIZE - 1) >> PAGE_SHIFT;
    ULONG64 High = (ULONG64)Request->Highest.QuadPart >> PAGE_SHIFT, Limit = (ULONG64)Request->Boundary.QuadPart;
    PFN_NUMBER Base;
    BOOLEAN Move = KiCurrentThread()->Irql < DISPATCH_LEVEL && !Request->FastOnly;
    if (KiFailHere(KiResourcePages, 0, Request->Bytes)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (((ULONG64)Request->Highest.QuadPart & (PAGE_SIZE - 1)) != PAGE_SIZE - 1) { /* the highest byte's page must be whole */
        if (High == 0) {
            return STATUS_INVALID_PARAMETER;
        }
        High--;
    }
    if (Pages == 0 || Request->Protection == MI_PROT_INVALID || !MiProtAllowsAccess(Request->Protection) ||
        (Limit & (Limit - 1)) || (Limit && Limit < PAGE_SIZE) || Low > High ||
        (!(Request->Node & MM_ANY_NODE_OK) && Request->Node >= MiState->Nodes)) {
        return STATUS_INVALID_PARAMETER;
    }
    if (!MiChargeCommitment(Pages, NormalPoolPriority)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    ULONG_PTR Va = Pages <= MAXULONG ? MiReserveSystemPtes(Pages, 0) : 0;
    MI_MAPPING Mapping = {.Va = Va, .Pages = Pages, .Mapped = Pages, .Tag = Request->Tag, .Kind = MiMappingContiguous};
    BOOLEAN Recorded = Va && MiRecordMapping(&Mapping);
    if (!Recorded || !MiTakeOnNodes(Pages, Low, High, Limit >> PAGE_SHIFT, Request->Node, Move, &Base)) {
        if (Recorded) {
            (VOID) MiForgetMapping(Va);
        }
        if (Va) {
            MiReleaseSystemPtes(Va, Pages);
        }
        MiReturnCommitment(Pages);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MiMapOwned(Va, Pages, Base, Request->Protection);
    MiSetFrameCache(Base, Pages, MiCacheOfProtection(Request->Protection));
    MiCheckConditions();
    KiMarkUnwritten(Va, Pages << PAGE_SHIFT);
    *Address = (PVOID)Va;
    return STATUS_SUCCESS;
}

/* Frees the block at Base. Pages 0: whatever its size is. FALSE: there is no such block. */
static BOOLEAN MiFreeContiguous(PVOID BaseAddress, SIZE_T Pages)
{
    ULONG_PTR Va = (ULONG_PTR)BaseAddress;
    MI_REGION *Region = MiRegionOfVa(Va);
    SIZE_T Actual = 0;
    if (Region == NULL || Region->Id != MmRegionSystemPtes || (Va & (PAGE_SIZE - 1))) {
        return FALSE;
    }
    PMMPTE Pte = MiPteOf(Va);
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    PMMPFN Pfn = MiPteIsValid(Entry) && !MiPteIsIoSpace(Entry) ? MiPfn(MiPtePage(Entry)) : NULL;
    MI_VA_CHECK Check = MiCheckVa(Region, Va, Pages ? Pages : 1, &Actual);
    if (Pfn == NULL || (Check != MiVaExact && (Pages || Check != MiVaWrongSize))) {
        return FALSE;
    }
    PFN_NUMBER First = MiPtePage(Entry), Locked = 0;
    ULONG References = 0;
    KiAcquireLock(&MiState->PfnLock);
    BOOLEAN Mine = Pfn->PteAddress == Pte && (Pfn->Flags & MI_PFN_CONTIGUOUS);
    for (PFN_NUMBER Page = First; Mine && Page < First + Actual; Page++) {
        if (MiPfn(Page)->ReferenceCount > 1) {
            Locked = Page;
            References = MiPfn(Page)->ReferenceCount;
            break;
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    if (!Mine) {
        return FALSE;
    }
    if (References) {
        KiStop(PFN_LIST_CORRUPT, "Contiguous memory was freed while an MDL still has pages of it locked.", BaseAddress, 0x9A,
               Locked, MiPageActive, References);
    }
    if (!MiForgetMapping(Va)) {
        return FALSE; /* another thread frees it too */
    }
    KiMarkWritten(Va, Actual << PAGE_SHIFT);
    MiDecommit(Region, Va, Actual);
    MiFreeVa(Region, Va, Actual);
    return TRUE;
}

static const PHYSICAL_ADDRESS MiNoAddress;

static MI_PROT MiCacheProtection(MEMORY_CACHING_TYPE CacheType)
{
    MI_CACHE Cache;
    return MiCacheOfType(CacheType, &Cache) ? MiProtectionWithCache(MI_PROT_EXECUTE_READWRITE, Cache) : MI_PROT_INVALID;
}
static MI_PROT MiContiguousProtection(ULONG Protect)
{
    MI_PROT Protection = MiMakeProtection(Protect), Base = Protection & MI_PROT_BASE;
    if (Protection == MI_PROT_INVALID || (Base != MI_PROT_READWRITE && Base != MI_PROT_EXECUTE_READWRITE) ||
        MiProtIsGuard(Protection)) {
        return MI_PROT_INVALID;
    }
    return Protection;
}

PVOID MmAllocateContiguousMemorySpecifyCacheNode(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                 PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                 PHYSICAL_ADDRESS BoundaryAddressMultiple, MEMORY_CACHING_TYPE CacheType,
                                                 NODE_REQUIREMENT PreferredNode)
{
    MiCheckHighest(HighestAcceptableAddress, NumberOfBytes, __builtin_return_address(0));
    MI_CONTIGUOUS_REQUEST Request = {NumberOfBytes,
                                     LowestAcceptableAddress,
                                     HighestAcceptableAddress,
                                     BoundaryAddressMultiple,
                                     MiCacheProtection(CacheType),
                                     PreferredNode,
                                     0,
                                     FALSE};
    PVOID Address;
    return NT_SUCCESS(MiAllocateContiguous(&Request, &Address)) ? Address : NULL;
}

PVOID MmAllocateContiguousMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress)
{
    MiCheckHighest(HighestAcceptableAddress, NumberOfBytes, __builtin_return_address(0));
    return MmAllocateContiguousMemorySpecifyCacheNode(NumberOfBytes, MiNoAddress, HighestAcceptableAddress, MiNoAddress,
                                                      MmCached, MM_ANY_NODE_OK | KeGetCurrentNodeNumber());
}

PVOID MmAllocateContiguousMemorySpecifyCache(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                             PHYSICAL_ADDRESS HighestAcceptableAddress,
                                             PHYSICAL_ADDRESS BoundaryAddressMultiple, MEMORY_CACHING_TYPE CacheType)
{
    MiCheckHighest(HighestAcceptableAddress, NumberOfBytes, __builtin_return_address(0));
    return MmAllocateContiguousMemorySpecifyCacheNode(NumberOfBytes, LowestAcceptableAddress, HighestAcceptableAddress,
                                                      BoundaryAddressMultiple, CacheType,
                                                      MM_ANY_NODE_OK | KeGetCurrentNodeNumber());
}

PVOID MmAllocateContiguousNodeMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                     PHYSICAL_ADDRESS HighestAcceptableAddress, PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                     ULONG Protect, NODE_REQUIREMENT PreferredNode)
{
    MI_CONTIGUOUS_REQUEST Request = {NumberOfBytes,
                                     LowestAcceptableAddress,
                                     HighestAcceptableAddress,
                                     BoundaryAddressMultiple,
                                     MiContiguousProtection(Protect),
                                     PreferredNode,
                                     0,
                                     FALSE};
    PVOID Address;
    MI_VERIFY_PROTECTION(MiContiguousProtection(Protect), Protect);
    return NT_SUCCESS(MiAllocateContiguous(&Request, &Address)) ? Address : NULL;
}

NTSTATUS MmAllocateContiguousMemoryEx(PSIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                      PHYSICAL_ADDRESS HighestAcceptableAddress, PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                      NODE_REQUIREMENT PreferredNode, ULONG Protect, PVOID PartitionObject, ULONG Tag,
                                      ULONG Flags, PVOID *BaseAddress)
{
    MI_CONTIGUOUS_REQUEST Request = {*NumberOfBytes,
                                     LowestAcceptableAddress,
                                     HighestAcceptableAddress,
                                     BoundaryAddressMultiple,
                                     MiContiguousProtection(Protect),
                                     PreferredNode,
                                     Tag,
                                     (Flags & MM_ALLOCATE_CONTIGUOUS_MEMORY_FAST_ONLY) != 0};
    MI_VERIFY_PROTECTION(MiContiguousProtection(Protect), Protect);
    *BaseAddress = NULL;
    if ((Flags & ~(ULONG)MM_ALLOCATE_CONTIGUOUS_MEMORY_FAST_ONLY) || Tag == 0 || PartitionObject != NULL) {
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = MiAllocateContiguous(&Request, BaseAddress);
    if (NT_SUCCESS(Status)) {
        *NumberOfBytes = ROUND_TO_PAGES(Request.Bytes);
    }
    return Status;
}

VOID MmFreeContiguousMemory(PVOID BaseAddress)
{
    (VOID) KiCurrentThread();
    if (!MiFreeContiguous(BaseAddress, 0)) {
        KiStop(BAD_POOL_CALLER, "MmFreeContiguousMemory was given an address that is not the start of contiguous memory.", NULL,
               0x60, (ULONG_PTR)BaseAddress, 0, 0);
    }
}

VOID MmFreeContiguousMemorySpecifyCache(PVOID BaseAddress, SIZE_T NumberOfBytes, MEMORY_CACHING_TYPE CacheType)
{
    UNREFERENCED_PARAMETER(CacheType);
    (VOID) KiCurrentThread();
    if (!MiFreeContiguous(BaseAddress, BYTES_TO_PAGES(NumberOfBytes))) {
        KiStop(BAD_POOL_CALLER,
               "MmFreeContiguousMemorySpecifyCache was given an address or a size that is not that of "
               "contiguous memory.",
               NULL, 0x60, (ULONG_PTR)BaseAddress, 0, 0);
    }
}

PVOID MmAllocateNonCachedMemory(SIZE_T NumberOfBytes)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    SIZE_T Pages = BYTES_TO_PAGES(NumberOfBytes);
    (VOID) KiCurrentThread();
    ULONG_PTR Va = Pages && Pages <= MAXULONG ? MiAllocateVa(Region, Pages) : 0;
    MI_MAPPING Mapping = {.Va = Va, .Pages = Pages, .Mapped = Pages, .Kind = MiMappingNonCached};
    BOOLEAN Recorded = Va && MiRecordMapping(&Mapping);
    if (Recorded && NT_SUCCESS(MiCommit(Region, Va, Pages, MI_PROT_READWRITE | MI_PROT_NOCACHE, 0, NormalPoolPriority))) {
        for (SIZE_T Page = 0; Page < Pages; Page++) {
            MiSetFrameCache(MiPtePage(MiReadPte(MiPteOf(Va + (Page << PAGE_SHIFT)))), 1, MiCacheNone);
        }
        return (PVOID)Va;
    }
    if (Recorded) {
        (VOID) MiForgetMapping(Va);
    }
    if (Va) {
        MiFreeVa(Region, Va, Pages);
    }
    MiCount(&Region->Failures);
    return NULL;
}

VOID MmFreeNonCachedMemory(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    ULONG_PTR Va = (ULONG_PTR)BaseAddress;
    SIZE_T Pages = BYTES_TO_PAGES(NumberOfBytes);
    MI_MAPPING Mapping;
    (VOID) KiCurrentThread();
    if (!MiFindMapping(Va, &Mapping) || Mapping.Kind != MiMappingNonCached || Mapping.Pages != Pages || !MiForgetMapping(Va)) {
        KiStop(BAD_POOL_CALLER, "MmFreeNonCachedMemory was given an address or a size that is not that of memory it may free.",
               NULL, 0x60, Va, 0, 0);
    }
    MiDecommit(Region, Va, Pages);
    MiFreeVa(Region, Va, Pages);
}
