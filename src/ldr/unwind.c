/*
 * unwind.c - stacks with PE frames: unwinding them, and the exception handlers of binary drivers. SPDX-License-Identifier: MIT
 *
 * RtlLookupFunctionEntry, RtlVirtualUnwind, RtlUnwindEx, RtlUnwind, RtlPcToFileHeader, __C_specific_handler; inside, the HAL's UnwindForeign
 * upcall and KiForeignDispatch.
 *
 * A PE function that is not a leaf (nor a helper in assembler) has an entry in .pdata, which names its unwind information (versions 1 and 2):
 *
 *     .pdata  { Begin, End, UnwindData }  (RVAs)
 *     .xdata  { version:3 flags:5, prolog size, code count, frame register:4 offset:4,
 *               codes[] (latest prolog instruction first), handler RVA and its data | chained entry }
 *
 * RtlVirtualUnwind undoes what the codes say. In an epilog it runs the rest of the epilog instead, recognised by its
 * instructions, which is why the code is read: from the image's View, as are all tables, so nothing here faults.
 *
 * A stack mixes PE and ELF frames. Next walks both kinds, PE frames by their codes and ELF frames by HalUnwindFrame, and stops at
 * each PE function with a handler. The handler of C code is __C_specific_handler, whose data is a table of scopes:
 *
 *     { begin, end, filter (1: always), target }   __try/__except;  target 0: __try/__finally, filter is the block
 *
 * Where it differs from Windows: the first unwind pass starts at the exception's context, not at the caller's; xmm6-xmm15
 * are restored from PE frames but not from ELF frames in between.
 *
 * An exception in a __finally block while unwinding (a collided unwind) must not run that block again: Running lists the
 * frames whose blocks are being run, with the scope to go on with.
 *
 * Invariants:
 *  1. Stack memory is read only inside the calling thread's stack.
 *  2. Every step of a walk raises Rsp, so a walk ends.
 *  3. Running lists live stack frames only: whoever gives up a piece of stack says so (KiForgetStack).
 *
 * Watch it: tests/unit/unwind_test.c.
 */
#include "ldr/ldrp.h"

#include <string.h>

#define UNW_EHANDLER  1
#define UNW_UHANDLER  2
#define UNW_CHAININFO 4

enum {
    UwopPushNonvol,
    UwopAllocLarge,
    UwopAllocSmall,
    UwopSetFpreg,
    UwopSaveNonvol,
    UwopSaveNonvolFar,
    UwopEpilog, /* version 2 */
    UwopSpare,
    UwopSaveXmm128,
    UwopSaveXmm128Far,
    UwopPushMachframe
};

typedef struct _UNWIND_CODES {
    UCHAR Version, Flags, PrologSize, Count, FrameRegister, FrameOffset;
    const UCHAR *Codes;
    const UCHAR *Tail; /* handler RVA and data, or the chained entry; in View */
} UNWIND_CODES;

typedef struct _RUNNING {
    struct _RUNNING *Outer;
    ULONG64 Establisher;
    ULONG *Scope;
} RUNNING;
static _Thread_local RUNNING *Running;

/* ---- tables ---- */

static BOOLEAN GetCodes(const LDR_IMAGE *Image, ULONG Rva, UNWIND_CODES *Out)
{
    const UCHAR *Info;
    ULONG Tail;
    if (Rva & 1 || (ULONG64)Rva + 4 > Image->Size)
        return FALSE;
    Info = Image->View + Rva;
    Out->Version = Info[0] & 7;
    Out->Flags = Info[0] >> 3;
    Out->PrologSize = Info[1];
    Out->Count = Info[2];
    Out->FrameRegister = Info[3] & 15;
    Out->FrameOffset = Info[3] >> 4;
    Out->Codes = Info + 4;
    Tail = 4 + ((Out->Count + 1u) & ~1u) * 2;
    if ((ULONG64)Rva + Tail + (Out->Flags ? (Out->Flags & UNW_CHAININFO ? 12 : 4) : 0) > Image->Size)
        return FALSE;
    Out->Tail = Info + Tail;
    return Out->Version == 1 || Out->Version == 2;
}

