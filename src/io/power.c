/*
 * power.c - power requests on a machine that is always on, and WMI that nobody asks. SPDX-License-Identifier: MIT
 *
 * Implements PoCallDriver, PoStartNextPowerIrp, PoSetPowerState, PoRequestPowerIrp, IoWMIRegistrationControl, IoWMIWriteEvent.
 *
 * The system stays in PowerSystemWorking. A driver's request for a device state goes down its own stack as IRP_MJ_POWER and its
 * completion function is told; the policy of Windows' power manager (one power IRP at a time, inrush) is not kept.
 */
#include "io/iopp.h"

typedef struct _IOP_POWER {
    PREQUEST_POWER_COMPLETE Function;
    PVOID Context;
    PDEVICE_OBJECT Device, Top;
    POWER_STATE State;
    UCHAR Minor;
} IOP_POWER;

NTSTATUS PoCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    return IofCallDriver(DeviceObject, Irp);
}

VOID PoStartNextPowerIrp(PIRP Irp)
{
    UNREFERENCED_PARAMETER(Irp);
}

POWER_STATE PoSetPowerState(PDEVICE_OBJECT DeviceObject, POWER_STATE_TYPE Type, POWER_STATE State)
{
    POWER_STATE Old;
    UNREFERENCED_PARAMETER(DeviceObject);
    UNREFERENCED_PARAMETER(State);
    if (Type == SystemPowerState)
        Old.SystemState = PowerSystemWorking;
    else
        Old.DeviceState = PowerDeviceD0;
    return Old;
}

static NTSTATUS IopPowerDone(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    IOP_POWER *Power = Context;
    IO_STATUS_BLOCK Status = Irp->IoStatus;
    UNREFERENCED_PARAMETER(DeviceObject);
    if (Power->Function)
        KI_CALLOUT(VOID, Power->Function, (PDEVICE_OBJECT, UCHAR, POWER_STATE, PVOID, PIO_STATUS_BLOCK),
                   (Power->Device, Power->Minor, Power->State, Power->Context, &Status));
    IoFreeIrp(Irp);
    ObfDereferenceObject(Power->Top);
    ExFreePoolWithTag(Power, IOP_TAG);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

NTSTATUS PoRequestPowerIrp(PDEVICE_OBJECT DeviceObject, UCHAR MinorFunction, POWER_STATE PowerState,
                           PREQUEST_POWER_COMPLETE CompletionFunction, PVOID Context, PIRP *Irp)
{
    PDEVICE_OBJECT Top;
    PIRP Packet;
    IOP_POWER *Power;
    if (MinorFunction != IRP_MN_WAIT_WAKE && MinorFunction != IRP_MN_SET_POWER && MinorFunction != IRP_MN_QUERY_POWER)
        return STATUS_INVALID_PARAMETER_2;
    Top = IoGetAttachedDeviceReference(DeviceObject);
    Power = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Power, IOP_TAG);
    Packet = Power ? IopAllocateIrp((CCHAR)(Top->StackSize + 1)) : NULL;
    if (Packet == NULL) {
        if (Power)
            ExFreePoolWithTag(Power, IOP_TAG);
        ObfDereferenceObject(Top);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    *Power = (IOP_POWER){CompletionFunction, Context, DeviceObject, Top, PowerState, MinorFunction};
    IoSetNextIrpStackLocation(Packet);
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Packet);
    Next->MajorFunction = IRP_MJ_POWER;
    Next->MinorFunction = MinorFunction;
    if (MinorFunction == IRP_MN_WAIT_WAKE) {
        Next->Parameters.WaitWake.PowerState = PowerState.SystemState;
    } else {
        Next->Parameters.Power.Type = DevicePowerState;
        Next->Parameters.Power.State = PowerState;
    }
    Packet->IoStatus.Status = STATUS_NOT_SUPPORTED;
    IoSetCompletionRoutine(Packet, IopPowerDone, Power, TRUE, TRUE, TRUE);
    if (Irp)
        *Irp = Packet;
    IofCallDriver(Top, Packet);
    return STATUS_PENDING;
}

NTSTATUS IoWMIRegistrationControl(PDEVICE_OBJECT DeviceObject, ULONG Action)
{
    UNREFERENCED_PARAMETER(DeviceObject);
    return Action >= WMIREG_ACTION_REGISTER && Action <= WMIREG_ACTION_BLOCK_IRPS ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

NTSTATUS IoWMIWriteEvent(PVOID WnodeEventItem)
{
    /* Delivered to nobody; the item is the system's once this succeeds. */
    ExFreePool(WnodeEventItem);
    return STATUS_SUCCESS;
}
