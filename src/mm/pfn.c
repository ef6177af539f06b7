/*
 * pfn.c - the frame database: who uses each page of RAM, and which pages are to be had.
 * SPDX-License-Identifier: MIT
 *
 * RAM comes in runs. Each run begins with the core's own tables (the run's MMPFN array, and in the largest
 * run the region bitmaps); the managed rest has one MMPFN a frame. RAM is zero when the machine starts and an
 * all-zero MMPFN means "free and zero", so starting costs nothing per frame: RAM nobody has touched is kept
 * as extents, and a frame's MMPFN is first written when the frame is first taken.
 *
 *      run     | MMPFN array | taken ... lists ... | extent: never touched ............ |
 *              BasePage      FirstPage             Extents[i].Base
 *
 * States and the functions that move a frame:
 *
 *      extent / Zeroed / Free --MiTakeFrames, MiTakeContiguous--> Active --MiReleaseFrames--> Free
 *                                                                    |  released while locked      ^
 *                                                                    `------> Transition --last----'
 *      Standby, Modified, ModifiedNoWrite: frames whose entry remembers them. Bad: taken out of use.
 *
 * Counts: an active frame has one share per entry that owns it, one reference for having shares at all, and
 * one reference for each lock (MDLs, copies). A frame is free when its last reference goes.
 *
 * Choice: one frame comes from the head of a list (what was freed last is warm); many come as a run, from
 * neighbours on a list if the few runs at its head are long enough, else from an extent: runs of frames make
 * runs of mappings in the TB. Releasing puts a run back so that the list's head walks it upwards again. The
 * choice depends on nothing but the calls made, or on ScatterSeed where a test sets it.
 *
 * Invariants (MiValidateFrames quotes the numbers):
 *   P1  Lists[s].Total frames are on list s, doubly linked, each LISTED and in state s.
 *   P2  A listed frame has no references and no owner.
 *   P3  StateCount[] adds up to the frames managed.
 *   P4  Extents are inside one run each, do not overlap, and their MMPFNs are all zero.
 *   P5  Active: ShareCount >= 1 and ReferenceCount >= 1. Transition: ShareCount = 0 and ReferenceCount >= 1.
 *   P6  The zeroed state counts the zeroed list and the extents.
 *
 * Locks: PfnLock (4th and last) around everything here. Any IRQL.
 */
#include "mm/mi.h"

static MI_STATE MiTheState;
PMI_STATE MiState = &MiTheState;

#define MI_LIST_HOPS 4 /* runs looked at on a list before an extent is preferred */

NTSTATUS MiInitializeFrames(const HAL_RUN *Runs, ULONG RunCount, ULONG64 CarvePages, PVOID *Carved)
{
    ULONG Largest = MI_MAX_RUNS;
    if (RunCount > MI_MAX_RUNS) {
        return STATUS_INVALID_PARAMETER;
    }
    for (ULONG Index = 0; Index < RunCount; Index++) {
        MiState->Runs[Index].BasePage = Runs[Index].BasePage;
        MiState->Runs[Index].PageCount = Runs[Index].PageCount;
        MiState->Runs[Index].Device = Runs[Index].Device;
        if (!Runs[Index].Device && (Largest == MI_MAX_RUNS || Runs[Index].PageCount > MiState->Runs[Largest].PageCount)) {
            Largest = Index;
        }
    }
    MiState->RunCount = RunCount;
    if (Largest == MI_MAX_RUNS) {
        return STATUS_NO_MEMORY;
    }
    for (ULONG State = 0; State <= MiPageBad; State++) {
        MiState->Lists[State].Head = MiState->Lists[State].Tail = MI_NO_PAGE;
    }
    for (ULONG Index = 0; Index < RunCount; Index++) {
        MI_RUN *Run = &MiState->Runs[Index];
        if (Run->Device || Run->PageCount == 0) {
            continue;
        }
        if (Run->BasePage + Run->PageCount - 1 >= MI_NO_PAGE) {
            return STATUS_INVALID_PARAMETER;
        }
        ULONG64 Core = Index == Largest ? CarvePages : 0;
        if (Core >= Run->PageCount) {
            return STATUS_NO_MEMORY;
        }
        ULONG64 Left = Run->PageCount - Core;
        ULONG64 Table = (Left * sizeof(MMPFN) + PAGE_SIZE + sizeof(MMPFN) - 1) / (PAGE_SIZE + sizeof(MMPFN));
        if (Index == Largest) {
            *Carved = HalWindow(Run->BasePage);
        }
        Run->Pfn = (PMMPFN)HalWindow(Run->BasePage + Core);
        Run->FirstPage = Run->BasePage + Core + Table;
        Run->Managed = Left - Table;
        MiState->TotalPages += Run->PageCount;
        MiState->CorePages += Core + Table;
        MiState->StateCount[MiPageZeroed] += Run->Managed;
        MiState->HighestPage = Run->BasePage + Run->PageCount - 1 > MiState->HighestPage ? Run->BasePage + Run->PageCount - 1
                                                                                         : MiState->HighestPage;
        if (Run->Managed) {
            MiState->Extents[MiState->ExtentCount++] = (MI_EXTENT){Run->FirstPage, Run->Managed};
        }
    }
    return STATUS_SUCCESS;
}

