/*
 * resource.c - ERESOURCE: reader/writer locks with owners. SPDX-License-Identifier: MIT
 *
 * Implements ExInitializeResourceLite, ExReinitializeResourceLite, ExDeleteResourceLite, ExAcquireResourceExclusiveLite,
 * ExAcquireResourceSharedLite, ExAcquireSharedStarveExclusive, ExAcquireSharedWaitForExclusive, ExTryToAcquireResourceExclusiveLite,
 * ExReleaseResourceLite, ExReleaseResourceForThreadLite, ExConvertExclusiveToSharedLite, ExIsResourceAcquired*Lite,
 * ExGet*WaiterCount, ExSetResourceOwnerPointer(Ex), and the forms with a critical region around them.
 *
 *      ERESOURCE  OwnerEntry       the exclusive owner, or one of the sharers
 *                 OwnerTable ----> [0].TableSize = n, [1] ... [n - 1]: more sharers (nonpaged pool, made on demand)
 *                 SharedWaiters, ExclusiveWaiters ----> EXP_WAITER on the waiter's stack --> next, in order of arrival
 *
 *      free --- exclusive ---> exclusive (OwnerCount times)      ActiveCount: 0 free, else 1
 *       ^  \--- shared ------> shared (ActiveEntries sharers, each OwnerCount times)
 *       +------ last release: handed straight to waiters, so a resource with waiters is never free
 *
 * Who is next: when an exclusive owner is done, all waiting sharers go on together, else the first exclusive waiter; when
 * the last sharer is done, the first exclusive waiter, else all sharers. New sharers queue behind an exclusive waiter
 * unless they share already (ExAcquireResourceSharedLite), never (StarveExclusive), always (WaitForExclusive).
 *
 * Misuse: released by a thread that does not own it: RESOURCE_NOT_OWNED (0xE3: resource, thread, owner table, 0); acquired
 * above APC_LEVEL, or under Driver Verifier with APCs enabled: 0xC4/0x37 (IRQL, APC disable count, resource); released above
 * DISPATCH_LEVEL: 0xC4/0x38; misaligned: 0xC4/0x3D (0, 0, resource); deleted without being initialised, or twice: 0xC4/0xD1
 * (resource, 0, 0).
 *
 * Invariants
 *  Q1. ActiveCount is 1 exactly while ActiveEntries > 0; ActiveEntries counts the owner entries in use.
 *  Q2. With the exclusive flag ActiveEntries is 1 and the entry is OwnerEntry.
 *  Q3. While anyone waits, the owner table has a free entry for each waiting sharer, so that a release never allocates.
 *  Q4. NumberOfSharedWaiters and NumberOfExclusiveWaiters are the lengths of the two lists.
 *  Q5. A free resource has no waiters.
 *
 * A KI_LOCK chosen by the resource's address guards all of it; the resource lies in resident memory. Watch:
 * ExpValidateResource, tests/unit/ex_resource_test.c, tests/stress/ke_stress_test.c.
 */
#include "ex/ex.h"
#include "ex/work.h"

#define EXP_RESOURCE_TAG   'sRxE'
#define EXP_RESOURCE_LOCKS 64

typedef struct _EXP_WAITER {
    struct _EXP_WAITER *Next;
    ERESOURCE_THREAD Thread;
    KEVENT Event;
} EXP_WAITER;

typedef enum _EXP_SHARED { ExpSharedNormal, ExpSharedStarve, ExpSharedWait } EXP_SHARED;

static KI_LOCK ExpResourceLocks[EXP_RESOURCE_LOCKS];

static inline PKI_LOCK ExpLockOf(const ERESOURCE *Resource)
{
    return &ExpResourceLocks[((ULONG_PTR)Resource >> 4) % EXP_RESOURCE_LOCKS];
}

/* ---- owners ---- */

static POWNER_ENTRY ExpFindOwner(PERESOURCE Resource, ERESOURCE_THREAD Thread)
{
    if (Resource->OwnerEntry.OwnerThread == Thread) {
        return &Resource->OwnerEntry;
    }
    if (Resource->OwnerTable != NULL) {
        for (ULONG Index = 1; Index < Resource->OwnerTable[0].TableSize; Index += 1) {
            if (Resource->OwnerTable[Index].OwnerThread == Thread) {
                return &Resource->OwnerTable[Index];
            }
        }
    }
    return NULL;
}

