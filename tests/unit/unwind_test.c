/*
 * unwind_test.c - exceptions in binary drivers, and stacks of binary and source frames mixed. SPDX-License-Identifier: MIT
 *
 * The cases are exports of tests/sys/tries.c, built at two levels of optimisation; Trace is their record of steps.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <ntifs.h>
#include <ntmm.h>
#include "ldr/ldr.h"

static LDR_IMAGE *Image;
static ULONG64 *Trace;

#define CASE(ret, name, types) ret(KI_MSABI *name) types = (ret(KI_MSABI *) types)(ULONG_PTR)Find(#name)
static PVOID Find(const char *Name)
{
    PVOID Routine = LdrFindExport(Image, Name);
    assert_non_null(Routine);
    *Trace = 0;
    LdrPrepareThread();
    return Routine;
}

#ifdef NTMM_TRIES
static int Load(const char *Level)
{
    char Path[512], Error[256] = "";
    snprintf(Path, sizeof Path, NTMM_TRIES "%s.sys", Level);
    if (LdrLoadImage(Path, NULL, 0, &Image, Error, sizeof Error)) {
        printf("%s: %s\n", Path, Error);
        return -1;
    }
    Trace = (ULONG64 *)LdrFindExport(Image, "Trace");
    return Trace ? 0 : -1;
}
static int Load0(void **state)
{
    (void)state;
    return ntmm_start(NULL) || Load("0");
}
static int Load2(void **state)
{
    (void)state;
    return ntmm_start(NULL) || Load("2");
}
static int Unload(void **state)
{
    (void)state;
    return LdrUnloadImage(Image) || ntmm_stop();
}
#endif

static void Raised_InBinary_HandledThere(void **state)
{
    CASE(NTSTATUS, HandleRaised, (NTSTATUS));
    (void)state;
    for (int i = 0; i < 100; i++) {
        *Trace = 0;
        assert_int_equal(HandleRaised(STATUS_NO_MEMORY), STATUS_NO_MEMORY);
        assert_int_equal(*Trace, 0x123);
    }
}

static void Fault_InBinary_HandledThere(void **state)
{
    ULONG64 address = 0;
    CASE(NTSTATUS, HandleFault, (int *, ULONG64 *));
    (void)state;
    assert_int_equal(HandleFault((int *)0x18, &address), STATUS_ACCESS_VIOLATION);
    assert_int_equal(address, 0x18);
}

static void Finally_Deep_InnermostFirstAfterTheFilter(void **state)
{
    CASE(NTSTATUS, UnwindDeep, (NTSTATUS));
    (void)state;
    assert_int_equal(UnwindDeep(STATUS_ACCESS_DENIED), STATUS_ACCESS_DENIED);
    assert_int_equal(*Trace, 0x189A2);
}

static void Filter_Declines_OuterScopeOfTheSameFunctionHandles(void **state)
{
    CASE(NTSTATUS, FilterDeclines, (NTSTATUS));
    (void)state;
    assert_int_equal(FilterDeclines(STATUS_ACCESS_DENIED), STATUS_ACCESS_DENIED);
    assert_int_equal(*Trace, 0x1234);
}

static void Filter_ContinuesExecution_InstructionIsRetried(void **state)
{
    CASE(int, ContinueExecution, (int *));
    (void)state;
    assert_int_equal(ContinueExecution((int *)0x18), 42);
    assert_int_equal(*Trace, 0x12);
}

static void Finally_Return_RunsOnce(void **state)
{
    CASE(int, ReturnThroughFinally, (int));
    (void)state;
    assert_int_equal(ReturnThroughFinally(5), 6);
    assert_int_equal(*Trace, 0x12);
}

static void Finally_Raises_BlockRunsOnceAndTheNewOneIsHandled(void **state)
{
    CASE(NTSTATUS, RaiseInFinally, (NTSTATUS, NTSTATUS));
    (void)state;
    assert_int_equal(RaiseInFinally(STATUS_NO_MEMORY, STATUS_ACCESS_DENIED), STATUS_ACCESS_DENIED);
    assert_int_equal(*Trace, 0x212); /* filter of the first, block, filter of the second */
}

