/*
 * modwrite.c - the modified page writer: pages that differ from their copies go to a page file, in clusters.
 * SPDX-License-Identifier: MIT
 *
 * A cluster is up to MI_IO_PAGES pages and as many slots that follow each other. It begins with the page that has been modified
 * longest and takes its neighbours in the page table along, modified ones, in the order of addresses: what was used together
 * comes back together (inpage.c reads neighbours whose slots are neighbours). Then the next oldest page and its neighbours,
 * until the cluster is full, so that scattered pages, too, go out in large writes.
 *
 *      Modified --gather--> Transition + WRITING, one reference --MiWriteSlots--> ... --Done-->
 *              good, untouched since        OriginalPte = its slot; Standby
 *              good, but modified again     the slot is given back; Modified (or Active, if it was faulted in meanwhile)
 *              freed meanwhile              slot and frame are given back
 *              bad                          the slot is given back; Modified, at the end; counted, tried again after a while
 *
 * A page is not taken from anybody while it is written: a fault on it is soft, and the Dirty bit of its new entry (or
 * MI_PFN_MODIFIED, for a lock) says that what is being written is old.
 *
 * Up to MI_WRITES clusters are on their way at once. The writer runs when the balance manager says so (MiShouldWrite); each
 * completion begins the next, or wakes it. A write that fails makes it wait, 50 ms first and up to a second while they fail.
 * When slots run out the files are grown; when they cannot be, what is modified stays in memory: commitment has room for it.
 *
 * Modified pages of mapped files are on a list of their own and have a writer of their own (mapwrite.c), so that a slow file does not keep
 * the page files waiting. Those of page-file-backed sections are here: their neighbours are those of the prototype entry.
 *
 * Neither the writer nor a completion takes a frame or waits for anything but a device (see balance.c).
 *
 * Invariant: Writes[] entries not Free are under way; WritingPages is the sum of their pages.
 * Locks: PfnLock. MiWriteModifiedPages: IRQL <= APC_LEVEL. Done: as MiWriteSlots says.
 */
#include "mm/mi.h"

#define MI_RETRY_FIRST 50000000ull /* ns */
#define MI_RETRY_LAST  1000000000ull

static inline BOOLEAN MiIsModifiedNeighbour(PMMPTE Pte, PMMPFN *Pfn, PFN_NUMBER *Page)
{
    MMPTE Entry = MiReadPte(Pte);
    if (!MiPteIsTransition(Entry)) {
        return FALSE;
    }
    *Page = MiPtePage(Entry);
    *Pfn = MiPfn(*Page);
    return *Pfn && (*Pfn)->State == MiPageModified && (*Pfn)->PteAddress == Pte;
}

/* Fills a cluster; PfnLock held. Returns its pages; 0 with slots missing if *NeedSlots. */
static ULONG MiGather(PMI_PAGE_IO Io, ULONG64 Want, BOOLEAN *NeedSlots)
{
    MI_PAGE_LIST *List = &MiState->Lists[MiPageModified];
    ULONG Count = 0;
    Want = Want < List->Total ? Want : List->Total;
    Want = Want < MI_IO_PAGES ? Want : MI_IO_PAGES;
    if (Want == 0) {
        return 0;
    }
    ULONG Slots = MiReserveSlots((ULONG)Want, &Io->Slot);
    if (Slots == 0) {
        *NeedSlots = TRUE;
        return 0;
    }
    while (Count < Slots) {
        PFN_NUMBER Page = List->Head;
        PMMPFN Pfn = MiPfn(Page);
        PMMPTE Pte = Pfn->PteAddress;
        for (ULONG Back = 0; Back < Slots - Count - 1 && ((ULONG_PTR)Pte & (PAGE_SIZE - 1)); Back++) {
            if (!MiIsModifiedNeighbour(Pte - 1, &Pfn, &Page)) {
                break;
            }
            Pte--;
        }
        do {
            if (!MiIsModifiedNeighbour(Pte, &Pfn, &Page)) {
                break;
            }
            MiSetPageState(Page, Pfn, MiPageTransition);
            Pfn->ReferenceCount = 1;
            Pfn->Flags = (USHORT)((Pfn->Flags & ~MI_PFN_MODIFIED) | MI_PFN_WRITING);
            Io->Pages[Count++] = (ULONG)Page;
            Pte++;
        } while (Count < Slots && ((ULONG_PTR)Pte & (PAGE_SIZE - 1)));
    }
    Io->Count = Count;
    __atomic_fetch_add(&MiState->Pager.WritingPages, Count, __ATOMIC_RELAXED);
    return Count;
}

