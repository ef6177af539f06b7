/*
 * section.c - segments: prototype entries, the pages behind them, copies on write, and what goes back to the file.
 * SPDX-License-Identifier: MIT
 *
 * A segment has a prototype entry for each of its pages, in frames of their own. The entries of every view refer to them, so two views of
 * one page, in whatever processes, show one frame:
 *
 *      view in A:  | prototype form --> |                       segment
 *                  | valid, shared ---- | --- frame 77 <---- | valid (dirty?)  |
 *      view in B:  | valid, shared ---- | ---'               | demand zero     | page file: charged, no frame yet
 *                  | valid, private --- | --- frame 90       | zero            | reserved, or beyond
 *
 *      prototype frame: | segment, first page | entry | entry | ...     so an entry's address tells whose it is
 *
 * A fault on a prototype form brings the page in (zeroes, or from the file) under the segment's lock and enters the frame in the view. The
 * frame belongs to the prototype entry; views' entries are marked shared and own nothing. They need no count of their own: a view
 * refers to its segment, so the frame stays while any view could show it. Copying on write gives the view a frame of its own, which is then
 * an ordinary private page of the process.
 *
 * Changed pages of a file: a view's entry has the Dirty bit (set by the machine), a driver that locks a page marks its frame; a view
 * that goes hands its bits to the prototype entry. Flushing collects the bits of all views, clears them, and writes. What is dirty when
 * the last reference goes is written then.
 *
 * Pages of segments are resident from their first touch until the segment goes; those of files are charged when they are read in.
 *
 * Invariants (MiValidateSegment quotes the numbers):
 *   S1  Resident is the number of prototype entries that have a frame; each such frame names its entry.
 *   S2  A shared entry of a view shows the frame of its page's prototype entry.
 * Locks: MI_SPACE.Lock > MI_SEGMENT.Lock > PteLocks > PfnLock. IRQL <= APC_LEVEL.
 * Watch: tests/ddi/ZwSection.c, tests/ddi/section_file.c.
 */
#include "mm/segment.h"

/* ---- prototype entries ---- */
VOID MiMarkPrototypeDirty(PMMPTE Prototype)
{
    __atomic_fetch_or(&Prototype->Long, MI_PTE_D, __ATOMIC_RELAXED);
}

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
        *(MI_PROTOTYPES_HEADER *)HalWindow(Array[Have]) = (MI_PROTOTYPES_HEADER){Segment, Have * MI_PROTOTYPES};
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
PMI_SEGMENT MiNewSegment(const MM_SEGMENT_IO *Io, PVOID Context)
{
    PMI_SEGMENT Segment = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Segment), MI_TAG_SEGMENT);
    if (Segment) {
        Segment->References = 1;
        Segment->Io = Io;
        Segment->Context = Context;
        InitializeListHead(&Segment->Views);
    }
    return Segment;
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
    NTSTATUS Status = MiAddPrototypes(Segment, Pages, Reserve ? MI_ZERO_PTE : MiPteDemandZero(MI_PROT_READWRITE));
    if (!NT_SUCCESS(Status)) {
        MiDropSegment(Segment);
        return Status;
    }
    Segment->Bytes = Bytes;
    *Result = Segment;
    return STATUS_SUCCESS;
}

