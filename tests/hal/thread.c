/* thread.c - threads, waiting, waking: the contract over both machines. SPDX-License-Identifier: MIT */
#include "hal/kit.h"
#include <pthread.h>
#if !KIT_SCRIPTED
#include <signal.h>
#endif

static volatile LONG Word, Ran;
static int SlotA, SlotB;

static VOID JustRun(PVOID Argument)
{
    assert_null(HalCurrentThread()); /* not attached until it says so */
    assert_int_equal(HalSetCurrentThread(Argument), STATUS_SUCCESS);
    assert_ptr_equal(HalCurrentThread(), Argument);
    assert_int_equal(HalSetCurrentThread(&SlotB), STATUS_SUCCESS);
    assert_ptr_equal(HalCurrentThread(), &SlotB);
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
    HalSetCurrentThread(NULL);
    assert_null(HalCurrentThread());
}
static void Create_Join_RunsTheThread(void **State)
{
    (void)State;
    PHAL_THREAD Thread[8];
    Ran = 0;
    for (ULONG i = 0; i < 8; i++) {
        assert_int_equal(HalCreateThread(JustRun, &SlotA, NULL, 0, &Thread[i]), STATUS_SUCCESS);
    }
    for (ULONG i = 0; i < 8; i++) {
        HalJoinThread(Thread[i]);
    }
    assert_int_equal(Ran, 8);
}

