/*
 * RtlBitmapAndMemory.c - what the pages of the bitmap, memory and time routines say, a test a sentence.
 * SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

static ULONG Words[4];
static RTL_BITMAP Map;

static int Setup(void **State)
{
    UNREFERENCED_PARAMETER(State);
    memset(Words, 0, sizeof(Words));
    RtlInitializeBitMap(&Map, Words, 100);
    return 0;
}

/* RtlInitializeBitMap: initialises the header; the buffer's bits are the caller's. */
static void RtlInitializeBitMap_Buffer_Untouched(void **State)
{
    RTL_BITMAP Header;
    ULONG Buffer = 0xA5A5A5A5;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeBitMap(&Header, &Buffer, 32);
    assert_int_equal(Buffer, 0xA5A5A5A5);
    assert_int_equal(Header.SizeOfBitMap, 32);
    assert_ptr_equal(Header.Buffer, &Buffer);
}

/* RtlFindClearBits: "If it cannot find a matching range between the hint index and the end of the bitmap,
 * RtlFindClearBits continues by searching from the beginning of the bitmap back to the hint index." */
static void RtlFindClearBits_NothingBehindHint_StartsOver(void **State)
{
    UNREFERENCED_PARAMETER(State);
    RtlSetBits(&Map, 50, 50);
    assert_int_equal(RtlFindClearBits(&Map, 10, 60), 0);
    assert_int_equal(RtlFindClearBits(&Map, 10, 20), 20);
    assert_int_equal(RtlFindClearBits(&Map, 40, 20), 0);
}

/* "... or it returns 0xFFFFFFFF if it cannot find such a range within the given bitmap variable." */
static void RtlFindClearBitsAndSet_NotFound_AllOnes(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlFindClearBitsAndSet(&Map, 101, 0), 0xFFFFFFFF);
    assert_int_equal(RtlFindClearBitsAndSet(&Map, 100, 0), 0);
    assert_int_equal(RtlFindClearBitsAndSet(&Map, 1, 0), 0xFFFFFFFF);
    assert_int_equal(RtlNumberOfSetBits(&Map), 100);
}

/* RtlFindSetBitsAndClear: "returns the zero-based starting bit index for a set bit range of the requested
 * size that it cleared". */
static void RtlFindSetBitsAndClear_Found_Cleared(void **State)
{
    UNREFERENCED_PARAMETER(State);
    RtlSetBits(&Map, 33, 5);
    assert_int_equal(RtlFindSetBitsAndClear(&Map, 3, 0), 33);
    assert_int_equal(RtlNumberOfSetBits(&Map), 2);
    assert_true(RtlAreBitsClear(&Map, 33, 3));
}

/* RtlAreBitsSet: "FALSE if ... Length is zero, or the range is not a proper subset of the bitmap". */
static void RtlAreBitsSet_EmptyOrOutside_False(void **State)
{
    UNREFERENCED_PARAMETER(State);
    RtlSetAllBits(&Map);
    assert_true(RtlAreBitsSet(&Map, 0, 100));
    assert_false(RtlAreBitsSet(&Map, 10, 0));
    assert_false(RtlAreBitsSet(&Map, 90, 11));
    assert_false(RtlAreBitsSet(&Map, MAXULONG, 2));
    RtlClearAllBits(&Map);
    assert_true(RtlAreBitsClear(&Map, 0, 100));
    assert_false(RtlAreBitsClear(&Map, 0, 101));
}

/* RtlFindNextForwardRunClear: "returns the number of bits in the run beginning at StartingRunIndex, or zero
 * if it cannot find a run of clear bits following FromIndex". */
static void RtlFindNextForwardRunClear_Results(void **State)
{
    ULONG Start;
    UNREFERENCED_PARAMETER(State);
    RtlSetAllBits(&Map);
    RtlClearBits(&Map, 40, 7);
    assert_int_equal(RtlFindNextForwardRunClear(&Map, 0, &Start), 7);
    assert_int_equal(Start, 40);
    assert_int_equal(RtlFindNextForwardRunClear(&Map, 43, &Start), 4);
    assert_int_equal(Start, 43);
    assert_int_equal(RtlFindNextForwardRunClear(&Map, 47, &Start), 0);
}

