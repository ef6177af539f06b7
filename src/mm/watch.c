/*
 * watch.c - which pages of a range were written to (MEM_WRITE_WATCH). SPDX-License-Identifier: MIT
 *
 * The work of NtGetWriteWatch and NtResetWriteWatch. Documented (GetWriteWatch, ResetWriteWatch): the system tracks which committed
 * pages of a region allocated with MEM_WRITE_WATCH were written to since it was allocated, or since the tracking was reset.
 *
 * The MMU tracks them: an entry is Dirty once its page was written. What is Dirty is noted where an entry stops being valid (trimming,
 * a protection without access), and where somebody locks a page to write to its frame:
 *
 *      written = the entry is valid and Dirty, or the page's bit is set
 *      reset   = the bit cleared; Dirty taken from the entry and given to the frame (MI_PFN_MODIFIED), the TB flushed, so that
 *                the next write makes the entry Dirty anew
 *
 *      MMSUPPORT.Watches --> MI_WATCH { Start, End, Bits } --> ...      a bit a page; one for each such range (MMVAD.Watch)
 *
 * So that Dirty means written, working sets that have watches get nothing along with a fault, and demand-zero pages that are
 * only read are entered clean. The bits of pages that are decommitted are cleared.
 *
 * Locks: MMSUPPORT.WatchLock, a leaf: the list and the bits. Watch: tests/ddi/NtGetWriteWatch.c.
 */
#include "mm/mi.h"
#include "mm/vm.h"

#define MI_TAG_WATCH 'aWmM'

struct _MI_WATCH {
    struct _MI_WATCH *Next;
    ULONG_PTR Start, End;
    ULONG64 Bits[];
};

BOOLEAN MiWatchRange(PMI_SPACE Space, PMMVAD Vad)
{
    SIZE_T Words = ((Vad->End - Vad->Start) >> PAGE_SHIFT) / 64 + 1;
    MI_WATCH *Watch = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*Watch) + Words * sizeof(ULONG64), MI_TAG_WATCH);
    if (Watch == NULL) {
        return FALSE;
    }
    Watch->Start = Vad->Start;
    Watch->End = Vad->End;
    Vad->Watch = Watch;
    KiAcquireLock(&Space->WorkingSet.WatchLock);
    Watch->Next = Space->WorkingSet.Watches;
    __atomic_store_n(&Space->WorkingSet.Watches, Watch, __ATOMIC_RELEASE);
    KiReleaseLock(&Space->WorkingSet.WatchLock);
    return TRUE;
}

VOID MiForgetWatch(PMI_SPACE Space, PMMVAD Vad)
{
    if (Vad->Watch == NULL) {
        return;
    }
    KiAcquireLock(&Space->WorkingSet.WatchLock);
    MI_WATCH *Next = Vad->Watch->Next;
    if (Space->WorkingSet.Watches == Vad->Watch) {
        __atomic_store_n(&Space->WorkingSet.Watches, Next, __ATOMIC_RELEASE);
    } else {
        MI_WATCH *Before = Space->WorkingSet.Watches;
        while (Before->Next != Vad->Watch) {
            Before = Before->Next;
        }
        Before->Next = Next;
    }
    KiReleaseLock(&Space->WorkingSet.WatchLock);
    ExFreePoolWithTag(Vad->Watch, MI_TAG_WATCH);
    Vad->Watch = NULL;
}

static BOOLEAN MiTakeBit(MI_WATCH *Watch, ULONG_PTR Va, BOOLEAN Clear)
{
    SIZE_T Page = (Va - Watch->Start) >> PAGE_SHIFT;
    BOOLEAN Set = (Watch->Bits[Page / 64] >> (Page % 64) & 1) != 0;
    if (Clear) {
        Watch->Bits[Page / 64] &= ~(1ull << (Page % 64));
    }
    return Set;
}

