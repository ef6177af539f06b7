/*
 * bench_fault.c - what a page fault costs over what the host makes it cost. SPDX-License-Identifier: MIT
 *
 * Rows, interleaved in one run, medians of batches:
 *   floor        a SIGSEGV whose handler maps one page of a memory file: the least that any process can do
 *   demand-zero  the same touch on the machine: signal, walk, page-fault upcall that fills in the entry,
 * walk, fill tlb-miss     the entry is there already: signal, walk, fill tlb-evict    the same with the TLB
 * full: one translation is dropped for each that comes run-of-16    pages whose frames are contiguous and
 * were used before: one fault for 16, cost of a page Frames are scattered (but in the last row) and were all
 * touched before, so that the host's own first touch is not measured. The ratios to floor are what counts:
 * the machine it runs on has its own price for a signal.
 *
 *   bench_fault [--smoke] [--json FILE]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <ntdef.h>
#include <ntstatus.h>
#include "hal/hal.h"

#define BATCH    32u /* short, so that few batches hold a switch to another process */
#define FRAMES   8192u
#define TABLES   1u
#define DATA     4096u
#define RESIDENT (0x1ull | 0x2 | 0x20 | 0x40) /* present, writable, accessed, dirty */

enum { FLOOR, DEMAND, MISS, EVICT, RUN, ROWS };
static const char *const Names[ROWS] = {"floor", "demand-zero", "tlb-miss", "tlb-evict", "run-of-16"};
static double *Samples[ROWS];
static PFN_NUMBER NextTable = TABLES, Root;
static ULONG64 NextFrame;
static int FloorFile;
static char *FloorBase;
/* The kernel's own form: the machine keeps sigaction() from changing the processor's signals. */
struct kernel_action {
    void (*Handler)(int, siginfo_t *, void *);
    unsigned long Flags;
    void (*Restorer)(void);
    unsigned long Mask;
};
static struct kernel_action Machine;

static ULONG64 Now(void)
{
    struct timespec T;
    clock_gettime(CLOCK_MONOTONIC, &T);
    return (ULONG64)T.tv_sec * 1000000000u + (ULONG64)T.tv_nsec;
}
static PFN_NUMBER Scattered(void)
{
    return (NextFrame++ * 2654435761u) % FRAMES;
}
static volatile ULONG64 *Pte(ULONG_PTR Va)
{
    PFN_NUMBER Table = Root;
    for (ULONG Level = 4; Level > 1; Level--) {
        ULONG64 *Entry = (ULONG64 *)HalWindow(Table) + ((Va >> (12 + 9 * (Level - 1))) & 511);
        if (!(*Entry & 1)) {
            *Entry = (NextTable++ << 12) | RESIDENT;
        }
        Table = (*Entry >> 12) & 0xFFFFFFFFFFull;
    }
    return (volatile ULONG64 *)HalWindow(Table) + ((Va >> 12) & 511);
}
static VOID PageFault(HAL_TRAP_FRAME *Frame)
{
    *Pte(Frame->FaultAddress) = ((DATA + Scattered()) << 12) | RESIDENT;
}
static VOID Trap(HAL_TRAP_FRAME *Frame)
{
    fprintf(stderr, "trap %llu\n", Frame->Vector);
    abort();
}
static void OnFloor(int Signal, siginfo_t *Info, void *Context)
{
    (void)Signal;
    (void)Context;
    char *Va = (char *)((ULONG_PTR)Info->si_addr & ~0xFFFull);
    syscall(SYS_mmap, Va, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, FloorFile,
            (off_t)(Scattered() << 12));
}

static double Touch(volatile char *Base)
{
    ULONG64 Begin = Now();
    for (ULONG i = 0; i < BATCH; i++) {
        Base[i * 4096u] = 1;
    }
    return (double)(Now() - Begin) / BATCH;
}
static double Floor(void)
{
    syscall(SYS_rt_sigaction, SIGSEGV, NULL, &Machine, 8);
    struct kernel_action Mine = Machine;
    Mine.Handler = OnFloor;
    syscall(SYS_rt_sigaction, SIGSEGV, &Mine, NULL, 8);
    double Cost = Touch(FloorBase);
    syscall(SYS_rt_sigaction, SIGSEGV, &Machine, NULL, 8);
    munmap(FloorBase, BATCH * 4096u);
    return Cost;
}
static double Demand(char *Base)
{
    double Cost = Touch(Base);
    for (ULONG i = 0; i < BATCH; i++) {
        *Pte((ULONG_PTR)Base + i * 4096u) = 0;
    }
    HalFlushTb(Base, BATCH);
    return Cost;
}
static double Miss(char *Base, BOOLEAN Contiguous)
{
    PFN_NUMBER First = Scattered() & ~15ull;
    for (ULONG i = 0; i < BATCH; i++) {
        *Pte((ULONG_PTR)Base + i * 4096u) = ((DATA + (Contiguous ? (First + i) % FRAMES : Scattered())) << 12) | RESIDENT;
    }
    HalFlushTb(Base, BATCH);
    double Cost = Touch(Base);
    HalFlushTb(Base, BATCH);
    return Cost;
}
static double Evict(char *Base, ULONG Entries)
{
    static ULONG64 At;
    ULONG64 Pages = Entries * 2ull, Begin;
    if (At == 0) {
        for (ULONG64 i = 0; i < Pages; i++) {
            *Pte((ULONG_PTR)Base + i * 4096) = ((DATA + Scattered()) << 12) | RESIDENT;
        }
        for (ULONG64 i = 0; i < Pages; i++) {
            ((volatile char *)Base)[i * 4096] = 1;
        }
    }
    Begin = Now();
    for (ULONG i = 0; i < BATCH; i++) {
        ((volatile char *)Base)[(At++ % Pages) * 4096] = 1;
    }
    return (double)(Now() - Begin) / BATCH;
}
static int Compare(const void *A, const void *B)
{
    double X = *(const double *)A, Y = *(const double *)B;
    return X < Y ? -1 : X > Y;
}

