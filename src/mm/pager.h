/*
 * pager.h - paging: working sets, thresholds, the writer, and what their files offer each other. SPDX-License-Identifier: MIT
 *
 * Included by mi.h, which has the frames. Who does what:
 *
 *      workset.c   which pages are resident, how old they are, taking them away
 *      balance.c   how many pages must be available, waiting for them, emptying memory on demand
 *      modwrite.c  modified pages go to the page files
 *      zeropage.c  free pages become zeroed ones
 *      inpage.c    pages come back
 *      fault.c     who asks for them
 *      discard.c   pages whose contents nobody needs
 *      stackswap.c kernel stacks of waiting threads
 */
#pragma once

#define MI_PAGE_WAITS    64u
#define MI_WRITERS_PAGES 32u   /* of Reserve, the mapped writer's alone: its requests and what it writes to take memory */
#define MI_WRITES        8u    /* clusters on their way out at once */
#define MI_GROW_PAGES    4096u /* slots asked for at a time when there are none */
#define MI_AHEADS        64u   /* reads that nobody waits for, at once */
#define MI_READERS       16u   /* threads, hashed, whose reading in order of addresses is noticed */

typedef struct _MI_WRITE {
    BOOLEAN Busy; /* (PfnLock) */
    MI_PAGE_IO Io;
} MI_WRITE;

/* A read that nobody waits for: what a reader in order will want next. */
typedef struct _MI_AHEAD {
    BOOLEAN Busy;   /* (PfnLock) */
    BOOLEAN Begins; /* its end begins the next one */
    ULONG Reader;   /* for whom: Readers[] */
    PKI_LOCK Lock;  /* of its entries */
    PMMPTE First;
    MI_PAGE_IO Io;
} MI_AHEAD;

/* They change when the first page file or section of a file comes, while others look. */
#define MiThreshold(Name) __atomic_load_n(&MiState->Pager.Name, __ATOMIC_RELAXED)
typedef struct _MI_PAGER {
    /* Thresholds in pages (balance.c), read by MiThreshold; all 0 without page files and sections of files. Available = zeroed + free + standby. */
    ULONG64 Reserve, Low, Plenty, LeastPageable;
    volatile ULONG64 Ahead,
        AheadMost; /* pages that Low and Plenty are higher by, for a thread that fills memory in order (balance.c) */
    volatile ULONG64
        ReadRoom;       /* the same for threads that read in order: what is read ahead of them takes room until it is touched */
    ULONG64 Patience;   /* ns without a page before the system gives up */
    ULONG TrimAge;      /* age from which pages are taken at first */
    volatile LONG Wake; /* futex words: of the balance manager, the writer, the zero thread */
    volatile LONG WriterWake, ZeroWake, MappedWake; /* set to wake it: the writer, the zero thread, the mapped writer */
    volatile LONG Available;                        /* futex word of those who wait for pages: bumped when there are more */
    volatile LONG Waiters;                          /* how many do */
    volatile LONG PageWait[MI_PAGE_WAITS];          /* futex words, by frame: bumped when a read of it ends */
    volatile LONG PageWaiters[MI_PAGE_WAITS];       /* who sleeps on them; goes up under PfnLock */
    BOOLEAN ThreadsRunning;                         /* else whoever needs pages does the work itself */
    volatile LONG Stop;
    struct _KTHREAD *BalanceThread, *WriterThread, *ZeroThread, *MappedThread;
    /* tick.c: of the balance manager's thread, but Dormant */
    ULONG64 NextTick, ModifiedSince, FaultsAtTick; /* ns; since when there are modified pages, at least: 0 there are none */
    ULONG QuietTicks;
    volatile BOOLEAN Dormant; /* no tick comes: who makes one worth while says so */
    /* modwrite.c */
    MI_WRITE Writes[MI_WRITES];
    ULONG WritesUnderWay;          /* (PfnLock) */
    volatile LONG WritesEnded;     /* futex word: bumped when a write ends */
    volatile ULONG64 WritingPages; /* (PfnLock to write) */
    ULONG64 ZeroingPages;          /* (PfnLock) neither free nor zeroed at the moment */
    volatile BOOLEAN FlushAll;     /* write everything, however much is available */
    volatile BOOLEAN OutOfSlots;   /* the last cluster found no slot */
    volatile NTSTATUS LastWriteError;
    volatile ULONG64 RetryDelay; /* ns; 0: the last write was good */
    /* inpage.c: where each thread's last read ended, how far it looks ahead if it reads in order and around it if not, and how
     * many pages that came along it has touched since */
    struct {
        volatile ULONG_PTR End; /* an address; of prototype entries, what stands for one */
        volatile ULONG Window, Around, Hits;
        volatile LONG Looking;         /* somebody starts reads for it: who else would, need not */
        volatile ULONG_PTR AheadEnd;   /* (Looking) up to where reads were started */
        volatile ULONG_PTR AheadLimit; /* up to where they may be: as it has got on */
        volatile ULONG AheadUnderWay;  /* (interlocked) reads that nobody waits for */
        volatile UCHAR Priority;       /* page priority of the thread */
    } Readers[MI_READERS];
    MI_AHEAD Aheads[MI_AHEADS];
    ULONG AheadsUnderWay;      /* (PfnLock) */
    volatile LONG AheadsEnded; /* futex word */
    /* fault.c: where each thread's last demand-zero fault ended, and how many came in order of addresses */
    struct {
        volatile ULONG_PTR End;
        volatile ULONG Run;
    } Fillers[MI_READERS];
    /* mapwrite.c */
    struct _KTHREAD *volatile MappedWriter;   /* the thread, once it runs */
    volatile ULONG64 MappedDelay;             /* ns; 0: the last write was good */
    ULONG64 MappedWrites, MappedPagesWritten; /* (PfnLock) by the mapped writer */
    volatile ULONG64 MappedWriteErrors;       /* (PfnLock to write) pages */
    KI_LOCK WorkingSetLock;
    LIST_ENTRY WorkingSets;                                                 /* (WorkingSetLock) MMSUPPORT.Links */
    volatile ULONG64 CollidedFaults, InPageErrors, TrimmedPages, AgedPages; /* (interlocked) */
    volatile ULONG64 PageWaits, ZeroedByThread; /* (interlocked) faults that waited for a page; pages the zero thread zeroed */
    ULONG64 RepurposedPages, PageReads, PagesRead, PageWrites, PagesWritten; /* (PfnLock) I/Os, and pages in them */
    volatile ULONG64 StacksOut, StacksIn; /* (interlocked) kernel stacks that left RAM, and came back */
    volatile ULONG64 WriteErrors;         /* (PfnLock to write) pages */
} MI_PAGER;

