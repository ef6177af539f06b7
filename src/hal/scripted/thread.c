/*
 * thread.c - the double's threads, waits and time. SPDX-License-Identifier: MIT
 *
 * Threads are real ones, on host stacks (a stack in simulated memory cannot be run on here: a host stack
 * stands in for it). Time is a number that only HalScriptAdvanceTime moves; a wait with a deadline ends when
 * time has been moved past it. The Clock upcall is made by the thread that moves time.
 *
 * Invariant 1: a waiter is on the list from before it reads its word until it leaves HalWait, so a wake is
 * not lost. Lock: HalpWaits.Lock; not held across upcalls. Tests: tests/hal/thread.c, clock.c over the
 * double.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include "hal/scripted/scriptp.h"

#define BEGINNING    1000000000ull         /* one second after the start */
#define SYSTEM_EPOCH 132223104000000000ull /* 2020-01-01 in 100 ns since 1601 */

_Thread_local PVOID HalpCurrentThread __attribute__((tls_model("initial-exec")));
_Thread_local volatile BOOLEAN HalpDenyRevocable __attribute__((tls_model("initial-exec")));
static _Thread_local PVOID HalpPcr;
static _Thread_local struct _HAL_THREAD *HalpCreated;

struct _HAL_THREAD {
    pthread_t Id;
    VOID (*Start)(PVOID);
    PVOID Argument;
    jmp_buf Exit;
};

typedef struct _HALP_WAITER {
    volatile LONG *Word;
    ULONG64 Deadline;
    BOOLEAN Woken;
    pthread_cond_t Wake;
    struct _HALP_WAITER *Next;
} HALP_WAITER;

static struct {
    pthread_mutex_t Lock;
    HALP_WAITER *First;
    ULONG64 Now, Clock;
} HalpWaits = {.Lock = PTHREAD_MUTEX_INITIALIZER, .Now = BEGINNING, .Clock = HAL_FOREVER};

static pthread_key_t HalpKey;
static pthread_once_t HalpKeyOnce = PTHREAD_ONCE_INIT;

static VOID HalpThreadEnds(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    if (HalpCurrentThread != NULL && HalpScript.Started && HalpScript.Upcalls.DetachThread) {
        HalpScript.Upcalls.DetachThread(HalpCurrentThread);
    }
    HalpCurrentThread = NULL;
}
static VOID HalpMakeKey(VOID)
{
    if (pthread_key_create(&HalpKey, HalpThreadEnds) != 0) {
        abort();
    }
}
VOID HalpStartThreads(VOID)
{
    pthread_once(&HalpKeyOnce, HalpMakeKey);
}
VOID HalpResetTime(VOID)
{
    pthread_mutex_lock(&HalpWaits.Lock);
    HalpWaits.Now = BEGINNING;
    HalpWaits.Clock = HAL_FOREVER;
    pthread_mutex_unlock(&HalpWaits.Lock);
}

