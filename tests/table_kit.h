/*
 * table_kit.h - what generic tables promise whatever they are made of: the common tests of splay trees and, where RTL_USE_AVL_TABLES is
 * defined first, of AVL trees. SPDX-License-Identifier: MIT
 */
#pragma once
#include "rtl_kit.h"
#include "rtl/rtlp.h"

#ifdef RTL_USE_AVL_TABLES
#define Validate RtlpValidateAvlTable
#else
#define Validate RtlpValidateGenericTable
#endif

#define KEYS 512
typedef struct _RECORD {
    ULONG Key, Value;
} RECORD;

static int Live;

static RTL_GENERIC_COMPARE_RESULTS Compare(PRTL_GENERIC_TABLE Table, PVOID First, PVOID Second)
{
    ULONG A = ((RECORD *)First)->Key, B = ((RECORD *)Second)->Key;
    assert_ptr_equal(Table->TableContext, &Live);
    return A < B ? GenericLessThan : A > B ? GenericGreaterThan : GenericEqual;
}

static PVOID Allocate(PRTL_GENERIC_TABLE Table, CLONG Bytes)
{
    (*(int *)Table->TableContext)++;
    return malloc(Bytes);
}

static VOID Free(PRTL_GENERIC_TABLE Table, PVOID Buffer)
{
    (*(int *)Table->TableContext)--;
    free(Buffer);
}

static PVOID AllocateNothing(PRTL_GENERIC_TABLE Table, CLONG Bytes)
{
    UNREFERENCED_PARAMETER(Table);
    UNREFERENCED_PARAMETER(Bytes);
    return NULL;
}

static void Add(PRTL_GENERIC_TABLE Table, ULONG Key, ULONG Value)
{
    RECORD Record = {Key, Value};
    assert_non_null(RtlInsertElementGenericTable(Table, &Record, sizeof(Record), NULL));
}
static void Empty(PRTL_GENERIC_TABLE Table)
{
    while (!RtlIsGenericTableEmpty(Table))
        assert_true(RtlDeleteElementGenericTable(Table, RtlGetElementGenericTable(Table, 0)));
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
            const CHAR *Wrong = Validate(&Table);
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
    Empty(&Table);
    assert_int_equal(Live, 0);
    assert_null(Validate(&Table));
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
        assert_null(Validate(&Table));
    }
    while (!RtlIsGenericTableEmpty(&Table))
        RtlDeleteElementGenericTable(&Table, RtlGetElementGenericTable(&Table, RtlNumberGenericTableElements(&Table) - 1));
}

#define COMMON_TESTS                                                                                                           \
    cmocka_unit_test(Table_RandomOperations_AgreeWithModel), cmocka_unit_test(Insert_NoMemory_NullAndUnchanged),               \
        cmocka_unit_test(FullForms_SearchThenInsert_NoSecondSearch)
