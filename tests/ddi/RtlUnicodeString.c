/*
 * RtlUnicodeString.c - what the pages of the counted-string routines say, a test a sentence.
 * SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

/* RtlInitUnicodeString: "If SourceString is NULL, Length and MaximumLength ... are zero" and Buffer NULL. */
static void RtlInitUnicodeString_NullSource_EmptyString(void **State)
{
    UNICODE_STRING String = {9, 9, (PWCH)1};
    UNREFERENCED_PARAMETER(State);
    RtlInitUnicodeString(&String, NULL);
    assert_int_equal(String.Length, 0);
    assert_int_equal(String.MaximumLength, 0);
    assert_null(String.Buffer);
}

/* "Buffer: set to SourceString; Length: length in bytes without the terminating null; MaximumLength: with
 * it." */
static void RtlInitUnicodeString_Source_LengthsInBytes(void **State)
{
    static const WCHAR Text[] = L"\\Device\\Null";
    UNICODE_STRING String;
    UNREFERENCED_PARAMETER(State);
    RtlInitUnicodeString(&String, Text);
    assert_ptr_equal(String.Buffer, Text);
    assert_int_equal(String.Length, sizeof(Text) - 2);
    assert_int_equal(String.MaximumLength, sizeof(Text));
}

/* RtlCopyUnicodeString: "The Length ... is set to the smaller of the source's Length and the destination's
 * MaximumLength." */
static void RtlCopyUnicodeString_SmallDestination_Truncates(void **State)
{
    WCHAR Buffer[4] = L"zzz";
    UNICODE_STRING To = {0, 6, Buffer};
    UNREFERENCED_PARAMETER(State);
    RtlCopyUnicodeString(&To, &US("abcdef"));
    ExpectWide(&To, L"abc");
    assert_int_equal(Buffer[3], 0);
    assert_int_equal(To.MaximumLength, 6);
}

/* "If SourceString is NULL, the Length of DestinationString is set to zero"; MaximumLength and Buffer are not
 * changed. */
static void RtlCopyUnicodeString_NullSource_LengthZero(void **State)
{
    WCHAR Buffer[4] = L"zzz";
    UNICODE_STRING To = {6, 8, Buffer};
    UNREFERENCED_PARAMETER(State);
    RtlCopyUnicodeString(&To, NULL);
    assert_int_equal(To.Length, 0);
    assert_int_equal(To.MaximumLength, 8);
    assert_ptr_equal(To.Buffer, Buffer);
    assert_int_equal(Buffer[0], L'z');
}

/* RtlAppendUnicodeStringToString: "STATUS_BUFFER_TOO_SMALL: the MaximumLength of Destination is too small to
 * allow the source string to be appended ... not copied." */
static void RtlAppendUnicodeStringToString_NoRoom_NothingAppended(void **State)
{
    WCHAR Buffer[6] = L"ab";
    UNICODE_STRING To = {4, 10, Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlAppendUnicodeStringToString(&To, &US("cdef")), STATUS_BUFFER_TOO_SMALL);
    ExpectWide(&To, L"ab");
    assert_int_equal(RtlAppendUnicodeStringToString(&To, &US("cde")), STATUS_SUCCESS);
    ExpectWide(&To, L"abcde");
    assert_int_equal(RtlAppendUnicodeToString(&To, L"f"), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(RtlAppendUnicodeToString(&To, NULL), STATUS_SUCCESS);
}

/* RtlCompareUnicodeString: "Zero: the strings are equal. < Zero: String1 is less than String2. > Zero:
 * String1 is greater." */
static void RtlCompareUnicodeString_Results_Signs(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlCompareUnicodeString(&US("abc"), &US("abc"), FALSE), 0);
    assert_true(RtlCompareUnicodeString(&US("abc"), &US("abd"), FALSE) < 0);
    assert_true(RtlCompareUnicodeString(&US("abd"), &US("abc"), FALSE) > 0);
    assert_true(RtlCompareUnicodeString(&US("ab"), &US("abc"), FALSE) < 0);
    assert_true(RtlCompareUnicodeString(&US("ABC"), &US("abc"), FALSE) != 0);
    assert_int_equal(RtlCompareUnicodeString(&US("ABC"), &US("abc"), TRUE), 0);
}

/* RtlEqualUnicodeString: "TRUE if the two Unicode strings are equal"; CaseInSensitive "case should be
 * ignored". */
