/*
 * seh_test.c - __try and its kin in source drivers. Built at -O0, -O1, -O2 and -O3 (tests/seh.cmake). SPDX-License-Identifier: MIT
 *
 * Each test records what ran in what order as letters; locals are deliberately not volatile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <ntddk.h>
#include <ntmm.h>

#define NOINLINE __attribute__((noinline))

static char Log[64];
static unsigned LogLength;
static NOINLINE void Note(char Letter)
{
    Log[LogLength++] = Letter;
    Log[LogLength] = 0;
}
static int NoteValue(char Letter, int Value)
{
    Note(Letter);
    return Value;
}
static int Reset(void **state)
{
    (void)state;
    LogLength = 0;
    Log[0] = 0;
    return 0;
}
static NOINLINE void Raise(NTSTATUS Status)
{
    ExRaiseStatus(Status);
}
static int *volatile BadPointer = (int *)0x10;
static volatile int Zero, One = 1;

/* ---- raised statuses ---- */

static void Except_RaisedStatus_HandlerRunsWithCode(void **state)
{
    NTSTATUS status = 0;
    (void)state;
    __try {
        Note('b');
        Raise(STATUS_INVALID_PARAMETER);
        Note('x');
    } __except (NoteValue('f', EXCEPTION_EXECUTE_HANDLER)) {
        status = GetExceptionCode();
        Note('h');
    }
    Note('e');
    assert_string_equal(Log, "bfhe");
    assert_int_equal(status, STATUS_INVALID_PARAMETER);
}

static void Except_NoException_HandlerSkipped(void **state)
{
    int value = 0;
    (void)state;
    __try {
        value = 1;
    } __except (NoteValue('f', EXCEPTION_EXECUTE_HANDLER)) {
        value = 2;
    }
    assert_int_equal(value, 1);
    assert_string_equal(Log, "");
}

static LONG FilterByCode(NTSTATUS Code, PEXCEPTION_POINTERS Pointers)
{
    assert_non_null(Pointers);
    assert_int_equal(Pointers->ExceptionRecord->ExceptionCode, Code);
    return Code == STATUS_NO_MEMORY ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH;
}

static void Except_FilterDeclines_OuterHandles(void **state)
{
    (void)state;
    __try {
        __try {
            Raise(STATUS_ACCESS_DENIED);
        } __except (FilterByCode(GetExceptionCode(), GetExceptionInformation())) {
            Note('x');
        }
        Note('y');
    } __except (GetExceptionCode() == STATUS_ACCESS_DENIED ? NoteValue('f', EXCEPTION_EXECUTE_HANDLER) : 0) {
        Note('o');
    }
    assert_string_equal(Log, "fo");
}

static NOINLINE void Inner(NTSTATUS Status)
{
    __try {
        Note('1');
        Raise(Status);
        Note('x');
    } __finally {
        assert_true(AbnormalTermination());
        Note('2');
    }
    Note('y');
}

static void Except_AcrossFunctions_FilterBeforeInnerFinally(void **state)
{
    (void)state;
    __try {
        Inner(STATUS_UNSUCCESSFUL);
    } __except (NoteValue('f', EXCEPTION_EXECUTE_HANDLER)) {
        Note('h');
    }
    assert_string_equal(Log, "1f2h");
}

static void Except_InLoop_BreakAndContinueOfHandlerAndBody(void **state)
{
    int i, handled = 0, bodies = 0;
    (void)state;
    for (i = 0; i < 10; i++) {
        __try {
            bodies++;
            if (i == 1)
                continue;
            if (i % 2 == 0)
                Raise(STATUS_UNSUCCESSFUL);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            handled++;
            if (i == 6)
                break;
            continue;
        }
        Note((char)('0' + i));
    }
    assert_int_equal(i, 6);
    assert_int_equal(handled, 4);
    assert_int_equal(bodies, 7);
    assert_string_equal(Log, "35");
    /* the chain is what it was: a new exception finds only the frame here */
    __try {
        Raise(STATUS_NO_MEMORY);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Note('h');
    }
    assert_string_equal(Log, "35h");
}

static NOINLINE int ReturnsFromBody(int which)
{
    int local = 10;
    __try {
        if (which == 1)
            return local + 1;
        Raise(STATUS_UNSUCCESSFUL);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return local + 2;
    }
    return 0;
}

