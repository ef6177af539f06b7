/*
 * growth.c - curves: cost by the number of live blocks and of threads, memory after a spike, and fragmentation.
 * SPDX-License-Identifier: MIT
 *
 *   live-N      N blocks of 16-128 bytes live; each operation frees one of them and allocates another: the oldest, in one
 *               half of the operations, or any of them, in the other. Two figures: "queue_ns" and "random_ns"
 *   crowd       each thread replaces at random among 1,000 of its own; --threads up to many times the processors
 *   spike       a steady load, then 400 MiB of small blocks, all freed; then the steady load again with resident memory
 *               sampled over 4 seconds ("after": [[ms, MiB], ...]) and the cost of the steady load before and after
 *   soak        a server's day in a minute: live bytes stay about the same while the mix of sizes drifts from phase to
 *               phase and a part of the blocks outlives several phases. "phases": [[live MiB, resident MiB], ...], without
 *               what the process had before; "ratio" is their mean quotient after the warm-up, "worst" the largest
 */
#include "mix.h"
#include <unistd.h>

static mix_result Live(uint64_t Count)
{
    Count = Scale >= 100 ? Count : Count * Scale / 100 ? Count * Scale / 100 : 1;
    void **Blocks = mix_memory(Count * sizeof(void *));
    mix_random Random = mix_seed(77);
    uint64_t Ops = mix_scaled(2000000), Oldest = 0;
    for (uint64_t I = 0; I < Count; I++) {
        Blocks[I] = mix_check(mix_alloc(16 + mix_below(&Random, 113)));
        *(volatile char *)Blocks[I] = 1;
    }
    double Begin = mix_now();
    for (uint64_t I = 0; I < Ops; I++) {
        mix_free(Blocks[Oldest]);
        Blocks[Oldest] = mix_check(mix_alloc(16 + mix_below(&Random, 113)));
        *(volatile char *)Blocks[Oldest] = 1;
        Oldest = Oldest + 1 == Count ? 0 : Oldest + 1;
    }
    double Middle = mix_now();
    for (uint64_t I = 0; I < Ops; I++) {
        uint64_t Slot = mix_below(&Random, (uint32_t)Count);
        mix_free(Blocks[Slot]);
        Blocks[Slot] = mix_check(mix_alloc(16 + mix_below(&Random, 113)));
        *(volatile char *)Blocks[Slot] = 1;
    }
    double End = mix_now();
    mix_extra(",\"live\":%llu,\"queue_ns\":%.2f,\"random_ns\":%.2f", (unsigned long long)Count,
              (Middle - Begin) * 1e9 / (double)Ops, (End - Middle) * 1e9 / (double)Ops);
    for (uint64_t I = 0; I < Count; I++)
        mix_free(Blocks[I]);
    mix_memory_free(Blocks, Count * sizeof(void *));
    return (mix_result){2 * Ops, End - Begin};
}
#define LIVE(n)                                                                                                                \
    static mix_result Live##n(unsigned Threads)                                                                                \
    {                                                                                                                          \
        (void)Threads;                                                                                                         \
        return Live(n);                                                                                                        \
    }
LIVE(1000)
LIVE(10000)
LIVE(100000)
LIVE(1000000)
LIVE(10000000)

static uint64_t CrowdEach;
static void CrowdBody(unsigned Index)
{
    void **Blocks = mix_memory(1000 * sizeof(void *));
    mix_random Random = mix_seed(Index + 100);
    for (uint64_t I = 0; I < CrowdEach; I++) {
        unsigned Slot = mix_below(&Random, 1000);
        if (Blocks[Slot] != NULL)
            mix_free(Blocks[Slot]);
        Blocks[Slot] = mix_check(mix_alloc(16 + mix_below(&Random, 497)));
        *(volatile char *)Blocks[Slot] = 1;
    }
    for (unsigned I = 0; I < 1000; I++)
        if (Blocks[I] != NULL)
            mix_free(Blocks[I]);
    mix_memory_free(Blocks, 1000 * sizeof(void *));
}
static mix_result Crowd(unsigned Threads)
{
    CrowdEach = mix_scaled(8000000) / Threads + 1;
    double Time = mix_parallel(Threads, CrowdBody);
    return (mix_result){CrowdEach * Threads, Time};
}

