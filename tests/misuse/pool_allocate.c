/*
 * pool_allocate.c - allocations that stop the system, and writes beyond and after a block; all five numbers.
 * SPDX-License-Identifier: MIT
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

#define TAG 'tseT'
static ntmm_bugcheck Stop;

static void Expect(void (*Function)(void *), void *Argument, uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4)
{
    const CHAR *Text;
    assert_true(ntmm_catch(Function, Argument, &Stop));
    assert_int_equal(Stop.code, Code);
    assert_int_equal(Stop.parameters[0], P1);
    assert_int_equal(Stop.parameters[1], P2);
    assert_int_equal(Stop.parameters[2], P3);
    if (P4 != ~0ull)
        assert_int_equal(Stop.parameters[3], P4);
    Text = ExpValidatePools();
    if (Text != NULL)
        fail_msg("%s", Text);
}

static void PagedAtDispatch(void *Bytes)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    (void)!ExAllocatePool2(POOL_FLAG_PAGED, (SIZE_T)Bytes, TAG);
}

static void LegacyPagedAtDispatch(void *Bytes)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    (void)!ExAllocatePoolWithTag(PagedPool, (SIZE_T)Bytes, TAG);
}

static void NonPagedAboveDispatch(void *Bytes)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL + 2, &Old);
    (void)!ExAllocatePool2(POOL_FLAG_NON_PAGED, (SIZE_T)Bytes, TAG);
}

/* 0xC2/8 without any option of the Verifier, 0xC4/1 and 2 with one. */
static void Allocate_PagedAtDispatch_C2_8(void **state)
{
    ULONG Flags = KeOptions.VerifierFlags;
    (void)state;
    Expect(PagedAtDispatch, (void *)100, 0xC4, 1, DISPATCH_LEVEL, PagedPool, 100);
    KeOptions.VerifierFlags = 0;
    Expect(PagedAtDispatch, (void *)100, 0xC2, 8, DISPATCH_LEVEL, PagedPool, 100);
    Expect(PagedAtDispatch, (void *)100000, 0xC2, 8, DISPATCH_LEVEL, PagedPool, 100000);
    Expect(LegacyPagedAtDispatch, (void *)1, 0xC2, 8, DISPATCH_LEVEL, PagedPool, 1);
    KeOptions.VerifierFlags = Flags;
}

static void Allocate_NonPagedAboveDispatch_C2_8(void **state)
{
    ULONG Flags = KeOptions.VerifierFlags;
    (void)state;
    Expect(NonPagedAboveDispatch, (void *)100, 0xC4, 2, DISPATCH_LEVEL + 2, NonPagedPoolNx, 100);
    KeOptions.VerifierFlags = 0;
    Expect(NonPagedAboveDispatch, (void *)100, 0xC2, 8, DISPATCH_LEVEL + 2, NonPagedPoolNx, 100);
    KeOptions.VerifierFlags = Flags;
}

static void MustSucceed(void *Type)
{
    (void)!ExAllocatePoolWithTag((POOL_TYPE)(ULONG_PTR)Type, 100, TAG);
}

static void Allocate_MustSucceed_C2_9A(void **state)
{
    (void)state;
    Expect(MustSucceed, (void *)NonPagedPoolMustSucceed, 0xC2, 0x9A, NonPagedPoolMustSucceed, 100, TAG);
    Expect(MustSucceed, (void *)NonPagedPoolCacheAlignedMustS, 0xC2, 0x9A, NonPagedPoolCacheAlignedMustS, 100, TAG);
    Expect(MustSucceed, (void *)DontUseThisType, 0xC2, 0x9A, DontUseThisType, 100, TAG);
}

static void WithTag(void *Tag)
{
    volatile PVOID Block = ExAllocatePoolWithTag(PagedPool, 24, (ULONG)(ULONG_PTR)Tag); /* no tail call */
    UNREFERENCED_PARAMETER(Block);
}

static void CallerIsHere(void)
{
    assert_true(Stop.parameters[3] - (uint64_t)WithTag < 256);
}

/* The tag rules are made under pool tracking. */
static void Allocate_TagZero_C2_9B(void **state)
{
    (void)state;
    Expect(WithTag, (void *)0, 0xC2, 0x9B, PagedPool, 24, ~0ull);
    CallerIsHere();
}

static void Allocate_TagBig_C2_9C(void **state)
{
    (void)state;
    Expect(WithTag, (void *)' GIB', 0xC2, 0x9C, PagedPool, 24, ~0ull);
    CallerIsHere();
}

static void Allocate_TagWithoutLetterOrDigit_C2_9D(void **state)
{
    (void)state;
    Expect(WithTag, (void *)'?!- ', 0xC2, 0x9D, '?!- ', PagedPool, ~0ull);
    CallerIsHere();
}

