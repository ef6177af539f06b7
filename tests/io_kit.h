/*
 * io_kit.h - what the tests of devices and requests share: a system, and a driver whose dispatch routine each test supplies.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>
#include <ntifs.h>
#include <ntmm.h>
#include "io/iop.h"

#define OK(Status)              assert_int_equal((unsigned)(Status), STATUS_SUCCESS)
#define FAILS(Status, Expected) assert_int_equal((unsigned)(Status), (unsigned)(Expected))

static inline int KitStart(void **state)
{
    ntmm_options options;
    (void)state;
    ntmm_default_options(&options);
    options.ram = 64 << 20;
    options.cpus = 4;
    return ntmm_start(&options);
}

static inline int KitStop(void **state)
{
    const CHAR *Broken = ObpValidate();
    (void)state;
    if (!Broken)
        Broken = IopValidate();
    if (Broken)
        print_error("%s\n", Broken);
    return ntmm_stop() || Broken;
}

static inline UNICODE_STRING KitString(const WCHAR *Text)
{
    UNICODE_STRING String;
    RtlInitUnicodeString(&String, Text);
    return String;
}

/* ---- the driver: one device \Device\Kit, \??\Kit; every request goes to KitDispatch, create and close succeed ---- */
static PDRIVER_OBJECT KitDriver;
static PDEVICE_OBJECT KitDevice;
static ULONG KitDeviceFlags;
static NTSTATUS (*KitDispatch)(PDEVICE_OBJECT Device, PIRP Irp);
static LONG KitCreates, KitCleanups, KitCloses;

static inline NTSTATUS KitComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS KitAnyDispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    switch (IoGetCurrentIrpStackLocation(Irp)->MajorFunction) {
    case IRP_MJ_CREATE:
        InterlockedIncrement(&KitCreates);
        return KitComplete(Irp, STATUS_SUCCESS, 0);
    case IRP_MJ_CLEANUP:
        InterlockedIncrement(&KitCleanups);
        return KitComplete(Irp, STATUS_SUCCESS, 0);
    case IRP_MJ_CLOSE:
        InterlockedIncrement(&KitCloses);
        return KitComplete(Irp, STATUS_SUCCESS, 0);
    default:
        return KitDispatch(Device, Irp);
    }
}

static VOID KitUnload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = KitString(L"\\??\\Kit");
    IoDeleteSymbolicLink(&Link);
    while (Driver->DeviceObject)
        IoDeleteDevice(Driver->DeviceObject);
}

static __attribute__((unused)) NTSTATUS KitEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = KitString(L"\\Device\\Kit"), Link = KitString(L"\\??\\Kit");
    UNREFERENCED_PARAMETER(RegistryPath);
    KitDriver = Driver;
    KitCreates = KitCleanups = KitCloses = 0;
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        Driver->MajorFunction[i] = KitAnyDispatch;
    Driver->DriverUnload = KitUnload;
    NTSTATUS Status = IoCreateDevice(Driver, 64, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &KitDevice);
    if (!NT_SUCCESS(Status))
        return Status;
    KitDevice->Flags |= KitDeviceFlags;
    return IoCreateSymbolicLink(&Link, &Name);
}

static ntmm_driver *KitLoaded;
static ntmm_file *KitFile;
static inline __attribute__((unused)) void KitOpen(NTSTATUS (*Dispatch)(PDEVICE_OBJECT, PIRP), ULONG Flags)
{
    KitDispatch = Dispatch;
    KitDeviceFlags = Flags;
    OK(ntmm_add_driver("Kit", KitEntry, &KitLoaded));
    OK(ntmm_open("\\\\.\\Kit", &KitFile));
}

static inline void KitClose(void)
{
    ntmm_leftovers Left;
    OK(ntmm_close(KitFile));
    OK(ntmm_remove_driver(KitLoaded, &Left));
    assert_int_equal(Left.devices + Left.symbolic_links + Left.open_files + Left.work_items + Left.timers, 0);
}

#define KIT_IOCTL(Method) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, Method, FILE_ANY_ACCESS)
