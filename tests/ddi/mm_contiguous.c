/*
 * mm_contiguous.c - contiguous and uncached memory, pages for an MDL: a test for each documented sentence,
 * and the stops. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <ntifs.h>
#include <stdio.h>
#include <unistd.h>

static PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}
static const ULONG64 Any = ~0ull;

/* MmAllocateContiguousMemory: "allocates a range of contiguous, nonpaged physical memory and maps it to the
 * system address space"; "page-aligned". */
static void MmAllocateContiguousMemory_FramesFollowEachOther(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateContiguousMemory(10 * PAGE_SIZE + 1, At(Any));
    assert_non_null(Va);
    assert_int_equal((ULONG_PTR)Va & (PAGE_SIZE - 1), 0);
    for (ULONG Page = 1; Page <= 10; Page++) {
        assert_int_equal(KitFrame(Va + Page * PAGE_SIZE), KitFrame(Va) + Page);
    }
    memset(Va, 7, 11 * PAGE_SIZE);
    Va[0] = 0xC3;
    ((void (*)(void))(ULONG_PTR)Va)(); /* executable */
    assert_ptr_equal(MmGetVirtualForPhysical(MmGetPhysicalAddress(Va + 5000)), Va + 5000);
    KitAssertValid();
    MmFreeContiguousMemory(Va);
    assert_false(MmIsAddressValid(Va));
    KitAssertValid();
}

/* "HighestAcceptableAddress"; "LowestAcceptableAddress"; "BoundaryAddressMultiple ... the range must not
 * cross". */
static void MmAllocateContiguousMemorySpecifyCache_Bounds_AreKept(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 20; Round++) {
        PUCHAR Va =
            MmAllocateContiguousMemorySpecifyCache(3 * PAGE_SIZE, At(0x1800000), At(0x19FFFFF), At(0x4000), MmNonCached);
        assert_non_null(Va);
        ULONG64 Physical = (ULONG64)MmGetPhysicalAddress(Va).QuadPart;
        assert_in_range(Physical, 0x1800000, 0x19FFFFF - 3 * PAGE_SIZE + 1);
        assert_int_equal(Physical / 0x4000, (Physical + 3 * PAGE_SIZE - 1) / 0x4000);
        assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va))), MI_PROT_EXECUTE_READWRITE | MI_PROT_NOCACHE);
        if (Round % 2) {
            MmFreeContiguousMemorySpecifyCache(Va, 3 * PAGE_SIZE, MmNonCached);
        } else {
            MmFreeContiguousMemory(Va);
        }
    }
    assert_null(MmAllocateContiguousMemorySpecifyCache(2 * PAGE_SIZE, At(0x1800000), At(0x1801FFE), At(0), MmCached));
    assert_null(MmAllocateContiguousMemorySpecifyCache(2 * PAGE_SIZE, At(0), At(Any), At(0x3000), MmCached));
    assert_null(MmAllocateContiguousMemorySpecifyCache(0x4000 + 1, At(0), At(Any), At(0x4000), MmCached));
    assert_null(MmAllocateContiguousMemory(0, At(Any)));
    assert_null(MmAllocateContiguousMemory(1, At(0)));
    assert_null(MmAllocateContiguousMemory(1ull << 40, At(Any)));
    KitAssertValid();
}

