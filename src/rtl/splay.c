/*
 * splay.c - splay links: a binary tree that rotates what it touches to the root.
 *
 *        root (its own Parent)
 *        /  \
 *   Left      Right      everything left of a node comes before it
 *
 * The links are a driver's, embedded in its records; there is no header. Invariants: (1) a node's children
 * name it as Parent; (2) the root, and only the root, is its own Parent. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

/* Moves Node up one level, over its parent. */
static VOID RtlpRotateUp(PRTL_SPLAY_LINKS Node)
{
    PRTL_SPLAY_LINKS Parent = Node->Parent, Grand = Parent->Parent, Moved;
    if (Parent->LeftChild == Node) {
        Moved = Node->RightChild;
        Parent->LeftChild = Moved;
        Node->RightChild = Parent;
    } else {
        Moved = Node->LeftChild;
        Parent->RightChild = Moved;
        Node->LeftChild = Parent;
    }
    if (Moved != NULL)
        Moved->Parent = Parent;
    Parent->Parent = Node;
    if (Grand == Parent) {
        Node->Parent = Node;
    } else {
        Node->Parent = Grand;
        if (Grand->LeftChild == Parent)
            Grand->LeftChild = Node;
        else
            Grand->RightChild = Node;
    }
}

PRTL_SPLAY_LINKS RtlSplay(PRTL_SPLAY_LINKS Links)
{
    while (!RtlIsRoot(Links)) {
        PRTL_SPLAY_LINKS Parent = Links->Parent;
        if (!RtlIsRoot(Parent))
            RtlpRotateUp(RtlIsLeftChild(Links) == RtlIsLeftChild(Parent) ? Parent : Links);
        RtlpRotateUp(Links);
    }
    return Links;
}

PRTL_SPLAY_LINKS RtlSubtreeSuccessor(PRTL_SPLAY_LINKS Links)
{
    PRTL_SPLAY_LINKS Node = Links->RightChild;
    while (Node != NULL && Node->LeftChild != NULL)
        Node = Node->LeftChild;
    return Node;
}

PRTL_SPLAY_LINKS RtlSubtreePredecessor(PRTL_SPLAY_LINKS Links)
{
    PRTL_SPLAY_LINKS Node = Links->LeftChild;
    while (Node != NULL && Node->RightChild != NULL)
        Node = Node->RightChild;
    return Node;
}

PRTL_SPLAY_LINKS RtlRealSuccessor(PRTL_SPLAY_LINKS Links)
{
    PRTL_SPLAY_LINKS Node = RtlSubtreeSuccessor(Links);
    if (Node != NULL)
        return Node;
    for (Node = Links; !RtlIsRoot(Node); Node = Node->Parent)
        if (RtlIsLeftChild(Node))
            return Node->Parent;
    return NULL;
}

PRTL_SPLAY_LINKS RtlRealPredecessor(PRTL_SPLAY_LINKS Links)
{
    PRTL_SPLAY_LINKS Node = RtlSubtreePredecessor(Links);
    if (Node != NULL)
        return Node;
    for (Node = Links; !RtlIsRoot(Node); Node = Node->Parent)
        if (RtlIsRightChild(Node))
            return Node->Parent;
    return NULL;
}

/* Puts New (or nothing) where Old is, for Old's parent. A new root becomes its own parent. */
static VOID RtlpReplace(PRTL_SPLAY_LINKS Old, PRTL_SPLAY_LINKS New, PRTL_SPLAY_LINKS *Root)
{
    if (RtlIsRoot(Old)) {
        *Root = New;
        if (New != NULL)
            New->Parent = New;
        return;
    }
    if (RtlIsLeftChild(Old))
        Old->Parent->LeftChild = New;
    else
        Old->Parent->RightChild = New;
    if (New != NULL)
        New->Parent = Old->Parent;
}

VOID RtlDeleteNoSplay(PRTL_SPLAY_LINKS Links, PRTL_SPLAY_LINKS *Root)
{
    if (Links->LeftChild != NULL && Links->RightChild != NULL) {
        /* The predecessor has no right child: take it out, then let it stand in for Links. */
        PRTL_SPLAY_LINKS Stand = RtlSubtreePredecessor(Links);
        RtlpReplace(Stand, Stand->LeftChild, Root);
        Stand->LeftChild = Links->LeftChild;
        Stand->RightChild = Links->RightChild;
        if (Stand->LeftChild != NULL)
            Stand->LeftChild->Parent = Stand;
        Stand->RightChild->Parent = Stand;
        RtlpReplace(Links, Stand, Root);
    } else {
        RtlpReplace(Links, Links->LeftChild != NULL ? Links->LeftChild : Links->RightChild, Root);
    }
}

PRTL_SPLAY_LINKS RtlDelete(PRTL_SPLAY_LINKS Links)
{
    PRTL_SPLAY_LINKS Root = Links;
    RtlSplay(Links);
    RtlDeleteNoSplay(Links, &Root);
    return Root;
}
