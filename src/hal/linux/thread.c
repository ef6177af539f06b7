/*
 * thread.c - threads, their alternate stacks, waiting and waking. SPDX-License-Identifier: MIT
 *
 * The machine's threads are the process's. A thread becomes the core's by HalSetCurrentThread, which gives it
 * an alternate stack for signals (traps must be takeable when the thread's own stack is used up) and stores
 * the slot; it stops being the core's by the value NULL, or when it ends: the key's destructor then makes the
 * DetachThread upcall. What alternate stack it had before (a sanitizer's) is put back.
 *
 *     unattached --HalSetCurrentThread(value)--> attached --HalSetCurrentThread(NULL), or its end-->
 * unattached
 *
 * HalCreateThread may be given a stack in simulated memory. That must be pinned (HAL_FILL_PINNED): the host
 * keeps its thread record and areas that its kernel writes at the top of it; the thread's own part begins on the page below
 * (offstack.c). Such a thread ends by
 * HalExitThread from any depth, also through frames that no unwinder knows: it jumps back to its first frame.
 *
 * A wait is a futex wait on the address the caller used; waker and waiter use the same one. A word in
 * simulated memory that is not mapped just now is touched and the wait repeated.
 *
 * Threads that are attached when the machine stops lose their slot then, and are attached anew when they call
 * again. Lock: HalpThreadLock, the list of attached threads; innermost. Tests: tests/hal/thread.c,
 * linux_trap.c.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
#include <asm/prctl.h>
#include "hal/linux/halp.h"

#define SIGNAL_STACK_BYTES    0x10000ull
#define EMERGENCY_STACK_BYTES 0x40000ull
#define GUARD_BYTES           0x1000ull
#define ALT_BYTES             (GUARD_BYTES + SIGNAL_STACK_BYTES + GUARD_BYTES + EMERGENCY_STACK_BYTES)

_Thread_local PVOID HalpCurrentThread __attribute__((tls_model("initial-exec")));
_Thread_local volatile BOOLEAN HalpDenyRevocable __attribute__((tls_model("initial-exec")));
_Thread_local HALP_THREAD_STATE HalpThread __attribute__((tls_model("initial-exec")));

struct _HAL_THREAD {
    pthread_t Id;
    VOID (*Start)(PVOID);
    PVOID Argument;
    ULONG_PTR StackLow, StackHigh; /* given by the creator; else 0 */
    jmp_buf Exit;
    struct _HAL_THREAD *Next, *Previous; /* all of them: leak checkers see no reference in the core's memory */
};
static PHAL_THREAD HalpCreatedThreads; /* under HalpThreadLock */

static volatile LONG HalpThreadLock; /* the list of attached threads */
static HALP_THREAD_STATE *HalpThreads;
static pthread_key_t HalpThreadKey;
static BOOLEAN HalpThreadKeyMade;
static BOOLEAN HalpHasWrGsBase;

static VOID HalpListThread(BOOLEAN Insert)
{
    HALP_THREAD_STATE *Me = &HalpThread;
    HalpAcquire(&HalpThreadLock);
    if (Insert) {
        Me->Slot = &HalpCurrentThread;
        Me->Prev = NULL;
        Me->Next = HalpThreads;
        if (Me->Next) {
            Me->Next->Prev = Me;
        }
        HalpThreads = Me;
    } else {
        if (Me->Next) {
            Me->Next->Prev = Me->Prev;
        }
        if (Me->Prev) {
            Me->Prev->Next = Me->Next;
        } else {
            HalpThreads = Me->Next;
        }
    }
    HalpRelease(&HalpThreadLock);
}

static VOID HalpListCreated(PHAL_THREAD Thread, BOOLEAN Insert)
{
    HalpAcquire(&HalpThreadLock);
    if (Insert) {
        Thread->Next = HalpCreatedThreads;
        Thread->Previous = NULL;
        if (Thread->Next) {
            Thread->Next->Previous = Thread;
        }
        HalpCreatedThreads = Thread;
    } else {
        if (Thread->Next) {
            Thread->Next->Previous = Thread->Previous;
        }
        if (Thread->Previous) {
            Thread->Previous->Next = Thread->Next;
        } else {
            HalpCreatedThreads = Thread->Next;
        }
    }
    HalpRelease(&HalpThreadLock);
}

VOID HalpForgetThreads(VOID)
{
    HalpAcquire(&HalpThreadLock);
    for (HALP_THREAD_STATE *Thread = HalpThreads; Thread; Thread = Thread->Next) {
        __atomic_store_n(Thread->Slot, NULL, __ATOMIC_RELEASE);
        Thread->Space = NULL;
    }
    HalpRelease(&HalpThreadLock);
}

static VOID HalpThreadEnds(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    if (HalpCurrentThread != NULL && HalpMachine.Started && HalpMachine.Upcalls.DetachThread) {
        HalpMachine.Upcalls.DetachThread(HalpCurrentThread);
    }
    HalSetCurrentThread(NULL);
}