static void MmAllocateContiguousNodeMemory_ProtectionAndNode(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateContiguousNodeMemory(PAGE_SIZE, At(0), At(Any), At(0), PAGE_READWRITE | PAGE_WRITECOMBINE, 0);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Va));
    assert_int_equal(MiPteProtection(Pte), MI_PROT_READWRITE | MI_PROT_WRITECOMBINE);
    KitExpectAccessStop(Va, PASSIVE_LEVEL, 'x', ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Va, Pte.Long, 0, 0);
    MmFreeContiguousMemory(Va);
    assert_null(MmAllocateContiguousNodeMemory(PAGE_SIZE, At(0), At(Any), At(0), PAGE_READONLY, 0));
    assert_null(MmAllocateContiguousNodeMemory(PAGE_SIZE, At(0), At(Any), At(0), PAGE_READWRITE, 1));
    Va = MmAllocateContiguousNodeMemory(PAGE_SIZE, At(0), At(Any), At(0), PAGE_READWRITE, 1 | MM_ANY_NODE_OK);
    assert_non_null(Va);
    MmFreeContiguousMemory(Va);
    Va = MmAllocateContiguousMemorySpecifyCacheNode(PAGE_SIZE, At(0), At(Any), At(0), MmCached, MM_ANY_NODE_OK);
    assert_non_null(Va);
    MmFreeContiguousMemory(Va);
}

static void MmAllocateNonCachedMemory_IsUncached(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateNonCachedMemory(2 * PAGE_SIZE);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va))), MI_PROT_READWRITE | MI_PROT_NOCACHE);
    memset(Va, 1, 2 * PAGE_SIZE);
    MmFreeNonCachedMemory(Va, 2 * PAGE_SIZE);
}

static void FreeIt(void *Va)
{
    MmFreeContiguousMemory(Va);
}
static void FreeTwoPages(void *Va)
{
    MmFreeContiguousMemorySpecifyCache(Va, 2 * PAGE_SIZE, MmCached);
}
/* MmFreeContiguousMemory: "BaseAddress: the base address of the memory range to be freed, as returned". */
static void MmFreeContiguousMemory_AnythingElse_IsC2_60(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateContiguousMemory(3 * PAGE_SIZE, At(Any));
    PUCHAR Pool = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    KitExpectStop(FreeIt, Va + PAGE_SIZE, BAD_POOL_CALLER, 0x60, Va + PAGE_SIZE, 0, 0);
    KitExpectStop(FreeIt, Va + 8, BAD_POOL_CALLER, 0x60, Va + 8, 0, 0);
    KitExpectStop(FreeIt, Pool, BAD_POOL_CALLER, 0x60, Pool, 0, 0);
    KitExpectStop(FreeIt, NULL, BAD_POOL_CALLER, 0x60, 0, 0, 0);
    KitExpectStop(FreeTwoPages, Va, BAD_POOL_CALLER, 0x60, Va, 0, 0);
    PVOID Mapped = MmMapIoSpace(MmGetPhysicalAddress(Va), PAGE_SIZE, MmCached);
    KitExpectStop(FreeIt, Mapped, BAD_POOL_CALLER, 0x60, Mapped, 0, 0);
    MmUnmapIoSpace(Mapped, PAGE_SIZE);
    MmFreeContiguousMemory(Va);
    KitExpectStop(FreeIt, Va, BAD_POOL_CALLER, 0x60, Va, 0, 0);
    MmFreePages(Pool, 1);
    KitAssertValid();
}

