/*
 * KeSetKernelStackSwapEnable.c - kernel stacks that leave RAM while their threads wait in user mode. SPDX-License-Identifier: MIT
 *
 * Pages: KeSetKernelStackSwapEnable, KeWaitForSingleObject (WaitMode), KeDelayExecutionThread; Bug Check 0x77
 * KERNEL_STACK_INPAGE_ERROR, 0x94 KERNEL_STACK_LOCKED_AT_EXIT, 0xA.
 */
#include "mm_kit.h"
#include "ke/kip.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS (3 * PAGE_SIZE / 8) /* of the thread's locals: more than two pages */

typedef enum { WaitOne, WaitTwo, WaitStack, Delay } WAIT_KIND;
typedef struct _ROUND {
    WAIT_KIND Kind;
    KPROCESSOR_MODE Mode;
    BOOLEAN Locked, Swappable; /* KeSetKernelStackSwapEnable(FALSE) before the wait; what it returned */
    BOOLEAN LeaveLocked;
    LONGLONG Timeout; /* 0: none */
    KEVENT Go;
    ULONG64 *volatile Words; /* on the thread's stack */
    PKEVENT volatile OnStack;
    ULONG Wrong;
    NTSTATUS Status;
    PETHREAD Thread, Other; /* Other: a thread that does not end */
} ROUND;
static ROUND *Round;

__attribute__((noinline)) static NTSTATUS Wait(ROUND *R, PKEVENT Mine)
{
    LARGE_INTEGER Timeout = {.QuadPart = -R->Timeout}, *Limit = R->Timeout ? &Timeout : NULL;
    PVOID Two[2] = {&R->Go, R->Other};
    switch (R->Kind) {
    case WaitOne:
        return KeWaitForSingleObject(&R->Go, UserRequest, R->Mode, FALSE, Limit);
    case WaitTwo:
        return KeWaitForMultipleObjects(2, Two, WaitAny, UserRequest, R->Mode, FALSE, Limit, NULL);
    case WaitStack:
        return KeWaitForSingleObject(Mine, UserRequest, R->Mode, FALSE, Limit);
    default:
        return KeDelayExecutionThread(R->Mode, FALSE, &Timeout);
    }
}

static VOID Routine(PVOID Context)
{
    ROUND *R = Context;
    volatile ULONG64 Words[WORDS];
    KEVENT Mine;
    KeInitializeEvent(&Mine, NotificationEvent, FALSE);
    for (ULONG i = 0; i < WORDS; i++) {
        Words[i] = i * 0x9E3779B97F4A7C15ull;
    }
    R->OnStack = &Mine;
    __atomic_store_n(&R->Words, (ULONG64 *)(ULONG_PTR)Words, __ATOMIC_RELEASE);
    if (R->Locked) {
        R->Swappable = KeSetKernelStackSwapEnable(FALSE);
    }
    R->Status = Wait(R, &Mine);
    for (ULONG i = 0; i < WORDS; i++) {
        R->Wrong += Words[i] != i * 0x9E3779B97F4A7C15ull;
    }
    if (R->Locked && !R->LeaveLocked) {
        KeSetKernelStackSwapEnable(TRUE);
    }
}

static char Path[64];
static int Start(ntmm_swap_stacks Swap, BOOLEAN Check)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0; /* its pages come and go beside a test that counts */
    Options.ram = 64u << 20;
    Options.cpus = 2;
    Options.swap_stacks = Swap;
    Options.pagefile_check = Check;
    snprintf(Path, sizeof Path, "/tmp/ntmm-stacks-%d", (int)getpid());
    snprintf(Options.pagefile, sizeof Options.pagefile, "%s:16M", Path);
    return ntmm_start(&Options);
}
static int SetupAlways(void **State)
{
    (void)State;
    return Start(NTMM_SWAP_ALWAYS, FALSE);
}
static int SetupAuto(void **State)
{
    (void)State;
    return Start(NTMM_SWAP_AUTO, TRUE);
}
static int SetupNever(void **State)
{
    (void)State;
    return Start(NTMM_SWAP_NEVER, FALSE);
}
static int Teardown(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidateAll();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    return ntmm_stop() | (Broken ? -1 : 0);
}

