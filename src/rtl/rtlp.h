/*
 * rtlp.h - the run-time library's private face, and what the layers above set or call.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include <ntifs.h>
#include "hal/hal.h"

/* ---- memory for the routines that allocate a string: set by the executive when the system starts ----
 * Such a routine may be a program's first kernel call, so a missing hook starts the system, as any kernel
 * routine does. */
extern struct _KTHREAD *KiAttachCurrentThread(VOID);
extern PVOID (*RtlpAllocateStringRoutine)(SIZE_T NumberOfBytes);
extern VOID (*RtlpFreeStringRoutine)(PVOID Buffer);
static inline PVOID RtlpAllocateString(SIZE_T NumberOfBytes)
{
    if (RtlpAllocateStringRoutine == NULL)
        KiAttachCurrentThread();
    return RtlpAllocateStringRoutine != NULL ? RtlpAllocateStringRoutine(NumberOfBytes) : NULL;
}
static inline VOID RtlpFreeString(PVOID Buffer)
{
    if (Buffer != NULL && RtlpFreeStringRoutine != NULL)
        RtlpFreeStringRoutine(Buffer);
}

/* ---- calls into code that drivers supply: as KI_CALLOUT of ki.h, which stands above this layer ---- */
extern ULONG_PTR KiBorderStart, KiBorderEnd;
static inline BOOLEAN RtlpIsForeignCode(const volatile VOID *Code)
{
    ULONG_PTR Start = __atomic_load_n(&KiBorderStart, __ATOMIC_RELAXED);
    return (BOOLEAN)(HalIsSystemAddress((ULONG_PTR)Code) ||
                     (ULONG_PTR)Code - Start < __atomic_load_n(&KiBorderEnd, __ATOMIC_RELAXED) - Start);
}
#define RTLP_CALLOUT(Ret, Fn, Types, Args)                                                                                     \
    (RtlpIsForeignCode((const volatile VOID *)(ULONG_PTR)(Fn)) ? ((Ret(__attribute__((ms_abi)) *) Types)(ULONG_PTR)(Fn))Args   \
                                                               : ((Ret(*) Types)(ULONG_PTR)(Fn))Args)

/* ---- validators: NULL, or the invariant that does not hold, by its number in the file's opening. No locks;
 * the caller serialises ---- */
const CHAR *RtlpValidateAvlTable(PRTL_AVL_TABLE Table);
const CHAR *RtlpValidateGenericTable(PRTL_GENERIC_TABLE Table);

/* ---- the formatter (format.c) ---- */
/* Where a format's arguments come from: a native va_list, or the eight-byte slots of a Microsoft one (which
 * is a plain pointer). */
typedef struct _RTLP_ARGUMENTS {
    va_list Native;
    const ULONG64 *Slots; /* NULL: Native */
} RTLP_ARGUMENTS, *PRTLP_ARGUMENTS;
typedef enum _RTLP_TEXT {
    RtlpTextAnsi, /* CHAR in code page 1252 */
    RtlpTextUtf8, /* CHAR in UTF-8: for the console */
    RtlpTextWide  /* WCHAR */
} RTLP_TEXT;
/* Formats into Buffer, of Size characters, and terminates it if Size is not 0 (what does not fit is cut).
 * Returns the length of the whole text without terminator. Format is of WCHAR if Kind is RtlpTextWide, else
 * of CHAR. Any IRQL for resident memory. */
#define RTLP_UNTERMINATED                                                                                                      \
    ((SIZE_T)1 << 63) /* or-ed to Size: the text may fill the buffer; a terminator only if there is room */
SIZE_T RtlpFormatText(RTLP_TEXT Kind, PVOID Buffer, SIZE_T Size, const VOID *Format, PRTLP_ARGUMENTS Arguments);
/* The same for CHAR text that goes to the console. */
SIZE_T RtlpFormat(CHAR *Buffer, SIZE_T Size, const CHAR *Format, va_list Arguments);
SIZE_T RtlpFormatSlots(CHAR *Buffer, SIZE_T Size, const CHAR *Format, const ULONG64 *Slots);

