/*
 * rtlreg.c - the registry by path and by table: the Rtl helpers over the Zw services. SPDX-License-Identifier: MIT
 *
 * Implements RtlQueryRegistryValues, RtlWriteRegistryValue, RtlDeleteRegistryValue, RtlCheckRegistryKey, RtlCreateRegistryKey.
 *
 * A table is read entry by entry against a current key:
 *
 *     TOPKEY   the current key is the first one again
 *     SUBKEY   the current key is Name below it; with a routine, all its values are reported
 *     NOVALUE  the routine is called without a value
 *     no Name  the routine is called for every value of the current key
 *     Name     the value, or DefaultData, goes to the routine, or (DIRECT) to EntryContext
 *
 * Values reach a routine as documented: a multi-string one string at a time, an expandable string as a plain one (there are no
 * environment variables to expand), both unless NOEXPAND.
 */
#include "ob/obp.h"

#define RTLP_TAG 0x67725274u /* 'tRrg' */

static const WCHAR *const RtlpRoots[RTL_REGISTRY_MAXIMUM] = {
    L"",
    L"\\Registry\\Machine\\System\\CurrentControlSet\\Services",
    L"\\Registry\\Machine\\System\\CurrentControlSet\\Control",
    L"\\Registry\\Machine\\Software\\Microsoft\\Windows NT\\CurrentVersion",
    L"\\Registry\\Machine\\Hardware\\DeviceMap",
    L"\\Registry\\User\\.Default"};

/* A key of its own to close, or the caller's handle (*Own FALSE). */
static NTSTATUS RtlpOpen(ULONG RelativeTo, PCWSTR Path, BOOLEAN Create, ACCESS_MASK Access, PHANDLE Key, PBOOLEAN Own)
{
    UNICODE_STRING Root, Rest, Whole;
    OBJECT_ATTRIBUTES Attributes;
    ULONG Kind = RelativeTo & ~(ULONG)(RTL_REGISTRY_OPTIONAL | RTL_REGISTRY_HANDLE);
    *Own = FALSE;
    if (RelativeTo & RTL_REGISTRY_HANDLE) {
        *Key = (HANDLE)(ULONG_PTR)Path;
        return STATUS_SUCCESS;
    }
    if (Kind >= RTL_REGISTRY_MAXIMUM)
        return STATUS_INVALID_PARAMETER;
    RtlInitUnicodeString(&Root, RtlpRoots[Kind]);
    RtlInitUnicodeString(&Rest, Path);
    SIZE_T Length = (SIZE_T)Root.Length + Rest.Length + sizeof(WCHAR);
    if (Length > 0xfff0)
        return STATUS_NAME_TOO_LONG;
    Whole.Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Length, RTLP_TAG);
    if (Whole.Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    memcpy(Whole.Buffer, Root.Buffer, Root.Length);
    Whole.Length = Root.Length;
    if (Rest.Length && Root.Length && Rest.Buffer[0] != L'\\') {
        Whole.Buffer[Whole.Length / sizeof(WCHAR)] = L'\\';
        Whole.Length += sizeof(WCHAR);
    }
    if (Rest.Length)
        memcpy((PUCHAR)Whole.Buffer + Whole.Length, Rest.Buffer, Rest.Length);
    Whole.Length = (USHORT)(Whole.Length + Rest.Length);
    Whole.MaximumLength = (USHORT)Length;
    InitializeObjectAttributes(&Attributes, &Whole, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS Status = Create ? ZwCreateKey(Key, Access, &Attributes, 0, NULL, 0, NULL) : ZwOpenKey(Key, Access, &Attributes);
    ExFreePoolWithTag(Whole.Buffer, RTLP_TAG);
    *Own = NT_SUCCESS(Status);
    return Status;
}

NTSTATUS RtlCheckRegistryKey(ULONG RelativeTo, PWSTR Path)
{
    HANDLE Key;
    BOOLEAN Own;
    NTSTATUS Status = RtlpOpen(RelativeTo, Path, FALSE, KEY_READ, &Key, &Own);
    if (Own)
        ZwClose(Key);
    return Status;
}

NTSTATUS RtlCreateRegistryKey(ULONG RelativeTo, PWSTR Path)
{
    HANDLE Key;
    BOOLEAN Own;
    NTSTATUS Status = RtlpOpen(RelativeTo, Path, TRUE, KEY_ALL_ACCESS, &Key, &Own);
    if (Own)
        ZwClose(Key);
    return Status;
}

NTSTATUS RtlWriteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName, ULONG ValueType, PVOID ValueData,
                               ULONG ValueLength)
{
    HANDLE Key;
    BOOLEAN Own;
    UNICODE_STRING Name;
    NTSTATUS Status = RtlpOpen(RelativeTo, Path, TRUE, KEY_ALL_ACCESS, &Key, &Own);
    if (!NT_SUCCESS(Status))
        return Status;
    RtlInitUnicodeString(&Name, ValueName);
    Status = ZwSetValueKey(Key, &Name, 0, ValueType, ValueData, ValueLength);
    if (Own)
        ZwClose(Key);
    return Status;
}

