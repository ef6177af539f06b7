/*
 * heap.c - heaps: the routines, their memory, and who may call them. SPDX-License-Identifier: MIT
 *
 * Implements RtlCreateHeap, RtlDestroyHeap, RtlAllocateHeap, RtlFreeHeap, RtlReAllocateHeap, RtlSizeHeap. The structures are in
 * heap.h, blocks in heapblock.c, what damage is called in heapcheck.c.
 *
 * A heap is a page range that begins with PSP_HEAP (its address is the handle) and is divided into blocks behind it. Where the
 * range comes from:
 *      no HeapBase                    the user range of the current process, as by ZwAllocateVirtualMemory; a growable heap reserves
 *                                     more segments, and regions for blocks above the threshold; pages are committed and decommitted
 *      HeapBase, user memory          the caller's; pages that are only reserved are committed as they are needed
 *      HeapBase, other memory         the caller's, used as it is
 *      HeapBase and CommitRoutine     the caller's; InitialCommit bytes are there, for more the routine is called
 *
 * Beside it stands a record in nonpaged pool (tag Heap): the lock, which must be resident, the process, and the cookie of its
 * checks. The record is how a handle is known to be one, and how the block of another heap is recognised; it is the block that
 * a driver leaks if it leaves a heap behind. A process's end takes its heaps' memory away; their records go with it
 * (PspForgetHeaps).
 *
 * A call: PspEnter finds the record, refuses another process, takes the lock; the work is done by heapblock.c; PspLeave gives
 * the lock back, also when an exception (a page that could not be read back) passes through; only then a bug check or a status
 * is raised.
 *
 * IRQL <= APC_LEVEL, else 0xC4/0xE5. Lock order: the heap's lock (a resource; page faults, commit routines and the address
 * space's lock come inside it) > PspHeapLock (the list of records; a leaf).
 * Watch: tests/unit/heap_test.c, tests/ddi/RtlCreateHeap.c, tests/matrix/heap.c, tests/stress/heap_stress.c.
 */
#include "ps/heap.h"
#include "ex/ex.h"

#define PSP_DEFAULT_RESERVE       (64u * PAGE_SIZE)
#define PSP_DEFAULT_SEGMENT       (1u << 20)
#define PSP_DEFAULT_COMMIT        (2u * PAGE_SIZE)
#define PSP_DEFAULT_DECOMMIT      PAGE_SIZE
#define PSP_DEFAULT_DECOMMIT_FREE 65536u

static KI_LOCK PspHeapLock;
static LIST_ENTRY PspHeaps = {&PspHeaps, &PspHeaps};
static ULONG64 PspHeapsMade;

/* ---- memory ---- */
static SIZE_T PspPages(SIZE_T Bytes)
{
    return (Bytes + PAGE_SIZE - 1) & ~(SIZE_T)(PAGE_SIZE - 1);
}

PVOID PspAllocateRegion(PSP_HEAP *Heap, SIZE_T *Bytes, ULONG Type)
{
    PVOID Base = NULL;
    PMM_SPACE Space = PsGetCurrentProcess()->Space;
    *Bytes = PspPages(*Bytes);
    if (Space == NULL || *Bytes == 0 || !NT_SUCCESS(MmAllocateVirtual(Space, &Base, Bytes, Type, Heap->Protect, NULL)))
        return NULL;
    return Base;
}

VOID PspFreeRegion(PVOID Base, SIZE_T Bytes, ULONG Type)
{
    SIZE_T Size = Type == MEM_RELEASE ? 0 : Bytes;
    (VOID) MmFreeVirtual(PsGetCurrentProcess()->Space, &Base, &Size, Type);
}

static BOOLEAN PspCommit(PSP_HEAP *Heap, PUCHAR From, SIZE_T Bytes)
{
    PVOID Base = From;
    return NT_SUCCESS(MmAllocateVirtual(PsGetCurrentProcess()->Space, &Base, &Bytes, MEM_COMMIT, Heap->Protect, NULL));
}

