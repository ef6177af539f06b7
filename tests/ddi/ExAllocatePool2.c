/*
 * ExAllocatePool2.c - what the pages of ExAllocatePool2, ExAllocatePool3, POOL_FLAGS and
 * POOL_EXTENDED_PARAMETER say, a test a sentence. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>

#define TAG 'tseT'
static const POOL_FLAGS Pools[] = {POOL_FLAG_NON_PAGED, POOL_FLAG_NON_PAGED_EXECUTE, POOL_FLAG_PAGED};

/* Leaves freed blocks with bytes in them behind, so that zeroing shows. */
static void Soil(POOL_FLAGS Flags, SIZE_T Bytes)
{
    PVOID Blocks[40];
    unsigned Index;
    for (Index = 0; Index < 40; Index++) {
        Blocks[Index] = ExAllocatePool2(Flags, Bytes, TAG);
        assert_non_null(Blocks[Index]);
        memset(Blocks[Index], 0xEE, Bytes);
    }
    for (Index = 0; Index < 40; Index++)
        ExFreePool(Blocks[Index]);
}

static BOOLEAN IsZero(const UCHAR *Block, SIZE_T Bytes)
{
    SIZE_T Index;
    for (Index = 0; Index < Bytes; Index++)
        if (Block[Index] != 0)
            return FALSE;
    return TRUE;
}

/* "Memory is zero initialized unless POOL_FLAG_UNINITIALIZED is specified." */
static void Pool2_Default_Zeroed(void **state)
{
    static const SIZE_T Sizes[] = {1, 16, 40, 200, 1000, 4000, 4096, 4097, 20000, 100000};
    unsigned Pool, Index;
    (void)state;
    for (Pool = 0; Pool < 3; Pool++) {
        for (Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
            PUCHAR Block;
            Soil(Pools[Pool], Sizes[Index]);
            Block = ExAllocatePool2(Pools[Pool], Sizes[Index], TAG);
            assert_non_null(Block);
            assert_true(IsZero(Block, Sizes[Index]));
            ExFreePoolWithTag(Block, TAG);
        }
    }
}

/* POOL_FLAGS: "POOL_FLAG_UNINITIALIZED: the allocated memory is not zeroed". */
static void Pool2_Uninitialized_KeepsWhatWasThere(void **state)
{
    PUCHAR Block, Again;
    (void)state;
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 1024, TAG);
    memset(Block, 0xEE, 1024);
    ExFreePool(Block);
    Again = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 1024, TAG);
    assert_ptr_equal(Again, Block);
    assert_int_equal(Again[512], 0xEE);
    ExFreePool(Again);
}

/* "If NumberOfBytes is PAGE_SIZE or greater, a page-aligned buffer is allocated." */
static void Pool2_PageOrMore_PageAligned(void **state)
{
    static const SIZE_T Sizes[] = {4096, 4097, 8192, 12345, 65536};
    PVOID Blocks[3][5][4];
    unsigned Pool, Index, Copy;
    (void)state;
    for (Pool = 0; Pool < 3; Pool++)
        for (Index = 0; Index < 5; Index++)
            for (Copy = 0; Copy < 4; Copy++) {
                Blocks[Pool][Index][Copy] = ExAllocatePool2(Pools[Pool], Sizes[Index], TAG);
                assert_non_null(Blocks[Pool][Index][Copy]);
                assert_int_equal((ULONG_PTR)Blocks[Pool][Index][Copy] % PAGE_SIZE, 0);
            }
    for (Pool = 0; Pool < 3; Pool++)
        for (Index = 0; Index < 5; Index++)
            for (Copy = 0; Copy < 4; Copy++)
                ExFreePool(Blocks[Pool][Index][Copy]);
}

/* "Memory allocations of PAGE_SIZE or less are allocated within a page and do not cross page boundaries.
 * Memory allocations of less than PAGE_SIZE are not necessarily page-aligned but are aligned to ... 16-byte
 * boundaries in 64-bit systems." Every size, and no block overlaps another. */
