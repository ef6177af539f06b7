/*
 * fault_test.c - the classification of faults: src/mm/fault.c, asked directly. SPDX-License-Identifier: MIT
 *
 * Each line of the table in fault.c's opening. The tests under misuse/ make the same faults with real
 * accesses.
 */
#include "mm_kit.h"

#define READ  0u
#define WRITE 2u
#define EXEC  16u
static const ULONG_PTR Rip = 0x1234;

static BOOLEAN NotDriver(ULONG_PTR Address)
{
    (void)Address;
    return FALSE;
}

static KI_FAULT_ANSWER Ask(volatile void *Address, ULONG ErrorCode, KIRQL Irql)
{
    KI_FAULT_ANSWER Answer;
    memset(&Answer, 0xCC, sizeof(Answer));
    MmAccessFault((ULONG_PTR)Address, ErrorCode, Irql, Rip, &Answer);
    return Answer;
}
#define Expect(Answer, Code, P1, P2, P3, P4)                                                                                   \
    do {                                                                                                                       \
        KI_FAULT_ANSWER A_ = (Answer);                                                                                         \
        assert_int_equal(A_.StopCode, (Code));                                                                                 \
        assert_int_equal(A_.Parameters[0], (ULONG_PTR)(P1));                                                                   \
        assert_int_equal(A_.Parameters[1], (ULONG_PTR)(P2));                                                                   \
        assert_int_equal(A_.Parameters[2], (ULONG_PTR)(P3));                                                                   \
        assert_int_equal(A_.Parameters[3], (ULONG_PTR)(P4));                                                                   \
    } while (0)
#define ExpectStatus(Answer, Status_)                                                                                          \
    do {                                                                                                                       \
        KI_FAULT_ANSWER A_ = (Answer);                                                                                         \
        assert_int_equal(A_.StopCode, 0);                                                                                      \
        assert_int_equal(A_.Status, (Status_));                                                                                \
    } while (0)

static void Kernel_DemandZero_ResumesBelowDispatchOnly(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 2, 0, NormalPoolPriority);
    Expect(Ask(Va, READ, DISPATCH_LEVEL), DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 0, Rip);
    Expect(Ask(Va, WRITE, HIGH_LEVEL), DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, HIGH_LEVEL, 1, Rip);
    Expect(Ask(Va, EXEC, DISPATCH_LEVEL), DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 8, Rip);
    BOOLEAN (*Saved)(ULONG_PTR) = KiIsDriverCodeRoutine;
    KiIsDriverCodeRoutine = NotDriver;
    Expect(Ask(Va, WRITE, DISPATCH_LEVEL), IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 1, Rip);
    KiIsDriverCodeRoutine = Saved;
    ExpectStatus(Ask(Va, WRITE, APC_LEVEL), STATUS_SUCCESS);
    ExpectStatus(Ask(Va, WRITE, DISPATCH_LEVEL), STATUS_SUCCESS); /* it is there now: someone was faster */
    assert_true(MmIsAddressValid(Va));
    MmFreePages(Va, 2);
}

static void Kernel_DemandZeroReadOnly_WriteIsBE(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
    MmProtectPages(Va, 1, PAGE_READONLY);
    MMPTE Pte = MiReadPte(MiPteOf((ULONG_PTR)Va));
    Expect(Ask(Va, WRITE, PASSIVE_LEVEL), ATTEMPTED_WRITE_TO_READONLY_MEMORY, Va, Pte.Long, 0, 0);
    Expect(Ask(Va, EXEC, PASSIVE_LEVEL), ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Va, Pte.Long, 0, 0);
    ExpectStatus(Ask(Va, READ, PASSIVE_LEVEL), STATUS_SUCCESS);
    MmProtectPages(Va, 1, PAGE_NOACCESS);
    Expect(Ask(Va, READ, PASSIVE_LEVEL), PAGE_FAULT_IN_NONPAGED_AREA, Va, 0, Rip, 0);
    MmFreePages(Va, 1);
}

static void Kernel_Free_Is50WithItsType(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    MmFreePages(Va, 1);
    Expect(Ask(Va, READ, PASSIVE_LEVEL), PAGE_FAULT_IN_NONPAGED_AREA, Va, 0, Rip, 0);
    Expect(Ask(Va, WRITE, APC_LEVEL), PAGE_FAULT_IN_NONPAGED_AREA, Va, 2, Rip, 0);
    Expect(Ask(Va, EXEC, PASSIVE_LEVEL), PAGE_FAULT_IN_NONPAGED_AREA, Va, 0x10, Rip, 0);
    PUCHAR Wild = (PUCHAR)HalFacts.SystemBase + 5;
    Expect(Ask(Wild, READ, PASSIVE_LEVEL), PAGE_FAULT_IN_NONPAGED_AREA, Wild, 0, Rip, 2);
}

