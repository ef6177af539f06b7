/*
 * record.c - memory for the pools' records. SPDX-License-Identifier: MIT
 *
 * Records (slabs', big blocks', spans', magazines', caches' ...) lie in resident memory of MmRegionSystemData, away from
 * everything that a driver can reach. A page of it is a sheet: a header, and records of one use and one size.
 *
 *     | EXP_SHEET | record | record | ... | record |..|        a record's sheet: its address, less the offset in the page
 *
 * A record that is no longer needed goes to its sheet and is used again for that use and that size only; records of more than
 * half a page have whole pages of their own, and likewise.
 *
 * The first records, of all uses and sizes, are cut from one run of pages, the nursery, and are used again likewise: a system
 * that is small keeps a few sizes of each kind, and would have a page for each.
 *
 *   allocation: the nursery --> a sheet in part free --> one that is empty --> a new page
 *
 * Shades. Magazines and the words of slabs are written by threads all the time, and a processor that has a line of a page fetches
 * its neighbours ahead, also from the cache of the processor that writes them. So threads have records on pages of their own: a few
 * shades, each with its nursery and sheets, which threads take in turn.
 *
 * Sheets with room hang on a list by use and size: those in part free in front, empty ones behind. What has been empty for two
 * whole trims is given back (ExpTrimRecords). So whoever holds a pointer to a record that was freed meanwhile finds a record, perhaps
 * of another life, whose state tells; only not any longer than from one trim to the next but one. Nobody does but a free of a
 * block that is freed twice at the same time.
 *
 * Invariants:
 *   Q0 a record of the nursery is in use or on the nursery's list of its use and size, never on a sheet
 *   Q1 a sheet is on the list of its use and size exactly if a record of it is free
 *   Q2 Used is the number of its records in use; the free ones are on Free, or were never handed out (from Fresh on)
 *   Q3 on a list no sheet in part free lies behind an empty one
 *
 * MetaLock guards all of it. It is held across the memory manager's allocation, not across giving back.
 */
#include "ex/exp.h"

#define HEADER        64u
#define FINE          32u /* sizes are multiples of it up to FINE_MOST, and of COARSE above */
#define FINE_MOST     512u
#define COARSE        64u
#define LARGEST       ((PAGE_SIZE - HEADER) / 2 / COARSE * COARSE)
#define LISTS         (FINE_MOST / FINE + (LARGEST - FINE_MOST) / COARSE + 1)
#define LARGEST_PAGES 8u
#define NURSERY_PAGES 16u

typedef struct _EXP_FREE_RECORD {
    struct _EXP_FREE_RECORD *Next;
} EXP_FREE_RECORD;

typedef struct _EXP_SHEET {
    struct _EXP_SHEET *Next, *Prev;
    EXP_FREE_RECORD *Free;
    ULONG64 Emptied; /* trims at the time */
    USHORT Used, Fresh, Room, Size, Shade;
} EXP_SHEET;
C_ASSERT(sizeof(EXP_SHEET) <= HEADER);

/* A record of whole pages that is free: the link is where any record's is. */
typedef struct _EXP_FREE_PAGES {
    struct _EXP_FREE_PAGES *Next;
} EXP_FREE_PAGES;

typedef struct _EXP_SHADE {
    struct {
        EXP_SHEET *First, *Last;
    } Sheets[EXP_METAS][LISTS];
    PUCHAR Nursery, Cursor; /* NULL: not there yet */
    EXP_FREE_RECORD *Young[EXP_METAS][LISTS];
} EXP_SHADE;

static struct {
    ULONG64 Trims;
    EXP_FREE_PAGES *Pages[EXP_METAS][LARGEST_PAGES + 1];
    EXP_SHADE Shades[EXP_SHADES];
} ExpRecords;

/* A record's bytes as they are cut, and the number of the lists of such. */
static ULONG ExpCutSize(SIZE_T Bytes)
{
    ULONG Step = Bytes <= FINE_MOST ? FINE : COARSE;
    return ((ULONG)Bytes + Step - 1) & ~(Step - 1);
}
static ULONG ExpListOf(ULONG Size)
{
    return Size <= FINE_MOST ? Size / FINE : FINE_MOST / FINE + (Size - FINE_MOST) / COARSE;
}

VOID ExpInitRecords(VOID)
{
    ExpClear(&ExpRecords, sizeof(ExpRecords));
}

static PVOID ExpNewPages(SIZE_T Pages)
{
    return MmAllocatePages(MmRegionSystemData, Pages, MM_PAGES_ZERO | MM_PAGES_NO_RECLAIM, HighPoolPriority);
}

