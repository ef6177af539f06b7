/*
 * slab.c - slabs: runs of pages cut into blocks of one size class.
 * SPDX-License-Identifier: MIT
 *
 * Size classes. Every class is a multiple of 16 bytes, so blocks are 16-byte aligned, and the first block of
 * a page starts the page, so a page-sized block is page-aligned. A class follows the one below it so closely
 * that at most an eighth of a block is slack (or less than 16 bytes), and as many blocks as fit are put into
 * each page; none crosses a page. What is left of the page becomes a block of the largest class that fits it,
 * if that is worth having (256 bytes or more): the tails of a slab's pages form a slab of their own, with one
 * block a page. A tail block ends at the page's end, which keeps the blocks of classes that are multiples of
 * 64 cache-aligned.
 *
 *   class 2560:  | 2560 .................... | 1536 tail .... |
 *   class 736:   | 736 | 736 | 736 | 736 | 736 |..| 400 tail  |
 *
 * Sizes of slabs. A thread's first slab of a class is one page, the next two, and so on up to the class's
 * full size, so that a class that is hardly used costs little memory.
 *
 * A slab's record is cut as: EXP_SLAB | free words | remote words (own cache line) | block words | stack ids.
 *
 * States, and who moves them (cache.c unless said otherwise):
 *
 *   ExpCreateSlab -> Current <-> Partial <-> Full        Partial -> Spare -> Current
 *   Partial, Spare -> Released (ExpFreeSlab)             any -> Abandoned -> Full, Partial
 */
#include "ex/exp.h"

static const USHORT ExpClassSizes[EXP_CLASSES] = {16,   32,   48,   64,   80,   96,   112,  128,  144,  160,  176,  192,
                                                  208,  224,  240,  256,  272,  288,  304,  336,  368,  400,  448,  512,
                                                  576,  624,  672,  736,  816,  912,  1024, 1136, 1248, 1360, 1536, 1744,
                                                  1920, 2048, 2304, 2560, 2816, 3072, 3456, 3840, 4096};

VOID ExpInitClasses(VOID)
{
    ULONG Class, Units, Aligned;
    for (Class = 0, Units = 0; Class < EXP_CLASSES; Class++) {
        EXP_CLASS *C = &ExpState.Classes[Class];
        ULONG Size = ExpClassSizes[Class];
        C->Size = (USHORT)Size;
        C->PerPage = (USHORT)(PAGE_SIZE / Size);
        C->Reciprocal = 65536 / (Size / 16) + 1;
        C->PageReciprocal = (1u << 20) / C->PerPage + 1;
        C->TailOffset = PAGE_SIZE;
        /* 1,024 blocks at most, and 16 pages. */
        C->Pages = (UCHAR)(EXP_MAX_BLOCKS / C->PerPage < 16 ? EXP_MAX_BLOCKS / C->PerPage : 16);
        C->Magazine = (UCHAR)(Size <= 256 ? 64 : Size <= 1024 ? 32 : 8);
        for (; Units <= Size / 16; Units++)
            ExpState.ClassOf[Units] = (UCHAR)Class;
    }
    for (Class = 0; Class < EXP_CLASSES; Class++) {
        EXP_CLASS *C = &ExpState.Classes[Class];
        ULONG Rest = PAGE_SIZE - C->PerPage * C->Size;
        if (Rest >= 256) {
            ULONG Tail = ExpState.ClassOf[Rest / 16];
            if (ExpState.Classes[Tail].Size > Rest)
                Tail--;
            C->TailClass = (UCHAR)Tail;
            C->TailOffset = (USHORT)(PAGE_SIZE - ExpState.Classes[Tail].Size);
        }
    }
    for (Units = 0; Units <= EXP_MAX_SMALL / 16; Units++) {
        for (Aligned = ExpState.ClassOf[Units]; ExpState.Classes[Aligned].Size % 64 != 0; Aligned++)
            ;
        ExpState.AlignedClassOf[Units] = (UCHAR)Aligned;
    }
}

