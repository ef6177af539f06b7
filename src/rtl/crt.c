/*
 * crt.c - the C run-time names that ntoskrnl exports, as RtlpCrt_<name>.
 *
 * Binary drivers import them by their C names; the loader's border binds those to these. Source drivers get
 * the wide and Microsoft-only ones through wdm/crt.h, and strlen and its like from the host's C library,
 * which must not be replaced: hence the prefix.
 *
 * Behaviour that differs from the host's: wide characters have 16 bits; case is that of the kernel's C locale
 * (ASCII letters only); _snprintf and _snwprintf leave the text unterminated when it fits exactly and return
 * -1 when it does not fit; the _s routines empty the destination and return EINVAL or ERANGE where user mode
 * would call the invalid-parameter handler. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

#define EINVAL    22
#define ERANGE    34
#define STRUNCATE 80

/* ---- characters: ASCII ---- */
int RtlpCrt_isdigit(int Character)
{
    return (unsigned)Character - '0' < 10;
}
int RtlpCrt_isupper(int Character)
{
    return (unsigned)Character - 'A' < 26;
}
int RtlpCrt_islower(int Character)
{
    return (unsigned)Character - 'a' < 26;
}
int RtlpCrt_isalpha(int Character)
{
    return RtlpCrt_isupper(Character) || RtlpCrt_islower(Character);
}
int RtlpCrt_isalnum(int Character)
{
    return RtlpCrt_isalpha(Character) || RtlpCrt_isdigit(Character);
}
int RtlpCrt_isxdigit(int Character)
{
    return RtlpCrt_isdigit(Character) || ((unsigned)Character | 0x20) - 'a' < 6;
}
int RtlpCrt_isspace(int Character)
{
    return Character == ' ' || (unsigned)Character - '\t' < 5;
}
int RtlpCrt_isprint(int Character)
{
    return (unsigned)Character - 0x20 < 0x5F;
}
int RtlpCrt_toupper(int Character)
{
    return RtlpCrt_islower(Character) ? Character - 32 : Character;
}
int RtlpCrt_tolower(int Character)
{
    return RtlpCrt_isupper(Character) ? Character + 32 : Character;
}
USHORT RtlpCrt_towupper(USHORT Character)
{
    return RtlUpcaseUnicodeChar(Character);
}
USHORT RtlpCrt_towlower(USHORT Character)
{
    return RtlDowncaseUnicodeChar(Character);
}

/* ---- the same routine for both widths ----
 * Char: element type. U: its unsigned type. Then the routines' names. */
