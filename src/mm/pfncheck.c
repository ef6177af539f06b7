/*
 * pfncheck.c - whether the frame database is as pfn.c's invariants say (P1 to P10; P11 is numa.c's). SPDX-License-Identifier: MIT
 *
 * Every list is followed, every frame that was ever touched is looked at, and what is counted is counted again. Each finding begins with
 * the invariant's number. Locks: PfnLock, held by the caller or taken.
 */
#include "mm/mi.h"

static BOOLEAN MiPfnIsZero(const MMPFN *Pfn)
{
    const ULONG64 *Words = (const ULONG64 *)Pfn;
    return (Words[0] | Words[1] | Words[2] | Words[3]) == 0;
}

static const CHAR *MiValidateList(const MI_PAGE_LIST *List, MI_PAGE_STATE State, ULONG Priority, const MI_NODE *Node)
{
    ULONG64 Length = 0;
    ULONG Before = MI_NO_PAGE;
    for (ULONG Page = List->Head; Page != MI_NO_PAGE; Length++) {
        PMMPFN Pfn = MiPfn(Page);
        if (Pfn == NULL || Length >= List->Total || Pfn->u2.Blink != Before || Pfn->State != State ||
            !(Pfn->Flags & MI_PFN_LISTED) || (State == MiPageStandby && Pfn->Priority != Priority)) {
            return "P1: a page list is not what its links and its total say";
        }
        if (Node && !MiIsOfNode(Node, Page)) {
            return "P10: a free frame is on another node's list";
        }
        if (Pfn->ReferenceCount || (State <= MiPageFree && Pfn->PteAddress)) {
            return "P2: a listed frame has references or an owner";
        }
        if (State == MiPageStandby || State == MiPageModified || State == MiPageMapped) {
            MMPTE Entry = Pfn->PteAddress ? MiReadPte(Pfn->PteAddress) : MI_ZERO_PTE;
            if (!MiPteIsTransition(Entry) || MiPtePage(Entry) != Page) {
                return "P7: the owner of a standby or modified frame does not name it";
            }
            if (State == MiPageStandby ? MiPteIsZero(Pfn->OriginalPte) || (Pfn->Flags & MI_PFN_MODIFIED)
                                       : !(Pfn->Flags & MI_PFN_MODIFIED) || (State == MiPageMapped) != (Pfn->File != 0)) {
                return "P7: a standby frame has no copy, or a modified one has nothing new";
            }
        }
        Before = Page;
        Page = Pfn->u1.Flink;
    }
    return Length == List->Total && List->Tail == Before ? NULL
                                                         : "P1: a page list is shorter than its total, or its tail is wrong";
}

static const CHAR *MiValidateExtents(ULONG64 *Pages)
{
    for (ULONG Index = 0; Index < MiState->ExtentCount; Index++) {
        MI_EXTENT Extent = MiState->Extents[Index];
        const MI_RUN *Run = MiRunOfPage(Extent.Base);
        if (Extent.Count == 0 || Run == NULL || Extent.Base < Run->FirstPage ||
            Extent.Base + Extent.Count > Run->FirstPage + Run->Managed) {
            return "P4: an extent is empty or not inside one run";
        }
        if (MiNodeOfPage(Extent.Base) != MiNodeOfPage(Extent.Base + Extent.Count - 1)) {
            return "P10: an extent lies in two nodes";
        }
        for (ULONG Other = 0; Other < Index; Other++) {
            if (Extent.Base < MiState->Extents[Other].Base + MiState->Extents[Other].Count &&
                MiState->Extents[Other].Base < Extent.Base + Extent.Count) {
                return "P4: two extents overlap";
            }
        }
        /* Reading the whole of an extent's entries would make the host back them: the ends tell. */
        if (!MiPfnIsZero(MiPfn(Extent.Base)) || !MiPfnIsZero(MiPfn(Extent.Base + Extent.Count - 1))) {
            return "P4: the MMPFN of an untouched frame is not zero";
        }
        *Pages += Extent.Count;
    }
    return NULL;
}

