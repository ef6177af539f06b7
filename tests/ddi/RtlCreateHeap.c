/*
 * RtlCreateHeap.c - heaps, a test per documented sentence. SPDX-License-Identifier: MIT
 *
 * Pages: RtlCreateHeap, RtlAllocateHeap, RtlFreeHeap, RtlDestroyHeap, RTL_HEAP_PARAMETERS, RTL_HEAP_COMMIT_ROUTINE; for RtlReAllocateHeap and
 * RtlSizeHeap, which have none for drivers, HeapReAlloc and HeapSize. What a heap does with damage: tests/matrix/heap.c.
 */
#include "ke_kit.h"
#include "ps/heap.h"

static PVOID Heap;

static PVOID Make(ULONG Flags, PVOID Base, SIZE_T Reserve, SIZE_T Commit, PRTL_HEAP_PARAMETERS Parameters)
{
    Heap = RtlCreateHeap(Flags, Base, Reserve, Commit, NULL, Parameters);
    assert_non_null(Heap);
    return Heap;
}
static void Destroy(void)
{
    assert_null(PspValidateHeap(Heap));
    assert_null(RtlDestroyHeap(Heap));
    Heap = NULL;
}
static PVOID Block(ULONG Flags, SIZE_T Size)
{
    PUCHAR B = RtlAllocateHeap(Heap, Flags, Size);
    if (B != NULL) {
        assert_int_equal((ULONG_PTR)B % 16, 0);
        assert_int_equal(RtlSizeHeap(Heap, 0, B), Size);
    }
    return B;
}
static ULONG State(PVOID At)
{
    MEMORY_BASIC_INFORMATION Info;
    SIZE_T Length;
    assert_int_equal(ZwQueryVirtualMemory(NtCurrentProcess(), At, MemoryBasicInformation, &Info, sizeof Info, &Length),
                     STATUS_SUCCESS);
    return Info.State;
}
/* Bytes from a heap's beginning that are committed, and that belong to its first region. */
static SIZE_T Committed(PUCHAR At)
{
    SIZE_T Bytes = 0;
    while (State(At + Bytes) == MEM_COMMIT)
        Bytes += PAGE_SIZE;
    return Bytes;
}
static SIZE_T Reserved(PUCHAR At)
{
    MEMORY_REGION_INFORMATION Info;
    assert_int_equal(MmQueryRegionOf(((KPROCESS *)PsGetCurrentProcess())->Space, At, &Info), STATUS_SUCCESS);
    return Info.RegionSize;
}
static void *RaisedHeap;
static ULONG RaisedFlags;
static SIZE_T RaisedSize;
static void RaisingAllocate(void *Unused)
{
    (void)Unused;
    RtlAllocateHeap(RaisedHeap, RaisedFlags, RaisedSize);
}
static NTSTATUS Raised(ULONG Flags, SIZE_T Size)
{
    RaisedHeap = Heap;
    RaisedFlags = Flags;
    RaisedSize = Size;
    return RaisedBy(RaisingAllocate, NULL);
}

