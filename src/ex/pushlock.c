/*
 * pushlock.c - push locks: reader/writer locks of one word. SPDX-License-Identifier: MIT
 *
 * Implements ExInitializePushLock, ExAcquirePushLockExclusive/Shared(Ex), ExReleasePushLockExclusive/Shared(Ex). The word may lie in
 * pageable memory; waiters sleep on their parking place (ki.h), so nobody waits on the word itself.
 *
 *      63                    4 3 2 1 0
 *      +----------------------+-------+     0 free
 *      | owner >> 4 or sharers|  S I X|     X held exclusive, by the thread whose address the upper bits are
 *      +----------------------+-------+     S held shared, by that many;  I a thread waits for exclusive: no new sharers
 *
 * A thread that acquires a push lock which it holds exclusive would wait for itself; it is stopped with
 * MUTEX_ALREADY_OWNED (0xBF). Releasing what is not held so is THREAD_NOT_MUTEX_OWNER (0x11). At DISPATCH_LEVEL and above
 * the acquire is 0xC4/0xE5.
 *
 * Invariants: H1. X and S are never both set. H2. The upper bits are 0 exactly if neither is.
 */
#include "ke/ki.h"

#define EXP_PUSH_EXCLUSIVE ((ULONG_PTR)1)
#define EXP_PUSH_INTENT    ((ULONG_PTR)2)
#define EXP_PUSH_SHARED    ((ULONG_PTR)4)
#define EXP_PUSH_ONE       ((ULONG_PTR)16)
#define EXP_PUSH_FLAGS     ((ULONG_PTR)15)

static BOOLEAN ExpTryPushExclusive(PEX_PUSH_LOCK PushLock, KTHREAD *Thread)
{
    ULONG_PTR Old = __atomic_load_n(PushLock, __ATOMIC_RELAXED);

    while ((Old & ~EXP_PUSH_INTENT) == 0) {
        if (__atomic_compare_exchange_n(PushLock, &Old, (ULONG_PTR)Thread | EXP_PUSH_EXCLUSIVE, FALSE, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
            return TRUE;
        }
    }
    return FALSE;
}

static BOOLEAN ExpTryPushShared(PEX_PUSH_LOCK PushLock)
{
    ULONG_PTR Old = __atomic_load_n(PushLock, __ATOMIC_RELAXED);

    while ((Old & (EXP_PUSH_EXCLUSIVE | EXP_PUSH_INTENT)) == 0) {
        if (__atomic_compare_exchange_n(PushLock, &Old, (Old | EXP_PUSH_SHARED) + EXP_PUSH_ONE, FALSE, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
            return TRUE;
        }
    }
    return FALSE;
}

static VOID ExpWaitPushLock(PEX_PUSH_LOCK PushLock, KTHREAD *Thread, BOOLEAN Exclusive)
{
    KI_PARKING *Place = KiParkingOf(PushLock);
    ULONG_PTR Found = __atomic_load_n(PushLock, __ATOMIC_RELAXED);
    BOOLEAN Taken = FALSE;

    if ((Found & EXP_PUSH_EXCLUSIVE) != 0 && (Found & ~EXP_PUSH_FLAGS) == (ULONG_PTR)Thread) {
        KiStop(MUTEX_ALREADY_OWNED, "A push lock was acquired by the thread that already holds it exclusive: a deadlock.",
               PushLock, (ULONG_PTR)PushLock, (ULONG_PTR)Thread, 0, 0);
    }
    __atomic_add_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
    do {
        LONG Seen = __atomic_load_n(&Place->Sequence, __ATOMIC_SEQ_CST);

        if (Exclusive) {
            Taken = ExpTryPushExclusive(PushLock, Thread);
            if (!Taken) {
                __atomic_or_fetch(PushLock, EXP_PUSH_INTENT, __ATOMIC_SEQ_CST);
                Taken = ExpTryPushExclusive(PushLock, Thread);
            }
        } else {
            Taken = ExpTryPushShared(PushLock);
        }
        if (!Taken) {
            KiBlock(&Place->Sequence, Seen, HAL_FOREVER);
        }
    } while (!Taken);
    __atomic_sub_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
}

static VOID ExpCheckPushIrql(PEX_PUSH_LOCK PushLock, KTHREAD *Thread)
{
    if (__builtin_expect(Thread->Irql > APC_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A push lock was acquired above APC_LEVEL.", PushLock, 0xE5, Thread->Irql, 0,
               0);
    }
}

VOID ExInitializePushLock(PEX_PUSH_LOCK PushLock)
{
    KiTellLockWatch(KiLockInitialized, KiNoLock, PushLock, NULL);
    __atomic_store_n(PushLock, 0, __ATOMIC_RELEASE);
}

VOID ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    KTHREAD *Thread = KiCurrentThread();

    UNREFERENCED_PARAMETER(Flags);
    ExpCheckPushIrql(PushLock, Thread);
    KiTellLockWatch(KiLockWanted, KiPushLock, PushLock, Thread);
    if (!ExpTryPushExclusive(PushLock, Thread)) {
        ExpWaitPushLock(PushLock, Thread, TRUE);
    }
    KiTellLockWatch(KiLockTaken, KiPushLock, PushLock, Thread);
}

VOID ExAcquirePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    KTHREAD *Thread = KiCurrentThread();

    UNREFERENCED_PARAMETER(Flags);
    ExpCheckPushIrql(PushLock, Thread);
    KiTellLockWatch(KiLockWanted, KiPushLock | KI_LOCK_SHARED, PushLock, Thread);
    if (!ExpTryPushShared(PushLock)) {
        ExpWaitPushLock(PushLock, Thread, FALSE);
    }
    KiTellLockWatch(KiLockTaken, KiPushLock | KI_LOCK_SHARED, PushLock, Thread);
}

