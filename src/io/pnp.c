/*
 * pnp.c - the Plug and Play manager: devices of the root, their start, enumeration and removal. SPDX-License-Identifier: MIT
 *
 * Implements the manager's part of IRP_MJ_PNP, IoInvalidateDeviceRelations, IoInvalidateDeviceState, IoRequestDeviceEject,
 * IoGetDeviceProperty, IoSetDevicePropertyData, IoGetDevicePropertyData, IoOpenDeviceRegistryKey. Interfaces and
 * notifications are in devintf.c, power in power.c.
 *
 * A driver with an AddDevice routine gets one device of the root, as if an .inf file had listed it. Children that a bus driver
 * reports are queried for their ids and capabilities and started raw: no other drivers are searched for them.
 *
 *     new --AddDevice, START_DEVICE, QUERY_CAPABILITIES, QUERY_PNP_DEVICE_STATE--> started --QUERY_DEVICE_RELATIONS--> children
 *      \--AddDevice or start fails--> failed                                         |
 *                                              QUERY_REMOVE_DEVICE (root) or SURPRISE_REMOVAL (child gone), REMOVE_DEVICE
 *                                                                                    v
 *                                                                                 removed
 *
 * Invariants: 1. a node is in IopNodes after its parent; 2. REMOVE_DEVICE is sent once for a device that saw AddDevice, children
 * first; 3. the root's PDOs are the manager's and answer its IRPs themselves.
 * IRPs are sent at PASSIVE_LEVEL by the loader's thread or, for IoInvalidateDeviceRelations, by a system worker.
 */
#include "io/pnp.h"

LIST_ENTRY IopNodes = {&IopNodes, &IopNodes};
FAST_MUTEX IopPnpLock;
static PDRIVER_OBJECT IopPnpDriver;
static volatile LONG IopNextPdo;

/* ---- IRPs to a device stack ---- */
static NTSTATUS IopPnpIrp(PDEVICE_OBJECT Device, UCHAR Minor, const VOID *Parameters, SIZE_T Bytes, ULONG_PTR *Information)
{
    PDEVICE_OBJECT Top = IoGetAttachedDeviceReference(Device);
    PIRP Irp = IopAllocateIrp(Top->StackSize);
    IOP_REQUEST *Request = Irp ? IopCreateRequest(Irp) : NULL;
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    BOOLEAN Abandoned;
    if (Request) {
        PIO_STACK_LOCATION Next = IoGetNextIrpStackLocation(Irp);
        Irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
        Next->MajorFunction = IRP_MJ_PNP;
        Next->MinorFunction = Minor;
        if (Bytes)
            memcpy(&Next->Parameters, Parameters, Bytes);
        Status = IopSendAndWait(Top, Request, 0, Information, &Abandoned);
        if (!Abandoned)
            IopDestroyRequest(Request);
    } else if (Irp) {
        IoFreeIrp(Irp);
    }
    ObfDereferenceObject(Top);
    return Status;
}

