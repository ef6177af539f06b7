/*
 * commit.c - commitment: promises of frames. SPDX-License-Identifier: MIT
 *
 * Whatever will need a frame is charged when it is promised: resident pages when allocated, demand-zero pages
 * when committed, page tables when made. The limit is the RAM managed less a small reserve, so a promise can
 * always be kept: a demand-zero fault never finds RAM empty. The charge goes back when the frame does (a
 * frame freed while locked keeps its charge until the last lock goes).
 *
 * Priorities are EX_POOL_PRIORITY's, as its page words them: Low requests are refused when resources are low
 * (a sixteenth of the limit left), Normal ones when they are very low (1/128, at most 64 pages), High ones
 * only when nothing is left.
 *
 * Invariants (MiValidateCommitment quotes the numbers):
 *   C1  Committed <= CommitLimit <= frames managed.
 *   C2  Frames in use (active or in transition) <= Committed.
 *
 * Locks: none; one interlocked counter. Any IRQL.
 */
#include "mm/mi.h"

BOOLEAN MiChargeCommitment(ULONG64 Pages, EX_POOL_PRIORITY Priority)
{
    ULONG64 Limit = MiState->CommitLimit;
    ULONG64 Keep = ((ULONG)Priority & 0x30u) == LowPoolPriority      ? Limit / 16
                   : ((ULONG)Priority & 0x30u) == NormalPoolPriority ? (Limit / 128 < 64 ? Limit / 128 : 64)
                                                                     : 0;
    ULONG64 Old = __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
    do {
        if (Pages > Limit || Old > Limit - Pages || Limit - Pages - Old < Keep) {
            return FALSE;
        }
    } while (!__atomic_compare_exchange_n(&MiState->Committed, &Old, Old + Pages, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    ULONG64 Peak = __atomic_load_n(&MiState->PeakCommit, __ATOMIC_RELAXED);
    while (Peak < Old + Pages &&
           !__atomic_compare_exchange_n(&MiState->PeakCommit, &Peak, Old + Pages, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return TRUE;
}

VOID MiReturnCommitment(ULONG64 Pages)
{
    __atomic_fetch_sub(&MiState->Committed, Pages, __ATOMIC_ACQ_REL);
}

const CHAR *MiValidateCommitment(VOID)
{
    if (MiState->Committed > MiState->CommitLimit || MiState->CommitLimit > MiState->TotalPages - MiState->CorePages) {
        return "C1: commitment above its limit, or the limit above RAM";
    }
    if (MiState->StateCount[MiPageActive] + MiState->StateCount[MiPageTransition] > MiState->Committed) {
        return "C2: more frames in use than committed";
    }
    return NULL;
}