/* ---- threads ---- */
NTSTATUS HalSetCurrentThread(PVOID Value)
{
    if (HalpRecord(HalScriptSetCurrentThread, (ULONG64)Value, 0, 0) && Value) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    pthread_once(&HalpKeyOnce, HalpMakeKey);
    if (Value == NULL) {
        HalActivateAddressSpace(NULL);
    }
    pthread_setspecific(HalpKey, Value);
    HalpCurrentThread = Value;
    return STATUS_SUCCESS;
}
_Thread_local BOOLEAN HalpUserMode;
VOID HalSetUserMode(BOOLEAN User)
{
    HalpUserMode = User;
}
VOID HalSetPcr(PVOID Pcr)
{
    HalpRecord(HalScriptSetPcr, (ULONG64)Pcr, 0, 0);
    HalpPcr = Pcr;
}
PVOID HalScriptPcr(VOID)
{
    return HalpPcr;
}
static PVOID HalpThreadStart(PVOID Argument)
{
    PHAL_THREAD Thread = (PHAL_THREAD)Argument;
    HalpCreated = Thread;
    if (_setjmp(Thread->Exit) == 0) {
        Thread->Start(Thread->Argument);
    }
    return NULL;
}
NTSTATUS HalCreateThread(VOID (*Start)(PVOID), PVOID Argument, PVOID StackBase, SIZE_T StackBytes, PHAL_THREAD *Thread)
{
    pthread_attr_t Attributes;
    *Thread = NULL;
    if (HalpRecord(HalScriptCreateThread, (ULONG64)Argument, (ULONG64)StackBase, StackBytes)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    PHAL_THREAD New = (PHAL_THREAD)calloc(1, sizeof(*New));
    if (!New || pthread_attr_init(&Attributes) != 0) {
        free(New);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    New->Start = Start;
    New->Argument = Argument;
    BOOLEAN Good = TRUE;
    if (StackBase && !HalpIsOurs((ULONG_PTR)StackBase)) {
        Good = pthread_attr_setstack(&Attributes, StackBase, StackBytes) == 0;
    }
    Good = Good && pthread_create(&New->Id, &Attributes, HalpThreadStart, New) == 0;
    pthread_attr_destroy(&Attributes);
    if (!Good) {
        free(New);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    *Thread = New;
    return STATUS_SUCCESS;
}
VOID HalJoinThread(PHAL_THREAD Thread)
{
    HalpRecord(HalScriptJoinThread, (ULONG64)Thread, 0, 0);
    pthread_join(Thread->Id, NULL);
    free(Thread);
}
BOOLEAN HalCallOffStack(VOID (*Function)(PVOID Argument, ULONG_PTR StackPointer), PVOID Argument)
{
    Function(Argument, (ULONG_PTR)__builtin_frame_address(0)); /* stacks are the host's here, and stay */
    return TRUE;
}
VOID HalExitThread(VOID)
{
    HalpRecord(HalScriptExitThread, 0, 0, 0);
    _longjmp(HalpCreated->Exit, 1);
}
VOID HalQueryStack(ULONG_PTR *Low, ULONG_PTR *High)
{
    pthread_attr_t Attributes;
    PVOID Base = NULL;
    size_t Bytes = 0;
    HalpRecord(HalScriptQueryStack, 0, 0, 0);
    if (pthread_getattr_np(pthread_self(), &Attributes) == 0) {
        pthread_attr_getstack(&Attributes, &Base, &Bytes);
        pthread_attr_destroy(&Attributes);
    }
    *Low = (ULONG_PTR)Base;
    *High = (ULONG_PTR)Base + Bytes;
}
VOID HalYield(VOID)
{
    HalpRecord(HalScriptYield, 0, 0, 0);
    sched_yield();
}

/* ---- waits ---- */
BOOLEAN HalWait(volatile LONG *Word, LONG Expected, ULONG64 Deadline)
{
    HALP_WAITER Me = {.Word = Word, .Deadline = Deadline, .Wake = PTHREAD_COND_INITIALIZER};
    if (HalpRecord(HalScriptWait, (ULONG64)Word, (ULONG64)(ULONG)Expected, Deadline)) {
        return FALSE;
    }
    pthread_mutex_lock(&HalpWaits.Lock);
    Me.Next = HalpWaits.First;
    HalpWaits.First = &Me;
    pthread_mutex_unlock(&HalpWaits.Lock);
    BOOLEAN Equal = HalpReadWord(Word) == Expected; /* may fault: without the lock, but listed */
    pthread_mutex_lock(&HalpWaits.Lock);
    while (Equal && !Me.Woken && HalpWaits.Now < Deadline) {
        pthread_cond_wait(&Me.Wake, &HalpWaits.Lock);
    }
    HALP_WAITER **Link = &HalpWaits.First;
    while (*Link != &Me) {
        Link = &(*Link)->Next;
    }
    *Link = Me.Next;
    BOOLEAN Result = !Equal || Me.Woken;
    pthread_mutex_unlock(&HalpWaits.Lock);
    return Result;
}
VOID HalWake(volatile LONG *Word, ULONG Count)
{
    HalpRecord(HalScriptWake, (ULONG64)Word, Count, 0);
    pthread_mutex_lock(&HalpWaits.Lock);
    for (HALP_WAITER *Waiter = HalpWaits.First; Waiter && Count != 0; Waiter = Waiter->Next) {
        if (Waiter->Word == Word && !Waiter->Woken) {
            Waiter->Woken = TRUE;
            pthread_cond_signal(&Waiter->Wake);
            Count--;
        }
    }
    pthread_mutex_unlock(&HalpWaits.Lock);
}
ULONG HalScriptWaiters(VOID)
{
    ULONG Count = 0;
    pthread_mutex_lock(&HalpWaits.Lock);
    for (HALP_WAITER *Waiter = HalpWaits.First; Waiter; Waiter = Waiter->Next) {
        Count += !Waiter->Woken;
    }
    pthread_mutex_unlock(&HalpWaits.Lock);
    return Count;
}

/* ---- time ---- */
ULONG64 HalQueryTime(VOID)
{
    HalpRecord(HalScriptQueryTime, 0, 0, 0);
    pthread_mutex_lock(&HalpWaits.Lock);
    ULONG64 Now = HalpWaits.Now;
    pthread_mutex_unlock(&HalpWaits.Lock);
    return Now;
}
ULONG64 HalQuerySystemTime(VOID)
{
    HalpRecord(HalScriptQuerySystemTime, 0, 0, 0);
    pthread_mutex_lock(&HalpWaits.Lock);
    ULONG64 Now = SYSTEM_EPOCH + (HalpWaits.Now - BEGINNING) / 100;
    pthread_mutex_unlock(&HalpWaits.Lock);
    return Now;
}
VOID HalSetClock(ULONG64 Deadline)
{
    HalpRecord(HalScriptSetClock, Deadline, 0, 0);
    pthread_mutex_lock(&HalpWaits.Lock);
    HalpWaits.Clock = Deadline;
    pthread_mutex_unlock(&HalpWaits.Lock);
}
VOID HalScriptAdvanceTime(ULONG64 Nanoseconds)
{
    pthread_mutex_lock(&HalpWaits.Lock);
    ULONG64 End = HalpWaits.Now + Nanoseconds;
    for (;;) {
        BOOLEAN Ring = HalpWaits.Clock <= End;
        if (Ring && HalpWaits.Clock > HalpWaits.Now) {
            HalpWaits.Now = HalpWaits.Clock;
        } else if (!Ring) {
            HalpWaits.Now = End;
        }
        for (HALP_WAITER *Waiter = HalpWaits.First; Waiter; Waiter = Waiter->Next) {
            if (Waiter->Deadline <= HalpWaits.Now) {
                pthread_cond_signal(&Waiter->Wake);
            }
        }
        if (!Ring) {
            break;
        }
        HalpWaits.Clock = HAL_FOREVER;
        pthread_mutex_unlock(&HalpWaits.Lock);
        if (HalCurrentThread() == NULL && HalpScript.Upcalls.AttachThread) {
            HalpScript.Upcalls.AttachThread();
        }
        if (HalpScript.Upcalls.Clock) {
            HalpScript.Upcalls.Clock();
        }
        pthread_mutex_lock(&HalpWaits.Lock);
    }
    pthread_mutex_unlock(&HalpWaits.Lock);
}