int main(int Count, char **Arguments)
{
    ULONG Rounds = 1500;
    const char *Json = NULL;
    for (int i = 1; i < Count; i++) {
        if (!strcmp(Arguments[i], "--smoke")) {
            Rounds = 40;
        } else if (!strcmp(Arguments[i], "--json") && i + 1 < Count) {
            Json = Arguments[++i];
        } else {
            fprintf(stderr, "bench_fault: %s is not one of --smoke, --json FILE\n", Arguments[i]);
            return 2;
        }
    }
    HAL_RUN Runs[] = {{TABLES, DATA - TABLES, FALSE}, {DATA, FRAMES + 16, FALSE}};
    HAL_MACHINE Built = {.Version = HAL_VERSION,
                         .Runs = Runs,
                         .RunCount = 2,
                         .SystemBytes = 64ull << 30,
                         .UserBytes = 1ull << 30,
                         .TlbEntries = 4096,
                         .Upcalls = {.PageFault = PageFault, .Trap = Trap}};
    static int Slot;
    ULONG64 Begin = Now();
    if (HalStartMachine(&Built) != STATUS_SUCCESS || HalSetCurrentThread(&Slot) != STATUS_SUCCESS) {
        fprintf(stderr, "bench_fault: the machine does not start\n");
        return 1;
    }
    ULONG64 Start = Now() - Begin;
    Root = NextTable++;
    HalSetRootTable(Root);
    HalZeroPages(DATA, FRAMES + 16); /* backs every frame */
    FloorFile = memfd_create("floor", 0);
    FloorBase = (char *)0x500000000000;
    if (ftruncate(FloorFile, FRAMES * 4096) != 0) {
        return 1;
    }
    char *Warm = (char *)mmap(NULL, FRAMES * 4096u, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, FloorFile, 0);
    memset(Warm, 0, FRAMES * 4096u);
    munmap(Warm, FRAMES * 4096u);
    for (ULONG r = 0; r < ROWS; r++) {
        Samples[r] = (double *)calloc(Rounds, sizeof(double));
    }
    char *System = (char *)HalFacts.SystemBase;
    for (ULONG i = 0; i < Rounds; i++) {
        Samples[FLOOR][i] = Floor();
        Samples[DEMAND][i] = Demand(System);
        Samples[MISS][i] = Miss(System + (1u << 24), FALSE);
        Samples[RUN][i] = Miss(System + (2u << 24), TRUE);
    }
    for (ULONG i = 0; i < Rounds; i++) {
        Samples[EVICT][i] = Evict(System + (3u << 24), HalFacts.TlbEntries);
    }
    FILE *Out = Json ? fopen(Json, "w") : NULL;
    printf("%-12s %10s %10s %8s\n", "fault", "median ns", "best ns", "x floor");
    for (ULONG r = 0; r < ROWS; r++) {
        qsort(Samples[r], Rounds, sizeof(double), Compare);
        double Median = Samples[r][Rounds / 2], Ratio = Median / Samples[FLOOR][Rounds / 2];
        printf("%-12s %10.0f %10.0f %8.2f\n", Names[r], Median, Samples[r][0], Ratio);
        if (Out) {
            fprintf(Out, "%s\"%s\": {\"median_ns\": %.0f, \"best_ns\": %.0f, \"ratio_to_floor\": %.3f}", r ? ", " : "{",
                    Names[r], Median, Samples[r][0], Ratio);
        }
    }
    printf("%-12s %10.0f\n", "start", (double)Start);
    if (Out) {
        fprintf(Out, ", \"start\": {\"ns\": %.0f}}\n", (double)Start);
        fclose(Out);
    }
    HalStopMachine();
    return 0;
}