/* The calling thread's. */
static EXP_SHADE *ExpOwnShade(VOID)
{
    const KTHREAD *Thread = HalCurrentThread();
    const EXP_CACHE *Cache = Thread != NULL ? Thread->ExCache : NULL;
    return &ExpRecords.Shades[Cache != NULL ? Cache->Shade : 0];
}

/* ---- lists (MetaLock) ---- */
static VOID ExpUnlinkSheet(EXP_META Use, EXP_SHEET *Sheet)
{
    ULONG List = ExpListOf(Sheet->Size);
    EXP_SHADE *Shade = &ExpRecords.Shades[Sheet->Shade];
    if (Sheet->Prev != NULL)
        Sheet->Prev->Next = Sheet->Next;
    else
        Shade->Sheets[Use][List].First = Sheet->Next;
    if (Sheet->Next != NULL)
        Sheet->Next->Prev = Sheet->Prev;
    else
        Shade->Sheets[Use][List].Last = Sheet->Prev;
}

static VOID ExpLinkSheet(EXP_META Use, EXP_SHEET *Sheet, BOOLEAN Behind)
{
    ULONG List = ExpListOf(Sheet->Size);
    EXP_SHADE *Shade = &ExpRecords.Shades[Sheet->Shade];
    EXP_SHEET *Last = Shade->Sheets[Use][List].Last, *First = Shade->Sheets[Use][List].First;
    Sheet->Prev = Behind ? Last : NULL;
    Sheet->Next = Behind ? NULL : First;
    if (Sheet->Prev != NULL)
        Sheet->Prev->Next = Sheet;
    else
        Shade->Sheets[Use][List].First = Sheet;
    if (Sheet->Next != NULL)
        Sheet->Next->Prev = Sheet;
    else
        Shade->Sheets[Use][List].Last = Sheet;
}

/* ---- records ---- */
static PVOID ExpTakeYoung(EXP_SHADE *Shade, EXP_META Use, ULONG Size)
{
    EXP_FREE_RECORD **Free = &Shade->Young[Use][ExpListOf(Size)];
    PVOID Record = *Free;
    if (Record != NULL) {
        *Free = (*Free)->Next;
        return Record;
    }
    if (Shade->Nursery == NULL)
        Shade->Nursery = Shade->Cursor = ExpNewPages(NURSERY_PAGES);
    if (Shade->Nursery == NULL || Shade->Cursor + Size > Shade->Nursery + NURSERY_PAGES * PAGE_SIZE)
        return NULL;
    Record = Shade->Cursor;
    Shade->Cursor += Size;
    return Record;
}

static PVOID ExpTakeRecord(EXP_SHADE *Shade, EXP_META Use, ULONG Size)
{
    EXP_SHEET *Sheet = Shade->Sheets[Use][ExpListOf(Size)].First;
    PVOID Record = ExpTakeYoung(Shade, Use, Size);
    if (Record != NULL)
        return Record;
    if (Sheet == NULL) {
        Sheet = ExpNewPages(1);
        if (Sheet == NULL)
            return NULL;
        Sheet->Size = (USHORT)Size;
        Sheet->Shade = (USHORT)(Shade - ExpRecords.Shades);
        Sheet->Room = (USHORT)((PAGE_SIZE - HEADER) / Size);
        ExpLinkSheet(Use, Sheet, FALSE);
    }
    if (Sheet->Free != NULL) {
        Record = Sheet->Free;
        Sheet->Free = Sheet->Free->Next;
    } else {
        Record = (PUCHAR)Sheet + HEADER + (SIZE_T)Sheet->Fresh++ * Size;
    }
    if (++Sheet->Used == Sheet->Room)
        ExpUnlinkSheet(Use, Sheet);
    return Record;
}

static VOID ExpPutRecord(EXP_META Use, EXP_FREE_RECORD *Record, ULONG Size)
{
    EXP_SHEET *Sheet = (EXP_SHEET *)((ULONG_PTR)Record & ~(ULONG_PTR)(PAGE_SIZE - 1));
    EXP_SHADE *Shade;
    BOOLEAN WasFull;
    for (Shade = ExpRecords.Shades; Shade < &ExpRecords.Shades[EXP_SHADES]; Shade++) {
        if ((ULONG_PTR)Record - (ULONG_PTR)Shade->Nursery < NURSERY_PAGES * PAGE_SIZE) {
            Record->Next = Shade->Young[Use][ExpListOf(Size)];
            Shade->Young[Use][ExpListOf(Size)] = Record;
            return;
        }
    }
    WasFull = Sheet->Used == Sheet->Room;
    Record->Next = Sheet->Free;
    Sheet->Free = Record;
    Sheet->Used--;
    if (Sheet->Used == 0) {
        Sheet->Emptied = ExpRecords.Trims;
        if (!WasFull)
            ExpUnlinkSheet(Use, Sheet);
        ExpLinkSheet(Use, Sheet, TRUE);
    } else if (WasFull) {
        ExpLinkSheet(Use, Sheet, FALSE);
    }
}

