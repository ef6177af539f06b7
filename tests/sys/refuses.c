/*
 * refuses.c - the smallest driver: no imports but one, no relocations; refuses to start. SPDX-License-Identifier: MIT
 */
#include <ntddk.h>
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    (void)Driver;
    (void)RegistryPath;
    DbgPrint("refuses: no\n");
    return STATUS_DEVICE_CONFIGURATION_ERROR;
}
