/*
 * mdl_flags.c - each step that moves MdlFlags, in the orders drivers take them; MDLs up to and beyond what the 16 bits of Size can tell.
 * SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"

#define TAG 0x676c664du /* 'Mflg' */

static PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}

/* ---- steps ---- */
static PMDL Mdl, Source;
static PUCHAR Buffer;
static PVOID Mapping, Reservation, UserMapping;

static void Init(void)
{
    MmInitializeMdl(Mdl, Buffer + 0x10, 3 * PAGE_SIZE);
}
static void Build(void)
{
    MmBuildMdlForNonPagedPool(Mdl);
}
static void LockRead(void)
{
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
}
static void LockWrite(void)
{
    MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
}
static void LockModify(void)
{
    MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
}
static void Unlock(void)
{
    MmUnlockPages(Mdl);
}
static void Map(void)
{
    Mapping = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority | MdlMappingNoExecute);
    assert_non_null(Mapping);
}
static void Get(void)
{
    Mapping = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
    assert_non_null(Mapping);
}
static void Unmap(void)
{
    MmUnmapLockedPages(Mapping, Mdl);
}
static void MapUser(void)
{
    UserMapping = MmMapLockedPagesSpecifyCache(Mdl, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
}
static void UnmapUser(void)
{
    MmUnmapLockedPages(UserMapping, Mdl);
}
static void MapReserved(void)
{
    assert_non_null(MmMapLockedPagesWithReservedMapping(Reservation, TAG, Mdl, MmCached));
}
static void UnmapReserved(void)
{
    MmUnmapReservedMapping(Reservation, TAG, Mdl);
}
static void Protect(void)
{
    assert_int_equal(MmProtectMdlSystemAddress(Mdl, PAGE_READONLY), STATUS_SUCCESS);
}
static void AdvanceByte(void)
{
    assert_int_equal(MmAdvanceMdl(Mdl, 1), STATUS_SUCCESS);
}
static void AdvancePage(void)
{
    assert_int_equal(MmAdvanceMdl(Mdl, PAGE_SIZE), STATUS_SUCCESS);
    if (Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) {
        Mapping = Mdl->MappedSystemVa;
    }
}
static void Reuse(void)
{
    MmPrepareMdlForReuse(Mdl);
}
static void Partial(void)
{
    IoBuildPartialMdl(Source, Mdl, (PUCHAR)MmGetMdlVirtualAddress(Source) + PAGE_SIZE, PAGE_SIZE);
}
static void SourceLocked(void)
{
    MmInitializeMdl(Source, Buffer, 4 * PAGE_SIZE);
    MmProbeAndLockPages(Source, KernelMode, IoWriteAccess);
}
static void SourceMapped(void)
{
    assert_non_null(MmGetSystemAddressForMdlSafe(Source, NormalPagePriority | MdlMappingNoExecute));
}
static void SourceUnlocked(void)
{
    MmUnlockPages(Source);
}
static void SourceBuilt(void)
{
    MmInitializeMdl(Source, Buffer, 4 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(Source);
}

#define LOCKED  MDL_PAGES_LOCKED
#define WRITE   MDL_WRITE_OPERATION
#define MAPPED  MDL_MAPPED_TO_SYSTEM_VA
#define POOL    MDL_SOURCE_IS_NONPAGED_POOL
#define PART    MDL_PARTIAL
#define PARTMAP MDL_PARTIAL_HAS_BEEN_MAPPED
#define EXTRA   MDL_FREE_EXTRA_PTES
#define S(Step) #Step, Step
typedef struct _STEP {
    const char *Name;
    void (*Step)(void);
    int After; /* of the MDL; 0 for SourceX too, where the MDL is new */
} STEP;

static const STEP Nonpaged[] = {
    {S(Init), 0},
    {S(Build), POOL},
    {S(Get), POOL},
    {S(MapUser), POOL},
    {S(UnmapUser), POOL},
    {S(Map), POOL | MAPPED},
    {S(Unmap), POOL},
    {S(AdvancePage), POOL},
    {S(Reuse), POOL},
    {S(Init), 0},
    {S(LockWrite), LOCKED | WRITE},
    {S(Unlock), WRITE},
    {S(Init), 0},
    {S(Build), POOL},
};
static const STEP Locked[] = {
    {S(Init), 0},
    {S(LockRead), LOCKED},
    {S(Get), LOCKED | MAPPED},
    {S(Protect), LOCKED | MAPPED},
    {S(Unmap), LOCKED},
    {S(MapReserved), LOCKED | MAPPED},
    {S(UnmapReserved), LOCKED},
    {S(MapUser), LOCKED},
    {S(UnmapUser), LOCKED},
    {S(Reuse), LOCKED},
    {S(Unlock), 0},
    {S(LockWrite), LOCKED | WRITE},
    {S(Map), LOCKED | WRITE | MAPPED},
    {S(Unlock), WRITE}, /* which unmaps */
    {S(LockRead), LOCKED},
    {S(Unlock), 0},
    {S(LockModify), LOCKED | WRITE},
    {S(MapReserved), LOCKED | WRITE | MAPPED},
    {S(UnmapReserved), LOCKED | WRITE},
    {S(Unlock), WRITE},
};
static const STEP Advanced[] = {
    {S(Init), 0},
    {S(LockRead), LOCKED},
    {S(AdvanceByte), LOCKED},
    {S(Get), LOCKED | MAPPED},
    {S(AdvanceByte), LOCKED | MAPPED},
    {S(AdvancePage), LOCKED | MAPPED | EXTRA},
    {S(AdvancePage), LOCKED | MAPPED | EXTRA},
    {S(Unmap), LOCKED},
    {S(Unlock), 0},
    {S(Init), 0},
    {S(LockRead), LOCKED},
    {S(AdvancePage), LOCKED},
    {S(Get), LOCKED | MAPPED},
    {S(AdvancePage), LOCKED | MAPPED | EXTRA},
    {S(Unlock), 0},
};
static const STEP PartialOfLocked[] = {
    {S(SourceLocked), 0},
    {S(Partial), PART},
    {S(Get), PART | MAPPED | PARTMAP},
    {S(Reuse), PART},
    {S(Map), PART | MAPPED | PARTMAP},
    {S(Unmap), PART},
    {S(MapReserved), PART | MAPPED | PARTMAP},
    {S(UnmapReserved), PART},
    {S(SourceMapped), PART},
    {S(Partial), PART | MAPPED}, /* its source's mapping */
    {S(Reuse), PART | MAPPED},
    {S(Get), PART | MAPPED},
    {S(SourceUnlocked), PART | MAPPED},
};
static const STEP PartialOfNonpaged[] = {
    {S(SourceBuilt), 0}, {S(Partial), PART | POOL}, {S(Get), PART | POOL}, {S(Reuse), PART | POOL}, {S(Partial), PART | POOL},
};

static void Walk(const STEP *Steps, size_t Count, BOOLEAN Paged)
{
    Mdl = ExAllocatePool2(POOL_FLAG_NON_PAGED, 256, TAG);
    Source = ExAllocatePool2(POOL_FLAG_NON_PAGED, 256, TAG);
    Buffer = ExAllocatePool2(Paged ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, 8 * PAGE_SIZE, TAG);
    Reservation = MmAllocateMappingAddress(8 * PAGE_SIZE, TAG);
    MmInitializeMdl(Mdl, Buffer, PAGE_SIZE);
    Mdl->Size = 256;
    for (size_t Index = 0; Index < Count; Index++) {
        Steps[Index].Step();
        if (Mdl->MdlFlags != Steps[Index].After) {
            fail_msg("after step %zu, %s: flags 0x%X, not 0x%X", Index, Steps[Index].Name, (USHORT)Mdl->MdlFlags,
                     Steps[Index].After);
        }
    }
    assert_null(MiValidateAll());
    MmFreeMappingAddress(Reservation, TAG);
    ExFreePoolWithTag(Buffer, TAG);
    ExFreePoolWithTag(Source, TAG);
    ExFreePoolWithTag(Mdl, TAG);
}

static void Flags_EachStep_MovesItsOwn(void **State)
{
    (void)State;
    Walk(Nonpaged, ARRAYSIZE(Nonpaged), FALSE);
    for (ULONG Paged = 0; Paged < 2; Paged++) {
        Walk(Locked, ARRAYSIZE(Locked), Paged != 0);
        Walk(Advanced, ARRAYSIZE(Advanced), Paged != 0);
        Walk(PartialOfLocked, ARRAYSIZE(PartialOfLocked), Paged != 0);
    }
    Walk(PartialOfNonpaged, ARRAYSIZE(PartialOfNonpaged), FALSE);
}

/* "MmAllocatePagesForMdl ... returns an MDL that describes ... locked pages"; MmFreePagesFromMdl "frees all the physical pages", and the
 * mapping goes with them. Device memory is described with MDL_IO_SPACE. */
static void Flags_OfPagesAndOfDeviceMemory(void **State)
{
    KIT_MDL Kit;
    (void)State;
    Mdl = MmAllocatePagesForMdl(At(0), At(~0ull), At(0), 3 * PAGE_SIZE);
    assert_int_equal(Mdl->MdlFlags, LOCKED);
    Get();
    assert_int_equal(Mdl->MdlFlags, LOCKED | MAPPED);
    Unmap();
    assert_int_equal(Mdl->MdlFlags, LOCKED);
    Get();
    MmFreePagesFromMdl(Mdl);
    assert_int_equal(Mdl->MdlFlags, 0);
    ExFreePool(Mdl);
    ULONG64 Physical = 0;
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        Physical = MiState->Runs[Index].Device ? MiState->Runs[Index].BasePage << PAGE_SHIFT : Physical;
    }
    assert_int_not_equal(Physical, 0);
    PUCHAR Device = MmMapIoSpace(At(Physical), 2 * PAGE_SIZE, MmNonCached);
    assert_non_null(Device);
    Mdl = &Kit.Mdl;
    MmInitializeMdl(Mdl, Device, 2 * PAGE_SIZE);
    LockRead();
    assert_int_equal(Mdl->MdlFlags, LOCKED | MDL_IO_SPACE);
    Unlock();
    assert_int_equal(Mdl->MdlFlags, 0);
    Build();
    assert_int_equal(Mdl->MdlFlags, POOL | MDL_IO_SPACE);
    MmUnmapIoSpace(Device, 2 * PAGE_SIZE);
}

/* A lock that fails leaves the flags, and the pages, alone. */
static void Flags_FailedLock_ChangesNothing(void **State)
{
    KIT_MDL Kit;
    NTSTATUS volatile Status = STATUS_SUCCESS;
    (void)State;
    Mdl = &Kit.Mdl;
    Buffer = ExAllocatePool2(POOL_FLAG_PAGED, 2 * PAGE_SIZE, TAG);
    MmInitializeMdl(Mdl, Buffer, 2 * PAGE_SIZE);
    LockWrite();
    Unlock();
    int Before = Mdl->MdlFlags;
    ULONG64 Held = MiState->LockedFrames;
    __try {
        MmProbeAndLockPages(Mdl, UserMode, IoReadAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_ACCESS_VIOLATION);
    assert_int_equal(Mdl->MdlFlags, Before);
    assert_int_equal(MiState->LockedFrames, Held);
    ExFreePoolWithTag(Buffer, TAG);
}

/* Size is "the size of the MDL structure ... in bytes" and has 16 bits; IoAllocateMdl's Length: "up to 4 gigabytes - PAGE_SIZE". */
static void Large_SizeWraps_NothingElseDoes(void **State)
{
    static const ULONG Pages[] = {8184, 8185, 8186, 8448};
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Pages); Index++) {
        SIZE_T Bytes = (SIZE_T)Pages[Index] << PAGE_SHIFT;
        assert_int_equal(MmSizeOfMdl(NULL, Bytes), sizeof(MDL) + Pages[Index] * sizeof(PFN_NUMBER));
        PMDL Frames = MmAllocatePagesForMdlEx(At(0), At(~0ull), At(0), Bytes, MmCached, MM_ALLOCATE_FULLY_REQUIRED);
        assert_non_null(Frames);
        PUCHAR First = MmGetSystemAddressForMdlSafe(Frames, NormalPagePriority | MdlMappingNoExecute);
        assert_non_null(First);
        PMDL Second = IoAllocateMdl(First, (ULONG)Bytes, FALSE, FALSE, NULL);
        assert_non_null(Second);
        assert_int_equal((USHORT)Second->Size, (USHORT)(sizeof(MDL) + Pages[Index] * sizeof(PFN_NUMBER)));
        assert_int_equal(MmGetMdlByteCount(Second), Bytes);
        MmProbeAndLockPages(Second, KernelMode, IoModifyAccess);
        assert_memory_equal(MmGetMdlPfnArray(Second), MmGetMdlPfnArray(Frames), Pages[Index] * sizeof(PFN_NUMBER));
        PUCHAR Alias = MmGetSystemAddressForMdlSafe(Second, NormalPagePriority | MdlMappingNoExecute);
        assert_non_null(Alias);
        for (SIZE_T Offset = 1; Offset < Bytes; Offset += Bytes / 7) {
            Alias[Offset] = (UCHAR)(Offset >> PAGE_SHIFT);
            assert_int_equal(First[Offset], (UCHAR)(Offset >> PAGE_SHIFT));
            assert_int_equal(MmGetPhysicalAddress(Alias + Offset).QuadPart, MmGetPhysicalAddress(First + Offset).QuadPart);
        }
        Alias[Bytes - 1] = 0x77;
        assert_int_equal(First[Bytes - 1], 0x77);
        PMDL Part = IoAllocateMdl(First, PAGE_SIZE, FALSE, FALSE, NULL);
        IoBuildPartialMdl(Second, Part, First + Bytes - PAGE_SIZE, PAGE_SIZE);
        assert_int_equal(MmGetMdlPfnArray(Part)[0], MmGetMdlPfnArray(Frames)[Pages[Index] - 1]);
        IoFreeMdl(Part);
        MmUnlockPages(Second);
        IoFreeMdl(Second);
        MmFreePagesFromMdl(Frames);
        ExFreePool(Frames);
    }
    PMDL Most = IoAllocateMdl((PVOID)0x1000, 0xFFFFF000u, FALSE, FALSE, NULL);
    assert_non_null(Most);
    assert_int_equal(MmGetMdlByteCount(Most), 0xFFFFF000u);
    IoFreeMdl(Most);
    assert_null(IoAllocateMdl((PVOID)0x1000, 0xFFFFF001u, FALSE, FALSE, NULL));
    assert_null(MiValidateAll());
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 256u << 20; /* two mappings of 33 MiB at once */
    Options.cpus = 2;
    return ntmm_start(&Options);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Flags_EachStep_MovesItsOwn),
        cmocka_unit_test(Flags_OfPagesAndOfDeviceMemory),
        cmocka_unit_test(Flags_FailedLock_ChangesNothing),
        cmocka_unit_test(Large_SizeWraps_NothingElseDoes),
    };
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
