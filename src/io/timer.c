/*
 * timer.c - a device's once-a-second timer. SPDX-License-Identifier: MIT
 *
 * Implements IoInitializeTimer, IoStartTimer, IoStopTimer. Each device with a timer has a KTIMER of one second with a DPC that
 * calls the routine at DISPATCH_LEVEL. IoDeleteDevice stops it and waits for its DPC.
 *
 *     none --IoInitializeTimer--> stopped --IoStartTimer--> running --IoStopTimer--> stopped
 */
#include "io/iopp.h"

typedef struct _IO_TIMER {
    PDEVICE_OBJECT Device;
    PIO_TIMER_ROUTINE Routine;
    PVOID Context;
    KTIMER Timer;
    KDPC Dpc;
    volatile LONG Running;
} IO_TIMER;

static VOID IopTimerDpc(PKDPC Dpc, PVOID DeferredContext, PVOID Argument1, PVOID Argument2)
{
    IO_TIMER *Timer = DeferredContext;
    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(Argument1);
    UNREFERENCED_PARAMETER(Argument2);
    if (__atomic_load_n(&Timer->Running, __ATOMIC_ACQUIRE))
        KI_CALLOUT(VOID, Timer->Routine, (PDEVICE_OBJECT, PVOID), (Timer->Device, Timer->Context));
}

NTSTATUS IoInitializeTimer(PDEVICE_OBJECT DeviceObject, PIO_TIMER_ROUTINE TimerRoutine, PVOID Context)
{
    IO_TIMER *Timer = DeviceObject->Timer;
    if (Timer && (KiVerifierFlags() & IOP_VERIFY_IO))
        KiStop(DRIVER_VERIFIER_IOMANAGER_VIOLATION, "IoInitializeTimer was called for a device that has a timer.", NULL, 0xA,
               (ULONG_PTR)DeviceObject, 0, 0);
    if (Timer == NULL) {
        Timer = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Timer, IOP_TAG);
        if (Timer == NULL)
            return STATUS_INSUFFICIENT_RESOURCES;
        Timer->Device = DeviceObject;
        KeInitializeTimer(&Timer->Timer);
        KeInitializeDpc(&Timer->Dpc, IopTimerDpc, Timer);
        DeviceObject->Timer = Timer;
    }
    Timer->Routine = TimerRoutine;
    Timer->Context = Context;
    return STATUS_SUCCESS;
}

VOID IoStartTimer(PDEVICE_OBJECT DeviceObject)
{
    IO_TIMER *Timer = DeviceObject->Timer;
    LARGE_INTEGER Due = {.QuadPart = -10000000};
    if (Timer == NULL || __atomic_exchange_n(&Timer->Running, 1, __ATOMIC_ACQ_REL))
        return;
    KeSetTimerEx(&Timer->Timer, Due, 1000, &Timer->Dpc);
}

VOID IoStopTimer(PDEVICE_OBJECT DeviceObject)
{
    IO_TIMER *Timer = DeviceObject->Timer;
    if (Timer == NULL || !__atomic_exchange_n(&Timer->Running, 0, __ATOMIC_ACQ_REL))
        return;
    KeCancelTimer(&Timer->Timer);
}

VOID IopRemoveTimer(PDEVICE_OBJECT Device)
{
    IO_TIMER *Timer = Device->Timer;
    if (Timer == NULL)
        return;
    IoStopTimer(Device);
    if (KeGetCurrentIrql() == PASSIVE_LEVEL)
        KeFlushQueuedDpcs();
    Device->Timer = NULL;
    ExFreePoolWithTag(Timer, IOP_TAG);
}
