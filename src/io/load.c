/*
 * load.c - loading and unloading drivers by service key. SPDX-License-Identifier: MIT
 *
 * Implements ZwLoadDriver, ZwUnloadDriver. The image named by the key's ImagePath is found and loaded by the loader, which sets the
 * two routines below; without them only drivers that are part of the program can be unloaded, and none loaded.
 */
#include "io/iopp.h"

NTSTATUS (*IopLoadImageRoutine)(PCUNICODE_STRING ServiceName, PCUNICODE_STRING ImagePath);
NTSTATUS (*IopUnloadImageRoutine)(PDRIVER_OBJECT Driver);

static UNICODE_STRING IopLastComponent(PCUNICODE_STRING Path)
{
    ULONG Count = Path->Length / sizeof(WCHAR), At = Count;
    while (At > 0 && Path->Buffer[At - 1] != L'\\') At--;
    return (UNICODE_STRING){(USHORT)((Count - At) * sizeof(WCHAR)), (USHORT)((Count - At) * sizeof(WCHAR)), Path->Buffer + At};
}

/* The driver object of a service, referenced. */
static NTSTATUS IopFindDriver(PCUNICODE_STRING Service, PDRIVER_OBJECT *Driver)
{
    WCHAR Buffer[128] = L"\\Driver\\";
    UNICODE_STRING Path = {(USHORT)(8 * sizeof(WCHAR)), sizeof Buffer, Buffer};
    OBP_OPEN Open = {.Type = &IopDriverType};
    if (Path.Length + Service->Length > sizeof Buffer || Service->Length == 0) return STATUS_OBJECT_NAME_INVALID;
    memcpy(Buffer + 8, Service->Buffer, Service->Length);
    Path.Length = (USHORT)(Path.Length + Service->Length);
    return ObpLookup(NULL, &Path, &Open, (PVOID *)Driver);
}

NTSTATUS ZwLoadDriver(PUNICODE_STRING DriverServiceName)
{
    UNICODE_STRING Service = IopLastComponent(DriverServiceName), Value, Image;
    OBJECT_ATTRIBUTES Attributes;
    PDRIVER_OBJECT Driver;
    HANDLE Key;
    ULONG Length;
    struct {
        KEY_VALUE_PARTIAL_INFORMATION Info;
        WCHAR Text[260];
    } Out;
    NTSTATUS Status = IopFindDriver(&Service, &Driver);
    if (NT_SUCCESS(Status)) {
        ObfDereferenceObject(Driver);
        return STATUS_IMAGE_ALREADY_LOADED;
    }
    InitializeObjectAttributes(&Attributes, DriverServiceName, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwOpenKey(&Key, KEY_READ, &Attributes);
    if (!NT_SUCCESS(Status)) return Status;
    RtlInitUnicodeString(&Value, L"ImagePath");
    Status = ZwQueryValueKey(Key, &Value, KeyValuePartialInformation, &Out, sizeof Out, &Length);
    ZwClose(Key);
    if (!NT_SUCCESS(Status)) return Status;
    if (IopLoadImageRoutine == NULL) return STATUS_OBJECT_NAME_NOT_FOUND;
    Length = Out.Info.DataLength;
    if (Length >= sizeof(WCHAR) && ((PWCH)(PVOID)Out.Info.Data)[Length / sizeof(WCHAR) - 1] == 0) Length -= (ULONG)sizeof(WCHAR);
    Image = (UNICODE_STRING){(USHORT)Length, (USHORT)Length, (PWCH)(PVOID)Out.Info.Data};
    return IopLoadImageRoutine(&Service, &Image);
}

NTSTATUS ZwUnloadDriver(PUNICODE_STRING DriverServiceName)
{
    UNICODE_STRING Service = IopLastComponent(DriverServiceName);
    PDRIVER_OBJECT Driver;
    NTSTATUS Status = IopFindDriver(&Service, &Driver);
    if (!NT_SUCCESS(Status)) return Status;
    if (Driver->DriverSection)
        Status = IopUnloadImageRoutine ? IopUnloadImageRoutine(Driver) : STATUS_INVALID_DEVICE_REQUEST;
    else
        Status = IopUnloadDriver(Driver, NULL);
    ObfDereferenceObject(Driver);
    return Status;
}
