/*
 * balance.c - the balance manager: keeping pages available, waiting for them, and emptying memory on demand.
 * SPDX-License-Identifier: MIT
 *
 * Available pages are zeroed, free and standby ones: those that a fault can have at once. Four thresholds, in pages, made from
 * the size of RAM when the first page file, or the first section of a file, comes (without either nothing can leave, commitment alone sees to
 * it that every promise has its frame, and all of them are 0). Without page files only pages of mapped files are taken:
 *
 *      Reserve        pageable pages are not taken below it: left to nonpaged memory that cannot wait
 *      Low            whoever takes a page below it wakes the balance manager, unless the writer has enough under way: it
 *                     trims by halves of what lies between Low and Plenty, not a page for each that is taken
 *      Plenty         it takes pages from working sets until this many are available or on their way (modified, being written)
 *      LeastPageable  what nonpageable and locked pages together must leave (pfn.c)
 *
 * A thread that fills memory in order (fault.c) is faster than any device, and where more is committed than there is RAM it will use up
 * what is available. Its device would be idle until then. So Low and Plenty are higher by Ahead meanwhile: three quarters of what is
 * pageable are to be available or on their way, what is oldest goes out from the first quarter on, and what went stays
 * in standby, one soft fault away. A page that must be read in, or a second without such a thread, ends it; and no page in use is
 * taken for it: where those are more than the rest, it is halved (AheadMost) until the next tick.
 *
 * A thread that reads in order has pages read ahead of it, which are in standby until it comes: available, but the oldest of them would be
 * taken for the youngest, and read twice. So Low and Plenty are higher by ReadRoom, one and a half times as many, until a second has passed
 * without such a thread, and nothing is read ahead that would find only what was read ahead to take (inpage.c).
 *
 *      fault --none left--> MiWaitForPages --wakes--> balance thread --trims--> modified list --wakes--> writer thread
 *        ^                                                                                              (modwrite.c)
 *        `---------------------- MiPagesBecameAvailable: standby or free <--- a write is done ----------------'
 *
 * Whom to take from: the stacks of threads that have waited in user mode for long (ke/stackswap.c); working sets above their maximum first; then every set by its share of all pages, the oldest pages first.
 * The least age asked for adapts: it goes up while the wanted number is found at once, and down to nothing, pages in use
 * included, when it is not; a look never visits more than a few times the pages wanted, so its cost does not grow with RAM.
 *
 * Nothing here or in modwrite.c takes a frame, commitment, pool or a lock that a waiter may hold: so those who wait always
 * wait for a device, never for each other. If the device refuses everything for Patience, there is no way on: bug check 0x4D
 * (NO_PAGES_AVAILABLE), as Windows' modified writer makes it.
 *
 * Without threads (before MmStartPaging, small systems of tests) whoever waits does the work itself.
 *
 * While there is plenty the thread looks once a second (tick.c).
 *
 * Locks: none of its own; futex words in MI_PAGER. MiWakeBalance and MiPagesBecameAvailable: any IRQL, under any lock.
 */
#include "mm/mi.h"

#define MI_PATIENCE   30000000000ull /* ns */
#define MI_LOOK_AGAIN 20000000ull    /* ns */
#define MI_OLDEST_AGE 4u
#define MI_STACK_AGE  4000000000ull /* ns of a UserMode wait, after which its thread's stack may go */

static ULONG64 MiBetween(ULONG64 Value, ULONG64 Low, ULONG64 High)
{
    return Value < Low ? Low : Value > High ? High : Value;
}

