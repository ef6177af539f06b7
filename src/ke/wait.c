/*
 * wait.c - the dispatcher: waiting for objects, and letting waiters go. SPDX-License-Identifier: MIT
 *
 * Implements KeWaitForSingleObject, KeWaitForMultipleObjects, KeWaitForMutexObject, KeDelayExecutionThread. The objects
 * themselves are event.c, semaphore.c, mutant.c, timer.c and KTHREAD; each begins with a DISPATCHER_HEADER:
 *
 *      object.Header.WaitListHead <--> KWAIT_BLOCK <--> KWAIT_BLOCK       one block for each (thread, object) pair,
 *                                        | Thread        | Thread         in the order of the waits
 *                                        v               v
 *      KTHREAD.WaitBlockList --> array of WaitCount blocks (in KTHREAD, or the caller's for more than three objects)
 *
 * One lock, the dispatcher lock, guards all of it. A thread that must wait links its blocks, leaves the lock and sleeps
 * on its own WaitWord. Whoever changes an object calls KiTestWaiters under the lock: satisfied waits are unlinked there
 * and their threads collected, and KiUnlockDispatcher wakes them once the lock is free. Time-outs are the machine's: the
 * sleeper's own deadline. A thread that waits with UserMode sleeps off its kernel stack (stackswap.c).
 *
 *      running --- link blocks ---> Waiting --- KiUnwaitThread (signal, abort) ---> ready --- WaitWord = 1 ---> running
 *                                      +--- deadline: unlinks itself under the lock, STATUS_TIMEOUT ------------^
 *
 * A wait that may block needs IRQL <= APC_LEVEL: in a DPC it is ATTEMPTED_SWITCH_FROM_DPC (0xB8), elsewhere at
 * DISPATCH_LEVEL the Verifier's 0xC4/0x3B. A wait with a zero time-out is allowed at DISPATCH_LEVEL, as documented.
 *
 * Invariants
 *  W1. A thread's blocks are linked, all of them, exactly while Waiting is TRUE.
 *  W2. A wait is satisfied as one step: no WaitAll wait takes some of its objects and waits for the others.
 *  W3. After the lock is released no linked wait could be satisfied (every change is followed by KiTestWaiters).
 *  W4. WaitStatus is final before WaitWord becomes 1; a thread on the ready list has not gone on yet.
 *  W5. A wait at IRQL <= APC_LEVEL that a timer with a DPC ends returns after what was queued to the DPC's processor then has run.
 *
 * Watch: tests/unit/ke_dispatcher_test.c, tests/stress/ke_stress_test.c; gdb: KTHREAD.WaitBlockList of a sleeping thread.
 */
#include "ke/kip.h"

#define KI_WAIT_SPINS 60

static KI_LOCK KiDispatcherLock;
static KTHREAD *KiDispatcherOwner;
static KTHREAD *KiReadyList;

VOID (*KiWaitAbortedRoutine)(KTHREAD *Thread);

VOID KiLockDispatcher(VOID)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();

    KiAcquireLock(&KiDispatcherLock);
    __atomic_store_n(&KiDispatcherOwner, Thread, __ATOMIC_RELAXED);
}

VOID KiUnlockDispatcher(VOID)
{
    KTHREAD *Ready = KiReadyList;

    KiReadyList = NULL;
    __atomic_store_n(&KiDispatcherOwner, NULL, __ATOMIC_RELAXED);
    KiReleaseLock(&KiDispatcherLock);
    while (Ready != NULL) {
        KTHREAD *Thread = Ready;

        Ready = Thread->WakeNext;
        __atomic_store_n(&Thread->WaitWord, 1, __ATOMIC_RELEASE);
        HalWake(&Thread->WaitWord, 1);
    }
}

BOOLEAN KiHoldsDispatcher(const KTHREAD *Thread)
{
    return __atomic_load_n(&KiDispatcherOwner, __ATOMIC_RELAXED) == Thread;
}

VOID KiAbandonLocks(VOID)
{
    if (__atomic_load_n(&KiDispatcherOwner, __ATOMIC_RELAXED) == (KTHREAD *)HalCurrentThread()) {
        KiUnlockDispatcher();
    }
    KiAbandonDpcLocks();
}

/* ---- states of objects ---- */

