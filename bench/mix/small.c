/*
 * small.c - loops of one thread: hot pairs, batches, replacement, size patterns, large blocks. SPDX-License-Identifier: MIT
 *
 * sh6-like follows what is known of MicroQuill's smash benchmark: sizes run up and down a range, most blocks are freed
 * soon in mixed order (first in first out, last in first out), one in a few is kept for a round.
 */
#include "mix.h"

/* ---- hot pair ---- */
static uint64_t HotCount;
static void HotBody(unsigned Index)
{
    (void)Index;
    for (uint64_t I = 0; I < HotCount; I++) {
        void *Block = mix_alloc(64);
        MIX_LIVE(Block);
        mix_free(Block);
    }
}
static mix_result Hot(unsigned Threads)
{
    HotCount = mix_scaled(20000000);
    double Time = mix_parallel(Threads, HotBody);
    return (mix_result){HotCount * Threads, Time};
}

/* ---- batches of 1,000, freed in random order ---- */
static uint64_t MixedRounds;
static void MixedBody(unsigned Index)
{
    void **Blocks = mix_memory(1000 * sizeof(void *));
    mix_random Random = mix_seed(Index + 1);
    for (uint64_t Round = 0; Round < MixedRounds; Round++) {
        for (unsigned I = 0; I < 1000; I++) {
            Blocks[I] = mix_check(mix_alloc(16 + mix_below(&Random, 1009)));
            *(volatile char *)Blocks[I] = 1;
        }
        for (unsigned I = 1000; I > 0; I--) {
            unsigned Other = mix_below(&Random, I);
            void *Block = Blocks[Other];
            Blocks[Other] = Blocks[I - 1];
            mix_free(Block);
        }
    }
    mix_memory_free(Blocks, 1000 * sizeof(void *));
}
static mix_result Mixed(unsigned Threads)
{
    MixedRounds = mix_scaled(10000);
    double Time = mix_parallel(Threads, MixedBody);
    return (mix_result){MixedRounds * 1000 * Threads, Time};
}

/* ---- random replacement among live blocks ---- */
static uint64_t ReplaceCount, ReplaceLive;
static void ReplaceBody(unsigned Index)
{
    uint64_t Live = ReplaceLive;
    void **Blocks = mix_memory(Live * sizeof(void *));
    mix_random Random = mix_seed(Index + 1);
    for (uint64_t I = 0; I < Live; I++) {
        Blocks[I] = mix_check(mix_alloc(16 + mix_below(&Random, 497)));
        *(volatile char *)Blocks[I] = 1;
    }
    for (uint64_t I = 0; I < ReplaceCount; I++) {
        uint64_t Slot = mix_below(&Random, (uint32_t)Live);
        mix_free(Blocks[Slot]);
        Blocks[Slot] = mix_check(mix_alloc(16 + mix_below(&Random, 497)));
        *(volatile char *)Blocks[Slot] = 1;
    }
    for (uint64_t I = 0; I < Live; I++)
        mix_free(Blocks[I]);
    mix_memory_free(Blocks, Live * sizeof(void *));
}
static mix_result ReplaceWith(unsigned Threads, uint64_t Live, uint64_t Count)
{
    ReplaceLive = Live;
    ReplaceCount = mix_scaled(Count);
    double Time = mix_parallel(Threads, ReplaceBody);
    return (mix_result){(ReplaceCount + Live) * Threads, Time};
}
static mix_result Replace10K(unsigned Threads)
{
    return ReplaceWith(Threads, 10000, 6000000);
}
static mix_result Replace100K(unsigned Threads)
{
    return ReplaceWith(Threads, 100000, 2500000);
}

/* ---- sh6-like ---- */
#define SH6_SLOTS 4096
static uint64_t Sh6Rounds;
static volatile uint64_t Sh6Ops;
static void Sh6Body(unsigned Index)
{
    void **Now = mix_memory(SH6_SLOTS * sizeof(void *)), **Kept = mix_memory(SH6_SLOTS * sizeof(void *));
    unsigned KeptCount = 0;
    uint64_t Ops = 0;
    (void)Index;
    for (uint64_t Round = 0; Round < Sh6Rounds; Round++) {
        /* sizes 1 to 1,000 in steps that grow, several blocks of each */
        unsigned Count = 0;
        for (unsigned Bytes = 1; Bytes <= 1000 && Count + 8 <= SH6_SLOTS; Bytes += 1 + Bytes / 8)
            for (unsigned Copy = 0; Copy < 8; Copy++) {
                Now[Count] = mix_check(mix_alloc(Bytes));
                *(volatile char *)Now[Count++] = 1;
            }
        Ops += Count;
        /* one in four is kept until the next round; the rest goes, first in first out or the other way round */
        for (unsigned I = 0; I < Count; I++) {
            unsigned At = Round & 1 ? Count - 1 - I : I;
            if ((At & 3) == (Round & 3) && KeptCount < SH6_SLOTS) {
                Kept[KeptCount++] = Now[At];
            } else {
                mix_free(Now[At]);
            }
        }
        if ((Round & 3) == 3) {
            while (KeptCount > 0)
                mix_free(Kept[--KeptCount]);
        }
    }
    while (KeptCount > 0)
        mix_free(Kept[--KeptCount]);
    __atomic_add_fetch(&Sh6Ops, Ops, __ATOMIC_RELAXED);
    mix_memory_free(Now, SH6_SLOTS * sizeof(void *));
    mix_memory_free(Kept, SH6_SLOTS * sizeof(void *));
}
static mix_result Sh6(unsigned Threads)
{
    Sh6Rounds = mix_scaled(30000);
    Sh6Ops = 0;
    double Time = mix_parallel(Threads, Sh6Body);
    return (mix_result){Sh6Ops, Time};
}

