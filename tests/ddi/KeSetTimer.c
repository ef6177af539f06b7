/*
 * KeSetTimer.c - timers, DPCs and time (pages KeInitializeTimerEx, KeSetTimerEx, KeCancelTimer, KeInsertQueueDpc,
 * KeRemoveQueueDpc, KeFlushQueuedDpcs, KeSetTargetProcessorDpc, KeQueryTickCount). SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ke/ki.h"

static LARGE_INTEGER Zero;
static volatile LONG Ran;
static volatile KIRQL RanAt;
static volatile ULONG RanOn;
static PVOID Seen[3];
static KEVENT RanEvent;

static VOID CountDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc;
    __atomic_store_n(&Seen[0], Context, __ATOMIC_RELAXED);
    __atomic_store_n(&Seen[1], Argument1, __ATOMIC_RELAXED);
    __atomic_store_n(&Seen[2], Argument2, __ATOMIC_RELAXED);
    __atomic_store_n(&RanAt, KeGetCurrentIrql(), __ATOMIC_RELAXED);
    __atomic_store_n(&RanOn, KeGetCurrentProcessorNumber(), __ATOMIC_RELAXED);
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
    KeSetEvent(&RanEvent, IO_NO_INCREMENT, FALSE);
}

static void AwaitRan(void)
{
    LARGE_INTEGER Long = Relative(20000000);

    assert_int_equal(KeWaitForSingleObject(&RanEvent, Executive, KernelMode, FALSE, &Long), STATUS_SUCCESS);
}

static int Reset(void **State)
{
    (void)State;
    Ran = 0;
    KeInitializeEvent(&RanEvent, SynchronizationEvent, FALSE);
    return 0;
}

/* "queues the DPC"; its routine is called "at DISPATCH_LEVEL" with the context and both arguments. */
static void InsertQueueDpc_AtPassive_RunsAtDispatchWithItsArguments(void **State)
{
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, CountDpc, (PVOID)&Ran);
    assert_true(KeInsertQueueDpc(&Dpc, (PVOID)1, (PVOID)2));
    AwaitRan();
    assert_int_equal(RanAt, DISPATCH_LEVEL);
    assert_ptr_equal(Seen[0], (PVOID)&Ran);
    assert_ptr_equal(Seen[1], (PVOID)1);
    assert_ptr_equal(Seen[2], (PVOID)2);
    KeFlushQueuedDpcs();
}

/* "If the specified DPC object is already in a DPC queue, KeInsertQueueDpc does nothing except return FALSE." */
static void InsertQueueDpc_Queued_ReturnsFalseAndRunsOnce(void **State)
{
    KIRQL Old = KeRaiseIrqlToDpcLevel();
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    assert_true(KeInsertQueueDpc(&Dpc, NULL, NULL));
    assert_false(KeInsertQueueDpc(&Dpc, (PVOID)1, NULL));
    assert_null(KiValidateDpcs());
    assert_int_equal(Ran, 0); /* the processor is ours */
    KeLowerIrql(Old);
    assert_int_equal(Ran, 1); /* drained on the way down */
    assert_ptr_equal(Seen[1], NULL);
}

/* "KeRemoveQueueDpc returns TRUE if the DPC object is in the DPC queue." */
static void RemoveQueueDpc_Queued_DoesNotRun(void **State)
{
    KIRQL Old = KeRaiseIrqlToDpcLevel();
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    assert_false(KeRemoveQueueDpc(&Dpc));
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    assert_true(KeRemoveQueueDpc(&Dpc));
    assert_false(KeRemoveQueueDpc(&Dpc));
    KeLowerIrql(Old);
    KeFlushQueuedDpcs();
    assert_int_equal(Ran, 0);
}

static LONG Order[3], Next;

static VOID OrderDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Argument1, (void)Argument2;
    Order[Next++] = (LONG)(LONG_PTR)Context;
}

