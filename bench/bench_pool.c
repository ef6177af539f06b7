/*
 * bench_pool.c - the pools beside malloc: the same loops over ExAllocatePool2, glibc's malloc and, where it
 * is installed, mimalloc, interleaved in one run.
 *
 *   bench_pool [--json FILE] [--rounds N] [--smoke]
 *
 * Each loop runs N rounds; a round runs every allocator once, in turn, so that a busy moment of the machine
 * hits all alike. Figures are the median of the rounds, in nanoseconds for a pair of allocation and free,
 * with the quartiles. The pool side is the whole of it: tags counted, every free checked.
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ntddk.h>
#include <ntmm.h>

#define TAG        'hcnB'
#define MAX_ROUNDS 101

static void *PoolAllocate(size_t Bytes)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, Bytes, TAG);
}
static void PoolFree(void *Block)
{
    ExFreePoolWithTag(Block, TAG);
}
static void *PagedAllocate(size_t Bytes)
{
    return ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, Bytes, TAG);
}

static struct {
    const char *Name;
    void *(*Allocate)(size_t);
    void (*Free)(void *);
} Allocators[4] = {
    {"nonpaged pool", PoolAllocate, PoolFree},
    {"paged pool", PagedAllocate, PoolFree},
    {"glibc malloc", malloc, free},
};
static unsigned AllocatorCount = 3;
static unsigned Scale = 100; /* per cent of the work */

static double Now(void)
{
    struct timespec Time;
    clock_gettime(CLOCK_MONOTONIC, &Time);
    return (double)Time.tv_sec * 1e9 + (double)Time.tv_nsec;
}

static uint32_t Random(uint32_t *State)
{
    *State ^= *State << 13;
    *State ^= *State >> 17;
    *State ^= *State << 5;
    return *State;
}

#define LIVE(p)     __asm__ volatile("" : : "r"(p) : "memory")
#define ALLOCATE(n) (Allocators[A].Allocate(n))
#define FREE(p)     (Allocators[A].Free(p))

/* Each returns the pairs it did. */
static size_t Hot(unsigned A)
{
    size_t Index, Count = 20000 * Scale;
    for (Index = 0; Index < Count; Index++) {
        void *Block = ALLOCATE(64);
        LIVE(Block);
        FREE(Block);
    }
    return Count;
}

static size_t Mixed(unsigned A)
{
    static void *Blocks[1000];
    size_t Round, Rounds = 20 * Scale;
    uint32_t State = 7;
    int Index;
    for (Round = 0; Round < Rounds; Round++) {
        for (Index = 0; Index < 1000; Index++) {
            Blocks[Index] = ALLOCATE(16 + Random(&State) % 1009);
            *(char *)Blocks[Index] = 1;
        }
        for (Index = 999; Index > 0; Index--) {
            int Other = (int)(Random(&State) % (unsigned)(Index + 1));
            void *Block = Blocks[Other];
            Blocks[Other] = Blocks[Index];
            FREE(Block);
        }
        FREE(Blocks[0]);
    }
    return Rounds * 1000;
}

static size_t Replace(unsigned A, size_t Live)
{
    void **Blocks = malloc(Live * sizeof(*Blocks));
    size_t Index, Count = 3000 * Scale;
    uint32_t State = 9;
    for (Index = 0; Index < Live; Index++)
        Blocks[Index] = ALLOCATE(16 + Random(&State) % 497);
    for (Index = 0; Index < Count; Index++) {
        size_t Slot = Random(&State) % Live;
        FREE(Blocks[Slot]);
        Blocks[Slot] = ALLOCATE(16 + Random(&State) % 497);
        *(char *)Blocks[Slot] = 1;
    }
    for (Index = 0; Index < Live; Index++)
        FREE(Blocks[Index]);
    free(Blocks);
    return Count + Live;
}

static size_t Replace10K(unsigned A)
{
    return Replace(A, 10000);
}

static size_t Replace100K(unsigned A)
{
    return Replace(A, 100000);
}

/* One thread allocates batches, another frees them. */
#define BATCH 256
static struct {
    void *Blocks[16][BATCH];
    volatile unsigned Written, Read; /* batches */
    unsigned A, Batches;
} Pipe;

