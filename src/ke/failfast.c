/*
 * failfast.c - fast fail, the end of every structure whose links or counts do not agree. SPDX-License-Identifier: MIT
 *
 * RtlFailFast and FatalListEntryError, to which the inline list routines of wdm/rtl.h, and those with a lock, go. A
 * binary driver carries its own copies, which end in the instruction int 29h: trap.c makes the same stop of it (KiFailTrap).
 *
 * Bug check 0x139 KERNEL_SECURITY_CHECK_FAILURE: (code, trap frame, exception record, 0). A call has no trap frame: parameter 2
 * is then the frame address of the caller that noticed.
 *
 * None of the four says which structure it was. So that the report can, the stop carries pointers: the list entries that were compared, or
 * what the registers held at the int 29h.
 *
 * Watch it: tests/misuse/list_corrupt.c, tests/unit/story_test.c.
 */
#include "ke/kip.h"

static DECLSPEC_NORETURN VOID Fail(ULONG Code, ULONG_PTR Frame, PVOID At, PVOID First, PVOID Second)
{
    EXCEPTION_RECORD Record = {.ExceptionCode = STATUS_STACK_BUFFER_OVERRUN,
                               .ExceptionFlags = EXCEPTION_NONCONTINUABLE,
                               .ExceptionAddress = At,
                               .NumberParameters = 1,
                               .ExceptionInformation = {Code}};
    KI_BUGCHECK Stop = {.Code = KERNEL_SECURITY_CHECK_FAILURE,
                        .Parameters = {Code, Frame, (ULONG_PTR)&Record, 0},
                        .Pointers = {(ULONG_PTR)First, (ULONG_PTR)Second}};
    KiCurrentThread();
    KiBugCheck(&Stop);
}

DECLSPEC_NORETURN VOID RtlFailFast(ULONG Code)
{
    Fail(Code, (ULONG_PTR)__builtin_frame_address(0), __builtin_return_address(0), NULL, NULL);
}

DECLSPEC_NORETURN VOID FatalListEntryError(PVOID p1, PVOID p2, PVOID p3)
{
    UNREFERENCED_PARAMETER(p3); /* a neighbour of the first two, which the report finds by itself */
    Fail(FAST_FAIL_CORRUPT_LIST_ENTRY, (ULONG_PTR)__builtin_frame_address(0), __builtin_return_address(0), p1, p2);
}

/* Trap frame and exception record are data of this function's frame and the trap's, whose memory stays while the system stops. */
DECLSPEC_NORETURN VOID KiFailTrap(HAL_TRAP_FRAME *Frame)
{
    EXCEPTION_RECORD Record = {.ExceptionCode = STATUS_STACK_BUFFER_OVERRUN,
                               .ExceptionFlags = EXCEPTION_NONCONTINUABLE,
                               .ExceptionAddress = (PVOID)Frame->Rip,
                               .NumberParameters = 1,
                               .ExceptionInformation = {(ULONG)Frame->Rcx}};
    HAL_CONTEXT Context;
    KI_BUGCHECK Stop = {.Code = KERNEL_SECURITY_CHECK_FAILURE,
                        .Parameters = {(ULONG)Frame->Rcx, (ULONG_PTR)Frame, (ULONG_PTR)&Record, 0},
                        .Context = &Context,
                        .Registers = TRUE,
                        .Pointers = {Frame->Rax, Frame->Rbx, Frame->Rdx, Frame->Rsi, Frame->Rdi, Frame->Rbp, Frame->R8,
                                     Frame->R9, Frame->R10, Frame->R11, Frame->R12, Frame->R13, Frame->R14, Frame->R15}};
    KiContextOfTrap(Frame, &Context);
    KiBugCheck(&Stop);
}
