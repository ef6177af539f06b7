/*
 * quota.c - the host-side API of pool quota: limits and what is charged. SPDX-License-Identifier: MIT
 */
#include "ps/psp.h"
#include "host/host.h"

/* The process, referenced; 0 stands for the requester. NULL: there is none; the sentence is kept. */
static KPROCESS *HostFindProcess(uint64_t Id)
{
    PEPROCESS Process;
    if (!ntmm_running()) {
        HostFail("the system does not run");
        return NULL;
    }
    if (Id == 0) {
        if (!NT_SUCCESS(PspCreateUserProcess())) {
            HostFail("there is no memory for the process that makes requests");
            return NULL;
        }
        ObfReferenceObject(PspUserProcess);
        return PspUserProcess;
    }
    if (!NT_SUCCESS(PsLookupProcessByProcessId((HANDLE)(ULONG_PTR)Id, &Process))) {
        HostFail("there is no process with id %llu", (unsigned long long)Id);
        return NULL;
    }
    return Process;
}

int ntmm_set_pool_quota(uint64_t process, bool paged, uint64_t limit)
{
    KPROCESS *Process = HostFindProcess(process);
    if (Process == NULL)
        return -1;
    __atomic_store_n(&Process->QuotaLimit[paged], limit > INT64_MAX ? 0 : (LONG64)limit, __ATOMIC_RELAXED);
    ObfDereferenceObject(Process);
    return 0;
}

int ntmm_query_pool_quota(uint64_t process, bool paged, ntmm_pool_quota *quota)
{
    KPROCESS *Process = HostFindProcess(process);
    if (Process == NULL)
        return -1;
    quota->used = (uint64_t)__atomic_load_n(&Process->QuotaUsage[paged], __ATOMIC_RELAXED);
    quota->peak = (uint64_t)__atomic_load_n(&Process->QuotaPeak[paged], __ATOMIC_RELAXED);
    quota->limit = (uint64_t)__atomic_load_n(&Process->QuotaLimit[paged], __ATOMIC_RELAXED);
    ObfDereferenceObject(Process);
    return 0;
}
