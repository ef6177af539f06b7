/*
 * fastmutex.c - fast mutexes and guarded mutexes. SPDX-License-Identifier: MIT
 *
 * Implements ExInitializeFastMutex, ExAcquireFastMutex, ExTryToAcquireFastMutex, ExReleaseFastMutex, their Unsafe forms, and
 * the KeXxxGuardedMutex routines. Both are the same FAST_MUTEX; a fast mutex raises its owner to APC_LEVEL, a guarded one
 * puts it in a guarded region, the unsafe forms leave that to the caller.
 *
 *      Count: 1 free; 0 owned; -n owned, n threads wait on Event
 *
 * A waiter takes one from Count and waits for the synchronization event; a release adds one and, if that is not 1, sets the
 * event, which hands the mutex to exactly one waiter.
 *
 * Misuse: acquired above APC_LEVEL 0xC4/0x33 (IRQL, mutex, 0); released elsewhere than at APC_LEVEL 0xC4/0x34 (IRQL, APC
 * disable count, mutex); acquired by its owner MUTEX_ALREADY_OWNED 0xBF (mutex, thread, 0, 0); released by another thread
 * THREAD_NOT_MUTEX_OWNER 0x11 (mutex, thread, owner, 0); under Driver Verifier the unsafe forms with APCs enabled 0xC4/0x39 and 0x3A (IRQL, APC
 * disable count, mutex).
 *
 * Invariants
 *  F1. Count <= 1; Owner is not NULL exactly while a thread is between acquire and release.
 *  F2. OldIrql belongs to the owner.
 */
#include "ke/ki.h"

static LONG_PTR ExpApcDisableCount(KTHREAD *Thread)
{
    return -(LONG_PTR)(Thread->CriticalRegion + Thread->GuardedRegion);
}

static VOID ExpTakeMutex(PFAST_MUTEX Mutex, KTHREAD *Thread, ULONG Kind)
{
    KiTellLockWatch(KiLockWanted, Kind, Mutex, Thread);
    if (__builtin_expect(__atomic_load_n(&Mutex->Owner, __ATOMIC_RELAXED) == Thread, 0)) {
        KiStop(MUTEX_ALREADY_OWNED, "A fast or guarded mutex was acquired by the thread that already owns it: a deadlock.",
               Mutex, (ULONG_PTR)Mutex, (ULONG_PTR)Thread, 0, 0);
    }
    if (__atomic_sub_fetch(&Mutex->Count, 1, __ATOMIC_ACQUIRE) != 0) {
        __atomic_add_fetch(&Mutex->Contention, 1, __ATOMIC_RELAXED);
        KeWaitForSingleObject(&Mutex->Event, WrFastMutex, KernelMode, FALSE, NULL);
    }
    __atomic_store_n(&Mutex->Owner, Thread, __ATOMIC_RELAXED);
    KiTellLockWatch(KiLockTaken, Kind, Mutex, Thread);
}

static BOOLEAN ExpTryTakeMutex(PFAST_MUTEX Mutex, KTHREAD *Thread, ULONG Kind)
{
    LONG Free = 1;

    if (!__atomic_compare_exchange_n(&Mutex->Count, &Free, 0, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return FALSE;
    }
    __atomic_store_n(&Mutex->Owner, Thread, __ATOMIC_RELAXED);
    KiTellLockWatch(KiLockTaken, Kind, Mutex, Thread);
    return TRUE;
}

static VOID ExpDropMutex(PFAST_MUTEX Mutex, KTHREAD *Thread, ULONG Kind)
{
    PVOID Owner = __atomic_load_n(&Mutex->Owner, __ATOMIC_RELAXED);

    if (__builtin_expect(Owner != Thread, 0)) {
        KiTellLockWatch(Owner == NULL ? KiLockReleasedFree : KiLockReleasedByOther, Kind, Mutex, Thread);
        KiStop(THREAD_NOT_MUTEX_OWNER, "A fast or guarded mutex was released by a thread that does not own it.", Mutex,
               (ULONG_PTR)Mutex, (ULONG_PTR)Thread, (ULONG_PTR)Owner, 0);
    }
    KiTellLockWatch(KiLockReleased, Kind, Mutex, Thread);
    __atomic_store_n(&Mutex->Owner, NULL, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&Mutex->Count, 1, __ATOMIC_RELEASE) != 1) {
        KeSetEvent(&Mutex->Event, IO_NO_INCREMENT, FALSE);
    }
}

static VOID ExpCheckApcLevel(PFAST_MUTEX Mutex, KTHREAD *Thread)
{
    if (__builtin_expect(Thread->Irql > APC_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A fast or guarded mutex was acquired above APC_LEVEL.", Mutex, 0x33,
               Thread->Irql, (ULONG_PTR)Mutex, 0);
    }
}

