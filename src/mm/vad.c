/*
 * vad.c - what lies where in an address space: ranges, gaps, their records. SPDX-License-Identifier: MIT
 *
 * A range (MMVAD) is what one call took: an allocation, a view, a mapping of locked pages. The records of a space hang in a balanced
 * tree by address (src/rtl/avl.c; two ranges that overlap compare as equal, so one lookup finds whatever touches a stretch):
 *
 *      MI_SPACE.Vads:             [ 0x..120000 - 0x..130000 private ]
 *                                /                                    \
 *             [ 0x..010000 - 0x..011000 locked ]            [ 0x..200000 - 0x..300000 view of section S ]
 *
 * Which pages of a range are committed, and how they are protected, its page table entries alone say: zero is reserved, anything
 * else committed. So a fault needs no record, and the records need no fault.
 *
 * Records lie in frames of their own, reached through the window: they never fault, and are there before the pools. Each
 * such frame counts its records in use and goes back with the last.
 *
 *      frame: | MI_VAD_FRAME: links, used, free list | node | node | ...      node: RTL_BALANCED_LINKS, MMVAD
 *
 * Gaps are found upwards from Hint, below which no piece of MI_GRANULARITY is free, or downwards from the top.
 *
 * Invariants (MiValidateVads quotes the numbers):
 *   V1  Ranges ascend, do not overlap, are whole pages, and lie between the slice's edges.
 *   V2  Below Hint no MI_GRANULARITY-aligned piece of that size is free.
 *   V3  VirtualBytes is the sum of the ranges' bytes (A3).
 *   V4  The tree is an AVL tree (src/rtl/avl.c).
 * Locks: MI_SPACE.Lock; SpaceLock for the frames of records.
 */
#include "mm/mi.h"
#include "rtl/rtlp.h"

typedef struct _MI_VAD_NODE {
    union {
        RTL_BALANCED_LINKS Links;
        struct _MI_VAD_NODE *NextFree;
    };
    MMVAD Vad;
} MI_VAD_NODE, *PMI_VAD_NODE;
C_ASSERT(offsetof(MI_VAD_NODE, Vad) == sizeof(RTL_BALANCED_LINKS));

typedef struct _MI_VAD_FRAME {
    LIST_ENTRY Links; /* MiState->VadFrames: frames with a free node */
    PMI_VAD_NODE Free;
    ULONG Used;
} MI_VAD_FRAME, *PMI_VAD_FRAME;
#define MI_VADS_PER_FRAME ((PAGE_SIZE - sizeof(MI_VAD_FRAME)) / sizeof(MI_VAD_NODE))

/* ---- records ---- */
static PMI_VAD_NODE MiTakeNode(VOID)
{
    PFN_NUMBER Page;
    BOOLEAN Dirty;
    PMI_VAD_NODE Node;
    for (;;) {
        KiAcquireLock(&MiState->SpaceLock);
        if (MiState->VadFrames.Flink != &MiState->VadFrames) {
            PMI_VAD_FRAME Frame = CONTAINING_RECORD(MiState->VadFrames.Flink, MI_VAD_FRAME, Links);
            Node = Frame->Free;
            Frame->Free = Node->NextFree;
            Frame->Used++;
            if (Frame->Free == NULL) {
                RemoveEntryList(&Frame->Links);
            }
            KiReleaseLock(&MiState->SpaceLock);
            return Node;
        }
        KiReleaseLock(&MiState->SpaceLock);
        if (!MiChargeCommitment(1, HighPoolPriority)) {
            return NULL;
        }
        if (MiTakeFrames(1, 0, NULL, &Page, &Dirty) == 0) {
            MiReturnCommitment(1);
            return NULL;
        }
        PMI_VAD_FRAME New = (PMI_VAD_FRAME)HalWindow(Page);
        PMI_VAD_NODE Nodes = (PMI_VAD_NODE)(New + 1);
        New->Used = 0;
        New->Free = NULL;
        for (ULONG Index = MI_VADS_PER_FRAME; Index-- > 0;) {
            Nodes[Index].NextFree = New->Free;
            New->Free = &Nodes[Index];
        }
        KiAcquireLock(&MiState->SpaceLock);
        InsertHeadList(&MiState->VadFrames, &New->Links);
        KiReleaseLock(&MiState->SpaceLock);
    }
}

