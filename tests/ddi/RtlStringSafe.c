/*
 * RtlStringSafe.c - what the pages of ntstrsafe.h's and ntintsafe.h's routines say, a test a sentence.
 * SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"
#include <ntstrsafe.h>
#include <ntintsafe.h>

/* RtlStringCchCopyW: "STATUS_SUCCESS: source data was present, the string was copied without truncation, and
 * the resultant destination buffer is null-terminated." */
static void Copy_Fits_Terminated(void **State)
{
    WCHAR To[4] = L"zzz";
    CHAR Narrow[4];
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCchCopyW(To, 4, L"abc"), STATUS_SUCCESS);
    assert_int_equal(wcscmp(To, L"abc"), 0);
    assert_int_equal(RtlStringCbCopyA(Narrow, sizeof(Narrow), "xyz"), STATUS_SUCCESS);
    assert_string_equal(Narrow, "xyz");
}

/* "STATUS_BUFFER_OVERFLOW: the copy operation failed because of insufficient buffer space. The destination
 * buffer contains a truncated, null-terminated version." */
static void Copy_TooLong_TruncatedWarning(void **State)
{
    WCHAR To[4];
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCchCopyW(To, 3, L"abc"), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(wcscmp(To, L"ab"), 0);
    assert_false(NT_SUCCESS(STATUS_BUFFER_OVERFLOW));
}

/* "STATUS_INVALID_PARAMETER: the value in cchDest is either zero or larger than NTSTRSAFE_MAX_CCH." */
static void Copy_BadSize_InvalidParameter(void **State)
{
    WCHAR To[4] = L"zzz";
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCchCopyW(To, 0, L"a"), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlStringCchCopyW(To, (size_t)NTSTRSAFE_MAX_CCH + 1, L"a"), STATUS_INVALID_PARAMETER);
    assert_int_equal(To[0], L'z');
}

/* RtlStringCchCopyNW copies at most cchToCopy characters and terminates. */
static void CopyN_Limit(void **State)
{
    WCHAR To[8];
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCchCopyNW(To, 8, L"abcdef", 3), STATUS_SUCCESS);
    assert_int_equal(wcscmp(To, L"abc"), 0);
    assert_int_equal(RtlStringCbCopyNW(To, sizeof(To), L"abcdef", 4), STATUS_SUCCESS);
    assert_int_equal(wcscmp(To, L"ab"), 0);
    assert_int_equal(RtlStringCchCopyNW(To, 3, L"abcdef", 5), STATUS_BUFFER_OVERFLOW);
}

/* RtlStringCchCatW: the destination must be terminated within its size. */
static void Cat_FitsTruncatesAndChecks(void **State)
{
    WCHAR To[6] = L"ab";
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCchCatW(To, 6, L"cd"), STATUS_SUCCESS);
    assert_int_equal(wcscmp(To, L"abcd"), 0);
    assert_int_equal(RtlStringCchCatW(To, 6, L"ef"), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(wcscmp(To, L"abcde"), 0);
    To[5] = L'x';
    assert_int_equal(RtlStringCchCatW(To, 6, L"g"), STATUS_INVALID_PARAMETER);
}

/* RtlStringCchLengthW: "STATUS_INVALID_PARAMETER: psz is NULL, cchMax is larger than NTSTRSAFE_MAX_CCH, or
 * psz is longer than cchMax"; the length excludes the null. */
static void Length_Results(void **State)
{
    size_t Length = 9;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCchLengthW(L"abc", 4, &Length), STATUS_SUCCESS);
    assert_int_equal(Length, 3);
    assert_int_equal(RtlStringCbLengthW(L"abc", 8, &Length), STATUS_SUCCESS);
    assert_int_equal(Length, 6);
    assert_int_equal(RtlStringCchLengthW(L"abc", 3, &Length), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlStringCchLengthA(NULL, 3, NULL), STATUS_INVALID_PARAMETER);
}

/* RtlStringCbPrintfW: "STATUS_BUFFER_OVERFLOW ... contains a truncated, null-terminated version of the
 * intended result". */
static void Printf_FitsAndTruncates(void **State)
{
    WCHAR To[8];
    CHAR Narrow[8];
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringCbPrintfW(To, sizeof(To), L"%s=%d", L"ab", 1234), STATUS_SUCCESS);
    assert_int_equal(wcscmp(To, L"ab=1234"), 0);
    assert_int_equal(RtlStringCbPrintfW(To, sizeof(To), L"%s=%d", L"abc", 1234), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(wcscmp(To, L"abc=123"), 0);
    assert_int_equal(RtlStringCchPrintfA(Narrow, 8, "%ws", L"wide"), STATUS_SUCCESS);
    assert_string_equal(Narrow, "wide");
}

/* The Ex forms: ppszDestEnd and pcchRemaining; STRSAFE_FILL_BEHIND_NULL, STRSAFE_NULL_ON_FAILURE,
 * STRSAFE_FILL_ON_FAILURE, STRSAFE_NO_TRUNCATION, STRSAFE_IGNORE_NULLS. */
