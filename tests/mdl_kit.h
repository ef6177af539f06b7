/*
 * mdl_kit.h - what the tests of MDLs share: eight pages of each kind of memory, and an MDL whose bytes mean nothing yet.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include "mm_kit.h"

static PUCHAR Nonpaged, Paged, User;
static KIT_MDL Kit;
#define M (&Kit.Mdl)

static int Setup(void **State)
{
    (void)State;
    memset(&Kit, 0xCC, sizeof(Kit));
    Nonpaged = MmAllocatePages(MmRegionNonPagedPool, 8, MM_PAGES_ZERO, NormalPoolPriority);
    Paged = MmAllocatePages(MmRegionPagedPool, 8, 0, NormalPoolPriority);
    User = MmAllocateUserPages(8, PAGE_READWRITE);
    return Nonpaged && Paged && User ? 0 : -1;
}
static int Teardown(void **State)
{
    (void)State;
    MmFreePages(Nonpaged, 8);
    MmFreePages(Paged, 8);
    MmFreeUserPages(User, 8);
    return MiValidateAll() == NULL ? 0 : -1;
}
