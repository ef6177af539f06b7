/*
 * FsRtlAllocateExtraCreateParameter.c - what the pages of the extra create parameters say, a test a sentence. SPDX-License-Identifier: MIT
 */
#include <string.h>
#include <ntifs.h>
#include "mm_kit.h"
#include "ex/ex.h"
#include "tag_kit.h"

#define TAG 'pcEt'
static const GUID First = {1, 2, 3, {4, 5, 6, 7, 8, 9, 10, 11}}, Second = {1, 2, 3, {4, 5, 6, 7, 8, 9, 10, 12}};
static unsigned Cleaned;
static PVOID CleanedContext;
static GUID CleanedType;

static VOID Cleanup(PVOID EcpContext, LPCGUID EcpType)
{
    Cleaned++;
    CleanedContext = EcpContext;
    CleanedType = *EcpType;
}

static PVOID Make(const GUID *Type, ULONG Size, ULONG Flags)
{
    PVOID Context = NULL;
    assert_int_equal(FsRtlAllocateExtraCreateParameter(Type, Size, Flags, Cleanup, TAG, &Context), STATUS_SUCCESS);
    assert_non_null(Context);
    memset(Context, 0xC3, Size);
    return Context;
}

/* "The cleanup callback routine is called when the ECP structure ... is deleted"; "If this flag value is not used, paged pool". */
static void Allocate_EachPool_CleanedOnFree(void **State)
{
    ULONG Flags;
    (void)State;
    for (Flags = 0; Flags < 4; Flags++) {
        PVOID Context = Make(&First, 100, Flags);
        assert_int_equal((MmRegionOf(Context) == MmRegionPagedPool), !(Flags & FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL));
        assert_true(KitTagUse(TAG).Bytes >= 100);
        Cleaned = 0;
        FsRtlFreeExtraCreateParameter(Context);
        assert_int_equal(Cleaned, 1);
        assert_ptr_equal(CleanedContext, Context);
        assert_memory_equal(&CleanedType, &First, sizeof(GUID));
        assert_int_equal(KitTagUse(TAG).Bytes, 0);
    }
}

/* "If the routine failed to allocate sufficient pool, the value pointed to by EcpContext will be NULL and ... STATUS_INSUFFICIENT_RESOURCES". */
static void Allocate_NoMemory_NullAndStatus(void **State)
{
    PVOID Context = (PVOID)1;
    (void)State;
    assert_int_equal(FsRtlAllocateExtraCreateParameter(&First, 0xFFFFFFF0, 0, NULL, TAG, &Context),
                     STATUS_INSUFFICIENT_RESOURCES);
    assert_null(Context);
    Context = (PVOID)1;
    assert_int_equal(
        FsRtlAllocateExtraCreateParameter(&First, 0xFFFFFFF0, FSRTL_ALLOCATE_ECP_FLAG_CHARGE_QUOTA, NULL, TAG, &Context),
        STATUS_INSUFFICIENT_RESOURCES);
    assert_null(Context);
}

/* Insert: STATUS_INVALID_PARAMETER if one "already exists in the given ECP list ... equal GUID values". Find: "EcpContext is set to NULL", "
 * EcpContextSize is set to zero". Remove "does not free the memory". */
static void List_InsertFindRemove(void **State)
{
    PECP_LIST List = NULL;
    PVOID One = Make(&First, 10, 0), Other = Make(&First, 20, 0),
          Two = Make(&Second, 30, FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL), Found;
    ULONG Size;
    (void)State;
    assert_int_equal(FsRtlAllocateExtraCreateParameterList(0, &List), STATUS_SUCCESS);
    assert_int_equal(FsRtlInsertExtraCreateParameter(List, One), STATUS_SUCCESS);
    assert_int_equal(FsRtlInsertExtraCreateParameter(List, Other), STATUS_INVALID_PARAMETER);
    assert_int_equal(FsRtlFindExtraCreateParameter(List, &First, &Found, &Size), STATUS_SUCCESS);
    assert_ptr_equal(Found, One);
    assert_int_equal(Size, 10);
    assert_int_equal(FsRtlFindExtraCreateParameter(List, &First, NULL, NULL), STATUS_SUCCESS);
    assert_int_equal(FsRtlFindExtraCreateParameter(List, &Second, &Found, &Size), STATUS_NOT_FOUND);
    assert_null(Found);
    assert_int_equal(Size, 0);
    assert_int_equal(FsRtlRemoveExtraCreateParameter(List, &Second, &Found, NULL), STATUS_NOT_FOUND);
    assert_null(Found);
    assert_int_equal(FsRtlInsertExtraCreateParameter(List, Two), STATUS_SUCCESS);
    Cleaned = 0;
    assert_int_equal(FsRtlRemoveExtraCreateParameter(List, &First, &Found, &Size), STATUS_SUCCESS);
    assert_ptr_equal(Found, One);
    assert_int_equal(Size, 10);
    assert_int_equal(Cleaned, 0);
    assert_int_equal(((PUCHAR)One)[9], 0xC3);
    assert_int_equal(FsRtlInsertExtraCreateParameter(List, Other), STATUS_SUCCESS);
    FsRtlFreeExtraCreateParameter(One);
    assert_int_equal(Cleaned, 1);
    FsRtlFreeExtraCreateParameterList(List); /* "including any list elements, if they exist" */
    assert_int_equal(Cleaned, 3);
    assert_int_equal(KitTagUse(TAG).Bytes, 0);
}

