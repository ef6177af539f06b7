/*
 * lock_kit.h - one spin lock inside another, for the tests of lock order. SPDX-License-Identifier: MIT
 */
#pragma once

static void Two(PKSPIN_LOCK First, PKSPIN_LOCK Second)
{
    KIRQL Old;
    KeAcquireSpinLock(First, &Old);
    KeAcquireSpinLockAtDpcLevel(Second);
    KeReleaseSpinLockFromDpcLevel(Second);
    KeReleaseSpinLock(First, Old);
}
