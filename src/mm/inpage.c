/*
 * inpage.c - hard faults: pages come back from a page file. SPDX-License-Identifier: MIT
 *
 * The page that is wanted brings neighbours along whose slots are neighbours too, which is how the writer put pages that lay
 * side by side (modwrite.c). How many depends on the reader. A thread that asks for the page behind its last read reads in
 * order, and looks ahead 16, 32, 64 pages; somewhere new it looks at the pages around: 8 at first, then as many as proved
 * useful, which is one more than it touched of those that came along the last time (MI_PFN_AHEAD), rounded up; a reader at
 * random soon takes single pages. What comes along goes to standby, where a touch is a soft fault; for a reader in order it goes
 * into the working set at once, so that the run costs one fault. If the last page of the run before was written to, it writes
 * in order: then all but the last go in Dirty, as they would be so at once (the last shows whether it still writes). A reader
 * in order that has the full window also has the next ones read without waiting (MI_AHEAD), beyond the end of its page table
 * if it comes to that, over what is in RAM: the device works while the thread does. What they bring is in standby until the first
 * of it is touched. MI_DEPTH are under way, and MI_DISTANCE is how far they may be ahead of it: more, so that the end of one begins the
 * next (in the system's working set) and the device need not wait for the thread that was woken, which begins with many at a time when
 * that has come to an end. Where it finds a page missing that had been read ahead, for memory was short, reading ahead begins there anew.
 *
 * Windows of a reader in order end where 64 pages of addresses end, as the stretches do that trimming and writing handle: what
 * came into a run of frames together leaves together, and stays a run for those who take the frames next.
 *
 *      entry                     frame                                        meanwhile
 *      page file   --lock-->     Transition, READING, one reference           others who touch it wait (a collided fault)
 *      transition  --read-->     Standby, or Active for who read in order     freed: DELETED, goes when the read ends
 *                  --failed-->   free; the entry is the page file's again     whoever waited tries for itself
 *
 * Neighbours are only taken while memory is not short, and a failed read of theirs costs nobody anything: the transfer tries
 * the wanted page again alone (pagefile.h).
 *
 * Waiting threads sleep on one of 64 words, chosen by the frame, that a finished read bumps; it wakes only where somebody is.
 *
 * Locks: the entry's lock, PfnLock inside; none while the device works. IRQL <= APC_LEVEL.
 */
#include "mm/mi.h"

#define MI_WINDOW_NEW  8u
#define MI_WINDOW_MOST MI_IO_PAGES
#define MI_DEPTH       16u /* windows that a reader in order has under way */
#define MI_DISTANCE    24u /* windows that are read or under way ahead of it, where RAM is large enough */

#define MI_NEAR 16 /* pages: a read that close to the last looks at some pages around, whatever came of the last */

static ULONG MiReaderOfThread(VOID)
{
    return (ULONG)KiCurrentThread()->Id / 4 % MI_READERS;
}
VOID MiCountReadAhead(VOID)
{
    __atomic_fetch_add(&MiState->Pager.Readers[MiReaderOfThread()].Hits, 1, __ATOMIC_RELAXED);
}

/* Where a reader is: the page's address, or, of a prototype entry, as good as one. */
static ULONG_PTR MiPositionOf(PMMPTE Pte, PMMSUPPORT Set, ULONG_PTR Va)
{
    return Set ? Va & ~(ULONG_PTR)(PAGE_SIZE - 1) : (ULONG_PTR)Pte / sizeof(MMPTE) * PAGE_SIZE;
}

