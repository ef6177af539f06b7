/*
 * start.c - starts and stops the system: the machine's memory map, the layers in order. SPDX-License-Identifier: MIT
 *
 * One job: turn an ntmm_options into a running system, or into one sentence that says why not with nothing left behind.
 *
 * The machine of ram= bytes has four runs, as a PC has them (frames are 4 KiB):
 *
 *   0x1           low run, up to 640 KiB
 *   0x100         main run: three quarters of what is left, its end on a 2 MiB boundary
 *                 hole of 1 MiB
 *   main + 0x100  device run: 1 MiB of device memory
 *                 hole of 1 MiB
 *   main + 0x300  high run: the rest
 *
 * Order of start; stop is the reverse, and a failure at one step undoes the steps before it:
 *   machine, KeInitSystem, MmInitSystem, page files, ExInitSystem, KeInitThreads, ObInitSystem, PsInitSystem, IoInitSystem
 *
 * States of the system: down -> starting -> up -> stopping -> down, under StartLock; only the thread that holds it moves
 * the state. A first kernel call while another thread starts the system waits on the lock, and then finds it up.
 *
 * Watch it: tests/unit/start_test.c; `ntmm map` prints the runs.
 */
#include "host.h"
#include "drive.h"
#include "paging.h"
#include "ex/ex.h"
#include "io/iop.h"
#include "vf/vf.h"
#include "ldr/ldr.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

BOOLEAN LdrpUnwindForeign(HAL_CONTEXT *Context) __attribute__((weak)); /* unwind.c */

#define FRAMES(bytes) ((bytes) >> 12)
#define GIB           (1ull << 30)

static pthread_mutex_t StartLock = PTHREAD_MUTEX_INITIALIZER;
static volatile int Running; /* the system is up; written under StartLock */
static ntmm_options Options; /* of the running system */
static HAL_RUN Runs[4];
static _Thread_local char ErrorText[1024];

int HostFail(const char *Format, ...)
{
    char Text[sizeof ErrorText];
    va_list List;
    va_start(List, Format);
    vsnprintf(Text, sizeof Text, Format, List);
    va_end(List);
    memcpy(ErrorText, Text, sizeof Text);
    return -1;
}

const char *ntmm_error(void)
{
    return ErrorText;
}

const char *ntmm_version(void)
{
    return "0.1.0";
}

const HAL_RUN *HostRuns(ULONG *Count)
{
    *Count = Running ? ARRAYSIZE(Runs) : 0;
    return Running ? Runs : NULL;
}

static VOID LayOutMemory(uint64_t Ram)
{
    PFN_NUMBER Total = FRAMES(Ram), Low = 0x9f, Main, Base = 0x100;
    Main = (Base + (Total - Low) / 4 * 3) / 512 * 512 - Base;
    Runs[0] = (HAL_RUN){1, Low, FALSE};
    Runs[1] = (HAL_RUN){Base, Main, FALSE};
    Runs[2] = (HAL_RUN){Base + Main + 0x100, 0x100, TRUE};
    Runs[3] = (HAL_RUN){Base + Main + 0x300, Total - Low - Main, FALSE};
}

/* ---- upcalls of the machine that only pass on ---- */
static VOID AttachUpcall(VOID)
{
    KiAttachCurrentThread();
}
static BOOLEAN UnwindUpcall(HAL_CONTEXT *Context)
{
    return LdrpUnwindForeign ? LdrpUnwindForeign(Context) : FALSE;
}

static NTSTATUS StartMachine(VOID)
{
    static const uint64_t Least = 64 * GIB;
    uint64_t Space = Least + 4 * Options.ram + Options.nonpagedpool + Options.pagedpool + Options.systemptes +
                     Options.specialpool + Options.images + Options.kernelstacks;
    HAL_MACHINE Machine = {
        .Version = HAL_VERSION,
        .Runs = Runs,
        .RunCount = ARRAYSIZE(Runs),
        .SystemBytes = (Space + GIB - 1) / GIB * GIB,
        .UserBytes = (HalpUnderValgrind() ? 64 : 2048) * GIB, /* memcheck keeps books of reserved space, slowly */
        .TlbEntries = Options.tlb,
        .Upcalls = {KiPageFaultUpcall, KiTrapUpcall, KiClockUpcall, AttachUpcall, KiDetachThreadUpcall, UnwindUpcall, MmIoDone},
        .IoEngine = Options.io,
    };
    NTSTATUS Status = HalStartMachine(&Machine);
    while (Status == STATUS_CONFLICTING_ADDRESSES && Machine.UserBytes > 8 * GIB) {
        Machine.UserBytes /= 2; /* a sanitizer's program has little room: processes get smaller slices */
        Status = HalStartMachine(&Machine);
    }
    return Status;
}

