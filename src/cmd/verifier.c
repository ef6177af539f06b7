/*
 * verifier.c - the Verifier's counters, as the debugger's !verifier shows them. SPDX-License-Identifier: MIT
 *
 * JSON, under "verifier" (null if no option is on): "level" the mask, and the counters by the names below.
 */
#include "cmd.h"
#include "ex/ex.h"
#include "vf/vf.h"

void CmdReportVerifier(const EXP_POOL_TOTALS *Before, bool Json, json_t *Root)
{
    VF_COUNTERS Vf;
    EXP_POOL_TOTALS Pools[2];
    VfQueryCounters(&Vf);
    if (Vf.Level == 0) {
        json_object_set_new(Root, "verifier", json_null());
        return;
    }
    ExpQueryPool(FALSE, &Pools[0]);
    ExpQueryPool(TRUE, &Pools[1]);
    const struct {
        const char *Name, *Key;
        ULONG64 Count;
    } Lines[] = {
        {"RaiseIrqls", "raise_irqls", Vf.RaiseIrqls},
        {"AcquireSpinLocks", "acquire_spin_locks", Vf.AcquireSpinLocks},
        {"Synch Executions", "synch_executions", Vf.SynchronizeExecutions},
        {"Trims", "trims", Vf.Trims},
        {"Pool Allocations Attempted", "allocations_attempted", Vf.AllocationsAttempted},
        {"Pool Allocations Succeeded", "allocations_succeeded", Vf.AllocationsSucceeded},
        {"Pool Allocations Succeeded SpecialPool", "allocations_succeeded_special_pool", Vf.AllocationsSucceededSpecialPool},
        {"Pool Allocations With NO TAG", "allocations_with_no_tag", Vf.AllocationsWithNoTag},
        {"Pool Allocations Failed", "allocations_failed", Vf.AllocationsFailed},
        {"Resource Allocations Failed Deliberately", "failed_deliberately", Vf.AllocationsFailedDeliberately},
    };
    json_t *Object = json_object();
    json_object_set_new(Object, "level", CmdHex(Vf.Level));
    if (!Json) {
        printf("\nVerify Level 0x%x\n", Vf.Level);
    }
    for (size_t Index = 0; Index < ARRAYSIZE(Lines); Index++) {
        json_object_set_new(Object, Lines[Index].Key, json_integer((json_int_t)Lines[Index].Count));
        if (!Json) {
            printf("  %-42s 0x%llx\n", Lines[Index].Name, (unsigned long long)Lines[Index].Count);
        }
    }
    /* What the run has allocated and not freed, and the most at a time; the system's own blocks from before it are left out. */
    for (int Paged = 1; Paged >= 0; Paged--) {
        const EXP_POOL_TOTALS *Pool = &Pools[Paged], *Was = &Before[Paged];
        const char *Name = Paged ? "paged" : "nonpaged";
        uint64_t Count = Pool->Allocs - Pool->Frees - (Was->Allocs - Was->Frees);
        uint64_t Bytes = (uint64_t)Pool->Bytes - Was->Bytes, Peak = (uint64_t)Pool->PeakBytes - Was->Bytes;
        char Key[48];
        snprintf(Key, sizeof Key, "current_%s_allocations", Name);
        json_object_set_new(Object, Key, json_integer((json_int_t)Count));
        snprintf(Key, sizeof Key, "current_%s_bytes", Name);
        json_object_set_new(Object, Key, json_integer((json_int_t)Bytes));
        snprintf(Key, sizeof Key, "peak_%s_bytes", Name);
        json_object_set_new(Object, Key, json_integer((json_int_t)Peak));
        if (Json) {
            continue;
        }
        printf("  Current %s pool allocations%*s 0x%llx for %08llX bytes\n", Name, Paged ? 11 : 8, "",
               (unsigned long long)Count, (unsigned long long)Bytes);
        printf("  Peak %s pool bytes%*s %08llX bytes\n", Name, Paged ? 20 : 17, "", (unsigned long long)Peak);
    }
    json_object_set_new(Root, "verifier", Object);
}
