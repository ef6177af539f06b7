/*
 * deadlock.c - Driver Verifier's deadlock detection (0x20), each stop with its numbers, and right programs that come close.
 * Page: Deadlock Detection; Bug Check 0xC4. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include "lock_kit.h"
#include <ntifs.h>
#include "vf/vf.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static KSPIN_LOCK A, B, C, Q;
static EX_SPIN_LOCK E;
static EX_PUSH_LOCK P;
static KEVENT Event, Done;
static FAST_MUTEX F, F2, G;
static KMUTEX M, N;
static PVOID Block;

static void Initialize(void)
{
    KeInitializeSpinLock(&A);
    KeInitializeSpinLock(&B);
    KeInitializeSpinLock(&C);
    KeInitializeSpinLock(&Q);
    E = 0;
    ExInitializePushLock(&P);
    ExInitializeFastMutex(&F);
    ExInitializeFastMutex(&F2);
    KeInitializeGuardedMutex(&G);
    KeInitializeMutex(&M, 0);
    KeInitializeMutex(&N, 0);
    KeInitializeEvent(&Event, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Done, SynchronizationEvent, FALSE);
}

static void Start(ULONG Mask)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.verifier = Mask;
    assert_int_equal(ntmm_start(&Options), 0);
    Initialize();
}

static void Wait(PVOID Object)
{
    assert_int_equal(KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
}

static PETHREAD Spawn(PKSTART_ROUTINE Routine)
{
    HANDLE Handle;
    PETHREAD Thread;
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL), STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, NULL, KernelMode, (PVOID *)&Thread, NULL), STATUS_SUCCESS);
    ZwClose(Handle);
    return Thread;
}
static void Join(PETHREAD Thread)
{
    Wait(Thread);
    ObDereferenceObject(Thread);
}
static VOID NTAPI TakeAB(PVOID Context)
{
    (void)Context;
    Two(&A, &B);
}

static void Stops(void (*Sin)(void *), ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3, ULONG_PTR P4)
{
    ntmm_bugcheck Stop;
    assert_true(ntmm_catch(Sin, NULL, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DETECTED_VIOLATION);
    assert_int_equal(Stop.parameters[0], P1);
    assert_int_equal(Stop.parameters[1], P2);
    assert_int_equal(Stop.parameters[2], P3);
    assert_int_equal(Stop.parameters[3], P4);
}

static void SinOrder(void *Context)
{
    (void)Context;
    Two(&B, &A);
}
static void SinOrder3(void *Context)
{
    (void)Context;
    Two(&C, &A);
}
/* The other order on another thread, long ago: nobody waits for anything. */
static void Order(void)
{
    Start(VF_DEADLOCK);
    Join(Spawn(TakeAB));
    assert_null(VfValidate());
    Stops(SinOrder, 0x1001, (ULONG_PTR)&A, 0, 0);
}
static void OrderOfThree(void)
{
    Start(VF_DEADLOCK);
    Two(&A, &B);
    Two(&B, &C);
    Two(&A, &C);
    Stops(SinOrder3, 0x1001, (ULONG_PTR)&A, 0, 0);
    assert_null(VfValidate());
}
static void SinMutexes(void *Context)
{
    (void)Context;
    KeAcquireGuardedMutex(&G);
    ExAcquireFastMutex(&F);
}
static void OrderOfMutexes(void)
{
    Start(VF_DEADLOCK);
    ExAcquireFastMutex(&F);
    KeAcquireGuardedMutex(&G);
    KeReleaseGuardedMutex(&G);
    ExReleaseFastMutex(&F);
    Stops(SinMutexes, 0x1001, (ULONG_PTR)&F, 0, 0);
}
static void SinKernelMutexes(void *Context)
{
    (void)Context;
    Wait(&N);
    Wait(&M);
}
static void OrderOfKernelMutexes(void)
{
    Start(VF_DEADLOCK);
    Wait(&M);
    Wait(&N);
    Wait(&M); /* a mutex may be acquired again by its owner, whatever it holds */
    KeReleaseMutex(&M, FALSE);
    KeReleaseMutex(&N, FALSE);
    KeReleaseMutex(&M, FALSE);
    Stops(SinKernelMutexes, 0x1001, (ULONG_PTR)&M, 0, 0);
}
static void SinMixed(void *Context)
{
    (void)Context;
    ExAcquireFastMutex(&F);
    Wait(&M);
}
static void OrderOfKinds(void)
{
    Start(VF_DEADLOCK);
    Wait(&M);
    ExAcquireFastMutex(&F);
    ExReleaseFastMutex(&F);
    KeReleaseMutex(&M, FALSE);
    Stops(SinMixed, 0x1001, (ULONG_PTR)&M, 0, 0);
}

