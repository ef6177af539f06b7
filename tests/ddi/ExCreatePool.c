/*
 * ExCreatePool.c - what the pages of ExCreatePool, ExDestroyPool, ExAllocatePool3 and ExFreePool2 with a secure pool,
 * ExSecurePoolUpdate and ExSecurePoolValidate say, a test a sentence; and the stops of their misuse. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <ntifs.h>
#include "ex/ex.h"
#include "tag_kit.h"

#define TAG    'ceSt'
#define COOKIE 0x1234567890ull

static HANDLE Pool;
static UCHAR Contents[3 * PAGE_SIZE];

static POOL_EXTENDED_PARAMETER Parameter(POOL_EXTENDED_PARAMS_SECURE_POOL *Secure)
{
    POOL_EXTENDED_PARAMETER One;
    memset(&One, 0, sizeof One);
    One.Type = PoolExtendedParameterSecurePool;
    One.SecurePoolParams = Secure;
    return One;
}

static PVOID Allocate(HANDLE Handle, SIZE_T Size, PVOID Buffer, ULONG Flags)
{
    POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {Handle, Buffer, COOKIE, Flags};
    POOL_EXTENDED_PARAMETER One = Parameter(&Secure);
    return ExAllocatePool3(POOL_FLAG_NON_PAGED, Size, TAG, &One, 1);
}

static void FreeBlock(HANDLE Handle, PVOID Block)
{
    POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {Handle, NULL, COOKIE, 0};
    POOL_EXTENDED_PARAMETER One = Parameter(&Secure);
    ExFreePool2(Block, TAG, &One, 1);
}

/* "Exactly one pool type flag must be specified"; STATUS_INVALID_PARAMETER_1: "pool type specification in Flags was invalid". */
static void Create_BadType_Parameter1(void **State)
{
    HANDLE Handle = (HANDLE)1;
    (void)State;
    assert_int_equal(ExCreatePool(0, TAG, NULL, &Handle), STATUS_INVALID_PARAMETER_1);
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_USE_GLOBAL_POOL, TAG, NULL, &Handle), STATUS_INVALID_PARAMETER_1);
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL | 0x40, TAG, NULL, &Handle), STATUS_INVALID_PARAMETER_1);
    assert_ptr_equal(Handle, 1);
}

/* POOL_CREATE_EXTENDED_PARAMS: "Any other value [of Version] causes ExCreatePool to fail with STATUS_INVALID_PARAMETER". */
static void Create_BadVersion_Parameter(void **State)
{
    POOL_CREATE_EXTENDED_PARAMS Params = {2, 0, NULL};
    HANDLE Handle;
    (void)State;
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, &Params, &Handle), STATUS_INVALID_PARAMETER);
}

/* "Secure pools must not specify a name parameter"; "Parameters must be NULL when ParameterCount is 0". */
static void Create_Parameters_Parameter3(void **State)
{
    POOL_CREATE_EXTENDED_PARAMETER Name = {PoolCreateExtendedParameterName, {RTL_CONSTANT_STRING(L"Pool")}};
    POOL_CREATE_EXTENDED_PARAMS Params = {POOL_CREATE_PARAMS_VERSION, 1, &Name};
    HANDLE Handle;
    (void)State;
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, &Params, &Handle), STATUS_INVALID_PARAMETER_3);
    Params.ParameterCount = 0;
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, &Params, &Handle), STATUS_INVALID_PARAMETER_3);
    Params.Parameters = NULL;
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, &Params, &Handle), STATUS_SUCCESS);
    ExDestroyPool(Handle);
}

/* "POOL_CREATE_FLG_PAGED_POOL: Creates a private paged pool instance. A pool name MUST be supplied via an extended parameter";
 * STATUS_INVALID_PARAMETER_3: "missing required name, disallowed name, duplicate name, or unsupported parameter type". PoolName: "must be
 * non-empty ... not case-sensitive for uniqueness checks"; "the caller is responsible for ... freeing after the call returns". */
