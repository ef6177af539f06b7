/*
 * report_test.c - the block that a bug check prints, as a child process prints it; its data form; explanations.
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ntddk.h>
#include <ntmm.h>

#define NOINLINE __attribute__((noinline))
static char Text[65536];

/* Runs Function in a child that dies of it; Text is what it wrote to stderr; the signal it died of. */
static int Die(void (*Function)(void), const char *Options)
{
    int pipes[2], status;
    size_t used = 0;
    ssize_t got;
    pid_t child;
    assert_int_equal(pipe(pipes), 0);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        signal(SIGABRT, SIG_DFL);
        setenv("NTMM_OPTIONS", Options, 1);
        Function();
        _exit(0);
    }
    close(pipes[1]);
    while ((got = read(pipes[0], Text + used, sizeof Text - 1 - used)) > 0)
        used += (size_t)got;
    Text[used] = 0;
    close(pipes[0]);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static const char *Line(int number)
{
    static char line[1024];
    const char *at = Text;
    while (--number > 0 && at)
        at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
    if (!at)
        return "";
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

#define CONTAINS(what)                                                                                                         \
    do {                                                                                                                       \
        if (!strstr(Text, what))                                                                                               \
            fail_msg("'%s' is not in:\n%s", what, Text);                                                                       \
    } while (0)

static NOINLINE void Manual(void)
{
    KeBugCheckEx(0xE2, 0x11, 0x22, 0x33, 0x44);
}

static void Block_FirstLinesExact_ThenWhereAndWho(void **state)
{
    (void)state;
    assert_int_equal(Die(Manual, "ram=32M"), SIGABRT);
    assert_string_equal(Line(1),
                        "*** STOP: 0x000000E2 (0x0000000000000011,0x0000000000000022,0x0000000000000033,0x0000000000000044)");
    assert_string_equal(Line(2), "MANUALLY_INITIATED_CRASH");
    assert_true(strlen(Line(3)) > 10);
    CONTAINS("  driver:     test_unit.report_test\n");
    CONTAINS("  function:   Manual (report_test.c:");
    CONTAINS("  IRQL:       0 (PASSIVE_LEVEL), processor ");
    CONTAINS("!Manual (report_test.c:");
    assert_null(strstr(Text, "KeBugCheckEx (")); /* the library's own frames are not shown */
}

static void Own(void)
{
    KeBugCheck(0xDEAD1234);
}

static void Block_UnknownCode_StillWhole(void **state)
{
    (void)state;
    assert_int_equal(Die(Own, "ram=32M"), SIGABRT);
    assert_string_equal(Line(1),
                        "*** STOP: 0xDEAD1234 (0x0000000000000000,0x0000000000000000,0x0000000000000000,0x0000000000000000)");
    CONTAINS("!Own (report_test.c:");
}

static NOINLINE PVOID Allocate(void)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 'tseT');
}
static NOINLINE void FirstFree(PVOID block)
{
    ExFreePoolWithTag(block, 'tseT');
}
static NOINLINE void SecondFree(PVOID block)
{
    ExFreePoolWithTag(block, 'tseT');
}
static void DoubleFree(void)
{
    PVOID volatile block = Allocate();
    FirstFree(block);
    SecondFree(block);
}

static void Block_PoolBlock_HasItsHistory(void **state)
{
    char *allocated, *freed;
    (void)state;
    assert_int_equal(Die(DoubleFree, "ram=32M,stacks=8"), SIGABRT);
    assert_string_equal(Line(2), "BAD_POOL_CALLER");
    CONTAINS("(report_test.c:");
    CONTAINS(", 100 bytes, tag 'Test', nonpaged pool, freed\n");
    allocated = strstr(Text, "  allocated by:\n");
    freed = strstr(Text, "  freed by:\n");
    assert_non_null(allocated);
    assert_non_null(freed);
    assert_true(allocated < freed);
    assert_non_null(strstr(allocated, "DoubleFree (report_test.c:"));
    assert_non_null(strstr(freed, "DoubleFree (report_test.c:"));
}

