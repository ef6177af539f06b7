/* linux_stack.c - walking through the trap entry with every unwinder there is; foreign frames.
 * SPDX-License-Identifier: MIT */
#include "hal/kit.h"
#include <execinfo.h>
#include <unwind.h>

#define NOINLINE __attribute__((noinline, aligned(1024))) /* so that an address tells its function */

static BOOLEAN Within(ULONG_PTR Address, const void *Function)
{
    return Address - (ULONG_PTR)Function < 600;
}
static LONG FindIn(const ULONG_PTR *Frames, ULONG Count, const void *Function)
{
    for (ULONG i = 0; i < Count; i++) {
        if (Within(Frames[i], Function)) {
            return (LONG)i;
        }
    }
    return -1;
}
NOINLINE ULONG64 FaultsHere(volatile ULONG64 *Va);
NOINLINE ULONG64 CallsTheOneThatFaults(volatile ULONG64 *Va);
NOINLINE ULONG64 FaultsHere(volatile ULONG64 *Va)
{
    return *Va + 1;
}
NOINLINE ULONG64 CallsTheOneThatFaults(volatile ULONG64 *Va)
{
    return FaultsHere(Va) + 2;
}

static ULONG_PTR Thorough[64], Fast[64], Glibc[64], Gcc[64], FromFrame[64];
static ULONG ThoroughCount, FastCount, GlibcCount, GccCount, FromFrameCount;
static _Unwind_Reason_Code Note(struct _Unwind_Context *Context, void *Unused)
{
    (void)Unused;
    if (GccCount < ARRAYSIZE(Gcc)) {
        Gcc[GccCount++] = _Unwind_GetIP(Context);
    }
    return _URC_NO_REASON;
}
NOINLINE static VOID WalkAll(HAL_TRAP_FRAME *Frame)
{
    ThoroughCount = HalCaptureStack(NULL, Thorough, 64, 0);
    FastCount = HalCaptureStack(NULL, Fast, 64, HAL_STACK_FAST);
    GlibcCount = (ULONG)backtrace((void **)Glibc, 64);
    GccCount = 0;
    _Unwind_Backtrace(Note, NULL);
    HAL_CONTEXT Context = {Frame->Rip, Frame->Rsp, Frame->Rbp, Frame->Rbx, Frame->R12,
                           Frame->R13, Frame->R14, Frame->R15, Frame->Rdi, Frame->Rsi};
    FromFrameCount = HalCaptureStack(&Context, FromFrame, 64, 0);
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA, KIT_RW);
}
NOINLINE static void EveryUnwinder_WalksThroughTheTrapEntry(void **State)
{
    (void)State;
    KitOnFault = WalkAll;
    assert_int_equal(CallsTheOneThatFaults((volatile ULONG64 *)KitVa(3)), 3);
    struct {
        const ULONG_PTR *Frames;
        ULONG Count;
    } Walk[] = {
        {Thorough, ThoroughCount}, {Fast, FastCount}, {Glibc, GlibcCount}, {Gcc, GccCount}, {FromFrame, FromFrameCount}};
    for (ULONG i = 0; i < ARRAYSIZE(Walk); i++) {
        LONG Inner = FindIn(Walk[i].Frames, Walk[i].Count, (const void *)FaultsHere);
        LONG Outer = FindIn(Walk[i].Frames, Walk[i].Count, (const void *)CallsTheOneThatFaults);
        LONG Test = FindIn(Walk[i].Frames, Walk[i].Count, (const void *)EveryUnwinder_WalksThroughTheTrapEntry);
        if (i == 1 && Outer < 0) {
            Outer = Inner; /* a frame pointer walk misses the caller of a leaf that has no frame */
            Inner--;
        }
        if (Inner < 0 || Outer != Inner + 1 || Test != Outer + 1) {
            fail_msg("walk %u: %d %d %d of %u", i, Inner, Outer, Test, Walk[i].Count);
        }
    }
    assert_int_equal(FindIn(FromFrame, FromFrameCount, (const void *)FaultsHere), 0);
}

