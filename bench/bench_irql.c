/*
 * bench_irql.c - what Force IRQL checking costs a raise to DISPATCH_LEVEL. SPDX-License-Identifier: MIT
 *
 * Rows, interleaved in one run, medians of batches, nanoseconds for KeRaiseIrql + KeLowerIrql:
 *   off              the checking is off
 *   none touched     on; no pageable page was touched since the last raise (aim: at most 3,000)
 *   1, 16, 256       on; so many pages, spread out, were touched since; what touching them again costs is shown apart
 * each with 256, 4,096 and 32,768 pageable pages resident: a raise must not depend on that. And the same touches without any raise,
 * for what forced checking adds to the program as a whole.
 *
 *   bench_irql [--smoke] [--json FILE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ntddk.h>
#include <ntmm.h>
#include "ke/ki.h"
#include "mm/mm.h"

#define SIZES 3
static const ULONG Resident[SIZES] = {256, 4096, 32768};
static const ULONG Touched[] = {0, 1, 16, 256};
#define ROWS (1 + ARRAYSIZE(Touched))

static ULONG64 Now(void)
{
    struct timespec T;
    clock_gettime(CLOCK_MONOTONIC, &T);
    return (ULONG64)T.tv_sec * 1000000000u + (ULONG64)T.tv_nsec;
}
static int Compare(const void *A, const void *B)
{
    double X = *(const double *)A, Y = *(const double *)B;
    return X < Y ? -1 : X > Y;
}
static double Median(double *Samples, ULONG Count)
{
    qsort(Samples, Count, sizeof(*Samples), Compare);
    return Samples[Count / 2];
}

/* One batch: ns of a raise and lower, and ns of a touch before it. */
static void Batch(volatile UCHAR *Base, ULONG Pages, ULONG Touch, ULONG Rounds, double *Raise, double *TouchCost)
{
    ULONG64 Raising = 0, Touching = 0;
    ULONG At = 0;
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeLowerIrql(Old);
    if (Touch == 0) { /* too short for a clock around each */
        ULONG64 Begin = Now();
        for (ULONG Round = 0; Round < Rounds; Round++) {
            KeRaiseIrql(DISPATCH_LEVEL, &Old);
            KeLowerIrql(Old);
        }
        *Raise = (double)(Now() - Begin) / Rounds;
        *TouchCost = 0;
        return;
    }
    for (ULONG Round = 0; Round < Rounds; Round++) {
        ULONG64 Begin = Now();
        for (ULONG i = 0; i < Touch; i++) {
            At = (At + 97) % Pages;
            Base[(SIZE_T)At * PAGE_SIZE] = 1;
        }
        ULONG64 Middle = Now();
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        KeLowerIrql(Old);
        Raising += Now() - Middle;
        Touching += Middle - Begin;
    }
    *Raise = (double)Raising / Rounds;
    *TouchCost = (double)Touching / Rounds / Touch;
}

int main(int Argc, char **Argv)
{
    ntmm_options Options;
    FILE *Json = NULL;
    ULONG Batches = 41;
    for (int i = 1; i < Argc; i++) {
        if (strcmp(Argv[i], "--smoke") == 0) {
            Batches = 3;
        } else if (strcmp(Argv[i], "--json") == 0 && i + 1 < Argc) {
            Json = fopen(Argv[++i], "w");
        } else {
            fprintf(stderr, "usage: bench_irql [--smoke] [--json FILE]\n");
            return 2;
        }
    }
    ntmm_default_options(&Options);
    Options.ram = 512u << 20;
    if (ntmm_start(&Options) != 0) {
        fprintf(stderr, "%s\n", ntmm_error());
        return 1;
    }
    volatile UCHAR *Base = MmAllocatePages(MmRegionPagedPool, Resident[SIZES - 1], 0, HighPoolPriority);
    if (Base == NULL) {
        return 1;
    }
    double *Samples = malloc(2 * SIZES * ROWS * Batches * sizeof(double));
    double *Raise = Samples, *Cost = Samples + SIZES * ROWS * Batches;
    for (ULONG Size = 0; Size < SIZES; Size++) {
        for (ULONG Page = 0; Page < Resident[Size]; Page++) {
            Base[(SIZE_T)Page * PAGE_SIZE] = 1;
        }
        for (ULONG Round = 0; Round < Batches; Round++) {
            for (ULONG Row = 0; Row < ROWS; Row++) {
                ULONG Touch = Row ? Touched[Row - 1] : 0, At = (Size * ROWS + Row) * Batches + Round;
                KiSetForceIrqlChecking(Row != 0);
                Batch(Base, Resident[Size], Touch, Touch == 0 ? 2000 : Touch == 256 ? 4 : 32, &Raise[At], &Cost[At]);
            }
        }
    }
    KiSetForceIrqlChecking(FALSE);
    printf("%-16s %10s %14s %14s\n", "", "resident", "raise, ns", "touch, ns");
    if (Json) {
        fprintf(Json, "{\"bench\": \"irql\", \"rows\": [");
    }
    for (ULONG Row = 0; Row < ROWS; Row++) {
        char Name[32];
        if (Row == 0) {
            strcpy(Name, "off");
        } else if (Touched[Row - 1] == 0) {
            strcpy(Name, "none touched");
        } else {
            snprintf(Name, sizeof Name, "%u touched", Touched[Row - 1]);
        }
        for (ULONG Size = 0; Size < SIZES; Size++) {
            ULONG At = (Size * ROWS + Row) * Batches;
            double R = Median(Raise + At, Batches), T = Median(Cost + At, Batches);
            printf("%-16s %10u %14.0f %14.0f\n", Name, Resident[Size], R, T);
            if (Json) {
                fprintf(Json, "%s{\"name\": \"%s\", \"resident_pages\": %u, \"raise_ns\": %.1f, \"touch_ns\": %.1f}",
                        Row + Size ? ", " : "", Name, Resident[Size], R, T);
            }
        }
    }
    if (Json) {
        fprintf(Json, "]}\n");
        fclose(Json);
    }
    free(Samples);
    MmFreePages((PVOID)(ULONG_PTR)Base, Resident[SIZES - 1]);
    return ntmm_stop() == 0 ? 0 : 1;
}