/* HighImportance: "the DPC is placed at the beginning of the queue". */
static void SetImportanceDpc_High_RunsFirst(void **State)
{
    KDPC Dpcs[3];
    KIRQL Old = KeRaiseIrqlToDpcLevel();

    (void)State;
    Next = 0;
    for (LONG_PTR Index = 0; Index < 3; Index++) {
        KeInitializeDpc(&Dpcs[Index], OrderDpc, (PVOID)Index);
    }
    KeSetImportanceDpc(&Dpcs[2], HighImportance);
    for (int Index = 0; Index < 3; Index++) {
        KeInsertQueueDpc(&Dpcs[Index], NULL, NULL);
    }
    KeLowerIrql(Old);
    assert_int_equal(Order[0], 2);
    assert_int_equal(Order[1], 0);
    assert_int_equal(Order[2], 1);
}

/* "specifies the processor that a DPC routine will run on." */
static void SetTargetProcessorDpc_EachProcessor_RunsThere(void **State)
{
    PROCESSOR_NUMBER None = {0, 9, 0};
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    for (ULONG Number = 0; Number < 2; Number++) {
        PROCESSOR_NUMBER Target = {0, (UCHAR)Number, 0};

        assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &Target), STATUS_SUCCESS);
        KeInsertQueueDpc(&Dpc, NULL, NULL);
        AwaitRan();
        KeFlushQueuedDpcs();
        assert_int_equal(RanOn, Number);
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)Number);
        KeInsertQueueDpc(&Dpc, NULL, NULL);
        AwaitRan();
        assert_int_equal(RanOn, Number);
    }
    assert_int_equal(KeSetTargetProcessorDpcEx(&Dpc, &None), STATUS_INVALID_PARAMETER);
    KeFlushQueuedDpcs();
}

/* "returns after all queued DPCs on all processors have executed." */
static void FlushQueuedDpcs_Many_AllHaveRun(void **State)
{
    static KDPC Dpcs[100];

    (void)State;
    for (int Index = 0; Index < 100; Index++) {
        KeInitializeDpc(&Dpcs[Index], CountDpc, NULL);
        KeSetTargetProcessorDpc(&Dpcs[Index], (CCHAR)(Index % 2));
        KeInsertQueueDpc(&Dpcs[Index], NULL, NULL);
    }
    KeFlushQueuedDpcs();
    assert_int_equal(Ran, 100);
}

/* "If DueTime is negative, the expiration time is relative"; a notification timer stays signalled. */
static void SetTimer_Relative_SignalsNotBeforeAndStays(void **State)
{
    ULONG64 Start = Now();
    KTIMER Timer;

    (void)State;
    KeInitializeTimer(&Timer);
    assert_false(KeReadStateTimer(&Timer));
    assert_false(KeSetTimer(&Timer, Relative(20000), NULL));
    assert_null(KiValidateTimers());
    assert_int_equal(KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, &Zero), STATUS_TIMEOUT);
    assert_int_equal(KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    assert_true(Now() - Start >= 200000);
    assert_true(KeReadStateTimer(&Timer));
    assert_int_equal(KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, &Zero), STATUS_SUCCESS);
    assert_false(KeCancelTimer(&Timer));
}

