/*
 * MmIsDriverVerifying.c - what the pages of MmIsDriverVerifying, MmIsDriverVerifyingByAddress and MmIsDriverSuspectForVerifier say of a driver in
 * the program. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>
#include "vf/vf.h"

static NTSTATUS Entry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(DriverObject);
    UNREFERENCED_PARAMETER(RegistryPath);
    return STATUS_SUCCESS;
}

/* "returns TRUE if the specified driver either is in the driver verification list or imports calls to entry points in a driver that is"; "If a driver
 * C is not in the driver verification list ... both return FALSE". */
static void Expect(uint32_t Verifier, const char *Names, LOGICAL Verified)
{
    DRIVER_OBJECT Driver;
    ntmm_options Options;
    memset(&Driver, 0, sizeof(Driver));
    Driver.DriverInit = Entry;
    ntmm_default_options(&Options);
    Options.ram = 32 << 20;
    Options.verifier = Verifier;
    strcpy(Options.verifier_drivers, Names);
    assert_int_equal(ntmm_start(&Options), 0);
    assert_int_equal(MmIsDriverSuspectForVerifier(&Driver), Verified);
    assert_int_equal(MmIsDriverVerifying(&Driver), Verified);
    assert_int_equal(MmIsDriverVerifyingByAddress((PVOID)(ULONG_PTR)Entry), Verified);
    assert_int_equal(ntmm_stop(), 0);
}

static void Source_AsChosen(void **State)
{
    (void)State;
    Expect(0, "", FALSE);
    Expect(VF_POOL_TRACKING, "", TRUE);
    Expect(VF_POOL_TRACKING, "program", TRUE);
    Expect(VF_POOL_TRACKING, "other.sys", FALSE);
    Expect(0, "program", FALSE);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Source_AsChosen)};
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
