/*
 * mm_mdl.c - the everyday MDL routines, a test for each documented sentence (quoted in short above it).
 * SPDX-License-Identifier: MIT
 */
#include "mdl_kit.h"

/* MmSizeOfMdl: "returns the number of bytes required to contain the MDL" for the pages that the buffer spans.
 */
static void MmSizeOfMdl_CountsPagesSpanned(void **State)
{
    (void)State;
    assert_int_equal(MmSizeOfMdl((PVOID)0x1000, 0), 0x30);
    assert_int_equal(MmSizeOfMdl((PVOID)0x1000, 1), 0x38);
    assert_int_equal(MmSizeOfMdl((PVOID)0x1000, PAGE_SIZE), 0x38);
    assert_int_equal(MmSizeOfMdl((PVOID)0x1FFF, 2), 0x40);
    assert_int_equal(MmSizeOfMdl((PVOID)0x1001, PAGE_SIZE), 0x40);
}

/* MmInitializeMdl: "formats a memory descriptor list": Next, Size, MdlFlags, StartVa, ByteOffset, ByteCount.
 */
static void MmInitializeMdl_FormatsTheHeader(void **State)
{
    (void)State;
    MmInitializeMdl(M, (PVOID)0x12345, 0x2000);
    assert_null(M->Next);
    assert_int_equal(M->Size, 0x30 + 3 * 8);
    assert_int_equal(M->MdlFlags, 0);
    assert_ptr_equal(MmGetMdlBaseVa(M), 0x12000);
    assert_int_equal(MmGetMdlByteOffset(M), 0x345);
    assert_int_equal(MmGetMdlByteCount(M), 0x2000);
    assert_ptr_equal(MmGetMdlVirtualAddress(M), 0x12345);
    assert_ptr_equal(MmGetMdlPfnArray(M), M + 1);
    assert_int_equal(Kit.Frames[0], 0xCCCCCCCCCCCCCCCC); /* the array is not touched */
}

static void MmCreateMdl_OwnOrGivenMemory(void **State)
{
    (void)State;
    assert_ptr_equal(MmCreateMdl(M, Nonpaged + 5, 10), M);
    PMDL Mdl = MmCreateMdl(NULL, Nonpaged + 5, 10);
    assert_non_null(Mdl);
    assert_int_equal(Mdl->ByteOffset, 5);
    ExFreePool(Mdl);
}

/* MmBuildMdlForNonPagedPool: "receives an MDL that specifies a virtual memory buffer in nonpaged pool, and
 * updates it to describe the underlying physical pages." */
static void MmBuildMdlForNonPagedPool_FillsPagesAndFlags(void **State)
{
    (void)State;
    MmInitializeMdl(M, Nonpaged + 100, 3 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    assert_int_equal(M->MdlFlags, MDL_SOURCE_IS_NONPAGED_POOL);
    assert_ptr_equal(M->MappedSystemVa, Nonpaged + 100);
    for (ULONG Page = 0; Page < 4; Page++) {
        assert_int_equal(Kit.Frames[Page], KitFrame(Nonpaged + Page * PAGE_SIZE));
    }
    /* "MmGetSystemAddressForMdlSafe returns the base virtual address of the buffer" */
    assert_ptr_equal(MmGetSystemAddressForMdlSafe(M, NormalPagePriority), Nonpaged + 100);
}

/* MmProbeAndLockPages: "probes the specified virtual memory pages, makes them resident, and locks them in
 * memory". */
static void MmProbeAndLockPages_MakesResidentAndPins(void **State)
{
    (void)State;
    assert_false(MmIsAddressValid(Paged));
    MmInitializeMdl(M, Paged + 10, 2 * PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED);
    assert_null(M->Process);
    for (ULONG Page = 0; Page < 3; Page++) {
        assert_true(MmIsAddressValid(Paged + Page * PAGE_SIZE));
        assert_int_equal(Kit.Frames[Page], KitFrame(Paged + Page * PAGE_SIZE));
        assert_int_equal(MiPfn(Kit.Frames[Page])->ReferenceCount, 2);
    }
    MmUnlockPages(M);
    assert_int_equal(M->MdlFlags, 0);
    assert_int_equal(MiPfn(Kit.Frames[0])->ReferenceCount, 1);
}

/* "Operation: IoReadAccess, IoWriteAccess, or IoModifyAccess": write access is remembered in the MDL. */
static void MmProbeAndLockPages_Operation_SetsWriteOperation(void **State)
{
    (void)State;
    MmInitializeMdl(M, Paged, 1);
    MmProbeAndLockPages(M, KernelMode, IoWriteAccess);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
    MmUnlockPages(M);
    MmProbeAndLockPages(M, KernelMode, IoModifyAccess);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
    MmUnlockPages(M);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED);
    MmUnlockPages(M);
}

