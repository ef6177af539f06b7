/*
 * section.c - segments: prototype entries, the pages they own, and the life of both. SPDX-License-Identifier: MIT
 *
 * A segment has a prototype entry for each of its pages, in frames of their own. The entries of every view refer to them, so
 * two views of one page, in whatever processes, show one frame:
 *
 *      view in A:  | prototype form --> |                       segment
 *                  | valid, shared ---- | --- frame 77 <---- | valid           | shown by two entries: two shares
 *      view in B:  | valid, shared ---- | ---'               | transition --   | shown by nobody: on a list, locked, or in I/O
 *                  | valid, private --- | --- frame 90       | page file       | written and repurposed
 *                                                            | in file         | only the file has it
 *                                                            | demand zero     | page file: charged, never touched
 *                                                            | zero            | reserved, or beyond
 *
 *      prototype frame: | segment, first page | entry | entry | ...     so an entry's address tells whose it is
 *
 * The frame belongs to the prototype entry. Each entry of a view that shows it has a share, is in its working set, and is
 * marked shared. A page that is trimmed from the last working set goes to standby, or to the modified list (home: the page
 * file) or the mapped list (home: the file), and comes back by a fault of any view (sharedfault.c): soft while it has its
 * frame, else hard. Copying on write gives the view a frame of its own, which is then an ordinary private page of the process.
 *
 *      demand zero --touch--> valid <--trim, last share / touch--> transition --repurposed--> page file | in file
 *                               ^                                                                  |
 *                               `----------------------- read (transition, READING) <--------------'
 *
 * Changed pages: a view's entry has the Dirty bit (set by the machine); a share that goes hands it to the frame (MODIFIED), as
 * a driver does that locks the page for writing. Pages whose home is a file go there by the mapped writer or a flush
 * (mapwrite.c), the others to a page file (modwrite.c).
 *
 * Charges: what the page file is the home of is charged when the segment is made (or committed); pages of files are not, the
 * file has them.
 *
 * Invariants (MiValidateSegments quotes the numbers):
 *   S1  A valid prototype entry's frame is active, names the entry, and has as many shares as valid entries of views show it.
 *   S2  A transition prototype entry's frame names the entry and is not active.
 *   S3  Only entries of files are in a file; a frame's home is the file (FILE) just if its page's is.
 *   S4  A shared entry of a view shows the frame of a valid prototype entry.
 * Locks: MI_SPACE.Lock > MI_SEGMENT.Lock > PteLocks > PrototypeLocks > PfnLock. A prototype entry changes under its
 * PrototypeLock; between valid and transition, and from transition to its home, under PfnLock alone. IRQL <= APC_LEVEL.
 * Watch: tests/ddi/ZwSection.c, section_file.c, section_paging.c.
 */
#include "mm/segment.h"

/* ---- prototype entries ---- */
static BOOLEAN MiMorePrototypeFrames(PMI_SEGMENT Segment, ULONG64 Tables)
{
    PFN_NUMBER *Array = ExAllocatePool2(POOL_FLAG_NON_PAGED, (Tables + 1) * sizeof(PFN_NUMBER), MI_TAG_SEGMENT);
    BOOLEAN Dirty;
    ULONG64 Have = Segment->TableCount;
    if (Array == NULL) {
        return FALSE;
    }
    *Array++ = (PFN_NUMBER)(ULONG_PTR)Segment->Tables;
    if (Segment->Tables) {
        memcpy(Array, Segment->Tables, Have * sizeof(PFN_NUMBER));
    }
    __atomic_store_n(&Segment->Tables, Array, __ATOMIC_RELEASE);
    while (Have < Tables && MiChargeCommitment(1, NormalPoolPriority)) {
        if (MiTakeFrames(1, MI_TAKE_ZEROED, NULL, &Array[Have], &Dirty) == 0) {
            MiReturnCommitment(1);
            break;
        }
        if (Dirty) {
            HalZeroPages(Array[Have], 1);
        }
        *(MI_PROTOTYPES_HEADER *)HalWindow(Array[Have]) =
            (MI_PROTOTYPES_HEADER){(ULONG_PTR)Segment | 1, Have * MI_PROTOTYPES << 1 | 1};
        Segment->TableCount = ++Have;
    }
    return Have == Tables;
}