NTSTATUS RtlDeleteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName)
{
    HANDLE Key;
    BOOLEAN Own;
    UNICODE_STRING Name;
    NTSTATUS Status = RtlpOpen(RelativeTo, Path, FALSE, KEY_ALL_ACCESS, &Key, &Own);
    if (!NT_SUCCESS(Status))
        return Status;
    RtlInitUnicodeString(&Name, ValueName);
    Status = ZwDeleteValueKey(Key, &Name);
    if (Own)
        ZwClose(Key);
    return Status;
}

/* ---- tables ---- */
static BOOLEAN RtlpIsString(ULONG Type)
{
    return Type == REG_SZ || Type == REG_EXPAND_SZ || Type == REG_MULTI_SZ;
}

static NTSTATUS RtlpDirect(PRTL_QUERY_REGISTRY_TABLE Entry, ULONG Type, PVOID Data, ULONG Length)
{
    if ((Entry->Flags & RTL_QUERY_REGISTRY_TYPECHECK) && (Entry->DefaultType >> RTL_QUERY_REGISTRY_TYPECHECK_SHIFT) != Type)
        return STATUS_OBJECT_TYPE_MISMATCH;
    if (RtlpIsString(Type)) {
        PUNICODE_STRING Target = Entry->EntryContext;
        if ((Entry->Flags & RTL_QUERY_REGISTRY_NOSTRING) != 0)
            return STATUS_OBJECT_TYPE_MISMATCH;
        USHORT Size = (USHORT)(Length > 0xfffe ? 0xfffe : Length);
        if (Target->Buffer == NULL) {
            Target->Buffer = ExAllocatePool2(POOL_FLAG_PAGED, Size ? Size : sizeof(WCHAR), RTLP_TAG);
            if (Target->Buffer == NULL)
                return STATUS_INSUFFICIENT_RESOURCES;
            Target->MaximumLength = Size;
        } else if (Size > Target->MaximumLength) {
            return STATUS_BUFFER_TOO_SMALL;
        }
        memcpy(Target->Buffer, Data, Size);
        /* The terminating null is stored, not counted; a multi-string keeps all of its own. */
        Target->Length = Size;
        if (Type != REG_MULTI_SZ && Size >= sizeof(WCHAR) && Target->Buffer[Size / sizeof(WCHAR) - 1] == 0)
            Target->Length = (USHORT)(Size - sizeof(WCHAR));
        return STATUS_SUCCESS;
    }
    if (Length <= sizeof(ULONG)) {
        memcpy(Entry->EntryContext, Data, Length);
        return STATUS_SUCCESS;
    }
    LONG Room = *(LONG *)Entry->EntryContext;
    if (Room < 0) { /* data alone */
        if ((ULONG)-Room < Length)
            return STATUS_BUFFER_TOO_SMALL;
        memcpy(Entry->EntryContext, Data, Length);
        return STATUS_SUCCESS;
    }
    if ((ULONG)Room < 2 * sizeof(ULONG) + Length)
        return STATUS_BUFFER_TOO_SMALL;
    ((PULONG)Entry->EntryContext)[0] = Length;
    ((PULONG)Entry->EntryContext)[1] = Type;
    memcpy((PULONG)Entry->EntryContext + 2, Data, Length);
    return STATUS_SUCCESS;
}

static NTSTATUS RtlpCall(PRTL_QUERY_REGISTRY_TABLE Entry, PVOID Context, PWSTR Name, ULONG Type, PVOID Data, ULONG Length)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): RtlpReport asks for a routine first */
    return KI_CALLOUT(NTSTATUS, Entry->QueryRoutine, (PWSTR, ULONG, PVOID, ULONG, PVOID, PVOID),
                      (Name, Type, Data, Length, Context, Entry->EntryContext));
}

