/*
 * pnp_kit.h - what the tests with a Plug and Play driver share: a function driver that passes requests on, and a bus driver's answer.
 * SPDX-License-Identifier: MIT
 */
#pragma once

static PDEVICE_OBJECT Pdo, Fdo, Lower; /* of the device that was added last */

static __attribute__((unused)) NTSTATUS PkComplete(PIRP Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}
/* To the lower device; a device that is removed goes with the request. */
static __attribute__((unused)) NTSTATUS PkPassOn(PDEVICE_OBJECT Object, PIRP Irp)
{
    UCHAR Minor = IoGetCurrentIrpStackLocation(Irp)->MinorFunction;
    IoSkipCurrentIrpStackLocation(Irp);
    NTSTATUS Status = IoCallDriver(Lower, Irp);
    if (Minor == IRP_MN_REMOVE_DEVICE) {
        IoDetachDevice(Lower);
        IoDeleteDevice(Object);
    }
    return Status;
}
/* The answer to IRP_MN_QUERY_DEVICE_RELATIONS of a bus with one device, or (NULL) none; still to be passed on. */
static __attribute__((unused)) void PkReportChild(PIRP Irp, PDEVICE_OBJECT Child)
{
    PDEVICE_RELATIONS Relations = ExAllocatePool2(POOL_FLAG_PAGED, sizeof *Relations, 'tseT');
    if (Child) {
        ObReferenceObject(Child);
        Relations->Count = 1;
        Relations->Objects[0] = Child;
    }
    Irp->IoStatus.Information = (ULONG_PTR)Relations;
    Irp->IoStatus.Status = STATUS_SUCCESS;
}
static __attribute__((unused)) NTSTATUS PkAddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT PhysicalDevice)
{
    assert_int_equal(IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Fdo), STATUS_SUCCESS);
    Pdo = PhysicalDevice;
    Lower = IoAttachDeviceToDeviceStack(Fdo, Pdo);
    assert_ptr_equal(Lower, Pdo);
    Fdo->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}
static VOID PkUnload(PDRIVER_OBJECT Driver)
{
    assert_null(Driver->DeviceObject);
}
static __attribute__((unused)) NTSTATUS PkEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    (void)RegistryPath;
    Driver->DriverExtension->AddDevice = PkAddDevice;
    Driver->DriverUnload = PkUnload;
    Driver->MajorFunction[IRP_MJ_PNP] = PkPassOn;
    return STATUS_SUCCESS;
}