NTSTATUS MiAddPrototypes(PMI_SEGMENT Segment, ULONG64 Pages, MMPTE Value)
{
    ULONG64 Tables = (Pages + MI_PROTOTYPES - 1) / MI_PROTOTYPES;
    if (Tables > Segment->TableCount && !MiMorePrototypeFrames(Segment, Tables)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    for (ULONG64 Page = Segment->Pages; Page < Pages; Page++) {
        MiWritePte(MiPrototypeOf(Segment, Page), Value);
    }
    __atomic_store_n(&Segment->Pages, Pages, __ATOMIC_RELEASE);
    return STATUS_SUCCESS;
}

/* ---- life ---- */
/* The first section of a file: from now on memory can be in use that nobody is charged for. */
static BOOLEAN MiPrepareForFiles(VOID)
{
    PVOID None = NULL, Buffer = __atomic_load_n(&MiState->MappedBuffer, __ATOMIC_ACQUIRE);
    if (Buffer == NULL) {
        Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, MM_SEGMENT_BUFFER, MI_TAG_SEGMENT);
        if (Buffer == NULL || !MiChargeCommitment(MI_WRITERS_PAGES, NormalPoolPriority)) {
            if (Buffer) {
                ExFreePoolWithTag(Buffer, MI_TAG_SEGMENT);
            }
            return FALSE;
        }
        if (!__atomic_compare_exchange_n(&MiState->MappedBuffer, &None, Buffer, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            ExFreePoolWithTag(Buffer, MI_TAG_SEGMENT);
            MiReturnCommitment(MI_WRITERS_PAGES);
        }
    }
    if (!__atomic_exchange_n(&MiState->FileSegments, TRUE, __ATOMIC_ACQ_REL)) {
        MiSetPagingThresholds();
        MiWakeMappedWriter(); /* to be ready */
    }
    return TRUE;
}

PMI_SEGMENT MiNewSegment(const MM_SEGMENT_IO *Io, PVOID Context)
{
    PMI_SEGMENT Segment = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Segment), MI_TAG_SEGMENT);
    if (Segment) {
        Segment->References = 1;
        Segment->Io = Io;
        Segment->Context = Context;
        InitializeListHead(&Segment->Views);
        KiAcquireLock(&MiState->SegmentLock);
        InsertTailList(&MiState->Segments, &Segment->All);
        KiReleaseLock(&MiState->SegmentLock);
    }
    if (Segment && Io && !MiPrepareForFiles()) {
        MiDropSegment(Segment);
        Segment = NULL;
    }
    return Segment;
}

/* What a page is before anybody touches it. */
static MMPTE MiHomeOf(PMI_SEGMENT Segment)
{
    return Segment->Io ? MiPteInFile(MI_PROT_READWRITE) : Segment->Reserve ? MI_ZERO_PTE : MiPteDemandZero(MI_PROT_READWRITE);
}

NTSTATUS MmCreateSegment(ULONG64 Bytes, BOOLEAN Reserve, const MM_SEGMENT_IO *Io, PVOID Context, PMM_SEGMENT *Result)
{
    ULONG64 Pages = MI_BYTES_TO_PAGES(Bytes);
    PMI_SEGMENT Segment = MiNewSegment(Io, Context);
    *Result = NULL;
    if (Segment == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Io == NULL && !Reserve) {
        if (!MiChargeCommitment(Pages, NormalPoolPriority)) {
            MiDropSegment(Segment);
            return STATUS_COMMITMENT_LIMIT;
        }
        Segment->Charged = Pages;
    }
    Segment->Reserve = Reserve;
    NTSTATUS Status = MiAddPrototypes(Segment, Pages, MiHomeOf(Segment));
    if (!NT_SUCCESS(Status)) {
        MiDropSegment(Segment);
        return Status;
    }
    Segment->Bytes = Bytes;
    *Result = Segment;
    return STATUS_SUCCESS;
}

/* One page of a segment that no view shows. Returns the charge that stays with a lock or a write. PfnLock held. */
static ULONG64 MiDropPage(PMMPTE Prototype, BOOLEAN File)
{
    MMPTE Entry = MiReadPte(Prototype);
    ULONG64 Kept = 0;
    if (MiPteIsTransition(Entry)) {
        Kept = !MiDeleteFrameLocked(MiPtePage(Entry), MiPfn(MiPtePage(Entry))) && !File;
    } else if (MiPteIsPageFile(Entry)) {
        MiReleaseSlots(MiSlotOfPte(Entry), 1);
    }
    MiWritePte(Prototype, MI_ZERO_PTE);
    return Kept;
}

