/*
 * strings.c - pool memory for the run-time library's allocating string routines.
 *
 * rtl stands below the pools, so it takes its memory through two pointers that ExInitSystem sets here: paged pool, tag Strg, as documented for
 * RtlAnsiStringToUnicodeString and its kin ("Strg" is the tag that Windows uses for them).
 * SPDX-License-Identifier: MIT
 */
#include "ex/exp.h"
#include "rtl/rtlp.h"

#define EXP_STRING_TAG 'grtS'

static PVOID ExpAllocateString(SIZE_T NumberOfBytes)
{
    return ExAllocatePoolWithTag(PagedPool, NumberOfBytes, EXP_STRING_TAG);
}

static VOID ExpFreeString(PVOID Buffer)
{
    ExFreePoolWithTag(Buffer, 0);
}

VOID ExpInitStringMemory(VOID)
{
    RtlpAllocateStringRoutine = ExpAllocateString;
    RtlpFreeStringRoutine = ExpFreeString;
}
