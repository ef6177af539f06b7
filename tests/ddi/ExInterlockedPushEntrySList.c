/*
 * ExInterlockedPushEntrySList.c - what the pages of the S-list routines say, a test a sentence.
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ke/ki.h"

/* InitializeSListHead: the list is empty. */
static void Initialize_Head_Empty(void **state)
{
    SLIST_HEADER Head;
    (void)state;
    memset(&Head, 0xFF, sizeof(Head));
    InitializeSListHead(&Head);
    assert_null(FirstEntrySList(&Head));
    assert_int_equal(ExQueryDepthSList(&Head), 0);
    assert_null(ExInterlockedPopEntrySList(&Head, NULL));
    assert_null(ExInterlockedFlushSList(&Head));
}

/* ExInterlockedPushEntrySList: "returns a pointer to the entry that was at the head before; NULL if the list
 * was empty"; pop: "returns a pointer to the first entry", last in, first out. */
static void PushPop_Order_LastInFirstOut(void **state)
{
    SLIST_HEADER Head;
    SLIST_ENTRY Entries[3];
    (void)state;
    ExInitializeSListHead(&Head);
    assert_null(ExInterlockedPushEntrySList(&Head, &Entries[0], NULL));
    assert_ptr_equal(ExInterlockedPushEntrySList(&Head, &Entries[1], NULL), &Entries[0]);
    assert_ptr_equal(ExInterlockedPushEntrySList(&Head, &Entries[2], NULL), &Entries[1]);
    assert_int_equal(ExQueryDepthSList(&Head), 3);
    assert_ptr_equal(FirstEntrySList(&Head), &Entries[2]);
    assert_ptr_equal(ExInterlockedPopEntrySList(&Head, NULL), &Entries[2]);
    assert_ptr_equal(ExInterlockedPopEntrySList(&Head, NULL), &Entries[1]);
    assert_ptr_equal(ExInterlockedPopEntrySList(&Head, NULL), &Entries[0]);
    assert_null(ExInterlockedPopEntrySList(&Head, NULL));
    assert_int_equal(ExQueryDepthSList(&Head), 0);
}

/* ExInterlockedFlushSList: "removes all entries ... returns a pointer to the first". */
static void Flush_All_ChainReturned(void **state)
{
    SLIST_HEADER Head;
    SLIST_ENTRY Entries[3], *Entry;
    int Index;
    (void)state;
    InitializeSListHead(&Head);
    for (Index = 0; Index < 3; Index++)
        RtlInterlockedPushEntrySList(&Head, &Entries[Index]);
    Entry = ExInterlockedFlushSList(&Head);
    for (Index = 2; Index >= 0; Index--, Entry = Entry->Next)
        assert_ptr_equal(Entry, &Entries[Index]);
    assert_null(Entry);
    assert_int_equal(RtlQueryDepthSList(&Head), 0);
    assert_null(RtlFirstEntrySList(&Head));
}

static void PushList_Chain_AllThere(void **state)
{
    SLIST_HEADER Head;
    SLIST_ENTRY Entries[4];
    (void)state;
    RtlInitializeSListHead(&Head);
    RtlInterlockedPushEntrySList(&Head, &Entries[3]);
    Entries[0].Next = &Entries[1];
    Entries[1].Next = &Entries[2];
    assert_ptr_equal(RtlInterlockedPushListSListEx(&Head, &Entries[0], &Entries[2], 3), &Entries[3]);
    assert_int_equal(RtlQueryDepthSList(&Head), 4);
    assert_ptr_equal(RtlInterlockedPopEntrySList(&Head), &Entries[0]);
    assert_ptr_equal(RtlInterlockedPopEntrySList(&Head), &Entries[1]);
    assert_ptr_equal(RtlInterlockedPopEntrySList(&Head), &Entries[2]);
    assert_ptr_equal(RtlInterlockedPopEntrySList(&Head), &Entries[3]);
    RtlInterlockedPushEntrySList(&Head, &Entries[0]);
    assert_ptr_equal(RtlInterlockedFlushSList(&Head), &Entries[0]);
    Entries[0].Next = &Entries[1];
    assert_null(InterlockedPushListSList(&Head, &Entries[0], &Entries[1], 2));
    assert_int_equal(QueryDepthSList(&Head), 2);
    assert_ptr_equal(ExpInterlockedPopEntrySList(&Head), &Entries[0]); /* the kernel's own names of the three */
    assert_ptr_equal(ExpInterlockedPushEntrySList(&Head, &Entries[0]), &Entries[1]);
    assert_ptr_equal(ExpInterlockedFlushSList(&Head), &Entries[0]);
    assert_ptr_equal(Entries[0].Next, &Entries[1]);
    assert_null(Entries[1].Next);
}

