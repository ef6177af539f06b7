/*
 * seh.h - structured exception handling for source drivers, raising exceptions, and the bug check callbacks.
 * SPDX-License-Identifier: MIT
 *
 * __try { } __except (filter) { }, __try { } __finally { }, __leave, GetExceptionCode, GetExceptionInformation and
 * AbnormalTermination, for gcc and clang, C and C++. The forms are statements, nest, and behave as Microsoft's:
 *  - the filter runs before any inner __finally, on top of the raiser's stack, so EXCEPTION_CONTINUE_EXECUTION resumes it;
 *  - a __finally block runs when the body ends, is left by __leave, return, goto, break or continue, or is unwound;
 *  - a fault of the hardware on bad memory, a divide by zero, a breakpoint and so on are exceptions like raised ones.
 *
 * How. The expansion puts a frame on the thread's exception chain, and marks a point in the function (__builtin_setjmp)
 * that the dispatcher jumps to with frame.Phase telling what it wants: evaluate the filter, enter the handler, run the
 * __finally block. For filter and __finally block the stack pointer stays below the raiser's, which needs a function that
 * addresses its locals by a frame pointer: the never-executed alloca makes it one. Leaving the body in any other way than
 * by its end runs NtmmSehLeave through the cleanup attribute of a guard whose scope is the body alone.
 *
 * The values of locals. gcc knows the edges from every call to the marked point, and with -fnon-call-exceptions (which
 * `pkg-config --cflags ntmm` carries) those from every faulting instruction, so optimised code has the right values in
 * filter, handler and __finally block. clang has no such edges, so wdm.h ends with "#pragma clang optimize off": functions of a source
 * file that includes it are not optimised by clang, unless NTMM_SEH_VOLATILE is defined before the include: a promise that
 * locals which change inside a __try body and are read outside of it are volatile. The same is done for gcc without these flags.
 */
#ifndef _NTMM_SEH_
#define _NTMM_SEH_
/* The formatter does not know that __try and __except are halves of one statement. */
/* clang-format off */
#pragma GCC system_header

#define EXCEPTION_EXECUTE_HANDLER    1
#define EXCEPTION_CONTINUE_SEARCH    0
#define EXCEPTION_CONTINUE_EXECUTION (-1)

#define EXCEPTION_READ_FAULT    0 /* ExceptionInformation[0] of an access violation */
#define EXCEPTION_WRITE_FAULT   1
#define EXCEPTION_EXECUTE_FAULT 8

#if defined(__SANITIZE_THREAD__)
#define NTMM_SEH_MARKS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NTMM_SEH_MARKS 1
#endif
#endif
#if defined(NTMM_SEH_MARKS)
#define NTMM_SEH_MARK(frame) ((frame).Mark)
#else
#define NTMM_SEH_MARK(frame) NULL
#endif

EXTERN_C_START
typedef enum _NTMM_SEH_PHASE {
    NtmmSehBody,    /* on the chain; the body runs */
    NtmmSehFilter,  /* the filter is wanted */
    NtmmSehHandler, /* off the chain; the handler is entered */
    NtmmSehFinally, /* off the chain; the __finally block is wanted */
    NtmmSehLanding, /* on the chain; entered through the compiler's landing pad, to go on as NtmmSehFilter */
    NtmmSehDone     /* off the chain */
} NTMM_SEH_PHASE;
typedef struct _NTMM_SEH_FRAME {
    PVOID Jump[5]; /* __builtin_setjmp: frame pointer, point, stack pointer */
    struct _NTMM_SEH_FRAME *Next; /* outer frame */
    volatile NTMM_SEH_PHASE Phase;
    PVOID Return;  /* where the dispatcher waits for the filter's answer */
    PVOID *Marked; /* Mark, or NULL */
#if defined(NTMM_SEH_MARKS)
    PVOID Mark[32]; /* for a sanitizer that keeps a call stack of its own: how deep it was */
#endif
} NTMM_SEH_FRAME;
typedef struct _NTMM_SEH_BLOCK { /* a __finally block in progress */
    PVOID Return; /* who waits for its end; NULL: nobody, the body ended normally */
    int Run;
} NTMM_SEH_BLOCK;
extern NTMM_EXPORT volatile ULONG_PTR NtmmSehNever; /* 0 */
NTMM_EXPORT VOID NtmmSehEnter(NTMM_SEH_FRAME *Frame, PVOID *Mark, PVOID Unused);
NTMM_EXPORT VOID NtmmSehEnd(NTMM_SEH_FRAME *Frame);
NTMM_EXPORT VOID NtmmSehLeave(NTMM_SEH_FRAME *Frame);
NTMM_EXPORT DECLSPEC_NORETURN VOID NtmmSehFilterResult(NTMM_SEH_FRAME *Frame, LONG Result);
NTMM_EXPORT DECLSPEC_NORETURN VOID NtmmSehNoBlock(NTMM_SEH_FRAME *Frame);
NTMM_EXPORT VOID NtmmSehBeginBlock(NTMM_SEH_BLOCK *Block);
NTMM_EXPORT VOID NtmmSehEndBlock(NTMM_SEH_BLOCK *Block);
NTMM_EXPORT ULONG NtmmSehCode(PVOID FunctionFrame);
NTMM_EXPORT PEXCEPTION_POINTERS NtmmSehPointers(VOID);
EXTERN_C_END

