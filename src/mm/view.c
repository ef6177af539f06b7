/*
 * view.c - views of segments: in address spaces and in system space. SPDX-License-Identifier: MIT
 *
 * A view is a stretch of addresses whose entries are prototype forms of a segment's pages, each with the protection it is to
 * have there:
 *
 *      MMVAD (user) or system PTEs -> MI_VIEW -> MI_SEGMENT;   entries -> prototype entries (section.c)
 *
 * Mapping fills the entries and brings nothing in. Views of an image show its parts with the parts' protections (without
 * execution, if it is only to be looked at), and hardly ever at the preferred base: then mapping answers
 * STATUS_IMAGE_NOT_AT_BASE, and pages with relocations are marked for a copy (relocate.c).
 *
 * A view can take the place of exactly one placeholder (placeholder.c), at any page, of any page of the section; unmapped, it
 * can leave it behind.
 *
 * Unmapping takes the shared entries away, gives their shares back (and with them their Dirty bits, section.c), and frees what
 * was copied on write. A file's changed pages are written when its last view goes.
 *
 * Locks: MI_SPACE.Lock > MI_SEGMENT.Lock (the list of views) > PteLocks. Watch: tests/ddi/section_file.c.
 */
#include "mm/segment.h"

/* ---- entries of views ---- */
static MI_PROT MiPartProtectionIn(PMI_VIEW View, ULONG64 Page)
{
    const MI_PART *Part = MiPartOf(View->Segment, Page);
    MI_PROT Protection = Part ? Part->Protection : MI_PROT_NOACCESS;
    if (!View->NoExecute || !MiProtAllowsExecute(Protection)) {
        return Protection;
    }
    return MiProtIsCopyOnWrite(Protection) ? MI_PROT_WRITECOPY
           : MiProtAllowsWrite(Protection) ? MI_PROT_READWRITE
                                           : MI_PROT_READONLY;
}

/* What the view's entry of a page is before it is touched. */
static MMPTE MiViewEntry(PMI_VIEW View, ULONG64 Page, MI_PROT Protection, BOOLEAN Moved)
{
    PMI_SEGMENT Segment = View->Segment;
    MMPTE Entry = MiPtePrototypeFor(MiPrototypeOf(Segment, Page), Segment->Parts ? MiPartProtectionIn(View, Page) : Protection);
    Entry = Moved && MiIsRelocated(Segment, Page) ? MiPteRelocated(Entry) : Entry;
    return View->NodePlusOne ? MiPteViewOnNode(Entry, View->NodePlusOne) : Entry;
}

static VOID MiFillView(PMI_VIEW View, MI_PROT Protection)
{
    ULONG64 Page = View->FirstPage;
    BOOLEAN Moved =
        View->Segment->Fixups && View->Start - (View->FirstPage << PAGE_SHIFT) != View->Segment->Image.PreferredBase;
    for (ULONG_PTR At = View->Start; At < View->End;) {
        PMMPTE Pte = MiPteOf(At);
        ULONG64 Left = (View->End - At) >> PAGE_SHIFT;
        ULONG Piece = MiEntriesToTableEnd(At) < Left ? MiEntriesToTableEnd(At) : (ULONG)Left;
        MiCountEntries(Pte, (LONG)Piece);
        for (ULONG Index = 0; Index < Piece; Index++, Page++) {
            MiWritePte(Pte + Index, MiViewEntry(View, Page, Protection, Moved));
        }
        At += (ULONG_PTR)Piece << PAGE_SHIFT;
    }
}

