/*
 * exception.c - raising and dispatching exceptions to the handlers of source and of binary drivers. SPDX-License-Identifier: MIT
 *
 * ExRaiseStatus, ExRaiseAccessViolation, ExRaiseDatatypeMisalignment, RtlRaiseException, RtlRaiseStatus, FsRtlIsNtstatusExpected, and what
 * the macros of wdm/seh.h expand to.
 *
 * A source driver's __try puts a frame on its thread's chain; a frame is on the chain exactly while its body runs:
 *
 *     KTHREAD.SehChain --> frame of the innermost __try --> ... --> outermost --> NULL
 *
 * A binary driver's __try is a scope table that is found by unwinding the stack (ldr/unwind.c through KiForeignDispatch).
 * Both take part in stack order: a source frame stands where its function's stack pointer was (Jump[2]).
 *
 * The dispatch, on top of the raiser's stack (so everything below stays intact until a handler is chosen):
 *  1. From the innermost frame outward each filter is asked. Body -> Filter -> (answer) Body.
 *     CONTINUE_EXECUTION: the dispatch returns and the raiser's context is resumed.
 *  2. EXECUTE_HANDLER: the frames inside the chosen one leave the chain and run their __finally blocks, innermost first
 *     (Body -> Finally -> Done), then the chosen frame leaves it and its handler is entered (Body -> Handler): the
 *     stack pointer becomes the function's own, and everything below is gone.
 *  3. No frame: bug check 0x1A/0x4477 for a write to a user address that nobody allocated in the System process, else 0x3B in a request from user mode, 0x7E in a system thread, else 0x1E.
 * An exception in a filter or a __finally block is dispatched in the same way, on top; frames a first dispatch passed are
 * asked again unless they have left the chain.
 *
 * A fault of an instruction in the function that owns the innermost frame goes there through the compiler's landing pad
 * for that instruction (KiLandingPadRoutine), which puts the function's locals where the marked point expects them:
 * Body -> Landing -> NtmmSehLeave -> Filter.
 *
 * Invariants:
 *  1. The chain is ordered: Jump[2] of a frame is not above that of its Next.
 *  2. Frame.Return points at a KI_JUMP further down the stack while Phase is Filter or Landing.
 *  3. Seh.Dispatch lists the dispatches whose stack frames are alive, innermost first.
 *
 * Watch it: tests/unit/seh_test.c.
 */
#include "ki.h"

#define MAX_DEPTH 64 /* nested dispatches; beyond it a filter keeps faulting */

typedef struct _KI_DISPATCH {
    struct _KI_DISPATCH *Outer;
    EXCEPTION_POINTERS Pointers;
    ULONG_PTR Function; /* frame pointer of the function whose filter runs, or 0 */
    ULONG Depth;
} KI_DISPATCH;

volatile ULONG_PTR NtmmSehNever;
ULONG_PTR (*KiLandingPadRoutine)(ULONG_PTR Rip);
VOID (*KiAbandonStackRoutine)(ULONG_PTR Stack);
VOID (*KiMarkStackRoutine)(PVOID *Mark);
VOID (*KiReturnToMarkRoutine)(PVOID *Mark, VOID (*Go)(PVOID), PVOID Argument);
const KI_FOREIGN_DISPATCH *KiForeignDispatch;

VOID KiHalContextOf(const CONTEXT *From, HAL_CONTEXT *To)
{
    *To = (HAL_CONTEXT){.Rip = From->Rip,
                        .Rsp = From->Rsp,
                        .Rbp = From->Rbp,
                        .Rbx = From->Rbx,
                        .R12 = From->R12,
                        .R13 = From->R13,
                        .R14 = From->R14,
                        .R15 = From->R15,
                        .Rdi = From->Rdi,
                        .Rsi = From->Rsi};
}

/* ---- what the macros call ---- */

KI_NO_TSAN VOID NtmmSehEnter(NTMM_SEH_FRAME *Frame, PVOID *Mark, PVOID Unused)
{
    KTHREAD *Thread = KiCurrentThread();
    UNREFERENCED_PARAMETER(Unused);
    KiMarkWritten(Frame, sizeof(*Frame)); /* __builtin_setjmp will fill it unseen */
    Frame->Next = Thread->SehChain;
    Frame->Phase = NtmmSehBody;
    /* Until __builtin_setjmp fills it: nothing can raise in between. */
    Frame->Jump[1] = NULL;
    Frame->Marked = KiMarkStackRoutine ? Mark : NULL;
    Thread->SehChain = Frame;
    if (Frame->Marked)
        KiMarkStackRoutine(Frame->Marked);
}

