/*
 * mm_reserved.c - reserved mapping addresses, MmMapMdl, selected pages, I/O space MDLs, cache types, nodes: a test for each
 * documented sentence, and the misuse of reservations with all five numbers. SPDX-License-Identifier: MIT
 */
#include "mdl_kit.h"
#include "ps/psp.h"

#define TAG  0x31746f4eu /* 'Not1' */
#define TAG2 0x32746f4eu

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 4;
    Options.nodes = 2;
    return ntmm_start(&Options);
}
static PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}
static void LockPaged(SIZE_T Offset, SIZE_T Bytes)
{
    MmInitializeMdl(M, Paged + Offset, Bytes);
    MmProbeAndLockPages(M, KernelMode, IoModifyAccess);
}

/* MmAllocateMappingAddress: "reserves a range of system virtual address space": no memory behind it. */
static void MmAllocateMappingAddress_ReservesAddressesOnly(void **State)
{
    MM_COUNTERS Before, After;
    (void)State;
    MmQueryCounters(&Before);
    PUCHAR Va = MmAllocateMappingAddress(3 * PAGE_SIZE + 1, TAG);
    MmQueryCounters(&After);
    assert_non_null(Va);
    assert_int_equal((ULONG_PTR)Va & (PAGE_SIZE - 1), 0);
    assert_int_equal(MmRegionOf(Va), MmRegionSystemPtes);
    assert_false(MmIsAddressValid(Va));
    assert_in_range(After.ActivePages - Before.ActivePages, 0, 3); /* tables and the record at most */
    KitAssertValid();
    MmFreeMappingAddress(Va, TAG);
    KitAssertValid();
}

/* "MM_MAPPING_ADDRESS_DIVISIBLE": the address is divisible by the size; other flags do not exist. */
static void MmAllocateMappingAddressEx_Divisible(void **State)
{
    (void)State;
    PUCHAR Odd = MmAllocateMappingAddress(PAGE_SIZE, TAG);
    for (ULONG Pages = 1; Pages <= 64; Pages *= 4) {
        PUCHAR Va = MmAllocateMappingAddressEx(Pages * PAGE_SIZE, TAG, MM_MAPPING_ADDRESS_DIVISIBLE);
        assert_non_null(Va);
        assert_int_equal((ULONG_PTR)Va % (Pages * PAGE_SIZE), 0);
        MmFreeMappingAddress(Va, TAG);
    }
    MmFreeMappingAddress(Odd, TAG);
    assert_null(MmAllocateMappingAddressEx(PAGE_SIZE, TAG, 0x80));
    assert_null(MmAllocateMappingAddress(1ull << 44, TAG)); /* "NULL if there is no such range" */
}

/* MmMapLockedPagesWithReservedMapping: "maps all or part of an address range that was previously reserved"; the result
 * includes the byte offset, MappedSystemVa does not. */
static void MmMapLockedPagesWithReservedMapping_ShowsTheFrames(void **State)
{
    KIRQL Old;
    (void)State;
    PUCHAR Va = MmAllocateMappingAddress(4 * PAGE_SIZE, TAG);
    for (ULONG Round = 0; Round < 3; Round++) {
        LockPaged(0x234, 2 * PAGE_SIZE);
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        PUCHAR Mapped = MmMapLockedPagesWithReservedMapping(Va, TAG, M, MmCached);
        KeLowerIrql(Old);
        assert_ptr_equal(Mapped, Va + 0x234);
        assert_ptr_equal(M->MappedSystemVa, Va);
        assert_true(M->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA);
        for (ULONG Page = 0; Page < 3; Page++) {
            assert_int_equal(KitFrame(Va + Page * PAGE_SIZE), KitFrame(Paged + Page * PAGE_SIZE));
        }
        Mapped[PAGE_SIZE] = (UCHAR)(0x40 + Round);
        assert_int_equal(Paged[0x234 + PAGE_SIZE], 0x40 + Round);
        assert_false(MmIsAddressValid(Va + 3 * PAGE_SIZE));
        KitAssertValid();
        MmUnmapReservedMapping(Va, TAG, M);
        assert_false(M->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA);
        assert_false(MmIsAddressValid(Va));
        MmUnlockPages(M);
    }
    LockPaged(0, 5 * PAGE_SIZE);
    assert_null(MmMapLockedPagesWithReservedMapping(Va, TAG, M, MmCached)); /* "NULL: the range is too small" */
    MmUnlockPages(M);
    MmFreeMappingAddress(Va, TAG);
}

