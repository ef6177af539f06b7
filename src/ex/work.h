/*
 * work.h - worker threads, kernel stacks and resources, for the layers above ex. SPDX-License-Identifier: MIT
 */
#pragma once
#include "mm/mm.h"

/* Queues an item to the worker threads, as ExQueueWorkItem does, for the core's own use. IRQL <= DISPATCH_LEVEL. */
VOID ExpQueueWork(PWORK_QUEUE_ITEM Item, WORK_QUEUE_TYPE Type);
/* Returns when the worker threads have nothing to do and nothing is queued. PASSIVE_LEVEL, not from a worker. */
VOID ExpDrainWork(VOID);
/* Pages of the kernel stacks that worker threads have. How many workers there are depends on how long items had to wait. */
SIZE_T ExpWorkerStackPages(VOID);
/* NULL, or the first broken invariant of the work queue. */
const CHAR *ExpValidateWork(VOID);

/* A kernel stack: pinned, resident pages with a guard page below. NULL: none to be had. */
PVOID ExpAllocateKernelStack(SIZE_T *Bytes);
VOID ExpFreeKernelStack(PVOID Stack, SIZE_T Bytes);

const CHAR *ExpValidateResource(PERESOURCE Resource);
