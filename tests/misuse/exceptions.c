/*
 * exceptions.c - exceptions that nothing handles, and failures that cannot be handled: the five numbers of each.
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
#include <sys/wait.h>
#include <unistd.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ke/ki.h"

static ntmm_bugcheck Stop;

static volatile int *volatile Twenty = (volatile int *)0x20;
static void WriteNull(void *unused)
{
    (void)unused;
    *Twenty = 1;
}
static void RaiseQuota(void *unused)
{
    (void)unused;
    ExRaiseStatus(STATUS_QUOTA_EXCEEDED);
}
static void Break(void *unused)
{
    (void)unused;
    __debugbreak();
}
static void Assertion(void *unused)
{
    (void)unused;
    __asm__ volatile("int $0x2c");
}
static void FastFail(void *code)
{
    __fastfail((ULONG)(ULONG_PTR)code);
}

static void Unhandled_WriteToNull_1E(void **state)
{
    (void)state;
    assert_true(ntmm_catch(WriteNull, NULL, &Stop));
    assert_int_equal(Stop.code, 0x1E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_ACCESS_VIOLATION);
    assert_int_equal(Stop.parameters[1], Stop.frames[0]);
    assert_in_range(Stop.parameters[1], (ULONG_PTR)WriteNull, (ULONG_PTR)WriteNull + 256);
    assert_int_equal(Stop.parameters[2], 1);    /* a write */
    assert_int_equal(Stop.parameters[3], 0x20); /* there */
}

static void Unhandled_RaisedStatus_1E(void **state)
{
    (void)state;
    assert_true(ntmm_catch(RaiseQuota, NULL, &Stop));
    assert_int_equal(Stop.code, 0x1E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_QUOTA_EXCEEDED);
    assert_in_range(Stop.parameters[1], (ULONG_PTR)RaiseQuota, (ULONG_PTR)RaiseQuota + 256);
    assert_int_equal(Stop.parameters[2], 0);
    assert_int_equal(Stop.parameters[3], 0);
}

static void Unhandled_Breakpoint_1E(void **state)
{
    (void)state;
    assert_true(ntmm_catch(Break, NULL, &Stop));
    assert_int_equal(Stop.code, 0x1E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_BREAKPOINT);
    assert_int_equal(Stop.parameters[1], Stop.frames[0]);
    assert_int_equal(Stop.parameters[2], 0);
    assert_int_equal(Stop.parameters[3], 0);
    assert_true(ntmm_catch(Assertion, NULL, &Stop));
    assert_int_equal(Stop.code, 0x1E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_ASSERTION_FAILURE);
}

static void Unhandled_InsideDecliningTry_1E(void **state)
{
    (void)state;
    __try {
        assert_true(ntmm_catch(WriteNull, NULL, &Stop));
    } __except (EXCEPTION_CONTINUE_SEARCH) {
        fail();
    }
    assert_int_equal(Stop.code, 0x1E);
}

static BOOLEAN WasCaught;
static KEVENT Done;
static void SystemThread(PVOID function)
{
    WasCaught = ntmm_catch((void (*)(void *))(ULONG_PTR)function, NULL, &Stop);
    KeSetEvent(&Done, 0, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static void Unhandled_InSystemThread_7E(void **state)
{
    HANDLE thread;
    (void)state;
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    assert_int_equal(
        PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, SystemThread, (PVOID)(ULONG_PTR)WriteNull), 0);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    ZwClose(thread);
    assert_true(WasCaught);
    assert_int_equal(Stop.code, 0x7E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_ACCESS_VIOLATION);
    assert_int_equal(Stop.parameters[1], Stop.frames[0]);
    assert_int_not_equal(Stop.parameters[2], 0); /* exception record and context, where they were */
    assert_int_not_equal(Stop.parameters[3], 0);
}

static void Unhandled_InRequestOfUserMode_3B(void **state)
{
    (void)state;
    KiCurrentThread()->PreviousMode = UserMode;
    BOOLEAN caught = ntmm_catch(WriteNull, NULL, &Stop);
    KiCurrentThread()->PreviousMode = KernelMode;
    assert_true(caught);
    assert_int_equal(Stop.code, 0x3B);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_ACCESS_VIOLATION);
    assert_int_equal(Stop.parameters[1], Stop.frames[0]);
    assert_int_not_equal(Stop.parameters[2], 0);
    assert_int_equal(Stop.parameters[3], 0);
}