#define RTLP_STRING_ROUTINES(Char, U, len, nlen, cmp, ncmp, cpy, ncpy, cat, ncat, str, spn, cspn, pbrk)                        \
    size_t len(const Char *String)                                                                                             \
    {                                                                                                                          \
        size_t Length = 0;                                                                                                     \
        while (String[Length] != 0)                                                                                            \
            Length++;                                                                                                          \
        return Length;                                                                                                         \
    }                                                                                                                          \
    size_t nlen(const Char *String, size_t Count)                                                                              \
    {                                                                                                                          \
        size_t Length = 0;                                                                                                     \
        while (Length < Count && String[Length] != 0)                                                                          \
            Length++;                                                                                                          \
        return Length;                                                                                                         \
    }                                                                                                                          \
    int ncmp(const Char *String1, const Char *String2, size_t Count)                                                           \
    {                                                                                                                          \
        for (; Count != 0; Count--, String1++, String2++) {                                                                    \
            if (*String1 != *String2)                                                                                          \
                return (U)*String1 < (U)*String2 ? -1 : 1;                                                                     \
            if (*String1 == 0)                                                                                                 \
                break;                                                                                                         \
        }                                                                                                                      \
        return 0;                                                                                                              \
    }                                                                                                                          \
    int cmp(const Char *String1, const Char *String2)                                                                          \
    {                                                                                                                          \
        return ncmp(String1, String2, MAXSIZE_T);                                                                              \
    }                                                                                                                          \
    Char *cpy(Char *Destination, const Char *Source)                                                                           \
    {                                                                                                                          \
        Char *To = Destination;                                                                                                \
        while ((*To++ = *Source++) != 0) {                                                                                     \
        }                                                                                                                      \
        return Destination;                                                                                                    \
    }                                                                                                                          \
    Char *ncpy(Char *Destination, const Char *Source, size_t Count)                                                            \
    {                                                                                                                          \
        size_t i = 0;                                                                                                          \
        for (; i < Count && Source[i] != 0; i++)                                                                               \
            Destination[i] = Source[i];                                                                                        \
        for (; i < Count; i++)                                                                                                 \
            Destination[i] = 0;                                                                                                \
        return Destination;                                                                                                    \
    }                                                                                                                          \
    Char *cat(Char *Destination, const Char *Source)                                                                           \
    {                                                                                                                          \
        cpy(Destination + len(Destination), Source);                                                                           \
        return Destination;                                                                                                    \
    }                                                                                                                          \
    Char *ncat(Char *Destination, const Char *Source, size_t Count)                                                            \
    {                                                                                                                          \
        Char *To = Destination + len(Destination);                                                                             \
        for (; Count != 0 && *Source != 0; Count--)                                                                            \
            *To++ = *Source++;                                                                                                 \
        *To = 0;                                                                                                               \
        return Destination;                                                                                                    \
    }                                                                                                                          \
    size_t spn(const Char *String, const Char *Set)                                                                            \
    {                                                                                                                          \
        size_t Length = 0;                                                                                                     \
        for (; String[Length] != 0; Length++) {                                                                                \
            const Char *Member = Set;                                                                                          \
            while (*Member != 0 && *Member != String[Length])                                                                  \
                Member++;                                                                                                      \
            if (*Member == 0)                                                                                                  \
                break;                                                                                                         \
        }                                                                                                                      \
        return Length;                                                                                                         \
    }                                                                                                                          \
    size_t cspn(const Char *String, const Char *Set)                                                                           \
    {                                                                                                                          \
        size_t Length = 0;                                                                                                     \
        for (; String[Length] != 0; Length++)                                                                                  \
            for (const Char *Member = Set; *Member != 0; Member++)                                                             \
                if (*Member == String[Length])                                                                                 \
                    return Length;                                                                                             \
        return Length;                                                                                                         \
    }                                                                                                                          \
    Char *pbrk(const Char *String, const Char *Set)                                                                            \
    {                                                                                                                          \
        String += cspn(String, Set);                                                                                           \
        return *String != 0 ? (Char *)(ULONG_PTR)String : NULL;                                                                \
    }                                                                                                                          \
    Char *str(const Char *String, const Char *Pattern)                                                                         \
    {                                                                                                                          \
        size_t Length = len(Pattern);                                                                                          \
        if (Length == 0)                                                                                                       \
            return (Char *)(ULONG_PTR)String;                                                                                  \
        for (; *String != 0; String++)                                                                                         \
            if (ncmp(String, Pattern, Length) == 0)                                                                            \
                return (Char *)(ULONG_PTR)String;                                                                              \
        return NULL;                                                                                                           \
    }

#define RTLP_FIND_ROUTINES(Char, Arg, chr, rchr)                                                                               \
    Char *chr(const Char *String, Arg Character)                                                                               \
    {                                                                                                                          \
        for (;; String++) {                                                                                                    \
            if (*String == (Char)Character)                                                                                    \
                return (Char *)(ULONG_PTR)String;                                                                              \
            if (*String == 0)                                                                                                  \
                return NULL;                                                                                                   \
        }                                                                                                                      \
    }                                                                                                                          \
    Char *rchr(const Char *String, Arg Character)                                                                              \
    {                                                                                                                          \
        const Char *Found = NULL;                                                                                              \
        for (;; String++) {                                                                                                    \
            if (*String == (Char)Character)                                                                                    \
                Found = String;                                                                                                \
            if (*String == 0)                                                                                                  \
                return (Char *)(ULONG_PTR)Found;                                                                               \
        }                                                                                                                      \
    }

RTLP_STRING_ROUTINES(char, unsigned char, RtlpCrt_strlen, RtlpCrt_strnlen, RtlpCrt_strcmp, RtlpCrt_strncmp, RtlpCrt_strcpy,
                     RtlpCrt_strncpy, RtlpCrt_strcat, RtlpCrt_strncat, RtlpCrt_strstr, RtlpCrt_strspn, RtlpCrt_strcspn,
                     RtlpCrt_strpbrk)
