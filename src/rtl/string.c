/*
 * string.c - counted strings: describe, copy, append, compare, hash, duplicate.
 *
 * A counted string is Length bytes at Buffer; bytes past Length are never read, bytes past MaximumLength
 * never written. Routines that write keep: (1) Length <= MaximumLength; (2) a wide string's Length is even;
 * (3) a terminator follows only if MaximumLength leaves room for it.
 *
 * Order is by code unit after upper-casing, not linguistic, as in the kernel: RtlCompareUnicodeString.
 * SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

PVOID (*RtlpAllocateStringRoutine)(SIZE_T NumberOfBytes);
VOID (*RtlpFreeStringRoutine)(PVOID Buffer);

SIZE_T RtlpWideLength(PCWSTR Text)
{
    SIZE_T Length = 0;
    while (Text[Length] != 0)
        Length++;
    return Length;
}

SIZE_T RtlpNarrowLength(PCSTR Text)
{
    SIZE_T Length = 0;
    while (Text[Length] != 0)
        Length++;
    return Length;
}

/* ---- describe ---- */
VOID RtlInitUnicodeString(PUNICODE_STRING DestinationString, PCWSTR SourceString)
{
    SIZE_T Bytes = 0;
    DestinationString->Length = DestinationString->MaximumLength = 0;
    DestinationString->Buffer = (PWCH)SourceString;
    if (SourceString == NULL)
        return;
    Bytes = min(RtlpWideLength(SourceString) * sizeof(WCHAR), (SIZE_T)(MAX_USTRING - sizeof(WCHAR)));
    DestinationString->Length = (USHORT)Bytes;
    DestinationString->MaximumLength = (USHORT)(Bytes + sizeof(WCHAR));
}

NTSTATUS RtlInitUnicodeStringEx(PUNICODE_STRING DestinationString, PCWSTR SourceString)
{
    if (SourceString != NULL && RtlpWideLength(SourceString) * sizeof(WCHAR) > MAX_USTRING - sizeof(WCHAR))
        return STATUS_NAME_TOO_LONG;
    RtlInitUnicodeString(DestinationString, SourceString);
    return STATUS_SUCCESS;
}

VOID RtlInitString(PSTRING DestinationString, PCSZ SourceString)
{
    SIZE_T Bytes = 0;
    DestinationString->Length = DestinationString->MaximumLength = 0;
    DestinationString->Buffer = (PCHAR)SourceString;
    if (SourceString == NULL)
        return;
    Bytes = min(RtlpNarrowLength(SourceString), (SIZE_T)(MAX_USTRING - 1));
    DestinationString->Length = (USHORT)Bytes;
    DestinationString->MaximumLength = (USHORT)(Bytes + 1);
}

NTSTATUS RtlInitStringEx(PSTRING DestinationString, PCSZ SourceString)
{
    if (SourceString != NULL && RtlpNarrowLength(SourceString) > MAX_USTRING - 1)
        return STATUS_NAME_TOO_LONG;
    RtlInitString(DestinationString, SourceString);
    return STATUS_SUCCESS;
}

VOID RtlInitAnsiString(PANSI_STRING DestinationString, PCSZ SourceString)
{
    RtlInitString(DestinationString, SourceString);
}

NTSTATUS RtlInitAnsiStringEx(PANSI_STRING DestinationString, PCSZ SourceString)
{
    return RtlInitStringEx(DestinationString, SourceString);
}

VOID RtlInitUTF8String(PUTF8_STRING DestinationString, PCSZ SourceString)
{
    RtlInitString(DestinationString, SourceString);
}

NTSTATUS RtlInitUTF8StringEx(PUTF8_STRING DestinationString, PCSZ SourceString)
{
    return RtlInitStringEx(DestinationString, SourceString);
}

/* ---- copy and append ---- */
static VOID RtlpTerminate(PUNICODE_STRING String)
{
    if ((ULONG)String->Length + sizeof(WCHAR) <= String->MaximumLength)
        String->Buffer[String->Length / sizeof(WCHAR)] = 0;
}

VOID RtlCopyUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString)
{
    if (SourceString == NULL) {
        DestinationString->Length = 0;
        return;
    }
    USHORT Bytes = min(SourceString->Length, DestinationString->MaximumLength);
    memmove(DestinationString->Buffer, SourceString->Buffer, Bytes);
    DestinationString->Length = Bytes;
    RtlpTerminate(DestinationString);
}

VOID RtlCopyString(PSTRING DestinationString, const STRING *SourceString)
{
    if (SourceString == NULL) {
        DestinationString->Length = 0;
        return;
    }
    USHORT Bytes = min(SourceString->Length, DestinationString->MaximumLength);
    memmove(DestinationString->Buffer, SourceString->Buffer, Bytes);
    DestinationString->Length = Bytes;
}

