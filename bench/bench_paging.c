/*
 * bench_paging.c - what paging costs, against the device itself and the host's own swapping. SPDX-License-Identifier: MIT
 *
 * Everything runs over one file, through the same interface of page files (mm/pagefile.h), so the figures compare:
 *   device    that interface alone: clusters of 64 pages, as many under way as paging has, and single pages at random. What the file can do.
 *   workload  four times RAM of paged pool: written in order (page-out), read in order (page-in), rewritten in order (both), read
 *             at random by one thread and by two. Throughput against the device's, interleaved round by round.
 *   write     the first phase of the workload alone, many times in a short time (only where --only asks for it).
 *   store     one and a half times RAM of pages that compress to about a quarter, with the compression store (a quarter of RAM)
 *             and without.
 *   fault     microseconds of one fault, demand-zero and soft, against the host's floor (a signal and a mapping); hard ones by one
 *             thread and by two, against reads of one page by as many.
 *   flat      microseconds of one fault, demand-zero, soft (trimmed, still in RAM) and hard (one page from the file), in systems of
 *             64 MiB up to 8 GiB of RAM: the cost does not grow with RAM.
 *   out       memory that was written leaves RAM, all of it, and comes back in order: page-out and page-in, nothing else.
 *             These and the workload are also compared with the device when it moves as much memory as they do, not what is
 *             in the processor's caches.
 *   swap      the workload's pattern in a process of the host with as little memory (a cgroup) and a swap file: where this
 *             machine can do that (root, a memory cgroup); else the figure is left out, and said so.
 * Medians of rounds.
 *
 *   bench_paging [--smoke] [--rounds N] [--file PATH] [--ram MIB] [--only device,workload,...] [--io queue|threads] [--json FILE]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <ntddk.h>
#include <ntmm.h>
#include "hal/linux/halp.h"
#include "mm/mi.h"

#define MIB        (1ull << 20)
#define CLUSTER    64u
#define MAX_ROUNDS 15
#define BLOCK      (1u << 20)

static char OwnFile[64];
static const char *File = OwnFile, *Only;
static unsigned Rounds = 3, RamMib = 64;
static bool Smoke, Verbose;
static unsigned Engine; /* as the option io */
static FILE *Json;
static int JsonRows;

static double Clock(clockid_t Which)
{
    struct timespec T;
    clock_gettime(Which, &T);
    return (double)T.tv_sec + (double)T.tv_nsec / 1e9;
}
static double Now(void)
{
    return Clock(CLOCK_MONOTONIC);
}
static int Ascending(const void *A, const void *B)
{
    double X = *(const double *)A, Y = *(const double *)B;
    return X < Y ? -1 : X > Y;
}
static double Median(double *Values, unsigned Count)
{
    qsort(Values, Count, sizeof *Values, Ascending);
    return Count % 2 ? Values[Count / 2] : (Values[Count / 2 - 1] + Values[Count / 2]) / 2;
}
static bool Wanted(const char *Section)
{
    return Only == NULL || strstr(Only, Section) != NULL;
}

/* ---- results: rows of samples, printed and written as JSON at the end ---- */
typedef struct {
    const char *Section, *Name, *Unit, *Against; /* Against: the row of the device that this one is compared to */
    double Samples[MAX_ROUNDS], Ratios[MAX_ROUNDS], WideRatios[MAX_ROUNDS]; /* the last: of the device with as much memory */
    unsigned Count, RatioCount, WideCount;
    const char *RatioTo; /* NULL: the device */
    double Value;
} ROW;
static ROW Rows[96];
static unsigned RowCount;
static ROW *Row(const char *Section, const char *Name, const char *Unit, const char *Against)
{
    for (unsigned i = 0; i < RowCount; i++) {
        if (!strcmp(Rows[i].Section, Section) && !strcmp(Rows[i].Name, Name)) {
            return &Rows[i];
        }
    }
    Rows[RowCount] = (ROW){.Section = Section, .Name = Name, .Unit = Unit, .Against = Against};
    return &Rows[RowCount++];
}
static void Sample(ROW *Of, double Value)
{
    if (Of->Count < MAX_ROUNDS) {
        Of->Samples[Of->Count++] = Value;
    }
}
static void Ratio(ROW *Of, double Value)
{
    if (Of->RatioCount < MAX_ROUNDS) {
        Of->Ratios[Of->RatioCount++] = Value;
    }
}
static void Fail(const char *What)
{
    fprintf(stderr, "bench_paging: %s: %s\n", What, ntmm_error());
    exit(1);
}

/* ---- a system ---- */
static void StartSystem(uint64_t Ram, uint64_t PageFile, bool Compression)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = Ram;
    Options.cpus = 2;
    Options.stacks = 0;
    Options.pagefile_check = false;
    Options.special_pool_sample = 0; /* a block of 1 MiB elsewhere, filled and read back, ends what is in order */
    Options.io = Engine;
    if (PageFile != 0) {
        snprintf(Options.pagefile, sizeof Options.pagefile, "%s", File);
        Options.pagefile_size = PageFile;
    }
    Options.pagedpool = 16 * Ram + (64u << 20);
    Options.compression = Compression ? Ram / 4 : 0;
    unlink(File);
    if (ntmm_start(&Options) != 0) {
        Fail("start");
    }
}
static void StopSystem(void)
{
    if (ntmm_stop() != 0) {
        Fail("stop");
    }
}

/* ---- the device, by the interface that paging uses ---- */
static uint64_t Random(uint64_t *State)
{
    *State ^= *State << 13;
    *State ^= *State >> 7;
    return *State ^= *State << 17;
}
/* As many as paging has on their way. */
#define INFLIGHT    16u
#define READS_MOST  16u
#define WRITES_MOST MI_WRITES
C_ASSERT(WRITES_MOST <= INFLIGHT);
static volatile LONG Ended;
static VOID OnDone(PMI_PAGE_IO Io)
{
    if (!NT_SUCCESS(Io->Status)) {
        abort();
    }
    __atomic_store_n((volatile LONG *)Io->Context, 0, __ATOMIC_RELEASE);
    __atomic_add_fetch(&Ended, 1, __ATOMIC_SEQ_CST);
    HalWake(&Ended, 1);
}
/* Frames for the device's own transfers: the host backs them, and they do not compress. Few: they stay in the processor's caches, which no
 * page does that leaves RAM; then the device is at its fastest. Or as many as what is paged (Wide), which costs whoever moves
 * them, below us, as much as pages do. */
