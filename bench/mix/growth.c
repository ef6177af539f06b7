/*
 * growth.c - curves: cost by the number of live blocks and of threads, memory after a spike, and fragmentation.
 * SPDX-License-Identifier: MIT
 *
 *   live-N      N blocks of 16-128 bytes live; each operation frees one of them and allocates another: the oldest, in one
 *               half of the operations, or any of them, in the other. Two figures: "queue_ns" and "random_ns",
 *               of processor time; beside them "touch_queue_ns" and "touch_random_ns", the same loops without an allocator:
 *               the block stays and is written to. No allocator can cost less where blocks are cold
 *   crowd       each thread replaces at random among 1,000 of its own; --threads up to many times the processors
 *   spike       a steady load, then 400 MiB of small blocks, all freed; then the steady load again with resident memory
 *               sampled over 4 seconds ("after": [[ms, MiB], ...]) and the cost of the steady load before and after
 *   soak        a server's day in a minute: live bytes stay the same while the mix of sizes drifts from phase to phase.
 *               "phases": [[live MiB, resident MiB], ...], without what the process had before; "ratio" is their mean
 *               quotient after the warm-up, "worst" the largest
 *   shuffle     the same for the hardest case: lifetimes at random, sizes that jump
 */
#include "mix.h"
#include <unistd.h>

static void Touch(void **Blocks, uint64_t Slot, mix_random *Random)
{
    unsigned Size = 16 + mix_below(Random, 113);
    void *volatile *Place = &Blocks[Slot];
    char *Block = *Place;
    *(volatile char *)Block = (char)Size;
    *Place = Block;
}

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
    /* What the loops cost by themselves: the same draws, the slot read and written, its block written to. */
    double Start = mix_cpu();
    for (uint64_t I = 0; I < Ops; I++) {
        Touch(Blocks, Oldest, &Random);
        Oldest = Oldest + 1 == Count ? 0 : Oldest + 1;
    }
    double TouchedQueue = mix_cpu();
    for (uint64_t I = 0; I < Ops; I++)
        Touch(Blocks, mix_below(&Random, (uint32_t)Count), &Random);
    double TouchedRandom = mix_cpu();
    Oldest = 0;
    double Begin = mix_cpu();
    for (uint64_t I = 0; I < Ops; I++) {
        mix_free(Blocks[Oldest]);
        Blocks[Oldest] = mix_check(mix_alloc(16 + mix_below(&Random, 113)));
        *(volatile char *)Blocks[Oldest] = 1;
        Oldest = Oldest + 1 == Count ? 0 : Oldest + 1;
    }
    double Middle = mix_cpu();
    for (uint64_t I = 0; I < Ops; I++) {
        uint64_t Slot = mix_below(&Random, (uint32_t)Count);
        mix_free(Blocks[Slot]);
        Blocks[Slot] = mix_check(mix_alloc(16 + mix_below(&Random, 113)));
        *(volatile char *)Blocks[Slot] = 1;
    }
    double End = mix_cpu();
    mix_extra(",\"live\":%llu,\"queue_ns\":%.2f,\"random_ns\":%.2f,\"touch_queue_ns\":%.2f,\"touch_random_ns\":%.2f",
              (unsigned long long)Count, (Middle - Begin) * 1e9 / (double)Ops, (End - Middle) * 1e9 / (double)Ops,
              (TouchedQueue - Start) * 1e9 / (double)Ops, (TouchedRandom - TouchedQueue) * 1e9 / (double)Ops);
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
    double Begin = mix_cpu();
    for (uint64_t I = 0; I < Ops; I++) {
        unsigned Slot = mix_below(Random, 10000);
        if (SpikeSteadyBlocks[Slot] != NULL)
            mix_free(SpikeSteadyBlocks[Slot]);
        SpikeSteadyBlocks[Slot] = mix_check(mix_alloc(16 + mix_below(Random, 497)));
        *(volatile char *)SpikeSteadyBlocks[Slot] = 1;
    }
    return (mix_cpu() - Begin) * 1e9 / (double)Ops;
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
    uint32_t Bytes, Ends; /* the round in which it ends, where its kind has such */
} soak_block;
typedef struct soak {
    mix_random Random;
    uint64_t Live, Ops;
    long Base;
    double Time, Sum, Worst;
    unsigned Phases;
} soak;
#define SOAK_PHASES 48
#define SOAK_WARM   12

