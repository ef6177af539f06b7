/*
 * unicode.c - characters: upper and lower case, and conversion between UTF-16, UTF-8, and code pages 1252
 * (ANSI) and 437 (OEM).
 *
 * Case is looked up by binary search in runs (unicode_data.c); characters below 0x80 never get there.
 * Converting to a code page searches the upper half of its table; both tables map bytes below 0x80 to
 * themselves. Ill-formed UTF-16 or UTF-8 converts to U+FFFD, one for each maximal ill-formed piece.
 *
 * The String routines all go through RtlpConvert: measure, allocate or check the caller's buffer, convert,
 * terminate. Documented order of failures: result too long for a counted string (STATUS_INVALID_PARAMETER_2),
 * no memory, buffer too small (STATUS_BUFFER_OVERFLOW). SPDX-License-Identifier: MIT
 */
#include "rtl/unicode_data.h"

static WCHAR RtlpMapCase(WCHAR Character, const RTLP_CASE_RANGE *Runs, ULONG Count)
{
    ULONG Low = 0, High = Count;
    while (Low < High) {
        ULONG Middle = (Low + High) / 2;
        if (Runs[Middle].Last < Character)
            Low = Middle + 1;
        else
            High = Middle;
    }
    if (Low < Count && Character >= Runs[Low].First && (Character - Runs[Low].First) % Runs[Low].Stride == 0)
        return (WCHAR)(Character + Runs[Low].Difference);
    return Character;
}

WCHAR RtlUpcaseUnicodeChar(WCHAR SourceCharacter)
{
    if (SourceCharacter < 0x80)
        return (WCHAR)((ULONG)(SourceCharacter - 'a') < 26u ? SourceCharacter - 32 : SourceCharacter);
    return RtlpMapCase(SourceCharacter, RtlpUpcaseRuns, RtlpUpcaseRunCount);
}

WCHAR RtlDowncaseUnicodeChar(WCHAR SourceCharacter)
{
    if (SourceCharacter < 0x80)
        return (WCHAR)((ULONG)(SourceCharacter - 'A') < 26u ? SourceCharacter + 32 : SourceCharacter);
    return RtlpMapCase(SourceCharacter, RtlpDowncaseRuns, RtlpDowncaseRunCount);
}

static UCHAR RtlpToCodePage(WCHAR Character, const WCHAR *Table)
{
    if (Character < 0x80)
        return (UCHAR)Character;
    for (ULONG i = 0x80; i < 0x100; i++)
        if (Table[i] == Character)
            return (UCHAR)i;
    return '?';
}

UCHAR RtlpUnicodeToAnsi(WCHAR Character)
{
    return RtlpToCodePage(Character, RtlpAnsiTable);
}

UCHAR RtlpUnicodeToOem(WCHAR Character)
{
    return RtlpToCodePage(Character, RtlpOemTable);
}

CHAR RtlUpperChar(CHAR Character)
{
    WCHAR Upper = RtlpUpcase(RtlpAnsiTable[(UCHAR)Character]);
    UCHAR Byte = RtlpUnicodeToAnsi(Upper);
    return Byte == '?' && Upper != '?' ? Character : (CHAR)Byte; /* no upper case in this code page */
}

VOID RtlUpperString(PSTRING DestinationString, const STRING *SourceString)
{
    USHORT Bytes = min(SourceString->Length, DestinationString->MaximumLength);
    for (ULONG i = 0; i < Bytes; i++)
        DestinationString->Buffer[i] = RtlUpperChar(SourceString->Buffer[i]);
    DestinationString->Length = Bytes;
}

/* ---- UTF-16 and UTF-8, one code point at a time ---- */
ULONG RtlpNextUtf16(PCWCH *Text, PCWCH End, BOOLEAN *Bad)
{
    ULONG Unit = *(*Text)++;
    if (Unit - 0xD800 >= 0x800)
        return Unit;
    if (Unit < 0xDC00 && *Text < End && (ULONG) * *Text - 0xDC00 < 0x400) {
        ULONG Low = *(*Text)++;
        return 0x10000 + ((Unit - 0xD800) << 10) + (Low - 0xDC00);
    }
    *Bad = TRUE;
    return 0xFFFD;
}

