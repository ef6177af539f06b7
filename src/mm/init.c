/*
 * init.c - starting and stopping the memory manager, and its counters. SPDX-License-Identifier: MIT
 *
 * Order: regions are laid out from the size of RAM (addresses only), so the bitmaps' size is known; the frame
 * database carves them and itself out of RAM; the root page table takes the first frame; the machine is told
 * to walk it; faults are asked for. Nothing here touches memory in proportion to RAM: 16 GiB start as fast as
 * 16 MiB.
 */
#include "mm/mi.h"

#define MI_LEAST_PAGES 32 /* managed frames below which nothing useful can run */

NTSTATUS MmInitSystem(const HAL_RUN *Runs, ULONG RunCount)
{
    PVOID Bitmaps = NULL;
    ULONG64 RamPages = 0;
    PFN_NUMBER Root;
    BOOLEAN Dirty;
    memset(MiState, 0, sizeof(*MiState));
    for (ULONG Index = 0; Index < RunCount; Index++) {
        RamPages += Runs[Index].Device ? 0 : Runs[Index].PageCount;
    }
    ULONG64 BitmapPages = MiLayOutRegions(RamPages);
    NTSTATUS Status = MiInitializeFrames(Runs, RunCount, BitmapPages, &Bitmaps);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    MiLayOutNodes();
    ULONG64 Managed = MiState->TotalPages - MiState->CorePages;
    if (Managed < MI_LEAST_PAGES) {
        return STATUS_NO_MEMORY;
    }
    MiInitializeRegions(Bitmaps);
    MiInitializeImages();
    /* The reserve: frames that promises never cover, so that the choice of frames is never down to the last
     * one. */
    MiState->RamCommit = Managed - (Managed / 256 < 64 ? Managed / 256 : 64);
    MiState->CommitLimit = MiState->CommitMaximum = MiState->RamCommit;
    (VOID) MiChargeCommitment(1, HighPoolPriority);
    (VOID) MiTakeFrames(1, MI_TAKE_ZEROED | MI_TAKE_TABLE, NULL, &Root, &Dirty);
    MiState->Root = Root;
    MiState->TablePages = 1;
    MiInitializeWorkingSet(&MiState->SystemWorkingSet, Root, FALSE, MiState->Regions[MmRegionPagedPool].Base,
                           MiState->Regions[MmRegionPagedPool].End);
    MiAddWorkingSetRange(&MiState->SystemWorkingSet, MiState->Regions[MmRegionDriverImages].Base,
                         MiState->Regions[MmRegionDriverImages].End);
    MiAddWorkingSetRange(&MiState->SystemWorkingSet, MiState->Regions[MmRegionPagedSpecialPool].Base,
                         MiState->Regions[MmRegionPagedSpecialPool].End);
    MiAddWorkingSetRange(&MiState->SystemWorkingSet, MiState->Regions[MmRegionKernelStacks].Base,
                         MiState->Regions[MmRegionKernelStacks].End);
    MiAddWorkingSetRange(&MiState->SystemWorkingSet, MiState->Regions[MmRegionSystemPtes].Base,
                         MiState->Regions[MmRegionSystemPtes].End); /* views of sections */
    MiInitializeSections();
    MiSetPagingThresholds();
    HalSetRootTable(Root);
    InitializeListHead(&MiState->VadFrames);
    Status = MiInitializeSpaces();
    if (!NT_SUCCESS(Status)) {
        HalSetRootTable(0);
        return Status;
    }
    KiAccessFaultRoutine = MmAccessFault;
    MiOfferStackSwapping(TRUE);
    MmHighestUserAddress = (PVOID)(HalFacts.UserEnd - 0x10000 - 1);
    MmSystemRangeStart = (PVOID)HalFacts.SystemBase;
    MmBadPointer = (PVOID)(HalFacts.SystemEnd - PAGE_SIZE);
    MmUserProbeAddress = HalFacts.UserEnd - 0x10000;
    MiState->Started = TRUE;
    MiUpdateConditions();
    return STATUS_SUCCESS;
}

VOID MmShutdownSystem(VOID)
{
    if (MiState->Started) {
        MiOfferStackSwapping(FALSE);
        MiClosePageFiles();
        KiSetSystemSpace(NULL);
        HalSetRootTable(0);
        HalFlushEntireTb();
        KiAccessFaultRoutine = NULL;
        MiState->Started = FALSE;
    }
}

