/*
 * mdluser.c - MDLs mapped into the user range of a process. SPDX-License-Identifier: MIT
 *
 * MmMapLockedPagesSpecifyCache(UserMode) shows the MDL's frames at a user address of the current process: at one asked for
 * (rounded down to a page), else anywhere. Such a mapping is never executable, raises instead of returning, is unmapped in
 * the process that it was made in, and dies with it. vad.c keeps its addresses (MiVadLocked). It is not the MDL's system
 * mapping, so MdlFlags and MappedSystemVa say nothing of it; an MDL may have several.
 *
 * MmMapUserAddressesToPage points such a mapping at one frame instead (the device behind it is gone).
 *
 * Locks: MI_SPACE.Lock inside vad.c. IRQL <= APC_LEVEL.
 */
#include "mm/mi.h"

PVOID MiMapMdlToUser(PMDL Mdl, SIZE_T Pages, MI_PROT Protection, MI_CACHE Cache, PVOID Requested)
{
    ULONG_PTR Va;
    NTSTATUS Status = MiReserveUserMapping(Pages, Requested ? PAGE_ALIGN(Requested) : NULL, &Va);
    if (!NT_SUCCESS(Status)) {
        ExRaiseStatus(Status == STATUS_CONFLICTING_ADDRESSES ? Status : STATUS_INSUFFICIENT_RESOURCES);
    }
    MiMapMdlFrames(Mdl, Pages, Va, Protection, Cache, TRUE);
    return (PVOID)(Va + Mdl->ByteOffset);
}

VOID MiUnmapMdlFromUser(PVOID BaseAddress, PMDL Mdl, SIZE_T Pages, const VOID *Caller)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    if (!MiIsCurrentVa(Va) || !MiIsUserMapping(Va, Pages)) {
        if (KiVerifies(KI_ANY_OPTION, Caller)) {
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
                   "MmUnmapLockedPages was given a user address that is not the MDL's mapping in this process.", NULL, 0xB9,
                   (ULONG_PTR)BaseAddress, (ULONG_PTR)Mdl, 0);
        }
        KiStop(SYSTEM_PTE_MISUSE, "MmUnmapLockedPages was given a user address that is not the MDL's mapping in this process.",
               NULL, 0x302, (ULONG_PTR)BaseAddress, 0, 0);
    }
    MiUnmapFrames(Va, Pages);
    MiReleaseUserMapping(Va, Pages);
}

NTSTATUS MmMapUserAddressesToPage(PVOID BaseAddress, SIZE_T NumberOfBytes, PVOID PageAddress)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(BaseAddress);
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(BaseAddress, NumberOfBytes);
    PMMPTE Source = HalIsSystemAddress((ULONG_PTR)PageAddress) ? MiPteOf((ULONG_PTR)PageAddress) : NULL;
    (VOID) KiCurrentThread();
    if (!HalIsUserAddress(Va) || Pages == 0 || ((ULONG_PTR)PageAddress & (PAGE_SIZE - 1)) || Source == NULL ||
        !MiPteIsValid(MiReadPte(Source))) {
        return STATUS_INVALID_PARAMETER;
    }
    if (!MiIsCurrentVa(Va) || !MiIsUserMapping(Va, Pages)) {
        return STATUS_INVALID_ADDRESS;
    }
    PFN_NUMBER Frame = MiPtePage(MiReadPte(Source));
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        PMMPTE Pte = MiPteOf(Va + (Page << PAGE_SHIFT));
        MiWritePte(Pte, MiPteWithPage(MiReadPte(Pte), Frame));
    }
    HalFlushTb((PVOID)Va, Pages);
    return STATUS_SUCCESS;
}
