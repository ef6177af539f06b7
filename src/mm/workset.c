/*
 * workset.c - working sets: which pageable pages are resident, how long nobody used them, and taking them away.
 * SPDX-License-Identifier: MIT
 *
 * A working set is the set of the valid leaves, in its ranges, that carry the working-set bit (pte.h). There is no list
 * beside the page tables: a page joins by its entry being made valid and leaves with the entry, so a fault pays two interlocked
 * additions, nothing is allocated, a page mapped by several processes ages in each of them, and a look over the pages is a walk
 * over memory in the order of addresses. Each page table counts its members (MMPFN.WorkingSetPages), so the walk skips tables,
 * and the directories above them, where nothing is resident.
 *
 *      MMSUPPORT { Root, Range[], Hand, Pages } --walk--> page table { WorkingSetPages } --> leaf { A, D, age, WS }
 *
 * Ageing is a clock. The hand visits pages in order of address and goes round:
 *
 *      Accessed set                      age 0, Accessed cleared, flushed from the TB so that a next access is seen
 *      not accessed since the last look  age + 1, up to 7
 *      age >= the least age asked for    the page is taken
 *
 * While memory is plenty little ages (tick.c): the price of a look is a flush, and a fault if the page is in use.
 *
 * Taking a page away, the order being what makes it right with other processors writing to it meanwhile. Under the lock of the
 * entry: (1) the entry is exchanged for a transition entry; (2) the TB is flushed, after which no processor can write; only then
 * (3) the frame goes to the modified list if the exchanged entry was Dirty (the MMU sets Dirty in the entry before it lets the
 * first write through, so the bit is final once the entry is gone), else to standby. A fault in between waits for the lock
 * and finds the transition entry. Up to 64 neighbours are taken at a time, so that the TB is flushed in runs.
 *
 * A page that an MDL or a copy has locked leaves its working set like others, but its frame stays where it is, in transition.
 *
 * Limits: MinimumPages are left by the balance manager while other sets have more than theirs, always if HardMinimum. Above
 * MaximumPages a set is trimmed first; with HardMaximum a fault that exceeds it takes the set's own oldest page.
 *
 * Invariants (MiValidateWorkingSets quotes the numbers; T6 in pte.c is about the counts of tables):
 *   W1  Pages is the number of leaves with the working-set bit in the ranges.
 *   W2  Such a leaf's frame is active and PAGEABLE.
 *   W3  Ranges are page-aligned and do not overlap; Hand may be anywhere.
 * Rule: the page tables below a listed working set's ranges stay until MiDeleteWorkingSet.
 *
 * Locks: Busy makes a trimmer alone in its set (a flag under WorkingSetLock: it is held across many entry locks); entries under
 * PteLocks (3rd) with PfnLock (4th) inside. IRQL <= APC_LEVEL for what waits for Busy.
 */
#include "mm/mi.h"

#define MI_WINDOW 64u /* leaves looked at under one hold of their lock; at most the bits of a ULONG64 */

VOID MiInitializeWorkingSet(PMMSUPPORT Support, PFN_NUMBER Root, BOOLEAN User, ULONG_PTR Low, ULONG_PTR High)
{
    memset(Support, 0, sizeof(*Support));
    Support->Root = Root;
    Support->User = User;
    Support->Priority = MI_PRIORITIES - 1;
    Support->Hand = Low;
    MiAddWorkingSetRange(Support, Low, High);
    KiAcquireLock(&MiState->Pager.WorkingSetLock);
    if (MiState->Pager.WorkingSets.Flink == NULL) {
        MiState->Pager.WorkingSets.Flink = MiState->Pager.WorkingSets.Blink = &MiState->Pager.WorkingSets;
    }
    Support->Links.Flink = &MiState->Pager.WorkingSets;
    Support->Links.Blink = MiState->Pager.WorkingSets.Blink;
    MiState->Pager.WorkingSets.Blink->Flink = &Support->Links;
    MiState->Pager.WorkingSets.Blink = &Support->Links;
    KiReleaseLock(&MiState->Pager.WorkingSetLock);
}

