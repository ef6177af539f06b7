/*
 * machine.c - RAM, the window onto it, the address ranges; start and stop. SPDX-License-Identifier: MIT
 *
 * RAM is a memory file whose offsets are physical addresses, sparse: the host backs a frame when it is first
 * touched. The window is one shared mapping of the whole physical span; holes between runs are inaccessible.
 * After fork() parent and child share the machine's memory and the child has only the forking thread: a fork
 * is for exec, or before the start.
 *
 *     physical   0        run 0        hole      run 1     device
 *     file       [#########]...........[##########]........[####]
 *     window     WindowBase + physical address
 *
 *     user range    [UserBase, UserEnd)        holes of this process: nothing is reserved there, only
 *     kernel range  [SystemBase, SystemEnd)    tlb.c maps there
 *
 * The ranges lie where the host never places a mapping by itself (far below where it starts looking) and
 * where a sanitizer in the process, ours or the program's, expects a program's memory. Candidates are tried
 * in order and taken if nothing at all is mapped there.
 *
 * Locks: none; start and stop are the caller's to serialise. Tests: tests/hal/machine.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/stat.h>
#include <linux/falloc.h>
#include <unistd.h>
#include "hal/linux/halp.h"

#define GIB (1ull << 30)

HAL_FACTS HalFacts;
HALP_MACHINE HalpMachine;

/* Present if the process carries the sanitizer's runtime, whether or not this file is instrumented. */
extern VOID __tsan_init(VOID) __attribute__((weak));
extern VOID __msan_init(VOID) __attribute__((weak));
extern VOID __msan_unpoison(const volatile VOID *Address, SIZE_T Bytes) __attribute__((weak));

/* Where a range may begin, {lowest address, first address beyond}. Kernel first choice, then the next. */
typedef struct _HALP_PLACE {
    ULONG64 Low, High;
} HALP_PLACE;
static const HALP_PLACE HalpPlaces[] = {{0x100000000000, 0x1F8000000000},
                                        {0x200000000000, 0x280000000000},
                                        {0x300000000000, 0x380000000000},
                                        {0x400000000000, 0x480000000000}};
/* ThreadSanitizer: only the lowest 512 GiB and the top are a program's. */
static const HALP_PLACE HalpTsanPlaces[] = {{0x001000000000, 0x008000000000}, {0x7E8000000000, 0x7EF000000000}};
/* MemorySanitizer: the lowest 1 TiB, and two parts higher up (its own heap is the lowest 4 TiB of the last). */
static const HALP_PLACE HalpMsanPlaces[] = {
    {0x780000000000, 0x7C0000000000}, {0x518000000000, 0x540000000000}, {0x008000000000, 0x010000000000}};

