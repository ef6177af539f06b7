/*
 * validate.c - walks every structure of the pools and says what is wrong. SPDX-License-Identifier: MIT
 *
 * Meant for a quiet system: no thread allocates or frees meanwhile. Trims are kept away. Reads records only. The messages quote
 * the invariants of meta.c (M), run.c (R), center.c (C), adopt.c (A), cache.c (K), bigpool.c (B) and tag.c (T); slabs' own:
 *   S1 the geometry of a slab is that of its class; a slab and its tail cover the same pages and name each other
 *   S2 a slot named by a used block's word exists and belongs to the block's pool
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
    ULONG64 FreePages[EXP_KINDS];
    struct {
        ULONG Blocks, Free;
    } Centers[EXP_KINDS * EXP_BINS];
} EXP_AUDIT;

static const CHAR *ExpAuditWord(EXP_AUDIT *Audit, EXP_WORD Word, ULONG Kind, SIZE_T Size)
{
    ULONG Slot = EXP_WORD_SLOT(Word);
    BOOLEAN Paged = Kind == ExpPaged;
    if (Word == 0)
        return NULL;
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

/* A number of a guest that lies over a block of its host in use. */
static BOOLEAN ExpIsClosed(const EXP_SLAB *Slab, ULONG Number)
{
    const EXP_SLAB *Host = Slab->Host;
    ULONG_PTR From = ExpBlockAddress(Slab, Number), To = From + Slab->BlockSize;
    ULONG Page = Number / ExpStride(Slab), Index;
    if (Host == NULL)
        return FALSE;
    for (Index = Page * ExpStride(Host); Index < Page * ExpStride(Host) + ExpPerPage(Host); Index++) {
        ULONG_PTR Block = ExpBlockAddress(Host, Index);
        if (!ExpIsFree(Host, Index) && Block < To && Block + Host->BlockSize > From)
            return TRUE;
    }
    return FALSE;
}

