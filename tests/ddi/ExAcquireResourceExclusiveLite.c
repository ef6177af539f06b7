/*
 * ExAcquireResourceExclusiveLite.c - ERESOURCE, fast and guarded mutexes, push locks, rundown protection (pages of the same names).
 * SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ke/ki.h"
#include "ex/work.h"

static ERESOURCE Resource;
static volatile LONG Got;

static int Prepare(void **State)
{
    (void)State;
    Got = 0;
    return ExInitializeResourceLite(&Resource);
}

static int Clean(void **State)
{
    (void)State;
    assert_null(ExpValidateResource(&Resource));
    return ExDeleteResourceLite(&Resource);
}

typedef BOOLEAN ACQUIRE(PERESOURCE Resource, BOOLEAN Wait);

typedef struct _REQUEST {
    ACQUIRE *Acquire;
    BOOLEAN Wait, Result;
    pthread_t Id;
} REQUEST;

static void *AcquireElsewhere(void *Argument)
{
    REQUEST *Request = (REQUEST *)Argument;

    KeEnterCriticalRegion();
    Request->Result = Request->Acquire(&Resource, Request->Wait);
    if (Request->Result) {
        __atomic_add_fetch(&Got, 1, __ATOMIC_SEQ_CST);
        ExReleaseResourceLite(&Resource);
    }
    KeLeaveCriticalRegion();
    return NULL;
}

static BOOLEAN TryElsewhere(ACQUIRE *Acquire)
{
    REQUEST Request = {Acquire, FALSE, FALSE, 0};

    Join(Spawn(AcquireElsewhere, &Request));
    return Request.Result;
}

static void Begin(REQUEST *Request, ACQUIRE *Acquire)
{
    ULONG Before = ExGetExclusiveWaiterCount(&Resource) + ExGetSharedWaiterCount(&Resource);

    Request->Acquire = Acquire;
    Request->Wait = TRUE;
    Request->Id = Spawn(AcquireElsewhere, Request);
    while (ExGetExclusiveWaiterCount(&Resource) + ExGetSharedWaiterCount(&Resource) == Before) {
        HalYield();
    }
}

/* "acquires the given resource for exclusive access by the calling thread"; "can be acquired recursively". */
static void Exclusive_Owner_MayAcquireAgainAndShareIt(void **State)
{
    (void)State;
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceExclusiveLite(&Resource, FALSE));
    assert_true(ExIsResourceAcquiredExclusiveLite(&Resource));
    assert_true(ExAcquireResourceExclusiveLite(&Resource, FALSE));
    assert_true(ExAcquireResourceSharedLite(&Resource, FALSE));
    assert_int_equal(ExIsResourceAcquiredSharedLite(&Resource), 3);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    assert_true(ExIsResourceAcquiredExclusiveLite(&Resource));
    assert_false(TryElsewhere(ExAcquireResourceSharedLite));
    ExReleaseResourceLite(&Resource);
    assert_false(ExIsResourceAcquiredExclusiveLite(&Resource));
    assert_int_equal(ExIsResourceAcquiredSharedLite(&Resource), 0);
    assert_true(TryElsewhere(ExAcquireResourceExclusiveLite));
    KeLeaveCriticalRegion();
}

/* "the resource ... is already owned shared by another thread": sharers share, nobody excludes. */
static void Shared_Owned_OthersShareButDoNotExclude(void **State)
{
    (void)State;
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceSharedLite(&Resource, TRUE));
    assert_true(TryElsewhere(ExAcquireResourceSharedLite));
    assert_false(TryElsewhere(ExAcquireResourceExclusiveLite));
    assert_false(ExAcquireResourceExclusiveLite(&Resource, FALSE)); /* not even its own sharer */
    assert_false(ExIsResourceAcquiredExclusiveLite(&Resource));
    assert_int_equal(ExIsResourceAcquiredSharedLite(&Resource), 1);
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
}

/* With a waiter for exclusive access: Shared by a new thread waits, "StarveExclusive" does not, "WaitForExclusive" waits even for an
 * owner; a sharer may share again. */
