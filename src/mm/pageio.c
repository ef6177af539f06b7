/*
 * pageio.c - transfers of pages to and from page files. SPDX-License-Identifier: MIT
 *
 * A transfer is a run of slots and as many frames, wherever those lie in RAM: frames that follow each other become one span.
 * What of it the store can serve (store.c) never reaches the device; of the rest the device is asked for runs, one after the
 * other, until none is left:
 *
 *      MiBeginIo --> MiNextRun --(a run)--> HalSubmitIo / HalTransferIo --> MiEndRun --+
 *                      ^  |                                                            |
 *                      |  `--(none left)--> MiFinishIo --> Done, or back to who waits  |
 *                      `---------------------------------------------------------------+
 *
 * A read runs from the first page still to do to the last, over gaps (MI_IO_SKIP, and pages the store had) which go to a frame
 * that nobody looks at: one transfer is cheaper than two. A write never runs over a gap.
 *
 * Failures. A run that fails or comes short gives the pages that did arrive whole; if the page somebody waits for (Wanted) is
 * not among them and was not alone, it is tried once more alone, so a bad neighbour costs nobody a page. A page whose checksum
 * is wrong is not good and its status is STATUS_CRC_ERROR: torn and lost writes show here, since the checksum is of what was to
 * be written, salted with the slot (a page that comes from the wrong place is wrong too). Nothing is reported good that is not;
 * what becomes of a page that is not good is the caller's affair (kept and written again; STATUS_IN_PAGE_ERROR or a stop).
 *
 * Checksums are 32 bits of a 64-bit multiplicative hash in four lanes: every change of one word is seen for certain, others all
 * but one in four billion; a page takes about 0.3 us. Zero stands for "none yet" and is never a checksum.
 *
 * Locks: none of its own; called with none. Watch: MmQueryPageFile. Tests: tests/unit/pageio_test.c, scripted_pagefile.c.
 */
#include "mm/mi.h"

/* ---- checksums ---- */
#define MI_CHECK_FACTOR 0x9E3779B97F4A7C15ull
static inline ULONG64 MiMix(ULONG64 Lane, ULONG64 Word)
{
    Lane = (Lane ^ Word) * MI_CHECK_FACTOR;
    return Lane << 29 | Lane >> 35;
}
static ULONG MiChecksum(PFN_NUMBER Page, MI_SLOT Slot)
{
    const ULONG64 *Word = (const ULONG64 *)HalWindow(Page), *End = Word + PAGE_SIZE / sizeof(*Word);
    ULONG64 A = Slot, B = ~Slot, C = Slot * MI_CHECK_FACTOR, D = 0x243F6A8885A308D3ull;
    for (; Word < End; Word += 4) {
        A = MiMix(A, Word[0]);
        B = MiMix(B, Word[1]);
        C = MiMix(C, Word[2]);
        D = MiMix(D, Word[3]);
    }
    A = MiMix(MiMix(MiMix(A, B), C), D);
    ULONG Sum = (ULONG)(A ^ A >> 32);
    return Sum != 0 ? Sum : 1;
}
static volatile ULONG *MiCheckOf(MI_PAGE_FILE *File, MI_SLOT Slot)
{
    MI_CHUNK *Chunk = MiChunkOfSlot(File, MiSlotOffset(Slot));
    return Chunk->Checks != NULL ? &Chunk->Checks[MiSlotOffset(Slot) % MI_CHUNK_SLOTS] : NULL;
}
/* ---- the steps of a transfer ---- */
static MI_PAGE_FILE *MiFileOfIo(const MI_PAGE_IO *PageIo)
{
    return &MiState->Paging.Files[MiSlotFile(PageIo->Slot)];
}

static VOID MiNoteBad(PMI_PAGE_IO PageIo, ULONG Index, NTSTATUS Status)
{
    if (PageIo->Write ? NT_SUCCESS(PageIo->Status) : Index == PageIo->Wanted) {
        PageIo->Status = Status;
    }
}