static ULONG ExpFreeEntries(const ERESOURCE *Resource)
{
    ULONG Entries = 1 + (Resource->OwnerTable != NULL ? Resource->OwnerTable[0].TableSize - 1 : 0);

    return Entries - Resource->ActiveEntries;
}

static VOID ExpAddOwner(PERESOURCE Resource, ERESOURCE_THREAD Thread)
{
    POWNER_ENTRY Entry = ExpFindOwner(Resource, 0);

    Entry->OwnerThread = Thread;
    Entry->OwnerCount = 1;
    Resource->ActiveEntries += 1;
    Resource->ActiveCount = 1;
}

static VOID ExpDropOwner(PERESOURCE Resource, POWNER_ENTRY Entry)
{
    Entry->OwnerThread = 0;
    Entry->TableSize = 0;
    Resource->ActiveEntries -= 1;
    if (Resource->ActiveEntries == 0) {
        Resource->ActiveCount = 0;
        Resource->Flag &= (USHORT)~ResourceOwnedExclusive;
    }
}

/* Doubles the owner table if the sharer that wants in, and those that wait, would not fit. Called and returns with the lock
 * held; FALSE if it had to let go of it, so that the caller looks again. */
static BOOLEAN ExpReserveEntry(PERESOURCE Resource)
{
    POWNER_ENTRY Table;
    POWNER_ENTRY Old;
    ULONG Wanted;

    if (ExpFreeEntries(Resource) > Resource->NumberOfSharedWaiters) {
        return TRUE;
    }
    Wanted = Resource->OwnerTable != NULL ? Resource->OwnerTable[0].TableSize * 2 : 4;
    KiReleaseLock(ExpLockOf(Resource));
    Table = (POWNER_ENTRY)ExAllocatePoolWithTag(NonPagedPoolNx, Wanted * sizeof(OWNER_ENTRY), EXP_RESOURCE_TAG);
    if (Table == NULL) {
        LARGE_INTEGER Pause = {.QuadPart = -10000};

        KeDelayExecutionThread(KernelMode, FALSE, &Pause); /* as Windows: an acquire cannot fail for memory */
        KiAcquireLock(ExpLockOf(Resource));
        return FALSE;
    }
    memset(Table, 0, Wanted * sizeof(OWNER_ENTRY));
    KiAcquireLock(ExpLockOf(Resource));
    Old = Resource->OwnerTable;
    if (Old == NULL || Old[0].TableSize < Wanted) {
        if (Old != NULL) {
            memcpy(Table, Old, Old[0].TableSize * sizeof(OWNER_ENTRY));
        }
        Table[0].OwnerThread = ~(ERESOURCE_THREAD)0; /* never anyone's */
        Table[0].TableSize = Wanted;
        Resource->OwnerTable = Table;
        Table = Old;
    }
    KiReleaseLock(ExpLockOf(Resource));
    if (Table != NULL) {
        ExFreePoolWithTag(Table, EXP_RESOURCE_TAG);
    }
    KiAcquireLock(ExpLockOf(Resource));
    return FALSE;
}

/* ---- waiting ---- */

static VOID ExpAppendWaiter(PVOID *List, EXP_WAITER *Waiter)
{
    EXP_WAITER **Place = (EXP_WAITER **)List;

    while (*Place != NULL) {
        Place = &(*Place)->Next;
    }
    Waiter->Next = NULL;
    *Place = Waiter;
}

static VOID ExpGrantShared(PERESOURCE Resource, EXP_WAITER **Go)
{
    EXP_WAITER *Waiter = (EXP_WAITER *)Resource->SharedWaiters;

    Resource->SharedWaiters = NULL;
    Resource->NumberOfSharedWaiters = 0;
    *Go = Waiter;
    for (; Waiter != NULL; Waiter = Waiter->Next) {
        POWNER_ENTRY Entry = ExpFindOwner(Resource, Waiter->Thread);

        if (Entry != NULL) {
            Entry->OwnerCount += 1;
        } else {
            ExpAddOwner(Resource, Waiter->Thread);
        }
    }
}

static VOID ExpGrantExclusive(PERESOURCE Resource, EXP_WAITER **Go)
{
    EXP_WAITER *Waiter = (EXP_WAITER *)Resource->ExclusiveWaiters;

    Resource->ExclusiveWaiters = Waiter->Next;
    Resource->NumberOfExclusiveWaiters -= 1;
    Waiter->Next = NULL;
    Resource->OwnerEntry.OwnerThread = Waiter->Thread;
    Resource->OwnerEntry.TableSize = 0;
    Resource->OwnerEntry.OwnerCount = 1;
    Resource->ActiveEntries = 1;
    Resource->ActiveCount = 1;
    Resource->Flag |= ResourceOwnedExclusive;
    *Go = Waiter;
}

