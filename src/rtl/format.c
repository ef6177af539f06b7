/*
 * format.c - the text formatter behind DbgPrint, the RtlString*Printf routines and the printf names of the
 * kernel's run-time.
 *
 * A conversion is  % [flags - + space # 0] [width | *] [. precision | .*] [size h hh l ll w I I32 I64 j t z]
 * type  with types d i u o x X   integers: 32 bits, or as the size says (I is a pointer's) p             a
 * pointer: 16 upper-case hex digits c s           a character, a string, of the format's own width: CHAR in
 * CHAR formats, WCHAR in WCHAR formats C S           of the other width.  h makes any of c C s S narrow, l
 * and w make it wide Z             a counted string: ANSI_STRING, with w or l UNICODE_STRING % itself A NULL
 * string prints as (null). Floating point types print as they stand in the format and take no argument: the
 * kernel layer holds no vector registers. Unknown types print their character alone, as Microsoft's run-time
 * does. Page: "Format specification syntax"
 *
 *   format (CHAR or WCHAR) --> RtlpFormatText --> RTLP_SINK --> Buffer: CHAR code page 1252 | CHAR UTF-8 |
 * WCHAR
 *
 * Everything inside is a code point; sinks encode it, narrow sources are decoded as code page 1252. Only the
 * sink knows the buffer's size: it counts everything and stores what fits, so one pass gives both text and
 * needed length. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

typedef struct _RTLP_SINK {
    RTLP_TEXT Kind;
    CHAR *Narrow;
    PWCHAR Wide;
    SIZE_T Size;   /* characters */
    SIZE_T Length; /* characters that the text has so far, stored or not */
} RTLP_SINK, *PRTLP_SINK;

typedef struct _RTLP_CONVERSION {
    BOOLEAN Left, Plus, Space, Alternate, Zero;
    LONG Width, Precision; /* Precision -1: none */
    enum { SizeNone, SizeByte, SizeShort, SizeLong, Size64 } Size;
    BOOLEAN Narrow, Wide; /* h; l or w */
} RTLP_CONVERSION;

static VOID RtlpPutUnit(PRTLP_SINK Sink, ULONG Unit)
{
    if (Sink->Length < Sink->Size) {
        if (Sink->Kind == RtlpTextWide)
            Sink->Wide[Sink->Length] = (WCHAR)Unit;
        else
            Sink->Narrow[Sink->Length] = (CHAR)Unit;
    }
    Sink->Length++;
}

static VOID RtlpPut(PRTLP_SINK Sink, ULONG CodePoint)
{
    UCHAR Bytes[4];
    if (Sink->Kind == RtlpTextWide) {
        if (CodePoint >= 0x10000) {
            RtlpPutUnit(Sink, 0xD7C0 + (CodePoint >> 10));
            CodePoint = 0xDC00 | (CodePoint & 0x3FF);
        }
        RtlpPutUnit(Sink, CodePoint);
    } else if (CodePoint < 0x80) {
        RtlpPutUnit(Sink, CodePoint);
    } else if (Sink->Kind == RtlpTextAnsi) {
        RtlpPutUnit(Sink, CodePoint < 0x10000 ? RtlpUnicodeToAnsi((WCHAR)CodePoint) : '?');
    } else {
        ULONG Count = RtlpPutUtf8(CodePoint, Bytes);
        for (ULONG i = 0; i < Count; i++)
            RtlpPutUnit(Sink, Bytes[i]);
    }
}

static VOID RtlpPad(PRTLP_SINK Sink, LONG Count, CHAR Fill)
{
    while (Count-- > 0)
        RtlpPut(Sink, (UCHAR)Fill);
}

static ULONG64 RtlpNextArgument(PRTLP_ARGUMENTS Arguments, BOOLEAN Is64)
{
    if (Arguments->Slots != NULL)
        return Is64 ? *Arguments->Slots++ : (ULONG)*Arguments->Slots++;
    return Is64 ? va_arg(Arguments->Native, ULONG64) : va_arg(Arguments->Native, ULONG);
}

/* Text of either width, padded. Length is in units of the source, or -1 if it is terminated. Precision limits
 * the units taken. */