static void SinSelf(void *Context)
{
    KIRQL Old;
    (void)Context;
    KeAcquireSpinLock(&A, &Old);
    KeAcquireSpinLockAtDpcLevel(&A);
}
static void SinSelfMutex(void *Context)
{
    (void)Context;
    ExAcquireFastMutex(&F);
    ExAcquireFastMutex(&F);
}
static void Self(void)
{
    Start(VF_DEADLOCK);
    Stops(SinSelf, 0x1000, (ULONG_PTR)&A, 0, 0);
    Stops(SinSelfMutex, 0x1000, (ULONG_PTR)&F, 0, 0);
}

static void ReleaseF(void *Context)
{
    KIRQL Old;
    (void)Context;
    KeRaiseIrql(APC_LEVEL, &Old);
    ExReleaseFastMutex(&F);
}
static PKTHREAD Owner;
static KEVENT Held, MayEnd;
static VOID NTAPI HoldF(PVOID Context)
{
    (void)Context;
    Owner = KeGetCurrentThread();
    ExAcquireFastMutex(&F);
    KeSetEvent(&Held, IO_NO_INCREMENT, FALSE);
    Wait(&MayEnd);
    ExReleaseFastMutex(&F);
}
static void WrongThread(void)
{
    Start(VF_DEADLOCK);
    KeInitializeEvent(&Held, SynchronizationEvent, FALSE);
    KeInitializeEvent(&MayEnd, SynchronizationEvent, FALSE);
    PETHREAD Other = Spawn(HoldF);
    Wait(&Held);
    Stops(ReleaseF, 0x1004, (ULONG_PTR)&F, (ULONG_PTR)Owner, (ULONG_PTR)KeGetCurrentThread());
    KeSetEvent(&MayEnd, IO_NO_INCREMENT, FALSE);
    Join(Other);
}

static void SinFree(void *Context)
{
    KIRQL Old;
    (void)Context;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeReleaseSpinLockFromDpcLevel(&A);
}
static void SinFreeMutex(void *Context)
{
    (void)Context;
    KeReleaseMutex(&M, FALSE);
}
static void ReleasedFree(void)
{
    Start(VF_DEADLOCK);
    Stops(SinFree, 0x1007, (ULONG_PTR)&A, 0, 0);
    Stops(SinFreeMutex, 0x1007, (ULONG_PTR)&M, 0, 0);
}

static void SinInitialize(void *Context)
{
    KIRQL Old;
    (void)Context;
    KeAcquireSpinLock(&A, &Old);
    KeInitializeSpinLock(&A);
}
static void Initialized(void)
{
    Start(VF_DEADLOCK);
    Stops(SinInitialize, 0x1005, (ULONG_PTR)&A, 0, 0);
}

static void SinFreed(void *Context)
{
    (void)Context;
    ExAcquireFastMutex((PFAST_MUTEX)((PUCHAR)Block + 64));
    ExFreePool(Block);
}
static void HoldInPool(ULONG Mask)
{
    Start(Mask);
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 256, 'kcoL');
    ExInitializeFastMutex((PFAST_MUTEX)((PUCHAR)Block + 64));
    Stops(SinFreed, 0x100B, (ULONG_PTR)Block + 64, (ULONG_PTR)KeGetCurrentThread(), 0);
}
static void FreedHeld(void)
{
    HoldInPool(VF_DEADLOCK);
}
static void FreedHeldSpecial(void)
{
    HoldInPool(VF_DEADLOCK | VF_SPECIAL_POOL);
}

/* The thread's own stop goes to stderr: the child dies of it. */
static VOID NTAPI EndHolding(PVOID Context)
{
    (void)Context;
    ExAcquireFastMutex(&F);
}
static void ThreadEnds(void)
{
    Start(VF_DEADLOCK);
    Join(Spawn(EndHolding));
}

/* ---- uninitialised, wrong kinds, wrong order of releases ---- */