/* How many pages to read for a thread that asks for the one at Position. */
static ULONG MiChooseWindow(ULONG Reader, ULONG_PTR Position, BOOLEAN *Ordered)
{
    ULONG_PTR End = __atomic_load_n(&MiState->Pager.Readers[Reader].End, __ATOMIC_RELAXED);
    ULONG Hits = __atomic_exchange_n(&MiState->Pager.Readers[Reader].Hits, 0, __ATOMIC_RELAXED), Window;
    *Ordered = End == Position;
    if (*Ordered) {
        Window = 2 * __atomic_load_n(&MiState->Pager.Readers[Reader].Window, __ATOMIC_RELAXED);
        Window = Window < MI_WINDOW_NEW ? MI_WINDOW_NEW : Window;
    } else {
        ULONG Last = __atomic_load_n(&MiState->Pager.Readers[Reader].Around, __ATOMIC_RELAXED);
        BOOLEAN Near = Position - End + MI_NEAR * PAGE_SIZE <= 2 * MI_NEAR * PAGE_SIZE;
        Last = Last ? Last : 2 * MI_WINDOW_NEW; /* the thread's first */
        Window = Hits || Near ? 4 : 1;
        while (Window < Hits + 1) {
            Window *= 2;
        }
        Window = Window < Last / 2 ? Last / 2 : Window;
        __atomic_store_n(&MiState->Pager.Readers[Reader].Around, Window, __ATOMIC_RELAXED);
    }
    Window = Window > MI_WINDOW_MOST ? MI_WINDOW_MOST : Window;
    __atomic_store_n(&MiState->Pager.Readers[Reader].Window, Window, __ATOMIC_RELAXED);
    return Window;
}

/* Whether the page before Va's (Pte), the last of an ordered reader's run, was written to. Entry's lock held; the page before may be in
 * another table, under another lock: then it is a hint. */
static BOOLEAN MiWritesInOrder(PMMPTE Pte, PMMSUPPORT Set, ULONG_PTR Va)
{
    PMMPTE Before = Pte - 1;
    if (((ULONG_PTR)Pte & (PAGE_SIZE - 1)) == 0) {
        Va -= PAGE_SIZE;
        Before = Set && MiRegionOfVa(Va) && MiWorkingSetOfVa(Va) == Set ? MiPteOf(Va) : NULL;
    }
    MMPTE Last = Before ? MiReadPte(Before) : MI_ZERO_PTE;
    return MiPteIsValid(Last) && MiPteIsDirty(Last);
}

static inline volatile LONG *MiWaitWord(PFN_NUMBER Page)
{
    return &MiState->Pager.PageWait[Page % MI_PAGE_WAITS];
}

VOID MiWaitForRead(PFN_NUMBER Page)
{
    volatile LONG *Word = MiWaitWord(Page);
    LONG Sequence = __atomic_load_n(Word, __ATOMIC_ACQUIRE); /* bumped under PfnLock, which is still held */
    __atomic_fetch_add(&MiState->Pager.PageWaiters[Page % MI_PAGE_WAITS], 1, __ATOMIC_RELAXED);
    KiReleaseLock(&MiState->PfnLock);
    MiCount(&MiState->Pager.CollidedFaults);
    (VOID) HalWait(Word, Sequence, HAL_FOREVER);
    __atomic_fetch_sub(&MiState->Pager.PageWaiters[Page % MI_PAGE_WAITS], 1, __ATOMIC_RELAXED);
}

/* How many entries before and behind Pte, of its table, continue its slot in both directions, within the window. */
static VOID MiMeasureRun(PMMPTE Pte, MI_SLOT Slot, ULONG Window, BOOLEAN Ordered, ULONG *Before, ULONG *Behind)
{
    ULONG Index = (ULONG)(((ULONG_PTR)Pte & (PAGE_SIZE - 1)) / sizeof(MMPTE));
    ULONG Low = Ordered ? Index : Index & ~(Window - 1);
    ULONG High = Ordered && Low + Window > (Low | (MI_WINDOW_MOST - 1)) ? (Low | (MI_WINDOW_MOST - 1)) + 1 : Low + Window;
    *Before = *Behind = 0;
    while (Index - *Before > Low) {
        MMPTE Entry = MiReadPte(Pte - *Before - 1);
        if (!MiPteIsPageFile(Entry) || MiSlotOfPte(Entry) != Slot - *Before - 1) {
            break;
        }
        ++*Before;
    }
    while (Index + *Behind + 1 < High) {
        MMPTE Entry = MiReadPte(Pte + *Behind + 1);
        if (!MiPteIsPageFile(Entry) || MiSlotOfPte(Entry) != Slot + *Behind + 1) {
            break;
        }
        ++*Behind;
    }
}

