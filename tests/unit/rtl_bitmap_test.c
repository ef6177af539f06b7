/*
 * rtl_bitmap_test.c - bitmap.c against a byte per bit. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

#define BITS 203
typedef struct _MODEL {
    RTL_BITMAP Map;
    ULONG Words[(BITS + 31) / 32 + 1]; /* one guard word */
    UCHAR Bits[BITS];
} MODEL;

static void Compare(MODEL *Model)
{
    ULONG Set = 0;
    for (ULONG i = 0; i < BITS; i++) {
        assert_int_equal(RtlTestBit(&Model->Map, i), Model->Bits[i]);
        assert_int_equal(RtlCheckBit(&Model->Map, i), Model->Bits[i]);
        Set += Model->Bits[i];
    }
    assert_int_equal(RtlNumberOfSetBits(&Model->Map), Set);
    assert_int_equal(RtlNumberOfClearBits(&Model->Map), BITS - Set);
    assert_int_equal(Model->Words[ARRAYSIZE(Model->Words) - 1], 0xC0FFEE11);
}

static BOOLEAN ModelRun(MODEL *Model, ULONG Start, ULONG Count, UCHAR Value)
{
    if (Count == 0 || Start + Count > BITS)
        return FALSE;
    for (ULONG i = 0; i < Count; i++)
        if (Model->Bits[Start + i] != Value)
            return FALSE;
    return TRUE;
}

static ULONG ModelFind(MODEL *Model, ULONG Count, ULONG Hint, UCHAR Value)
{
    for (ULONG i = Hint; i < BITS; i++)
        if (ModelRun(Model, i, Count, Value))
            return i;
    for (ULONG i = 0; i < Hint; i++)
        if (ModelRun(Model, i, Count, Value))
            return i;
    return MAXULONG;
}

static void Bitmap_RandomOperations_AgreeWithModel(void **State)
{
    MODEL Model = {0};
    ULONG64 Seed = 7;
    UNREFERENCED_PARAMETER(State);
    Model.Words[ARRAYSIZE(Model.Words) - 1] = 0xC0FFEE11;
    RtlInitializeBitMap(&Model.Map, Model.Words, BITS);
    RtlClearAllBits(&Model.Map);
    for (ULONG Round = 0; Round < 20000; Round++) {
        ULONG Start = KitRandom(&Seed) % BITS, Count = KitRandom(&Seed) % (KitRandom(&Seed) % 4 ? 9 : BITS), Found;
        if (Count > BITS - Start)
            Count = BITS - Start;
        UCHAR Value = KitRandom(&Seed) & 1;
        switch (KitRandom(&Seed) % 7) {
        case 0:
            memset(Model.Bits + Start, 1, Count);
            RtlSetBits(&Model.Map, Start, Count);
            break;
        case 1:
            memset(Model.Bits + Start, 0, Count);
            RtlClearBits(&Model.Map, Start, Count);
            break;
        case 2:
            Model.Bits[Start] = Value;
            if (Value)
                RtlSetBit(&Model.Map, Start);
            else
                RtlClearBit(&Model.Map, Start);
            break;
        case 3:
            if (Count == 0)
                Count = 1;
            Found = ModelFind(&Model, Count, Start, 0);
            assert_int_equal(RtlFindClearBitsAndSet(&Model.Map, Count, Start), Found);
            if (Found != MAXULONG)
                memset(Model.Bits + Found, 1, Count);
            break;
        case 4:
            if (Count == 0)
                Count = 1;
            Found = ModelFind(&Model, Count, Start, 1);
            assert_int_equal(RtlFindSetBits(&Model.Map, Count, Start), Found);
            assert_int_equal(RtlFindSetBitsAndClear(&Model.Map, Count, Start), Found);
            if (Found != MAXULONG)
                memset(Model.Bits + Found, 0, Count);
            break;
        case 5: {
            ULONG Run = 0, Where = MAXULONG, At = Start;
            while (At < BITS && Model.Bits[At])
                At++;
            while (At + Run < BITS && !Model.Bits[At + Run])
                Run++;
            assert_int_equal(RtlFindNextForwardRunClear(&Model.Map, Start, &Where), Run);
            if (Run)
                assert_int_equal(Where, At);
            LONG Back = (LONG)Start;
            while (Back >= 0 && Model.Bits[Back])
                Back--;
            LONG First = Back;
            while (First > 0 && !Model.Bits[First - 1])
                First--;
            assert_int_equal(RtlFindLastBackwardRunClear(&Model.Map, Start, &Where), Back < 0 ? 0 : Back - First + 1);
            if (Back >= 0)
                assert_int_equal(Where, First);
            break;
        }
        default:
            assert_int_equal(RtlAreBitsClear(&Model.Map, Start, Count), ModelRun(&Model, Start, Count, 0));
            assert_int_equal(RtlAreBitsSet(&Model.Map, Start, Count), ModelRun(&Model, Start, Count, 1));
            break;
        }
        if (Round % 64 == 0)
            Compare(&Model);
    }
    Compare(&Model);
}