#define NTMM_SEH_STEP_BLOCK(b)   ((b).Run == 2 ? (NtmmSehBeginBlock(&(b)), 1) : (b).Run)
#define NTMM_SEH_JOIN_(a, b) a##b
#define NTMM_SEH_JOIN(a, b)  NTMM_SEH_JOIN_(a, b)

#undef __try
#undef __except
#undef __finally
#undef __leave
/* A __finally block that runs because the body is left by return, goto, break or continue runs in the middle of that
 * leaving, on top of NtmmSehLeave, in the same function. The leaving's temporaries must survive it: gcc is told not to share
 * slots of the stack (the pragma at the head of wdm.h). clang keeps in one slot per function where to go on after the
 * cleanups of a scope, which the block must not change: the block is outlined into a function of its own, and the frame has
 * no end of lifetime (which would be a cleanup on the way to the block) because a jump bypasses its declaration. */
#if defined(__clang__)
#define NTMM_SEH_BYPASS_FROM                                                                                           \
    __label__ ntmm_bypass;                                                                                             \
    if (__builtin_expect(NtmmSehNever != 0, 0)) goto ntmm_bypass;
#define NTMM_SEH_BYPASS_TO                                                                                             \
    ntmm_bypass:
#define NTMM_SEH_OUTLINE _Pragma("clang __debug captured")
#else
#define NTMM_SEH_BYPASS_FROM
#define NTMM_SEH_BYPASS_TO
#define NTMM_SEH_OUTLINE
#endif
FORCEINLINE VOID NtmmSehGuard(NTMM_SEH_FRAME **Guard)
{
    if (__builtin_expect((*Guard)->Phase != NtmmSehDone, 0)) NtmmSehLeave(*Guard);
}
#define __try                                                                                                          \
    if (1) {                                                                                                           \
        NTMM_SEH_BYPASS_FROM                                                                                           \
        NTMM_SEH_FRAME ntmm_seh;                                                                                       \
        NTMM_SEH_BYPASS_TO                                                                                             \
        NtmmSehEnter(&ntmm_seh, NTMM_SEH_MARK(ntmm_seh),                                                               \
                     __builtin_expect(NtmmSehNever != 0, 0) ? __builtin_alloca(NtmmSehNever) : NULL);                  \
        if (__builtin_setjmp(ntmm_seh.Jump) == 0) {                                                                    \
            __label__ ntmm_leave;                                                                                      \
            NTMM_SEH_FRAME *ntmm_guard __attribute__((cleanup(NtmmSehGuard))) = &ntmm_seh;
#define NTMM_SEH_END_OF_BODY                                                                                           \
    ntmm_leave:                                                                                                        \
        __attribute__((unused));                                                                                       \
        NtmmSehEnd(ntmm_guard);                                                                                        \
    }
#define __except(...) NTMM_SEH_EXCEPT(__COUNTER__, (__VA_ARGS__))
#define NTMM_SEH_EXCEPT(n, filter)                                                                                     \
    NTMM_SEH_END_OF_BODY                                                                                               \
    else if (ntmm_seh.Phase == NtmmSehFilter) NtmmSehFilterResult(&ntmm_seh, (LONG)filter);                          \
    else if (ntmm_seh.Phase == NtmmSehHandler) goto NTMM_SEH_JOIN(ntmm_handler_, n);                                   \
    else NtmmSehNoBlock(&ntmm_seh);                                                                                    \
    }                                                                                                                  \
    else NTMM_SEH_JOIN(ntmm_handler_, n) :
