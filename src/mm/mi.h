/*
 * mi.h - the memory manager's own structures, and the functions its files offer each other.
 * SPDX-License-Identifier: MIT
 *
 * All mutable state hangs off one MI_STATE, reached through the pointer MiState, so that a test can build a
 * system of 64 pages of its own over the scripted machine: point MiState at a zeroed structure and call
 * MmInitSystem.
 *
 *   MI_STATE --- Runs[] ---> MMPFN per frame (in frames, through the window)     pfn.c
 *            |-- Extents[]   RAM that nobody has touched yet: free, zero         pfn.c
 *            |-- Lists[]     modified, bad                                       pfn.c
 *            |-- Node[]      zeroed, free and standby frames of each NUMA node   pfn.c, numa.c
 *            |-- Pager       working sets, thresholds, writer, zero thread       pager.h
 *            |-- Root        the page tables (in frames, through the window)     pte.c
 *            |-- Regions[]   who uses which addresses                            region.c
 *            |-- Spaces[]    the user range in slices, one a process             space.c, vad.c
 *            |-- Segments    what sections show                                  section.c
 *            |-- Commit      promises of frames                                  commit.c
 *            `-- Conditions  what is low, what is high, and the events that say so  condition.c
 *
 * Locks, in acquisition order; all are KI_LOCKs, taken at any IRQL, held briefly, and never across a call up,
 * a fault, a wait or a bug check:
 *   0. MI_SPACE.Lock    what lies where in an address space (a push lock: may block; IRQL <= APC_LEVEL)
 *   1. MI_REGION.Lock   the region's bitmaps; SpaceLock
 *   2. TableLock        creation of page tables
 *   3. PteLocks[n]      entries of pageable and user addresses, one lock for each 2 MiB (hashed)
 *   3b. PrototypeLocks[n]  prototype entries (sections), hashed by the frame they are in; between valid and transition they
 *                       change under PfnLock alone
 *   4. PfnLock          every field of every MMPFN except a table's counts (interlocked), lists, extents; and
 *                       every change of a transition entry whose frame is not active (such an entry may
 *                       become a page-file entry at any moment: its frame is repurposed under this lock alone)
 *   5. WorkingSetLock, SegmentLock, the page files' own locks: may be taken inside any of the above, never around them
 * Entries of resident addresses belong to whoever owns the run of addresses; only the fault path reads them
 * too.
 */
#pragma once
#include "mm/mm.h"
#include "mm/pte.h"
#include "mm/pagefile.h"
#include "mm/mapping.h"

NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);

#include "mm/pager.h"
#include "mm/space.h"

#define MI_BYTES_TO_PAGES(Bytes) (((Bytes) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define MI_NO_PAGE               0xFFFFFFFFu
#define MI_MAX_RUNS              32
#define MI_MAX_EXTENTS           64
#define MI_PTE_LOCKS             64
#define MI_MAX_NODES             16
#define MI_REGION_HINTS          24

/* ---- frames (pfn.c) ---- */
typedef enum _MI_PAGE_STATE { /* all-zero MMPFN: a free page of zeroes */
                              MiPageZeroed,
                              MiPageFree,
                              MiPageStandby,
                              MiPageModified,
                              MiPageMapped, /* modified, and its home is a mapped file */
                              MiPageModifiedNoWrite,
                              MiPageBad,
                              MiPageActive,     /* some entry owns it, or the core does */
                              MiPageTransition, /* nobody maps it, but somebody has it locked */
                              MiPageStates
} MI_PAGE_STATE;

#define MI_PFN_LISTED     0x01u   /* linked on the list of its state */
#define MI_PFN_TABLE      0x02u   /* a page table: u1 counts entries in use */
#define MI_PFN_COMMIT     0x04u   /* freed while locked: its commit charge goes back with the last lock */
#define MI_PFN_UNMAPPED   0x08u   /* belongs to an MDL or to the core: no entry owns it */
#define MI_PFN_CONTIGUOUS 0x10u   /* first frame of contiguous memory */
#define MI_PFN_PAGEABLE   0x20u   /* may leave RAM: active ones are in a working set */
#define MI_PFN_MODIFIED   0x40u   /* differs from its copy in a page file, or has none (beside the entry's Dirty bit) */
#define MI_PFN_READING    0x80u   /* its contents are on their way in: others who want it wait */
#define MI_PFN_WRITING    0x100u  /* its contents are on their way out */
#define MI_PFN_PROTOTYPE  0x200u  /* PteAddress is a prototype entry: shares are the entries that map it */
#define MI_PFN_DELETED    0x400u  /* its owner went while it was locked or in I/O: free with the last reference */
#define MI_PFN_LOCKED     0x800u  /* pageable, and counted in LockedFrames: somebody besides its owner holds it */
#define MI_PFN_AHEAD      0x1000u /* read because a neighbour was wanted; nobody has touched it yet */
#define MI_PFN_REMOVED    0x2000u /* taken out of the machine: no RAM as far as drivers can see (hotmem.c) */
/* bits 14 and 15: MI_PFN_CACHE, mapping.h */

