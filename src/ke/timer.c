/*
 * timer.c - timers. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeTimer(Ex), KeSetTimer(Ex), KeSetCoalescableTimer, KeCancelTimer, KeReadStateTimer. A timer is a
 * dispatcher object that becomes signalled at its due time and queues its DPC; a synchronization timer is taken by the
 * wait that it satisfies. Coalescing tolerances are accepted and not used.
 *
 * Pending timers form a treap, a search tree by (DueTime, address) that is also a heap by a hash of the address, so it is
 * balanced without storage of its own: the two links are the words of KTIMER.TimerListEntry.
 *
 *      KiTimerRoot --> KTIMER { Flink: left child (earlier), Blink: right child (later) }
 *
 * DueTime is in interrupt time, units of 100 ns. The machine's clock is set to the earliest one; KiClockUpcall then
 * expires what is due and sets it again. An absolute due time is converted when the timer is set, so a later change of
 * the system time does not move it.
 *
 *      idle --- KeSetTimer ---> pending (inserted) --- KiClockUpcall: signalled, DPC queued ---> idle, or pending if periodic
 *       ^------ KeCancelTimer -----+
 *
 * Invariants
 *  N1. The inserted bit of Header.TimerMiscFlags is set exactly while the timer is in the tree.
 *  N2. The tree is ordered by (DueTime, address) and heap-ordered by KipTimerRank.
 *  N3. The machine's clock is set to the earliest DueTime whenever the dispatcher lock is released.
 *  N4. KiTimersAt counts the timers in the tree.
 *  N5. A wait does not time out before timers expire that were due earlier, however late the clock is.
 *
 * All of it is guarded by the dispatcher lock. Watch: KiFindTimer, tests/unit/ke_timer_test.c.
 */
#include "ke/kip.h"

#define KI_LEFT(Timer)    ((Timer)->TimerListEntry.Flink)
#define KI_TIMER_INSERTED 0x40
#define KI_RIGHT(Timer)   ((Timer)->TimerListEntry.Blink)

static PLIST_ENTRY KiTimerRoot; /* links are to the TimerListEntry of a timer */
static ULONG64 KiClockSet = HAL_FOREVER;
static BOOLEAN KiTimersStopped;
static USHORT KiTimersAt[256]; /* pending timers by a hash of their addresses */

static inline PKTIMER KipTimerOf(PLIST_ENTRY Link)
{
    return CONTAINING_RECORD(Link, KTIMER, TimerListEntry);
}

static inline BOOLEAN KipIsInserted(PKTIMER Timer)
{
    return (Timer->Header.TimerMiscFlags & KI_TIMER_INSERTED) != 0;
}

static inline ULONG64 KipTimerRank(PKTIMER Timer)
{
    return ((ULONG_PTR)Timer >> 3) * 0x9E3779B97F4A7C15ull;
}

static inline BOOLEAN KipTimerBefore(PKTIMER One, PKTIMER Other)
{
    return One->DueTime.QuadPart != Other->DueTime.QuadPart ? One->DueTime.QuadPart < Other->DueTime.QuadPart : One < Other;
}

static inline USHORT *KipTimersAt(PKTIMER Timer)
{
    return &KiTimersAt[KipTimerRank(Timer) >> 56];
}

/* Divides a tree into the timers before Pivot and those after it. */
static VOID KipSplitTimers(PLIST_ENTRY Root, PKTIMER Pivot, PLIST_ENTRY *Before, PLIST_ENTRY *After)
{
    while (Root != NULL) {
        if (KipTimerBefore(KipTimerOf(Root), Pivot)) {
            *Before = Root;
            Before = &Root->Blink;
            Root = Root->Blink;
        } else {
            *After = Root;
            After = &Root->Flink;
            Root = Root->Flink;
        }
    }
    *Before = NULL;
    *After = NULL;
}

static PLIST_ENTRY KipMergeTimers(PLIST_ENTRY Before, PLIST_ENTRY After)
{
    PLIST_ENTRY Result = NULL;
    PLIST_ENTRY *Place = &Result;

    while (Before != NULL && After != NULL) {
        if (KipTimerRank(KipTimerOf(Before)) > KipTimerRank(KipTimerOf(After))) {
            *Place = Before;
            Place = &Before->Blink;
            Before = Before->Blink;
        } else {
            *Place = After;
            Place = &After->Flink;
            After = After->Flink;
        }
    }
    *Place = Before != NULL ? Before : After;
    return Result;
}

