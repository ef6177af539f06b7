/*
 * cache.c - the processors' caches. SPDX-License-Identifier: MIT
 *
 * Implements KeInvalidateAllCaches, KeInvalidateRangeAllCaches, KeGetRecommendedSharedDataAlignment. The host's processors keep their
 * caches coherent among themselves and with the simulated devices, which are threads: what the flushes leave to do is to order the
 * accesses around them, and to notice a caller at an IRQL from which Windows could not reach the other processors (0xC4/0xE5).
 */
#include "ke/kip.h"

static VOID KipFlushCaches(const CHAR *Words)
{
    KIRQL Irql = KiCurrentThread()->Irql;
    if (__builtin_expect(Irql > DISPATCH_LEVEL, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, Words, NULL, 0xE5, Irql, 0, 0);
    }
    KeMemoryBarrier();
}

BOOLEAN KeInvalidateAllCaches(VOID)
{
    KipFlushCaches("KeInvalidateAllCaches was called above DISPATCH_LEVEL.");
    return TRUE;
}

VOID KeInvalidateRangeAllCaches(PVOID BaseAddress, ULONG Length)
{
    UNREFERENCED_PARAMETER(BaseAddress);
    UNREFERENCED_PARAMETER(Length);
    KipFlushCaches("KeInvalidateRangeAllCaches was called above DISPATCH_LEVEL.");
}

ULONG KeGetRecommendedSharedDataAlignment(VOID)
{
    return SYSTEM_CACHE_ALIGNMENT_SIZE;
}
