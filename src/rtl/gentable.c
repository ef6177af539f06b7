/*
 * gentable.c - RTL_GENERIC_TABLE: the generic table over splay links.
 *
 *   element:  RTL_SPLAY_LINKS 0x18 | LIST_ENTRY 0x10 (order of insertion) | the caller's bytes from 0x28
 *
 * Lookups splay what they find, so the caller serialises even those; the "WithoutSplaying" enumeration does
 * not move anything. OrderedPointer and WhichOrderedElement (counted from 1) remember the last element that
 * RtlGetElementGenericTable gave, so that a walk by index is linear in all. Invariants: those of splay.c; (3)
 * InsertOrderList has NumberGenericTableElements entries; (4) in order, elements ascend strictly.
 * SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

typedef struct _RTLP_TABLE_ENTRY {
    RTL_SPLAY_LINKS Links;
    LIST_ENTRY ListEntry;
    LONGLONG UserData; /* first of the caller's bytes */
} RTLP_TABLE_ENTRY, *PRTLP_TABLE_ENTRY;
C_ASSERT(offsetof(RTLP_TABLE_ENTRY, UserData) == 0x28);

static PVOID RtlpUserData(PVOID Links)
{
    return &((PRTLP_TABLE_ENTRY)Links)->UserData;
}

VOID RtlInitializeGenericTable(PRTL_GENERIC_TABLE Table, PRTL_GENERIC_COMPARE_ROUTINE CompareRoutine,
                               PRTL_GENERIC_ALLOCATE_ROUTINE AllocateRoutine, PRTL_GENERIC_FREE_ROUTINE FreeRoutine,
                               PVOID TableContext)
{
    memset(Table, 0, sizeof(*Table));
    InitializeListHead(&Table->InsertOrderList);
    Table->OrderedPointer = &Table->InsertOrderList;
    Table->CompareRoutine = CompareRoutine;
    Table->AllocateRoutine = AllocateRoutine;
    Table->FreeRoutine = FreeRoutine;
    Table->TableContext = TableContext;
}

static TABLE_SEARCH_RESULT RtlpFindNode(PRTL_GENERIC_TABLE Table, PVOID Buffer, PRTL_SPLAY_LINKS *NodeOrParent)
{
    PRTL_SPLAY_LINKS Node = Table->TableRoot;
    *NodeOrParent = NULL;
    if (Node == NULL)
        return TableEmptyTree;
    for (;;) {
        RTL_GENERIC_COMPARE_RESULTS Order =
            RTLP_CALLOUT(RTL_GENERIC_COMPARE_RESULTS, Table->CompareRoutine, (PRTL_GENERIC_TABLE, PVOID, PVOID),
                         (Table, Buffer, RtlpUserData(Node)));
        *NodeOrParent = Node;
        if (Order == GenericEqual)
            return TableFoundNode;
        PRTL_SPLAY_LINKS Child = Order == GenericLessThan ? Node->LeftChild : Node->RightChild;
        if (Child == NULL)
            return Order == GenericLessThan ? TableInsertAsLeft : TableInsertAsRight;
        Node = Child;
    }
}

PVOID RtlInsertElementGenericTableFull(PRTL_GENERIC_TABLE Table, PVOID Buffer, CLONG BufferSize, PBOOLEAN NewElement,
                                       PVOID NodeOrParent, TABLE_SEARCH_RESULT SearchResult)
{
    PRTL_SPLAY_LINKS Node = NodeOrParent;
    if (SearchResult != TableFoundNode) {
        PRTLP_TABLE_ENTRY Entry = RTLP_CALLOUT(PVOID, Table->AllocateRoutine, (PRTL_GENERIC_TABLE, CLONG),
                                               (Table, BufferSize + (CLONG)offsetof(RTLP_TABLE_ENTRY, UserData)));
        if (Entry == NULL) {
            if (NewElement != NULL)
                *NewElement = FALSE;
            return NULL;
        }
        Node = &Entry->Links;
        RtlInitializeSplayLinks(Node);
        InsertTailList(&Table->InsertOrderList, &Entry->ListEntry);
        Table->NumberGenericTableElements++;
        if (SearchResult == TableInsertAsLeft)
            RtlInsertAsLeftChild((PRTL_SPLAY_LINKS)NodeOrParent, Node);
        else if (SearchResult == TableInsertAsRight)
            RtlInsertAsRightChild((PRTL_SPLAY_LINKS)NodeOrParent, Node);
        memcpy(&Entry->UserData, Buffer, BufferSize);
    }
    Table->TableRoot = RtlSplay(Node);
    if (NewElement != NULL)
        *NewElement = (BOOLEAN)(SearchResult != TableFoundNode);
    return RtlpUserData(Node);
}

PVOID RtlInsertElementGenericTable(PRTL_GENERIC_TABLE Table, PVOID Buffer, CLONG BufferSize, PBOOLEAN NewElement)
{
    PRTL_SPLAY_LINKS Node;
    TABLE_SEARCH_RESULT Result = RtlpFindNode(Table, Buffer, &Node);
    return RtlInsertElementGenericTableFull(Table, Buffer, BufferSize, NewElement, Node, Result);
}