/* The entry that an entry with bit 0 of UnwindData set stands for. */
static const LDR_RUNTIME_FUNCTION *Resolve(const LDR_IMAGE *Image, const LDR_RUNTIME_FUNCTION *Entry)
{
    for (ULONG Depth = 0; Entry && Entry->UnwindData & 1; Depth++) {
        ULONG Rva = Entry->UnwindData & ~1u;
        if (Depth == 32 || (ULONG64)Rva + sizeof *Entry > Image->Size)
            return NULL;
        Entry = (const LDR_RUNTIME_FUNCTION *)(const VOID *)(Image->View + Rva);
    }
    return Entry;
}

static const LDR_RUNTIME_FUNCTION *FindEntry(const LDR_IMAGE *Image, ULONG_PTR Pc)
{
    ULONG_PTR Rva = Pc - (ULONG_PTR)Image->Base;
    ULONG Low = 0, High = Image->ExceptionCount;
    while (Low < High) {
        ULONG Middle = (Low + High) / 2;
        const LDR_RUNTIME_FUNCTION *Entry = &Image->ExceptionDirectory[Middle];
        if (Rva < Entry->Begin)
            High = Middle;
        else if (Rva >= Entry->End)
            Low = Middle + 1;
        else
            return Resolve(Image, Entry);
    }
    return NULL;
}

/* ---- one frame ---- */

typedef struct _BOUNDS {
    ULONG_PTR Low, High;
} BOUNDS;

static BOOLEAN ReadStack(const BOUNDS *Stack, ULONG64 Address, ULONG64 *Value)
{
    if (Address < Stack->Low || Address > Stack->High - 8)
        return FALSE;
    memcpy(Value, (const VOID *)(ULONG_PTR)Address, 8);
    return TRUE;
}

static ULONG64 *Register(CONTEXT *Context, ULONG Number)
{
    return &Context->Rax + Number; /* Rax Rcx Rdx Rbx Rsp Rbp Rsi Rdi R8..R15, as the processor counts */
}

static BOOLEAN PopReturn(const BOUNDS *Stack, CONTEXT *Context)
{
    ULONG64 Rip;
    if (!ReadStack(Stack, Context->Rsp, &Rip))
        return FALSE;
    Context->Rip = Rip;
    Context->Rsp += 8;
    return TRUE;
}

