/*
 * driver.c - an image becomes a driver: DriverEntry, INIT discarded, DriverUnload. SPDX-License-Identifier: MIT
 *
 * The driver object and everything named is io's (IopCreateDriver, IopUnloadDriver); the calls into the image go through
 * KI_CALLOUT there. What is ours: the image's address as Entry, discardable sections freed once DriverEntry has
 * succeeded, and the notification of image load.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <ntifs.h>
#include "ldr/ldrp.h"
#include "io/iop.h"

/* The service it is loaded for, or "ramdisk" of "ramdisk.sys". */
static VOID LdrpServiceName(const LDR_IMAGE *Image, CHAR *Name, SIZE_T Size)
{
    SIZE_T Length = strlen(Image->Name);
    if (Image->Service[0] != 0) {
        snprintf(Name, Size, "%s", Image->Service);
        return;
    }
    if (Length > 4 && strcasecmp(Image->Name + Length - 4, ".sys") == 0) {
        Length -= 4;
    }
    snprintf(Name, Size, "%.*s", (int)Length, Image->Name);
}

static VOID LdrpNotify(const LDR_IMAGE *Image)
{
    if (Image->ObjectName != NULL) {
        PspNotifyImage(Image->ObjectName, NULL, Image->Base, Image->Size, TRUE);
        return;
    }
    static const CHAR Directory[] = "\\SystemRoot\\System32\\drivers\\";
    WCHAR Buffer[sizeof(Directory) + sizeof(Image->Name)];
    USHORT Length = 0;
    for (const CHAR *From = Directory; *From != 0; From++) {
        Buffer[Length++] = (UCHAR)*From;
    }
    for (const CHAR *From = Image->Name; *From != 0; From++) {
        Buffer[Length++] = (UCHAR)*From;
    }
    UNICODE_STRING Name = {(USHORT)(Length * sizeof(WCHAR)), sizeof(Buffer), Buffer};
    PspNotifyImage(&Name, NULL, Image->Base, Image->Size, TRUE);
}

NTSTATUS LdrStartDriver(LDR_IMAGE *Image, BOOLEAN *Entered, CHAR *Error, SIZE_T ErrorSize)
{
    CHAR Service[64];
    PDRIVER_OBJECT Driver = NULL;
    *Entered = FALSE;
    if (Image->Pe.EntryPoint == 0) {
        LdrpSay(Error, ErrorSize, "it has no entry point");
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    LdrpServiceName(Image, Service, sizeof(Service));
    IOP_DRIVER_PARAMETERS Parameters = {
        .Name = Service,
        .Entry = (PDRIVER_INITIALIZE)(ULONG_PTR)(Image->Base + Image->Pe.EntryPoint),
        .ImageBase = Image->Base,
        .ImageSize = (ULONG)Image->Size,
        .Section = Image,
        .HardwareId = Image->HardwareId,
    };
    LdrpNotify(Image);
    NTSTATUS Status = IopCreateDriver(&Parameters, &Driver, Entered);
    if (!NT_SUCCESS(Status)) {
        LdrpSay(Error, ErrorSize, *Entered ? "DriverEntry returned 0x%08X" : "the driver object cannot be made: 0x%08X",
                (ULONG)Status);
        return Status;
    }
    Image->DriverObject = Driver;
    LdrpDiscardInit(Image);
    NTSTATUS Started = IopStartDriver(Driver);
    if (!NT_SUCCESS(Started)) {
        LdrpSay(Error, ErrorSize, "DriverEntry succeeded, but starting its device failed with 0x%08X", (ULONG)Started);
    }
    return Started;
}

NTSTATUS LdrStopDriver(LDR_IMAGE *Image, struct _IOP_LEFTOVERS *Left)
{
    IOP_LEFTOVERS Ignored;
    PDRIVER_OBJECT Driver = Image->DriverObject;
    if (Driver == NULL) {
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    NTSTATUS Status = IopUnloadDriver(Driver, Left != NULL ? Left : &Ignored);
    if (NT_SUCCESS(Status)) {
        Image->DriverObject = NULL;
    }
    return Status;
}
