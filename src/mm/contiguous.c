/*
 * contiguous.c - memory whose frames follow each other, for devices that address memory physically.
 * SPDX-License-Identifier: MIT
 *
 * MmAllocateContiguousMemory and its forms, and MmAllocateNonCachedMemory (which promises whole uncached
 * pages only). The frames come from MiTakeContiguous with the caller's bounds and boundary, the addresses
 * from the system-PTE region, and each entry owns its frame: so MmGetVirtualForPhysical answers with it, and
 * an MDL over it can be built or locked. A block is known by its first frame's CONTIGUOUS flag and by the
 * exact run of addresses; freeing anything else is 0xC2/0x60. There is one NUMA node, 0; another one asked
 * for without MM_ANY_NODE_OK has no memory.
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
            Pfn->PteFrame = (ULONG)HalWindowPage(Pte);
            Pfn->Flags = (UCHAR)((Pfn->Flags & ~MI_PFN_UNMAPPED) | (Done + Index == 0 ? MI_PFN_CONTIGUOUS : 0));
        }
        KiReleaseLock(&MiState->PfnLock);
        Done += Piece;
    }
    MiMapFrames(Va, Pages, NULL, Base, MiPteValid(0, Protection, FALSE));
}

static PVOID MiAllocateContiguous(SIZE_T Bytes, PHYSICAL_ADDRESS Lowest, PHYSICAL_ADDRESS Highest, PHYSICAL_ADDRESS Boundary,
                                  MI_PROT Protection, ULONG Node)
{
    SIZE_T Pages = BYTES_TO_PAGES(Bytes);
    ULONG64 Low = ((ULONG64)Lowest.QuadPart + PAGE_SIZE - 1) >> PAGE_SHIFT, High = (ULONG64)Highest.QuadPart >> PAGE_SHIFT;
    ULONG64 Limit = (ULONG64)Boundary.QuadPart;
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    (VOID) KiCurrentThread();
    if (KiFailHere(KiResourcePages, 0, Bytes)) {
        return NULL;
    }
    if (((ULONG64)Highest.QuadPart & (PAGE_SIZE - 1)) != PAGE_SIZE - 1) { /* the page of the highest byte must be whole */
        if (High == 0) {
            return NULL;
        }
        High--;
    }
    if (Pages == 0 || Protection == MI_PROT_INVALID || !MiProtAllowsAccess(Protection) || (Limit & (Limit - 1)) ||
        (Limit && Limit < PAGE_SIZE) || (Node != 0 && !(Node & MM_ANY_NODE_OK)) ||
        !MiChargeCommitment(Pages, NormalPoolPriority)) {
        return NULL;
    }
    ULONG_PTR Va = MiReserveSystemPtes(Pages, 0);
    if (Va == 0 || !MiTakeContiguous(Pages, Low, High, Limit >> PAGE_SHIFT, &Base, &Dirty)) {
        if (Va) {
            MiReleaseSystemPtes(Va, Pages);
        }
        MiReturnCommitment(Pages);
        return NULL;
    }
    MiMapOwned(Va, Pages, Base, Protection);
    MiCheckConditions();
    return (PVOID)Va;
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
    MiDecommit(Region, Va, Actual);
    MiFreeVa(Region, Va, Actual);
    return TRUE;
}

static const PHYSICAL_ADDRESS MiNoAddress;

PVOID MmAllocateContiguousMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS HighestAcceptableAddress)
{
    return MiAllocateContiguous(NumberOfBytes, MiNoAddress, HighestAcceptableAddress, MiNoAddress, MI_PROT_EXECUTE_READWRITE,
                                MM_ANY_NODE_OK);
}

PVOID MmAllocateContiguousMemorySpecifyCache(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                             PHYSICAL_ADDRESS HighestAcceptableAddress,
                                             PHYSICAL_ADDRESS BoundaryAddressMultiple, MEMORY_CACHING_TYPE CacheType)
{
    return MiAllocateContiguous(NumberOfBytes, LowestAcceptableAddress, HighestAcceptableAddress, BoundaryAddressMultiple,
                                MiCacheProtection(MI_PROT_EXECUTE_READWRITE, CacheType), MM_ANY_NODE_OK);
}

PVOID MmAllocateContiguousMemorySpecifyCacheNode(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                                 PHYSICAL_ADDRESS HighestAcceptableAddress,
                                                 PHYSICAL_ADDRESS BoundaryAddressMultiple, MEMORY_CACHING_TYPE CacheType,
                                                 NODE_REQUIREMENT PreferredNode)
{
    return MiAllocateContiguous(NumberOfBytes, LowestAcceptableAddress, HighestAcceptableAddress, BoundaryAddressMultiple,
                                MiCacheProtection(MI_PROT_EXECUTE_READWRITE, CacheType), PreferredNode);
}

PVOID MmAllocateContiguousNodeMemory(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS LowestAcceptableAddress,
                                     PHYSICAL_ADDRESS HighestAcceptableAddress, PHYSICAL_ADDRESS BoundaryAddressMultiple,
                                     ULONG Protect, NODE_REQUIREMENT PreferredNode)
{
    MI_PROT Protection = MiMakeProtection(Protect);
    if ((Protection & MI_PROT_BASE) != MI_PROT_READWRITE && (Protection & MI_PROT_BASE) != MI_PROT_EXECUTE_READWRITE) {
        return NULL;
    }
    if (MiProtIsGuard(Protection)) {
        return NULL;
    }
    return MiAllocateContiguous(NumberOfBytes, LowestAcceptableAddress, HighestAcceptableAddress, BoundaryAddressMultiple,
                                Protection, PreferredNode);
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
    PHYSICAL_ADDRESS Any = {.QuadPart = -1};
    return MiAllocateContiguous(NumberOfBytes, MiNoAddress, Any, MiNoAddress, MI_PROT_READWRITE | MI_PROT_NOCACHE,
                                MM_ANY_NODE_OK);
}

VOID MmFreeNonCachedMemory(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
    MmFreeContiguousMemorySpecifyCache(BaseAddress, NumberOfBytes, MmNonCached);
}