static VOID KipInsertTimer(PKTIMER Timer)
{
    PLIST_ENTRY *Place = &KiTimerRoot;
    ULONG64 Rank = KipTimerRank(Timer);

    while (*Place != NULL && KipTimerRank(KipTimerOf(*Place)) > Rank) {
        Place = KipTimerBefore(Timer, KipTimerOf(*Place)) ? &(*Place)->Flink : &(*Place)->Blink;
    }
    KipSplitTimers(*Place, Timer, &KI_LEFT(Timer), &KI_RIGHT(Timer));
    *Place = &Timer->TimerListEntry;
    Timer->Header.TimerMiscFlags |= KI_TIMER_INSERTED;
    __atomic_fetch_add(KipTimersAt(Timer), 1, __ATOMIC_RELAXED);
}

static VOID KipRemoveTimer(PKTIMER Timer)
{
    PLIST_ENTRY *Place = &KiTimerRoot;

    while (*Place != NULL && *Place != &Timer->TimerListEntry) {
        Place = KipTimerBefore(Timer, KipTimerOf(*Place)) ? &(*Place)->Flink : &(*Place)->Blink;
    }
    if (*Place != NULL) {
        *Place = KipMergeTimers(KI_LEFT(Timer), KI_RIGHT(Timer));
        __atomic_fetch_sub(KipTimersAt(Timer), 1, __ATOMIC_RELAXED);
    }
    Timer->Header.TimerMiscFlags &= (UCHAR)~KI_TIMER_INSERTED;
}

static PKTIMER KipFirstTimer(VOID)
{
    PLIST_ENTRY Link = KiTimerRoot;

    if (Link == NULL) {
        return NULL;
    }
    while (Link->Flink != NULL) {
        Link = Link->Flink;
    }
    return KipTimerOf(Link);
}

static inline ULONG64 KipInterruptTime(VOID)
{
    return HalQueryTime() / 100;
}

static VOID KipSetClock(VOID)
{
    PKTIMER First = KipFirstTimer();
    ULONG64 Wanted = HAL_FOREVER;

    if (First != NULL) {
        Wanted = First->DueTime.QuadPart > (HAL_FOREVER - 1) / 100 ? HAL_FOREVER - 1 : First->DueTime.QuadPart * 100;
    }
    if (Wanted != KiClockSet) {
        KiClockSet = Wanted;
        HalSetClock(Wanted);
    }
}

static VOID KipExpireTimer(PKTIMER Timer, ULONG64 Now)
{
    PKDPC Dpc = Timer->Dpc;

    if (Dpc != NULL) {
        Timer->Processor = (USHORT)KiProcessorOfDpc(Dpc, Timer->Processor);
    }
    KiSetState(&Timer->Header, 1);
    KiTestWaiters(&Timer->Header);
    if (Timer->Period != 0) {
        ULONG64 Period = (ULONG64)Timer->Period * 10000;

        Timer->DueTime.QuadPart += Period;
        if (Timer->DueTime.QuadPart <= Now) {
            Timer->DueTime.QuadPart = Now + Period; /* late by more than a period: missed ones are not made up */
        }
        KipInsertTimer(Timer);
    }
    if (Dpc != NULL) {
        ULONG64 Ticks = HalQuerySystemTime();

        KiQueueTimerDpc(Dpc, (PVOID)(ULONG_PTR)(ULONG)Ticks, (PVOID)(ULONG_PTR)(ULONG)(Ticks >> 32), Timer->Processor);
    }
}

VOID KiExpireTimers(VOID)
{
    PKTIMER First = KipFirstTimer();
    ULONG64 Now;

    if (First == NULL || First->DueTime.QuadPart > (Now = KipInterruptTime())) {
        return;
    }
    do {
        KipRemoveTimer(First);
        KipExpireTimer(First, Now);
    } while ((First = KipFirstTimer()) != NULL && First->DueTime.QuadPart <= Now);
    KipSetClock();
}

VOID KiClockUpcall(VOID)
{
    KiLockDispatcher();
    KiClockSet = HAL_FOREVER;
    KiExpireTimers();
    KipSetClock();
    KiUnlockDispatcher();
}

VOID KiStartTimers(VOID)
{
    KiTimerRoot = NULL;
    memset(KiTimersAt, 0, sizeof KiTimersAt);
    KiClockSet = HAL_FOREVER;
    KiTimersStopped = FALSE;
}