#define FEW_FRAMES  (2 * INFLIGHT * CLUSTER)
#define WIDE_FRAMES (Smoke ? 2048u : 16384u)
static PFN_NUMBER DeviceFrames;
static ULONG FrameCount;
static bool Wide;
static void TakeFrames(ULONG Count)
{
    BOOLEAN Dirty;
    FrameCount = Count;
    if (!MiChargeCommitment(FrameCount, HighPoolPriority) ||
        !MiTakeContiguous(FrameCount, 0, MiState->HighestPage, 0, &DeviceFrames, &Dirty)) {
        Fail("frames");
    }
    for (ULONG i = 0; i < FrameCount; i++) {
        if ((DeviceFrames + i) % 512 == 0 && FrameCount - i >= 512) { /* as the machine backs RAM that is filled in order */
            *(volatile char *)HalWindow(DeviceFrames + i) = 0;
            syscall(SYS_madvise, HalWindow(DeviceFrames + i), 512 * 4096, 25 /* MADV_COLLAPSE */);
        }
        uint64_t Seed = i + 1;
        for (ULONG Word = 0; Word < 512; Word++) {
            ((uint64_t *)HalWindow(DeviceFrames + i))[Word] = Random(&Seed);
        }
    }
}
static void TakeDeviceFrames(void)
{
    TakeFrames(FEW_FRAMES);
}
static void GiveDeviceFrames(void)
{
    MiReturnCommitment(MiReleaseFrames(DeviceFrames, FrameCount));
}
/* Moves Pages pages in order from the slots' beginning; returns MiB/s. */
static double DeviceInOrder(MI_SLOT First, ULONG Pages, bool Write, unsigned Most)
{
    static MI_PAGE_IO Io[INFLIGHT];
    static volatile LONG Busy[INFLIGHT];
    ULONG Frames = Wide ? FrameCount : FEW_FRAMES;
    double Start = Now();
    for (ULONG Done = 0; Done < Pages; Done += CLUSTER) {
        unsigned Free = Most;
        while (Free == Most) {
            LONG Seen = __atomic_load_n(&Ended, __ATOMIC_SEQ_CST);
            for (Free = 0; Free < Most && __atomic_load_n(&Busy[Free], __ATOMIC_ACQUIRE); Free++) {
            }
            if (Free == Most) {
                HalWait(&Ended, Seen, HAL_FOREVER);
            }
        }
        Io[Free].Slot = First + Done;
        Io[Free].Count = CLUSTER;
        Io[Free].Wanted = 0;
        Io[Free].Done = OnDone;
        Io[Free].Context = (PVOID)&Busy[Free];
        for (ULONG i = 0; i < CLUSTER; i++) {
            Io[Free].Pages[i] = (ULONG)(DeviceFrames + (Done + i) % Frames);
        }
        __atomic_store_n(&Busy[Free], 1, __ATOMIC_RELAXED);
        Write ? MiWriteSlots(&Io[Free]) : MiReadSlots(&Io[Free]);
    }
    for (unsigned i = 0; i < INFLIGHT; i++) {
        for (LONG Seen; Seen = __atomic_load_n(&Ended, __ATOMIC_SEQ_CST), __atomic_load_n(&Busy[i], __ATOMIC_ACQUIRE);) {
            HalWait(&Ended, Seen, HAL_FOREVER);
        }
    }
    return Pages / 256.0 / (Now() - Start);
}
/* Single pages at random, one after the other; microseconds each. */
static double DeviceRandom(MI_SLOT First, ULONG Pages, unsigned Count)
{
    MI_PAGE_IO Io;
    uint64_t Seed = 88172645463325252ull;
    double Start = Now();
    for (unsigned i = 0; i < Count; i++) {
        Io.Slot = First + Random(&Seed) % Pages;
        Io.Count = 1;
        Io.Wanted = 0;
        Io.Pages[0] = (ULONG)DeviceFrames;
        if (!NT_SUCCESS(MiReadSlotsAndWait(&Io))) {
            abort();
        }
    }
    return (Now() - Start) / Count * 1e6;
}
static void Device(void)
{
    uint64_t Bytes = 4ull * RamMib * MIB;
    StartSystem(64 * MIB, Bytes + 64 * MIB, false);
    TakeDeviceFrames();
    /* The whole file is taken: its slots are the bench's. */
    MI_SLOT Slot, First = MiMakeSlot(0, CLUSTER);
    while (MiReserveSlots(CLUSTER, &Slot) != 0) {
    }
    ULONG Pages = (ULONG)(Bytes / 4096 / CLUSTER * CLUSTER);
    Sample(Row("device", "write in order", "MiB/s", NULL), DeviceInOrder(First, Pages, true, WRITES_MOST));
    Sample(Row("device", "read in order", "MiB/s", NULL), DeviceInOrder(First, Pages, false, READS_MOST));
    Sample(Row("device", "read in order, 1 under way", "MiB/s", NULL), DeviceInOrder(First, Pages, false, 1));
    Sample(Row("device", "read one page", "us", NULL), DeviceRandom(First, Pages, Smoke ? 200 : 2000));
    GiveDeviceFrames();
    StopSystem();
}