/* "the routine confirms that the pages permit the specified operation" and raises STATUS_ACCESS_VIOLATION
 * otherwise. */
static void MmProbeAndLockPages_NoSuchAccess_Raises(void **State)
{
    (void)State;
    MmProtectPages(User + 2 * PAGE_SIZE, 1, PAGE_READONLY);
    MmInitializeMdl(M, User, 4 * PAGE_SIZE);
    assert_int_equal(KitLock(M, UserMode, IoWriteAccess), STATUS_ACCESS_VIOLATION);
    assert_int_equal(M->MdlFlags, 0);
    assert_int_equal(MiPfn(KitFrame(User))->ReferenceCount, 1); /* "on raise nothing stays locked" */
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_SUCCESS);
    MmUnlockPages(M);
    MmProtectPages(User + 2 * PAGE_SIZE, 1, PAGE_NOACCESS);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
}

/* "AccessMode: UserMode": the buffer must lie in the user range. */
static void MmProbeAndLockPages_UserModeOnSystemMemory_Raises(void **State)
{
    (void)State;
    MmInitializeMdl(M, Nonpaged, 10);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
    assert_int_equal(KitLock(M, KernelMode, IoReadAccess), STATUS_SUCCESS);
    MmUnlockPages(M);
    MmInitializeMdl(M, (PVOID)(HalFacts.UserEnd - PAGE_SIZE), 2 * PAGE_SIZE);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
}

static void MmProbeAndLockPages_HostMemory_Raises(void **State)
{
    static UCHAR Global[100];
    (void)State;
    MmInitializeMdl(M, Global, sizeof(Global));
    assert_int_equal(KitLock(M, KernelMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
    MmInitializeMdl(M, NULL, 8);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
}

static void MmProbeAndLockPages_FreedSystemMemory_Raises(void **State)
{
    (void)State;
    PUCHAR Gone = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    MmFreePages(Gone, 1);
    MmInitializeMdl(M, Gone, 8);
    assert_int_equal(KitLock(M, KernelMode, IoReadAccess), STATUS_ACCESS_VIOLATION);
}

static void MmProbeAndLockPages_GuardPage_RaisesGuardViolation(void **State)
{
    (void)State;
    MmProtectPages(User, 1, PAGE_READWRITE | PAGE_GUARD);
    MmInitializeMdl(M, User, 8);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_GUARD_PAGE_VIOLATION);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_SUCCESS);
    MmUnlockPages(M);
}

/* "the caller must be running at IRQL <= DISPATCH_LEVEL if the memory is nonpaged". */
static void MmProbeAndLockPages_NonpagedAtDispatch_Locks(void **State)
{
    KIRQL Old;
    (void)State;
    MmInitializeMdl(M, Nonpaged, PAGE_SIZE);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    MmUnlockPages(M);
    KeLowerIrql(Old);
    assert_int_equal(M->MdlFlags, 0);
}

