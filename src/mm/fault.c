/*
 * fault.c - page faults: which are promises to keep, and which are sins. SPDX-License-Identifier: MIT
 *
 * ke hands every page fault here with the address, the architecture's error code, the IRQL and the
 * instruction (KiAccessFaultRoutine); the answer is to resume, an exception, or a stop. The order of the
 * questions:
 *
 *   address    IRQL       entry                              answer
 *   -------    ----       -----                              ------
 *   any        DISPATCH+  valid, pageable, and denied to the thread (forced IRQL checking)
 *                                                            0xD1 or 0x0A
 *   kernel     any        valid, and allows it               resume (another thread was faster)
 *   kernel     any        valid, a write to read-only        0xBE
 *   kernel     any        valid, execution of NX             0xFC
 *   kernel     any        special pool, not backed           0xD5, 0xD6 by a driver's code, else 0xCC, 0xCD
 *   kernel     DISPATCH+  not there, a driver's image was    0xD4
 *   kernel     <= APC     the same                           0xCE
 *   kernel     DISPATCH+  anything else                      0xD1 if a driver's code did it, else 0x0A:
 *                                                            even if the page could be brought in
 *   kernel     <= APC     demand zero, allowed               a frame of zeroes, resume
 *   kernel     <= APC     transition, allowed                soft: the frame is made active again, resume
 *   kernel     <= APC     page file, allowed                 hard: read in (inpage.c), resume; 0x7A if the device fails,
 *                                                            0x1A/0x3F if the page's checksum is wrong; either is
 *                                                            STATUS_IN_PAGE_ERROR in a view that was mapped to raise it
 *   kernel     <= APC     the same, a write to read-only     0xBE
 *   kernel     <= APC     zero, or without access            0x50, type 0
 *   kernel     <= APC     no page table                      0x50, type 2
 *   kernel     <= APC     by code in user mode               STATUS_ACCESS_VIOLATION
 *   user       DISPATCH+  not valid                          0xD1 or 0x0A
 *   user       <= APC     demand zero, transition, page file the same; STATUS_IN_PAGE_ERROR if the device fails
 *   user       <= APC     guard                              the guard goes, STATUS_GUARD_PAGE_VIOLATION
 *   user       any        valid, execution of NX             0xFC
 *   user       any        in another process's slice         as not valid: 0xD1 or 0x0A, STATUS_ACCESS_VIOLATION
 *   user       <= APC     anything else                      STATUS_ACCESS_VIOLATION
 *   neither    DISPATCH+  not present                        0xD1 or 0x0A
 *   neither    any        present, write to read-only        0xBE (a driver's own constants)
 *   neither    any        present, execution of NX           0xFC (data, stack)
 *   neither    <= APC     not present                        STATUS_ACCESS_VIOLATION
 *   the host's own kernel half                               as a kernel address without a page table: 0x50, type 2,
 *                                                            or 0xD1/0x0A; the host calls every such fault "present"
 *
 * "Neither" is host memory: source drivers' globals, their stacks, and NULL. Windows' kernel has no such
 * memory; a wild address there (NULL above all) is a user-range address on Windows, hence the same answer as
 * there.
 *
 * A demand-zero fault needs only the page's own frame, a hard one that of the page it reads; tables exist since the page was
 * committed. Where no frame is to be had the fault waits for one (MiWaitForPages), holding no lock: commitment sees to it
 * that there will be one. The new entry is loaded into the TB at once, so the access does not fault a second time.
 *
 * A page that comes back and is only read is entered clean: if it is not written to before it is trimmed again, its copy in the
 * page file still serves. A write makes it Dirty through the machine.
 *
 * Prototype entries and copy-on-write are the sections' (sharedfault.c).
 *
 * Locks: one of PteLocks (3rd), PfnLock inside; none while waiting. Called at the IRQL of the faulting code, outside of any
 * lock. Watch: MM_COUNTERS' fault counters.
 */
#include "mm/mi.h"

BOOLEAN (*KiIsDriverCodeRoutine)(ULONG_PTR Rip);

#define MI_FAULT_PRESENT 0x1u
#define MI_FAULT_WRITE   0x2u
#define MI_FAULT_USER    0x4u
#define MI_FAULT_EXECUTE 0x10u
#define MI_HOST_KERNEL   0xFFFF800000000000ull /* no process of the host can map anything from here on */

