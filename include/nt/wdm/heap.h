/*
 * heap.h - heaps: memory that a driver divides itself, from its process's user range or from a block of its own.
 *
 * A heap's memory is pageable unless the caller gave it memory that is not, and belongs to the process that made it. Blocks are
 * aligned to 16 bytes. Misuse and damage is bug check 0x13A (type, heap, address where it was seen, 0). IRQL < DISPATCH_LEVEL for all
 * routines. RtlReAllocateHeap and RtlSizeHeap have no page for drivers; they do what the pages of HeapReAlloc and HeapSize say.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_HEAP_
#define _NTMM_HEAP_

#ifdef __cplusplus
extern "C" {
#endif

#define HEAP_NO_SERIALIZE             0x00000001 /* the caller keeps other threads away */
#define HEAP_GROWABLE                 0x00000002
#define HEAP_GENERATE_EXCEPTIONS      0x00000004 /* failures are raised */
#define HEAP_ZERO_MEMORY              0x00000008
#define HEAP_REALLOC_IN_PLACE_ONLY    0x00000010
#define HEAP_TAIL_CHECKING_ENABLED    0x00000020 /* always done */
#define HEAP_FREE_CHECKING_ENABLED    0x00000040 /* always done */
#define HEAP_DISABLE_COALESCE_ON_FREE 0x00000080 /* ignored */
#define HEAP_CREATE_ALIGN_16          0x00010000 /* always so */
#define HEAP_CREATE_ENABLE_TRACING    0x00020000 /* ignored */
#define HEAP_CREATE_ENABLE_EXECUTE    0x00040000 /* the heap's own pages may be executed */
#define HEAP_MAXIMUM_TAG              0x0FFF
#define HEAP_PSEUDO_TAG_FLAG          0x8000
#define HEAP_TAG_SHIFT                18
#define HEAP_CLASS_0                  0x00000000
#define HEAP_CLASS_1                  0x00001000
#define HEAP_CLASS_2                  0x00002000
#define HEAP_CLASS_3                  0x00003000
#define HEAP_CLASS_4                  0x00004000
#define HEAP_CLASS_5                  0x00005000
#define HEAP_CLASS_6                  0x00006000
#define HEAP_CLASS_7                  0x00007000
#define HEAP_CLASS_8                  0x00008000
#define HEAP_CLASS_MASK               0x0000F000

/* Commits pages of the caller's block behind the part that is committed: in, *CommitAddress is where and *CommitSize how much the heap
 * wants; out, where and how much there is. Page: RTL_HEAP_COMMIT_ROUTINE */
typedef NTSTATUS NTAPI RTL_HEAP_COMMIT_ROUTINE(PVOID Base, PVOID *CommitAddress, PSIZE_T CommitSize);
typedef RTL_HEAP_COMMIT_ROUTINE *PRTL_HEAP_COMMIT_ROUTINE;

/* Bytes throughout; 0: the default. Page: RTL_HEAP_PARAMETERS */
typedef struct _RTL_HEAP_PARAMETERS {
    ULONG Length;                      /* sizeof(RTL_HEAP_PARAMETERS) */
    SIZE_T SegmentReserve;             /* each time the heap grows beyond what is reserved; 1 MiB */
    SIZE_T SegmentCommit;              /* each time it needs more; two pages */
    SIZE_T DeCommitFreeBlockThreshold; /* a free run at the end of this size goes back; one page */
    SIZE_T DeCommitTotalFreeThreshold; /* if this much is free in all; 65,536 */
    SIZE_T MaximumAllocationSize;      /* asking for more is bug check 0x13A/0x14; no limit */
    SIZE_T VirtualMemoryThreshold;     /* larger blocks get pages of their own; 0x7F000, which is the most */
    SIZE_T InitialCommit;              /* with HeapBase and CommitRoutine: how much is committed already, not 0 */
    SIZE_T InitialReserve;             /* with HeapBase and CommitRoutine: the block's size, not 0 */
    PRTL_HEAP_COMMIT_ROUTINE CommitRoutine;
    SIZE_T Reserved[2]; /* 0 */
} RTL_HEAP_PARAMETERS, *PRTL_HEAP_PARAMETERS;
C_ASSERT(sizeof(RTL_HEAP_PARAMETERS) == 0x60 && FIELD_OFFSET(RTL_HEAP_PARAMETERS, CommitRoutine) == 0x48);

/* A heap, or NULL: no memory, or the arguments contradict each other: no HeapBase and not HEAP_GROWABLE; HEAP_NO_SERIALIZE and a Lock;
 * a CommitRoutine without HeapBase, with HEAP_GROWABLE, or without InitialCommit and InitialReserve; Length or Reserved wrong. Lock: an
 * initialised ERESOURCE in nonpaged memory, which stays the caller's; NULL: the heap has its own. Page: RtlCreateHeap */
NTSYSAPI PVOID NTAPI RtlCreateHeap(ULONG Flags, PVOID HeapBase, SIZE_T ReserveSize, SIZE_T CommitSize, PVOID Lock,
                                   PRTL_HEAP_PARAMETERS Parameters);
/* NULL; the handle if the heap belongs to another process. Blocks need not be freed first. Page: RtlDestroyHeap */
NTSYSAPI PVOID NTAPI RtlDestroyHeap(PVOID HeapHandle);
/* A block, or NULL; with HEAP_GENERATE_EXCEPTIONS (here or at creation) raises STATUS_NO_MEMORY, STATUS_BUFFER_TOO_SMALL (a heap that
 * is not growable, Size above its virtual memory threshold) or STATUS_ACCESS_VIOLATION (another process's heap). Page: RtlAllocateHeap */
NTSYSAPI PVOID NTAPI RtlAllocateHeap(PVOID HeapHandle, ULONG Flags, SIZE_T Size);
/* TRUE; FALSE if the heap belongs to another process. NULL is no block and freeing it does nothing. Page: RtlFreeHeap */
NTSYSAPI LOGICAL NTAPI RtlFreeHeap(PVOID HeapHandle, ULONG Flags, PVOID BaseAddress);
/* The block, perhaps elsewhere, with what it held; HEAP_ZERO_MEMORY clears what it gained. NULL (or an exception): the old block stays
 * as it was. */
NTSYSAPI PVOID NTAPI RtlReAllocateHeap(PVOID HeapHandle, ULONG Flags, PVOID BaseAddress, SIZE_T Size);
/* The bytes that were asked for; ~0 if the heap belongs to another process. */
NTSYSAPI SIZE_T NTAPI RtlSizeHeap(PVOID HeapHandle, ULONG Flags, PVOID BaseAddress);

#ifdef __cplusplus
}
#endif
#endif
