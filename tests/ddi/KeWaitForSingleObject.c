/*
 * KeWaitForSingleObject.c - waits, and the objects waited for: events, semaphores, mutexes, threads. SPDX-License-Identifier: MIT
 *
 * Each test cites the documented sentence it checks (pages KeWaitForSingleObject, KeWaitForMultipleObjects, KeSetEvent,
 * KePulseEvent, KeReleaseSemaphore, KeReleaseMutex, KeInitializeMutex, KeDelayExecutionThread).
 */
#include "ke_kit.h"
#include "ke/ki.h"

static LARGE_INTEGER Zero;
static KEVENT Event;
static KSEMAPHORE Semaphore;
static KMUTEX Mutex;
static volatile LONG Done;

static NTSTATUS Look(PVOID Object)
{
    return KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &Zero);
}

static void *WaitAndCount(void *Object)
{
    if (KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS) {
        __atomic_add_fetch(&Done, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Until Count threads wait for the object. */
static void AwaitWaiters(DISPATCHER_HEADER *Header, ULONG Count)
{
    while (KiCountWaiters(Header) != Count) {
        assert_null(KiValidateWaits());
        HalYield();
    }
}

static void AwaitDone(LONG Count)
{
    while (__atomic_load_n(&Done, __ATOMIC_SEQ_CST) != Count) {
        HalYield();
    }
}

/* "If *Timeout = 0, the routine returns without waiting." */
static void ZeroTimeout_NotSignalled_ReturnsTimeout(void **State)
{
    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    assert_int_equal(Look(&Event), STATUS_TIMEOUT);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    assert_int_equal(Look(&Event), STATUS_SUCCESS);
}

/* "Callers ... must be running at IRQL <= DISPATCH_LEVEL ... if Timeout != NULL and *Timeout = 0." */
static void ZeroTimeout_AtDispatchLevel_Allowed(void **State)
{
    KIRQL Old = KeRaiseIrqlToDpcLevel();

    (void)State;
    KeInitializeEvent(&Event, SynchronizationEvent, TRUE);
    assert_int_equal(Look(&Event), STATUS_SUCCESS);
    assert_int_equal(Look(&Event), STATUS_TIMEOUT);
    KeLowerIrql(Old);
}

/* "A negative value specifies an interval relative to the current time", in 100-nanosecond units. */
static void RelativeTimeout_Passes_NotBefore(void **State)
{
    LARGE_INTEGER Timeout = Relative(20000);
    ULONG64 Start = Now();

    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    assert_int_equal(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Timeout), STATUS_TIMEOUT);
    assert_true(Now() - Start >= 200000);
    assert_null(KiValidateWaits());
    assert_ptr_equal(Event.Header.WaitListHead.Flink, &Event.Header.WaitListHead);
}

/* "A positive value specifies an absolute time". */
static void AbsoluteTimeout_InThePast_ReturnsAtOnceAndInTheFutureLater(void **State)
{
    LARGE_INTEGER Timeout;
    ULONG64 Start = Now();

    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Timeout.QuadPart = 1;
    assert_int_equal(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Timeout), STATUS_TIMEOUT);
    KeQuerySystemTime(&Timeout);
    Timeout.QuadPart += 200000;
    assert_int_equal(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Timeout), STATUS_TIMEOUT);
    assert_true(Now() - Start >= 150000);
}

/* "notification event ... remains in the signaled state": every waiter goes on. */
static void NotificationEvent_Set_ReleasesAllAndStaysSet(void **State)
{
    pthread_t Threads[3];

    (void)State;
    Done = 0;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    for (int Index = 0; Index < 3; Index++) {
        Threads[Index] = Spawn(WaitAndCount, &Event);
    }
    AwaitWaiters(&Event.Header, 3);
    /* "returns the previous state of the event object. Nonzero: signaled." */
    assert_int_equal(KeSetEvent(&Event, IO_NO_INCREMENT, FALSE), 0);
    for (int Index = 0; Index < 3; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Done, 3);
    assert_int_equal(KeReadStateEvent(&Event), 1);
    assert_int_equal(KeSetEvent(&Event, IO_NO_INCREMENT, FALSE), 1);
    assert_int_equal(KeResetEvent(&Event), 1);
    assert_int_equal(KeReadStateEvent(&Event), 0);
    assert_int_equal(KeResetEvent(&Event), 0);
}