/* If Pc stands in an epilog, runs the rest of it on the context: 1. 0: it is not one. -1: the stack cannot be read. */
static int RunEpilog(const LDR_IMAGE *Image, const LDR_RUNTIME_FUNCTION *Entry, const UNWIND_CODES *Info, ULONG Rva,
                     const BOUNDS *Stack, CONTEXT *Context)
{
    const UCHAR *Code = Image->View + Rva, *End = Image->View + (Entry->End < Image->Size ? Entry->End : Image->Size);
    CONTEXT Copy = *Context;

#define HAVE(n) (End - Code >= (n))
    if (HAVE(4) && Code[0] == 0x48 && Code[1] == 0x83 && Code[2] == 0xc4) { /* add rsp, imm8 */
        Copy.Rsp += (ULONG64)(LONG64)(signed char)Code[3];
        Code += 4;
    } else if (HAVE(7) && Code[0] == 0x48 && Code[1] == 0x81 && Code[2] == 0xc4) { /* add rsp, imm32 */
        LONG Amount;
        memcpy(&Amount, Code + 3, 4);
        Copy.Rsp += (ULONG64)(LONG64)Amount;
        Code += 7;
    } else if (HAVE(4) && (Code[0] & 0xfe) == 0x48 && Code[1] == 0x8d && ((Code[2] >> 3) & 7) == 4 && Info->FrameRegister &&
               ((Code[2] & 7) | (Code[0] & 1 ? 8 : 0)) == Info->FrameRegister && (Code[2] & 7) != 4) { /* lea rsp, [fp+n] */
        if (Code[2] >> 6 == 1) {
            Copy.Rsp = *Register(&Copy, Info->FrameRegister) + (ULONG64)(LONG64)(signed char)Code[3];
            Code += 4;
        } else if (Code[2] >> 6 == 2 && HAVE(7)) {
            LONG Amount;
            memcpy(&Amount, Code + 3, 4);
            Copy.Rsp = *Register(&Copy, Info->FrameRegister) + (ULONG64)(LONG64)Amount;
            Code += 7;
        } else if (Code[2] >> 6 == 0) {
            Copy.Rsp = *Register(&Copy, Info->FrameRegister);
            Code += 3;
        } else {
            return 0;
        }
    }
    for (;;) {
        ULONG Number;
        if (HAVE(1) && (Code[0] & 0xf8) == 0x58) {
            Number = Code[0] & 7;
            Code += 1;
        } else if (HAVE(2) && Code[0] == 0x41 && (Code[1] & 0xf8) == 0x58) {
            Number = 8 | (Code[1] & 7);
            Code += 2;
        } else {
            break;
        }
        if (!ReadStack(Stack, Copy.Rsp, Register(&Copy, Number)))
            return -1;
        Copy.Rsp += 8;
    }
    if (!HAVE(1))
        return 0;
    if (Code[0] == 0xc3 || (HAVE(3) && Code[0] == 0xc2) || (HAVE(2) && Code[0] == 0xf3 && Code[1] == 0xc3)) {
        /* ret */
    } else if ((HAVE(2) && Code[0] == 0xeb) || (HAVE(5) && Code[0] == 0xe9)) {
        /* A jump is the end of an epilog only if it leaves the function. */
        LONG Distance = Code[0] == 0xeb ? (signed char)Code[1] : 0;
        LONG64 Target;
        if (Code[0] == 0xe9)
            memcpy(&Distance, Code + 1, 4);
        Target = (LONG64)(Code - Image->View) + (Code[0] == 0xeb ? 2 : 5) + Distance;
        if (Target > (LONG64)Entry->Begin && Target < (LONG64)Entry->End)
            return 0;
    } else if (HAVE(3) && Code[0] == 0x48 && Code[1] == 0xff && (Code[2] & 0x38) == 0x20) {
        /* rex.w jmp, a tail call through memory or a register */
    } else {
        return 0;
    }
#undef HAVE
    if (!PopReturn(Stack, &Copy))
        return -1;
    *Context = Copy;
    return 1;
}

/* Slots that a code takes. */
static ULONG SlotsOf(UCHAR Operation, UCHAR Info)
{
    switch (Operation) {
    case UwopAllocLarge:
        return Info ? 3 : 2;
    case UwopSaveNonvol:
    case UwopSaveXmm128:
        return 2;
    case UwopSaveNonvolFar:
    case UwopSaveXmm128Far:
    case UwopSpare:
        return 3;
    default:
        return 1;
    }
}

/* Undoes the codes of one unwind information that had run Offset bytes into the function. *Done: a machine frame gave Rip. */
static BOOLEAN RunCodes(const UNWIND_CODES *Info, ULONG Offset, ULONG64 Frame, const BOUNDS *Stack, CONTEXT *Context,
                        BOOLEAN *Done)
{
    for (ULONG I = 0; I < Info->Count;) {
        UCHAR Where = Info->Codes[2 * I], Operation = Info->Codes[2 * I + 1] & 15, Number = Info->Codes[2 * I + 1] >> 4;
        ULONG Slots = SlotsOf(Operation, Number);
        USHORT Short = 0;
        ULONG Long = 0;
        if (I + Slots > Info->Count)
            return FALSE;
        if (Slots >= 2)
            memcpy(&Short, Info->Codes + 2 * I + 2, 2);
        if (Slots >= 3)
            memcpy(&Long, Info->Codes + 2 * I + 2, 4);
        I += Slots;
        if (Operation == UwopEpilog || Operation == UwopSpare || Where > Offset)
            continue;
        switch (Operation) {
        case UwopPushNonvol:
            if (!ReadStack(Stack, Context->Rsp, Register(Context, Number)))
                return FALSE;
            Context->Rsp += 8;
            break;
        case UwopAllocLarge:
            Context->Rsp += Number ? Long : Short * 8ull;
            break;
        case UwopAllocSmall:
            Context->Rsp += Number * 8ull + 8;
            break;
        case UwopSetFpreg:
            Context->Rsp = *Register(Context, Info->FrameRegister) - Info->FrameOffset * 16ull;
            break;
        case UwopSaveNonvol:
            if (!ReadStack(Stack, Frame + Short * 8ull, Register(Context, Number)))
                return FALSE;
            break;
        case UwopSaveNonvolFar:
            if (!ReadStack(Stack, Frame + Long, Register(Context, Number)))
                return FALSE;
            break;
        case UwopSaveXmm128:
        case UwopSaveXmm128Far: {
            ULONG64 At = Frame + (Operation == UwopSaveXmm128 ? Short * 16ull : Long);
            M128A *Xmm = &Context->Xmm0 + Number;
            if (!ReadStack(Stack, At, &Xmm->Low) || !ReadStack(Stack, At + 8, (ULONG64 *)&Xmm->High))
                return FALSE;
            break;
        }
        case UwopPushMachframe: {
            ULONG64 At = Context->Rsp + (Number ? 8 : 0);
            if (!ReadStack(Stack, At, &Context->Rip) || !ReadStack(Stack, At + 24, &Context->Rsp))
                return FALSE;
            *Done = TRUE;
            break;
        }
        default:
            return FALSE;
        }
    }
    return TRUE;
}