ULONG (*MmSpecialFaultRoutine)(ULONG_PTR Address, BOOLEAN Driver);

static BOOLEAN MiIsDriverCode(ULONG_PTR Rip)
{
    if (Rip == (ULONG_PTR)KiTouchAt) {
        return FALSE; /* assembly, of which no debug information tells */
    }
    return HalIsSystemAddress(Rip) || KiIsDriverCodeRoutine == NULL || KiIsDriverCodeRoutine(Rip);
}

static BOOLEAN MiIsSpecialPool(ULONG_PTR Address)
{
    MI_REGION *Region = MiRegionOfVa(Address);
    return Region != NULL && (Region->Id == MmRegionSpecialPool || Region->Id == MmRegionPagedSpecialPool);
}

static VOID MiAnswerStop(KI_FAULT_ANSWER *Answer, ULONG Code, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3, ULONG_PTR P4)
{
    Answer->Status = STATUS_ACCESS_VIOLATION;
    Answer->StopCode = Code;
    Answer->Parameters[0] = P1;
    Answer->Parameters[1] = P2;
    Answer->Parameters[2] = P3;
    Answer->Parameters[3] = P4;
}

static VOID MiAnswerIrql(KI_FAULT_ANSWER *Answer, ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip)
{
    ULONG_PTR Operation = ErrorCode & MI_FAULT_EXECUTE ? 8 : ErrorCode & MI_FAULT_WRITE ? 1 : 0;
    MiAnswerStop(Answer, MiIsDriverCode(Rip) ? DRIVER_IRQL_NOT_LESS_OR_EQUAL : IRQL_NOT_LESS_OR_EQUAL, Address, Irql, Operation,
                 Rip);
}

static VOID MiAnswerNonPaged(KI_FAULT_ANSWER *Answer, ULONG_PTR Address, ULONG ErrorCode, ULONG_PTR Rip, ULONG_PTR Type)
{
    ULONG_PTR Operation = ErrorCode & MI_FAULT_EXECUTE ? 0x10 : ErrorCode & MI_FAULT_WRITE ? 2 : 0;
    MiAnswerStop(Answer, PAGE_FAULT_IN_NONPAGED_AREA, Address, Operation, Rip, Type);
}

/* One attempt to make a page present: what it knows, and what came of it. */
typedef struct _MI_ATTEMPT {
    ULONG_PTR Va;
    PMMPTE Pte;
    PMMSUPPORT Set;
    BOOLEAN Write, AnyProtection, User;
    BOOLEAN ReadIn; /* from a page file: a hard fault, not a soft one too */
    ULONG Tries;    /* reads of a file that found no memory */
    PFN_NUMBER *Frame;
    NTSTATUS DeviceStatus; /* STATUS_IN_PAGE_ERROR: why */
    MI_WRONG_PAGE Wrong;   /* if that is STATUS_CRC_ERROR */
    ULONG Along;           /* pages behind Va that are present now, too */
    BOOLEAN LooksAhead;    /* reads in order: more is to be read when no lock is held */
} MI_ATTEMPT;

static inline BOOLEAN MiMayBeValid(MI_PROT Protection)
{
    return MiProtAllowsAccess(Protection) && !MiProtIsGuard(Protection);
}

/* Locks the frame for the caller, PfnLock held. */
static NTSTATUS MiHold(const MI_ATTEMPT *Attempt, PFN_NUMBER Page)
{
    PMMPFN Pfn = MiPfn(Page);
    if (!MiReferenceFrameLocked(Page)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Attempt->Write) {
        Pfn->Flags |= MI_PFN_MODIFIED; /* it will be written behind the entry's back */
        if (__builtin_expect(MiHasWatches(Attempt->Set), 0)) {
            MiNoteWritten(Attempt->Set, Attempt->Va);
        }
    }
    *Attempt->Frame = Page;
    return STATUS_SUCCESS;
}

