/*
 * slab.c - slabs: runs of pages cut into blocks of one size class. SPDX-License-Identifier: MIT
 *
 * Size classes. Up to a page every class is a multiple of 16 bytes, so blocks are 16-byte aligned, and the first block of a
 * page starts the page, so a page-sized block is page-aligned. As many blocks as fit are put into each page; none crosses a page.
 * Up to 304 bytes the classes are 16 bytes apart. From there to a third of a page they are what a page divides into, 12, 11, 10 ... 3
 * blocks; at most a quarter of a block is slack (an eighth up to 576). Where only two or one fit, a class follows
 * the one below it more closely, and what is left of the page becomes a block of the largest class that fits it, if that is worth having
 * (256 bytes or more): the tails of a slab's pages form a slab of their own, with one block a page. A tail block ends at the page's end, which
 * keeps the blocks of classes that are multiples of 64 cache-aligned. Classes above a page are whole pages.
 *
 *   class 2560:  | 2560 .................... | 1536 tail .... |
 *   class 816:   | 816    | 816    | 816    | 816    | 816    |
 *   class 12288: | page         | page         | page         |
 *
 * Why smaller classes have no tails: a page goes back when both its slabs are empty, and blocks of a few hundred bytes that live long held
 * many whose own blocks had all gone.
 *
 * Sizes of slabs. A slab has as few pages as give it sixteen blocks or more (eight pages at most), since it goes back as a whole: a class
 * that shrinks leaves blocks that live long scattered over its slabs, and what each of them holds back must be little. Fewer still would
 * cost more in records than they give back. The first ones of a class are smaller, so that a class that is hardly used costs little memory.
 *
 * A slab's record is cut as: EXP_SLAB | free bits | block words | stack ids.
 *
 * States, all under the centre's lock:   ExpCreateSlab -> Listed <-> Full     Listed -> Released (condemned by center.c, freed here)
 *                                                                       Listed -> Host -> Released (adopt.c)
 */
#include "ex/exp.h"

static const USHORT ExpClassSizes[EXP_CLASSES] = {16,   32,   48,   64,   80,   96,    112,   128,   144,   160,   176,  192,
                                                  208,  224,  240,  256,  272,  288,   304,   336,   368,   400,   448,  512,
                                                  576,  672,  816,  1024, 1360, 1536,  1744,  1920,  2048,  2304,  2560, 2816,
                                                  3072, 3456, 3840, 4096, 8192, 12288, 16384, 20480, 24576, 28672, 32768};

#define LEAST_BLOCKS 16u /* of a full-sized slab of a class that packs pages */

static ULONG ExpClamp(ULONG Value, ULONG Low, ULONG High)
{
    return Value < Low ? Low : Value > High ? High : Value;
}

/* Sizes that fill a block of their class leave no slack that would tell of an overrun. So one class in ROOMY_SHARE is roomy at any
 * time, while blocks are sampled: sizes from its last 16 bytes are given the next class. It costs the fast path nothing, and the memory one
 * block in sixteen an eighth of its size (16 bytes at least). Which classes are roomy changes with the samples. */
#define ROOMY_SHARE 16u
#define ROOMY_MAX   2048u
VOID ExpMoveRoom(ULONG Phase)
{
    static volatile ULONG Busy;
    if (__atomic_exchange_n(&Busy, 1, __ATOMIC_ACQUIRE) != 0)
        return; /* another thread is at it */
    for (ULONG Class = 0; Class + 1 < EXP_CLASSES && ExpState.Classes[Class].Size <= ROOMY_MAX; Class++) {
        ULONG To = Class + ((Class + Phase) % ROOMY_SHARE == 0);
        __atomic_store_n(&ExpFast.BinOf[ExpState.Classes[Class].Size / 16 - 1], (USHORT)(To * sizeof(EXP_BIN)),
                         __ATOMIC_RELAXED);
    }
    __atomic_store_n(&Busy, 0, __ATOMIC_RELEASE);
}

