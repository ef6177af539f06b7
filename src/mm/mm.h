/*
 * mm.h - what the memory manager offers to the layers above it. Its own structures are in mi.h;
 * driver-visible declarations in include/nt/wdm/mm.h. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ke/ki.h"

/* The kernel's regions, in the order `ntmm map` shows them. Each has a limit, grows on demand, and says no
 * when its address space, commit or RAM is used up. */
typedef enum _MM_REGION {
    MmRegionNone,         /* not an address of the simulated ranges */
    MmRegionNonPagedPool, /* resident, NX unless asked */
    MmRegionPagedPool,    /* demand zero, pageable */
    MmRegionSystemPtes,   /* MDL and I/O mappings */
    MmRegionSpecialPool,
    MmRegionPagedSpecialPool, /* pageable */
    MmRegionDriverImages,
    MmRegionKernelStacks, /* resident and pinned; a guard page below each */
    MmRegionSystemData,   /* the core's own tables (pool metadata and the like): resident, NX */
    MmRegionUser,         /* the user range */
    MmRegionMaximum
} MM_REGION;

typedef struct _MM_REGION_INFO {
    MM_REGION Region;
    const CHAR *Name;
    ULONG_PTR Base, End; /* address space */
    ULONG64 PagesInUse, PeakPages, PageLimit, Failures;
} MM_REGION_INFO;

/* After KeInitSystem. STATUS_NO_MEMORY: RAM smaller than the system needs. */
NTSTATUS MmInitSystem(const HAL_RUN *Runs, ULONG RunCount);
VOID MmShutdownSystem(VOID);
/* The balance manager and its threads; after KeInitThreads. Without them whoever needs pages does their work. */
NTSTATUS MmStartPaging(VOID);
/* vf, NULL without pool tracking: an MDL was locked (Pages) or unlocked (0); a process ends while pages of it are locked. */
extern VOID (*MmTrackLocksRoutine)(PMDL Mdl, SIZE_T Pages, const VOID *Caller);
extern VOID (*MmLockedAtExitRoutine)(PVOID Process);
BOOLEAN MmIsPageableAddress(const VOID *Address); /* of pool, images, user memory; kernel stacks are not told. Any IRQL */
VOID MmStopPaging(VOID);
/* Every working set is emptied; PurgeTransition as for MmTrimAllSystemPageableMemory. IRQL <= APC_LEVEL. */
VOID MmEmptyAllWorkingSets(BOOLEAN PurgeTransition);
/* Set by vf: the bug check for a touch of an address of special pool that is not there, by a driver's code or not; 0: nothing is
 * known about it. Any IRQL. */
extern ULONG (*MmSpecialFaultRoutine)(ULONG_PTR Address, BOOLEAN Driver);
VOID MmQueryRegion(MM_REGION Region, MM_REGION_INFO *Info);
MM_REGION MmRegionOf(const volatile VOID *Va);

/* Runs of pages in a region. Returned memory is mapped: resident regions have frames behind every page, as
 * contiguous as they come; paged ones are demand zero and only commit is charged. NULL when address space,
 * commit or RAM is used up. IRQL <= DISPATCH_LEVEL. */
#define MM_PAGES_EXECUTE 0x1u /* executable; else NX */
#define MM_PAGES_ZERO    0x2u /* contents are zero (paged runs always are) */
#define MM_PAGES_RESERVE 0x4u /* address space only: no frames, no commit; MmCommitPages later */
#define MM_PAGES_PINNED  0x8u /* pinned in the host's TB: never faults (kernel stacks) */
/* For MmCommitPages: what commits at another priority than the highest. */
#define MM_PAGES_PRIORITY(Priority) ((ULONG)(HighPoolPriority - ((ULONG)(Priority)&0x30u)) << 8)
/* The NUMA node that frames are wanted from; without it, that of the thread that allocates (resident pages) or touches them first
 * (pageable ones). The nearest that has frames serves where that one has none, but (resident pages) with MM_PAGES_NODE_ONLY. Not with
 * MM_PAGES_RESERVE. */
#define MM_PAGES_NODE(Node) (((ULONG)(Node) + 1u) << 16)
#define MM_PAGES_NODE_ONLY  0x20u
#define MM_PAGES_NO_RECLAIM 0x10u /* fails rather than ask MmReclaimRoutine: for whoever holds a lock of the pools */
/* Set by ex: gives back pages that the layers above keep without need; returns how many. Asked when pages run out, at the
 * caller's IRQL, with no lock held. */
