/*
 * sync.h - fast mutexes, resources, work items, push locks.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_SYNC_
#define _NTMM_SYNC_

typedef struct _FAST_MUTEX {
    LONG Count;
    PVOID Owner;
    ULONG Contention;
    KEVENT Event;
    ULONG OldIrql;
} FAST_MUTEX, *PFAST_MUTEX;
typedef FAST_MUTEX KGUARDED_MUTEX, *PKGUARDED_MUTEX;
C_ASSERT(sizeof(FAST_MUTEX) == 0x38 && offsetof(FAST_MUTEX, Event) == 0x18);

typedef struct _OWNER_ENTRY {
    ERESOURCE_THREAD OwnerThread;
    union {
        struct {
            ULONG IoPriorityBoosted : 1;
            ULONG OwnerReferenced : 1;
            ULONG IoQoSPriorityBoosted : 1;
            ULONG OwnerCount : 29;
        };
        ULONG TableSize;
    };
} OWNER_ENTRY, *POWNER_ENTRY;
typedef struct _ERESOURCE {
    LIST_ENTRY SystemResourcesList;
    POWNER_ENTRY OwnerTable;
    SHORT ActiveCount;
    union {
        USHORT Flag;
        struct {
            UCHAR ReservedLowFlags;
            UCHAR WaiterPriority;
        };
    };
    PVOID SharedWaiters;
    PVOID ExclusiveWaiters;
    OWNER_ENTRY OwnerEntry;
    ULONG ActiveEntries;
    ULONG ContentionCount;
    ULONG NumberOfSharedWaiters;
    ULONG NumberOfExclusiveWaiters;
    PVOID Reserved2;
    union {
        PVOID Address;
        ULONG_PTR CreatorBackTraceIndex;
    };
    KSPIN_LOCK SpinLock;
} ERESOURCE, *PERESOURCE;
C_ASSERT(sizeof(ERESOURCE) == 0x68 && offsetof(ERESOURCE, OwnerEntry) == 0x30 && offsetof(ERESOURCE, SpinLock) == 0x60);

typedef LONG EX_SPIN_LOCK, *PEX_SPIN_LOCK;
typedef ULONG_PTR EX_PUSH_LOCK, *PEX_PUSH_LOCK;

typedef VOID WORKER_THREAD_ROUTINE(PVOID Parameter);
typedef WORKER_THREAD_ROUTINE *PWORKER_THREAD_ROUTINE;
typedef struct _WORK_QUEUE_ITEM {
    LIST_ENTRY List;
    PWORKER_THREAD_ROUTINE WorkerRoutine;
    PVOID Parameter;
} WORK_QUEUE_ITEM, *PWORK_QUEUE_ITEM;
C_ASSERT(sizeof(WORK_QUEUE_ITEM) == 0x20);
typedef enum _WORK_QUEUE_TYPE {
    CriticalWorkQueue,
    DelayedWorkQueue,
    HyperCriticalWorkQueue,
    NormalWorkQueue,
    BackgroundWorkQueue,
    RealTimeWorkQueue,
    SuperCriticalWorkQueue,
    MaximumWorkQueue,
    CustomPriorityWorkQueue = 32
} WORK_QUEUE_TYPE;

#define ResourceNeverExclusive       0x0010
#define ResourceReleaseByOtherThread 0x0020
#define ResourceOwnedExclusive       0x0080
#define RESOURCE_HASH_TABLE_SIZE     64

typedef struct _EX_RUNDOWN_REF {
    union {
        volatile ULONG_PTR Count; /* references times two, or what waits, plus one, once rundown began */
        PVOID Ptr;
    };
} EX_RUNDOWN_REF, *PEX_RUNDOWN_REF;
typedef struct _EX_RUNDOWN_REF_CACHE_AWARE *PEX_RUNDOWN_REF_CACHE_AWARE;
C_ASSERT(sizeof(EX_RUNDOWN_REF) == 8 && sizeof(EX_PUSH_LOCK) == 8 && sizeof(EX_SPIN_LOCK) == 4);

EXTERN_C_START
/* ---- reader/writer spin locks ---- a LONG, zero when free. They raise to DISPATCH_LEVEL and return the old IRQL; the AtDpcLevel
 * forms are for callers there already. Page: ExAcquireSpinLockExclusive, ExAcquireSpinLockShared */
