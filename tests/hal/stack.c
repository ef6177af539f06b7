/* stack.c - captures and unwinding over both machines. SPDX-License-Identifier: MIT */
#include "hal/kit.h"

#define NOINLINE __attribute__((noinline, aligned(1024))) /* so that an address tells its function */

static ULONG_PTR Frames[64];
static ULONG Count;
static ULONG Flags;

#define HERE                                                                                                                   \
    ((ULONG_PTR) __extension__({                                                                                               \
        __label__ Here;                                                                                                        \
    Here:                                                                                                                      \
        &&Here;                                                                                                                \
    }))
static BOOLEAN Within(ULONG_PTR Address, ULONG_PTR Function)
{
    return Address - Function < 400;
}
NOINLINE static ULONG Capture(VOID)
{
    Count = HalCaptureStack(NULL, Frames, ARRAYSIZE(Frames), Flags);
    __asm__ volatile("" : : : "memory"); /* no tail call */
    return Count;
}
NOINLINE static ULONG Inner(volatile ULONG *Deep)
{
    ULONG Result = Capture();
    return Result + *Deep;
}
NOINLINE static ULONG Outer(volatile ULONG *Deep)
{
    ULONG Result = Inner(Deep);
    return Result + *Deep;
}
NOINLINE static void Capture_NamesTheCallers_FromTheCallersCaller(void **State)
{
    (void)State;
    volatile ULONG Zero = 0;
    for (Flags = 0; Flags <= HAL_STACK_FAST; Flags++) {
        memset(Frames, 0, sizeof(Frames));
        assert_true(Outer(&Zero) >= 3);
        assert_true(Within(Frames[0], (ULONG_PTR)Inner)); /* the caller is Capture; its caller is the first */
        assert_true(Within(Frames[1], (ULONG_PTR)Outer));
        assert_true(Within(Frames[2], (ULONG_PTR)Capture_NamesTheCallers_FromTheCallersCaller));
    }
}
NOINLINE static ULONG Limited(ULONG Max)
{
    Count = HalCaptureStack(NULL, Frames, Max, Flags);
    __asm__ volatile("" : : : "memory");
    return Count;
}
static void Capture_StopsAtMax(void **State)
{
    (void)State;
    for (Flags = 0; Flags <= HAL_STACK_FAST; Flags++) {
        memset(Frames, 0, sizeof(Frames));
        assert_int_equal(Limited(1), 1);
        assert_int_not_equal(Frames[0], 0);
        assert_int_equal(Frames[1], 0);
        assert_int_equal(Limited(0), 0);
    }
}
static void Capture_FromAContext_BeginsWithItsRip(void **State)
{
    (void)State;
    HAL_CONTEXT Context = {0};
    Context.Rip = HERE;
    __asm__ volatile("movq %%rsp, %0; movq %%rbp, %1; movq %%rbx, %2; movq %%r12, %3"
                     : "=m"(Context.Rsp), "=m"(Context.Rbp), "=m"(Context.Rbx), "=m"(Context.R12));
    __asm__ volatile("movq %%r13, %0; movq %%r14, %1; movq %%r15, %2"
                     : "=m"(Context.R13), "=m"(Context.R14), "=m"(Context.R15));
    for (Flags = 0; Flags <= HAL_STACK_FAST; Flags++) {
        Count = HalCaptureStack(&Context, Frames, ARRAYSIZE(Frames), Flags);
        assert_true(Count >= 1);
        assert_int_equal(Frames[0], Context.Rip);
    }
}
static void Capture_BrokenFramePointers_StopWithoutAFault(void **State)
{
    (void)State;
    HAL_CONTEXT Context = {.Rip = (ULONG_PTR)Outer, .Rsp = (ULONG_PTR)__builtin_frame_address(0)};
    static const ULONG64 Bad[] = {0, 8, 0x123457, ~0ull, ~0ull - 7, 0x8000000000000000};
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        Context.Rbp = Bad[i];
        assert_int_equal(HalCaptureStack(&Context, Frames, ARRAYSIZE(Frames), HAL_STACK_FAST), 1);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Capture_NamesTheCallers_FromTheCallersCaller),
        KIT_TEST(Capture_StopsAtMax),
        KIT_TEST(Capture_FromAContext_BeginsWithItsRip),
        KIT_TEST(Capture_BrokenFramePointers_StopWithoutAFault),
    };
    return cmocka_run_group_tests_name("hal.stack", Tests, NULL, NULL);
}
