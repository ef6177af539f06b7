/*
 * ioctl.c - the host-side API for drivers of source and for requests to devices. SPDX-License-Identifier: MIT
 *
 * Implements ntmm_add_driver, ntmm_remove_driver, ntmm_open, ntmm_close, ntmm_set_timeout, ntmm_ioctl, ntmm_read, ntmm_write over
 * io/iop.h. The first call starts the system from the options, as any kernel call does.
 *
 *     ntmm_file -> FILE_OBJECT (one reference) + the time-out of its requests
 *
 * Statuses are the driver's, unchanged.
 */
#include <stdlib.h>
#include <string.h>
#include <ntmm.h>
#include "host/host.h"
#include "io/iop.h"

struct ntmm_file {
    PFILE_OBJECT Object;
    unsigned Timeout;
};

int32_t ntmm_add_driver(const char *name, int32_t (*entry)(struct _DRIVER_OBJECT *, struct _UNICODE_STRING *),
                        ntmm_driver **driver)
{
    IOP_DRIVER_PARAMETERS Parameters = {.Name = name, .Entry = entry};
    BOOLEAN Called;
    *driver = NULL;
    KiCurrentThread();
    ntmm_driver *New = malloc(sizeof *New);
    if (New == NULL)
        return STATUS_NO_MEMORY;
    New->Image = NULL;
    NTSTATUS Status = IopCreateDriver(&Parameters, &New->Object, &Called);
    if (NT_SUCCESS(Status)) {
        Status = IopStartDriver(New->Object);
        if (NT_SUCCESS(Status)) {
            *driver = New;
            return Status;
        }
        IopUnloadDriver(New->Object, NULL);
    }
    free(New);
    return Status;
}

int32_t ntmm_remove_driver(ntmm_driver *driver, ntmm_leftovers *left)
{
    IOP_LEFTOVERS Left = {0};
    NTSTATUS Status = IopUnloadDriver(driver->Object, &Left);
    if (!NT_SUCCESS(Status))
        return Status;
    if (driver->Image != NULL)
        HostUnloadImage(driver);
    if (left)
        *left = (ntmm_leftovers){Left.Devices, Left.SymbolicLinks, Left.OpenFiles, Left.WorkItems, Left.Timers};
    free(driver);
    return Status;
}

/* The object manager's name for what a program would pass to its open call. */
static NTSTATUS DeviceName(const char *name, UNICODE_STRING *Result, WCHAR *Buffer, size_t Room)
{
    const char *Prefix = "\\??\\";
    size_t Count = 0;
    if (strncmp(name, "\\\\.\\", 4) == 0 || strncmp(name, "\\\\?\\", 4) == 0)
        name += 4;
    else if (name[0] == '\\')
        Prefix = "";
    if (name[0] == 0)
        return STATUS_OBJECT_NAME_INVALID;
    for (; *Prefix; Prefix++)
        Buffer[Count++] = (unsigned char)*Prefix;
    for (; *name; name++) {
        if (Count >= Room)
            return STATUS_NAME_TOO_LONG;
        Buffer[Count++] = (unsigned char)*name;
    }
    *Result = (UNICODE_STRING){(USHORT)(Count * sizeof(WCHAR)), (USHORT)(Count * sizeof(WCHAR)), Buffer};
    return STATUS_SUCCESS;
}

int32_t ntmm_open(const char *name, ntmm_file **file)
{
    WCHAR Buffer[512];
    UNICODE_STRING Name;
    *file = NULL;
    KiCurrentThread();
    NTSTATUS Status = DeviceName(name, &Name, Buffer, ARRAYSIZE(Buffer));
    if (!NT_SUCCESS(Status))
        return Status;
    ntmm_file *New = calloc(1, sizeof *New);
    if (New == NULL)
        return STATUS_NO_MEMORY;
    Status = IopOpenUser(&Name, FILE_ALL_ACCESS, &New->Object);
    if (NT_SUCCESS(Status))
        *file = New;
    else
        free(New);
    return Status;
}

int32_t ntmm_close(ntmm_file *file)
{
    NTSTATUS Status = IopCloseUser(file->Object);
    free(file);
    return Status;
}

void ntmm_set_timeout(ntmm_file *file, unsigned milliseconds)
{
    file->Timeout = milliseconds;
}

int32_t ntmm_ioctl(ntmm_file *file, uint32_t code, const void *in, size_t in_length, void *out, size_t out_length,
                   uint64_t *information)
{
    ULONG_PTR Stored = 0;
    if (in_length > MAXULONG || out_length > MAXULONG)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status =
        IopDeviceControlUser(file->Object, FALSE, code, in, (ULONG)in_length, out, (ULONG)out_length, file->Timeout, &Stored);
    if (information)
        *information = Stored;
    return Status;
}

int32_t ntmm_user_ioctl(ntmm_file *file, uint32_t code, void *in, size_t in_length, void *out, size_t out_length,
                        uint64_t *information)
{
    ULONG_PTR Stored = 0;
    if (in_length > MAXULONG || out_length > MAXULONG)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status =
        IopDeviceControlAsIs(file->Object, code, in, (ULONG)in_length, out, (ULONG)out_length, file->Timeout, &Stored);
    if (information)
        *information = Stored;
    return Status;
}

int32_t ntmm_read(ntmm_file *file, void *buffer, size_t length, int64_t offset, uint64_t *information)
{
    ULONG_PTR Stored = 0;
    if (length > MAXULONG)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = IopReadUser(file->Object, buffer, (ULONG)length, offset, file->Timeout, &Stored);
    if (information)
        *information = Stored;
    return Status;
}

int32_t ntmm_write(ntmm_file *file, const void *buffer, size_t length, int64_t offset, uint64_t *information)
{
    ULONG_PTR Stored = 0;
    if (length > MAXULONG)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = IopWriteUser(file->Object, buffer, (ULONG)length, offset, file->Timeout, &Stored);
    if (information)
        *information = Stored;
    return Status;
}
