/*
 * pool_free.c - every free that is not the free of a live block's exact start, and its five numbers
 * (docs/CHOICES.md). SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <pthread.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/ex.h"

#define TAG      'tseT'
#define NONPAGED (POOL_FLAG_NON_PAGED)

static void FreeUntagged(void *Block)
{
    (ExFreePool)(Block);
}

static void FreeTagged(void *Block)
{
    ExFreePoolWithTag(Block, TAG);
}

static void Expect(void (*Function)(void *), void *Argument, uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4)
{
    ntmm_bugcheck Stop;
    const CHAR *Text;
    assert_true(ntmm_catch(Function, Argument, &Stop));
    assert_int_equal(Stop.code, Code);
    assert_int_equal(Stop.parameters[0], P1);
    assert_int_equal(Stop.parameters[1], P2);
    assert_int_equal(Stop.parameters[2], P3);
    assert_int_equal(Stop.parameters[3], P4);
    Text = ExpValidatePools();
    if (Text != NULL)
        fail_msg("%s", Text);
}

static uint64_t PagedBase(uint64_t *Bytes)
{
    MM_REGION_INFO Info;
    MmQueryRegion(MmRegionPagedPool, &Info);
    if (Bytes != NULL)
        *Bytes = Info.End - Info.Base;
    return Info.Base;
}

static void Free_SecondTimeSmall_C2_7(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 100, TAG);
    (void)state;
    ExFreePool(Block);
    Expect(FreeUntagged, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
    Expect(FreeTagged, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
}

static void Free_SecondTimePaged_C2_7(void **state)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_PAGED, 2500, TAG);
    (void)state;
    ExFreePool(Block);
    Expect(FreeUntagged, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
}

static void Free_SecondTimeBig_C2_7(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 3 * PAGE_SIZE, TAG);
    (void)state;
    ExFreePool(Block);
    Expect(FreeUntagged, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, 3 * PAGE_SIZE, TAG);
    ExFreePool(Block);
    Expect(FreeUntagged, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
}

static void *FreeElsewhere(void *Block)
{
    ExFreePoolWithTag(Block, TAG);
    return NULL;
}

static void Free_SecondTimeAfterAnotherThreads_C2_7(void **state)
{
    pthread_t Thread;
    PUCHAR Block = ExAllocatePool2(NONPAGED, 48, TAG);
    (void)state;
    assert_int_equal(pthread_create(&Thread, NULL, FreeElsewhere, Block), 0);
    pthread_join(Thread, NULL);
    Expect(FreeUntagged, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
}

static void Free_MiddleOfNonPagedBlock_C2_46(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 200, TAG);
    PUCHAR Big = ExAllocatePool2(NONPAGED, 9000, TAG);
    (void)state;
    Expect(FreeUntagged, Block + 16, 0xC2, 0x46, (uint64_t)Block + 16, 0, 0);
    Expect(FreeTagged, Block + 1, 0xC2, 0x46, (uint64_t)Block + 1, 0, 0);
    Expect(FreeUntagged, Block + 199, 0xC2, 0x46, (uint64_t)Block + 199, 0, 0);
    Expect(FreeUntagged, Big + PAGE_SIZE, 0xC2, 0x46, (uint64_t)Big + PAGE_SIZE, 0, 0);
    Expect(FreeUntagged, Big + 8, 0xC2, 0x46, (uint64_t)Big + 8, 0, 0);
    ExFreePool(Block);
    ExFreePool(Big);
}

static void Free_MiddleOfPagedBlock_C2_41286(void **state)
{
    uint64_t Base = PagedBase(NULL);
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_PAGED, 200, TAG);
    PUCHAR Big = ExAllocatePool2(POOL_FLAG_PAGED, 9000, TAG);
    (void)state;
    Expect(FreeUntagged, Block + 32, 0xC2, 0x41286, 0, 0, ((uint64_t)Block - Base) >> 12);
    Expect(FreeUntagged, Big + PAGE_SIZE, 0xC2, 0x41286, 0, 0, (((uint64_t)Big - Base) >> 12) + 1);
    ExFreePool(Block);
    ExFreePool(Big);
}

static void Free_NeverAllocatedNonPaged_C2_44(void **state)
{
    MM_REGION_INFO Info;
    (void)state;
    MmQueryRegion(MmRegionNonPagedPool, &Info);
    Expect(FreeUntagged, (void *)(Info.End - PAGE_SIZE), 0xC2, 0x44, Info.End - PAGE_SIZE, 0, 0);
}

static void Free_NeverHandedOutBlockOfASlab_C2_44(void **state)
{
    PUCHAR Block = ExAllocatePoolWithTag(NonPagedPoolExecute, 2048, TAG), Other;
    (void)state;
    /* The other half of the page was never handed out: the first block of the class in this pool kind. */
    Other = (PUCHAR)((ULONG_PTR)Block ^ 2048);
    Expect(FreeUntagged, Other, 0xC2, 0x44, (uint64_t)Other, 0, 0);
    ExFreePool(Block);
}

