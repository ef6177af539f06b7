/*
 * mapwrite.c - modified pages of mapped files go back to their files: by the mapped writer, and by flushes.
 * SPDX-License-Identifier: MIT
 *
 * The mapped writer is a thread of its own, as NT has it: the file system that it calls may itself need memory, which the modified writer
 * (modwrite.c) goes on to make meanwhile, and a slow file keeps no page file waiting. It runs when the balance manager says so: too little is
 * available and there are mapped pages. A write is up to MM_SEGMENT_CLUSTER neighbours of one file, beginning with the page that was
 * modified longest:
 *
 *      Mapped --gather--> Transition + WRITING, one reference, the segment referenced --MM_SEGMENT_IO.Write--> done
 *              good, untouched since      Standby
 *              good, but modified again   Mapped (or Active)
 *              bad                        Mapped, at the end; counted, tried again after a while (50 ms, up to a second while it fails)
 *
 * A cluster that fails is tried page by page, so that a bad place of the file costs only its own page. A page is not taken from anybody
 * while it is written; the bytes that go out are those of one moment each, and a later change is noticed (Dirty, or MODIFIED).
 *
 * A flush (FlushVirtualMemory, the last view's or the segment's end) takes the Dirty bits from all views, then writes what is modified of
 * its pages wherever their frames are: in working sets, on the list, or locked. What somebody has locked stays modified, since he may write
 * to it still. Pages that the mapped writer has just under way are waited for, so that what was modified before a flush is in the file
 * after it, or the flush says why not.
 *
 * Neither takes a frame, and the writer brings the buffer along that a transfer may need. The file system may take frames:
 * MI_WRITERS_PAGES of Pager.Reserve are only the writer's (pfn.c), and it never waits for nonpaged memory (pages.c): what it cannot get is tried again.
 * Locks: MI_SEGMENT.Lock for flushes (not for the writer: its reference keeps the segment), PteLocks, PfnLock. IRQL = PASSIVE_LEVEL.
 * Watch: MM_COUNTERS.MappedWrites; tests/ddi/section_paging.c.
 */
#include "mm/segment.h"

#define MI_MAPPED_RETRY_FIRST 50000000ull /* ns */
#define MI_MAPPED_RETRY_LAST  1000000000ull

typedef struct _MI_FILE_WRITE {
    PMI_SEGMENT Segment;
    ULONG64 First;
    ULONG Count;
    ULONG Frames[MM_SEGMENT_CLUSTER];
    PVOID Pages[MM_SEGMENT_CLUSTER]; /* where they are in the window */
    ULONG64 Bad;                     /* bit n: page n is not in the file */
    NTSTATUS Status;                 /* of the first that is not */
    PVOID Buffer;                    /* for the transfer, or NULL */
} MI_FILE_WRITE;

/* ---- one cluster ---- */
/* The page joins the cluster. PfnLock held. */
static VOID MiBeginPageWrite(MI_FILE_WRITE *Write, PFN_NUMBER Page, PMMPFN Pfn)
{
    if (Pfn->State < MiPageActive) {
        MiSetPageState(Page, Pfn, MiPageTransition);
    }
    Pfn->ReferenceCount++;
    Pfn->Flags = (USHORT)((Pfn->Flags & (Pfn->Flags & MI_PFN_LOCKED ? 0xFFFFu : ~MI_PFN_MODIFIED)) | MI_PFN_WRITING);
    Write->Frames[Write->Count] = (ULONG)Page;
    Write->Pages[Write->Count++] = HalWindow(Page);
}

static NTSTATUS MiTransferOut(const MI_FILE_WRITE *Write, ULONG From, ULONG Count)
{
    PMI_SEGMENT Segment = Write->Segment;
    ULONG64 Offset = (Write->First + From) << PAGE_SHIFT, Bytes = __atomic_load_n(&Segment->Bytes, __ATOMIC_RELAXED);
    ULONG64 Left = Bytes > Offset ? Bytes - Offset : 0, Want = (ULONG64)Count << PAGE_SHIFT;
    Want = Want < Left ? Want : Left;
    return Want ? Segment->Io->Write(Segment->Context, Offset, Write->Pages + From, (ULONG)Want, Write->Buffer)
                : STATUS_SUCCESS;
}