VOID MiDropSegment(PMI_SEGMENT Segment)
{
    ULONG64 Freed = 0, Kept = 0;
    KiAcquireLock(&MiState->SegmentLock);
    RemoveEntryList(&Segment->All);
    KiReleaseLock(&MiState->SegmentLock);
    for (ULONG64 Page = 0; Page < Segment->Pages; Page++) {
        PMMPTE Prototype = MiPrototypeOf(Segment, Page);
        if (MiPteIsZero(MiReadPte(Prototype)) || MiPteIsInFile(MiReadPte(Prototype)) ||
            MiPteIsDemandZero(MiReadPte(Prototype))) {
            continue; /* nobody else changes it any more */
        }
        KiAcquireLock(&MiState->PfnLock);
        Kept += MiDropPage(Prototype, MiIsPageOfFile(Segment, Page));
        KiReleaseLock(&MiState->PfnLock);
    }
    for (ULONG64 Table = 0; Table < Segment->TableCount; Table++) {
        Freed += MiReleaseFrames(Segment->Tables[Table], 1);
    }
    MiReturnCommitment(Freed + Segment->Charged - Kept);
    for (PFN_NUMBER *Array = Segment->Tables, *Before; Array; Array = Before) {
        Before = (PFN_NUMBER *)(ULONG_PTR)Array[-1];
        ExFreePoolWithTag(Array - 1, MI_TAG_SEGMENT);
    }
    if (Segment->Parts) {
        ExFreePoolWithTag(Segment->Parts, MI_TAG_SEGMENT);
    }
    if (Segment->Fixups) {
        ExFreePoolWithTag(Segment->Fixups, MI_TAG_SEGMENT);
    }
    ExFreePoolWithTag(Segment, MI_TAG_SEGMENT);
}

VOID MmReferenceSegment(PMM_SEGMENT Segment)
{
    __atomic_add_fetch(&Segment->References, 1, __ATOMIC_RELAXED);
}

