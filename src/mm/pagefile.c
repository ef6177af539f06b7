/*
 * pagefile.c - page files: which slots are taken, and how files come, grow and go. SPDX-License-Identifier: MIT
 *
 * Up to sixteen page files, numbered as they are made. A file's slots are a bitmap in chunks of 1024; slot 0 is taken from the
 * beginning, so that no page-file entry looks like a demand-zero one. A chunk that comes into being (the file is made, or grows
 * over it) takes a frame for checksums and one for the store's places if those are on; the chunk records themselves stand for
 * the file's maximum size from the start, so that growing needs nothing large.
 *
 *      MI_PAGE_FILE -- NotFull  one bit a chunk ------ skip full chunks 64 at a time
 *                   `- Chunks[] Taken[16] ------------ 1024 bits: runs
 *                              Checks, Places --> a frame each
 *
 * Where a run goes: files take turns, run by run, so that several devices share the work; a file that has no run as long as
 * wanted waits for a turn when none has. Inside a file the search goes on from the end of the last run (next fit): pages written
 * one after the other lie one after the other, and come back in one transfer. It looks at no more than MI_SEARCH_CHUNKS chunks
 * that have anything free for a run of the whole length, then takes the longest it saw. A run never leaves its chunk.
 *
 * Growth is to the maximum in steps: what is asked for, at least a sixteenth of the file. The host is asked for the space before
 * any slot is given out (hal.h: a device never runs out of space inside its size).
 *
 * Invariants (MiValidatePageFiles quotes the numbers):
 *   P1  A chunk's Free is the number of its clear bits; NotFull has its bit if and only if Free is not 0.
 *   P2  A file's Free is the sum of its chunks'; Peak is at least what is taken; slot 0 and all beyond Pages are taken.
 *   P3  A slot that is free has no checksum and no place in the store.
 *
 * Locks: a file's Lock, below all of mi.h's; Growing (a word, not a lock: its owner blocks on the host) is outermost.
 * Watch: MmQueryPageFile, `ntmm map --memory`. Tests: tests/unit/pagefile_test.c, scripted_pagefile.c.
 */
#include "mm/mi.h"

#define MI_SEARCH_CHUNKS 8u
#define MI_LEAST_FILE    256u /* pages */

static MI_PAGING *MiPaging(VOID)
{
    return &MiState->Paging;
}

/* ---- one owner at a time for what blocks ---- */
static VOID MiBeginGrowth(VOID)
{
    while (__atomic_exchange_n(&MiPaging()->Growing, 1, __ATOMIC_ACQUIRE) != 0) {
        (VOID) HalWait(&MiPaging()->Growing, 1, HAL_FOREVER);
    }
}
static VOID MiEndGrowth(VOID)
{
    __atomic_store_n(&MiPaging()->Growing, 0, __ATOMIC_RELEASE);
    HalWake(&MiPaging()->Growing, MAXLONG);
}

/* ---- frames for tables, through the window ---- */
static PVOID MiTakeTable(ULONG64 Pages, PFN_NUMBER *Base)
{
    BOOLEAN Dirty;
    if (!MiChargeCommitment(Pages, HighPoolPriority)) {
        return NULL;
    }
    if (Pages == 1 ? MiTakeFrames(1, 0, NULL, Base, &Dirty) == 0
                   : !MiTakeContiguous(Pages, 0, MiState->HighestPage, 0, Base, &Dirty)) {
        MiReturnCommitment(Pages);
        return NULL;
    }
    if (Dirty) {
        HalZeroPages(*Base, Pages);
    }
    return HalWindow(*Base);
}
static VOID MiGiveTable(PFN_NUMBER Base, ULONG64 Pages)
{
    MiReturnCommitment(MiReleaseFrames(Base, Pages));
}
static VOID MiGiveArray(volatile ULONG *Array)
{
    if (Array != NULL) {
        MiGiveTable(HalWindowPage(Array), 1);
    }
}