static void SinGarbage(void *Context)
{
    KIRQL Old;
    KeAcquireSpinLock(Context, &Old);
}
static void SinGarbageEx(void *Context)
{
    ExAcquireSpinLockExclusive(Context);
}
static void SinGarbageMutex(void *Context)
{
    ExAcquireFastMutex(Context);
}
static void SinGarbagePush(void *Context)
{
    KeEnterCriticalRegion();
    ExAcquirePushLockExclusive((PEX_PUSH_LOCK)Context);
}
static void Uninitialised(void (*Sin)(void *), UCHAR Fill)
{
    ntmm_bugcheck Stop;
    Start(VF_DEADLOCK);
    PUCHAR Memory = ExAllocatePool2(POOL_FLAG_NON_PAGED, 128, 'kcoL');
    memset(Memory, Fill, 128);
    assert_true(ntmm_catch(Sin, Memory, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DETECTED_VIOLATION);
    assert_int_equal(Stop.parameters[0], 0x1002);
    assert_int_equal(Stop.parameters[1], (ULONG_PTR)Memory);
}
static void UninitialisedSpin(void)
{
    Uninitialised(SinGarbage, 0xA5);
}
static void UninitialisedEx(void)
{
    Uninitialised(SinGarbageEx, 0xA5);
}
static void UninitialisedMutex(void)
{
    Uninitialised(SinGarbageMutex, 0);
}
static void UninitialisedPush(void)
{
    Uninitialised(SinGarbagePush, 0xA5);
}
static void SinLowers(void *Context)
{
    KIRQL Old;
    (void)Context;
    KeAcquireSpinLock(&A, &Old);
    KeAcquireSpinLockAtDpcLevel(&B);
    KeReleaseSpinLock(&A, Old); /* B is held below DISPATCH_LEVEL now */
}
static void SinLowersMutex(void *Context)
{
    (void)Context;
    ExAcquireFastMutex(&F);
    ExAcquireFastMutex(&F2);
    ExReleaseFastMutex(&F);
}
static void ReleasedOutOfOrder(void)
{
    Start(VF_DEADLOCK);
    Stops(SinLowers, 0x1003, (ULONG_PTR)&A, (ULONG_PTR)&B, 0);
}
static void ReleasedMutexOutOfOrder(void)
{
    Start(VF_DEADLOCK);
    Stops(SinLowersMutex, 0x1003, (ULONG_PTR)&F, (ULONG_PTR)&F2, 0);
}
static void SinBothKinds(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;
    (void)Context;
    KeAcquireInStackQueuedSpinLock(&A, &Handle);
}
static void AcquiredAsOtherKind(void)
{
    Start(VF_DEADLOCK);
    Two(&A, &B);
    Stops(SinBothKinds, 0x1008, (ULONG_PTR)&A, 0, 0);
}
static void SinReleaseOther(void *Context)
{
    KLOCK_QUEUE_HANDLE Handle;
    (void)Context;
    KeAcquireInStackQueuedSpinLock(&A, &Handle);
    KeReleaseSpinLock(&A, Handle.OldIrql);
}
static void SinReleaseGuarded(void *Context)
{
    (void)Context;
    ExAcquireFastMutex(&F);
    KeReleaseGuardedMutex(&F);
}
static void ReleasedAsOtherKind(void)
{
    Start(VF_DEADLOCK);
    Stops(SinReleaseOther, 0x1009, (ULONG_PTR)&A, 0, 0);
}
static void ReleasedAsGuarded(void)
{
    Start(VF_DEADLOCK);
    Stops(SinReleaseGuarded, 0x1009, (ULONG_PTR)&F, 0, 0);
}
static void SinShared(void *Context)
{
    (void)Context;
    ExAcquireSpinLockShared(&E);
    ExAcquireSpinLockExclusiveAtDpcLevel(&E); /* it is a shared owner already */
}
static void ExclusiveOverShared(void)
{
    Start(VF_DEADLOCK);
    Stops(SinShared, 0x1000, (ULONG_PTR)&E, 0, 0);
}
static void SinPushOrder(void *Context)
{
    (void)Context;
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&P);
    ExAcquireFastMutex(&F);
}
static void OrderOfPushLocks(void)
{
    Start(VF_DEADLOCK);
    ExAcquireFastMutex(&F);
    ExAcquirePushLockExclusive(&P);
    ExReleasePushLockExclusive(&P);
    ExReleaseFastMutex(&F);
    Stops(SinPushOrder, 0x1001, (ULONG_PTR)&F, 0, 0);
}
static VOID NTAPI ReleaseE(PVOID Context)
{
    ntmm_bugcheck Stop;
    (void)Context;
    KIRQL Old = KeRaiseIrqlToDpcLevel();
    assert_true(ntmm_catch((void (*)(void *))(void *)ExReleaseSpinLockSharedFromDpcLevel, (void *)&E, &Stop));
    assert_int_equal(Stop.parameters[0], 0x1004);
    KeLowerIrql(Old);
}
static VOID NTAPI HoldE(PVOID Context)
{
    (void)Context;
    KIRQL Old = ExAcquireSpinLockShared(&E);
    ExReleaseSpinLockSharedFromDpcLevel(&E);
    ExAcquireSpinLockSharedAtDpcLevel(&E);
    KeLowerIrql(Old); /* wrong, and nobody's business here: it lets this thread wait */
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
    Wait(&Done);
    Old = KeRaiseIrqlToDpcLevel();
    ExReleaseSpinLockShared(&E, Old);
}
static void SharedReleasedByOther(void)
{
    KIRQL Old;
    Start(VF_DEADLOCK);
    Old = ExAcquireSpinLockShared(&E);
    PETHREAD Thread = NULL;
    ExReleaseSpinLockShared(&E, Old);
    Thread = Spawn(HoldE);
    Wait(&Event);
    ReleaseE(NULL);
    KeSetEvent(&Done, IO_NO_INCREMENT, FALSE);
    Join(Thread);
}
/* A lock on the stack is watched while it is held. */
static void SinStack(void *Context)
{
    KSPIN_LOCK Here;
    KIRQL Old;
    (void)Context;
    KeInitializeSpinLock(&Here);
    KeAcquireSpinLock(&Here, &Old);
    KeAcquireSpinLockAtDpcLevel(&Here);
}
static void SelfOnStack(void)
{
    ntmm_bugcheck Stop;
    Start(VF_DEADLOCK);
    assert_true(ntmm_catch(SinStack, NULL, &Stop));
    assert_int_equal(Stop.parameters[0], 0x1000);
}

