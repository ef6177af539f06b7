/*
 * dpc.c - deferred procedure calls. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeDpc, KeInitializeThreadedDpc, KeInsertQueueDpc, KeRemoveQueueDpc(Ex), KeFlushQueuedDpcs,
 * KeSetTargetProcessorDpc(Ex), KeSetImportanceDpc. Threaded DPCs run as ordinary ones do, which the documents allow.
 *
 * Each processor has a list of DPCs; Dpc->DpcData names the processor while the DPC is queued:
 *
 *      KPRCB.DpcListHead --> KDPC.DpcListEntry --> KDPC.DpcListEntry --> NULL      (DpcListTail: the last)
 *
 *      idle --- KeInsertQueueDpc ---> queued --- KiRetireDpcList, KeRemoveQueueDpc ---> idle (its routine may now run)
 *
 * DPCs run at DISPATCH_LEVEL on their processor: in the thread that owns it, on its way below DISPATCH_LEVEL (KfLowerIrql),
 * or, if nobody owns it, in the processor's own DPC thread, which sleeps on DpcWake. A DPC runs in a foreign thread, so
 * that thread's exception handlers do not see what the DPC raises. A routine that returns at another IRQL than
 * DISPATCH_LEVEL stops the system: IRQL_UNEXPECTED_VALUE (0xC8), first parameter current << 16 | 2 << 8 | 0xFE.
 *
 * Invariants
 *  D1. DpcData is a KPRCB exactly while the DPC is in that processor's list; it changes from NULL by compare-and-swap and
 *      back under the processor's DpcLock.
 *  D2. DpcDepth is the length of the list.
 *  D3. After an insertion into the list of a processor that nobody owns, its DPC thread is woken. (An owner looks at the
 *      list after it has given the processor back: I2 in irql.c.)
 *  D4. At most one DPC runs on a processor at a time; DpcActive is TRUE while one does.
 *
 * Watch: KPRCB.DpcCount, tests/unit/ke_dpc_test.c.
 */
#include "ke/kip.h"

#define KI_DPC_TARGETED 0x500 /* KDPC.Number: this plus the processor; less: where it is queued */

static KTHREAD *KiDpcThreads[KI_MAX_PROCESSORS];
static ULONG KiDpcThreadCount;
static volatile LONG KiDpcStop;

/* ---- the object ---- */

static VOID KipInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE Routine, PVOID Context, UCHAR Type)
{
    memset((VOID *)Dpc, 0, sizeof *Dpc);
    Dpc->Type = Type;
    Dpc->Importance = MediumImportance;
    Dpc->DeferredRoutine = Routine;
    Dpc->DeferredContext = Context;
}

VOID KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    KipInitializeDpc(Dpc, DeferredRoutine, DeferredContext, DpcObject);
}

VOID KeInitializeThreadedDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
    KipInitializeDpc(Dpc, DeferredRoutine, DeferredContext, ThreadedDpcObject);
}

VOID KeSetImportanceDpc(PRKDPC Dpc, KDPC_IMPORTANCE Importance)
{
    Dpc->Importance = (UCHAR)Importance;
}

VOID KeSetTargetProcessorDpc(PRKDPC Dpc, CCHAR Number)
{
    Dpc->Number = (USHORT)(KI_DPC_TARGETED + (UCHAR)Number);
}

NTSTATUS KeSetTargetProcessorDpcEx(PKDPC Dpc, PPROCESSOR_NUMBER ProcNumber)
{
    if (KeGetProcessorIndexFromNumber(ProcNumber) == INVALID_PROCESSOR_INDEX) {
        return STATUS_INVALID_PARAMETER;
    }
    Dpc->Number = (USHORT)(KI_DPC_TARGETED + ProcNumber->Number);
    return STATUS_SUCCESS;
}

/* ---- the lists ---- */

static VOID KipLockDpcs(PKPRCB Prcb)
{
    KiAcquireLock(&Prcb->DpcLock);
    __atomic_store_n(&Prcb->DpcLockOwner, (KTHREAD *)HalCurrentThread(), __ATOMIC_RELAXED);
}

static VOID KipUnlockDpcs(PKPRCB Prcb)
{
    __atomic_store_n(&Prcb->DpcLockOwner, NULL, __ATOMIC_RELAXED);
    KiReleaseLock(&Prcb->DpcLock);
}

VOID KiAbandonDpcLocks(VOID)
{
    for (ULONG Number = 0; Number < KiProcessorCount; Number += 1) {
        if (__atomic_load_n(&KiProcessors[Number].DpcLockOwner, __ATOMIC_RELAXED) == (KTHREAD *)HalCurrentThread()) {
            KipUnlockDpcs(&KiProcessors[Number]);
        }
    }
}