static BOOLEAN Sleeps(PETHREAD Thread)
{
    KiLockDispatcher();
    BOOLEAN Waiting = Thread->Waiting;
    KiUnlockDispatcher();
    return Waiting;
}
static ROUND *Begin(WAIT_KIND Kind, KPROCESSOR_MODE Mode, BOOLEAN Locked)
{
    HANDLE Handle;
    OBJECT_ATTRIBUTES Attributes;
    ROUND *R = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *R, 'dnuR');
    assert_non_null(R);
    Round = R;
    R->Kind = Kind;
    R->Mode = Mode;
    R->Locked = Locked;
    KeInitializeEvent(&R->Go, NotificationEvent, FALSE);
    R->Other = PsGetCurrentThread();
    PETHREAD Thread;
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, &Attributes, NULL, NULL, Routine, R), STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *PsThreadType, KernelMode, (PVOID *)&Thread, NULL), 0);
    ZwClose(Handle);
    /* until it sleeps */
    while (!Sleeps(Thread) || __atomic_load_n(&R->Words, __ATOMIC_ACQUIRE) == NULL) {
        HalYield();
    }
    R->Thread = Thread;
    return R;
}
static void AwaitOut(void)
{
    while (KiCountStacksOut() == 0) {
        HalYield();
    }
}
static void End(ROUND *R)
{
    PETHREAD Thread = R->Thread;
    KeSetEvent(&R->Go, 0, FALSE);
    assert_int_equal(KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    ObDereferenceObject(Thread);
    assert_int_equal(R->Wrong, 0);
    ExFreePool(R);
}

/* "returns a BOOLEAN value that indicates whether stack swapping was enabled at the time that the call was initiated" */
static void SwapEnable_ReturnsWhatWas(void **State)
{
    (void)State;
    assert_true(KeSetKernelStackSwapEnable(TRUE));
    assert_true(KeSetKernelStackSwapEnable(FALSE));
    assert_false(KeSetKernelStackSwapEnable(FALSE));
    assert_false(KeSetKernelStackSwapEnable(TRUE));
    assert_true(KeSetKernelStackSwapEnable(TRUE));
    ROUND *R = Begin(WaitOne, KernelMode, TRUE); /* each thread has its own */
    assert_true(R->Swappable);
    End(R);
}

/* "If WaitMode = UserMode, and the wait lasts long enough, the memory manager might page out" the stack; all of it comes back. */
static void UserModeWait_StackLeaves_AndComesBack(void **State)
{
    (void)State;
    static const WAIT_KIND Kinds[] = {WaitOne, WaitTwo};
    for (ULONG i = 0; i < ARRAYSIZE(Kinds); i++) {
        ROUND *R = Begin(Kinds[i], UserMode, FALSE);
        AwaitOut();
        assert_false(MmIsAddressValid(R->Words));
        assert_false(MmIsAddressValid(&R->Words[WORDS - 1]));
        KitAssertValid();
        End(R);
        assert_int_equal(KiCountStacksOut(), 0);
    }
}

/* "Stack swapping never occurs for wait states that are initiated by kernel-mode components" */
static void KernelModeWait_StackStays(void **State)
{
    (void)State;
    ROUND *R = Begin(WaitOne, KernelMode, FALSE);
    KiTakeStacksOut(0);
    assert_int_equal(KiCountStacksOut(), 0);
    assert_true(MmIsAddressValid(R->Words));
    End(R);
}

/* "a thread can prevent the stack from being paged out by calling KeSetKernelStackSwapEnable and specifying Enable = FALSE" */
static void LockedStack_Stays(void **State)
{
    (void)State;
    ROUND *R = Begin(WaitStack, UserMode, TRUE);
    KiTakeStacksOut(0);
    assert_int_equal(KiCountStacksOut(), 0);
    assert_true(MmIsAddressValid(R->Words));
    assert_true(R->Swappable);
    KeSetEvent(R->OnStack, 0, FALSE); /* the documented way to have an event there */
    End(R);
}

static void TimedWaits_End(void **State)
{
    (void)State;
    static const WAIT_KIND Kinds[] = {WaitOne, WaitTwo, Delay};
    for (ULONG i = 0; i < ARRAYSIZE(Kinds); i++) {
        ROUND R = {.Kind = Kinds[i], .Mode = UserMode, .Timeout = 20000};
        HANDLE Handle;
        PETHREAD Thread;
        KeInitializeEvent(&R.Go, NotificationEvent, FALSE);
        R.Other = PsGetCurrentThread();
        assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, &R), STATUS_SUCCESS);
        assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, *PsThreadType, KernelMode, (PVOID *)&Thread, NULL), 0);
        ZwClose(Handle);
        KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(Thread);
        assert_int_equal(R.Wrong, 0);
        assert_int_equal(R.Status, Kinds[i] == Delay ? STATUS_SUCCESS : STATUS_TIMEOUT);
    }
}