/* ---- the workload: paged pool of four times RAM ---- */
static char **Blocks;
static unsigned BlockCount;
static bool FromPool; /* else straight from the memory manager: given back, pages are gone */
static void MakeBlocks(uint64_t Bytes)
{
    BlockCount = (unsigned)(Bytes / BLOCK);
    Blocks = calloc(BlockCount, sizeof *Blocks);
    for (unsigned i = 0; i < BlockCount; i++) {
        Blocks[i] = FromPool ? ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, BLOCK, 'hcnB')
                             : MmAllocatePages(MmRegionPagedPool, BLOCK / 4096, 0, NormalPoolPriority);
        if (Blocks[i] == NULL) {
            Fail("paged pool is used up");
        }
    }
}
static void FreeBlocks(void)
{
    for (unsigned i = 0; i < BlockCount; i++) {
        FromPool ? ExFreePool(Blocks[i]) : MmFreePages(Blocks[i], BLOCK / 4096);
    }
    free(Blocks);
}
/* Pages are whole of data, as real ones are. Grain words differ, the rest repeats: how well a page compresses. */
static void FillPage(uint64_t *Page, uint64_t Number, unsigned Grain)
{
    uint64_t Seed = Number * 0x9E3779B97F4A7C15ull + 1;
    for (unsigned i = 0; i < 512; i++) {
        Page[i] = i < Grain ? Random(&Seed) : Number;
    }
    Page[0] = Number;
}
static void CheckPage(const uint64_t *Page, uint64_t Number)
{
    if (Page[0] != Number) {
        fprintf(stderr, "bench_paging: page %llu came back as %llu\n", (unsigned long long)Number, (unsigned long long)Page[0]);
        abort();
    }
}
static double WriteInOrder(char **Memory, unsigned Count, unsigned Grain)
{
    static uint64_t Template[512];
    FillPage(Template, 1, Grain);
    double Start = Now();
    for (unsigned i = 0; i < Count; i++) {
        for (unsigned Page = 0; Page < BLOCK / 4096; Page++) {
            uint64_t *At = (uint64_t *)(void *)(Memory[i] + Page * 4096);
            uint64_t Number = (uint64_t)i * (BLOCK / 4096) + Page;
            memcpy(At, Template, 4096);
            At[1] = Number * 0x9E3779B97F4A7C15ull;
            At[0] = Number;
        }
    }
    return Count * (BLOCK / 1048576.0) / (Now() - Start);
}
static double ReadInOrder(char **Memory, unsigned Count)
{
    double Start = Now();
    for (unsigned i = 0; i < Count; i++) {
        for (unsigned Page = 0; Page < BLOCK / 4096; Page++) {
            CheckPage((const uint64_t *)(const void *)(Memory[i] + Page * 4096), (uint64_t)i * (BLOCK / 4096) + Page);
        }
    }
    return Count * (BLOCK / 1048576.0) / (Now() - Start);
}
static double RewriteInOrder(char **Memory, unsigned Count)
{
    double Start = Now();
    for (unsigned i = 0; i < Count; i++) {
        for (unsigned Page = 0; Page < BLOCK / 4096; Page++) {
            uint64_t *At = (uint64_t *)(void *)(Memory[i] + Page * 4096);
            CheckPage(At, (uint64_t)i * (BLOCK / 4096) + Page);
            At[2] += 1;
        }
    }
    return Count * (BLOCK / 1048576.0) / (Now() - Start);
}
typedef struct {
    char **Memory;
    unsigned Count, Touches;
    uint64_t Seed;
} RANDOM;
static void *ReadAtRandom(void *Argument)
{
    RANDOM *R = Argument;
    for (unsigned i = 0; i < R->Touches; i++) {
        uint64_t Number = Random(&R->Seed) % ((uint64_t)R->Count * (BLOCK / 4096));
        CheckPage((const uint64_t *)(const void *)(R->Memory[Number / (BLOCK / 4096)] + Number % (BLOCK / 4096) * 4096),
                  Number);
    }
    return NULL;
}
/* Microseconds of a touch, over all threads. */
static double AtRandom(char **Memory, unsigned Count, unsigned Threads, unsigned Touches)
{
    pthread_t Id[2];
    RANDOM R[2];
    double Start = Now();
    for (unsigned i = 0; i < Threads; i++) {
        R[i] = (RANDOM){Memory, Count, Touches / Threads, 0x2545F4914F6CDD1Dull * (i + 1) ^ (uint64_t)(Start * 1e6)};
        pthread_create(&Id[i], NULL, ReadAtRandom, &R[i]);
    }
    for (unsigned i = 0; i < Threads; i++) {
        pthread_join(Id[i], NULL);
    }
    return (Now() - Start) / Touches * 1e6;
}
/* What a phase made the memory manager and the machine do. */
static void Explain(const char *Phase)
{
    static MI_PAGER Old;
    static HAL_TB_STATISTICS OldTb;
    static ULONG64 OldFaults, OldHard, OldSoft;
    static double OldWall, OldThread, OldProcess;
    MI_PAGER *Now_ = &MiState->Pager;
    HAL_TB_STATISTICS Tb;
    if (!Verbose) {
        return;
    }
    HalQueryTb(&Tb);
    double Wall = Now(), Thread = Clock(CLOCK_THREAD_CPUTIME_ID), Process = Clock(CLOCK_PROCESS_CPUTIME_ID);
    if (*Phase) {
        fprintf(stderr, "%-12s wall %.3f s, processor %.3f s of the thread and %.3f s of the process\n", Phase, Wall - OldWall,
                Thread - OldThread, Process - OldProcess);
        fprintf(stderr,
                "%-12s faults %llu hard %llu soft %llu waits %llu | reads %llu pages %llu | writes %llu pages %llu | "
                "repurposed %llu trimmed "
                "%llu | TB fills %llu pages %llu, flushes %llu pages %llu, evictions %llu, faults %llu\n",
                Phase, (unsigned long long)(MiState->AllFaults - OldFaults),
                (unsigned long long)(MiState->HardFaults - OldHard), (unsigned long long)(MiState->SoftFaults - OldSoft),
                (unsigned long long)(Now_->PageWaits - Old.PageWaits), (unsigned long long)(Now_->PageReads - Old.PageReads),
                (unsigned long long)(Now_->PagesRead - Old.PagesRead), (unsigned long long)(Now_->PageWrites - Old.PageWrites),
                (unsigned long long)(Now_->PagesWritten - Old.PagesWritten),
                (unsigned long long)(Now_->RepurposedPages - Old.RepurposedPages),
                (unsigned long long)(Now_->TrimmedPages - Old.TrimmedPages), (unsigned long long)(Tb.Fills - OldTb.Fills),
                (unsigned long long)(Tb.FilledPages - OldTb.FilledPages), (unsigned long long)(Tb.Flushes - OldTb.Flushes),
                (unsigned long long)(Tb.FlushedPages - OldTb.FlushedPages),
                (unsigned long long)(Tb.Evictions - OldTb.Evictions), (unsigned long long)(Tb.Faults - OldTb.Faults));
    }
    MM_STORE_INFO Store;
    MmQueryPageStore(&Store);
    if (*Phase && Store.Limit) {
        fprintf(stderr, "%-12s store: %llu pages in %llu KiB; in %llu out %llu refused %llu evicted %llu\n", Phase,
                (unsigned long long)Store.StoredPages, (unsigned long long)(Store.Resident >> 10), (unsigned long long)Store.In,
                (unsigned long long)Store.Out, (unsigned long long)Store.Refused, (unsigned long long)Store.Evicted);
    }
    Old = *Now_;
    OldTb = Tb;
    OldWall = Wall, OldThread = Thread, OldProcess = Process;
    OldFaults = __atomic_load_n(&MiState->AllFaults, __ATOMIC_RELAXED);
    OldHard = __atomic_load_n(&MiState->HardFaults, __ATOMIC_RELAXED);
    OldSoft = __atomic_load_n(&MiState->SoftFaults, __ATOMIC_RELAXED);
}
/* ---- a phase between two of the device's ----
 * The device's speed wanders, so right before each phase and right after it come transfers of the device's own, in the same file and of the
 * same kind: the ratio is the time that as many take as there were in the phase, the mean of before and after, over the time of the phase. */