/* ---- RtlCreateHeap ---- */
static void Create_SizesAreThoseOfTheTable(void **Unused)
{
    static const struct {
        SIZE_T Reserve, Commit, Reserved, Committed;
    } Rows[] = {{0, 0, 64 * PAGE_SIZE, PAGE_SIZE},
                {0, 5 * PAGE_SIZE, 16 * PAGE_SIZE, 5 * PAGE_SIZE},
                {0, 17 * PAGE_SIZE - 1, 32 * PAGE_SIZE, 17 * PAGE_SIZE},
                {10 * PAGE_SIZE - 1, 0, 10 * PAGE_SIZE, PAGE_SIZE},
                {10 * PAGE_SIZE, 2 * PAGE_SIZE + 1, 10 * PAGE_SIZE, 3 * PAGE_SIZE},
                {10 * PAGE_SIZE, 11 * PAGE_SIZE, 10 * PAGE_SIZE, 10 * PAGE_SIZE}};
    (void)Unused;
    for (size_t i = 0; i < sizeof Rows / sizeof *Rows; i++) {
        PUCHAR At = Make(HEAP_GROWABLE, NULL, Rows[i].Reserve, Rows[i].Commit, NULL);
        assert_int_equal(Reserved(At), Rows[i].Reserved);
        assert_int_equal(Committed(At), Rows[i].Committed);
        Destroy();
        assert_int_equal(State(At), MEM_FREE); /* "decommits and releases all the pages" */
    }
}
static RTL_HEAP_COMMIT_ROUTINE NeverCalled;
static void Create_ArgumentsThatContradict(void **Unused)
{
    static DECLSPEC_ALIGN(16) UCHAR Memory[16 * PAGE_SIZE];

    ERESOURCE Lock;
    RTL_HEAP_PARAMETERS P = {.Length = sizeof P};
    (void)Unused;
    assert_null(RtlCreateHeap(0, NULL, 0, 0, NULL, NULL)); /* "Must be specified if HeapBase is NULL" */
    assert_int_equal(ExInitializeResourceLite(&Lock), STATUS_SUCCESS);
    assert_null(RtlCreateHeap(HEAP_GROWABLE | HEAP_NO_SERIALIZE, NULL, 0, 0, &Lock, NULL)); /* "this parameter must be NULL" */
    ExDeleteResourceLite(&Lock);
    P.Length--;
    assert_null(RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, &P));
    P.Length++;
    P.Reserved[1] = 1; /* "Drivers must set this parameter to zero" */
    assert_null(RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, &P));
    P.Reserved[1] = 0;
    P.CommitRoutine = NeverCalled;
    P.InitialCommit = P.InitialReserve = 2 * PAGE_SIZE;
    assert_null(
        RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, &P)); /* "If HeapBase is NULL, CommitRoutine must also be NULL" */
    PUCHAR Base = (PUCHAR)(((ULONG_PTR)Memory + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1));
    assert_null(RtlCreateHeap(HEAP_GROWABLE, Base, 0, 0, NULL, &P)); /* "the heap must be nongrowable" */
    P.InitialCommit = 0;
    assert_null(RtlCreateHeap(0, Base, 0, 0, NULL, &P)); /* "must be a nonzero value" */
    P.InitialCommit = PAGE_SIZE;
    P.InitialReserve = 0;
    assert_null(RtlCreateHeap(0, Base, 0, 0, NULL, &P));
    P.InitialReserve = PAGE_SIZE;
    P.InitialCommit = 2 * PAGE_SIZE; /* "Must be less than or equal to InitialReserve" */
    assert_null(RtlCreateHeap(0, Base, 0, 0, NULL, &P));
    P.InitialCommit = PAGE_SIZE;
    assert_null(RtlDestroyHeap(Make(0, Base, 0, 0, &P)));
    assert_null(RtlCreateHeap(0, Base, 64, 0, NULL, NULL)); /* no room for the heap itself */
}
static NTSTATUS NTAPI NeverCalled(PVOID Base, PVOID *CommitAddress, PSIZE_T CommitSize)
{
    (void)Base, (void)CommitAddress, (void)CommitSize;
    return STATUS_NO_MEMORY;
}
/* "it specifies the base address for a block of caller-allocated memory to use for the heap": pool, the program's own, an allocation. */
static void Create_InTheCallersMemory(void **Unused)
{
    static UCHAR Own[5 * PAGE_SIZE];
    PUCHAR Pool = ExAllocatePool2(POOL_FLAG_NON_PAGED, 5 * PAGE_SIZE, 'tseT');
    PVOID User = NULL;
    SIZE_T Size = 5 * PAGE_SIZE;
    (void)Unused;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &User, 0, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    PUCHAR Places[] = {Pool, Own, User};
    for (int i = 0; i < 3; i++) {
        PUCHAR Last = NULL, B;
        SIZE_T Sum = 0;
        Make(0, Places[i], 5 * PAGE_SIZE, 0, NULL);
        while ((B = Block(0, 1000)) != NULL) { /* "its maximum size is limited to its initial reserve size" */
            assert_true(B >= Places[i] && B + 1000 <= Places[i] + 5 * PAGE_SIZE);
            memset(B, 0x5A, 1000);
            Sum += 1000;
            Last = B;
        }
        assert_true(Sum > 4 * PAGE_SIZE - 2000 && Sum < 5 * PAGE_SIZE);
        assert_true(RtlFreeHeap(Heap, 0, Last));
        assert_ptr_equal(Block(0, 1000), Last);
        Destroy();
        Places[i][0] = 1; /* the memory is still the caller's */
        Places[i][5 * PAGE_SIZE - 1] = 1;
    }
    ExFreePool(Pool);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(NtCurrentProcess(), &User, &Size, MEM_RELEASE), STATUS_SUCCESS);
}
/* "ReserveSize is limited ... if the heap is growable, its size is limited only by available memory" */
static void Create_GrowsBeyondItsReserve(void **Unused)
{
    PUCHAR All[600];
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 4 * PAGE_SIZE, 0, NULL);
    for (int i = 0; i < 600; i++) {
        All[i] = Block(0, 5000);
        assert_non_null(All[i]);
        memset(All[i], i, 5000);
    }
    assert_null(PspValidateHeap(Heap));
    for (int i = 0; i < 600; i++) {
        assert_int_equal(All[i][0], (UCHAR)i);
        assert_int_equal(All[i][4999], (UCHAR)i);
        assert_true(RtlFreeHeap(Heap, 0, All[i]));
    }
    Destroy();
}
static void Create_WithTheCallersLock(void **Unused)
{
    PERESOURCE Lock = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Lock, 'tseT');
    (void)Unused;
    assert_int_equal(ExInitializeResourceLite(Lock), STATUS_SUCCESS);
    Heap = RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, Lock, NULL);
    assert_non_null(Heap);
    KeEnterCriticalRegion();
    assert_true(ExAcquireResourceExclusiveLite(Lock, TRUE)); /* a caller that holds it goes on */
    assert_true(RtlFreeHeap(Heap, 0, Block(0, 100)));
    ExReleaseResourceLite(Lock);
    KeLeaveCriticalRegion();
    assert_int_equal(ExIsResourceAcquiredExclusiveLite(Lock), FALSE);
    Destroy();
    assert_int_equal(ExDeleteResourceLite(Lock), STATUS_SUCCESS); /* still the caller's */
    ExFreePool(Lock);
}

