/*
 * debug.c - debug output and breaks. SPDX-License-Identifier: MIT
 *
 * Implements DbgPrint, DbgPrintEx, vDbgPrintEx, vDbgPrintExWithPrefix, DbgSetDebugFilterState, DbgQueryDebugFilterState,
 * DbgBreakPoint, DbgBreakPointWithStatus, RtlAssert, and the variables KdDebuggerEnabled and KdDebuggerNotPresent.
 *
 * The text is formatted on the caller's stack, at the caller's IRQL and with its faults (a format in pageable memory at
 * DISPATCH_LEVEL is the caller's error), cut to 512 bytes as documented, and handed to the machine's console whole. What
 * DbgPrint says always appears, which is more than an unconfigured Windows shows; DbgPrintEx goes by the component's mask, in
 * which only the error level is set at the start.
 *
 * There is no debugger: a break is a breakpoint exception, which a handler may take and which else stops the system with
 * KMODE_EXCEPTION_NOT_HANDLED and STATUS_BREAKPOINT, as on a machine without one.
 */
#include "ke/kip.h"
#include "rtl/rtlp.h"

#define KD_TEXT_BYTES 512
#define KD_COMPONENTS 160

static ULONG KdFilterMask[KD_COMPONENTS]; /* beside the error level, which always passes */
static BOOLEAN KdEnabled = FALSE;
static BOOLEAN KdNotPresent = TRUE;
PBOOLEAN KdDebuggerEnabled = &KdEnabled;
PBOOLEAN KdDebuggerNotPresent = &KdNotPresent;

static ULONG KdpLevelMask(ULONG Level)
{
    return Level < 32 ? (ULONG)1 << Level : Level & ~(ULONG)DPFLTR_MASK;
}

BOOLEAN KdpPasses(ULONG ComponentId, ULONG Level)
{
    ULONG Mask = KdpLevelMask(Level);

    if (ComponentId >= KD_COMPONENTS) {
        ComponentId = DPFLTR_DEFAULT_ID;
    }
    return (Mask & 1) != 0 || (Mask & __atomic_load_n(&KdFilterMask[ComponentId], __ATOMIC_RELAXED)) != 0;
}

NTSTATUS DbgSetDebugFilterState(ULONG ComponentId, ULONG Level, BOOLEAN State)
{
    if (ComponentId >= KD_COMPONENTS) {
        return STATUS_INVALID_PARAMETER_1;
    }
    if (State) {
        __atomic_or_fetch(&KdFilterMask[ComponentId], KdpLevelMask(Level), __ATOMIC_RELAXED);
    } else {
        __atomic_and_fetch(&KdFilterMask[ComponentId], ~KdpLevelMask(Level), __ATOMIC_RELAXED);
    }
    return STATUS_SUCCESS;
}

NTSTATUS DbgQueryDebugFilterState(ULONG ComponentId, ULONG Level)
{
    if (ComponentId >= KD_COMPONENTS) {
        return STATUS_INVALID_PARAMETER_1;
    }
    return KdpPasses(ComponentId, Level); /* documented: TRUE or FALSE as a status */
}

static ULONG KdpPrintV(const CHAR *Prefix, const CHAR *Format, va_list Arguments)
{
    CHAR Text[KD_TEXT_BYTES + 1];
    SIZE_T Used = 0;

    while (Prefix[Used] != 0 && Used < KD_TEXT_BYTES) {
        Text[Used] = Prefix[Used];
        Used += 1;
    }
    Used += RtlpFormat(Text + Used, sizeof Text - Used, Format, Arguments);
    HalPrint(Text, Used < KD_TEXT_BYTES ? Used : KD_TEXT_BYTES);
    return STATUS_SUCCESS;
}

ULONG vDbgPrintExWithPrefix(PCCH Prefix, ULONG ComponentId, ULONG Level, PCCH Format, va_list arglist)
{
    return KdpPasses(ComponentId, Level) ? KdpPrintV(Prefix, Format, arglist) : STATUS_SUCCESS;
}

ULONG vDbgPrintEx(ULONG ComponentId, ULONG Level, PCCH Format, va_list arglist)
{
    return vDbgPrintExWithPrefix("", ComponentId, Level, Format, arglist);
}

ULONG DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...)
{
    va_list Arguments;
    ULONG Status;

    va_start(Arguments, Format);
    Status = vDbgPrintExWithPrefix("", ComponentId, Level, Format, Arguments);
    va_end(Arguments);
    return Status;
}

ULONG DbgPrint(PCSTR Format, ...)
{
    va_list Arguments;
    ULONG Status;

    va_start(Arguments, Format);
    Status = KdpPrintV("", Format, Arguments);
    va_end(Arguments);
    return Status;
}

VOID DbgBreakPoint(VOID)
{
    KiCurrentThread(); /* a thread that was never here could not take the trap */
    __asm__ volatile("int3");
}

VOID DbgBreakPointWithStatus(ULONG Status)
{
    UNREFERENCED_PARAMETER(Status);
    DbgBreakPoint();
}

VOID RtlAssert(PVOID VoidFailedAssertion, PVOID VoidFileName, ULONG LineNumber, PSTR MutableMessage)
{
    DbgPrint("\n*** Assertion failed: %s%s\n***   Source File: %s, line %u\n\n", MutableMessage != NULL ? MutableMessage : "",
             (const CHAR *)VoidFailedAssertion, (const CHAR *)VoidFileName, LineNumber);
    DbgBreakPoint();
}