VOID NtmmSehEnd(NTMM_SEH_FRAME *Frame)
{
    KiCurrentThread()->SehChain = Frame->Next;
    Frame->Phase = NtmmSehDone;
}

/* Runs the frame's __finally block, if it has one, above the caller's stack. */
static VOID RunBlock(KTHREAD *Thread, NTMM_SEH_FRAME *Frame)
{
    KI_JUMP Save;
    Thread->SehChain = Frame->Next;
    Frame->Phase = NtmmSehFinally;
    Frame->Return = &Save;
    Thread->Seh.Pending = &Save;
    KiSehCall(&Save, Frame->Jump[0], Frame->Jump[1], Frame->Jump[2]);
    Thread->Seh.Pending = NULL;
}

/* The body of a __try is left otherwise than by its end. */
VOID NtmmSehLeave(NTMM_SEH_FRAME *Frame)
{
    switch (Frame->Phase) {
    case NtmmSehBody: /* return, goto, break or continue */
        RunBlock(KiCurrentThread(), Frame);
        Frame->Phase = NtmmSehDone;
        return;
    case NtmmSehLanding:
        Frame->Phase = NtmmSehFilter;
        KiSehGoLow(Frame->Jump[0], Frame->Jump[1], Frame->Jump[2]);
    default:
        return;
    }
}

DECLSPEC_NORETURN KI_NO_TSAN VOID NtmmSehFilterResult(NTMM_SEH_FRAME *Frame, LONG Result)
{
    KiRestoreJump((KI_JUMP *)Frame->Return, Result);
}

/* The frame is one with __except: there is no block to run. */
DECLSPEC_NORETURN KI_NO_TSAN VOID NtmmSehNoBlock(NTMM_SEH_FRAME *Frame)
{
    KiRestoreJump((KI_JUMP *)Frame->Return, 0);
}

VOID NtmmSehBeginBlock(NTMM_SEH_BLOCK *Block)
{
    KTHREAD *Thread = KiCurrentThread();
    Block->Return = Thread->Seh.Pending;
    Block->Run = 1;
    Thread->Seh.Pending = NULL;
}

KI_NO_TSAN VOID NtmmSehEndBlock(NTMM_SEH_BLOCK *Block)
{
    Block->Run = 0;
    if (Block->Return)
        KiRestoreJump((KI_JUMP *)Block->Return, 0);
}

ULONG NtmmSehCode(PVOID FunctionFrame)
{
    KI_SEH_STATE *Seh = &KiCurrentThread()->Seh;
    if (Seh->Dispatch && Seh->Dispatch->Function == (ULONG_PTR)FunctionFrame)
        return (ULONG)Seh->Dispatch->Pointers.ExceptionRecord->ExceptionCode;
    for (ULONG I = Seh->CodeCount; I-- > 0;)
        if (Seh->Codes[I].Function == (ULONG_PTR)FunctionFrame)
            return Seh->Codes[I].Code;
    return Seh->CodeCount ? Seh->Codes[Seh->CodeCount - 1].Code : 0;
}

PEXCEPTION_POINTERS NtmmSehPointers(VOID)
{
    KI_SEH_STATE *Seh = &KiCurrentThread()->Seh;
    return Seh->Dispatch ? &Seh->Dispatch->Pointers : NULL;
}

/* ---- the dispatch ---- */

/* The code that the handler's function will ask for. Functions further down the stack are gone, and their entries too. */
static VOID RememberCode(KI_SEH_STATE *Seh, ULONG_PTR Function, ULONG Code)
{
    while (Seh->CodeCount && Seh->Codes[Seh->CodeCount - 1].Function <= Function)
        Seh->CodeCount--;
    if (Seh->CodeCount == KI_SEH_CODES) {
        for (ULONG I = 1; I < KI_SEH_CODES; I++)
            Seh->Codes[I - 1] = Seh->Codes[I];
        Seh->CodeCount--;
    }
    Seh->Codes[Seh->CodeCount].Function = Function;
    Seh->Codes[Seh->CodeCount].Code = Code;
    Seh->CodeCount++;
}

