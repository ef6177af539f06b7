/*
 * bench_space.c - what changing address spaces and mapping views costs. SPDX-License-Identifier: MIT
 *
 * Rows, interleaved in one run, medians of batches, nanoseconds a round:
 *   attach             KeStackAttachProcess + KeUnstackDetachProcess, nothing of the process touched (aim: under 200)
 *   attach again       the same to the process the thread is attached to already
 *   attach and touch   the same, with one of its pages read in between: its translation is forgotten and made again
 *   floor of a touch   the host's floor for that: one page of a memory file mapped and unmapped
 *   view               MmMapViewInSystemSpace + MmUnmapViewInSystemSpace of 64 KiB of a section, not touched
 *   view and touch     the same, with all 16 pages read
 *   floor of a view    16 pages of a memory file mapped and unmapped by the host
 *
 *   bench_space [--smoke] [--json FILE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <ntifs.h>
#include <ntmm.h>

#define VIEW (64u << 10)
enum { Attach, Again, AttachTouch, TouchFloor, View, ViewTouch, ViewFloor, ROWS };
static const char *const Names[ROWS] = {"attach", "attach again",   "attach and touch", "floor of a touch",
                                        "view",   "view and touch", "floor of a view"};
static PEPROCESS Process;
static volatile UCHAR *Page;
static PVOID Section;
static int File;

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

static void Fail(const char *What, NTSTATUS Status)
{
    fprintf(stderr, "bench_space: %s: 0x%08X\n", What, (unsigned)Status);
    exit(1);
}

static void Once(ULONG Row)
{
    KAPC_STATE State;
    PVOID Base = NULL;
    SIZE_T Bytes = VIEW;
    switch (Row) {
    case Attach:
    case Again:
        KeStackAttachProcess((PRKPROCESS)Process, &State);
        KeUnstackDetachProcess(&State);
        return;
    case AttachTouch:
        KeStackAttachProcess((PRKPROCESS)Process, &State);
        (void)*Page;
        KeUnstackDetachProcess(&State);
        return;
    case View:
    case ViewTouch: {
        NTSTATUS Status = MmMapViewInSystemSpace(Section, &Base, &Bytes);
        if (!NT_SUCCESS(Status))
            Fail("a view", Status);
        for (ULONG At = 0; Row == ViewTouch && At < VIEW; At += PAGE_SIZE)
            (void)((volatile UCHAR *)Base)[At];
        MmUnmapViewInSystemSpace(Base);
        return;
    }
    default: {
        size_t Length = Row == TouchFloor ? PAGE_SIZE : VIEW;
        void *Map = mmap(NULL, Length, PROT_READ, MAP_SHARED | MAP_POPULATE, File, 0);
        munmap(Map, Length);
        return;
    }
    }
}

static double Batch(ULONG Row, ULONG Rounds)
{
    KAPC_STATE Outer;
    if (Row == Again)
        KeStackAttachProcess((PRKPROCESS)Process, &Outer);
    ULONG64 Begin = Now();
    for (ULONG Round = 0; Round < Rounds; Round++)
        Once(Row);
    double Each = (double)(Now() - Begin) / Rounds;
    if (Row == Again)
        KeUnstackDetachProcess(&Outer);
    return Each;
}

static void Prepare(void)
{
    ntmm_process *Host;
    KAPC_STATE State;
    PVOID Base = NULL;
    SIZE_T Bytes = PAGE_SIZE;
    LARGE_INTEGER Size = {.QuadPart = VIEW};
    NTSTATUS Status = ntmm_process_create("bench.exe", &Host);
    if (NT_SUCCESS(Status))
        Status = PsLookupProcessByProcessId((HANDLE)(ULONG_PTR)ntmm_process_id(Host), &Process);
    if (!NT_SUCCESS(Status))
        Fail("a process", Status);
    KeStackAttachProcess((PRKPROCESS)Process, &State);
    Status = ZwAllocateVirtualMemory(ZwCurrentProcess(), &Base, 0, &Bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (NT_SUCCESS(Status)) {
        Page = Base;
        *Page = 1;
    }
    KeUnstackDetachProcess(&State);
    if (NT_SUCCESS(Status))
        Status = MmCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &Size, PAGE_READWRITE, SEC_COMMIT, NULL, NULL);
    if (!NT_SUCCESS(Status))
        Fail("memory of a process, or a section", Status);
    File = memfd_create("floor", MFD_CLOEXEC);
    char Zero[4096] = {0};
    for (ULONG At = 0; At < VIEW; At += sizeof Zero) {
        if (write(File, Zero, sizeof Zero) != (ssize_t)sizeof Zero)
            Fail("a memory file", STATUS_NO_MEMORY);
    }
}

int main(int argc, char **argv)
{
    BOOLEAN Smoke = FALSE;
    FILE *Json = NULL;
    for (int Index = 1; Index < argc; Index++) {
        if (!strcmp(argv[Index], "--smoke")) {
            Smoke = TRUE;
        } else if (!strcmp(argv[Index], "--json") && Index + 1 < argc) {
            Json = fopen(argv[++Index], "w");
        } else {
            fprintf(stderr, "bench_space: %s: --smoke or --json FILE is wanted\n", argv[Index]);
            return 2;
        }
    }
    ULONG Batches = Smoke ? 3 : 41;
    double *Samples = calloc(ROWS * Batches, sizeof(double));
    (void)KeGetCurrentIrql(); /* starts the system */
    Prepare();
    for (ULONG Round = 0; Round < Batches; Round++) {
        for (ULONG Row = 0; Row < ROWS; Row++)
            Samples[Row * Batches + Round] = Batch(Row, Row <= Again ? 5000 : 64);
    }
    printf("%-20s %12s\n", "", "ns");
    if (Json)
        fprintf(Json, "{\"bench\": \"space\", \"rows\": [");
    for (ULONG Row = 0; Row < ROWS; Row++) {
        double *Own = Samples + Row * Batches;
        qsort(Own, Batches, sizeof(double), Compare);
        printf("%-20s %12.0f\n", Names[Row], Own[Batches / 2]);
        if (Json)
            fprintf(Json, "%s{\"name\": \"%s\", \"ns\": %.1f}", Row ? ", " : "", Names[Row], Own[Batches / 2]);
    }
    if (Json) {
        fprintf(Json, "]}\n");
        fclose(Json);
    }
    free(Samples);
    ObDereferenceObject(Section);
    ObDereferenceObject(Process);
    return ntmm_stop() == 0 ? 0 : 1;
}
