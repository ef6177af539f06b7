/*
 * spinlock.c - executive spin locks, plain and in-stack queued. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeSpinLock, KeAcquireSpinLock(RaiseToDpc), KeReleaseSpinLock, the AtDpcLevel/FromDpcLevel, ForDpc
 * and TryTo forms, KeTestSpinLock, KeAcquireInStackQueuedSpinLock and its kin, KeAcquireInterruptSpinLock excepted.
 *
 * A KSPIN_LOCK is eight bytes that the driver places and zero means free, as on Windows; a held one says who holds it:
 *
 *      63            32 31           1 0
 *      +---------------+-------------+-+
 *      | owner's id    |      0      |1|
 *      +---------------+-------------+-+
 *
 * so that the two sins that hang a real machine are named instead: acquiring a lock that this thread already holds is
 * SPIN_LOCK_ALREADY_OWNED (0x0F, lock, owner), releasing one that it does not hold SPIN_LOCK_NOT_OWNED (0x10, lock, owner).
 * The IRQL rules are the Verifier's 0xC4: 0x40, 0x41 (AtDpcLevel forms below DISPATCH_LEVEL), 0x42 (acquire above
 * DISPATCH_LEVEL), 0x32 (release below it); they always hold here.
 *
 * A waiter spins for about as long as a short critical section and then sleeps on its parking place (kip.h): the owner
 * may be a thread that the host has suspended. In-stack queued locks use the same word; the queue handle only carries
 * the lock and the old IRQL, so waiters are not served strictly in order (docs/CAVEATS.md).
 *
 * Invariants
 *  S1. A held lock's owner is at DISPATCH_LEVEL or above and owns a processor.
 *  S2. Thread->SpinLocksHeld counts the spin locks a thread holds (EX_SPIN_LOCKs too).
 *  S3. A waiter counts itself at its parking place before its last look at the word; a release stores the word before it
 *      looks at the count.
 *
 * Watch: tests/unit/ke_spinlock_test.c, tests/misuse/spinlock_misuse.c; gdb: the high half of the word is KTHREAD.Id.
 */
#include "ke/kip.h"

#define KI_SPIN_COUNT 400

KI_PARKING KiParking[KI_PARKING_PLACES];

static inline ULONG64 KipHeldBy(const KTHREAD *Thread)
{
    return ((ULONG64)(ULONG)Thread->Id << 32) | 1;
}

