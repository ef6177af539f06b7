/*
 * catch_test.c - ntmm_catch: what it hands back and what it puts back. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>
#include "ke/ki.h"

static ntmm_bugcheck Stop, Inner;

static void Nothing(void *argument)
{
    *(int *)argument += 1;
}
static void Check(void *code)
{
    KeBugCheckEx((ULONG)(ULONG_PTR)code, 1, 2, 3, 4);
}

static void Catch_FunctionReturns_False(void **state)
{
    int calls = 0;
    (void)state;
    assert_false(ntmm_catch(Nothing, &calls, &Stop));
    assert_int_equal(calls, 1);
}

static void Catch_WithoutRoom_StillCatches(void **state)
{
    (void)state;
    assert_true(ntmm_catch(Check, (void *)0xE2, NULL));
}

static void CheckTwice(void *unused)
{
    (void)unused;
    assert_true(ntmm_catch(Check, (void *)0x11111111, &Inner));
    Check((void *)0x22222222);
}

static void Catch_Nested_InnermostTakesIt(void **state)
{
    (void)state;
    assert_true(ntmm_catch(CheckTwice, NULL, &Stop));
    assert_int_equal(Inner.code, 0x11111111);
    assert_int_equal(Stop.code, 0x22222222);
}

static void RaiseAndCheck(void *irql)
{
    KIRQL old;
    KeEnterCriticalRegion();
    KeRaiseIrql((KIRQL)(ULONG_PTR)irql, &old);
    Check((void *)0xE2);
}

static void Catch_RaisedIrqlAndRegions_PutBack(void **state)
{
    (void)state;
    for (ULONG_PTR irql = APC_LEVEL; irql <= HIGH_LEVEL; irql++) {
        assert_true(ntmm_catch(RaiseAndCheck, (void *)irql, &Stop));
        assert_int_equal(Stop.irql, irql);
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
        assert_int_equal(KiCurrentThread()->CriticalRegion, 0);
    }
}

static void LowerAndCheck(void *unused)
{
    (void)unused;
    KeLowerIrql(PASSIVE_LEVEL);
    Check((void *)0xE2);
}

static void Catch_LoweredIrql_PutBack(void **state)
{
    KIRQL old;
    (void)state;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    assert_true(ntmm_catch(LowerAndCheck, NULL, &Stop));
    assert_int_equal(Stop.irql, PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), DISPATCH_LEVEL);
    KeLowerIrql(old);
}

static void TryAndCheck(void *unused)
{
    (void)unused;
    __try {
        Check((void *)0xE2);
    } __finally {
        Inner.code = 0xBAD; /* a stop is not an exception */
    }
}

static void Catch_TryBlocksInside_AreForgottenAndDoNotRun(void **state)
{
    NTSTATUS status = 0;
    (void)state;
    Inner.code = 0;
    assert_true(ntmm_catch(TryAndCheck, NULL, &Stop));
    assert_int_equal(Inner.code, 0);
    assert_null(KiCurrentThread()->SehChain);
    __try {
        ExRaiseStatus(STATUS_NO_MEMORY);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    assert_int_equal(status, STATUS_NO_MEMORY);
}

static void Catch_ManyTimes_StackAndSystemStay(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        assert_true(ntmm_catch(Check, (void *)(ULONG_PTR)i, NULL));
        assert_null(KiCurrentThread()->Catch);
    }
    PVOID block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
    assert_non_null(block);
    ExFreePool(block);
}

static void *Thread(void *result)
{
    ntmm_bugcheck mine;
    for (int i = 0; i < 300; i++)
        if (!ntmm_catch(Check, (void *)(ULONG_PTR)i, i % 100 ? NULL : &mine))
            return NULL;
    return result;
}

static void Catch_OnSeveralThreads_Independent(void **state)
{
    pthread_t threads[4];
    void *result;
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, Thread, (void *)(uintptr_t)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, (void *)(uintptr_t)(i + 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Catch_FunctionReturns_False),        cmocka_unit_test(Catch_WithoutRoom_StillCatches),
        cmocka_unit_test(Catch_Nested_InnermostTakesIt),      cmocka_unit_test(Catch_RaisedIrqlAndRegions_PutBack),
        cmocka_unit_test(Catch_LoweredIrql_PutBack),          cmocka_unit_test(Catch_TryBlocksInside_AreForgottenAndDoNotRun),
        cmocka_unit_test(Catch_ManyTimes_StackAndSystemStay), cmocka_unit_test(Catch_OnSeveralThreads_Independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