static void ExclusiveWaiter_EachSharedForm_AsDocumented(void **State)
{
    REQUEST Writer, Reader;

    (void)State;
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceSharedLite(&Resource, TRUE));
    Begin(&Writer, ExAcquireResourceExclusiveLite);
    assert_int_equal(ExGetExclusiveWaiterCount(&Resource), 1);
    assert_null(ExpValidateResource(&Resource));
    assert_false(TryElsewhere(ExAcquireResourceSharedLite));
    assert_true(TryElsewhere(ExAcquireSharedStarveExclusive));
    assert_false(TryElsewhere(ExAcquireSharedWaitForExclusive));
    assert_true(ExAcquireResourceSharedLite(&Resource, FALSE));
    assert_false(ExAcquireSharedWaitForExclusive(&Resource, FALSE));
    ExReleaseResourceLite(&Resource);
    Begin(&Reader, ExAcquireResourceSharedLite);
    assert_int_equal(ExGetSharedWaiterCount(&Resource), 1);
    assert_null(ExpValidateResource(&Resource));
    assert_int_equal(Got, 1);
    ExReleaseResourceLite(&Resource); /* the writer, and after it the reader */
    Join(Writer.Id);
    Join(Reader.Id);
    assert_int_equal(Got, 3);
    KeLeaveCriticalRegion();
}

/* "converts a given resource from acquired for exclusive access to acquired for shared access": waiting sharers go on. */
static void Convert_ToShared_LetsWaitingSharersIn(void **State)
{
    REQUEST Readers[3];

    (void)State;
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceExclusiveLite(&Resource, TRUE));
    for (int Index = 0; Index < 3; Index++) {
        Begin(&Readers[Index], ExAcquireResourceSharedLite);
    }
    assert_null(ExpValidateResource(&Resource));
    ExConvertExclusiveToSharedLite(&Resource);
    for (int Index = 0; Index < 3; Index++) {
        Join(Readers[Index].Id);
    }
    assert_int_equal(Got, 3);
    assert_false(ExIsResourceAcquiredExclusiveLite(&Resource));
    assert_int_equal(ExIsResourceAcquiredSharedLite(&Resource), 1);
    ExReleaseResourceLite(&Resource);
    KeLeaveCriticalRegion();
}

static ULONG_PTR Owner;

static void *ReleaseForOwner(void *Argument)
{
    (void)Argument;
    ExReleaseResourceForThreadLite(&Resource, Owner);
    return NULL;
}

/* ExSetResourceOwnerPointer: "another thread" may release it with ExReleaseResourceForThreadLite. */
static void OwnerPointer_Set_AnotherThreadReleases(void **State)
{
    static ULONG64 Thing;

    (void)State;
    Owner = (ULONG_PTR)&Thing | 3;
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceSharedLite(&Resource, TRUE));
    ExSetResourceOwnerPointer(&Resource, (PVOID)Owner);
    assert_int_equal(ExIsResourceAcquiredSharedLite(&Resource), 0);
    assert_false(TryElsewhere(ExAcquireResourceExclusiveLite));
    Join(Spawn(ReleaseForOwner, NULL));
    assert_true(TryElsewhere(ExAcquireResourceExclusiveLite));
    KeLeaveCriticalRegion();
}

static void Regions_AroundAcquire_EnteredAndLeft(void **State)
{
    (void)State;
    ExEnterCriticalRegionAndAcquireResourceExclusive(&Resource);
    assert_true(KeAreApcsDisabled());
    assert_true(ExIsResourceAcquiredExclusiveLite(&Resource));
    ExReleaseResourceAndLeaveCriticalRegion(&Resource);
    assert_false(KeAreApcsDisabled());
    ExEnterCriticalRegionAndAcquireResourceShared(&Resource);
    ExReleaseResourceAndLeaveCriticalRegion(&Resource);
}

#define SHARERS 20
static KEVENT Hold;
static volatile LONG Holding;

static void *ShareAndHold(void *Argument)
{
    (void)Argument;
    ExEnterCriticalRegionAndAcquireResourceShared(&Resource);
    __atomic_add_fetch(&Holding, 1, __ATOMIC_SEQ_CST);
    KeWaitForSingleObject(&Hold, Executive, KernelMode, FALSE, NULL);
    ExReleaseResourceAndLeaveCriticalRegion(&Resource);
    return NULL;
}

static void Shared_ManyThreads_OwnerTableGrows(void **State)
{
    pthread_t Threads[SHARERS];

    (void)State;
    Holding = 0;
    KeInitializeEvent(&Hold, NotificationEvent, FALSE);
    for (int Index = 0; Index < SHARERS; Index++) {
        Threads[Index] = Spawn(ShareAndHold, NULL);
    }
    while (__atomic_load_n(&Holding, __ATOMIC_SEQ_CST) != SHARERS) {
        HalYield();
    }
    assert_null(ExpValidateResource(&Resource));
    assert_int_equal(Resource.ActiveEntries, SHARERS);
    KeSetEvent(&Hold, 0, FALSE);
    for (int Index = 0; Index < SHARERS; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Resource.ActiveEntries, 0);
}

