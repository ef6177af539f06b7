/*
 * process.c - processes: their beginning and end, and being attached to one. SPDX-License-Identifier: MIT
 *
 * Implements PsInitialSystemProcess, PsGetCurrentProcess, IoGetCurrentProcess, PsGetCurrentProcessId, PsGetProcessId,
 * PsLookupProcessByProcessId, PsGetProcess*, PsIsSystemProcess, KeStackAttachProcess, KeUnstackDetachProcess,
 * KeAttachProcess, KeDetachProcess, KeIsAttachedProcess, PsAcquireProcessExitSynchronization and its release, ExGetPreviousMode,
 * PsGetVersion.
 *
 *     PspProcessList -- System (id 4)           every host thread and system thread
 *                    -- requester (id 0x10000)  made with the first request of a host thread that is in no process; its threads are the
 *                                               host threads that make requests, for as long as a request takes
 *                    -- others (0x10004 ...)    made by ntmm_process_create; host threads enter and leave them (usermode.c)
 *
 * A process has an address space (mm/space.c). The one a thread uses is KTHREAD.Space: that of its process, or of the one it is
 * attached to (KTHREAD.AttachedProcess). Attaching saves who it was in KAPC_STATE.Process (the value 1 stands for "was attached
 * to it already") and switches the space, a store and two interlocked additions unless translations have to go.
 *
 *     running --PspEndProcess--> exiting (notifications, handles closed, locked pages are 0x76, address space emptied)
 *             --> exited: signalled, an object still --last reference--> gone, its page tables too
 *
 * Invariants: 1. Thread->AttachedProcess is Thread->Process unless the thread is attached, and Thread->Space is that process's;
 * 2. a process in the list has a positive count, or is being deleted; 3. QuotaUsage never exceeds QuotaLimit if that is not 0,
 * and never is negative.
 * Locks: PspProcessLock (leaf) guards the list. Fields of a thread are its own.
 * Watch: tests/ddi/KeStackAttachProcess.c, tests/stress/process_stress_test.c.
 */
#include "ps/psp.h"
#include "ex/ex.h"

static LIST_ENTRY PspProcessList = {&PspProcessList, &PspProcessList};
static KI_LOCK PspProcessLock;
KPROCESS *PspUserProcess;
PEPROCESS PsInitialSystemProcess;

static VOID PspDeleteProcess(PVOID Object)
{
    KPROCESS *Process = Object;
    if (Process->Listed) {
        KiAcquireLock(&PspProcessLock);
        RemoveEntryList(&Process->ProcessListEntry);
        KiReleaseLock(&PspProcessLock);
    }
    if (!Process->System) {
        if (Process->HandleTable)
            ObpDestroyHandleTable(Process->HandleTable);
        if (Process->Space) {
            MmCleanAddressSpace(Process->Space); /* one that never ran, or that the system's end found */
            PspForgetHeaps(Process);
            MmDeleteAddressSpace(Process->Space);
        }
    }
    ObpFreeString(&Process->ImageName);
}

OBJECT_TYPE PspProcessType = {.Name = L"Process",
                              .Tag = 'corP',
                              .WaitOffset = 0,
                              .SupportsCallbacks = TRUE,
                              .ValidAccess = PROCESS_ALL_ACCESS,
                              .Delete = PspDeleteProcess};
OBJECT_TYPE PspThreadType = {
    .Name = L"Thread", .Tag = 'erhT', .WaitOffset = 0, .SupportsCallbacks = TRUE, .ValidAccess = THREAD_ALL_ACCESS};
static POBJECT_TYPE PspProcessTypePointer = &PspProcessType, PspThreadTypePointer = &PspThreadType;
POBJECT_TYPE *PsProcessType = &PspProcessTypePointer;
POBJECT_TYPE *PsThreadType = &PspThreadTypePointer;