VOID KiStopTimers(VOID)
{
    KiLockDispatcher();
    while (KiTimerRoot != NULL) {
        KipRemoveTimer(KipTimerOf(KiTimerRoot));
    }
    KiTimersStopped = TRUE;
    KipSetClock();
    KiUnlockDispatcher();
}

/* ---- what drivers call ---- */

/* What the tree says of memory whose bytes mean nothing yet. */
static BOOLEAN KipTreeHas(PLIST_ENTRY Root, PKTIMER Timer)
{
    return Root != NULL && (Root == &Timer->TimerListEntry || KipTreeHas(Root->Flink, Timer) || KipTreeHas(Root->Blink, Timer));
}

/* A pending timer that is initialised again, which is a driver's mistake, stays in the queue, as on Windows: it expires, and its DPC
 * runs. TRUE if it was one. */
static BOOLEAN KipKeepPendingTimer(PKTIMER Timer, UCHAR Type)
{
    BOOLEAN Pending;

    KiTouch(Timer);
    KiLockDispatcher();
    Pending = KipTreeHas(KiTimerRoot, Timer);
    if (Pending) {
        Timer->Header.Type = Type;
        KiSetState(&Timer->Header, 0);
        Timer->Header.WaitListHead.Flink = Timer->Header.WaitListHead.Blink = &Timer->Header.WaitListHead;
        Timer->Period = 0;
    }
    KiUnlockDispatcher();
    return Pending;
}

VOID KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type)
{
    UCHAR Kind = Type == SynchronizationTimer ? TimerSynchronizationObject : TimerNotificationObject;

    KI_CHECK_OBJECT(Timer);
    if (__builtin_expect(__atomic_load_n(KipTimersAt(Timer), __ATOMIC_RELAXED) != 0, 0) && KipKeepPendingTimer(Timer, Kind)) {
        return;
    }
    memset(Timer, 0, sizeof *Timer);
    Timer->Header.Type = Kind;
    Timer->Header.WaitListHead.Flink = Timer->Header.WaitListHead.Blink = &Timer->Header.WaitListHead;
}

VOID KeInitializeTimer(PKTIMER Timer)
{
    KI_CHECK_OBJECT(Timer);
    KeInitializeTimerEx(Timer, NotificationTimer);
}

BOOLEAN KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period, PKDPC Dpc)
{
    KTHREAD *Thread = KiCurrentThread();
    BOOLEAN WasPending;
    ULONG64 Now;

    if (__builtin_expect(Thread->Irql > DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A timer was set above DISPATCH_LEVEL.", Timer, 0xE5, Thread->Irql, 0, 0);
    }
    KiTouch(Timer);
    KiLockDispatcher();
    WasPending = KipIsInserted(Timer);
    if (WasPending) {
        KipRemoveTimer(Timer);
    }
    KiSetState(&Timer->Header, 0);
    Timer->Period = Period < 0 ? 0 : (ULONG)Period;
    Timer->Dpc = Dpc;
    Timer->Processor = (USHORT)Thread->Prcb->Number;
    Timer->DueTime.QuadPart = KiDeadline(DueTime) / 100;
    Now = KipInterruptTime(); /* after, so that a time that has come is not later than now */
    if (!KiTimersStopped) {
        if (Timer->DueTime.QuadPart <= Now) {
            KipExpireTimer(Timer, Now);
        } else {
            KipInsertTimer(Timer);
        }
        KipSetClock();
    }
    KiUnlockDispatcher();
    return WasPending;
}

BOOLEAN KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PKDPC Dpc)
{
    return KeSetTimerEx(Timer, DueTime, 0, Dpc);
}

BOOLEAN KeSetCoalescableTimer(PKTIMER Timer, LARGE_INTEGER DueTime, ULONG Period, ULONG TolerableDelay, PKDPC Dpc)
{
    UNREFERENCED_PARAMETER(TolerableDelay);
    return KeSetTimerEx(Timer, DueTime, (LONG)Period, Dpc);
}

BOOLEAN KeCancelTimer(PKTIMER Timer)
{
    BOOLEAN WasPending;

    KiTouch(Timer);
    KiLockDispatcher();
    WasPending = KipIsInserted(Timer);
    if (WasPending) {
        KipRemoveTimer(Timer);
        Timer->Period = 0;
        KipSetClock();
    }
    KiUnlockDispatcher();
    return WasPending;
}