/* RtlCompareMemory: "returns the number of bytes in the two blocks that match ... If all bytes match up to
 * the specified Length value, the Length value is returned." */
static void RtlCompareMemory_Results(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlCompareMemory("abcdefghijk", "abcdefghijX", 11), 10);
    assert_int_equal(RtlCompareMemory("abc", "abc", 3), 3);
    assert_int_equal(RtlCompareMemory("abc", "xbc", 3), 0);
    assert_int_equal(RtlCompareMemory("", "", 0), 0);
    assert_true(RtlEqualMemory("abc", "abc", 3));
    assert_false(RtlEqualMemory("abc", "abd", 3));
}

/* RtlSecureZeroMemory fills with zeros and returns its argument. */
static void RtlSecureZeroMemory_ZeroesAndReturns(void **State)
{
    UCHAR Secret[32];
    UNREFERENCED_PARAMETER(State);
    memset(Secret, 7, sizeof(Secret));
    assert_ptr_equal(RtlSecureZeroMemory(Secret, sizeof(Secret)), Secret);
    assert_true(RtlIsZeroMemory(Secret, sizeof(Secret)));
}

/* RtlRetrieveUlong, RtlStoreUlong: "avoiding alignment faults". */
static void RtlStoreUlong_AnyAlignment(void **State)
{
    UCHAR Bytes[12] = {0};
    ULONG Value;
    UNREFERENCED_PARAMETER(State);
    RtlStoreUlong((PULONG)(PVOID)(Bytes + 3), 0x11223344);
    RtlRetrieveUlong(&Value, Bytes + 3);
    assert_int_equal(Value, 0x11223344);
    assert_int_equal(Bytes[3], 0x44);
    RtlStoreUshort((PUSHORT)(PVOID)(Bytes + 1), 0xABCD);
    assert_int_equal(Bytes[2], 0xAB);
}

/* RtlTimeToTimeFields: system time "expressed as the number of 100-nanosecond intervals since January 1,
 * 1601"; Weekday 0 is Sunday. */
static void RtlTimeToTimeFields_KnownDates(void **State)
{
    LARGE_INTEGER Time = {.QuadPart = 0};
    TIME_FIELDS Fields;
    UNREFERENCED_PARAMETER(State);
    RtlTimeToTimeFields(&Time, &Fields);
    assert_int_equal(Fields.Year, 1601);
    assert_int_equal(Fields.Month, 1);
    assert_int_equal(Fields.Day, 1);
    assert_int_equal(Fields.Weekday, 1);
    Time.QuadPart = 116444736000000000LL; /* 1 January 1970, a Thursday */
    RtlTimeToTimeFields(&Time, &Fields);
    assert_int_equal(Fields.Year, 1970);
    assert_int_equal(Fields.Weekday, 4);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup(RtlInitializeBitMap_Buffer_Untouched, Setup),
        cmocka_unit_test_setup(RtlFindClearBits_NothingBehindHint_StartsOver, Setup),
        cmocka_unit_test_setup(RtlFindClearBitsAndSet_NotFound_AllOnes, Setup),
        cmocka_unit_test_setup(RtlFindSetBitsAndClear_Found_Cleared, Setup),
        cmocka_unit_test_setup(RtlAreBitsSet_EmptyOrOutside_False, Setup),
        cmocka_unit_test_setup(RtlFindNextForwardRunClear_Results, Setup),
        cmocka_unit_test(RtlCompareMemory_Results),
        cmocka_unit_test(RtlSecureZeroMemory_ZeroesAndReturns),
        cmocka_unit_test(RtlStoreUlong_AnyAlignment),
        cmocka_unit_test(RtlTimeToTimeFields_KnownDates),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
