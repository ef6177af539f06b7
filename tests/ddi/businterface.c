/*
 * businterface.c - GUID_BUS_INTERFACE_STANDARD: the root bus's, another bus driver's, and what DMA makes of them; functions of
 * the system DMA controller. SPDX-License-Identifier: MIT
 */
#include "dma_kit.h"
#include "pnp_kit.h"
#include "ex/work.h"
#include <wdmguid.h>

#define OK(Call) assert_int_equal(Call, STATUS_SUCCESS)

static PDEVICE_OBJECT Child;
static BOOLEAN ChildPlugged;
static LONG ChildReferences;
static DMA_ADAPTER OfTheBus;

/* ---- a bus driver with an interface of its own for its child ---- */
static VOID Reference(PVOID Context)
{
    assert_ptr_equal(Context, &OfTheBus);
    ChildReferences++;
}
static VOID Dereference(PVOID Context)
{
    assert_ptr_equal(Context, &OfTheBus);
    ChildReferences--;
}
static PDMA_ADAPTER BusAdapter(PVOID Context, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters)
{
    assert_ptr_equal(Context, &OfTheBus);
    *NumberOfMapRegisters = Description->MaximumLength / PAGE_SIZE + 7;
    return &OfTheBus;
}
static NTSTATUS ChildPnp(PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    switch (Sp->MinorFunction) {
    case IRP_MN_QUERY_CAPABILITIES:
        Sp->Parameters.DeviceCapabilities.Capabilities->RawDeviceOK = 1;
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_QUERY_INTERFACE: {
        PBUS_INTERFACE_STANDARD Bus = (PBUS_INTERFACE_STANDARD)Sp->Parameters.QueryInterface.Interface;
        if (!IsEqualGUID(Sp->Parameters.QueryInterface.InterfaceType, &GUID_BUS_INTERFACE_STANDARD)) {
            return PkComplete(Irp, Irp->IoStatus.Status);
        }
        assert_int_equal(Sp->Parameters.QueryInterface.Size, sizeof(*Bus));
        Bus->Context = &OfTheBus;
        Bus->InterfaceReference = Reference;
        Bus->InterfaceDereference = Dereference;
        Bus->GetDmaAdapter = BusAdapter;
        ChildReferences++;
        return PkComplete(Irp, STATUS_SUCCESS);
    }
    case IRP_MN_START_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
    case IRP_MN_QUERY_REMOVE_DEVICE:
        return PkComplete(Irp, STATUS_SUCCESS);
    case IRP_MN_REMOVE_DEVICE: {
        NTSTATUS Status = PkComplete(Irp, STATUS_SUCCESS);
        IoDeleteDevice(Child);
        Child = NULL;
        return Status;
    }
    default:
        return PkComplete(Irp, Irp->IoStatus.Status);
    }
}

static NTSTATUS Pnp(PDEVICE_OBJECT Object, PIRP Irp)
{
    PIO_STACK_LOCATION Sp = IoGetCurrentIrpStackLocation(Irp);
    if (Object == Child) {
        return ChildPnp(Irp);
    }
    if (Sp->MinorFunction == IRP_MN_QUERY_DEVICE_RELATIONS && Sp->Parameters.QueryDeviceRelations.Type == BusRelations) {
        PkReportChild(Irp, ChildPlugged ? Child : NULL);
    }
    return PkPassOn(Object, Irp);
}
static NTSTATUS Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    NTSTATUS Status = PkEntry(Driver, RegistryPath);
    Driver->MajorFunction[IRP_MJ_PNP] = Pnp;
    return Status;
}

/* ---- requests, as a function driver makes them ---- */
static NTSTATUS Ask(PIO_STACK_LOCATION Like, ULONG_PTR *Information)
{
    KEVENT Event;
    IO_STATUS_BLOCK Block = {.Information = 0};
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    PIRP Irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, Lower, NULL, 0, NULL, &Event, &Block);
    Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
    Next->MinorFunction = Like->MinorFunction;
    Next->Parameters = Like->Parameters;
    NTSTATUS Status = IoCallDriver(Lower, Irp);
    if (Information) {
        *Information = Block.Information;
    }
    return Status;
}
static NTSTATUS Query(const GUID *Type, USHORT Size, PBUS_INTERFACE_STANDARD Bus)
{
    IO_STACK_LOCATION Like = {.MinorFunction = IRP_MN_QUERY_INTERFACE};
    Like.Parameters.QueryInterface.InterfaceType = Type;
    Like.Parameters.QueryInterface.Size = Size;
    Like.Parameters.QueryInterface.Version = 1;
    Like.Parameters.QueryInterface.Interface = (PINTERFACE)Bus;
    return Ask(&Like, NULL);
}
static NTSTATUS Config(UCHAR Minor, PVOID Buffer, ULONG Offset, ULONG Length, ULONG_PTR *Information)
{
    IO_STACK_LOCATION Like = {.MinorFunction = Minor};
    Like.Parameters.ReadWriteConfig.WhichSpace = PCI_WHICHSPACE_CONFIG;
    Like.Parameters.ReadWriteConfig.Buffer = Buffer;
    Like.Parameters.ReadWriteConfig.Offset = Offset;
    Like.Parameters.ReadWriteConfig.Length = Length;
    return Ask(&Like, Information);
}

