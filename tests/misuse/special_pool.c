/*
 * special_pool.c - what special pool finds, with the exact five numbers; what comes close and is right; and what is honest about it:
 * counters, choice by tag and size, the fall back. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <ntifs.h>
#include "vf/vf.h"
#include "ex/exp.h"
#include "mm/mi.h"
#include "tag_kit.h"

#define TAG 'cepS'

static volatile UCHAR Sink;

static void Restart(uint32_t Verifier, bool Start, uint32_t Tag, uint32_t Sample, uint64_t Limit)
{
    ntmm_options Options;
    if (ntmm_running())
        assert_int_equal(ntmm_stop(), 0);
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.cpus = 2;
    Options.verifier = Verifier;
    Options.special_pool_start = Start;
    Options.special_pool_tag = Tag;
    Options.special_pool_sample = Sample;
    Options.special_pool_rate = 0;
    Options.specialpool = Limit;
    assert_int_equal(ntmm_start(&Options), 0);
}

static bool IsSpecial(const void *Block)
{
    return MmRegionOf(Block) == MmRegionSpecialPool || MmRegionOf(Block) == MmRegionPagedSpecialPool;
}

static void AllGood(void)
{
    const CHAR *Text = ExpValidatePools();
    assert_null(Text);
    assert_null(VfValidate());
    Text = MiValidateAll();
    if (Text != NULL)
        fail_msg("%s", Text);
}

static void ReadAt(void *At)
{
    Sink = *(volatile UCHAR *)At;
}

static void WriteAt(void *At)
{
    *(volatile UCHAR *)At = 1;
}

static void FreeAt(void *At)
{
    (ExFreePool)(At);
}

/* A fault: code, address and whether it wrote; parameter 3 is the instruction's. */
static void ExpectFault(void (*Function)(void *), void *At, uint32_t Code, uint64_t Write)
{
    ntmm_bugcheck Stop;
    KIRQL Irql = KeGetCurrentIrql();
    assert_true(ntmm_catch(Function, At, &Stop));
    assert_int_equal(Stop.code, Code);
    assert_int_equal(Stop.parameters[0], (uint64_t)At);
    assert_int_equal(Stop.parameters[1], Write);
    assert_true(Stop.parameters[2] != 0);
    assert_int_equal(Stop.parameters[3], 0);
    assert_int_equal(KeGetCurrentIrql(), Irql);
}

static const POOL_FLAGS Pools[] = {POOL_FLAG_NON_PAGED, POOL_FLAG_PAGED, POOL_FLAG_NON_PAGED_EXECUTE};

/* Verify End: a block ends where its page does, as alignment permits; the page behind cannot be touched. */
static void End_Overrun_D6(void **State)
{
    unsigned Pool;
    SIZE_T Size;
    (void)State;
    for (Pool = 0; Pool < 3; Pool++) {
        for (Size = 1; Size <= 4096; Size += Size < 70 ? 1 : 501) {
            PUCHAR Block = ExAllocatePool2(Pools[Pool], Size, TAG), Edge;
            SIZE_T Index;
            assert_true(IsSpecial(Block));
            Edge = (PUCHAR)(((ULONG_PTR)Block + Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1));
            assert_true(Size == PAGE_SIZE || (SIZE_T)(Edge - Block) == ((Size + 15) & ~15ull));
            for (Index = 0; Index < Size; Index++)
                assert_int_equal(Block[Index], 0);
            memset(Block, 0x77, Size); /* all of it is the caller's */
            if (Size % 16 == 0) {
                ExpectFault(ReadAt, Block + Size, 0xD6, 0);
                ExpectFault(WriteAt, Block + Size, 0xD6, 1);
            }
            ExFreePool(Block);
        }
    }
    AllGood();
}

/* At DISPATCH_LEVEL it is the same stop: the fault is not one of paging. */
static void AtDispatch(void *Block)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    WriteAt(Block);
}

static void End_OverrunAtDispatch_D6(void **State)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 32, TAG);
    (void)State;
    ExpectFault(AtDispatch, Block + 32, 0xD6, 1);
    ExFreePool(Block);
}

/* Behind an odd size, before alignment's end: found when the block is freed. */
static void End_OverrunInTail_C1_24(void **State)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 61, TAG);
    UCHAR Was = Block[61];
    (void)State;
    Block[61] = (UCHAR)~Was;
    ExpectStop(FreeAt, Block, 0xC1, (uint64_t)Block, (uint64_t)Block + 61, (UCHAR)~Was, 0x24);
    ExFreePool(Block);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, 61, TAG);
    Was = Block[62];
    Block[62] = Was ^ 4; /* one bit */
    ExpectStop(FreeAt, Block, 0xC1, (uint64_t)Block, (uint64_t)Block + 62, Was ^ 4, 0x32);
    ExFreePool(Block);
    AllGood();
}

