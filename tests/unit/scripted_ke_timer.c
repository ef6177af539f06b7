/*
 * scripted_ke_timer.c - timers, waits and delays over the scripted machine, whose time the test owns. SPDX-License-Identifier: MIT
 *
 * There are no DPC threads here: a DPC runs when the test lowers its IRQL, so every count is exact.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <ntddk.h>
#include "hal/scripted/script.h"
#include "ke/ki.h"

static const HAL_RUN Runs[] = {{16, 64, FALSE}};
static ULONG Ran;
static ULONG64 RanAt[32];

static VOID LateClock(VOID);

static VOID Trap(HAL_TRAP_FRAME *Frame)
{
    Frame->Rip += 1;
}

static BOOLEAN NoForeignCode(HAL_CONTEXT *Context)
{
    (void)Context;
    return FALSE;
}

static int Start(void **State)
{
    HAL_MACHINE Machine = {.Version = HAL_VERSION,
                           .Runs = Runs,
                           .RunCount = 1,
                           .SystemBytes = 1ull << 30,
                           .UserBytes = 1ull << 30,
                           .Upcalls = {Trap, Trap, LateClock, KiAttachThreadUpcall, KiDetachThreadUpcall, NoForeignCode, NULL}};

    (void)State;
    HalScriptReset();
    assert_int_equal(HalStartMachine(&Machine), STATUS_SUCCESS);
    KeOptions.Processors = 1;
    Ran = 0;
    return KeInitSystem();
}

static int Stop(void **State)
{
    (void)State;
    HalSetCurrentThread(NULL);
    HalStopMachine();
    return 0;
}

static VOID Count(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    RanAt[Ran % ARRAYSIZE(RanAt)] = HalQueryTime();
    Ran++;
}

/* Lets queued DPCs run. */
static void Drain(void)
{
    KeLowerIrql(KeRaiseIrqlToDpcLevel());
}

static LARGE_INTEGER In(LONGLONG Milliseconds)
{
    LARGE_INTEGER Time = {.QuadPart = -Milliseconds * 10000};

    return Time;
}

static ULONG64 ClockSet(void)
{
    ULONG64 Arguments[3];

    assert_true(HalScriptLastCall(HalScriptSetClock, Arguments));
    return Arguments[0];
}

static void Timer_OneShot_ExpiresAtItsTimeAndOnce(void **State)
{
    ULONG64 Begin = HalQueryTime(), Sets;
    KTIMER Timer;
    KDPC Dpc;

    (void)State;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Count, NULL);
    KeSetTimer(&Timer, In(10), &Dpc);
    assert_int_equal(ClockSet(), Begin + 10000000);
    Sets = HalScriptCalls(HalScriptSetClock);
    HalScriptAdvanceTime(9999900);
    Drain();
    assert_int_equal(Ran, 0);
    assert_false(KeReadStateTimer(&Timer));
    HalScriptAdvanceTime(100);
    Drain();
    assert_int_equal(Ran, 1);
    assert_true(KeReadStateTimer(&Timer));
    assert_int_equal(HalScriptCalls(HalScriptSetClock), Sets); /* it went off: nothing to take back */
    HalScriptAdvanceTime(100000000);
    Drain();
    assert_int_equal(Ran, 1);
    assert_null(KiValidateTimers());
}

static void Timer_Periodic_EveryPeriodExactly(void **State)
{
    ULONG64 Begin = HalQueryTime();
    KTIMER Timer;
    KDPC Dpc;

    (void)State;
    KeInitializeTimer(&Timer);
    KeInitializeDpc(&Dpc, Count, NULL);
    KeSetTimerEx(&Timer, In(5), 20, &Dpc);
    for (int Round = 0; Round < 105; Round++) {
        HalScriptAdvanceTime(1000000);
        Drain();
    }
    assert_int_equal(Ran, 6); /* 5, 25, 45, 65, 85, 105 ms */
    for (ULONG Index = 0; Index < 6; Index++) {
        assert_int_equal(RanAt[Index], Begin + 5000000 + Index * 20000000ull);
    }
    assert_true(KeCancelTimer(&Timer));
    HalScriptAdvanceTime(1000000000);
    Drain();
    assert_int_equal(Ran, 6);
}

static void Timer_SetAgainOrCancelled_ClockFollows(void **State)
{
    ULONG64 Begin = HalQueryTime();
    KTIMER Early, Late;

    (void)State;
    KeInitializeTimer(&Early);
    KeInitializeTimer(&Late);
    KeSetTimer(&Late, In(50), NULL);
    KeSetTimer(&Early, In(10), NULL);
    assert_int_equal(ClockSet(), Begin + 10000000);
    assert_true(KeSetTimer(&Early, In(30), NULL));
    assert_int_equal(ClockSet(), Begin + 30000000);
    assert_true(KeCancelTimer(&Early));
    assert_int_equal(ClockSet(), Begin + 50000000);
    assert_true(KeCancelTimer(&Late));
    assert_int_equal(ClockSet(), HAL_FOREVER);
}