static DECLSPEC_NOINLINE VOID KipWaitForSpinLock(PKSPIN_LOCK SpinLock, ULONG64 Mine)
{
    KI_PARKING *Place = KiParkingOf(SpinLock);
    ULONG64 Found = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
    BOOLEAN Taken = FALSE;

    if (Found == Mine) {
        KiStop(SPIN_LOCK_ALREADY_OWNED, "A spin lock was acquired by the thread that already holds it: a deadlock.", SpinLock,
               (ULONG_PTR)SpinLock, (ULONG_PTR)KiCurrentThread(), 0, 0);
    }
    if (HalFacts.HostProcessors > 1) {
        for (ULONG Spin = 0; Spin < KI_SPIN_COUNT; Spin += 1) {
            HalPause();
            Found = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);
            if (Found == 0 && __atomic_compare_exchange_n(SpinLock, &Found, Mine, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
                return;
            }
        }
    }
    __atomic_add_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
    do {
        LONG Seen = __atomic_load_n(&Place->Sequence, __ATOMIC_SEQ_CST);

        Found = 0;
        Taken = __atomic_compare_exchange_n(SpinLock, &Found, Mine, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        if (!Taken) {
            HalWait(&Place->Sequence, Seen, HAL_FOREVER);
        }
    } while (!Taken);
    __atomic_sub_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
}

static inline VOID KipTakeSpinLock(KTHREAD *Thread, PKSPIN_LOCK SpinLock, ULONG Kind)
{
    ULONG64 Found = 0;
    ULONG64 Mine = KipHeldBy(Thread);

    KiTellLockWatch(KiLockWanted, Kind, SpinLock, Thread);
    if (!__builtin_expect(__atomic_compare_exchange_n(SpinLock, &Found, Mine, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED), 1)) {
        KipWaitForSpinLock(SpinLock, Mine);
    }
    Thread->SpinLocksHeld += 1;
    KiTellLockWatch(KiLockTaken, Kind, SpinLock, Thread);
}

static inline VOID KipDropSpinLock(KTHREAD *Thread, PKSPIN_LOCK SpinLock, ULONG Kind)
{
    ULONG64 Found = __atomic_load_n(SpinLock, __ATOMIC_RELAXED);

    if (__builtin_expect(Found != KipHeldBy(Thread), 0)) {
        KiTellLockWatch(Found == 0 ? KiLockReleasedFree : KiLockReleasedByOther, Kind, SpinLock, Thread);
        KiStop(SPIN_LOCK_NOT_OWNED, "A spin lock was released by a thread that does not hold it.", SpinLock,
               (ULONG_PTR)SpinLock, (ULONG_PTR)Thread, 0, 0);
    }
    Thread->SpinLocksHeld -= 1;
    KiTellLockWatch(KiLockReleased, Kind, SpinLock, Thread);
    __atomic_store_n(SpinLock, 0, __ATOMIC_SEQ_CST);
    KiUnpark(SpinLock);
}

static inline VOID KipCheckAtDpcLevel(KTHREAD *Thread, const volatile VOID *SpinLock, ULONG Code)
{
    if (__builtin_expect(Thread->Irql < DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               Code == 0x40 ? "A spin lock was acquired with an AtDpcLevel routine below DISPATCH_LEVEL."
                            : "A spin lock was released with a FromDpcLevel routine below DISPATCH_LEVEL.",
               (const VOID *)SpinLock, Code, Thread->Irql, (ULONG_PTR)SpinLock, 0);
    }
}

static inline KIRQL KipRaiseForSpinLock(KTHREAD *Thread, const volatile VOID *SpinLock)
{
    if (__builtin_expect(Thread->Irql > DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A spin lock was acquired above DISPATCH_LEVEL.", (const VOID *)SpinLock,
               0x42, Thread->Irql, (ULONG_PTR)SpinLock, 0);
    }
    if (__builtin_expect(__atomic_load_n(&KiIrqlWatch, __ATOMIC_RELAXED) & KI_WATCH_COUNT, 0) && KiIsWatched()) {
        __atomic_fetch_add(&KiTrims.SpinLocks, 1, __ATOMIC_RELAXED);
        if (Thread->Irql < DISPATCH_LEVEL) { /* the raise below is the lock's */
            __atomic_fetch_sub(&KiTrims.Raises, 1, __ATOMIC_RELAXED);
        }
    }
    return KfRaiseIrql(DISPATCH_LEVEL);
}

static inline VOID KipLowerForSpinLock(KTHREAD *Thread, KIRQL NewIrql, const volatile VOID *SpinLock)
{
    if (__builtin_expect(NewIrql > Thread->Irql, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A spin lock was released to an IRQL above the current one.",
               (const VOID *)SpinLock, 0x31, Thread->Irql, NewIrql, 0);
    }
    KfLowerIrql(NewIrql);
}

#undef KeInitializeSpinLock
VOID KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
    KI_CHECK_OBJECT(SpinLock);
    KiTellLockWatch(KiLockInitialized, KiNoLock, SpinLock, NULL);
    __atomic_store_n(SpinLock, 0, __ATOMIC_RELEASE);
}

#undef KeTestSpinLock
BOOLEAN KeTestSpinLock(PKSPIN_LOCK SpinLock)
{
    return __atomic_load_n(SpinLock, __ATOMIC_ACQUIRE) == 0;
}

