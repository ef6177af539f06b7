/*
 * rtl_avl_test.c - avl.c under random insertion and removal, validated throughout; its order, searches and directories.
 * SPDX-License-Identifier: MIT
 */
#define RTL_USE_AVL_TABLES
#include "table_kit.h"

static void GetElement_ByIndex_InOrder(void **State)
{
    RTL_AVL_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 64; i++)
        Add(&Table, i * 29 % 64, 0);
    for (ULONG i = 0; i < 64; i++)
        assert_int_equal(((RECORD *)RtlGetElementGenericTableAvl(&Table, i))->Key, i);
    assert_int_equal(((RECORD *)RtlGetElementGenericTableAvl(&Table, 10))->Key, 10);
    assert_null(RtlGetElementGenericTableAvl(&Table, 64));
    assert_true(Table.DepthOfTree >= 7 && Table.DepthOfTree <= 9); /* 1.44 log2(66) */
    Empty(&Table);
}

static NTSTATUS MatchEven(struct _RTL_AVL_TABLE *Table, PVOID UserData, PVOID MatchData)
{
    UNREFERENCED_PARAMETER(Table);
    if (((RECORD *)UserData)->Key > *(ULONG *)MatchData)
        return STATUS_NO_MORE_MATCHES;
    return ((RECORD *)UserData)->Key % 2 ? STATUS_NO_MATCH : STATUS_SUCCESS;
}

static void LikeADirectory_ElementRemovedMeanwhile_GoesOnAfterIt(void **State)
{
    RTL_AVL_TABLE Table;
    RECORD Name = {0, 0}, *At;
    ULONG Limit = 12, DeleteCount = 0, Next = 0;
    PVOID Key = NULL;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 20; i++)
        Add(&Table, i, 0);
    for (ULONG First = 1;
         (At = RtlEnumerateGenericTableLikeADirectory(&Table, MatchEven, &Limit, !First, &Key, &DeleteCount, &Name)) != NULL;
         First = 0) {
        assert_int_equal(At->Key, Next);
        Name = *At;
        Next += 2;
        RtlDeleteElementGenericTableAvl(&Table, &Name); /* the key is stale from here on */
    }
    assert_int_equal(Next, 14);
    assert_int_equal(RtlNumberGenericTableElementsAvl(&Table), 13);
    Empty(&Table);
}

static RTL_GENERIC_COMPARE_RESULTS CompareTens(struct _RTL_AVL_TABLE *Table, PVOID First, PVOID Second)
{
    UNREFERENCED_PARAMETER(Table);
    ULONG A = ((RECORD *)First)->Key, B = ((RECORD *)Second)->Key;
    if (((RECORD *)First)->Value == 77) /* a search by tens */
        B = B / 10 * 10;
    return A < B ? GenericLessThan : A > B ? GenericGreaterThan : GenericEqual;
}

static void LookupFirstMatching_RangeOfEquals_LowestOfThem(void **State)
{
    RTL_AVL_TABLE Table;
    RECORD Want = {30, 77};
    PVOID Key;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, CompareTens, Allocate, Free, &Live);
    for (ULONG i = 5; i < 60; i++)
        Add(&Table, i, 0);
    RECORD *Found = RtlLookupFirstMatchingElementGenericTableAvl(&Table, &Want, &Key);
    assert_non_null(Found);
    assert_int_equal(Found->Key, 30);
    assert_int_equal(((RECORD *)RtlEnumerateGenericTableWithoutSplayingAvl(&Table, &Key))->Key, 31);
    Want.Key = 90;
    assert_null(RtlLookupFirstMatchingElementGenericTableAvl(&Table, &Want, &Key));
    Empty(&Table);
}

static void Validator_BrokenTree_QuotesTheInvariant(void **State)
{
    RTL_AVL_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 7; i++)
        Add(&Table, i, 0);
    assert_null(Validate(&Table));
    Table.BalancedRoot.RightChild->Balance = 1;
    assert_memory_equal(Validate(&Table), "(2)", 3);
    Table.BalancedRoot.RightChild->Balance = 0;
    Table.NumberGenericTableElements++;
    assert_memory_equal(Validate(&Table), "(4)", 3);
    Table.NumberGenericTableElements--;
    ((RECORD *)RtlGetElementGenericTableAvl(&Table, 3))->Key = 60;
    assert_memory_equal(Validate(&Table), "(3)", 3);
    ((RECORD *)RtlGetElementGenericTableAvl(&Table, 3))->Key = 3;
    Empty(&Table);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        COMMON_TESTS,
        cmocka_unit_test(GetElement_ByIndex_InOrder),
        cmocka_unit_test(LikeADirectory_ElementRemovedMeanwhile_GoesOnAfterIt),
        cmocka_unit_test(LookupFirstMatching_RangeOfEquals_LowestOfThem),
        cmocka_unit_test(Validator_BrokenTree_QuotesTheInvariant),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
