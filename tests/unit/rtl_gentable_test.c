/*
 * rtl_gentable_test.c - gentable.c and splay.c under random insertion and removal, validated throughout.
 * SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"
#include "rtl/rtlp.h"

#define KEYS 512
typedef struct _RECORD {
    ULONG Key, Value;
} RECORD;

static int Live;

static RTL_GENERIC_COMPARE_RESULTS Compare(struct _RTL_GENERIC_TABLE *Table, PVOID First, PVOID Second)
{
    ULONG A = ((RECORD *)First)->Key, B = ((RECORD *)Second)->Key;
    assert_ptr_equal(Table->TableContext, &Live);
    return A < B ? GenericLessThan : A > B ? GenericGreaterThan : GenericEqual;
}

static PVOID Allocate(struct _RTL_GENERIC_TABLE *Table, CLONG Bytes)
{
    (*(int *)Table->TableContext)++;
    return malloc(Bytes);
}

static VOID Free(struct _RTL_GENERIC_TABLE *Table, PVOID Buffer)
{
    (*(int *)Table->TableContext)--;
    free(Buffer);
}

static PVOID AllocateNothing(struct _RTL_GENERIC_TABLE *Table, CLONG Bytes)
{
    UNREFERENCED_PARAMETER(Table);
    UNREFERENCED_PARAMETER(Bytes);
    return NULL;
}

static void Table_RandomOperations_AgreeWithModel(void **State)
{
    RTL_GENERIC_TABLE Table;
    BOOLEAN Present[KEYS] = {0}, New;
    ULONG64 Seed = 3;
    ULONG Count = 0;
    UNREFERENCED_PARAMETER(State);
    Live = 0;
    RtlInitializeGenericTable(&Table, Compare, Allocate, Free, &Live);
    for (ULONG Round = 0; Round < 30000; Round++) {
        /* Alternately mostly growing and mostly shrinking. */
        ULONG Key = KitRandom(&Seed) % KEYS;
        BOOLEAN Insert = (BOOLEAN)(KitRandom(&Seed) % 10 < (Round / 3000 % 2 ? 2u : 8u));
        RECORD Record = {Key, Round}, *Found;
        if (Insert) {
            Found = RtlInsertElementGenericTable(&Table, &Record, sizeof(Record), &New);
            assert_non_null(Found);
            assert_int_equal(Found->Key, Key);
            assert_int_equal(New, !Present[Key]);
            if (New)
                assert_int_equal(Found->Value, Round);
            Count += New;
            Present[Key] = TRUE;
        } else {
            assert_int_equal(RtlDeleteElementGenericTable(&Table, &Record), Present[Key]);
            Count -= Present[Key];
            Present[Key] = FALSE;
        }
        Record.Key = KitRandom(&Seed) % KEYS;
        Found = RtlLookupElementGenericTable(&Table, &Record);
        assert_int_equal(Found != NULL, Present[Record.Key]);
        assert_int_equal(RtlNumberGenericTableElements(&Table), Count);
        assert_int_equal(RtlIsGenericTableEmpty(&Table), Count == 0);
        assert_int_equal(Live, Count);
        if (Round % 50 == 0) {
            const CHAR *Wrong = RtlpValidateGenericTable(&Table);
            if (Wrong != NULL)
                fail_msg("%s", Wrong);
        }
    }
    /* Every enumeration gives all keys in ascending order. */
    ULONG Seen = 0, Next = 0;
    PVOID Restart = NULL;
    for (RECORD *At = RtlEnumerateGenericTable(&Table, TRUE); At != NULL;
         At = RtlEnumerateGenericTable(&Table, FALSE), Seen++) {
        while (!Present[Next])
            Next++;
        assert_int_equal(At->Key, Next++);
    }
    assert_int_equal(Seen, Count);
    Next = Seen = 0;
    for (RECORD *At; (At = RtlEnumerateGenericTableWithoutSplaying(&Table, &Restart)) != NULL; Seen++) {
        while (!Present[Next])
            Next++;
        assert_int_equal(At->Key, Next++);
    }
    assert_int_equal(Seen, Count);
    while (!RtlIsGenericTableEmpty(&Table))
        assert_true(RtlDeleteElementGenericTable(&Table, RtlGetElementGenericTable(&Table, 0)));
    assert_int_equal(Live, 0);
    assert_null(RtlpValidateGenericTable(&Table));
}

static void Insert_NoMemory_NullAndUnchanged(void **State)
{
    RTL_GENERIC_TABLE Table;
    RECORD Record = {1, 1};
    BOOLEAN New = TRUE;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTable(&Table, Compare, AllocateNothing, Free, &Live);
    assert_null(RtlInsertElementGenericTable(&Table, &Record, sizeof(Record), &New));
    assert_false(New);
    assert_true(RtlIsGenericTableEmpty(&Table));
}

