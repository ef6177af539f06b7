/*
 * heap_test.c - the structure of heaps: what neighbours do, what is kept, what damage is told apart. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ex/ex.h"
#include "ps/heap.h"

static UCHAR Memory[8 * PAGE_SIZE];
static PSP_HEAP *Heap;

static int Begin(void **State)
{
    (void)State;
    memset(Memory, 0x77, sizeof Memory);
    Heap = RtlCreateHeap(0, Memory, sizeof Memory, 0, NULL, NULL);
    return Heap == NULL;
}
static int End(void **State)
{
    (void)State;
    return PspValidateHeap(Heap) != NULL || RtlDestroyHeap(Heap) != NULL;
}
static PUCHAR Take(SIZE_T Size)
{
    PUCHAR B = RtlAllocateHeap(Heap, 0, Size);
    assert_non_null(B);
    return B;
}
static void Drain(void) /* no block is delayed */
{
    PUCHAR Small[PSP_DELAYED];
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        Small[i] = Take(1);
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        RtlFreeHeap(Heap, 0, Small[i]);
    assert_null(RtlAllocateHeap(Heap, 0, sizeof Memory)); /* too much: the delayed ones are freed first */
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        assert_null(Heap->Delayed[i]);
    assert_null(PspValidateHeap(Heap));
}
static PSP_ENTRY *EntryOf(PVOID Block)
{
    return (PSP_ENTRY *)Block - 1;
}

static void Free_MergesWithBothNeighbours(void **State)
{
    static const int Orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    (void)State;
    Drain();
    SIZE_T Whole = Heap->FreeBytes;
    for (int Order = 0; Order < 6; Order++) {
        PUCHAR B[4] = {Take(100), Take(1000), Take(50), Take(10)};
        SIZE_T Had = Heap->FreeBytes;
        for (int i = 0; i < 3; i++) {
            RtlFreeHeap(Heap, 0, B[Orders[Order][i]]);
            Drain();
        }
        PSP_ENTRY *First = EntryOf(B[0]);
        assert_int_equal(First->State, PspBlockFree);
        assert_ptr_equal(PspNext(First), EntryOf(B[3]));
        assert_int_equal(((PSP_FREE *)B[0])->Filled, PspRoom(First) - sizeof(PSP_FREE)); /* filled throughout */
        assert_int_equal(Heap->FreeBytes, Had + (SIZE_T)First->Granules * PSP_GRANULE);
        RtlFreeHeap(Heap, 0, B[3]);
        Drain();
        assert_int_equal(Heap->FreeBytes, Whole);
    }
}

static void Allocate_KeepsWhatIsLeftOver(void **State)
{
    (void)State;
    PUCHAR B = Take(1000), After = Take(10);
    RtlFreeHeap(Heap, 0, B);
    Drain();
    PUCHAR C = Take(500);
    assert_ptr_equal(C, B);
    PSP_ENTRY *Rest = PspNext(EntryOf(C));
    assert_int_equal(Rest->State, PspBlockFree);
    assert_ptr_equal(PspNext(Rest), EntryOf(After));
    assert_int_equal(((PSP_FREE *)PspBlockOf(Rest))->Filled, PspRoom(Rest) - sizeof(PSP_FREE));
    RtlFreeHeap(Heap, 0, C);
    RtlFreeHeap(Heap, 0, After);
}

static void Allocate_ARestTooSmallStaysWithTheBlock(void **State)
{
    (void)State;
    PUCHAR B = Take(200), After = Take(10);
    RtlFreeHeap(Heap, 0, B);
    Drain();
    PUCHAR C = Take(200 - 2 * PSP_GRANULE);
    assert_ptr_equal(C, B);
    assert_ptr_equal(PspNext(EntryOf(C)), EntryOf(After));
    assert_int_equal(RtlSizeHeap(Heap, 0, C), 200 - 2 * PSP_GRANULE);
    RtlFreeHeap(Heap, 0, C);
    RtlFreeHeap(Heap, 0, After);
}

static void Delayed_BlocksAreUsedWhenNothingElseIsLeft(void **State)
{
    (void)State;
    PUCHAR All[64];
    ULONG Count = 0;
    while (Count < 64 && (All[Count] = RtlAllocateHeap(Heap, 0, 1000)) != NULL)
        Count++;
    assert_true(Count > 20 && Count < 64);
    RtlFreeHeap(Heap, 0, All[7]);
    assert_int_equal(EntryOf(All[7])->State, PspBlockDelayed);
    assert_ptr_equal(RtlAllocateHeap(Heap, 0, 1000), All[7]);
    for (ULONG i = 0; i < Count; i++)
        RtlFreeHeap(Heap, 0, All[i]);
}

static void Resize_TakesFromAndGivesToTheNeighbour(void **State)
{
    (void)State;
    PUCHAR B = Take(1000), Between = Take(1000), After = Take(10);
    RtlFreeHeap(Heap, 0, Between);
    Drain();
    assert_ptr_equal(RtlReAllocateHeap(Heap, 0, B, 1500), B);
    assert_ptr_equal(RtlReAllocateHeap(Heap, 0, B, 100), B);
    assert_null(PspValidateHeap(Heap));
    assert_ptr_equal(PspNext(PspNext(EntryOf(B))), EntryOf(After));
    assert_ptr_equal(RtlReAllocateHeap(Heap, 0, B, 2000), B); /* all of it */
    assert_ptr_equal(PspNext(EntryOf(B)), EntryOf(After));
    assert_ptr_not_equal(RtlReAllocateHeap(Heap, 0, B, 2100), B);
    RtlFreeHeap(Heap, 0, After);
}

