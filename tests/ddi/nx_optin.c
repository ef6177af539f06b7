/*
 * nx_optin.c - what the page "Single Binary Opt-In: POOL_NX_OPTIN" says, for a driver that is compiled with it. SPDX-License-Identifier: MIT
 */
#define POOL_NX_OPTIN 1
#include "mm_kit.h"

#define TAG 'tseT'

static void Execute(void *Code)
{
    ((void (*)(void))Code)();
}

static BOOLEAN Executable(PVOID Block)
{
    ntmm_bugcheck Stop;
    BOOLEAN Stopped;
    ((PUCHAR)Block)[0] = 0xC3; /* ret */
    Stopped = ntmm_catch(Execute, Block, &Stop);
    if (Stopped)
        assert_int_equal(Stop.code, 0xFC);
    return !Stopped;
}

/* "POOL_NX_OPTIN works by replacing NonPagedPool with a global POOL_TYPE variable, ExDefaultNonPagedPoolType, which is initialized either to
 * NonPagedPoolNx (for Windows 8 and later versions ...) or to NonPagedPoolExecute": by ExInitializeDriverRuntime(DrvRtPoolNxOptIn), which
 * "must occur before the driver makes any allocations". "[It] also converts instances of NonPagedPoolCacheAligned". */
static void OptIn_NonPagedPool_IsNxFromThenOn(void **State)
{
    PVOID Block;
    (void)State;
    assert_int_equal(NonPagedPool, NonPagedPoolExecute);
    assert_int_equal(ExDefaultNonPagedPoolType, NonPagedPoolExecute);
    assert_int_equal(ExDefaultMdlProtection, 0);
    ExInitializeDriverRuntime(0);
    assert_int_equal(NonPagedPool, NonPagedPoolExecute);
    Block = ExAllocatePoolWithTag(NonPagedPool, 100, TAG);
    assert_true(Executable(Block));
    ExFreePool(Block);
    ExInitializeDriverRuntime(DrvRtPoolNxOptIn);
    assert_int_equal(NonPagedPool, NonPagedPoolNx);
    assert_int_equal(NonPagedPoolCacheAligned, NonPagedPoolNxCacheAligned);
    assert_int_equal(ExDefaultMdlProtection, MdlMappingNoExecute);
    Block = ExAllocatePoolWithTag(NonPagedPool, 100, TAG);
    assert_false(Executable(Block));
    ExFreePool(Block);
    Block = ExAllocatePoolZero(NonPagedPoolCacheAligned, 100, TAG);
    assert_false(Executable(Block));
    assert_int_equal((ULONG_PTR)Block % 64, 0);
    ExFreePool(Block);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(OptIn_NonPagedPool_IsNxFromThenOn)};
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