VOID ExpInitClasses(VOID)
{
    ULONG Class, Units;
    for (Class = 0, Units = 0; Class < EXP_CLASSES; Class++) {
        EXP_CLASS *C = &ExpState.Classes[Class];
        ULONG Size = ExpClassSizes[Class];
        C->Size = (USHORT)Size;
        C->TailOffset = PAGE_SIZE;
        C->Magic = 0xFFFFFFFFu / Size + 1;
        if (Size <= EXP_MAX_PAGE) {
            C->PagesPerBlock = 1;
            C->PerPage = (USHORT)(PAGE_SIZE / Size);
            C->Stride = (USHORT)(C->PerPage + (PAGE_SIZE % Size != 0)); /* where the rest begins no block does */
            C->Pages = (UCHAR)ExpClamp((LEAST_BLOCKS + C->PerPage - 1u) / C->PerPage, 1, 8);
        } else {
            C->PagesPerBlock = (UCHAR)(Size / PAGE_SIZE);
            C->PerPage = C->Stride = 1;
            C->Pages = (UCHAR)(4 * C->PagesPerBlock);
        }
        C->Reciprocal = (1u << 20) / C->Stride + 1;
        C->Magazine = (UCHAR)(Size <= 64 ? 120 : Size <= 1024 ? 64 : Size <= EXP_MAX_PAGE ? 8 : 4);
        C->Chain = (UCHAR)ExpClamp(196608 / (Size * C->Magazine), Size <= 1024 ? 4 : 1, 20);
        C->FirstChain = (UCHAR)ExpClamp(32768 / (Size * C->Magazine), 1, C->Chain);
        C->Depot = (USHORT)ExpClamp(131072 / (Size * C->Magazine), 2, 16);
        for (; Units < Size / 16; Units++)
            ExpFast.BinOf[Units] = (USHORT)(Class * sizeof(EXP_BIN));
    }
    for (Class = 0; Class < EXP_CLASSES; Class++) {
        EXP_CLASS *C = &ExpState.Classes[Class];
        ULONG Rest = C->PagesPerBlock > 1 ? 0 : PAGE_SIZE - C->PerPage * C->Size;
        if (Rest >= 256) {
            ULONG Tail = ExpClassOfSize(Rest);
            if (ExpState.Classes[Tail].Size > Rest)
                Tail--;
            C->TailClass = (UCHAR)Tail;
            C->TailOffset = (USHORT)(PAGE_SIZE - ExpState.Classes[Tail].Size);
        }
    }
}

ULONG ExpClassFor(SIZE_T Size, SIZE_T Alignment)
{
    ULONG Class = ExpClassOfSize(Size);
    while (ExpState.Classes[Class].Size % Alignment != 0)
        Class++;
    return Class;
}

static SIZE_T ExpRecordBytes(ULONG Numbers)
{
    return sizeof(EXP_SLAB) + (Numbers + 63) / 64 * sizeof(ULONG64) + Numbers * sizeof(EXP_WORD) +
           (ExpState.StackDepth != 0 ? Numbers * 2 * sizeof(ULONG) : 0);
}

/* A record for a slab over pages still to be had, or to be taken over (adopt.c). */
static EXP_SLAB *ExpCreateRecord(EXP_KIND Kind, ULONG Class, ULONG Pages, BOOLEAN IsTail)
{
    const EXP_CLASS *C = &ExpState.Classes[Class];
    ULONG Stride = IsTail ? 1 : C->Stride, PerPage = IsTail ? 1 : C->PerPage, Numbers = Pages * Stride, Page, Index;
    SIZE_T Bytes = ExpRecordBytes(Numbers);
    EXP_SLAB *Slab = ExpMetaAllocate(ExpMetaSlab, Bytes);
    if (Slab == NULL)
        return NULL;
    /* Run.Gate says released until the caller is done. */
    memset(&Slab->Tail, 0, Bytes - offsetof(EXP_SLAB, Tail));
    Slab->Run.Pages = Pages;
    Slab->Run.Type = ExpRunSlab;
    Slab->Run.Kind = (UCHAR)Kind;
    Slab->Run.Class = (UCHAR)Class;
    Slab->BlockSize = C->Size;
    Slab->IsTail = IsTail;
    Slab->State = ExpSlabFull;
    Slab->FreeWords = (UCHAR)((Numbers + 63) / 64);
    for (Page = 0; Page + C->PagesPerBlock <= Pages; Page += C->PagesPerBlock) {
        for (Index = Page * Stride; Index < Page * Stride + PerPage; Index++)
            Slab->Free[Index / 64] |= 1ull << (Index % 64);
        Slab->BlockCount = (USHORT)(Slab->BlockCount + PerPage);
    }
    return Slab;
}

