/*
 * ground.c - what the pools stand on in a process without a machine: the start, threads, sleeping, stops.
 * SPDX-License-Identifier: MIT
 *
 * The start. The first call of malloc in the process, wherever it comes from (the dynamic linker's, often), reserves
 * address space and starts the pools; about 30 system calls' worth of time. Only system calls are made: nothing that could
 * call malloc. NTMM_MALLOC_OPTIONS="ram=8G,seed=1,verifier=none" changes the options; an unknown key or a bad value ends the program
 * with a line that names it.
 *
 *     down --first malloc--> starting (StartLock) --> up
 *
 * Threads. A thread's KTHREAD lies in its thread-local storage; of it the pools use the cache pointer and the IRQL. A
 * destructor of thread-specific data gives the cache up. Destructors of other keys may run later and use malloc again:
 * then the thread attaches again, and its destructor runs again. What the C library itself frees after the last round of
 * destructors (LateThreads) attaches to a record of a fixed table, which is given up by the next thread that needs one
 * when the host says that the thread is no more.
 *
 * Stops. The pools stop a program as they stop a system: a block of text on stderr, first line "*** STOP: ...", then
 * abort(). It is written by write(2) alone.
 *
 * What the linked members of the core name and malloc never reaches (quota, secure pools, raising) ends the program.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <linux/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include "hal/linux/sys.h"
#include "preload/preload.h"

HAL_FACTS HalFacts;
KE_OPTIONS KeOptions;
PRELOAD_OPTIONS PreloadOptions;
VOID (*KiThreadRundownRoutine)(KTHREAD *Thread);

#define FAST_TLS __attribute__((tls_model("initial-exec")))
_Thread_local PVOID HalpCurrentThread FAST_TLS;
_Thread_local KTHREAD PreloadThread FAST_TLS;
static _Thread_local UCHAR ThreadEnds FAST_TLS; /* rounds of destructors so far */

/* ---- text without malloc ---- */
VOID PreloadFail(const CHAR *Format, ...)
{
    CHAR Text[512];
    va_list List;
    va_start(List, Format);
    int Length = vsnprintf(Text, sizeof Text, Format, List);
    va_end(List);
    (VOID) !write(2, Text, Length < 0 ? 0 : Length < (int)sizeof Text ? (SIZE_T)Length : sizeof Text - 1);
    abort();
}

/* ---- options ---- */
static BOOLEAN ReadNumber(const CHAR **Text, ULONG64 *Number)
{
    const CHAR *At = *Text;
    if (*At < '0' || *At > '9')
        return FALSE;
    for (*Number = 0; *At >= '0' && *At <= '9'; At++)
        if (__builtin_mul_overflow(*Number, 10, Number) || __builtin_add_overflow(*Number, (ULONG64)(*At - '0'), Number))
            return FALSE;
    static const CHAR Suffixes[] = "KMGT";
    for (ULONG Index = 0; Suffixes[Index]; Index++)
        if ((*At & ~32) == Suffixes[Index]) {
            if (*Number >> (63 - 10 * (Index + 1)))
                return FALSE;
            *Number <<= 10 * (Index + 1);
            At++;
            break;
        }
    *Text = At;
    return *At == 0 || *At == ',';
}

/* What follows Start in Text, or NULL. */
static const CHAR *After(const CHAR *Text, const CHAR *Start)
{
    while (*Start != 0)
        if (*Text++ != *Start++)
            return NULL;
    return Text;
}

/* The program's, or NULL. */
static const CHAR *FindOptions(VOID)
{
    const CHAR *Found = NULL;
    for (CHAR **At = environ; At != NULL && *At != NULL && Found == NULL; At++)
        Found = After(*At, "NTMM_MALLOC_OPTIONS=");
    return Found;
}

