/*
 * mmu.c - the double's processor: a modelled TLB over the shared walker. SPDX-License-Identifier: MIT
 *
 * The TLB is an array of translations of single pages, replaced in the order they came. It answers for as
 * long as an entry stands, whatever the tables say by then: a flush that the core forgot shows as stale data
 * in every run, not now and then. An entry allows what the walk allowed when it was made; a write through a
 * clean entry walks again, so that Dirty is set. Only HalFlushTb, HalFlushEntireTb, a new address space (the
 * user's) and replacement remove entries.
 *
 * Invariants: 1. at most one entry per page. 2. a walk and the recording of its result are one critical
 * section.
 * 3. pinned entries are not replaced and are at most three quarters of all.
 * Lock: HalpMmu.Lock; never held across an upcall. Tests: tests/hal over the double.
 */
#include <stdlib.h>
#include <string.h>
#include "hal/scripted/scriptp.h"

#define DEFAULT_ENTRIES 256u
#define MAX_ENTRIES     4096u
#define MAX_TRIES       1000u

typedef struct _HALP_ENTRY {
    ULONG64 Page;
    PFN_NUMBER Frame;
    BOOLEAN Valid, Pinned, Write, User, Execute, Revocable;
} HALP_ENTRY;

static struct {
    pthread_mutex_t Lock;
    PFN_NUMBER Root;
    HALP_ENTRY *Entries;
    ULONG Count, Hand, Pinned;
    HAL_TB_STATISTICS Statistics;
} HalpMmu = {.Lock = PTHREAD_MUTEX_INITIALIZER};

/* The spaces there are, so that a walk on behalf of nobody in particular finds the table of a user address. */
#define MAX_SPACES 256u
static PHAL_ADDRESS_SPACE HalpSpaces[MAX_SPACES];
static _Thread_local PHAL_ADDRESS_SPACE HalpSpace;

static PFN_NUMBER HalpRootOfThread(ULONG_PTR Va)
{
    return HalpSpace && HalIsUserAddress(Va) ? (Va - HalpSpace->Low < HalpSpace->High - HalpSpace->Low ? HalpSpace->Root : 0)
                                             : HalpMmu.Root;
}
static PHAL_ADDRESS_SPACE HalpOwnerOf(ULONG64 Page)
{
    for (ULONG i = 0; i < MAX_SPACES; i++) {
        if (HalpSpaces[i] && (Page << 12) - HalpSpaces[i]->Low < HalpSpaces[i]->High - HalpSpaces[i]->Low) {
            return HalpSpaces[i];
        }
    }
    return NULL;
}
static VOID HalpCountCached(ULONG64 Page, LONG Change)
{
    PHAL_ADDRESS_SPACE Space = HalIsUserAddress(Page << 12) ? HalpOwnerOf(Page) : NULL;
    if (Space) {
        __atomic_fetch_add(&Space->Cached, Change, __ATOMIC_RELAXED);
    }
}

NTSTATUS HalpStartMmu(ULONG Entries)
{
    HalpMmu.Count = Entries == 0 ? DEFAULT_ENTRIES : Entries < 16 ? 16 : Entries > MAX_ENTRIES ? MAX_ENTRIES : Entries;
    HalpMmu.Entries = (HALP_ENTRY *)calloc(HalpMmu.Count, sizeof(HALP_ENTRY));
    HalpMmu.Root = 0;
    memset(HalpSpaces, 0, sizeof(HalpSpaces));
    HalpSpace = NULL;
    HalpMmu.Hand = HalpMmu.Pinned = 0;
    memset(&HalpMmu.Statistics, 0, sizeof(HalpMmu.Statistics));
    HalFacts.TlbEntries = HalpMmu.Count;
    return HalpMmu.Entries ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}
VOID HalpStopMmu(VOID)
{
    free(HalpMmu.Entries);
    HalpMmu.Entries = NULL;
}

