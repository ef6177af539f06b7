/*
 * io_pnp_test.c - a Plug and Play driver: added, started, its interface, its children, removed. SPDX-License-Identifier: MIT
 */
#include "io_kit.h"
#include "pnp_kit.h"
#include "ex/work.h"

static const GUID Class = {0x12345678, 0x9abc, 0xdef0, {1, 2, 3, 4, 5, 6, 7, 8}};
static char Log[2000];
static PDEVICE_OBJECT Child;
static UNICODE_STRING Interface;
static BOOLEAN ChildPlugged, FailStart;

static void Note(const char *Text)
{
    strcat(Log, Text);
    strcat(Log, " ");
}

static WCHAR *Dup(const WCHAR *Text, size_t Bytes)
{
    WCHAR *Copy = ExAllocatePool2(POOL_FLAG_PAGED, Bytes, 'tseT');
    memcpy(Copy, Text, Bytes);
    return Copy;
}

static NTSTATUS ChildPnp(PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    switch (Sp->MinorFunction) {
    case IRP_MN_QUERY_ID:
        if (Sp->Parameters.QueryId.IdType == BusQueryDeviceID)
            Irp->IoStatus.Information = (ULONG_PTR)Dup(L"Bus\\Child", sizeof L"Bus\\Child");
        else if (Sp->Parameters.QueryId.IdType == BusQueryHardwareIDs)
            Irp->IoStatus.Information = (ULONG_PTR)Dup(L"One\0Two\0", sizeof L"One\0Two\0");
        else
            return PkComplete(Irp, Irp->IoStatus.Status);
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_QUERY_CAPABILITIES:
        Sp->Parameters.DeviceCapabilities.Capabilities->RawDeviceOK = 1;
        Sp->Parameters.DeviceCapabilities.Capabilities->Address = 77;
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_START_DEVICE:
        Note("child-start");
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_SURPRISE_REMOVAL:
        Note("child-surprise");
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_QUERY_REMOVE_DEVICE:
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_REMOVE_DEVICE: {
        Note("child-remove");
        NTSTATUS Status = PkComplete(Irp, STATUS_SUCCESS);
        IoDeleteDevice(Child);
        Child = NULL;
        return Status;
    }
    default:
        return PkComplete(Irp, Irp->IoStatus.Status);
    }
}

static NTSTATUS Pnp(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    if (Device == Child)
        return ChildPnp(Irp);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    switch (Sp->MinorFunction) {
    case IRP_MN_START_DEVICE:
        Note("start");
        assert_true(IoForwardIrpSynchronously(Lower, Irp));
        OK(Irp->IoStatus.Status);
        if (FailStart)
            return PkComplete(Irp, STATUS_DEVICE_CONFIGURATION_ERROR);
        OK(IoSetDeviceInterfaceState(&Interface, TRUE));
        FAILS(IoSetDeviceInterfaceState(&Interface, TRUE), STATUS_OBJECT_NAME_EXISTS);
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_QUERY_DEVICE_RELATIONS:
        if (Sp->Parameters.QueryDeviceRelations.Type == BusRelations)
            PkReportChild(Irp, ChildPlugged ? Child : NULL);
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(Lower, Irp);
    case IRP_MN_REMOVE_DEVICE:
        Note("remove");
        IoSetDeviceInterfaceState(&Interface, FALSE);
        RtlFreeUnicodeString(&Interface);
        Irp->IoStatus.Status = STATUS_SUCCESS;
        return PkPassOn(Device, Irp);
    case IRP_MN_QUERY_REMOVE_DEVICE:
        Note("query-remove");
        Irp->IoStatus.Status = STATUS_SUCCESS;
        break;
    default:
        break;
    }
    IoSkipCurrentIrpStackLocation(Irp);
    return IoCallDriver(Lower, Irp);
}

static NTSTATUS CreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return PkComplete(Irp, STATUS_SUCCESS);
}

static NTSTATUS AddDevice(PDRIVER_OBJECT Driver, PDEVICE_OBJECT PhysicalDevice)
{
    Note("add");
    OK(IoCreateDevice(Driver, 16, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Fdo));
    Pdo = PhysicalDevice;
    Lower = IoAttachDeviceToDeviceStack(Fdo, Pdo);
    assert_ptr_equal(Lower, Pdo);
    OK(IoRegisterDeviceInterface(Pdo, &Class, NULL, &Interface));
    Fdo->Flags &= ~DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

static VOID Unload(PDRIVER_OBJECT Driver)
{
    Note("unload");
    assert_null(Driver->DeviceObject);
}

static NTSTATUS Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Log[0] = 0;
    Driver->DriverExtension->AddDevice = AddDevice;
    Driver->DriverUnload = Unload;
    Driver->MajorFunction[IRP_MJ_PNP] = Pnp;
    Driver->MajorFunction[IRP_MJ_CREATE] = Driver->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
    return STATUS_SUCCESS;
}

