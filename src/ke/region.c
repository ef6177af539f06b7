/*
 * region.c - critical and guarded regions: keeping APCs away. SPDX-License-Identifier: MIT
 *
 * Implements KeEnterCriticalRegion, KeLeaveCriticalRegion, KeEnterGuardedRegion, KeLeaveGuardedRegion, KeAreApcsDisabled,
 * KeAreAllApcsDisabled. No APC is ever delivered by this system, so the two counts of a thread are there to be asked for
 * and to catch an unbalanced driver: leaving a region that was not entered is APC_INDEX_MISMATCH (0x01), ending a thread
 * inside one KERNEL_APC_PENDING_DURING_EXIT (0x20, thread.c).
 *
 * Invariants
 *  R1. CriticalRegion and GuardedRegion are never negative and belong to their own thread.
 *  R2. An owned KMUTEX counts as one critical region (mutant.c).
 */
#include "ke/kip.h"

static DECLSPEC_NORETURN DECLSPEC_NOINLINE VOID KipRegionMismatch(KTHREAD *Thread, const CHAR *Words, ULONG_PTR Caller)
{
    /* Windows' third parameter: SpecialApcDisable in the high word, KernelApcDisable in the low one, both counting down. */
    ULONG Combined = ((ULONG)(USHORT)-Thread->GuardedRegion << 16) | (USHORT)-Thread->CriticalRegion;

    KiStop(APC_INDEX_MISMATCH, Words, NULL, Caller, 0, Combined, 1);
}

VOID KeEnterCriticalRegion(VOID)
{
    KiCurrentThread()->CriticalRegion += 1;
}

VOID KeLeaveCriticalRegion(VOID)
{
    KTHREAD *Thread = KiCurrentThread();

    if (__builtin_expect(Thread->CriticalRegion <= 0, 0)) {
        KipRegionMismatch(Thread, "KeLeaveCriticalRegion was called outside a critical region.",
                          (ULONG_PTR)__builtin_return_address(0));
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
        KipRegionMismatch(Thread, "KeLeaveGuardedRegion was called outside a guarded region.",
                          (ULONG_PTR)__builtin_return_address(0));
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
