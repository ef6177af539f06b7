/*
 * semaphore.c - semaphores. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeSemaphore, KeReleaseSemaphore, KeReadStateSemaphore. A wait takes one from the count (wait.c).
 * A release beyond the limit changes nothing and raises STATUS_SEMAPHORE_LIMIT_EXCEEDED, as documented.
 *
 * Invariants: M1. 0 <= Header.SignalState <= Limit.
 */
#include "ke/kip.h"

VOID KeInitializeSemaphore(PRKSEMAPHORE Semaphore, LONG Count, LONG Limit)
{
    KI_CHECK_OBJECT(Semaphore);
    memset(&Semaphore->Header, 0, sizeof Semaphore->Header);
    Semaphore->Header.Type = SemaphoreObject;
    Semaphore->Header.Size = sizeof(KSEMAPHORE) / sizeof(LONG);
    KiSetState(&Semaphore->Header, Count);
    Semaphore->Header.WaitListHead.Flink = Semaphore->Header.WaitListHead.Blink = &Semaphore->Header.WaitListHead;
    Semaphore->Limit = Limit;
}

LONG KeReleaseSemaphore(PRKSEMAPHORE Semaphore, KPRIORITY Increment, LONG Adjustment, BOOLEAN Wait)
{
    LONG Old;
    LONG New;
    BOOLEAN Over;

    UNREFERENCED_PARAMETER(Increment);
    UNREFERENCED_PARAMETER(Wait);
    KiTouch(Semaphore);
    KiLockDispatcher();
    Old = KiState(&Semaphore->Header);
    Over = __builtin_add_overflow(Old, Adjustment, &New) || New > Semaphore->Limit || New < Old;
    if (!Over) {
        KiSetState(&Semaphore->Header, New);
        KiTestWaiters(&Semaphore->Header);
    }
    KiUnlockDispatcher();
    if (Over) {
        ExRaiseStatus(STATUS_SEMAPHORE_LIMIT_EXCEEDED);
    }
    return Old;
}

LONG KeReadStateSemaphore(PRKSEMAPHORE Semaphore)
{
    return KiState(&Semaphore->Header);
}