static VOID ExpWakeWaiters(EXP_WAITER *Go)
{
    while (Go != NULL) {
        EXP_WAITER *Waiter = Go;

        Go = Waiter->Next; /* the record is gone once its event is set */
        KeSetEvent(&Waiter->Event, IO_NO_INCREMENT, FALSE);
    }
}

static VOID ExpPrepareWaiter(EXP_WAITER *Waiter, ERESOURCE_THREAD Thread)
{
    Waiter->Thread = Thread;
    KeInitializeEvent(&Waiter->Event, SynchronizationEvent, FALSE);
}

/* ---- checks ---- */

static VOID ExpCheckAcquire(PERESOURCE Resource, KTHREAD *Thread)
{
    LONG_PTR ApcDisable = -(LONG_PTR)(Thread->CriticalRegion + Thread->GuardedRegion);

    if (__builtin_expect(((ULONG_PTR)Resource & (sizeof(PVOID) - 1)) != 0, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An ERESOURCE is not aligned.", Resource, 0x3D, 0, 0, (ULONG_PTR)Resource);
    }
    if (__builtin_expect(Thread->Irql > APC_LEVEL ||
                             (KiVerifierFlags() != 0 && Thread->Irql < APC_LEVEL && ApcDisable == 0 && !Thread->System),
                         0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION,
               Thread->Irql > APC_LEVEL ? "An ERESOURCE was acquired above APC_LEVEL."
                                        : "An ERESOURCE was acquired while normal APCs are enabled.",
               Resource, 0x37, Thread->Irql, (ULONG_PTR)ApcDisable, (ULONG_PTR)Resource);
    }
    KiTouch(Resource);
}

/* ---- making and deleting ---- */

NTSTATUS ExInitializeResourceLite(PERESOURCE Resource)
{
    KI_CHECK_OBJECT(Resource);
    if (__builtin_expect((KiVerifierFlags() & KI_VERIFY_MISC) != 0, 0) && ExpNoteObject(ExpObjectResource, Resource) != NULL)
        KiStop(0xC4, "An ERESOURCE was initialised that is initialised already.", Resource, 0xD0, (ULONG_PTR)Resource, 0, 0);
    memset(Resource, 0, sizeof *Resource);
    Resource->SystemResourcesList.Flink = Resource->SystemResourcesList.Blink = &Resource->SystemResourcesList;
    return STATUS_SUCCESS;
}

NTSTATUS ExReinitializeResourceLite(PERESOURCE Resource)
{
    if (Resource->OwnerTable != NULL) {
        memset(&Resource->OwnerTable[1], 0, (Resource->OwnerTable[0].TableSize - 1) * sizeof(OWNER_ENTRY));
    }
    Resource->ActiveCount = 0;
    Resource->Flag = 0;
    Resource->SharedWaiters = Resource->ExclusiveWaiters = NULL;
    memset(&Resource->OwnerEntry, 0, sizeof Resource->OwnerEntry);
    Resource->ActiveEntries = Resource->ContentionCount = 0;
    Resource->NumberOfSharedWaiters = Resource->NumberOfExclusiveWaiters = 0;
    return STATUS_SUCCESS;
}

NTSTATUS ExDeleteResourceLite(PERESOURCE Resource)
{
    if (Resource->SystemResourcesList.Flink != &Resource->SystemResourcesList) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An ERESOURCE was deleted that is not initialised, or deleted twice.",
               Resource, 0xD1, (ULONG_PTR)Resource, 0, 0);
    }
    ExpForgetObject(ExpObjectResource, Resource);
    Resource->SystemResourcesList.Flink = Resource->SystemResourcesList.Blink = NULL;
    if (Resource->OwnerTable != NULL) {
        ExFreePoolWithTag(Resource->OwnerTable, EXP_RESOURCE_TAG);
        Resource->OwnerTable = NULL;
    }
    return STATUS_SUCCESS;
}

/* ---- acquiring ---- */

