/*
 * work.c - system worker threads. SPDX-License-Identifier: MIT
 *
 * Implements ExQueueWorkItem, and ExpQueueWork under it for IoQueueWorkItem and the core. Items wait in three lists by
 * urgency; worker threads take them in that order and run them at PASSIVE_LEVEL:
 *
 *      ExpWork.Heads[hyper critical | critical | delayed and the rest] --> WORK_QUEUE_ITEM.List --> ...
 *
 *      manager thread: makes a worker while more items wait than workers are idle: two at once, each further one, up to
 *      EXP_WORKERS, only if no item was taken for EXP_PATIENCE, so because the workers block
 *      worker: sleeps on ExpWork.Wake --- item ---> runs it --- next ---> ...
 *
 * A thread is made by the manager, never by who queues (he may be at DISPATCH_LEVEL), so items that block each other do not
 * block the system until EXP_WORKERS of them do. Workers run on kernel stacks and stay until the system stops.
 *
 * Misuse: an item that is queued twice, or whose links were overwritten while it waits, is INVALID_WORK_QUEUE_ITEM (0x96:
 * item, list, lists, routine); a routine that returns above PASSIVE_LEVEL is WORKER_THREAD_RETURNED_AT_BAD_IRQL (0xE1:
 * routine, IRQL, parameter, item), one that returns with APCs disabled APC_INDEX_MISMATCH (0x01: routine, 0, disable counts, 1).
 *
 * Invariants
 *  K1. An item is in at most one list, and its List.Flink is NULL when it is not queued and has been.
 *  K2. Queued is the number of items in the lists.
 *  K3. While Queued > Idle the manager has been told, or EXP_WORKERS workers run; every item has woken a worker if one slept.
 *
 * The lock is a KI_LOCK; items lie in resident memory. Watch: ExpValidateWork, tests/unit/ex_work_test.c.
 */
#include "ex/ex.h"
#include "ex/work.h"

#define EXP_WORKERS       64
#define EXP_READY_WORKERS 2           /* made as soon as there is something to do */
#define EXP_PATIENCE      10000000ull /* ns without a taken item before there are more */
#define EXP_WORK_LISTS    3
#define EXP_STACK_BYTES   0x18000

static struct {
    KI_LOCK Lock;
    LIST_ENTRY Heads[EXP_WORK_LISTS];
    ULONG Queued;
    ULONG Idle;    /* workers asleep, or woken and not yet at the lists */
    ULONG Running; /* workers inside a routine */
    ULONG Workers;
    ULONG Taken; /* items taken ever */
    BOOLEAN Stop;
    volatile LONG Wake;    /* futex word of the workers */
    volatile LONG Manage;  /* futex word of the manager */
    volatile LONG Drained; /* advances whenever the last routine returns and nothing is queued */
    KTHREAD *Manager;
    KTHREAD *Threads[EXP_WORKERS];
    PVOID Stacks[EXP_WORKERS];
    SIZE_T StackBytes[EXP_WORKERS];
} ExpWork;

/* ---- stacks ---- */

PVOID ExpAllocateKernelStack(SIZE_T *Bytes)
{
    SIZE_T Size = HalFacts.StackBytes > EXP_STACK_BYTES ? ROUND_TO_PAGES(HalFacts.StackBytes) : EXP_STACK_BYTES;
    PVOID Stack =
        MmAllocatePages(MmRegionKernelStacks, BYTES_TO_PAGES(Size), MM_PAGES_PINNED | MM_PAGES_ZERO, HighPoolPriority);

    *Bytes = Stack != NULL ? Size : 0;
    return Stack;
}

VOID ExpFreeKernelStack(PVOID Stack, SIZE_T Bytes)
{
    if (Stack != NULL) {
        MmFreePages(Stack, BYTES_TO_PAGES(Bytes));
    }
}

/* ---- the lists ---- */

static ULONG ExpListOf(WORK_QUEUE_TYPE Type)
{
    switch (Type) {
    case HyperCriticalWorkQueue:
    case SuperCriticalWorkQueue:
    case RealTimeWorkQueue:
        return 0;
    case CriticalWorkQueue:
        return 1;
    default:
        return Type >= CustomPriorityWorkQueue && Type - CustomPriorityWorkQueue >= LOW_REALTIME_PRIORITY ? 0 : 2;
    }
}

