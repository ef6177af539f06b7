/*
 * bitmap.c - RTL_BITMAP: ranges of bits set, cleared, tested, counted and found.
 *
 *   bit n of the map = bit n%32 of Buffer[n/32]
 *
 * Everything rests on two routines that walk 32 bits at a time: RtlpNextBit (the next bit of a value at or
 * after an index) and RtlpChange (sets or clears a range). Bits of the last word past SizeOfBitMap belong to
 * nobody: they are masked when read, and kept when written by a range routine. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

#define RTLP_NONE MAXULONG

VOID RtlInitializeBitMap(PRTL_BITMAP BitMapHeader, PULONG BitMapBuffer, ULONG SizeOfBitMap)
{
    BitMapHeader->SizeOfBitMap = SizeOfBitMap;
    BitMapHeader->Buffer = BitMapBuffer;
}

static VOID RtlpChange(PRTL_BITMAP Map, ULONG Start, ULONG Count, BOOLEAN Set)
{
    while (Count != 0) {
        ULONG Shift = Start % 32, Bits = min(Count, 32 - Shift);
        ULONG Mask = (Bits == 32 ? MAXULONG : (1u << Bits) - 1) << Shift;
        if (Set)
            Map->Buffer[Start / 32] |= Mask;
        else
            Map->Buffer[Start / 32] &= ~Mask;
        Start += Bits;
        Count -= Bits;
    }
}

/* The first index in [From, End) whose bit is Value; End if there is none. */
static ULONG RtlpNextBit(PRTL_BITMAP Map, ULONG From, ULONG End, BOOLEAN Value)
{
    if (From >= End)
        return End;
    ULONG Flip = Value ? 0 : MAXULONG, Word = From / 32;
    ULONG Bits = (Map->Buffer[Word] ^ Flip) & (MAXULONG << (From % 32));
    while (Bits == 0) {
        if (++Word > (End - 1) / 32)
            return End;
        Bits = Map->Buffer[Word] ^ Flip;
    }
    return min(Word * 32 + (ULONG)__builtin_ctz(Bits), End);
}

/* The last index in [0, From] whose bit is Value, plus 1; 0 if there is none. */
static ULONG RtlpPreviousBit(PRTL_BITMAP Map, ULONG From, BOOLEAN Value)
{
    ULONG Flip = Value ? 0 : MAXULONG, Word = From / 32;
    ULONG Bits = (Map->Buffer[Word] ^ Flip) & (MAXULONG >> (31 - From % 32));
    while (Bits == 0) {
        if (Word-- == 0)
            return 0;
        Bits = Map->Buffer[Word] ^ Flip;
    }
    return Word * 32 + 32 - (ULONG)__builtin_clz(Bits);
}

static ULONG RtlpFindInRange(PRTL_BITMAP Map, ULONG Count, ULONG From, ULONG End, BOOLEAN Value)
{
    while (From < End && End - From >= Count) {
        ULONG Start = RtlpNextBit(Map, From, End, Value);
        if (End - Start < Count)
            return RTLP_NONE;
        ULONG Stop = RtlpNextBit(Map, Start, Start + Count, (BOOLEAN)!Value);
        if (Stop - Start == Count)
            return Start;
        From = Stop;
    }
    return RTLP_NONE;
}

static ULONG RtlpFind(PRTL_BITMAP Map, ULONG Count, ULONG Hint, BOOLEAN Value)
{
    ULONG Size = Map->SizeOfBitMap;
    if (Hint >= Size)
        Hint = 0;
    if (Count == 0)
        return Hint;
    if (Count > Size)
        return RTLP_NONE;
    ULONG Found = RtlpFindInRange(Map, Count, Hint, Size, Value);
    /* Back from the start: runs that begin before the hint, also those that reach past it. */
    if (Found == RTLP_NONE && Hint != 0)
        Found = RtlpFindInRange(Map, Count, 0, Count - 1 < Size - Hint ? Hint + Count - 1 : Size, Value);
    return Found;
}

VOID RtlClearAllBits(PRTL_BITMAP BitMapHeader)
{
    memset(BitMapHeader->Buffer, 0, (SIZE_T)(BitMapHeader->SizeOfBitMap / 32 + (BitMapHeader->SizeOfBitMap % 32 != 0)) * 4);
}