static void RtlEqualUnicodeString_Case(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_true(RtlEqualUnicodeString(&US("NtOsKrnl"), &US("ntoskrnl"), TRUE));
    assert_false(RtlEqualUnicodeString(&US("NtOsKrnl"), &US("ntoskrnl"), FALSE));
    assert_false(RtlEqualUnicodeString(&US("a"), &US("ab"), TRUE));
    assert_true(RtlEqualUnicodeString(&(UNICODE_STRING){0}, &(UNICODE_STRING){0}, TRUE));
}

/* RtlPrefixUnicodeString: "TRUE if String1 is a prefix of String2". */
static void RtlPrefixUnicodeString_Prefix(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_true(RtlPrefixUnicodeString(&US("\\Device\\"), &US("\\device\\Null"), TRUE));
    assert_false(RtlPrefixUnicodeString(&US("\\Device\\"), &US("\\device\\Null"), FALSE));
    assert_false(RtlPrefixUnicodeString(&US("\\Device\\Null"), &US("\\Device\\"), TRUE));
    assert_true(RtlPrefixUnicodeString(&US("x"), &US("x"), FALSE));
}

/* RtlHashUnicodeString: "STATUS_INVALID_PARAMETER: String or HashValue is NULL, or the value of HashAlgorithm
 * is not valid." */
static void RtlHashUnicodeString_BadArguments(void **State)
{
    ULONG Hash;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlHashUnicodeString(NULL, FALSE, 0, &Hash), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlHashUnicodeString(&US("a"), FALSE, 0, NULL), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlHashUnicodeString(&US("a"), FALSE, 2, &Hash), STATUS_INVALID_PARAMETER);
}

/* RtlUpcaseUnicodeString: "If TRUE, the routine allocates the buffer for the uppercased string, which must be
 * deallocated with RtlFreeUnicodeString." */
static void RtlUpcaseUnicodeString_Allocate_CallerFrees(void **State)
{
    UNICODE_STRING Upper = {0};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUpcaseUnicodeString(&Upper, &US("mixed Case 9"), TRUE), STATUS_SUCCESS);
    ExpectWide(&Upper, L"MIXED CASE 9");
    RtlFreeUnicodeString(&Upper);
    assert_null(Upper.Buffer);
    assert_int_equal(Upper.Length, 0);
}

/* "AllocateDestinationString FALSE: ... the caller's buffer"; too small: STATUS_BUFFER_OVERFLOW. */
static void RtlUpcaseUnicodeString_OwnBuffer_Overflow(void **State)
{
    WCHAR Buffer[3];
    UNICODE_STRING Upper = {0, sizeof(Buffer), Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUpcaseUnicodeString(&Upper, &US("abcd"), FALSE), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(RtlUpcaseUnicodeString(&Upper, &US("abc"), FALSE), STATUS_SUCCESS);
    ExpectWide(&Upper, L"ABC");
}

/* RtlAnsiStringToUnicodeString and back: with Allocate, MaximumLength has room for a terminator, and Buffer
 * is terminated. */
static void RtlAnsiStringToUnicodeString_Allocate_TerminatedRoundTrip(void **State)
{
    UNICODE_STRING Wide;
    ANSI_STRING Back;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlAnsiStringToUnicodeString(&Wide, &AS("caf\xE9"), TRUE), STATUS_SUCCESS);
    assert_int_equal(Wide.Length, 8);
    assert_int_equal(Wide.MaximumLength, 10);
    assert_int_equal(Wide.Buffer[3], 0xE9);
    assert_int_equal(Wide.Buffer[4], 0);
    assert_int_equal(RtlUnicodeStringToAnsiString(&Back, &Wide, TRUE), STATUS_SUCCESS);
    ExpectNarrow(&Back, "caf\xE9");
    assert_int_equal(Back.MaximumLength, 5);
    RtlFreeUnicodeString(&Wide);
    RtlFreeAnsiString(&Back);
}

/* "STATUS_BUFFER_OVERFLOW" if the destination does not hold the result with its terminator. */
static void RtlUnicodeStringToAnsiString_SmallBuffer_Overflow(void **State)
{
    CHAR Buffer[4];
    ANSI_STRING To = {0, 3, Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToAnsiString(&To, &US("abc"), FALSE), STATUS_BUFFER_OVERFLOW);
    To.MaximumLength = 4;
    assert_int_equal(RtlUnicodeStringToAnsiString(&To, &US("abc"), FALSE), STATUS_SUCCESS);
    assert_string_equal(Buffer, "abc");
}

