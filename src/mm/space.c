/*
 * space.c - address spaces: slices of the user range, a root of page tables each. SPDX-License-Identifier: MIT
 *
 * The threads of the host share one address space; simulated processes must not. So the user range is cut into slices, and each
 * process lives in one: its user addresses are addresses that no other process has. Threads of different processes run side by
 * side, and nothing need be dropped when one of them is replaced by another.
 *
 *   UserBase                                                                            UserEnd
 *   | slice 0: System | slice 1 | slice 2 | ...                        MI_MAX_SPACES at most |
 *        |                  |
 *        |                  `- MI_SPACE.Hal.Root: a top-level table of its own. Kernel entries: those of the System root; user
 *        |                     entries: tables for this slice, and for nothing else
 *        `- MiState->Root: the System process's, and where the kernel's tables hang
 *
 * An address alone says whose it is (MiSpaceOfVa), so tables are found, filled and taken down from any context. Whether the calling
 * thread may *use* a user address is another question (MiIsCurrentVa): the machine walks the table of the space that the
 * thread is in, which has nothing for another slice, and the fault path asks the same. The machine gives up a space's cached
 * translations when its last thread leaves it, and whenever a thread enters the System process's (hal.h, HalActivateAddressSpace), so a driver that touches the pages of a process
 * it is not attached to is caught, unless a thread of that process runs at the same instant (docs/CAVEATS.md).
 *
 * Life of a space:
 *      free --MmCreateAddressSpace--> used --MmCleanAddressSpace--> dying, empty --MmDeleteAddressSpace--> free
 * Cleaning takes down every range (vad.c); what a driver still holds locked is 0x76. Deleting gives back the tables.
 *
 * A slice that shares a top-level entry with the kernel's range cannot have tables of its own and is not used.
 *
 * Invariants (MiValidateSpaces quotes the numbers):
 *   A1  A used space's root has the System root's entries for the kernel's range, and user entries within its slice only.
 *   A2  Ranges of one space do not overlap and lie in its slice, its edges left out (V1 in vad.c).
 *   A3  VirtualBytes is the sum of the ranges.
 * Locks: SpaceLock guards Used. MI_SPACE.Lock the rest.
 * Watch: tests/unit/space_test.c, tests/ddi/KeStackAttachProcess.c, tests/stress/process_stress_test.c.
 */
#include "mm/mi.h"

#define MI_GIB         0x40000000ull
#define MI_SLICE_LIMIT (16 * MI_GIB)

PMI_SPACE MiSpaceOfVa(ULONG_PTR Va)
{
    if (!HalIsUserAddress(Va)) {
        return NULL;
    }
    ULONG64 Index = (Va - HalFacts.UserBase) / MiState->SliceBytes;
    if (Index >= MiState->SpaceCount) {
        return NULL;
    }
    PMI_SPACE Space = &MiState->Spaces[Index];
    return __atomic_load_n(&Space->Used, __ATOMIC_ACQUIRE) ? Space : NULL;
}

PFN_NUMBER MiRootOfVa(ULONG_PTR Va)
{
    if (!HalIsUserAddress(Va)) {
        return MiState->Root;
    }
    PMI_SPACE Space = MiSpaceOfVa(Va);
    return Space ? Space->Hal.Root : 0;
}

static VOID MiStartSpace(PMI_SPACE Space, PFN_NUMBER Root, struct _KPROCESS *Process)
{
    ULONG Index = (ULONG)(Space - MiState->Spaces);
    /* Used and Dying stay as they are: the slice is still taken, for those who look for one. */
    memset(&Space->Process, 0, sizeof(*Space) - offsetof(MI_SPACE, Process));
    Space->Hal.Low = HalFacts.UserBase + Index * MiState->SliceBytes;
    Space->Hal.High = Space->Hal.Low + MiState->SliceBytes;
    Space->Hal.Root = Root;
    Space->Hal.Sweeps = Index == 0; /* drivers' own threads run there */
    Space->Process = Process;
    Space->Hint = Space->Hal.Low + MI_SPACE_EDGE;
    MiInitializeVads(Space);
    MiInitializeWorkingSet(&Space->WorkingSet, Root, TRUE, Space->Hal.Low, Space->Hal.High);
    HalAddAddressSpace(&Space->Hal);
    __atomic_store_n(&Space->Used, TRUE, __ATOMIC_RELEASE);
    __atomic_store_n(&Space->Dying, FALSE, __ATOMIC_RELEASE);
}

