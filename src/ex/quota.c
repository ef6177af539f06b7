/*
 * quota.c - which process a quota-charged block was charged to.
 * SPDX-License-Identifier: MIT
 *
 * Few blocks are charged, so the process is not kept beside every block but in a hash table by address.
 * Blocks of a page or more are not charged. What a process may hold is decided above, through
 * ExpChargeQuotaRoutine; without it every charge succeeds. QuotaLock is a leaf; the routines are called
 * without it.
 */
#include "ex/exp.h"

#define QUOTA_BUCKETS 256u

typedef struct _QUOTA_RECORD {
    struct _QUOTA_RECORD *Next;
    PVOID Block;
    struct _KPROCESS *Process;
} QUOTA_RECORD;

static QUOTA_RECORD *ExpQuota[QUOTA_BUCKETS];
NTSTATUS (*ExpChargeQuotaRoutine)(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
VOID (*ExpReturnQuotaRoutine)(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);

static ULONG ExpHashBlock(PVOID Block)
{
    return (ULONG)(((ULONG_PTR)Block >> 4) * 0x9E3779B97F4A7C15ull >> 56);
}

NTSTATUS ExpChargeQuota(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    return ExpChargeQuotaRoutine != NULL ? ExpChargeQuotaRoutine(Process, Paged, Bytes) : STATUS_SUCCESS;
}

VOID ExpReturnQuota(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    if (ExpReturnQuotaRoutine != NULL)
        ExpReturnQuotaRoutine(Process, Paged, Bytes);
}

BOOLEAN ExpRecordQuota(PVOID Block, struct _KPROCESS *Process)
{
    QUOTA_RECORD *Record = ExpMetaAllocate(ExpMetaOther, sizeof(QUOTA_RECORD));
    QUOTA_RECORD **Head = &ExpQuota[ExpHashBlock(Block)];
    if (Record == NULL)
        return FALSE;
    Record->Block = Block;
    Record->Process = Process;
    KiAcquireLock(&ExpState.QuotaLock);
    Record->Next = *Head;
    *Head = Record;
    KiReleaseLock(&ExpState.QuotaLock);
    return TRUE;
}

VOID ExpReleaseQuota(PVOID Block, BOOLEAN Paged, SIZE_T Bytes)
{
    QUOTA_RECORD **Link = &ExpQuota[ExpHashBlock(Block)], *Record;
    struct _KPROCESS *Process;
    KiAcquireLock(&ExpState.QuotaLock);
    while ((Record = *Link) != NULL && Record->Block != Block)
        Link = &Record->Next;
    if (Record != NULL)
        *Link = Record->Next;
    KiReleaseLock(&ExpState.QuotaLock);
    if (Record == NULL)
        return;
    Process = Record->Process;
    ExpMetaFree(ExpMetaOther, Record, sizeof(QUOTA_RECORD));
    ExpReturnQuota(Process, Paged, Bytes);
}

VOID ExpResetQuota(VOID)
{
    ExpClear(ExpQuota, sizeof(ExpQuota));
}
