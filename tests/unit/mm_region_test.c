/* mm_region_test.c - regions and their address allocators: src/mm/region.c. SPDX-License-Identifier: MIT */
#include "mm_kit.h"

#define BITS 1000u
static ULONG64 Maps[2][(BITS + 63) / 64];
static MI_REGION Region;

static int Setup(void **State)
{
    (void)State;
    memset(Maps, 0, sizeof(Maps));
    Region = (MI_REGION){.Id = MmRegionNonPagedPool,
                         .Base = 0x100000000,
                         .End = 0x100000000 + BITS * PAGE_SIZE,
                         .Bits = BITS,
                         .Allocated = Maps[0],
                         .Last = Maps[1]};
    return 0;
}
static ULONG PageOf(ULONG_PTR Va)
{
    return (ULONG)((Va - Region.Base) / PAGE_SIZE);
}

static void Allocate_FirstFit_FromTheBottom(void **State)
{
    (void)State;
    assert_int_equal(PageOf(MiAllocateVa(&Region, 3)), 0);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 1)), 3);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 64)), 4);
    MiFreeVa(&Region, Region.Base, 3);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 2)), 0);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 1)), 2);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 1)), 68);
    assert_int_equal(Region.AddressPages, 69);
}

static void Allocate_All_ThenNothing(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < BITS; Index++) {
        assert_int_equal(PageOf(MiAllocateVa(&Region, 1)), Index);
    }
    assert_int_equal(MiAllocateVa(&Region, 1), 0);
    MiFreeVa(&Region, Region.Base + 500 * PAGE_SIZE, 1);
    assert_int_equal(MiAllocateVa(&Region, 2), 0);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 1)), 500);
}

static void Allocate_SillySizes_AreRefused(void **State)
{
    (void)State;
    assert_int_equal(MiAllocateVa(&Region, 0), 0);
    assert_int_equal(MiAllocateVa(&Region, BITS + 1), 0);
    assert_int_equal(MiAllocateVa(&Region, ~(SIZE_T)0), 0);
    assert_int_equal(PageOf(MiAllocateVa(&Region, BITS)), 0);
}

static void Allocate_Guard_LeavesAPageBelow(void **State)
{
    (void)State;
    Region.Guard = 1;
    ULONG_PTR First = MiAllocateVa(&Region, 2), Second = MiAllocateVa(&Region, 2);
    SIZE_T Actual;
    assert_int_equal(PageOf(First), 1);
    assert_int_equal(PageOf(Second), 4);
    assert_int_equal(MiCheckVa(&Region, First, 2, &Actual), MiVaExact);
    assert_int_equal(MiCheckVa(&Region, Second, 2, &Actual), MiVaExact);
    MiFreeVa(&Region, First, 2);
    assert_int_equal(Region.AddressPages, 3);
    assert_int_equal(PageOf(MiAllocateVa(&Region, 2)), 1);
}

static void AllocateAt_TakenOrOutside_IsRefused(void **State)
{
    (void)State;
    assert_true(MiAllocateVaAt(&Region, Region.Base + 10 * PAGE_SIZE, 5));
    assert_false(MiAllocateVaAt(&Region, Region.Base + 14 * PAGE_SIZE, 1));
    assert_false(MiAllocateVaAt(&Region, Region.Base + 8 * PAGE_SIZE, 3));
    assert_false(MiAllocateVaAt(&Region, Region.Base + 8 * PAGE_SIZE + 1, 1));
    assert_false(MiAllocateVaAt(&Region, Region.End, 1));
    assert_false(MiAllocateVaAt(&Region, Region.End - PAGE_SIZE, 2));
    assert_true(MiAllocateVaAt(&Region, Region.End - PAGE_SIZE, 1));
    assert_int_equal(PageOf(MiAllocateVa(&Region, 11)), 15);
}

static void Check_AnythingButTheRun_IsTold(void **State)
{
    SIZE_T Actual;
    (void)State;
    ULONG_PTR First = MiAllocateVa(&Region, 4), Second = MiAllocateVa(&Region, 3);
    assert_int_equal(MiCheckVa(&Region, First, 4, &Actual), MiVaExact);
    assert_int_equal(MiCheckVa(&Region, First, 3, &Actual), MiVaWrongSize);
    assert_int_equal(Actual, 4);
    assert_int_equal(MiCheckVa(&Region, First, 7, &Actual), MiVaWrongSize);
    assert_int_equal(MiCheckVa(&Region, First + PAGE_SIZE, 3, &Actual), MiVaInside);
    assert_int_equal(MiCheckVa(&Region, Second + 3 * PAGE_SIZE, 1, &Actual), MiVaNotAllocated);
    assert_int_equal(MiCheckVa(&Region, Second, 4, &Actual), MiVaPartlyFree);
    assert_int_equal(MiCheckVa(&Region, Region.Base - PAGE_SIZE, 1, &Actual), MiVaNotAllocated);
    assert_true(MiVaIsAllocated(&Region, First + PAGE_SIZE, 5));
    assert_false(MiVaIsAllocated(&Region, First, 8));
}

