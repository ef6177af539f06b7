/*
 * ExRaiseStatus.c - raising exceptions and probing user memory, one test per documented sentence. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "mm/mm.h"

static NTSTATUS Code;
static LONG Remember(PEXCEPTION_POINTERS pointers)
{
    Code = pointers->ExceptionRecord->ExceptionCode;
    return EXCEPTION_EXECUTE_HANDLER;
}
#define RAISED(call)                                                                                                           \
    ({                                                                                                                         \
        Code = 0;                                                                                                              \
        __try {                                                                                                                \
            call;                                                                                                              \
        } __except (Remember(GetExceptionInformation())) {                                                                     \
        }                                                                                                                      \
        Code;                                                                                                                  \
    })

/* Page ExRaiseStatus: "raises an exception for a given status". */
static void ExRaiseStatus_Status_IsTheCode(void **state)
{
    (void)state;
    assert_int_equal(RAISED(ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES)), STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(RAISED(ExRaiseStatus(STATUS_TIMEOUT)), STATUS_TIMEOUT);
    assert_int_equal(RAISED(RtlRaiseStatus(STATUS_NO_MEMORY)), STATUS_NO_MEMORY);
}

/* Page ExRaiseAccessViolation: "raises an exception with the exception code STATUS_ACCESS_VIOLATION". */
static void ExRaiseAccessViolation_Code(void **state)
{
    (void)state;
    assert_int_equal(RAISED(ExRaiseAccessViolation()), STATUS_ACCESS_VIOLATION);
}

/* Page ExRaiseDatatypeMisalignment. */
static void ExRaiseDatatypeMisalignment_Code(void **state)
{
    (void)state;
    assert_int_equal(RAISED(ExRaiseDatatypeMisalignment()), STATUS_DATATYPE_MISALIGNMENT);
}

/* "IRQL <= APC_LEVEL". */
static void ExRaiseStatus_AtApcLevel_Works(void **state)
{
    KIRQL old;
    (void)state;
    KeRaiseIrql(APC_LEVEL, &old);
    assert_int_equal(RAISED(ExRaiseStatus(STATUS_NO_MEMORY)), STATUS_NO_MEMORY);
    assert_int_equal(KeGetCurrentIrql(), APC_LEVEL); /* a handler does not change the IRQL */
    KeLowerIrql(old);
}

/* Page FsRtlIsNtstatusExpected: FALSE for the four statuses it names. */
static void FsRtlIsNtstatusExpected_Four_AreNot(void **state)
{
    (void)state;
    assert_false(FsRtlIsNtstatusExpected(STATUS_ACCESS_VIOLATION));
    assert_false(FsRtlIsNtstatusExpected(STATUS_DATATYPE_MISALIGNMENT));
    assert_false(FsRtlIsNtstatusExpected(STATUS_ILLEGAL_INSTRUCTION));
    assert_false(FsRtlIsNtstatusExpected(STATUS_INSTRUCTION_MISALIGNMENT));
    assert_true(FsRtlIsNtstatusExpected(STATUS_INSUFFICIENT_RESOURCES));
}

/* Page ProbeForRead: "If Length = 0, ProbeForRead does no checking of the address." */
static void ProbeForRead_LengthZero_ChecksNothing(void **state)
{
    (void)state;
    assert_int_equal(RAISED(ProbeForRead((PVOID)-1, 0, 8)), 0);
    assert_int_equal(RAISED(ProbeForWrite((PVOID)-1, 0, 8)), 0);
}