static VOID MiWriteDone(PMI_PAGE_IO Io)
{
    MI_PAGER *Pager = &MiState->Pager;
    MI_WRITE *Write = Io->Context;
    ULONG64 Commit = 0, Bad = 0;
    ULONG Count = Io->Count;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Count; Index++) {
        PMMPFN Pfn = MiPfn(Io->Pages[Index]);
        BOOLEAN Good = MiIsIoGood(Io, Index);
        Pfn->Flags &= (USHORT)~MI_PFN_WRITING;
        if (Good && (Pfn->Flags & (MI_PFN_DELETED | MI_PFN_MODIFIED | MI_PFN_PAGEABLE)) == MI_PFN_PAGEABLE) {
            Pfn->OriginalPte = MiPteOfSlot(Io->Slot + Index, 0);
        } else {
            MiReleaseSlots(Io->Slot + Index, 1);
        }
        if (!Good) {
            Pfn->Flags |= MI_PFN_MODIFIED;
            Bad++;
        }
        (VOID) MiDereferenceFrameLocked(Io->Pages[Index], &Commit);
    }
    if (Bad) {
        __atomic_store_n(&Pager->LastWriteError, Io->Status, __ATOMIC_RELAXED);
        ULONG64 Delay = Pager->RetryDelay ? Pager->RetryDelay * 2 : MI_RETRY_FIRST;
        __atomic_store_n(&Pager->RetryDelay, Delay < MI_RETRY_LAST ? Delay : MI_RETRY_LAST, __ATOMIC_RELAXED);
        __atomic_fetch_add(&Pager->WriteErrors, Bad, __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(&Pager->RetryDelay, 0, __ATOMIC_RELAXED);
    }
    MiState->Pager.PageWrites++;
    MiState->Pager.PagesWritten += Count - Bad;
    __atomic_fetch_sub(&Pager->WritingPages, Count, __ATOMIC_RELAXED);
    KiReleaseLock(&MiState->PfnLock);
    if (Commit) {
        MiReturnCommitment(Commit); /* before anybody hears that the write is over */
    }
    MiPagesBecameAvailable();
    BOOLEAN NeedSlots = FALSE, More = FALSE;
    KiAcquireLock(&MiState->PfnLock);
    /* The next goes out at once: by way of the writer the device would wait for two threads to run. Not where the store is filled
     * first, which takes time; nor after an error, nor without the writer. */
    if (!Bad && MiState->Paging.Store == NULL && __atomic_load_n(&Pager->ThreadsRunning, __ATOMIC_ACQUIRE) && MiShouldWrite()) {
        More = MiGather(&Write->Io, MI_IO_PAGES, &NeedSlots) != 0;
    }
    if (!More) {
        Write->Busy = FALSE;
        __atomic_fetch_sub(&Pager->WritesUnderWay, 1, __ATOMIC_RELAXED);
    }
    __atomic_add_fetch(&Pager->WritesEnded, 1, __ATOMIC_SEQ_CST);
    KiReleaseLock(&MiState->PfnLock);
    HalWake(&Pager->WritesEnded, MAXLONG);
    if (More) {
        MiWriteSlots(&Write->Io);
    } else if (MiShouldWrite()) {
        MiWakeWriter();
    }
}

ULONG64 MiWriteModifiedPages(ULONG64 Want)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Started = 0;
    BOOLEAN Grown = FALSE;
    while (Started < Want) {
        MI_WRITE *Write = NULL;
        BOOLEAN NeedSlots = FALSE;
        ULONG Count = 0;
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < MI_WRITES && !Write; Index++) {
            Write = Pager->Writes[Index].Busy ? NULL : &Pager->Writes[Index];
        }
        if (Write) {
            Count = MiGather(&Write->Io, Want - Started, &NeedSlots);
            if (Count) {
                Write->Busy = TRUE;
                __atomic_fetch_add(&Pager->WritesUnderWay, 1, __ATOMIC_RELAXED);
            }
        }
        KiReleaseLock(&MiState->PfnLock);
        if (Count) {
            Write->Io.Done = MiWriteDone;
            Write->Io.Context = Write;
            Started += Count;
            MiWriteSlots(&Write->Io);
        } else if (NeedSlots && !Grown && MiGrowPageFiles(MI_GROW_PAGES)) {
            Grown = TRUE;
            continue;
        }
        if (Write) {
            __atomic_store_n(&Pager->OutOfSlots, NeedSlots, __ATOMIC_RELAXED);
        }
        if (Count == 0) {
            break;
        }
    }
    return Started;
}

VOID MiWaitForAWrite(LONG Ended)
{
    (VOID) HalWait(&MiState->Pager.WritesEnded, Ended, HAL_FOREVER);
}

VOID MiWaitForWrites(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    for (;;) {
        LONG Ended = __atomic_load_n(&Pager->WritesEnded, __ATOMIC_SEQ_CST);
        KiAcquireLock(&MiState->PfnLock);
        ULONG UnderWay = Pager->WritesUnderWay;
        KiReleaseLock(&MiState->PfnLock);
        if (UnderWay == 0) {
            return;
        }
        (VOID) HalWait(&Pager->WritesEnded, Ended, HAL_FOREVER);
    }
}

VOID MiWakeWriter(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (__atomic_load_n(&Pager->WriterWake, __ATOMIC_RELAXED) == 0 &&
        __atomic_exchange_n(&Pager->WriterWake, 1, __ATOMIC_ACQ_REL) == 0) {
        HalWake(&Pager->WriterWake, 1);
    }
}

VOID MiWriterMain(PVOID Context)
{
    MI_PAGER *Pager = &MiState->Pager;
    UNREFERENCED_PARAMETER(Context);
    while (!__atomic_load_n(&Pager->Stop, __ATOMIC_ACQUIRE)) {
        ULONG64 Started = 0, Deadline = HAL_FOREVER;
        __atomic_store_n(&Pager->WriterWake, 0, __ATOMIC_SEQ_CST);
        if (MiShouldWrite()) {
            ULONG64 Delay = __atomic_load_n(&Pager->RetryDelay, __ATOMIC_RELAXED);
            if (Delay) { /* Stop ends the wait */
                (VOID) HalWait(&Pager->Stop, 0, HalQueryTime() + Delay);
            }
            Started = MiWriteModifiedPages(~0ull);
            if (Started == 0 && __atomic_load_n(&Pager->WritesUnderWay, __ATOMIC_RELAXED) == 0) {
                Deadline = HalQueryTime() + MI_RETRY_FIRST; /* no slot: one may come free */
                __atomic_store_n(&Pager->FlushAll, FALSE, __ATOMIC_RELAXED);
            }
        }
        (VOID) HalWait(&Pager->WriterWake, 0, Deadline);
    }
}
