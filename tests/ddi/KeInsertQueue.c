/*
 * KeInsertQueue.c - kernel queues and the executive's timers (pages KeInsertQueue, KeRemoveQueue, KeRundownQueue, ExAllocateTimer,
 * ExSetTimer, ExDeleteTimer). SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ex/work.h"

static KQUEUE Queue;
static LIST_ENTRY Entries[900], Ends[3];
static volatile LONG Taken;

/* "entries are removed in FIFO order"; "returns the previous signal state"; the wait returns STATUS_TIMEOUT as the pointer. */
static void Queue_Entries_FirstInFirstOut(void **State)
{
    LIST_ENTRY One, Two, Three, *Many[4];
    LARGE_INTEGER Zero = {.QuadPart = 0};

    (void)State;
    KeInitializeQueue(&Queue, 0);
    assert_ptr_equal(KeRemoveQueue(&Queue, KernelMode, &Zero), (PLIST_ENTRY)STATUS_TIMEOUT);
    assert_int_equal(KeInsertQueue(&Queue, &One), 0);
    assert_int_equal(KeInsertQueue(&Queue, &Two), 1);
    assert_int_equal(KeInsertHeadQueue(&Queue, &Three), 2);
    assert_int_equal(KeReadStateQueue(&Queue), 3);
    assert_ptr_equal(KeRemoveQueue(&Queue, KernelMode, NULL), &Three);
    assert_int_equal(KeRemoveQueueEx(&Queue, KernelMode, FALSE, NULL, Many, 4), 2);
    assert_ptr_equal(Many[0], &One);
    assert_ptr_equal(Many[1], &Two);
    assert_int_equal(KeReadStateQueue(&Queue), 0);
    assert_null(KeRundownQueue(&Queue));
}

/* "returns a pointer to the first entry", the rest linked behind it. */
static void Queue_RunDown_ReturnsWhatIsLeft(void **State)
{
    LARGE_INTEGER Zero = {.QuadPart = 0};
    LIST_ENTRY One, Two;

    (void)State;
    KeInitializeQueue(&Queue, 1);
    KeInsertQueue(&Queue, &One);
    KeInsertQueue(&Queue, &Two);
    assert_ptr_equal(KeRundownQueue(&Queue), &One);
    assert_ptr_equal(One.Flink, &Two);
    assert_ptr_equal(Two.Flink, &One);
    assert_ptr_equal(KeRemoveQueue(&Queue, KernelMode, &Zero), (PLIST_ENTRY)STATUS_TIMEOUT);
}

static void *TakeMany(void *Argument)
{
    (void)Argument;
    for (;;) {
        PLIST_ENTRY Entry = KeRemoveQueue(&Queue, KernelMode, NULL);

        if (Entry >= &Ends[0] && Entry <= &Ends[2]) {
            return NULL;
        }
        __atomic_add_fetch(&Taken, 1, __ATOMIC_SEQ_CST);
    }
}

static void Queue_ThreeTakers_EachEntryOnce(void **State)
{
    pthread_t Threads[3];

    (void)State;
    Taken = 0;
    KeInitializeQueue(&Queue, 2);
    for (int Index = 0; Index < 3; Index++) {
        Threads[Index] = Spawn(TakeMany, NULL);
    }
    for (int Index = 0; Index < 900; Index++) {
        KeInsertQueue(&Queue, &Entries[Index]);
    }
    for (int Index = 0; Index < 3; Index++) {
        KIRQL Old = KeRaiseIrqlToDpcLevel();

        KeInsertQueue(&Queue, &Ends[Index]);
        KeLowerIrql(Old);
    }
    for (int Index = 0; Index < 3; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Taken, 900);
    assert_int_equal(KeReadStateQueue(&Queue), 0);
}

static volatile LONG Called, Deleted;
static KIRQL CalledAt;

static VOID Callback(PEX_TIMER Timer, PVOID Context)
{
    (void)Timer;
    CalledAt = KeGetCurrentIrql();
    __atomic_add_fetch(&Called, (LONG)(LONG_PTR)Context, __ATOMIC_SEQ_CST);
}

static VOID OnDelete(PVOID Context)
{
    __atomic_add_fetch(&Deleted, (LONG)(LONG_PTR)Context, __ATOMIC_SEQ_CST);
}

/* "a driver-implemented ExTimerCallback ... runs when the timer expires"; the timer can be waited for. */
static void ExTimer_Set_CallsBackAndSignals(void **State)
{
    PEX_TIMER Timer = ExAllocateTimer(Callback, (PVOID)1, EX_TIMER_NOTIFICATION);

    (void)State;
    Called = 0;
    assert_non_null(Timer);
    assert_false(ExSetTimer(Timer, -20000, 0, NULL));
    assert_int_equal(KeWaitForSingleObject(Timer, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    KeFlushQueuedDpcs();
    assert_int_equal(Called, 1);
    assert_int_equal(CalledAt, DISPATCH_LEVEL);
    assert_false(ExSetTimer(Timer, -600000000, 0, NULL));
    assert_true(ExSetTimer(Timer, -600000000, 0, NULL));
    assert_true(ExCancelTimer(Timer, NULL));
    assert_false(ExCancelTimer(Timer, NULL));
    assert_false(ExDeleteTimer(Timer, TRUE, TRUE, NULL));
    assert_null(ExAllocateTimer(NULL, NULL, 0x40));
    assert_null(ExAllocateTimer(NULL, NULL, EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE));
}

/* Without Wait the timer is deleted later, and DeleteCallback called then; without Cancel, after it has expired. */
static void ExTimer_DeletedWithoutWaiting_CallsDeleteCallback(void **State)
{
    EXT_DELETE_PARAMETERS Parameters;
    PEX_TIMER Timer = ExAllocateTimer(Callback, (PVOID)1, 0);

    (void)State;
    Called = Deleted = 0;
    ExInitializeDeleteTimerParameters(&Parameters);
    Parameters.DeleteCallback = OnDelete;
    Parameters.DeleteContext = (PVOID)1;
    ExSetTimer(Timer, -600000000, 10000, NULL);
    assert_true(ExDeleteTimer(Timer, TRUE, FALSE, &Parameters));
    ExpDrainWork();
    assert_int_equal(Deleted, 1);
    assert_int_equal(Called, 0);
    Timer = ExAllocateTimer(Callback, (PVOID)1, 0);
    ExSetTimer(Timer, -20000, 0, NULL);
    ExDeleteTimer(Timer, FALSE, FALSE, &Parameters);
    while (__atomic_load_n(&Deleted, __ATOMIC_SEQ_CST) != 2) {
        HalYield();
    }
    assert_int_equal(Called, 1);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Queue_Entries_FirstInFirstOut),
        cmocka_unit_test(Queue_RunDown_ReturnsWhatIsLeft),
        cmocka_unit_test(Queue_ThreeTakers_EachEntryOnce),
        cmocka_unit_test(ExTimer_Set_CallsBackAndSignals),
        cmocka_unit_test(ExTimer_DeletedWithoutWaiting_CallsDeleteCallback),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
