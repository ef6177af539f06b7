/*
 * crt.h - the C run-time names that ntoskrnl exports and the host's C library does not have, or has with
 * another wchar_t.
 *
 * A driver's wchar_t has 16 bits. The host's wcs* routines would read 32, so those names are bound to ours
 * (RtlpCrt_<name> in the library): by an assembler name where the prototypes agree (in C), by a macro where
 * they do not (swprintf and vswprintf take no size in the kernel's form). The byte routines that both sides
 * agree on (strlen, memcpy, qsort, ...) stay the host's. Printf formats of our routines are those of
 * Microsoft's run-time without floating point: see src/rtl/format.c. Any IRQL for resident memory; formats of
 * wide characters PASSIVE_LEVEL. _snprintf and _snwprintf write no terminator when the text just fits, and
 * return -1 when it does not fit. Page: _snprintf SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_CRT_
#define _NTMM_CRT_

#if __STDC_HOSTED__
#ifdef __cplusplus
/* The standard library's own uses of these names must be seen before the macros below. */
#include <cwchar>
#include <cstring>
#include <cstdlib>
#include <string>
#else
#include <wchar.h>
#include <stdlib.h>
#endif
#endif

#ifdef __cplusplus
extern "C" {
/* clang refuses an assembler name for a function that a standard header has used already. */
#define wcslen  RtlpCrt_wcslen
#define wcsnlen RtlpCrt_wcsnlen
#define wcscmp  RtlpCrt_wcscmp
#define wcsncmp RtlpCrt_wcsncmp
#define wcscpy  RtlpCrt_wcscpy
#define wcsncpy RtlpCrt_wcsncpy
#define wcscat  RtlpCrt_wcscat
#define wcsncat RtlpCrt_wcsncat
#define wcsspn  RtlpCrt_wcsspn
#define wcscspn RtlpCrt_wcscspn
#endif
#define NTMM_CRT(Name) __asm__("RtlpCrt_" #Name)

typedef int errno_t;
#if !__STDC_HOSTED__
#endif
#ifdef __cplusplus
typedef wchar_t NTMM_WCHAR;
#else
typedef __WCHAR_TYPE__ NTMM_WCHAR;
#endif

/* ---- 16-bit wide characters: the host has these names ---- */
size_t wcslen(const NTMM_WCHAR *String) NTMM_CRT(wcslen);
size_t wcsnlen(const NTMM_WCHAR *String, size_t Count) NTMM_CRT(wcsnlen);
int wcscmp(const NTMM_WCHAR *String1, const NTMM_WCHAR *String2) NTMM_CRT(wcscmp);
int wcsncmp(const NTMM_WCHAR *String1, const NTMM_WCHAR *String2, size_t Count) NTMM_CRT(wcsncmp);
NTMM_WCHAR *wcscpy(NTMM_WCHAR *Destination, const NTMM_WCHAR *Source) NTMM_CRT(wcscpy);
NTMM_WCHAR *wcsncpy(NTMM_WCHAR *Destination, const NTMM_WCHAR *Source, size_t Count) NTMM_CRT(wcsncpy);
NTMM_WCHAR *wcscat(NTMM_WCHAR *Destination, const NTMM_WCHAR *Source) NTMM_CRT(wcscat);
NTMM_WCHAR *wcsncat(NTMM_WCHAR *Destination, const NTMM_WCHAR *Source, size_t Count) NTMM_CRT(wcsncat);
size_t wcsspn(const NTMM_WCHAR *String, const NTMM_WCHAR *Set) NTMM_CRT(wcsspn);
size_t wcscspn(const NTMM_WCHAR *String, const NTMM_WCHAR *Set) NTMM_CRT(wcscspn);
NTMM_WCHAR *RtlpCrt_wcschr(const NTMM_WCHAR *String, NTMM_WCHAR Character);
NTMM_WCHAR *RtlpCrt_wcsrchr(const NTMM_WCHAR *String, NTMM_WCHAR Character);
NTMM_WCHAR *RtlpCrt_wcsstr(const NTMM_WCHAR *String, const NTMM_WCHAR *Pattern);
NTMM_WCHAR *RtlpCrt_wcspbrk(const NTMM_WCHAR *String, const NTMM_WCHAR *Set);
LONG RtlpCrt_wcstol(const NTMM_WCHAR *String, NTMM_WCHAR **End, int Base);
ULONG RtlpCrt_wcstoul(const NTMM_WCHAR *String, NTMM_WCHAR **End, int Base);
int RtlpCrt_swprintf(NTMM_WCHAR *Buffer, const NTMM_WCHAR *Format, ...);
int RtlpCrt_vswprintf(NTMM_WCHAR *Buffer, const NTMM_WCHAR *Format, va_list Arguments);
#define wcschr    RtlpCrt_wcschr
#define wcsrchr   RtlpCrt_wcsrchr
#define wcsstr    RtlpCrt_wcsstr
#define wcspbrk   RtlpCrt_wcspbrk
#define wcstol    RtlpCrt_wcstol
#define wcstoul   RtlpCrt_wcstoul
#define swprintf  RtlpCrt_swprintf
#define vswprintf RtlpCrt_vswprintf

/* ---- names that only Microsoft's run-time has ---- */
int _wcsicmp(const NTMM_WCHAR *String1, const NTMM_WCHAR *String2) NTMM_CRT(_wcsicmp);
int _wcsnicmp(const NTMM_WCHAR *String1, const NTMM_WCHAR *String2, size_t Count) NTMM_CRT(_wcsnicmp);
NTMM_WCHAR *_wcsupr(NTMM_WCHAR *String) NTMM_CRT(_wcsupr);
NTMM_WCHAR *_wcslwr(NTMM_WCHAR *String) NTMM_CRT(_wcslwr);
NTMM_WCHAR *_wcsrev(NTMM_WCHAR *String) NTMM_CRT(_wcsrev);
int _stricmp(const char *String1, const char *String2) NTMM_CRT(_stricmp);
int _strnicmp(const char *String1, const char *String2, size_t Count) NTMM_CRT(_strnicmp);
char *_strupr(char *String) NTMM_CRT(_strupr);
char *_strlwr(char *String) NTMM_CRT(_strlwr);
char *_strrev(char *String) NTMM_CRT(_strrev);
char *_strset(char *String, int Value) NTMM_CRT(_strset);
int _snprintf(char *Buffer, size_t Count, const char *Format, ...) NTMM_CRT(_snprintf);
int _vsnprintf(char *Buffer, size_t Count, const char *Format, va_list Arguments) NTMM_CRT(_vsnprintf);
int _snwprintf(NTMM_WCHAR *Buffer, size_t Count, const NTMM_WCHAR *Format, ...) NTMM_CRT(_snwprintf);
int _vsnwprintf(NTMM_WCHAR *Buffer, size_t Count, const NTMM_WCHAR *Format, va_list Arguments) NTMM_CRT(_vsnwprintf);
char *_itoa(int Value, char *Buffer, int Base) NTMM_CRT(_itoa);
NTMM_WCHAR *_itow(int Value, NTMM_WCHAR *Buffer, int Base) NTMM_CRT(_itow);
int _wtoi(const NTMM_WCHAR *String) NTMM_CRT(_wtoi);
LONG _wtol(const NTMM_WCHAR *String) NTMM_CRT(_wtol);
LONG64 _atoi64(const char *String) NTMM_CRT(_atoi64);

/* ---- the checked forms: an impossible argument empties the destination and returns EINVAL (22) or ERANGE
 * (34) ---- */
errno_t memcpy_s(void *Destination, size_t DestinationSize, const void *Source, size_t Count) NTMM_CRT(memcpy_s);
errno_t memmove_s(void *Destination, size_t DestinationSize, const void *Source, size_t Count) NTMM_CRT(memmove_s);
errno_t strcpy_s(char *Destination, size_t Size, const char *Source) NTMM_CRT(strcpy_s);
errno_t strncpy_s(char *Destination, size_t Size, const char *Source, size_t Count) NTMM_CRT(strncpy_s);
errno_t strcat_s(char *Destination, size_t Size, const char *Source) NTMM_CRT(strcat_s);
errno_t strncat_s(char *Destination, size_t Size, const char *Source, size_t Count) NTMM_CRT(strncat_s);
errno_t wcscpy_s(NTMM_WCHAR *Destination, size_t Size, const NTMM_WCHAR *Source) NTMM_CRT(wcscpy_s);
errno_t wcsncpy_s(NTMM_WCHAR *Destination, size_t Size, const NTMM_WCHAR *Source, size_t Count) NTMM_CRT(wcsncpy_s);
errno_t wcscat_s(NTMM_WCHAR *Destination, size_t Size, const NTMM_WCHAR *Source) NTMM_CRT(wcscat_s);
errno_t wcsncat_s(NTMM_WCHAR *Destination, size_t Size, const NTMM_WCHAR *Source, size_t Count) NTMM_CRT(wcsncat_s);
int sprintf_s(char *Buffer, size_t Size, const char *Format, ...) NTMM_CRT(sprintf_s);
int vsprintf_s(char *Buffer, size_t Size, const char *Format, va_list Arguments) NTMM_CRT(vsprintf_s);
int swprintf_s(NTMM_WCHAR *Buffer, size_t Size, const NTMM_WCHAR *Format, ...) NTMM_CRT(swprintf_s);
int vswprintf_s(NTMM_WCHAR *Buffer, size_t Size, const NTMM_WCHAR *Format, va_list Arguments) NTMM_CRT(vswprintf_s);
int _snprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, ...) NTMM_CRT(_snprintf_s);
int _vsnprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, va_list Arguments) NTMM_CRT(_vsnprintf_s);
int _snwprintf_s(NTMM_WCHAR *Buffer, size_t Size, size_t Count, const NTMM_WCHAR *Format, ...) NTMM_CRT(_snwprintf_s);
int _vsnwprintf_s(NTMM_WCHAR *Buffer, size_t Size, size_t Count, const NTMM_WCHAR *Format, va_list Arguments)
    NTMM_CRT(_vsnwprintf_s);
#define _TRUNCATE ((size_t)-1)

#ifdef __cplusplus
}
#endif
#endif
