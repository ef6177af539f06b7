/*
 * thread.c - threads as the kernel layer sees them: records, attaching, ids, affinity, priority. SPDX-License-Identifier: MIT
 *
 * Owns the KTHREAD records of host threads and of the core's own threads (clock, DPC, workers), the list of all threads,
 * and the life of a thread below the object layer. Records of threads that drivers make are objects (ps/thread.c) and
 * only pass through KiInitializeThread, KiEnterThread and KiLeaveThread here.
 *
 * A host thread that makes its first kernel call is given a record from a static table: no memory is needed, so it works
 * before the memory manager does and inside the trap path. Such a thread belongs to the System process and runs at
 * PASSIVE_LEVEL. When it ends the machine says so (KiDetachThreadUpcall) and the record is free again, the one longest
 * free being used next. The bytes in front of each record are room for an object header, which ps fills
 * (KiThreadStartRoutine).
 *
 *      free --- KiAllocateThread ---> initialised --- KiEnterThread, on its own stack ---> running
 *       ^                                                                                     |
 *       +---- KiFreeThread (joined, or the host's own end) ---- ended, signalled <--- KiLeaveThread
 *
 * Invariants
 *  T1. Every running thread is in KiThreadListHead once; its Id is not 0 and no other thread's.
 *  T2. A thread that ends is below DISPATCH_LEVEL, owns no processor, no mutant, and is in no critical region.
 *  T3. KiThreadLock guards the list and the table's Used marks; it is the innermost lock.
 *
 * Watch: KiEnumerateThreads; gdb: KiThreadListHead.
 */
#include "ke/kip.h"

#define KI_STATIC_THREADS 1024

typedef struct DECLSPEC_ALIGN(16) _KI_THREAD_SLOT {
    UCHAR ObjectHeader[KI_OBJECT_HEADER_BYTES];
    KTHREAD Thread;
    LIST_ENTRY FreeLink;
    BOOLEAN Listed, Used;
} KI_THREAD_SLOT;

static KI_THREAD_SLOT KiThreadSlots[KI_STATIC_THREADS];
static ULONG KiThreadSlotsTouched;
static LIST_ENTRY KiFreeSlotHead = {&KiFreeSlotHead, &KiFreeSlotHead};
static LIST_ENTRY KiThreadListHead = {&KiThreadListHead, &KiThreadListHead};
static KI_LOCK KiThreadLock;
static volatile LONG KiNextThreadId = 8;
static volatile LONG KiSystemUp;
static struct _KPROCESS *KiSystemProcess;
static PHAL_ADDRESS_SPACE KiSystemSpace;

VOID (*KiStartRoutine)(VOID);
VOID (*KiThreadStartRoutine)(KTHREAD *Thread);

BOOLEAN KiSystemIsUp(VOID)
{
    return __atomic_load_n(&KiSystemUp, __ATOMIC_ACQUIRE) != 0;
}

KTHREAD *KiAllocateThread(VOID)
{
    KI_THREAD_SLOT *Slot = NULL;

    KiAcquireLock(&KiThreadLock);
    /* Prefer a record that was never used, so that a stale pointer to an ended thread stays harmless for long. */
    if (KiThreadSlotsTouched < KI_STATIC_THREADS) {
        Slot = &KiThreadSlots[KiThreadSlotsTouched];
        KiThreadSlotsTouched += 1;
    } else if (KiFreeSlotHead.Flink != &KiFreeSlotHead) {
        Slot = CONTAINING_RECORD(KiFreeSlotHead.Flink, KI_THREAD_SLOT, FreeLink);
        Slot->FreeLink.Flink->Blink = &KiFreeSlotHead;
        KiFreeSlotHead.Flink = Slot->FreeLink.Flink;
    }
    if (Slot != NULL) {
        Slot->Used = TRUE;
    }
    KiReleaseLock(&KiThreadLock);
    if (Slot == NULL) {
        return NULL;
    }
    memset(Slot->ObjectHeader, 0, sizeof Slot->ObjectHeader);
    KiInitializeThread(&Slot->Thread);
    return &Slot->Thread;
}

VOID KiFreeThread(KTHREAD *Thread)
{
    KI_THREAD_SLOT *Slot = CONTAINING_RECORD(Thread, KI_THREAD_SLOT, Thread);

    KiAcquireLock(&KiThreadLock);
    Slot->Used = FALSE;
    Slot->FreeLink.Flink = &KiFreeSlotHead;
    Slot->FreeLink.Blink = KiFreeSlotHead.Blink;
    KiFreeSlotHead.Blink->Flink = &Slot->FreeLink;
    KiFreeSlotHead.Blink = &Slot->FreeLink;
    KiReleaseLock(&KiThreadLock);
}

