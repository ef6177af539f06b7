/*
 * memory_events.c - the standard events that tell of memory, sentence by sentence of "Standard Event Objects", and the limit of
 * commitment. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <ntifs.h>

#define RAM_PAGES ((64u << 20) / PAGE_SIZE)

static const WCHAR *const Names[MmConditions] = {
    L"\\KernelObjects\\LowMemoryCondition",       L"\\KernelObjects\\HighMemoryCondition",
    L"\\KernelObjects\\LowPagedPoolCondition",    L"\\KernelObjects\\HighPagedPoolCondition",
    L"\\KernelObjects\\LowNonPagedPoolCondition", L"\\KernelObjects\\HighNonPagedPoolCondition",
    L"\\KernelObjects\\LowCommitCondition",       L"\\KernelObjects\\HighCommitCondition",
    L"\\KernelObjects\\MaximumCommitCondition"};
static HANDLE Handles[MmConditions];
static PKEVENT Events[MmConditions];

static int Open(void **State)
{
    if (KitStart(State) != 0) {
        return -1;
    }
    for (ULONG Index = 0; Index < MmConditions; Index++) {
        UNICODE_STRING Name;
        RtlInitUnicodeString(&Name, Names[Index]);
        Events[Index] = IoCreateNotificationEvent(&Name, &Handles[Index]);
        if (Events[Index] == NULL) {
            return -1;
        }
    }
    return 0;
}

static int Close(void **State)
{
    for (ULONG Index = 0; Index < MmConditions; Index++) {
        ZwClose(Handles[Index]);
    }
    return KitStop(State);
}

static int IsSet(MM_CONDITION Which)
{
    assert_int_equal(KeReadStateEvent(Events[Which]) != 0, (MmQueryConditions() >> Which) & 1);
    return KeReadStateEvent(Events[Which]) != 0;
}

/* Resident memory until at most Leave frames are free. */
static PUCHAR Blocks[RAM_PAGES];
static ULONG BlockCount;
static void Fill(ULONG64 Leave, ULONG Pages)
{
    while (MiMeasure(MiAvailablePages) > Leave + Pages) {
        PUCHAR Block = MmAllocatePages(MmRegionNonPagedPool, Pages, 0, HighPoolPriority);
        assert_non_null(Block);
        Blocks[BlockCount++] = Block;
    }
}
static void Drain(ULONG Pages)
{
    while (BlockCount) {
        MmFreePages(Blocks[--BlockCount], Pages);
    }
}

/* "To open a handle to any of these events, use the IoCreateNotificationEvent routine." - and the names are objects as any. */
static void Events_OpenByEveryDocumentedWay(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < MmConditions; Index++) {
        UNICODE_STRING Name;
        OBJECT_ATTRIBUTES Attributes;
        HANDLE Handle;
        PVOID Object;
        RtlInitUnicodeString(&Name, Names[Index]);
        InitializeObjectAttributes(&Attributes, &Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
        assert_int_equal(ZwOpenEvent(&Handle, SYNCHRONIZE, &Attributes), STATUS_SUCCESS);
        assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *ExEventObjectType, KernelMode, &Object, NULL),
                         STATUS_SUCCESS);
        assert_ptr_equal(Object, Events[Index]);
        ObDereferenceObject(Object);
        ZwClose(Handle);
        /* "Each of these events is a notification event." */
        assert_int_equal(Events[Index]->Header.Type, NotificationEvent);
    }
}

static void Idle_HighMemoryAndLowCommitAreSet(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < MmConditions; Index++) {
        assert_int_equal(IsSet((MM_CONDITION)Index), Index == MmHighMemory || Index == MmHighPagedPool ||
                                                         Index == MmHighNonPagedPool || Index == MmLowCommit);
    }
}

/* "This event is set whenever the amount of free physical memory falls below a system-defined amount": 1/128 of RAM here. "They
 * remain set as long as the triggering condition is true." */