/* ---- working sets (workset.c) ----
 * The resident pageable pages of an address space are the valid entries of its page tables that have the working-set bit;
 * there is no second list. A page's age is in its entry (pte.h), each page table counts its working-set entries, and
 * a clock hand walks the ranges. One for the system (paged pool, pageable images, views), one for each process (in MI_SPACE). */
#define MI_WS_RANGES 6u
typedef struct _MMSUPPORT {
    LIST_ENTRY Links;                 /* (WorkingSetLock) MiState->Pager.WorkingSets */
    PFN_NUMBER Root;                  /* top page table */
    BOOLEAN User;                     /* of a process */
    BOOLEAN HardMaximum, HardMinimum; /* limits that even plenty, and even want, does not lift */
    UCHAR Priority;                   /* the highest standby list that its pages may go to */
    volatile LONG Busy;               /* (WorkingSetLock) a trimmer is inside; futex word */
    struct {
        ULONG_PTR Low, High;
    } Range[MI_WS_RANGES]; /* where its pageable addresses are */
    ULONG RangeCount;
    ULONG_PTR Hand;                     /* (Busy) next address the clock looks at */
    volatile ULONG64 Pages, PeakPages;  /* (interlocked) in the working set */
    ULONG64 MinimumPages, MaximumPages; /* MaximumPages 0: none */
    KI_LOCK WatchLock;                  /* a leaf */
    struct _MI_WATCH *volatile Watches; /* (WatchLock to change) ranges whose writes are watched: watch.c */
    volatile ULONG64 Faults, Trimmed;   /* (interlocked) page faults; pages taken away */
} MMSUPPORT, *PMMSUPPORT;

static inline BOOLEAN MiHasWatches(const MMSUPPORT *Set)
{
    return __atomic_load_n(&Set->Watches, __ATOMIC_RELAXED) != NULL;
}
/* Whether pages that nobody touched may come along with a fault. */
static inline BOOLEAN MiMayGoAlong(const MMSUPPORT *Set)
{
    return !Set->HardMaximum && !MiHasWatches(Set);
}

/* workset.c */
/* A working set over [Low, High) of the tables below Root. It joins the list of all; MiDeleteWorkingSet takes it out, when
 * it has no pages left, and waits for a trimmer inside it (PASSIVE_LEVEL). */
VOID MiInitializeWorkingSet(PMMSUPPORT Support, PFN_NUMBER Root, BOOLEAN User, ULONG_PTR Low, ULONG_PTR High);
VOID MiAddWorkingSetRange(PMMSUPPORT Support, ULONG_PTR Low, ULONG_PTR High);
VOID MiDeleteWorkingSet(PMMSUPPORT Support);
/* The leaf Pte, just made valid for a pageable frame, is in the working set; it (and Count - 1 others of its table) is
 * not any more. PteLock held; whoever changes a leaf tells. */
