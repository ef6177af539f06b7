/*
 * thread.c - system threads as objects. SPDX-License-Identifier: MIT
 *
 * Implements PsCreateSystemThread, PsTerminateSystemThread, PsGetCurrentThread, PsGetCurrentThreadId, PsGetThreadId,
 * PsGetThreadProcess(Id), IoThreadToProcess, PsLookupThreadByThreadId, PsIsSystemThread, PsIsThreadTerminating,
 * PsGetThreadExitStatus.
 *
 * A system thread is a thread object (the KTHREAD is its body, in nonpaged pool) and a thread of the host that runs on a
 * kernel stack of ours. The object's first reference belongs to the running thread:
 *
 *      PsCreateSystemThread --- handle, thread started ---> running --- PspExitThread: signalled ---> ended
 *          --- ReapItem, in a worker: the host's thread joined, stack and reference given back ---> gone with its last reference
 *
 * With a process handle the thread is one of that process: it uses its address space, and the process does not end before it.
 *
 * A thread ends by returning from its routine or by PsTerminateSystemThread. When the system stops, threads that still wait
 * are ended in their wait and reported: they would wait for ever; one that runs on is reported and left.
 *
 * Invariants
 *  G1. PspThreadCount is the number of threads between creation and the end of their reaping.
 *  G2. A reaped thread's host thread has left its stack before the stack is freed.
 *
 * Watch: tests/ddi/PsCreateSystemThread.c.
 */
#include "ps/psp.h"
#include "ex/work.h"

static volatile LONG PspThreadCount;
static volatile LONG PspKillWaits;

static VOID PspReapThread(PVOID Parameter)
{
    KTHREAD *Thread = (KTHREAD *)Parameter;

    HalJoinThread(Thread->HalThread);
    ExpFreeKernelStack(Thread->KernelStack, Thread->KernelStackBytes);
    Thread->KernelStack = NULL;
    ObfDereferenceObject(Thread);
    __atomic_sub_fetch(&PspThreadCount, 1, __ATOMIC_RELEASE);
    HalWake(&PspThreadCount, MAXLONG);
}

static DECLSPEC_NORETURN VOID PspExitThread(KTHREAD *Thread, NTSTATUS ExitStatus)
{
    __atomic_store_n(&Thread->Terminating, 1, __ATOMIC_RELEASE);
    PspNotifyThread(PsGetThreadProcessId(Thread), Thread->ThreadId, FALSE);
    PspLeaveProcess(Thread);
    KiLeaveThread(Thread, ExitStatus);
    HalSetCurrentThread(NULL);
    ExpQueueWork(&Thread->ReapItem, CriticalWorkQueue);
    HalExitThread();
}

static VOID PspThreadMain(PVOID Argument)
{
    KTHREAD *Thread = (KTHREAD *)Argument;

    while (__atomic_load_n(&Thread->WaitWord, __ATOMIC_ACQUIRE) == 0) {
        HalWait(&Thread->WaitWord, 0, HAL_FOREVER); /* until the creator has stored HalThread, which the reaper needs */
    }
    if (NT_SUCCESS(KiEnterThread(Thread))) {
        PspNotifyThread(PsGetThreadProcessId(Thread), Thread->ThreadId, TRUE);
        KI_CALLOUT(VOID, Thread->StartRoutine, (PVOID), (Thread->StartContext));
        PspExitThread(Thread, STATUS_SUCCESS);
    }
    ExpQueueWork(&Thread->ReapItem, CriticalWorkQueue);
}

