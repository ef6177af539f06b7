/* scripted_script.c - the script itself: records, failures, time, user mode, the console.
 * SPDX-License-Identifier: MIT */
#include "hal/kit.h"
#include <unistd.h>
#include <fcntl.h>

static void Calls_AreCountedWithTheirArguments(void **State)
{
    (void)State;
    ULONG64 Arguments[3];
    ULONG64 Before = HalScriptCalls(HalScriptFlushTb);
    HalFlushTb((PVOID)KitVa(7), 3);
    HalFlushTb((PVOID)KitVa(8), 4);
    assert_int_equal(HalScriptCalls(HalScriptFlushTb), Before + 2);
    assert_true(HalScriptLastCall(HalScriptFlushTb, Arguments));
    assert_int_equal(Arguments[0], KitVa(8));
    assert_int_equal(Arguments[1], 4);
    assert_false(HalScriptLastCall(HalScriptHalt, Arguments));
}
static VOID Nothing(PVOID Argument)
{
    UNREFERENCED_PARAMETER(Argument);
}
static void TheNthCall_Fails_Once(void **State)
{
    (void)State;
    PHAL_THREAD Thread;
    KitMap(KitVa(1), KIT_DATA, KIT_RW);
    HalScriptFail(HalScriptFillTb, 2);
    assert_int_equal(HalFillTb((PVOID)KitVa(1), 1, 0), STATUS_SUCCESS);
    assert_int_equal(HalFillTb((PVOID)KitVa(1), 1, 0), STATUS_NO_MEMORY);
    assert_int_equal(HalFillTb((PVOID)KitVa(1), 1, 0), STATUS_SUCCESS);
    HalScriptFail(HalScriptCreateThread, 1);
    assert_int_equal(HalCreateThread(Nothing, NULL, NULL, 0, &Thread), STATUS_INSUFFICIENT_RESOURCES);
    assert_null(Thread);
    assert_int_equal(HalCreateThread(Nothing, NULL, NULL, 0, &Thread), STATUS_SUCCESS);
    HalJoinThread(Thread);
    HalScriptFail(HalScriptProbeHostMemory, 1);
    assert_false(HalProbeHostMemory(&Thread, 8, FALSE));
    assert_true(HalProbeHostMemory(&Thread, 8, FALSE));
    HalScriptFail(HalScriptSetCurrentThread, 1);
    assert_int_equal(HalSetCurrentThread(&Thread), STATUS_INSUFFICIENT_RESOURCES);
    KitStop();
    HAL_MACHINE Machine = KitMachine(1024);
    HalScriptFail(HalScriptStartMachine, 1);
    assert_int_equal(HalStartMachine(&Machine), STATUS_NO_MEMORY);
    HalScriptFail(HalScriptStartMachine, 1);
    HalScriptFail(HalScriptStartMachine, 0);
    KitStart(1024, 0);
}
static void Time_StandsStill(void **State)
{
    (void)State;
    ULONG64 Now = HalQueryTime(), System = HalQuerySystemTime();
    assert_int_equal(HalQueryTime(), Now);
    HalScriptAdvanceTime(12345600);
    assert_int_equal(HalQueryTime(), Now + 12345600);
    assert_int_equal(HalQuerySystemTime(), System + 123456);
}
static ULONG64 Rang[4];
static ULONG Rings;
static VOID Ring(VOID)
{
    Rang[Rings++] = HalQueryTime();
    if (Rings < 3) {
        HalSetClock(HalQueryTime() + 50);
    }
}
static void Clock_IsMetInOrder_AtExactTimes(void **State)
{
    (void)State;
    ULONG64 Now = HalQueryTime();
    KitOnClock = Ring;
    Rings = 0;
    HalSetClock(Now + 100);
    HalScriptAdvanceTime(1000);
    assert_int_equal(Rings, 3);
    assert_int_equal(Rang[0], Now + 100);
    assert_int_equal(Rang[1], Now + 150);
    assert_int_equal(Rang[2], Now + 200);
    assert_int_equal(HalQueryTime(), Now + 1000);
}
static VOID Refuse(HAL_TRAP_FRAME *Frame)
{
    KitRefuse(Frame);
}
static void UserMode_NeedsTheUserBitAtEveryLevel(void **State)
{
    (void)State;
    UCHAR Byte;
    KitOnFault = Refuse;
    KitMap(KitVa(1), KIT_DATA, KIT_RW);
    KitMap(KitVa(2), KIT_DATA + 1, KIT_RW | KIT_U);
    assert_false(HalScriptAccess(KitVa(1), 1, HAL_SCRIPT_READ | HAL_SCRIPT_USER, &Byte));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_USER | HALP_FAULT_PROTECTION);
    assert_int_equal(Kit.Last.Cs & 3, 3);
    assert_true(HalScriptAccess(KitVa(1), 1, HAL_SCRIPT_READ, &Byte));
    assert_false(HalScriptAccess(KitVa(1), 1, HAL_SCRIPT_READ | HAL_SCRIPT_USER, &Byte)); /* cached, still not the user's */
    assert_true(HalScriptAccess(KitVa(2), 1, HAL_SCRIPT_WRITE | HAL_SCRIPT_USER, &Byte));
    *KitPde(KitVa(2)) &= ~KIT_U;
    HalFlushTb((PVOID)KitVa(2), 1);
    assert_false(HalScriptAccess(KitVa(2), 1, HAL_SCRIPT_READ | HAL_SCRIPT_USER, &Byte));
}
static void Access_AcrossPages_IsMadeInParts(void **State)
{
    (void)State;
    UCHAR Bytes[9000], Back[9000];
    for (ULONG i = 0; i < 4; i++) {
        KitMap(KitVa(i), KIT_DATA + 10 - i, KIT_RW);
    }
    for (ULONG i = 0; i < sizeof(Bytes); i++) {
        Bytes[i] = (UCHAR)(i * 3);
    }
    assert_true(HalScriptAccess(KitVa(0) + 4000, sizeof(Bytes), HAL_SCRIPT_WRITE, Bytes));
    assert_true(HalScriptAccess(KitVa(0) + 4000, sizeof(Back), HAL_SCRIPT_READ, Back));
    assert_memory_equal(Bytes, Back, sizeof(Bytes));
    assert_int_equal(*(PUCHAR)KitFrame(KIT_DATA + 9), Bytes[96]);
}
static VOID Skip(HAL_TRAP_FRAME *Frame)
{
    assert_int_equal(Frame->Vector, 13);
    Frame->Rip += 2;
}
static void Trap_IsAnUpcall(void **State)
{
    (void)State;
    KitOnTrap = Skip;
    assert_int_equal(HalScriptTrap(13, (0x29 << 3) | 2, 0x1000), 0x1002);
    assert_int_equal(Kit.Last.ErrorCode, (0x29 << 3) | 2);
}
static jmp_buf Halted;
static VOID OnHalt(VOID)
{
    longjmp(Halted, 1);
}
static void Console_IsKept_HaltCanBeCaught(void **State)
{
    (void)State;
    int Real = dup(2), Null = open("/dev/null", O_WRONLY);
    dup2(Null, 2);
    HalPrint("one ", 4);
    HalPrint("two", 3);
    dup2(Real, 2);
    close(Real);
    close(Null);
    assert_non_null(strstr(HalScriptPrinted(), "one two"));
    HalScriptOnHalt(OnHalt);
    if (setjmp(Halted) == 0) {
        HalHalt();
    }
    HalScriptOnHalt(NULL);
    assert_int_equal(HalScriptCalls(HalScriptHalt), 1);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Calls_AreCountedWithTheirArguments),
        KIT_TEST(TheNthCall_Fails_Once),
        KIT_TEST(Time_StandsStill),
        KIT_TEST(Clock_IsMetInOrder_AtExactTimes),
        KIT_TEST(UserMode_NeedsTheUserBitAtEveryLevel),
        KIT_TEST(Access_AcrossPages_IsMadeInParts),
        KIT_TEST(Trap_IsAnUpcall),
        KIT_TEST(Console_IsKept_HaltCanBeCaught),
    };
    return cmocka_run_group_tests_name("hal.scripted_script", Tests, NULL, NULL);
}