/* Frames for the entries [From, From + Count) of the cluster, of that page priority; returns how many, from the start. */
static ULONG MiTakeForRead(PMI_PAGE_IO Io, PMMPTE First, ULONG From, ULONG Count, UCHAR Priority)
{
    ULONG Done = 0, Shared = MiPfn(HalWindowPage(First))->Flags & MI_PFN_TABLE ? 0 : MI_TAKE_SHARED;
    while (Done < Count) {
        PFN_NUMBER Base;
        BOOLEAN Dirty;
        PMMPTE Pte = First + From + Done;
        ULONG Got = MiTakeFrames(Count - Done, MI_TAKE_READING | Shared, Pte, &Base, &Dirty);
        if (Got == 0) {
            break;
        }
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Got; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            MiPfn(Base + Index)->OriginalPte = Entry;
            MiPfn(Base + Index)->Priority = Priority;
            MiWritePte(Pte + Index, MiPteTransition(Base + Index, MiPteProtection(Entry)));
            Io->Pages[From + Done + Index] = (ULONG)(Base + Index);
        }
        KiReleaseLock(&MiState->PfnLock);
        Done += Got;
    }
    return Done;
}

/* A page that came along goes into the working set of a reader in order. Entry's lock and PfnLock held. */
static BOOLEAN MiMapAlong(PMMPTE Pte, PFN_NUMBER Page, PMMPFN Pfn, BOOLEAN User, BOOLEAN Write)
{
    MI_PROT Protection = MiPteProtection(MiReadPte(Pte));
    if (Pfn->ReferenceCount != 1 || !MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) ||
        MiProtIsCopyOnWrite(Protection)) {
        return FALSE;
    }
    MiSetPageState(Page, Pfn, MiPageActive); /* the read's reference becomes the share's */
    Pfn->u2.ShareCount = 1;
    MMPTE Entry =
        Write && MiProtAllowsWrite(Protection) ? MiPteValid(Page, Protection, User) : MiPteValidClean(Page, Protection, User);
    MiWritePte(Pte, MiPteInWorkingSet(Entry));
    return TRUE;
}

/* A read has ended: every page of it goes to standby or the working set (Set not NULL), or its entry is as it was. The entries'
 * lock is held. Returns how many joined; *Wake: for MiWakeReaders. */
static ULONG MiEndRead(PMI_PAGE_IO Io, PMMPTE First, PMMSUPPORT Set, BOOLEAN Write, ULONG64 *Commit, ULONG64 *Wake)
{
    ULONG Joined = 0, Good = 0;
    *Wake = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Io->Count; Index++) {
        PFN_NUMBER Page = Io->Pages[Index];
        PMMPFN Pfn = MiPfn(Page);
        Pfn->Flags &= (USHORT)~MI_PFN_READING;
        if (MiIsIoGood(Io, Index)) {
            Good++;
            if (!(Pfn->Flags & MI_PFN_DELETED) && Set &&
                MiMapAlong(First + Index, Page, Pfn, Set->User, Write && Index + 1 < Io->Count)) {
                Joined++;
            } else {
                if (Index != Io->Wanted || Io->Done) {
                    Pfn->Flags |= MI_PFN_AHEAD;
                    Pfn->Again = Io->Done != NULL;
                }
                (VOID) MiDereferenceFrameLocked(Page, Commit);
            }
        } else {
            if (!(Pfn->Flags & MI_PFN_DELETED)) { /* as it was: the copy stays with the entry */
                MiWritePte(First + Index, MiPteBacking(Pfn->OriginalPte, MiPteProtection(MiReadPte(First + Index))));
                Pfn->OriginalPte = MI_ZERO_PTE;
                Pfn->PteAddress = NULL;
                Pfn->Flags |= MI_PFN_DELETED;
            }
            (VOID) MiDereferenceFrameLocked(Page, Commit);
        }
        __atomic_add_fetch(MiWaitWord(Page), 1, __ATOMIC_RELEASE);
        if (__atomic_load_n(&MiState->Pager.PageWaiters[Page % MI_PAGE_WAITS], __ATOMIC_RELAXED)) {
            *Wake |= 1ull << Page % MI_PAGE_WAITS; /* who comes from now on finds the read ended */
        }
    }
    MiState->Pager.PageReads++;
    MiState->Pager.PagesRead += Good;
    KiReleaseLock(&MiState->PfnLock);
    if (Joined) {
        MiJoinPages(Set, First, Joined);
    }
    return Joined;
}