static HALP_ENTRY *HalpFind(ULONG64 Page)
{
    for (ULONG i = 0; i < HalpMmu.Count; i++) {
        if (HalpMmu.Entries[i].Valid && HalpMmu.Entries[i].Page == Page) {
            return &HalpMmu.Entries[i];
        }
    }
    return NULL;
}
static VOID HalpForget(HALP_ENTRY *Entry)
{
    HalpMmu.Pinned -= Entry->Pinned;
    Entry->Valid = FALSE;
    HalpCountCached(Entry->Page, -1);
    HalpMmu.Statistics.Mappings--;
}
static HALP_ENTRY *HalpPlace(ULONG64 Page)
{
    HALP_ENTRY *Entry = HalpFind(Page);
    if (Entry) {
        return Entry;
    }
    for (;;) {
        Entry = &HalpMmu.Entries[HalpMmu.Hand];
        HalpMmu.Hand = (HalpMmu.Hand + 1) % HalpMmu.Count;
        if (!Entry->Valid) {
            break;
        }
        if (!Entry->Pinned) {
            HalpMmu.Statistics.Evictions++;
            HalpForget(Entry);
            break;
        }
    }
    memset(Entry, 0, sizeof(*Entry));
    Entry->Page = Page;
    Entry->Valid = TRUE;
    HalpCountCached(Page, 1);
    if (++HalpMmu.Statistics.Mappings > HalpMmu.Statistics.PeakMappings) {
        HalpMmu.Statistics.PeakMappings = HalpMmu.Statistics.Mappings;
    }
    return Entry;
}
static VOID HalpInsert(ULONG64 Page, const HALP_LEAF *Leaf, BOOLEAN Pinned)
{
    HALP_ENTRY *Entry = HalpPlace(Page);
    HalpMmu.Pinned += Pinned && !Entry->Pinned;
    Entry->Pinned |= Pinned;
    Entry->Frame = Leaf->Frame;
    Entry->Write = HalpLeafWritable(Leaf, Leaf->Entry);
    Entry->User = Leaf->UpperUser && (Leaf->Entry & HALP_PTE_USER);
    Entry->Execute = HalpLeafExecutable(Leaf, Leaf->Entry);
    Entry->Revocable = !Entry->Pinned && (Leaf->Entry & HAL_PTE_REVOCABLE);
    HalpMmu.Statistics.Fills++;
    HalpMmu.Statistics.FilledPages++;
}

/* The frame behind an access, or FALSE and the error code. */
static BOOLEAN HalpTranslateAccess(ULONG_PTR Va, ULONG Access, PFN_NUMBER *Frame, ULONG *Error)
{
    BOOLEAN Good = TRUE;
    pthread_mutex_lock(&HalpMmu.Lock);
    HALP_ENTRY *Entry = HalpFind(Va >> 12);
    if (!Entry || ((Access & HALP_FAULT_WRITE) && !Entry->Write) || ((Access & HALP_FAULT_USER) && !Entry->User) ||
        ((Access & HALP_FAULT_FETCH) && !Entry->Execute)) {
        HALP_LEAF Leaf;
        HalpMmu.Statistics.Faults++;
        Good = HalpWalk(&HalpScript.Physical, HalpRootOfThread(Va), Va, Access, TRUE, &Leaf, Error);
        if (Good && (Leaf.Entry & HAL_PTE_REVOCABLE) && HalpDenyRevocable && !(Entry && Entry->Pinned)) {
            *Error = Access & HALP_ACCESS_MASK;
            Good = FALSE;
        } else if (Good) {
            HalpInsert(Va >> 12, &Leaf, FALSE);
            *Frame = Leaf.Frame;
        }
    } else {
        *Frame = Entry->Frame;
    }
    pthread_mutex_unlock(&HalpMmu.Lock);
    return Good;
}

