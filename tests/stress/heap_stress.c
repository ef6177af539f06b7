/*
 * heap_stress.c - heaps under threads: blocks keep what was put into them, and the heap stays whole. SPDX-License-Identifier: MIT
 *
 * Each thread allocates, resizes and frees blocks of all sizes in a heap that all share and in one of its own that is not serialised, and
 * hands blocks to the next thread to free. Pages leave memory meanwhile: the machine has less of it than the heaps want at their most.
 */
#include <unistd.h>
#include "ke_kit.h"
#include "ps/heap.h"

#define THREADS 4
#define SLOTS   64
#define ROUNDS  (NTMM_DEEP ? 200000 : NTMM_SANITIZED ? 2000 : 12000)

static PVOID Shared;
static PUCHAR volatile Handed[THREADS];
static volatile int Wrong;

typedef struct _SLOT {
    PUCHAR Block;
    SIZE_T Size;
    UCHAR Fill;
} SLOT;

static unsigned Next(unsigned *Seed)
{
    *Seed = *Seed * 1664525u + 1013904223u;
    return *Seed >> 8;
}
static SIZE_T SomeSize(unsigned *Seed)
{
    unsigned Kind = Next(Seed) % 100;
    return Kind < 80   ? Next(Seed) % 300
           : Kind < 97 ? Next(Seed) % 6000
           : Kind < 99 ? Next(Seed) % 40000
                       : 530000 + Next(Seed) % 10000;
}
static void Fill(SLOT *Slot, UCHAR Byte)
{
    Slot->Fill = Byte;
    for (SIZE_T At = 0; At < Slot->Size; At += At < 32 || At + 32 > Slot->Size ? 1 : 509)
        Slot->Block[At] = Byte;
}
static void Look(const SLOT *Slot)
{
    for (SIZE_T At = 0; At < Slot->Size; At += At < 32 ? 1 : 509)
        if (Slot->Block[At] != Slot->Fill && !(At >= 32 && (At - 32) % 509 != 0))
            __atomic_store_n(&Wrong, 1, __ATOMIC_RELAXED);
}

static void *Work(void *Argument)
{
    unsigned Number = (unsigned)(ULONG_PTR)Argument, Seed = 4711 + Number;
    SLOT Slots[2][SLOTS];
    PVOID Heaps[2] = {Shared, RtlCreateHeap(HEAP_GROWABLE | HEAP_NO_SERIALIZE, NULL, 0, 0, NULL, NULL)};
    memset(Slots, 0, sizeof Slots);
    for (int Round = 0; Round < ROUNDS; Round++) {
        unsigned Which = Next(&Seed) % 2;
        SLOT *Slot = &Slots[Which][Next(&Seed) % SLOTS];
        PVOID Heap = Heaps[Which];
        if (Slot->Block == NULL) {
            Slot->Size = SomeSize(&Seed);
            Slot->Block = RtlAllocateHeap(Heap, 0, Slot->Size);
            if (Slot->Block != NULL)
                Fill(Slot, (UCHAR)Next(&Seed));
            continue;
        }
        Look(Slot);
        if (Next(&Seed) % 4 == 0) {
            SIZE_T Size = SomeSize(&Seed);
            PUCHAR New = RtlReAllocateHeap(Heap, 0, Slot->Block, Size);
            if (New != NULL) {
                Slot->Block = New;
                Slot->Size = Size < Slot->Size ? Size : Slot->Size;
                Look(Slot);
                Slot->Size = Size;
                Fill(Slot, (UCHAR)Next(&Seed));
            }
            continue;
        }
        if (Which == 0 && Next(&Seed) % 2 == 0) { /* another thread frees it */
            PUCHAR Old = __atomic_exchange_n(&Handed[(Number + 1) % THREADS], Slot->Block, __ATOMIC_ACQ_REL);
            if (Old != NULL)
                RtlFreeHeap(Shared, 0, Old);
        } else {
            RtlFreeHeap(Heap, 0, Slot->Block);
        }
        Slot->Block = NULL;
        PUCHAR Mine = __atomic_exchange_n(&Handed[Number], NULL, __ATOMIC_ACQ_REL);
        if (Mine != NULL)
            RtlFreeHeap(Shared, 0, Mine);
        if (Round % 1000 == 0 && PspValidateHeap(Heap) != NULL)
            __atomic_store_n(&Wrong, 2, __ATOMIC_RELAXED);
    }
    if (RtlDestroyHeap(Heaps[1]) != NULL)
        __atomic_store_n(&Wrong, 3, __ATOMIC_RELAXED);
    for (int i = 0; i < SLOTS; i++)
        if (Slots[0][i].Block != NULL) {
            Look(&Slots[0][i]);
            RtlFreeHeap(Shared, 0, Slots[0][i].Block);
        }
    return NULL;
}

static void Heap_UnderThreads(void **State)
{
    pthread_t Ids[THREADS];
    (void)State;
    Shared = RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, NULL);
    assert_non_null(Shared);
    for (ULONG_PTR i = 0; i < THREADS; i++)
        Ids[i] = Spawn(Work, (void *)i);
    for (int i = 0; i < THREADS; i++)
        Join(Ids[i]);
    assert_int_equal(Wrong, 0);
    for (int i = 0; i < THREADS; i++)
        if (Handed[i] != NULL)
            RtlFreeHeap(Shared, 0, Handed[i]);
    assert_null(PspValidateHeap(Shared));
    assert_null(RtlAllocateHeap(Shared, 0, ~(SIZE_T)0));
    assert_null(RtlDestroyHeap(Shared));
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm_heap_%d.sys", (int)getpid());
    Options.pagefile_size = 128u << 20;
    return ntmm_start(&Options);
}
static int Stop(void **State)
{
    (void)State;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Heap_UnderThreads)};
    return cmocka_run_group_tests(Tests, Start, Stop);
}