/* ---- the manager's own driver: PDOs of the root ---- */
static NTSTATUS IopRootPnp(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Location = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = Irp->IoStatus.Status;
    switch (Location->MinorFunction) {
    case IRP_MN_QUERY_INTERFACE:
    case IRP_MN_READ_CONFIG:
    case IRP_MN_WRITE_CONFIG:
        Status = IopRootBusRequest(Device, Location, Irp);
        break;
    case IRP_MN_START_DEVICE:
    case IRP_MN_QUERY_REMOVE_DEVICE:
    case IRP_MN_CANCEL_REMOVE_DEVICE:
    case IRP_MN_REMOVE_DEVICE:
    case IRP_MN_SURPRISE_REMOVAL:
    case IRP_MN_QUERY_STOP_DEVICE:
    case IRP_MN_CANCEL_STOP_DEVICE:
    case IRP_MN_STOP_DEVICE:
    case IRP_MN_QUERY_CAPABILITIES:
        Status = STATUS_SUCCESS;
        break;
    default:
        break; /* left as it came */
    }
    Irp->IoStatus.Status = Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS IopRootPower(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static NTSTATUS IopRootLeave(PDEVICE_OBJECT Device, PIRP Irp)
{
    NTSTATUS Status = Irp->IoStatus.Status;
    UNREFERENCED_PARAMETER(Device);
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static NTSTATUS IopPnpEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNREFERENCED_PARAMETER(RegistryPath);
    Driver->MajorFunction[IRP_MJ_PNP] = IopRootPnp;
    Driver->MajorFunction[IRP_MJ_POWER] = IopRootPower;
    Driver->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = IopRootLeave;
    IopPnpDriver = Driver;
    return STATUS_SUCCESS;
}

/* ---- nodes ---- */
static VOID IopFreeNode(IOP_NODE *Node)
{
    while (Node->Properties) {
        IOP_PROPERTY *Next = Node->Properties->Next;
        ExFreePoolWithTag(Node->Properties, IOP_TAG);
        Node->Properties = Next;
    }
    ObpFreeString(&Node->InstancePath);
    ObpFreeString(&Node->HardwareIds);
    ExFreePoolWithTag(Node, IOP_TAG);
}

/* Appends ASCII to a UTF-16 buffer of Room characters; the new count. */
static ULONG IopAppend(PWCH Buffer, ULONG Count, ULONG Room, const CHAR *Text)
{
    for (; *Text && Count < Room; Text++)
        Buffer[Count++] = (UCHAR)*Text;
    return Count;
}

static IOP_NODE *IopNewNode(PDEVICE_OBJECT Pdo, IOP_NODE *Parent)
{
    IOP_NODE *Node = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Node, IOP_TAG);
    if (Node == NULL)
        return NULL;
    ObfReferenceObject(Pdo);
    Node->Pdo = Pdo;
    Node->Parent = Parent;
    Node->Present = TRUE;
    IopDevice(Pdo)->Node = Node;
    Pdo->Flags |= DO_BUS_ENUMERATED_DEVICE;
    ExAcquireFastMutex(&IopPnpLock);
    InsertTailList(&IopNodes, &Node->Link);
    ExReleaseFastMutex(&IopPnpLock);
    return Node;
}

static VOID IopDropNode(IOP_NODE *Node)
{
    PDEVICE_OBJECT Pdo = Node->Pdo;
    IopForgetInterfaces(Node);
    ExAcquireFastMutex(&IopPnpLock);
    RemoveEntryList(&Node->Link);
    ExReleaseFastMutex(&IopPnpLock);
    if (Pdo) {
        KiAcquireLock(&IopDatabaseLock);
        if (!(IopDevice(Pdo)->Flags & IOP_D_DELETED))
            IopDevice(Pdo)->Node = NULL;
        KiReleaseLock(&IopDatabaseLock);
        if (Node->Root)
            IoDeleteDevice(Pdo);
        ObfDereferenceObject(Pdo);
    }
    IopFreeNode(Node);
}

IOP_NODE *IopNodeOfPdo(PDEVICE_OBJECT Pdo)
{
    IOP_NODE *Node = ObpTypeOf(Pdo) == &IopDeviceType ? IopDevice(Pdo)->Node : NULL;
    if (Node == NULL || Node->Pdo != Pdo)
        KiStop(PNP_DETECTED_FATAL_ERROR, "A routine that needs a physical device object was given another device.", NULL, 2,
               (ULONG_PTR)Pdo, 0, 0);
    return Node;
}

static VOID IopQueryState(IOP_NODE *Node)
{
    ULONG_PTR State = 0;
    IopPnpIrp(Node->Pdo, IRP_MN_QUERY_PNP_DEVICE_STATE, NULL, 0, &State);
}

static VOID IopEnumerate(IOP_NODE *Node);

static NTSTATUS IopStartNode(IOP_NODE *Node)
{
    PVOID Resources[2] = {NULL, NULL};
    PVOID Capabilities = &Node->Capabilities;
    NTSTATUS Status = IopPnpIrp(Node->Pdo, IRP_MN_START_DEVICE, Resources, sizeof Resources, NULL);
    if (!NT_SUCCESS(Status)) {
        Node->State = IopNodeFailed;
        return Status;
    }
    Node->State = IopNodeStarted;
    memset(&Node->Capabilities, 0, sizeof Node->Capabilities);
    Node->Capabilities.Size = sizeof(DEVICE_CAPABILITIES);
    Node->Capabilities.Version = 1;
    Node->Capabilities.Address = Node->Capabilities.UINumber = 0xffffffff;
    IopPnpIrp(Node->Pdo, IRP_MN_QUERY_CAPABILITIES, &Capabilities, sizeof Capabilities, NULL);
    IopQueryState(Node);
    IopEnumerate(Node);
    return STATUS_SUCCESS;
}

/* ---- removal ---- */
static BOOLEAN IopIsBelow(IOP_NODE *Node, IOP_NODE *Ancestor)
{
    while (Node && Node != Ancestor)
        Node = Node->Parent;
    return Node != NULL;
}

static VOID IopRemoveNode(IOP_NODE *Node, BOOLEAN Surprise)
{
    /* Children first, the last found first. */
    for (;;) {
        IOP_NODE *Child = NULL;
        ExAcquireFastMutex(&IopPnpLock);
        for (PLIST_ENTRY E = IopNodes.Blink; E != &IopNodes; E = E->Blink) {
            IOP_NODE *N = CONTAINING_RECORD(E, IOP_NODE, Link);
            if (N != Node && IopIsBelow(N, Node)) {
                Child = N;
                break;
            }
        }
        ExReleaseFastMutex(&IopPnpLock);
        if (Child == NULL)
            break;
        IopRemoveNode(Child, Surprise);
    }
    if (Node->State == IopNodeStarted)
        IopPnpIrp(Node->Pdo, Surprise ? IRP_MN_SURPRISE_REMOVAL : IRP_MN_QUERY_REMOVE_DEVICE, NULL, 0, NULL);
    IopForgetInterfaces(Node);
    if (Node->State != IopNodeNew || !Node->Root)
        IopPnpIrp(Node->Pdo, IRP_MN_REMOVE_DEVICE, NULL, 0, NULL);
    Node->State = IopNodeRemoved;
    IopDropNode(Node);
}

VOID IopRemoveDriverNodes(PDRIVER_OBJECT Driver)
{
    for (;;) {
        IOP_NODE *Found = NULL;
        ExAcquireFastMutex(&IopPnpLock);
        for (PLIST_ENTRY E = IopNodes.Flink; E != &IopNodes && !Found; E = E->Flink)
            if (CONTAINING_RECORD(E, IOP_NODE, Link)->Function == Driver)
                Found = CONTAINING_RECORD(E, IOP_NODE, Link);
        ExReleaseFastMutex(&IopPnpLock);
        if (Found == NULL)
            return;
        IopRemoveNode(Found, FALSE);
    }
}

/* ---- enumeration ---- */
static VOID IopQueryIds(IOP_NODE *Node)
{
    static const WCHAR *const Default = L"UNKNOWN\\DEVICE";
    UNICODE_STRING Path = {0};
    WCHAR Buffer[200];
    ULONG Count = 0;
    ULONG_PTR Id = 0;
    BUS_QUERY_ID_TYPE Type = BusQueryDeviceID;
    const WCHAR *Text = Default;
    if (NT_SUCCESS(IopPnpIrp(Node->Pdo, IRP_MN_QUERY_ID, &Type, sizeof Type, &Id)) && Id)
        Text = (const WCHAR *)Id;
    for (; *Text && Count < 120; Text++)
        Buffer[Count++] = *Text;
    if (Id)
        ExFreePool((PVOID)Id);
    Buffer[Count++] = L'\\';
    Id = 0;
    Type = BusQueryInstanceID;
    if (NT_SUCCESS(IopPnpIrp(Node->Pdo, IRP_MN_QUERY_ID, &Type, sizeof Type, &Id)) && Id) {
        for (Text = (const WCHAR *)Id; *Text && Count < 190; Text++)
            Buffer[Count++] = *Text;
        ExFreePool((PVOID)Id);
    } else {
        Buffer[Count++] = L'0';
    }
    Path = (UNICODE_STRING){(USHORT)(Count * sizeof(WCHAR)), sizeof Buffer, Buffer};
    ObpCopyString(&Path, &Node->InstancePath);
    Id = 0;
    Type = BusQueryHardwareIDs;
    if (NT_SUCCESS(IopPnpIrp(Node->Pdo, IRP_MN_QUERY_ID, &Type, sizeof Type, &Id)) && Id) {
        const WCHAR *Ids = (const WCHAR *)Id;
        for (Count = 0; (Ids[Count] || Ids[Count + 1]) && Count < 4000;)
            Count++;
        Path = (UNICODE_STRING){(USHORT)((Count + 2) * sizeof(WCHAR)), (USHORT)((Count + 2) * sizeof(WCHAR)), (PWCH)Id};
        ObpCopyString(&Path, &Node->HardwareIds);
        ExFreePool((PVOID)Id);
    }
}

static IOP_NODE *IopFindChild(IOP_NODE *Parent, PDEVICE_OBJECT Pdo)
{
    IOP_NODE *Found = NULL;
    ExAcquireFastMutex(&IopPnpLock);
    for (PLIST_ENTRY E = IopNodes.Flink; E != &IopNodes && !Found; E = E->Flink) {
        IOP_NODE *N = CONTAINING_RECORD(E, IOP_NODE, Link);
        if (N->Parent == Parent && (Pdo ? N->Pdo == Pdo : !N->Present))
            Found = N;
    }
    ExReleaseFastMutex(&IopPnpLock);
    return Found;
}

static VOID IopEnumerate(IOP_NODE *Node)
{
    DEVICE_RELATION_TYPE Type = BusRelations;
    ULONG_PTR Information = 0;
    PDEVICE_RELATIONS Relations;
    if (Node->State != IopNodeStarted)
        return;
    if (!NT_SUCCESS(IopPnpIrp(Node->Pdo, IRP_MN_QUERY_DEVICE_RELATIONS, &Type, sizeof Type, &Information)))
        return;
    ExAcquireFastMutex(&IopPnpLock);
    for (PLIST_ENTRY E = IopNodes.Flink; E != &IopNodes; E = E->Flink) {
        IOP_NODE *N = CONTAINING_RECORD(E, IOP_NODE, Link);
        if (N->Parent == Node)
            N->Present = FALSE;
    }
    ExReleaseFastMutex(&IopPnpLock);
    Relations = (PDEVICE_RELATIONS)Information;
    for (ULONG i = 0; Relations && i < Relations->Count; i++) {
        PDEVICE_OBJECT Pdo = Relations->Objects[i]; /* referenced by the bus driver */
        IOP_NODE *Child = IopFindChild(Node, Pdo);
        if (Child) {
            Child->Present = TRUE;
        } else if ((Child = IopNewNode(Pdo, Node)) != NULL) {
            PVOID Capabilities = &Child->Capabilities;
            Pdo->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
            IopQueryIds(Child);
            Child->Capabilities.Size = sizeof(DEVICE_CAPABILITIES);
            Child->Capabilities.Version = 1;
            Child->Capabilities.Address = Child->Capabilities.UINumber = 0xffffffff;
            IopPnpIrp(Pdo, IRP_MN_QUERY_CAPABILITIES, &Capabilities, sizeof Capabilities, NULL);
            if (Child->Capabilities.RawDeviceOK)
                IopStartNode(Child);
        }
        ObfDereferenceObject(Pdo);
    }
    if (Relations)
        ExFreePool(Relations);
    for (IOP_NODE *Gone; (Gone = IopFindChild(Node, NULL)) != NULL;)
        IopRemoveNode(Gone, TRUE);
}

typedef struct _IOP_INVALIDATION {
    WORK_QUEUE_ITEM Item;
    PDEVICE_OBJECT Pdo;
    BOOLEAN Relations;
} IOP_INVALIDATION;

static VOID IopRunInvalidation(PVOID Parameter)
{
    IOP_INVALIDATION *Work = Parameter;
    IOP_NODE *Node = IopDevice(Work->Pdo)->Node;
    if (Node && Node->Pdo == Work->Pdo && Node->State == IopNodeStarted) {
        if (Work->Relations)
            IopEnumerate(Node);
        else
            IopQueryState(Node);
    }
    ObfDereferenceObject(Work->Pdo);
    ExFreePoolWithTag(Work, IOP_TAG);
}

static VOID IopInvalidate(PDEVICE_OBJECT Pdo, BOOLEAN Relations)
{
    IopNodeOfPdo(Pdo);
    IOP_INVALIDATION *Work = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Work, IOP_TAG);
    if (Work == NULL)
        return;
    ObfReferenceObject(Pdo);
    Work->Pdo = Pdo;
    Work->Relations = Relations;
    ExInitializeWorkItem(&Work->Item, IopRunInvalidation, Work);
    ExQueueWorkItem(&Work->Item, DelayedWorkQueue);
}

