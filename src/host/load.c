/*
 * load.c - the host-side API for drivers of files: ntmm_load_driver. SPDX-License-Identifier: MIT
 *
 * Over ldr.h: load the image, run DriverEntry; ntmm_remove_driver (ioctl.c) takes the image away after DriverUnload.
 */
#include <stdlib.h>
#include "host/host.h"
#include "ldr/ldr.h"

int32_t ntmm_load_driver(const char *path, ntmm_driver **driver)
{
    char Error[LDR_ERROR_CHARS];
    LDR_IMAGE *Image;
    BOOLEAN Entered;
    *driver = NULL;
    KiCurrentThread();
    ntmm_driver *New = malloc(sizeof *New);
    if (New == NULL)
        return STATUS_NO_MEMORY;
    NTSTATUS Status = LdrLoadImage(path, NULL, 0, &Image, Error, sizeof Error);
    if (NT_SUCCESS(Status)) {
        Status = LdrStartDriver(Image, &Entered, Error, sizeof Error);
        if (NT_SUCCESS(Status)) {
            *New = (ntmm_driver){Image->DriverObject, Image};
            *driver = New;
            return Status;
        }
        if (Image->DriverObject == NULL || NT_SUCCESS(LdrStopDriver(Image, NULL)))
            LdrUnloadImage(Image);
    }
    HostFail("%s: %s", path, Error);
    free(New);
    return Status;
}

VOID HostUnloadImage(struct ntmm_driver *Driver)
{
    Driver->Image->DriverObject = NULL;
    LdrUnloadImage(Driver->Image);
}
