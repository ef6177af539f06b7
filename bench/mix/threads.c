/*
 * threads.c - workloads about threads, after the suites that allocators are compared with. SPDX-License-Identifier: MIT
 *
 *   larson         a server: blocks replaced at random; every so often a thread ends and hands its blocks to a new one
 *   xmalloc        producers allocate batches, consumers free them
 *   mstress        threads allocate, keep, free and swap blocks through a common array; thread sets come and go
 *   sh8            as sh6, but each round is freed by the neighbour thread
 *   cache-scratch  passive false sharing: blocks that main made are freed by threads, which then write to their own
 *   cache-thrash   active false sharing: threads write to blocks they made
 *   mleak          many short threads, each leaving half of its blocks to the next
 * With one thread, larson and mleak still make threads; xmalloc has one producer and one consumer.
 */
#include "mix.h"

/* ---- larson ---- */
#define LARSON_BLOCKS     5000
#define LARSON_GENERATION 100000
typedef struct larson {
    void *Blocks[LARSON_BLOCKS];
    mix_random Random;
    uint64_t Left;
} larson;
static void *LarsonMain(void *Argument)
{
    larson *State = Argument;
    uint64_t Count = State->Left < LARSON_GENERATION ? State->Left : LARSON_GENERATION;
    for (uint64_t I = 0; I < Count; I++) {
        unsigned Slot = mix_below(&State->Random, LARSON_BLOCKS);
        mix_free(State->Blocks[Slot]);
        char *Block = mix_check(mix_alloc(8 + mix_below(&State->Random, 993)));
        Block[0] = 1;
        Block[1] = 2;
        State->Blocks[Slot] = Block;
    }
    State->Left -= Count;
    return NULL;
}
static larson *LarsonStates;
static void LarsonBody(unsigned Index)
{
    larson *State = &LarsonStates[Index];
    while (State->Left) {
        pthread_t Thread;
        if (pthread_create(&Thread, NULL, LarsonMain, State) != 0)
            mix_check(NULL);
        pthread_join(Thread, NULL);
    }
}
static mix_result Larson(unsigned Threads)
{
    uint64_t Each = mix_scaled(5000000);
    LarsonStates = mix_memory(Threads * sizeof(larson));
    for (unsigned T = 0; T < Threads; T++) {
        LarsonStates[T].Random = mix_seed(4141 + T);
        LarsonStates[T].Left = Each;
        for (unsigned I = 0; I < LARSON_BLOCKS; I++)
            LarsonStates[T].Blocks[I] = mix_check(mix_alloc(8 + mix_below(&LarsonStates[T].Random, 993)));
    }
    double Time = mix_parallel(Threads, LarsonBody);
    for (unsigned T = 0; T < Threads; T++)
        for (unsigned I = 0; I < LARSON_BLOCKS; I++)
            mix_free(LarsonStates[T].Blocks[I]);
    mix_memory_free(LarsonStates, Threads * sizeof(larson));
    return (mix_result){Each * Threads, Time};
}

/* ---- xmalloc ---- */
#define XM_BATCH 1024
#define XM_QUEUE 32
static const unsigned short XmSizes[] = {8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048};
static struct {
    pthread_mutex_t Lock;
    pthread_cond_t NotFull, NotEmpty;
    void **Queue[XM_QUEUE];
    unsigned Head, Count, Producers;
    void **Spare[XM_QUEUE + 512];
    unsigned SpareCount;
    uint64_t Each; /* batches of a producer */
    unsigned Threads;
    bool Mixed;
} Xm = {.Lock = PTHREAD_MUTEX_INITIALIZER, .NotFull = PTHREAD_COND_INITIALIZER, .NotEmpty = PTHREAD_COND_INITIALIZER};