VOID KiInitializeThread(KTHREAD *Thread)
{
    memset(Thread, 0, sizeof *Thread);
    Thread->Header.Type = ThreadObject;
    Thread->Header.Size = sizeof *Thread / sizeof(LONG);
    Thread->Header.WaitListHead.Flink = Thread->Header.WaitListHead.Blink = &Thread->Header.WaitListHead;
    Thread->MutantListHead.Flink = Thread->MutantListHead.Blink = &Thread->MutantListHead;
    Thread->Id = __atomic_fetch_add(&KiNextThreadId, 4, __ATOMIC_RELAXED);
    Thread->ThreadId = (HANDLE)(ULONG_PTR)(ULONG)Thread->Id;
    Thread->Prcb = &KiProcessors[((ULONG)Thread->Id / 4) % KiProcessorCount];
    Thread->PreviousMode = KernelMode;
    Thread->Priority = 8;
    Thread->PagePriority = KI_PAGE_PRIORITY;
    Thread->Process = Thread->AttachedProcess = KiSystemProcess;
    Thread->Space = KiSystemSpace;
    Thread->ExitStatus = STATUS_PENDING;
}

NTSTATUS KiEnterThread(KTHREAD *Thread)
{
    VOID (*Started)(KTHREAD * Thread);
    NTSTATUS Status;

    HalQueryStack(&Thread->StackLow, &Thread->StackHigh);
    Status = HalSetCurrentThread(Thread);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    HalActivateAddressSpace(Thread->Space);
    KiAcquireLock(&KiThreadLock);
    Thread->ThreadListEntry.Flink = &KiThreadListHead;
    Thread->ThreadListEntry.Blink = KiThreadListHead.Blink;
    KiThreadListHead.Blink->Flink = &Thread->ThreadListEntry;
    KiThreadListHead.Blink = &Thread->ThreadListEntry;
    KiReleaseLock(&KiThreadLock);
    Started = __atomic_load_n(&KiThreadStartRoutine, __ATOMIC_ACQUIRE);
    if (Started != NULL) {
        Started(Thread);
    }
    return STATUS_SUCCESS;
}

VOID (*KiThreadRundownRoutine)(KTHREAD *Thread);

VOID KiLeaveThread(KTHREAD *Thread, NTSTATUS ExitStatus)
{
    LONG ApcDisable;

    KiTellLockWatch(KiLockThreadEnds, KiNoLock, NULL, Thread);
    KiCheckStackAtExit(Thread);
    KiAbandonMutants(Thread);
    ApcDisable = -(Thread->CriticalRegion + Thread->GuardedRegion);
    if (Thread->Irql != PASSIVE_LEVEL || ApcDisable != 0) {
        KiStop(KERNEL_APC_PENDING_DURING_EXIT,
               Thread->Irql != PASSIVE_LEVEL ? "A thread ended at a raised IRQL."
                                             : "A thread ended inside a critical or guarded region.",
               NULL, 0, (ULONG_PTR)(LONG_PTR)ApcDisable, Thread->Irql, 0);
    }
    if (KiThreadRundownRoutine != NULL) {
        KiThreadRundownRoutine(Thread);
    }
    KiAcquireLock(&KiThreadLock);
    Thread->ThreadListEntry.Blink->Flink = Thread->ThreadListEntry.Flink;
    Thread->ThreadListEntry.Flink->Blink = Thread->ThreadListEntry.Blink;
    KiReleaseLock(&KiThreadLock);
    /* Last: whoever waits for the end finds the thread gone from everywhere. */
    KiLockDispatcher();
    Thread->ExitStatus = ExitStatus;
    Thread->Header.SignalState = 1;
    KiTestWaiters(&Thread->Header);
    KiUnlockDispatcher();
}

VOID KiEnumerateThreads(BOOLEAN (*Visit)(KTHREAD *Thread, PVOID Context), PVOID Context)
{
    KiAcquireLock(&KiThreadLock);
    for (PLIST_ENTRY Link = KiThreadListHead.Flink; Link != &KiThreadListHead; Link = Link->Flink) {
        if (!Visit(CONTAINING_RECORD(Link, KTHREAD, ThreadListEntry), Context)) {
            break;
        }
    }
    KiReleaseLock(&KiThreadLock);
}

static BOOLEAN KipGiveProcess(KTHREAD *Thread, PVOID Process)
{
    if (Thread->Process == NULL) {
        Thread->Process = (struct _KPROCESS *)Process;
    }
    if (Thread->AttachedProcess == NULL) {
        Thread->AttachedProcess = (struct _KPROCESS *)Process;
    }
    return TRUE;
}

VOID KiSetSystemProcess(struct _KPROCESS *Process)
{
    KiSystemProcess = Process;
    KiEnumerateThreads(KipGiveProcess, Process);
}

