/*
 * mm_mdl.c - the sins with MDLs and I/O space: 0x1A 0x3F 0x4E 0x76 0xDA with all five numbers.
 * SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"

static KIT_MDL Kit;
#define M (&Kit.Mdl)

static void Build(void *Mdl)
{
    MmBuildMdlForNonPagedPool(Mdl);
}
static void Unlock(void *Mdl)
{
    MmUnlockPages(Mdl);
}
static void Map(void *Mdl)
{
    (void)MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
}
static void MapOrStop(void *Mdl)
{
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, TRUE, NormalPagePriority);
}
static void Protect(void *Mdl)
{
    (void)MmProtectMdlSystemAddress(Mdl, PAGE_READONLY);
}
static PVOID UnmapAt;
static void Unmap(void *Mdl)
{
    MmUnmapLockedPages(UnmapAt, Mdl);
}
static void LockAtDispatch(void *Mdl)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    KeLowerIrql(Old);
}

static void BuildOverHostMemory_Is1A_1240(void **State)
{
    static UCHAR Global[64];
    (void)State;
    MmInitializeMdl(M, Global, sizeof(Global));
    KitExpectStop(Build, M, MEMORY_MANAGEMENT, 0x1240, M, 0, 0);
}

static void BuildOverPageableMemory_Is1A_1240(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    Va[0] = 1; /* resident by chance */
    MmInitializeMdl(M, Va, 64);
    KitExpectStop(Build, M, MEMORY_MANAGEMENT, 0x1240, M, MiPteOf((ULONG_PTR)Va), 0);
    MmFreePages(Va, 1);
    PUCHAR Nonpaged = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Nonpaged, 2 * PAGE_SIZE); /* runs past its end */
    KitExpectStop(Build, M, MEMORY_MANAGEMENT, 0x1240, M, MiPteOf((ULONG_PTR)Nonpaged + PAGE_SIZE), 0);
    MmFreePages(Nonpaged, 1);
}

static void UnlockTwice_SystemMemory_Is4E_7(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 64);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    MmUnlockPages(M);
    KitExpectStop(Unlock, M, PFN_LIST_CORRUPT, 7, KitFrame(Va), 1, 0);
    M->MdlFlags |= MDL_PAGES_LOCKED; /* a copy of the MDL says so still: the frame knows better */
    KitExpectStop(Unlock, M, PFN_LIST_CORRUPT, 7, KitFrame(Va), 1, 0);
    MmFreePages(Va, 1);
    KitAssertValid();
}

static void UnlockTwice_UserMemory_Is76_1(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(2, PAGE_READWRITE);
    KIT_MDL Other;
    MmInitializeMdl(M, Va, 64);
    MmInitializeMdl(&Other.Mdl, Va + PAGE_SIZE, 64);
    MmProbeAndLockPages(M, UserMode, IoReadAccess);
    MmProbeAndLockPages(&Other.Mdl, UserMode, IoReadAccess);
    MmUnlockPages(M);
    KitExpectStop(Unlock, M, PROCESS_HAS_LOCKED_PAGES, 1, M, 1, 0); /* the other page is still locked */
    MmUnlockPages(&Other.Mdl);
    KitExpectStop(Unlock, &Other.Mdl, PROCESS_HAS_LOCKED_PAGES, 1, &Other.Mdl, 0, 0);
    MmFreeUserPages(Va, 2);
}

static void MapUnlocked_Is1A_1236(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 64);
    Kit.Frames[0] = 0x123456789;
    KitExpectStop(Map, M, MEMORY_MANAGEMENT, 0x1236, M, &Kit.Frames[0], 0x123456789);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    PFN_NUMBER Frame = Kit.Frames[0];
    MmUnlockPages(M);
    MmFreePages(Va, 1);
    M->MdlFlags |= MDL_PAGES_LOCKED; /* a stale copy: the frame is free by now */
    KitExpectStop(Map, M, MEMORY_MANAGEMENT, 0x1236, M, &Kit.Frames[0], Frame);
}

static void ProtectInvalidMapping_Is1A_1235(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 64);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    M->MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    M->MappedSystemVa = (PVOID)(HalFacts.SystemEnd - PAGE_SIZE);
    KitExpectStop(Protect, M, MEMORY_MANAGEMENT, 0x1235, M, 0, 0);
    M->MdlFlags &= ~MDL_MAPPED_TO_SYSTEM_VA;
    MmUnlockPages(M);
    MmFreePages(Va, 1);
}

