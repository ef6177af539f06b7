/*
 * ke_irql_test.c - IRQL and the ownership of processors (irql.c, processor.c). SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ke/ki.h"

static ULONG OwnedProcessors(void)
{
    ULONG Count = 0;

    for (ULONG Number = 0; Number < KiProcessorCount; Number++) {
        Count += __atomic_load_n(&KiProcessors[Number].Owner, __ATOMIC_SEQ_CST) != 0;
    }
    return Count;
}

static void Raise_ToDispatch_TakesOneProcessorUntilLowered(void **State)
{
    KIRQL Old;

    (void)State;
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    KeRaiseIrql(APC_LEVEL, &Old);
    assert_int_equal(Old, PASSIVE_LEVEL);
    assert_int_equal(OwnedProcessors(), 0);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_int_equal(Old, APC_LEVEL);
    assert_int_equal(OwnedProcessors(), 1);
    assert_int_equal(KiProcessors[KeGetCurrentProcessorNumber()].Owner, KiCurrentThread()->Id);
    assert_ptr_equal(KiProcessors[KeGetCurrentProcessorNumber()].CurrentThread, KeGetCurrentThread());
    KeRaiseIrql(HIGH_LEVEL, &Old);
    assert_int_equal(Old, DISPATCH_LEVEL);
    KeLowerIrql(DISPATCH_LEVEL);
    assert_int_equal(OwnedProcessors(), 1);
    KeLowerIrql(PASSIVE_LEVEL);
    assert_int_equal(OwnedProcessors(), 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

#define RAISERS 6
static volatile LONG AtDispatch, MostAtDispatch, Clashes;
static volatile LONG PerProcessor[KI_MAX_PROCESSORS];

static void *RaiseMany(void *Argument)
{
    (void)Argument;
    for (int Round = 0; Round < 3000; Round++) {
        KIRQL Old = KeRaiseIrqlToDpcLevel();
        ULONG Number = KeGetCurrentProcessorNumber();
        LONG Count = __atomic_add_fetch(&AtDispatch, 1, __ATOMIC_SEQ_CST);

        if (Count > __atomic_load_n(&MostAtDispatch, __ATOMIC_RELAXED)) {
            __atomic_store_n(&MostAtDispatch, Count, __ATOMIC_RELAXED);
        }
        if (__atomic_add_fetch(&PerProcessor[Number], 1, __ATOMIC_SEQ_CST) != 1) {
            __atomic_add_fetch(&Clashes, 1, __ATOMIC_SEQ_CST);
        }
        if (Number != KeGetCurrentProcessorNumber()) {
            __atomic_add_fetch(&Clashes, 1, __ATOMIC_SEQ_CST);
        }
        __atomic_sub_fetch(&PerProcessor[Number], 1, __ATOMIC_SEQ_CST);
        __atomic_sub_fetch(&AtDispatch, 1, __ATOMIC_SEQ_CST);
        KeLowerIrql(Old);
    }
    return NULL;
}

static void Raise_MoreThreadsThanProcessors_NeverMoreAtDispatch(void **State)
{
    pthread_t Threads[RAISERS];

    (void)State;
    AtDispatch = MostAtDispatch = Clashes = 0;
    for (int Index = 0; Index < RAISERS; Index++) {
        Threads[Index] = Spawn(RaiseMany, NULL);
    }
    for (int Index = 0; Index < RAISERS; Index++) {
        Join(Threads[Index]);
    }
    assert_int_equal(Clashes, 0);
    assert_in_range(MostAtDispatch, 1, 2);
    assert_int_equal(OwnedProcessors(), 0);
}

static void Affinity_OneProcessor_IsTheOneTaken(void **State)
{
    (void)State;
    for (ULONG Number = 0; Number < 2; Number++) {
        KIRQL Old;

        KeSetSystemAffinityThread((KAFFINITY)1 << Number);
        assert_int_equal(KeGetCurrentProcessorNumberEx(NULL), Number);
        Old = KeRaiseIrqlToDpcLevel();
        assert_int_equal(KeGetCurrentProcessorNumber(), Number);
        KeLowerIrql(Old);
    }
    KeRevertToUserAffinityThread();
    assert_int_equal(KeSetSystemAffinityThreadEx(1), 0);
    assert_int_equal(KeSetSystemAffinityThreadEx(2), 1);
    KeRevertToUserAffinityThreadEx(0);
}

static void Processors_Asked_CountsAndNumbersAgree(void **State)
{
    KAFFINITY Active = 0;
    PROCESSOR_NUMBER Number;

    (void)State;
    assert_int_equal(KeQueryActiveProcessorCount(&Active), 2);
    assert_int_equal(Active, 3);
    assert_int_equal(KeQueryActiveProcessors(), 3);
    assert_int_equal(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), 2);
    assert_int_equal(KeQueryActiveProcessorCountEx(0), 2);
    assert_int_equal(KeQueryActiveProcessorCountEx(1), 0);
    assert_int_equal(KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS), 2);
    assert_int_equal(KeGetProcessorNumberFromIndex(1, &Number), STATUS_SUCCESS);
    assert_int_equal(Number.Number, 1);
    assert_int_equal(KeGetProcessorIndexFromNumber(&Number), 1);
    assert_int_equal(KeGetProcessorNumberFromIndex(2, &Number), STATUS_INVALID_PARAMETER);
    Number.Number = 2;
    assert_int_equal(KeGetProcessorIndexFromNumber(&Number), INVALID_PROCESSOR_INDEX);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Raise_ToDispatch_TakesOneProcessorUntilLowered),
        cmocka_unit_test(Raise_MoreThreadsThanProcessors_NeverMoreAtDispatch),
        cmocka_unit_test(Affinity_OneProcessor_IsTheOneTaken),
        cmocka_unit_test(Processors_Asked_CountsAndNumbersAgree),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
