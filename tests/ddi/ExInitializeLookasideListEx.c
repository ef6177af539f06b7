/*
 * ExInitializeLookasideListEx.c - what the pages of the lookaside lists say, all three kinds, a test a
 * sentence; LookasideListAllocateEx and LookasideListFreeEx are the routines a list is given. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/ex.h"
#include "tag_kit.h"

#define TAG 'kooL'

static unsigned Allocates, Frees;
static POOL_TYPE LastType;
static SIZE_T LastSize;
static ULONG LastTag;
static PLOOKASIDE_LIST_EX LastList;
static BOOLEAN Fail;

static PVOID Allocate(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
    Allocates++;
    LastType = PoolType;
    LastSize = NumberOfBytes;
    LastTag = Tag;
    return Fail ? NULL : ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag);
}

static VOID Free(PVOID Buffer)
{
    Frees++;
    ExFreePool(Buffer);
}

static PVOID AllocateEx(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    LastList = Lookaside;
    LastType = PoolType;
    Allocates++;
    return Fail ? NULL : ExAllocatePoolWithTag((POOL_TYPE)(PoolType & ~POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), NumberOfBytes, Tag);
}

static VOID FreeEx(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside)
{
    LastList = Lookaside;
    Frees++;
    ExFreePool(Buffer);
}

/* "ExInitializeNPagedLookasideList ... does not allocate any entries": and the structure is what older
 * headers expect. */
static void NPaged_Initialize_NothingAllocatedFieldsSet(void **state)
{
    NPAGED_LOOKASIDE_LIST List;
    (void)state;
    ExInitializeNPagedLookasideList(&List, NULL, NULL, POOL_NX_ALLOCATION, 100, TAG, 0);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
    assert_int_equal(List.L.Type, NonPagedPoolNx);
    assert_int_equal(List.L.Tag, TAG);
    assert_int_equal(List.L.Size, 100);
    assert_ptr_equal(List.L.Allocate, ExAllocatePoolWithTag);
    assert_ptr_equal(List.L.Free, (ExFreePool));
    assert_true(List.L.Depth > 0);
    assert_int_equal(List.L.TotalAllocates | List.L.AllocateMisses | List.L.TotalFrees | List.L.FreeMisses, 0);
    ExDeleteNPagedLookasideList(&List);
}

/* "The list is last in, first out"; "entries ... are not zeroed": what comes out is what went in. */
static void NPaged_FreeThenAllocate_SameEntryUntouched(void **state)
{
    NPAGED_LOOKASIDE_LIST List;
    PUCHAR First, Second;
    (void)state;
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 100, TAG, 0);
    First = ExAllocateFromNPagedLookasideList(&List);
    Second = ExAllocateFromNPagedLookasideList(&List);
    assert_int_equal(KitTagUse(TAG).Blocks, 2);
    assert_int_equal(List.L.AllocateMisses, 2);
    First[60] = 0x77;
    ExFreeToNPagedLookasideList(&List, Second);
    ExFreeToNPagedLookasideList(&List, First);
    assert_int_equal(KitTagUse(TAG).Blocks, 2);
    assert_ptr_equal(ExAllocateFromNPagedLookasideList(&List), First);
    assert_int_equal(First[60], 0x77);
    assert_ptr_equal(ExAllocateFromNPagedLookasideList(&List), Second);
    assert_int_equal(List.L.TotalAllocates, 4);
    assert_int_equal(List.L.AllocateMisses, 2);
    ExFreeToNPagedLookasideList(&List, First);
    ExFreeToNPagedLookasideList(&List, Second);
    ExDeleteNPagedLookasideList(&List);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