static void KI_MSABI RaiseNative(void *Argument)
{
    ExRaiseStatus((NTSTATUS)(ULONG_PTR)Argument);
}

static void Mixed_SourceRaises_BinaryBlockThenSourceHandler(void **state)
{
    NTSTATUS status = 0;
    CASE(void, CallWithFinally, (void(KI_MSABI *)(void *), void *));
    (void)state;
    __try {
        CallWithFinally(RaiseNative, (void *)(ULONG_PTR)(ULONG)STATUS_NO_MEMORY);
    } __except (*Trace = *Trace * 16 + 2, EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }
    assert_int_equal(status, STATUS_NO_MEMORY);
    assert_int_equal(*Trace, 0x125);
}

static void Mixed_SourceRaises_BinaryHandles(void **state)
{
    CASE(NTSTATUS, CallWithExcept, (void(KI_MSABI *)(void *), void *));
    (void)state;
    assert_int_equal(CallWithExcept(RaiseNative, (void *)(ULONG_PTR)(ULONG)STATUS_NO_MEMORY), STATUS_NO_MEMORY);
    assert_int_equal(*Trace, 7);
}

static void KI_MSABI RaiseThroughBlock(void *Argument)
{
    __try {
        ExRaiseStatus((NTSTATUS)(ULONG_PTR)Argument);
    } __finally {
        *Trace = *Trace * 16 + 3;
    }
}

static void Mixed_SourceBlockInsideBinaryHandler_Runs(void **state)
{
    CASE(NTSTATUS, CallWithExcept, (void(KI_MSABI *)(void *), void *));
    (void)state;
    assert_int_equal(CallWithExcept(RaiseThroughBlock, (void *)(ULONG_PTR)(ULONG)STATUS_NO_MEMORY), STATUS_NO_MEMORY);
    assert_int_equal(*Trace, 0x73);
}

static void KI_MSABI HandleItself(void *Argument)
{
    __try {
        ExRaiseStatus((NTSTATUS)(ULONG_PTR)Argument);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        *Trace = *Trace * 16 + 9;
    }
}

static void Mixed_SourceInsideBinary_InnermostHandles(void **state)
{
    CASE(NTSTATUS, CallWithExcept, (void(KI_MSABI *)(void *), void *));
    (void)state;
    assert_int_equal(CallWithExcept(HandleItself, (void *)(ULONG_PTR)(ULONG)STATUS_NO_MEMORY), 0);
    assert_int_equal(*Trace, 9);
}

static void CaptureContext_InBinary_IsItsCaller(void **state)
{
    CASE(ULONG64, CapturedRip, (void));
    ULONG64 rip = CapturedRip();
    (void)state;
    assert_in_range(rip, (ULONG_PTR)CapturedRip, (ULONG_PTR)CapturedRip + 200);
}

static void CallRaise(void *Argument)
{
    CASE(void, RaiseUnhandled, (NTSTATUS));
    (void)Argument;
    RaiseUnhandled(STATUS_NO_MEMORY);
}

static void Unhandled_InBinary_StopNamesDriverFunctionAndLine(void **state)
{
    ntmm_bugcheck stop;
    char text[8192];
    (void)state;
    assert_true(ntmm_catch(CallRaise, NULL, &stop));
    assert_int_equal(stop.code, 0x1E);
    assert_int_equal(stop.parameters[0], (ULONG)STATUS_NO_MEMORY);
    assert_in_range(stop.parameters[1], (ULONG_PTR)Image->Base,
                    (ULONG_PTR)Image->Base + Image->Size); /* the driver's, not ours */
    assert_string_equal(stop.driver, Image->Name);
    assert_non_null(strstr(stop.where, "RaiseUnhandled (tries.c:"));
    ntmm_report(&stop, false, text, sizeof text);
    assert_non_null(strstr(text, "CallRaise (unwind_test.c:"));
}