VOID MiAddWorkingSetRange(PMMSUPPORT Support, ULONG_PTR Low, ULONG_PTR High)
{
    if (Support->RangeCount < MI_WS_RANGES) {
        Support->Range[Support->RangeCount].Low = Low;
        Support->Range[Support->RangeCount].High = High;
        __atomic_store_n(&Support->RangeCount, Support->RangeCount + 1, __ATOMIC_RELEASE);
    }
}

/* Alone in the set from here to MiLeaveBusy. */
static VOID MiEnterBusy(PMMSUPPORT Support)
{
    KiAcquireLock(&MiState->Pager.WorkingSetLock);
    while (Support->Busy) {
        KiReleaseLock(&MiState->Pager.WorkingSetLock);
        (VOID) HalWait(&Support->Busy, 1, HAL_FOREVER);
        KiAcquireLock(&MiState->Pager.WorkingSetLock);
    }
    __atomic_store_n(&Support->Busy, 1, __ATOMIC_RELAXED);
    KiReleaseLock(&MiState->Pager.WorkingSetLock);
}
static VOID MiLeaveBusy(PMMSUPPORT Support)
{
    KiAcquireLock(&MiState->Pager.WorkingSetLock);
    __atomic_store_n(&Support->Busy, 0, __ATOMIC_RELAXED);
    HalWake(&Support->Busy, MAXLONG); /* the lock keeps MiDeleteWorkingSet from returning before this */
    KiReleaseLock(&MiState->Pager.WorkingSetLock);
}

VOID MiDeleteWorkingSet(PMMSUPPORT Support)
{
    MiEnterBusy(Support);
    KiAcquireLock(&MiState->Pager.WorkingSetLock);
    Support->Links.Blink->Flink = Support->Links.Flink;
    Support->Links.Flink->Blink = Support->Links.Blink;
    KiReleaseLock(&MiState->Pager.WorkingSetLock);
    MiLeaveBusy(Support);
}

PMMSUPPORT MiNextWorkingSet(PMMSUPPORT Last)
{
    PMMSUPPORT Next = NULL;
    KiAcquireLock(&MiState->Pager.WorkingSetLock);
    PLIST_ENTRY Link = Last ? Last->Links.Flink : MiState->Pager.WorkingSets.Flink;
    for (; Link && Link != &MiState->Pager.WorkingSets; Link = Link->Flink) {
        PMMSUPPORT Support = CONTAINING_RECORD(Link, MMSUPPORT, Links);
        if (!Support->Busy) {
            __atomic_store_n(&Support->Busy, 1, __ATOMIC_RELAXED);
            Next = Support;
            break;
        }
    }
    if (Last) {
        __atomic_store_n(&Last->Busy, 0, __ATOMIC_RELAXED);
        HalWake(&Last->Busy, MAXLONG);
    }
    KiReleaseLock(&MiState->Pager.WorkingSetLock);
    return Next;
}

VOID MiJoinWorkingSet(PMMSUPPORT Support, PMMPTE Pte)
{
    MiJoinPages(Support, Pte, 1);
}

VOID MiJoinPages(PMMSUPPORT Support, PMMPTE Pte, ULONG Count)
{
    ULONG64 Pages = __atomic_add_fetch(&Support->Pages, Count, __ATOMIC_RELAXED);
    __atomic_fetch_add(&MiPfn(HalWindowPage(Pte))->WorkingSetPages, Count, __ATOMIC_RELAXED);
    if (Pages > __atomic_load_n(&Support->PeakPages, __ATOMIC_RELAXED)) {
        __atomic_store_n(&Support->PeakPages, Pages, __ATOMIC_RELAXED); /* two at once: off by one, for a moment */
    }
}

VOID MiLeaveWorkingSet(PMMSUPPORT Support, PMMPTE Pte, ULONG Count)
{
    __atomic_fetch_sub(&Support->Pages, Count, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&MiPfn(HalWindowPage(Pte))->WorkingSetPages, Count, __ATOMIC_RELAXED);
}