#define __finally NTMM_SEH_FINALLY(__COUNTER__)
#define NTMM_SEH_FINALLY(n)                                                                                            \
    NTMM_SEH_END_OF_BODY                                                                                               \
    else if (ntmm_seh.Phase == NtmmSehFilter) NtmmSehFilterResult(&ntmm_seh, EXCEPTION_CONTINUE_SEARCH);               \
    goto NTMM_SEH_JOIN(ntmm_block_, n);                                                                                \
    }                                                                                                                  \
    else NTMM_SEH_JOIN(ntmm_block_, n)                                                                                 \
        : for (NTMM_SEH_BLOCK ntmm_block = {NULL, 2}; NTMM_SEH_STEP_BLOCK(ntmm_block);                                 \
               NtmmSehEndBlock(&ntmm_block))                                                                           \
            NTMM_SEH_OUTLINE
/* Ends the body of the innermost __try, normally. */
#define __leave goto ntmm_leave

/* The status of the exception; in a filter or a handler. Page: GetExceptionCode */
#define GetExceptionCode()        ((NTSTATUS)NtmmSehCode(__builtin_frame_address(0)))
#define _exception_code()         GetExceptionCode()
#define exception_code()          GetExceptionCode()
/* The exception's record and context; in a filter only. Page: GetExceptionInformation */
#define GetExceptionInformation() NtmmSehPointers()
#define _exception_info()         NtmmSehPointers()
#define exception_info()          NtmmSehPointers()
/* In a __finally block: nonzero unless the body ran to its end or was left by __leave. Page: AbnormalTermination */
#define AbnormalTermination()     (ntmm_block.Return != NULL)
#define _abnormal_termination()   AbnormalTermination()
#define abnormal_termination()    AbnormalTermination()

/* ---- raising ---- */
EXTERN_C_START
/* Raises Status as an exception that cannot be continued. IRQL <= APC_LEVEL. Bug check 0x1E, 0x7E or 0x3B if nothing handles
 * it. Page: ExRaiseStatus */
NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseStatus(NTSTATUS Status);
/* STATUS_ACCESS_VIOLATION. IRQL PASSIVE_LEVEL. Page: ExRaiseAccessViolation */
NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseAccessViolation(VOID);
/* STATUS_DATATYPE_MISALIGNMENT. IRQL PASSIVE_LEVEL. Page: ExRaiseDatatypeMisalignment */
NTKERNELAPI DECLSPEC_NORETURN VOID ExRaiseDatatypeMisalignment(VOID);
/* Raises the exception of the record (its ExceptionAddress is filled in); returns if a filter continues the execution. */
NTSYSAPI VOID RtlRaiseException(PEXCEPTION_RECORD ExceptionRecord);
/* Raises a status that cannot be continued. */
NTSYSAPI DECLSPEC_NORETURN VOID RtlRaiseStatus(NTSTATUS Status);
/* The caller's registers. Any IRQL. Page: RtlCaptureContext */
NTSYSAPI VOID RtlCaptureContext(PCONTEXT ContextRecord);
/* TRUE for a status that a file system may pass to its caller; FALSE for STATUS_ACCESS_VIOLATION,
 * STATUS_DATATYPE_MISALIGNMENT, STATUS_ILLEGAL_INSTRUCTION and STATUS_INSTRUCTION_MISALIGNMENT. Page: FsRtlIsNtstatusExpected */
NTKERNELAPI BOOLEAN FsRtlIsNtstatusExpected(NTSTATUS Ntstatus);

/* ---- unwinding binary drivers' stacks ---- */
typedef enum _EXCEPTION_DISPOSITION {
    ExceptionContinueExecution,
    ExceptionContinueSearch,
    ExceptionNestedException,
    ExceptionCollidedUnwind
} EXCEPTION_DISPOSITION;
typedef EXCEPTION_DISPOSITION EXCEPTION_ROUTINE(struct _EXCEPTION_RECORD *ExceptionRecord, PVOID EstablisherFrame,
                                                struct _CONTEXT *ContextRecord, PVOID DispatcherContext);