/* The report: both orders, with the stacks that acquired. */
static void Told(void)
{
    ntmm_bugcheck Stop;
    static char Text[65536];
    Start(VF_DEADLOCK);
    Two(&A, &B);
    Two(&B, &C);
    assert_true(ntmm_catch(SinOrder3, NULL, &Stop));
    ntmm_report(&Stop, false, Text, sizeof Text);
    if (strstr(Text, "lock order: ") == NULL || strstr(Text, "lock order seen before: ") == NULL ||
        strstr(Text, "SinOrder3") == NULL || strstr(Text, "Told") == NULL ||
        strstr(strstr(Text, "lock order seen before: ") + 1, "lock order seen before: ") == NULL)
        fail_msg("%s", Text);
    ntmm_report(&Stop, true, Text, sizeof Text);
    if (strstr(Text, "\"locks\"") == NULL || strstr(Text, "\"acquired_by\"") == NULL)
        fail_msg("%s", Text);
}

/* Only what verified drivers acquire is watched. */
static void OthersUnseen(void)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.verifier = VF_DEADLOCK;
    strcpy(Options.verifier_drivers, "other.sys");
    assert_int_equal(ntmm_start(&Options), 0);
    Initialize();
    Two(&A, &B);
    Two(&B, &A);
    assert_true(KeTryToAcquireSpinLockAtDpcLevel != NULL);
    assert_null(VfValidate());
    ntmm_stop();
}

static DECLSPEC_NOINLINE void OnStack(bool First)
{
    KSPIN_LOCK Here;
    KeInitializeSpinLock(&Here);
    Two(First ? &Here : &C, First ? &C : &Here);
}

/* ---- right ---- */

