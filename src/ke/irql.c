/*
 * irql.c - a thread's IRQL: raising and lowering it. SPDX-License-Identifier: MIT
 *
 * Implements KeGetCurrentIrql, KeRaiseIrql, KfRaiseIrql, KeRaiseIrqlToDpcLevel, KeRaiseIrqlToSynchLevel, KeLowerIrql,
 * KfLowerIrql. The IRQL is a byte of the thread that is tested where Windows tests cr8; nothing is masked, since no
 * interrupt arrives in a thread that did not ask for one.
 *
 *      PASSIVE, APC  --- raise: takes a processor (processor.c) ---------------------------------> DISPATCH and above
 *      PASSIVE, APC  <-- lower: runs the processor's DPCs at DISPATCH_LEVEL, gives the processor back --- DISPATCH...
 *
 * Force IRQL checking (Driver Verifier's option 0x2). Windows trims the system's pageable memory whenever a verified driver raises to
 * DISPATCH_LEVEL or above or takes a spin lock, so that a touch of it there faults even if it was resident. Here the thread that
 * raises denies itself translations of pageable pages, until it lowers, and revokes those that the machine has cached: then its touch
 * is a fault, which mm answers with 0xA or 0xD1 since the IRQL is raised. The pages stay where they are, other threads (and this one
 * below DISPATCH_LEVEL again) get their translations back without the core, and the cost is that of the pages touched since the last
 * raise. What another thread below DISPATCH_LEVEL touches in the meantime is visible to all, as on Windows.
 *
 * Raising to a lower level and lowering to a higher one are errors that Windows reports only under Driver Verifier; here
 * they always stop, with the Verifier's code, 0xC4/0x30 and 0xC4/0x31: a driver that does either has no defined IRQL.
 *
 * Invariants
 *  I1. Thread->Irql >= DISPATCH_LEVEL if and only if the thread owns Thread->Prcb (P1).
 *  I2. No processor is given back with DPCs in its queue unless someone is there to run them: KiReleaseProcessor is
 *      followed by a look at the queue, and an insertion by a look at the owner (dpc.c, D3).
 *  I4. A thread denies revocable translations only at DISPATCH_LEVEL and above, and always there while the checking is on since
 *      it raised; while the system stops, callbacks and the report see all there is.
 *  I3. Inside a DPC the IRQL does not go below DISPATCH_LEVEL (0xC4/0x31, third parameter 1).
 */
#include "ke/kip.h"

#undef KeGetCurrentIrql
KIRQL KeGetCurrentIrql(VOID)
{
    return KiCurrentThread()->Irql;
}

volatile LONG KiIrqlWatch;
KI_LOCK_WATCH *KiLockWatch;
BOOLEAN (*KiIsWatchedCaller)(VOID);
KI_TRIM_COUNTERS KiTrims;

static VOID KipWatch(LONG Bit, BOOLEAN On)
{
    if (On) {
        __atomic_fetch_or(&KiIrqlWatch, Bit, __ATOMIC_ACQ_REL);
    } else {
        __atomic_fetch_and(&KiIrqlWatch, ~Bit, __ATOMIC_ACQ_REL);
    }
}
VOID KiSetForceIrqlChecking(BOOLEAN On)
{
    KipWatch(KI_WATCH_DENY, On);
}
VOID KiCountIrqls(BOOLEAN On)
{
    KipWatch(KI_WATCH_COUNT, On);
}

VOID KiSetLockWatch(KI_LOCK_WATCH *Watch)
{
    if (Watch != NULL) { /* once set it stays: a lock may have seen the bit and be about to call it */
        __atomic_store_n(&KiLockWatch, Watch, __ATOMIC_RELEASE);
    }
    KipWatch(KI_WATCH_LOCKS, Watch != NULL);
}

