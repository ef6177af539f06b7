/*
 * border.h - the private face of the border: its section, and the entries written by hand. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ldr/ldrp.h"
#include "vf/vf.h"

/* An entry: called by PE code, kept in the section whose bounds are KiBorderStart and KiBorderEnd. */
#define LDR_BORDER KI_MSABI __attribute__((section("ntmm_border"), noinline))

/* The Verifier's IRQL rules, for what images call: first in an entry, whose return address is the caller. */
#define LDR_IRQL_RULE(Name)                                                                                                    \
    do {                                                                                                                       \
        if (__builtin_expect(__atomic_load_n(&VfIrqlRulesOn, __ATOMIC_RELAXED), 0))                                            \
            VfCheckIrqlRule(Name, (ULONG_PTR)__builtin_return_address(0));                                                     \
    } while (0)

/* What an ms_abi variadic function or an ms_abi va_list has: consecutive 8-byte slots. A native va_list that takes every
 * argument from its overflow area reads exactly that. */
typedef union _LDRP_ARGUMENTS {
    va_list Native;
    struct {
        ULONG GpOffset, FpOffset;
        PVOID Overflow, Save;
    } Parts[1];
} LDRP_ARGUMENTS;
C_ASSERT(sizeof(va_list) == 24);
static inline VOID LdrpTakeArguments(LDRP_ARGUMENTS *Arguments, PVOID MsList)
{
    Arguments->Parts[0].GpOffset = 6 * 8;
    Arguments->Parts[0].FpOffset = 6 * 8 + 8 * 16;
    Arguments->Parts[0].Overflow = MsList;
    Arguments->Parts[0].Save = NULL;
}