/* ---- RTL_HEAP_PARAMETERS ---- */
static PUCHAR RoutineBase, RoutineEnd, RoutineLimit;
static unsigned RoutineCalls;
static NTSTATUS RoutineStatus;
static NTSTATUS NTAPI CommitMore(PVOID Base, PVOID *CommitAddress, PSIZE_T CommitSize)
{
    RoutineCalls++;
    assert_ptr_equal(Base, RoutineBase); /* "Base address for the block of caller-allocated memory" */
    assert_ptr_equal(*CommitAddress, RoutineEnd);
    assert_true(*CommitSize > 0 && *CommitSize % PAGE_SIZE == 0);
    if (!NT_SUCCESS(RoutineStatus))
        return RoutineStatus;
    assert_true(RoutineEnd + *CommitSize <= RoutineLimit);
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), CommitAddress, 0, CommitSize, MEM_COMMIT, PAGE_READWRITE),
                     STATUS_SUCCESS);
    RoutineEnd += *CommitSize;
    return STATUS_SUCCESS;
}
static void Parameters_CommitRoutine(void **Unused)
{
    RTL_HEAP_PARAMETERS P = {
        .Length = sizeof P, .InitialCommit = 2 * PAGE_SIZE, .InitialReserve = 32 * PAGE_SIZE, .CommitRoutine = CommitMore};
    PVOID Base = NULL;
    SIZE_T Size = 32 * PAGE_SIZE, Sum = 0;
    (void)Unused;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    Size = 2 * PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    RoutineBase = Base;
    RoutineEnd = RoutineBase + Size;
    RoutineLimit = RoutineBase + 32 * PAGE_SIZE;
    RoutineCalls = 0;
    RoutineStatus = STATUS_SUCCESS;
    Make(0, Base, 123, 45, &P); /* InitialCommit and InitialReserve override */
    assert_int_equal(RoutineCalls, 0);
    while (Sum < 60 * 1024 && Block(0, 1024) != NULL)
        Sum += 1024;
    assert_true(Sum == 60 * 1024 && RoutineCalls > 0);
    RoutineStatus = STATUS_INSUFFICIENT_RESOURCES;
    while (Block(0, 1024) != NULL)
        Sum += 1024;
    assert_true(Sum < 128 * 1024 - 8192);
    assert_int_equal(Raised(HEAP_GENERATE_EXCEPTIONS, 1024), STATUS_NO_MEMORY);
    RoutineStatus = STATUS_SUCCESS;
    while (Block(0, 1024) != NULL)
        Sum += 1024;
    assert_true(Sum > 128 * 1024 - 3 * PAGE_SIZE);
    assert_ptr_equal(RoutineEnd, RoutineLimit);
    Destroy();
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
}
static void Parameters_Segments(void **Unused)
{
    RTL_HEAP_PARAMETERS P = {.Length = sizeof P, .SegmentReserve = 64 * PAGE_SIZE, .SegmentCommit = 4 * PAGE_SIZE};
    (void)Unused;
    PUCHAR At = Make(HEAP_GROWABLE, NULL, 8 * PAGE_SIZE, 0, &P);
    Block(0, 3000);
    assert_int_equal(Committed(At),
                     PAGE_SIZE); /* "The initial commit size determines the number of pages initially allocated" */
    Block(0, 3000);
    assert_int_equal(Committed(At), 5 * PAGE_SIZE);
    Block(0, 8 * PAGE_SIZE);
    PSP_SEGMENT *Second = CONTAINING_RECORD(((PSP_HEAP *)Heap)->Segments.Blink, PSP_SEGMENT, Links);
    assert_ptr_not_equal(Second, &((PSP_HEAP *)Heap)->First);
    assert_int_equal(Reserved(Second->Base), 64 * PAGE_SIZE);
    Destroy();
}
/* A block of Size at the end of the heap is freed, and stays no longer among the delayed ones: how much is committed before and after. */
static void FreeAtTheEnd(PRTL_HEAP_PARAMETERS P, SIZE_T Size, SIZE_T *Before, SIZE_T *After)
{
    PUCHAR At = Make(HEAP_GROWABLE, NULL, 64 * PAGE_SIZE, 0, P), Small[PSP_DELAYED];
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        Small[i] = Block(0, 1);
    PUCHAR Big = Block(0, Size);
    *Before = Committed(At);
    assert_true(RtlFreeHeap(Heap, 0, Big));
    for (ULONG i = 0; i < PSP_DELAYED; i++)
        assert_true(RtlFreeHeap(Heap, 0, Small[i]));
    *After = Committed(At);
    Destroy();
}
/* "Decommit free block threshold", "Decommit total free threshold" */
static void Parameters_Decommit(void **Unused)
{
    RTL_HEAP_PARAMETERS P = {
        .Length = sizeof P, .DeCommitFreeBlockThreshold = 8 * PAGE_SIZE, .DeCommitTotalFreeThreshold = 16 * PAGE_SIZE};
    SIZE_T Before, After;
    (void)Unused;
    FreeAtTheEnd(NULL, 60000, &Before, &After); /* "If this value is not specified, 65536 is used." */
    assert_int_equal(Before, After);
    FreeAtTheEnd(NULL, 70000, &Before, &After);
    assert_true(Before >= 18 * PAGE_SIZE);
    assert_int_equal(After, PAGE_SIZE);
    P.DeCommitTotalFreeThreshold = PAGE_SIZE;
    FreeAtTheEnd(&P, 7 * PAGE_SIZE, &Before, &After);
    assert_int_equal(Before, After);
    FreeAtTheEnd(&P, 9 * PAGE_SIZE, &Before, &After);
    assert_int_equal(After, PAGE_SIZE);
    P.DeCommitTotalFreeThreshold = 16 * PAGE_SIZE;
    FreeAtTheEnd(&P, 15 * PAGE_SIZE - 1000, &Before, &After);
    assert_int_equal(Before, After);
    FreeAtTheEnd(&P, 17 * PAGE_SIZE, &Before, &After);
    assert_int_equal(After, PAGE_SIZE);
}
static void Parameters_MaximumAllocationSize(void **Unused)
{
    RTL_HEAP_PARAMETERS P = {.Length = sizeof P, .MaximumAllocationSize = 10000};
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, &P);
    assert_non_null(Block(0, 10000)); /* "the largest block of memory that can be allocated"; one more: tests/matrix/heap.c */
    Destroy();
}
static void Parameters_VirtualMemoryThreshold(void **Unused)
{
    RTL_HEAP_PARAMETERS P = {.Length = sizeof P, .VirtualMemoryThreshold = 20000};
    PVOID Base = NULL;
    SIZE_T Size = 1 << 20;
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0,
         &P); /* "the system calls ZwAllocateVirtualMemory to obtain the memory for such large blocks" */
    PUCHAR Below = Block(0, 20000), Above = Block(0, 20001);
    assert_true(IsListEmpty(&((PSP_HEAP *)Heap)->Large) == FALSE);
    assert_int_equal((ULONG_PTR)Above % PAGE_SIZE, sizeof(PSP_LARGE));
    assert_int_equal(State(Above), MEM_COMMIT);
    assert_true(RtlFreeHeap(Heap, 0, Above));
    assert_int_equal(State(Above), MEM_FREE);
    assert_true(RtlFreeHeap(Heap, 0, Below));
    Destroy();
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    Make(0, Base, Size, 0, &P);
    assert_non_null(Block(0, 20000));
    assert_null(Block(0, 20001)); /* "If the heap is nongrowable, Size must be less than or equal to the threshold" */
    assert_int_equal(Raised(HEAP_GENERATE_EXCEPTIONS, 20001), STATUS_BUFFER_TOO_SMALL);
    Destroy();
    P.VirtualMemoryThreshold = 0x80000; /* "if it is greater than the maximum heap block size, 0x7F000 is used" */
    Make(0, Base, Size, 0, &P);
    assert_non_null(Block(0, 0x7F000));
    assert_int_equal(Raised(HEAP_GENERATE_EXCEPTIONS, 0x7F001), STATUS_BUFFER_TOO_SMALL);
    Destroy();
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
}

