/*
 * PsChargePoolQuota.c - what the pages of the quota routines and of the pool routines that charge say, against real processes
 * with limits, a test a sentence; and the stop of a return too many. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <ntifs.h>
#include "ps/psp.h"

#define TAG       'touQ'
#define REQUESTER 0

static KPROCESS *User;

static uint64_t UsedBy(uint64_t Process, bool Paged)
{
    ntmm_pool_quota Quota;
    assert_int_equal(ntmm_query_pool_quota(Process, Paged, &Quota), 0);
    return Quota.used;
}

static void Limit(bool Paged, uint64_t Bytes)
{
    assert_int_equal(ntmm_set_pool_quota(REQUESTER, Paged, Bytes), 0);
}

typedef struct CALL {
    KPROCESS *Process;
    POOL_TYPE Type;
    ULONG_PTR Amount;
    BOOLEAN Return;
} CALL;

static void DoCall(void *Argument)
{
    const CALL *Call = Argument;
    if (Call->Return)
        PsReturnPoolQuota(Call->Process, Call->Type, Call->Amount);
    else
        PsChargePoolQuota(Call->Process, Call->Type, Call->Amount);
}

/* "If insufficient quota exists for the process, quota is not charged, and PsChargePoolQuota raises ... STATUS_QUOTA_EXCEEDED". */
static void Charge_OverLimit_RaisesAndChargesNothing(void **State)
{
    CALL Call = {User, PagedPool, 600, FALSE};
    (void)State;
    Limit(true, 1000);
    assert_int_equal(RaisedBy(DoCall, &Call), STATUS_SUCCESS);
    assert_int_equal(UsedBy(REQUESTER, true), 600);
    Call.Amount = 401;
    assert_int_equal(RaisedBy(DoCall, &Call), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(UsedBy(REQUESTER, true), 600);
    Call.Amount = 400;
    Call.Type = PagedPoolCacheAligned;
    assert_int_equal(RaisedBy(DoCall, &Call), STATUS_SUCCESS);
    assert_int_equal(UsedBy(REQUESTER, false), 0);
    PsReturnPoolQuota(User, PagedPool, 1000);
    assert_int_equal(UsedBy(REQUESTER, true), 0);
    Limit(true, 0);
}

/* "PoolType: NonPagedPool, PagedPool, NonPagedPoolCacheAligned, PagedPoolCacheAligned": two quotas. */
static void Charge_PoolTypes_TwoQuotas(void **State)
{
    (void)State;
    Limit(false, 100);
    assert_int_equal(PsChargeProcessPoolQuota(User, NonPagedPoolNx, 100), STATUS_SUCCESS);
    assert_int_equal(PsChargeProcessPoolQuota(User, NonPagedPoolCacheAligned, 1), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(PsChargeProcessNonPagedPoolQuota(User, 1), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(PsChargeProcessPagedPoolQuota(User, 1 << 30), STATUS_SUCCESS);
    assert_int_equal(PsChargeProcessPagedPoolQuota(User, MAXULONG_PTR), STATUS_QUOTA_EXCEEDED);
    PsReturnProcessPagedPoolQuota(User, 1 << 30);
    PsReturnProcessNonPagedPoolQuota(User, 100);
    assert_int_equal(UsedBy(REQUESTER, false), 0);
    assert_int_equal(UsedBy(REQUESTER, true), 0);
    Limit(false, 0);
}

static void ReturnPaged(void *Amount)
{
    PsReturnProcessPagedPoolQuota(User, (ULONG_PTR)Amount);
}

static void ReturnNonPaged(void *Amount)
{
    PsReturnProcessNonPagedPoolQuota(User, (ULONG_PTR)Amount);
}

/* "If the quota return would exceed the quota for the process, PsReturnPoolQuota raises ... STATUS_QUOTA_EXCEEDED"; the routines
 * that do not raise stop with QUOTA_UNDERFLOW. */
static void Return_TooMuch_RaisesOrStops(void **State)
{
    CALL Call = {User, PagedPool, 31, TRUE};
    (void)State;
    PsChargePoolQuota(User, PagedPool, 30);
    assert_int_equal(RaisedBy(DoCall, &Call), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(UsedBy(REQUESTER, true), 30);
    ExpectStop(ReturnPaged, (void *)35, 0x21, (uint64_t)User, 1, 35, 5);
    ExpectStop(ReturnNonPaged, (void *)1, 0x21, (uint64_t)User, 0, 1, 1);
    PsReturnPoolQuota(User, PagedPool, 30);
}

static void AllocateQuota(void *Size)
{
    (void)ExAllocatePoolWithQuotaTag(PagedPool, (SIZE_T)Size, TAG);
}

/* ExAllocatePoolWithQuotaTag: "charging the quota against the current process" and "raises an exception"; with
 * POOL_QUOTA_FAIL_INSTEAD_OF_RAISE "returns NULL"; ExFreePool gives it back to that process, whoever frees. */
static void Pool_AttachedProcess_ChargedRaisedReturned(void **State)
{
    KAPC_STATE Attached;
    PVOID Block;
    uint64_t System = UsedBy(4, true);
    (void)State;
    Limit(true, 1000);
    KeStackAttachProcess(User, &Attached);
    Block = ExAllocatePoolWithQuotaTag(PagedPool, 900, TAG);
    assert_non_null(Block);
    assert_int_equal(UsedBy(REQUESTER, true), 900);
    assert_int_equal(RaisedBy(AllocateQuota, (void *)200), STATUS_QUOTA_EXCEEDED);
    assert_null(ExAllocatePoolWithQuotaTag((POOL_TYPE)(PagedPool | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), 200, TAG));
    assert_null(ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_USE_QUOTA, 200, TAG));
    assert_int_equal(UsedBy(REQUESTER, true), 900);
    /* "quota is not charged" for a page and more */
    ExFreePool(ExAllocatePoolWithQuotaTag(PagedPool, PAGE_SIZE, TAG));
    KeUnstackDetachProcess(&Attached);
    assert_int_equal(UsedBy(4, true), System);
    ExFreePool(Block);
    assert_int_equal(UsedBy(REQUESTER, true), 0);
    Limit(true, 0);
}

static void RaiseOnFailure(void *Unused)
{
    (void)Unused;
    (void)ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_USE_QUOTA | POOL_FLAG_RAISE_ON_FAILURE, 200, TAG);
}

/* POOL_FLAG_RAISE_ON_FAILURE: "an exception is raised if the allocation fails". */
static void Pool2_RaiseOnFailure_Raises(void **State)
{
    KAPC_STATE Attached;
    (void)State;
    Limit(true, 100);
    KeStackAttachProcess(User, &Attached);
    assert_int_equal(RaisedBy(RaiseOnFailure, NULL), STATUS_QUOTA_EXCEEDED);
    KeUnstackDetachProcess(&Attached);
    Limit(true, 0);
}

/* A limit of the System process counts too; nobody else is charged. */
static void Limit_System_Obeyed(void **State)
{
    (void)State;
    assert_int_equal(ntmm_set_pool_quota(4, true, UsedBy(4, true) + 100), 0);
    assert_int_equal(RaisedBy(AllocateQuota, (void *)200), STATUS_QUOTA_EXCEEDED);
    assert_int_equal(ntmm_set_pool_quota(4, true, 0), 0);
    assert_int_equal(ntmm_set_pool_quota(123456, true, 0), -1);
    assert_string_equal(ntmm_error(), "there is no process with id 123456");
}

/* Many threads at the limit: never over it, nothing lost. */
static unsigned Granted;

static void *Worker(void *Unused)
{
    unsigned Round;
    KAPC_STATE Attached;
    (void)Unused;
    KeStackAttachProcess(User, &Attached);
    for (Round = 0; Round < 20000; Round++) {
        PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 300, TAG);
        if (UsedBy(REQUESTER, false) > 1000)
            return (void *)"over the limit";
        if (Block != NULL) {
            __atomic_add_fetch(&Granted, 1, __ATOMIC_RELAXED);
            ExFreePool(Block);
        }
    }
    KeUnstackDetachProcess(&Attached);
    return NULL;
}

static void Pool_Threads_NeverOverTheLimit(void **State)
{
    pthread_t Threads[4];
    unsigned Index;
    (void)State;
    Limit(false, 1000);
    for (Index = 0; Index < 4; Index++)
        Threads[Index] = Spawn(Worker, NULL);
    for (Index = 0; Index < 4; Index++) {
        void *Answer;
        pthread_join(Threads[Index], &Answer);
        assert_null(Answer);
    }
    assert_true(Granted > 0);
    assert_int_equal(UsedBy(REQUESTER, false), 0);
    Limit(false, 0);
}

static int Start(void **State)
{
    ntmm_pool_quota Quota;
    if (StartTwoProcessors(State) != 0 || ntmm_query_pool_quota(REQUESTER, true, &Quota) != 0 || Quota.used != 0 ||
        Quota.limit != 0)
        return -1;
    User = PspUserProcess;
    return 0;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Charge_OverLimit_RaisesAndChargesNothing),
        cmocka_unit_test(Charge_PoolTypes_TwoQuotas),
        cmocka_unit_test(Return_TooMuch_RaisesOrStops),
        cmocka_unit_test(Pool_AttachedProcess_ChargedRaisedReturned),
        cmocka_unit_test(Pool2_RaiseOnFailure_Raises),
        cmocka_unit_test(Limit_System_Obeyed),
        cmocka_unit_test(Pool_Threads_NeverOverTheLimit),
    };
    return cmocka_run_group_tests(Tests, Start, StopSystem);
}