static void LowMemory_SetBelowTheAmountAndClearedAbove(void **State)
{
    const ULONG64 Amount = RAM_PAGES / 128;
    (void)State;
    Fill(3 * Amount + 8, 1);
    assert_true(IsSet(MmHighMemory));
    Fill(3 * Amount - Amount / 8 - 8, 1);
    assert_false(IsSet(MmHighMemory));
    assert_false(IsSet(MmLowMemory));
    Fill(Amount, 1);
    assert_false(IsSet(MmLowMemory));
    Fill(Amount - 2, 1);
    assert_true(IsSet(MmLowMemory));
    LARGE_INTEGER Zero = {.QuadPart = 0};
    assert_int_equal(KeWaitForSingleObject(Events[MmLowMemory], Executive, KernelMode, FALSE, &Zero), STATUS_SUCCESS);
    assert_true(IsSet(MmLowMemory)); /* a wait takes nothing from a notification event */
    /* one page more or less around the amount changes nothing */
    for (ULONG Step = 0; Step < 8; Step++) {
        MmFreePages(Blocks[--BlockCount], 1);
        assert_true(IsSet(MmLowMemory));
    }
    while (MiMeasure(MiAvailablePages) <= Amount + Amount / 8 + 2) {
        MmFreePages(Blocks[--BlockCount], 1);
    }
    assert_false(IsSet(MmLowMemory));
    assert_false(IsSet(MmHighMemory));
    KitAssertValid();
    Drain(1);
    assert_true(IsSet(MmHighMemory));
    KitAssertValid();
}

static void NonPagedPool_LowWhenItsRegionIs(void **State)
{
    MM_REGION_INFO Info;
    (void)State;
    MmQueryRegion(MmRegionNonPagedPool, &Info);
    assert_true(IsSet(MmHighNonPagedPool));
    assert_false(IsSet(MmLowNonPagedPool));
    while (!IsSet(MmLowNonPagedPool)) {
        PUCHAR Block = MmAllocatePages(MmRegionNonPagedPool, 16, 0, HighPoolPriority);
        assert_non_null(Block);
        Blocks[BlockCount++] = Block;
    }
    assert_false(IsSet(MmHighNonPagedPool));
    Drain(16);
    assert_true(IsSet(MmHighNonPagedPool));
    assert_false(IsSet(MmLowNonPagedPool));
}

/* "set when the operating system's commit charge is low/high, relative to the current commit limit"; "near the maximum commit
 * limit". Paged memory that nobody touches costs commitment only. */