/* The arrays of the chunks that [From, To) slots touch. FALSE: no frames; what was taken stays with its chunk. */
static BOOLEAN MiMakeArrays(MI_PAGE_FILE *File, ULONG From, ULONG To)
{
    PFN_NUMBER Base;
    for (ULONG Index = From / MI_CHUNK_SLOTS; (ULONG64)Index * MI_CHUNK_SLOTS < To; Index++) {
        MI_CHUNK *Chunk = &File->Chunks[Index];
        if (File->Checked && Chunk->Checks == NULL && (Chunk->Checks = (volatile ULONG *)MiTakeTable(1, &Base)) == NULL) {
            return FALSE;
        }
        if (MiPaging()->Store != NULL && Chunk->Places == NULL &&
            (Chunk->Places = (volatile ULONG *)MiTakeTable(1, &Base)) == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- bits ---- */
static inline BOOLEAN MiIsTaken(const MI_CHUNK *Chunk, ULONG Bit)
{
    return (BOOLEAN)(Chunk->Taken[Bit / 64] >> (Bit % 64) & 1);
}
/* The first bit at or after From with the value wanted; MI_CHUNK_SLOTS: none. */
static ULONG MiNextBit(const MI_CHUNK *Chunk, ULONG From, BOOLEAN Taken)
{
    while (From < MI_CHUNK_SLOTS) {
        ULONG64 Word = (Taken ? Chunk->Taken[From / 64] : ~Chunk->Taken[From / 64]) >> (From % 64);
        if (Word != 0) {
            return From + (ULONG)__builtin_ctzll(Word);
        }
        From = (From | 63) + 1;
    }
    return MI_CHUNK_SLOTS;
}
static VOID MiChangeBits(MI_CHUNK *Chunk, ULONG First, ULONG Count, BOOLEAN Taken)
{
    while (Count != 0) {
        ULONG Part = 64 - First % 64 < Count ? 64 - First % 64 : Count;
        ULONG64 Mask = (Part == 64 ? ~0ull : (1ull << Part) - 1) << (First % 64);
        NT_ASSERT((Chunk->Taken[First / 64] & Mask) == (Taken ? 0 : Mask));
        Chunk->Taken[First / 64] = Taken ? Chunk->Taken[First / 64] | Mask : Chunk->Taken[First / 64] & ~Mask;
        First += Part;
        Count -= Part;
    }
}
/* Slots of one chunk change hands. File's Lock held. */
static VOID MiChangeSlots(MI_PAGE_FILE *File, ULONG Offset, ULONG Count, BOOLEAN Taken)
{
    ULONG Index = Offset / MI_CHUNK_SLOTS;
    MI_CHUNK *Chunk = &File->Chunks[Index];
    MiChangeBits(Chunk, Offset % MI_CHUNK_SLOTS, Count, Taken);
    if (Taken) {
        Chunk->Free -= Count;
        __atomic_store_n(&File->Free, File->Free - Count, __ATOMIC_RELAXED);
        if (Chunk->Free == 0) {
            File->NotFull[Index / 64] &= ~(1ull << Index % 64);
        }
        ULONG Used = File->Pages - 1 - File->Free;
        File->Peak = Used > File->Peak ? Used : File->Peak;
    } else {
        Chunk->Free += Count;
        __atomic_store_n(&File->Free, File->Free + Count, __ATOMIC_RELAXED);
        File->NotFull[Index / 64] |= 1ull << Index % 64;
    }
}

/* The next chunk at or after Index that has a free slot; Count: none. */
static ULONG MiNextChunk(const MI_PAGE_FILE *File, ULONG Index, ULONG Count)
{
    while (Index < Count) {
        ULONG64 Word = File->NotFull[Index / 64] >> Index % 64;
        if (Word != 0) {
            Index += (ULONG)__builtin_ctzll(Word);
            return Index < Count ? Index : Count;
        }
        Index = (Index | 63) + 1;
    }
    return Count;
}

/* The longest run, up to Want, in the chunk at or after bit From. */
static ULONG MiLongestRun(const MI_CHUNK *Chunk, ULONG From, ULONG Want, ULONG *First)
{
    ULONG Best = 0;
    while (Best < Want && (From = MiNextBit(Chunk, From, FALSE)) < MI_CHUNK_SLOTS) {
        ULONG End = MiNextBit(Chunk, From, TRUE);
        if (End - From > Best) {
            Best = End - From;
            *First = From;
        }
        From = End;
    }
    return Best < Want ? Best : Want;
}

/* Looks on from the hint, once around, for a run of Want slots. File's Lock held. */
static ULONG MiFindRun(MI_PAGE_FILE *File, ULONG Want, ULONG *Offset)
{
    ULONG Chunks = (File->Pages + MI_CHUNK_SLOTS - 1) / MI_CHUNK_SLOTS, Best = 0, Seen = 0;
    ULONG Start = File->Hint / MI_CHUNK_SLOTS < Chunks ? File->Hint / MI_CHUNK_SLOTS : 0;
    ULONG From = File->Hint % MI_CHUNK_SLOTS, Index = Start;
    for (BOOLEAN Around = FALSE; Best < Want && Seen < MI_SEARCH_CHUNKS; Seen++) {
        ULONG First = 0;
        Index = MiNextChunk(File, Index, Around ? Start + 1 : Chunks);
        if (Index == (Around ? Start + 1 : Chunks)) {
            if (Around) {
                break;
            }
            Around = TRUE;
            Index = 0;
            Seen--;
            continue;
        }
        /* The hint is a place in the chunk where the search begins; it comes back there for what lies before. */
        ULONG Run = MiLongestRun(&File->Chunks[Index], Index == Start && !Around ? From : 0, Want, &First);
        if (Run > Best) {
            Best = Run;
            *Offset = Index * MI_CHUNK_SLOTS + First;
        }
        Index++;
    }
    return Best;
}

ULONG MiReserveSlots(ULONG Want, MI_SLOT *First)
{
    MI_PAGING *Paging = MiPaging();
    ULONG Files = __atomic_load_n(&Paging->FileCount, __ATOMIC_ACQUIRE);
    ULONG Turn = Files > 1 ? __atomic_fetch_add(&Paging->NextFile, 1, __ATOMIC_RELAXED) : 0;
    Want = Want < MI_IO_PAGES ? Want : MI_IO_PAGES;
    for (ULONG Least = Want;; Least = 1) {
        for (ULONG Try = 0; Want != 0 && Try < Files; Try++) {
            ULONG Number = (Turn + Try) % Files, Offset = 0;
            MI_PAGE_FILE *File = &Paging->Files[Number];
            if (__atomic_load_n(&File->Free, __ATOMIC_RELAXED) < Least) {
                continue;
            }
            KiAcquireLock(&File->Lock);
            ULONG Run = File->InUse && File->Free >= Least ? MiFindRun(File, Want, &Offset) : 0;
            if (Run >= Least) {
                MiChangeSlots(File, Offset, Run, TRUE);
                File->Hint = Offset + Run;
                KiReleaseLock(&File->Lock);
                *First = MiMakeSlot(Number, Offset);
                return Run;
            }
            KiReleaseLock(&File->Lock);
        }
        if (Least <= 1) {
            *First = MI_NO_SLOT;
            return 0;
        }
    }
}

/* Slots of one chunk become free, their contents forgotten. */
VOID MiFreeSlots(MI_PAGE_FILE *File, ULONG Offset, ULONG Count)
{
    MI_CHUNK *Chunk = MiChunkOfSlot(File, Offset);
    for (ULONG Index = 0; Chunk->Checks != NULL && Index < Count; Index++) {
        Chunk->Checks[Offset % MI_CHUNK_SLOTS + Index] = 0;
    }
    KiAcquireLock(&File->Lock);
    MiChangeSlots(File, Offset, Count, FALSE);
    KiReleaseLock(&File->Lock);
}

VOID MiReleaseSlots(MI_SLOT First, ULONG Count)
{
    MI_PAGE_FILE *File = &MiPaging()->Files[MiSlotFile(First)];
    ULONG Offset = MiSlotOffset(First);
    while (Count != 0) {
        ULONG Part = 64 - Offset % 64 < Count ? 64 - Offset % 64 : Count;
        ULONG64 Free = Part == 64 ? ~0ull : (1ull << Part) - 1;
        if (MiPaging()->Store != NULL) {
            Free &= ~MiStoreDrop(File, MiMakeSlot(MiSlotFile(First), Offset), Part);
        }
        while (Free != 0) {
            ULONG Bit = (ULONG)__builtin_ctzll(Free);
            ULONG Run = ~(Free >> Bit) == 0 ? 64 : (ULONG)__builtin_ctzll(~(Free >> Bit));
            MiFreeSlots(File, Offset + Bit, Run);
            Free &= ~((Run == 64 ? ~0ull : (1ull << Run) - 1) << Bit);
        }
        Offset += Part;
        Count -= Part;
    }
}

ULONG64 MiFreeSlotCount(VOID)
{
    ULONG64 Count = 0;
    for (ULONG Index = 0; Index < MiPaging()->FileCount; Index++) {
        Count += __atomic_load_n(&MiPaging()->Files[Index].Free, __ATOMIC_RELAXED);
    }
    return Count;
}
ULONG64 MiSlotCount(VOID)
{
    ULONG64 Count = 0;
    for (ULONG Index = 0; Index < MiPaging()->FileCount; Index++) {
        MI_PAGE_FILE *File = &MiPaging()->Files[Index];
        Count += File->InUse ? __atomic_load_n(&File->Pages, __ATOMIC_RELAXED) - 1 : 0;
    }
    return Count;
}
ULONG64 MiMaximumSlotCount(VOID)
{
    ULONG64 Count = 0;
    for (ULONG Index = 0; Index < MiPaging()->FileCount; Index++) {
        MI_PAGE_FILE *File = &MiPaging()->Files[Index];
        Count += File->InUse ? File->Maximum - 1 : 0;
    }
    return Count;
}

/* ---- files come, grow and go ---- */
/* Slots [File->Pages, Pages) come into being: they are taken bits until now. */
static VOID MiOpenSlots(MI_PAGE_FILE *File, ULONG Pages)
{
    KiAcquireLock(&File->Lock);
    ULONG Offset = File->Pages;
    __atomic_store_n(&File->Pages, Pages, __ATOMIC_RELAXED);
    while (Offset < Pages) {
        ULONG Part = MI_CHUNK_SLOTS - Offset % MI_CHUNK_SLOTS;
        Part = Part < Pages - Offset ? Part : Pages - Offset;
        MiChangeSlots(File, Offset, Part, FALSE);
        Offset += Part;
    }
    KiReleaseLock(&File->Lock);
}

static VOID MiDropTables(MI_PAGE_FILE *File)
{
    ULONG Chunks = (ULONG)(((ULONG64)File->Maximum + MI_CHUNK_SLOTS - 1) / MI_CHUNK_SLOTS);
    for (ULONG Index = 0; Index < Chunks; Index++) {
        MiGiveArray(File->Chunks[Index].Checks);
        MiGiveArray(File->Chunks[Index].Places);
    }
    MiGiveTable(File->TableBase, File->TablePages);
    File->Chunks = NULL;
}

static NTSTATUS MiMakeTables(MI_PAGE_FILE *File, ULONG Pages, ULONG Maximum)
{
    ULONG64 Chunks = ((ULONG64)Maximum + MI_CHUNK_SLOTS - 1) / MI_CHUNK_SLOTS;
    ULONG64 RecordBytes = Chunks * sizeof(MI_CHUNK), MapBytes = (Chunks + 63) / 64 * 8;
    File->TablePages = MI_BYTES_TO_PAGES(RecordBytes + MapBytes);
    PUCHAR Table = (PUCHAR)MiTakeTable(File->TablePages, &File->TableBase);
    if (Table == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    File->Chunks = (MI_CHUNK *)(PVOID)Table;
    File->NotFull = (ULONG64 *)(PVOID)(Table + RecordBytes);
    File->Maximum = Maximum;
    for (ULONG Index = 0; Index < Chunks; Index++) {
        for (ULONG Word = 0; Word < MI_CHUNK_SLOTS / 64; Word++) {
            File->Chunks[Index].Taken[Word] = ~0ull;
        }
    }
    if (!MiMakeArrays(File, 0, Pages)) {
        MiDropTables(File);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS MiMakePageFile(const MM_PAGE_FILE_OPTIONS *Options, ULONG Number)
{
    MI_PAGE_FILE *File = &MiPaging()->Files[Number];
    ULONG64 Pages = Options->InitialBytes >> PAGE_SHIFT, Maximum = Options->MaximumBytes >> PAGE_SHIFT;
    /* A slot's offset has 32 bits. */
    Pages = Pages < MAXULONG ? Pages : MAXULONG;
    Maximum = Maximum < Pages ? Pages : Maximum < MAXULONG ? Maximum : MAXULONG;
    if (Pages < MI_LEAST_FILE) {
        return STATUS_INVALID_PARAMETER;
    }
    memset(File, 0, sizeof(*File));
    File->Checked = Options->Checked;
    NTSTATUS Status = MiMakeTables(File, (ULONG)Pages, (ULONG)Maximum);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    HAL_DEVICE_OPTIONS Device = {Options->Path, Pages << PAGE_SHIFT, Options->Keep ? HAL_DEVICE_KEEP : 0};
    Status = HalOpenBlockDevice(&Device, &File->Device);
    if (!NT_SUCCESS(Status)) {
        MiDropTables(File);
        return Status;
    }
    File->Direct = HalIsDeviceDirect(File->Device);
    File->Pages = File->Hint = 1;
    File->InUse = TRUE;
    MiOpenSlots(File, (ULONG)Pages);
    return STATUS_SUCCESS;
}

NTSTATUS MmCreatePageFile(const MM_PAGE_FILE_OPTIONS *Options, ULONG *Number)
{
    MI_PAGING *Paging = MiPaging();
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    PFN_NUMBER Dummy;
    MiBeginGrowth();
    ULONG Index = 0;
    while (Index < Paging->FileCount && Paging->Files[Index].InUse) {
        Index++;
    }
    if (Index < MI_MAX_PAGE_FILES && (Paging->DummyPage != 0 || MiTakeTable(1, &Dummy) != NULL)) {
        Paging->DummyPage = Paging->DummyPage != 0 ? Paging->DummyPage : Dummy;
        Status = MiMakePageFile(Options, Index);
        if (NT_SUCCESS(Status)) {
            if (Index == Paging->FileCount) {
                __atomic_store_n(&Paging->FileCount, Index + 1, __ATOMIC_RELEASE);
            }
            MI_PAGE_FILE *File = &Paging->Files[Index];
            MiSetPagingThresholds();
            (VOID) MiChangeCommitLimit((LONG64)File->Pages - 1, (LONG64)File->Maximum - 1);
        }
    }
    MiEndGrowth();
    *Number = Index;
    return Status;
}

static VOID MiClosePageFile(MI_PAGE_FILE *File)
{
    HalCloseBlockDevice(File->Device);
    MiDropTables(File);
}

NTSTATUS MmRemovePageFile(ULONG Number)
{
    MI_PAGE_FILE *File = &MiPaging()->Files[Number];
    NTSTATUS Status = STATUS_DEVICE_BUSY;
    if (Number >= MiPaging()->FileCount || !File->InUse) {
        return STATUS_INVALID_PARAMETER;
    }
    MiBeginGrowth();
    LONG64 Pages = (LONG64)File->Pages - 1, Maximum = (LONG64)File->Maximum - 1;
    if (File->InUse && MiChangeCommitLimit(-Pages, -Maximum)) {
        KiAcquireLock(&File->Lock);
        if (File->Free == File->Pages - 1) {
            File->InUse = FALSE;
            __atomic_store_n(&File->Free, 0, __ATOMIC_RELAXED);
            Status = STATUS_SUCCESS;
        }
        KiReleaseLock(&File->Lock);
        if (NT_SUCCESS(Status)) {
            MiClosePageFile(File);
            MiSetPagingThresholds();
        } else {
            (VOID) MiChangeCommitLimit(Pages, Maximum);
        }
    }
    MiEndGrowth();
    return Status;
}

VOID MiClosePageFiles(VOID)
{
    MI_PAGING *Paging = MiPaging();
    MiStoreClose();
    for (ULONG Index = 0; Index < Paging->FileCount; Index++) {
        MI_PAGE_FILE *File = &Paging->Files[Index];
        if (File->InUse) {
            File->InUse = FALSE;
            MiClosePageFile(File);
            (VOID) MiChangeCommitLimit(1 - (LONG64)File->Pages, 1 - (LONG64)File->Maximum);
        }
    }
    Paging->FileCount = 0;
    if (Paging->DummyPage != 0) {
        MiGiveTable(Paging->DummyPage, 1);
        Paging->DummyPage = 0;
    }
}

static ULONG MiGrowPageFile(MI_PAGE_FILE *File, ULONG64 Want)
{
    ULONG64 Step = Want > File->Pages / 16 ? Want : File->Pages / 16;
    ULONG64 Pages = File->Pages + Step < File->Maximum ? File->Pages + Step : File->Maximum;
    ULONG Old = File->Pages;
    if (Pages == Old) {
        return 0;
    }
    if (!MiMakeArrays(File, Old, (ULONG)Pages) || !NT_SUCCESS(HalGrowBlockDevice(File->Device, Pages << PAGE_SHIFT))) {
        return 0;
    }
    MiOpenSlots(File, (ULONG)Pages);
    (VOID) MiChangeCommitLimit((LONG64)Pages - Old, 0);
    return (ULONG)Pages - Old;
}

ULONG64 MiGrowPageFiles(ULONG64 Pages)
{
    ULONG64 Grown = 0;
    MiBeginGrowth();
    for (ULONG Index = 0; Index < MiPaging()->FileCount && Grown < Pages; Index++) {
        if (MiPaging()->Files[Index].InUse) {
            Grown += MiGrowPageFile(&MiPaging()->Files[Index], Pages - Grown);
        }
    }
    MiEndGrowth();
    return Grown;
}

/* ---- seen from outside ---- */
VOID MmQueryPageFile(ULONG Number, MM_PAGE_FILE_INFO *Info)
{
    memset(Info, 0, sizeof(*Info));
    MI_PAGE_FILE *File = &MiPaging()->Files[Number < MI_MAX_PAGE_FILES ? Number : 0];
    if (Number >= MiPaging()->FileCount || !File->InUse) {
        return;
    }
    KiAcquireLock(&File->Lock);
    *Info = (MM_PAGE_FILE_INFO){.InUse = TRUE,
                                .Direct = File->Direct,
                                .Checked = File->Checked,
                                .Pages = File->Pages - 1,
                                .MaximumPages = File->Maximum - 1,
                                .UsedPages = File->Pages - 1 - File->Free,
                                .PeakPages = File->Peak};
    KiReleaseLock(&File->Lock);
    Info->Reads = __atomic_load_n(&File->Reads, __ATOMIC_RELAXED);
    Info->Writes = __atomic_load_n(&File->Writes, __ATOMIC_RELAXED);
    Info->PagesRead = __atomic_load_n(&File->PagesRead, __ATOMIC_RELAXED);
    Info->PagesWritten = __atomic_load_n(&File->PagesWritten, __ATOMIC_RELAXED);
    Info->ReadErrors = __atomic_load_n(&File->ReadErrors, __ATOMIC_RELAXED);
    Info->WriteErrors = __atomic_load_n(&File->WriteErrors, __ATOMIC_RELAXED);
    Info->CorruptPages = __atomic_load_n(&File->CorruptPages, __ATOMIC_RELAXED);
    Info->Retries = __atomic_load_n(&File->Retries, __ATOMIC_RELAXED);
}

PHAL_DEVICE MmPageFileDevice(ULONG Number)
{
    return Number < MiPaging()->FileCount && MiPaging()->Files[Number].InUse ? MiPaging()->Files[Number].Device : NULL;
}

static const CHAR *MiValidateFile(MI_PAGE_FILE *File)
{
    ULONG Free = 0;
    ULONG64 Chunks = ((ULONG64)File->Maximum + MI_CHUNK_SLOTS - 1) / MI_CHUNK_SLOTS;
    for (ULONG Index = 0; Index < Chunks; Index++) {
        MI_CHUNK *Chunk = &File->Chunks[Index];
        ULONG Clear = 0;
        for (ULONG Word = 0; Word < MI_CHUNK_SLOTS / 64; Word++) {
            Clear += RtlNumberOfSetBitsUlongPtr(~Chunk->Taken[Word]);
        }
        if (Clear != Chunk->Free || (Clear != 0) != (File->NotFull[Index / 64] >> Index % 64 & 1)) {
            return "P1: a chunk of a page file has a wrong count of free slots";
        }
        Free += Clear;
        for (ULONG Bit = 0; Clear != 0 && Bit < MI_CHUNK_SLOTS; Bit++) {
            if (MiIsTaken(Chunk, Bit)) {
                continue;
            }
            if (Index * MI_CHUNK_SLOTS + Bit >= File->Pages || Index + Bit == 0) {
                return "P2: a slot that does not exist is free";
            }
            if ((Chunk->Checks != NULL && Chunk->Checks[Bit] != 0) || (Chunk->Places != NULL && Chunk->Places[Bit] != 0)) {
                return "P3: a free slot has a checksum or a place in the store";
            }
        }
    }
    return Free != File->Free || File->Pages - 1 - Free > File->Peak ? "P2: a page file's count of free slots is wrong" : NULL;
}

const CHAR *MiValidatePageFiles(VOID)
{
    const CHAR *Broken = NULL;
    for (ULONG Index = 0; Index < MiPaging()->FileCount && Broken == NULL; Index++) {
        MI_PAGE_FILE *File = &MiPaging()->Files[Index];
        KiAcquireLock(&File->Lock);
        Broken = File->InUse ? MiValidateFile(File) : NULL;
        KiReleaseLock(&File->Lock);
    }
    return Broken != NULL ? Broken : MiValidateStore();
}
