/*
 * border_crt.c - border entries of the C run-time that need more than a change of registers: formatting, which takes the
 * caller's 8-byte argument slots, and sorting, which calls back. SPDX-License-Identifier: MIT
 *
 * A Microsoft va_list is a pointer to slots of 8 bytes, and a variadic ms_abi function finds its arguments in the same
 * form; LdrpTakeArguments turns either into a native va_list. (A double is in its slot as it is, so formats that take one
 * would work too; the kernel's formatter has none.)
 */
#include <stdlib.h>
#include <string.h>
#include "ldr/border_special.h"

/* Calls Expression with a native va_list in Native made of the arguments behind Last. */
#define LDRP_VARIADIC(Type, Last, Expression)                                                                                  \
    __builtin_ms_va_list MsArguments;                                                                                          \
    LDRP_ARGUMENTS Taken;                                                                                                      \
    Type Result;                                                                                                               \
    __builtin_ms_va_start(MsArguments, Last);                                                                                  \
    LdrpTakeArguments(&Taken, (PVOID)MsArguments);                                                                             \
    Result = Expression;                                                                                                       \
    __builtin_ms_va_end(MsArguments);                                                                                          \
    return Result
/* The same for a va_list that the caller made. */
#define LDRP_LISTED(Type, List, Expression)                                                                                    \
    LDRP_ARGUMENTS Taken;                                                                                                      \
    LdrpTakeArguments(&Taken, List);                                                                                           \
    Type Result = Expression;                                                                                                  \
    return Result
#define LDRP_UNBOUNDED 0x7fffffff /* sprintf trusts its caller */

ULONG LDR_BORDER Border_DbgPrint(PCSTR Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(ULONG, Format, vDbgPrintEx(DPFLTR_DEFAULT_ID, DPFLTR_ERROR_LEVEL, Format, Taken.Native));
}

ULONG LDR_BORDER Border_DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(ULONG, Format, vDbgPrintEx(ComponentId, Level, Format, Taken.Native));
}

ULONG LDR_BORDER Border_vDbgPrintEx(ULONG ComponentId, ULONG Level, PCCH Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(ULONG, List, vDbgPrintEx(ComponentId, Level, Format, Taken.Native));
}

ULONG LDR_BORDER Border_vDbgPrintExWithPrefix(PCCH Prefix, ULONG ComponentId, ULONG Level, PCCH Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(ULONG, List, vDbgPrintExWithPrefix(Prefix, ComponentId, Level, Format, Taken.Native));
}

int LDR_BORDER Border__snprintf(char *Buffer, size_t Count, const char *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, _vsnprintf(Buffer, Count, Format, Taken.Native));
}

int LDR_BORDER Border__vsnprintf(char *Buffer, size_t Count, const char *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, _vsnprintf(Buffer, Count, Format, Taken.Native));
}

int LDR_BORDER Border__snwprintf(WCHAR *Buffer, size_t Count, const WCHAR *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, _vsnwprintf(Buffer, Count, Format, Taken.Native));
}

int LDR_BORDER Border__vsnwprintf(WCHAR *Buffer, size_t Count, const WCHAR *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, _vsnwprintf(Buffer, Count, Format, Taken.Native));
}

int LDR_BORDER Border__snprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, _vsnprintf_s(Buffer, Size, Count, Format, Taken.Native));
}

int LDR_BORDER Border__vsnprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, _vsnprintf_s(Buffer, Size, Count, Format, Taken.Native));
}

int LDR_BORDER Border__snwprintf_s(WCHAR *Buffer, size_t Size, size_t Count, const WCHAR *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, _vsnwprintf_s(Buffer, Size, Count, Format, Taken.Native));
}

int LDR_BORDER Border__vsnwprintf_s(WCHAR *Buffer, size_t Size, size_t Count, const WCHAR *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, _vsnwprintf_s(Buffer, Size, Count, Format, Taken.Native));
}

int LDR_BORDER Border_sprintf(char *Buffer, const char *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, _vsnprintf(Buffer, LDRP_UNBOUNDED, Format, Taken.Native));
}

int LDR_BORDER Border_vsprintf(char *Buffer, const char *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, _vsnprintf(Buffer, LDRP_UNBOUNDED, Format, Taken.Native));
}

int LDR_BORDER Border_swprintf(WCHAR *Buffer, const WCHAR *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, _vsnwprintf(Buffer, LDRP_UNBOUNDED, Format, Taken.Native));
}

int LDR_BORDER Border_vswprintf(WCHAR *Buffer, const WCHAR *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, _vsnwprintf(Buffer, LDRP_UNBOUNDED, Format, Taken.Native));
}

int LDR_BORDER Border_sprintf_s(char *Buffer, size_t Size, const char *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, vsprintf_s(Buffer, Size, Format, Taken.Native));
}

