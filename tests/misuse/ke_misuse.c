/*
 * ke_misuse.c - misuse of IRQL, locks, waits, DPCs and resources: the stop, all five numbers. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ke/ki.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static KSPIN_LOCK Lock;
static EX_SPIN_LOCK ExLock;
static KEVENT Event;
static FAST_MUTEX FastMutex;
static EX_PUSH_LOCK PushLock;
static ERESOURCE Resource;
static EX_RUNDOWN_REF Rundown;

#define PTR(Thing) ((ULONG_PTR)(Thing))
#define ME         PTR(KeGetCurrentThread())

static void RaiseLower(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeRaiseIrql(APC_LEVEL, &Old);
}

static void RaiseTooHigh(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeRaiseIrql(HIGH_LEVEL + 1, &Old);
}

static void LowerHigher(void *Argument)
{
    (void)Argument;
    KeLowerIrql(DISPATCH_LEVEL);
}

static void Irql_WrongDirection_C4_30_31(void **State)
{
    (void)State;
    ExpectStop(RaiseLower, NULL, 0xC4, 0x30, DISPATCH_LEVEL, APC_LEVEL, 0);
    ExpectStop(RaiseTooHigh, NULL, 0xC4, 0x30, PASSIVE_LEVEL, HIGH_LEVEL + 1, 0);
    ExpectStop(LowerHigher, NULL, 0xC4, 0x31, PASSIVE_LEVEL, DISPATCH_LEVEL, 0);
    assert_int_equal(KiProcessors[0].Owner + KiProcessors[1].Owner, 0);
}

static void AcquireTwice(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeAcquireSpinLock(&Lock, &Old);
}

static void ReleaseFree(void *Argument)
{
    KIRQL Old = KeRaiseIrqlToDpcLevel();

    (void)Argument;
    KeInitializeSpinLock(&Lock);
    KeReleaseSpinLock(&Lock, Old);
}

static void ReleaseAtPassive(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeReleaseSpinLock(&Lock, Old);
    KeReleaseSpinLock(&Lock, Old);
}

static void AcquireAtDpcAtPassive(void *Argument)
{
    (void)Argument;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLockAtDpcLevel(&Lock);
}

static void ReleaseFromDpcAtPassive(void *Argument)
{
    (void)Argument;
    KeInitializeSpinLock(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock);
}

static void AcquireAboveDispatch(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeInitializeSpinLock(&Lock);
    KeRaiseIrql(DISPATCH_LEVEL + 1, &Old);
    KeAcquireSpinLock(&Lock, &Old);
}

static void ExReleaseFree(void *Argument)
{
    (void)Argument;
    KeRaiseIrqlToDpcLevel();
    ExReleaseSpinLockExclusive(&ExLock, PASSIVE_LEVEL);
}

static void SpinLock_Misuse_NamesTheLock(void **State)
{
    (void)State;
    ExpectStop(AcquireTwice, NULL, 0x0F, PTR(&Lock), ME, 0, 0);
    ExpectStop(ReleaseFree, NULL, 0x10, PTR(&Lock), ME, 0, 0);
    ExpectStop(ReleaseAtPassive, NULL, 0xC4, 0x32, PASSIVE_LEVEL, PTR(&Lock), 0);
    ExpectStop(AcquireAtDpcAtPassive, NULL, 0xC4, 0x40, PASSIVE_LEVEL, PTR(&Lock), 0);
    ExpectStop(ReleaseFromDpcAtPassive, NULL, 0xC4, 0x41, PASSIVE_LEVEL, PTR(&Lock), 0);
    ExpectStop(AcquireAboveDispatch, NULL, 0xC4, 0x42, DISPATCH_LEVEL + 1, PTR(&Lock), 0);
    ExpectStop(ExReleaseFree, NULL, 0x10, PTR(&ExLock), ME, 0, 0);
    assert_int_equal(KiCurrentThread()->SpinLocksHeld, 0);
}

static void WaitAtDispatch(void *Argument)
{
    KeRaiseIrqlToDpcLevel();
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, (PLARGE_INTEGER)Argument);
}

static void DelayAtDispatch(void *Argument)
{
    KeRaiseIrqlToDpcLevel();
    KeDelayExecutionThread(KernelMode, FALSE, (PLARGE_INTEGER)Argument);
}

static void WaitForTooMany(void *Argument)
{
    PVOID Objects[4] = {&Event, &Event, &Event, &Event};

    (void)Argument;
    KeWaitForMultipleObjects(4, Objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL);
}

static void SetAboveDispatch(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeRaiseIrql(DISPATCH_LEVEL + 1, &Old);
    KeSetEvent(&Event, 0, FALSE);
}

static void Wait_AtDispatchOrTooMany_Stops(void **State)
{
    LARGE_INTEGER Timeout = Relative(1);

    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    ExpectStop(WaitAtDispatch, NULL, 0xC4, 0x3B, DISPATCH_LEVEL, PTR(&Event), 0);
    ExpectStop(WaitAtDispatch, &Timeout, 0xC4, 0x3B, DISPATCH_LEVEL, PTR(&Event), PTR(&Timeout));
    ExpectStop(DelayAtDispatch, &Timeout, 0xC4, 0x3B, DISPATCH_LEVEL, 0, PTR(&Timeout));
    ExpectStop(WaitForTooMany, NULL, 0x0C, 0, 0, 0, 0);
    ExpectStop(SetAboveDispatch, NULL, 0xC4, 0x80, DISPATCH_LEVEL + 1, PTR(&Event), 0);
    assert_null(KiValidateWaits());
}

static VOID WaitsInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
}

static VOID RaisesInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KIRQL Old;

    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    KeRaiseIrql(DISPATCH_LEVEL + 1, &Old);
}

static VOID LowersInDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    KeLowerIrql(PASSIVE_LEVEL);
}

/* Runs a DPC in this thread, on its way down from DISPATCH_LEVEL. */
static void RunDpc(void *Routine)
{
    static KDPC Dpc;
    KIRQL Old = KeRaiseIrqlToDpcLevel();

    KeInitializeDpc(&Dpc, (PKDEFERRED_ROUTINE)Routine, NULL);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeLowerIrql(Old);
}