VOID MiSetPagingThresholds(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Managed = MiManagedPages();
    BOOLEAN Slots = MiSlotCount() != 0, Files = Slots || __atomic_load_n(&MiState->FileSegments, __ATOMIC_RELAXED);
    ULONG64 Spare = Slots ? 64 : (Managed - MiState->RamCommit) / 2; /* promises count on the rest */
    KiAcquireLock(&MiState->PfnLock);
    BOOLEAN Mapped = __atomic_load_n(&MiState->FileSegments, __ATOMIC_RELAXED);
    ULONG64 Reserve = Files ? MiBetween(Managed / 512, 2, 64) : 0;
    Reserve = (Reserve < Spare ? Reserve : Spare) + (Mapped ? MI_WRITERS_PAGES : 0); /* those are charged (section.c) */
    ULONG64 Low = Files ? Reserve + MiBetween(Managed / 64, 6, 2048) : 0;
    __atomic_store_n(&Pager->Reserve, Reserve, __ATOMIC_RELAXED);
    __atomic_store_n(&Pager->Low, Low, __ATOMIC_RELAXED);
    __atomic_store_n(&Pager->Plenty, Files ? Low + MiBetween(Managed / 16, 12, 4096) : 0, __ATOMIC_RELAXED);
    __atomic_store_n(&Pager->LeastPageable, Slots ? MiBetween(Managed / 16, Managed / 4 < 24 ? Managed / 4 : 24, 4096) : 0,
                     __ATOMIC_RELAXED);
    if (Pager->Patience == 0) {
        __atomic_store_n(&Pager->AheadMost, ~0ull, __ATOMIC_RELAXED);
        Pager->Patience = MI_PATIENCE;
    }
    if (Pager->TrimAge == 0) {
        Pager->TrimAge = 2;
    }
    KiReleaseLock(&MiState->PfnLock);
}

VOID MiWakeBalance(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (__atomic_load_n(&Pager->Wake, __ATOMIC_RELAXED) == 0 && __atomic_exchange_n(&Pager->Wake, 1, __ATOMIC_ACQ_REL) == 0) {
        HalWake(&Pager->Wake, 1);
    }
}

/* As many as are worth waiting for: a cluster. */
ULONG64 MiEnoughPages(VOID)
{
    ULONG64 Some = (MiThreshold(Low) - MiThreshold(Reserve)) / 2;
    return Some < MI_IO_PAGES ? Some : MI_IO_PAGES;
}

/* Whether who waits for pages should go on: not for one page of a cluster that is being written, lest it wait for each. */
static BOOLEAN MiIsWorthWaking(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Available = MiAvailable();
    return Available > MiThreshold(Reserve) && (Available >= MiThreshold(Reserve) + MiEnoughPages() ||
                                                __atomic_load_n(&Pager->WritingPages, __ATOMIC_RELAXED) == 0);
}

BOOLEAN MiShouldWaitForPages(VOID)
{
    return KiCurrentThread()->Irql < DISPATCH_LEVEL && __atomic_load_n(&MiState->Pager.ThreadsRunning, __ATOMIC_ACQUIRE) &&
           !MiIsWorthWaking();
}

VOID MiPagesBecameAvailable(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (__builtin_expect(__atomic_load_n(&Pager->Waiters, __ATOMIC_SEQ_CST) != 0, 0) && MiIsWorthWaking()) {
        __atomic_add_fetch(&Pager->Available, 1, __ATOMIC_SEQ_CST);
        HalWake(&Pager->Available, MAXLONG);
    }
}

/* One round over the working sets. */
static ULONG64 MiTrimRound(ULONG64 Want, ULONG LeastAge, BOOLEAN OnlyExcess)
{
    ULONG64 Taken = 0, All = 0;
    BOOLEAN Slots = MiSlotCount() != 0;
    for (PMMSUPPORT Set = MiNextWorkingSet(NULL); Set; Set = MiNextWorkingSet(Set)) {
        All += __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED);
    }
    for (PMMSUPPORT Set = MiNextWorkingSet(NULL); Set; Set = MiNextWorkingSet(Set)) {
        ULONG64 Pages = __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED);
        ULONG64 Keep = OnlyExcess                                   ? (Set->MaximumPages ? Set->MaximumPages : Pages)
                       : LeastAge != MI_AGE_ANY || Set->HardMinimum ? Set->MinimumPages
                                                                    : 0;
        if (Pages <= Keep || Taken >= Want) {
            continue;
        }
        ULONG64 Share = All ? Want * Pages / All + 16 : Want;
        Share = Share < Want - Taken ? Share : Want - Taken;
        Share = Share < Pages - Keep ? Share : Pages - Keep;
        Taken += MiTrimBusyWorkingSet(Set, Share, 4 * Share + 64, LeastAge | (Slots ? 0 : MI_AGE_FILES));
    }
    return Taken;
}

