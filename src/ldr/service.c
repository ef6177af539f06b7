/*
 * service.c - loading a driver by its service key, for ZwLoadDriver. SPDX-License-Identifier: MIT
 *
 * The image's file is read as any driver would read it, with ZwOpenFile and ZwReadFile: it is found where the names of
 * this system lead, on drive C: (option drive=) or on a file system that a loaded driver provides, and nowhere else on the host.
 *
 *   ImagePath                        object name
 *   \??\C:\x.sys, \SystemRoot\x.sys  as it is
 *   C:\x.sys                         \??\C:\x.sys
 *   %SystemRoot%\x.sys, x.sys        \SystemRoot\x.sys
 *
 * \SystemRoot is a symbolic link to C:\windows that the drive makes. The service's name, not the file's, is the driver's.
 * No device is made for a plug-and-play driver that is loaded this way: Windows makes none either.
 *
 * Invariants: 1. an image loaded here has Service set and lives until its driver is stopped; 2. whatever fails, nothing
 * of the file, the image or the driver stays. IRQL PASSIVE_LEVEL. Watch: tests/unit/service_test.c.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <ntifs.h>
#include "io/iop.h"
#include "ldr/ldrp.h"

#define LDRP_TAG_FILE   'FrdL'
#define LDRP_CHUNK      (64u << 10)
#define LDRP_MAX_DRIVER (64u << 20)

static ULONG LdrpPut(PWCHAR Name, ULONG At, const CHAR *Text)
{
    while (*Text != 0) {
        Name[At++] = (UCHAR)*Text++;
    }
    return At;
}

/* The object name of an ImagePath, in Name with room for ImagePath and 16 more. */
static VOID LdrpImageObjectName(PCUNICODE_STRING ImagePath, PWCHAR Name, PUNICODE_STRING Result)
{
    static const UNICODE_STRING Root = RTL_CONSTANT_STRING(L"%SystemRoot%");
    ULONG Count = ImagePath->Length / sizeof(WCHAR), From = 0, At = 0;
    if (RtlPrefixUnicodeString(&Root, ImagePath, TRUE)) {
        At = LdrpPut(Name, At, "\\SystemRoot");
        From = Root.Length / sizeof(WCHAR);
    } else if (Count >= 2 && ImagePath->Buffer[1] == L':') {
        At = LdrpPut(Name, At, "\\??\\");
    } else if (ImagePath->Buffer[0] != L'\\') {
        At = LdrpPut(Name, At, "\\SystemRoot\\");
    }
    while (From < Count) {
        Name[At++] = ImagePath->Buffer[From++];
    }
    *Result = (UNICODE_STRING){(USHORT)(At * sizeof(WCHAR)), (USHORT)(At * sizeof(WCHAR)), Name};
}