NTSTATUS MiInitializeSpaces(VOID)
{
    ULONG64 Bytes = HalFacts.UserEnd - HalFacts.UserBase, Slice = Bytes / MI_MAX_SPACES / MI_GIB * MI_GIB;
    Slice = Slice < MI_GIB ? MI_GIB : Slice > MI_SLICE_LIMIT ? MI_SLICE_LIMIT : Slice;
    ULONG64 Count = Bytes / Slice;
    MiState->SliceBytes = Slice;
    MiState->SpaceCount = (ULONG)(Count < MI_MAX_SPACES ? Count : MI_MAX_SPACES);
    if (MiState->SpaceCount == 0) {
        return STATUS_SUCCESS; /* a machine without a user range */
    }
    /* The kernel's tables below the top are made once, so that every root can have them. */
    for (ULONG_PTR Va = HalFacts.SystemBase; Va < HalFacts.SystemEnd; Va = (Va | (512 * MI_GIB - 1)) + 1) {
        if (!MiMakeTopTable(Va)) {
            return STATUS_NO_MEMORY;
        }
    }
    MiStartSpace(&MiState->Spaces[0], MiState->Root, NULL);
    KiSetSystemSpace(&MiState->Spaces[0].Hal);
    return STATUS_SUCCESS;
}

