/*
 * ordinary_run.c - runs the ordinary driver's DriverEntry, which checks its own words as it goes.
 * SPDX-License-Identifier: MIT
 */
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;

int main(void)
{
    DRIVER_EXTENSION Extension = {0};
    DRIVER_OBJECT Driver = {.DriverExtension = &Extension};
    UNICODE_STRING Path = RTL_CONSTANT_STRING(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\ordinary");
    NTSTATUS Status = DriverEntry(&Driver, &Path);
    return NT_SUCCESS(Status) && Driver.DriverUnload != NULL && Driver.MajorFunction[IRP_MJ_PNP] != NULL ? 0 : 1;
}
