/*
 * series.c - memory over time: samples taken by a timer, in a ring that thins itself. SPDX-License-Identifier: MIT
 *
 * MmStartSampling takes one MM_SAMPLE and sets a timer, whose DPC takes one each time. There is room for MM_SAMPLES. When it is used up every second
 * sample goes and the interval doubles, so that a series covers the whole time since the start, however long, with at least half of
 * the room used and equal distances; a run of a second is seen by tens of milliseconds, one of an hour by tens of seconds.
 *
 *     interval i     | s0 | s1 | s2 | s3 | s4 | s5 | ... | s255 |     full
 *     interval 2i    | s0 | s2 | s4 | ...      | s254 |              half, goes on
 *
 * A sample costs a microsecond at DISPATCH_LEVEL. Nothing is sampled until somebody asks.
 *
 * Invariants:
 *   S1  Samples are in the order of time; all but the last asked for by a reader lie on multiples of the interval, as near as the
 *       timer is on time.
 *   S2  Counters of events never fall from one sample to the next.
 *
 * Locks: MI_SERIES.Lock around the ring, a leaf (the sample is taken before it). Watch: ntmm_memory_samples, `ntmm run`;
 * tests/unit/series_test.c.
 */
#include "mm/mi.h"

typedef struct _MI_SERIES {
    KI_LOCK Lock;
    BOOLEAN Running;
    ULONG Count;      /* (Lock) */
    ULONG64 Start;    /* HalQueryTime of the first */
    ULONG64 Interval; /* (Lock) ns */
    ULONG64 Due;      /* (Lock) when the next is to be taken, since Start */
    MM_SAMPLE Samples[MM_SAMPLES];
    KTIMER Timer;
    KDPC Dpc;
} MI_SERIES;
static MI_SERIES MiSeries;

ULONG64 MiProcessWorkingSetPages(VOID)
{
    ULONG64 Pages = 0;
    KiAcquireLock(&MiState->Pager.WorkingSetLock);
    for (PLIST_ENTRY Link = MiState->Pager.WorkingSets.Flink; Link && Link != &MiState->Pager.WorkingSets; Link = Link->Flink) {
        const MMSUPPORT *Support = CONTAINING_RECORD(Link, MMSUPPORT, Links);
        Pages += Support->User ? __atomic_load_n(&Support->Pages, __ATOMIC_RELAXED) : 0;
    }
    KiReleaseLock(&MiState->Pager.WorkingSetLock);
    return Pages;
}

VOID MmTakeSample(MM_SAMPLE *Sample)
{
    MM_COUNTERS Counters;
    MmQueryCounters(&Counters);
    memset(Sample, 0, sizeof(*Sample));
    Sample->Time = HalQueryTime() - MiSeries.Start;
    Sample->Zeroed = Counters.ZeroedPages;
    Sample->Free = Counters.FreePages;
    Sample->Standby = Counters.StandbyPages;
    Sample->Modified = Counters.ModifiedPages;
    Sample->Active = Counters.ActivePages;
    Sample->Committed = Counters.Committed;
    Sample->CommitLimit = Counters.CommitLimit;
    Sample->NonPagedPool = __atomic_load_n(&MiState->Regions[MmRegionNonPagedPool].PagesInUse, __ATOMIC_RELAXED);
    Sample->PagedPool = __atomic_load_n(&MiState->Regions[MmRegionPagedPool].PagesInUse, __ATOMIC_RELAXED);
    Sample->SystemWorkingSet = Counters.SystemWorkingSetPages;
    Sample->ProcessWorkingSets = Counters.ProcessWorkingSetPages;
    Sample->Locked = Counters.LockedFrames;
    Sample->DemandZeroFaults = Counters.DemandZeroFaults;
    Sample->SoftFaults = Counters.SoftFaults;
    Sample->HardFaults = Counters.HardFaults;
    Sample->PagesRead = Counters.PagesRead;
    Sample->PagesWritten = Counters.PagesWritten;
}

