/*
 * commit.c - commitment: promises of memory. SPDX-License-Identifier: MIT
 *
 * Whatever will need a frame or a place in a page file is charged when it is promised: resident pages when allocated,
 * demand-zero pages when committed, page tables when made. A promise is made against the limit, which is the RAM managed less a
 * small reserve, plus the page files as they are now; so it can always be kept. What does not fit is refused when it is asked
 * for (NULL, STATUS_COMMITMENT_LIMIT), never later by a fault that finds nothing. The charge goes back when the memory does (a
 * frame freed while locked keeps its charge until the last lock goes). A page of a mapped file is no promise, since the file has it: it is
 * charged only while it is locked.
 *
 *      0 ------------ Committed ----- CommitLimit -------- CommitMaximum
 *                                     RamCommit + page files now    ... at their maximum sizes
 *
 * Priorities are EX_POOL_PRIORITY's, as its page words them: Low requests are refused when resources are low (a sixteenth of the
 * limit left), Normal ones when they are very low (1/128, at most 64 pages), High ones only when nothing is left.
 *
 * The limit follows the page files through MiChangeCommitLimit. Lowering it first charges what will go, as any caller does,
 * so it never falls below what is promised, and a charge that races with it sees one or the other.
 *
 * Invariants (MiValidateCommitment quotes the numbers; at rest):
 *   C1  Committed <= CommitLimit <= CommitMaximum, RamCommit <= CommitLimit, RamCommit <= frames managed.
 *   C2  Frames in use (active or in transition), but for those of mapped files, <= Committed.
 *
 * Locks: none; interlocked counters. Any IRQL.
 */
#include "mm/mi.h"

static VOID MiNotePeak(ULONG64 Committed)
{
    ULONG64 Peak = __atomic_load_n(&MiState->PeakCommit, __ATOMIC_RELAXED);
    while (Peak < Committed &&
           !__atomic_compare_exchange_n(&MiState->PeakCommit, &Peak, Committed, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* Charges if Keep pages are left then. */
static BOOLEAN MiTryCharge(ULONG64 Pages, ULONG64 Keep, ULONG64 *Committed)
{
    ULONG64 Old = __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
    do {
        ULONG64 Limit = __atomic_load_n(&MiState->CommitLimit, __ATOMIC_ACQUIRE);
        if (Pages > Limit || Old > Limit - Pages || Limit - Pages - Old < Keep) {
            return FALSE;
        }
    } while (!__atomic_compare_exchange_n(&MiState->Committed, &Old, Old + Pages, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    *Committed = Old + Pages;
    return TRUE;
}

BOOLEAN MiChargeCommitment(ULONG64 Pages, EX_POOL_PRIORITY Priority)
{
    ULONG64 Limit = __atomic_load_n(&MiState->CommitLimit, __ATOMIC_RELAXED), Committed;
    ULONG64 Keep = ((ULONG)Priority & 0x30u) == LowPoolPriority      ? Limit / 16
                   : ((ULONG)Priority & 0x30u) == NormalPoolPriority ? (Limit / 128 < 64 ? Limit / 128 : 64)
                                                                     : 0;
    if (!MiTryCharge(Pages, Keep, &Committed)) {
        MiCount(&MiState->CommitFailures);
        return FALSE;
    }
    MiNotePeak(Committed);
    return TRUE;
}

VOID MiReturnCommitment(ULONG64 Pages)
{
    __atomic_fetch_sub(&MiState->Committed, Pages, __ATOMIC_ACQ_REL);
}

BOOLEAN MiChangeCommitLimit(LONG64 Pages, LONG64 MaximumPages)
{
    ULONG64 Committed, Less = Pages < 0 ? (ULONG64)-Pages : 0;
    if (Less && !MiTryCharge(Less, 0, &Committed)) {
        return FALSE;
    }
    /* The maximum is never seen below the limit. */
    if (MaximumPages > 0) {
        __atomic_fetch_add(&MiState->CommitMaximum, (ULONG64)MaximumPages, __ATOMIC_ACQ_REL);
    }
    __atomic_fetch_add(&MiState->CommitLimit, (ULONG64)Pages, __ATOMIC_ACQ_REL);
    if (MaximumPages < 0) {
        __atomic_fetch_add(&MiState->CommitMaximum, (ULONG64)MaximumPages, __ATOMIC_ACQ_REL);
    }
    if (Less) {
        MiReturnCommitment(Less);
    }
    MiUpdateConditions();
    return TRUE;
}

const CHAR *MiValidateCommitment(VOID)
{
    ULONG64 Limit = __atomic_load_n(&MiState->CommitLimit, __ATOMIC_RELAXED);
    ULONG64 Committed = __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
    if (Committed > Limit || Limit > __atomic_load_n(&MiState->CommitMaximum, __ATOMIC_RELAXED) || MiState->RamCommit > Limit ||
        MiState->RamCommit > MiState->TotalPages - MiState->CorePages) {
        return "C1: commitment above its limit, or limits out of order";
    }
    if (MiState->StateCount[MiPageActive] + MiState->StateCount[MiPageTransition] - MiState->Pager.ZeroingPages -
            MiState->FileFrames >
        Committed) {
        return "C2: more frames in use than committed";
    }
    return NULL;
}