static VOID RtlpPutText(PRTLP_SINK Sink, const RTLP_CONVERSION *Conversion, const VOID *Text, SSIZE_T Length, BOOLEAN Wide)
{
    const UCHAR *Narrow = Text;
    PCWCH Units = Text;
    SIZE_T Limit = Conversion->Precision >= 0 ? (SIZE_T)Conversion->Precision : MAXSIZE_T, Count = 0;
    BOOLEAN Bad;
    if (Length >= 0 && (SIZE_T)Length < Limit)
        Limit = (SIZE_T)Length;
    while (Count < Limit && (Length >= 0 || (Wide ? Units[Count] != 0 : Narrow[Count] != 0)))
        Count++;
    LONG Padding = Conversion->Width - (LONG)min(Count, (SIZE_T)MAXLONG);
    if (!Conversion->Left)
        RtlpPad(Sink, Padding, Conversion->Zero ? '0' : ' ');
    if (Wide) {
        PCWCH End = Units + Count;
        while (Units < End) {
            /* A wide sink takes units as they are, lone surrogates included. */
            if (Sink->Kind == RtlpTextWide)
                RtlpPutUnit(Sink, *Units++);
            else
                RtlpPut(Sink, RtlpNextUtf16(&Units, End, &Bad));
        }
    } else {
        for (SIZE_T i = 0; i < Count; i++) {
            if (Sink->Kind == RtlpTextWide)
                RtlpPut(Sink, RtlpAnsiTable[Narrow[i]]);
            else
                RtlpPutUnit(Sink, Narrow[i]); /* same code page, or bytes that the host reads as it likes */
        }
    }
    if (Conversion->Left)
        RtlpPad(Sink, Padding, ' ');
}

static VOID RtlpPutInteger(PRTLP_SINK Sink, const RTLP_CONVERSION *Conversion, ULONG64 Value, ULONG Base, BOOLEAN Signed,
                           BOOLEAN Upper)
{
    CHAR Digits[24], Sign = 0;
    LONG Count = 0;
    ULONG Prefix = 0;
    if (Signed && (LONG64)Value < 0) {
        Sign = '-';
        Value = 0 - Value;
    } else if (Signed && (Conversion->Plus || Conversion->Space)) {
        Sign = Conversion->Plus ? '+' : ' ';
    }
    if (Conversion->Alternate && Value != 0 && Base == 16)
        Prefix = 2;
    while (Value != 0) {
        ULONG Digit = (ULONG)(Value % Base);
        Digits[Count++] = (CHAR)(Digit < 10 ? '0' + Digit : (Upper ? 'A' : 'a') + Digit - 10);
        Value /= Base;
    }
    LONG Minimum = Conversion->Precision >= 0 ? Conversion->Precision : 1;
    if (Conversion->Alternate && Base == 8 && Minimum <= Count)
        Minimum = Count + 1;
    LONG Zeros = Minimum > Count ? Minimum - Count : 0;
    LONG Padding = Conversion->Width - (Sign != 0) - (LONG)Prefix - Zeros - Count;
    if (Conversion->Zero && !Conversion->Left && Conversion->Precision < 0 && Padding > 0) {
        Zeros += Padding;
        Padding = 0;
    }
    if (!Conversion->Left)
        RtlpPad(Sink, Padding, ' ');
    if (Sign)
        RtlpPut(Sink, (UCHAR)Sign);
    if (Prefix) {
        RtlpPut(Sink, '0');
        RtlpPut(Sink, Upper ? 'X' : 'x');
    }
    RtlpPad(Sink, Zeros, '0');
    while (Count > 0)
        RtlpPut(Sink, (UCHAR)Digits[--Count]);
    if (Conversion->Left)
        RtlpPad(Sink, Padding, ' ');
}

