/*
 * rtl_number_test.c - number.c, time.c, version.c, status.c. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"
#include <time.h>

static void Integer_EveryBase_RoundTrips(void **State)
{
    static const ULONG Bases[] = {2, 8, 10, 16};
    ULONG64 Seed = 1;
    UNREFERENCED_PARAMETER(State);
    for (ULONG Round = 0; Round < 2000; Round++) {
        ULONG Value = KitRandom(&Seed) >> KitRandom(&Seed) % 32, Back;
        ULONG Base = Bases[Round % 4];
        WCHAR Buffer[34];
        CHAR Narrow[34];
        UNICODE_STRING String = {0, sizeof(Buffer), Buffer};
        assert_int_equal(RtlIntegerToUnicodeString(Value, Base, &String), STATUS_SUCCESS);
        assert_int_equal(RtlUnicodeStringToInteger(&String, Base, &Back), STATUS_SUCCESS);
        assert_int_equal(Back, Value);
        assert_int_equal(RtlIntegerToChar(Value, Base, sizeof(Narrow), Narrow), STATUS_SUCCESS);
        assert_int_equal(RtlCharToInteger(Narrow, Base, &Back), STATUS_SUCCESS);
        assert_int_equal(Back, Value);
    }
}

static void IntegerToChar_NegativeLength_ZeroPadded(void **State)
{
    CHAR Out[9] = "zzzzzzzz";
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlIntegerToChar(0xBEEF, 16, -6, Out), STATUS_SUCCESS);
    assert_memory_equal(Out, "00BEEFzz", 8);
    assert_int_equal(RtlIntegerToChar(12345, 10, 4, Out), STATUS_BUFFER_OVERFLOW);
    assert_int_equal(RtlIntegerToChar(1, 7, 4, Out), STATUS_INVALID_PARAMETER);
}

static void Int64_EndPointer_WhereDigitsEnd(void **State)
{
    UNICODE_STRING String = US("  -0x1fZ");
    LONG64 Value;
    PWSTR End;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlUnicodeStringToInt64(&String, 0, &Value, &End), STATUS_SUCCESS);
    assert_int_equal(Value, -31);
    assert_ptr_equal(End, String.Buffer + 7);
}

/* Every day of eight centuries against the host's calendar. */
static void TimeFields_EveryDay_AsTheHost(void **State)
{
    UNREFERENCED_PARAMETER(State);
    for (LONG64 Day = 0; Day < 292194; Day++) {
        LARGE_INTEGER Time, Back;
        TIME_FIELDS Fields;
        struct tm Host;
        time_t Seconds = Day * 86400 + Day % 86400 - 11644473600LL;
        Time.QuadPart = (Seconds + 11644473600LL) * 10000000 + 1230000;
        RtlTimeToTimeFields(&Time, &Fields);
        gmtime_r(&Seconds, &Host);
        if (Fields.Year != Host.tm_year + 1900 || Fields.Month != Host.tm_mon + 1 || Fields.Day != Host.tm_mday ||
            Fields.Hour != Host.tm_hour || Fields.Minute != Host.tm_min || Fields.Second != Host.tm_sec ||
            Fields.Weekday != Host.tm_wday || Fields.Milliseconds != 123)
            fail_msg("day %lld: %d-%d-%d", Day, Fields.Year, Fields.Month, Fields.Day);
        assert_true(RtlTimeFieldsToTime(&Fields, &Back));
        assert_int_equal(Back.QuadPart, Time.QuadPart);
    }
}

static void TimeFields_NoSuchDate_False(void **State)
{
    static const TIME_FIELDS Bad[] = {
        {1600, 1, 1, 0, 0, 0, 0, 0},    {2023, 2, 29, 0, 0, 0, 0, 0}, {2024, 13, 1, 0, 0, 0, 0, 0},
        {2024, 0, 1, 0, 0, 0, 0, 0},    {2024, 4, 31, 0, 0, 0, 0, 0}, {2024, 1, 0, 0, 0, 0, 0, 0},
        {2024, 1, 1, 24, 0, 0, 0, 0},   {2024, 1, 1, 0, 60, 0, 0, 0}, {2024, 1, 1, 0, 0, 60, 0, 0},
        {2024, 1, 1, 0, 0, 0, 1000, 0}, {1900, 2, 29, 0, 0, 0, 0, 0},
    };
    LARGE_INTEGER Time = {.QuadPart = 5};
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        TIME_FIELDS Fields = Bad[i];
        assert_false(RtlTimeFieldsToTime(&Fields, &Time));
        assert_int_equal(Time.QuadPart, 5);
    }
    TIME_FIELDS Leap = {2000, 2, 29, 0, 0, 0, 0, 0};
    assert_true(RtlTimeFieldsToTime(&Leap, &Time));
}

static void Seconds_EndsOfTheirRanges(void **State)
{
    LARGE_INTEGER Time;
    ULONG Seconds;
    UNREFERENCED_PARAMETER(State);
    RtlSecondsSince1970ToTime(0, &Time);
    assert_int_equal(Time.QuadPart, 116444736000000000LL);
    assert_true(RtlTimeToSecondsSince1970(&Time, &Seconds));
    assert_int_equal(Seconds, 0);
    assert_false(RtlTimeToSecondsSince1980(&Time, &Seconds));
    Time.QuadPart--;
    assert_false(RtlTimeToSecondsSince1970(&Time, &Seconds));
    RtlSecondsSince1970ToTime(MAXULONG, &Time);
    assert_true(RtlTimeToSecondsSince1970(&Time, &Seconds));
    assert_int_equal(Seconds, MAXULONG);
    Time.QuadPart += 10000000;
    assert_false(RtlTimeToSecondsSince1970(&Time, &Seconds));
    RtlSecondsSince1980ToTime(0, &Time);
    assert_int_equal(Time.QuadPart, 119600064000000000LL);
}

