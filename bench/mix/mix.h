/*
 * mix.h - what the allocator workloads share. SPDX-License-Identifier: MIT
 *
 * The workloads are one program, built twice:
 *
 *   bench_mix        over malloc and free: run under each allocator by LD_PRELOAD, so that all run the same instructions
 *   bench_mix_pool   over ExAllocatePool2 and ExFreePoolWithTag of the whole library (MIX_POOL)
 *
 * A workload is a function that does a known number of operations, times the part that counts, and says how many it did.
 * What it needs for itself (arrays of pointers, queues) comes from mix_memory, which is the host's memory and not the
 * allocator's, so that the allocator's figures are the workload's alone. Every workload writes into what it allocates.
 *
 * An operation is one allocation or one free together with its other half: a pair. `Scale` is in per cent of a full run.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef MIX_POOL
#include <ntddk.h>
#define MIX_TAG 'xiMB'
static inline void *mix_alloc(size_t Bytes)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, Bytes, MIX_TAG);
}
static inline void mix_free(void *Block)
{
    ExFreePoolWithTag(Block, MIX_TAG);
}
void *mix_realloc(void *Block, size_t Old, size_t Bytes);
#else
static inline void *mix_alloc(size_t Bytes)
{
    return malloc(Bytes);
}
static inline void mix_free(void *Block)
{
    free(Block);
}
static inline void *mix_realloc(void *Block, size_t Old, size_t Bytes)
{
    (void)Old;
    return realloc(Block, Bytes);
}
#endif

/* The compiler must take the block for used. */
#define MIX_LIVE(p) __asm__ volatile("" : : "r"(p) : "memory")

typedef struct mix_result {
    uint64_t Ops;
    double Seconds;
} mix_result;

typedef struct mix_workload {
    const char *Name, *Text;
    mix_result (*Run)(unsigned Threads);
    bool Threaded; /* is also run with two threads */
} mix_workload;
extern const mix_workload MixSmall[], MixThreads[], MixPrograms[], MixGrowth[]; /* each ends with Name NULL */

extern unsigned Scale; /* per cent */
static inline uint64_t mix_scaled(uint64_t Full)
{
    uint64_t Count = Full * Scale / 100;
    return Count ? Count : 1;
}

typedef struct mix_random {
    uint64_t State;
} mix_random;
static inline uint32_t mix_next(mix_random *Random)
{
    Random->State ^= Random->State << 13;
    Random->State ^= Random->State >> 7;
    Random->State ^= Random->State << 17;
    return (uint32_t)(Random->State >> 16);
}
static inline mix_random mix_seed(uint64_t Seed)
{
    mix_random Random = {Seed * 0x9E3779B97F4A7C15u + 0x632BE59BD9B4E019u};
    for (int I = 0; I < 8; I++)
        mix_next(&Random);
    return Random;
}
static inline uint32_t mix_below(mix_random *Random, uint32_t Bound)
{
    return (uint32_t)(((uint64_t)mix_next(Random) * Bound) >> 32);
}

double mix_now(void);           /* seconds */
double mix_cpu(void);           /* seconds of processor time that the process has used */
void *mix_memory(size_t Bytes); /* zeroed, the host's; ends the program if there is none */
void mix_memory_free(void *Memory, size_t Bytes);
/* Runs Body in Threads threads, the caller's included if there is one only, and times it. Index is passed. */
double mix_parallel(unsigned Threads, void (*Body)(unsigned Index));
void *mix_check(void *Block); /* ends the program if Block is NULL */
/* Adds members to the line of JSON: text that begins with a comma. */
void mix_extra(const char *Format, ...) __attribute__((format(printf, 1, 2)));
/* Resident memory now, in KiB, of the field (VmRSS, VmHWM) of /proc/self/status, read without allocating. */
long mix_resident(const char *Field);
