/*
 * processor.c - the virtual processors and who runs on them. SPDX-License-Identifier: MIT
 *
 * Owns KiProcessors. cpus= virtual processors stand for the machine's. Below DISPATCH_LEVEL any number of threads run at
 * once, as the host pleases: the documents promise a driver nothing about processors there. A thread that raises to
 * DISPATCH_LEVEL takes a processor for itself and keeps it until it lowers, so at most cpus= threads are at or above
 * DISPATCH_LEVEL, each on its own, and what is kept per processor needs no lock at that level.
 *
 *      Owner: 0 ---- KiTryAcquireProcessor ----> thread id ---- KiReleaseProcessor ----> 0
 *
 * A thread prefers the processor that it had last (its caches, and KeGetCurrentProcessorNumber stays put). When all are
 * taken it spins a little and then sleeps on KiProcessorFreed, a counter that every release advances while anyone waits.
 *
 * Invariants
 *  P1. A thread owns at most one processor; it owns one exactly while its IRQL is DISPATCH_LEVEL or above, except on the
 *      way up and down in irql.c, and while a DPC thread is between taking its processor and raising.
 *  P2. Owner != 0 implies CurrentThread is that thread.
 *  P3. A waiter counts itself in KiProcessorWaiters before it looks a last time; a release stores Owner before it looks
 *      at the count. Both are sequentially consistent, so one of them sees the other.
 *  P4. A thread whose affinity is set runs only on processors in it (thread.c).
 *
 * Watch: tests/unit/ke_irql_test.c, tests/stress/ke_stress_test.c.
 */
#include "ke/kip.h"

#define KI_PROCESSOR_SPINS 200

KPRCB KiProcessors[KI_MAX_PROCESSORS];
ULONG KiProcessorCount = 1;
KE_OPTIONS KeOptions;
BOOLEAN (*KiVerifiesRoutine)(ULONG Flags, ULONG_PTR Caller);
const KI_SECURITY_CHECKS *KiSecurityChecks;
VOID (*KiCheckObjectRoutine)(const VOID *Object, ULONG_PTR Caller);

static volatile LONG KiProcessorFreed;
static volatile LONG KiProcessorWaiters;

VOID KiInitProcessors(VOID)
{
    KiProcessorCount = KeOptions.Processors;
    if (KiProcessorCount == 0) {
        KiProcessorCount = 1;
    }
    if (KiProcessorCount > KI_MAX_PROCESSORS) {
        KiProcessorCount = KI_MAX_PROCESSORS;
    }
    for (ULONG Number = 0; Number < KI_MAX_PROCESSORS; Number += 1) {
        PKPRCB Prcb = &KiProcessors[Number];

        memset(Prcb, 0, sizeof *Prcb);
        Prcb->Number = Number;
    }
    KiProcessorWaiters = 0;
}

BOOLEAN KiTryAcquireProcessor(KTHREAD *Thread, PKPRCB Prcb)
{
    LONG Free = 0;

    if (__atomic_load_n(&Prcb->Owner, __ATOMIC_RELAXED) != 0 ||
        !__atomic_compare_exchange_n(&Prcb->Owner, &Free, Thread->Id, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return FALSE;
    }
    __atomic_store_n(&Prcb->CurrentThread, Thread, __ATOMIC_RELAXED);
    Thread->Prcb = Prcb;
    if (Thread->Pcr != NULL) {
        Thread->Pcr->Number = Prcb->Number;
    }
    return TRUE;
}

static BOOLEAN KipTryAnyProcessor(KTHREAD *Thread)
{
    ULONG First = Thread->Prcb->Number;
    ULONG Count = KiProcessorCount;

    for (ULONG Step = 0; Step < Count; Step += 1) {
        ULONG Number = First + Step;

        if (Number >= Count) {
            Number -= Count;
        }
        if (Thread->Affinity != 0 && ((Thread->Affinity >> Number) & 1) == 0) {
            continue;
        }
        if (KiTryAcquireProcessor(Thread, &KiProcessors[Number])) {
            return TRUE;
        }
    }
    return FALSE;
}

VOID KiAcquireProcessor(KTHREAD *Thread)
{
    BOOLEAN Taken;

    if (__builtin_expect(KipTryAnyProcessor(Thread), 1)) {
        return;
    }
    if (HalFacts.HostProcessors > 1) {
        for (ULONG Spin = 0; Spin < KI_PROCESSOR_SPINS; Spin += 1) {
            HalPause();
            if (KipTryAnyProcessor(Thread)) {
                return;
            }
        }
    }
    __atomic_add_fetch(&KiProcessorWaiters, 1, __ATOMIC_SEQ_CST);
    do {
        LONG Seen = __atomic_load_n(&KiProcessorFreed, __ATOMIC_SEQ_CST);

        Taken = KipTryAnyProcessor(Thread);
        if (!Taken) {
            HalWait(&KiProcessorFreed, Seen, HAL_FOREVER);
        }
    } while (!Taken);
    __atomic_sub_fetch(&KiProcessorWaiters, 1, __ATOMIC_SEQ_CST);
}

VOID KiReleaseProcessor(KTHREAD *Thread)
{
    PKPRCB Prcb = Thread->Prcb;

    __atomic_store_n(&Prcb->CurrentThread, NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&Prcb->Owner, 0, __ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&KiProcessorWaiters, __ATOMIC_SEQ_CST) != 0, 0)) {
        /* All of them: the one woken might be bound to another processor than the one that is free. */
        __atomic_add_fetch(&KiProcessorFreed, 1, __ATOMIC_SEQ_CST);
        HalWake(&KiProcessorFreed, MAXLONG);
    }
}