VOID MiNoteWritten(PMMSUPPORT Set, ULONG_PTR Va)
{
    KiAcquireLock(&Set->WatchLock);
    for (MI_WATCH *Watch = Set->Watches; Watch; Watch = Watch->Next) {
        if (Va - Watch->Start < Watch->End - Watch->Start) {
            SIZE_T Page = (Va - Watch->Start) >> PAGE_SHIFT;
            Watch->Bits[Page / 64] |= 1ull << (Page % 64);
        }
    }
    KiReleaseLock(&Set->WatchLock);
}

VOID MiForgetWritten(PMI_SPACE Space, PMMVAD Vad, ULONG_PTR Start, ULONG_PTR End)
{
    if (Vad->Watch) {
        KiAcquireLock(&Space->WorkingSet.WatchLock);
        for (ULONG_PTR At = Start; At < End; At += PAGE_SIZE) {
            (VOID) MiTakeBit(Vad->Watch, At, TRUE);
        }
        KiReleaseLock(&Space->WorkingSet.WatchLock);
    }
}

/* Whether the page was written to; from now on it was not, if Reset. *Flush: the TB must forget it. */
static BOOLEAN MiWasWritten(PMI_SPACE Space, MI_WATCH *Watch, ULONG_PTR Va, BOOLEAN Reset, BOOLEAN *Flush)
{
    PMMPTE Pte = MiPteOf(Va);
    BOOLEAN Written = FALSE;
    if (Pte == NULL) {
        return FALSE;
    }
    KiAcquireLock(MiPteLock(Va));
    MMPTE Entry = MiReadPte(Pte);
    if (MiPteIsValid(Entry) && MiPteIsDirty(Entry)) {
        Written = TRUE;
        if (Reset) {
            while (!MiCompareExchangePte(Pte, &Entry, MiPteCleaned(Entry))) {
            }
            HalFlushTb((PVOID)Va, 1);
            *Flush = TRUE;
            KiAcquireLock(&MiState->PfnLock);
            PMMPFN Pfn = MiPfn(MiPtePage(Entry));
            if (Pfn) {
                Pfn->Flags |= MI_PFN_MODIFIED;
            }
            KiReleaseLock(&MiState->PfnLock);
        }
    }
    KiAcquireLock(&Space->WorkingSet.WatchLock);
    Written |= MiTakeBit(Watch, Va, Reset);
    KiReleaseLock(&Space->WorkingSet.WatchLock);
    KiReleaseLock(MiPteLock(Va));
    return Written;
}

NTSTATUS MmFindWritten(PMM_SPACE Space, PVOID Base, SIZE_T Size, BOOLEAN Reset, ULONG_PTR *From, PVOID *Found, ULONG *Count)
{
    ULONG_PTR Start = (ULONG_PTR)PAGE_ALIGN(Base);
    ULONG_PTR End = ((ULONG_PTR)Base + Size + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    ULONG Most = *Count;
    BOOLEAN Flushed = FALSE;
    *Count = 0;
    NTSTATUS Status = MiCheckRange(Base, Size, STATUS_INVALID_PARAMETER_2, STATUS_INVALID_PARAMETER_3);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    MiLockSpace(Space);
    PMMVAD Vad = MiFindVad(Space, Start);
    if (Space->Dying) {
        Status = STATUS_PROCESS_IS_TERMINATING;
    } else if (Vad == NULL || Vad->Watch == NULL || Vad->End < End) {
        Status = STATUS_INVALID_PARAMETER_1;
    } else {
        ULONG_PTR At = *From > Start ? *From : Start;
        for (; At < End && (Found == NULL || *Count < Most); At += PAGE_SIZE) {
            if (MiWasWritten(Space, Vad->Watch, At, Reset, &Flushed) && Found) {
                Found[(*Count)++] = (PVOID)At;
            }
        }
        *From = At;
    }
    MiUnlockSpace(Space);
    return Status;
}
