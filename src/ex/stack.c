/*
 * stack.c - the stack depot: each distinct call stack is kept once and named by a number of 32 bits.
 * SPDX-License-Identifier: MIT
 *
 * With KeOptions.StackDepth of n > 0 each block keeps two such numbers: of the stack that allocated it and of
 * the one that freed it. The n innermost return addresses from the routine that the driver called on are taken
 * by following frame pointers; those of the pools' own routines, down to the driver's, are left out. Equal stacks share a record, so a driver's blocks cost the depot one record
 * per place that allocates.
 *
 *   id = chunk * 4096 + offset in the chunk, in units of 16 bytes;  0: no stack
 *   record: | Hash | Next (id) | Count | frames ... |
 *
 * Records are never given back and never change, so chains are walked without a lock; StackLock guards
 * adding. When DEPOT_CHUNKS are used up, new stacks are not kept (id 0) and known ones still are found.
 */
#include "ex/exp.h"

#define DEPOT_CHUNK_BYTES 65536u
#define DEPOT_CHUNKS      1024u
#define DEPOT_BUCKETS     4096u

typedef struct _DEPOT_STACK {
    ULONG Hash, Next, Count, Reserved;
    ULONG_PTR Frames[];
} DEPOT_STACK;

static struct {
    ULONG Buckets[DEPOT_BUCKETS];
    PUCHAR Chunks[DEPOT_CHUNKS];
    ULONG Chunk;  /* being filled */
    ULONG Offset; /* in it; 0: none yet */
} ExpDepot;

static DEPOT_STACK *ExpStackOfId(ULONG Id)
{
    return (DEPOT_STACK *)(__atomic_load_n(&ExpDepot.Chunks[Id >> 12], __ATOMIC_ACQUIRE) + (Id & 0xFFF) * 16);
}

static ULONG ExpSearchStack(ULONG Hash, const ULONG_PTR *Frames, ULONG Count)
{
    ULONG Id = __atomic_load_n(&ExpDepot.Buckets[Hash % DEPOT_BUCKETS], __ATOMIC_ACQUIRE);
    while (Id != 0) {
        DEPOT_STACK *Stack = ExpStackOfId(Id);
        if (Stack->Hash == Hash && Stack->Count == Count && memcmp(Stack->Frames, Frames, Count * sizeof(*Frames)) == 0)
            break;
        Id = Stack->Next;
    }
    return Id;
}

static ULONG ExpAddStack(ULONG Hash, const ULONG_PTR *Frames, ULONG Count)
{
    ULONG Bytes = (ULONG)((sizeof(DEPOT_STACK) + Count * sizeof(*Frames) + 15) & ~15ull);
    DEPOT_STACK *Stack;
    ULONG Id;
    if (ExpDepot.Chunks[ExpDepot.Chunk] == NULL || ExpDepot.Offset + Bytes > DEPOT_CHUNK_BYTES) {
        ULONG Chunk = ExpDepot.Chunks[ExpDepot.Chunk] == NULL ? ExpDepot.Chunk : ExpDepot.Chunk + 1;
        PUCHAR Memory;
        if (Chunk == DEPOT_CHUNKS)
            return 0;
        Memory = MmAllocatePages(MmRegionSystemData, DEPOT_CHUNK_BYTES / PAGE_SIZE, MM_PAGES_ZERO | MM_PAGES_NO_RECLAIM,
                                 LowPoolPriority);
        if (Memory == NULL)
            return 0;
        __atomic_store_n(&ExpDepot.Chunks[Chunk], Memory, __ATOMIC_RELEASE);
        ExpDepot.Chunk = Chunk;
        ExpDepot.Offset = 16; /* id 0 means none */
    }
    Id = (ExpDepot.Chunk << 12) + ExpDepot.Offset / 16;
    ExpDepot.Offset += Bytes;
    Stack = ExpStackOfId(Id);
    Stack->Hash = Hash;
    Stack->Count = Count;
    Stack->Next = ExpDepot.Buckets[Hash % DEPOT_BUCKETS];
    memcpy(Stack->Frames, Frames, Count * sizeof(*Frames));
    __atomic_store_n(&ExpDepot.Buckets[Hash % DEPOT_BUCKETS], Id, __ATOMIC_RELEASE);
    return Id;
}

#define OWN_FRAMES 10u /* of the pools' own routines, at most */

/* The frame that returns to Caller: the pools' own ones, which keep frame pointers, are stepped over. NULL: the chain does not lead there. */
static KI_NO_MSAN __attribute__((no_sanitize("address", "thread"))) const ULONG_PTR *ExpFrameOf(const ULONG_PTR *At,
                                                                                                ULONG_PTR Caller)
{
    ULONG_PTR Low, High;
    HalQueryStack(&Low, &High);
    for (ULONG Own = 0; Own <= OWN_FRAMES && (ULONG_PTR)At >= Low && (ULONG_PTR)At <= High - 16 && ((ULONG_PTR)At & 7) == 0;
         Own++) {
        if (At[1] == Caller)
            return At;
        if (At[0] <= (ULONG_PTR)At)
            break;
        At = (const ULONG_PTR *)At[0];
    }
    return NULL;
}

DECLSPEC_NOINLINE ULONG ExpCaptureStack(ULONG_PTR Caller)
{
    const ULONG_PTR *At = ExpFrameOf(__builtin_frame_address(0), Caller);
    ULONG_PTR All[EXP_MAX_STACK + 1], *Frames = All + 1;
    ULONG Count = 1, Index, Hash, Id;
    ULONG64 Mix;
    if (At != NULL) { /* from that frame on; the first of All is the code in it, the pools' */
        const HAL_CONTEXT Here = {.Rip = Caller, .Rsp = (ULONG_PTR)At, .Rbp = (ULONG_PTR)At};
        Count = HalCaptureStack(&Here, All, ExpState.StackDepth + 1, HAL_STACK_FAST) - 1;
    }
    if (At == NULL || Count == 0) { /* the chain of frames is broken: the caller alone */
        All[1] = Caller;
        Count = 1;
    }
    Mix = Count;
    for (Index = 0; Index < Count; Index++)
        Mix = (Mix ^ Frames[Index]) * 0x9E3779B97F4A7C15ull;
    Hash = (ULONG)(Mix >> 32);
    Id = ExpSearchStack(Hash, Frames, Count);
    if (Id == 0) {
        KiAcquireLock(&ExpState.StackLock);
        Id = ExpSearchStack(Hash, Frames, Count);
        if (Id == 0)
            Id = ExpAddStack(Hash, Frames, Count);
        KiReleaseLock(&ExpState.StackLock);
    }
    return Id;
}

ULONG ExpReadStack(ULONG Id, ULONG_PTR Frames[EXP_MAX_STACK])
{
    DEPOT_STACK *Stack;
    if (Id == 0 || (Id >> 12) >= DEPOT_CHUNKS || ExpDepot.Chunks[Id >> 12] == NULL)
        return 0;
    Stack = ExpStackOfId(Id);
    memcpy(Frames, Stack->Frames, Stack->Count * sizeof(*Frames));
    return Stack->Count;
}

VOID ExpResetStacks(VOID)
{
    ExpClear(&ExpDepot, sizeof(ExpDepot));
}
