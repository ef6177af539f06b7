/*
 * number.c - integers and GUIDs to text and back; random numbers and checksums.
 *
 * Text to integer, all forms: leading characters <= ' ' are skipped, one sign is taken, with Base 0 a prefix
 * 0b, 0o or 0x chooses the base (else 10), then digits as far as they go. No digits: 0. Overflow wraps, as
 * the documents give no error for it.
 *
 * RtlRandomEx, RtlRandom and RtlUniform are documented as 31-bit generators over a seed that the caller
 * keeps; the sequence is ours (Lehmer, modulus 2^31-1): Windows' own sequence is not documented.
 * SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

ULONG RtlpDigits(ULONG64 Value, ULONG Base, CHAR *Out)
{
    CHAR Reverse[64];
    ULONG Count = 0;
    do {
        ULONG Digit = (ULONG)(Value % Base);
        Reverse[Count++] = (CHAR)(Digit < 10 ? '0' + Digit : 'A' + Digit - 10);
        Value /= Base;
    } while (Value != 0);
    for (ULONG i = 0; i < Count; i++)
        Out[i] = Reverse[Count - 1 - i];
    return Count;
}

static BOOLEAN RtlpCheckBase(PULONG Base)
{
    if (*Base == 0)
        *Base = 10;
    return (BOOLEAN)(*Base == 2 || *Base == 8 || *Base == 10 || *Base == 16);
}

NTSTATUS RtlInt64ToUnicodeString(ULONGLONG Value, ULONG Base, PUNICODE_STRING String)
{
    CHAR Digits[64];
    if (!RtlpCheckBase(&Base))
        return STATUS_INVALID_PARAMETER;
    ULONG Count = RtlpDigits(Value, Base, Digits);
    if (Count * sizeof(WCHAR) > String->MaximumLength)
        return STATUS_BUFFER_OVERFLOW;
    for (ULONG i = 0; i < Count; i++)
        String->Buffer[i] = (WCHAR)Digits[i];
    String->Length = (USHORT)(Count * sizeof(WCHAR));
    if (String->Length + sizeof(WCHAR) <= String->MaximumLength)
        String->Buffer[Count] = 0;
    return STATUS_SUCCESS;
}

NTSTATUS RtlIntegerToUnicodeString(ULONG Value, ULONG Base, PUNICODE_STRING String)
{
    return RtlInt64ToUnicodeString(Value, Base, String);
}

NTSTATUS RtlIntPtrToUnicodeString(ULONG_PTR Value, ULONG Base, PUNICODE_STRING String)
{
    return RtlInt64ToUnicodeString(Value, Base, String);
}

/* A negative OutputLength asks for zeros on the left, to exactly that many characters. */
NTSTATUS RtlIntegerToChar(ULONG Value, ULONG Base, LONG OutputLength, PSZ String)
{
    CHAR Digits[64];
    if (!RtlpCheckBase(&Base))
        return STATUS_INVALID_PARAMETER;
    LONG Count = (LONG)RtlpDigits(Value, Base, Digits);
    LONG Room = OutputLength < 0 ? -OutputLength : OutputLength;
    if (Count > Room)
        return STATUS_BUFFER_OVERFLOW;
    if (OutputLength < 0)
        for (; Room > Count; Room--)
            *String++ = '0';
    memcpy(String, Digits, (size_t)Count);
    if (Count < Room)
        String[Count] = 0;
    return STATUS_SUCCESS;
}

static ULONG RtlpDigitValue(ULONG Character)
{
    if (Character - '0' < 10)
        return Character - '0';
    Character |= 0x20;
    return Character - 'a' < 26 ? Character - 'a' + 10 : MAXULONG;
}

