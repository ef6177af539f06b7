/*
 * bench_driver.c - the example driver at work: its source is part of this program. SPDX-License-Identifier: MIT
 *
 *   bench_driver [--scale PERCENT]        NTMM_OPTIONS: the system's options
 *
 * A round is a write and a read of 4 KiB, a direct read by IOCTL, a checksum, and two labels: six requests. Prints one line of JSON with
 * the requests, the seconds and the processor time. Under different options, and built with the address sanitizer, it says what checks
 * cost a driver rather than an allocator (scripts/bench, section checks).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ntddk.h>
#include <ntmm.h>
#include "ramdisk/ramdisk.h"

DRIVER_INITIALIZE DriverEntry;

static double Seconds(clockid_t Clock)
{
    struct timespec T;
    clock_gettime(Clock, &T);
    return (double)T.tv_sec + (double)T.tv_nsec * 1e-9;
}

static unsigned Failures;
static void Must(NTSTATUS Status)
{
    Failures += Status != STATUS_SUCCESS;
}

int main(int Argc, char **Argv)
{
    static unsigned char Data[4096], Back[4096];
    unsigned Rounds = 40000;
    const char *Text = getenv("NTMM_OPTIONS");
    ntmm_options Options;
    ntmm_driver *Driver;
    ntmm_file *File;
    uint64_t Done;
    if (Argc == 3 && !strcmp(Argv[1], "--scale") && atoi(Argv[2]) > 0) {
        Rounds = Rounds / 100 * (unsigned)atoi(Argv[2]);
    } else if (Argc != 1) {
        fprintf(stderr, "bench_driver [--scale PERCENT]\n");
        return 2;
    }
    ntmm_default_options(&Options);
    Options.ram = 256u << 20;
    if ((Text && ntmm_parse_options(Text, &Options) < 0) || ntmm_start(&Options) != 0) {
        fprintf(stderr, "bench_driver: %s\n", ntmm_error());
        return 2;
    }
    Must(ntmm_add_driver("ramdisk", DriverEntry, &Driver));
    Must(ntmm_open("\\\\.\\RamDisk0", &File));
    if (Failures) {
        fprintf(stderr, "bench_driver: the driver does not start\n");
        return 1;
    }
    double Begin = Seconds(CLOCK_MONOTONIC), Cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned Round = 0; Round < Rounds; Round++) {
        ULONG Offset = Round % 200 * 4096, Sum;
        RAMDISK_EXTENT Extent = {.Offset = Offset, .Length = sizeof(Back)};
        Data[0] = (unsigned char)Round;
        Must(ntmm_write(File, Data, sizeof(Data), Offset, &Done));
        Must(ntmm_read(File, Back, sizeof(Back), Offset, &Done));
        Must(ntmm_ioctl(File, IOCTL_RAMDISK_READ, &Extent, sizeof(Extent), Back, sizeof(Back), &Done));
        Must(ntmm_ioctl(File, IOCTL_RAMDISK_CHECKSUM, &Extent, sizeof(Extent), &Sum, sizeof(Sum), &Done));
        Must(ntmm_ioctl(File, IOCTL_RAMDISK_SET_LABEL, "bench", 5, NULL, 0, NULL));
        Must(ntmm_ioctl(File, IOCTL_RAMDISK_GET_LABEL, NULL, 0, Back, RAMDISK_LABEL_BYTES, &Done));
    }
    printf("{\"ops\":%u,\"seconds\":%.6f,\"cpu\":%.6f}\n", Rounds * 6, Seconds(CLOCK_MONOTONIC) - Begin,
           Seconds(CLOCK_PROCESS_CPUTIME_ID) - Cpu);
    Must(ntmm_close(File));
    Must(ntmm_remove_driver(Driver, NULL));
    if (Failures)
        fprintf(stderr, "bench_driver: %u requests failed\n", Failures);
    return ntmm_stop() == 0 && Failures == 0 ? 0 : 1;
}