static VOID KipWakeDpcThread(PKPRCB Prcb)
{
    __atomic_add_fetch(&Prcb->DpcWake, 1, __ATOMIC_SEQ_CST);
    HalWake(&Prcb->DpcWake, 1);
}

static BOOLEAN KipQueueDpc(PRKDPC Dpc, PKPRCB Prcb, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PVOID Idle = NULL;

    KipLockDpcs(Prcb);
    if (!__atomic_compare_exchange_n(&Dpc->DpcData, &Idle, Prcb, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        KipUnlockDpcs(Prcb);
        return FALSE;
    }
    Dpc->SystemArgument1 = SystemArgument1;
    Dpc->SystemArgument2 = SystemArgument2;
    Dpc->DpcListEntry.Next = NULL;
    if (Prcb->DpcListHead.Next == NULL) {
        Prcb->DpcListHead.Next = Prcb->DpcListTail = &Dpc->DpcListEntry;
    } else if (Dpc->Importance == HighImportance) {
        Dpc->DpcListEntry.Next = Prcb->DpcListHead.Next;
        Prcb->DpcListHead.Next = &Dpc->DpcListEntry;
    } else {
        Prcb->DpcListTail->Next = &Dpc->DpcListEntry;
        Prcb->DpcListTail = &Dpc->DpcListEntry;
    }
    Prcb->DpcInserted += 1;
    __atomic_add_fetch(&Prcb->DpcDepth, 1, __ATOMIC_SEQ_CST);
    KipUnlockDpcs(Prcb);
    if (__atomic_load_n(&Prcb->Owner, __ATOMIC_SEQ_CST) == 0) {
        KipWakeDpcThread(Prcb);
    }
    return TRUE;
}

BOOLEAN KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
    USHORT Number = Dpc->Number;

    if (Number >= KI_DPC_TARGETED + KiProcessorCount || (Number != 0 && Number < KI_DPC_TARGETED)) {
        KiStop(TIMER_OR_DPC_INVALID, "A DPC object names a processor that does not exist.", Dpc, 3, (ULONG_PTR)Dpc, Number,
               KiProcessorCount);
    }
    return KipQueueDpc(Dpc, Number != 0 ? &KiProcessors[Number - KI_DPC_TARGETED] : KiCurrentThread()->Prcb, SystemArgument1,
                       SystemArgument2);
}

ULONG KiProcessorOfDpc(PKDPC Dpc, ULONG Processor)
{
    ULONG Number = Dpc->Number;

    /* A number that makes no sense cannot stop the system under the lock: the DPC then runs where the timer was set. */
    if (Number >= KI_DPC_TARGETED && Number < KI_DPC_TARGETED + KiProcessorCount) {
        return Number - KI_DPC_TARGETED;
    }
    return Processor % KiProcessorCount;
}

VOID KiQueueTimerDpc(PKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2, ULONG Processor)
{
    KipQueueDpc(Dpc, &KiProcessors[Processor], SystemArgument1, SystemArgument2);
}

/* Takes a DPC (NULL: the first) out of the list. DpcLock held. */
static PKDPC KipUnlinkDpc(PKPRCB Prcb, PKDPC Wanted)
{
    PSINGLE_LIST_ENTRY Before = &Prcb->DpcListHead;

    while (Before->Next != NULL) {
        PKDPC Dpc = CONTAINING_RECORD(Before->Next, KDPC, DpcListEntry);

        if (Wanted == NULL || Dpc == Wanted) {
            Before->Next = Dpc->DpcListEntry.Next;
            if (Prcb->DpcListTail == &Dpc->DpcListEntry) {
                Prcb->DpcListTail = Before;
            }
            __atomic_sub_fetch(&Prcb->DpcDepth, 1, __ATOMIC_SEQ_CST);
            return Dpc;
        }
        Before = Before->Next;
    }
    return NULL;
}

static VOID KipCountRetired(PKPRCB Prcb)
{
    __atomic_add_fetch(&Prcb->DpcRetired, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&Prcb->DpcFlushers, __ATOMIC_SEQ_CST) != 0) {
        HalWake(&Prcb->DpcRetired, MAXLONG);
    }
}

BOOLEAN KeRemoveQueueDpc(PRKDPC Dpc)
{
    for (;;) {
        PKPRCB Prcb = (PKPRCB)__atomic_load_n(&Dpc->DpcData, __ATOMIC_ACQUIRE);

        if (Prcb == NULL) {
            return FALSE;
        }
        KipLockDpcs(Prcb);
        if (__atomic_load_n(&Dpc->DpcData, __ATOMIC_RELAXED) == Prcb) {
            KipUnlinkDpc(Prcb, Dpc);
            __atomic_store_n(&Dpc->DpcData, NULL, __ATOMIC_RELEASE);
            KipUnlockDpcs(Prcb);
            KipCountRetired(Prcb);
            return TRUE;
        }
        KipUnlockDpcs(Prcb);
    }
}