/* ---- RtlAllocateHeap, RtlFreeHeap ---- */
static void Allocate_ZeroMemory(void **Unused)
{
    static const SIZE_T Sizes[] = {0, 1, 100, 5000, 0x7F000, 0x90000};
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    for (size_t i = 0; i < sizeof Sizes / sizeof *Sizes; i++) {
        for (int Round = 0; Round < 20; Round++) { /* memory that has been used before */
            PUCHAR B = Block(HEAP_ZERO_MEMORY, Sizes[i]);
            assert_non_null(B);
            for (SIZE_T At = 0; At < Sizes[i]; At++)
                if (B[At] != 0)
                    fail_msg("byte %zu of %zu", (size_t)At, (size_t)Sizes[i]);
            memset(B, 0xFF, Sizes[i]);
            assert_true(RtlFreeHeap(Heap, 0, B));
        }
    }
    Destroy();
}
static void Allocate_FailsByNullOrException(void **Unused)
{
    static UCHAR Memory[3 * PAGE_SIZE];
    (void)Unused;
    Make(0, Memory, sizeof Memory, 0, NULL);
    assert_null(Block(0, sizeof Memory)); /* "the request may fail because of system overhead" */
    assert_int_equal(Raised(0, sizeof Memory), STATUS_SUCCESS);
    assert_int_equal(Raised(HEAP_GENERATE_EXCEPTIONS, sizeof Memory),
                     STATUS_NO_MEMORY); /* "will override the corresponding value" */
    Destroy();
    Make(HEAP_GENERATE_EXCEPTIONS, Memory, sizeof Memory, 0, NULL);
    assert_int_equal(Raised(0, sizeof Memory), STATUS_NO_MEMORY);
    assert_int_equal(Raised(0, 100), STATUS_SUCCESS);
    Destroy();
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    assert_null(Block(0, (SIZE_T)1 << 62));
    assert_null(Block(0, ~(SIZE_T)0));
    assert_int_equal(Raised(HEAP_GENERATE_EXCEPTIONS, ~(SIZE_T)15), STATUS_NO_MEMORY);
    Destroy();
}
static void Allocate_DistinctBlocks(void **Unused)
{
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    PUCHAR A = Block(0, 0), B = Block(0, 0), C = Block(0, 17);
    assert_true(A != B && B != C && A != NULL && B != NULL && C != NULL);
    assert_true(RtlFreeHeap(Heap, 0, A) && RtlFreeHeap(Heap, 0, B) && RtlFreeHeap(Heap, 0, C));
    assert_true(RtlFreeHeap(Heap, 0, NULL)); /* _Frees_ptr_opt_ */
    Destroy();
}
static void Allocate_Serialised_NoSerialize(void **Unused)
{
    (void)Unused;
    Make(HEAP_GROWABLE | HEAP_NO_SERIALIZE, NULL, 0, 0, NULL);
    assert_null(((PSP_HEAP *)Heap)->Record->Lock);
    assert_true(RtlFreeHeap(Heap, 0, Block(0, 10)));
    Destroy();
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    PUCHAR B = Block(HEAP_NO_SERIALIZE, 10);
    assert_true(RtlFreeHeap(Heap, HEAP_NO_SERIALIZE, B));
    Destroy();
}
static void AtDispatch(void *Which)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    if (*(int *)Which == 0)
        RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, NULL);
    else if (*(int *)Which == 1)
        RtlAllocateHeap(Heap, 0, 10);
    else if (*(int *)Which == 2)
        RtlFreeHeap(Heap, 0, &Old);
    else
        RtlDestroyHeap(Heap);
}
static void Irql_BelowDispatch(void **Unused)
{
    KIRQL Old;
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    for (int Which = 0; Which < 4; Which++)
        ExpectStop(AtDispatch, &Which, 0xC4, 0xE5, DISPATCH_LEVEL, 0, 0);
    KeRaiseIrql(APC_LEVEL, &Old);
    PUCHAR B = Block(0, 100000);
    assert_non_null(B);
    assert_true(RtlFreeHeap(Heap, 0, B));
    KeLowerIrql(Old);
    Destroy();
}
/* "Processes can call RtlDestroyHeap without first calling RtlFreeHeap" */
static void Destroy_WithBlocksLeft(void **Unused)
{
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    PUCHAR Small = Block(0, 100), Large = Block(0, 1 << 20);
    for (int i = 0; i < 100; i++)
        Block(0, 20000); /* in several segments */
    Destroy();
    assert_int_equal(State(Small), MEM_FREE);
    assert_int_equal(State(Large), MEM_FREE);
}
/* "The memory of a private heap object is accessible only to the process that created it." */
static void Heap_OfAnotherProcess(void **Unused)
{
    KPROCESS *Other;
    KAPC_STATE Apc;
    (void)Unused;
    assert_int_equal(PspCreateNamedProcess("other.exe", &Other), STATUS_SUCCESS);
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    PVOID B = Block(0, 10);
    KeStackAttachProcess((PRKPROCESS)Other, &Apc);
    assert_null(RtlAllocateHeap(Heap, 0, 10));
    assert_int_equal(Raised(HEAP_GENERATE_EXCEPTIONS, 10), STATUS_ACCESS_VIOLATION);
    assert_false(RtlFreeHeap(Heap, 0, B));
    assert_int_equal(RtlSizeHeap(Heap, 0, B), ~(SIZE_T)0);
    assert_ptr_equal(RtlDestroyHeap(Heap), Heap); /* "If the call fails, the return value is a handle for the heap." */
    PVOID Theirs = RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, NULL);
    assert_non_null(Theirs);
    assert_non_null(RtlAllocateHeap(Theirs, 0, 10));
    KeUnstackDetachProcess(&Apc);
    assert_null(RtlAllocateHeap(Theirs, 0, 10));
    assert_int_equal(PspEndProcess(Other, STATUS_SUCCESS), STATUS_SUCCESS); /* its heaps end with it */
    ObDereferenceObject(Other);
    Destroy();
}

