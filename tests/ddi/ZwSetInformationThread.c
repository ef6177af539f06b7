/*
 * ZwSetInformationThread.c - threads' priorities, and what a page priority does (pages ZwSetInformationThread,
 * NtSetInformationThread): one test per documented sentence. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <stdio.h>
#include <unistd.h>

#define PAGES 32u

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-setthread-%d:16M", (int)getpid());
    return ntmm_start(&Options);
}

static NTSTATUS SetPriority(ULONG Priority)
{
    PAGE_PRIORITY_INFORMATION Page = {Priority};
    return ZwSetInformationThread(ZwCurrentThread(), ThreadPagePriority, &Page, sizeof(Page));
}

/* "this value must be > LOW_PRIORITY and <= HIGH_PRIORITY" */
static void Priority_Range_IsKept(void **State)
{
    KPRIORITY Priority = HIGH_PRIORITY, Before = KeQueryPriorityThread(KeGetCurrentThread());
    (void)State;
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), ThreadPriority, &Priority, sizeof(Priority)), STATUS_SUCCESS);
    assert_int_equal(KeQueryPriorityThread(KeGetCurrentThread()), HIGH_PRIORITY);
    Priority = LOW_PRIORITY;
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), ThreadPriority, &Priority, sizeof(Priority)),
                     STATUS_INVALID_PARAMETER);
    Priority = HIGH_PRIORITY + 1;
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), ThreadPriority, &Priority, sizeof(Priority)),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(KeQueryPriorityThread(KeGetCurrentThread()), HIGH_PRIORITY);
    KeSetPriorityThread(KeGetCurrentThread(), Before);
}

/* "this value must fall within the system's valid base-priority range" */
static void BasePriority_Range_IsKept(void **State)
{
    KPRIORITY Before = KeQueryPriorityThread(KeGetCurrentThread());
    LONG Base = 2;
    (void)State;
    assert_int_equal(NtSetInformationThread(ZwCurrentThread(), ThreadBasePriority, &Base, sizeof(Base)), STATUS_SUCCESS);
    Base = 3;
    assert_int_equal(NtSetInformationThread(ZwCurrentThread(), ThreadBasePriority, &Base, sizeof(Base)),
                     STATUS_INVALID_PARAMETER);
    KeSetPriorityThread(KeGetCurrentThread(), Before);
}

/* "The size, in bytes"; "STATUS_INFO_LENGTH_MISMATCH", "STATUS_INVALID_PARAMETER" */
static void Refusals_AreTheDocumentedStatuses(void **State)
{
    POWER_THROTTLING_THREAD_STATE Power = {POWER_THROTTLING_THREAD_CURRENT_VERSION, POWER_THROTTLING_THREAD_EXECUTION_SPEED,
                                           POWER_THROTTLING_THREAD_EXECUTION_SPEED};
    ULONG64 Wide = 5;
    (void)State;
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), ThreadPagePriority, &Wide, sizeof(Wide)),
                     STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), (THREADINFOCLASS)99, &Wide, sizeof(Wide)),
                     STATUS_INVALID_INFO_CLASS);
    assert_int_equal(ZwSetInformationThread((HANDLE)0x7FFC, ThreadPagePriority, &Wide, sizeof(ULONG)), STATUS_INVALID_HANDLE);
    assert_int_equal(SetPriority(0), STATUS_INVALID_PARAMETER);
    assert_int_equal(SetPriority(MEMORY_PRIORITY_NORMAL + 1), STATUS_INVALID_PARAMETER);
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), ThreadPowerThrottlingState, &Power, sizeof(Power)),
                     STATUS_SUCCESS);
    Power.StateMask = 2;
    assert_int_equal(ZwSetInformationThread(ZwCurrentThread(), ThreadPowerThrottlingState, &Power, sizeof(Power)),
                     STATUS_INVALID_PARAMETER);
}

/* "MEMORY_PRIORITY_VERY_LOW ... MEMORY_PRIORITY_NORMAL. This is the default priority for all threads": the pages that a thread
 * brings in are kept in standby by its priority, and the one that values a page most decides. */
static void PagePriority_Pages_GoToTheListOfTheirThread(void **State)
{
    MM_COUNTERS Low, Raised;
    volatile UCHAR *Va = ExAllocatePool2(POOL_FLAG_PAGED, PAGES * PAGE_SIZE, 'irPT');
    (void)State;
    assert_non_null(Va);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Va[Page * PAGE_SIZE] = (UCHAR)Page;
    }
    assert_true(MmTrimAllSystemPageableMemory(TRUE));
    assert_int_equal(SetPriority(MEMORY_PRIORITY_VERY_LOW), STATUS_SUCCESS);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(Va[Page * PAGE_SIZE], Page);
    }
    assert_true(MmTrimAllSystemPageableMemory(FALSE));
    MmQueryCounters(&Low);
    assert_true(Low.StandbyByPriority[MEMORY_PRIORITY_VERY_LOW] >= PAGES);
    assert_int_equal(SetPriority(MEMORY_PRIORITY_NORMAL), STATUS_SUCCESS);
    for (ULONG Page = 0; Page < PAGES / 2; Page++) { /* soft faults */
        assert_int_equal(Va[Page * PAGE_SIZE], Page);
    }
    assert_true(MmTrimAllSystemPageableMemory(FALSE));
    MmQueryCounters(&Raised);
    assert_int_equal(Raised.StandbyByPriority[MEMORY_PRIORITY_VERY_LOW],
                     Low.StandbyByPriority[MEMORY_PRIORITY_VERY_LOW] - PAGES / 2);
    assert_true(Raised.StandbyByPriority[MEMORY_PRIORITY_NORMAL] >= Low.StandbyByPriority[MEMORY_PRIORITY_NORMAL] + PAGES / 2);
    ExFreePoolWithTag((PVOID)Va, 'irPT');
    assert_null(MiValidateAll());
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Priority_Range_IsKept),
        cmocka_unit_test(BasePriority_Range_IsKept),
        cmocka_unit_test(Refusals_AreTheDocumentedStatuses),
        cmocka_unit_test(PagePriority_Pages_GoToTheListOfTheirThread),
    };
    return cmocka_run_group_tests_name("ZwSetInformationThread", Tests, Start, KitStop);
}
