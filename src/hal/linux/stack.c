/*
 * stack.c - stack captures and unwinding. SPDX-License-Identifier: MIT
 *
 * Two ways up a stack. The fast one follows saved frame pointers within the thread's own stack: tens of nanoseconds, for every
 * allocation. The thorough one steps by call-frame information (cfi.c), frame by frame. Where the code is not the host's but a PE
 * image's, both ask the core (Upcalls.UnwindForeign, which takes no lock). Both walk through the trap entry (trap.S has a
 * frame-pointer pair and call-frame information).
 *
 * A context's Rip is either the address of an instruction (a trap) or a return address, whose call may be the
 * last instruction of its function: it is taken for a return address if a call instruction ends there.
 *
 * Locks: none. Not instrumented: it reads stacks as words. Tests: tests/hal/stack.c, linux_stack.c.
 */
#include <dlfcn.h>
#include "hal/linux/halp.h"

/* Does host (ELF) code lie at Rip? Takes no lock. */
static BOOLEAN HalpIsHostCode(ULONG_PTR Rip)
{
    struct dl_find_object Object;
    return !HalpIsOurs(Rip) && _dl_find_object((PVOID)Rip, &Object) == 0;
}

static BOOLEAN HalpFollowsCall(ULONG_PTR Rip)
{
    const UCHAR *P = (const UCHAR *)Rip;
    if (((ULONG_PTR)P & 0xFFF) < 8) {
        return TRUE; /* do not read before the page */
    }
    return P[-5] == 0xE8 || (P[-2] == 0xFF && (P[-1] & 0x38) == 0x10) || (P[-3] == 0xFF && (P[-2] & 0x38) == 0x10) ||
           (P[-4] == 0xFF && (P[-3] & 0x38) == 0x10) || (P[-6] == 0xFF && (P[-5] & 0x38) == 0x10) ||
           (P[-7] == 0xFF && (P[-6] & 0x38) == 0x10);
}

VOID HalpKnownStack(ULONG_PTR Rsp, ULONG_PTR *Low, ULONG_PTR *High)
{
    HalQueryStack(Low, High);
    if (Rsp - HalpThread.EmergencyLow < HalpThread.EmergencyHigh - HalpThread.EmergencyLow) {
        *Low = HalpThread.EmergencyLow;
        *High = HalpThread.EmergencyHigh;
    }
    /* what lies below the walk's own stack pointer may not even be mapped yet */
    *Low = *Low <= Rsp && Rsp <= *High ? Rsp : *High;
}

BOOLEAN HalpReadable(ULONG_PTR Va)
{
    PHYSICAL_ADDRESS Physical;
    return HalpIsOurs(Va) ? HalTranslate(Va, &Physical) : HalProbeHostMemory((const VOID *)Va, 8, FALSE);
}

BOOLEAN HalUnwindFrame(HAL_CONTEXT *Context)
{
    return HalpIsHostCode(Context->Rip) && HalpStepFrame(Context, Context->Rip - HalpFollowsCall(Context->Rip));
}

static BOOLEAN HalpUnwindForeign(HAL_CONTEXT *Context)
{
    return HalpMachine.Upcalls.UnwindForeign && HalpMachine.Upcalls.UnwindForeign(Context);
}

/* Where Rip is no code, a call went astray: what it pushed is on top of the stack, and nothing else has changed. */
static BOOLEAN HalpStepOutOfJump(HAL_CONTEXT *Context)
{
    HAL_CONTEXT Caller = *Context, Outer;
    if ((Context->Rsp & 7) != 0 || !HalpReadable(Context->Rsp)) {
        return FALSE;
    }
    Caller.Rip = *(const ULONG_PTR *)Context->Rsp;
    Caller.Rsp += 8;
    Outer = Caller;
    if (!(HalpIsHostCode(Caller.Rip) ? HalpFollowsCall(Caller.Rip) : HalpUnwindForeign(&Outer))) {
        return FALSE;
    }
    *Context = Caller;
    return TRUE;
}