VOID MiDropSegment(PMI_SEGMENT Segment)
{
    ULONG64 Freed = 0, Had = 0;
    for (ULONG64 Page = 0; Page < Segment->Pages; Page++) {
        MMPTE Entry = MiReadPte(MiPrototypeOf(Segment, Page));
        if (MiPteIsValid(Entry)) {
            Freed += MiReleaseFrames(MiPtePage(Entry), 1);
            Had++;
        }
    }
    for (ULONG64 Table = 0; Table < Segment->TableCount; Table++) {
        Freed += MiReleaseFrames(Segment->Tables[Table], 1);
    }
    MiReturnCommitment(Freed + (Segment->Io ? 0 : Segment->Charged - Had)); /* what is locked goes back with its lock */
    for (PFN_NUMBER *Array = Segment->Tables, *Before; Array; Array = Before) {
        Before = (PFN_NUMBER *)(ULONG_PTR)Array[-1];
        ExFreePoolWithTag(Array - 1, MI_TAG_SEGMENT);
    }
    if (Segment->Parts) {
        ExFreePoolWithTag(Segment->Parts, MI_TAG_SEGMENT);
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
            Status = MiAddPrototypes(Segment, Pages, Segment->Reserve ? MI_ZERO_PTE : MiPteDemandZero(MI_PROT_READWRITE));
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

/* ---- pages ---- */
const MI_PART *MiPartOf(PMI_SEGMENT Segment, ULONG64 Page)
{
    for (ULONG Index = 0; Index < Segment->PartCount; Index++) {
        if (Page - Segment->Parts[Index].FirstPage < Segment->Parts[Index].PageCount) {
            return &Segment->Parts[Index];
        }
    }
    return NULL;
}

/* Fills a frame of zeroes with what the file has for the page. Segment locked. */
static NTSTATUS MiReadPage(PMI_SEGMENT Segment, ULONG64 Page, PFN_NUMBER Frame)
{
    ULONG64 Offset = Page << PAGE_SHIFT, Left = Segment->Bytes > Offset ? Segment->Bytes - Offset : 0;
    ULONG Done;
    if (Segment->Parts) {
        const MI_PART *Part = MiPartOf(Segment, Page);
        ULONG64 Into = Part ? (Page - Part->FirstPage) << PAGE_SHIFT : 0;
        Left = Part && Part->FileBytes > Into ? Part->FileBytes - Into : 0;
        Offset = Part ? Part->FileOffset + Into : 0;
    }
    if (Left == 0) {
        return STATUS_SUCCESS;
    }
    MiCount(&MiState->HardFaults);
    ULONG Want = Left < PAGE_SIZE ? (ULONG)Left : PAGE_SIZE;
    NTSTATUS Status = Segment->Io->Read(Segment->Context, Offset, HalWindow(Frame), Want, &Done);
    return Status == STATUS_END_OF_FILE ? STATUS_SUCCESS : Status;
}

/* The frame of a page, brought in if need be. STATUS_ACCESS_VIOLATION: the page is reserved only. */
static NTSTATUS MiBringIn(PMI_SEGMENT Segment, ULONG64 Page, PFN_NUMBER *Frame)
{
    PMMPTE Prototype = MiPrototypeOf(Segment, Page);
    MMPTE Entry = MiReadPte(Prototype);
    NTSTATUS Status;
    BOOLEAN Dirty;
    for (;;) {
        if (MiPteIsValid(Entry)) {
            *Frame = MiPtePage(Entry);
            return STATUS_SUCCESS;
        }
        MiLockSegment(Segment);
        Entry = MiReadPte(Prototype);
        if (MiPteIsZero(Entry)) {
            Status = STATUS_ACCESS_VIOLATION;
            break;
        }
        if (MiPteIsValid(Entry)) {
            MiUnlockSegment(Segment);
            continue;
        }
        if (Segment->Io && !MiChargeCommitment(1, HighPoolPriority)) {
            Status = STATUS_NO_MEMORY;
            break;
        }
        if (MiTakeFrames(1, MI_TAKE_ZEROED, Prototype, Frame, &Dirty) == 0) {
            if (Segment->Io) {
                MiReturnCommitment(1);
            }
            MiUnlockSegment(Segment);
            if (!MiWaitForPages()) {
                return STATUS_NO_MEMORY;
            }
            continue;
        }
        if (Dirty) {
            HalZeroPages(*Frame, 1);
        }
        Status = Segment->Io ? MiReadPage(Segment, Page, *Frame) : STATUS_SUCCESS;
        if (NT_SUCCESS(Status)) {
            Segment->Resident++;
            MiWritePte(Prototype, MiPteValidClean(*Frame, MI_PROT_READWRITE, FALSE));
            Status = STATUS_SUCCESS;
        } else {
            MiReturnCommitment(MiReleaseFrames(*Frame, 1));
            Status = STATUS_IN_PAGE_ERROR;
        }
        break;
    }
    MiUnlockSegment(Segment);
    return Status;
}

/* ---- faults ---- */
/* The segment of a prototype form, referenced while the view is known to be there; FALSE: it is no prototype form any more. */
static BOOLEAN MiEnterSegment(ULONG_PTR Va, PMMPTE Pte, MMPTE *Entry, PMI_SEGMENT *Segment, ULONG64 *Page)
{
    KiAcquireLock(MiPteLock(Va));
    *Entry = MiReadPte(Pte);
    BOOLEAN Is = MiPteIsPrototype(*Entry);
    if (Is) {
        *Segment = MiSegmentOfPrototype(MiPtePrototypeAddress(*Entry), Page);
        MmReferenceSegment(*Segment);
    }
    KiReleaseLock(MiPteLock(Va));
    return Is;
}

static NTSTATUS MiPrototypeFault(ULONG_PTR Va, BOOLEAN Write, BOOLEAN AnyProtection, PFN_NUMBER *Frame)
{
    PMMPTE Pte = MiPteOf(Va);
    PMI_SEGMENT Segment;
    MMPTE Entry;
    ULONG64 Page;
    PFN_NUMBER Found = 0;
    NTSTATUS Status;
    if (!MiEnterSegment(Va, Pte, &Entry, &Segment, &Page)) {
        return MiMakePresent(Va, Write, AnyProtection, Frame);
    }
    MI_PROT Protection = MiPteProtection(Entry);
    BOOLEAN Enters = MiProtAllowsAccess(Protection) && !MiProtIsGuard(Protection);
    BOOLEAN Copies = Write && MiProtIsCopyOnWrite(Protection);
    if (AnyProtection ? Copies && !Enters : !Enters || (Write && !MiProtAllowsWrite(Protection))) {
        Status = !AnyProtection && MiProtIsGuard(Protection) ? STATUS_GUARD_PAGE_VIOLATION : STATUS_ACCESS_VIOLATION;
    } else {
        Status = MiBringIn(Segment, Page, &Found);
    }
    if (NT_SUCCESS(Status)) {
        PKI_LOCK Lock = MiPteLock(Va);
        KiAcquireLock(Lock);
        BOOLEAN Same = MiReadPte(Pte).Long == Entry.Long;
        if (Same && Enters) {
            BOOLEAN User = HalIsUserAddress(Va);
            MiWritePte(Pte, MiPteShared(Write && !Copies ? MiPteValid(Found, Protection, User)
                                                         : MiPteValidClean(Found, Protection, User)));
        }
        if (Same && Frame && !Copies) {
            KiAcquireLock(&MiState->PfnLock);
            Status = MiReferenceFrameLocked(Found) ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
            KiReleaseLock(&MiState->PfnLock);
            *Frame = Found;
            if (Write) {
                MiMarkPrototypeDirty(MiPtePrototypeAddress(Entry));
            }
        }
        KiReleaseLock(Lock);
        if (!Same || Copies) {
            MmDereferenceSegment(Segment);
            return MiMakePresent(Va, Write, AnyProtection, Frame);
        }
        MiCount(&MiState->SoftFaults);
    }
    MmDereferenceSegment(Segment);
    return Status;
}

/* The view gets a frame of its own, with a copy of what it showed. */
static NTSTATUS MiCopyOnWrite(ULONG_PTR Va)
{
    PMMPTE Pte = MiPteOf(Va);
    PMI_SPACE Space = MiSpaceOfVa(Va);
    PFN_NUMBER Frame;
    BOOLEAN Dirty;
    if (!MiChargeCommitment(1, HighPoolPriority)) {
        return STATUS_COMMITMENT_LIMIT;
    }
    for (;;) {
        PKI_LOCK Lock = MiPteLock(Va);
        KiAcquireLock(Lock);
        MMPTE Entry = MiReadPte(Pte);
        if (!MiPteIsValid(Entry) || !MiPteIsCopyOnWrite(Entry)) {
            KiReleaseLock(Lock);
            MiReturnCommitment(1);
            return STATUS_SUCCESS; /* another thread was faster */
        }
        if (MiTakeFrames(1, MI_TAKE_PAGEABLE, Pte, &Frame, &Dirty) == 0) {
            KiReleaseLock(Lock);
            if (!MiWaitForPages()) {
                MiReturnCommitment(1);
                return STATUS_NO_MEMORY;
            }
            continue;
        }
        memcpy(HalWindow(Frame), HalWindow(MiPtePage(Entry)), PAGE_SIZE);
        MI_PROT Protection = MiPteIsNoExecute(Entry) ? MI_PROT_READWRITE : MI_PROT_EXECUTE_READWRITE;
        MiWritePte(Pte, MiPteInWorkingSet(MiPteValid(Frame, Protection, TRUE)));
        HalFlushTb(PAGE_ALIGN(Va), 1);
        MiJoinWorkingSet(MiWorkingSetOfVa(Va), Pte);
        KiReleaseLock(Lock);
        break;
    }
    MiCount(&MiState->CopyOnWriteFaults);
    MiChargeRegion(&MiState->Regions[MmRegionUser], 1);
    MiChargeSpace(Space, 0, 1);
    return STATUS_SUCCESS;
}

VOID MiInitializeSections(VOID)
{
    MiPrototypeFaultRoutine = MiPrototypeFault;
    MiCopyOnWriteRoutine = MiCopyOnWrite;
}

/* ---- back to the file ---- */
/* Takes the Dirty bits of a page from every view's entry. Segment locked, so the views stay. */
static BOOLEAN MiCollectDirty(PMI_SEGMENT Segment, ULONG64 Page, PFN_NUMBER Frame)
{
    BOOLEAN Dirty = FALSE;
    for (PLIST_ENTRY Link = Segment->Views.Flink; Link != &Segment->Views; Link = Link->Flink) {
        PMI_VIEW View = CONTAINING_RECORD(Link, MI_VIEW, Link);
        ULONG_PTR Va = View->Start + ((Page - View->FirstPage) << PAGE_SHIFT);
        if (Page < View->FirstPage || Va >= View->End) {
            continue;
        }
        PMMPTE Pte = MiPteOf(Va);
        KiAcquireLock(MiPteLock(Va));
        MMPTE Entry = MiReadPte(Pte);
        while (MiPteIsValid(Entry) && MiPteIsShared(Entry) && MiPtePage(Entry) == Frame && MiPteIsDirty(Entry)) {
            if (MiCompareExchangePte(Pte, &Entry, (MMPTE){Entry.Long & ~MI_PTE_D})) {
                HalFlushTb((PVOID)Va, 1);
                Dirty = TRUE;
                break;
            }
        }
        KiReleaseLock(MiPteLock(Va));
    }
    KiAcquireLock(&MiState->PfnLock);
    PMMPFN Pfn = MiPfn(Frame);
    Dirty |= (Pfn->Flags & MI_PFN_MODIFIED) != 0; /* somebody locked it to write to it */
    Pfn->Flags &= (USHORT)~MI_PFN_MODIFIED;
    KiReleaseLock(&MiState->PfnLock);
    return Dirty;
}

NTSTATUS MiFlushSegmentLocked(PMI_SEGMENT Segment, ULONG64 First, ULONG64 Count)
{
    NTSTATUS Status = STATUS_SUCCESS;
    if (Segment->Io == NULL || Segment->Parts) {
        return STATUS_SUCCESS;
    }
    for (ULONG64 Page = First; Page < Segment->Pages && Page - First < Count; Page++) {
        PMMPTE Prototype = MiPrototypeOf(Segment, Page);
        MMPTE Entry = MiReadPte(Prototype);
        ULONG64 Offset = Page << PAGE_SHIFT;
        if (!MiPteIsValid(Entry)) {
            continue;
        }
        BOOLEAN Dirty = MiCollectDirty(Segment, Page, MiPtePage(Entry));
        Dirty |= (__atomic_fetch_and(&Prototype->Long, ~MI_PTE_D, __ATOMIC_ACQ_REL) & MI_PTE_D) != 0;
        if (!Dirty || Offset >= Segment->Bytes) {
            continue;
        }
        ULONG64 Left = Segment->Bytes - Offset;
        NTSTATUS This = Segment->Io->Write(Segment->Context, Offset, HalWindow(MiPtePage(Entry)),
                                           Left < PAGE_SIZE ? (ULONG)Left : PAGE_SIZE);
        if (!NT_SUCCESS(This)) {
            MiMarkPrototypeDirty(Prototype);
            Status = This;
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

const CHAR *MiValidateSegment(PMM_SEGMENT Segment)
{
    ULONG64 Resident = 0;
    for (ULONG64 Page = 0; Page < Segment->Pages; Page++) {
        PMMPTE Prototype = MiPrototypeOf(Segment, Page);
        MMPTE Entry = MiReadPte(Prototype);
        if (MiPteIsValid(Entry)) {
            Resident++;
            if (MiPfn(MiPtePage(Entry))->PteAddress != Prototype) {
                return "S1: a frame of a segment names another entry";
            }
        }
    }
    for (PLIST_ENTRY Link = Segment->Views.Flink; Link != &Segment->Views; Link = Link->Flink) {
        PMI_VIEW View = CONTAINING_RECORD(Link, MI_VIEW, Link);
        for (ULONG_PTR Va = View->Start; Va < View->End; Va += PAGE_SIZE) {
            MMPTE Entry = MiReadPte(MiPteOf(Va));
            ULONG64 Page = View->FirstPage + ((Va - View->Start) >> PAGE_SHIFT);
            if (MiPteIsValid(Entry) && MiPteIsShared(Entry) &&
                MiPtePage(Entry) != MiPtePage(MiReadPte(MiPrototypeOf(Segment, Page)))) {
                return "S2: a view shows another frame than its segment has";
            }
        }
    }
    return Resident == Segment->Resident ? NULL : "S1: Resident does not count the pages that have a frame";
}
