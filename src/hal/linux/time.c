/*
 * time.c - clock and time, entropy, console and halt. SPDX-License-Identifier: MIT
 *
 * Time is the host's monotonic clock. One thread waits for the deadline of HalSetClock and makes the Clock
 * upcall; it attaches itself (Upcalls.AttachThread) before the first. It sleeps on Sequence, which every
 * HalSetClock changes; a HalSetClock that only moves the deadline out does not wake it, it finds the new one
 * when it wakes for the old. When the machine stops the clock's thread leaves without a DetachThread upcall:
 * the core is already gone.
 *
 * Invariant 1: a deadline is taken by compare-and-swap with HAL_FOREVER, so each is announced at most once.
 * Locks: none. Tests: tests/hal/clock.c.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "hal/linux/halp.h"

static struct {
    volatile ULONG64 Deadline, SleepsUntil;
    volatile LONG Sequence, Stop;
    pthread_t Thread;
} HalpClock;

ULONG64 HalQueryTime(VOID)
{
    struct timespec Now;
    clock_gettime(CLOCK_MONOTONIC, &Now);
    return (ULONG64)Now.tv_sec * 1000000000u + (ULONG64)Now.tv_nsec;
}

ULONG64 HalQuerySystemTime(VOID)
{
    struct timespec Now;
    clock_gettime(CLOCK_REALTIME, &Now);
    return ((ULONG64)Now.tv_sec + 11644473600ull) * 10000000u + (ULONG64)Now.tv_nsec / 100;
}

static PVOID HalpClockThread(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    while (!__atomic_load_n(&HalpClock.Stop, __ATOMIC_ACQUIRE)) {
        LONG Sequence = __atomic_load_n(&HalpClock.Sequence, __ATOMIC_SEQ_CST);
        ULONG64 Deadline = __atomic_load_n(&HalpClock.Deadline, __ATOMIC_SEQ_CST);
        if (HalQueryTime() >= Deadline) {
            if (__atomic_compare_exchange_n(&HalpClock.Deadline, &Deadline, HAL_FOREVER, FALSE, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST)) {
                if (HalpCurrentThread == NULL && HalpMachine.Upcalls.AttachThread) {
                    HalpMachine.Upcalls.AttachThread();
                }
                HalpMachine.Upcalls.Clock();
            }
            continue;
        }
        __atomic_store_n(&HalpClock.SleepsUntil, Deadline, __ATOMIC_SEQ_CST);
        HalWait(&HalpClock.Sequence, Sequence, Deadline);
    }
    HalSetCurrentThread(NULL);
    return NULL;
}

VOID HalSetClock(ULONG64 Deadline)
{
    __atomic_store_n(&HalpClock.Deadline, Deadline, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&HalpClock.Sequence, 1, __ATOMIC_SEQ_CST);
    if (Deadline < __atomic_load_n(&HalpClock.SleepsUntil, __ATOMIC_SEQ_CST)) {
        HalWake(&HalpClock.Sequence, 1);
    }
}

NTSTATUS HalpStartClock(VOID)
{
    memset((PVOID)&HalpClock, 0, sizeof(HalpClock));
    HalpClock.Deadline = HalpClock.SleepsUntil = HAL_FOREVER;
    if (HalpMachine.Upcalls.Clock == NULL) {
        return STATUS_SUCCESS;
    }
    return HalpStartHostThread(&HalpClock.Thread, HalpClockThread) ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

VOID HalpStopClock(VOID)
{
    if (HalpMachine.Upcalls.Clock == NULL) {
        return;
    }
    __atomic_store_n(&HalpClock.Stop, 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&HalpClock.Sequence, 1, __ATOMIC_SEQ_CST);
    HalWake(&HalpClock.Sequence, 1);
    pthread_join(HalpClock.Thread, NULL);
}

ULONG64 HalQueryEntropy(VOID)
{
    ULONG64 Value = 0;
    while (HalpSyscall(SYS_getrandom, (ULONG64)&Value, sizeof(Value), 0, 0, 0, 0) != (LONG64)sizeof(Value)) {
    }
    return Value;
}

VOID HalPrint(const CHAR *Text, SIZE_T Length)
{
    CHAR Copy[512];
    while (Length != 0) {
        const CHAR *From = Text;
        SIZE_T Part = Length;
        if (HalpIsOurs((ULONG_PTR)Text)) {
            /* The host's kernel does not fault for us: what it is to read must be host memory. */
            Part = Part < sizeof(Copy) ? Part : sizeof(Copy);
            memcpy(Copy, Text, Part);
            From = Copy;
        }
        LONG64 Written = HalpSyscall(SYS_write, STDERR_FILENO, (ULONG64)From, Part, 0, 0, 0);
        if (HalpFailed(Written)) {
            if (Written == -EINTR || Written == -EAGAIN) {
                HalYield();
                continue;
            }
            return;
        }
        Text += Written;
        Length -= (SIZE_T)Written;
    }
}

VOID HalHalt(VOID)
{
    abort();
}

VOID HalpFatal(const CHAR *Words)
{
    HalPrint("ntmm: ", 6);
    HalPrint(Words, strlen(Words));
    HalPrint("\n", 1);
    abort();
}
