/*
 * protect.c - protections of ranges: changing them, asking for them. SPDX-License-Identifier: MIT
 *
 * The work of ZwProtectVirtualMemory and of ZwQueryVirtualMemory's classes for ranges. A page's protection is in its entry (pte.h,
 * MiPteProtection); a range's own (AllocationProtect) is what it was allocated with.
 *
 * Changing: the whole stretch lies in one range, and is committed; all or nothing. Secured pages (secure.c) may be changed only to what
 * still allows what was promised. Pages of a view obey the section (section.c).
 *
 * Asking: MEMORY_BASIC_INFORMATION is the run of pages from the one asked for on that agree in state, protection and type within
 * one range, or the whole gap to the next range.
 * Locks: MI_SPACE.Lock. Watch: tests/ddi/ZwAllocateVirtualMemory.c.
 */
#include "mm/mi.h"
#include "mm/vm.h"

/* ---- changing ---- */
static BOOLEAN MiSecuresAllow(PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End, MI_PROT Protection)
{
    for (PLIST_ENTRY Entry = Vad->Secures.Flink; Entry != &Vad->Secures; Entry = Entry->Flink) {
        PMI_SECURE Secure = CONTAINING_RECORD(Entry, MI_SECURE, Link);
        if (Secure->Start < End && Start < Secure->End &&
            (Secure->NoChange || !MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) ||
             (Secure->Write && !MiProtAllowsWrite(Protection)))) {
            return FALSE;
        }
    }
    return TRUE;
}

static ULONG MiProtectOfEntry(PMMVAD Vad, MMPTE Entry)
{
    if (MiPteIsZero(Entry)) {
        return 0;
    }
    return Vad->Type == MiVadView ? MiProtectOfViewEntry(Vad, Entry) : MiMakePageProtection(MiPteProtection(Entry));
}

NTSTATUS MmProtectVirtual(PMM_SPACE Space, PVOID *Base, SIZE_T *Size, ULONG Protect, ULONG *Old)
{
    MI_PROT Protection = MiMakeProtection(Protect);
    if (Protection == MI_PROT_INVALID) {
        return STATUS_INVALID_PAGE_PROTECTION;
    }
    NTSTATUS Status = MiCheckRange(*Base, *Size, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_3);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    ULONG_PTR Start = (ULONG_PTR)*Base & ~(ULONG_PTR)(PAGE_SIZE - 1);
    ULONG_PTR End = ((ULONG_PTR)*Base + *Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Start);
    if (Space->Dying) {
        Status = STATUS_PROCESS_IS_TERMINATING;
    } else if (Vad == NULL || Vad->End < End || Vad->Type == MiVadLocked) {
        Status = STATUS_CONFLICTING_ADDRESSES;
    } else if (MiCountUsedEntries(Start, End) != (End - Start) >> PAGE_SHIFT) {
        Status = STATUS_NOT_COMMITTED;
    } else if (Vad->NoChange || !MiSecuresAllow(Vad, Start, End, Protection)) {
        Status = STATUS_INVALID_PAGE_PROTECTION;
    } else {
        *Old = MiProtectOfEntry(Vad, MiReadPte(MiPteOf(Start)));
        if (Vad->Type == MiVadView) {
            Status = MiProtectView(Space, Vad, Start, End, Protect);
        } else if (MiProtIsCopyOnWrite(Protection)) {
            Status = STATUS_INVALID_PAGE_PROTECTION;
        } else {
            Status = MmProtectPages((PVOID)Start, (End - Start) >> PAGE_SHIFT, Protect);
        }
    }
    MiUnlockSpace(Space);
    if (NT_SUCCESS(Status)) {
        *Base = (PVOID)Start;
        *Size = End - Start;
    }
    return Status;
}

/* ---- asking ---- */
static ULONG MiTypeOfVad(PMMVAD Vad)
{
    return Vad->Type == MiVadView ? (Vad->Image ? MEM_IMAGE : MEM_MAPPED) : Vad->Physical ? MEM_MAPPED : MEM_PRIVATE;
}

/* The gap that holds Va, cut at the slice's ends; outside the slice all is one gap. */
static VOID MiDescribeGap(PMI_SPACE Space, ULONG_PTR Va, PMEMORY_BASIC_INFORMATION Info)
{
    ULONG_PTR End = (ULONG_PTR)MmHighestUserAddress + 1;
    if (Va < Space->Hal.Low) {
        End = Space->Hal.Low;
    }
    PMMVAD Above = MiFirstVadIn(Space, Va, End);
    if (Above) {
        End = Above->Start;
    }
    *Info = (MEMORY_BASIC_INFORMATION){
        .BaseAddress = (PVOID)Va, .RegionSize = End - Va, .State = MEM_FREE, .Protect = PAGE_NOACCESS};
}