#define MI_PRIORITIES       8u /* of standby pages: 0 is repurposed first */
#define MI_DEFAULT_PRIORITY ((UCHAR)KI_PAGE_PRIORITY)

typedef struct _MMPFN {
    union {
        ULONG Flink;       /* (PfnLock) listed: next page */
        ULONG UsedEntries; /* (interlocked) page table: entries that are not zero */
    } u1;
    union {
        ULONG Blink;      /* (PfnLock) listed: previous page */
        ULONG ShareCount; /* (PfnLock) active: entries that own it */
    } u2;
    PMMPTE PteAddress; /* (PfnLock) the entry that owns it, in the window; NULL: none */
    union {
        MMPTE OriginalPte;                /* (PfnLock) what the entry becomes when the page goes */
        volatile ULONG64 WorkingSetPages; /* (interlocked) page table: entries that are in a working set */
    };
    USHORT ReferenceCount; /* (PfnLock) 1 for a share count above zero, 1 for each lock and I/O */
    USHORT Flags;          /* (PfnLock) MI_PFN_ */
    UCHAR State;           /* (PfnLock) MI_PAGE_STATE; changed by MiSetPageState only */
    UCHAR Priority;        /* (PfnLock) standby list it goes to: the highest page priority of the threads that faulted it in */
    UCHAR File : 1;        /* (PfnLock) its home is a mapped file: nobody is charged for it, but for a lock */
    UCHAR Again : 1;       /* (PfnLock) AHEAD of a reader in order: goes to the end of standby once before it is taken */
    UCHAR Seen;            /* the validator's: entries that share it */
} MMPFN, *PMMPFN;
C_ASSERT(sizeof(MMPFN) == 32);
/* What MI_STATE.NonPageableFrames and FileFrames count. */
static inline BOOLEAN MiCountsAsNonPageable(const MMPFN *Pfn)
{
    return Pfn->State >= MiPageActive && !(Pfn->Flags & MI_PFN_PAGEABLE);
}
static inline BOOLEAN MiCountsAsFile(const MMPFN *Pfn)
{
    return Pfn->State >= MiPageActive && Pfn->File;
}

typedef struct _MI_RUN {
    PFN_NUMBER BasePage, PageCount; /* as the machine has it */
    PFN_NUMBER FirstPage, Managed;  /* RAM: what is left after the core's own tables; these have an MMPFN */
    PMMPFN Pfn;                     /* of FirstPage */
    BOOLEAN Device;
} MI_RUN;

typedef struct _MI_EXTENT {
    PFN_NUMBER Base, Count;
} MI_EXTENT;

typedef struct _MI_PAGE_LIST {
    ULONG64 Total;
    ULONG Head, Tail;
} MI_PAGE_LIST;

/* A NUMA node (numa.c). Its frames are [First, End); both are constant. */
typedef struct _MI_NODE {
    PFN_NUMBER First, End;
    MI_PAGE_LIST Lists[MiPageFree + 1]; /* zeroed, free */
    MI_PAGE_LIST Standby[MI_PRIORITIES];
    ULONG64 StateCount[MiPageStates]; /* (PfnLock) as MI_STATE.StateCount; not kept while there is one node */
    ULONG64 Hits, Misses;             /* (PfnLock) frames wanted from it that it gave, and that others gave; likewise */
    UCHAR Order[MI_MAX_NODES];        /* the nodes, nearest first: itself */
} MI_NODE;
static inline BOOLEAN MiIsOfNode(const MI_NODE *Node, PFN_NUMBER Page)
{
    return Page - Node->First < Node->End - Node->First;
}

/* ---- regions (region.c) ---- */
typedef struct _MI_REGION {
    MM_REGION Id;
    const CHAR *Name;
    ULONG_PTR Base, End;
    ULONG Bits;       /* pages of address space */
    UCHAR Guard;      /* pages left out below each run */
    BOOLEAN Resident; /* frames behind every committed page; else demand zero */
    BOOLEAN User;
    KI_LOCK Lock;
    ULONG64 *Allocated;                               /* (Lock) bit per page: taken, guard included */
    ULONG64 *Last;                                    /* (Lock) bit per page: last page of a run */
    ULONG Hint[MI_REGION_HINTS];                      /* (Lock) no free run of 2^n pages begins below */
    ULONG AddressPages;                               /* (Lock) bits set in Allocated */
    volatile ULONG64 PagesInUse, PeakPages, Failures; /* (interlocked) committed or mapped pages */
} MI_REGION;