/* A write to an address of the user range that nobody has allocated, in the System process. */
static BOOLEAN IsWildWrite(KTHREAD *Thread, const EXCEPTION_RECORD *Record)
{
    ULONG64 There;
    return Record->NumberParameters == 2 && Record->ExceptionInformation[0] == EXCEPTION_WRITE_FAULT &&
           HalIsUserAddress(Record->ExceptionInformation[1]) && KiIsInSystemSpace(Thread) &&
           !KiTryRead((const volatile ULONG64 *)(Record->ExceptionInformation[1] & ~7ull), &There);
}

static DECLSPEC_NORETURN VOID Unhandled(KTHREAD *Thread, EXCEPTION_RECORD *Record, CONTEXT *Context)
{
    HAL_CONTEXT Where;
    KI_BUGCHECK Stop = {.Context = &Where};
    KiHalContextOf(Context, &Where);
    Stop.Parameters[0] = (ULONG_PTR)(LONG_PTR)Record->ExceptionCode;
    Stop.Parameters[0] &= 0xffffffff;
    Stop.Parameters[1] = (ULONG_PTR)Record->ExceptionAddress;
    Stop.Access = Record->ExceptionCode == STATUS_ACCESS_VIOLATION && Record->NumberParameters == 2;
    Stop.AccessKind = Record->ExceptionInformation[0];
    Stop.AccessAddress = Record->ExceptionInformation[1];
    if (Record->ExceptionCode == STATUS_ACCESS_VIOLATION && IsWildWrite(Thread, Record)) {
        Stop.Code = MEMORY_MANAGEMENT;
        Stop.Parameters[0] = 0x4477;
        Stop.Parameters[1] = Record->ExceptionInformation[1];
    } else if (Thread->PreviousMode == UserMode) {
        Stop.Code = SYSTEM_SERVICE_EXCEPTION;
        Stop.Parameters[2] = (ULONG_PTR)Context;
    } else if (Thread->System) {
        Stop.Code = SYSTEM_THREAD_EXCEPTION_NOT_HANDLED;
        Stop.Parameters[2] = (ULONG_PTR)Record;
        Stop.Parameters[3] = (ULONG_PTR)Context;
    } else {
        Stop.Code = KMODE_EXCEPTION_NOT_HANDLED;
        Stop.Parameters[2] = Record->NumberParameters > 0 ? Record->ExceptionInformation[0] : 0;
        Stop.Parameters[3] = Record->NumberParameters > 1 ? Record->ExceptionInformation[1] : 0;
    }
    KiBugCheck(&Stop);
}

/* Asks the filter of a source frame. */
static LONG AskFilter(KI_DISPATCH *Dispatch, NTMM_SEH_FRAME *Frame, BOOLEAN Innermost)
{
    KI_JUMP Save;
    CONTEXT *Context = Dispatch->Pointers.ContextRecord;
    PVOID OuterReturn = Frame->Return;
    NTMM_SEH_PHASE OuterPhase = Frame->Phase;
    ULONG_PTR Pad = 0;
    LONG Result;

    Dispatch->Function = (ULONG_PTR)Frame->Jump[0];
    Frame->Return = &Save;
    if (Innermost && OuterPhase == NtmmSehBody && Context->Rbp == (ULONG_PTR)Frame->Jump[0] && KiLandingPadRoutine) {
        HAL_CONTEXT Caller;
        KiHalContextOf(Context, &Caller);
        /* The instruction is the owning function's own, not a callee's that keeps no frame pointer. */
        if (HalUnwindFrame(&Caller) && Caller.Rsp == (ULONG_PTR)Frame->Jump[0] + 16)
            Pad = KiLandingPadRoutine(Context->Rip);
    }
    if (Pad) {
        Frame->Phase = NtmmSehLanding;
        Result = KiSehLand(&Save, Context, Pad);
    } else {
        Frame->Phase = NtmmSehFilter;
        Result = KiSehCall(&Save, Frame->Jump[0], Frame->Jump[1], Frame->Jump[2]);
    }
    /* A frame may be asked while its own filter runs (the filter faulted): give that one its state back. */
    Frame->Phase = OuterPhase;
    Frame->Return = OuterReturn;
    Dispatch->Function = 0;
    return Result;
}

