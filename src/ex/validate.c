/*
 * validate.c - walks every structure of the pools and says what is wrong. SPDX-License-Identifier: MIT
 *
 * Meant for a quiet system: no thread allocates or frees meanwhile. Reads records only. The messages quote
 * the invariants of meta.c (M), slab.c and cache.c (C), bigpool.c (B) and tag.c (T); slabs' own: S1 the
 * geometry of a slab is that of its class; a slab and its tail cover the same pages and name each other S2 a
 * slot named by a used block's word exists and belongs to the block's pool
 */
#include "ex/exp.h"

VOID (*ExpEnumerateSpecialRoutine)(VOID (*Visit)(ULONG Slot, SIZE_T Size, PVOID Context), PVOID Context);

/* What the live blocks say about a slot, to compare with the counters. One page at a time keeps the memory
 * small. */
typedef struct _EXP_COUNT {
    ULONG64 Blocks;
    LONG64 Bytes;
} EXP_COUNT;

typedef struct _EXP_AUDIT {
    EXP_COUNT *Slots; /* [SlotCount] */
    ULONG SlotCount;
    EXP_COUNT Pools[2];
    ULONG64 SlabPages[2], RunPages[2];
    ULONG64 InMagazines; /* blocks that are nowhere else; entries found */
    ULONG64 Entries;
} EXP_AUDIT;

static const CHAR *ExpAuditWord(EXP_AUDIT *Audit, EXP_WORD Word, ULONG Kind, SIZE_T Size)
{
    ULONG Slot = EXP_WORD_SLOT(Word);
    BOOLEAN Paged = Kind == ExpPaged;
    if (!(Word & EXP_WORD_USED))
        return (Word & EXP_WORD_LIVE) ? "C3: a block is live that was never handed out" : NULL;
    if (Slot == 0 || Slot >= Audit->SlotCount)
        return "S2: a block's word names a slot that does not exist";
    if (ExpTagOfSlot(Slot)->Paged != Paged)
        return "S2: a block's word names a slot of the other pool";
    if (Word & EXP_WORD_LIVE) {
        Audit->Slots[Slot].Blocks++;
        Audit->Slots[Slot].Bytes += (LONG64)Size;
        Audit->Pools[Paged].Blocks++;
        Audit->Pools[Paged].Bytes += (LONG64)Size;
    }
    return NULL;
}

static const CHAR *ExpAuditSlab(EXP_AUDIT *Audit, const EXP_SLAB *Slab)
{
    const EXP_CLASS *Class = &ExpState.Classes[Slab->Run.Class];
    ULONG Number, Free = 0;
    if (Slab->BlockSize != Class->Size || Slab->BlockCount != Slab->Run.Pages * Slab->PerPage ||
        Slab->PerPage != (Slab->IsTail ? 1 : Class->PerPage) || Slab->WordCount != (Slab->BlockCount + 63u) / 64)
        return "S1: a slab's geometry is not that of its class";
    if (Slab->Tail != NULL && (Slab->Tail->Tail != Slab || Slab->Tail->Run.Base != Slab->Run.Base ||
                               Slab->Tail->Run.Pages != Slab->Run.Pages || Slab->Tail->IsTail == Slab->IsTail))
        return "S1: a slab and its tail do not fit each other";
    if (Slab->Tail != NULL && Slab->Tail->Owner != Slab->Owner)
        return "C1: a slab and its tail have different owners";
    if ((Slab->Owner == NULL) != (Slab->State == ExpSlabAbandoned))
        return "C1: a slab without owner is not abandoned";
    for (Number = 0; Number < Slab->BlockCount; Number++) {
        EXP_WORD Word = Slab->Words[Number];
        BOOLEAN IsFree = (Slab->Free[Number / 64] >> (Number % 64)) & 1;
        BOOLEAN IsRemote = (Slab->Remote[Number / 64] >> (Number % 64)) & 1;
        const CHAR *Text = ExpAuditWord(Audit, Word, Slab->Run.Kind, Slab->BlockSize - EXP_WORD_SLACK(Word));
        if (Text != NULL)
            return Text;
        if (EXP_WORD_SLACK(Word) > Slab->BlockSize)
            return "S2: a block's slack is larger than the block";
        if ((Word & EXP_WORD_LIVE) && (IsFree || IsRemote))
            return "C3: a live block is in Free or Remote";
        if (!(Word & EXP_WORD_LIVE) && !IsFree && !IsRemote)
            Audit->InMagazines++;
        if (IsFree && IsRemote)
            return "C3: a block is in both Free and Remote";
        if (ExpBlockNumber(Slab, ExpBlockAddress(Slab, Number)) != Number)
            return "S1: number and address of a block do not agree";
        if ((ExpBlockAddress(Slab, Number) & (PAGE_SIZE - 1)) + Slab->BlockSize > PAGE_SIZE)
            return "S1: a block crosses a page";
        Free += IsFree;
    }
    if (Slab->Used + Free != Slab->BlockCount)
        return "C2: Used and the Free bits do not make up the slab";
    if (Slab->State == ExpSlabFull && Free != 0)
        return "C5: a full slab has a free block";
    return NULL;
}

