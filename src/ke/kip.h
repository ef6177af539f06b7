/*
 * kip.h - what the files of the kernel layer share with each other and nobody else. SPDX-License-Identifier: MIT
 *
 * Who locks what
 *   the dispatcher lock   the state and wait list of every dispatcher object, the wait fields of KTHREAD, the timer tree
 *   KPRCB.DpcLock         the processor's DPC list, and DpcData and the links of the DPCs in it
 *   KiThreadLock          the list of threads and the free list behind it
 *   nothing               KTHREAD.Irql, Prcb, SpinLocksHeld, CriticalRegion, GuardedRegion: their own thread only
 * Dispatcher objects, timers and DPCs lie in drivers' memory, which must be resident; each entry point touches the object
 * once before it takes a lock, so that a pageable or freed object stops the system with nothing held.
 */
#pragma once
#include "ke/ki.h"

KTHREAD *KiAllocateThread(VOID);
VOID KiFreeThread(KTHREAD *Thread);

/* exception.c */
NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);
#ifndef THREAD_TERMINATE_HELD_MUTEX
#define THREAD_TERMINATE_HELD_MUTEX ((ULONG)0x4000008A)
#endif

/* ---- processors ---- */
/* Gives the thread a processor it may run on; Irql is not changed. Blocks until one is free. */
VOID KiAcquireProcessor(KTHREAD *Thread);
/* Takes this very processor if nobody has it. */
BOOLEAN KiTryAcquireProcessor(KTHREAD *Thread, PKPRCB Prcb);
/* Gives the thread's processor back and wakes a thread that waits for one. */
VOID KiReleaseProcessor(KTHREAD *Thread);
VOID KiInitProcessors(VOID);

/* ---- stacks ---- */
/* Whether the thread's stack may leave RAM during a wait in user mode. */
BOOLEAN KiMayLeaveStack(KTHREAD *Thread);
/* KiSleep, off the thread's stack. Caller: who is told of if the stack cannot be brought back. */
NTSTATUS KiSleepOffStack(KTHREAD *Thread, ULONG64 Deadline, const VOID *Caller);
VOID KiCheckStackAtExit(KTHREAD *Thread);
/* Whether the address lies on a stack that is out. */
BOOLEAN KiIsOnStackOut(ULONG_PTR Address);

/* ---- DPCs ---- */
/* Runs the DPCs of the thread's processor until there are none. At DISPATCH_LEVEL, owning the processor. */
VOID KiRetireDpcList(KTHREAD *Thread);
/* KeInsertQueueDpc for a timer, to the processor that KiProcessorOfDpc says. Dispatcher lock held. */
VOID KiQueueTimerDpc(PKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2, ULONG Processor);
/* Expires the timers that are due. Dispatcher lock held. */
VOID KiExpireTimers(VOID);
/* The one that a DPC is for, or Processor, where its timer was set. */
ULONG KiProcessorOfDpc(PKDPC Dpc, ULONG Processor);
/* Waits until what is queued to the processor now has run or was removed. PASSIVE_LEVEL or APC_LEVEL. */
VOID KiWaitForDpcs(PKPRCB Prcb);
VOID KiAbandonDpcLocks(VOID);
/* The DPC that runs on a processor counts as returned: its routine was left by ntmm_catch. */
VOID KiEndDpc(PKPRCB Prcb);
NTSTATUS KiStartDpcThreads(VOID);
VOID KiStopDpcThreads(VOID);

/* ---- dispatcher ---- */
VOID KiLockDispatcher(VOID);
/* Releases the lock, then lets the threads go whose waits were satisfied under it. */
VOID KiUnlockDispatcher(VOID);
/* The object may have become signalled: satisfies what waits can be satisfied. Dispatcher lock held. */
VOID KiTestWaiters(DISPATCHER_HEADER *Header);
/* Ends a thread's wait with a status. Dispatcher lock held. */
VOID KiUnwaitThread(KTHREAD *Thread, LONG_PTR Status);
/* Sleeps until the thread's wait ends; its blocks are linked, the lock is not held. */
NTSTATUS KiSleep(KTHREAD *Thread, ULONG64 Deadline);
/* Whether the calling thread has the dispatcher lock: a fault then is one at DISPATCH_LEVEL. */
BOOLEAN KiHoldsDispatcher(const KTHREAD *Thread);
static inline LONG KiState(const DISPATCHER_HEADER *Header)
{
    return __atomic_load_n(&Header->SignalState, __ATOMIC_RELAXED);
}
static inline VOID KiSetState(DISPATCHER_HEADER *Header, LONG State)
{
    __atomic_store_n(&Header->SignalState, State, __ATOMIC_RELAXED);
}
/* Makes the thread the mutant's owner once more; TRUE if its last owner abandoned it. Dispatcher lock held. */
BOOLEAN KiTakeMutant(PKMUTANT Mutant, KTHREAD *Thread);
/* The mutants a thread owns as it ends: stops for a KMUTEX, abandons others. No lock held. */
VOID KiAbandonMutants(KTHREAD *Thread);

/* ---- timers ---- */
VOID KiStartTimers(VOID);
VOID KiStopTimers(VOID);
/* A due time of the DDI (negative: relative, else absolute, both in 100 ns) as a deadline of HalQueryTime. */
ULONG64 KiDeadline(LARGE_INTEGER DueTime);

/* ---- spin locks ---- */
/* Takes a driver's spin lock at any IRQL, as the ExInterlocked routines do: at HIGH_LEVEL. Returns the old IRQL. */
KIRQL KiAcquireListLock(PKSPIN_LOCK SpinLock);
VOID KiReleaseListLock(PKSPIN_LOCK SpinLock, KIRQL OldIrql);
