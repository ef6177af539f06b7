/*
 * inpage.c - hard faults: pages come back from a page file. SPDX-License-Identifier: MIT
 *
 * The page that is wanted brings neighbours along whose slots are neighbours too, which is how the writer put pages that lay
 * side by side (modwrite.c). How many depends on the reader. A thread that asks for the page behind its last read reads in
 * order, and looks ahead 16, 32, 64 pages; somewhere new it looks at the pages around: 8 at first, then as many as proved
 * useful, which is one more than it touched of those that came along the last time (MI_PFN_AHEAD), rounded up; a reader at
 * random soon takes single pages. What comes along goes to standby, where a touch is a soft fault; for a reader in order it goes
 * into the working set at once, so that the run costs one fault. If the last page of the run before was written to, it writes
 * in order: then all but the last go in Dirty, as they would be so at once (the last shows whether it still writes).
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

NTSTATUS MiReadIn(PMMPTE Pte, PKI_LOCK Lock, PMMSUPPORT Set, ULONG_PTR Va, BOOLEAN Write)
{
    MI_PAGE_IO Io;
    ULONG Reader = MiReaderOfThread(), Before, Behind, Joined = 0;
    ULONG64 Commit = 0, Good = 0;
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
    KiReleaseLock(Lock);

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
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Io.Count; Index++) {
        PFN_NUMBER Page = Io.Pages[Index];
        PMMPFN Pfn = MiPfn(Page);
        Pfn->Flags &= (USHORT)~MI_PFN_READING;
        if (MiIsIoGood(&Io, Index)) {
            Good++;
            if (!(Pfn->Flags & MI_PFN_DELETED) && Along && MiMapAlong(First + Index, Page, Pfn, Set->User, Write && Index + 1 < Io.Count)) {
                Joined++;
                MiJoinWorkingSet(Set, First + Index);
            } else {
                if (Index != Before) {
                    Pfn->Flags |= MI_PFN_AHEAD;
                }
                (VOID) MiDereferenceFrameLocked(Page, &Commit);
            }
        } else {
            if (!(Pfn->Flags & MI_PFN_DELETED)) { /* as it was: the copy stays with the entry */
                MiWritePte(First + Index, MiPteBacking(Pfn->OriginalPte, MiPteProtection(MiReadPte(First + Index))));
                Pfn->OriginalPte = MI_ZERO_PTE;
                Pfn->PteAddress = NULL;
                Pfn->Flags |= MI_PFN_DELETED;
            }
            (VOID) MiDereferenceFrameLocked(Page, &Commit);
        }
        __atomic_add_fetch(MiWaitWord(Page), 1, __ATOMIC_RELEASE);
    }
    MiState->Pager.PageReads++;
    MiState->Pager.PagesRead += Good;
    KiReleaseLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Io.Count && Index < MI_PAGE_WAITS; Index++) {
        HalWake(MiWaitWord(Io.Pages[Index]), MAXLONG);
    }
    if (Joined) {
        (VOID) HalFillTb((PVOID)(Va - ((ULONG_PTR)Before << PAGE_SHIFT)), Io.Count, 0);
    }
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    __atomic_store_n(&MiState->Pager.Readers[Reader].End, First + Io.Count, __ATOMIC_RELAXED);
    if (!NT_SUCCESS(Status)) {
        MiCount(&MiState->Pager.InPageErrors);
    } else {
        MiCount(&MiState->HardFaults);
    }
    return Status;
}