RTLP_FIND_ROUTINES(char, int, RtlpCrt_strchr, RtlpCrt_strrchr)
/* The header binds these names to RtlpCrt_<name>. */
RTLP_STRING_ROUTINES(WCHAR, WCHAR, wcslen, wcsnlen, wcscmp, wcsncmp, wcscpy, wcsncpy, wcscat, wcsncat, wcsstr, wcsspn, wcscspn,
                     wcspbrk)
RTLP_FIND_ROUTINES(WCHAR, WCHAR, wcschr, wcsrchr)

void *RtlpCrt_memchr(const void *Buffer, int Value, size_t Count)
{
    const UCHAR *Bytes = Buffer;
    for (; Count != 0; Count--, Bytes++)
        if (*Bytes == (UCHAR)Value)
            return (void *)(ULONG_PTR)Bytes;
    return NULL;
}

/* ---- without case ---- */
#define RTLP_CASE_ROUTINES(Char, U, icmp, nicmp, upr, lwr, rev, Upper, Lower, len)                                             \
    int nicmp(const Char *String1, const Char *String2, size_t Count)                                                          \
    {                                                                                                                          \
        for (; Count != 0; Count--, String1++, String2++) {                                                                    \
            int A = Lower((U)*String1), B = Lower((U)*String2);                                                                \
            if (A != B)                                                                                                        \
                return A < B ? -1 : 1;                                                                                         \
            if (A == 0)                                                                                                        \
                break;                                                                                                         \
        }                                                                                                                      \
        return 0;                                                                                                              \
    }                                                                                                                          \
    int icmp(const Char *String1, const Char *String2)                                                                         \
    {                                                                                                                          \
        return nicmp(String1, String2, MAXSIZE_T);                                                                             \
    }                                                                                                                          \
    Char *upr(Char *String)                                                                                                    \
    {                                                                                                                          \
        for (Char *At = String; *At != 0; At++)                                                                                \
            *At = (Char)Upper((U)*At);                                                                                         \
        return String;                                                                                                         \
    }                                                                                                                          \
    Char *lwr(Char *String)                                                                                                    \
    {                                                                                                                          \
        for (Char *At = String; *At != 0; At++)                                                                                \
            *At = (Char)Lower((U)*At);                                                                                         \
        return String;                                                                                                         \
    }                                                                                                                          \
    Char *rev(Char *String)                                                                                                    \
    {                                                                                                                          \
        size_t Length = len(String);                                                                                           \
        for (size_t i = 0; i < Length / 2; i++) {                                                                              \
            Char Held = String[i];                                                                                             \
            String[i] = String[Length - 1 - i];                                                                                \
            String[Length - 1 - i] = Held;                                                                                     \
        }                                                                                                                      \
        return String;                                                                                                         \
    }
RTLP_CASE_ROUTINES(char, unsigned char, _stricmp, _strnicmp, _strupr, _strlwr, _strrev, RtlpCrt_toupper, RtlpCrt_tolower,
                   RtlpCrt_strlen)
RTLP_CASE_ROUTINES(WCHAR, WCHAR, _wcsicmp, _wcsnicmp, _wcsupr, _wcslwr, _wcsrev, RtlpCrt_toupper, RtlpCrt_tolower, wcslen)

char *_strset(char *String, int Value)
{
    for (char *At = String; *At != 0; At++)
        *At = (char)Value;
    return String;
}

/* ---- numbers: saturating, as the C standard has it, at 32 bits ---- */
#define RTLP_NUMBER(Name, Char, U)                                                                                             \
    static ULONG64 Name(const Char *String, Char **End, int Base, ULONG64 Limit, BOOLEAN *Negative)                            \
    {                                                                                                                          \
        const Char *At = String, *Digits;                                                                                      \
        ULONG64 Value = 0;                                                                                                     \
        while (RtlpCrt_isspace((U)*At))                                                                                        \
            At++;                                                                                                              \
        *Negative = (BOOLEAN)(*At == '-');                                                                                     \
        if (*At == '-' || *At == '+')                                                                                          \
            At++;                                                                                                              \
        if ((Base == 0 || Base == 16) && At[0] == '0' && (At[1] | 0x20) == 'x' && RtlpCrt_isxdigit((U)At[2])) {                \
            At += 2;                                                                                                           \
            Base = 16;                                                                                                         \
        } else if (Base == 0) {                                                                                                \
            Base = *At == '0' ? 8 : 10;                                                                                        \
        }                                                                                                                      \
        for (Digits = At;; At++) {                                                                                             \
            ULONG Digit = RtlpCrt_isdigit((U)*At) ? (ULONG)(*At - '0') : 36;                                                   \
            if (RtlpCrt_isalpha((U)*At))                                                                                       \
                Digit = (ULONG)(*At | 0x20) - 'a' + 10;                                                                        \
            if (Digit >= (ULONG)Base)                                                                                          \
                break;                                                                                                         \
            Value = Value > (Limit - Digit) / (ULONG)Base ? Limit : Value * (ULONG)Base + Digit;                               \
        }                                                                                                                      \
        if (End != NULL)                                                                                                       \
            *End = (Char *)(ULONG_PTR)(At == Digits ? String : At);                                                            \
        return Value;                                                                                                          \
    }
