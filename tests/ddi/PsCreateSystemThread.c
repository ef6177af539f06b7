/*
 * PsCreateSystemThread.c - system threads (pages PsCreateSystemThread, PsTerminateSystemThread, PsGetCurrentThreadId,
 * IoGetStackLimits, KeExpandKernelStackAndCallout, KeEnterCriticalRegion). SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ex/work.h"

static volatile LONG Ran;
static HANDLE SeenId;
static PETHREAD SeenThread;
static KIRQL SeenIrql;
static ULONG_PTR StackLow, StackHigh, Remaining, Local;
static BOOLEAN SeenSystem;
static PEPROCESS SeenProcess;

static VOID Routine(PVOID Context)
{
    SeenId = PsGetCurrentThreadId();
    SeenThread = PsGetCurrentThread();
    SeenIrql = KeGetCurrentIrql();
    SeenSystem = PsIsSystemThread(PsGetCurrentThread());
    SeenProcess = PsGetCurrentProcess();
    IoGetStackLimits(&StackLow, &StackHigh);
    Remaining = IoGetRemainingStackSize();
    Local = (ULONG_PTR)&Context;
    __atomic_add_fetch(&Ran, (LONG)(LONG_PTR)Context, __ATOMIC_SEQ_CST);
}

/* For many threads at once: what Routine notes is one thread's. */
static VOID Counts(PVOID Context)
{
    __atomic_add_fetch(&Ran, (LONG)(LONG_PTR)Context, __ATOMIC_SEQ_CST);
}

static PETHREAD Start(PKSTART_ROUTINE StartRoutine, PVOID Context, CLIENT_ID *Id)
{
    OBJECT_ATTRIBUTES Attributes;
    PETHREAD Thread;
    HANDLE Handle;

    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, &Attributes, NULL, Id, StartRoutine, Context),
                     STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *PsThreadType, KernelMode, (PVOID *)&Thread, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(ZwClose(Handle), STATUS_SUCCESS);
    return Thread;
}