static NTSTATUS RtlpReport(PRTL_QUERY_REGISTRY_TABLE Entry, PVOID Context, PWSTR Name, ULONG Type, PVOID Data, ULONG Length)
{
    if (Entry->Flags & RTL_QUERY_REGISTRY_DIRECT)
        return RtlpDirect(Entry, Type, Data, Length);
    if (Entry->QueryRoutine == NULL)
        return STATUS_SUCCESS;
    if (Entry->Flags & RTL_QUERY_REGISTRY_NOEXPAND)
        return RtlpCall(Entry, Context, Name, Type, Data, Length);
    if (Type == REG_EXPAND_SZ)
        Type = REG_SZ;
    if (Type != REG_MULTI_SZ)
        return RtlpCall(Entry, Context, Name, Type, Data, Length);
    for (PWCH One = Data, End = (PWCH)((PUCHAR)Data + Length); One < End && *One;) {
        PWCH Next = One;
        while (Next < End && *Next)
            Next++;
        if (Next < End)
            Next++;
        NTSTATUS Status = RtlpCall(Entry, Context, Name, REG_SZ, One, (ULONG)((PUCHAR)Next - (PUCHAR)One));
        if (!NT_SUCCESS(Status))
            return Status;
        One = Next;
    }
    return STATUS_SUCCESS;
}

/* A value's full information in a new block, with its name terminated; by name, or (NULL) by index. */
static NTSTATUS RtlpFetch(HANDLE Key, PUNICODE_STRING Name, ULONG Index, PKEY_VALUE_FULL_INFORMATION *Result)
{
    ULONG Size = 256, Need = 0;
    *Result = NULL;
    for (;;) {
        PKEY_VALUE_FULL_INFORMATION Info = ExAllocatePool2(POOL_FLAG_NON_PAGED, Size + 2 * sizeof(WCHAR), RTLP_TAG);
        if (Info == NULL)
            return STATUS_INSUFFICIENT_RESOURCES;
        NTSTATUS Status = Name ? ZwQueryValueKey(Key, Name, KeyValueFullInformation, Info, Size, &Need)
                               : ZwEnumerateValueKey(Key, Index, KeyValueFullInformation, Info, Size, &Need);
        if (NT_SUCCESS(Status)) {
            *Result = Info;
            return Status;
        }
        ExFreePoolWithTag(Info, RTLP_TAG);
        if (Status != STATUS_BUFFER_OVERFLOW && Status != STATUS_BUFFER_TOO_SMALL)
            return Status;
        Size = Need;
    }
}

static NTSTATUS RtlpReportAll(HANDLE Key, PRTL_QUERY_REGISTRY_TABLE Entry, PVOID Context)
{
    PKEY_VALUE_FULL_INFORMATION Info;
    NTSTATUS Status;
    for (ULONG Index = 0;; Index++) {
        Status = RtlpFetch(Key, NULL, Index, &Info);
        if (Status == STATUS_NO_MORE_ENTRIES)
            return Index == 0 && (Entry->Flags & RTL_QUERY_REGISTRY_REQUIRED) ? STATUS_OBJECT_NAME_NOT_FOUND : STATUS_SUCCESS;
        if (!NT_SUCCESS(Status))
            return Status;
        UNICODE_STRING Name = {(USHORT)Info->NameLength, (USHORT)Info->NameLength, Info->Name}, Copy;
        Status = ObpCopyString(&Name, &Copy);
        if (NT_SUCCESS(Status)) {
            Status = RtlpReport(Entry, Context, Copy.Buffer, Info->Type, (PUCHAR)Info + Info->DataOffset, Info->DataLength);
            ObpFreeString(&Copy);
        }
        ExFreePoolWithTag(Info, RTLP_TAG);
        if (!NT_SUCCESS(Status))
            return Status;
    }
}