/* Locked pages stay: the owner frees its memory, the frames are not used again before the unlock. */
static void MmUnlockPages_AfterTheOwnerFreed_GivesTheFrameBack(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(2, PAGE_READWRITE);
    ULONG64 Committed = KitCommitted();
    memset(Va, 0x42, 2 * PAGE_SIZE);
    MmInitializeMdl(M, Va, 2 * PAGE_SIZE);
    MmProbeAndLockPages(M, UserMode, IoReadAccess);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    MmFreeUserPages(Va, 2);
    assert_int_equal(MiPfn(Kit.Frames[0])->State, MiPageTransition);
    KitAssertValid();
    PUCHAR Other = MmAllocatePages(MmRegionNonPagedPool, 16, 0, NormalPoolPriority);
    memset(Other, 0, 16 * PAGE_SIZE);
    assert_int_equal(Mapped[0], 0x42);
    assert_int_equal(Mapped[2 * PAGE_SIZE - 1], 0x42);
    MmUnlockPages(M);
    assert_int_equal(MiPfn(Kit.Frames[0])->State, MiPageFree);
    MmFreePages(Other, 16);
    assert_in_range(KitCommitted(), Committed - 2,
                    Committed - 1); /* less the two user pages; a page of the mapping's own may come */
}

/* MmUnlockPages: "If the pages are mapped to system space, the mapping is released". */
static void MmUnlockPages_Mapped_Unmaps(void **State)
{
    (void)State;
    MmInitializeMdl(M, Paged, PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoWriteAccess);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    assert_true(MmIsAddressValid(Mapped));
    MmUnlockPages(M);
    assert_false(MmIsAddressValid(Mapped));
    assert_int_equal(M->MdlFlags & (MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA), 0);
}

/* MmMapLockedPagesSpecifyCache: "maps the physical pages that are described by an MDL to a virtual address".
 */
static void MmMapLockedPagesSpecifyCache_SecondAddressOfTheSameFrames(void **State)
{
    (void)State;
    MmInitializeMdl(M, User + 0x123, 5 * PAGE_SIZE);
    MmProbeAndLockPages(M, UserMode, IoModifyAccess);
    PUCHAR Mapped = MmMapLockedPagesSpecifyCache(M, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    assert_non_null(Mapped);
    assert_int_equal((ULONG_PTR)Mapped & (PAGE_SIZE - 1), 0x123); /* "includes the offset" */
    assert_int_equal(MmRegionOf(Mapped), MmRegionSystemPtes);
    assert_ptr_equal(M->MappedSystemVa, Mapped);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION | MDL_MAPPED_TO_SYSTEM_VA);
    assert_ptr_equal(MmGetSystemAddressForMdlSafe(M, NormalPagePriority), Mapped);
    for (ULONG Byte = 0; Byte < 5 * PAGE_SIZE; Byte += 257) {
        Mapped[Byte] = (UCHAR)Byte;
        assert_int_equal(User[0x123 + Byte], (UCHAR)Byte);
        User[0x123 + Byte] ^= 0xFF;
        assert_int_equal(Mapped[Byte], (UCHAR)~Byte);
    }
    for (ULONG Page = 0; Page < 6; Page++) {
        assert_int_equal(KitFrame(Mapped + Page * PAGE_SIZE - 0x123), Kit.Frames[Page]);
    }
    KitAssertValid();
    MmUnmapLockedPages(Mapped, M);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
    MmUnlockPages(M);
}

