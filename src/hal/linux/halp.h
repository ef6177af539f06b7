/*
 * halp.h - what the files of the Linux HAL share. SPDX-License-Identifier: MIT
 *
 *   machine.c  RAM, the window, the ranges, start and stop, probing of host memory
 *   tlb.c      the software-filled TLB: the only file that maps simulated addresses
 *   trap.c     signals in, trap frames out; trap.S the entry that calls up and resumes
 *   offstack.c a thread off its kernel stack; switch.S the change of stacks
 *   guard.c    keeps the program from taking those signals away
 *   thread.c   threads, alternate stacks, waiting and waking, the processor's gs
 *   time.c     clock, time, entropy, console, halt
 *   block.c    block devices, with ioqueue.c and iopool.c (block.h); codec.c compression of pages
 *   stack.c    stack captures and unwinding; cfi.c one step by call-frame information
 *
 * trap.c, tlb.c, stack.c, offstack.c and cfi.c are compiled without sanitizers (flags.cmake says why, and what the memory sanitizer sees).
 */
#pragma once
#include <pthread.h>
#include <ntdef.h>
#include <ntstatus.h>
#include "hal/hal.h"
#include "hal/walk.h"
#include "hal/linux/sys.h"

typedef struct _HALP_MACHINE {
    volatile LONG Started; /* the trap path works */
    int RamFile;           /* memfd: file offset = physical address */
    SIZE_T WindowBytes;
    HALP_PHYSICAL Physical;
    HAL_UPCALLS Upcalls;
    ULONG IoEngine; /* as asked */
} HALP_MACHINE;
extern HALP_MACHINE HalpMachine;

/* Per thread, beside the core's slot. The alternate stack is one mapping:
 *   [guard page][signal stack][guard page][emergency stack: traps whose own stack is used up] */
typedef struct _HALP_THREAD_STATE {
    ULONG_PTR StackLow, StackHigh; /* cached; 0 until known */
    ULONG_PTR AltMapping;          /* 0: none */
    ULONG_PTR AltLow, AltHigh, EmergencyLow, EmergencyHigh;
    ULONG_PTR OldAltBase; /* what the thread had before it was attached */
    SIZE_T OldAltBytes;
    int OldAltFlags;
    struct _HAL_THREAD *Created; /* made by HalCreateThread */
    BOOLEAN User;                /* its accesses are a user's */
    PHAL_ADDRESS_SPACE Space;    /* the one it is in, or NULL */
    ULONG_PTR AwayMapping;       /* offstack.c; 0: none */
    VOID (*AwayFunction)(PVOID Argument, ULONG_PTR StackPointer);
    PVOID AwayFake;
    PVOID *Slot;                            /* the thread's HalpCurrentThread, for HalStopMachine */
    struct _HALP_THREAD_STATE *Next, *Prev; /* attached threads; HalpThreadLock */
} HALP_THREAD_STATE;
extern _Thread_local HALP_THREAD_STATE HalpThread __attribute__((tls_model("initial-exec")));

static inline BOOLEAN HalpIsOurs(ULONG_PTR Va)
{
    return HalIsSystemAddress(Va) || HalIsUserAddress(Va);
}

/* tlb.c */
NTSTATUS HalpStartTb(ULONG Entries);
VOID HalpStopTb(VOID);
/* A fault at one of our addresses: TRUE if the tables satisfy the access (it is now mapped), else *Error. */
BOOLEAN HalpTbFault(ULONG_PTR Va, ULONG Access, ULONG *Error);

/* The host has given memory for these frames, or has it back. */
VOID HalpSetBacked(PFN_NUMBER Frame, ULONG64 Count, BOOLEAN Backed);

/* trap.c */
NTSTATUS HalpStartTraps(VOID);
VOID HalpStopTraps(VOID);
BOOLEAN HalpUnderValgrind(VOID);

/* thread.c */
NTSTATUS HalpStartThreads(VOID);
/* Clears the slot of every thread that is still attached: what it points to is gone with the machine. */
VOID HalpForgetThreads(VOID);
/* Starts a thread of the HAL's own, without the program's signals: those are for the program's threads. */
BOOLEAN HalpStartHostThread(pthread_t *Thread, PVOID (*Start)(PVOID));
/* How much stack a thread needs at least. */
ULONG HalpStackBytes(VOID);

/* offstack.c: the calling thread is detached. switch.S says what the calls do. */
VOID HalpForgetAway(VOID);
VOID HalpCallOnStack(VOID (*Function)(PVOID, ULONG_PTR), PVOID Argument, ULONG_PTR Top);
VOID HalpCallOnNewPage(VOID (*Function)(PVOID, ULONG_PTR), PVOID Argument);

/* stack.c: the part of the thread's stack that a walk from Rsp may read unchecked (Low = High: none); any
 * other word. */
VOID HalpKnownStack(ULONG_PTR Rsp, ULONG_PTR *Low, ULONG_PTR *High);
BOOLEAN HalpReadable(ULONG_PTR Va);
/* cfi.c: out of the frame of the function that holds Pc (Context->Rip, or the byte before it for a return
 * address). */
BOOLEAN HalpStepFrame(HAL_CONTEXT *Context, ULONG_PTR Pc);

/* block.c */
VOID HalpStopIo(VOID);

/* time.c */
NTSTATUS HalpStartClock(VOID);
VOID HalpStopClock(VOID);
VOID HalpFatal(const CHAR *Words) __attribute__((noreturn));