/* In front of the block: its own page, found when it is freed. */
static void End_Underrun_C1_23(void **State)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, TAG);
    UCHAR Was = Block[-1];
    (void)State;
    Block[-1] = (UCHAR)~Was;
    ExpectStop(FreeAt, Block, 0xC1, (uint64_t)Block, (uint64_t)Block - 1, (UCHAR)~Was, 0x23);
    ExFreePool(Block);
}

/* A page and more: starts on a page; what lies behind the last page faults, what lies behind the block in it is checked. */
static void End_PageAndMore_Caught(void **State)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 3 * PAGE_SIZE, TAG);
    UCHAR Was;
    (void)State;
    assert_true(IsSpecial(Block));
    assert_int_equal((ULONG_PTR)Block & (PAGE_SIZE - 1), 0);
    memset(Block, 1, 3 * PAGE_SIZE);
    ExpectFault(WriteAt, Block + 3 * PAGE_SIZE, 0xD6, 1);
    ExFreePool(Block);
    ExpectFault(ReadAt, Block + 2 * PAGE_SIZE + 9, 0xD5, 0);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, PAGE_SIZE + 100, TAG);
    Was = Block[PAGE_SIZE + 100];
    Block[PAGE_SIZE + 100] = (UCHAR)~Was;
    ExpectStop(FreeAt, Block, 0xC1, (uint64_t)Block, (uint64_t)Block + PAGE_SIZE + 100, (UCHAR)~Was, 0x24);
    ExFreePool(Block);
    AllGood();
}

/* After the free: any touch. */
static void Freed_Touched_D5(void **State)
{
    unsigned Pool;
    (void)State;
    for (Pool = 0; Pool < 3; Pool++) {
        PUCHAR Block = ExAllocatePool2(Pools[Pool], 100, TAG);
        ExFreePool(Block);
        ExpectFault(ReadAt, Block, 0xD5, 0);
        ExpectFault(WriteAt, Block + 99, 0xD5, 1);
    }
}

static void CopyFrom(void *At)
{
    RtlCopyMemory((PVOID)&Sink, At, 1);
}

/* The same addresses are not used again soon: a stale pointer does not hit the next block. */
static void Freed_AddressNotReusedSoon(void **State)
{
    PUCHAR First = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG), Other;
    unsigned Round;
    (void)State;
    ExFreePool(First);
    for (Round = 0; Round < 500; Round++) {
        Other = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        assert_ptr_not_equal(Other, First);
        ExFreePool(Other);
    }
    ExpectFault(CopyFrom, First, 0xD5, 0);
}

static void FreeAtDispatch(void *Block)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    (ExFreePool)(Block);
}

static void FreeTagged(void *Block)
{
    ExFreePoolWithTag(Block, 'rhtO');
}

/* Frees of something else, and of the right thing wrongly. */
static void Free_Bad_C1(void **State)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_PAGED, 100, TAG);
    (void)State;
    ExpectStop(FreeAt, Block + 16, 0xC1, (uint64_t)Block + 16, 100, 84, 0x21);
    ExpectStop(FreeAtDispatch, Block, 0xC1, DISPATCH_LEVEL, PagedPool, (uint64_t)Block, 0x31);
    ExpectStop(FreeTagged, Block, 0xC2, 0xA, (uint64_t)Block, TAG, 'rhtO');
    ExFreePoolWithTag(Block, TAG);
    ExpectStop(FreeAt, Block, 0xC1, (uint64_t)Block, 0, 0, 0x20);
    ExpectStop(FreeAt, Block - 64 * PAGE_SIZE, 0xC1, (uint64_t)Block - 64 * PAGE_SIZE, 0, 0, 0x20);
    AllGood();
}

/* The priorities "SpecialPoolOverrun" and "Underrun" choose the side for one block. */
static void Priority_ChoosesTheSide(void **State)
{
    PUCHAR Block = ExAllocatePoolWithTagPriority(PagedPool, 100, TAG, NormalPoolPrioritySpecialPoolUnderrun);
    (void)State;
    assert_int_equal((ULONG_PTR)Block & (PAGE_SIZE - 1), 0);
    ExpectFault(WriteAt, Block - 1, 0xD6, 1);
    ExFreePool(Block);
    Block = ExAllocatePoolWithTagPriority(PagedPool, 112, TAG, LowPoolPrioritySpecialPoolOverrun);
    assert_int_equal((ULONG_PTR)(Block + 112) & (PAGE_SIZE - 1), 0);
    ExFreePool(Block);
}