static void Random_AgainstAModel_NeverOverlaps(void **State)
{
    static UCHAR Model[BITS];
    struct {
        ULONG_PTR Va;
        ULONG Pages;
    } Live[100] = {{0, 0}};
    (void)State;
    memset(Model, 0, sizeof(Model));
    srand(5);
    for (ULONG Round = 0; Round < 20000; Round++) {
        ULONG Slot = (ULONG)rand() % 100;
        if (Live[Slot].Va) {
            ULONG Page = PageOf(Live[Slot].Va);
            MiFreeVa(&Region, Live[Slot].Va, Live[Slot].Pages);
            memset(Model + Page, 0, Live[Slot].Pages);
            Live[Slot].Va = 0;
            continue;
        }
        ULONG Pages = 1 + (ULONG)rand() % 40, Fits = BITS, Run = 0;
        Live[Slot].Va = MiAllocateVa(&Region, Pages);
        Live[Slot].Pages = Pages;
        for (ULONG Page = 0; Page < BITS; Page++) { /* the model's first fit */
            Run = Model[Page] ? 0 : Run + 1;
            if (Run == Pages) {
                Fits = Page - Pages + 1;
                break;
            }
        }
        assert_int_equal(Live[Slot].Va ? PageOf(Live[Slot].Va) : BITS, Fits);
        if (Live[Slot].Va) {
            memset(Model + Fits, 1, Pages);
        }
    }
}

static void Regions_LaidOut_DisjointAndInsideTheRange(void **State)
{
    ULONG_PTR Before = HalFacts.SystemBase;
    (void)State;
    for (MM_REGION Id = MmRegionNonPagedPool; Id < MmRegionUser; Id++) {
        MM_REGION_INFO Info;
        MmQueryRegion(Id, &Info);
        assert_true(Info.Base > Before);
        assert_true(Info.End > Info.Base);
        assert_int_equal(MmRegionOf((PVOID)Info.Base), Id);
        assert_int_equal(MmRegionOf((PVOID)(Info.End - 1)), Id);
        assert_int_equal(MmRegionOf((PVOID)(Info.Base - 1)), MmRegionNone);
        assert_int_equal((Info.End - Info.Base) / PAGE_SIZE, Info.PageLimit);
        Before = Info.End;
    }
    assert_true(Before <= HalFacts.SystemEnd);
    assert_int_equal(MmRegionOf((PVOID)HalFacts.UserBase), MmRegionUser);
    assert_int_equal(MmRegionOf(&Before), MmRegionNone);
}

static void Validate_BrokenInvariants_AreNamed(void **State)
{
    MI_REGION *Real = &MiState->Regions[MmRegionSpecialPool];
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionSpecialPool, 2, 0, NormalPoolPriority);
    assert_null(MiValidateRegions());
    Real->AddressPages++;
    assert_memory_equal(MiValidateRegions(), "R1:", 3);
    Real->AddressPages--;
    Real->Last[0] ^= 1ull << 40;
    assert_memory_equal(MiValidateRegions(), "R2:", 3);
    Real->Last[0] ^= 1ull << 40;
    ULONG Hint = Real->Hint[0];
    Real->Hint[0] = 50;
    assert_memory_equal(MiValidateRegions(), "R3:", 3);
    Real->Hint[0] = Hint;
    Real->PagesInUse += 1000;
    assert_memory_equal(MiValidateRegions(), "R4:", 3);
    Real->PagesInUse -= 1000;
    assert_null(MiValidateRegions());
    MmFreePages(Va, 2);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup(Name, Setup)
    const struct CMUnitTest Tests[] = {
        TEST(Allocate_FirstFit_FromTheBottom),
        TEST(Allocate_All_ThenNothing),
        TEST(Allocate_SillySizes_AreRefused),
        TEST(Allocate_Guard_LeavesAPageBelow),
        TEST(AllocateAt_TakenOrOutside_IsRefused),
        TEST(Check_AnythingButTheRun_IsTold),
        TEST(Random_AgainstAModel_NeverOverlaps),
        cmocka_unit_test(Regions_LaidOut_DisjointAndInsideTheRange),
        cmocka_unit_test(Validate_BrokenInvariants_AreNamed),
    };
    return cmocka_run_group_tests_name("mm_region", Tests, KitStart, KitStop);
}