static BOOLEAN KipIsSignalled(DISPATCHER_HEADER *Header, KTHREAD *Thread)
{
    LONG State = KiState(Header);

    if (Header->Type == MutantObject) {
        return State > 0 || ((PKMUTANT)Header)->OwnerThread == Thread;
    }
    return State > 0;
}

/* Takes what a satisfied wait takes. Returns TRUE for an abandoned mutant. */
static BOOLEAN KipConsume(DISPATCHER_HEADER *Header, KTHREAD *Thread)
{
    switch (Header->Type) {
    case TimerNotificationObject:
    case TimerSynchronizationObject:
        if (((PKTIMER)Header)->Dpc != NULL) {
            Thread->TimerDpc = &KiProcessors[((PKTIMER)Header)->Processor];
        }
        if (Header->Type == TimerNotificationObject) {
            return FALSE;
        }
        /* fall through */
    case EventSynchronizationObject:
        KiSetState(Header, 0);
        return FALSE;
    case SemaphoreObject:
    case QueueObject: /* the entry is then the thread's to take: queue.c */
        KiSetState(Header, KiState(Header) - 1);
        return FALSE;
    case MutantObject:
        return KiTakeMutant((PKMUTANT)Header, Thread);
    default:
        return FALSE;
    }
}

/* Satisfies the wait if it can be: its status, or -1. */
static LONG_PTR KipTrySatisfy(KTHREAD *Thread, PKWAIT_BLOCK Blocks, ULONG Count)
{
    BOOLEAN Abandoned = FALSE;

    if (Blocks[0].WaitType == WaitAny || Count == 1) {
        for (ULONG Index = 0; Index < Count; Index += 1) {
            DISPATCHER_HEADER *Header = (DISPATCHER_HEADER *)Blocks[Index].Object;

            if (KipIsSignalled(Header, Thread)) {
                Abandoned = KipConsume(Header, Thread);
                return (Abandoned ? STATUS_ABANDONED_WAIT_0 : STATUS_WAIT_0) + (LONG_PTR)Index;
            }
        }
        return -1;
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        if (!KipIsSignalled((DISPATCHER_HEADER *)Blocks[Index].Object, Thread)) {
            return -1;
        }
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        Abandoned = KipConsume((DISPATCHER_HEADER *)Blocks[Index].Object, Thread) || Abandoned;
    }
    return Abandoned ? STATUS_ABANDONED_WAIT_0 : STATUS_WAIT_0;
}

static VOID KipUnlinkBlocks(KTHREAD *Thread)
{
    for (ULONG Index = 0; Index < Thread->WaitCount; Index += 1) {
        PLIST_ENTRY Entry = &Thread->WaitBlockList[Index].WaitListEntry;

        Entry->Blink->Flink = Entry->Flink;
        Entry->Flink->Blink = Entry->Blink;
    }
    Thread->WaitCount = 0;
    Thread->Waiting = FALSE;
}

VOID KiUnwaitThread(KTHREAD *Thread, LONG_PTR Status)
{
    KipUnlinkBlocks(Thread);
    Thread->WaitStatus = Status;
    Thread->WakeNext = KiReadyList;
    KiReadyList = Thread;
}

VOID KiTestWaiters(DISPATCHER_HEADER *Header)
{
    PLIST_ENTRY Head = &Header->WaitListHead;
    PLIST_ENTRY Link = Head->Flink;

    while (Link != Head) {
        PKWAIT_BLOCK Block = CONTAINING_RECORD(Link, KWAIT_BLOCK, WaitListEntry);
        KTHREAD *Thread = Block->Thread;
        LONG_PTR Status;

        if (!KipIsSignalled(Header, Thread)) {
            return;
        }
        Status = KipTrySatisfy(Thread, Thread->WaitBlockList, Thread->WaitCount);
        if (Status >= 0) {
            KiUnwaitThread(Thread, Status);
            Link = Head->Flink; /* the thread may have had several blocks here */
        } else {
            Link = Link->Flink; /* a WaitAll that lacks another object */
        }
    }
}

VOID KiSignalObject(DISPATCHER_HEADER *Header)
{
    KiTouch(Header);
    KiLockDispatcher();
    Header->SignalState = 1;
    KiTestWaiters(Header);
    KiUnlockDispatcher();
}