/* How many pages a demand-zero fault brings at once: one, unless the thread has filled memory in order of addresses for some time
 * (then what it will fill next comes along, as far as the entries are alike), and only where page files let memory be
 * overcommitted, so that the price of a fault would bound the speed of paging. 0: it waits until there are as many as are worth while:
 * who is faster than the device would else take each cluster that is written in ever smaller pieces, a fault for each page at last. */
#define MI_FILL_AFTER 16u
#define MI_FILL_PAGES 16u
#define MI_FILL_MANY  64u /* after as many such faults again */
#define MI_FILL_MOST  64u /* faults are remembered; half of them at an address that is not the next */
static ULONG MiFillWindow(const MI_ATTEMPT *Attempt, MMPTE Entry)
{
    ULONG Filler = (ULONG)KiCurrentThread()->Id % MI_READERS, Run, Count = 1;
    ULONG_PTR Page = Attempt->Va & ~(ULONG_PTR)(PAGE_SIZE - 1);
    if (MiThreshold(Plenty) == 0) {
        return 1;
    }
    Run = __atomic_load_n(&MiState->Pager.Fillers[Filler].Run, __ATOMIC_RELAXED);
    if (__atomic_load_n(&MiState->Pager.Fillers[Filler].End, __ATOMIC_RELAXED) == Page) {
        Run = Run < MI_FILL_MOST ? Run + 1 : Run;
    } else {
        Run /= 2; /* the next block, perhaps */
    }
    ULONG Most = Run >= 2 * MI_FILL_AFTER ? MI_FILL_MANY : MI_FILL_PAGES;
    if (Run >= MI_FILL_AFTER && Attempt->Frame == NULL && MiMayGoAlong(Attempt->Set)) {
        if (Most == MI_FILL_MANY) {
            MiMakeRoomAhead(Attempt->Set);
        }
        if (MiShouldWaitForPages()) {
            return 0;
        }
        ULONG64 Available = MiAvailable(), Enough = MiEnoughPages();
        while (Most > 1 && Available < MiThreshold(Reserve) + (Most > Enough ? 2 : 1) * (ULONG64)Most) {
            Most /= 2; /* others want some, too */
        }
        Most -= (ULONG)(Page >> PAGE_SHIFT) % Most; /* stretches as trimming and writing handle them */
        while (Count < Most && MiReadPte(Attempt->Pte + Count).Long == Entry.Long) {
            Count++;
        }
    }
    __atomic_store_n(&MiState->Pager.Fillers[Filler].End, Page + ((ULONG_PTR)Count << PAGE_SHIFT), __ATOMIC_RELAXED);
    __atomic_store_n(&MiState->Pager.Fillers[Filler].Run, Run, __ATOMIC_RELAXED);
    return Count;
}

/* Frames for Want demand-zero entries from Pte on, which may be valid, as many runs as it takes. Returns how many got one. */
static ULONG MiFillPages(PMMPTE Pte, MMPTE Entry, ULONG Want, BOOLEAN User, BOOLEAN Clean)
{
    ULONG Done = 0, Flags = MI_TAKE_ZEROED | MI_TAKE_PAGEABLE | MiPteNode(Entry) << 8;
    while (Done < Want) {
        PFN_NUMBER Base;
        BOOLEAN Dirty;
        ULONG Got = MiTakeFrames(Want - Done, Flags, Pte + Done, &Base, &Dirty);
        if (Got == 0) {
            break;
        }
        if (Dirty) {
            HalZeroPages(Base, Got);
        }
        for (ULONG Index = 0; Index < Got; Index++) {
            MMPTE Valid = MiPteValid(Base + Index, MiPteProtection(Entry), User);
            MiWritePte(Pte + Done + Index, MiPteInWorkingSet(Clean ? MiPteCleaned(Valid) : Valid));
        }
        Done += Got;
    }
    return Done;
}

