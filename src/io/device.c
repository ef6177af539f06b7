/*
 * device.c - device objects, their stacks, their names. SPDX-License-Identifier: MIT
 *
 * Implements IoCreateDevice, WdmlibIoCreateDeviceSecure, IoDeleteDevice, IoCreateSymbolicLink, IoDeleteSymbolicLink,
 * IoAttachDevice and its relatives, IoDetachDevice, IoGetAttachedDevice(Reference), IoGetLowerDeviceObject,
 * IoGetDeviceObjectPointer, IoGetRelatedDeviceObject, IoEnumerateDeviceObjectList, shutdown notification.
 *
 *     body:  DEVICE_OBJECT | the driver's extension (zeroed, 16-aligned) | IOP_DEVICE
 *                                                                          ^ DeviceObjectExtension
 *
 *     driver->DeviceObject -> newest -> ... -> oldest          (NextDevice)
 *     lower <-AttachedTo-- upper,  lower.AttachedDevice = upper
 *
 *     created --IoDeleteDevice--> pending (files open: opens fail) --last file--> deleted --last reference--> freed
 *
 * Invariants: 1. a device is in its driver's list until IoDeleteDevice; 2. AttachedTo and AttachedDevice mirror each
 * other; 3. ReferenceCount is the number of open file objects; 4. StackSize of an upper device exceeds the lower one's.
 * (IopValidateDevices quotes the numbers.) Locks: IopDatabaseLock (leaf) guards 1-3. An object reference goes with: being in
 * the driver's list (the creator's), and each file object.
 */
#include "io/iopp.h"

KI_LOCK IopDatabaseLock;
static LIST_ENTRY IopShutdownList = {&IopShutdownList, &IopShutdownList};

static VOID IopFreeDevice(PVOID Object)
{
    PDEVICE_OBJECT Device = Object;
    PDRIVER_OBJECT Driver = Device->DriverObject;
    if (Device->Vpb)
        ExFreePoolWithTag(Device->Vpb, IOP_TAG);
    Device->Type = 0;
    if (Driver)
        ObfDereferenceObject(Driver);
}

OBJECT_TYPE IopDeviceType = {.Name = L"Device",
                             .Tag = 'iveD',
                             .WaitOffset = -1,
                             .ValidAccess = FILE_ALL_ACCESS,
                             .Parse = IopParseDevice,
                             .Delete = IopFreeDevice};
static POBJECT_TYPE IopDeviceTypePointer = &IopDeviceType;
POBJECT_TYPE *IoDeviceObjectType = &IopDeviceTypePointer;