NTSTATUS HalpStartThreads(VOID)
{
    HalpHasWrGsBase = (getauxval(AT_HWCAP2) & 2) != 0 && !HalpUnderValgrind();
    if (!HalpThreadKeyMade) {
        if (pthread_key_create(&HalpThreadKey, HalpThreadEnds) != 0) {
            return STATUS_NO_MEMORY;
        }
        HalpThreadKeyMade = TRUE;
    }
    return STATUS_SUCCESS;
}

ULONG HalpStackBytes(VOID)
{
    /* What glibc takes of a given stack for thread-local storage: little, but with a sanitizer's runtime,
     * megabytes. */
    size_t (*MinimumStack)(const pthread_attr_t *) =
        (size_t(*)(const pthread_attr_t *))(ULONG_PTR)dlsym(RTLD_DEFAULT, "__pthread_get_minstack");
    pthread_attr_t Attributes;
    size_t Minimum = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    if (MinimumStack && pthread_attr_init(&Attributes) == 0) {
        Minimum = MinimumStack(&Attributes);
        pthread_attr_destroy(&Attributes);
    }
    size_t Plain = Minimum > 0x20000 ? 0x28000 : 0x10000; /* the runtime of a program's sanitizer asks for 128 KiB */
#if NTMM_SANITIZED
    Plain = 0x40000; /* instrumented frames are several times larger */
#endif
    size_t Bytes = Minimum + Plain - 0x4000;
    return (ULONG)((Bytes < Plain ? Plain : Bytes) + 0xFFFF) & ~0xFFFFu;
}

static VOID HalpFindStack(ULONG_PTR *Low, ULONG_PTR *High)
{
    pthread_attr_t Attributes;
    PVOID Base = NULL;
    size_t Bytes = 0;
    *Low = *High = 0;
    if (HalpThread.Created && HalpThread.Created->StackHigh) {
        *Low = HalpThread.Created->StackLow;
        *High = HalpThread.Created->StackHigh;
    } else if (pthread_getattr_np(pthread_self(), &Attributes) == 0) {
        if (pthread_attr_getstack(&Attributes, &Base, &Bytes) == 0) {
            *Low = (ULONG_PTR)Base;
            *High = (ULONG_PTR)Base + Bytes;
        }
        pthread_attr_destroy(&Attributes);
    }
}

VOID HalQueryStack(ULONG_PTR *Low, ULONG_PTR *High)
{
    if (HalpThread.StackHigh == 0) {
        HalpFindStack(&HalpThread.StackLow, &HalpThread.StackHigh);
    }
    *Low = HalpThread.StackLow;
    *High = HalpThread.StackHigh;
}

VOID HalSetUserMode(BOOLEAN User)
{
    HalpThread.User = User;
}