/* ---- conditions (condition.c) ---- */
/* What is watched. While every measure stays in its window no condition can change. */
typedef enum _MI_MEASURE { MiAvailablePages, MiCommittedPages, MiNonPagedPoolPages, MiPagedPoolPages, MiMeasures } MI_MEASURE;
typedef struct _MI_CONDITIONS {
    KI_LOCK Lock;
    BOOLEAN Busy, Again;               /* (Lock) somebody sets events; and must look once more */
    ULONG State;                       /* (Lock) a bit for each MM_CONDITION that holds */
    PKEVENT Events[MmConditions];      /* (Lock) NULL: nobody is told */
    volatile ULONG64 Low[MiMeasures];  /* [Low, High): the window; written under Lock */
    volatile ULONG64 High[MiMeasures]; /* all zero: not watched yet */
} MI_CONDITIONS;

typedef struct _MI_STATE {
    BOOLEAN Started;
    MI_RUN Runs[MI_MAX_RUNS];
    ULONG RunCount;
    KI_LOCK PfnLock;
    MI_PAGE_LIST Lists[MiPageBad + 1];       /* zeroed and free ones are in Node[], standby in: */
    ULONG64 NonPageableFrames, LockedFrames; /* (PfnLock) frames in use that cannot leave; pageable ones that are locked */
    ULONG64 FileFrames;                      /* (PfnLock) frames in use whose home is a mapped file (MMPFN.File) */
    ULONG64 StateCount[MiPageStates];        /* (PfnLock) pages in each state, extents counted as zeroed */
    MI_EXTENT Extents[MI_MAX_EXTENTS];
    ULONG ExtentCount;
    ULONG64 ScatterSeed; /* not 0: take single frames from random places (tests) */
    ULONG64 TotalPages, CorePages;
    PFN_NUMBER HighestPage;

    PFN_NUMBER Root;
    KI_LOCK TableLock;
    KI_LOCK PteLocks[MI_PTE_LOCKS];
    KI_LOCK PrototypeLocks[MI_PTE_LOCKS];
    volatile ULONG64 TablePages;

    MI_REGION Regions[MmRegionMaximum];
    MI_MAPPINGS Mappings; /* mapping.c */
    MI_CACHE_RANGE Permanent[MI_PERMANENT_CACHE];
    ULONG64 MovedPages;   /* (PfnLock) movepage.c */
    ULONG64 RemovedPages; /* (PfnLock) frames that are MI_PFN_REMOVED: hotmem.c */
    ULONG PermanentCount; /* (PfnLock) only grows */
    MI_NODE Node[MI_MAX_NODES];
    ULONG Nodes;         /* 1 at least */
    PFN_NUMBER HolePage; /* (PfnLock) shown where physical addresses have nothing behind them; 0: not yet */

    MI_SPACE Spaces[MI_MAX_SPACES]; /* by slice; [0] is the System process's */
    ULONG SpaceCount;               /* slices there are */
    ULONG64 SliceBytes;
    KI_LOCK SpaceLock;                   /* MI_SPACE.Used, and: */
    volatile ULONG64 LockedVirtualPages; /* (interlocked) by ZwLockVirtualMemory, in all spaces */
    LIST_ENTRY VadFrames;                /* frames of range records that have a free one */

    KI_LOCK SegmentLock;
    LIST_ENTRY Segments;           /* (SegmentLock) MI_SEGMENT.All */
    PVOID volatile MappedBuffer;   /* MM_SEGMENT_BUFFER bytes for the mapped writer's transfers */
    volatile BOOLEAN FileSegments; /* there have been sections of files: pages may leave though there is no page file */

    volatile ULONG64 Committed, PeakCommit;      /* (interlocked) */
    volatile ULONG64 CommitLimit, CommitMaximum; /* (interlocked) now; with every page file at its maximum */
    volatile ULONG64 CommitFailures;             /* (interlocked) charges refused */
    ULONG64 RamCommit;                           /* the part of CommitLimit that RAM stands for */
    MI_CONDITIONS Conditions;
    LIST_ENTRY Images;            /* (ImageGate) MM_IMAGE */
    KEVENT ImageGate;             /* taken like a mutex; see image.c */
    MM_IMAGE_SECTION HostSection; /* (ImageGate) the program's own code and data */
    volatile ULONG64 LockedPages; /* (interlocked) pages of process addresses locked by MDLs */

    MI_PAGING Paging; /* pagefile.h */
    MMSUPPORT SystemWorkingSet;
    MI_PAGER Pager;

    volatile ULONG64 AllFaults, DemandZeroFaults, SoftFaults, HardFaults, CopyOnWriteFaults, RelocationFaults, GuardFaults,
        AccessViolations;
} MI_STATE, *PMI_STATE;
extern PMI_STATE MiState;