static void Free_NeverAllocatedPaged_C2_50(void **state)
{
    uint64_t Bytes, Base = PagedBase(&Bytes), Address = Base + Bytes - 2 * PAGE_SIZE;
    (void)state;
    Expect(FreeUntagged, (void *)Address, 0xC2, 0x50, Address, (Bytes >> 12) - 2, Bytes);
}

static void Free_UserAddress_C2_40(void **state)
{
    PVOID User = MmAllocateUserPages(1, PAGE_READWRITE);
    (void)state;
    assert_non_null(User);
    Expect(FreeUntagged, User, 0xC2, 0x40, (uint64_t)User, HalFacts.SystemBase, 0);
    MmFreeUserPages(User, 1);
}

/* "a user-mode address was passed": whatever it is, where nobody has memory. An address of the upper half that is no pool's is not one. */
static void Free_LowerHalf_C2_40(void **state)
{
    PUCHAR Nothing = mmap(NULL, 3 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;
    assert_ptr_not_equal(Nothing, MAP_FAILED);
    Expect(FreeUntagged, Nothing + PAGE_SIZE, 0xC2, 0x40, (uint64_t)(Nothing + PAGE_SIZE), HalFacts.SystemBase, 0);
    Expect(FreeTagged, Nothing + PAGE_SIZE + 8, 0xC2, 0x40, (uint64_t)(Nothing + PAGE_SIZE + 8), HalFacts.SystemBase, 0);
    munmap(Nothing, 3 * PAGE_SIZE);
    Expect(FreeUntagged, (void *)0xFFFFA00012345670, 0xC2, 0x42, 0xFFFFA00012345670, 0, 0);
}

static void Free_Null_C2_40(void **state)
{
    (void)state;
    Expect(FreeUntagged, NULL, 0xC2, 0x40, 0, HalFacts.SystemBase, 0);
}

static int Global;

static void Free_StackGlobalHeap_C2_42(void **state)
{
    int Local = 0;
    void *Heap = malloc(64);
    (void)state;
    Expect(FreeUntagged, &Local, 0xC2, 0x42, (uint64_t)&Local, 0, 0);
    Expect(FreeTagged, &Global, 0xC2, 0x42, (uint64_t)&Global, 0, 0);
    Expect(FreeUntagged, Heap, 0xC2, 0x42, (uint64_t)Heap, 0, 0);
    free(Heap);
}

static void Free_OtherKernelRegion_C2_42(void **state)
{
    PVOID Pages = MmAllocatePages(MmRegionKernelStacks, 4, 0, HighPoolPriority);
    (void)state;
    assert_non_null(Pages);
    Expect(FreeUntagged, Pages, 0xC2, 0x42, (uint64_t)Pages, 0, 0);
    MmFreePages(Pages, 4);
}

static void FreeWrongTag(void *Block)
{
    ExFreePoolWithTag(Block, 'rehO');
}

static void Free_OtherTag_C2_A(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 100, TAG), Big = ExAllocatePool2(POOL_FLAG_PAGED, 10000, TAG);
    (void)state;
    Expect(FreeWrongTag, Block, 0xC2, 0xA, (uint64_t)Block, TAG, 'rehO');
    Expect(FreeWrongTag, Big, 0xC2, 0xA, (uint64_t)Big, TAG, 'rehO');
    ExFreePoolWithTag(Block, TAG);
    ExFreePoolWithTag(Big, TAG);
}

static void Free_ProtectedTagWithoutIt_C2_A(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 100, TAG | PROTECTED_POOL);
    (void)state;
    Expect(FreeUntagged, Block, 0xC2, 0xA, (uint64_t)Block, TAG | PROTECTED_POOL, 0);
    ExFreePoolWithTag(Block, TAG | PROTECTED_POOL);
}

static void FreePagedAtDispatch(void *Block)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    ExFreePool(Block);
    KeLowerIrql(Old);
}

static void FreeAboveDispatch(void *Block)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL + 1, &Old);
    ExFreePool(Block);
    KeLowerIrql(Old);
}

static void Free_PagedAtDispatch_C2_9(void **state)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_PAGED, 100, TAG), Big = ExAllocatePool2(POOL_FLAG_PAGED, 10000, TAG);
    (void)state;
    Expect(FreePagedAtDispatch, Block, 0xC2, 9, DISPATCH_LEVEL, PagedPool, (uint64_t)Block);
    Expect(FreePagedAtDispatch, Big, 0xC2, 9, DISPATCH_LEVEL, PagedPool, (uint64_t)Big);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    ExFreePool(Block);
    ExFreePool(Big);
}