/* ---- misuse: 0xDA/0x100 to 0x10C, 0x301 ---- */
static PUCHAR Reserved;
static void AllocateNothing(void *Unused)
{
    (void)Unused;
    (void)MmAllocateMappingAddress(0, TAG);
}
static void FreeWrongTag(void *Unused)
{
    (void)Unused;
    MmFreeMappingAddress(Reserved, TAG2);
}
static void FreeIt(void *Va)
{
    MmFreeMappingAddress(Va, TAG);
}
static ULONG MapTag;
static void MapThere(void *Va)
{
    (void)MmMapLockedPagesWithReservedMapping(Va, MapTag, M, MmCached);
}
static void UnmapThere(void *Mdl)
{
    MmUnmapReservedMapping(Reserved, MapTag, Mdl);
}
static void UnlockIt(void *Mdl)
{
    MmUnlockPages(Mdl);
}
static void Reservations_Misused_AreDA(void **State)
{
    ntmm_bugcheck Stop;
    KIT_MDL Other;
    (void)State;
    assert_true(ntmm_catch(AllocateNothing, NULL, &Stop));
    assert_int_equal(Stop.code, SYSTEM_PTE_MISUSE);
    assert_int_equal(Stop.parameters[0], 0x100);
    assert_int_equal(Stop.parameters[1], 0);
    assert_int_equal(Stop.parameters[2], TAG);
    Reserved = MmAllocateMappingAddress(4 * PAGE_SIZE, TAG);
    MapTag = TAG;
    KitExpectStop(FreeWrongTag, NULL, SYSTEM_PTE_MISUSE, 0x101, Reserved, TAG2, TAG);
    KitExpectStop(FreeIt, Reserved + PAGE_SIZE, SYSTEM_PTE_MISUSE, 0x102, Reserved + PAGE_SIZE, TAG, 0);
    LockPaged(0, 2 * PAGE_SIZE);
    KitExpectStop(MapThere, Nonpaged, SYSTEM_PTE_MISUSE, 0x105, Nonpaged, TAG, 0);
    MapTag = TAG2;
    KitExpectStop(MapThere, Reserved, SYSTEM_PTE_MISUSE, 0x104, Reserved, TAG2, TAG);
    MapTag = TAG;
    KitExpectStop(UnmapThere, M, SYSTEM_PTE_MISUSE, 0x109, Reserved, TAG, 0);
    MapThere(Reserved);
    KitExpectStop(FreeIt, Reserved, SYSTEM_PTE_MISUSE, 0x103, Reserved, TAG, 4);
    KitExpectStop(MapThere, Reserved, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB2, M, (USHORT)M->MdlFlags,
                  MDL_MAPPED_TO_SYSTEM_VA);
    Other = Kit;
    Other.Mdl.MdlFlags &= ~MDL_MAPPED_TO_SYSTEM_VA;
    {
        KIT_MDL Saved = Kit;
        Kit = Other;
        KitExpectStop(MapThere, Reserved, SYSTEM_PTE_MISUSE, 0x107, Reserved, Reserved, Reserved + PAGE_SIZE);
        Kit = Saved;
    }
    MapTag = TAG2;
    KitExpectStop(UnmapThere, M, SYSTEM_PTE_MISUSE, 0x108, Reserved, TAG2, TAG);
    MapTag = TAG;
    M->ByteCount = 5 * PAGE_SIZE;
    KitExpectStop(UnmapThere, M, SYSTEM_PTE_MISUSE, 0x10A, Reserved, 4, 5);
    M->ByteCount = 3 * PAGE_SIZE;
    KitExpectStop(UnmapThere, M, SYSTEM_PTE_MISUSE, 0x10B, Reserved, TAG, 3);
    M->ByteCount = PAGE_SIZE;
    KitExpectStop(UnmapThere, M, SYSTEM_PTE_MISUSE, 0x10C, Reserved, TAG, 1);
    M->ByteCount = 2 * PAGE_SIZE;
    /* MmUnlockPages would unmap; a reserved mapping has its own routine for that */
    KitExpectStop(UnlockIt, M, SYSTEM_PTE_MISUSE, 0x301, Reserved, 0, 0);
    MmUnmapReservedMapping(Reserved, TAG, M);
    MmUnlockPages(M);
    MmFreeMappingAddress(Reserved, TAG);
    KitExpectStop(FreeIt, Reserved, SYSTEM_PTE_MISUSE, 0x102, Reserved, TAG, 0);
    KitAssertValid();
}

