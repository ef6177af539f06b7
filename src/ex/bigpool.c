/*
 * bigpool.c - blocks of more than a page: a run of whole pages each.
 * SPDX-License-Identifier: MIT
 *
 * A big block starts on a page and owns its pages to the last one's end; the bytes behind the requested ones
 * are slack like that of a small block. Its record (EXP_BIG) is entered for every page, so an address inside
 * the block is known as such. The block's word has no room for the slack of a whole page: Size is kept beside
 * it.
 *
 * States:  ExpAllocateBig -> live -> ExpFreeBig -> ghost (Released, word not live) -> record free
 *
 * Invariants:
 *   B1 a live block's word is live and its run is not released
 *   B2 (Pages - 1) * PAGE_SIZE < Size <= Pages * PAGE_SIZE
 */
#include "ex/exp.h"

PVOID ExpAllocateBig(EXP_CACHE *Cache, EXP_KIND Kind, SIZE_T Size, ULONG Slot, ULONG WordFlags, BOOLEAN Zero,
                     EX_POOL_PRIORITY Priority)
{
    MM_REGION Region = Kind == ExpPaged ? MmRegionPagedPool : MmRegionNonPagedPool;
    SIZE_T Pages = Size / PAGE_SIZE + (Size % PAGE_SIZE != 0);
    ULONG Flags = (Kind == ExpNonPagedExecute ? MM_PAGES_EXECUTE : 0) | (Zero ? MM_PAGES_ZERO : 0);
    EXP_BIG *Big;
    PVOID Base;
    if (Pages > ExpState.Maps[Kind == ExpPaged].Size / PAGE_SIZE)
        return NULL;
    Big = ExpMetaAllocate(ExpMetaOther, sizeof(EXP_BIG));
    if (Big == NULL)
        return NULL;
    Base = MmAllocatePages(Region, Pages, Flags, Priority);
    if (Base == NULL && Cache != NULL) {
        ExpTrimCache(Cache);
        Base = MmAllocatePages(Region, Pages, Flags, Priority);
    }
    if (Base == NULL) {
        ExpMetaFree(ExpMetaOther, Big, sizeof(EXP_BIG));
        return NULL;
    }
    Big->Run.Base = (ULONG_PTR)Base;
    Big->Run.Pages = (ULONG)Pages;
    Big->Run.Type = ExpRunBig;
    Big->Run.Kind = (UCHAR)Kind;
    Big->Run.Class = 0;
    __atomic_store_n(&Big->Run.Released, FALSE, __ATOMIC_RELAXED);
    Big->Size = Size;
    Big->Stacks[0] = Big->Stacks[1] = 0;
    ExpWriteWord(&Big->Word, ExpMakeWord(Slot, 0, WordFlags));
    if (!ExpMapRun(&Big->Run)) {
        ExpWriteWord(&Big->Word, 0);
        MmFreePages(Base, Pages);
        ExpMetaFree(ExpMetaOther, Big, sizeof(EXP_BIG));
        return NULL;
    }
    __atomic_add_fetch(&ExpState.RunPages[Kind == ExpPaged], Pages, __ATOMIC_RELAXED);
    return Base;
}

/* The word is no longer live: the caller has taken it. */
VOID ExpFreeBig(EXP_BIG *Big)
{
    __atomic_sub_fetch(&ExpState.RunPages[Big->Run.Kind == ExpPaged], Big->Run.Pages, __ATOMIC_RELAXED);
    ExpUnpoison(Big->Run.Base, (SIZE_T)Big->Run.Pages * PAGE_SIZE);
    ExpReleaseRun(&Big->Run);
}
