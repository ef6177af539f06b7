/*
 * bench_tags.c - what the accounting of tags costs: pairs of allocation and free under 1, 64 and 1,000 tags.
 * SPDX-License-Identifier: MIT
 *
 *   bench_tags [--scale PERCENT]      one line of JSON: nanoseconds of a pair (processor time, least of some runs)
 *
 * Built twice: bench_tags is the library as it is, bench_tags_plain has fast paths without the counting (EXP_ACCOUNTING=0 in
 * src/ex/fast.c), everything else alike: all checks, and the tag still kept with the block. scripts/bench --sections tags runs
 * both in turn; the difference is the cost. No block is a sample in special pool: the counters that tell whose turn it is are part
 * of the cost, the samples are not. Loops: hot, one block at a time; batch, 500 blocks of 16 to 512 bytes freed in
 * random order.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ntddk.h>
#include <ntmm.h>

static unsigned Scale = 100;

static double Now(void)
{
    struct timespec Time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &Time);
    return (double)Time.tv_sec * 1e9 + (double)Time.tv_nsec;
}
static uint32_t Random(uint32_t *State)
{
    *State ^= *State << 13;
    *State ^= *State >> 17;
    *State ^= *State << 5;
    return *State;
}
static ULONG TagOf(unsigned Number)
{
    return 0x41414141u + (Number & 15) + (Number >> 4 & 15) * 0x100u + (Number >> 8 & 15) * 0x10000u;
}

static double Hot(unsigned Tags)
{
    unsigned Count = 8000 * Scale, Number = 0;
    double Begin = Now();
    for (unsigned I = 0; I < Count; I++) {
        ULONG Tag = TagOf(Number);
        PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 64, Tag);
        __asm__ volatile("" : : "r"(Block) : "memory");
        ExFreePoolWithTag(Block, Tag);
        Number = Number + 1 == Tags ? 0 : Number + 1;
    }
    return (Now() - Begin) / Count;
}

static double Batch(unsigned Tags)
{
    static struct {
        PVOID Block;
        ULONG Tag;
    } Blocks[500];
    unsigned Rounds = 12 * Scale;
    uint32_t State = 11;
    double Begin = Now();
    for (unsigned Round = 0; Round < Rounds; Round++) {
        for (unsigned I = 0; I < 500; I++) {
            Blocks[I].Tag = TagOf(Tags == 1 ? 0 : Random(&State) % Tags);
            Blocks[I].Block =
                ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 16 + Random(&State) % 497, Blocks[I].Tag);
            *(volatile char *)Blocks[I].Block = 1;
        }
        for (unsigned I = 500; I > 0; I--) {
            unsigned Other = Random(&State) % I;
            ExFreePoolWithTag(Blocks[Other].Block, Blocks[Other].Tag);
            Blocks[Other] = Blocks[I - 1];
        }
    }
    return (Now() - Begin) / Rounds / 500;
}

int main(int Argc, char **Argv)
{
    static const unsigned Tags[] = {1, 64, 1000};
    ntmm_options Options;
    if (Argc == 3 && !strcmp(Argv[1], "--scale")) {
        Scale = (unsigned)atoi(Argv[2]);
    } else if (Argc != 1) {
        fprintf(stderr, "bench_tags: bench_tags [--scale 1..1000]\n");
        return 2;
    }
    ntmm_default_options(&Options);
    Options.stacks = 0;
    Options.special_pool_sample = 0;
    if (Scale < 1 || Scale > 1000 || ntmm_start(&Options) != 0) {
        fprintf(stderr, "bench_tags: %s\n", ntmm_error());
        return 2;
    }
    printf("{");
    for (unsigned T = 0; T < sizeof Tags / sizeof Tags[0]; T++) {
        double BestHot = 1e9, BestBatch = 1e9;
        for (unsigned Run = 0; Run < 4; Run++) { /* the first warms up */
            double Time = Hot(Tags[T]);
            BestHot = Time < BestHot ? Time : BestHot;
            Time = Batch(Tags[T]);
            BestBatch = Time < BestBatch ? Time : BestBatch;
        }
        printf("%s\"hot, %u\":%.2f,\"batch, %u\":%.2f", T ? "," : "", Tags[T], BestHot, Tags[T], BestBatch);
    }
    printf("}\n");
    return ntmm_stop() == 0 ? 0 : 1;
}