/* The interface "enables device drivers to make direct calls to parent bus driver routines"; IRP_MN_QUERY_INTERFACE: "the driver that
 * provides the interface ... is responsible for referencing" it. */
static void RootBus_GivesItsInterface(void **State)
{
    static const GUID Other = {1, 2, 3, {4}};
    BUS_INTERFACE_STANDARD Bus;
    PHYSICAL_ADDRESS Translated;
    ULONG Space = 0, Registers = 0, Id = 0;
    ntmm_driver *Driver;
    (void)State;
    OK(ntmm_add_driver("BusTest", Entry, &Driver));
    memset(&Bus, 0, sizeof(Bus));
    assert_int_equal(Query(&Other, sizeof(Bus), &Bus), STATUS_NOT_SUPPORTED);
    assert_int_equal(Query(&GUID_BUS_INTERFACE_STANDARD, sizeof(Bus) - 1, &Bus), STATUS_INVALID_PARAMETER);
    assert_null(Bus.GetDmaAdapter);
    OK(Query(&GUID_BUS_INTERFACE_STANDARD, sizeof(Bus), &Bus));
    assert_int_equal(Bus.Size, sizeof(Bus));
    assert_int_equal(Bus.Version, 1);
    assert_true(Bus.TranslateBusAddress(Bus.Context, At(0xFEE00000), PAGE_SIZE, &Space, &Translated));
    assert_int_equal(Translated.QuadPart, 0xFEE00000);
    Space = 2;
    assert_false(Bus.TranslateBusAddress(Bus.Context, At(0), 1, &Space, &Translated));
    /* GET_DMA_ADAPTER: "if a driver must obtain an adapter object while it is running at IRQL >= DISPATCH_LEVEL" */
    DEVICE_DESCRIPTION Description = Describe(3, 24, TRUE, 16 * PAGE_SIZE);
    KIRQL Old = AtDispatch();
    PDMA_ADAPTER Adapter = Bus.GetDmaAdapter(Bus.Context, &Description, &Registers);
    KeLowerIrql(Old);
    assert_non_null(Adapter);
    assert_int_equal(Registers, 17);
    OP(Adapter)->PutDmaAdapter(Adapter);
    /* GetBusData: "if the read operation is unsuccessful, a value of zero is returned" */
    assert_int_equal(Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, &Id, 0, 4), 0);
    assert_int_equal(Config(IRP_MN_READ_CONFIG, &Id, 0, 4, NULL), STATUS_NOT_SUPPORTED);
    Bus.InterfaceReference(Bus.Context);
    Bus.InterfaceDereference(Bus.Context);
    Bus.InterfaceDereference(Bus.Context);
    OK(ntmm_remove_driver(Driver, NULL));
}

/* Configuration space: by the interface at any IRQL up to DIRQL, and by IRP. */
static void ConfigurationSpace_IsTheHosts(void **State)
{
    static const ULONG Header[] = {0x12348086, 0x00100006, 0x02000001, 0};
    BUS_INTERFACE_STANDARD Bus;
    ULONG Words[64] = {0};
    ULONG_PTR Information = 0;
    ntmm_driver *Driver;
    KIRQL Old;
    (void)State;
    OK(ntmm_add_driver("BusTest", Entry, &Driver));
    ntmm_device *Hardware = ntmm_device_create(Pdo), *Nobodys = ntmm_device_create(&Device);
    assert_int_equal(ntmm_device_set_config(Hardware, 0, Header, sizeof(Header)), 0);
    assert_int_equal(ntmm_device_set_config(Hardware, 250, Header, 7), -1);
    assert_int_equal(ntmm_device_set_config(Nobodys, 0, Header, 4), -1);
    OK(Query(&GUID_BUS_INTERFACE_STANDARD, sizeof(Bus), &Bus));
    KeRaiseIrql(DISPATCH_LEVEL + 1, &Old);
    ULONG Read = Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, Words, 0, 4);
    KeLowerIrql(Old);
    assert_int_equal(Read, 4);
    assert_int_equal(Words[0], 0x12348086);
    assert_int_equal(Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, Words, 8, sizeof(Words)), 8); /* as many as there are */
    assert_int_equal(Words[0], 0x02000001);
    assert_int_equal(Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_ROM, Words, 0, 4), 0);
    assert_int_equal(Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, Words, 16, 4), 0);
    Words[0] = 0x00100407;
    assert_int_equal(Bus.SetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, Words, 4, 4), 4);
    OK(Config(IRP_MN_READ_CONFIG, Words + 1, 4, 4, &Information));
    assert_int_equal(Information, 4);
    assert_int_equal(Words[1], 0x00100407);
    Words[1] = 7;
    OK(Config(IRP_MN_WRITE_CONFIG, Words + 1, 12, 4, &Information));
    assert_int_equal(Bus.GetBusData(Bus.Context, PCI_WHICHSPACE_CONFIG, Words, 12, 4), 4);
    assert_int_equal(Words[0], 7);
    assert_int_equal(Config(IRP_MN_READ_CONFIG, Words, 16, 4, &Information), STATUS_INVALID_DEVICE_REQUEST);
    Bus.InterfaceDereference(Bus.Context);
    ntmm_device_destroy(Hardware);
    ntmm_device_destroy(Nobodys);
    OK(ntmm_remove_driver(Driver, NULL));
}