static VOID MiUnlinkPage(PMMPFN Pfn)
{
    MI_PAGE_LIST *List = &MiState->Lists[Pfn->State];
    if (Pfn->u1.Flink == MI_NO_PAGE) {
        List->Tail = Pfn->u2.Blink;
    } else {
        MiPfn(Pfn->u1.Flink)->u2.Blink = Pfn->u2.Blink;
    }
    if (Pfn->u2.Blink == MI_NO_PAGE) {
        List->Head = Pfn->u1.Flink;
    } else {
        MiPfn(Pfn->u2.Blink)->u1.Flink = Pfn->u1.Flink;
    }
    List->Total--;
    Pfn->Flags &= (UCHAR)~MI_PFN_LISTED;
    Pfn->u1.Flink = 0;
    Pfn->u2.Blink = 0;
}

static VOID MiLinkPage(PFN_NUMBER Page, PMMPFN Pfn)
{
    MI_PAGE_LIST *List = &MiState->Lists[Pfn->State];
    Pfn->u1.Flink = List->Head;
    Pfn->u2.Blink = MI_NO_PAGE;
    if (List->Head == MI_NO_PAGE) {
        List->Tail = (ULONG)Page;
    } else {
        MiPfn(List->Head)->u2.Blink = (ULONG)Page;
    }
    List->Head = (ULONG)Page;
    List->Total++;
    Pfn->Flags |= MI_PFN_LISTED;
}

/* The one place where a frame changes state: list membership and counters follow. */
VOID MiSetPageState(PFN_NUMBER Page, PMMPFN Pfn, MI_PAGE_STATE State)
{
    if (Pfn->Flags & MI_PFN_LISTED) {
        MiUnlinkPage(Pfn);
    }
    MiState->StateCount[Pfn->State]--;
    MiState->StateCount[State]++;
    Pfn->State = (UCHAR)State;
    if (State <= MiPageBad) {
        MiLinkPage(Page, Pfn);
    }
}

static VOID MiGiveFrame(PFN_NUMBER Page, ULONG Flags, PMMPTE Pte, PFN_NUMBER PteFrame)
{
    PMMPFN Pfn = MiPfn(Page);
    MiSetPageState(Page, Pfn, MiPageActive);
    Pfn->u1.UsedEntries = 0;
    Pfn->u2.ShareCount = 1;
    Pfn->PteAddress = Pte;
    Pfn->OriginalPte = MI_ZERO_PTE;
    Pfn->ReferenceCount = 1;
    Pfn->Flags = (UCHAR)((Flags & MI_TAKE_TABLE ? MI_PFN_TABLE : 0) | (Pte ? 0 : MI_PFN_UNMAPPED));
    Pfn->PteFrame = (ULONG)PteFrame;
}

/* Cuts [Base, Base + Count) out of an extent. When the table of extents is full the shorter remainder is
 * listed. */