static inline KIRQL KipAcquireSpinLock(PKSPIN_LOCK SpinLock, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql = KipRaiseForSpinLock(Thread, SpinLock);

    KipTakeSpinLock(Thread, SpinLock, Kind);
    return OldIrql;
}

static inline VOID KipAcquireSpinLockAtDpc(PKSPIN_LOCK SpinLock, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x40);
    KipTakeSpinLock(Thread, SpinLock, Kind);
}

static inline VOID KipReleaseSpinLockFromDpc(PKSPIN_LOCK SpinLock, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x41);
    KipDropSpinLock(Thread, SpinLock, Kind);
}

static inline VOID KipReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    if (__builtin_expect(Thread->Irql < DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               "A spin lock was released below DISPATCH_LEVEL (released twice, or never acquired).", SpinLock, 0x32,
               Thread->Irql, (ULONG_PTR)SpinLock, 0);
    }
    KipDropSpinLock(Thread, SpinLock, Kind | KI_LOCK_LOWERS(NewIrql));
    KipLowerForSpinLock(Thread, NewIrql, SpinLock);
}

KIRQL KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock)
{
    return KipAcquireSpinLock(SpinLock, KiSpinLock);
}

#undef KeAcquireSpinLock
VOID KeAcquireSpinLock(PKSPIN_LOCK SpinLock, PKIRQL OldIrql)
{
    *OldIrql = KeAcquireSpinLockRaiseToDpc(SpinLock);
}

VOID KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
    KipReleaseSpinLock(SpinLock, NewIrql, KiSpinLock);
}

VOID KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    KipAcquireSpinLockAtDpc(SpinLock, KiSpinLock);
}

VOID KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock)
{
    KipReleaseSpinLockFromDpc(SpinLock, KiSpinLock);
}

BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
    KTHREAD *Thread = KiCurrentThread();
    ULONG64 Found = 0;

    KipCheckAtDpcLevel(Thread, SpinLock, 0x40);
    if (!__atomic_compare_exchange_n(SpinLock, &Found, KipHeldBy(Thread), FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return FALSE;
    }
    Thread->SpinLocksHeld += 1;
    KiTellLockWatch(KiLockTaken, KiSpinLock, SpinLock, Thread);
    return TRUE;
}

KIRQL KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock)
{
    return KeAcquireSpinLockRaiseToDpc(SpinLock);
}

VOID KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KeReleaseSpinLock(SpinLock, OldIrql);
}

KIRQL KiAcquireListLock(PKSPIN_LOCK SpinLock)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql = KfRaiseIrql(HIGH_LEVEL);

    KipTakeSpinLock(Thread, SpinLock, KiSpinLock);
    return OldIrql;
}

VOID KiReleaseListLock(PKSPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KipDropSpinLock(KiCurrentThread(), SpinLock, KiSpinLock);
    KfLowerIrql(OldIrql);
}

/* ---- in-stack queued ---- */

VOID KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    LockHandle->LockQueue.Next = NULL;
    LockHandle->LockQueue.Lock = SpinLock;
    KipAcquireSpinLockAtDpc(SpinLock, KiQueuedSpinLock);
}

VOID KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle)
{
    KipReleaseSpinLockFromDpc((PKSPIN_LOCK)LockHandle->LockQueue.Lock, KiQueuedSpinLock);
}

VOID KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    LockHandle->LockQueue.Next = NULL;
    LockHandle->LockQueue.Lock = SpinLock;
    LockHandle->OldIrql = KipAcquireSpinLock(SpinLock, KiQueuedSpinLock);
}

VOID KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle)
{
    KipReleaseSpinLock((PKSPIN_LOCK)LockHandle->LockQueue.Lock, LockHandle->OldIrql, KiQueuedSpinLock);
}

VOID KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
    KeAcquireInStackQueuedSpinLock(SpinLock, LockHandle);
}

VOID KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle)
{
    KeReleaseInStackQueuedSpinLock(LockHandle);
}

