/*
 * init.c - the Verifier starts, is asked by the pools, and changes its options live. SPDX-License-Identifier: MIT
 *
 * Options are Windows' mask in KeOptions.VerifierFlags, which the layers below read where they check; this file turns on
 * the seams that cost something only when somebody wants them:
 *
 *   ExpSlow          EXP_SLOW_ALLOCATE   any option: rules of requests         EXP_SLOW_FREE   misc, deadlock, io
 *                    EXP_SLOW_FAIL       low resources                              EXP_SLOW_TRACKING   pool tracking
 *   ExpSampleInterval                    one allocation in so many is special pool's (with no option given at all)
 *
 * An allocation that the pools ask about (ViAllocate):
 *   its driver is verified: zero bytes are 0xC4/0x00, quota in a DPC 0x10B (pool tracking), executable pool 0x2000 (code
 *   integrity)
 *   its driver is verified and special pool is on, or its tag or size is chosen ---> special pool, the Verifier's stops
 *   the countdown came to zero, and not too many samples were made of late ---> special pool, the ordinary pool's stops where it has
 *   any (special.c)
 *   neither, or special pool is full, or quota is charged ---> the ordinary pool
 *
 * The system's own start and stop are not verified: the host enables the options when it is up, and disables them before it
 * goes down. Blocks of special pool may be freed at any time in between.
 *
 * Locks: SettingsLock serialises changes. PASSIVE_LEVEL for those.
 */
#include "vf/vfp.h"

VF_OPTIONS VfOptions;
VF_COUNTERS ViCounters;
static KI_LOCK SettingsLock;
static volatile ULONG64 ViSampleTime; /* up to when the clock's time is given to samples */

#define VI_SAMPLE_BURST 64u

static POOL_TYPE ViPoolType(const EXP_REQUEST *Request)
{
    ULONG Type = Request->Kind == ExpPaged ? PagedPool : Request->Kind == ExpNonPagedNx ? NonPagedPoolNx : NonPagedPoolExecute;
    return (POOL_TYPE)(Type | (Request->Aligned ? NonPagedPoolCacheAligned : 0));
}

/* What a verified driver may not ask for. */
static VOID ViCheckRequest(const EXP_REQUEST *Request, ULONG_PTR Caller, const VI_DRIVER *Driver)
{
    ULONG Flags = KiVerifierFlags();
    if (Driver->Leaving && (Flags & VF_POOL_TRACKING))
        KiStop(0xC4, "A thread of a driver allocated pool after DriverUnload returned.", NULL, 0x61,
               Request->Kind == ExpPaged ? Request->Size : 0, Request->Kind == ExpPaged ? 0 : Request->Size, 1);
    if (Request->Size == 0)
        KiStop(0xC4, "A verified driver asked for zero bytes of pool.", NULL, 0x00, KeGetCurrentIrql(), ViPoolType(Request), 0);
    if ((Flags & VF_POOL_TRACKING) && Request->Quota && KeGetCurrentIrql() >= DISPATCH_LEVEL &&
        KiCurrentThread()->Prcb->DpcActive)
        KiStop(0xC4, "Pool with quota was allocated in a DPC routine, where no process is the one to charge.", NULL, 0x10B, 0,
               0, 0);
    if ((Flags & VF_CODE_INTEGRITY) && Request->Kind == ExpNonPagedExecute)
        KiStop(0xC4, "Executable pool was asked for; NonPagedPoolNx or POOL_FLAG_NON_PAGED is not executable.", NULL, 0x2000,
               Caller, ViPoolType(Request), Request->Tag);
}

/* A sample costs as much as hundreds of ordinary pairs, so a loop that does little but allocate would feel one in a thousand. Time
 * bounds them: ViSampleTime runs ahead of the clock by what each sample is given, VI_SAMPLE_BURST samples at most. */