static const CHAR *ExpAuditMap(EXP_AUDIT *Audit, ULONG Paged)
{
    const EXP_MAP *Map = &ExpState.Maps[Paged];
    ULONG_PTR Offset = 0;
    while (Offset < Map->Covered) {
        EXP_RUN *Run = ExpLookupIn(Map, Offset);
        const CHAR *Text = NULL;
        ULONG Page;
        if (Run == NULL) {
            Offset += PAGE_SIZE;
            continue;
        }
        if (Map->Base + Offset - Run->Base >= (ULONG_PTR)Run->Pages * PAGE_SIZE)
            return "M1: a page's entry is a run that does not span it";
        if (Run->Released) {
            Offset += PAGE_SIZE;
            continue;
        }
        if (Run->Base != Map->Base + Offset || (Run->Kind == ExpPaged) != Paged)
            return "M2: a run's first page is not where the run says";
        for (Page = 0; Page < Run->Pages; Page++)
            if (ExpLookupIn(Map, Run->Base - Map->Base + (ULONG_PTR)Page * PAGE_SIZE) != Run)
                return "M2: a page of a run does not name the run";
        if (Run->Type == ExpRunBig) {
            EXP_BIG *Big = (EXP_BIG *)Run;
            if (!(Big->Word & EXP_WORD_LIVE))
                return "B1: a big block is neither live nor released";
            if (Big->Size > (SIZE_T)Run->Pages * PAGE_SIZE || Big->Size <= (SIZE_T)(Run->Pages - 1) * PAGE_SIZE)
                return "B2: a big block's size does not fit its pages";
            Text = ExpAuditWord(Audit, Big->Word, Run->Kind, Big->Size);
            Audit->RunPages[Paged] += Run->Pages;
        } else {
            Text = ExpAuditSlab(Audit, (EXP_SLAB *)Run);
            if (Text == NULL && ((EXP_SLAB *)Run)->Tail != NULL)
                Text = ExpAuditSlab(Audit, ((EXP_SLAB *)Run)->Tail);
            Audit->SlabPages[Paged] += Run->Pages;
        }
        if (Text != NULL)
            return Text;
        Offset += (ULONG_PTR)Run->Pages * PAGE_SIZE;
    }
    if (Audit->SlabPages[Paged] != ExpState.SlabPages[Paged] || Audit->RunPages[Paged] != ExpState.RunPages[Paged])
        return "M2: the pages found in the map are not those counted";
    return NULL;
}

static const CHAR *ExpAuditCache(EXP_AUDIT *Audit, const EXP_CACHE *Cache)
{
    const EXP_SLAB *Slab;
    const EXP_ENTRY *Entry;
    ULONG Kind, Class, Count = 0;
    for (Slab = Cache->All; Slab != NULL; Slab = Slab->AllNext) {
        if (Slab->Owner != Cache)
            return "C1: a slab on a cache's list has another owner";
        Count++;
    }
    if (Count != Cache->SlabCount)
        return "C1: a cache's slabs are not as many as it counts";
    for (Kind = 0; Kind < EXP_KINDS; Kind++) {
        for (Class = 0; Class < EXP_CLASSES; Class++) {
            const EXP_BIN *Bin = &Cache->Bins[Kind][Class];
            if (Bin->Slab != NULL && (Bin->Slab->State != ExpSlabCurrent || Bin->Slab->Owner != Cache))
                return "C4: a bin's slab is not Current";
            for (Entry = Bin->Base; Entry < Bin->Top; Entry++, Audit->Entries++)
                if (ExpReadWord(Entry->Word) & EXP_WORD_LIVE)
                    return "C3: a live block is in a magazine";
            for (Slab = Bin->Spare; Slab != NULL; Slab = Slab->Next)
                if (Slab->State != ExpSlabSpare || Slab->Used != 0)
                    return "C4: a spare is not Spare and empty";
            for (Slab = Bin->Partial; Slab != NULL; Slab = Slab->Next)
                if (Slab->State != ExpSlabPartial || Slab->Run.Kind != Kind || Slab->Run.Class != Class)
                    return "C4: a slab on a partial list is not Partial, or of another class";
        }
    }
    return NULL;
}