static VOID HalpMakeFrame(HAL_TRAP_FRAME *Frame, ULONG64 Vector, ULONG64 Error, ULONG64 Va, ULONG64 Rip, BOOLEAN User)
{
    memset(Frame, 0, sizeof(*Frame));
    Frame->Vector = Vector;
    Frame->ErrorCode = Error;
    Frame->FaultAddress = Va;
    Frame->Rip = Rip;
    Frame->Cs = User ? 0x33 : 0x10;
    Frame->Ss = User ? 0x2B : 0x18;
    Frame->EFlags = 0x202;
    Frame->Rsp = (ULONG_PTR)__builtin_frame_address(0);
    Frame->Rbp = (ULONG_PTR)__builtin_frame_address(0);
    if (HalCurrentThread() == NULL && HalpScript.Upcalls.AttachThread) {
        HalpScript.Upcalls.AttachThread();
    }
}

BOOLEAN HalScriptAccess(ULONG_PTR Va, SIZE_T Length, ULONG Access, PVOID Buffer)
{
    PUCHAR Bytes = (PUCHAR)Buffer;
    BOOLEAN User = HalpUserMode;
    Access |= User ? HAL_SCRIPT_USER : 0;
    const ULONG64 Rip = (Access & HAL_SCRIPT_FETCH) ? Va : (ULONG_PTR)&HalScriptAccess;
    while (Length != 0) {
        SIZE_T Part = HAL_PAGE_SIZE - (Va & 0xFFF);
        PFN_NUMBER Frame = 0;
        ULONG Error = Access & HALP_ACCESS_MASK, Tries = 0;
        Part = Part < Length ? Part : Length;
        while (!HalpIsOurs(Va) || !HalpTranslateAccess(Va, Access, &Frame, &Error)) {
            HAL_TRAP_FRAME Trap;
            HalpMakeFrame(&Trap, 14, Error, Va, Rip, (Access & HAL_SCRIPT_USER) != 0);
            HalpUserMode = FALSE;
            HalpScript.Upcalls.PageFault(&Trap);
            HalpUserMode = User;
            if (Trap.Rip != Rip) {
                return FALSE;
            }
            if (++Tries == MAX_TRIES) {
                HalPrint("scripted: the core resumes an access without end\n", 49);
                HalHalt();
            }
        }
        PUCHAR At = (PUCHAR)HalWindow(Frame) + (Va & 0xFFF);
        if (Access & HAL_SCRIPT_WRITE) {
            memcpy(At, Bytes, Part);
        } else {
            memcpy(Bytes, At, Part);
        }
        Va += Part;
        Bytes += Part;
        Length -= Part;
    }
    return TRUE;
}

ULONG64 HalScriptTrap(ULONG64 Vector, ULONG64 ErrorCode, ULONG64 Rip)
{
    HAL_TRAP_FRAME Trap;
    HalpMakeFrame(&Trap, Vector, ErrorCode, 0, Rip, FALSE);
    HalpScript.Upcalls.Trap(&Trap);
    return Trap.Rip;
}

LONG HalpReadWord(volatile LONG *Word)
{
    LONG Value = 0;
    if (!HalpIsOurs((ULONG_PTR)Word)) {
        return __atomic_load_n(Word, __ATOMIC_SEQ_CST);
    }
    HalScriptAccess((ULONG_PTR)Word, sizeof(Value), HAL_SCRIPT_READ, &Value);
    return Value;
}