static void FindClearRuns_Longest_SortedLongestFirst(void **State)
{
    ULONG Words[4];
    RTL_BITMAP Map;
    RTL_BITMAP_RUN Runs[3];
    ULONG Index;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeBitMap(&Map, Words, 128);
    RtlSetAllBits(&Map);
    RtlClearBits(&Map, 1, 1);
    RtlClearBits(&Map, 10, 5);
    RtlClearBits(&Map, 30, 40);
    RtlClearBits(&Map, 100, 7);
    assert_int_equal(RtlFindClearRuns(&Map, Runs, 3, FALSE), 3);
    assert_int_equal(Runs[0].StartingIndex, 1);
    assert_int_equal(Runs[2].NumberOfBits, 40);
    assert_int_equal(RtlFindClearRuns(&Map, Runs, 3, TRUE), 3);
    assert_int_equal(Runs[0].StartingIndex, 30);
    assert_int_equal(Runs[1].StartingIndex, 100);
    assert_int_equal(Runs[2].StartingIndex, 10);
    assert_int_equal(RtlFindLongestRunClear(&Map, &Index), 40);
    assert_int_equal(Index, 30);
    assert_int_equal(RtlFindFirstRunClear(&Map, &Index), 1);
    assert_int_equal(Index, 1);
    RtlSetAllBits(&Map);
    assert_int_equal(RtlFindClearRuns(&Map, Runs, 3, TRUE), 0);
}

static void CopyAndExtract_MiddleOfAMap_RoundTrip(void **State)
{
    ULONG Small[2] = {0x12345678, 0x9ABCDEF0}, Large[8], Back[2] = {0};
    RTL_BITMAP From, To, Again;
    UNREFERENCED_PARAMETER(State);
    memset(Large, 0xFF, sizeof(Large));
    RtlInitializeBitMap(&From, Small, 64);
    RtlInitializeBitMap(&To, Large, 256);
    RtlInitializeBitMap(&Again, Back, 64);
    RtlCopyBitMap(&From, &To, 77);
    assert_true(RtlAreBitsSet(&To, 0, 77));
    assert_true(RtlAreBitsSet(&To, 77 + 64, 256 - 77 - 64));
    RtlExtractBitMap(&To, &Again, 77, 64);
    assert_memory_equal(Back, Small, sizeof(Small));
}

static void SignificantBits_EndsAndZero(void **State)
{
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(RtlFindMostSignificantBit(0), -1);
    assert_int_equal(RtlFindLeastSignificantBit(0), -1);
    assert_int_equal(RtlFindMostSignificantBit(0x8000000000000001ULL), 63);
    assert_int_equal(RtlFindLeastSignificantBit(0x8000000000000000ULL), 63);
    assert_int_equal(RtlFindLeastSignificantBit(0x10), 4);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Bitmap_RandomOperations_AgreeWithModel),
        cmocka_unit_test(FindClearRuns_Longest_SortedLongestFirst),
        cmocka_unit_test(CopyAndExtract_MiddleOfAMap_RoundTrip),
        cmocka_unit_test(SignificantBits_EndsAndZero),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
