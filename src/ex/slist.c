/*
 * slist.c - S-lists: interlocked singly linked lists, last in, first out.
 * SPDX-License-Identifier: MIT
 *
 * Implements InitializeSListHead, ExpInterlockedPush/Pop/FlushEntrySList (behind the ExInterlocked macros),
 * ExQueryDepthSList, FirstEntrySList and the Rtl names of the same.
 *
 * The header is 16 bytes, changed as a whole by cmpxchg16b:
 *
 *    Alignment  | Sequence : 48 | Depth : 16 |     Region  | NextEntry : 60 | 0 : 4 |  = entry's address
 *
 * A push counts Depth and Sequence up, a pop counts Depth down. So a header that a pop has read cannot come
 * back with another chain behind the same first entry: that takes a push, and the sequence has moved (the ABA
 * problem).
 *
 * A pop reads Next of the first entry before it knows that the entry is still there: another thread may have
 * popped it, and may have given its memory back. What is read is then thrown away, since the exchange fails;
 * and where there is nothing to read (KiTryRead) the header is read again. Only if the header still names the
 * entry is the fault a real one: the memory of an entry in the list is gone. At raised IRQL that is 0xC5 for a
 * lookaside list, which belongs to the pools (ExpPopPoolEntry), and 0x0A for a driver's own S-list.
 *
 * The two halves are read one after the other; a torn pair fails the exchange, unless Sequence and Depth are
 * unchanged, and then the pair was not torn in a way that matters: only pushes and pops move Region, and both
 * move Alignment.
 *
 * Any IRQL. No locks. Misaligned headers and entries raise STATUS_DATATYPE_MISALIGNMENT.
 */
#include "ex/exp.h"

NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);

#define SLIST_DEPTH    0x1ull
#define SLIST_SEQUENCE 0x10000ull

/* The thread sanitizer does not see through the assembly. */
#ifdef KI_TSAN
#define EXP_ACQUIRE(Address) __tsan_acquire(Address)
#define EXP_RELEASE(Address) __tsan_release(Address)
#else
#define EXP_ACQUIRE(Address) ((void)0)
#define EXP_RELEASE(Address) ((void)0)
#endif

static inline BOOLEAN ExpExchangeHeader(PSLIST_HEADER Head, ULONG64 Old[2], ULONG64 NewLow, ULONG64 NewHigh)
{
    BOOLEAN Done;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(Done), "+m"(*Head), "+a"(Old[0]), "+d"(Old[1])
                     : "b"(NewLow), "c"(NewHigh)
                     : "memory");
    return Done;
}

static inline VOID ExpReadHeader(PSLIST_HEADER Head, ULONG64 Old[2])
{
    Old[0] = __atomic_load_n(&Head->Alignment, __ATOMIC_ACQUIRE);
    Old[1] = __atomic_load_n(&Head->Region, __ATOMIC_ACQUIRE);
}

static inline VOID ExpCheckAligned(const volatile VOID *Address)
{
    if (__builtin_expect(((ULONG_PTR)Address & 15) != 0, 0))
        ExRaiseStatus(STATUS_DATATYPE_MISALIGNMENT);
}

VOID InitializeSListHead(PSLIST_HEADER SListHead)
{
    ExpCheckAligned(SListHead);
    SListHead->Alignment = 0;
    SListHead->Region = 0;
}

static PSLIST_ENTRY ExpPushChain(PSLIST_HEADER Head, PSLIST_ENTRY First, PSLIST_ENTRY Last, ULONG Count)
{
    ULONG64 Old[2];
    ExpCheckAligned(Head);
    ExpCheckAligned(First);
    ExpReadHeader(Head, Old);
    do {
        __atomic_store_n(&Last->Next, (PSLIST_ENTRY)(Old[1] & ~15ull), __ATOMIC_RELAXED);
        EXP_RELEASE(Head);
    } while (!ExpExchangeHeader(Head, Old, ((Old[0] + SLIST_SEQUENCE) & ~0xFFFFull) | ((Old[0] + Count * SLIST_DEPTH) & 0xFFFF),
                                (ULONG64)First));
    return (PSLIST_ENTRY)(Old[1] & ~15ull);
}

PSLIST_ENTRY ExpInterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry)
{
    return ExpPushChain(ListHead, ListEntry, ListEntry, 1);
}