static inline VOID MiCount(volatile ULONG64 *Counter)
{
    __atomic_fetch_add(Counter, 1, __ATOMIC_RELAXED);
}
static inline PMMPFN MiPfn(PFN_NUMBER Page) /* NULL: not a managed frame */
{
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        if (Page - Run->FirstPage < Run->Managed) {
            return &Run->Pfn[Page - Run->FirstPage];
        }
    }
    return NULL;
}
static inline const MI_RUN *MiRunOfPage(PFN_NUMBER Page)
{
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        if (Page - Run->BasePage < Run->PageCount) {
            return Run;
        }
    }
    return NULL;
}

static inline ULONG64 MiManagedPages(VOID)
{
    return MiState->TotalPages - MiState->CorePages;
}

#if NTMM_DEEP
VOID MiAssertDeep(const CHAR *Broken); /* validate.c: stops with 0x1A/0x8888 unless NULL; no lock held */
#endif

/* pfn.c */
NTSTATUS MiInitializeFrames(const HAL_RUN *Runs, ULONG RunCount, ULONG64 CarvePages, PVOID *Carved);
/* Takes up to Want frames that follow each other and gives them to the entries from Pte on (which the caller
 * then writes), or to no entry (Pte NULL). Returns how many; 0: none left. Dirty: their contents are old. */
#define MI_TAKE_ZEROED   1u /* prefer zeroed ones */
#define MI_TAKE_TABLE    2u
#define MI_TAKE_PAGEABLE 4u    /* it may leave RAM again: at most Reserve stays available; standby pages are repurposed */
#define MI_TAKE_READING  8u    /* pageable, and its contents come from a device: in transition, one reference, READING */
#define MI_TAKE_LOCAL    0x10u /* of the wanted node, free or zeroed, or none at all */
#define MI_TAKE_SHARED   0x20u /* Pte is a prototype entry */
#define MI_TAKE_FILE     0x40u /* the same, of a page whose home is a mapped file */
#define MI_TAKE_ONLY     0x80u /* of the wanted node, if need be a standby page, or none at all */
/* The node wanted; without it, that of the calling thread. The nearest other that has frames serves as well. */
#define MI_TAKE_NODE(Node) (((ULONG)(Node) + 1u) << 8)
ULONG MiTakeFrames(ULONG Want, ULONG Flags, PMMPTE Pte, PFN_NUMBER *Base, BOOLEAN *Dirty);
/* No extent lies on both sides of Page from now on. PfnLock held, or nobody else there yet. */
VOID MiSplitExtents(PFN_NUMBER Page);
/* Count contiguous frames in [Low, High], not crossing a multiple of Boundary (0: none). They have no entry.
 */
BOOLEAN MiTakeContiguous(PFN_NUMBER Count, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Boundary, PFN_NUMBER *Base,
                         BOOLEAN *Dirty);
/* Up to Want (at most 64) single frames of [Low, High], without an entry; bit n of *Dirty: the contents of Frames[n] are
 * old. *Cursor begins at 0; there are no more once it is above High. */
ULONG MiTakeInRange(ULONG Want, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER *Cursor, PPFN_NUMBER Frames, ULONG64 *Dirty);
/* Nobody uses it: on a list, or never touched. PfnLock held. */
static inline BOOLEAN MiIsToBeHad(const MMPFN *Pfn)
{
    return Pfn->State <= MiPageStandby && ((Pfn->Flags & MI_PFN_LISTED) || Pfn->State == MiPageZeroed);
}
/* The owner lets go of frames: to the free list, or, while locked, later. Returns the commit charge to give
 * back now. */
ULONG64 MiReleaseFrames(PFN_NUMBER Base, PFN_NUMBER Count);
BOOLEAN MiPurgeStandbyLocked(ULONG Most); /* that many standby pages become free; TRUE: there are more. PfnLock held */
/* Locks one frame (reference count), PfnLock held; one on a list leaves it. FALSE: not a frame in use, its count is full, or so
 * much is locked that too little could still be paged. A locked frame never moves, whatever becomes of its entry. */