static VOID MiTransferCluster(MI_FILE_WRITE *Write)
{
    Write->Bad = 0;
    Write->Status = MiTransferOut(Write, 0, Write->Count);
    if (NT_SUCCESS(Write->Status)) {
        return;
    }
    NTSTATUS First = STATUS_SUCCESS;
    for (ULONG Index = 0; Index < Write->Count; Index++) {
        NTSTATUS Status = Write->Count > 1 ? MiTransferOut(Write, Index, 1) : Write->Status;
        if (!NT_SUCCESS(Status)) {
            Write->Bad |= 1ull << Index;
            First = NT_SUCCESS(First) ? Status : First;
        }
    }
    Write->Status = First;
}

static VOID MiEndCluster(MI_FILE_WRITE *Write, BOOLEAN ByWriter)
{
    MI_PAGER *Pager = &MiState->Pager;
    ULONG64 Commit = 0;
    ULONG Bad = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Write->Count; Index++) {
        PMMPFN Pfn = MiPfn(Write->Frames[Index]);
        Pfn->Flags &= (USHORT)~MI_PFN_WRITING;
        if (Write->Bad >> Index & 1) {
            Pfn->Flags |= MI_PFN_MODIFIED;
            Bad++;
        }
        (VOID) MiDereferenceFrameLocked(Write->Frames[Index], &Commit);
        __atomic_add_fetch(MiPageWaitWord(Pager, Write->Frames[Index]), 1, __ATOMIC_RELEASE);
    }
    if (Write->Status != STATUS_INSUFFICIENT_RESOURCES) { /* else nobody refused: it is tried again when there is memory */
        __atomic_fetch_add(&Pager->MappedWriteErrors, Bad, __ATOMIC_RELAXED);
    }
    if (ByWriter) {
        Pager->MappedWrites++;
        Pager->MappedPagesWritten += Write->Count - Bad;
        __atomic_fetch_sub(&Pager->WritingPages, Write->Count, __ATOMIC_RELAXED);
    }
    KiReleaseLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Write->Count; Index++) {
        HalWake(MiPageWaitWord(Pager, Write->Frames[Index]), MAXLONG);
    }
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    MiPagesBecameAvailable();
}

/* ---- the mapped writer ---- */
BOOLEAN MiShouldWriteMapped(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    return __atomic_load_n(&MiState->StateCount[MiPageMapped], __ATOMIC_RELAXED) != 0 &&
           (__atomic_load_n(&Pager->FlushAll, __ATOMIC_RELAXED) || MiAvailable() < MiThreshold(Plenty));
}

VOID MiWakeMappedWriter(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (__atomic_load_n(&Pager->MappedWake, __ATOMIC_RELAXED) == 0 &&
        __atomic_exchange_n(&Pager->MappedWake, 1, __ATOMIC_ACQ_REL) == 0) {
        HalWake(&Pager->MappedWake, 1);
    }
}

static BOOLEAN MiIsMapped(PMMPTE Prototype, PMMPFN *Pfn, PFN_NUMBER *Page)
{
    MMPTE Entry = MiReadPte(Prototype);
    if (!MiPteIsTransition(Entry)) {
        return FALSE;
    }
    *Page = MiPtePage(Entry);
    *Pfn = MiPfn(*Page);
    return (*Pfn)->State == MiPageMapped;
}