static void Await(PETHREAD Thread)
{
    assert_int_equal(KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    ObDereferenceObject(Thread);
}

/* "creates a system thread that executes in kernel mode and returns a handle"; the thread object is signalled when it ends. */
static void Thread_Routine_RunsAtPassiveOnAKernelStack(void **State)
{
    CLIENT_ID Id = {NULL, NULL};
    PETHREAD Thread;

    (void)State;
    Ran = 0;
    Thread = Start(Routine, (PVOID)5, &Id);
    ObReferenceObject(Thread);
    Await(Thread);
    assert_int_equal(Ran, 5);
    assert_int_equal(SeenIrql, PASSIVE_LEVEL);
    assert_ptr_equal(SeenThread, Thread);
    assert_ptr_equal(SeenId, Id.UniqueThread);
    assert_ptr_equal(PsGetThreadId(Thread), Id.UniqueThread);
    assert_ptr_equal(Id.UniqueProcess, (HANDLE)4);
    assert_ptr_equal(SeenProcess, PsInitialSystemProcess);
    assert_true(SeenSystem);
    assert_int_equal(MmRegionOf((PVOID)StackLow), MmRegionKernelStacks);
    assert_true(Local > StackLow && Local < StackHigh);
    assert_true(Remaining > KERNEL_STACK_SIZE && Remaining < StackHigh - StackLow);
    assert_true(PsIsThreadTerminating(Thread));
    assert_int_equal(PsGetThreadExitStatus(Thread), STATUS_SUCCESS);
    ObDereferenceObject(Thread);
}

static int Deep(int Level)
{
    volatile int Space[16] = {Level};

    if (Level == 0) {
        PsTerminateSystemThread(STATUS_CANCELLED);
        return 0;
    }
    return Deep(Level - 1) + Space[0];
}

static VOID TerminatesDeep(PVOID Context)
{
    (void)Context;
    Ran = Deep(10) + 1;
}

/* "terminates the current system thread" from any depth; its status is the thread's exit status. */
static void Terminate_FromDepth_EndsWithTheStatus(void **State)
{
    PETHREAD Thread;

    (void)State;
    Ran = 0;
    Thread = Start(TerminatesDeep, NULL, NULL);
    ObReferenceObject(Thread);
    Await(Thread);
    assert_int_equal(PsGetThreadExitStatus(Thread), STATUS_CANCELLED);
    assert_int_equal(Ran, 0);
    ObDereferenceObject(Thread);
}

/* "returns STATUS_INVALID_PARAMETER" for a thread that is not a system thread of PsCreateSystemThread. */
static void Terminate_OtherThread_InvalidParameter(void **State)
{
    (void)State;
    assert_int_equal(PsTerminateSystemThread(STATUS_SUCCESS), STATUS_INVALID_PARAMETER);
}

static KEVENT Gate;

static VOID WaitsForGate(PVOID Context)
{
    (void)Context;
    KeWaitForSingleObject(&Gate, Executive, KernelMode, FALSE, NULL);
}

/* "accepts the thread ID of a thread and returns a referenced pointer". */
static void Lookup_ById_FindsRunningThreadsOnly(void **State)
{
    CLIENT_ID Id;
    PETHREAD Thread, Found;

    (void)State;
    KeInitializeEvent(&Gate, NotificationEvent, FALSE);
    Thread = Start(WaitsForGate, NULL, &Id);
    assert_int_equal(PsLookupThreadByThreadId(PsGetCurrentThreadId(), &Found), STATUS_SUCCESS);
    assert_ptr_equal(Found, PsGetCurrentThread());
    ObDereferenceObject(Found);
    while (PsLookupThreadByThreadId(Id.UniqueThread, &Found) != STATUS_SUCCESS) {
        KeStallExecutionProcessor(10); /* the thread has not begun yet */
    }
    assert_ptr_equal(Found, Thread);
    ObDereferenceObject(Found);
    KeSetEvent(&Gate, 0, FALSE);
    Await(Thread);
    assert_int_equal(PsLookupThreadByThreadId(Id.UniqueThread, &Found), STATUS_INVALID_PARAMETER);
}

/* Waits until no stack is in use but the workers'; a thread that ended is reaped by a work item. FALSE: one stays. */
static BOOLEAN StacksAreBack(void)
{
    MM_REGION_INFO Info;

    for (int Try = 0; Try < 10000; Try++) {
        LARGE_INTEGER Pause = Relative(1000);

        ExpDrainWork();
        MmQueryRegion(MmRegionKernelStacks, &Info);
        if (Info.PagesInUse == ExpWorkerStackPages()) {
            return TRUE;
        }
        KeDelayExecutionThread(KernelMode, FALSE, &Pause);
    }
    return FALSE;
}

static void Threads_Many_EachHasItsStackBack(void **State)
{
    (void)State;
    for (int Round = 0; Round < 12; Round++) {
        PETHREAD Threads[8];

        Ran = 0;
        for (int Index = 0; Index < 8; Index++) {
            Threads[Index] = Start(Counts, (PVOID)1, NULL);
        }
        for (int Index = 0; Index < 8; Index++) {
            Await(Threads[Index]);
        }
        assert_int_equal(Ran, 8);
        assert_true(StacksAreBack());
    }
}

static VOID Expanded(PVOID Parameter)
{
    *(ULONG_PTR *)Parameter = IoGetRemainingStackSize();
}

static VOID Expands(PVOID Context)
{
    ULONG_PTR Left = 0;

    *(NTSTATUS *)Context = KeExpandKernelStackAndCallout(Expanded, &Left, KERNEL_STACK_SIZE * 2);
    Ran = Left >= KERNEL_STACK_SIZE * 2 - PAGE_SIZE;
}

/* "calls a routine and guarantees that a specified amount of stack is available". */
static void ExpandStack_Fits_CallsWithThatMuch(void **State)
{
    NTSTATUS Status = STATUS_UNSUCCESSFUL;

    (void)State;
    Ran = 0;
    Await(Start(Expands, &Status, NULL));
    assert_int_equal(Status, STATUS_SUCCESS);
    assert_int_equal(Ran, 1);
    assert_int_equal(KeExpandKernelStackAndCallout(Expanded, &Remaining, MAXIMUM_EXPANSION_SIZE + 1),
                     STATUS_INVALID_PARAMETER_3);
    assert_true(IoWithinStackLimits((ULONG_PTR)&Status, sizeof Status) != 0);
    assert_true(IoWithinStackLimits((ULONG_PTR)&Ran, sizeof Ran) == 0);
}

/* KeAreApcsDisabled, KeAreAllApcsDisabled: in critical and guarded regions, nested. */
static void Regions_EnteredAndLeft_ApcsDisabledBetween(void **State)
{
    KIRQL Old;

    (void)State;
    assert_false(KeAreApcsDisabled());
    KeEnterCriticalRegion();
    KeEnterCriticalRegion();
    assert_true(KeAreApcsDisabled());
    assert_false(KeAreAllApcsDisabled());
    KeLeaveCriticalRegion();
    assert_true(KeAreApcsDisabled());
    KeLeaveCriticalRegion();
    assert_false(KeAreApcsDisabled());
    KeEnterGuardedRegion();
    assert_true(KeAreAllApcsDisabled());
    assert_true(KeAreApcsDisabled());
    KeLeaveGuardedRegion();
    assert_false(KeAreAllApcsDisabled());
    KeRaiseIrql(APC_LEVEL, &Old);
    assert_true(KeAreAllApcsDisabled());
    KeLowerIrql(Old);
}

/* A thread that waits for ever when the system stops is ended there, and the system can start again. */
static void Stop_WithAWaitingThread_EndsIt(void **State)
{
    KTHREAD *Thread;

    (void)State;
    KeInitializeEvent(&Gate, NotificationEvent, FALSE);
    Thread = Start(WaitsForGate, NULL, NULL);
    while (KiCountWaiters(&Gate.Header) == 0) {
        HalYield();
    }
    ObDereferenceObject(Thread);
    assert_int_equal(ntmm_stop(), 0);
    assert_int_equal(StartTwoProcessors(State), 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    Ran = 0;
    Await(Start(Routine, (PVOID)1, NULL));
    assert_int_equal(Ran, 1);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Thread_Routine_RunsAtPassiveOnAKernelStack), cmocka_unit_test(Terminate_FromDepth_EndsWithTheStatus),
        cmocka_unit_test(Terminate_OtherThread_InvalidParameter),     cmocka_unit_test(Lookup_ById_FindsRunningThreadsOnly),
        cmocka_unit_test(Threads_Many_EachHasItsStackBack),           cmocka_unit_test(ExpandStack_Fits_CallsWithThatMuch),
        cmocka_unit_test(Regions_EnteredAndLeft_ApcsDisabledBetween), cmocka_unit_test(Stop_WithAWaitingThread_EndsIt),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