BOOLEAN ExAcquireResourceExclusiveLite(PERESOURCE Resource, BOOLEAN Wait)
{
    KTHREAD *Thread = KiCurrentThread();
    ERESOURCE_THREAD Me = (ERESOURCE_THREAD)Thread;
    EXP_WAITER Waiter;

    ExpCheckAcquire(Resource, Thread);
    KiAcquireLock(ExpLockOf(Resource));
    if (Resource->ActiveCount == 0) {
        ExpAddOwner(Resource, Me); /* no entry is in use, so it is OwnerEntry: Q2 */
        Resource->Flag |= ResourceOwnedExclusive;
        KiReleaseLock(ExpLockOf(Resource));
        return TRUE;
    }
    if ((Resource->Flag & ResourceOwnedExclusive) != 0 && Resource->OwnerEntry.OwnerThread == Me) {
        Resource->OwnerEntry.OwnerCount += 1;
        KiReleaseLock(ExpLockOf(Resource));
        return TRUE;
    }
    if (!Wait) {
        KiReleaseLock(ExpLockOf(Resource));
        return FALSE;
    }
    ExpPrepareWaiter(&Waiter, Me);
    ExpAppendWaiter(&Resource->ExclusiveWaiters, &Waiter);
    Resource->NumberOfExclusiveWaiters += 1;
    Resource->ContentionCount += 1;
    KiReleaseLock(ExpLockOf(Resource));
    KeWaitForSingleObject(&Waiter.Event, WrResource, KernelMode, FALSE, NULL);
    return TRUE;
}

static BOOLEAN ExpAcquireShared(PERESOURCE Resource, BOOLEAN Wait, EXP_SHARED Manner)
{
    KTHREAD *Thread = KiCurrentThread();
    ERESOURCE_THREAD Me = (ERESOURCE_THREAD)Thread;
    POWNER_ENTRY Entry;
    EXP_WAITER Waiter;
    BOOLEAN MustWait;

    ExpCheckAcquire(Resource, Thread);
    KiAcquireLock(ExpLockOf(Resource));
    for (;;) {
        Entry = ExpFindOwner(Resource, Me);
        if ((Resource->Flag & ResourceOwnedExclusive) != 0) {
            MustWait = Entry == NULL;
        } else if (Resource->ExclusiveWaiters != NULL) {
            MustWait = Manner == ExpSharedWait || (Manner == ExpSharedNormal && Entry == NULL);
        } else {
            MustWait = FALSE;
        }
        if (!MustWait && Entry != NULL) {
            Entry->OwnerCount += 1;
            KiReleaseLock(ExpLockOf(Resource));
            return TRUE;
        }
        if (MustWait && !Wait) {
            KiReleaseLock(ExpLockOf(Resource));
            return FALSE;
        }
        if (ExpReserveEntry(Resource)) {
            break;
        }
    }
    if (!MustWait) {
        ExpAddOwner(Resource, Me);
        KiReleaseLock(ExpLockOf(Resource));
        return TRUE;
    }
    ExpPrepareWaiter(&Waiter, Me);
    ExpAppendWaiter(&Resource->SharedWaiters, &Waiter);
    Resource->NumberOfSharedWaiters += 1;
    Resource->ContentionCount += 1;
    KiReleaseLock(ExpLockOf(Resource));
    KeWaitForSingleObject(&Waiter.Event, WrResource, KernelMode, FALSE, NULL);
    return TRUE;
}

BOOLEAN ExAcquireResourceSharedLite(PERESOURCE Resource, BOOLEAN Wait)
{
    return ExpAcquireShared(Resource, Wait, ExpSharedNormal);
}

BOOLEAN ExAcquireSharedStarveExclusive(PERESOURCE Resource, BOOLEAN Wait)
{
    return ExpAcquireShared(Resource, Wait, ExpSharedStarve);
}

BOOLEAN ExAcquireSharedWaitForExclusive(PERESOURCE Resource, BOOLEAN Wait)
{
    return ExpAcquireShared(Resource, Wait, ExpSharedWait);
}

BOOLEAN ExTryToAcquireResourceExclusiveLite(PERESOURCE Resource)
{
    return ExAcquireResourceExclusiveLite(Resource, FALSE);
}

/* ---- releasing ---- */