/* The first address at or above Va, below High, whose page table has members; High if there is none. */
static ULONG_PTR MiNextMember(PFN_NUMBER Root, ULONG_PTR Va, ULONG_PTR High)
{
    while (Va < High) {
        PFN_NUMBER Table = Root;
        ULONG Level = 4;
        for (; Level > 1; Level--) {
            MMPTE Entry = MiReadPte((PMMPTE)HalWindow(Table) + ((Va >> (12 + 9 * (Level - 1))) & 511));
            if (!MiPteIsValid(Entry) || MiPteIsLarge(Entry)) {
                break;
            }
            Table = MiPtePage(Entry);
        }
        if (Level == 1 && __atomic_load_n(&MiPfn(Table)->WorkingSetPages, __ATOMIC_RELAXED)) {
            return Va;
        }
        ULONG_PTR Step = (ULONG_PTR)1 << (12 + 9 * ((Level == 1 ? 2 : Level) - 1));
        ULONG_PTR Next = (Va | (Step - 1)) + 1;
        if (Next <= Va) {
            break; /* the end of the address space */
        }
        Va = Next;
    }
    return High;
}

/* The leaf of Va in tables below Root. */
static PMMPTE MiLeafBelow(PFN_NUMBER Root, ULONG_PTR Va)
{
    PFN_NUMBER Table = Root;
    for (ULONG Level = 4; Level > 1; Level--) {
        Table = MiPtePage(MiReadPte((PMMPTE)HalWindow(Table) + ((Va >> (12 + 9 * (Level - 1))) & 511)));
    }
    return (PMMPTE)HalWindow(Table) + ((Va >> 12) & 511);
}

/* Flushes the pages of Mask and, so as to do it in runs as long as can be, others that the TB cannot have (Unmapped). */
static VOID MiFlushMask(ULONG_PTR Va, ULONG64 Mask, ULONG64 Unmapped)
{
    while (Mask) {
        ULONG First = (ULONG)__builtin_ctzll(Mask);
        ULONG64 Rest = ~((Mask | Unmapped) >> First);
        ULONG Count = Rest ? (ULONG)__builtin_ctzll(Rest) : 64 - First;
        HalFlushTb((PVOID)(Va + ((ULONG_PTR)First << PAGE_SHIFT)), Count);
        Mask = First + Count == 64 ? 0 : Mask & (~0ull << (First + Count));
    }
}

/* Step 3 for the entries in Gone. Returns how many frames can be had now. */
ULONG MiListTaken(PMMSUPPORT Support, const MMPTE *Old, ULONG64 Gone)
{
    ULONG Taken = 0;
    ULONG64 Commit = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (; Gone; Gone &= Gone - 1) {
        MMPTE Entry = Old[__builtin_ctzll(Gone)];
        PFN_NUMBER Page = MiPtePage(Entry);
        if (MiPfn(Page)->Priority > Support->Priority) {
            MiPfn(Page)->Priority = Support->Priority;
        }
        Taken += MiDropShareLocked(Page, MiPteIsDirty(Entry), &Commit);
    }
    KiReleaseLock(&MiState->PfnLock);
    return Taken;
}