VOID MiJoinWorkingSet(PMMSUPPORT Support, PMMPTE Pte);
VOID MiJoinPages(PMMSUPPORT Support, PMMPTE Pte, ULONG Count); /* Count leaves of one table at once */
VOID MiLeaveWorkingSet(PMMSUPPORT Support, PMMPTE Pte, ULONG Count);
/* Entries of one lock that were exchanged for transition entries and flushed (Old[n] for each bit n of Gone): their frames go to
 * their lists. PteLock held. Returns how many can be had now. */
ULONG MiListTaken(PMMSUPPORT Support, const MMPTE *Old, ULONG64 Gone);
/* Takes up to Want pages away: each visited page ages by one unless its Accessed bit is set, which is then cleared; pages at
 * least LeastAge old go. Visits at most Visit pages. Returns the pages taken. IRQL <= APC_LEVEL. */
#define MI_AGE_ANY   0u     /* whatever is met */
#define MI_AGE_FILES 0x100u /* beside an age: only pages that have a mapped file to go to */
#define MI_AGE_NEVER 8u     /* nothing: it only ages */
ULONG64 MiTrimWorkingSet(PMMSUPPORT Support, ULONG64 Want, ULONG64 Visit, ULONG LeastAge);
ULONG64 MiTrimBusyWorkingSet(PMMSUPPORT Support, ULONG64 Want, ULONG64 Visit, ULONG LeastAge); /* of MiNextWorkingSet */
/* The first set (Last NULL), or the one behind Last, that no trimmer is in: it is then the caller's, Last no more. */
PMMSUPPORT MiNextWorkingSet(PMMSUPPORT Last);
ULONG64 MiEmptyWorkingSet(PMMSUPPORT Support);
/* Limits in pages; Maximum 0: none. STATUS_BAD_WORKING_SET_LIMIT: Minimum above Maximum or above what there is. */
NTSTATUS MiSetWorkingSetLimits(PMMSUPPORT Support, ULONG64 Minimum, ULONG64 Maximum, BOOLEAN HardMinimum, BOOLEAN HardMaximum);
/* Committed system pages, made resident when they were committed, become pageable (MmPageEntireDriver, pageable sections); and
 * are paged in and kept (MmLockPagableDataSection). The second waits for the device: IRQL <= APC_LEVEL; its errors are
 * STATUS_NO_MEMORY and the device's, for the page at *Failed. */
VOID MiMakePagesPageable(ULONG_PTR Va, SIZE_T Pages);
NTSTATUS MiMakePagesResident(ULONG_PTR Va, SIZE_T Pages, ULONG_PTR *Failed);
/* Whatever of the range is in a working set leaves it. Returns the frames that can be had now. IRQL <= APC_LEVEL. */
ULONG64 MiTrimPages(ULONG_PTR Va, SIZE_T Pages);
/* One page, and what a page-in found: whether one was made; STATUS_IN_PAGE_ERROR: the device's answer, and the slot. */
typedef struct _MI_PRESENCE {
    BOOLEAN ReadIn;
    NTSTATUS DeviceStatus;
    struct _MI_WRONG_PAGE { /* STATUS_CRC_ERROR: which, and its checksums; other errors: which */
        MI_SLOT Slot;
        ULONG Found, Expected;
    } Wrong;
} MI_PRESENCE;
typedef struct _MI_WRONG_PAGE MI_WRONG_PAGE;
NTSTATUS MiMakePageResident(ULONG_PTR Va, MI_PRESENCE *Presence);
NTSTATUS MiMakePresentTelling(ULONG_PTR Va, MI_PRESENCE *Presence); /* fault.c: read access, nothing locked */

/* discard.c */
/* Committed pages in the range that no entry maps, and nobody has locked, become demand-zero again. Returns how many. Any IRQL. */
ULONG64 MiDiscardPages(ULONG_PTR Va, SIZE_T Pages);
/* MEM_RESET: the contents of committed private pages need not be kept; and MEM_RESET_UNDO: they must, again. FALSE: some are gone. */
VOID MiResetPages(ULONG_PTR Va, SIZE_T Pages);
BOOLEAN MiUndoReset(ULONG_PTR Va, SIZE_T Pages);

/* stackswap.c */
/* Out: the frames that can be had now. In: FALSE: Parameters say why, as 0x77 wants them. */
ULONG64 MmTakeStackOut(ULONG_PTR Low, ULONG_PTR StackPointer, ULONG_PTR High);
BOOLEAN MmBringStackIn(ULONG_PTR Low, ULONG_PTR StackPointer, ULONG_PTR High, ULONG_PTR Parameters[4]);
VOID MiOfferStackSwapping(BOOLEAN On);   /* to ke */
const CHAR *MiValidateWorkingSets(VOID); /* at rest, or with the locks of MiValidateAll held */

