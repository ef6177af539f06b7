/*
 * rtl_string_test.c - string.c and unicode.c: limits, overlaps, tables. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"
#include "rtl/rtlp.h"

static void Init_TooLong_Cut(void **State)
{
    WCHAR *Long = malloc(40000 * sizeof(WCHAR));
    CHAR *Narrow = malloc(70000);
    UNICODE_STRING String;
    ANSI_STRING Ansi;
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < 39999; i++)
        Long[i] = L'x';
    Long[39999] = 0;
    memset(Narrow, 'x', 69999);
    Narrow[69999] = 0;
    RtlInitUnicodeString(&String, Long);
    assert_int_equal(String.Length, 0xFFFC);
    assert_int_equal(String.MaximumLength, 0xFFFE);
    assert_int_equal(RtlInitUnicodeStringEx(&String, Long), STATUS_NAME_TOO_LONG);
    RtlInitAnsiString(&Ansi, Narrow);
    assert_int_equal(Ansi.Length, 0xFFFD);
    assert_int_equal(RtlInitAnsiStringEx(&Ansi, Narrow), STATUS_NAME_TOO_LONG);
    Long[0x7FFE] = 0; /* the longest that fits */
    assert_int_equal(RtlInitUnicodeStringEx(&String, Long), STATUS_SUCCESS);
    assert_int_equal(String.Length, 0xFFFC);
    free(Long);
    free(Narrow);
}

static void Append_Overlapping_AsIfByValue(void **State)
{
    WCHAR Buffer[16] = L"abcd";
    UNICODE_STRING To = {8, sizeof(Buffer), Buffer}, From = {8, 8, Buffer};
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlAppendUnicodeStringToString(&To, &From), STATUS_SUCCESS);
    ExpectWide(&To, L"abcdabcd");
}

static void Case_WholePlane_RoundTrips(void **State)
{
    ULONG Mapped = 0;
    UNREFERENCED_PARAMETER(State);
    for (ULONG c = 0; c < 0x10000; c++) {
        WCHAR Up = RtlUpcaseUnicodeChar((WCHAR)c), Down = RtlDowncaseUnicodeChar((WCHAR)c);
        assert_int_equal(RtlUpcaseUnicodeChar(Up), Up); /* idempotent */
        assert_int_equal(RtlDowncaseUnicodeChar(Down), Down);
        if (Down != c)
            assert_int_equal(RtlUpcaseUnicodeChar(Down), c);
        Mapped += Up != c;
    }
    assert_true(Mapped > 1000);
    assert_int_equal(RtlUpcaseUnicodeChar(L'z'), L'Z');
    assert_int_equal(RtlUpcaseUnicodeChar(0xE9), 0xC9); /* Latin-1 */
    assert_int_equal(RtlUpcaseUnicodeChar(0xFF), 0x178);
    assert_int_equal(RtlUpcaseUnicodeChar(0xDF), 0xDF);   /* sharp s has no single upper case */
    assert_int_equal(RtlUpcaseUnicodeChar(0x101), 0x100); /* alternating */
    assert_int_equal(RtlUpcaseUnicodeChar(0x3C9), 0x3A9); /* Greek */
    assert_int_equal(RtlUpcaseUnicodeChar(0x451), 0x401); /* Cyrillic */
    assert_int_equal(RtlUpcaseUnicodeChar(0x4E2D), 0x4E2D);
    assert_int_equal(RtlUpcaseUnicodeChar(0xFF41), 0xFF21); /* full width */
    assert_int_equal(RtlUpcaseUnicodeChar(0x131), 0x131);
}