/* Whether what was read is what was written; if so the page is good. */
static VOID MiCheckPage(PMI_PAGE_IO PageIo, ULONG Index)
{
    MI_SLOT Slot = PageIo->Slot + Index;
    volatile ULONG *Check = MiCheckOf(MiFileOfIo(PageIo), Slot);
    ULONG Expected = Check != NULL ? *Check : 0, Found = Check != NULL ? MiChecksum(PageIo->Pages[Index], Slot) : 0;
    if (Found == Expected) {
        PageIo->Good |= 1ull << Index;
        return;
    }
    MiCount(&MiFileOfIo(PageIo)->CorruptPages);
    MiNoteBad(PageIo, Index, STATUS_CRC_ERROR);
    if (Index == PageIo->Wanted) {
        PageIo->Found = Found;
        PageIo->Expected = Expected;
    }
}

static VOID MiBeginIo(PMI_PAGE_IO PageIo, BOOLEAN Write, BOOLEAN Bypass)
{
    MI_PAGE_FILE *File = MiFileOfIo(PageIo);
    BOOLEAN Good;
    PageIo->Write = Write;
    PageIo->Bypass = (BOOLEAN)(Bypass || MiState->Paging.Store == NULL);
    PageIo->Good = PageIo->Todo = 0;
    PageIo->Status = STATUS_SUCCESS;
    PageIo->Found = PageIo->Expected = 0;
    for (ULONG Index = 0; Index < PageIo->Count; Index++) {
        ULONG Page = PageIo->Pages[Index];
        if (Page == MI_IO_SKIP) {
            continue;
        }
        volatile ULONG *Check = Write && !Bypass ? MiCheckOf(File, PageIo->Slot + Index) : NULL;
        if (Check != NULL) {
            *Check = MiChecksum(Page, PageIo->Slot + Index);
        }
        if (PageIo->Bypass) {
            PageIo->Todo |= 1ull << Index;
        } else if (Write) {
            Good = MiStoreInsert(File, PageIo->Slot + Index, Page);
            *(Good ? &PageIo->Good : &PageIo->Todo) |= 1ull << Index;
        } else if (!MiStoreFetch(File, PageIo->Slot + Index, Page, &Good)) {
            PageIo->Todo |= 1ull << Index;
        } else if (Good) {
            MiCheckPage(PageIo, Index);
        } else {
            MiNoteBad(PageIo, Index, STATUS_CRC_ERROR);
        }
    }
}

/* Describes the next run to the machine. FALSE: all is done. */
static BOOLEAN MiNextRun(PMI_PAGE_IO PageIo)
{
    ULONG64 Todo = PageIo->Todo;
    if (Todo == 0) {
        return FALSE;
    }
    ULONG First = (ULONG)__builtin_ctzll(Todo), Last = 63 - (ULONG)__builtin_clzll(Todo);
    if (PageIo->Write && ~(Todo >> First) != 0) {
        Last = First + (ULONG)__builtin_ctzll(~(Todo >> First)) - 1;
    }
    PageIo->First = (UCHAR)First;
    PageIo->Length = (UCHAR)(Last - First + 1);
    ULONG Spans = 0;
    PFN_NUMBER Next = ~(PFN_NUMBER)0;
    for (ULONG Index = First; Index <= Last; Index++) {
        PFN_NUMBER Page = Todo >> Index & 1 ? PageIo->Pages[Index] : MiState->Paging.DummyPage;
        if (Page == Next) {
            PageIo->Spans[Spans - 1].Bytes += PAGE_SIZE;
        } else {
            PageIo->Spans[Spans++] = (HAL_SPAN){HalWindow(Page), PAGE_SIZE};
        }
        Next = Todo >> Index & 1 ? Page + 1 : ~(PFN_NUMBER)0;
    }
    PageIo->Io.Device = MiFileOfIo(PageIo)->Device;
    PageIo->Io.Offset = ((ULONG64)MiSlotOffset(PageIo->Slot) + First) << PAGE_SHIFT;
    PageIo->Io.Spans = PageIo->Spans;
    PageIo->Io.SpanCount = Spans;
    PageIo->Io.Write = PageIo->Write;
    PageIo->Io.Context = PageIo;
    return TRUE;
}