typedef struct _EXP_COMPARE {
    EXP_AUDIT *Audit;
    const CHAR *Text;
} EXP_COMPARE;

static VOID ExpCompareUse(const EXP_TAG_USE *Use, PVOID Context)
{
    EXP_COMPARE *Compare = Context;
    ULONG Slot = ExpFindSlot(Use->Tag, Use->Paged);
    if (Use->Bytes != Compare->Audit->Slots[Slot].Bytes)
        Compare->Text = "T1: a tag's bytes are not those of its live blocks";
    else if (Use->Allocs - Use->Frees != Compare->Audit->Slots[Slot].Blocks)
        Compare->Text = "T2: a tag's blocks are not as many as allocations less frees";
    else if (Use->PeakBytes < Use->Bytes)
        Compare->Text = "T1: a tag's peak is below its bytes";
}

/* A block that lies outside of the pools' own pages: secure pools, special pool. */
static VOID ExpAuditElsewhere(ULONG Slot, SIZE_T Size, PVOID Context)
{
    EXP_AUDIT *Audit = Context;
    ULONG Paged = ExpTagOfSlot(Slot)->Paged;
    Audit->Slots[Slot].Blocks++;
    Audit->Slots[Slot].Bytes += (LONG64)Size;
    Audit->Pools[Paged].Blocks++;
    Audit->Pools[Paged].Bytes += (LONG64)Size;
}

const CHAR *ExpValidatePools(VOID)
{
    EXP_AUDIT Audit;
    EXP_COMPARE Compare = {&Audit, NULL};
    EXP_POOL_TOTALS Totals;
    const CHAR *Text;
    const EXP_CACHE *Cache;
    SIZE_T Pages;
    ULONG Paged, Ghost, Other;
    if (!ExpState.Started)
        return NULL;
    memset(&Audit, 0, sizeof(Audit));
    Audit.SlotCount = ExpState.TagCount;
    Pages = (Audit.SlotCount * sizeof(EXP_COUNT) + PAGE_SIZE - 1) / PAGE_SIZE;
    Audit.Slots = MmAllocatePages(MmRegionSystemData, Pages, MM_PAGES_ZERO, HighPoolPriority);
    if (Audit.Slots == NULL)
        return "no memory to validate the pools";
    Text = ExpAuditMap(&Audit, 0);
    if (Text == NULL)
        Text = ExpAuditMap(&Audit, 1);
    ExpEnumerateSecure(ExpAuditElsewhere, &Audit);
    if (ExpEnumerateSpecialRoutine != NULL)
        ExpEnumerateSpecialRoutine(ExpAuditElsewhere, &Audit);
    for (Cache = ExpState.Caches; Cache != NULL && Text == NULL; Cache = Cache->NextCache)
        Text = ExpAuditCache(&Audit, Cache);
    if (Text == NULL && Audit.Entries != Audit.InMagazines)
        Text = "C3: the blocks that are nowhere else are not as many as the magazines hold";
    for (Ghost = 0; Ghost < EXP_GHOSTS && Text == NULL; Ghost++) {
        if (ExpState.Ghosts[Ghost] == NULL)
            continue;
        if (!ExpState.Ghosts[Ghost]->Released)
            Text = "M3: a ghost is not released";
        for (Other = 0; Other < Ghost && Text == NULL; Other++)
            if (ExpState.Ghosts[Other] == ExpState.Ghosts[Ghost])
                Text = "M3: a ghost is in the ring twice";
    }
    if (Text == NULL) {
        ExpQueryTags(ExpCompareUse, &Compare);
        Text = Compare.Text;
    }
    for (Paged = 0; Paged < 2 && Text == NULL; Paged++) {
        ExpQueryPool((BOOLEAN)Paged, &Totals);
        if (Totals.Bytes != Audit.Pools[Paged].Bytes || Totals.Allocs - Totals.Frees != Audit.Pools[Paged].Blocks)
            Text = "T3: a pool's totals are not the sums over its blocks";
    }
    MmFreePages(Audit.Slots, Pages);
    return Text;
}