int LDR_BORDER Border_vsprintf_s(char *Buffer, size_t Size, const char *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, vsprintf_s(Buffer, Size, Format, Taken.Native));
}

int LDR_BORDER Border_swprintf_s(WCHAR *Buffer, size_t Size, const WCHAR *Format, ...)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_VARIADIC(int, Format, vswprintf_s(Buffer, Size, Format, Taken.Native));
}

int LDR_BORDER Border_vswprintf_s(WCHAR *Buffer, size_t Size, const WCHAR *Format, PVOID List)
{
    KI_CALLED_BY_FOREIGN;
    LDRP_LISTED(int, List, vswprintf_s(Buffer, Size, Format, Taken.Native));
}

/* ---- bytes: a driver may pass any pointer when there is nothing to copy ---- */
void *LDR_BORDER Border_memcpy(void *Target, const void *Source, size_t Count)
{
    KI_CALLED_BY_FOREIGN;
    size_t Apart = (size_t)Target > (size_t)Source ? (size_t)Target - (size_t)Source : (size_t)Source - (size_t)Target;
    if (__builtin_expect(Apart < Count && Apart != 0, 0) && KiVerifies(KI_ANY_OPTION, __builtin_return_address(0)))
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "memcpy was called for a source and a target that overlap.", NULL, 0xF0,
               (ULONG_PTR)Target, (ULONG_PTR)Source, Count);
    return Count != 0 ? memmove(Target, Source, Count) : Target; /* the kernel's memcpy is its memmove */
}

void *LDR_BORDER Border_memmove(void *Target, const void *Source, size_t Count)
{
    KI_CALLED_BY_FOREIGN;
    return Count != 0 ? memmove(Target, Source, Count) : Target;
}

void *LDR_BORDER Border_memset(void *Target, int Value, size_t Count)
{
    KI_CALLED_BY_FOREIGN;
    return Count != 0 ? memset(Target, Value, Count) : Target;
}

int LDR_BORDER Border_memcmp(const void *One, const void *Two, size_t Count)
{
    KI_CALLED_BY_FOREIGN;
    return Count != 0 ? memcmp(One, Two, Count) : 0;
}

const void *LDR_BORDER Border_memchr(const void *Bytes, int Value, size_t Count)
{
    KI_CALLED_BY_FOREIGN;
    return Count != 0 ? memchr(Bytes, Value, Count) : NULL;
}

VOID LdrpZeroMemory(VOID *Target, SIZE_T Length)
{
    if (Length != 0) {
        memset(Target, 0, Length);
    }
}

VOID LdrpFillMemory(VOID *Target, SIZE_T Length, int Fill)
{
    if (Length != 0) {
        memset(Target, Fill, Length);
    }
}

VOID LDR_BORDER Border_RtlZeroMemory(VOID *Target, SIZE_T Length)
{
    KI_CALLED_BY_FOREIGN;
    LdrpZeroMemory(Target, Length);
}

VOID LDR_BORDER Border_RtlFillMemory(VOID *Target, SIZE_T Length, int Fill)
{
    KI_CALLED_BY_FOREIGN;
    LdrpFillMemory(Target, Length, Fill);
}

WCHAR LDR_BORDER Border_towupper(WCHAR Character)
{
    KI_CALLED_BY_FOREIGN;
    return RtlUpcaseUnicodeChar(Character);
}

WCHAR LDR_BORDER Border_towlower(WCHAR Character)
{
    KI_CALLED_BY_FOREIGN;
    return RtlDowncaseUnicodeChar(Character);
}

/* ---- sorting and searching: the comparison is the driver's ---- */
static int LdrpCompareForeign(const void *One, const void *Two, void *Compare)
{
    return KI_CALLOUT(int, (LDRP_COMPARE)(ULONG_PTR)Compare, (const void *, const void *), (One, Two));
}

void LDR_BORDER Border_qsort(void *Base, size_t Count, size_t Size, LDRP_COMPARE Compare)
{
    KI_CALLED_BY_FOREIGN;
    qsort_r(Base, Count, Size, LdrpCompareForeign, (void *)(ULONG_PTR)Compare);
}

void *LDR_BORDER Border_bsearch(const void *Key, const void *Base, size_t Count, size_t Size, LDRP_COMPARE Compare)
{
    KI_CALLED_BY_FOREIGN;
    size_t Low = 0;
    while (Low < Count) {
        size_t Middle = Low + (Count - Low) / 2;
        const char *At = (const char *)Base + Middle * Size;
        int Order = LdrpCompareForeign(Key, At, (void *)(ULONG_PTR)Compare);
        if (Order == 0) {
            return (void *)(ULONG_PTR)At;
        }
        if (Order < 0) {
            Count = Middle;
        } else {
            Low = Middle + 1;
        }
    }
    return NULL;
}