static const CHAR *ExpAuditSlab(EXP_AUDIT *Audit, const EXP_SLAB *Slab)
{
    const EXP_CLASS *Class = &ExpState.Classes[Slab->Run.Class];
    ULONG Number, Free = 0, Numbers = ExpNumbers(Slab), Blocks = 0;
    if (Slab->BlockSize != Class->Size || Slab->FreeWords != (Numbers + 63u) / 64)
        return "S1: a slab's geometry is not that of its class";
    if (Slab->Tail != NULL && (Slab->Tail->Tail != Slab || Slab->Tail->Run.Base != Slab->Run.Base ||
                               Slab->Tail->Run.Pages != Slab->Run.Pages || Slab->Tail->IsTail == Slab->IsTail))
        return "S1: a slab and its tail do not fit each other";
    if (Slab->Host != NULL && (Slab->Host->State != ExpSlabHost || Slab->Host->Guest != Slab || Slab->Host->Used == 0 ||
                               Slab->Host->Run.Base != Slab->Run.Base || Slab->Host->Run.Pages != Slab->Run.Pages))
        return "A1: a host and its guest do not fit each other";
    for (Number = 0; Number < Numbers; Number++) {
        EXP_WORD Word = ExpWordsOf(Slab)[Number];
        BOOLEAN IsFree = ExpIsFree(Slab, Number);
        ULONG Page = Number / ExpStride(Slab);
        const CHAR *Text;
        if (Number % ExpStride(Slab) >= ExpPerPage(Slab) || Page % Class->PagesPerBlock != 0) {
            if (Word != 0 || IsFree)
                return "C5: a number that is no block's has a word or a Free bit";
            continue;
        }
        if (ExpIsClosed(Slab, Number)) {
            if (Word != 0 || IsFree)
                return "A2: a guest has a block where one of its host is in use";
            continue;
        }
        if (Slab->State == ExpSlabHost && IsFree) {
            if (Word & EXP_WORD_LIVE)
                return "C3: a live block is in Free";
            continue;
        }
        Blocks++;
        Text = ExpAuditWord(Audit, Word, Slab->Run.Kind, EXP_WORD_SIZE(Word));
        if (Text != NULL)
            return Text;
        if (EXP_WORD_SIZE(Word) > Slab->BlockSize)
            return "S2: a block has more bytes than room";
        if ((Word & EXP_WORD_LIVE) && IsFree)
            return "C3: a live block is in Free";
        if (!(Word & EXP_WORD_LIVE) && !IsFree)
            Audit->InMagazines++;
        if (ExpBlockNumber(Slab, ExpBlockAddress(Slab, Number)) != Number)
            return "S1: number and address of a block do not agree";
        if (Class->PagesPerBlock == 1 && (ExpBlockAddress(Slab, Number) & (PAGE_SIZE - 1)) + Slab->BlockSize > PAGE_SIZE)
            return "S1: a block crosses a page";
        Free += IsFree;
    }
    if (Blocks != Slab->BlockCount || Slab->Used + Free != Slab->BlockCount)
        return "C2: Used and the Free bits do not make up the slab";
    if ((Slab->State == ExpSlabListed) != (Free != 0))
        return "C4: a slab is listed without a free block, or not listed with one";
    if (Slab->State == ExpSlabHost && !Slab->Draining)
        return "A3: a host does not drain";
    if (Slab->Draining && Slab->State != ExpSlabListed && Slab->State != ExpSlabHost)
        return "C6: a slab drains that is not listed";
    Audit->Centers[ExpBinOfSlab(Slab)].Blocks += Blocks;
    Audit->Centers[ExpBinOfSlab(Slab)].Free += Free;
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
        if (ExpIsReleased(Run)) {
            Offset += PAGE_SIZE;
            continue;
        }
        if (Run->Base != Map->Base + Offset || (Run->Kind == ExpPaged) != Paged)
            return "M2: a run's first page is not where the run says";
        for (Page = 0; Page < Run->Pages; Page++) {
            const EXP_RUN *Named = ExpLookupIn(Map, Offset + (ULONG_PTR)Page * PAGE_SIZE);
            BOOLEAN Must = Run->Type == ExpRunSlab || Page == 0 || ((Offset >> 12) + Page) % EXP_MILE == 0;
            if (Must ? Named != Run : Named != NULL && !ExpIsReleased(Named))
                return "M2: a page of a run does not name the run, or names another";
            if (!Must && ExpFindRun(Map->Base + Offset + (ULONG_PTR)Page * PAGE_SIZE) != Run)
                return "M2: a page of a big block does not lead to it";
        }
        for (Page = 0; Page < Run->Pages; Page++) {
            const EXP_SLAB *Slab = (const EXP_SLAB *)Run;
            ULONG64 Plain = Run->Type == ExpRunSlab && !Slab->Draining
                                ? EXP_PLAIN(ExpWordsOf(Slab) + Page * ExpStride(Slab), ExpBinOfSlab(Slab))
                                : 0;
            if (Map->Plain[((Run->Base - Map->Base) >> 12) + Page] != Plain)
                return "M2: a page's Plain is not that of its slab";
        }
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
            if (Text == NULL && ((EXP_SLAB *)Run)->Host != NULL)
                Text = ExpAuditSlab(Audit, ((EXP_SLAB *)Run)->Host);
            Audit->SlabPages[Paged] += Run->Pages;
        }
        if (Text != NULL)
            return Text;
        Offset += (ULONG_PTR)Run->Pages * PAGE_SIZE;
    }
    if (Audit->SlabPages[Paged] != ExpState.SlabPages[Paged])
        return "M2: the pages found in the map are not those counted";
    return NULL;
}

static const CHAR *ExpAuditMagazine(EXP_AUDIT *Audit, const EXP_MAGAZINE *Magazine, ULONG Count, ULONG BinIndex)
{
    ULONG Index;
    if (Magazine->Entries[0].Block != 0 || Count > Magazine->Room ||
        Magazine->Room != ExpState.Classes[BinIndex % EXP_BINS].Magazine)
        return "K1: a magazine's bottom or size is wrong";
    for (Index = 1; Index <= Count; Index++, Audit->Entries++) {
        const EXP_ENTRY *Entry = &Magazine->Entries[Index];
        EXP_SLAB *Slab = ExpSlabOf(Entry->Block, Entry->Word);
        ULONG Number = ExpBlockNumber(Slab, Entry->Block);
        if (ExpBinOfSlab(Slab) != BinIndex || Number == MAXULONG || Entry->Word != &ExpWordsOf(Slab)[Number])
            return "K1: a magazine's entry is no block of its class";
        if (ExpReadWord(Entry->Word) & EXP_WORD_LIVE)
            return "C3: a live block is in a magazine";
    }
    return NULL;
}

