/*
 * mm_physical.c - physical addresses, ranges of RAM, I/O space, the safe copy: a test for each documented
 * sentence. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"

static PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}
static ULONG64 Device(void) /* physical address of the device run */
{
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        if (MiState->Runs[Index].Device) {
            return MiState->Runs[Index].BasePage << PAGE_SHIFT;
        }
    }
    fail();
    return 0;
}

/* MmGetPhysicalAddress: "returns the physical address corresponding to a valid nonpaged virtual address". */
static void MmGetPhysicalAddress_IncludesThePageOffset(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 2, 0, NormalPoolPriority);
    PHYSICAL_ADDRESS Physical = MmGetPhysicalAddress(Va + 0x123);
    assert_int_equal(Physical.QuadPart & 0xFFF, 0x123);
    Va[0x123] = 0x9D;
    assert_int_equal(((PUCHAR)HalWindow(Physical.QuadPart >> 12))[0x123], 0x9D);
    MmFreePages(Va, 2);
    assert_int_equal(MmGetPhysicalAddress(Va).QuadPart, 0); /* not valid: unspecified, here 0 */
    assert_int_equal(MmGetPhysicalAddress(&Physical).QuadPart, 0);
}

/* MmGetVirtualForPhysical: the virtual address of a page of RAM; with several mappings, the owner's. */
static void MmGetVirtualForPhysical_IsTheOwnersAddress(void **State)
{
    KIT_MDL Kit;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    Va[0] = 1;
    MmInitializeMdl(&Kit.Mdl, Va, 1);
    MmProbeAndLockPages(&Kit.Mdl, KernelMode, IoReadAccess);
    PVOID Mapped = MmGetSystemAddressForMdlSafe(&Kit.Mdl, NormalPagePriority);
    assert_int_equal(MmGetPhysicalAddress(Mapped).QuadPart, MmGetPhysicalAddress(Va).QuadPart);
    assert_ptr_equal(MmGetVirtualForPhysical(At((ULONG64)MmGetPhysicalAddress(Mapped).QuadPart + 7)), Va + 7);
    MmUnlockPages(&Kit.Mdl);
    PHYSICAL_ADDRESS Freed = MmGetPhysicalAddress(Va);
    MmFreePages(Va, 1);
    assert_null(MmGetVirtualForPhysical(Freed));
    assert_null(MmGetVirtualForPhysical(At(Device())));
    assert_null(MmGetVirtualForPhysical(At(1ull << 50)));
}

/* MmIsAddressValid: "TRUE if no page fault will occur for a read or write operation at the address". */
static void MmIsAddressValid_TellsTheTruthNow(void **State)
{
    int Local;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    assert_false(MmIsAddressValid(Va));
    Va[0] = 1;
    assert_true(MmIsAddressValid(Va));
    assert_false(MmIsNonPagedSystemAddressValid(Va));
    MmFreePages(Va, 1);
    assert_false(MmIsAddressValid(Va));
    Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    assert_true(MmIsNonPagedSystemAddressValid(Va));
    MmFreePages(Va, 1);
    assert_false(MmIsAddressValid(NULL));
    assert_false(MmIsAddressValid((PVOID)(HalFacts.SystemBase + 1)));
    assert_true(MmIsAddressValid(&Local));
}

/* MmGetPhysicalMemoryRangesEx2: "array ... ends with a zero pair"; at least three ranges with a hole; caller
 * frees. */
static void MmGetPhysicalMemoryRanges_AreTheRuns(void **State)
{
    (void)State;
    PPHYSICAL_MEMORY_RANGE Ranges[] = {MmGetPhysicalMemoryRanges(), MmGetPhysicalMemoryRangesEx(NULL),
                                       MmGetPhysicalMemoryRangesEx2(NULL, 0)};
    for (size_t Form = 0; Form < ARRAYSIZE(Ranges); Form++) {
        ULONG Count = 0;
        ULONG64 Total = 0, End = 0;
        assert_non_null(Ranges[Form]);
        for (; Ranges[Form][Count].NumberOfBytes.QuadPart; Count++) {
            assert_true((ULONG64)Ranges[Form][Count].BaseAddress.QuadPart > End); /* a hole before each */
            End = (ULONG64)(Ranges[Form][Count].BaseAddress.QuadPart + Ranges[Form][Count].NumberOfBytes.QuadPart);
            Total += (ULONG64)Ranges[Form][Count].NumberOfBytes.QuadPart;
            assert_false(Device() >= (ULONG64)Ranges[Form][Count].BaseAddress.QuadPart && Device() < End);
        }
        assert_int_equal(Ranges[Form][Count].BaseAddress.QuadPart, 0);
        assert_true(Count >= 3);
        assert_int_equal(Total, 64u << 20);
        ExFreePool(Ranges[Form]);
    }
    assert_null(MmGetPhysicalMemoryRangesEx(&Ranges));
    assert_null(MmGetPhysicalMemoryRangesEx2(NULL, 0x100));
}

