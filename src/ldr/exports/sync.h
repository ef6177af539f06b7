/*
 * sync.h - border.c: mutexes, resources, interlocked operations.
 * From include/nt/wdm/sync.h, one line a routine, sorted. SPDX-License-Identifier: MIT
 */
F(KIRQL, ExAcquireSpinLockExclusive, PEX_SPIN_LOCK)
F(VOID, ExAcquireSpinLockExclusiveAtDpcLevel, PEX_SPIN_LOCK)
F(KIRQL, ExAcquireSpinLockShared, PEX_SPIN_LOCK)
F(VOID, ExAcquireSpinLockSharedAtDpcLevel, PEX_SPIN_LOCK)
F(VOID, ExReleaseSpinLockExclusive, PEX_SPIN_LOCK, KIRQL)
F(VOID, ExReleaseSpinLockExclusiveFromDpcLevel, PEX_SPIN_LOCK)
F(VOID, ExReleaseSpinLockShared, PEX_SPIN_LOCK, KIRQL)
F(VOID, ExReleaseSpinLockSharedFromDpcLevel, PEX_SPIN_LOCK)
F(BOOLEAN, ExTryAcquireSpinLockExclusiveAtDpcLevel, PEX_SPIN_LOCK)
F(BOOLEAN, ExTryAcquireSpinLockSharedAtDpcLevel, PEX_SPIN_LOCK)
F(LOGICAL, ExTryConvertSharedSpinLockExclusive, PEX_SPIN_LOCK)