static void Create_Private_NamedAndUnique(void **State)
{
    static const ULONG Types[] = {POOL_CREATE_FLG_PAGED_POOL, POOL_CREATE_FLG_NONPAGED_POOL};
    WCHAR Letters[] = L"Pool";
    POOL_CREATE_EXTENDED_PARAMETER Names[2] = {{PoolCreateExtendedParameterName, {RTL_CONSTANT_STRING(Letters)}},
                                               {PoolCreateExtendedParameterName, {RTL_CONSTANT_STRING(L"Another")}}};
    POOL_CREATE_EXTENDED_PARAMS Params = {POOL_CREATE_PARAMS_VERSION, 1, Names};
    (void)State;
    for (unsigned Index = 0; Index < ARRAYSIZE(Types); Index++) {
        HANDLE Handle = NULL, Other = (HANDLE)1;
        assert_int_equal(ExCreatePool(Types[Index], TAG, NULL, &Other), STATUS_INVALID_PARAMETER_3);
        assert_int_equal(ExCreatePool(Types[Index] | POOL_CREATE_FLG_SECURE_POOL, TAG, &Params, &Other),
                         STATUS_INVALID_PARAMETER_1);
        Params.ParameterCount = 2;
        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Other), STATUS_INVALID_PARAMETER_3);
        Params.ParameterCount = 1;
        Params.Version = 0;
        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Other), STATUS_INVALID_PARAMETER);
        Params.Version = POOL_CREATE_PARAMS_VERSION;
        Names[0].Type = PoolCreateExtendedParameterInvalidType;
        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Other), STATUS_INVALID_PARAMETER_3);
        Names[0].Type = PoolCreateExtendedParameterName;
        Names[0].PoolName.Length = 0;
        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Other), STATUS_INVALID_PARAMETER_3);
        Names[0].PoolName.Length = 4 * sizeof(WCHAR);
        assert_ptr_equal(Other, 1);

        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Handle), STATUS_SUCCESS);
        assert_non_null(Handle);
        Letters[0] = 'p';
        assert_int_equal(ExCreatePool(Types[1 - Index], TAG, &Params, &Other), STATUS_OBJECT_NAME_COLLISION);
        Letters[0] = 'q';
        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Other), STATUS_SUCCESS);
        assert_null(Allocate(Handle, 100, NULL, SECURE_POOL_FLAGS_FREEABLE)); /* it is no secure pool */
        ExDestroyPool(Handle);
        Letters[0] = 'P';
        assert_int_equal(ExCreatePool(Types[Index], TAG, &Params, &Handle), STATUS_SUCCESS); /* the name is free again */
        ExDestroyPool(Handle);
        ExDestroyPool(Other);
    }
}

/* The block starts with what Buffer holds; without one with zeroes; it is counted under its tag. */
static void Allocate_Buffer_IsTheContents(void **State)
{
    PUCHAR Block = Allocate(Pool, 100, Contents, SECURE_POOL_FLAGS_FREEABLE), Zero, Big;
    unsigned Index;
    (void)State;
    assert_non_null(Block);
    assert_int_equal(KitTagUse(TAG).Bytes, 100);
    assert_memory_equal(Block, Contents, 100);
    Zero = Allocate(Pool, 10, NULL, SECURE_POOL_FLAGS_FREEABLE);
    for (Index = 0; Index < 10; Index++)
        assert_int_equal(Zero[Index], 0);
    Big = Allocate(Pool, sizeof Contents, Contents, SECURE_POOL_FLAGS_FREEABLE);
    assert_memory_equal(Big, Contents, sizeof Contents);
    FreeBlock(Pool, Big);
    FreeBlock(Pool, Zero);
    FreeBlock(Pool, Block);
    assert_int_equal(KitTagUse(TAG).Bytes, 0);
}

/* "If this field [Optional] is set to 0, Type must be recognized ... or the allocation fails"; 1: "it may still be ignored, for
 * example if it is incompatible with other specified flags". */
static void Allocate_Unsuitable_FailsOrIgnored(void **State)
{
    POOL_EXTENDED_PARAMS_SECURE_POOL Secure = {Pool, NULL, COOKIE, 0};
    POOL_EXTENDED_PARAMETER One = Parameter(&Secure);
    PVOID Block;
    (void)State;
    assert_null(ExAllocatePool3(POOL_FLAG_PAGED, 100, TAG, &One, 1));
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED_EXECUTE, 100, TAG, &One, 1));
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 100, TAG, &One, 1));
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 0, TAG, &One, 1));
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, 0, &One, 1));
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 1ull << 45, TAG, &One, 1));
    assert_null(Allocate((HANDLE)0x7770, 100, NULL, 0));
    assert_null(Allocate(Pool, 100, NULL, 4));
    One.Optional = 1;
    Block = ExAllocatePool3(POOL_FLAG_PAGED, 100, TAG, &One, 1);
    assert_non_null(Block);
    ExFreePool(Block); /* an ordinary one */
    One.SecurePoolParams = NULL;
    Block = ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, TAG, &One, 1);
    assert_non_null(Block);
    ExFreePool2(Block, TAG, NULL, 0);
}

