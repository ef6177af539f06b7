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
 * The handlers must come before the program's own: then they run last before the fork and first after it, and a program's handlers
 * may use malloc. But the C library's list of handlers lies in a part of it that a process which does not fork touches for nothing
 * else (preload.h). So they are registered when the program first registers handlers of its own (pthread_atfork calls
 * __register_atfork), or forks: by fork, or by the two routines of the C library that fork with handlers. Those names are
 * exported, and go on to the C library's.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <pty.h>
#include <unistd.h>
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

/* The form of the C library that no name of ours stands before; it knows no library that is unloaded, which this one is not. */
extern int HostAtFork(VOID (*Prepare)(VOID), VOID (*Parent)(VOID), VOID (*Child)(VOID));
__asm__(".symver HostAtFork, pthread_atfork@GLIBC_2.2.5");

static VOID WatchForks(VOID)
{
    static volatile ULONG State; /* 0, 1: somebody is at it, 2: done */
    ULONG Expected = 0;
    if (__atomic_load_n(&State, __ATOMIC_ACQUIRE) == 2)
        return;
    if (__atomic_compare_exchange_n(&State, &Expected, 1, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        HostAtFork(Before, After, InChild);
        __atomic_store_n(&State, 2, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&State, __ATOMIC_ACQUIRE) != 2)
        HalYield();
}

#define EXPORT __attribute__((visibility("default"), used))
EXPORT int __register_atfork(VOID (*Prepare)(VOID), VOID (*Parent)(VOID), VOID (*Child)(VOID), PVOID Library);
EXPORT pid_t fork(VOID);
EXPORT int daemon(int KeepFolder, int KeepFiles);
EXPORT int forkpty(int *Master, char *Name, const struct termios *Terminal, const struct winsize *Size);

int __register_atfork(VOID (*Prepare)(VOID), VOID (*Parent)(VOID), VOID (*Child)(VOID), PVOID Library)
{
    int (*Next)(VOID(*)(VOID), VOID(*)(VOID), VOID(*)(VOID), PVOID) = dlsym(RTLD_NEXT, "__register_atfork");
    WatchForks();
    return Next(Prepare, Parent, Child, Library);
}

extern pid_t __fork(VOID);
pid_t fork(VOID)
{
    WatchForks();
    return __fork();
}

int daemon(int KeepFolder, int KeepFiles)
{
    int (*Next)(int, int) = dlsym(RTLD_NEXT, "daemon");
    WatchForks();
    return Next(KeepFolder, KeepFiles);
}

int forkpty(int *Master, char *Name, const struct termios *Terminal, const struct winsize *Size)
{
    int (*Next)(int *, char *, const struct termios *, const struct winsize *) = dlsym(RTLD_NEXT, "forkpty");
    WatchForks();
    return Next(Master, Name, Terminal, Size);
}