RTLP_NUMBER(RtlpNarrowNumber, char, unsigned char)
RTLP_NUMBER(RtlpWideNumber, WCHAR, WCHAR)

static LONG RtlpSigned(ULONG64 Value, BOOLEAN Negative)
{
    if (Negative)
        return Value >= 0x80000000u ? MINLONG : -(LONG)Value;
    return Value > MAXLONG ? MAXLONG : (LONG)Value;
}

LONG RtlpCrt_strtol(const char *String, char **End, int Base)
{
    BOOLEAN Negative;
    ULONG64 Value = RtlpNarrowNumber(String, End, Base, MAXULONG, &Negative);
    return RtlpSigned(Value, Negative);
}
ULONG RtlpCrt_strtoul(const char *String, char **End, int Base)
{
    BOOLEAN Negative;
    ULONG Value = (ULONG)RtlpNarrowNumber(String, End, Base, MAXULONG, &Negative);
    return Negative ? 0 - Value : Value;
}
LONG wcstol(const WCHAR *String, WCHAR **End, int Base)
{
    BOOLEAN Negative;
    ULONG64 Value = RtlpWideNumber(String, End, Base, MAXULONG, &Negative);
    return RtlpSigned(Value, Negative);
}
ULONG wcstoul(const WCHAR *String, WCHAR **End, int Base)
{
    BOOLEAN Negative;
    ULONG Value = (ULONG)RtlpWideNumber(String, End, Base, MAXULONG, &Negative);
    return Negative ? 0 - Value : Value;
}
int RtlpCrt_atoi(const char *String)
{
    return RtlpCrt_strtol(String, NULL, 10);
}
LONG RtlpCrt_atol(const char *String)
{
    return RtlpCrt_strtol(String, NULL, 10);
}
int _wtoi(const WCHAR *String)
{
    return wcstol(String, NULL, 10);
}
LONG _wtol(const WCHAR *String)
{
    return wcstol(String, NULL, 10);
}
LONG64 _atoi64(const char *String)
{
    BOOLEAN Negative;
    ULONG64 Value = RtlpNarrowNumber(String, NULL, 10, MAXULONGLONG, &Negative);
    if (Negative)
        return Value > (ULONG64)MAXLONGLONG ? -MAXLONGLONG - 1 : -(LONG64)Value;
    return Value > (ULONG64)MAXLONGLONG ? MAXLONGLONG : (LONG64)Value;
}

#define RTLP_ITOA(Name, Char, Rev)                                                                                             \
    Char *Name(int Value, Char *Buffer, int Base)                                                                              \
    {                                                                                                                          \
        ULONG Magnitude = (ULONG)Value, Length = 0;                                                                            \
        BOOLEAN Minus = (BOOLEAN)(Base == 10 && Value < 0);                                                                    \
        Buffer[0] = 0;                                                                                                         \
        if (Base < 2 || Base > 36)                                                                                             \
            return Buffer;                                                                                                     \
        if (Minus)                                                                                                             \
            Magnitude = 0 - Magnitude;                                                                                         \
        do {                                                                                                                   \
            ULONG Digit = Magnitude % (ULONG)Base;                                                                             \
            Buffer[Length++] = (Char)(Digit < 10 ? '0' + Digit : 'a' + Digit - 10);                                            \
            Magnitude /= (ULONG)Base;                                                                                          \
        } while (Magnitude != 0);                                                                                              \
        if (Minus)                                                                                                             \
            Buffer[Length++] = '-';                                                                                            \
        Buffer[Length] = 0;                                                                                                    \
        return Rev(Buffer);                                                                                                    \
    }