/* Makes room. Lock held. */
static VOID MiThin(VOID)
{
    for (ULONG Index = 0; 2 * Index < MiSeries.Count; Index++) {
        MiSeries.Samples[Index] = MiSeries.Samples[2 * Index];
    }
    MiSeries.Count = (MiSeries.Count + 1) / 2;
    MiSeries.Interval *= 2;
}

VOID MiRecordSample(const MM_SAMPLE *Sample)
{
    KiAcquireLock(&MiSeries.Lock);
    if (MiSeries.Running && Sample->Time >= MiSeries.Due &&
        (MiSeries.Count == 0 || Sample->Time >= MiSeries.Samples[MiSeries.Count - 1].Time)) {
        if (MiSeries.Count == MM_SAMPLES) {
            MiThin();
        }
        /* After thinning the sample at hand may fall between two intervals: then the next one is due. */
        if (MiSeries.Count == 0 || Sample->Time + MiSeries.Interval / 2 >= MiSeries.Count * MiSeries.Interval) {
            MiSeries.Samples[MiSeries.Count++] = *Sample;
        }
        MiSeries.Due = (Sample->Time / MiSeries.Interval + 1) * MiSeries.Interval;
    }
    KiReleaseLock(&MiSeries.Lock);
}

static VOID MiSampleDpc(PKDPC Dpc, PVOID Context, PVOID A, PVOID B)
{
    MM_SAMPLE Sample;
    LARGE_INTEGER Next;
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(A);
    UNREFERENCED_PARAMETER(B);
    MmTakeSample(&Sample);
    MiRecordSample(&Sample);
    KiAcquireLock(&MiSeries.Lock);
    BOOLEAN Running = MiSeries.Running;
    ULONG64 Now = HalQueryTime() - MiSeries.Start;
    Next.QuadPart = MiSeries.Due > Now ? -(LONGLONG)((MiSeries.Due - Now) / 100 + 1) : -1;
    KiReleaseLock(&MiSeries.Lock);
    if (Running) {
        (VOID) KeSetTimer(&MiSeries.Timer, Next, &MiSeries.Dpc);
    }
}

VOID MmStartSampling(ULONG64 Interval)
{
    MmStopSampling();
    Interval = Interval < 100000 ? 100000 : Interval;
    KiAcquireLock(&MiSeries.Lock);
    MiSeries.Start = HalQueryTime();
    MiSeries.Interval = Interval;
    MiSeries.Count = 0;
    MiSeries.Due = 0;
    MiSeries.Running = TRUE;
    KiReleaseLock(&MiSeries.Lock);
    KeInitializeTimer(&MiSeries.Timer);
    KeInitializeDpc(&MiSeries.Dpc, MiSampleDpc, NULL);
    MM_SAMPLE First; /* here, so that every series has it, however late the timer's DPC comes */
    MmTakeSample(&First);
    MiRecordSample(&First);
    LARGE_INTEGER Next = {.QuadPart = -(LONGLONG)(Interval / 100)};
    (VOID) KeSetTimer(&MiSeries.Timer, Next, &MiSeries.Dpc);
}

VOID MmStopSampling(VOID)
{
    KiAcquireLock(&MiSeries.Lock);
    BOOLEAN Was = MiSeries.Running;
    MiSeries.Running = FALSE;
    KiReleaseLock(&MiSeries.Lock);
    while (Was && KeCancelTimer(&MiSeries.Timer)) {
    }
    if (Was) {
        KeFlushQueuedDpcs();
        (VOID) KeCancelTimer(&MiSeries.Timer); /* one that was being set meanwhile */
        KeFlushQueuedDpcs();
    }
}

ULONG MmReadSamples(MM_SAMPLE *Samples, ULONG Max, ULONG64 *Interval)
{
    KiAcquireLock(&MiSeries.Lock);
    ULONG Count = MiSeries.Count < Max ? MiSeries.Count : Max;
    memcpy(Samples, MiSeries.Samples, Count * sizeof(*Samples));
    *Interval = MiSeries.Interval;
    KiReleaseLock(&MiSeries.Lock);
    return Count;
}