/* Bytes of a record, and where its parts lie. */
typedef struct _SLAB_SHAPE {
    ULONG Blocks, Words, Remote, BlockWords, Stacks, Bytes;
} SLAB_SHAPE;

static VOID ExpShapeSlab(SLAB_SHAPE *Shape, ULONG PerPage, ULONG Pages)
{
    Shape->Blocks = PerPage * Pages;
    Shape->Words = (Shape->Blocks + 63) / 64;
    Shape->Remote = (ULONG)((sizeof(EXP_SLAB) + Shape->Words * 8 + 63) & ~63u);
    Shape->BlockWords = (Shape->Remote + Shape->Words * 8 + 63) & ~63u;
    Shape->Stacks = (Shape->BlockWords + Shape->Blocks * (ULONG)sizeof(EXP_WORD) + 7) & ~7u;
    Shape->Bytes = Shape->Stacks + (ExpState.StackDepth != 0 ? Shape->Blocks * 2 * (ULONG)sizeof(ULONG) : 0);
}

/* A record for a slab over pages still to be had. Fields that late announcers touch keep their values. */
static EXP_SLAB *ExpCreateRecord(EXP_KIND Kind, ULONG Class, ULONG Pages, ULONG PerPage)
{
    const EXP_CLASS *C = &ExpState.Classes[Class];
    SLAB_SHAPE Shape;
    EXP_SLAB *Slab;
    ULONG Word;
    ExpShapeSlab(&Shape, PerPage, Pages);
    Slab = ExpMetaAllocate(ExpMetaSlab, Shape.Bytes);
    if (Slab == NULL)
        return NULL;
    memset(&Slab->Words, 0, offsetof(EXP_SLAB, RemoteNext) - offsetof(EXP_SLAB, Words));
    memset((PUCHAR)Slab + Shape.Remote, 0, Shape.Bytes - Shape.Remote);
    Slab->Run.Pages = Pages;
    Slab->Run.Type = ExpRunSlab;
    Slab->Run.Kind = (UCHAR)Kind;
    Slab->Run.Class = (UCHAR)Class;
    Slab->Room = Shape.Bytes;
    Slab->BlockSize = C->Size;
    Slab->PerPage = (USHORT)PerPage;
    Slab->TailOffset = PAGE_SIZE;
    Slab->Reciprocal = C->Reciprocal;
    Slab->PageReciprocal = (1u << 20) / PerPage + 1;
    Slab->BlockCount = (USHORT)Shape.Blocks;
    Slab->WordCount = (USHORT)Shape.Words;
    Slab->Words = (EXP_WORD *)((PUCHAR)Slab + Shape.BlockWords);
    Slab->Remote = (ULONG64 *)((PUCHAR)Slab + Shape.Remote);
    Slab->Stacks = ExpState.StackDepth != 0 ? (PULONG)((PUCHAR)Slab + Shape.Stacks) : NULL;
    for (Word = 0; Word < Shape.Words; Word++)
        Slab->Free[Word] = ~0ull;
    if (Shape.Blocks % 64 != 0)
        Slab->Free[Shape.Words - 1] = (1ull << (Shape.Blocks % 64)) - 1;
    return Slab;
}

VOID ExpRecycleRecord(EXP_RUN *Run)
{
    if (Run->Type == ExpRunSlab) {
        EXP_SLAB *Slab = (EXP_SLAB *)Run;
        EXP_SLAB *Tail = Slab->Tail;
        if (Tail != NULL)
            ExpMetaFree(ExpMetaSlab, Tail, Tail->Room);
        ExpMetaFree(ExpMetaSlab, Slab, Slab->Room);
    } else {
        EXP_BIG *Big = (EXP_BIG *)Run;
        ExpMetaFree(ExpMetaOther, Big, sizeof(EXP_BIG));
    }
}

