/*
 * pool_corrupted.c - an overrun of a block without slack; a lookaside list whose entry was written to after it was freed: bug check 0xC5 at raised IRQL
 * (address, IRQL, 0, instruction), 0x50 below; a driver's own S-list is 0x0A. Page: "Bug Check 0xC5:
 * DRIVER_CORRUPTED_EXPOOL". SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>

static NPAGED_LOOKASIDE_LIST List;
static DECLSPEC_ALIGN(16) SLIST_HEADER Own;

static void AllocateRaised(void *Argument)
{
    KIRQL Old;
    UNREFERENCED_PARAMETER(Argument);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    ExAllocateFromNPagedLookasideList(&List);
    KeLowerIrql(Old);
}
static void Allocate(void *Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    ExAllocateFromNPagedLookasideList(&List);
}
static void PopRaised(void *Argument)
{
    KIRQL Old;
    UNREFERENCED_PARAMETER(Argument);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    InterlockedPopEntrySList(&Own);
    KeLowerIrql(Old);
}

/* An address of nonpaged pool without memory. */
static PSLIST_ENTRY Gone(void)
{
    PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4 * PAGE_SIZE, 'tseT');
    assert_non_null(Block);
    ExFreePoolWithTag(Block, 'tseT');
    assert_false(MmIsAddressValid(Block));
    return Block;
}

static void LookasideEntryOverwritten_0xC5(void **State)
{
    ntmm_bugcheck Stop;
    PSLIST_ENTRY Entry, Nowhere;
    UNREFERENCED_PARAMETER(State);
    ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 64, 'tseT', 0);
    Entry = ExAllocateFromNPagedLookasideList(&List);
    assert_non_null(Entry);
    ExFreeToNPagedLookasideList(&List, Entry);
    Nowhere = Gone();
    Entry->Next = Nowhere; /* the sin: the entry is the list's again */
    assert_ptr_equal(ExAllocateFromNPagedLookasideList(&List), Entry);
    assert_true(ntmm_catch(AllocateRaised, NULL, &Stop));
    assert_int_equal(Stop.code, DRIVER_CORRUPTED_EXPOOL);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Nowhere);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], 0);
    assert_int_not_equal(Stop.parameters[3], 0);
    assert_true(ntmm_catch(Allocate, NULL, &Stop));
    assert_int_equal(Stop.code, PAGE_FAULT_IN_NONPAGED_AREA);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Nowhere);
    InitializeSListHead(&List.L.ListHead);
    ExDeleteNPagedLookasideList(&List);
    ExFreePoolWithTag(Entry, 'tseT');
}

/* wdm.h's names for the routines. */
static void OwnListEntryGone_0x0A(void **State)
{
    ntmm_bugcheck Stop;
    PSLIST_ENTRY Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4 * PAGE_SIZE, 'tseT');
    UNREFERENCED_PARAMETER(State);
    InitializeSListHead(&Own);
    assert_null(InterlockedPushEntrySList(&Own, Entry));
    assert_int_equal(QueryDepthSList(&Own), 1);
    ExFreePoolWithTag(Entry, 'tseT');
    assert_true(ntmm_catch(PopRaised, NULL, &Stop));
    assert_true(Stop.code == IRQL_NOT_LESS_OR_EQUAL || Stop.code == DRIVER_IRQL_NOT_LESS_OR_EQUAL);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Entry);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], 0);
    assert_ptr_equal(InterlockedFlushSList(&Own), Entry);
}

/* A block that fills its class has no slack, but the class is a roomy one at times: the overrun is told then, when the block is freed. */
static ULONG Pairs;
static __attribute__((no_sanitize("address", "thread"))) void OverrunFull(void *Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    for (; Pairs < 4000000; Pairs++) {
        volatile UCHAR *Block = ExAllocatePoolWithTag(PagedPool, 512, 'tseT');
        UCHAR Was = Block[512];
        Block[512] = (UCHAR)~Was;
        ExFreePoolWithTag((PVOID)Block, 'tseT');
        Block[512] = Was; /* what lies there does not come to harm */
    }
}
static void FullBlock_OverrunIsSeenInTime_0x19(void **State)
{
    ULONG Samples = 0;
    ntmm_bugcheck Stop;
    UNREFERENCED_PARAMETER(State);
    for (;; Samples++) {
        assert_true(ntmm_catch(OverrunFull, NULL, &Stop));
        if (Stop.code != DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION)
            break; /* a sample of special pool, which is told at once */
    }
    assert_int_equal(Stop.code, BAD_POOL_HEADER);
    assert_int_equal(Stop.parameters[0], 0x21);
    assert_int_equal(Stop.parameters[2], 512);
    assert_true(Samples < 4000);
}

/* A freed block of several pages is unmapped at once. */
static int Start(void **State)
{
    ntmm_options Options;
    UNREFERENCED_PARAMETER(State);
    ntmm_default_options(&Options);
    Options.keep = false;
    return ntmm_start(&Options);
}
static int Stop(void **State)
{
    UNREFERENCED_PARAMETER(State);
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(LookasideEntryOverwritten_0xC5),
                                       cmocka_unit_test(OwnListEntryGone_0x0A),
                                       cmocka_unit_test(FullBlock_OverrunIsSeenInTime_0x19)};
    return cmocka_run_group_tests(Tests, Start, Stop);
}
