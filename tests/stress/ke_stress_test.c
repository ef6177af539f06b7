/*
 * ke_stress_test.c - the kernel layer under load: threads, DPCs, timers, events, semaphores, mutexes, resources, work items at
 * once, the validators running beside them. SPDX-License-Identifier: MIT
 *
 * What is checked: no validator finds a broken invariant; counts that several threads keep under a lock of each kind come out exact;
 * tokens passed through semaphores are neither lost nor made; at the end nothing is pending.
 */
#include "ke_kit.h"
#include "ex/work.h"
#include "ke/ki.h"
#include <stdlib.h>
#include <time.h>

#define WORKERS 5
#define TIMERS  24

static struct {
    KSPIN_LOCK Spin;
    EX_SPIN_LOCK Ex;
    FAST_MUTEX Fast;
    KMUTEX Mutex;
    ERESOURCE Resource;
    EX_PUSH_LOCK Push;
    KSEMAPHORE Tokens;
    KEVENT Signal, Manual;
    KTIMER Timers[TIMERS];
    KDPC Dpcs[TIMERS];
    WORK_QUEUE_ITEM Items[WORKERS];
    volatile LONG ItemBusy[WORKERS];
    EX_RUNDOWN_REF Rundown;
    ULONG64 SpinCount, ExCount, FastCount, MutexCount, ResourceCount, PushCount; /* each guarded by its lock */
    volatile LONG64 SpinSteps, ExSteps, FastSteps, MutexSteps, ResourceSteps, PushSteps;
    volatile LONG64 Dpcs_, TokensOut, Works, WorksDone;
    volatile LONG Stop, Wrong;
    const char *volatile Broken;
} S;

static void Fault(const char *What)
{
    S.Broken = What;
    __atomic_add_fetch(&S.Wrong, 1, __ATOMIC_SEQ_CST);
}

static VOID TimerDpc(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
    KIRQL Old;

    (void)Dpc, (void)Context, (void)Argument1, (void)Argument2;
    if (KeGetCurrentIrql() != DISPATCH_LEVEL) {
        Fault("a DPC ran at another IRQL");
    }
    KeAcquireSpinLock(&S.Spin, &Old);
    S.SpinCount++;
    KeReleaseSpinLock(&S.Spin, Old);
    __atomic_add_fetch(&S.SpinSteps, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&S.Dpcs_, 1, __ATOMIC_RELAXED);
    KeSetEvent(&S.Signal, 0, FALSE);
}

static VOID Work(PVOID Parameter)
{
    LONG Index = (LONG)(LONG_PTR)Parameter;

    if (KeGetCurrentIrql() != PASSIVE_LEVEL) {
        Fault("a work item ran above PASSIVE_LEVEL");
    }
    __atomic_add_fetch(&S.WorksDone, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&S.ItemBusy[Index], 0, __ATOMIC_SEQ_CST);
}