/* A committed page without a frame. PteLock held. */
static NTSTATUS MiResolveDemandZero(MI_ATTEMPT *Attempt, MMPTE Entry)
{
    PFN_NUMBER Page;
    BOOLEAN Dirty;
    NTSTATUS Status = STATUS_SUCCESS;
    MI_PROT Protection = MiPteProtection(Entry);
    if (__builtin_expect(MiMayBeValid(Protection), 1)) {
        ULONG Filled = MiFillPages(Attempt->Pte, Entry, MiFillWindow(Attempt, Entry), Attempt->User,
                                   !Attempt->Write && MiHasWatches(Attempt->Set)); /* none for a window of 0 */
        if (Filled == 0) {
            return STATUS_NO_MEMORY;
        }
        MiJoinPages(Attempt->Set, Attempt->Pte, Filled);
        MiCount(&MiState->DemandZeroFaults);
        Attempt->Along = Filled - 1;
        if (Attempt->Frame == NULL) {
            return STATUS_SUCCESS;
        }
        KiAcquireLock(&MiState->PfnLock);
        Status = MiHold(Attempt, MiPtePage(MiReadPte(Attempt->Pte)));
        KiReleaseLock(&MiState->PfnLock);
        return Status;
    }
    if (MiTakeFrames(1, MI_TAKE_ZEROED | MI_TAKE_PAGEABLE | MiPteNode(Entry) << 8, Attempt->Pte, &Page, &Dirty) == 0) {
        return STATUS_NO_MEMORY;
    }
    if (Dirty) {
        HalZeroPages(Page, 1);
    }
    /* No valid form: a modified page that nobody maps. */
    ULONG64 Commit = 0;
    KiAcquireLock(&MiState->PfnLock);
    PMMPFN Pfn = MiPfn(Page);
    MiWritePte(Attempt->Pte, MiPteTransition(Page, Protection));
    Pfn->u2.ShareCount = 0;
    Pfn->ReferenceCount = 0;
    MiListFrameLocked(Page, Pfn, &Commit);
    if (Attempt->Frame) {
        Status = MiHold(Attempt, Page);
    }
    KiReleaseLock(&MiState->PfnLock);
    MiCount(&MiState->DemandZeroFaults);
    return Status;
}

/* A transition entry: its frame is active without access, on a list, locked, or in I/O. PteLock held; released with MI_AGAIN. */
static NTSTATUS MiResolveTransition(MI_ATTEMPT *Attempt)
{
    NTSTATUS Status = STATUS_SUCCESS;
    KiAcquireLock(&MiState->PfnLock);
    MMPTE Entry = MiReadPte(Attempt->Pte);
    if (!MiPteIsTransition(Entry)) { /* its frame was repurposed a moment ago */
        KiReleaseLock(&MiState->PfnLock);
        KiReleaseLock(MiPteLock(Attempt->Va));
        return MI_AGAIN;
    }
    PFN_NUMBER Page = MiPtePage(Entry);
    PMMPFN Pfn = MiPfn(Page);
    MI_PROT Protection = MiPteProtection(Entry);
    BOOLEAN Joins = FALSE;
    if (Pfn->Flags & MI_PFN_READING) {
        KiReleaseLock(MiPteLock(Attempt->Va));
        MiWaitForRead(Page);
        return MI_AGAIN;
    }
    BOOLEAN Ahead = (Pfn->Flags & MI_PFN_AHEAD) != 0;
    Pfn->Flags &= (USHORT)~MI_PFN_AHEAD;
    if (Pfn->State != MiPageActive && MiMayBeValid(Protection)) {
        MiActivateFrameLocked(Page, Pfn);
        MMPTE Valid = Attempt->Write && MiProtAllowsWrite(Protection) ? MiPteValid(Page, Protection, Attempt->User)
                                                                      : MiPteValidClean(Page, Protection, Attempt->User);
        MiWritePte(Attempt->Pte, MiPteInWorkingSet(Valid));
        Joins = TRUE;
    }
    if (Attempt->Frame) {
        Status = MiHold(Attempt, Page);
    }
    KiReleaseLock(&MiState->PfnLock);
    if (Joins) {
        MiJoinWorkingSet(Attempt->Set, Attempt->Pte);
        if (!Attempt->ReadIn) {
            MiCount(&MiState->SoftFaults);
        }
    }
    if (Ahead) {
        Attempt->LooksAhead = MiTouchReadAhead(Attempt->Pte, Attempt->Va, Attempt->Set, Attempt->Write, &Attempt->Along);
    }
    return Status;
}