VOID KiAbortWait(KTHREAD *Thread, NTSTATUS Status)
{
    KiLockDispatcher();
    if (Thread->Waiting) {
        Thread->WaitAborted = TRUE;
        KiUnwaitThread(Thread, Status);
    }
    KiUnlockDispatcher();
}

/* ---- waiting ---- */

static VOID KipCheckWaitIrql(KTHREAD *Thread, const VOID *Object, PLARGE_INTEGER Timeout)
{
    if (__builtin_expect(Thread->Irql <= APC_LEVEL, 1)) {
        return;
    }
    if (Timeout != NULL && Timeout->QuadPart == 0 && Thread->Irql == DISPATCH_LEVEL && Object != NULL) {
        return;
    }
    if (Thread->Prcb->DpcActive) {
        KiStop(ATTEMPTED_SWITCH_FROM_DPC, "A DPC routine made a wait that may block.", Object, (ULONG_PTR)Thread, 0,
               Thread->StackHigh, 0);
    }
    KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A wait that may block was made at DISPATCH_LEVEL or above.", Object, 0x3B,
           Thread->Irql, (ULONG_PTR)Object, (ULONG_PTR)Timeout);
}

ULONG64 KiDeadline(LARGE_INTEGER DueTime)
{
    ULONG64 Now = HalQueryTime();
    ULONG64 Delta;

    if (DueTime.QuadPart <= 0) {
        Delta = 0 - (ULONG64)DueTime.QuadPart;
    } else {
        ULONG64 SystemNow = HalQuerySystemTime();

        if ((ULONG64)DueTime.QuadPart <= SystemNow) {
            return Now;
        }
        Delta = (ULONG64)DueTime.QuadPart - SystemNow;
    }
    if (Delta > (HAL_FOREVER - 1 - Now) / 100) {
        return HAL_FOREVER - 1;
    }
    return Now + Delta * 100;
}

NTSTATUS KiSleep(KTHREAD *Thread, ULONG64 Deadline)
{
    if (HalFacts.HostProcessors > 1) {
        for (ULONG Spin = 0; Spin < KI_WAIT_SPINS && __atomic_load_n(&Thread->WaitWord, __ATOMIC_RELAXED) == 0; Spin += 1) {
            HalPause();
        }
    }
    while (__atomic_load_n(&Thread->WaitWord, __ATOMIC_ACQUIRE) == 0) {
        if (KiBlock(&Thread->WaitWord, 0, Deadline)) {
            continue;
        }
        KiLockDispatcher();
        if (Thread->WaitCount != 0) {
            KiExpireTimers(); /* N5 of timer.c: one of them may be waited for */
        }
        if (Thread->Waiting) {
            KipUnlinkBlocks(Thread);
            KiUnlockDispatcher();
            return STATUS_TIMEOUT;
        }
        KiUnlockDispatcher();
        Deadline = HAL_FOREVER; /* W4: satisfied at the last moment; the wake is on its way */
    }
    return (NTSTATUS)Thread->WaitStatus;
}

/* W5. On Windows a timer expires on its processor at DISPATCH_LEVEL, and its DPC runs there before a thread that waited can. */
static VOID KipLetTimerDpcRun(KTHREAD *Thread)
{
    PKPRCB Prcb = Thread->TimerDpc;

    Thread->TimerDpc = NULL;
    if (Thread->Irql <= APC_LEVEL) {
        KiWaitForDpcs(Prcb);
    }
}

/* The same, off the stack if that may leave RAM meanwhile; and does what an aborted wait is for. */
static NTSTATUS KipSleep(KTHREAD *Thread, KPROCESSOR_MODE WaitMode, ULONG64 Deadline, const VOID *Caller)
{
    NTSTATUS Status =
        WaitMode == UserMode && KiMayLeaveStack(Thread) ? KiSleepOffStack(Thread, Deadline, Caller) : KiSleep(Thread, Deadline);

    if (__builtin_expect(Thread->TimerDpc != NULL, 0)) {
        KipLetTimerDpcRun(Thread);
    }
    if (__builtin_expect(Thread->WaitAborted, 0)) {
        Thread->WaitAborted = FALSE;
        if (KiWaitAbortedRoutine != NULL) {
            KiWaitAbortedRoutine(Thread);
        }
    }
    return Status;
}

