/*
 * code_pages.c - what the pages of the counted and OEM strings and of the UTF-8 strings say. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

/* ---- counted OEM strings ---- */
/* "returns a translated string that does not include a NULL terminator"; "updates the length and maximum length members". */
static void CountedOem_NoTerminator_Allocated(void **State)
{
    OEM_STRING Oem;
    UNICODE_STRING Wide;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToCountedOemString(&Oem, &US("Abc\x00E4"), TRUE), STATUS_SUCCESS);
    assert_int_equal(Oem.Length, 4);
    assert_int_equal(Oem.MaximumLength, 4);
    assert_memory_equal(Oem.Buffer, "Abc\x84", 4); /* a with diaeresis, code page 437 */
    assert_int_equal(RtlOemStringToCountedUnicodeString(&Wide, &Oem, TRUE), STATUS_SUCCESS);
    ExpectWide(&Wide, L"Abc\x00E4");
    assert_int_equal(Wide.MaximumLength, Wide.Length);
    RtlFreeUnicodeString(&Wide);
    RtlFreeOemString(&Oem); /* "responsible for freeing the buffer ... by calling RtlFreeOemString" */
    assert_int_equal(RtlUpcaseUnicodeStringToCountedOemString(&Oem, &US("Abc\x00E4"), TRUE), STATUS_SUCCESS);
    assert_int_equal(Oem.Length, 4);
    assert_memory_equal(Oem.Buffer, "ABC\x8E", 4);
    RtlFreeOemString(&Oem);
}

/* A buffer of the caller's need have no room for a terminator. */
static void CountedOem_CallersBuffer(void **State)
{
    CHAR Narrow[4] = "zzz";
    WCHAR Characters[4] = L"zzz";
    OEM_STRING Oem = {0, 3, Narrow};
    UNICODE_STRING Wide = {0, 3 * sizeof(WCHAR), Characters};
    UNREFERENCED_PARAMETER(State);
    Narrow[3] = 'q';
    Characters[3] = 'q';
    assert_int_equal(RtlUnicodeStringToCountedOemString(&Oem, &US("abc"), FALSE), STATUS_SUCCESS);
    ExpectNarrow(&Oem, "abc");
    assert_int_equal(Narrow[3], 'q');
    assert_int_equal(RtlOemStringToCountedUnicodeString(&Wide, &Oem, FALSE), STATUS_SUCCESS);
    ExpectWide(&Wide, L"abc");
    assert_int_equal(Characters[3], 'q');
    assert_int_equal(RtlUnicodeStringToCountedOemString(&Oem, &US("abcd"), FALSE), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(RtlUpcaseUnicodeStringToCountedOemString(&Oem, &US("abcd"), FALSE), STATUS_BUFFER_OVERFLOW);
    ExpectNarrow(&Oem, "abc");
}

/* "STATUS_UNMAPPABLE_CHARACTER if it cannot translate a character in the given SourceString"; "no storage was allocated, and no conversion was
 * performed". A question mark is no such character. */
static void CountedOem_UnmappableCharacter_Fails(void **State)
{
    CHAR Narrow[4] = "zzz";
    OEM_STRING Oem = {3, 3, Narrow};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToCountedOemString(&Oem, &US("a\x4E00"), FALSE), STATUS_UNMAPPABLE_CHARACTER);
    assert_int_equal(RtlUpcaseUnicodeStringToCountedOemString(&Oem, &US("a\x4E00"), TRUE), STATUS_UNMAPPABLE_CHARACTER);
    assert_ptr_equal(Oem.Buffer, Narrow);
    ExpectNarrow(&Oem, "zzz");
    assert_int_equal(RtlUnicodeStringToCountedOemString(&Oem, &US("a?b"), FALSE), STATUS_SUCCESS);
    ExpectNarrow(&Oem, "a?b");
}

/* ---- terminated OEM strings ---- */
/* RtlOemStringToUnicodeString, RtlUnicodeStringToOemString, RtlUpcaseUnicodeStringToOemString: by the OEM code page, terminated. */
static void Oem_Terminated_ByItsCodePage(void **State)
{
    OEM_STRING Oem;
    UNICODE_STRING Wide;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToOemString(&Oem, &US("ab\x00E4"), TRUE), STATUS_SUCCESS);
    assert_int_equal(Oem.MaximumLength, 4);
    assert_memory_equal(Oem.Buffer, "ab\x84", 4);
    assert_int_equal(RtlOemStringToUnicodeString(&Wide, &Oem, TRUE), STATUS_SUCCESS);
    ExpectWide(&Wide, L"ab\x00E4");
    assert_int_equal(Wide.Buffer[3], 0);
    assert_int_equal(Wide.MaximumLength, 4 * sizeof(WCHAR));
    RtlFreeUnicodeString(&Wide);
    RtlFreeOemString(&Oem);
    assert_int_equal(RtlUpcaseUnicodeStringToOemString(&Oem, &US("ab\x00E4"), TRUE), STATUS_SUCCESS);
    assert_memory_equal(Oem.Buffer, "AB\x8E", 4);
    RtlFreeOemString(&Oem);
}

