/*
 * bench_special.c - what a block of special pool costs, beside what the host itself charges to unprotect and protect a page.
 * SPDX-License-Identifier: MIT
 *
 *   bench_special [--json FILE] [--smoke]
 *
 * Rows, interleaved in one run, medians of 1,001 batches of 64, nanoseconds (short batches: few are interrupted):
 *   host          mprotect(read and write), the first touch, mprotect(none), on every second page of a mapped memfd
 *   special       a pair of allocation and free with verifier=special_pool, one byte written
 *   host, 64      64 pages unprotected and touched, then all protected
 *   special, 64   64 allocations, then 64 frees
 *   ordinary      the same pair without it
 * The aim: special at most 1.5 times host, each way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <ntddk.h>
#include <ntmm.h>
#include "ke/ki.h"
#include "vf/vf.h"

#define TAG   'cepS'
#define PAGES 8192u
#define ROWS  5
static const char *const Names[ROWS] = {"host", "special", "host, 64", "special, 64", "ordinary"};
static volatile unsigned char *Host;

static double Now(void)
{
    struct timespec T;
    clock_gettime(CLOCK_MONOTONIC, &T);
    return (double)T.tv_sec * 1e9 + (double)T.tv_nsec;
}
static int Compare(const void *A, const void *B)
{
    double X = *(const double *)A, Y = *(const double *)B;
    return X < Y ? -1 : X > Y;
}

static double Batch(unsigned Row, unsigned Count)
{
    static unsigned Next;
    void *Blocks[64];
    double Begin;
    if ((Row == 0 || Row == 2) && Next % (PAGES / 2) + Count > PAGES / 2) { /* the next time round is a first touch again */
        Next = 0;
        madvise((void *)Host, (SIZE_T)PAGES * 4096, MADV_DONTNEED);
    }
    VfSetFlags(Row == 1 || Row == 3 ? VF_SPECIAL_POOL : 0);
    Begin = Now();
    for (unsigned Index = 0; Index < Count; Index++) {
        if (Row == 0) {
            volatile unsigned char *Page = Host + (SIZE_T)(Next++ % (PAGES / 2) * 2) * 4096;
            if (mprotect((void *)Page, 4096, PROT_READ | PROT_WRITE) != 0)
                return 0;
            *Page = 1;
            mprotect((void *)Page, 4096, PROT_NONE);
        } else if (Row == 2) {
            unsigned From = Next;
            for (; Next < From + 64; Next++) {
                volatile unsigned char *Page = Host + (SIZE_T)(Next % (PAGES / 2) * 2) * 4096;
                if (mprotect((void *)Page, 4096, PROT_READ | PROT_WRITE) != 0)
                    return 0;
                *Page = 1;
            }
            for (; From < Next; From++)
                mprotect((void *)(Host + (SIZE_T)(From % (PAGES / 2) * 2) * 4096), 4096, PROT_NONE);
            Index += 63;
        } else if (Row == 3) {
            for (unsigned Each = 0; Each < 64; Each++) {
                Blocks[Each] = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 64, TAG);
                *(volatile char *)Blocks[Each] = 1;
            }
            for (unsigned Each = 0; Each < 64; Each++)
                ExFreePoolWithTag(Blocks[Each], TAG);
            Index += 63;
        } else {
            void *Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 64, TAG);
            *(volatile char *)Block = 1;
            ExFreePoolWithTag(Block, TAG);
        }
    }
    return (Now() - Begin) / Count;
}

int main(int Argc, char **Argv)
{
    static double Times[ROWS][1001];
    unsigned Rounds = 1001, Count = 64;
    const char *Json = NULL;
    ntmm_options Options;
    for (int Index = 1; Index < Argc; Index++) {
        if (!strcmp(Argv[Index], "--smoke")) {
            Rounds = 101;
            Count = 64;
        } else if (!strcmp(Argv[Index], "--json") && Index + 1 < Argc) {
            Json = Argv[++Index];
        } else {
            fprintf(stderr, "bench_special: '%s' is no option; bench_special [--json FILE] [--smoke]\n", Argv[Index]);
            return 2;
        }
    }
    int File = memfd_create("bench", 0);
    if (File < 0 || ftruncate(File, (off_t)PAGES * 4096) != 0) {
        perror("bench_special: a file in memory");
        return 2;
    }
    volatile unsigned char *Touch = mmap(NULL, (SIZE_T)PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, File, 0);
    Host = mmap(NULL, (SIZE_T)PAGES * 4096, PROT_NONE, MAP_SHARED | MAP_NORESERVE, File, 0);
    if (Touch == MAP_FAILED || Host == MAP_FAILED) {
        perror("bench_special: mmap");
        return 2;
    }
    for (unsigned Page = 0; Page < PAGES; Page++)
        Touch[(SIZE_T)Page * 4096] = 1;
    ntmm_default_options(&Options);
    Options.ram = 256u << 20;
    Options.special_pool_sample = 0;
    if (ntmm_start(&Options) != 0) {
        fprintf(stderr, "bench_special: %s\n", ntmm_error());
        return 2;
    }
    for (unsigned Round = 0; Round <= Rounds; Round++)
        for (unsigned Row = 0; Row < ROWS; Row++)
            Times[Row][Round != 0 ? Round - 1 : 0] = Batch(Row, Count); /* the first one warms up */
    printf("%-14s %10s %10s\n", "ns a pair", "median", "of host");
    for (unsigned Row = 0; Row < ROWS; Row++) {
        qsort(Times[Row], Rounds, sizeof(double), Compare);
        printf("%-14s %10.0f %10.2f   (%.0f to %.0f)\n", Names[Row], Times[Row][Rounds / 2],
               Times[Row][Rounds / 2] / Times[Row == 2 || Row == 3 ? 2 : 0][Rounds / 2], Times[Row][Rounds / 4],
               Times[Row][Rounds - 1 - Rounds / 4]);
    }
    if (Json != NULL) {
        FILE *Out = fopen(Json, "w");
        if (Out == NULL) {
            perror(Json);
            return 2;
        }
        fprintf(Out, "{\"bench\":\"special\",\"unit\":\"ns per pair\",\"rows\":{");
        for (unsigned Row = 0; Row < ROWS; Row++)
            fprintf(Out, "%s\"%s\":{\"median\":%.1f,\"low\":%.1f,\"high\":%.1f}", Row ? "," : "", Names[Row],
                    Times[Row][Rounds / 2], Times[Row][Rounds / 4], Times[Row][Rounds - 1 - Rounds / 4]);
        fprintf(Out, "},\"special_over_host\":%.3f,\"special_64_over_host\":%.3f}\n",
                Times[1][Rounds / 2] / Times[0][Rounds / 2], Times[3][Rounds / 2] / Times[2][Rounds / 2]);
        fclose(Out);
    }
    return ntmm_stop() == 0 ? 0 : 1;
}