NTSTATUS IoCreateDevice(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize, PUNICODE_STRING DeviceName,
                        DEVICE_TYPE DeviceType, ULONG DeviceCharacteristics, BOOLEAN Exclusive, PDEVICE_OBJECT *DeviceObject)
{
    KI_SECURITY(Routine, DeviceName, DeviceObject, sizeof *DeviceObject);
    SIZE_T Extension = ((SIZE_T)DeviceExtensionSize + 15) & ~(SIZE_T)15;
    PDEVICE_OBJECT Device;
    IOP_DEVICE *Private;
    IOP_NAME *Remembered = NULL;
    NTSTATUS Status;
    *DeviceObject = NULL;
    Status = ObpCreateObject(&IopDeviceType, sizeof(DEVICE_OBJECT) + Extension + sizeof(IOP_DEVICE), (PVOID *)&Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Private = (IOP_DEVICE *)((PUCHAR)(Device + 1) + Extension);
    Device->Type = IO_TYPE_DEVICE;
    Device->Size = (USHORT)(sizeof(DEVICE_OBJECT) + DeviceExtensionSize);
    Device->DeviceExtension = DeviceExtensionSize ? Device + 1 : NULL;
    Device->DeviceType = DeviceType;
    Device->Characteristics = DeviceCharacteristics;
    Device->StackSize = 1;
    Device->Flags = DO_DEVICE_INITIALIZING | (Exclusive ? DO_EXCLUSIVE : 0);
    Device->DeviceObjectExtension = &Private->Public;
    Private->Public.Type = 13; /* IO_TYPE_DEVICE_OBJECT_EXTENSION */
    Private->Public.DeviceObject = Device;
    InitializeListHead(&Private->ShutdownLink);
    KeInitializeEvent(&Device->DeviceLock, SynchronizationEvent, TRUE);
    KeInitializeDeviceQueue(&Device->DeviceQueue);
    switch (DeviceType) {
    case FILE_DEVICE_DISK:
    case FILE_DEVICE_TAPE:
    case FILE_DEVICE_CD_ROM:
    case FILE_DEVICE_VIRTUAL_DISK:
        Device->Vpb = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(VPB), IOP_TAG);
        if (Device->Vpb == NULL) {
            ObfDereferenceObject(Device);
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        Device->Vpb->Type = 10; /* IO_TYPE_VPB */
        Device->Vpb->Size = sizeof(VPB);
        Device->Vpb->RealDevice = Device;
        Device->SectorSize = 512;
        break;
    default:
        InitializeListHead(&Device->Queue.ListEntry);
        break;
    }
    ObfReferenceObject(DriverObject);
    Device->DriverObject = DriverObject;
    if (DeviceName && DeviceName->Length) {
        Remembered = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Remembered, IOP_TAG);
        Status = Remembered ? ObpCopyString(DeviceName, &Remembered->Name) : STATUS_INSUFFICIENT_RESOURCES;
        if (NT_SUCCESS(Status))
            Status = ObpInsertName(Device, NULL, &Remembered->Name, OBJ_PERMANENT, NULL);
        if (!NT_SUCCESS(Status)) {
            if (Remembered) {
                ObpFreeString(&Remembered->Name);
                ExFreePoolWithTag(Remembered, IOP_TAG);
            }
            ObfDereferenceObject(Device);
            return Status;
        }
        Device->Flags |= DO_DEVICE_HAS_NAME;
    }
    KiAcquireLock(&IopDatabaseLock);
    Device->NextDevice = DriverObject->DeviceObject;
    DriverObject->DeviceObject = Device;
    if (Remembered) {
        Remembered->Next = IopDriver(DriverObject)->DeviceNames;
        IopDriver(DriverObject)->DeviceNames = Remembered;
    }
    KiReleaseLock(&IopDatabaseLock);
    *DeviceObject = Device;
    return STATUS_SUCCESS;
}

NTSTATUS WdmlibIoCreateDeviceSecure(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize, PUNICODE_STRING DeviceName,
                                    DEVICE_TYPE DeviceType, ULONG DeviceCharacteristics, BOOLEAN Exclusive,
                                    PCUNICODE_STRING DefaultSDDLString, const GUID *DeviceClassGuid,
                                    PDEVICE_OBJECT *DeviceObject)
{
    UNREFERENCED_PARAMETER(DefaultSDDLString);
    UNREFERENCED_PARAMETER(DeviceClassGuid);
    return IoCreateDevice(DriverObject, DeviceExtensionSize, DeviceName, DeviceType, DeviceCharacteristics, Exclusive,
                          DeviceObject);
}

/* Out of its driver's list; FALSE if it was not there (deleted before). Database lock held. */
static BOOLEAN IopUnlinkDeviceLocked(PDEVICE_OBJECT Device)
{
    BOOLEAN Found = FALSE;
    for (PDEVICE_OBJECT *Link = &Device->DriverObject->DeviceObject; *Link; Link = &(*Link)->NextDevice)
        if (*Link == Device) {
            *Link = Device->NextDevice;
            Found = TRUE;
            break;
        }
    return Found;
}

static VOID IopFinishDelete(PDEVICE_OBJECT Device)
{
    KiAcquireLock(&IopDatabaseLock);
    IopDevice(Device)->Flags |= IOP_D_DELETED;
    KiReleaseLock(&IopDatabaseLock);
    ObfDereferenceObject(Device);
}

VOID IoDeleteDevice(PDEVICE_OBJECT DeviceObject)
{
    IOP_DEVICE *Private = IopDevice(DeviceObject);
    BOOLEAN Busy, First;
    IoUnregisterShutdownNotification(DeviceObject);
    IopRemoveTimer(DeviceObject);
    if (DeviceObject->Flags & DO_DEVICE_HAS_NAME) {
        ObpRemoveName(DeviceObject);
        DeviceObject->Flags &= ~(ULONG)DO_DEVICE_HAS_NAME;
    }
    KiAcquireLock(&IopDatabaseLock);
    First = IopUnlinkDeviceLocked(DeviceObject);
    Private->Flags |= IOP_D_DELETE_PENDING;
    Busy = DeviceObject->ReferenceCount > 0;
    KiReleaseLock(&IopDatabaseLock);
    if (!Busy && First)
        IopFinishDelete(DeviceObject);
}

