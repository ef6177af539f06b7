/*
 * quota.c - pool quota: what each process is charged for, and how much it may be. SPDX-License-Identifier: MIT
 *
 * Implements PsChargePoolQuota, PsReturnPoolQuota and the PsChargeProcess.. and PsReturnProcess.. routines, and decides for
 * the pools whether a block may be charged (ExpChargeQuotaRoutine, ExpReturnQuotaRoutine).
 *
 *     KPROCESS.QuotaUsage[pool]  <=  QuotaLimit[pool], 0: no limit;  QuotaPeak[pool] the highest usage there was
 *
 * Pool 0 is nonpaged, 1 paged. A charge that would pass the limit charges nothing. No process has a limit until one is set
 * (the host-side API: ntmm_set_pool_quota), the System process included.
 *
 * A process that a block is charged to is referenced until the block is freed, so that its record outlives it.
 *
 * More returned than is charged: PsReturnPoolQuota raises STATUS_QUOTA_EXCEEDED, as its page says; the routines that do not
 * raise are bug check 0x21 (process, pool, bytes to return, bytes too many). Nothing is returned then.
 *
 * Usage is one atomic word a pool; no lock. IRQL <= DISPATCH_LEVEL. Watch: tests/ddi/PsChargePoolQuota.c.
 */
#include "ps/psp.h"
#include "ex/ex.h"

static ULONG PspPoolOf(POOL_TYPE PoolType)
{
    return (ULONG)PoolType & PagedPool;
}

NTSTATUS PspChargeQuota(KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    volatile LONG64 *Usage = &Process->QuotaUsage[Paged != 0], *Peak = &Process->QuotaPeak[Paged != 0];
    LONG64 Limit = __atomic_load_n(&Process->QuotaLimit[Paged != 0], __ATOMIC_RELAXED);
    LONG64 Old = __atomic_load_n(Usage, __ATOMIC_RELAXED), Now;
    do {
        if (Bytes > (SIZE_T)(MAXLONGLONG - Old))
            return STATUS_QUOTA_EXCEEDED;
        Now = Old + (LONG64)Bytes;
        if (Limit != 0 && Now > Limit)
            return STATUS_QUOTA_EXCEEDED;
    } while (!__atomic_compare_exchange_n(Usage, &Old, Now, TRUE, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    Old = __atomic_load_n(Peak, __ATOMIC_RELAXED);
    while (Now > Old && !__atomic_compare_exchange_n(Peak, &Old, Now, TRUE, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return STATUS_SUCCESS;
}

/* How many bytes more than charged Bytes are; 0: they were returned. */
static SIZE_T PspTryReturnQuota(KPROCESS *Process, ULONG Pool, SIZE_T Bytes)
{
    LONG64 Old = __atomic_load_n(&Process->QuotaUsage[Pool], __ATOMIC_RELAXED);
    do {
        if (Bytes > (SIZE_T)Old)
            return Bytes - (SIZE_T)Old;
    } while (!__atomic_compare_exchange_n(&Process->QuotaUsage[Pool], &Old, Old - (LONG64)Bytes, TRUE, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return 0;
}

VOID PspReturnQuota(KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    SIZE_T TooMany = PspTryReturnQuota(Process, Paged != 0, Bytes);
    if (TooMany != 0)
        KiStop(0x21, "More pool quota was returned to a process than it was charged.", NULL, (ULONG_PTR)Process, Paged != 0,
               Bytes, TooMany);
}

/* ---- for the pools: a block is charged, and freed ---- */
static NTSTATUS PspChargeBlock(KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    NTSTATUS Status = PspChargeQuota(Process, Paged, Bytes);
    if (NT_SUCCESS(Status))
        ObfReferenceObject(Process);
    return Status;
}

static VOID PspReturnBlock(KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    PspReturnQuota(Process, Paged, Bytes);
    ObDereferenceObjectDeferDelete(Process);
}

VOID PspInitQuota(VOID)
{
    ExpChargeQuotaRoutine = PspChargeBlock;
    ExpReturnQuotaRoutine = PspReturnBlock;
}

VOID PspShutdownQuota(VOID)
{
    ExpChargeQuotaRoutine = NULL;
    ExpReturnQuotaRoutine = NULL;
}

/* ---- for drivers ---- */
NTSTATUS PsChargeProcessPoolQuota(PEPROCESS Process, POOL_TYPE PoolType, ULONG_PTR Amount)
{
    return PspChargeQuota(Process, PspPoolOf(PoolType) != 0, Amount);
}

NTSTATUS PsChargeProcessPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount)
{
    return PspChargeQuota(Process, TRUE, Amount);
}

NTSTATUS PsChargeProcessNonPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount)
{
    return PspChargeQuota(Process, FALSE, Amount);
}

VOID PsReturnProcessPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount)
{
    PspReturnQuota(Process, TRUE, Amount);
}

VOID PsReturnProcessNonPagedPoolQuota(PEPROCESS Process, ULONG_PTR Amount)
{
    PspReturnQuota(Process, FALSE, Amount);
}

VOID PsChargePoolQuota(PEPROCESS Process, POOL_TYPE PoolType, ULONG_PTR Amount)
{
    NTSTATUS Status = PsChargeProcessPoolQuota(Process, PoolType, Amount);
    if (!NT_SUCCESS(Status))
        ExRaiseStatus(Status);
}

VOID PsReturnPoolQuota(PEPROCESS Process, POOL_TYPE PoolType, ULONG_PTR Amount)
{
    if (PspTryReturnQuota(Process, PspPoolOf(PoolType), Amount) != 0)
        ExRaiseStatus(STATUS_QUOTA_EXCEEDED);
}