static VOID MiGiveNode(PMI_VAD_NODE Node)
{
    PMI_VAD_FRAME Frame = (PMI_VAD_FRAME)PAGE_ALIGN(Node);
    KiAcquireLock(&MiState->SpaceLock);
    if (Frame->Free == NULL) {
        InsertHeadList(&MiState->VadFrames, &Frame->Links);
    }
    Node->NextFree = Frame->Free;
    Frame->Free = Node;
    BOOLEAN Empty = --Frame->Used == 0;
    if (Empty) {
        RemoveEntryList(&Frame->Links);
    }
    KiReleaseLock(&MiState->SpaceLock);
    if (Empty) {
        MiReturnCommitment(MiReleaseFrames(HalWindowPage(Frame), 1));
    }
}

/* ---- the tree ---- */
static RTL_GENERIC_COMPARE_RESULTS MiCompareVads(PRTL_AVL_TABLE Table, PVOID First, PVOID Second)
{
    const MMVAD *A = First, *B = Second;
    UNREFERENCED_PARAMETER(Table);
    return A->End <= B->Start ? GenericLessThan : A->Start >= B->End ? GenericGreaterThan : GenericEqual;
}
static PVOID MiNodeForTable(PRTL_AVL_TABLE Table, CLONG Bytes)
{
    UNREFERENCED_PARAMETER(Bytes);
    return ((PMI_SPACE)Table->TableContext)->NewVad;
}
static VOID MiNodeOfTable(PRTL_AVL_TABLE Table, PVOID Node)
{
    UNREFERENCED_PARAMETER(Table);
    MiGiveNode(Node);
}

VOID MiInitializeVads(PMI_SPACE Space)
{
    RtlInitializeGenericTableAvl(&Space->Vads, MiCompareVads, MiNodeForTable, MiNodeOfTable, Space);
}

static PMMVAD MiVadOf(PRTL_BALANCED_LINKS Links)
{
    return Links ? &CONTAINING_RECORD(Links, MI_VAD_NODE, Links)->Vad : NULL;
}

PMMVAD MiFirstVadIn(PMI_SPACE Space, ULONG_PTR Start, ULONG_PTR End)
{
    PMMVAD Best = NULL;
    for (PRTL_BALANCED_LINKS Links = Space->Vads.BalancedRoot.RightChild; Links;) {
        PMMVAD Vad = MiVadOf(Links);
        if (Vad->End <= Start) {
            Links = Links->RightChild;
        } else {
            Best = Vad->Start < End ? Vad : Best;
            Links = Links->LeftChild;
        }
    }
    return Best;
}

PMMVAD MiFindVad(PMI_SPACE Space, ULONG_PTR Va)
{
    return MiFirstVadIn(Space, Va, Va + 1);
}

PMMVAD MiNextVad(PMI_SPACE Space, PMMVAD Vad)
{
    PRTL_BALANCED_LINKS Links = &CONTAINING_RECORD(Vad, MI_VAD_NODE, Vad)->Links;
    if (Links->RightChild) {
        for (Links = Links->RightChild; Links->LeftChild; Links = Links->LeftChild) {
        }
        return MiVadOf(Links);
    }
    while (Links->Parent != &Space->Vads.BalancedRoot && Links->Parent->RightChild == Links) {
        Links = Links->Parent;
    }
    return Links->Parent == &Space->Vads.BalancedRoot ? NULL : MiVadOf(Links->Parent);
}

/* The range before the address: the highest that begins below it. */
static PMMVAD MiVadBelow(PMI_SPACE Space, ULONG_PTR Va)
{
    PMMVAD Best = NULL;
    for (PRTL_BALANCED_LINKS Links = Space->Vads.BalancedRoot.RightChild; Links;) {
        PMMVAD Vad = MiVadOf(Links);
        if (Vad->Start < Va) {
            Best = Vad;
            Links = Links->RightChild;
        } else {
            Links = Links->LeftChild;
        }
    }
    return Best;
}

static ULONG_PTR MiAlignUp(ULONG_PTR Va, ULONG64 Alignment)
{
    return (Va + Alignment - 1) & ~(Alignment - 1);
}