ULONG RtlpNextUtf8(const UCHAR **Text, const UCHAR *End, BOOLEAN *Bad)
{
    ULONG Lead = *(*Text)++, Need, Minimum = 0x80, Maximum = 0xBF, CodePoint;
    if (Lead < 0x80)
        return Lead;
    if (Lead >= 0xC2 && Lead <= 0xDF) {
        Need = 1;
        CodePoint = Lead & 0x1F;
    } else if (Lead >= 0xE0 && Lead <= 0xEF) {
        Need = 2;
        CodePoint = Lead & 0xF;
        if (Lead == 0xE0)
            Minimum = 0xA0; /* shorter forms exist */
        else if (Lead == 0xED)
            Maximum = 0x9F; /* surrogates */
    } else if (Lead >= 0xF0 && Lead <= 0xF4) {
        Need = 3;
        CodePoint = Lead & 7;
        if (Lead == 0xF0)
            Minimum = 0x90;
        else if (Lead == 0xF4)
            Maximum = 0x8F;
    } else {
        *Bad = TRUE;
        return 0xFFFD;
    }
    for (; Need > 0; Need--) {
        if (*Text == End || **Text < Minimum || **Text > Maximum) {
            *Bad = TRUE;
            return 0xFFFD;
        }
        CodePoint = (CodePoint << 6) | (*(*Text)++ & 0x3F);
        Minimum = 0x80;
        Maximum = 0xBF;
    }
    return CodePoint;
}

ULONG RtlpPutUtf8(ULONG CodePoint, UCHAR Out[4])
{
    if (CodePoint < 0x80) {
        Out[0] = (UCHAR)CodePoint;
        return 1;
    }
    if (CodePoint < 0x800) {
        Out[0] = (UCHAR)(0xC0 | CodePoint >> 6);
        Out[1] = (UCHAR)(0x80 | (CodePoint & 0x3F));
        return 2;
    }
    if (CodePoint < 0x10000) {
        Out[0] = (UCHAR)(0xE0 | CodePoint >> 12);
        Out[1] = (UCHAR)(0x80 | (CodePoint >> 6 & 0x3F));
        Out[2] = (UCHAR)(0x80 | (CodePoint & 0x3F));
        return 3;
    }
    Out[0] = (UCHAR)(0xF0 | CodePoint >> 18);
    Out[1] = (UCHAR)(0x80 | (CodePoint >> 12 & 0x3F));
    Out[2] = (UCHAR)(0x80 | (CodePoint >> 6 & 0x3F));
    Out[3] = (UCHAR)(0x80 | (CodePoint & 0x3F));
    return 4;
}

NTSTATUS RtlUTF8ToUnicodeN(PWSTR UnicodeStringDestination, ULONG UnicodeStringMaxByteCount, PULONG UnicodeStringActualByteCount,
                           PCCH UTF8StringSource, ULONG UTF8StringByteCount)
{
    const UCHAR *Text = (const UCHAR *)UTF8StringSource, *End = Text + UTF8StringByteCount;
    ULONG Units = 0, Room = UnicodeStringMaxByteCount / sizeof(WCHAR);
    BOOLEAN Bad = FALSE;
    if (UTF8StringSource == NULL)
        return STATUS_INVALID_PARAMETER_4;
    if (UnicodeStringDestination == NULL && UnicodeStringActualByteCount == NULL)
        return STATUS_INVALID_PARAMETER;
    while (Text < End) {
        const UCHAR *Before = Text;
        ULONG CodePoint = RtlpNextUtf8(&Text, End, &Bad), Count = CodePoint >= 0x10000 ? 2 : 1;
        if (UnicodeStringDestination != NULL) {
            if (Units + Count > Room) {
                Text = Before;
                break;
            }
            if (Count == 2) {
                UnicodeStringDestination[Units] = (WCHAR)(0xD7C0 + (CodePoint >> 10));
                UnicodeStringDestination[Units + 1] = (WCHAR)(0xDC00 | (CodePoint & 0x3FF));
            } else {
                UnicodeStringDestination[Units] = (WCHAR)CodePoint;
            }
        }
        Units += Count;
    }
    if (UnicodeStringActualByteCount != NULL)
        *UnicodeStringActualByteCount = Units * sizeof(WCHAR);
    return Text < End ? STATUS_BUFFER_TOO_SMALL : Bad ? STATUS_SOME_NOT_MAPPED : STATUS_SUCCESS;
}