static void Device_Root_AddedStartedRemoved(void **state)
{
    ntmm_driver *Driver;
    ntmm_file *File;
    WCHAR Buffer[64];
    ULONG Length;
    (void)state;
    OK(ntmm_add_driver("PnpTest", Entry, &Driver));
    assert_string_equal(Log, "add start ");
    OK(IoGetDeviceProperty(Pdo, DevicePropertyHardwareID, sizeof Buffer, Buffer, &Length));
    assert_memory_equal(Buffer, L"ROOT\\PnpTest\0", sizeof L"ROOT\\PnpTest\0");
    FAILS(IoGetDeviceProperty(Pdo, DevicePropertyHardwareID, 4, Buffer, &Length), STATUS_BUFFER_TOO_SMALL);
    OK(IoGetDeviceProperty(Pdo, DevicePropertyEnumeratorName, sizeof Buffer, Buffer, &Length));
    assert_memory_equal(Buffer, L"ROOT", sizeof L"ROOT");
    /* The interface opens the top of the stack. */
    OK(ntmm_open("\\??\\ROOT#PnpTest#0000#{12345678-9abc-def0-0102-030405060708}", &File));
    OK(ntmm_close(File));
    WCHAR *List;
    OK(IoGetDeviceInterfaces(&Class, NULL, 0, &List));
    assert_int_equal(List[0], '\\');
    ExFreePool(List);
    HANDLE Key;
    OK(IoOpenDeviceRegistryKey(Pdo, PLUGPLAY_REGKEY_DEVICE, KEY_ALL_ACCESS, &Key));
    OK(ZwClose(Key));
    DEVPROPKEY Property = {Class, 2};
    DEVPROPTYPE Type;
    ULONG Value = 5, Got = 0;
    OK(IoSetDevicePropertyData(Pdo, &Property, 0, 0, 7, sizeof Value, &Value));
    OK(IoGetDevicePropertyData(Pdo, &Property, 0, 0, sizeof Got, &Got, &Length, &Type));
    assert_int_equal(Got, 5);
    assert_int_equal(Type, 7);
    /* IoGetDeviceNumaNode: what the bus driver says (DEVPKEY_Numa_Proximity_Domain), of the nodes that there are. */
    DEVPROPKEY Domain = {{0x540b947e, 0x8b40, 0x45bc, {0xa8, 0xa2, 0x6a, 0x0b, 0x89, 0x4c, 0xbd, 0xa2}}, 1};
    USHORT Node = 7;
    FAILS(IoGetDeviceNumaNode(Pdo, &Node), STATUS_NOT_FOUND);
    Value = 0;
    OK(IoSetDevicePropertyData(Pdo, &Domain, 0, 0, 7, sizeof Value, &Value));
    OK(IoGetDeviceNumaNode(Pdo, &Node));
    assert_int_equal(Node, 0);
    Value = KeQueryHighestNodeNumber() + 1u;
    OK(IoSetDevicePropertyData(Pdo, &Domain, 0, 0, 7, sizeof Value, &Value));
    FAILS(IoGetDeviceNumaNode(Pdo, &Node), STATUS_NOT_FOUND);
    FAILS(IoGetDevicePropertyData(Pdo, &Property, 1, 0, sizeof Got, &Got, &Length, &Type), STATUS_OBJECT_NAME_NOT_FOUND);
    OK(ntmm_remove_driver(Driver, NULL));
    assert_string_equal(Log, "add start query-remove remove unload ");
    FAILS(ntmm_open("\\??\\ROOT#PnpTest#0000#{12345678-9abc-def0-0102-030405060708}", &File), STATUS_OBJECT_NAME_NOT_FOUND);
}

static void Device_StartFails_Removed(void **state)
{
    ntmm_driver *Driver;
    (void)state;
    FailStart = TRUE;
    FAILS(ntmm_add_driver("PnpTest", Entry, &Driver), STATUS_DEVICE_CONFIGURATION_ERROR);
    FailStart = FALSE;
    assert_string_equal(Log, "add start remove unload ");
}