NTKERNELAPI KIRQL ExAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI KIRQL ExAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI VOID ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI VOID ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI BOOLEAN ExTryAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI BOOLEAN ExTryAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI VOID ExReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql);
NTKERNELAPI VOID ExReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql);
NTKERNELAPI VOID ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock);
NTKERNELAPI VOID ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock);
/* Nonzero if the caller was the only sharer and is the exclusive owner now; on zero it still shares.
 * IRQL >= DISPATCH_LEVEL. Page: ExTryConvertSharedSpinLockExclusive */
NTKERNELAPI LOGICAL ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock);

/* ---- fast mutexes ---- resident; not recursive. Page: ExInitializeFastMutex, ExAcquireFastMutex */
/* IRQL <= DISPATCH_LEVEL. */
NTKERNELAPI VOID ExInitializeFastMutex(PFAST_MUTEX FastMutex);
/* Waits, and raises to APC_LEVEL until the release. IRQL <= APC_LEVEL, above is bug check 0xC4/0x33. */
NTKERNELAPI VOID ExAcquireFastMutex(PFAST_MUTEX FastMutex);
NTKERNELAPI BOOLEAN ExTryToAcquireFastMutex(PFAST_MUTEX FastMutex);
/* By its owner, at APC_LEVEL, else bug check 0xC4/0x34. */
NTKERNELAPI VOID ExReleaseFastMutex(PFAST_MUTEX FastMutex);
/* The caller keeps APCs away: it is in a critical region or at APC_LEVEL. Page: ExAcquireFastMutexUnsafe */
NTKERNELAPI VOID ExAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex);
NTKERNELAPI VOID ExReleaseFastMutexUnsafe(PFAST_MUTEX FastMutex);

/* ---- guarded mutexes ---- a fast mutex that enters a guarded region in place of raising. IRQL <= APC_LEVEL.
 * Page: KeInitializeGuardedMutex, KeAcquireGuardedMutex */
NTKERNELAPI VOID KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex);
NTKERNELAPI VOID KeAcquireGuardedMutex(PKGUARDED_MUTEX Mutex);
NTKERNELAPI VOID KeReleaseGuardedMutex(PKGUARDED_MUTEX Mutex);
NTKERNELAPI BOOLEAN KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX Mutex);
NTKERNELAPI VOID KeAcquireGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex);
NTKERNELAPI VOID KeReleaseGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex);

/* ---- resources ---- reader/writer locks with owners. IRQL <= APC_LEVEL, with normal APCs disabled, to acquire and convert;
 * <= DISPATCH_LEVEL to release and to ask. The caller's storage is resident, eight-byte aligned, and deleted before it is freed. */
