/*
 * KeBugCheckEx.c - KeBugCheckEx, KeBugCheck and the bug check callbacks, one test per documented sentence.
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>

static void StopEx(void *code)
{
    KeBugCheckEx((ULONG)(ULONG_PTR)code, 1, 0x8000000000000002, (ULONG_PTR)-3, 4);
}
static void StopPlain(void *code)
{
    KeBugCheck((ULONG)(ULONG_PTR)code);
}

/* Page KeBugCheckEx: "BugCheckCode: specifies a value that indicates the reason for the bug check"; parameters "1" to "4". */
static void BugCheckEx_AnyCode_CodeAndParametersAsGiven(void **state)
{
    static const ULONG codes[] = {0, 0xE2, 0xC2, 0x12345678, 0xFFFFFFFF};
    ntmm_bugcheck stop;
    (void)state;
    for (size_t i = 0; i < ARRAYSIZE(codes); i++) {
        assert_true(ntmm_catch(StopEx, (void *)(ULONG_PTR)codes[i], &stop));
        assert_int_equal(stop.code, codes[i]);
        assert_int_equal(stop.parameters[0], 1);
        assert_int_equal(stop.parameters[1], 0x8000000000000002);
        assert_int_equal(stop.parameters[2], (ULONG_PTR)-3);
        assert_int_equal(stop.parameters[3], 4);
    }
}