/* A file's bytes in nonpaged pool, and its full name as far as Full has room. */
static NTSTATUS LdrpReadObject(PUNICODE_STRING Name, PUCHAR *Bytes, SIZE_T *Size, POBJECT_NAME_INFORMATION Full,
                               ULONG FullBytes)
{
    OBJECT_ATTRIBUTES Attributes;
    FILE_STANDARD_INFORMATION Standard;
    IO_STATUS_BLOCK Io;
    HANDLE File;
    *Bytes = NULL;
    InitializeObjectAttributes(&Attributes, Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    ULONG Needed;
    NTSTATUS Status = ZwOpenFile(&File, FILE_READ_DATA | SYNCHRONIZE, &Attributes, &Io, FILE_SHARE_READ,
                                 FILE_NON_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Status = ZwQueryInformationFile(File, &Io, &Standard, sizeof(Standard), FileStandardInformation);
    if (NT_SUCCESS(Status) &&
        (Standard.Directory || Standard.EndOfFile.QuadPart <= 0 || Standard.EndOfFile.QuadPart > LDRP_MAX_DRIVER)) {
        Status = STATUS_INVALID_IMAGE_FORMAT;
    }
    if (NT_SUCCESS(Status)) {
        *Size = (SIZE_T)Standard.EndOfFile.QuadPart;
        *Bytes = ExAllocatePool2(POOL_FLAG_NON_PAGED, *Size, LDRP_TAG_FILE);
        Status = *Bytes != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
    }
    if (NT_SUCCESS(Status) && !NT_SUCCESS(ZwQueryObject(File, ObjectNameInformation, Full, FullBytes, &Needed))) {
        Full->Name.Length = 0;
    }
    for (SIZE_T Done = 0; NT_SUCCESS(Status) && Done < *Size; Done += Io.Information) {
        LARGE_INTEGER Offset = {.QuadPart = (LONGLONG)Done};
        ULONG Wanted = (ULONG)(*Size - Done < LDRP_CHUNK ? *Size - Done : LDRP_CHUNK);
        Status = ZwReadFile(File, NULL, NULL, NULL, &Io, *Bytes + Done, Wanted, &Offset, NULL);
        if (NT_SUCCESS(Status) && Io.Information == 0) {
            Status = STATUS_END_OF_FILE;
        }
    }
    ZwClose(File);
    if (!NT_SUCCESS(Status) && *Bytes != NULL) {
        ExFreePoolWithTag(*Bytes, LDRP_TAG_FILE);
    }
    return Status;
}

static VOID LdrpNarrow(PCUNICODE_STRING Text, CHAR *Narrow, SIZE_T Size)
{
    SIZE_T At = 0;
    for (ULONG Index = 0; Index < Text->Length / sizeof(WCHAR) && At + 1 < Size; Index++) {
        WCHAR Letter = Text->Buffer[Index];
        if (Letter == L'\\') {
            At = 0;
            continue;
        }
        Narrow[At++] = Letter >= ' ' && Letter < 0x7f && Letter != '/' ? (CHAR)Letter : '?';
    }
    Narrow[At] = 0;
}

static NTSTATUS LdrpLoadService(PCUNICODE_STRING Service, PCUNICODE_STRING ImagePath, PDRIVER_OBJECT *Driver)
{
    CHAR FileName[64], Error[LDR_ERROR_CHARS];
    UNICODE_STRING Name;
    union {
        OBJECT_NAME_INFORMATION Information;
        UCHAR Bytes[1024];
    } Full;
    LDR_IMAGE *Image;
    PUCHAR Bytes = NULL;
    SIZE_T Size = 0;
    BOOLEAN Entered;
    if (Service->Length / sizeof(WCHAR) >= sizeof(Image->Service)) {
        return STATUS_OBJECT_NAME_INVALID;
    }
    PWCHAR Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, ImagePath->Length + 16 * sizeof(WCHAR), LDRP_TAG_FILE);
    if (Buffer == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    LdrpImageObjectName(ImagePath, Buffer, &Name);
    LdrpNarrow(&Name, FileName, sizeof(FileName));
    NTSTATUS Status = LdrpReadObject(&Name, &Bytes, &Size, &Full.Information, sizeof(Full));
    ExFreePoolWithTag(Buffer, LDRP_TAG_FILE);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Status = LdrLoadImage(FileName, Bytes, Size, &Image, Error, sizeof(Error));
    ExFreePoolWithTag(Bytes, LDRP_TAG_FILE);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    LdrpNarrow(Service, Image->Service, sizeof(Image->Service));
    Image->HardwareId = "";
    Image->ObjectName = Full.Information.Name.Length != 0 ? &Full.Information.Name : NULL;
    Status = LdrStartDriver(Image, &Entered, Error, sizeof(Error));
    Image->ObjectName = NULL;
    if (!NT_SUCCESS(Status)) {
        LdrUnloadImage(Image);
        return Status;
    }
    *Driver = Image->DriverObject;
    return STATUS_SUCCESS;
}

static NTSTATUS LdrpUnloadService(PDRIVER_OBJECT Driver)
{
    LDR_IMAGE *Image = Driver->DriverSection;
    NTSTATUS Status = LdrStopDriver(Image, NULL);
    return NT_SUCCESS(Status) ? LdrUnloadImage(Image) : Status;
}

static BOOLEAN LdrpTakeService(LDR_IMAGE *Image, PVOID Context)
{
    if (Image->Service[0] == 0 || Image->DriverObject == NULL || ((PDRIVER_OBJECT)Image->DriverObject)->DriverUnload == NULL) {
        return TRUE;
    }
    *(LDR_IMAGE **)Context = Image;
    return FALSE;
}

VOID LdrpInitServices(VOID)
{
    IopLoadService = LdrpLoadService;
    IopUnloadService = LdrpUnloadService;
}

/* Drivers that were loaded by a driver and are loaded yet go down in an orderly way. */
VOID LdrpShutdownServices(VOID)
{
    for (;;) {
        LDR_IMAGE *Image = NULL;
        LdrpEnumerateImages(LdrpTakeService, &Image);
        if (Image == NULL || !NT_SUCCESS(LdrpUnloadService(Image->DriverObject))) {
            break;
        }
    }
    IopLoadService = NULL;
    IopUnloadService = NULL;
}