/* Allocate "is called when the list is empty", Free "when the list is full". */
static void NPaged_OwnRoutines_CalledOnEmptyAndFull(void **state)
{
    NPAGED_LOOKASIDE_LIST List;
    PVOID Entries[300];
    unsigned Index, Kept;
    (void)state;
    Allocates = Frees = 0;
    ExInitializeNPagedLookasideList(&List, Allocate, Free, 0, 48, TAG, 0);
    for (Index = 0; Index < 300; Index++)
        Entries[Index] = ExAllocateFromNPagedLookasideList(&List);
    assert_int_equal(Allocates, 300);
    assert_int_equal(LastSize, 48);
    assert_int_equal(LastTag, TAG);
    for (Index = 0; Index < 300; Index++)
        ExFreeToNPagedLookasideList(&List, Entries[Index]);
    Kept = ExQueryDepthSList(&List.L.ListHead);
    assert_int_equal(Kept, List.L.Depth);
    assert_int_equal(Frees, 300 - Kept);
    assert_int_equal(List.L.FreeMisses, 300 - Kept);
    ExDeleteNPagedLookasideList(&List);
    assert_int_equal(Frees, 300);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

static void Use(PNPAGED_LOOKASIDE_LIST List, unsigned Count, unsigned Rounds)
{
    PVOID Entries[500];
    unsigned Round, Index;
    for (Round = 0; Round < Rounds; Round++) {
        for (Index = 0; Index < Count; Index++)
            Entries[Index] = ExAllocateFromNPagedLookasideList(List);
        for (Index = 0; Index < Count; Index++)
            ExFreeToNPagedLookasideList(List, Entries[Index]);
    }
}

/* "The system ... adjusts the maximum number of entries" by demand: misses raise it, up to MaximumDepth; a list that serves its
 * users keeps what it has, but for one a scan; idleness takes it back. Nothing changes between two scans. */
static void Depth_Use_Adjusted(void **state)
{
    NPAGED_LOOKASIDE_LIST List;
    unsigned Index;
    USHORT Start, Busy;
    (void)state;
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 48, TAG, 0);
    Start = List.L.Depth;
    Use(&List, 500, 3);
    assert_int_equal(List.L.Depth, Start);
    for (Index = 0; Index < 30; Index++) {
        Use(&List, 500, 1);
        ExAdjustLookasideDepth();
        assert_true(List.L.Depth <= List.L.MaximumDepth);
    }
    Busy = List.L.Depth;
    assert_int_equal(Busy, EX_MAXIMUM_LOOKASIDE_DEPTH_BASE); /* 500 never fit */
    Use(&List, 100, 10);
    ExAdjustLookasideDepth();
    assert_int_equal(List.L.Depth, Busy - 1);
    assert_true(ExQueryDepthSList(&List.L.ListHead) > Start);
    for (Index = 0; Index < 10; Index++)
        ExAdjustLookasideDepth();
    assert_int_equal(List.L.Depth, Start);
    ExDeleteNPagedLookasideList(&List);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

static USHORT DepthNow(const NPAGED_LOOKASIDE_LIST *List)
{
    return __atomic_load_n(&List->L.Depth, __ATOMIC_RELAXED); /* the timer writes it meanwhile */
}

/* The same by the system itself, on a timer. */
static void Depth_Timer_Adjusted(void **state)
{
    NPAGED_LOOKASIDE_LIST List, Next;
    LARGE_INTEGER Wait = {.QuadPart = -10000};
    unsigned Round;
    (void)state;
    assert_int_equal(ntmm_stop(), 0); /* with a timer of its own */
    ExpLookasidePeriod = 2;
    assert_int_equal(ntmm_start(NULL), 0);
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 48, TAG, 0);
    ExInitializeNPagedLookasideList(&Next, NULL, NULL, 0, 48, TAG, 0);
    for (Round = 0; Round < 20000 && (DepthNow(&List) < 100 || DepthNow(&Next) < 100); Round++) {
        Use(&List, 300, 1);
        Use(&Next, 300, 1);
        KeDelayExecutionThread(KernelMode, FALSE, &Wait);
    }
    assert_true(DepthNow(&List) >= 100 && DepthNow(&Next) >= 100);
    ExDeleteNPagedLookasideList(&List);
    ExDeleteNPagedLookasideList(&Next);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

/* A list that was forgotten and whose memory became something else is not written to. */
static void Depth_ForgottenList_LeftAlone(void **state)
{
    PNPAGED_LOOKASIDE_LIST List = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *List, TAG);
    NPAGED_LOOKASIDE_LIST Copy;
    (void)state;
    ExInitializeNPagedLookasideList(List, NULL, NULL, 0, 48, TAG, 0);
    assert_ptr_equal(ExpFindLookaside(List, sizeof *List), List);
    assert_null(ExpFindLookaside(List + 1, sizeof *List));
    memset(List, 0x33, sizeof *List);
    Copy = *List;
    ExAdjustLookasideDepth();
    assert_memory_equal(List, &Copy, sizeof Copy);
    assert_null(ExpFindLookaside(List, sizeof *List));
    ExFreePool(List);
}

