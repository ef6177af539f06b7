/*
 * bench_mdl.c - what MDLs cost over what the host makes them cost. SPDX-License-Identifier: MIT
 *
 * For buffers of 4 KiB, 64 KiB and 1 MiB, interleaved in one run, medians of batches:
 *   floor      the host maps as many pages of a memory file at a second address, and unmaps them: the least that a process
 *              can do to see the same memory twice
 *   mdl        MmProbeAndLockPages, MmMapLockedPagesSpecifyCache, a touch, MmUnlockPages (which unmaps): the same for a driver
 *   lock       MmProbeAndLockPages and MmUnlockPages alone: no host call
 *   reserved   the same as mdl into a reserved mapping
 * and a scatter/gather list of 1 MiB made and put (sg).
 * The ratios to floor are what counts.
 *
 *   bench_mdl [--smoke] [--json FILE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <ntddk.h>
#include <ntmm.h>

#define SIZES 3
static const ULONG Bytes[SIZES] = {4096, 65536, 1048576};
enum { FLOOR, MDL_ALL, LOCK, RESERVED, ROWS };
static const char *const Names[ROWS] = {"floor", "mdl", "lock", "reserved"};
static double *Samples[SIZES][ROWS], *Lists;
static char *Second; /* where the floor maps: a place the host chose */
static int File;

static double Now(void)
{
    struct timespec T;
    clock_gettime(CLOCK_MONOTONIC, &T);
    return (double)T.tv_sec * 1e9 + (double)T.tv_nsec;
}
static int Compare(const void *One, const void *Two)
{
    double A = *(const double *)One, B = *(const double *)Two;
    return A < B ? -1 : A > B;
}
static double Floor(ULONG Length, ULONG Batch)
{
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        if (mmap(Second, Length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE | MAP_NORESERVE, File, 0) ==
            MAP_FAILED) {
            abort();
        }
        *(volatile char *)Second = 1;
        munmap(Second, Length);
    }
    return (Now() - Begin) / Batch;
}
static double Whole(PMDL Mdl, ULONG Batch)
{
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
        volatile char *Va =
            MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority | MdlMappingNoExecute);
        if (!Va) {
            abort();
        }
        *Va = 1;
        MmUnlockPages(Mdl);
    }
    return (Now() - Begin) / Batch;
}
static double Lock(PMDL Mdl, ULONG Batch)
{
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
        MmUnlockPages(Mdl);
    }
    return (Now() - Begin) / Batch;
}
static double Reserved(PMDL Mdl, PVOID Place, ULONG Batch)
{
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
        *(volatile char *)MmMapLockedPagesWithReservedMapping(Place, 1, Mdl, MmCached) = 1;
        MmUnmapReservedMapping(Place, 1, Mdl);
        MmUnlockPages(Mdl);
    }
    return (Now() - Begin) / Batch;
}
static PSCATTER_GATHER_LIST Given;
static VOID OnList(PDEVICE_OBJECT Device, PIRP Irp, PSCATTER_GATHER_LIST List, PVOID Context)
{
    (void)Device;
    (void)Irp;
    (void)Context;
    Given = List;
}
static double ScatterGather(PDMA_ADAPTER Adapter, PMDL Mdl, ULONG Length, ULONG Batch)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        (void)Adapter->DmaOperations->GetScatterGatherList(Adapter, NULL, Mdl, MmGetMdlVirtualAddress(Mdl), Length, OnList,
                                                           NULL, TRUE);
        Adapter->DmaOperations->PutScatterGatherList(Adapter, Given, TRUE);
    }
    double End = Now();
    KeLowerIrql(Old);
    return (End - Begin) / Batch;
}

