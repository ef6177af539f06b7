/*
 * ioqueue.c - transfers through io_uring (liburing). SPDX-License-Identifier: MIT
 *
 * One ring, and one thread that alone touches it: it writes the entries, takes the completions and makes the upcalls. Who
 * submits puts the transfer on a list and, if the thread sleeps in the ring, wakes it by an event that the ring reads. A transfer
 * that moved less than asked goes back into the ring at once. More transfers under way than the ring has entries are no matter:
 * entries are free again once submitted, and the kernel keeps completions that find the ring full.
 *
 *      HalpQueueSubmit --> Incoming (a stack; the thread turns it round) --> entries --> the kernel --> completions --> IoDone
 *                 `--(Asleep)--> Event --------------------------------------------------^
 *
 * One thread, because of how the kernel completes: it does that on the thread that submitted, which it interrupts, or wakes, for
 * it. A thread that faults, or the writer, would be woken in vain for each of its transfers, and the thread that takes completions
 * after it. A ring of one thread (DEFER_TASKRUN, where the kernel has that) completes where it is waited for; and the pinning
 * of pages and the talk to the device, which the kernel does at submission, cost the faulting thread nothing.
 *
 * A host without io_uring, or a container that forbids it, shows when the ring is made; a ring that can be made and does not
 * work (some sandboxes), when the first entry is tried: HalpStartQueue then says no, and the caller uses threads.
 *
 * Lock: none. Incoming and Asleep: the thread says Asleep and then looks at Incoming, who submits puts it there and then looks at
 * Asleep, so one of them sees the other. Tests: tests/hal/block.c, linux_block.c.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "hal/linux/block.h"

#define RING_ENTRIES 256u
#define BATCH        32u

static struct {
    struct io_uring Ring;
    pthread_t Thread;
    HAL_IO *volatile Incoming;
    volatile LONG Asleep, Stop;
    volatile LONG State; /* of the start: 0 under way, 1 works, 2 does not */
    int Event;
    ULONG64 EventValue;
} HalpQueue;
static _Thread_local BOOLEAN HalpIsQueueThread;

static VOID HalpWakeQueue(VOID)
{
    if (__atomic_load_n(&HalpQueue.Asleep, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&HalpQueue.Asleep, 0, __ATOMIC_SEQ_CST)) {
        static const ULONG64 One = 1;
        (VOID) HalpSyscall(SYS_write, (ULONG64)HalpQueue.Event, (ULONG64)&One, sizeof(One), 0, 0, 0);
    }
}