VOID IoInvalidateDeviceRelations(PDEVICE_OBJECT DeviceObject, DEVICE_RELATION_TYPE Type)
{
    if (Type == BusRelations || Type == SingleBusRelations)
        IopInvalidate(DeviceObject, TRUE);
    else
        IopNodeOfPdo(DeviceObject);
}

VOID IoInvalidateDeviceState(PDEVICE_OBJECT PhysicalDeviceObject)
{
    IopInvalidate(PhysicalDeviceObject, FALSE);
}

VOID IoRequestDeviceEject(PDEVICE_OBJECT PhysicalDeviceObject)
{
    IopNodeOfPdo(PhysicalDeviceObject); /* nobody presses the button: nothing is ejected */
}

/* ---- a device of the root for a driver ---- */
NTSTATUS IopAddRootDevice(PDRIVER_OBJECT Driver, const CHAR *HardwareId)
{
    WCHAR Buffer[128];
    UNICODE_STRING Name = {0, sizeof Buffer, Buffer};
    ULONG Number = (ULONG)__atomic_add_fetch(&IopNextPdo, 1, __ATOMIC_RELAXED), Count;
    PDEVICE_OBJECT Pdo;
    IOP_NODE *Node;
    NTSTATUS Status;
    if (Driver->DriverExtension->AddDevice == NULL)
        return STATUS_INVALID_DEVICE_REQUEST;
    Count = IopAppend(Buffer, 0, ARRAYSIZE(Buffer), "\\Device\\");
    for (ULONG i = 0; i < 8; i++)
        Buffer[Count++] = (WCHAR) "0123456789abcdef"[(Number >> (28 - 4 * i)) & 15];
    Name.Length = (USHORT)(Count * sizeof(WCHAR));
    Status = IoCreateDevice(IopPnpDriver, sizeof(IOP_ROOT_CHILD), &Name, FILE_DEVICE_CONTROLLER, FILE_AUTOGENERATED_DEVICE_NAME,
                            FALSE, &Pdo);
    if (!NT_SUCCESS(Status))
        return Status;
    Pdo->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    Node = IopNewNode(Pdo, NULL);
    if (Node == NULL) {
        IoDeleteDevice(Pdo);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Node->Root = TRUE;
    Count = IopAppend(Buffer, 0, ARRAYSIZE(Buffer) - 6, HardwareId);
    Name.Length = (USHORT)((Count + 2) * sizeof(WCHAR));
    Buffer[Count] = Buffer[Count + 1] = 0;
    ObpCopyString(&Name, &Node->HardwareIds);
    Count = IopAppend(Buffer, Count, ARRAYSIZE(Buffer), "\\0000");
    Name.Length = (USHORT)(Count * sizeof(WCHAR));
    ObpCopyString(&Name, &Node->InstancePath);
    Node->Function = Driver;
    Status = KI_CALLOUT(NTSTATUS, Driver->DriverExtension->AddDevice, (PDRIVER_OBJECT, PDEVICE_OBJECT), (Driver, Pdo));
    if (!NT_SUCCESS(Status)) {
        IopDropNode(Node); /* AddDevice undid what it did: no IRP is sent */
        return Status;
    }
    Status = IopStartNode(Node);
    if (!NT_SUCCESS(Status))
        IopRemoveNode(Node, FALSE);
    return Status;
}

/* ---- properties ---- */
static NTSTATUS IopGive(PVOID Buffer, ULONG Room, PULONG Need, const VOID *Data, ULONG Length)
{
    *Need = Length;
    if (Room < Length)
        return STATUS_BUFFER_TOO_SMALL;
    if (Length)
        memcpy(Buffer, Data, Length);
    return STATUS_SUCCESS;
}

NTSTATUS IoGetDeviceProperty(PDEVICE_OBJECT DeviceObject, DEVICE_REGISTRY_PROPERTY DeviceProperty, ULONG BufferLength,
                             PVOID PropertyBuffer, PULONG ResultLength)
{
    IOP_NODE *Node = IopNodeOfPdo(DeviceObject);
    UNICODE_STRING Name;
    ULONG Zero = 0, Length;
    NTSTATUS Status;
    static const WCHAR Root[] = L"ROOT";
    *ResultLength = 0;
    switch (DeviceProperty) {
    case DevicePropertyHardwareID:
        if (Node->HardwareIds.Length == 0)
            return STATUS_OBJECT_NAME_NOT_FOUND;
        return IopGive(PropertyBuffer, BufferLength, ResultLength, Node->HardwareIds.Buffer, Node->HardwareIds.Length);
    case DevicePropertyEnumeratorName:
        /* The instance path up to its first backslash. */
        for (Length = 0; Length < Node->InstancePath.Length / sizeof(WCHAR) && Node->InstancePath.Buffer[Length] != L'\\';)
            Length++;
        if (Node->Root)
            return IopGive(PropertyBuffer, BufferLength, ResultLength, Root, sizeof Root);
        *ResultLength = (Length + 1) * (ULONG)sizeof(WCHAR);
        if (BufferLength < *ResultLength)
            return STATUS_BUFFER_TOO_SMALL;
        memcpy(PropertyBuffer, Node->InstancePath.Buffer, Length * sizeof(WCHAR));
        ((PWCH)PropertyBuffer)[Length] = 0;
        return STATUS_SUCCESS;
    case DevicePropertyPhysicalDeviceObjectName:
        Status = ObpQueryName(DeviceObject, &Name);
        if (!NT_SUCCESS(Status))
            return Status;
        Status = IopGive(PropertyBuffer, BufferLength, ResultLength, Name.Length ? Name.Buffer : L"",
                         Name.Length ? Name.Length + (ULONG)sizeof(WCHAR) : 0);
        ObpFreeString(&Name);
        return Status;
    case DevicePropertyInstallState:
        return IopGive(PropertyBuffer, BufferLength, ResultLength, &Zero, sizeof Zero);
    case DevicePropertyAddress:
        if (Node->Capabilities.Address == 0xffffffff)
            return STATUS_OBJECT_NAME_NOT_FOUND;
        return IopGive(PropertyBuffer, BufferLength, ResultLength, &Node->Capabilities.Address, sizeof(ULONG));
    case DevicePropertyUINumber:
        if (Node->Capabilities.UINumber == 0xffffffff)
            return STATUS_OBJECT_NAME_NOT_FOUND;
        return IopGive(PropertyBuffer, BufferLength, ResultLength, &Node->Capabilities.UINumber, sizeof(ULONG));
    case DevicePropertyBootConfiguration:
    case DevicePropertyBootConfigurationTranslated:
    case DevicePropertyAllocatedResources:
    case DevicePropertyResourceRequirements:
        return STATUS_SUCCESS; /* none: documented as success with a length of 0 */
    default:
        return DeviceProperty > DevicePropertyContainerID ? STATUS_INVALID_PARAMETER_2 : STATUS_OBJECT_NAME_NOT_FOUND;
    }
}

/* The link that leads to the property, or to NULL. With IopPnpLock held. */
static IOP_PROPERTY **IopFindProperty(IOP_NODE *Node, const DEVPROPKEY *Key, LCID Lcid)
{
    IOP_PROPERTY **Link = &Node->Properties;
    while (*Link && (memcmp(&(*Link)->Key, Key, sizeof *Key) != 0 || (*Link)->Lcid != Lcid))
        Link = &(*Link)->Next;
    return Link;
}

NTSTATUS IoSetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid, ULONG Flags, DEVPROPTYPE Type,
                                 ULONG Size, PVOID Data)
{
    IOP_NODE *Node = IopNodeOfPdo(Pdo);
    IOP_PROPERTY *New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *New + (SIZE_T)Size, IOP_TAG), *Old = NULL;
    UNREFERENCED_PARAMETER(Flags);
    if (New == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    *New = (IOP_PROPERTY){NULL, *PropertyKey, Lcid, Type, Size};
    if (Size)
        memcpy(New + 1, Data, Size);
    ExAcquireFastMutex(&IopPnpLock);
    IOP_PROPERTY **Link = IopFindProperty(Node, PropertyKey, Lcid);
    if (*Link) {
        Old = *Link;
        *Link = Old->Next;
    }
    if (Size) {
        New->Next = Node->Properties;
        Node->Properties = New;
    }
    ExReleaseFastMutex(&IopPnpLock);
    if (Old)
        ExFreePoolWithTag(Old, IOP_TAG);
    if (Size == 0)
        ExFreePoolWithTag(New, IOP_TAG); /* no data: the property is deleted */
    return STATUS_SUCCESS;
}