/* Runs the termination handlers of everything inside Stack (source frames: inside Target), in stack order. */
static VOID Unwind(KTHREAD *Thread, NTMM_SEH_FRAME *Target, ULONG_PTR Stack, EXCEPTION_RECORD *Record, CONTEXT *Context)
{
    CONTEXT Walk;
    KI_FOREIGN_FRAME Foreign;
    BOOLEAN More = FALSE;

    if (KiForeignDispatch) {
        Walk = *Context;
        More = KiForeignDispatch->Next(&Walk, TRUE, &Foreign);
    }
    for (;;) {
        NTMM_SEH_FRAME *Frame = Thread->SehChain;
        BOOLEAN Source = Frame && Frame != Target && (Target || (ULONG_PTR)Frame->Jump[2] < Stack);
        if (More && Foreign.Establisher >= Stack)
            More = FALSE;
        if (Source && (!More || (ULONG_PTR)Frame->Jump[2] < Foreign.Establisher)) {
            RunBlock(Thread, Frame);
        } else if (More) {
            KiForeignDispatch->Call(&Foreign, Record, Context, TRUE, FALSE);
            More = KiForeignDispatch->Next(&Walk, TRUE, &Foreign);
        } else {
            return;
        }
    }
}

/* Everything inside a stack address is gone for good. */
static VOID Forget(KTHREAD *Thread, ULONG_PTR Stack)
{
    while (Thread->Seh.Dispatch && (ULONG_PTR)Thread->Seh.Dispatch < Stack)
        Thread->Seh.Dispatch = Thread->Seh.Dispatch->Outer;
    KiUnwindCatches(Stack);
    Thread->Seh.Pending = NULL;
    if (KiForeignDispatch)
        KiForeignDispatch->Forget(Stack);
    if (KiAbandonStackRoutine)
        KiAbandonStackRoutine(Stack);
}

VOID KiUnwindStack(ULONG_PTR Stack, EXCEPTION_RECORD *Record, CONTEXT *Context)
{
    Unwind(KiCurrentThread(), NULL, Stack, Record, Context);
}

VOID KiForgetStack(ULONG_PTR Stack)
{
    Forget(KiCurrentThread(), Stack);
}

static KI_NO_TSAN VOID GoToFrame(PVOID Argument)
{
    NTMM_SEH_FRAME *Frame = (NTMM_SEH_FRAME *)Argument;
    KiSehGo(Frame->Jump[0], Frame->Jump[1], Frame->Jump[2]);
}

static DECLSPEC_NORETURN VOID EnterHandler(KTHREAD *Thread, NTMM_SEH_FRAME *Frame, EXCEPTION_RECORD *Record, CONTEXT *Context)
{
    Unwind(Thread, Frame, (ULONG_PTR)Frame->Jump[2], Record, Context);
    Thread->SehChain = Frame->Next;
    Frame->Phase = NtmmSehHandler;
    Forget(Thread, (ULONG_PTR)Frame->Jump[2]);
    RememberCode(&Thread->Seh, (ULONG_PTR)Frame->Jump[0], (ULONG)Record->ExceptionCode);
    HalSetUserMode(Thread->UserRights); /* the handler is of the code that the exception came from, or around it */
    if (Frame->Marked)
        KiReturnToMarkRoutine(Frame->Marked, GoToFrame, Frame);
    GoToFrame(Frame);
    __builtin_unreachable();
}

/* Not instrumented: Dispatch is compared with stack addresses, and a sanitizer may move locals off the stack. */
__attribute__((no_sanitize("address"))) VOID KiDispatchException(EXCEPTION_RECORD *Record, CONTEXT *Context)
{
    KTHREAD *Thread = KiCurrentThread();
    KI_DISPATCH Dispatch = {.Outer = Thread->Seh.Dispatch, .Pointers = {Record, Context}};
    NTMM_SEH_FRAME *Frame = Thread->SehChain, *Innermost = Frame;
    CONTEXT Walk;
    KI_FOREIGN_FRAME Foreign;
    BOOLEAN More = FALSE;

    Dispatch.Depth = Dispatch.Outer ? Dispatch.Outer->Depth + 1 : 0;
    if (Dispatch.Depth > MAX_DEPTH)
        Unhandled(Thread, Record, Context);
    Thread->Seh.Dispatch = &Dispatch;
    if (KiForeignDispatch) {
        Walk = *Context;
        More = KiForeignDispatch->Next(&Walk, FALSE, &Foreign);
    }
    for (;;) {
        LONG Answer;
        BOOLEAN Source = Frame && (!More || (ULONG_PTR)Frame->Jump[2] < Foreign.Establisher);
        if (Source)
            Answer = AskFilter(&Dispatch, Frame, Frame == Innermost);
        else if (More)
            Answer = KiForeignDispatch->Call(&Foreign, Record, Context, FALSE, FALSE);
        else
            Unhandled(Thread, Record, Context);
        if (Answer < 0) {
            if (Record->ExceptionFlags & EXCEPTION_NONCONTINUABLE) {
                EXCEPTION_RECORD Again = {.ExceptionCode = STATUS_NONCONTINUABLE_EXCEPTION,
                                          .ExceptionFlags = EXCEPTION_NONCONTINUABLE,
                                          .ExceptionRecord = Record,
                                          .ExceptionAddress = Record->ExceptionAddress};
                if (Record->ExceptionCode == STATUS_NONCONTINUABLE_EXCEPTION)
                    Unhandled(Thread, Record, Context);
                KiDispatchException(&Again, Context);
            }
            Thread->Seh.Dispatch = Dispatch.Outer;
            return;
        }
        if (Answer > 0) {
            if (Source)
                EnterHandler(Thread, Frame, Record, Context);
            Unwind(Thread, NULL, Foreign.Establisher, Record, Context);
            Forget(Thread, Foreign.Establisher);
            KiForeignDispatch->Enter(&Foreign, Record);
        }
        if (Source)
            Frame = Frame->Next;
        else
            More = KiForeignDispatch->Next(&Walk, FALSE, &Foreign);
    }
}