VOID MiDropShares(PMMSUPPORT Set, PMMPTE Pte, const MMPTE *Old, ULONG Count)
{
    ULONG64 Commit = 0;
    ULONG Left = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Count; Index++) {
        if (MiPteIsValid(Old[Index])) {
            (VOID) MiDropShareLocked(MiPtePage(Old[Index]), MiPteIsDirty(Old[Index]), &Commit);
            Left++;
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    MiLeaveWorkingSet(Set, Pte, Left);
    if (Commit) {
        MiReturnCommitment(Commit);
    }
}

/* Takes shared and prototype entries away; private ones stay. */
static VOID MiClearView(PMI_VIEW View)
{
    MMPTE Old[512];
    for (ULONG_PTR At = View->Start; At < View->End;) {
        PMMPTE Pte = MiPteOf(At);
        ULONG64 Left = (View->End - At) >> PAGE_SHIFT;
        ULONG Piece = MiEntriesToTableEnd(At) < Left ? MiEntriesToTableEnd(At) : (ULONG)Left, Cleared = 0, Valid = 0;
        PKI_LOCK Lock = MiPteLock(At);
        KiAcquireLock(Lock);
        for (ULONG Index = 0; Index < Piece; Index++) {
            MMPTE Entry = MiReadPte(Pte + Index);
            Old[Index] = MI_ZERO_PTE;
            if (MiPteIsPrototype(Entry) || (MiPteIsValid(Entry) && MiPteIsShared(Entry))) {
                Old[Index] = MiExchangePte(Pte + Index, MI_ZERO_PTE);
                Valid += MiPteIsValid(Old[Index]);
                Cleared++;
            }
        }
        if (Valid) {
            HalFlushTb((PVOID)At, Piece);
            MiDropShares(MiWorkingSetOfVa(At), Pte, Old, Piece);
        }
        KiReleaseLock(Lock);
        MiCountEntries(Pte, -(LONG)Cleared);
        At += (ULONG_PTR)Piece << PAGE_SHIFT;
    }
}

/* ---- the record ---- */
static PMI_VIEW MiNewView(PMI_SEGMENT Segment, ULONG64 FirstPage, BOOLEAN System)
{
    PMI_VIEW View = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*View), MI_TAG_SEGMENT);
    if (View) {
        View->Segment = Segment;
        View->FirstPage = FirstPage;
        View->System = System;
    }
    return View;
}

static VOID MiEnterView(PMI_VIEW View, ULONG_PTR Start, ULONG_PTR End, MI_PROT Protection)
{
    View->Start = Start;
    View->End = End;
    MmReferenceSegment(View->Segment);
    View->Writes = MiProtAllowsWrite(Protection) && !MiProtIsCopyOnWrite(Protection) && View->Segment->Parts == NULL;
    if (View->Writes) {
        MmCountSegmentWriter(View->Segment, 1);
    }
    MiFillView(View, Protection);
    MiLockSegment(View->Segment);
    InsertTailList(&View->Segment->Views, &View->Link);
    View->Segment->ViewCount++;
    MiUnlockSegment(View->Segment);
}

/* The view shows nothing any more; its segment may go. */
static VOID MiLeaveView(PMI_VIEW View)
{
    PMI_SEGMENT Segment = View->Segment;
    if (View->Writes) {
        MmCountSegmentWriter(Segment, -1);
    }
    MiClearView(View);
    MiLockSegment(Segment);
    RemoveEntryList(&View->Link);
    if (--Segment->ViewCount == 0) {
        (VOID) MiFlushSegmentLocked(Segment, 0, ~0ull);
    }
    MiUnlockSegment(Segment);
    MmDereferenceSegment(Segment);
    ExFreePoolWithTag(View, MI_TAG_SEGMENT);
}

/* Which pages [Offset, *Size): whole pages of the segment; *Size 0: to its end. */
static NTSTATUS MiViewPages(PMI_SEGMENT Segment, ULONG64 Offset, SIZE_T *Size, ULONG64 Granularity, ULONG64 *First)
{
    if (Offset & (Granularity - 1)) {
        return STATUS_MAPPED_ALIGNMENT;
    }
    ULONG64 Pages = __atomic_load_n(&Segment->Pages, __ATOMIC_ACQUIRE);
    *First = Offset >> PAGE_SHIFT;
    if (*First >= Pages || *Size > (Pages - *First) << PAGE_SHIFT) {
        return STATUS_INVALID_VIEW_SIZE;
    }
    *Size = *Size ? MI_BYTES_TO_PAGES(*Size) << PAGE_SHIFT : (Pages - *First) << PAGE_SHIFT;
    return STATUS_SUCCESS;
}

