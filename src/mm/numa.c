/*
 * numa.c - which frames belong to which node. SPDX-License-Identifier: MIT
 *
 * nodes= makes a machine of several NUMA nodes: RAM is divided, in the order of physical addresses, into as many parts of
 * about equal size, and the processors likewise (ke/processor.c). A node's frames are therefore one range of frame numbers,
 * and asking for memory of a node is asking for that range.
 *
 *      frame 0 |  node 0  |  node 1  |  node 2  | HighestPage         NodeFirst[n] .. NodeFirst[n + 1] - 1
 *
 * Routines that take an ideal node look there first and then at the others; those that require a node look nowhere else.
 * Locks: none, the table never changes. Any IRQL.
 */
#include "mm/mi.h"

VOID MiLayOutNodes(VOID)
{
    ULONG64 Managed = MiState->TotalPages - MiState->CorePages, Seen = 0;
    ULONG Nodes = KeOptions.Nodes > 1 ? KeOptions.Nodes : 1, Node = 1;
    Nodes = Nodes < MI_MAX_NODES ? Nodes : MI_MAX_NODES;
    for (ULONG Index = 0; Index < MiState->RunCount && Node < Nodes; Index++) {
        const MI_RUN *Run = &MiState->Runs[Index];
        while (Node < Nodes && Run->Managed && Seen + Run->Managed > Managed * Node / Nodes) {
            MiState->NodeFirst[Node] = Run->FirstPage + (Managed * Node / Nodes - Seen);
            Node++;
        }
        Seen += Run->Managed;
    }
    MiState->Nodes = Node;
    MiState->NodeFirst[Node] = MiState->HighestPage + 1;
}

ULONG MiNodeOfPage(PFN_NUMBER Page)
{
    ULONG Node = 0;
    while (Node + 1 < MiState->Nodes && Page >= MiState->NodeFirst[Node + 1]) {
        Node++;
    }
    return Node;
}

BOOLEAN MiNodeRange(ULONG Node, PFN_NUMBER *Low, PFN_NUMBER *High)
{
    if (Node >= MiState->Nodes) {
        return FALSE;
    }
    *Low = MiState->NodeFirst[Node];
    *High = MiState->NodeFirst[Node + 1] - 1;
    return TRUE;
}

ULONG MiCurrentNode(VOID)
{
    ULONG Node = KeGetCurrentNodeNumber();
    return Node < MiState->Nodes ? Node : 0;
}