static void Except_ReturnFromBodyAndHandler_FrameGone(void **state)
{
    (void)state;
    __try {
        assert_int_equal(ReturnsFromBody(1), 11);
        assert_int_equal(ReturnsFromBody(2), 12);
        Raise(STATUS_ACCESS_DENIED);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        assert_int_equal(GetExceptionCode(), STATUS_ACCESS_DENIED);
        Note('h');
    }
    assert_string_equal(Log, "h");
}

static void Except_GotoOutOfBody_FrameGone(void **state)
{
    (void)state;
    __try {
        __try {
            Note('b');
            if (One)
                goto out;
            Note('x');
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Note('i');
        }
    out:
        Raise(STATUS_UNSUCCESSFUL);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Note('o');
    }
    assert_string_equal(Log, "bo");
}

static void Except_RaiseInHandler_OuterHandles(void **state)
{
    NTSTATUS first = 0, second = 0;
    (void)state;
    __try {
        __try {
            Raise(STATUS_NO_MEMORY);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            first = GetExceptionCode();
            Raise(STATUS_ACCESS_DENIED);
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        second = GetExceptionCode();
    }
    assert_int_equal(first, STATUS_NO_MEMORY);
    assert_int_equal(second, STATUS_ACCESS_DENIED);
}

static NOINLINE int FaultingFilter(void)
{
    int answer = 0;
    __try {
        Raise(STATUS_TIMEOUT);
    } __except (GetExceptionCode() == STATUS_TIMEOUT) {
        answer = EXCEPTION_EXECUTE_HANDLER;
        Note('n');
    }
    return answer;
}

static void Filter_WithExceptionInside_IsIndependent(void **state)
{
    NTSTATUS status = 0;
    (void)state;
    __try {
        Raise(STATUS_NO_MEMORY);
    } __except (FaultingFilter() && GetExceptionCode() == STATUS_NO_MEMORY) {
        status = GetExceptionCode();
    }
    assert_int_equal(status, STATUS_NO_MEMORY);
    assert_string_equal(Log, "n");
}

static NOINLINE int RaisingFilter(NTSTATUS Code)
{
    if (Code == STATUS_NO_MEMORY)
        Raise(STATUS_ACCESS_DENIED);
    return 0;
}

static void Filter_RaisesUnhandled_OuterGetsTheNewOne(void **state)
{
    NTSTATUS status = 0;
    (void)state;
    __try {
        __try {
            Raise(STATUS_NO_MEMORY);
        } __except (RaisingFilter(GetExceptionCode())) {
            Note('x');
        }
    } __except (GetExceptionCode() == STATUS_ACCESS_DENIED) {
        status = GetExceptionCode();
    }
    assert_int_equal(status, STATUS_ACCESS_DENIED);
    assert_string_equal(Log, "");
}

static NOINLINE NTSTATUS CodeAfterCall(void)
{
    NTSTATUS status = 0;
    __try {
        Raise(STATUS_NO_MEMORY);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        ReturnsFromBody(2); /* handles an exception of its own */
        status = GetExceptionCode();
    }
    return status;
}

static void Code_AfterCallThatHandled_IsStillOurs(void **state)
{
    (void)state;
    assert_int_equal(CodeAfterCall(), STATUS_NO_MEMORY);
}

/* ---- __finally and __leave ---- */

static void Finally_BodyEnds_NotAbnormal(void **state)
{
    (void)state;
    __try {
        Note('b');
    } __finally {
        assert_false(AbnormalTermination());
        Note('f');
    }
    assert_string_equal(Log, "bf");
}

static void Leave_OutOfLoopsAndSwitch_NotAbnormal(void **state)
{
    (void)state;
    __try {
        for (int i = 0; i < 3; i++) {
            while (One) {
                switch (i) {
                case 1:
                    __leave;
                default:
                    break;
                }
                Note((char)('0' + i));
                break;
            }
        }
        Note('x');
    } __finally {
        assert_false(AbnormalTermination());
        Note('f');
    }
    assert_string_equal(Log, "0f");
}

static void Leave_Nested_LeavesTheInnermost(void **state)
{
    (void)state;
    __try {
        __try {
            Note('a');
            if (One)
                __leave;
            Note('x');
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Note('y');
        }
        Note('b');
        if (One)
            __leave;
        Note('z');
    } __finally {
        Note('f');
    }
    assert_string_equal(Log, "abf");
}

static NOINLINE int ReturnThroughFinally(int *seen)
{
    int value = 1;
    __try {
        value = 2;
        if (One)
            return value;
        value = 3;
    } __finally {
        assert_true(AbnormalTermination());
        *seen = value;
        value = 4;
        Note('f');
    }
    return value;
}

static void Finally_ReturnFromBody_RunsAndValueStays(void **state)
{
    int seen = 0;
    (void)state;
    assert_int_equal(ReturnThroughFinally(&seen), 2);
    assert_int_equal(seen, 2);
    assert_string_equal(Log, "f");
}

static NOINLINE int ReturnThroughTwo(void)
{
    __try {
        __try {
            if (One)
                return NoteValue('r', 7);
        } __finally {
            Note('1');
        }
        Note('x');
    } __finally {
        Note('2');
    }
    return 0;
}

static void Finally_ReturnThroughNested_InnerFirst(void **state)
{
    (void)state;
    assert_int_equal(ReturnThroughTwo(), 7);
    assert_string_equal(Log, "r12");
}

static void Finally_GotoBreakContinue_Run(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        __try {
            if (i == 0)
                continue;
            if (i == 1)
                goto next;
            if (i == 2)
                break;
            Note('x');
        } __finally {
            assert_true(AbnormalTermination());
            Note((char)('0' + i));
        }
    next:
        Note('n');
    }
    assert_string_equal(Log, "01n2");
}