static void Pool2_PageOrLess_WithinAPageAnd16ByteAligned(void **state)
{
    static PUCHAR Blocks[4097];
    unsigned Pool, Round;
    SIZE_T Size;
    (void)state;
    for (Pool = 0; Pool < 3; Pool++) {
        for (Round = 0; Round < 2; Round++) {
            for (Size = 1; Size <= 4096; Size++) {
                Blocks[Size] = ExAllocatePool2(Pools[Pool] | POOL_FLAG_UNINITIALIZED, Size, TAG);
                assert_non_null(Blocks[Size]);
                assert_int_equal((ULONG_PTR)Blocks[Size] % 16, 0);
                assert_int_equal((ULONG_PTR)Blocks[Size] / PAGE_SIZE, ((ULONG_PTR)Blocks[Size] + Size - 1) / PAGE_SIZE);
                memset(Blocks[Size], (int)(Size * 7), Size);
            }
            for (Size = 1; Size <= 4096; Size++) {
                SIZE_T Index;
                for (Index = 0; Index < Size; Index++)
                    if (Blocks[Size][Index] != (UCHAR)(Size * 7))
                        fail_msg("block of %zu bytes overwritten at %zu", (size_t)Size, (size_t)Index);
                ExFreePool(Blocks[Size]);
            }
        }
    }
}

/* "NumberOfBytes: ... must be greater than 0"; "Tag: must be non-zero"; the call fails. */
static void Pool2_ZeroBytesOrTag_Null(void **state)
{
    (void)state;
    assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED, 0, TAG));
    assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, 0));
}

/* POOL_FLAGS: required flags (the lower 32 bits) that are not recognised fail the allocation. */
static void Pool2_UnknownRequiredFlag_Null(void **state)
{
    unsigned Bit;
    (void)state;
    for (Bit = 0; Bit < 32; Bit++) {
        POOL_FLAGS Flag = 1ull << Bit;
        PVOID Block;
        if (Flag & (POOL_FLAG_USE_QUOTA | POOL_FLAG_UNINITIALIZED | POOL_FLAG_SESSION | POOL_FLAG_CACHE_ALIGNED |
                    POOL_FLAG_RAISE_ON_FAILURE | POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED))
            continue;
        Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | Flag, 16, TAG);
        assert_null(Block);
    }
}

/* POOL_FLAGS: optional flags (the upper 32 bits) that are not recognised are ignored. */
static void Pool2_UnknownOptionalFlag_Ignored(void **state)
{
    unsigned Bit;
    (void)state;
    for (Bit = 32; Bit < 64; Bit++) {
        PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | 1ull << Bit, 16, TAG);
        assert_non_null(Block);
        ExFreePool(Block);
    }
}

/* One pool is asked for; none, or several, cannot be met. */
static void Pool2_NoPoolOrSeveral_Null(void **state)
{
    (void)state;
    assert_null(ExAllocatePool2(0, 16, TAG));
    assert_null(ExAllocatePool2(POOL_FLAG_UNINITIALIZED, 16, TAG));
    assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, 16, TAG));
    assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE, 16, TAG));
}

/* "POOL_FLAG_RAISE_ON_FAILURE: raises an exception instead of returning NULL." */
static void Pool2_RaiseOnFailure_Raises(void **state)
{
    volatile NTSTATUS Bad = 0, Full = 0;
    (void)state;
    __try {
        (void)!ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 16, 0);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Bad = GetExceptionCode();
    }
    __try {
        (void)!ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 1ull << 40, TAG);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Full = GetExceptionCode();
    }
    assert_int_equal(Bad, STATUS_INVALID_PARAMETER);
    assert_int_equal(Full, STATUS_INSUFFICIENT_RESOURCES);
}

/* "POOL_FLAG_CACHE_ALIGNED: request the allocation be cache aligned. This is a best effort request." */
static void Pool2_CacheAligned_Aligned(void **state)
{
    PVOID Blocks[300];
    unsigned Index;
    (void)state;
    for (Index = 0; Index < 300; Index++) {
        Blocks[Index] = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_CACHE_ALIGNED, 1 + Index * 13, TAG);
        assert_non_null(Blocks[Index]);
        assert_int_equal((ULONG_PTR)Blocks[Index] % 64, 0);
    }
    for (Index = 0; Index < 300; Index++)
        ExFreePool(Blocks[Index]);
}

static void Execute(void *Code)
{
    ((void (*)(void))(ULONG_PTR)Code)();
}

static BOOLEAN CanExecute(POOL_FLAGS Flags, SIZE_T Bytes)
{
    PUCHAR Block = ExAllocatePool2(Flags, Bytes, TAG);
    ntmm_bugcheck Stop;
    BOOLEAN Stopped;
    assert_non_null(Block);
    Block[0] = 0xC3; /* ret */
    Stopped = ntmm_catch(Execute, Block, &Stop);
    if (Stopped) {
        assert_int_equal(Stop.code, 0xFC);
        assert_int_equal(Stop.parameters[0], (ULONG_PTR)Block);
    }
    ExFreePool(Block);
    return !Stopped;
}