static NTSTATUS StartMemory(VOID)
{
    return MmInitSystem(Runs, ARRAYSIZE(Runs));
}

static NTSTATUS StartPageFiles(VOID)
{
    return HostCreatePageFiles(&Options);
}

static NTSTATUS StartDrive(VOID)
{
    return Options.drive[0] ? NtmmpMountDrive(Options.drive) : STATUS_SUCCESS;
}

static NTSTATUS StartVerifier(VOID)
{
    VfOptions = (VF_OPTIONS){
        .Drivers = Options.verifier_drivers,
        .SpecialTag = Options.special_pool_tag,
        .SpecialStart = Options.special_pool_start,
        .SampleInterval = Options.special_pool_sample,
        .SampleRate = Options.special_pool_rate,
        .FaultProbability = Options.fault_probability,
        .FaultDelay = Options.fault_delay,
    };
    for (const char *At = Options.fault_tags; *At && VfOptions.FaultTagCount < VF_TAGS; At += *At == '+') {
        char Tag[4] = {' ', ' ', ' ', ' '};
        for (unsigned I = 0; *At && *At != '+'; At++)
            if (I < 4)
                Tag[I++] = *At;
        memcpy(&VfOptions.FaultTags[VfOptions.FaultTagCount++], Tag, 4);
    }
    return VfInitSystem();
}

/* The steps of a start, in order. Down undoes Up. */
static const struct {
    const char *Name;
    NTSTATUS (*Up)(VOID);
    VOID (*Down)(VOID);
} Steps[] = {
    {"the machine", StartMachine, HalStopMachine},         {"processors", KeInitSystem, NULL},
    {"the memory manager", StartMemory, MmShutdownSystem}, {"page files", StartPageFiles, NULL},
    {"the pools", ExInitSystem, ExShutdownSystem},         {"the verifier", StartVerifier, VfShutdownSystem},
    {"system threads", KeInitThreads, KeShutdownSystem},   {"paging", MmStartPaging, MmStopPaging},
    {"objects", ObInitSystem, ObShutdownSystem},           {"processes", PsInitSystem, PsShutdownSystem},
    {"input and output", IoInitSystem, IoShutdownSystem},  {"driver images", LdrInitSystem, LdrShutdownSystem},
    {"drive C:", StartDrive, NtmmpUnmountDrive},
};

static VOID StopSteps(size_t Count)
{
    while (Count > 0) {
        Count--;
        if (Steps[Count].Down)
            Steps[Count].Down();
        /* KeInitSystem's counterpart: the caller stops being a thread of the system. */
        if (Steps[Count].Up == KeInitSystem)
            HalSetCurrentThread(NULL);
    }
}

/* node_ram=: sizes joined by ':', as many as there are nodes. Empty: equal parts, all 0. */
static BOOLEAN TakeNodeSizes(const char *Text, uint64_t *Bytes)
{
    uint32_t Count = 0;
    uint64_t Total = 0;

    if (!*Text)
        return TRUE;
    for (; Count < Options.nodes; Count++) {
        char One[32];
        size_t Length = strcspn(Text, ":");
        if (Length >= sizeof One)
            return FALSE;
        memcpy(One, Text, Length);
        One[Length] = 0;
        if (!HostParseNumber(One, TRUE, &Bytes[Count]) || Bytes[Count] > 1ull << 40)
            return FALSE;
        Bytes[Count] &= ~4095ull;
        Total += Bytes[Count];
        if (!Text[Length])
            return Count + 1 == Options.nodes && Total != 0;
        Text += Length + 1;
    }
    return FALSE;
}

