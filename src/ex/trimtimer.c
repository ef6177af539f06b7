/*
 * trimtimer.c - when the pools are trimmed. SPDX-License-Identifier: MIT
 *
 * A timer of a second runs while there is something to give up: whoever makes something free arms it (ExpArmTrim). Its DPC
 * queues the trim to a worker thread, which sets the timer again as long as something is kept. So memory that nobody wants
 * is gone two to three seconds after it was freed, and a quiet system has no timer.
 *
 * States of Armed: 0 idle --ExpArmTrim--> 1 timer set or work queued --trim done, nothing left--> 0
 */
#include "ex/exp.h"
#include "ex/work.h"

#define TRIM_INTERVAL (1000 * 10000ll) /* 100 ns */

static struct {
    KTIMER Timer;
    KDPC Dpc;
    WORK_QUEUE_ITEM Item;
    volatile LONG Armed;
    volatile LONG Queued; /* the item is */
    volatile LONG Ready;
} ExpTrim;

static VOID ExpSetTrimTimer(VOID)
{
    LARGE_INTEGER Due = {.QuadPart = -TRIM_INTERVAL};
    KeSetTimer(&ExpTrim.Timer, Due, &ExpTrim.Dpc);
}

static VOID ExpTrimWorker(PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    ExpTrimPools(FALSE);
    /* Not before: two trims at once would each take what the other spared. */
    __atomic_store_n(&ExpTrim.Queued, 0, __ATOMIC_RELEASE);
    if (!__atomic_load_n(&ExpTrim.Ready, __ATOMIC_ACQUIRE))
        return;
    BOOLEAN Again = ExpIsAnythingKept() != 0;
    __atomic_store_n(&ExpTrim.Armed, Again, __ATOMIC_RELEASE);
    if (Again)
        ExpSetTrimTimer();
}

VOID ExpTrimSoon(VOID)
{
    if (__atomic_load_n(&ExpTrim.Ready, __ATOMIC_ACQUIRE) && __atomic_exchange_n(&ExpTrim.Queued, 1, __ATOMIC_ACQ_REL) == 0)
        ExpQueueWork(&ExpTrim.Item, DelayedWorkQueue);
}

static VOID ExpTrimDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    ExpTrimSoon();
}

VOID ExpArmTrim(VOID)
{
    if (__atomic_load_n(&ExpTrim.Armed, __ATOMIC_RELAXED) != 0 || !__atomic_load_n(&ExpTrim.Ready, __ATOMIC_ACQUIRE))
        return;
    if (__atomic_exchange_n(&ExpTrim.Armed, 1, __ATOMIC_ACQ_REL) == 0)
        ExpSetTrimTimer();
}

VOID ExpInitTrim(VOID)
{
    memset(&ExpTrim, 0, sizeof(ExpTrim));
    KeInitializeTimer(&ExpTrim.Timer);
    KeInitializeDpc(&ExpTrim.Dpc, ExpTrimDpc, NULL);
    ExInitializeWorkItem(&ExpTrim.Item, ExpTrimWorker, NULL);
    ExpTrim.Ready = TRUE;
}

VOID ExpStopTrim(VOID)
{
    __atomic_store_n(&ExpTrim.Ready, FALSE, __ATOMIC_RELEASE);
    KeCancelTimer(&ExpTrim.Timer);
}