/* A segment's first entries, in committed memory up to Start: a structure of Bytes and the end behind it. */
static VOID PspBeginSegment(PSP_HEAP *Heap, PSP_SEGMENT *Segment, PUCHAR Base, SIZE_T Bytes, PUCHAR End)
{
    SIZE_T Granules = (Bytes + PSP_GRANULE - 1) / PSP_GRANULE;
    PSP_ENTRY *Entry = (PSP_ENTRY *)Base;
    Segment->Base = Base;
    Segment->Committed = Base + (Granules + 1) * PSP_GRANULE;
    Segment->End = End;
    PspWriteEntry(Heap, Entry, Granules, PspBlockStructure, 0, 0);
    PspWriteEntry(Heap, PspNext(Entry), 1, PspBlockEnd, 0, Granules);
    InsertTailList(&Heap->Segments, &Segment->Links);
}

/* More of the caller's block, by its routine. */
static BOOLEAN PspCommitByRoutine(PSP_CALL *Call, PSP_SEGMENT *Segment, SIZE_T Bytes)
{
    PSP_HEAP *Heap = Call->Heap;
    PVOID At = Segment->Committed;
    SIZE_T Size = Bytes;
    NTSTATUS Status = KI_CALLOUT(NTSTATUS, Heap->CommitRoutine, (PVOID, PVOID *, PSIZE_T), (Segment->Base, &At, &Size));
    if (!NT_SUCCESS(Status))
        return FALSE;
    ULONG_PTR End = ((ULONG_PTR)At + Size) & ~(ULONG_PTR)(PSP_GRANULE - 1);
    if ((ULONG_PTR)At < (ULONG_PTR)Segment->Base || (ULONG_PTR)At > (ULONG_PTR)Segment->Committed ||
        End > (ULONG_PTR)Segment->End || End < (ULONG_PTR)At) {
        PspDamaged(Call, PspDamageCommit, End);
        return FALSE;
    }
    if (End < (ULONG_PTR)Segment->Committed + Bytes)
        return FALSE;
    PspGrowInto(Call, Segment, (PUCHAR)End);
    return TRUE;
}

static BOOLEAN PspGrowSegment(PSP_CALL *Call, PSP_SEGMENT *Segment, SIZE_T Bytes)
{
    PSP_HEAP *Heap = Call->Heap;
    SIZE_T Left = (SIZE_T)(Segment->End - Segment->Committed);
    if (Left < Bytes || Left < (PSP_MIN_GRANULES + 1) * PSP_GRANULE)
        return FALSE;
    SIZE_T Wanted = PspPages(Bytes > Heap->SegmentCommit ? Bytes : Heap->SegmentCommit);
    Wanted = Wanted < Left ? Wanted : Left;
    if (Segment == &Heap->First && Heap->CommitRoutine != NULL)
        return PspCommitByRoutine(Call, Segment, Wanted) ||
               (Call->Type == 0 && PspPages(Bytes) < Wanted && PspCommitByRoutine(Call, Segment, PspPages(Bytes)));
    if (!PspCommit(Heap, Segment->Committed, Wanted)) {
        Wanted = PspPages(Bytes) < Left ? PspPages(Bytes) : Left;
        if (!PspCommit(Heap, Segment->Committed, Wanted))
            return FALSE;
    }
    PspGrowInto(Call, Segment, Segment->Committed + Wanted);
    return TRUE;
}