static const CHAR *MiValidateFrame(const MMPFN *Pfn)
{
    if (Pfn->State >= MiPageStates) {
        return "P3: a frame is in no state";
    }
    if (Pfn->State <= MiPageBad && !(Pfn->Flags & MI_PFN_LISTED)) {
        return "P1: a frame in a list's state is on no list";
    }
    if (Pfn->State == MiPageActive && (Pfn->u2.ShareCount == 0 || Pfn->ReferenceCount == 0)) {
        return "P5: an active frame has no share or no reference";
    }
    if (Pfn->State == MiPageTransition && (Pfn->u2.ShareCount != 0 || Pfn->ReferenceCount == 0)) {
        return "P5: a frame in transition has shares or no reference";
    }
    if ((Pfn->Flags & (MI_PFN_READING | MI_PFN_WRITING)) &&
        (Pfn->State < MiPageActive || (Pfn->Flags & (MI_PFN_READING | MI_PFN_PAGEABLE)) == MI_PFN_READING)) {
        return "P9: input or output is under way for a frame that nobody uses";
    }
    return NULL;
}

const CHAR *MiValidateFramesLocked(VOID)
{
    const CHAR *Broken = NULL;
    ULONG64 Counts[MiPageStates] = {0}, Extents = 0, Managed = 0, NonPageable = 0, Locked = 0, Zeroed = 0, Removed = 0,
            Files = 0;
    for (ULONG State = 0; State <= MiPageBad && !Broken; State++) {
        Broken = MiValidateList(&MiState->Lists[State], State, 0, NULL);
    }
    for (ULONG Node = 0; Node < MiState->Nodes && !Broken; Node++) {
        for (ULONG Priority = 0; Priority < MI_PRIORITIES && !Broken; Priority++) {
            Broken = MiValidateList(&MiState->Node[Node].Standby[Priority], MiPageStandby, Priority, &MiState->Node[Node]);
        }
        for (ULONG State = 0; State <= MiPageFree && !Broken; State++) {
            Broken = MiValidateList(&MiState->Node[Node].Lists[State], State, 0, &MiState->Node[Node]);
            Zeroed += State == MiPageZeroed ? MiState->Node[Node].Lists[State].Total : 0;
        }
    }
    if (!Broken) {
        Broken = MiValidateExtents(&Extents);
        Counts[MiPageZeroed] = Extents;
    }
    for (ULONG Index = 0; Index < MiState->RunCount && !Broken; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        Managed += Run->Managed;
        for (PFN_NUMBER Page = Run->FirstPage; Page < Run->FirstPage + Run->Managed && !Broken;) {
            ULONG64 Skip = 0;
            for (ULONG Extent = 0; Extent < MiState->ExtentCount && !Skip; Extent++) {
                Skip = MiState->Extents[Extent].Base == Page ? MiState->Extents[Extent].Count : 0;
            }
            if (Skip) {
                Page += Skip;
                continue;
            }
            const MMPFN *Pfn = &Run->Pfn[Page++ - Run->FirstPage];
            Broken = MiValidateFrame(Pfn);
            Counts[Pfn->State < MiPageStates ? Pfn->State : MiPageBad]++;
            NonPageable += MiCountsAsNonPageable(Pfn);
            Locked += (Pfn->Flags & MI_PFN_LOCKED) != 0;
            Removed += (Pfn->Flags & MI_PFN_REMOVED) != 0;
            Files += MiCountsAsFile(Pfn);
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
    if (!Broken && MiState->StateCount[MiPageZeroed] != Extents + Zeroed) {
        Broken = "P6: zeroed frames are neither listed nor in an extent";
    }
    if (!Broken && (NonPageable != MiState->NonPageableFrames || Locked != MiState->LockedFrames ||
                    Removed != MiState->RemovedPages || Files != MiState->FileFrames)) {
        Broken = "P8: nonpageable, locked or removed frames, or those of files in use, are miscounted";
    }
    return Broken ? Broken : MiValidateNodesLocked();
}

const CHAR *MiValidateFrames(VOID)
{
    KiAcquireLock(&MiState->PfnLock);
    const CHAR *Broken = MiValidateFramesLocked();
    KiReleaseLock(&MiState->PfnLock);
    return Broken;
}