/* ---- what drivers may ask ---- */

ULONG KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber)
{
    ULONG Number = KiCurrentThread()->Prcb->Number;

    if (ProcNumber != NULL) {
        ProcNumber->Group = 0;
        ProcNumber->Number = (UCHAR)Number;
        ProcNumber->Reserved = 0;
    }
    return Number;
}

ULONG KeGetCurrentProcessorIndex(VOID)
{
    return KiCurrentThread()->Prcb->Number;
}

#undef KeGetCurrentProcessorNumber
ULONG KeGetCurrentProcessorNumber(VOID)
{
    return KiCurrentThread()->Prcb->Number;
}

KAFFINITY KeQueryActiveProcessors(VOID)
{
    return KiProcessorCount == 64 ? ~(KAFFINITY)0 : ((KAFFINITY)1 << KiProcessorCount) - 1;
}

ULONG KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
    if (ActiveProcessors != NULL) {
        *ActiveProcessors = KeQueryActiveProcessors();
    }
    return KiProcessorCount;
}

static BOOLEAN KipIsGroup(USHORT GroupNumber)
{
    return GroupNumber == 0 || GroupNumber == ALL_PROCESSOR_GROUPS;
}

ULONG KeQueryActiveProcessorCountEx(USHORT GroupNumber)
{
    return KipIsGroup(GroupNumber) ? KiProcessorCount : 0;
}

ULONG KeQueryMaximumProcessorCount(VOID)
{
    return KiProcessorCount;
}

ULONG KeQueryMaximumProcessorCountEx(USHORT GroupNumber)
{
    return KipIsGroup(GroupNumber) ? KiProcessorCount : 0;
}

USHORT KeQueryActiveGroupCount(VOID)
{
    return 1;
}

USHORT KeQueryMaximumGroupCount(VOID)
{
    return 1;
}

KAFFINITY KeQueryGroupAffinity(USHORT GroupNumber)
{
    return GroupNumber == 0 ? KeQueryActiveProcessors() : 0;
}

NTSTATUS KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber)
{
    if (ProcIndex >= KiProcessorCount) {
        return STATUS_INVALID_PARAMETER;
    }
    ProcNumber->Group = 0;
    ProcNumber->Number = (UCHAR)ProcIndex;
    ProcNumber->Reserved = 0;
    return STATUS_SUCCESS;
}

ULONG KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber)
{
    if (ProcNumber->Group != 0 || ProcNumber->Number >= KiProcessorCount || ProcNumber->Reserved != 0) {
        return INVALID_PROCESSOR_INDEX;
    }
    return ProcNumber->Number;
}

/* nodes= divides the processors, in order, into about equal parts; a node may have none. */
static ULONG KiNodeCount(VOID)
{
    return KeOptions.Nodes > 1 ? KeOptions.Nodes : 1;
}
static KAFFINITY KiNodeAffinity(ULONG Node)
{
    KAFFINITY Mask = 0;

    for (ULONG Processor = 0; Node < KiNodeCount() && Processor < KiProcessorCount; Processor++) {
        Mask |= Processor * KiNodeCount() / KiProcessorCount == Node ? (KAFFINITY)1 << Processor : 0;
    }
    return Mask;
}

USHORT KeQueryHighestNodeNumber(VOID)
{
    return (USHORT)(KiNodeCount() - 1);
}

USHORT KeGetCurrentNodeNumber(VOID)
{
    PKPRCB Prcb = KiCurrentThread()->Prcb;

    return Prcb ? (USHORT)(Prcb->Number * KiNodeCount() / KiProcessorCount) : 0;
}

VOID KeQueryNodeActiveAffinity(USHORT NodeNumber, PGROUP_AFFINITY Affinity, PUSHORT Count)
{
    KAFFINITY Mask = KiNodeAffinity(NodeNumber);

    if (Affinity != NULL) {
        memset(Affinity, 0, sizeof *Affinity);
        Affinity->Mask = Mask;
    }
    if (Count != NULL) {
        *Count = (USHORT)RtlNumberOfSetBitsUlongPtr(Mask);
    }
}

NTSTATUS KeQueryNodeActiveAffinity2(USHORT NodeNumber, PGROUP_AFFINITY GroupAffinities, USHORT GroupAffinitiesCount,
                                    PUSHORT GroupAffinitiesRequired)
{
    KAFFINITY Mask = KiNodeAffinity(NodeNumber);

    if (NodeNumber >= KiNodeCount()) {
        return STATUS_INVALID_PARAMETER;
    }
    *GroupAffinitiesRequired = Mask ? 1 : 0;
    if (GroupAffinitiesCount < *GroupAffinitiesRequired) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    if (Mask) {
        memset(GroupAffinities, 0, sizeof *GroupAffinities);
        GroupAffinities->Mask = Mask;
    }
    return STATUS_SUCCESS;
}

ULONG KeQueryNodeActiveProcessorCount(USHORT NodeNumber)
{
    return RtlNumberOfSetBitsUlongPtr(KiNodeAffinity(NodeNumber));
}

USHORT KeQueryNodeMaximumProcessorCount(USHORT NodeNumber)
{
    return (USHORT)KeQueryNodeActiveProcessorCount(NodeNumber);
}
