/*
 * pool_stress_test.c - eight threads that allocate, and free each other's blocks; then everything must be
 * accounted for.
 *
 * Each block carries a pattern made from its address and size, checked when it is freed, so that a block
 * handed out twice or resized shows. Threads come and go (a round ends its threads and starts new ones), so
 * slabs are abandoned and adopted. At the end of each round, with every thread gone: ExpValidatePools and
 * MiValidateAll find nothing, and when the last block is freed every tag's bytes are zero and its allocations
 * equal its frees. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ex/ex.h"

#define THREADS 8
#define SHARED  2048
#define TAGS    64
#define ROUNDS  4

typedef struct BLOCK {
    struct BLOCK *Self;
    ULONG Size, Tag;
    UCHAR Data[];
} BLOCK;

static BLOCK *Shared[SHARED]; /* atomic */
static ULONG64 Requested;     /* atomic: bytes asked for and not yet freed */
static int Steps;

static unsigned Next(uint64_t *State)
{
    *State = *State * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(*State >> 33);
}

static UCHAR Pattern(const BLOCK *Block, ULONG At)
{
    return (UCHAR)(((ULONG_PTR)Block >> 4) + Block->Size + At);
}

static void Give(BLOCK *Block, unsigned Random)
{
    ULONG At, Data;
    if (Block == NULL)
        return;
    Data = Block->Size - (ULONG)sizeof(BLOCK);
    if (Block->Self != Block)
        abort();
    for (At = 0; At < Data; At += 1 + Data / 16)
        if (Block->Data[At] != Pattern(Block, At))
            abort();
    if (Data != 0 && Block->Data[Data - 1] != Pattern(Block, Data - 1))
        abort();
    __atomic_sub_fetch(&Requested, Block->Size, __ATOMIC_RELAXED);
    if (Random & 1)
        ExFreePoolWithTag(Block, Block->Tag);
    else
        ExFreePool(Block);
}

static BLOCK *Take(uint64_t *State)
{
    static const POOL_FLAGS Kinds[] = {POOL_FLAG_NON_PAGED, POOL_FLAG_NON_PAGED, POOL_FLAG_PAGED, POOL_FLAG_NON_PAGED_EXECUTE};
    unsigned Kind = Next(State) % 4, Shape = Next(State) % 100;
    ULONG Size = sizeof(BLOCK), At;
    BLOCK *Block;
    if (Shape < 70)
        Size += Next(State) % 240;
    else if (Shape < 97)
        Size += Next(State) % 4000;
    else
        Size += Next(State) % 30000;
    ULONG Tag = 'T' | ('a' + Next(State) % 8) << 8 | ('a' + Next(State) % 8) << 16 | ' ' << 24;
    Block = ExAllocatePool2(Kinds[Kind] | POOL_FLAG_UNINITIALIZED, Size, Tag);
    if (Block == NULL)
        return NULL;
    __atomic_add_fetch(&Requested, Size, __ATOMIC_RELAXED);
    Block->Self = Block;
    Block->Size = Size;
    Block->Tag = Tag;
    for (At = 0; At < Size - sizeof(BLOCK); At++)
        Block->Data[At] = Pattern(Block, At);
    return Block;
}

static void *Work(void *Argument)
{
    uint64_t State = (uint64_t)(uintptr_t)Argument * 0x9E3779B97F4A7C15ull + 1;
    BLOCK *Own[128] = {NULL};
    int Step;
    for (Step = 0; Step < Steps; Step++) {
        unsigned Random = Next(&State), Slot = Random % 128;
        if (Random & 0x100) {
            Give(Own[Slot], Random >> 9);
            Own[Slot] = Take(&State);
        } else {
            /* Into the table, and what was there out of it: most likely another thread's. */
            BLOCK **Place = &Shared[Next(&State) % SHARED];
            BLOCK *Other = __atomic_exchange_n(Place, Own[Slot], __ATOMIC_ACQ_REL);
            Own[Slot] = NULL;
            if (Random & 0x200)
                Give(Other, Random >> 10);
            else
                Own[Slot] = Other;
        }
    }
    /* Half of what is left stays behind, without an owner. */
    for (Step = 0; Step < 128; Step++) {
        BLOCK *Other = Own[Step];
        if (Step & 1)
            Other = __atomic_exchange_n(&Shared[Next(&State) % SHARED], Other, __ATOMIC_ACQ_REL);
        Give(Other, Step);
    }
    return NULL;
}

static void RunRound(unsigned Round)
{
    pthread_t Threads[THREADS];
    unsigned Index;
    for (Index = 0; Index < THREADS; Index++)
        assert_int_equal(pthread_create(&Threads[Index], NULL, Work, (void *)(uintptr_t)(Round * THREADS + Index + 1)), 0);
    for (Index = 0; Index < THREADS; Index++)
        pthread_join(Threads[Index], NULL);
}

/* Only the test's own tags: the system has blocks of its own. */
static void AddBytes(const EXP_TAG_USE *Use, PVOID Context)
{
    if ((Use->Tag & 0xFF) == 'T')
        *(LONG64 *)Context += Use->Bytes;
}

static void CheckLive(ULONG64 Expected)
{
    LONG64 Bytes = 0;
    const CHAR *Text = ExpValidatePools();
    if (Text != NULL)
        fail_msg("%s", Text);
    Text = MiValidateAll();
    if (Text != NULL)
        fail_msg("%s", Text);
    ExpQueryTags(AddBytes, &Bytes);
    assert_int_equal((ULONG64)Bytes, Expected);
}

static void ExpectZero(const EXP_TAG_USE *Use, PVOID Context)
{
    ULONG64 *Tags = Context;
    if ((Use->Tag & 0xFF) != 'T')
        return;
    assert_int_equal(Use->Bytes, 0);
    assert_int_equal(Use->Allocs, Use->Frees);
    assert_true(Use->PeakBytes + (LONG64)Use->PeakError > 0); /* with several threads the peak is known within PeakError */
    ++*Tags;
}

static void Stress(uint64_t Ram, ULONG Stacks, int StepsPerThread)
{
    ntmm_options Options;
    unsigned Round, Index;
    ULONG64 Tags = 0;
    ntmm_default_options(&Options);
    Options.ram = Ram;
    Options.stacks = Stacks;
    Steps = NTMM_SANITIZED ? StepsPerThread / 5 : StepsPerThread;
    assert_int_equal(ntmm_start(&Options), 0);
    for (Round = 0; Round < ROUNDS; Round++) {
        RunRound(Round);
        CheckLive(Requested);
    }
    for (Index = 0; Index < SHARED; Index++) {
        Give(Shared[Index], Index);
        Shared[Index] = NULL;
    }
    assert_int_equal(Requested, 0);
    CheckLive(0);
    ExpQueryTags(ExpectZero, &Tags);
    assert_int_equal(Tags, 2 * TAGS);
    assert_int_equal(ntmm_stop(), 0);
}

static void Pool_EightThreadsRemoteFrees_AllAccountedFor(void **state)
{
    (void)state;
    Stress(256ull << 20, 0, 20000);
}

static void Pool_SmallRamFullAllTheTime_AllAccountedFor(void **state)
{
    (void)state;
    Stress(8ull << 20, 0, 20000);
}

static void Pool_StacksKept_AllAccountedFor(void **state)
{
    (void)state;
    Stress(256ull << 20, 6, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Pool_EightThreadsRemoteFrees_AllAccountedFor),
        cmocka_unit_test(Pool_SmallRamFullAllTheTime_AllAccountedFor),
        cmocka_unit_test(Pool_StacksKept_AllAccountedFor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