/* Looks at Count neighbours from Va on. */
static ULONG MiVisit(PMMSUPPORT Support, ULONG_PTR Va, ULONG Count, ULONG64 Want, ULONG LeastAge, ULONG64 *Visited,
                     ULONG_PTR *Next)
{
    PMMPTE Pte = MiLeafBelow(Support->Root, Va);
    MMPTE Old[MI_WINDOW];
    ULONG64 Flush = 0, Gone = 0, Aged = 0, Unmapped = 0;
    ULONG Left = 0, Taken = 0, Index = 0;
    BOOLEAN OnlyFiles = (LeastAge & MI_AGE_FILES) != 0;
    LeastAge &= ~MI_AGE_FILES;
    KiAcquireLock(MiPteLock(Va));
    for (; Index < Count && Left < Want; Index++) {
        MMPTE Entry = MiReadPte(Pte + Index), New;
        if (!MiPteIsValid(Entry) || !MiPteIsInWorkingSet(Entry)) {
            Unmapped |= (ULONG64)!MiPteIsValid(Entry) << Index;
            continue;
        }
        ++*Visited;
        if (OnlyFiles && !(MiPteIsShared(Entry) && MiPfn(MiPtePage(Entry))->File)) {
            continue;
        }
        BOOLEAN Take;
        do { /* the MMU sets Accessed and Dirty meanwhile */
            BOOLEAN Used = LeastAge != MI_AGE_ANY && MiPteIsAccessed(Entry);
            ULONG Age = Used ? 0 : MiPteAge(Entry) < MI_AGE_MAX ? MiPteAge(Entry) + 1 : MI_AGE_MAX;
            Take = !Used && Age >= LeastAge;
            New = !Take                  ? MiPteWithAge(Entry, Age)
                  : MiPteIsShared(Entry) ? MiPtePrototypeFor(MiPfn(MiPtePage(Entry))->PteAddress, MiPteProtection(Entry))
                                         : MiPteTransition(MiPtePage(Entry), MiPteProtection(Entry));
        } while (!MiCompareExchangePte(Pte + Index, &Entry, New));
        if (Take) {
            if (__builtin_expect(MiHasWatches(Support), 0) && MiPteIsDirty(Entry)) {
                MiNoteWritten(Support, Va + ((ULONG_PTR)Index << PAGE_SHIFT));
            }
            Old[Index] = Entry;
            Gone |= 1ull << Index;
            Left++;
        } else if (MiPteIsAccessed(Entry)) {
            Aged++;
        } else {
            Unmapped |= 1ull << Index; /* the TB cannot have it */
            continue;
        }
        Flush |= 1ull << Index;
    }
    *Next = Va + ((ULONG_PTR)Index << PAGE_SHIFT);
    if (Flush) {
        MiFlushMask(Va, Flush, Unmapped);
    }
    if (Gone) {
        Taken = MiListTaken(Support, Old, Gone);
        MiLeaveWorkingSet(Support, Pte, Left);
    }
    KiReleaseLock(MiPteLock(Va));
    if (Left) {
        __atomic_fetch_add(&Support->Trimmed, Left, __ATOMIC_RELAXED);
        __atomic_fetch_add(&MiState->Pager.TrimmedPages, Left, __ATOMIC_RELAXED);
    }
    if (Left) {
        MiNoteActivity();
    }
    if (Aged) {
        __atomic_fetch_add(&MiState->Pager.AgedPages, Aged, __ATOMIC_RELAXED);
    }
    return Taken;
}

/* Which range the hand is in, or the next one. */
static ULONG MiRangeOfHand(PMMSUPPORT Support, ULONG Ranges)
{
    ULONG Best = Ranges, Lowest = 0;
    for (ULONG Index = 0; Index < Ranges; Index++) {
        if (Support->Range[Index].Low < Support->Range[Lowest].Low) {
            Lowest = Index;
        }
        if (Support->Hand < Support->Range[Index].High &&
            (Best == Ranges || Support->Range[Index].Low < Support->Range[Best].Low)) {
            Best = Index;
        }
    }
    if (Best == Ranges) { /* behind the last: round it goes */
        Best = Lowest;
        Support->Hand = Support->Range[Best].Low;
    } else if (Support->Hand < Support->Range[Best].Low) {
        Support->Hand = Support->Range[Best].Low;
    }
    return Best;
}

ULONG64 MiTrimBusyWorkingSet(PMMSUPPORT Support, ULONG64 Want, ULONG64 Visit, ULONG LeastAge)
{
    ULONG64 Taken = 0, Visited = 0;
    ULONG Ranges = __atomic_load_n(&Support->RangeCount, __ATOMIC_ACQUIRE), Empty = 0;
    while (Taken < Want && Visited < Visit && Empty <= Ranges) {
        ULONG Range = MiRangeOfHand(Support, Ranges);
        ULONG_PTR High = Support->Range[Range].High, Va = MiNextMember(Support->Root, Support->Hand, High);
        if (Va >= High) {
            Support->Hand = High;
            Empty++; /* ends of ranges met since something was visited */
            continue;
        }
        ULONG_PTR End = (Va | ((ULONG_PTR)MI_WINDOW * PAGE_SIZE - 1)) + 1;
        End = End < High ? End : High;
        ULONG64 Before = Visited;
        Taken += MiVisit(Support, Va, (ULONG)((End - Va) >> PAGE_SHIFT), Want - Taken, LeastAge, &Visited, &Support->Hand);
        Empty = Visited == Before ? Empty : 0;
    }
    return Taken;
}

