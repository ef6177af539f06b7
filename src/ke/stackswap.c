/*
 * stackswap.c - kernel stacks that leave RAM while their threads wait. SPDX-License-Identifier: MIT
 *
 * Implements KeSetKernelStackSwapEnable. Documented: the stack of a thread that waits with WaitMode UserMode may be paged out until
 * the wait ends; one that waits with KernelMode, or has disabled the swapping of its stack, stays. A thread that ends while it has
 * it disabled is KERNEL_STACK_LOCKED_AT_EXIT (0x94). So an event, or wait blocks, or a packet's status block on the stack of a
 * UserMode wait may not be there when somebody uses them: at DISPATCH_LEVEL, and inside the dispatcher, that is 0xA.
 *
 * Only stacks in the kernel's range (threads of drivers, workers) can leave; a host thread's own cannot. A thread whose stack may
 * leave waits on a stack of the machine's (HalCallOffStack), so that nothing needs its own meanwhile; before it goes back it
 * brings the pages in.
 *
 *      KTHREAD.StackState
 *      In ---- its thread, off the stack ----> Idle ---- whoever takes it out ----> Leaving ---> Out
 *       ^                                       |                                      |          |
 *       +---------------- its thread: the wait is over; waits for Leaving to end, pages in -------+
 *
 * Who takes it out is KeOptions.SwapStacks: KiSwapStacksAuto, the balance manager when memory is short and the wait older than
 * KI_SWAP_AGE (mm/balance.c); KiSwapStacksAlways, the waiting thread itself, at once: for whoever looks for such bugs;
 * KiSwapStacksNever. The pages themselves are mm's affair (mm/stackswap.c).
 *
 * A stack that cannot be brought back is KERNEL_STACK_INPAGE_ERROR (0x77). Its thread's ntmm_catch is lost with it.
 *
 * Invariants
 *  S1. StackState is not In only inside KiSleepOffStack.
 *  S2. Out of Idle exactly one goes on: the thread (to In) or one other (to Leaving), by compare and exchange.
 *  S3. A thread whose stack is Leaving or Out does not end: its record stays while somebody holds it there.
 *
 * Locks: KiThreadLock for the search only. Watch: tests/ddi/KeSetKernelStackSwapEnable.c, tests/unit/stackswap_test.c.
 */
#include "ke/kip.h"

#define KI_SWAP_BATCH 16

const KI_STACK_SWAPPER *volatile KiStackSwapper;

BOOLEAN KeSetKernelStackSwapEnable(BOOLEAN Enable)
{
    KTHREAD *Thread = KiCurrentThread();
    BOOLEAN Before = !Thread->StackLocked;

    Thread->StackLocked = !Enable;
    return Before;
}

VOID KiCheckStackAtExit(KTHREAD *Thread)
{
    if (Thread->StackLocked && HalIsSystemAddress(Thread->StackLow)) {
        KiStop(KERNEL_STACK_LOCKED_AT_EXIT, "A thread ended while its kernel stack was locked by KeSetKernelStackSwapEnable.",
               NULL, 0, 0, 0, 0);
    }
}

BOOLEAN KiMayLeaveStack(KTHREAD *Thread)
{
    return KeOptions.SwapStacks != KiSwapStacksNever && !Thread->StackLocked && HalIsSystemAddress(Thread->StackLow) &&
           __atomic_load_n(&KiStackSwapper, __ATOMIC_ACQUIRE) != NULL;
}

/* The thread, or another that made it Leaving. */
static ULONG64 KipTakeOut(KTHREAD *Thread)
{
    ULONG64 Pages = KiStackSwapper->TakeOut(Thread->StackLow, Thread->StackPointer, Thread->StackHigh);

    __atomic_store_n(&Thread->StackState, KiStackOut, __ATOMIC_RELEASE);
    HalWake(&Thread->StackState, 1);
    return Pages;
}