BOOLEAN MmTryReferenceSegment(PMM_SEGMENT Segment)
{
    LONG Old = __atomic_load_n(&Segment->References, __ATOMIC_RELAXED);
    while (Old > 0 &&
           !__atomic_compare_exchange_n(&Segment->References, &Old, Old + 1, 1, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    }
    return Old > 0;
}

VOID MmDereferenceSegment(PMM_SEGMENT Segment)
{
    if (__atomic_sub_fetch(&Segment->References, 1, __ATOMIC_ACQ_REL) != 0) {
        return;
    }
    const MM_SEGMENT_IO *Io = Segment->Io;
    PVOID Context = Segment->Context;
    if (Io) {
        (VOID) MmFlushSegment(Segment, 0, 0); /* a device's error has nobody to be told */
        Io->Close(Context, Segment);
    }
    MiDropSegment(Segment);
}

NTSTATUS MmExtendSegment(PMM_SEGMENT Segment, ULONG64 Bytes)
{
    ULONG64 Pages = MI_BYTES_TO_PAGES(Bytes);
    NTSTATUS Status = STATUS_SUCCESS;
    MiLockSegment(Segment);
    if (Bytes > Segment->Bytes) {
        ULONG64 More = Pages - Segment->Pages;
        BOOLEAN Charge = Segment->Io == NULL && !Segment->Reserve;
        if (Charge && !MiChargeCommitment(More, NormalPoolPriority)) {
            Status = STATUS_COMMITMENT_LIMIT;
        } else {
            Status = MiAddPrototypes(Segment, Pages, MiHomeOf(Segment));
            if (NT_SUCCESS(Status)) {
                Segment->Bytes = Bytes;
                Segment->Charged += Charge ? More : 0;
            } else if (Charge) {
                MiReturnCommitment(More);
            }
        }
    }
    MiUnlockSegment(Segment);
    return Status;
}

ULONG64 MmSegmentBytes(PMM_SEGMENT Segment)
{
    return __atomic_load_n(&Segment->Bytes, __ATOMIC_RELAXED);
}
ULONG MmSegmentViews(PMM_SEGMENT Segment)
{
    return __atomic_load_n(&Segment->ViewCount, __ATOMIC_RELAXED);
}
BOOLEAN MmSegmentIsImage(PMM_SEGMENT Segment)
{
    return Segment->Parts != NULL;
}
PVOID MmSegmentContext(PMM_SEGMENT Segment)
{
    return Segment->Context;
}

VOID MmSetSegmentNode(PMM_SEGMENT Segment, ULONG NodePlusOne)
{
    __atomic_store_n(&Segment->NodePlusOne, (UCHAR)NodePlusOne, __ATOMIC_RELAXED);
}

VOID MmCountSegmentWriter(PMM_SEGMENT Segment, LONG Change)
{
    __atomic_add_fetch(&Segment->Writers, Change, __ATOMIC_RELAXED);
}
ULONG MmSegmentWriters(PMM_SEGMENT Segment)
{
    return (ULONG)__atomic_load_n(&Segment->Writers, __ATOMIC_RELAXED);
}

/* ---- pages ---- */
BOOLEAN MmSegmentHasWriteProbes(PMM_SEGMENT Segment)
{
    const ULONG Both = MI_PFN_LOCKED | MI_PFN_MODIFIED;
    ULONG64 Pages = __atomic_load_n(&Segment->Pages, __ATOMIC_ACQUIRE);
    BOOLEAN Some = FALSE;
    for (ULONG64 Page = 0; Page < Pages && !Some; Page++) {
        PMMPTE Prototype = MiPrototypeOf(Segment, Page);
        if (!MiPteIsValid(MiReadPte(Prototype)) && !MiPteIsTransition(MiReadPte(Prototype))) {
            continue;
        }
        KiAcquireLock(&MiState->PfnLock);
        MMPTE Entry = MiReadPte(Prototype);
        Some = (MiPteIsValid(Entry) || MiPteIsTransition(Entry)) && (MiPfn(MiPtePage(Entry))->Flags & Both) == Both;
        KiReleaseLock(&MiState->PfnLock);
    }
    return Some;
}

VOID MmDisableModifiedWrite(PMM_SEGMENT Segment)
{
    ULONG64 Pages = __atomic_load_n(&Segment->Pages, __ATOMIC_ACQUIRE);
    KiAcquireLock(&MiState->PfnLock);
    Segment->NoModifiedWrite = TRUE;
    KiReleaseLock(&MiState->PfnLock);
    for (ULONG64 Page = 0; Page < Pages; Page++) { /* those that wait already */
        KiAcquireLock(&MiState->PfnLock);
        MMPTE Entry = MiReadPte(MiPrototypeOf(Segment, Page));
        if (MiPteIsTransition(Entry) && MiPfn(MiPtePage(Entry))->State == MiPageMapped) {
            MiSetPageState(MiPtePage(Entry), MiPfn(MiPtePage(Entry)), MiPageModifiedNoWrite);
        }
        KiReleaseLock(&MiState->PfnLock);
    }
}

BOOLEAN MiWaitsForFlush(PMMPTE Prototype)
{
    ULONG64 Page;
    return MiSegmentOfPrototype(Prototype, &Page)->NoModifiedWrite;
}

const MI_PART *MiPartOf(PMI_SEGMENT Segment, ULONG64 Page)
{
    for (ULONG Index = 0; Index < Segment->PartCount; Index++) {
        if (Page - Segment->Parts[Index].FirstPage < Segment->Parts[Index].PageCount) {
            return &Segment->Parts[Index];
        }
    }
    return NULL;
}

VOID MiInitializeSections(VOID)
{
    InitializeListHead(&MiState->Segments);
}

/* ---- the validator ---- */
static const CHAR *MiValidatePrototype(PMI_SEGMENT Segment, ULONG64 Page)
{
    PMMPTE Prototype = MiPrototypeOf(Segment, Page);
    MMPTE Entry = MiReadPte(Prototype);
    BOOLEAN Valid = MiPteIsValid(Entry);
    if (!Valid && !MiPteIsTransition(Entry)) {
        return MiPteIsInFile(Entry) && Segment->Io == NULL ? "S3: a page of no file is in a file" : NULL;
    }
    PMMPFN Pfn = MiPfn(MiPtePage(Entry));
    if (Pfn == NULL || Pfn->PteAddress != Prototype || !(Pfn->Flags & MI_PFN_PROTOTYPE) ||
        (Pfn->State == MiPageActive) != Valid) {
        return Valid ? "S1: a valid prototype entry's frame is not active, or names another"
                     : "S2: a prototype entry in transition has an active frame, or another's";
    }
    if ((Pfn->File != 0) != MiIsPageOfFile(Segment, Page)) {
        return "S3: a frame's home is not its page's";
    }
    /* Seen was counted by the walk of the page tables, modulo its size. */
    BOOLEAN Same = !Valid || Pfn->Seen == (UCHAR)Pfn->u2.ShareCount;
    Pfn->Seen = 0;
    return Same ? NULL : "S1: a frame has more or fewer shares than entries show it";
}

const CHAR *MiValidateSegments(VOID)
{
    const CHAR *Broken = NULL;
    KiAcquireLock(&MiState->SegmentLock);
    for (PLIST_ENTRY Link = MiState->Segments.Flink; Link != &MiState->Segments && !Broken; Link = Link->Flink) {
        PMI_SEGMENT Segment = CONTAINING_RECORD(Link, MI_SEGMENT, All);
        ULONG64 Pages = __atomic_load_n(&Segment->Pages, __ATOMIC_ACQUIRE);
        for (ULONG64 Page = 0; Page < Pages && !Broken; Page++) {
            Broken = MiValidatePrototype(Segment, Page);
        }
    }
    KiReleaseLock(&MiState->SegmentLock);
    return Broken;
}
