/*
 * space.h - address spaces: a process's slice of the user range, its page tables, and what lies where in it.
 * SPDX-License-Identifier: MIT
 *
 * Included by mi.h. Functions are in space.c (slices, tables, begin and end), vad.c (what lies where), virtual.c and its neighbours
 * (the services). The opening of space.c has the picture.
 */
#pragma once

#define MI_MAX_SPACES  128u
#define MI_GRANULARITY 0x10000ull /* where allocations and views begin */
#define MI_SPACE_EDGE  0x10000ull /* at both ends of a slice nothing is ever allocated */

typedef enum _MI_VAD_TYPE {
    MiVadPrivate, /* committed page by page; its pages are the process's own */
    MiVadView,    /* a view of a section */
    MiVadLocked,  /* frames of an MDL, mapped for as long as whoever locked them keeps them */
} MI_VAD_TYPE;

/* A range of addresses with one owner and one history (an element of MI_SPACE.Vads). */
typedef struct _MMVAD {
    ULONG_PTR Start, End;                 /* whole pages: first address, and the first beyond */
    UCHAR Type;                           /* MI_VAD_TYPE */
    BOOLEAN LargePages;                   /* resident from the start, never decommitted in part */
    BOOLEAN Image;                        /* view: of an image section */
    BOOLEAN Physical;                     /* locked: a view of physical memory (physview.c) */
    UCHAR NodePlusOne;                    /* the NUMA node its pages are wanted from, 0: of whoever touches them first */
    BOOLEAN Placeholder, FromPlaceholder; /* placeholder.c: is one; took the place of one */
    struct _MI_WATCH *Watch;              /* watch.c; NULL: writes are not watched */
    BOOLEAN NoChange;                     /* secured without exceptions: protections stay */
    ULONG Protect;                        /* PAGE_ at allocation */
    ULONG LockedPages;                    /* pages that ZwLockVirtualMemory keeps: bits set in LockBits */
    PUCHAR LockBits;                      /* two bits a page (MAP_PROCESS, MAP_SYSTEM); NULL: none was ever locked */
    LIST_ENTRY Secures;                   /* MI_SECURE.Link */
    struct _MI_VIEW *View;                /* view: what it shows (segment.h) */
} MMVAD, *PMMVAD;

/* A promise that a range stays as it is (MmSecureVirtualMemory). The cookie is its address. */
typedef struct _MI_SECURE {
    LIST_ENTRY Link;
    ULONG_PTR Start, End;
    ULONG Magic;
    BOOLEAN Write, NoChange, Exclusive, UserOnly;
    struct _MI_SPACE *Space;
} MI_SECURE, *PMI_SECURE;

typedef struct _MI_SPACE {
    HAL_ADDRESS_SPACE Hal; /* first: ke knows a space by it; root and slice */
    BOOLEAN Used, Dying;
    struct _KPROCESS *Process;                       /* NULL until there are processes: the System process's */
    EX_PUSH_LOCK Lock;                               /* all that follows; taken before every lock of mi.h, IRQL <= APC_LEVEL */
    RTL_AVL_TABLE Vads;                              /* by address; elements never overlap */
    PVOID NewVad;                                    /* the node that the next insertion uses */
    ULONG_PTR Hint;                                  /* no free MI_GRANULARITY piece begins below */
    volatile ULONG64 VirtualBytes, PeakVirtualBytes; /* addresses taken */
    volatile ULONG64 CommittedPages, PeakCommitted;  /* private pages promised */
    ULONG64 CommitLimit;                             /* pages; 0: none */
    volatile ULONG64 LockedPages;                    /* (interlocked) pages that MDLs hold locked, a page once for each lock */
    MMSUPPORT WorkingSet;
} MI_SPACE, *PMI_SPACE;
C_ASSERT(offsetof(MI_SPACE, Hal) == 0);

/* ---- space.c ---- */
NTSTATUS MiInitializeSpaces(VOID); /* slices, and the System process's space */
/* The space that a user address belongs to, by the address alone; NULL: no space's. It is the caller's to know that it stays. */
PMI_SPACE MiSpaceOfVa(ULONG_PTR Va);
/* The space the calling thread is in. */
static inline PMI_SPACE MiCurrentSpace(VOID)
{
    return (PMI_SPACE)KiCurrentThread()->Space;
}
/* Whether a user address is one of the calling thread's address space. */
static inline BOOLEAN MiIsCurrentVa(ULONG_PTR Va)
{
    PMI_SPACE Space = MiCurrentSpace();
    return Space && Va - Space->Hal.Low < Space->Hal.High - Space->Hal.Low;
}
PFN_NUMBER MiRootOfVa(ULONG_PTR Va); /* 0: no space's */
/* The top-level entry of an address; whether it is one of the kernel's, which all roots have alike. */
static inline ULONG MiTopIndex(ULONG_PTR Va)
{
    return (ULONG)(Va >> 39) & 511;
}
static inline BOOLEAN MiIsKernelTopIndex(ULONG Index)
{
    return Index >= MiTopIndex(HalFacts.SystemBase) && Index <= MiTopIndex(HalFacts.SystemEnd - 1);
}
/* MDLs lock (or unlock: negative) pages of process addresses. */
VOID MiCountLockedPages(ULONG_PTR Va, LONG64 Pages);
VOID MiChargeSpace(PMI_SPACE Space, LONG64 Bytes, LONG64 Committed); /* statistics */
const CHAR *MiValidateSpaces(VOID);

