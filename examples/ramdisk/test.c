/*
 * test.c - the RAM disk's own test, as its developers would write it: the driver's source is part of this program, the
 * machine is a small one, and a bug check is an expected result like any other. SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>
#include "ramdisk.h"

DRIVER_INITIALIZE DriverEntry;

static int failures;
#define CHECK(condition)                                                                                                       \
    ((condition) ? (void)0 : (void)(failures++, fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition)))

static void use(void *context)
{
    ntmm_file *file = context;
    UCHAR sector[512], back[512];
    RAMDISK_EXTENT extent = {.Offset = 0, .Length = sizeof(back)}, history[RAMDISK_HISTORY_DEPTH];
    RAMDISK_INFO info;
    ULONG size = 8192, sum;
    uint64_t done;

    memset(sector, 0x5a, sizeof(sector));
    CHECK(ntmm_write(file, sector, sizeof(sector), 0, &done) == STATUS_SUCCESS && done == sizeof(sector));
    CHECK(ntmm_read(file, back, sizeof(back), 0, &done) == STATUS_SUCCESS && memcmp(sector, back, sizeof(back)) == 0);
    CHECK(ntmm_read(file, back, sizeof(back), RAMDISK_DEFAULT_BYTES - 100, &done) == STATUS_NONEXISTENT_SECTOR && done == 0);
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_RESIZE, &size, sizeof(size), NULL, 0, NULL) == STATUS_SUCCESS);
    memset(back, 0, sizeof(back));
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_READ, &extent, sizeof(extent), back, sizeof(back), &done) == STATUS_SUCCESS);
    CHECK(done == sizeof(back) && memcmp(sector, back, sizeof(back)) == 0);
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_CHECKSUM, &extent, sizeof(extent), &sum, sizeof(sum), &done) == STATUS_SUCCESS);
    CHECK(sum == 512 * 0x5a);
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_SET_LABEL, "boot", 4, NULL, 0, NULL) == STATUS_SUCCESS);
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_GET_LABEL, NULL, 0, back, RAMDISK_LABEL_BYTES, &done) == STATUS_SUCCESS);
    CHECK(memcmp(back, "boot", 5) == 0);
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_HISTORY, NULL, 0, history, sizeof(history), &done) == STATUS_SUCCESS);
    CHECK(done == 3 * sizeof(history[0]) && history[0].Length == sizeof(back));
    CHECK(ntmm_ioctl(file, IOCTL_RAMDISK_INFO, NULL, 0, &info, sizeof(info), &done) == STATUS_SUCCESS && info.Bytes == 8192);
}

int main(void)
{
    ntmm_options options;
    ntmm_leftovers left = {0};
    ntmm_bugcheck stop;
    ntmm_driver *driver;
    ntmm_file *file;

    ntmm_default_options(&options);
    options.ram = 64u << 20;
    if (ntmm_start(&options) != 0) {
        fprintf(stderr, "%s\n", ntmm_error());
        return 2;
    }
    CHECK(ntmm_add_driver("ramdisk", DriverEntry, &driver) == STATUS_SUCCESS);
    CHECK(ntmm_open("\\\\.\\RamDisk0", &file) == STATUS_SUCCESS);
    if (ntmm_catch(use, file, &stop)) {
        fprintf(stderr, "stopped by %s: %s\n", stop.name, stop.words);
        return 1;
    }
    CHECK(ntmm_close(file) == STATUS_SUCCESS);
    CHECK(ntmm_remove_driver(driver, &left) == STATUS_SUCCESS);
    CHECK(left.devices == 0 && left.symbolic_links == 0);
    ntmm_stop();
    puts(failures == 0 ? "the RAM disk works" : "the RAM disk does not work");
    return failures != 0;
}
