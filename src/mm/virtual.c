/*
 * virtual.c - reserving, committing, decommitting and releasing ranges of an address space. SPDX-License-Identifier: MIT
 *
 * The work of ZwAllocateVirtualMemory(Ex) and ZwFreeVirtualMemory. A range is reserved (a MMVAD), its pages are committed one by one
 * (an entry each, demand zero at first):
 *
 *      free --RESERVE--> reserved --COMMIT--> committed --DECOMMIT--> reserved --RELEASE--> free
 *
 * Committing a committed page changes its protection and nothing else. Large pages (MEM_LARGE_PAGES) are runs of 512 contiguous
 * frames, there from the start to the end, and not pageable; their entries are small ones.
 *
 * MEM_RESET is discard.c's, MEM_WRITE_WATCH watch.c's; placeholders, which are split and joined, are placeholder.c's.
 *
 * Everything is checked before anything is changed. A commit that fails half way leaves what was committed before it; pages that it
 * committed itself go back.
 *
 * Statuses where several would do are in docs/CHOICES.md.
 * Locks: MI_SPACE.Lock around each service. Watch: tests/ddi/ZwAllocateVirtualMemory.c.
 */
#include "mm/mi.h"
#include "mm/vm.h"

#define MI_LARGE_PAGE 0x200000ull

/* A request's base and size: whole pages within the user range. Index: the number of the size's parameter for its status. */
NTSTATUS MiCheckRange(PVOID Base, SIZE_T Size, NTSTATUS BadBase, NTSTATUS BadSize)
{
    ULONG_PTR Va = (ULONG_PTR)Base, Top = (ULONG_PTR)MmHighestUserAddress;
    if (Va > Top) {
        return BadBase;
    }
    return Size == 0 || Top - Va < Size - 1 ? BadSize : STATUS_SUCCESS;
}

static BOOLEAN MiIsSecured(PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End)
{
    for (PLIST_ENTRY Entry = Vad->Secures.Flink; Entry != &Vad->Secures; Entry = Entry->Flink) {
        PMI_SECURE Secure = CONTAINING_RECORD(Entry, MI_SECURE, Link);
        if (Secure->Start < End && Start < Secure->End) {
            return TRUE;
        }
    }
    return FALSE;
}

/* ---- committing ---- */
/* The next stretch of [At, End) whose pages are all committed, or all not. */
static ULONG_PTR MiStretch(ULONG_PTR At, ULONG_PTR End, BOOLEAN *Committed)
{
    ULONG_PTR Start = At;
    while (At < End) {
        PMMPTE Pte = MiPteOf(At);
        ULONG Piece = MiEntriesToTableEnd(At);
        for (ULONG Index = 0; Index < Piece && At < End; Index++, At += PAGE_SIZE) {
            BOOLEAN Used = Pte && !MiPteIsZero(MiReadPte(Pte + Index));
            if (At == Start) {
                *Committed = Used;
            } else if (Used != *Committed) {
                return At;
            }
        }
    }
    return End;
}

static NTSTATUS MiCommitPrivate(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG Protect)
{
    MI_REGION *Region = &MiState->Regions[MmRegionUser];
    MI_PROT Protection = MiMakeProtection(Protect);
    ULONG64 Needed = ((End - Start) >> PAGE_SHIFT) - MiCountUsedEntries(Start, End);
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG_PTR At, Next;
    BOOLEAN Committed = FALSE;
    if (Space->CommitLimit && Space->CommittedPages + Needed > Space->CommitLimit) {
        return STATUS_COMMITMENT_LIMIT;
    }
    for (At = Start; At < End && NT_SUCCESS(Status); At = Next) {
        Next = MiStretch(At, End, &Committed);
        if (Committed) {
            Status = MmProtectPages((PVOID)At, (Next - At) >> PAGE_SHIFT, Protect);
        } else {
            Status =
                MiCommit(Region, At, (Next - At) >> PAGE_SHIFT, Protection, (ULONG)Vad->NodePlusOne << 16, NormalPoolPriority);
            if (NT_SUCCESS(Status)) {
                MiChargeSpace(Space, 0, (LONG64)((Next - At) >> PAGE_SHIFT));
            } else {
                break;
            }
        }
    }
    return Status;
}

/* A large page of the node wanted, or the nearest that has one. */
static BOOLEAN MiTakeLarge(ULONG Node, PFN_NUMBER *Base, BOOLEAN *Dirty)
{
    for (ULONG Turn = 0; Turn < MiState->Nodes; Turn++) {
        PFN_NUMBER First = 0, Last = MiState->HighestPage;
        /* 512 frames that do not cross a multiple of 512 are such a multiple */
        if (MiClipToNode(MiState->Node[Node].Order[Turn], &First, &Last) &&
            MiTakeContiguous(512, First, Last, 512, Base, Dirty)) {
            return TRUE;
        }
    }
    return MiState->Nodes > 1 && MiTakeContiguous(512, 0, MiState->HighestPage, 512, Base, Dirty);
}