/* A set whose maximum is hard gives one of its own pages for each above it. */
static VOID MiKeepMaximum(PMMSUPPORT Set)
{
    ULONG64 Pages = __atomic_load_n(&Set->Pages, __ATOMIC_RELAXED), Most = Set->MaximumPages;
    if (Set->HardMaximum && Pages > Most && KiCurrentThread()->Irql < DISPATCH_LEVEL) {
        ULONG64 Want = Pages - Most + (Most > 64 ? 8 : 0);
        ULONG64 Taken = MiTrimWorkingSet(Set, Want, 4 * Want + 64, 1);
        if (Taken < Want) {
            (VOID) MiTrimWorkingSet(Set, Want - Taken, 4 * Want + 64, MI_AGE_ANY);
        }
    }
}

static NTSTATUS MiTry(MI_ATTEMPT *Attempt)
{
    NTSTATUS Status;
    PKI_LOCK Lock = MiPteLock(Attempt->Va);
    KiAcquireLock(Lock);
    MMPTE Entry = MiReadPte(Attempt->Pte);
    if (__builtin_expect(MiPteIsPrototype(Entry), 0)) {
        KiReleaseLock(Lock);
        MI_PAGE_IN In = {.ReadIn = Attempt->ReadIn, .Tries = Attempt->Tries};
        Status = MiPrototypeFault(Attempt->Va, Attempt->Write, Attempt->AnyProtection, Attempt->Frame, &In);
        Attempt->ReadIn = In.ReadIn;
        Attempt->Tries = In.Tries;
        Attempt->DeviceStatus = In.DeviceStatus;
        Attempt->Wrong = In.Wrong;
        return Status;
    }
    MI_PROT Protection = MiPteProtection(Entry);
    if (MiPteIsZero(Entry) ||
        (!Attempt->AnyProtection && (!MiMayBeValid(Protection) || (Attempt->Write && !MiProtAllowsWrite(Protection))))) {
        Status = !MiPteIsZero(Entry) && MiProtIsGuard(Protection) ? STATUS_GUARD_PAGE_VIOLATION : STATUS_ACCESS_VIOLATION;
    } else if (MiPteIsValid(Entry)) {
        if (Attempt->Write && MiPteIsCopyOnWrite(Entry)) {
            KiReleaseLock(Lock);
            Status = MiCopyOnWrite(Attempt->Va);
            return NT_SUCCESS(Status) ? MI_AGAIN : Status;
        }
        Status = STATUS_SUCCESS;
        if (Attempt->Frame) {
            *Attempt->Frame = MiPtePage(Entry);
            if (MiPfn(*Attempt->Frame)) {
                KiAcquireLock(&MiState->PfnLock);
                Status = MiHold(Attempt, MiPtePage(Entry));
                KiReleaseLock(&MiState->PfnLock);
            }
        }
    } else if (MiPteIsDemandZero(Entry)) {
        Status = MiResolveDemandZero(Attempt, Entry);
        if (Status == STATUS_NO_MEMORY) {
            KiReleaseLock(Lock);
            return MiWaitForPages() ? MI_AGAIN : STATUS_NO_MEMORY;
        }
    } else if (MiPteIsTransition(Entry)) {
        Status = MiResolveTransition(Attempt);
        if (Status == MI_AGAIN) {
            return MI_AGAIN; /* the lock is released */
        }
    } else {
        if (KiCurrentThread()->Irql >= DISPATCH_LEVEL) {
            KiReleaseLock(Lock);
            KiStop(IRQL_NOT_LESS_OR_EQUAL, "A page that is in a page file was needed at DISPATCH_LEVEL or above.", NULL,
                   Attempt->Va, KiCurrentThread()->Irql, Attempt->Write, (ULONG_PTR)__builtin_return_address(0));
        }
        Status = MiReadIn(Attempt->Pte, Lock, Attempt->Set, Attempt->Va, Attempt->Write, &Attempt->Wrong);
        if (NT_SUCCESS(Status)) {
            Attempt->ReadIn = TRUE;
            /* Nobody can have repurposed it since: the lock is held since the read ended, and the frame is new to its list. */
            Entry = MiReadPte(Attempt->Pte);
            Status = MiPteIsTransition(Entry) && MiMayBeValid(MiPteProtection(Entry)) ? MiResolveTransition(Attempt) : MI_AGAIN;
            if (Status == MI_AGAIN && MiPteIsTransition(Entry) && MiMayBeValid(MiPteProtection(Entry))) {
                return MI_AGAIN; /* the lock is released */
            }
        } else if (Status != STATUS_NO_MEMORY) {
            Attempt->DeviceStatus = Status;
            Status = STATUS_IN_PAGE_ERROR;
        }
    }
    KiReleaseLock(Lock);
    ULONG_PTR Page = Attempt->Va & ~(ULONG_PTR)(PAGE_SIZE - 1);
    if (Attempt->LooksAhead) {
        MiLookAhead(Attempt->Set, Page + ((1 + (ULONG_PTR)Attempt->Along) << PAGE_SHIFT));
    }
    if (Attempt->Along) {
        (VOID) HalFillTb((PVOID)Page, 1 + Attempt->Along, HAL_FILL_WANTED);
    }
    return Status;
}

