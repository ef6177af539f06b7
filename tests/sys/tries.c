/*
 * tries.c - a binary driver with __try in it, built by clang for Windows: each export is one case that unwind_test.c calls.
 * SPDX-License-Identifier: MIT
 */
typedef unsigned char BOOLEAN;
typedef int LONG, NTSTATUS;
typedef unsigned int ULONG;
typedef unsigned long long ULONG64;
#define EXPORT                       __declspec(dllexport) __attribute__((noinline))
#define NOINLINE                     __attribute__((noinline))
#define EXCEPTION_EXECUTE_HANDLER    1
#define EXCEPTION_CONTINUE_SEARCH    0
#define EXCEPTION_CONTINUE_EXECUTION (-1)
#define STATUS_NO_MEMORY             ((NTSTATUS)0xC0000017)

typedef struct _RECORD {
    NTSTATUS ExceptionCode;
    ULONG ExceptionFlags;
    struct _RECORD *ExceptionRecord;
    void *ExceptionAddress;
    ULONG NumberParameters;
    ULONG64 ExceptionInformation[15];
} RECORD;
typedef struct _CONTEXT {
    ULONG64 Home[6];
    ULONG Flags, MxCsr;
    unsigned short Segments[6];
    ULONG EFlags;
    ULONG64 Debug[6];
    ULONG64 Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15, Rip;
    unsigned char Rest[0x4D0 - 0x100];
} __attribute__((aligned(16))) CONTEXT;
typedef struct _POINTERS {
    RECORD *ExceptionRecord;
    CONTEXT *ContextRecord;
} POINTERS;
#define GetExceptionCode()        _exception_code()
#define GetExceptionInformation() ((POINTERS *)_exception_info())
#define AbnormalTermination()     _abnormal_termination()

__declspec(dllimport) void ExRaiseStatus(NTSTATUS Status);
__declspec(dllimport) void RtlCaptureContext(CONTEXT *Context);

__declspec(dllexport) ULONG64 Trace; /* one hexadecimal digit per step */
static NOINLINE int Step(int Digit, int Value)
{
    Trace = Trace * 16 + (ULONG64)Digit;
    return Value;
}

/* Everything that is not volatile lives in registers across the calls: they must come back. */
EXPORT NTSTATUS HandleRaised(NTSTATUS Status)
{
    NTSTATUS Code = 0;
    __try {
        Step(1, 0);
        ExRaiseStatus(Status);
        Step(15, 0);
    } __except (Step(2, EXCEPTION_EXECUTE_HANDLER)) {
        Code = GetExceptionCode();
        Step(3, 0);
    }
    return Code;
}

EXPORT NTSTATUS HandleFault(int *Pointer, ULONG64 *Address)
{
    NTSTATUS Code = 0;
    __try {
        *(volatile int *)Pointer = 1;
    } __except (*Address = GetExceptionInformation()->ExceptionRecord->ExceptionInformation[1], EXCEPTION_EXECUTE_HANDLER) {
        Code = GetExceptionCode();
    }
    return Code;
}

static NOINLINE void Deep(int Depth, NTSTATUS Status)
{
    volatile char Local[300];
    __try {
        Local[Depth] = (char)Depth;
        if (Depth == 0)
            ExRaiseStatus(Status);
        Deep(Depth - 1, Status);
        Local[0] = Local[Depth];
    } __finally {
        Step(AbnormalTermination() ? 8 + Depth : 15, 0);
    }
}

EXPORT NTSTATUS UnwindDeep(NTSTATUS Status)
{
    NTSTATUS Code = 0;
    __try {
        Deep(2, Status);
    } __except (Step(1, EXCEPTION_EXECUTE_HANDLER)) {
        Code = GetExceptionCode();
        Step(2, 0);
    }
    return Code;
}

EXPORT NTSTATUS FilterDeclines(NTSTATUS Status)
{
    NTSTATUS Code = 0;
    __try {
        __try {
            __try {
                ExRaiseStatus(Status);
            } __except (Step(1, EXCEPTION_CONTINUE_SEARCH)) {
                Step(15, 0);
            }
        } __finally {
            Step(3, 0);
        }
    } __except (Step(2, EXCEPTION_EXECUTE_HANDLER)) {
        Code = GetExceptionCode();
        Step(4, 0);
    }
    return Code;
}

static int Repaired;
static LONG Repair(POINTERS *Pointers)
{
    /* The store's address register is not known here: rax, rcx and rdx, whichever holds the bad one. */
    CONTEXT *Context = Pointers->ContextRecord;
    ULONG64 Bad = Pointers->ExceptionRecord->ExceptionInformation[1];
    if (Context->Rax == Bad)
        Context->Rax = (ULONG64)&Repaired;
    if (Context->Rcx == Bad)
        Context->Rcx = (ULONG64)&Repaired;
    if (Context->Rdx == Bad)
        Context->Rdx = (ULONG64)&Repaired;
    if (Context->Rsi == Bad)
        Context->Rsi = (ULONG64)&Repaired;
    if (Context->R8 == Bad)
        Context->R8 = (ULONG64)&Repaired;
    return Step(1, EXCEPTION_CONTINUE_EXECUTION);
}

EXPORT int ContinueExecution(int *Pointer)
{
    Repaired = 0;
    __try {
        *(volatile int *)Pointer = 42;
        Step(2, 0);
    } __except (Repair(GetExceptionInformation())) {
        Step(15, 0);
    }
    return Repaired;
}

/* Calls out; what the callee raises goes through this frame's block, or is handled here. */
EXPORT void CallWithFinally(void (*Callee)(void *), void *Argument)
{
    __try {
        Step(1, 0);
        Callee(Argument);
    } __finally {
        Step(AbnormalTermination() ? 5 : 6, 0);
    }
}

EXPORT NTSTATUS CallWithExcept(void (*Callee)(void *), void *Argument)
{
    NTSTATUS Code = 0;
    __try {
        Callee(Argument);
    } __except (Step(7, EXCEPTION_EXECUTE_HANDLER)) {
        Code = GetExceptionCode();
    }
    return Code;
}

EXPORT NTSTATUS RaiseInFinally(NTSTATUS First, NTSTATUS Second)
{
    NTSTATUS Code = 0;
    __try {
        __try {
            ExRaiseStatus(First);
        } __finally {
            Step(1, 0);
            ExRaiseStatus(Second);
        }
    } __except (Step(2, GetExceptionCode() == Second ? EXCEPTION_EXECUTE_HANDLER : GetExceptionCode() == First)) {
        Code = GetExceptionCode();
    }
    return Code;
}

EXPORT int ReturnThroughFinally(int Value)
{
    __try {
        if (Value)
            return Step(1, Value + 1);
        Step(15, 0);
    } __finally {
        Step(2, 0);
    }
    return 0;
}

EXPORT ULONG64 CapturedRip(void)
{
    CONTEXT Context;
    RtlCaptureContext(&Context);
    return Context.Rip;
}

EXPORT void RaiseUnhandled(NTSTATUS Status)
{
    Step(1, 0);
    ExRaiseStatus(Status);
    Step(15, 0); /* not a tail call */
}

EXPORT void Divide(volatile int *Zero)
{
    *Zero = Zero[1] / *Zero;
}

EXPORT NTSTATUS DriverEntry(void *Driver, void *Path)
{
    (void)Driver;
    (void)Path;
    return 0;
}
