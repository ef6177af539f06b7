/*
 * dma_border_test.c - a driver binary's DMA: calls and callbacks cross the border both ways. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"

static void Binary_DoesDmaThroughItsAdaptersTable(void **State)
{
    ntmm_driver *Driver = NULL;
    ntmm_leftovers Left;
    (void)State;
    assert_int_equal(ntmm_load_driver(NTMM_SYS "/dma.sys", &Driver), STATUS_SUCCESS);
    assert_int_equal(ntmm_remove_driver(Driver, &Left), STATUS_SUCCESS);
    assert_int_equal(Left.devices, 0);
    KitAssertValid();
}

/* The names that old binaries import, and the interface of the root bus, whose routines a binary calls by its own convention. */
static void Binary_UsesObsoleteNamesAndTheBusInterface(void **State)
{
    ntmm_driver *Driver = NULL;
    ntmm_leftovers Left;
    (void)State;
    assert_int_equal(ntmm_load_driver(NTMM_SYS "/olddma.sys", &Driver), STATUS_SUCCESS);
    assert_int_equal(ntmm_remove_driver(Driver, &Left), STATUS_SUCCESS);
    assert_int_equal(Left.devices, 0);
    KitAssertValid();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Binary_DoesDmaThroughItsAdaptersTable),
                                       cmocka_unit_test(Binary_UsesObsoleteNamesAndTheBusInterface)};
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