RTLP_ITOA(_itoa, char, _strrev)
RTLP_ITOA(_itow, WCHAR, _wcsrev)

/* ---- printf ---- */
static int RtlpCrtFormat(RTLP_TEXT Kind, PVOID Buffer, size_t Count, const VOID *Format, PRTLP_ARGUMENTS Arguments)
{
    if (Buffer == NULL)
        return (int)RtlpFormatText(Kind, NULL, 0, Format, Arguments);
    SIZE_T Length = RtlpFormatText(Kind, Buffer, Count | RTLP_UNTERMINATED, Format, Arguments);
    return Length > Count ? -1 : (int)Length;
}

int RtlpCrtFormatSlots(RTLP_TEXT Kind, PVOID Buffer, size_t Count, const VOID *Format, const ULONG64 *Slots)
{
    RTLP_ARGUMENTS Arguments = {.Slots = Slots};
    return RtlpCrtFormat(Kind, Buffer, Count, Format, &Arguments);
}

static int RtlpCrtFormatNative(RTLP_TEXT Kind, PVOID Buffer, size_t Count, const VOID *Format, va_list List)
{
    RTLP_ARGUMENTS Arguments = {.Slots = NULL};
    va_copy(Arguments.Native, List);
    int Result = RtlpCrtFormat(Kind, Buffer, Count, Format, &Arguments);
    va_end(Arguments.Native);
    return Result;
}

/* The checked forms: terminated always. Too long: with Count _TRUNCATE (or above Size) the text is cut and -1
 * returned; otherwise the buffer is emptied. */
static int RtlpCrtFormatChecked(RTLP_TEXT Kind, PVOID Buffer, size_t Size, size_t Count, const VOID *Format, va_list List)
{
    RTLP_ARGUMENTS Arguments = {.Slots = NULL};
    if (Buffer == NULL || Size == 0 || Format == NULL)
        return -1;
    va_copy(Arguments.Native, List);
    size_t Room = Count == _TRUNCATE || Count >= Size ? Size : Count + 1;
    SIZE_T Length = RtlpFormatText(Kind, Buffer, Room, Format, &Arguments);
    va_end(Arguments.Native);
    if (Length < Room)
        return (int)Length;
    if (Count != _TRUNCATE && Count >= Size) {
        if (Kind == RtlpTextWide)
            *(PWCHAR)Buffer = 0;
        else
            *(PCHAR)Buffer = 0;
    }
    return -1;
}

#define RTLP_VARIADIC(Result, Call)                                                                                            \
    int Result;                                                                                                                \
    va_list Arguments;                                                                                                         \
    va_start(Arguments, Format);                                                                                               \
    Result = Call;                                                                                                             \
    va_end(Arguments);                                                                                                         \
    return Result

