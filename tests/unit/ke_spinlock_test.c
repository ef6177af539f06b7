/*
 * ke_spinlock_test.c - spin locks of all families (spinlock.c). SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ke/ki.h"

static void SpinLock_Acquire_RaisesAndReleaseLowers(void **State)
{
    KSPIN_LOCK Lock;
    KIRQL Old;

    (void)State;
    KeInitializeSpinLock(&Lock);
    assert_true(KeTestSpinLock(&Lock));
    KeAcquireSpinLock(&Lock, &Old);
    assert_int_equal(Old, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    assert_false(KeTestSpinLock(&Lock));
    assert_int_equal(Lock >> 32, KiCurrentThread()->Id);
    assert_int_equal(KiCurrentThread()->SpinLocksHeld, 1);
    KeReleaseSpinLock(&Lock, Old);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_int_equal(Lock, 0);
    assert_int_equal(KiCurrentThread()->SpinLocksHeld, 0);
}

static void SpinLock_AtDpcLevel_LeavesIrqlAlone(void **State)
{
    KSPIN_LOCK Lock = 0;
    KIRQL Old;

    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL + 1, &Old);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL + 1);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    assert_true(KeTryToAcquireSpinLockAtDpcLevel(&Lock));
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeLowerIrql(Old);
}

static KSPIN_LOCK Shared;
static EX_SPIN_LOCK ReadWrite;
static ULONG64 Sum;
static volatile LONG Readers, Writers, Clashes;

static void *TryOnce(void *Argument)
{
    KIRQL Old = KeRaiseIrqlToDpcLevel();

    *(BOOLEAN *)Argument = KeTryToAcquireSpinLockAtDpcLevel(&Shared);
    KeLowerIrql(Old);
    return NULL;
}

static void SpinLock_HeldElsewhere_TryFails(void **State)
{
    BOOLEAN Taken = TRUE;
    KIRQL Old;

    (void)State;
    KeAcquireSpinLock(&Shared, &Old);
    Join(Spawn(TryOnce, &Taken));
    KeReleaseSpinLock(&Shared, Old);
    assert_false(Taken);
}

static void *AddMany(void *Argument)
{
    for (int Round = 0; Round < 5000; Round++) {
        KLOCK_QUEUE_HANDLE Handle;
        KIRQL Old;

        switch ((Round + (int)(intptr_t)Argument) % 3) {
        case 0:
            KeAcquireSpinLock(&Shared, &Old);
            Sum++;
            KeReleaseSpinLock(&Shared, Old);
            break;
        case 1:
            KeAcquireInStackQueuedSpinLock(&Shared, &Handle);
            Sum++;
            KeReleaseInStackQueuedSpinLock(&Handle);
            break;
        default:
            Old = KeRaiseIrqlToDpcLevel();
            KeAcquireInStackQueuedSpinLockAtDpcLevel(&Shared, &Handle);
            Sum++;
            KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
            KeLowerIrql(Old);
        }
    }
    return NULL;
}

static void SpinLock_FourThreads_NoneLost(void **State)
{
    pthread_t Threads[4];

    (void)State;
    Sum = 0;
    for (intptr_t Index = 0; Index < 4; Index++) {
        Threads[Index] = Spawn(AddMany, (void *)Index);
    }
    for (int Index = 0; Index < 4; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Sum, 20000);
    assert_int_equal(Shared, 0);
}

static void *ReadAndWrite(void *Argument)
{
    for (int Round = 0; Round < 3000; Round++) {
        KIRQL Old;

        if ((Round + (int)(intptr_t)Argument) % 4 != 0) {
            Old = ExAcquireSpinLockShared(&ReadWrite);
            __atomic_add_fetch(&Readers, 1, __ATOMIC_SEQ_CST);
            if (__atomic_load_n(&Writers, __ATOMIC_SEQ_CST) != 0) {
                __atomic_add_fetch(&Clashes, 1, __ATOMIC_SEQ_CST);
            }
            __atomic_sub_fetch(&Readers, 1, __ATOMIC_SEQ_CST);
            ExReleaseSpinLockShared(&ReadWrite, Old);
        } else {
            Old = ExAcquireSpinLockExclusive(&ReadWrite);
            if (__atomic_add_fetch(&Writers, 1, __ATOMIC_SEQ_CST) != 1 || __atomic_load_n(&Readers, __ATOMIC_SEQ_CST) != 0) {
                __atomic_add_fetch(&Clashes, 1, __ATOMIC_SEQ_CST);
            }
            Sum++;
            __atomic_sub_fetch(&Writers, 1, __ATOMIC_SEQ_CST);
            ExReleaseSpinLockExclusive(&ReadWrite, Old);
        }
    }
    return NULL;
}

static void ExSpinLock_ReadersAndWriters_NeverTogether(void **State)
{
    pthread_t Threads[4];

    (void)State;
    Sum = 0;
    Clashes = 0;
    for (intptr_t Index = 0; Index < 4; Index++) {
        Threads[Index] = Spawn(ReadAndWrite, (void *)Index);
    }
    for (int Index = 0; Index < 4; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Clashes, 0);
    assert_int_equal(Sum, 3000);
    assert_int_equal(ReadWrite, 0);
}

static void ExSpinLock_OnlySharer_Converts(void **State)
{
    EX_SPIN_LOCK Lock = 0;
    KIRQL Old = ExAcquireSpinLockShared(&Lock);

    (void)State;
    assert_true(ExTryConvertSharedSpinLockExclusive(&Lock) != 0);
    assert_false(ExTryAcquireSpinLockSharedAtDpcLevel(&Lock));
    ExReleaseSpinLockExclusive(&Lock, Old);
    Old = ExAcquireSpinLockShared(&Lock);
    ExAcquireSpinLockSharedAtDpcLevel(&Lock);
    assert_true(ExTryConvertSharedSpinLockExclusive(&Lock) == 0);
    assert_false(ExTryAcquireSpinLockExclusiveAtDpcLevel(&Lock));
    ExReleaseSpinLockSharedFromDpcLevel(&Lock);
    ExReleaseSpinLockShared(&Lock, Old);
    assert_int_equal(Lock, 0);
}

static void Interlocked_Lists_KeepOrderAndReturnNeighbours(void **State)
{
    LIST_ENTRY Head = {&Head, &Head}, One, Two, Three;
    SINGLE_LIST_ENTRY Top = {NULL}, First, Second;
    LARGE_INTEGER Number = {.QuadPart = 5}, Increment = {.QuadPart = 7};
    KSPIN_LOCK Lock = 0;
    ULONG Small = 1;

    (void)State;
    assert_null(ExInterlockedRemoveHeadList(&Head, &Lock));
    assert_null(ExInterlockedInsertTailList(&Head, &One, &Lock));
    assert_ptr_equal(ExInterlockedInsertTailList(&Head, &Two, &Lock), &One);
    assert_ptr_equal(ExInterlockedInsertHeadList(&Head, &Three, &Lock), &One);
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &Lock), &Three);
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &Lock), &One);
    assert_ptr_equal(ExInterlockedRemoveHeadList(&Head, &Lock), &Two);
    assert_null(ExInterlockedRemoveHeadList(&Head, &Lock));
    assert_null(ExInterlockedPushEntryList(&Top, &First, &Lock));
    assert_ptr_equal(ExInterlockedPushEntryList(&Top, &Second, &Lock), &First);
    assert_ptr_equal(ExInterlockedPopEntryList(&Top, &Lock), &Second);
    assert_ptr_equal(ExInterlockedPopEntryList(&Top, &Lock), &First);
    assert_null(ExInterlockedPopEntryList(&Top, &Lock));
    assert_int_equal(ExInterlockedAddLargeInteger(&Number, Increment, &Lock).QuadPart, 5);
    assert_int_equal(Number.QuadPart, 12);
    assert_int_equal(ExInterlockedAddUlong(&Small, 2, &Lock), 1);
    assert_int_equal(Small, 3);
    assert_int_equal(Lock, 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(SpinLock_Acquire_RaisesAndReleaseLowers),
        cmocka_unit_test(SpinLock_AtDpcLevel_LeavesIrqlAlone),
        cmocka_unit_test(SpinLock_HeldElsewhere_TryFails),
        cmocka_unit_test(SpinLock_FourThreads_NoneLost),
        cmocka_unit_test(ExSpinLock_ReadersAndWriters_NeverTogether),
        cmocka_unit_test(ExSpinLock_OnlySharer_Converts),
        cmocka_unit_test(Interlocked_Lists_KeepOrderAndReturnNeighbours),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