/* "Priority ... MdlMappingNoWrite, MdlMappingNoExecute". */
static void MmMapLockedPagesSpecifyCache_PriorityFlags_AreProtections(void **State)
{
    static const struct {
        ULONG Flags;
        MI_PROT Protection;
    } Cases[] = {{0, MI_PROT_EXECUTE_READWRITE},
                 {MdlMappingNoExecute, MI_PROT_READWRITE},
                 {MdlMappingNoWrite, MI_PROT_EXECUTE_READ},
                 {MdlMappingNoWrite | MdlMappingNoExecute, MI_PROT_READONLY}};
    (void)State;
    MmInitializeMdl(M, Paged, PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    for (size_t Index = 0; Index < ARRAYSIZE(Cases); Index++) {
        PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority | Cases[Index].Flags);
        MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Mapped));
        assert_int_equal(MiPteProtection(Pte), Cases[Index].Protection);
        if (Cases[Index].Flags & MdlMappingNoWrite) {
            KitExpectAccessStop(Mapped, PASSIVE_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Mapped, Pte.Long, 0, 0);
        }
        MmUnmapLockedPages(Mapped, M);
    }
    MmUnlockPages(M);
}

static void MmMapLockedPagesSpecifyCache_GuardPtes_LeaveAPageBehind(void **State)
{
    (void)State;
    MmInitializeMdl(M, Paged, PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority | MdlMappingWithGuardPtes);
    KitExpectAccessStop(Mapped + PAGE_SIZE, PASSIVE_LEVEL, 'r', PAGE_FAULT_IN_NONPAGED_AREA, Mapped + PAGE_SIZE, 0, KitLoad, 0);
    MmUnmapLockedPages(Mapped, M);
    MmUnlockPages(M);
    KitAssertValid();
}

/* "CacheType": the mapping has the cache type asked for, where the page has none yet. */
static void MmMapLockedPagesSpecifyCache_CacheType_IsInTheEntry(void **State)
{
    static const MEMORY_CACHING_TYPE Types[] = {MmNonCached, MmCached, MmWriteCombined};
    static const MI_PROT Bits[] = {MI_PROT_NOCACHE, 0, MI_PROT_WRITECOMBINE};
    PHYSICAL_ADDRESS Zero = {.QuadPart = 0}, Any = {.QuadPart = -1};
    (void)State;
    for (size_t Index = 0; Index < 3; Index++) {
        PMDL Mdl = MmAllocatePagesForMdl(Zero, Any, Zero, PAGE_SIZE);
        PUCHAR Mapped = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, Types[Index], NULL, FALSE, NormalPagePriority);
        assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Mapped))) & 0x18, Bits[Index]);
        MmUnmapLockedPages(Mapped, Mdl);
        assert_null(MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmMaximumCacheType, NULL, FALSE, NormalPagePriority));
        MmFreePagesFromMdl(Mdl);
        ExFreePool(Mdl);
    }
}

/* "If AccessMode is UserMode ... the mapped pages are in user space", at RequestedAddress if given; never
 * executable. */
static void MmMapLockedPagesSpecifyCache_UserMode_MapsInTheUserRange(void **State)
{
    NTSTATUS volatile Status = STATUS_SUCCESS;
    (void)State;
    MmInitializeMdl(M, Nonpaged + 8, PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    PUCHAR Mapped = MmMapLockedPagesSpecifyCache(M, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
    assert_true(HalIsUserAddress((ULONG_PTR)Mapped));
    assert_int_equal((ULONG_PTR)Mapped & (PAGE_SIZE - 1), 8);
    Mapped[0] = 0x31;
    assert_int_equal(Nonpaged[8], 0x31);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Mapped));
    assert_true(MiPteIsUser(Pte) && MiPteIsNoExecute(Pte));
    assert_int_equal(M->MdlFlags, MDL_SOURCE_IS_NONPAGED_POOL); /* a user mapping is not the system mapping */
    __try {
        (void)MmMapLockedPagesSpecifyCache(M, UserMode, MmCached, Mapped, FALSE, NormalPagePriority);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_CONFLICTING_ADDRESSES); /* "UserMode: raises an exception on failure" */
    MmUnmapLockedPages(Mapped, M);
    assert_false(MmIsAddressValid(Mapped));
    assert_ptr_equal(MmMapLockedPagesSpecifyCache(M, UserMode, MmCached, Mapped - 8, FALSE, NormalPagePriority), Mapped);
    KitAssertValid();
    MmUnmapLockedPages(Mapped, M);
}

