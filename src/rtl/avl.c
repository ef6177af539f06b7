/*
 * avl.c - RTL_AVL_TABLE: the generic table over a height-balanced tree.
 *
 *   table:    BalancedRoot is a sentinel: its RightChild is the tree's root, its Parent itself
 *   element:  RTL_BALANCED_LINKS 0x20 | the caller's bytes from 0x20
 *
 * Balance = height(right) - height(left). An insertion or a removal changes a height below some node;
 * RtlpGrown and RtlpShrunk walk up from there and rotate where Balance would become 2, until a height stays
 * as it was.
 *
 * Invariants: (1) children name their parent; the root's parent is the sentinel; (2) Balance is -1, 0 or 1
 * and is true; (3) in order, elements ascend strictly; (4) NumberGenericTableElements is their count; (5)
 * RestartKey, if not NULL, is an element of the table: removing it moves RestartKey to the element before.
 * Removal counts in DeleteCount, by which RtlEnumerateGenericTableLikeADirectory knows that its key may be
 * stale. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

typedef PRTL_BALANCED_LINKS PNODE;

static PVOID RtlpUserData(PVOID Node)
{
    return (PNODE)Node + 1;
}

VOID RtlInitializeGenericTableAvl(PRTL_AVL_TABLE Table, PRTL_AVL_COMPARE_ROUTINE CompareRoutine,
                                  PRTL_AVL_ALLOCATE_ROUTINE AllocateRoutine, PRTL_AVL_FREE_ROUTINE FreeRoutine,
                                  PVOID TableContext)
{
    memset(Table, 0, sizeof(*Table));
    Table->BalancedRoot.Parent = &Table->BalancedRoot;
    Table->CompareRoutine = CompareRoutine;
    Table->AllocateRoutine = AllocateRoutine;
    Table->FreeRoutine = FreeRoutine;
    Table->TableContext = TableContext;
}

static RTL_GENERIC_COMPARE_RESULTS RtlpCompareNode(PRTL_AVL_TABLE Table, PVOID Buffer, PNODE Node)
{
    return RTLP_CALLOUT(RTL_GENERIC_COMPARE_RESULTS, Table->CompareRoutine, (PRTL_AVL_TABLE, PVOID, PVOID),
                        (Table, Buffer, RtlpUserData(Node)));
}

static TABLE_SEARCH_RESULT RtlpFindNode(PRTL_AVL_TABLE Table, PVOID Buffer, PNODE *NodeOrParent)
{
    PNODE Node = Table->BalancedRoot.RightChild;
    *NodeOrParent = NULL;
    if (Node == NULL)
        return TableEmptyTree;
    for (;;) {
        RTL_GENERIC_COMPARE_RESULTS Order = RtlpCompareNode(Table, Buffer, Node);
        *NodeOrParent = Node;
        if (Order == GenericEqual)
            return TableFoundNode;
        PNODE Child = Order == GenericLessThan ? Node->LeftChild : Node->RightChild;
        if (Child == NULL)
            return Order == GenericLessThan ? TableInsertAsLeft : TableInsertAsRight;
        Node = Child;
    }
}

static PNODE RtlpFirst(PRTL_AVL_TABLE Table)
{
    PNODE Node = Table->BalancedRoot.RightChild;
    while (Node != NULL && Node->LeftChild != NULL)
        Node = Node->LeftChild;
    return Node;
}

/* The sentinel is its own parent and has nothing to its left, so a climb that comes from the right ends
 * there. */
static PNODE RtlpSuccessor(PRTL_AVL_TABLE Table, PNODE Node)
{
    if (Node->RightChild != NULL) {
        for (Node = Node->RightChild; Node->LeftChild != NULL;)
            Node = Node->LeftChild;
        return Node;
    }
    while (Node->Parent != &Table->BalancedRoot && Node->Parent->RightChild == Node)
        Node = Node->Parent;
    return Node->Parent == &Table->BalancedRoot ? NULL : Node->Parent;
}

static PNODE RtlpPredecessor(PRTL_AVL_TABLE Table, PNODE Node)
{
    if (Node->LeftChild != NULL) {
        for (Node = Node->LeftChild; Node->RightChild != NULL;)
            Node = Node->RightChild;
        return Node;
    }
    while (Node->Parent != &Table->BalancedRoot && Node->Parent->LeftChild == Node)
        Node = Node->Parent;
    return Node->Parent == &Table->BalancedRoot ? NULL : Node->Parent;
}

static VOID RtlpReplaceChild(PNODE Parent, PNODE Old, PNODE New)
{
    if (Parent->LeftChild == Old)
        Parent->LeftChild = New;
    else
        Parent->RightChild = New;
    if (New != NULL)
        New->Parent = Parent;
}