/* "The ExSecurePoolUpdate function updates the contents"; "Offset + size must be within the original allocation". */
static void Update_Range_WrittenOrRefused(void **State)
{
    PUCHAR Block = Allocate(Pool, 5000, Contents, SECURE_POOL_FLAGS_FREEABLE | SECURE_POOL_FLAGS_MODIFIABLE);
    UCHAR New[200];
    (void)State;
    memset(New, 0xEE, sizeof New);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 4000, 200, New), STATUS_SUCCESS);
    assert_memory_equal(Block, Contents, 4000);
    assert_memory_equal(Block + 4000, New, 200);
    assert_memory_equal(Block + 4200, Contents + 4200, 800);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 4900, 100, New), STATUS_SUCCESS);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 4901, 100, New), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, MAXULONG_PTR, 2, New), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 2, MAXULONG_PTR, New), STATUS_INVALID_PARAMETER);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 0, 1, NULL), STATUS_INVALID_PARAMETER);
    FreeBlock(Pool, Block);
}

/* "a cookie value used for identifying this allocation": all of handle, tag, address and cookie must be the block's. */
static void Validate_AnyOther_False(void **State)
{
    PUCHAR Block = Allocate(Pool, 100, NULL, SECURE_POOL_FLAGS_FREEABLE | SECURE_POOL_FLAGS_MODIFIABLE);
    UCHAR New = 1;
    HANDLE Other;
    (void)State;
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Other), STATUS_SUCCESS);
    assert_true(ExSecurePoolValidate(Pool, TAG, Block, COOKIE));
    assert_false(ExSecurePoolValidate(Other, TAG, Block, COOKIE));
    assert_false(ExSecurePoolValidate(Pool, TAG + 1, Block, COOKIE));
    assert_false(ExSecurePoolValidate(Pool, TAG, Block + 16, COOKIE));
    assert_false(ExSecurePoolValidate(Pool, TAG, Block, COOKIE + 1));
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE + 1, 0, 1, &New), STATUS_INVALID_PARAMETER);
    assert_int_equal(Block[0], 0);
    FreeBlock(Pool, Block);
    assert_false(ExSecurePoolValidate(Pool, TAG, Block, COOKIE));
    ExDestroyPool(Other);
}

/* SECURE_POOL_FLAGS_MODIFIABLE: without it the contents are for good. */
static void Update_NotModifiable_Denied(void **State)
{
    PUCHAR Block = Allocate(Pool, 100, Contents, SECURE_POOL_FLAGS_FREEABLE);
    UCHAR New = 1;
    (void)State;
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 0, 1, &New), STATUS_ACCESS_DENIED);
    assert_memory_equal(Block, Contents, 100);
    FreeBlock(Pool, Block);
}

/* ---- misuse ---- */
static void WriteTo(void *Block)
{
    *(volatile UCHAR *)Block = 1;
}

static void Write_Direct_BE(void **State)
{
    PUCHAR Block = Allocate(Pool, 100, Contents, SECURE_POOL_FLAGS_FREEABLE);
    ntmm_bugcheck Stop;
    (void)State;
    assert_true(ntmm_catch(WriteTo, Block + 5, &Stop));
    assert_int_equal(Stop.code, 0xBE);
    assert_int_equal(Stop.parameters[0], (uint64_t)Block + 5);
    assert_memory_equal(Block, Contents, 100);
    FreeBlock(Pool, Block);
}

typedef struct FREE {
    PVOID Block;
    POOL_EXTENDED_PARAMS_SECURE_POOL Secure;
    POOL_EXTENDED_PARAMETER Parameters[2];
    ULONG Tag, Count;
} FREE;

static void DoFree(void *Argument)
{
    FREE *Free = Argument;
    ExFreePool2(Free->Block, Free->Tag, Free->Parameters, Free->Count);
}

static void FreePlain(void *Block)
{
    ExFreePoolWithTag(Block, TAG);
}

/* "Validation failures (wrong count, unsupported parameter type, non-zero reserved fields, invalid handle ...) cause a bug check
 * (BAD_POOL_CALLER)". */