static VOID MiCutExtent(ULONG Index, PFN_NUMBER Base, PFN_NUMBER Count)
{
    MI_EXTENT *Extent = &MiState->Extents[Index];
    MI_EXTENT Low = {Extent->Base, Base - Extent->Base};
    MI_EXTENT High = {Base + Count, Extent->Base + Extent->Count - (Base + Count)};
    if (Low.Count == 0 && High.Count == 0) {
        MiState->ExtentCount--;
        for (ULONG Next = Index; Next < MiState->ExtentCount; Next++) {
            MiState->Extents[Next] = MiState->Extents[Next + 1];
        }
        return;
    }
    if (Low.Count == 0 || High.Count == 0) {
        *Extent = Low.Count ? Low : High;
        return;
    }
    if (MiState->ExtentCount < MI_MAX_EXTENTS) {
        for (ULONG Next = MiState->ExtentCount; Next > Index + 1; Next--) {
            MiState->Extents[Next] = MiState->Extents[Next - 1];
        }
        MiState->ExtentCount++;
        *Extent = Low;
        MiState->Extents[Index + 1] = High;
        return;
    }
    MI_EXTENT Shorter = Low.Count < High.Count ? Low : High;
    *Extent = Low.Count < High.Count ? High : Low;
    for (PFN_NUMBER Page = Shorter.Base + Shorter.Count; Page-- > Shorter.Base;) {
        MiLinkPage(Page, MiPfn(Page)); /* already in state zeroed and counted */
    }
}

static ULONG64 MiNextRandom(VOID)
{
    ULONG64 X = MiState->ScatterSeed;
    X ^= X << 13;
    X ^= X >> 7;
    X ^= X << 17;
    return MiState->ScatterSeed = X;
}

/* The longest run of neighbours, up to Want, among the first few runs of a list. */
static ULONG MiRunOnList(MI_PAGE_STATE State, ULONG Want, PFN_NUMBER *Base)
{
    ULONG Best = 0;
    PFN_NUMBER Page = MiState->Lists[State].Head;
    for (ULONG Hop = 0; Hop < MI_LIST_HOPS && Page != MI_NO_PAGE; Hop++) {
        PMMPFN Pfn = MiPfn(Page);
        ULONG Length = 1;
        while (Length < Want) {
            PMMPFN Next = MiPfn(Page + Length);
            if (Next == NULL || Next->State != State || !(Next->Flags & MI_PFN_LISTED)) {
                break;
            }
            Pfn = Next;
            Length++;
        }
        if (Length > Best) {
            Best = Length;
            *Base = Page;
        }
        if (Best == Want) {
            break;
        }
        Page = Pfn->u1.Flink;
    }
    return Best;
}

/* Chooses; the frames are still on their list, or cut out of their extent. */
static ULONG MiChooseFrames(ULONG Want, ULONG Flags, PFN_NUMBER *Base, BOOLEAN *Dirty)
{
    MI_PAGE_STATE First = Flags & MI_TAKE_ZEROED ? MiPageZeroed : MiPageFree;
    MI_PAGE_STATE Second = Flags & MI_TAKE_ZEROED ? MiPageFree : MiPageZeroed;
    PFN_NUMBER Page = 0;
    if (MiState->ScatterSeed && MiState->ExtentCount) {
        ULONG Index = (ULONG)(MiNextRandom() % MiState->ExtentCount);
        *Base = MiState->Extents[Index].Base + MiNextRandom() % MiState->Extents[Index].Count;
        *Dirty = FALSE;
        MiCutExtent(Index, *Base, 1);
        return 1;
    }
    ULONG Best = MiRunOnList(First, Want, &Page);
    MI_PAGE_STATE From = First;
    if (Best < Want && (!(Flags & MI_TAKE_ZEROED) || MiState->ExtentCount == 0)) {
        PFN_NUMBER Other = 0;
        ULONG Length = MiRunOnList(Second, Want, &Other);
        if (Length > Best) {
            Best = Length;
            Page = Other;
            From = Second;
        }
    }
    if (Best < Want) {
        ULONG Widest = MI_MAX_EXTENTS;
        for (ULONG Index = 0; Index < MiState->ExtentCount; Index++) {
            if (MiState->Extents[Index].Count >= Want) {
                Widest = Index;
                break;
            }
            if (Widest == MI_MAX_EXTENTS || MiState->Extents[Index].Count > MiState->Extents[Widest].Count) {
                Widest = Index;
            }
        }
        if (Widest != MI_MAX_EXTENTS && MiState->Extents[Widest].Count > Best) {
            Best = (ULONG)(MiState->Extents[Widest].Count < Want ? MiState->Extents[Widest].Count : Want);
            *Base = MiState->Extents[Widest].Base;
            *Dirty = FALSE;
            MiCutExtent(Widest, *Base, Best);
            return Best;
        }
    }
    *Base = Page;
    *Dirty = From != MiPageZeroed;
    return Best;
}