BOOLEAN MiReferenceFrameLocked(PFN_NUMBER Page);
/* Undoes it. FALSE: the frame is not locked. *Commit grows by the charge to give back. */
BOOLEAN MiDereferenceFrameLocked(PFN_NUMBER Page, ULONG64 *Commit);
VOID MiSetPageState(PFN_NUMBER Page, PMMPFN Pfn, MI_PAGE_STATE State);
/* A pageable frame that nothing maps or references any more: to the modified list (its copy in a page file, now old, is given
 * up), or to standby if it has a copy; freed if its owner is gone. PfnLock held. */
VOID MiListFrameLocked(PFN_NUMBER Page, PMMPFN Pfn, ULONG64 *Commit);
/* Back from a list, or from a reference, to active with one share. PfnLock held. */
VOID MiActivateFrameLocked(PFN_NUMBER Page, PMMPFN Pfn);
/* An entry that had a share is gone, and no TB has it any more; Dirty: it was. With the last share the frame leaves for its list (TRUE:
 * it can be had now), and a prototype entry is a transition entry again. PfnLock held. */
BOOLEAN MiDropShareLocked(PFN_NUMBER Page, BOOLEAN Dirty, ULONG64 *Commit);
/* The owner of a frame that is not active lets go of it: freed, or with its last reference. PfnLock held; the entry is the
 * caller's. Returns the charge to give back now. */
ULONG64 MiDeleteFrameLocked(PFN_NUMBER Page, PMMPFN Pfn);
/* The contents of an owned pageable frame need not be kept (standby or modified: it goes to standby, where it is repurposed before
 * others), or they must be again. PfnLock held. */
VOID MiSetLostLocked(PFN_NUMBER Page, PMMPFN Pfn, BOOLEAN Lost);
/* Pageable <-> not; the frame is active. PfnLock held. */
VOID MiSetPageableLocked(PMMPFN Pfn, BOOLEAN Pageable);
static inline ULONG64 MiAvailable(VOID) /* exact under PfnLock, else a moment's value */
{
    return __atomic_load_n(&MiState->StateCount[MiPageZeroed], __ATOMIC_RELAXED) +
           __atomic_load_n(&MiState->StateCount[MiPageFree], __ATOMIC_RELAXED) +
           __atomic_load_n(&MiState->StateCount[MiPageStandby], __ATOMIC_RELAXED);
}
const CHAR *MiValidateFrames(VOID);
const CHAR *MiValidateFramesLocked(VOID); /* PfnLock held */

/* pte.c */
PMMPTE MiPteOf(ULONG_PTR Va);                         /* the leaf entry of Va, NULL: no page table */
PMMPTE MiPteOfTableLevel(ULONG_PTR Va, ULONG Level);  /* the entry at a level (1 leaf .. 4 top), NULL: table missing */
BOOLEAN MiMakePageTables(ULONG_PTR Va, SIZE_T Pages); /* FALSE: no commit or no frame */
BOOLEAN MiMakeTopTable(ULONG_PTR Va);                 /* the table below the top-level entry of Va */
BOOLEAN MiMakeRoot(PFN_NUMBER *Root);                 /* an empty top-level table. FALSE: no commit or no frame */
VOID MiFreeTables(PFN_NUMBER Root);                   /* a root whose leaves are all zero, with every table below */
ULONG_PTR MiVaOfPte(PMMPTE Pte);                      /* address an entry of a page table maps; 0: not one of ours */
VOID MiSetEntry(PMMPTE Pte, MMPTE Value);             /* zero -> not zero: counts the entry */
MMPTE MiClearEntry(PMMPTE Pte);                       /* not zero -> zero */
VOID MiCountEntries(PMMPTE Pte, LONG Change);         /* the count alone, for whoever writes many of one table */
MI_PROT MiMakeProtection(ULONG Protect);              /* PAGE_ to code, or MI_PROT_INVALID */
ULONG MiMakePageProtection(MI_PROT Protection);       /* and back */
static inline PKI_LOCK MiPteLock(ULONG_PTR Va)
{
    return &MiState->PteLocks[(Va >> 21) % MI_PTE_LOCKS];
}
static inline PKI_LOCK MiPrototypeLock(PMMPTE Prototype)
{
    return &MiState->PrototypeLocks[((ULONG_PTR)Prototype >> 12) % MI_PTE_LOCKS];
}
static inline ULONG MiEntriesToTableEnd(ULONG_PTR Va)
{
    return 512 - (ULONG)((Va >> 12) & 511);
}
const CHAR *MiValidatePageTables(VOID);