static NTSTATUS PspCreateProcess(HANDLE Id, const CHAR *ShortName, const WCHAR *Name, BOOLEAN System, KPROCESS **Result)
{
    KPROCESS *Process;
    UNICODE_STRING Image;
    NTSTATUS Status = ObpCreateObject(&PspProcessType, sizeof *Process, (PVOID *)&Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Process->System = System;
    Process->ProcessId = Id;
    Process->Header.Type = ProcessObject;
    Process->Header.Size = sizeof(DISPATCHER_HEADER) / sizeof(LONG);
    InitializeListHead(&Process->Header.WaitListHead);
    Process->ExitStatus = STATUS_PENDING;
    ExInitializeRundownProtection(&Process->ExitRundown);
    if (PsInitialSystemProcess)
        Process->ParentId = PsGetCurrentProcess()->ProcessId;
    for (ULONG i = 0; ShortName[i] && i < sizeof Process->ImageFileName - 1; i++)
        Process->ImageFileName[i] = ShortName[i];
    KeQuerySystemTime(&Process->CreateTime);
    RtlInitUnicodeString(&Image, Name);
    Status = ObpCopyString(&Image, &Process->ImageName);
    if (NT_SUCCESS(Status)) {
        if (System) {
            Process->HandleTable = ObpKernelTable;
            Process->Space = MmSystemSpace(Process);
        } else {
            Status = ObpCreateHandleTable(&Process->HandleTable);
            if (NT_SUCCESS(Status))
                Status = MmCreateAddressSpace(Process, &Process->Space);
        }
    }
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(Process);
        return Status;
    }
    KiAcquireLock(&PspProcessLock);
    InsertTailList(&PspProcessList, &Process->ProcessListEntry);
    Process->Listed = TRUE;
    KiReleaseLock(&PspProcessLock);
    *Result = Process;
    return STATUS_SUCCESS;
}