ULONG MiTakeFrames(ULONG Want, ULONG Flags, PMMPTE Pte, PFN_NUMBER PteFrame, PFN_NUMBER *Base, BOOLEAN *Dirty)
{
    KiAcquireLock(&MiState->PfnLock);
    ULONG Count = MiChooseFrames(Want, Flags, Base, Dirty);
    for (ULONG Index = 0; Index < Count; Index++) {
        MiGiveFrame(*Base + Index, Flags, Pte ? Pte + Index : NULL, PteFrame);
    }
    KiReleaseLock(&MiState->PfnLock);
    return Count;
}

/* The lowest start at or above Low where Count frames fit below the next multiple of Boundary. */
static PFN_NUMBER MiFitBoundary(PFN_NUMBER Low, PFN_NUMBER Count, PFN_NUMBER Boundary)
{
    if (Boundary && Low / Boundary != (Low + Count - 1) / Boundary) {
        return (Low / Boundary + 1) * Boundary;
    }
    return Low;
}

BOOLEAN MiTakeContiguous(PFN_NUMBER Count, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Boundary, PFN_NUMBER *Base,
                         BOOLEAN *Dirty)
{
    if (Count == 0 || (Boundary && Count > Boundary) || High < Low) {
        return FALSE;
    }
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < MiState->ExtentCount; Index++) {
        MI_EXTENT Extent = MiState->Extents[Index];
        PFN_NUMBER Start = MiFitBoundary(Extent.Base < Low ? Low : Extent.Base, Count, Boundary);
        PFN_NUMBER Last = Extent.Base + Extent.Count - 1;
        if (Start > Last || Last - Start < Count - 1 || Start + Count - 1 > High) {
            continue;
        }
        MiCutExtent(Index, Start, Count);
        *Base = Start;
        *Dirty = FALSE;
        goto Found;
    }
    /* No untouched run: look for neighbours on the lists, extents included, run by run. */
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        PFN_NUMBER Start = MiFitBoundary(Run->FirstPage < Low ? Low : Run->FirstPage, Count, Boundary);
        PFN_NUMBER End = Run->FirstPage + Run->Managed;
        while (Run->Managed && Start < End && End - Start >= Count && Start + Count - 1 <= High) {
            PFN_NUMBER Length = 0;
            while (Length < Count && (Run->Pfn[Start + Length - Run->FirstPage].Flags & MI_PFN_LISTED) &&
                   Run->Pfn[Start + Length - Run->FirstPage].State <= MiPageFree) {
                Length++;
            }
            if (Length == Count) {
                *Base = Start;
                *Dirty = TRUE;
                goto Found;
            }
            Start = MiFitBoundary(Start + Length + 1, Count, Boundary);
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    return FALSE;
Found:
    for (PFN_NUMBER Index = 0; Index < Count; Index++) {
        MiGiveFrame(*Base + Index, 0, NULL, 0);
    }
    KiReleaseLock(&MiState->PfnLock);
    return TRUE;
}