/* ---- shared and exclusive ----
 * An EX_SPIN_LOCK is a LONG: bit 31 exclusive, bit 30 somebody waits for exclusive (which keeps new sharers out), the
 * rest counts sharers. Owners are not recorded, so misuse beyond a release of a free lock is not seen. */

#define KI_EXCLUSIVE ((ULONG)0x80000000)
#define KI_INTENT    ((ULONG)0x40000000)
#define KI_SHARERS   (KI_INTENT - 1)

static BOOLEAN KipTryExclusive(volatile LONG *SpinLock)
{
    ULONG Old = (ULONG)__atomic_load_n(SpinLock, __ATOMIC_RELAXED);

    while ((Old & ~KI_INTENT) == 0) {
        LONG Expected = (LONG)Old;

        if (__atomic_compare_exchange_n(SpinLock, &Expected, (LONG)KI_EXCLUSIVE, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            return TRUE;
        }
        Old = (ULONG)Expected;
    }
    return FALSE;
}

static BOOLEAN KipTryShared(volatile LONG *SpinLock)
{
    ULONG Old = (ULONG)__atomic_load_n(SpinLock, __ATOMIC_RELAXED);

    while ((Old & (KI_EXCLUSIVE | KI_INTENT)) == 0) {
        LONG Expected = (LONG)Old;

        if (__atomic_compare_exchange_n(SpinLock, &Expected, (LONG)(Old + 1), FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            return TRUE;
        }
        Old = (ULONG)Expected;
    }
    return FALSE;
}

static VOID KipWaitExSpinLock(volatile LONG *SpinLock, BOOLEAN Exclusive)
{
    KI_PARKING *Place = KiParkingOf(SpinLock);
    BOOLEAN Taken = FALSE;

    if (HalFacts.HostProcessors > 1) {
        for (ULONG Spin = 0; Spin < KI_SPIN_COUNT; Spin += 1) {
            HalPause();
            if (Exclusive ? KipTryExclusive(SpinLock) : KipTryShared(SpinLock)) {
                return;
            }
        }
    }
    __atomic_add_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
    do {
        LONG Seen = __atomic_load_n(&Place->Sequence, __ATOMIC_SEQ_CST);

        if (Exclusive) {
            __atomic_or_fetch(SpinLock, (LONG)KI_INTENT, __ATOMIC_SEQ_CST);
            Taken = KipTryExclusive(SpinLock);
        } else {
            Taken = KipTryShared(SpinLock);
        }
        if (!Taken) {
            HalWait(&Place->Sequence, Seen, HAL_FOREVER);
        }
    } while (!Taken);
    __atomic_sub_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
}

VOID ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x40);
    KiTellLockWatch(KiLockWanted, KiExSpinLock, SpinLock, Thread);
    if (!KipTryExclusive(SpinLock)) {
        KipWaitExSpinLock(SpinLock, TRUE);
    }
    Thread->SpinLocksHeld += 1;
    KiTellLockWatch(KiLockTaken, KiExSpinLock, SpinLock, Thread);
}

VOID ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x40);
    KiTellLockWatch(KiLockWanted, KiExSpinLock | KI_LOCK_SHARED, SpinLock, Thread);
    if (!KipTryShared(SpinLock)) {
        KipWaitExSpinLock(SpinLock, FALSE);
    }
    Thread->SpinLocksHeld += 1;
    KiTellLockWatch(KiLockTaken, KiExSpinLock | KI_LOCK_SHARED, SpinLock, Thread);
}

KIRQL ExAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    KIRQL OldIrql = KipRaiseForSpinLock(KiCurrentThread(), SpinLock);

    ExAcquireSpinLockExclusiveAtDpcLevel(SpinLock);
    return OldIrql;
}

KIRQL ExAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
    KIRQL OldIrql = KipRaiseForSpinLock(KiCurrentThread(), SpinLock);

    ExAcquireSpinLockSharedAtDpcLevel(SpinLock);
    return OldIrql;
}