/* A verified driver waits in user mode: for an object on this stack, which may leave RAM before somebody signals it? */
static VOID KipCheckOwnObjects(KTHREAD *Thread, ULONG Count, PVOID *Objects)
{
    if (Thread->StackLocked || !HalIsSystemAddress(Thread->StackLow)) {
        return;
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        if ((ULONG_PTR)Objects[Index] - Thread->StackLow < Thread->StackHigh - Thread->StackLow) {
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
                   "A wait with WaitMode UserMode for an object on the kernel stack, which may leave RAM meanwhile.",
                   Objects[Index], 0x123, (ULONG_PTR)Objects[Index], 0, 0);
        }
    }
}

static NTSTATUS KipWait(KTHREAD *Thread, ULONG Count, PVOID *Objects, WAIT_TYPE WaitType, KPROCESSOR_MODE WaitMode,
                        PLARGE_INTEGER Timeout, PKWAIT_BLOCK Blocks, const VOID *Caller)
{
    LARGE_INTEGER Limit = {.QuadPart = 0};
    ULONG64 Deadline = HAL_FOREVER;
    LONG_PTR Status;

    if (Timeout != NULL) {
        Limit = *Timeout; /* the caller's, perhaps pageable: read before the lock */
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        DISPATCHER_HEADER *Header = (DISPATCHER_HEADER *)Objects[Index];

        KiTouch(Header);
        Blocks[Index].WaitType = (UCHAR)WaitType;
        Blocks[Index].BlockState = 0;
        Blocks[Index].WaitKey = (USHORT)Index;
        Blocks[Index].Thread = Thread;
        Blocks[Index].Object = Header;
    }
    if (WaitMode == UserMode && KiVerifies(KI_ANY_OPTION, Caller)) {
        KipCheckOwnObjects(Thread, Count, Objects);
    }
    KiLockDispatcher();
    Status = KipTrySatisfy(Thread, Blocks, Count);
    if (Status < 0 && Timeout != NULL && Limit.QuadPart == 0) {
        Status = STATUS_TIMEOUT;
    }
    if (Status >= 0) {
        KiUnlockDispatcher();
        if (__builtin_expect(Thread->TimerDpc != NULL, 0)) {
            KipLetTimerDpcRun(Thread);
        }
        if (__builtin_expect(Thread->MutantOverflow, 0)) {
            Thread->MutantOverflow = FALSE;
            ExRaiseStatus(STATUS_MUTANT_LIMIT_EXCEEDED);
        }
        return (NTSTATUS)Status;
    }
    for (ULONG Index = 0; Index < Count; Index += 1) {
        PLIST_ENTRY Head = &((DISPATCHER_HEADER *)Objects[Index])->WaitListHead;
        PLIST_ENTRY Entry = &Blocks[Index].WaitListEntry;

        Entry->Flink = Head;
        Entry->Blink = Head->Blink;
        Head->Blink->Flink = Entry;
        Head->Blink = Entry;
    }
    Thread->WaitBlockList = Blocks;
    Thread->WaitCount = Count;
    __atomic_store_n(&Thread->WaitWord, 0, __ATOMIC_RELAXED);
    Thread->Waiting = TRUE;
    KiUnlockDispatcher();
    if (Timeout != NULL) {
        Deadline = KiDeadline(Limit);
    }
    return KipSleep(Thread, WaitMode, Deadline, Caller);
}

NTSTATUS KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
                               PLARGE_INTEGER Timeout)
{
    KTHREAD *Thread = KiCurrentThread();

    UNREFERENCED_PARAMETER(WaitReason);
    UNREFERENCED_PARAMETER(Alertable);
    KipCheckWaitIrql(Thread, Object, Timeout);
    if (__builtin_expect(__atomic_load_n(&KiIrqlWatch, __ATOMIC_RELAXED) & KI_WATCH_LOCKS, 0) && Timeout == NULL &&
        ((DISPATCHER_HEADER *)Object)->Type == MutantObject && ((PKMUTANT)Object)->ApcDisable != 0) {
        KiTellLockWatch(KiMutantWanted, KiKernelMutex, Object, Thread);
    }
    return KipWait(Thread, 1, &Object, WaitAny, WaitMode, Timeout, Thread->WaitBlock, __builtin_return_address(0));
}