/* What is available, or will be without anybody being trimmed. */
static ULONG64 MiComing(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Coming = MiAvailable() + __atomic_load_n(&Pager->WritingPages, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&Pager->OutOfSlots, __ATOMIC_RELAXED) &&
        !__atomic_load_n(&Pager->RetryDelay, __ATOMIC_RELAXED)) { /* else only clean pages help */
        Coming += __atomic_load_n(&MiState->StateCount[MiPageModified], __ATOMIC_RELAXED);
    }
    if (!__atomic_load_n(&Pager->MappedDelay, __ATOMIC_RELAXED)) {
        Coming += __atomic_load_n(&MiState->StateCount[MiPageMapped], __ATOMIC_RELAXED);
    }
    return Coming;
}

VOID MiNoteActivity(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (__builtin_expect(__atomic_load_n(&Pager->Dormant, __ATOMIC_RELAXED), 0) &&
        __atomic_exchange_n(&Pager->Dormant, FALSE, __ATOMIC_ACQ_REL)) {
        MiWakeBalance();
    }
}

VOID MiPagesWereTaken(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    MiNoteActivity();
    ULONG64 Low = MiThreshold(Low) + MiThreshold(Ahead) + MiThreshold(ReadRoom);
    if (__builtin_expect(MiAvailable() >= Low, 1)) {
        return;
    }
    if (MiComing() < Low + (MiThreshold(Plenty) - MiThreshold(Low)) / 2) {
        MiWakeBalance();
    } else if (__atomic_load_n(&Pager->WritingPages, __ATOMIC_RELAXED) == 0) {
        if (MiShouldWrite()) {
            MiWakeWriter();
        }
        if (MiShouldWriteMapped()) {
            MiWakeMappedWriter();
        }
    }
}

ULONG64 MiBalance(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Coming = MiComing(), Plenty = MiThreshold(Plenty) + MiThreshold(ReadRoom);
    ULONG64 Ahead = MiThreshold(Ahead), Taken = 0;
    ULONG64 Must = Plenty > Coming ? Plenty - Coming : 0, Want = Plenty + Ahead > Coming ? Plenty + Ahead - Coming : 0;
    if (Want == 0) {
        return 0;
    }
    (VOID) KiTakeStacksOut(MI_STACK_AGE);
    /* Whole clusters: what leaves together goes out together and comes back together. */
    Want = (Want + MI_IO_PAGES - 1) / MI_IO_PAGES * MI_IO_PAGES;
    Taken = MiTrimRound(Want, 1, TRUE);
    ULONG Age = Pager->TrimAge;
    for (ULONG Round = 0; Taken < Want; Round++) {
        Taken += MiTrimRound(Want - Taken, Age, FALSE);
        if (Taken >= Want) {
            Pager->TrimAge = Round == 0 && Age < MI_OLDEST_AGE ? Age + 1 : Age ? Age : 1;
        } else if (Age == MI_AGE_ANY || (Age == 1 && Taken >= Must)) {
            Pager->TrimAge = 1;
            if (Taken >= Must) { /* the rest is in use: no room is made of that */
                __atomic_store_n(&Pager->AheadMost, Ahead / 2, __ATOMIC_RELAXED);
                __atomic_store_n(&Pager->Ahead, Ahead / 2, __ATOMIC_RELAXED);
            }
            break;
        } else {
            Age--;
        }
    }
    return Taken;
}

/* What the writer should do now: write while too little is available, or because somebody wants everything written. */
BOOLEAN MiShouldWrite(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    return __atomic_load_n(&MiState->StateCount[MiPageModified], __ATOMIC_RELAXED) != 0 &&
           (__atomic_load_n(&Pager->FlushAll, __ATOMIC_RELAXED) ||
            MiAvailable() < MiThreshold(Plenty) + MiThreshold(Ahead) + MiThreshold(ReadRoom));
}

VOID MiMakeRoomAhead(PMMSUPPORT Set)
{
    ULONG64 Ahead = 0;
    if (__atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED) > MiManagedPages()) {
        Ahead = (MiComing() + __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED)) / 4 * 3;
        Ahead = Ahead > MiThreshold(Plenty) ? Ahead - MiThreshold(Plenty) : 0;
        Ahead = Ahead < MiThreshold(AheadMost) ? Ahead : MiThreshold(AheadMost);
    }
    if (MiThreshold(Ahead) != Ahead) {
        __atomic_store_n(&MiState->Pager.Ahead, Ahead, __ATOMIC_RELAXED);
    }
}