/* "If AccessMode is KernelMode and the pages cannot be mapped, the routine returns NULL." */
static void MmMapLockedPagesSpecifyCache_NoPtesLeft_IsNull(void **State)
{
    MM_REGION_INFO Info;
    (void)State;
    MmInitializeMdl(M, Paged, PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    MmQueryRegion(MmRegionSystemPtes, &Info);
    ULONG_PTR Hog =
        MiAllocateVa(&MiState->Regions[MmRegionSystemPtes], Info.PageLimit - MiState->Regions[MmRegionSystemPtes].AddressPages);
    if (Hog == 0) { /* not one piece: take what there is */
        skip();
    }
    assert_null(MmGetSystemAddressForMdlSafe(M, HighPagePriority));
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED);
    MiFreeVa(&MiState->Regions[MmRegionSystemPtes], Hog, Info.PageLimit - Info.PagesInUse);
    MmUnlockPages(M);
}

/* A partial MDL that mapped itself says so; MmPrepareMdlForReuse takes exactly that mapping down. */
static void MmPrepareMdlForReuse_UnmapsOnlyWhatThePartialMapped(void **State)
{
    (void)State;
    MmInitializeMdl(M, Paged, PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    M->MdlFlags |= MDL_PARTIAL;
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    assert_true(M->MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED);
    MmPrepareMdlForReuse(M);
    assert_false(MmIsAddressValid(Mapped));
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED | MDL_PARTIAL);
    M->MdlFlags &= ~MDL_PARTIAL;
    Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    MmPrepareMdlForReuse(M);
    assert_true(MmIsAddressValid(Mapped)); /* "other mapped MDLs are left alone" */
    MmUnlockPages(M);
}

/* MmAdvanceMdl: "advances the beginning of an MDL's virtual memory range"; "STATUS_INVALID_PARAMETER_2". */
static void MmAdvanceMdl_MovesTheStart(void **State)
{
    (void)State;
    MmInitializeMdl(M, Paged + 16, 4 * PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoWriteAccess);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    PFN_NUMBER First = Kit.Frames[0], Third = Kit.Frames[2];
    assert_int_equal(MmAdvanceMdl(M, 4 * PAGE_SIZE + 1), STATUS_INVALID_PARAMETER_2);
    assert_int_equal(MmAdvanceMdl(M, 100), STATUS_SUCCESS);
    assert_ptr_equal(MmGetMdlVirtualAddress(M), Paged + 116);
    assert_int_equal(Kit.Frames[0], First);
    assert_int_equal(MmAdvanceMdl(M, 2 * PAGE_SIZE), STATUS_SUCCESS);
    assert_ptr_equal(MmGetMdlVirtualAddress(M), Paged + 116 + 2 * PAGE_SIZE);
    assert_int_equal(MmGetMdlByteCount(M), 2 * PAGE_SIZE - 100);
    assert_int_equal(Kit.Frames[0], Third);
    assert_int_equal(MiPfn(First)->ReferenceCount, 1); /* "the pages passed are unlocked" */
    assert_ptr_equal(MmGetSystemAddressForMdlSafe(M, NormalPagePriority), Mapped + 100 + 2 * PAGE_SIZE);
    ((PUCHAR)M->MappedSystemVa)[0] = 0x66;
    assert_int_equal(Paged[116 + 2 * PAGE_SIZE], 0x66);
    assert_false(MmIsAddressValid(Mapped));
    assert_int_equal(MmAdvanceMdl(M, PAGE_SIZE), STATUS_SUCCESS);
    KitAssertValid();
    MmUnlockPages(M);
    KitAssertValid();
}