int _vsnprintf(char *Buffer, size_t Count, const char *Format, va_list Arguments)
{
    return RtlpCrtFormatNative(RtlpTextAnsi, Buffer, Count, Format, Arguments);
}
int _snprintf(char *Buffer, size_t Count, const char *Format, ...)
{
    RTLP_VARIADIC(Result, _vsnprintf(Buffer, Count, Format, Arguments));
}
int _vsnwprintf(WCHAR *Buffer, size_t Count, const WCHAR *Format, va_list Arguments)
{
    return RtlpCrtFormatNative(RtlpTextWide, Buffer, Count, Format, Arguments);
}
int _snwprintf(WCHAR *Buffer, size_t Count, const WCHAR *Format, ...)
{
    RTLP_VARIADIC(Result, _vsnwprintf(Buffer, Count, Format, Arguments));
}
int vswprintf(WCHAR *Buffer, const WCHAR *Format, va_list Arguments)
{
    return _vsnwprintf(Buffer, MAXLONG, Format, Arguments);
}
int swprintf(WCHAR *Buffer, const WCHAR *Format, ...)
{
    RTLP_VARIADIC(Result, _vsnwprintf(Buffer, MAXLONG, Format, Arguments));
}
int RtlpCrt_vsprintf(char *Buffer, const char *Format, va_list Arguments)
{
    return _vsnprintf(Buffer, MAXLONG, Format, Arguments);
}
int RtlpCrt_sprintf(char *Buffer, const char *Format, ...)
{
    RTLP_VARIADIC(Result, _vsnprintf(Buffer, MAXLONG, Format, Arguments));
}
int _vsnprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, va_list Arguments)
{
    return RtlpCrtFormatChecked(RtlpTextAnsi, Buffer, Size, Count, Format, Arguments);
}
int _snprintf_s(char *Buffer, size_t Size, size_t Count, const char *Format, ...)
{
    RTLP_VARIADIC(Result, _vsnprintf_s(Buffer, Size, Count, Format, Arguments));
}
int vsprintf_s(char *Buffer, size_t Size, const char *Format, va_list Arguments)
{
    return RtlpCrtFormatChecked(RtlpTextAnsi, Buffer, Size, Size, Format, Arguments);
}
int sprintf_s(char *Buffer, size_t Size, const char *Format, ...)
{
    RTLP_VARIADIC(Result, vsprintf_s(Buffer, Size, Format, Arguments));
}
int _vsnwprintf_s(WCHAR *Buffer, size_t Size, size_t Count, const WCHAR *Format, va_list Arguments)
{
    return RtlpCrtFormatChecked(RtlpTextWide, Buffer, Size, Count, Format, Arguments);
}
int _snwprintf_s(WCHAR *Buffer, size_t Size, size_t Count, const WCHAR *Format, ...)
{
    RTLP_VARIADIC(Result, _vsnwprintf_s(Buffer, Size, Count, Format, Arguments));
}
int vswprintf_s(WCHAR *Buffer, size_t Size, const WCHAR *Format, va_list Arguments)
{
    return RtlpCrtFormatChecked(RtlpTextWide, Buffer, Size, Size, Format, Arguments);
}
int swprintf_s(WCHAR *Buffer, size_t Size, const WCHAR *Format, ...)
{
    RTLP_VARIADIC(Result, vswprintf_s(Buffer, Size, Format, Arguments));
}

/* ---- checked copies ---- */
errno_t memcpy_s(void *Destination, size_t DestinationSize, const void *Source, size_t Count)
{
    if (Count == 0)
        return 0;
    if (Destination == NULL)
        return EINVAL;
    if (Source == NULL || DestinationSize < Count) {
        memset(Destination, 0, DestinationSize);
        return Source == NULL ? EINVAL : ERANGE;
    }
    memcpy(Destination, Source, Count);
    return 0;
}

errno_t memmove_s(void *Destination, size_t DestinationSize, const void *Source, size_t Count)
{
    if (Count == 0)
        return 0;
    if (Destination == NULL || Source == NULL)
        return EINVAL;
    if (DestinationSize < Count)
        return ERANGE;
    memmove(Destination, Source, Count);
    return 0;
}

/* Append: Source goes after what Destination holds. Count MAXSIZE_T is _TRUNCATE when Cut is allowed. */
#define RTLP_CHECKED_COPY(Char, Copy, cpy_s, ncpy_s, cat_s, ncat_s)                                                            \
    static errno_t Copy(Char *Destination, size_t Size, const Char *Source, size_t Count, BOOLEAN Append, BOOLEAN Cut)         \
    {                                                                                                                          \
        size_t At = 0;                                                                                                         \
        if (Destination == NULL || Size == 0)                                                                                  \
            return EINVAL;                                                                                                     \
        if (Source == NULL) {                                                                                                  \
            if (Count != 0)                                                                                                    \
                Destination[0] = 0;                                                                                            \
            return Count != 0 ? EINVAL : 0;                                                                                    \
        }                                                                                                                      \
        while (Append && At < Size && Destination[At] != 0)                                                                    \
            At++;                                                                                                              \
        if (At == Size) {                                                                                                      \
            Destination[0] = 0; /* not terminated within Size */                                                               \
            return EINVAL;                                                                                                     \
        }                                                                                                                      \
        for (; Count != 0 && *Source != 0; Count--) {                                                                          \
            if (At + 1 == Size) {                                                                                              \
                Destination[Cut ? At : 0] = 0;                                                                                 \
                return Cut ? STRUNCATE : ERANGE;                                                                               \
            }                                                                                                                  \
            Destination[At++] = *Source++;                                                                                     \
        }                                                                                                                      \
        Destination[At] = 0;                                                                                                   \
        return 0;                                                                                                              \
    }                                                                                                                          \
    errno_t cpy_s(Char *Destination, size_t Size, const Char *Source)                                                          \
    {                                                                                                                          \
        return Copy(Destination, Size, Source, MAXSIZE_T, FALSE, FALSE);                                                       \
    }                                                                                                                          \
    errno_t ncpy_s(Char *Destination, size_t Size, const Char *Source, size_t Count)                                           \
    {                                                                                                                          \
        return Copy(Destination, Size, Source, Count, FALSE, (BOOLEAN)(Count == _TRUNCATE));                                   \
    }                                                                                                                          \
    errno_t cat_s(Char *Destination, size_t Size, const Char *Source)                                                          \
    {                                                                                                                          \
        return Copy(Destination, Size, Source, MAXSIZE_T, TRUE, FALSE);                                                        \
    }                                                                                                                          \
    errno_t ncat_s(Char *Destination, size_t Size, const Char *Source, size_t Count)                                           \
    {                                                                                                                          \
        return Copy(Destination, Size, Source, Count, TRUE, (BOOLEAN)(Count == _TRUNCATE));                                    \
    }