/* ---- characters (unicode.c) ---- */
UCHAR RtlpUnicodeToAnsi(WCHAR Character); /* '?' if code page 1252 lacks it */
UCHAR RtlpUnicodeToOem(WCHAR Character);
extern const WCHAR RtlpAnsiTable[256], RtlpOemTable[256];
static inline WCHAR RtlpUpcase(WCHAR Character)
{
    if (Character < 0x80)
        return (WCHAR)((ULONG)(Character - 'a') < 26u ? Character - 32 : Character);
    return RtlUpcaseUnicodeChar(Character);
}
/* Decodes one code point of a UTF-16 or UTF-8 run and advances; an ill-formed unit gives 0xFFFD and sets
 * *Bad. */
ULONG RtlpNextUtf16(PCWCH *Text, PCWCH End, BOOLEAN *Bad);
ULONG RtlpNextUtf8(const UCHAR **Text, const UCHAR *End, BOOLEAN *Bad);
ULONG RtlpPutUtf8(ULONG CodePoint, UCHAR Out[4]); /* how many bytes */
SIZE_T RtlpWideLength(PCWSTR Text);
SIZE_T RtlpNarrowLength(PCSTR Text);

/* ---- C run-time names for binary drivers (crt.c): those of crt.h are declared there; these are the ones
 * that a source driver takes from the host ---- */
size_t RtlpCrt_strlen(const char *String);
size_t RtlpCrt_strnlen(const char *String, size_t Count);
int RtlpCrt_strcmp(const char *String1, const char *String2);
int RtlpCrt_strncmp(const char *String1, const char *String2, size_t Count);
char *RtlpCrt_strcpy(char *Destination, const char *Source);
char *RtlpCrt_strncpy(char *Destination, const char *Source, size_t Count);
char *RtlpCrt_strcat(char *Destination, const char *Source);
char *RtlpCrt_strncat(char *Destination, const char *Source, size_t Count);
char *RtlpCrt_strchr(const char *String, int Character);
char *RtlpCrt_strrchr(const char *String, int Character);
char *RtlpCrt_strstr(const char *String, const char *Pattern);
size_t RtlpCrt_strspn(const char *String, const char *Set);
size_t RtlpCrt_strcspn(const char *String, const char *Set);
char *RtlpCrt_strpbrk(const char *String, const char *Set);
void *RtlpCrt_memchr(const void *Buffer, int Value, size_t Count);
int RtlpCrt_toupper(int Character);
int RtlpCrt_tolower(int Character);
int RtlpCrt_isdigit(int Character);
int RtlpCrt_isxdigit(int Character);
int RtlpCrt_isalpha(int Character);
int RtlpCrt_isalnum(int Character);
int RtlpCrt_isupper(int Character);
int RtlpCrt_islower(int Character);
int RtlpCrt_isspace(int Character);
int RtlpCrt_isprint(int Character);
USHORT RtlpCrt_towupper(USHORT Character);
USHORT RtlpCrt_towlower(USHORT Character);
int RtlpCrt_atoi(const char *String);
LONG RtlpCrt_atol(const char *String);
/* Digits of Value, most significant first, into Out[64]; returns how many. */
ULONG RtlpDigits(ULONG64 Value, ULONG Base, CHAR *Out);
LONG RtlpCrt_strtol(const char *String, char **End, int Base);
ULONG RtlpCrt_strtoul(const char *String, char **End, int Base);
int RtlpCrt_rand(void);
void RtlpCrt_srand(unsigned Seed);
int RtlpCrt_sprintf(char *Buffer, const char *Format, ...);
int RtlpCrt_vsprintf(char *Buffer, const char *Format, va_list Arguments);
VOID RtlpCrt_qsort(void *Base, size_t Count, size_t Width, int (*Compare)(const void *, const void *));
void *RtlpCrt_bsearch(const void *Key, const void *Base, size_t Count, size_t Width,
                      int (*Compare)(const void *, const void *));
/* The printf family as a binary driver calls it: Slots is a Microsoft va_list. Capacity in characters; the
 * result as of _vsnprintf. */
int RtlpCrtFormatSlots(RTLP_TEXT Kind, PVOID Buffer, size_t Count, const VOID *Format, const ULONG64 *Slots);