/* A touch at low IRQL brings a page in, whoever makes it; at DISPATCH_LEVEL it is the bug. */
static void TouchOfAStackThatIsOut(void **State)
{
    (void)State;
    ROUND *R = Begin(WaitOne, UserMode, FALSE);
    AwaitOut();
    volatile ULONG64 *Word = &R->Words[700];
    KitExpectAccessStop(Word, DISPATCH_LEVEL, 'w', 0xD1, Word, 2, 1, KitStore);
    KitExpectAccessStop(Word, DISPATCH_LEVEL, 'r', 0xD1, Word, 2, 0, KitLoad);
    assert_int_equal(*Word, 700 * 0x9E3779B97F4A7C15ull);
    assert_true(MmIsAddressValid((PVOID)Word));
    assert_false(MmIsAddressValid((PVOID)(Word + 512)));
    KitAssertValid();
    End(R);
}

static void SetIt(void *Argument)
{
    KeSetEvent((PKEVENT)Argument, 0, FALSE);
}
/* "If WaitMode = UserMode ... do not allocate the event on the stack": KeSetEvent works on it at DISPATCH_LEVEL. */
static void EventOnTheStackOfAUserModeWait_0xA(void **State)
{
    (void)State;
    ROUND *R = Begin(WaitStack, UserMode, FALSE);
    AwaitOut();
    KitExpectStop(SetIt, R->OnStack, 0xA, R->OnStack, DISPATCH_LEVEL, 0, KiTouchAt);
    ntmm_bugcheck Stop;
    assert_true(ntmm_catch(SetIt, R->OnStack, &Stop));
    assert_non_null(strstr(Stop.words, "waits with UserMode"));
    /* resident by luck it works, as on Windows */
    (void)*(volatile UCHAR *)R->OnStack;
    (void)*((volatile UCHAR *)(R->OnStack + 1) - 1);
    KeSetEvent(R->OnStack, 0, FALSE);
    End(R);
}

/* The balance manager's way: dead pages are free at once, live ones go to the page file, and the frames of all can be had. */
static void ShortMemory_StackGoesToThePageFile(void **State)
{
    MM_COUNTERS Before, Out, In;
    (void)State;
    ROUND *R = Begin(WaitOne, UserMode, FALSE);
    PETHREAD Thread = R->Thread;
    while (__atomic_load_n(&Thread->StackState, __ATOMIC_ACQUIRE) != KiStackIdle) {
        HalYield();
    }
    assert_true(MmIsAddressValid(R->Words));                /* not asked for yet */
    assert_int_equal(KiTakeStacksOut(3600000000000ull), 0); /* nor has it waited for an hour */
    MmQueryCounters(&Before);
    ULONG64 Committed = KitCommitted();
    assert_true(KiTakeStacksOut(0) != 0);
    assert_int_equal(KiCountStacksOut(), 1);
    (void)MmTrimAllSystemPageableMemory(TRUE);
    MmQueryCounters(&Out);
    KitAssertValid();
    SIZE_T Pages = (Thread->StackHigh - Thread->StackLow) / PAGE_SIZE;
    assert_true(Out.NonPageableFrames + Pages <= Before.NonPageableFrames);
    assert_true(Out.AvailablePages >= Before.AvailablePages + Pages);
    assert_true(Out.PagesWritten >= Before.PagesWritten + WORDS * 8 / PAGE_SIZE);
    assert_int_equal(KitCommitted(), Committed);
    KeSetEvent(&R->Go, 0, FALSE);
    while (__atomic_load_n(&Thread->StackState, __ATOMIC_ACQUIRE) != KiStackIn) {
        HalYield();
    }
    MmQueryCounters(&In);
    assert_true(In.PagesRead >= Out.PagesRead + WORDS * 8 / PAGE_SIZE);
    End(R);
}

