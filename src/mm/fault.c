/*
 * fault.c - page faults: which are promises to keep, and which are sins. SPDX-License-Identifier: MIT
 *
 * ke hands every page fault here with the address, the architecture's error code, the IRQL and the
 * instruction (KiAccessFaultRoutine); the answer is to resume, an exception, or a stop. The order of the
 * questions:
 *
 *   address    IRQL       entry                              answer
 *   -------    ----       -----                              ------
 *   kernel     any        valid, and allows it               resume (another thread was faster)
 *   kernel     any        valid, a write to read-only        0xBE
 *   kernel     any        valid, execution of NX             0xFC
 *   kernel     DISPATCH+  anything else                      0xD1 if a driver's code did it, else 0x0A:
 *                                                            even if the page could be brought in
 *   kernel     <= APC     demand zero, allowed               a frame of zeroes, resume
 *   kernel     <= APC     demand zero, a write to read-only  0xBE
 *   kernel     <= APC     zero, or without access            0x50, type 0
 *   kernel     <= APC     no page table                      0x50, type 2
 *   user       DISPATCH+  not valid                          0xD1 or 0x0A
 *   user       <= APC     demand zero, allowed               a frame of zeroes
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
 * A demand-zero fault needs only the page's own frame, which commitment guarantees (commit.c); tables exist
 * since the page was committed. The new entry is loaded into the TB at once, so the access does not fault a
 * second time.
 *
 * Locks: one of PteLocks (3rd), PfnLock inside. Called at the IRQL of the faulting code, outside of any lock.
 * Watch: MM_COUNTERS' fault counters.
 */
#include "mm/mi.h"

BOOLEAN (*KiIsDriverCodeRoutine)(ULONG_PTR Rip);

#define MI_FAULT_PRESENT 0x1u
#define MI_FAULT_WRITE   0x2u
#define MI_FAULT_EXECUTE 0x10u
#define MI_HOST_KERNEL   0xFFFF800000000000ull /* no process of the host can map anything from here on */

static BOOLEAN MiIsDriverCode(ULONG_PTR Rip)
{
    return HalIsSystemAddress(Rip) || KiIsDriverCodeRoutine == NULL || KiIsDriverCodeRoutine(Rip);
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

/* Makes a committed page without a frame valid. PteLock held. */
static BOOLEAN MiResolveDemandZero(PMMPTE Pte, MMPTE Entry, BOOLEAN User)
{
    PFN_NUMBER Page;
    BOOLEAN Dirty;
    MI_PROT Protection = MiPteProtection(Entry);
    if (MiTakeFrames(1, MI_TAKE_ZEROED, Pte, HalWindowPage(Pte), &Page, &Dirty) == 0) {
        return FALSE;
    }
    if (Dirty) {
        HalZeroPages(Page, 1);
    }
    if (MiProtAllowsAccess(Protection) && !MiProtIsGuard(Protection)) {
        MiWritePte(Pte, MiPteValid(Page, Protection, User));
    } else {
        MiWritePte(Pte, MiPteTransition(Page, Protection));
    }
    MiCount(&MiState->DemandZeroFaults);
    return TRUE;
}

NTSTATUS MiMakePresent(ULONG_PTR Va, BOOLEAN Write, BOOLEAN AnyProtection, PFN_NUMBER *Frame)
{
    MI_REGION *Region = MiRegionOfVa(Va);
    PMMPTE Pte = Region ? MiPteOf(Va) : NULL;
    NTSTATUS Status = STATUS_SUCCESS;
    if (Pte == NULL) {
        return STATUS_ACCESS_VIOLATION;
    }
    KiAcquireLock(MiPteLock(Va));
    MMPTE Entry = MiReadPte(Pte);
    MI_PROT Protection = MiPteProtection(Entry);
    if (MiPteIsZero(Entry) || (!AnyProtection && (!MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) ||
                                                  (Write && !MiProtAllowsWrite(Protection))))) {
        Status = !MiPteIsZero(Entry) && MiProtIsGuard(Protection) ? STATUS_GUARD_PAGE_VIOLATION : STATUS_ACCESS_VIOLATION;
    } else if (MiPteIsDemandZero(Entry)) {
        Status = MiResolveDemandZero(Pte, Entry, Region->User) ? STATUS_SUCCESS : STATUS_NO_MEMORY;
        Entry = MiReadPte(Pte);
    }
    if (NT_SUCCESS(Status) && Frame) {
        *Frame = MiPtePage(Entry);
        if (MiPfn(*Frame)) {
            KiAcquireLock(&MiState->PfnLock);
            Status = MiReferenceFrameLocked(*Frame) ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
            KiReleaseLock(&MiState->PfnLock);
        }
    }
    KiReleaseLock(MiPteLock(Va));
    return Status;
}

static VOID MiKernelFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer)
{
    BOOLEAN Write = (ErrorCode & MI_FAULT_WRITE) != 0, Execute = (ErrorCode & MI_FAULT_EXECUTE) != 0;
    PMMPTE Pte = MiPteOf(Address);
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
    if (MiPteIsValid(Entry)) {
        if (Write && !MiPteIsWritable(Entry)) {
            MiAnswerStop(Answer, ATTEMPTED_WRITE_TO_READONLY_MEMORY, Address, Entry.Long, 0, 0);
        } else if (Execute && MiPteIsNoExecute(Entry)) {
            MiAnswerStop(Answer, ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Address, Entry.Long, 0, 0);
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
    if (MiPteIsDemandZero(Entry) && MiProtAllowsAccess(MiPteProtection(Entry))) {
        if (Write && !MiProtAllowsWrite(MiPteProtection(Entry))) {
            MiAnswerStop(Answer, ATTEMPTED_WRITE_TO_READONLY_MEMORY, Address, Entry.Long, 0, 0);
            return;
        }
        if (Execute && !MiProtAllowsExecute(MiPteProtection(Entry))) {
            MiAnswerStop(Answer, ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, Address, Entry.Long, 0, 0);
            return;
        }
        if (NT_SUCCESS(MiMakePresent(Address, Write, FALSE, NULL))) {
            (VOID) HalFillTb((PVOID)(Address & ~(ULONG_PTR)(PAGE_SIZE - 1)), 1, 0);
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
    MMPTE Entry = MiReadPte(Pte);
    if (!MiPteIsZero(Entry) && !MiPteIsValid(Entry) && MiProtIsGuard(MiPteProtection(Entry))) {
        MI_PROT Protection = MiPteProtection(Entry) & MI_PROT_BASE;
        MiWritePte(Pte,
                   MiPteIsTransition(Entry) ? MiPteValid(MiPtePage(Entry), Protection, TRUE) : MiPteDemandZero(Protection));
        Guard = TRUE;
    }
    KiReleaseLock(MiPteLock(Address));
    return Guard;
}

static VOID MiUserFault(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer)
{
    BOOLEAN Write = (ErrorCode & MI_FAULT_WRITE) != 0, Execute = (ErrorCode & MI_FAULT_EXECUTE) != 0;
    PMMPTE Pte = MiIsCurrentVa(Address) ? MiPteOf(Address) : NULL; /* another process's: nothing is there */
    MMPTE Entry = Pte ? MiReadPte(Pte) : MI_ZERO_PTE;
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
    NTSTATUS Status = Pte ? MiMakePresent(Address, Write, FALSE, NULL) : STATUS_ACCESS_VIOLATION;
    if (NT_SUCCESS(Status)) {
        (VOID) HalFillTb((PVOID)(Address & ~(ULONG_PTR)(PAGE_SIZE - 1)), 1, 0);
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
    if (HalIsSystemAddress(Address)) {
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
