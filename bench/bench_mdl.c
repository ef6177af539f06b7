/*
 * bench_mdl.c - what MDLs cost over what the host makes them cost. SPDX-License-Identifier: MIT
 *
 * For buffers of 4 KiB, 64 KiB and 1 MiB, interleaved in one run, medians of batches:
 *   floor      the host maps as many pages of a memory file at a second address, and unmaps them: the least that a process
 *              can do to see the same memory twice
 *   mdl        MmProbeAndLockPages, MmMapLockedPagesSpecifyCache, a touch, MmUnlockPages (which unmaps): the same for a driver
 *   lock       MmProbeAndLockPages and MmUnlockPages alone: no host call
 *   reserved   the same as mdl into a reserved mapping
 *   sfloor     the host maps as many pages one by one, in an order in which no two neighbours of the file follow each other, touches
 *              each, and unmaps all at once
 *   scattered  mdl over pageable memory whose frames do not follow each other, with a touch of each page
 * and a scatter/gather list of 1 MiB made and put: of one run (sg), and of 256 (sg-scattered).
 * The ratios to floor (of scattered: to sfloor) are what counts.
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

#define SIZES   3
#define LARGEST 1048576u
static const ULONG Bytes[SIZES] = {4096, 65536, LARGEST};
enum { FLOOR, MDL_ALL, LOCK, RESERVED, SFLOOR, SCATTERED, ROWS };
static const char *const Names[ROWS] = {"floor", "mdl", "lock", "reserved", "sfloor", "scattered"};
enum { ONE_RUN, MANY_RUNS, LISTS };
static const char *const ListNames[LISTS] = {"sg", "sg-scattered"};
static double *Samples[SIZES][ROWS], *Lists[LISTS];
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
/* The page of the file, or the frame, that page Index of a scattered buffer of a power of two of pages has: its bits reversed. */
static ULONG Scatter(ULONG Index, ULONG Pages)
{
    ULONG Place = 0;
    for (ULONG Bit = 1; Bit < Pages; Bit <<= 1) {
        Place = Place << 1 | ((Index & Bit) != 0);
    }
    return Place;
}
static double ScatteredFloor(ULONG Length, ULONG Batch)
{
    ULONG Pages = Length >> PAGE_SHIFT;
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        for (ULONG Page = 0; Page < Pages; Page++) {
            char *Va = Second + ((size_t)Page << PAGE_SHIFT);
            if (mmap(Va, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE | MAP_NORESERVE, File,
                     (off_t)Scatter(Page, Pages) << PAGE_SHIFT) == MAP_FAILED) {
                abort();
            }
            *(volatile char *)Va = 1;
        }
        munmap(Second, Length);
    }
    return (Now() - Begin) / Batch;
}
/* Addresses that the host gives to nobody who does not ask for them, a sanitizer's runtime among them: far below all others. */
static char *FindPlace(void)
{
    static const ULONG64 Wishes[] = {0x300000000000, 0x4000000000, 0x3000000000};
    for (ULONG Index = 0; Index < ARRAYSIZE(Wishes); Index++) {
        char *Wish = (char *)(ULONG_PTR)Wishes[Index];
        char *Place = mmap(Wish, 2u << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (Place != MAP_FAILED) {
            munmap(Place, 2u << 20);
        }
        if (Place == Wish) {
            return Place;
        }
    }
    fprintf(stderr, "bench_mdl: no free addresses for the floor\n");
    exit(1);
}
static PMDL ScatteredMdl(ULONG Length)
{
    ULONG Pages = Length >> PAGE_SHIFT;
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, Length, 'hcnB');
    PMDL Mdl = IoAllocateMdl(Buffer, Length, FALSE, FALSE, NULL);
    for (ULONG Page = 0; Page < Pages; Page++) {
        Buffer[(SIZE_T)Scatter(Page, Pages) << PAGE_SHIFT] = 1; /* frames are handed out in order */
    }
    MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
    for (ULONG Page = 1; Page < Pages; Page++) {
        if (MmGetMdlPfnArray(Mdl)[Page] == MmGetMdlPfnArray(Mdl)[Page - 1] + 1) {
            fprintf(stderr, "bench_mdl: two frames of a scattered buffer follow each other\n");
        }
    }
    MmUnlockPages(Mdl);
    return Mdl;
}
/* Locked, mapped, a byte written in every Step of the buffer, unlocked. */
static double Whole(PMDL Mdl, ULONG Step, ULONG Batch)
{
    ULONG Length = MmGetMdlByteCount(Mdl);
    double Begin = Now();
    for (ULONG i = 0; i < Batch; i++) {
        MmProbeAndLockPages(Mdl, KernelMode, IoModifyAccess);
        volatile char *Va =
            MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority | MdlMappingNoExecute);
        if (!Va) {
            abort();
        }
        for (ULONG At = 0; At < Length; At += Step) {
            Va[At] = 1;
        }
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
    Options.special_pool_sample = 0; /* a sample's frames follow each other */
    if (ntmm_start(&Options)) {
        fprintf(stderr, "bench_mdl: %s\n", ntmm_error());
        return 1;
    }
    PMDL Mdls[SIZES], Scattered[SIZES];
    PVOID Places[SIZES];
    Second = FindPlace();
    File = memfd_create("floor", 0);
    if (ftruncate(File, LARGEST)) {
        return 1;
    }
    char *Warm = mmap(NULL, LARGEST, PROT_READ | PROT_WRITE, MAP_SHARED, File, 0);
    memset(Warm, 1, LARGEST); /* as the buffers below: mapped once, and touched */
    for (int s = 0; s < SIZES; s++) {
        PVOID Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes[s], 'hcnB');
        memset(Buffer, 1, Bytes[s]);
        Mdls[s] = IoAllocateMdl(Buffer, Bytes[s], FALSE, FALSE, NULL);
        Places[s] = MmAllocateMappingAddress(Bytes[s], 1);
        Scattered[s] = ScatteredMdl(Bytes[s]);
        for (int r = 0; r < ROWS; r++) {
            Samples[s][r] = calloc(Rounds, sizeof(double));
        }
    }
    for (int l = 0; l < LISTS; l++) {
        Lists[l] = calloc(Rounds, sizeof(double));
    }
    DEVICE_DESCRIPTION Description = {
        .Version = 2, .Master = TRUE, .ScatterGather = TRUE, .Dma64BitAddresses = TRUE, .MaximumLength = LARGEST};
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(NULL, &Description, &Registers);
    for (ULONG i = 0; i < Rounds; i++) {
        for (int s = 0; s < SIZES; s++) {
            ULONG Batch = s == 2 ? 8 : 32;
            Samples[s][FLOOR][i] = Floor(Bytes[s], Batch);
            Samples[s][MDL_ALL][i] = Whole(Mdls[s], MmGetMdlByteCount(Mdls[s]), Batch);
            Samples[s][LOCK][i] = Lock(Mdls[s], Batch);
            Samples[s][RESERVED][i] = Reserved(Mdls[s], Places[s], Batch);
            Samples[s][SFLOOR][i] = ScatteredFloor(Bytes[s], Batch);
            Samples[s][SCATTERED][i] = Whole(Scattered[s], PAGE_SIZE, Batch);
        }
        for (int l = 0; l < LISTS; l++) {
            PMDL Mdl = l == ONE_RUN ? Mdls[2] : Scattered[2];
            MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
            Lists[l][i] = ScatterGather(Adapter, Mdl, Bytes[2], 32);
            MmUnlockPages(Mdl);
        }
    }
    FILE *Out = Json ? fopen(Json, "w") : NULL;
    printf("%-10s %9s %10s %10s %8s\n", "mdl", "bytes", "median ns", "best ns", "x floor");
    for (int s = 0; s < SIZES; s++) {
        for (int r = 0; r < ROWS; r++) {
            qsort(Samples[s][r], Rounds, sizeof(double), Compare);
            double Median = Samples[s][r][Rounds / 2];
            double Ratio = Median / Samples[s][r == SCATTERED ? SFLOOR : FLOOR][Rounds / 2];
            printf("%-10s %9u %10.0f %10.0f %8.2f\n", Names[r], Bytes[s], Median, Samples[s][r][0], Ratio);
            if (Out) {
                fprintf(Out, "%s\"%s-%u\": {\"median_ns\": %.0f, \"best_ns\": %.0f, \"ratio_to_floor\": %.3f}",
                        s + r ? ", " : "{", Names[r], Bytes[s], Median, Samples[s][r][0], Ratio);
            }
        }
    }
    for (int l = 0; l < LISTS; l++) {
        qsort(Lists[l], Rounds, sizeof(double), Compare);
        printf("%-12s %7u %10.0f %10.0f\n", ListNames[l], Bytes[2], Lists[l][Rounds / 2], Lists[l][0]);
        if (Out) {
            fprintf(Out, ", \"%s-%u\": {\"median_ns\": %.0f, \"best_ns\": %.0f}", ListNames[l], Bytes[2], Lists[l][Rounds / 2],
                    Lists[l][0]);
        }
    }
    if (Out) {
        fprintf(Out, "}\n");
        fclose(Out);
    }
    Adapter->DmaOperations->PutDmaAdapter(Adapter);
    for (int s = 0; s < SIZES; s++) {
        MmFreeMappingAddress(Places[s], 1);
        ExFreePool(MmGetMdlVirtualAddress(Mdls[s]));
        IoFreeMdl(Mdls[s]);
        ExFreePool(MmGetMdlVirtualAddress(Scattered[s]));
        IoFreeMdl(Scattered[s]);
    }
    return ntmm_stop();
}