/* "if it is not aligned ... STATUS_DATATYPE_MISALIGNMENT" */
static void Probe_Misaligned_RaisesMisalignment(void **state)
{
    char *user = MmAllocateUserPages(1, PAGE_READWRITE);
    (void)state;
    assert_non_null(user);
    for (ULONG alignment = 2; alignment <= 16; alignment *= 2) {
        assert_int_equal(RAISED(ProbeForRead(user + alignment / 2, 4, alignment)), STATUS_DATATYPE_MISALIGNMENT);
        assert_int_equal(RAISED(ProbeForWrite(user + alignment / 2, 4, alignment)), STATUS_DATATYPE_MISALIGNMENT);
        assert_int_equal(RAISED(ProbeForRead(user + alignment, 4, alignment)), 0);
    }
    assert_int_equal(RAISED(ProbeForRead(user + 1, 4, 1)), 0);
    MmFreeUserPages(user, 1);
}

/* "The range is not in the user portion of the address space: STATUS_ACCESS_VIOLATION". */
static void Probe_KernelRange_RaisesAccessViolation(void **state)
{
    PVOID pool = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
    int local = 0;
    (void)state;
    assert_int_equal(RAISED(ProbeForRead(pool, 4, 1)), STATUS_ACCESS_VIOLATION);
    assert_int_equal(RAISED(ProbeForWrite(pool, 4, 1)), STATUS_ACCESS_VIOLATION);
    assert_int_equal(RAISED(ProbeForRead(&local, 4, 1)), STATUS_ACCESS_VIOLATION);
    assert_int_equal(RAISED(ProbeForRead((char *)MmUserProbeAddress - 4, 8, 1)), STATUS_ACCESS_VIOLATION); /* ends outside */
    assert_int_equal(RAISED(ProbeForRead((char *)MmUserProbeAddress - 8, 8, 1)), 0);
    assert_int_equal(RAISED(ProbeForRead((PVOID)16, (SIZE_T)-8, 1)), STATUS_ACCESS_VIOLATION); /* wraps */
    ExFreePool(pool);
}

/* ProbeForRead does not touch; ProbeForWrite raises where a page cannot be written. */
static void Probe_NoMemoryThere_OnlyWriteFinds(void **state)
{
    char *user = MmAllocateUserPages(2, PAGE_READWRITE);
    (void)state;
    assert_int_equal(RAISED(ProbeForRead((PVOID)0x1000, 4, 1)), 0);
    assert_int_equal(RAISED(ProbeForWrite((PVOID)0x1000, 4, 1)), STATUS_ACCESS_VIOLATION);
    user[0] = 5;
    user[PAGE_SIZE] = 6;
    assert_int_equal(RAISED(ProbeForWrite(user, 2 * PAGE_SIZE, 1)), 0);
    assert_int_equal(user[0], 5);
    assert_int_equal(user[PAGE_SIZE], 6);
    assert_int_equal(RAISED(ProbeForWrite(user + PAGE_SIZE, PAGE_SIZE + 1, 1)), STATUS_ACCESS_VIOLATION);
    MmFreeUserPages(user, 2);
}

static void Probe_ReadOnlyPage_WriteRaises(void **state)
{
    char *user = MmAllocateUserPages(1, PAGE_READONLY);
    (void)state;
    assert_non_null(user);
    assert_int_equal(RAISED(ProbeForRead(user, 4, 1)), 0);
    assert_int_equal(RAISED(ProbeForWrite(user, 4, 1)), STATUS_ACCESS_VIOLATION);
    MmFreeUserPages(user, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ExRaiseStatus_Status_IsTheCode),      cmocka_unit_test(ExRaiseAccessViolation_Code),
        cmocka_unit_test(ExRaiseDatatypeMisalignment_Code),    cmocka_unit_test(ExRaiseStatus_AtApcLevel_Works),
        cmocka_unit_test(FsRtlIsNtstatusExpected_Four_AreNot), cmocka_unit_test(ProbeForRead_LengthZero_ChecksNothing),
        cmocka_unit_test(Probe_Misaligned_RaisesMisalignment), cmocka_unit_test(Probe_KernelRange_RaisesAccessViolation),
        cmocka_unit_test(Probe_NoMemoryThere_OnlyWriteFinds),  cmocka_unit_test(Probe_ReadOnlyPage_WriteRaises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