static void Right(void)
{
    KIRQL Old;
    KLOCK_QUEUE_HANDLE Handle;
    LARGE_INTEGER Now = {.QuadPart = 0};
    PVOID Both[2] = {&N, &M};
    Start(VF_DEADLOCK | VF_MISC);
    /* hand over hand: not released in the opposite order */
    KeAcquireSpinLock(&A, &Old);
    KeAcquireSpinLockAtDpcLevel(&B);
    KeReleaseSpinLockFromDpcLevel(&A);
    KeAcquireSpinLockAtDpcLevel(&C);
    KeReleaseSpinLockFromDpcLevel(&B);
    KeReleaseSpinLock(&C, Old);
    /* one after the other */
    KeAcquireInStackQueuedSpinLock(&Q, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
    KeAcquireInStackQueuedSpinLock(&Q, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
    /* forms of one kind */
    Old = KeAcquireSpinLockRaiseToDpc(&A);
    KeReleaseSpinLockFromDpcLevel(&A);
    KeAcquireSpinLockAtDpcLevel(&A);
    KeReleaseSpinLock(&A, Old);
    /* against the order, but only tried: it cannot wait */
    KeAcquireSpinLock(&B, &Old);
    assert_true(KeTryToAcquireSpinLockAtDpcLevel(&A));
    KeReleaseSpinLockFromDpcLevel(&A);
    KeReleaseSpinLock(&B, Old);
    /* mutexes: with a time-out, and all at once */
    Wait(&M);
    Wait(&N);
    KeReleaseMutex(&N, FALSE);
    KeReleaseMutex(&M, FALSE);
    Wait(&N);
    assert_int_equal(KeWaitForSingleObject(&M, Executive, KernelMode, FALSE, &Now), STATUS_SUCCESS);
    KeReleaseMutex(&M, FALSE);
    KeReleaseMutex(&N, FALSE);
    assert_int_equal(KeWaitForMultipleObjects(2, Both, WaitAll, Executive, KernelMode, FALSE, NULL, NULL), STATUS_SUCCESS);
    KeReleaseMutex(&N, FALSE);
    KeReleaseMutex(&M, FALSE);
    /* another lock at the same address: initialised again */
    Two(&A, &B);
    KeInitializeSpinLock(&A);
    Two(&B, &A);
    /* a block that is freed and allocated again: its lock is another one */
    for (ULONG Round = 0; Round < 4; Round++) {
        PKSPIN_LOCK Lock = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(KSPIN_LOCK), 'kcoL');
        Two(Round & 1 ? Lock : &C, Round & 1 ? &C : Lock);
        ExFreePool(Lock);
    }
    /* shared and exclusive */
    Old = ExAcquireSpinLockShared(&E);
    ExAcquireSpinLockSharedAtDpcLevel(&E);
    ExReleaseSpinLockSharedFromDpcLevel(&E);
    assert_true(ExTryConvertSharedSpinLockExclusive(&E));
    ExReleaseSpinLockExclusive(&E, Old);
    KeEnterCriticalRegion();
    ExAcquirePushLockShared(&P);
    Two(&B, &A);
    ExReleasePushLockShared(&P);
    ExAcquirePushLockExclusive(&P);
    ExReleasePushLockExclusive(&P);
    ExAcquireFastMutexUnsafe(&F);
    ExReleaseFastMutexUnsafe(&F);
    KeLeaveCriticalRegion();
    ExAcquireFastMutex(&F); /* the same mutex in both ways, one after the other */
    KeAcquireGuardedMutex(&G);
    ExReleaseFastMutex(&F); /* G does not need the IRQL */
    KeReleaseGuardedMutex(&G);
    /* on the stack: another lock each time, whatever the order */
    for (ULONG Round = 0; Round < 4; Round++)
        OnStack((Round & 1) != 0);
    assert_null(VfValidate());
    ntmm_stop();
}
/* Many threads at once, all in one order. */
static VOID NTAPI Busy(PVOID Context)
{
    (void)Context;
    for (ULONG Round = 0; Round < 100; Round++) {
        Wait(&M);
        ExAcquireFastMutex(&F);
        Two(&A, &B);
        Two(&B, &C);
        ExReleaseFastMutex(&F);
        KeReleaseMutex(&M, FALSE);
        PKSPIN_LOCK Lock = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(KSPIN_LOCK), 'kcoL');
        Two(&C, Lock);
        ExFreePool(Lock);
    }
}
static void Threads(void)
{
    PETHREAD Each[4];
    Start(VF_DEADLOCK);
    for (ULONG Index = 0; Index < 4; Index++) {
        Each[Index] = Spawn(Busy);
    }
    for (ULONG Index = 0; Index < 4; Index++) {
        Join(Each[Index]);
    }
    assert_null(VfValidate());
    ntmm_stop();
}
/* More locks and orders than are kept: the oldest knowledge goes, nobody is accused. */
static void Many(void)
{
    Start(VF_DEADLOCK);
    PKSPIN_LOCK Locks = ExAllocatePool2(POOL_FLAG_NON_PAGED, 6000 * sizeof(KSPIN_LOCK), 'kcoL');
    for (ULONG Index = 0; Index + 40 < 6000; Index++) {
        for (ULONG Far = 1; Far < 40; Far += 12) {
            Two(&Locks[Index], &Locks[Index + Far]);
        }
    }
    ExFreePool(Locks);
    Two(&A, &B);
    Stops(SinOrder, 0x1001, (ULONG_PTR)&A, 0, 0);
}
static void Off(void)
{
    Start(VF_MISC);
    Two(&A, &B);
    Two(&B, &A);
    assert_int_equal(VfSetFlags(VF_MISC | VF_DEADLOCK), STATUS_SUCCESS);
    Two(&A, &B);
    assert_int_equal(VfSetFlags(VF_MISC), STATUS_SUCCESS);
    Two(&B, &A); /* what was known is forgotten */
    assert_int_equal(VfSetFlags(VF_MISC | VF_DEADLOCK), STATUS_SUCCESS);
    Two(&B, &A);
    assert_null(VfValidate());
    ntmm_stop();
}