static ULONG HalpFastWalk(ULONG_PTR Rbp, ULONG_PTR Rsp, ULONG_PTR *Frames, ULONG Count, ULONG Max)
{
    ULONG_PTR Low, High;
    HalpKnownStack(Rsp, &Low, &High);
    while (Count < Max && Rbp >= Low && Rbp <= High - 16 && (Rbp & 7) == 0) {
        ULONG_PTR Next = ((const ULONG_PTR *)Rbp)[0], Return = ((const ULONG_PTR *)Rbp)[1];
        if (Return < 0x1000) {
            break;
        }
        Frames[Count++] = Return;
        if (HalpIsOurs(Return)) { /* PE code keeps no frame pointers: its own unwinding leads to whoever called it */
            HAL_CONTEXT Context = {.Rip = Return, .Rsp = Rbp + 16, .Rbp = Next};
            while (Count < Max && HalpIsOurs(Context.Rip)) {
                ULONG_PTR Before = Context.Rsp;
                if (!HalpUnwindForeign(&Context) || Context.Rip < 0x1000 || Context.Rsp <= Before) {
                    return Count;
                }
                Frames[Count++] = Context.Rip;
            }
            Next = Context.Rbp;
        }
        if (Next <= Rbp) {
            break;
        }
        Rbp = Next;
    }
    return Count;
}

__attribute__((noinline)) ULONG HalCaptureStack(const HAL_CONTEXT *From, ULONG_PTR *Frames, ULONG Max, ULONG Flags)
{
    ULONG Count = 0;
    HAL_CONTEXT Context;
    const ULONG_PTR *Here = (const ULONG_PTR *)__builtin_frame_address(0);
    if (From) {
        Context = *From;
        if (Max != 0) {
            Frames[Count++] = Context.Rip;
        }
    } else {
        /* the caller's frame: its caller is the first to be reported */
        Context = (HAL_CONTEXT){.Rip = Here[1], .Rsp = (ULONG_PTR)(Here + 2), .Rbp = Here[0]};
    }
    if (Flags & HAL_STACK_FAST) {
        return HalpFastWalk(Context.Rbp, Context.Rsp, Frames, Count, Max);
    }
    if (!From) {
        /* This function has saved and changed registers: it steps out of itself as out of any other. */
        __asm__ volatile("leaq 1f(%%rip), %%rax\n\tmovq %%rax, %[rip]\n\tmovq %%rsp, %[rsp]\n\tmovq %%rbp, %[rbp]\n\t"
                         "movq %%rbx, %[rbx]\n\tmovq %%r12, %[r12]\n\tmovq %%r13, %[r13]\n\tmovq %%r14, %[r14]\n\tmovq "
                         "%%r15, %[r15]\n"
                         "1:"
                         : [rip] "=m"(Context.Rip), [rsp] "=m"(Context.Rsp), [rbp] "=m"(Context.Rbp), [rbx] "=m"(Context.Rbx),
                           [r12] "=m"(Context.R12), [r13] "=m"(Context.R13), [r14] "=m"(Context.R14), [r15] "=m"(Context.R15)
                         :
                         : "rax", "memory");
        if (!HalpStepFrame(&Context, Context.Rip)) {
            return 0;
        }
    }
    while (Count < Max) {
        ULONG_PTR Rsp = Context.Rsp;
        BOOLEAN Stepped = HalpIsHostCode(Context.Rip) ? HalUnwindFrame(&Context) : HalpUnwindForeign(&Context);
        if (!Stepped && !(From && Count == 1 && HalpStepOutOfJump(&Context))) {
            break;
        }
        if (Context.Rip == 0 || Context.Rsp <= Rsp) {
            break;
        }
        Frames[Count++] = Context.Rip;
    }
    return Count;
}