VOID MmQueryCounters(MM_COUNTERS *Counters)
{
    KiAcquireLock(&MiState->PfnLock);
    const ULONG64 Cleaning = MiState->Pager.ZeroingPages; /* free pages on their way to zeroed ones: nobody has them */
    Counters->TotalPages = MiState->TotalPages;
    Counters->ZeroedPages = MiState->StateCount[MiPageZeroed];
    Counters->FreePages = MiState->StateCount[MiPageFree] + Cleaning;
    Counters->StandbyPages = MiState->StateCount[MiPageStandby];
    Counters->ModifiedPages =
        MiState->StateCount[MiPageModified] + MiState->StateCount[MiPageModifiedNoWrite] + MiState->StateCount[MiPageMapped];
    Counters->MappedModifiedPages = MiState->StateCount[MiPageMapped];
    Counters->MappedWrites = MiState->Pager.MappedWrites;
    Counters->MappedPagesWritten = MiState->Pager.MappedPagesWritten;
    Counters->MappedWriteErrors = MiState->Pager.MappedWriteErrors;
    Counters->BadPages = MiState->StateCount[MiPageBad];
    Counters->AvailablePages = MiAvailable() + Cleaning;
    Counters->ModifiedNoWritePages = MiState->StateCount[MiPageModifiedNoWrite];
    Counters->TransitionPages = MiState->StateCount[MiPageTransition] - Cleaning;
    for (ULONG Priority = 0; Priority < MI_PRIORITIES; Priority++) {
        Counters->StandbyByPriority[Priority] = 0;
        for (ULONG Node = 0; Node < MiState->Nodes; Node++) {
            Counters->StandbyByPriority[Priority] += MiState->Node[Node].Standby[Priority].Total;
        }
    }
    Counters->LockedFrames = MiState->LockedFrames;
    Counters->NonPageableFrames = MiState->NonPageableFrames;
    Counters->PageReads = MiState->Pager.PageReads;
    Counters->PagesRead = MiState->Pager.PagesRead;
    Counters->PageWrites = MiState->Pager.PageWrites;
    Counters->PagesWritten = MiState->Pager.PagesWritten;
    Counters->WriteErrors = MiState->Pager.WriteErrors;
    Counters->RepurposedPages = MiState->Pager.RepurposedPages;
    Counters->ActivePages =
        MiState->CorePages + MiState->StateCount[MiPageActive] + MiState->StateCount[MiPageTransition] - Cleaning;
    KiReleaseLock(&MiState->PfnLock);
    Counters->Committed = __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
    Counters->CommitLimit = __atomic_load_n(&MiState->CommitLimit, __ATOMIC_RELAXED);
    Counters->CommitMaximum = __atomic_load_n(&MiState->CommitMaximum, __ATOMIC_RELAXED);
    Counters->CommitFailures = __atomic_load_n(&MiState->CommitFailures, __ATOMIC_RELAXED);
    Counters->ProcessWorkingSetPages = MiProcessWorkingSetPages();
    Counters->TablePages = __atomic_load_n(&MiState->TablePages, __ATOMIC_RELAXED);
    Counters->PeakCommit = __atomic_load_n(&MiState->PeakCommit, __ATOMIC_RELAXED);
    Counters->SystemWorkingSetPages = __atomic_load_n(&MiState->SystemWorkingSet.Pages, __ATOMIC_RELAXED);
    Counters->CollidedFaults = __atomic_load_n(&MiState->Pager.CollidedFaults, __ATOMIC_RELAXED);
    Counters->InPageErrors = __atomic_load_n(&MiState->Pager.InPageErrors, __ATOMIC_RELAXED);
    Counters->TrimmedPages = __atomic_load_n(&MiState->Pager.TrimmedPages, __ATOMIC_RELAXED);
    Counters->AgedPages = __atomic_load_n(&MiState->Pager.AgedPages, __ATOMIC_RELAXED);
    Counters->PageWaits = __atomic_load_n(&MiState->Pager.PageWaits, __ATOMIC_RELAXED);
    Counters->ZeroedByThread = __atomic_load_n(&MiState->Pager.ZeroedByThread, __ATOMIC_RELAXED);
    Counters->DemandZeroFaults = __atomic_load_n(&MiState->DemandZeroFaults, __ATOMIC_RELAXED);
    Counters->SoftFaults = __atomic_load_n(&MiState->SoftFaults, __ATOMIC_RELAXED);
    Counters->HardFaults = __atomic_load_n(&MiState->HardFaults, __ATOMIC_RELAXED);
    Counters->CopyOnWriteFaults = __atomic_load_n(&MiState->CopyOnWriteFaults, __ATOMIC_RELAXED);
    Counters->RelocationFaults = __atomic_load_n(&MiState->RelocationFaults, __ATOMIC_RELAXED);
    Counters->GuardFaults = __atomic_load_n(&MiState->GuardFaults, __ATOMIC_RELAXED);
    Counters->AccessViolations = __atomic_load_n(&MiState->AccessViolations, __ATOMIC_RELAXED);
    Counters->AllFaults = __atomic_load_n(&MiState->AllFaults, __ATOMIC_RELAXED);
}
