/*
 * trap.c - what the processor found: page faults and other traps become resumption, an exception or a stop.
 * SPDX-License-Identifier: MIT
 *
 * The machine calls KiPageFaultUpcall and KiTrapUpcall on the faulting thread's own stack, below the interrupted frame, outside
 * any signal context (hal.h, 5). Returning resumes the frame.
 *
 *   page fault --KiAccessFaultRoutine (mm)--> resume | stop 0x50, 0x0A, 0xD1, 0xBE, 0xFC | exception
 *   divide error            STATUS_INTEGER_DIVIDE_BY_ZERO, or STATUS_INTEGER_OVERFLOW if the divisor was not zero
 *   debug                   STATUS_SINGLE_STEP
 *   int3                    STATUS_BREAKPOINT at the int3
 *   overflow, bound         STATUS_INTEGER_OVERFLOW, STATUS_ARRAY_BOUNDS_EXCEEDED
 *   undefined instruction   STATUS_ILLEGAL_INSTRUCTION
 *   general protection      int 29h: stop 0x139; int 2Ch: STATUS_ASSERTION_FAILURE; int 3: STATUS_BREAKPOINT; privileged
 *                           instruction: emulated for PE code, else STATUS_PRIVILEGED_INSTRUCTION; any other: a non-canonical
 *                           address, STATUS_ACCESS_VIOLATION at address ~0
 *   alignment               STATUS_DATATYPE_MISALIGNMENT
 *   x87, SIMD               STATUS_FLOAT_INVALID_OPERATION, STATUS_FLOAT_MULTIPLE_TRAPS
 *   double fault, stack     stop 0x7F with the vector
 *
 * Invariants:
 *  1. A resumed frame has only what a filter or the emulator changed in it.
 *  2. The bytes at Rip are read only if they can be: as data they may not be there at all (a jump to a bad address).
 *
 * Watch it: tests/unit/trap_test.c.
 */
#include "ke/kip.h"

VOID (*KiAccessFaultRoutine)(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer);
BOOLEAN (*KiEmulateRoutine)(HAL_TRAP_FRAME *Frame);

VOID KiContextOfTrap(const HAL_TRAP_FRAME *Frame, HAL_CONTEXT *Context)
{
    *Context = (HAL_CONTEXT){.Rip = Frame->Rip,
                             .Rsp = Frame->Rsp,
                             .Rbp = Frame->Rbp,
                             .Rbx = Frame->Rbx,
                             .R12 = Frame->R12,
                             .R13 = Frame->R13,
                             .R14 = Frame->R14,
                             .R15 = Frame->R15,
                             .Rdi = Frame->Rdi,
                             .Rsi = Frame->Rsi};
}

static VOID ContextOfTrap(const HAL_TRAP_FRAME *Frame, CONTEXT *Context)
{
    memset(Context, 0, sizeof *Context);
    Context->ContextFlags = CONTEXT_CONTROL | CONTEXT_INTEGER | CONTEXT_SEGMENTS;
    Context->SegCs = (USHORT)Frame->Cs;
    Context->SegSs = (USHORT)Frame->Ss;
    Context->EFlags = (ULONG)Frame->EFlags;
    Context->Rax = Frame->Rax;
    Context->Rcx = Frame->Rcx;
    Context->Rdx = Frame->Rdx;
    Context->Rbx = Frame->Rbx;
    Context->Rsp = Frame->Rsp;
    Context->Rbp = Frame->Rbp;
    Context->Rsi = Frame->Rsi;
    Context->Rdi = Frame->Rdi;
    Context->R8 = Frame->R8;
    Context->R9 = Frame->R9;
    Context->R10 = Frame->R10;
    Context->R11 = Frame->R11;
    Context->R12 = Frame->R12;
    Context->R13 = Frame->R13;
    Context->R14 = Frame->R14;
    Context->R15 = Frame->R15;
    Context->Rip = Frame->Rip;
    KiCaptureVector(Context);
}