BOOLEAN PspGrowHeap(PSP_CALL *Call, SIZE_T Bytes)
{
    PSP_HEAP *Heap = Call->Heap;
    if (PspSegmentOf(Call, 0) != NULL || Call->Type != 0) /* the list is sound */
        return FALSE;
    for (PLIST_ENTRY Link = Heap->Segments.Flink; Link != &Heap->Segments; Link = Link->Flink) {
        PSP_SEGMENT *Segment = CONTAINING_RECORD(Link, PSP_SEGMENT, Links);
        PSP_ENTRY *End = (PSP_ENTRY *)Segment->Committed - 1;
        SIZE_T There = 0;
        if (Segment == &Heap->First && !Heap->Commits && Heap->CommitRoutine == NULL)
            continue;
        if (PspIsRight(Heap, End)) {
            PSP_ENTRY *Last = End - (SIZE_T)End->Previous;
            if (PspIsRight(Heap, Last) && Last->State == PspBlockFree)
                There = (SIZE_T)Last->Granules * PSP_GRANULE;
        }
        if (PspGrowSegment(Call, Segment, Bytes > There ? Bytes - There : PSP_GRANULE))
            return Call->Type == 0;
        if (Call->Type != 0)
            return FALSE;
    }
    if (!(Heap->Flags & HEAP_GROWABLE))
        return FALSE;
    const SIZE_T Structure = sizeof(PSP_ENTRY) + sizeof(PSP_SEGMENT);
    SIZE_T Least = Bytes + Structure + 2 * sizeof(PSP_ENTRY),
           Reserve = Heap->SegmentReserve > Least ? Heap->SegmentReserve : Least;
    PUCHAR Base = PspAllocateRegion(Heap, &Reserve, MEM_RESERVE);
    if (Base == NULL) {
        Reserve = Least;
        Base = PspAllocateRegion(Heap, &Reserve, MEM_RESERVE);
    }
    if (Base == NULL)
        return FALSE;
    SIZE_T Commit = PspPages(Least > Heap->SegmentCommit ? Least : Heap->SegmentCommit);
    Commit = Commit < Reserve ? Commit : Reserve;
    if (!PspCommit(Heap, Base, Commit)) {
        PspFreeRegion(Base, Reserve, MEM_RELEASE);
        return FALSE;
    }
    PSP_SEGMENT *Segment = (PSP_SEGMENT *)((PSP_ENTRY *)Base + 1);
    PspBeginSegment(Heap, Segment, Base, Structure, Base + Reserve);
    PspGrowInto(Call, Segment, Base + Commit);
    return Call->Type == 0;
}

VOID PspShrinkHeap(PSP_CALL *Call, PSP_ENTRY *Free)
{
    PSP_HEAP *Heap = Call->Heap;
    PSP_SEGMENT *Segment = PspSegmentOf(Call, (ULONG_PTR)Free);
    if (Segment == NULL || Heap->FreeBytes < Heap->DeCommitTotal || (Segment == &Heap->First && !Heap->Returns))
        return;
    PSP_FREE *Node = (PSP_FREE *)PspBlockOf(Free);
    SIZE_T Bytes = (SIZE_T)Free->Granules * PSP_GRANULE, Kept;
    PSP_ENTRY *First = (PSP_ENTRY *)Segment->Base;
    if (Segment != &Heap->First && PspIsRight(Heap, First) && PspNext(First) == Free) {
        RemoveEntryList(&Node->Links);
        Heap->FreeBytes -= Bytes;
        RemoveEntryList(&Segment->Links);
        PspFreeRegion(Segment->Base, (SIZE_T)(Segment->End - Segment->Base), MEM_RELEASE);
        return;
    }
    PUCHAR To = (PUCHAR)PspPages((ULONG_PTR)PspBlockOf(Free) + sizeof(PSP_FREE) + sizeof(PSP_ENTRY));
    if (To >= Segment->Committed || (SIZE_T)(Segment->Committed - To) < Heap->DeCommitBlock ||
        (ULONG_PTR)Segment->Committed % PAGE_SIZE != 0)
        return;
    RemoveEntryList(&Node->Links);
    Heap->FreeBytes -= Bytes;
    SIZE_T Filled = Node->Filled;
    Kept = (SIZE_T)(To - (PUCHAR)Free) / PSP_GRANULE - 1;
    PspFreeRegion(To, (SIZE_T)(Segment->Committed - To), MEM_DECOMMIT);
    Segment->Committed = To;
    PspWriteEntry(Heap, Free, Kept, PspBlockFree, 0, Free->Previous);
    PspWriteEntry(Heap, PspNext(Free), 1, PspBlockEnd, 0, Kept);
    SIZE_T Most = PspRoom(Free) - sizeof *Node;
    PspLinkFree(Heap, Free, Filled < Most ? Filled : Most);
}