static void XmProduce(unsigned Index)
{
    mix_random Random = mix_seed(Index + 3);
    for (uint64_t B = 0; B < Xm.Each; B++) {
        pthread_mutex_lock(&Xm.Lock);
        void **Batch = Xm.SpareCount ? Xm.Spare[--Xm.SpareCount] : NULL;
        pthread_mutex_unlock(&Xm.Lock);
        if (Batch == NULL)
            Batch = mix_memory(XM_BATCH * sizeof(void *));
        for (unsigned I = 0; I < XM_BATCH; I++) {
            size_t Bytes = Xm.Mixed ? XmSizes[mix_below(&Random, sizeof XmSizes / sizeof XmSizes[0])] : 64;
            Batch[I] = mix_check(mix_alloc(Bytes));
            *(volatile char *)Batch[I] = 1;
        }
        pthread_mutex_lock(&Xm.Lock);
        while (Xm.Count == XM_QUEUE)
            pthread_cond_wait(&Xm.NotFull, &Xm.Lock);
        Xm.Queue[(Xm.Head + Xm.Count++) % XM_QUEUE] = Batch;
        pthread_cond_signal(&Xm.NotEmpty);
        pthread_mutex_unlock(&Xm.Lock);
    }
    pthread_mutex_lock(&Xm.Lock);
    Xm.Producers--;
    pthread_cond_broadcast(&Xm.NotEmpty);
    pthread_mutex_unlock(&Xm.Lock);
}
static void XmConsume(void)
{
    pthread_mutex_lock(&Xm.Lock);
    for (;;) {
        while (Xm.Count == 0 && Xm.Producers != 0)
            pthread_cond_wait(&Xm.NotEmpty, &Xm.Lock);
        if (Xm.Count == 0)
            break;
        void **Batch = Xm.Queue[Xm.Head];
        Xm.Head = (Xm.Head + 1) % XM_QUEUE;
        Xm.Count--;
        pthread_cond_signal(&Xm.NotFull);
        pthread_mutex_unlock(&Xm.Lock);
        for (unsigned I = 0; I < XM_BATCH; I++)
            mix_free(Batch[I]);
        pthread_mutex_lock(&Xm.Lock);
        if (Xm.SpareCount < sizeof Xm.Spare / sizeof Xm.Spare[0])
            Xm.Spare[Xm.SpareCount++] = Batch;
    }
    pthread_mutex_unlock(&Xm.Lock);
}
static void XmBody(unsigned Index)
{
    if (Index < Xm.Threads) {
        XmProduce(Index);
    } else {
        XmConsume();
    }
}
static mix_result XmRun(unsigned Threads, bool Mixed, uint64_t Blocks)
{
    Xm.Mixed = Mixed;
    Xm.Threads = Xm.Producers = Threads;
    Xm.Each = mix_scaled(Blocks / XM_BATCH);
    Xm.Head = Xm.Count = 0;
    double Time = mix_parallel(2 * Threads, XmBody);
    return (mix_result){Xm.Each * XM_BATCH * Threads, Time};
}
static mix_result Xmalloc(unsigned Threads)
{
    return XmRun(Threads, false, 6000000);
}
static mix_result XmallocMixed(unsigned Threads)
{
    return XmRun(Threads, true, 4000000);
}