/* The oldest mapped page and its neighbours. FALSE: there is none, or its segment is on its way out and writes it itself. */
static BOOLEAN MiGatherMapped(MI_FILE_WRITE *Write, ULONG64 Want)
{
    MI_PAGE_LIST *List = &MiState->Lists[MiPageMapped];
    ULONG Most = Want < MM_SEGMENT_CLUSTER ? (ULONG)Want : MM_SEGMENT_CLUSTER;
    Write->Count = 0;
    KiAcquireLock(&MiState->PfnLock);
    if (List->Head != MI_NO_PAGE) {
        PFN_NUMBER Page = List->Head;
        PMMPFN Pfn = MiPfn(Page);
        PMMPTE Prototype = Pfn->PteAddress;
        Write->Segment = MiSegmentOfPrototype(Prototype, &Write->First);
        if (Write->Segment->Parts || !MmTryReferenceSegment(Write->Segment)) {
            MiSetPageState(Page, Pfn, MiPageMapped); /* to the end */
        } else {
            for (ULONG Back = 1; Back < Most && MiIsMapped(Prototype - 1, &Pfn, &Page); Back++) {
                Prototype--;
                Write->First--;
            }
            while (Write->Count < Most && MiIsMapped(Prototype, &Pfn, &Page)) {
                MiBeginPageWrite(Write, Page, Pfn);
                if (((ULONG_PTR)++Prototype & (PAGE_SIZE - 1)) == 0) {
                    break;
                }
            }
            __atomic_fetch_add(&MiState->Pager.WritingPages, Write->Count, __ATOMIC_RELAXED);
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    return Write->Count != 0;
}

ULONG64 MiWriteMappedPages(ULONG64 Want)
{
    MI_PAGER *Pager = &MiState->Pager;
    MI_FILE_WRITE Write;
    Write.Buffer = MiIsMappedWriter() ? __atomic_load_n(&MiState->MappedBuffer, __ATOMIC_ACQUIRE) : NULL;
    ULONG64 Tried = 0, Most = __atomic_load_n(&MiState->StateCount[MiPageMapped], __ATOMIC_RELAXED);
    Want = Want < Most ? Want : Most; /* once each, whatever comes back */
    while (Tried < Want && MiGatherMapped(&Write, Want - Tried)) {
        Tried += Write.Count;
        MiTransferCluster(&Write);
        if (Write.Bad) {
            ULONG64 Delay = Pager->MappedDelay ? Pager->MappedDelay * 2 : MI_MAPPED_RETRY_FIRST;
            __atomic_store_n(&Pager->MappedDelay, Delay < MI_MAPPED_RETRY_LAST ? Delay : MI_MAPPED_RETRY_LAST,
                             __ATOMIC_RELAXED);
        } else {
            __atomic_store_n(&Pager->MappedDelay, 0, __ATOMIC_RELAXED);
        }
        MiEndCluster(&Write, TRUE);
        MmDereferenceSegment(Write.Segment);
    }
    return Tried;
}

VOID MiMappedWriterMain(PVOID Context)
{
    MI_PAGER *Pager = &MiState->Pager;
    UNREFERENCED_PARAMETER(Context);
    __atomic_store_n(&Pager->MappedWriter, KiCurrentThread(), __ATOMIC_RELAXED);
    BOOLEAN Ready = FALSE;
    while (!__atomic_load_n(&Pager->Stop, __ATOMIC_ACQUIRE)) {
        ULONG64 Deadline = HAL_FOREVER;
        __atomic_store_n(&Pager->MappedWake, 0, __ATOMIC_SEQ_CST);
        if (!Ready &&
            __atomic_load_n(&MiState->FileSegments, __ATOMIC_ACQUIRE)) { /* what pool keeps for a thread, while there is room */
            PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(MDL), MI_TAG_SEGMENT);
            Ready = Block != NULL;
            if (Block) {
                ExFreePoolWithTag(Block, MI_TAG_SEGMENT);
            }
        }
        if (MiShouldWriteMapped()) {
            ULONG64 Delay = __atomic_load_n(&Pager->MappedDelay, __ATOMIC_RELAXED);
            if (Delay) { /* Stop ends the wait */
                (VOID) HalWait(&Pager->Stop, 0, HalQueryTime() + Delay);
            }
            (VOID) MiWriteMappedPages(~0ull);
            if (MiShouldWriteMapped()) {
                Deadline = HalQueryTime() + MI_MAPPED_RETRY_FIRST;
            }
        }
        (VOID) HalWait(&Pager->MappedWake, 0, Deadline);
    }
}

/* ---- flushing ---- */
/* Takes the Dirty bits of a resident page from every view's entry to its frame. Segment locked, so the views stay. */
static VOID MiCollectDirty(PMI_SEGMENT Segment, ULONG64 Page)
{
    for (PLIST_ENTRY Link = Segment->Views.Flink; Link != &Segment->Views; Link = Link->Flink) {
        PMI_VIEW View = CONTAINING_RECORD(Link, MI_VIEW, Link);
        ULONG_PTR Va = View->Start + ((Page - View->FirstPage) << PAGE_SHIFT);
        if (Page < View->FirstPage || Va >= View->End) {
            continue;
        }
        PMMPTE Pte = MiPteOf(Va);
        KiAcquireLock(MiPteLock(Va));
        MMPTE Entry = MiReadPte(Pte);
        while (MiPteIsValid(Entry) && MiPteIsShared(Entry) && MiPteIsDirty(Entry)) {
            if (MiCompareExchangePte(Pte, &Entry, (MMPTE){Entry.Long & ~MI_PTE_D})) {
                HalFlushTb((PVOID)Va, 1);
                KiAcquireLock(&MiState->PfnLock);
                MiPfn(MiPtePage(Entry))->Flags |= MI_PFN_MODIFIED;
                KiReleaseLock(&MiState->PfnLock);
                break;
            }
        }
        KiReleaseLock(MiPteLock(Va));
    }
}

/* Waits for the write of a page that is under way, if there is one. PfnLock held; TRUE: it was released, and the page must be looked at again. */
static BOOLEAN MiWaitForPageWrite(PFN_NUMBER Page)
{
    if (!(MiPfn(Page)->Flags & MI_PFN_WRITING)) {
        return FALSE;
    }
    volatile LONG *Word = MiPageWaitWord(&MiState->Pager, Page);
    LONG Sequence = __atomic_load_n(Word, __ATOMIC_ACQUIRE); /* bumped under PfnLock */
    KiReleaseLock(&MiState->PfnLock);
    (VOID) HalWait(Word, Sequence, HAL_FOREVER);
    return TRUE;
}

/* Modified pages from *Page on, below End, that follow each other. *Page is behind them, or behind those that are not modified. */
static VOID MiGatherFlush(MI_FILE_WRITE *Write, ULONG64 *Page, ULONG64 End)
{
    Write->Count = 0;
    KiAcquireLock(&MiState->PfnLock);
    while (*Page < End && Write->Count < MM_SEGMENT_CLUSTER) {
        MMPTE Entry = MiReadPte(MiPrototypeOf(Write->Segment, *Page));
        PFN_NUMBER Frame = MiPtePage(Entry);
        if (MiPteIsValid(Entry) || MiPteIsTransition(Entry)) {
            if (Write->Count && (MiPfn(Frame)->Flags & MI_PFN_WRITING)) {
                break; /* first what is gathered */
            }
            if (MiWaitForPageWrite(Frame)) {
                KiAcquireLock(&MiState->PfnLock);
                continue;
            }
        }
        if ((MiPteIsValid(Entry) || MiPteIsTransition(Entry)) && (MiPfn(Frame)->Flags & MI_PFN_MODIFIED)) {
            Write->First = Write->Count ? Write->First : *Page;
            MiBeginPageWrite(Write, Frame, MiPfn(Frame));
        } else if (Write->Count) {
            break;
        }
        ++*Page;
    }
    KiReleaseLock(&MiState->PfnLock);
}

NTSTATUS MiFlushSegmentLocked(PMI_SEGMENT Segment, ULONG64 First, ULONG64 Count)
{
    MI_FILE_WRITE Write = {.Segment = Segment};
    NTSTATUS Status = STATUS_SUCCESS;
    if (Segment->Io == NULL || Segment->Parts || First >= Segment->Pages) {
        return STATUS_SUCCESS;
    }
    ULONG64 End = Count < Segment->Pages - First ? First + Count : Segment->Pages;
    for (ULONG64 Page = First; Page < End && Segment->ViewCount; Page++) {
        if (MiPteIsValid(MiReadPte(MiPrototypeOf(Segment, Page)))) {
            MiCollectDirty(Segment, Page);
        }
    }
    for (ULONG64 Page = First; Page < End;) {
        MiGatherFlush(&Write, &Page, End);
        if (Write.Count) {
            MiTransferCluster(&Write);
            MiEndCluster(&Write, FALSE);
            Status = NT_SUCCESS(Status) ? Write.Status : Status;
        }
    }
    return Status;
}

NTSTATUS MmFlushSegment(PMM_SEGMENT Segment, ULONG64 Offset, ULONG64 Bytes)
{
    ULONG64 First = Offset >> PAGE_SHIFT, End = Bytes ? MI_BYTES_TO_PAGES(Offset + Bytes) : ~0ull;
    MiLockSegment(Segment);
    NTSTATUS Status = MiFlushSegmentLocked(Segment, First, End - First);
    MiUnlockSegment(Segment);
    return Status;
}