ULONG64 MiTrimWorkingSet(PMMSUPPORT Support, ULONG64 Want, ULONG64 Visit, ULONG LeastAge)
{
    MiEnterBusy(Support);
    ULONG64 Taken = MiTrimBusyWorkingSet(Support, Want, Visit, LeastAge);
    MiLeaveBusy(Support);
    return Taken;
}

ULONG64 MiEmptyWorkingSet(PMMSUPPORT Support)
{
    return MiTrimWorkingSet(Support, ~0ull, __atomic_load_n(&Support->Pages, __ATOMIC_RELAXED) + MI_WINDOW, MI_AGE_ANY);
}

NTSTATUS MiSetWorkingSetLimits(PMMSUPPORT Support, ULONG64 Minimum, ULONG64 Maximum, BOOLEAN HardMinimum, BOOLEAN HardMaximum)
{
    ULONG64 Most = MiManagedPages() - MiManagedPages() / 8; /* the rest of the system lives, too */
    if (Minimum > Most || (Maximum && Minimum > Maximum) || (HardMaximum && Maximum == 0)) {
        return STATUS_BAD_WORKING_SET_LIMIT;
    }
    Support->MinimumPages = Minimum;
    Support->MaximumPages = Maximum;
    Support->HardMinimum = HardMinimum;
    Support->HardMaximum = HardMaximum;
    ULONG64 Pages = __atomic_load_n(&Support->Pages, __ATOMIC_RELAXED);
    if (HardMaximum && Pages > Maximum) {
        (VOID) MiTrimWorkingSet(Support, Pages - Maximum, 4 * Pages, 2);
        Pages = __atomic_load_n(&Support->Pages, __ATOMIC_RELAXED);
        if (Pages > Maximum) {
            (VOID) MiTrimWorkingSet(Support, Pages - Maximum, 2 * Pages, MI_AGE_ANY);
        }
    }
    return STATUS_SUCCESS;
}

ULONG64 MiTrimPages(ULONG_PTR Va, SIZE_T Pages)
{
    PMMSUPPORT Support = MiWorkingSetOfVa(Va);
    ULONG_PTR End = Va + (Pages << PAGE_SHIFT);
    ULONG64 Taken = 0, Visited = 0;
    while (Va < End) {
        ULONG_PTR Stop = (Va | ((ULONG_PTR)MI_WINDOW * PAGE_SIZE - 1)) + 1;
        Stop = Stop < End ? Stop : End;
        if (MiPteOf(Va)) {
            Taken += MiVisit(Support, Va, (ULONG)((Stop - Va) >> PAGE_SHIFT), ~0ull, MI_AGE_ANY, &Visited, &Va);
        }
        Va = Stop;
    }
    return Taken;
}

VOID MiMakePagesPageable(ULONG_PTR Va, SIZE_T Pages)
{
    for (SIZE_T Done = 0; Done < Pages; Done++) {
        ULONG_PTR At = Va + (Done << PAGE_SHIFT);
        PMMPTE Pte = MiPteOf(At);
        if (Pte == NULL) {
            continue;
        }
        KiAcquireLock(MiPteLock(At));
        MMPTE Entry = MiReadPte(Pte);
        PMMPFN Pfn = MiPteIsValid(Entry) ? MiPfn(MiPtePage(Entry)) : NULL;
        if (Pfn && !MiPteIsInWorkingSet(Entry)) {
            KiAcquireLock(&MiState->PfnLock);
            MiSetPageableLocked(Pfn, TRUE);
            KiReleaseLock(&MiState->PfnLock);
            while (!MiCompareExchangePte(Pte, &Entry, MiPteInWorkingSet(Entry))) {
            }
            MiJoinWorkingSet(MiWorkingSetOfVa(At), Pte);
        }
        KiReleaseLock(MiPteLock(At));
    }
}