/* ---- raising ---- */

/* Who raised: the address returned to; for a binary driver that is the border, and the driver is behind it. */
static PVOID RaiserOf(PVOID ReturnAddress, const CONTEXT *Context)
{
    HAL_CONTEXT Walk;
    if ((ULONG_PTR)ReturnAddress - KiBorderStart >= KiBorderEnd - KiBorderStart)
        return ReturnAddress;
    KiHalContextOf(Context, &Walk);
    for (ULONG I = 0; I < 8 && HalUnwindFrame(&Walk); I++)
        if (HalIsSystemAddress(Walk.Rip))
            return (PVOID)Walk.Rip;
    return ReturnAddress;
}

static DECLSPEC_NORETURN VOID Raise(NTSTATUS Status, PVOID Address, ULONG Count, const ULONG_PTR *Parameters)
{
    CONTEXT Context;
    EXCEPTION_RECORD Record = {.ExceptionCode = Status,
                               .ExceptionFlags = EXCEPTION_NONCONTINUABLE,
                               .ExceptionAddress = Address,
                               .NumberParameters = Count};
    for (ULONG I = 0; I < Count; I++)
        Record.ExceptionInformation[I] = Parameters[I];
    KiCurrentThread();
    RtlCaptureContext(&Context);
    Record.ExceptionAddress = RaiserOf(Address, &Context);
    KiDispatchException(&Record, &Context);
    __builtin_unreachable(); /* not continuable: the dispatch raised again or stopped */
}

DECLSPEC_NORETURN VOID KiRaiseStatus(NTSTATUS Status, ULONG ParameterCount, const ULONG_PTR *Parameters)
{
    Raise(Status, __builtin_return_address(0), ParameterCount, Parameters);
}

DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status)
{
    Raise(Status, __builtin_return_address(0), 0, NULL);
}

DECLSPEC_NORETURN VOID RtlRaiseStatus(NTSTATUS Status)
{
    Raise(Status, __builtin_return_address(0), 0, NULL);
}

DECLSPEC_NORETURN VOID ExRaiseAccessViolation(VOID)
{
    Raise(STATUS_ACCESS_VIOLATION, __builtin_return_address(0), 0, NULL);
}

DECLSPEC_NORETURN VOID ExRaiseDatatypeMisalignment(VOID)
{
    Raise(STATUS_DATATYPE_MISALIGNMENT, __builtin_return_address(0), 0, NULL);
}

VOID RtlRaiseException(PEXCEPTION_RECORD ExceptionRecord)
{
    CONTEXT Context;
    KiCurrentThread();
    RtlCaptureContext(&Context);
    ExceptionRecord->ExceptionAddress = RaiserOf(__builtin_return_address(0), &Context);
    KiDispatchException(ExceptionRecord, &Context);
}

BOOLEAN FsRtlIsNtstatusExpected(NTSTATUS Ntstatus)
{
    return Ntstatus != STATUS_DATATYPE_MISALIGNMENT && Ntstatus != STATUS_ACCESS_VIOLATION &&
           Ntstatus != STATUS_ILLEGAL_INSTRUCTION && Ntstatus != STATUS_INSTRUCTION_MISALIGNMENT;
}