/* SynchronizationTimer: the state is reset when one wait is satisfied. */
static void SynchronizationTimer_Wait_ResetsIt(void **State)
{
    KTIMER Timer;

    (void)State;
    KeInitializeTimerEx(&Timer, SynchronizationTimer);
    KeSetTimer(&Timer, Relative(1000), NULL);
    assert_int_equal(KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    assert_false(KeReadStateTimer(&Timer));
}

/* "If the timer object was already in the timer queue ... returns TRUE"; "implicitly canceled before being set". */
static void SetTimer_Pending_ReturnsTrueAndOnlyTheNewTimeCounts(void **State)
{
    KTIMER Timer;
    KDPC Dpc;

    (void)State;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    assert_false(KeSetTimer(&Timer, Relative(60000000), &Dpc));
    assert_true(KeSetTimer(&Timer, Relative(1000), &Dpc));
    AwaitRan();
    KeFlushQueuedDpcs();
    assert_int_equal(Ran, 1);
    assert_false(KeSetTimer(&Timer, Relative(60000000), &Dpc));
    assert_ptr_equal(KiFindTimer(&Timer, sizeof Timer), &Timer);
    assert_true(KeCancelTimer(&Timer));
    assert_null(KiFindTimer(&Timer, sizeof Timer));
    assert_false(KeCancelTimer(&Timer));
}

/* "If DueTime ... has already passed, the timer expires immediately" (an absolute time in the past). */
static void SetTimer_AbsolutePast_ExpiresAtOnce(void **State)
{
    LARGE_INTEGER Past = {.QuadPart = 1};
    KTIMER Timer;
    KDPC Dpc;

    (void)State;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    KeSetTimer(&Timer, Past, &Dpc);
    assert_true(KeReadStateTimer(&Timer));
    AwaitRan();
    KeFlushQueuedDpcs();
}

/* Period: "the interval in milliseconds"; the DPC is queued each time until the timer is cancelled. */
static void SetTimerEx_Period_RunsAgainUntilCancelled(void **State)
{
    ULONG64 Start = Now();
    KTIMER Timer;
    KDPC Dpc;
    LONG Then;

    (void)State;
    KeInitializeTimerEx(&Timer, NotificationTimer);
    KeInitializeDpc(&Dpc, CountDpc, NULL);
    KeSetTimerEx(&Timer, Relative(2000), 3, &Dpc);
    AwaitRan();
    AwaitRan();
    AwaitRan();
    assert_true(Now() - Start >= 20000 + 2 * 30000 - 10000);
    assert_true(KeCancelTimer(&Timer));
    KeFlushQueuedDpcs();
    Then = Ran;
    Reset(NULL);
    Ran = Then;
    {
        LARGE_INTEGER Pause = Relative(10000);

        KeDelayExecutionThread(KernelMode, FALSE, &Pause);
    }
    assert_int_equal(Ran, Then);
}

/* KeInitializeTimerEx, KeSetTimer: the DPC is queued when the timer expires. A thread that waited for the timer goes on after it:
 * on Windows it runs on the processor where the timer expired before a thread does. */
static VOID SlowDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Argument1, (void)Argument2;
    KeStallExecutionProcessor(3000);
    *(LONG *)Context += 1;
}

static void SetTimer_WaitedFor_DpcGoesFirst(void **State)
{
    LONG Count = 0; /* without atomics: the wait orders them */
    KTIMER Timer, Other;
    PVOID Both[2] = {&Other, &Timer};
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, SlowDpc, &Count);
    KeInitializeTimerEx(&Timer, SynchronizationTimer);
    KeInitializeTimer(&Other);
    for (UCHAR Number = 0; Number < 2; Number++) {
        KeSetTargetProcessorDpc(&Dpc, (CCHAR)Number);
        KeSetTimer(&Timer, Relative(1000), &Dpc);
        KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL);
        assert_int_equal(Count, 1 + 3 * Number);
        KeSetTimer(&Timer, Relative(1000), &Dpc);
        KeWaitForMultipleObjects(2, Both, WaitAny, Executive, KernelMode, FALSE, NULL, NULL);
        assert_int_equal(Count, 2 + 3 * Number);
        KeSetTimer(&Timer, Relative(0), &Dpc); /* expired before the wait */
        KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, &Zero);
        assert_int_equal(Count, 3 + 3 * Number);
    }
}

/* Not documented: a pending timer that is initialised again stays pending: it expires, and its DPC runs. (A driver test that was written
 * against Windows waits for it.) */
static void InitializeTimer_Pending_StaysInTheQueue(void **State)
{
    static KTIMER Timers[100];
    LONG Count = 0;
    KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, SlowDpc, &Count);
    for (int Index = 0; Index < 100; Index++) {
        KeInitializeTimer(&Timers[Index]);
        KeSetTimer(&Timers[Index], Relative(600000000 + Index * 7919 % 100), NULL);
    }
    for (int Index = 0; Index < 100; Index += 3) {
        KeInitializeTimer(&Timers[Index]);
        assert_null(KiValidateTimers());
        assert_ptr_equal(KiFindTimer(&Timers[Index], sizeof(KTIMER)), &Timers[Index]);
    }
    for (int Index = 0; Index < 100; Index++) {
        assert_true(KeCancelTimer(&Timers[Index]));
    }
    KeSetTimer(&Timers[0], Relative(20000), &Dpc);
    KeInitializeTimerEx(&Timers[0], SynchronizationTimer);
    KeWaitForSingleObject(&Timers[0], Executive, KernelMode, FALSE, NULL);
    assert_int_equal(Count, 1);
    assert_false(KeReadStateTimer(&Timers[0]));
}