/* balance.c */
VOID MiSetPagingThresholds(VOID); /* at start, and whenever the page files change */
VOID MiWakeBalance(VOID);         /* any IRQL, any lock */
VOID MiPagesWereTaken(VOID);      /* the same, if there are too few now */
/* Waits until pages may be available: trims, writes, or waits for those who do. FALSE: there is no hope. IRQL <= APC_LEVEL,
 * no lock. */
BOOLEAN MiWaitForPages(VOID);
/* Whether a thread that wants many pages would wait there, and for how many; with an IRQL and threads for it. */
BOOLEAN MiShouldWaitForPages(VOID);
/* A thread fills memory of Set in order. */
VOID MiMakeRoomAhead(PMMSUPPORT Set);
VOID MiEndRoomAhead(VOID);
/* A thread reads in order, up to Pages ahead of where it is. */
VOID MiMakeRoomToRead(ULONG64 Pages);
VOID MiEndRoomToRead(VOID);
ULONG64 MiEnoughPages(VOID);
VOID MiPagesBecameAvailable(VOID); /* wakes those who wait; any IRQL, any lock */
/* One step of the balance manager: trims until there is plenty. Returns the pages taken. */
ULONG64 MiBalance(VOID);
BOOLEAN MiShouldWrite(VOID);

/* tick.c */
VOID MiTick(ULONG64 Now);
VOID MiStartTicks(ULONG64 Now);
/* A page was taken, or became modified: ticks are worth while again. Any IRQL, any lock: as MiWakeBalance. */
VOID MiNoteActivity(VOID);

/* modwrite.c */
/* Starts writes of up to that many modified pages, grows the page files if need be; returns how many pages it started. IRQL <=
 * APC_LEVEL. */
ULONG64 MiWriteModifiedPages(ULONG64 Want);
/* Until one has ended since WritesEnded was Ended. IRQL <= APC_LEVEL */
VOID MiWaitForAWrite(LONG Ended);
VOID MiWaitForWrites(VOID); /* until none is under way. IRQL <= APC_LEVEL */
VOID MiWakeWriter(VOID);    /* any IRQL, any lock */
VOID MiWriterMain(PVOID Context);

/* zeropage.c */
ULONG64 MiZeroFreePages(ULONG64 Want); /* returns how many were zeroed. PASSIVE_LEVEL */
VOID MiWakeZeroing(VOID);              /* if there is too little that is zero. PASSIVE_LEVEL */

/* inpage.c */
/* The page-file entry *Pte is read in, with neighbours that were written together with it. Lock (the entry's) is held at the
 * call and at the return, not in between: STATUS_SUCCESS: look at the entry again (a good page is in standby or better by then).
 * Else the device's answer, the entry as it was. Set and Va: the working set that neighbours may join when somebody reads in
 * order of addresses, NULL for prototype entries. IRQL <= APC_LEVEL. */
NTSTATUS MiReadIn(PMMPTE Pte, PKI_LOCK Lock, PMMSUPPORT Set, ULONG_PTR Va, BOOLEAN Write, MI_WRONG_PAGE *Wrong);
/* The standby page of Pte was read ahead, and is touched. If the thread reads in order, those behind it join the working set with
 * it (*Joined of them, which the caller loads into the TB): TRUE, and MiLookAhead is to be called. The entry's lock is held. */
BOOLEAN MiTouchReadAhead(PMMPTE Pte, ULONG_PTR Va, PMMSUPPORT Set, BOOLEAN Write, ULONG *Joined);
/* The thread reads Set's addresses in order and has got as far as End: begins to read what it will want. IRQL <= APC_LEVEL, no
 * lock; waits for nothing. */
VOID MiLookAhead(PMMSUPPORT Set, ULONG_PTR End);
VOID MiWaitForReadsAhead(VOID); /* until none is under way. IRQL <= APC_LEVEL */
/* Somebody touched a page that had come along (MI_PFN_AHEAD): looking around pays. */
VOID MiCountReadAhead(VOID);
/* Waits for the end of the read that MI_PFN_READING tells of. PfnLock is held at the call and not after; no other lock. */
VOID MiWaitForRead(PFN_NUMBER Page);
/* I/O of these frames has ended (bumped under PfnLock first, then woken without a lock). */
static inline volatile LONG *MiPageWaitWord(struct _MI_PAGER *Pager, PFN_NUMBER Page)
{
    return &Pager->PageWait[Page % MI_PAGE_WAITS];
}