/* region.c */
ULONG64 MiLayOutRegions(ULONG64 RamPages); /* returns the frames that the bitmaps need */
VOID MiInitializeRegions(PVOID Bitmaps);
MI_REGION *MiRegionOfVa(ULONG_PTR Va);
ULONG_PTR MiAllocateVa(MI_REGION *Region, SIZE_T Pages);               /* 0: full */
BOOLEAN MiAllocateVaAt(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages); /* FALSE: taken, or outside */
typedef enum _MI_VA_CHECK { MiVaExact, MiVaNotAllocated, MiVaInside, MiVaWrongSize, MiVaPartlyFree } MI_VA_CHECK;
/* Whether [Va, Va + Pages) is exactly one run. *Actual: pages of the run that begins there. */
MI_VA_CHECK MiCheckVa(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages, SIZE_T *Actual);
/* Whether every page of the range is taken. */
BOOLEAN MiVaIsAllocated(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages);
VOID MiFreeVa(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages);
VOID MiChargeRegion(MI_REGION *Region, SIZE_T Pages);
VOID MiReturnRegion(MI_REGION *Region, SIZE_T Pages);
const CHAR *MiValidateRegions(VOID);

/* pages.c */
NTSTATUS MiCommit(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages, MI_PROT Protection, ULONG Flags, EX_POOL_PRIORITY Priority);
VOID MiDecommit(MI_REGION *Region, ULONG_PTR Va, SIZE_T Pages);

/* commit.c */
BOOLEAN MiChargeCommitment(ULONG64 Pages, EX_POOL_PRIORITY Priority);
VOID MiReturnCommitment(ULONG64 Pages);
/* Page files grew, shrank, came or went: so many pages of them now, and at their maximum. FALSE, and nothing is changed: what is
 * promised would not fit into the lower limit. Called after growing and before shrinking. */
BOOLEAN MiChangeCommitLimit(LONG64 Pages, LONG64 MaximumPages);
const CHAR *MiValidateCommitment(VOID);

/* Where a driver asks for a page protection of its own. */
#define MI_VERIFY_PROTECTION(Protection, Protect)                                                                              \
    do {                                                                                                                       \
        if (__builtin_expect(MiVerifyExecuteRoutine != NULL, 0) && (Protection) != MI_PROT_INVALID &&                          \
            MiProtAllowsExecute(Protection))                                                                                   \
            MiVerifyExecuteRoutine(0x2001, (ULONG_PTR)__builtin_return_address(0), (Protect));                                 \
    } while (0)

/* series.c */
VOID MiRecordSample(const MM_SAMPLE *Sample);
ULONG64 MiProcessWorkingSetPages(VOID); /* of all processes */

/* image.c */
VOID MiInitializeImages(VOID);
const CHAR *MiValidateImages(VOID);

/* condition.c */
static inline ULONG64 MiMeasure(MI_MEASURE Measure)
{
    switch (Measure) {
    case MiAvailablePages:
        return __atomic_load_n(&MiState->StateCount[MiPageZeroed], __ATOMIC_RELAXED) +
               __atomic_load_n(&MiState->StateCount[MiPageFree], __ATOMIC_RELAXED) +
               __atomic_load_n(&MiState->StateCount[MiPageStandby], __ATOMIC_RELAXED);
    case MiCommittedPages:
        return __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
    case MiNonPagedPoolPages:
        return __atomic_load_n(&MiState->Regions[MmRegionNonPagedPool].PagesInUse, __ATOMIC_RELAXED);
    default:
        return __atomic_load_n(&MiState->Regions[MmRegionPagedPool].PagesInUse, __ATOMIC_RELAXED);
    }
}
VOID MiUpdateConditions(VOID);
/* Called where frames, commitment or pool pages changed, at DISPATCH_LEVEL or below with no lock of this layer held (above
 * DISPATCH_LEVEL it leaves the news to the next call). A few loads unless a threshold was crossed. */
static inline VOID MiCheckConditions(VOID)
{
    for (ULONG Measure = 0; Measure < MiMeasures; Measure++) {
        ULONG64 Low = __atomic_load_n(&MiState->Conditions.Low[Measure], __ATOMIC_RELAXED);
        ULONG64 High = __atomic_load_n(&MiState->Conditions.High[Measure], __ATOMIC_RELAXED);
        if (__builtin_expect(MiMeasure((MI_MEASURE)Measure) - Low >= High - Low && High != 0, 0)) {
            MiUpdateConditions();
            return;
        }
    }
}
const CHAR *MiValidateConditions(VOID); /* at rest */

/* section.c: whether a modified page of a file is written by flushes only. PfnLock held. */
BOOLEAN MiWaitsForFlush(PMMPTE Prototype);
/* view.c: whether an address is in a view in system space whose in-page errors are exceptions. */
BOOLEAN MiIsRaisingView(ULONG_PTR Va);