SIZE_T RtlpFormatText(RTLP_TEXT Kind, PVOID Buffer, SIZE_T Size, const VOID *Format, PRTLP_ARGUMENTS Arguments)
{
    BOOLEAN Terminate = (BOOLEAN)((Size & RTLP_UNTERMINATED) == 0);
    Size &= ~RTLP_UNTERMINATED;
    RTLP_SINK Sink = {.Kind = Kind, .Narrow = Buffer, .Wide = Buffer, .Size = Size, .Length = 0};
    const UCHAR *Narrow = Format;
    PCWCH Units = Format;
    BOOLEAN WideFormat = (BOOLEAN)(Kind == RtlpTextWide);
    SIZE_T i = 0;
#define RTLP_AT(n) (WideFormat ? (ULONG)Units[n] : (ULONG)Narrow[n])
    for (;;) {
        ULONG Character = RTLP_AT(i);
        if (Character == 0)
            break;
        i++;
        if (Character != '%') {
            RtlpPutUnit(&Sink, Character);
            continue;
        }
        RTLP_CONVERSION Conversion = {.Precision = -1};
        SIZE_T Start = i;
        for (;; i++) {
            Character = RTLP_AT(i);
            if (Character == '-')
                Conversion.Left = TRUE;
            else if (Character == '+')
                Conversion.Plus = TRUE;
            else if (Character == ' ')
                Conversion.Space = TRUE;
            else if (Character == '#')
                Conversion.Alternate = TRUE;
            else if (Character == '0')
                Conversion.Zero = TRUE;
            else
                break;
        }
        if (Character == '*') {
            Conversion.Width = (LONG)RtlpNextArgument(Arguments, FALSE);
            if (Conversion.Width < 0) {
                Conversion.Left = TRUE;
                Conversion.Width = Conversion.Width == MINLONG ? MAXLONG : -Conversion.Width;
            }
            Character = RTLP_AT(++i);
        } else {
            for (; Character - '0' < 10u; Character = RTLP_AT(++i))
                if (Conversion.Width < 1000000)
                    Conversion.Width = Conversion.Width * 10 + (LONG)(Character - '0');
        }
        if (Character == '.') {
            Conversion.Precision = 0;
            Character = RTLP_AT(++i);
            if (Character == '*') {
                Conversion.Precision = (LONG)RtlpNextArgument(Arguments, FALSE);
                if (Conversion.Precision < 0)
                    Conversion.Precision = -1;
                Character = RTLP_AT(++i);
            } else {
                for (; Character - '0' < 10u; Character = RTLP_AT(++i))
                    if (Conversion.Precision < 1000000)
                        Conversion.Precision = Conversion.Precision * 10 + (LONG)(Character - '0');
            }
        }
        for (BOOLEAN More = TRUE; More;) {
            switch (Character) {
            case 'h':
                Conversion.Size = Conversion.Size == SizeShort ? SizeByte : SizeShort;
                Conversion.Narrow = TRUE;
                break;
            case 'l':
                Conversion.Size = Conversion.Size == SizeLong ? Size64 : SizeLong;
                Conversion.Wide = TRUE;
                break;
            case 'w':
                Conversion.Wide = TRUE;
                break;
            case 'j':
            case 't':
            case 'z':
                Conversion.Size = Size64;
                break;
            case 'I':
                if (RTLP_AT(i + 1) == '6' && RTLP_AT(i + 2) == '4') {
                    Conversion.Size = Size64;
                    i += 2;
                } else if (RTLP_AT(i + 1) == '3' && RTLP_AT(i + 2) == '2') {
                    Conversion.Size = SizeLong;
                    i += 2;
                } else {
                    Conversion.Size = Size64;
                }
                break;
            default:
                More = FALSE;
                continue;
            }
            Character = RTLP_AT(++i);
        }
        if (Character == 0)
            break; /* an unfinished conversion at the end prints nothing */
        i++;
        ULONG64 Value;
        BOOLEAN WideText;
        switch (Character) {
        case '%':
            RtlpPut(&Sink, '%');
            break;
        case 'd':
        case 'i':
            Value = RtlpNextArgument(Arguments, (BOOLEAN)(Conversion.Size == Size64));
            if (Conversion.Size == SizeByte)
                Value = (ULONG64)(LONG64)(SCHAR)Value;
            else if (Conversion.Size == SizeShort)
                Value = (ULONG64)(LONG64)(SHORT)Value;
            else if (Conversion.Size != Size64)
                Value = (ULONG64)(LONG64)(LONG)Value;
            RtlpPutInteger(&Sink, &Conversion, Value, 10, TRUE, FALSE);
            break;
        case 'u':
        case 'o':
        case 'x':
        case 'X':
            Value = RtlpNextArgument(Arguments, (BOOLEAN)(Conversion.Size == Size64));
            if (Conversion.Size == SizeByte)
                Value = (UCHAR)Value;
            else if (Conversion.Size == SizeShort)
                Value = (USHORT)Value;
            RtlpPutInteger(&Sink, &Conversion, Value,
                           Character == 'u'   ? 10
                           : Character == 'o' ? 8
                                              : 16,
                           FALSE, (BOOLEAN)(Character == 'X'));
            break;
        case 'p':
            Value = RtlpNextArgument(Arguments, TRUE);
            Conversion.Precision = 16;
            Conversion.Plus = Conversion.Space = FALSE;
            RtlpPutInteger(&Sink, &Conversion, Value, 16, FALSE, TRUE);
            break;
        case 'c':
        case 'C': {
            WideText = Conversion.Narrow ? FALSE : Conversion.Wide ? TRUE : (BOOLEAN)(WideFormat == (Character == 'c'));
            WCHAR One = (WCHAR)RtlpNextArgument(Arguments, FALSE);
            CHAR NarrowOne = (CHAR)One;
            Conversion.Precision = -1;
            RtlpPutText(&Sink, &Conversion, WideText ? (const VOID *)&One : &NarrowOne, 1, WideText);
            break;
        }
        case 's':
        case 'S':
            WideText = Conversion.Narrow ? FALSE : Conversion.Wide ? TRUE : (BOOLEAN)(WideFormat == (Character == 's'));
            Value = RtlpNextArgument(Arguments, TRUE);
            if (Value == 0)
                RtlpPutText(&Sink, &Conversion, "(null)", 6, FALSE);
            else
                RtlpPutText(&Sink, &Conversion, (const VOID *)(ULONG_PTR)Value, -1, WideText);
            break;
        case 'Z': {
            const STRING *Counted = (const STRING *)(ULONG_PTR)RtlpNextArgument(Arguments, TRUE);
            if (Counted == NULL || Counted->Buffer == NULL)
                RtlpPutText(&Sink, &Conversion, "(null)", 6, FALSE);
            else if (Conversion.Wide)
                RtlpPutText(&Sink, &Conversion, Counted->Buffer, Counted->Length / 2, TRUE);
            else
                RtlpPutText(&Sink, &Conversion, Counted->Buffer, Counted->Length, FALSE);
            break;
        }
        case 'a':
        case 'A':
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
            RtlpPut(&Sink, '%');
            for (SIZE_T j = Start; j < i; j++)
                RtlpPutUnit(&Sink, RTLP_AT(j));
            break;
        default:
            RtlpPutUnit(&Sink, Character);
            break;
        }
    }
#undef RTLP_AT
    if (Terminate ? Size != 0 : Sink.Length < Size) {
        SIZE_T End = min(Sink.Length, Size - 1);
        if (Kind == RtlpTextWide)
            Sink.Wide[End] = 0;
        else
            Sink.Narrow[End] = 0;
    }
    return Sink.Length;
}

SIZE_T RtlpFormat(CHAR *Buffer, SIZE_T Size, const CHAR *Format, va_list Arguments)
{
    RTLP_ARGUMENTS Source = {.Slots = NULL};
    va_copy(Source.Native, Arguments);
    SIZE_T Length = RtlpFormatText(RtlpTextUtf8, Buffer, Size, Format, &Source);
    va_end(Source.Native);
    return Length;
}

SIZE_T RtlpFormatSlots(CHAR *Buffer, SIZE_T Size, const CHAR *Format, const ULONG64 *Slots)
{
    RTLP_ARGUMENTS Source = {.Slots = Slots};
    return RtlpFormatText(RtlpTextUtf8, Buffer, Size, Format, &Source);
}
