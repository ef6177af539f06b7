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
 * Raising to a lower level and lowering to a higher one are errors that Windows reports only under Driver Verifier; here
 * they always stop, with the Verifier's code, 0xC4/0x30 and 0xC4/0x31: a driver that does either has no defined IRQL.
 *
 * Invariants
 *  I1. Thread->Irql >= DISPATCH_LEVEL if and only if the thread owns Thread->Prcb (P1).
 *  I2. No processor is given back with DPCs in its queue unless someone is there to run them: KiReleaseProcessor is
 *      followed by a look at the queue, and an insertion by a look at the owner (dpc.c, D3).
 *  I3. Inside a DPC the IRQL does not go below DISPATCH_LEVEL (0xC4/0x31, third parameter 1).
 */
#include "ke/kip.h"

#undef KeGetCurrentIrql
KIRQL KeGetCurrentIrql(VOID)
{
    return KiCurrentThread()->Irql;
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
        if (__builtin_expect(__atomic_load_n(&Prcb->DpcDepth, __ATOMIC_SEQ_CST) == 0, 1)) {
            return;
        }
        if (!KiTryAcquireProcessor(Thread, Prcb)) {
            return; /* whoever took it will look */
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
}
