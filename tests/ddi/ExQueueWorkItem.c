/*
 * ExQueueWorkItem.c - work items, and debug output (pages ExQueueWorkItem, ExInitializeWorkItem, DbgPrint, DbgPrintEx).
 * SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include "ex/work.h"
#include <unistd.h>
#include <stdlib.h>

static volatile LONG Ran;
static KIRQL RanAt;
static BOOLEAN RanOnSystemThread;
static KEVENT Event;

static VOID Count(PVOID Parameter)
{
    if (Parameter != NULL) { /* one item alone: others run side by side */
        RanAt = KeGetCurrentIrql();
        RanOnSystemThread = PsIsSystemThread(PsGetCurrentThread()) && PsGetCurrentThreadId() != (HANDLE)Parameter;
    }
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
}

/* "inserts the specified work item into a queue from which a system worker thread removes the item and gives control to the
 * routine", "at IRQL = PASSIVE_LEVEL in a system thread". */
static void WorkItem_Queued_RunsAtPassiveInAWorker(void **State)
{
    WORK_QUEUE_ITEM Item;

    (void)State;
    Ran = 0;
    ExInitializeWorkItem(&Item, Count, PsGetCurrentThreadId());
    ExQueueWorkItem(&Item, DelayedWorkQueue);
    ExpDrainWork();
    assert_int_equal(Ran, 1);
    assert_int_equal(RanAt, PASSIVE_LEVEL);
    assert_true(RanOnSystemThread);
}

/* "Callers ... must be running at IRQL <= DISPATCH_LEVEL". */
static void WorkItem_QueuedAtDispatch_Runs(void **State)
{
    static WORK_QUEUE_ITEM Items[50];
    KIRQL Old;

    (void)State;
    Ran = 0;
    Old = KeRaiseIrqlToDpcLevel();
    for (int Index = 0; Index < 50; Index++) {
        ExInitializeWorkItem(&Items[Index], Count, NULL);
        ExQueueWorkItem(&Items[Index], Index % 2 ? CriticalWorkQueue : DelayedWorkQueue);
    }
    KeLowerIrql(Old);
    ExpDrainWork();
    assert_int_equal(Ran, 50);
    assert_null(ExpValidateWork());
}

static VOID Again(PVOID Parameter)
{
    if (__atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST) < 10) {
        ExQueueWorkItem((PWORK_QUEUE_ITEM)Parameter, DelayedWorkQueue);
    }
}

/* The item is its owner's again when the routine is called: it may be queued anew from there. */
static void WorkItem_QueuedFromItsRoutine_RunsAgain(void **State)
{
    WORK_QUEUE_ITEM Item;

    (void)State;
    Ran = 0;
    ExInitializeWorkItem(&Item, Again, &Item);
    ExQueueWorkItem(&Item, DelayedWorkQueue);
    ExpDrainWork();
    assert_int_equal(Ran, 10);
}

static VOID Block(PVOID Parameter)
{
    (void)Parameter;
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL);
}

static VOID Unblock(PVOID Parameter)
{
    (void)Parameter;
    KeSetEvent(&Event, 0, FALSE);
}

/* Items that wait for a later item do not block it: more workers are made. */
static void WorkItem_OthersBlock_StillRuns(void **State)
{
    WORK_QUEUE_ITEM Blockers[10], Item;

    (void)State;
    Ran = 0;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    for (int Index = 0; Index < 10; Index++) {
        ExInitializeWorkItem(&Blockers[Index], Block, NULL);
        ExQueueWorkItem(&Blockers[Index], DelayedWorkQueue);
    }
    ExInitializeWorkItem(&Item, Unblock, NULL);
    ExQueueWorkItem(&Item, DelayedWorkQueue);
    ExpDrainWork();
    assert_int_equal(Ran, 10);
}

static char Printed[2048];

/* What a routine writes to the console. */
static void Capture(void (*Say)(void))
{
    char Path[] = "/tmp/ntmm-print-XXXXXX";
    int File = mkstemp(Path), Saved = dup(2);
    ssize_t Length;

    assert_true(File >= 0 && Saved >= 0);
    unlink(Path);
    dup2(File, 2);
    Say();
    dup2(Saved, 2);
    close(Saved);
    Length = pread(File, Printed, sizeof Printed - 1, 0);
    assert_true(Length >= 0);
    Printed[Length] = 0;
    close(File);
}

static void SayStrings(void)
{
    UNICODE_STRING Wide;
    ANSI_STRING Narrow;

    RtlInitUnicodeString(&Wide, L"wide");
    RtlInitAnsiString(&Narrow, "narrow");
    DbgPrint("%d %x %s %ws %wZ %Z %I64x\n", -5, 0xabcu, "text", L"w", &Wide, &Narrow, 0x123456789abcdefull);
}

/* "prints up to 512 bytes"; %wZ, %Z, %ws, %I64x as in the page on format specifications. */
static void DbgPrint_Forms_AppearOnTheConsole(void **State)
{
    (void)State;
    Capture(SayStrings);
    assert_string_equal(Printed, "-5 abc text w wide narrow 123456789abcdef\n");
}

static void SayLong(void)
{
    DbgPrint("%600s", "x");
}

static void DbgPrint_LongerThan512_IsCut(void **State)
{
    (void)State;
    Capture(SayLong);
    assert_int_equal(strlen(Printed), 512);
}

static void SayLevels(void)
{
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "error\n");
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "hidden\n");
    DbgSetDebugFilterState(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, TRUE);
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "shown %u\n", 1u);
    DbgSetDebugFilterState(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, FALSE);
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "hidden\n");
}

/* "DbgPrintEx ... sends a string ... if certain conditions are met": the component's mask has the level's bit. */
static void DbgPrintEx_Level_GoesByTheFilter(void **State)
{
    (void)State;
    Capture(SayLevels);
    assert_string_equal(Printed, "error\nshown 1\n");
}

static void Break(void *Argument)
{
    (void)Argument;
    DbgBreakPoint();
}

/* A breakpoint raises STATUS_BREAKPOINT, which a handler may take. */
static void DbgBreakPoint_Handled_IsABreakpointException(void **State)
{
    (void)State;
    assert_int_equal(RaisedBy(Break, NULL), STATUS_BREAKPOINT);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(WorkItem_Queued_RunsAtPassiveInAWorker),
        cmocka_unit_test(WorkItem_QueuedAtDispatch_Runs),
        cmocka_unit_test(WorkItem_QueuedFromItsRoutine_RunsAgain),
        cmocka_unit_test(WorkItem_OthersBlock_StillRuns),
        cmocka_unit_test(DbgPrint_Forms_AppearOnTheConsole),
        cmocka_unit_test(DbgPrint_LongerThan512_IsCut),
        cmocka_unit_test(DbgPrintEx_Level_GoesByTheFilter),
        cmocka_unit_test(DbgBreakPoint_Handled_IsABreakpointException),
    };

    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