static BOOLEAN KipClaim(KTHREAD *Thread, LONG State)
{
    LONG Idle = KiStackIdle;

    return __atomic_compare_exchange_n(&Thread->StackState, &Idle, State, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static VOID KipBringBack(KTHREAD *Thread)
{
    ULONG_PTR P[4] = {0, 0, 0, 0};

    while (!KipClaim(Thread, KiStackIn)) {
        if (__atomic_load_n(&Thread->StackState, __ATOMIC_ACQUIRE) == KiStackLeaving) {
            (VOID) HalWait(&Thread->StackState, KiStackLeaving, HAL_FOREVER);
            continue;
        }
        if (!KiStackSwapper->BringIn(Thread->StackLow, Thread->StackPointer, Thread->StackHigh, P)) {
            KI_BUGCHECK Stop = {.Code = KERNEL_STACK_INPAGE_ERROR,
                                .Parameters = {P[0], P[1], P[2], P[3]},
                                .Words = P[0] < 3 ? "A kernel stack that was paged out came back wrong."
                                                  : "A kernel stack that was paged out could not be read back.",
                                .Driver = KiCallBefore((ULONG_PTR)Thread->WaitCaller)};

            Thread->Catch = NULL; /* they were on the stack */
            Thread->SehChain = NULL;
            KiBugCheck(&Stop);
        }
        __atomic_store_n(&Thread->StackState, KiStackIn, __ATOMIC_RELEASE);
        return;
    }
}

static VOID KipSleepAway(PVOID Argument, ULONG_PTR StackPointer)
{
    KTHREAD *Thread = (KTHREAD *)Argument;

    Thread->StackPointer = StackPointer;
    __atomic_store_n(&Thread->WaitSince, HalQueryTime(), __ATOMIC_RELAXED);
    __atomic_store_n(&Thread->StackState, KiStackIdle, __ATOMIC_RELEASE);
    if (KeOptions.SwapStacks == KiSwapStacksAlways && KipClaim(Thread, KiStackLeaving)) {
        (VOID) KipTakeOut(Thread);
    }
    Thread->SleepStatus = KiSleep(Thread, Thread->WaitDeadline);
    KipBringBack(Thread);
}

NTSTATUS KiSleepOffStack(KTHREAD *Thread, ULONG64 Deadline, const VOID *Caller)
{
    Thread->WaitDeadline = Deadline;
    Thread->WaitCaller = Caller;
    return HalCallOffStack(KipSleepAway, Thread) ? Thread->SleepStatus : KiSleep(Thread, Deadline);
}

/* ---- from outside ---- */
typedef struct _KI_SWAP_SEARCH {
    ULONG64 Before;
    ULONG Count;
    KTHREAD *Threads[KI_SWAP_BATCH];
} KI_SWAP_SEARCH;

static BOOLEAN KipChooseStack(KTHREAD *Thread, PVOID Context)
{
    KI_SWAP_SEARCH *Search = (KI_SWAP_SEARCH *)Context;

    if (__atomic_load_n(&Thread->StackState, __ATOMIC_ACQUIRE) == KiStackIdle &&
        __atomic_load_n(&Thread->WaitSince, __ATOMIC_RELAXED) <= Search->Before && KipClaim(Thread, KiStackLeaving)) {
        Search->Threads[Search->Count++] = Thread;
    }
    return Search->Count < KI_SWAP_BATCH;
}

ULONG64 KiTakeStacksOut(ULONG64 Age)
{
    ULONG64 Now = HalQueryTime(), Pages = 0;
    KI_SWAP_SEARCH Search = {.Before = Now > Age ? Now - Age : 0};

    if (KeOptions.SwapStacks == KiSwapStacksNever || __atomic_load_n(&KiStackSwapper, __ATOMIC_ACQUIRE) == NULL || Now < Age) {
        return 0;
    }
    do {
        Search.Count = 0;
        KiEnumerateThreads(KipChooseStack, &Search);
        for (ULONG Index = 0; Index < Search.Count; Index += 1) {
            Pages += KipTakeOut(Search.Threads[Index]);
        }
    } while (Search.Count == KI_SWAP_BATCH);
    return Pages;
}

typedef struct _KI_STACK_OF {
    ULONG_PTR Address;
    BOOLEAN Out;
} KI_STACK_OF;

static BOOLEAN KipIsOnThisOut(KTHREAD *Thread, PVOID Context)
{
    KI_STACK_OF *Of = (KI_STACK_OF *)Context;

    Of->Out = __atomic_load_n(&Thread->StackState, __ATOMIC_ACQUIRE) == KiStackOut && Of->Address >= Thread->StackLow &&
              Of->Address < Thread->StackHigh;
    return !Of->Out;
}

BOOLEAN KiIsOnStackOut(ULONG_PTR Address)
{
    KI_STACK_OF Of = {.Address = Address};

    KiEnumerateThreads(KipIsOnThisOut, &Of);
    return Of.Out;
}

static BOOLEAN KipCountOut(KTHREAD *Thread, PVOID Context)
{
    *(ULONG *)Context += __atomic_load_n(&Thread->StackState, __ATOMIC_ACQUIRE) == KiStackOut;
    return TRUE;
}

ULONG KiCountStacksOut(VOID)
{
    ULONG Count = 0;

    KiEnumerateThreads(KipCountOut, &Count);
    return Count;
}
