/*
 * time.c - what time it is. SPDX-License-Identifier: MIT
 *
 * Implements KeQuerySystemTime(Precise), KeQueryInterruptTime(Precise), KeQueryUnbiasedInterruptTime(Precise),
 * KeQueryTickCount, KeQueryTimeIncrement, KeQueryPerformanceCounter, KeStallExecutionProcessor. There is one clock, the
 * machine's; the tick is 15.625 ms as on most Windows machines, the performance counter runs at 10 MHz. The machine never
 * sleeps, so biased and unbiased times agree; local time is UTC (ExSystemTimeToLocalTime, ExLocalTimeToSystemTime). Beside them stand the
 * routines that save processor state around its use, KeSaveExtendedProcessorState and its counterpart: threads keep theirs.
 */
#include "ke/kip.h"

#define KI_TIME_INCREMENT 156250 /* 100 ns units */

#undef KeQuerySystemTime
VOID KeQuerySystemTime(PLARGE_INTEGER CurrentTime)
{
    CurrentTime->QuadPart = (LONGLONG)HalQuerySystemTime();
}

VOID KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime)
{
    CurrentTime->QuadPart = (LONGLONG)HalQuerySystemTime();
}

#undef KeQueryInterruptTime
ULONGLONG KeQueryInterruptTime(VOID)
{
    return HalQueryTime() / 100;
}

ULONG64 KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp)
{
    ULONG64 Now = HalQueryTime() / 100;

    *QpcTimeStamp = Now;
    return Now;
}

ULONGLONG KeQueryUnbiasedInterruptTime(VOID)
{
    return HalQueryTime() / 100;
}

ULONG64 KeQueryUnbiasedInterruptTimePrecise(PULONG64 QpcTimeStamp)
{
    return KeQueryInterruptTimePrecise(QpcTimeStamp);
}

#undef KeQueryTickCount
VOID KeQueryTickCount(PLARGE_INTEGER CurrentCount)
{
    CurrentCount->QuadPart = (LONGLONG)(HalQueryTime() / 100 / KI_TIME_INCREMENT);
}

ULONG KeQueryTimeIncrement(VOID)
{
    return KI_TIME_INCREMENT;
}

LARGE_INTEGER KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency)
{
    LARGE_INTEGER Counter;

    if (PerformanceFrequency != NULL) {
        PerformanceFrequency->QuadPart = 10000000;
    }
    Counter.QuadPart = (LONGLONG)(HalQueryTime() / 100);
    return Counter;
}

VOID KeStallExecutionProcessor(ULONG MicroSeconds)
{
    ULONG64 End = HalQueryTime() + (ULONG64)MicroSeconds * 1000;

    while (HalQueryTime() < End) {
        HalPause();
    }
}

VOID ExSystemTimeToLocalTime(PLARGE_INTEGER SystemTime, PLARGE_INTEGER LocalTime)
{
    *LocalTime = *SystemTime;
}

VOID ExLocalTimeToSystemTime(PLARGE_INTEGER LocalTime, PLARGE_INTEGER SystemTime)
{
    *SystemTime = *LocalTime;
}

NTSTATUS KeSaveExtendedProcessorState(ULONG64 Mask, PXSTATE_SAVE XStateSave)
{
    XStateSave->Mask = Mask;
    return STATUS_SUCCESS;
}

VOID KeRestoreExtendedProcessorState(PXSTATE_SAVE XStateSave)
{
    UNREFERENCED_PARAMETER(XStateSave);
}
