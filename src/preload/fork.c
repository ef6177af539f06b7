/*
 * fork.c - fork while other threads are in the middle of an allocation. SPDX-License-Identifier: MIT
 *
 * The heap is private memory, so the child has a copy and parent and child share nothing. The child has only the thread
 * that forked. Before the fork that thread takes every lock of the pools and of the pages, in their order, so that what
 * they guard is whole at the moment of the fork; parent and child let go afterwards.
 *
 * The caches of the other threads, which no lock guards, are left as they are in the child: their owners never run again.
 * What was free in them at the fork is not used again.
 *
 * The handlers are registered when the library is loaded, before the program's own: they run last before the fork and
 * first after it, so that a program's handlers may use malloc.
 */
#include <pthread.h>
#include "preload/preload.h"

static VOID Before(VOID)
{
    KiCurrentThread();
    ExpLockPools(TRUE);
    PreloadLockPages(TRUE);
}

static VOID After(VOID)
{
    PreloadLockPages(FALSE);
    ExpLockPools(FALSE);
}

static VOID InChild(VOID)
{
    After();
    PreloadForkThreads();
}

__attribute__((constructor)) static VOID RegisterFork(VOID)
{
    pthread_atfork(Before, After, InChild);
}