NTSTATUS RtlUnicodeToUTF8N(PCHAR UTF8StringDestination, ULONG UTF8StringMaxByteCount, PULONG UTF8StringActualByteCount,
                           PCWCH UnicodeStringSource, ULONG UnicodeStringByteCount)
{
    PCWCH Text = UnicodeStringSource, End = Text + UnicodeStringByteCount / sizeof(WCHAR);
    ULONG Bytes = 0;
    BOOLEAN Bad = FALSE;
    if (UnicodeStringSource == NULL)
        return STATUS_INVALID_PARAMETER_4;
    if (UnicodeStringByteCount & 1)
        return STATUS_INVALID_PARAMETER_5;
    if (UTF8StringDestination == NULL && UTF8StringActualByteCount == NULL)
        return STATUS_INVALID_PARAMETER;
    while (Text < End) {
        UCHAR Out[4];
        PCWCH Before = Text;
        ULONG Count = RtlpPutUtf8(RtlpNextUtf16(&Text, End, &Bad), Out);
        if (UTF8StringDestination != NULL) {
            if (Bytes + Count > UTF8StringMaxByteCount) {
                Text = Before;
                break;
            }
            memcpy(UTF8StringDestination + Bytes, Out, Count);
        }
        Bytes += Count;
    }
    if (UTF8StringActualByteCount != NULL)
        *UTF8StringActualByteCount = Bytes;
    return Text < End ? STATUS_BUFFER_TOO_SMALL : Bad ? STATUS_SOME_NOT_MAPPED : STATUS_SUCCESS;
}

/* ---- counted buffers and code pages ---- */
static NTSTATUS RtlpFromCodePage(PWCH To, ULONG MaxBytes, PULONG Actual, const CHAR *From, ULONG Bytes, const WCHAR *Table)
{
    ULONG Count = min(Bytes, MaxBytes / (ULONG)sizeof(WCHAR));
    for (ULONG i = 0; i < Count; i++)
        To[i] = Table[(UCHAR)From[i]];
    if (Actual != NULL)
        *Actual = Count * sizeof(WCHAR);
    return STATUS_SUCCESS;
}

static NTSTATUS RtlpToCodePageN(PCHAR To, ULONG MaxBytes, PULONG Actual, PCWCH From, ULONG Bytes, const WCHAR *Table,
                                BOOLEAN Upcase)
{
    ULONG Count = min(Bytes / (ULONG)sizeof(WCHAR), MaxBytes);
    for (ULONG i = 0; i < Count; i++)
        To[i] = (CHAR)RtlpToCodePage(Upcase ? RtlpUpcase(From[i]) : From[i], Table);
    if (Actual != NULL)
        *Actual = Count;
    return STATUS_SUCCESS;
}

NTSTATUS RtlMultiByteToUnicodeN(PWCH UnicodeString, ULONG MaxBytesInUnicodeString, PULONG BytesInUnicodeString,
                                const CHAR *MultiByteString, ULONG BytesInMultiByteString)
{
    return RtlpFromCodePage(UnicodeString, MaxBytesInUnicodeString, BytesInUnicodeString, MultiByteString,
                            BytesInMultiByteString, RtlpAnsiTable);
}

NTSTATUS RtlOemToUnicodeN(PWCH UnicodeString, ULONG MaxBytesInUnicodeString, PULONG BytesInUnicodeString, const CHAR *OemString,
                          ULONG BytesInOemString)
{
    return RtlpFromCodePage(UnicodeString, MaxBytesInUnicodeString, BytesInUnicodeString, OemString, BytesInOemString,
                            RtlpOemTable);
}

NTSTATUS RtlMultiByteToUnicodeSize(PULONG BytesInUnicodeString, const CHAR *MultiByteString, ULONG BytesInMultiByteString)
{
    UNREFERENCED_PARAMETER(MultiByteString);
    *BytesInUnicodeString = BytesInMultiByteString * sizeof(WCHAR);
    return STATUS_SUCCESS;
}

