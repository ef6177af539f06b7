/*
 * ExAllocatePoolWithTag.c - what the pages of the older allocation routines, their inline wrappers, the FsRtl
 * forms and the free routines say, a test a sentence. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/ex.h"

#define TAG  'tseT'
#define HUGE (1ull << 40)

static const POOL_TYPE Types[] = {
    NonPagedPoolExecute,        PagedPool,           NonPagedPoolNx,   NonPagedPoolCacheAligned, PagedPoolCacheAligned,
    NonPagedPoolNxCacheAligned, NonPagedPoolSession, PagedPoolSession, NonPagedPoolSessionNx};

static PUCHAR Soiled(POOL_TYPE Type, SIZE_T Bytes)
{
    PUCHAR Block = ExAllocatePoolWithTag(Type, Bytes, TAG);
    memset(Block, 0xEE, Bytes);
    return Block;
}

static BOOLEAN IsZero(const UCHAR *Block, SIZE_T Bytes)
{
    while (Bytes != 0)
        if (Block[--Bytes] != 0)
            return FALSE;
    return TRUE;
}

/* "ExAllocatePoolWithTag allocates pool memory of the specified type and returns a pointer to the allocated
 * block." */
static void WithTag_EveryType_BlockOfTheType(void **state)
{
    unsigned Index;
    (void)state;
    for (Index = 0; Index < ARRAYSIZE(Types); Index++) {
        EXP_BLOCK_INFO Info;
        PVOID Block = ExAllocatePoolWithTag(Types[Index], 300, TAG);
        assert_non_null(Block);
        assert_true(ExpDescribeBlock(Block, &Info));
        assert_int_equal(Info.State, ExpBlockLive);
        assert_int_equal(Info.Size, 300);
        assert_int_equal(Info.Tag, TAG);
        assert_int_equal(Info.PoolType, Types[Index] & (PagedPool | NonPagedPoolNx));
        if (Types[Index] & NonPagedPoolCacheAligned)
            assert_int_equal((ULONG_PTR)Block % 64, 0);
        ExFreePoolWithTag(Block, TAG);
    }
}

/* "If the request cannot be satisfied, ... returns NULL." */
static void WithTag_CannotBeMet_Null(void **state)
{
    (void)state;
    assert_null(ExAllocatePoolWithTag(NonPagedPoolNx, HUGE, TAG));
    assert_null(ExAllocatePoolWithTag(PagedPool, HUGE, TAG));
}