static NTSTATUS RtlpAppend(PUNICODE_STRING Destination, PCWCH Source, SIZE_T Bytes)
{
    if (Bytes + Destination->Length > Destination->MaximumLength)
        return STATUS_BUFFER_TOO_SMALL;
    memmove((PUCHAR)Destination->Buffer + Destination->Length, Source, Bytes);
    Destination->Length = (USHORT)(Destination->Length + Bytes);
    RtlpTerminate(Destination);
    return STATUS_SUCCESS;
}

NTSTATUS RtlAppendUnicodeStringToString(PUNICODE_STRING Destination, PCUNICODE_STRING Source)
{
    return Source->Length == 0 ? STATUS_SUCCESS : RtlpAppend(Destination, Source->Buffer, Source->Length);
}

NTSTATUS RtlAppendUnicodeToString(PUNICODE_STRING Destination, PCWSTR Source)
{
    SIZE_T Bytes = Source != NULL ? RtlpWideLength(Source) * sizeof(WCHAR) : 0;
    return Bytes == 0 ? STATUS_SUCCESS : RtlpAppend(Destination, Source, Bytes);
}

NTSTATUS RtlAppendStringToString(PSTRING Destination, const STRING *Source)
{
    if ((ULONG)Source->Length + Destination->Length > Destination->MaximumLength)
        return STATUS_BUFFER_TOO_SMALL;
    if (Source->Length != 0)
        memmove(Destination->Buffer + Destination->Length, Source->Buffer, Source->Length);
    Destination->Length = (USHORT)(Destination->Length + Source->Length);
    return STATUS_SUCCESS;
}

NTSTATUS RtlAppendAsciizToString(PSTRING Destination, PCSZ Source)
{
    SIZE_T Bytes = Source != NULL ? RtlpNarrowLength(Source) : 0;
    if (Bytes + Destination->Length > Destination->MaximumLength)
        return STATUS_BUFFER_TOO_SMALL;
    if (Bytes != 0)
        memmove(Destination->Buffer + Destination->Length, Source, Bytes);
    Destination->Length = (USHORT)(Destination->Length + Bytes);
    return STATUS_SUCCESS;
}

/* ---- compare ---- */
LONG RtlCompareUnicodeStrings(PCWCH String1, SIZE_T String1Length, PCWCH String2, SIZE_T String2Length, BOOLEAN CaseInSensitive)
{
    SIZE_T Common = min(String1Length, String2Length);
    for (SIZE_T i = 0; i < Common; i++) {
        WCHAR A = String1[i], B = String2[i];
        if (A == B)
            continue;
        if (CaseInSensitive) {
            A = RtlpUpcase(A);
            B = RtlpUpcase(B);
            if (A == B)
                continue;
        }
        return (LONG)A - (LONG)B;
    }
    return String1Length < String2Length ? -1 : String1Length > String2Length;
}

LONG RtlCompareUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive)
{
    return RtlCompareUnicodeStrings(String1->Buffer, String1->Length / sizeof(WCHAR), String2->Buffer,
                                    String2->Length / sizeof(WCHAR), CaseInSensitive);
}

BOOLEAN RtlEqualUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive)
{
    return (BOOLEAN)(String1->Length == String2->Length && RtlCompareUnicodeString(String1, String2, CaseInSensitive) == 0);
}

BOOLEAN RtlPrefixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive)
{
    SIZE_T Units = String1->Length / sizeof(WCHAR);
    return (BOOLEAN)(String1->Length <= String2->Length &&
                     RtlCompareUnicodeStrings(String1->Buffer, Units, String2->Buffer, Units, CaseInSensitive) == 0);
}

BOOLEAN RtlSuffixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2, BOOLEAN CaseInSensitive)
{
    SIZE_T Units = String1->Length / sizeof(WCHAR), All = String2->Length / sizeof(WCHAR);
    return (BOOLEAN)(Units <= All && RtlCompareUnicodeStrings(String1->Buffer, Units, String2->Buffer + (All - Units), Units,
                                                              CaseInSensitive) == 0);
}

static LONG RtlpCompareNarrow(PCCH String1, SIZE_T Length1, PCCH String2, SIZE_T Length2, BOOLEAN CaseInSensitive)
{
    SIZE_T Common = min(Length1, Length2);
    for (SIZE_T i = 0; i < Common; i++) {
        UCHAR A = (UCHAR)String1[i], B = (UCHAR)String2[i];
        if (CaseInSensitive && A != B) {
            A = (UCHAR)RtlUpperChar((CHAR)A);
            B = (UCHAR)RtlUpperChar((CHAR)B);
        }
        if (A != B)
            return (LONG)A - (LONG)B;
    }
    return Length1 < Length2 ? -1 : Length1 > Length2;
}

LONG RtlCompareString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive)
{
    return RtlpCompareNarrow(String1->Buffer, String1->Length, String2->Buffer, String2->Length, CaseInSensitive);
}