extern SIZE_T (*MmReclaimRoutine)(VOID);
/* Gives the memory of up to so many free frames back to the host; they are zeroed frames then. Returns how many. Any IRQL. */
ULONG64 MmDiscardFreePages(ULONG64 Pages);
PVOID MmAllocatePages(MM_REGION Region, SIZE_T Pages, ULONG Flags, EX_POOL_PRIORITY Priority);
VOID MmFreePages(PVOID Va, SIZE_T Pages);
/* Backs part of a reserved run (frames, or demand zero); takes the backing away again. */
NTSTATUS MmCommitPages(PVOID Va, SIZE_T Pages, ULONG Flags);
VOID MmDecommitPages(PVOID Va, SIZE_T Pages);
/* PAGE_NOACCESS, PAGE_READONLY, PAGE_READWRITE, PAGE_EXECUTE_READ... on committed pages; flushes. */
NTSTATUS MmProtectPages(PVOID Va, SIZE_T Pages, ULONG Protection);
/* Copies to or from managed memory of any kind and protection without faulting (pages in what is pageable).
 */
NTSTATUS MmCopyToManaged(PVOID Va, const VOID *Source, SIZE_T Length);
NTSTATUS MmCopyFromManaged(VOID *Target, const VOID *Va, SIZE_T Length);
/* User memory in the calling thread's address space: zeroed, committed, demand zero; freed from anywhere. IRQL <= APC_LEVEL. */
PVOID MmAllocateUserPages(SIZE_T Pages, ULONG Protection);
VOID MmFreeUserPages(PVOID Va, SIZE_T Pages);

/* Address spaces. PASSIVE_LEVEL. Create: STATUS_NO_MEMORY, STATUS_INSUFFICIENT_RESOURCES (every slice of the user range is taken).
 * Clean frees everything in it (no thread uses it any more); Delete then gives back its tables. */
struct _KPROCESS;
typedef struct _MI_SPACE *PMM_SPACE;
NTSTATUS MmCreateAddressSpace(struct _KPROCESS *Process, PMM_SPACE *Space);
VOID MmCleanAddressSpace(PMM_SPACE Space);
VOID MmDeleteAddressSpace(PMM_SPACE Space);
PMM_SPACE MmSystemSpace(struct _KPROCESS *Process); /* the System process's, which is Process from now on */
PHAL_ADDRESS_SPACE MmHalSpace(PMM_SPACE Space);
ULONG64 MmLockedPagesOf(PMM_SPACE Space); /* that MDLs hold */
typedef struct _MM_SPACE_INFO {
    ULONG_PTR Low, High;
    PFN_NUMBER Root;
    ULONG64 VirtualBytes, PeakVirtualBytes, CommittedPages, PeakCommitted, LockedPages;
} MM_SPACE_INFO;
VOID MmQuerySpace(PMM_SPACE Space, MM_SPACE_INFO *Info);
/* A driver's image in MmRegionDriverImages, as the loader describes it (image.c). The record is the loader's; it stays from
 * MmRegisterImage to MmDeregisterImage. */
typedef struct _MM_IMAGE_SECTION {
    ULONG Rva, Pages;
    BOOLEAN AtLink;                /* pageable as linked */
    BOOLEAN Pageable, Paged, Gone; /* mm's */
    ULONG Locks;                   /* mm's */
} MM_IMAGE_SECTION;
typedef struct _MM_IMAGE {
    LIST_ENTRY Links; /* mm's */
    PUCHAR Base;
    SIZE_T Size;
    BOOLEAN Overridden; /* mm's: MmPageEntireDriver */
    ULONG Count;
    MM_IMAGE_SECTION Sections[];
} MM_IMAGE, *PMM_IMAGE;
/* The pages of every section are committed and have their contents and protection. What is pageable may leave RAM from now on.
 * PASSIVE_LEVEL. */
VOID MmRegisterImage(PMM_IMAGE Image);
/* Before its pages are freed. PASSIVE_LEVEL. */
VOID MmDeregisterImage(PMM_IMAGE Image);
/* Gives the pages of the section at Rva back for good. PASSIVE_LEVEL. */
VOID MmDiscardImageSection(PMM_IMAGE Image, ULONG Rva);
/* Set by the host layer: the first address of the ELF object that holds an address of host memory, or NULL. */
extern PVOID (*MiHostImageRoutine)(PVOID Address);

/* Set by the Verifier while code integrity is on (else NULL): told of executable mappings that drivers ask for. Type is the subcode of
 * 0xC4; Caller a return address. Defined in mdlmap.c. */
extern VOID (*MiVerifyExecuteRoutine)(ULONG Type, ULONG_PTR Caller, ULONG_PTR Value);

/* Set by the Verifier: the name of the driver that an address of code belongs to; it stays until the system stops. Any IRQL. */
extern const CHAR *(*MmDriverNameRoutine)(ULONG_PTR Code);

