/*
 * describe.c - what is known about an address: for bug check reports, leak reports and the debugger.
 * SPDX-License-Identifier: MIT
 *
 * Reads records only, through the page maps, never the blocks. A run that has been given back is still known
 * while its ghost lingers (meta.c).
 */
#include "ex/exp.h"

BOOLEAN (*ExpDescribeSpecialRoutine)(ULONG_PTR Address, EXP_BLOCK_INFO *Info);
BOOLEAN (*ExpEnumerateSpecialBlocksRoutine)(BOOLEAN (*Callback)(const EXP_BLOCK_INFO *Info, PVOID Context), PVOID Context);

static POOL_TYPE ExpTypeOfKind(ULONG Kind)
{
    return Kind == ExpPaged ? PagedPool : Kind == ExpNonPagedNx ? NonPagedPoolNx : NonPagedPoolExecute;
}

static VOID ExpDescribeWord(EXP_BLOCK_INFO *Info, EXP_WORD Word, const ULONG *Stacks)
{
    EXP_TAG *Tag = Word != 0 ? ExpTagOfSlot(EXP_WORD_SLOT(Word)) : NULL;
    Info->State = (Word & EXP_WORD_LIVE) ? ExpBlockLive : Word != 0 ? ExpBlockFreed : ExpBlockNever;
    Info->Tag = Tag != NULL ? Tag->Tag : 0;
    Info->QuotaCharged = (Word & EXP_WORD_QUOTA) != 0;
    if (Stacks != NULL) {
        Info->AllocFrames = ExpReadStack(Stacks[0], Info->AllocStack);
        if (Info->State == ExpBlockFreed)
            Info->FreeFrames = ExpReadStack(Stacks[1], Info->FreeStack);
    }
}

static VOID ExpDescribeNumber(EXP_BLOCK_INFO *Info, const EXP_SLAB *Slab, ULONG Number)
{
    EXP_WORD Word = ExpReadWord(&ExpWordsOf(Slab)[Number]);
    Info->Start = ExpBlockAddress(Slab, Number);
    Info->Room = Slab->BlockSize;
    Info->Size = Word != 0 ? EXP_WORD_SIZE(Word) : Slab->BlockSize;
    ExpDescribeWord(Info, Word, ExpState.StackDepth != 0 ? &ExpStacksOf(Slab)[2 * Number] : NULL);
    if (ExpIsReleased(&Slab->Run) && Info->State == ExpBlockLive)
        Info->State = ExpBlockFreed;
}

BOOLEAN ExpDescribeBlock(const volatile VOID *Address, EXP_BLOCK_INFO *Info)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    EXP_RUN *Run = ExpState.Started ? ExpFindRun(Va) : NULL;
    memset(Info, 0, sizeof(*Info));
    if (Run == NULL)
        return ExpDescribeSpecialRoutine != NULL && ExpDescribeSpecialRoutine(Va, Info);
    Info->PoolType = ExpTypeOfKind(Run->Kind);
    Info->Fill = EXP_FILL_SLACK;
    Info->Tail = 16; /* at least */
    if (Run->Type == ExpRunBig) {
        EXP_BIG *Big = (EXP_BIG *)Run;
        Info->Start = Run->Base;
        Info->Size = Big->Size;
        Info->Room = (SIZE_T)Run->Pages * PAGE_SIZE;
        ExpDescribeWord(Info, ExpReadWord(&Big->Word), Big->Stacks);
    } else {
        EXP_SLAB *Slab = ExpSlabAt(Run, Va);
        ExpDescribeNumber(Info, Slab, ExpNumberAround(Slab, Va));
        if ((Info->State == ExpBlockNever || Va - Info->Start >= Info->Room) && (Slab = ExpFindGhost(Va)) != NULL)
            ExpDescribeNumber(Info, Slab, ExpNumberAround(Slab, Va)); /* of a class that had the page before */
    }
    Info->Offset = (LONG_PTR)(Va - Info->Start);
    return TRUE;
}

static BOOLEAN ExpEnumerateRun(EXP_RUN *Run, BOOLEAN (*Callback)(const EXP_BLOCK_INFO *, PVOID), PVOID Context)
{
    EXP_BLOCK_INFO Info;
    EXP_SLAB *Main = (EXP_SLAB *)Run, *Slab;
    ULONG Page, Index, Which;
    if (Run->Type == ExpRunBig) {
        if (!(ExpReadWord(&((EXP_BIG *)Run)->Word) & EXP_WORD_LIVE))
            return TRUE;
        ExpDescribeBlock((PVOID)Run->Base, &Info);
        return Callback(&Info, Context);
    }
    for (Page = 0; Page < Run->Pages; Page++) {
        EXP_SLAB *Slabs[] = {Main, Main->Tail, __atomic_load_n(&Main->Host, __ATOMIC_ACQUIRE)};
        for (Which = 0; Which < ARRAYSIZE(Slabs); Which++) {
            Slab = Slabs[Which];
            for (Index = 0; Slab != NULL && Index < ExpPerPage(Slab); Index++) {
                ULONG Number = Page * ExpStride(Slab) + Index;
                if (!(ExpReadWord(&ExpWordsOf(Slab)[Number]) & EXP_WORD_LIVE))
                    continue;
                memset(&Info, 0, sizeof(Info));
                Info.PoolType = ExpTypeOfKind(Run->Kind);
                ExpDescribeNumber(&Info, Slab, Number);
                if (!Callback(&Info, Context))
                    return FALSE;
            }
        }
    }
    return TRUE;
}

VOID ExpEnumerateBlocks(BOOLEAN (*Callback)(const EXP_BLOCK_INFO *Info, PVOID Context), PVOID Context)
{
    ULONG Paged;
    for (Paged = 0; Paged < 2; Paged++) {
        const EXP_MAP *Map = &ExpState.Maps[Paged];
        ULONG_PTR Offset = 0;
        while (ExpState.Started && Offset < __atomic_load_n(&Map->Covered, __ATOMIC_ACQUIRE)) {
            EXP_RUN *Run = ExpLookupIn(Map, Offset);
            if (Run == NULL || ExpIsReleased(Run) || Run->Base != Map->Base + Offset) {
                Offset += PAGE_SIZE;
                continue;
            }
            if (!ExpEnumerateRun(Run, Callback, Context))
                return;
            Offset += (ULONG_PTR)Run->Pages * PAGE_SIZE;
        }
    }
    if (ExpEnumerateSpecialBlocksRoutine != NULL)
        (VOID) ExpEnumerateSpecialBlocksRoutine(Callback, Context);
}
