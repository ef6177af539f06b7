/*
 * preload.h - what the files of libntmm_malloc.so share. SPDX-License-Identifier: MIT
 *
 *   malloc.c   malloc and its family, over ExpMallocLike and ExpFreeLike of the pools
 *   ground.c   what the pools stand on here: threads, locks' sleeping, stops, start; the end of a thread
 *   pages.c    mm.h's runs of pages, over private memory of the process
 *   fork.c     fork with threads
 *   malloc.ld  where the code and the tables lie
 *
 * The pools (src/ex) are the library's own, unchanged, with all their checks. Below them stands no machine: nonpaged pool
 * is never paged out and needs no page tables, so, as NT on MIPS kept it in KSEG0, it is addressed directly. Its frames
 * are private anonymous memory of the process at fixed addresses: nothing faults into us, no signal handler is needed, no
 * mapping is made per run, and a fork copies on write by its nature. The rest of the kernel is not started and not linked.
 *
 * Rules: nothing here calls malloc, directly or by a C library function that might, with the one exception of
 * pthread_setspecific, which is called when the thread is attached already. errno is changed by failures only.
 *
 * A small process pays for each part of the C library that it touches: the host maps its code and constants 64 KiB at a time. What the
 * heap needs of the host it asks for by the machine's raw calls (hal/linux/sys.h), so that it touches none.
 */
#pragma once
#include "ex/exp.h"

/* The options, from NTMM_MALLOC_OPTIONS (ground.c). */
typedef struct _PRELOAD_OPTIONS {
    ULONG64 Ram;        /* bytes the heap may have */
    ULONG64 Seed;       /* of placement */
    BOOLEAN BareBlocks; /* verifier=none */
} PRELOAD_OPTIONS;
extern PRELOAD_OPTIONS PreloadOptions;

/* ground.c */
/* What lies in the thread's storage: one load tells the cache. No cache: not attached yet, or no more. */
extern _Thread_local KTHREAD PreloadThread __attribute__((tls_model("initial-exec")));
VOID PreloadFail(const CHAR *Format, ...) DECLSPEC_NORETURN __attribute__((format(printf, 1, 2))); /* a line, and the end */
VOID PreloadForkThreads(VOID); /* in the child: the thread that forked is the only one */

/* pages.c: before any other call of it. FALSE: the host gives no address space. */
BOOLEAN PreloadStartPages(VOID);
extern SIZE_T PreloadLimit; /* bytes of the pool's region; without end before the start */
VOID PreloadLockPages(BOOLEAN Lock);
