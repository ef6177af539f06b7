/*
 * zeropage_test.c - free pages that are being cleaned (src/mm/zeropage.c). SPDX-License-Identifier: MIT
 *
 * The machine has no page file: what is committed is promised from RAM alone, and a fault that finds no page is a broken promise.
 */
#include "mm_kit.h"
#include <pthread.h>

static int Setup(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0;
    Options.ram = 8u << 20;
    Options.cpus = 2;
    return ntmm_start(&Options);
}

#define CLEANERS 2u
#define LAST     60u /* fewer than a cleaner has in its hands at a time */

static volatile LONG Stop;
static void *Clean(void *Count)
{
    while (!__atomic_load_n(&Stop, __ATOMIC_RELAXED)) {
        *(ULONG64 *)Count += MmDiscardFreePages(64);
        HalYield();
    }
    return NULL;
}

static void Touch(PUCHAR Va, SIZE_T Pages)
{
    for (SIZE_T Page = 0; Page < Pages; Page++) {
        *(volatile UCHAR *)(Va + Page * PAGE_SIZE) = 1;
    }
}

/* The system may want a page for itself meanwhile, and gives it back. */
static PUCHAR Allocate(SIZE_T Pages)
{
    PUCHAR Va;
    while ((Va = MmAllocatePages(MmRegionPagedPool, Pages, 0, HighPoolPriority)) == NULL) {
        HalYield();
    }
    return Va;
}

/* All that may be promised in one piece. */
static PUCHAR AllocateMost(MM_REGION Region, SIZE_T *Pages)
{
    MM_COUNTERS Now;
    MmQueryCounters(&Now);
    for (*Pages = (SIZE_T)(Now.CommitLimit - Now.Committed); *Pages > 100; *Pages -= 1) {
        PUCHAR Va = MmAllocatePages(Region, *Pages, 0, HighPoolPriority);
        if (Va != NULL) {
            return Va;
        }
    }
    return NULL;
}

static void WhatIsPromised_IsThere_WhileFreePagesAreCleaned(void **State)
{
    pthread_t Threads[CLEANERS];
    ULONG64 Cleaned[CLEANERS] = {0};
    (void)State;
    for (ULONG Index = 0; Index < CLEANERS; Index++) {
        assert_int_equal(pthread_create(&Threads[Index], NULL, Clean, &Cleaned[Index]), 0);
    }
    SIZE_T Pages;
    PUCHAR Most = AllocateMost(MmRegionPagedPool, &Pages);
    assert_non_null(Most);
    MmFreePages(Most, Pages);
    Pages -= LAST;
    Most = Allocate(Pages);
    Touch(Most, Pages);
    for (ULONG Round = 0; Round < 500; Round++) { /* the last pages come and go, and are cleaned as they go */
        PUCHAR Last = Allocate(LAST);
        Touch(Last, LAST);
        MmFreePages(Last, LAST);
    }
    MmFreePages(Most, Pages);
    __atomic_store_n(&Stop, 1, __ATOMIC_RELAXED);
    for (ULONG Index = 0; Index < CLEANERS; Index++) {
        pthread_join(Threads[Index], NULL);
        assert_true(Cleaned[Index] != 0);
    }
    assert_null(MiValidateAll());
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(WhatIsPromised_IsThere_WhileFreePagesAreCleaned, Setup, KitStop),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