static void Finally_Unwound_InnermostFirstAndLocalsSeen(void **state)
{
    int a = 1, b = 1;
    (void)state;
    __try {
        __try {
            a = 2;
            __try {
                b = 2;
                Raise(STATUS_UNSUCCESSFUL);
                b = 3;
            } __finally {
                Note(b == 2 ? 'b' : 'B');
                b = 20;
            }
            a = 3;
        } __finally {
            Note(a == 2 ? 'a' : 'A');
            Note(b == 20 ? 'c' : 'C');
            a = 30;
        }
    } __except (NoteValue('f', EXCEPTION_EXECUTE_HANDLER)) {
        Note('h');
    }
    assert_string_equal(Log, "fbach");
    assert_int_equal(a, 30);
    assert_int_equal(b, 20);
}

static void Finally_RaisesWhileUnwinding_OuterGetsTheNewOne(void **state)
{
    NTSTATUS status = 0;
    (void)state;
    __try {
        __try {
            __try {
                Raise(STATUS_NO_MEMORY);
            } __finally {
                Note('1');
                Raise(STATUS_ACCESS_DENIED);
            }
        } __finally {
            Note('2');
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    assert_int_equal(status, STATUS_ACCESS_DENIED);
    assert_string_equal(Log, "12");
}

static void Finally_WithTryInside_UnwindingGoesOn(void **state)
{
    (void)state;
    __try {
        __try {
            Raise(STATUS_NO_MEMORY);
        } __finally {
            __try {
                Note('1');
                Raise(STATUS_ACCESS_DENIED);
            } __except (EXCEPTION_EXECUTE_HANDLER) {
                Note('2');
            }
            Note('3');
        }
        Note('x');
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Note('4');
        assert_int_equal(GetExceptionCode(), STATUS_NO_MEMORY);
    }
    assert_string_equal(Log, "1234");
}

/* ---- the values of locals ---- */

static void Locals_ChangedBeforeRaise_HandlerSeesThem(void **state)
{
    int stage = 0, other = 5;
    (void)state;
    __try {
        stage = 1;
        other += One;
        Raise(STATUS_UNSUCCESSFUL);
        stage = 2;
    } __except (stage == 1 && other == 6) {
        stage += 10;
    }
    assert_int_equal(stage, 11);
    assert_int_equal(other, 6);
}

static NOINLINE int Parameters(int parameter, int *pointer)
{
    __try {
        parameter++;
        pointer++;
        *BadPointer = 1;
        parameter = 100;
        pointer = NULL;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return parameter * 10 + *pointer;
    }
    return -1;
}

static void Locals_Parameters_HandlerSeesThem(void **state)
{
    int numbers[2] = {3, 7};
    (void)state;
    assert_int_equal(Parameters(4, numbers), 57);
}

static void Locals_ChangedBeforeFault_HandlerSeesThem(void **state)
{
    int stage = 0, sum = 0;
    volatile int *where = BadPointer;
    (void)state;
    __try {
        stage = 1;
        sum = *(volatile int *)&One;
        *where = 1;
        stage = 2;
        *where = 2;
        stage = 3;
        sum = 100;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        sum += 10;
    }
    assert_int_equal(stage, 1);
    assert_int_equal(sum, 11);
}

static void Locals_LoopUntilFault_CountIsExact(void **state)
{
    int i = 0, total = 0;
    (void)state;
    __try {
        for (i = 0; i < 100; i++) {
            total += i;
            if (i == 37)
                *BadPointer = i;
        }
    } __except (i == 37 ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
        total += 1000;
    }
    assert_int_equal(i, 37);
    assert_int_equal(total, 1000 + 37 * 38 / 2);
}

__attribute__((no_sanitize("undefined"))) static void Locals_NullStore_StageIsExact(void **state)
{
    int stage = 0;
    NTSTATUS status = STATUS_SUCCESS;
    (void)state;
    __try {
        stage = 1;
        *(volatile int *)0 = 1;
        stage = 2;
        status = STATUS_UNSUCCESSFUL;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    assert_int_equal(stage, 1);
    assert_int_equal(status, STATUS_ACCESS_VIOLATION);
}

static void Locals_FaultInFinallyScope_BlockSeesThem(void **state)
{
    int stage = 0;
    (void)state;
    __try {
        __try {
            stage = 1;
            *BadPointer = 1;
            stage = 2;
        } __finally {
            Note((char)('0' + stage));
            stage = 5;
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Note((char)('0' + stage));
    }
    assert_string_equal(Log, "15");
}

/* ---- faults of the hardware ---- */

static LONG AccessFilter(PEXCEPTION_POINTERS Pointers, ULONG_PTR Kind, ULONG_PTR Address)
{
    EXCEPTION_RECORD *Record = Pointers->ExceptionRecord;
    assert_int_equal(Record->ExceptionCode, STATUS_ACCESS_VIOLATION);
    assert_int_equal(Record->NumberParameters, 2);
    assert_int_equal(Record->ExceptionInformation[0], Kind);
    assert_int_equal(Record->ExceptionInformation[1], Address);
    assert_ptr_equal(Record->ExceptionAddress, Pointers->ContextRecord->Rip);
    return EXCEPTION_EXECUTE_HANDLER;
}

static NOINLINE int Load(int *From)
{
    return *From;
}

static void Fault_ReadAndWriteOfBadMemory_AreAccessViolations(void **state)
{
    volatile int value = 0;
    (void)state;
    __try {
        value = *BadPointer;
    } __except (AccessFilter(GetExceptionInformation(), 0, 0x10)) {
        Note('r');
    }
    __try {
        *BadPointer = value;
    } __except (AccessFilter(GetExceptionInformation(), 1, 0x10)) {
        Note('w');
    }
    __try {
        value = Load(BadPointer);
    } __except (AccessFilter(GetExceptionInformation(), 0, 0x10)) {
        Note('c');
    }
    assert_string_equal(Log, "rwc");
}

static void Fault_JumpToNull_IsAnExecuteViolation(void **state)
{
    void (*volatile nowhere)(void) = NULL;
    (void)state;
    __try {
        nowhere();
    } __except (AccessFilter(GetExceptionInformation(), 8, 0)) {
        Note('h');
    }
    assert_string_equal(Log, "h");
}

static void Fault_NonCanonical_IsAnAccessViolation(void **state)
{
    int *volatile wild = (int *)0x0123456789abcdefull;
    (void)state;
    __try {
        *wild = 1;
    } __except (AccessFilter(GetExceptionInformation(), 0, ~(ULONG_PTR)0)) {
        Note('h');
    }
    assert_string_equal(Log, "h");
}

static NTSTATUS CodeOf(void (*Function)(void))
{
    NTSTATUS status = STATUS_SUCCESS;
    __try {
        Function();
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    return status;
}
static void DivideByZero(void)
{
    __asm__ volatile("xorl %%edx, %%edx\n movl $1, %%eax\n divl %0" : : "r"(Zero) : "eax", "edx", "cc");
}
static void DivideOverflow(void)
{
    __asm__ volatile("movl $7, %%edx\n movl $1, %%eax\n divl %0" : : "r"(One) : "eax", "edx", "cc");
}
static void Breakpoint(void)
{
    __debugbreak();
}
static void Undefined(void)
{
    __asm__ volatile("ud2");
}
static void Halt(void)
{
    __asm__ volatile("hlt");
}
static void MoveCr(void)
{
    __asm__ volatile("movq %%cr3, %%rax" : : : "rax");
}
static void AssertionFailure(void)
{
    __asm__ volatile("int $0x2c");
}

static void Fault_Others_HaveTheirCodes(void **state)
{
    (void)state;
    assert_int_equal(CodeOf(DivideByZero), STATUS_INTEGER_DIVIDE_BY_ZERO);
    assert_int_equal(CodeOf(DivideOverflow), STATUS_INTEGER_OVERFLOW);
    assert_int_equal(CodeOf(Breakpoint), STATUS_BREAKPOINT);
    assert_int_equal(CodeOf(Undefined), STATUS_ILLEGAL_INSTRUCTION);
    assert_int_equal(CodeOf(Halt), STATUS_PRIVILEGED_INSTRUCTION);
    assert_int_equal(CodeOf(MoveCr), STATUS_PRIVILEGED_INSTRUCTION);
    assert_int_equal(CodeOf(AssertionFailure), STATUS_ASSERTION_FAILURE);
}

static int Good;
static LONG SkipUd2(PEXCEPTION_POINTERS Pointers)
{
    Note('f');
    Pointers->ContextRecord->Rip += 2;
    return EXCEPTION_CONTINUE_EXECUTION;
}

static void ContinueExecution_ContextEdited_GoesOn(void **state)
{
    int stage = 0;
    (void)state;
    __try {
        stage = 1;
        __asm__ volatile("ud2" : : : "memory");
        stage++;
        Note('b');
    } __except (SkipUd2(GetExceptionInformation())) {
        Note('x');
    }
    assert_string_equal(Log, "fb");
    assert_int_equal(stage, 2);
}

static LONG RepairRax(PEXCEPTION_POINTERS Pointers)
{
    Pointers->ContextRecord->Rax = (ULONG_PTR)&Good;
    Note('f');
    return EXCEPTION_CONTINUE_EXECUTION;
}

static void ContinueExecution_RegisterRepaired_InstructionIsRetried(void **state)
{
    (void)state;
    Good = 0;
    __try {
        __try {
            __asm__ volatile("movl $42, (%%rax)" : : "a"(BadPointer) : "memory");
            Note('b');
        } __finally {
            Note('i');
        }
    } __except (RepairRax(GetExceptionInformation())) {
        Note('x');
    }
    assert_string_equal(Log, "fbi");
    assert_int_equal(Good, 42);
}

static void ContinueExecution_RaisedException_CallReturns(void **state)
{
    EXCEPTION_RECORD record = {.ExceptionCode = 0x20000001, .NumberParameters = 1, .ExceptionInformation = {77}};
    (void)state;
    __try {
        RtlRaiseException(&record);
        Note('b');
    } __except (GetExceptionInformation()->ExceptionRecord->ExceptionInformation[0] == 77
                    ? NoteValue('f', EXCEPTION_CONTINUE_EXECUTION)
                    : 1) {
        Note('x');
    }
    assert_string_equal(Log, "fb");
}

static void ContinueExecution_NonContinuable_RaisesThatItIsNot(void **state)
{
    NTSTATUS status = 0;
    (void)state;
    __try {
        __try {
            Raise(STATUS_NO_MEMORY);
        } __except (GetExceptionCode() == STATUS_NO_MEMORY ? EXCEPTION_CONTINUE_EXECUTION : EXCEPTION_CONTINUE_SEARCH) {
            Note('x');
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    assert_int_equal(status, STATUS_NONCONTINUABLE_EXCEPTION);
    assert_string_equal(Log, "");
}

/* ---- shape ---- */

static void Shape_StatementWithoutBraces_ElseBindsRight(void **state)
{
    (void)state;
    if (Zero)
        __try {
            Note('x');
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            Note('y');
        }
    else
        Note('e');
    if (One)
        __try {
            Note('a');
        } __finally {
            Note('f');
        }
    else
        Note('z');
    assert_string_equal(Log, "eaf");
}

static void Shape_Switch_CaseLabelsAndBreak(void **state)
{
    (void)state;
    switch (One) {
    case 1:
        __try {
            Note('a');
            if (One)
                break;
            Note('x');
        } __finally {
            Note('f');
        }
        Note('y');
    }
    assert_string_equal(Log, "af");
}

static NOINLINE int Depth(int n)
{
    int mine = n;
    __try {
        if (n == 0)
            Raise(STATUS_UNSUCCESSFUL);
        Depth(n - 1);
    } __finally {
        assert_int_equal(mine, n);
        Good++;
    }
    return mine;
}

static void Recursion_AllBlocksRunOnce(void **state)
{
    (void)state;
    Good = 0;
    __try {
        Depth(50);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Note('h');
    }
    assert_int_equal(Good, 51);
    assert_string_equal(Log, "h");
}

static void Loop_ManyExceptions_StackDoesNotGrow(void **state)
{
    unsigned long first = 0;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char *here = __builtin_frame_address(0);
        unsigned long rsp;
        __asm__ volatile("movq %%rsp, %0" : "=r"(rsp));
        if (!first)
            first = rsp;
        assert_int_equal(rsp, first);
        (void)here;
        __try {
            if (i & 1)
                *BadPointer = i;
            else
                Raise(STATUS_UNSUCCESSFUL);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
        }
    }
}

static void RaiseNoMemory(void *unused)
{
    (void)unused;
    Raise(STATUS_NO_MEMORY);
}

static void Catch_ExceptionHandledOutside_CatchIsForgotten(void **state)
{
    ntmm_bugcheck stop;
    (void)state;
    __try {
        ntmm_catch(RaiseNoMemory, NULL, &stop);
        Note('x');
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Note('h');
    }
    assert_string_equal(Log, "h");
    assert_true(ntmm_catch(RaiseNoMemory, NULL, &stop));
    assert_int_equal(stop.code, 0x1E);
    assert_int_equal(stop.parameters[0], (ULONG)STATUS_NO_MEMORY);
}

#define T(name) cmocka_unit_test_setup(name, Reset)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(Except_RaisedStatus_HandlerRunsWithCode),
        T(Except_NoException_HandlerSkipped),
        T(Except_FilterDeclines_OuterHandles),
        T(Except_AcrossFunctions_FilterBeforeInnerFinally),
        T(Except_InLoop_BreakAndContinueOfHandlerAndBody),
        T(Except_ReturnFromBodyAndHandler_FrameGone),
        T(Except_GotoOutOfBody_FrameGone),
        T(Except_RaiseInHandler_OuterHandles),
        T(Filter_WithExceptionInside_IsIndependent),
        T(Filter_RaisesUnhandled_OuterGetsTheNewOne),
        T(Code_AfterCallThatHandled_IsStillOurs),
        T(Finally_BodyEnds_NotAbnormal),
        T(Leave_OutOfLoopsAndSwitch_NotAbnormal),
        T(Leave_Nested_LeavesTheInnermost),
        T(Finally_ReturnFromBody_RunsAndValueStays),
        T(Finally_ReturnThroughNested_InnerFirst),
        T(Finally_GotoBreakContinue_Run),
        T(Finally_Unwound_InnermostFirstAndLocalsSeen),
        T(Finally_RaisesWhileUnwinding_OuterGetsTheNewOne),
        T(Finally_WithTryInside_UnwindingGoesOn),
        T(Locals_ChangedBeforeRaise_HandlerSeesThem),
        T(Locals_Parameters_HandlerSeesThem),
        T(Locals_ChangedBeforeFault_HandlerSeesThem),
        T(Locals_LoopUntilFault_CountIsExact),
        T(Locals_NullStore_StageIsExact),
        T(Locals_FaultInFinallyScope_BlockSeesThem),
        T(Fault_ReadAndWriteOfBadMemory_AreAccessViolations),
        T(Fault_JumpToNull_IsAnExecuteViolation),
        T(Fault_NonCanonical_IsAnAccessViolation),
        T(Fault_Others_HaveTheirCodes),
        T(ContinueExecution_ContextEdited_GoesOn),
        T(ContinueExecution_RegisterRepaired_InstructionIsRetried),
        T(ContinueExecution_RaisedException_CallReturns),
        T(ContinueExecution_NonContinuable_RaisesThatItIsNot),
        T(Shape_StatementWithoutBraces_ElseBindsRight),
        T(Shape_Switch_CaseLabelsAndBreak),
        T(Recursion_AllBlocksRunOnce),
        T(Loop_ManyExceptions_StackDoesNotGrow),
        T(Catch_ExceptionHandledOutside_CatchIsForgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