static VOID ReadOptions(VOID)
{
    static const struct {
        const CHAR *Key;
        ULONG64 *Value, Low, High;
    } Keys[] = {{"ram=", &PreloadOptions.Ram, 64ull << 20, 1ull << 42}, {"seed=", &PreloadOptions.Seed, 0, ~0ull}};
    const CHAR *Text = FindOptions();
    while (Text != NULL && *Text != 0) {
        const CHAR *Value = After(Text, "verifier=none");
        if (Value != NULL && (*Value == 0 || *Value == ',')) {
            PreloadOptions.BareBlocks = TRUE;
            Text = Value + (*Value == ',');
            continue;
        }
        Value = NULL;
        for (ULONG Index = 0; Index < ARRAYSIZE(Keys) && Value == NULL; Index++) {
            Value = After(Text, Keys[Index].Key);
            if (Value == NULL)
                continue;
            if (!ReadNumber(&Value, Keys[Index].Value) || *Keys[Index].Value < Keys[Index].Low ||
                *Keys[Index].Value > Keys[Index].High)
                PreloadFail("ntmm_malloc: NTMM_MALLOC_OPTIONS: '%s' has no good value; ram=64M..4T,seed=N\n", Keys[Index].Key);
        }
        if (Value == NULL)
            PreloadFail("ntmm_malloc: NTMM_MALLOC_OPTIONS: '%.40s' is no option; ram=64M..4T,seed=N,verifier=none\n", Text);
        Text = *Value == ',' ? Value + 1 : Value;
    }
}

/* ---- start ---- */
static KI_LOCK StartLock;
static volatile ULONG Started;
static pthread_key_t ThreadKey;
static VOID ThreadEnded(PVOID Record);

static ULONG CountProcessors(VOID)
{
    ULONG64 Mask[128] = {0};
    LONG64 Bytes = HalpSyscall3(SYS_sched_getaffinity, 0, sizeof Mask, (ULONG64)Mask);
    ULONG Count = 0;
    for (LONG64 Index = 0; Index < Bytes / 8; Index++)
        Count += (ULONG)__builtin_popcountll(Mask[Index]);
    return Count ? Count : 1;
}

static ULONG64 Entropy(VOID)
{
    ULONG64 Random = 0;
    return HalpSyscall3(SYS_getrandom, (ULONG64)&Random, sizeof Random, GRND_NONBLOCK) == sizeof Random ? Random
                                                                                                        : HalQueryTime();
}

static VOID StartPools(VOID)
{
    struct sysinfo Host = {0};
    PreloadOptions.Ram =
        HalpSyscall3(SYS_sysinfo, (ULONG64)&Host, 0, 0) == 0 ? (ULONG64)Host.totalram * Host.mem_unit : 1ull << 32;
    PreloadOptions.Seed = Entropy();
    ReadOptions();
    HalFacts.HostProcessors = CountProcessors();
    KeOptions.RamBytes = PreloadOptions.Ram;
    KeOptions.Processors = HalFacts.HostProcessors < 64 ? HalFacts.HostProcessors : 64;
    KeOptions.Seed = PreloadOptions.Seed;
    KeOptions.KeepRuns = TRUE;
    KeOptions.BareBlocks = PreloadOptions.BareBlocks;
    if (!PreloadStartPages())
        PreloadFail("ntmm_malloc: the host gives no address space\n");
    if (!NT_SUCCESS(ExInitSystem()))
        PreloadFail("ntmm_malloc: the pools cannot be started\n");
    if (pthread_key_create(&ThreadKey, ThreadEnded) != 0)
        PreloadFail("ntmm_malloc: there is no key for thread-specific data\n");
    __atomic_store_n(&Started, 1, __ATOMIC_RELEASE);
}

/* ---- threads ---- */
#define LATE_THREADS 64
static KI_LOCK LateLock;
static struct {
    KTHREAD Thread;
    pid_t Id; /* 0: free */
} LateThreads[LATE_THREADS];
static volatile LONG NextThreadId = 8;
static KPRCB ThePrcb;