/* POOL_FLAGS: NON_PAGED is "non paged, non executable"; NON_PAGED_EXECUTE is executable; paged pool is not on
 * x64. */
static void Pool2_Execute_OnlyInExecutablePool(void **state)
{
    (void)state;
    assert_true(CanExecute(POOL_FLAG_NON_PAGED_EXECUTE, 64));
    assert_true(CanExecute(POOL_FLAG_NON_PAGED_EXECUTE, 10000));
    assert_false(CanExecute(POOL_FLAG_NON_PAGED, 64));
    assert_false(CanExecute(POOL_FLAG_NON_PAGED, 10000));
    assert_false(CanExecute(POOL_FLAG_PAGED, 64));
    assert_false(CanExecute(POOL_FLAG_PAGED, 10000));
}

/* "If a caller is at DISPATCH_LEVEL, it must specify a nonpaged pool type": which then works. */
static void Pool2_NonPagedAtDispatch_Works(void **state)
{
    KIRQL Old;
    PVOID Small, Big;
    (void)state;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Small = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    Big = ExAllocatePool2(POOL_FLAG_NON_PAGED, 10000, TAG);
    if (Small != NULL)
        ExFreePool(Small);
    if (Big != NULL)
        ExFreePool(Big);
    KeLowerIrql(Old);
    assert_non_null(Small);
    assert_non_null(Big);
}

/* "A driver that calls at IRQL = APC_LEVEL may use either pool." */
static void Pool2_PagedAtApc_Works(void **state)
{
    KIRQL Old;
    PVOID Block;
    (void)state;
    KeRaiseIrql(APC_LEVEL, &Old);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, 100, TAG);
    ExFreePool(Block);
    KeLowerIrql(Old);
    assert_non_null(Block);
}

/* "If there is insufficient memory ... returns NULL": the region's limit, and it works again after a free. */
static void Pool2_RegionFull_NullThenRecovers(void **state)
{
    static PVOID Blocks[1 << 16];
    unsigned Count, Index, Pool;
    (void)state;
    for (Pool = 0; Pool < 3; Pool++) {
        for (Count = 0; Count < ARRAYSIZE(Blocks); Count++) {
            Blocks[Count] = ExAllocatePool2(Pools[Pool] | POOL_FLAG_UNINITIALIZED, 1 + Count * 31 % 6000, TAG);
            if (Blocks[Count] == NULL)
                break;
        }
        assert_in_range(Count, 100, ARRAYSIZE(Blocks) - 1);
        for (Index = 0; Index < Count; Index++)
            ExFreePool(Blocks[Index]);
        Blocks[0] = ExAllocatePool2(Pools[Pool], 1 << 20, TAG);
        assert_non_null(Blocks[0]);
        ExFreePool(Blocks[0]);
    }
}

/* A size that wraps when it is rounded up cannot be met. */
static void Pool2_HugeSizes_Null(void **state)
{
    unsigned Pool;
    (void)state;
    for (Pool = 0; Pool < 3; Pool++) {
        assert_null(ExAllocatePool2(Pools[Pool], MAXSIZE_T, TAG));
        assert_null(ExAllocatePool2(Pools[Pool], MAXSIZE_T - 4095, TAG));
        assert_null(ExAllocatePool2(Pools[Pool], 1ull << 63, TAG));
        assert_null(ExAllocatePool2(Pools[Pool], 1ull << 44, TAG));
    }
}