static NTSTATUS MiMakePresentFor(MI_ATTEMPT *Attempt)
{
    NTSTATUS Status;
    do {
        Status = MiTry(Attempt);
    } while (Status == MI_AGAIN);
    __atomic_fetch_add(&Attempt->Set->Faults, 1, __ATOMIC_RELAXED);
    if (Attempt->Set->HardMaximum) {
        MiKeepMaximum(Attempt->Set);
    }
    return Status;
}

static BOOLEAN MiBeginAttempt(MI_ATTEMPT *Attempt, ULONG_PTR Va, BOOLEAN Write)
{
    MI_REGION *Region = MiRegionOfVa(Va);
    memset(Attempt, 0, sizeof(*Attempt));
    Attempt->Va = Va;
    Attempt->Pte = Region ? MiPteOf(Va) : NULL;
    Attempt->Set = Attempt->Pte ? MiWorkingSetOfVa(Va) : NULL;
    Attempt->Write = Write;
    Attempt->User = Region && Region->User;
    return Attempt->Pte != NULL;
}

NTSTATUS MiMakePresentTelling(ULONG_PTR Va, MI_PRESENCE *Presence)
{
    MI_ATTEMPT Attempt;
    memset(Presence, 0, sizeof(*Presence));
    if (!MiBeginAttempt(&Attempt, Va, FALSE)) {
        return STATUS_ACCESS_VIOLATION;
    }
    NTSTATUS Status = MiMakePresentFor(&Attempt);
    Presence->ReadIn = Attempt.ReadIn;
    Presence->DeviceStatus = Attempt.DeviceStatus;
    Presence->Wrong = Attempt.Wrong;
    return Status;
}

NTSTATUS MiMakePresent(ULONG_PTR Va, BOOLEAN Write, BOOLEAN AnyProtection, PFN_NUMBER *Frame)
{
    MI_ATTEMPT Attempt;
    if (!MiBeginAttempt(&Attempt, Va, Write)) {
        return STATUS_ACCESS_VIOLATION;
    }
    Attempt.AnyProtection = AnyProtection;
    Attempt.Frame = Frame;
    return MiMakePresentFor(&Attempt);
}

/* A page that is there, but that the thread has denied itself on its way up to this IRQL (forced IRQL checking, ke/irql.c). */
static inline BOOLEAN MiIsDenied(KIRQL Irql, MMPTE Entry)
{
    return Irql >= DISPATCH_LEVEL && HalpDenyRevocable && MiPteIsValid(Entry) && MiPteIsInWorkingSet(Entry);
}