static void Timer_Absolute_ConvertedWhenSet(void **State)
{
    ULONG64 Begin = HalQueryTime();
    LARGE_INTEGER Due;
    KTIMER Timer;

    (void)State;
    KeQuerySystemTime(&Due);
    Due.QuadPart += 7 * 10000;
    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, Due, NULL);
    assert_int_equal(ClockSet() / 100, (Begin + 7000000) / 100);
    HalScriptAdvanceTime(7000100);
    assert_true(KeReadStateTimer(&Timer));
}

static void Timer_FarFuture_NoOverflow(void **State)
{
    LARGE_INTEGER Never = {.QuadPart = (LONGLONG)0x8000000000000000ull};
    KTIMER Timer;

    (void)State;
    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, Never, NULL);
    assert_true(ClockSet() > HalQueryTime());
    HalScriptAdvanceTime(1000000000);
    assert_false(KeReadStateTimer(&Timer));
    assert_true(KeCancelTimer(&Timer));
}

static void Time_Counts_FollowTheMachine(void **State)
{
    LARGE_INTEGER Ticks1, Ticks2;
    ULONG64 Interrupt = KeQueryInterruptTime();

    (void)State;
    KeQueryTickCount(&Ticks1);
    HalScriptAdvanceTime(156250 * 100 * 4ull);
    KeQueryTickCount(&Ticks2);
    assert_int_equal(KeQueryInterruptTime() - Interrupt, 156250 * 4);
    assert_int_equal(Ticks2.QuadPart - Ticks1.QuadPart, 4);
}

static KEVENT Event;
static NTSTATUS Waited;

static void *WaitTenMilliseconds(void *Argument)
{
    LARGE_INTEGER Timeout = In(10);

    (void)Argument;
    Waited = KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Timeout);
    return NULL;
}

static void Wait_Timeout_EndsExactlyThen(void **State)
{
    pthread_t Thread;

    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Waited = STATUS_PENDING;
    assert_int_equal(pthread_create(&Thread, NULL, WaitTenMilliseconds, NULL), 0);
    while (HalScriptWaiters() == 0) {
        sched_yield();
    }
    HalScriptAdvanceTime(9999000);
    assert_int_equal(KiCountWaiters(&Event.Header), 1);
    HalScriptAdvanceTime(1001000);
    pthread_join(Thread, NULL);
    assert_int_equal(Waited, STATUS_TIMEOUT);
    assert_int_equal(KiCountWaiters(&Event.Header), 0);
}

/* A timer that is due first ends a wait for it, even if its clock interrupt comes after the wait's time is up. */
static KTIMER Timer;
static volatile BOOLEAN Late;

static VOID LateClock(VOID)
{
    if (!Late) {
        KiClockUpcall();
    }
}

static void *WaitForTimer(void *Argument)
{
    LARGE_INTEGER Timeout = In(10);

    (void)Argument;
    Waited = KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, &Timeout);
    return NULL;
}

static void Wait_TimerDueBeforeTheTimeout_IsNotOvertaken(void **State)
{
    pthread_t Thread;

    (void)State;
    Late = TRUE;
    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, In(5), NULL);
    Waited = STATUS_PENDING;
    assert_int_equal(pthread_create(&Thread, NULL, WaitForTimer, NULL), 0);
    while (HalScriptWaiters() == 0) {
        sched_yield();
    }
    HalScriptAdvanceTime(11000000);
    pthread_join(Thread, NULL);
    assert_int_equal(Waited, STATUS_SUCCESS);
    Late = FALSE;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(Timer_OneShot_ExpiresAtItsTimeAndOnce, Start, Stop),
        cmocka_unit_test_setup_teardown(Timer_Periodic_EveryPeriodExactly, Start, Stop),
        cmocka_unit_test_setup_teardown(Timer_SetAgainOrCancelled_ClockFollows, Start, Stop),
        cmocka_unit_test_setup_teardown(Timer_Absolute_ConvertedWhenSet, Start, Stop),
        cmocka_unit_test_setup_teardown(Timer_FarFuture_NoOverflow, Start, Stop),
        cmocka_unit_test_setup_teardown(Time_Counts_FollowTheMachine, Start, Stop),
        cmocka_unit_test_setup_teardown(Wait_Timeout_EndsExactlyThen, Start, Stop),
        cmocka_unit_test_setup_teardown(Wait_TimerDueBeforeTheTimeout_IsNotOvertaken, Start, Stop),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