PVOID ExpMetaAllocate(EXP_META Use, SIZE_T Bytes)
{
    SIZE_T Pages = (Bytes + PAGE_SIZE - 1) / PAGE_SIZE;
    PVOID Record;
    if (Pages > LARGEST_PAGES)
        return NULL;
    KiAcquireLock(&ExpState.MetaLock);
    if (Bytes <= LARGEST) {
        Record = ExpTakeRecord(ExpOwnShade(), Use, ExpCutSize(Bytes));
    } else if (ExpRecords.Pages[Use][Pages] != NULL) {
        Record = ExpRecords.Pages[Use][Pages];
        ExpRecords.Pages[Use][Pages] = ExpRecords.Pages[Use][Pages]->Next;
    } else {
        Record = ExpNewPages(Pages);
    }
    KiReleaseLock(&ExpState.MetaLock);
    return Record;
}

/* The record's contents are the caller's to clear: late readers of a dead record rely on its state field. */
VOID ExpMetaFree(EXP_META Use, PVOID Record, SIZE_T Bytes)
{
    SIZE_T Pages = (Bytes + PAGE_SIZE - 1) / PAGE_SIZE;
    EXP_FREE_PAGES *Free = Record;
    KiAcquireLock(&ExpState.MetaLock);
    if (Bytes <= LARGEST) {
        ExpPutRecord(Use, Record, ExpCutSize(Bytes));
    } else {
        Free->Next = ExpRecords.Pages[Use][Pages];
        ExpRecords.Pages[Use][Pages] = Free;
    }
    KiReleaseLock(&ExpState.MetaLock);
}

SIZE_T ExpTrimRecords(VOID)
{
    EXP_SHEET *Idle = NULL, *Sheet;
    SIZE_T Returned = 0;
    ULONG Use, List, Shade;
    KiAcquireLock(&ExpState.MetaLock);
    ExpRecords.Trims++;
    for (Shade = 0; Shade < EXP_SHADES; Shade++) {
        for (Use = 0; Use < EXP_METAS; Use++) {
            for (List = 0; List < LISTS; List++) {
                EXP_SHEET *Before;
                for (Sheet = ExpRecords.Shades[Shade].Sheets[Use][List].Last; Sheet != NULL && Sheet->Used == 0;
                     Sheet = Before) {
                    Before = Sheet->Prev;
                    if (ExpRecords.Trims - Sheet->Emptied <= 2)
                        continue;
                    ExpUnlinkSheet((EXP_META)Use, Sheet);
                    Sheet->Next = Idle;
                    Idle = Sheet;
                }
            }
        }
    }
    KiReleaseLock(&ExpState.MetaLock);
    while ((Sheet = Idle) != NULL) {
        Idle = Sheet->Next;
        MmFreePages(Sheet, 1);
        Returned++;
    }
    return Returned;
}

/* What a sheet's header and lists must be; the records are others' to look at. */
const CHAR *ExpValidateRecords(VOID)
{
    const CHAR *Text = NULL;
    ULONG Use, List, Shade;
    KiAcquireLock(&ExpState.MetaLock);
    for (Shade = 0; Shade < EXP_SHADES; Shade++) {
        for (Use = 0; Use < EXP_METAS && Text == NULL; Use++) {
            for (List = 0; List < LISTS && Text == NULL; List++) {
                const EXP_SHEET *Sheet = ExpRecords.Shades[Shade].Sheets[Use][List].First, *Before = NULL;
                for (; Sheet != NULL && Text == NULL; Before = Sheet, Sheet = Sheet->Next) {
                    const EXP_FREE_RECORD *Free = Sheet->Free;
                    ULONG Count = 0;
                    for (; Free != NULL && Count <= Sheet->Room; Free = Free->Next)
                        Count++;
                    if (Sheet->Prev != Before || ExpListOf(Sheet->Size) != List || Sheet->Shade != Shade ||
                        Sheet->Used >= Sheet->Room)
                        Text = "Q1: a sheet of records is on a list that is not its";
                    else if (Sheet->Used + Count != Sheet->Fresh)
                        Text = "Q2: a sheet's records in use and free are not as many as were cut";
                    else if (Before != NULL && Before->Used == 0 && Sheet->Used != 0)
                        Text = "Q3: a sheet in part free lies behind an empty one";
                }
                if (Text == NULL && ExpRecords.Shades[Shade].Sheets[Use][List].Last != Before)
                    Text = "Q1: a list of sheets does not end with its last";
            }
        }
    }
    KiReleaseLock(&ExpState.MetaLock);
    return Text;
}
