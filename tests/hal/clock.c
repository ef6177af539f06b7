/* clock.c - time and the clock. SPDX-License-Identifier: MIT */
#include "hal/kit.h"
#include <time.h>

static volatile LONG Rings;
static volatile ULONG64 RangAt;
static volatile BOOLEAN RangAttached;
static VOID Ring(VOID)
{
    RangAt = HalQueryTime();
    RangAttached = HalCurrentThread() != NULL;
    __atomic_add_fetch(&Rings, 1, __ATOMIC_SEQ_CST);
    HalWake(&Rings, MAXULONG);
}
/* Lets time pass until the clock has rung Count times in all. */
static VOID Await(LONG Count)
{
    LONG Seen;
    while ((Seen = __atomic_load_n(&Rings, __ATOMIC_SEQ_CST)) < Count) {
#if KIT_SCRIPTED
        HalScriptAdvanceTime(1000);
#else
        HalWait(&Rings, Seen, HAL_FOREVER);
#endif
    }
}
/* Lets time reach a point, through a wait that nobody wakes. */
static VOID AwaitTime(ULONG64 Until)
{
#if KIT_SCRIPTED
    if (HalQueryTime() < Until) {
        HalScriptAdvanceTime(Until - HalQueryTime());
    }
#else
    volatile LONG Nobody = 0;
    while (HalWait(&Nobody, 0, Until)) {
    }
#endif
}

static void Time_NeverGoesBack(void **State)
{
    (void)State;
    ULONG64 Before = HalQueryTime();
    for (ULONG i = 0; i < 10000; i++) {
        ULONG64 Now = HalQueryTime();
        assert_true(Now >= Before);
        Before = Now;
    }
    ULONG64 System = HalQuerySystemTime();
    AwaitTime(HalQueryTime() + 2000000);
    assert_true(HalQueryTime() >= Before + 2000000);
    assert_true(HalQuerySystemTime() > System);
}
static void SystemTime_CountsFrom1601(void **State)
{
    (void)State;
    /* 2020-01-01 and 2100-01-01 in 100 ns units */
    assert_true(HalQuerySystemTime() >= 132223104000000000ull);
    assert_true(HalQuerySystemTime() < 157469184000000000ull);
}
static void Clock_RingsOnce_AtItsTime_OnAnAttachedThread(void **State)
{
    (void)State;
    KitOnClock = Ring;
    Rings = 0;
    ULONG64 Deadline = HalQueryTime() + 3000000;
    HalSetClock(Deadline);
    Await(1);
    assert_true(RangAt >= Deadline);
    assert_true(RangAttached);
    AwaitTime(HalQueryTime() + 3000000);
    assert_int_equal(Rings, 1);
}
static void Clock_InThePast_RingsAtOnce(void **State)
{
    (void)State;
    KitOnClock = Ring;
    Rings = 0;
    HalSetClock(0);
    Await(1);
    HalSetClock(HalQueryTime());
    Await(2);
    assert_int_equal(Rings, 2);
}
static void Clock_NewDeadline_ReplacesTheOld(void **State)
{
    (void)State;
    KitOnClock = Ring;
    Rings = 0;
    ULONG64 Now = HalQueryTime(), Soon = Now + 2000000, Later = Now + 8000000;
    HalSetClock(Soon);
    HalSetClock(Later); /* out */
    Await(1);
    assert_true(RangAt >= Later);
    Now = HalQueryTime();
    HalSetClock(Now + 3600000000000ull);
    HalSetClock(Now + 1000000); /* in */
    Await(2);
    assert_true(RangAt >= Now + 1000000 && RangAt < Now + 3600000000000ull);
    assert_int_equal(Rings, 2);
}
static void Clock_Forever_Cancels(void **State)
{
    (void)State;
    KitOnClock = Ring;
    Rings = 0;
    ULONG64 Now = HalQueryTime();
    HalSetClock(Now + 20000000);
    HalSetClock(HAL_FOREVER);
    AwaitTime(Now + 40000000);
    assert_int_equal(Rings, 0);
}
static volatile ULONG64 Next;
static VOID RingAgain(VOID)
{
    Ring();
    if (Rings < 50) {
        Next += 100000;
        HalSetClock(Next);
    }
}
static void Clock_SetFromItsUpcall_GoesOn(void **State)
{
    (void)State;
    KitOnClock = RingAgain;
    Rings = 0;
    Next = HalQueryTime() + 100000;
    HalSetClock(Next);
    Await(50);
    assert_int_equal(Rings, 50);
}
static void Clock_PendingAtStop_IsForgotten(void **State)
{
    (void)State;
    KitOnClock = Ring;
    Rings = 0;
    HalSetClock(HalQueryTime() + 5000000);
    KitStop();
    KitStart(1024, 0);
    KitOnClock = Ring;
    AwaitTime(HalQueryTime() + 10000000);
    assert_int_equal(Rings, 0);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Time_NeverGoesBack),
        KIT_TEST(SystemTime_CountsFrom1601),
        KIT_TEST(Clock_RingsOnce_AtItsTime_OnAnAttachedThread),
        KIT_TEST(Clock_InThePast_RingsAtOnce),
        KIT_TEST(Clock_NewDeadline_ReplacesTheOld),
        KIT_TEST(Clock_Forever_Cancels),
        KIT_TEST(Clock_SetFromItsUpcall_GoesOn),
        KIT_TEST(Clock_PendingAtStop_IsForgotten),
    };
    return cmocka_run_group_tests_name("hal.clock", Tests, NULL, NULL);
}