BOOLEAN RtlDeleteElementGenericTable(PRTL_GENERIC_TABLE Table, PVOID Buffer)
{
    PRTL_SPLAY_LINKS Node;
    if (RtlpFindNode(Table, Buffer, &Node) != TableFoundNode)
        return FALSE;
    Table->TableRoot = RtlDelete(Node);
    RemoveEntryList(&((PRTLP_TABLE_ENTRY)(PVOID)Node)->ListEntry);
    Table->NumberGenericTableElements--;
    Table->WhichOrderedElement = 0;
    Table->OrderedPointer = &Table->InsertOrderList;
    RTLP_CALLOUT(VOID, Table->FreeRoutine, (PRTL_GENERIC_TABLE, PVOID), (Table, (PVOID)Node));
    return TRUE;
}

PVOID RtlLookupElementGenericTableFull(PRTL_GENERIC_TABLE Table, PVOID Buffer, PVOID *NodeOrParent,
                                       TABLE_SEARCH_RESULT *SearchResult)
{
    PRTL_SPLAY_LINKS Node;
    *SearchResult = RtlpFindNode(Table, Buffer, &Node);
    *NodeOrParent = Node;
    /* Only what is found moves: the place of an insertion must still be free beside its parent. */
    if (*SearchResult != TableFoundNode)
        return NULL;
    Table->TableRoot = RtlSplay(Node);
    return RtlpUserData(Node);
}

PVOID RtlLookupElementGenericTable(PRTL_GENERIC_TABLE Table, PVOID Buffer)
{
    PVOID NodeOrParent;
    TABLE_SEARCH_RESULT Result;
    return RtlLookupElementGenericTableFull(Table, Buffer, &NodeOrParent, &Result);
}

static PRTL_SPLAY_LINKS RtlpFirst(PRTL_GENERIC_TABLE Table)
{
    PRTL_SPLAY_LINKS Node = Table->TableRoot;
    while (Node != NULL && Node->LeftChild != NULL)
        Node = Node->LeftChild;
    return Node;
}

PVOID RtlEnumerateGenericTable(PRTL_GENERIC_TABLE Table, BOOLEAN Restart)
{
    /* The root is where the enumeration stands: the element returned last was splayed there. */
    PRTL_SPLAY_LINKS Node = Table->TableRoot == NULL ? NULL : Restart ? RtlpFirst(Table) : RtlRealSuccessor(Table->TableRoot);
    if (Node == NULL)
        return NULL;
    Table->TableRoot = RtlSplay(Node);
    return RtlpUserData(Node);
}

PVOID RtlEnumerateGenericTableWithoutSplaying(PRTL_GENERIC_TABLE Table, PVOID *RestartKey)
{
    PRTL_SPLAY_LINKS Node = *RestartKey == NULL ? RtlpFirst(Table) : RtlRealSuccessor(*RestartKey);
    if (Node == NULL)
        return NULL;
    *RestartKey = Node;
    return RtlpUserData(Node);
}

PVOID RtlGetElementGenericTable(PRTL_GENERIC_TABLE Table, ULONG I)
{
    if (I >= Table->NumberGenericTableElements)
        return NULL;
    ULONG Wanted = I + 1; /* the list head is element 0 */
    while (Table->WhichOrderedElement < Wanted) {
        Table->OrderedPointer = Table->OrderedPointer->Flink;
        Table->WhichOrderedElement++;
    }
    while (Table->WhichOrderedElement > Wanted) {
        Table->OrderedPointer = Table->OrderedPointer->Blink;
        Table->WhichOrderedElement--;
    }
    return RtlpUserData(CONTAINING_RECORD(Table->OrderedPointer, RTLP_TABLE_ENTRY, ListEntry));
}

ULONG RtlNumberGenericTableElements(PRTL_GENERIC_TABLE Table)
{
    return Table->NumberGenericTableElements;
}

BOOLEAN RtlIsGenericTableEmpty(PRTL_GENERIC_TABLE Table)
{
    return (BOOLEAN)(Table->TableRoot == NULL);
}

const CHAR *RtlpValidateGenericTable(PRTL_GENERIC_TABLE Table)
{
    ULONG Count = 0;
    PRTL_SPLAY_LINKS Before = NULL;
    if (Table->TableRoot != NULL && Table->TableRoot->Parent != Table->TableRoot)
        return "(2) the root is not its own Parent";
    for (PRTL_SPLAY_LINKS Node = RtlpFirst(Table); Node != NULL; Before = Node, Node = RtlRealSuccessor(Node), Count++) {
        if ((Node->LeftChild != NULL && Node->LeftChild->Parent != Node) ||
            (Node->RightChild != NULL && Node->RightChild->Parent != Node))
            return "(1) an element's Parent is not the element that has it as child";
        if (Before != NULL &&
            RTLP_CALLOUT(RTL_GENERIC_COMPARE_RESULTS, Table->CompareRoutine, (PRTL_GENERIC_TABLE, PVOID, PVOID),
                         (Table, RtlpUserData(Before), RtlpUserData(Node))) != GenericLessThan)
            return "(4) elements do not ascend in order";
        if (Count > Table->NumberGenericTableElements)
            break;
    }
    if (Count != Table->NumberGenericTableElements)
        return "(3) NumberGenericTableElements is not the number of elements";
    for (PLIST_ENTRY Entry = Table->InsertOrderList.Flink; Entry != &Table->InsertOrderList && Count != MAXULONG;
         Entry = Entry->Flink)
        Count--;
    return Count != 0 ? "(3) InsertOrderList has another number of entries" : NULL;
}
