/*
 * script.h - what a test does with the scripted machine: time, failures, accesses, records.
 * SPDX-License-Identifier: MIT
 *
 * The scripted double implements hal.h over plain memory, without signals. Simulated addresses cannot be used
 * by C code there; a test reaches them through HalScriptAccess, which is the machine's processor: it looks
 * into the modelled TLB, walks the tables on a miss, makes the PageFault upcall when they do not permit the
 * access, and tries again. The kernel's range lies in the upper half (bit 63 set), unlike that of the Linux
 * machine, so that a core which assumes either shows. Time stands still until the test moves it. Everything
 * is the same in every run.
 */
#pragma once
#include <ntdef.h>
#include "hal/hal.h"

/* One kind per call of hal.h. */
typedef enum _HAL_SCRIPT_KIND {
    HalScriptStartMachine, /* can fail: STATUS_NO_MEMORY */
    HalScriptStopMachine,
    HalScriptSetRootTable,
    HalScriptActivateAddressSpace,
    HalScriptFlushTb,
    HalScriptFlushEntireTb,
    HalScriptRevokeTb,
    HalScriptFillTb, /* can fail: STATUS_NO_MEMORY */
    HalScriptQueryTb,
    HalScriptTranslate,
    HalScriptProbeHostMemory, /* can fail: FALSE */
    HalScriptZeroPages,
    HalScriptDiscardPages,
    HalScriptSetCurrentThread, /* can fail: STATUS_INSUFFICIENT_RESOURCES */
    HalScriptSetPcr,
    HalScriptCreateThread, /* can fail: STATUS_INSUFFICIENT_RESOURCES */
    HalScriptJoinThread,
    HalScriptQueryStack,
    HalScriptExitThread,
    HalScriptWait, /* can fail: the deadline passed */
    HalScriptWake,
    HalScriptYield,
    HalScriptQueryTime,
    HalScriptQuerySystemTime,
    HalScriptSetClock,
    HalScriptQueryEntropy,
    HalScriptPrint,
    HalScriptHalt,
    HalScriptCaptureStack,    /* can fail: 0 frames */
    HalScriptUnwindFrame,     /* can fail: FALSE */
    HalScriptOpenBlockDevice, /* can fail: STATUS_DISK_FULL */
    HalScriptCloseBlockDevice,
    HalScriptGrowBlockDevice, /* can fail: STATUS_DISK_FULL */
    HalScriptSubmitIo,        /* transfers fail by HalInjectIoFault */
    HalScriptTransferIo,
    HalScriptKinds
} HAL_SCRIPT_KIND;

/* Calls of a kind since HalScriptReset. */
ULONG64 HalScriptCalls(HAL_SCRIPT_KIND Kind);
/* The arguments of the latest call of a kind, integers and pointers as they come; TRUE if there was one. */
BOOLEAN HalScriptLastCall(HAL_SCRIPT_KIND Kind, ULONG64 Arguments[3]);
/* The Nth call of the kind from now on fails (1: the next), once; 0 takes it back. */
VOID HalScriptFail(HAL_SCRIPT_KIND Kind, ULONG64 Nth);
/* Forgets counts, failures, console text; time goes back to its beginning. Not while a machine runs. */
VOID HalScriptReset(VOID);

/* Moves time. Deadlines on the way are met in order: the Clock upcall is made on the calling thread (which is
 * attached for it if it is not), waits whose deadline has passed end. */
VOID HalScriptAdvanceTime(ULONG64 Nanoseconds);
/* How many threads are blocked in HalWait: when a test may advance time. */
ULONG HalScriptWaiters(VOID);

/* An access of Length bytes within a page or across pages, as a processor makes it: kernel mode, or user mode
 * with HAL_SCRIPT_USER. FALSE if the core gave it up, by changing Rip in the trap frame. */
#define HAL_SCRIPT_READ  0x00u
#define HAL_SCRIPT_WRITE 0x02u
#define HAL_SCRIPT_USER  0x04u
#define HAL_SCRIPT_FETCH 0x10u
BOOLEAN HalScriptAccess(ULONG_PTR Va, SIZE_T Length, ULONG Access, PVOID Buffer);
/* A trap of another kind; returns Rip as the core left it, given what it was. */
ULONG64 HalScriptTrap(ULONG64 Vector, ULONG64 ErrorCode, ULONG64 Rip);

/* Makes up to Count of the transfers submitted that are due, oldest first, with their upcalls on the calling thread; returns
 * how many. Transfers wait for this; HalScriptPendingIo says how many do. */
ULONG HalScriptRunIo(ULONG Count);
ULONG HalScriptPendingIo(VOID);

/* The console's text since the last reset, terminated. Halt calls Hook (which may jump away) before it
 * aborts. */
const CHAR *HalScriptPrinted(VOID);
VOID HalScriptOnHalt(VOID (*Hook)(VOID));
/* What HalSetPcr set for the calling thread. */
PVOID HalScriptPcr(VOID);