static soak_block *SoakAllocate(soak *S, uint32_t Bytes, uint32_t Ends)
{
    soak_block *Block = mix_check(mix_alloc(Bytes));
    memset(Block, 1, Bytes);
    *Block = (soak_block){Bytes, Ends};
    S->Live += Bytes;
    S->Ops++;
    return Block;
}
static void SoakFree(soak *S, soak_block *Block)
{
    S->Live -= Block->Bytes;
    mix_free(Block);
}
/* Own: bytes resident of the workload's own tables. */
static void SoakPhaseEnds(soak *S, double Begin, uint64_t Own)
{
    S->Time += mix_now() - Begin;
    double Resident = (double)(mix_resident("VmRSS:") - S->Base) * 1024 - (double)Own;
    mix_extra("%s[%.1f,%.1f]", S->Phases ? "," : "", (double)S->Live / 1048576, Resident / 1048576);
    if (S->Phases++ >= SOAK_WARM) {
        double Ratio = Resident / (double)S->Live;
        S->Sum += Ratio;
        S->Worst = Ratio > S->Worst ? Ratio : S->Worst;
    }
}
static mix_result SoakResult(soak *S)
{
    mix_extra("],\"ratio\":%.3f,\"worst\":%.3f", S->Sum / (S->Phases - SOAK_WARM), S->Worst);
    return (mix_result){S->Ops, S->Time};
}
/* Between Low and High, each doubling as likely as the next. */
static uint32_t SoakLog(mix_random *Random, uint32_t Low, uint32_t High)
{
    uint32_t Range = Low;
    while (Range * 2 <= High && mix_below(Random, 2))
        Range *= 2;
    uint32_t Bytes = Range + mix_below(Random, Range);
    return Bytes > High ? High : Bytes;
}

/* A day of a server, in 48 half hours. Three kinds of blocks:
 *   requests  most allocations: 16 bytes to 8 KiB, freed in the order they came, 4,000 live
 *   sessions  48 to 400 bytes, about a fifth of the live bytes; each ends at a time of its own, up to an hour after it began
 *   cache     the rest of the live bytes: entries whose usual size drifts over the day from 120 to 700 bytes and back, the
 *             oldest evicted to make room, one in ten invalidated at random before; all of it is replaced each half hour */
#define SOAK_REQUESTS 4000
static mix_result Soak(unsigned Threads)
{
    soak S = {.Random = mix_seed(2024), .Base = mix_resident("VmRSS:")};
    uint64_t Target = mix_scaled(64) << 20, Ring = Target / 32, First = 0, Last = 0;
    uint32_t SessionSlots = (uint32_t)(Target / 5 / 224), Rounds = SessionSlots, Round = 0, Request = 0, Session = 0;
    uint64_t Due = 0, CacheBytes = 0; /* of the cache: what should, and what has been inserted */
    soak_block **Requests = mix_memory(SOAK_REQUESTS * sizeof(void *)), **Cache = mix_memory(Ring * sizeof(void *)),
               **Sessions = mix_memory(SessionSlots * sizeof(void *));
    (void)Threads;
    mix_extra(",\"phases\":[");
    for (unsigned Phase = 0; Phase < SOAK_PHASES; Phase++) {
        static const uint32_t Usual[12] = {120, 130, 160, 220, 320, 480, 700, 520, 380, 260, 180, 140};
        uint32_t Centre = Usual[Phase / 2 % 12];
        double Begin = mix_now();
        for (uint32_t Step = 0; Step < Rounds; Step++, Round++) {
            for (unsigned I = 0; I < 4; I++) {
                if (Requests[Request] != NULL)
                    SoakFree(&S, Requests[Request]);
                Requests[Request] = SoakAllocate(&S, SoakLog(&S.Random, 16, 8192), 0);
                Request = (Request + 1) % SOAK_REQUESTS;
            }
            /* four sessions are looked at, and begin anew if they have ended */
            for (unsigned I = 0; I < 4; I++) {
                soak_block **Slot = &Sessions[Session];
                Session = (Session + 1) % SessionSlots;
                if (*Slot == NULL || (*Slot)->Ends <= Round) {
                    if (*Slot != NULL)
                        SoakFree(&S, *Slot);
                    *Slot = SoakAllocate(&S, 48 + mix_below(&S.Random, 353), Round + mix_below(&S.Random, 2 * Rounds));
                }
            }
            for (Due += Target / Rounds; CacheBytes < Due && Last - First < Ring;) {
                uint32_t Size = Centre / 2 + mix_below(&S.Random, Centre);
                while (S.Live + Size > Target && First != Last) {
                    soak_block *Old = Cache[First++ % Ring];
                    if (Old != NULL)
                        SoakFree(&S, Old);
                }
                Cache[Last++ % Ring] = SoakAllocate(&S, Size, 0);
                CacheBytes += Size;
                if (mix_below(&S.Random, 10) == 0) {
                    soak_block **Any = &Cache[(First + mix_below(&S.Random, (uint32_t)(Last - First))) % Ring];
                    if (*Any != NULL)
                        SoakFree(&S, *Any);
                    *Any = NULL;
                }
            }
        }
        uint64_t Touched = (Last < Ring ? Last : Ring) + SOAK_REQUESTS + SessionSlots;
        SoakPhaseEnds(&S, Begin, Touched * sizeof(void *));
    }
    mix_result Result = SoakResult(&S);
    for (; First != Last; First++)
        if (Cache[First % Ring] != NULL)
            mix_free(Cache[First % Ring]);
    for (unsigned I = 0; I < SOAK_REQUESTS; I++)
        if (Requests[I] != NULL)
            mix_free(Requests[I]);
    for (unsigned I = 0; I < SessionSlots; I++)
        if (Sessions[I] != NULL)
            mix_free(Sessions[I]);
    mix_memory_free(Requests, SOAK_REQUESTS * sizeof(void *));
    mix_memory_free(Cache, Ring * sizeof(void *));
    mix_memory_free(Sessions, SessionSlots * sizeof(void *));
    return Result;
}

