/*
 * zeropage.c - the zero-page thread: free pages become zeroed ones while nobody waits. SPDX-License-Identifier: MIT
 *
 * A demand-zero fault takes a zeroed page if there is one and zeroes a free one otherwise, which costs it a tenth more. The
 * thread keeps a small stock for bursts; RAM that nobody has touched (extents, pfn.c) is zero as it is, and while there is
 * enough of that the thread never runs. It is started when it is first needed, by the balance manager.
 *
 *      zeroed < ZeroLow and free > ZeroHigh  -->  Free --off the list, MiPageTransition--> zeroed by the machine --> Zeroed
 *
 * MmDiscardFreePages does the same for another end: it gives the memory of free pages back to the host, in runs as long as the
 * list has them, and they are zeroed pages then. Who has given up pages for being idle asks for it (the pools' trim).
 *
 * With several nodes each has its own stock, and the node with the most to do comes first.
 *
 * A page being zeroed is in transition with one reference, as a page in I/O is, so the counts add up at every moment.
 * Locks: PfnLock, not while zeroing. PASSIVE_LEVEL.
 */
#include "mm/mi.h"

#define MI_ZERO_BATCH 64u

static ULONG64 MiZeroLow(VOID)
{
    ULONG64 Low = MiManagedPages() / 64;
    return Low > 512 ? 512 : Low;
}

/* Each node has a stock of its own. */
static BOOLEAN MiShouldZeroOn(const ULONG64 *StateCount, ULONG64 Low)
{
    return __atomic_load_n(&StateCount[MiPageZeroed], __ATOMIC_RELAXED) < Low &&
           __atomic_load_n(&StateCount[MiPageFree], __ATOMIC_RELAXED) > Low;
}
static BOOLEAN MiShouldZero(VOID)
{
    BOOLEAN Should = MiState->Nodes == 1 && MiShouldZeroOn(MiState->StateCount, MiZeroLow());
    for (ULONG Node = 0; MiState->Nodes > 1 && Node < MiState->Nodes && !Should; Node++) {
        Should = MiShouldZeroOn(MiState->Node[Node].StateCount, MiZeroLow() / MiState->Nodes);
    }
    return Should;
}

/* The node with the most free frames and the fewest zeroed ones. PfnLock held. */
static MI_PAGE_LIST *MiDirtiestList(VOID)
{
    ULONG Best = 0;
    LONG64 Most = 0;
    for (ULONG Node = 0; MiState->Nodes > 1 && Node < MiState->Nodes; Node++) {
        const MI_NODE *Here = &MiState->Node[Node];
        LONG64 More = (LONG64)(Here->Lists[MiPageFree].Total - Here->StateCount[MiPageZeroed]);
        if (Here->Lists[MiPageFree].Total && (More > Most || MiState->Node[Best].Lists[MiPageFree].Total == 0)) {
            Best = Node;
            Most = More;
        }
    }
    return &MiState->Node[Best].Lists[MiPageFree];
}

static VOID MiDiscard(const PFN_NUMBER *Pages, ULONG Count)
{
    for (ULONG First = 0, Last; First < Count; First = Last) {
        Last = First + 1;
        if (Last < Count && Pages[Last] == Pages[First] + 1) {
            while (Last < Count && Pages[Last] == Pages[Last - 1] + 1) {
                Last++;
            }
            HalDiscardPages(Pages[First], Last - First);
        } else {
            while (Last < Count && Pages[Last] + 1 == Pages[Last - 1]) {
                Last++;
            }
            HalDiscardPages(Pages[Last - 1], Last - First);
        }
    }
}

static ULONG64 MiCleanFreePages(ULONG64 Want, BOOLEAN Discard)
{
    ULONG64 Done = 0;
    while (Done < Want) {
        PFN_NUMBER Pages[MI_ZERO_BATCH];
        ULONG Count = 0;
        KiAcquireLock(&MiState->PfnLock);
        const MI_PAGE_LIST *Free = MiDirtiestList();
        while (Count < MI_ZERO_BATCH && Count < Want - Done && Free->Tail != MI_NO_PAGE) {
            PFN_NUMBER Page = Free->Tail; /* the one that is longest free */
            PMMPFN Pfn = MiPfn(Page);
            Pfn->Flags |= MI_PFN_UNMAPPED;
            MiSetPageState(Page, Pfn, MiPageTransition);
            Pfn->ReferenceCount = 1;
            Pages[Count++] = Page;
        }
        MiState->Pager.ZeroingPages += Count;
        KiReleaseLock(&MiState->PfnLock);
        if (Count == 0) {
            break;
        }
        if (Discard) {
            MiDiscard(Pages, Count);
        }
        for (ULONG Index = 0; !Discard && Index < Count; Index++) {
            HalZeroPages(Pages[Index], 1);
        }
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Count; Index++) {
            PMMPFN Pfn = MiPfn(Pages[Index]);
            Pfn->ReferenceCount = 0;
            MiSetPageState(Pages[Index], Pfn, MiPageZeroed);
            Pfn->Flags = MI_PFN_LISTED;
        }
        MiState->Pager.ZeroingPages -= Count;
        KiReleaseLock(&MiState->PfnLock);
        MiPagesBecameAvailable();
        Done += Count;
    }
    return Done;
}

ULONG64 MiZeroFreePages(ULONG64 Want)
{
    ULONG64 Done = MiCleanFreePages(Want, FALSE);
    __atomic_fetch_add(&MiState->Pager.ZeroedByThread, Done, __ATOMIC_RELAXED);
    return Done;
}

ULONG64 MmDiscardFreePages(ULONG64 Pages)
{
    return MiCleanFreePages(Pages, TRUE);
}

static VOID MiZeroMain(PVOID Context)
{
    MI_PAGER *Pager = &MiState->Pager;
    UNREFERENCED_PARAMETER(Context);
    while (!__atomic_load_n(&Pager->Stop, __ATOMIC_ACQUIRE)) {
        if (__atomic_exchange_n(&Pager->ZeroWake, 0, __ATOMIC_ACQ_REL)) {
            while (MiShouldZero() && !__atomic_load_n(&Pager->Stop, __ATOMIC_RELAXED) && MiZeroFreePages(MI_ZERO_BATCH)) {
            }
        }
        (VOID) HalWait(&Pager->ZeroWake, 0, HAL_FOREVER);
    }
}

VOID MiWakeZeroing(VOID)
{
    MI_PAGER *Pager = &MiState->Pager;
    if (!MiShouldZero()) {
        return;
    }
    if (Pager->ZeroThread == NULL && !NT_SUCCESS(KiCreateCoreThread(MiZeroMain, NULL, NULL, 0, &Pager->ZeroThread))) {
        return; /* the host has no thread: faults zero for themselves */
    }
    __atomic_store_n(&Pager->ZeroWake, 1, __ATOMIC_RELEASE);
    HalWake(&Pager->ZeroWake, 1);
}