static void Dpc_Misuse_Stops(void **State)
{
    (void)State;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    ExpectStop(RunDpc, (void *)WaitsInDpc, 0xB8, ME, 0, KiCurrentThread()->StackHigh, 0);
    ExpectStop(RunDpc, (void *)RaisesInDpc, 0xC8, 3 << 16 | 2 << 8 | 0xFE, 0, 0, 0);
    ExpectStop(RunDpc, (void *)LowersInDpc, 0xC4, 0x31, DISPATCH_LEVEL, PASSIVE_LEVEL, 1);
    assert_int_equal(KiProcessors[0].Owner + KiProcessors[1].Owner, 0);
    KeFlushQueuedDpcs();
}

static void BadTarget(void *Argument)
{
    KeSetTargetProcessorDpc((PKDPC)Argument, 60);
    KeInsertQueueDpc((PKDPC)Argument, NULL, NULL);
}

static void FlushAtApc(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    KeRaiseIrql(APC_LEVEL, &Old);
    KeFlushQueuedDpcs();
}

static void Dpc_WrongProcessorOrFlushAtApc_Stops(void **State)
{
    static KDPC Dpc;

    (void)State;
    KeInitializeDpc(&Dpc, RaisesInDpc, NULL);
    ExpectStop(BadTarget, &Dpc, 0xC7, 3, PTR(&Dpc), 0x500 + 60, 2);
    ExpectStop(FlushAtApc, NULL, 0xC4, 0xE5, APC_LEVEL, 0, 0);
}

static void LeaveCritical(void *Argument)
{
    (void)Argument;
    KeLeaveCriticalRegion();
}

static void LeaveGuarded(void *Argument)
{
    (void)Argument;
    KeLeaveGuardedRegion();
}

static void Region_LeftWithoutEnter_C4_3E(void **State)
{
    (void)State;
    ExpectStop(LeaveCritical, NULL, 0xC4, 0x3E, 0, 0, 0);
    ExpectStop(LeaveGuarded, NULL, 0xC4, 0x3E, 0, 0, 0);
}

static void FastTwice(void *Argument)
{
    (void)Argument;
    ExInitializeFastMutex(&FastMutex);
    ExAcquireFastMutex(&FastMutex);
    ExAcquireFastMutex(&FastMutex);
}

