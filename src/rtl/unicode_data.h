/*
 * unicode_data.h - the shape of the tables of unicode_data.c.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include "rtl/rtlp.h"

typedef struct _RTLP_CASE_RANGE {
    USHORT First, Last;
    USHORT Stride;
    LONG Difference;
} RTLP_CASE_RANGE;
extern const RTLP_CASE_RANGE RtlpUpcaseRuns[], RtlpDowncaseRuns[];
extern const ULONG RtlpUpcaseRunCount, RtlpDowncaseRunCount;