/* ---- spike ---- */
static void *SpikeSteadyBlocks[10000];
static double SpikeSteady(mix_random *Random, uint64_t Ops)
{
    double Begin = mix_now();
    for (uint64_t I = 0; I < Ops; I++) {
        unsigned Slot = mix_below(Random, 10000);
        if (SpikeSteadyBlocks[Slot] != NULL)
            mix_free(SpikeSteadyBlocks[Slot]);
        SpikeSteadyBlocks[Slot] = mix_check(mix_alloc(16 + mix_below(Random, 497)));
        *(volatile char *)SpikeSteadyBlocks[Slot] = 1;
    }
    return (mix_now() - Begin) * 1e9 / (double)Ops;
}
static mix_result Spike(unsigned Threads)
{
    size_t Want = (size_t)mix_scaled(400) << 20, Slots = Want / 256, Count = 0;
    void **Blocks = mix_memory(Slots * sizeof(void *));
    mix_random Random = mix_seed(5);
    (void)Threads;
    SpikeSteady(&Random, mix_scaled(200000));
    double Before = SpikeSteady(&Random, mix_scaled(2000000));
    long Calm = mix_resident("VmRSS:");
    for (size_t Bytes = 0; Bytes < Want && Count < Slots; Count++) {
        size_t Size = 16 + mix_below(&Random, 1009);
        memset(Blocks[Count] = mix_check(mix_alloc(Size)), 1, Size);
        Bytes += Size;
    }
    long Top = mix_resident("VmRSS:");
    double Begin = mix_now();
    for (size_t I = 0; I < Count; I++)
        mix_free(Blocks[I]);
    double Freed = mix_now();
    mix_memory_free(Blocks, Slots * sizeof(void *));
    mix_extra(",\"calm_mib\":%.1f,\"top_mib\":%.1f,\"after\":[[0,%.1f]", (double)Calm / 1024, (double)Top / 1024,
              (double)mix_resident("VmRSS:") / 1024);
    static const unsigned At[] = {50, 100, 250, 500, 1000, 2000, 3000, 4000};
    for (size_t I = 0; I < sizeof At / sizeof At[0] && (Scale >= 100 || At[I] <= 250); I++) {
        while ((mix_now() - Freed) * 1e3 < At[I]) {
            SpikeSteady(&Random, 2000);
            usleep(1000);
        }
        mix_extra(",[%u,%.1f]", At[I], (double)mix_resident("VmRSS:") / 1024);
    }
    double After = SpikeSteady(&Random, mix_scaled(2000000));
    mix_extra("],\"steady_before_ns\":%.2f,\"steady_after_ns\":%.2f", Before, After);
    for (unsigned I = 0; I < 10000; I++)
        if (SpikeSteadyBlocks[I] != NULL)
            mix_free(SpikeSteadyBlocks[I]);
    memset(SpikeSteadyBlocks, 0, sizeof SpikeSteadyBlocks);
    return (mix_result){2 * Count, Freed - Begin};
}

