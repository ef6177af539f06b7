/*
 * rtl_kit.h - what the run-time library's tests share. SPDX-License-Identifier: MIT
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>

#define US(Text) ((UNICODE_STRING)RTL_CONSTANT_STRING(L##Text))
#define AS(Text) ((ANSI_STRING)RTL_CONSTANT_STRING(Text))

static inline void ExpectWide(PCUNICODE_STRING String, const WCHAR *Text)
{
    assert_int_equal(String->Length, wcslen(Text) * sizeof(WCHAR));
    assert_memory_equal(String->Buffer, Text, String->Length);
}

static inline void ExpectNarrow(const STRING *String, const CHAR *Text)
{
    assert_int_equal(String->Length, strlen(Text));
    assert_memory_equal(String->Buffer, Text, String->Length);
}

/* A reproducible stream for randomised tests. */
static inline ULONG KitRandom(ULONG64 *State)
{
    *State = *State * 6364136223846793005ULL + 1442695040888963407ULL;
    return (ULONG)(*State >> 33);
}