/* A caught stop leaves locks held: each case has a process of its own. */
static int InChild(void (*Case)(void), int Errors)
{
    int Status;
    pid_t Child = fork();
    if (Child == 0) {
        if (Errors >= 0) {
            dup2(Errors, STDERR_FILENO);
        }
        Case();
        _exit(0);
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    return Status;
}
static void Run(void **State)
{
    assert_int_equal(InChild(*(void (**)(void)) * State, -1), 0);
}
static void ThreadEndsIsSaid(void **State)
{
    int Errors = memfd_create("errors", 0);
    char Text[16384];
    (void)State;
    assert_int_not_equal(InChild(ThreadEnds, Errors), 0);
    ssize_t Length = pread(Errors, Text, sizeof(Text) - 1, 0);
    assert_true(Length > 0);
    Text[Length] = 0;
    if (strstr(Text, "100A") == NULL) {
        fail_msg("%s", Text);
    }
    close(Errors);
}

int main(void)
{
    static void (*Cases[])(void) = {Order,
                                    OrderOfThree,
                                    OrderOfMutexes,
                                    OrderOfKernelMutexes,
                                    OrderOfKinds,
                                    Self,
                                    WrongThread,
                                    ReleasedFree,
                                    Initialized,
                                    FreedHeld,
                                    FreedHeldSpecial,
                                    Right,
                                    Threads,
                                    Many,
                                    Off,
                                    UninitialisedSpin,
                                    UninitialisedEx,
                                    UninitialisedMutex,
                                    UninitialisedPush,
                                    ReleasedOutOfOrder,
                                    ReleasedMutexOutOfOrder,
                                    AcquiredAsOtherKind,
                                    ReleasedAsOtherKind,
                                    ReleasedAsGuarded,
                                    ExclusiveOverShared,
                                    OrderOfPushLocks,
                                    SharedReleasedByOther,
                                    SelfOnStack,
                                    Told,
                                    OthersUnseen};
    static const char *const Names[] = {"Order",
                                        "OrderOfThree",
                                        "OrderOfMutexes",
                                        "OrderOfKernelMutexes",
                                        "OrderOfKinds",
                                        "Self",
                                        "WrongThread",
                                        "ReleasedFree",
                                        "Initialized",
                                        "FreedHeld",
                                        "FreedHeldSpecial",
                                        "Right",
                                        "Threads",
                                        "Many",
                                        "Off",
                                        "UninitialisedSpin",
                                        "UninitialisedEx",
                                        "UninitialisedMutex",
                                        "UninitialisedPush",
                                        "ReleasedOutOfOrder",
                                        "ReleasedMutexOutOfOrder",
                                        "AcquiredAsOtherKind",
                                        "ReleasedAsOtherKind",
                                        "ReleasedAsGuarded",
                                        "ExclusiveOverShared",
                                        "OrderOfPushLocks",
                                        "SharedReleasedByOther",
                                        "SelfOnStack",
                                        "Told",
                                        "OthersUnseen"};
    struct CMUnitTest Tests[sizeof(Cases) / sizeof(*Cases) + 1];
    for (size_t Index = 0; Index < sizeof(Cases) / sizeof(*Cases); Index++) {
        Tests[Index] = (struct CMUnitTest){Names[Index], Run, NULL, NULL, &Cases[Index]};
    }
    Tests[sizeof(Cases) / sizeof(*Cases)] = (struct CMUnitTest)cmocka_unit_test(ThreadEndsIsSaid);
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