static volatile int *volatile Eight = (volatile int *)8;
static void Null(void)
{
    KeGetCurrentIrql(); /* starts the system */
    *Eight = 1;
}

static void Block_NullPointer_SaysSo(void **state)
{
    (void)state;
    assert_int_equal(Die(Null, "ram=32M"), SIGABRT);
    assert_string_equal(Line(2), "KMODE_EXCEPTION_NOT_HANDLED");
    assert_string_equal(Line(3),
                        "An access violation that nothing handled: a write to address 0x0000000000000008 (a NULL pointer).");
    CONTAINS("function:   Null (report_test.c:");
}

static UCHAR Data[64];
static NOINLINE void JumpIntoData(void)
{
    KeGetCurrentIrql(); /* starts the system */
    ((void (*)(void))(ULONG_PTR)Data)();
    __asm__ volatile("");
}
static NOINLINE void JumpToNull(void)
{
    void (*volatile Nowhere)(void) = NULL;
    KeGetCurrentIrql();
    Nowhere();
    __asm__ volatile("");
}

/* A jump astray: who jumped is named, since where it ended is nobody's code. */
static void Block_JumpAstray_NamesWhoJumped(void **state)
{
    (void)state;
    assert_int_equal(Die(JumpIntoData, "ram=32M"), SIGABRT);
    assert_string_equal(Line(2), "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY");
    CONTAINS("function:   JumpIntoData (report_test.c:");
    assert_int_equal(Die(JumpToNull, "ram=32M"), SIGABRT);
    assert_string_equal(Line(2), "KMODE_EXCEPTION_NOT_HANDLED");
    CONTAINS("function:   JumpToNull (report_test.c:");
}

static NOINLINE void CopyNowhere(void)
{
    static UCHAR Buffer[8192];
    PVOID volatile Nowhere = (PVOID)0x40;
    PVOID volatile Target = Buffer;
    volatile SIZE_T Length = sizeof Buffer;
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    RtlCopyMemory(Target, Nowhere, Length);
    KeLowerIrql(Old);
}

/* memcpy of the C library faults for its caller. */
static void Block_InsideMemcpy_NamesItsCaller(void **state)
{
    (void)state;
    assert_int_equal(Die(CopyNowhere, "ram=32M"), SIGABRT);
    assert_string_equal(Line(2), "DRIVER_IRQL_NOT_LESS_OR_EQUAL");
    CONTAINS("driver:     test_unit.report_test\n");
    CONTAINS("function:   CopyNowhere (report_test.c:");
}

static void Json_OneLine_SameFacts(void **state)
{
    json_t *root, *stop;
    (void)state;
    assert_int_equal(Die(DoubleFree, "ram=32M,json=1"), SIGABRT);
    assert_ptr_equal(strchr(Text, '\n'), Text + strlen(Text) - 1);
    root = json_loads(Text, 0, NULL);
    assert_non_null(root);
    stop = json_object_get(root, "stop");
    assert_string_equal(json_string_value(json_object_get(stop, "code")), "0x000000C2");
    assert_string_equal(json_string_value(json_object_get(stop, "name")), "BAD_POOL_CALLER");
    assert_string_equal(json_string_value(json_array_get(json_object_get(stop, "parameters"), 0)), "0x0000000000000007");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(stop, "block"), "size")), 100);
    assert_true(json_array_size(json_object_get(stop, "stack")) > 0);
    json_decref(root);
}

static void HighIrql(void)
{
    KIRQL old;
    KeRaiseIrql(HIGH_LEVEL, &old);
    Manual();
}

static void Block_AtHighIrql_IsPrinted(void **state)
{
    (void)state;
    assert_int_equal(Die(HighIrql, "ram=32M"), SIGABRT);
    CONTAINS("  IRQL:       15 (HIGH_LEVEL), processor ");
}