static void *Consume(void *Argument)
{
    unsigned A = Pipe.A, Batch, Index;
    (void)Argument;
    for (Batch = 0; Batch < Pipe.Batches; Batch++) {
        while (__atomic_load_n(&Pipe.Written, __ATOMIC_ACQUIRE) == Batch)
            __builtin_ia32_pause();
        for (Index = 0; Index < BATCH; Index++)
            FREE(Pipe.Blocks[Batch % 16][Index]);
        __atomic_store_n(&Pipe.Read, Batch + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static size_t Elsewhere(unsigned A)
{
    pthread_t Thread;
    unsigned Batch, Index;
    Pipe.A = A;
    Pipe.Written = Pipe.Read = 0;
    Pipe.Batches = 20 * Scale;
    pthread_create(&Thread, NULL, Consume, NULL);
    for (Batch = 0; Batch < Pipe.Batches; Batch++) {
        while (Batch - __atomic_load_n(&Pipe.Read, __ATOMIC_ACQUIRE) == 16)
            __builtin_ia32_pause();
        for (Index = 0; Index < BATCH; Index++)
            Pipe.Blocks[Batch % 16][Index] = ALLOCATE(64);
        __atomic_store_n(&Pipe.Written, Batch + 1, __ATOMIC_RELEASE);
    }
    pthread_join(Thread, NULL);
    return (size_t)Pipe.Batches * BATCH;
}

static size_t Large(unsigned A)
{
    size_t Index, Count = 20 * Scale;
    uint32_t State = 5;
    void *Blocks[16] = {NULL};
    for (Index = 0; Index < Count; Index++) {
        size_t Bytes = 4096 + Random(&State) % (1 << 20);
        char *Block = ALLOCATE(Bytes);
        Block[0] = Block[Bytes - 1] = 1;
        if (Blocks[Index % 16] != NULL)
            FREE(Blocks[Index % 16]);
        Blocks[Index % 16] = Block;
    }
    for (Index = 0; Index < 16; Index++)
        if (Blocks[Index] != NULL)
            FREE(Blocks[Index]);
    return Count;
}

static const struct {
    const char *Name, *Text;
    size_t (*Run)(unsigned);
} Loops[] = {
    {"hot64", "allocate and free 64 bytes", Hot},
    {"mixed", "1,000 of 16-1024 bytes, freed at random", Mixed},
    {"replace10k", "random replacement in 10,000 live", Replace10K},
    {"replace100k", "random replacement in 100,000 live", Replace100K},
    {"elsewhere", "64 bytes, freed by another thread", Elsewhere},
    {"large", "4 KiB-1 MiB, two bytes touched", Large},
};
#define LOOPS (sizeof(Loops) / sizeof(Loops[0]))

static int Compare(const void *Left, const void *Right)
{
    double Difference = *(const double *)Left - *(const double *)Right;
    return Difference < 0 ? -1 : Difference > 0;
}

int main(int Argc, char **Argv)
{
    static double Times[LOOPS][4][MAX_ROUNDS];
    unsigned Rounds = 5, Loop, A, Round;
    FILE *Json = NULL;
    ntmm_options Options;
    void *Library = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);
    int Index;
    for (Index = 1; Index < Argc; Index++) {
        if (!strcmp(Argv[Index], "--json") && Index + 1 < Argc) {
            Json = fopen(Argv[++Index], "w");
            if (Json == NULL) {
                perror(Argv[Index]);
                return 2;
            }
        } else if (!strcmp(Argv[Index], "--smoke")) {
            Scale = 1;
            Rounds = 1;
        } else if (!strcmp(Argv[Index], "--rounds") && Index + 1 < Argc && atoi(Argv[Index + 1]) > 0 &&
                   atoi(Argv[Index + 1]) <= MAX_ROUNDS) {
            Rounds = (unsigned)atoi(Argv[++Index]);
        } else {
            fprintf(stderr, "bench_pool: '%s' is not an option; bench_pool [--json FILE] [--rounds 1..%d] [--smoke]\n",
                    Argv[Index], MAX_ROUNDS);
            return 2;
        }
    }
    if (Library != NULL) {
        Allocators[3].Name = "mimalloc";
        Allocators[3].Allocate = (void *(*)(size_t))dlsym(Library, "mi_malloc");
        Allocators[3].Free = (void (*)(void *))dlsym(Library, "mi_free");
        if (Allocators[3].Allocate != NULL && Allocators[3].Free != NULL)
            AllocatorCount = 4;
    }
    ntmm_default_options(&Options);
    Options.ram = 1ull << 30;
    Options.stacks = 0;
    Options.special_pool_sample = 0; /* verifier=none */
    if (ntmm_start(&Options) != 0) {
        fprintf(stderr, "bench_pool: %s\n", ntmm_error());
        return 2;
    }
    for (Loop = 0; Loop < LOOPS; Loop++) {
        unsigned Full = Scale;
        Scale = 1; /* warm up: memory that was never touched costs the host's faults */
        for (A = 0; A < AllocatorCount; A++)
            Loops[Loop].Run(A);
        Scale = Full;
        for (Round = 0; Round < Rounds; Round++) {
            for (A = 0; A < AllocatorCount; A++) {
                double Start = Now();
                size_t Pairs = Loops[Loop].Run(A);
                Times[Loop][A][Round] = (Now() - Start) / (double)Pairs;
            }
        }
        for (A = 0; A < AllocatorCount; A++)
            qsort(Times[Loop][A], Rounds, sizeof(double), Compare);
    }
    if (Json != NULL) {
        fprintf(Json, "{\"bench\":\"pool\",\"unit\":\"ns per pair\",\"rounds\":%u,\"rows\":[", Rounds);
        for (Loop = 0; Loop < LOOPS; Loop++) {
            fprintf(Json, "%s{\"name\":\"%s\",\"text\":\"%s\"", Loop ? "," : "", Loops[Loop].Name, Loops[Loop].Text);
            for (A = 0; A < AllocatorCount; A++)
                fprintf(Json, ",\"%s\":{\"median\":%.2f,\"low\":%.2f,\"high\":%.2f}", Allocators[A].Name,
                        Times[Loop][A][Rounds / 2], Times[Loop][A][Rounds / 4], Times[Loop][A][Rounds - 1 - Rounds / 4]);
            fprintf(Json, "}");
        }
        fprintf(Json, "]}\n");
        fclose(Json);
    }
    printf("Nanoseconds for a pair of allocation and free: median of %u rounds (quartiles)\n%-42s", Rounds, "");
    for (A = 0; A < AllocatorCount; A++)
        printf(" %22s", Allocators[A].Name);
    printf("\n");
    for (Loop = 0; Loop < LOOPS; Loop++) {
        printf("%-42s", Loops[Loop].Text);
        for (A = 0; A < AllocatorCount; A++) {
            char Text[64];
            snprintf(Text, sizeof(Text), "%.1f (%.1f-%.1f)", Times[Loop][A][Rounds / 2], Times[Loop][A][Rounds / 4],
                     Times[Loop][A][Rounds - 1 - Rounds / 4]);
            printf(" %22s", Text);
        }
        printf("\n");
    }
    return ntmm_stop() == 0 ? 0 : 1;
}