static void Ex_FlagsAndResults(void **State)
{
    CHAR To[8];
    CHAR *End;
    size_t Left;
    UNREFERENCED_PARAMETER(State);
    memset(To, 'z', sizeof(To));
    assert_int_equal(RtlStringCchCopyExA(To, 8, "abc", &End, &Left, STRSAFE_FILL_BYTE('.')), STATUS_SUCCESS);
    assert_memory_equal(To, "abc\0....", 8);
    assert_ptr_equal(End, To + 3);
    assert_int_equal(Left, 5);
    assert_int_equal(RtlStringCchCopyExA(To, 8, "abcdefgh", &End, &Left, STRSAFE_NULL_ON_FAILURE), STATUS_BUFFER_OVERFLOW);
    assert_string_equal(To, "");
    assert_ptr_equal(End, To);
    assert_int_equal(RtlStringCchCopyExA(To, 8, "abcdefgh", NULL, NULL, STRSAFE_FAILURE_BYTE('#')), STATUS_BUFFER_OVERFLOW);
    assert_string_equal(To, "#######");
    strcpy(To, "keep");
    assert_int_equal(RtlStringCchCatExA(To, 8, "too long", NULL, NULL, STRSAFE_NO_TRUNCATION), STATUS_BUFFER_OVERFLOW);
    assert_string_equal(To, "keep");
    assert_int_equal(RtlStringCchCopyExA(To, 8, NULL, NULL, NULL, STRSAFE_IGNORE_NULLS), STATUS_SUCCESS);
    assert_string_equal(To, "");
    assert_int_equal(RtlStringCchCopyExA(NULL, 0, NULL, NULL, NULL, STRSAFE_IGNORE_NULLS), STATUS_SUCCESS);
    assert_int_equal(RtlStringCchCopyExA(To, 8, "x", NULL, NULL, 0x80000), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlStringCbCopyExA(To, 8, "abc", NULL, &Left, 0), STATUS_SUCCESS);
    assert_int_equal(Left, 5);
}

/* RtlUnicodeStringPrintf and its kin: the destination need not be terminated; truncation is
 * STATUS_BUFFER_OVERFLOW. */
static void UnicodeString_Forms(void **State)
{
    WCHAR Buffer[6];
    UNICODE_STRING To = {0, sizeof(Buffer), Buffer}, Odd = {0, 5, Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringPrintf(&To, L"%d-%s", 12, L"abc"), STATUS_SUCCESS);
    ExpectWide(&To, L"12-abc");
    assert_int_equal(RtlUnicodeStringPrintf(&To, L"%s", L"1234567"), STATUS_BUFFER_OVERFLOW);
    ExpectWide(&To, L"123456");
    assert_int_equal(RtlUnicodeStringCopyString(&To, L"ab"), STATUS_SUCCESS);
    assert_int_equal(RtlUnicodeStringCatString(&To, L"cd"), STATUS_SUCCESS);
    assert_int_equal(RtlUnicodeStringCat(&To, &US("efgh")), STATUS_BUFFER_OVERFLOW);
    ExpectWide(&To, L"abcdef");
    assert_int_equal(RtlUnicodeStringCopy(&Odd, &US("a")), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlUnicodeStringInit(&To, L"text"), STATUS_SUCCESS);
    assert_int_equal(To.Length, 8);
    assert_int_equal(RtlUnicodeStringValidate(&Odd), STATUS_INVALID_PARAMETER);
}

/* RtlULongAdd: "STATUS_INTEGER_OVERFLOW: the sum does not fit"; RtlULongLongToULong and other conversions
 * likewise. */
static void SafeIntegers_Edges(void **State)
{
    ULONG Sum;
    SIZE_T Size;
    LONG Signed;
    USHORT Small;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlULongAdd(MAXULONG - 1, 1, &Sum), STATUS_SUCCESS);
    assert_int_equal(Sum, MAXULONG);
    assert_int_equal(RtlULongAdd(MAXULONG, 1, &Sum), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(RtlULongSub(1, 2, &Sum), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(RtlULongMult(0x10000, 0x10000, &Sum), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(RtlSizeTMult(1ULL << 32, 1ULL << 31, &Size), STATUS_SUCCESS);
    assert_int_equal(RtlSizeTAdd(MAXSIZE_T, 1, &Size), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(Size, MAXSIZE_T);
    assert_int_equal(RtlLongSub(MINLONG, 1, &Signed), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(RtlULongLongToULong(0x100000000ULL, &Sum), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(RtlULongLongToULong(0xFFFFFFFFULL, &Sum), STATUS_SUCCESS);
    assert_int_equal(RtlLongToULong(-1, &Sum), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(RtlULongToUShort(65535, &Small), STATUS_SUCCESS);
    assert_int_equal(RtlULongToUShort(65536, &Small), STATUS_INTEGER_OVERFLOW);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Copy_Fits_Terminated),          cmocka_unit_test(Copy_TooLong_TruncatedWarning),
        cmocka_unit_test(Copy_BadSize_InvalidParameter), cmocka_unit_test(CopyN_Limit),
        cmocka_unit_test(Cat_FitsTruncatesAndChecks),    cmocka_unit_test(Length_Results),
        cmocka_unit_test(Printf_FitsAndTruncates),       cmocka_unit_test(Ex_FlagsAndResults),
        cmocka_unit_test(UnicodeString_Forms),           cmocka_unit_test(SafeIntegers_Edges),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