static void ThreadRoutine(PVOID context)
{
    UNREFERENCED_PARAMETER(context);
    Manual();
}
static void OnKernelStack(void)
{
    HANDLE thread;
    LARGE_INTEGER forever = {.QuadPart = -600000000};
    PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, ThreadRoutine, NULL);
    KeDelayExecutionThread(KernelMode, FALSE, &forever);
}

static void Block_OnKernelStack_IsPrinted(void **state)
{
    (void)state;
    assert_int_equal(Die(OnKernelStack, "ram=32M"), SIGABRT);
    CONTAINS("!ThreadRoutine (report_test.c:");
}

static void Handled(void)
{
    __try {
        Manual();
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        _exit(7);
    }
}

static void Block_InsideTry_HandlerNeverSeesIt(void **state)
{
    (void)state;
    assert_int_equal(Die(Handled, "ram=32M"), SIGABRT);
    CONTAINS("!Manual (report_test.c:");
}

static void BadCallback(PVOID buffer, ULONG length)
{
    UNREFERENCED_PARAMETER(length);
    *(volatile int *)buffer = 1;
}
static KBUGCHECK_CALLBACK_RECORD BadRecord;
static void FaultInCallback(void)
{
    KeInitializeCallbackRecord(&BadRecord);
    KeRegisterBugCheckCallback(&BadRecord, BadCallback, (PVOID)8, 4, (PUCHAR) "bad");
    Manual();
}

static void Stop_InsideStop_EndsWithTwoLines(void **state)
{
    (void)state;
    assert_int_equal(Die(FaultInCallback, "ram=32M"), SIGABRT);
    if (strncmp(Line(1), "*** STOP: 0x000000D1 (0x0000000000000008,0x000000000000000F,0x0000000000000001,", 79))
        fail_msg("%s", Text);
}

static void CatchManual(void *unused)
{
    (void)unused;
    Text[0] = 0; /* not like any other function here */
    Manual();
}

static void Data_FromCatch_ReportsTheSame(void **state)
{
    ntmm_bugcheck stop;
    size_t length;
    (void)state;
    assert_true(ntmm_catch(CatchManual, NULL, &stop));
    assert_string_equal(stop.driver, "test_unit.report_test");
    assert_int_equal(strncmp(stop.where, "Manual (report_test.c:", 22), 0);
    length = ntmm_report(&stop, false, Text, sizeof Text);
    assert_int_equal(length, strlen(Text));
    assert_string_equal(Line(2), "MANUALLY_INITIATED_CRASH");
    CONTAINS("!CatchManual (report_test.c:");
    assert_int_equal(ntmm_report(&stop, false, Text, 10), length); /* says what it needs */
    assert_int_equal(strlen(Text), 9);
}

static void Explain_KnownCodes_NameAndMeaning(void **state)
{
    uint64_t p[4] = {7, 0, 0x74736554, 0x1000};
    (void)state;
    assert_true(ntmm_explain(0xC2, p, 1, Text, sizeof Text) > 0);
    assert_string_equal(Line(1), "0x000000C2 BAD_POOL_CALLER");
    CONTAINS("double free");
    CONTAINS("Cure:");
    assert_true(ntmm_explain(0xC2, NULL, 0, Text, sizeof Text) > 0); /* all of them */
    CONTAINS("0x7:");
    CONTAINS("0x46:");
    p[0] = 0x12345;
    assert_true(ntmm_explain(0xC2, p, 1, Text, sizeof Text) > 0);
    CONTAINS("not ones that the documents name");
    p[0] = 0x20;
    assert_true(ntmm_explain(0x0A, p, 1, Text, sizeof Text) > 0);
    CONTAINS("NULL");
    p[3] = 0x23;
    assert_true(ntmm_explain(0xC1, p, 4, Text, sizeof Text) > 0); /* the fourth parameter selects */
    CONTAINS("underrun");
    assert_int_equal(ntmm_explain(0xDEAD1234, p, 4, Text, sizeof Text), 0);
    assert_string_equal(ntmm_bugcheck_name(0x139), "KERNEL_SECURITY_CHECK_FAILURE");
    assert_null(ntmm_bugcheck_name(0xDEAD1234));
}