/* "POOL_RAISE_IF_ALLOCATION_FAILURE: ... raises an exception instead of returning NULL." */
static void WithTag_RaiseFlag_Raises(void **state)
{
    volatile NTSTATUS Status = 0;
    (void)state;
    __try {
        (void)!ExAllocatePoolWithTag(PagedPool | POOL_RAISE_IF_ALLOCATION_FAILURE, HUGE, TAG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_INSUFFICIENT_RESOURCES);
}

/* "Avoid calling with NumberOfBytes == 0": it is not forbidden, and the block can be freed. */
static void WithTag_ZeroBytes_Block(void **state)
{
    PVOID First = ExAllocatePoolWithTag(PagedPool, 0, TAG), Second = ExAllocatePoolWithTag(PagedPool, 0, TAG);
    (void)state;
    assert_non_null(First);
    assert_non_null(Second);
    assert_ptr_not_equal(First, Second);
    ExFreePoolWithTag(First, TAG);
    ExFreePoolWithTag(Second, TAG);
}

/* ExAllocatePool: "allocates pool memory of the specified type". The untagged form's tag is None, and the
 * header's is Wdm. */
static void Untagged_Tags(void **state)
{
    PVOID Function = (ExAllocatePool)(PagedPool, 10), Macro = ExAllocatePool(PagedPool, 10);
    EXP_BLOCK_INFO Info;
    (void)state;
    assert_true(ExpDescribeBlock(Function, &Info));
    assert_int_equal(Info.Tag, 'enoN');
    assert_true(ExpDescribeBlock(Macro, &Info));
    assert_int_equal(Info.Tag, ' mdW');
    (ExFreePool)(Function);
    ExFreePool(Macro);
}

/* Without pool tracking a tag of zero is taken, and counted as None. */
static void WithTag_TagZeroWithoutTracking_None(void **state)
{
    EXP_BLOCK_INFO Info;
    PVOID Block = ExAllocatePoolWithTag(PagedPool, 10, 0);
    (void)state;
    assert_true(ExpDescribeBlock(Block, &Info));
    assert_int_equal(Info.Tag, 'enoN');
    ExFreePool(Block);
}

/* ExAllocatePoolZero: "allocated memory is zeroed"; the Quota and Priority forms too. */
static void Zero_Wrappers_Zeroed(void **state)
{
    static const SIZE_T Sizes[] = {24, 500, 4096, 9000};
    unsigned Index, Form;
    (void)state;
    for (Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
        for (Form = 0; Form < 3; Form++) {
            SIZE_T Size = Sizes[Index];
            PUCHAR Block = Soiled(PagedPool, Size);
            ExFreePool(Block);
            Block = Form == 0   ? ExAllocatePoolZero(PagedPool, Size, TAG)
                    : Form == 1 ? ExAllocatePoolQuotaZero(PagedPool, Size, TAG)
                                : ExAllocatePoolPriorityZero(PagedPool, Size, TAG, NormalPoolPriority);
            assert_non_null(Block);
            assert_true(IsZero(Block, Size));
            ExFreePoolWithTag(Block, TAG);
        }
    }
}

/* ExAllocatePoolUninitialized and its kin: "contents ... indeterminate"; here what the last user left. */
static void Uninitialized_Wrappers_NotZeroed(void **state)
{
    unsigned Form;
    (void)state;
    for (Form = 0; Form < 3; Form++) {
        PUCHAR Block = Soiled(NonPagedPoolNx, 800), Again;
        ExFreePool(Block);
        Again = Form == 0   ? ExAllocatePoolUninitialized(NonPagedPoolNx, 800, TAG)
                : Form == 1 ? ExAllocatePoolQuotaUninitialized(NonPagedPoolNx, 800, TAG)
                            : ExAllocatePoolPriorityUninitialized(NonPagedPoolNx, 800, TAG, HighPoolPriority);
        assert_ptr_equal(Again, Block);
        assert_int_equal(Again[400], 0xEE);
        ExFreePool(Again);
    }
    ExInitializeDriverRuntime(DrvRtPoolNxOptIn);
    assert_true(ExPoolZeroingNativelySupported);
}

/* ExAllocatePoolWithTagPriority: "the special pool variants ... " change nothing without special pool. */
static void Priority_All_Block(void **state)
{
    static const EX_POOL_PRIORITY All[] = {
        LowPoolPriority,    LowPoolPrioritySpecialPoolOverrun,    LowPoolPrioritySpecialPoolUnderrun,
        NormalPoolPriority, NormalPoolPrioritySpecialPoolOverrun, NormalPoolPrioritySpecialPoolUnderrun,
        HighPoolPriority,   HighPoolPrioritySpecialPoolOverrun,   HighPoolPrioritySpecialPoolUnderrun};
    unsigned Index;
    (void)state;
    for (Index = 0; Index < ARRAYSIZE(All); Index++) {
        PVOID Block = ExAllocatePoolWithTagPriority(NonPagedPoolNx, 5000, TAG, All[Index]);
        assert_non_null(Block);
        ExFreePoolWithTag(Block, TAG);
    }
}

/* "LowPoolPriority: the system can fail the request if it is fairly low on memory"; Normal "if it is very low";
 * High "unless it is completely out". */
static void Priority_MemoryLow_LowFailsFirstHighLast(void **state)
{
    static PVOID Blocks[4096];
    static const EX_POOL_PRIORITY Order[] = {LowPoolPriority, NormalPoolPriority, HighPoolPriority};
    unsigned Count = 0, Index, Got[3];
    (void)state;
    for (Index = 0; Index < 3; Index++) {
        unsigned Before = Count;
        while (Count < ARRAYSIZE(Blocks) &&
               (Blocks[Count] = ExAllocatePoolWithTagPriority(NonPagedPoolNx, 65536, TAG, Order[Index])) != NULL)
            Count++;
        Got[Index] = Count - Before;
    }
    while (Count != 0)
        ExFreePool(Blocks[--Count]);
    assert_true(Got[0] > 100);
    assert_true(Got[1] > 0);
    assert_true(Got[2] > 0);
}

/* "If NumberOfBytes is PAGE_SIZE or greater, a page-aligned buffer is allocated. Memory allocations of PAGE_SIZE or less are allocated within
 * a page and do not cross page boundaries. ... less than PAGE_SIZE are ... aligned to 16-byte boundaries in 64-bit systems": every routine.
 * POOL_COLD_ALLOCATION "is only advisory"; cache-aligned types are "aligned on processor cache boundaries". */
static PVOID ByForm(unsigned Form, ULONG Type, SIZE_T Bytes)
{
    switch (Form) {
    case 0:
        return (ExAllocatePool)((POOL_TYPE)Type, Bytes);
    case 1:
        return ExAllocatePoolWithTag((POOL_TYPE)(Type | POOL_COLD_ALLOCATION), Bytes, TAG);
    case 2:
        return ExAllocatePoolWithTagPriority((POOL_TYPE)(Type | POOL_COLD_ALLOCATION), Bytes, TAG, NormalPoolPriority);
    case 3:
        return (ExAllocatePoolWithQuota)((POOL_TYPE)(Type | POOL_COLD_ALLOCATION), Bytes);
    case 4:
        return ExAllocatePoolWithQuotaTag((POOL_TYPE)(Type | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), Bytes, TAG);
    case 5:
        return FsRtlAllocatePoolWithQuotaTag((POOL_TYPE)Type, (ULONG)Bytes, TAG);
    case 6:
        return ExAllocatePoolZero((POOL_TYPE)(Type | POOL_RAISE_IF_ALLOCATION_FAILURE), Bytes, TAG);
    default:
        return FsRtlAllocatePool((POOL_TYPE)Type, (ULONG)Bytes);
    }
}

static void EveryForm_Placed(void **state)
{
    static const ULONG Kinds[] = {NonPagedPoolExecute,
                                  NonPagedPoolNx,
                                  PagedPool,
                                  NonPagedPoolCacheAligned,
                                  PagedPoolCacheAligned,
                                  NonPagedPoolSession,
                                  NonPagedPoolSessionNx,
                                  NonPagedPoolNxCacheAligned,
                                  PagedPoolSession};
    static const SIZE_T Sizes[] = {1, 15, 16, 33, 300, 1025, 4080, 4095, 4096, 4097, 9000};
    unsigned Form, Type, Size;
    (void)state;
    for (Form = 0; Form < 8; Form++)
        for (Type = 0; Type < ARRAYSIZE(Kinds); Type++)
            for (Size = 0; Size < ARRAYSIZE(Sizes); Size++) {
                SIZE_T Bytes = Sizes[Size];
                PUCHAR Block = ByForm(Form, Kinds[Type], Bytes);
                assert_non_null(Block);
                assert_int_equal((ULONG_PTR)Block % (Bytes >= PAGE_SIZE ? PAGE_SIZE : 16), 0);
                if (Bytes <= PAGE_SIZE)
                    assert_ptr_equal(PAGE_ALIGN(Block), PAGE_ALIGN(Block + Bytes - 1));
                if (Kinds[Type] & NonPagedPoolCacheAligned)
                    assert_int_equal((ULONG_PTR)Block % 64, 0);
                memset(Block, 0xA5, Bytes);
                ExFreePool(Block);
            }
}

/* ---- quota ---- */
static LONG64 Charged, Limit;
static unsigned Charges, Returns;

static NTSTATUS Charge(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    (void)Process;
    (void)Paged;
    if (Charged + (LONG64)Bytes > Limit)
        return STATUS_QUOTA_EXCEEDED;
    Charged += (LONG64)Bytes;
    Charges++;
    return STATUS_SUCCESS;
}

static VOID Return(struct _KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes)
{
    (void)Process;
    (void)Paged;
    Charged -= (LONG64)Bytes;
    Returns++;
}

static NTSTATUS (*OldCharge)(struct _KPROCESS *, BOOLEAN, SIZE_T);
static VOID (*OldReturn)(struct _KPROCESS *, BOOLEAN, SIZE_T);

static void TakeQuota(LONG64 NewLimit)
{
    OldCharge = ExpChargeQuotaRoutine;
    OldReturn = ExpReturnQuotaRoutine;
    ExpChargeQuotaRoutine = Charge;
    ExpReturnQuotaRoutine = Return;
    Charged = 0;
    Charges = Returns = 0;
    Limit = NewLimit;
}

static void GiveQuotaBack(void)
{
    ExpChargeQuotaRoutine = OldCharge;
    ExpReturnQuotaRoutine = OldReturn;
}

/* ExAllocatePoolWithQuotaTag: "charging the allocation against the quota of the current process"; freed, it
 * is returned. */
static void Quota_Block_ChargedUntilFreed(void **state)
{
    PVOID First, Second;
    BOOLEAN WasCharged = FALSE;
    (void)state;
    TakeQuota(10000);
    First = ExAllocatePoolWithQuotaTag(PagedPool, 100, TAG);
    Second = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 200, TAG);
    assert_int_equal(Charged, 300);
    assert_int_equal(ExQueryPoolBlockSize(First, &WasCharged), 100);
    assert_true(WasCharged);
    ExFreePool(First);
    assert_int_equal(Charged, 200);
    ExFreePoolWithTag(Second, TAG);
    assert_int_equal(Charged, 0);
    assert_int_equal(Charges, 2);
    assert_int_equal(Returns, 2);
    GiveQuotaBack();
}