static void Commit_LowHighMaximum(void **State)
{
    (void)State;
    ULONG64 Limit = MiState->CommitLimit;
    ULONG64 Available = MiMeasure(MiAvailablePages);
    assert_true(IsSet(MmLowCommit));
    PUCHAR A = MmAllocatePages(MmRegionPagedPool, Limit * 80 / 100 - MiState->Committed, 0, HighPoolPriority);
    assert_non_null(A);
    assert_false(IsSet(MmLowCommit));
    assert_false(IsSet(MmHighCommit));
    PUCHAR B = MmAllocatePages(MmRegionPagedPool, Limit * 92 / 100 - MiState->Committed, 0, HighPoolPriority);
    assert_non_null(B);
    assert_true(IsSet(MmHighCommit));
    assert_false(IsSet(MmMaximumCommit));
    PUCHAR C = MmAllocatePages(MmRegionPagedPool, Limit * 97 / 100 - MiState->Committed, 0, HighPoolPriority);
    assert_non_null(C);
    assert_true(IsSet(MmMaximumCommit));
    assert_true(IsSet(MmHighCommit));
    assert_true(IsSet(MmLowPagedPool));
    assert_true((LONG64)(Available - MiMeasure(MiAvailablePages)) < 64); /* tables only; the pools may have given pages back */
    assert_true(IsSet(MmHighMemory));
    /* "an allocation that cannot be backed fails when it is made" */
    ULONG64 Failures = MiState->CommitFailures;
    assert_null(MmAllocatePages(MmRegionPagedPool, Limit - MiState->Committed + 1, 0, HighPoolPriority));
    assert_null(ExAllocatePoolWithTag(PagedPool, (Limit - MiState->Committed + 1) << PAGE_SHIFT, 'tseT'));
    assert_true(MiState->CommitFailures > Failures);
    /* a page file that comes raises the limit: what was high is not any longer, and what did not fit does */
    assert_true(MiChangeCommitLimit((LONG64)Limit, (LONG64)(2 * Limit)));
    assert_false(IsSet(MmHighCommit));
    assert_false(IsSet(MmMaximumCommit));
    assert_true(IsSet(MmLowCommit));
    PUCHAR D = MmAllocatePages(MmRegionPagedPool, Limit / 2, 0, HighPoolPriority);
    assert_non_null(D);
    KitAssertValid();
    /* and it cannot go while promises rest on it */
    assert_false(MiChangeCommitLimit(-(LONG64)Limit, -(LONG64)(2 * Limit)));
    assert_int_equal(MiState->CommitLimit, 2 * Limit);
    MmFreePages(D, Limit / 2);
    assert_true(MiChangeCommitLimit(-(LONG64)Limit, -(LONG64)(2 * Limit)));
    assert_true(IsSet(MmHighCommit));
    SIZE_T Pages;
    MI_REGION *Region = MiRegionOfVa((ULONG_PTR)A);
    (void)MiCheckVa(Region, (ULONG_PTR)C, 1, &Pages);
    MmFreePages(C, Pages);
    assert_false(IsSet(MmMaximumCommit));
    (void)MiCheckVa(Region, (ULONG_PTR)B, 1, &Pages);
    MmFreePages(B, Pages);
    assert_false(IsSet(MmHighCommit));
    (void)MiCheckVa(Region, (ULONG_PTR)A, 1, &Pages);
    MmFreePages(A, Pages);
    assert_true(IsSet(MmLowCommit));
    assert_true(MiState->PeakCommit >= Limit + Limit / 4);
    KitAssertValid();
}

/* "A driver that waits for any of these events should create a dedicated thread to do the waiting." */
static VOID NTAPI Waiter(PVOID Context)
{
    *(volatile LONG *)Context =
        KeWaitForSingleObject(Events[MmLowMemory], Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS;
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static void LowMemory_WakesWhoWaits(void **State)
{
    HANDLE Handle;
    PVOID Thread;
    volatile LONG Answer = 0;
    (void)State;
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Waiter, (PVOID)&Answer),
                     STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, NULL, KernelMode, &Thread, NULL), STATUS_SUCCESS);
    assert_false(IsSet(MmLowMemory));
    Fill(RAM_PAGES / 128 - 32, 16); /* below, not at it */
    assert_int_equal(KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    assert_int_equal(Answer, 1);
    Drain(16);
    ObDereferenceObject(Thread);
    ZwClose(Handle);
}

/* Frames taken at DISPATCH_LEVEL tell at once too. */
static void LowMemory_SetAtDispatchLevel(void **State)
{
    KIRQL Old;
    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Fill(RAM_PAGES / 128 - 32, 16); /* below, not at it */
    assert_true(IsSet(MmLowMemory));
    Drain(16);
    assert_false(IsSet(MmLowMemory));
    KeLowerIrql(Old);
}

#define TEST(Name) cmocka_unit_test(Name)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Events_OpenByEveryDocumentedWay),
        TEST(Idle_HighMemoryAndLowCommitAreSet),
        TEST(LowMemory_SetBelowTheAmountAndClearedAbove),
        TEST(NonPagedPool_LowWhenItsRegionIs),
        TEST(Commit_LowHighMaximum),
        TEST(LowMemory_WakesWhoWaits),
        TEST(LowMemory_SetAtDispatchLevel),
    };
    return cmocka_run_group_tests(Tests, Open, Close);
}