/* Pool: the list is one of the pool's own (a lookaside list), so a dead entry at raised IRQL is a corrupted pool. */
static inline PSLIST_ENTRY ExpPop(PSLIST_HEADER ListHead, BOOLEAN Pool)
{
    ULONG64 Old[2], Now[2], Next = 0;
    PSLIST_ENTRY First;
    ExpCheckAligned(ListHead);
    ExpReadHeader(ListHead, Old);
    for (;;) {
        First = (PSLIST_ENTRY)(Old[1] & ~15ull);
        if (First == NULL)
            return NULL;
        if (!KiTryRead((const volatile ULONG64 *)&First->Next, &Next)) {
            ExpReadHeader(ListHead, Now);
            if (Now[0] == Old[0] && Now[1] == Old[1]) {
                KIRQL Irql = KeGetCurrentIrql();
                if (Pool && Irql >= DISPATCH_LEVEL)
                    KiStop(DRIVER_CORRUPTED_EXPOOL,
                           "A lookaside list leads to memory that is not there: an entry was written to after it was freed, or "
                           "its "
                           "memory is gone.",
                           NULL, (ULONG_PTR)&First->Next, Irql, 0, (ULONG_PTR)KiTryReadAt);
                Next = *(const volatile ULONG64 *)&First->Next; /* faults for good */
            }
            Old[0] = Now[0];
            Old[1] = Now[1];
            continue;
        }
        if (ExpExchangeHeader(ListHead, Old, (Old[0] & ~0xFFFFull) | ((Old[0] - SLIST_DEPTH) & 0xFFFF), Next))
            break;
    }
    EXP_ACQUIRE(ListHead);
    return First;
}

PSLIST_ENTRY ExpInterlockedPopEntrySList(PSLIST_HEADER ListHead)
{
    return ExpPop(ListHead, FALSE);
}

PSLIST_ENTRY ExpPopPoolEntry(PSLIST_HEADER ListHead)
{
    return ExpPop(ListHead, TRUE);
}

PSLIST_ENTRY ExpInterlockedFlushSList(PSLIST_HEADER ListHead)
{
    ULONG64 Old[2];
    ExpCheckAligned(ListHead);
    ExpReadHeader(ListHead, Old);
    do {
        if ((Old[1] & ~15ull) == 0)
            return NULL;
    } while (!ExpExchangeHeader(ListHead, Old, Old[0] & ~0xFFFFull, 0));
    EXP_ACQUIRE(ListHead);
    return (PSLIST_ENTRY)(Old[1] & ~15ull);
}

USHORT ExQueryDepthSList(PSLIST_HEADER SListHead)
{
    return (USHORT)__atomic_load_n(&SListHead->Alignment, __ATOMIC_RELAXED);
}

PSLIST_ENTRY FirstEntrySList(const SLIST_HEADER *SListHead)
{
    return (PSLIST_ENTRY)(__atomic_load_n(&SListHead->Region, __ATOMIC_RELAXED) & ~15ull);
}

VOID RtlInitializeSListHead(PSLIST_HEADER ListHead)
{
    InitializeSListHead(ListHead);
}

PSLIST_ENTRY RtlFirstEntrySList(const SLIST_HEADER *ListHead)
{
    return FirstEntrySList(ListHead);
}

PSLIST_ENTRY RtlInterlockedPopEntrySList(PSLIST_HEADER ListHead)
{
    return ExpInterlockedPopEntrySList(ListHead);
}

PSLIST_ENTRY RtlInterlockedPushEntrySList(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry)
{
    return ExpPushChain(ListHead, ListEntry, ListEntry, 1);
}

PSLIST_ENTRY RtlInterlockedPushListSListEx(PSLIST_HEADER ListHead, PSLIST_ENTRY List, PSLIST_ENTRY ListEnd, ULONG Count)
{
    return ExpPushChain(ListHead, List, ListEnd, Count);
}

PSLIST_ENTRY InterlockedPushListSList(PSLIST_HEADER ListHead, PSLIST_ENTRY List, PSLIST_ENTRY ListEnd, ULONG Count)
{
    return ExpPushChain(ListHead, List, ListEnd, Count);
}

PSLIST_ENTRY RtlInterlockedFlushSList(PSLIST_HEADER ListHead)
{
    return ExpInterlockedFlushSList(ListHead);
}

USHORT RtlQueryDepthSList(PSLIST_HEADER ListHead)
{
    return ExQueryDepthSList(ListHead);
}
