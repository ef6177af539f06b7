/* pages_test.c - runs of pages: src/mm/pages.c, and what they cost: src/mm/commit.c. SPDX-License-Identifier:
 * MIT */
#include "mm_kit.h"

static MM_COUNTERS Counters(void)
{
    MM_COUNTERS Now;
    MmQueryCounters(&Now);
    return Now;
}

static void Allocate_EveryKernelRegion_IsMappedAndCharged(void **State)
{
    (void)State;
    for (MM_REGION Region = MmRegionNonPagedPool; Region < MmRegionUser; Region++) {
        MM_REGION_INFO Before, After;
        MmQueryRegion(Region, &Before);
        ULONG64 Committed = Counters().Committed;
        PUCHAR Va = MmAllocatePages(Region, 5, MM_PAGES_ZERO, NormalPoolPriority);
        assert_non_null(Va);
        assert_int_equal(MmRegionOf(Va), Region);
        for (ULONG Byte = 0; Byte < 5 * PAGE_SIZE; Byte += 511) {
            assert_int_equal(Va[Byte], 0);
            Va[Byte] = 0x5A;
        }
        MmQueryRegion(Region, &After);
        assert_int_equal(After.PagesInUse, Before.PagesInUse + 5);
        assert_true(After.PeakPages >= After.PagesInUse);
        assert_in_range(Counters().Committed - Committed, 5, 5 + 3); /* and page tables */
        MmFreePages(Va, 5);
        MmQueryRegion(Region, &After);
        assert_int_equal(After.PagesInUse, Before.PagesInUse);
    }
    KitAssertValid();
}

static void Allocate_ZeroWanted_IsZeroThoughTheFramesWereUsed(void **State)
{
    (void)State;
    for (ULONG Round = 0; Round < 4; Round++) {
        PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 40, MM_PAGES_ZERO, NormalPoolPriority);
        for (ULONG Byte = 0; Byte < 40 * PAGE_SIZE; Byte++) {
            assert_int_equal(Va[Byte], 0);
        }
        memset(Va, 0xEE, 40 * PAGE_SIZE);
        MmFreePages(Va, 40);
    }
}

static void Allocate_Resident_DoesNotFaultLater(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 64, 0, NormalPoolPriority);
    ULONG64 Faults = Counters().AllFaults;
    memset(Va, 1, 64 * PAGE_SIZE);
    assert_int_equal(Counters().AllFaults, Faults);
    MmFreePages(Va, 64);
}

static void Allocate_Paged_OneDemandZeroFaultAPage(void **State)
{
    (void)State;
    ULONG64 Active = Counters().ActivePages;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 32, 0, NormalPoolPriority);
    assert_in_range(Counters().ActivePages - Active, 0, 3); /* tables at most: no frame before the first touch */
    ULONG64 Faults = Counters().DemandZeroFaults;
    for (ULONG Page = 0; Page < 32; Page++) {
        Va[Page * PAGE_SIZE + 7] = 1;
        assert_int_equal(Va[Page * PAGE_SIZE + 8], 0);
    }
    assert_int_equal(Counters().DemandZeroFaults, Faults + 32);
    KitAssertValid();
    MmFreePages(Va, 32);
}

static void Allocate_Sizes_ThatMakeNoSense_AreNull(void **State)
{
    MM_REGION_INFO Before, After;
    (void)State;
    MmQueryRegion(MmRegionNonPagedPool, &Before);
    assert_null(MmAllocatePages(MmRegionNonPagedPool, 0, 0, HighPoolPriority));
    assert_null(MmAllocatePages(MmRegionNonPagedPool, ~(SIZE_T)0, 0, HighPoolPriority));
    assert_null(MmAllocatePages(MmRegionNonPagedPool, 1ull << 40, 0, HighPoolPriority));
    assert_null(MmAllocatePages(MmRegionNone, 1, 0, HighPoolPriority));
    assert_null(MmAllocatePages(MmRegionUser, 1, 0, HighPoolPriority));
    MmQueryRegion(MmRegionNonPagedPool, &After);
    assert_int_equal(After.Failures, Before.Failures + 3);
}

static void Allocate_AllOfRam_ThenNullThenEverythingBack(void **State)
{
    static PVOID Runs[40000];
    ULONG64 Before = KitCommitted();
    MM_COUNTERS Full;
    ULONG Count = 0, Low, Normal;
    (void)State;
    while ((Runs[Count] = MmAllocatePages(MmRegionNonPagedPool, 1, 0, LowPoolPriority))) {
        Count++;
    }
    Low = Count;
    while ((Runs[Count] = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority))) {
        *(volatile UCHAR *)Runs[Count++] = 1;
    }
    Normal = Count;
    while ((Runs[Count] = MmAllocatePages(MmRegionNonPagedPool, 1, 0, HighPoolPriority))) {
        Count++;
    }
    Full = Counters();
    assert_true(Low > 1000 && Normal > Low && Count > Normal); /* each priority leaves something to the next */
    assert_true(Full.CommitLimit - Full.Committed <= 1);
    KitAssertValid();
    for (ULONG Index = Low; Index < Normal; Index++) { /* committed pages kept their promise */
        assert_int_equal(*(volatile UCHAR *)Runs[Index], 1);
    }
    while (Count) {
        MmFreePages(Runs[--Count], 1);
    }
    assert_true(KitCommitted() <= Before); /* beside page tables, workers' stacks and what the pools keep */
    KitAssertValid();
}