typedef EXCEPTION_ROUTINE *PEXCEPTION_ROUTINE;
typedef struct _IMAGE_RUNTIME_FUNCTION_ENTRY {
    ULONG BeginAddress;
    ULONG EndAddress;
    union {
        ULONG UnwindInfoAddress;
        ULONG UnwindData;
    };
} RUNTIME_FUNCTION, *PRUNTIME_FUNCTION;
#define UNWIND_HISTORY_TABLE_SIZE 12
typedef struct _UNWIND_HISTORY_TABLE_ENTRY {
    ULONG64 ImageBase;
    PRUNTIME_FUNCTION FunctionEntry;
} UNWIND_HISTORY_TABLE_ENTRY, *PUNWIND_HISTORY_TABLE_ENTRY;
typedef struct _UNWIND_HISTORY_TABLE {
    ULONG Count;
    UCHAR LocalHint;
    UCHAR GlobalHint;
    UCHAR Search;
    UCHAR Once;
    ULONG64 LowAddress;
    ULONG64 HighAddress;
    UNWIND_HISTORY_TABLE_ENTRY Entry[UNWIND_HISTORY_TABLE_SIZE];
} UNWIND_HISTORY_TABLE, *PUNWIND_HISTORY_TABLE;
typedef struct _DISPATCHER_CONTEXT {
    ULONG64 ControlPc;
    ULONG64 ImageBase;
    PRUNTIME_FUNCTION FunctionEntry;
    ULONG64 EstablisherFrame;
    ULONG64 TargetIp;
    PCONTEXT ContextRecord;
    PVOID LanguageHandler;
    PVOID HandlerData;
    PUNWIND_HISTORY_TABLE HistoryTable;
    ULONG ScopeIndex;
    ULONG Fill0;
} DISPATCHER_CONTEXT, *PDISPATCHER_CONTEXT;
C_ASSERT(sizeof(DISPATCHER_CONTEXT) == 0x50 && offsetof(DISPATCHER_CONTEXT, HandlerData) == 0x38);
typedef struct _KNONVOLATILE_CONTEXT_POINTERS {
    PM128A FloatingContext[16];
    PULONG64 IntegerContext[16];
} KNONVOLATILE_CONTEXT_POINTERS, *PKNONVOLATILE_CONTEXT_POINTERS;
/* The .pdata entry of the function at ControlPc in a loaded image, and the image's base; NULL: none (a leaf, or not an
 * image). Any IRQL. Page: RtlLookupFunctionEntry */
NTSYSAPI PRUNTIME_FUNCTION RtlLookupFunctionEntry(ULONG64 ControlPc, PULONG64 ImageBase, PUNWIND_HISTORY_TABLE HistoryTable);
/* Steps ContextRecord out of the function; the handler of the type asked (1 exception, 2 termination), or NULL.
 * ContextPointers is not filled. Page: RtlVirtualUnwind */
NTSYSAPI PEXCEPTION_ROUTINE RtlVirtualUnwind(ULONG HandlerType, ULONG64 ImageBase, ULONG64 ControlPc, PRUNTIME_FUNCTION FunctionEntry,
                                             PCONTEXT ContextRecord, PVOID *HandlerData, PULONG64 EstablisherFrame,
                                             PKNONVOLATILE_CONTEXT_POINTERS ContextPointers);
/* Unwinds to a frame of a binary driver and goes on at TargetIp with ReturnValue in rax. Page: RtlUnwindEx, RtlUnwind */
NTSYSAPI DECLSPEC_NORETURN VOID RtlUnwindEx(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue,
                                            PCONTEXT ContextRecord, PUNWIND_HISTORY_TABLE HistoryTable);
NTSYSAPI DECLSPEC_NORETURN VOID RtlUnwind(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue);
/* The base of the loaded image that holds an address, also in *BaseOfImage; NULL: none. Page: RtlPcToFileHeader */
NTSYSAPI PVOID RtlPcToFileHeader(PVOID PcValue, PVOID *BaseOfImage);
/* The language handler of C code in images, by its scope table. */
NTSYSAPI EXCEPTION_DISPOSITION __C_specific_handler(PEXCEPTION_RECORD ExceptionRecord, PVOID EstablisherFrame, PCONTEXT ContextRecord,
                                                    PDISPATCHER_CONTEXT DispatcherContext);