/* Child, on the heavy side of Node, goes up. Links only; balances are the callers'. */
static VOID RtlpRotate(PNODE Node, PNODE Child)
{
    PNODE Moved;
    RtlpReplaceChild(Node->Parent, Node, Child);
    if (Node->LeftChild == Child) {
        Moved = Child->RightChild;
        Node->LeftChild = Moved;
        Child->RightChild = Node;
    } else {
        Moved = Child->LeftChild;
        Node->RightChild = Moved;
        Child->LeftChild = Node;
    }
    if (Moved != NULL)
        Moved->Parent = Node;
    Node->Parent = Child;
}

/* Node's side Side (-1 left, 1 right) is two higher than the other. Returns the root of the rotated subtree;
 * *Lower tells whether its height fell. */
static PNODE RtlpRebalance(PNODE Node, CHAR Side, BOOLEAN *Lower)
{
    PNODE Child = Side < 0 ? Node->LeftChild : Node->RightChild;
    if (Child->Balance != (CHAR)-Side) {
        RtlpRotate(Node, Child);
        *Lower = (BOOLEAN)(Child->Balance != 0);
        Node->Balance = (CHAR)(Child->Balance == 0 ? Side : 0);
        Child->Balance = (CHAR)(Child->Balance == 0 ? -Side : 0);
        return Child;
    }
    PNODE Middle = Side < 0 ? Child->RightChild : Child->LeftChild;
    RtlpRotate(Child, Middle);
    RtlpRotate(Node, Middle);
    Node->Balance = (CHAR)(Middle->Balance == Side ? -Side : 0);
    Child->Balance = (CHAR)(Middle->Balance == (CHAR)-Side ? Side : 0);
    Middle->Balance = 0;
    *Lower = TRUE;
    return Middle;
}

static VOID RtlpGrown(PRTL_AVL_TABLE Table, PNODE Node)
{
    while (Node->Parent != &Table->BalancedRoot) {
        PNODE Parent = Node->Parent;
        CHAR Side = Parent->LeftChild == Node ? -1 : 1;
        BOOLEAN Lower;
        if (Parent->Balance == Side) {
            RtlpRebalance(Parent, Side, &Lower);
            return;
        }
        Parent->Balance = (CHAR)(Parent->Balance + Side);
        if (Parent->Balance == 0)
            return;
        Node = Parent;
    }
    Table->DepthOfTree++;
}

/* The subtree on side Side of Node has become one lower. */
static VOID RtlpShrunk(PRTL_AVL_TABLE Table, PNODE Node, CHAR Side)
{
    while (Node != &Table->BalancedRoot) {
        PNODE Parent = Node->Parent;
        CHAR NextSide = Parent->LeftChild == Node ? -1 : 1;
        BOOLEAN Lower;
        if (Node->Balance == 0) {
            Node->Balance = (CHAR)-Side;
            return;
        }
        if (Node->Balance == Side) {
            Node->Balance = 0;
        } else {
            RtlpRebalance(Node, (CHAR)-Side, &Lower);
            if (!Lower)
                return;
        }
        Node = Parent;
        Side = NextSide;
    }
    Table->DepthOfTree--;
}

static VOID RtlpRemoveNode(PRTL_AVL_TABLE Table, PNODE Node)
{
    PNODE From;
    CHAR Side;
    if (Node->LeftChild != NULL && Node->RightChild != NULL) {
        /* The neighbour on the heavy side takes Node's place. */
        PNODE Stand = Node->Balance > 0 ? RtlpSuccessor(Table, Node) : RtlpPredecessor(Table, Node);
        From = Stand->Parent;
        Side = From->LeftChild == Stand ? -1 : 1;
        RtlpReplaceChild(From, Stand, Stand->LeftChild != NULL ? Stand->LeftChild : Stand->RightChild);
        if (From == Node)
            From = Stand;
        RtlpReplaceChild(Node->Parent, Node, Stand);
        Stand->LeftChild = Node->LeftChild;
        Stand->RightChild = Node->RightChild;
        Stand->Balance = Node->Balance;
        if (Stand->LeftChild != NULL)
            Stand->LeftChild->Parent = Stand;
        if (Stand->RightChild != NULL)
            Stand->RightChild->Parent = Stand;
    } else {
        From = Node->Parent;
        Side = From->LeftChild == Node ? -1 : 1;
        RtlpReplaceChild(From, Node, Node->LeftChild != NULL ? Node->LeftChild : Node->RightChild);
    }
    RtlpShrunk(Table, From, Side);
}

static VOID RtlpForgetOrder(PRTL_AVL_TABLE Table)
{
    Table->OrderedPointer = NULL;
    Table->WhichOrderedElement = 0;
}