NTSTATUS RtlUnicodeToMultiByteN(PCHAR MultiByteString, ULONG MaxBytesInMultiByteString, PULONG BytesInMultiByteString,
                                PCWCH UnicodeString, ULONG BytesInUnicodeString)
{
    return RtlpToCodePageN(MultiByteString, MaxBytesInMultiByteString, BytesInMultiByteString, UnicodeString,
                           BytesInUnicodeString, RtlpAnsiTable, FALSE);
}

NTSTATUS RtlUpcaseUnicodeToMultiByteN(PCHAR MultiByteString, ULONG MaxBytesInMultiByteString, PULONG BytesInMultiByteString,
                                      PCWCH UnicodeString, ULONG BytesInUnicodeString)
{
    return RtlpToCodePageN(MultiByteString, MaxBytesInMultiByteString, BytesInMultiByteString, UnicodeString,
                           BytesInUnicodeString, RtlpAnsiTable, TRUE);
}

NTSTATUS RtlUnicodeToOemN(PCHAR OemString, ULONG MaxBytesInOemString, PULONG BytesInOemString, PCWCH UnicodeString,
                          ULONG BytesInUnicodeString)
{
    return RtlpToCodePageN(OemString, MaxBytesInOemString, BytesInOemString, UnicodeString, BytesInUnicodeString, RtlpOemTable,
                           FALSE);
}

NTSTATUS RtlUpcaseUnicodeToOemN(PCHAR OemString, ULONG MaxBytesInOemString, PULONG BytesInOemString, PCWCH UnicodeString,
                                ULONG BytesInUnicodeString)
{
    return RtlpToCodePageN(OemString, MaxBytesInOemString, BytesInOemString, UnicodeString, BytesInUnicodeString, RtlpOemTable,
                           TRUE);
}

NTSTATUS RtlUnicodeToMultiByteSize(PULONG BytesInMultiByteString, PCWCH UnicodeString, ULONG BytesInUnicodeString)
{
    UNREFERENCED_PARAMETER(UnicodeString);
    *BytesInMultiByteString = BytesInUnicodeString / sizeof(WCHAR);
    return STATUS_SUCCESS;
}

ULONG RtlxAnsiStringToUnicodeSize(PCANSI_STRING AnsiString)
{
    return (AnsiString->Length + 1) * (ULONG)sizeof(WCHAR);
}

ULONG RtlxOemStringToUnicodeSize(PCOEM_STRING OemString)
{
    return RtlxAnsiStringToUnicodeSize(OemString);
}

ULONG RtlxUnicodeStringToAnsiSize(PCUNICODE_STRING UnicodeString)
{
    return UnicodeString->Length / (ULONG)sizeof(WCHAR) + 1;
}

ULONG RtlxUnicodeStringToOemSize(PCUNICODE_STRING UnicodeString)
{
    return RtlxUnicodeStringToAnsiSize(UnicodeString);
}

/* ---- counted strings ----
 * UNICODE_STRING and STRING have the same shape; To and From are either. Terminator: bytes that a terminator
 * of To takes; 0 for the case routines, which do not add one. */
static NTSTATUS RtlpPrepare(PSTRING To, ULONG Length, ULONG Terminator, BOOLEAN Allocate)
{
    if (Length + Terminator > 0xFFFF)
        return STATUS_INVALID_PARAMETER_2;
    if (Allocate) {
        /* An empty result without terminator still has a buffer, so that freeing it is uniform. */
        To->Buffer = RtlpAllocateString(max(Length + Terminator, (ULONG)sizeof(WCHAR)));
        if (To->Buffer == NULL)
            return STATUS_NO_MEMORY;
        To->MaximumLength = (USHORT)(Length + Terminator);
    } else if (Length + Terminator > To->MaximumLength) {
        return STATUS_BUFFER_OVERFLOW;
    }
    To->Length = (USHORT)Length;
    if (Terminator != 0)
        memset(To->Buffer + Length, 0, Terminator);
    return STATUS_SUCCESS;
}