static void Version_Compared(void **State)
{
    RTL_OSVERSIONINFOEXW Info = {.dwOSVersionInfoSize = sizeof(Info)}, Want = {0};
    RTL_OSVERSIONINFOW Small = {.dwOSVersionInfoSize = sizeof(Small)};
    ULONGLONG Mask = 0;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlGetVersion((PRTL_OSVERSIONINFOW)&Info), STATUS_SUCCESS);
    assert_int_equal(RtlGetVersion(&Small), STATUS_SUCCESS);
    assert_int_equal(Info.dwMajorVersion, 10);
    assert_int_equal(Small.dwBuildNumber, Info.dwBuildNumber);
    assert_int_equal(Info.wProductType, VER_NT_WORKSTATION);

    Want.dwMajorVersion = 6;
    Want.dwMinorVersion = 3; /* 10.0 >= 6.3 although 0 < 3 */
    VER_SET_CONDITION(Mask, VER_MAJORVERSION, VER_GREATER_EQUAL);
    VER_SET_CONDITION(Mask, VER_MINORVERSION, VER_GREATER_EQUAL);
    assert_int_equal(RtlVerifyVersionInfo(&Want, VER_MAJORVERSION | VER_MINORVERSION, Mask), STATUS_SUCCESS);
    Want.dwMajorVersion = 10;
    assert_int_equal(RtlVerifyVersionInfo(&Want, VER_MAJORVERSION | VER_MINORVERSION, Mask), STATUS_REVISION_MISMATCH);
    Mask = 0;
    VER_SET_CONDITION(Mask, VER_BUILDNUMBER, VER_LESS);
    Want.dwBuildNumber = Info.dwBuildNumber;
    assert_int_equal(RtlVerifyVersionInfo(&Want, VER_BUILDNUMBER, Mask), STATUS_REVISION_MISMATCH);
    Want.dwBuildNumber++;
    assert_int_equal(RtlVerifyVersionInfo(&Want, VER_BUILDNUMBER, Mask), STATUS_SUCCESS);
    assert_int_equal(RtlVerifyVersionInfo(&Want, 0, Mask), STATUS_INVALID_PARAMETER);
    assert_true(RtlIsNtDdiVersionAvailable(NTDDI_WIN7));
    assert_true(RtlIsNtDdiVersionAvailable(NTDDI_WIN10));
    assert_false(RtlIsNtDdiVersionAvailable(0x0B000000));
}

static void DosError_KnownAndUnknown(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlNtStatusToDosError(STATUS_SUCCESS), 0);
    assert_int_equal(RtlNtStatusToDosError(STATUS_ACCESS_DENIED), 5);
    assert_int_equal(RtlNtStatusToDosError(STATUS_INSUFFICIENT_RESOURCES), 1450);
    assert_int_equal(RtlNtStatusToDosError(STATUS_NO_MEMORY), 8);
    assert_int_equal(RtlNtStatusToDosError(STATUS_OBJECT_NAME_NOT_FOUND), 2);
    assert_int_equal(RtlNtStatusToDosError(STATUS_INVALID_DEVICE_REQUEST), 1);
    assert_int_equal(RtlNtStatusToDosError(STATUS_PENDING), 997);
    assert_int_equal(RtlNtStatusToDosError((NTSTATUS)0xC0070005), 5);
    assert_int_equal(RtlNtStatusToDosError((NTSTATUS)0xE0001234), 0xE0001234);
    assert_int_equal(RtlNtStatusToDosError((NTSTATUS)0xC0FFFFFF), 317);
}

static void Random_RangeAndSeed(void **State)
{
    ULONG Seed = 0, Other = 0, Low = 0;
    UNREFERENCED_PARAMETER(State);
    for (ULONG i = 0; i < 10000; i++) {
        ULONG Value = RtlRandomEx(&Seed);
        assert_true(Value < MAXLONG);
        Low += Value < MAXLONG / 2;
        assert_int_equal(RtlRandomEx(&Other), Value); /* the same seed, the same sequence */
        assert_int_equal(Seed, Other);
    }
    assert_true(Low > 4500 && Low < 5500);
}

static void Crc32_KnownValue(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlComputeCrc32(0, "123456789", 9), 0xCBF43926);
    assert_int_equal(RtlComputeCrc32(RtlComputeCrc32(0, "1234", 4), "56789", 5), 0xCBF43926);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Integer_EveryBase_RoundTrips),
        cmocka_unit_test(IntegerToChar_NegativeLength_ZeroPadded),
        cmocka_unit_test(Int64_EndPointer_WhereDigitsEnd),
        cmocka_unit_test(TimeFields_EveryDay_AsTheHost),
        cmocka_unit_test(TimeFields_NoSuchDate_False),
        cmocka_unit_test(Seconds_EndsOfTheirRanges),
        cmocka_unit_test(Version_Compared),
        cmocka_unit_test(DosError_KnownAndUnknown),
        cmocka_unit_test(Random_RangeAndSeed),
        cmocka_unit_test(Crc32_KnownValue),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