static const CHAR *ExpAuditCache(EXP_AUDIT *Audit, const EXP_CACHE *Cache)
{
    ULONG Index;
    for (Index = 0; Index < EXP_KINDS * EXP_BINS; Index++) {
        const EXP_BIN *Bin = &Cache->Bins[Index];
        const EXP_MAGAZINE *Magazine;
        const CHAR *Text = NULL;
        ULONG Count;
        if (Index % EXP_BINS >= EXP_CLASSES) {
            Index |= EXP_BINS - 1; /* no class's */
            continue;
        }
        if (((Cache->UsedBins[Index / EXP_BINS] >> (Index % EXP_BINS)) & 1) != (Bin->Loaded != NULL))
            return "K2: UsedBins and the bins do not agree";
        if (Bin->Loaded == NULL) {
            if (Bin->Top != &ExpNoEntry || Bin->Limit != &ExpNoEntry || Bin->Chain != NULL || Bin->Home != NULL)
                return "K2: a bin without magazine is not empty";
            continue;
        }
        if (Bin->Parked ? Bin->Top != &ExpNoEntry || Bin->Limit != &ExpNoEntry
                        : Bin->Top < Bin->Loaded->Entries || Bin->Top > Bin->Limit ||
                              Bin->Limit != &Bin->Loaded->Entries[Bin->Loaded->Room])
            return "K1: a bin's Top or Limit lies outside its magazine";
        Text = ExpAuditMagazine(Audit, Bin->Loaded, Bin->Parked ? Bin->Loaded->Count : (ULONG)(Bin->Top - Bin->Loaded->Entries),
                                Index);
        for (Magazine = Bin->Chain, Count = 0; Text == NULL && Magazine != NULL; Magazine = Magazine->Next) {
            if (++Count > Bin->Most || (Magazine->Next != NULL && Magazine->Count != 0 && Magazine->Next->Count == 0))
                return "K1: a bin's chain is too long, or has an empty magazine behind a full one";
            Text = ExpAuditMagazine(Audit, Magazine, Magazine->Count, Index);
        }
        if (Text == NULL && Bin->Home != NULL &&
            (Bin->Home->Home != Bin || ExpBinOfSlab(Bin->Home) != Index || Bin->Home->State != ExpSlabListed))
            return "K4: a bin's home is not one of its class that has free blocks, or another's";
        if (Text != NULL)
            return Text;
    }
    return NULL;
}

static const CHAR *ExpAuditCenter(EXP_AUDIT *Audit, const EXP_CENTER *Center, ULONG BinIndex)
{
    const EXP_MAGAZINE *Magazine;
    const EXP_SLAB *Slab;
    const CHAR *Text = NULL;
    ULONG Count = 0, List;
    for (Magazine = Center->Magazines; Magazine != NULL && Text == NULL; Magazine = Magazine->Next, Count++)
        Text = Magazine->Count == 0 ? "C1: an empty magazine lies among the full ones"
                                    : ExpAuditMagazine(Audit, Magazine, Magazine->Count, BinIndex);
    if (Text == NULL && (Count != Center->Full || Center->LeastFull > Center->Full))
        Text = "C1: the full magazines are not as many as counted";
    if (Text == NULL &&
        (Audit->Centers[BinIndex].Blocks != Center->Blocks || Audit->Centers[BinIndex].Free != Center->FreeBlocks))
        Text = "C6: a centre's counts of blocks are not those of its slabs";
    for (List = 0; List < EXP_LISTS && Text == NULL; List++)
        for (Slab = Center->Lists[List]; Slab != NULL && Text == NULL; Slab = Slab->Next)
            if (Slab->State != ExpSlabListed || Slab->List != List || ExpBinOfSlab(Slab) != BinIndex ||
                (Slab->Next != NULL && Slab->Next->Prev != Slab) || List != ExpListFor(Slab))
                Text = "C4: a slab is on the wrong list";
    return Text;
}