/* "synchronization event ... is automatically reset ... when a single waiting thread is released." */
static void SynchronizationEvent_Set_ReleasesOne(void **State)
{
    pthread_t Threads[2];

    (void)State;
    Done = 0;
    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    Threads[0] = Spawn(WaitAndCount, &Event);
    Threads[1] = Spawn(WaitAndCount, &Event);
    AwaitWaiters(&Event.Header, 2);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    AwaitDone(1);
    assert_int_equal(KeReadStateEvent(&Event), 0);
    AwaitWaiters(&Event.Header, 1);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    Join(Threads[0]);
    Join(Threads[1]);
    assert_int_equal(Done, 2);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    KeClearEvent(&Event);
    assert_int_equal(KeReadStateEvent(&Event), 0);
}

/* "atomically sets an event object to a signaled state, attempts to satisfy as many waits as possible, and then resets". */
static void PulseEvent_Waiters_ReleasedAndEventReset(void **State)
{
    pthread_t Threads[2];

    (void)State;
    Done = 0;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Threads[0] = Spawn(WaitAndCount, &Event);
    Threads[1] = Spawn(WaitAndCount, &Event);
    AwaitWaiters(&Event.Header, 2);
    assert_int_equal(KePulseEvent(&Event, IO_NO_INCREMENT, FALSE), 0);
    Join(Threads[0]);
    Join(Threads[1]);
    assert_int_equal(KeReadStateEvent(&Event), 0);
    assert_int_equal(Look(&Event), STATUS_TIMEOUT);
}

/* "each wait satisfied decrements the count by one"; "returns the initial signal state value". */
static void Semaphore_Counts_EachWaitTakesOne(void **State)
{
    (void)State;
    KeInitializeSemaphore(&Semaphore, 1, 3);
    assert_int_equal(Look(&Semaphore), STATUS_SUCCESS);
    assert_int_equal(Look(&Semaphore), STATUS_TIMEOUT);
    assert_int_equal(KeReleaseSemaphore(&Semaphore, IO_NO_INCREMENT, 2, FALSE), 0);
    assert_int_equal(KeReadStateSemaphore(&Semaphore), 2);
    assert_int_equal(Look(&Semaphore), STATUS_SUCCESS);
    assert_int_equal(Look(&Semaphore), STATUS_SUCCESS);
    assert_int_equal(Look(&Semaphore), STATUS_TIMEOUT);
}

static void ReleaseThree(void *Argument)
{
    (void)Argument;
    KeReleaseSemaphore(&Semaphore, IO_NO_INCREMENT, 3, FALSE);
}

static void ReleaseNone(void *Argument)
{
    (void)Argument;
    KeReleaseSemaphore(&Semaphore, IO_NO_INCREMENT, -1, FALSE);
}

/* "if the specified Adjustment would cause the limit to be exceeded, the count is not adjusted and STATUS_SEMAPHORE_LIMIT_EXCEEDED is
 * raised." */
static void Semaphore_OverTheLimit_RaisesAndLeavesTheCount(void **State)
{
    (void)State;
    KeInitializeSemaphore(&Semaphore, 1, 3);
    assert_int_equal(RaisedBy(ReleaseThree, NULL), STATUS_SEMAPHORE_LIMIT_EXCEEDED);
    assert_int_equal(KeReadStateSemaphore(&Semaphore), 1);
    assert_int_equal(RaisedBy(ReleaseNone, NULL), STATUS_SEMAPHORE_LIMIT_EXCEEDED);
    assert_int_equal(KeReadStateSemaphore(&Semaphore), 1);
}

/* "initialized ... to the signaled state"; "recursively"; "If the return value is zero, the mutex was released". */
static void Mutex_OwnerTakesAgain_FreeAfterAsManyReleases(void **State)
{
    (void)State;
    KeInitializeMutex(&Mutex, 0);
    assert_int_equal(KeReadStateMutex(&Mutex), 1);
    assert_int_equal(Look(&Mutex), STATUS_SUCCESS);
    /* "the thread's normal kernel APCs are disabled" while it owns the mutex */
    assert_true(KeAreApcsDisabled());
    assert_int_equal(Look(&Mutex), STATUS_SUCCESS);
    assert_int_equal(KeReadStateMutex(&Mutex), -1);
    assert_int_equal(KeReleaseMutex(&Mutex, FALSE), -1);
    assert_true(KeAreApcsDisabled());
    assert_int_equal(KeReleaseMutex(&Mutex, FALSE), 0);
    assert_false(KeAreApcsDisabled());
    assert_int_equal(KeReadStateMutex(&Mutex), 1);
}