NTSTATUS PsCreateSystemThread(PHANDLE ThreadHandle, ULONG DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                              HANDLE ProcessHandle, PCLIENT_ID ClientId, PKSTART_ROUTINE StartRoutine, PVOID StartContext)
{
    KI_SECURITY(Routine, NULL, ThreadHandle, sizeof *ThreadHandle);
    ULONG Attributes = ObjectAttributes != NULL ? ObjectAttributes->Attributes : 0;
    KTHREAD *Thread;
    HANDLE Handle;
    HANDLE Id;
    NTSTATUS Status;

    KPROCESS *Process = NULL;

    if (KiCurrentThread()->Irql != PASSIVE_LEVEL) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "PsCreateSystemThread was called above PASSIVE_LEVEL.", NULL, 0xE5,
               KiCurrentThread()->Irql, 0, 0);
    }
    Status = ObpCreateObject(&PspThreadType, sizeof(KTHREAD), (PVOID *)&Thread);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    KiInitializeThread(Thread);
    if (ProcessHandle != NULL) {
        Status = ObReferenceObjectByHandle(ProcessHandle, PROCESS_CREATE_THREAD, &PspProcessType, KernelMode, (PVOID *)&Process,
                                           NULL);
        if (NT_SUCCESS(Status) && !PspEnterProcess(Thread, Process)) {
            Status = STATUS_PROCESS_IS_TERMINATING;
        }
        if (Process != NULL) {
            ObfDereferenceObject(Process); /* the thread has its own */
        }
        if (!NT_SUCCESS(Status)) {
            ObfDereferenceObject(Thread);
            return Status;
        }
    }
    Thread->System = TRUE;
    Thread->StartRoutine = (PVOID)StartRoutine;
    Thread->StartContext = StartContext;
    KeQuerySystemTime(&Thread->CreateTime);
    ExInitializeWorkItem(&Thread->ReapItem, PspReapThread, Thread);
    Thread->KernelStack = ExpAllocateKernelStack(&Thread->KernelStackBytes);
    if (Thread->KernelStack == NULL) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
        goto Fail;
    }
    Status = ObpInsertHandle(Thread, DesiredAccess, Attributes, &Handle);
    if (!NT_SUCCESS(Status)) {
        goto Fail;
    }
    Id = Thread->ThreadId;
    __atomic_add_fetch(&PspThreadCount, 1, __ATOMIC_RELAXED);
    Status = HalCreateThread(PspThreadMain, Thread, Thread->KernelStack, Thread->KernelStackBytes, &Thread->HalThread);
    if (!NT_SUCCESS(Status)) {
        __atomic_sub_fetch(&PspThreadCount, 1, __ATOMIC_RELAXED);
        ObpCloseHandle(Handle, KernelMode);
        goto Fail;
    }
    *ThreadHandle = Handle;
    __atomic_store_n(&Thread->WaitWord, 1, __ATOMIC_RELEASE);
    HalWake(&Thread->WaitWord, 1);
    if (ClientId != NULL) {
        ClientId->UniqueProcess = Process != NULL ? Process->ProcessId : (HANDLE)(ULONG_PTR)4;
        ClientId->UniqueThread = Id;
    }
    return STATUS_SUCCESS;
Fail:
    PspLeaveProcess(Thread);
    ExpFreeKernelStack(Thread->KernelStack, Thread->KernelStackBytes);
    Thread->KernelStack = NULL;
    ObfDereferenceObject(Thread);
    return Status;
}

/* Only threads that PsCreateSystemThread made have an item to be reaped with. */
static BOOLEAN PspIsDriverThread(const KTHREAD *Thread)
{
    return Thread->System && Thread->ReapItem.WorkerRoutine != NULL;
}

NTSTATUS PsTerminateSystemThread(NTSTATUS ExitStatus)
{
    KTHREAD *Thread = KiCurrentThread();

    if (!PspIsDriverThread(Thread)) {
        return STATUS_INVALID_PARAMETER;
    }
    PspExitThread(Thread, ExitStatus);
}

/* ---- asking ---- */

#undef PsGetCurrentThread
PETHREAD PsGetCurrentThread(VOID)
{
    return KiCurrentThread();
}

HANDLE PsGetCurrentThreadId(VOID)
{
    return KiCurrentThread()->ThreadId;
}

HANDLE PsGetThreadId(PETHREAD Thread)
{
    return Thread->ThreadId;
}

PEPROCESS PsGetThreadProcess(PETHREAD Thread)
{
    return Thread->Process != NULL ? Thread->Process : PsInitialSystemProcess;
}

HANDLE PsGetThreadProcessId(PETHREAD Thread)
{
    PEPROCESS Process = PsGetThreadProcess(Thread);

    return Process != NULL ? Process->ProcessId : (HANDLE)(ULONG_PTR)4;
}

PEPROCESS IoThreadToProcess(PETHREAD Thread)
{
    return PsGetThreadProcess(Thread);
}