ULONG MiTakeInRange(ULONG Want, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER *Cursor, PPFN_NUMBER Frames, ULONG64 *Dirty)
{
    ULONG Got = 0, Looked = 0;
    *Dirty = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < MiState->ExtentCount && Got < Want;) {
        MI_EXTENT Extent = MiState->Extents[Index];
        PFN_NUMBER First = Extent.Base < Low ? Low : Extent.Base, Last = Extent.Base + Extent.Count - 1;
        Last = Last < High ? Last : High;
        if (First > Last) {
            Index++;
            continue;
        }
        PFN_NUMBER Some = Last - First + 1 < Want - Got ? Last - First + 1 : Want - Got;
        MiCutExtent(Index, First, Some);
        for (PFN_NUMBER Page = First; Page < First + Some; Page++) {
            MiGiveFrame(Page, 0, NULL, 0);
            Frames[Got++] = Page;
        }
    }
    *Cursor = *Cursor < Low ? Low : *Cursor;
    for (ULONG Index = 0; Index < MiState->RunCount && Got < Want && Looked < 4096; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        PFN_NUMBER End = Run->FirstPage + Run->Managed;
        if (Run->Managed == 0 || *Cursor >= End) {
            continue;
        }
        *Cursor = *Cursor < Run->FirstPage ? Run->FirstPage : *Cursor;
        for (; *Cursor < End && *Cursor <= High && Got < Want && Looked < 4096; ++*Cursor, Looked++) {
            PMMPFN Pfn = &Run->Pfn[*Cursor - Run->FirstPage];
            if ((Pfn->Flags & MI_PFN_LISTED) && Pfn->State <= MiPageFree) {
                *Dirty |= Pfn->State == MiPageFree ? 1ull << Got : 0;
                MiGiveFrame(*Cursor, 0, NULL, 0);
                Frames[Got++] = *Cursor;
            }
        }
    }
    if (Looked < 4096 && Got < Want) {
        *Cursor = High + 1; /* seen all */
    }
    KiReleaseLock(&MiState->PfnLock);
    return Got;
}

static VOID MiFreeFrameLocked(PFN_NUMBER Page, PMMPFN Pfn)
{
    Pfn->PteAddress = NULL;
    Pfn->OriginalPte = MI_ZERO_PTE;
    Pfn->PteFrame = 0;
    Pfn->Flags = 0;
    MiSetPageState(Page, Pfn, MiPageFree);
}

/* The deep preset walks the whole database after one change in 64; PfnLock is not held. */
static VOID MiCheckDeep(VOID)
{
#if NTMM_DEEP
    static ULONG Changes;
    if (__atomic_add_fetch(&Changes, 1, __ATOMIC_RELAXED) % 64 == 0) {
        MiAssertDeep(MiValidateFrames());
    }
#endif
}