RTLP_CHECKED_COPY(char, RtlpCheckedCopy, strcpy_s, strncpy_s, strcat_s, strncat_s)
RTLP_CHECKED_COPY(WCHAR, RtlpCheckedWideCopy, wcscpy_s, wcsncpy_s, wcscat_s, wcsncat_s)

/* ---- sort, search, random ---- */
static int RtlpCompareElements(int (*Compare)(const void *, const void *), const void *A, const void *B)
{
    return RTLP_CALLOUT(int, Compare, (const void *, const void *), (A, B));
}

static VOID RtlpSwap(PUCHAR A, PUCHAR B, size_t Width)
{
    for (size_t i = 0; i < Width; i++) {
        UCHAR Held = A[i];
        A[i] = B[i];
        B[i] = Held;
    }
}

/* Heap sort: no recursion, no memory, no bad case. Not stable, as qsort need not be. */
VOID RtlpCrt_qsort(void *Base, size_t Count, size_t Width, int (*Compare)(const void *, const void *))
{
    PUCHAR Elements = Base;
    for (size_t Phase = Count / 2 + Count; Phase-- > 1;) {
        /* First sift every parent down, then move the greatest to the end and sift what came to the front. */
        size_t Node = Phase >= Count ? Phase - Count : 0, End = Phase >= Count ? Count : Phase;
        if (Phase < Count)
            RtlpSwap(Elements, Elements + Phase * Width, Width);
        for (size_t Child; (Child = 2 * Node + 1) < End; Node = Child) {
            if (Child + 1 < End && RtlpCompareElements(Compare, Elements + Child * Width, Elements + (Child + 1) * Width) < 0)
                Child++;
            if (RtlpCompareElements(Compare, Elements + Node * Width, Elements + Child * Width) >= 0)
                break;
            RtlpSwap(Elements + Node * Width, Elements + Child * Width, Width);
        }
    }
}

void *RtlpCrt_bsearch(const void *Key, const void *Base, size_t Count, size_t Width, int (*Compare)(const void *, const void *))
{
    const UCHAR *Elements = Base;
    while (Count != 0) {
        const UCHAR *Middle = Elements + Count / 2 * Width;
        int Order = RtlpCompareElements(Compare, Key, Middle);
        if (Order == 0)
            return (void *)(ULONG_PTR)Middle;
        if (Order > 0) {
            Elements = Middle + Width;
            Count -= Count / 2 + 1;
        } else {
            Count /= 2;
        }
    }
    return NULL;
}

static ULONG RtlpRandState = 1;

int RtlpCrt_rand(void)
{
    /* One state for all threads, as in the kernel; a lost update only repeats a number. */
    ULONG Next = __atomic_load_n(&RtlpRandState, __ATOMIC_RELAXED) * 214013 + 2531011;
    __atomic_store_n(&RtlpRandState, Next, __ATOMIC_RELAXED);
    return (int)(Next >> 16 & 0x7FFF);
}

void RtlpCrt_srand(unsigned Seed)
{
    __atomic_store_n(&RtlpRandState, Seed, __ATOMIC_RELAXED);
}