static VOID PrepareRecord(KTHREAD *Thread)
{
    memset(Thread, 0, sizeof *Thread);
    Thread->Id = __atomic_fetch_add(&NextThreadId, 4, __ATOMIC_RELAXED);
    Thread->Prcb = &ThePrcb;
}

static VOID GiveUpCache(KTHREAD *Thread)
{
    if (Thread->ExCache != NULL && KiThreadRundownRoutine != NULL)
        KiThreadRundownRoutine(Thread);
    Thread->ExCache = Thread->ExBare = NULL;
}

/* After the last destructors: a record that somebody else will clear away. */
static KTHREAD *AttachLate(VOID)
{
    KTHREAD *Found = NULL;
    ULONG64 Process = (ULONG64)HalpSyscall3(SYS_getpid, 0, 0, 0);
    KiAcquireLock(&LateLock);
    for (ULONG Index = 0; Index < LATE_THREADS && Found == NULL; Index++) {
        if (LateThreads[Index].Id != 0 && HalpSyscall3(SYS_tgkill, Process, (ULONG64)LateThreads[Index].Id, 0) == 0)
            continue;
        Found = &LateThreads[Index].Thread;
        if (LateThreads[Index].Id != 0)
            GiveUpCache(Found);
        LateThreads[Index].Id = (pid_t)HalpSyscall3(SYS_gettid, 0, 0, 0);
    }
    KiReleaseLock(&LateLock);
    if (Found == NULL)
        Found = &PreloadThread; /* 64 threads at the very end at once: this cache is lost */
    PrepareRecord(Found);
    return Found;
}

static VOID ThreadEnded(PVOID Record)
{
    KTHREAD *Thread = Record;
    ThreadEnds++;
    GiveUpCache(Thread);
    HalpCurrentThread = NULL;
}

KTHREAD *KiAttachCurrentThread(VOID)
{
    int Saved = errno;
    if (__atomic_load_n(&Started, __ATOMIC_ACQUIRE) == 0) {
        KiAcquireLock(&StartLock);
        if (!Started)
            StartPools();
        KiReleaseLock(&StartLock);
    }
    if (ThreadEnds >= PTHREAD_DESTRUCTOR_ITERATIONS) {
        HalpCurrentThread = AttachLate();
    } else {
        PrepareRecord(&PreloadThread);
        HalpCurrentThread = &PreloadThread; /* first: the next call may use malloc */
        pthread_setspecific(ThreadKey, &PreloadThread);
    }
    errno = Saved;
    return HalpCurrentThread;
}

VOID PreloadForkThreads(VOID)
{
    memset(LateThreads, 0, sizeof LateThreads);
}

/* ---- hal.h: what the pools and their locks use ---- */
BOOLEAN HalWait(volatile LONG *Word, LONG Expected, ULONG64 Deadline)
{
    struct timespec Until = {.tv_sec = (time_t)(Deadline / 1000000000u), .tv_nsec = (long)(Deadline % 1000000000u)};
    return HalpFutexWait(Word, Expected, Deadline == HAL_FOREVER ? NULL : &Until) != -ETIMEDOUT;
}

VOID HalWake(volatile LONG *Word, ULONG Count)
{
    HalpFutexWake(Word, Count);
}

VOID HalYield(VOID)
{
    HalpSyscall3(SYS_sched_yield, 0, 0, 0);
}

/* Whatever is freed here and is no block is called one of the program's own addresses. */
BOOLEAN HalProbeHostMemory(const VOID *Va, SIZE_T Length, BOOLEAN Write)
{
    UNREFERENCED_PARAMETER(Va);
    UNREFERENCED_PARAMETER(Length);
    UNREFERENCED_PARAMETER(Write);
    return TRUE;
}

ULONG64 HalQueryTime(VOID)
{
    struct timespec Time;
    clock_gettime(CLOCK_MONOTONIC, &Time);
    return (ULONG64)Time.tv_sec * 1000000000u + (ULONG64)Time.tv_nsec;
}