static void MmFreeContiguousMemory_StillLocked_Is4E_9A(void **State)
{
    KIT_MDL Kit;
    (void)State;
    PUCHAR Va = MmAllocateContiguousMemory(3 * PAGE_SIZE, At(Any));
    MmInitializeMdl(&Kit.Mdl, Va + PAGE_SIZE, 10);
    MmProbeAndLockPages(&Kit.Mdl, KernelMode, IoReadAccess);
    KitExpectStop(FreeIt, Va, PFN_LIST_CORRUPT, 0x9A, Kit.Frames[0], MiPageActive, 2);
    MmUnlockPages(&Kit.Mdl);
    MmInitializeMdl(&Kit.Mdl, Va, 3 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(&Kit.Mdl); /* nonpaged: it can be described without locking */
    assert_int_equal(Kit.Frames[2], Kit.Frames[0] + 2);
    MmFreeContiguousMemory(Va);
}

/* MmAllocatePagesForMdl: "allocates zero-filled, nonpaged, physical memory pages to an MDL"; not mapped. */
static void MmAllocatePagesForMdl_ZeroedAndUnmapped(void **State)
{
    (void)State;
    PMDL Mdl = MmAllocatePagesForMdl(At(0), At(Any), At(0), 20 * PAGE_SIZE);
    assert_non_null(Mdl);
    assert_int_equal(MmGetMdlByteCount(Mdl), 20 * PAGE_SIZE);
    assert_null(MmGetMdlVirtualAddress(Mdl));
    assert_int_equal(Mdl->MdlFlags, MDL_PAGES_LOCKED);
    assert_null(MmGetVirtualForPhysical(At(MmGetMdlPfnArray(Mdl)[3] << PAGE_SHIFT)));
    KitAssertValid();
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    for (ULONG Byte = 0; Byte < 20 * PAGE_SIZE; Byte += 61) {
        assert_int_equal(Va[Byte], 0);
    }
    memset(Va, 0xAA, 20 * PAGE_SIZE);
    MmFreePagesFromMdl(Mdl); /* also takes the mapping down */
    assert_false(MmIsAddressValid(Va));
    ExFreePool(Mdl);
    KitAssertValid();
}

/* "LowAddress, HighAddress, SkipBytes": the range, and where the next one is. */
static void MmAllocatePagesForMdl_Range_IsKept(void **State)
{
    (void)State;
    PMDL Mdl = MmAllocatePagesForMdl(At(0x1800000), At(0x180FFFF), At(0), 64 * PAGE_SIZE);
    assert_non_null(Mdl); /* "the routine may allocate less than requested" */
    assert_in_range(MmGetMdlByteCount(Mdl), PAGE_SIZE, 16 * PAGE_SIZE);
    for (ULONG Page = 0; Page < MmGetMdlByteCount(Mdl) / PAGE_SIZE; Page++) {
        assert_in_range(MmGetMdlPfnArray(Mdl)[Page], 0x1800, 0x180F);
    }
    PMDL More = MmAllocatePagesForMdl(At(0x1800000), At(0x180FFFF), At(0x100000), 20 * PAGE_SIZE);
    assert_non_null(More);
    assert_int_equal(MmGetMdlByteCount(More), 20 * PAGE_SIZE);
    for (ULONG Page = 0; Page < 20; Page++) {
        assert_in_range(MmGetMdlPfnArray(More)[Page] & 0xFF, 0, 0xF);
    }
    MmFreePagesFromMdl(More);
    MmFreePagesFromMdlEx(Mdl, MM_FREE_MDL_PAGES_ZERO);
    ExFreePool(More);
    ExFreePool(Mdl);
    assert_null(MmAllocatePagesForMdl(At(0x2000), At(0x1000), At(0), PAGE_SIZE));
    assert_null(MmAllocatePagesForMdl(At(0), At(Any), At(0), 0));
    assert_null(MmAllocatePagesForMdl(At(0), At(Any), At(0), 0x100000000));
}

/* "MM_ALLOCATE_FULLY_REQUIRED: NULL rather than fewer"; "MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS". */
static void MmAllocatePagesForMdlEx_Flags_AreHonoured(void **State)
{
    (void)State;
    assert_null(
        MmAllocatePagesForMdlEx(At(0x1800000), At(0x180FFFF), At(0), 64 * PAGE_SIZE, MmCached, MM_ALLOCATE_FULLY_REQUIRED));
    assert_null(MmAllocatePagesForMdlEx(At(0), At(Any), At(0), PAGE_SIZE, MmCached, 0x80000));
    assert_null(MmAllocatePagesForMdlEx(At(0), At(Any), At(0), PAGE_SIZE, MmMaximumCacheType, 0));
    PMDL Mdl = MmAllocatePagesForMdlEx(At(0), At(Any), At(0), 30 * PAGE_SIZE, MmCached,
                                       MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS | MM_DONT_ZERO_ALLOCATION);
    for (ULONG Page = 1; Page < 30; Page++) {
        assert_int_equal(MmGetMdlPfnArray(Mdl)[Page], MmGetMdlPfnArray(Mdl)[0] + Page);
    }
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
    Mdl = MmAllocatePagesForMdlEx(At(0), At(Any), At(4 * PAGE_SIZE), 16 * PAGE_SIZE, MmCached,
                                  MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS);
    for (ULONG Page = 0; Page < 16; Page++) {
        assert_int_equal(MmGetMdlPfnArray(Mdl)[Page], MmGetMdlPfnArray(Mdl)[Page / 4 * 4] + Page % 4);
    }
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
    KitAssertValid();
}

static void FreePages(void *Mdl)
{
    MmFreePagesFromMdl(Mdl);
}
static void MmFreePagesFromMdl_TwiceOrLocked_Is4E(void **State)
{
    KIT_MDL Kit;
    (void)State;
    PMDL Mdl = MmAllocatePagesForMdl(At(0), At(Any), At(0), PAGE_SIZE);
    PFN_NUMBER Frame = MmGetMdlPfnArray(Mdl)[0];
    PVOID Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    MmInitializeMdl(&Kit.Mdl, Va, 8);
    MmProbeAndLockPages(&Kit.Mdl, KernelMode, IoReadAccess);
    KitExpectStop(FreePages, Mdl, PFN_LIST_CORRUPT, 0x9A, Frame, MiPageActive, 2);
    MmUnlockPages(&Kit.Mdl);
    MmFreePagesFromMdl(Mdl);
    KitExpectStop(FreePages, Mdl, PFN_LIST_CORRUPT, 0x99, Frame, MiPageFree, 0);
    ExFreePool(Mdl);
}

/* "contiguous ... under fragmentation": pageable pages that stand in the way are moved, with their contents, and stay usable. */
static void MmAllocateContiguousMemory_Fragmented_MovesPages(void **State)
{
    enum { PAGES = 12000, BLOCK = 256 };
    static PUCHAR Single[PAGES];
    (void)State;
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Single[Page] = Page % 64 != 5 ? MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority)
                                      : MmAllocateUserPages(1, PAGE_READWRITE);
        assert_non_null(Single[Page]);
        *(ULONG *)Single[Page] = Page;
    }
    for (ULONG Page = 0; Page < PAGES; Page += 2) { /* every other frame is free now */
        Page % 64 != 5 ? MmFreePages(Single[Page], 1) : MmFreeUserPages(Single[Page], 1);
        Single[Page] = NULL;
    }
    KIT_MDL Kit;
    MmInitializeMdl(&Kit.Mdl, Single[1], 64);
    MmProbeAndLockPages(&Kit.Mdl, KernelMode, IoWriteAccess);
    PFN_NUMBER Locked = Kit.Frames[0];
    ULONG64 Moved = MiState->MovedPages;
    PVOID Blocks[30];
    ULONG Got = 0;
    SIZE_T Bytes = BLOCK * PAGE_SIZE;
    while (Got < ARRAYSIZE(Blocks) && (Blocks[Got] = MmAllocateContiguousMemory(Bytes, At(Any))) != NULL) {
        for (ULONG Page = 1; Page < BLOCK; Page++) {
            assert_int_equal(KitFrame((PUCHAR)Blocks[Got] + Page * PAGE_SIZE), KitFrame(Blocks[Got]) + Page);
        }
        memset(Blocks[Got], 0xEE, Bytes);
        Got++;
    }
    assert_in_range(Got, 24, 30);
    assert_true(MiState->MovedPages > Moved + 1000);
    assert_int_equal(KitFrame(Single[1]), Locked); /* what is locked stays */
    for (ULONG Page = 1; Page < PAGES; Page += 2) {
        assert_int_equal(*(ULONG *)Single[Page], Page);
    }
    KitAssertValid();
    /* FAST_ONLY, and callers at DISPATCH_LEVEL, get what lies free, or nothing */
    Moved = MiState->MovedPages;
    PVOID Fast = NULL;
    (void)MmAllocateContiguousMemoryEx(&Bytes, At(0), At(Any), At(0), MM_ANY_NODE_OK, PAGE_READWRITE, NULL, 'tseT',
                                       MM_ALLOCATE_CONTIGUOUS_MEMORY_FAST_ONLY, &Fast);
    assert_int_equal(MiState->MovedPages, Moved);
    if (Fast) {
        MmFreeContiguousMemory(Fast);
    }
    while (Got) {
        MmFreeContiguousMemory(Blocks[--Got]);
    }
    MmUnlockPages(&Kit.Mdl);
    for (ULONG Page = 1; Page < PAGES; Page += 2) {
        Page % 64 != 5 ? MmFreePages(Single[Page], 1) : MmFreeUserPages(Single[Page], 1);
    }
    KitAssertValid();
}

