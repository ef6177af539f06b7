/*
 * ntstrsafe.h - string routines that know the size of their buffer.
 *
 * RtlStringCch*: sizes in characters; RtlStringCb*: in bytes; A: CHAR, W: WCHAR. The result is always
 * terminated. Status: STATUS_SUCCESS; STATUS_BUFFER_OVERFLOW (a warning: it did not fit and was cut);
 * STATUS_INVALID_PARAMETER (no room at all, more than NTSTRSAFE_MAX_CCH, NULL where IGNORE_NULLS is not
 * given, an unterminated destination of a Cat). RtlUnicodeString*: the destination is a UNICODE_STRING, which
 * is not terminated. Printf formats: wdm/crt.h. IRQL: PASSIVE_LEVEL for formats with wide characters, else
 * any for resident memory. Pages: "Using Safe String Functions", RtlStringCchCopyW, RtlStringCbPrintfW,
 * RtlUnicodeStringPrintf, ... The gets routines are left out. SPDX-License-Identifier: MIT
 */
#ifndef _NTSTRSAFE_H_INCLUDED_
#define _NTSTRSAFE_H_INCLUDED_
#include "ntdef.h"
#include "wdm.h"

#define NTSTRSAFE_MAX_CCH                           2147483647
#define NTSTRSAFE_MAX_LENGTH                        (NTSTRSAFE_MAX_CCH - 1)
#define NTSTRSAFE_UNICODE_STRING_MAX_CCH            (0xffff / sizeof(WCHAR))
#define STRSAFE_MAX_CCH                             NTSTRSAFE_MAX_CCH
#define STRSAFE_IGNORE_NULLS                        0x00000100
#define STRSAFE_FILL_BEHIND_NULL                    0x00000200
#define STRSAFE_FILL_ON_FAILURE                     0x00000400
#define STRSAFE_NULL_ON_FAILURE                     0x00000800
#define STRSAFE_NO_TRUNCATION                       0x00001000
#define STRSAFE_IGNORE_NULL_UNICODE_STRINGS         0x00010000
#define STRSAFE_UNICODE_STRING_DEST_NULL_TERMINATED 0x00020000
#define STRSAFE_VALID_FLAGS                                                                                                    \
    (0xFF | STRSAFE_IGNORE_NULLS | STRSAFE_FILL_BEHIND_NULL | STRSAFE_FILL_ON_FAILURE | STRSAFE_NULL_ON_FAILURE |              \
     STRSAFE_NO_TRUNCATION)
#define STRSAFE_FILL_BYTE(x)    ((ULONG)(((x)&0x000000FF) | STRSAFE_FILL_BEHIND_NULL))
#define STRSAFE_FAILURE_BYTE(x) ((ULONG)(((x)&0x000000FF) | STRSAFE_FILL_ON_FAILURE))
#define NTMM_STRSAFE            __attribute__((unused)) static inline

