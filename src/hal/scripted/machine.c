/*
 * machine.c - the scripted double: RAM, records and failures, console. SPDX-License-Identifier: MIT
 *
 * RAM is one anonymous mapping of the physical span, holes inaccessible: the window. Each call of hal.h is
 * counted with its first arguments, and fails if the script says so (HalScriptFail) and the contract gives it
 * a way to fail.
 *
 * Lock: HalpRecordLock, innermost. Tests: tests/hal over the double, tests/hal/scripted_script.c for the
 * script itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "hal/scripted/scriptp.h"

#define GIB           (1ull << 30)
#define CONSOLE_BYTES 65536u

HAL_FACTS HalFacts;
HALP_SCRIPT HalpScript;

static pthread_mutex_t HalpRecordLock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    ULONG64 Calls, FailAt, Arguments[3];
} HalpRecords[HalScriptKinds];
static CHAR HalpConsole[CONSOLE_BYTES];
static SIZE_T HalpConsoleLength;
static ULONG64 HalpEntropy;
static VOID (*HalpHaltHook)(VOID);

/* ---- the script ---- */
BOOLEAN HalpRecord(HAL_SCRIPT_KIND Kind, ULONG64 A, ULONG64 B, ULONG64 C)
{
    pthread_mutex_lock(&HalpRecordLock);
    HalpRecords[Kind].Arguments[0] = A;
    HalpRecords[Kind].Arguments[1] = B;
    HalpRecords[Kind].Arguments[2] = C;
    BOOLEAN Fail = ++HalpRecords[Kind].Calls == HalpRecords[Kind].FailAt;
    pthread_mutex_unlock(&HalpRecordLock);
    return Fail;
}
ULONG64 HalScriptCalls(HAL_SCRIPT_KIND Kind)
{
    pthread_mutex_lock(&HalpRecordLock);
    ULONG64 Calls = HalpRecords[Kind].Calls;
    pthread_mutex_unlock(&HalpRecordLock);
    return Calls;
}
BOOLEAN HalScriptLastCall(HAL_SCRIPT_KIND Kind, ULONG64 Arguments[3])
{
    pthread_mutex_lock(&HalpRecordLock);
    memcpy(Arguments, HalpRecords[Kind].Arguments, sizeof(HalpRecords[Kind].Arguments));
    BOOLEAN Any = HalpRecords[Kind].Calls != 0;
    pthread_mutex_unlock(&HalpRecordLock);
    return Any;
}
VOID HalScriptFail(HAL_SCRIPT_KIND Kind, ULONG64 Nth)
{
    pthread_mutex_lock(&HalpRecordLock);
    HalpRecords[Kind].FailAt = Nth ? HalpRecords[Kind].Calls + Nth : 0;
    pthread_mutex_unlock(&HalpRecordLock);
}
VOID HalScriptReset(VOID)
{
    pthread_mutex_lock(&HalpRecordLock);
    memset(HalpRecords, 0, sizeof(HalpRecords));
    memset(HalpConsole, 0, sizeof(HalpConsole));
    HalpConsoleLength = 0;
    HalpEntropy = 0;
    HalpHaltHook = NULL;
    pthread_mutex_unlock(&HalpRecordLock);
    HalpResetTime();
}

/* ---- the machine ---- */
static NTSTATUS HalpCheck(const HAL_MACHINE *Machine, ULONG64 *SpanPages)
{
    ULONG64 End = 0, Ram = 0;
    if (HalpScript.Started || Machine->Version != HAL_VERSION || Machine->Runs == NULL || Machine->RunCount == 0 ||
        Machine->RunCount > HALP_MAX_RUNS || Machine->SystemBytes == 0 || Machine->SystemBytes % GIB != 0 ||
        Machine->UserBytes % GIB != 0 || Machine->SystemBytes > 1ull << 46 || Machine->UserBytes > 1ull << 46 ||
        Machine->Upcalls.PageFault == NULL || Machine->Upcalls.Trap == NULL) {
        return STATUS_INVALID_PARAMETER;
    }
    for (ULONG i = 0; i < Machine->RunCount; i++) {
        const HAL_RUN *Run = &Machine->Runs[i];
        if (Run->PageCount == 0 || Run->BasePage < End || Run->BasePage >= 1ull << 40 ||
            Run->PageCount > (1ull << 40) - Run->BasePage) {
            return STATUS_INVALID_PARAMETER;
        }
        End = Run->BasePage + Run->PageCount;
        Ram += Run->Device ? 0 : Run->PageCount;
    }
    *SpanPages = End;
    return Ram == 0 ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}

