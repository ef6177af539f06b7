/*
 * rtl_memory_test.c - memory.c, lists and interlocked operations. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

static void CompareMemory_EveryDifference_Found(void **State)
{
    UCHAR A[40], B[40];
    UNREFERENCED_PARAMETER(State);
    memset(A, 7, sizeof(A));
    for (ULONG Length = 0; Length <= 40; Length++)
        for (ULONG At = 0; At <= Length; At++) {
            memcpy(B, A, sizeof(B));
            if (At < 40)
                B[At] ^= 0x80;
            assert_int_equal(RtlCompareMemory(A, B, Length), At < Length ? At : Length);
            assert_int_equal(RtlConstantTimeEqualMemory(A, B, Length), At >= Length);
        }
}

static void DeviceAndVolatile_EveryAlignment_ExactBytes(void **State)
{
    UNREFERENCED_PARAMETER(State);
    for (ULONG From = 0; From < 9; From++)
        for (ULONG To = 0; To < 9; To++)
            for (ULONG Length = 0; Length < 24; Length++) {
                UCHAR DECLSPEC_ALIGN(16) A[48], DECLSPEC_ALIGN(16) B[48], C[48];
                for (ULONG i = 0; i < 48; i++)
                    A[i] = (UCHAR)i;
                memset(B, 0xEE, sizeof(B));
                memset(C, 0xEE, sizeof(C));
                memcpy(C + To, A + From, Length);
                assert_ptr_equal(RtlCopyDeviceMemory(B + To, A + From, Length), B + To);
                assert_memory_equal(B, C, sizeof(B));
                RtlFillDeviceMemory(B + To, Length, 0x5A);
                memset(C + To, 0x5A, Length);
                assert_memory_equal(B, C, sizeof(B));
                RtlZeroVolatileMemory(B + To, Length);
                memset(C + To, 0, Length);
                assert_memory_equal(B, C, sizeof(B));
                RtlMoveVolatileMemory(A + To, A + From, Length);
                for (ULONG i = 0; i < Length; i++)
                    assert_int_equal(A[To + i], From + i);
            }
}

static void UlongForms_TailsAndAlignment(void **State)
{
    ULONG Words[5];
    UNREFERENCED_PARAMETER(State);
    memset(Words, 0, sizeof(Words));
    RtlFillMemoryUlong(Words, 18, 0xDEADBEEF); /* four whole words */
    assert_int_equal(Words[3], 0xDEADBEEF);
    assert_int_equal(Words[4], 0);
    assert_int_equal(RtlCompareMemoryUlong(Words, sizeof(Words), 0xDEADBEEF), 16);
    assert_int_equal(RtlCompareMemoryUlong((PUCHAR)Words + 1, 8, 0xDEADBEEF), 0);
    assert_int_equal(RtlCompareMemoryUlong(Words, 7, 0xDEADBEEF), 4);
    assert_true(RtlIsZeroMemory(Words + 4, 4));
    assert_false(RtlIsZeroMemory(Words, sizeof(Words)));
}

static void NonVolatile_ArgumentsAndEffect(void **State)
{
    UCHAR Buffer[200] = {0}, Source[100];
    PVOID Token;
    NV_MEMORY_RANGE Range = {Buffer, sizeof(Buffer)};
    UNREFERENCED_PARAMETER(State);
    memset(Source, 9, sizeof(Source));
    assert_int_equal(RtlGetNonVolatileToken(Buffer, 0, &Token), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlGetNonVolatileToken(Buffer, sizeof(Buffer), &Token), STATUS_SUCCESS);
    assert_int_equal(RtlWriteNonVolatileMemory(Token, Buffer + 3, Source, 100, WRITE_NV_MEMORY_FLAG_PERSIST), STATUS_SUCCESS);
    assert_memory_equal(Buffer + 3, Source, 100);
    assert_int_equal(RtlWriteNonVolatileMemory(Token, Buffer, Source, 1, 0x80), STATUS_INVALID_PARAMETER);
    assert_int_equal(RtlFillNonVolatileMemory(Token, Buffer, 10, 4, FILL_NV_MEMORY_FLAG_FLUSH), STATUS_SUCCESS);
    assert_int_equal(Buffer[9], 4);
    assert_int_equal(RtlFlushNonVolatileMemory(Token, Buffer, sizeof(Buffer), 0), STATUS_SUCCESS);
    assert_int_equal(RtlFlushNonVolatileMemoryRanges(Token, &Range, 1, FLUSH_NV_MEMORY_IN_FLAG_NO_DRAIN), STATUS_SUCCESS);
    assert_int_equal(RtlDrainNonVolatileFlush(Token), STATUS_SUCCESS);
    assert_int_equal(RtlFreeNonVolatileToken(Token), STATUS_SUCCESS);
}