/* ---- UTF-8 strings ---- */
/* "The UTF-8 output string is null-terminated only if the Unicode input string is null-terminated", and the other way round. */
static void Utf8_ThereAndBack(void **State)
{
    UTF8_STRING Narrow;
    UNICODE_STRING Wide;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToUTF8String(&Narrow, &US("a\x00E4\x20AC\xD83D\xDE00"), TRUE), STATUS_SUCCESS);
    ExpectNarrow(&Narrow, "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
    assert_int_equal(Narrow.MaximumLength, Narrow.Length);
    assert_int_equal(RtlUTF8StringToUnicodeString(&Wide, &Narrow, TRUE), STATUS_SUCCESS);
    ExpectWide(&Wide, L"a\x00E4\x20AC\xD83D\xDE00");
    assert_int_equal(Wide.MaximumLength, Wide.Length);
    RtlFreeUnicodeString(&Wide);
    RtlFreeUTF8String(&Narrow);
    assert_null(Narrow.Buffer);
}

/* "STATUS_BUFFER_OVERFLOW: Warning: The converted string in DestinationString->Buffer is truncated due to insufficient space". */
static void Utf8_SmallBuffer_Truncated(void **State)
{
    CHAR Bytes[4] = "zzz";
    WCHAR Characters[3] = L"zz";
    UTF8_STRING Narrow = {0, 2, Bytes}, Source = RTL_CONSTANT_STRING("a\xC3\xA4");
    UNICODE_STRING Wide = {0, 2, Characters};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToUTF8String(&Narrow, &US("a\x00E4"), FALSE), STATUS_BUFFER_OVERFLOW);
    ExpectNarrow(&Narrow, "a"); /* whole characters */
    assert_int_equal(Bytes[2], 'z');
    assert_int_equal(RtlUTF8StringToUnicodeString(&Wide, &Source, FALSE), STATUS_BUFFER_OVERFLOW);
    ExpectWide(&Wide, L"a");
    assert_int_equal(Characters[1], 'z');
    Narrow.MaximumLength = 3;
    assert_int_equal(RtlUnicodeStringToUTF8String(&Narrow, &US("a\x00E4"), FALSE), STATUS_SUCCESS);
    ExpectNarrow(&Narrow, "a\xC3\xA4");
}

/* "STATUS_SOME_NOT_MAPPED: ... one or more of the input characters were invalid and were replaced by ... U+FFFD". */
static void Utf8_Invalid_Replaced(void **State)
{
    UTF8_STRING Narrow, Source = RTL_CONSTANT_STRING("a\xFF");
    UNICODE_STRING Wide;
    static WCHAR Lone[] = {'a', 0xD800};
    UNICODE_STRING Half = {sizeof Lone, sizeof Lone, Lone};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToUTF8String(&Narrow, &Half, TRUE), STATUS_SOME_NOT_MAPPED);
    ExpectNarrow(&Narrow, "a\xEF\xBF\xBD");
    RtlFreeUTF8String(&Narrow);
    assert_int_equal(RtlUTF8StringToUnicodeString(&Wide, &Source, TRUE), STATUS_SOME_NOT_MAPPED);
    ExpectWide(&Wide, L"a\xFFFD");
    RtlFreeUnicodeString(&Wide);
}

/* ---- made from nothing ---- */
/* RtlCreateUnicodeString: "allocated from paged pool ... freeing ... by calling RtlFreeUnicodeString"; RtlDowncaseUnicodeString. */
static void RtlCreateUnicodeString_AndDowncase(void **State)
{
    UNICODE_STRING String, Lower;
    WCHAR Room[2];
    UNREFERENCED_PARAMETER(State);
    assert_true(RtlCreateUnicodeString(&String, L"AB\x00C4"));
    ExpectWide(&String, L"AB\x00C4");
    assert_int_equal(String.MaximumLength, 4 * sizeof(WCHAR));
    assert_int_equal(RtlDowncaseUnicodeString(&Lower, &String, TRUE), STATUS_SUCCESS);
    ExpectWide(&Lower, L"ab\x00E4");
    ExpectWide(&String, L"AB\x00C4"); /* "does not modify the source string" */
    RtlFreeUnicodeString(&Lower);
    Lower = (UNICODE_STRING){0, sizeof Room, Room};
    assert_int_equal(RtlDowncaseUnicodeString(&Lower, &String, FALSE), STATUS_BUFFER_OVERFLOW);
    RtlFreeUnicodeString(&String);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(CountedOem_NoTerminator_Allocated),
        cmocka_unit_test(CountedOem_CallersBuffer),
        cmocka_unit_test(CountedOem_UnmappableCharacter_Fails),
        cmocka_unit_test(Oem_Terminated_ByItsCodePage),
        cmocka_unit_test(Utf8_ThereAndBack),
        cmocka_unit_test(Utf8_SmallBuffer_Truncated),
        cmocka_unit_test(Utf8_Invalid_Replaced),
        cmocka_unit_test(RtlCreateUnicodeString_AndDowncase),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