/* Pages of sections are moved too: those that no view shows any more, and, where nothing else helps, those that are shown. */
static void MmAllocateContiguousMemory_SectionsInTheWay_AreMoved(void **State)
{
    enum { PAGES = 6400, BLOCK = 512 };
    static PUCHAR Single[PAGES];
    LARGE_INTEGER Size = {.QuadPart = PAGES * PAGE_SIZE};
    PVOID Blocks[16];
    (void)State;
    for (ULONG Shown = 0; Shown < 2; Shown++) {
        HANDLE Handle;
        PVOID Section, View = NULL;
        SIZE_T Bytes = 0;
        ULONG Got = 0;
        assert_int_equal(ZwCreateSection(&Handle, SECTION_ALL_ACCESS, NULL, &Size, PAGE_READWRITE, SEC_COMMIT, NULL),
                         STATUS_SUCCESS);
        assert_int_equal(ObReferenceObjectByHandle(Handle, SECTION_ALL_ACCESS, NULL, KernelMode, &Section, NULL),
                         STATUS_SUCCESS);
        assert_int_equal(MmMapViewInSystemSpace(Section, &View, &Bytes), STATUS_SUCCESS);
        for (ULONG Page = 0; Page < PAGES; Page++) { /* its frames and others by turns */
            *(ULONG *)((PUCHAR)View + (SIZE_T)Page * PAGE_SIZE) = Page;
            Single[Page] = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
            assert_non_null(Single[Page]);
            *(ULONG *)Single[Page] = Page;
        }
        for (ULONG Page = 0; Page < PAGES; Page++) {
            MmFreePages(Single[Page], 1);
        }
        if (!Shown) {
            assert_int_equal(MmUnmapViewInSystemSpace(View), STATUS_SUCCESS);
        }
        ULONG64 Moved = MiState->MovedPages;
        while (Got < ARRAYSIZE(Blocks) &&
               (Blocks[Got] = MmAllocateContiguousMemory((SIZE_T)BLOCK * PAGE_SIZE, At(Any))) != NULL) {
            memset(Blocks[Got++], 0xEE, (SIZE_T)BLOCK * PAGE_SIZE);
        }
        assert_in_range(Got, 10, 16); /* about five lie free */
        assert_true(MiState->MovedPages > Moved + 500);
        KitAssertValid();
        if (!Shown) {
            Bytes = 0;
            assert_int_equal(MmMapViewInSystemSpace(Section, &View, &Bytes), STATUS_SUCCESS);
        }
        for (ULONG Page = 0; Page < PAGES; Page++) {
            assert_int_equal(*(ULONG *)((PUCHAR)View + (SIZE_T)Page * PAGE_SIZE), Page);
        }
        KitAssertValid();
        while (Got) {
            MmFreeContiguousMemory(Blocks[--Got]);
        }
        assert_int_equal(MmUnmapViewInSystemSpace(View), STATUS_SUCCESS);
        ObDereferenceObject(Section);
        assert_int_equal(ZwClose(Handle), STATUS_SUCCESS);
        KitAssertValid();
    }
}