BOOLEAN ExTryAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x40);
    if (!KipTryExclusive(SpinLock)) {
        return FALSE;
    }
    Thread->SpinLocksHeld += 1;
    KiTellLockWatch(KiLockTaken, KiExSpinLock, SpinLock, Thread);
    return TRUE;
}

BOOLEAN ExTryAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x40);
    if (!KipTryShared(SpinLock)) {
        return FALSE;
    }
    Thread->SpinLocksHeld += 1;
    KiTellLockWatch(KiLockTaken, KiExSpinLock | KI_LOCK_SHARED, SpinLock, Thread);
    return TRUE;
}

static inline VOID KipReleaseExclusive(PEX_SPIN_LOCK SpinLock, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x41);
    if (((ULONG)__atomic_load_n(SpinLock, __ATOMIC_RELAXED) & KI_EXCLUSIVE) == 0) {
        KiTellLockWatch(KiLockReleasedFree, Kind, SpinLock, Thread);
        KiStop(SPIN_LOCK_NOT_OWNED, "A spin lock that is not held exclusive was released as exclusive.", (const VOID *)SpinLock,
               (ULONG_PTR)SpinLock, (ULONG_PTR)Thread, 0, 0);
    }
    KiTellLockWatch(KiLockReleased, Kind, SpinLock, Thread);
    Thread->SpinLocksHeld -= 1;
    __atomic_and_fetch(SpinLock, (LONG)~KI_EXCLUSIVE, __ATOMIC_SEQ_CST);
    KiUnpark(SpinLock);
}

VOID ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KipReleaseExclusive(SpinLock, KiExSpinLock);
}

static inline VOID KipReleaseShared(PEX_SPIN_LOCK SpinLock, ULONG Kind)
{
    KTHREAD *Thread = KiCurrentThread();

    KipCheckAtDpcLevel(Thread, SpinLock, 0x41);
    if (((ULONG)__atomic_load_n(SpinLock, __ATOMIC_RELAXED) & KI_SHARERS) == 0) {
        KiTellLockWatch(KiLockReleasedFree, Kind, SpinLock, Thread);
        KiStop(SPIN_LOCK_NOT_OWNED, "A spin lock that is not held shared was released as shared.", (const VOID *)SpinLock,
               (ULONG_PTR)SpinLock, (ULONG_PTR)Thread, 0, 0);
    }
    KiTellLockWatch(KiLockReleased, Kind, SpinLock, Thread);
    Thread->SpinLocksHeld -= 1;
    __atomic_sub_fetch(SpinLock, 1, __ATOMIC_SEQ_CST);
    KiUnpark(SpinLock);
}

VOID ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
    KipReleaseShared(SpinLock, KiExSpinLock | KI_LOCK_SHARED);
}

VOID ExReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KipReleaseExclusive(SpinLock, KiExSpinLock | KI_LOCK_LOWERS(OldIrql));
    KipLowerForSpinLock(KiCurrentThread(), OldIrql, SpinLock);
}

VOID ExReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
    KipReleaseShared(SpinLock, KiExSpinLock | KI_LOCK_SHARED | KI_LOCK_LOWERS(OldIrql));
    KipLowerForSpinLock(KiCurrentThread(), OldIrql, SpinLock);
}

LOGICAL ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
    ULONG Old = (ULONG)__atomic_load_n(SpinLock, __ATOMIC_RELAXED);

    /* Documented: succeeds only if the caller is the one sharer. */
    while ((Old & KI_SHARERS) == 1 && (Old & KI_EXCLUSIVE) == 0) {
        LONG Expected = (LONG)Old;

        if (__atomic_compare_exchange_n(SpinLock, &Expected, (LONG)KI_EXCLUSIVE, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            return TRUE;
        }
        Old = (ULONG)Expected;
    }
    return FALSE;
}