/* ---- mstress ---- */
#define MS_TRANSFER 1000
static void *volatile MsTransfer[MS_TRANSFER];
static volatile uint64_t MsOps;
static unsigned MsRound;
static bool MsChance(mix_random *Random, unsigned PerCent)
{
    return mix_below(Random, 100) < PerCent;
}
static void *MsAllocate(mix_random *Random)
{
    size_t Words = 1 + mix_below(Random, 16) * (1 + mix_below(Random, 8));
    if (MsChance(Random, 1))
        Words *= MsChance(Random, 1) ? 1000 : MsChance(Random, 10) ? 100 : 10;
    uint64_t *Block = mix_check(mix_alloc(Words * 8));
    for (size_t I = 0; I < Words; I += 8)
        Block[I] = (uint64_t)(uintptr_t)Block ^ Words;
    return Block;
}
static void MsBody(unsigned Index)
{
    enum { Data = 5000, Retained = 10000 };
    void **Blocks = mix_memory(Data * sizeof(void *)), **Kept = mix_memory(Retained * sizeof(void *));
    mix_random Random = mix_seed((uint64_t)Index * 7919 + MsRound + 1);
    unsigned Allocs = 20000, Retain = 5000, Top = 0, KeptTop = 0;
    uint64_t Ops = 0;
    while (Allocs > 0 || Retain > 0) {
        if (Retain == 0 || (MsChance(&Random, 50) && Allocs > 0)) {
            Allocs--;
            unsigned Slot = Top < Data ? Top++ : mix_below(&Random, Data);
            if (Blocks[Slot] != NULL)
                mix_free(Blocks[Slot]);
            Blocks[Slot] = MsAllocate(&Random);
        } else {
            Kept[KeptTop++] = MsAllocate(&Random);
            Retain--;
        }
        Ops++;
        if (MsChance(&Random, 66) && Top > 0) {
            unsigned Slot = mix_below(&Random, Top);
            if (Blocks[Slot] != NULL)
                mix_free(Blocks[Slot]);
            Blocks[Slot] = NULL;
        }
        if (MsChance(&Random, 25) && Top > 0) {
            unsigned Slot = mix_below(&Random, Top);
            Blocks[Slot] = __atomic_exchange_n(&MsTransfer[mix_below(&Random, MS_TRANSFER)], Blocks[Slot], __ATOMIC_ACQ_REL);
        }
    }
    for (unsigned I = 0; I < KeptTop; I++)
        mix_free(Kept[I]);
    for (unsigned I = 0; I < Top; I++)
        if (Blocks[I] != NULL)
            mix_free(Blocks[I]);
    __atomic_add_fetch(&MsOps, Ops, __ATOMIC_RELAXED);
    mix_memory_free(Blocks, Data * sizeof(void *));
    mix_memory_free(Kept, Retained * sizeof(void *));
}
static mix_result Mstress(unsigned Threads)
{
    uint64_t Rounds = mix_scaled(60);
    double Time = 0;
    mix_random Random = mix_seed(43);
    MsOps = 0;
    for (MsRound = 0; MsRound < Rounds; MsRound++) {
        Time += mix_parallel(Threads, MsBody);
        bool Clear = MsChance(&Random, 50) || MsRound + 1 == Rounds;
        for (unsigned I = 0; Clear && I < MS_TRANSFER; I++) {
            void *Block = __atomic_exchange_n(&MsTransfer[I], NULL, __ATOMIC_ACQ_REL);
            if (Block != NULL)
                mix_free(Block);
        }
    }
    return (mix_result){MsOps, Time};
}

/* ---- sh8-like ---- */
#define SH8_SLOTS 512
static struct {
    void *volatile *Rows; /* [thread][slot] */
    uint64_t Rounds;
    unsigned Threads;
    pthread_barrier_t Barrier;
} Sh8;
static void Sh8Body(unsigned Index)
{
    unsigned Next = (Index + 1) % Sh8.Threads;
    for (uint64_t Round = 0; Round < Sh8.Rounds; Round++) {
        unsigned Bytes = 1 + (unsigned)(Round % 17);
        for (unsigned I = 0; I < SH8_SLOTS; I++) {
            Sh8.Rows[Index * SH8_SLOTS + I] = mix_check(mix_alloc(Bytes));
            *(volatile char *)Sh8.Rows[Index * SH8_SLOTS + I] = 1;
            Bytes += 1 + Bytes / 8;
            if (Bytes > 1000)
                Bytes = 1 + (I & 15);
        }
        if (Sh8.Threads > 1)
            pthread_barrier_wait(&Sh8.Barrier);
        for (unsigned I = 0; I < SH8_SLOTS; I++)
            mix_free(Sh8.Rows[Next * SH8_SLOTS + (Round & 1 ? SH8_SLOTS - 1 - I : I)]);
        if (Sh8.Threads > 1)
            pthread_barrier_wait(&Sh8.Barrier);
    }
}
static mix_result Sh8Run(unsigned Threads)
{
    Sh8.Rows = mix_memory(Threads * SH8_SLOTS * sizeof(void *));
    Sh8.Rounds = mix_scaled(Threads > 1 ? 8000 : 15000);
    Sh8.Threads = Threads;
    pthread_barrier_init(&Sh8.Barrier, NULL, Threads);
    double Time = mix_parallel(Threads, Sh8Body);
    pthread_barrier_destroy(&Sh8.Barrier);
    mix_memory_free((void *)Sh8.Rows, Threads * SH8_SLOTS * sizeof(void *));
    return (mix_result){Sh8.Rounds * SH8_SLOTS * Threads, Time};
}