/* No lock is held: who wakes wants them. */
static VOID MiWakeReaders(ULONG64 Wake)
{
    C_ASSERT(MI_PAGE_WAITS == 64);
    for (; Wake; Wake &= Wake - 1) {
        HalWake(&MiState->Pager.PageWait[__builtin_ctzll(Wake)], MAXLONG);
    }
}

/* ---- ahead of a reader in order ---- */
static VOID MiFreeAhead(MI_AHEAD *Ahead)
{
    MI_PAGER *Pager = &MiState->Pager;
    KiAcquireLock(&MiState->PfnLock);
    Ahead->Busy = FALSE;
    BOOLEAN Last = --Pager->AheadsUnderWay == 0;
    __atomic_add_fetch(&Pager->AheadsEnded, 1, __ATOMIC_SEQ_CST);
    KiReleaseLock(&MiState->PfnLock);
    if (Last) {
        HalWake(&Pager->AheadsEnded, MAXLONG);
    }
}

static VOID MiKeepReading(ULONG Reader, PMMSUPPORT Set);

/* Whether the end of a read begins the next, on the machine's thread, which is in no process. Not where the store is emptied first, which takes
 * time. */
static BOOLEAN MiMayBeginNext(PMMSUPPORT Set)
{
    return Set == &MiState->SystemWorkingSet && MiState->Paging.Store == NULL;
}

static VOID MiAheadDone(PMI_PAGE_IO Io)
{
    MI_AHEAD *Ahead = Io->Context;
    ULONG64 Commit = 0, Wake;
    KiAcquireLock(Ahead->Lock);
    (VOID) MiEndRead(Io, Ahead->First, NULL, FALSE, &Commit, &Wake);
    KiReleaseLock(Ahead->Lock);
    MiWakeReaders(Wake);
    if (Commit) {
        MiReturnCommitment(Commit); /* before anybody hears that the read is over */
    }
    MiPagesBecameAvailable();
    __atomic_fetch_sub(&MiState->Pager.Readers[Ahead->Reader].AheadUnderWay, 1, __ATOMIC_SEQ_CST);
    if (Ahead->Begins && NT_SUCCESS(Io->Status)) {
        MiKeepReading(Ahead->Reader, &MiState->SystemWorkingSet);
    }
    MiFreeAhead(Ahead); /* the next is under way by then: who waits for all sees no gap */
}

VOID MiWaitForReadsAhead(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    for (ULONG UnderWay = 1; UnderWay;) {
        LONG Ended = __atomic_load_n(&Pager->AheadsEnded, __ATOMIC_SEQ_CST);
        KiAcquireLock(&MiState->PfnLock);
        UnderWay = Pager->AheadsUnderWay;
        KiReleaseLock(&MiState->PfnLock);
        if (UnderWay) {
            (VOID) HalWait(&Pager->AheadsEnded, Ended, HAL_FOREVER);
        }
    }
}