NTSTATUS MmQueryVirtual(PMM_SPACE Space, PVOID Address, PMEMORY_BASIC_INFORMATION Info)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(Address), At;
    if ((ULONG_PTR)Address > (ULONG_PTR)MmHighestUserAddress) {
        return STATUS_INVALID_PARAMETER;
    }
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Va);
    if (Space->Dying) {
        MiUnlockSpace(Space);
        return STATUS_PROCESS_IS_TERMINATING;
    }
    if (Vad == NULL) {
        MiDescribeGap(Space, Va, Info);
        MiUnlockSpace(Space);
        return STATUS_SUCCESS;
    }
    PMMPTE Pte = MiPteOf(Va);
    ULONG Protect = MiProtectOfEntry(Vad, Pte ? MiReadPte(Pte) : MI_ZERO_PTE);
    for (At = Va + PAGE_SIZE; At < Vad->End; At += PAGE_SIZE) {
        if (MiEntriesToTableEnd(At) == 512 || Pte == NULL) {
            Pte = MiPteOf(At);
            if (Pte == NULL && Protect == 0) {
                At += (ULONG_PTR)(MiEntriesToTableEnd(At) - 1) << PAGE_SHIFT; /* a whole table is not there */
                continue;
            }
        } else {
            Pte++;
        }
        if (MiProtectOfEntry(Vad, Pte ? MiReadPte(Pte) : MI_ZERO_PTE) != Protect) {
            break;
        }
    }
    At = At < Vad->End ? At : Vad->End;
    *Info = (MEMORY_BASIC_INFORMATION){.BaseAddress = (PVOID)Va,
                                       .AllocationBase = (PVOID)Vad->Start,
                                       .AllocationProtect = Vad->Protect,
                                       .RegionSize = At - Va,
                                       .State = Protect ? MEM_COMMIT : MEM_RESERVE,
                                       .Protect = Protect,
                                       .Type = MiTypeOfVad(Vad)};
    MiUnlockSpace(Space);
    return STATUS_SUCCESS;
}

NTSTATUS MmQueryRegionOf(PMM_SPACE Space, PVOID Address, PMEMORY_REGION_INFORMATION Info)
{
    if ((ULONG_PTR)Address > (ULONG_PTR)MmHighestUserAddress) {
        return STATUS_INVALID_PARAMETER;
    }
    memset(Info, 0, sizeof(*Info));
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, (ULONG_PTR)PAGE_ALIGN(Address));
    if (Vad) {
        Info->AllocationBase = (PVOID)Vad->Start;
        Info->AllocationProtect = Vad->Protect;
        Info->RegionSize = Vad->End - Vad->Start;
        Info->CommitSize = Vad->Type == MiVadPrivate ? MiCountUsedEntries(Vad->Start, Vad->End) << PAGE_SHIFT : 0;
        Info->Private = Vad->Type == MiVadPrivate;
        Info->MappedDataFile = Vad->Type == MiVadView && !Vad->Image && MiViewHasFile(Vad);
        Info->MappedImage = Vad->Type == MiVadView && Vad->Image;
        Info->MappedPageFile = Vad->Type == MiVadView && !MiViewHasFile(Vad);
        Info->MappedPhysical = Vad->Type == MiVadLocked;
    }
    MiUnlockSpace(Space);
    return Vad ? STATUS_SUCCESS : STATUS_INVALID_ADDRESS;
}

VOID MmQueryWorkingSetEx(PMM_SPACE Space, PMEMORY_WORKING_SET_EX_INFORMATION Entry)
{
    ULONG_PTR Va = (ULONG_PTR)PAGE_ALIGN(Entry->VirtualAddress);
    PMEMORY_WORKING_SET_EX_BLOCK Block = &Entry->u1.VirtualAttributes;
    Entry->u1.Long = 0;
    if (Va - Space->Hal.Low >= Space->Hal.High - Space->Hal.Low) {
        return;
    }
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Va);
    PMMPTE Pte = Vad ? MiPteOf(Va) : NULL;
    MMPTE Leaf = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    if (MiPteIsValid(Leaf)) {
        Block->Valid = 1;
        Block->Win32Protection = MiProtectOfEntry(Vad, Leaf) & 0x7FF;
        Block->LargePage = Vad->LargePages;
        Block->Locked = Vad->LargePages || MiIsVadPageLocked(Vad, Va);
        if (Vad->Type == MiVadView && MiPteIsShared(Leaf)) {
            Block->ShareCount = MiViewShareCount(Vad);
            Block->Shared = 1;
        } else {
            Block->ShareCount = 1;
        }
    }
    MiUnlockSpace(Space);
}