EXP_SLAB *ExpCreateSlab(EXP_CACHE *Cache, EXP_KIND Kind, ULONG Class, EX_POOL_PRIORITY Priority)
{
    const EXP_CLASS *C = &ExpState.Classes[Class];
    MM_REGION Region = Kind == ExpPaged ? MmRegionPagedPool : MmRegionNonPagedPool;
    ULONG Owned = Cache->Bins[Kind][Class].Slabs;
    ULONG Pages = Owned < 4 && 1u << Owned < C->Pages ? 1u << Owned : C->Pages;
    EXP_SLAB *Slab = NULL, *Tail = NULL;
    for (;;) {
        PVOID Base;
        Slab = ExpCreateRecord(Kind, Class, Pages, C->PerPage);
        if (Slab == NULL)
            goto Failed;
        if (C->TailOffset != PAGE_SIZE) {
            Tail = ExpCreateRecord(Kind, C->TailClass, Pages, 1);
            if (Tail == NULL)
                goto Failed;
            Tail->IsTail = TRUE;
            Tail->Offset = C->TailOffset;
            Tail->Tail = Slab;
            Slab->Tail = Tail;
            Slab->TailOffset = C->TailOffset;
        }
        Base = MmAllocatePages(Region, Pages, Kind == ExpNonPagedExecute ? MM_PAGES_EXECUTE : 0, Priority);
        if (Base != NULL) {
            Slab->Run.Base = (ULONG_PTR)Base;
            if (Tail != NULL)
                Tail->Run.Base = (ULONG_PTR)Base;
            break;
        }
        /* Not so many: one page may still be there. */
        if (Pages == 1)
            goto Failed;
        ExpRecycleRecord(&Slab->Run);
        Slab = NULL;
        Tail = NULL;
        Pages = 1;
    }
    if (Tail != NULL) {
        __atomic_store_n(&Tail->Run.Released, FALSE, __ATOMIC_RELAXED);
        __atomic_store_n(&Tail->Owner, Cache, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&Slab->Run.Released, FALSE, __ATOMIC_RELAXED);
    __atomic_store_n(&Slab->Owner, Cache, __ATOMIC_SEQ_CST);
    if (!ExpMapRun(&Slab->Run)) {
        __atomic_store_n(&Slab->Owner, NULL, __ATOMIC_SEQ_CST);
        Slab->State = ExpSlabReleased;
        if (Tail != NULL) {
            __atomic_store_n(&Tail->Owner, NULL, __ATOMIC_SEQ_CST);
            Tail->State = ExpSlabReleased;
        }
        MmFreePages((PVOID)Slab->Run.Base, Pages);
        goto Failed;
    }
    ExpPoison(Slab->Run.Base, (SIZE_T)Pages * PAGE_SIZE);
    __atomic_add_fetch(&ExpState.SlabPages[Kind == ExpPaged], Pages, __ATOMIC_RELAXED);
    return Slab;
Failed:
    if (Slab != NULL)
        ExpRecycleRecord(&Slab->Run);
    return NULL;
}

VOID ExpFreeSlab(EXP_SLAB *Slab)
{
    EXP_SLAB *Tail = Slab->Tail;
    if (Tail != NULL) {
        Tail->State = ExpSlabReleased;
        __atomic_store_n(&Tail->Owner, NULL, __ATOMIC_SEQ_CST);
        __atomic_store_n(&Tail->Run.Released, TRUE, __ATOMIC_RELEASE);
    }
    Slab->State = ExpSlabReleased;
    __atomic_store_n(&Slab->Owner, NULL, __ATOMIC_SEQ_CST);
    __atomic_sub_fetch(&ExpState.SlabPages[Slab->Run.Kind == ExpPaged], Slab->Run.Pages, __ATOMIC_RELAXED);
    ExpUnpoison(Slab->Run.Base, (SIZE_T)Slab->Run.Pages * PAGE_SIZE);
    ExpReleaseRun(&Slab->Run);
}