ULONG64 MiReleaseFrames(PFN_NUMBER Base, PFN_NUMBER Count)
{
    ULONG64 Freed = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (PFN_NUMBER Page = Base + Count; Page-- > Base;) {
        PMMPFN Pfn = MiPfn(Page);
        if (--Pfn->u2.ShareCount != 0) {
            continue;
        }
        if (--Pfn->ReferenceCount == 0) {
            MiFreeFrameLocked(Page, Pfn);
            Freed++;
        } else {
            Pfn->PteAddress = NULL;
            Pfn->Flags |= MI_PFN_COMMIT;
            MiSetPageState(Page, Pfn, MiPageTransition);
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    MiCheckDeep();
    return Freed;
}

BOOLEAN MiReferenceFrameLocked(PFN_NUMBER Page)
{
    PMMPFN Pfn = MiPfn(Page);
    if (Pfn == NULL || Pfn->ReferenceCount == 0 || Pfn->ReferenceCount == MAXUSHORT) {
        return FALSE;
    }
    Pfn->ReferenceCount++;
    return TRUE;
}

BOOLEAN MiDereferenceFrameLocked(PFN_NUMBER Page, ULONG64 *Commit)
{
    PMMPFN Pfn = MiPfn(Page);
    if (Pfn == NULL || Pfn->State < MiPageActive || Pfn->ReferenceCount <= (Pfn->State == MiPageActive ? 1 : 0)) {
        return FALSE;
    }
    if (--Pfn->ReferenceCount == 0) {
        *Commit += Pfn->Flags & MI_PFN_COMMIT ? 1 : 0;
        MiFreeFrameLocked(Page, Pfn);
    }
    return TRUE;
}

static BOOLEAN MiPfnIsZero(const MMPFN *Pfn)
{
    const ULONG64 *Words = (const ULONG64 *)Pfn;
    return (Words[0] | Words[1] | Words[2] | Words[3]) == 0;
}

const CHAR *MiValidateFrames(VOID)
{
    const CHAR *Broken = NULL;
    ULONG64 Counts[MiPageStates] = {0}, Extents = 0, Managed = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG State = 0; State <= MiPageBad && !Broken; State++) {
        ULONG64 Length = 0;
        ULONG Before = MI_NO_PAGE;
        for (ULONG Page = MiState->Lists[State].Head; Page != MI_NO_PAGE; Length++) {
            PMMPFN Pfn = MiPfn(Page);
            if (Pfn == NULL || Length >= MiState->Lists[State].Total || Pfn->u2.Blink != Before || Pfn->State != State ||
                !(Pfn->Flags & MI_PFN_LISTED)) {
                Broken = "P1: a page list is not what its links and its total say";
                break;
            }
            if (Pfn->ReferenceCount || (State <= MiPageFree && Pfn->PteAddress)) {
                Broken = "P2: a listed frame has references or an owner";
                break;
            }
            Before = Page;
            Page = Pfn->u1.Flink;
        }
        if (!Broken && (Length != MiState->Lists[State].Total || MiState->Lists[State].Tail != Before)) {
            Broken = "P1: a page list is shorter than its total, or its tail is wrong";
        }
    }
    for (ULONG Index = 0; Index < MiState->ExtentCount && !Broken; Index++) {
        MI_EXTENT Extent = MiState->Extents[Index];
        const MI_RUN *Run = MiRunOfPage(Extent.Base);
        if (Extent.Count == 0 || Run == NULL || Extent.Base < Run->FirstPage ||
            Extent.Base + Extent.Count > Run->FirstPage + Run->Managed) {
            Broken = "P4: an extent is empty or not inside one run";
            break;
        }
        for (ULONG Other = 0; Other < Index; Other++) {
            if (Extent.Base < MiState->Extents[Other].Base + MiState->Extents[Other].Count &&
                MiState->Extents[Other].Base < Extent.Base + Extent.Count) {
                Broken = "P4: two extents overlap";
            }
        }
        /* Reading the whole of an extent's entries would make the host back them: the ends tell. */
        if (!MiPfnIsZero(MiPfn(Extent.Base)) || !MiPfnIsZero(MiPfn(Extent.Base + Extent.Count - 1))) {
            Broken = "P4: the MMPFN of an untouched frame is not zero";
        }
        Extents += Extent.Count;
        Counts[MiPageZeroed] += Extent.Count;
    }
    for (ULONG Index = 0; Index < MiState->RunCount && !Broken; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        Managed += Run->Managed;
        for (PFN_NUMBER Page = Run->FirstPage; Page < Run->FirstPage + Run->Managed && !Broken;) {
            ULONG Skip = 0;
            for (ULONG Extent = 0; Extent < MiState->ExtentCount; Extent++) {
                if (MiState->Extents[Extent].Base == Page) {
                    Page += MiState->Extents[Extent].Count;
                    Skip = 1;
                    break;
                }
            }
            if (Skip) {
                continue;
            }
            const MMPFN *Pfn = &Run->Pfn[Page++ - Run->FirstPage];
            Counts[Pfn->State < MiPageStates ? Pfn->State : MiPageBad]++;
            if (Pfn->State >= MiPageStates) {
                Broken = "P3: a frame is in no state";
            } else if (Pfn->State <= MiPageBad && !(Pfn->Flags & MI_PFN_LISTED)) {
                Broken = "P1: a frame in a list's state is on no list";
            } else if (Pfn->State == MiPageActive && (Pfn->u2.ShareCount == 0 || Pfn->ReferenceCount == 0)) {
                Broken = "P5: an active frame has no share or no reference";
            } else if (Pfn->State == MiPageTransition && (Pfn->u2.ShareCount != 0 || Pfn->ReferenceCount == 0)) {
                Broken = "P5: a frame in transition has shares or no reference";
            }
        }
    }
    for (ULONG State = 0; State < MiPageStates && !Broken; State++) {
        if (Counts[State] != MiState->StateCount[State]) {
            Broken = "P3: a state's count differs from the frames in it";
        }
    }
    if (!Broken && Managed + MiState->CorePages != MiState->TotalPages) {
        Broken = "P3: frames managed and the core's own do not add up to RAM";
    }
    if (!Broken && MiState->StateCount[MiPageZeroed] != Extents + MiState->Lists[MiPageZeroed].Total) {
        Broken = "P6: zeroed frames are neither listed nor in an extent";
    }
    KiReleaseLock(&MiState->PfnLock);
    return Broken;
}