static void MmQuerySystemSize_FollowsRam(void **State)
{
    (void)State;
    assert_int_equal(MmQuerySystemSize(), MmMediumSystem);
    assert_false(MmIsThisAnNtAsSystem());
    assert_true(*Mm64BitPhysicalAddress);
}

static void Limits_AreTheMachinesRanges(void **State)
{
    (void)State;
    assert_ptr_equal(MmSystemRangeStart, HalFacts.SystemBase);
    assert_true((ULONG_PTR)MmHighestUserAddress < HalFacts.UserEnd);
    assert_int_equal(MmUserProbeAddress, (ULONG_PTR)MmHighestUserAddress + 1);
    PUCHAR Va = MmAllocateUserPages(1, PAGE_READWRITE);
    assert_true((PVOID)Va <= MmHighestUserAddress);
    MmFreeUserPages(Va, 1);
}

/* MmMapIoSpace: "maps the given physical address range to nonpaged system space"; "returns the base virtual
 * address", page offset kept. */
static void MmMapIoSpace_Device_IsMappedWithItsOffset(void **State)
{
    (void)State;
    volatile ULONG *Va = MmMapIoSpace(At(Device() + 0x10), 2 * PAGE_SIZE, MmNonCached);
    assert_non_null((PVOID)Va);
    assert_int_equal((ULONG_PTR)Va & 0xFFF, 0x10);
    Va[3] = 0xABCD;
    assert_int_equal(((volatile ULONG *)HalWindow(Device() >> 12))[4 + 3], 0xABCD);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Va));
    assert_int_equal(MiPteProtection(Pte), MI_PROT_EXECUTE_READWRITE | MI_PROT_NOCACHE);
    assert_true(MmIsAddressValid((PUCHAR)Va + 2 * PAGE_SIZE)); /* three pages are spanned */
    KitAssertValid();
    MmUnmapIoSpace((PVOID)Va, 2 * PAGE_SIZE);
    assert_false(MmIsAddressValid((PVOID)Va));
}

/* "NumberOfBytes: a value greater than zero"; "if space for mapping the range is insufficient, it returns
 * NULL". */
static void MmMapIoSpace_Impossible_IsNull(void **State)
{
    (void)State;
    assert_null(MmMapIoSpace(At(Device()), 0, MmNonCached));
    assert_null(MmMapIoSpace(At(Device()), PAGE_SIZE, MmMaximumCacheType));
    assert_null(MmMapIoSpace(At(Device()), ~(SIZE_T)0, MmNonCached));
    assert_null(MmMapIoSpace(At(1ull << 52), PAGE_SIZE, MmNonCached)); /* beyond what an entry can name */
    assert_null(MmMapIoSpaceEx(At(Device()), PAGE_SIZE, PAGE_NOACCESS));
    assert_null(MmMapIoSpaceEx(At(Device()), PAGE_SIZE, PAGE_READWRITE | PAGE_NOCACHE | PAGE_WRITECOMBINE));
}

/* RAM that somebody holds may be mapped. */
static void MmMapIoSpace_HeldRam_IsASecondAddress(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    PUCHAR Mapped = MmMapIoSpace(MmGetPhysicalAddress(Va), PAGE_SIZE, MmCached);
    Mapped[5] = 0x44;
    assert_int_equal(Va[5], 0x44);
    MmUnmapIoSpace(Mapped, PAGE_SIZE);
    MmFreePages(Va, 1);
}

/* MmMapIoSpaceEx: "Protect: PAGE_READONLY, PAGE_READWRITE, PAGE_EXECUTE..., with PAGE_NOCACHE or
 * PAGE_WRITECOMBINE". */
static void MmMapIoSpaceEx_Protection_IsHonoured(void **State)
{
    (void)State;
    PUCHAR Va = MmMapIoSpaceEx(At(Device()), PAGE_SIZE, PAGE_READONLY | PAGE_WRITECOMBINE);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Va));
    assert_int_equal(MiPteProtection(Pte), MI_PROT_READONLY | MI_PROT_WRITECOMBINE);
    KitExpectAccessStop(Va, PASSIVE_LEVEL, 'w', ATTEMPTED_WRITE_TO_READONLY_MEMORY, Va, Pte.Long, 0, 0);
    MmUnmapIoSpace(Va, PAGE_SIZE);
    Va = MmMapIoSpaceEx(At(Device()), PAGE_SIZE, PAGE_READWRITE | PAGE_NOCACHE);
    Va[0] = 1;
    MmUnmapIoSpace(Va, PAGE_SIZE);
}