static ULONG_PTR MiFindGapDown(PMI_SPACE Space, ULONG64 Bytes, ULONG64 Alignment, ULONG_PTR Low, ULONG_PTR High)
{
    for (ULONG_PTR Top = High;;) {
        PMMVAD Below = MiVadBelow(Space, Top);
        ULONG_PTR Floor = Below && Below->End > Low ? Below->End : Low;
        if (Top > Floor && Top - Floor >= Bytes) {
            ULONG_PTR At = (Top - Bytes) & ~(Alignment - 1);
            if (At >= Floor) {
                return At;
            }
        }
        if (Below == NULL || Below->Start <= Low) {
            return 0;
        }
        Top = Below->Start;
    }
}

ULONG_PTR MiFindGap(PMI_SPACE Space, ULONG64 Bytes, ULONG64 Alignment, ULONG_PTR Low, ULONG_PTR High, BOOLEAN TopDown)
{
    ULONG_PTR Bottom = Space->Hal.Low + MI_SPACE_EDGE, Ceiling = Space->Hal.High - MI_SPACE_EDGE;
    Low = Low < Bottom ? Bottom : Low;
    High = High > Ceiling ? Ceiling : High;
    if (Bytes == 0 || Low >= High || High - Low < Bytes) {
        return 0;
    }
    if (TopDown) {
        return MiFindGapDown(Space, Bytes, Alignment, Low, High);
    }
    BOOLEAN FromHint = Low <= Space->Hint, Smallest = Bytes <= MI_GRANULARITY && Alignment == MI_GRANULARITY;
    ULONG_PTR At = MiAlignUp(FromHint ? Space->Hint : Low, Alignment);
    for (PMMVAD Vad = MiFirstVadIn(Space, At, High); Vad && Vad->Start < At + Bytes; Vad = MiNextVad(Space, Vad)) {
        At = Vad->End > At ? MiAlignUp(Vad->End, Alignment) : At;
    }
    if (At >= High || High - At < Bytes) {
        return 0;
    }
    if (FromHint && Smallest) {
        Space->Hint = At;
    }
    return At;
}

PMMVAD MiInsertVad(PMI_SPACE Space, const MMVAD *Like)
{
    BOOLEAN New;
    MMVAD Value = *Like;
    Space->NewVad = MiTakeNode();
    if (Space->NewVad == NULL) {
        return NULL;
    }
    PMMVAD Vad = RtlInsertElementGenericTableAvl(&Space->Vads, &Value, sizeof(Value), &New);
    NT_ASSERT(New);
    InitializeListHead(&Vad->Secures);
    KiMarkWritten(Vad->Start, Vad->End - Vad->Start);
    MiChargeSpace(Space, (LONG64)(Vad->End - Vad->Start), 0);
    return Vad;
}

VOID MiRemoveVad(PMI_SPACE Space, PMMVAD Vad)
{
    MMVAD Key = *Vad;
    ULONG_PTR Piece = Key.Start & ~(MI_GRANULARITY - 1);
    MiChargeSpace(Space, -(LONG64)(Key.End - Key.Start), 0);
    Space->Hint =
        Piece < Space->Hint ? (Piece < Space->Hal.Low + MI_SPACE_EDGE ? Space->Hal.Low + MI_SPACE_EDGE : Piece) : Space->Hint;
    (VOID) RtlDeleteElementGenericTableAvl(&Space->Vads, &Key);
}

