/*
 * lock.c - KI_LOCK, the core's internal lock. SPDX-License-Identifier: MIT
 *
 * A mutex of four bytes for the core's own structures, usable at any IRQL and before any memory exists. It is not a spin
 * lock: a virtual processor is a host thread that the host may suspend, so a waiter spins only for about as long as a
 * short critical section lasts and then sleeps in HalWait.
 *
 * States of Word, and who makes each step:
 *
 *      0 free ---- KiAcquireLock (cas) ----> 1 held, nobody sleeps
 *      ^  ^                                   |
 *      |  +-------- KiReleaseLock ------------+  a waiter gives up spinning (exchange)
 *      |                                      v
 *      +----------- KiReleaseLock + wake --- 2 held, somebody may sleep
 *
 * Invariants
 *  L1. Word is 0, 1 or 2.
 *  L2. A thread sleeps on Word only after it has stored 2 there itself; a thread that slept takes the lock as 2, so a
 *      second sleeper is never forgotten.
 *  L3. The holder neither waits, faults on managed memory, calls a driver, raises nor stops the system.
 *
 * Locks, outermost first (a thread takes them only in this order):
 *      upper layers' locks > the dispatcher lock (kip.h) > KPRCB.DpcLock > the thread list's lock
 *
 * Watch: tests/unit/ke_lock_test.c; gdb prints Word.
 */
#include "ke/ki.h"

#define KI_LOCK_SPINS 128

VOID KiAcquireLock(PKI_LOCK Lock)
{
    LONG Found = 0;

    if (__atomic_compare_exchange_n(&Lock->Word, &Found, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return;
    }
    if (HalFacts.HostProcessors > 1) {
        for (ULONG Spin = 0; Spin < KI_LOCK_SPINS; Spin += 1) {
            Found = __atomic_load_n(&Lock->Word, __ATOMIC_RELAXED);
            if (Found == 0 && __atomic_compare_exchange_n(&Lock->Word, &Found, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
                return;
            }
            HalPause();
        }
    }
    while (__atomic_exchange_n(&Lock->Word, 2, __ATOMIC_ACQUIRE) != 0) {
        HalWait(&Lock->Word, 2, HAL_FOREVER);
    }
}

BOOLEAN KiTryAcquireLock(PKI_LOCK Lock)
{
    LONG Found = 0;

    return __atomic_compare_exchange_n(&Lock->Word, &Found, 1, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

VOID KiReleaseLock(PKI_LOCK Lock)
{
    if (__atomic_exchange_n(&Lock->Word, 0, __ATOMIC_RELEASE) == 2) {
        HalWake(&Lock->Word, 1);
    }
}