/* ---- entering and leaving ---- */
static PSP_HEAP_RECORD *PspFindHeap(PVOID Handle)
{
    PSP_HEAP_RECORD *Found = NULL;
    KiAcquireLock(&PspHeapLock);
    for (PLIST_ENTRY Link = PspHeaps.Flink; Link != &PspHeaps && Found == NULL; Link = Link->Flink) {
        PSP_HEAP_RECORD *Record = CONTAINING_RECORD(Link, PSP_HEAP_RECORD, Links);
        Found = (PVOID)Record->Heap == Handle ? Record : NULL;
    }
    KiReleaseLock(&PspHeapLock);
    return Found;
}

BOOLEAN PspIsAnotherHeaps(const PSP_CALL *Call, ULONG_PTR Block)
{
    ULONG64 Words[2], Address = Block - sizeof(PSP_ENTRY);
    PSP_ENTRY Entry;
    BOOLEAN Found = FALSE;
    if (!PspCanRead((PVOID)Address) || !KiTryRead((volatile ULONG64 *)Address, &Words[0]) ||
        !KiTryRead((volatile ULONG64 *)Address + 1, &Words[1]))
        return FALSE;
    RtlCopyMemory(&Entry, Words, sizeof Entry);
    KiAcquireLock(&PspHeapLock);
    for (PLIST_ENTRY Link = PspHeaps.Flink; Link != &PspHeaps && !Found; Link = Link->Flink) {
        PSP_HEAP_RECORD *Record = CONTAINING_RECORD(Link, PSP_HEAP_RECORD, Links);
        Found = Record != Call->Record && PspFrontIsRight(Record->Cookie, &Entry, Address) &&
                PspBackIsRight(Record->Cookie, &Entry, Address);
    }
    KiReleaseLock(&PspHeapLock);
    return Found;
}

static DECLSPEC_NORETURN VOID PspStopFor(const PSP_CALL *Call, PVOID Handle)
{
    KiStop(KERNEL_MODE_HEAP_CORRUPTION, PspHeapWords(Call->Type), NULL, Call->Type, (ULONG_PTR)Handle, Call->Address, 0);
}

/* Finds the heap, and takes its lock unless the caller or the heap does without. FALSE: another process's (Call->Status). */
static BOOLEAN PspEnter(PSP_CALL *Call, PVOID Handle, ULONG Flags)
{
    RtlZeroMemory(Call, sizeof *Call);
    if (KiCurrentThread()->Irql > APC_LEVEL)
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "A heap routine was called at DISPATCH_LEVEL or above.", NULL, 0xE5,
               KiCurrentThread()->Irql, 0, 0);
    Call->Record = Handle != NULL ? PspFindHeap(Handle) : NULL;
    if (Call->Record == NULL) {
        PspDamaged(Call, Handle == NULL ? PspDamageNoHandle : PspDamageNoBlock, (ULONG_PTR)Handle);
        PspStopFor(Call, Handle);
    }
    Call->Status = STATUS_ACCESS_VIOLATION;
    if (Call->Record->Process != NULL && Call->Record->Process != PsGetCurrentProcess())
        return FALSE;
    Call->Heap = Call->Record->Heap;
    if (Call->Record->Lock != NULL && !(Flags & HEAP_NO_SERIALIZE)) {
        KeEnterCriticalRegion();
        ExAcquireResourceExclusiveLite(Call->Record->Lock, TRUE);
        Call->Locked = TRUE;
    }
    return TRUE;
}

static VOID PspLeave(PSP_CALL *Call)
{
    if (Call->Locked) {
        ExReleaseResourceLite(Call->Record->Lock);
        KeLeaveCriticalRegion();
    }
}

typedef struct _PSP_WORK {
    enum { PspAllocateWork, PspFreeWork, PspReAllocateWork, PspSizeWork, PspCheckWork } Kind;
    ULONG Flags;
    PVOID Block;
    SIZE_T Size;
} PSP_WORK;