static NTSTATUS RtlpStringToUnicode(PUNICODE_STRING To, const STRING *From, BOOLEAN Allocate, const WCHAR *Table,
                                    ULONG Terminator)
{
    NTSTATUS Status = RtlpPrepare((PSTRING)To, From->Length * (ULONG)sizeof(WCHAR), Terminator, Allocate);
    return NT_SUCCESS(Status) ? RtlpFromCodePage(To->Buffer, To->Length, NULL, From->Buffer, From->Length, Table) : Status;
}

static NTSTATUS RtlpUnicodeToString(PSTRING To, PCUNICODE_STRING From, BOOLEAN Allocate, const WCHAR *Table, BOOLEAN Upcase)
{
    NTSTATUS Status = RtlpPrepare(To, From->Length / (ULONG)sizeof(WCHAR), sizeof(CHAR), Allocate);
    return NT_SUCCESS(Status) ? RtlpToCodePageN(To->Buffer, To->Length, NULL, From->Buffer, From->Length, Table, Upcase)
                              : Status;
}

NTSTATUS RtlAnsiStringToUnicodeString(PUNICODE_STRING DestinationString, PCANSI_STRING SourceString,
                                      BOOLEAN AllocateDestinationString)
{
    return RtlpStringToUnicode(DestinationString, SourceString, AllocateDestinationString, RtlpAnsiTable, sizeof(WCHAR));
}

NTSTATUS RtlOemStringToUnicodeString(PUNICODE_STRING DestinationString, PCOEM_STRING SourceString,
                                     BOOLEAN AllocateDestinationString)
{
    return RtlpStringToUnicode(DestinationString, SourceString, AllocateDestinationString, RtlpOemTable, sizeof(WCHAR));
}

/* ---- the counted forms: no terminator, and no character that the code page lacks ---- */
NTSTATUS RtlOemStringToCountedUnicodeString(PUNICODE_STRING DestinationString, PCOEM_STRING SourceString,
                                            BOOLEAN AllocateDestinationString)
{
    return RtlpStringToUnicode(DestinationString, SourceString, AllocateDestinationString, RtlpOemTable, 0);
}

/* With Upcase both the character and its upper case must be there: the page translates to the code page and back before it raises. */
static NTSTATUS RtlpUnicodeToCountedOem(POEM_STRING To, PCUNICODE_STRING From, BOOLEAN Allocate, BOOLEAN Upcase)
{
    ULONG Count = From->Length / (ULONG)sizeof(WCHAR);
    for (ULONG i = 0; i < Count; i++) {
        WCHAR Upper = Upcase ? RtlpUpcase(From->Buffer[i]) : From->Buffer[i];
        if ((From->Buffer[i] != '?' && RtlpUnicodeToOem(From->Buffer[i]) == '?') ||
            (Upper != '?' && RtlpUnicodeToOem(Upper) == '?'))
            return STATUS_UNMAPPABLE_CHARACTER;
    }
    NTSTATUS Status = RtlpPrepare(To, Count, 0, Allocate);
    return NT_SUCCESS(Status) ? RtlpToCodePageN(To->Buffer, To->Length, NULL, From->Buffer, From->Length, RtlpOemTable, Upcase)
                              : Status;
}

NTSTATUS RtlUnicodeStringToCountedOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                            BOOLEAN AllocateDestinationString)
{
    return RtlpUnicodeToCountedOem(DestinationString, SourceString, AllocateDestinationString, FALSE);
}

NTSTATUS RtlUpcaseUnicodeStringToCountedOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                                  BOOLEAN AllocateDestinationString)
{
    return RtlpUnicodeToCountedOem(DestinationString, SourceString, AllocateDestinationString, TRUE);
}

NTSTATUS RtlUnicodeStringToAnsiString(PANSI_STRING DestinationString, PCUNICODE_STRING SourceString,
                                      BOOLEAN AllocateDestinationString)
{
    return RtlpUnicodeToString(DestinationString, SourceString, AllocateDestinationString, RtlpAnsiTable, FALSE);
}

NTSTATUS RtlUpcaseUnicodeStringToAnsiString(PANSI_STRING DestinationString, PCUNICODE_STRING SourceString,
                                            BOOLEAN AllocateDestinationString)
{
    return RtlpUnicodeToString(DestinationString, SourceString, AllocateDestinationString, RtlpAnsiTable, TRUE);
}