/* ---- views in address spaces ---- */
/* Where the view goes; *Result is its range's record, with page tables. The space locked. */
NTSTATUS MiPlaceView(PMI_SPACE Space, ULONG_PTR Start, SIZE_T Size, const MM_VIEW_REQUEST *Request, PMMVAD Like, PMMVAD *Result)
{
    const MM_ADDRESS_LIMITS *Limits = &Request->Limits;
    if (Request->Type & MEM_REPLACE_PLACEHOLDER) {
        PMMVAD Vad = MiFindVad(Space, Start);
        if (Vad == NULL || !Vad->Placeholder || Vad->Start != Start || Vad->End != Start + Size) {
            return STATUS_CONFLICTING_ADDRESSES;
        }
        if (!MiMakePageTables(Start, Size >> PAGE_SHIFT)) {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        Vad->Type = MiVadView;
        Vad->View = Like->View;
        Vad->Protect = Like->Protect;
        Vad->Placeholder = FALSE;
        Vad->FromPlaceholder = TRUE;
        *Result = Vad;
        return STATUS_SUCCESS;
    }
    if (Start == 0) {
        Start = MiFindGap(Space, Size, Limits->Alignment ? Limits->Alignment : MI_GRANULARITY, Limits->Lowest,
                          Limits->Highest ? Limits->Highest + 1 : Space->Hal.High, (Request->Type & MEM_TOP_DOWN) != 0);
        if (Start == 0) {
            return STATUS_NO_MEMORY;
        }
    } else if (Start < Space->Hal.Low + MI_SPACE_EDGE || Start >= Space->Hal.High - MI_SPACE_EDGE ||
               Size > Space->Hal.High - MI_SPACE_EDGE - Start || MiFirstVadIn(Space, Start, Start + Size)) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    Like->Start = Start;
    Like->End = Start + Size;
    *Result = MiInsertVad(Space, Like);
    if (*Result && !MiMakePageTables(Start, Size >> PAGE_SHIFT)) {
        MiRemoveVad(Space, *Result);
        *Result = NULL;
    }
    return *Result ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

NTSTATUS MmMapView(PMM_SEGMENT Segment, PMM_SPACE Space, PVOID *Base, SIZE_T *Size, const MM_VIEW_REQUEST *Request)
{
    ULONG64 First, Granularity = Request->Type & MEM_REPLACE_PLACEHOLDER ? PAGE_SIZE : MI_GRANULARITY;
    MI_PROT Protection = MiMakeProtection(Request->Protect);
    PMMVAD Vad = NULL;
    if (Protection == MI_PROT_INVALID) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    NTSTATUS Status = MiViewPages(Segment, Request->Offset, Size, Granularity, &First);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    if ((ULONG_PTR)*Base & (Granularity - 1)) {
        return STATUS_MAPPED_ALIGNMENT;
    }
    PMI_VIEW View = MiNewView(Segment, First, FALSE);
    if (View == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    View->NoExecute = Request->NoExecute;
    View->NodePlusOne = (UCHAR)Request->Limits.NodePlusOne;
    MMVAD Like = {.Type = MiVadView, .Protect = Request->Protect, .View = View, .Image = Segment->Parts != NULL};
    if (Like.Image) {
        Like.Protect = View->NoExecute ? PAGE_WRITECOPY : PAGE_EXECUTE_WRITECOPY;
    }
    MiLockSpace(Space);
    Status = Space->Dying ? STATUS_PROCESS_IS_TERMINATING : MiPlaceView(Space, (ULONG_PTR)*Base, *Size, Request, &Like, &Vad);
    if (NT_SUCCESS(Status)) {
        MiEnterView(View, Vad->Start, Vad->End, Protection);
        *Base = (PVOID)Vad->Start;
        if (Segment->Parts && Vad->Start - Request->Offset != Segment->Image.PreferredBase) {
            Status = STATUS_IMAGE_NOT_AT_BASE;
        }
    } else {
        ExFreePoolWithTag(View, MI_TAG_SEGMENT);
    }
    MiUnlockSpace(Space);
    return Status;
}

/* Called by MiFreeVadPages: whatever the range shows goes. */
VOID MiFreeView(PMI_SPACE Space, PMMVAD Vad)
{
    PMI_VIEW View = Vad->View;
    ULONG_PTR Start = Vad->Start, End = Vad->End;
    Vad->View = NULL;
    MiLeaveView(View);
    ULONG64 Private = MiCountUsedEntries(Start, End);
    if (Private) {
        MiChargeSpace(Space, 0, -(LONG64)Private);
        MiDecommit(&MiState->Regions[MmRegionUser], Start, (End - Start) >> PAGE_SHIFT);
    }
}

NTSTATUS MmUnmapView(PMM_SPACE Space, PVOID Address, BOOLEAN Preserve)
{
    NTSTATUS Status = STATUS_SUCCESS;
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, (ULONG_PTR)Address);
    if (Vad == NULL || (Vad->Type != MiVadView && !Vad->Physical)) {
        Status = STATUS_NOT_MAPPED_VIEW;
    } else if (!IsListEmpty(&Vad->Secures)) {
        Status = STATUS_INVALID_PAGE_PROTECTION;
    } else if (Preserve && !Vad->FromPlaceholder) {
        Status = STATUS_CONFLICTING_ADDRESSES;
    } else {
        MiFreeVadPages(Space, Vad);
        if (Preserve) {
            MiBecomePlaceholder(Vad);
        } else {
            MiRemoveVad(Space, Vad);
        }
    }
    MiUnlockSpace(Space);
    return Status;
}

NTSTATUS MmFlushVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size)
{
    ULONG_PTR Start = (ULONG_PTR)*Base & ~(ULONG_PTR)(PAGE_SIZE - 1), End;
    PMI_SEGMENT Segment = NULL;
    ULONG64 First = 0;
    NTSTATUS Status = MiCheckRange(*Base, *Size ? *Size : 1, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_3);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Start);
    End = *Size ? ((ULONG_PTR)*Base + *Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1) : Vad ? Vad->End : Start;
    if (Vad == NULL || Vad->Type != MiVadView || End > Vad->End) {
        Status = STATUS_NOT_MAPPED_VIEW;
    } else if (Vad->View->Segment->Io == NULL || Vad->Image) {
        Status = STATUS_NOT_MAPPED_DATA;
    } else {
        Segment = Vad->View->Segment;
        First = Vad->View->FirstPage + ((Start - Vad->Start) >> PAGE_SHIFT);
        MmReferenceSegment(Segment);
    }
    MiUnlockSpace(Space);
    if (Segment) {
        Status = MmFlushSegment(Segment, First << PAGE_SHIFT, End - Start);
        MmDereferenceSegment(Segment);
    }
    if (NT_SUCCESS(Status)) {
        *Base = (PVOID)Start;
        *Size = End - Start;
    }
    return Status;
}