/* ---- vad.c ---- */
static inline VOID MiLockSpace(PMI_SPACE Space)
{
    ExAcquirePushLockExclusiveEx(&Space->Lock, 0);
}
static inline VOID MiUnlockSpace(PMI_SPACE Space)
{
    ExReleasePushLockExclusiveEx(&Space->Lock, 0);
}
VOID MiInitializeVads(PMI_SPACE Space);
/* All with the space locked. */
PMMVAD MiFindVad(PMI_SPACE Space, ULONG_PTR Va);                      /* that holds the address; NULL */
PMMVAD MiFirstVadIn(PMI_SPACE Space, ULONG_PTR Start, ULONG_PTR End); /* the lowest that touches [Start, End); NULL */
PMMVAD MiNextVad(PMI_SPACE Space, PMMVAD Vad);                        /* the next higher, NULL */
/* A gap of Bytes within [Low, High) whose first address is a multiple of Alignment; 0: none. */
ULONG_PTR MiFindGap(PMI_SPACE Space, ULONG64 Bytes, ULONG64 Alignment, ULONG_PTR Low, ULONG_PTR High, BOOLEAN TopDown);
/* Takes the addresses of *Like. NULL: no memory for the record. */
PMMVAD MiInsertVad(PMI_SPACE Space, const MMVAD *Like);
VOID MiRemoveVad(PMI_SPACE Space, PMMVAD Vad);    /* its pages are gone already */
VOID MiFreeVadPages(PMI_SPACE Space, PMMVAD Vad); /* takes down whatever the range shows */
ULONG64 MiCountUsedEntries(ULONG_PTR Start, ULONG_PTR End);
VOID MiRemoveAllVads(PMI_SPACE Space); /* the space not locked */
const CHAR *MiValidateVads(PMI_SPACE Space);

/* ---- virtual.c, protect.c, lockvm.c, secure.c ---- */
NTSTATUS MiCheckRange(PVOID Base, SIZE_T Size, NTSTATUS BadBase, NTSTATUS BadSize);
BOOLEAN MiIsVadPageLocked(PMMVAD Vad, ULONG_PTR Va);
VOID MiUnlockVadPages(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End);
VOID MiDropSecures(PMMVAD Vad);

/* ---- watch.c ---- */
typedef struct _MI_WATCH MI_WATCH;
BOOLEAN MiWatchRange(PMI_SPACE Space, PMMVAD Vad); /* the space locked; FALSE: no memory */
VOID MiForgetWatch(PMI_SPACE Space, PMMVAD Vad);   /* the space locked, the pages gone */
VOID MiNoteWritten(PMMSUPPORT Set, ULONG_PTR Va);  /* any lock but WatchLock */
VOID MiForgetWritten(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End);

/* ---- placeholder.c; the space locked ---- */
VOID MiBecomePlaceholder(PMMVAD Vad);
NTSTATUS MiReleaseToPlaceholder(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, BOOLEAN Coalesce);

/* ---- view.c: pages of views; the space locked ---- */
VOID MiFreeView(PMI_SPACE Space, PMMVAD Vad);
NTSTATUS MiCommitView(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG Protect);
NTSTATUS MiProtectView(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG Protect);
ULONG MiProtectOfViewEntry(PMMVAD Vad, MMPTE Entry); /* PAGE_, 0: reserved */
BOOLEAN MiViewHasFile(PMMVAD Vad);
ULONG MiViewShareCount(PMMVAD Vad); /* views of its segment, at most 7 */
VOID MiInitializeSections(VOID);    /* section.c */

/* For mappings of frames that others own, in the current address space: takes Pages of addresses (at Requested, a multiple of
 * MI_GRANULARITY, or anywhere) and makes their page tables. STATUS_CONFLICTING_ADDRESSES, STATUS_INSUFFICIENT_RESOURCES (or
 * STATUS_NO_MEMORY: no such gap). IRQL <= APC_LEVEL. The caller maps with MiMapFrames, and unmaps before it releases. */
NTSTATUS MiReserveUserMapping(SIZE_T Pages, PVOID Requested, ULONG_PTR *Va);
/* Whether [Va, Va + Pages) is exactly one such mapping; of which process (NULL: System's before there are processes). */
BOOLEAN MiIsUserMapping(ULONG_PTR Va, SIZE_T Pages);
VOID MiReleaseUserMapping(ULONG_PTR Va, SIZE_T Pages);