/* ---- mappings of others' frames ---- */
NTSTATUS MiReserveUserMapping(SIZE_T Pages, PVOID Requested, ULONG_PTR *Result)
{
    PMI_SPACE Space = MiCurrentSpace();
    ULONG_PTR Va = (ULONG_PTR)Requested;
    ULONG64 Bytes = (ULONG64)Pages << PAGE_SHIFT;
    NTSTATUS Status = STATUS_SUCCESS;
    *Result = 0;
    if (Space == NULL || Bytes > Space->Hal.High - Space->Hal.Low) {
        return STATUS_NO_MEMORY;
    }
    MiLockSpace(Space);
    if (Space->Dying) {
        Status = STATUS_PROCESS_IS_TERMINATING;
    } else if (Va) {
        if ((Va & (PAGE_SIZE - 1)) || Va < Space->Hal.Low + MI_SPACE_EDGE || Va > Space->Hal.High - MI_SPACE_EDGE ||
            Bytes > Space->Hal.High - MI_SPACE_EDGE - Va || MiFirstVadIn(Space, Va, Va + Bytes)) {
            Status = STATUS_CONFLICTING_ADDRESSES;
        }
    } else {
        Va = MiFindGap(Space, Bytes, MI_GRANULARITY, Space->Hal.Low, Space->Hal.High, FALSE);
        Status = Va ? STATUS_SUCCESS : STATUS_NO_MEMORY;
    }
    if (NT_SUCCESS(Status)) {
        MMVAD Like = {.Start = Va, .End = Va + Bytes, .Type = MiVadLocked, .Protect = PAGE_READWRITE};
        PMMVAD Vad = MiInsertVad(Space, &Like);
        if (Vad && !MiMakePageTables(Va, Pages)) {
            MiRemoveVad(Space, Vad);
            Vad = NULL;
        }
        Status = Vad ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
    }
    MiUnlockSpace(Space);
    if (!NT_SUCCESS(Status)) {
        MiCount(&MiState->Regions[MmRegionUser].Failures);
        return Status;
    }
    MiChargeRegion(&MiState->Regions[MmRegionUser], Pages);
    *Result = Va;
    return STATUS_SUCCESS;
}

BOOLEAN MiIsUserMapping(ULONG_PTR Va, SIZE_T Pages)
{
    PMI_SPACE Space = MiSpaceOfVa(Va);
    if (Space == NULL) {
        return FALSE;
    }
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Va);
    BOOLEAN Exact =
        Vad && Vad->Type == MiVadLocked && !Vad->Physical && Vad->Start == Va && Vad->End == Va + (Pages << PAGE_SHIFT);
    MiUnlockSpace(Space);
    return Exact;
}

VOID MiReleaseUserMapping(ULONG_PTR Va, SIZE_T Pages)
{
    PMI_SPACE Space = MiSpaceOfVa(Va);
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Va);
    if (Vad) {
        MiRemoveVad(Space, Vad);
    }
    MiUnlockSpace(Space);
    MiReturnRegion(&MiState->Regions[MmRegionUser], Pages);
}

/* ---- private pages for the layers above ---- */
PVOID MmAllocateUserPages(SIZE_T Pages, ULONG Protect)
{
    MI_PROT Protection = MiMakeProtection(Protect);
    PMI_SPACE Space = MiCurrentSpace();
    MI_REGION *Region = &MiState->Regions[MmRegionUser];
    ULONG_PTR Va = 0;
    if (Protection == MI_PROT_INVALID || MiProtIsCopyOnWrite(Protection) || Space == NULL || Pages == 0 ||
        Pages > (Space->Hal.High - Space->Hal.Low) >> PAGE_SHIFT) {
        return NULL;
    }
    MiLockSpace(Space);
    if (!Space->Dying) {
        Va = MiFindGap(Space, Pages << PAGE_SHIFT, MI_GRANULARITY, Space->Hal.Low, Space->Hal.High, FALSE);
    }
    if (Va) {
        MMVAD Like = {.Start = Va, .End = Va + (Pages << PAGE_SHIFT), .Type = MiVadPrivate, .Protect = Protect};
        PMMVAD Vad = MiInsertVad(Space, &Like);
        if (Vad == NULL || !NT_SUCCESS(MiCommit(Region, Va, Pages, Protection, 0, NormalPoolPriority))) {
            if (Vad) {
                MiRemoveVad(Space, Vad);
            }
            Va = 0;
        } else {
            MiChargeSpace(Space, 0, (LONG64)Pages);
        }
    }
    MiUnlockSpace(Space);
    if (Va == 0) {
        MiCount(&Region->Failures);
    }
    return (PVOID)Va;
}