/* "POOL_FLAG_SPECIAL_POOL: Make allocation in the special pool (used for debugging). If the special pool cannot be used the allocator will attempt
 * to use the normal pool": one block of one caller, with no option of the Verifier. */
static void Flag_AsksForIt(void **State)
{
    POOL_EXTENDED_PARAMETER Start;
    PUCHAR Block, Other;
    unsigned Pool;
    (void)State;
    Restart(0, false, 0, 0, 0);
    memset(&Start, 0, sizeof(Start));
    Start.Type = PoolExtendedParameterPriority;
    Start.Priority = NormalPoolPrioritySpecialPoolUnderrun;
    for (Pool = 0; Pool < 3; Pool++) {
        Block = ExAllocatePool2(Pools[Pool] | POOL_FLAG_SPECIAL_POOL, 112, TAG);
        Other = ExAllocatePool2(Pools[Pool], 112, TAG);
        assert_true(IsSpecial(Block));
        assert_false(IsSpecial(Other));
        assert_int_equal((ULONG_PTR)(Block + 112) & (PAGE_SIZE - 1), 0);
        ExpectFault(WriteAt, Block + 112, 0xD6, 1);
        ExpectStop(FreeTagged, Block, 0xC2, 0xA, (uint64_t)Block, TAG, 'rhtO');
        ExFreePoolWithTag(Block, TAG);
        ExpectFault(ReadAt, Block, 0xD5, 0);
        ExFreePool(Other);
        Block = ExAllocatePool3(Pools[Pool] | POOL_FLAG_SPECIAL_POOL, 100, TAG, &Start, 1);
        assert_true(IsSpecial(Block));
        assert_int_equal((ULONG_PTR)Block & (PAGE_SIZE - 1), 0);
        ExpectFault(WriteAt, Block - 1, 0xD6, 1);
        ExFreePool2(Block, TAG, NULL, 0);
        Block = ExAllocatePool2(Pools[Pool] | POOL_FLAG_SPECIAL_POOL | POOL_FLAG_USE_QUOTA, 100, TAG);
        assert_non_null(Block);
        assert_false(IsSpecial(Block));
        ExFreePool(Block);
    }
    Block = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_SPECIAL_POOL | POOL_FLAG_UNINITIALIZED, 3 * PAGE_SIZE, TAG);
    assert_true(IsSpecial(Block));
    ExFreePool(Block);
    AllGood();
    Restart(0, false, 0, 0, 64 * PAGE_SIZE); /* full: the normal pool */
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_SPECIAL_POOL, 60 * PAGE_SIZE, TAG);
    assert_non_null(Block);
    assert_false(IsSpecial(Block));
    ExFreePool(Block);
    AllGood();
}

static void Start_Underrun_D6(void **State)
{
    PUCHAR Block, Next;
    UCHAR Was;
    (void)State;
    Restart(VF_SPECIAL_POOL, true, 0, 0, 0);
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    Next = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    assert_int_equal((ULONG_PTR)Block & (PAGE_SIZE - 1), 0);
    ExpectFault(WriteAt, Block - 1, 0xD6, 1);
    ExpectFault(ReadAt, Next - 1, 0xD6, 0);
    Was = Block[101];
    Block[101] = (UCHAR)~Was; /* an overrun is found when the block is freed */
    ExpectStop(FreeAt, Block, 0xC1, (uint64_t)Block, (uint64_t)Block + 101, (UCHAR)~Was, 0x24);
    ExFreePool(Block);
    ExFreePool(Next);
    AllGood();
}