VOID ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    KTHREAD *Thread = KiCurrentThread();
    ULONG_PTR Old = __atomic_load_n(PushLock, __ATOMIC_RELAXED);

    UNREFERENCED_PARAMETER(Flags);
    if ((Old & EXP_PUSH_EXCLUSIVE) == 0 || (Old & ~EXP_PUSH_FLAGS) != (ULONG_PTR)Thread) {
        KiTellLockWatch((Old & ~EXP_PUSH_INTENT) == 0 ? KiLockReleasedFree : KiLockReleasedByOther, KiPushLock, PushLock,
                        Thread);
        KiStop(THREAD_NOT_MUTEX_OWNER, "A push lock was released exclusive by a thread that does not hold it so.", PushLock,
               (ULONG_PTR)PushLock, (ULONG_PTR)Thread, Old & ~EXP_PUSH_FLAGS, 0);
    }
    KiTellLockWatch(KiLockReleased, KiPushLock, PushLock, Thread);
    __atomic_and_fetch(PushLock, EXP_PUSH_INTENT, __ATOMIC_SEQ_CST);
    KiUnpark(PushLock);
}

VOID ExReleasePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags)
{
    ULONG_PTR Old = __atomic_load_n(PushLock, __ATOMIC_RELAXED);
    ULONG_PTR New;

    UNREFERENCED_PARAMETER(Flags);
    KiTellLockWatch((Old & ~EXP_PUSH_INTENT) == 0 ? KiLockReleasedFree : KiLockReleased, KiPushLock | KI_LOCK_SHARED, PushLock,
                    KiCurrentThread());
    do {
        if ((Old & EXP_PUSH_SHARED) == 0) {
            KiStop(THREAD_NOT_MUTEX_OWNER, "A push lock was released shared that is not held shared.", PushLock,
                   (ULONG_PTR)PushLock, (ULONG_PTR)KiCurrentThread(), Old & ~EXP_PUSH_FLAGS, 0);
        }
        New = Old - EXP_PUSH_ONE;
        if (New < EXP_PUSH_ONE) {
            New &= ~EXP_PUSH_SHARED;
        }
    } while (!__atomic_compare_exchange_n(PushLock, &Old, New, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    if (New < EXP_PUSH_ONE) {
        KiUnpark(PushLock);
    }
}