NTSTATUS KeWaitForMultipleObjects(ULONG Count, PVOID Object[], WAIT_TYPE WaitType, KWAIT_REASON WaitReason,
                                  KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Timeout,
                                  PKWAIT_BLOCK WaitBlockArray)
{
    KTHREAD *Thread = KiCurrentThread();

    UNREFERENCED_PARAMETER(WaitReason);
    UNREFERENCED_PARAMETER(Alertable);
    /* Documented: more than THREAD_WAIT_OBJECTS without an array, or more than MAXIMUM_WAIT_OBJECTS, is a bug check. */
    if (Count == 0 || Count > (WaitBlockArray == NULL ? THREAD_WAIT_OBJECTS : MAXIMUM_WAIT_OBJECTS)) {
        KiStop(MAXIMUM_WAIT_OBJECTS_EXCEEDED, "KeWaitForMultipleObjects was given more objects than it has wait blocks for.",
               Object, 0, 0, 0, 0);
    }
    KipCheckWaitIrql(Thread, Object, Timeout);
    return KipWait(Thread, Count, Object, WaitType, WaitMode, Timeout,
                   WaitBlockArray != NULL ? WaitBlockArray : Thread->WaitBlock, __builtin_return_address(0));
}

NTSTATUS KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Interval)
{
    KTHREAD *Thread = KiCurrentThread();
    ULONG64 Deadline;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Alertable);
    KipCheckWaitIrql(Thread, NULL, Interval);
    Deadline = KiDeadline(*Interval);
    if (Interval->QuadPart == 0) {
        HalYield();
        return STATUS_SUCCESS;
    }
    KiLockDispatcher();
    Thread->WaitCount = 0;
    __atomic_store_n(&Thread->WaitWord, 0, __ATOMIC_RELAXED);
    Thread->Waiting = TRUE;
    KiUnlockDispatcher();
    Status = KipSleep(Thread, WaitMode, Deadline, __builtin_return_address(0));
    return Status == STATUS_TIMEOUT ? STATUS_SUCCESS : Status;
}

/* ---- the structure counted and checked ---- */

ULONG KiCountWaiters(DISPATCHER_HEADER *Header)
{
    ULONG Count = 0;

    KiTouch(Header);
    KiLockDispatcher();
    for (PLIST_ENTRY Link = Header->WaitListHead.Flink; Link != &Header->WaitListHead; Link = Link->Flink) {
        Count += 1;
    }
    KiUnlockDispatcher();
    return Count;
}

BOOLEAN KiIsWaiting(KTHREAD *Thread)
{
    BOOLEAN Waiting;

    KiLockDispatcher();
    Waiting = Thread->Waiting;
    KiUnlockDispatcher();
    return Waiting;
}

typedef struct _KI_WAIT_CHECK {
    const CHAR *Broken;
} KI_WAIT_CHECK;

static BOOLEAN KipValidateThread(KTHREAD *Thread, PVOID Context)
{
    KI_WAIT_CHECK *Check = (KI_WAIT_CHECK *)Context;

    if (!Thread->Waiting) {
        if (Thread->WaitCount != 0) {
            Check->Broken = "W1: a thread that does not wait has linked wait blocks";
        }
        return Check->Broken == NULL;
    }
    for (ULONG Index = 0; Index < Thread->WaitCount; Index += 1) {
        PKWAIT_BLOCK Block = &Thread->WaitBlockList[Index];

        if (Block->Thread != Thread || Block->WaitListEntry.Flink->Blink != &Block->WaitListEntry ||
            Block->WaitListEntry.Blink->Flink != &Block->WaitListEntry) {
            Check->Broken = "W1: a waiting thread's block is not linked";
            return FALSE;
        }
    }
    if (Thread->WaitCount != 0 && Thread->WaitBlockList[0].WaitType == WaitAny) {
        for (ULONG Index = 0; Index < Thread->WaitCount; Index += 1) {
            if (KipIsSignalled((DISPATCHER_HEADER *)Thread->WaitBlockList[Index].Object, Thread)) {
                Check->Broken = "W3: a thread waits for an object that is signalled";
                return FALSE;
            }
        }
    }
    return TRUE;
}

const CHAR *KiValidateWaits(VOID)
{
    KI_WAIT_CHECK Check = {NULL};

    KiLockDispatcher();
    KiEnumerateThreads(KipValidateThread, &Check);
    KiUnlockDispatcher();
    return Check.Broken;
}
