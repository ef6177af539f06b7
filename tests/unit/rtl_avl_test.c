/*
 * rtl_avl_test.c - avl.c under random insertion and removal, validated throughout. SPDX-License-Identifier:
 * MIT
 */
#include "rtl_kit.h"
#include "rtl/rtlp.h"

#define KEYS 512
typedef struct _RECORD {
    ULONG Key, Value;
} RECORD;

static int Live;

static RTL_GENERIC_COMPARE_RESULTS Compare(struct _RTL_AVL_TABLE *Table, PVOID First, PVOID Second)
{
    ULONG A = ((RECORD *)First)->Key, B = ((RECORD *)Second)->Key;
    assert_ptr_equal(Table->TableContext, &Live);
    return A < B ? GenericLessThan : A > B ? GenericGreaterThan : GenericEqual;
}

static PVOID Allocate(struct _RTL_AVL_TABLE *Table, CLONG Bytes)
{
    (*(int *)Table->TableContext)++;
    return malloc(Bytes);
}

static VOID Free(struct _RTL_AVL_TABLE *Table, PVOID Buffer)
{
    (*(int *)Table->TableContext)--;
    free(Buffer);
}

static PVOID AllocateNothing(struct _RTL_AVL_TABLE *Table, CLONG Bytes)
{
    UNREFERENCED_PARAMETER(Table);
    UNREFERENCED_PARAMETER(Bytes);
    return NULL;
}

static void Table_RandomOperations_AgreeWithModel(void **State)
{
    RTL_AVL_TABLE Table;
    BOOLEAN Present[KEYS] = {0}, New;
    ULONG64 Seed = 3;
    ULONG Count = 0;
    UNREFERENCED_PARAMETER(State);
    Live = 0;
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG Round = 0; Round < 30000; Round++) {
        /* Alternately mostly growing and mostly shrinking. */
        ULONG Key = KitRandom(&Seed) % KEYS;
        BOOLEAN Insert = (BOOLEAN)(KitRandom(&Seed) % 10 < (Round / 3000 % 2 ? 2u : 8u));
        RECORD Record = {Key, Round}, *Found;
        if (Insert) {
            Found = RtlInsertElementGenericTableAvl(&Table, &Record, sizeof(Record), &New);
            assert_non_null(Found);
            assert_int_equal(Found->Key, Key);
            assert_int_equal(New, !Present[Key]);
            if (New)
                assert_int_equal(Found->Value, Round);
            Count += New;
            Present[Key] = TRUE;
        } else {
            assert_int_equal(RtlDeleteElementGenericTableAvl(&Table, &Record), Present[Key]);
            Count -= Present[Key];
            Present[Key] = FALSE;
        }
        Record.Key = KitRandom(&Seed) % KEYS;
        Found = RtlLookupElementGenericTableAvl(&Table, &Record);
        assert_int_equal(Found != NULL, Present[Record.Key]);
        assert_int_equal(RtlNumberGenericTableElementsAvl(&Table), Count);
        assert_int_equal(RtlIsGenericTableEmptyAvl(&Table), Count == 0);
        assert_int_equal(Live, Count);
        if (Round % 50 == 0) {
            const CHAR *Wrong = RtlpValidateAvlTable(&Table);
            if (Wrong != NULL)
                fail_msg("%s", Wrong);
        }
    }
    /* Every enumeration gives all keys in ascending order. */
    ULONG Seen = 0, Next = 0;
    PVOID Restart = NULL;
    for (RECORD *At = RtlEnumerateGenericTableAvl(&Table, TRUE); At != NULL;
         At = RtlEnumerateGenericTableAvl(&Table, FALSE), Seen++) {
        while (!Present[Next])
            Next++;
        assert_int_equal(At->Key, Next++);
    }
    assert_int_equal(Seen, Count);
    Next = Seen = 0;
    for (RECORD *At; (At = RtlEnumerateGenericTableWithoutSplayingAvl(&Table, &Restart)) != NULL; Seen++) {
        while (!Present[Next])
            Next++;
        assert_int_equal(At->Key, Next++);
    }
    assert_int_equal(Seen, Count);
    while (!RtlIsGenericTableEmptyAvl(&Table))
        assert_true(RtlDeleteElementGenericTableAvl(&Table, RtlGetElementGenericTableAvl(&Table, 0)));
    assert_int_equal(Live, 0);
    assert_null(RtlpValidateAvlTable(&Table));
}

static void Insert_NoMemory_NullAndUnchanged(void **State)
{
    RTL_AVL_TABLE Table;
    RECORD Record = {1, 1};
    BOOLEAN New = TRUE;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, Compare, AllocateNothing, Free, &Live);
    assert_null(RtlInsertElementGenericTableAvl(&Table, &Record, sizeof(Record), &New));
    assert_false(New);
    assert_true(RtlIsGenericTableEmptyAvl(&Table));
}