/* Windows' PoolTag value: one tag with wildcards, or a size class. */
static void Choice_TagOrSize_OnlyThose(void **State)
{
    PVOID One, Other;
    (void)State;
    Restart(VF_SPECIAL_POOL, false, 'S' | '?' << 8 | '*' << 16, 0, 0);
    One = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 'cexS');
    Other = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 'cexT');
    assert_true(IsSpecial(One));
    assert_false(IsSpecial(Other));
    ExFreePool(One);
    ExFreePool(Other);
    Restart(VF_SPECIAL_POOL, false, 0x30, 0, 0);
    One = ExAllocatePool2(POOL_FLAG_PAGED, 17, TAG);
    Other = ExAllocatePool2(POOL_FLAG_PAGED, 32, TAG);
    assert_true(IsSpecial(One) && IsSpecial(Other));
    ExFreePool(One);
    ExFreePool(Other);
    One = ExAllocatePool2(POOL_FLAG_PAGED, 16, TAG);
    Other = ExAllocatePool2(POOL_FLAG_PAGED, 33, TAG);
    assert_false(IsSpecial(One) || IsSpecial(Other));
    ExFreePool(One);
    ExFreePool(Other);
}

static BOOLEAN CountBlock(const EXP_BLOCK_INFO *Info, PVOID Context)
{
    if (Info->Tag == TAG)
        ++*(unsigned *)Context;
    return TRUE;
}

/* When special pool is full "the request silently falls back"; the counters say so, the tags know no difference. */
static void Full_FallsBack_Counted(void **State)
{
    PVOID Blocks[400];
    unsigned Index, Special = 0, Seen = 0;
    VF_COUNTERS Counters;
    (void)State;
    Restart(VF_SPECIAL_POOL, false, 0, 0, 1 << 20); /* 256 pages */
    for (Index = 0; Index < 400; Index++) {
        Blocks[Index] = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        assert_non_null(Blocks[Index]);
        Special += IsSpecial(Blocks[Index]);
    }
    assert_true(Special > 50 && Special <= 128); /* two pages of addresses each */
    VfQueryCounters(&Counters);
    assert_true(Counters.AllocationsSucceededSpecialPool >= Special);
    assert_true(Counters.SpecialPoolFull >= 400 - Special);
    assert_int_equal(KitTagUse(TAG).Blocks, 400);
    assert_int_equal(KitTagUse(TAG).Bytes, 40000);
    ExpEnumerateBlocks(CountBlock, &Seen);
    assert_int_equal(Seen, 400);
    AllGood();
    for (Index = 0; Index < 400; Index++)
        ExFreePool(Blocks[Index]);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
    assert_int_equal(KitTagUse(TAG).Bytes, 0);
    AllGood();
}

/* Nobody asked: one allocation in about a thousand is special pool's, and keeps the ordinary pool's stops where it has any. */
static void Sample_OneInAThousand_OrdinaryStops(void **State)
{
    PUCHAR Block = NULL, Paged = NULL;
    unsigned Index, Special = 0;
    ntmm_options Options;
    UCHAR Was;
    (void)State;
    ntmm_default_options(&Options);
    assert_int_equal(Options.special_pool_sample, 1000);
    Restart(0, false, 0, 1000, 0);
    for (Index = 0; Index < 100000; Index++) {
        PUCHAR One = ExAllocatePool2(Index & 1 ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, 100, TAG);
        PUCHAR *Kept = Index & 1 ? &Paged : &Block;
        Special += IsSpecial(One);
        if (IsSpecial(One) && *Kept == NULL)
            *Kept = One;
        else
            ExFreePool(One);
    }
    assert_in_range(Special, 50, 200);
    assert_non_null(Block);
    assert_non_null(Paged);
    ExpectFault(WriteAt, Block + 112, 0xD6, 1);
    Was = Block[100];
    Block[100] = (UCHAR)~Was;
    {
        ntmm_bugcheck Stop;
        assert_true(ntmm_catch(FreeAt, Block, &Stop));
        assert_int_equal(Stop.code, 0x19);
        assert_int_equal(Stop.parameters[0], 0x21);
        assert_int_equal(Stop.parameters[1], (uint64_t)Block);
        assert_int_equal(Stop.parameters[2], 100);
    }
    ExpectStop(FreeAt, Block + 16, 0xC2, 0x46, (uint64_t)Block + 16, 0, 0);
    ExFreePool(Block);
    ExpectStop(FreeAt, Block, 0xC2, 7, 0, TAG, (uint64_t)Block);
    ExpectFault(ReadAt, Block, 0xD5, 0);
    ExpectStop(FreeAtDispatch, Paged, 0xC2, 9, DISPATCH_LEVEL, PagedPool, (uint64_t)Paged);
    ExFreePool(Paged);
    AllGood();
}