/* Is nothing mapped in [Base, Base + Bytes)? */
static BOOLEAN HalpIsHole(ULONG64 Base, ULONG64 Bytes)
{
    LONG64 Va = HalpMmap(Base, Bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (HalpFailed(Va)) {
        return FALSE;
    }
    HalpMunmap((ULONG64)Va, Bytes);
    return (ULONG64)Va == Base; /* a kernel without NOREPLACE takes the address as a hint */
}

/* What lay there before may have left the memory sanitizer's marks. */
static VOID HalpForgetMarks(ULONG64 Base, ULONG64 Bytes)
{
    if (&__msan_unpoison != NULL) {
        __msan_unpoison((const volatile VOID *)(ULONG_PTR)Base, Bytes);
    }
}

/* The first hole of Bytes at or above Floor. 0: none. */
static ULONG64 HalpFindHole(ULONG64 Floor, ULONG64 Bytes)
{
    const HALP_PLACE *Places = HalpPlaces;
    ULONG Count = ARRAYSIZE(HalpPlaces);
    if (&__tsan_init != NULL) {
        Places = HalpTsanPlaces;
        Count = ARRAYSIZE(HalpTsanPlaces);
    } else if (&__msan_init != NULL) {
        Places = HalpMsanPlaces;
        Count = ARRAYSIZE(HalpMsanPlaces);
    }
    for (ULONG i = 0; i < Count; i++) {
        ULONG64 Base = Places[i].Low > Floor ? Places[i].Low : Floor;
        for (ULONG Try = 0; Try < 16 && Base < Places[i].High && Bytes <= Places[i].High - Base; Try++, Base += 32 * GIB) {
            if (HalpIsHole(Base, Bytes)) {
                return Base;
            }
        }
    }
    return 0;
}

static NTSTATUS HalpPlaceRanges(const HAL_MACHINE *Machine)
{
    ULONG64 Floor = 0;
    if (Machine->UserBytes != 0) {
        HalFacts.UserBase = HalpFindHole(0, Machine->UserBytes);
        if (HalFacts.UserBase == 0) {
            return STATUS_CONFLICTING_ADDRESSES;
        }
        HalFacts.UserEnd = HalFacts.UserBase + Machine->UserBytes;
        Floor = HalFacts.UserEnd + GIB;
    }
    /* a top-level entry of its own if that can be had, so that address spaces can share the kernel's half */
    ULONG64 Base = HalpFindHole((Floor + 512 * GIB - 1) & ~(512 * GIB - 1), Machine->SystemBytes);
    if (Base == 0) {
        Base = HalpFindHole(Floor, Machine->SystemBytes);
    }
    if (Base == 0) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    HalpForgetMarks(HalFacts.UserBase, Machine->UserBytes);
    HalpForgetMarks(Base, Machine->SystemBytes);
    HalFacts.SystemBase = Base;
    HalFacts.SystemEnd = Base + Machine->SystemBytes;
    return STATUS_SUCCESS;
}

static NTSTATUS HalpCheckMachine(const HAL_MACHINE *Machine, ULONG64 *SpanPages, ULONG64 *Pages)
{
    ULONG64 End = 0, Ram = 0;
    *Pages = 0;
    if (Machine->Version != HAL_VERSION || Machine->Runs == NULL || Machine->RunCount == 0 ||
        Machine->RunCount > HALP_MAX_RUNS || Machine->SystemBytes == 0 || Machine->SystemBytes % GIB != 0 ||
        Machine->UserBytes % GIB != 0 || Machine->SystemBytes > 1ull << 46 || Machine->UserBytes > 1ull << 46 ||
        Machine->IoEngine > HAL_IO_ENGINE_THREADS || Machine->Upcalls.PageFault == NULL || Machine->Upcalls.Trap == NULL) {
        return STATUS_INVALID_PARAMETER;
    }
    for (ULONG i = 0; i < Machine->RunCount; i++) {
        const HAL_RUN *Run = &Machine->Runs[i];
        if (Run->PageCount == 0 || Run->BasePage < End || Run->BasePage >= 1ull << 40 ||
            Run->PageCount > (1ull << 40) - Run->BasePage) {
            return STATUS_INVALID_PARAMETER;
        }
        End = Run->BasePage + Run->PageCount;
        *Pages += Run->PageCount;
        Ram += Run->Device ? 0 : Run->PageCount;
    }
    *SpanPages = End;
    return Ram == 0 ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}

/* Begins where one of the host's large pages does, so that those of the file can be mapped as such. */
#define LARGE_BYTES (1ull << 21)
static LONG64 HalpMapWindow(ULONG64 Bytes, int File)
{
    LONG64 Room = HalpMmap(0, Bytes + LARGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (HalpFailed(Room)) {
        return Room;
    }
    ULONG64 Low = (ULONG64)Room, At = (Low + LARGE_BYTES - 1) & ~(LARGE_BYTES - 1), End = Low + Bytes + LARGE_BYTES;
    LONG64 Window = HalpMmap(At, Bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, File, 0);
    if (HalpFailed(Window)) {
        HalpMunmap(Low, Bytes + LARGE_BYTES);
        return Window;
    }
    if (At != Low) {
        HalpMunmap(Low, At - Low);
    }
    if (At + Bytes != End) {
        HalpMunmap(At + Bytes, End - At - Bytes);
    }
    return Window;
}

static NTSTATUS HalpBuildRam(const HAL_MACHINE *Machine, ULONG64 SpanPages, ULONG64 Pages)
{
    struct sysinfo Host;
    struct rlimit Files;
    if (sysinfo(&Host) == 0 && Pages > ((ULONG64)Host.totalram + Host.totalswap) * Host.mem_unit >> 12) {
        return STATUS_NO_MEMORY;
    }
    if (SpanPages > 1ull << 34 ||
        (getrlimit(RLIMIT_FSIZE, &Files) == 0 && Files.rlim_cur != RLIM_INFINITY && Files.rlim_cur >> 12 < SpanPages)) {
        return STATUS_NO_MEMORY; /* more than a window can show, or than a file of ours may have */
    }
    int File = memfd_create("ntmm-ram", MFD_CLOEXEC);
    if (File < 0) {
        File = memfd_create("ntmm-ram", MFD_CLOEXEC | 8u /* MFD_NOEXEC_SEAL: a host that insists on it */);
    }
    HalpMachine.RamFile = File;
    if (File < 0 || ftruncate(File, (off_t)(SpanPages << 12)) != 0) {
        return STATUS_NO_MEMORY;
    }
    LONG64 Window = HalpMapWindow(SpanPages << 12, File);
    if (HalpFailed(Window)) {
        return STATUS_NO_MEMORY;
    }
    HalpForgetMarks((ULONG64)Window, SpanPages << 12);
    HalFacts.WindowBase = (ULONG_PTR)Window;
    HalpMachine.WindowBytes = SpanPages << 12;
    HalpMachine.Physical.WindowBase = (ULONG_PTR)Window;
    HalpMachine.Physical.RunCount = Machine->RunCount;
    for (ULONG i = 0; i < Machine->RunCount; i++) {
        HalpMachine.Physical.Runs[i] = Machine->Runs[i];
        if (HalpFailed(HalpMprotect((ULONG64)Window + (Machine->Runs[i].BasePage << 12), Machine->Runs[i].PageCount << 12,
                                    PROT_READ | PROT_WRITE))) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_SUCCESS;
}

static VOID HalpDropMachine(VOID)
{
    HalpStopTb();
    if (HalpMachine.WindowBytes != 0) {
        HalpMunmap(HalFacts.WindowBase, HalpMachine.WindowBytes);
    }
    if (HalpMachine.RamFile >= 0) {
        close(HalpMachine.RamFile);
    }
    HalFacts = (HAL_FACTS){0};
    HalpMachine = (HALP_MACHINE){.RamFile = -1};
}

NTSTATUS HalStartMachine(const HAL_MACHINE *Machine)
{
    ULONG64 SpanPages, Pages;
    int SavedErrno = errno;
    if (HalpMachine.Started) {
        return STATUS_INVALID_PARAMETER;
    }
    NTSTATUS Status = HalpCheckMachine(Machine, &SpanPages, &Pages);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    HalpMachine.RamFile = -1;
    Status = HalpBuildRam(Machine, SpanPages, Pages);
    if (NT_SUCCESS(Status)) {
        Status = HalpPlaceRanges(Machine);
    }
    if (NT_SUCCESS(Status)) {
        Status = HalpStartTb(Machine->TlbEntries);
    }
    if (NT_SUCCESS(Status)) {
        Status = HalpStartThreads();
    }
    if (NT_SUCCESS(Status)) {
        HalpMachine.Upcalls = Machine->Upcalls;
        HalpMachine.IoEngine = Machine->IoEngine;
        HalFacts.HostProcessors = (ULONG)sysconf(_SC_NPROCESSORS_ONLN);
        HalFacts.StackBytes = HalpStackBytes();
        HalpStartTraps();
        __atomic_store_n(&HalpMachine.Started, 1, __ATOMIC_RELEASE);
        Status = HalpStartClock();
        if (!NT_SUCCESS(Status)) {
            __atomic_store_n(&HalpMachine.Started, 0, __ATOMIC_RELEASE);
            HalpStopTraps();
        }
    }
    if (!NT_SUCCESS(Status)) {
        HalpDropMachine();
    }
    errno = SavedErrno;
    return Status;
}

VOID HalStopMachine(VOID)
{
    int SavedErrno = errno;
    if (!HalpMachine.Started) {
        return;
    }
    HalpStopClock();
    HalpStopIo();
    HalSetCurrentThread(NULL);
    HalpForgetThreads();
    __atomic_store_n(&HalpMachine.Started, 0, __ATOMIC_RELEASE);
    HalpStopTraps();
    HalpDropMachine();
    errno = SavedErrno;
}

VOID HalZeroPages(PFN_NUMBER Page, SIZE_T Count)
{
    PVOID At = HalWindow(Page);
    SIZE_T Words = Count * (HAL_PAGE_SIZE / 8);
    __asm__ volatile("rep stosq" : "+D"(At), "+c"(Words) : "a"(0) : "memory");
    HalpSetBacked(Page, Count, TRUE);
}

VOID HalDiscardPages(PFN_NUMBER Page, SIZE_T Count)
{
    if (HalpFailed(HalpSyscall(SYS_fallocate, (ULONG64)HalpMachine.RamFile, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               Page << 12, Count << 12, 0, 0))) {
        HalZeroPages(Page, Count);
    } else {
        HalpSetBacked(Page, Count, FALSE);
    }
}

/* One page of host memory, tried without being changed: the host's kernel checks the address for us. */
static BOOLEAN HalpProbePage(ULONG_PTR Va, BOOLEAN Write)
{
    if (!Write) {
        /* An invalid request whose argument the kernel copies in before it looks at the request. */
        return HalpSyscall(SYS_rt_sigprocmask, ~0ull, (Va & ~0xFFFull) + 8, 0, 8, 0, 0) != -EFAULT;
    }
    /* An atomic addition of 0 to the word, which wakes nobody. */
    static volatile LONG Nobody;
    return HalpSyscall(SYS_futex, (ULONG64)&Nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, Va & ~3ull,
                       (ULONG64)FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0)) != -EFAULT;
}

BOOLEAN HalProbeHostMemory(const VOID *Address, SIZE_T Length, BOOLEAN Write)
{
    ULONG_PTR Va = (ULONG_PTR)Address, End = Va + Length;
    if (Length == 0) {
        return TRUE;
    }
    if (End < Va || End > 1ull << 47) {
        return FALSE;
    }
    for (; Va < End; Va = (Va | 0xFFF) + 1) {
        if (HalpIsOurs(Va) || !HalpProbePage(Va, Write)) {
            return FALSE;
        }
    }
    return TRUE;
}