VOID ExInitializeFastMutex(PFAST_MUTEX FastMutex)
{
    KI_CHECK_OBJECT(FastMutex);
    KiTellLockWatch(KiLockInitialized, KiNoLock, FastMutex, NULL);
    __atomic_store_n(&FastMutex->Count, 1, __ATOMIC_RELAXED);
    FastMutex->Owner = NULL;
    FastMutex->Contention = 0;
    KeInitializeEvent(&FastMutex->Event, SynchronizationEvent, FALSE);
    FastMutex->OldIrql = PASSIVE_LEVEL;
}

VOID ExAcquireFastMutex(PFAST_MUTEX FastMutex)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql;

    ExpCheckApcLevel(FastMutex, Thread);
    OldIrql = KfRaiseIrql(APC_LEVEL);
    ExpTakeMutex(FastMutex, Thread, KiFastMutex);
    FastMutex->OldIrql = OldIrql;
}

BOOLEAN ExTryToAcquireFastMutex(PFAST_MUTEX FastMutex)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql;

    ExpCheckApcLevel(FastMutex, Thread);
    OldIrql = KfRaiseIrql(APC_LEVEL);
    if (!ExpTryTakeMutex(FastMutex, Thread, KiFastMutex)) {
        KfLowerIrql(OldIrql);
        return FALSE;
    }
    FastMutex->OldIrql = OldIrql;
    return TRUE;
}

VOID ExReleaseFastMutex(PFAST_MUTEX FastMutex)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql = (KIRQL)FastMutex->OldIrql;

    if (__builtin_expect(Thread->Irql != APC_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A fast mutex was released at another IRQL than APC_LEVEL.", FastMutex, 0x34,
               Thread->Irql, (ULONG_PTR)ExpApcDisableCount(Thread), (ULONG_PTR)FastMutex);
    }
    ExpDropMutex(FastMutex, Thread, KiFastMutex | KI_LOCK_LOWERS(OldIrql));
    KfLowerIrql(OldIrql);
}

static VOID ExpCheckApcsOff(PFAST_MUTEX Mutex, KTHREAD *Thread, ULONG Code)
{
    if (__builtin_expect(KiVerifierFlags() != 0 && Thread->Irql < APC_LEVEL && ExpApcDisableCount(Thread) == 0, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               Code == 0x39 ? "A mutex was acquired with an Unsafe routine while APCs are enabled."
                            : "A mutex was released with an Unsafe routine while APCs are enabled.",
               Mutex, Code, Thread->Irql, (ULONG_PTR)ExpApcDisableCount(Thread), (ULONG_PTR)Mutex);
    }
}

static VOID ExpAcquireUnsafe(PFAST_MUTEX FastMutex, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    ExpCheckApcLevel(FastMutex, Thread);
    ExpCheckApcsOff(FastMutex, Thread, 0x39);
    ExpTakeMutex(FastMutex, Thread, Kind);
}

static VOID ExpReleaseUnsafe(PFAST_MUTEX FastMutex, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    ExpCheckApcsOff(FastMutex, Thread, 0x3A);
    ExpDropMutex(FastMutex, Thread, Kind);
}

VOID ExAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
    ExpAcquireUnsafe(FastMutex, KiFastMutexUnsafe);
}

VOID ExReleaseFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
    ExpReleaseUnsafe(FastMutex, KiFastMutexUnsafe);
}

/* ---- guarded ---- */

VOID KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    KI_CHECK_OBJECT(Mutex);
    ExInitializeFastMutex(Mutex);
}

VOID KeAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    KTHREAD *Thread = KiCurrentThread();

    ExpCheckApcLevel(Mutex, Thread);
    KeEnterGuardedRegion();
    ExpTakeMutex(Mutex, Thread, KiGuardedMutex);
}

VOID KeReleaseGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    ExpDropMutex(Mutex, KiCurrentThread(), KiGuardedMutex);
    KeLeaveGuardedRegion();
}

BOOLEAN KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
{
    KTHREAD *Thread = KiCurrentThread();

    ExpCheckApcLevel(Mutex, Thread);
    KeEnterGuardedRegion();
    if (!ExpTryTakeMutex(Mutex, Thread, KiGuardedMutex)) {
        KeLeaveGuardedRegion();
        return FALSE;
    }
    return TRUE;
}

VOID KeAcquireGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex)
{
    ExpAcquireUnsafe(Mutex, KiGuardedMutexUnsafe);
}

VOID KeReleaseGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex)
{
    ExpReleaseUnsafe(Mutex, KiGuardedMutexUnsafe);
}