static void FastFail_Code_139(void **state)
{
    (void)state;
    for (ULONG_PTR code = 0; code < 40; code++) {
        /* Nothing may handle it. */
        BOOLEAN caught = FALSE;
        __try {
            caught = ntmm_catch(FastFail, (void *)code, &Stop);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            fail();
        }
        assert_true(caught);
        assert_int_equal(Stop.code, 0x139);
        assert_int_equal(Stop.parameters[0], code);
        assert_int_not_equal(Stop.parameters[1], 0); /* trap frame, exception record */
        assert_int_not_equal(Stop.parameters[2], 0);
        assert_int_equal(Stop.parameters[3], 0);
    }
}

static void RemoveTwice(void *unused)
{
    LIST_ENTRY head, entry;
    (void)unused;
    InitializeListHead(&head);
    InsertHeadList(&head, &entry);
    head.Flink = &head;
    RemoveEntryList(&entry);
}

static void List_Corrupt_139_3(void **state)
{
    (void)state;
    assert_true(ntmm_catch(RemoveTwice, NULL, &Stop));
    assert_int_equal(Stop.code, 0x139);
    assert_int_equal(Stop.parameters[0], 3);
}

static volatile int Depth;
static __attribute__((noinline)) int Deep(int n)
{
    volatile char local[512];
    local[0] = (char)n;
    Depth = n;
    return Depth >= 0 ? Deep(n + 1) + local[0] : 0;
}
static void Overflow(void *unused)
{
    (void)unused;
    Deep(0);
}

static void StackOverflow_7F_8(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        BOOLEAN caught = FALSE;
        __try {
            caught = ntmm_catch(Overflow, NULL, &Stop);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            fail();
        }
        assert_true(caught);
        assert_int_equal(Stop.code, 0x7F);
        assert_int_equal(Stop.parameters[0], 8);
    }
    assert_true(ntmm_catch(WriteNull, NULL, &Stop)); /* and the next fault is an ordinary one */
    assert_int_equal(Stop.code, 0x1E);
}

static void FilterAlwaysContinues(void *unused)
{
    (void)unused;
    __try {
        ExRaiseStatus(STATUS_NO_MEMORY);
    } __except (EXCEPTION_CONTINUE_EXECUTION) {
    }
}

/* A filter that continues what cannot be continued, and then the exception that says so. */
static void Filter_ContinuesForEver_1E(void **state)
{
    (void)state;
    assert_true(ntmm_catch(FilterAlwaysContinues, NULL, &Stop));
    assert_int_equal(Stop.code, 0x1E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_NONCONTINUABLE_EXCEPTION);
}

static volatile int *volatile Bad = (volatile int *)0x30;
static void FilterAlwaysFaults(void *unused)
{
    (void)unused;
    __try {
        *Bad = 1;
    } __except (*Bad) {
    }
}

static void Filter_FaultsForEver_1E(void **state)
{
    (void)state;
    assert_true(ntmm_catch(FilterAlwaysFaults, NULL, &Stop));
    assert_int_equal(Stop.code, 0x1E);
    assert_int_equal(Stop.parameters[0], (ULONG)STATUS_ACCESS_VIOLATION);
    assert_int_equal(Stop.parameters[3], 0x30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Unhandled_WriteToNull_1E),    cmocka_unit_test(Unhandled_RaisedStatus_1E),
        cmocka_unit_test(Unhandled_Breakpoint_1E),     cmocka_unit_test(Unhandled_InsideDecliningTry_1E),
        cmocka_unit_test(Unhandled_InSystemThread_7E), cmocka_unit_test(Unhandled_InRequestOfUserMode_3B),
        cmocka_unit_test(FastFail_Code_139),           cmocka_unit_test(List_Corrupt_139_3),
        cmocka_unit_test(StackOverflow_7F_8),          cmocka_unit_test(Filter_ContinuesForEver_1E),
        cmocka_unit_test(Filter_FaultsForEver_1E),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