/* What RtlVirtualUnwind does; FALSE: the information is broken or the stack cannot be read. Handler and data are RVAs in
 * View of the function's own (not a chained) information; 0: no handler of that type, or in prolog or epilog. */
static BOOLEAN VirtualUnwind(const LDR_IMAGE *Image, const LDR_RUNTIME_FUNCTION *Entry, ULONG Type, CONTEXT *Context,
                             ULONG64 *Establisher, ULONG *Handler, const UCHAR **Data)
{
    ULONG Rva = (ULONG)(Context->Rip - (ULONG_PTR)Image->Base), Offset = Rva - Entry->Begin;
    UNWIND_CODES Info;
    BOUNDS Stack;
    BOOLEAN Done = FALSE;
    ULONG64 Frame;

    *Handler = 0;
    HalQueryStack(&Stack.Low, &Stack.High);
    if (!GetCodes(Image, Entry->UnwindData, &Info))
        return FALSE;
    /* Where the frame is: by its register once that is set, else the stack pointer. */
    Frame = Context->Rsp;
    if (Info.FrameRegister) {
        BOOLEAN Set = Offset >= Info.PrologSize || Info.Flags & UNW_CHAININFO;
        for (ULONG I = 0; I < Info.Count && !Set; I += SlotsOf(Info.Codes[2 * I + 1] & 15, Info.Codes[2 * I + 1] >> 4))
            Set = (Info.Codes[2 * I + 1] & 15) == UwopSetFpreg && Info.Codes[2 * I] <= Offset;
        if (Set)
            Frame = *Register(Context, Info.FrameRegister) - Info.FrameOffset * 16ull;
    }
    *Establisher = Frame;
    if (Offset >= Info.PrologSize) {
        switch (RunEpilog(Image, Entry, &Info, Rva, &Stack, Context)) {
        case 1:
            return TRUE;
        case -1:
            return FALSE;
        }
        if (Info.Flags & Type & (UNW_EHANDLER | UNW_UHANDLER) && !(Info.Flags & UNW_CHAININFO)) {
            memcpy(Handler, Info.Tail, 4);
            *Data = Info.Tail + 4;
        }
    }
    if (!RunCodes(&Info, Offset, Frame, &Stack, Context, &Done))
        return FALSE;
    for (ULONG Depth = 0; Info.Flags & UNW_CHAININFO; Depth++) {
        LDR_RUNTIME_FUNCTION Chained;
        memcpy(&Chained, Info.Tail, sizeof Chained);
        if (Depth == 32 || !GetCodes(Image, Chained.UnwindData & ~1u, &Info))
            return FALSE;
        if (!RunCodes(&Info, 255, Frame, &Stack, Context, &Done))
            return FALSE;
        if (Info.Flags & Type & (UNW_EHANDLER | UNW_UHANDLER) && !(Info.Flags & UNW_CHAININFO) && !*Handler) {
            memcpy(Handler, Info.Tail, 4);
            *Data = Info.Tail + 4;
        }
    }
    if (*Handler >= Image->Size)
        return FALSE;
    return Done ? TRUE : PopReturn(&Stack, Context);
}