/* Whichever bit of an entry is turned over, in either half, it is seen, and told from which side. */
static void Damage_OfEveryBitIsSeen(void **State)
{
    (void)State;
    PUCHAR B = Take(100), C = Take(100), D = Take(100);
    for (unsigned Bit = 0; Bit < 128; Bit++) {
        PSP_CALL Call = {.Heap = Heap, .Record = Heap->Record};
        (C - 16)[Bit / 8] ^= (UCHAR)(1u << Bit % 8);
        PspCheckHeap(&Call);
        assert_int_equal(Call.Type, Bit < 64 ? 3 : 7);
        assert_int_equal(Call.Address, (ULONG_PTR)C - (Bit < 64 ? 16 : 8));
        (C - 16)[Bit / 8] ^= (UCHAR)(1u << Bit % 8);
        assert_null(PspValidateHeap(Heap));
    }
    RtlFreeHeap(Heap, 0, B);
    RtlFreeHeap(Heap, 0, C);
    RtlFreeHeap(Heap, 0, D);
}

/* Every byte that a program may not write - guards, fillings, entries, links - is watched. */
static void Damage_OfEveryByteIsSeen(void **State)
{
    (void)State;
    PUCHAR B[6];
    for (int i = 0; i < 6; i++)
        B[i] = Take(60 + (SIZE_T)i);
    RtlFreeHeap(Heap, 0, B[3]);
    Drain();
    RtlFreeHeap(Heap, 0, B[1]);
    for (PUCHAR At = B[0] - 16; At < (PUCHAR)PspNext(EntryOf(B[5])); At++) {
        bool Owned = (At >= B[0] && At < B[0] + 60) || (At >= B[2] && At < B[2] + 62) || (At >= B[4] && At < B[4] + 64) ||
                     (At >= B[5] && At < B[5] + 65);
        *At ^= 0x10;
        if ((PspValidateHeap(Heap) == NULL) != Owned)
            fail_msg("the byte at %+ld", (long)(At - B[0]));
        *At ^= 0x10;
    }
    for (int i = 0; i < 6; i++)
        if (i != 1 && i != 3)
            RtlFreeHeap(Heap, 0, B[i]);
}

static void DoubleFree(void *Block)
{
    RtlFreeHeap(Heap, 0, Block);
}
/* The stop is made after the lock was given back: whoever catches it can go on. */
static void Stop_LeavesTheLock(void **State)
{
    (void)State;
    PUCHAR B = Take(10);
    RtlFreeHeap(Heap, 0, B);
    ExpectStop(DoubleFree, B, 0x13A, 8, (ULONG_PTR)Heap, (ULONG_PTR)B, 0);
    assert_false(ExIsResourceAcquiredExclusiveLite(Heap->Record->Lock));
    assert_false(KeAreApcsDisabled());
}

/* A heap left behind is found by its record's tag. */
static void Record_IsPool(void **State)
{
    EXP_BLOCK_INFO Info;
    (void)State;
    assert_true(ExpDescribeBlock(Heap->Record, &Info));
    assert_int_equal(Info.Tag, PSP_HEAP_TAG);
    assert_int_equal(Info.State, ExpBlockLive);
}

static NTSTATUS NTAPI RoutineThatRaises(PVOID Base, PVOID *CommitAddress, PSIZE_T CommitSize)
{
    (void)Base, (void)CommitAddress, (void)CommitSize;
    ExRaiseStatus(STATUS_IN_PAGE_ERROR);
}
static PVOID Raising;
static void AllocateMuch(void *Unused)
{
    (void)Unused;
    RtlAllocateHeap(Raising, 0, 2 * PAGE_SIZE);
}
/* An exception in the middle (a page that could not be read back) leaves no lock behind. */
static void Exception_LeavesTheLock(void **State)
{
    static DECLSPEC_ALIGN(4096) UCHAR Block[8 * PAGE_SIZE];
    RTL_HEAP_PARAMETERS P = {
        .Length = sizeof P, .InitialCommit = PAGE_SIZE, .InitialReserve = sizeof Block, .CommitRoutine = RoutineThatRaises};
    (void)State;
    Raising = RtlCreateHeap(0, Block, 0, 0, NULL, &P);
    assert_non_null(Raising);
    assert_int_equal(RaisedBy(AllocateMuch, NULL), STATUS_IN_PAGE_ERROR);
    assert_false(ExIsResourceAcquiredExclusiveLite(((PSP_HEAP *)Raising)->Record->Lock));
    assert_false(KeAreApcsDisabled());
    assert_null(RtlDestroyHeap(Raising));
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 2;
    return ntmm_start(&Options);
}
static int Stop(void **State)
{
    (void)State;
    return ntmm_stop();
}

int main(void)
{
#define HEAP_TEST(Name) cmocka_unit_test_setup_teardown(Name, Begin, End)
    const struct CMUnitTest Tests[] = {
        HEAP_TEST(Free_MergesWithBothNeighbours),
        HEAP_TEST(Allocate_KeepsWhatIsLeftOver),
        HEAP_TEST(Allocate_ARestTooSmallStaysWithTheBlock),
        HEAP_TEST(Delayed_BlocksAreUsedWhenNothingElseIsLeft),
        HEAP_TEST(Resize_TakesFromAndGivesToTheNeighbour),
        HEAP_TEST(Damage_OfEveryBitIsSeen),
        HEAP_TEST(Damage_OfEveryByteIsSeen),
        HEAP_TEST(Stop_LeavesTheLock),
        HEAP_TEST(Record_IsPool),
        HEAP_TEST(Exception_LeavesTheLock),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