static NTSTATUS RtlpReportOne(HANDLE Key, PRTL_QUERY_REGISTRY_TABLE Entry, PVOID Context)
{
    PKEY_VALUE_FULL_INFORMATION Info;
    UNICODE_STRING Name;
    ULONG DefaultType = Entry->DefaultType & ~RTL_QUERY_REGISTRY_TYPECHECK_MASK;
    RtlInitUnicodeString(&Name, Entry->Name);
    NTSTATUS Status = RtlpFetch(Key, &Name, 0, &Info);
    if (Status == STATUS_OBJECT_NAME_NOT_FOUND) {
        if (Entry->Flags & RTL_QUERY_REGISTRY_REQUIRED)
            return Status;
        if (DefaultType == REG_NONE)
            return STATUS_SUCCESS;
        ULONG Length = Entry->DefaultLength;
        if (Length == 0 && Entry->DefaultData && RtlpIsString(DefaultType)) {
            const WCHAR *W = Entry->DefaultData;
            while (W[Length] || (DefaultType == REG_MULTI_SZ && W[Length + 1]))
                Length++;
            Length = (Length + (DefaultType == REG_MULTI_SZ ? 2 : 1)) * (ULONG)sizeof(WCHAR);
        }
        return RtlpReport(Entry, Context, Entry->Name, DefaultType, Entry->DefaultData, Length);
    }
    if (!NT_SUCCESS(Status))
        return Status;
    Status = RtlpReport(Entry, Context, Entry->Name, Info->Type, (PUCHAR)Info + Info->DataOffset, Info->DataLength);
    ExFreePoolWithTag(Info, RTLP_TAG);
    if (NT_SUCCESS(Status) && (Entry->Flags & RTL_QUERY_REGISTRY_DELETE))
        ZwDeleteValueKey(Key, &Name);
    return Status;
}

NTSTATUS RtlQueryRegistryValues(ULONG RelativeTo, PCWSTR Path, PRTL_QUERY_REGISTRY_TABLE QueryTable, PVOID Context,
                                PVOID Environment)
{
    HANDLE Top, Current, Sub;
    BOOLEAN Own;
    UNREFERENCED_PARAMETER(Environment);
    NTSTATUS Status = RtlpOpen(RelativeTo, Path, FALSE, KEY_ALL_ACCESS, &Top, &Own);
    if (!NT_SUCCESS(Status))
        return Status == STATUS_OBJECT_NAME_NOT_FOUND && (RelativeTo & RTL_REGISTRY_OPTIONAL) ? STATUS_SUCCESS : Status;
    Current = Top;
    for (PRTL_QUERY_REGISTRY_TABLE Entry = QueryTable;
         NT_SUCCESS(Status) &&
         (Entry->QueryRoutine || (Entry->Flags & (RTL_QUERY_REGISTRY_SUBKEY | RTL_QUERY_REGISTRY_DIRECT)));
         Entry++) {
        if ((Entry->Flags & RTL_QUERY_REGISTRY_DIRECT) &&
            (Entry->Name == NULL || (Entry->Flags & RTL_QUERY_REGISTRY_SUBKEY) || Entry->QueryRoutine)) {
            Status = STATUS_INVALID_PARAMETER;
            break;
        }
        if ((Entry->Flags & (RTL_QUERY_REGISTRY_TOPKEY | RTL_QUERY_REGISTRY_SUBKEY)) && Current != Top) {
            ZwClose(Current);
            Current = Top;
        }
        if (Entry->Flags & RTL_QUERY_REGISTRY_SUBKEY) {
            UNICODE_STRING Name;
            OBJECT_ATTRIBUTES Attributes;
            if (Entry->Name == NULL) {
                Status = STATUS_INVALID_PARAMETER;
                break;
            }
            RtlInitUnicodeString(&Name, Entry->Name);
            InitializeObjectAttributes(&Attributes, &Name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, Top, NULL);
            Status = ZwOpenKey(&Sub, KEY_ALL_ACCESS, &Attributes);
            if (!NT_SUCCESS(Status))
                break;
            Current = Sub;
            if (Entry->QueryRoutine)
                Status = RtlpReportAll(Current, Entry, Context);
        } else if (Entry->Flags & RTL_QUERY_REGISTRY_NOVALUE) {
            Status = RtlpCall(Entry, Context, NULL, REG_NONE, NULL, 0);
        } else if (Entry->Name == NULL) {
            Status = RtlpReportAll(Current, Entry, Context);
        } else {
            Status = RtlpReportOne(Current, Entry, Context);
        }
    }
    if (Current != Top)
        ZwClose(Current);
    if (Own)
        ZwClose(Top);
    return Status;
}