NTSTATUS IoGetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid, ULONG Flags, ULONG Size,
                                 PVOID Data, PULONG RequiredSize, PDEVPROPTYPE Type)
{
    IOP_NODE *Node = IopNodeOfPdo(Pdo);
    NTSTATUS Status = STATUS_OBJECT_NAME_NOT_FOUND;
    UNREFERENCED_PARAMETER(Flags);
    ExAcquireFastMutex(&IopPnpLock);
    IOP_PROPERTY *Property = *IopFindProperty(Node, PropertyKey, Lcid);
    if (Property) {
        *Type = Property->Type;
        Status = IopGive(Data, Size, RequiredSize, Property + 1, Property->Size);
    }
    ExReleaseFastMutex(&IopPnpLock);
    return Status;
}

/* ---- what DMA asks of a device that may be none of ours ---- */
static const DEVPROPKEY IopProximityDomain = {{0x540b947e, 0x8b40, 0x45bc, {0xa8, 0xa2, 0x6a, 0x0b, 0x89, 0x4c, 0xbd, 0xa2}},
                                              1};

/* The node in the tree, with IopPnpLock held. */
static IOP_NODE *IopFindNode(PDEVICE_OBJECT Device)
{
    for (LIST_ENTRY *Entry = IopNodes.Flink; Entry != &IopNodes; Entry = Entry->Flink)
        if (CONTAINING_RECORD(Entry, IOP_NODE, Link)->Pdo == Device)
            return CONTAINING_RECORD(Entry, IOP_NODE, Link);
    return NULL;
}