static VOID MiKernelFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer)
{
    BOOLEAN Write = (ErrorCode & MI_FAULT_WRITE) != 0, Execute = (ErrorCode & MI_FAULT_EXECUTE) != 0;
    PMMPTE Pte = MiPteOf(Address);
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    if (MiIsDenied(Irql, Entry)) {
        MiAnswerIrql(Answer, Address, ErrorCode, Irql, Rip);
        return;
    }
    if (MiPteIsValid(Entry)) {
        if (Write && !MiPteIsWritable(Entry)) {
            MiAnswerStop(Answer, ATTEMPTED_WRITE_TO_READONLY_MEMORY, Address, Entry.Long, 0, 0);
        } else if (Execute && MiPteIsNoExecute(Entry)) {
            MiAnswerStop(Answer, ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Address, Entry.Long, 0, 0);
        }
        return;
    }
    if (MmSpecialFaultRoutine != NULL && MiPteIsZero(Entry) && MiIsSpecialPool(Address)) {
        ULONG Code = MmSpecialFaultRoutine(Address, MiIsDriverCode(Rip));
        if (Code != 0) {
            MiAnswerStop(Answer, Code, Address, Write, Rip, 0);
            return;
        }
    }
    if (MiPteIsZero(Entry) && MiIsUnloadedImage(Address)) {
        if (Irql >= DISPATCH_LEVEL) {
            MiAnswerStop(Answer, SYSTEM_SCAN_AT_RAISED_IRQL_CAUGHT_IMPROPER_DRIVER_UNLOAD, Address, Irql, Write, Rip);
        } else {
            MiAnswerStop(Answer, DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS, Address, Write, Rip, 0);
        }
        return;
    }
    if (Irql >= DISPATCH_LEVEL) {
        MiAnswerIrql(Answer, Address, ErrorCode, Irql, Rip);
        return;
    }
    if (Pte == NULL) {
        MiAnswerNonPaged(Answer, Address, ErrorCode, Rip, 2);
        return;
    }
    if (!MiPteIsZero(Entry) && MiProtAllowsAccess(MiPteProtection(Entry)) && !MiProtIsGuard(MiPteProtection(Entry))) {
        if (Write && !MiProtAllowsWrite(MiPteProtection(Entry))) {
            MiAnswerStop(Answer, ATTEMPTED_WRITE_TO_READONLY_MEMORY, Address, Entry.Long, 0, 0);
            return;
        }
        if (Execute && !MiProtAllowsExecute(MiPteProtection(Entry))) {
            MiAnswerStop(Answer, ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Address, Entry.Long, 0, 0);
            return;
        }
        MI_ATTEMPT Attempt;
        (VOID) MiBeginAttempt(&Attempt, Address, Write);
        NTSTATUS Status = MiMakePresentFor(&Attempt);
        if (NT_SUCCESS(Status)) {
            (VOID) HalFillTb((PVOID)(Address & ~(ULONG_PTR)(PAGE_SIZE - 1)), 1, 0);
            return;
        }
        if (Status == STATUS_IN_PAGE_ERROR && MiIsRaisingView(Address)) {
            Answer->Status = STATUS_IN_PAGE_ERROR;
            Answer->Information = (ULONG)Attempt.DeviceStatus;
            return;
        }
        if (Status == STATUS_IN_PAGE_ERROR && Attempt.DeviceStatus == STATUS_CRC_ERROR) {
            MiAnswerStop(Answer, MEMORY_MANAGEMENT, 0x3F, MiSlotOffset(Attempt.Wrong.Slot), Attempt.Wrong.Found,
                         Attempt.Wrong.Expected);
            return;
        }
        if (Status == STATUS_IN_PAGE_ERROR) {
            MiAnswerStop(Answer, KERNEL_DATA_INPAGE_ERROR, (ULONG_PTR)Pte, (ULONG)Attempt.DeviceStatus, MiReadPte(Pte).Long,
                         Address);
            return;
        }
    }
    MiAnswerNonPaged(Answer, Address, ErrorCode, Rip, 0);
}

BOOLEAN MiTakeGuard(ULONG_PTR Address)
{
    PMMPTE Pte = MiPteOf(Address);
    BOOLEAN Guard = FALSE;
    KiAcquireLock(MiPteLock(Address));
    KiAcquireLock(&MiState->PfnLock); /* a transition entry may change under it alone */
    MMPTE Entry = MiReadPte(Pte);
    if (!MiPteIsZero(Entry) && !MiPteIsValid(Entry) && MiProtIsGuard(MiPteProtection(Entry))) {
        MiWritePte(Pte, MiPteBacking(Entry, MiPteProtection(Entry) & MI_PROT_BASE)); /* the next touch faults again */
        Guard = TRUE;
    }
    KiReleaseLock(&MiState->PfnLock);
    KiReleaseLock(MiPteLock(Address));
    return Guard;
}