/* ExAllocateFromPagedLookasideList: "returns NULL if the list is empty and Allocate cannot". */
static void Paged_AllocateFails_Null(void **state)
{
    PAGED_LOOKASIDE_LIST List;
    PVOID Entry;
    (void)state;
    ExInitializePagedLookasideList(&List, Allocate, Free, 0, 200, TAG, 0);
    Fail = TRUE;
    assert_null(ExAllocateFromPagedLookasideList(&List));
    Fail = FALSE;
    Entry = ExAllocateFromPagedLookasideList(&List);
    assert_int_equal(LastType, PagedPool);
    ExFreeToPagedLookasideList(&List, Entry);
    ExDeletePagedLookasideList(&List);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

/* POOL_RAISE_IF_ALLOCATION_FAILURE and POOL_NX_ALLOCATION reach Allocate in the type; for paged lists the latter "has no
 * effect", as paged pool does not execute anyway. */
static void Paged_Flags_InType(void **state)
{
    PAGED_LOOKASIDE_LIST List;
    (void)state;
    ExInitializePagedLookasideList(&List, NULL, NULL, POOL_RAISE_IF_ALLOCATION_FAILURE | POOL_NX_ALLOCATION, 64, TAG, 0);
    assert_int_equal(List.L.Type, PagedPool | POOL_RAISE_IF_ALLOCATION_FAILURE | POOL_NX_ALLOCATION);
    ExDeletePagedLookasideList(&List);
}

/* "Size: Specifies the size, in bytes, of each entry", a SIZE_T: one that no memory can meet gives no entry, not a small one. */
static void NPaged_SizeBeyond32Bits_Null(void **state)
{
    static NPAGED_LOOKASIDE_LIST Huge;
    static LOOKASIDE_LIST_EX HugeEx;
    (void)state;
    ExInitializeNPagedLookasideList(&Huge, NULL, NULL, POOL_NX_ALLOCATION, ((SIZE_T)1 << 32) + 16, TAG, 0);
    assert_null(ExAllocateFromNPagedLookasideList(&Huge));
    ExDeleteNPagedLookasideList(&Huge);
    assert_int_equal(ExInitializeLookasideListEx(&HugeEx, NULL, NULL, PagedPool, 0, MAXULONG_PTR, TAG, 0), STATUS_SUCCESS);
    assert_null(ExAllocateFromLookasideListEx(&HugeEx));
    ExDeleteLookasideListEx(&HugeEx);
}

/* ExInitializeLookasideListEx: the status values. */
static void Ex_BadArguments_Status(void **state)
{
    LOOKASIDE_LIST_EX List;
    (void)state;
    assert_int_equal(ExInitializeLookasideListEx(&List, NULL, NULL, NonPagedPoolMustSucceed, 0, 64, TAG, 0),
                     STATUS_INVALID_PARAMETER_4);
    assert_int_equal(ExInitializeLookasideListEx(&List, NULL, NULL, (POOL_TYPE)0x4000, 0, 64, TAG, 0),
                     STATUS_INVALID_PARAMETER_4);
    assert_int_equal(ExInitializeLookasideListEx(&List, NULL, NULL, PagedPool, 3, 64, TAG, 0), STATUS_INVALID_PARAMETER_5);
    assert_int_equal(ExInitializeLookasideListEx(&List, NULL, NULL, PagedPool, 8, 64, TAG, 0), STATUS_INVALID_PARAMETER_5);
    assert_int_equal(
        ExInitializeLookasideListEx(&List, NULL, NULL, PagedPool, EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE, 64, TAG, 0),
        STATUS_INVALID_PARAMETER_5);
}

/* The Ex routines "receive the list as a parameter". */
static void Ex_OwnRoutines_ToldTheList(void **state)
{
    LOOKASIDE_LIST_EX List;
    PVOID Entry;
    (void)state;
    Allocates = Frees = 0;
    assert_int_equal(ExInitializeLookasideListEx(&List, AllocateEx, FreeEx, NonPagedPoolNx,
                                                 EX_LOOKASIDE_LIST_EX_FLAGS_FAIL_NO_RAISE, 64, TAG, 0),
                     STATUS_SUCCESS);
    Entry = ExAllocateFromLookasideListEx(&List);
    assert_ptr_equal(LastList, &List);
    assert_int_equal(LastType, NonPagedPoolNx | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE);
    ExFreeToLookasideListEx(&List, Entry);
    assert_ptr_equal(ExAllocateFromLookasideListEx(&List), Entry);
    assert_int_equal(Allocates, 1);
    ExFreeToLookasideListEx(&List, Entry);
    LastList = NULL;
    ExFlushLookasideListEx(&List);
    assert_ptr_equal(LastList, &List);
    assert_int_equal(Frees, 1);
    assert_int_equal(ExQueryDepthSList(&List.L.ListHead), 0);
    Entry = ExAllocateFromLookasideListEx(&List); /* still in use */
    assert_int_equal(Allocates, 2);
    ExFreeToLookasideListEx(&List, Entry);
    ExDeleteLookasideListEx(&List);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

/* "EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL: ... raises an exception if the allocation fails"; without, NULL.
 */
static void Ex_RaiseOnFail_Raises(void **state)
{
    LOOKASIDE_LIST_EX List;
    volatile NTSTATUS Status = 0;
    (void)state;
    assert_int_equal(
        ExInitializeLookasideListEx(&List, NULL, NULL, PagedPool, EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL, 0xF0000000, TAG, 0),
        STATUS_SUCCESS);
    __try {
        ExAllocateFromLookasideListEx(&List);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_INSUFFICIENT_RESOURCES);
    ExDeleteLookasideListEx(&List);
    assert_int_equal(ExInitializeLookasideListEx(&List, NULL, NULL, PagedPool, 0, 0xF0000000, TAG, 0), STATUS_SUCCESS);
    assert_null(ExAllocateFromLookasideListEx(&List));
    ExDeleteLookasideListEx(&List);
}

/* What an older header inlines into a driver, over the same list. */
static void Inlined_OldHeader_SameList(void **state)
{
    NPAGED_LOOKASIDE_LIST List;
    PVOID Entry;
    (void)state;
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 80, TAG, 0);
    List.L.TotalAllocates++;
    Entry = ExInterlockedPopEntrySList(&List.L.ListHead, NULL);
    assert_null(Entry);
    List.L.AllocateMisses++;
    Entry = List.L.Allocate(List.L.Type, List.L.Size, List.L.Tag);
    assert_non_null(Entry);
    List.L.TotalFrees++;
    assert_true(ExQueryDepthSList(&List.L.ListHead) < List.L.Depth);
    ExInterlockedPushEntrySList(&List.L.ListHead, (PSLIST_ENTRY)Entry, NULL);
    assert_ptr_equal(ExAllocateFromNPagedLookasideList(&List), Entry);
    List.L.Free(Entry);
    ExDeleteNPagedLookasideList(&List);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
}

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 32 << 20;
    ExpLookasidePeriod = 1000000; /* nothing comes in between */
    return ntmm_start(&Options);
}

static int End(void **state)
{
    (void)state;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(NPaged_Initialize_NothingAllocatedFieldsSet),
        cmocka_unit_test(NPaged_FreeThenAllocate_SameEntryUntouched),
        cmocka_unit_test(NPaged_OwnRoutines_CalledOnEmptyAndFull),
        cmocka_unit_test(Depth_Use_Adjusted),
        cmocka_unit_test(Depth_ForgottenList_LeftAlone),
        cmocka_unit_test(Depth_Timer_Adjusted),
        cmocka_unit_test(Paged_AllocateFails_Null),
        cmocka_unit_test(Paged_Flags_InType),
        cmocka_unit_test(NPaged_SizeBeyond32Bits_Null),
        cmocka_unit_test(Ex_BadArguments_Status),
        cmocka_unit_test(Ex_OwnRoutines_ToldTheList),
        cmocka_unit_test(Ex_RaiseOnFail_Raises),
        cmocka_unit_test(Inlined_OldHeader_SameList),
    };
    return cmocka_run_group_tests(tests, Start, End);
}