static void Bus_ChildComesAndGoes(void **state)
{
    ntmm_driver *Driver;
    ULONG Address, Length;
    (void)state;
    OK(ntmm_add_driver("PnpTest", Entry, &Driver));
    OK(IoCreateDevice(Fdo->DriverObject, 0, NULL, FILE_DEVICE_UNKNOWN, FILE_AUTOGENERATED_DEVICE_NAME, FALSE, &Child));
    ChildPlugged = TRUE;
    IoInvalidateDeviceRelations(Pdo, BusRelations);
    ExpDrainWork();
    assert_string_equal(Log, "add start child-start ");
    OK(IoGetDeviceProperty(Child, DevicePropertyAddress, sizeof Address, &Address, &Length));
    assert_int_equal(Address, 77);
    IoInvalidateDeviceRelations(Pdo, BusRelations);
    ExpDrainWork();
    assert_string_equal(Log, "add start child-start ");
    ChildPlugged = FALSE;
    IoInvalidateDeviceRelations(Pdo, BusRelations);
    ExpDrainWork();
    assert_string_equal(Log, "add start child-start child-surprise child-remove ");
    assert_null(Child);
    /* Unplugged with the bus. */
    OK(IoCreateDevice(Fdo->DriverObject, 0, NULL, FILE_DEVICE_UNKNOWN, FILE_AUTOGENERATED_DEVICE_NAME, FALSE, &Child));
    ChildPlugged = TRUE;
    IoInvalidateDeviceRelations(Pdo, BusRelations);
    ExpDrainWork();
    OK(ntmm_remove_driver(Driver, NULL));
    ChildPlugged = FALSE;
    assert_string_equal(
        Log, "add start child-start child-surprise child-remove child-start child-remove query-remove remove unload ");
}

static LONG Arrivals, Removals;
static NTSTATUS Notified(PVOID Structure, PVOID Context)
{
    PDEVICE_INTERFACE_CHANGE_NOTIFICATION N = Structure;
    assert_ptr_equal(Context, &Arrivals);
    assert_memory_equal(&N->InterfaceClassGuid, &Class, sizeof Class);
    if (N->Event.Data1 == 0xcb3a4004)
        Arrivals++;
    else
        Removals++;
    return STATUS_SUCCESS;
}

static void Notification_InterfaceChange(void **state)
{
    ntmm_driver *Driver;
    PVOID Entry1, Entry2;
    (void)state;
    UNICODE_STRING Name = KitString(L"\\Driver\\PnpManager");
    PDRIVER_OBJECT Manager;
    OK(ObReferenceObjectByName(&Name, 0, NULL, 0, *IoDriverObjectType, KernelMode, NULL, (PVOID *)&Manager));
    OK(IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange, 0, (PVOID)&Class, Manager, Notified, &Arrivals,
                                      &Entry1));
    OK(ntmm_add_driver("PnpTest", Entry, &Driver));
    assert_int_equal(Arrivals, 1);
    OK(IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange,
                                      PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES, (PVOID)&Class, Manager, Notified,
                                      &Arrivals, &Entry2));
    assert_int_equal(Arrivals, 2);
    OK(IoUnregisterPlugPlayNotificationEx(Entry2));
    OK(ntmm_remove_driver(Driver, NULL));
    assert_int_equal(Removals, 1);
    OK(IoUnregisterPlugPlayNotification(Entry1));
    ObDereferenceObject(Manager);
}

static LONG PowerDone;
static VOID PowerComplete(PDEVICE_OBJECT Device, UCHAR Minor, POWER_STATE State, PVOID Context, PIO_STATUS_BLOCK Status)
{
    assert_ptr_equal(Device, Pdo);
    assert_int_equal(Minor, IRP_MN_SET_POWER);
    assert_int_equal(State.DeviceState, PowerDeviceD3);
    assert_ptr_equal(Context, &PowerDone);
    OK(Status->Status);
    PowerDone++;
}

static NTSTATUS Power(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    assert_int_equal(IoGetCurrentIrpStackLocation(Irp)->Parameters.Power.State.DeviceState, PowerDeviceD3);
    PoStartNextPowerIrp(Irp);
    IoSkipCurrentIrpStackLocation(Irp);
    return PoCallDriver(Lower, Irp);
}

static void Power_Request_GoesDownAndComesBack(void **state)
{
    ntmm_driver *Driver;
    POWER_STATE State = {.DeviceState = PowerDeviceD3};
    (void)state;
    OK(ntmm_add_driver("PnpTest", Entry, &Driver));
    Fdo->DriverObject->MajorFunction[IRP_MJ_POWER] = Power;
    FAILS(PoRequestPowerIrp(Pdo, IRP_MN_SET_POWER, State, PowerComplete, &PowerDone, NULL), STATUS_PENDING);
    assert_int_equal(PowerDone, 1);
    assert_int_equal(PoSetPowerState(Fdo, DevicePowerState, State).DeviceState, PowerDeviceD0);
    OK(ntmm_remove_driver(Driver, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(Device_Root_AddedStartedRemoved),
        cmocka_unit_test(Device_StartFails_Removed),
        cmocka_unit_test(Bus_ChildComesAndGoes),
        cmocka_unit_test(Notification_InterfaceChange),
        cmocka_unit_test(Power_Request_GoesDownAndComesBack),
    };
    return cmocka_run_group_tests(tests, KitStart, KitStop);
}