NTSTATUS MmCreateAddressSpace(struct _KPROCESS *Process, PMI_SPACE *Result)
{
    PFN_NUMBER Root;
    PMI_SPACE Space = NULL;
    *Result = NULL;
    KiAcquireLock(&MiState->SpaceLock);
    for (ULONG Index = 1; Index < MiState->SpaceCount && Space == NULL; Index++) {
        ULONG_PTR Low = HalFacts.UserBase + Index * MiState->SliceBytes;
        PMI_SPACE Candidate = &MiState->Spaces[Index];
        if (!__atomic_load_n(&Candidate->Used, __ATOMIC_ACQUIRE) && !__atomic_load_n(&Candidate->Dying, __ATOMIC_ACQUIRE) &&
            !MiIsKernelTopIndex(MiTopIndex(Low)) && !MiIsKernelTopIndex(MiTopIndex(Low + MiState->SliceBytes - 1))) {
            Space = Candidate;
            __atomic_store_n(&Space->Dying, TRUE, __ATOMIC_RELAXED); /* taken; not in use yet */
        }
    }
    KiReleaseLock(&MiState->SpaceLock);
    if (Space == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (!MiMakeRoot(&Root)) {
        __atomic_store_n(&Space->Dying, FALSE, __ATOMIC_RELEASE);
        return STATUS_NO_MEMORY;
    }
    PMMPTE From = (PMMPTE)HalWindow(MiState->Root), To = (PMMPTE)HalWindow(Root);
    for (ULONG Index = MiTopIndex(HalFacts.SystemBase); Index <= MiTopIndex(HalFacts.SystemEnd - 1); Index++) {
        MiSetEntry(To + Index, MiReadPte(From + Index));
    }
    MiStartSpace(Space, Root, Process);
    *Result = Space;
    return STATUS_SUCCESS;
}

VOID MmCleanAddressSpace(PMI_SPACE Space)
{
    MiLockSpace(Space);
    __atomic_store_n(&Space->Dying, TRUE, __ATOMIC_RELAXED); /* no more ranges */
    MiUnlockSpace(Space);
    MiRemoveAllVads(Space);
}

VOID MmDeleteAddressSpace(PMI_SPACE Space)
{
    PFN_NUMBER Root = Space->Hal.Root;
    MiDeleteWorkingSet(&Space->WorkingSet); /* no trimmer is among its tables any more */
    HalRemoveAddressSpace(&Space->Hal);
    __atomic_store_n(&Space->Used, FALSE, __ATOMIC_RELEASE);
    PMMPTE Top = (PMMPTE)HalWindow(Root);
    for (ULONG Index = MiTopIndex(HalFacts.SystemBase); Index <= MiTopIndex(HalFacts.SystemEnd - 1); Index++) {
        MiClearEntry(Top + Index);
    }
    MiFreeTables(Root);
    __atomic_store_n(&Space->Dying, FALSE, __ATOMIC_RELEASE);
}

PHAL_ADDRESS_SPACE MmHalSpace(PMI_SPACE Space)
{
    return &Space->Hal;
}

PMI_SPACE MmSystemSpace(struct _KPROCESS *Process)
{
    MiState->Spaces[0].Process = Process;
    return &MiState->Spaces[0];
}

ULONG64 MmLockedPagesOf(PMI_SPACE Space)
{
    return __atomic_load_n(&Space->LockedPages, __ATOMIC_RELAXED);
}

VOID MmQuerySpace(PMI_SPACE Space, MM_SPACE_INFO *Info)
{
    *Info = (MM_SPACE_INFO){.Low = Space->Hal.Low,
                            .High = Space->Hal.High,
                            .Root = Space->Hal.Root,
                            .VirtualBytes = Space->VirtualBytes,
                            .PeakVirtualBytes = Space->PeakVirtualBytes,
                            .CommittedPages = Space->CommittedPages,
                            .PeakCommitted = Space->PeakCommitted,
                            .LockedPages = Space->LockedPages};
}

VOID MiCountLockedPages(ULONG_PTR Va, LONG64 Pages)
{
    PMI_SPACE Space = MiSpaceOfVa(Va);
    __atomic_fetch_add(&MiState->LockedPages, (ULONG64)Pages, __ATOMIC_RELAXED);
    if (Space) {
        __atomic_fetch_add(&Space->LockedPages, (ULONG64)Pages, __ATOMIC_RELAXED);
    }
}

static VOID MiRaisePeak(volatile ULONG64 *Peak, ULONG64 Now)
{
    ULONG64 Old = __atomic_load_n(Peak, __ATOMIC_RELAXED);
    while (Old < Now && !__atomic_compare_exchange_n(Peak, &Old, Now, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

VOID MiChargeSpace(PMI_SPACE Space, LONG64 Bytes, LONG64 Committed)
{
    MiRaisePeak(&Space->PeakVirtualBytes, __atomic_add_fetch(&Space->VirtualBytes, (ULONG64)Bytes, __ATOMIC_RELAXED));
    MiRaisePeak(&Space->PeakCommitted, __atomic_add_fetch(&Space->CommittedPages, (ULONG64)Committed, __ATOMIC_RELAXED));
}

const CHAR *MiValidateSpaces(VOID)
{
    for (ULONG Index = 0; Index < MiState->SpaceCount; Index++) {
        PMI_SPACE Space = &MiState->Spaces[Index];
        if (!Space->Used) {
            continue;
        }
        PMMPTE Top = (PMMPTE)HalWindow(Space->Hal.Root), System = (PMMPTE)HalWindow(MiState->Root);
        for (ULONG Entry = 0; Entry < 512 && Index != 0; Entry++) {
            if (MiIsKernelTopIndex(Entry) ? MiPtePage(MiReadPte(Top + Entry)) != MiPtePage(MiReadPte(System + Entry))
                                          : !MiPteIsZero(MiReadPte(Top + Entry)) && (Entry < MiTopIndex(Space->Hal.Low) ||
                                                                                     Entry > MiTopIndex(Space->Hal.High - 1))) {
                return "A1: a process's root shows what is not its own, or another kernel";
            }
        }
        const CHAR *Broken = MiValidateVads(Space);
        if (Broken) {
            return Broken;
        }
    }
    return NULL;
}