static void Unmap_WhatIsNotMappedSo_IsDA(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 4, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 2 * PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    UnmapAt = Va;
    KitExpectStop(Unmap, M, SYSTEM_PTE_MISUSE, 6, M, Va, 2); /* never mapped */
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    UnmapAt = Mapped + PAGE_SIZE;
    KitExpectStop(Unmap, M, SYSTEM_PTE_MISUSE, 3, M, Mapped, Mapped + PAGE_SIZE); /* another address */
    UnmapAt = Mapped;
    M->ByteCount = PAGE_SIZE;
    KitExpectStop(Unmap, M, SYSTEM_PTE_MISUSE, 2, M, 2, 1); /* another size */
    M->ByteCount = 2 * PAGE_SIZE;
    PFN_NUMBER First = Kit.Frames[0];
    Kit.Frames[0] = 77;
    KitExpectStop(Unmap, M, SYSTEM_PTE_MISUSE, 4, M, First, 77); /* another first page */
    Kit.Frames[0] = First;
    KIT_MDL Copy = Kit;
    MmUnmapLockedPages(Mapped, M);
    KitExpectStop(Unmap, M, SYSTEM_PTE_MISUSE, 6, M, Mapped, 2);                  /* twice */
    KitExpectStop(Unmap, &Copy.Mdl, SYSTEM_PTE_MISUSE, 0x306, Mapped, Mapped, 2); /* twice, through a copy */
    MmUnlockPages(M);
    MmFreePages(Va, 4);
    KitAssertValid();
}

static void Unmap_UserAddressThatIsNone_IsDA_302(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(2, PAGE_READWRITE);
    MmInitializeMdl(M, Va, PAGE_SIZE);
    MmProbeAndLockPages(M, UserMode, IoReadAccess);
    UnmapAt = Va + 8 * PAGE_SIZE;
    KitExpectStop(Unmap, M, SYSTEM_PTE_MISUSE, 0x302, UnmapAt, 0, 0);
    MmUnlockPages(M);
    MmFreeUserPages(Va, 2);
}

static void MapNoBytes_IsDA_200(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 0);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    KitExpectStop(MapOrStop, M, SYSTEM_PTE_MISUSE, 0x200, 0, 0, 0);
    MmUnlockPages(M);
    MmFreePages(Va, 1);
}

static void NoPtesLeft_AskedToStop_Is3F(void **State)
{
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 64);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    assert_int_equal(Region->AddressPages, 0);
    ULONG_PTR Hog = MiAllocateVa(Region, Region->Bits);
    KitExpectStop(MapOrStop, M, NO_MORE_SYSTEM_PTES, 0, 1, 0, Region->Bits);
    MiFreeVa(Region, Hog, Region->Bits);
    MmUnlockPages(M);
    MmFreePages(Va, 1);
}

/* With track_ptes the stop is 0xD8, and the block says who holds what. */
static void NoPtesLeft_Tracked_IsD8_AndNamesTheHolder(void **State)
{
    static KIT_MDL Held[3];
    static char Text[16384];
    ntmm_bugcheck Bad;
    MI_REGION *Region = &MiState->Regions[MmRegionSystemPtes];
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 16, 0, NormalPoolPriority);
    for (ULONG Index = 0; Index < 3; Index++) {
        MmInitializeMdl(&Held[Index].Mdl, Va + Index * PAGE_SIZE, (2 + Index) * PAGE_SIZE);
        MmProbeAndLockPages(&Held[Index].Mdl, KernelMode, IoReadAccess);
        Map(&Held[Index].Mdl); /* one place of this program, nine pages */
    }
    MmInitializeMdl(M, Va, 5 * PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    ULONG Rest = Region->Bits - Region->AddressPages;
    ULONG_PTR Hog = MiAllocateVa(Region, Rest);
    assert_true(Hog != 0);
    KeOptions.TrackPtes = TRUE;
    assert_true(ntmm_catch(MapOrStop, M, &Bad));
    KeOptions.TrackPtes = FALSE;
    assert_int_equal(Bad.code, DRIVER_USED_EXCESSIVE_PTES);
    PCUNICODE_STRING Name =
        (PCUNICODE_STRING)Bad.parameters[0]; /* "the name of the driver": no driver's binary, no driver object */
    assert_int_equal(Name->Length, 7 * sizeof(WCHAR));
    assert_memory_equal(Name->Buffer, u"program", 7 * sizeof(WCHAR));
    assert_int_equal(Bad.parameters[1], 9);
    assert_int_equal(Bad.parameters[2], 0);
    assert_int_equal(Bad.parameters[3], Region->Bits);
    ntmm_report(&Bad, false, Text, sizeof(Text));
    assert_non_null(strstr(Text, "system PTEs are held by:"));
    assert_non_null(strstr(Text, "9 pages in 3 mappings  test_misuse.mm_mdl!"));
    ntmm_report(&Bad, true, Text, sizeof(Text));
    assert_non_null(strstr(Text, "\"holders\""));
    MiFreeVa(Region, Hog, Rest);
    for (ULONG Index = 0; Index < 3; Index++) {
        MmUnlockPages(&Held[Index].Mdl);
    }
    MmUnlockPages(M);
    MmFreePages(Va, 16);
}