static VOID MiCountIo(const MI_PAGE_IO *PageIo, ULONG Moved, BOOLEAN Failed)
{
    MI_PAGE_FILE *File = MiFileOfIo(PageIo);
    MiCount(PageIo->Write ? &File->Writes : &File->Reads);
    __atomic_fetch_add(PageIo->Write ? &File->PagesWritten : &File->PagesRead, Moved, __ATOMIC_RELAXED);
    if (Failed) {
        MiCount(PageIo->Write ? &File->WriteErrors : &File->ReadErrors);
    }
}

/* The run under way has ended: says of each of its pages what became of it. */
static VOID MiEndRun(PMI_PAGE_IO PageIo)
{
    MI_PAGE_FILE *File = MiFileOfIo(PageIo);
    ULONG64 Moved = PageIo->Io.Information / PAGE_SIZE;
    ULONG Length = PageIo->Length, First = PageIo->First, Arrived = 0;
    NTSTATUS Status = PageIo->Io.Status;
    if (NT_SUCCESS(Status) && Moved < Length) {
        Status = STATUS_END_OF_FILE; /* the device said success and gave less */
    }
    for (ULONG Index = First; Index < First + Length; Index++) {
        ULONG64 Bit = 1ull << Index;
        if (!(PageIo->Todo & Bit)) {
            continue;
        }
        if (Index - First < Moved) {
            Arrived++;
            PageIo->Todo &= ~Bit;
            if (PageIo->Write) {
                PageIo->Good |= Bit;
            } else {
                MiCheckPage(PageIo, Index);
            }
        } else if (!PageIo->Write && Index == PageIo->Wanted && Length > 1) {
            MiCount(&File->Retries); /* stays to do, alone */
        } else {
            PageIo->Todo &= ~Bit;
            MiNoteBad(PageIo, Index, Status);
        }
    }
    MiCountIo(PageIo, Arrived, !NT_SUCCESS(Status));
}

static VOID MiFinishIo(PMI_PAGE_IO PageIo)
{
    MI_PAGE_FILE *File = MiFileOfIo(PageIo);
    if (!PageIo->Write || NT_SUCCESS(PageIo->Status) || (PageIo->Bypass && MiState->Paging.Store != NULL)) {
        return;
    }
    for (ULONG Index = 0; Index < PageIo->Count; Index++) { /* what is in the slots of pages that failed, nobody knows */
        volatile ULONG *Check = MiCheckOf(File, PageIo->Slot + Index);
        if (Check != NULL && !MiIsIoGood(PageIo, Index)) {
            *Check = 0;
        }
    }
}

/* ---- asynchronous ---- */
static VOID MiContinueIo(PMI_PAGE_IO PageIo)
{
    if (MiNextRun(PageIo)) {
        HalSubmitIo(&PageIo->Io);
        return;
    }
    MiFinishIo(PageIo);
    PageIo->Done(PageIo);
}
VOID MmIoDone(HAL_IO *Io)
{
    PMI_PAGE_IO PageIo = (PMI_PAGE_IO)Io->Context;
    MiEndRun(PageIo);
    MiContinueIo(PageIo);
}
VOID MiWriteSlots(PMI_PAGE_IO PageIo)
{
    MiBeginIo(PageIo, TRUE, FALSE);
    MiContinueIo(PageIo);
}
VOID MiWriteSlotsPastStore(PMI_PAGE_IO PageIo)
{
    MiBeginIo(PageIo, TRUE, TRUE);
    MiContinueIo(PageIo);
}
VOID MiReadSlots(PMI_PAGE_IO PageIo)
{
    MiBeginIo(PageIo, FALSE, FALSE);
    MiContinueIo(PageIo);
}

/* ---- on the calling thread ---- */
static NTSTATUS MiTransferAndWait(PMI_PAGE_IO PageIo, BOOLEAN Write)
{
    MiBeginIo(PageIo, Write, FALSE);
    while (MiNextRun(PageIo)) {
        HalTransferIo(&PageIo->Io);
        MiEndRun(PageIo);
    }
    MiFinishIo(PageIo);
    return PageIo->Status;
}
NTSTATUS MiReadSlotsAndWait(PMI_PAGE_IO PageIo)
{
    return MiTransferAndWait(PageIo, FALSE);
}
NTSTATUS MiWriteSlotsAndWait(PMI_PAGE_IO PageIo)
{
    return MiTransferAndWait(PageIo, TRUE);
}