BOOLEAN RtlEqualString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive)
{
    return (BOOLEAN)(String1->Length == String2->Length && RtlCompareString(String1, String2, CaseInSensitive) == 0);
}

BOOLEAN RtlPrefixString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive)
{
    return (BOOLEAN)(String1->Length <= String2->Length && RtlpCompareNarrow(String1->Buffer, String1->Length, String2->Buffer,
                                                                             String1->Length, CaseInSensitive) == 0);
}

NTSTATUS RtlHashUnicodeString(PCUNICODE_STRING String, BOOLEAN CaseInSensitive, ULONG HashAlgorithm, PULONG HashValue)
{
    if (String == NULL || HashValue == NULL ||
        (HashAlgorithm != HASH_STRING_ALGORITHM_DEFAULT && HashAlgorithm != HASH_STRING_ALGORITHM_X65599))
        return STATUS_INVALID_PARAMETER;
    ULONG Hash = 0;
    for (ULONG i = 0; i < String->Length / sizeof(WCHAR); i++)
        Hash = Hash * 65599 + (CaseInSensitive ? RtlpUpcase(String->Buffer[i]) : String->Buffer[i]);
    *HashValue = Hash;
    return STATUS_SUCCESS;
}

/* ---- check, duplicate, free ---- */
NTSTATUS RtlValidateUnicodeString(ULONG Flags, PCUNICODE_STRING String)
{
    if (Flags != 0)
        return STATUS_INVALID_PARAMETER;
    if (String != NULL && ((String->Length & 1) || (String->MaximumLength & 1) || String->Length > String->MaximumLength ||
                           (String->Buffer == NULL && (String->Length != 0 || String->MaximumLength != 0))))
        return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

NTSTATUS RtlDuplicateUnicodeString(ULONG Flags, PCUNICODE_STRING StringIn, PUNICODE_STRING StringOut)
{
    const ULONG Terminate = RTL_DUPLICATE_UNICODE_STRING_NULL_TERMINATE;
    const ULONG AllocateEmpty = RTL_DUPLICATE_UNICODE_STRING_ALLOCATE_NULL_STRING;
    if ((Flags & ~(Terminate | AllocateEmpty)) || (Flags & (Terminate | AllocateEmpty)) == AllocateEmpty || StringOut == NULL ||
        !NT_SUCCESS(RtlValidateUnicodeString(0, StringIn)))
        return STATUS_INVALID_PARAMETER;
    ULONG Length = StringIn != NULL ? StringIn->Length : 0;
    ULONG Bytes = Length + (Flags & Terminate ? sizeof(WCHAR) : 0);
    if (Length == 0 && !(Flags & AllocateEmpty))
        Bytes = 0;
    if (Bytes > MAX_USTRING)
        return STATUS_NAME_TOO_LONG;
    PWCH Buffer = NULL;
    if (Bytes != 0) {
        Buffer = RtlpAllocateString(Bytes);
        if (Buffer == NULL)
            return STATUS_NO_MEMORY;
        if (Length != 0)
            memcpy(Buffer, StringIn->Buffer, Length);
        if (Bytes > Length)
            Buffer[Length / sizeof(WCHAR)] = 0;
    }
    StringOut->Buffer = Buffer;
    StringOut->Length = (USHORT)Length;
    StringOut->MaximumLength = (USHORT)Bytes;
    return STATUS_SUCCESS;
}

BOOLEAN RtlCreateUnicodeString(PUNICODE_STRING DestinationString, PCWSTR SourceString)
{
    UNICODE_STRING Source;
    if (!NT_SUCCESS(RtlInitUnicodeStringEx(&Source, SourceString)))
        return FALSE;
    return (BOOLEAN)NT_SUCCESS(RtlDuplicateUnicodeString(RTL_DUPLICATE_UNICODE_STRING_NULL_TERMINATE |
                                                             RTL_DUPLICATE_UNICODE_STRING_ALLOCATE_NULL_STRING,
                                                         &Source, DestinationString));
}

VOID RtlFreeUnicodeString(PUNICODE_STRING UnicodeString)
{
    if (UnicodeString->Buffer != NULL) {
        RtlpFreeString(UnicodeString->Buffer);
        memset(UnicodeString, 0, sizeof(*UnicodeString));
    }
}

VOID RtlFreeAnsiString(PANSI_STRING AnsiString)
{
    if (AnsiString->Buffer != NULL) {
        RtlpFreeString(AnsiString->Buffer);
        memset(AnsiString, 0, sizeof(*AnsiString));
    }
}

VOID RtlFreeOemString(POEM_STRING OemString)
{
    RtlFreeAnsiString(OemString);
}

VOID RtlFreeUTF8String(PUTF8_STRING Utf8String)
{
    RtlFreeAnsiString(Utf8String);
}