/* The header's bits: depth 16 and sequence 48 in the first half, the entry's address in the second. */
static void Header_Bits_AsDocumented(void **state)
{
    SLIST_HEADER Head;
    SLIST_ENTRY Entry;
    ULONG64 Sequence;
    (void)state;
    InitializeSListHead(&Head);
    Sequence = Head.HeaderX64.Sequence;
    ExInterlockedPushEntrySList(&Head, &Entry, NULL);
    assert_int_equal(Head.HeaderX64.Depth, 1);
    assert_int_equal(Head.HeaderX64.NextEntry, (ULONG64)&Entry >> 4);
    assert_int_not_equal(Head.HeaderX64.Sequence, Sequence);
}

/* "All SLIST_HEADER structures must be 16-byte aligned; otherwise ... raises STATUS_DATATYPE_MISALIGNMENT."
 */
static void Header_Misaligned_Raises(void **state)
{
    UCHAR Room[64];
    PSLIST_HEADER Head = (PSLIST_HEADER)((((ULONG_PTR)Room + 15) & ~15ull) + 8);
    volatile NTSTATUS Status = 0;
    (void)state;
    __try {
        InitializeSListHead(Head);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_DATATYPE_MISALIGNMENT);
}

/* The depth counter has 16 bits and wraps. */
static void Depth_Past65535_Wraps(void **state)
{
    static SLIST_ENTRY Entries[65537];
    SLIST_HEADER Head;
    unsigned Index;
    (void)state;
    InitializeSListHead(&Head);
    for (Index = 0; Index < 65537; Index++)
        ExInterlockedPushEntrySList(&Head, &Entries[Index], NULL);
    assert_int_equal(ExQueryDepthSList(&Head), 1);
    for (Index = 0; Index < 65537; Index++)
        assert_ptr_equal(ExInterlockedPopEntrySList(&Head, NULL), &Entries[65536 - Index]);
    assert_null(ExInterlockedPopEntrySList(&Head, NULL));
}

/* ---- entries whose memory is gone ---- */
static void Pop(void *Head)
{
    ExInterlockedPopEntrySList((PSLIST_HEADER)Head, NULL);
}

static void Pop_MemoryOfFirstEntryGone_Stops(void **state)
{
    SLIST_HEADER Head;
    PSLIST_ENTRY Entry = ExAllocatePool2(POOL_FLAG_NON_PAGED, 3 * PAGE_SIZE, 'tsLS');
    ntmm_bugcheck Stop;
    (void)state;
    InitializeSListHead(&Head);
    ExInterlockedPushEntrySList(&Head, Entry, NULL);
    ExFreePool(Entry);
    assert_true(ntmm_catch(Pop, &Head, &Stop));
    assert_int_equal(Stop.code, 0x50);
    assert_int_equal(Stop.parameters[0], (ULONG_PTR)Entry);
}