/* ---- 4 KiB to 1 MiB ---- */
static bool LargeAll;
static uint64_t LargeCount;
static void LargeBody(unsigned Index)
{
    void *Blocks[16] = {NULL};
    mix_random Random = mix_seed(Index + 5);
    for (uint64_t I = 0; I < LargeCount; I++) {
        size_t Bytes = 4096 + mix_below(&Random, (1 << 20) - 4095);
        char *Block = mix_check(mix_alloc(Bytes));
        if (LargeAll) {
            memset(Block, (int)I, Bytes);
        } else {
            Block[0] = Block[Bytes - 1] = 1;
        }
        MIX_LIVE(Block);
        if (Blocks[I % 16] != NULL)
            mix_free(Blocks[I % 16]);
        Blocks[I % 16] = Block;
    }
    for (unsigned I = 0; I < 16; I++)
        if (Blocks[I] != NULL)
            mix_free(Blocks[I]);
}
static mix_result Large(unsigned Threads)
{
    LargeAll = false;
    LargeCount = mix_scaled(400000);
    double Time = mix_parallel(Threads, LargeBody);
    return (mix_result){LargeCount * Threads, Time};
}
static mix_result LargeTouched(unsigned Threads)
{
    LargeAll = true;
    LargeCount = mix_scaled(8000);
    double Time = mix_parallel(Threads, LargeBody);
    return (mix_result){LargeCount * Threads, Time};
}

/* ---- strings that grow ---- */
static uint64_t GrowCount;
static volatile uint64_t GrowOps;
static void GrowBody(unsigned Index)
{
    mix_random Random = mix_seed(Index + 11);
    char *Strings[64] = {NULL};
    size_t Length[64] = {0};
    uint64_t Ops = 0;
    for (uint64_t I = 0; I < GrowCount; I++) {
        unsigned Slot = mix_below(&Random, 64);
        size_t Bytes = Length[Slot] + 1 + mix_below(&Random, 200);
        if (Bytes > 16384) {
            mix_free(Strings[Slot]);
            Strings[Slot] = NULL;
            Length[Slot] = 0;
            continue;
        }
        char *String = mix_check(Strings[Slot] ? mix_realloc(Strings[Slot], Length[Slot], Bytes) : mix_alloc(Bytes));
        memset(String + Length[Slot], 'x', Bytes - Length[Slot]);
        Strings[Slot] = String;
        Length[Slot] = Bytes;
        Ops++;
    }
    for (unsigned I = 0; I < 64; I++)
        if (Strings[I] != NULL)
            mix_free(Strings[I]);
    __atomic_add_fetch(&GrowOps, Ops, __ATOMIC_RELAXED);
}
static mix_result Grow(unsigned Threads)
{
    GrowCount = mix_scaled(3000000);
    GrowOps = 0;
    double Time = mix_parallel(Threads, GrowBody);
    return (mix_result){GrowOps, Time};
}

const mix_workload MixSmall[] = {
    {"hot", "allocate and free 64 bytes", Hot, true},
    {"mixed", "1,000 of 16-1024 bytes, freed in random order", Mixed, true},
    {"replace10k", "random replacement in 10,000 live of 16-512 bytes", Replace10K, false},
    {"replace100k", "random replacement in 100,000 live of 16-512 bytes", Replace100K, false},
    {"sh6", "sizes 1-1000 up a range, freed FIFO and LIFO, a quarter kept for some rounds", Sh6, true},
    {"large", "4 KiB-1 MiB, 16 live, two bytes touched", Large, false},
    {"large-touched", "4 KiB-1 MiB, 16 live, every byte written", LargeTouched, false},
    {"realloc", "64 strings grown by realloc to 16 KiB", Grow, false},
    {NULL, NULL, NULL, false},
};