static void Never_StaysWhateverIsAsked(void **State)
{
    (void)State;
    ROUND *R = Begin(WaitOne, UserMode, FALSE);
    assert_int_equal(KiTakeStacksOut(0), 0);
    assert_true(MmIsAddressValid(R->Words));
    End(R);
}

/* ---- stops that end the system ---- */
static char Text[65536];
static unsigned long long Told[4]; /* what the child knew beforehand */
static int Tell = -1;
static void TellParent(ULONG64 A, ULONG64 B, ULONG64 C, ULONG64 D)
{
    ULONG64 All[4] = {A, B, C, D};
    (void)!write(Tell, All, sizeof All);
}
static void Die(void (*Function)(void))
{
    int Pipes[2], Facts[2], Status;
    size_t Used = 0;
    ssize_t Got;
    assert_int_equal(pipe(Pipes), 0);
    assert_int_equal(pipe(Facts), 0);
    pid_t Child = fork();
    if (Child == 0) {
        struct rlimit None = {0, 0};
        setrlimit(RLIMIT_CORE, &None);
        dup2(Pipes[1], 2);
        close(Pipes[0]);
        Tell = Facts[1];
        signal(SIGABRT, SIG_DFL);
        Function();
        _exit(0);
    }
    close(Pipes[1]);
    close(Facts[1]);
    while ((Got = read(Pipes[0], Text + Used, sizeof Text - 1 - Used)) > 0) {
        Used += (size_t)Got;
    }
    Text[Used] = 0;
    memset(Told, 0, sizeof Told);
    (void)!read(Facts[0], Told, sizeof Told);
    close(Pipes[0]);
    close(Facts[0]);
    waitpid(Child, &Status, 0);
    if (!WIFSIGNALED(Status) || WTERMSIG(Status) != SIGABRT) {
        fail_msg("the child ended with %x:\n%s", Status, Text);
    }
}
static void ExpectFirstLine(ULONG Code, ULONG64 P1, ULONG64 P2, ULONG64 P3, ULONG64 P4)
{
    char Line[256];
    snprintf(Line, sizeof Line, "*** STOP: 0x%08X (0x%016llX,0x%016llX,0x%016llX,0x%016llX)", Code, (unsigned long long)P1,
             (unsigned long long)P2, (unsigned long long)P3, (unsigned long long)P4);
    if (!strstr(Text, Line)) {
        fail_msg("not '%s' but:\n%s", Line, Text);
    }
}

static ULONG64 SignatureOf(PETHREAD Thread)
{
    return (Thread->StackPointer - 256) & ~15ull;
}
/* A stack out in the page file, and no copy of it in RAM. */
static ROUND *PutOut(BOOLEAN Check)
{
    if (Start(NTMM_SWAP_ALWAYS, Check) != 0) {
        _exit(9);
    }
    ROUND *R = Begin(WaitOne, UserMode, FALSE);
    AwaitOut();
    (void)MmTrimAllSystemPageableMemory(TRUE);
    return R;
}
static void Resume(ROUND *R)
{
    KeSetEvent(&R->Go, 0, FALSE);
    for (;;) { /* until the stop ends all */
        HalYield();
    }
}
/* Where the page of an address is: its slot. */
static MI_SLOT SlotOf(ULONG_PTR Va)
{
    return MiSlotOfPte(MiReadPte(MiPteOf(Va)));
}

/* The device holds something else for it from now on. */
static void Spoil(MI_SLOT Slot)
{
    PFN_NUMBER Frame = MiState->Paging.DummyPage;
    HAL_SPAN Span = {HalWindow(Frame), PAGE_SIZE};
    HAL_IO Io = {.Device = MiState->Paging.Files[MiSlotFile(Slot)].Device,
                 .Offset = (ULONG64)MiSlotOffset(Slot) << PAGE_SHIFT,
                 .Spans = &Span,
                 .SpanCount = 1,
                 .Write = TRUE};
    memset(Span.Base, 0x5A, PAGE_SIZE);
    HalTransferIo(&Io);
    if (!NT_SUCCESS(Io.Status)) {
        _exit(8);
    }
}