/* sysptes.c */
/* Address space with page tables, in the system-PTE region, Guard pages of it never mapped at its end; 0: none. */
ULONG_PTR MiReserveSystemPtes(SIZE_T Pages, ULONG Guard);
VOID MiReleaseSystemPtes(ULONG_PTR Va, SIZE_T Pages); /* of a reservation, guard included: clears, flushes, gives back */
/* Maps frames: Pages entries from Va on, from the array or (Array NULL) one after the other from First. */
VOID MiMapFrames(ULONG_PTR Va, SIZE_T Pages, const PFN_NUMBER *Array, PFN_NUMBER First, MMPTE Template);
VOID MiUnmapFrames(ULONG_PTR Va, SIZE_T Pages);          /* clears whatever is there, and flushes */
DECLSPEC_NORETURN VOID MiStopNoSystemPtes(SIZE_T Pages); /* 0x3F, or 0xD8 when holders are tracked */

/* mapping.c */
BOOLEAN MiRecordMapping(const MI_MAPPING *Like);       /* FALSE: no memory for the record. Notes the caller's stack */
BOOLEAN MiFindMapping(ULONG_PTR Va, MI_MAPPING *Copy); /* by its first address */
BOOLEAN MiForgetMapping(ULONG_PTR Va);
/* A reservation becomes used (Mapped not 0) or empty. FALSE: it is that already, or there is none. */
BOOLEAN MiSetReservedMapping(ULONG_PTR Va, SIZE_T Mapped, PMDL Mdl, PFN_NUMBER First);
/* The next record, from Cursor and Skip 0 on, that is Wanted (NULL: any). Wanted takes no lock. */
BOOLEAN MiNextMapping(ULONG *Cursor, ULONG *Skip, BOOLEAN (*Wanted)(const MI_MAPPING *, PVOID), PVOID Context,
                      MI_MAPPING *Copy);
const CHAR *MiValidateMappings(VOID);

/* numa.c */
VOID MiLayOutNodes(VOID); /* before any frame is taken */
ULONG MiFindNodeOfPage(PFN_NUMBER Page);
static inline ULONG MiNodeOfPage(PFN_NUMBER Page)
{
    return __builtin_expect(MiState->Nodes == 1, 1) ? 0 : MiFindNodeOfPage(Page);
}
/* The part of [*Low, *High] that lies in a node. FALSE: there is none, or no such node. */
BOOLEAN MiClipToNode(ULONG Node, PFN_NUMBER *Low, PFN_NUMBER *High);
ULONG MiCurrentNode(VOID); /* where the calling thread wants its memory */
/* MM_PAGES_NODE and MM_PAGES_NODE_ONLY of flags as MI_TAKE_NODE and MI_TAKE_ONLY, or 0. */
static inline ULONG MiTakeNodeOfFlags(ULONG Flags)
{
    return ((Flags >> 8) & 0xFF00u) | (Flags & MM_PAGES_NODE_ONLY ? MI_TAKE_ONLY : 0);
}
const CHAR *MiValidateNodesLocked(VOID); /* PfnLock held */

/* movepage.c */
/* Moves what can move out of the way until a stretch as for MiTakeContiguous is free, and takes it. < DISPATCH_LEVEL. */
BOOLEAN MiMoveAndTake(PFN_NUMBER Count, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Boundary, PFN_NUMBER *Base);

/* hotmem.c */
VOID MiMarkRemovedLocked(PMMPFN Pfn); /* a frame that is the caller's; PfnLock held. It is back when it is freed */
/* The first frame of [Page, End), all of one run, that is removed (or, Removed FALSE, is not); End: there is none. */
PFN_NUMBER MiFindRemoved(PFN_NUMBER Page, PFN_NUMBER End, BOOLEAN Removed);

/* iospace.c */
PFN_NUMBER MiHolePage(VOID); /* what is shown where there is no memory, filled with ones; 0: none to be had */

/* cacheattr.c */
BOOLEAN MiCacheOfType(MEMORY_CACHING_TYPE Type, MI_CACHE *Cache); /* FALSE: no such type */
MI_PROT MiProtectionWithCache(MI_PROT Base, MI_CACHE Cache);
MI_CACHE MiCacheOfProtection(MI_PROT Protection);
MI_CACHE MiCacheOfPage(PFN_NUMBER Page);
MI_CACHE MiDecideCache(PFN_NUMBER Page, MI_CACHE Wanted);            /* the type in force, which becomes Wanted if undecided */
VOID MiSetFrameCache(PFN_NUMBER Base, SIZE_T Count, MI_CACHE Cache); /* frames in use */

VOID MiCheckHighest(PHYSICAL_ADDRESS Highest, SIZE_T Bytes, const VOID *Caller); /* mdlpages.c: the Verifier's 0xC4/0x141 */

