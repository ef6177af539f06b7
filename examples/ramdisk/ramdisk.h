/*
 * ramdisk.h - what a program needs to talk to the RAM disk: its device, its requests and their records.
 * SPDX-License-Identifier: MIT
 */
#ifndef RAMDISK_H
#define RAMDISK_H

#define RAMDISK_DEVICE_NAME L"\\Device\\RamDisk0"
#define RAMDISK_LINK_NAME   L"\\DosDevices\\RamDisk0"

#define RAMDISK_CODE(Function, Method) CTL_CODE(FILE_DEVICE_DISK, 0x800 + (Function), Method, FILE_ANY_ACCESS)

#define IOCTL_RAMDISK_INFO      RAMDISK_CODE(0, METHOD_BUFFERED)   /* out: RAMDISK_INFO                      0x72000 */
#define IOCTL_RAMDISK_SET_LABEL RAMDISK_CODE(1, METHOD_BUFFERED)   /* in: up to 32 bytes                     0x72004 */
#define IOCTL_RAMDISK_GET_LABEL RAMDISK_CODE(2, METHOD_BUFFERED)   /* out: the label                         0x72008 */
#define IOCTL_RAMDISK_READ      RAMDISK_CODE(3, METHOD_OUT_DIRECT) /* in: RAMDISK_EXTENT; out: the data      0x7200e */
#define IOCTL_RAMDISK_HISTORY   RAMDISK_CODE(4, METHOD_BUFFERED)   /* out: RAMDISK_EXTENT[], newest first    0x72010 */
#define IOCTL_RAMDISK_CHECKSUM  RAMDISK_CODE(5, METHOD_BUFFERED)   /* in: RAMDISK_EXTENT; out: ULONG         0x72014 */
#define IOCTL_RAMDISK_RESIZE    RAMDISK_CODE(6, METHOD_BUFFERED)   /* in: ULONG bytes; contents are kept     0x72018 */

#define RAMDISK_LABEL_BYTES   32
#define RAMDISK_HISTORY_DEPTH 8
#define RAMDISK_DEFAULT_BYTES (1024 * 1024)
#define RAMDISK_MAXIMUM_BYTES (16 * 1024 * 1024)

typedef struct _RAMDISK_INFO {
    ULONG Bytes;
    ULONG Reads;
    ULONG Writes;
    ULONG Reserved;
} RAMDISK_INFO, *PRAMDISK_INFO;

typedef struct _RAMDISK_EXTENT {
    ULONG Offset;
    ULONG Length;
} RAMDISK_EXTENT, *PRAMDISK_EXTENT;

#endif