VOID HalpQueueSubmit(HAL_IO *Io)
{
    HAL_IO *First = __atomic_load_n(&HalpQueue.Incoming, __ATOMIC_RELAXED);
    do {
        HalpIoState(Io)->Next = First;
    } while (!__atomic_compare_exchange_n(&HalpQueue.Incoming, &First, Io, TRUE, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    if (!HalpIsQueueThread) { /* it looks before it sleeps */
        HalpWakeQueue();
    }
}

/* ---- the thread ---- */
static struct io_uring_sqe *HalpTakeEntry(VOID)
{
    struct io_uring_sqe *Entry;
    while ((Entry = io_uring_get_sqe(&HalpQueue.Ring)) == NULL) {
        (VOID) io_uring_submit(&HalpQueue.Ring);
    }
    return Entry;
}

static VOID HalpQueueTransfer(HAL_IO *Io)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    const struct iovec *Vector = (const struct iovec *)(PVOID)&Io->Spans[State->First];
    ULONG Count = Io->SpanCount - State->First;
    struct io_uring_sqe *Entry = HalpTakeEntry();
    if (Io->Write) {
        io_uring_prep_writev(Entry, Io->Device->File, Vector, Count, Io->Offset + Io->Information);
    } else {
        io_uring_prep_readv(Entry, Io->Device->File, Vector, Count, Io->Offset + Io->Information);
    }
    io_uring_sqe_set_data(Entry, Io);
}

/* Entries for all that came in, in the order in which it came. */
static VOID HalpTakeIncoming(VOID)
{
    HAL_IO *Io = __atomic_exchange_n(&HalpQueue.Incoming, NULL, __ATOMIC_SEQ_CST), *Oldest = NULL;
    while (Io) {
        HAL_IO *Next = HalpIoState(Io)->Next;
        HalpIoState(Io)->Next = Oldest;
        Oldest = Io;
        Io = Next;
    }
    for (HAL_IO *Next; Oldest; Oldest = Next) {
        Next = HalpIoState(Oldest)->Next;
        HalpQueueTransfer(Oldest);
    }
}

static VOID HalpListenForEvent(VOID)
{
    struct io_uring_sqe *Entry = HalpTakeEntry();
    io_uring_prep_read(Entry, HalpQueue.Event, &HalpQueue.EventValue, sizeof(HalpQueue.EventValue), 0);
    io_uring_sqe_set_data(Entry, &HalpQueue);
}

/* Submits what there are entries for, and waits for a completion unless something came in meanwhile. */
static VOID HalpEnterRing(VOID)
{
    __atomic_store_n(&HalpQueue.Asleep, 1, __ATOMIC_SEQ_CST);
    BOOLEAN Idle = __atomic_load_n(&HalpQueue.Incoming, __ATOMIC_SEQ_CST) == NULL;
    int Result = io_uring_submit_and_wait(&HalpQueue.Ring, Idle ? 1 : 0);
    __atomic_store_n(&HalpQueue.Asleep, 0, __ATOMIC_SEQ_CST);
    if (Result < 0 && Result != -EINTR) {
        HalYield(); /* the kernel is short of something: completions give it back */
    }
}

static VOID HalpTakeCompletions(VOID)
{
    struct io_uring_cqe *Entries[BATCH];
    struct {
        PVOID Data;
        int Result;
    } Done[BATCH];
    unsigned Count = io_uring_peek_batch_cqe(&HalpQueue.Ring, Entries, BATCH);
    for (unsigned Index = 0; Index < Count; Index++) {
        Done[Index].Data = io_uring_cqe_get_data(Entries[Index]);
        Done[Index].Result = Entries[Index]->res;
    }
    io_uring_cq_advance(&HalpQueue.Ring, Count);
    for (unsigned Index = 0; Index < Count; Index++) {
        HAL_IO *Io = (HAL_IO *)Done[Index].Data;
        int Result = Done[Index].Result;
        if (Done[Index].Data == &HalpQueue) {
            HalpListenForEvent();
        } else if (Result == -EINTR || Result == -EAGAIN || HalpAdvance(Io, Result)) {
            HalpQueueTransfer(Io);
        } else {
            HalpFinishIo(Io);
        }
    }
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

static BOOLEAN HalpMakeRing(VOID)
{
    static const unsigned Flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0};
    for (ULONG Index = 0; Index < ARRAYSIZE(Flags); Index++) { /* older kernels refuse flags that they do not know */
        if (io_uring_queue_init(RING_ENTRIES, &HalpQueue.Ring, Flags[Index]) >= 0) {
            if (HalpTryRing()) {
                return TRUE;
            }
            io_uring_queue_exit(&HalpQueue.Ring);
        }
    }
    return FALSE;
}

static PVOID HalpQueueThread(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    BOOLEAN Works = HalpMakeRing(); /* a ring is the thread's that makes it */
    __atomic_store_n(&HalpQueue.State, Works ? 1 : 2, __ATOMIC_RELEASE);
    HalWake(&HalpQueue.State, 1);
    if (!Works) {
        return NULL;
    }
    HalpIsQueueThread = TRUE;
    HalpListenForEvent();
    while (!__atomic_load_n(&HalpQueue.Stop, __ATOMIC_SEQ_CST)) {
        HalpTakeIncoming();
        HalpEnterRing();
        HalpTakeCompletions();
    }
    io_uring_queue_exit(&HalpQueue.Ring);
    HalpLeaveIoThread();
    return NULL;
}

NTSTATUS HalpStartQueue(VOID)
{
    memset(&HalpQueue, 0, sizeof(HalpQueue));
    HalpQueue.Event = eventfd(0, EFD_CLOEXEC);
    if (HalpQueue.Event < 0) {
        return STATUS_NOT_SUPPORTED;
    }
    if (!HalpStartHostThread(&HalpQueue.Thread, HalpQueueThread)) {
        close(HalpQueue.Event);
        return STATUS_NOT_SUPPORTED;
    }
    while (__atomic_load_n(&HalpQueue.State, __ATOMIC_ACQUIRE) == 0) {
        (VOID) HalWait(&HalpQueue.State, 0, HAL_FOREVER);
    }
    if (HalpQueue.State == 2) {
        pthread_join(HalpQueue.Thread, NULL);
        close(HalpQueue.Event);
        return STATUS_NOT_SUPPORTED;
    }
    return STATUS_SUCCESS;
}

VOID HalpStopQueue(VOID)
{
    __atomic_store_n(&HalpQueue.Stop, 1, __ATOMIC_SEQ_CST);
    static const ULONG64 One = 1;
    (VOID) HalpSyscall(SYS_write, (ULONG64)HalpQueue.Event, (ULONG64)&One, sizeof(One), 0, 0, 0);
    pthread_join(HalpQueue.Thread, NULL);
    close(HalpQueue.Event);
}