static void FullForms_SearchThenInsert_NoSecondSearch(void **State)
{
    RTL_AVL_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    Live = 0;
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG Key = 0; Key < 100; Key++) {
        RECORD Record = {Key * 37 % 101, Key};
        PVOID Where;
        TABLE_SEARCH_RESULT Result;
        BOOLEAN New;
        assert_null(RtlLookupElementGenericTableFullAvl(&Table, &Record, &Where, &Result));
        assert_int_equal(Result == TableEmptyTree, Key == 0);
        assert_non_null(RtlInsertElementGenericTableFullAvl(&Table, &Record, sizeof(Record), &New, Where, Result));
        assert_true(New);
        assert_non_null(RtlLookupElementGenericTableFullAvl(&Table, &Record, &Where, &Result));
        assert_int_equal(Result, TableFoundNode);
        assert_null(RtlpValidateAvlTable(&Table));
    }
    while (!RtlIsGenericTableEmptyAvl(&Table))
        RtlDeleteElementGenericTableAvl(&Table,
                                        RtlGetElementGenericTableAvl(&Table, RtlNumberGenericTableElementsAvl(&Table) - 1));
}

static void GetElement_ByIndex_InOrder(void **State)
{
    RTL_AVL_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 64; i++) {
        RECORD Record = {i * 29 % 64, 0};
        RtlInsertElementGenericTableAvl(&Table, &Record, sizeof(Record), NULL);
    }
    for (ULONG i = 0; i < 64; i++)
        assert_int_equal(((RECORD *)RtlGetElementGenericTableAvl(&Table, i))->Key, i);
    assert_int_equal(((RECORD *)RtlGetElementGenericTableAvl(&Table, 10))->Key, 10);
    assert_null(RtlGetElementGenericTableAvl(&Table, 64));
    assert_true(Table.DepthOfTree >= 7 && Table.DepthOfTree <= 9); /* 1.44 log2(66) */
    while (!RtlIsGenericTableEmptyAvl(&Table))
        RtlDeleteElementGenericTableAvl(&Table, RtlGetElementGenericTableAvl(&Table, 0));
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
    for (ULONG i = 0; i < 20; i++) {
        RECORD Record = {i, 0};
        RtlInsertElementGenericTableAvl(&Table, &Record, sizeof(Record), NULL);
    }
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
    while (!RtlIsGenericTableEmptyAvl(&Table))
        RtlDeleteElementGenericTableAvl(&Table, RtlGetElementGenericTableAvl(&Table, 0));
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
    for (ULONG i = 5; i < 60; i++) {
        RECORD Record = {i, 0};
        RtlInsertElementGenericTableAvl(&Table, &Record, sizeof(Record), NULL);
    }
    RECORD *Found = RtlLookupFirstMatchingElementGenericTableAvl(&Table, &Want, &Key);
    assert_non_null(Found);
    assert_int_equal(Found->Key, 30);
    assert_int_equal(((RECORD *)RtlEnumerateGenericTableWithoutSplayingAvl(&Table, &Key))->Key, 31);
    Want.Key = 90;
    assert_null(RtlLookupFirstMatchingElementGenericTableAvl(&Table, &Want, &Key));
    while (!RtlIsGenericTableEmptyAvl(&Table))
        RtlDeleteElementGenericTableAvl(&Table, RtlGetElementGenericTableAvl(&Table, 0));
}

static void Validator_BrokenTree_QuotesTheInvariant(void **State)
{
    RTL_AVL_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTableAvl(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 7; i++) {
        RECORD Record = {i, 0};
        RtlInsertElementGenericTableAvl(&Table, &Record, sizeof(Record), NULL);
    }
    assert_null(RtlpValidateAvlTable(&Table));
    Table.BalancedRoot.RightChild->Balance = 1;
    assert_memory_equal(RtlpValidateAvlTable(&Table), "(2)", 3);
    Table.BalancedRoot.RightChild->Balance = 0;
    Table.NumberGenericTableElements++;
    assert_memory_equal(RtlpValidateAvlTable(&Table), "(4)", 3);
    Table.NumberGenericTableElements--;
    ((RECORD *)RtlGetElementGenericTableAvl(&Table, 3))->Key = 60;
    assert_memory_equal(RtlpValidateAvlTable(&Table), "(3)", 3);
    ((RECORD *)RtlGetElementGenericTableAvl(&Table, 3))->Key = 3;
    while (!RtlIsGenericTableEmptyAvl(&Table))
        RtlDeleteElementGenericTableAvl(&Table, RtlGetElementGenericTableAvl(&Table, 0));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Table_RandomOperations_AgreeWithModel),
        cmocka_unit_test(Insert_NoMemory_NullAndUnchanged),
        cmocka_unit_test(FullForms_SearchThenInsert_NoSecondSearch),
        cmocka_unit_test(GetElement_ByIndex_InOrder),
        cmocka_unit_test(LikeADirectory_ElementRemovedMeanwhile_GoesOnAfterIt),
        cmocka_unit_test(LookupFirstMatching_RangeOfEquals_LowestOfThem),
        cmocka_unit_test(Validator_BrokenTree_QuotesTheInvariant),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