/* STATUS_SUCCESS. IRQL <= DISPATCH_LEVEL. Page: ExInitializeResourceLite */
NTKERNELAPI NTSTATUS ExInitializeResourceLite(PERESOURCE Resource);
NTKERNELAPI NTSTATUS ExReinitializeResourceLite(PERESOURCE Resource);
/* Page: ExDeleteResourceLite */
NTKERNELAPI NTSTATUS ExDeleteResourceLite(PERESOURCE Resource);
/* TRUE if acquired; FALSE only if Wait is FALSE. The exclusive owner may acquire it again. Page: ExAcquireResourceExclusiveLite */
NTKERNELAPI BOOLEAN ExAcquireResourceExclusiveLite(PERESOURCE Resource, BOOLEAN Wait);
/* Shared unless someone owns it exclusive, or waits to (an owner of it may share again). Page: ExAcquireResourceSharedLite */
NTKERNELAPI BOOLEAN ExAcquireResourceSharedLite(PERESOURCE Resource, BOOLEAN Wait);
/* Shared, past those who wait for exclusive. Page: ExAcquireSharedStarveExclusive */
NTKERNELAPI BOOLEAN ExAcquireSharedStarveExclusive(PERESOURCE Resource, BOOLEAN Wait);
/* Shared, behind those who wait for exclusive even if the caller shares it already. Page: ExAcquireSharedWaitForExclusive */
NTKERNELAPI BOOLEAN ExAcquireSharedWaitForExclusive(PERESOURCE Resource, BOOLEAN Wait);
NTKERNELAPI BOOLEAN ExTryToAcquireResourceExclusiveLite(PERESOURCE Resource);
/* Gives back one acquisition; not an owner: bug check RESOURCE_NOT_OWNED (0xE3). Page: ExReleaseResourceLite */
NTKERNELAPI VOID ExReleaseResourceLite(PERESOURCE Resource);
NTKERNELAPI VOID ExReleaseResourceForThreadLite(PERESOURCE Resource, ERESOURCE_THREAD ResourceThreadId);
/* Page: ExConvertExclusiveToSharedLite */
NTKERNELAPI VOID ExConvertExclusiveToSharedLite(PERESOURCE Resource);
NTKERNELAPI BOOLEAN ExIsResourceAcquiredExclusiveLite(PERESOURCE Resource);
/* How often the caller holds it, shared or exclusive. Page: ExIsResourceAcquiredSharedLite */
NTKERNELAPI ULONG ExIsResourceAcquiredSharedLite(PERESOURCE Resource);
#define ExIsResourceAcquiredLite ExIsResourceAcquiredSharedLite
NTKERNELAPI ULONG ExGetExclusiveWaiterCount(PERESOURCE Resource);
NTKERNELAPI ULONG ExGetSharedWaiterCount(PERESOURCE Resource);
/* Makes OwnerPointer (its two low bits set) the owner in the calling thread's place. Page: ExSetResourceOwnerPointer */
NTKERNELAPI VOID ExSetResourceOwnerPointer(PERESOURCE Resource, PVOID OwnerPointer);
NTKERNELAPI VOID ExSetResourceOwnerPointerEx(PERESOURCE Resource, PVOID OwnerPointer, ULONG Flags);
#define FLAG_OWNER_POINTER_IS_THREAD 0x1
NTKERNELAPI VOID ExDisableResourceBoostLite(PERESOURCE Resource);
/* With the critical region around them. Page: ExEnterCriticalRegionAndAcquireResourceExclusive */
NTKERNELAPI PVOID ExEnterCriticalRegionAndAcquireResourceExclusive(PERESOURCE Resource);
NTKERNELAPI PVOID ExEnterCriticalRegionAndAcquireResourceShared(PERESOURCE Resource);
NTKERNELAPI PVOID ExEnterCriticalRegionAndAcquireSharedWaitForExclusive(PERESOURCE Resource);
NTKERNELAPI VOID ExReleaseResourceAndLeaveCriticalRegion(PERESOURCE Resource);
#define ExGetCurrentResourceThread() ((ULONG_PTR)KeGetCurrentThread())
#define ExInitializeResource         ExInitializeResourceLite
#define ExAcquireResourceExclusive   ExAcquireResourceExclusiveLite
#define ExAcquireResourceShared      ExAcquireResourceSharedLite
#define ExDeleteResource             ExDeleteResourceLite
#define ExReleaseResource(R)         ExReleaseResourceLite(R)

/* ---- push locks ---- eight bytes, zero when free, may be pageable; IRQL <= APC_LEVEL, with normal APCs disabled. Not recursive.
 * Page: ExInitializePushLock, ExAcquirePushLockExclusive */
NTKERNELAPI VOID ExInitializePushLock(PEX_PUSH_LOCK PushLock);
NTKERNELAPI VOID ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags);
NTKERNELAPI VOID ExAcquirePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags);
NTKERNELAPI VOID ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK PushLock, ULONG Flags);
NTKERNELAPI VOID ExReleasePushLockSharedEx(PEX_PUSH_LOCK PushLock, ULONG Flags);
#define EX_DEFAULT_PUSH_LOCK_FLAGS           0
#define ExAcquirePushLockExclusive(PushLock) ExAcquirePushLockExclusiveEx(PushLock, EX_DEFAULT_PUSH_LOCK_FLAGS)
#define ExAcquirePushLockShared(PushLock)    ExAcquirePushLockSharedEx(PushLock, EX_DEFAULT_PUSH_LOCK_FLAGS)
#define ExReleasePushLockExclusive(PushLock) ExReleasePushLockExclusiveEx(PushLock, EX_DEFAULT_PUSH_LOCK_FLAGS)
#define ExReleasePushLockShared(PushLock)    ExReleasePushLockSharedEx(PushLock, EX_DEFAULT_PUSH_LOCK_FLAGS)