/* "IoGetDmaAdapter detects whether the bus driver supports the BUS_INTERFACE_STANDARD interface; if it does, IoGetDmaAdapter calls the
 * routine pointed to by the GetDmaAdapter member". */
static void IoGetDmaAdapter_AsksTheBusOfTheDevice(void **State)
{
    ULONG Registers = 0;
    ntmm_driver *Driver;
    (void)State;
    OK(ntmm_add_driver("BusTest", Entry, &Driver));
    OK(IoCreateDevice(Fdo->DriverObject, 0, NULL, FILE_DEVICE_UNKNOWN, FILE_AUTOGENERATED_DEVICE_NAME, FALSE, &Child));
    ChildPlugged = TRUE;
    IoInvalidateDeviceRelations(Pdo, BusRelations);
    ExpDrainWork();
    DEVICE_DESCRIPTION Description = Describe(2, 32, TRUE, 3 * PAGE_SIZE);
    assert_ptr_equal(IoGetDmaAdapter(Child, &Description, &Registers), &OfTheBus);
    assert_int_equal(Registers, 10);
    assert_int_equal(ChildReferences, 0);
    ChildPlugged = FALSE;
    OK(ntmm_remove_driver(Driver, NULL));
}

/* ConfigureAdapterChannel "invokes a custom function that is implemented by the DMA controller". */
static ULONG Last;
static int32_t Configure(ntmm_device *Hardware, uint32_t Function, void *Context)
{
    (void)Hardware;
    Last = *(ULONG *)Context;
    return Function == 3 ? STATUS_SUCCESS : STATUS_NOT_IMPLEMENTED;
}
static void ConfigureAdapterChannel_CallsTheControllersFunction(void **State)
{
    DEVICE_DESCRIPTION Slave = Describe(3, 32, FALSE, PAGE_SIZE);
    ULONG Registers, Context = 17;
    (void)State;
    Slave.Master = FALSE;
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Slave, &Registers), Master = GetAdapter(3, 32, TRUE, NULL);
    ntmm_device *Hardware = ntmm_device_create(&Device);
    assert_int_equal(OP(Adapter)->ConfigureAdapterChannel(Adapter, 3, &Context), STATUS_NOT_IMPLEMENTED);
    ntmm_device_on_configure(Hardware, Configure);
    OK(OP(Adapter)->ConfigureAdapterChannel(Adapter, 3, &Context));
    assert_int_equal(Last, 17);
    assert_int_equal(OP(Adapter)->ConfigureAdapterChannel(Adapter, 4, &Context), STATUS_NOT_IMPLEMENTED);
    assert_int_equal(OP(Master)->ConfigureAdapterChannel(Master, 3, &Context),
                     STATUS_NOT_IMPLEMENTED); /* "only for system DMA" */
    ntmm_device_destroy(Hardware);
    assert_int_equal(OP(Adapter)->ConfigureAdapterChannel(Adapter, 3, &Context), STATUS_NOT_IMPLEMENTED);
    OP(Adapter)->PutDmaAdapter(Adapter);
    OP(Master)->PutDmaAdapter(Master);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(RootBus_GivesItsInterface),
        cmocka_unit_test(ConfigurationSpace_IsTheHosts),
        cmocka_unit_test(IoGetDmaAdapter_AsksTheBusOfTheDevice),
        cmocka_unit_test(ConfigureAdapterChannel_CallsTheControllersFunction),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
