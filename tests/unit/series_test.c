/*
 * series_test.c - memory over time (src/mm/series.c) and the host-side view of memory (src/host/memory.c).
 * SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <stdio.h>
#include <unistd.h>

#define MS 1000000ull

static MM_SAMPLE At(ULONG64 Milliseconds)
{
    MM_SAMPLE Sample = {.Time = Milliseconds * MS, .Committed = Milliseconds};
    return Sample;
}

/* A series begins with a sample where it was started; with an hour's interval the timer adds none to what the test records. */
static ULONG Fill(ULONG64 Interval, ULONG Count)
{
    static MM_SAMPLE Read[MM_SAMPLES];
    ULONG64 Now;
    MmStartSampling(Interval);
    assert_int_equal(MmReadSamples(Read, MM_SAMPLES, &Now), 1);
    for (ULONG64 Index = 1; Index < Count; Index++) {
        MM_SAMPLE Sample = At(Index * (Interval / MS));
        MiRecordSample(&Sample);
    }
    return MmReadSamples(Read, MM_SAMPLES, &Now);
}

static void Series_ThinsItself_AndCoversTheWholeTime(void **State)
{
    static MM_SAMPLE Read[MM_SAMPLES];
    const ULONG64 Hour = 3600000 * MS;
    ULONG64 Interval;
    (void)State;
    assert_int_equal(Fill(Hour, 100), 100);
    assert_int_equal(Fill(Hour, MM_SAMPLES), MM_SAMPLES);
    /* one more: every second one goes */
    MM_SAMPLE Next = At(MM_SAMPLES * 3600000ull);
    MiRecordSample(&Next);
    assert_int_equal(MmReadSamples(Read, MM_SAMPLES, &Interval), MM_SAMPLES / 2 + 1);
    assert_int_equal(Interval, 2 * Hour);
    for (ULONG Index = 1; Index <= MM_SAMPLES / 2; Index++) {
        assert_int_equal(Read[Index].Time, 2 * Index * Hour);
    }
    /* what comes too early for the new interval is not kept */
    Next = At((MM_SAMPLES + 1) * 3600000ull);
    MiRecordSample(&Next);
    assert_int_equal(MmReadSamples(Read, MM_SAMPLES, &Interval), MM_SAMPLES / 2 + 1);
    /* a thousand times longer: still no more than fit, still evenly, from the beginning to the end */
    for (ULONG64 Index = MM_SAMPLES + 2; Index < 1000 * MM_SAMPLES; Index++) {
        Next = At(Index * 3600000ull);
        MiRecordSample(&Next);
    }
    ULONG Count = MmReadSamples(Read, MM_SAMPLES, &Interval);
    assert_in_range(Count, MM_SAMPLES / 2 - 1, MM_SAMPLES);
    assert_int_equal(Interval, 1024 * Hour);
    for (ULONG Index = 1; Index < Count; Index++) {
        assert_int_equal(Read[Index].Time, Index * Interval);
    }
    assert_true(Read[Count - 1].Time + Interval >= (1000 * MM_SAMPLES - 1) * Hour);
    MmStopSampling();
    assert_int_equal(MmReadSamples(Read, 5, &Interval), 5);
}

static void Series_OfATimer_IsInOrder(void **State)
{
    static ntmm_memory_sample Read[NTMM_MEMORY_SAMPLES];
    uint64_t Interval;
    size_t Count;
    (void)State;
    assert_int_equal(ntmm_sample_memory(1), 0);
    do {
        HalYield();
        Count = ntmm_memory_samples(Read, NTMM_MEMORY_SAMPLES, &Interval);
    } while (Count < 5);
    assert_int_equal(ntmm_sample_memory(0), 0);
    Count = ntmm_memory_samples(Read, NTMM_MEMORY_SAMPLES, &Interval);
    HalYield();
    assert_int_equal(ntmm_memory_samples(Read, NTMM_MEMORY_SAMPLES, NULL), Count); /* stopped */
    for (size_t Index = 0; Index < Count; Index++) {
        assert_int_equal(Read[Index].zeroed_pages + Read[Index].free_pages + Read[Index].standby_pages +
                             Read[Index].modified_pages + Read[Index].active_pages,
                         (64u << 20) / PAGE_SIZE);
        assert_true(Index == 0 || Read[Index].nanoseconds > Read[Index - 1].nanoseconds);
    }
}

