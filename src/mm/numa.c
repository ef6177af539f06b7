/*
 * numa.c - NUMA nodes: which frames belong to which, who wants which, and which is near. SPDX-License-Identifier: MIT
 *
 * nodes= makes a machine of several NUMA nodes. RAM is divided, in the order of physical addresses, into parts of about equal
 * size, or in the proportions that node_ram= names (a part may be empty: a node with processors only), and the processors into
 * equal parts (ke/processor.c). A node's frames are therefore one range of frame numbers, and memory of a node is memory of that
 * range. Holes between runs of RAM and the core's own tables belong to the node around them.
 *
 *      frame 0 |  node 0  |  node 1  |  node 2  | HighestPage         Node[n].First .. Node[n].End - 1
 *
 * Distance: nodes stand in a row, so the nearest of node n are n - 1 and n + 1, then n - 2 and n + 2; of two equally near ones
 * the lower number comes first. Order[] has that order for each.
 *
 * Who wants which node:
 *      a thread that names none                          that of its processor: the one it has, had last, or is bound to
 *      a driver that names one                           that (contiguous memory, pages for MDLs, pool, common buffers)
 *      an adapter's bounce pages and common buffers      that of its device, where its bus driver has told it (src/io/dma.c)
 *      a process that names one for a range              that, in the range's entries until their first touch (pte.h) and in its
 *                                                        record for what is committed later (space.h)
 * All get the nearest node's frames when theirs has none, except those who say that they will not (MM_ALLOCATE_FROM_LOCAL_NODE_ONLY, pool and
 * contiguous memory without MM_ANY_NODE_OK).
 *
 * Invariant (quoted by MiValidateFrames): P11: with several nodes, a state's frames add up over the nodes to MI_STATE.StateCount,
 * and a node's over the states to the frames it has.
 * Locks: the layout never changes; counts are PfnLock's. Any IRQL. Watch: tests/ddi/numa.c.
 */
#include "mm/mi.h"

/* The Nth managed frame of RAM; N is less than there are. */
static PFN_NUMBER MiManagedFrame(ULONG64 N)
{
    for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        if (N < Run->Managed) {
            return N ? Run->FirstPage + N : Run->BasePage;
        }
        N -= Run->Managed;
    }
    return MiState->HighestPage + 1;
}

static ULONG64 MiShareOfNode(ULONG Node)
{
    BOOLEAN Named = FALSE;
    for (ULONG Any = 0; Any < MiState->Nodes; Any++) {
        Named |= KeOptions.NodeBytes[Any] != 0;
    }
    return Named ? KeOptions.NodeBytes[Node] >> PAGE_SHIFT : 1;
}

static VOID MiOrderNodes(ULONG Node)
{
    ULONG Count = 0;
    for (ULONG Distance = 0; Distance < MiState->Nodes; Distance++) {
        if (Distance <= Node) {
            MiState->Node[Node].Order[Count++] = (UCHAR)(Node - Distance);
        }
        if (Distance && Node + Distance < MiState->Nodes) {
            MiState->Node[Node].Order[Count++] = (UCHAR)(Node + Distance);
        }
    }
}

VOID MiLayOutNodes(VOID)
{
    ULONG64 Managed = MiManagedPages(), Total = 0, Before = 0;
    ULONG Nodes = KeOptions.Nodes > 1 ? KeOptions.Nodes : 1;
    MiState->Nodes = Nodes < MI_MAX_NODES ? Nodes : MI_MAX_NODES;
    for (ULONG Node = 0; Node < MiState->Nodes; Node++) {
        Total += MiShareOfNode(Node);
    }
    for (ULONG Node = 1; Node < MiState->Nodes; Node++) {
        Before += MiShareOfNode(Node - 1);
        PFN_NUMBER First = MiManagedFrame(Managed * Before / Total);
        MiState->Node[Node - 1].End = MiState->Node[Node].First = First;
        MiSplitExtents(First);
    }
    MiState->Node[MiState->Nodes - 1].End = MiState->HighestPage + 1;
    for (ULONG Node = 0; Node < MiState->Nodes; Node++) {
        MiOrderNodes(Node);
    }
    for (ULONG Index = 0; Index < MiState->ExtentCount; Index++) {
        MiState->Node[MiNodeOfPage(MiState->Extents[Index].Base)].StateCount[MiPageZeroed] += MiState->Extents[Index].Count;
    }
}

