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
 * in order that has the full window also has the next two read without waiting (MI_AHEAD), within its page table: the device
 * works while the thread does. What they bring is in standby until the first of it is touched.
 *
 *      entry                     frame                                        meanwhile
 *      page file   --lock-->     Transition, READING, one reference           others who touch it wait (a collided fault)
 *      transition  --read-->     Standby, or Active for who read in order     freed: DELETED, goes when the read ends
 *                  --failed-->   free; the entry is the page file's again     whoever waited tries for itself
 *
 * Neighbours are only taken while memory is not short, and a failed read of theirs costs nobody anything: the transfer tries
 * the wanted page again alone (pagefile.h).
 *
 * Waiting threads sleep on one of 64 words, chosen by the frame, that a finished read bumps.
 *
 * Locks: the entry's lock, PfnLock inside; none while the device works. IRQL <= APC_LEVEL.
 */
#include "mm/mi.h"

#define MI_WINDOW_NEW  8u
#define MI_WINDOW_MOST MI_IO_PAGES

#define MI_NEAR 16 /* entries: a read that close to the last looks at some pages around, whatever came of the last */

static ULONG MiReaderOfThread(VOID)
{
    return (ULONG)KiCurrentThread()->Id / 4 % MI_READERS;
}
VOID MiCountReadAhead(VOID)
{
    __atomic_fetch_add(&MiState->Pager.Readers[MiReaderOfThread()].Hits, 1, __ATOMIC_RELAXED);
}