static NTSTATUS MiCommitLarge(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, ULONG Protect)
{
    MI_PROT Protection = MiMakeProtection(Protect);
    SIZE_T Pages = (End - Start) >> PAGE_SHIFT;
    ULONG_PTR At;
    if (!MiChargeCommitment(Pages, NormalPoolPriority)) {
        return STATUS_COMMITMENT_LIMIT;
    }
    if (!MiMakePageTables(Start, Pages)) {
        MiReturnCommitment(Pages);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    for (At = Start; At < End; At += MI_LARGE_PAGE) {
        PFN_NUMBER Base;
        BOOLEAN Dirty;
        PMMPTE Pte = MiPteOf(At);
        if (!MiTakeLarge(Vad->NodePlusOne ? Vad->NodePlusOne - 1u : MiCurrentNode(), &Base, &Dirty)) {
            break;
        }
        if (Dirty) {
            HalZeroPages(Base, 512);
        }
        MiCountEntries(Pte, 512);
        for (ULONG Index = 0; Index < 512; Index++) {
            MiWritePte(Pte + Index, MiPteValid(Base + Index, Protection, TRUE));
        }
    }
    SIZE_T Done = (At - Start) >> PAGE_SHIFT;
    MiChargeRegion(&MiState->Regions[MmRegionUser], Done);
    MiChargeSpace(Space, 0, (LONG64)Done);
    if (Done == Pages) {
        return STATUS_SUCCESS;
    }
    MiReturnCommitment(Pages - Done);
    return STATUS_INSUFFICIENT_RESOURCES; /* the caller removes the range */
}

static NTSTATUS MiReserve(PMI_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Type, ULONG Protect,
                          const MM_ADDRESS_LIMITS *Limits)
{
    BOOLEAN Large = (Type & MEM_LARGE_PAGES) != 0;
    ULONG64 Alignment = Limits->Alignment ? Limits->Alignment : Large ? MI_LARGE_PAGE : MI_GRANULARITY;
    ULONG_PTR Start, End, Va = (ULONG_PTR)*Base;
    if (Va) {
        Start = Va & ~(MI_GRANULARITY - 1);
        End = (Va + *Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
        if (Start < Space->Hal.Low + MI_SPACE_EDGE || End > Space->Hal.High - MI_SPACE_EDGE ||
            MiFirstVadIn(Space, Start, End) || (Large && (Start & (MI_LARGE_PAGE - 1)))) {
            return STATUS_CONFLICTING_ADDRESSES;
        }
    } else {
        ULONG64 Bytes = (*Size + PAGE_SIZE - 1) & ~(ULONG64)(PAGE_SIZE - 1);
        Start = MiFindGap(Space, Bytes, Alignment, Limits->Lowest, Limits->Highest ? Limits->Highest + 1 : Space->Hal.High,
                          (Type & MEM_TOP_DOWN) != 0);
        End = Start + Bytes;
        if (Start == 0) {
            return STATUS_NO_MEMORY;
        }
    }
    MMVAD Like = {.Start = Start,
                  .End = End,
                  .Type = MiVadPrivate,
                  .Protect = Protect,
                  .LargePages = Large,
                  .Placeholder = (Type & MEM_RESERVE_PLACEHOLDER) != 0,
                  .NodePlusOne = (UCHAR)Limits->NodePlusOne};
    PMMVAD Vad = MiInsertVad(Space, &Like);
    if (Vad == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    NTSTATUS Status = STATUS_SUCCESS;
    if ((Type & MEM_WRITE_WATCH) && !MiWatchRange(Space, Vad)) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    } else if (Large) {
        Status = MiCommitLarge(Space, Vad, Start, End, Protect);
    } else if (Type & MEM_COMMIT) {
        Status = MiCommitPrivate(Space, Vad, Start, End, Protect);
    }
    if (!NT_SUCCESS(Status)) {
        MiFreeVadPages(Space, Vad);
        MiRemoveVad(Space, Vad);
        return Status;
    }
    *Base = (PVOID)Start;
    *Size = End - Start;
    return STATUS_SUCCESS;
}

static NTSTATUS MiCommitIn(PMI_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Protect)
{
    ULONG_PTR Start = (ULONG_PTR)*Base & ~(ULONG_PTR)(PAGE_SIZE - 1);
    ULONG_PTR End = ((ULONG_PTR)*Base + *Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    PMMVAD Vad = MiFindVad(Space, Start);
    if (Vad == NULL || Vad->End < End || Vad->Type == MiVadLocked || Vad->Placeholder) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    NTSTATUS Status;
    if (Vad->Type == MiVadView) {
        Status = MiCommitView(Space, Vad, Start, End, Protect);
    } else if (Vad->LargePages || Vad->NoChange || MiIsSecured(Vad, Start, End)) {
        Status = Vad->LargePages ? STATUS_SUCCESS : STATUS_INVALID_PAGE_PROTECTION;
    } else {
        Status = MiCommitPrivate(Space, Vad, Start, End, Protect);
    }
    if (NT_SUCCESS(Status)) {
        *Base = (PVOID)Start;
        *Size = End - Start;
    }
    return Status;
}

/* Of the two documented results of an undo, "some data was replaced by zeroes" has no status in the documents. */
static NTSTATUS MiReset(PMI_SPACE Space, PVOID *Base, SIZE_T *Size, BOOLEAN Undo)
{
    ULONG_PTR Start = (ULONG_PTR)*Base & ~(ULONG_PTR)(PAGE_SIZE - 1);
    ULONG_PTR End = ((ULONG_PTR)*Base + *Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    PMMVAD Vad = MiFindVad(Space, Start);
    if (Vad == NULL || Vad->End < End || Vad->Type != MiVadPrivate) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    if (MiCountUsedEntries(Start, End) != (End - Start) >> PAGE_SHIFT) {
        return STATUS_NOT_COMMITTED;
    }
    if (Undo) {
        if (!MiUndoReset(Start, (End - Start) >> PAGE_SHIFT)) {
            return STATUS_UNSUCCESSFUL;
        }
    } else if (!Vad->LargePages) {
        MiResetPages(Start, (End - Start) >> PAGE_SHIFT);
    }
    *Base = (PVOID)Start;
    *Size = End - Start;
    return STATUS_SUCCESS;
}

/* A private range in place of a placeholder of exactly this size. */
static NTSTATUS MiReplacePlaceholder(PMI_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Type, ULONG Protect)
{
    ULONG_PTR Start = (ULONG_PTR)*Base, End = Start + *Size;
    PMMVAD Vad = MiFindVad(Space, Start);
    if (Vad == NULL || !Vad->Placeholder || Vad->Start != Start || Vad->End != End) {
        return STATUS_CONFLICTING_ADDRESSES;
    }
    Vad->Placeholder = FALSE;
    Vad->FromPlaceholder = TRUE;
    Vad->Protect = Protect;
    NTSTATUS Status = STATUS_SUCCESS;
    if ((Type & MEM_WRITE_WATCH) && !MiWatchRange(Space, Vad)) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
    } else if (Type & MEM_COMMIT) {
        Status = MiCommitPrivate(Space, Vad, Start, End, Protect);
    }
    if (!NT_SUCCESS(Status)) {
        MiFreeVadPages(Space, Vad);
        MiBecomePlaceholder(Vad);
    }
    return Status;
}

NTSTATUS MmAllocateVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Type, ULONG Protect,
                           const MM_ADDRESS_LIMITS *Limits)
{
    static const MM_ADDRESS_LIMITS Anywhere;
    const ULONG Reset = MEM_RESET | MEM_RESET_UNDO, Main = Type & (MEM_COMMIT | MEM_RESERVE | Reset);
    const ULONG Known = MEM_COMMIT | MEM_RESERVE | Reset | MEM_TOP_DOWN | MEM_LARGE_PAGES | MEM_WRITE_WATCH | MEM_PHYSICAL |
                        MEM_RESERVE_PLACEHOLDER | MEM_REPLACE_PLACEHOLDER;
    Limits = Limits ? Limits : &Anywhere;
    if (Main == 0 || (Type & ~Known) || ((Main & Reset) && (Main & (Main - 1))) || ((Main & Reset) && (Type & ~Reset)) ||
        ((Type & MEM_LARGE_PAGES) && Main != (MEM_COMMIT | MEM_RESERVE)) ||
        ((Type & (MEM_PHYSICAL | MEM_REPLACE_PLACEHOLDER)) && !(Type & MEM_RESERVE)) ||
        ((Type & MEM_WRITE_WATCH) && (Type & MEM_LARGE_PAGES || !(Type & MEM_RESERVE))) ||
        ((Type & MEM_RESERVE_PLACEHOLDER) && (Type & ~(MEM_RESERVE | MEM_RESERVE_PLACEHOLDER | MEM_TOP_DOWN))) ||
        ((Type & MEM_REPLACE_PLACEHOLDER) && (Type & (MEM_LARGE_PAGES | MEM_TOP_DOWN)))) {
        return STATUS_INVALID_PARAMETER_5;
    }
    MI_PROT Protection = MiMakeProtection(Protect);
    if (Protection == MI_PROT_INVALID || MiProtIsCopyOnWrite(Protection) ||
        ((Type & MEM_RESERVE_PLACEHOLDER) && Protect != PAGE_NOACCESS)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    NTSTATUS Status = MiCheckRange(*Base, *Size, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_4);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    if (Type & MEM_PHYSICAL) {
        return STATUS_NOT_SUPPORTED;
    }
    if ((Type & MEM_LARGE_PAGES) && (*Size & (MI_LARGE_PAGE - 1))) {
        return STATUS_INVALID_PARAMETER_4;
    }
    if ((Type & MEM_LARGE_PAGES) && Limits->Alignment && Limits->Alignment < MI_LARGE_PAGE) {
        return STATUS_INVALID_PARAMETER;
    }
    if (*Base == NULL && (Type & MEM_COMMIT)) {
        Type |= MEM_RESERVE;
    }
    MiLockSpace(Space);
    if (Space->Dying) {
        Status = STATUS_PROCESS_IS_TERMINATING;
    } else if (Main & Reset) {
        Status = MiReset(Space, Base, Size, (Main & MEM_RESET_UNDO) != 0);
    } else if (Type & MEM_REPLACE_PLACEHOLDER) {
        Status = MiReplacePlaceholder(Space, Base, Size, Type, Protect);
    } else if (Type & MEM_RESERVE) {
        Status = MiReserve(Space, Base, Size, Type, Protect, Limits);
    } else {
        Status = MiCommitIn(Space, Base, Size, Protect);
    }
    MiUnlockSpace(Space);
    return Status;
}

/* ---- freeing ---- */
static NTSTATUS MiDecommitIn(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End)
{
    if (Vad->Type == MiVadView) {
        return STATUS_UNABLE_TO_DELETE_SECTION;
    }
    if (Vad->Type == MiVadLocked || Vad->LargePages) {
        return STATUS_UNABLE_TO_DECOMMIT_VM;
    }
    if (Vad->NoChange || MiIsSecured(Vad, Start, End)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    MiUnlockVadPages(Space, Vad, Start, End);
    MiChargeSpace(Space, 0, -(LONG64)MiCountUsedEntries(Start, End));
    MiDecommit(&MiState->Regions[MmRegionUser], Start, (End - Start) >> PAGE_SHIFT);
    MiForgetWritten(Space, Vad, Start, End);
    return STATUS_SUCCESS;
}

static NTSTATUS MiReleaseIn(PMI_SPACE Space, PMMVAD Vad)
{
    if (Vad->Type != MiVadPrivate) {
        return STATUS_UNABLE_TO_DELETE_SECTION;
    }
    if (Vad->NoChange || MiIsSecured(Vad, Vad->Start, Vad->End)) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    MiFreeVadPages(Space, Vad);
    MiRemoveVad(Space, Vad);
    return STATUS_SUCCESS;
}

NTSTATUS MmFreeVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG FreeType)
{
    ULONG_PTR Start = (ULONG_PTR)*Base & ~(ULONG_PTR)(PAGE_SIZE - 1);
    ULONG Placeholder = FreeType & (MEM_PRESERVE_PLACEHOLDER | MEM_COALESCE_PLACEHOLDERS);
    if (Placeholder
            ? FreeType != (MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER) && FreeType != (MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS)
            : FreeType != MEM_DECOMMIT && FreeType != MEM_RELEASE) {
        return STATUS_INVALID_PARAMETER_4;
    }
    if (Placeholder && *Size == 0) {
        return STATUS_INVALID_PARAMETER_3;
    }
    NTSTATUS Status = MiCheckRange(*Base, *Size ? *Size : 1, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_3);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    ULONG_PTR End = ((ULONG_PTR)*Base + *Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Start);
    if (Space->Dying) {
        Status = STATUS_PROCESS_IS_TERMINATING;
    } else if (Vad == NULL) {
        Status = STATUS_MEMORY_NOT_ALLOCATED;
    } else if (Placeholder) {
        Status = Vad->Type != MiVadPrivate
                     ? STATUS_CONFLICTING_ADDRESSES
                     : MiReleaseToPlaceholder(Space, Vad, Start, End, (FreeType & MEM_COALESCE_PLACEHOLDERS) != 0);
    } else if (*Size == 0) {
        End = Vad->End;
        if (Start != Vad->Start) {
            Status = STATUS_FREE_VM_NOT_AT_BASE;
        }
    } else if (End > Vad->End || (FreeType == MEM_RELEASE && (Start != Vad->Start || End != Vad->End))) {
        Status = STATUS_UNABLE_TO_FREE_VM;
    }
    if (NT_SUCCESS(Status) && !Placeholder) {
        Status = FreeType == MEM_RELEASE ? MiReleaseIn(Space, Vad) : MiDecommitIn(Space, Vad, Start, End);
    }
    MiUnlockSpace(Space);
    if (NT_SUCCESS(Status)) {
        *Base = (PVOID)Start;
        *Size = End - Start;
    }
    return Status;
}
