/*
 * scripted_mm_small.c - the memory manager over the scripted machine: a system of 64 pages.
 * SPDX-License-Identifier: MIT
 *
 * Here accesses go through a modelled processor and TLB, every call to the machine is counted, and any of
 * them can be made to fail. The kernel's range lies in the upper half of the addresses.
 */
#include "scripted_kit.h"

#define FIRST 16u
#define PAGES 64u
static const HAL_RUN Runs[] = {{FIRST, PAGES, FALSE}, {256, 4, TRUE}};

static int Setup(void **State)
{
    (void)State;
    StartMachine(Runs, 2, NULL);
    return NT_SUCCESS(MmInitSystem(Runs, 2)) ? 0 : -1;
}
static int Teardown(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidateAll();
    return StopMachine(Broken);
}

static BOOLEAN Write(PVOID Va, UCHAR Value)
{
    return HalScriptAccess((ULONG_PTR)Va, 1, HAL_SCRIPT_WRITE, &Value);
}
static int Read(PVOID Va)
{
    UCHAR Value = 0;
    return HalScriptAccess((ULONG_PTR)Va, 1, HAL_SCRIPT_READ, &Value) ? Value : -1;
}

static void Start_UpperHalf_AddressesAreCanonical(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    assert_true((LONG_PTR)Va < 0); /* bit 63 */
    assert_ptr_equal(MmGetVirtualForPhysical(MmGetPhysicalAddress(Va + 5)), Va + 5);
    PUCHAR User = MmAllocateUserPages(1, PAGE_READWRITE);
    assert_true((LONG_PTR)User > 0);
    assert_true(Write(User, 3));
    assert_ptr_equal(MmGetVirtualForPhysical(MmGetPhysicalAddress(User)), User);
    MmFreePages(Va, 1);
    MmFreeUserPages(User, 1);
}

static void Start_TooLittleRam_IsNoMemory(void **State)
{
    static const HAL_RUN Tiny[] = {{FIRST, 24, FALSE}};
    static const HAL_RUN OnePage[] = {{FIRST, 1, FALSE}, {256, 64, TRUE}};
    Teardown(State);
    StartMachine(Tiny, 1, NULL);
    assert_int_equal(MmInitSystem(Tiny, 1), STATUS_NO_MEMORY);
    MmShutdownSystem();
    KeShutdownSystem();
    HalStopMachine();
    StartMachine(OnePage, 2, NULL);
    assert_int_equal(MmInitSystem(OnePage, 2), STATUS_NO_MEMORY);
    MmShutdownSystem();
    KeShutdownSystem();
    HalStopMachine();
    assert_int_equal(Setup(State), 0);
}

static void Paged_FirstTouch_OneFaultOneFrame(void **State)
{
    MM_COUNTERS Before, After;
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 4, 0, NormalPoolPriority);
    MmQueryCounters(&Before);
    assert_int_equal(Read(Va + 100), 0);
    assert_true(Write(Va + 100, 7));
    assert_int_equal(Read(Va + 100), 7);
    MmQueryCounters(&After);
    assert_int_equal(After.DemandZeroFaults, Before.DemandZeroFaults + 1);
    assert_int_equal(After.ActivePages, Before.ActivePages + 1);
    MmFreePages(Va, 4);
    assert_int_equal(Read(Va + 100), -1); /* the TLB shows nothing stale */
    assert_int_equal(Answer.StopCode, PAGE_FAULT_IN_NONPAGED_AREA);
}

static void Resident_Access_NeverFaults(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 8, MM_PAGES_ZERO, NormalPoolPriority);
    ULONG64 Faults = MiState->AllFaults;
    for (ULONG Page = 0; Page < 8; Page++) {
        assert_int_equal(Read(Va + Page * PAGE_SIZE), 0);
        assert_true(Write(Va + Page * PAGE_SIZE, 1));
    }
    assert_int_equal(MiState->AllFaults, Faults);
    MmFreePages(Va, 8);
}