static void Query_EveryPageIsSomewhere(void **State)
{
    ntmm_memory Memory;
    (void)State;
    PUCHAR Block = ExAllocatePoolWithTag(PagedPool, 64 * PAGE_SIZE, 'tseT');
    for (ULONG Page = 0; Page < 64; Page++) {
        Block[Page * PAGE_SIZE] = 1;
    }
    assert_int_equal(ntmm_query_memory(&Memory), 0);
    uint64_t InSet = Memory.system_working_set_pages, Soft = Memory.soft_faults, Hard = Memory.hard_faults;
    assert_true(InSet >= 64);
    assert_int_equal(ntmm_page_out(false), 0);
    assert_int_equal(ntmm_query_memory(&Memory), 0);
    assert_true(Memory.system_working_set_pages <= InSet - 64);
    assert_int_equal(Memory.zeroed_pages + Memory.free_pages + Memory.standby_pages + Memory.modified_pages +
                         Memory.modified_no_write_pages + Memory.bad_pages + Memory.transition_pages + Memory.active_pages,
                     Memory.ram_pages);
    assert_int_equal(Memory.available_pages, Memory.zeroed_pages + Memory.free_pages + Memory.standby_pages);
    uint64_t Sum = 0;
    for (unsigned Priority = 0; Priority < 8; Priority++) {
        Sum += Memory.standby_by_priority[Priority];
    }
    assert_int_equal(Sum, Memory.standby_pages);
    assert_true(Memory.committed_pages <= Memory.commit_limit_pages);
    assert_true(Memory.commit_limit_pages <= Memory.commit_maximum_pages);
    for (ULONG Page = 0; Page < 64; Page++) {
        assert_int_equal(Block[Page * PAGE_SIZE], 1);
    }
    assert_int_equal(ntmm_query_memory(&Memory), 0);
    assert_true(Memory.soft_faults >= Soft + 64); /* the pages never left RAM */
    assert_int_equal(Memory.hard_faults, Hard);
    ExFreePoolWithTag(Block, 'tseT');
    assert_string_equal(ntmm_memory_condition(0), "LowMemoryCondition");
    assert_null(ntmm_memory_condition(MmConditions));
}

/* A fault is of one kind: what comes from the device is hard and not soft. */
static void Query_HardFaultsAreNotSoftOnes(void **State)
{
    ntmm_options Options;
    ntmm_memory Before, After;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 16u << 20;
    snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm.series.%d", (int)getpid());
    Options.pagefile_size = 16u << 20;
    assert_int_equal(ntmm_start(&Options), 0);
    PUCHAR Block = ExAllocatePoolWithTag(PagedPool, 64 * PAGE_SIZE, 'tseT');
    for (ULONG Page = 0; Page < 64; Page++) {
        Block[Page * PAGE_SIZE] = (UCHAR)Page;
    }
    assert_int_equal(ntmm_page_out(true), 0);
    assert_int_equal(ntmm_query_memory(&Before), 0);
    assert_true(Before.pages_written >= 64);
    assert_int_equal(Block[0], 0); /* one touch: one read, with its neighbours */
    assert_int_equal(ntmm_query_memory(&After), 0);
    assert_int_equal(After.hard_faults, Before.hard_faults + 1);
    assert_int_equal(After.soft_faults, Before.soft_faults);
    assert_int_equal(After.page_reads, Before.page_reads + 1);
    for (ULONG Page = 0; Page < 64; Page++) {
        assert_int_equal(Block[Page * PAGE_SIZE], (UCHAR)Page);
    }
    ExFreePoolWithTag(Block, 'tseT');
    KitAssertValid();
    assert_int_equal(ntmm_stop(), 0);
}

static void Query_WithoutASystem_Fails(void **State)
{
    ntmm_memory Memory;
    (void)State;
    assert_int_equal(ntmm_query_memory(&Memory), -1);
    assert_string_equal(ntmm_error(), "the system does not run");
    assert_int_equal(ntmm_sample_memory(1), -1);
    assert_int_equal(ntmm_page_out(false), -1);
    assert_int_equal(ntmm_memory_samples(NULL, 0, NULL), 0);
}

#define TEST(Name) cmocka_unit_test_setup_teardown(Name, KitStart, KitStop)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Series_ThinsItself_AndCoversTheWholeTime),
        TEST(Series_OfATimer_IsInOrder),
        TEST(Query_EveryPageIsSomewhere),
        cmocka_unit_test(Query_HardFaultsAreNotSoftOnes),
        cmocka_unit_test(Query_WithoutASystem_Fails),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