/* ---- rundown protection ---- */
/* Any IRQL. Page: ExInitializeRundownProtection */
NTKERNELAPI VOID ExInitializeRundownProtection(PEX_RUNDOWN_REF RunRef);
NTKERNELAPI VOID ExReInitializeRundownProtection(PEX_RUNDOWN_REF RunRef);
/* FALSE once rundown has begun. Any IRQL. Page: ExAcquireRundownProtection */
NTKERNELAPI BOOLEAN ExAcquireRundownProtection(PEX_RUNDOWN_REF RunRef);
NTKERNELAPI BOOLEAN ExAcquireRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count);
NTKERNELAPI VOID ExReleaseRundownProtection(PEX_RUNDOWN_REF RunRef);
NTKERNELAPI VOID ExReleaseRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count);
/* Begins rundown and waits until all references are given back. IRQL <= APC_LEVEL. Page: ExWaitForRundownProtectionRelease */
NTKERNELAPI VOID ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF RunRef);
NTKERNELAPI VOID ExRundownCompleted(PEX_RUNDOWN_REF RunRef);
/* The same behind an allocated object (on Windows one counter a processor). NULL: no memory.
 * Page: ExAllocateCacheAwareRundownProtection */
NTKERNELAPI PEX_RUNDOWN_REF_CACHE_AWARE ExAllocateCacheAwareRundownProtection(POOL_TYPE PoolType, ULONG PoolTag);
NTKERNELAPI SIZE_T ExSizeOfRundownProtectionCacheAware(VOID);
NTKERNELAPI VOID ExInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, SIZE_T RunRefSize);
NTKERNELAPI VOID ExFreeCacheAwareRundownProtection(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware);
NTKERNELAPI BOOLEAN ExAcquireRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware);
NTKERNELAPI BOOLEAN ExAcquireRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, ULONG Count);
NTKERNELAPI VOID ExReleaseRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware);
NTKERNELAPI VOID ExReleaseRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, ULONG Count);
NTKERNELAPI VOID ExWaitForRundownProtectionReleaseCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware);
NTKERNELAPI VOID ExReInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware);
NTKERNELAPI VOID ExRundownCompletedCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware);

/* ---- work items ---- */
#define ExInitializeWorkItem(Item, Routine, Context)                                                                           \
    ((Item)->WorkerRoutine = (Routine), (Item)->Parameter = (Context), (Item)->List.Flink = NULL)
/* Runs the item's routine in a system worker thread at PASSIVE_LEVEL. The item is the caller's, resident, and his again as the routine
 * starts. Queued twice: bug check 0x96; returning above PASSIVE_LEVEL: 0xE1. IRQL <= DISPATCH_LEVEL. Page: ExQueueWorkItem */
NTKERNELAPI VOID ExQueueWorkItem(PWORK_QUEUE_ITEM WorkItem, WORK_QUEUE_TYPE QueueType);

/* ---- timers of the executive ---- allocated, waitable, with a callback at DISPATCH_LEVEL */
typedef struct _EX_TIMER *PEX_TIMER;
typedef VOID EXT_CALLBACK(PEX_TIMER Timer, PVOID Context);
typedef EXT_CALLBACK *PEXT_CALLBACK;
typedef VOID EXT_DELETE_CALLBACK(PVOID Context);
typedef EXT_DELETE_CALLBACK *PEXT_DELETE_CALLBACK;
typedef struct _EXT_SET_PARAMETERS_V0 {
    ULONG Version;
    ULONG Reserved;
    LONGLONG NoWakeTolerance;
} EXT_SET_PARAMETERS, *PEXT_SET_PARAMETERS;
typedef PVOID PEXT_CANCEL_PARAMETERS;
typedef struct _EXT_DELETE_PARAMETERS {
    ULONG Version;
    ULONG Reserved;
    PEXT_DELETE_CALLBACK DeleteCallback;
    PVOID DeleteContext;
} EXT_DELETE_PARAMETERS, *PEXT_DELETE_PARAMETERS;
#define EX_TIMER_HIGH_RESOLUTION     4
#define EX_TIMER_NO_WAKE             8
#define EX_TIMER_NOTIFICATION        ((ULONG)1 << 31)
#define EX_TIMER_UNLIMITED_TOLERANCE ((LONGLONG)-1)
#define ExInitializeSetTimerParameters(Parameters)                                                                             \
    ((Parameters)->Version = 0, (Parameters)->Reserved = 0, (Parameters)->NoWakeTolerance = 0)