static void Full_EveryPage_ThenNullThenAgain(void **State)
{
    PVOID Va[PAGES];
    ULONG Count = 0, Again = 0;
    (void)State;
    while ((Va[Count] = MmAllocatePages(MmRegionNonPagedPool, 1, 0, HighPoolPriority))) {
        Count++;
    }
    assert_in_range(Count, 40, PAGES);
    assert_null(MiValidateAll());
    for (ULONG Index = 0; Index < Count; Index++) {
        assert_true(Write(Va[Index], (UCHAR)Index));
    }
    for (ULONG Index = 0; Index < Count; Index++) {
        assert_int_equal(Read(Va[Index]), (UCHAR)Index);
        MmFreePages(Va[Index], 1);
    }
    while ((Va[Again] = MmAllocatePages(MmRegionNonPagedPool, 1, 0, HighPoolPriority))) {
        Again++;
    }
    assert_int_equal(Again, Count);
    while (Again) {
        MmFreePages(Va[--Again], 1);
    }
}

static void Free_ValidPages_FlushesBeforeTheFrameIsFree(void **State)
{
    ULONG64 Arguments[3];
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 3, 0, NormalPoolPriority);
    ULONG64 Flushes = HalScriptCalls(HalScriptFlushTb);
    MmFreePages(Va, 3);
    assert_int_equal(HalScriptCalls(HalScriptFlushTb), Flushes + 1);
    assert_true(HalScriptLastCall(HalScriptFlushTb, Arguments));
    assert_int_equal(Arguments[0], (ULONG_PTR)Va);
    assert_int_equal(Arguments[1], 3);
    Va = MmAllocatePages(MmRegionPagedPool, 3, 0, NormalPoolPriority);
    MmFreePages(Va, 3); /* never valid: nothing to flush */
    assert_int_equal(HalScriptCalls(HalScriptFlushTb), Flushes + 1);
}

static void Protect_Tightened_StaleTranslationIsGone(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    assert_true(Write(Va, 1));
    assert_int_equal(MmProtectPages(Va, 1, PAGE_READONLY), STATUS_SUCCESS);
    assert_false(Write(Va, 2));
    assert_int_equal(Answer.StopCode, ATTEMPTED_WRITE_TO_READONLY_MEMORY);
    assert_int_equal(Read(Va), 1);
    assert_int_equal(MmProtectPages(Va, 1, PAGE_NOACCESS), STATUS_SUCCESS);
    assert_int_equal(Read(Va), -1);
    ULONG64 Flushes = HalScriptCalls(HalScriptFlushTb);
    assert_int_equal(MmProtectPages(Va, 1, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(HalScriptCalls(HalScriptFlushTb), Flushes); /* an absent translation is never cached */
    assert_int_equal(Read(Va), 1);
    MmFreePages(Va, 1);
}

static void Zero_CleanFrames_AreNotZeroedAgain(void **State)
{
    (void)State;
    ULONG64 Zeroes = HalScriptCalls(HalScriptZeroPages);
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 4, MM_PAGES_ZERO, NormalPoolPriority);
    assert_int_equal(HalScriptCalls(HalScriptZeroPages), Zeroes);
    Write(Va, 9);
    MmFreePages(Va, 4);
    while ((Va = MmAllocatePages(MmRegionNonPagedPool, 1, MM_PAGES_ZERO, HighPoolPriority))) {
        assert_int_equal(Read(Va), 0); /* leaked on purpose, until used frames must be zeroed */
    }
    assert_true(HalScriptCalls(HalScriptZeroPages) > Zeroes);
}

static void Pinned_FillFails_NothingIsLeft(void **State)
{
    MM_COUNTERS Before, After;
    MM_REGION_INFO Info;
    (void)State;
    MmFreePages(MmAllocatePages(MmRegionKernelStacks, 2, MM_PAGES_PINNED, HighPoolPriority), 2); /* tables exist now */
    MmQueryCounters(&Before);
    HalScriptFail(HalScriptFillTb, 1);
    assert_null(MmAllocatePages(MmRegionKernelStacks, 2, MM_PAGES_PINNED, HighPoolPriority));
    MmQueryCounters(&After);
    assert_int_equal(After.Committed, Before.Committed);
    assert_int_equal(After.ActivePages, Before.ActivePages);
    MmQueryRegion(MmRegionKernelStacks, &Info);
    assert_int_equal(Info.PagesInUse, 0);
    assert_int_equal(Info.Failures, 1);
    HalScriptFail(HalScriptFillTb, 1); /* without pinning it is only a hint */
    PVOID Va = MmAllocatePages(MmRegionKernelStacks, 2, 0, HighPoolPriority);
    assert_non_null(Va);
    assert_true(Write(Va, 1));
    MmFreePages(Va, 2);
}

static void Mdl_SecondAddress_SameFrameThroughTheTlb(void **State)
{
    struct {
        MDL Mdl;
        PFN_NUMBER Frames[4];
    } Kit;
    (void)State;
    PUCHAR Va = MmAllocateUserPages(3, PAGE_READWRITE);
    MmInitializeMdl(&Kit.Mdl, Va + 8, 2 * PAGE_SIZE);
    MmProbeAndLockPages(&Kit.Mdl, UserMode, IoWriteAccess);
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Kit.Mdl, NormalPagePriority);
    assert_non_null(Mapped);
    assert_true(Write(Mapped + PAGE_SIZE, 0x5C));
    assert_int_equal(Read(Va + 8 + PAGE_SIZE), 0x5C);
    MmUnlockPages(&Kit.Mdl);
    assert_int_equal(Read(Mapped + PAGE_SIZE), -1);
    assert_int_equal(Read(Va + 8 + PAGE_SIZE), 0x5C);
    MmFreeUserPages(Va, 3);
}