static void FastAtDispatch(void *Argument)
{
    (void)Argument;
    ExInitializeFastMutex(&FastMutex);
    KeRaiseIrqlToDpcLevel();
    ExAcquireFastMutex(&FastMutex);
}

static void FastReleaseAtPassive(void *Argument)
{
    (void)Argument;
    ExInitializeFastMutex(&FastMutex);
    ExAcquireFastMutex(&FastMutex);
    KeLowerIrql(PASSIVE_LEVEL);
    ExReleaseFastMutex(&FastMutex);
}

static void FastReleaseFree(void *Argument)
{
    KIRQL Old;

    (void)Argument;
    ExInitializeFastMutex(&FastMutex);
    KeRaiseIrql(APC_LEVEL, &Old);
    ExReleaseFastMutex(&FastMutex);
}

static void GuardedReleaseFree(void *Argument)
{
    (void)Argument;
    KeInitializeGuardedMutex(&FastMutex);
    KeReleaseGuardedMutex(&FastMutex);
}

static void FastMutex_Misuse_Stops(void **State)
{
    (void)State;
    ExpectStop(FastTwice, NULL, 0xBF, PTR(&FastMutex), ME, 0, 0);
    ExpectStop(FastAtDispatch, NULL, 0xC4, 0x33, DISPATCH_LEVEL, PTR(&FastMutex), 0);
    ExpectStop(FastReleaseAtPassive, NULL, 0xC4, 0x34, PASSIVE_LEVEL, 0, PTR(&FastMutex));
    ExpectStop(FastReleaseFree, NULL, 0x11, PTR(&FastMutex), ME, 0, 0);
    ExpectStop(GuardedReleaseFree, NULL, 0x11, PTR(&FastMutex), ME, 0, 0);
}

static void PushTwice(void *Argument)
{
    (void)Argument;
    ExInitializePushLock(&PushLock);
    ExAcquirePushLockExclusive(&PushLock);
    ExAcquirePushLockShared(&PushLock);
}

static void PushReleaseFree(void *Argument)
{
    ExInitializePushLock(&PushLock);
    if (Argument != NULL) {
        ExReleasePushLockExclusive(&PushLock);
    } else {
        ExReleasePushLockShared(&PushLock);
    }
}

static void RundownReleaseFree(void *Argument)
{
    (void)Argument;
    ExInitializeRundownProtection(&Rundown);
    ExReleaseRundownProtection(&Rundown);
}

static void PushLockAndRundown_Misuse_Stops(void **State)
{
    (void)State;
    ExpectStop(PushTwice, NULL, 0xBF, PTR(&PushLock), ME, 0, 0);
    ExpectStop(PushReleaseFree, NULL, 0x11, PTR(&PushLock), ME, 0, 0);
    ExpectStop(PushReleaseFree, &PushLock, 0x11, PTR(&PushLock), ME, 0, 0);
    ExpectStop(RundownReleaseFree, NULL, 0xC4, 0xE5, PASSIVE_LEVEL, 0, 0);
}

static void ResourceReleaseFree(void *Argument)
{
    (void)Argument;
    ExReleaseResourceLite(&Resource);
}

static void ResourceConvertFree(void *Argument)
{
    (void)Argument;
    ExConvertExclusiveToSharedLite(&Resource);
}

static void ResourceAtDispatch(void *Argument)
{
    (void)Argument;
    KeRaiseIrqlToDpcLevel();
    ExAcquireResourceSharedLite(&Resource, FALSE);
}

static void ResourceMisaligned(void *Argument)
{
    ExAcquireResourceSharedLite((PERESOURCE)((char *)Argument + 4), FALSE);
}

static void ResourceDelete(void *Argument)
{
    (void)Argument;
    ExDeleteResourceLite(&Resource);
}

static void Resource_Misuse_Stops(void **State)
{
    (void)State;
    ExInitializeResourceLite(&Resource);
    ExpectStop(ResourceReleaseFree, NULL, 0xE3, PTR(&Resource), ME, 0, 0);
    ExpectStop(ResourceConvertFree, NULL, 0xE3, PTR(&Resource), ME, 0, 0);
    ExpectStop(ResourceAtDispatch, NULL, 0xC4, 0x37, DISPATCH_LEVEL, 0, PTR(&Resource));
    ExpectStop(ResourceMisaligned, &Resource, 0xC4, 0x3D, 0, 0, PTR(&Resource) + 4);
    ExDeleteResourceLite(&Resource);
    ExpectStop(ResourceDelete, NULL, 0xC4, 0xD1, PTR(&Resource), 0, 0);
}