#ifdef __cplusplus
extern "C" {
#endif

/* ---- CHAR ---- */
/* Copies up to Limit characters of Source to *At; returns the status and where it stopped. Room is never 0
 * and keeps one for the terminator. */
NTMM_STRSAFE NTSTATUS NtmmStrCopyA(CHAR *Destination, size_t Room, size_t *Length, const CHAR *Source, size_t Limit)
{
    size_t i = 0;
    for (; i < Limit && Source[i] != 0; i++) {
        if (i + 1 == Room) {
            Destination[i] = 0;
            *Length = i;
            return STATUS_BUFFER_OVERFLOW;
        }
        Destination[i] = Source[i];
    }
    Destination[i] = 0;
    *Length = i;
    return STATUS_SUCCESS;
}
NTMM_STRSAFE NTSTATUS NtmmStrLengthA(const CHAR *Text, size_t Limit, size_t *Length)
{
    size_t i = 0;
    while (i < Limit && Text[i] != 0)
        i++;
    if (Length != NULL)
        *Length = i < Limit ? i : 0;
    return i < Limit ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
/* What all Ex forms do with their flags once the text stands (Length characters of Size) or has failed. */
NTMM_STRSAFE NTSTATUS NtmmStrFinishA(NTSTATUS Status, CHAR *Destination, size_t Size, size_t Length, CHAR **End,
                                     size_t *Remaining, ULONG Flags, size_t Original)
{
    if (NT_SUCCESS(Status)) {
        if ((Flags & STRSAFE_FILL_BEHIND_NULL) && Length + 1 < Size)
            memset(Destination + Length + 1, (int)(Flags & 0xFF), (Size - Length - 1) * sizeof(CHAR));
    } else if (Size != 0 && Destination != NULL) {
        if (Flags & STRSAFE_NO_TRUNCATION) {
            Length = Original;
            Destination[Length] = 0;
        }
        if (Flags & STRSAFE_FILL_ON_FAILURE) {
            memset(Destination, (int)(Flags & 0xFF), Size * sizeof(CHAR));
            Length = (Flags & 0xFF) == 0 ? 0 : Size - 1;
            Destination[Length] = 0;
        }
        if (Flags & STRSAFE_NULL_ON_FAILURE) {
            Length = 0;
            Destination[0] = 0;
        }
    }
    if (NT_SUCCESS(Status) || Status == STATUS_BUFFER_OVERFLOW) {
        if (End != NULL)
            *End = Destination + Length;
        if (Remaining != NULL)
            *Remaining = Size - Length;
    }
    return Status;
}
NTMM_STRSAFE NTSTATUS RtlStringCchLengthA(const CHAR *psz, size_t cchMax, size_t *pcchLength)
{
    if (psz == NULL || cchMax > NTSTRSAFE_MAX_CCH) {
        if (pcchLength != NULL)
            *pcchLength = 0;
        return STATUS_INVALID_PARAMETER;
    }
    return NtmmStrLengthA(psz, cchMax, pcchLength);
}
NTMM_STRSAFE NTSTATUS RtlStringCbLengthA(const CHAR *psz, size_t cbMax, size_t *pcbLength)
{
    NTSTATUS Status = RtlStringCchLengthA(psz, cbMax / sizeof(CHAR), pcbLength);
    if (pcbLength != NULL)
        *pcbLength *= sizeof(CHAR);
    return Status;
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyNExA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc, size_t cchToCopy,
                                           CHAR **ppszDestEnd, size_t *pcchRemaining, ULONG dwFlags)
{
    static const CHAR Empty[1] = {0};
    size_t Length = 0;
    if ((dwFlags & ~(ULONG)STRSAFE_VALID_FLAGS) || cchDest > NTSTRSAFE_MAX_CCH)
        return STATUS_INVALID_PARAMETER;
    if (dwFlags & STRSAFE_IGNORE_NULLS) {
        if (pszSrc == NULL)
            pszSrc = Empty;
        if (pszDest == NULL && cchDest == 0 && *pszSrc == 0)
            return NtmmStrFinishA(STATUS_SUCCESS, NULL, 0, 0, ppszDestEnd, pcchRemaining, 0, 0);
    }
    if (cchDest == 0 || pszDest == NULL || pszSrc == NULL)
        return STATUS_INVALID_PARAMETER;
    if (cchToCopy > NTSTRSAFE_MAX_CCH && cchToCopy != (size_t)-1) {
        *pszDest = 0;
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = NtmmStrCopyA(pszDest, cchDest, &Length, pszSrc, cchToCopy);
    return NtmmStrFinishA(Status, pszDest, cchDest, Length, ppszDestEnd, pcchRemaining, dwFlags, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatNExA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc, size_t cchToAppend,
                                          CHAR **ppszDestEnd, size_t *pcchRemaining, ULONG dwFlags)
{
    static const CHAR Empty[1] = {0};
    size_t Start = 0, Length = 0;
    if ((dwFlags & ~(ULONG)STRSAFE_VALID_FLAGS) || cchDest > NTSTRSAFE_MAX_CCH ||
        (cchToAppend > NTSTRSAFE_MAX_CCH && cchToAppend != (size_t)-1))
        return STATUS_INVALID_PARAMETER;
    if (dwFlags & STRSAFE_IGNORE_NULLS) {
        if (pszSrc == NULL)
            pszSrc = Empty;
        if (pszDest == NULL && cchDest == 0 && *pszSrc == 0)
            return NtmmStrFinishA(STATUS_SUCCESS, NULL, 0, 0, ppszDestEnd, pcchRemaining, 0, 0);
    }
    if (cchDest == 0 || pszDest == NULL || pszSrc == NULL || !NT_SUCCESS(NtmmStrLengthA(pszDest, cchDest, &Start)))
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = NtmmStrCopyA(pszDest + Start, cchDest - Start, &Length, pszSrc, cchToAppend);
    return NtmmStrFinishA(Status, pszDest, cchDest, Start + Length, ppszDestEnd, pcchRemaining, dwFlags, Start);
}
NTMM_STRSAFE NTSTATUS RtlStringCchVPrintfExA(CHAR *pszDest, size_t cchDest, CHAR **ppszDestEnd, size_t *pcchRemaining,
                                             ULONG dwFlags, const CHAR *pszFormat, va_list argList)
{
    static const CHAR Empty[1] = {0};
    if ((dwFlags & ~(ULONG)STRSAFE_VALID_FLAGS) || cchDest > NTSTRSAFE_MAX_CCH)
        return STATUS_INVALID_PARAMETER;
    if (dwFlags & STRSAFE_IGNORE_NULLS) {
        if (pszFormat == NULL)
            pszFormat = Empty;
        if (pszDest == NULL && cchDest == 0 && *pszFormat == 0)
            return NtmmStrFinishA(STATUS_SUCCESS, NULL, 0, 0, ppszDestEnd, pcchRemaining, 0, 0);
    }
    if (cchDest == 0 || pszDest == NULL || pszFormat == NULL)
        return STATUS_INVALID_PARAMETER;
    int Written = _vsnprintf(pszDest, cchDest - 1, pszFormat, argList);
    NTSTATUS Status = Written < 0 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
    size_t Length = Written < 0 ? cchDest - 1 : (size_t)Written;
    pszDest[Length] = 0;
    return NtmmStrFinishA(Status, pszDest, cchDest, Length, ppszDestEnd, pcchRemaining, dwFlags, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc)
{
    return RtlStringCchCopyNExA(pszDest, cchDest, pszSrc, (size_t)-1, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyNA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc, size_t cchToCopy)
{
    return RtlStringCchCopyNExA(pszDest, cchDest, pszSrc, cchToCopy, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyExA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc, CHAR **ppszDestEnd,
                                          size_t *pcchRemaining, ULONG dwFlags)
{
    return RtlStringCchCopyNExA(pszDest, cchDest, pszSrc, (size_t)-1, ppszDestEnd, pcchRemaining, dwFlags);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc)
{
    return RtlStringCchCatNExA(pszDest, cchDest, pszSrc, (size_t)-1, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatNA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc, size_t cchToAppend)
{
    return RtlStringCchCatNExA(pszDest, cchDest, pszSrc, cchToAppend, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatExA(CHAR *pszDest, size_t cchDest, const CHAR *pszSrc, CHAR **ppszDestEnd,
                                         size_t *pcchRemaining, ULONG dwFlags)
{
    return RtlStringCchCatNExA(pszDest, cchDest, pszSrc, (size_t)-1, ppszDestEnd, pcchRemaining, dwFlags);
}
NTMM_STRSAFE NTSTATUS RtlStringCchVPrintfA(CHAR *pszDest, size_t cchDest, const CHAR *pszFormat, va_list argList)
{
    return RtlStringCchVPrintfExA(pszDest, cchDest, NULL, NULL, 0, pszFormat, argList);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCopyA(CHAR *pszDest, size_t cbDest, const CHAR *pszSrc)
{
    return RtlStringCchCopyA(pszDest, cbDest / sizeof(CHAR), pszSrc);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCopyNA(CHAR *pszDest, size_t cbDest, const CHAR *pszSrc, size_t cbToCopy)
{
    return RtlStringCchCopyNA(pszDest, cbDest / sizeof(CHAR), pszSrc, cbToCopy / sizeof(CHAR));
}
NTMM_STRSAFE NTSTATUS RtlStringCbCatA(CHAR *pszDest, size_t cbDest, const CHAR *pszSrc)
{
    return RtlStringCchCatA(pszDest, cbDest / sizeof(CHAR), pszSrc);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCatNA(CHAR *pszDest, size_t cbDest, const CHAR *pszSrc, size_t cbToAppend)
{
    return RtlStringCchCatNA(pszDest, cbDest / sizeof(CHAR), pszSrc, cbToAppend / sizeof(CHAR));
}
/* The rest of a buffer in bytes: an odd byte at its end stays counted. */
NTMM_STRSAFE NTSTATUS NtmmStrBytesA(NTSTATUS Status, size_t cbDest, size_t Remaining, size_t *pcbRemaining)
{
    if (pcbRemaining != NULL && (NT_SUCCESS(Status) || Status == STATUS_BUFFER_OVERFLOW))
        *pcbRemaining = Remaining * sizeof(CHAR) + cbDest % sizeof(CHAR);
    return Status;
}
NTMM_STRSAFE NTSTATUS RtlStringCbCopyExA(CHAR *pszDest, size_t cbDest, const CHAR *pszSrc, CHAR **ppszDestEnd,
                                         size_t *pcbRemaining, ULONG dwFlags)
{
    size_t Remaining = 0;
    NTSTATUS Status = RtlStringCchCopyExA(pszDest, cbDest / sizeof(CHAR), pszSrc, ppszDestEnd, &Remaining, dwFlags);
    return NtmmStrBytesA(Status, cbDest, Remaining, pcbRemaining);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCatExA(CHAR *pszDest, size_t cbDest, const CHAR *pszSrc, CHAR **ppszDestEnd,
                                        size_t *pcbRemaining, ULONG dwFlags)
{
    size_t Remaining = 0;
    NTSTATUS Status = RtlStringCchCatExA(pszDest, cbDest / sizeof(CHAR), pszSrc, ppszDestEnd, &Remaining, dwFlags);
    return NtmmStrBytesA(Status, cbDest, Remaining, pcbRemaining);
}
NTMM_STRSAFE NTSTATUS RtlStringCbVPrintfA(CHAR *pszDest, size_t cbDest, const CHAR *pszFormat, va_list argList)
{
    return RtlStringCchVPrintfA(pszDest, cbDest / sizeof(CHAR), pszFormat, argList);
}
__attribute__((unused)) static NTSTATUS RtlStringCchPrintfA(CHAR *pszDest, size_t cchDest, const CHAR *pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlStringCchVPrintfA(pszDest, cchDest, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}
__attribute__((unused)) static NTSTATUS RtlStringCbPrintfA(CHAR *pszDest, size_t cbDest, const CHAR *pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlStringCbVPrintfA(pszDest, cbDest, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}
__attribute__((unused)) static NTSTATUS RtlStringCchPrintfExA(CHAR *pszDest, size_t cchDest, CHAR **ppszDestEnd,
                                                              size_t *pcchRemaining, ULONG dwFlags, const CHAR *pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlStringCchVPrintfExA(pszDest, cchDest, ppszDestEnd, pcchRemaining, dwFlags, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}
__attribute__((unused)) static NTSTATUS RtlStringCbPrintfExA(CHAR *pszDest, size_t cbDest, CHAR **ppszDestEnd,
                                                             size_t *pcbRemaining, ULONG dwFlags, const CHAR *pszFormat, ...)
{
    va_list Arguments;
    size_t Remaining = 0;
    va_start(Arguments, pszFormat);
    NTSTATUS Status =
        RtlStringCchVPrintfExA(pszDest, cbDest / sizeof(CHAR), ppszDestEnd, &Remaining, dwFlags, pszFormat, Arguments);
    va_end(Arguments);
    return NtmmStrBytesA(Status, cbDest, Remaining, pcbRemaining);
}

/* ---- WCHAR ---- */
/* Copies up to Limit characters of Source to *At; returns the status and where it stopped. Room is never 0
 * and keeps one for the terminator. */
NTMM_STRSAFE NTSTATUS NtmmStrCopyW(WCHAR *Destination, size_t Room, size_t *Length, const WCHAR *Source, size_t Limit)
{
    size_t i = 0;
    for (; i < Limit && Source[i] != 0; i++) {
        if (i + 1 == Room) {
            Destination[i] = 0;
            *Length = i;
            return STATUS_BUFFER_OVERFLOW;
        }
        Destination[i] = Source[i];
    }
    Destination[i] = 0;
    *Length = i;
    return STATUS_SUCCESS;
}
NTMM_STRSAFE NTSTATUS NtmmStrLengthW(const WCHAR *Text, size_t Limit, size_t *Length)
{
    size_t i = 0;
    while (i < Limit && Text[i] != 0)
        i++;
    if (Length != NULL)
        *Length = i < Limit ? i : 0;
    return i < Limit ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
/* What all Ex forms do with their flags once the text stands (Length characters of Size) or has failed. */
NTMM_STRSAFE NTSTATUS NtmmStrFinishW(NTSTATUS Status, WCHAR *Destination, size_t Size, size_t Length, WCHAR **End,
                                     size_t *Remaining, ULONG Flags, size_t Original)
{
    if (NT_SUCCESS(Status)) {
        if ((Flags & STRSAFE_FILL_BEHIND_NULL) && Length + 1 < Size)
            memset(Destination + Length + 1, (int)(Flags & 0xFF), (Size - Length - 1) * sizeof(WCHAR));
    } else if (Size != 0 && Destination != NULL) {
        if (Flags & STRSAFE_NO_TRUNCATION) {
            Length = Original;
            Destination[Length] = 0;
        }
        if (Flags & STRSAFE_FILL_ON_FAILURE) {
            memset(Destination, (int)(Flags & 0xFF), Size * sizeof(WCHAR));
            Length = (Flags & 0xFF) == 0 ? 0 : Size - 1;
            Destination[Length] = 0;
        }
        if (Flags & STRSAFE_NULL_ON_FAILURE) {
            Length = 0;
            Destination[0] = 0;
        }
    }
    if (NT_SUCCESS(Status) || Status == STATUS_BUFFER_OVERFLOW) {
        if (End != NULL)
            *End = Destination + Length;
        if (Remaining != NULL)
            *Remaining = Size - Length;
    }
    return Status;
}
NTMM_STRSAFE NTSTATUS RtlStringCchLengthW(const WCHAR *psz, size_t cchMax, size_t *pcchLength)
{
    if (psz == NULL || cchMax > NTSTRSAFE_MAX_CCH) {
        if (pcchLength != NULL)
            *pcchLength = 0;
        return STATUS_INVALID_PARAMETER;
    }
    return NtmmStrLengthW(psz, cchMax, pcchLength);
}
NTMM_STRSAFE NTSTATUS RtlStringCbLengthW(const WCHAR *psz, size_t cbMax, size_t *pcbLength)
{
    NTSTATUS Status = RtlStringCchLengthW(psz, cbMax / sizeof(WCHAR), pcbLength);
    if (pcbLength != NULL)
        *pcbLength *= sizeof(WCHAR);
    return Status;
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyNExW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc, size_t cchToCopy,
                                           WCHAR **ppszDestEnd, size_t *pcchRemaining, ULONG dwFlags)
{
    static const WCHAR Empty[1] = {0};
    size_t Length = 0;
    if ((dwFlags & ~(ULONG)STRSAFE_VALID_FLAGS) || cchDest > NTSTRSAFE_MAX_CCH)
        return STATUS_INVALID_PARAMETER;
    if (dwFlags & STRSAFE_IGNORE_NULLS) {
        if (pszSrc == NULL)
            pszSrc = Empty;
        if (pszDest == NULL && cchDest == 0 && *pszSrc == 0)
            return NtmmStrFinishW(STATUS_SUCCESS, NULL, 0, 0, ppszDestEnd, pcchRemaining, 0, 0);
    }
    if (cchDest == 0 || pszDest == NULL || pszSrc == NULL)
        return STATUS_INVALID_PARAMETER;
    if (cchToCopy > NTSTRSAFE_MAX_CCH && cchToCopy != (size_t)-1) {
        *pszDest = 0;
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = NtmmStrCopyW(pszDest, cchDest, &Length, pszSrc, cchToCopy);
    return NtmmStrFinishW(Status, pszDest, cchDest, Length, ppszDestEnd, pcchRemaining, dwFlags, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatNExW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc, size_t cchToAppend,
                                          WCHAR **ppszDestEnd, size_t *pcchRemaining, ULONG dwFlags)
{
    static const WCHAR Empty[1] = {0};
    size_t Start = 0, Length = 0;
    if ((dwFlags & ~(ULONG)STRSAFE_VALID_FLAGS) || cchDest > NTSTRSAFE_MAX_CCH ||
        (cchToAppend > NTSTRSAFE_MAX_CCH && cchToAppend != (size_t)-1))
        return STATUS_INVALID_PARAMETER;
    if (dwFlags & STRSAFE_IGNORE_NULLS) {
        if (pszSrc == NULL)
            pszSrc = Empty;
        if (pszDest == NULL && cchDest == 0 && *pszSrc == 0)
            return NtmmStrFinishW(STATUS_SUCCESS, NULL, 0, 0, ppszDestEnd, pcchRemaining, 0, 0);
    }
    if (cchDest == 0 || pszDest == NULL || pszSrc == NULL || !NT_SUCCESS(NtmmStrLengthW(pszDest, cchDest, &Start)))
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = NtmmStrCopyW(pszDest + Start, cchDest - Start, &Length, pszSrc, cchToAppend);
    return NtmmStrFinishW(Status, pszDest, cchDest, Start + Length, ppszDestEnd, pcchRemaining, dwFlags, Start);
}
NTMM_STRSAFE NTSTATUS RtlStringCchVPrintfExW(WCHAR *pszDest, size_t cchDest, WCHAR **ppszDestEnd, size_t *pcchRemaining,
                                             ULONG dwFlags, const WCHAR *pszFormat, va_list argList)
{
    static const WCHAR Empty[1] = {0};
    if ((dwFlags & ~(ULONG)STRSAFE_VALID_FLAGS) || cchDest > NTSTRSAFE_MAX_CCH)
        return STATUS_INVALID_PARAMETER;
    if (dwFlags & STRSAFE_IGNORE_NULLS) {
        if (pszFormat == NULL)
            pszFormat = Empty;
        if (pszDest == NULL && cchDest == 0 && *pszFormat == 0)
            return NtmmStrFinishW(STATUS_SUCCESS, NULL, 0, 0, ppszDestEnd, pcchRemaining, 0, 0);
    }
    if (cchDest == 0 || pszDest == NULL || pszFormat == NULL)
        return STATUS_INVALID_PARAMETER;
    int Written = _vsnwprintf(pszDest, cchDest - 1, pszFormat, argList);
    NTSTATUS Status = Written < 0 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
    size_t Length = Written < 0 ? cchDest - 1 : (size_t)Written;
    pszDest[Length] = 0;
    return NtmmStrFinishW(Status, pszDest, cchDest, Length, ppszDestEnd, pcchRemaining, dwFlags, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc)
{
    return RtlStringCchCopyNExW(pszDest, cchDest, pszSrc, (size_t)-1, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyNW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc, size_t cchToCopy)
{
    return RtlStringCchCopyNExW(pszDest, cchDest, pszSrc, cchToCopy, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCopyExW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc, WCHAR **ppszDestEnd,
                                          size_t *pcchRemaining, ULONG dwFlags)
{
    return RtlStringCchCopyNExW(pszDest, cchDest, pszSrc, (size_t)-1, ppszDestEnd, pcchRemaining, dwFlags);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc)
{
    return RtlStringCchCatNExW(pszDest, cchDest, pszSrc, (size_t)-1, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatNW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc, size_t cchToAppend)
{
    return RtlStringCchCatNExW(pszDest, cchDest, pszSrc, cchToAppend, NULL, NULL, 0);
}
NTMM_STRSAFE NTSTATUS RtlStringCchCatExW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszSrc, WCHAR **ppszDestEnd,
                                         size_t *pcchRemaining, ULONG dwFlags)
{
    return RtlStringCchCatNExW(pszDest, cchDest, pszSrc, (size_t)-1, ppszDestEnd, pcchRemaining, dwFlags);
}
NTMM_STRSAFE NTSTATUS RtlStringCchVPrintfW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszFormat, va_list argList)
{
    return RtlStringCchVPrintfExW(pszDest, cchDest, NULL, NULL, 0, pszFormat, argList);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCopyW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszSrc)
{
    return RtlStringCchCopyW(pszDest, cbDest / sizeof(WCHAR), pszSrc);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCopyNW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszSrc, size_t cbToCopy)
{
    return RtlStringCchCopyNW(pszDest, cbDest / sizeof(WCHAR), pszSrc, cbToCopy / sizeof(WCHAR));
}
NTMM_STRSAFE NTSTATUS RtlStringCbCatW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszSrc)
{
    return RtlStringCchCatW(pszDest, cbDest / sizeof(WCHAR), pszSrc);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCatNW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszSrc, size_t cbToAppend)
{
    return RtlStringCchCatNW(pszDest, cbDest / sizeof(WCHAR), pszSrc, cbToAppend / sizeof(WCHAR));
}
/* The rest of a buffer in bytes: an odd byte at its end stays counted. */
NTMM_STRSAFE NTSTATUS NtmmStrBytesW(NTSTATUS Status, size_t cbDest, size_t Remaining, size_t *pcbRemaining)
{
    if (pcbRemaining != NULL && (NT_SUCCESS(Status) || Status == STATUS_BUFFER_OVERFLOW))
        *pcbRemaining = Remaining * sizeof(WCHAR) + cbDest % sizeof(WCHAR);
    return Status;
}
NTMM_STRSAFE NTSTATUS RtlStringCbCopyExW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszSrc, WCHAR **ppszDestEnd,
                                         size_t *pcbRemaining, ULONG dwFlags)
{
    size_t Remaining = 0;
    NTSTATUS Status = RtlStringCchCopyExW(pszDest, cbDest / sizeof(WCHAR), pszSrc, ppszDestEnd, &Remaining, dwFlags);
    return NtmmStrBytesW(Status, cbDest, Remaining, pcbRemaining);
}
NTMM_STRSAFE NTSTATUS RtlStringCbCatExW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszSrc, WCHAR **ppszDestEnd,
                                        size_t *pcbRemaining, ULONG dwFlags)
{
    size_t Remaining = 0;
    NTSTATUS Status = RtlStringCchCatExW(pszDest, cbDest / sizeof(WCHAR), pszSrc, ppszDestEnd, &Remaining, dwFlags);
    return NtmmStrBytesW(Status, cbDest, Remaining, pcbRemaining);
}
NTMM_STRSAFE NTSTATUS RtlStringCbVPrintfW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszFormat, va_list argList)
{
    return RtlStringCchVPrintfW(pszDest, cbDest / sizeof(WCHAR), pszFormat, argList);
}
__attribute__((unused)) static NTSTATUS RtlStringCchPrintfW(WCHAR *pszDest, size_t cchDest, const WCHAR *pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlStringCchVPrintfW(pszDest, cchDest, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}
__attribute__((unused)) static NTSTATUS RtlStringCbPrintfW(WCHAR *pszDest, size_t cbDest, const WCHAR *pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlStringCbVPrintfW(pszDest, cbDest, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}
__attribute__((unused)) static NTSTATUS RtlStringCchPrintfExW(WCHAR *pszDest, size_t cchDest, WCHAR **ppszDestEnd,
                                                              size_t *pcchRemaining, ULONG dwFlags, const WCHAR *pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlStringCchVPrintfExW(pszDest, cchDest, ppszDestEnd, pcchRemaining, dwFlags, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}
__attribute__((unused)) static NTSTATUS RtlStringCbPrintfExW(WCHAR *pszDest, size_t cbDest, WCHAR **ppszDestEnd,
                                                             size_t *pcbRemaining, ULONG dwFlags, const WCHAR *pszFormat, ...)
{
    va_list Arguments;
    size_t Remaining = 0;
    va_start(Arguments, pszFormat);
    NTSTATUS Status =
        RtlStringCchVPrintfExW(pszDest, cbDest / sizeof(WCHAR), ppszDestEnd, &Remaining, dwFlags, pszFormat, Arguments);
    va_end(Arguments);
    return NtmmStrBytesW(Status, cbDest, Remaining, pcbRemaining);
}

/* ---- UNICODE_STRING ---- */
NTMM_STRSAFE NTSTATUS RtlUnicodeStringValidate(PCUNICODE_STRING SourceString)
{
    if (SourceString == NULL || SourceString->Length % sizeof(WCHAR) != 0 || SourceString->MaximumLength % sizeof(WCHAR) != 0 ||
        SourceString->Length > SourceString->MaximumLength ||
        (SourceString->Buffer == NULL && SourceString->MaximumLength != 0))
        return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringInit(PUNICODE_STRING DestinationString, PCWSTR pszSrc)
{
    size_t Length = 0;
    if (pszSrc != NULL && !NT_SUCCESS(NtmmStrLengthW(pszSrc, NTSTRSAFE_UNICODE_STRING_MAX_CCH, &Length)))
        return STATUS_INVALID_PARAMETER;
    DestinationString->Buffer = (PWCH)pszSrc;
    DestinationString->Length = (USHORT)(Length * sizeof(WCHAR));
    DestinationString->MaximumLength = (USHORT)(pszSrc != NULL ? (Length + 1) * sizeof(WCHAR) : 0);
    return STATUS_SUCCESS;
}
NTMM_STRSAFE NTSTATUS NtmmUnicodePut(PUNICODE_STRING Destination, size_t At, PCWCH Source, size_t Limit, BOOLEAN Terminated)
{
    size_t Room, i = 0;
    if (!NT_SUCCESS(RtlUnicodeStringValidate(Destination)) || (Source == NULL && Limit != 0) ||
        (Limit != (size_t)-1 && Limit > NTSTRSAFE_UNICODE_STRING_MAX_CCH))
        return STATUS_INVALID_PARAMETER;
    Room = Destination->MaximumLength / sizeof(WCHAR);
    for (; i < Limit && !(Terminated && Source[i] == 0); i++) {
        if (At + i == Room) {
            Destination->Length = (USHORT)((At + i) * sizeof(WCHAR));
            return STATUS_BUFFER_OVERFLOW;
        }
        Destination->Buffer[At + i] = Source[i];
    }
    Destination->Length = (USHORT)((At + i) * sizeof(WCHAR));
    return STATUS_SUCCESS;
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCopyString(PUNICODE_STRING DestinationString, PCWSTR pszSrc)
{
    return pszSrc == NULL ? STATUS_INVALID_PARAMETER : NtmmUnicodePut(DestinationString, 0, pszSrc, (size_t)-1, TRUE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCopy(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString)
{
    if (!NT_SUCCESS(RtlUnicodeStringValidate(SourceString)))
        return STATUS_INVALID_PARAMETER;
    return NtmmUnicodePut(DestinationString, 0, SourceString->Buffer, SourceString->Length / sizeof(WCHAR), FALSE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCchCopyStringN(PUNICODE_STRING DestinationString, PCWSTR pszSrc, size_t cchToCopy)
{
    return NtmmUnicodePut(DestinationString, 0, pszSrc, cchToCopy, TRUE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCbCopyStringN(PUNICODE_STRING DestinationString, PCWSTR pszSrc, size_t cbToCopy)
{
    return RtlUnicodeStringCchCopyStringN(DestinationString, pszSrc, cbToCopy / sizeof(WCHAR));
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCchCopyN(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString,
                                               size_t cchToCopy)
{
    if (!NT_SUCCESS(RtlUnicodeStringValidate(SourceString)))
        return STATUS_INVALID_PARAMETER;
    size_t Length = SourceString->Length / sizeof(WCHAR);
    return NtmmUnicodePut(DestinationString, 0, SourceString->Buffer, cchToCopy < Length ? cchToCopy : Length, FALSE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCbCopyN(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString, size_t cbToCopy)
{
    return RtlUnicodeStringCchCopyN(DestinationString, SourceString, cbToCopy / sizeof(WCHAR));
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCatString(PUNICODE_STRING DestinationString, PCWSTR pszSrc)
{
    if (pszSrc == NULL || DestinationString == NULL)
        return STATUS_INVALID_PARAMETER;
    return NtmmUnicodePut(DestinationString, DestinationString->Length / sizeof(WCHAR), pszSrc, (size_t)-1, TRUE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCat(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString)
{
    if (DestinationString == NULL || !NT_SUCCESS(RtlUnicodeStringValidate(SourceString)))
        return STATUS_INVALID_PARAMETER;
    return NtmmUnicodePut(DestinationString, DestinationString->Length / sizeof(WCHAR), SourceString->Buffer,
                          SourceString->Length / sizeof(WCHAR), FALSE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCchCatStringN(PUNICODE_STRING DestinationString, PCWSTR pszSrc, size_t cchToAppend)
{
    if (DestinationString == NULL)
        return STATUS_INVALID_PARAMETER;
    return NtmmUnicodePut(DestinationString, DestinationString->Length / sizeof(WCHAR), pszSrc, cchToAppend, TRUE);
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringCbCatStringN(PUNICODE_STRING DestinationString, PCWSTR pszSrc, size_t cbToAppend)
{
    return RtlUnicodeStringCchCatStringN(DestinationString, pszSrc, cbToAppend / sizeof(WCHAR));
}
NTMM_STRSAFE NTSTATUS RtlUnicodeStringVPrintf(PUNICODE_STRING DestinationString, PCWSTR pszFormat, va_list argList)
{
    if (!NT_SUCCESS(RtlUnicodeStringValidate(DestinationString)) || pszFormat == NULL || DestinationString->Buffer == NULL)
        return STATUS_INVALID_PARAMETER;
    size_t Room = DestinationString->MaximumLength / sizeof(WCHAR);
    int Written = _vsnwprintf(DestinationString->Buffer, Room, pszFormat, argList);
    DestinationString->Length = (USHORT)((Written < 0 ? Room : (size_t)Written) * sizeof(WCHAR));
    return Written < 0 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}
__attribute__((unused)) static NTSTATUS RtlUnicodeStringPrintf(PUNICODE_STRING DestinationString, PCWSTR pszFormat, ...)
{
    va_list Arguments;
    va_start(Arguments, pszFormat);
    NTSTATUS Status = RtlUnicodeStringVPrintf(DestinationString, pszFormat, Arguments);
    va_end(Arguments);
    return Status;
}

#ifdef __cplusplus
}
#endif
#endif