/* Units are CHAR or WCHAR. Count MAXSIZE_T: terminated. Returns the index where parsing stopped. */
static SIZE_T RtlpParse(const VOID *Text, BOOLEAN Wide, SIZE_T Count, ULONG Base, PULONG64 Value, PBOOLEAN BadBase)
{
#define RTLP_AT(n) ((n) < Count ? (Wide ? (ULONG)((PCWCH)Text)[n] : (ULONG)((const UCHAR *)Text)[n]) : 0u)
    SIZE_T i = 0;
    BOOLEAN Negative = FALSE;
    ULONG64 Result = 0;
    *BadBase = FALSE;
    while (i < Count && RTLP_AT(i) != 0 && RTLP_AT(i) <= ' ')
        i++;
    if (RTLP_AT(i) == '-' || RTLP_AT(i) == '+') {
        Negative = (BOOLEAN)(RTLP_AT(i) == '-');
        i++;
    }
    if (Base == 0) {
        Base = 10;
        if (RTLP_AT(i) == '0') {
            ULONG Letter = RTLP_AT(i + 1);
            ULONG Found = Letter == 'x' || Letter == 'X'   ? 16
                          : Letter == 'o' || Letter == 'O' ? 8
                          : Letter == 'b' || Letter == 'B' ? 2
                                                           : 0;
            if (Found != 0) {
                Base = Found;
                i += 2;
            }
        }
    } else if (Base != 2 && Base != 8 && Base != 10 && Base != 16) {
        *BadBase = TRUE;
        return 0;
    }
    for (ULONG Digit; RTLP_AT(i) != 0 && (Digit = RtlpDigitValue(RTLP_AT(i))) < Base; i++)
        Result = Result * Base + Digit;
    *Value = Negative ? 0 - Result : Result;
    return i;
#undef RTLP_AT
}

NTSTATUS RtlUnicodeStringToInteger(PCUNICODE_STRING String, ULONG Base, PULONG Value)
{
    ULONG64 Result;
    BOOLEAN BadBase;
    RtlpParse(String->Buffer, TRUE, String->Length / sizeof(WCHAR), Base, &Result, &BadBase);
    if (BadBase)
        return STATUS_INVALID_PARAMETER;
    *Value = (ULONG)Result;
    return STATUS_SUCCESS;
}

NTSTATUS RtlUnicodeStringToInt64(PCUNICODE_STRING String, ULONG Base, PLONG64 Number, PWSTR *EndPointer)
{
    ULONG64 Result;
    BOOLEAN BadBase;
    SIZE_T End = RtlpParse(String->Buffer, TRUE, String->Length / sizeof(WCHAR), Base, &Result, &BadBase);
    if (BadBase)
        return STATUS_INVALID_PARAMETER;
    *Number = (LONG64)Result;
    if (EndPointer != NULL)
        *EndPointer = String->Buffer + End;
    return STATUS_SUCCESS;
}

NTSTATUS RtlCharToInteger(PCSZ String, ULONG Base, PULONG Value)
{
    ULONG64 Result;
    BOOLEAN BadBase;
    RtlpParse(String, FALSE, MAXSIZE_T, Base, &Result, &BadBase);
    if (BadBase)
        return STATUS_INVALID_PARAMETER;
    *Value = (ULONG)Result;
    return STATUS_SUCCESS;
}

/* ---- GUIDs: {01234567-89AB-CDEF-0123-456789ABCDEF}, 38 characters ---- */
#define RTLP_GUID_CHARS 38
/* For each character of the text: the index of the GUID's byte in memory whose high digit stands there (the
 * low digit follows), or the literal character. The first three fields are little-endian. */
static const CHAR RtlpGuidText[RTLP_GUID_CHARS + 1] = "{33221100-5544-7766-8899-AABBCCDDEEFF}";