VOID IopReferenceDevice(PDEVICE_OBJECT Device)
{
    KiAcquireLock(&IopDatabaseLock);
    Device->ReferenceCount++;
    IopDriver(Device->DriverObject)->OpenFiles++;
    KiReleaseLock(&IopDatabaseLock);
    ObfReferenceObject(Device);
}

VOID IopDereferenceDevice(PDEVICE_OBJECT Device)
{
    KiAcquireLock(&IopDatabaseLock);
    IopDriver(Device->DriverObject)->OpenFiles--;
    BOOLEAN Finish = --Device->ReferenceCount == 0 &&
                     (IopDevice(Device)->Flags & (IOP_D_DELETE_PENDING | IOP_D_DELETED)) == IOP_D_DELETE_PENDING;
    KiReleaseLock(&IopDatabaseLock);
    if (Finish)
        IopFinishDelete(Device);
    ObfDereferenceObject(Device);
}

BOOLEAN IopDeviceUsable(PDEVICE_OBJECT Device)
{
    return !(Device->Flags & DO_DEVICE_INITIALIZING) && !(IopDevice(Device)->Flags & (IOP_D_DELETE_PENDING | IOP_D_DELETED)) &&
           !(Device->DriverObject->Flags & DRVO_UNLOAD_INVOKED);
}

/* ---- stacks ---- */
static PDEVICE_OBJECT IopTopLocked(PDEVICE_OBJECT Device)
{
    while (Device->AttachedDevice)
        Device = Device->AttachedDevice;
    return Device;
}

PDEVICE_OBJECT IoGetAttachedDevice(PDEVICE_OBJECT DeviceObject)
{
    KiAcquireLock(&IopDatabaseLock);
    PDEVICE_OBJECT Top = IopTopLocked(DeviceObject);
    KiReleaseLock(&IopDatabaseLock);
    return Top;
}

PDEVICE_OBJECT IoGetAttachedDeviceReference(PDEVICE_OBJECT DeviceObject)
{
    KiAcquireLock(&IopDatabaseLock);
    PDEVICE_OBJECT Top = IopTopLocked(DeviceObject);
    ObfReferenceObject(Top);
    KiReleaseLock(&IopDatabaseLock);
    return Top;
}

PDEVICE_OBJECT IoGetLowerDeviceObject(PDEVICE_OBJECT DeviceObject)
{
    KiAcquireLock(&IopDatabaseLock);
    PDEVICE_OBJECT Lower = IopDevice(DeviceObject)->AttachedTo;
    if (IopDevice(DeviceObject)->Flags & (IOP_D_DELETE_PENDING | IOP_D_DELETED))
        Lower = NULL;
    if (Lower)
        ObfReferenceObject(Lower);
    KiReleaseLock(&IopDatabaseLock);
    return Lower;
}

PDEVICE_OBJECT IoGetDeviceAttachmentBaseRef(PDEVICE_OBJECT DeviceObject)
{
    KiAcquireLock(&IopDatabaseLock);
    while (IopDevice(DeviceObject)->AttachedTo)
        DeviceObject = IopDevice(DeviceObject)->AttachedTo;
    ObfReferenceObject(DeviceObject);
    KiReleaseLock(&IopDatabaseLock);
    return DeviceObject;
}

NTSTATUS IoAttachDeviceToDeviceStackSafe(PDEVICE_OBJECT SourceDevice, PDEVICE_OBJECT TargetDevice,
                                         PDEVICE_OBJECT *AttachedToDeviceObject)
{
    NTSTATUS Status = STATUS_SUCCESS;
    KiAcquireLock(&IopDatabaseLock);
    PDEVICE_OBJECT Top = IopTopLocked(TargetDevice);
    if (IopDevice(Top)->Flags & (IOP_D_DELETE_PENDING | IOP_D_DELETED)) {
        Status = STATUS_NO_SUCH_DEVICE;
        *AttachedToDeviceObject = NULL;
    } else {
        Top->AttachedDevice = SourceDevice;
        IopDevice(SourceDevice)->AttachedTo = Top;
        SourceDevice->StackSize = (CCHAR)(Top->StackSize + 1);
        SourceDevice->AlignmentRequirement = Top->AlignmentRequirement;
        SourceDevice->SectorSize = Top->SectorSize;
        *AttachedToDeviceObject = Top;
    }
    KiReleaseLock(&IopDatabaseLock);
    return Status;
}