static void Free_NonPagedAboveDispatch_C2_9(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 100, TAG);
    (void)state;
    Expect(FreeAboveDispatch, Block, 0xC2, 9, DISPATCH_LEVEL + 1, NonPagedPoolNx, (uint64_t)Block);
    ExFreePool(Block);
}

static void FreeWithParameter(void *Block)
{
    POOL_EXTENDED_PARAMETER Parameter = {{0}, {0}};
    ExFreePool2(Block, TAG, &Parameter, 1);
}

static void Free2_ParameterForOrdinaryBlock_C2_99(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 100, TAG);
    (void)state;
    Expect(FreeWithParameter, Block, 0xC2, 0x99, (uint64_t)Block, 0, 0);
    ExFreePool2(Block, TAG, NULL, 0);
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

#if !NTMM_SANITIZED
/* verifier=none: only what a verifier adds is gone. */
static void Free_SlackAndFreedBlockWrittenTo_NotToldWithoutChecks(void **state)
{
    PUCHAR Block = ExAllocatePool2(NONPAGED, 100, TAG), Again;
    (void)state;
    Block[100] = 1; /* slack */
    ExFreePoolWithTag(Block, TAG);
    Block[0] = 1; /* freed */
    Again = ExAllocatePool2(NONPAGED, 100, TAG);
    assert_ptr_equal(Again, Block);
    Expect(FreeTagged, Again + 16, 0xC2, 0x46, (uint64_t)Again + 16, 0, 0);
    ExFreePoolWithTag(Again, TAG);
    Expect(FreeTagged, Again, 0xC2, 7, 0, TAG, (uint64_t)Again);
}
#endif

static int StartBare(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    return ntmm_parse_options("verifier=none,stacks=0", &Options) != 0 || ntmm_start(&Options) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Free_SecondTimeSmall_C2_7),
        cmocka_unit_test(Free_SecondTimePaged_C2_7),
        cmocka_unit_test(Free_SecondTimeBig_C2_7),
        cmocka_unit_test(Free_SecondTimeAfterAnotherThreads_C2_7),
        cmocka_unit_test(Free_MiddleOfNonPagedBlock_C2_46),
        cmocka_unit_test(Free_MiddleOfPagedBlock_C2_41286),
        cmocka_unit_test(Free_NeverAllocatedNonPaged_C2_44),
        cmocka_unit_test(Free_NeverHandedOutBlockOfASlab_C2_44),
        cmocka_unit_test(Free_NeverAllocatedPaged_C2_50),
        cmocka_unit_test(Free_UserAddress_C2_40),
        cmocka_unit_test(Free_LowerHalf_C2_40),
        cmocka_unit_test(Free_Null_C2_40),
        cmocka_unit_test(Free_StackGlobalHeap_C2_42),
        cmocka_unit_test(Free_OtherKernelRegion_C2_42),
        cmocka_unit_test(Free_OtherTag_C2_A),
        cmocka_unit_test(Free_ProtectedTagWithoutIt_C2_A),
        cmocka_unit_test(Free_PagedAtDispatch_C2_9),
        cmocka_unit_test(Free_NonPagedAboveDispatch_C2_9),
        cmocka_unit_test(Free2_ParameterForOrdinaryBlock_C2_99),
    };
    const struct CMUnitTest Bare[] = {
        cmocka_unit_test(Free_SecondTimeSmall_C2_7),
        cmocka_unit_test(Free_SecondTimePaged_C2_7),
        cmocka_unit_test(Free_SecondTimeBig_C2_7),
        cmocka_unit_test(Free_SecondTimeAfterAnotherThreads_C2_7),
        cmocka_unit_test(Free_MiddleOfNonPagedBlock_C2_46),
        cmocka_unit_test(Free_MiddleOfPagedBlock_C2_41286),
        cmocka_unit_test(Free_NeverAllocatedNonPaged_C2_44),
        cmocka_unit_test(Free_OtherKernelRegion_C2_42),
        cmocka_unit_test(Free_OtherTag_C2_A),
        cmocka_unit_test(Free_ProtectedTagWithoutIt_C2_A),
        cmocka_unit_test(Free_PagedAtDispatch_C2_9),
        cmocka_unit_test(Free_NonPagedAboveDispatch_C2_9),
#if !NTMM_SANITIZED
        cmocka_unit_test(Free_SlackAndFreedBlockWrittenTo_NotToldWithoutChecks),
#endif
    };
    int Failed = cmocka_run_group_tests(tests, Start, End);
    return Failed + cmocka_run_group_tests(Bare, StartBare, End);
}
