/*
 * stack.c - stack captures and unwinding. SPDX-License-Identifier: MIT
 *
 * Two ways up a stack. The fast one follows saved frame pointers within the thread's own stack: tens of nanoseconds, for
 * every allocation. The thorough one asks libunwind, frame by frame, and the core (Upcalls.UnwindForeign) where the code is
 * not the host's: a PE image. Both walk through the trap entry (trap.S has a frame-pointer pair and call-frame information).
 *
 * A context's Rip is either the address of an instruction (a trap) or a return address, whose call may be the last
 * instruction of its function: it is taken for a return address if a call instruction ends there.
 *
 * Locks: none of ours. Not instrumented: it reads stacks as words. Tests: tests/hal/stack.c.
 */
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
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

static VOID HalpFromHost(HAL_CONTEXT *Context, const unw_context_t *Uc)
{
    const greg_t *G = Uc->uc_mcontext.gregs;
    *Context = (HAL_CONTEXT){(ULONG64)G[REG_RIP], (ULONG64)G[REG_RSP], (ULONG64)G[REG_RBP], (ULONG64)G[REG_RBX],
                             (ULONG64)G[REG_R12], (ULONG64)G[REG_R13], (ULONG64)G[REG_R14], (ULONG64)G[REG_R15],
                             (ULONG64)G[REG_RDI], (ULONG64)G[REG_RSI]};
}

static BOOLEAN HalpCursor(const HAL_CONTEXT *Context, unw_context_t *Uc, unw_cursor_t *Cursor)
{
    memset(Uc, 0, sizeof(*Uc));
    greg_t *G = Uc->uc_mcontext.gregs;
    G[REG_RIP] = (greg_t)Context->Rip;
    G[REG_RSP] = (greg_t)Context->Rsp;
    G[REG_RBP] = (greg_t)Context->Rbp;
    G[REG_RBX] = (greg_t)Context->Rbx;
    G[REG_R12] = (greg_t)Context->R12;
    G[REG_R13] = (greg_t)Context->R13;
    G[REG_R14] = (greg_t)Context->R14;
    G[REG_R15] = (greg_t)Context->R15;
    G[REG_RDI] = (greg_t)Context->Rdi;
    G[REG_RSI] = (greg_t)Context->Rsi;
    return unw_init_local2(Cursor, Uc, HalpFollowsCall(Context->Rip) ? 0 : UNW_INIT_SIGNAL_FRAME) == 0;
}

BOOLEAN HalUnwindFrame(HAL_CONTEXT *Context)
{
    static const int Register[] = {UNW_X86_64_RIP, UNW_X86_64_RSP, UNW_X86_64_RBP, UNW_X86_64_RBX, UNW_X86_64_R12,
                                   UNW_X86_64_R13, UNW_X86_64_R14, UNW_X86_64_R15, UNW_X86_64_RDI, UNW_X86_64_RSI};
    int SavedErrno = errno;
    BOOLEAN Good = FALSE;
    if (HalpIsHostCode(Context->Rip)) {
        unw_context_t Uc;
        unw_cursor_t Cursor;
        if (HalpCursor(Context, &Uc, &Cursor) && unw_step(&Cursor) > 0) {
            ULONG64 *Value[] = {&Context->Rip, &Context->Rsp, &Context->Rbp, &Context->Rbx, &Context->R12,
                                &Context->R13, &Context->R14, &Context->R15, &Context->Rdi, &Context->Rsi};
            for (ULONG i = 0; i < ARRAYSIZE(Register); i++) {
                unw_word_t Word;
                if (unw_get_reg(&Cursor, Register[i], &Word) == 0) {
                    *Value[i] = Word;
                }
            }
            Good = Context->Rip != 0;
        }
    }
    errno = SavedErrno;
    return Good;
}

static ULONG HalpFastWalk(ULONG_PTR Rbp, ULONG_PTR Floor, ULONG_PTR *Frames, ULONG Count, ULONG Max)
{
    ULONG_PTR Low, High;
    HalQueryStack(&Low, &High);
    if (Floor - HalpThread.EmergencyLow < HalpThread.EmergencyHigh - HalpThread.EmergencyLow) {
        High = HalpThread.EmergencyHigh;
    }
    while (Count < Max && Rbp >= Floor && Rbp <= High - 16 && (Rbp & 7) == 0) {
        ULONG_PTR Next = ((const ULONG_PTR *)Rbp)[0], Return = ((const ULONG_PTR *)Rbp)[1];
        if (Return < 0x1000) {
            break;
        }
        Frames[Count++] = Return;
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
        /* this function has saved and changed registers: step out of it as out of any other */
        unw_context_t Uc;
        unw_getcontext(&Uc);
        HalpFromHost(&Context, &Uc);
        HalUnwindFrame(&Context);
    }
    while (Count < Max) {
        ULONG_PTR Rsp = Context.Rsp;
        if (!HalUnwindFrame(&Context) &&
            (HalpIsHostCode(Context.Rip) || !HalpMachine.Upcalls.UnwindForeign || !HalpMachine.Upcalls.UnwindForeign(&Context))) {
            break;
        }
        if (Context.Rip == 0 || Context.Rsp <= Rsp) {
            break;
        }
        Frames[Count++] = Context.Rip;
    }
    return Count;
}