/* What a pop does when another thread has popped the entry and given its memory back meanwhile. */
static void TryRead_MemoryGone_False(void **state)
{
    ULONG64 Value = 7, *Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 3 * PAGE_SIZE, 'tsLS');
    KIRQL Old;
    (void)state;
    *Block = 42;
    assert_true(KiTryRead(Block, &Value));
    assert_int_equal(Value, 42);
    ExFreePool(Block);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_false(KiTryRead(Block, &Value));
    KeLowerIrql(Old);
    assert_int_equal(Value, 42);
    assert_false(KiTryRead((const ULONG64 *)16, &Value));
    assert_false(KiTryRead((const ULONG64 *)0xDFDFDFDFDFDFDFD8, &Value)); /* not canonical: another trap */
}

/* ---- under contention: no entry is lost or in two hands (the ABA problem) ---- */
#define WORKERS 4
#define NODES   8
static SLIST_HEADER Contended;
typedef struct NODE {
    SLIST_ENTRY Entry;
    int Owned; /* atomic */
} NODE;
static NODE Nodes[NODES];

static void *Juggle(void *Argument)
{
    intptr_t Bad = 0;
    int Step;
    (void)Argument;
    for (Step = 0; Step < 100000; Step++) {
        NODE *First = (NODE *)ExInterlockedPopEntrySList(&Contended, NULL);
        NODE *Second = (NODE *)ExInterlockedPopEntrySList(&Contended, NULL);
        if (First != NULL && __atomic_exchange_n(&First->Owned, 1, __ATOMIC_RELAXED) != 0)
            Bad++;
        if (Second != NULL && __atomic_exchange_n(&Second->Owned, 1, __ATOMIC_RELAXED) != 0)
            Bad++;
        if (First != NULL) {
            __atomic_store_n(&First->Owned, 0, __ATOMIC_RELAXED);
            ExInterlockedPushEntrySList(&Contended, &First->Entry, NULL);
        }
        if (Second != NULL) {
            __atomic_store_n(&Second->Owned, 0, __ATOMIC_RELAXED);
            ExInterlockedPushEntrySList(&Contended, &Second->Entry, NULL);
        }
    }
    return (void *)Bad;
}

static void PopPush_FourThreads_NothingLostOrTwice(void **state)
{
    pthread_t Threads[WORKERS];
    unsigned Index, Found = 0;
    (void)state;
    InitializeSListHead(&Contended);
    for (Index = 0; Index < NODES; Index++)
        ExInterlockedPushEntrySList(&Contended, &Nodes[Index].Entry, NULL);
    for (Index = 0; Index < WORKERS; Index++)
        assert_int_equal(pthread_create(&Threads[Index], NULL, Juggle, NULL), 0);
    for (Index = 0; Index < WORKERS; Index++) {
        void *Bad;
        pthread_join(Threads[Index], &Bad);
        assert_null(Bad);
    }
    assert_int_equal(ExQueryDepthSList(&Contended), NODES);
    while (ExInterlockedPopEntrySList(&Contended, NULL) != NULL)
        Found++;
    assert_int_equal(Found, NODES);
}

static int Start(void **state)
{
    ntmm_options Options;
    (void)state;
    ntmm_default_options(&Options);
    Options.ram = 32 << 20;
    Options.keep = false; /* a freed block of several pages is gone at once */
    return ntmm_start(&Options);
}

static int End(void **state)
{
    (void)state;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Pop_MemoryOfFirstEntryGone_Stops),
        cmocka_unit_test(TryRead_MemoryGone_False),
        cmocka_unit_test(Initialize_Head_Empty),
        cmocka_unit_test(PushPop_Order_LastInFirstOut),
        cmocka_unit_test(Flush_All_ChainReturned),
        cmocka_unit_test(PushList_Chain_AllThere),
        cmocka_unit_test(Header_Bits_AsDocumented),
        cmocka_unit_test(Header_Misaligned_Raises),
        cmocka_unit_test(Depth_Past65535_Wraps),
        cmocka_unit_test(PopPush_FourThreads_NothingLostOrTwice),
    };
    return cmocka_run_group_tests(tests, Start, End);
}