/* Many timers: they expire in the order of their due times. */
static LONGLONG LastDue;
static volatile LONG OutOfOrder;
static KTIMER Many[200];
static ULONG Expired;

static VOID OrderedDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PKTIMER Timer = (PKTIMER)Context;

    (void)Dpc, (void)Argument1, (void)Argument2;
    if ((LONGLONG)Timer->DueTime.QuadPart < LastDue) {
        OutOfOrder++;
    }
    LastDue = (LONGLONG)Timer->DueTime.QuadPart;
    if (++Expired == 150) {
        KeSetEvent(&RanEvent, 0, FALSE);
    }
}

static void SetTimer_Many_ExpireInOrderAndCancelledOnesNever(void **State)
{
    static KDPC Dpcs[200];

    (void)State;
    LastDue = 0;
    Expired = 0;
    for (int Index = 0; Index < 200; Index++) {
        KeInitializeTimer(&Many[Index]);
        KeInitializeDpc(&Dpcs[Index], OrderedDpc, &Many[Index]);
        KeSetTargetProcessorDpc(&Dpcs[Index], 0);
        KeSetTimer(&Many[Index], Relative(20000 + (Index * 7919) % 20000), &Dpcs[Index]);
    }
    assert_null(KiValidateTimers());
    for (int Index = 0; Index < 200; Index += 4) {
        assert_true(KeCancelTimer(&Many[Index]));
    }
    assert_null(KiValidateTimers());
    AwaitRan();
    KeFlushQueuedDpcs();
    assert_int_equal(Expired, 150);
    assert_int_equal(OutOfOrder, 0);
}

/* Time: the counts advance and agree. */
static void Time_Queries_AdvanceAndAgree(void **State)
{
    LARGE_INTEGER System1, System2, Ticks, Frequency, Counter;
    ULONG64 Qpc, Interrupt = KeQueryInterruptTime();

    (void)State;
    KeQuerySystemTime(&System1);
    KeStallExecutionProcessor(2000);
    KeQuerySystemTimePrecise(&System2);
    assert_true(System2.QuadPart - System1.QuadPart >= 19000);
    assert_true(KeQueryInterruptTimePrecise(&Qpc) >= Interrupt + 20000);
    Counter = KeQueryPerformanceCounter(&Frequency);
    assert_true(Frequency.QuadPart > 0 && Counter.QuadPart > 0);
    KeQueryTickCount(&Ticks);
    assert_true((ULONG64)Ticks.QuadPart <= KeQueryInterruptTime() / KeQueryTimeIncrement());
    assert_true(System1.QuadPart > 132000000000000000ll); /* after 2019 */
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup(InsertQueueDpc_AtPassive_RunsAtDispatchWithItsArguments, Reset),
        cmocka_unit_test_setup(InsertQueueDpc_Queued_ReturnsFalseAndRunsOnce, Reset),
        cmocka_unit_test_setup(RemoveQueueDpc_Queued_DoesNotRun, Reset),
        cmocka_unit_test_setup(SetImportanceDpc_High_RunsFirst, Reset),
        cmocka_unit_test_setup(SetTargetProcessorDpc_EachProcessor_RunsThere, Reset),
        cmocka_unit_test_setup(FlushQueuedDpcs_Many_AllHaveRun, Reset),
        cmocka_unit_test_setup(SetTimer_Relative_SignalsNotBeforeAndStays, Reset),
        cmocka_unit_test_setup(SynchronizationTimer_Wait_ResetsIt, Reset),
        cmocka_unit_test_setup(SetTimer_Pending_ReturnsTrueAndOnlyTheNewTimeCounts, Reset),
        cmocka_unit_test_setup(SetTimer_AbsolutePast_ExpiresAtOnce, Reset),
        cmocka_unit_test_setup(SetTimerEx_Period_RunsAgainUntilCancelled, Reset),
        cmocka_unit_test_setup(SetTimer_WaitedFor_DpcGoesFirst, Reset),
        cmocka_unit_test_setup(InitializeTimer_Pending_StaysInTheQueue, Reset),
        cmocka_unit_test_setup(SetTimer_Many_ExpireInOrderAndCancelledOnesNever, Reset),
        cmocka_unit_test_setup(Time_Queries_AdvanceAndAgree, Reset),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