static void Commit_DemandZeroAtTheLimit_NeverFails(void **State)
{
    (void)State;
    MM_COUNTERS Now = Counters();
    SIZE_T Pages = (SIZE_T)(Now.CommitLimit - Now.Committed) - 100;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, Pages, 0, HighPoolPriority);
    assert_non_null(Va);
    while (MmAllocatePages(MmRegionSpecialPool, 1, 0, HighPoolPriority)) { /* leaked on purpose: the limit is reached */
    }
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        Va[Page * PAGE_SIZE] = 1;
    }
    KitAssertValid();
    MmFreePages(Va, Pages);
}

static void Reserve_CommitPart_OnlyThatIsBacked(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionSystemData, 5000, MM_PAGES_RESERVE, NormalPoolPriority);
    ULONG64 Committed = Counters().Committed;
    assert_non_null(Va);
    assert_false(MmIsAddressValid(Va));
    assert_int_equal(MmCommitPages(Va + 100 * PAGE_SIZE, 2, MM_PAGES_ZERO), STATUS_SUCCESS);
    assert_int_equal(Va[100 * PAGE_SIZE], 0);
    assert_true(MmIsAddressValid(Va + 101 * PAGE_SIZE));
    assert_false(MmIsAddressValid(Va + 102 * PAGE_SIZE));
    assert_false(MmIsAddressValid(Va + 99 * PAGE_SIZE));
    assert_int_equal(MmCommitPages(Va + 101 * PAGE_SIZE, 2, 0), STATUS_ALREADY_COMMITTED);
    assert_int_equal(MmCommitPages(Va + 4999 * PAGE_SIZE, 2, 0), STATUS_CONFLICTING_ADDRESSES);
    MmDecommitPages(Va + 100 * PAGE_SIZE, 2);
    assert_false(MmIsAddressValid(Va + 100 * PAGE_SIZE));
    assert_int_equal(MmCommitPages(Va + 100 * PAGE_SIZE, 1, 0), STATUS_SUCCESS);
    MmFreePages(Va, 5000);
    assert_in_range(Counters().Committed - Committed, 0, 12);
    KitAssertValid();
}