static BOOLEAN ExpIsQueued(PWORK_QUEUE_ITEM Item)
{
    for (ULONG List = 0; List < EXP_WORK_LISTS; List += 1) {
        for (PLIST_ENTRY Link = ExpWork.Heads[List].Flink; Link != &ExpWork.Heads[List]; Link = Link->Flink) {
            if (Link == &Item->List) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

static DECLSPEC_NORETURN VOID ExpBadItem(PWORK_QUEUE_ITEM Item, ULONG List, const CHAR *Words)
{
    KiStop(INVALID_WORK_QUEUE_ITEM, Words, Item, (ULONG_PTR)Item, (ULONG_PTR)&ExpWork.Heads[List], (ULONG_PTR)ExpWork.Heads,
           (ULONG_PTR)Item->WorkerRoutine);
}

VOID ExpCheckNoWorkItem(const VOID *Base, SIZE_T Bytes)
{
    PWORK_QUEUE_ITEM Found = NULL;
    ULONG In = 0;

    KiAcquireLock(&ExpWork.Lock);
    for (ULONG List = 0; List < EXP_WORK_LISTS && Found == NULL; List += 1) {
        for (PLIST_ENTRY Link = ExpWork.Heads[List].Flink; Link != NULL && Link != &ExpWork.Heads[List]; Link = Link->Flink) {
            if ((ULONG_PTR)Link - (ULONG_PTR)Base < Bytes) {
                Found = CONTAINING_RECORD(Link, WORK_QUEUE_ITEM, List);
                In = List;
            }
        }
    }
    KiReleaseLock(&ExpWork.Lock);
    if (Found != NULL) {
        ExpBadItem(Found, In, "A pool block that holds a queued work item was freed.");
    }
}

VOID ExpQueueWork(PWORK_QUEUE_ITEM Item, WORK_QUEUE_TYPE Type)
{
    ULONG List = ExpListOf(Type);
    BOOLEAN Twice;
    BOOLEAN More = FALSE;
    PLIST_ENTRY Head = &ExpWork.Heads[List];

    KiTouch(Item);
    KiAcquireLock(&ExpWork.Lock);
    Twice = Item->List.Flink != NULL && ExpIsQueued(Item);
    if (!Twice) {
        Item->List.Flink = Head;
        Item->List.Blink = Head->Blink;
        Head->Blink->Flink = &Item->List;
        Head->Blink = &Item->List;
        ExpWork.Queued += 1;
        More = ExpWork.Queued > ExpWork.Idle;
        __atomic_add_fetch(&ExpWork.Wake, 1, __ATOMIC_RELEASE);
        if (More) {
            __atomic_add_fetch(&ExpWork.Manage, 1, __ATOMIC_RELEASE);
        }
    }
    KiReleaseLock(&ExpWork.Lock);
    if (Twice) {
        ExpBadItem(Item, List, "A work item was queued that is queued already.");
    }
    HalWake(&ExpWork.Wake, 1);
    if (More) {
        HalWake(&ExpWork.Manage, 1);
    }
}

VOID ExQueueWorkItem(PWORK_QUEUE_ITEM WorkItem, WORK_QUEUE_TYPE QueueType)
{
    KTHREAD *Thread = KiCurrentThread();

    if (__builtin_expect(Thread->Irql > DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A work item was queued above DISPATCH_LEVEL.", WorkItem, 0xE5, Thread->Irql,
               0, 0);
    }
    if (__builtin_expect((KiVerifierFlags() & 0x800) != 0, 0) &&
        (MmRegionOf(WorkItem) == MmRegionPagedPool || MmRegionOf(WorkItem) == MmRegionPagedSpecialPool)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A work item was queued that lies in pageable memory.", WorkItem, 0x131,
               (ULONG_PTR)WorkItem, 0, 0);
    }
    ExpQueueWork(WorkItem, QueueType);
}

/* ---- workers ---- */

static VOID ExpRunItem(KTHREAD *Thread, PWORK_QUEUE_ITEM Item)
{
    PWORKER_THREAD_ROUTINE Routine = Item->WorkerRoutine;
    PVOID Parameter = Item->Parameter;

    /* The item is its owner's again: it may be freed or queued anew by the routine. */
    KI_CALLOUT(VOID, Routine, (PVOID), (Parameter));
    if (__builtin_expect(Thread->Irql != PASSIVE_LEVEL, 0))
        KiStopFor((const VOID *)(ULONG_PTR)Routine, WORKER_THREAD_RETURNED_AT_BAD_IRQL,
                  "A work item's routine returned above PASSIVE_LEVEL.", (ULONG_PTR)Routine, Thread->Irql, (ULONG_PTR)Parameter,
                  (ULONG_PTR)Item);
    if (__builtin_expect(Thread->CriticalRegion + Thread->GuardedRegion != 0, 0)) {
        ULONG Combined = ((ULONG)(USHORT)-Thread->GuardedRegion << 16) | (USHORT)-Thread->CriticalRegion;
        KiStopFor((const VOID *)(ULONG_PTR)Routine, APC_INDEX_MISMATCH,
                  "A work item's routine returned inside a critical or guarded region.", (ULONG_PTR)Routine, 0, Combined, 1);
    }
}

static PWORK_QUEUE_ITEM ExpTakeItem(ULONG *List)
{
    for (*List = 0; *List < EXP_WORK_LISTS; *List += 1) {
        PLIST_ENTRY Head = &ExpWork.Heads[*List];
        PLIST_ENTRY Link = Head->Flink;

        if (Link == Head) {
            continue;
        }
        if (Link->Flink == NULL || Link->Flink->Blink != Link) {
            return CONTAINING_RECORD(Link, WORK_QUEUE_ITEM, List); /* damaged: left where it is */
        }
        Head->Flink = Link->Flink;
        Link->Flink->Blink = Head;
        Link->Flink = NULL;
        ExpWork.Queued -= 1;
        ExpWork.Taken += 1;
        return CONTAINING_RECORD(Link, WORK_QUEUE_ITEM, List);
    }
    return NULL;
}

static VOID ExpWorkerThread(PVOID Context)
{
    KTHREAD *Thread = KiCurrentThread();

    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        PWORK_QUEUE_ITEM Item;
        ULONG List;

        KiAcquireLock(&ExpWork.Lock);
        while ((Item = ExpTakeItem(&List)) == NULL && !ExpWork.Stop) {
            LONG Seen = __atomic_load_n(&ExpWork.Wake, __ATOMIC_RELAXED);

            ExpWork.Idle += 1;
            if (ExpWork.Running == 0) {
                __atomic_add_fetch(&ExpWork.Drained, 1, __ATOMIC_RELEASE);
            }
            KiReleaseLock(&ExpWork.Lock);
            HalWake(&ExpWork.Drained, MAXLONG);
            while (__atomic_load_n(&ExpWork.Wake, __ATOMIC_ACQUIRE) == Seen) {
                KiBlock(&ExpWork.Wake, Seen, HAL_FOREVER);
            }
            KiAcquireLock(&ExpWork.Lock);
            ExpWork.Idle -= 1;
        }
        if (Item == NULL) {
            KiReleaseLock(&ExpWork.Lock);
            return;
        }
        if (Item->List.Flink != NULL) {
            KiReleaseLock(&ExpWork.Lock);
            ExpBadItem(Item, List, "A work item's links were overwritten while it was queued.");
        }
        ExpWork.Running += 1;
        KiReleaseLock(&ExpWork.Lock);
        ExpRunItem(Thread, Item);
        KiAcquireLock(&ExpWork.Lock);
        ExpWork.Running -= 1;
        KiReleaseLock(&ExpWork.Lock);
    }
}

static BOOLEAN ExpMakeWorker(ULONG Number)
{
    ExpWork.Stacks[Number] = ExpAllocateKernelStack(&ExpWork.StackBytes[Number]);
    if (NT_SUCCESS(KiCreateCoreThread(ExpWorkerThread, NULL, ExpWork.Stacks[Number], ExpWork.StackBytes[Number],
                                      &ExpWork.Threads[Number]))) {
        KiAcquireLock(&ExpWork.Lock);
        ExpWork.Workers += 1;
        KiReleaseLock(&ExpWork.Lock);
        return TRUE;
    }
    ExpFreeKernelStack(ExpWork.Stacks[Number], ExpWork.StackBytes[Number]);
    return FALSE; /* the host has no thread for us: the workers there are go on */
}

static VOID ExpManagerThread(PVOID Context)
{
    ULONG LastTaken = 0;
    BOOLEAN Watching = FALSE; /* items waited when we looked last, and LastTaken had been taken */

    UNREFERENCED_PARAMETER(Context);
    for (;;) {
        LONG Seen = __atomic_load_n(&ExpWork.Manage, __ATOMIC_ACQUIRE);
        ULONG64 Deadline = HAL_FOREVER;
        BOOLEAN Needed;
        BOOLEAN Stop;
        ULONG Number;
        ULONG Taken;

        KiAcquireLock(&ExpWork.Lock);
        Stop = ExpWork.Stop;
        Number = ExpWork.Workers;
        Taken = ExpWork.Taken;
        Needed = ExpWork.Queued > ExpWork.Idle && Number < EXP_WORKERS;
        KiReleaseLock(&ExpWork.Lock);
        if (Stop) {
            return;
        }
        if (!Needed) {
            Watching = FALSE;
        } else if (Number < EXP_READY_WORKERS || (Watching && Taken == LastTaken)) {
            Watching = FALSE;
            if (ExpMakeWorker(Number)) {
                continue;
            }
        } else {
            /* Enough workers, unless they block: look again whether they have taken anything. */
            Watching = TRUE;
            LastTaken = Taken;
            Deadline = HalQueryTime() + EXP_PATIENCE;
            while (KiBlock(&ExpWork.Manage, Seen, Deadline) && !__atomic_load_n(&ExpWork.Stop, __ATOMIC_ACQUIRE)) {
                Seen = __atomic_load_n(&ExpWork.Manage, __ATOMIC_ACQUIRE);
            }
            continue;
        }
        KiBlock(&ExpWork.Manage, Seen, Deadline);
    }
}

VOID ExpDrainWork(VOID)
{
    for (;;) {
        LONG Seen = __atomic_load_n(&ExpWork.Drained, __ATOMIC_ACQUIRE);
        BOOLEAN Busy;

        KiAcquireLock(&ExpWork.Lock);
        Busy = ExpWork.Queued != 0 || ExpWork.Running != 0;
        KiReleaseLock(&ExpWork.Lock);
        if (!Busy) {
            return;
        }
        KiBlock(&ExpWork.Drained, Seen, HAL_FOREVER);
    }
}

/* ---- start and stop, called by ke ---- */

static NTSTATUS ExpStartWorkers(VOID)
{
    memset(&ExpWork, 0, sizeof ExpWork);
    for (ULONG List = 0; List < EXP_WORK_LISTS; List += 1) {
        ExpWork.Heads[List].Flink = ExpWork.Heads[List].Blink = &ExpWork.Heads[List];
    }
    return KiCreateCoreThread(ExpManagerThread, NULL, NULL, 0, &ExpWork.Manager);
}

static VOID ExpStopWorkers(VOID)
{
    if (ExpWork.Manager == NULL) {
        return;
    }
    KiAcquireLock(&ExpWork.Lock);
    __atomic_store_n(&ExpWork.Stop, TRUE, __ATOMIC_RELEASE);
    __atomic_add_fetch(&ExpWork.Wake, 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&ExpWork.Manage, 1, __ATOMIC_RELEASE);
    KiReleaseLock(&ExpWork.Lock);
    HalWake(&ExpWork.Wake, MAXLONG);
    HalWake(&ExpWork.Manage, MAXLONG);
    KiJoinCoreThread(ExpWork.Manager);
    ExpWork.Manager = NULL;
    for (ULONG Number = 0; Number < ExpWork.Workers; Number += 1) {
        KiJoinCoreThread(ExpWork.Threads[Number]);
        ExpFreeKernelStack(ExpWork.Stacks[Number], ExpWork.StackBytes[Number]);
    }
    ExpWork.Workers = 0;
}

SIZE_T ExpWorkerStackPages(VOID)
{
    SIZE_T Bytes = 0;

    KiAcquireLock(&ExpWork.Lock);
    for (ULONG Number = 0; Number < ExpWork.Workers; Number += 1) {
        Bytes += ExpWork.StackBytes[Number];
    }
    KiReleaseLock(&ExpWork.Lock);
    return BYTES_TO_PAGES(Bytes);
}

NTSTATUS (*const KiStartWorkersRoutine)(VOID) = ExpStartWorkers;
VOID (*const KiStopWorkersRoutine)(VOID) = ExpStopWorkers;

const CHAR *ExpValidateWork(VOID)
{
    const CHAR *Broken = NULL;
    ULONG Count = 0;

    KiAcquireLock(&ExpWork.Lock);
    for (ULONG List = 0; List < EXP_WORK_LISTS; List += 1) {
        for (PLIST_ENTRY Link = ExpWork.Heads[List].Flink; Link != &ExpWork.Heads[List]; Link = Link->Flink) {
            if (Link->Flink->Blink != Link) {
                Broken = "K1: a queued item's links do not fit";
            }
            Count += 1;
        }
    }
    if (Count != ExpWork.Queued) {
        Broken = "K2: Queued is not the number of items in the lists";
    }
    KiReleaseLock(&ExpWork.Lock);
    return Broken;
}