NTSTATUS HalSetCurrentThread(PVOID Value)
{
    int SavedErrno = errno;
    NTSTATUS Status = STATUS_SUCCESS;
    if (Value == NULL) {
        HalActivateAddressSpace(NULL);
        HalpForgetAway();
        HalpThread.User = FALSE;
        if (HalpThread.AltMapping != 0) {
            stack_t Old = {
                .ss_sp = (PVOID)HalpThread.OldAltBase, .ss_size = HalpThread.OldAltBytes, .ss_flags = HalpThread.OldAltFlags};
            HalpSyscall(SYS_sigaltstack, (ULONG64)&Old, 0, 0, 0, 0, 0);
            HalpMunmap(HalpThread.AltMapping, ALT_BYTES);
            HalpListThread(FALSE);
            HalpThread.AltMapping = HalpThread.AltLow = HalpThread.AltHigh = HalpThread.EmergencyLow =
                HalpThread.EmergencyHigh = 0;
            pthread_setspecific(HalpThreadKey, NULL);
        }
    } else if (HalpThread.AltMapping == 0) {
        ULONG_PTR Low, High;
        HalQueryStack(&Low, &High);
        LONG64 Base = HalpMmap(0, ALT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (HalpFailed(Base)) {
            Status = STATUS_INSUFFICIENT_RESOURCES;
            goto Done;
        }
        ULONG_PTR Signal = (ULONG_PTR)Base + GUARD_BYTES;
        stack_t New = {.ss_sp = (PVOID)Signal, .ss_size = SIGNAL_STACK_BYTES}, Old = {0};
        HalpMprotect((ULONG64)Base, GUARD_BYTES, PROT_NONE);
        HalpMprotect(Signal + SIGNAL_STACK_BYTES, GUARD_BYTES, PROT_NONE);
        if (pthread_setspecific(HalpThreadKey, &HalpThread) != 0 ||
            HalpFailed(HalpSyscall(SYS_sigaltstack, (ULONG64)&New, (ULONG64)&Old, 0, 0, 0, 0))) {
            HalpMunmap((ULONG64)Base, ALT_BYTES);
            Status = STATUS_INSUFFICIENT_RESOURCES;
            goto Done;
        }
        HalpThread.OldAltBase = (ULONG_PTR)Old.ss_sp;
        HalpThread.OldAltBytes = Old.ss_size;
        HalpThread.OldAltFlags = Old.ss_flags & SS_DISABLE;
        HalpThread.AltLow = Signal;
        HalpThread.AltHigh = Signal + SIGNAL_STACK_BYTES;
        HalpThread.EmergencyLow = HalpThread.AltHigh + GUARD_BYTES;
        HalpThread.EmergencyHigh = HalpThread.EmergencyLow + EMERGENCY_STACK_BYTES;
        HalpThread.AltMapping = (ULONG_PTR)Base;
        HalpListThread(TRUE);
    }
    HalpCurrentThread = Value;
Done:
    errno = SavedErrno;
    return Status;
}

VOID HalSetPcr(PVOID Pcr)
{
    if (HalpHasWrGsBase) {
        __asm__ volatile("wrgsbase %0" : : "r"(Pcr) : "memory");
    } else {
        HalpSyscall(SYS_arch_prctl, ARCH_SET_GS, (ULONG64)Pcr, 0, 0, 0, 0);
    }
}

static VOID HalpStartBelow(PVOID Argument, ULONG_PTR Top)
{
    PHAL_THREAD Thread = (PHAL_THREAD)Argument;
    Thread->StackHigh = Top;
    Thread->Start(Thread->Argument);
}

static PVOID HalpThreadStart(PVOID Argument)
{
    PHAL_THREAD Thread = (PHAL_THREAD)Argument;
    HalpThread.Created = Thread;
    if (_setjmp(Thread->Exit) == 0) {
        if (HalpIsOurs(Thread->StackLow)) {
            HalpCallOnNewPage(HalpStartBelow, Thread);
        } else {
            Thread->Start(Thread->Argument);
        }
    }
    return NULL;
}

NTSTATUS HalCreateThread(VOID (*Start)(PVOID), PVOID Argument, PVOID StackBase, SIZE_T StackBytes, PHAL_THREAD *Thread)
{
    int SavedErrno = errno;
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    pthread_attr_t Attributes;
    PHAL_THREAD New = (PHAL_THREAD)calloc(1, sizeof(*New));
    *Thread = NULL;
    if (New && pthread_attr_init(&Attributes) == 0) {
        New->Start = Start;
        New->Argument = Argument;
        BOOLEAN Good = TRUE;
        if (StackBase) {
            New->StackLow = (ULONG_PTR)StackBase;
            New->StackHigh = (ULONG_PTR)StackBase + StackBytes;
            Good = pthread_attr_setstack(&Attributes, StackBase, StackBytes) == 0;
        }
        HalpListCreated(New, TRUE);
        if (Good && pthread_create(&New->Id, &Attributes, HalpThreadStart, New) == 0) {
            *Thread = New;
            Status = STATUS_SUCCESS;
        } else {
            HalpListCreated(New, FALSE);
        }
        pthread_attr_destroy(&Attributes);
    }
    if (!NT_SUCCESS(Status)) {
        free(New);
    }
    errno = SavedErrno;
    return Status;
}

VOID HalJoinThread(PHAL_THREAD Thread)
{
    int SavedErrno = errno;
    pthread_join(Thread->Id, NULL);
    HalpListCreated(Thread, FALSE);
    free(Thread);
    errno = SavedErrno;
}

VOID HalExitThread(VOID)
{
    _longjmp(HalpThread.Created->Exit, 1);
}

BOOLEAN HalpStartHostThread(pthread_t *Thread, PVOID (*Start)(PVOID))
{
    sigset_t All, Old;
    sigfillset(&All);
    sigdelset(&All, SIGSEGV);
    sigdelset(&All, SIGBUS);
    sigdelset(&All, SIGILL);
    sigdelset(&All, SIGFPE);
    sigdelset(&All, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &All, &Old);
    int Failed = pthread_create(Thread, NULL, Start, NULL);
    pthread_sigmask(SIG_SETMASK, &Old, NULL);
    return !Failed;
}

BOOLEAN HalWait(volatile LONG *Word, LONG Expected, ULONG64 Deadline)
{
    struct timespec Until = {.tv_sec = (time_t)(Deadline / 1000000000u), .tv_nsec = (long)(Deadline % 1000000000u)};
    for (;;) {
        LONG64 Result = HalpFutexWait(Word, Expected, Deadline == HAL_FOREVER ? NULL : &Until);
        if (Result == -ETIMEDOUT) {
            return FALSE;
        }
        if (Result != -EFAULT) {
            return TRUE;
        }
        if (__atomic_load_n(Word, __ATOMIC_ACQUIRE) != Expected) { /* loads the translation */
            return TRUE;
        }
    }
}

VOID HalWake(volatile LONG *Word, ULONG Count)
{
    HalpFutexWake(Word, Count);
}

VOID HalYield(VOID)
{
    HalpSyscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}