static void Step(ULONG64 *Random, LONG Index)
{
    ULONG64 Dice = *Random = *Random * 6364136223846793005ull + 1442695040888963407ull;
    LARGE_INTEGER Brief = Relative((LONGLONG)((Dice >> 40) % 300));
    PVOID Both[2] = {&S.Mutex, &S.Manual};
    KIRQL Old;
    ULONG Pick = (ULONG)((Dice >> 33) % TIMERS);

    switch ((Dice >> 58) % 14) {
    case 0:
        KeAcquireSpinLock(&S.Spin, &Old);
        S.SpinCount++;
        KeReleaseSpinLock(&S.Spin, Old);
        __atomic_add_fetch(&S.SpinSteps, 1, __ATOMIC_RELAXED);
        break;
    case 1:
        Old = ExAcquireSpinLockExclusive(&S.Ex);
        S.ExCount++;
        ExReleaseSpinLockExclusive(&S.Ex, Old);
        __atomic_add_fetch(&S.ExSteps, 1, __ATOMIC_RELAXED);
        break;
    case 2:
        ExAcquireFastMutex(&S.Fast);
        S.FastCount++;
        ExReleaseFastMutex(&S.Fast);
        __atomic_add_fetch(&S.FastSteps, 1, __ATOMIC_RELAXED);
        break;
    case 3:
        if (KeWaitForSingleObject(&S.Mutex, Executive, KernelMode, FALSE, &Brief) == STATUS_SUCCESS) {
            S.MutexCount++;
            __atomic_add_fetch(&S.MutexSteps, 1, __ATOMIC_RELAXED);
            KeReleaseMutex(&S.Mutex, FALSE);
        }
        break;
    case 4:
        if (KeWaitForMultipleObjects(2, Both, Dice & 256 ? WaitAll : WaitAny, Executive, KernelMode, FALSE, &Brief, NULL) ==
            STATUS_SUCCESS) {
            S.MutexCount++;
            __atomic_add_fetch(&S.MutexSteps, 1, __ATOMIC_RELAXED);
            KeReleaseMutex(&S.Mutex, FALSE);
        }
        break;
    case 5:
        KeEnterCriticalRegion();
        if (ExAcquireResourceExclusiveLite(&S.Resource, TRUE)) {
            S.ResourceCount++;
            __atomic_add_fetch(&S.ResourceSteps, 1, __ATOMIC_RELAXED);
            if (Dice & 512) {
                ExConvertExclusiveToSharedLite(&S.Resource);
            }
            ExReleaseResourceLite(&S.Resource);
        }
        KeLeaveCriticalRegion();
        break;
    case 6:
        ExEnterCriticalRegionAndAcquireResourceShared(&S.Resource);
        if (Dice & 1024) {
            ExAcquireSharedStarveExclusive(&S.Resource, TRUE);
            ExReleaseResourceLite(&S.Resource);
        }
        if (ExIsResourceAcquiredSharedLite(&S.Resource) != 1) {
            Fault("a sharer does not hold its resource once");
        }
        ExReleaseResourceAndLeaveCriticalRegion(&S.Resource);
        break;
    case 7:
        KeEnterCriticalRegion();
        ExAcquirePushLockExclusive(&S.Push);
        S.PushCount++;
        ExReleasePushLockExclusive(&S.Push);
        KeLeaveCriticalRegion();
        __atomic_add_fetch(&S.PushSteps, 1, __ATOMIC_RELAXED);
        break;
    case 8:
        KeSetTimerEx(&S.Timers[Pick], Relative((LONGLONG)((Dice >> 20) % 2000)), Dice & 2048 ? 1 : 0, &S.Dpcs[Pick]);
        break;
    case 9:
        KeCancelTimer(&S.Timers[Pick]);
        break;
    case 10:
        KeInsertQueueDpc(&S.Dpcs[Pick], NULL, NULL);
        break;
    case 11:
        if (KeWaitForSingleObject(&S.Tokens, Executive, KernelMode, FALSE, &Brief) == STATUS_SUCCESS) {
            __atomic_add_fetch(&S.TokensOut, 1, __ATOMIC_SEQ_CST);
            KeStallExecutionProcessor(1);
            __atomic_sub_fetch(&S.TokensOut, 1, __ATOMIC_SEQ_CST);
            KeReleaseSemaphore(&S.Tokens, 0, 1, FALSE);
        }
        break;
    case 12:
        KeWaitForSingleObject(&S.Signal, Executive, KernelMode, FALSE, &Brief);
        KePulseEvent(&S.Manual, 0, FALSE);
        break;
    default:
        if (__atomic_exchange_n(&S.ItemBusy[Index], 1, __ATOMIC_SEQ_CST) == 0) {
            __atomic_add_fetch(&S.Works, 1, __ATOMIC_SEQ_CST);
            ExQueueWorkItem(&S.Items[Index], (Dice & 4096) != 0 ? CriticalWorkQueue : DelayedWorkQueue);
        }
        if (ExAcquireRundownProtection(&S.Rundown)) {
            ExReleaseRundownProtection(&S.Rundown);
        }
    }
}

static void *HostWorker(void *Argument)
{
    ULONG64 Random = 77 + (ULONG64)(intptr_t)Argument;

    while (!__atomic_load_n(&S.Stop, __ATOMIC_ACQUIRE)) {
        Step(&Random, (LONG)(intptr_t)Argument);
        if (KeGetCurrentIrql() != PASSIVE_LEVEL || KeAreApcsDisabled()) {
            Fault("a step left the IRQL or a region changed");
        }
    }
    return NULL;
}

static VOID SystemWorker(PVOID Context)
{
    HostWorker(Context);
}

static void Validate(void)
{
    const CHAR *Broken = KiValidateWaits();

    Broken = Broken ? Broken : KiValidateTimers();
    Broken = Broken ? Broken : KiValidateDpcs();
    Broken = Broken ? Broken : ExpValidateWork();
    Broken = Broken ? Broken : ExpValidateResource(&S.Resource);
    if (Broken != NULL) {
        print_message("%s\n", Broken);
    }
    assert_null(Broken);
    if (S.Wrong != 0) {
        print_message("%s\n", S.Broken);
    }
    assert_int_equal(S.Wrong, 0);
    assert_in_range(__atomic_load_n(&S.TokensOut, __ATOMIC_SEQ_CST), 0, 2);
}

