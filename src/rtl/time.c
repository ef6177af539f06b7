/*
 * time.c - system time and calendar fields.
 *
 * System time counts 100 ns from 1 January 1601, a Monday, in the Gregorian calendar extended to all years.
 * Four centuries are 146,097 days, so a day number is years, leap days and a table of days before each month.
 * No time zones, no leap seconds. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

#define TICKS_PER_MILLISECOND 10000LL
#define TICKS_PER_SECOND      10000000LL
#define SECONDS_PER_DAY       86400LL
#define SECONDS_TO_1970       11644473600LL
#define SECONDS_TO_1980       (SECONDS_TO_1970 + 315532800LL)

static const USHORT RtlpDaysBefore[13] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

static LONG RtlpIsLeap(LONG Year)
{
    return (Year % 4 == 0 && Year % 100 != 0) || Year % 400 == 0;
}

/* Days from 1 January 1601 to 1 January of Year >= 1601. */
static LONG RtlpDaysToYear(LONG Year)
{
    LONG Years = Year - 1601;
    return Years * 365 + Years / 4 - Years / 100 + Years / 400;
}

static LONG RtlpDaysToMonth(LONG Year, LONG Month) /* Month from 0, up to 12 */
{
    return RtlpDaysBefore[Month] + (Month > 1 ? RtlpIsLeap(Year) : 0);
}

VOID RtlTimeToTimeFields(PLARGE_INTEGER Time, PTIME_FIELDS TimeFields)
{
    ULONG64 Ticks = (ULONG64)Time->QuadPart; /* a negative time is not a date; taken as unsigned it stays in the table */
    ULONG64 Milliseconds = Ticks / TICKS_PER_MILLISECOND;
    LONG Days = (LONG)(Milliseconds / (SECONDS_PER_DAY * 1000));
    LONG Rest = (LONG)(Milliseconds % (SECONDS_PER_DAY * 1000));
    LONG Year = 1601 + (LONG)((LONG64)Days * 400 / 146097), Month = 11;
    /* The estimate is at most one year late or early. */
    while (RtlpDaysToYear(Year) > Days)
        Year--;
    while (RtlpDaysToYear(Year + 1) <= Days)
        Year++;
    LONG DayOfYear = Days - RtlpDaysToYear(Year);
    while (RtlpDaysToMonth(Year, Month) > DayOfYear)
        Month--;
    TimeFields->Year = (CSHORT)Year;
    TimeFields->Month = (CSHORT)(Month + 1);
    TimeFields->Day = (CSHORT)(DayOfYear - RtlpDaysToMonth(Year, Month) + 1);
    TimeFields->Hour = (CSHORT)(Rest / 3600000);
    TimeFields->Minute = (CSHORT)(Rest / 60000 % 60);
    TimeFields->Second = (CSHORT)(Rest / 1000 % 60);
    TimeFields->Milliseconds = (CSHORT)(Rest % 1000);
    TimeFields->Weekday = (CSHORT)((Days + 1) % 7);
}

BOOLEAN RtlTimeFieldsToTime(PTIME_FIELDS TimeFields, PLARGE_INTEGER Time)
{
    LONG Year = TimeFields->Year, Month = TimeFields->Month - 1, Day = TimeFields->Day - 1;
    if (Year < 1601 || Month < 0 || Month > 11 || Day < 0 ||
        Day >= RtlpDaysToMonth(Year, Month + 1) - RtlpDaysToMonth(Year, Month) || TimeFields->Hour < 0 ||
        TimeFields->Hour > 23 || TimeFields->Minute < 0 || TimeFields->Minute > 59 || TimeFields->Second < 0 ||
        TimeFields->Second > 59 || TimeFields->Milliseconds < 0 || TimeFields->Milliseconds > 999)
        return FALSE;
    LONG64 Days = RtlpDaysToYear(Year) + RtlpDaysToMonth(Year, Month) + Day;
    LONG64 Seconds = Days * SECONDS_PER_DAY + TimeFields->Hour * 3600 + TimeFields->Minute * 60 + TimeFields->Second;
    Time->QuadPart = Seconds * TICKS_PER_SECOND + TimeFields->Milliseconds * TICKS_PER_MILLISECOND;
    return TRUE;
}

static BOOLEAN RtlpSecondsSince(PLARGE_INTEGER Time, LONG64 Origin, PULONG ElapsedSeconds)
{
    LONG64 Seconds = Time->QuadPart / TICKS_PER_SECOND - Origin;
    if (Time->QuadPart < 0 || Seconds < 0 || Seconds > (LONG64)MAXULONG)
        return FALSE;
    *ElapsedSeconds = (ULONG)Seconds;
    return TRUE;
}

BOOLEAN RtlTimeToSecondsSince1970(PLARGE_INTEGER Time, PULONG ElapsedSeconds)
{
    return RtlpSecondsSince(Time, SECONDS_TO_1970, ElapsedSeconds);
}

BOOLEAN RtlTimeToSecondsSince1980(PLARGE_INTEGER Time, PULONG ElapsedSeconds)
{
    return RtlpSecondsSince(Time, SECONDS_TO_1980, ElapsedSeconds);
}

VOID RtlSecondsSince1970ToTime(ULONG ElapsedSeconds, PLARGE_INTEGER Time)
{
    Time->QuadPart = (ElapsedSeconds + SECONDS_TO_1970) * TICKS_PER_SECOND;
}

VOID RtlSecondsSince1980ToTime(ULONG ElapsedSeconds, PLARGE_INTEGER Time)
{
    Time->QuadPart = (ElapsedSeconds + SECONDS_TO_1980) * TICKS_PER_SECOND;
}