NTSTATUS MiMakePageResident(ULONG_PTR Va, MI_PRESENCE *Presence)
{
    PMMPTE Pte = MiPteOf(Va);
    BOOLEAN ReadIn = FALSE;
    for (BOOLEAN Kept = FALSE; Pte && !Kept;) {
        NTSTATUS Status = MiMakePresentTelling(Va, Presence);
        ReadIn = (BOOLEAN)(ReadIn || Presence->ReadIn);
        if (!NT_SUCCESS(Status)) {
            return Status;
        }
        KiAcquireLock(MiPteLock(Va));
        MMPTE Entry = MiReadPte(Pte);
        if (MiPteIsValid(Entry)) { /* else taken away again: once more */
            if (MiPteIsInWorkingSet(Entry)) {
                while (!MiCompareExchangePte(Pte, &Entry, MiPteOutOfWorkingSet(Entry))) {
                }
                MiLeaveWorkingSet(MiWorkingSetOfVa(Va), Pte, 1);
                KiAcquireLock(&MiState->PfnLock);
                MiSetPageableLocked(MiPfn(MiPtePage(Entry)), FALSE);
                KiReleaseLock(&MiState->PfnLock);
            }
            Kept = TRUE;
        }
        KiReleaseLock(MiPteLock(Va));
    }
    Presence->ReadIn = ReadIn;
    return STATUS_SUCCESS;
}

NTSTATUS MiMakePagesResident(ULONG_PTR Va, SIZE_T Pages, ULONG_PTR *Failed)
{
    for (SIZE_T Done = 0; Done < Pages; Done++) {
        MI_PRESENCE Presence;
        NTSTATUS Status = MiMakePageResident(Va + (Done << PAGE_SHIFT), &Presence);
        if (!NT_SUCCESS(Status)) {
            *Failed = Va + (Done << PAGE_SHIFT);
            return Status == STATUS_IN_PAGE_ERROR ? Presence.DeviceStatus : Status;
        }
    }
    return STATUS_SUCCESS;
}

const CHAR *MiValidateWorkingSets(VOID)
{
    const CHAR *Broken = NULL;
    for (PLIST_ENTRY Link = MiState->Pager.WorkingSets.Flink; Link && Link != &MiState->Pager.WorkingSets && !Broken;
         Link = Link->Flink) {
        PMMSUPPORT Support = CONTAINING_RECORD(Link, MMSUPPORT, Links);
        ULONG64 Pages = 0;
        for (ULONG Range = 0; Range < Support->RangeCount && !Broken; Range++) {
            ULONG_PTR High = Support->Range[Range].High, Va = Support->Range[Range].Low;
            if ((Va | High) & (PAGE_SIZE - 1)) {
                Broken = "W3: a range of a working set is not page-aligned";
            }
            while (!Broken && (Va = MiNextMember(Support->Root, Va, High)) < High) {
                PMMPTE Pte = MiLeafBelow(Support->Root, Va);
                for (ULONG Left = MiEntriesToTableEnd(Va); Left && Va < High; Left--, Pte++, Va += PAGE_SIZE) {
                    MMPTE Entry = MiReadPte(Pte);
                    if (!MiPteIsValid(Entry) || !MiPteIsInWorkingSet(Entry)) {
                        continue;
                    }
                    PMMPFN Pfn = MiPfn(MiPtePage(Entry));
                    Pages++;
                    if (Pfn == NULL || Pfn->State != MiPageActive || !(Pfn->Flags & MI_PFN_PAGEABLE)) {
                        Broken = "W2: a frame in a working set is not active, or not pageable";
                    }
                }
            }
        }
        if (!Broken && Pages != __atomic_load_n(&Support->Pages, __ATOMIC_RELAXED)) {
            Broken = "W1: a working set's size is not the number of its entries";
        }
    }
    return Broken;
}