/* The same sentences with every flag that changes where a block comes from: zeroed, placed as its size says, freed by either routine. */
static void Pool2_EveryOption_ZeroedAndPlaced(void **state)
{
    static const POOL_FLAGS Options[] = {POOL_FLAG_USE_QUOTA,
                                         POOL_FLAG_CACHE_ALIGNED,
                                         POOL_FLAG_SESSION,
                                         POOL_FLAG_RAISE_ON_FAILURE,
                                         POOL_FLAG_USE_QUOTA | POOL_FLAG_CACHE_ALIGNED,
                                         POOL_FLAG_SPECIAL_POOL | POOL_FLAG_SESSION,
                                         1ull << 62};
    static const SIZE_T Sizes[] = {1, 16, 17, 100, 1000, 2049, 4095, 4096, 4097, 10000};
    unsigned Pool, Option, Size;
    (void)state;
    for (Pool = 0; Pool < ARRAYSIZE(Pools); Pool++)
        for (Size = 0; Size < ARRAYSIZE(Sizes); Size++) {
            SIZE_T Bytes = Sizes[Size];
            Soil(Pools[Pool], Bytes);
            for (Option = 0; Option < ARRAYSIZE(Options); Option++) {
                PUCHAR Block = ExAllocatePool2(Pools[Pool] | Options[Option], Bytes, TAG);
                assert_non_null(Block);
                assert_true(IsZero(Block, Bytes));
                assert_int_equal((ULONG_PTR)Block % (Bytes >= PAGE_SIZE ? PAGE_SIZE : 16), 0);
                if (Bytes <= PAGE_SIZE)
                    assert_ptr_equal(PAGE_ALIGN(Block), PAGE_ALIGN(Block + Bytes - 1));
                if (Options[Option] & POOL_FLAG_CACHE_ALIGNED)
                    assert_int_equal((ULONG_PTR)Block % 64, 0);
                memset(Block, 0xEE, Bytes);
                if (Option & 1)
                    ExFreePool(Block);
                else
                    ExFreePoolWithTag(Block, TAG);
            }
        }
}

/* ---- ExAllocatePool3 ---- */
static PVOID Pool3(POOL_FLAGS Flags, ULONG Type, ULONG Optional, ULONG Value)
{
    POOL_EXTENDED_PARAMETER Parameter;
    memset(&Parameter, 0, sizeof(Parameter));
    Parameter.Type = Type;
    Parameter.Optional = Optional;
    Parameter.Reserved2 = Value;
    return ExAllocatePool3(Flags, 100, TAG, &Parameter, 1);
}

static void Expect3(BOOLEAN Works, POOL_FLAGS Flags, ULONG Type, ULONG Optional, ULONG Value)
{
    PVOID Block = Pool3(Flags, Type, Optional, Value);
    if (Works) {
        assert_non_null(Block);
        assert_true(IsZero(Block, 100));
        ExFreePool(Block);
    } else {
        assert_null(Block);
    }
}

/* "ExtendedParameters: optional"; without them it is ExAllocatePool2. */
static void Pool3_NoParameters_LikePool2(void **state)
{
    PUCHAR Block = ExAllocatePool3(POOL_FLAG_PAGED, 100, TAG, NULL, 0);
    (void)state;
    assert_non_null(Block);
    assert_true(IsZero(Block, 100));
    ExFreePoolWithTag(Block, TAG);
    assert_null(ExAllocatePool3(POOL_FLAG_PAGED, 0, TAG, NULL, 0));
    assert_null(ExAllocatePool3(POOL_FLAG_PAGED, 100, TAG, NULL, 1));
}

/* "ExtendedParametersCount: ... the number of parameters in ExtendedParameters": those behind it are not looked at; every one before it is.
 * "POOL_FLAG_RAISE_ON_FAILURE ... raises an exception: Insufficient memory; Tag is set to 0 or invalid POOL_FLAGS ...; Invalid
 * POOL_EXTENDED_PARAMETER structures". */
static void Pool3_Array_EachCounts(void **state)
{
    POOL_EXTENDED_PARAMETER Parameters[3];
    static volatile NTSTATUS Status;
    PVOID Block;
    (void)state;
    memset(Parameters, 0, sizeof(Parameters));
    Parameters[0].Type = PoolExtendedParameterPriority;
    Parameters[0].Priority = HighPoolPriority;
    Parameters[1].Type = PoolExtendedParameterNumaNode;
    Parameters[1].PreferredNode = MM_ANY_NODE_OK;
    Parameters[2].Type = PoolExtendedParameterMax;
    Block = ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, TAG, Parameters, 2);
    assert_non_null(Block);
    ExFreePool(Block);
    Block = ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, TAG, Parameters, 0);
    assert_non_null(Block);
    ExFreePool2(Block, TAG, NULL, 0);
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, TAG, Parameters, 3));
    __try {
        (void)!ExAllocatePool3(POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE, 100, TAG, Parameters, 3);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_INVALID_PARAMETER);
    Parameters[2].Optional = 1;
    Block = ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, TAG, Parameters, 3);
    assert_non_null(Block);
    ExFreePool(Block);
    assert_null(ExAllocatePool3(POOL_FLAG_PAGED, 100, TAG, Parameters, 3)); /* "valid only for ... POOL_FLAG_NON_PAGED" */
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, 0, Parameters, 2));
    assert_null(ExAllocatePool3(POOL_FLAG_RESERVED1 | POOL_FLAG_NON_PAGED, 100, TAG, Parameters, 2));
    Parameters[0].Reserved = 1; /* "Reserved for future use" */
    assert_null(ExAllocatePool3(POOL_FLAG_NON_PAGED, 100, TAG, Parameters, 2));
}