static MI_AHEAD *MiTakeAhead(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    MI_AHEAD *Ahead = NULL;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < MI_AHEADS && !Ahead; Index++) {
        Ahead = Pager->Aheads[Index].Busy ? NULL : &Pager->Aheads[Index];
    }
    if (Ahead) {
        Ahead->Busy = TRUE;
        Pager->AheadsUnderWay++;
    }
    KiReleaseLock(&MiState->PfnLock);
    return Ahead;
}

/* The first address in [From, To), all of one page table, whose page is in a page file; To: there is none. Its lock is held. */
static ULONG_PTR MiSkipPresent(PMMPTE Pte, ULONG_PTR From, ULONG_PTR To)
{
    while (From < To && !MiPteIsPageFile(MiReadPte(Pte))) {
        From += PAGE_SIZE;
        Pte++;
    }
    return From;
}

static ULONG_PTR MiReadDistance(VOID)
{
    ULONG64 Pages = MiManagedPages() / 16, Most = MI_DISTANCE * MI_WINDOW_MOST;
    Pages = Pages > Most ? Most : Pages < 2 * MI_WINDOW_MOST ? 2 * MI_WINDOW_MOST : Pages;
    return Pages << PAGE_SHIFT;
}

/* Begins to read the next window of Set at From for the reader. Returns where it ends; From: not now. */
static ULONG_PTR MiReadWindow(ULONG Reader, PMMSUPPORT Set, ULONG_PTR From, ULONG_PTR Limit)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG Before, Behind;
    ULONG_PTR To = From + MiEntriesToTableEnd(From) * (ULONG_PTR)PAGE_SIZE;
    PMMPTE Pte = MiRegionOfVa(From) && MiWorkingSetOfVa(From) == Set ? MiPteOf(From) : NULL;
    MI_AHEAD *Ahead = Pte ? MiTakeAhead() : NULL;
    if (Ahead == NULL) {
        return From;
    }
    PKI_LOCK Lock = MiPteLock(From);
    KiAcquireLock(Lock);
    ULONG_PTR Next = MiSkipPresent(Pte, From, To < Limit ? To : Limit);
    Pte += (Next - From) >> PAGE_SHIFT;
    Ahead->Io.Count = 0;
    if (Next < To && Next < Limit) {
        Ahead->Io.Slot = MiSlotOfPte(MiReadPte(Pte));
        MiMeasureRun(Pte, Ahead->Io.Slot, MI_WINDOW_MOST, TRUE, &Before, &Behind);
        Ahead->Io.Count =
            MiTakeForRead(&Ahead->Io, Pte, 0, 1 + Behind, __atomic_load_n(&Pager->Readers[Reader].Priority, __ATOMIC_RELAXED));
        Next = Ahead->Io.Count ? Next : From; /* memory is short */
    }
    KiReleaseLock(Lock);
    if (Ahead->Io.Count == 0) {
        MiFreeAhead(Ahead);
        return Next;
    }
    Ahead->Lock = Lock;
    Ahead->First = Pte;
    Ahead->Reader = Reader;
    Ahead->Begins = MiMayBeginNext(Set);
    Ahead->Io.Wanted = 0;
    Ahead->Io.Done = MiAheadDone;
    Ahead->Io.Context = Ahead;
    Next += Ahead->Io.Count * (ULONG_PTR)PAGE_SIZE;
    __atomic_fetch_add(&Pager->Readers[Reader].AheadUnderWay, 1, __ATOMIC_RELAXED);
    MiReadSlots(&Ahead->Io);
    return Next;
}