VOID MmFreeUserPages(PVOID Address, SIZE_T Pages)
{
    ULONG_PTR Va = (ULONG_PTR)Address;
    PMI_SPACE Space = MiSpaceOfVa(Va);
    PMMVAD Vad = NULL;
    SIZE_T Actual = 0;
    if (Space) {
        MiLockSpace(Space);
        Vad = MiFindVad(Space, Va);
        Actual = Vad && Vad->Start == Va && Vad->Type == MiVadPrivate ? (Vad->End - Vad->Start) >> PAGE_SHIFT : 0;
        if (Actual == Pages && Pages) {
            MiFreeVadPages(Space, Vad);
            MiRemoveVad(Space, Vad);
        }
        MiUnlockSpace(Space);
    }
    if (Actual != Pages || Pages == 0) {
        KiStop(MEMORY_MANAGEMENT, "Pages were freed that are not exactly one allocated run of pages.", NULL, 0x5305, Va,
               Actual << PAGE_SHIFT, 0);
    }
}

/* How many pages of a stretch have an entry: are committed, or show something. */
ULONG64 MiCountUsedEntries(ULONG_PTR Start, ULONG_PTR End)
{
    ULONG64 Used = 0;
    for (ULONG_PTR At = Start; At < End;) {
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At);
        for (ULONG Index = 0; Index < Piece && At < End; Index++, At += PAGE_SIZE) {
            Used += Pte && !MiPteIsZero(MiReadPte(Pte + Index));
        }
    }
    return Used;
}

VOID MiFreeVadPages(PMI_SPACE Space, PMMVAD Vad)
{
    SIZE_T Pages = (Vad->End - Vad->Start) >> PAGE_SHIFT;
    MiUnlockVadPages(Space, Vad, Vad->Start, Vad->End);
    MiDropSecures(Vad);
    if (Vad->Type == MiVadView) {
        MiFreeView(Space, Vad);
        return;
    }
    if (Vad->Type == MiVadLocked) {
        MiUnmapFrames(Vad->Start, Pages);
        MiReturnRegion(&MiState->Regions[MmRegionUser], Pages);
        return;
    }
    MiChargeSpace(Space, 0, -(LONG64)MiCountUsedEntries(Vad->Start, Vad->End));
    MiDecommit(&MiState->Regions[MmRegionUser], Vad->Start, Pages);
    MiForgetWatch(Space, Vad);
}

VOID MiRemoveAllVads(PMI_SPACE Space)
{
    for (;;) {
        MiLockSpace(Space);
        PMMVAD Vad = MiFirstVadIn(Space, Space->Hal.Low, Space->Hal.High);
        if (Vad) {
            MiFreeVadPages(Space, Vad);
            MiRemoveVad(Space, Vad);
        }
        MiUnlockSpace(Space);
        if (Vad == NULL) {
            return;
        }
    }
}

const CHAR *MiValidateVads(PMI_SPACE Space)
{
    ULONG_PTR Bottom = Space->Hal.Low + MI_SPACE_EDGE, Ceiling = Space->Hal.High - MI_SPACE_EDGE, Before = Bottom;
    ULONG64 Bytes = 0;
    const CHAR *Broken;
    MiLockSpace(Space);
    Broken = RtlpValidateAvlTable(&Space->Vads);
    for (PMMVAD Vad = MiFirstVadIn(Space, Space->Hal.Low, Space->Hal.High); Vad && !Broken; Vad = MiNextVad(Space, Vad)) {
        if (Vad->Start < Before || Vad->End <= Vad->Start || Vad->End > Ceiling ||
            ((Vad->Start | Vad->End) & (PAGE_SIZE - 1))) {
            Broken = "V1: ranges overlap, or lie outside their slice";
        }
        ULONG_PTR Free = MiAlignUp(Before, MI_GRANULARITY);
        if (Free < Space->Hint && Free + MI_GRANULARITY <= Vad->Start && Free + MI_GRANULARITY <= Space->Hint) {
            Broken = "V2: a free piece lies below the hint";
        }
        Before = Vad->End;
        Bytes += Vad->End - Vad->Start;
    }
    if (!Broken && MiAlignUp(Before, MI_GRANULARITY) < Space->Hint) {
        Broken = "V2: a free piece lies below the hint";
    }
    if (!Broken && Bytes != __atomic_load_n(&Space->VirtualBytes, __ATOMIC_RELAXED)) {
        Broken = "V3: the bytes of the ranges do not add up";
    }
    MiUnlockSpace(Space);
    return Broken;
}
