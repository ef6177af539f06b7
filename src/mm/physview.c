/*
 * physview.c - views of \Device\PhysicalMemory: user addresses that show frames by their numbers. SPDX-License-Identifier: MIT
 *
 *      MMVAD (locked, Physical) -> entries with the I/O mark -> RAM, device memory, or a hole's page (iospace.c)
 *
 * A view takes no share and no reference of the frames it shows: what a frame is used for meanwhile is the caller's affair, as
 * on Windows. Its entries are valid from the start to the end and in no working set. The cache type is the one that the pages
 * have, else the one that is asked for (cacheattr.c): caching must match existing mappings. Views are unmapped by
 * ZwUnmapViewOfSection, and with their process.
 *
 * Locks: MI_SPACE.Lock. IRQL = PASSIVE_LEVEL. Watch: tests/ddi/section_fs.c.
 */
#include "mm/segment.h"

static VOID MiShowPhysical(ULONG_PTR Va, PFN_NUMBER First, ULONG64 Pages, MI_PROT Protection, PFN_NUMBER Hole)
{
    MI_CACHE Wanted = MiCacheOfProtection(Protection);
    for (ULONG64 Done = 0; Done < Pages;) { /* in runs of one cache type, all there or all holes */
        PFN_NUMBER Page = First + Done;
        BOOLEAN There = MiRunOfPage(Page) != NULL;
        MI_CACHE Cache = MiDecideCache(Page, Wanted);
        ULONG64 Count = 1;
        while (There && Done + Count < Pages && MiRunOfPage(Page + Count) && MiDecideCache(Page + Count, Wanted) == Cache) {
            Count++;
        }
        MMPTE Template = MiPteForUser(MiPteIoSpace(0, MiProtectionWithCache(Protection, Cache)));
        MiMapFrames(Va + (Done << PAGE_SHIFT), Count, NULL, There ? Page : Hole, Template);
        Done += Count;
    }
}

NTSTATUS MmMapPhysicalView(PMM_SPACE Space, PVOID *Base, ULONG64 Offset, SIZE_T *Size, const MM_VIEW_REQUEST *Request)
{
    MI_PROT Protection = MiMakeProtection(Request->Protect);
    PMMVAD Vad = NULL;
    MMVAD Like = {.Type = MiVadLocked, .Physical = TRUE, .Protect = Request->Protect};
    BOOLEAN Holes = FALSE;
    if (Protection == MI_PROT_INVALID || !MiProtAllowsAccess(Protection) || MiProtIsCopyOnWrite(Protection) ||
        MiProtIsGuard(Protection)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    if (*Size == 0 || Offset >= MM_PHYSICAL_BYTES || *Size > MM_PHYSICAL_BYTES - Offset ||
        *Size > Space->Hal.High - Space->Hal.Low) {
        return STATUS_INVALID_VIEW_SIZE; /* "to the end" is more than a process has room for */
    }
    if ((ULONG_PTR)*Base & (MI_GRANULARITY - 1)) {
        return STATUS_MAPPED_ALIGNMENT;
    }
    *Size = MI_BYTES_TO_PAGES(*Size) << PAGE_SHIFT;
    PFN_NUMBER First = Offset >> PAGE_SHIFT;
    ULONG64 Pages = *Size >> PAGE_SHIFT;
    for (ULONG64 Page = 0; Page < Pages && !Holes; Page++) {
        Holes = MiRunOfPage(First + Page) == NULL;
    }
    PFN_NUMBER Hole = Holes ? MiHolePage() : 0;
    if (Holes && Hole == 0) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MiLockSpace(Space);
    NTSTATUS Status =
        Space->Dying ? STATUS_PROCESS_IS_TERMINATING : MiPlaceView(Space, (ULONG_PTR)*Base, *Size, Request, &Like, &Vad);
    if (NT_SUCCESS(Status)) {
        MiShowPhysical(Vad->Start, First, Pages, Protection, Hole);
        MiChargeRegion(&MiState->Regions[MmRegionUser], Pages);
        *Base = (PVOID)Vad->Start;
    }
    MiUnlockSpace(Space);
    return Status;
}