/* Begins reads for the reader from *From on, whose Looking is set. TRUE: as many as may be; FALSE: there is a reason why no more are. */
static BOOLEAN MiBeginReads(ULONG Reader, PMMSUPPORT Set, ULONG_PTR *From)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG_PTR Distance = MiReadDistance();
    while (__atomic_load_n(&Pager->Readers[Reader].AheadUnderWay, __ATOMIC_RELAXED) < MI_DEPTH) {
        ULONG_PTR Limit = __atomic_load_n(&Pager->Readers[Reader].AheadLimit, __ATOMIC_RELAXED), End = Limit - Distance;
        *From = *From - End <= Distance ? *From : End; /* it is elsewhere now */
        if (*From == Limit) {
            break;
        }
        /* They are to find other pages to take than those that were read ahead, which are to stay until they are touched. */
        ULONG64 Keep = MiThreshold(Reserve) + ((*From - End) >> PAGE_SHIFT) + 2 * MI_WINDOW_MOST;
        ULONG_PTR Next = MiAvailable() >= Keep && __atomic_load_n(&Pager->ThreadsRunning, __ATOMIC_ACQUIRE)
                             ? MiReadWindow(Reader, Set, *From, Limit)
                             : *From;
        if (Next == *From) {
            return FALSE;
        }
        *From = Next;
    }
    return TRUE;
}

/* Has as many reads under way for the reader as may be, up to its limit. Who comes while another does this need not: that one looks
 * again afterwards. */
static VOID MiKeepReading(ULONG Reader, PMMSUPPORT Set)
{
    MI_PAGER *Pager = &MiState->Pager;
    BOOLEAN More = TRUE;
    while (More && !__atomic_exchange_n(&Pager->Readers[Reader].Looking, 1, __ATOMIC_SEQ_CST)) {
        ULONG_PTR From = __atomic_load_n(&Pager->Readers[Reader].AheadEnd, __ATOMIC_RELAXED);
        More = MiBeginReads(Reader, Set, &From);
        __atomic_store_n(&Pager->Readers[Reader].AheadEnd, From, __ATOMIC_RELAXED);
        __atomic_store_n(&Pager->Readers[Reader].Looking, 0, __ATOMIC_SEQ_CST);
        More = More && __atomic_load_n(&Pager->Readers[Reader].AheadUnderWay, __ATOMIC_SEQ_CST) < MI_DEPTH &&
               __atomic_load_n(&Pager->Readers[Reader].AheadLimit, __ATOMIC_SEQ_CST) != From;
    }
}

/* What was read ahead at From - 1 is gone, and so may be what follows: it is looked for anew. Nobody waits for Looking: the next hard fault
 * of the reader says so again. */
static VOID MiBeginAheadAnew(ULONG Reader, ULONG_PTR From)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (!__atomic_exchange_n(&Pager->Readers[Reader].Looking, 1, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&Pager->Readers[Reader].AheadEnd, From, __ATOMIC_RELAXED);
        __atomic_store_n(&Pager->Readers[Reader].Looking, 0, __ATOMIC_SEQ_CST);
    }
}

VOID MiLookAhead(PMMSUPPORT Set, ULONG_PTR End)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG Reader = MiReaderOfThread();
    ULONG_PTR Distance = MiReadDistance();
    __atomic_store_n(&Pager->Readers[Reader].Priority, __atomic_load_n(&KiCurrentThread()->PagePriority, __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&Pager->Readers[Reader].AheadLimit, End + Distance, __ATOMIC_SEQ_CST);
    if (MiAvailable() < MiThreshold(Plenty) + 2 * (Distance >> PAGE_SHIFT)) {
        MiMakeRoomToRead(Distance >> PAGE_SHIFT);
    }
    /* Many at once, which the machine makes larger transfers of; what is under way goes on by itself, or will soon have to. */
    if (__atomic_load_n(&Pager->Readers[Reader].AheadUnderWay, __ATOMIC_SEQ_CST) <= MI_DEPTH / 2) {
        MiKeepReading(Reader, Set);
    }
}