static volatile BOOLEAN LeaveDeep = TRUE;
__attribute__((noinline)) static VOID Deeper(ULONG Levels)
{
    volatile CHAR Room[100];
    Room[0] = 1;
    if (Levels != 0) {
        Deeper(Levels - 1);
    } else if (LeaveDeep) {
        HalExitThread();
    }
    Ran = 99 + Room[0];
}
static VOID ExitDeep(PVOID Argument)
{
    UNREFERENCED_PARAMETER(Argument);
    Ran = 1;
    Deeper(20);
    Ran = 2;
}
static void Exit_EndsTheThreadFromAnyDepth(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    assert_int_equal(HalCreateThread(ExitDeep, NULL, NULL, 0, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_int_equal(Ran, 1);
}

static ULONG_PTR StackLow, StackHigh, LocalAt;
static VOID LookAtStack(PVOID Argument)
{
    volatile CHAR Local = 0;
    UNREFERENCED_PARAMETER(Argument);
    HalQueryStack(&StackLow, &StackHigh);
    LocalAt = (ULONG_PTR)__builtin_frame_address(0) + (ULONG_PTR)Local;
}
static void GivenStack_IsTheOneUsed(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    ULONG Pages = HalFacts.StackBytes / 4096;
    KitStop();
    KitStart(Pages + 10, 0);
    for (ULONG i = 0; i < Pages; i++) {
        KitMap(KitVa(50 + i), KIT_DATA + i, KIT_RW | KIT_NX);
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(50), Pages, HAL_FILL_PINNED), STATUS_SUCCESS);
    for (ULONG i = 0; i < 5; i++) { /* the stack can be used again after the join */
        assert_int_equal(HalCreateThread(LookAtStack, NULL, (PVOID)KitVa(50), HalFacts.StackBytes, &Thread), STATUS_SUCCESS);
        HalJoinThread(Thread);
        assert_true(LocalAt > StackLow && LocalAt < StackHigh);
#if !KIT_SCRIPTED /* the double runs it on a stack of the host's */
        assert_int_equal(StackLow, KitVa(50));
        assert_true(StackHigh <= KitVa(50) + HalFacts.StackBytes && StackHigh > KitVa(50) + 0x8000);
        assert_int_equal(StackHigh & 0xFFF, 0);
#endif
    }
    for (ULONG i = 0; i < Pages; i++) {
        KitUnmap(KitVa(50 + i));
    }
    HalFlushTb((PVOID)KitVa(50), Pages);
    assert_int_equal(Kit.Count, 0);
}
/* "the machine touches none of [Low, High), which need not even be present" */
static ULONG64 Away[64];
static VOID WithoutStack(PVOID Argument, ULONG_PTR StackPointer)
{
    assert_ptr_equal(Argument, Away);
    assert_true(StackPointer > StackLow && StackPointer < StackHigh);
#if !KIT_SCRIPTED
    ULONG Pages = (ULONG)((StackHigh - StackLow) / 4096);
    volatile LONG Never = 0;
    for (ULONG i = 0; i < Pages; i++) {
        KitUnmap(StackLow + i * 4096);
    }
    HalFlushTb((PVOID)StackLow, Pages);
    HalWait(&Never, 0, HalQueryTime() + 1000000);
    HalYield();
    for (ULONG i = 0; i < Pages; i++) {
        KitMap(StackLow + i * 4096, KIT_DATA + i, KIT_RW | KIT_NX);
    }
    assert_int_equal(HalFillTb((PVOID)StackLow, Pages, HAL_FILL_PINNED), STATUS_SUCCESS);
#endif
    Ran++;
}
static VOID LeavesItsStack(PVOID Argument)
{
    volatile ULONG64 Mine[64];
    UNREFERENCED_PARAMETER(Argument);
    HalQueryStack(&StackLow, &StackHigh);
    HalSetCurrentThread(&Away);
    for (ULONG Round = 0; Round < 3; Round++) {
        for (ULONG i = 0; i < 64; i++) {
            Mine[i] = Round * 100 + i;
        }
        assert_true(HalCallOffStack(WithoutStack, Away));
        for (ULONG i = 0; i < 64; i++) {
            assert_int_equal(Mine[i], Round * 100 + i);
        }
    }
    HalSetCurrentThread(NULL);
}
static void CallOffStack_TheStackMayBeAbsentMeanwhile(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    ULONG Pages = HalFacts.StackBytes / 4096;
    KitStop();
    KitStart(Pages + 10, 0);
    for (ULONG i = 0; i < Pages; i++) {
        KitMap(KitVa(50 + i), KIT_DATA + i, KIT_RW | KIT_NX);
    }
    assert_int_equal(HalFillTb((PVOID)KitVa(50), Pages, HAL_FILL_PINNED), STATUS_SUCCESS);
    Ran = 0;
    assert_int_equal(HalCreateThread(LeavesItsStack, NULL, (PVOID)KitVa(50), HalFacts.StackBytes, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_int_equal(Ran, 3);
    for (ULONG i = 0; i < Pages; i++) {
        KitUnmap(KitVa(50 + i));
    }
    HalFlushTb((PVOID)KitVa(50), Pages);
}
static void QueryStack_HoldsTheCallersFrames(void **State)
{
    (void)State;
    ULONG_PTR Low, High;
    HalQueryStack(&Low, &High);
    assert_true((ULONG_PTR)__builtin_frame_address(0) > Low && (ULONG_PTR)__builtin_frame_address(0) < High);
    PHAL_THREAD Thread;
    assert_int_equal(HalCreateThread(LookAtStack, NULL, NULL, 0, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_true(LocalAt > StackLow && LocalAt < StackHigh);
    assert_true(StackHigh - StackLow >= HalFacts.StackBytes);
}

/* ---- detaching ---- */
static PVOID Detached;
static volatile LONG DetachCount;
static VOID NoteDetach(PVOID Thread)
{
    Detached = Thread;
    DetachCount++;
    assert_ptr_equal(HalCurrentThread(), Thread);
}
static void *HostThread(void *Argument)
{
    HalSetCurrentThread(Argument);
    return NULL;
}
static void *TidyHostThread(void *Argument)
{
    HalSetCurrentThread(Argument);
    HalSetCurrentThread(NULL);
    return NULL;
}
static void HostThread_ThatEndsAttached_IsReported(void **State)
{
    (void)State;
    pthread_t Thread;
    KitOnDetach = NoteDetach;
    DetachCount = 0;
    assert_int_equal(pthread_create(&Thread, NULL, HostThread, &SlotA), 0);
    pthread_join(Thread, NULL);
    assert_ptr_equal(Detached, &SlotA);
    assert_int_equal(DetachCount, 1);
    assert_int_equal(pthread_create(&Thread, NULL, TidyHostThread, &SlotA), 0);
    pthread_join(Thread, NULL);
    assert_int_equal(DetachCount, 1);
}

#if !KIT_SCRIPTED
static pthread_barrier_t Barrier;
static void *StaysAttached(void *Argument)
{
    PVOID After;
    HalSetCurrentThread(Argument);
    pthread_barrier_wait(&Barrier);
    pthread_barrier_wait(&Barrier); /* the machine stops and another starts */
    __asm__ volatile("" : : : "memory");
    After = HalCurrentThread();
    HalSetCurrentThread(&SlotB);
    return After;
}
static void HostThread_AttachedWhenTheMachineStops_IsForgotten(void **State)
{
    (void)State;
    pthread_t Thread;
    void *After;
    pthread_barrier_init(&Barrier, NULL, 2);
    assert_int_equal(pthread_create(&Thread, NULL, StaysAttached, &SlotA), 0);
    pthread_barrier_wait(&Barrier);
    KitStop();
    KitStart(1024, 0);
    KitOnDetach = NoteDetach;
    DetachCount = 0;
    pthread_barrier_wait(&Barrier);
    pthread_join(Thread, &After);
    pthread_barrier_destroy(&Barrier);
    assert_null(After);
    assert_int_equal(DetachCount, 1); /* of the new machine */
    assert_ptr_equal(Detached, &SlotB);
}
#endif

/* ---- waits ---- */
static VOID WaitForWord(PVOID Argument)
{
    volatile LONG *At = (volatile LONG *)Argument;
    while (__atomic_load_n(At, __ATOMIC_SEQ_CST) == 0) {
        assert_true(HalWait(At, 0, HAL_FOREVER));
    }
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
}
static void Wait_Wake_HandsOver(void **State)
{
    (void)State;
    PHAL_THREAD Thread[4];
    Word = Ran = 0;
    for (ULONG i = 0; i < 4; i++) {
        assert_int_equal(HalCreateThread(WaitForWord, (PVOID)&Word, NULL, 0, &Thread[i]), STATUS_SUCCESS);
    }
    __atomic_store_n(&Word, 1, __ATOMIC_SEQ_CST);
    HalWake(&Word, MAXULONG);
    for (ULONG i = 0; i < 4; i++) {
        HalJoinThread(Thread[i]);
    }
    assert_int_equal(Ran, 4);
}
static void Wait_OtherValue_ReturnsAtOnce(void **State)
{
    (void)State;
    Word = 5;
    assert_true(HalWait(&Word, 4, HAL_FOREVER));
    assert_true(HalWait(&Word, 4, HalQueryTime() + 1000000000000ull));
}
static void Wait_DeadlineInThePast_IsFalse(void **State)
{
    (void)State;
    Word = 5;
    assert_false(HalWait(&Word, 5, HalQueryTime() - 1));
    assert_false(HalWait(&Word, 5, 0));
}
static VOID WaitTillDeadline(PVOID Argument)
{
    ULONG64 Deadline = *(ULONG64 *)Argument;
    while (HalWait(&Word, 0, Deadline)) {
    }
    assert_true(HalQueryTime() >= Deadline);
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
}
static void Wait_Deadline_Passes(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    ULONG64 Deadline = HalQueryTime() + 20000000;
    Word = Ran = 0;
    assert_int_equal(HalCreateThread(WaitTillDeadline, &Deadline, NULL, 0, &Thread), STATUS_SUCCESS);
#if KIT_SCRIPTED
    while (HalScriptWaiters() == 0) {
        HalYield();
    }
    HalScriptAdvanceTime(19999999);
    assert_int_equal(HalScriptWaiters(), 1);
    assert_int_equal(__atomic_load_n(&Ran, __ATOMIC_SEQ_CST), 0);
    HalScriptAdvanceTime(1);
#endif
    HalJoinThread(Thread);
    assert_int_equal(Ran, 1);
}
static volatile LONG Turn;
static VOID PingPong(PVOID Argument)
{
    LONG Me = (LONG)(ULONG_PTR)Argument;
    for (ULONG i = 0; i < 2000; i++) {
        LONG Seen;
        while ((Seen = __atomic_load_n(&Turn, __ATOMIC_SEQ_CST)) != Me) {
            HalWait(&Turn, Seen, HAL_FOREVER);
        }
        __atomic_store_n(&Turn, !Me, __ATOMIC_SEQ_CST);
        HalWake(&Turn, 1);
    }
    __atomic_add_fetch(&Ran, 1, __ATOMIC_SEQ_CST);
}
static void Wait_Wake_LosesNothing(void **State)
{
    (void)State;
    PHAL_THREAD Thread[2];
    Turn = Ran = 0;
    for (ULONG i = 0; i < 2; i++) {
        assert_int_equal(HalCreateThread(PingPong, (PVOID)(ULONG_PTR)i, NULL, 0, &Thread[i]), STATUS_SUCCESS);
    }
    for (ULONG i = 0; i < 2; i++) {
        HalJoinThread(Thread[i]);
    }
    assert_int_equal(Ran, 2);
}
static VOID MapWord(HAL_TRAP_FRAME *Frame)
{
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA + 3, KIT_RW);
}
static void Wait_WordInSimulatedMemory_IsLoaded(void **State)
{
    (void)State;
    KitOnFault = MapWord;
    volatile LONG *Simulated = (volatile LONG *)(KitVa(70) + 8);
    assert_false(HalWait(Simulated, 0, HalQueryTime())); /* not present: faults, is mapped, is zero, time is up */
    assert_int_equal(Kit.Count, 1);
    HalFlushTb((PVOID)KitVa(70), 1);
    assert_true(HalWait(Simulated, 1, HAL_FOREVER));
    assert_int_equal(Kit.Count, 1);
}

static VOID SeePcr(PVOID Argument)
{
    static ULONG64 Pcr[64];
    UNREFERENCED_PARAMETER(Argument);
    Pcr[1] = 0x77;
    HalSetPcr(Pcr);
    for (ULONG i = 0; i < 10; i++) {
        HalYield();
#if KIT_SCRIPTED
        assert_ptr_equal(HalScriptPcr(), Pcr);
        Ran = 0x77;
#else
        ULONG64 Value;
        __asm__ volatile("movq %%gs:8, %0" : "=r"(Value));
        Ran = (LONG)Value;
#endif
    }
}
static void Pcr_IsTheThreadsOwn(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    Ran = 0;
    assert_int_equal(HalCreateThread(SeePcr, NULL, NULL, 0, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    assert_int_equal(Ran, 0x77);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Create_Join_RunsTheThread),
        KIT_TEST(Exit_EndsTheThreadFromAnyDepth),
        KIT_TEST(GivenStack_IsTheOneUsed),
        KIT_TEST(CallOffStack_TheStackMayBeAbsentMeanwhile),
        KIT_TEST(QueryStack_HoldsTheCallersFrames),
        KIT_TEST(HostThread_ThatEndsAttached_IsReported),
#if !KIT_SCRIPTED
        KIT_TEST(HostThread_AttachedWhenTheMachineStops_IsForgotten),
#endif
        KIT_TEST(Wait_Wake_HandsOver),
        KIT_TEST(Wait_OtherValue_ReturnsAtOnce),
        KIT_TEST(Wait_DeadlineInThePast_IsFalse),
        KIT_TEST(Wait_Deadline_Passes),
        KIT_TEST(Wait_Wake_LosesNothing),
        KIT_TEST(Wait_WordInSimulatedMemory_IsLoaded),
        KIT_TEST(Pcr_IsTheThreadsOwn),
    };
    return cmocka_run_group_tests_name("hal.thread", Tests, NULL, NULL);
}