static void Kernel_Present_RightsDecide(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    PMMPTE Pte = MiPteOf((ULONG_PTR)Va);
    ExpectStatus(Ask(Va, WRITE, HIGH_LEVEL), STATUS_SUCCESS);
    Expect(Ask(Va, EXEC | 1, DISPATCH_LEVEL), ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Va, MiReadPte(Pte).Long, 0, 0);
    MmProtectPages(Va, 1, PAGE_EXECUTE_READ);
    ExpectStatus(Ask(Va, EXEC, PASSIVE_LEVEL), STATUS_SUCCESS);
    Expect(Ask(Va, WRITE | 1, DISPATCH_LEVEL), ATTEMPTED_WRITE_TO_READONLY_MEMORY, Va, MiReadPte(Pte).Long, 0, 0);
    MmFreePages(Va, 1);
}

static void User_Faults_RaiseBelowDispatch(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(3, PAGE_READONLY);
    ULONG64 Violations = MiState->AccessViolations;
    ExpectStatus(Ask(Va, WRITE, PASSIVE_LEVEL), STATUS_ACCESS_VIOLATION);
    ExpectStatus(Ask(Va + 3 * PAGE_SIZE, READ, PASSIVE_LEVEL), STATUS_ACCESS_VIOLATION);
    ExpectStatus(Ask((PVOID)(HalFacts.UserEnd - 5), READ, PASSIVE_LEVEL), STATUS_ACCESS_VIOLATION);
    assert_int_equal(MiState->AccessViolations, Violations + 3);
    Expect(Ask(Va, READ, DISPATCH_LEVEL), DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 0, Rip);
    ExpectStatus(Ask(Va, READ, APC_LEVEL), STATUS_SUCCESS);
    ExpectStatus(Ask(Va, READ, DISPATCH_LEVEL), STATUS_SUCCESS);
    Expect(Ask(Va, EXEC, PASSIVE_LEVEL), ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Va, MiReadPte(MiPteOf((ULONG_PTR)Va)).Long, 0,
           0);
    MmFreeUserPages(Va, 3);
}

static void User_GuardPage_RaisesOnceThenIsOrdinary(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(1, PAGE_READWRITE | PAGE_GUARD);
    ExpectStatus(Ask(Va, WRITE, PASSIVE_LEVEL), STATUS_GUARD_PAGE_VIOLATION);
    ExpectStatus(Ask(Va, WRITE, PASSIVE_LEVEL), STATUS_SUCCESS);
    Va[1] = 3;
    MmProtectPages(Va, 1, PAGE_READWRITE | PAGE_GUARD); /* over a page that has its frame */
    KitAssertValid();
    ExpectStatus(Ask(Va, READ, PASSIVE_LEVEL), STATUS_GUARD_PAGE_VIOLATION);
    assert_int_equal(Va[1], 3);
    MmFreeUserPages(Va, 1);
}

static void Host_Addresses_AreAsUserAddresses(void **State)
{
    int Local;
    (void)State;
    ExpectStatus(Ask(NULL, READ, PASSIVE_LEVEL), STATUS_ACCESS_VIOLATION);
    Expect(Ask((PVOID)8, WRITE, DISPATCH_LEVEL), DRIVER_IRQL_NOT_LESS_OR_EQUAL, 8, DISPATCH_LEVEL, 1, Rip);
    Expect(Ask(&Local, WRITE | 1, PASSIVE_LEVEL), ATTEMPTED_WRITE_TO_READONLY_MEMORY, &Local, 0, 0, 0);
    Expect(Ask(&Local, EXEC | 1, DISPATCH_LEVEL), ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, &Local, 0, 0, 0);
}

static void Counters_EveryFault_IsCounted(void **State)
{
    (void)State;
    ULONG64 All = MiState->AllFaults;
    Ask(NULL, READ, PASSIVE_LEVEL);
    Ask((PVOID)HalFacts.SystemBase, READ, PASSIVE_LEVEL);
    assert_int_equal(MiState->AllFaults, All + 2);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test(Name)
    const struct CMUnitTest Tests[] = {
        TEST(Kernel_DemandZero_ResumesBelowDispatchOnly),
        TEST(Kernel_DemandZeroReadOnly_WriteIsBE),
        TEST(Kernel_Free_Is50WithItsType),
        TEST(Kernel_Present_RightsDecide),
        TEST(User_Faults_RaiseBelowDispatch),
        TEST(User_GuardPage_RaisesOnceThenIsOrdinary),
        TEST(Host_Addresses_AreAsUserAddresses),
        TEST(Counters_EveryFault_IsCounted),
    };
    return cmocka_run_group_tests_name("fault", Tests, KitStart, KitStop);
}