static void ReleaseMutex(void *Argument)
{
    KeReleaseMutex((PRKMUTEX)Argument, FALSE);
}

static void *LookAndRelease(void *Argument)
{
    NTSTATUS *Results = (NTSTATUS *)Argument;

    Results[0] = Look(&Mutex);
    Results[1] = RaisedBy(ReleaseMutex, &Mutex);
    return NULL;
}

/* "A mutex ... can be released only by its owner": STATUS_MUTANT_NOT_OWNED is raised. */
static void Mutex_OtherThread_CannotTakeOrRelease(void **State)
{
    NTSTATUS Results[2] = {0, 0};

    (void)State;
    KeInitializeMutex(&Mutex, 0);
    assert_int_equal(RaisedBy(ReleaseMutex, &Mutex), STATUS_MUTANT_NOT_OWNED);
    assert_int_equal(Look(&Mutex), STATUS_SUCCESS);
    Join(Spawn(LookAndRelease, Results));
    assert_int_equal(Results[0], STATUS_TIMEOUT);
    assert_int_equal(Results[1], STATUS_MUTANT_NOT_OWNED);
    KeReleaseMutex(&Mutex, FALSE);
}

static KMUTANT Left;

static void *TakeAndEnd(void *Argument)
{
    *(NTSTATUS *)Argument = Look(&Left);
    return NULL;
}

/* "STATUS_ABANDONED_WAIT_0: the caller attempted to wait for a mutex that has been abandoned." (made for user mode) */
static void Mutant_OwnerEnds_NextWaitSaysAbandoned(void **State)
{
    NTSTATUS Status = STATUS_UNSUCCESSFUL;

    (void)State;
    KeInitializeMutant(&Left, FALSE);
    Join(Spawn(TakeAndEnd, &Status));
    assert_int_equal(Status, STATUS_SUCCESS);
    assert_int_equal(KeWaitForSingleObject(&Left, Executive, KernelMode, FALSE, NULL), STATUS_ABANDONED_WAIT_0);
    assert_int_equal(KeReleaseMutant(&Left, 0, FALSE, FALSE), 0);
    assert_int_equal(Look(&Left), STATUS_SUCCESS);
    KeReleaseMutant(&Left, 0, FALSE, FALSE);
}

/* WaitAny: "the wait is satisfied when any of the objects is signaled": STATUS_WAIT_0 plus its index. */
static void Multiple_WaitAny_ReturnsTheFirstSignalledIndex(void **State)
{
    KEVENT Events[3];
    PVOID Objects[3] = {&Events[0], &Events[1], &Events[2]};

    (void)State;
    for (int Index = 0; Index < 3; Index++) {
        KeInitializeEvent(&Events[Index], SynchronizationEvent, FALSE);
    }
    assert_int_equal(KeWaitForMultipleObjects(3, Objects, WaitAny, Executive, KernelMode, FALSE, &Zero, NULL), STATUS_TIMEOUT);
    KeSetEvent(&Events[2], 0, FALSE);
    KeSetEvent(&Events[1], 0, FALSE);
    assert_int_equal(KeWaitForMultipleObjects(3, Objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL),
                     STATUS_WAIT_0 + 1);
    assert_int_equal(KeReadStateEvent(&Events[1]), 0);
    assert_int_equal(KeReadStateEvent(&Events[2]), 1);
}

/* WaitAll: "all of the objects must be signaled": none is taken before. */
static void Multiple_WaitAll_TakesAllOrNone(void **State)
{
    KEVENT Events[4];
    PVOID Objects[4] = {&Events[0], &Events[1], &Events[2], &Events[3]};
    KWAIT_BLOCK Blocks[4];

    (void)State;
    for (int Index = 0; Index < 4; Index++) {
        KeInitializeEvent(&Events[Index], SynchronizationEvent, Index != 3);
    }
    assert_int_equal(KeWaitForMultipleObjects(4, Objects, WaitAll, Executive, KernelMode, FALSE, &Zero, Blocks),
                     STATUS_TIMEOUT);
    assert_int_equal(KeReadStateEvent(&Events[0]), 1);
    KeSetEvent(&Events[3], 0, FALSE);
    assert_int_equal(KeWaitForMultipleObjects(4, Objects, WaitAll, Executive, KernelMode, FALSE, &Zero, Blocks),
                     STATUS_SUCCESS);
    for (int Index = 0; Index < 4; Index++) {
        assert_int_equal(KeReadStateEvent(&Events[Index]), 0);
    }
}