static void FullForms_SearchThenInsert_NoSecondSearch(void **State)
{
    RTL_GENERIC_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    Live = 0;
    RtlInitializeGenericTable(&Table, Compare, Allocate, Free, &Live);
    for (ULONG Key = 0; Key < 100; Key++) {
        RECORD Record = {Key * 37 % 101, Key};
        PVOID Where;
        TABLE_SEARCH_RESULT Result;
        BOOLEAN New;
        assert_null(RtlLookupElementGenericTableFull(&Table, &Record, &Where, &Result));
        assert_int_equal(Result == TableEmptyTree, Key == 0);
        assert_non_null(RtlInsertElementGenericTableFull(&Table, &Record, sizeof(Record), &New, Where, Result));
        assert_true(New);
        assert_non_null(RtlLookupElementGenericTableFull(&Table, &Record, &Where, &Result));
        assert_int_equal(Result, TableFoundNode);
        assert_null(RtlpValidateGenericTable(&Table));
    }
    while (!RtlIsGenericTableEmpty(&Table))
        RtlDeleteElementGenericTable(&Table, RtlGetElementGenericTable(&Table, RtlNumberGenericTableElements(&Table) - 1));
}

static void GetElement_ByIndex_InOrderOfInsertion(void **State)
{
    RTL_GENERIC_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTable(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 50; i++) {
        RECORD Record = {i * 29 % 50, i};
        RtlInsertElementGenericTable(&Table, &Record, sizeof(Record), NULL);
    }
    for (ULONG i = 0; i < 50; i++)
        assert_int_equal(((RECORD *)RtlGetElementGenericTable(&Table, i))->Value, i);
    assert_int_equal(((RECORD *)RtlGetElementGenericTable(&Table, 7))->Value, 7);
    assert_null(RtlGetElementGenericTable(&Table, 50));
    while (!RtlIsGenericTableEmpty(&Table))
        RtlDeleteElementGenericTable(&Table, RtlGetElementGenericTable(&Table, 0));
}

static void Splay_AnyNode_BecomesRootAndOrderStays(void **State)
{
    RTL_SPLAY_LINKS Nodes[31], *Root = &Nodes[0];
    UNREFERENCED_PARAMETER(State);
    /* A chain to the right, the worst tree. */
    for (ULONG i = 0; i < 31; i++) {
        RtlInitializeSplayLinks(&Nodes[i]);
        if (i != 0)
            RtlInsertAsRightChild(&Nodes[i - 1], &Nodes[i]);
    }
    for (ULONG i = 0; i < 31; i++) {
        ULONG Which = i * 17 % 31;
        Root = RtlSplay(&Nodes[Which]);
        assert_ptr_equal(Root, &Nodes[Which]);
        assert_true(RtlIsRoot(Root));
        for (ULONG j = 0; j < 31; j++) {
            assert_ptr_equal(RtlRealSuccessor(&Nodes[j]), j == 30 ? NULL : &Nodes[j + 1]);
            assert_ptr_equal(RtlRealPredecessor(&Nodes[j]), j == 0 ? NULL : &Nodes[j - 1]);
        }
    }
    for (ULONG i = 0; i < 31; i++) {
        if (i % 2)
            RtlDeleteNoSplay(&Nodes[i], &Root);
        else
            Root = RtlDelete(&Nodes[i]);
        assert_true(i == 30 ? Root == NULL : RtlIsRoot(Root));
        for (ULONG j = i + 1; j < 30; j++)
            assert_ptr_equal(RtlRealSuccessor(&Nodes[j]), &Nodes[j + 1]);
    }
}

static void Validator_BrokenTree_QuotesTheInvariant(void **State)
{
    RTL_GENERIC_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTable(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 7; i++) {
        RECORD Record = {i, 0};
        RtlInsertElementGenericTable(&Table, &Record, sizeof(Record), NULL);
    }
    Table.NumberGenericTableElements++;
    assert_memory_equal(RtlpValidateGenericTable(&Table), "(3)", 3);
    Table.NumberGenericTableElements--;
    ((RECORD *)RtlGetElementGenericTable(&Table, 3))->Key = 60;
    assert_memory_equal(RtlpValidateGenericTable(&Table), "(4)", 3);
    ((RECORD *)RtlGetElementGenericTable(&Table, 3))->Key = 3;
    while (!RtlIsGenericTableEmpty(&Table))
        RtlDeleteElementGenericTable(&Table, RtlGetElementGenericTable(&Table, 0));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Table_RandomOperations_AgreeWithModel),     cmocka_unit_test(Insert_NoMemory_NullAndUnchanged),
        cmocka_unit_test(FullForms_SearchThenInsert_NoSecondSearch), cmocka_unit_test(GetElement_ByIndex_InOrderOfInsertion),
        cmocka_unit_test(Splay_AnyNode_BecomesRootAndOrderStays),    cmocka_unit_test(Validator_BrokenTree_QuotesTheInvariant),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