/* RtlxUnicodeStringToAnsiSize: "the number of bytes required ... including the terminating null". */
static void Sizes_WithTerminator(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToAnsiSize(&US("abc")), 4);
    assert_int_equal(RtlAnsiStringToUnicodeSize(&AS("abc")), 8);
    assert_int_equal(RtlUnicodeStringToOemSize(&US("abc")), 4);
    assert_int_equal(RtlUnicodeStringToCountedOemSize(&US("abc")), 3);
}

/* RtlDuplicateUnicodeString (flags of its page): NULL_TERMINATE adds a terminator; ALLOCATE_NULL_STRING needs
 * it. */
static void RtlDuplicateUnicodeString_Flags(void **State)
{
    UNICODE_STRING Copy = {0};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlDuplicateUnicodeString(0, &US("abc"), &Copy), STATUS_SUCCESS);
    ExpectWide(&Copy, L"abc");
    assert_int_equal(Copy.MaximumLength, 6);
    RtlFreeUnicodeString(&Copy);
    assert_int_equal(RtlDuplicateUnicodeString(1, &US("abc"), &Copy), STATUS_SUCCESS);
    assert_int_equal(Copy.MaximumLength, 8);
    assert_int_equal(Copy.Buffer[3], 0);
    RtlFreeUnicodeString(&Copy);
    assert_int_equal(RtlDuplicateUnicodeString(1, &US(""), &Copy), STATUS_SUCCESS);
    assert_null(Copy.Buffer);
    assert_int_equal(RtlDuplicateUnicodeString(3, &US(""), &Copy), STATUS_SUCCESS);
    assert_non_null(Copy.Buffer);
    assert_int_equal(Copy.Buffer[0], 0);
    RtlFreeUnicodeString(&Copy);
    assert_int_equal(RtlDuplicateUnicodeString(2, &US("a"), &Copy), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlDuplicateUnicodeString(4, &US("a"), &Copy), STATUS_INVALID_PARAMETER);
}

/* RtlValidateUnicodeString: odd lengths, Length above MaximumLength, NULL Buffer with a length are not valid.
 */
static void RtlValidateUnicodeString_Bad(void **State)
{
    WCHAR Buffer[4];
    UNICODE_STRING Odd = {3, 8, Buffer}, Long = {8, 6, Buffer}, Null = {2, 2, NULL}, Good = {4, 8, Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlValidateUnicodeString(0, &Odd), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlValidateUnicodeString(0, &Long), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlValidateUnicodeString(0, &Null), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlValidateUnicodeString(0, &Good), STATUS_SUCCESS);
    assert_int_equal(RtlValidateUnicodeString(1, &Good), STATUS_INVALID_PARAMETER);
}

/* RtlFreeUnicodeString releases pool; a string that holds nothing is left alone. */
static void RtlFreeUnicodeString_Empty_NoEffect(void **State)
{
    UNICODE_STRING Empty = {0};
    UNREFERENCED_PARAMETER(State);
    RtlFreeUnicodeString(&Empty);
    assert_null(Empty.Buffer);
}

/* RtlIntegerToUnicodeString: Base 16, 8, 2, 0 or 10; "STATUS_BUFFER_OVERFLOW: String->Buffer is too small";
 * other bases STATUS_INVALID_PARAMETER. */
static void RtlIntegerToUnicodeString_BasesAndErrors(void **State)
{
    WCHAR Buffer[6];
    UNICODE_STRING String = {0, sizeof(Buffer), Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlIntegerToUnicodeString(0xBEEF, 16, &String), STATUS_SUCCESS);
    ExpectWide(&String, L"BEEF");
    assert_int_equal(RtlIntegerToUnicodeString(5, 2, &String), STATUS_SUCCESS);
    ExpectWide(&String, L"101");
    assert_int_equal(RtlIntegerToUnicodeString(8, 8, &String), STATUS_SUCCESS);
    ExpectWide(&String, L"10");
    assert_int_equal(RtlIntegerToUnicodeString(0, 0, &String), STATUS_SUCCESS);
    ExpectWide(&String, L"0");
    assert_int_equal(RtlIntegerToUnicodeString(1, 7, &String), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlIntegerToUnicodeString(1234567, 10, &String), STATUS_BUFFER_OVERFLOW);
}

/* RtlUnicodeStringToInteger: leading whitespace is skipped; '-' negates; 0x, 0o, 0b choose the base if Base
 * is 0; conversion stops at the first character that is no digit; "if the first character is not a digit ...
 * Value is set to zero" and STATUS_SUCCESS. */
