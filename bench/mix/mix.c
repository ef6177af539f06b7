/*
 * mix.c - runs one allocator workload and says what it took. SPDX-License-Identifier: MIT
 *
 *   bench_mix WORKLOAD [--threads N] [--scale PERCENT]      one line of JSON
 *   bench_mix --list                                         the workloads, a line each
 *   bench_mix --all [--scale PERCENT]                        each one, at 1 and 2 threads: the smoke test
 *
 * The line has the operations, the seconds by the workload's own measure, the processor time of the whole workload (with
 * what it takes to set it up: for machines that are busy with something else), and the peak of resident memory of the process
 * (VmHWM), to which the program itself adds about 2 MiB whatever the allocator.
 */
#include "mix.h"
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef MIX_POOL
#include <ntmm.h>
#endif

unsigned Scale = 100;

double mix_now(void)
{
    struct timespec Time;
    clock_gettime(CLOCK_MONOTONIC, &Time);
    return (double)Time.tv_sec + (double)Time.tv_nsec * 1e-9;
}

double mix_cpu(void)
{
    struct timespec Time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &Time);
    return (double)Time.tv_sec + (double)Time.tv_nsec * 1e-9;
}

void *mix_memory(size_t Bytes)
{
    void *Memory = mmap(NULL, Bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (Memory == MAP_FAILED) {
        fprintf(stderr, "bench_mix: the host has no %zu bytes\n", Bytes);
        exit(2);
    }
    return Memory;
}

void mix_memory_free(void *Memory, size_t Bytes)
{
    munmap(Memory, Bytes);
}

void *mix_check(void *Block)
{
    if (Block == NULL) {
        static const char Text[] = "bench_mix: out of memory\n";
        (void)!write(2, Text, sizeof Text - 1);
        _exit(3);
    }
    return Block;
}

long mix_resident(const char *Field)
{
    char Text[4096];
    int File = open("/proc/self/status", O_RDONLY);
    ssize_t Length = File < 0 ? 0 : read(File, Text, sizeof Text - 1);
    if (File >= 0)
        close(File);
    Text[Length > 0 ? Length : 0] = 0;
    const char *At = strstr(Text, Field);
    return At ? strtol(At + strlen(Field) + 1, NULL, 10) : 0;
}

#ifdef MIX_POOL
void *mix_realloc(void *Block, size_t Old, size_t Bytes)
{
    void *New = mix_alloc(Bytes);
    if (New != NULL && Block != NULL) {
        memcpy(New, Block, Old < Bytes ? Old : Bytes);
        mix_free(Block);
    }
    return New;
}
#endif

static char Extra[16384];
void mix_extra(const char *Format, ...)
{
    size_t Used = strlen(Extra);
    va_list List;
    va_start(List, Format);
    vsnprintf(Extra + Used, sizeof Extra - Used, Format, List);
    va_end(List);
}

static struct {
    void (*Body)(unsigned);
    pthread_barrier_t Start;
} Parallel;

static void *ParallelMain(void *Argument)
{
    pthread_barrier_wait(&Parallel.Start);
    Parallel.Body((unsigned)(uintptr_t)Argument);
    return NULL;
}

double mix_parallel(unsigned Threads, void (*Body)(unsigned))
{
    double Begin;
    if (Threads <= 1) {
        Begin = mix_now();
        Body(0);
        return mix_now() - Begin;
    }
    pthread_t *Ids = mix_memory(Threads * sizeof(*Ids));
    Parallel.Body = Body;
    pthread_barrier_init(&Parallel.Start, NULL, Threads + 1);
    for (unsigned I = 0; I < Threads; I++)
        if (pthread_create(&Ids[I], NULL, ParallelMain, (void *)(uintptr_t)I) != 0)
            mix_check(NULL);
    Begin = mix_now();
    pthread_barrier_wait(&Parallel.Start);
    for (unsigned I = 0; I < Threads; I++)
        pthread_join(Ids[I], NULL);
    Begin = mix_now() - Begin;
    pthread_barrier_destroy(&Parallel.Start);
    mix_memory_free(Ids, Threads * sizeof(*Ids));
    return Begin;
}

static const mix_workload *const Suites[] = {MixSmall, MixThreads, MixPrograms, MixGrowth};
#define SUITES (sizeof Suites / sizeof Suites[0])

static void RunOne(const mix_workload *Workload, unsigned Threads)
{
    Extra[0] = 0;
    double Cpu = mix_cpu();
    mix_result Result = Workload->Run(Threads);
    Cpu = mix_cpu() - Cpu;
    printf("{\"workload\":\"%s\",\"threads\":%u,\"ops\":%llu,\"seconds\":%.6f,\"cpu\":%.6f,\"rss_kb\":%ld%s}\n", Workload->Name,
           Threads, (unsigned long long)Result.Ops, Result.Seconds, Cpu, mix_resident("VmHWM:"), Extra);
    fflush(stdout);
}

static int Usage(const char *What)
{
    fprintf(stderr, "bench_mix: %s; bench_mix WORKLOAD|--all|--list [--threads 1..256] [--scale 1..10000]\n", What);
    return 2;
}

int main(int Argc, char **Argv)
{
    const char *Name = NULL;
    unsigned Threads = 1;
    bool All = false, Found = false;
    for (int I = 1; I < Argc; I++) {
        if (!strcmp(Argv[I], "--list")) {
            for (size_t S = 0; S < SUITES; S++)
                for (const mix_workload *W = Suites[S]; W->Name; W++)
                    printf("%s\t%s\t%s\n", W->Name, W->Threaded ? "1,2" : "1", W->Text);
            return 0;
        }
        if (!strcmp(Argv[I], "--all")) {
            All = true;
        } else if (!strcmp(Argv[I], "--threads") && I + 1 < Argc) {
            Threads = (unsigned)atoi(Argv[++I]);
        } else if (!strcmp(Argv[I], "--scale") && I + 1 < Argc) {
            Scale = (unsigned)atoi(Argv[++I]);
        } else if (Argv[I][0] != '-' && Name == NULL) {
            Name = Argv[I];
        } else {
            return Usage("bad arguments");
        }
    }
    if ((Name == NULL) == !All || Threads < 1 || Threads > 256 || Scale < 1 || Scale > 10000)
        return Usage("bad arguments");
#ifdef MIX_POOL
    ntmm_options Options;
    const char *Text = getenv("NTMM_OPTIONS");
    ntmm_default_options(&Options);
    Options.ram = 4ull << 30;
    Options.stacks = 0;
    if ((Text && ntmm_parse_options(Text, &Options) < 0) || ntmm_start(&Options) != 0) {
        fprintf(stderr, "bench_mix: %s\n", ntmm_error());
        return 2;
    }
#endif
    for (size_t S = 0; S < SUITES; S++)
        for (const mix_workload *W = Suites[S]; W->Name; W++)
            if (All) {
                if (Suites[S] == MixGrowth && Scale > 10)
                    continue;
                RunOne(W, 1);
                if (W->Threaded)
                    RunOne(W, 2);
                Found = true;
            } else if (!strcmp(W->Name, Name)) {
                RunOne(W, Threads);
                Found = true;
            }
    if (!Found)
        return Usage("no such workload (--list names them)");
#ifdef MIX_POOL
    return ntmm_stop() == 0 ? 0 : 1;
#else
    return 0;
#endif
}