PDEVICE_OBJECT IoAttachDeviceToDeviceStack(PDEVICE_OBJECT SourceDevice, PDEVICE_OBJECT TargetDevice)
{
    PDEVICE_OBJECT Lower = NULL;
    IoAttachDeviceToDeviceStackSafe(SourceDevice, TargetDevice, &Lower);
    return Lower;
}

NTSTATUS IoAttachDevice(PDEVICE_OBJECT SourceDevice, PUNICODE_STRING TargetDevice, PDEVICE_OBJECT *AttachedDevice)
{
    PFILE_OBJECT File;
    PDEVICE_OBJECT Target;
    NTSTATUS Status = IoGetDeviceObjectPointer(TargetDevice, FILE_READ_ATTRIBUTES, &File, &Target);
    if (!NT_SUCCESS(Status))
        return Status;
    /* The caller's variable is set before a request can reach the new top. */
    Status = IoAttachDeviceToDeviceStackSafe(SourceDevice, Target, AttachedDevice);
    ObfDereferenceObject(File);
    return Status;
}

VOID IoDetachDevice(PDEVICE_OBJECT TargetDevice)
{
    KiAcquireLock(&IopDatabaseLock);
    PDEVICE_OBJECT Upper = TargetDevice->AttachedDevice;
    if (Upper)
        IopDevice(Upper)->AttachedTo = NULL;
    TargetDevice->AttachedDevice = NULL;
    KiReleaseLock(&IopDatabaseLock);
}

PDEVICE_OBJECT IoGetRelatedDeviceObject(PFILE_OBJECT FileObject)
{
    return IoGetAttachedDevice(FileObject->DeviceObject);
}

PDEVICE_OBJECT IoGetBaseFileSystemDeviceObject(PFILE_OBJECT FileObject)
{
    return FileObject->DeviceObject;
}

NTSTATUS IoEnumerateDeviceObjectList(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT *DeviceObjectList, ULONG DeviceObjectListSize,
                                     PULONG ActualNumberDeviceObjects)
{
    ULONG Count = 0, Room = DeviceObjectListSize / sizeof(PDEVICE_OBJECT);
    KiAcquireLock(&IopDatabaseLock);
    for (PDEVICE_OBJECT Device = DriverObject->DeviceObject; Device; Device = Device->NextDevice)
        Count++;
    *ActualNumberDeviceObjects = Count;
    if (Count <= Room) {
        for (PDEVICE_OBJECT Device = DriverObject->DeviceObject; Device; Device = Device->NextDevice) {
            ObfReferenceObject(Device);
            *DeviceObjectList++ = Device;
        }
    }
    KiReleaseLock(&IopDatabaseLock);
    return Count <= Room ? STATUS_SUCCESS : STATUS_BUFFER_TOO_SMALL;
}

/* ---- names ---- */
NTSTATUS IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName)
{
    KI_SECURITY(Routine, SymbolicLinkName, NULL, 0);
    KI_SECURITY(Routine, DeviceName, NULL, 0);
    return ObpCreateLink(SymbolicLinkName, DeviceName, OBJ_PERMANENT);
}

NTSTATUS IoCreateUnprotectedSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName)
{
    return ObpCreateLink(SymbolicLinkName, DeviceName, OBJ_PERMANENT);
}

NTSTATUS IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName)
{
    KI_SECURITY(Routine, SymbolicLinkName, NULL, 0);
    return ObpRemoveLink(SymbolicLinkName);
}

/* ---- the end of the system ---- */
static NTSTATUS IopRegisterShutdown(PDEVICE_OBJECT Device, ULONG Flag)
{
    KiAcquireLock(&IopDatabaseLock);
    if (IsListEmpty(&IopDevice(Device)->ShutdownLink))
        InsertHeadList(&IopShutdownList, &IopDevice(Device)->ShutdownLink);
    IopDevice(Device)->Flags |= Flag;
    Device->Flags |= DO_SHUTDOWN_REGISTERED;
    KiReleaseLock(&IopDatabaseLock);
    return STATUS_SUCCESS;
}

NTSTATUS IoRegisterShutdownNotification(PDEVICE_OBJECT DeviceObject)
{
    return IopRegisterShutdown(DeviceObject, IOP_D_SHUTDOWN);
}