static KEVENT Pair[2];

static void *WaitForBoth(void *Argument)
{
    PVOID Objects[2] = {&Pair[0], &Pair[1]};

    (void)Argument;
    if (KeWaitForMultipleObjects(2, Objects, WaitAll, Executive, KernelMode, FALSE, NULL, NULL) == STATUS_SUCCESS) {
        __atomic_add_fetch(&Done, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void Multiple_WaitAllAsleep_WokenByTheLastOnly(void **State)
{
    pthread_t Thread;

    (void)State;
    Done = 0;
    KeInitializeEvent(&Pair[0], SynchronizationEvent, FALSE);
    KeInitializeEvent(&Pair[1], SynchronizationEvent, FALSE);
    Thread = Spawn(WaitForBoth, NULL);
    AwaitWaiters(&Pair[1].Header, 1);
    KeSetEvent(&Pair[0], 0, FALSE);
    assert_int_equal(KeReadStateEvent(&Pair[0]), 1); /* not taken: the other is missing */
    AwaitWaiters(&Pair[1].Header, 1);
    assert_int_equal(Done, 0);
    KeSetEvent(&Pair[1], 0, FALSE);
    Join(Thread);
    assert_int_equal(Done, 1);
    assert_int_equal(KeReadStateEvent(&Pair[0]), 0);
    assert_int_equal(KeReadStateEvent(&Pair[1]), 0);
}

/* "puts the current thread into ... wait state for a specified interval"; STATUS_SUCCESS when it is over. */
static void Delay_Interval_NotShorter(void **State)
{
    LARGE_INTEGER Interval = Relative(10000);
    ULONG64 Start = Now();

    (void)State;
    assert_int_equal(KeDelayExecutionThread(KernelMode, FALSE, &Interval), STATUS_SUCCESS);
    assert_true(Now() - Start >= 100000);
}

static NTSTATUS Aborted;

static void *WaitAborted(void *Argument)
{
    Aborted = KeWaitForSingleObject(Argument, Executive, KernelMode, FALSE, NULL);
    return NULL;
}

static void Abort_OfAWait_ReturnsItsStatus(void **State)
{
    pthread_t Thread;
    KTHREAD *Waiter;

    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Thread = Spawn(WaitAborted, &Event);
    AwaitWaiters(&Event.Header, 1);
    Waiter = CONTAINING_RECORD(Event.Header.WaitListHead.Flink, KWAIT_BLOCK, WaitListEntry)->Thread;
    KiAbortWait(Waiter, STATUS_CANCELLED);
    Join(Thread);
    assert_int_equal(Aborted, STATUS_CANCELLED);
    assert_ptr_equal(Event.Header.WaitListHead.Flink, &Event.Header.WaitListHead);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(ZeroTimeout_NotSignalled_ReturnsTimeout),
        cmocka_unit_test(ZeroTimeout_AtDispatchLevel_Allowed),
        cmocka_unit_test(RelativeTimeout_Passes_NotBefore),
        cmocka_unit_test(AbsoluteTimeout_InThePast_ReturnsAtOnceAndInTheFutureLater),
        cmocka_unit_test(NotificationEvent_Set_ReleasesAllAndStaysSet),
        cmocka_unit_test(SynchronizationEvent_Set_ReleasesOne),
        cmocka_unit_test(PulseEvent_Waiters_ReleasedAndEventReset),
        cmocka_unit_test(Semaphore_Counts_EachWaitTakesOne),
        cmocka_unit_test(Semaphore_OverTheLimit_RaisesAndLeavesTheCount),
        cmocka_unit_test(Mutex_OwnerTakesAgain_FreeAfterAsManyReleases),
        cmocka_unit_test(Mutex_OtherThread_CannotTakeOrRelease),
        cmocka_unit_test(Mutant_OwnerEnds_NextWaitSaysAbandoned),
        cmocka_unit_test(Multiple_WaitAny_ReturnsTheFirstSignalledIndex),
        cmocka_unit_test(Multiple_WaitAll_TakesAllOrNone),
        cmocka_unit_test(Multiple_WaitAllAsleep_WokenByTheLastOnly),
        cmocka_unit_test(Delay_Interval_NotShorter),
        cmocka_unit_test(Abort_OfAWait_ReturnsItsStatus),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