VOID RtlSetAllBits(PRTL_BITMAP BitMapHeader)
{
    memset(BitMapHeader->Buffer, 0xFF, (SIZE_T)(BitMapHeader->SizeOfBitMap / 32 + (BitMapHeader->SizeOfBitMap % 32 != 0)) * 4);
}

VOID RtlClearBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber)
{
    BitMapHeader->Buffer[BitNumber / 32] &= ~(1u << (BitNumber % 32));
}

VOID RtlSetBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber)
{
    BitMapHeader->Buffer[BitNumber / 32] |= 1u << (BitNumber % 32);
}

BOOLEAN RtlTestBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber)
{
    return (BOOLEAN)(BitMapHeader->Buffer[BitNumber / 32] >> (BitNumber % 32) & 1);
}

VOID RtlClearBits(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG NumberToClear)
{
    RtlpChange(BitMapHeader, StartingIndex, NumberToClear, FALSE);
}

VOID RtlSetBits(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG NumberToSet)
{
    RtlpChange(BitMapHeader, StartingIndex, NumberToSet, TRUE);
}

static BOOLEAN RtlpInRange(PRTL_BITMAP Map, ULONG Start, ULONG Length)
{
    return (BOOLEAN)(Start <= Map->SizeOfBitMap && Length <= Map->SizeOfBitMap - Start);
}

BOOLEAN RtlAreBitsClear(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG Length)
{
    return (BOOLEAN)(Length != 0 && RtlpInRange(BitMapHeader, StartingIndex, Length) &&
                     RtlpNextBit(BitMapHeader, StartingIndex, StartingIndex + Length, TRUE) == StartingIndex + Length);
}

BOOLEAN RtlAreBitsSet(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG Length)
{
    return (BOOLEAN)(Length != 0 && RtlpInRange(BitMapHeader, StartingIndex, Length) &&
                     RtlpNextBit(BitMapHeader, StartingIndex, StartingIndex + Length, FALSE) == StartingIndex + Length);
}

ULONG RtlNumberOfSetBitsInRange(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG Length)
{
    ULONG Count = 0;
    if (!RtlpInRange(BitMapHeader, StartingIndex, Length))
        return 0;
    while (Length != 0) {
        ULONG Shift = StartingIndex % 32, Bits = min(Length, 32 - Shift);
        ULONG Mask = (Bits == 32 ? MAXULONG : (1u << Bits) - 1) << Shift;
        Count += RtlNumberOfSetBitsUlongPtr(BitMapHeader->Buffer[StartingIndex / 32] & Mask);
        StartingIndex += Bits;
        Length -= Bits;
    }
    return Count;
}

ULONG RtlNumberOfClearBitsInRange(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG Length)
{
    return RtlpInRange(BitMapHeader, StartingIndex, Length)
               ? Length - RtlNumberOfSetBitsInRange(BitMapHeader, StartingIndex, Length)
               : 0;
}

ULONG RtlNumberOfSetBits(PRTL_BITMAP BitMapHeader)
{
    return RtlNumberOfSetBitsInRange(BitMapHeader, 0, BitMapHeader->SizeOfBitMap);
}

ULONG RtlNumberOfClearBits(PRTL_BITMAP BitMapHeader)
{
    return BitMapHeader->SizeOfBitMap - RtlNumberOfSetBits(BitMapHeader);
}

ULONG RtlFindClearBits(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
    return RtlpFind(BitMapHeader, NumberToFind, HintIndex, FALSE);
}

ULONG RtlFindSetBits(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
    return RtlpFind(BitMapHeader, NumberToFind, HintIndex, TRUE);
}

ULONG RtlFindClearBitsAndSet(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
    ULONG Found = RtlpFind(BitMapHeader, NumberToFind, HintIndex, FALSE);
    if (Found != RTLP_NONE)
        RtlpChange(BitMapHeader, Found, NumberToFind, TRUE);
    return Found;
}

ULONG RtlFindSetBitsAndClear(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
    ULONG Found = RtlpFind(BitMapHeader, NumberToFind, HintIndex, TRUE);
    if (Found != RTLP_NONE)
        RtlpChange(BitMapHeader, Found, NumberToFind, FALSE);
    return Found;
}