NTSTATUS IoRegisterLastChanceShutdownNotification(PDEVICE_OBJECT DeviceObject)
{
    return IopRegisterShutdown(DeviceObject, IOP_D_LAST_SHUTDOWN);
}

VOID IoUnregisterShutdownNotification(PDEVICE_OBJECT DeviceObject)
{
    KiAcquireLock(&IopDatabaseLock);
    IOP_DEVICE *Private = IopDevice(DeviceObject);
    if (!IsListEmpty(&Private->ShutdownLink)) {
        RemoveEntryList(&Private->ShutdownLink);
        InitializeListHead(&Private->ShutdownLink);
    }
    Private->Flags &= ~(IOP_D_SHUTDOWN | IOP_D_LAST_SHUTDOWN);
    DeviceObject->Flags &= ~(ULONG)DO_SHUTDOWN_REGISTERED;
    KiReleaseLock(&IopDatabaseLock);
}

static VOID IopShutdownPass(ULONG Flag)
{
    for (;;) {
        PDEVICE_OBJECT Device = NULL;
        KiAcquireLock(&IopDatabaseLock);
        for (PLIST_ENTRY E = IopShutdownList.Flink; E != &IopShutdownList; E = E->Flink) {
            IOP_DEVICE *Private = CONTAINING_RECORD(E, IOP_DEVICE, ShutdownLink);
            if (!(Private->Flags & Flag))
                continue;
            RemoveEntryList(E);
            InitializeListHead(E);
            Device = Private->Public.DeviceObject;
            ObfReferenceObject(Device);
            break;
        }
        KiReleaseLock(&IopDatabaseLock);
        if (Device == NULL)
            return;
        PDEVICE_OBJECT Top = IoGetAttachedDeviceReference(Device);
        PIRP Irp = IopAllocateIrp(Top->StackSize);
        IOP_REQUEST *Request = Irp ? IopCreateRequest(Irp) : NULL;
        if (Request) {
            BOOLEAN Abandoned;
            IoGetNextIrpStackLocation(Irp)->MajorFunction = IRP_MJ_SHUTDOWN;
            IopSendAndWait(Top, Request, 5000, NULL, &Abandoned);
            if (!Abandoned)
                IopDestroyRequest(Request);
        } else if (Irp) {
            IoFreeIrp(Irp);
        }
        ObfDereferenceObject(Top);
        ObfDereferenceObject(Device);
    }
}

VOID IopShutdownDevices(VOID)
{
    IopShutdownPass(IOP_D_SHUTDOWN);
    IopShutdownPass(IOP_D_LAST_SHUTDOWN);
}

const CHAR *IopValidateDevices(VOID)
{
    const CHAR *Broken = NULL;
    KiAcquireLock(&IopDatabaseLock);
    for (PLIST_ENTRY E = IopDrivers.Flink; E != &IopDrivers && !Broken; E = E->Flink) {
        IOP_DRIVER *Driver = CONTAINING_RECORD(E, IOP_DRIVER, Link);
        LONG Files = 0;
        for (PDEVICE_OBJECT Device = Driver->Object.DeviceObject; Device && !Broken; Device = Device->NextDevice) {
            PDEVICE_OBJECT Upper = Device->AttachedDevice, Lower = IopDevice(Device)->AttachedTo;
            Files += Device->ReferenceCount;
            if (__atomic_load_n(&ObpHeader(Device)->Magic, __ATOMIC_ACQUIRE) != OBP_MAGIC || Device->Type != IO_TYPE_DEVICE)
                Broken = "io 1: a driver's list holds no device";
            else if (Device->DriverObject != &Driver->Object)
                Broken = "io 1: a device is in another driver's list";
            else if (IopDevice(Device)->Flags & IOP_D_DELETE_PENDING)
                Broken = "io 1: a deleted device is in its driver's list";
            else if (Upper && IopDevice(Upper)->AttachedTo != Device)
                Broken = "io 2: an attachment has no way back down";
            else if (Lower && Lower->AttachedDevice != Device)
                Broken = "io 2: an attachment has no way back up";
            else if (Device->ReferenceCount < 0)
                Broken = "io 3: a device has a negative number of open files";
            else if (Lower && Device->StackSize <= Lower->StackSize)
                Broken = "io 4: a device has no more stack locations than the one below";
        }
        if (!Broken && Files > Driver->OpenFiles)
            Broken = "io 3: a driver's devices have more open files than the driver";
    }
    KiReleaseLock(&IopDatabaseLock);
    return Broken;
}
