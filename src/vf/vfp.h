/*
 * vfp.h - the Verifier's private face. SPDX-License-Identifier: MIT
 */
#pragma once
#include "vf/vf.h"
#include "ex/exp.h"

extern VF_COUNTERS ViCounters;
#define VI_COUNT(Field) __atomic_add_fetch(&ViCounters.Field, 1, __ATOMIC_RELAXED)

/* driver.c */
typedef struct _VI_DRIVER {
    struct _VI_DRIVER *Next;
    PDRIVER_OBJECT Object; /* while it is loaded */
    ULONG64 BlocksBefore;  /* the program's blocks when it was loaded */
    ULONG64 LocksBefore;   /* MDLs locked until then */
    ULONG_PTR Base;
    SIZE_T Size;
    BOOLEAN Verified, Loaded;
    volatile BOOLEAN Leaving; /* DriverUnload has returned */
    CHAR Name[64];
} VI_DRIVER;
VOID ViInitDrivers(VOID);
VOID ViStopDrivers(VOID);
/* The driver whose code an address is: an image, or the program, which is all that is no image. */
VI_DRIVER *ViDriverOf(ULONG_PTR Address);
const CHAR *ViNameOfCode(ULONG_PTR Address); /* of a source driver only if one is loaded; else "program" */
/* Who called a routine, given its return address: over the border when an image did. */
ULONG_PTR ViCallerOf(ULONG_PTR ReturnAddress);
BOOLEAN ViNameIsChosen(const CHAR *Name);
/* Whether some drivers are not verified; and whether the driver nearest on the calling thread's stack is. */
BOOLEAN ViOthersUnseen(VOID);
BOOLEAN ViIsCallerVerified(VOID);

/* special.c */
NTSTATUS ViInitSpecialPool(VOID);
VOID ViStopSpecialPool(VOID);
/* A block, or NULL: special pool is full. Strict: the Verifier asked, so its own stops are made for it; else it is a sample. */
PVOID ViAllocateSpecial(const EXP_REQUEST *Request, BOOLEAN Strict);
BOOLEAN ViIsSpecialRequest(const EXP_REQUEST *Request);
const CHAR *ViValidateSpecialPool(VOID);

/* fail.c */
VOID ViSetFaults(BOOLEAN On);
/* execute.c */
VOID ViSetCodeIntegrity(BOOLEAN On);
/* deadlock.c */
VOID ViSetDeadlockDetection(BOOLEAN On);
VOID ViCheckLocksFreed(const VOID *Block, SIZE_T Size);
VOID ViForgetLocks(ULONG_PTR Base, SIZE_T Size); /* an image that goes */
const CHAR *ViValidateDeadlock(VOID);
/* security.c */
VOID ViSetSecurityChecks(BOOLEAN On);
VOID ViSetObjectChecks(BOOLEAN On);
/* left.c */
VOID ViSetLockTracking(BOOLEAN On);
VOID ViResetLeft(VOID);
ULONG64 ViLocksMade(VOID);
VOID ViAwaitThreads(const VI_DRIVER *Driver);
VOID ViCheckLeft(const VI_DRIVER *Driver);
/* misc.c */
VOID ViCheckContents(PVOID Block, SIZE_T Size, ULONG Tag, EXP_KIND Kind);
