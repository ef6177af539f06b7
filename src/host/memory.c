/*
 * memory.c - what the memory manager counts, for programs and for the command: now, and over time. SPDX-License-Identifier: MIT
 *
 * ntmm_query_memory, ntmm_sample_memory, ntmm_memory_samples, ntmm_page_out. Nothing is kept here: the counters are mm's
 * (MmQueryCounters), the series is mm's (series.c).
 */
#include "host.h"
#include "mm/mm.h"

#include <string.h>

C_ASSERT(NTMM_MEMORY_SAMPLES == MM_SAMPLES && sizeof(ntmm_memory_sample) == sizeof(MM_SAMPLE));

const char *ntmm_memory_condition(unsigned bit)
{
    static const char *const Names[MmConditions] = {
        [MmLowMemory] = "LowMemoryCondition",
        [MmHighMemory] = "HighMemoryCondition",
        [MmLowPagedPool] = "LowPagedPoolCondition",
        [MmHighPagedPool] = "HighPagedPoolCondition",
        [MmLowNonPagedPool] = "LowNonPagedPoolCondition",
        [MmHighNonPagedPool] = "HighNonPagedPoolCondition",
        [MmLowCommit] = "LowCommitCondition",
        [MmHighCommit] = "HighCommitCondition",
        [MmMaximumCommit] = "MaximumCommitCondition",
    };
    return bit < MmConditions ? Names[bit] : NULL;
}

int ntmm_query_memory(ntmm_memory *out)
{
    MM_COUNTERS Now;
    MM_REGION_INFO NonPaged, Paged;
    memset(out, 0, sizeof *out);
    if (!ntmm_running())
        return HostFail("the system does not run");
    KiCurrentThread();
    MmQueryCounters(&Now);
    MmQueryRegion(MmRegionNonPagedPool, &NonPaged);
    MmQueryRegion(MmRegionPagedPool, &Paged);
    out->ram_pages = Now.TotalPages;
    out->zeroed_pages = Now.ZeroedPages;
    out->free_pages = Now.FreePages;
    out->standby_pages = Now.StandbyPages;
    out->modified_no_write_pages = Now.ModifiedNoWritePages;
    out->modified_pages = Now.ModifiedPages - Now.ModifiedNoWritePages;
    out->bad_pages = Now.BadPages;
    out->transition_pages = Now.TransitionPages;
    out->active_pages = Now.ActivePages - Now.TransitionPages;
    memcpy(out->standby_by_priority, Now.StandbyByPriority, sizeof out->standby_by_priority);
    out->available_pages = Now.AvailablePages;
    out->locked_pages = Now.LockedFrames;
    out->nonpageable_pages = Now.NonPageableFrames;
    out->table_pages = Now.TablePages;
    out->system_working_set_pages = Now.SystemWorkingSetPages;
    out->process_working_set_pages = Now.ProcessWorkingSetPages;
    out->committed_pages = Now.Committed;
    out->commit_limit_pages = Now.CommitLimit;
    out->commit_peak_pages = Now.PeakCommit;
    out->commit_maximum_pages = Now.CommitMaximum;
    out->commit_failures = Now.CommitFailures;
    out->nonpaged_pool_pages = NonPaged.PagesInUse;
    out->nonpaged_pool_peak_pages = NonPaged.PeakPages;
    out->paged_pool_pages = Paged.PagesInUse;
    out->paged_pool_peak_pages = Paged.PeakPages;
    out->faults = Now.AllFaults;
    out->demand_zero_faults = Now.DemandZeroFaults;
    out->soft_faults = Now.SoftFaults;
    out->hard_faults = Now.HardFaults;
    out->copy_on_write_faults = Now.CopyOnWriteFaults;
    out->guard_faults = Now.GuardFaults;
    out->access_violations = Now.AccessViolations;
    out->collided_faults = Now.CollidedFaults;
    out->in_page_errors = Now.InPageErrors;
    out->pages_read = Now.PagesRead;
    out->page_reads = Now.PageReads;
    out->pages_written = Now.PagesWritten;
    out->page_writes = Now.PageWrites;
    out->write_errors = Now.WriteErrors;
    out->trimmed_pages = Now.TrimmedPages;
    out->aged_pages = Now.AgedPages;
    out->repurposed_pages = Now.RepurposedPages;
    out->zeroed_by_thread = Now.ZeroedByThread;
    out->waits_for_pages = Now.PageWaits;
    out->checked_raises = __atomic_load_n(&KiTrims.Requests, __ATOMIC_RELAXED);
    out->irql_trims = __atomic_load_n(&KiTrims.Trims, __ATOMIC_RELAXED);
    out->irql_trimmed_pages = __atomic_load_n(&KiTrims.Pages, __ATOMIC_RELAXED);
    out->conditions = MmQueryConditions();
    return 0;
}

int ntmm_sample_memory(unsigned milliseconds)
{
    if (!ntmm_running())
        return HostFail("the system does not run");
    KiCurrentThread();
    if (milliseconds)
        MmStartSampling(milliseconds * 1000000ull);
    else
        MmStopSampling();
    return 0;
}

size_t ntmm_memory_samples(ntmm_memory_sample *samples, size_t max, uint64_t *nanoseconds)
{
    ULONG64 Interval = 0;
    size_t Count = 0;
    if (ntmm_running())
        Count = MmReadSamples((MM_SAMPLE *)samples, (ULONG)(max < MM_SAMPLES ? max : MM_SAMPLES), &Interval);
    if (nanoseconds)
        *nanoseconds = Interval;
    return Count;
}

int ntmm_page_out(bool everything)
{
    if (!ntmm_running())
        return HostFail("the system does not run");
    KiCurrentThread();
    MmEmptyAllWorkingSets(everything);
    return 0;
}