VOID ExpRecycleRecord(EXP_RUN *Run)
{
    if (Run->Type == ExpRunSlab) {
        EXP_SLAB *Slab = (EXP_SLAB *)Run;
        EXP_SLAB *Tail = Slab->Tail;
        if (Tail != NULL)
            ExpMetaFree(ExpMetaSlab, Tail, ExpRecordBytes(ExpNumbers(Tail)));
        ExpMetaFree(ExpMetaSlab, Slab, ExpRecordBytes(ExpNumbers(Slab)));
    } else {
        EXP_BIG *Big = (EXP_BIG *)Run;
        ExpMetaFree(ExpMetaOther, Big, sizeof(EXP_BIG));
    }
}

static EXP_SLAB *ExpTrySlab(EXP_KIND Kind, ULONG Class, ULONG Pages, EX_POOL_PRIORITY Priority)
{
    const EXP_CLASS *C = &ExpState.Classes[Class];
    BOOLEAN Zero = FALSE;
    EXP_SLAB *Slab = ExpCreateRecord(Kind, Class, Pages, FALSE), *Tail;
    ULONG_PTR Base;
    if (Slab == NULL)
        return NULL;
    if (C->TailOffset != PAGE_SIZE) {
        Tail = ExpCreateRecord(Kind, C->TailClass, Pages, TRUE);
        if (Tail == NULL) {
            ExpRecycleRecord(&Slab->Run);
            return NULL;
        }
        Tail->Tail = Slab;
        Slab->Tail = Tail;
    }
    Base = ExpTakePages(Kind, Pages, PAGE_SIZE, &Zero, Priority);
    if (Base == 0) {
        ExpRecycleRecord(&Slab->Run);
        return NULL;
    }
    Slab->Run.Base = Base;
    if (Slab->Tail != NULL) {
        Slab->Tail->Run.Base = Base;
        __atomic_store_n(&Slab->Tail->Run.Gate, EXP_HIGHEST_IRQL(Kind), __ATOMIC_RELEASE);
    }
    __atomic_store_n(&Slab->Run.Gate, EXP_HIGHEST_IRQL(Kind), __ATOMIC_RELEASE);
    ExpPoison(Base, (SIZE_T)Pages * PAGE_SIZE);
    ExpMapRun(&Slab->Run);
    __atomic_add_fetch(&ExpState.SlabPages[EXP_IS_PAGED(Kind)], Pages, __ATOMIC_RELAXED);
    return Slab;
}

EXP_SLAB *ExpCreateSlab(EXP_KIND Kind, ULONG Class, ULONG Pages, EX_POOL_PRIORITY Priority)
{
    ULONG Least = ExpState.Classes[Class].PagesPerBlock;
    EXP_SLAB *Slab = ExpTrySlab(Kind, Class, Pages, Priority);
    /* Not so many: one block's may still be there. */
    if (Slab == NULL && Pages > Least)
        Slab = ExpTrySlab(Kind, Class, Least, Priority);
    return Slab;
}

EXP_SLAB *ExpCreateGuest(EXP_SLAB *Host, ULONG Class)
{
    EXP_SLAB *Slab = ExpCreateRecord((EXP_KIND)Host->Run.Kind, Class, Host->Run.Pages, FALSE);
    if (Slab == NULL)
        return NULL;
    memset(Slab->Free, 0, Slab->FreeWords * sizeof(ULONG64));
    Slab->BlockCount = 0;
    Slab->Run.Base = Host->Run.Base;
    Slab->Host = Host;
    __atomic_store_n(&Slab->Run.Gate, EXP_HIGHEST_IRQL(Host->Run.Kind), __ATOMIC_RELEASE);
    return Slab;
}

VOID ExpFreeSlab(EXP_SLAB *Slab)
{
    EXP_SLAB *Tail = Slab->Tail;
    if (Tail != NULL)
        __atomic_store_n(&Tail->Run.Gate, EXP_GATE_RELEASED, __ATOMIC_RELEASE);
    __atomic_sub_fetch(&ExpState.SlabPages[EXP_IS_PAGED(Slab->Run.Kind)], Slab->Run.Pages, __ATOMIC_RELAXED);
    ExpReleaseRun(&Slab->Run, FALSE);
}
