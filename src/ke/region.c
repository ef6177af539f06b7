/*
 * region.c - critical and guarded regions: keeping APCs away. SPDX-License-Identifier: MIT
 *
 * Implements KeEnterCriticalRegion, KeLeaveCriticalRegion, KeEnterGuardedRegion, KeLeaveGuardedRegion, KeAreApcsDisabled,
 * KeAreAllApcsDisabled. No APC is ever delivered by this system, so the two counts of a thread are there to be asked for
 * and to catch an unbalanced driver: leaving a region that was not entered is the Verifier's 0xC4/0x3E, ending a thread inside
 * one KERNEL_APC_PENDING_DURING_EXIT (0x20, thread.c).
 *
 * Invariants
 *  R1. CriticalRegion and GuardedRegion are never negative and belong to their own thread.
 *  R2. An owned KMUTEX counts as one critical region (mutant.c).
 */
#include "ke/kip.h"

static DECLSPEC_NORETURN DECLSPEC_NOINLINE VOID KipRegionMismatch(const CHAR *Words)
{
    KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, Words, NULL, 0x3E, 0, 0, 0);
}

VOID KeEnterCriticalRegion(VOID)
{
    KiCurrentThread()->CriticalRegion += 1;
}

VOID KeLeaveCriticalRegion(VOID)
{
    KTHREAD *Thread = KiCurrentThread();

    if (__builtin_expect(Thread->CriticalRegion <= 0, 0)) {
        KipRegionMismatch("KeLeaveCriticalRegion was called outside a critical region.");
    }
    Thread->CriticalRegion -= 1;
}

VOID KeEnterGuardedRegion(VOID)
{
    KiCurrentThread()->GuardedRegion += 1;
}

VOID KeLeaveGuardedRegion(VOID)
{
    KTHREAD *Thread = KiCurrentThread();

    if (__builtin_expect(Thread->GuardedRegion <= 0, 0)) {
        KipRegionMismatch("KeLeaveGuardedRegion was called outside a guarded region.");
    }
    Thread->GuardedRegion -= 1;
}

BOOLEAN KeAreApcsDisabled(VOID)
{
    KTHREAD *Thread = KiCurrentThread();

    return Thread->CriticalRegion != 0 || Thread->GuardedRegion != 0;
}

BOOLEAN KeAreAllApcsDisabled(VOID)
{
    KTHREAD *Thread = KiCurrentThread();

    return Thread->GuardedRegion != 0 || Thread->Irql >= APC_LEVEL;
}
