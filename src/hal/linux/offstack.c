/*
 * offstack.c - a thread leaves its kernel stack for a while. SPDX-License-Identifier: MIT
 *
 * A thread that HalCreateThread put on a stack in simulated memory shares the top of it with the host: its thread-local storage, its
 * thread record, words that the host's kernel writes at every switch of threads. Those pages stay. What the core runs begins on the
 * page below (HalpCallOnNewPage), so that everything it and the drivers leave on the stack is on pages of its own, and the
 * thread can do without them while it waits: HalCallOffStack calls on a small host stack meanwhile.
 *
 *     StackBytes -> ..........................  thread-local storage, the host's first frames: always mapped
 *     StackHigh --> page boundary
 *                   frames of core and drivers  may leave RAM while the thread is off its stack
 *     rsp --------> (HalpCallOnStack)
 *                   never used, or dead         may be thrown away then
 *     StackLow ---> guard page
 *
 *     Away: [guard page][host stack, made by the thread's first HalCallOffStack, kept until it is detached]
 *
 * Signals: handlers of the machine run on the alternate stack; those of a program that run where the thread is find the host stack.
 * The address sanitizer is told of the switch, or it would take the other stack's addresses for overruns.
 *
 * Not instrumented (flags.cmake). Tests: tests/hal/linux_stack.c, tests/ddi/KeSetKernelStackSwapEnable.c.
 */
#include <sys/mman.h>
#include "hal/linux/halp.h"

#define AWAY_BYTES 0x40000ull
#define GUARD      0x1000ull

#define WEAK __attribute__((weak))
VOID __sanitizer_start_switch_fiber(PVOID *Save, const VOID *Bottom, SIZE_T Bytes) WEAK;
VOID __sanitizer_finish_switch_fiber(PVOID Save, const VOID **OldBottom, SIZE_T *OldBytes) WEAK;

static VOID HalpAway(PVOID Argument, ULONG_PTR StackPointer)
{
    const VOID *Bottom = NULL;
    SIZE_T Bytes = 0;
    if (__sanitizer_finish_switch_fiber != NULL) {
        __sanitizer_finish_switch_fiber(NULL, &Bottom, &Bytes);
    }
    HalpThread.AwayFunction(Argument, StackPointer);
    if (__sanitizer_start_switch_fiber != NULL) {
        __sanitizer_start_switch_fiber(NULL, Bottom, Bytes);
    }
}

BOOLEAN HalCallOffStack(VOID (*Function)(PVOID Argument, ULONG_PTR StackPointer), PVOID Argument)
{
    if (HalpThread.AwayMapping == 0) {
        LONG64 Base =
            HalpMmap(0, GUARD + AWAY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (HalpFailed(Base)) {
            return FALSE;
        }
        HalpMprotect((ULONG64)Base, GUARD, PROT_NONE);
        HalpThread.AwayMapping = (ULONG_PTR)Base;
    }
    HalpThread.AwayFunction = Function;
    if (__sanitizer_start_switch_fiber != NULL) {
        __sanitizer_start_switch_fiber(&HalpThread.AwayFake, (const VOID *)(HalpThread.AwayMapping + GUARD), AWAY_BYTES);
    }
    HalpCallOnStack(HalpAway, Argument, HalpThread.AwayMapping + GUARD + AWAY_BYTES);
    if (__sanitizer_finish_switch_fiber != NULL) {
        __sanitizer_finish_switch_fiber(HalpThread.AwayFake, NULL, NULL);
    }
    return TRUE;
}

VOID HalpForgetAway(VOID)
{
    if (HalpThread.AwayMapping != 0) {
        HalpMunmap(HalpThread.AwayMapping, GUARD + AWAY_BYTES);
        HalpThread.AwayMapping = 0;
    }
}