static void IoSpace_Device_IsReached(void **State)
{
    PHYSICAL_ADDRESS Physical = {.QuadPart = 256 << PAGE_SHIFT};
    (void)State;
    PUCHAR Va = MmMapIoSpace(Physical, PAGE_SIZE, MmNonCached);
    assert_true(Write(Va + 3, 0x77));
    assert_int_equal(((PUCHAR)HalWindow(256))[3], 0x77);
    MmUnmapIoSpace(Va, PAGE_SIZE);
}

/* The same calls give the same frames, run after run. */
static void Deterministic_SameCalls_SameFrames(void **State)
{
    PFN_NUMBER First[12];
    for (ULONG Run = 0; Run < 2; Run++) {
        PVOID Va[12];
        for (ULONG Index = 0; Index < 12; Index++) {
            Va[Index] = MmAllocatePages(MmRegionNonPagedPool, 1 + Index % 3, 0, NormalPoolPriority);
            PFN_NUMBER Frame = (PFN_NUMBER)MmGetPhysicalAddress(Va[Index]).QuadPart >> PAGE_SHIFT;
            if (Run == 0) {
                First[Index] = Frame;
            } else {
                assert_int_equal(Frame, First[Index]);
            }
            if (Index % 4 == 3) {
                MmFreePages(Va[Index - 2], 1 + (Index - 2) % 3);
            }
        }
        if (Run == 0) {
            Teardown(State);
            assert_int_equal(Setup(State), 0);
        }
    }
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
    const struct CMUnitTest Tests[] = {
        TEST(Start_UpperHalf_AddressesAreCanonical),
        TEST(Start_TooLittleRam_IsNoMemory),
        TEST(Paged_FirstTouch_OneFaultOneFrame),
        TEST(Resident_Access_NeverFaults),
        TEST(Full_EveryPage_ThenNullThenAgain),
        TEST(Free_ValidPages_FlushesBeforeTheFrameIsFree),
        TEST(Protect_Tightened_StaleTranslationIsGone),
        TEST(Zero_CleanFrames_AreNotZeroedAgain),
        TEST(Pinned_FillFails_NothingIsLeft),
        TEST(Mdl_SecondAddress_SameFrameThroughTheTlb),
        TEST(IoSpace_Device_IsReached),
        TEST(Deterministic_SameCalls_SameFrames),
    };
    return cmocka_run_group_tests_name("scripted_mm_small", Tests, NULL, NULL);
}