static int StartLocked(const ntmm_options *Wanted)
{
    uint64_t NodeBytes[16] = {0};
    NTSTATUS Status;
    size_t I;

    if (Running)
        return HostFail("the system runs already");
    if (Wanted) {
        if (Wanted->struct_size != sizeof *Wanted)
            return HostFail("these options were not filled by ntmm_default_options of this version");
        Options = *Wanted;
    } else {
        const char *Text = getenv("NTMM_OPTIONS");
        ntmm_default_options(&Options);
        if (Text && ntmm_parse_options(Text, &Options) < 0)
            return -1;
    }
    HostFindMemoryTool();
    if (Options.ram < 4ull << 20)
        return HostFail("ram=%llu: the system needs at least 4M of RAM", (unsigned long long)Options.ram);
    if (Options.cpus < 1 || Options.cpus > KI_MAX_PROCESSORS)
        return HostFail("cpus=%u: 1 to %d processors", Options.cpus, KI_MAX_PROCESSORS);
    if (Options.nodes < 1 || Options.nodes > 16)
        return HostFail("nodes=%u: 1 to 16 nodes", Options.nodes);
    if (!TakeNodeSizes(Options.node_ram, NodeBytes))
        return HostFail("node_ram=%s: a size for each of %u nodes, joined by ':', not all 0", Options.node_ram, Options.nodes);
    if (Options.stacks > 16)
        return HostFail("stacks=%u: at most 16 frames", Options.stacks);
    if (HostCheckPageFiles(&Options) < 0 || HostCheckVerifier(Options.verifier) < 0)
        return -1;
    Options.ram &= ~4095ull;

    KeOptions = (KE_OPTIONS){
        .RamBytes = Options.ram,
        .Processors = Options.cpus,
        .Nodes = Options.nodes,
        .TrackPtes = Options.track_ptes,
        .Iommu = Options.iommu,
        .Seed = Options.seed,
        .VerifierFlags = Options.verifier,
        .SwapStacks = (UCHAR)Options.swap_stacks,
        .KeepRuns = Options.keep,
        .BareBlocks = !Options.pool_checks,
        .StackDepth = Options.stacks,
        .NonPagedPoolLimit = Options.nonpagedpool,
        .PagedPoolLimit = Options.pagedpool,
        .SystemPteLimit = Options.systemptes,
        .SpecialPoolLimit = Options.specialpool,
        .ImageLimit = Options.images,
        .KernelStackLimit = Options.kernelstacks,
    };
    memcpy(KeOptions.NodeBytes, NodeBytes, sizeof NodeBytes);
    LayOutMemory(Options.ram);
    KiReportRoutine = HostReport;
    KiIsDriverCodeRoutine = HostIsDriverCode;
    VfImportsRoutine = LdrImportsFrom;
    MiHostImageRoutine = HostImageOf;
    KiLandingPadRoutine = HostLandingPad;
    KiAbandonStackRoutine = HostAbandonStack;
    HostWatchStacks();
    for (I = 0; I < ARRAYSIZE(Steps); I++) {
        if (Steps[I].Up == KeInitSystem && !KeOptions.Seed)
            KeOptions.Seed = HalQueryEntropy();
        Status = Steps[I].Up();
        if (!NT_SUCCESS(Status)) {
            StopSteps(I);
            if (Steps[I].Up == StartMachine && Status == STATUS_NO_MEMORY)
                return HostFail("ram=%lluM: the host has no such memory", (unsigned long long)(Options.ram >> 20));
            if (Steps[I].Up == StartPageFiles)
                return -1; /* it has said why */
            if (Steps[I].Up == StartDrive)
                return HostFail("drive=%s: there is no such folder", Options.drive);
            if (Status == STATUS_NO_MEMORY || Status == STATUS_INSUFFICIENT_RESOURCES)
                return HostFail("ram=%lluK is less than the system needs (it ended while starting %s)",
                                (unsigned long long)(Options.ram >> 10), Steps[I].Name);
            return HostFail("cannot start %s: status 0x%08X", Steps[I].Name, (unsigned)Status);
        }
    }
    VfEnable();
    __atomic_store_n(&Running, 1, __ATOMIC_RELEASE);
    return 0;
}

int ntmm_start(const ntmm_options *options)
{
    int Result;
    pthread_mutex_lock(&StartLock);
    Result = StartLocked(options);
    pthread_mutex_unlock(&StartLock);
    return Result;
}

int ntmm_stop(void)
{
    pthread_mutex_lock(&StartLock);
    if (!Running) {
        pthread_mutex_unlock(&StartLock);
        return HostFail("the system does not run");
    }
    KiCurrentThread();
    HostReportLeft();
    __atomic_store_n(&Running, 0, __ATOMIC_RELEASE);
    MmStopSampling();
    VfDisable();
    StopSteps(ARRAYSIZE(Steps));
    HostForgetSymbols();
    pthread_mutex_unlock(&StartLock);
    return 0;
}

bool ntmm_running(void)
{
    return __atomic_load_n(&Running, __ATOMIC_ACQUIRE) != 0;
}

const ntmm_options *ntmm_running_options(void)
{
    return ntmm_running() ? &Options : NULL;
}

/* The first kernel call of a process that did not start the system itself. */
static VOID AutoStart(VOID)
{
    if (ntmm_running())
        return;
    pthread_mutex_lock(&StartLock);
    if (!Running && StartLocked(NULL) < 0) {
        fprintf(stderr, "ntmm: %s\n", ErrorText);
        /* Not exit(): the program is in the middle of a kernel call, and its exit handlers may make more of them. */
        fflush(NULL);
        _exit(2);
    }
    pthread_mutex_unlock(&StartLock);
}

__attribute__((constructor)) static void Hook(void)
{
    KiStartRoutine = AutoStart;
}