VOID KiWatchedRaise(VOID)
{
    LONG Watch = __atomic_load_n(&KiIrqlWatch, __ATOMIC_RELAXED);
    if (!(Watch & (KI_WATCH_COUNT | KI_WATCH_DENY)) || !KiIsWatched()) {
        return;
    }
    if (Watch & KI_WATCH_COUNT) {
        __atomic_fetch_add(&KiTrims.Raises, 1, __ATOMIC_RELAXED);
    }
    if (!(Watch & KI_WATCH_DENY)) {
        return;
    }
    HalDenyRevocable(TRUE);
    ULONG64 Pages = HalRevokeTb();
    __atomic_fetch_add(&KiTrims.Requests, 1, __ATOMIC_RELAXED);
    if (Pages) {
        __atomic_fetch_add(&KiTrims.Trims, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&KiTrims.Pages, Pages, __ATOMIC_RELAXED);
    }
}

KIRQL KfRaiseIrql(KIRQL NewIrql)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql = Thread->Irql;

    if (__builtin_expect(NewIrql < OldIrql || NewIrql > HIGH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               NewIrql > HIGH_LEVEL ? "KeRaiseIrql was asked for a level above HIGH_LEVEL."
                                    : "KeRaiseIrql was asked for a level below the current IRQL.",
               NULL, 0x30, OldIrql, NewIrql, 0);
    }
    if (NewIrql >= DISPATCH_LEVEL && OldIrql < DISPATCH_LEVEL) {
        KiAcquireProcessor(Thread);
        KiCheckedRaise();
    }
    Thread->Irql = NewIrql;
    return OldIrql;
}

VOID KfLowerIrql(KIRQL NewIrql)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL OldIrql = Thread->Irql;
    PKPRCB Prcb;

    if (__builtin_expect(NewIrql > OldIrql, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "KeLowerIrql was asked for a level above the current IRQL.", NULL, 0x31,
               OldIrql, NewIrql, 0);
    }
    if (NewIrql >= DISPATCH_LEVEL || OldIrql < DISPATCH_LEVEL) {
        Thread->Irql = NewIrql;
        return;
    }
    Prcb = Thread->Prcb;
    if (__builtin_expect(Prcb->DpcActive, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A DPC routine lowered the IRQL below DISPATCH_LEVEL.", NULL, 0x31, OldIrql,
               NewIrql, 1);
    }
    for (;;) {
        if (__atomic_load_n(&Prcb->DpcDepth, __ATOMIC_RELAXED) != 0) {
            Thread->Irql = DISPATCH_LEVEL;
            KiRetireDpcList(Thread);
        }
        Thread->Irql = NewIrql;
        KiReleaseProcessor(Thread);
        /* I2: a DPC put in the queue since the look above saw an owner and woke nobody. */
        if (__builtin_expect(__atomic_load_n(&Prcb->DpcDepth, __ATOMIC_SEQ_CST) == 0, 1) ||
            !KiTryAcquireProcessor(Thread, Prcb)) { /* whoever took it will look */
            HalDenyRevocable(FALSE);
            return;
        }
    }
}

#undef KeLowerIrql
VOID KeLowerIrql(KIRQL NewIrql)
{
    KfLowerIrql(NewIrql);
}

#undef KeRaiseIrql
VOID KeRaiseIrql(KIRQL NewIrql, PKIRQL OldIrql)
{
    *OldIrql = KfRaiseIrql(NewIrql);
}

KIRQL KeRaiseIrqlToDpcLevel(VOID)
{
    return KfRaiseIrql(DISPATCH_LEVEL);
}

KIRQL KeRaiseIrqlToSynchLevel(VOID)
{
    return KfRaiseIrql(DISPATCH_LEVEL);
}

VOID KiRestoreIrql(KIRQL Irql)
{
    KTHREAD *Thread = KiCurrentThread();

    if (Thread->Irql >= DISPATCH_LEVEL) {
        if (Thread->Prcb->DpcActive && Irql < DISPATCH_LEVEL) {
            KiEndDpc(Thread->Prcb);
        }
        KfLowerIrql(Irql < DISPATCH_LEVEL ? Irql : DISPATCH_LEVEL);
    }
    if (Thread->Irql < Irql) {
        KfRaiseIrql(Irql);
    }
    Thread->Irql = Irql;
    if (Irql >= DISPATCH_LEVEL) {
        KiCheckedRaise();
    }
}
