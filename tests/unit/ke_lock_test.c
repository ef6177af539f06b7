/*
 * ke_lock_test.c - KI_LOCK: exclusion, the waiter's state, try. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ke/ki.h"

static KI_LOCK Lock;
static volatile int Inside;
static ULONG64 Sum;

static void Lock_Free_TakenAndGivenBack(void **State)
{
    KI_LOCK Fresh = {0};

    (void)State;
    KiAcquireLock(&Fresh);
    assert_int_equal(Fresh.Word, 1);
    assert_false(KiTryAcquireLock(&Fresh));
    KiReleaseLock(&Fresh);
    assert_int_equal(Fresh.Word, 0);
    assert_true(KiTryAcquireLock(&Fresh));
    KiReleaseLock(&Fresh);
}

static void *AddMany(void *Argument)
{
    (void)Argument;
    for (int Round = 0; Round < 20000; Round++) {
        KiAcquireLock(&Lock);
        if (Inside++ != 0) {
            abort();
        }
        Sum++;
        Inside--;
        KiReleaseLock(&Lock);
    }
    return NULL;
}

static void Lock_FourThreads_OneInsideAndNoneLost(void **State)
{
    pthread_t Threads[4];

    (void)State;
    Sum = 0;
    for (int Index = 0; Index < 4; Index++) {
        Threads[Index] = Spawn(AddMany, NULL);
    }
    for (int Index = 0; Index < 4; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Sum, 80000);
    assert_int_equal(Lock.Word, 0);
}

static volatile LONG Entered;

static void *TakeOnce(void *Argument)
{
    (void)Argument;
    KiAcquireLock(&Lock);
    __atomic_store_n(&Entered, 1, __ATOMIC_SEQ_CST);
    KiReleaseLock(&Lock);
    return NULL;
}

static void Lock_HeldLong_WaiterSleepsAndIsWoken(void **State)
{
    pthread_t Thread;

    (void)State;
    Entered = 0;
    KiAcquireLock(&Lock);
    Thread = Spawn(TakeOnce, NULL);
    while (__atomic_load_n(&Lock.Word, __ATOMIC_SEQ_CST) != 2) {
        HalYield(); /* until the waiter has given up spinning */
    }
    assert_int_equal(Entered, 0);
    KiReleaseLock(&Lock);
    Join(Thread);
    assert_int_equal(Entered, 1);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Lock_Free_TakenAndGivenBack),
        cmocka_unit_test(Lock_FourThreads_OneInsideAndNoneLost),
        cmocka_unit_test(Lock_HeldLong_WaiterSleepsAndIsWoken),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
