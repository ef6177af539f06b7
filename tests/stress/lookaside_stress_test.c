/*
 * lookaside_stress_test.c - lookaside lists and S-lists under threads: entries shared by all, lists that come and go while their
 * depths are adjusted, and pops of few entries that are pushed back at once, where a pop that trusted the address alone (ABA)
 * would lose or double one. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <ntifs.h>
#include "ex/ex.h"
#include "tag_kit.h"

#define TAG     'rtSL'
#define THREADS 4
#define ENTRIES 3 /* few: the same address is at the head again and again */
#define ROUNDS  (NTMM_SANITIZED ? 100000 : 1000000)

typedef struct ENTRY {
    SLIST_ENTRY Link;
    volatile LONG Owner; /* the thread that popped it, 0: in the list */
    ULONG64 Count;       /* guarded by owning the entry: a lost or doubled entry loses counts */
} ENTRY;

static SLIST_HEADER Head;
static ENTRY *Entries[ENTRIES];
static volatile LONG Broken, Pops;

static BOOLEAN Own(ENTRY *Entry, LONG Me)
{
    LONG None = 0;
    if (__atomic_compare_exchange_n(&Entry->Owner, &None, Me, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return TRUE;
    __atomic_store_n(&Broken, 1, __ATOMIC_RELAXED);
    return FALSE;
}

static void GiveBack(ENTRY *Entry)
{
    Entry->Count++;
    __atomic_store_n(&Entry->Owner, 0, __ATOMIC_RELEASE);
    ExInterlockedPushEntrySList(&Head, &Entry->Link, NULL);
}

static void *PopAndPush(void *Argument)
{
    LONG Me = (LONG)(uintptr_t)Argument, Mine = 0, Round;
    for (Round = 0; Round < ROUNDS && !__atomic_load_n(&Broken, __ATOMIC_RELAXED); Round++) {
        ENTRY *First = (ENTRY *)ExInterlockedPopEntrySList(&Head, NULL), *Second;
        if (First == NULL || !Own(First, Me))
            continue;
        Mine++;
        /* A second one held while the first goes back: the classic ABA order. */
        Second = (ENTRY *)ExInterlockedPopEntrySList(&Head, NULL);
        if (Second != NULL && Own(Second, Me)) {
            Mine++;
            GiveBack(First);
            GiveBack(Second);
        } else {
            GiveBack(First);
        }
        if (Round % 1024 == 7) { /* all of them at once, and back as a chain */
            PSLIST_ENTRY Chain = ExInterlockedFlushSList(&Head), Next;
            for (; Chain != NULL; Chain = Next) {
                ENTRY *Entry = (ENTRY *)Chain;
                Next = Chain->Next;
                if (Own(Entry, Me)) {
                    Mine++;
                    GiveBack(Entry);
                }
            }
        }
    }
    __atomic_add_fetch(&Pops, Mine, __ATOMIC_RELAXED);
    return NULL;
}

/* "the sequence number protects against": no entry is ever with two owners, none is lost, every pop is counted. */
static void SList_FewEntriesManyThreads_NoneLostOrDoubled(void **State)
{
    pthread_t Threads[THREADS];
    ULONG64 Total = 0;
    unsigned Index;
    (void)State;
    InitializeSListHead(&Head);
    for (Index = 0; Index < ENTRIES; Index++) {
        Entries[Index] = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(ENTRY), TAG);
        ExInterlockedPushEntrySList(&Head, &Entries[Index]->Link, NULL);
    }
    for (Index = 0; Index < THREADS; Index++)
        Threads[Index] = Spawn(PopAndPush, (void *)(uintptr_t)(Index + 1));
    for (Index = 0; Index < THREADS; Index++)
        Join(Threads[Index]);
    assert_false(Broken);
    assert_int_equal(ExQueryDepthSList(&Head), ENTRIES);
    for (Index = 0; Index < ENTRIES; Index++) {
        ENTRY *Entry = (ENTRY *)ExInterlockedPopEntrySList(&Head, NULL);
        assert_non_null(Entry);
        assert_int_equal(Entry->Owner, 0);
        Total += Entry->Count;
        ExFreePool(Entry);
    }
    assert_null(ExInterlockedPopEntrySList(&Head, NULL));
    assert_int_equal(Total, Pops);
}

/* Entries whose memory is given back the moment they are popped: the pops of others may read where nothing is. */
static volatile LONG Freed, Pushed;

static void *PopAndFree(void *Argument)
{
    LONG Round;
    (void)Argument;
    for (Round = 0; Round < 3000; Round++) {
        PSLIST_ENTRY Entry = MmAllocatePages(MmRegionSystemPtes, 1, 0, HighPoolPriority);
        if (Entry != NULL) {
            __atomic_add_fetch(&Pushed, 1, __ATOMIC_RELAXED);
            ExInterlockedPushEntrySList(&Head, Entry, NULL);
        }
        Entry = ExInterlockedPopEntrySList(&Head, NULL);
        if (Entry != NULL) {
            __atomic_add_fetch(&Freed, 1, __ATOMIC_RELAXED);
            MmFreePages(Entry, 1);
        }
    }
    return NULL;
}

static void SList_PoppedEntryUnmapped_OtherPopsSurvive(void **State)
{
    pthread_t Threads[THREADS];
    PSLIST_ENTRY Entry;
    unsigned Index;
    (void)State;
    InitializeSListHead(&Head);
    for (Index = 0; Index < THREADS; Index++)
        Threads[Index] = Spawn(PopAndFree, NULL);
    for (Index = 0; Index < THREADS; Index++)
        Join(Threads[Index]);
    while ((Entry = ExInterlockedPopEntrySList(&Head, NULL)) != NULL) {
        Freed++;
        MmFreePages(Entry, 1);
    }
    assert_int_equal(Freed, Pushed);
}

/* ---- lookaside lists ---- */
static NPAGED_LOOKASIDE_LIST Shared;
static PAGED_LOOKASIDE_LIST SharedPaged;
static LOOKASIDE_LIST_EX SharedEx;
static volatile LONG Live;

static PVOID AllocateEx(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    if (Lookaside != &SharedEx)
        __atomic_store_n(&Broken, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&Live, 1, __ATOMIC_RELAXED);
    return ExAllocatePoolWithTag(PoolType, NumberOfBytes, Tag);
}

static VOID FreeEx(PVOID Buffer, PLOOKASIDE_LIST_EX Lookaside)
{
    (void)Lookaside;
    __atomic_sub_fetch(&Live, 1, __ATOMIC_RELAXED);
    ExFreePool(Buffer);
}

static void Fill(PVOID Entry, LONG Me)
{
    ((volatile LONG *)Entry)[4] = Me;
    ((volatile LONG *)Entry)[15] = ~Me;
}

static void Check(PVOID Entry, LONG Me)
{
    if (((volatile LONG *)Entry)[4] != Me || ((volatile LONG *)Entry)[15] != ~Me)
        __atomic_store_n(&Broken, 1, __ATOMIC_RELAXED);
}

static void *UseLists(void *Argument)
{
    LONG Me = (LONG)(uintptr_t)Argument;
    NPAGED_LOOKASIDE_LIST Own;
    PVOID Held[24];
    unsigned Round, Index;
    for (Round = 0; Round < 4000; Round++) {
        for (Index = 0; Index < 24; Index++) {
            Held[Index] = Index % 3 == 0   ? ExAllocateFromNPagedLookasideList(&Shared)
                          : Index % 3 == 1 ? ExAllocateFromPagedLookasideList(&SharedPaged)
                                           : ExAllocateFromLookasideListEx(&SharedEx);
            Fill(Held[Index], Me);
        }
        for (Index = 0; Index < 24; Index++) {
            Check(Held[Index], Me);
            if (Index % 3 == 0)
                ExFreeToNPagedLookasideList(&Shared, Held[Index]);
            else if (Index % 3 == 1)
                ExFreeToPagedLookasideList(&SharedPaged, Held[Index]);
            else
                ExFreeToLookasideListEx(&SharedEx, Held[Index]);
        }
        if (Round % 16 == 0) { /* lists that come and go while others are adjusted */
            ExInitializeNPagedLookasideList(&Own, NULL, NULL, POOL_NX_ALLOCATION, 64, TAG, 0);
            ExFreeToNPagedLookasideList(&Own, ExAllocateFromNPagedLookasideList(&Own));
            if (Me == 1)
                ExAdjustLookasideDepth();
            ExDeleteNPagedLookasideList(&Own);
            memset(&Own, 0x11, sizeof Own); /* what the scan wrote now would show nowhere; the sanitizers see the race */
        }
        if (Round % 256 == 0)
            ExFlushLookasideListEx(&SharedEx);
    }
    return NULL;
}

static void Lookaside_ThreadsAndScans_NothingLost(void **State)
{
    pthread_t Threads[THREADS];
    unsigned Index;
    (void)State;
    ExInitializeNPagedLookasideList(&Shared, NULL, NULL, POOL_NX_ALLOCATION, 64, TAG, 0);
    ExInitializePagedLookasideList(&SharedPaged, NULL, NULL, 0, 64, TAG, 0);
    assert_int_equal(ExInitializeLookasideListEx(&SharedEx, AllocateEx, FreeEx, NonPagedPoolNx, 0, 64, TAG, 0), STATUS_SUCCESS);
    for (Index = 0; Index < THREADS; Index++)
        Threads[Index] = Spawn(UseLists, (void *)(uintptr_t)(Index + 1));
    for (Index = 0; Index < THREADS; Index++)
        Join(Threads[Index]);
    assert_false(Broken);
    ExDeleteNPagedLookasideList(&Shared);
    ExDeletePagedLookasideList(&SharedPaged);
    ExDeleteLookasideListEx(&SharedEx);
    assert_int_equal(Live, 0);
    assert_int_equal(KitTagUse(TAG).Blocks, 0);
    assert_null(ExpValidatePools());
}

static int Start(void **State)
{
    ExpLookasidePeriod = 1;
    return StartTwoProcessors(State);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(SList_FewEntriesManyThreads_NoneLostOrDoubled),
        cmocka_unit_test(SList_PoppedEntryUnmapped_OtherPopsSurvive),
        cmocka_unit_test(Lookaside_ThreadsAndScans_NothingLost),
    };
    return cmocka_run_group_tests(Tests, Start, StopSystem);
}
