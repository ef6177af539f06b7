/*
 * rtl_gentable_test.c - gentable.c and splay.c under random insertion and removal, validated throughout.
 * SPDX-License-Identifier: MIT
 */
#include "table_kit.h"

static void GetElement_ByIndex_InOrderOfInsertion(void **State)
{
    RTL_GENERIC_TABLE Table;
    UNREFERENCED_PARAMETER(State);
    RtlInitializeGenericTable(&Table, Compare, Allocate, Free, &Live);
    for (ULONG i = 0; i < 50; i++)
        Add(&Table, i * 29 % 50, i);
    for (ULONG i = 0; i < 50; i++)
        assert_int_equal(((RECORD *)RtlGetElementGenericTable(&Table, i))->Value, i);
    assert_int_equal(((RECORD *)RtlGetElementGenericTable(&Table, 7))->Value, 7);
    assert_null(RtlGetElementGenericTable(&Table, 50));
    Empty(&Table);
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
    for (ULONG i = 0; i < 7; i++)
        Add(&Table, i, 0);
    Table.NumberGenericTableElements++;
    assert_memory_equal(Validate(&Table), "(3)", 3);
    Table.NumberGenericTableElements--;
    ((RECORD *)RtlGetElementGenericTable(&Table, 3))->Key = 60;
    assert_memory_equal(Validate(&Table), "(4)", 3);
    ((RECORD *)RtlGetElementGenericTable(&Table, 3))->Key = 3;
    Empty(&Table);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        COMMON_TESTS,
        cmocka_unit_test(GetElement_ByIndex_InOrderOfInsertion),
        cmocka_unit_test(Splay_AnyNode_BecomesRootAndOrderStays),
        cmocka_unit_test(Validator_BrokenTree_QuotesTheInvariant),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