/* The pages behind Pte that were read ahead and nobody touched join the working set, Pte's own is the caller's. */
BOOLEAN MiTouchReadAhead(PMMPTE Pte, ULONG_PTR Va, PMMSUPPORT Set, BOOLEAN Write, ULONG *Joined)
{
    ULONG Reader = MiReaderOfThread(), Count = 1;
    ULONG_PTR Position = MiPositionOf(Pte, Set, Va);
    PMMPTE Last = (PMMPTE)(((ULONG_PTR)Pte & ~(ULONG_PTR)(PAGE_SIZE - 1)) + PAGE_SIZE);
    *Joined = 0;
    if (Set == NULL || !MiMayGoAlong(Set) ||
        __atomic_load_n(&MiState->Pager.Readers[Reader].End, __ATOMIC_RELAXED) != Position) {
        MiCountReadAhead();
        return FALSE;
    }
    Write = Write || MiWritesInOrder(Pte, Set, Va);
    PMMPTE End = Pte + 1;
    KiAcquireLock(&MiState->PfnLock);
    MMPTE First = MiReadPte(Pte);
    if (Write && MiPteIsValid(First) && !MiPteIsDirty(First) && MiProtAllowsWrite(MiPteProtection(First)) &&
        !MiProtIsCopyOnWrite(MiPteProtection(First))) {
        MiWritePte(Pte, MiPteInWorkingSet(MiPteValid(MiPtePage(First), MiPteProtection(First), Set->User)));
    }
    for (; End < Last && Count < MI_WINDOW_MOST; End++, Count++) {
        MMPTE Entry = MiReadPte(End);
        PMMPFN Pfn = MiPteIsTransition(Entry) ? MiPfn(MiPtePage(Entry)) : NULL;
        MI_PROT Protection = MiPteProtection(Entry);
        if (Pfn == NULL || Pfn->State != MiPageStandby || !(Pfn->Flags & MI_PFN_AHEAD) || !MiProtAllowsAccess(Protection) ||
            MiProtIsGuard(Protection) || MiProtIsCopyOnWrite(Protection)) {
            break;
        }
        Pfn->Flags &= (USHORT)~MI_PFN_AHEAD;
        MiActivateFrameLocked(MiPtePage(Entry), Pfn);
        /* The last of a window shows whether the thread still writes. */
        BOOLEAN Dirty = Write && MiProtAllowsWrite(Protection) && ((ULONG_PTR)(End + 1) / sizeof(MMPTE)) % MI_WINDOW_MOST != 0;
        MiWritePte(End, MiPteInWorkingSet(Dirty ? MiPteValid(MiPtePage(Entry), Protection, Set->User)
                                                : MiPteValidClean(MiPtePage(Entry), Protection, Set->User)));
    }
    KiReleaseLock(&MiState->PfnLock);
    *Joined = Count - 1;
    if (*Joined) {
        MiJoinPages(Set, Pte, *Joined);
    }
    __atomic_store_n(&MiState->Pager.Readers[Reader].End, Position + Count * (ULONG_PTR)PAGE_SIZE, __ATOMIC_RELAXED);
    return TRUE;
}