static BOOLEAN ViMaySample(VOID)
{
    ULONG64 Each, Now, Ahead;
    if (VfOptions.SampleRate == 0)
        return TRUE;
    Each = 1000000000ull / VfOptions.SampleRate;
    Now = HalQueryTime();
    Ahead = __atomic_load_n(&ViSampleTime, __ATOMIC_RELAXED);
    for (;;) {
        ULONG64 From = Ahead > Now ? Ahead : Now;
        if (From - Now > Each * VI_SAMPLE_BURST) {
            VI_COUNT(SamplesLeftOut);
            return FALSE;
        }
        if (__atomic_compare_exchange_n(&ViSampleTime, &Ahead, From + Each, TRUE, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return TRUE;
    }
}

static PVOID ViAllocate(const EXP_REQUEST *Request)
{
    BOOLEAN Strict = FALSE;
    PVOID Block;
    VI_COUNT(AllocationsAttempted);
    if (Request->Tag == EXP_TAG_NONE)
        VI_COUNT(AllocationsWithNoTag);
    if (KiVerifierFlags() != 0) {
        ULONG_PTR Caller = ViCallerOf(Request->Caller);
        const VI_DRIVER *Driver = ViDriverOf(Caller);
        Strict = Driver->Verified;
        if (Strict)
            ViCheckRequest(Request, Caller, Driver);
        if (!(KiVerifierFlags() & VF_SPECIAL_POOL) || (VfOptions.SpecialTag != 0 && !ViIsSpecialRequest(Request)))
            Strict = FALSE;
    }
    if (Request->Wanted)
        Strict = TRUE;
    if (!Strict && (!Request->Sampled || !ViMaySample()))
        return NULL;
    if (Request->Quota) {
        VI_COUNT(SpecialPoolFull);
        return NULL;
    }
    Block = ViAllocateSpecial(Request, Strict);
    if (Block == NULL)
        VI_COUNT(SpecialPoolFull);
    else if (Strict)
        VI_COUNT(AllocationsSucceededSpecialPool);
    else
        VI_COUNT(Sampled);
    return Block;
}

static VOID ViFree(PVOID Block, SIZE_T Size, ULONG Tag, EXP_KIND Kind)
{
    ViCheckContents(Block, Size, Tag, Kind);
}

static BOOLEAN ViVerifies(ULONG Flags, ULONG_PTR Caller)
{
    return (KiVerifierFlags() & Flags) != 0 && ViDriverOf(ViCallerOf(Caller))->Verified;
}

static VOID ViApply(ULONG Flags)
{
    ULONG Slow = 0;
    if (Flags != 0)
        Slow |= EXP_SLOW_ALLOCATE;
    if (Flags & (VF_MISC | VF_DEADLOCK | VF_IO))
        Slow |= EXP_SLOW_FREE;
    if (Flags & VF_POOL_TRACKING)
        Slow |= EXP_SLOW_TRACKING;
    if (Flags & VF_LOW_RESOURCES)
        Slow |= EXP_SLOW_FAIL;
    ViCounters.Level = Flags;
    ViSetFaults((Flags & VF_LOW_RESOURCES) != 0);
    ViSetCodeIntegrity((Flags & VF_CODE_INTEGRITY) != 0);
    __atomic_store_n(&KiIsWatchedCaller, ViOthersUnseen() ? ViIsCallerVerified : NULL, __ATOMIC_RELEASE);
    KiSetForceIrqlChecking((Flags & VF_FORCE_IRQL) != 0);
    KiCountIrqls(Flags != 0);
    ViSetSecurityChecks((Flags & VF_SECURITY) != 0);
    ViSetLockTracking((Flags & VF_POOL_TRACKING) != 0);
    ViSetObjectChecks((Flags & VF_FORCE_IRQL) != 0);
    ViSetDeadlockDetection((Flags & VF_DEADLOCK) != 0);
    __atomic_store_n(&VfIrqlRulesOn, (Flags & VF_DDI) != 0, __ATOMIC_RELEASE);
    __atomic_store_n(&ExpSampleInterval, Flags & VF_SPECIAL_POOL ? 0 : VfOptions.SampleInterval, __ATOMIC_RELAXED);
    /* A campaign that fails requests on its own keeps being asked. */
    ExpSetSlow(Slow, EXP_SLOW_ALLOCATE | EXP_SLOW_FREE | EXP_SLOW_TRACKING | (KiFailRoutine == NULL ? EXP_SLOW_FAIL : 0));
}

NTSTATUS VfInitSystem(VOID)
{
    NTSTATUS Status;
    memset(&ViCounters, 0, sizeof(ViCounters));
    ViSampleTime = 0;
    Status = ViInitSpecialPool();
    if (!NT_SUCCESS(Status))
        return Status;
    ViInitDrivers();
    ViResetLeft();
    ExpVerifyAllocateRoutine = ViAllocate;
    ExpVerifyFreeRoutine = ViFree;
    return STATUS_SUCCESS;
}

VOID VfEnable(VOID)
{
    ViApply(KiVerifierFlags());
    __atomic_store_n(&KiVerifiesRoutine, ViVerifies, __ATOMIC_RELEASE);
}

VOID VfDisable(VOID)
{
    __atomic_store_n(&KiVerifiesRoutine, NULL, __ATOMIC_RELEASE);
    ViApply(0); /* the flags stay: the layers below still check what they check */
    __atomic_store_n(&ExpSampleInterval, 0, __ATOMIC_RELAXED);
}

VOID VfShutdownSystem(VOID)
{
    ExpVerifyAllocateRoutine = NULL;
    ExpVerifyFreeRoutine = NULL;
    ViStopDrivers();
    ViStopSpecialPool();
}

NTSTATUS VfSetFlags(ULONG Flags)
{
    if ((Flags ^ KiVerifierFlags()) & ~VF_VOLATILE)
        return STATUS_NOT_SUPPORTED;
    KiAcquireLock(&SettingsLock);
    IopForgetWatches(); /* requests under way when invariant checking begins or ends are not checked */
    __atomic_store_n(&KeOptions.VerifierFlags, Flags, __ATOMIC_RELAXED);
    IopForgetWatches();
    ViApply(Flags);
    KiReleaseLock(&SettingsLock);
    return STATUS_SUCCESS;
}

VOID VfQueryCounters(VF_COUNTERS *Counters)
{
    *Counters = ViCounters;
    Counters->AcquireSpinLocks = __atomic_load_n(&KiTrims.SpinLocks, __ATOMIC_RELAXED);
    Counters->RaiseIrqls = __atomic_load_n(&KiTrims.Raises, __ATOMIC_RELAXED);
    Counters->TrimRequests = __atomic_load_n(&KiTrims.Requests, __ATOMIC_RELAXED);
    Counters->Trims = __atomic_load_n(&KiTrims.Trims, __ATOMIC_RELAXED);
    Counters->AllocationsSucceeded = Counters->AllocationsAttempted - Counters->AllocationsFailed;
}

const CHAR *VfValidate(VOID)
{
    const CHAR *Broken = ViValidateSpecialPool();
    return Broken != NULL ? Broken : ViValidateDeadlock();
}
