/*
 * pte.c - the page tables: four levels of frames, walked and edited through the window.
 * SPDX-License-Identifier: MIT
 *
 * A root serves the system range and the System process's slice of the user range; every other process has a root of its own, with the
 * same entries for the system range (space.c). The address says which root holds the tables for it. Tables are made when addresses are first committed or
 * mapped (never in a fault, so a fault needs no frame but the page's own), each charged one page of
 * commitment, and stay until the system stops: a walk therefore needs no lock, as the MMU's own needs none.
 *
 *      Root -> level 4 entry -> table -> level 3 entry -> table -> level 2 entry -> page table -> leaf
 *
 * A table's frame has MI_PFN_TABLE, the entry that points at it as PteAddress, and in u1.UsedEntries how many
 * of its 512 entries are not zero; MiSetEntry and MiClearEntry keep that count when an entry begins and
 * ceases to be in use. From an entry one can therefore climb to the root and know the address it maps
 * (MiVaOfPte).
 *
 * Invariants (MiValidatePageTables quotes the numbers):
 *   T1  UsedEntries of a table is the number of its entries that are not zero.
 *   T2  A table's PteAddress is the entry that points at it.
 *   T3  A valid or transition leaf whose frame is managed, and which owns it, is that frame's PteAddress; a
 * leaf that does not own its frame (a mapping of locked pages, I/O space) lies in the system-PTE region or in
 * the user range. T4  TablePages is the number of tables. T5  A leaf that is not zero lies in an allocated
 * page of a region. T6  WorkingSetPages of a page table is the number of its leaves in a working set.
 *
 * Locks: TableLock (2nd) to make tables; entries as in mi.h.
 */
#include "mm/mi.h"

static inline PMMPTE MiTableEntry(PFN_NUMBER Table, ULONG_PTR Va, ULONG Level)
{
    return (PMMPTE)HalWindow(Table) + ((Va >> (12 + 9 * (Level - 1))) & 511);
}

PMMPTE MiPteOfTableLevel(ULONG_PTR Va, ULONG Level)
{
    PFN_NUMBER Table = MiRootOfVa(Va);
    if (Table == 0) {
        return NULL;
    }
    for (ULONG Walk = 4; Walk > Level; Walk--) {
        MMPTE Entry = MiReadPte(MiTableEntry(Table, Va, Walk));
        if (!MiPteIsValid(Entry)) {
            return NULL;
        }
        Table = MiPtePage(Entry);
    }
    return MiTableEntry(Table, Va, Level);
}

PMMPTE MiPteOf(ULONG_PTR Va)
{
    return MiPteOfTableLevel(Va, 1);
}

static inline PMMPFN MiTablePfn(PMMPTE Pte)
{
    return MiPfn(HalWindowPage(Pte));
}

VOID MiSetEntry(PMMPTE Pte, MMPTE Value)
{
    __atomic_fetch_add(&MiTablePfn(Pte)->u1.UsedEntries, 1, __ATOMIC_RELAXED);
    MiWritePte(Pte, Value);
}

MMPTE MiClearEntry(PMMPTE Pte)
{
    MMPTE Old = MiExchangePte(Pte, MI_ZERO_PTE);
    __atomic_fetch_sub(&MiTablePfn(Pte)->u1.UsedEntries, 1, __ATOMIC_RELAXED);
    return Old;
}

VOID MiCountEntries(PMMPTE Pte, LONG Change)
{
    __atomic_fetch_add(&MiTablePfn(Pte)->u1.UsedEntries, (ULONG)Change, __ATOMIC_RELAXED);
}

static BOOLEAN MiMakeTable(PMMPTE Pte)
{
    PFN_NUMBER Page;
    BOOLEAN Dirty;
    if (!MiChargeCommitment(1, HighPoolPriority)) {
        return FALSE;
    }
    if (MiTakeFrames(1, MI_TAKE_ZEROED | MI_TAKE_TABLE, Pte, &Page, &Dirty) == 0) {
        MiReturnCommitment(1);
        return FALSE;
    }
    if (Dirty) {
        HalZeroPages(Page, 1);
    }
    __atomic_fetch_add(&MiState->TablePages, 1, __ATOMIC_RELAXED);
    MiSetEntry(Pte, MiPteTable(Page));
    return TRUE;
}

BOOLEAN MiMakeTopTable(ULONG_PTR Va)
{
    KiAcquireLock(&MiState->TableLock);
    PMMPTE Pte = MiPteOfTableLevel(Va, 4);
    BOOLEAN Made = MiPteIsValid(MiReadPte(Pte)) || MiMakeTable(Pte);
    KiReleaseLock(&MiState->TableLock);
    return Made;
}