/* ---- cache-scratch, cache-thrash ---- */
static struct {
    void **First; /* scratch: what main made for each thread */
    uint64_t Count;
} Cs;
static void CsBody(unsigned Index)
{
    if (Cs.First != NULL)
        mix_free(Cs.First[Index]);
    for (uint64_t I = 0; I < Cs.Count; I++) {
        volatile char *Block = mix_check(mix_alloc(8));
        for (unsigned Write = 0; Write < 400; Write++)
            Block[Write % 8]++;
        mix_free((void *)(uintptr_t)Block);
    }
}
static mix_result CacheScratch(unsigned Threads)
{
    Cs.Count = mix_scaled(400000);
    Cs.First = mix_memory(Threads * sizeof(void *));
    for (unsigned I = 0; I < Threads; I++)
        Cs.First[I] = mix_check(mix_alloc(8));
    double Time = mix_parallel(Threads, CsBody);
    mix_memory_free(Cs.First, Threads * sizeof(void *));
    Cs.First = NULL;
    return (mix_result){Cs.Count * Threads, Time};
}
static mix_result CacheThrash(unsigned Threads)
{
    Cs.Count = mix_scaled(400000);
    double Time = mix_parallel(Threads, CsBody);
    return (mix_result){Cs.Count * Threads, Time};
}

/* ---- mleak ---- */
#define MLEAK_BLOCKS 400
static struct {
    void *volatile *Left; /* [thread][MLEAK_BLOCKS / 2] */
    uint64_t Each;
} Mleak;
static void *MleakMain(void *Argument)
{
    unsigned Index = (unsigned)(uintptr_t)Argument;
    mix_random Random = mix_seed(Index + 17);
    void *Blocks[MLEAK_BLOCKS];
    for (unsigned I = 0; I < MLEAK_BLOCKS; I++) {
        Blocks[I] = mix_check(mix_alloc(16 + mix_below(&Random, I % 50 == 0 ? 20000 : 400)));
        *(volatile char *)Blocks[I] = 1;
    }
    for (unsigned I = 0; I < MLEAK_BLOCKS; I += 2) {
        void *volatile *Slot = &Mleak.Left[Index * (MLEAK_BLOCKS / 2) + I / 2];
        mix_free(Blocks[I + 1]);
        if (*Slot != NULL)
            mix_free(*Slot);
        *Slot = Blocks[I];
    }
    return NULL;
}
static void MleakBody(unsigned Index)
{
    for (uint64_t I = 0; I < Mleak.Each; I++) {
        pthread_t Thread;
        if (pthread_create(&Thread, NULL, MleakMain, (void *)(uintptr_t)Index) != 0)
            mix_check(NULL);
        pthread_join(Thread, NULL);
    }
}
static mix_result MleakRun(unsigned Threads)
{
    size_t Bytes = Threads * (MLEAK_BLOCKS / 2) * sizeof(void *);
    Mleak.Each = mix_scaled(1500);
    Mleak.Left = mix_memory(Bytes);
    double Time = mix_parallel(Threads, MleakBody);
    for (unsigned I = 0; I < Threads * (MLEAK_BLOCKS / 2); I++)
        if (Mleak.Left[I] != NULL)
            mix_free(Mleak.Left[I]);
    mix_memory_free((void *)Mleak.Left, Bytes);
    return (mix_result){Mleak.Each * MLEAK_BLOCKS * Threads, Time};
}

const mix_workload MixThreads[] = {
    {"larson", "a server's threads: 5,000 blocks of 8-1000 bytes replaced at random, handed on to new threads", Larson, true},
    {"xmalloc", "64 bytes, producers allocate, consumers free", Xmalloc, true},
    {"xmalloc-mixed", "8-2048 bytes, producers allocate, consumers free", XmallocMixed, true},
    {"mstress", "allocate, keep, free, swap with other threads", Mstress, true},
    {"sh8", "sizes 1-1000, each round freed by the neighbour thread", Sh8Run, true},
    {"cache-scratch", "8 bytes written 400 times, first block from another thread", CacheScratch, true},
    {"cache-thrash", "8 bytes written 400 times", CacheThrash, true},
    {"mleak", "many short threads, each frees half of what the one before left", MleakRun, true},
    {NULL, NULL, NULL, false},
};