NTSTATUS HalStartMachine(const HAL_MACHINE *Machine)
{
    ULONG64 SpanPages = 0;
    BOOLEAN Fail = HalpRecord(HalScriptStartMachine, (ULONG64)Machine, 0, 0);
    NTSTATUS Status = HalpCheck(Machine, &SpanPages);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    if (Fail || SpanPages > 1ull << 34) {
        return STATUS_NO_MEMORY;
    }
    PVOID Window = mmap(NULL, SpanPages << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (Window == MAP_FAILED) {
        return STATUS_NO_MEMORY;
    }
    HalpScript.WindowBytes = SpanPages << 12;
    HalpScript.Physical.WindowBase = (ULONG_PTR)Window;
    HalpScript.Physical.RunCount = Machine->RunCount;
    for (ULONG i = 0; i < Machine->RunCount; i++) {
        HalpScript.Physical.Runs[i] = Machine->Runs[i];
        mprotect((PCHAR)Window + (Machine->Runs[i].BasePage << 12), Machine->Runs[i].PageCount << 12, PROT_READ | PROT_WRITE);
    }
    HalpScript.Upcalls = Machine->Upcalls;
    HalFacts.WindowBase = (ULONG_PTR)Window;
    HalFacts.UserBase = 0x10000000000;
    HalFacts.UserEnd = HalFacts.UserBase + Machine->UserBytes;
    HalFacts.SystemBase = 0xFFFF800000000000;
    HalFacts.SystemEnd = HalFacts.SystemBase + Machine->SystemBytes;
    HalFacts.HostProcessors = 1;
    HalFacts.StackBytes = 0x10000;
    Status = HalpStartMmu(Machine->TlbEntries);
    if (!NT_SUCCESS(Status)) {
        munmap(Window, HalpScript.WindowBytes);
        memset(&HalFacts, 0, sizeof(HalFacts));
        return Status;
    }
    HalpStartThreads();
    HalpScript.Started = TRUE;
    return STATUS_SUCCESS;
}

VOID HalStopMachine(VOID)
{
    HalpRecord(HalScriptStopMachine, 0, 0, 0);
    if (!HalpScript.Started) {
        return;
    }
    HalSetCurrentThread(NULL);
    HalSetClock(HAL_FOREVER);
    HalpStopMmu();
    munmap((PVOID)HalFacts.WindowBase, HalpScript.WindowBytes);
    memset(&HalpScript, 0, sizeof(HalpScript));
    memset(&HalFacts, 0, sizeof(HalFacts));
}

VOID HalZeroPages(PFN_NUMBER Page, SIZE_T Count)
{
    HalpRecord(HalScriptZeroPages, Page, Count, 0);
    memset(HalWindow(Page), 0, Count * HAL_PAGE_SIZE);
}
VOID HalDiscardPages(PFN_NUMBER Page, SIZE_T Count)
{
    HalpRecord(HalScriptDiscardPages, Page, Count, 0);
    madvise(HalWindow(Page), Count * HAL_PAGE_SIZE, MADV_DONTNEED);
}

BOOLEAN HalProbeHostMemory(const VOID *Va, SIZE_T Length, BOOLEAN Write)
{
    ULONG_PTR At = (ULONG_PTR)Va, End = At + Length;
    if (HalpRecord(HalScriptProbeHostMemory, At, Length, Write) || End < At) {
        return FALSE;
    }
    for (; At < End; At = (At | 0xFFF) + 1) {
        /* the host's kernel checks the address: an invalid request, or an atomic addition of 0 */
        static volatile LONG Nobody;
        long Result = Write ? syscall(SYS_futex, &Nobody, 5 | 128, 0, NULL, At & ~3ull, 1 << 28)
                            : syscall(SYS_rt_sigprocmask, ~0ul, (At & ~0xFFFull) + 8, NULL, 8);
        if (HalpIsOurs(At) || (Result == -1 && errno == EFAULT)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- console, halt, entropy ---- */
VOID HalPrint(const CHAR *Text, SIZE_T Length)
{
    HalpRecord(HalScriptPrint, (ULONG64)Text, Length, 0);
    pthread_mutex_lock(&HalpRecordLock);
    SIZE_T Room = CONSOLE_BYTES - 1 - HalpConsoleLength;
    SIZE_T Part = Length < Room ? Length : Room;
    memcpy(HalpConsole + HalpConsoleLength, Text, Part);
    HalpConsoleLength += Part;
    pthread_mutex_unlock(&HalpRecordLock);
    while (Length != 0) {
        ssize_t Written = write(STDERR_FILENO, Text, Length);
        if (Written <= 0) {
            return;
        }
        Text += Written;
        Length -= (SIZE_T)Written;
    }
}
const CHAR *HalScriptPrinted(VOID)
{
    return HalpConsole;
}
VOID HalScriptOnHalt(VOID (*Hook)(VOID))
{
    HalpHaltHook = Hook;
}
VOID HalHalt(VOID)
{
    HalpRecord(HalScriptHalt, 0, 0, 0);
    if (HalpHaltHook) {
        HalpHaltHook();
    }
    abort();
}
ULONG64 HalQueryEntropy(VOID)
{
    HalpRecord(HalScriptQueryEntropy, 0, 0, 0);
    ULONG64 Z = __atomic_add_fetch(&HalpEntropy, 0x9E3779B97F4A7C15ull, __ATOMIC_RELAXED);
    Z = (Z ^ (Z >> 30)) * 0xBF58476D1CE4E5B9ull;
    Z = (Z ^ (Z >> 27)) * 0x94D049BB133111EBull;
    return Z ^ (Z >> 31);
}

/* ---- stacks: frame pointers only ---- */
BOOLEAN HalUnwindFrame(HAL_CONTEXT *Context)
{
    ULONG_PTR Low, High;
    if (HalpRecord(HalScriptUnwindFrame, Context->Rip, Context->Rsp, 0)) {
        return FALSE;
    }
    HalQueryStack(&Low, &High);
    const ULONG_PTR *Frame = (const ULONG_PTR *)Context->Rbp;
    if (Context->Rbp < Context->Rsp || Context->Rbp < Low || Context->Rbp > High - 16 || (Context->Rbp & 7) ||
        Frame[1] < 0x1000) {
        return FALSE;
    }
    Context->Rip = Frame[1];
    Context->Rsp = Context->Rbp + 16;
    Context->Rbp = Frame[0];
    return TRUE;
}
__attribute__((noinline)) ULONG HalCaptureStack(const HAL_CONTEXT *From, ULONG_PTR *Frames, ULONG Max, ULONG Flags)
{
    ULONG Count = 0;
    HAL_CONTEXT Context;
    if (HalpRecord(HalScriptCaptureStack, (ULONG64)From, Max, Flags)) {
        return 0;
    }
    if (From) {
        Context = *From;
        if (Max != 0) {
            Frames[Count++] = Context.Rip;
        }
    } else {
        const ULONG_PTR *Here = (const ULONG_PTR *)__builtin_frame_address(0);
        Context = (HAL_CONTEXT){.Rip = Here[1], .Rsp = (ULONG_PTR)(Here + 2), .Rbp = Here[0]};
    }
    while (Count < Max && (HalUnwindFrame(&Context) || (!(Flags & HAL_STACK_FAST) && HalpScript.Upcalls.UnwindForeign &&
                                                        HalpScript.Upcalls.UnwindForeign(&Context)))) {
        Frames[Count++] = Context.Rip;
    }
    return Count;
}
