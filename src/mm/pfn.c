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
 *           |  ^                                                     |  released while locked      ^
 *           |  `-- zeropage.c (Free to Zeroed)                       `------> Transition --last----'
 *           `--MiTakeFrames(READING)--> Transition --read--> Standby
 *
 *      a pageable frame (PAGEABLE; its entry remembers it by a transition entry while it is not active):
 *
 *           Active --trimmed, MiListFrameLocked--> Modified --modwrite.c--> Transition (WRITING) --> Standby
 *             ^  `--clean, has a copy in a page file------------------------------------------------^  |
 *             `------------- soft fault: MiActivateFrameLocked, from any of them ----------------------'
 *           Standby --MiTakeFrames, when nothing free is left: repurposed--> Active for another, the entry
 *                     becomes the page-file entry it was remembered as (OriginalPte)
 *           any of them --locked: MiReferenceFrameLocked--> Transition --unlocked: MiListFrameLocked--> back
 *
 * Standby has a list for each priority; the lowest list that has pages gives up its oldest. A page's priority is that of the thread that
 * brings it in (KTHREAD.PagePriority); a soft fault of one that has a higher one raises it, and a working set may bound it. Modified pages are written
 * oldest first. What was read ahead of a reader in order is not taken when it is the oldest for the first time: it goes to the end of its list
 * once (Again), since it will be touched soon and the rest of the list will not. A frame of a section (PROTOTYPE) is owned by its prototype entry, valid while view entries share the frame; if its home is a
 * mapped file (FILE) it waits for its writer on the Mapped list (mapwrite.c). Bad is there for who needs it (failing RAM).
 *
 * Counts: an active frame has one share per entry that owns it, one reference for having shares at all, and
 * one reference for each lock (MDLs, copies) and I/O. A frame is free when its last reference goes.
 *
 * The repurposing of a frame changes an entry that is not locked by its own lock: therefore every change of a transition
 * entry whose frame is not active is made under PfnLock, by whoever else also holds the entry's lock.
 *
 * What cannot leave RAM (NonPageableFrames) and what is locked (LockedFrames) together leave LeastPageable frames to paging,
 * once there is a page file: whoever would take the last ones is refused, so that a fault always finds a frame in the end.
 *
 * Nodes: zeroed and free frames are listed by node, and no extent crosses from one node to the next (numa.c). Whoever takes a frame
 * wants it from one node, its thread's unless it names another, and gets it from the nearest that has one free; only when none has
 * is a standby page repurposed. Those are listed by node and priority: the oldest of the lowest priority of the wanted node goes, or of
 * the nearest that has one of that priority. Modified pages are listed for all nodes together, as nobody can have one before it is written.
 *
 * Choice: one frame comes from the head of a list (what was freed last is warm); many come as a run, from
 * neighbours on a list if the few runs at its head are long enough, else from an extent: runs of frames make
 * runs of mappings in the TB. Releasing puts a run back so that the list's head walks it upwards again. The
 * choice depends on nothing but the calls made, or on ScatterSeed where a test sets it.
 *
 * Invariants (MiValidateFrames, in pfncheck.c, quotes the numbers):
 *   P1  The frames on a list are as many as its total, doubly linked, each LISTED and in the list's state (and priority).
 *   P2  A listed frame has no references; a zeroed or free one has no owner either.
 *   P3  StateCount[] adds up to the frames managed, and with the core's own to RAM.
 *   P4  Extents are inside one run each, do not overlap, and their MMPFNs are all zero.
 *   P5  Active: ShareCount >= 1 and ReferenceCount >= 1. Transition: ShareCount = 0 and ReferenceCount >= 1.
 *   P6  The zeroed state counts the zeroed list and the extents.
 *   P7  A standby or modified frame is named by its owner's transition entry. A standby frame has a copy (OriginalPte) and is
 *       not MODIFIED; a modified one is. Mapped frames have FILE, modified ones have not.
 *   P8  NonPageableFrames, LockedFrames and FileFrames are the frames that their definitions say.
 *       RemovedPages is the number of frames that are REMOVED, all of them in use.
 *   P9  READING and WRITING only on frames in use, with a reference; READING only on PAGEABLE ones (one that is being written may be made
 *       resident for good meanwhile).
 *   P10 A zeroed, free or standby frame is on its own node's list; no extent lies in two nodes.
 *   P11 With several nodes, their counts add up to StateCount[] (numa.c).
 *
 * Locks: PfnLock (4th) around everything here. Any IRQL.
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
    for (ULONG Node = 0; Node < MI_MAX_NODES; Node++) {
        for (ULONG Priority = 0; Priority < MI_PRIORITIES; Priority++) {
            MiState->Node[Node].Standby[Priority].Head = MiState->Node[Node].Standby[Priority].Tail = MI_NO_PAGE;
        }
        for (ULONG State = 0; State <= MiPageFree; State++) {
            MiState->Node[Node].Lists[State].Head = MiState->Node[Node].Lists[State].Tail = MI_NO_PAGE;
        }
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
    MiState->Nodes = 1;
    MiState->Node[0].End = MiState->HighestPage + 1;
    return STATUS_SUCCESS;
}

static inline MI_PAGE_LIST *MiListOf(PFN_NUMBER Page, const MMPFN *Pfn)
{
    if (Pfn->State <= MiPageFree) {
        return &MiState->Node[MiNodeOfPage(Page)].Lists[Pfn->State];
    }
    return Pfn->State == MiPageStandby ? &MiState->Node[MiNodeOfPage(Page)].Standby[Pfn->Priority]
                                       : &MiState->Lists[Pfn->State];
}

static VOID MiUnlinkPage(PFN_NUMBER Page, PMMPFN Pfn)
{
    MI_PAGE_LIST *List = MiListOf(Page, Pfn);
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
    Pfn->Flags &= (USHORT)~MI_PFN_LISTED;
    Pfn->u1.Flink = 0;
    Pfn->u2.Blink = 0;
}

/* What is free is used again last in, first out; what is remembered, first in, first out. */
static VOID MiLinkPage(PFN_NUMBER Page, PMMPFN Pfn)
{
    MI_PAGE_LIST *List = MiListOf(Page, Pfn);
    BOOLEAN AtTail = Pfn->State >= MiPageStandby && Pfn->State <= MiPageModifiedNoWrite;
    Pfn->u1.Flink = AtTail ? MI_NO_PAGE : List->Head;
    Pfn->u2.Blink = AtTail ? List->Tail : MI_NO_PAGE;
    if (Pfn->u2.Blink == MI_NO_PAGE) {
        List->Head = (ULONG)Page;
    } else {
        MiPfn(Pfn->u2.Blink)->u1.Flink = (ULONG)Page;
    }
    if (Pfn->u1.Flink == MI_NO_PAGE) {
        List->Tail = (ULONG)Page;
    } else {
        MiPfn(Pfn->u1.Flink)->u2.Blink = (ULONG)Page;
    }
    List->Total++;
    Pfn->Flags |= MI_PFN_LISTED;
}

static inline VOID MiForgetCopy(PMMPFN Pfn)
{
    if (MiPteIsPageFile(Pfn->OriginalPte)) {
        MiReleaseSlots(MiSlotOfPte(Pfn->OriginalPte), 1);
    }
    Pfn->OriginalPte = MI_ZERO_PTE;
}

/* Counters that are read without the lock, too. */
static inline VOID MiAddCount(ULONG64 *Count, LONG64 Change)
{
    __atomic_store_n(Count, *Count + (ULONG64)Change, __ATOMIC_RELAXED);
}

static inline VOID MiCountState(PFN_NUMBER Page, ULONG From, ULONG To)
{
    MiAddCount(&MiState->StateCount[From], -1);
    MiAddCount(&MiState->StateCount[To], 1);
    if (__builtin_expect(MiState->Nodes > 1, 0)) {
        MI_NODE *Node = &MiState->Node[MiFindNodeOfPage(Page)];
        MiAddCount(&Node->StateCount[From], -1);
        MiAddCount(&Node->StateCount[To], 1);
    }
}

/* The one place where a frame changes state: list membership and counters follow. */
VOID MiSetPageState(PFN_NUMBER Page, PMMPFN Pfn, MI_PAGE_STATE State)
{
    if (Pfn->Flags & MI_PFN_LISTED) {
        MiUnlinkPage(Page, Pfn);
    }
    MiState->NonPageableFrames -= MiCountsAsNonPageable(Pfn);
    MiState->FileFrames -= MiCountsAsFile(Pfn);
    MiCountState(Page, Pfn->State, State);
    Pfn->State = (UCHAR)State;
    MiState->NonPageableFrames += MiCountsAsNonPageable(Pfn);
    MiState->FileFrames += MiCountsAsFile(Pfn);
    if (State <= MiPageBad) {
        MiLinkPage(Page, Pfn);
    }
}

VOID MiSetPageableLocked(PMMPFN Pfn, BOOLEAN Pageable)
{
    MiState->NonPageableFrames -= MiCountsAsNonPageable(Pfn);
    Pfn->Flags = (USHORT)(Pageable ? Pfn->Flags | MI_PFN_PAGEABLE : Pfn->Flags & ~MI_PFN_PAGEABLE);
    MiState->NonPageableFrames += MiCountsAsNonPageable(Pfn);
    if (!Pageable) {
        MiForgetCopy(Pfn); /* a write that is under way gives its slot back itself */
        if (Pfn->Flags & MI_PFN_LOCKED) {
            Pfn->Flags &= (USHORT)~MI_PFN_LOCKED;
            MiState->LockedFrames--;
        }
    }
}

VOID MiSetLostLocked(PFN_NUMBER Page, PMMPFN Pfn, BOOLEAN Lost)
{
    if (Pfn->State == MiPageStandby) { /* its priority names its list */
        MiSetPageState(Page, Pfn, MiPageModified);
    }
    if (Lost) {
        MiForgetCopy(Pfn);
        Pfn->OriginalPte = MiPteLost(MI_PROT_READWRITE);
        Pfn->Flags &= (USHORT)~MI_PFN_MODIFIED;
        Pfn->Priority = 0;
        MiSetPageState(Page, Pfn, MiPageStandby);
        MiPagesBecameAvailable();
    } else {
        Pfn->OriginalPte = MI_ZERO_PTE;
        Pfn->Flags |= MI_PFN_MODIFIED;
        Pfn->Priority = MI_DEFAULT_PRIORITY;
    }
}

/* The entry of a standby page becomes what it is without the frame. */
static VOID MiTakeFromOwner(PMMPFN Pfn)
{
    MiWritePte(Pfn->PteAddress, MiPteBacking(Pfn->OriginalPte, MiPteProtection(MiReadPte(Pfn->PteAddress))));
    MiState->Pager.RepurposedPages++;
}

static UCHAR MiPagePriorityOfThread(VOID)
{
    return __atomic_load_n(&KiCurrentThread()->PagePriority, __ATOMIC_RELAXED);
}
/* A page that several threads use is worth what it is worth to the one that values it most. */
static UCHAR MiHigherPriority(UCHAR Priority)
{
    UCHAR Mine = MiPagePriorityOfThread();
    return Priority < Mine ? Mine : Priority;
}

/* A frame that is free, zeroed or in standby goes to its user. */
static VOID MiGiveFrame(PFN_NUMBER Page, ULONG Flags, PMMPTE Pte)
{
    PMMPFN Pfn = MiPfn(Page);
    BOOLEAN Reading = (Flags & MI_TAKE_READING) != 0;
    if (Pfn->State == MiPageStandby) {
        MiTakeFromOwner(Pfn);
    }
    if (Pfn->Flags & MI_PFN_LISTED) {
        MiUnlinkPage(Page, Pfn);
    }
    MiCountState(Page, Pfn->State, Reading ? MiPageTransition : MiPageActive);
    Pfn->State = Reading ? MiPageTransition : MiPageActive;
    MiState->NonPageableFrames += (Flags & (MI_TAKE_PAGEABLE | MI_TAKE_READING)) == 0;
    MiState->FileFrames += (Flags & MI_TAKE_FILE) != 0;
    Pfn->u1.UsedEntries = 0;
    Pfn->u2.ShareCount = Reading ? 0 : 1;
    Pfn->PteAddress = Pte;
    Pfn->OriginalPte = MI_ZERO_PTE;
    Pfn->ReferenceCount = 1;
    Pfn->Flags = (USHORT)((Flags & MI_TAKE_TABLE ? MI_PFN_TABLE : 0) | (Pte ? 0 : MI_PFN_UNMAPPED) |
                          (Flags & (MI_TAKE_PAGEABLE | MI_TAKE_READING) ? MI_PFN_PAGEABLE : 0) |
                          (Reading ? MI_PFN_READING : 0) | (Flags & MI_TAKE_SHARED ? MI_PFN_PROTOTYPE : 0));
    Pfn->File = (Flags & MI_TAKE_FILE) != 0;
    Pfn->Priority = Flags & (MI_TAKE_PAGEABLE | MI_TAKE_READING) ? MiPagePriorityOfThread() : MI_DEFAULT_PRIORITY;
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

VOID MiSplitExtents(PFN_NUMBER Page)
{
    for (ULONG Index = 0; Index < MiState->ExtentCount; Index++) {
        if (MiState->Extents[Index].Base < Page && Page - MiState->Extents[Index].Base < MiState->Extents[Index].Count) {
            MiCutExtent(Index, Page, 0);
            return;
        }
    }
}

/* Whatever of [Base, Base + Count) lies in extents does so no longer: those frames are in the zeroed state and on no list. */
static VOID MiCutRange(PFN_NUMBER Base, PFN_NUMBER Count)
{
    for (ULONG Index = 0; Index < MiState->ExtentCount;) {
        MI_EXTENT Extent = MiState->Extents[Index];
        PFN_NUMBER First = Extent.Base < Base ? Base : Extent.Base, End = Extent.Base + Extent.Count;
        End = End < Base + Count ? End : Base + Count;
        if (First < End) {
            MiCutExtent(Index, First, End - First);
            Index = 0;
        } else {
            Index++;
        }
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
static ULONG MiRunOnList(const MI_NODE *Node, MI_PAGE_STATE State, ULONG Want, PFN_NUMBER *Base)
{
    ULONG Best = 0;
    PFN_NUMBER Page = Node->Lists[State].Head;
    for (ULONG Hop = 0; Hop < MI_LIST_HOPS && Page != MI_NO_PAGE; Hop++) {
        PMMPFN Pfn = MiPfn(Page), Below;
        ULONG Length = 1;
        while (Length < Want) {
            PMMPFN Next = MiPfn(Page + Length);
            if (Next == NULL || Next->State != State || !(Next->Flags & MI_PFN_LISTED) || Page + Length >= Node->End) {
                break;
            }
            Pfn = Next;
            Length++;
        }
        /* The list may begin with the end of a run. */
        while (Length < Want && (Below = MiPfn(Page - 1)) != NULL && Below->State == State && (Below->Flags & MI_PFN_LISTED) &&
               Page > Node->First) {
            Page--;
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

static inline BOOLEAN MiHasExtent(const MI_NODE *Node)
{
    return MiState->Nodes == 1 ? MiState->ExtentCount != 0 : Node->StateCount[MiPageZeroed] > Node->Lists[MiPageZeroed].Total;
}

/* Chooses, if the node has a run longer than Least; the frames are still on their list, or cut out of their extent. */
static ULONG MiChooseFrames(const MI_NODE *Node, ULONG Want, ULONG Least, ULONG Flags, PFN_NUMBER *Base, BOOLEAN *Dirty)
{
    MI_PAGE_STATE First = Flags & MI_TAKE_ZEROED ? MiPageZeroed : MiPageFree;
    MI_PAGE_STATE Second = Flags & MI_TAKE_ZEROED ? MiPageFree : MiPageZeroed;
    PFN_NUMBER Page = 0;
    if (MiState->ScatterSeed && MiState->ExtentCount) {
        ULONG Index = (ULONG)(MiNextRandom() % MiState->ExtentCount);
        PFN_NUMBER Any = MiState->Extents[Index].Base + MiNextRandom() % MiState->Extents[Index].Count;
        if (MiIsOfNode(Node, Any)) {
            *Base = Any;
            *Dirty = FALSE;
            MiCutExtent(Index, Any, 1);
            return 1;
        }
    }
    ULONG Best = MiRunOnList(Node, First, Want, &Page);
    MI_PAGE_STATE From = First;
    if (Best < Want && (!(Flags & MI_TAKE_ZEROED) || !MiHasExtent(Node))) {
        PFN_NUMBER Other = 0;
        ULONG Length = MiRunOnList(Node, Second, Want, &Other);
        if (Length > Best) {
            Best = Length;
            Page = Other;
            From = Second;
        }
    }
    /* RAM that nobody has touched costs the host a fault a page, ten times what a mapping more costs: what is read into takes it only
     * where the lists have nothing. */
    if (Best < Want && !(Best && (Flags & MI_TAKE_READING))) {
        ULONG Widest = MI_MAX_EXTENTS;
        for (ULONG Index = 0; Index < MiState->ExtentCount; Index++) {
            if (!MiIsOfNode(Node, MiState->Extents[Index].Base)) {
                continue;
            }
            if (MiState->Extents[Index].Count >= Want) {
                Widest = Index;
                break;
            }
            if (Widest == MI_MAX_EXTENTS || MiState->Extents[Index].Count > MiState->Extents[Widest].Count) {
                Widest = Index;
            }
        }
        if (Widest != MI_MAX_EXTENTS && MiState->Extents[Widest].Count > (Best > Least ? Best : Least)) {
            Best = (ULONG)(MiState->Extents[Widest].Count < Want ? MiState->Extents[Widest].Count : Want);
            *Base = MiState->Extents[Widest].Base;
            *Dirty = FALSE;
            MiCutExtent(Widest, *Base, Best);
            return Best;
        }
    }
    *Base = Page;
    *Dirty = From != MiPageZeroed;
    return Best > Least ? Best : 0;
}

/* From the wanted node, else the nearest that has any. */
static ULONG MiChooseNear(ULONG Ideal, ULONG Want, ULONG Least, ULONG Flags, PFN_NUMBER *Base, BOOLEAN *Dirty)
{
    MI_NODE *Node = &MiState->Node[Ideal];
    ULONG Count = MiChooseFrames(Node, Want, Least, Flags, Base, Dirty);
    if (__builtin_expect(MiState->Nodes == 1, 1)) {
        return Count;
    }
    for (ULONG Turn = 1; Count == 0 && Turn < MiState->Nodes && !(Flags & (MI_TAKE_LOCAL | MI_TAKE_ONLY)); Turn++) {
        Count = MiChooseFrames(&MiState->Node[Node->Order[Turn]], Want, Least, Flags, Base, Dirty);
    }
    return Count;
}

/* Whoever reads ahead sees to it that there is something else to take (inpage.c); first in, first out would have the oldest of what was read ahead,
 * which is wanted next, give way to the youngest. Once, and so many at a time: what nobody comes for goes like any other. */
#define MI_TURNS 2048u
static inline BOOLEAN MiStaysAhead(const MMPFN *Pfn)
{
    return Pfn->Again && (Pfn->Flags & MI_PFN_AHEAD);
}
static VOID MiTurnAhead(const MI_PAGE_LIST *Standby)
{
    for (ULONG Turn = 0; Turn < MI_TURNS && Standby->Head != MI_NO_PAGE && MiStaysAhead(MiPfn(Standby->Head)); Turn++) {
        PMMPFN Pfn = MiPfn(Standby->Head);
        Pfn->Again = FALSE;
        MiSetPageState(Standby->Head, Pfn, MiPageStandby);
    }
}

/* The oldest standby page of the lowest priority, of the wanted node or (Nodes: so many are asked, near ones first) the nearest that
 * has one of that priority, and up to Want in all of those behind it in RAM that are in standby on the same list: what went out as neighbours mostly lies as neighbours, and a run
 * of frames is mapped, and read into, as one. */
static ULONG MiOldestStandby(ULONG Want, ULONG Ideal, ULONG Nodes, PFN_NUMBER *Base)
{
    for (ULONG Index = 0; Index < MI_PRIORITIES * Nodes; Index++) {
        ULONG Priority = Index / Nodes;
        const MI_NODE *Node = &MiState->Node[MiState->Node[Ideal].Order[Index % Nodes]];
        MiTurnAhead(&Node->Standby[Priority]);
        PFN_NUMBER Page = Node->Standby[Priority].Head;
        if (Page == MI_NO_PAGE) {
            continue;
        }
        ULONG Count = 1;
        for (PMMPFN Pfn;
             Count < Want && Page + Count < Node->End && (Pfn = MiPfn(Page + Count)) != NULL && Pfn->State == MiPageStandby &&
             (Pfn->Flags & MI_PFN_LISTED) && Pfn->Priority == Priority && !MiStaysAhead(Pfn);
             Count++) {
        }
        *Base = Page;
        return Count;
    }
    return 0;
}

BOOLEAN MiPurgeStandbyLocked(ULONG Most)
{
    PFN_NUMBER Page;
    for (; Most && MiOldestStandby(1, 0, MiState->Nodes, &Page); Most--) {
        PMMPFN Pfn = MiPfn(Page);
        MiTakeFromOwner(Pfn);
        MiSetPageState(Page, Pfn, MiPageFree);
        Pfn->PteAddress = NULL;
        Pfn->OriginalPte = MI_ZERO_PTE;
        Pfn->Flags = MI_PFN_LISTED;
        Pfn->File = FALSE;
    }
    return MiState->StateCount[MiPageStandby] != 0;
}

/* How many of Want may be taken without making promises to others empty. */
static ULONG MiAllowance(ULONG Want, ULONG Flags)
{
    ULONG64 Room = MiAvailable();
    if (__builtin_expect(MiIsMappedWriter(), 0)) {
        return Room < Want ? (ULONG)Room : Want; /* what it takes makes room */
    }
    if (Flags & (MI_TAKE_PAGEABLE | MI_TAKE_READING)) {
        Room = Room > MiThreshold(Reserve) ? Room - MiThreshold(Reserve) : 0;
    } else if (MiThreshold(LeastPageable)) {
        ULONG64 Held = MiState->NonPageableFrames + MiState->LockedFrames + MiThreshold(LeastPageable);
        ULONG64 Left = MiManagedPages() > Held ? MiManagedPages() - Held : 0;
        Room = Room < Left ? Room : Left;
    }
    if (__builtin_expect(__atomic_load_n(&MiState->FileSegments, __ATOMIC_RELAXED), 0) &&
        !(Flags & (MI_TAKE_PAGEABLE | MI_TAKE_READING)) &&
        KiCurrentThread()->Irql < DISPATCH_LEVEL) { /* who can wait leaves some to the mapped writer */
        Room = Room > MI_WRITERS_PAGES ? Room - MI_WRITERS_PAGES : 0;
    }
    return Room < Want ? (ULONG)Room : Want;
}

ULONG MiTakeFrames(ULONG Want, ULONG Flags, PMMPTE Pte, PFN_NUMBER *Base, BOOLEAN *Dirty)
{
    ULONG Count = 0, Ideal = 0;
    if (__builtin_expect(MiState->Nodes > 1, 0)) {
        Ideal = Flags >> 8 ? (Flags >> 8) - 1 : MiCurrentNode();
    }
    KiAcquireLock(&MiState->PfnLock);
    Want = MiAllowance(Want, Flags);
    if (Want) {
        PFN_NUMBER Old = 0;
        ULONG Standby = 0;
        /* Mapped and read into as one: when little is free a longer run of old pages beats what is left of that. */
        if (Want > 1 && (Flags & (MI_TAKE_READING | MI_TAKE_PAGEABLE)) &&
            MiState->StateCount[MiPageFree] + MiState->StateCount[MiPageZeroed] < 4 * MI_IO_PAGES) {
            Standby = MiOldestStandby(Want, Ideal, MiState->Nodes, &Old);
        }
        Count = Standby == Want ? 0 : MiChooseNear(Ideal, Want, Standby, Flags, Base, Dirty);
        if (Count == 0 && !(Flags & MI_TAKE_LOCAL)) {
            *Dirty = TRUE;
            Count = Standby ? Standby : MiOldestStandby(Want, Ideal, Flags & MI_TAKE_ONLY ? 1 : MiState->Nodes, &Old);
            *Base = Old;
        }
    }
    if (__builtin_expect(MiState->Nodes > 1 && Count, 0)) {
        MI_NODE *Node = &MiState->Node[Ideal];
        *(MiIsOfNode(Node, *Base) ? &Node->Hits : &Node->Misses) += Count;
    }
    for (ULONG Index = 0; Index < Count; Index++) {
        MiGiveFrame(*Base + Index, Flags, Pte ? Pte + Index : NULL);
    }
    KiReleaseLock(&MiState->PfnLock);
    MiPagesWereTaken();
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
    if (Count > MAXULONG || MiAllowance((ULONG)Count, 0) < Count) {
        KiReleaseLock(&MiState->PfnLock);
        return FALSE;
    }
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
    /* No untouched run: look for neighbours in any mixture, run by run. */
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        PFN_NUMBER Start = MiFitBoundary(Run->FirstPage < Low ? Low : Run->FirstPage, Count, Boundary);
        PFN_NUMBER End = Run->FirstPage + Run->Managed;
        while (Run->Managed && Start < End && End - Start >= Count && Start + Count - 1 <= High) {
            PFN_NUMBER Length = 0;
            while (Length < Count && MiIsToBeHad(&Run->Pfn[Start + Length - Run->FirstPage])) {
                Length++;
            }
            if (Length == Count) {
                MiCutRange(Start, Count);
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
        MiGiveFrame(*Base + Index, 0, NULL);
    }
    KiReleaseLock(&MiState->PfnLock);
    return TRUE;
}

ULONG MiTakeInRange(ULONG Want, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER *Cursor, PPFN_NUMBER Frames, ULONG64 *Dirty)
{
    ULONG Got = 0, Looked = 0;
    *Dirty = 0;
    KiAcquireLock(&MiState->PfnLock);
    Want = MiAllowance(Want, 0);
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
            MiGiveFrame(Page, 0, NULL);
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
            if ((Pfn->Flags & MI_PFN_LISTED) && Pfn->State <= MiPageStandby) {
                *Dirty |= Pfn->State == MiPageZeroed ? 0 : 1ull << Got;
                MiGiveFrame(*Cursor, 0, NULL);
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
    if (Pfn->Flags & MI_PFN_PAGEABLE) {
        MiForgetCopy(Pfn);
        if (Pfn->Flags & MI_PFN_LOCKED) {
            MiState->LockedFrames--;
        }
    }
    if (__builtin_expect(Pfn->Flags & MI_PFN_REMOVED, 0)) {
        MiState->RemovedPages--;
    }
    Pfn->OriginalPte = MI_ZERO_PTE;
    MiSetPageState(Page, Pfn, MiPageFree); /* the flags still say what was counted */
    Pfn->PteAddress = NULL;
    Pfn->Flags = MI_PFN_LISTED;
    Pfn->File = FALSE;
    MiPagesBecameAvailable();
}

VOID MiListFrameLocked(PFN_NUMBER Page, PMMPFN Pfn, ULONG64 *Commit)
{
    if (Pfn->Flags & MI_PFN_DELETED) {
        *Commit += Pfn->Flags & MI_PFN_COMMIT ? 1 : 0;
        MiFreeFrameLocked(Page, Pfn);
        return;
    }
    if (!(Pfn->Flags & MI_PFN_MODIFIED) && MiPteIsZero(Pfn->OriginalPte)) {
        Pfn->Flags |= MI_PFN_MODIFIED;
    }
    if (Pfn->Flags & MI_PFN_MODIFIED) {
        if (MiPteIsPageFile(Pfn->OriginalPte)) {
            MiForgetCopy(Pfn);
        }
        MiSetPageState(Page, Pfn,
                       !Pfn->File                         ? MiPageModified
                       : MiWaitsForFlush(Pfn->PteAddress) ? MiPageModifiedNoWrite
                                                          : MiPageMapped);
    } else {
        MiSetPageState(Page, Pfn, MiPageStandby);
        MiPagesBecameAvailable();
    }
}

VOID MiActivateFrameLocked(PFN_NUMBER Page, PMMPFN Pfn)
{
    MiSetPageState(Page, Pfn, MiPageActive); /* off its list, so the priority may change */
    Pfn->u2.ShareCount = 1;
    Pfn->ReferenceCount++;
    Pfn->Priority = MiHigherPriority(Pfn->Priority);
}

BOOLEAN MiDropShareLocked(PFN_NUMBER Page, BOOLEAN Dirty, ULONG64 *Commit)
{
    PMMPFN Pfn = MiPfn(Page);
    if (Dirty) {
        Pfn->Flags |= MI_PFN_MODIFIED;
    }
    if (--Pfn->u2.ShareCount) {
        return FALSE; /* other entries still map it */
    }
    if (Pfn->Flags & MI_PFN_PROTOTYPE) {
        MiWritePte(Pfn->PteAddress, MiPteTransition(Page, MI_PROT_READWRITE));
    }
    if (--Pfn->ReferenceCount) {
        MiSetPageState(Page, Pfn, MiPageTransition);
        return FALSE;
    }
    MiListFrameLocked(Page, Pfn, Commit);
    return TRUE;
}

ULONG64 MiDeleteFrameLocked(PFN_NUMBER Page, PMMPFN Pfn)
{
    BOOLEAN Charged = !Pfn->File;
    if (Pfn->ReferenceCount == 0) {
        MiFreeFrameLocked(Page, Pfn);
        return Charged;
    }
    Pfn->PteAddress = NULL;
    Pfn->Flags |= MI_PFN_DELETED | (Charged ? MI_PFN_COMMIT : 0);
    if (Pfn->State != MiPageTransition) {
        MiSetPageState(Page, Pfn, MiPageTransition);
    }
    return 0;
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
        if (--Pfn->u2.ShareCount == 0) {
            Pfn->ReferenceCount--;
            Freed += MiDeleteFrameLocked(Page, Pfn);
        }
    }
    KiReleaseLock(&MiState->PfnLock);
    MiCheckDeep();
    return Freed;
}

BOOLEAN MiReferenceFrameLocked(PFN_NUMBER Page)
{
    PMMPFN Pfn = MiPfn(Page);
    if (Pfn == NULL || Pfn->ReferenceCount == MAXUSHORT || (Pfn->ReferenceCount == 0 && !(Pfn->Flags & MI_PFN_PAGEABLE))) {
        return FALSE;
    }
    if ((Pfn->Flags & (MI_PFN_PAGEABLE | MI_PFN_LOCKED)) == MI_PFN_PAGEABLE) {
        if (MiThreshold(LeastPageable) &&
            MiState->NonPageableFrames + MiState->LockedFrames + MiThreshold(LeastPageable) >= MiManagedPages()) {
            return FALSE;
        }
        if (Pfn->File && !MiChargeCommitment(1, HighPoolPriority)) {
            return FALSE; /* it cannot leave now, so it is a promise like any other */
        }
        Pfn->Flags |= MI_PFN_LOCKED;
        MiState->LockedFrames++;
    }
    if (Pfn->State < MiPageActive) { /* standby or modified: nobody may take or write it meanwhile */
        MiSetPageState(Page, Pfn, MiPageTransition);
    }
    Pfn->ReferenceCount++;
    return TRUE;
}

BOOLEAN MiDereferenceFrameLocked(PFN_NUMBER Page, ULONG64 *Commit)
{
    PMMPFN Pfn = MiPfn(Page);
    ULONG Owned = Pfn && Pfn->State == MiPageActive ? 1 : 0;
    if (Pfn == NULL || Pfn->State < MiPageActive || Pfn->ReferenceCount <= Owned) {
        return FALSE;
    }
    if (--Pfn->ReferenceCount == Owned && (Pfn->Flags & MI_PFN_LOCKED)) {
        Pfn->Flags &= (USHORT)~MI_PFN_LOCKED;
        MiState->LockedFrames--;
        *Commit += Pfn->File;
    }
    if (Pfn->ReferenceCount == 0) {
        MiListFrameLocked(Page, Pfn, Commit);
    }
    return TRUE;
}
