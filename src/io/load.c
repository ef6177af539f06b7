/*
 * load.c - drivers that load drivers: ZwLoadDriver, ZwUnloadDriver. SPDX-License-Identifier: MIT
 *
 *     ZwLoadDriver   key \Registry\Machine\System\CurrentControlSet\Services\<Name>
 *        |               ImagePath (REG_SZ or REG_EXPAND_SZ); without one \SystemRoot\System32\drivers\<Name>.sys
 *        v
 *     IopLoadService (set by the image loader, a layer above): file -> image -> \Driver\<Name>, DriverEntry
 *        v
 *     IOP_DRIVER.ByService: the driver is one that ZwUnloadDriver may unload
 *
 * A driver whose image the host's side loaded belongs to the host: ZwUnloadDriver refuses it as it refuses one without
 * DriverUnload. One that is linked into the program it unloads. Where Windows puts an unload off until the last open file is
 * closed, ours is refused with STATUS_DEVICE_BUSY.
 *
 * Invariants: 1. ByService is set only for drivers that IopLoadService made; 2. DRVO_UNLOAD_INVOKED is set once for a driver, by
 * whoever then unloads it.
 * IRQL PASSIVE_LEVEL. Locks: none held across the loader or a driver. Watch: tests/unit/service_test.c.
 */
#include "io/iopp.h"

NTSTATUS (*IopLoadService)(PCUNICODE_STRING Service, PCUNICODE_STRING ImagePath, PDRIVER_OBJECT *Driver);
NTSTATUS (*IopUnloadService)(PDRIVER_OBJECT Driver);

static const WCHAR IopServicesKey[] = L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\";

