/*
 * stack.c - what a driver may ask about its kernel stack. SPDX-License-Identifier: MIT
 *
 * Implements IoGetStackLimits, IoGetRemainingStackSize, IoWithinStackLimits, KeExpandKernelStackAndCallout(Ex). Stacks do
 * not grow: each is as large from the start as Windows lets one become, so an expansion is a call on the same stack if
 * there is room, and STATUS_NO_MEMORY if there is not. A callout that returns at another IRQL is IRQL_UNEXPECTED_VALUE
 * (0xC8), first parameter current << 16 | expected << 8 | 2.
 */
#include "ke/kip.h"

VOID IoGetStackLimits(PULONG_PTR LowLimit, PULONG_PTR HighLimit)
{
    KTHREAD *Thread = KiCurrentThread();

    *LowLimit = Thread->StackLow;
    *HighLimit = Thread->StackHigh;
}

ULONG_PTR IoGetRemainingStackSize(VOID)
{
    return (ULONG_PTR)__builtin_frame_address(0) - KiCurrentThread()->StackLow;
}

ULONG IoWithinStackLimits(ULONG_PTR RegionStart, SIZE_T RegionSize)
{
    KTHREAD *Thread = KiCurrentThread();

    return RegionStart >= Thread->StackLow && RegionStart <= Thread->StackHigh && RegionSize <= Thread->StackHigh - RegionStart;
}

NTSTATUS KeExpandKernelStackAndCalloutEx(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, SIZE_T Size, BOOLEAN Wait,
                                         PVOID Context)
{
    KTHREAD *Thread = KiCurrentThread();
    KIRQL Irql = Thread->Irql;

    UNREFERENCED_PARAMETER(Context);
    if (Size > MAXIMUM_EXPANSION_SIZE) {
        return STATUS_INVALID_PARAMETER_3;
    }
    if (Wait && Irql >= DISPATCH_LEVEL) {
        return STATUS_INVALID_PARAMETER_4;
    }
    if (Irql > DISPATCH_LEVEL || IoGetRemainingStackSize() < Size + PAGE_SIZE / 2) {
        return STATUS_NO_MEMORY;
    }
    KI_CALLOUT(VOID, Callout, (PVOID), (Parameter));
    if (__builtin_expect(Thread->Irql != Irql, 0)) {
        KiStop(IRQL_UNEXPECTED_VALUE, "A stack-expansion callout returned at another IRQL.", NULL,
               (ULONG_PTR)Thread->Irql << 16 | (ULONG_PTR)Irql << 8 | 2, (ULONG_PTR)Callout, (ULONG_PTR)Parameter, 0);
    }
    return STATUS_SUCCESS;
}

NTSTATUS KeExpandKernelStackAndCallout(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, SIZE_T Size)
{
    return KeExpandKernelStackAndCalloutEx(Callout, Parameter, Size, TRUE, NULL);
}