static void CallDivide(void *Argument)
{
    CASE(void, Divide, (volatile int *));
    Divide(Argument);
}

static void Unhandled_DivideInBinary_StopIsAtTheInstruction(void **state)
{
    ntmm_bugcheck stop;
    int zero[2] = {0, 5};
    (void)state;
    assert_true(ntmm_catch(CallDivide, zero, &stop));
    assert_int_equal(stop.code, 0x1E);
    assert_int_equal(stop.parameters[0], (ULONG)STATUS_INTEGER_DIVIDE_BY_ZERO);
    assert_true(stop.trapped);
    assert_int_equal(stop.parameters[1], stop.frames[0]);
    assert_non_null(strstr(stop.where, "Divide (tries.c:"));
}

static void Lookup_FunctionEntry_CoversItsAddress(void **state)
{
    ULONG64 base = 0, frame = 0;
    PVOID data = NULL, header = NULL;
    CONTEXT context = {0};
    CASE(NTSTATUS, HandleRaised, (NTSTATUS));
    ULONG64 pc = (ULONG_PTR)HandleRaised;
    PRUNTIME_FUNCTION entry = RtlLookupFunctionEntry(pc + 1, &base, NULL);
    ULONG64 stack[4] = {0x1234};
    (void)state;
    assert_non_null(entry);
    assert_int_equal(base, (ULONG_PTR)Image->Base);
    assert_in_range(pc - base, entry->BeginAddress, entry->EndAddress - 1);
    assert_null(RtlLookupFunctionEntry((ULONG_PTR)&Lookup_FunctionEntry_CoversItsAddress, &base, NULL));
    assert_ptr_equal(RtlPcToFileHeader((PVOID)pc, &header), Image->Base);
    assert_null(RtlPcToFileHeader((PVOID)CallDivide, &header));
    /* At its first instruction nothing is done yet: the return address is on top. */
    context.Rsp = (ULONG_PTR)stack;
    assert_null(RtlVirtualUnwind(1, (ULONG_PTR)Image->Base, pc, entry, &context, &data, &frame, NULL));
    assert_int_equal(context.Rip, 0x1234);
    assert_int_equal(context.Rsp, (ULONG_PTR)stack + 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Raised_InBinary_HandledThere),
        cmocka_unit_test(Fault_InBinary_HandledThere),
        cmocka_unit_test(Finally_Deep_InnermostFirstAfterTheFilter),
        cmocka_unit_test(Filter_Declines_OuterScopeOfTheSameFunctionHandles),
        cmocka_unit_test(Filter_ContinuesExecution_InstructionIsRetried),
        cmocka_unit_test(Finally_Return_RunsOnce),
        cmocka_unit_test(Finally_Raises_BlockRunsOnceAndTheNewOneIsHandled),
        cmocka_unit_test(Mixed_SourceRaises_BinaryBlockThenSourceHandler),
        cmocka_unit_test(Mixed_SourceRaises_BinaryHandles),
        cmocka_unit_test(Mixed_SourceBlockInsideBinaryHandler_Runs),
        cmocka_unit_test(Mixed_SourceInsideBinary_InnermostHandles),
        cmocka_unit_test(CaptureContext_InBinary_IsItsCaller),
        cmocka_unit_test(Unhandled_InBinary_StopNamesDriverFunctionAndLine),
        cmocka_unit_test(Unhandled_DivideInBinary_StopIsAtTheInstruction),
        cmocka_unit_test(Lookup_FunctionEntry_CoversItsAddress),
    };
#ifdef NTMM_TRIES
    return cmocka_run_group_tests_name("built at -O0", tests, Load0, Unload) +
           cmocka_run_group_tests_name("built at -O2", tests, Load2, Unload);
#else
    (void)tests;
    printf("no compiler for the driver here: skipped\n");
    return 77;
#endif
}
