/*
 * rtl_format_test.c - format.c: every conversion, flag and size. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"
#include "rtl/rtlp.h"
#include <stdio.h>

static SIZE_T Format(CHAR *Buffer, SIZE_T Size, const CHAR *Text, ...)
{
    va_list Arguments;
    va_start(Arguments, Text);
    SIZE_T Length = RtlpFormat(Buffer, Size, Text, Arguments);
    va_end(Arguments);
    return Length;
}
#define EXPECT(Text, ...)                                                                                                      \
    do {                                                                                                                       \
        CHAR Out[256];                                                                                                         \
        assert_int_equal(Format(Out, sizeof(Out), __VA_ARGS__), strlen(Text));                                                 \
        assert_string_equal(Out, Text);                                                                                        \
    } while (0)

/* Where Microsoft's run-time and the host's agree, the host is the oracle. */
static void Integers_AllFlags_AsTheHost(void **State)
{
    static const CHAR *const Flags[] = {"", "-", "0", "+", " ", "#", "-0", "+-", "#0", "+0", " 0", "#-"};
    static const CHAR *const Widths[] = {"", "1", "8", "20", ".0", ".1", ".5", "8.3", "3.8", "12.12"};
    static const CHAR *const Types[] = {"d",   "i",   "u",   "x",   "X",   "o",  "hd", "hx",
                                        "hhd", "hhu", "lld", "llx", "llu", "zu", "zx"};
    static const LONG64 Values[] = {0, 1, -1, 9, 10, 255, -128, 65535, 2147483647, -2147483648LL, 0x123456789ABCDEFLL};
    UNREFERENCED_PARAMETER(State);
    for (ULONG f = 0; f < ARRAYSIZE(Flags); f++)
        for (ULONG w = 0; w < ARRAYSIZE(Widths); w++)
            for (ULONG t = 0; t < ARRAYSIZE(Types); t++)
                for (ULONG v = 0; v < ARRAYSIZE(Values); v++) {
                    CHAR Text[32], Ours[128], Theirs[128];
                    snprintf(Text, sizeof(Text), "<%%%s%s%s>", Flags[f], Widths[w], Types[t]);
                    /* C leaves '+' and ' ' with unsigned types undefined; both ignore them. */
                    BOOLEAN Wide = (BOOLEAN)(Types[t][0] == 'l' || Types[t][0] == 'z');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                    if (Wide)
                        snprintf(Theirs, sizeof(Theirs), Text, Values[v]);
                    else
                        snprintf(Theirs, sizeof(Theirs), Text, (int)Values[v]);
#pragma GCC diagnostic pop
                    SIZE_T Length =
                        Wide ? Format(Ours, sizeof(Ours), Text, Values[v]) : Format(Ours, sizeof(Ours), Text, (int)Values[v]);
                    if (strcmp(Ours, Theirs) != 0)
                        fail_msg("%s of %lld: '%s', host '%s'", Text, Values[v], Ours, Theirs);
                    assert_int_equal(Length, strlen(Theirs));
                }
}

static void Integers_MicrosoftSizes(void **State)
{
    UNREFERENCED_PARAMETER(State);
    EXPECT("1311768467463790320", "%I64d", 0x123456789ABCDEF0LL);
    EXPECT("123456789abcdef0", "%I64x", 0x123456789ABCDEF0LL);
    EXPECT("-1", "%I32d", -1);
    EXPECT("123456789ABCDEF0", "%IX", (SIZE_T)0x123456789ABCDEF0ULL);
    EXPECT("4294967295", "%lu", MAXULONG); /* long has 32 bits */
    EXPECT("-1 7", "%ld %d", -1, 7);
    EXPECT("00000000deadbeef", "%016I64x", (ULONG64)0xDEADBEEF);
}

static void Pointer_SixteenUpperCaseDigits(void **State)
{
    UNREFERENCED_PARAMETER(State);
    EXPECT("00000000DEADBEEF", "%p", (PVOID)(ULONG_PTR)0xDEADBEEF);
    EXPECT("0000000000000000", "%p", NULL);
    EXPECT("  00000000DEADBEEF", "%18p", (PVOID)(ULONG_PTR)0xDEADBEEF);
}