/* ---- Verifier's numbers for MDLs in the wrong state, made always ---- */
static void LockIt(void *Mdl)
{
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
}
static void LockInProcess(void *Mdl)
{
    MmProbeAndLockProcessPages(Mdl, PsInitialSystemProcess, KernelMode, IoReadAccess);
}
static void MapIt(void *Mdl)
{
    (void)MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
}
static void UnmapIt(void *Mdl)
{
    MmUnmapLockedPages(((PMDL)Mdl)->MappedSystemVa, Mdl);
}
static void FreeMdl(void *Mdl)
{
    IoFreeMdl(Mdl);
}
static void MdlStates_Misused_AreTheVerifiersStops(void **State)
{
    (void)State;
    LockPaged(0, PAGE_SIZE);
    KitExpectStop(LockIt, M, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB0, M, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION, 0x17);
    KitExpectStop(LockInProcess, M, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB1, M, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION, 0x17);
    assert_non_null(MmGetSystemAddressForMdlSafe(M, NormalPagePriority));
    KitExpectStop(MapIt, M, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB2, M, (USHORT)M->MdlFlags, MDL_MAPPED_TO_SYSTEM_VA);
    PMDL Partial = IoAllocateMdl(Paged, PAGE_SIZE, FALSE, FALSE, NULL);
    IoBuildPartialMdl(M, Partial, Paged, PAGE_SIZE);
    KitExpectStop(LockIt, Partial, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB0, Partial, (USHORT)Partial->MdlFlags, 0x17);
    KitExpectStop(UnmapIt, Partial, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB5, Partial, (USHORT)Partial->MdlFlags, MDL_PARTIAL);
    IoFreeMdl(Partial); /* shares the mapping, which stays */
    assert_true(MmIsAddressValid(M->MappedSystemVa));
    MmUnlockPages(M);
    MmInitializeMdl(M, Nonpaged, PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    KitExpectStop(LockIt, M, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB0, M, MDL_SOURCE_IS_NONPAGED_POOL, 0x17);
    PMDL Mapped = IoAllocateMdl(Paged, PAGE_SIZE, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mapped, KernelMode, IoReadAccess);
    assert_non_null(MmGetSystemAddressForMdlSafe(Mapped, NormalPagePriority));
    KitExpectStop(FreeMdl, Mapped, DRIVER_VERIFIER_DETECTED_VIOLATION, 0xB8, Mapped, (USHORT)Mapped->MdlFlags, 0);
    Mapped->StartVa = (PUCHAR)Mapped->StartVa + PAGE_SIZE; /* 0xDA/5: the MDL speaks of another buffer by now */
    KitExpectStop(UnmapIt, Mapped, SYSTEM_PTE_MISUSE, 5, Mapped, Paged, Paged + PAGE_SIZE);
    Mapped->StartVa = Paged;
    MmUnlockPages(Mapped);
    IoFreeMdl(Mapped);
}

/* The IRQL that each routine wants: DISPATCH_LEVEL, or APC_LEVEL for user addresses. */
static struct {
    PMDL Mdl;
    KIRQL Irql;
    int What;
} Raised;
static void AtRaisedIrql(void *Unused)
{
    KIRQL Old;
    (void)Unused;
    KeRaiseIrql(Raised.Irql, &Old);
    switch (Raised.What) {
    case 0x70:
        MmProbeAndLockPages(Raised.Mdl, KernelMode, IoReadAccess);
        break;
    case 0x73:
        (void)MmMapIoSpace(At(0xFEB00000), PAGE_SIZE, MmNonCached);
        break;
    case 0x74:
        (void)MmMapLockedPages(Raised.Mdl, KernelMode);
        break;
    case 0x75:
        (void)MmMapLockedPages(Raised.Mdl, UserMode);
        break;
    case 0x76:
        (void)MmMapLockedPagesSpecifyCache(Raised.Mdl, KernelMode, MmCached, NULL, FALSE, 0);
        break;
    case 0x77:
        (void)MmMapLockedPagesSpecifyCache(Raised.Mdl, UserMode, MmCached, NULL, FALSE, 0);
        break;
    case 0x78:
        MmUnlockPages(Raised.Mdl);
        break;
    case 0x79:
        MmUnmapLockedPages(Nonpaged, Raised.Mdl);
        break;
    case 0x7A:
        MmUnmapLockedPages(User, Raised.Mdl);
        break;
    case 0x7B:
        MmUnmapIoSpace(Nonpaged, 64);
        break;
    default:
        (void)MmAllocatePagesForMdl(At(0), At(~0ull), At(0), PAGE_SIZE);
        break;
    }
}
static void Routines_AtTooHighIrql_AreC4_70_To_7E(void **State)
{
    const KIRQL High = DISPATCH_LEVEL + 1;
    (void)State;
    LockPaged(0, PAGE_SIZE);
    const struct {
        int What;
        KIRQL Irql;
        ULONG_PTR P3, P4;
    } Cases[] = {{0x70, High, (ULONG_PTR)M, KernelMode},
                 {0x73, High, 0xFEB00000, PAGE_SIZE},
                 {0x74, High, (ULONG_PTR)M, KernelMode},
                 {0x75, DISPATCH_LEVEL, (ULONG_PTR)M, UserMode},
                 {0x76, High, (ULONG_PTR)M, KernelMode},
                 {0x77, DISPATCH_LEVEL, (ULONG_PTR)M, UserMode},
                 {0x78, High, (ULONG_PTR)M, 0},
                 {0x79, High, (ULONG_PTR)Nonpaged, (ULONG_PTR)M},
                 {0x7A, DISPATCH_LEVEL, (ULONG_PTR)User, (ULONG_PTR)M},
                 {0x7B, High, (ULONG_PTR)Nonpaged, 64},
                 {0x7E, High, DISPATCH_LEVEL, 0}};
    for (size_t Index = 0; Index < ARRAYSIZE(Cases); Index++) {
        Raised.Mdl = M;
        Raised.Irql = Cases[Index].Irql;
        Raised.What = Cases[Index].What;
        KitExpectStop(AtRaisedIrql, NULL, DRIVER_VERIFIER_DETECTED_VIOLATION, Cases[Index].What, Cases[Index].Irql,
                      Cases[Index].P3, Cases[Index].P4);
    }
    MmUnlockPages(M);
}

/* ---- MmMapMdl ---- */
static struct {
    PVOID Va;
    ULONG Calls;
    KIRQL Irql;
    UCHAR Seen;
    MI_PROT Protection;
} Called;
static VOID OnMapped(PVOID Context, PVOID Va)
{
    assert_ptr_equal(Context, &Called);
    Called.Va = Va;
    Called.Calls++;
    Called.Irql = KeGetCurrentIrql();
    Called.Seen = *(PUCHAR)Va;
    Called.Protection = MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va)));
}
/* "maps ..., calls the driver routine, and unmaps"; the status says whether the routine ran. */
static void MmMapMdl_MapsForTheCallOnly(void **State)
{
    (void)State;
    memset(&Called, 0, sizeof(Called));
    Paged[0x10] = 0x77;
    LockPaged(0x10, PAGE_SIZE);
    assert_int_equal(MmMapMdl(M, PAGE_READONLY, OnMapped, &Called), STATUS_SUCCESS);
    assert_int_equal(Called.Calls, 1);
    assert_int_equal(Called.Seen, 0x77);
    assert_int_equal(Called.Protection, MI_PROT_READONLY);
    assert_int_equal((ULONG_PTR)Called.Va & (PAGE_SIZE - 1), 0x10);
    assert_false(MmIsAddressValid(Called.Va));
    assert_false(M->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA);
    assert_int_equal(MmMapMdl(M, 0x4000, OnMapped, &Called), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(MmMapMdl(M, PAGE_NOACCESS, OnMapped, &Called), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(Called.Calls, 1);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    assert_int_equal(MmMapMdl(M, PAGE_READWRITE, OnMapped, &Called), STATUS_SUCCESS);
    assert_ptr_equal(Called.Va, Mapped); /* the mapping that stands is taken, and stays */
    assert_true(MmIsAddressValid(Mapped));
    MmUnlockPages(M);
}

/* ---- MmProbeAndLockSelectedPages ---- */
static NTSTATUS LockSelected(PFILE_SEGMENT_ELEMENT Segments, KPROCESSOR_MODE Mode)
{
    NTSTATUS volatile Status = STATUS_SUCCESS;
    __try {
        MmProbeAndLockSelectedPages(M, Segments, Mode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}
static void MmProbeAndLockSelectedPages_LocksTheListedPages(void **State)
{
    FILE_SEGMENT_ELEMENT Segments[3] = {{.Buffer = User + 5 * PAGE_SIZE}, {.Buffer = User}, {.Buffer = User + 2 * PAGE_SIZE}};
    (void)State;
    MmInitializeMdl(M, NULL, 3 * PAGE_SIZE);
    assert_int_equal(LockSelected(Segments, UserMode), STATUS_SUCCESS);
    assert_int_equal(M->MdlFlags, MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
    for (ULONG Page = 0; Page < 3; Page++) {
        assert_int_equal(Kit.Frames[Page], KitFrame(Segments[Page].Buffer));
    }
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    Mapped[PAGE_SIZE + 1] = 0x5A;
    assert_int_equal(User[1], 0x5A); /* the second listed page */
    MmUnlockPages(M);
    assert_int_equal(MiPfn(Kit.Frames[0])->ReferenceCount, 1);
    Segments[1].Buffer = User + 3;
    MmInitializeMdl(M, NULL, 3 * PAGE_SIZE);
    assert_int_equal(LockSelected(Segments, UserMode), STATUS_DATATYPE_MISALIGNMENT);
    assert_int_equal(MiPfn(KitFrame(User + 5 * PAGE_SIZE))->ReferenceCount, 1); /* nothing stays locked */
    Segments[1].Buffer = Nonpaged;
    assert_int_equal(LockSelected(Segments, UserMode), STATUS_ACCESS_VIOLATION);
    assert_int_equal(M->MdlFlags, 0);
}

/* ---- large MDLs ---- */
/* "the maximum length ... is (4 gigabytes - PAGE_SIZE)"; Size has 16 bits and does not count. */
static void Mdl_LargerThanItsSizeField_LocksMapsAndUnlocks(void **State)
{
    const ULONG Pages = 8500; /* 48 + 68,000 bytes */
    (void)State;
    PUCHAR Big = MmAllocateUserPages(Pages, PAGE_READWRITE);
    assert_non_null(Big);
    PMDL Mdl = IoAllocateMdl(Big, Pages * PAGE_SIZE, FALSE, FALSE, NULL);
    assert_non_null(Mdl);
    MmProbeAndLockPages(Mdl, UserMode, IoWriteAccess);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
    assert_non_null(Mapped);
    for (ULONG Page = 0; Page < Pages; Page += 499) {
        Mapped[Page * PAGE_SIZE] = (UCHAR)Page;
        assert_int_equal(Big[Page * PAGE_SIZE], (UCHAR)Page);
    }
    Mapped[(Pages - 1) * PAGE_SIZE] = 0xEE;
    assert_int_equal(Big[(Pages - 1) * PAGE_SIZE], 0xEE);
    PMDL Part = IoAllocateMdl(Big + PAGE_SIZE, (Pages - 1) * PAGE_SIZE, FALSE, FALSE, NULL);
    IoBuildPartialMdl(Mdl, Part, Big + PAGE_SIZE, 0); /* "Length 0: the rest" */
    assert_int_equal(MmGetMdlByteCount(Part), (Pages - 1) * PAGE_SIZE);
    assert_int_equal(MmGetMdlPfnArray(Part)[Pages - 2], MmGetMdlPfnArray(Mdl)[Pages - 1]);
    assert_ptr_equal(Part->MappedSystemVa, Mapped + PAGE_SIZE);
    IoFreeMdl(Part);
    KitAssertValid();
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    MmFreeUserPages(Big, Pages);
    assert_null(IoAllocateMdl(NULL, 0xfffff001u, FALSE, FALSE, NULL));
}

/* ---- I/O space ---- */
static ULONG64 FindHole(void)
{
    const MI_RUN *Last = &MiState->Runs[MiState->RunCount - 1];
    return ((Last->BasePage + Last->PageCount) << PAGE_SHIFT) + (16ull << 20);
}
static ULONG64 FindDevice(void)
{
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        if (MiState->Runs[Index].Device) {
            return MiState->Runs[Index].BasePage << PAGE_SHIFT;
        }
    }
    return 0;
}
/* A hole reads as ones, and has its own physical address. */
static void MmMapIoSpace_Hole_ReadsAsOnes(void **State)
{
    ULONG64 Hole = FindHole();
    (void)State;
    PUCHAR Va = MmMapIoSpace(At(Hole + 0x30), 2 * PAGE_SIZE, MmNonCached);
    assert_non_null(Va);
    assert_int_equal(*(volatile ULONG *)Va, 0xFFFFFFFF);
    assert_int_equal(*(volatile ULONG *)(Va + PAGE_SIZE), 0xFFFFFFFF);
    assert_int_equal(MmGetPhysicalAddress(Va + PAGE_SIZE).QuadPart, Hole + PAGE_SIZE + 0x30);
    Va[0] = 0;
    PUCHAR Again = MmMapIoSpace(At(Hole), PAGE_SIZE, MmNonCached);
    assert_int_equal(Again[0x30], 0xFF); /* nothing is kept there */
    MmUnmapIoSpace(Again, PAGE_SIZE);
    MmUnmapIoSpace(Va, 2 * PAGE_SIZE);
    KitAssertValid();
}

/* MmAllocateMdlForIoSpace: ranges "must be page-aligned", not RAM, less than 4 GB. */
static void MmAllocateMdlForIoSpace_DescribesDeviceMemory(void **State)
{
    ULONG64 Device = FindDevice();
    MM_PHYSICAL_ADDRESS_LIST List[2] = {{At(Device + PAGE_SIZE), PAGE_SIZE}, {At(Device), PAGE_SIZE}};
    PMDL Mdl = NULL;
    (void)State;
    if (Device == 0) {
        skip();
    }
    assert_int_equal(MmAllocateMdlForIoSpace(List, 2, &Mdl), STATUS_SUCCESS);
    assert_true(Mdl->MdlFlags & MDL_IO_SPACE);
    assert_int_equal(MmGetMdlByteCount(Mdl), 2 * PAGE_SIZE);
    PUCHAR Mapped = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmNonCached, NULL, FALSE, NormalPagePriority);
    assert_non_null(Mapped);
    PUCHAR Direct = MmMapIoSpace(At(Device), 2 * PAGE_SIZE, MmNonCached);
    Mapped[5] = 0x91;
    assert_int_equal(Direct[PAGE_SIZE + 5], 0x91);
    assert_false(MmAreMdlPagesCached(Mdl));
    MmUnmapIoSpace(Direct, 2 * PAGE_SIZE);
    MmUnmapLockedPages(Mapped, Mdl);
    IoFreeMdl(Mdl);
    List[0].NumberOfBytes = 100;
    assert_int_equal(MmAllocateMdlForIoSpace(List, 2, &Mdl), STATUS_INVALID_PARAMETER_1);
    List[0] = (MM_PHYSICAL_ADDRESS_LIST){At(Device + 1), PAGE_SIZE};
    assert_int_equal(MmAllocateMdlForIoSpace(List, 2, &Mdl), STATUS_INVALID_PARAMETER_1);
    List[0] = (MM_PHYSICAL_ADDRESS_LIST){MmGetPhysicalAddress(Nonpaged), PAGE_SIZE};
    assert_int_equal(MmAllocateMdlForIoSpace(List, 2, &Mdl), STATUS_INVALID_PARAMETER_1);
    List[0] = (MM_PHYSICAL_ADDRESS_LIST){At(FindHole()), 0x100000000ull};
    assert_int_equal(MmAllocateMdlForIoSpace(List, 2, &Mdl), STATUS_INVALID_PARAMETER_1);
}

/* ---- cache types ---- */
/* "If the pages have a cache type already, it is used": the existing type wins. */
static void CacheTypes_TheExistingTypeWins(void **State)
{
    MEMORY_CACHING_TYPE Type;
    ULONG64 Device = FindDevice();
    (void)State;
    LockPaged(0, PAGE_SIZE); /* pool is cached */
    PUCHAR Mapped = MmMapLockedPagesSpecifyCache(M, KernelMode, MmNonCached, NULL, FALSE, NormalPagePriority);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Mapped))), MI_PROT_EXECUTE_READWRITE);
    assert_int_equal(MmGetCacheAttribute(MmGetPhysicalAddress(Paged), &Type), STATUS_SUCCESS);
    assert_int_equal(Type, MmCached);
    MmUnlockPages(M);
    /* "Pages that MmAllocatePagesForMdl returns have no cache type": the first mapping gives them one */
    PMDL Mdl = MmAllocatePagesForMdl(At(0), At(~0ull), At(0), 2 * PAGE_SIZE);
    PHYSICAL_ADDRESS First = At(MmGetMdlPfnArray(Mdl)[0] << PAGE_SHIFT);
    assert_int_equal(MmGetCacheAttribute(First, &Type), STATUS_INVALID_PARAMETER);
    Mapped = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmWriteCombined, NULL, FALSE, NormalPagePriority);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Mapped))) & 0x18, MI_PROT_WRITECOMBINE);
    assert_int_equal(MmGetCacheAttribute(First, &Type), STATUS_SUCCESS);
    assert_int_equal(Type, MmWriteCombined);
    MmUnmapLockedPages(Mapped, Mdl);
    Mapped = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Mapped))) & 0x18, MI_PROT_WRITECOMBINE);
    assert_false(MmAreMdlPagesCached(Mdl));
    assert_int_equal(MmProtectMdlSystemAddress(Mdl, PAGE_READONLY), STATUS_SUCCESS);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Mapped))), MI_PROT_READONLY | MI_PROT_WRITECOMBINE);
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
    if (Device) {
        PUCHAR One = MmMapIoSpace(At(Device), PAGE_SIZE, MmNonCached), Two = MmMapIoSpace(At(Device), PAGE_SIZE, MmCached);
        assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Two))) & 0x18, MI_PROT_NOCACHE);
        assert_true(MmIsIoSpaceActive(At(Device), 1));
        assert_int_equal(MmGetCacheAttributeEx(At(Device), MM_GET_CACHE_ATTRIBUTE_IO_SPACE, &Type), STATUS_SUCCESS);
        assert_int_equal(Type, MmNonCached);
        assert_int_equal(MmGetCacheAttributeEx(At(Device), 0, &Type), STATUS_INVALID_PARAMETER);
        MmUnmapIoSpace(One, PAGE_SIZE);
        MmUnmapIoSpace(Two, PAGE_SIZE);
        assert_false(MmIsIoSpaceActive(At(Device), PAGE_SIZE));
        assert_int_equal(MmGetCacheAttribute(At(Device), &Type), STATUS_INVALID_PARAMETER);
        assert_int_equal(MmSetPermanentCacheAttribute(At(Device), PAGE_SIZE, MmWriteCombined, MM_PERMANENT_ADDRESS_IS_IO_SPACE),
                         STATUS_SUCCESS);
        assert_int_equal(MmSetPermanentCacheAttribute(At(Device), PAGE_SIZE, MmNonCached, MM_PERMANENT_ADDRESS_IS_IO_SPACE),
                         STATUS_CONFLICTING_ADDRESSES);
        One = MmMapIoSpace(At(Device), PAGE_SIZE, MmNonCached);
        assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)One))) & 0x18, MI_PROT_WRITECOMBINE);
        MmUnmapIoSpace(One, PAGE_SIZE);
    }
}