/* The sanitizer would see the sin at its line; the stop must be seen without it. */
__attribute__((no_sanitize_address, noinline)) static void Scribble(PUCHAR At, UCHAR Value)
{
    *At = Value;
}

/* ---- beyond the block ---- */
static void Free(void *Block)
{
    ExFreePool(Block);
}

static void Overrun_ByteBehindBlock_19_21(void **state)
{
    static const SIZE_T Sizes[] = {1, 8, 15, 17, 100, 1000, 3000, 5000, 8191};
    unsigned Index, Kind;
    (void)state;
    for (Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
        for (Kind = 0; Kind < 2; Kind++) {
            PUCHAR Block = ExAllocatePool2(Kind ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, Sizes[Index], TAG);
            Scribble(&Block[Sizes[Index]], 0);
            Expect(Free, Block, 0x19, 0x21, (uint64_t)Block, Sizes[Index], ~0ull);
            assert_int_equal(Stop.parameters[3] & 0xFF, 0);
            ExFreePool(Block); /* the fill is put back when the stop was caught */
        }
    }
}

static void Overrun_LastSlackByte_19_21(void **state)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 20, TAG);
    (void)state;
    Scribble(&Block[31], 0);
    Expect(Free, Block, 0x19, 0x21, (uint64_t)Block, 20, 0x5A5A5A5A5A5A5A5A);
    ExFreePool(Block);
}

/* ---- after the free ---- */
static void AllocateSame(void *Bytes)
{
    (void)!ExAllocatePool2(POOL_FLAG_NON_PAGED, (SIZE_T)Bytes, TAG);
}

static void UseAfterFree_WriteSeenWhenHandedOutAgain_C6(void **state)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 96, TAG), Again;
    (void)state;
    ExFreePool(Block);
    Scribble(&Block[9], 0x11);
    Expect(AllocateSame, (void *)96, 0xC6, (uint64_t)Block + 9, 1, 0, 0xDFDFDFDFDFDF11DF);
    Again = ExAllocatePool2(POOL_FLAG_NON_PAGED, 96, TAG);
    assert_ptr_equal(Again, Block);
    ExFreePool(Again);
}

/* ---- what a freed block must not hold; under pool tracking ---- */
static void Free_ActiveTimerInBlock_C7_0(void **state)
{
    struct {
        ULONG64 Before[4];
        KTIMER Timer;
        ULONG64 After[4];
    } *Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Block), TAG);
    LARGE_INTEGER Hour = {.QuadPart = -36000000000ll};
    (void)state;
    KeInitializeTimer(&Block->Timer);
    KeSetTimer(&Block->Timer, Hour, NULL);
    Expect(Free, Block, 0xC7, 0, (uint64_t)&Block->Timer, (uint64_t)Block, (uint64_t)(Block + 1));
    KeCancelTimer(&Block->Timer);
    ExFreePool(Block);
}

static void Routine(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    (void)Dpc;
    (void)Context;
    (void)First;
    (void)Second;
}

static void FreeWithQueuedDpc(void *Block)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old); /* the DPC waits */
    KeInsertQueueDpc(Block, NULL, NULL);
    ExFreePool(Block);
    KeLowerIrql(Old);
}

static void Free_QueuedDpcInBlock_C7_1(void **state)
{
    PKDPC Dpc = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(KDPC), TAG);
    (void)state;
    KeInitializeDpc(Dpc, Routine, NULL);
    Expect(FreeWithQueuedDpc, Dpc, 0xC7, 1, (uint64_t)Dpc, (uint64_t)Dpc, (uint64_t)(Dpc + 1));
    KeRemoveQueueDpc(Dpc);
    KeFlushQueuedDpcs();
    ExFreePool(Dpc);
}

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.verifier = 8; /* pool tracking */
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
        cmocka_unit_test(Allocate_PagedAtDispatch_C2_8),
        cmocka_unit_test(Allocate_NonPagedAboveDispatch_C2_8),
        cmocka_unit_test(Allocate_MustSucceed_C2_9A),
        cmocka_unit_test(Allocate_TagZero_C2_9B),
        cmocka_unit_test(Allocate_TagBig_C2_9C),
        cmocka_unit_test(Allocate_TagWithoutLetterOrDigit_C2_9D),
        cmocka_unit_test(Overrun_ByteBehindBlock_19_21),
        cmocka_unit_test(Overrun_LastSlackByte_19_21),
        cmocka_unit_test(Free_ActiveTimerInBlock_C7_0),
        cmocka_unit_test(Free_QueuedDpcInBlock_C7_1),
        cmocka_unit_test(UseAfterFree_WriteSeenWhenHandedOutAgain_C6),
    };
    return cmocka_run_group_tests(tests, Start, End);
}
