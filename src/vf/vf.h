/*
 * vf.h - the Verifier: what it offers to the loader and the host. SPDX-License-Identifier: MIT
 *
 * What a driver may not do is checked where it does it: the pools, the kernel and io stop by themselves and consult
 * KeOptions.VerifierFlags. This layer adds what stands beside them: special pool, pool tracking, low resources simulation,
 * deadlock detection, and which driver is verified. It is reached through the seams that the layers below leave (variables of
 * ex/exp.h, ke/ki.h, mm/mm.h), never by calls up.
 */
#pragma once
#include "io/iop.h"
#include "ex/ex.h"

/* Windows' option bits. */
#define VF_SPECIAL_POOL     0x00000001u
#define VF_FORCE_IRQL       0x00000002u
#define VF_LOW_RESOURCES    0x00000004u
#define VF_POOL_TRACKING    0x00000008u
#define VF_IO               0x00000010u
#define VF_DEADLOCK         0x00000020u
#define VF_DMA              0x00000080u
#define VF_SECURITY         0x00000100u
#define VF_MISC             0x00000800u
#define VF_DDI              0x00020000u
#define VF_DDI_ADDITIONAL   0x00080000u
#define VF_CODE_INTEGRITY   0x02000000u
#define VF_INVARIANT_STACK  0x00002000u
#define VF_INVARIANT_DRIVER 0x00004000u
/* What may be turned on and off while drivers run, as on Windows 10 (docs/VERIFIER.md). */
#define VF_VOLATILE                                                                                                            \
    (VF_SPECIAL_POOL | VF_FORCE_IRQL | VF_LOW_RESOURCES | VF_POOL_TRACKING | VF_IO | VF_DEADLOCK | VF_DMA | VF_SECURITY |      \
     VF_MISC | VF_INVARIANT_STACK | VF_INVARIANT_DRIVER)
/* All that there are. */
#define VF_OPTIONS_KNOWN (VF_VOLATILE | VF_DDI | VF_DDI_ADDITIONAL | VF_CODE_INTEGRITY)

#define VF_TAGS 16u

/* Filled by the host before VfInitSystem. */
typedef struct _VF_OPTIONS {
    const CHAR *Drivers; /* names joined by '+'; NULL or "": all drivers */
    ULONG SpecialTag; /* 0, or Windows' PoolTag value: a tag, a size class below PAGE_SIZE + granule, or '*' for everything */
    BOOLEAN SpecialStart;                    /* blocks at the start of their page (underruns fault) instead of at its end */
    ULONG SampleInterval;                    /* one allocation in so many is special pool's; 0: none */
    ULONG SampleRate;                        /* at most so many a second in all, after a burst; 0: no bound */
    ULONG FaultProbability;                  /* of 10,000 */
    ULONG FaultTags[VF_TAGS], FaultTagCount; /* 0: all */
    ULONG FaultDelay;                        /* milliseconds from the start without faults */
} VF_OPTIONS;
extern VF_OPTIONS VfOptions;

NTSTATUS VfInitSystem(VOID); /* after ExInitSystem */
VOID VfShutdownSystem(VOID);
VOID VfEnable(VOID);  /* the system is up: the options take effect */
VOID VfDisable(VOID); /* it is about to go down */
/* Turns options on and off: KeOptions.VerifierFlags becomes Flags. STATUS_NOT_SUPPORTED: a bit outside VF_VOLATILE would change. */
NTSTATUS VfSetFlags(ULONG Flags);

typedef struct _VF_COUNTERS {
    ULONG Level;
    ULONG64 AllocationsAttempted, AllocationsSucceeded, AllocationsSucceededSpecialPool, AllocationsWithNoTag,
        AllocationsFailed, AllocationsFailedDeliberately, Sampled, SamplesLeftOut, SpecialPoolFull, Loads, Unloads;
    ULONG64 RaiseIrqls, AcquireSpinLocks, SynchronizeExecutions, TrimRequests, Trims; /* while any option was on */
} VF_COUNTERS;
VOID VfQueryCounters(VF_COUNTERS *Counters);
/* IRQL rules of routines (irqlrules.c). The border asks while VfIrqlRulesOn; Caller is the image's return address. */
extern volatile BOOLEAN VfIrqlRulesOn;
VOID VfCheckIrqlRule(const CHAR *Name, ULONG_PTR Caller);
LONG VfHighestIrql(const CHAR *Name); /* -1: no rule */
/* What the loader found in an image it has accepted; NULL: nothing of the kind. Stops if code integrity is on for it. */
typedef struct _VF_IMAGE_FACTS {
    const CHAR *Name;
    const VOID *WritableCode; /* header of the first section that is writable and executable */
    const CHAR *WritableCodeName;
    const VOID *ImportDirectory; /* of the import address table, if it lies in an executable section */
    const CHAR *ImportSectionName;
} VF_IMAGE_FACTS;
VOID VfCheckImage(const VF_IMAGE_FACTS *Image);
/* Of the last stop of deadlock detection (0xC4/0x1000 to 0x100B): which lock was acquired where while which other was held, the
 * stopped acquisition first, then the orders seen before that it closes a circle with. Of stops about one lock: where it was acquired;
 * Wanted is 0. Returns how many. */
#define VF_LOCK_STEPS 8u
typedef struct _VF_LOCK_STEP {
    ULONG_PTR Held, Wanted;
    ULONG Thread; /* its id */
    ULONG HeldFrames, WantedFrames;
    ULONG_PTR HeldStack[EXP_MAX_STACK], WantedStack[EXP_MAX_STACK];
} VF_LOCK_STEP;
ULONG VfReadLockOrder(VF_LOCK_STEP Steps[VF_LOCK_STEPS]);
/* What the last leak that was reported (0xC4/0x62) is made of, by the place that allocated: the largest VF_LEAK_PLACES places.
 * Returns how many. */
#define VF_LEAK_PLACES 16u
typedef struct _VF_LEAK_PLACE {
    ULONG Blocks, Tag, Frames;
    POOL_TYPE PoolType;
    SIZE_T Bytes;
    ULONG_PTR First; /* one of the blocks */
    ULONG_PTR Stack[EXP_MAX_STACK];
} VF_LEAK_PLACE;
ULONG VfReadLeak(VF_LEAK_PLACE Places[VF_LEAK_PLACES]);
/* At the system's end, with pool tracking: what drivers that were never unloaded, or a program without drivers, have not freed. While Tell
 * runs VfReadLeak has the places (none if the program held pool before the driver was loaded; Bytes are then all the program's). */
VOID VfReportLeft(VOID (*Tell)(const CHAR *Name, ULONG64 Blocks, ULONG64 Bytes));
/* Does the first of List, names that '+' joins, name the driver Name? Case, and ".sys" at the end of either, do not count. */
BOOLEAN VfNamesDriver(const CHAR *List, const CHAR *Name);
/* NULL, or the first broken invariant. A quiet system. */
const CHAR *VfValidate(VOID);
/* Does the image around Address import from one that IsVerified says is verified? Set by who has the loader; NULL: nobody imports. */
extern BOOLEAN (*VfImportsRoutine)(ULONG_PTR Address, BOOLEAN (*IsVerified)(ULONG_PTR Base));