VOID ExReleaseResourceForThreadLite(PERESOURCE Resource, ERESOURCE_THREAD ResourceThreadId)
{
    KTHREAD *Thread = KiCurrentThread();
    EXP_WAITER *Go = NULL;
    POWNER_ENTRY Entry;
    BOOLEAN Exclusive;

    if (__builtin_expect(Thread->Irql > DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "An ERESOURCE was released above DISPATCH_LEVEL.", Resource, 0x38,
               Thread->Irql, (ULONG_PTR)(-(LONG_PTR)(Thread->CriticalRegion + Thread->GuardedRegion)), (ULONG_PTR)Resource);
    }
    KiTouch(Resource);
    KiAcquireLock(ExpLockOf(Resource));
    Entry = ResourceThreadId != 0 ? ExpFindOwner(Resource, ResourceThreadId) : NULL;
    if (Entry == NULL) {
        POWNER_ENTRY Table = Resource->OwnerTable;

        KiReleaseLock(ExpLockOf(Resource));
        KiStop(RESOURCE_NOT_OWNED, "An ERESOURCE was released by a thread that does not own it.", Resource, (ULONG_PTR)Resource,
               (ULONG_PTR)ResourceThreadId, (ULONG_PTR)Table, 0);
    }
    Entry->OwnerCount -= 1;
    if (Entry->OwnerCount == 0) {
        Exclusive = (Resource->Flag & ResourceOwnedExclusive) != 0;
        ExpDropOwner(Resource, Entry);
        if (Resource->ActiveCount == 0) {
            if (Resource->SharedWaiters != NULL && (Exclusive || Resource->ExclusiveWaiters == NULL)) {
                ExpGrantShared(Resource, &Go);
            } else if (Resource->ExclusiveWaiters != NULL) {
                ExpGrantExclusive(Resource, &Go);
            }
        }
    }
    KiReleaseLock(ExpLockOf(Resource));
    ExpWakeWaiters(Go);
}

VOID ExReleaseResourceLite(PERESOURCE Resource)
{
    ExReleaseResourceForThreadLite(Resource, (ERESOURCE_THREAD)KiCurrentThread());
}

VOID ExConvertExclusiveToSharedLite(PERESOURCE Resource)
{
    KTHREAD *Thread = KiCurrentThread();
    EXP_WAITER *Go = NULL;
    BOOLEAN Mine;

    KiAcquireLock(ExpLockOf(Resource));
    Mine = (Resource->Flag & ResourceOwnedExclusive) != 0 && Resource->OwnerEntry.OwnerThread == (ERESOURCE_THREAD)Thread;
    if (Mine) {
        Resource->Flag &= (USHORT)~ResourceOwnedExclusive;
        ExpGrantShared(Resource, &Go);
    }
    KiReleaseLock(ExpLockOf(Resource));
    if (!Mine) {
        KiStop(RESOURCE_NOT_OWNED, "An ERESOURCE was converted to shared by a thread that does not own it exclusive.", Resource,
               (ULONG_PTR)Resource, (ULONG_PTR)Thread, (ULONG_PTR)Resource->OwnerTable, 0);
    }
    ExpWakeWaiters(Go);
}

VOID ExSetResourceOwnerPointerEx(PERESOURCE Resource, PVOID OwnerPointer, ULONG Flags)
{
    ERESOURCE_THREAD Me = (ERESOURCE_THREAD)KiCurrentThread();
    POWNER_ENTRY Entry;
    POWNER_ENTRY Other;

    UNREFERENCED_PARAMETER(Flags);
    KiAcquireLock(ExpLockOf(Resource));
    Entry = ExpFindOwner(Resource, Me);
    if (Entry != NULL) {
        Other = ExpFindOwner(Resource, (ERESOURCE_THREAD)OwnerPointer);
        if (Other != NULL && Other != Entry) {
            Other->OwnerCount += Entry->OwnerCount;
            ExpDropOwner(Resource, Entry);
        } else {
            Entry->OwnerThread = (ERESOURCE_THREAD)OwnerPointer;
        }
    }
    KiReleaseLock(ExpLockOf(Resource));
    if (Entry == NULL) {
        KiStop(RESOURCE_NOT_OWNED, "ExSetResourceOwnerPointer was called by a thread that does not own the ERESOURCE.",
               Resource, (ULONG_PTR)Resource, Me, (ULONG_PTR)Resource->OwnerTable, 0);
    }
}

VOID ExSetResourceOwnerPointer(PERESOURCE Resource, PVOID OwnerPointer)
{
    ExSetResourceOwnerPointerEx(Resource, OwnerPointer, 0);
}

/* ---- asking ---- */

