/*
 * tick.c - what the memory manager does while nobody is short of memory: pages age, and modified ones are written.
 * SPDX-License-Identifier: MIT
 *
 * Once a second the balance manager's thread comes here (balance.c), if there are page files. It
 *
 *      ages      looks at a few pages of each working set where the clock's hand stands (workset.c): Accessed is cleared and noted as
 *                age, nobody is taken. When memory gets short the ages tell who uses what. A look costs a page in use a flush and a
 *                fault of the machine's, so it is at most 1/64 of a set and MI_TICK_VISITS pages in all, four times as
 *                many once less than half of RAM is available.
 *      writes    starts the writers when the modified lists are long (an eighth of RAM), or when what is on them may be MI_TICK_OLD
 *                old: then all of it. The pages go to standby and stay what they are; who wants them later need not wait.
 *
 * An idle system pays nothing: after MI_TICK_QUIET ticks in which no page was taken, none was found in use and none is modified
 * the clock stops (Dormant). Who takes a page, or trims a modified one, sets it going again.
 *
 * Locks: none of its own; as MiTrimBusyWorkingSet. The balance manager's thread alone comes here, but for MiNoteActivity (pager.h).
 * Watch: AgedPages, PagesWritten; tests/unit/tick_test.c calls MiTick with a time of its own.
 */
#include "mm/mi.h"

#define MI_TICK        1000000000ull   /* ns */
#define MI_TICK_OLD    300000000000ull /* ns: as Windows' modified page life */
#define MI_TICK_VISITS 64u             /* pages */
#define MI_TICK_QUIET  8u

/* Returns the pages that were in use. */
static ULONG64 MiAgeWorkingSets(VOID)
{
    ULONG64 Before = __atomic_load_n(&MiState->Pager.AgedPages, __ATOMIC_RELAXED);
    ULONG64 Left = MiAvailable() < MiManagedPages() / 2 ? 4 * MI_TICK_VISITS : MI_TICK_VISITS;
    for (PMMSUPPORT Set = MiNextWorkingSet(NULL); Set; Set = MiNextWorkingSet(Set)) {
        ULONG64 Pages = __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED), Visit = (Pages + 63) / 64;
        Visit = Visit < Left ? Visit : Left;
        if (Visit) {
            (VOID) MiTrimBusyWorkingSet(Set, 1, Visit, MI_AGE_NEVER);
        }
        Left -= Visit;
    }
    return __atomic_load_n(&MiState->Pager.AgedPages, __ATOMIC_RELAXED) - Before;
}

static VOID MiWriteInBackground(ULONG64 Now)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Modified = __atomic_load_n(&MiState->StateCount[MiPageModified], __ATOMIC_RELAXED) +
                       __atomic_load_n(&MiState->StateCount[MiPageMapped], __ATOMIC_RELAXED);
    ULONG64 Many = MiManagedPages() / 8;
    __atomic_store_n(&Pager->FlushAll, FALSE, __ATOMIC_RELAXED); /* a second is enough, or it is a long list again */
    if (Modified == 0) {
        Pager->ModifiedSince = 0;
        return;
    }
    if (Pager->ModifiedSince == 0) {
        Pager->ModifiedSince = Now;
    }
    if (Modified > (Many < 512 ? 512 : Many) || Now - Pager->ModifiedSince >= MI_TICK_OLD) {
        Pager->ModifiedSince = Now;
        __atomic_store_n(&Pager->FlushAll, TRUE, __ATOMIC_RELAXED);
        MiWakeWriter();
        MiWakeMappedWriter();
    }
}

VOID MiTick(ULONG64 Now)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (MiThreshold(Plenty) == 0) {
        __atomic_store_n(&Pager->NextTick, HAL_FOREVER, __ATOMIC_RELAXED);
        __atomic_store_n(&Pager->Dormant, TRUE, __ATOMIC_SEQ_CST);
        return;
    }
    ULONG64 Faults = __atomic_load_n(&MiState->AllFaults, __ATOMIC_RELAXED), Used = MiAgeWorkingSets();
    MiWriteInBackground(Now);
    MiEndRoomAhead(); /* who still fills, or reads in order, says so at its next fault */
    MiEndRoomToRead();
    __atomic_store_n(&Pager->AheadMost, ~0ull, __ATOMIC_RELAXED);
    Pager->QuietTicks = Used || Faults != Pager->FaultsAtTick || Pager->ModifiedSince ? 0 : Pager->QuietTicks + 1;
    Pager->FaultsAtTick = Faults;
    if (Pager->QuietTicks < MI_TICK_QUIET) {
        __atomic_store_n(&Pager->NextTick, Now + MI_TICK, __ATOMIC_RELAXED);
        return;
    }
    __atomic_store_n(&Pager->NextTick, HAL_FOREVER, __ATOMIC_RELAXED);
    __atomic_store_n(&Pager->Dormant, TRUE, __ATOMIC_SEQ_CST);
}

/* The clock goes again, or for the first time. */
VOID MiStartTicks(ULONG64 Now)
{
    MI_PAGER *Pager = &MiState->Pager;
    Pager->QuietTicks = 0;
    __atomic_store_n(&Pager->NextTick, Now + MI_TICK, __ATOMIC_RELAXED);
}