ULONG MiFindNodeOfPage(PFN_NUMBER Page)
{
    ULONG Node = 0;
    while (Node + 1 < MiState->Nodes && Page >= MiState->Node[Node].End) {
        Node++;
    }
    return Node;
}

ULONG MmNodeOfPage(PFN_NUMBER Page)
{
    return MiNodeOfPage(Page);
}

BOOLEAN MiClipToNode(ULONG Node, PFN_NUMBER *Low, PFN_NUMBER *High)
{
    if (Node >= MiState->Nodes || MiState->Node[Node].First == MiState->Node[Node].End) {
        return FALSE;
    }
    *Low = *Low < MiState->Node[Node].First ? MiState->Node[Node].First : *Low;
    *High = *High < MiState->Node[Node].End ? *High : MiState->Node[Node].End - 1;
    return *Low <= *High;
}

ULONG MiCurrentNode(VOID)
{
    ULONG Node = MiState->Nodes > 1 ? KeGetCurrentNodeNumber() : 0;
    return Node < MiState->Nodes ? Node : 0;
}

BOOLEAN MmQueryNode(ULONG Node, MM_NODE_INFO *Info)
{
    if (Node >= MiState->Nodes) {
        return FALSE;
    }
    KiAcquireLock(&MiState->PfnLock);
    const MI_NODE *Here = &MiState->Node[Node];
    const ULONG64 *Counts = MiState->Nodes > 1 ? Here->StateCount : MiState->StateCount;
    *Info = (MM_NODE_INFO){.First = Here->First,
                           .End = Here->End,
                           .Zeroed = Counts[MiPageZeroed],
                           .Free = Counts[MiPageFree],
                           .Standby = Counts[MiPageStandby],
                           .Modified = Counts[MiPageModified] + Counts[MiPageModifiedNoWrite],
                           .Active = Counts[MiPageActive] + Counts[MiPageTransition],
                           .Bad = Counts[MiPageBad],
                           .Hits = Here->Hits,
                           .Misses = Here->Misses};
    KiReleaseLock(&MiState->PfnLock);
    Info->Pages = Info->Zeroed + Info->Free + Info->Standby + Info->Modified + Info->Active + Info->Bad;
    return TRUE;
}

const CHAR *MiValidateNodesLocked(VOID)
{
    for (ULONG State = 0; MiState->Nodes > 1 && State < MiPageStates; State++) {
        ULONG64 Sum = 0;
        for (ULONG Node = 0; Node < MiState->Nodes; Node++) {
            Sum += MiState->Node[Node].StateCount[State];
        }
        if (Sum != MiState->StateCount[State]) {
            return "P11: the nodes' frames in a state do not add up";
        }
    }
    for (ULONG Node = 0; MiState->Nodes > 1 && Node < MiState->Nodes; Node++) {
        const MI_NODE *Here = &MiState->Node[Node];
        ULONG64 Sum = 0, Managed = 0;
        for (ULONG State = 0; State < MiPageStates; State++) {
            Sum += Here->StateCount[State];
        }
        for (ULONG Index = 0; Index < MiState->RunCount; Index++) {
            const MI_RUN *Run = &MiState->Runs[Index];
            PFN_NUMBER First = Run->FirstPage < Here->First ? Here->First : Run->FirstPage;
            PFN_NUMBER End = Run->FirstPage + Run->Managed < Here->End ? Run->FirstPage + Run->Managed : Here->End;
            Managed += Run->Managed && First < End ? End - First : 0;
        }
        if (Sum != Managed || (Node && Here->First != MiState->Node[Node - 1].End)) {
            return "P11: a node's frames are not those of its range";
        }
    }
    return NULL;
}
