/*
 * fork.c - fork while other threads are in the middle of an allocation. SPDX-License-Identifier: MIT
 *
 * The heap is private memory, so the child has a copy and parent and child share nothing. The child has only the thread
 * that forked. Before the fork that thread takes every lock of the pools and of the pages, in their order, so that what
 * they guard is whole at the moment of the fork; parent and child let go afterwards.
 *
 * The caches of the other threads, which no lock guards, are left as they are in the child: their owners never run again.
 * Blocks of theirs can be freed, and are then kept for them; what was free in them at the fork is not used again.
 *
 * The handlers are registered when the library is loaded, before the program's own: they run last before the fork and
 * first after it, so that a program's handlers may use malloc.
 */
#include <pthread.h>
#include "preload/preload.h"

static KI_LOCK *const Locks[] = {&ExpState.AbandonLock, &ExpState.GhostLock, &ExpState.MapLock,   &ExpState.MetaLock,
                                 &ExpState.TagLock,     &ExpState.StackLock, &ExpState.QuotaLock, &ExpState.CacheLock};

static VOID Before(VOID)
{
    KiCurrentThread();
    PreloadLockAligned(TRUE);
    for (ULONG Index = 0; Index < ARRAYSIZE(Locks); Index++)
        KiAcquireLock(Locks[Index]);
    PreloadLockPages(TRUE);
}

static VOID After(VOID)
{
    PreloadLockPages(FALSE);
    for (ULONG Index = ARRAYSIZE(Locks); Index-- > 0;)
        KiReleaseLock(Locks[Index]);
    PreloadLockAligned(FALSE);
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