static ULONG Steps;
static VOID StepOut(HAL_TRAP_FRAME *Frame)
{
    HAL_CONTEXT Context = {Frame->Rip, Frame->Rsp, Frame->Rbp, Frame->Rbx, Frame->R12,
                           Frame->R13, Frame->R14, Frame->R15, Frame->Rdi, Frame->Rsi};
    while (!Within(Context.Rip, (const void *)CallsTheOneThatFaults)) {
        assert_true(HalUnwindFrame(&Context));
        Steps++;
    }
    /* go on there as if the inner call had returned */
    Frame->Rip = Context.Rip;
    Frame->Rsp = Context.Rsp;
    Frame->Rbp = Context.Rbp;
    Frame->Rbx = Context.Rbx;
    Frame->R12 = Context.R12;
    Frame->R13 = Context.R13;
    Frame->R14 = Context.R14;
    Frame->R15 = Context.R15;
    Frame->Rax = 40;
}
static void UnwindFrame_RestoresWhatACallerNeeds(void **State)
{
    (void)State;
    KitOnFault = StepOut;
    Steps = 0;
    assert_int_equal(CallsTheOneThatFaults((volatile ULONG64 *)KitVa(3)), 42);
    assert_int_equal(Steps, 1);
}

/* A function with the Microsoft convention preserves rdi and rsi; its frame says where it saved them. */
NOINLINE __attribute__((ms_abi)) static ULONG64 Microsoft(volatile ULONG64 *Va)
{
    ULONG64 Value;
    __asm__ volatile("xorl %%edi, %%edi; xorl %%esi, %%esi; movq (%1), %0"
                     : "=r"(Value)
                     : "r"(Va)
                     : "rdi", "rsi", "rbx", "xmm6", "xmm15", "memory");
    return Value;
}
static ULONG64 RdiThere, RsiThere;
static VOID StepOutOfMicrosoft(HAL_TRAP_FRAME *Frame)
{
    HAL_CONTEXT Context = {Frame->Rip, Frame->Rsp, Frame->Rbp, Frame->Rbx, Frame->R12,
                           Frame->R13, Frame->R14, Frame->R15, Frame->Rdi, Frame->Rsi};
    Context.Rdi = Context.Rsi = 0; /* as if changed further in */
    assert_true(HalUnwindFrame(&Context));
    RdiThere = Context.Rdi;
    RsiThere = Context.Rsi;
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA, KIT_RW);
}
static void UnwindFrame_RestoresRdiAndRsi(void **State)
{
    (void)State;
    KitOnFault = StepOutOfMicrosoft;
    ULONG64 Result;
    __asm__ volatile("movq %[f], %%r11\n\tmovq %%rsp, %%r12\n\tandq $-16, %%rsp\n\tsubq $32, %%rsp\n\t"
                     "movq $0x1DD1, %%rdi\n\tmovq $0x2552, %%rsi\n\tcall *%%r11\n\tmovq %%r12, %%rsp"
                     : "=a"(Result)
                     : [f] "r"(Microsoft), "c"(KitVa(3))
                     : "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
                       "xmm4", "xmm5");
    assert_int_equal(Result, 0);
    assert_int_equal(RdiThere, 0x1DD1);
    assert_int_equal(RsiThere, 0x2552);
}

/* Code in the kernel's range: the host's unwinder does not know it, the core's answer leads on. */
static ULONG Foreign;
static BOOLEAN KnowsForeign(HAL_CONTEXT *Context)
{
    if (!HalIsSystemAddress(Context->Rip)) {
        return FALSE;
    }
    Foreign++;
    Context->Rip = *(ULONG64 *)(Context->Rsp + 8); /* sub rsp, 8 */
    Context->Rsp += 16;
    return TRUE;
}
static VOID CaptureInside(VOID)
{
    ThoroughCount = HalCaptureStack(NULL, Thorough, 64, 0);
}
NOINLINE static void ForeignCode_IsUnwoundByTheCore(void **State)
{
    (void)State;
    static const UCHAR Code[] = {0x48, 0x83, 0xEC, 0x08, 0xFF, 0xD7,
                                 0x48, 0x83, 0xC4, 0x08, 0xC3}; /* sub rsp,8; call rdi; add rsp,8; ret */
    memcpy(HalWindow(KIT_DATA), Code, sizeof(Code));
    KitMap(KitVa(5), KIT_DATA, KIT_P);
    KitOnUnwind = KnowsForeign;
    Foreign = 0;
    ((VOID(*)(VOID(*)(VOID)))KitVa(5))(CaptureInside);
    assert_int_equal(Foreign, 1);
    LONG Test = FindIn(Thorough, ThoroughCount, (const void *)ForeignCode_IsUnwoundByTheCore);
    assert_int_equal(Test, 1);
    assert_int_equal(Thorough[0], KitVa(5) + 6);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(EveryUnwinder_WalksThroughTheTrapEntry),
        KIT_TEST(UnwindFrame_RestoresWhatACallerNeeds),
        KIT_TEST(UnwindFrame_RestoresRdiAndRsi),
        KIT_TEST(ForeignCode_IsUnwoundByTheCore),
    };
    return cmocka_run_group_tests_name("hal.linux_stack", Tests, NULL, NULL);
}