/* The filter may have edited the context; flags that belong to the machine stay. */
static VOID TrapOfContext(const CONTEXT *Context, HAL_TRAP_FRAME *Frame)
{
    Frame->EFlags = (Frame->EFlags & ~0xcd5ull) | (Context->EFlags & 0xcd5);
    Frame->Rax = Context->Rax;
    Frame->Rcx = Context->Rcx;
    Frame->Rdx = Context->Rdx;
    Frame->Rbx = Context->Rbx;
    Frame->Rsp = Context->Rsp;
    Frame->Rbp = Context->Rbp;
    Frame->Rsi = Context->Rsi;
    Frame->Rdi = Context->Rdi;
    Frame->R8 = Context->R8;
    Frame->R9 = Context->R9;
    Frame->R10 = Context->R10;
    Frame->R11 = Context->R11;
    Frame->R12 = Context->R12;
    Frame->R13 = Context->R13;
    Frame->R14 = Context->R14;
    Frame->R15 = Context->R15;
    Frame->Rip = Context->Rip;
}

static VOID DispatchTrap(HAL_TRAP_FRAME *Frame, EXCEPTION_RECORD *Record)
{
    CONTEXT Context;
    Record->ExceptionAddress = (PVOID)Frame->Rip;
    ContextOfTrap(Frame, &Context);
    KiDispatchException(Record, &Context);
    TrapOfContext(&Context, Frame);
}

/* What the dispatcher does to drivers' objects it does at DISPATCH_LEVEL, whatever the caller's IRQL: they must be resident. */
static KIRQL IrqlOfFault(const KTHREAD *Thread, const HAL_TRAP_FRAME *Frame)
{
    BOOLEAN Dispatching =
        HalIsSystemAddress(Frame->FaultAddress) && (Frame->Rip == (ULONG_PTR)KiTouchAt || KiHoldsDispatcher(Thread));
    return Dispatching && Thread->Irql < DISPATCH_LEVEL ? DISPATCH_LEVEL : Thread->Irql;
}

VOID KiPageFaultUpcall(HAL_TRAP_FRAME *Frame)
{
    KTHREAD *Thread = KiCurrentThread();
    KI_FAULT_ANSWER Answer = {.Status = STATUS_ACCESS_VIOLATION};
    EXCEPTION_RECORD Record = {0};
    HAL_CONTEXT Context;

    if (KiAccessFaultRoutine) {
        Answer.Status = STATUS_SUCCESS;
        KiAccessFaultRoutine(Frame->FaultAddress, (ULONG)Frame->ErrorCode, IrqlOfFault(Thread, Frame), Frame->Rip, &Answer);
    }
    if ((Answer.StopCode || Answer.Status != STATUS_SUCCESS) && Frame->Rip == (ULONG_PTR)KiTryReadAt) {
        Frame->Rip = (ULONG_PTR)KiTryReadFailed;
        return;
    }
    if (Answer.StopCode) {
        KI_BUGCHECK Stop = {.Code = Answer.StopCode, .Context = &Context};
        KiContextOfTrap(Frame, &Context);
        memcpy(Stop.Parameters, Answer.Parameters, sizeof Stop.Parameters);
        if ((Stop.Code == IRQL_NOT_LESS_OR_EQUAL || Stop.Code == DRIVER_IRQL_NOT_LESS_OR_EQUAL) &&
            KiIsOnStackOut(Frame->FaultAddress))
            Stop.Words =
                "At DISPATCH_LEVEL or above something on the kernel stack of another thread was touched, which waits with "
                "UserMode: its stack has left RAM. Wait with KernelMode, or keep the object elsewhere.";
        KiBugCheck(&Stop);
    }
    if (Answer.Status == STATUS_SUCCESS)
        return;
    Record.ExceptionCode = Answer.Status;
    Record.NumberParameters = 2;
    Record.ExceptionInformation[0] = Frame->ErrorCode & 0x10 ? EXCEPTION_EXECUTE_FAULT
                                     : Frame->ErrorCode & 2  ? EXCEPTION_WRITE_FAULT
                                                             : EXCEPTION_READ_FAULT;
    Record.ExceptionInformation[1] = Frame->FaultAddress;
    if (Answer.Status == STATUS_IN_PAGE_ERROR) {
        Record.NumberParameters = 3;
        Record.ExceptionInformation[2] = Answer.Information;
    }
    DispatchTrap(Frame, &Record);
}

