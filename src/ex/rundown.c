/*
 * rundown.c - rundown protection: references that can be closed for good. SPDX-License-Identifier: MIT
 *
 * Implements ExInitializeRundownProtection, ExAcquire/ReleaseRundownProtection(Ex), ExWaitForRundownProtectionRelease,
 * ExReInitializeRundownProtection, ExRundownCompleted, and the cache-aware forms over the same counter (one counter, not one a
 * processor: docs/CAVEATS.md).
 *
 *      Count: 2 * references, plus 1 once rundown has begun
 *
 *      open --- ExWaitForRundownProtectionRelease ---> running down --- last release ---> run down --- ReInitialize ---> open
 *
 * Waiters sleep on the parking place of the word: the memory may be freed as soon as the wait returns, and the last release
 * touches it no more after its one interlocked step. Releasing what was not acquired is 0xC4/0xE5 (IRQL) since the count
 * would go below zero.
 *
 * Invariants: N1. Once bit 0 is set, the count only falls, until ExReInitializeRundownProtection.
 */
#include "ke/ki.h"

#define EXP_RUNDOWN_ACTIVE ((ULONG_PTR)1)

typedef struct _EX_RUNDOWN_REF_CACHE_AWARE {
    EX_RUNDOWN_REF Ref;
} EX_RUNDOWN_REF_CACHE_AWARE;

VOID ExInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_RELEASE);
}

VOID ExReInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    __atomic_store_n(&RunRef->Count, 0, __ATOMIC_RELEASE);
}

VOID ExRundownCompleted(PEX_RUNDOWN_REF RunRef)
{
    __atomic_store_n(&RunRef->Count, EXP_RUNDOWN_ACTIVE, __ATOMIC_RELEASE);
}

BOOLEAN ExAcquireRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count)
{
    ULONG_PTR Old = __atomic_load_n(&RunRef->Count, __ATOMIC_RELAXED);

    do {
        if ((Old & EXP_RUNDOWN_ACTIVE) != 0) {
            return FALSE;
        }
    } while (!__atomic_compare_exchange_n(&RunRef->Count, &Old, Old + 2 * (ULONG_PTR)Count, FALSE, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return TRUE;
}

BOOLEAN ExAcquireRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    return ExAcquireRundownProtectionEx(RunRef, 1);
}

VOID ExReleaseRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count)
{
    ULONG_PTR Old = __atomic_load_n(&RunRef->Count, __ATOMIC_RELAXED);
    ULONG_PTR New;

    do {
        if (Old / 2 < Count) {
            KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "Rundown protection was released more often than it was acquired.",
                   RunRef, 0xE5, KiCurrentThread()->Irql, 0, 0);
        }
        New = Old - 2 * (ULONG_PTR)Count;
    } while (!__atomic_compare_exchange_n(&RunRef->Count, &Old, New, FALSE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    if (New == EXP_RUNDOWN_ACTIVE) {
        KiUnpark(RunRef);
    }
}

VOID ExReleaseRundownProtection(PEX_RUNDOWN_REF RunRef)
{
    ExReleaseRundownProtectionEx(RunRef, 1);
}

VOID ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF RunRef)
{
    KI_PARKING *Place = KiParkingOf(RunRef);
    ULONG_PTR Seen = __atomic_or_fetch(&RunRef->Count, EXP_RUNDOWN_ACTIVE, __ATOMIC_SEQ_CST);
    KTHREAD *Thread = KiCurrentThread();

    if (Seen == EXP_RUNDOWN_ACTIVE) {
        return;
    }
    if (Thread->Irql > APC_LEVEL) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "ExWaitForRundownProtectionRelease had to wait above APC_LEVEL.", RunRef,
               0x3B, Thread->Irql, (ULONG_PTR)RunRef, 0);
    }
    __atomic_add_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        LONG Sequence = __atomic_load_n(&Place->Sequence, __ATOMIC_SEQ_CST);

        if (__atomic_load_n(&RunRef->Count, __ATOMIC_SEQ_CST) == EXP_RUNDOWN_ACTIVE) {
            break;
        }
        KiBlock(&Place->Sequence, Sequence, HAL_FOREVER);
    }
    __atomic_sub_fetch(&Place->Waiters, 1, __ATOMIC_SEQ_CST);
}

/* ---- cache-aware ---- */

SIZE_T ExSizeOfRundownProtectionCacheAware(VOID)
{
    return sizeof(EX_RUNDOWN_REF_CACHE_AWARE);
}

VOID ExInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, SIZE_T RunRefSize)
{
    UNREFERENCED_PARAMETER(RunRefSize);
    ExInitializeRundownProtection(&RunRefCacheAware->Ref);
}

PEX_RUNDOWN_REF_CACHE_AWARE ExAllocateCacheAwareRundownProtection(POOL_TYPE PoolType, ULONG PoolTag)
{
    PEX_RUNDOWN_REF_CACHE_AWARE RunRef =
        (PEX_RUNDOWN_REF_CACHE_AWARE)ExAllocatePoolWithTag(PoolType, sizeof(EX_RUNDOWN_REF_CACHE_AWARE), PoolTag);

    if (RunRef != NULL) {
        ExInitializeRundownProtection(&RunRef->Ref);
    }
    return RunRef;
}

VOID ExFreeCacheAwareRundownProtection(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    ExFreePool(RunRefCacheAware);
}

BOOLEAN ExAcquireRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    return ExAcquireRundownProtectionEx(&RunRefCacheAware->Ref, 1);
}

BOOLEAN ExAcquireRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, ULONG Count)
{
    return ExAcquireRundownProtectionEx(&RunRefCacheAware->Ref, Count);
}

VOID ExReleaseRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    ExReleaseRundownProtectionEx(&RunRefCacheAware->Ref, 1);
}

VOID ExReleaseRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, ULONG Count)
{
    ExReleaseRundownProtectionEx(&RunRefCacheAware->Ref, Count);
}

VOID ExWaitForRundownProtectionReleaseCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    ExWaitForRundownProtectionRelease(&RunRefCacheAware->Ref);
}

VOID ExReInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    ExReInitializeRundownProtection(&RunRefCacheAware->Ref);
}

VOID ExRundownCompletedCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
    ExRundownCompleted(&RunRefCacheAware->Ref);
}