/* ---- RtlReAllocateHeap, RtlSizeHeap ---- */
static void ReAllocate_KeepsContents(void **Unused)
{
    static const SIZE_T Sizes[] = {10, 0, 200, 48, 5000, 0x7F000, 100, 0x7F001, 0x90000, 0x8F000, 3};
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    PUCHAR B = Block(0, 0), Next = Block(0, 10);
    SIZE_T Had = 0;
    for (size_t i = 0; i < sizeof Sizes / sizeof *Sizes; i++) {
        B = RtlReAllocateHeap(Heap, HEAP_ZERO_MEMORY, B, Sizes[i]);
        assert_non_null(B);
        assert_int_equal(RtlSizeHeap(Heap, 0, B), Sizes[i]);
        for (SIZE_T At = 0; At < Sizes[i]; At++)
            if (B[At] != (At < Had ? (UCHAR)(At * 7 + i - 1) : 0))
                fail_msg("byte %zu of size %zu", (size_t)At, i);
        for (SIZE_T At = 0; At < Sizes[i]; At++)
            B[At] = (UCHAR)(At * 7 + i);
        Had = Sizes[i];
        assert_null(PspValidateHeap(Heap));
    }
    assert_true(RtlFreeHeap(Heap, 0, B) && RtlFreeHeap(Heap, 0, Next));
    assert_null(RtlReAllocateHeap(Heap, 0, NULL, 10));
    Destroy();
}
static void ReAllocate_InPlaceOnly(void **Unused)
{
    (void)Unused;
    Make(HEAP_GROWABLE, NULL, 0, 0, NULL);
    PUCHAR B = Block(0, 1000), Next = Block(0, 10);
    assert_ptr_equal(RtlReAllocateHeap(Heap, HEAP_REALLOC_IN_PLACE_ONLY, B, 100), B);
    assert_ptr_equal(RtlReAllocateHeap(Heap, HEAP_REALLOC_IN_PLACE_ONLY, B, 900), B);
    assert_null(RtlReAllocateHeap(Heap, HEAP_REALLOC_IN_PLACE_ONLY, B, 2000));
    assert_int_equal(RtlSizeHeap(Heap, 0, B), 900); /* "the original memory is still allocated" */
    assert_true(RtlFreeHeap(Heap, 0, Next));
    assert_null(PspValidateHeap(Heap));
    Destroy();
}