ULONG RtlFindNextForwardRunClear(PRTL_BITMAP BitMapHeader, ULONG FromIndex, PULONG StartingRunIndex)
{
    ULONG Size = BitMapHeader->SizeOfBitMap;
    ULONG Start = RtlpNextBit(BitMapHeader, FromIndex, max(Size, FromIndex), FALSE);
    *StartingRunIndex = Start;
    return Start >= Size ? 0 : RtlpNextBit(BitMapHeader, Start, Size, TRUE) - Start;
}

ULONG RtlFindLastBackwardRunClear(PRTL_BITMAP BitMapHeader, ULONG FromIndex, PULONG StartingRunIndex)
{
    ULONG Size = BitMapHeader->SizeOfBitMap;
    *StartingRunIndex = FromIndex;
    if (Size == 0)
        return 0;
    ULONG End = RtlpPreviousBit(BitMapHeader, min(FromIndex, Size - 1), FALSE);
    if (End == 0)
        return 0;
    *StartingRunIndex = RtlpPreviousBit(BitMapHeader, End - 1, TRUE);
    return End - *StartingRunIndex;
}

ULONG RtlFindFirstRunClear(PRTL_BITMAP BitMapHeader, PULONG StartingIndex)
{
    return RtlFindNextForwardRunClear(BitMapHeader, 0, StartingIndex);
}

ULONG RtlFindClearRuns(PRTL_BITMAP BitMapHeader, PRTL_BITMAP_RUN RunArray, ULONG SizeOfRunArray, BOOLEAN LocateLongestRuns)
{
    ULONG Found = 0, Start, Length;
    for (ULONG Index = 0; SizeOfRunArray != 0; Index = Start + Length) {
        Length = RtlFindNextForwardRunClear(BitMapHeader, Index, &Start);
        if (Length == 0 || (Found == SizeOfRunArray && !LocateLongestRuns))
            break;
        ULONG Place = Found;
        if (LocateLongestRuns) {
            if (Found == SizeOfRunArray && RunArray[Found - 1].NumberOfBits >= Length)
                continue;
            /* Insertion into a short sorted array; the shortest falls off its end. */
            if (Found == SizeOfRunArray)
                Place = Found - 1;
            for (; Place > 0 && RunArray[Place - 1].NumberOfBits < Length; Place--)
                RunArray[Place] = RunArray[Place - 1];
        }
        RunArray[Place].StartingIndex = Start;
        RunArray[Place].NumberOfBits = Length;
        if (Found < SizeOfRunArray)
            Found++;
    }
    return Found;
}

ULONG RtlFindLongestRunClear(PRTL_BITMAP BitMapHeader, PULONG StartingIndex)
{
    RTL_BITMAP_RUN Run;
    if (RtlFindClearRuns(BitMapHeader, &Run, 1, TRUE) == 0)
        return 0;
    *StartingIndex = Run.StartingIndex;
    return Run.NumberOfBits;
}

static VOID RtlpCopyBits(PRTL_BITMAP From, ULONG FromBit, PRTL_BITMAP To, ULONG ToBit, ULONG Count)
{
    for (ULONG i = 0; i < Count; i++)
        RtlpChange(To, ToBit + i, 1, RtlTestBit(From, FromBit + i));
}

VOID RtlCopyBitMap(PRTL_BITMAP Source, PRTL_BITMAP Destination, ULONG TargetBit)
{
    if (TargetBit < Destination->SizeOfBitMap)
        RtlpCopyBits(Source, 0, Destination, TargetBit, min(Source->SizeOfBitMap, Destination->SizeOfBitMap - TargetBit));
}

VOID RtlExtractBitMap(PRTL_BITMAP Source, PRTL_BITMAP Destination, ULONG TargetBit, ULONG NumberOfBits)
{
    if (TargetBit < Source->SizeOfBitMap)
        RtlpCopyBits(Source, TargetBit, Destination, 0,
                     min(NumberOfBits, min(Source->SizeOfBitMap - TargetBit, Destination->SizeOfBitMap)));
}

CCHAR RtlFindMostSignificantBit(ULONGLONG Set)
{
    return (CCHAR)(Set == 0 ? -1 : 63 - __builtin_clzll(Set));
}

CCHAR RtlFindLeastSignificantBit(ULONGLONG Set)
{
    return (CCHAR)(Set == 0 ? -1 : __builtin_ctzll(Set));
}