NTSTATUS PspCreateUserProcess(VOID)
{
    KPROCESS *Process;
    if (__atomic_load_n(&PspUserProcess, __ATOMIC_ACQUIRE))
        return STATUS_SUCCESS;
    NTSTATUS Status = PspCreateProcess((HANDLE)(ULONG_PTR)0x10000, "ntmm", L"\\??\\ntmm", FALSE, &Process);
    KPROCESS *None = NULL;
    if (!NT_SUCCESS(Status))
        return Status;
    if (__atomic_compare_exchange_n(&PspUserProcess, &None, Process, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        PspNotifyProcess(Process, TRUE);
        return STATUS_SUCCESS;
    }
    ObfDereferenceObject(Process);
    return STATUS_SUCCESS;
}

VOID PspEndUserProcess(NTSTATUS ExitStatus)
{
    KPROCESS *Process = __atomic_load_n(&PspUserProcess, __ATOMIC_ACQUIRE);
    if (Process == NULL || !NT_SUCCESS(PspEndProcess(Process, ExitStatus)))
        return;
    __atomic_store_n(&PspUserProcess, NULL, __ATOMIC_RELEASE);
    ObfDereferenceObject(Process);
}

static volatile LONG PspNextId = 0x10004;

NTSTATUS PspCreateNamedProcess(const CHAR *Name, KPROCESS **Process)
{
    WCHAR Path[64] = L"\\??\\";
    ULONG Length = 4;
    LONG Id = __atomic_fetch_add(&PspNextId, 4, __ATOMIC_RELAXED);
    for (ULONG i = 0; Name[i] && Length < ARRAYSIZE(Path) - 1; i++)
        Path[Length++] = (UCHAR)Name[i];
    Path[Length] = 0;
    NTSTATUS Status = PspCreateProcess((HANDLE)(ULONG_PTR)(ULONG)Id, Name, Path, FALSE, Process);
    if (NT_SUCCESS(Status))
        PspNotifyProcess(*Process, TRUE);
    return Status;
}

NTSTATUS PspEndProcess(KPROCESS *Process, NTSTATUS ExitStatus)
{
    LONG Running = 0;
    if (Process->System)
        return STATUS_ACCESS_DENIED;
    if (!__atomic_compare_exchange_n(&Process->Exiting, &Running, 1, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return STATUS_PROCESS_IS_TERMINATING;
    ExWaitForRundownProtectionRelease(&Process->ExitRundown);
    if (__atomic_load_n(&Process->ThreadCount, __ATOMIC_ACQUIRE) != 0) {
        ExReInitializeRundownProtection(&Process->ExitRundown);
        __atomic_store_n(&Process->Exiting, 0, __ATOMIC_RELEASE);
        return STATUS_DEVICE_BUSY;
    }
    PspNotifyProcess(Process, FALSE);
    ULONG64 Locked = MmLockedPagesOf(Process->Space);
    if (Locked) {
        ExReInitializeRundownProtection(&Process->ExitRundown);
        __atomic_store_n(&Process->Exiting, 0, __ATOMIC_RELEASE); /* for a stop that is caught */
        VOID (*Named)(PVOID) = __atomic_load_n(&MmLockedAtExitRoutine, __ATOMIC_ACQUIRE);
        if (Named != NULL)
            Named(Process); /* pool tracking knows which MDL */
        KiStop(PROCESS_HAS_LOCKED_PAGES, "A process ended while a driver had pages of it locked: an MDL was not unlocked.",
               NULL, 0, (ULONG_PTR)Process, Locked, 0);
    }
    ObpDestroyHandleTable(Process->HandleTable);
    Process->HandleTable = NULL;
    MmCleanAddressSpace(Process->Space);
    PspForgetHeaps(Process);
    KeQuerySystemTime(&Process->ExitTime);
    __atomic_store_n(&Process->ExitStatus, ExitStatus, __ATOMIC_RELAXED);
    __atomic_store_n(&Process->Exited, 1, __ATOMIC_RELEASE);
    KiSignalObject(&Process->Header);
    return STATUS_SUCCESS;
}

NTSTATUS PsAcquireProcessExitSynchronization(PEPROCESS Process)
{
    return ExAcquireRundownProtection(&Process->ExitRundown) ? STATUS_SUCCESS : STATUS_PROCESS_IS_TERMINATING;
}

VOID PsReleaseProcessExitSynchronization(PEPROCESS Process)
{
    ExReleaseRundownProtection(&Process->ExitRundown);
}

static PHAL_ADDRESS_SPACE PspSpaceOf(KPROCESS *Process);

BOOLEAN PspEnterProcess(KTHREAD *Thread, KPROCESS *Process)
{
    if (!ExAcquireRundownProtection(&Process->ExitRundown))
        return FALSE;
    __atomic_add_fetch(&Process->ThreadCount, 1, __ATOMIC_ACQ_REL);
    ExReleaseRundownProtection(&Process->ExitRundown);
    ObfReferenceObject(Process);
    Thread->Process = Thread->AttachedProcess = Process;
    Thread->Space = PspSpaceOf(Process);
    return TRUE;
}

VOID PspLeaveProcess(KTHREAD *Thread)
{
    KPROCESS *Process = Thread->Process;
    if (Process == NULL || Process->System || Process == PspUserProcess)
        return;
    Thread->Process = Thread->AttachedProcess = PsInitialSystemProcess;
    Thread->Space = PspSpaceOf(PsInitialSystemProcess);
    if (Thread == KiCurrentThread())
        KiSwitchSpace(Thread->Space);
    __atomic_sub_fetch(&Process->ThreadCount, 1, __ATOMIC_ACQ_REL);
    ObfDereferenceObject(Process);
}

static PHAL_ADDRESS_SPACE PspSpaceOf(KPROCESS *Process)
{
    return Process && Process->Space ? MmHalSpace(Process->Space) : NULL;
}

VOID PspBecome(KPROCESS *Process, KPROCESSOR_MODE Mode, PSP_IDENTITY *Saved)
{
    KTHREAD *Thread = KiCurrentThread();
    *Saved = (PSP_IDENTITY){Thread->Process, Thread->AttachedProcess, Thread->Space, Thread->PreviousMode};
    Thread->Process = Thread->AttachedProcess = Process;
    Thread->PreviousMode = Mode;
    KiSwitchSpace(PspSpaceOf(Process));
}

VOID PspRevert(const PSP_IDENTITY *Saved)
{
    KTHREAD *Thread = KiCurrentThread();
    Thread->Process = Saved->Process;
    Thread->AttachedProcess = Saved->AttachedProcess;
    Thread->PreviousMode = Saved->PreviousMode;
    KiSwitchSpace(Saved->Space);
}

/* ---- who am I ---- */
PEPROCESS PsGetCurrentProcess(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    if (Thread->AttachedProcess)
        return Thread->AttachedProcess;
    return Thread->Process ? Thread->Process : PsInitialSystemProcess;
}

PEPROCESS IoGetCurrentProcess(VOID)
{
    return PsGetCurrentProcess();
}

HANDLE PsGetCurrentProcessId(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    return Thread->Process ? Thread->Process->ProcessId : PsInitialSystemProcess->ProcessId;
}

KPROCESSOR_MODE ExGetPreviousMode(VOID)
{
    return KiCurrentThread()->PreviousMode;
}

HANDLE PsGetProcessId(PEPROCESS Process)
{
    return Process->ProcessId;
}

PCHAR PsGetProcessImageFileName(PEPROCESS Process)
{
    return Process->ImageFileName;
}

LONGLONG PsGetProcessCreateTimeQuadPart(PEPROCESS Process)
{
    return Process->CreateTime.QuadPart;
}

NTSTATUS PsGetProcessExitStatus(PEPROCESS Process)
{
    return __atomic_load_n(&Process->ExitStatus, __ATOMIC_ACQUIRE);
}

PVOID PsGetProcessSectionBaseAddress(PEPROCESS Process)
{
    return Process->SectionBase;
}

PVOID PsGetProcessJob(PEPROCESS Process)
{
    UNREFERENCED_PARAMETER(Process);
    return NULL;
}

PVOID PsGetProcessWow64Process(PEPROCESS Process)
{
    UNREFERENCED_PARAMETER(Process);
    return NULL;
}

BOOLEAN PsIsSystemProcess(PEPROCESS Process)
{
    return Process->System;
}

NTSTATUS PsLookupProcessByProcessId(HANDLE ProcessId, PEPROCESS *Process)
{
    KI_SECURITY(Routine, NULL, Process, sizeof *Process);
    NTSTATUS Status = STATUS_INVALID_CID;
    *Process = NULL;
    KiAcquireLock(&PspProcessLock);
    for (PLIST_ENTRY Entry = PspProcessList.Flink; Entry != &PspProcessList; Entry = Entry->Flink) {
        KPROCESS *Candidate = CONTAINING_RECORD(Entry, KPROCESS, ProcessListEntry);
        if (Candidate->ProcessId == ProcessId && ObpTryReference(Candidate)) {
            *Process = Candidate;
            Status = STATUS_SUCCESS;
            break;
        }
    }
    KiReleaseLock(&PspProcessLock);
    return Status;
}

/* The high four bits say that it is a free build. */
ULONG NtBuildNumber = 0xf0000000u | 19045;

BOOLEAN PsGetVersion(PULONG MajorVersion, PULONG MinorVersion, PULONG BuildNumber, PUNICODE_STRING CSDVersion)
{
    if (MajorVersion)
        *MajorVersion = 10;
    if (MinorVersion)
        *MinorVersion = 0;
    if (BuildNumber)
        *BuildNumber = NtBuildNumber & 0xffff;
    if (CSDVersion)
        *CSDVersion = (UNICODE_STRING){0, sizeof(WCHAR), (PWCH)L""};
    return FALSE;
}

/* ---- attaching ---- */
static BOOLEAN PspInDpc(KTHREAD *Thread)
{
    return Thread->Irql >= DISPATCH_LEVEL && Thread->Prcb && Thread->Prcb->DpcActive;
}

static VOID PspAttach(KTHREAD *Thread, PRKPROCESS Process, BOOLEAN MayNest)
{
    BOOLEAN Attached = Thread->AttachedProcess != Thread->Process;
    if (PspInDpc(Thread) || (Attached && !MayNest && Thread->AttachedProcess != Process))
        KiStop(INVALID_PROCESS_ATTACH_ATTEMPT,
               PspInDpc(Thread) ? "A thread attached to a process inside a DPC."
                                : "A thread that is attached to one process attached to another without stacking.",
               NULL, (ULONG_PTR)Process, (ULONG_PTR)Thread->AttachedProcess, Attached, PspInDpc(Thread));
    Thread->AttachedProcess = Process;
    KiSwitchSpace(PspSpaceOf(Process));
}

VOID KeStackAttachProcess(PRKPROCESS Process, PRKAPC_STATE ApcState)
{
    KTHREAD *Thread = KiCurrentThread();
    PRKPROCESS Old = PsGetCurrentProcess();
    if (Old == Process && !PspInDpc(Thread)) {
        ApcState->Process = (PRKPROCESS)1;
        return;
    }
    PspAttach(Thread, Process, TRUE);
    InitializeListHead(&ApcState->ApcListHead[0]);
    InitializeListHead(&ApcState->ApcListHead[1]);
    ApcState->InProgressFlags = 0;
    ApcState->KernelApcPending = ApcState->UserApcPending = FALSE;
    ApcState->Process = Old;
}

VOID KeUnstackDetachProcess(PRKAPC_STATE ApcState)
{
    if (ApcState->Process == (PRKPROCESS)1)
        return;
    KiCurrentThread()->AttachedProcess = ApcState->Process;
    KiSwitchSpace(PspSpaceOf(ApcState->Process));
}

VOID KeAttachProcess(PRKPROCESS Process)
{
    PspAttach(KiCurrentThread(), Process, FALSE);
}

VOID KeDetachProcess(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    Thread->AttachedProcess = Thread->Process;
    KiSwitchSpace(PspSpaceOf(Thread->Process));
}

BOOLEAN KeIsAttachedProcess(VOID)
{
    KTHREAD *Thread = KiCurrentThread();
    return Thread->AttachedProcess != Thread->Process;
}

/* ---- start and stop ---- */
static struct _OBP_HANDLE_TABLE *PspCurrentTable(VOID)
{
    KPROCESS *Process = PsGetCurrentProcess();
    return Process ? Process->HandleTable : NULL;
}

static PVOID PspPseudoHandle(HANDLE Handle)
{
    if (Handle == ZwCurrentProcess())
        return PsGetCurrentProcess();
    return KiCurrentThread();
}

/* A thread's record becomes an object; one that ps made itself has its header already. */
static VOID PspThreadStarts(KTHREAD *Thread)
{
    if (ObpHeader(Thread)->Magic != OBP_MAGIC)
        ObpInitializeStatic(&PspThreadType, Thread);
}

static BOOLEAN PspAdopt(KTHREAD *Thread, PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    ObpInitializeStatic(&PspThreadType, Thread);
    return TRUE;
}

NTSTATUS PsInitSystem(VOID)
{
    NTSTATUS Status = PspCreateProcess((HANDLE)(ULONG_PTR)4, "System", L"System", TRUE, &PsInitialSystemProcess);
    if (!NT_SUCCESS(Status))
        return Status;
    C_ASSERT(sizeof(OB_HEADER) <= KI_OBJECT_HEADER_BYTES);
    /* First the hook, then those that are there: a thread that starts meanwhile comes by one way or both. */
    __atomic_store_n(&KiThreadStartRoutine, PspThreadStarts, __ATOMIC_RELEASE);
    KiEnumerateThreads(PspAdopt, NULL);
    KiSetSystemProcess(PsInitialSystemProcess);
    ObpCurrentTableRoutine = PspCurrentTable;
    ObpPseudoHandleRoutine = PspPseudoHandle;
    PspInitQuota();
    return STATUS_SUCCESS;
}

VOID PsShutdownSystem(VOID)
{
    KPROCESS *Process = PspUserProcess;
    PspStopThreads();
    if (Process) {
        PspNotifyProcess(Process, FALSE);
        PspUserProcess = NULL;
        ObfDereferenceObject(Process);
    }
    PspForgetHeaps(NULL);
    PspShutdownNotify();
    ObpCurrentTableRoutine = NULL;
    ObpPseudoHandleRoutine = NULL;
    __atomic_store_n(&KiThreadStartRoutine, NULL, __ATOMIC_RELEASE);
    PspShutdownQuota();
    if (PsInitialSystemProcess) {
        ObfDereferenceObject(PsInitialSystemProcess);
        KiAcquireLock(&PspProcessLock);
        InitializeListHead(&PspProcessList); /* what drivers keep references to stays where it is */
        KiReleaseLock(&PspProcessLock);
        (VOID) MmSystemSpace(NULL);
        PsInitialSystemProcess = NULL;
    }
}