static void RtlUnicodeStringToInteger_Forms(void **State)
{
    static const struct {
        const WCHAR *Text;
        ULONG Base, Value;
    } Cases[] = {{L"  42", 0, 42}, {L"-1", 0, MAXULONG}, {L"+7", 0, 7},     {L"0x1F", 0, 31}, {L"0o17", 0, 15},
                 {L"0b101", 0, 5}, {L"12abc", 10, 12},   {L"FFz", 16, 255}, {L"zebra", 0, 0}, {L"", 0, 0},
                 {L"777", 8, 511}, {L"0x", 0, 0},        {L"19", 8, 1}};
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < ARRAYSIZE(Cases); i++) {
        UNICODE_STRING String;
        ULONG Value = 99;
        RtlInitUnicodeString(&String, Cases[i].Text);
        assert_int_equal(RtlUnicodeStringToInteger(&String, Cases[i].Base, &Value), STATUS_SUCCESS);
        assert_int_equal(Value, Cases[i].Value);
    }
    ULONG Value;
    assert_int_equal(RtlUnicodeStringToInteger(&US("1"), 7, &Value), STATUS_INVALID_PARAMETER);
}

/* RtlStringFromGUID: "{%08X-%04X-%04x-%02X%02X-%02X%02X%02X%02X%02X%02X}"; RtlGUIDFromString:
 * STATUS_INVALID_PARAMETER for another form. */
static void Guid_TextAndBack(void **State)
{
    static const GUID Guid = {0x01234567, 0x89AB, 0xCDEF, {0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE}};
    UNICODE_STRING Text;
    GUID Back;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlStringFromGUID(&Guid, &Text), STATUS_SUCCESS);
    ExpectWide(&Text, L"{01234567-89AB-CDEF-1032-547698BADCFE}");
    assert_int_equal(RtlGUIDFromString(&Text, &Back), STATUS_SUCCESS);
    assert_memory_equal(&Back, &Guid, sizeof(Guid));
    RtlFreeUnicodeString(&Text);
    assert_int_equal(RtlGUIDFromString(&US("{01234567-89ab-cdef-1032-547698badcfe}"), &Back), STATUS_SUCCESS);
    assert_memory_equal(&Back, &Guid, sizeof(Guid));
    assert_int_equal(RtlGUIDFromString(&US("01234567-89AB-CDEF-1032-547698BADCFE"), &Back), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlGUIDFromString(&US("{01234567-89AB-CDEF-1032_547698BADCFE}"), &Back), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlGUIDFromString(&US("{0123456G-89AB-CDEF-1032-547698BADCFE}"), &Back), STATUS_INVALID_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(RtlInitUnicodeString_NullSource_EmptyString),
        cmocka_unit_test(RtlInitUnicodeString_Source_LengthsInBytes),
        cmocka_unit_test(RtlCopyUnicodeString_SmallDestination_Truncates),
        cmocka_unit_test(RtlCopyUnicodeString_NullSource_LengthZero),
        cmocka_unit_test(RtlAppendUnicodeStringToString_NoRoom_NothingAppended),
        cmocka_unit_test(RtlCompareUnicodeString_Results_Signs),
        cmocka_unit_test(RtlEqualUnicodeString_Case),
        cmocka_unit_test(RtlPrefixUnicodeString_Prefix),
        cmocka_unit_test(RtlHashUnicodeString_BadArguments),
        cmocka_unit_test(RtlUpcaseUnicodeString_Allocate_CallerFrees),
        cmocka_unit_test(RtlUpcaseUnicodeString_OwnBuffer_Overflow),
        cmocka_unit_test(RtlAnsiStringToUnicodeString_Allocate_TerminatedRoundTrip),
        cmocka_unit_test(RtlUnicodeStringToAnsiString_SmallBuffer_Overflow),
        cmocka_unit_test(Sizes_WithTerminator),
        cmocka_unit_test(RtlDuplicateUnicodeString_Flags),
        cmocka_unit_test(RtlValidateUnicodeString_Bad),
        cmocka_unit_test(RtlFreeUnicodeString_Empty_NoEffect),
        cmocka_unit_test(RtlIntegerToUnicodeString_BasesAndErrors),
        cmocka_unit_test(RtlUnicodeStringToInteger_Forms),
        cmocka_unit_test(Guid_TextAndBack),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