ULONG64 HalQueryEntropy(VOID)
{
    return Entropy() ^ HalQueryTime();
}

VOID HalQueryStack(ULONG_PTR *Low, ULONG_PTR *High)
{
    *Low = *High = 0;
}

ULONG HalCaptureStack(const HAL_CONTEXT *From, ULONG_PTR *Frames, ULONG Max, ULONG Flags)
{
    UNREFERENCED_PARAMETER(From);
    UNREFERENCED_PARAMETER(Frames);
    UNREFERENCED_PARAMETER(Max);
    UNREFERENCED_PARAMETER(Flags);
    return 0;
}

/* ---- ke ---- */
DECLSPEC_NORETURN VOID KiBugCheck(KI_BUGCHECK *Stop)
{
    PreloadFail("*** STOP: 0x%08X (0x%016llX,0x%016llX,0x%016llX,0x%016llX)\n%s\n%s\n", Stop->Code, Stop->Parameters[0],
                Stop->Parameters[1], Stop->Parameters[2], Stop->Parameters[3],
                Stop->Code == 0xC2   ? "BAD_POOL_CALLER"
                : Stop->Code == 0x19 ? "BAD_POOL_HEADER"
                : Stop->Code == 0xC6 ? "DRIVER_CAUGHT_MODIFYING_FREED_POOL"
                                     : "A CHECK OF THE POOLS",
                Stop->Words);
}

DECLSPEC_NORETURN VOID KiStop(ULONG Code, const CHAR *Words, const VOID *Block, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3,
                              ULONG_PTR P4)
{
    KI_BUGCHECK Stop = {.Code = Code, .Parameters = {P1, P2, P3, P4}, .Words = Words, .Block = Block};
    KiBugCheck(&Stop);
}

DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);
VOID ExRaiseStatus(NTSTATUS Status)
{
    PreloadFail("ntmm_malloc: status 0x%08X was raised\n", (ULONG)Status);
}

PKTIMER KiFindTimer(const VOID *Address, SIZE_T Length)
{
    UNREFERENCED_PARAMETER(Address);
    UNREFERENCED_PARAMETER(Length);
    return NULL;
}

PKDPC KiFindDpc(const VOID *Address, SIZE_T Length)
{
    UNREFERENCED_PARAMETER(Address);
    UNREFERENCED_PARAMETER(Length);
    return NULL;
}

/* ---- trimming: no timer runs here; whoever frees pages looks at the clock ---- */
SIZE_T (*MmReclaimRoutine)(VOID);
static volatile ULONG64 LastTrim;

VOID ExpArmTrim(VOID)
{
    struct timespec Time;
    ULONG64 Now, Last = __atomic_load_n(&LastTrim, __ATOMIC_RELAXED);
    clock_gettime(CLOCK_MONOTONIC_COARSE, &Time);
    Now = (ULONG64)Time.tv_sec * 1000000000u + (ULONG64)Time.tv_nsec;
    if (Now - Last > 1000000000u &&
        __atomic_compare_exchange_n(&LastTrim, &Last, Now, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ExpTrimPools(FALSE);
}
VOID ExpTrimSoon(VOID)
{
    struct timespec Time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &Time);
    __atomic_store_n(&LastTrim, (ULONG64)Time.tv_sec * 1000000000u + (ULONG64)Time.tv_nsec, __ATOMIC_RELAXED);
    ExpTrimPools(FALSE);
}
VOID ExpInitTrim(VOID)
{
    LastTrim = HalQueryTime();
}
VOID ExpStopTrim(VOID)
{
}

/* ---- parts of the executive that a heap has not ---- */
VOID ExpInitLookaside(VOID)
{
}
VOID ExpInitStringMemory(VOID)
{
}
VOID ExpResetSecurePools(VOID)
{
}
BOOLEAN ExpIsSecureBlock(const VOID *Address)
{
    UNREFERENCED_PARAMETER(Address);
    return FALSE;
}