static NTSTATUS Copy(PVOID Target, const volatile void *Source, SIZE_T Bytes, SIZE_T *Done)
{
    MM_COPY_ADDRESS Address;
    Address.VirtualAddress = (PVOID)(ULONG_PTR)Source;
    return MmCopyMemory(Target, Address, Bytes, MM_COPY_MEMORY_VIRTUAL, Done);
}

/* MmCopyMemory: "copies the specified range of virtual or physical memory into the caller-supplied buffer";
 * "even if the function fails, NumberOfBytesTransferred ... " says how much was copied. */
static void MmCopyMemory_Virtual_CopiesUpToTheFirstBadPage(void **State)
{
    UCHAR Buffer[2 * PAGE_SIZE];
    SIZE_T Done = 99;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 2, 0, NormalPoolPriority);
    memset(Va, 0x21, PAGE_SIZE); /* the second page is not resident, and is brought in */
    assert_int_equal(Copy(Buffer, Va + 10, PAGE_SIZE, &Done), STATUS_SUCCESS);
    assert_int_equal(Done, PAGE_SIZE);
    assert_int_equal(Buffer[0], 0x21);
    assert_int_equal(Buffer[PAGE_SIZE - 1], 0);
    assert_int_equal(Copy(Buffer, Va + PAGE_SIZE + 100, PAGE_SIZE, &Done), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Done, PAGE_SIZE - 100);
    MmProtectPages(Va, 1, PAGE_NOACCESS);
    assert_int_equal(Copy(Buffer, Va, 8, &Done), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Done, 0);
    MmFreePages(Va, 2);
    assert_int_equal(Copy(Buffer, NULL, 8, &Done), STATUS_ACCESS_VIOLATION);
    assert_int_equal(Copy(Buffer, "text", 5, &Done), STATUS_SUCCESS);
    assert_string_equal((char *)Buffer, "text");
    KitAssertValid();
}

/* "MM_COPY_MEMORY_PHYSICAL": RAM; "I/O space is refused". */
static void MmCopyMemory_Physical_RamOnly(void **State)
{
    UCHAR Buffer[64];
    SIZE_T Done;
    MM_COPY_ADDRESS Address;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    memset(Va, 0x63, 64);
    Address.PhysicalAddress = MmGetPhysicalAddress(Va);
    assert_int_equal(MmCopyMemory(Buffer, Address, 64, MM_COPY_MEMORY_PHYSICAL, &Done), STATUS_SUCCESS);
    assert_int_equal(Done, 64);
    assert_memory_equal(Buffer, Va, 64);
    Address.PhysicalAddress = At(Device());
    assert_int_equal(MmCopyMemory(Buffer, Address, 64, MM_COPY_MEMORY_PHYSICAL, &Done), STATUS_INVALID_ADDRESS);
    assert_int_equal(Done, 0);
    PVOID Io = MmMapIoSpace(At(Device()), PAGE_SIZE, MmNonCached);
    assert_int_equal(Copy(Buffer, Io, 8, &Done), STATUS_ACCESS_VIOLATION);
    MmUnmapIoSpace(Io, PAGE_SIZE);
    MmFreePages(Va, 1);
}

/* "Flags: one of MM_COPY_MEMORY_PHYSICAL, MM_COPY_MEMORY_VIRTUAL". */
static void MmCopyMemory_Flags_ExactlyOne(void **State)
{
    UCHAR Buffer[8];
    SIZE_T Done = 5;
    MM_COPY_ADDRESS Address = {.VirtualAddress = Buffer};
    (void)State;
    assert_int_equal(MmCopyMemory(Buffer, Address, 8, 0, &Done), STATUS_INVALID_PARAMETER);
    assert_int_equal(Done, 0);
    assert_int_equal(MmCopyMemory(Buffer, Address, 8, 3, &Done), STATUS_INVALID_PARAMETER);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test(Name)
    const struct CMUnitTest Tests[] = {
        TEST(MmGetPhysicalAddress_IncludesThePageOffset),
        TEST(MmGetVirtualForPhysical_IsTheOwnersAddress),
        TEST(MmIsAddressValid_TellsTheTruthNow),
        TEST(MmGetPhysicalMemoryRanges_AreTheRuns),
        TEST(MmQuerySystemSize_FollowsRam),
        TEST(Limits_AreTheMachinesRanges),
        TEST(MmMapIoSpace_Device_IsMappedWithItsOffset),
        TEST(MmMapIoSpace_Impossible_IsNull),
        TEST(MmMapIoSpace_HeldRam_IsASecondAddress),
        TEST(MmMapIoSpaceEx_Protection_IsHonoured),
        TEST(MmCopyMemory_Virtual_CopiesUpToTheFirstBadPage),
        TEST(MmCopyMemory_Physical_RamOnly),
        TEST(MmCopyMemory_Flags_ExactlyOne),
    };
    return cmocka_run_group_tests_name("mm_physical", Tests, KitStart, KitStop);
}
