/*
 * iopool.c - a pool of threads that make blocking transfers. SPDX-License-Identifier: MIT
 *
 * One queue, ordered by the time a transfer is due (0: at once, so that those keep their order), and a few threads that take
 * from its front. It is the engine where io_uring is not to be had, and beside io_uring the place (one thread then) for
 * transfers that do not go the ordinary way: those a test has fail or come late, and those refused.
 *
 * Lock: HalpPool.Lock; not held across a transfer or an upcall. Tests: tests/hal/block.c, linux_block.c.
 */
#include <pthread.h>
#include <string.h>
#include <time.h>
#include "hal/linux/block.h"

#define MAX_THREADS 8u

static struct {
    pthread_mutex_t Lock;
    pthread_cond_t Work;
    HAL_IO *First;
    BOOLEAN Stop;
    ULONG Count;
    pthread_t Threads[MAX_THREADS];
} HalpPool = {.Lock = PTHREAD_MUTEX_INITIALIZER};

static PVOID HalpPoolThread(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    pthread_mutex_lock(&HalpPool.Lock);
    for (;;) {
        HAL_IO *Io = HalpPool.First;
        if (Io == NULL) {
            if (HalpPool.Stop) {
                break;
            }
            pthread_cond_wait(&HalpPool.Work, &HalpPool.Lock);
            continue;
        }
        ULONG64 Due = HalpIoState(Io)->Due;
        if (Due != 0 && Due > HalQueryTime()) {
            struct timespec Until = {.tv_sec = (time_t)(Due / 1000000000u), .tv_nsec = (long)(Due % 1000000000u)};
            pthread_cond_timedwait(&HalpPool.Work, &HalpPool.Lock, &Until);
            continue;
        }
        HalpPool.First = HalpIoState(Io)->Next;
        pthread_mutex_unlock(&HalpPool.Lock);
        HalpTransferLate(Io);
        HalpFinishIo(Io);
        pthread_mutex_lock(&HalpPool.Lock);
    }
    pthread_mutex_unlock(&HalpPool.Lock);
    HalpLeaveIoThread();
    return NULL;
}

VOID HalpPoolSubmit(HAL_IO *Io)
{
    pthread_mutex_lock(&HalpPool.Lock);
    HAL_IO **Link = &HalpPool.First;
    while (*Link != NULL && HalpIoState(*Link)->Due <= HalpIoState(Io)->Due) {
        Link = &HalpIoState(*Link)->Next;
    }
    HalpIoState(Io)->Next = *Link;
    *Link = Io;
    pthread_mutex_unlock(&HalpPool.Lock);
    pthread_cond_signal(&HalpPool.Work);
}

NTSTATUS HalpStartPool(ULONG Threads)
{
    pthread_condattr_t Attributes;
    pthread_condattr_init(&Attributes);
    pthread_condattr_setclock(&Attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&HalpPool.Work, &Attributes);
    pthread_condattr_destroy(&Attributes);
    HalpPool.Stop = FALSE;
    HalpPool.First = NULL;
    for (HalpPool.Count = 0; HalpPool.Count < Threads; HalpPool.Count++) {
        if (!HalpStartHostThread(&HalpPool.Threads[HalpPool.Count], HalpPoolThread)) {
            HalpStopPool();
            return STATUS_INSUFFICIENT_RESOURCES;
        }
    }
    return STATUS_SUCCESS;
}

VOID HalpStopPool(VOID)
{
    pthread_mutex_lock(&HalpPool.Lock);
    HalpPool.Stop = TRUE;
    pthread_mutex_unlock(&HalpPool.Lock);
    pthread_cond_broadcast(&HalpPool.Work);
    for (ULONG Index = 0; Index < HalpPool.Count; Index++) {
        pthread_join(HalpPool.Threads[Index], NULL);
    }
    HalpPool.Count = 0;
    pthread_cond_destroy(&HalpPool.Work);
}