/* ---- the contract's calls ---- */
static VOID HalpFlush(ULONG64 First, ULONG64 Count, BOOLEAN KeepPinned)
{
    for (ULONG i = 0; i < HalpMmu.Count; i++) {
        HALP_ENTRY *Entry = &HalpMmu.Entries[i];
        if (!Entry->Valid || Entry->Page - First >= Count) {
            continue;
        }
        if (KeepPinned && Entry->Pinned) {
            HALP_LEAF Leaf;
            ULONG Error;
            PHAL_ADDRESS_SPACE Space = HalIsUserAddress(Entry->Page << 12) ? HalpOwnerOf(Entry->Page) : NULL;
            PFN_NUMBER Root = Space ? Space->Root : HalpMmu.Root;
            if (HalpWalk(&HalpScript.Physical, Root, Entry->Page << 12, 0, FALSE, &Leaf, &Error) &&
                Leaf.Frame == Entry->Frame && (!Entry->Write || HalpLeafWritable(&Leaf, Leaf.Entry)) &&
                (!Entry->Execute || HalpLeafExecutable(&Leaf, Leaf.Entry))) {
                continue;
            }
        }
        HalpForget(Entry);
        HalpMmu.Statistics.FlushedPages++;
    }
}
VOID HalSetRootTable(PFN_NUMBER Root)
{
    HalpRecord(HalScriptSetRootTable, Root, 0, 0);
    pthread_mutex_lock(&HalpMmu.Lock);
    HalpMmu.Root = Root;
    HalpFlush(HalFacts.UserBase >> 12, (HalFacts.UserEnd - HalFacts.UserBase) >> 12, FALSE);
    pthread_mutex_unlock(&HalpMmu.Lock);
}
VOID HalAddAddressSpace(PHAL_ADDRESS_SPACE Space)
{
    pthread_mutex_lock(&HalpMmu.Lock);
    Space->Running = 0;
    Space->Cached = 0;
    for (ULONG i = 0; i < MAX_SPACES; i++) {
        if (HalpSpaces[i] == NULL) {
            HalpFlush(Space->Low >> 12, (Space->High - Space->Low) >> 12, FALSE);
            HalpSpaces[i] = Space;
            break;
        }
    }
    pthread_mutex_unlock(&HalpMmu.Lock);
}
VOID HalRemoveAddressSpace(PHAL_ADDRESS_SPACE Space)
{
    pthread_mutex_lock(&HalpMmu.Lock);
    HalpFlush(Space->Low >> 12, (Space->High - Space->Low) >> 12, FALSE);
    for (ULONG i = 0; i < MAX_SPACES; i++) {
        HalpSpaces[i] = HalpSpaces[i] == Space ? NULL : HalpSpaces[i];
    }
    pthread_mutex_unlock(&HalpMmu.Lock);
}
VOID HalActivateAddressSpace(PHAL_ADDRESS_SPACE Space)
{
    PHAL_ADDRESS_SPACE Old = HalpSpace;
    if (Old == Space) {
        return;
    }
    HalpRecord(HalScriptActivateAddressSpace, (ULONG64)(ULONG_PTR)Space, Space ? Space->Root : 0, 0);
    if (Space) {
        __atomic_add_fetch(&Space->Running, 1, __ATOMIC_SEQ_CST);
    }
    HalpSpace = Space;
    for (ULONG i = 0; Space && Space->Sweeps && i < MAX_SPACES; i++) {
        PHAL_ADDRESS_SPACE Other = HalpSpaces[i];
        pthread_mutex_lock(&HalpMmu.Lock);
        if (Other && Other != Space && Other->Cached) {
            HalpFlush(Other->Low >> 12, (Other->High - Other->Low) >> 12, FALSE);
        }
        pthread_mutex_unlock(&HalpMmu.Lock);
    }
    if (Old && __atomic_sub_fetch(&Old->Running, 1, __ATOMIC_SEQ_CST) == 0) {
        pthread_mutex_lock(&HalpMmu.Lock);
        if (Old->Running == 0) {
            HalpFlush(Old->Low >> 12, (Old->High - Old->Low) >> 12, FALSE);
        }
        pthread_mutex_unlock(&HalpMmu.Lock);
    }
}
VOID HalFlushTb(PVOID Va, SIZE_T Pages)
{
    HalpRecord(HalScriptFlushTb, (ULONG64)Va, Pages, 0);
    pthread_mutex_lock(&HalpMmu.Lock);
    HalpMmu.Statistics.Flushes++;
    HalpFlush((ULONG_PTR)Va >> 12, Pages, FALSE);
    pthread_mutex_unlock(&HalpMmu.Lock);
}
ULONG64 HalRevokeTb(VOID)
{
    ULONG64 Pages = 0;
    HalpRecord(HalScriptRevokeTb, 0, 0, 0);
    pthread_mutex_lock(&HalpMmu.Lock);
    for (ULONG i = 0; i < HalpMmu.Count; i++) {
        HALP_ENTRY *Entry = &HalpMmu.Entries[i];
        if (Entry->Valid && Entry->Revocable) {
            HalpForget(Entry);
            HalpMmu.Statistics.FlushedPages++;
            Pages++;
        }
    }
    pthread_mutex_unlock(&HalpMmu.Lock);
    return Pages;
}
VOID HalFlushEntireTb(VOID)
{
    HalpRecord(HalScriptFlushEntireTb, 0, 0, 0);
    pthread_mutex_lock(&HalpMmu.Lock);
    HalpMmu.Statistics.Flushes++;
    HalpFlush(0, ~0ull, TRUE);
    pthread_mutex_unlock(&HalpMmu.Lock);
}
NTSTATUS HalFillTb(PVOID Va, SIZE_T Pages, ULONG Flags)
{
    ULONG64 Page = (ULONG_PTR)Va >> 12;
    BOOLEAN Pinned = (Flags & HAL_FILL_PINNED) != 0;
    NTSTATUS Status = STATUS_SUCCESS;
    HALP_LEAF Leaf;
    ULONG Error;
    if (HalpRecord(HalScriptFillTb, (ULONG64)Va, Pages, Flags)) {
        return STATUS_NO_MEMORY;
    }
    if (Pages == 0) {
        return STATUS_SUCCESS;
    }
    if (!HalpIsOurs((ULONG_PTR)Va) || !HalpIsOurs((ULONG_PTR)Va + (Pages << 12) - 1)) {
        return STATUS_INVALID_ADDRESS;
    }
    pthread_mutex_lock(&HalpMmu.Lock);
    for (ULONG64 i = 0; Pinned && i < Pages; i++) {
        if (!HalpWalk(&HalpScript.Physical, HalpRootOfThread((Page + i) << 12), (Page + i) << 12, 0, FALSE, &Leaf, &Error)) {
            Status = STATUS_INVALID_ADDRESS;
            goto Done;
        }
    }
    if (Pinned && HalpMmu.Pinned + Pages > HalpMmu.Count / 4 * 3) {
        Status = STATUS_NO_MEMORY;
        goto Done;
    }
    for (ULONG64 i = 0; i < Pages && (Pinned || i < HalpMmu.Count / 4); i++) {
        if (!Pinned && HalpFind(Page + i)) {
            continue;
        }
        PFN_NUMBER Root = HalpRootOfThread((Page + i) << 12);
        if (HalpWalk(&HalpScript.Physical, Root, (Page + i) << 12, 0, TRUE, &Leaf, &Error)) {
            if (!Pinned && (Leaf.Entry & HAL_PTE_REVOCABLE) && HalpDenyRevocable) {
                continue;
            }
            if (Pinned && Leaf.UpperWrite && (Leaf.Entry & HALP_PTE_WRITE)) {
                HalpWalk(&HalpScript.Physical, Root, (Page + i) << 12, HALP_FAULT_WRITE, TRUE, &Leaf, &Error);
            }
            HalpInsert(Page + i, &Leaf, Pinned);
        }
    }
Done:
    pthread_mutex_unlock(&HalpMmu.Lock);
    return Status;
}
VOID HalQueryTb(HAL_TB_STATISTICS *Statistics)
{
    HalpRecord(HalScriptQueryTb, 0, 0, 0);
    pthread_mutex_lock(&HalpMmu.Lock);
    *Statistics = HalpMmu.Statistics;
    pthread_mutex_unlock(&HalpMmu.Lock);
}
BOOLEAN HalTranslate(ULONG_PTR Va, PHYSICAL_ADDRESS *Physical)
{
    HALP_LEAF Leaf;
    ULONG Error;
    HalpRecord(HalScriptTranslate, Va, 0, 0);
    if (!HalpIsOurs(Va) || !HalpWalk(&HalpScript.Physical, HalpRootOfThread(Va), Va, 0, FALSE, &Leaf, &Error)) {
        return FALSE;
    }
    Physical->QuadPart = (LONGLONG)((Leaf.Frame << 12) | (Va & 0xFFF));
    return TRUE;
}