VOID MiEndRoomAhead(VOID)
{
    if (__builtin_expect(MiThreshold(Ahead) != 0, 0)) {
        __atomic_store_n(&MiState->Pager.Ahead, 0, __ATOMIC_RELAXED);
    }
}

VOID MiMakeRoomToRead(ULONG64 Pages)
{
    ULONG64 Room = Pages + Pages / 2;
    if (__builtin_expect(MiThreshold(ReadRoom) != Room, 0)) {
        __atomic_store_n(&MiState->Pager.ReadRoom, Room, __ATOMIC_RELAXED);
    }
}

VOID MiEndRoomToRead(VOID)
{
    if (MiThreshold(ReadRoom) != 0) {
        __atomic_store_n(&MiState->Pager.ReadRoom, 0, __ATOMIC_RELAXED);
    }
}

static DECLSPEC_NORETURN VOID MiStopWithoutPages(VOID)
{
    ULONG64 Dirty = MiState->StateCount[MiPageModified] + MiState->Pager.WritingPages;
    KiStop(NO_PAGES_AVAILABLE,
           "No page could be made available for a long time: the page files refuse to be written, so nothing can leave memory.",
           NULL, Dirty, Dirty, MiState->Regions[MmRegionNonPagedPool].PagesInUse, (ULONG_PTR)MiState->Pager.LastWriteError);
}

/* Without page files nothing makes room, but what was promised is there: free pages that are being cleaned (zeropage.c) are
 * nobody's, yet not to be had for a moment. FALSE: there are none. */
static BOOLEAN MiWaitForCleaned(VOID)
{
    KiAcquireLock(&MiState->PfnLock);
    BOOLEAN Some = MiState->Pager.ZeroingPages != 0 || MiAvailable() > MiThreshold(Reserve);
    KiReleaseLock(&MiState->PfnLock);
    if (Some) {
        HalYield();
    }
    return Some;
}

BOOLEAN MiWaitForPages(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (KiCurrentThread()->Irql >= DISPATCH_LEVEL) {
        return FALSE;
    }
    if (MiThreshold(Plenty) == 0) {
        return MiWaitForCleaned();
    }
    if (!__atomic_load_n(&Pager->ThreadsRunning, __ATOMIC_ACQUIRE)) {
        ULONG64 Before = MiAvailable(), Errors = __atomic_load_n(&MiState->Pager.WriteErrors, __ATOMIC_RELAXED);
        (VOID) MiBalance();
        (VOID) MiWriteMappedPages(MiThreshold(Plenty));
        while (MiAvailable() <= MiThreshold(Reserve) + 1 && MiWriteModifiedPages(MiThreshold(Plenty)) != 0) {
            MiWaitForWrites();
            if (__atomic_load_n(&MiState->Pager.WriteErrors, __ATOMIC_RELAXED) != Errors) {
                break;
            }
        }
        MiWaitForWrites();
        return MiAvailable() > MiThreshold(Reserve) || MiAvailable() > Before;
    }
    ULONG64 Since = HalQueryTime();
    MiCount(&MiState->Pager.PageWaits);
    __atomic_add_fetch(&Pager->Waiters, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        LONG Sequence = __atomic_load_n(&Pager->Available, __ATOMIC_SEQ_CST);
        if (MiIsWorthWaking()) {
            break;
        }
        MiWakeBalance();
        ULONG64 Now = HalQueryTime();
        if (Now - Since > Pager->Patience && (__atomic_load_n(&Pager->WriteErrors, __ATOMIC_RELAXED) ||
                                              __atomic_load_n(&Pager->MappedWriteErrors, __ATOMIC_RELAXED))) {
            MiStopWithoutPages();
        }
        (VOID) HalWait(&Pager->Available, Sequence, Now + MI_LOOK_AGAIN);
    }
    __atomic_sub_fetch(&Pager->Waiters, 1, __ATOMIC_SEQ_CST);
    return TRUE;
}