/* ---- probing user memory ---- */
/* Raises STATUS_ACCESS_VIOLATION unless [Address, Address + Length) is user-mode address space, and
 * STATUS_DATATYPE_MISALIGNMENT unless Address is a multiple of Alignment (1, 2, 4, 8 or 16). Length 0: checks nothing. Does
 * not touch the memory. IRQL <= APC_LEVEL. Page: ProbeForRead */
NTKERNELAPI VOID ProbeForRead(const volatile VOID *Address, SIZE_T Length, ULONG Alignment);
/* As ProbeForRead, and writes to every page of the range what it holds; raises if one cannot be written.
 * IRQL <= APC_LEVEL. Page: ProbeForWrite */
NTKERNELAPI VOID ProbeForWrite(volatile VOID *Address, SIZE_T Length, ULONG Alignment);

/* ---- bug check callbacks ---- */
#define KeInitializeCallbackRecord(CallbackRecord) ((CallbackRecord)->State = BufferEmpty)
/* Has CallbackRoutine called with Buffer and Length at HIGH_LEVEL when the system stops. The record and the buffer are
 * resident memory; the record was initialised by KeInitializeCallbackRecord. FALSE if it is registered already. Any IRQL.
 * Page: KeRegisterBugCheckCallback */
NTKERNELAPI BOOLEAN KeRegisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD CallbackRecord,
                                               PKBUGCHECK_CALLBACK_ROUTINE CallbackRoutine, PVOID Buffer, ULONG Length,
                                               PUCHAR Component);
/* FALSE if the record is not registered. Any IRQL. Page: KeDeregisterBugCheckCallback */
NTKERNELAPI BOOLEAN KeDeregisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD CallbackRecord);

struct _KBUGCHECK_REASON_CALLBACK_RECORD;
typedef VOID KBUGCHECK_REASON_CALLBACK_ROUTINE(KBUGCHECK_CALLBACK_REASON Reason,
                                               struct _KBUGCHECK_REASON_CALLBACK_RECORD *Record, PVOID ReasonSpecificData,
                                               ULONG ReasonSpecificDataLength);
typedef KBUGCHECK_REASON_CALLBACK_ROUTINE *PKBUGCHECK_REASON_CALLBACK_ROUTINE;
typedef struct _KBUGCHECK_REASON_CALLBACK_RECORD {
    LIST_ENTRY Entry;
    PKBUGCHECK_REASON_CALLBACK_ROUTINE CallbackRoutine;
    PUCHAR Component;
    ULONG_PTR Checksum;
    KBUGCHECK_CALLBACK_REASON Reason;
    UCHAR State;
} KBUGCHECK_REASON_CALLBACK_RECORD, *PKBUGCHECK_REASON_CALLBACK_RECORD;
C_ASSERT(sizeof(KBUGCHECK_REASON_CALLBACK_RECORD) == 0x30 && sizeof(KBUGCHECK_CALLBACK_RECORD) == 0x40);
typedef struct _KBUGCHECK_SECONDARY_DUMP_DATA {
    PVOID InBuffer;
    ULONG InBufferLength;
    ULONG MaximumAllowed;
    GUID Guid;
    PVOID OutBuffer;
    ULONG OutBufferLength;
} KBUGCHECK_SECONDARY_DUMP_DATA, *PKBUGCHECK_SECONDARY_DUMP_DATA;
/* As KeRegisterBugCheckCallback for a routine with a reason. KbCallbackSecondaryDumpData routines are called (their data is
 * dropped: no dump is written); the others belong to dump writing and are not. Any IRQL. Page: KeRegisterBugCheckReasonCallback */
NTKERNELAPI BOOLEAN KeRegisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord,
                                                     PKBUGCHECK_REASON_CALLBACK_ROUTINE CallbackRoutine,
                                                     KBUGCHECK_CALLBACK_REASON Reason, PUCHAR Component);
/* FALSE if the record is not registered. Page: KeDeregisterBugCheckReasonCallback */
NTKERNELAPI BOOLEAN KeDeregisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord);
EXTERN_C_END

#endif