PMM_SEGMENT MmSegmentOfView(PMM_SPACE Space, PVOID Address)
{
    PMI_SEGMENT Segment = NULL;
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, (ULONG_PTR)Address);
    if (Vad && Vad->Type == MiVadView) {
        Segment = Vad->View->Segment;
        MmReferenceSegment(Segment);
    }
    MiUnlockSpace(Space);
    return Segment;
}

/* ---- what the services of virtual.c and protect.c ask ---- */
ULONG MiProtectOfViewEntry(PMMVAD Vad, MMPTE Entry)
{
    UNREFERENCED_PARAMETER(Vad);
    if (MiPteIsPrototype(Entry) && MiPteIsZero(MiReadPte(MiPtePrototypeAddress(Entry)))) {
        return 0; /* reserved */
    }
    return MiMakePageProtection(MiPteProtection(Entry));
}

BOOLEAN MiViewHasFile(PMMVAD Vad)
{
    return Vad->View->Segment->Io != NULL;
}

ULONG MiViewShareCount(PMMVAD Vad)
{
    ULONG Views = Vad->View->Segment->ViewCount;
    return Views > 7 ? 7 : Views;
}

NTSTATUS MiCommitView(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG Protect)
{
    PMI_SEGMENT Segment = Vad->View->Segment;
    ULONG64 First = Vad->View->FirstPage + ((Start - Vad->Start) >> PAGE_SHIFT), Count = (End - Start) >> PAGE_SHIFT,
            Needed = 0;
    UNREFERENCED_PARAMETER(Space);
    UNREFERENCED_PARAMETER(Protect);
    if (!Segment->Reserve) {
        return STATUS_ALREADY_COMMITTED;
    }
    MiLockSegment(Segment);
    for (ULONG64 Page = First; Page < First + Count; Page++) {
        Needed += MiPteIsZero(MiReadPte(MiPrototypeOf(Segment, Page)));
    }
    NTSTATUS Status = MiChargeCommitment(Needed, NormalPoolPriority) ? STATUS_SUCCESS : STATUS_COMMITMENT_LIMIT;
    for (ULONG64 Page = First; Page < First + Count && NT_SUCCESS(Status); Page++) {
        if (MiPteIsZero(MiReadPte(MiPrototypeOf(Segment, Page)))) {
            MiWritePte(MiPrototypeOf(Segment, Page), MiPteDemandZero(MI_PROT_READWRITE)); /* nobody else changes a zero one */
        }
    }
    Segment->Charged += NT_SUCCESS(Status) ? Needed : 0;
    MiUnlockSegment(Segment);
    return Status;
}