static void Everything_AtOnce_InvariantsHold(void **State)
{
    const char *Text = getenv("NTMM_STRESS_SECONDS");
    ULONG64 End = Now() + (Text ? (ULONG64)atoi(Text) : 3) * 10000000;
    pthread_t Threads[WORKERS];
    PVOID Objects[WORKERS];
    HANDLE Handle;

    (void)State;
    ExInitializeFastMutex(&S.Fast);
    KeInitializeMutex(&S.Mutex, 0);
    ExInitializeResourceLite(&S.Resource);
    KeInitializeSemaphore(&S.Tokens, 2, 2);
    KeInitializeEvent(&S.Signal, SynchronizationEvent, FALSE);
    KeInitializeEvent(&S.Manual, NotificationEvent, FALSE);
    ExInitializeRundownProtection(&S.Rundown);
    for (int Index = 0; Index < TIMERS; Index++) {
        KeInitializeTimerEx(&S.Timers[Index], Index % 2 ? NotificationTimer : SynchronizationTimer);
        KeInitializeDpc(&S.Dpcs[Index], TimerDpc, NULL);
        if (Index % 3 == 0) {
            KeSetTargetProcessorDpc(&S.Dpcs[Index], (CCHAR)(Index % 2));
        }
    }
    for (LONG_PTR Index = 0; Index < WORKERS; Index++) {
        ExInitializeWorkItem(&S.Items[Index], Work, (PVOID)Index);
    }
    for (intptr_t Index = 0; Index < WORKERS; Index++) {
        if (Index % 2) {
            Threads[Index] = Spawn(HostWorker, (void *)Index);
        } else {
            assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, SystemWorker, (PVOID)Index), 0);
            assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *PsThreadType, KernelMode, &Objects[Index], NULL),
                             0);
            ZwClose(Handle);
        }
    }
    while (Now() < End) {
        LARGE_INTEGER Pause = Relative(2000);

        Validate();
        KeDelayExecutionThread(KernelMode, FALSE, &Pause);
    }
    __atomic_store_n(&S.Stop, 1, __ATOMIC_RELEASE);
    for (int Index = 0; Index < WORKERS; Index++) {
        if (Index % 2) {
            Join(Threads[Index]);
        } else {
            assert_int_equal(KeWaitForSingleObject(Objects[Index], Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
            ObDereferenceObject(Objects[Index]);
        }
    }
    for (int Index = 0; Index < TIMERS; Index++) {
        KeCancelTimer(&S.Timers[Index]);
    }
    KeFlushQueuedDpcs();
    ExpDrainWork();
    ExWaitForRundownProtectionRelease(&S.Rundown);
    Validate();
    assert_int_equal(S.SpinCount, S.SpinSteps);
    assert_int_equal(S.ExCount, S.ExSteps);
    assert_int_equal(S.FastCount, S.FastSteps);
    assert_int_equal(S.MutexCount, S.MutexSteps);
    assert_int_equal(S.ResourceCount, S.ResourceSteps);
    assert_int_equal(S.PushCount, S.PushSteps);
    assert_int_equal(S.Works, S.WorksDone);
    assert_int_equal(KeReadStateSemaphore(&S.Tokens), 2);
    assert_int_equal(KeReadStateMutex(&S.Mutex), 1);
    assert_int_equal(S.Spin | (ULONG64)(ULONG)S.Ex | S.Push, 0);
    assert_null(KiFindTimer(&S, sizeof S));
    assert_null(KiFindDpc(&S, sizeof S));
    assert_true(S.Dpcs_ > 0 && S.Works > 0 && S.MutexSteps > 0);
    ExDeleteResourceLite(&S.Resource);
    print_message("spin %lld ex %lld fast %lld mutex %lld resource %lld push %lld DPCs %lld work items %lld\n",
                  (long long)S.SpinSteps, (long long)S.ExSteps, (long long)S.FastSteps, (long long)S.MutexSteps,
                  (long long)S.ResourceSteps, (long long)S.PushSteps, (long long)S.Dpcs_, (long long)S.Works);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Everything_AtOnce_InvariantsHold)};

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