BOOLEAN ExIsResourceAcquiredExclusiveLite(PERESOURCE Resource)
{
    BOOLEAN Held;

    KiAcquireLock(ExpLockOf(Resource));
    Held = (Resource->Flag & ResourceOwnedExclusive) != 0 &&
           Resource->OwnerEntry.OwnerThread == (ERESOURCE_THREAD)KiCurrentThread();
    KiReleaseLock(ExpLockOf(Resource));
    return Held;
}

ULONG ExIsResourceAcquiredSharedLite(PERESOURCE Resource)
{
    POWNER_ENTRY Entry;
    ULONG Count;

    KiAcquireLock(ExpLockOf(Resource));
    Entry = ExpFindOwner(Resource, (ERESOURCE_THREAD)KiCurrentThread());
    Count = Entry != NULL ? Entry->OwnerCount : 0;
    KiReleaseLock(ExpLockOf(Resource));
    return Count;
}

ULONG ExGetExclusiveWaiterCount(PERESOURCE Resource)
{
    ULONG Count;

    KiAcquireLock(ExpLockOf(Resource));
    Count = Resource->NumberOfExclusiveWaiters;
    KiReleaseLock(ExpLockOf(Resource));
    return Count;
}

ULONG ExGetSharedWaiterCount(PERESOURCE Resource)
{
    ULONG Count;

    KiAcquireLock(ExpLockOf(Resource));
    Count = Resource->NumberOfSharedWaiters;
    KiReleaseLock(ExpLockOf(Resource));
    return Count;
}

VOID ExDisableResourceBoostLite(PERESOURCE Resource)
{
    UNREFERENCED_PARAMETER(Resource); /* no owner is ever boosted: the host schedules */
}

/* ---- with a critical region ---- */

PVOID ExEnterCriticalRegionAndAcquireResourceExclusive(PERESOURCE Resource)
{
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(Resource, TRUE);
    return NULL;
}

PVOID ExEnterCriticalRegionAndAcquireResourceShared(PERESOURCE Resource)
{
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(Resource, TRUE);
    return NULL;
}

PVOID ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(PERESOURCE Resource)
{
    KeEnterCriticalRegion();
    ExAcquireSharedWaitForExclusive(Resource, TRUE);
    return NULL;
}

VOID ExReleaseResourceAndLeaveCriticalRegion(PERESOURCE Resource)
{
    ExReleaseResourceLite(Resource);
    KeLeaveCriticalRegion();
}

/* ---- the structure checked ---- */

const CHAR *ExpValidateResource(PERESOURCE Resource)
{
    const CHAR *Broken = NULL;
    ULONG Entries;
    ULONG Shared = 0;
    ULONG Exclusive = 0;

    KiAcquireLock(ExpLockOf(Resource));
    Entries = Resource->OwnerEntry.OwnerThread != 0;
    if (Resource->OwnerTable != NULL) {
        for (ULONG Index = 1; Index < Resource->OwnerTable[0].TableSize; Index += 1) {
            Entries += Resource->OwnerTable[Index].OwnerThread != 0;
        }
    }
    for (EXP_WAITER *Waiter = (EXP_WAITER *)Resource->SharedWaiters; Waiter != NULL; Waiter = Waiter->Next) {
        Shared += 1;
    }
    for (EXP_WAITER *Waiter = (EXP_WAITER *)Resource->ExclusiveWaiters; Waiter != NULL; Waiter = Waiter->Next) {
        Exclusive += 1;
    }
    if (Entries != Resource->ActiveEntries || (Entries != 0) != (Resource->ActiveCount == 1)) {
        Broken = "Q1: ActiveEntries or ActiveCount does not fit the owner entries";
    } else if ((Resource->Flag & ResourceOwnedExclusive) != 0 && (Entries != 1 || Resource->OwnerEntry.OwnerThread == 0)) {
        Broken = "Q2: an exclusive resource does not have one owner in OwnerEntry";
    } else if (Shared != Resource->NumberOfSharedWaiters || Exclusive != Resource->NumberOfExclusiveWaiters) {
        Broken = "Q4: the waiter counts do not fit the lists";
    } else if (ExpFreeEntries(Resource) < Shared) {
        Broken = "Q3: the owner table has no room for the waiting sharers";
    } else if (Entries == 0 && Shared + Exclusive != 0) {
        Broken = "Q5: a free resource has waiters";
    }
    KiReleaseLock(ExpLockOf(Resource));
    return Broken;
}