static void Interlocked_ReturnValues(void **State)
{
    LONG Value = 5;
    LONG64 Big = 5;
    SHORT Small = 5;
    DECLSPEC_ALIGN(16) LONG64 Pair[2] = {1, 2}, Old[2] = {1, 2};
    PVOID Pointer = &Value;
    UNREFERENCED_PARAMETER(State);
    assert_int_equal(InterlockedIncrement(&Value), 6);
    assert_int_equal(InterlockedDecrementAcquire(&Value), 5);
    assert_int_equal(InterlockedExchangeAdd(&Value, 10), 5);
    assert_int_equal(InterlockedAdd(&Value, 5), 20);
    assert_int_equal(InterlockedExchange(&Value, 12), 20);
    assert_int_equal(InterlockedCompareExchange(&Value, 1, 0), 12);
    assert_int_equal(InterlockedCompareExchangeNoFence(&Value, 1, 12), 12);
    assert_int_equal(InterlockedOr(&Value, 6), 1);
    assert_int_equal(InterlockedAnd(&Value, 3), 7);
    assert_int_equal(InterlockedXor(&Value, 1), 3);
    assert_int_equal(Value, 2);
    assert_int_equal(InterlockedIncrement64(&Big), 6);
    assert_int_equal(InterlockedCompareExchange64(&Big, 1LL << 40, 6), 6);
    assert_int_equal(InterlockedExchangeAdd64(&Big, 1), 1LL << 40);
    assert_int_equal(InterlockedIncrement16(&Small), 6);
    assert_ptr_equal(InterlockedExchangePointer(&Pointer, NULL), &Value);
    assert_ptr_equal(InterlockedCompareExchangePointer(&Pointer, &Big, NULL), NULL);
    assert_ptr_equal(Pointer, &Big);
    assert_int_equal(InterlockedCompareExchange128(Pair, 4, 3, Old), 1);
    assert_true(Pair[0] == 3 && Pair[1] == 4);
    assert_int_equal(InterlockedCompareExchange128(Pair, 8, 7, Old), 0);
    assert_true(Old[0] == 3 && Old[1] == 4 && Pair[0] == 3);
    assert_int_equal(InterlockedBitTestAndSet(&Value, 5), 0);
    assert_int_equal(InterlockedBitTestAndReset(&Value, 5), 1);
}

static void Intrinsics_Values(void **State)
{
    ULONG Index = 99;
    ULONG64 High;
    UNREFERENCED_PARAMETER(State);
    assert_false(_BitScanForward64(&Index, 0));
    assert_true(_BitScanForward64(&Index, 0x8000000000000100ULL));
    assert_int_equal(Index, 8);
    assert_true(_BitScanReverse64(&Index, 0x8000000000000100ULL));
    assert_int_equal(Index, 63);
    assert_true(_BitScanReverse(&Index, 0x100));
    assert_int_equal(Index, 8);
    assert_int_equal(RtlUlongByteSwap(0x12345678), 0x78563412);
    assert_int_equal(RtlUshortByteSwap(0x1234), 0x3412);
    assert_int_equal(RtlUlonglongByteSwap(0x123456789ABCDEF0ULL), 0xF0DEBC9A78563412ULL);
    assert_int_equal(_umul128(1ULL << 63, 6, &High), 0);
    assert_int_equal(High, 3);
    assert_int_equal(_rotl(0x80000001, 1), 3);
}

static void Lists_InsertRemoveAppend_Order(void **State)
{
    LIST_ENTRY Head, Other, E[6];
    SINGLE_LIST_ENTRY Stack = {NULL}, S[2];
    UNREFERENCED_PARAMETER(State);
    InitializeListHead(&Head);
    InitializeListHead(&Other);
    assert_true(IsListEmpty(&Head));
    InsertTailList(&Head, &E[1]);
    InsertTailList(&Head, &E[2]);
    InsertHeadList(&Head, &E[0]);
    InsertTailList(&Other, &E[3]);
    InsertTailList(&Other, &E[4]);
    RemoveEntryList(&Other); /* now a run without a head */
    AppendTailList(&Head, &E[3]);
    for (ULONG i = 0; i < 4; i++)
        assert_ptr_equal(i == 0 ? Head.Flink : E[i - 1].Flink, &E[i]);
    assert_ptr_equal(RemoveHeadList(&Head), &E[0]);
    assert_ptr_equal(RemoveTailList(&Head), &E[4]);
    assert_false(RemoveEntryList(&E[2]));
    assert_false(RemoveEntryList(&E[1]));
    assert_true(RemoveEntryList(&E[3]));
    assert_ptr_equal(RemoveHeadList(&Head), &Head); /* the empty list gives its head */
    PushEntryList(&Stack, &S[0]);
    PushEntryList(&Stack, &S[1]);
    assert_ptr_equal(PopEntryList(&Stack), &S[1]);
    assert_ptr_equal(PopEntryList(&Stack), &S[0]);
    assert_null(PopEntryList(&Stack));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(CompareMemory_EveryDifference_Found),
        cmocka_unit_test(DeviceAndVolatile_EveryAlignment_ExactBytes),
        cmocka_unit_test(UlongForms_TailsAndAlignment),
        cmocka_unit_test(NonVolatile_ArgumentsAndEffect),
        cmocka_unit_test(Interlocked_ReturnValues),
        cmocka_unit_test(Intrinsics_Values),
        cmocka_unit_test(Lists_InsertRemoveAppend_Order),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