static void Protect_EachProtection_IsHonoured(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionSystemData, 4, 0, NormalPoolPriority);
    PMMPTE Pte = MiPteOf((ULONG_PTR)Va + PAGE_SIZE);
    Va[PAGE_SIZE] = 0x77;
    assert_int_equal(MmProtectPages(Va + PAGE_SIZE, 2, PAGE_READONLY), STATUS_SUCCESS);
    assert_int_equal(Va[PAGE_SIZE], 0x77);
    assert_int_equal(MiPteProtection(MiReadPte(Pte)), MI_PROT_READONLY);
    assert_int_equal(MmProtectPages(Va + PAGE_SIZE, 2, PAGE_NOACCESS), STATUS_SUCCESS);
    assert_true(MiPteIsTransition(MiReadPte(Pte)));
    assert_false(MmIsAddressValid(Va + PAGE_SIZE));
    KitAssertValid();
    assert_int_equal(MmProtectPages(Va + PAGE_SIZE, 2, PAGE_EXECUTE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(Va[PAGE_SIZE]++, 0x77); /* the frame stayed */
    assert_int_equal(MmProtectPages(Va, 5, PAGE_READONLY), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(MmProtectPages(Va, 4, PAGE_READWRITE | PAGE_GUARD), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(MmProtectPages(Va, 4, 0), STATUS_INVALID_PAGE_PROTECTION);
    MmDecommitPages(Va + 3 * PAGE_SIZE, 1);
    assert_int_equal(MmProtectPages(Va, 4, PAGE_READONLY), STATUS_NOT_COMMITTED);
    Va[0] = 1; /* and nothing was changed */
    MmFreePages(Va, 4);
    KitAssertValid();
}

static void Free_ThenAllocate_OldAddressShowsNothing(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 2, 0, NormalPoolPriority);
    Va[0] = 0x11;
    PFN_NUMBER Frame = KitFrame(Va);
    MmFreePages(Va, 2);
    PUCHAR Other = MmAllocatePages(MmRegionSystemData, 2, 0, NormalPoolPriority);
    assert_int_equal(KitFrame(Other), Frame); /* the frame is used again, at another address */
    KitExpectAccessStop(Va, PASSIVE_LEVEL, 'r', PAGE_FAULT_IN_NONPAGED_AREA, Va, 0, KitLoad, 0);
    MmFreePages(Other, 2);
}

static void User_Pages_AreUserAndDemandZero(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(3, PAGE_READWRITE);
    assert_true(HalIsUserAddress((ULONG_PTR)Va));
    Va[2 * PAGE_SIZE] = 9;
    assert_true(MiPteIsUser(MiReadPte(MiPteOf((ULONG_PTR)Va + 2 * PAGE_SIZE))));
    assert_true(MiPteIsDemandZero(MiReadPte(MiPteOf((ULONG_PTR)Va))));
    assert_null(MmAllocateUserPages(1, PAGE_WRITECOPY));
    assert_null(MmAllocateUserPages(0, PAGE_READWRITE));
    KitAssertValid();
    MmFreeUserPages(Va, 3);
}

static void Stacks_GuardPageBelow_IsNeverBacked(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionKernelStacks, 6, MM_PAGES_PINNED, NormalPoolPriority);
    PUCHAR Next = MmAllocatePages(MmRegionKernelStacks, 6, MM_PAGES_PINNED, NormalPoolPriority);
    assert_false(MmIsAddressValid(Va - 1));
    assert_false(MmIsAddressValid(Next - 1));
    memset(Va, 1, 6 * PAGE_SIZE);
    MmFreePages(Next, 6);
    MmFreePages(Va, 6);
    KitAssertValid();
}

static void Copy_AnyProtection_ReachesTheFrames(void **State)
{
    static UCHAR Pattern[3 * PAGE_SIZE], Back[3 * PAGE_SIZE];
    (void)State;
    for (ULONG Index = 0; Index < sizeof(Pattern); Index++) {
        Pattern[Index] = (UCHAR)(Index * 7);
    }
    for (MM_REGION Region = MmRegionNonPagedPool; Region <= MmRegionPagedPool; Region++) {
        PUCHAR Va = MmAllocatePages(Region, 4, 0, NormalPoolPriority);
        assert_int_equal(MmProtectPages(Va, 4, PAGE_NOACCESS), STATUS_SUCCESS);
        assert_int_equal(MmCopyToManaged(Va + 100, Pattern, sizeof(Pattern)), STATUS_SUCCESS);
        assert_int_equal(MmCopyFromManaged(Back, Va + 100, sizeof(Back)), STATUS_SUCCESS);
        assert_memory_equal(Pattern, Back, sizeof(Back));
        assert_int_equal(MmProtectPages(Va, 4, PAGE_READONLY), STATUS_SUCCESS);
        assert_memory_equal(Va + 100, Pattern, sizeof(Pattern));
        MmFreePages(Va, 4);
        assert_int_equal(MmCopyToManaged(Va, Pattern, 1), STATUS_ACCESS_VIOLATION);
    }
    assert_int_equal(MmCopyToManaged(Back, Pattern, 5), STATUS_SUCCESS); /* host memory is copied as it is */
    assert_int_equal(MmCopyFromManaged(Back, (PVOID)16, 5), STATUS_ACCESS_VIOLATION);
    KitAssertValid();
}

static void Validate_Commitment_BrokenInvariantsAreNamed(void **State)
{
    (void)State;
    ULONG64 Committed = MiState->Committed;
    MiState->Committed = MiState->StateCount[MiPageActive] - 1;
    assert_memory_equal(MiValidateCommitment(), "C2:", 3);
    MiState->Committed = Committed;
    MiState->CommitLimit += 100000;
    assert_memory_equal(MiValidateCommitment(), "C1:", 3);
    MiState->CommitLimit -= 100000;
    KitAssertValid();
}

int main(void)
{
#define TEST(Name) cmocka_unit_test(Name)
    const struct CMUnitTest Tests[] = {
        TEST(Allocate_EveryKernelRegion_IsMappedAndCharged),
        TEST(Allocate_ZeroWanted_IsZeroThoughTheFramesWereUsed),
        TEST(Allocate_Resident_DoesNotFaultLater),
        TEST(Allocate_Paged_OneDemandZeroFaultAPage),
        TEST(Allocate_Sizes_ThatMakeNoSense_AreNull),
        TEST(Reserve_CommitPart_OnlyThatIsBacked),
        TEST(Protect_EachProtection_IsHonoured),
        TEST(Free_ThenAllocate_OldAddressShowsNothing),
        TEST(User_Pages_AreUserAndDemandZero),
        TEST(Stacks_GuardPageBelow_IsNeverBacked),
        TEST(Copy_AnyProtection_ReachesTheFrames),
        TEST(Validate_Commitment_BrokenInvariantsAreNamed),
        TEST(Allocate_AllOfRam_ThenNullThenEverythingBack),
        TEST(Commit_DemandZeroAtTheLimit_NeverFails),
    };
    return cmocka_run_group_tests_name("pages", Tests, KitStart, KitStop);
}