/* Conditions of memory, one notification event each in \KernelObjects (condition.c; ob makes the objects). */
typedef enum _MM_CONDITION {
    MmLowMemory,
    MmHighMemory,
    MmLowPagedPool,
    MmHighPagedPool,
    MmLowNonPagedPool,
    MmHighNonPagedPool,
    MmLowCommit,
    MmHighCommit,
    MmMaximumCommit,
    MmConditions
} MM_CONDITION;
/* The events to set and clear from now on (MmConditions of them, notification events), brought up to date before it returns;
 * NULL: none any longer, and nobody is still about to touch one when it returns. PASSIVE_LEVEL. */
VOID MmSetConditionEvents(const PKEVENT *Events);
/* A bit (1 << MM_CONDITION) for each condition that holds. */
ULONG MmQueryConditions(VOID);
/* Mappings in system PTEs, one a call, while the result (pages) is not 0; *Cursor begins at 0. */
typedef struct _MM_MAPPING_INFO {
    ULONG_PTR Va;
    ULONG64 Pages;
    const CHAR *Kind;
    PMDL Mdl;
    ULONG CallerCount;
    ULONG_PTR Callers[8]; /* innermost first */
} MM_MAPPING_INFO;
ULONG64 MmQueryMappings(ULONG *Cursor, MM_MAPPING_INFO *Info);
/* MmProbeAndLockPages for the layers above, with what it would raise as a status. */
NTSTATUS MmLockMdl(PMDL Mdl, KPROCESSOR_MODE AccessMode, LOCK_OPERATION Operation);

/* A NUMA node: frames by what they are. FALSE: there is no such node. Any IRQL. */
typedef struct _MM_NODE_INFO {
    PFN_NUMBER First, End;                                /* frame numbers */
    ULONG64 Pages;                                        /* frames of RAM, without the core's own */
    ULONG64 Zeroed, Free, Standby, Modified, Active, Bad; /* Active: in use in any way */
    ULONG64 Hits, Misses; /* frames wanted from it that it gave; that another gave (with one node: 0) */
} MM_NODE_INFO;
BOOLEAN MmQueryNode(ULONG Node, MM_NODE_INFO *Info);
ULONG MmNodeOfPage(PFN_NUMBER Page); /* any frame number has one */

/* Is there RAM or device memory at the page? */
BOOLEAN MmIsPhysicalMemory(PFN_NUMBER Page);

typedef struct _MM_COUNTERS {
    ULONG64 TotalPages, ZeroedPages, FreePages, StandbyPages, ModifiedPages, BadPages, ActivePages;
    ULONG64 Committed, CommitLimit, PeakCommit, CommitMaximum, CommitFailures;
    ULONG64 AvailablePages, ModifiedNoWritePages, TransitionPages, StandbyByPriority[8];
    ULONG64 MappedModifiedPages; /* of ModifiedPages: those that go to a mapped file */
    ULONG64 MappedWrites, MappedPagesWritten,
        MappedWriteErrors; /* of the mapped writer: writes, pages in them, pages that failed */
    ULONG64 SystemWorkingSetPages, ProcessWorkingSetPages, TablePages, LockedFrames, NonPageableFrames;
    ULONG64 CollidedFaults, InPageErrors, RepurposedPages, TrimmedPages, AgedPages, PageWaits, ZeroedByThread;
    ULONG64 PageReads, PagesRead, PageWrites, PagesWritten, WriteErrors; /* inputs and outputs, and the pages in them */
    ULONG64 DemandZeroFaults, SoftFaults, HardFaults, CopyOnWriteFaults, RelocationFaults, GuardFaults, AccessViolations,
        AllFaults;
} MM_COUNTERS;
VOID MmQueryCounters(MM_COUNTERS *Counters);
/* Memory at one moment: pages, and counts since the system was started. */
typedef struct _MM_SAMPLE {
    ULONG64 Time; /* ns since sampling began */
    ULONG64 Zeroed, Free, Standby, Modified, Active;
    ULONG64 Committed, CommitLimit;
    ULONG64 NonPagedPool, PagedPool; /* in use */
    ULONG64 SystemWorkingSet, ProcessWorkingSets, Locked;
    ULONG64 DemandZeroFaults, SoftFaults, HardFaults, PagesRead, PagesWritten;
} MM_SAMPLE;
#define MM_SAMPLES 256 /* kept */
/* Samples every Interval ns from now on, forgetting earlier ones; the interval doubles when MM_SAMPLES are there (series.c).
 * PASSIVE_LEVEL. */
VOID MmStartSampling(ULONG64 Interval);
/* What was sampled stays to be read. PASSIVE_LEVEL; before the system stops. */
VOID MmStopSampling(VOID);
/* The samples so far, oldest first; returns how many. *Interval: ns between them. */
ULONG MmReadSamples(MM_SAMPLE *Samples, ULONG Max, ULONG64 *Interval);
VOID MmTakeSample(MM_SAMPLE *Sample); /* now */
/* Walks every structure of the memory manager; NULL, or the text of the first broken invariant. */
const CHAR *MiValidateAll(VOID);