static VOID KipWaitWhileRunning(PKPRCB Prcb, const KDPC *Dpc)
{
    __atomic_add_fetch(&Prcb->DpcFlushers, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        LONG Seen = __atomic_load_n(&Prcb->DpcRetired, __ATOMIC_SEQ_CST);

        if (__atomic_load_n(&Prcb->DpcRunning, __ATOMIC_SEQ_CST) != Dpc) {
            break;
        }
        HalWait(&Prcb->DpcRetired, Seen, HAL_FOREVER);
    }
    __atomic_sub_fetch(&Prcb->DpcFlushers, 1, __ATOMIC_SEQ_CST);
}

BOOLEAN KeRemoveQueueDpcEx(PRKDPC Dpc, BOOLEAN WaitIfActive)
{
    BOOLEAN Removed = KeRemoveQueueDpc(Dpc);

    if (WaitIfActive) {
        for (ULONG Number = 0; Number < KiProcessorCount; Number += 1) {
            KipWaitWhileRunning(&KiProcessors[Number], Dpc);
        }
    }
    return Removed;
}

VOID KiWaitForDpcs(PKPRCB Prcb)
{
    LONG Target;

    KipLockDpcs(Prcb);
    Target = Prcb->DpcInserted;
    KipUnlockDpcs(Prcb);
    __atomic_add_fetch(&Prcb->DpcFlushers, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        LONG Seen = __atomic_load_n(&Prcb->DpcRetired, __ATOMIC_SEQ_CST);

        if ((LONG)((ULONG)Seen - (ULONG)Target) >= 0) {
            break;
        }
        HalWait(&Prcb->DpcRetired, Seen, HAL_FOREVER);
    }
    __atomic_sub_fetch(&Prcb->DpcFlushers, 1, __ATOMIC_SEQ_CST);
}

VOID KeFlushQueuedDpcs(VOID)
{
    KTHREAD *Thread = KiCurrentThread();

    if (Thread->Irql != PASSIVE_LEVEL) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "KeFlushQueuedDpcs was called above PASSIVE_LEVEL.", NULL, 0xE5,
               Thread->Irql, 0, 0);
    }
    for (ULONG Number = 0; Number < KiProcessorCount; Number += 1) {
        KiWaitForDpcs(&KiProcessors[Number]);
    }
}

/* ---- running them ---- */

VOID KiEndDpc(PKPRCB Prcb)
{
    Prcb->DpcActive = FALSE;
    Prcb->DpcCount += 1;
    __atomic_store_n(&Prcb->DpcRunning, NULL, __ATOMIC_SEQ_CST);
    KipCountRetired(Prcb);
}

static VOID KipRunDpc(KTHREAD *Thread, PKDPC Dpc, const KDPC *Copy)
{
    struct _NTMM_SEH_FRAME *Chain = Thread->SehChain;

    Thread->SehChain = NULL;
    KI_CALLOUT(VOID, Copy->DeferredRoutine, (struct _KDPC *, PVOID, PVOID, PVOID),
               (Dpc, Copy->DeferredContext, Copy->SystemArgument1, Copy->SystemArgument2));
    if (__builtin_expect(Thread->Irql != DISPATCH_LEVEL, 0)) {
        KiStopFor((const VOID *)(ULONG_PTR)Copy->DeferredRoutine, IRQL_UNEXPECTED_VALUE,
                  "A DPC routine returned at another IRQL than DISPATCH_LEVEL.",
                  (ULONG_PTR)Thread->Irql << 16 | DISPATCH_LEVEL << 8 | 0xFE,
                  Thread->CriticalRegion + Thread->GuardedRegion != 0, 0, 0);
    }
    Thread->SehChain = Chain;
}

VOID KiRetireDpcList(KTHREAD *Thread)
{
    PKPRCB Prcb = Thread->Prcb;

    for (;;) {
        KDPC Copy;
        PKDPC Dpc;

        KipLockDpcs(Prcb);
        Dpc = KipUnlinkDpc(Prcb, NULL);
        if (Dpc == NULL) {
            KipUnlockDpcs(Prcb);
            return;
        }
        /* The routine may free or queue the object again: only the copy is used from here on. */
        Copy.DeferredRoutine = Dpc->DeferredRoutine;
        Copy.DeferredContext = Dpc->DeferredContext;
        Copy.SystemArgument1 = Dpc->SystemArgument1;
        Copy.SystemArgument2 = Dpc->SystemArgument2;
        __atomic_store_n(&Prcb->DpcRunning, Dpc, __ATOMIC_SEQ_CST);
        __atomic_store_n(&Dpc->DpcData, NULL, __ATOMIC_RELEASE);
        KipUnlockDpcs(Prcb);
        Prcb->DpcActive = TRUE;
        KipRunDpc(Thread, Dpc, &Copy);
        KiEndDpc(Prcb);
    }
}