/* "PoolExtendedParameterPriority": an EX_POOL_PRIORITY. */
static void Pool3_Priority_Accepted(void **state)
{
    (void)state;
    Expect3(TRUE, POOL_FLAG_PAGED, PoolExtendedParameterPriority, 0, LowPoolPriority);
    Expect3(TRUE, POOL_FLAG_NON_PAGED, PoolExtendedParameterPriority, 0, NormalPoolPrioritySpecialPoolUnderrun);
    Expect3(TRUE, POOL_FLAG_NON_PAGED, PoolExtendedParameterPriority, 0, HighPoolPriority);
    Expect3(FALSE, POOL_FLAG_NON_PAGED, PoolExtendedParameterPriority, 0, 77);
}

/* "PoolExtendedParameterNumaNode": "only valid with POOL_FLAG_NON_PAGED"; without MM_ANY_NODE_OK the node
 * must serve. */
static void Pool3_Node_ZeroOrAny(void **state)
{
    (void)state;
    Expect3(TRUE, POOL_FLAG_NON_PAGED, PoolExtendedParameterNumaNode, 0, 0);
    Expect3(TRUE, POOL_FLAG_NON_PAGED, PoolExtendedParameterNumaNode, 0, 5 | MM_ANY_NODE_OK);
    Expect3(FALSE, POOL_FLAG_NON_PAGED, PoolExtendedParameterNumaNode, 0, 5);
    Expect3(FALSE, POOL_FLAG_PAGED, PoolExtendedParameterNumaNode, 0, 0);
    Expect3(TRUE, POOL_FLAG_PAGED, PoolExtendedParameterNumaNode, 1, 0);
}

/* POOL_EXTENDED_PARAMETER: "Optional: if 0 and the parameter is not recognised, the allocation fails; if 1,
 * ignored." */
static void Pool3_UnknownType_FailsUnlessOptional(void **state)
{
    (void)state;
    Expect3(FALSE, POOL_FLAG_PAGED, PoolExtendedParameterInvalidType, 0, 0);
    Expect3(FALSE, POOL_FLAG_PAGED, 99, 0, 0);
    Expect3(TRUE, POOL_FLAG_PAGED, 99, 1, 0);
    Expect3(FALSE, POOL_FLAG_PAGED, PoolExtendedParameterSecurePool, 0, 0);
}

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 128 << 20;
    Options.nonpagedpool = 24 << 20;
    Options.pagedpool = 24 << 20;
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
        cmocka_unit_test(Pool2_Default_Zeroed),
        cmocka_unit_test(Pool2_Uninitialized_KeepsWhatWasThere),
        cmocka_unit_test(Pool2_PageOrMore_PageAligned),
        cmocka_unit_test(Pool2_PageOrLess_WithinAPageAnd16ByteAligned),
        cmocka_unit_test(Pool2_ZeroBytesOrTag_Null),
        cmocka_unit_test(Pool2_UnknownRequiredFlag_Null),
        cmocka_unit_test(Pool2_UnknownOptionalFlag_Ignored),
        cmocka_unit_test(Pool2_NoPoolOrSeveral_Null),
        cmocka_unit_test(Pool2_RaiseOnFailure_Raises),
        cmocka_unit_test(Pool2_CacheAligned_Aligned),
        cmocka_unit_test(Pool2_Execute_OnlyInExecutablePool),
        cmocka_unit_test(Pool2_NonPagedAtDispatch_Works),
        cmocka_unit_test(Pool2_PagedAtApc_Works),
        cmocka_unit_test(Pool2_RegionFull_NullThenRecovers),
        cmocka_unit_test(Pool2_HugeSizes_Null),
        cmocka_unit_test(Pool2_EveryOption_ZeroedAndPlaced),
        cmocka_unit_test(Pool3_NoParameters_LikePool2),
        cmocka_unit_test(Pool3_Array_EachCounts),
        cmocka_unit_test(Pool3_Priority_Accepted),
        cmocka_unit_test(Pool3_Node_ZeroOrAny),
        cmocka_unit_test(Pool3_UnknownType_FailsUnlessOptional),
    };
    return cmocka_run_group_tests(tests, Start, End);
}
