/*
 * bench_load.c - what running a driver binary costs: load, run, unload; a request; a call over the border; a trapped
 * instruction. SPDX-License-Identifier: MIT
 *
 * Rows, medians:
 *   load+unload      LdrLoadImage and LdrUnloadImage of ramdisk.sys, nothing run
 *   load-run-unload  that, DriverEntry, open, one device control, close, DriverUnload (aim: under 10 ms)
 *   ioctl            one buffered device control of a few bytes, from the host API to the driver and back
 *   border-call      KeGetCurrentIrql by its ms_abi entry, as an import is called
 *   native-call      the same routine called natively
 *   mov-cr8          a trapped read of the IRQL in driver code: signal, decode, emulate, resume
 *
 *   bench_load [--smoke] [--json FILE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ldr/ldr.h"
#include "mm/mm.h"
#include "ntmm.h"

#define RAMDISK_LABEL 0x72008u

enum { LOAD, RUN, IOCTL, BORDER, NATIVE, CR8, ROWS };
static const char *const Names[ROWS] = {"load+unload", "load-run-unload", "ioctl", "border-call", "native-call", "mov-cr8"};
static double *Samples[ROWS];

static ULONG64 Now(void)
{
    struct timespec T;
    clock_gettime(CLOCK_MONOTONIC, &T);
    return (ULONG64)T.tv_sec * 1000000000u + (ULONG64)T.tv_nsec;
}

static void Fail(const char *What)
{
    fprintf(stderr, "bench_load: %s: %s\n", What, ntmm_error());
    exit(1);
}

static double Load(void)
{
    CHAR Error[LDR_ERROR_CHARS];
    LDR_IMAGE *Image;
    ULONG64 Begin = Now();
    if (!NT_SUCCESS(LdrLoadImage(NTMM_RAMDISK, NULL, 0, &Image, Error, sizeof(Error)))) {
        fprintf(stderr, "bench_load: %s\n", Error);
        exit(1);
    }
    LdrUnloadImage(Image);
    return (double)(Now() - Begin);
}

static double Run(double *Ioctl, unsigned Requests)
{
    ntmm_driver *Driver;
    ntmm_file *File;
    char Out[32];
    ULONG64 Begin = Now();
    if (ntmm_load_driver(NTMM_RAMDISK, &Driver) != 0 || ntmm_open("RamDisk0", &File) != 0) {
        Fail(NTMM_RAMDISK);
    }
    ULONG64 Middle = Now();
    for (unsigned i = 0; i < Requests; i++) {
        if (ntmm_ioctl(File, RAMDISK_LABEL, NULL, 0, Out, sizeof(Out), NULL) != 0) {
            Fail("ioctl");
        }
    }
    *Ioctl = (double)(Now() - Middle) / Requests;
    if (ntmm_close(File) != 0 || ntmm_remove_driver(Driver, NULL) != 0) {
        Fail("unload");
    }
    return (double)(Now() - Begin) - *Ioctl * (Requests - 1);
}

static double Calls(BOOLEAN Border, unsigned Count)
{
    KIRQL(KI_MSABI *volatile Foreign)(VOID) = (PVOID)LdrFindEntry("KeGetCurrentIrql")->Border;
    KIRQL (*volatile Native)(VOID) = KeGetCurrentIrql;
    ULONG64 Begin = Now();
    for (unsigned i = 0; i < Count; i++) {
        if (Border) {
            Foreign();
        } else {
            Native();
        }
    }
    return (double)(Now() - Begin) / Count;
}

/* mov rax, cr8; ret: put into the code of a loaded image, which is the only place where it is emulated. */
static double Cr8(unsigned Count)
{
    static ULONG64 (*Routine)(VOID);
    CHAR Error[LDR_ERROR_CHARS];
    LDR_IMAGE *Image;
    if (Routine == NULL) {
        if (!NT_SUCCESS(LdrLoadImage(NTMM_RAMDISK, NULL, 0, &Image, Error, sizeof(Error)))) {
            exit(1);
        }
        Routine = (PVOID)(Image->Base + Image->Pe.EntryPoint);
        MmCopyToManaged((PVOID)(ULONG_PTR)Routine, "\x44\x0f\x20\xc0\xc3", 5);
    }
    ULONG64 Begin = Now();
    for (unsigned i = 0; i < Count; i++) {
        KI_CALLOUT(ULONG64, Routine, (VOID), ());
    }
    return (double)(Now() - Begin) / Count;
}

static int Compare(const void *A, const void *B)
{
    double X = *(const double *)A, Y = *(const double *)B;
    return X < Y ? -1 : X > Y;
}

int main(int Count, char **Arguments)
{
    unsigned Rounds = 200;
    const char *Json = NULL;
    for (int i = 1; i < Count; i++) {
        if (!strcmp(Arguments[i], "--smoke")) {
            Rounds = 10;
        } else if (!strcmp(Arguments[i], "--json") && i + 1 < Count) {
            Json = Arguments[++i];
        } else {
            fprintf(stderr, "bench_load: %s is not one of --smoke, --json FILE\n", Arguments[i]);
            return 2;
        }
    }
    if (ntmm_start(NULL) != 0) {
        Fail("start");
    }
    for (int Row = 0; Row < ROWS; Row++) {
        Samples[Row] = calloc(Rounds, sizeof(double));
    }
    for (unsigned i = 0; i < Rounds; i++) {
        Samples[LOAD][i] = Load();
        Samples[RUN][i] = Run(&Samples[IOCTL][i], 20);
        Samples[BORDER][i] = Calls(TRUE, 10000);
        Samples[NATIVE][i] = Calls(FALSE, 10000);
        Samples[CR8][i] = Cr8(50);
    }
    FILE *Out = Json != NULL ? fopen(Json, "w") : NULL;
    printf("%-16s %14s %14s\n", "driver binary", "median ns", "best ns");
    if (Out != NULL) {
        fprintf(Out, "{\"unit\": \"ns\"");
    }
    for (int Row = 0; Row < ROWS; Row++) {
        qsort(Samples[Row], Rounds, sizeof(double), Compare);
        printf("%-16s %14.1f %14.1f\n", Names[Row], Samples[Row][Rounds / 2], Samples[Row][0]);
        if (Out != NULL) {
            fprintf(Out, ", \"%s\": {\"median\": %.1f, \"best\": %.1f}", Names[Row], Samples[Row][Rounds / 2], Samples[Row][0]);
        }
    }
    if (Out != NULL) {
        fprintf(Out, "}\n");
        fclose(Out);
    }
    return 0;
}