static VOID MiUserFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer)
{
    BOOLEAN Write = (ErrorCode & MI_FAULT_WRITE) != 0, Execute = (ErrorCode & MI_FAULT_EXECUTE) != 0;
    PMMPTE Pte = MiIsCurrentVa(Address) ? MiPteOf(Address) : NULL; /* another process's: nothing is there */
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    if (MiIsDenied(Irql, Entry)) {
        MiAnswerIrql(Answer, Address, ErrorCode, Irql, Rip);
        return;
    }
    if (MiPteIsValid(Entry) && Execute && MiPteIsNoExecute(Entry)) {
        MiAnswerStop(Answer, ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Address, Entry.Long, 0, 0);
        return;
    }
    if (MiPteIsValid(Entry) && (!Write || MiPteIsWritable(Entry))) {
        return;
    }
    if (Irql >= DISPATCH_LEVEL) {
        MiAnswerIrql(Answer, Address, ErrorCode, Irql, Rip);
        return;
    }
    MI_ATTEMPT Attempt;
    NTSTATUS Status = Pte && MiBeginAttempt(&Attempt, Address, Write) ? MiMakePresentFor(&Attempt) : STATUS_ACCESS_VIOLATION;
    if (NT_SUCCESS(Status)) {
        (VOID) HalFillTb((PVOID)(Address & ~(ULONG_PTR)(PAGE_SIZE - 1)), 1, 0);
        return;
    }
    if (Status == STATUS_IN_PAGE_ERROR) {
        Answer->Status = STATUS_IN_PAGE_ERROR;
        Answer->Information = (ULONG)Attempt.DeviceStatus;
        return;
    }
    if (Status == STATUS_GUARD_PAGE_VIOLATION) {
        if (MiTakeGuard(Address)) {
            MiCount(&MiState->GuardFaults);
            Answer->Status = STATUS_GUARD_PAGE_VIOLATION;
        }
        return; /* another thread took the guard: the access is tried again */
    }
    MiCount(&MiState->AccessViolations);
    Answer->Status = STATUS_ACCESS_VIOLATION;
}

static VOID MiHostFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer)
{
    if (Address >= MI_HOST_KERNEL) {
        if (Irql >= DISPATCH_LEVEL) {
            MiAnswerIrql(Answer, Address, ErrorCode, Irql, Rip);
        } else {
            MiAnswerNonPaged(Answer, Address, ErrorCode, Rip, 2);
        }
        return;
    }
    /* Host memory has no entry of ours: parameter 2 is 0. The host may have taken the page away meanwhile, or never brought
     * it in; what can be read is there all the same. */
    if ((ErrorCode & MI_FAULT_PRESENT) || HalProbeHostMemory((const VOID *)Address, 1, FALSE)) {
        if (ErrorCode & MI_FAULT_EXECUTE) {
            MiAnswerStop(Answer, ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Address, 0, 0, 0);
            return;
        }
        if (ErrorCode & MI_FAULT_WRITE) {
            MiAnswerStop(Answer, ATTEMPTED_WRITE_TO_READONLY_MEMORY, Address, 0, 0, 0);
            return;
        }
    }
    if (Irql >= DISPATCH_LEVEL) {
        MiAnswerIrql(Answer, Address, ErrorCode, Irql, Rip);
        return;
    }
    MiCount(&MiState->AccessViolations);
    Answer->Status = STATUS_ACCESS_VIOLATION;
}

VOID MmAccessFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer)
{
    memset(Answer, 0, sizeof(*Answer));
    MiCount(&MiState->AllFaults);
    if (HalIsSystemAddress(Address) && (ErrorCode & MI_FAULT_USER) && Irql < DISPATCH_LEVEL) {
        MiCount(&MiState->AccessViolations);
        Answer->Status = STATUS_ACCESS_VIOLATION; /* user mode has nothing there */
    } else if (HalIsSystemAddress(Address)) {
        MiKernelFault(Address, ErrorCode, Irql, Rip, Answer);
    } else if (HalIsUserAddress(Address)) {
        MiUserFault(Address, ErrorCode, Irql, Rip, Answer);
    } else {
        MiHostFault(Address, ErrorCode, Irql, Rip, Answer);
    }
    if (Answer->StopCode == 0 && Irql <= DISPATCH_LEVEL) {
        MiCheckConditions();
    }
}