BOOLEAN PsIsSystemThread(PETHREAD Thread)
{
    /* A thread is its process's: one that serves a request for the user process is that one's for as long. */
    return Thread->Process == NULL || Thread->Process == PsInitialSystemProcess;
}

BOOLEAN PsIsThreadTerminating(PETHREAD Thread)
{
    return __atomic_load_n(&Thread->Terminating, __ATOMIC_ACQUIRE) != 0;
}

NTSTATUS PsGetThreadExitStatus(PETHREAD Thread)
{
    return __atomic_load_n(&Thread->ExitStatus, __ATOMIC_RELAXED);
}

typedef struct _PSP_LOOKUP {
    HANDLE ThreadId;
    PETHREAD Found;
} PSP_LOOKUP;

static BOOLEAN PspMatchThread(KTHREAD *Thread, PVOID Context)
{
    PSP_LOOKUP *Lookup = (PSP_LOOKUP *)Context;

    if (Thread->ThreadId == Lookup->ThreadId && ObpTryReference(Thread)) {
        Lookup->Found = Thread;
    }
    return Lookup->Found == NULL;
}

NTSTATUS PsLookupThreadByThreadId(HANDLE ThreadId, PETHREAD *Thread)
{
    PSP_LOOKUP Lookup = {ThreadId, NULL};

    KiEnumerateThreads(PspMatchThread, &Lookup);
    *Thread = Lookup.Found;
    return Lookup.Found != NULL ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

/* ---- the end ---- */

static VOID PspWaitAborted(KTHREAD *Thread)
{
    if (__atomic_load_n(&PspKillWaits, __ATOMIC_ACQUIRE) != 0 && PspIsDriverThread(Thread)) {
        Thread->CriticalRegion = Thread->GuardedRegion = 0;
        Thread->Irql = PASSIVE_LEVEL;
        PspExitThread(Thread, STATUS_THREAD_IS_TERMINATING);
    }
}

static VOID PspReportThread(const KTHREAD *Thread, const CHAR *What)
{
    DbgPrint("ntmm: a system thread (routine %p) %s when the system stopped\n", Thread->StartRoutine, What);
}

typedef struct _PSP_LATE {
    KTHREAD *Threads[64];
    ULONG Count;
} PSP_LATE;

static BOOLEAN PspCollectLate(KTHREAD *Thread, PVOID Context)
{
    PSP_LATE *Late = (PSP_LATE *)Context;

    if (PspIsDriverThread(Thread) && Late->Count < ARRAYSIZE(Late->Threads) && ObpTryReference(Thread)) {
        Late->Threads[Late->Count] = Thread;
        Late->Count += 1;
    }
    return TRUE;
}

static BOOLEAN PspAwaitThreads(ULONG64 Deadline)
{
    LONG Count;

    while ((Count = __atomic_load_n(&PspThreadCount, __ATOMIC_ACQUIRE)) != 0) {
        if (!KiBlock(&PspThreadCount, Count, Deadline)) {
            return FALSE;
        }
    }
    return TRUE;
}

#define PSP_GRACE 200000000ull /* ns: what a thread that is ending may still need */

VOID PspStopThreads(VOID)
{
    PSP_LATE Late = {.Count = 0};

    if (PspAwaitThreads(HalQueryTime() + PSP_GRACE)) {
        return;
    }
    KiEnumerateThreads(PspCollectLate, &Late);
    KiWaitAbortedRoutine = PspWaitAborted;
    __atomic_store_n(&PspKillWaits, 1, __ATOMIC_RELEASE);
    for (ULONG Index = 0; Index < Late.Count; Index += 1) {
        PspReportThread(Late.Threads[Index], KiIsWaiting(Late.Threads[Index]) ? "was still waiting" : "was still running");
        KiAbortWait(Late.Threads[Index], STATUS_THREAD_IS_TERMINATING);
        ObfDereferenceObject(Late.Threads[Index]);
    }
    PspAwaitThreads(HalQueryTime() + 5 * PSP_GRACE);
    __atomic_store_n(&PspKillWaits, 0, __ATOMIC_RELEASE);
    KiWaitAbortedRoutine = NULL;
}
