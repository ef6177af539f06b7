/*
 * timer.c - timers of the executive. SPDX-License-Identifier: MIT
 *
 * Implements ExAllocateTimer, ExSetTimer, ExCancelTimer, ExDeleteTimer. An EX_TIMER is a KTIMER with its DPC and callback in one pool block;
 * the KTIMER is first, so that the pointer can be waited for. High resolution and wake attributes are accepted and change
 * nothing.
 *
 *      allocated --- ExSetTimer ---> pending --- expiry: callback at DISPATCH_LEVEL ---> idle
 *      any --- ExDeleteTimer: Deleting ---> (callback done, by a worker unless Wait) ---> freed
 *
 * Invariants: X1. A block is freed only when its KTIMER is not pending and its DPC neither queued nor running.
 */
#include "ex/work.h"

#define EXP_TIMER_TAG 'mTxE'

typedef struct _EX_TIMER {
    KTIMER Timer;
    KDPC Dpc;
    PEXT_CALLBACK Callback;
    PVOID Context;
    volatile LONG Deleting; /* 1: deletion asked for while pending without cancel */
    EXT_DELETE_PARAMETERS Delete;
    WORK_QUEUE_ITEM Item;
} EX_TIMER;

static VOID ExpFreeTimer(PEX_TIMER Timer)
{
    EXT_DELETE_PARAMETERS Delete = Timer->Delete;

    ExFreePoolWithTag(Timer, EXP_TIMER_TAG);
    if (Delete.DeleteCallback != NULL) {
        KI_CALLOUT(VOID, Delete.DeleteCallback, (PVOID), (Delete.DeleteContext));
    }
}

static VOID ExpDeleteLater(PVOID Parameter)
{
    PEX_TIMER Timer = (PEX_TIMER)Parameter;

    KeRemoveQueueDpcEx(&Timer->Dpc, TRUE);
    ExpFreeTimer(Timer);
}

static VOID ExpTimerDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    PEX_TIMER Timer = (PEX_TIMER)Context;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (Timer->Callback != NULL) {
        KI_CALLOUT(VOID, Timer->Callback, (PEX_TIMER, PVOID), (Timer, Timer->Context));
    }
    if (__atomic_exchange_n(&Timer->Deleting, 0, __ATOMIC_ACQ_REL) == 1) {
        ExpQueueWork(&Timer->Item, DelayedWorkQueue);
    }
}

PEX_TIMER ExAllocateTimer(PEXT_CALLBACK Callback, PVOID CallbackContext, ULONG Attributes)
{
    PEX_TIMER Timer;

    if ((Attributes & ~(EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE | EX_TIMER_NOTIFICATION)) != 0 ||
        (Attributes & (EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE)) == (EX_TIMER_HIGH_RESOLUTION | EX_TIMER_NO_WAKE)) {
        return NULL;
    }
    Timer = (PEX_TIMER)ExAllocatePoolWithTag(NonPagedPoolNx, sizeof *Timer, EXP_TIMER_TAG);
    if (Timer == NULL) {
        return NULL;
    }
    memset((VOID *)Timer, 0, sizeof *Timer);
    KeInitializeTimerEx(&Timer->Timer, (Attributes & EX_TIMER_NOTIFICATION) != 0 ? NotificationTimer : SynchronizationTimer);
    KeInitializeDpc(&Timer->Dpc, ExpTimerDpc, Timer);
    ExInitializeWorkItem(&Timer->Item, ExpDeleteLater, Timer);
    Timer->Callback = Callback;
    Timer->Context = CallbackContext;
    return Timer;
}

BOOLEAN ExSetTimer(PEX_TIMER Timer, LONGLONG DueTime, LONGLONG Period, PEXT_SET_PARAMETERS Parameters)
{
    LARGE_INTEGER Due = {.QuadPart = DueTime};
    LONGLONG Milliseconds = Period <= 0 ? 0 : Period / 10000 + (Period % 10000 != 0);

    UNREFERENCED_PARAMETER(Parameters);
    return KeSetTimerEx(&Timer->Timer, Due, Milliseconds > MAXLONG ? MAXLONG : (LONG)Milliseconds, &Timer->Dpc);
}

BOOLEAN ExCancelTimer(PEX_TIMER Timer, PEXT_CANCEL_PARAMETERS Parameters)
{
    UNREFERENCED_PARAMETER(Parameters);
    return KeCancelTimer(&Timer->Timer);
}

BOOLEAN ExDeleteTimer(PEX_TIMER Timer, BOOLEAN Cancel, BOOLEAN Wait, PEXT_DELETE_PARAMETERS Parameters)
{
    BOOLEAN Cancelled = FALSE;

    if (Parameters != NULL) {
        Timer->Delete = *Parameters;
    }
    if (Cancel) {
        Cancelled = KeCancelTimer(&Timer->Timer);
    } else if (KiFindTimer(Timer, sizeof *Timer) != NULL) {
        __atomic_store_n(&Timer->Deleting, 1, __ATOMIC_RELEASE);
        if (KiFindTimer(Timer, sizeof *Timer) != NULL || __atomic_exchange_n(&Timer->Deleting, 0, __ATOMIC_ACQ_REL) == 0) {
            return FALSE; /* the callback that is still to come deletes it */
        }
    }
    if (Wait) {
        ExpDeleteLater(Timer);
    } else {
        ExpQueueWork(&Timer->Item, DelayedWorkQueue);
    }
    return Cancelled;
}
