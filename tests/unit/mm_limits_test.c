/*
 * mm_limits_test.c - the regions' limits from the options, and what happens at them: src/mm/region.c,
 * src/mm/init.c. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"

static void Start(const char *Text)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    assert_int_equal(ntmm_parse_options(Text, &Options), 0);
    assert_int_equal(ntmm_start(&Options), 0);
}
static MM_REGION_INFO Info(MM_REGION Region)
{
    MM_REGION_INFO Now;
    MmQueryRegion(Region, &Now);
    return Now;
}

static void Limits_FromOptions_EndEachRegion(void **State)
{
    static const struct {
        MM_REGION Region;
        ULONG Pages;
    } Cases[] = {{MmRegionNonPagedPool, 512}, {MmRegionPagedPool, 768},     {MmRegionSystemPtes, 1024},
                 {MmRegionSpecialPool, 1280}, {MmRegionDriverImages, 1536}, {MmRegionKernelStacks, 1792}};
    (void)State;
    Start("ram=64M,nonpagedpool=2M,pagedpool=3M,systemptes=4M,specialpool=5M,images=6M,kernelstacks=7M");
    for (size_t Index = 0; Index < ARRAYSIZE(Cases); Index++) {
        static PVOID Runs[2048];
        MM_REGION_INFO Before = Info(Cases[Index].Region), After;
        ULONG Count = 0;
        assert_int_equal(Before.PageLimit, Cases[Index].Pages);
        while ((Runs[Count] = MmAllocatePages(Cases[Index].Region, 2, 0, NormalPoolPriority))) {
            Count++;
        }
        After = Info(Cases[Index].Region);
        assert_true(Count > 0 && Count <= Cases[Index].Pages / 2);
        assert_int_equal(After.Failures, Before.Failures + 1);
        assert_int_equal(After.PagesInUse, Before.PagesInUse + 2 * Count);
        KitAssertValid();
        while (Count) {
            MmFreePages(Runs[--Count], 2);
        }
        assert_int_equal(Info(Cases[Index].Region).PagesInUse, Before.PagesInUse);
        assert_int_equal(Info(Cases[Index].Region).PeakPages, After.PeakPages); /* peaks stay */
    }
    KitAssertValid();
    assert_int_equal(ntmm_stop(), 0);
}

static void Full_MdlMapping_SaysNoAndGoesOn(void **State)
{
    static KIT_MDL Mdls[200];
    ULONG Count = 0;
    (void)State;
    Start("ram=32M,systemptes=256K");
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    for (; Count < 200; Count++) {
        MmInitializeMdl(&Mdls[Count].Mdl, Va, 100);
        MmProbeAndLockPages(&Mdls[Count].Mdl, KernelMode, IoReadAccess);
        if (MmGetSystemAddressForMdlSafe(&Mdls[Count].Mdl, HighPagePriority) == NULL) {
            break;
        }
    }
    assert_in_range(Count, 50, 64);
    assert_int_equal(Mdls[Count].Mdl.MdlFlags, MDL_PAGES_LOCKED);
    assert_true(Info(MmRegionSystemPtes).Failures >= 1);
    MmUnlockPages(&Mdls[0].Mdl);
    assert_non_null(MmGetSystemAddressForMdlSafe(&Mdls[Count].Mdl, HighPagePriority));
    for (ULONG Index = 1; Index <= Count; Index++) {
        MmUnlockPages(&Mdls[Index].Mdl);
    }
    MmFreePages(Va, 1);
    KitAssertValid();
    assert_int_equal(ntmm_stop(), 0);
}

static void Sizes_SmallAndLarge_BothWork(void **State)
{
    static const char *const Sizes[] = {"ram=4M", "ram=16M", "ram=1G", "ram=16G"};
    (void)State;
    for (size_t Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
        MM_COUNTERS Counters;
        Start(Sizes[Index]);
        MmQueryCounters(&Counters);
        assert_true(Counters.CommitLimit > Counters.TotalPages * 9 / 10);
        for (MM_REGION Region = MmRegionNonPagedPool; Region < MmRegionUser; Region++) {
            PUCHAR Va = MmAllocatePages(Region, 3, 0, NormalPoolPriority);
            assert_non_null(Va);
            Va[5] = 1;
            MmFreePages(Va, 3);
        }
        KitAssertValid();
        assert_int_equal(ntmm_stop(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Limits_FromOptions_EndEachRegion),
        cmocka_unit_test(Full_MdlMapping_SaysNoAndGoesOn),
        cmocka_unit_test(Sizes_SmallAndLarge_BothWork),
    };
    return cmocka_run_group_tests_name("mm_limits", Tests, NULL, NULL);
}
