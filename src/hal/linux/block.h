/*
 * block.h - what block devices and the engines behind them share. SPDX-License-Identifier: MIT
 *
 *   block.c    devices, blocking transfers, choice of the engine
 *   ioqueue.c  engine "queue": io_uring through liburing
 *   iopool.c   engine "threads"; and transfers that go their own way under the other one (late, refused, failing)
 */
#pragma once
#include "hal/linux/halp.h"

struct _HAL_DEVICE {
    int File;
    BOOLEAN Direct;
    volatile ULONG64 Bytes; /* grows; HalpOpenLock to write */
};

#define HALP_NO_FAULT 0xFFFFFFFFu
/* A transfer's own memory (HAL_IO.Reserved) while the HAL has it. */
typedef struct _HALP_IO_STATE {
    HAL_IO *Next; /* pool: the queue */
    ULONG64 Due;  /* pool: not before this time */
    ULONG First;  /* spans before this one are done */
    ULONG Fault;  /* HAL_IO_FAULT_KIND of the rule that hit it, or HALP_NO_FAULT */
    ULONG64 Value;
} HALP_IO_STATE;
C_ASSERT(sizeof(HALP_IO_STATE) <= sizeof(((HAL_IO *)0)->Reserved));
static inline HALP_IO_STATE *HalpIoState(HAL_IO *Io)
{
    return (HALP_IO_STATE *)(PVOID)Io->Reserved;
}

/* block.c */
NTSTATUS HalpIoStatus(LONG64 Error); /* of a negative error number */
/* Accounts for what the host moved (or its negative error). TRUE: there is more to do, from span State->First on. */
BOOLEAN HalpAdvance(HAL_IO *Io, LONG64 Moved);
VOID HalpTransferPlain(HAL_IO *Io); /* on this thread, no faults */
VOID HalpTransferLate(HAL_IO *Io);  /* on this thread, with the fault that hit it, or not at all if Status is an error */
VOID HalpFinishIo(HAL_IO *Io);      /* the upcall */
VOID HalpLeaveIoThread(VOID);       /* a thread that made upcalls ends */

/* ioqueue.c */
NTSTATUS HalpStartQueue(VOID); /* STATUS_NOT_SUPPORTED: the host has no io_uring for us */
VOID HalpStopQueue(VOID);
VOID HalpQueueSubmit(HAL_IO *Io);

/* iopool.c */
NTSTATUS HalpStartPool(ULONG Threads);
VOID HalpStopPool(VOID);
VOID HalpPoolSubmit(HAL_IO *Io);