static BOOLEAN KipGiveSpace(KTHREAD *Thread, PVOID Space)
{
    if (Thread->Space == NULL || Space == NULL) {
        Thread->Space = (PHAL_ADDRESS_SPACE)Space;
    }
    return TRUE;
}

BOOLEAN KiIsInSystemSpace(const KTHREAD *Thread)
{
    return Thread->Space == KiSystemSpace;
}

VOID KiSetSystemSpace(PHAL_ADDRESS_SPACE Space)
{
    KiSystemSpace = Space;
    KiEnumerateThreads(KipGiveSpace, Space);
    if (HalCurrentThread() != NULL) {
        HalActivateAddressSpace(KiCurrentThread()->Space);
    }
}

/* ---- threads of the host ---- */

static DECLSPEC_NORETURN VOID KipDie(const CHAR *Text)
{
    SIZE_T Length = 0;

    while (Text[Length] != 0) {
        Length += 1;
    }
    HalPrint(Text, Length);
    HalHalt();
}

KTHREAD *KiAttachCurrentThread(VOID)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();

    if (Thread != NULL) {
        return Thread;
    }
    if (!KiSystemIsUp()) {
        if (KiStartRoutine == NULL) {
            KipDie("ntmm: a kernel routine was called before the system was started\n");
        }
        KiStartRoutine();
        Thread = (KTHREAD *)HalCurrentThread();
        if (Thread != NULL) {
            return Thread;
        }
    }
    Thread = KiAllocateThread();
    if (Thread == NULL) {
        KipDie("ntmm: more than 1024 threads of the host use the system at once\n");
    }
    if (!NT_SUCCESS(KiEnterThread(Thread))) {
        KipDie("ntmm: the machine cannot take another thread\n");
    }
    return Thread;
}

VOID KiAttachThreadUpcall(VOID)
{
    KiAttachCurrentThread();
}

VOID KiDetachThreadUpcall(PVOID Value)
{
    KTHREAD *Thread = (KTHREAD *)Value;

    if (Thread == NULL || Thread->System) {
        return;
    }
    KiLeaveThread(Thread, STATUS_SUCCESS);
    HalSetCurrentThread(NULL);
    KiFreeThread(Thread);
}

/* ---- start and stop ---- */

static BOOLEAN KipIsOnThisStack(KTHREAD *Thread, PVOID Context)
{
    KTHREAD **Found = (KTHREAD **)Context;
    ULONG_PTR Here = (ULONG_PTR)__builtin_frame_address(0);

    if (!Thread->System && Here >= Thread->StackLow && Here < Thread->StackHigh) {
        *Found = Thread;
    }
    return *Found == NULL;
}

NTSTATUS KeInitSystem(VOID)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();
    NTSTATUS Status;

    KiInitProcessors();
    KiSystemProcess = NULL;
    if (Thread == NULL) {
        /* A thread that ran an earlier system has a record still. */
        KiEnumerateThreads(KipIsOnThisStack, &Thread);
        if (Thread != NULL) {
            Status = HalSetCurrentThread(Thread);
            if (!NT_SUCCESS(Status)) {
                return Status;
            }
        }
    }
    if (Thread == NULL) {
        Thread = KiAllocateThread();
        Status = Thread == NULL ? STATUS_INSUFFICIENT_RESOURCES : KiEnterThread(Thread);
        if (!NT_SUCCESS(Status)) {
            return Status;
        }
    } else {
        Thread->Prcb = &KiProcessors[0];
    }
    memset(&KiTrims, 0, sizeof KiTrims);
    KiSetForceIrqlChecking(FALSE);
    KiCountIrqls(FALSE);
    KiStartTimers();
    __atomic_store_n(&KiSystemUp, 1, __ATOMIC_RELEASE);
    return STATUS_SUCCESS;
}

NTSTATUS KeInitThreads(VOID)
{
    NTSTATUS Status = KiStartDpcThreads();

    if (NT_SUCCESS(Status)) {
        Status = KiStartWorkersRoutine();
        if (!NT_SUCCESS(Status)) {
            KiStopDpcThreads();
        }
    }
    return Status;
}

static BOOLEAN KipForgetSystem(KTHREAD *Thread, PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    Thread->Process = Thread->AttachedProcess = NULL;
    Thread->Space = NULL;
    Thread->VfStack = 0;
    Thread->VfSeen = 0;
    Thread->ExCache = Thread->ExBare = Thread->IoState = Thread->VfState = Thread->PsState = NULL;
    Thread->Prcb = &KiProcessors[0];
    Thread->Affinity = 0;
    return TRUE;
}