/* "If NumberOfBytes is PAGE_SIZE or greater ... quota is not charged." */
static void Quota_PageOrMore_NotCharged(void **state)
{
    PVOID Page, Pages;
    (void)state;
    TakeQuota(10);
    Page = ExAllocatePoolWithQuotaTag(PagedPool, PAGE_SIZE, TAG);
    Pages = ExAllocatePoolWithQuotaTag(NonPagedPoolNx, 3 * PAGE_SIZE, TAG);
    assert_int_equal(Charges, 0);
    ExFreePool(Page);
    ExFreePool(Pages);
    assert_int_equal(Returns, 0);
    GiveQuotaBack();
}

/* "ExAllocatePoolWithQuotaTag raises an exception if the request cannot be satisfied"; with
 * POOL_QUOTA_FAIL_INSTEAD_OF_RAISE it returns NULL. ExAllocatePool2 with USE_QUOTA returns NULL. */
static void Quota_Exceeded_RaisesOrNull(void **state)
{
    volatile NTSTATUS Exceeded = 0, Full = 0;
    (void)state;
    TakeQuota(50);
    __try {
        (void)!ExAllocatePoolWithQuotaTag(PagedPool, 100, TAG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Exceeded = GetExceptionCode();
    }
    assert_null(ExAllocatePoolWithQuotaTag(PagedPool | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE, 100, TAG));
    assert_null(ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_USE_QUOTA, 100, TAG));
    GiveQuotaBack();
    __try {
        (void)!ExAllocatePoolWithQuotaTag(PagedPool, HUGE, TAG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Full = GetExceptionCode();
    }
    assert_int_equal(Exceeded, STATUS_QUOTA_EXCEEDED);
    assert_int_equal(Full, STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(Charged, 0);
}

/* ---- FsRtl ---- */
/* FsRtlAllocatePoolWithTag: "raises STATUS_INSUFFICIENT_RESOURCES if the pool allocation fails". */
static void FsRtl_Failure_Raises(void **state)
{
    unsigned Form;
    (void)state;
    for (Form = 0; Form < 4; Form++) {
        volatile NTSTATUS Status = 0;
        volatile ULONG Bytes = 0xF0000000;
        __try {
            switch (Form) {
            case 0:
                FsRtlAllocatePool(NonPagedPoolNx, Bytes);
                break;
            case 1:
                FsRtlAllocatePoolWithTag(NonPagedPoolNx, Bytes, TAG);
                break;
            case 2:
                FsRtlAllocatePoolWithQuota(NonPagedPoolNx, Bytes);
                break;
            default:
                FsRtlAllocatePoolWithQuotaTag(NonPagedPoolNx, Bytes, TAG);
                break;
            }
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Status = GetExceptionCode();
        }
        assert_int_equal(Status, STATUS_INSUFFICIENT_RESOURCES);
    }
}

/* FsRtlAllocatePoolWithQuotaTag: "If a pool allocation failure occurs, [it] raises a STATUS_INSUFFICIENT_RESOURCES exception": a quota that
 * is used up too. */
static void FsRtl_QuotaExceeded_RaisesInsufficientResources(void **state)
{
    static volatile NTSTATUS Tagged, Untagged;
    (void)state;
    TakeQuota(50);
    __try {
        FsRtlAllocatePoolWithQuotaTag(PagedPool, 100, TAG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Tagged = GetExceptionCode();
    }
    __try {
        FsRtlAllocatePoolWithQuota((POOL_TYPE)(PagedPool | POOL_RAISE_IF_ALLOCATION_FAILURE), 100);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Untagged = GetExceptionCode();
    }
    GiveQuotaBack();
    assert_int_equal(Tagged, STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(Untagged, STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(Charged, 0);
}

static void FsRtl_Success_Block(void **state)
{
    PVOID Block = FsRtlAllocatePoolWithTag(PagedPool, 100, TAG);
    (void)state;
    ExFreePoolWithTag(Block, TAG);
    ExFreePool(FsRtlAllocatePool(PagedPool, 100));
    ExFreePool(FsRtlAllocatePoolWithQuota(PagedPool, 100));
    ExFreePool(FsRtlAllocatePoolWithQuotaTag(PagedPool, 100, TAG));
}

/* ---- free ---- */
/* ExFreePool "deallocates a block of pool memory" that any of the routines allocated. */
static void Free_EveryRoutine_EveryFree(void **state)
{
    unsigned Form, Free;
    (void)state;
    for (Form = 0; Form < 5; Form++) {
        for (Free = 0; Free < 4; Free++) {
            PVOID Block = Form == 0   ? ExAllocatePoolWithTag(PagedPool, 77, TAG)
                          : Form == 1 ? ExAllocatePoolWithQuotaTag(PagedPool, 77, TAG)
                          : Form == 2 ? ExAllocatePoolWithTagPriority(PagedPool, 77, TAG, LowPoolPriority)
                          : Form == 3 ? ExAllocatePool2(POOL_FLAG_PAGED, 77, TAG)
                                      : ExAllocatePool3(POOL_FLAG_PAGED, 77, TAG, NULL, 0);
            assert_non_null(Block);
            if (Free == 0)
                (ExFreePool)(Block);
            else if (Free == 1)
                ExFreePoolWithTag(Block, TAG);
            else if (Free == 2)
                ExFreePoolWithTag(Block, 0); /* not checked */
            else
                ExFreePool2(Block, TAG, NULL, 0);
        }
    }
}

/* ExQueryPoolBlockSize returns the size of the block and whether quota was charged. */
static void Query_LiveBlock_SizeAndCharge(void **state)
{
    BOOLEAN Charge = TRUE;
    PVOID Small = ExAllocatePoolWithTag(PagedPool, 33, TAG), Big = ExAllocatePoolWithTag(NonPagedPoolNx, 33333, TAG);
    (void)state;
    assert_int_equal(ExQueryPoolBlockSize(Small, &Charge), 33);
    assert_false(Charge);
    assert_int_equal(ExQueryPoolBlockSize(Big, &Charge), 33333);
    assert_false(Charge);
    ExFreePool(Small);
    ExFreePool(Big);
}

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    return ntmm_start(&Options);
}

static int End(void **state)
{
    (void)state;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(WithTag_EveryType_BlockOfTheType),
        cmocka_unit_test(WithTag_CannotBeMet_Null),
        cmocka_unit_test(WithTag_RaiseFlag_Raises),
        cmocka_unit_test(WithTag_ZeroBytes_Block),
        cmocka_unit_test(Untagged_Tags),
        cmocka_unit_test(WithTag_TagZeroWithoutTracking_None),
        cmocka_unit_test(Zero_Wrappers_Zeroed),
        cmocka_unit_test(Uninitialized_Wrappers_NotZeroed),
        cmocka_unit_test(Priority_MemoryLow_LowFailsFirstHighLast),
        cmocka_unit_test(EveryForm_Placed),
        cmocka_unit_test(Priority_All_Block),
        cmocka_unit_test(Quota_Block_ChargedUntilFreed),
        cmocka_unit_test(Quota_PageOrMore_NotCharged),
        cmocka_unit_test(Quota_Exceeded_RaisesOrNull),
        cmocka_unit_test(FsRtl_Failure_Raises),
        cmocka_unit_test(FsRtl_QuotaExceeded_RaisesInsufficientResources),
        cmocka_unit_test(FsRtl_Success_Block),
        cmocka_unit_test(Free_EveryRoutine_EveryFree),
        cmocka_unit_test(Query_LiveBlock_SizeAndCharge),
    };
    return cmocka_run_group_tests(tests, Start, End);
}