static void Strings_AllWidths(void **State)
{
    UNICODE_STRING Wide = US("wide string"), Part = {8, 22, Wide.Buffer}, Null = {0, 0, NULL};
    ANSI_STRING Narrow = AS("narrow");
    UNREFERENCED_PARAMETER(State);
    EXPECT("abc", "%s", "abc");
    EXPECT("abc", "%hs", "abc");
    EXPECT("abc", "%S", L"abc");
    EXPECT("abc", "%ws", L"abc");
    EXPECT("abc", "%ls", L"abc");
    EXPECT("abc", "%hS", "abc");
    EXPECT("wide string", "%wZ", &Wide);
    EXPECT("wide", "%wZ", &Part);
    EXPECT("wide", "%lZ", &Part);
    EXPECT("narrow", "%Z", &Narrow);
    EXPECT("nar|wi", "%.3Z|%.2wZ", &Narrow, &Wide);
    EXPECT("(null) (null) (null)", "%s %ws %wZ", NULL, NULL, &Null);
    EXPECT("(null)", "%wZ", NULL);
    EXPECT("[  abc][abc  ][  ab]", "[%5s][%-5s][%4.2s]", "abc", "abc", "abc");
    EXPECT("[  abc][abc  ]", "[%*s][%*s]", 5, "abc", -5, "abc");
    EXPECT("a b ab", "%c %C %wc%hc", 'a', L'b', L'a', 'b');
    EXPECT("100%", "%d%%", 100);
}

static void Strings_NotAscii_Utf8ForTheConsole(void **State)
{
    static const WCHAR Text[] = {0xE9, 0x3B1, 0x20AC, 0xD83D, 0xDE00, 0xD800, 0};
    UNREFERENCED_PARAMETER(State);
    EXPECT("\xC3\xA9\xCE\xB1\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD", "%ws", Text);
}

static void FloatingPoint_PrintsItsConversion(void **State)
{
    UNREFERENCED_PARAMETER(State);
    EXPECT("%f %5.2g 7", "%f %5.2g %d", 7);
}

static void Malformed_NoReadPastTheFormat(void **State)
{
    UNREFERENCED_PARAMETER(State);
    EXPECT("x", "x%");
    EXPECT("x", "x%-08.3l");
    EXPECT("xy", "x%y");
    EXPECT("6", "%I6"); /* a pointer-sized conversion of no known type */
}

static void Length_TooSmallBuffer_CutTerminatedAndCounted(void **State)
{
    CHAR Out[8];
    UNREFERENCED_PARAMETER(State);
    memset(Out, 'z', sizeof(Out));
    assert_int_equal(Format(Out, 5, "%s", "abcdefgh"), 8);
    assert_string_equal(Out, "abcd");
    assert_int_equal(Out[5], 'z');
    assert_int_equal(Format(NULL, 0, "%d", 12345), 5);
    assert_int_equal(Format(Out, 1, "abc"), 3);
    assert_int_equal(Out[0], 0);
}

static void Slots_MicrosoftArguments_SameText(void **State)
{
    UNICODE_STRING Name = US("\\Device\\X");
    const ULONG64 Slots[] = {0xFFFFFFFF00000007ULL, (ULONG_PTR)&Name, 0x123456789ULL, (ULONG_PTR) "end"};
    CHAR Out[64];
    UNREFERENCED_PARAMETER(State);
    RtlpFormatSlots(Out, sizeof(Out), "%d %wZ %I64x %s",
                    Slots); /* the upper half of a 32-bit slot is garbage by the calling convention */
    assert_string_equal(Out, "7 \\Device\\X 123456789 end");
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Integers_AllFlags_AsTheHost),        cmocka_unit_test(Integers_MicrosoftSizes),
        cmocka_unit_test(Pointer_SixteenUpperCaseDigits),     cmocka_unit_test(Strings_AllWidths),
        cmocka_unit_test(Strings_NotAscii_Utf8ForTheConsole), cmocka_unit_test(FloatingPoint_PrintsItsConversion),
        cmocka_unit_test(Malformed_NoReadPastTheFormat),      cmocka_unit_test(Length_TooSmallBuffer_CutTerminatedAndCounted),
        cmocka_unit_test(Slots_MicrosoftArguments_SameText),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
