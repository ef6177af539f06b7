/*
 * rtl_crt_test.c - crt.c: the byte routines against the host's, the wide ones bound to 16 bits, the checked
 * ones. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"
#include "rtl/rtlp.h"
#include <strings.h>
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wstringop-truncation" /* cutting is what strncpy and strncat are tested for */
#endif

static int Sign(int Value)
{
    return (Value > 0) - (Value < 0);
}

static void Narrow_RandomStrings_AsTheHost(void **State)
{
    ULONG64 Seed = 5;
    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 0; Round < 20000; Round++) {
        char A[12], B[12], C[40], D[40];
        size_t La = KitRandom(&Seed) % 8, Lb = KitRandom(&Seed) % 8, n = KitRandom(&Seed) % 10;
        for (size_t i = 0; i < La; i++)
            A[i] = "abAB\xE9"[KitRandom(&Seed) % 5];
        for (size_t i = 0; i < Lb; i++)
            B[i] = "abAB\xE9"[KitRandom(&Seed) % 5];
        A[La] = B[Lb] = 0;
        assert_int_equal(RtlpCrt_strlen(A), strlen(A));
        assert_int_equal(RtlpCrt_strnlen(A, n), strnlen(A, n));
        assert_int_equal(Sign(RtlpCrt_strcmp(A, B)), Sign(strcmp(A, B)));
        assert_int_equal(Sign(RtlpCrt_strncmp(A, B, n)), Sign(strncmp(A, B, n)));
        assert_int_equal(Sign(_stricmp(A, B)), Sign(strcasecmp(A, B)));
        assert_int_equal(Sign(_strnicmp(A, B, n)), Sign(strncasecmp(A, B, n)));
        assert_ptr_equal(RtlpCrt_strstr(A, B), strstr(A, B));
        assert_ptr_equal(RtlpCrt_strchr(A, 'b'), strchr(A, 'b'));
        assert_ptr_equal(RtlpCrt_strchr(A, 0), strchr(A, 0));
        assert_ptr_equal(RtlpCrt_strrchr(A, 'a'), strrchr(A, 'a'));
        assert_ptr_equal(RtlpCrt_strpbrk(A, B), strpbrk(A, B));
        assert_int_equal(RtlpCrt_strspn(A, B), strspn(A, B));
        assert_int_equal(RtlpCrt_strcspn(A, B), strcspn(A, B));
        assert_ptr_equal(RtlpCrt_memchr(A, 'b', La), memchr(A, 'b', La));
        memset(C, 'z', sizeof(C));
        memset(D, 'z', sizeof(D));
        RtlpCrt_strcat(RtlpCrt_strcpy(C, A), B);
        strcat(strcpy(D, A), B);
        RtlpCrt_strncat(C, A, n);
        strncat(D, A, n);
        assert_memory_equal(C, D, sizeof(C));
        RtlpCrt_strncpy(C, A, n);
        strncpy(D, A, n);
        assert_memory_equal(C, D, sizeof(C));
    }
}

static void Wide_Names_AreSixteenBits(void **State)
{
    WCHAR Text[32] = L"Abc\\def\\Ghi";
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(wcslen(Text), 11);
    assert_int_equal(wcsnlen(Text, 4), 4);
    assert_ptr_equal(wcschr(Text, L'\\'), Text + 3);
    assert_ptr_equal(wcsrchr(Text, L'\\'), Text + 7);
    assert_ptr_equal(wcsstr(Text, L"def"), Text + 4);
    assert_null(wcsstr(Text, L"xyz"));
    assert_int_equal(wcscmp(L"abc", L"abd"), -1);
    assert_int_equal(wcsncmp(L"abc", L"abd", 2), 0);
    assert_int_equal(_wcsicmp(L"ABC", L"abc"), 0);
    assert_int_equal(_wcsnicmp(L"ABCx", L"abcy", 3), 0);
    wcscpy(Text, L"one");
    wcscat(Text, L"two");
    wcsncat(Text, L"three", 2);
    assert_int_equal(wcscmp(Text, L"onetwoth"), 0);
    assert_int_equal(wcscmp(_wcsupr(Text), L"ONETWOTH"), 0);
    assert_int_equal(wcscmp(_wcslwr(Text), L"onetwoth"), 0);
    assert_int_equal(wcscmp(_wcsrev(Text), L"htowteno"), 0);
    assert_int_equal(wcsspn(L"aab", L"a"), 2);
    assert_int_equal(wcscspn(L"aab", L"b"), 2);
    assert_int_equal(swprintf(Text, L"%s-%d-%S", L"w", 5, "n"), 5);
    assert_int_equal(wcscmp(Text, L"w-5-n"), 0);
    assert_int_equal(wcstol(L"-12x", NULL, 10), -12);
    assert_int_equal(wcstoul(L"0xFFFFFFFFF", NULL, 0), MAXULONG);
    assert_int_equal(_wtoi(L" 42"), 42);
}