static VOID PspDo(PSP_CALL *Call, const PSP_WORK *Work)
{
    PSP_HEAP *Heap = Call->Heap;
    if (Heap->Front != (PSP_HEAP_SIGN ^ Heap->Record->Cookie) || Heap->Back != (PSP_HEAP_OWN_SIGN ^ Heap->Cookie)) {
        PspDamaged(Call, PspDamageHeap, (ULONG_PTR)Heap);
        return;
    }
    Call->Query = Work->Kind == PspReAllocateWork || Work->Kind == PspSizeWork;
    if (Work->Kind == PspAllocateWork)
        PspAllocateBlock(Call, Work->Flags | (Heap->Flags & HEAP_ZERO_MEMORY), Work->Size);
    else if (Work->Kind == PspFreeWork)
        PspFreeBlock(Call, Work->Block);
    else if (Work->Kind == PspReAllocateWork)
        PspReAllocateBlock(Call, Work->Flags | (Heap->Flags & HEAP_ZERO_MEMORY), Work->Block, Work->Size);
    else if (Work->Kind == PspSizeWork)
        PspSizeBlock(Call, Work->Block);
    else
        PspCheckHeap(Call);
}

/* One call from entering to leaving. FALSE: another process's heap. */
static BOOLEAN PspCallHeap(PSP_CALL *Call, PVOID Handle, const PSP_WORK *Work)
{
    if (!PspEnter(Call, Handle, Work->Flags))
        return FALSE;
    __try {
        PspDo(Call, Work);
    } __finally {
        PspLeave(Call);
    }
    return TRUE;
}

/* ---- the routines ---- */
static PVOID PspBlockOrRaise(PSP_CALL *Call, PVOID Handle, ULONG Flags, BOOLEAN Entered)
{
    if (Call->Type != 0)
        PspStopFor(Call, Handle);
    if (Entered && Call->Block != NULL)
        return Call->Block;
    if ((Flags | (Entered ? Call->Heap->Flags : 0)) & HEAP_GENERATE_EXCEPTIONS)
        ExRaiseStatus(Call->Status);
    return NULL;
}

PVOID NTAPI RtlAllocateHeap(PVOID HeapHandle, ULONG Flags, SIZE_T Size)
{
    PSP_CALL Call;
    const PSP_WORK Work = {PspAllocateWork, Flags, NULL, Size};
    BOOLEAN Entered = PspCallHeap(&Call, HeapHandle, &Work);
    return PspBlockOrRaise(&Call, HeapHandle, Flags, Entered);
}

PVOID NTAPI RtlReAllocateHeap(PVOID HeapHandle, ULONG Flags, PVOID BaseAddress, SIZE_T Size)
{
    PSP_CALL Call;
    const PSP_WORK Work = {PspReAllocateWork, Flags, BaseAddress, Size};
    if (BaseAddress == NULL)
        return NULL;
    BOOLEAN Entered = PspCallHeap(&Call, HeapHandle, &Work);
    return PspBlockOrRaise(&Call, HeapHandle, Flags, Entered);
}

LOGICAL NTAPI RtlFreeHeap(PVOID HeapHandle, ULONG Flags, PVOID BaseAddress)
{
    PSP_CALL Call;
    const PSP_WORK Work = {PspFreeWork, Flags, BaseAddress, 0};
    if (BaseAddress == NULL)
        return TRUE;
    BOOLEAN Entered = PspCallHeap(&Call, HeapHandle, &Work);
    if (Call.Type != 0)
        PspStopFor(&Call, HeapHandle);
    return Entered;
}

SIZE_T NTAPI RtlSizeHeap(PVOID HeapHandle, ULONG Flags, PVOID BaseAddress)
{
    PSP_CALL Call;
    const PSP_WORK Work = {PspSizeWork, Flags, BaseAddress, 0};
    BOOLEAN Entered = PspCallHeap(&Call, HeapHandle, &Work);
    if (Call.Type != 0)
        PspStopFor(&Call, HeapHandle);
    return Entered ? Call.Size : ~(SIZE_T)0;
}

const CHAR *PspValidateHeap(PVOID HeapHandle)
{
    PSP_CALL Call;
    const PSP_WORK Work = {.Kind = PspCheckWork};
    PspCallHeap(&Call, HeapHandle, &Work);
    return PspHeapWords(Call.Type);
}

