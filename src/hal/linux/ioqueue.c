/*
 * ioqueue.c - transfers through io_uring (liburing). SPDX-License-Identifier: MIT
 *
 * One ring. Whoever submits writes an entry and tells the host's kernel, under one lock (an entry is a few stores and a
 * system call that does not wait); one thread takes completions as they come and makes the upcalls. A transfer that moved
 * less than asked goes back into the ring from there. More transfers under way than the ring has entries are no matter:
 * entries are free again once submitted, and the kernel keeps completions that find the ring full.
 *
 * A host without io_uring, or a container that forbids it, shows when the ring is made; a ring that can be made and does not
 * work (some sandboxes), when the first entry is tried: HalpStartQueue then says no, and the caller uses threads.
 *
 * Lock: RingLock, innermost. The completing thread takes it once for each batch, so that what the submitter wrote before is
 * seen in order also by those who do not know of the kernel (ThreadSanitizer). Tests: tests/hal/block.c, linux_block.c.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>
#include "hal/linux/block.h"

#define RING_ENTRIES 256u
#define BATCH        32u

static struct {
    struct io_uring Ring;
    volatile LONG RingLock;
    pthread_t Thread;
} HalpQueue;

static struct io_uring_sqe *HalpTakeEntry(VOID)
{
    struct io_uring_sqe *Entry;
    while ((Entry = io_uring_get_sqe(&HalpQueue.Ring)) == NULL) {
        (VOID) io_uring_submit(&HalpQueue.Ring);
    }
    return Entry;
}

static VOID HalpPushRing(VOID)
{
    while (io_uring_sq_ready(&HalpQueue.Ring) != 0) {
        int Result = io_uring_submit(&HalpQueue.Ring);
        if (Result < 0 && Result != -EINTR) {
            HalYield(); /* the kernel is short of something: completions give it back */
        }
    }
}

VOID HalpQueueSubmit(HAL_IO *Io)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    const struct iovec *Vector = (const struct iovec *)(PVOID)&Io->Spans[State->First];
    ULONG Count = Io->SpanCount - State->First;
    HalpAcquire(&HalpQueue.RingLock);
    struct io_uring_sqe *Entry = HalpTakeEntry();
    if (Io->Write) {
        io_uring_prep_writev(Entry, Io->Device->File, Vector, Count, Io->Offset + Io->Information);
    } else {
        io_uring_prep_readv(Entry, Io->Device->File, Vector, Count, Io->Offset + Io->Information);
    }
    io_uring_sqe_set_data(Entry, Io);
    HalpPushRing();
    HalpRelease(&HalpQueue.RingLock);
}

static VOID HalpCompleteIo(HAL_IO *Io, int Result)
{
    if (Result == -EINTR || Result == -EAGAIN || HalpAdvance(Io, Result)) {
        HalpQueueSubmit(Io);
    } else {
        HalpFinishIo(Io);
    }
}

static PVOID HalpQueueThread(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    for (BOOLEAN Stop = FALSE; !Stop;) {
        struct io_uring_cqe *Entries[BATCH];
        struct {
            HAL_IO *Io;
            int Result;
        } Done[BATCH];
        if (io_uring_wait_cqe(&HalpQueue.Ring, &Entries[0]) < 0) {
            continue;
        }
        unsigned Count = io_uring_peek_batch_cqe(&HalpQueue.Ring, Entries, BATCH);
        for (unsigned Index = 0; Index < Count; Index++) {
            Done[Index].Io = (HAL_IO *)io_uring_cqe_get_data(Entries[Index]);
            Done[Index].Result = Entries[Index]->res;
        }
        io_uring_cq_advance(&HalpQueue.Ring, Count);
        HalpAcquire(&HalpQueue.RingLock);
        HalpRelease(&HalpQueue.RingLock);
        for (unsigned Index = 0; Index < Count; Index++) {
            if (Done[Index].Io == NULL) {
                Stop = TRUE;
            } else {
                HalpCompleteIo(Done[Index].Io, Done[Index].Result);
            }
        }
    }
    HalpLeaveIoThread();
    return NULL;
}

/* An entry without work makes its way through the ring. */
static BOOLEAN HalpTryRing(VOID)
{
    struct io_uring_cqe *Done;
    struct __kernel_timespec Limit = {.tv_sec = 1};
    struct io_uring_sqe *Entry = io_uring_get_sqe(&HalpQueue.Ring);
    if (Entry == NULL) {
        return FALSE;
    }
    io_uring_prep_nop(Entry);
    if (io_uring_submit(&HalpQueue.Ring) != 1 || io_uring_wait_cqe_timeout(&HalpQueue.Ring, &Done, &Limit) != 0 ||
        Done->res < 0) {
        return FALSE;
    }
    io_uring_cqe_seen(&HalpQueue.Ring, Done);
    return TRUE;
}

NTSTATUS HalpStartQueue(VOID)
{
    memset(&HalpQueue, 0, sizeof(HalpQueue));
    if (io_uring_queue_init(RING_ENTRIES, &HalpQueue.Ring, 0) < 0) {
        return STATUS_NOT_SUPPORTED;
    }
    if (!HalpTryRing() || !HalpStartHostThread(&HalpQueue.Thread, HalpQueueThread)) {
        io_uring_queue_exit(&HalpQueue.Ring);
        return STATUS_NOT_SUPPORTED;
    }
    return STATUS_SUCCESS;
}

VOID HalpStopQueue(VOID)
{
    HalpAcquire(&HalpQueue.RingLock);
    struct io_uring_sqe *Entry = HalpTakeEntry();
    io_uring_prep_nop(Entry);
    io_uring_sqe_set_data(Entry, NULL);
    HalpPushRing();
    HalpRelease(&HalpQueue.RingLock);
    pthread_join(HalpQueue.Thread, NULL);
    io_uring_queue_exit(&HalpQueue.Ring);
}