static void BadList(void *Argument)
{
    LIST_ENTRY Head = {&Head, &Head}, Wrong = {&Wrong, &Wrong}, Entry;

    (void)Argument;
    Head.Flink = &Wrong;
    Lock = 0;
    ExInterlockedInsertHeadList(&Head, &Entry, &Lock);
}

/* As for the inline list routines: 3, the frame, the exception record, 0. */
static void InterlockedList_LinksBroken_139(void **State)
{
    ntmm_bugcheck Stop;

    (void)State;
    assert_true(ntmm_catch(BadList, NULL, &Stop));
    assert_int_equal(Stop.code, 0x139);
    assert_int_equal(Stop.parameters[0], 3);
    assert_int_not_equal(Stop.parameters[1], 0);
    assert_int_not_equal(Stop.parameters[2], 0);
    assert_int_equal(Stop.parameters[3], 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void QueueTwice(void *Argument)
{
    KIRQL Old = KeRaiseIrqlToDpcLevel();
    PWORK_QUEUE_ITEM Item = (PWORK_QUEUE_ITEM)Argument;

    (void)Old;
    /* The workers may be quick: queue until an item is caught waiting. */
    for (;;) {
        ExQueueWorkItem(Item, DelayedWorkQueue);
    }
}

static VOID Nothing(PVOID Parameter)
{
    (void)Parameter;
}

static void WorkItem_QueuedTwice_96(void **State)
{
    static WORK_QUEUE_ITEM Item;
    ntmm_bugcheck Stop;

    (void)State;
    ExInitializeWorkItem(&Item, Nothing, NULL);
    assert_true(ntmm_catch(QueueTwice, &Item, &Stop));
    assert_int_equal(Stop.code, 0x96);
    assert_int_equal(Stop.parameters[0], PTR(&Item));
    assert_int_not_equal(Stop.parameters[1], 0);
    assert_int_equal(Stop.parameters[1] - Stop.parameters[2], 2 * sizeof(LIST_ENTRY)); /* the third list */
    assert_int_equal(Stop.parameters[3], PTR(Nothing));
}

/* ---- stops on threads that nothing catches: in a child, by the first line on its console ---- */

static char Output[4096];

static void RunChild(void (*Sin)(void))
{
    int Pipe[2], Status;
    size_t Length = 0;
    ssize_t Count;
    pid_t Child;

    assert_int_equal(pipe(Pipe), 0);
    Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        dup2(Pipe[1], 2);
        close(Pipe[0]);
        signal(SIGABRT, SIG_DFL);
        if (StartTwoProcessors(NULL) == 0) {
            Sin();
        }
        _exit(0);
    }
    close(Pipe[1]);
    while (Length < sizeof Output - 1 && (Count = read(Pipe[0], Output + Length, sizeof Output - 1 - Length)) > 0) {
        Length += (size_t)Count;
    }
    Output[Length] = 0;
    close(Pipe[0]);
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFSIGNALED(Status) && WTERMSIG(Status) == SIGABRT);
}

static void ExpectFirstLine(uint32_t Code, const uint64_t *Parameters, unsigned Known)
{
    unsigned long long P[4];
    unsigned Found;

    assert_int_equal(
        sscanf(Output, "*** STOP: 0x%8x (0x%16llx,0x%16llx,0x%16llx,0x%16llx)", &Found, &P[0], &P[1], &P[2], &P[3]), 5);
    assert_int_equal(Found, Code);
    for (unsigned Index = 0; Index < 4; Index++) {
        if ((Known >> Index) & 1) {
            assert_int_equal(P[Index], Parameters[Index]);
        }
    }
}

static VOID ReturnsRaised(PVOID Parameter)
{
    KIRQL Old;

    (void)Parameter;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
}

static VOID ReturnsInRegion(PVOID Parameter)
{
    (void)Parameter;
    KeEnterCriticalRegion();
}

static WORK_QUEUE_ITEM BadItem;