static MI_SLOT OwnSlots;
static ULONG OwnCount;
static MM_COUNTERS PhaseBegan;
static double PhaseStart;
static void TakeOwnSlots(ULONG Pages)
{
    /* A file system's work at the first write to a block is not what is measured: all of the file is written once before. */
    static MI_SLOT First[8192];
    MI_SLOT Slot;
    ULONG Count = 0;
    while (Count < 8192 && MiReserveSlots(CLUSTER, &First[Count]) == CLUSTER) {
        DeviceInOrder(First[Count++], CLUSTER, true, WRITES_MOST);
    }
    while (Count-- > 0) {
        MiReleaseSlots(First[Count], CLUSTER);
    }
    for (OwnCount = 0; OwnCount < Pages;) { /* those that were not enough in a row are left taken */
        ULONG Got = MiReserveSlots(CLUSTER, &Slot);
        if (Got == 0) {
            Fail("slots");
        }
        OwnSlots = OwnCount != 0 && Slot == OwnSlots + OwnCount ? OwnSlots : Slot;
        OwnCount = Slot == OwnSlots ? Got : OwnCount + Got;
        OwnCount = Got == CLUSTER ? OwnCount : 0;
    }
}
/* Seconds of the device alone for so many pages. */
static double DeviceSeconds(ULONG64 Pages, bool Write)
{
    double Seconds = 0;
    for (ULONG64 Part; Pages >= CLUSTER; Pages -= Part) {
        Part = Pages < OwnCount ? Pages / CLUSTER * CLUSTER : OwnCount;
        Seconds += (double)Part / 256 / DeviceInOrder(OwnSlots, (ULONG)Part, Write, Write ? WRITES_MOST : READS_MOST);
    }
    return Seconds;
}
static double PageBefore[2][2]; /* seconds of the device for a page just before the phase: [Wide][Write] */
static void BeginPhase(bool Reads, bool Writes)
{
    MiWaitForWrites();
    for (int Kind = 0; Kind < 4; Kind++) {
        Wide = Kind / 2;
        if (Kind % 2 ? Writes : Reads) {
            PageBefore[Wide][Kind % 2] = DeviceSeconds(OwnCount, Kind % 2) / OwnCount;
        }
    }
    Wide = false;
    MmQueryCounters(&PhaseBegan);
    PhaseStart = Now();
}
static double DeviceAround(ULONG64 In, ULONG64 Out)
{
    double Before = (double)In * PageBefore[Wide][false] + (double)Out * PageBefore[Wide][true];
    return (Before + DeviceSeconds(In, false) + DeviceSeconds(Out, true)) / 2;
}
static void EndPhase(ROW *Of, double Value)
{
    double Took = Now() - PhaseStart;
    MM_COUNTERS PhaseDone;
    MmQueryCounters(&PhaseDone);
    ULONG64 In = PhaseDone.PagesRead - PhaseBegan.PagesRead, Out = PhaseDone.PagesWritten - PhaseBegan.PagesWritten;
    Sample(Of, Value);
    MiWaitForWrites();
    Ratio(Of, DeviceAround(In, Out) / Took);
    Wide = true;
    if (Of->WideCount < MAX_ROUNDS) {
        Of->WideRatios[Of->WideCount++] = DeviceAround(In, Out) / Took;
    }
    Wide = false;
}

/* What writing in order costs whoever does it: a program of this one pattern, with as much memory and the same interface, that zeroes
 * frames, maps them, fills them, unmaps them and writes them, 16 clusters before it needs their memory. No faults, no lists,
 * no choice. Returns MiB/s for Pages pages. */
