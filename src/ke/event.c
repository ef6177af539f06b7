/*
 * event.c - events, and the gates made of them. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeEvent, KeSetEvent, KeResetEvent, KeClearEvent, KePulseEvent, KeReadStateEvent. A notification
 * event stays set and lets every waiter go; a synchronization event lets one go and resets itself (wait.c takes it).
 * The Increment of KeSetEvent and KePulseEvent is ignored: the host schedules. So is Wait: the wait that must follow is made as any other.
 *
 * Invariants: E1. Header.SignalState is 0 or 1, and changes only under the dispatcher lock except to 0 by KeClearEvent.
 */
#include "ke/kip.h"

static VOID KipCheckSetIrql(PRKEVENT Event)
{
    KIRQL Irql = KiCurrentThread()->Irql;

    if (__builtin_expect(Irql > DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An event was set above DISPATCH_LEVEL.", Event, 0x80, Irql,
               (ULONG_PTR)Event, 0);
    }
    KiTouch(Event);
}

VOID KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
    KI_CHECK_OBJECT(Event);
    memset(&Event->Header, 0, sizeof Event->Header);
    Event->Header.Type = (UCHAR)Type;
    Event->Header.Size = sizeof(KEVENT) / sizeof(LONG);
    KiSetState(&Event->Header, State ? 1 : 0);
    Event->Header.WaitListHead.Flink = Event->Header.WaitListHead.Blink = &Event->Header.WaitListHead;
}

LONG KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    LONG Old;

    UNREFERENCED_PARAMETER(Increment);
    UNREFERENCED_PARAMETER(Wait);
    KipCheckSetIrql(Event);
    KiLockDispatcher();
    Old = KiState(&Event->Header);
    KiSetState(&Event->Header, 1);
    KiTestWaiters(&Event->Header);
    KiUnlockDispatcher();
    return Old;
}

LONG KePulseEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
    LONG Old;

    UNREFERENCED_PARAMETER(Increment);
    UNREFERENCED_PARAMETER(Wait);
    KipCheckSetIrql(Event);
    KiLockDispatcher();
    Old = KiState(&Event->Header);
    KiSetState(&Event->Header, 1);
    KiTestWaiters(&Event->Header);
    KiSetState(&Event->Header, 0);
    KiUnlockDispatcher();
    return Old;
}

LONG KeResetEvent(PRKEVENT Event)
{
    LONG Old;

    KiTouch(Event);
    KiLockDispatcher();
    Old = KiState(&Event->Header);
    KiSetState(&Event->Header, 0);
    KiUnlockDispatcher();
    return Old;
}

VOID KeClearEvent(PRKEVENT Event)
{
    KiSetState(&Event->Header, 0);
}

LONG KeReadStateEvent(PRKEVENT Event)
{
    return KiState(&Event->Header);
}