/* Without an entry: a leaf, with its return address on top of the stack. Or a helper of the compiler's in assembler, which has pushed
 * registers and describes nothing (the stack probe ___chkstk_ms): the word is its return address that stands behind a call of
 * the code right before Pc. */
#define HELPER_WORDS 4
#define HELPER_BYTES 64
static BOOLEAN StepOutOfLeaf(const LDR_IMAGE *Image, const BOUNDS *Stack, CONTEXT *Context)
{
    ULONG_PTR Rva = (ULONG_PTR)Context->Rip - (ULONG_PTR)Image->Base;
    for (ULONG Word = 0; Word < HELPER_WORDS; Word++) {
        ULONG64 Return;
        LONG Distance;
        ULONG_PTR After;
        if (!ReadStack(Stack, Context->Rsp + Word * 8, &Return))
            break;
        After = (ULONG_PTR)Return - (ULONG_PTR)Image->Base;
        if (After < 5 || After > Image->Size || Image->View[After - 5] != 0xE8)
            continue;
        memcpy(&Distance, Image->View + After - 4, 4);
        if (Rva - (After + (ULONG_PTR)(LONG_PTR)Distance) < HELPER_BYTES) {
            Context->Rsp += Word * 8;
            break;
        }
    }
    return PopReturn(Stack, Context);
}

/* Steps out of one PE frame. */
static BOOLEAN StepOut(const LDR_IMAGE *Image, ULONG Type, CONTEXT *Context, const LDR_RUNTIME_FUNCTION **Entry,
                       ULONG64 *Establisher, ULONG *Handler, const UCHAR **Data)
{
    ULONG64 Before = Context->Rsp;
    BOUNDS Stack;
    *Handler = 0;
    *Entry = (ULONG_PTR)Context->Rip - (ULONG_PTR)Image->Base < Image->Size ? FindEntry(Image, Context->Rip) : NULL;
    if (*Entry) {
        if (!VirtualUnwind(Image, *Entry, Type, Context, Establisher, Handler, Data))
            return FALSE;
    } else {
        *Establisher = Context->Rsp;
        HalQueryStack(&Stack.Low, &Stack.High);
        if (!StepOutOfLeaf(Image, &Stack, Context))
            return FALSE;
    }
    return Context->Rsp > Before;
}

static VOID ToHal(const CONTEXT *From, HAL_CONTEXT *To)
{
    KiHalContextOf(From, To);
}

static VOID FromHal(const HAL_CONTEXT *From, CONTEXT *To)
{
    To->Rip = From->Rip;
    To->Rsp = From->Rsp;
    To->Rbp = From->Rbp;
    To->Rbx = From->Rbx;
    To->R12 = From->R12;
    To->R13 = From->R13;
    To->R14 = From->R14;
    To->R15 = From->R15;
    To->Rdi = From->Rdi;
    To->Rsi = From->Rsi;
}

/* The machine's upcall (host/start.c): FALSE if Rip is not PE code, or nothing is known of it. */
BOOLEAN LdrpUnwindForeign(HAL_CONTEXT *Context)
{
    LDR_IMAGE *Image = LdrpFindImage(Context->Rip);
    const LDR_RUNTIME_FUNCTION *Entry;
    ULONG64 Establisher;
    ULONG Handler;
    const UCHAR *Data;
    CONTEXT Full;
    if (!Image)
        return FALSE;
    memset(&Full, 0, sizeof Full);
    FromHal(Context, &Full);
    if (!StepOut(Image, 0, &Full, &Entry, &Establisher, &Handler, &Data))
        return FALSE;
    ToHal(&Full, Context);
    return TRUE;
}

/* ---- the dispatch over mixed stacks ---- */

typedef EXCEPTION_DISPOSITION(KI_MSABI *LANGUAGE_HANDLER)(PEXCEPTION_RECORD, PVOID, PCONTEXT, PDISPATCHER_CONTEXT);