static VOID MiBalanceMain(PVOID Context)
{
    MI_PAGER *Pager = &MiState->Pager;
    UNREFERENCED_PARAMETER(Context);
    while (!__atomic_load_n(&Pager->Stop, __ATOMIC_ACQUIRE)) {
        ULONG64 Taken = 0;
        if (__atomic_exchange_n(&Pager->Wake, 0, __ATOMIC_ACQ_REL)) {
            Taken = MiBalance();
            MiWakeZeroing();
            if (MiShouldWrite()) {
                MiWakeWriter();
            }
            if (MiShouldWriteMapped()) {
                MiWakeMappedWriter();
            }
        }
        ULONG64 Now = HalQueryTime(), Next = __atomic_load_n(&Pager->NextTick, __ATOMIC_RELAXED);
        if (Next == HAL_FOREVER && !__atomic_load_n(&Pager->Dormant, __ATOMIC_SEQ_CST)) {
            MiStartTicks(Now);
        } else if (Now >= Next) {
            MiTick(Now);
        }
        /* Short, and nothing could be taken: locks and reads end without telling. */
        BOOLEAN Again = Taken == 0 && MiAvailable() < MiThreshold(Low);
        if (__atomic_load_n(&Pager->Stop, __ATOMIC_ACQUIRE)) {
            break;
        }
        ULONG64 Deadline = __atomic_load_n(&Pager->NextTick, __ATOMIC_RELAXED);
        Deadline = Again && Now + MI_LOOK_AGAIN < Deadline ? Now + MI_LOOK_AGAIN : Deadline;
        if (!HalWait(&Pager->Wake, 0, Deadline) && Again) {
            __atomic_store_n(&Pager->Wake, 1, __ATOMIC_RELEASE);
        }
    }
}

NTSTATUS MmStartPaging(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    MiSetPagingThresholds();
    __atomic_store_n(&Pager->Stop, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&Pager->Dormant, FALSE, __ATOMIC_RELAXED);
    MiStartTicks(HalQueryTime());
    NTSTATUS Status = KiCreateCoreThread(MiBalanceMain, NULL, NULL, 0, &Pager->BalanceThread);
    if (NT_SUCCESS(Status)) {
        Status = KiCreateCoreThread(MiWriterMain, NULL, NULL, 0, &Pager->WriterThread);
        if (NT_SUCCESS(Status)) {
            Status = KiCreateCoreThread(MiMappedWriterMain, NULL, NULL, 0, &Pager->MappedThread);
        }
        if (NT_SUCCESS(Status)) {
            __atomic_store_n(&Pager->ThreadsRunning, TRUE, __ATOMIC_RELEASE);
            return STATUS_SUCCESS;
        }
    }
    MmStopPaging();
    return Status;
}

VOID MmStopPaging(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    struct _KTHREAD **Threads[] = {&Pager->BalanceThread, &Pager->WriterThread, &Pager->ZeroThread, &Pager->MappedThread};
    __atomic_store_n(&Pager->ThreadsRunning, FALSE, __ATOMIC_RELEASE);
    __atomic_store_n(&Pager->Stop, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&Pager->Wake, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&Pager->WriterWake, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&Pager->ZeroWake, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&Pager->MappedWake, 1, __ATOMIC_RELEASE);
    HalWake(&Pager->Wake, MAXLONG);
    HalWake(&Pager->WriterWake, MAXLONG);
    HalWake(&Pager->ZeroWake, MAXLONG);
    HalWake(&Pager->MappedWake, MAXLONG);
    HalWake(&Pager->Stop, MAXLONG);
    for (ULONG Index = 0; Index < ARRAYSIZE(Threads); Index++) {
        if (*Threads[Index]) {
            KiJoinCoreThread(*Threads[Index]);
            *Threads[Index] = NULL;
        }
    }
    MiWaitForReadsAhead();
    MiWaitForWrites();
    if (MiState->MappedBuffer) {
        ExFreePoolWithTag(MiState->MappedBuffer, 0);
        MiState->MappedBuffer = NULL;
    }
}

/* ---- on demand ---- */
/* Every standby page becomes a free one. */
static VOID MiPurgeStandby(VOID)
{
    for (BOOLEAN More = TRUE; More;) {
        KiAcquireLock(&MiState->PfnLock);
        More = MiPurgeStandbyLocked(256);
        KiReleaseLock(&MiState->PfnLock);
    }
}

/* Writes what is modified until nothing is, or the files refuse: as many clusters at once as there may be. What is in standby goes
 * meanwhile, and at the end all of it. */