/* Up to Count bytes of code at Address, zero where they cannot be read. */
static VOID ReadCode(ULONG_PTR Address, UCHAR *Bytes, ULONG Count)
{
    memset(Bytes, 0, Count);
    for (ULONG I = 0; I < Count; I++) {
        ULONG_PTR At = Address + I;
        PHYSICAL_ADDRESS Physical;
        if (HalIsSystemAddress(At) || HalIsUserAddress(At)) {
            if (!HalTranslate(At, &Physical))
                return;
            Bytes[I] = ((const UCHAR *)HalWindow((PFN_NUMBER)Physical.QuadPart >> 12))[Physical.QuadPart & 4095];
        } else {
            if ((I == 0 || (At & 4095) == 0) && !HalProbeHostMemory((const VOID *)At, 1, FALSE))
                return;
            Bytes[I] = *(const UCHAR *)At;
        }
    }
}

/* Skips legacy and REX prefixes. */
static const UCHAR *SkipPrefixes(const UCHAR *Code, const UCHAR *End)
{
    while (Code + 2 < End &&
           (*Code == 0x66 || *Code == 0x67 || *Code == 0xf0 || *Code == 0xf2 || *Code == 0xf3 || *Code == 0x2e ||
            *Code == 0x36 || *Code == 0x3e || *Code == 0x26 || *Code == 0x64 || *Code == 0x65 || (*Code & 0xf0) == 0x40))
        Code++;
    return Code;
}

static BOOLEAN IsPrivileged(const UCHAR *Code)
{
    switch (Code[0]) {
    case 0xf4: /* hlt */
    case 0xfa: /* cli */
    case 0xfb: /* sti */
    case 0x6c: /* ins, outs */
    case 0x6d:
    case 0x6e:
    case 0x6f:
    case 0xe4: /* in, out */
    case 0xe5:
    case 0xe6:
    case 0xe7:
    case 0xec:
    case 0xed:
    case 0xee:
    case 0xef:
        return TRUE;
    case 0x0f:
        switch (Code[1]) {
        case 0x00: /* lldt, ltr */
        case 0x01: /* lgdt, lidt, lmsw, invlpg, swapgs, xsetbv */
        case 0x06: /* clts */
        case 0x08: /* invd */
        case 0x09: /* wbinvd */
        case 0x20: /* mov cr, mov dr */
        case 0x21:
        case 0x22:
        case 0x23:
        case 0x30: /* wrmsr */
        case 0x32: /* rdmsr */
        case 0x33: /* rdpmc */
        case 0x35:
            return TRUE; /* sysexit */
        default:
            return FALSE;
        }
    default:
        return FALSE;
    }
}

/* #DE comes for a divisor of zero and for a quotient that does not fit; the operand tells which. Only register operands are
 * looked at: a memory operand counts as zero. */
static NTSTATUS DivideStatus(const HAL_TRAP_FRAME *Frame, const UCHAR *Code)
{
    const ULONG64 Registers[16] = {Frame->Rax, Frame->Rcx, Frame->Rdx, Frame->Rbx, Frame->Rsp, Frame->Rbp,
                                   Frame->Rsi, Frame->Rdi, Frame->R8,  Frame->R9,  Frame->R10, Frame->R11,
                                   Frame->R12, Frame->R13, Frame->R14, Frame->R15};
    ULONG Rex = 0, Size = 4;
    ULONG64 Value;
    if (*Code == 0x66) {
        Size = 2;
        Code++;
    }
    if ((*Code & 0xf0) == 0x40)
        Rex = *Code++;
    if (Rex & 8)
        Size = 8;
    if ((*Code != 0xf6 && *Code != 0xf7) || (Code[1] & 0xc0) != 0xc0)
        return STATUS_INTEGER_DIVIDE_BY_ZERO;
    Value = Registers[(Code[1] & 7) | (Rex & 1 ? 8 : 0)];
    if (*Code == 0xf6) {
        if (!Rex && (Code[1] & 7) >= 4)
            Value = Registers[Code[1] & 3] >> 8;
        Size = 1;
    }
    if (Size < 8)
        Value &= (1ull << (8 * Size)) - 1;
    return Value ? STATUS_INTEGER_OVERFLOW : STATUS_INTEGER_DIVIDE_BY_ZERO;
}