BOOLEAN MiMakeRoot(PFN_NUMBER *Root)
{
    BOOLEAN Dirty;
    if (!MiChargeCommitment(1, HighPoolPriority)) {
        return FALSE;
    }
    if (MiTakeFrames(1, MI_TAKE_ZEROED | MI_TAKE_TABLE, NULL, Root, &Dirty) == 0) {
        MiReturnCommitment(1);
        return FALSE;
    }
    if (Dirty) {
        HalZeroPages(*Root, 1);
    }
    __atomic_fetch_add(&MiState->TablePages, 1, __ATOMIC_RELAXED);
    return TRUE;
}

static VOID MiFreeTable(PFN_NUMBER Table, ULONG Level)
{
    PMMPTE Entries = (PMMPTE)HalWindow(Table);
    for (ULONG Index = 0; Index < 512 && Level > 1; Index++) {
        MMPTE Entry = MiReadPte(Entries + Index);
        if (MiPteIsValid(Entry)) {
            MiClearEntry(Entries + Index);
            MiFreeTable(MiPtePage(Entry), Level - 1);
        }
    }
    __atomic_fetch_sub(&MiState->TablePages, 1, __ATOMIC_RELAXED);
    MiReturnCommitment(MiReleaseFrames(Table, 1));
}

VOID MiFreeTables(PFN_NUMBER Root)
{
    MiFreeTable(Root, 4);
}