static VOID MiFlushAndPurge(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Errors = __atomic_load_n(&Pager->WriteErrors, __ATOMIC_RELAXED);
    (VOID) MiWriteMappedPages(~0ull);
    while (__atomic_load_n(&Pager->WriteErrors, __ATOMIC_RELAXED) == Errors) {
        LONG Ended = __atomic_load_n(&Pager->WritesEnded, __ATOMIC_SEQ_CST);
        if (MiWriteModifiedPages(~0ull) == 0) {
            if (__atomic_load_n(&Pager->WritesUnderWay, __ATOMIC_SEQ_CST) == 0 ||
                __atomic_load_n(&MiState->StateCount[MiPageModified], __ATOMIC_RELAXED) == 0) {
                break;
            }
            MiPurgeStandby();
            MiWaitForAWrite(Ended);
        }
    }
    MiWaitForWrites();
    __atomic_store_n(&Pager->FlushAll, FALSE, __ATOMIC_RELAXED);
    MiPurgeStandby();
}

/* All that can leave the set leaves it. If it is to be written besides, the writer begins with the first of it: a device that waits
 * for the last page to be taken away is idle for a fifth of the time. */
#define MI_EMPTY_STEP 512u
static VOID MiEmptySet(PMMSUPPORT Set, BOOLEAN Busy, BOOLEAN Write)
{
    MI_PAGER *Pager = &MiState->Pager;
    for (ULONG64 Left = __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED) + MI_IO_PAGES, Step; Left; Left -= Step) {
        Step = Write && Left > MI_EMPTY_STEP ? MI_EMPTY_STEP : Left;
        (VOID)(Busy ? MiTrimBusyWorkingSet : MiTrimWorkingSet)(Set, ~0ull, Step, MI_AGE_ANY);
        if (Write && __atomic_load_n(&Pager->WritesUnderWay, __ATOMIC_RELAXED) < MI_WRITES) {
            __atomic_store_n(&Pager->FlushAll, TRUE, __ATOMIC_RELAXED);
            MiWakeWriter();
        }
    }
}

BOOLEAN MmTrimAllSystemPageableMemory(BOOLEAN PurgeTransition)
{
    if (KiCurrentThread()->Irql > APC_LEVEL) {
        return FALSE;
    }
    MiEmptySet(&MiState->SystemWorkingSet, FALSE, PurgeTransition);
    if (PurgeTransition) {
        MiFlushAndPurge();
    }
    return TRUE;
}

VOID MmTrimAllSystemPagableMemory(BOOLEAN PurgeTransition)
{
    (VOID) MmTrimAllSystemPageableMemory(PurgeTransition);
}

VOID MmEmptyAllWorkingSets(BOOLEAN PurgeTransition)
{
    for (PMMSUPPORT Set = MiNextWorkingSet(NULL); Set; Set = MiNextWorkingSet(Set)) {
        MiEmptySet(Set, TRUE, PurgeTransition);
    }
    if (PurgeTransition) {
        MiFlushAndPurge();
    }
}

NTSTATUS MmAdjustWorkingSetSize(SIZE_T WorkingSetMinimum, SIZE_T WorkingSetMaximum, ULONG SystemCache, BOOLEAN IncreaseOkay)
{
    PMMSUPPORT Support = SystemCache ? &MiState->SystemWorkingSet : &MiCurrentSpace()->WorkingSet;
    if (KiCurrentThread()->Irql > APC_LEVEL) {
        return STATUS_INVALID_LEVEL;
    }
    if (WorkingSetMinimum == (SIZE_T)-1 && WorkingSetMaximum == (SIZE_T)-1) {
        (VOID) MiEmptyWorkingSet(Support);
        return STATUS_SUCCESS;
    }
    ULONG64 Minimum = WorkingSetMinimum ? BYTES_TO_PAGES(WorkingSetMinimum) : Support->MinimumPages;
    ULONG64 Maximum = WorkingSetMaximum ? BYTES_TO_PAGES(WorkingSetMaximum) : Support->MaximumPages;
    if (!IncreaseOkay && Maximum > Support->MaximumPages && Support->MaximumPages) {
        return STATUS_PRIVILEGE_NOT_HELD;
    }
    return MiSetWorkingSetLimits(Support, Minimum, Maximum, Support->HardMinimum, Support->HardMaximum);
}