static void QueueAndWait(PWORKER_THREAD_ROUTINE Routine)
{
    ExInitializeWorkItem(&BadItem, Routine, &Event);
    ExQueueWorkItem(&BadItem, DelayedWorkQueue);
    for (;;) {
        pause();
    }
}

static void QueueRaised(void)
{
    QueueAndWait(ReturnsRaised);
}

static void QueueInRegion(void)
{
    QueueAndWait(ReturnsInRegion);
}

static void WorkItem_ReturnsBadly_E1And01(void **State)
{
    const uint64_t Raised[4] = {PTR(ReturnsRaised), DISPATCH_LEVEL, PTR(&Event), PTR(&BadItem)};
    const uint64_t InRegion[4] = {PTR(ReturnsInRegion), 0, 0x0000FFFF, 1};

    (void)State;
    RunChild(QueueRaised);
    ExpectFirstLine(0xE1, Raised, 15);
    assert_non_null(strstr(Output, "WORKER_THREAD_RETURNED_AT_BAD_IRQL"));
    RunChild(QueueInRegion);
    ExpectFirstLine(0x01, InRegion, 15);
}

static KMUTEX Mutex;

static VOID EndsRaised(PVOID Context)
{
    KIRQL Old;

    (void)Context;
    KeRaiseIrql(APC_LEVEL, &Old);
}

static VOID EndsInRegion(PVOID Context)
{
    (void)Context;
    KeEnterCriticalRegion();
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID EndsWithMutex(PVOID Context)
{
    (void)Context;
    KeInitializeMutex(&Mutex, 0);
    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
}

static void RunThread(PKSTART_ROUTINE Routine)
{
    HANDLE Handle;

    PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL);
    for (;;) {
        pause();
    }
}

static void ThreadRaised(void)
{
    RunThread(EndsRaised);
}

static void ThreadInRegion(void)
{
    RunThread(EndsInRegion);
}

static void ThreadWithMutex(void)
{
    RunThread(EndsWithMutex);
}

static void Thread_EndsBadly_20And4000008A(void **State)
{
    const uint64_t Raised[4] = {0, 0, APC_LEVEL, 0};
    const uint64_t InRegion[4] = {0, (uint64_t)-1, PASSIVE_LEVEL, 0};
    const uint64_t WithMutex[4] = {0, PTR(&Mutex), 0, 0};

    (void)State;
    RunChild(ThreadRaised);
    ExpectFirstLine(0x20, Raised, 15);
    RunChild(ThreadInRegion);
    ExpectFirstLine(0x20, InRegion, 15);
    RunChild(ThreadWithMutex);
    ExpectFirstLine(0x4000008A, WithMutex, 14);
}

static void BreakAlone(void)
{
    DbgBreakPoint();
}

static void Breakpoint_Unhandled_1E(void **State)
{
    const uint64_t Parameters[4] = {0x80000003ull, 0, 0, 0};

    (void)State;
    RunChild(BreakAlone);
    ExpectFirstLine(0x1E, Parameters, 1);
}

int main(void)
{
    const struct CMUnitTest Children[] = {
        cmocka_unit_test(WorkItem_ReturnsBadly_E1And01),
        cmocka_unit_test(Thread_EndsBadly_20And4000008A),
        cmocka_unit_test(Breakpoint_Unhandled_1E),
    };
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Irql_WrongDirection_C4_30_31),
        cmocka_unit_test(SpinLock_Misuse_NamesTheLock),
        cmocka_unit_test(Wait_AtDispatchOrTooMany_Stops),
        cmocka_unit_test(Dpc_Misuse_Stops),
        cmocka_unit_test(Dpc_WrongProcessorOrFlushAtApc_Stops),
        cmocka_unit_test(Region_LeftWithoutEnter_C4_3E),
        cmocka_unit_test(FastMutex_Misuse_Stops),
        cmocka_unit_test(PushLockAndRundown_Misuse_Stops),
        cmocka_unit_test(Resource_Misuse_Stops),
        cmocka_unit_test(InterlockedList_LinksBroken_139),
        cmocka_unit_test(WorkItem_QueuedTwice_96),
    };
    int Failed = cmocka_run_group_tests(Children, NULL, NULL); /* before this process has a system of its own */

    return Failed + cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