/* Page KeBugCheck: it takes a code only; the parameters are zero. */
static void BugCheck_Code_ParametersAreZero(void **state)
{
    ntmm_bugcheck stop;
    (void)state;
    assert_true(ntmm_catch(StopPlain, (void *)0xE2, &stop));
    assert_int_equal(stop.code, 0xE2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(stop.parameters[i], 0);
}

/* Page KeBugCheckEx: "IRQL: Any level". */
static void BugCheckEx_AnyIrql_Stops(void **state)
{
    ntmm_bugcheck stop;
    KIRQL old;
    (void)state;
    for (KIRQL irql = PASSIVE_LEVEL; irql <= HIGH_LEVEL; irql++) {
        KeRaiseIrql(irql, &old);
        assert_true(ntmm_catch(StopEx, (void *)0xE2, &stop));
        assert_int_equal(stop.irql, irql);
        assert_int_equal(KeGetCurrentIrql(), irql); /* the catcher's level is what it was */
        KeLowerIrql(old);
    }
}

static unsigned Calls;
static PVOID LastBuffer;
static ULONG LastLength;
static KIRQL LastIrql;
static UCHAR LastState;
static KBUGCHECK_CALLBACK_RECORD Record, Second;
static void Callback(PVOID buffer, ULONG length)
{
    Calls++;
    LastBuffer = buffer;
    LastLength = length;
    LastIrql = KeGetCurrentIrql();
    LastState = Record.State;
}

/* Page KeRegisterBugCheckCallback: "returns TRUE if the specified callback routine is successfully added". */
static void Callback_Registered_CalledWithItsBufferAtHighLevel(void **state)
{
    static char buffer[24];
    ntmm_bugcheck stop;
    (void)state;
    Calls = 0;
    KeInitializeCallbackRecord(&Record);
    assert_int_equal(Record.State, BufferEmpty);
    assert_true(KeRegisterBugCheckCallback(&Record, Callback, buffer, sizeof buffer, (PUCHAR) "test"));
    assert_int_equal(Record.State, BufferInserted);
    for (unsigned i = 1; i <= 2; i++) { /* after a caught stop the next one calls it again */
        assert_true(ntmm_catch(StopEx, (void *)0xE2, &stop));
        assert_int_equal(Calls, i);
    }
    assert_ptr_equal(LastBuffer, buffer);
    assert_int_equal(LastLength, sizeof buffer);
    assert_int_equal(LastIrql, HIGH_LEVEL); /* page KBUGCHECK_CALLBACK_ROUTINE: "executes at IRQL = HIGH_LEVEL" */
    assert_int_equal(LastState, BufferStarted);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    assert_true(KeDeregisterBugCheckCallback(&Record));
}

/* Page KeRegisterBugCheckCallback: FALSE if it is not added: the record is registered already. */
static void Callback_RegisteredTwice_False(void **state)
{
    (void)state;
    KeInitializeCallbackRecord(&Record);
    assert_true(KeRegisterBugCheckCallback(&Record, Callback, NULL, 0, (PUCHAR) "test"));
    assert_false(KeRegisterBugCheckCallback(&Record, Callback, NULL, 0, (PUCHAR) "test"));
    assert_true(KeDeregisterBugCheckCallback(&Record));
}

/* Page KeDeregisterBugCheckCallback: "returns TRUE if the specified callback is successfully deregistered". */
static void Callback_Deregistered_NotCalled(void **state)
{
    ntmm_bugcheck stop;
    (void)state;
    KeInitializeCallbackRecord(&Record);
    KeInitializeCallbackRecord(&Second);
    assert_false(KeDeregisterBugCheckCallback(&Record));
    assert_true(KeRegisterBugCheckCallback(&Record, Callback, NULL, 0, (PUCHAR) "one"));
    assert_true(KeRegisterBugCheckCallback(&Second, Callback, NULL, 0, (PUCHAR) "two"));
    assert_true(KeDeregisterBugCheckCallback(&Record));
    Calls = 0;
    assert_true(ntmm_catch(StopEx, (void *)0xE2, &stop));
    assert_int_equal(Calls, 1);
    assert_true(KeDeregisterBugCheckCallback(&Second));
    assert_false(KeDeregisterBugCheckCallback(&Second));
}

/* The checksum protects against a record that was overwritten: it is not called. */
static void Callback_RecordOverwritten_NotCalled(void **state)
{
    ntmm_bugcheck stop;
    (void)state;
    Calls = 0;
    KeInitializeCallbackRecord(&Record);
    assert_true(KeRegisterBugCheckCallback(&Record, Callback, NULL, 0, (PUCHAR) "test"));
    Record.Length = 99;
    assert_true(ntmm_catch(StopEx, (void *)0xE2, &stop));
    assert_int_equal(Calls, 0);
    assert_true(KeDeregisterBugCheckCallback(&Record));
}

static KBUGCHECK_CALLBACK_REASON LastReason;
static void ReasonCallback(KBUGCHECK_CALLBACK_REASON reason, struct _KBUGCHECK_REASON_CALLBACK_RECORD *record, PVOID data,
                           ULONG length)
{
    Calls++;
    LastReason = reason;
    LastBuffer = record;
    assert_non_null(data);
    assert_int_equal(length, sizeof(KBUGCHECK_SECONDARY_DUMP_DATA));
}

/* Page KeRegisterBugCheckReasonCallback. */
static void ReasonCallback_SecondaryDumpData_Called(void **state)
{
    static KBUGCHECK_REASON_CALLBACK_RECORD reason;
    ntmm_bugcheck stop;
    (void)state;
    Calls = 0;
    KeInitializeCallbackRecord(&reason);
    assert_false(KeDeregisterBugCheckReasonCallback(&reason));
    assert_true(KeRegisterBugCheckReasonCallback(&reason, ReasonCallback, KbCallbackSecondaryDumpData, (PUCHAR) "test"));
    assert_false(KeRegisterBugCheckReasonCallback(&reason, ReasonCallback, KbCallbackSecondaryDumpData, (PUCHAR) "test"));
    assert_true(ntmm_catch(StopEx, (void *)0xE2, &stop));
    assert_int_equal(Calls, 1);
    assert_int_equal(LastReason, KbCallbackSecondaryDumpData);
    assert_ptr_equal(LastBuffer, &reason);
    assert_true(KeDeregisterBugCheckReasonCallback(&reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(BugCheckEx_AnyCode_CodeAndParametersAsGiven),
        cmocka_unit_test(BugCheck_Code_ParametersAreZero),
        cmocka_unit_test(BugCheckEx_AnyIrql_Stops),
        cmocka_unit_test(Callback_Registered_CalledWithItsBufferAtHighLevel),
        cmocka_unit_test(Callback_RegisteredTwice_False),
        cmocka_unit_test(Callback_Deregistered_NotCalled),
        cmocka_unit_test(Callback_RecordOverwritten_NotCalled),
        cmocka_unit_test(ReasonCallback_SecondaryDumpData_Called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