/* ---- soak ---- */
typedef struct soak_block {
    uint32_t Bytes;
    uint16_t Until; /* phase in which it is freed at the latest */
    uint16_t Phase;
} soak_block;
#define SOAK_PHASES 24
#define SOAK_WARM   6
static uint32_t SoakSize(mix_random *Random, unsigned Phase)
{
    /* Six kinds of request; each phase favours one and its neighbour. */
    static const struct {
        uint32_t Low, High;
    } Kinds[6] = {{16, 64}, {48, 256}, {200, 700}, {512, 2048}, {24, 1200}, {2000, 9000}};
    unsigned Kind = mix_below(Random, 100) < 60   ? Phase % 6
                    : mix_below(Random, 100) < 60 ? (Phase + 1) % 6
                                                  : mix_below(Random, 6);
    uint32_t Bytes = Kinds[Kind].Low + mix_below(Random, Kinds[Kind].High - Kinds[Kind].Low + 1);
    if (mix_below(Random, 2000) == 0)
        Bytes = 16384 + mix_below(Random, 262144);
    return Bytes;
}
static mix_result Soak(unsigned Threads)
{
    uint64_t Target = mix_scaled(64) << 20, Slots = Target / 16, Used = 0, Most = 0, Live = 0, Ops = 0, Turnover = 6 * Target;
    soak_block **Blocks = mix_memory(Slots * sizeof(void *));
    mix_random Random = mix_seed(2024);
    double Time = 0, Sum = 0, Worst = 0;
    long Base = mix_resident("VmRSS:");
    (void)Threads;
    mix_extra(",\"phases\":[");
    for (unsigned Phase = 0; Phase < SOAK_PHASES; Phase++) {
        double Begin = mix_now();
        /* what a phase ends for good: caches and sessions of old */
        for (uint64_t I = 0; I < Used;) {
            if (Blocks[I]->Until <= Phase) {
                Live -= Blocks[I]->Bytes;
                mix_free(Blocks[I]);
                Blocks[I] = Blocks[--Used];
                Ops++;
            } else {
                I++;
            }
        }
        for (uint64_t Bytes = 0; Bytes < Turnover || Live < Target;) {
            uint32_t Size = SoakSize(&Random, Phase);
            while (Live + Size > Target && Used > 0) {
                uint64_t Slot = mix_below(&Random, (uint32_t)Used);
                /* long-lived ones are passed over most of the time */
                if (Blocks[Slot]->Until > Phase + 1 && mix_below(&Random, 10) != 0)
                    continue;
                Live -= Blocks[Slot]->Bytes;
                mix_free(Blocks[Slot]);
                Blocks[Slot] = Blocks[--Used];
            }
            if (Used == Slots)
                break;
            soak_block *Block = mix_check(mix_alloc(Size));
            memset(Block, 1, Size);
            Block->Bytes = Size;
            Block->Phase = (uint16_t)Phase;
            Block->Until =
                (uint16_t)(Phase + 1 + (mix_below(&Random, 12) == 0 ? 2 + mix_below(&Random, 5) : mix_below(&Random, 2)));
            Blocks[Used++] = Block;
            Most = Used > Most ? Used : Most;
            Live += Size;
            Bytes += Size;
            Ops++;
            if (Bytes >= Turnover && Live + 16384 >= Target)
                break;
        }
        Time += mix_now() - Begin;
        /* The table of slots is not the allocator's: what is resident of it is taken off. */
        double Resident = (double)(mix_resident("VmRSS:") - Base) * 1024 - (double)Most * sizeof(void *);
        mix_extra("%s[%.1f,%.1f]", Phase ? "," : "", (double)Live / 1048576, Resident / 1048576);
        if (Phase >= SOAK_WARM) {
            double Ratio = Resident / (double)Live;
            Sum += Ratio;
            Worst = Ratio > Worst ? Ratio : Worst;
        }
    }
    mix_extra("],\"ratio\":%.3f,\"worst\":%.3f", Sum / (SOAK_PHASES - SOAK_WARM), Worst);
    for (uint64_t I = 0; I < Used; I++)
        mix_free(Blocks[I]);
    mix_memory_free(Blocks, Slots * sizeof(void *));
    return (mix_result){Ops, Time};
}

const mix_workload MixGrowth[] = {
    {"live-1k", "1 thousand live blocks of 16-128 bytes, replaced oldest first, then at random", Live1000, false},
    {"live-10k", "10 thousand", Live10000, false},
    {"live-100k", "100 thousand", Live100000, false},
    {"live-1m", "1 million", Live1000000, false},
    {"live-10m", "10 million", Live10000000, false},
    {"crowd", "random replacement in 1,000 of each thread", Crowd, true},
    {"spike", "400 MiB of small blocks come and go; resident memory afterwards", Spike, false},
    {"soak", "a server's day in a minute: resident memory over live bytes", Soak, false},
    {NULL, NULL, NULL, false},
};