/* Samples are bounded by time too: a burst, then so many a second; 0: no bound. */
static void Rate_BurstThenNoMore(void **State)
{
    ntmm_options Options;
    VF_COUNTERS Counters;
    (void)State;
    for (unsigned Rate = 0; Rate < 2; Rate++) {
        assert_int_equal(ntmm_stop(), 0);
        ntmm_default_options(&Options);
        assert_int_equal(Options.special_pool_rate, 1000);
        Options.ram = 64 << 20;
        Options.special_pool_sample = 1;
        Options.special_pool_rate = Rate;
        assert_int_equal(ntmm_start(&Options), 0);
        for (unsigned Index = 0; Index < 10000; Index++)
            ExFreePool(ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG));
        VfQueryCounters(&Counters);
        if (Rate == 0) {
            assert_true(Counters.Sampled > 500);
            assert_int_equal(Counters.SamplesLeftOut, 0);
        } else {
            assert_in_range(Counters.Sampled, 64, 64 + 60); /* a minute at most */
            assert_true(Counters.SamplesLeftOut > 500);
        }
        AllGood();
    }
}

/* Live: on and off without a new start. */
static void Live_OnAndOff(void **State)
{
    PVOID One, Other;
    (void)State;
    Restart(0, false, 0, 0, 0);
    One = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    assert_false(IsSpecial(One));
    assert_int_equal(ntmm_set_verifier(VF_SPECIAL_POOL), 0);
    Other = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    assert_true(IsSpecial(Other));
    assert_int_equal(VfSetFlags(0), STATUS_SUCCESS);
    ExFreePool(One);
    One = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
    assert_false(IsSpecial(One));
    ExFreePool(One);
    ExFreePool(Other); /* wherever it lies */
    assert_int_equal(ntmm_set_verifier(VF_DDI), -1);
    assert_non_null(strstr(ntmm_error(), "can be turned on and off"));
    AllGood();
}

/* Threads, all sizes, both pools, frees elsewhere. */
static PVOID volatile Slots[64];

static void *Churn(void *Argument)
{
    unsigned Seed = (unsigned)(uintptr_t)Argument, Round;
    for (Round = 0; Round < 4000; Round++) {
        SIZE_T Size;
        PUCHAR Block;
        Seed = Seed * 1664525u + 1013904223u;
        Size = 1 + (Seed >> 8) % (Seed & 64 ? 9000 : 300);
        Block = ExAllocatePool2(Pools[(Seed >> 4) % 3], Size, TAG);
        if (Block != NULL) {
            memset(Block, 1, Size);
            Block = __atomic_exchange_n(&Slots[(Seed >> 20) % 64], Block, __ATOMIC_ACQ_REL);
        }
        if (Block != NULL)
            ExFreePoolWithTag(Block, TAG);
    }
    return NULL;
}

static void Threads_NothingLost(void **State)
{
    pthread_t Threads[4];
    unsigned Index;
    (void)State;
    Restart(VF_SPECIAL_POOL, false, 0, 0, 4 << 20);
    for (Index = 0; Index < 4; Index++)
        Threads[Index] = Spawn(Churn, (void *)(uintptr_t)(Index + 1));
    for (Index = 0; Index < 4; Index++)
        Join(Threads[Index]);
    AllGood();
    for (Index = 0; Index < 64; Index++)
        if (Slots[Index] != NULL)
            ExFreePool(Slots[Index]);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
    assert_int_equal(KitTagUse(TAG).Bytes, 0);
    AllGood();
}

static int Start(void **State)
{
    (void)State;
    Restart(VF_SPECIAL_POOL, false, 0, 0, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(End_Overrun_D6),
        cmocka_unit_test(End_OverrunAtDispatch_D6),
        cmocka_unit_test(End_OverrunInTail_C1_24),
        cmocka_unit_test(End_Underrun_C1_23),
        cmocka_unit_test(End_PageAndMore_Caught),
        cmocka_unit_test(Freed_Touched_D5),
        cmocka_unit_test(Freed_AddressNotReusedSoon),
        cmocka_unit_test(Free_Bad_C1),
        cmocka_unit_test(Priority_ChoosesTheSide),
        cmocka_unit_test(Flag_AsksForIt),
        cmocka_unit_test(Start_Underrun_D6),
        cmocka_unit_test(Choice_TagOrSize_OnlyThose),
        cmocka_unit_test(Full_FallsBack_Counted),
        cmocka_unit_test(Sample_OneInAThousand_OrdinaryStops),
        cmocka_unit_test(Rate_BurstThenNoMore),
        cmocka_unit_test(Live_OnAndOff),
        cmocka_unit_test(Threads_NothingLost),
    };
    return cmocka_run_group_tests(Tests, Start, StopSystem);
}
