/*
 * MmAdjustWorkingSetSize.c - working-set limits of processes. SPDX-License-Identifier: MIT
 *
 * Pages: SetProcessWorkingSetSize, "Working Set" (what the limits mean); MmAdjustWorkingSetSize is the routine below them.
 */
#include "mm_kit.h"
#include <stdio.h>
#include <unistd.h>
#include "mm/vm.h"

#define PAGES 512u
typedef struct _CLIENT {
    ntmm_process *Process;
    PEPROCESS Object;
    KAPC_STATE Before;
    PUCHAR Va;
} CLIENT;
static CLIENT A, B;

static void Enter(CLIENT *Client)
{
    KeStackAttachProcess(Client->Object, &Client->Before);
}
static void Leave(CLIENT *Client)
{
    KeUnstackDetachProcess(&Client->Before);
}
static ULONG64 Resident(CLIENT *Client)
{
    return __atomic_load_n(&MiSpaceOfVa((ULONG_PTR)Client->Va)->WorkingSet.Pages, __ATOMIC_RELAXED);
}
static ULONG64 Word(const volatile UCHAR *Va)
{
    return (ULONG_PTR)Va * 0x9E3779B97F4A7C15ull;
}
static void Begin(CLIENT *Client)
{
    PVOID Base = NULL;
    SIZE_T Size = PAGES * PAGE_SIZE;
    assert_int_equal(ntmm_process_create("client", &Client->Process), STATUS_SUCCESS);
    assert_int_equal(PsLookupProcessByProcessId((HANDLE)(ULONG_PTR)ntmm_process_id(Client->Process), &Client->Object),
                     STATUS_SUCCESS);
    Enter(Client);
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), 0);
    Client->Va = Base;
    for (ULONG Page = 0; Page < PAGES; Page++) {
        *(volatile ULONG64 *)(Client->Va + Page * PAGE_SIZE) = Word(Client->Va + Page * PAGE_SIZE);
    }
    Leave(Client);
}
static void Check(CLIENT *Client)
{
    Enter(Client);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(*(volatile ULONG64 *)(Client->Va + Page * PAGE_SIZE), Word(Client->Va + Page * PAGE_SIZE));
    }
    Leave(Client);
}
static void End(CLIENT *Client)
{
    ObDereferenceObject(Client->Object);
    assert_int_equal(ntmm_process_end(Client->Process, 0), STATUS_SUCCESS);
}

static int Setup(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-limits-%d:64M", (int)getpid());
    if (ntmm_start(&Options) != 0) {
        return -1;
    }
    Begin(&A);
    Begin(&B);
    return 0;
}
static int Teardown(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidateAll();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    End(&A);
    End(&B);
    return ntmm_stop() | (Broken ? -1 : 0);
}

/* "If both dwMinimumWorkingSetSize and dwMaximumWorkingSetSize have the value (SIZE_T)-1, the function removes as many pages as possible
 * from the working set of the specified process." */
static void BothMinusOne_EmptiesThisProcessAlone(void **State)
{
    (void)State;
    ULONG64 Theirs = Resident(&B);
    assert_true(Resident(&A) >= PAGES && Theirs >= PAGES);
    Enter(&A);
    assert_int_equal(MmAdjustWorkingSetSize((SIZE_T)-1, (SIZE_T)-1, 0, FALSE), STATUS_SUCCESS);
    assert_false(MmIsAddressValid(A.Va));
    Leave(&A);
    assert_true(Resident(&A) < 16);
    assert_int_equal(Resident(&B), Theirs);
    Check(&A);
    assert_true(Resident(&A) >= PAGES);
}

static void BadLimits_ChangeNothing(void **State)
{
    (void)State;
    PMMSUPPORT Set = &MiSpaceOfVa((ULONG_PTR)A.Va)->WorkingSet;
    Enter(&A);
    assert_int_equal(MmAdjustWorkingSetSize(16 * PAGE_SIZE, 64 * PAGE_SIZE, 0, TRUE), STATUS_SUCCESS);
    assert_int_equal(MmAdjustWorkingSetSize(64 * PAGE_SIZE, 32 * PAGE_SIZE, 0, TRUE), STATUS_BAD_WORKING_SET_LIMIT);
    assert_int_equal(MmAdjustWorkingSetSize(1ull << 40, 2ull << 40, 0, TRUE),
                     STATUS_BAD_WORKING_SET_LIMIT);                                                    /* more than there is */
    assert_int_equal(MmAdjustWorkingSetSize(0, 128 * PAGE_SIZE, 0, FALSE), STATUS_PRIVILEGE_NOT_HELD); /* more than before */
    assert_int_equal(MmAdjustWorkingSetSize(0, 48 * PAGE_SIZE, 0, FALSE), STATUS_SUCCESS);
    Leave(&A);
    assert_int_equal(Set->MinimumPages, 16);
    assert_int_equal(Set->MaximumPages, 48);
    assert_int_equal(MiSpaceOfVa((ULONG_PTR)B.Va)->WorkingSet.MaximumPages, 0); /* each has its own */
}

/* "The working set of the process can exceed its maximum when memory is plentiful." */
static void Maximum_IsExceededWhileThereIsPlenty(void **State)
{
    (void)State;
    Enter(&A);
    assert_int_equal(MmAdjustWorkingSetSize(PAGE_SIZE, 8 * PAGE_SIZE, 0, TRUE), STATUS_SUCCESS);
    Leave(&A);
    Check(&A);
    assert_true(Resident(&A) >= PAGES);
}

/* With a hard maximum (QUOTA_LIMITS_HARDWS_MAX_ENABLE) a fault beyond it costs the set a page of its own. */
static void HardMaximum_IsKept(void **State)
{
    (void)State;
    PMMSUPPORT Set = &MiSpaceOfVa((ULONG_PTR)A.Va)->WorkingSet;
    assert_int_equal(MiSetWorkingSetLimits(Set, 16, 100, FALSE, TRUE), STATUS_SUCCESS);
    assert_true(Resident(&A) <= 100);
    Enter(&A);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(*(volatile ULONG64 *)(A.Va + Page * PAGE_SIZE), Word(A.Va + Page * PAGE_SIZE));
        assert_true(Resident(&A) <= 101);
    }
    Leave(&A);
    assert_true(Resident(&B) >= PAGES);
}

#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(BothMinusOne_EmptiesThisProcessAlone),
        TEST(BadLimits_ChangeNothing),
        TEST(Maximum_IsExceededWhileThereIsPlenty),
        TEST(HardMaximum_IsKept),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
