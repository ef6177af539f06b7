/*
 * border.c - the one place where the two calling conventions meet. SPDX-License-Identifier: MIT
 *
 * A driver binary calls by the Microsoft x64 convention (ms_abi), the library is built for the host's. For every routine
 * that drivers may import there is one ms_abi entry here that calls the native routine with its real types, so that the
 * compiler does what differs: registers, shadow space, rdi/rsi/xmm6-15 kept for the caller, BOOLEAN and KIRQL arguments
 * cut to a byte. The entries are written by the macros below from the lists in exports/, one line a routine:
 *
 *     F(NTSTATUS, ZwClose, HANDLE)      a routine with arguments; its type is checked against the header's
 *     F0(KIRQL, KeRaiseIrqlToDpcLevel)  one without
 *     I(...), I0(...)                   the same for what is an inline function or a macro of the headers
 *     S(DbgPrint)                       written by hand in border_special.c: variadic, or gives pointers to code back
 *     N(RtlZeroMemory, LdrpZeroMemory)  the same, with the native routine's own name
 *     A(ExportedName, Other)            another name for an entry
 *     D(MmHighestUserAddress)           a variable
 *
 *   driver's IAT --> Border_ZwClose (ms_abi, section ntmm_border) --> ZwClose (native)
 *   native code  --> KI_CALLOUT(...): code in the kernel's range or in ntmm_border is called as ms_abi
 *
 * So a pointer to a driver's function crosses inward as it is, and a pointer to one of our routines that crosses outward
 * (MmGetSystemRoutineAddress, a lookaside list's Allocate) is the border entry, which both sides may call.
 *
 * Invariants (unit.border_test):
 *  1. Names are unique; every name that include/nt marks as exported and that is defined has an entry.
 *  2. Every function entry lies between KiBorderStart and KiBorderEnd, and nothing else does: the linker keeps the
 *     section together.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include "ldr/border_special.h"
#include "io/dmap.h"
#include "vf/vf.h"

/* clang-format off */
#define LDR_CAT_(A, B) A##B
#define LDR_CAT(A, B)  LDR_CAT_(A, B)
#define LDR_COUNT_(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, N, ...) N
#define LDR_COUNT(...) LDR_COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define LDR_P(T, N) __typeof__(T) a##N
#define LDR_P1(A) LDR_P(A, 1)
#define LDR_P2(A, B) LDR_P1(A), LDR_P(B, 2)
#define LDR_P3(A, B, C) LDR_P2(A, B), LDR_P(C, 3)
#define LDR_P4(A, B, C, D) LDR_P3(A, B, C), LDR_P(D, 4)
#define LDR_P5(A, B, C, D, E) LDR_P4(A, B, C, D), LDR_P(E, 5)
#define LDR_P6(A, B, C, D, E, F) LDR_P5(A, B, C, D, E), LDR_P(F, 6)
#define LDR_P7(A, B, C, D, E, F, G) LDR_P6(A, B, C, D, E, F), LDR_P(G, 7)
#define LDR_P8(A, B, C, D, E, F, G, H) LDR_P7(A, B, C, D, E, F, G), LDR_P(H, 8)
#define LDR_P9(A, B, C, D, E, F, G, H, I) LDR_P8(A, B, C, D, E, F, G, H), LDR_P(I, 9)
#define LDR_P10(A, B, C, D, E, F, G, H, I, J) LDR_P9(A, B, C, D, E, F, G, H, I), LDR_P(J, 10)
#define LDR_P11(A, B, C, D, E, F, G, H, I, J, K) LDR_P10(A, B, C, D, E, F, G, H, I, J), LDR_P(K, 11)
#define LDR_P12(A, B, C, D, E, F, G, H, I, J, K, L) LDR_P11(A, B, C, D, E, F, G, H, I, J, K), LDR_P(L, 12)
#define LDR_P13(A, B, C, D, E, F, G, H, I, J, K, L, M) LDR_P12(A, B, C, D, E, F, G, H, I, J, K, L), LDR_P(M, 13)
#define LDR_P14(A, B, C, D, E, F, G, H, I, J, K, L, M, N) LDR_P13(A, B, C, D, E, F, G, H, I, J, K, L, M), LDR_P(N, 14)
#define LDR_A1 a1
#define LDR_A2 LDR_A1, a2
#define LDR_A3 LDR_A2, a3
#define LDR_A4 LDR_A3, a4
#define LDR_A5 LDR_A4, a5
#define LDR_A6 LDR_A5, a6
#define LDR_A7 LDR_A6, a7
#define LDR_A8 LDR_A7, a8
#define LDR_A9 LDR_A8, a9
#define LDR_A10 LDR_A9, a10
#define LDR_A11 LDR_A10, a11
#define LDR_A12 LDR_A11, a12
#define LDR_A13 LDR_A12, a13
#define LDR_A14 LDR_A13, a14
/* clang-format on */