/* Private[]: the image, its entry, the handler's address, its data. */
static BOOLEAN Next(CONTEXT *Walk, BOOLEAN Unwind, KI_FOREIGN_FRAME *Frame)
{
    for (;;) {
        LDR_IMAGE *Image = LdrpFindImage(Walk->Rip);
        if (Image) {
            const LDR_RUNTIME_FUNCTION *Entry;
            ULONG64 Establisher;
            ULONG Handler;
            const UCHAR *Data = NULL;
            Frame->Before = *Walk;
            if (!StepOut(Image, Unwind ? UNW_UHANDLER : UNW_EHANDLER, Walk, &Entry, &Establisher, &Handler, &Data))
                return FALSE;
            if (Handler) {
                Frame->Establisher = Establisher;
                Frame->Private[0] = Image;
                Frame->Private[1] = (PVOID)Entry;
                Frame->Private[2] = Image->Base + Handler;
                Frame->Private[3] = (PVOID)Data;
                return TRUE;
            }
        } else {
            HAL_CONTEXT Context;
            ULONG64 Before = Walk->Rsp;
            ToHal(Walk, &Context);
            if (!HalUnwindFrame(&Context))
                return FALSE;
            FromHal(&Context, Walk);
            if (Walk->Rsp <= Before || !Walk->Rip)
                return FALSE;
        }
    }
}

/* Not instrumented: Running compares addresses on the stack, which a sanitizer may move elsewhere. */
static __attribute__((no_sanitize("address"))) EXCEPTION_DISPOSITION
CallHandler(KI_FOREIGN_FRAME *Frame, EXCEPTION_RECORD *Record, CONTEXT *Context, ULONG64 TargetIp)
{
    LDR_IMAGE *Image = (LDR_IMAGE *)Frame->Private[0];
    DISPATCHER_CONTEXT Dispatcher = {
        .ControlPc = Frame->Before.Rip,
        .ImageBase = (ULONG_PTR)Image->Base,
        .FunctionEntry = (PRUNTIME_FUNCTION)Frame->Private[1],
        .EstablisherFrame = Frame->Establisher,
        .TargetIp = TargetIp,
        .ContextRecord = &Frame->Before,
        .LanguageHandler = (PVOID)Frame->Private[2],
        .HandlerData = Frame->Private[3],
    };
    RUNNING Mine = {.Establisher = Frame->Establisher, .Scope = &Dispatcher.ScopeIndex};
    EXCEPTION_DISPOSITION Answer;

    if (Record->ExceptionFlags & EXCEPTION_UNWIND) {
        for (RUNNING *Other = Running; Other; Other = Other->Outer)
            if (Other->Establisher == Frame->Establisher && *Other->Scope > Dispatcher.ScopeIndex)
                Dispatcher.ScopeIndex = *Other->Scope;
        Mine.Outer = Running;
        Running = &Mine;
    }
    Answer = ((LANGUAGE_HANDLER)Frame->Private[2])(Record, (PVOID)Frame->Establisher, Context, &Dispatcher);
    if (Record->ExceptionFlags & EXCEPTION_UNWIND)
        Running = Mine.Outer;
    return Answer;
}

static LONG Call(KI_FOREIGN_FRAME *Frame, EXCEPTION_RECORD *Record, CONTEXT *Context, BOOLEAN Unwind, BOOLEAN Target)
{
    ULONG Flags = Record->ExceptionFlags;
    EXCEPTION_DISPOSITION Answer;
    (VOID) Target;
    if (Unwind)
        Record->ExceptionFlags |= EXCEPTION_UNWINDING;
    /* A handler that takes the exception does not return: it calls RtlUnwindEx. */
    Answer = CallHandler(Frame, Record, Context, 0);
    Record->ExceptionFlags = Flags;
    return Answer == ExceptionContinueExecution && !Unwind ? EXCEPTION_CONTINUE_EXECUTION : EXCEPTION_CONTINUE_SEARCH;
}

static DECLSPEC_NORETURN VOID Enter(KI_FOREIGN_FRAME *Frame, EXCEPTION_RECORD *Record)
{
    (VOID) Record;
    KiStop(UNEXPECTED_KERNEL_MODE_TRAP, "An exception handler of a binary driver gave an answer that is none.", NULL, 0,
           (ULONG_PTR)Frame->Private[2], 0, 0);
}