/* "If CurrentEcpContext is NULL, [it] returns the first"; STATUS_NOT_FOUND: "empty or CurrentEcpContext is the last ... NextEcpContext is set to
 * NULL and NextEcpContextSize is set to zero"; STATUS_INVALID_PARAMETER: "The EcpList parameter is NULL". */
static void List_Next_NotCircular(void **State)
{
    PECP_LIST List = NULL;
    PVOID One = Make(&First, 10, 0), Two = Make(&Second, 30, 0), Next = One;
    GUID Type;
    ULONG Size;
    (void)State;
    assert_int_equal(FsRtlGetNextExtraCreateParameter(NULL, NULL, NULL, &Next, NULL), STATUS_INVALID_PARAMETER);
    assert_int_equal(FsRtlAllocateExtraCreateParameterList(FSRTL_ALLOCATE_ECPLIST_FLAG_CHARGE_QUOTA, &List), STATUS_SUCCESS);
    assert_int_equal(FsRtlGetNextExtraCreateParameter(List, NULL, &Type, &Next, &Size), STATUS_NOT_FOUND);
    assert_null(Next);
    assert_int_equal(Size, 0);
    assert_int_equal(FsRtlInsertExtraCreateParameter(List, One), STATUS_SUCCESS);
    assert_int_equal(FsRtlInsertExtraCreateParameter(List, Two), STATUS_SUCCESS);
    assert_int_equal(FsRtlGetNextExtraCreateParameter(List, NULL, &Type, &Next, &Size), STATUS_SUCCESS);
    assert_true((Next == One && Size == 10) || (Next == Two && Size == 30));
    assert_memory_equal(&Type, Next == One ? &First : &Second, sizeof(GUID));
    assert_int_equal(FsRtlGetNextExtraCreateParameter(List, Next, NULL, &Next, NULL), STATUS_SUCCESS);
    assert_int_equal(FsRtlGetNextExtraCreateParameter(List, Next, NULL, &Next, &Size), STATUS_NOT_FOUND);
    assert_null(Next);
    assert_int_equal(Size, 0);
    FsRtlFreeExtraCreateParameterList(List);
}

/* "marks an ECP as acknowledged"; PrepareToReuse: "clear the acknowledged state". A context that a driver made is the kernel's. */
static void Acknowledged_UntilReused(void **State)
{
    PVOID Context = Make(&First, 8, 0);
    (void)State;
    assert_false(FsRtlIsEcpAcknowledged(Context));
    FsRtlAcknowledgeEcp(Context);
    assert_true(FsRtlIsEcpAcknowledged(Context));
    FsRtlPrepareToReuseEcp(Context);
    assert_false(FsRtlIsEcpAcknowledged(Context));
    assert_false(FsRtlIsEcpFromUserMode(Context));
    FsRtlFreeExtraCreateParameter(Context);
}

/* FsRtlInitExtraCreateParameterLookasideList: "return an ECP buffer to the lookaside list for recycling"; "If the value of SizeOfContext is larger
 * than the size ... of the lookaside list ... allocates the ECP context structure from system pool". */
static void Lookaside_EachKind_Recycles(void **State)
{
    static NPAGED_LOOKASIDE_LIST NonPaged;
    static PAGED_LOOKASIDE_LIST Paged;
    unsigned Kind;
    (void)State;
    for (Kind = 0; Kind < 2; Kind++) {
        ULONG Flags = Kind ? FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL : 0;
        PVOID List = Kind ? (PVOID)&NonPaged : (PVOID)&Paged, One = NULL, Again = NULL, Large = NULL;
        FsRtlInitExtraCreateParameterLookasideList(List, Flags, 100, TAG);
        assert_int_equal(KitTagUse(TAG).Bytes, 0);
        assert_int_equal(FsRtlAllocateExtraCreateParameterFromLookasideList(&First, 100, 0, Cleanup, List, &One),
                         STATUS_SUCCESS);
        assert_int_equal((MmRegionOf(One) == MmRegionPagedPool), !Kind);
        memset(One, 1, 100);
        FsRtlAcknowledgeEcp(One);
        Cleaned = 0;
        FsRtlFreeExtraCreateParameter(One);
        assert_int_equal(Cleaned, 1);
        assert_true(KitTagUse(TAG).Bytes >= 100); /* the list has it */
        assert_int_equal(FsRtlAllocateExtraCreateParameterFromLookasideList(&Second, 50, 0, NULL, List, &Again),
                         STATUS_SUCCESS);
        assert_ptr_equal(Again, One);
        assert_false(FsRtlIsEcpAcknowledged(Again));
        assert_int_equal(FsRtlAllocateExtraCreateParameterFromLookasideList(&First, 101, FSRTL_ALLOCATE_ECP_FLAG_CHARGE_QUOTA,
                                                                            NULL, List, &Large),
                         STATUS_SUCCESS);
        assert_ptr_not_equal(Large, One);
        FsRtlFreeExtraCreateParameter(Large);
        FsRtlFreeExtraCreateParameter(Again);
        assert_int_equal(Cleaned, 1);
        FsRtlDeleteExtraCreateParameterLookasideList(List, Flags);
        assert_int_equal(KitTagUse(TAG).Bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Allocate_EachPool_CleanedOnFree), cmocka_unit_test(Allocate_NoMemory_NullAndStatus),
        cmocka_unit_test(List_InsertFindRemove),           cmocka_unit_test(List_Next_NotCircular),
        cmocka_unit_test(Acknowledged_UntilReused),        cmocka_unit_test(Lookaside_EachKind_Recycles),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