/* ---- first reading of the lists: the entries ---- */
#define I0(Ret, Name)                                                                                                          \
    static LDR_BORDER Ret Border_##Name(VOID)                                                                                  \
    {                                                                                                                          \
        KI_CALLED_BY_FOREIGN;                                                                                                  \
        LDR_IRQL_RULE(#Name);                                                                                                  \
        return (Name)();                                                                                                       \
    }
#define I(Ret, Name, ...)                                                                                                      \
    static LDR_BORDER Ret Border_##Name(LDR_CAT(LDR_P, LDR_COUNT(__VA_ARGS__))(__VA_ARGS__))                                   \
    {                                                                                                                          \
        KI_CALLED_BY_FOREIGN;                                                                                                  \
        LDR_IRQL_RULE(#Name);                                                                                                  \
        return (Name)(LDR_CAT(LDR_A, LDR_COUNT(__VA_ARGS__)));                                                                 \
    }
#define F0(Ret, Name)                                                                                                          \
    C_ASSERT(__builtin_types_compatible_p(__typeof__(Name), Ret(VOID)));                                                       \
    I0(Ret, Name)
#define F(Ret, Name, ...)                                                                                                      \
    C_ASSERT(__builtin_types_compatible_p(__typeof__(Name), Ret(__VA_ARGS__)));                                                \
    I(Ret, Name, __VA_ARGS__)
#define S(Name)
#define A(Name, Other)
#define N(Name, Native)
#define D(Name)
#define P(Name)
#include "ldr/exports/all.h"
#undef F
#undef F0
#undef I
#undef I0
#undef S
#undef A
#undef N
#undef D
#undef P

/* ---- second reading: the table ---- */
#define F0(Ret, Name)     {#Name, (PVOID)Border_##Name, (PVOID)(Name), LdrRoutine},
#define F(Ret, Name, ...) {#Name, (PVOID)Border_##Name, (PVOID)(Name), LdrRoutine},
#define I0(Ret, Name)     {#Name, (PVOID)Border_##Name, (PVOID)(Name), LdrRoutine},
#define I(Ret, Name, ...) {#Name, (PVOID)Border_##Name, (PVOID)(Name), LdrRoutine},
#define S(Name)           {#Name, (PVOID)Border_##Name, (PVOID)(Name), LdrRoutine},
#define A(Name, Other)    {#Name, (PVOID)Border_##Other, (PVOID)(Other), LdrRoutine},
#define N(Name, Native)   {#Name, (PVOID)Border_##Name, (PVOID)(Native), LdrRoutine},
#define D(Name)           {#Name, (PVOID)&Name, (PVOID)&Name, LdrVariable},
#define P(Name)           {#Name, (PVOID)&Name, (PVOID)&Name, LdrPointedVariable},
const LDR_ENTRY LdrEntries[] = {
#include "ldr/exports/all.h"
};
const ULONG LdrEntryCount = ARRAYSIZE(LdrEntries);

/* ---- looking names up ---- */
static const LDR_ENTRY *LdrpSorted[ARRAYSIZE(LdrEntries)];
static pthread_once_t LdrpSortOnce = PTHREAD_ONCE_INIT;

static int LdrpCompareEntries(const void *One, const void *Two)
{
    return strcmp((*(const LDR_ENTRY *const *)One)->Name, (*(const LDR_ENTRY *const *)Two)->Name);
}

static void LdrpSortEntries(void)
{
    for (ULONG Index = 0; Index < LdrEntryCount; Index++) {
        LdrpSorted[Index] = &LdrEntries[Index];
    }
    qsort(LdrpSorted, LdrEntryCount, sizeof(LdrpSorted[0]), LdrpCompareEntries);
}

const LDR_ENTRY *LdrFindEntry(const CHAR *Name)
{
    ULONG Low = 0, High = LdrEntryCount;
    pthread_once(&LdrpSortOnce, LdrpSortEntries);
    while (Low < High) {
        ULONG Middle = (Low + High) / 2;
        int Order = strcmp(Name, LdrpSorted[Middle]->Name);
        if (Order == 0) {
            return LdrpSorted[Middle];
        }
        if (Order < 0) {
            High = Middle;
        } else {
            Low = Middle + 1;
        }
    }
    return NULL;
}
