/*
 * mdluser.c - MDLs mapped into the user range of a process. SPDX-License-Identifier: MIT
 *
 * MmMapLockedPagesSpecifyCache(UserMode) shows the MDL's frames at a user address of the current process: at one asked for
 * (rounded down to a page), else anywhere. Such a mapping is never executable, raises instead of returning, is unmapped in
 * the process that it was made in, and dies with it: MiUnmapProcessMdls. It is not the MDL's system mapping, so MdlFlags
 * and MappedSystemVa say nothing of it; an MDL may have several. The record (mapping.c) bears the process.
 *
 * MmMapUserAddressesToPage points a range of such a mapping at one frame instead (the device behind it is gone).
 *
 * Locks: as region.c and mapping.c. IRQL <= APC_LEVEL.
 */
#include "mm/mi.h"

static struct _KPROCESS *MiProcessNow(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    return Thread->AttachedProcess ? Thread->AttachedProcess : Thread->Process;
}

/* Addresses of the current process, with page tables. */
static NTSTATUS MiTakeUserRange(PVOID Requested, SIZE_T Pages, ULONG_PTR *Va)
{
    MI_REGION *Region = &MiState->Regions[MmRegionUser];
    *Va = Requested ? (ULONG_PTR)PAGE_ALIGN(Requested) : MiAllocateVa(Region, Pages);
    if (Requested && !MiAllocateVaAt(Region, *Va, Pages)) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    if (*Va == 0 || !MiMakePageTables(*Va, Pages)) {
        if (*Va) {
            MiFreeVa(Region, *Va, Pages);
        }
        MiCount(&Region->Failures);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MiChargeRegion(Region, Pages);
    return STATUS_SUCCESS;
}
static VOID MiGiveUserRange(ULONG_PTR Va, SIZE_T Pages)
{
    MI_REGION *Region = &MiState->Regions[MmRegionUser];
    MiReturnRegion(Region, Pages);
    MiFreeVa(Region, Va, Pages);
}

PVOID MiMapMdlToUser(PMDL Mdl, SIZE_T Pages, MI_PROT Protection, MI_CACHE Cache, PVOID Requested)
{
    ULONG_PTR Va;
    NTSTATUS Status = MiTakeUserRange(Requested, Pages, &Va);
    if (NT_SUCCESS(Status)) {
        MI_MAPPING Mapping = {.Va = Va,
                              .Pages = Pages,
                              .Mapped = Pages,
                              .First = MmGetMdlPfnArray(Mdl)[0],
                              .Process = MiProcessNow(),
                              .Mdl = Mdl,
                              .StartVa = Mdl->StartVa,
                              .Kind = MiMappingUser};
        if (!MiRecordMapping(&Mapping)) {
            MiGiveUserRange(Va, Pages);
            Status = STATUS_INSUFFICIENT_RESOURCES;
        }
    }
    if (!NT_SUCCESS(Status)) {
        ExRaiseStatus(Status);
    }
    MiMapMdlFrames(Mdl, Pages, Va, Protection, Cache, TRUE);
    return (PVOID)(Va + Mdl->ByteOffset);
}

VOID MiUnmapMdlFromUser(PVOID BaseAddress, PMDL Mdl, SIZE_T Pages)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    struct _KPROCESS *Process = MiProcessNow();
    MI_MAPPING Mapping;
    UNREFERENCED_PARAMETER(Mdl);
    if (!MiFindMapping(Va, Process, &Mapping) || Mapping.Kind != MiMappingUser || Mapping.Mapped != Pages ||
        !MiForgetMapping(Va, Process)) {
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given a user address that is not the MDL's mapping in this process.",
               NULL, 0x302, (ULONG_PTR)BaseAddress, 0, 0);
    }
    MiUnmapFrames(Va, Pages);
    MiGiveUserRange(Va, Pages);
}

static BOOLEAN MiIsOfProcess(const MI_MAPPING *Mapping, PVOID Process)
{
    return Mapping->Kind == MiMappingUser && Mapping->Process == Process;
}

ULONG MiUnmapProcessMdls(struct _KPROCESS *Process)
{
    MI_MAPPING Mapping;
    ULONG Cursor = 0, Skip = 0, Count = 0;
    while (MiNextMapping(&Cursor, &Skip, MiIsOfProcess, Process, &Mapping)) {
        if (MiForgetMapping(Mapping.Va, Process)) {
            MiUnmapFrames(Mapping.Va, Mapping.Mapped);
            MiGiveUserRange(Mapping.Va, Mapping.Pages);
            Count++;
        }
        Cursor = Skip = 0;
    }
    return Count;
}

NTSTATUS MmMapUserAddressesToPage(PVOID BaseAddress, SIZE_T NumberOfBytes, PVOID PageAddress)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(BaseAddress, NumberOfBytes);
    PMMPTE Source = HalIsSystemAddress((ULONG_PTR)PageAddress) ? MiPteOf((ULONG_PTR)PageAddress) : NULL;
    MI_MAPPING Mapping;
    (VOID) KiCurrentThread();
    if (!HalIsUserAddress(Va) || ((ULONG_PTR)PageAddress & (PAGE_SIZE - 1)) || Source == NULL ||
        !MiPteIsValid(MiReadPte(Source))) {
        return STATUS_INVALID_PARAMETER;
    }
    if (!MiFindMapping(Va, MiProcessNow(), &Mapping) || (Pages && Pages > Mapping.Mapped)) {
        return STATUS_INVALID_ADDRESS;
    }
    Pages = Pages ? Pages : Mapping.Mapped; /* 0 bytes: all of the mapping */
    PFN_NUMBER Frame = MiPtePage(MiReadPte(Source));
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        PMMPTE Pte = MiPteOf(Va + (Page << PAGE_SHIFT));
        MiWritePte(Pte, MiPteWithPage(MiReadPte(Pte), Frame));
    }
    HalFlushTb((PVOID)Va, Pages);
    return STATUS_SUCCESS;
}