BOOLEAN IopNumaNodeOf(PDEVICE_OBJECT Pdo, PULONG Node)
{
    BOOLEAN Found = FALSE;
    ULONG Number;
    if (Pdo == NULL || KiCurrentThread()->Irql > APC_LEVEL)
        return FALSE;
    ExAcquireFastMutex(&IopPnpLock);
    IOP_NODE *Here = IopFindNode(Pdo);
    IOP_PROPERTY *Property = Here ? *IopFindProperty(Here, &IopProximityDomain, 0) : NULL;
    if (Property && Property->Size == sizeof Number) {
        memcpy(&Number, Property + 1, sizeof Number);
        Found = Number <= KeQueryHighestNodeNumber();
    }
    ExReleaseFastMutex(&IopPnpLock);
    if (Found)
        *Node = Number;
    return Found;
}

/* A physical device in the tree, of the root's bus or of another. */
static BOOLEAN IopIsPdo(PDEVICE_OBJECT Device, BOOLEAN Root)
{
    ExAcquireFastMutex(&IopPnpLock);
    IOP_NODE *Node = IopFindNode(Device);
    BOOLEAN Is = Node && Node->Root == Root;
    ExReleaseFastMutex(&IopPnpLock);
    return Is;
}

BOOLEAN IopIsRootPdo(PDEVICE_OBJECT Device)
{
    return IopIsPdo(Device, TRUE);
}

