/*
 * fillorder_test.c - a thread that fills memory in the order of addresses: what a fault brings along, what is written out before memory
 * is short, and that who is faster than the device waits for whole runs. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <stdio.h>
#include <unistd.h>

#define RAM_PAGES (32u << 8)
static PUCHAR Va;
static ULONG Pages;

static int Setup(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = RAM_PAGES * 4096ull;
    Options.cpus = 2;
    Options.pagefile_check = true;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-fillorder-%d:128M", (int)getpid());
    Options.pagedpool = 256u << 20;
    if (ntmm_start(&Options) != 0) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    return 0;
}
static int Teardown(void **State)
{
    (void)State;
    ntmm_clear_disk_faults();
    MmFreePages(Va, Pages);
    Va = NULL;
    Pages = 0;
    const CHAR *Broken = MiValidateAll();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    return ntmm_stop() | (Broken ? -1 : 0);
}
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)

static void Allocate(ULONG Count)
{
    Pages = Count;
    Va = MmAllocatePages(MmRegionPagedPool, Pages, 0, NormalPoolPriority);
    assert_non_null(Va);
}
static volatile ULONG64 *At(ULONG Page)
{
    return (volatile ULONG64 *)(void *)(Va + (ULONG64)Page * PAGE_SIZE);
}
static void Fill(ULONG From, ULONG To)
{
    for (ULONG Page = From; Page < To; Page++) {
        *At(Page) = Page * 0x9E3779B97F4A7C15ull + 1;
    }
}
static ULONG64 Written(void)
{
    MM_COUNTERS Counters;
    MmQueryCounters(&Counters);
    return Counters.PagesWritten;
}
/* Fills on, up to Limit, until something was written; TRUE: it was. */
static BOOLEAN FillUntilWritten(ULONG From, ULONG Limit)
{
    ULONG64 Late = HalQueryTime() + 60000000000ull;
    while (Written() == 0 && HalQueryTime() < Late) {
        if (From < Limit) {
            Fill(From, From + 1);
            From++;
        } else {
            HalYield();
        }
    }
    return Written() != 0;
}

static void FasterThanTheDevice_WaitsForWholeRuns(void **State)
{
    ULONG64 Before = 0;
    (void)State;
    /* how fast this thread is depends on who else wants the processor: each round the device is slower */
    for (ULONG Nanoseconds = 300000; __atomic_load_n(&MiState->Pager.PageWaits, __ATOMIC_RELAXED) == 0; Nanoseconds *= 8) {
        assert_true(Nanoseconds < 300000000);
        if (Va != NULL) {
            MmFreePages(Va, Pages);
        }
        Allocate(3 * RAM_PAGES);
        ntmm_clear_disk_faults();
        assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_DELAY, -1, 0, 0, Nanoseconds), 0);
        Before = __atomic_load_n(&MiState->DemandZeroFaults, __ATOMIC_RELAXED);
        Fill(0, Pages);
    }
    assert_true(__atomic_load_n(&MiState->DemandZeroFaults, __ATOMIC_RELAXED) - Before < Pages / 16);
    for (ULONG Page = 0; Page < Pages; Page += 61) {
        assert_int_equal(*At(Page), Page * 0x9E3779B97F4A7C15ull + 1);
    }
}

static void MoreIsCommittedThanThereIs_TheDeviceBeginsWhileMemoryIsPlenty(void **State)
{
    (void)State;
    Allocate(2 * RAM_PAGES);
    Fill(0, RAM_PAGES / 2);
    assert_true(FillUntilWritten(RAM_PAGES / 2, RAM_PAGES * 3 / 4));
    assert_int_equal(__atomic_load_n(&MiState->Pager.PageWaits, __ATOMIC_RELAXED), 0);
    assert_true(MiAvailable() > MiThreshold(Plenty));
    for (ULONG Page = 0; Page < RAM_PAGES / 2; Page++) { /* in standby, if it is not in the working set */
        assert_int_equal(*At(Page), Page * 0x9E3779B97F4A7C15ull + 1);
    }
    assert_int_equal(__atomic_load_n(&MiState->HardFaults, __ATOMIC_RELAXED), 0);
}

static void EverythingFits_NothingLeaves(void **State)
{
    (void)State;
    Allocate(RAM_PAGES / 4 * 3);
    Fill(0, Pages);
    assert_int_equal(MiThreshold(Ahead), 0);
    assert_int_equal(__atomic_load_n(&MiState->Pager.TrimmedPages, __ATOMIC_RELAXED), 0);
    assert_int_equal(Written(), 0);
}

static void APageThatMustBeReadIn_EndsIt(void **State)
{
    (void)State;
    Allocate(2 * RAM_PAGES);
    Fill(0, RAM_PAGES / 2);
    assert_true(FillUntilWritten(RAM_PAGES / 2, RAM_PAGES * 3 / 4));
    ULONG64 Late = HalQueryTime() + 60000000000ull;
    do { /* a page that is just being written stays */
        MmEmptyAllWorkingSets(TRUE);
        assert_int_equal(*At(0), 1);
    } while (__atomic_load_n(&MiState->HardFaults, __ATOMIC_RELAXED) == 0 && HalQueryTime() < Late);
    assert_true(__atomic_load_n(&MiState->HardFaults, __ATOMIC_RELAXED) != 0);
    assert_int_equal(MiThreshold(Ahead), 0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(FasterThanTheDevice_WaitsForWholeRuns),
        TEST(MoreIsCommittedThanThereIs_TheDeviceBeginsWhileMemoryIsPlenty),
        TEST(EverythingFits_NothingLeaves),
        TEST(APageThatMustBeReadIn_EndsIt),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