#define HAND_AHEAD 16u
static double FillAndWrite(ULONG Pages)
{
    static MI_PAGE_IO Io[HAND_AHEAD];
    static volatile LONG Busy[HAND_AHEAD];
    static uint64_t Template[512];
    char *Base = (char *)0x510000000000;
    ULONG Groups = FrameCount / CLUSTER, Clusters = Pages / CLUSTER, Written = 0;
    FillPage(Template, 1, 512);
    double Start = Now();
    for (ULONG Cluster = 0; Cluster < Clusters; Cluster++) {
        PFN_NUMBER Frame = DeviceFrames + Cluster % Groups * CLUSTER;
        for (; Cluster >= Groups - HAND_AHEAD && Written <= Cluster - (Groups - HAND_AHEAD); Written++) {
            MI_PAGE_IO *This = &Io[Written % HAND_AHEAD]; /* its last write was of the memory that is to be filled now */
            volatile LONG *Flag = &Busy[Written % HAND_AHEAD];
            for (LONG Seen; Seen = __atomic_load_n(&Ended, __ATOMIC_SEQ_CST), __atomic_load_n(Flag, __ATOMIC_ACQUIRE);) {
                HalWait(&Ended, Seen, HAL_FOREVER);
            }
            munmap(Base + (size_t)(Written % Groups) * CLUSTER * 4096, CLUSTER * 4096);
            This->Slot = OwnSlots + Written * CLUSTER % OwnCount;
            This->Count = CLUSTER;
            This->Wanted = 0;
            This->Done = OnDone;
            This->Context = (PVOID)Flag;
            for (ULONG i = 0; i < CLUSTER; i++) {
                This->Pages[i] = (ULONG)(DeviceFrames + Written % Groups * CLUSTER + i);
            }
            __atomic_store_n(Flag, 1, __ATOMIC_RELAXED);
            MiWriteSlots(This);
        }
        char *To = Base + (size_t)(Cluster % Groups) * CLUSTER * 4096;
        HalZeroPages(Frame, CLUSTER);
        if (syscall(SYS_mmap, To, CLUSTER * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
                    HalpMachine.RamFile, (off_t)(Frame << 12)) == -1) {
            Fail("mapping");
        }
        for (unsigned i = 0; i < CLUSTER; i++) {
            uint64_t *At = (uint64_t *)(void *)(To + i * 4096);
            memcpy(At, Template, 4096);
            At[1] = Cluster * 0x9E3779B97F4A7C15ull;
            At[0] = Cluster * CLUSTER + i;
        }
    }
    double Took = Now() - Start;
    for (unsigned i = 0; i < HAND_AHEAD; i++) {
        for (LONG Seen; Seen = __atomic_load_n(&Ended, __ATOMIC_SEQ_CST), __atomic_load_n(&Busy[i], __ATOMIC_ACQUIRE);) {
            HalWait(&Ended, Seen, HAL_FOREVER);
        }
    }
    munmap(Base, (size_t)FrameCount * 4096);
    return Pages / 256.0 / Took;
}

static void Workload(const char *Section, bool Compression, unsigned Grain)
{
    uint64_t Ram = RamMib * MIB;
    bool Store = !strcmp(Section, "store"), OnlyWrite = !strcmp(Section, "write");
    FromPool = true;
#define NAME(Plain, Packed) (!Store ? Plain : Compression ? Packed " (compressed)" : Packed)
    StartSystem(Ram + (Store ? 0 : WIDE_FRAMES * 4096ull), 6 * Ram, Compression); /* those of the device are not of it */
    if (!Store) {
        TakeFrames(WIDE_FRAMES);
        TakeOwnSlots((ULONG)(Ram / 4096));
        MakeBlocks(Ram * 3 / 4); /* the host's own first touch of a frame is not ours */
        WriteInOrder(Blocks, BlockCount, Grain);
        FreeBlocks();
    }
    MakeBlocks(Store ? Ram * 3 / 2 : 4 * Ram);
    double (*const InOrder[])(char **, unsigned) = {ReadInOrder, RewriteInOrder};
    for (unsigned i = 0; i < (OnlyWrite ? 1u : Store ? 2u : 3u); i++) {
        ROW *Of = Row(Section,
                      i == 0   ? NAME("write in order", "write in order")
                      : i == 1 ? NAME("read in order", "read in order")
                               : "rewrite in order",
                      "MiB/s", NULL);
        BeginPhase(!Store && i > 0, !Store);
        Explain("");
        double Speed = i == 0 ? WriteInOrder(Blocks, BlockCount, Grain) : InOrder[i - 1](Blocks, BlockCount);
        Explain(Of->Name);
        if (Store) {
            Sample(Of, Speed);
        } else {
            EndPhase(Of, Speed);
            if (i == 0) {
                ROW *Hand = Row(Section, "write in order, by hand", "MiB/s", NULL);
                double By = FillAndWrite((ULONG)(4 * Ram / 4096));
                Sample(Hand, By);
                Hand->RatioTo = "hand's, by paging";
                Ratio(Hand, Speed / By);
            }
        }
    }
    if (OnlyWrite) {
        goto Done;
    }
    unsigned Touches = Smoke ? 500 : 8000;
    ntmm_page_file Before, After;
    Explain("");
    ntmm_query_page_file(0, &Before);
    Sample(Row(Section, NAME("read at random, 1 thread", "read at random"), "us", "read one page"),
           AtRandom(Blocks, BlockCount, 1, Touches));
    ntmm_query_page_file(0, &After);
    if (Store) {
        Sample(Row(Section, Compression ? "pages from the file (compressed)" : "pages from the file", "", NULL),
               (double)(After.bytes_read - Before.bytes_read) / 4096);
    }
    Explain("random 1");
    if (!Store) {
        Sample(Row(Section, "read at random, 2 threads", "us", "read one page"), AtRandom(Blocks, BlockCount, 2, Touches));
        Explain("random 2");
    }
Done:
    FreeBlocks();
    if (!Store) {
        MiReleaseSlots(OwnSlots, OwnCount);
        GiveDeviceFrames();
    }
    StopSystem();
}