/* ---- create ---- */
/* Where the first segment is and how much of it there is. */
typedef struct _PSP_PLACE {
    PUCHAR Base;
    SIZE_T Reserve, Commit;
    BOOLEAN Owned, Commits;
    BOOLEAN OfProcess;
} PSP_PLACE;

/* Reserve and commit sizes as the page's table has them. */
static VOID PspPlaceSizes(PSP_PLACE *Place, SIZE_T Reserve, SIZE_T Commit)
{
    const SIZE_T Sixteen = 16 * PAGE_SIZE;
    if (Reserve == 0)
        Reserve = Commit == 0 ? PSP_DEFAULT_RESERVE : (Commit + Sixteen - 1) & ~(Sixteen - 1);
    else
        Reserve = PspPages(Reserve);
    Commit = Commit == 0 ? PAGE_SIZE : PspPages(Commit);
    Place->Reserve = Reserve;
    Place->Commit = Commit < Reserve ? Commit : Reserve;
}

/* The caller's block. FALSE: it will not do. */
static BOOLEAN PspPlaceOfCaller(PSP_PLACE *Place, PVOID HeapBase, SIZE_T Reserve, SIZE_T Commit,
                                const RTL_HEAP_PARAMETERS *Parameters)
{
    MEMORY_BASIC_INFORMATION Info;
    PUCHAR Base = HeapBase;
    PMM_SPACE Space = PsGetCurrentProcess()->Space;
    if (Parameters->CommitRoutine != NULL) {
        Reserve = Parameters->InitialReserve;
        Commit = Parameters->InitialCommit;
        if (Reserve == 0 || Commit == 0 || Commit > Reserve)
            return FALSE;
    }
    if (Reserve > ~(ULONG_PTR)Base - PAGE_SIZE || Commit > ~(SIZE_T)0 - 16 * PAGE_SIZE)
        return FALSE;
    PspPlaceSizes(Place, Reserve, Commit);
    if (Reserve != 0)
        Place->Reserve = Reserve;
    Place->OfProcess = Space != NULL && NT_SUCCESS(MmQueryVirtual(Space, Base, &Info)) && Info.State != MEM_FREE;
    Place->Commits = Place->OfProcess && Info.Type == MEM_PRIVATE && Parameters->CommitRoutine == NULL;
    if (!Place->Commits && Parameters->CommitRoutine == NULL)
        Place->Commit = Place->Reserve; /* it is as it is */
    ULONG_PTR Start = ((ULONG_PTR)Base + PSP_GRANULE - 1) & ~(ULONG_PTR)(PSP_GRANULE - 1);
    ULONG_PTR End = ((ULONG_PTR)Base + Place->Reserve) & ~(ULONG_PTR)(PSP_GRANULE - 1);
    ULONG_PTR Committed = ((ULONG_PTR)Base + Place->Commit) & ~(ULONG_PTR)(PSP_GRANULE - 1);
    if (((Place->Commits || Parameters->CommitRoutine != NULL) && Start % PAGE_SIZE != 0) || End <= Start || Committed <= Start)
        return FALSE;
    Place->Base = (PUCHAR)Start;
    Place->Reserve = End - Start;
    Place->Commit = Committed - Start;
    return TRUE;
}

/* What the arguments say together; FALSE: they contradict each other. */
static BOOLEAN PspCheckArguments(ULONG Flags, PVOID HeapBase, PVOID Lock, const RTL_HEAP_PARAMETERS *Parameters)
{
    if (HeapBase == NULL && !(Flags & HEAP_GROWABLE))
        return FALSE;
    if ((Flags & HEAP_NO_SERIALIZE) && Lock != NULL)
        return FALSE;
    if (Parameters->CommitRoutine != NULL && (HeapBase == NULL || (Flags & HEAP_GROWABLE)))
        return FALSE;
    return Parameters->Length == sizeof *Parameters && Parameters->Reserved[0] == 0 && Parameters->Reserved[1] == 0;
}

static SIZE_T PspOr(SIZE_T Given, SIZE_T Default)
{
    return Given != 0 ? Given : Default;
}