/* How many pages to read for a thread that asks for Pte. */
static ULONG MiChooseWindow(ULONG Reader, PMMPTE Pte, BOOLEAN *Ordered)
{
    PMMPTE End = __atomic_load_n(&MiState->Pager.Readers[Reader].End, __ATOMIC_RELAXED);
    ULONG Hits = __atomic_exchange_n(&MiState->Pager.Readers[Reader].Hits, 0, __ATOMIC_RELAXED), Window;
    *Ordered = End == Pte;
    if (*Ordered) {
        Window = 2 * __atomic_load_n(&MiState->Pager.Readers[Reader].Window, __ATOMIC_RELAXED);
        Window = Window < MI_WINDOW_NEW ? MI_WINDOW_NEW : Window;
    } else {
        ULONG Last = __atomic_load_n(&MiState->Pager.Readers[Reader].Around, __ATOMIC_RELAXED);
        BOOLEAN Near = (ULONG64)((LONG64)(ULONG_PTR)Pte - (LONG64)(ULONG_PTR)End + MI_NEAR * 8) <= 2 * MI_NEAR * 8;
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

/* Whether the page before Pte, the last of an ordered reader's run, was written to. Entry's lock held. */
static BOOLEAN MiWritesInOrder(PMMPTE Pte)
{
    if (((ULONG_PTR)Pte & (PAGE_SIZE - 1)) == 0) {
        return FALSE;
    }
    MMPTE Last = MiReadPte(Pte - 1);
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
    KiReleaseLock(&MiState->PfnLock);
    MiCount(&MiState->Pager.CollidedFaults);
    (VOID) HalWait(Word, Sequence, HAL_FOREVER);
}

/* How many entries before and behind Pte, of its table, continue its slot in both directions, within the window. */
static VOID MiMeasureRun(PMMPTE Pte, MI_SLOT Slot, ULONG Window, BOOLEAN Ordered, ULONG *Before, ULONG *Behind)
{
    ULONG Index = (ULONG)(((ULONG_PTR)Pte & (PAGE_SIZE - 1)) / sizeof(MMPTE));
    ULONG Low = Ordered ? Index : Index & ~(Window - 1);
    ULONG High = Low + Window < 512 ? Low + Window : 512;
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

/* Frames for the entries [From, From + Count) of the cluster; returns how many, from the start. */
static ULONG MiTakeForRead(PMI_PAGE_IO Io, PMMPTE First, ULONG From, ULONG Count)
{
    ULONG Done = 0;
    while (Done < Count) {
        PFN_NUMBER Base;
        BOOLEAN Dirty;
        PMMPTE Pte = First + From + Done;
        ULONG Got = MiTakeFrames(Count - Done, MI_TAKE_READING, Pte, &Base, &Dirty);
        if (Got == 0) {
            break;
        }
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Got; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            MiPfn(Base + Index)->OriginalPte = Entry;
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
 * lock is held. Returns how many joined. */
static ULONG MiEndRead(PMI_PAGE_IO Io, PMMPTE First, PMMSUPPORT Set, BOOLEAN Write, ULONG64 *Commit)
{
    ULONG Joined = 0, Good = 0;
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
                MiJoinWorkingSet(Set, First + Index);
            } else {
                if (Index != Io->Wanted || Io->Done) {
                    Pfn->Flags |= MI_PFN_AHEAD;
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
    }
    MiState->Pager.PageReads++;
    MiState->Pager.PagesRead += Good;
    KiReleaseLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Io->Count && Index < MI_PAGE_WAITS; Index++) {
        HalWake(MiWaitWord(Io->Pages[Index]), MAXLONG);
    }
    return Joined;
}

/* ---- ahead of a reader in order ---- */
static VOID MiAheadDone(PMI_PAGE_IO Io)
{
    MI_PAGER *Pager = &MiState->Pager;
    MI_AHEAD *Ahead = Io->Context;
    ULONG64 Commit = 0;
    KiAcquireLock(Ahead->Lock);
    (VOID) MiEndRead(Io, Ahead->First, NULL, FALSE, &Commit);
    KiReleaseLock(Ahead->Lock);
    if (Commit) {
        MiReturnCommitment(Commit); /* before anybody hears that the read is over */
    }
    MiPagesBecameAvailable();
    KiAcquireLock(&MiState->PfnLock);
    Ahead->Busy = FALSE;
    Pager->AheadsUnderWay--;
    __atomic_add_fetch(&Pager->AheadsEnded, 1, __ATOMIC_SEQ_CST);
    KiReleaseLock(&MiState->PfnLock);
    HalWake(&Pager->AheadsEnded, MAXLONG);
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

/* Prepares a read of the window at From, if the entries are there, RAM has room and a read is free. Their lock is held. */
static MI_AHEAD *MiPrepareAhead(PMMPTE From, PKI_LOCK Lock)
{
    MI_PAGER *Pager = &MiState->Pager;
    MI_AHEAD *Ahead = NULL;
    ULONG Before, Behind;
    MMPTE Entry = MiReadPte(From);
    if (!MiPteIsPageFile(Entry) || MiAvailable() < Pager->Reserve + 2 * MI_WINDOW_MOST ||
        !__atomic_load_n(&Pager->ThreadsRunning, __ATOMIC_ACQUIRE)) {
        return NULL;
    }
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < MI_AHEADS && !Ahead; Index++) {
        Ahead = Pager->Aheads[Index].Busy ? NULL : &Pager->Aheads[Index];
    }
    if (Ahead) {
        Ahead->Busy = TRUE;
        Pager->AheadsUnderWay++;
    }
    KiReleaseLock(&MiState->PfnLock);
    if (!Ahead) {
        return NULL;
    }
    MiMeasureRun(From, MiSlotOfPte(Entry), MI_WINDOW_MOST, TRUE, &Before, &Behind);
    Ahead->Io.Count = MiTakeForRead(&Ahead->Io, From, 0, 1 + Behind);
    if (Ahead->Io.Count == 0) {
        KiAcquireLock(&MiState->PfnLock);
        Ahead->Busy = FALSE;
        Pager->AheadsUnderWay--;
        __atomic_add_fetch(&Pager->AheadsEnded, 1, __ATOMIC_SEQ_CST);
        KiReleaseLock(&MiState->PfnLock);
        HalWake(&Pager->AheadsEnded, MAXLONG);
        return NULL;
    }
    Ahead->Lock = Lock;
    Ahead->First = From;
    Ahead->Io.Slot = MiSlotOfPte(Entry);
    Ahead->Io.Wanted = 0;
    Ahead->Io.Done = MiAheadDone;
    Ahead->Io.Context = Ahead;
    return Ahead;
}

/* Prepares what is missing of two windows behind End, within its page table. */
static VOID MiLookAhead(ULONG Reader, PMMPTE End, PKI_LOCK Lock, MI_READS *Reads)
{
    PMMPTE From = __atomic_load_n(&MiState->Pager.Readers[Reader].AheadEnd, __ATOMIC_RELAXED);
    PMMPTE Table = (PMMPTE)((ULONG_PTR)(End - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1)), Last = Table + 512;
    ULONG Count = 0;
    From = From < End || From > Last ? End : From;
    while (Count < ARRAYSIZE(Reads->Ahead) && From < Last && From < End + 2 * MI_WINDOW_MOST) {
        MI_AHEAD *Ahead = MiPrepareAhead(From, Lock);
        if (Ahead == NULL) {
            break;
        }
        From += Ahead->Io.Count;
        Reads->Ahead[Count++] = Ahead;
    }
    __atomic_store_n(&MiState->Pager.Readers[Reader].AheadEnd, From, __ATOMIC_RELAXED);
}

VOID MiStartReads(MI_READS *Reads)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(Reads->Ahead); Index++) {
        if (Reads->Ahead[Index]) {
            MiReadSlots(&Reads->Ahead[Index]->Io);
        }
    }
}

/* The pages behind Pte that were read ahead and nobody touched join the working set, Pte's own is the caller's. */
VOID MiTouchReadAhead(PMMPTE Pte, PKI_LOCK Lock, PMMSUPPORT Set, BOOLEAN Write, ULONG *Joined, MI_READS *Reads)
{
    ULONG Reader = MiReaderOfThread(), Count = 1;
    PMMPTE Last = (PMMPTE)(((ULONG_PTR)Pte & ~(ULONG_PTR)(PAGE_SIZE - 1)) + PAGE_SIZE);
    *Joined = 0;
    if (Set == NULL || Set->HardMaximum || __atomic_load_n(&MiState->Pager.Readers[Reader].End, __ATOMIC_RELAXED) != Pte) {
        MiCountReadAhead();
        return;
    }
    Write = Write || MiWritesInOrder(Pte);
    PMMPTE End = Pte + 1;
    KiAcquireLock(&MiState->PfnLock);
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
        MiWritePte(End, MiPteInWorkingSet(Write && MiProtAllowsWrite(Protection)
                                              ? MiPteValid(MiPtePage(Entry), Protection, Set->User)
                                              : MiPteValidClean(MiPtePage(Entry), Protection, Set->User)));
        MiJoinWorkingSet(Set, End);
    }
    KiReleaseLock(&MiState->PfnLock);
    *Joined = Count - 1;
    __atomic_store_n(&MiState->Pager.Readers[Reader].End, End, __ATOMIC_RELAXED);
    MiLookAhead(Reader, End, Lock, Reads);
}

NTSTATUS MiReadIn(PMMPTE Pte, PKI_LOCK Lock, PMMSUPPORT Set, ULONG_PTR Va, BOOLEAN Write, MI_WRONG_PAGE *Wrong)
{
    MI_PAGE_IO Io;
    ULONG Reader = MiReaderOfThread(), Before, Behind;
    ULONG64 Commit = 0;
    MI_READS Reads = {{NULL, NULL}};
    MMPTE Wanted = MiReadPte(Pte);
    MI_SLOT Slot = MiSlotOfPte(Wanted);
    BOOLEAN Ordered;
    ULONG Window = MiChooseWindow(Reader, Pte, &Ordered);
    Write = Write || (Ordered && MiWritesInOrder(Pte));
    MiMeasureRun(Pte, Slot, Window, Ordered, &Before, &Behind);
    ULONG64 Available = MiAvailable();
    if (Available < MiState->Pager.Reserve + Window) { /* short: who waits for pages comes before who may want one later */
        Before = Behind = 0;
    }
    /* The wanted page and those behind it together: frames in a row, if there are such. */
    ULONG Taken = MiTakeForRead(&Io, Pte - Before, Before, 1 + Behind);
    if (Taken == 0) {
        KiReleaseLock(Lock);
        BOOLEAN Hope = MiWaitForPages();
        KiAcquireLock(Lock);
        return Hope ? STATUS_SUCCESS : STATUS_NO_MEMORY;
    }
    if (Before && MiTakeForRead(&Io, Pte - Before, 0, Before) < Before) {
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
    if (Ordered && Set && !Set->HardMaximum && Window == MI_WINDOW_MOST) {
        MiLookAhead(Reader, Pte + Taken, Lock, &Reads);
    }
    KiReleaseLock(Lock);
    MiStartReads(&Reads);

    Io.Slot = Slot - Before;
    Io.Count = Before + 1 + Behind;
    Io.Wanted = Before;
    Io.Done = NULL;
    Io.Context = NULL;
    (VOID) MiReadSlotsAndWait(&Io);
    BOOLEAN WantedGood = MiIsIoGood(&Io, Before);
    NTSTATUS Status = WantedGood ? STATUS_SUCCESS : Io.Status;
    BOOLEAN Along = Ordered && Set && !Set->HardMaximum;

    KiAcquireLock(Lock);
    ULONG Joined = MiEndRead(&Io, First, Along ? Set : NULL, Write, &Commit);
    if (Joined) {
        (VOID) HalFillTb((PVOID)(Va - ((ULONG_PTR)Before << PAGE_SHIFT)), Io.Count, 0);
    }
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    __atomic_store_n(&MiState->Pager.Readers[Reader].End, First + Io.Count, __ATOMIC_RELAXED);
    if (!NT_SUCCESS(Status)) {
        *Wrong = (MI_WRONG_PAGE){Slot, Io.Found, Io.Expected};
        MiCount(&MiState->Pager.InPageErrors);
    } else {
        MiCount(&MiState->HardFaults);
    }
    return Status;
}