/* ---- the host's own swapping ---- */
static int SwapChild(uint64_t Bytes)
{
    unsigned Count = (unsigned)(Bytes / BLOCK);
    char **Memory = calloc(Count, sizeof *Memory);
    char *Base = mmap(NULL, Bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (Memory == NULL || Base == MAP_FAILED) {
        return 1;
    }
    madvise(Base, Bytes, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < Count; i++) {
        Memory[i] = Base + (uint64_t)i * BLOCK;
    }
    unsigned Touches = Smoke ? 500 : 8000;
    double Write = WriteInOrder(Memory, Count, 512), Read = ReadInOrder(Memory, Count), Rewrite = RewriteInOrder(Memory, Count);
    double One = AtRandom(Memory, Count, 1, Touches), Two = AtRandom(Memory, Count, 2, Touches);
    printf("%.3f %.3f %.3f %.3f %.3f\n", Write, Read, Rewrite, One, Two);
    return 0;
}
static bool WriteText(const char *Path, const char *Text)
{
    int F = open(Path, O_WRONLY | O_CLOEXEC);
    bool Good = F >= 0 && write(F, Text, strlen(Text)) == (ssize_t)strlen(Text);
    if (F >= 0) {
        close(F);
    }
    return Good;
}
static int Command(const char *Program, const char *Argument)
{
    int Status;
    pid_t Child = fork();
    if (Child == 0) {
        int Null = open("/dev/null", O_WRONLY);
        dup2(Null, 1);
        dup2(Null, 2);
        execlp(Program, Program, Argument, (char *)NULL);
        _exit(127);
    }
    waitpid(Child, &Status, 0);
    return WIFEXITED(Status) ? WEXITSTATUS(Status) : -1;
}
static const char *SwapMissing; /* why there is no figure */
static void Swap(const char *Self)
{
    char Text[512], Group[128], Limit[192], Tasks[192];
    double Got[5];
    uint64_t Bytes = 5ull * RamMib * MIB;
    bool Second = access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK) != 0;
    snprintf(Group, sizeof Group, "/sys/fs/cgroup/%sntmm-bench-%d", Second ? "" : "memory/", (int)getpid());
    snprintf(Limit, sizeof Limit, "%s/%s", Group, Second ? "memory.max" : "memory.limit_in_bytes");
    snprintf(Tasks, sizeof Tasks, "%s/cgroup.procs", Group);
    unlink(File);
    int F = open(File, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (F < 0 || posix_fallocate(F, 0, (off_t)Bytes) != 0 || Command("mkswap", File) != 0 || swapon(File, 0) != 0) {
        SwapMissing = "no swap file can be added";
        goto NoSwap;
    }
    snprintf(Text, sizeof Text, "%llu", (unsigned long long)(RamMib * MIB));
    if (mkdir(Group, 0755) != 0 || !WriteText(Limit, Text)) {
        SwapMissing = "no memory cgroup can be made";
        goto NoGroup;
    }
    int Pipe[2];
    if (pipe(Pipe) != 0) {
        goto NoGroup;
    }
    pid_t Child = fork();
    if (Child == 0) {
        snprintf(Text, sizeof Text, "%d", (int)getpid());
        dup2(Pipe[1], 1);
        if (!WriteText(Tasks, Text)) {
            _exit(3);
        }
        snprintf(Text, sizeof Text, "%llu", 4ull * RamMib * MIB);
        execl(Self, Self, "--swap-child", Text, Smoke ? "--smoke" : (char *)NULL, (char *)NULL);
        _exit(4);
    }
    close(Pipe[1]);
    FILE *In = fdopen(Pipe[0], "r");
    if (In == NULL || fscanf(In, "%lf %lf %lf %lf %lf", &Got[0], &Got[1], &Got[2], &Got[3], &Got[4]) != 5) {
        SwapMissing = "the process in the cgroup failed";
    } else {
        Sample(Row("swap", "write in order", "MiB/s", "write in order"), Got[0]);
        Sample(Row("swap", "read in order", "MiB/s", "read in order"), Got[1]);
        Sample(Row("swap", "rewrite in order", "MiB/s", NULL), Got[2]);
        Sample(Row("swap", "read at random, 1 thread", "us", "read one page"), Got[3]);
        Sample(Row("swap", "read at random, 2 threads", "us", "read one page"), Got[4]);
    }
    if (In != NULL) {
        fclose(In);
    }
    waitpid(Child, NULL, 0);
NoGroup:
    rmdir(Group);
    swapoff(File);
NoSwap:
    if (F >= 0) {
        close(F);
    }
    unlink(File);
}

/* Memory that was written leaves it, and comes back: nothing else goes on. */
static void OutAndIn(void)
{
    uint64_t Ram = 4ull * RamMib * MIB;
    StartSystem(Ram + WIDE_FRAMES * 4096ull, Ram + 64 * MIB, false);
    TakeFrames(WIDE_FRAMES);
    TakeOwnSlots((ULONG)(Ram / 4 / 4096));
    MakeBlocks(Ram / 2);
    for (int Warm = 0; Warm < 2; Warm++) {
        WriteInOrder(Blocks, BlockCount, 512);
        BeginPhase(false, true);
        Explain("");
        MmTrimAllSystemPageableMemory(TRUE);
        double Out = BlockCount * (BLOCK / 1048576.0) / (Now() - PhaseStart);
        Explain("out");
        if (Warm) {
            EndPhase(Row("out and in", "page-out", "MiB/s", NULL), Out);
        }
        BeginPhase(true, false);
        Explain("");
        double In = ReadInOrder(Blocks, BlockCount);
        Explain("in");
        if (Warm) {
            EndPhase(Row("out and in", "page-in", "MiB/s", NULL), In);
        }
    }
    FreeBlocks();
    MiReleaseSlots(OwnSlots, OwnCount);
    GiveDeviceFrames();
    StopSystem();
}

/* ---- single faults ---- */

static void Touch(unsigned First, unsigned Count, double *Us)
{
    double Start = Now();
    for (unsigned Page = First; Page < First + Count; Page++) {
        ((volatile char *)Blocks[Page / (BLOCK / 4096)])[Page % (BLOCK / 4096) * 4096] = 1;
    }
    *Us = (Now() - Start) / Count * 1e6;
}
/* Demand-zero faults twice (the host's own first touch of a frame is not ours), soft ones, hard ones. */
static void Faults(const char *Section, uint64_t Ram, const char *DemandRow, const char *SoftRow, const char *HardRow)
{
    unsigned Pages = Smoke ? 2048 : 8192;
    double Us, Start;
    FromPool = false;
    StartSystem(Ram, 2 * 64 * MIB, false);
    for (int Warm = 0; Warm < 2; Warm++) {
        MakeBlocks((uint64_t)Pages * 4096);
        Touch(0, Pages, &Us);
        if (Warm) {
            Sample(Row(Section, DemandRow, "us", NULL), Us);
            MmTrimAllSystemPageableMemory(FALSE);
            Touch(0, Pages, &Us);
            Sample(Row(Section, SoftRow, "us", NULL), Us);
            MmTrimAllSystemPageableMemory(TRUE);
            Start = Now();
            for (unsigned i = 0; i < Pages / 8; i++) { /* far from each other, so that none brings the next along */
                unsigned Page = i * 4099 % Pages;
                ((volatile char *)Blocks[Page / (BLOCK / 4096)])[Page % (BLOCK / 4096) * 4096] = 1;
            }
            Sample(Row(Section, HardRow, "us", NULL), (Now() - Start) / (Pages / 8) * 1e6);
        }
        FreeBlocks();
    }
    StopSystem();
}

/* ---- one fault, against what the host makes any process pay ----
 * The floor is a signal whose handler maps one page of a memory file, in this process, while the system runs; batches of it are
 * interleaved with batches of faults. Pages are touched out of order, so that a fault brings one. */
#define FAULT_BATCH 64u
struct kernel_action { /* the kernel's own form: the machine keeps sigaction() from changing the processor's signals */
    void (*Handler)(int, siginfo_t *, void *);
    unsigned long Flags;
    void (*Restorer)(void);
    unsigned long Mask;
};
static struct kernel_action Machine;
static int FloorFile;
static char *const FloorBase = (char *)0x500000000000;
static void OnFloor(int Signal, siginfo_t *Info, void *Context)
{
    char *Va = (char *)((uintptr_t)Info->si_addr & ~(uintptr_t)4095);
    if (Va < FloorBase || Va >= FloorBase + FAULT_BATCH * 4096) {
        Machine.Handler(Signal, Info, Context); /* another thread's */
        return;
    }
    uint64_t Page = (uint64_t)(Va - FloorBase) / 4096;
    syscall(SYS_mmap, Va, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, FloorFile,
            (off_t)(Page * 37 % FAULT_BATCH * 4096));
}
static double TouchScattered(char *Base)
{
    double Start = Now();
    for (unsigned i = 0; i < FAULT_BATCH; i++) {
        ((volatile char *)Base)[i * 29 % FAULT_BATCH * 4096] = 1;
    }
    return (Now() - Start) / FAULT_BATCH * 1e6;
}
static double Floor(void)
{
    struct kernel_action Mine = Machine;
    Mine.Handler = OnFloor;
    syscall(SYS_rt_sigaction, SIGSEGV, &Mine, NULL, 8);
    double Us = TouchScattered(FloorBase);
    syscall(SYS_rt_sigaction, SIGSEGV, &Machine, NULL, 8);
    munmap(FloorBase, FAULT_BATCH * 4096);
    return Us;
}
typedef struct {
    char *Base;
    unsigned First, Step, Pages, Touches;
    bool Device;
} HARD;
static void *Hard(void *Argument)
{
    HARD *H = Argument;
    MI_PAGE_IO Io = {.Count = 1};
    for (unsigned i = H->First; i < H->Touches; i += H->Step) {
        unsigned Page = (unsigned)(i * 4099ull % H->Pages); /* far from each other, so that none brings the next along */
        if (!H->Device) {
            ((volatile char *)H->Base)[Page * 4096ull] = 1;
            continue;
        }
        Io.Slot = OwnSlots + Page % OwnCount;
        Io.Pages[0] = (ULONG)(DeviceFrames + H->First);
        if (!NT_SUCCESS(MiReadSlotsAndWait(&Io))) {
            abort();
        }
    }
    return NULL;
}
static double HardFaults(char *Base, unsigned Pages, unsigned Threads, bool Device)
{
    pthread_t Id[2];
    HARD H[2];
    unsigned Touches = Smoke ? 200 : 2000;
    double Start = Now();
    for (unsigned i = 0; i < Threads; i++) {
        H[i] = (HARD){Base, i, Threads, Pages, Touches, Device};
        pthread_create(&Id[i], NULL, Hard, &H[i]);
    }
    for (unsigned i = 0; i < Threads; i++) {
        pthread_join(Id[i], NULL);
    }
    return (Now() - Start) / Touches * 1e6;
}
static void Fault(void)
{
    enum { FLOOR, DEMAND, SOFT, KINDS };
    static const char *const Names[KINDS] = {"floor: signal and map", "demand-zero", "soft"};
    static double Us[KINDS][400];
    unsigned Batches = Smoke ? 20 : 400, Pages = 8192;
    StartSystem(256 * MIB, 256 * MIB, false);
    TakeDeviceFrames();
    TakeOwnSlots(Pages);
    syscall(SYS_rt_sigaction, SIGSEGV, NULL, &Machine, 8);
    FloorFile = memfd_create("floor", MFD_CLOEXEC);
    char *Warm = ftruncate(FloorFile, FAULT_BATCH * 4096)
                     ? MAP_FAILED
                     : mmap(NULL, FAULT_BATCH * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, FloorFile, 0);
    if (FloorFile < 0 || Warm == MAP_FAILED) {
        Fail("floor");
    }
    memset(Warm, 1, FAULT_BATCH * 4096);
    munmap(Warm, FAULT_BATCH * 4096);
    for (unsigned i = 0; i < Batches + 4; i++) { /* the first are not counted: the host's own first touches */
        unsigned At = i < 4 ? 0 : i - 4;
        char *Base = MmAllocatePages(MmRegionPagedPool, FAULT_BATCH, 0, NormalPoolPriority);
        if (Base == NULL) {
            Fail("paged pool");
        }
        Us[FLOOR][At] = Floor();
        Us[DEMAND][At] = TouchScattered(Base);
        MmTrimAllSystemPageableMemory(FALSE);
        Us[SOFT][At] = TouchScattered(Base);
        MmFreePages(Base, FAULT_BATCH);
        MiZeroFreePages(FAULT_BATCH); /* as the zero thread does between bursts */
    }
    double Of[KINDS];
    for (unsigned Kind = 0; Kind < KINDS; Kind++) {
        Of[Kind] = Median(Us[Kind], Batches);
        ROW *R = Row("fault", Names[Kind], "us", NULL);
        Sample(R, Of[Kind]);
        if (Kind != FLOOR) {
            R->RatioTo = "floor";
            Ratio(R, Of[Kind] / Of[FLOOR]);
        }
    }
    char *Base = MmAllocatePages(MmRegionPagedPool, Pages, 0, NormalPoolPriority);
    if (Base == NULL) {
        Fail("paged pool");
    }
    for (unsigned Threads = 1; Threads <= 2; Threads++) {
        for (unsigned Page = 0; Page < Pages; Page++) {
            Base[Page * 4096ull] = 1;
        }
        MmTrimAllSystemPageableMemory(TRUE);
        double Before = HardFaults(NULL, Pages, Threads, true), Took = HardFaults(Base, Pages, Threads, false);
        double After = HardFaults(NULL, Pages, Threads, true);
        ROW *R = Row("fault", Threads == 1 ? "hard, 1 thread" : "hard, 2 threads", "us", NULL);
        Sample(R, Took);
        Ratio(R, Took / ((Before + After) / 2));
    }
    MmFreePages(Base, Pages);
    close(FloorFile);
    MiReleaseSlots(OwnSlots, OwnCount);
    GiveDeviceFrames();
    StopSystem();
}

static void Print(void)
{
    const char *Section = "";
    for (unsigned i = 0; i < RowCount; i++) {
        Rows[i].Value = Median(Rows[i].Samples, Rows[i].Count);
    }
    for (unsigned i = 0; i < RowCount; i++) {
        ROW *R = &Rows[i];
        if (strcmp(Section, R->Section)) {
            printf("%s%s\n", *Section ? "\n" : "", R->Section);
            Section = R->Section;
        }
        printf("  %-36s %10.2f %-6s", R->Name, R->Value, R->Unit);
        double Ratio = 0;
        for (unsigned j = 0; R->Against && strcmp(R->Section, "device") && j < RowCount; j++) {
            if (!strcmp(Rows[j].Section, "device") && !strcmp(Rows[j].Name, R->Against)) {
                Ratio = R->Value / Rows[j].Value;
                printf(" %6.2f of the device", Ratio);
            }
        }
        if (R->RatioCount) {
            Ratio = Median(R->Ratios, R->RatioCount);
            printf(" %6.2f of the %s, round by round [%.2f .. %.2f]", Ratio, R->RatioTo ? R->RatioTo : "device", R->Ratios[0],
                   R->Ratios[R->RatioCount - 1]);
        }
        double WideRatio = R->WideCount ? Median(R->WideRatios, R->WideCount) : 0;
        if (R->WideCount) {
            printf("; %.2f of it with as much memory [%.2f .. %.2f]", WideRatio, R->WideRatios[0],
                   R->WideRatios[R->WideCount - 1]);
        }
        printf("   [%.4g .. %.4g]\n", R->Samples[0], R->Samples[R->Count - 1]);
        if (Json) {
            fprintf(Json,
                    "%s\n  {\"section\": \"%s\", \"name\": \"%s\", \"unit\": \"%s\", \"median\": %.4f, \"of_%s\": %.4f, "
                    "\"of_wide_device\": %.4f}",
                    JsonRows++ ? "," : "", R->Section, R->Name, R->Unit, R->Value,
                    !R->RatioTo                    ? "device"
                    : !strcmp(R->RatioTo, "floor") ? R->RatioTo
                                                   : "hand",
                    Ratio, WideRatio);
        }
    }
    if (SwapMissing) {
        printf("\nswap: left out: %s\n", SwapMissing);
    }
}

int main(int argc, char **argv)
{
    const char *JsonPath = NULL, *Child = NULL;
    snprintf(OwnFile, sizeof OwnFile, "/var/tmp/ntmm-bench-%d.sys", (int)getpid());
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke")) {
            Smoke = true;
            Rounds = 1;
            RamMib = 16;
        } else if (!strcmp(argv[i], "--verbose")) {
            Verbose = true;
        } else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
            Rounds = (unsigned)atoi(argv[++i]);
        } else if (!strcmp(argv[i], "--ram") && i + 1 < argc) {
            RamMib = (unsigned)atoi(argv[++i]);
        } else if (!strcmp(argv[i], "--file") && i + 1 < argc) {
            File = argv[++i];
        } else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
            Only = argv[++i];
        } else if (!strcmp(argv[i], "--json") && i + 1 < argc) {
            JsonPath = argv[++i];
        } else if (!strcmp(argv[i], "--io") && i + 1 < argc) {
            Engine = !strcmp(argv[++i], "threads") ? HAL_IO_ENGINE_THREADS : HAL_IO_ENGINE_QUEUE;
        } else if (!strcmp(argv[i], "--swap-child") && i + 1 < argc) {
            Child = argv[++i];
        } else {
            fprintf(
                stderr,
                "usage: bench_paging [--smoke] [--rounds N] [--file PATH] [--ram MIB] [--only SECTIONS] [--io queue|threads] "
                "[--json FILE]\n");
            return 2;
        }
    }
    if (Child) {
        return SwapChild(strtoull(Child, NULL, 10));
    }
    if (Rounds < 1 || Rounds > MAX_ROUNDS || RamMib < 16) {
        fprintf(stderr, "bench_paging: --rounds 1 to %d, --ram 16 or more\n", MAX_ROUNDS);
        return 2;
    }
    static const struct {
        unsigned Mib;
        const char *Demand, *Soft, *Hard;
    } Sizes[] = {{64, "demand-zero, 64 MiB of RAM", "soft, 64 MiB of RAM", "hard, 64 MiB of RAM"},
                 {512, "demand-zero, 512 MiB of RAM", "soft, 512 MiB of RAM", "hard, 512 MiB of RAM"},
                 {8192, "demand-zero, 8 GiB of RAM", "soft, 8 GiB of RAM", "hard, 8 GiB of RAM"}};
    for (unsigned Round = 0; Round < Rounds; Round++) {
        if (Wanted("device")) {
            Device();
        }
        if (Wanted("fault")) {
            Fault();
        }
        if (Wanted("out")) {
            OutAndIn();
        }
        if (Wanted("workload")) {
            Workload("workload", false, 512);
        }
        if (Only && Wanted("write")) {
            Workload("write", false, 512);
        }
        if (Wanted("swap") && !Smoke && SwapMissing == NULL) {
            Swap("/proc/self/exe");
        }
        if (Wanted("store")) {
            Workload("store", false, 128);
            Workload("store", true, 128);
        }
        if (Wanted("flat")) {
            for (unsigned i = 0; i < sizeof Sizes / sizeof Sizes[0] - (Smoke ? 1 : 0); i++) {
                Faults("flat", Sizes[i].Mib * MIB, Sizes[i].Demand, Sizes[i].Soft, Sizes[i].Hard);
            }
        }
    }
    Json = JsonPath ? fopen(JsonPath, "w") : NULL;
    if (Json) {
        fprintf(Json, "{\"bench\": \"paging\", \"file\": \"%s\", \"ram_mib\": %u, \"rounds\": %u, \"rows\": [", File, RamMib,
                Rounds);
    }
    Print();
    if (Json) {
        fprintf(Json, "\n]}\n");
        fclose(Json);
    }
    return 0;
}
