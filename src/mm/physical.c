/*
 * physical.c - what is where: virtual to physical and back, the ranges of RAM. SPDX-License-Identifier: MIT
 *
 * Virtual to physical walks the page tables, as the MMU would. Physical to virtual asks the frame database
 * for the entry that owns the frame and climbs from it to the root; a second mapping of the frame (an MDL's)
 * is never the answer. Host memory has no frames: it is valid if the host can read it, and its physical
 * address is 0.
 *
 * Locks: none for walks (tables stay until the system stops); PfnLock to ask for a frame's owner. Any IRQL.
 */
#include "mm/mi.h"

static BOOLEAN MmHave64BitPhysical = TRUE;
PVOID MmHighestUserAddress;
PVOID MmSystemRangeStart;
PVOID MmBadPointer; /* the last page of the kernel's range, which no region has */
ULONG_PTR MmUserProbeAddress;
PBOOLEAN Mm64BitPhysicalAddress = &MmHave64BitPhysical;

static BOOLEAN MiHoldsAddress(const MI_MAPPING *Mapping, PVOID Context)
{
    ULONG_PTR Va = *(ULONG_PTR *)Context;
    return Va - Mapping->Va < Mapping->Mapped << PAGE_SHIFT;
}

/* What a mapped hole is called: its entry names the frame that stands in for all holes. */
static PFN_NUMBER MiHoleAt(ULONG_PTR Va)
{
    MI_MAPPING Mapping;
    ULONG Cursor = 0, Skip = 0;
    if (!MiNextMapping(&Cursor, &Skip, MiHoldsAddress, &Va, &Mapping)) {
        return 0;
    }
    return Mapping.Mdl ? MmGetMdlPfnArray(Mapping.Mdl)[(Va - Mapping.Va) >> PAGE_SHIFT]
                       : Mapping.First + ((Va - Mapping.Va) >> PAGE_SHIFT);
}

/* Who asks where memory is gives it to a device, or will map it again: from then on it is written to unseen. Contiguous memory is asked
 * for once, at its start. */
static VOID MiMarkShared(ULONG_PTR Va)
{
#ifdef KI_MSAN
    MI_MAPPING Mapping;
    ULONG Cursor = 0, Skip = 0;
    if (MmRegionOf((PVOID)Va) == MmRegionSystemPtes && MiNextMapping(&Cursor, &Skip, MiHoldsAddress, &Va, &Mapping) &&
        Mapping.Kind == MiMappingContiguous) {
        KiMarkWritten(Mapping.Va, Mapping.Mapped << PAGE_SHIFT);
        return;
    }
#endif
    KiMarkWritten(Va, PAGE_SIZE - (Va & (PAGE_SIZE - 1)));
    UNREFERENCED_PARAMETER(Va);
}

PHYSICAL_ADDRESS MmGetPhysicalAddress(PVOID BaseAddress)
{
    PHYSICAL_ADDRESS Physical = {.QuadPart = 0};
    ULONG_PTR Va = (ULONG_PTR)BaseAddress;
    (VOID) KiCurrentThread();
    if (HalIsSystemAddress(Va) || HalIsUserAddress(Va)) {
        PMMPTE Pte = HalIsSystemAddress(Va) || MiIsCurrentVa(Va) ? MiPteOf(Va) : NULL; /* another process's: none */
        MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
        if (MiPteIsValid(Entry)) {
            PFN_NUMBER Page = MiPtePage(Entry);
            if (__builtin_expect(Page == MiState->HolePage && Page != 0, 0)) {
                Page = MiHoleAt(Va);
            }
            Physical.QuadPart = (LONGLONG)((Page << PAGE_SHIFT) | (Va & (PAGE_SIZE - 1)));
            MiMarkShared(Va);
        }
    }
    return Physical;
}

BOOLEAN MmIsPageableAddress(const VOID *Address)
{
    MI_REGION *Region = MiRegionOfVa((ULONG_PTR)Address);
    PMMPTE Pte = Region && Region->Id != MmRegionKernelStacks ? MiPteOf((ULONG_PTR)Address) : NULL;
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    return !MiPteIsZero(Entry) && (!Region->Resident || !MiPteIsValid(Entry) || MiPteIsInWorkingSet(Entry));
}

BOOLEAN MmIsPhysicalMemory(PFN_NUMBER Page)
{
    return MiRunOfPage(Page) != NULL;
}

PVOID MmGetVirtualForPhysical(PHYSICAL_ADDRESS PhysicalAddress)
{
    (VOID) KiCurrentThread();
    PMMPFN Pfn = MiPfn((PFN_NUMBER)PhysicalAddress.QuadPart >> PAGE_SHIFT);
    PMMPTE Pte = NULL;
    if (Pfn == NULL) {
        return NULL;
    }
    KiAcquireLock(&MiState->PfnLock);
    if (Pfn->State == MiPageActive && !(Pfn->Flags & MI_PFN_TABLE)) {
        Pte = Pfn->PteAddress;
    }
    ULONG_PTR Va = Pte ? MiVaOfPte(Pte) : 0;
    KiReleaseLock(&MiState->PfnLock);
    return Va ? (PVOID)(Va | ((ULONG_PTR)PhysicalAddress.QuadPart & (PAGE_SIZE - 1))) : NULL;
}

BOOLEAN MmIsAddressValid(PVOID VirtualAddress)
{
    ULONG_PTR Va = (ULONG_PTR)VirtualAddress;
    (VOID) KiCurrentThread();
    if (HalIsSystemAddress(Va) || HalIsUserAddress(Va)) {
        PMMPTE Pte = HalIsSystemAddress(Va) || MiIsCurrentVa(Va) ? MiPteOf(Va) : NULL;
        return Pte != NULL && MiPteIsValid(MiReadPte(Pte));
    }
    return HalProbeHostMemory(VirtualAddress, 1, FALSE);
}

BOOLEAN MmIsNonPagedSystemAddressValid(PVOID VirtualAddress)
{
    MI_REGION *Region = MiRegionOfVa((ULONG_PTR)VirtualAddress);
    return Region != NULL && Region->Resident && MmIsAddressValid(VirtualAddress);
}

MM_SYSTEMSIZE MmQuerySystemSize(VOID)
{
    (VOID) KiCurrentThread();
    ULONG64 Mebibytes = MiState->TotalPages >> (20 - PAGE_SHIFT);
    return Mebibytes < 32 ? MmSmallSystem : Mebibytes < 512 ? MmMediumSystem : MmLargeSystem;
}

/* Page-ins are the machine's: no file system driver, and so no driver, runs in one. */
BOOLEAN MmIsRecursiveIoFault(VOID)
{
    (VOID) KiCurrentThread();
    return FALSE;
}

BOOLEAN MmIsThisAnNtAsSystem(VOID)
{
    return FALSE;
}