/* What a view mapped with one protection may have its pages changed to. */
static BOOLEAN MiMayProtectView(PMMVAD Vad, MI_PROT New)
{
    MI_PROT Mapped = MiMakeProtection(Vad->Protect);
    if (MiProtAllowsWrite(New) && !MiProtIsCopyOnWrite(New) && (!MiProtAllowsWrite(Mapped) || MiProtIsCopyOnWrite(Mapped))) {
        return FALSE;
    }
    return !MiProtAllowsExecute(New) || MiProtAllowsExecute(Mapped);
}

NTSTATUS MiProtectView(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG Protect)
{
    MI_PROT New = MiMakeProtection(Protect);
    UNREFERENCED_PARAMETER(Space);
    for (ULONG_PTR At = Start; At < End; At += PAGE_SIZE) {
        if (MiProtectOfViewEntry(Vad, MiReadPte(MiPteOf(At))) == 0) {
            return STATUS_NOT_COMMITTED;
        }
    }
    if (Vad->View->NoExecute && MiProtAllowsExecute(New)) {
        return STATUS_SECTION_PROTECTION;
    }
    if (Vad->Image && MiProtAllowsWrite(New) && !MiProtIsCopyOnWrite(New)) {
        New += 1; /* a writable page of an image is the process's own copy */
    } else if (!Vad->Image && !MiMayProtectView(Vad, New)) {
        return STATUS_SECTION_PROTECTION;
    }
    for (ULONG_PTR At = Start; At < End; At += PAGE_SIZE) {
        PMMPTE Pte = MiPteOf(At);
        BOOLEAN Private = FALSE;
        KiAcquireLock(MiPteLock(At));
        MMPTE Entry = MiReadPte(Pte);
        if (MiPteIsPrototype(Entry) || (MiPteIsValid(Entry) && MiPteIsShared(Entry))) {
            PMMPTE Prototype = MiPrototypeOf(Vad->View->Segment, Vad->View->FirstPage + ((At - Vad->Start) >> PAGE_SHIFT));
            /* the next touch enters it anew */
            Entry = MiExchangePte(Pte, MiPteIsValid(Entry) ? MiPtePrototypeFor(Prototype, New) : MiPteViewWith(Entry, New));
            if (MiPteIsValid(Entry)) {
                HalFlushTb((PVOID)At, 1);
                MiDropShares(MiWorkingSetOfVa(At), Pte, &Entry, 1);
            }
        } else {
            Private = TRUE;
        }
        KiReleaseLock(MiPteLock(At));
        if (Private) {
            MI_PROT Own = MiProtIsCopyOnWrite(New) ? New - 1 : New;
            (VOID) MmProtectPages((PVOID)At, 1, MiMakePageProtection(Own));
        }
    }
    return STATUS_SUCCESS;
}