VOID KeShutdownSystem(VOID)
{
    KiStopTimers();
    KiStopWorkersRoutine();
    KiStopDpcThreads();
    __atomic_store_n(&KiSystemUp, 0, __ATOMIC_RELEASE);
    /* Threads of the host that stay attached meet the next system with their records as new. */
    KiEnumerateThreads(KipForgetSystem, NULL);
    KiSystemProcess = NULL;
    __atomic_store_n(&KiThreadStartRoutine, NULL, __ATOMIC_RELEASE);
}

/* ---- the core's own threads ---- */

static VOID KipThreadMain(PVOID Argument)
{
    KTHREAD *Thread = (KTHREAD *)Argument;

    if (NT_SUCCESS(KiEnterThread(Thread))) {
        ((VOID(*)(PVOID))Thread->StartRoutine)(Thread->StartContext);
        KiLeaveThread(Thread, STATUS_SUCCESS);
        HalSetCurrentThread(NULL);
    }
}

NTSTATUS KiCreateCoreThread(VOID (*Start)(PVOID), PVOID Context, PVOID StackBase, SIZE_T StackBytes, KTHREAD **Result)
{
    KTHREAD *Thread = KiAllocateThread();
    NTSTATUS Status;

    if (Thread == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Thread->System = TRUE;
    Thread->Priority = 15;
    Thread->StartRoutine = (PVOID)Start;
    Thread->StartContext = Context;
    Status = HalCreateThread(KipThreadMain, Thread, StackBase, StackBytes, &Thread->HalThread);
    if (!NT_SUCCESS(Status)) {
        KiFreeThread(Thread);
        return Status;
    }
    *Result = Thread;
    return STATUS_SUCCESS;
}

VOID KiJoinCoreThread(KTHREAD *Thread)
{
    HalJoinThread(Thread->HalThread);
    KiFreeThread(Thread);
}

/* ---- priority and affinity: kept and reported; the host schedules ---- */

#undef KeGetCurrentThread
PKTHREAD KeGetCurrentThread(VOID)
{
    return KiCurrentThread();
}

KPRIORITY KeQueryPriorityThread(PKTHREAD Thread)
{
    return __atomic_load_n(&Thread->Priority, __ATOMIC_RELAXED);
}

KPRIORITY KeSetPriorityThread(PKTHREAD Thread, KPRIORITY Priority)
{
    /* Documented range: LOW_REALTIME_PRIORITY and its neighbours, 1 to HIGH_PRIORITY; 0 belongs to the zero thread. */
    return __atomic_exchange_n(&Thread->Priority, Priority, __ATOMIC_RELAXED);
}

LONG KeSetBasePriorityThread(PKTHREAD Thread, LONG Increment)
{
    LONG Old = __atomic_exchange_n(&Thread->Priority, 8 + Increment, __ATOMIC_RELAXED);

    return Old - 8;
}

KAFFINITY KeSetSystemAffinityThreadEx(KAFFINITY Affinity)
{
    KTHREAD *Thread = KiCurrentThread();
    KAFFINITY Old = Thread->Affinity;
    KAFFINITY Active = KeQueryActiveProcessors();

    Affinity &= Active;
    if (Affinity == 0) {
        return 0;
    }
    Thread->Affinity = Affinity == Active ? 0 : Affinity;
    if (((Affinity >> Thread->Prcb->Number) & 1) == 0 && Thread->Irql < DISPATCH_LEVEL) {
        Thread->Prcb = &KiProcessors[__builtin_ctzll(Affinity)];
        if (Thread->Pcr != NULL) {
            Thread->Pcr->Number = Thread->Prcb->Number;
        }
    }
    return Old;
}

VOID KeSetSystemAffinityThread(KAFFINITY Affinity)
{
    KeSetSystemAffinityThreadEx(Affinity);
}

VOID KeRevertToUserAffinityThreadEx(KAFFINITY Affinity)
{
    KiCurrentThread()->Affinity = Affinity & KeQueryActiveProcessors();
}

VOID KeRevertToUserAffinityThread(VOID)
{
    KiCurrentThread()->Affinity = 0;
}

VOID KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity, PGROUP_AFFINITY PreviousAffinity)
{
    KAFFINITY Old;

    if (PreviousAffinity != NULL) {
        memset(PreviousAffinity, 0, sizeof *PreviousAffinity);
    }
    if (Affinity->Group != 0 || (Affinity->Mask & KeQueryActiveProcessors()) == 0) {
        return;
    }
    Old = KeSetSystemAffinityThreadEx(Affinity->Mask);
    if (PreviousAffinity != NULL) {
        PreviousAffinity->Mask = Old;
    }
}

VOID KeRevertToUserGroupAffinityThread(PGROUP_AFFINITY PreviousAffinity)
{
    KeRevertToUserAffinityThreadEx(PreviousAffinity->Mask);
}