static int Start(void **State_)
{
    ntmm_options Options;
    (void)State_;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 2;
    return ntmm_start(&Options);
}
static int Stop(void **State_)
{
    (void)State_;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Create_SizesAreThoseOfTheTable),
        cmocka_unit_test(Create_ArgumentsThatContradict),
        cmocka_unit_test(Create_InTheCallersMemory),
        cmocka_unit_test(Create_GrowsBeyondItsReserve),
        cmocka_unit_test(Create_WithTheCallersLock),
        cmocka_unit_test(Parameters_CommitRoutine),
        cmocka_unit_test(Parameters_Segments),
        cmocka_unit_test(Parameters_Decommit),
        cmocka_unit_test(Parameters_MaximumAllocationSize),
        cmocka_unit_test(Parameters_VirtualMemoryThreshold),
        cmocka_unit_test(Allocate_ZeroMemory),
        cmocka_unit_test(Allocate_FailsByNullOrException),
        cmocka_unit_test(Allocate_DistinctBlocks),
        cmocka_unit_test(Allocate_Serialised_NoSerialize),
        cmocka_unit_test(Irql_BelowDispatch),
        cmocka_unit_test(Destroy_WithBlocksLeft),
        cmocka_unit_test(Heap_OfAnotherProcess),
        cmocka_unit_test(ReAllocate_KeepsContents),
        cmocka_unit_test(ReAllocate_InPlaceOnly),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
