/*
 * list.c - fast fail, the end of every list whose links do not agree.
 *
 * The list helpers themselves are inline in wdm/rtl.h, as in the WDK; a binary driver carries its own copies,
 * which end in the instruction int 29h and reach the same stop through the trap handler.
 *
 * Bug check 0x139 KERNEL_SECURITY_CHECK_FAILURE: (code, trap frame, exception record, 0). There is no trap
 * here, so parameter 2 is the frame address of the caller that noticed; parameter 3 is an exception record of
 * the documented form. SPDX-License-Identifier: MIT
 */
#include "rtl/rtlp.h"

DECLSPEC_NORETURN VOID RtlFailFast(ULONG Code)
{
    EXCEPTION_RECORD Record = {0};
    Record.ExceptionCode = STATUS_STACK_BUFFER_OVERRUN;
    Record.ExceptionFlags = EXCEPTION_NONCONTINUABLE;
    Record.ExceptionAddress = __builtin_return_address(0);
    Record.NumberParameters = 1;
    Record.ExceptionInformation[0] = Code;
    KeBugCheckEx(KERNEL_SECURITY_CHECK_FAILURE, Code, (ULONG_PTR)__builtin_frame_address(0), (ULONG_PTR)&Record, 0);
}