static void LockPageableAtDispatch_Is0A(void **State)
{
    ntmm_bugcheck Stop;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    MmInitializeMdl(M, Va, 64);
    assert_true(ntmm_catch(LockAtDispatch, M, &Stop));
    assert_int_equal(Stop.code, IRQL_NOT_LESS_OR_EQUAL);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Va);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], 0);
    assert_in_range(Stop.parameters[3], (ULONG_PTR)LockAtDispatch, (ULONG_PTR)LockAtDispatch + 512);
    MmFreePages(Va, 1);
}

static ULONG64 Physical;
static void MapIo(void *Unused)
{
    PHYSICAL_ADDRESS Address;
    (void)Unused;
    Address.QuadPart = (LONGLONG)Physical;
    (void)MmMapIoSpace(Address, 64, MmNonCached);
}
static void MapIoSpace_FreeRam_Is1A_1233(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    Physical = (ULONG64)MmGetPhysicalAddress(Va).QuadPart;
    MmFreePages(Va, 1);
    KitExpectStop(MapIo, NULL, MEMORY_MANAGEMENT, 0x1233, Physical >> PAGE_SHIFT, 0, 0);
}

static SIZE_T UnmapBytes;
static void UnmapIo(void *Va)
{
    MmUnmapIoSpace(Va, UnmapBytes);
}
static void UnmapIoSpace_Unknown_IsDA_400(void **State)
{
    PHYSICAL_ADDRESS Address;
    (void)State;
    PUCHAR Ram = MmAllocatePages(MmRegionNonPagedPool, 2, 0, NormalPoolPriority);
    Address = MmGetPhysicalAddress(Ram);
    PUCHAR Va = MmMapIoSpace(Address, PAGE_SIZE, MmCached);
    UnmapBytes = 2 * PAGE_SIZE;
    KitExpectStop(UnmapIo, Va, SYSTEM_PTE_MISUSE, 0x305, Va, 2, 1); /* another size */
    UnmapBytes = PAGE_SIZE;
    KitExpectStop(UnmapIo, Ram, SYSTEM_PTE_MISUSE, 0x400, Ram, 1, 0); /* not a mapping at all */
    MmUnmapIoSpace(Va, PAGE_SIZE);
    KitExpectStop(UnmapIo, Va, SYSTEM_PTE_MISUSE, 0x400, Va, 1, 0); /* twice */
    MmFreePages(Ram, 2);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test(Name)
    const struct CMUnitTest Tests[] = {
        TEST(NoPtesLeft_AskedToStop_Is3F),
        TEST(NoPtesLeft_Tracked_IsD8_AndNamesTheHolder),
        TEST(BuildOverHostMemory_Is1A_1240),
        TEST(BuildOverPageableMemory_Is1A_1240),
        TEST(UnlockTwice_SystemMemory_Is4E_7),
        TEST(UnlockTwice_UserMemory_Is76_1),
        TEST(MapUnlocked_Is1A_1236),
        TEST(ProtectInvalidMapping_Is1A_1235),
        TEST(Unmap_WhatIsNotMappedSo_IsDA),
        TEST(Unmap_UserAddressThatIsNone_IsDA_302),
        TEST(MapNoBytes_IsDA_200),
        TEST(LockPageableAtDispatch_Is0A),
        TEST(MapIoSpace_FreeRam_Is1A_1233),
        TEST(UnmapIoSpace_Unknown_IsDA_400),
    };
    return cmocka_run_group_tests_name("mm_mdl", Tests, KitStart, KitStop);
}