static VOID KipDpcThread(PVOID Context)
{
    PKPRCB Prcb = (PKPRCB)Context;
    KTHREAD *Thread = KiCurrentThread();

    for (;;) {
        LONG Seen = __atomic_load_n(&Prcb->DpcWake, __ATOMIC_SEQ_CST);

        if (__atomic_load_n(&KiDpcStop, __ATOMIC_SEQ_CST) != 0) {
            return;
        }
        if (__atomic_load_n(&Prcb->DpcDepth, __ATOMIC_SEQ_CST) != 0 && KiTryAcquireProcessor(Thread, Prcb)) {
            KiCheckedRaise();
            Thread->Irql = DISPATCH_LEVEL;
            KfLowerIrql(PASSIVE_LEVEL);
        }
        KiBlock(&Prcb->DpcWake, Seen, HAL_FOREVER);
    }
}

/* The queued DPC whose object, or routine, lies in the range. */
static PKDPC KipFindDpc(const VOID *Base, SIZE_T Bytes, BOOLEAN Routine)
{
    PKDPC Found = NULL;

    for (ULONG Number = 0; Number < KiProcessorCount && Found == NULL; Number += 1) {
        PKPRCB Prcb = &KiProcessors[Number];

        if (__atomic_load_n(&Prcb->DpcDepth, __ATOMIC_RELAXED) == 0) {
            continue;
        }
        KipLockDpcs(Prcb);
        for (PSINGLE_LIST_ENTRY Link = Prcb->DpcListHead.Next; Link != NULL; Link = Link->Next) {
            PKDPC Dpc = CONTAINING_RECORD(Link, KDPC, DpcListEntry);

            if ((Routine ? (ULONG_PTR)Dpc->DeferredRoutine : (ULONG_PTR)Dpc) - (ULONG_PTR)Base < Bytes) {
                Found = Dpc;
            }
        }
        KipUnlockDpcs(Prcb);
    }
    return Found;
}

PKDPC KiFindDpc(const VOID *Base, SIZE_T Bytes)
{
    return KipFindDpc(Base, Bytes, FALSE);
}

PVOID KiFindDpcRoutine(const VOID *Base, SIZE_T Bytes)
{
    PKDPC Dpc = KipFindDpc(Base, Bytes, TRUE);
    return Dpc != NULL ? (PVOID)(ULONG_PTR)Dpc->DeferredRoutine : NULL;
}

NTSTATUS KiStartDpcThreads(VOID)
{
    __atomic_store_n(&KiDpcStop, 0, __ATOMIC_SEQ_CST);
    for (KiDpcThreadCount = 0; KiDpcThreadCount < KiProcessorCount; KiDpcThreadCount += 1) {
        NTSTATUS Status =
            KiCreateCoreThread(KipDpcThread, &KiProcessors[KiDpcThreadCount], NULL, 0, &KiDpcThreads[KiDpcThreadCount]);

        if (!NT_SUCCESS(Status)) {
            KiStopDpcThreads();
            return Status;
        }
    }
    return STATUS_SUCCESS;
}

VOID KiStopDpcThreads(VOID)
{
    __atomic_store_n(&KiDpcStop, 1, __ATOMIC_SEQ_CST);
    for (ULONG Number = 0; Number < KiDpcThreadCount; Number += 1) {
        KipWakeDpcThread(&KiProcessors[Number]);
        KiJoinCoreThread(KiDpcThreads[Number]);
    }
    KiDpcThreadCount = 0;
}

const CHAR *KiValidateDpcs(VOID)
{
    const CHAR *Broken = NULL;

    for (ULONG Number = 0; Number < KiProcessorCount && Broken == NULL; Number += 1) {
        PKPRCB Prcb = &KiProcessors[Number];
        LONG Length = 0;

        KipLockDpcs(Prcb);
        for (PSINGLE_LIST_ENTRY Link = Prcb->DpcListHead.Next; Link != NULL; Link = Link->Next) {
            if (__atomic_load_n(&CONTAINING_RECORD(Link, KDPC, DpcListEntry)->DpcData, __ATOMIC_RELAXED) != Prcb) {
                Broken = "D1: a DPC in a processor's list does not name the processor";
            }
            Length += 1;
        }
        if (Length != Prcb->DpcDepth) {
            Broken = "D2: DpcDepth is not the length of the list";
        }
        KipUnlockDpcs(Prcb);
    }
    return Broken;
}