NTSTATUS RtlStringFromGUID(const GUID *Guid, PUNICODE_STRING GuidString)
{
    const UCHAR *Bytes = (const UCHAR *)Guid;
    PWCH Buffer = RtlpAllocateString((RTLP_GUID_CHARS + 1) * sizeof(WCHAR));
    if (Buffer == NULL)
        return STATUS_NO_MEMORY;
    for (ULONG i = 0; i < RTLP_GUID_CHARS; i++) {
        ULONG Index = RtlpDigitValue((ULONG)RtlpGuidText[i]);
        if (Index == MAXULONG) {
            Buffer[i] = (WCHAR)RtlpGuidText[i];
        } else {
            ULONG Digit = RtlpGuidText[i + 1] == RtlpGuidText[i] ? Bytes[Index] >> 4 : Bytes[Index] & 15;
            Buffer[i] = (WCHAR)(Digit < 10 ? '0' + Digit : 'A' + Digit - 10);
        }
    }
    Buffer[RTLP_GUID_CHARS] = 0;
    GuidString->Buffer = Buffer;
    GuidString->Length = RTLP_GUID_CHARS * sizeof(WCHAR);
    GuidString->MaximumLength = (RTLP_GUID_CHARS + 1) * sizeof(WCHAR);
    return STATUS_SUCCESS;
}

NTSTATUS RtlGUIDFromString(PCUNICODE_STRING GuidString, GUID *Guid)
{
    UCHAR Bytes[sizeof(GUID)] = {0};
    if (GuidString->Length != RTLP_GUID_CHARS * sizeof(WCHAR))
        return STATUS_INVALID_PARAMETER;
    for (ULONG i = 0; i < RTLP_GUID_CHARS; i++) {
        ULONG Index = RtlpDigitValue((ULONG)RtlpGuidText[i]), Character = GuidString->Buffer[i];
        if (Index == MAXULONG) {
            if (Character != (ULONG)RtlpGuidText[i])
                return STATUS_INVALID_PARAMETER;
        } else {
            ULONG Digit = Character < 0x80 ? RtlpDigitValue(Character) : MAXULONG;
            if (Digit > 15)
                return STATUS_INVALID_PARAMETER;
            Bytes[Index] = (UCHAR)(Bytes[Index] << 4 | Digit);
        }
    }
    memcpy(Guid, Bytes, sizeof(*Guid));
    return STATUS_SUCCESS;
}

/* ---- random numbers ---- */
ULONG RtlUniform(PULONG Seed)
{
    ULONG64 State = *Seed % MAXLONG;
    if (State == 0)
        State = 1;
    *Seed = (ULONG)(State * 48271 % MAXLONG);
    return *Seed % MAXLONG;
}

ULONG RtlRandom(PULONG Seed)
{
    ULONG High = RtlUniform(Seed);
    return (ULONG)(((ULONG64)High * 0x10001 ^ RtlUniform(Seed)) % MAXLONG);
}

ULONG RtlRandomEx(PULONG Seed)
{
    return RtlRandom(Seed);
}

/* ---- checksums, bit by bit: nobody's hot path ---- */
ULONG RtlCrc32(const VOID *Buffer, SIZE_T Size, ULONG InitialCrc)
{
    const UCHAR *Bytes = Buffer;
    ULONG Crc = ~InitialCrc;
    for (SIZE_T i = 0; i < Size; i++) {
        Crc ^= Bytes[i];
        for (ULONG Bit = 0; Bit < 8; Bit++)
            Crc = Crc >> 1 ^ (0xEDB88320 & (0 - (Crc & 1)));
    }
    return ~Crc;
}

ULONG RtlComputeCrc32(ULONG PartialCrc, const VOID *Buffer, ULONG Length)
{
    return RtlCrc32(Buffer, Length, PartialCrc);
}

ULONGLONG RtlCrc64(const VOID *Buffer, SIZE_T Size, ULONGLONG InitialCrc)
{
    const UCHAR *Bytes = Buffer;
    ULONGLONG Crc = ~InitialCrc;
    for (SIZE_T i = 0; i < Size; i++) {
        Crc ^= Bytes[i];
        for (ULONG Bit = 0; Bit < 8; Bit++)
            Crc = Crc >> 1 ^ (0x9A6C9329AC4BC9B5ULL & (0 - (Crc & 1)));
    }
    return ~Crc;
}

ULONG RtlNumberOfSetBitsUlongPtr(ULONG_PTR Target)
{
    ULONG Count = 0;
    for (; Target != 0; Target &= Target - 1)
        Count++;
    return Count;
}