static void MmMdlPageContentsState_AndZero(void **State)
{
    (void)State;
    MmInitializeMdl(M, Nonpaged + 7, PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    assert_int_equal(MmMdlPageContentsState(M, MmMdlPageContentsInvariant), MmMdlPageContentsDynamic);
    assert_int_equal(MmMdlPageContentsState(M, MmMdlPageContentsQuery), MmMdlPageContentsInvariant);
    assert_int_equal(MmMdlPageContentsState(M, MmMdlPageContentsDynamic), MmMdlPageContentsInvariant);
    assert_true(MmMdlPagesAreZero(M));
    Nonpaged[6] = 1; /* before the buffer */
    Nonpaged[PAGE_SIZE + 7] = 1;
    assert_true(MmMdlPagesAreZero(M));
    Nonpaged[PAGE_SIZE + 6] = 1;
    assert_false(MmMdlPagesAreZero(M));
    memset(Nonpaged, 0, 2 * PAGE_SIZE);
}

static void MmMapMemoryDumpMdlEx_OneMdlAtATime(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateMappingAddress(4 * PAGE_SIZE, TAG);
    MmInitializeMdl(M, Nonpaged + 9, 2 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    assert_int_equal(MmMapMemoryDumpMdlEx(Va, 4, M, MM_DUMP_MAP_CACHED), STATUS_SUCCESS);
    assert_ptr_equal(M->MappedSystemVa, Va + 9);
    Va[9] = 0x13;
    assert_int_equal(Nonpaged[9], 0x13);
    assert_int_equal(MmMapMemoryDumpMdlEx(Va, 4, M, 0), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(MmMapMemoryDumpMdlEx(Va, 4, M, MM_DUMP_MAP_INVALIDATE), STATUS_SUCCESS);
    assert_int_equal(MmMapMemoryDumpMdlEx(Va, 1, M, MM_DUMP_MAP_INVALIDATE), STATUS_INVALID_PARAMETER);
    assert_int_equal(MmMapMemoryDumpMdlEx(Nonpaged, 4, M, 0), STATUS_INVALID_ADDRESS);
    MmUnmapReservedMapping(Va, TAG, M);
    MmFreeMappingAddress(Va, TAG);
    Nonpaged[9] = 0;
}

/* MmMapUserAddressesToPage: all of a user mapping shows one page. */
static void MmMapUserAddressesToPage_ReplacesTheFrames(void **State)
{
    (void)State;
    MmInitializeMdl(M, Nonpaged, 3 * PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    PUCHAR Mapped = MmMapLockedPagesSpecifyCache(M, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
    Nonpaged[4 * PAGE_SIZE] = 0x44;
    assert_int_equal(MmMapUserAddressesToPage(Mapped, 3 * PAGE_SIZE, Nonpaged + 4 * PAGE_SIZE), STATUS_SUCCESS);
    for (ULONG Page = 0; Page < 3; Page++) {
        assert_int_equal(Mapped[Page * PAGE_SIZE], 0x44);
    }
    assert_int_equal(MmMapUserAddressesToPage(User, PAGE_SIZE, Nonpaged), STATUS_INVALID_ADDRESS);
    assert_int_equal(MmMapUserAddressesToPage(Mapped, PAGE_SIZE, Nonpaged + 1), STATUS_INVALID_PARAMETER);
    MmUnmapLockedPages(Mapped, M);
    memset(Nonpaged, 0, 5 * PAGE_SIZE);
}

/* ---- nodes ---- */
static void Nodes_ProcessorsAndMemoryAreDivided(void **State)
{
    GROUP_AFFINITY Zero, One;
    USHORT Count, Needed = 9;
    (void)State;
    assert_int_equal(KeQueryHighestNodeNumber(), 1);
    KeQueryNodeActiveAffinity(0, &Zero, &Count);
    assert_int_equal(Count, 2);
    KeQueryNodeActiveAffinity(1, &One, &Count);
    assert_int_equal(Count, 2);
    assert_int_equal(Zero.Mask & One.Mask, 0);
    assert_int_equal(Zero.Mask | One.Mask, 0xF);
    assert_int_equal(KeQueryNodeActiveProcessorCount(1), 2);
    assert_int_equal(KeQueryNodeMaximumProcessorCount(7), 0);
    assert_int_equal(KeQueryNodeActiveAffinity2(1, NULL, 0, &Needed), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(Needed, 1);
    assert_int_equal(KeQueryNodeActiveAffinity2(1, &Zero, 1, &Needed), STATUS_SUCCESS);
    assert_int_equal(Zero.Mask, One.Mask);
    assert_int_equal(KeQueryNodeActiveAffinity2(2, &Zero, 1, &Needed), STATUS_INVALID_PARAMETER);
    KeSetSystemAffinityThread(One.Mask);
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_int_equal(KeGetCurrentNodeNumber(), 1);
    KeLowerIrql(Old);
    KeRevertToUserAffinityThread();
    for (ULONG Node = 0; Node < 2; Node++) {
        PMDL Mdl = MmAllocateNodePagesForMdlEx(At(0), At(~0ull), At(0), 100 * PAGE_SIZE, MmCached, Node,
                                               MM_ALLOCATE_FROM_LOCAL_NODE_ONLY | MM_ALLOCATE_FULLY_REQUIRED);
        assert_non_null(Mdl);
        for (ULONG Page = 0; Page < 100; Page++) {
            assert_int_equal(MiNodeOfPage(MmGetMdlPfnArray(Mdl)[Page]), Node);
        }
        MmFreePagesFromMdl(Mdl);
        ExFreePool(Mdl);
        PUCHAR Va = MmAllocateContiguousNodeMemory(16 * PAGE_SIZE, At(0), At(~0ull), At(0), PAGE_READWRITE, Node);
        assert_non_null(Va);
        assert_int_equal(MiNodeOfPage(KitFrame(Va)), Node);
        assert_int_equal(MiNodeOfPage(KitFrame(Va + 15 * PAGE_SIZE)), Node);
        MmFreeContiguousMemory(Va);
    }
    assert_null(MmAllocateNodePagesForMdlEx(At(0), At(~0ull), At(0), PAGE_SIZE, MmCached, 2, 0));
    assert_null(MmAllocateContiguousNodeMemory(PAGE_SIZE, At(0), At(~0ull), At(0), PAGE_READWRITE, 2));
    /* more than a node has: the others help, unless they must not */
    SIZE_T Much = (36ull << 20);
    PMDL Mdl = MmAllocateNodePagesForMdlEx(At(0), At(~0ull), At(0), Much, MmCached, 1, MM_ALLOCATE_FULLY_REQUIRED);
    assert_non_null(Mdl);
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
    assert_null(MmAllocateNodePagesForMdlEx(At(0), At(~0ull), At(0), Much, MmCached, 1,
                                            MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_FROM_LOCAL_NODE_ONLY));
    KitAssertValid();
}

/* MmAllocateContiguousMemoryEx: a status, the size rounded up, and a tag. */
static void MmAllocateContiguousMemoryEx_StatusAndSize(void **State)
{
    SIZE_T Bytes = PAGE_SIZE + 1;
    PVOID Va = (PVOID)1;
    (void)State;
    assert_int_equal(MmAllocateContiguousMemoryEx(&Bytes, At(0), At(~0ull), At(0), MM_ANY_NODE_OK,
                                                  PAGE_READWRITE | PAGE_NOCACHE, NULL, TAG,
                                                  MM_ALLOCATE_CONTIGUOUS_MEMORY_FAST_ONLY, &Va),
                     STATUS_SUCCESS);
    assert_int_equal(Bytes, 2 * PAGE_SIZE);
    assert_int_equal(MiPteProtection(MiReadPte(MiPteOf((ULONG_PTR)Va))), MI_PROT_READWRITE | MI_PROT_NOCACHE);
    MmFreeContiguousMemory(Va);
    assert_int_equal(
        MmAllocateContiguousMemoryEx(&Bytes, At(0), At(~0ull), At(0), MM_ANY_NODE_OK, PAGE_READWRITE, NULL, 0, 0, &Va),
        STATUS_INVALID_PARAMETER);
    assert_null(Va);
    assert_int_equal(
        MmAllocateContiguousMemoryEx(&Bytes, At(0), At(~0ull), At(0), MM_ANY_NODE_OK, PAGE_READONLY, NULL, TAG, 0, &Va),
        STATUS_INVALID_PARAMETER);
    Bytes = 1ull << 40;
    assert_int_equal(
        MmAllocateContiguousMemoryEx(&Bytes, At(0), At(~0ull), At(0), MM_ANY_NODE_OK, PAGE_READWRITE, NULL, TAG, 0, &Va),
        STATUS_INSUFFICIENT_RESOURCES);
}

/* Who holds system PTEs is known, with the stack that mapped them. */
static void MmQueryMappings_NamesTheHolder(void **State)
{
    MM_MAPPING_INFO Info;
    BOOLEAN Found = FALSE;
    (void)State;
    LockPaged(0, 3 * PAGE_SIZE);
    PVOID Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    for (ULONG Cursor = 0; MmQueryMappings(&Cursor, &Info);) {
        if (Info.Mdl == M) {
            Found = TRUE;
            assert_int_equal(Info.Va, Mapped);
            assert_int_equal(Info.Pages, 3);
            assert_string_equal(Info.Kind, "MDL");
            assert_true(Info.CallerCount > 0);
        }
    }
    assert_true(Found);
    MmUnlockPages(M);
}

/* MmRemovePhysicalMemory, MmAddPhysicalMemory: RAM goes, with its pages moved, and comes back; bad pages stay in the ranges. */
static ULONG64 RangesHold(PFN_NUMBER Page)
{
    PPHYSICAL_MEMORY_RANGE Ranges = MmGetPhysicalMemoryRanges();
    ULONG64 Total = 0, Found = 0;
    for (ULONG Index = 0; Ranges[Index].NumberOfBytes.QuadPart; Index++) {
        Total += (ULONG64)Ranges[Index].NumberOfBytes.QuadPart >> PAGE_SHIFT;
        Found |= Page - ((PFN_NUMBER)Ranges[Index].BaseAddress.QuadPart >> PAGE_SHIFT) <
                 (PFN_NUMBER)Ranges[Index].NumberOfBytes.QuadPart >> PAGE_SHIFT;
    }
    ExFreePool(Ranges);
    return Found ? Total : 0;
}
static void PhysicalMemory_GoesAndComesBack(void **State)
{
    (void)State;
    Paged[0] = 0x61; /* a pageable page in the middle of what goes */
    PFN_NUMBER Frame = KitFrame(Paged);
    PHYSICAL_ADDRESS Start = At(Frame << PAGE_SHIFT);
    LARGE_INTEGER Bytes = {.QuadPart = PAGE_SIZE}, Odd = {.QuadPart = 100};
    ULONG64 Total = RangesHold(Frame);
    assert_true(Total != 0);
    assert_int_equal(MmRemovePhysicalMemory(&Start, &Odd), STATUS_INVALID_PARAMETER);
    assert_int_equal(MmAddPhysicalMemory(&Start, &Bytes), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(MmRemovePhysicalMemory(&Start, &Bytes), STATUS_SUCCESS);
    assert_int_equal(Paged[0], 0x61);
    assert_int_not_equal(KitFrame(Paged), Frame);
    assert_int_equal(RangesHold(Frame), 0);
    assert_int_equal(RangesHold(KitFrame(Paged)), Total - 1);
    KitAssertValid();
    assert_int_equal(MmRemovePhysicalMemory(&Start, &Bytes), STATUS_INVALID_ADDRESS);
    assert_int_equal(MmAddPhysicalMemory(&Start, &Bytes), STATUS_SUCCESS);
    assert_int_equal(RangesHold(Frame), Total);
    Start = MmGetPhysicalAddress(Nonpaged);
    assert_int_equal(MmRemovePhysicalMemory(&Start, &Bytes), STATUS_INVALID_ADDRESS); /* resident memory does not move */
    Start = MmGetPhysicalAddress(Paged);
    Frame = KitFrame(Paged);
    assert_int_equal(MmMarkPhysicalMemoryAsGood(&Start, &Bytes), STATUS_INVALID_PARAMETER);
    assert_int_equal(MmMarkPhysicalMemoryAsBad(&Start, &Bytes), STATUS_SUCCESS);
    assert_int_equal(MiPfn(Frame)->State, MiPageBad);
    assert_int_equal(Paged[0], 0x61);
    assert_int_equal(RangesHold(Frame), Total);
    KitAssertValid();
    assert_int_equal(MmMarkPhysicalMemoryAsGood(&Start, &Bytes), STATUS_SUCCESS);
    assert_int_equal(MiPfn(Frame)->State, MiPageFree);
    assert_int_equal(MmCreateMirror(), STATUS_NOT_SUPPORTED);
}

/* READ_REGISTER_ULONG and its neighbours: one access of the width named. */
static void Registers_ReadAndWrite(void **State)
{
    ULONG64 Place = FindDevice();
    UCHAR Bytes[4] = {1, 2, 3, 4}, Back[4];
    (void)State;
    if (Place == 0) {
        skip();
    }
    PUCHAR Va = MmMapIoSpace(At(Place), PAGE_SIZE, MmNonCached);
    WRITE_REGISTER_ULONG((volatile ULONG *)Va, 0x11223344);
    assert_int_equal(READ_REGISTER_ULONG((volatile ULONG *)Va), 0x11223344);
    assert_int_equal(READ_REGISTER_UCHAR(Va + 1), 0x33);
    WRITE_REGISTER_USHORT((volatile USHORT *)(Va + 2), 0x5566);
    assert_int_equal(READ_REGISTER_ULONG64((volatile ULONG64 *)Va) & 0xFFFFFFFF, 0x55663344);
    WRITE_REGISTER_BUFFER_UCHAR(Va + 8, Bytes, 4);
    READ_REGISTER_BUFFER_UCHAR(Va + 8, Back, 4);
    assert_memory_equal(Bytes, Back, 4);
    MmUnmapIoSpace(Va, PAGE_SIZE);
}

/* MmProbeAndLockProcessPages: the pages of another process, locked from here; every alias is the same frame. */
static NTSTATUS LockOf(PEPROCESS Process, PVOID Va)
{
    NTSTATUS volatile Status = STATUS_SUCCESS;
    MmInitializeMdl(M, Va, 2 * PAGE_SIZE);
    __try {
        MmProbeAndLockProcessPages(M, Process, UserMode, IoModifyAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}
static void UnmapFromUser(void *Va)
{
    MmUnmapLockedPages(Va, M);
}
static void MmProbeAndLockProcessPages_AndUserMappingsOfAnotherProcess(void **State)
{
    KAPC_STATE Apc;
    KPROCESS *Process;
    (void)State;
    assert_int_equal(PspCreateNamedProcess("other", &Process), STATUS_SUCCESS);
    KeStackAttachProcess(Process, &Apc);
    PUCHAR Va = MmAllocateUserPages(2, PAGE_READWRITE);
    Va[PAGE_SIZE] = 0x19;
    PFN_NUMBER Frame = KitFrame(Va + PAGE_SIZE);
    KeUnstackDetachProcess(&Apc);
    MmInitializeMdl(M, Va, 2 * PAGE_SIZE);
    assert_int_equal(KitLock(M, UserMode, IoReadAccess), STATUS_ACCESS_VIOLATION); /* not from here */
    assert_int_equal(LockOf(Process, Va), STATUS_SUCCESS);
    assert_ptr_equal(M->Process, Process);
    assert_int_equal(Kit.Frames[1], Frame);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    assert_int_equal(Mapped[PAGE_SIZE], 0x19);
    assert_int_equal(KitFrame(Mapped + PAGE_SIZE), Frame);
    MmUnlockPages(M);
    assert_int_equal(LockOf(Process, Va + 2 * PAGE_SIZE), STATUS_ACCESS_VIOLATION);
    assert_ptr_equal(PsGetCurrentProcess(), PsInitialSystemProcess); /* raised after detaching */
    /* "the mapping ... only from the process that it was made in", and it dies with it */
    MmInitializeMdl(M, Nonpaged, PAGE_SIZE);
    MmBuildMdlForNonPagedPool(M);
    KeStackAttachProcess(Process, &Apc);
    PUCHAR There = MmMapLockedPagesSpecifyCache(M, UserMode, MmCached, NULL, FALSE, NormalPagePriority);
    There[0] = 0x20;
    KeUnstackDetachProcess(&Apc);
    assert_int_equal(Nonpaged[0], 0x20);
    assert_false(MmIsAddressValid(There));
    KitExpectStop(UnmapFromUser, There, SYSTEM_PTE_MISUSE, 0x302, There, 0, 0);
    assert_int_equal(PspEndProcess(Process, 0), STATUS_SUCCESS);
    ObDereferenceObject(Process);
    assert_int_equal(Nonpaged[0], 0x20); /* the frame is the pool's, and stays */
    Nonpaged[0] = 0;
    KitAssertValid();
}

#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(MmAllocateMappingAddress_ReservesAddressesOnly),
        TEST(MmAllocateMappingAddressEx_Divisible),
        TEST(MmMapLockedPagesWithReservedMapping_ShowsTheFrames),
        TEST(Reservations_Misused_AreDA),
        TEST(MdlStates_Misused_AreTheVerifiersStops),
        TEST(Routines_AtTooHighIrql_AreC4_70_To_7E),
        TEST(MmMapMdl_MapsForTheCallOnly),
        TEST(MmProbeAndLockSelectedPages_LocksTheListedPages),
        TEST(Mdl_LargerThanItsSizeField_LocksMapsAndUnlocks),
        TEST(MmMapIoSpace_Hole_ReadsAsOnes),
        TEST(MmAllocateMdlForIoSpace_DescribesDeviceMemory),
        TEST(CacheTypes_TheExistingTypeWins),
        TEST(MmMdlPageContentsState_AndZero),
        TEST(MmMapMemoryDumpMdlEx_OneMdlAtATime),
        TEST(MmMapUserAddressesToPage_ReplacesTheFrames),
        TEST(Nodes_ProcessorsAndMemoryAreDivided),
        TEST(MmAllocateContiguousMemoryEx_StatusAndSize),
        TEST(MmQueryMappings_NamesTheHolder),
        TEST(PhysicalMemory_GoesAndComesBack),
        TEST(MmProbeAndLockProcessPages_AndUserMappingsOfAnotherProcess),
        TEST(Registers_ReadAndWrite),
    };
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