/* ---- views in system space ---- */
NTSTATUS MmMapSystemView(PMM_SEGMENT Segment, ULONG64 Offset, SIZE_T *Size, BOOLEAN Write, BOOLEAN Raises, PVOID *Base)
{
    ULONG64 First;
    *Base = NULL;
    if (Segment->Parts) {
        return STATUS_INVALID_FILE_FOR_SECTION;
    }
    NTSTATUS Status = MiViewPages(Segment, Offset, Size, MI_GRANULARITY, &First);
    PMI_VIEW View = NT_SUCCESS(Status) ? MiNewView(Segment, First, TRUE) : NULL;
    if (View == NULL) {
        return NT_SUCCESS(Status) ? STATUS_INSUFFICIENT_RESOURCES : Status;
    }
    SIZE_T Pages = *Size >> PAGE_SHIFT;
    ULONG_PTR Va = MiReserveSystemPtes(Pages, 0);
    MI_MAPPING Record = {.Va = Va, .Pages = Pages, .Mapped = Pages, .Kind = MiMappingView, .StartVa = View, .Raises = Raises};
    if (Va && !MiRecordMapping(&Record)) {
        MiReleaseSystemPtes(Va, Pages);
        Va = 0;
    }
    if (Va == 0) {
        ExFreePoolWithTag(View, MI_TAG_SEGMENT);
        return STATUS_NO_MEMORY;
    }
    MiEnterView(View, Va, Va + *Size, Write ? MI_PROT_READWRITE : MI_PROT_READONLY);
    *Base = (PVOID)Va;
    return STATUS_SUCCESS;
}

NTSTATUS MmUnmapSystemView(PVOID Base)
{
    MI_MAPPING Record;
    if (!MiFindMapping((ULONG_PTR)Base, &Record) || Record.Kind != MiMappingView || !MiForgetMapping((ULONG_PTR)Base)) {
        return STATUS_NOT_MAPPED_VIEW;
    }
    MiLeaveView((PMI_VIEW)Record.StartVa);
    MiReleaseSystemPtes((ULONG_PTR)Base, Record.Pages);
    return STATUS_SUCCESS;
}

static BOOLEAN MiRaises(const MI_MAPPING *Mapping, PVOID Context)
{
    return Mapping->Kind == MiMappingView && Mapping->Raises &&
           *(ULONG_PTR *)Context - Mapping->Va < Mapping->Mapped << PAGE_SHIFT;
}

BOOLEAN MiIsRaisingView(ULONG_PTR Va)
{
    MI_MAPPING Mapping;
    ULONG Cursor = 0, Skip = 0;
    return MiNextMapping(&Cursor, &Skip, MiRaises, &Va, &Mapping);
}

BOOLEAN NTAPI MmSetAddressRangeModified(PVOID Address, SIZE_T Length)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(Address), End = (ULONG_PTR)Address + Length;
    BOOLEAN Some = FALSE;
    for (; Va < End && HalIsSystemAddress(Va); Va += PAGE_SIZE) {
        PMMPTE Pte = MiPteOf(Va);
        if (Pte == NULL) {
            continue;
        }
        KiAcquireLock(MiPteLock(Va));
        MMPTE Entry = MiReadPte(Pte);
        if (MiPteIsValid(Entry) && MiPteIsShared(Entry)) {
            KiAcquireLock(&MiState->PfnLock);
            PMMPFN Pfn = MiPfn(MiPtePage(Entry));
            Some |= !MiPteIsDirty(Entry) && !(Pfn->Flags & MI_PFN_MODIFIED);
            Pfn->Flags |= MI_PFN_MODIFIED;
            KiReleaseLock(&MiState->PfnLock);
        }
        KiReleaseLock(MiPteLock(Va));
    }
    return Some;
}