static void CodePages_AllBytes_RoundTrip(void **State)
{
    UNREFERENCED_PARAMETER(State);
    for (ULONG b = 0; b < 256; b++) {
        CHAR Byte = (CHAR)b, Back;
        WCHAR Wide;
        ULONG Size;
        assert_int_equal(RtlMultiByteToUnicodeN(&Wide, 2, &Size, &Byte, 1), STATUS_SUCCESS);
        assert_int_equal(Size, 2);
        assert_int_equal(RtlUnicodeToMultiByteN(&Back, 1, &Size, &Wide, 2), STATUS_SUCCESS);
        assert_int_equal(Back, Byte);
        RtlOemToUnicodeN(&Wide, 2, NULL, &Byte, 1);
        RtlUnicodeToOemN(&Back, 1, NULL, &Wide, 2);
        assert_int_equal(Back, Byte);
    }
    WCHAR Euro = 0x20AC, Chinese = 0x4E2D;
    CHAR Byte;
    RtlUnicodeToMultiByteN(&Byte, 1, NULL, &Euro, 2);
    assert_int_equal((UCHAR)Byte, 0x80);
    RtlUnicodeToMultiByteN(&Byte, 1, NULL, &Chinese, 2);
    assert_int_equal(Byte, '?');
}

static void Utf8_EveryCodePoint_RoundTrips(void **State)
{
    UNREFERENCED_PARAMETER(State);
    for (ULONG c = 1; c < 0x110000; c += c < 0x1000 ? 1 : 97) {
        CHAR Bytes[4], Extra;
        WCHAR In[2], Out[2];
        ULONG Units = c >= 0x10000 ? 2 : 1, Size, Back;
        if (c - 0xD800 < 0x800)
            continue;
        In[0] = (WCHAR)(Units == 2 ? 0xD7C0 + (c >> 10) : c);
        In[1] = (WCHAR)(0xDC00 | (c & 0x3FF));
        assert_int_equal(RtlUnicodeToUTF8N(Bytes, 4, &Size, In, Units * 2), STATUS_SUCCESS);
        assert_int_equal(RtlUTF8ToUnicodeN(Out, 4, &Back, Bytes, Size), STATUS_SUCCESS);
        assert_int_equal(Back, Units * 2);
        assert_memory_equal(In, Out, Back);
        if (Size > 1)
            assert_int_equal(RtlUnicodeToUTF8N(&Extra, 1, &Back, In, Units * 2), STATUS_BUFFER_TOO_SMALL);
    }
}

static void Utf8_IllFormed_ReplacedAndReported(void **State)
{
    static const CHAR *const Bad[] = {
        "\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xE2\x82"};
    static const ULONG Replacements[] = {1, 2, 3, 3, 4, 5, 1};
    WCHAR Lone[] = {L'a', 0xDC00, L'b'};
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        WCHAR Out[8];
        ULONG Size;
        assert_int_equal(RtlUTF8ToUnicodeN(Out, sizeof(Out), &Size, Bad[i], (ULONG)strlen(Bad[i])), STATUS_SOME_NOT_MAPPED);
        assert_int_equal(Size, Replacements[i] * 2);
        for (ULONG j = 0; j < Size / 2; j++)
            assert_int_equal(Out[j], 0xFFFD);
    }
    CHAR Out[8];
    ULONG Size;
    assert_int_equal(RtlUnicodeToUTF8N(Out, sizeof(Out), &Size, Lone, sizeof(Lone)), STATUS_SOME_NOT_MAPPED);
    assert_int_equal(Size, 5);
    assert_memory_equal(Out,
                        "a\xEF\xBF\xBD"
                        "b",
                        5);
}

static void Hash_KnownValue_X65599(void **State)
{
    ULONG Hash, Other;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlHashUnicodeString(&US("ab"), FALSE, HASH_STRING_ALGORITHM_X65599, &Hash), STATUS_SUCCESS);
    assert_int_equal(Hash, 'a' * 65599u + 'b');
    RtlHashUnicodeString(&US("AB"), FALSE, HASH_STRING_ALGORITHM_DEFAULT, &Other);
    assert_int_not_equal(Hash, Other);
    RtlHashUnicodeString(&US("ab"), TRUE, HASH_STRING_ALGORITHM_DEFAULT, &Hash);
    assert_int_equal(Hash, Other);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Init_TooLong_Cut),
        cmocka_unit_test(Append_Overlapping_AsIfByValue),
        cmocka_unit_test(Case_WholePlane_RoundTrips),
        cmocka_unit_test(CodePages_AllBytes_RoundTrip),
        cmocka_unit_test(Utf8_EveryCodePoint_RoundTrips),
        cmocka_unit_test(Utf8_IllFormed_ReplacedAndReported),
        cmocka_unit_test(Hash_KnownValue_X65599),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