/* <Name> of the path of a service's key. */
static NTSTATUS IopServiceName(PCUNICODE_STRING KeyPath, PUNICODE_STRING Name)
{
    UNICODE_STRING Prefix;
    RtlInitUnicodeString(&Prefix, IopServicesKey);
    if (KeyPath == NULL || KeyPath->Buffer == NULL || !RtlPrefixUnicodeString(&Prefix, KeyPath, TRUE))
        return STATUS_INVALID_PARAMETER;
    *Name = (UNICODE_STRING){(USHORT)(KeyPath->Length - Prefix.Length), (USHORT)(KeyPath->Length - Prefix.Length),
                             KeyPath->Buffer + Prefix.Length / sizeof(WCHAR)};
    if (Name->Length == 0)
        return STATUS_INVALID_PARAMETER;
    for (ULONG i = 0; i < Name->Length / sizeof(WCHAR); i++)
        if (Name->Buffer[i] == L'\\')
            return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

/* Three strings as one, for ObpFreeString. */
static NTSTATUS IopJoin(const WCHAR *Head, PCUNICODE_STRING Middle, const WCHAR *Tail, PUNICODE_STRING Result)
{
    UNICODE_STRING First, Last;
    RtlInitUnicodeString(&First, Head);
    RtlInitUnicodeString(&Last, Tail);
    SIZE_T Length = (SIZE_T)First.Length + Middle->Length + Last.Length;
    if (Length > 0xfff0)
        return STATUS_NAME_TOO_LONG;
    PUCHAR Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Length + sizeof(WCHAR), OBP_TAG_NAME);
    if (Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    memcpy(Buffer, First.Buffer, First.Length);
    memcpy(Buffer + First.Length, Middle->Buffer, Middle->Length);
    memcpy(Buffer + First.Length + Middle->Length, Last.Buffer, Last.Length);
    *Result = (UNICODE_STRING){(USHORT)Length, (USHORT)(Length + sizeof(WCHAR)), (PWCH)Buffer};
    return STATUS_SUCCESS;
}

/* The service's ImagePath, or the default; for ObpFreeString. */
static NTSTATUS IopServiceImage(PUNICODE_STRING KeyPath, PCUNICODE_STRING Name, PUNICODE_STRING ImagePath)
{
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING ValueName, Text;
    HANDLE Key;
    ULONG Length = 0;
    InitializeObjectAttributes(&Attributes, KeyPath, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS Status = ZwOpenKey(&Key, KEY_READ, &Attributes);
    if (!NT_SUCCESS(Status))
        return Status;
    RtlInitUnicodeString(&ValueName, L"ImagePath");
    Status = ZwQueryValueKey(Key, &ValueName, KeyValuePartialInformation, NULL, 0, &Length);
    if (Status == STATUS_OBJECT_NAME_NOT_FOUND) {
        Status = IopJoin(L"\\SystemRoot\\System32\\drivers\\", Name, L".sys", ImagePath);
        ZwClose(Key);
        return Status;
    }
    PKEY_VALUE_PARTIAL_INFORMATION Value = ExAllocatePool2(POOL_FLAG_NON_PAGED, Length, IOP_TAG);
    Status = Value ? ZwQueryValueKey(Key, &ValueName, KeyValuePartialInformation, Value, Length, &Length)
                   : STATUS_INSUFFICIENT_RESOURCES;
    ZwClose(Key);
    if (NT_SUCCESS(Status)) {
        ULONG Bytes = Value->DataLength & ~1u;
        while (Bytes >= sizeof(WCHAR) && ((PWCH)Value->Data)[Bytes / sizeof(WCHAR) - 1] == 0)
            Bytes -= sizeof(WCHAR);
        Text = (UNICODE_STRING){(USHORT)Bytes, (USHORT)Bytes, (PWCH)Value->Data};
        if ((Value->Type != REG_SZ && Value->Type != REG_EXPAND_SZ) || Bytes == 0 || Bytes > 0x7fff)
            Status = STATUS_ILL_FORMED_SERVICE_ENTRY;
        else
            Status = ObpCopyString(&Text, ImagePath);
    }
    if (Value)
        ExFreePoolWithTag(Value, IOP_TAG);
    return Status;
}

/* \Driver\<Name>, referenced. */
static NTSTATUS IopFindDriver(PCUNICODE_STRING Name, PDRIVER_OBJECT *Driver)
{
    UNICODE_STRING Path;
    NTSTATUS Status = IopJoin(L"\\Driver\\", Name, L"", &Path);
    if (!NT_SUCCESS(Status))
        return Status;
    Status =
        ObReferenceObjectByName(&Path, OBJ_CASE_INSENSITIVE, NULL, 0, *IoDriverObjectType, KernelMode, NULL, (PVOID *)Driver);
    ObpFreeString(&Path);
    return Status;
}

NTSTATUS ZwLoadDriver(PUNICODE_STRING DriverServiceName)
{
    KI_CHECK_SERVICE(NULL, DriverServiceName, NULL);
    UNICODE_STRING Name, ImagePath;
    PDRIVER_OBJECT Driver;
    NTSTATUS Status = IopServiceName(DriverServiceName, &Name);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = IopServiceImage(DriverServiceName, &Name, &ImagePath);
    if (!NT_SUCCESS(Status))
        return Status;
    if (NT_SUCCESS(IopFindDriver(&Name, &Driver))) {
        ObfDereferenceObject(Driver);
        Status = STATUS_IMAGE_ALREADY_LOADED;
    } else {
        Status = IopLoadService ? IopLoadService(&Name, &ImagePath, &Driver) : STATUS_NOT_SUPPORTED;
        if (Status == STATUS_OBJECT_NAME_COLLISION)
            Status = STATUS_IMAGE_ALREADY_LOADED;
        if (NT_SUCCESS(Status))
            IopDriver(Driver)->ByService = TRUE;
    }
    ObpFreeString(&ImagePath);
    return Status;
}

NTSTATUS ZwUnloadDriver(PUNICODE_STRING DriverServiceName)
{
    KI_CHECK_SERVICE(NULL, DriverServiceName, NULL);
    UNICODE_STRING Name;
    PDRIVER_OBJECT Driver;
    BOOLEAN Busy;
    NTSTATUS Status = IopServiceName(DriverServiceName, &Name);
    if (NT_SUCCESS(Status))
        Status = IopFindDriver(&Name, &Driver);
    if (!NT_SUCCESS(Status))
        return Status;
    KiAcquireLock(&IopDatabaseLock);
    Busy = IopDriver(Driver)->OpenFiles != 0;
    if ((!IopDriver(Driver)->ByService && Driver->DriverSection != NULL) || Driver->DriverUnload == NULL ||
        (Driver->Flags & DRVO_UNLOAD_INVOKED))
        Status = STATUS_INVALID_DEVICE_REQUEST;
    else if (Busy)
        Status = STATUS_DEVICE_BUSY;
    else
        Driver->Flags |= DRVO_UNLOAD_INVOKED;
    KiReleaseLock(&IopDatabaseLock);
    if (NT_SUCCESS(Status))
        Status = IopDriver(Driver)->ByService ? IopUnloadService(Driver) : IopUnloadDriver(Driver, NULL);
    ObfDereferenceObject(Driver);
    return Status;
}