static void ReadError(void)
{
    ROUND *R = PutOut(FALSE);
    MI_SLOT Slot = SlotOf(R->Thread->StackHigh - PAGE_SIZE); /* wanted first */
    TellParent(MiSlotFile(Slot), (ULONG64)MiSlotOffset(Slot) << 12, 0, 0);
    ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, -1, 0, 0, 0);
    Resume(R);
}
static void ReadError_0x77_StatusTwice(void **State)
{
    (void)State;
    Die(ReadError);
    ExpectFirstLine(0x77, 0xC0000185, 0xC0000185, Told[0], Told[1]);
    assert_non_null(strstr(Text, "KERNEL_STACK_INPAGE_ERROR"));
}
static void WrongChecksum(void)
{
    ROUND *R = PutOut(TRUE);
    MI_SLOT Slot = SlotOf(R->Thread->StackHigh - PAGE_SIZE);
    TellParent(MiSlotFile(Slot), (ULONG64)MiSlotOffset(Slot) << 12, 0, 0);
    Spoil(Slot);
    Resume(R);
}
static void WrongChecksum_0x77_CrcError(void **State)
{
    (void)State;
    Die(WrongChecksum);
    ExpectFirstLine(0x77, 0xC000003F, 0xC000003F, Told[0], Told[1]);
}
static void ShortPage(void)
{
    ROUND *R = PutOut(FALSE);
    TellParent(SignatureOf(R->Thread), 0, 0, 0);
    ntmm_inject_disk_fault(NTMM_DISK_SHORT_READ, -1, 0, 0, 0);
    Resume(R);
}
static void ShortPage_0x77_2(void **State)
{
    (void)State;
    Die(ShortPage);
    ExpectFirstLine(0x77, 2, 0, 0, Told[0]);
}
static void Overwritten(void)
{
    if (Start(NTMM_SWAP_ALWAYS, FALSE) != 0) {
        _exit(9);
    }
    ROUND *R = Begin(WaitOne, UserMode, FALSE);
    AwaitOut();
    *(volatile ULONG64 *)SignatureOf(R->Thread) = 0x1234; /* a stray write: soft fault */
    TellParent(SignatureOf(R->Thread), 0, 0, 0);
    Resume(R);
}
static void SignatureGoneInMemory_0x77_0(void **State)
{
    (void)State;
    Die(Overwritten);
    ExpectFirstLine(0x77, 0, 0x1234, 0, Told[0]);
}
static void LostOnDisk(void)
{
    ROUND *R = PutOut(FALSE);
    ULONG64 At = SignatureOf(R->Thread);
    Spoil(SlotOf(At));
    TellParent(At, 0, 0, 0);
    Resume(R);
}
static void SignatureGoneOnDisk_0x77_1(void **State)
{
    (void)State;
    Die(LostOnDisk);
    ExpectFirstLine(0x77, 1, 0x5A5A5A5A5A5A5A5A, 0, Told[0]);
}
static void EndLocked(void)
{
    if (Start(NTMM_SWAP_AUTO, FALSE) != 0) {
        _exit(9);
    }
    ROUND *R = Begin(WaitOne, KernelMode, TRUE);
    R->LeaveLocked = TRUE;
    Resume(R);
}
/* "A thread must not exit (terminate) while stack swapping is disabled, or a system bug check will occur." */
static void EndingWithALockedStack_0x94(void **State)
{
    (void)State;
    Die(EndLocked);
    ExpectFirstLine(0x94, 0, 0, 0, 0);
}

#define WITH(Setup, Test) cmocka_unit_test_setup_teardown(Test, Setup, Teardown)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(ReadError_0x77_StatusTwice),
        cmocka_unit_test(WrongChecksum_0x77_CrcError),
        cmocka_unit_test(ShortPage_0x77_2),
        cmocka_unit_test(SignatureGoneInMemory_0x77_0),
        cmocka_unit_test(SignatureGoneOnDisk_0x77_1),
        cmocka_unit_test(EndingWithALockedStack_0x94),
        WITH(SetupAlways, SwapEnable_ReturnsWhatWas),
        WITH(SetupAlways, UserModeWait_StackLeaves_AndComesBack),
        WITH(SetupAlways, KernelModeWait_StackStays),
        WITH(SetupAlways, LockedStack_Stays),
        WITH(SetupAlways, TimedWaits_End),
        WITH(SetupAlways, TouchOfAStackThatIsOut),
        WITH(SetupAlways, EventOnTheStackOfAUserModeWait_0xA),
        WITH(SetupAuto, ShortMemory_StackGoesToThePageFile),
        WITH(SetupNever, Never_StaysWhateverIsAsked),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