BOOLEAN MiMakePageTables(ULONG_PTR Va, SIZE_T Pages)
{
    ULONG_PTR End = Va + (Pages << PAGE_SHIFT);
    for (ULONG_PTR Piece = Va & ~0x1FFFFFull; Piece < End; Piece += 0x200000) {
        if (MiPteOf(Piece)) {
            continue;
        }
        BOOLEAN Made = TRUE;
        KiAcquireLock(&MiState->TableLock);
        for (ULONG Level = 4; Level > 1 && Made; Level--) {
            PMMPTE Pte = MiPteOfTableLevel(Piece, Level);
            if (!MiPteIsValid(MiReadPte(Pte))) {
                Made = MiMakeTable(Pte);
            }
        }
        KiReleaseLock(&MiState->TableLock);
        if (!Made) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Bit 47 is every bit above it. */
static inline ULONG_PTR MiCanonical(ULONG_PTR Va)
{
    return (ULONG_PTR)((LONG64)(Va << 16) >> 16);
}

ULONG_PTR MiVaOfPte(PMMPTE Pte)
{
    ULONG_PTR Va = 0;
    for (ULONG Level = 1; Level <= 4; Level++) {
        PFN_NUMBER Table = HalWindowPage(Pte);
        PMMPFN Pfn = MiPfn(Table);
        if (Pfn == NULL || !(Pfn->Flags & MI_PFN_TABLE)) {
            return 0;
        }
        Va |= (((ULONG_PTR)Pte & (PAGE_SIZE - 1)) / sizeof(MMPTE)) << (12 + 9 * (Level - 1));
        if (Level == 4) {
            return Pfn->PteAddress == NULL ? MiCanonical(Va) : 0;
        }
        Pte = Pfn->PteAddress;
        if (Pte == NULL) {
            return 0; /* a root, too soon */
        }
    }
    return 0;
}

MI_PROT MiMakeProtection(ULONG Protect)
{
    static const UCHAR Base[8] = {MI_PROT_NOACCESS, MI_PROT_READONLY,     MI_PROT_READWRITE,         MI_PROT_WRITECOPY,
                                  MI_PROT_EXECUTE,  MI_PROT_EXECUTE_READ, MI_PROT_EXECUTE_READWRITE, MI_PROT_EXECUTE_WRITECOPY};
    ULONG Low = Protect & 0xFF, Modifiers = Protect & ~0xFFu;
    if (Low == 0 || (Low & (Low - 1)) || (Modifiers & ~(ULONG)(PAGE_GUARD | PAGE_NOCACHE | PAGE_WRITECOMBINE)) ||
        (Modifiers & (Modifiers - 1)) || (Low == PAGE_NOACCESS && Modifiers)) {
        return MI_PROT_INVALID;
    }
    return Base[__builtin_ctz(Low)] | (Modifiers == PAGE_GUARD          ? MI_PROT_GUARD
                                       : Modifiers == PAGE_NOCACHE      ? MI_PROT_NOCACHE
                                       : Modifiers == PAGE_WRITECOMBINE ? MI_PROT_WRITECOMBINE
                                                                        : 0);
}

ULONG MiMakePageProtection(MI_PROT Protection)
{
    static const UCHAR Base[8] = {PAGE_NOACCESS,  PAGE_READONLY,  PAGE_EXECUTE,           PAGE_EXECUTE_READ,
                                  PAGE_READWRITE, PAGE_WRITECOPY, PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_WRITECOPY};
    static const USHORT Modifier[4] = {0, PAGE_NOCACHE, PAGE_GUARD, PAGE_WRITECOMBINE};
    ULONG Low = Base[Protection & MI_PROT_BASE];
    return Low == PAGE_NOACCESS ? Low : Low | Modifier[(Protection >> 3) & 3];
}

static const CHAR *MiValidateLeaf(PMMPTE Pte, MMPTE Entry, ULONG_PTR Va)
{
    MI_REGION *Region = MiRegionOfVa(Va);
    if (Region == NULL ||
        !(Region->User ? MiSpaceOfVa(Va) && MiFindVad(MiSpaceOfVa(Va), Va) : MiVaIsAllocated(Region, Va, 1))) {
        return "T5: a leaf is in use outside the allocated pages of its region";
    }
    if (!MiPteIsValid(Entry) && !MiPteIsTransition(Entry)) {
        return NULL;
    }
    PMMPFN Pfn = MiPfn(MiPtePage(Entry));
    if (MiPteIsValid(Entry) && MiPteIsShared(Entry)) {
        if (Pfn == NULL || !(Pfn->Flags & MI_PFN_PROTOTYPE) || Pfn->PteAddress == NULL ||
            MiPtePage(MiReadPte(Pfn->PteAddress)) != MiPtePage(Entry) || !MiPteIsInWorkingSet(Entry)) {
            return "S4: a shared entry shows a frame that no prototype entry has, or is in no working set";
        }
        Pfn->Seen++;
        return NULL;
    }
    if (Pfn == NULL || Pfn->PteAddress == Pte) {
        return Pfn == NULL && !MiPteIsIoSpace(Entry) && Region->Id != MmRegionSystemPtes && !Region->User
                   ? "T3: a leaf maps a frame that is not managed"
                   : NULL;
    }
    return Region->Id == MmRegionSystemPtes || Region->User ? NULL : "T3: a leaf maps a frame that another entry owns";
}

static const CHAR *MiValidateTable(PFN_NUMBER Table, ULONG Level, ULONG_PTR Va, ULONG64 *Tables)
{
    PMMPTE Entries = (PMMPTE)HalWindow(Table);
    PMMPFN Pfn = MiPfn(Table);
    ULONG Used = 0;
    ULONG64 Members = 0;
    ++*Tables;
    for (ULONG Index = 0; Index < 512; Index++) {
        MMPTE Entry = MiReadPte(Entries + Index);
        ULONG_PTR At = Va | (ULONG_PTR)Index << (12 + 9 * (Level - 1));
        const CHAR *Broken = NULL;
        if (MiPteIsZero(Entry)) {
            continue;
        }
        Used++;
        if (Level == 1) {
            Members += MiPteIsValid(Entry) && MiPteIsInWorkingSet(Entry);
            Broken = MiValidateLeaf(Entries + Index, Entry, MiCanonical(At));
        } else {
            PMMPFN Below = MiPteIsValid(Entry) ? MiPfn(MiPtePage(Entry)) : NULL;
            if (Level == 4 && Table != MiState->Root && MiIsKernelTopIndex(Index)) {
                continue; /* the kernel's, looked at once (A1) */
            }
            if (Below == NULL || !(Below->Flags & MI_PFN_TABLE) || Below->PteAddress != Entries + Index) {
                return "T2: a directory entry points at what is not its table";
            }
            Broken = MiValidateTable(MiPtePage(Entry), Level - 1, At, Tables);
        }
        if (Broken) {
            return Broken;
        }
    }
    if (__atomic_load_n(&Pfn->WorkingSetPages, __ATOMIC_RELAXED) != Members) {
        return "T6: a table's count of entries in a working set is wrong";
    }
    return __atomic_load_n(&Pfn->u1.UsedEntries, __ATOMIC_RELAXED) == Used ? NULL
                                                                           : "T1: a table's count of used entries is wrong";
}

const CHAR *MiValidatePageTables(VOID)
{
    ULONG64 Tables = 0;
    const CHAR *Broken = MiValidateTable(MiState->Root, 4, 0, &Tables);
    for (ULONG Index = 1; Index < MiState->SpaceCount && !Broken; Index++) {
        if (MiState->Spaces[Index].Used) {
            Broken = MiValidateTable(MiState->Spaces[Index].Hal.Root, 4, 0, &Tables);
        }
    }
    return Broken                                                              ? Broken
           : Tables == __atomic_load_n(&MiState->TablePages, __ATOMIC_RELAXED) ? NULL
                                                                               : "T4: TablePages is not the number of tables";
}