static const CHAR *ExpAuditSpans(EXP_AUDIT *Audit, ULONG Kind, ULONG Backed)
{
    const EXP_MAP *Map = &ExpState.Maps[EXP_IS_PAGED(Kind)];
    ULONG Bin;
    for (Bin = 0; Bin < EXP_SPAN_BINS; Bin++) {
        const EXP_SPAN *Span = ExpState.Spans[Kind][Backed].Heads[Bin];
        if (((ExpState.Spans[Kind][Backed].Used[Bin / 64] >> (Bin % 64)) & 1) != (Span != NULL))
            return "R3: a list of spans and its bit do not agree";
        for (; Span != NULL; Span = Span->Next) {
            SIZE_T First = (Span->Base - Map->Base) >> 12, Last = First + Span->Pages - 1, Page;
            const EXP_SPAN *Low = First != 0 ? Map->Pages[First - 1].Edge : NULL;
            if (Span->Kind != Kind || Span->Backed != Backed || Span->Bin != Bin || ExpSpanBin(Span->Pages) != Bin)
                return "R3: a span is on the wrong list";
            if (Map->Pages[First].Edge != Span || Map->Pages[Last].Edge != Span)
                return "R1: a span's edges do not name it";
            if (Low != NULL && Low->Kind == Kind && Low->Backed == Backed &&
                Low->Base + ((ULONG_PTR)Low->Pages << 12) == Span->Base)
                return "R1: two spans lie side by side";
            for (Page = First; Page <= Last; Page++)
                if (Map->Pages[Page].Run != NULL && !ExpIsReleased(Map->Pages[Page].Run))
                    return "R4: a page of a span belongs to a run";
            if (Backed)
                Audit->FreePages[Kind] += Span->Pages;
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
    __atomic_add_fetch(&ExpState.Auditing, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&ExpState.Trimming, __ATOMIC_SEQ_CST) != 0)
        HalYield();
    Text = ExpAuditMap(&Audit, 0);
    if (Text == NULL)
        Text = ExpAuditMap(&Audit, 1);
    ExpEnumerateSecure(ExpAuditElsewhere, &Audit);
    if (ExpEnumerateSpecialRoutine != NULL)
        ExpEnumerateSpecialRoutine(ExpAuditElsewhere, &Audit);
    for (Cache = ExpState.Caches; Cache != NULL && Text == NULL; Cache = Cache->NextCache)
        Text = ExpAuditCache(&Audit, Cache);
    for (Other = 0; Other < EXP_KINDS * EXP_BINS && Text == NULL; Other++)
        Text = ExpAuditCenter(&Audit, &ExpState.Centers[Other], Other);
    for (Other = 0; Other < EXP_KINDS && Text == NULL; Other++) {
        Text = ExpAuditSpans(&Audit, Other, FALSE);
        if (Text == NULL)
            Text = ExpAuditSpans(&Audit, Other, TRUE);
        if (Text == NULL &&
            (Audit.FreePages[Other] != ExpState.FreePages[Other] || ExpState.LeastFree[Other] > ExpState.FreePages[Other]))
            Text = "R2: the pages of backed spans are not those counted";
    }
    if (Text == NULL)
        Text = ExpValidateRecords();
    if (Text == NULL && Audit.Entries != Audit.InMagazines)
        Text = "C3: the blocks that are nowhere else are not as many as the magazines hold";
    for (Ghost = 0; Ghost < EXP_GHOSTS && Text == NULL; Ghost++) {
        if (ExpState.Ghosts[Ghost] == NULL)
            continue;
        if (!ExpIsReleased(ExpState.Ghosts[Ghost]))
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
        if (Totals.PagesInRuns != Audit.RunPages[Paged])
            Text = "R5: the pages committed are not those of slabs, big blocks and backed spans";
        if (Totals.Bytes != Audit.Pools[Paged].Bytes || Totals.Allocs - Totals.Frees != Audit.Pools[Paged].Blocks)
            Text = "T3: a pool's totals are not the sums over its blocks";
    }
    __atomic_sub_fetch(&ExpState.Auditing, 1, __ATOMIC_SEQ_CST);
    MmFreePages(Audit.Slots, Pages);
    return Text;
}