PVOID RtlInsertElementGenericTableFullAvl(PRTL_AVL_TABLE Table, PVOID Buffer, CLONG BufferSize, PBOOLEAN NewElement,
                                          PVOID NodeOrParent, TABLE_SEARCH_RESULT SearchResult)
{
    PNODE Node = NodeOrParent;
    if (NewElement != NULL)
        *NewElement = FALSE;
    if (SearchResult == TableFoundNode)
        return RtlpUserData(Node);
    Node = RTLP_CALLOUT(PVOID, Table->AllocateRoutine, (PRTL_AVL_TABLE, CLONG),
                        (Table, BufferSize + (CLONG)sizeof(RTL_BALANCED_LINKS)));
    if (Node == NULL)
        return NULL;
    memset(Node, 0, sizeof(*Node));
    memcpy(RtlpUserData(Node), Buffer, BufferSize);
    Node->Parent = SearchResult == TableEmptyTree ? &Table->BalancedRoot : NodeOrParent;
    if (SearchResult == TableInsertAsLeft)
        Node->Parent->LeftChild = Node;
    else
        Node->Parent->RightChild = Node;
    Table->NumberGenericTableElements++;
    RtlpForgetOrder(Table);
    RtlpGrown(Table, Node);
    if (NewElement != NULL)
        *NewElement = TRUE;
    return RtlpUserData(Node);
}

PVOID RtlInsertElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer, CLONG BufferSize, PBOOLEAN NewElement)
{
    PNODE Node;
    TABLE_SEARCH_RESULT Result = RtlpFindNode(Table, Buffer, &Node);
    return RtlInsertElementGenericTableFullAvl(Table, Buffer, BufferSize, NewElement, Node, Result);
}

BOOLEAN RtlDeleteElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer)
{
    PNODE Node;
    if (RtlpFindNode(Table, Buffer, &Node) != TableFoundNode)
        return FALSE;
    if (Table->RestartKey == Node)
        Table->RestartKey = RtlpPredecessor(Table, Node);
    RtlpRemoveNode(Table, Node);
    Table->DeleteCount++;
    Table->NumberGenericTableElements--;
    RtlpForgetOrder(Table);
    RTLP_CALLOUT(VOID, Table->FreeRoutine, (PRTL_AVL_TABLE, PVOID), (Table, (PVOID)Node));
    return TRUE;
}

PVOID RtlLookupElementGenericTableFullAvl(PRTL_AVL_TABLE Table, PVOID Buffer, PVOID *NodeOrParent,
                                          TABLE_SEARCH_RESULT *SearchResult)
{
    PNODE Node;
    *SearchResult = RtlpFindNode(Table, Buffer, &Node);
    *NodeOrParent = Node;
    return *SearchResult == TableFoundNode ? RtlpUserData(Node) : NULL;
}

PVOID RtlLookupElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer)
{
    PNODE Node;
    return RtlpFindNode(Table, Buffer, &Node) == TableFoundNode ? RtlpUserData(Node) : NULL;
}

PVOID RtlLookupFirstMatchingElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer, PVOID *RestartKey)
{
    PNODE Node;
    *RestartKey = NULL;
    if (RtlpFindNode(Table, Buffer, &Node) != TableFoundNode)
        return NULL;
    /* A compare routine may call a whole range equal: the first of it. */
    for (PNODE Before = RtlpPredecessor(Table, Node); Before != NULL && RtlpCompareNode(Table, Buffer, Before) == GenericEqual;
         Before = RtlpPredecessor(Table, Before))
        Node = Before;
    *RestartKey = Node;
    return RtlpUserData(Node);
}

PVOID RtlEnumerateGenericTableAvl(PRTL_AVL_TABLE Table, BOOLEAN Restart)
{
    if (Restart)
        Table->RestartKey = NULL;
    PNODE Node = Table->RestartKey == NULL ? RtlpFirst(Table) : RtlpSuccessor(Table, Table->RestartKey);
    if (Node == NULL)
        return NULL; /* past the last; the key stays there, so the next call says so again */
    Table->RestartKey = Node;
    return RtlpUserData(Node);
}

PVOID RtlEnumerateGenericTableWithoutSplayingAvl(PRTL_AVL_TABLE Table, PVOID *RestartKey)
{
    PNODE Node = *RestartKey == NULL ? RtlpFirst(Table) : RtlpSuccessor(Table, *RestartKey);
    if (Node == NULL)
        return NULL;
    *RestartKey = Node;
    return RtlpUserData(Node);
}