NTSTATUS RtlUnicodeStringToOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                     BOOLEAN AllocateDestinationString)
{
    return RtlpUnicodeToString(DestinationString, SourceString, AllocateDestinationString, RtlpOemTable, FALSE);
}

NTSTATUS RtlUpcaseUnicodeStringToOemString(POEM_STRING DestinationString, PCUNICODE_STRING SourceString,
                                           BOOLEAN AllocateDestinationString)
{
    return RtlpUnicodeToString(DestinationString, SourceString, AllocateDestinationString, RtlpOemTable, TRUE);
}

/* ---- UTF-8 strings: terminated if the source is; the caller's buffer takes what fits, with a warning ---- */
static NTSTATUS RtlpPrepareUtf8(PSTRING To, ULONG Bytes, BOOLEAN Allocate)
{
    NTSTATUS Status = RtlpPrepare(To, Bytes, 0, Allocate);
    return Status == STATUS_BUFFER_OVERFLOW ? STATUS_SUCCESS : Status; /* the conversion finds out where to stop */
}

static NTSTATUS RtlpFinishUtf8(PSTRING To, NTSTATUS Status, ULONG Bytes)
{
    To->Length = (USHORT)Bytes;
    return Status == STATUS_BUFFER_TOO_SMALL ? STATUS_BUFFER_OVERFLOW : Status;
}

NTSTATUS RtlUnicodeStringToUTF8String(PUTF8_STRING DestinationString, PCUNICODE_STRING SourceString,
                                      BOOLEAN AllocateDestinationString)
{
    ULONG Bytes = 0;
    if (SourceString->Length != 0)
        RtlUnicodeToUTF8N(NULL, 0, &Bytes, SourceString->Buffer, SourceString->Length & ~1u);
    NTSTATUS Status = RtlpPrepareUtf8(DestinationString, Bytes, AllocateDestinationString);
    if (!NT_SUCCESS(Status) || Bytes == 0)
        return Status;
    Status = RtlUnicodeToUTF8N(DestinationString->Buffer, DestinationString->MaximumLength, &Bytes, SourceString->Buffer,
                               SourceString->Length & ~1u);
    return RtlpFinishUtf8(DestinationString, Status, Bytes);
}

NTSTATUS RtlUTF8StringToUnicodeString(PUNICODE_STRING DestinationString, PCUTF8_STRING SourceString,
                                      BOOLEAN AllocateDestinationString)
{
    ULONG Bytes = 0;
    if (SourceString->Length != 0)
        RtlUTF8ToUnicodeN(NULL, 0, &Bytes, SourceString->Buffer, SourceString->Length);
    NTSTATUS Status = RtlpPrepareUtf8((PSTRING)DestinationString, Bytes, AllocateDestinationString);
    if (!NT_SUCCESS(Status) || Bytes == 0)
        return Status;
    Status = RtlUTF8ToUnicodeN(DestinationString->Buffer, DestinationString->MaximumLength, &Bytes, SourceString->Buffer,
                               SourceString->Length);
    return RtlpFinishUtf8((PSTRING)DestinationString, Status, Bytes);
}

static NTSTATUS RtlpMapString(PUNICODE_STRING To, PCUNICODE_STRING From, BOOLEAN Allocate, WCHAR (*Map)(WCHAR))
{
    NTSTATUS Status = RtlpPrepare((PSTRING)To, From->Length & ~1u, 0, Allocate);
    if (!NT_SUCCESS(Status))
        return Status;
    for (ULONG i = 0; i < To->Length / sizeof(WCHAR); i++)
        To->Buffer[i] = Map(From->Buffer[i]);
    return Status;
}

NTSTATUS RtlUpcaseUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString,
                                BOOLEAN AllocateDestinationString)
{
    return RtlpMapString(DestinationString, SourceString, AllocateDestinationString, RtlUpcaseUnicodeChar);
}

NTSTATUS RtlDowncaseUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString,
                                  BOOLEAN AllocateDestinationString)
{
    return RtlpMapString(DestinationString, SourceString, AllocateDestinationString, RtlDowncaseUnicodeChar);
}
