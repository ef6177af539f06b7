/*
 * failure_test.c - simulated failure: each routine that can run out of something fails as its contract says when it is told to.
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <ntifs.h>
#include "ex/exp.h"

static ULONG Asked[4];
static ULONG Deny; /* mask of resources */

static BOOLEAN Decide(KI_RESOURCE Resource, ULONG Tag, SIZE_T Bytes)
{
    (void)Tag;
    (void)Bytes;
    Asked[Resource]++;
    return (Deny >> Resource & 1) != 0;
}

static int Begin(void **State)
{
    (void)State;
    (void)KeGetCurrentIrql(); /* starts the system */
    memset(Asked, 0, sizeof(Asked));
    Deny = 0;
    KiFailRoutine = Decide;
    ExpSetSlow(EXP_SLOW_FAIL, 0);
    return 0;
}

static int End(void **State)
{
    (void)State;
    KiFailRoutine = NULL;
    ExpSetSlow(0, EXP_SLOW_FAIL);
    return 0;
}

static void Pool_Denied_NullFromEveryForm(void **State)
{
    (void)State;
    Deny = 1u << KiResourcePool;
    assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'liaF'));
    assert_null(ExAllocatePoolWithTag(NonPagedPoolNx, 64, 'liaF'));
    assert_null(ExAllocatePool2(POOL_FLAG_PAGED, 3 * PAGE_SIZE, 'liaF'));
    assert_int_equal(Asked[KiResourcePool], 3);
    assert_null(IoAllocateMdl(&Asked, 64, FALSE, FALSE, NULL));
}

static void Pool_Allowed_AskedOncePerRequest(void **State)
{
    (void)State;
    PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'liaF');
    assert_non_null(Block);
    assert_int_equal(Asked[KiResourcePool], 1);
    ExFreePool(Block);
}

static void Mapping_Denied_MapReturnsNullAndLockRaises(void **State)
{
    (void)State;
    PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, 'liaF');
    PMDL Mdl = IoAllocateMdl(Block, PAGE_SIZE, FALSE, FALSE, NULL);
    NTSTATUS Status = STATUS_SUCCESS;
    assert_non_null(Mdl);
    Deny = 1u << KiResourceLock;
    __try {
        MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_INSUFFICIENT_RESOURCES);
    assert_false(Mdl->MdlFlags & MDL_PAGES_LOCKED);
    Deny = 1u << KiResourceMapping;
    MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
    assert_null(MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority));
    Deny = 0;
    assert_non_null(MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority));
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    ExFreePool(Block);
}

static void Pages_Denied_NoMdlAndNoContiguousMemory(void **State)
{
    PHYSICAL_ADDRESS Zero = {.QuadPart = 0}, High = {.QuadPart = -1};
    (void)State;
    Deny = 1u << KiResourcePages;
    assert_null(MmAllocatePagesForMdl(Zero, High, Zero, PAGE_SIZE));
    assert_null(MmAllocateContiguousMemory(PAGE_SIZE, High));
    Deny = 0;
    PVOID Memory = MmAllocateContiguousMemory(PAGE_SIZE, High);
    assert_non_null(Memory);
    MmFreeContiguousMemory(Memory);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(Pool_Denied_NullFromEveryForm, Begin, End),
        cmocka_unit_test_setup_teardown(Pool_Allowed_AskedOncePerRequest, Begin, End),
        cmocka_unit_test_setup_teardown(Mapping_Denied_MapReturnsNullAndLockRaises, Begin, End),
        cmocka_unit_test_setup_teardown(Pages_Denied_NoMdlAndNoContiguousMemory, Begin, End),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