/* ---- fast and guarded mutexes ---- */

static FAST_MUTEX Mutex;
static ULONG64 Sum;

static void *TryMutex(void *Argument)
{
    *(BOOLEAN *)Argument = ExTryToAcquireFastMutex(&Mutex);
    return NULL;
}

/* "the caller runs at IRQL = APC_LEVEL" while it owns the mutex; the release restores. */
static void FastMutex_Acquire_RunsAtApcLevel(void **State)
{
    BOOLEAN Taken = TRUE;

    (void)State;
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    assert_int_equal(KeGetCurrentIrql(), APC_LEVEL);
    Join(Spawn(TryMutex, &Taken));
    assert_false(Taken);
    ExReleaseFastMutex(&Mutex);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_true(ExTryToAcquireFastMutex(&Mutex));
    ExReleaseFastMutex(&Mutex);
    KeEnterCriticalRegion();
    ExAcquireFastMutexUnsafe(&Mutex);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    ExReleaseFastMutexUnsafe(&Mutex);
    KeLeaveCriticalRegion();
}

static void *AddUnderMutex(void *Argument)
{
    for (int Round = 0; Round < 2000; Round++) {
        if (Argument != NULL) {
            KeAcquireGuardedMutex(&Mutex);
            Sum++;
            KeReleaseGuardedMutex(&Mutex);
        } else {
            ExAcquireFastMutex(&Mutex);
            Sum++;
            ExReleaseFastMutex(&Mutex);
        }
    }
    return NULL;
}

static void FastMutex_FourThreads_NoneLost(void **State)
{
    pthread_t Threads[4];

    (void)State;
    for (intptr_t Guarded = 0; Guarded < 2; Guarded++) {
        KeInitializeGuardedMutex(&Mutex);
        Sum = 0;
        for (int Index = 0; Index < 4; Index++) {
            Threads[Index] = Spawn(AddUnderMutex, (void *)Guarded);
        }
        for (int Index = 0; Index < 4; Index++) {
            Join(Threads[Index]);
        }
        assert_int_equal(Sum, 8000);
        assert_int_equal(Mutex.Count, 1);
        assert_null(Mutex.Owner);
    }
}

/* "enters a guarded region"; "KeTryToAcquireGuardedMutex ... FALSE" leaves it. */
static void GuardedMutex_Acquire_EntersAGuardedRegion(void **State)
{
    KGUARDED_MUTEX Guarded;

    (void)State;
    KeInitializeGuardedMutex(&Guarded);
    KeAcquireGuardedMutex(&Guarded);
    assert_true(KeAreAllApcsDisabled());
    assert_false(KeTryToAcquireGuardedMutex(&Guarded));
    KeReleaseGuardedMutex(&Guarded);
    assert_false(KeAreAllApcsDisabled());
    assert_true(KeTryToAcquireGuardedMutex(&Guarded));
    KeReleaseGuardedMutex(&Guarded);
}

/* ---- push locks ---- */

static EX_PUSH_LOCK PushLock;
static volatile LONG Writers, Readers, Clashes;

static void *PushAndPull(void *Argument)
{
    KeEnterCriticalRegion();
    for (int Round = 0; Round < 2000; Round++) {
        if ((Round + (int)(intptr_t)Argument) % 4 != 0) {
            ExAcquirePushLockShared(&PushLock);
            __atomic_add_fetch(&Readers, 1, __ATOMIC_SEQ_CST);
            if (__atomic_load_n(&Writers, __ATOMIC_SEQ_CST) != 0) {
                __atomic_add_fetch(&Clashes, 1, __ATOMIC_SEQ_CST);
            }
            __atomic_sub_fetch(&Readers, 1, __ATOMIC_SEQ_CST);
            ExReleasePushLockShared(&PushLock);
        } else {
            ExAcquirePushLockExclusive(&PushLock);
            if (__atomic_add_fetch(&Writers, 1, __ATOMIC_SEQ_CST) != 1 || __atomic_load_n(&Readers, __ATOMIC_SEQ_CST) != 0) {
                __atomic_add_fetch(&Clashes, 1, __ATOMIC_SEQ_CST);
            }
            Sum++;
            __atomic_sub_fetch(&Writers, 1, __ATOMIC_SEQ_CST);
            ExReleasePushLockExclusive(&PushLock);
        }
    }
    KeLeaveCriticalRegion();
    return NULL;
}

