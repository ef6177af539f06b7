/*
 * list_corrupt.c - lists whose links disagree: bug check 0x139, parameter 1 is 3
 * (FAST_FAIL_CORRUPT_LIST_ENTRY), parameter 3 the exception record. Page: "Bug Check 0x139:
 * KERNEL_SECURITY_CHECK_FAILURE". SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

static LIST_ENTRY Head, First, Second;

static void Build(void)
{
    InitializeListHead(&Head);
    InsertTailList(&Head, &First);
    InsertTailList(&Head, &Second);
}

static void RemoveTwice(void *Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    RemoveEntryList(&First);
    RemoveEntryList(&First);
}
static void HeadAfterStray(void *Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    First.Blink = &Second;
    RemoveHeadList(&Head);
}
static void TailAfterStray(void *Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    Second.Flink = &First;
    RemoveTailList(&Head);
}
static void InsertBehindStray(void *Argument)
{
    LIST_ENTRY New;
    UNREFERENCED_PARAMETER(Argument);
    Second.Flink = &First;
    InsertTailList(&Head, &New);
}
static void InsertBeforeStray(void *Argument)
{
    LIST_ENTRY New;
    UNREFERENCED_PARAMETER(Argument);
    First.Blink = &Second;
    InsertHeadList(&Head, &New);
}
static KSPIN_LOCK Lock;
static void InterlockedRemoveAfterStray(void *Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    First.Blink = &Second;
    Second.Flink = &First; /* First agrees with its neighbours, but not with the head */
    ExInterlockedRemoveHeadList(&Head, &Lock);
}
static void InterlockedInsertBehindStray(void *Argument)
{
    static LIST_ENTRY New;
    UNREFERENCED_PARAMETER(Argument);
    Second.Flink = &First;
    ExInterlockedInsertTailList(&Head, &New, &Lock);
}
static void FastFail(void *Argument)
{
    __fastfail((ULONG)(ULONG_PTR)Argument);
}

static void Expect(void (*Function)(void *), void *Argument, ULONG64 Code)
{
    ntmm_bugcheck Stop;
    Build();
    assert_true(ntmm_catch(Function, Argument, &Stop));
    assert_int_equal(Stop.code, KERNEL_SECURITY_CHECK_FAILURE);
    assert_int_equal(Stop.parameters[0], Code);
    /* Parameters 2 and 3 are addresses on a stack that is gone. */
    assert_int_not_equal(Stop.parameters[1], 0);
    assert_int_not_equal(Stop.parameters[2], 0);
    assert_int_equal(Stop.parameters[3], 0);
}

static void List_Corrupt_0x139_3(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Expect(RemoveTwice, NULL, 3);
    Expect(HeadAfterStray, NULL, 3);
    Expect(TailAfterStray, NULL, 3);
    Expect(InsertBehindStray, NULL, 3);
    Expect(InsertBeforeStray, NULL, 3);
}

/* The lock is free and the IRQL as before when the list is found corrupt. */
static void InterlockedList_Corrupt_0x139_3(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Expect(InterlockedRemoveAfterStray, NULL, 3);
    Expect(InterlockedInsertBehindStray, NULL, 3);
    assert_int_equal(Lock, 0);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

/* Named is the driver's function, not the header's that found it. */
static void List_Corrupt_DriverIsNamed(void **State)
{
    ntmm_bugcheck Stop;
    UNREFERENCED_PARAMETER(State);
    Build();
    assert_true(ntmm_catch(HeadAfterStray, NULL, &Stop));
    assert_non_null(strstr(Stop.where, "(list_corrupt.c:"));
}

static void FastFail_AnyCode_IsParameter1(void **State)
{
    UNREFERENCED_PARAMETER(State);
    Expect(FastFail, (void *)(ULONG_PTR)FAST_FAIL_INVALID_ARG, 5);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(List_Corrupt_0x139_3), cmocka_unit_test(InterlockedList_Corrupt_0x139_3),
        cmocka_unit_test(List_Corrupt_DriverIsNamed), cmocka_unit_test(FastFail_AnyCode_IsParameter1)};
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