int main(int Count, char **Arguments)
{
    ULONG Rounds = 60, Registers;
    const char *Json = NULL;
    for (int i = 1; i < Count; i++) {
        if (!strcmp(Arguments[i], "--smoke")) {
            Rounds = 3;
        } else if (!strcmp(Arguments[i], "--json") && i + 1 < Count) {
            Json = Arguments[++i];
        }
    }
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 128u << 20;
    if (ntmm_start(&Options)) {
        fprintf(stderr, "bench_mdl: %s\n", ntmm_error());
        return 1;
    }
    PMDL Mdls[SIZES];
    PVOID Places[SIZES];
    Second = mmap(NULL, 2u << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (Second == MAP_FAILED) {
        abort();
    }
    munmap(Second, 2u << 20); /* nobody else maps anything while the floor runs */
    File = memfd_create("floor", 0);
    if (ftruncate(File, 1048576)) {
        return 1;
    }
    char *Warm = mmap(NULL, 1048576, PROT_READ | PROT_WRITE, MAP_SHARED, File, 0);
    memset(Warm, 1, 1048576); /* as the buffers below: mapped once, and touched */
    for (int s = 0; s < SIZES; s++) {
        PVOID Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes[s], 'hcnB');
        memset(Buffer, 1, Bytes[s]);
        Mdls[s] = IoAllocateMdl(Buffer, Bytes[s], FALSE, FALSE, NULL);
        Places[s] = MmAllocateMappingAddress(Bytes[s], 1);
        for (int r = 0; r < ROWS; r++) {
            Samples[s][r] = calloc(Rounds, sizeof(double));
        }
    }
    Lists = calloc(Rounds, sizeof(double));
    DEVICE_DESCRIPTION Description = {
        .Version = 2, .Master = TRUE, .ScatterGather = TRUE, .Dma64BitAddresses = TRUE, .MaximumLength = 1048576};
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(NULL, &Description, &Registers);
    for (ULONG i = 0; i < Rounds; i++) {
        for (int s = 0; s < SIZES; s++) {
            ULONG Batch = s == 2 ? 8 : 32;
            Samples[s][FLOOR][i] = Floor(Bytes[s], Batch);
            Samples[s][MDL_ALL][i] = Whole(Mdls[s], Batch);
            Samples[s][LOCK][i] = Lock(Mdls[s], Batch);
            Samples[s][RESERVED][i] = Reserved(Mdls[s], Places[s], Batch);
        }
        MmProbeAndLockPages(Mdls[2], KernelMode, IoReadAccess);
        Lists[i] = ScatterGather(Adapter, Mdls[2], Bytes[2], 32);
        MmUnlockPages(Mdls[2]);
    }
    FILE *Out = Json ? fopen(Json, "w") : NULL;
    printf("%-10s %9s %10s %10s %8s\n", "mdl", "bytes", "median ns", "best ns", "x floor");
    for (int s = 0; s < SIZES; s++) {
        for (int r = 0; r < ROWS; r++) {
            qsort(Samples[s][r], Rounds, sizeof(double), Compare);
            double Median = Samples[s][r][Rounds / 2], Ratio = Median / Samples[s][FLOOR][Rounds / 2];
            printf("%-10s %9u %10.0f %10.0f %8.2f\n", Names[r], Bytes[s], Median, Samples[s][r][0], Ratio);
            if (Out) {
                fprintf(Out, "%s\"%s-%u\": {\"median_ns\": %.0f, \"best_ns\": %.0f, \"ratio_to_floor\": %.3f}",
                        s + r ? ", " : "{", Names[r], Bytes[s], Median, Samples[s][r][0], Ratio);
            }
        }
    }
    qsort(Lists, Rounds, sizeof(double), Compare);
    printf("%-10s %9u %10.0f %10.0f\n", "sg", Bytes[2], Lists[Rounds / 2], Lists[0]);
    if (Out) {
        fprintf(Out, ", \"sg-%u\": {\"median_ns\": %.0f, \"best_ns\": %.0f}}\n", Bytes[2], Lists[Rounds / 2], Lists[0]);
        fclose(Out);
    }
    Adapter->DmaOperations->PutDmaAdapter(Adapter);
    for (int s = 0; s < SIZES; s++) {
        MmFreeMappingAddress(Places[s], 1);
        ExFreePool(MmGetMdlVirtualAddress(Mdls[s]));
        IoFreeMdl(Mdls[s]);
    }
    return ntmm_stop();
}
