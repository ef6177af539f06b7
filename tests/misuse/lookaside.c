/*
 * lookaside.c - lookaside lists initialised twice, deleted without, with entries too small, left behind: the exact five numbers,
 * with Driver Verifier's miscellaneous checks; and what comes close and is right. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <ntifs.h>
#include "ex/ex.h"

#define TAG 'kooL'

static NPAGED_LOOKASIDE_LIST NPaged;
static PAGED_LOOKASIDE_LIST Paged;
static LOOKASIDE_LIST_EX Ex;

static void InitNPaged(void *Size)
{
    ExInitializeNPagedLookasideList(&NPaged, NULL, NULL, 0, (SIZE_T)Size, TAG, 0);
}

static void InitPaged(void *Size)
{
    ExInitializePagedLookasideList(&Paged, NULL, NULL, 0, (SIZE_T)Size, TAG, 0);
}

static void InitEx(void *Size)
{
    (void)ExInitializeLookasideListEx(&Ex, NULL, NULL, NonPagedPoolNx, 0, (SIZE_T)Size, TAG, 0);
}

static void DeleteNPaged(void *Unused)
{
    (void)Unused;
    ExDeleteNPagedLookasideList(&NPaged);
}

static void DeletePaged(void *Unused)
{
    (void)Unused;
    ExDeletePagedLookasideList(&Paged);
}

static void DeleteEx(void *Unused)
{
    (void)Unused;
    ExDeleteLookasideListEx(&Ex);
}

static const struct {
    void (*Init)(void *), (*Delete)(void *);
    void *List;
} Kinds[] = {{InitNPaged, DeleteNPaged, &NPaged}, {InitPaged, DeletePaged, &Paged}, {InitEx, DeleteEx, &Ex}};

static void Init_Twice_C4_CA(void **State)
{
    unsigned Kind;
    (void)State;
    for (Kind = 0; Kind < 3; Kind++) {
        Kinds[Kind].Init((void *)64);
        ExpectStop(Kinds[Kind].Init, (void *)64, 0xC4, 0xCA, (uint64_t)Kinds[Kind].List, 0, 0);
        Kinds[Kind].Delete(NULL);
        Kinds[Kind].Init((void *)64); /* right: it was deleted in between */
        Kinds[Kind].Delete(NULL);
    }
}

static void Delete_NotInitialised_C4_CB(void **State)
{
    unsigned Kind;
    (void)State;
    for (Kind = 0; Kind < 3; Kind++) {
        ExpectStop(Kinds[Kind].Delete, NULL, 0xC4, 0xCB, (uint64_t)Kinds[Kind].List, 0, 0);
        Kinds[Kind].Init((void *)64);
        Kinds[Kind].Delete(NULL);
        ExpectStop(Kinds[Kind].Delete, NULL, 0xC4, 0xCB, (uint64_t)Kinds[Kind].List, 0, 0);
    }
}

static void Init_TooSmall_C4_CD(void **State)
{
    unsigned Kind;
    (void)State;
    for (Kind = 0; Kind < 3; Kind++) {
        ExpectStop(Kinds[Kind].Init, (void *)7, 0xC4, 0xCD, (uint64_t)Kinds[Kind].List, 7, 8);
        Kinds[Kind].Init((void *)8);
        Kinds[Kind].Delete(NULL);
    }
}

static void Adjust(void *Unused)
{
    (void)Unused;
    ExAdjustLookasideDepth();
}

/* The memory of a list that was not deleted is gone when its depth is adjusted. */
static void Adjust_HeadGone_0A(void **State)
{
    PNPAGED_LOOKASIDE_LIST List = MmAllocatePages(MmRegionSystemPtes, 1, 0, HighPoolPriority);
    ntmm_bugcheck Stop;
    (void)State;
    assert_non_null(List);
    ExInitializeNPagedLookasideList(List, NULL, NULL, 0, 64, TAG, 0);
    MmFreePages(List, 1);
    assert_true(ntmm_catch(Adjust, NULL, &Stop));
    assert_int_equal(Stop.code, 0x0A);
    assert_int_equal(Stop.parameters[0], (uint64_t)List);
    ExAdjustLookasideDepth(); /* it is forgotten */
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 32 << 20;
    Options.verifier = 0x800;
    ExpLookasidePeriod = 1000000;
    return ntmm_start(&Options);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Init_Twice_C4_CA),
        cmocka_unit_test(Delete_NotInitialised_C4_CB),
        cmocka_unit_test(Init_TooSmall_C4_CD),
        cmocka_unit_test(Adjust_HeadGone_0A),
    };
    return cmocka_run_group_tests(Tests, Start, StopSystem);
}