static void PushLock_ReadersAndWriters_NeverTogether(void **State)
{
    pthread_t Threads[4];

    (void)State;
    Sum = 0;
    ExInitializePushLock(&PushLock);
    for (intptr_t Index = 0; Index < 4; Index++) {
        Threads[Index] = Spawn(PushAndPull, (void *)Index);
    }
    for (int Index = 0; Index < 4; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Clashes, 0);
    assert_int_equal(Sum, 2000);
    assert_int_equal(PushLock, 0);
}

/* ---- rundown protection ---- */

static EX_RUNDOWN_REF Rundown;
static volatile LONG RunDown;

static void *WaitForRundown(void *Argument)
{
    (void)Argument;
    ExWaitForRundownProtectionRelease(&Rundown);
    __atomic_store_n(&RunDown, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* "waits until all drivers that have already been granted run-down protection complete their accesses"; then it "returns FALSE". */
static void Rundown_Wait_UntilTheLastRelease(void **State)
{
    pthread_t Thread;

    (void)State;
    ExInitializeRundownProtection(&Rundown);
    assert_true(ExAcquireRundownProtection(&Rundown));
    assert_true(ExAcquireRundownProtectionEx(&Rundown, 2));
    Thread = Spawn(WaitForRundown, NULL);
    while (ExAcquireRundownProtection(&Rundown)) {
        ExReleaseRundownProtection(&Rundown); /* until rundown has begun */
        HalYield();
    }
    ExReleaseRundownProtectionEx(&Rundown, 2);
    assert_int_equal(RunDown, 0);
    ExReleaseRundownProtection(&Rundown);
    Join(Thread);
    assert_int_equal(RunDown, 1);
    assert_false(ExAcquireRundownProtection(&Rundown));
    ExRundownCompleted(&Rundown);
    assert_false(ExAcquireRundownProtection(&Rundown));
    ExReInitializeRundownProtection(&Rundown);
    assert_true(ExAcquireRundownProtection(&Rundown));
    ExReleaseRundownProtection(&Rundown);
    ExWaitForRundownProtectionRelease(&Rundown); /* nothing to wait for */
}

static void Rundown_CacheAware_SameRules(void **State)
{
    PEX_RUNDOWN_REF_CACHE_AWARE Ref = ExAllocateCacheAwareRundownProtection(NonPagedPoolNx, 'dnuR');

    (void)State;
    assert_non_null(Ref);
    assert_true(ExAcquireRundownProtectionCacheAware(Ref));
    ExReleaseRundownProtectionCacheAware(Ref);
    ExWaitForRundownProtectionReleaseCacheAware(Ref);
    assert_false(ExAcquireRundownProtectionCacheAware(Ref));
    ExReInitializeRundownProtectionCacheAware(Ref);
    assert_true(ExAcquireRundownProtectionCacheAwareEx(Ref, 3));
    ExReleaseRundownProtectionCacheAwareEx(Ref, 3);
    ExFreeCacheAwareRundownProtection(Ref);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(Exclusive_Owner_MayAcquireAgainAndShareIt, Prepare, Clean),
        cmocka_unit_test_setup_teardown(Shared_Owned_OthersShareButDoNotExclude, Prepare, Clean),
        cmocka_unit_test_setup_teardown(ExclusiveWaiter_EachSharedForm_AsDocumented, Prepare, Clean),
        cmocka_unit_test_setup_teardown(Convert_ToShared_LetsWaitingSharersIn, Prepare, Clean),
        cmocka_unit_test_setup_teardown(OwnerPointer_Set_AnotherThreadReleases, Prepare, Clean),
        cmocka_unit_test_setup_teardown(Regions_AroundAcquire_EnteredAndLeft, Prepare, Clean),
        cmocka_unit_test_setup_teardown(Shared_ManyThreads_OwnerTableGrows, Prepare, Clean),
        cmocka_unit_test(FastMutex_Acquire_RunsAtApcLevel),
        cmocka_unit_test(FastMutex_FourThreads_NoneLost),
        cmocka_unit_test(GuardedMutex_Acquire_EntersAGuardedRegion),
        cmocka_unit_test(PushLock_ReadersAndWriters_NeverTogether),
        cmocka_unit_test(Rundown_Wait_UntilTheLastRelease),
        cmocka_unit_test(Rundown_CacheAware_SameRules),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