NTSTATUS MiReadIn(PMMPTE Pte, PKI_LOCK Lock, PMMSUPPORT Set, ULONG_PTR Va, BOOLEAN Write, MI_WRONG_PAGE *Wrong)
{
    MI_PAGE_IO Io;
    ULONG Reader = MiReaderOfThread(), Before, Behind;
    ULONG64 Commit = 0;
    ULONG64 Wake;
    ULONG_PTR Position = MiPositionOf(Pte, Set, Va);
    MMPTE Wanted = MiReadPte(Pte);
    MI_SLOT Slot = MiSlotOfPte(Wanted);
    BOOLEAN Ordered;
    ULONG Window = MiChooseWindow(Reader, Position, &Ordered);
    Write = Write || (Ordered && MiWritesInOrder(Pte, Set, Va));
    MiMeasureRun(Pte, Slot, Window, Ordered, &Before, &Behind);
    ULONG64 Available = MiAvailable();
    if (Available < MiThreshold(Reserve) + Window) { /* short: who waits for pages comes before who may want one later */
        Before = 0;
        if (Ordered && Behind && MiShouldWaitForPages()) { /* it would have to wait for each */
            KiReleaseLock(Lock);
            BOOLEAN Hope = MiWaitForPages();
            KiAcquireLock(Lock);
            return Hope ? STATUS_SUCCESS : STATUS_NO_MEMORY;
        }
        ULONG64 Spare = Ordered && Available > MiThreshold(Reserve) ? (Available - MiThreshold(Reserve)) / 2 : 0;
        Behind = Spare < Behind ? (ULONG)Spare : Behind;
    }
    /* The wanted page and those behind it together: frames in a row, if there are such. */
    UCHAR Priority = __atomic_load_n(&KiCurrentThread()->PagePriority, __ATOMIC_RELAXED);
    ULONG Taken = MiTakeForRead(&Io, Pte - Before, Before, 1 + Behind, Priority);
    if (Taken == 0) {
        KiReleaseLock(Lock);
        BOOLEAN Hope = MiWaitForPages();
        KiAcquireLock(Lock);
        return Hope ? STATUS_SUCCESS : STATUS_NO_MEMORY;
    }
    if (Before && MiTakeForRead(&Io, Pte - Before, 0, Before, Priority) < Before) {
        /* Those taken are not next to the wanted page: they are gaps of no use, so they go back. */
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Before; Index++) {
            MMPTE Entry = MiReadPte(Pte - Before + Index);
            if (MiPteIsTransition(Entry)) {
                PMMPFN Pfn = MiPfn(MiPtePage(Entry));
                MiWritePte(Pte - Before + Index, MiPteBacking(Pfn->OriginalPte, MiPteProtection(Entry)));
                Pfn->OriginalPte = MI_ZERO_PTE;
                Pfn->Flags = (USHORT)((Pfn->Flags & ~MI_PFN_READING) | MI_PFN_DELETED);
                (VOID) MiDereferenceFrameLocked(MiPtePage(Entry), &Commit);
            }
        }
        KiReleaseLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Taken; Index++) {
            Io.Pages[Index] = Io.Pages[Before + Index];
        }
        Before = 0;
    }
    PMMPTE First = Pte - Before;
    Behind = Taken - 1;
    KiReleaseLock(Lock);
    if (Ordered && Set && MiMayGoAlong(Set) && Window == MI_WINDOW_MOST) {
        MiBeginAheadAnew(Reader, Position + Taken * (ULONG_PTR)PAGE_SIZE);
        MiLookAhead(Set, Position + Taken * (ULONG_PTR)PAGE_SIZE);
    }

    Io.Slot = Slot - Before;
    Io.Count = Before + 1 + Behind;
    Io.Wanted = Before;
    Io.Done = NULL;
    Io.Context = NULL;
    (VOID) MiReadSlotsAndWait(&Io);
    BOOLEAN WantedGood = MiIsIoGood(&Io, Before);
    NTSTATUS Status = WantedGood ? STATUS_SUCCESS : Io.Status;
    BOOLEAN Along = Ordered && Set && MiMayGoAlong(Set);

    KiAcquireLock(Lock);
    ULONG Joined = MiEndRead(&Io, First, Along ? Set : NULL, Write, &Commit, &Wake);
    if (Joined) {
        (VOID) HalFillTb((PVOID)(Va - ((ULONG_PTR)Before << PAGE_SHIFT)), Io.Count, 0);
    }
    MiWakeReaders(Wake);
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    __atomic_store_n(&MiState->Pager.Readers[Reader].End, Position + (Io.Count - Before) * (ULONG_PTR)PAGE_SIZE,
                     __ATOMIC_RELAXED);
    if (!NT_SUCCESS(Status)) {
        *Wrong = (MI_WRONG_PAGE){Slot, Io.Found, Io.Expected};
        MiCount(&MiState->Pager.InPageErrors);
    } else {
        MiCount(&MiState->HardFaults);
    }
    MiEndRoomAhead();
    return Status;
}