/* mdl.c, mdlmap.c, mdluser.c */
/* Stops (0x1A/0x1236; 0xC4 if Caller, a return address, is verified) unless somebody keeps every page of the MDL. Returns the cache type all are to be mapped with, or
 * MiCacheUndecided: they differ. */
MI_CACHE MiPrepareMdlFrames(PMDL Mdl, SIZE_T Pages, MI_CACHE Wanted, const VOID *Caller);
VOID MiMapMdlFrames(PMDL Mdl, SIZE_T Pages, ULONG_PTR Va, MI_PROT Protection, MI_CACHE Cache, BOOLEAN User);
PVOID MiMapMdlToUser(PMDL Mdl, SIZE_T Pages, MI_PROT Protection, MI_CACHE Cache, PVOID Requested); /* raises */
VOID MiUnmapMdlFromUser(PVOID BaseAddress, PMDL Mdl, SIZE_T Pages, const VOID *Caller);
/* The Verifier's stop for an IRQL that a routine must not be called at. */
static inline VOID MiRequireIrql(KIRQL Highest, ULONG Type, const CHAR *Words, ULONG_PTR P3, ULONG_PTR P4)
{
    KIRQL Irql = KiCurrentThread()->Irql;
    if (__builtin_expect(Irql > Highest, 0)) {
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, Words, NULL, Type, Irql, P3, P4);
    }
}

/* The working set an address belongs to: the system's, or that of its process. */
static inline PMMSUPPORT MiWorkingSetOfVa(ULONG_PTR Va)
{
    return HalIsUserAddress(Va) ? &MiSpaceOfVa(Va)->WorkingSet : &MiState->SystemWorkingSet;
}

BOOLEAN MiIsUnloadedImage(ULONG_PTR Va); /* image.c: an image was there, and nothing else has been since. Any IRQL */

/* fault.c */
VOID MmAccessFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer);
/* Makes one page of pageable or user memory present if it may be, waiting for pages and devices (only below DISPATCH_LEVEL).
 * Locks *Frame if Frame is not NULL; Write then marks it modified, so that it may be written through the window.
 * AnyProtection (with Frame): protections are not asked, and the entry need not be valid afterwards. STATUS_ACCESS_VIOLATION,
 * STATUS_GUARD_PAGE_VIOLATION: no such access is allowed there. STATUS_IN_PAGE_ERROR: the device failed. */
NTSTATUS MiMakePresent(ULONG_PTR Va, BOOLEAN Write, BOOLEAN AnyProtection, PFN_NUMBER *Frame);
BOOLEAN MiTakeGuard(ULONG_PTR Address); /* the first touch of a guard page takes the guard away; TRUE if this was it */
#define MI_AGAIN ((NTSTATUS)0x7FFFFFFF) /* the entry has changed, or may have: look again. Never leaves the fault path */

/* sharedfault.c: one access to Va, whose entry was a prototype form, or valid and copy-on-write. Called with no lock held; the answers are
 * MiMakePresent's, and MI_AGAIN. Frame and AnyProtection as there. */
typedef struct _MI_PAGE_IN {
    BOOLEAN ReadIn;        /* in and out: the page was read from its device meanwhile */
    ULONG Tries;           /* in and out: reads that found no memory for their request */
    NTSTATUS DeviceStatus; /* STATUS_IN_PAGE_ERROR: why */
    MI_WRONG_PAGE Wrong;   /* if that is STATUS_CRC_ERROR */
} MI_PAGE_IN;
NTSTATUS MiPrototypeFault(ULONG_PTR Va, BOOLEAN Write, BOOLEAN AnyProtection, PFN_NUMBER *Frame, MI_PAGE_IN *In);
NTSTATUS MiCopyOnWrite(ULONG_PTR Va);

/* section.c */
const CHAR *MiValidateSegments(VOID); /* with the locks of MiValidateAll held */
/* mapwrite.c: writes modified pages of mapped files back, up to that many, and waits for it. Returns how many it tried. PASSIVE_LEVEL, in
 * the mapped writer's thread or one that holds nothing a file system may want. */
ULONG64 MiWriteMappedPages(ULONG64 Want);
BOOLEAN MiShouldWriteMapped(VOID);
VOID MiWakeMappedWriter(VOID); /* any IRQL, any lock */
VOID MiMappedWriterMain(PVOID Context);
static inline BOOLEAN MiIsMappedWriter(VOID)
{
    return __atomic_load_n(&MiState->FileSegments, __ATOMIC_RELAXED) &&
           __atomic_load_n(&MiState->Pager.MappedWriter, __ATOMIC_RELAXED) == KiCurrentThread();
}