/* The heap's structure, in memory that is committed, and its first blocks. */
static VOID PspBuildHeap(PSP_HEAP *Heap, PSP_HEAP_RECORD *Record, const PSP_HEAP *Draft, const PSP_PLACE *Place,
                         const RTL_HEAP_PARAMETERS *Parameters)
{
    PSP_CALL Call = {.Heap = Heap, .Record = Record};
    *Heap = *Draft;
    Heap->Record = Record;
    Heap->Cookie = Record->Cookie;
    Heap->Front = PSP_HEAP_SIGN ^ Heap->Cookie;
    Heap->Back = PSP_HEAP_OWN_SIGN ^ Heap->Cookie;
    Heap->Owned = Heap->Returns = Place->Owned;
    Heap->Commits = Place->Commits;
    Heap->CommitRoutine = Parameters->CommitRoutine;
    Heap->SegmentReserve = PspOr(Parameters->SegmentReserve, PSP_DEFAULT_SEGMENT);
    Heap->SegmentCommit = PspOr(Parameters->SegmentCommit, PSP_DEFAULT_COMMIT);
    Heap->DeCommitBlock = PspOr(Parameters->DeCommitFreeBlockThreshold, PSP_DEFAULT_DECOMMIT);
    Heap->DeCommitTotal = PspOr(Parameters->DeCommitTotalFreeThreshold, PSP_DEFAULT_DECOMMIT_FREE);
    Heap->MaximumSize = Parameters->MaximumAllocationSize;
    Heap->Threshold = PspOr(Parameters->VirtualMemoryThreshold, PSP_MAX_BLOCK);
    Heap->Threshold = Heap->Threshold < PSP_MAX_BLOCK ? Heap->Threshold : PSP_MAX_BLOCK;
    InitializeListHead(&Heap->Segments);
    InitializeListHead(&Heap->Large);
    for (ULONG Bin = 0; Bin < PSP_BINS; Bin++)
        InitializeListHead(&Heap->Free[Bin]);
    PspBeginSegment(Heap, &Heap->First, Place->Base, sizeof *Heap, Place->Base + Place->Reserve);
    if ((SIZE_T)(Place->Base + Place->Commit - Heap->First.Committed) >= PSP_MIN_GRANULES * PSP_GRANULE)
        PspGrowInto(&Call, &Heap->First, Place->Base + Place->Commit);
}

PVOID NTAPI RtlCreateHeap(ULONG Flags, PVOID HeapBase, SIZE_T ReserveSize, SIZE_T CommitSize, PVOID Lock,
                          PRTL_HEAP_PARAMETERS Parameters)
{
    static const RTL_HEAP_PARAMETERS Defaults = {.Length = sizeof Defaults};
    const SIZE_T Most = (SIZE_T)1 << 36;
    PSP_PLACE Place = {.Owned = TRUE, .Commits = TRUE, .OfProcess = TRUE};
    PSP_HEAP Draft = {.Flags = Flags, .Protect = Flags & HEAP_CREATE_ENABLE_EXECUTE ? PAGE_EXECUTE_READWRITE : PAGE_READWRITE};
    RTL_HEAP_PARAMETERS Given = Parameters != NULL ? *Parameters : Defaults;

    if (KiCurrentThread()->Irql > APC_LEVEL)
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, "RtlCreateHeap was called at DISPATCH_LEVEL or above.", NULL, 0xE5,
               KiCurrentThread()->Irql, 0, 0);
    if (!PspCheckArguments(Flags, HeapBase, Lock, &Given) || ReserveSize > Most || CommitSize > Most)
        return NULL;
    if (HeapBase != NULL) {
        Place.Owned = FALSE;
        if (!PspPlaceOfCaller(&Place, HeapBase, ReserveSize, CommitSize, &Given))
            return NULL;
    } else {
        PspPlaceSizes(&Place, ReserveSize, CommitSize);
    }
    if (Place.Commit > Place.Reserve || Place.Commit < sizeof(PSP_HEAP) + 2 * sizeof(PSP_ENTRY) || Place.Reserve > Most)
        return NULL;
    PSP_HEAP_RECORD *Record = ExpAllocateFor(sizeof *Record, PSP_HEAP_TAG, (ULONG_PTR)__builtin_return_address(0));
    if (Record == NULL)
        return NULL;
    RtlZeroMemory(Record, sizeof *Record);
    if (HeapBase == NULL)
        Place.Base = PspAllocateRegion(&Draft, &Place.Reserve, MEM_RESERVE);
    if (Place.Base == NULL || (Place.Commits && !PspCommit(&Draft, Place.Base, Place.Commit))) {
        if (HeapBase == NULL && Place.Base != NULL)
            PspFreeRegion(Place.Base, 0, MEM_RELEASE);
        ExFreePoolWithTag(Record, PSP_HEAP_TAG);
        return NULL;
    }
    Record->Heap = (PSP_HEAP *)Place.Base;
    Record->Process = Place.OfProcess ? PsGetCurrentProcess() : NULL;
    if (!(Flags & HEAP_NO_SERIALIZE)) {
        if (Lock == NULL)
            ExInitializeResourceLite(&Record->OwnLock);
        Record->Lock = Lock != NULL ? Lock : &Record->OwnLock;
    }
    Record->Cookie = PspMix((ULONG_PTR)Place.Base ^ __atomic_add_fetch(&PspHeapsMade, 1, __ATOMIC_RELAXED) << 48);
    PspBuildHeap(Record->Heap, Record, &Draft, &Place, &Given);
    KiAcquireLock(&PspHeapLock);
    InsertTailList(&PspHeaps, &Record->Links);
    KiReleaseLock(&PspHeapLock);
    return Record->Heap;
}