/* Not instrumented: the pools' own check is what is tested. */
static NOINLINE __attribute__((no_sanitize("address", "thread"))) void Poke(volatile UCHAR *at, UCHAR value)
{
    *at = value;
}

static void Overrun(void *argument)
{
    PUCHAR block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 44, 'tseT');
    (void)argument;
    Poke(block + 45, 'Q');
    ExFreePool(block);
}

static void Picture_Overrun_MarksTheByte(void **state)
{
    ntmm_bugcheck stop;
    (void)state;
    assert_true(ntmm_catch(Overrun, NULL, &stop));
    assert_int_equal(stop.code, 0x19);
    assert_true(stop.picture_count > 0);
    unsigned at = (unsigned)((uint64_t)(uintptr_t)stop.block + 44 - stop.picture_start);
    assert_true(at > 0 && at + 4 < stop.picture_count);
    assert_memory_equal(stop.picture_marks + at - 1, "bs!s", 4);
    assert_int_equal(stop.picture_bytes[at + 1], 'Q');
    assert_int_equal(stop.picture_bytes[at], 0x5A);
    ntmm_report(&stop, false, Text, sizeof Text);
    CONTAINS(" b  s  !! s  s\n"); /* as text */
    CONTAINS("  usually: ");
    CONTAINS("  cure: ");
    ntmm_report(&stop, true, Text, sizeof Text);
    json_t *root = json_loads(Text, 0, NULL), *picture = json_object_get(json_object_get(root, "stop"), "picture");
    assert_int_equal(strlen(json_string_value(json_object_get(picture, "bytes"))),
                     2 * strlen(json_string_value(json_object_get(picture, "marks"))));
    assert_non_null(json_object_get(json_object_get(root, "stop"), "cure"));
    json_decref(root);
}

static void WriteNowhere(void *argument)
{
    __asm__ volatile("movl $7, (%0)" ::"r"(argument) : "memory");
}

static void Instruction_Write_IsDecoded(void **state)
{
    ntmm_bugcheck stop;
    PUCHAR block = ExAllocatePool2(POOL_FLAG_PAGED, 100, 'tseT');
    (void)state;
    assert_true(ntmm_catch(WriteNowhere, (PVOID)(((ULONG_PTR)block & ~0xFFFFFFull) + 0x10000000), &stop));
    ExFreePool(block);
    assert_int_equal(stop.code, 0x50);
    assert_non_null(strstr(stop.instruction, "mov dword ptr [r"));
    assert_non_null(strstr(stop.instruction, ": writes 4 bytes"));
    assert_int_equal(stop.picture_count, 0);
}

static void Instruction_NotTrapped_None(void **state)
{
    ntmm_bugcheck stop;
    (void)state;
    assert_true(ntmm_catch(Overrun, NULL, &stop));
    assert_string_equal(stop.instruction, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Block_FirstLinesExact_ThenWhereAndWho),
        cmocka_unit_test(Block_UnknownCode_StillWhole),
        cmocka_unit_test(Block_PoolBlock_HasItsHistory),
        cmocka_unit_test(Block_NullPointer_SaysSo),
        cmocka_unit_test(Block_JumpAstray_NamesWhoJumped),
        cmocka_unit_test(Block_InsideMemcpy_NamesItsCaller),
        cmocka_unit_test(Json_OneLine_SameFacts),
        cmocka_unit_test(Block_AtHighIrql_IsPrinted),
        cmocka_unit_test(Block_OnKernelStack_IsPrinted),
        cmocka_unit_test(Block_InsideTry_HandlerNeverSeesIt),
        cmocka_unit_test(Stop_InsideStop_EndsWithTwoLines),
        cmocka_unit_test(Data_FromCatch_ReportsTheSame),
        cmocka_unit_test(Explain_KnownCodes_NameAndMeaning),
        cmocka_unit_test(Picture_Overrun_MarksTheByte),
        cmocka_unit_test(Instruction_Write_IsDecoded),
        cmocka_unit_test(Instruction_NotTrapped_None),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