/* MmProtectMdlSystemAddress: "sets the protection type for a memory address range" of the MDL's mapping. */
static void MmProtectMdlSystemAddress_ChangesTheMappingOnly(void **State)
{
    (void)State;
    MmInitializeMdl(M, Nonpaged, PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    assert_int_equal(MmProtectMdlSystemAddress(M, PAGE_READONLY), STATUS_NOT_MAPPED_VIEW);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    assert_int_equal(MmProtectMdlSystemAddress(M, 0x3), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(MmProtectMdlSystemAddress(M, PAGE_READONLY), STATUS_SUCCESS);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Mapped));
    KitExpectAccessStop(Mapped, PASSIVE_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Mapped, Pte.Long, 0, 0);
    Nonpaged[0] = 1;
    assert_int_equal(MmProtectMdlSystemAddress(M, PAGE_NOACCESS), STATUS_SUCCESS);
    assert_false(MmIsAddressValid(Mapped));
    assert_int_equal(MmProtectMdlSystemAddress(M, PAGE_READWRITE), STATUS_SUCCESS);
    Mapped[0] = 2;
    assert_int_equal(Nonpaged[0], 2);
    MmUnlockPages(M);
}

/* A lock of a lock: each MDL holds the pages by itself. */
static void MmProbeAndLockPages_TwoMdlsOverOnePage_BothHoldIt(void **State)
{
    KIT_MDL Second;
    (void)State;
    MmInitializeMdl(M, Paged, 8);
    MmInitializeMdl(&Second.Mdl, Paged + 100, 8);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    MmProbeAndLockPages(&Second.Mdl, KernelMode, IoWriteAccess);
    assert_int_equal(Kit.Frames[0], Second.Frames[0]);
    assert_int_equal(MiPfn(Kit.Frames[0])->ReferenceCount, 3);
    MmUnlockPages(M);
    assert_int_equal(MiPfn(Kit.Frames[0])->ReferenceCount, 2);
    MmUnlockPages(&Second.Mdl);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
    const struct CMUnitTest Tests[] = {
        TEST(MmSizeOfMdl_CountsPagesSpanned),
        TEST(MmInitializeMdl_FormatsTheHeader),
        TEST(MmCreateMdl_OwnOrGivenMemory),
        TEST(MmBuildMdlForNonPagedPool_FillsPagesAndFlags),
        TEST(MmProbeAndLockPages_MakesResidentAndPins),
        TEST(MmProbeAndLockPages_Operation_SetsWriteOperation),
        TEST(MmProbeAndLockPages_NoSuchAccess_Raises),
        TEST(MmProbeAndLockPages_UserModeOnSystemMemory_Raises),
        TEST(MmProbeAndLockPages_HostMemory_Raises),
        TEST(MmProbeAndLockPages_FreedSystemMemory_Raises),
        TEST(MmProbeAndLockPages_GuardPage_RaisesGuardViolation),
        TEST(MmProbeAndLockPages_NonpagedAtDispatch_Locks),
        TEST(MmProbeAndLockPages_TwoMdlsOverOnePage_BothHoldIt),
        TEST(MmUnlockPages_AfterTheOwnerFreed_GivesTheFrameBack),
        TEST(MmUnlockPages_Mapped_Unmaps),
        TEST(MmMapLockedPagesSpecifyCache_SecondAddressOfTheSameFrames),
        TEST(MmMapLockedPagesSpecifyCache_PriorityFlags_AreProtections),
        TEST(MmMapLockedPagesSpecifyCache_GuardPtes_LeaveAPageBehind),
        TEST(MmMapLockedPagesSpecifyCache_CacheType_IsInTheEntry),
        TEST(MmMapLockedPagesSpecifyCache_UserMode_MapsInTheUserRange),
        TEST(MmMapLockedPagesSpecifyCache_NoPtesLeft_IsNull),
        TEST(MmPrepareMdlForReuse_UnmapsOnlyWhatThePartialMapped),
        TEST(MmAdvanceMdl_MovesTheStart),
        TEST(MmProtectMdlSystemAddress_ChangesTheMappingOnly),
    };
    return cmocka_run_group_tests_name("mm_mdl", Tests, KitStart, KitStop);
}