static void Snprintf_ExactAndTooLong_AsDocumented(void **State)
{
    char Out[8];
    WCHAR Wide[8];
    UNREFERENCED_PARAMETER(State);
    memset(Out, 'z', sizeof(Out));
    assert_int_equal(_snprintf(Out, 4, "%s", "abcd"), 4); /* fits without its terminator */
    assert_memory_equal(Out, "abcdz", 5);
    assert_int_equal(_snprintf(Out, 4, "%s", "vwxyz"), -1);
    assert_memory_equal(Out, "vwxyz", 5); /* Out[4] untouched: the z */
    assert_int_equal(_snprintf(Out, 8, "%d", 77), 2);
    assert_string_equal(Out, "77");
    assert_int_equal(_snprintf(NULL, 0, "%d", 12345), 5);
    assert_int_equal(_snwprintf(Wide, 8, L"%s", L"1234567"), 7);
    assert_int_equal(wcscmp(Wide, L"1234567"), 0);
    assert_int_equal(_snwprintf(Wide, 3, L"%s", L"1234567"), -1);
    assert_int_equal(sprintf_s(Out, sizeof(Out), "%s", "too long text"), -1);
    assert_string_equal(Out, "");
    assert_int_equal(_snprintf_s(Out, sizeof(Out), _TRUNCATE, "%s", "too long text"), -1);
    assert_string_equal(Out, "too lon");
    assert_int_equal(RtlpCrt_sprintf(Out, "%c%c", 'o', 'k'), 2);
    assert_string_equal(Out, "ok");
}

static void Checked_BadArguments_ErrorAndEmpty(void **State)
{
    char Out[6] = "abc";
    WCHAR Wide[4];
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(strcpy_s(Out, sizeof(Out), "12345"), 0);
    assert_int_equal(strcpy_s(Out, sizeof(Out), "123456"), 34);
    assert_string_equal(Out, "");
    assert_int_equal(strcpy_s(Out, sizeof(Out), NULL), 22);
    assert_int_equal(strcpy_s(NULL, 5, "x"), 22);
    strcpy_s(Out, sizeof(Out), "ab");
    assert_int_equal(strcat_s(Out, sizeof(Out), "cde"), 0);
    assert_string_equal(Out, "abcde");
    assert_int_equal(strcat_s(Out, sizeof(Out), "f"), 34);
    assert_int_equal(strncpy_s(Out, sizeof(Out), "longer text", _TRUNCATE), 80);
    assert_string_equal(Out, "longe");
    assert_int_equal(wcscpy_s(Wide, 4, L"abc"), 0);
    assert_int_equal(wcscat_s(Wide, 4, L"d"), 34);
    assert_int_equal(memcpy_s(Out, 3, "abcd", 4), 34);
    assert_memory_equal(Out, "\0\0\0", 3);
    assert_int_equal(memcpy_s(Out, 4, "abcd", 4), 0);
    assert_int_equal(memmove_s(Out + 1, 4, Out, 4), 0);
    assert_memory_equal(Out, "aabcd", 5);
}

static void Numbers_AsTheHost(void **State)
{
    static const char *const Texts[] = {"0",   "12", "-12", "+7x", "  99",       "0x1F",        "0x",
                                        "077", "08", "",    "abc", "2147483647", "-2147483648", "zz"};
    char Out[40];
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < ARRAYSIZE(Texts); i++)
        for (int Base = 0; Base <= 36; Base = Base == 0 ? 2 : Base + 1) {
            char *OurEnd, *TheirEnd;
            long Theirs = strtol(Texts[i], &TheirEnd, Base);
            if (Theirs > MAXLONG || Theirs < MINLONG)
                continue;
            LONG Ours = RtlpCrt_strtol(Texts[i], &OurEnd, Base);
            if (Ours != Theirs || OurEnd != TheirEnd)
                fail_msg("strtol(\"%s\", %d): %d, host %ld", Texts[i], Base, Ours, Theirs);
        }
    assert_int_equal(RtlpCrt_strtol("99999999999", NULL, 10), MAXLONG);
    assert_int_equal(RtlpCrt_strtol("-99999999999", NULL, 10), MINLONG);
    assert_int_equal(_atoi64("-9223372036854775808"), -MAXLONGLONG - 1);
    assert_string_equal(_itoa(-255, Out, 10), "-255");
    assert_string_equal(_itoa(-255, Out, 16), "ffffff01");
    assert_string_equal(_itoa(0, Out, 2), "0");
}

static int CompareInts(const void *A, const void *B)
{
    int X = *(const int *)A, Y = *(const int *)B;
    return (X > Y) - (X < Y);
}

static void SortAndSearch_AnyOrder_SortedPermutation(void **State)
{
    ULONG64 Seed = 11;
    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 0; Round < 300; Round++) {
        int Ours[120], Theirs[120];
        size_t Count = Round % 120;
        for (size_t i = 0; i < Count; i++)
            Ours[i] = Theirs[i] = (int)(KitRandom(&Seed) % (Round % 3 ? 1000 : 4));
        RtlpCrt_qsort(Ours, Count, sizeof(int), CompareInts);
        qsort(Theirs, Count, sizeof(int), CompareInts);
        assert_memory_equal(Ours, Theirs, Count * sizeof(int));
        for (int Key = -1; Key < 20; Key++) {
            int *Found = RtlpCrt_bsearch(&Key, Ours, Count, sizeof(int), CompareInts);
            assert_int_equal(Found != NULL, bsearch(&Key, Theirs, Count, sizeof(int), CompareInts) != NULL);
            if (Found)
                assert_int_equal(*Found, Key);
        }
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Narrow_RandomStrings_AsTheHost),
        cmocka_unit_test(Wide_Names_AreSixteenBits),
        cmocka_unit_test(Snprintf_ExactAndTooLong_AsDocumented),
        cmocka_unit_test(Checked_BadArguments_ErrorAndEmpty),
        cmocka_unit_test(Numbers_AsTheHost),
        cmocka_unit_test(SortAndSearch_AnyOrder_SortedPermutation),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