/* A page that has a copy in a page file keeps it when it moves: it goes out again without a write, and comes back as it was. */
static void MmAllocateContiguousMemory_MovedPage_KeepsItsCopy(void **State)
{
    enum { PAGES = 6000, BLOCK = 256 };
    static PUCHAR Single[PAGES];
    ntmm_options Options;
    PVOID Blocks[16];
    ULONG Got = 0;
    assert_int_equal(ntmm_stop(), 0);
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0;
    Options.ram = 32u << 20;
    Options.cpus = 2;
    Options.pagefile_check = 1;
    snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm-contiguous-%d:64M", (int)getpid());
    assert_int_equal(ntmm_start(&Options), 0);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Single[Page] = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
        assert_non_null(Single[Page]);
        *(ULONG *)Single[Page] = Page;
    }
    (void)MmTrimAllSystemPageableMemory(FALSE);
    (void)MiWriteModifiedPages(MAXULONG);
    MiWaitForWrites();
    for (ULONG Page = 0; Page < PAGES; Page++) { /* read only: clean, with their copies */
        assert_int_equal(*(volatile ULONG *)Single[Page], Page);
        if (Page % 2) {
            MmFreePages(Single[Page], 1);
        }
    }
    ULONG64 Moved = MiState->MovedPages;
    while (Got < ARRAYSIZE(Blocks) && (Blocks[Got] = MmAllocateContiguousMemory((SIZE_T)BLOCK * PAGE_SIZE, At(Any))) != NULL) {
        Got++;
    }
    assert_true(MiState->MovedPages > Moved + 100);
    KitAssertValid();
    for (ULONG Page = 1; Page < PAGES; Page += 2) { /* others write to the page file meanwhile */
        Single[Page] = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
        assert_non_null(Single[Page]);
        *(ULONG *)Single[Page] = ~Page;
    }
    (void)MmTrimAllSystemPageableMemory(FALSE);
    (void)MiWriteModifiedPages(MAXULONG);
    MiWaitForWrites();
    KiAcquireLock(&MiState->PfnLock);
    while (MiPurgeStandbyLocked(64)) {
    }
    KiReleaseLock(&MiState->PfnLock);
    KitAssertValid();
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(*(volatile ULONG *)Single[Page], Page % 2 ? ~Page : Page);
        if (Page % 2) {
            MmFreePages(Single[Page], 1);
        }
    }
    while (Got) {
        MmFreeContiguousMemory(Blocks[--Got]);
    }
    for (ULONG Page = 0; Page < PAGES; Page += 2) {
        MmFreePages(Single[Page], 1);
    }
    KitAssertValid();
    assert_int_equal(ntmm_stop(), 0);
    char Path[64];
    snprintf(Path, sizeof(Path), "/tmp/ntmm-contiguous-%d", (int)getpid());
    (void)unlink(Path);
    assert_int_equal(KitStart(State), 0);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test(Name)
    const struct CMUnitTest Tests[] = {
        TEST(MmAllocateContiguousMemory_FramesFollowEachOther),
        TEST(MmAllocateContiguousMemorySpecifyCache_Bounds_AreKept),
        TEST(MmAllocateContiguousMemory_Fragmented_MovesPages),
        TEST(MmAllocateContiguousMemory_SectionsInTheWay_AreMoved),
        TEST(MmAllocateContiguousMemory_MovedPage_KeepsItsCopy),
        TEST(MmAllocateContiguousNodeMemory_ProtectionAndNode),
        TEST(MmAllocateNonCachedMemory_IsUncached),
        TEST(MmFreeContiguousMemory_AnythingElse_IsC2_60),
        TEST(MmFreeContiguousMemory_StillLocked_Is4E_9A),
        TEST(MmAllocatePagesForMdl_ZeroedAndUnmapped),
        TEST(MmAllocatePagesForMdl_Range_IsKept),
        TEST(MmAllocatePagesForMdlEx_Flags_AreHonoured),
        TEST(MmFreePagesFromMdl_TwiceOrLocked_Is4E),
    };
    return cmocka_run_group_tests_name("mm_contiguous", Tests, KitStart, KitStop);
}