#define ExInitializeDeleteTimerParameters(Parameters)                                                                          \
    ((Parameters)->Version = 0, (Parameters)->Reserved = 0, (Parameters)->DeleteCallback = NULL,                               \
     (Parameters)->DeleteContext = NULL)
/* A synchronization timer, or with EX_TIMER_NOTIFICATION a notification timer; Callback may be NULL. NULL: no memory, or unknown attributes.
 * IRQL <= DISPATCH_LEVEL. Page: ExAllocateTimer */
NTKERNELAPI PEX_TIMER ExAllocateTimer(PEXT_CALLBACK Callback, PVOID CallbackContext, ULONG Attributes);
/* DueTime as of KeSetTimer, Period in 100 ns (rounded up to a millisecond here), 0: once. TRUE if it was pending.
 * IRQL <= DISPATCH_LEVEL. Page: ExSetTimer */
NTKERNELAPI BOOLEAN ExSetTimer(PEX_TIMER Timer, LONGLONG DueTime, LONGLONG Period, PEXT_SET_PARAMETERS Parameters);
NTKERNELAPI BOOLEAN ExCancelTimer(PEX_TIMER Timer, PEXT_CANCEL_PARAMETERS Parameters);
/* Deletes the timer, cancelled first if Cancel, waiting until its callback does not run if Wait (PASSIVE_LEVEL; Cancel too); else later, and
 * then calls DeleteCallback. TRUE if it was pending and was cancelled. Page: ExDeleteTimer */
NTKERNELAPI BOOLEAN ExDeleteTimer(PEX_TIMER Timer, BOOLEAN Cancel, BOOLEAN Wait, PEXT_DELETE_PARAMETERS Parameters);

/* ---- interlocked lists and numbers ---- each takes the spin lock, which is then used with these routines only. Any IRQL.
 * Page: ExInterlockedInsertHeadList and its kin. They return the former first (last) entry or NULL if the list was empty. */
NTKERNELAPI PLIST_ENTRY ExInterlockedInsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock);
NTKERNELAPI PLIST_ENTRY ExInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock);
NTKERNELAPI PLIST_ENTRY ExInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PKSPIN_LOCK Lock);
NTKERNELAPI PSINGLE_LIST_ENTRY ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY ListHead, PKSPIN_LOCK Lock);
NTKERNELAPI PSINGLE_LIST_ENTRY ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY ListEntry,
                                                          PKSPIN_LOCK Lock);
/* The value before the addition. Page: ExInterlockedAddLargeInteger */
NTKERNELAPI LARGE_INTEGER ExInterlockedAddLargeInteger(PLARGE_INTEGER Addend, LARGE_INTEGER Increment, PKSPIN_LOCK Lock);
NTKERNELAPI ULONG ExInterlockedAddUlong(PULONG Addend, ULONG Increment, PKSPIN_LOCK Lock);
NTKERNELAPI VOID ExInterlockedAddLargeStatistic(PLARGE_INTEGER Addend, ULONG Increment);
EXTERN_C_END
/* *Destination's value before, and *Exchange in its place if it was *Comperand. Any IRQL; the lock is not used. A pointer to 64 bits each.
 * Page: ExInterlockedCompareExchange64 */
#define ExInterlockedCompareExchange64(Destination, Exchange, Comperand, Lock)                                                 \
    ((VOID)(Lock), InterlockedCompareExchange64((Destination), *(Exchange), *(Comperand)))
/* The obsolete forms with a lock that is not used: what the sum, or the former value, is. */
#define ExInterlockedExchangeAddLargeInteger(Target, Value, Lock) ((VOID)(Lock), InterlockedExchangeAdd64((Target), (Value)))
#define ExInterlockedExchangeUlong(Target, Value, Lock)                                                                        \
    ((VOID)(Lock), (ULONG)InterlockedExchange((PLONG)(Target), (LONG)(Value)))

#endif