BOOLEAN IopIsOtherBusesPdo(PDEVICE_OBJECT Device)
{
    return IopIsPdo(Device, FALSE);
}

NTSTATUS IopQueryInterface(PDEVICE_OBJECT Pdo, const GUID *Type, USHORT Size, USHORT Version, PINTERFACE Interface)
{
    const struct {
        const GUID *Type;
        USHORT Size, Version;
        PINTERFACE Interface;
        PVOID Data;
    } Parameters = {Type, Size, Version, Interface, NULL};
    C_ASSERT(sizeof Parameters == sizeof(((PIO_STACK_LOCATION)0)->Parameters.QueryInterface));
    return IopPnpIrp(Pdo, IRP_MN_QUERY_INTERFACE, &Parameters, sizeof Parameters, NULL);
}

NTSTATUS IoOpenDeviceRegistryKey(PDEVICE_OBJECT DeviceObject, ULONG DevInstKeyType, ACCESS_MASK DesiredAccess,
                                 PHANDLE DeviceRegKey)
{
    /* Enum\<instance path> and its Device Parameters, or a driver key of its own below it. */
    IOP_NODE *Node = IopNodeOfPdo(DeviceObject);
    WCHAR Buffer[320];
    ULONG Count = IopAppend(Buffer, 0, 320, "\\Registry\\Machine\\System\\CurrentControlSet\\Enum"), Start = Count;
    UNICODE_STRING Path = {0, sizeof Buffer, Buffer};
    OBJECT_ATTRIBUTES Attributes;
    NTSTATUS Status = STATUS_SUCCESS;
    if (DevInstKeyType != PLUGPLAY_REGKEY_DEVICE && DevInstKeyType != PLUGPLAY_REGKEY_DRIVER)
        return STATUS_INVALID_PARAMETER;
    Buffer[Count++] = L'\\';
    for (ULONG i = 0; i < Node->InstancePath.Length / sizeof(WCHAR) && Count < 280; i++)
        Buffer[Count++] = Node->InstancePath.Buffer[i];
    Count = IopAppend(Buffer, Count, 320, DevInstKeyType == PLUGPLAY_REGKEY_DEVICE ? "\\Device Parameters" : "\\Driver");
    /* Every level is made if it is not there. */
    for (ULONG End = Start + 1; End <= Count && NT_SUCCESS(Status); End++) {
        if (End < Count && Buffer[End] != L'\\')
            continue;
        Path.Length = (USHORT)(End * sizeof(WCHAR));
        InitializeObjectAttributes(&Attributes, &Path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
        Status = ZwCreateKey(DeviceRegKey, DesiredAccess, &Attributes, 0, NULL, 0, NULL);
        if (NT_SUCCESS(Status) && End < Count)
            ZwClose(*DeviceRegKey);
    }
    return Status;
}

/* ---- start and stop ---- */
NTSTATUS IopInitPnp(VOID)
{
    UNICODE_STRING Name;
    ExInitializeFastMutex(&IopPnpLock);
    RtlInitUnicodeString(&Name, L"\\Driver\\PnpManager");
    return IoCreateDriver(&Name, IopPnpEntry);
}

VOID IopShutdownPnp(VOID)
{
    while (!IsListEmpty(&IopNodes)) {
        IOP_NODE *Last = CONTAINING_RECORD(IopNodes.Blink, IOP_NODE, Link);
        Last->State = IopNodeRemoved; /* its driver is gone or was never unloaded: nobody is asked any more */
        IopDropNode(Last);
    }
    IopShutdownInterfaces();
    if (IopPnpDriver)
        IoDeleteDriver(IopPnpDriver);
    IopPnpDriver = NULL;
}