static VOID ForgetRunning(ULONG_PTR Stack)
{
    while (Running && (ULONG_PTR)Running < Stack)
        Running = Running->Outer;
}

static const KI_FOREIGN_DISPATCH Dispatch = {Next, Call, Enter, ForgetRunning};

/* Called when an image is loaded: from now on stacks may have PE frames with handlers. */
VOID LdrpEnableDispatch(VOID)
{
    /* Once: threads that raise exceptions read it without a lock. */
    if (__atomic_load_n(&KiForeignDispatch, __ATOMIC_RELAXED) == NULL)
        __atomic_store_n(&KiForeignDispatch, &Dispatch, __ATOMIC_RELEASE);
}

DECLSPEC_NORETURN VOID RtlUnwindEx(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue,
                                   PCONTEXT ContextRecord, PUNWIND_HISTORY_TABLE HistoryTable)
{
    EXCEPTION_RECORD Own = {
        .ExceptionCode = STATUS_UNWIND, .ExceptionFlags = EXCEPTION_NONCONTINUABLE, .ExceptionAddress = TargetIp};
    EXCEPTION_RECORD *Record = ExceptionRecord ? ExceptionRecord : &Own;
    const EXCEPTION_POINTERS *Current = NtmmSehPointers();
    CONTEXT Start, Walk;
    KI_FOREIGN_FRAME Frame;
    (VOID) HistoryTable;

    if (Current && Current->ExceptionRecord == ExceptionRecord)
        Start = *Current->ContextRecord;
    else
        RtlCaptureContext(&Start);
    /* Everything inside the target frame: blocks of source and of PE frames, in stack order. */
    KiUnwindStack((ULONG_PTR)TargetFrame, Record, &Start);
    /* The target function itself: its blocks up to the handler, and its registers. */
    Walk = Start;
    for (;;) {
        LDR_IMAGE *Image;
        if (!Next(&Walk, TRUE, &Frame) && !TargetFrame)
            break;
        Image = (LDR_IMAGE *)Frame.Private[0]; /* NOLINT(clang-analyzer-core.uninitialized.Assign): Next fills it */
        if (Frame.Establisher == (ULONG_PTR)TargetFrame) {
            ULONG Flags = Record->ExceptionFlags;
            Record->ExceptionFlags |= EXCEPTION_UNWINDING | EXCEPTION_TARGET_UNWIND;
            CallHandler(&Frame, Record, ContextRecord ? ContextRecord : &Start, (ULONG_PTR)TargetIp);
            Record->ExceptionFlags = Flags;
            break;
        }
        if (Frame.Establisher > (ULONG_PTR)TargetFrame || !Image) {
            KiStop(UNEXPECTED_KERNEL_MODE_TRAP, "A binary driver unwound to a frame that is not on the stack.", NULL, 0,
                   (ULONG_PTR)TargetFrame, (ULONG_PTR)TargetIp, 0);
        }
    }
    KiForgetStack((ULONG_PTR)TargetFrame);
    Frame.Before.Rip = (ULONG_PTR)TargetIp;
    Frame.Before.Rax = (ULONG_PTR)ReturnValue;
    KiRestoreContext(&Frame.Before);
}

DECLSPEC_NORETURN VOID RtlUnwind(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue)
{
    RtlUnwindEx(TargetFrame, TargetIp, ExceptionRecord, ReturnValue, NULL, NULL);
}

/* ---- the handler of C code ---- */

typedef struct _SCOPE {
    ULONG Begin, End, Handler, Target;
} SCOPE;

