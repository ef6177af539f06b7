/*
 * fail.c - low resources simulation: requests for memory and address space that fail at random (0x4). SPDX-License-Identifier: MIT
 *
 * The routines that can fail ask KiFailHere; this file answers. A request fails with VfOptions.FaultProbability of 10,000
 * (600 by default, as Windows'), if its tag is among VfOptions.FaultTags (all, if there are none; requests without a tag only
 * then) and FaultDelay milliseconds have passed since the start. The sequence follows from seed=: with one thread the same
 * requests fail again.
 *
 * KiFailRoutine belongs to whoever set it first: a campaign that fails every request once (ntmm_fail_each) is not disturbed.
 *
 * No lock. Any IRQL. Watch: VF_COUNTERS.AllocationsFailedDeliberately.
 */
#include "vf/vfp.h"

static volatile ULONG64 ViFaultState;
static ULONG64 ViFaultsFrom; /* interrupt time */

static BOOLEAN ViFailHere(KI_RESOURCE Resource, ULONG Tag, SIZE_T Bytes)
{
    ULONG64 X;
    UNREFERENCED_PARAMETER(Resource);
    UNREFERENCED_PARAMETER(Bytes);
    if (!(KiVerifierFlags() & VF_LOW_RESOURCES))
        return FALSE;
    if (VfOptions.FaultTagCount != 0) {
        ULONG Index = 0;
        while (Index < VfOptions.FaultTagCount && VfOptions.FaultTags[Index] != (Tag & ~EXP_PROTECTED))
            Index++;
        if (Index == VfOptions.FaultTagCount)
            return FALSE;
    }
    if (VfOptions.FaultDelay != 0 && KeQueryInterruptTime() < ViFaultsFrom)
        return FALSE;
    X = __atomic_add_fetch(&ViFaultState, 0x9E3779B97F4A7C15ull, __ATOMIC_RELAXED);
    X = (X ^ (X >> 30)) * 0xBF58476D1CE4E5B9ull;
    X = (X ^ (X >> 27)) * 0x94D049BB133111EBull;
    if ((X >> 33) % 10000 >= VfOptions.FaultProbability)
        return FALSE;
    VI_COUNT(AllocationsFailedDeliberately);
    return TRUE;
}

VOID ViSetFaults(BOOLEAN On)
{
    if (On && KiFailRoutine == NULL) {
        ViFaultState = KeOptions.Seed * 0xD1342543DE82EF95ull;
        ViFaultsFrom = KeQueryInterruptTime() + (ULONG64)VfOptions.FaultDelay * 10000;
        KiFailRoutine = ViFailHere;
    } else if (!On && KiFailRoutine == ViFailHere) {
        KiFailRoutine = NULL;
    }
}