/* ---- destroy ---- */
static VOID PspFreeRecord(PSP_HEAP_RECORD *Record)
{
    if (Record->Lock == &Record->OwnLock)
        ExDeleteResourceLite(&Record->OwnLock);
    ExFreePoolWithTag(Record, PSP_HEAP_TAG);
}

PVOID NTAPI RtlDestroyHeap(PVOID HeapHandle)
{
    PSP_CALL Call;
    const PSP_WORK Work = {.Kind = PspCheckWork};
    if (!PspCallHeap(&Call, HeapHandle, &Work))
        return HeapHandle;
    if (Call.Type != 0)
        PspStopFor(&Call, HeapHandle);
    PSP_HEAP *Heap = Call.Heap;
    KiAcquireLock(&PspHeapLock);
    RemoveEntryList(&Call.Record->Links);
    KiReleaseLock(&PspHeapLock);
    while (!IsListEmpty(&Heap->Large)) {
        PSP_LARGE *Large = CONTAINING_RECORD(RemoveHeadList(&Heap->Large), PSP_LARGE, Links);
        PspFreeRegion(Large, Large->Bytes, MEM_RELEASE);
    }
    while (Heap->Segments.Blink != &Heap->First.Links) {
        PSP_SEGMENT *Segment = CONTAINING_RECORD(RemoveTailList(&Heap->Segments), PSP_SEGMENT, Links);
        PspFreeRegion(Segment->Base, 0, MEM_RELEASE);
    }
    if (Heap->Owned)
        PspFreeRegion(Heap, 0, MEM_RELEASE);
    else
        Heap->Front = Heap->Back = 0;
    PspFreeRecord(Call.Record);
    return NULL;
}

VOID PspForgetHeaps(KPROCESS *Process)
{
    for (;;) {
        PSP_HEAP_RECORD *Found = NULL;
        KiAcquireLock(&PspHeapLock);
        for (PLIST_ENTRY Link = PspHeaps.Flink; Link != &PspHeaps && Found == NULL; Link = Link->Flink) {
            PSP_HEAP_RECORD *Record = CONTAINING_RECORD(Link, PSP_HEAP_RECORD, Links);
            Found = Process == NULL || Record->Process == Process ? Record : NULL;
        }
        if (Found != NULL)
            RemoveEntryList(&Found->Links);
        KiReleaseLock(&PspHeapLock);
        if (Found == NULL)
            return;
        if (Process != NULL)
            PspFreeRecord(Found);
    }
}