/* The hardest case: which block goes is chosen at random, its size has nothing to do with how long it lives, and the
 * sizes of one phase are not those of the next, so that a few blocks of each page stay behind. */
static uint32_t ShuffleSize(mix_random *Random, unsigned Phase)
{
    static const struct {
        uint32_t Low, High;
    } Kinds[6] = {{16, 64}, {48, 256}, {200, 700}, {512, 2048}, {24, 1200}, {2000, 9000}};
    unsigned Kind = mix_below(Random, 100) < 60   ? Phase % 6
                    : mix_below(Random, 100) < 60 ? (Phase + 1) % 6
                                                  : mix_below(Random, 6);
    if (mix_below(Random, 2000) == 0)
        return 16384 + mix_below(Random, 262144);
    return Kinds[Kind].Low + mix_below(Random, Kinds[Kind].High - Kinds[Kind].Low + 1);
}
static mix_result Shuffle(unsigned Threads)
{
    soak S = {.Random = mix_seed(2025), .Base = mix_resident("VmRSS:")};
    uint64_t Target = mix_scaled(64) << 20, Slots = Target / 16, Used = 0, Most = 0;
    soak_block **Blocks = mix_memory(Slots * sizeof(void *));
    (void)Threads;
    mix_extra(",\"phases\":[");
    for (unsigned Phase = 0; Phase < SOAK_WARM + 12; Phase++) {
        double Begin = mix_now();
        for (uint64_t Bytes = 0; Bytes < 2 * Target && Used < Slots;) {
            uint32_t Size = ShuffleSize(&S.Random, Phase);
            while (S.Live + Size > Target) {
                uint64_t Slot = mix_below(&S.Random, (uint32_t)Used);
                if (Blocks[Slot]->Ends > Phase && mix_below(&S.Random, 10) != 0)
                    continue; /* a long-lived one */
                SoakFree(&S, Blocks[Slot]);
                Blocks[Slot] = Blocks[--Used];
            }
            Blocks[Used++] = SoakAllocate(&S, Size, Phase + (mix_below(&S.Random, 12) == 0 ? 2 + mix_below(&S.Random, 5) : 0));
            Most = Used > Most ? Used : Most;
            Bytes += Size;
        }
        SoakPhaseEnds(&S, Begin, Most * sizeof(void *));
    }
    mix_result Result = SoakResult(&S);
    for (uint64_t I = 0; I < Used; I++)
        mix_free(Blocks[I]);
    mix_memory_free(Blocks, Slots * sizeof(void *));
    return Result;
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
    {"shuffle", "the same with random lifetimes and sizes that change from phase to phase", Shuffle, false},
    {NULL, NULL, NULL, false},
};