BOOLEAN KeReadStateTimer(PKTIMER Timer)
{
    return KiState(&Timer->Header) != 0;
}

/* The first pending timer, in no order, that Wanted wants; what it has said FALSE to is read afterwards. */
static PKTIMER KipSearchTimers(BOOLEAN (*Wanted)(PKTIMER Timer, const VOID *Context), const VOID *Context)
{
    PLIST_ENTRY Path[128];
    PKTIMER Found = NULL;
    ULONG Depth = 0;
    PLIST_ENTRY Link;

    KiLockDispatcher();
    Link = KiTimerRoot;
    while (Link != NULL || Depth != 0) {
        if (Link != NULL) {
            if (Wanted(KipTimerOf(Link), Context)) {
                Found = KipTimerOf(Link);
                break;
            }
            if (Depth < ARRAYSIZE(Path)) {
                Path[Depth] = Link;
                Depth += 1;
            }
            Link = Link->Flink;
        } else {
            Depth -= 1;
            Link = Path[Depth]->Blink;
        }
    }
    KiUnlockDispatcher();
    return Found;
}

typedef struct _KI_TIMER_SEARCH {
    ULONG_PTR Base;
    SIZE_T Bytes;
    BOOLEAN (*Gone)(const VOID *Address);
} KI_TIMER_SEARCH;

static BOOLEAN KipIsTimerInside(PKTIMER Timer, const VOID *Context)
{
    const KI_TIMER_SEARCH *Search = Context;
    return (ULONG_PTR)Timer - Search->Base < Search->Bytes;
}

PKTIMER KiFindTimer(const VOID *Base, SIZE_T Bytes)
{
    KI_TIMER_SEARCH Search = {(ULONG_PTR)Base, Bytes, NULL};
    return KipSearchTimers(KipIsTimerInside, &Search);
}

static BOOLEAN KipIsTimerLost(PKTIMER Timer, const VOID *Context)
{
    const KI_TIMER_SEARCH *Search = Context;
    return Search->Gone(Timer) ||
           (Timer->Dpc != NULL &&
            (Search->Gone(Timer->Dpc) || (ULONG_PTR)Timer->Dpc->DeferredRoutine - Search->Base < Search->Bytes));
}

PKTIMER KiFindLostTimer(const VOID *Base, SIZE_T Bytes, BOOLEAN (*Gone)(const VOID *Address))
{
    KI_TIMER_SEARCH Search = {(ULONG_PTR)Base, Bytes, Gone};
    return KipSearchTimers(KipIsTimerLost, &Search);
}

const CHAR *KiValidateTimers(VOID)
{
    PLIST_ENTRY Path[128];
    const CHAR *Broken = NULL;
    PKTIMER Last = NULL;
    ULONG Depth = 0;
    PLIST_ENTRY Link;

    KiLockDispatcher();
    Link = KiTimerRoot;
    while (Broken == NULL && (Link != NULL || Depth != 0)) {
        if (Link != NULL) {
            if (Depth == ARRAYSIZE(Path)) {
                Broken = "N2: the timer tree is degenerate";
                break;
            }
            Path[Depth] = Link;
            Depth += 1;
            Link = Link->Flink;
        } else {
            PKTIMER Timer;

            Depth -= 1;
            Timer = KipTimerOf(Path[Depth]);
            if (__atomic_load_n(KipTimersAt(Timer), __ATOMIC_RELAXED) == 0) {
                Broken = "N4: a timer in the tree is not counted";
            } else if (!KipIsInserted(Timer)) {
                Broken = "N1: a timer in the tree is not marked as inserted";
            } else if (Last != NULL && !KipTimerBefore(Last, Timer)) {
                Broken = "N2: the timer tree is out of order";
            } else if ((KI_LEFT(Timer) != NULL && KipTimerRank(KipTimerOf(KI_LEFT(Timer))) > KipTimerRank(Timer)) ||
                       (KI_RIGHT(Timer) != NULL && KipTimerRank(KipTimerOf(KI_RIGHT(Timer))) > KipTimerRank(Timer))) {
                Broken = "N2: the timer tree is out of heap order";
            }
            Last = Timer;
            Link = Path[Depth]->Blink;
        }
    }
    KiUnlockDispatcher();
    return Broken;
}