PVOID RtlEnumerateGenericTableLikeADirectory(PRTL_AVL_TABLE Table, PRTL_AVL_MATCH_FUNCTION MatchFunction, PVOID MatchData,
                                             ULONG NextFlag, PVOID *RestartKey, PULONG DeleteCount, PVOID Buffer)
{
    PNODE Node = *RestartKey;
    if (Node == NULL || *DeleteCount != Table->DeleteCount) {
        /* No key, or one that may be gone: find the place by value. What comes after a missing value is
         * already "next". */
        TABLE_SEARCH_RESULT Result = RtlpFindNode(Table, Buffer, &Node);
        if (Result == TableFoundNode) {
            if (NextFlag)
                Node = RtlpSuccessor(Table, Node);
        } else if (Result == TableInsertAsRight) {
            Node = RtlpSuccessor(Table, Node);
        }
    } else if (NextFlag) {
        Node = RtlpSuccessor(Table, Node);
    }
    for (; Node != NULL; Node = RtlpSuccessor(Table, Node)) {
        NTSTATUS Status = MatchFunction == NULL ? STATUS_SUCCESS
                                                : RTLP_CALLOUT(NTSTATUS, MatchFunction, (PRTL_AVL_TABLE, PVOID, PVOID),
                                                               (Table, RtlpUserData(Node), MatchData));
        if (Status == STATUS_NO_MATCH)
            continue;
        if (!NT_SUCCESS(Status))
            return NULL;
        *RestartKey = Node;
        *DeleteCount = Table->DeleteCount;
        return RtlpUserData(Node);
    }
    return NULL;
}

PVOID RtlGetElementGenericTableAvl(PRTL_AVL_TABLE Table, ULONG I)
{
    if (I >= Table->NumberGenericTableElements)
        return NULL;
    PNODE Node = Table->OrderedPointer;
    ULONG Which = Table->WhichOrderedElement;
    if (Node == NULL) {
        Node = RtlpFirst(Table);
        Which = 0;
    }
    for (; Which < I; Which++)
        Node = RtlpSuccessor(Table, Node);
    for (; Which > I; Which--)
        Node = RtlpPredecessor(Table, Node);
    Table->OrderedPointer = Node;
    Table->WhichOrderedElement = I;
    return RtlpUserData(Node);
}

ULONG RtlNumberGenericTableElementsAvl(PRTL_AVL_TABLE Table)
{
    return Table->NumberGenericTableElements;
}

BOOLEAN RtlIsGenericTableEmptyAvl(PRTL_AVL_TABLE Table)
{
    return (BOOLEAN)(Table->NumberGenericTableElements == 0);
}

/* ---- the validator ---- */
static LONG RtlpCheckSubtree(PRTL_AVL_TABLE Table, PNODE Node, PNODE Parent, PULONG Count, const CHAR **Wrong)
{
    if (Node == NULL || *Wrong != NULL)
        return 0;
    if (Node->Parent != Parent)
        *Wrong = "(1) an element's Parent is not the element that has it as child";
    LONG Left = RtlpCheckSubtree(Table, Node->LeftChild, Node, Count, Wrong);
    LONG Right = RtlpCheckSubtree(Table, Node->RightChild, Node, Count, Wrong);
    if (*Wrong == NULL && (Right - Left != Node->Balance || Right - Left < -1 || Right - Left > 1))
        *Wrong = "(2) Balance is not the difference of the heights, or is beyond one";
    if (*Wrong == NULL && ((Node->LeftChild != NULL &&
                            RtlpCompareNode(Table, RtlpUserData(RtlpPredecessor(Table, Node)), Node) == GenericGreaterThan) ||
                           (Node->RightChild != NULL &&
                            RtlpCompareNode(Table, RtlpUserData(RtlpSuccessor(Table, Node)), Node) == GenericLessThan)))
        *Wrong = "(3) elements do not ascend in order";
    (*Count)++;
    return max(Left, Right) + 1;
}

const CHAR *RtlpValidateAvlTable(PRTL_AVL_TABLE Table)
{
    const CHAR *Wrong = NULL;
    ULONG Count = 0;
    LONG Depth = RtlpCheckSubtree(Table, Table->BalancedRoot.RightChild, &Table->BalancedRoot, &Count, &Wrong);
    if (Wrong == NULL && Count != Table->NumberGenericTableElements)
        Wrong = "(4) NumberGenericTableElements is not the number of elements";
    if (Wrong == NULL && (ULONG)Depth != Table->DepthOfTree)
        Wrong = "(2) DepthOfTree is not the height of the tree";
    PNODE Key = Table->RestartKey, Node = RtlpFirst(Table);
    while (Node != NULL && Node != Key)
        Node = RtlpSuccessor(Table, Node);
    if (Wrong == NULL && Key != NULL && Node == NULL)
        Wrong = "(5) RestartKey is not an element of the table";
    return Wrong;
}