static void Free2_AnyMistake_C2_99(void **State)
{
    PUCHAR Block = Allocate(Pool, 100, Contents, SECURE_POOL_FLAGS_FREEABLE), Fixed;
    FREE Good = {Block, {Pool, NULL, COOKIE, 0}, {{{0}, {0}}, {{0}, {0}}}, TAG, 1}, Bad;
    unsigned Case;
    (void)State;
    for (Case = 0; Case < 10; Case++) {
        Bad = Good;
        Bad.Parameters[0] = Bad.Parameters[1] = Parameter(&Bad.Secure);
        switch (Case) {
        case 0:
            Bad.Count = 2;
            break;
        case 1:
            Bad.Count = 0;
            break;
        case 2:
            Bad.Parameters[0].Type = PoolExtendedParameterPriority;
            break;
        case 3:
            Bad.Parameters[0].Reserved = 1;
            break;
        case 4:
            Bad.Secure.SecurePoolHandle = (HANDLE)0x7770;
            break;
        case 5:
            Bad.Secure.Cookie++;
            break;
        case 6:
            Bad.Secure.Buffer = Contents;
            break;
        case 7:
            Bad.Secure.SecurePoolFlags = SECURE_POOL_FLAGS_FREEABLE;
            break;
        case 8:
            Bad.Block = Block + 16;
            break;
        default:
            Bad.Parameters[0].SecurePoolParams = NULL;
            break;
        }
        ExpectStop(DoFree, &Bad, 0xC2, 0x99, (uint64_t)Bad.Block, 0, 0);
    }
    ExpectStop(FreePlain, Block, 0xC2, 0x99, (uint64_t)Block, 0, 0);
    ExpectStop(FreePlain, Block + 32, 0xC2, 0x99, (uint64_t)Block + 32, 0, 0);
    Bad = Good;
    Bad.Parameters[0] = Parameter(&Bad.Secure);
    Bad.Tag = 'rhtO';
    ExpectStop(DoFree, &Bad, 0xC2, 0xA, (uint64_t)Block, TAG, 'rhtO');
    assert_true(ExSecurePoolValidate(Pool, TAG, Block, COOKIE));
    FreeBlock(Pool, Block);
    ExpectStop(FreePlain, Block, 0xC2, 0x44, (uint64_t)Block, 0, 0);
    /* Not SECURE_POOL_FLAGS_FREEABLE: never. */
    Fixed = Allocate(Pool, 10, NULL, SECURE_POOL_FLAGS_NONE);
    Good.Block = Fixed;
    Good.Parameters[0] = Parameter(&Good.Secure);
    ExpectStop(DoFree, &Good, 0xC2, 0x99, (uint64_t)Fixed, 0, 0);
}

static void Destroy(void *Handle)
{
    ExDestroyPool(Handle);
}

static void CreateAtApc(void *Unused)
{
    HANDLE Handle;
    KIRQL Old;
    (void)Unused;
    KeRaiseIrql(APC_LEVEL, &Old);
    (void)ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Handle);
}

/* "All allocations associated with the pool must have been released"; "If the handle is invalid, a bug check may occur". */
static void Destroy_InUseOrUnknown_C2_99(void **State)
{
    HANDLE Other;
    PVOID Block;
    (void)State;
    assert_int_equal(ExCreatePool(POOL_CREATE_FLG_SECURE_POOL | POOL_CREATE_FLG_USE_GLOBAL_POOL, TAG, NULL, &Other),
                     STATUS_SUCCESS);
    Block = Allocate(Other, 10, NULL, SECURE_POOL_FLAGS_FREEABLE);
    ExpectStop(Destroy, Other, 0xC2, 0x99, (uint64_t)Other, 0, 0);
    FreeBlock(Other, Block);
    ExDestroyPool(Other);
    ExpectStop(Destroy, Other, 0xC2, 0x99, (uint64_t)Other, 0, 0);
    ExpectStop(CreateAtApc, NULL, 0xC4, 0xE5, APC_LEVEL, 0, 0);
}

/* "ExFreePool2 must be called at IRQL <= DISPATCH_LEVEL": at that level it works. */
static void AtDispatch_Works(void **State)
{
    KIRQL Old;
    PVOID Block;
    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Block = Allocate(Pool, 10, NULL, SECURE_POOL_FLAGS_FREEABLE | SECURE_POOL_FLAGS_MODIFIABLE);
    assert_non_null(Block);
    assert_int_equal(ExSecurePoolUpdate(Pool, TAG, Block, COOKIE, 0, 10, Contents), STATUS_SUCCESS);
    assert_memory_equal(Block, Contents, 10);
    FreeBlock(Pool, Block);
    KeLowerIrql(Old);
}

static int Start(void **State)
{
    unsigned Index;
    for (Index = 0; Index < sizeof Contents; Index++)
        Contents[Index] = (UCHAR)(Index * 7 + 1);
    if (StartTwoProcessors(State) != 0)
        return -1;
    return ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Pool) == STATUS_SUCCESS ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Create_BadType_Parameter1),
        cmocka_unit_test(Create_BadVersion_Parameter),
        cmocka_unit_test(Create_Parameters_Parameter3),
        cmocka_unit_test(Create_Private_NamedAndUnique),
        cmocka_unit_test(Allocate_Buffer_IsTheContents),
        cmocka_unit_test(Update_Range_WrittenOrRefused),
        cmocka_unit_test(Allocate_Unsuitable_FailsOrIgnored),
        cmocka_unit_test(Validate_AnyOther_False),
        cmocka_unit_test(Update_NotModifiable_Denied),
        cmocka_unit_test(Write_Direct_BE),
        cmocka_unit_test(Free2_AnyMistake_C2_99),
        cmocka_unit_test(Destroy_InUseOrUnknown_C2_99),
        cmocka_unit_test(AtDispatch_Works),
    };
    return cmocka_run_group_tests(Tests, Start, StopSystem);
}
