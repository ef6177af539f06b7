/*
 * bigpool.c - blocks of more than EXP_MAX_SMALL bytes: a run of whole pages each. SPDX-License-Identifier: MIT
 *
 * A big block starts on a page and owns its pages to the last one's end; the bytes behind the requested ones are slack like
 * that of a small block. Its record (EXP_BIG) is entered for every page, so an address inside the block is known as such.
 * The block's word has no room for the slack of a whole page: Size is kept beside it.
 *
 * States:  ExpAllocateBig -> live -> ExpFreeBig -> ghost (released, word not live) -> record free
 *
 * Where freed runs are not kept (ExpState.KeepRuns: special pool is on, or the option keep=off) every block of more than a
 * page is such a run, and a touch after the free faults.
 *
 * Invariants:
 *   B1 a live block's word is live and its run is not released
 *   B2 (Pages - 1) * PAGE_SIZE < Size <= Pages * PAGE_SIZE
 */
#include "ex/exp.h"

PVOID ExpAllocateBig(EXP_KIND Kind, SIZE_T Size, SIZE_T Alignment, ULONG Slot, ULONG WordFlags, BOOLEAN Zero,
                     EX_POOL_PRIORITY Priority)
{
    SIZE_T Pages = Size / PAGE_SIZE + (Size % PAGE_SIZE != 0);
    BOOLEAN IsZero = Zero;
    EXP_BIG *Big;
    ULONG_PTR Base;
    if (Pages > ExpState.Maps[EXP_IS_PAGED(Kind)].Size / PAGE_SIZE)
        return NULL;
    Big = ExpMetaAllocate(ExpMetaOther, sizeof(EXP_BIG));
    if (Big == NULL)
        return NULL;
    Base = ExpTakePages(Kind, Pages, Alignment, &IsZero, Priority);
    if (Base == 0) {
        ExpMetaFree(ExpMetaOther, Big, sizeof(EXP_BIG));
        return NULL;
    }
    Big->Run.Base = Base;
    Big->Run.Pages = (ULONG)Pages;
    Big->Run.Type = ExpRunBig;
    Big->Run.Kind = (UCHAR)Kind;
    Big->Run.Class = 0;
    Big->Size = Size;
    Big->Stacks[0] = Big->Stacks[1] = 0;
    ExpWriteWord(&Big->Word, ExpMakeWord(Slot, 0, WordFlags));
    __atomic_store_n(&Big->Run.Gate, EXP_GATE_BIG, __ATOMIC_RELEASE);
    ExpMapRun(&Big->Run);
    if (Zero && !IsZero)
        memset((PVOID)Base, 0, Size);
    return (PVOID)Base;
}

/* The word is no longer live: the caller has taken it. */
VOID ExpFreeBig(EXP_BIG *Big)
{
    if (ExpState.KeepRuns && ExpChecks())
        ExpFillFreed((PVOID)Big->Run.Base, PAGE_SIZE);
    ExpReleaseRun(&Big->Run, ExpChecks());
}