EXCEPTION_DISPOSITION __C_specific_handler(PEXCEPTION_RECORD Record, PVOID EstablisherFrame, PCONTEXT Context,
                                           PDISPATCHER_CONTEXT Dispatcher)
{
    const UCHAR *Table = (const UCHAR *)Dispatcher->HandlerData;
    LDR_IMAGE *Image = LdrpFindImage(Dispatcher->ControlPc);
    ULONG_PTR Base = Dispatcher->ImageBase;
    ULONG Count, Pc = (ULONG)(Dispatcher->ControlPc - Base);

    if (!Image || Table < Image->View || Table + 4 > Image->View + Image->Size)
        return ExceptionContinueSearch;
    memcpy(&Count, Table, 4);
    if (Count > (Image->Size - (ULONG_PTR)(Table - Image->View) - 4) / sizeof(SCOPE))
        return ExceptionContinueSearch;
    for (; Dispatcher->ScopeIndex < Count;) {
        SCOPE Scope;
        ULONG Index = Dispatcher->ScopeIndex++;
        memcpy(&Scope, Table + 4 + Index * sizeof Scope, sizeof Scope);
        if (Pc < Scope.Begin || Pc >= Scope.End)
            continue;
        if (!(Record->ExceptionFlags & EXCEPTION_UNWIND)) {
            EXCEPTION_POINTERS Pointers = {Record, Context};
            LONG Answer;
            if (!Scope.Target)
                continue;
            Answer = Scope.Handler == 1
                         ? EXCEPTION_EXECUTE_HANDLER
                         : ((LONG(KI_MSABI *)(PEXCEPTION_POINTERS, PVOID))(Base + Scope.Handler))(&Pointers, EstablisherFrame);
            if (Answer < 0)
                return ExceptionContinueExecution;
            if (Answer > 0)
                RtlUnwindEx(EstablisherFrame, (PVOID)(Base + Scope.Target), Record,
                            (PVOID)(ULONG_PTR)(ULONG)Record->ExceptionCode, Dispatcher->ContextRecord,
                            Dispatcher->HistoryTable);
        } else {
            /* The scope that holds the target is where the unwinding ends. */
            if (Record->ExceptionFlags & EXCEPTION_TARGET_UNWIND) {
                ULONG Target = (ULONG)(Dispatcher->TargetIp - Base);
                if (Scope.Target == Target || (Target >= Scope.Begin && Target < Scope.End && !Scope.Target))
                    break;
            }
            if (!Scope.Target)
                ((VOID(KI_MSABI *)(BOOLEAN, PVOID))(Base + Scope.Handler))(TRUE, EstablisherFrame);
        }
    }
    return ExceptionContinueSearch;
}

/* ---- what drivers may call ---- */

PRUNTIME_FUNCTION RtlLookupFunctionEntry(ULONG64 ControlPc, PULONG64 ImageBase, PUNWIND_HISTORY_TABLE HistoryTable)
{
    LDR_IMAGE *Image = LdrpFindImage(ControlPc);
    (VOID) HistoryTable;
    if (!Image || ControlPc - (ULONG_PTR)Image->Base >= Image->Size)
        return NULL;
    *ImageBase = (ULONG_PTR)Image->Base;
    return (PRUNTIME_FUNCTION)(ULONG_PTR)FindEntry(Image, ControlPc);
}

PEXCEPTION_ROUTINE RtlVirtualUnwind(ULONG HandlerType, ULONG64 ImageBase, ULONG64 ControlPc, PRUNTIME_FUNCTION FunctionEntry,
                                    PCONTEXT ContextRecord, PVOID *HandlerData, PULONG64 EstablisherFrame,
                                    PKNONVOLATILE_CONTEXT_POINTERS ContextPointers)
{
    LDR_IMAGE *Image = LdrpFindImage(ControlPc);
    ULONG Handler = 0;
    const UCHAR *Data = NULL;
    (VOID) ContextPointers;
    if (!Image || (ULONG_PTR)Image->Base != ImageBase || !FunctionEntry)
        return NULL;
    ContextRecord->Rip = ControlPc;
    if (!VirtualUnwind(Image, (const LDR_RUNTIME_FUNCTION *)FunctionEntry, HandlerType, ContextRecord, EstablisherFrame,
                       &Handler, &Data))
        return NULL;
    *HandlerData = (PVOID)(ULONG_PTR)Data;
    return Handler ? (PEXCEPTION_ROUTINE)(ULONG_PTR)(Image->Base + Handler) : NULL;
}

PVOID RtlPcToFileHeader(PVOID PcValue, PVOID *BaseOfImage)
{
    LDR_IMAGE *Image = LdrpFindImage((ULONG_PTR)PcValue);
    *BaseOfImage = Image && (ULONG_PTR)PcValue - (ULONG_PTR)Image->Base < Image->Size ? Image->Base : NULL;
    return *BaseOfImage;
}