static VOID RaiseTrap(HAL_TRAP_FRAME *Frame, NTSTATUS Status, ULONG Count, ULONG_PTR P0, ULONG_PTR P1)
{
    EXCEPTION_RECORD Record = {.ExceptionCode = Status, .NumberParameters = Count, .ExceptionInformation = {P0, P1}};
    DispatchTrap(Frame, &Record);
}

VOID KiTrapUpcall(HAL_TRAP_FRAME *Frame)
{
    UCHAR Bytes[16];
    const UCHAR *Code;

    KiCurrentThread();
    switch (Frame->Vector) {
    case 0:
        ReadCode(Frame->Rip, Bytes, sizeof Bytes);
        RaiseTrap(Frame, DivideStatus(Frame, Bytes), 0, 0, 0);
        return;
    case 1:
        RaiseTrap(Frame, STATUS_SINGLE_STEP, 0, 0, 0);
        return;
    case 3:
        ReadCode(Frame->Rip - 1, Bytes, 1);
        if (Bytes[0] == 0xcc)
            Frame->Rip -= 1;
        RaiseTrap(Frame, STATUS_BREAKPOINT, 1, 0, 0);
        return;
    case 4:
        RaiseTrap(Frame, STATUS_INTEGER_OVERFLOW, 0, 0, 0);
        return;
    case 5:
        RaiseTrap(Frame, STATUS_ARRAY_BOUNDS_EXCEEDED, 0, 0, 0);
        return;
    case 6:
        if (KiEmulateRoutine && KiEmulateRoutine(Frame))
            return;
        RaiseTrap(Frame, STATUS_ILLEGAL_INSTRUCTION, 0, 0, 0);
        return;
    case 13:
        if (Frame->Rip == (ULONG_PTR)KiTryReadAt) { /* an address that is not canonical */
            Frame->Rip = (ULONG_PTR)KiTryReadFailed;
            return;
        }
        ReadCode(Frame->Rip, Bytes, sizeof Bytes);
        Code = SkipPrefixes(Bytes, Bytes + sizeof Bytes);
        if (Code[0] == 0xcd) {
            if (Code[1] == 0x29)
                KiFailTrap(Frame);
            if (Code[1] == 0x2c) {
                RaiseTrap(Frame, STATUS_ASSERTION_FAILURE, 0, 0, 0);
                return;
            }
            if (Code[1] == 0x03 || Code[1] == 0x2d) {
                RaiseTrap(Frame, STATUS_BREAKPOINT, 1, 0, 0);
                return;
            }
        }
        if (KiEmulateRoutine && KiEmulateRoutine(Frame))
            return;
        if (IsPrivileged(Code))
            RaiseTrap(Frame, STATUS_PRIVILEGED_INSTRUCTION, 0, 0, 0);
        else
            RaiseTrap(Frame, STATUS_ACCESS_VIOLATION, 2, EXCEPTION_READ_FAULT, ~(ULONG_PTR)0);
        return;
    case 16:
        RaiseTrap(Frame, STATUS_FLOAT_INVALID_OPERATION, 0, 0, 0);
        return;
    case 17:
        RaiseTrap(Frame, STATUS_DATATYPE_MISALIGNMENT, 0, 0, 0);
        return;
    case 19:
        RaiseTrap(Frame, STATUS_FLOAT_MULTIPLE_TRAPS, 0, 0, 0);
        return;
    default: {
        HAL_CONTEXT Context;
        KI_BUGCHECK Stop = {.Code = UNEXPECTED_KERNEL_MODE_TRAP,
                            .Parameters = {Frame->Vector, (ULONG_PTR)Frame, Frame->Rip, Frame->Rsp},
                            .Context = &Context};
        if (Frame->Vector == 8)
            Stop.StackBytes = KiCurrentThread()->StackHigh - KiCurrentThread()->StackLow;
        KiContextOfTrap(Frame, &Context);
        KiBugCheck(&Stop);
    }
    }
}
