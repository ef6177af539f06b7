/*
 * devintf.c - device interfaces, and who is told about them. SPDX-License-Identifier: MIT
 *
 * Implements IoRegisterDeviceInterface, IoSetDeviceInterfaceState, IoGetDeviceInterfaces, IoOpenDeviceInterfaceRegistryKey,
 * IoRegisterPlugPlayNotification, IoUnregisterPlugPlayNotification(Ex), IoReportTargetDeviceChange.
 *
 *     \??\ROOT#Id#0000#{guid}\reference     the interface's name; up to the brace it is a symbolic link to the PDO while an
 *                                          interface of that class and device is enabled; the reference is left to the driver
 *
 * Notifications are delivered on the thread that makes the event. A callback is called without a lock; unregistering waits
 * until it is not running.
 * Locks: IopPnpLock.
 */
#include "io/pnp.h"

typedef struct _IOP_INTERFACE {
    LIST_ENTRY Link;
    IOP_NODE *Node;
    GUID Class;
    UNICODE_STRING Name;
    BOOLEAN Enabled;
} IOP_INTERFACE;

typedef struct _IOP_LISTENER {
    LIST_ENTRY Link;
    IO_NOTIFICATION_EVENT_CATEGORY Category;
    GUID Class;
    PFILE_OBJECT File;
    PDRIVER_OBJECT Driver;
    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE Routine;
    PVOID Context;
    LONG Calls;
    BOOLEAN Dying;
} IOP_LISTENER;

static LIST_ENTRY IopInterfaces = {&IopInterfaces, &IopInterfaces};
static LIST_ENTRY IopListeners = {&IopListeners, &IopListeners};
static const GUID IopArrival = {0xcb3a4004, 0x46f0, 0x11d0, {0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f}};
static const GUID IopRemoval = {0xcb3a4005, 0x46f0, 0x11d0, {0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f}};

static BOOLEAN IopSameGuid(const GUID *A, const GUID *B)
{
    return memcmp(A, B, sizeof *A) == 0;
}

/* ---- notifications ---- */
static BOOLEAN IopIsOnPdo(PFILE_OBJECT File, PDEVICE_OBJECT Pdo)
{
    PDEVICE_OBJECT Device = File->DeviceObject;
    KiAcquireLock(&IopDatabaseLock);
    while (IopDevice(Device)->AttachedTo)
        Device = IopDevice(Device)->AttachedTo;
    KiReleaseLock(&IopDatabaseLock);
    return Device == Pdo;
}

static VOID IopTell(IO_NOTIFICATION_EVENT_CATEGORY Category, const GUID *Class, PDEVICE_OBJECT Pdo, PVOID Structure)
{
    IOP_LISTENER *Previous = NULL;
    for (;;) {
        IOP_LISTENER *Next = NULL;
        ExAcquireFastMutex(&IopPnpLock);
        PLIST_ENTRY E = Previous ? Previous->Link.Flink : IopListeners.Flink;
        for (; E != &IopListeners; E = E->Flink) {
            IOP_LISTENER *L = CONTAINING_RECORD(E, IOP_LISTENER, Link);
            if (L->Dying || L->Category != Category)
                continue;
            if (Class && !IopSameGuid(&L->Class, Class))
                continue;
            if (Pdo && (L->File == NULL || !IopIsOnPdo(L->File, Pdo)))
                continue;
            L->Calls++;
            Next = L;
            break;
        }
        if (Previous)
            Previous->Calls--;
        ExReleaseFastMutex(&IopPnpLock);
        if (Next == NULL)
            return;
        KI_CALLOUT(NTSTATUS, Next->Routine, (PVOID, PVOID), (Structure, Next->Context));
        Previous = Next;
    }
}

NTSTATUS IoRegisterPlugPlayNotification(IO_NOTIFICATION_EVENT_CATEGORY EventCategory, ULONG EventCategoryFlags,
                                        PVOID EventCategoryData, PDRIVER_OBJECT DriverObject,
                                        PDRIVER_NOTIFICATION_CALLBACK_ROUTINE CallbackRoutine, PVOID Context,
                                        PVOID *NotificationEntry)
{
    IOP_LISTENER *Listener = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Listener, IOP_TAG);
    *NotificationEntry = NULL;
    if (Listener == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Listener->Category = EventCategory;
    Listener->Routine = CallbackRoutine;
    Listener->Context = Context;
    Listener->Driver = DriverObject;
    if (EventCategory == EventCategoryDeviceInterfaceChange) {
        Listener->Class = *(const GUID *)EventCategoryData;
    } else if (EventCategory == EventCategoryTargetDeviceChange) {
        Listener->File = EventCategoryData;
        ObfReferenceObject(Listener->File);
    } else if (EventCategory != EventCategoryHardwareProfileChange) {
        ExFreePoolWithTag(Listener, IOP_TAG);
        return STATUS_INVALID_PARAMETER;
    }
    ObfReferenceObject(DriverObject);
    ExAcquireFastMutex(&IopPnpLock);
    InsertTailList(&IopListeners, &Listener->Link);
    ExReleaseFastMutex(&IopPnpLock);
    *NotificationEntry = Listener;
    if (EventCategory == EventCategoryDeviceInterfaceChange &&
        (EventCategoryFlags & PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES)) {
        /* Those that are there already, one call each, for this listener alone. */
        for (ULONG Index = 0;; Index++) {
            UNICODE_STRING Name = {0};
            ULONG At = 0;
            BOOLEAN Found = FALSE;
            ExAcquireFastMutex(&IopPnpLock);
            for (PLIST_ENTRY E = IopInterfaces.Flink; E != &IopInterfaces && !Found; E = E->Flink) {
                IOP_INTERFACE *I = CONTAINING_RECORD(E, IOP_INTERFACE, Link);
                if (!I->Enabled || !IopSameGuid(&I->Class, &Listener->Class) || At++ != Index)
                    continue;
                Found = NT_SUCCESS(ObpCopyString(&I->Name, &Name));
            }
            ExReleaseFastMutex(&IopPnpLock);
            if (!Found)
                break;
            DEVICE_INTERFACE_CHANGE_NOTIFICATION Event = {1, sizeof Event, IopArrival, Listener->Class, &Name};
            KI_CALLOUT(NTSTATUS, CallbackRoutine, (PVOID, PVOID), (&Event, Context));
            ObpFreeString(&Name);
        }
    }
    return STATUS_SUCCESS;
}

NTSTATUS IoUnregisterPlugPlayNotificationEx(PVOID NotificationEntry)
{
    IOP_LISTENER *Listener = NotificationEntry;
    for (;;) {
        ExAcquireFastMutex(&IopPnpLock);
        Listener->Dying = TRUE;
        BOOLEAN Idle = Listener->Calls == 0;
        if (Idle)
            RemoveEntryList(&Listener->Link);
        ExReleaseFastMutex(&IopPnpLock);
        if (Idle)
            break;
        HalYield();
    }
    if (Listener->File)
        ObfDereferenceObject(Listener->File);
    ObfDereferenceObject(Listener->Driver);
    ExFreePoolWithTag(Listener, IOP_TAG);
    return STATUS_SUCCESS;
}

NTSTATUS IoUnregisterPlugPlayNotification(PVOID NotificationEntry)
{
    return IoUnregisterPlugPlayNotificationEx(NotificationEntry);
}

NTSTATUS IoReportTargetDeviceChange(PDEVICE_OBJECT PhysicalDeviceObject, PVOID NotificationStructure)
{
    IopNodeOfPdo(PhysicalDeviceObject);
    IopTell(EventCategoryTargetDeviceChange, NULL, PhysicalDeviceObject, NotificationStructure);
    return STATUS_SUCCESS;
}

/* ---- interfaces ---- */
static ULONG IopHex(PWCH Buffer, ULONG Count, ULONG64 Value, ULONG Digits)
{
    while (Digits--)
        Buffer[Count++] = (WCHAR) "0123456789abcdef"[(Value >> (4 * Digits)) & 15];
    return Count;
}

static NTSTATUS IopInterfaceName(IOP_NODE *Node, const GUID *Class, PCUNICODE_STRING Reference, PUNICODE_STRING Name)
{
    WCHAR Buffer[400];
    ULONG Count = 0;
    for (const CHAR *P = "\\??\\"; *P; P++)
        Buffer[Count++] = (UCHAR)*P;
    for (ULONG i = 0; i < Node->InstancePath.Length / sizeof(WCHAR) && Count < 220; i++)
        Buffer[Count++] = Node->InstancePath.Buffer[i] == L'\\' ? L'#' : Node->InstancePath.Buffer[i];
    Buffer[Count++] = L'#';
    Buffer[Count++] = L'{';
    Count = IopHex(Buffer, Count, Class->Data1, 8);
    Buffer[Count++] = L'-';
    Count = IopHex(Buffer, Count, Class->Data2, 4);
    Buffer[Count++] = L'-';
    Count = IopHex(Buffer, Count, Class->Data3, 4);
    Buffer[Count++] = L'-';
    for (ULONG i = 0; i < 8; i++) {
        Count = IopHex(Buffer, Count, Class->Data4[i], 2);
        if (i == 1)
            Buffer[Count++] = L'-';
    }
    Buffer[Count++] = L'}';
    if (Reference && Reference->Length) {
        Buffer[Count++] = L'\\';
        for (ULONG i = 0; i < Reference->Length / sizeof(WCHAR) && Count < ARRAYSIZE(Buffer); i++) {
            if (Reference->Buffer[i] == L'\\' || Reference->Buffer[i] == L'/')
                return STATUS_INVALID_DEVICE_REQUEST;
            Buffer[Count++] = Reference->Buffer[i];
        }
    }
    UNICODE_STRING Whole = {(USHORT)(Count * sizeof(WCHAR)), sizeof Buffer, Buffer};
    return ObpCopyString(&Whole, Name);
}

/* A string for the driver, which frees it with RtlFreeUnicodeString. */
static NTSTATUS IopStringForDriver(PCUNICODE_STRING Source, PUNICODE_STRING Result)
{
    PWCH Buffer = ExAllocatePool2(POOL_FLAG_PAGED, Source->Length + sizeof(WCHAR), 'SnuI');
    if (Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    memcpy(Buffer, Source->Buffer, Source->Length);
    *Result = (UNICODE_STRING){Source->Length, (USHORT)(Source->Length + sizeof(WCHAR)), Buffer};
    return STATUS_SUCCESS;
}

static IOP_INTERFACE *IopFindInterface(PCUNICODE_STRING Name)
{
    for (PLIST_ENTRY E = IopInterfaces.Flink; E != &IopInterfaces; E = E->Flink) {
        IOP_INTERFACE *I = CONTAINING_RECORD(E, IOP_INTERFACE, Link);
        if (RtlEqualUnicodeString(&I->Name, Name, TRUE))
            return I;
    }
    return NULL;
}

NTSTATUS IoRegisterDeviceInterface(PDEVICE_OBJECT PhysicalDeviceObject, const GUID *InterfaceClassGuid,
                                   PUNICODE_STRING ReferenceString, PUNICODE_STRING SymbolicLinkName)
{
    IOP_NODE *Node = IopNodeOfPdo(PhysicalDeviceObject);
    IOP_INTERFACE *New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *New, IOP_TAG);
    NTSTATUS Status;
    if (New == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Status = IopInterfaceName(Node, InterfaceClassGuid, ReferenceString, &New->Name);
    if (NT_SUCCESS(Status))
        Status = IopStringForDriver(&New->Name, SymbolicLinkName);
    if (NT_SUCCESS(Status)) {
        New->Node = Node;
        New->Class = *InterfaceClassGuid;
        ExAcquireFastMutex(&IopPnpLock);
        if (IopFindInterface(&New->Name) == NULL) {
            InsertTailList(&IopInterfaces, &New->Link);
            New = NULL;
        }
        ExReleaseFastMutex(&IopPnpLock);
    }
    if (New) { /* failed, or registered before: the same name again */
        ObpFreeString(&New->Name);
        ExFreePoolWithTag(New, IOP_TAG);
    }
    return Status;
}

/* The part of an interface's name that is a symbolic link. */
static UNICODE_STRING IopLinkPart(PCUNICODE_STRING Name)
{
    UNICODE_STRING Part = *Name;
    for (ULONG i = 4; i < Name->Length / sizeof(WCHAR); i++)
        if (Name->Buffer[i] == L'\\') {
            Part.Length = (USHORT)(i * sizeof(WCHAR));
            break;
        }
    return Part;
}

/* Makes the link if it is not there; takes it away when no enabled interface has it. */
static NTSTATUS IopMakeLink(PCUNICODE_STRING Name, PDEVICE_OBJECT Pdo)
{
    UNICODE_STRING Part = IopLinkPart(Name), Target;
    NTSTATUS Status = ObpQueryName(Pdo, &Target);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpCreateLink(&Part, &Target, OBJ_PERMANENT);
    ObpFreeString(&Target);
    return Status == STATUS_OBJECT_NAME_COLLISION ? STATUS_SUCCESS : Status;
}

static VOID IopDropLink(PCUNICODE_STRING Name)
{
    UNICODE_STRING Part = IopLinkPart(Name);
    BOOLEAN Used = FALSE;
    ExAcquireFastMutex(&IopPnpLock);
    for (PLIST_ENTRY E = IopInterfaces.Flink; E != &IopInterfaces && !Used; E = E->Flink) {
        IOP_INTERFACE *I = CONTAINING_RECORD(E, IOP_INTERFACE, Link);
        UNICODE_STRING Other = IopLinkPart(&I->Name);
        Used = I->Enabled && RtlEqualUnicodeString(&Other, &Part, TRUE);
    }
    ExReleaseFastMutex(&IopPnpLock);
    if (!Used)
        ObpRemoveLink(&Part);
}

static VOID IopAnnounce(const GUID *Event, const GUID *Class, PUNICODE_STRING Name)
{
    DEVICE_INTERFACE_CHANGE_NOTIFICATION Notification = {1, sizeof Notification, *Event, *Class, Name};
    IopTell(EventCategoryDeviceInterfaceChange, Class, NULL, &Notification);
}

NTSTATUS IoSetDeviceInterfaceState(PUNICODE_STRING SymbolicLinkName, BOOLEAN Enable)
{
    NTSTATUS Status = STATUS_SUCCESS;
    GUID Class = {0};
    PDEVICE_OBJECT Pdo = NULL;
    UNICODE_STRING Name = {0};
    ExAcquireFastMutex(&IopPnpLock);
    IOP_INTERFACE *I = IopFindInterface(SymbolicLinkName);
    if (I == NULL)
        Status = STATUS_OBJECT_NAME_NOT_FOUND;
    else if (I->Enabled == (Enable != 0))
        Status = Enable ? STATUS_OBJECT_NAME_EXISTS : STATUS_OBJECT_NAME_NOT_FOUND;
    else
        Status = ObpCopyString(&I->Name, &Name);
    if (Status == STATUS_SUCCESS) {
        I->Enabled = Enable != 0;
        Class = I->Class;
        Pdo = I->Node->Pdo;
        ObfReferenceObject(Pdo);
    }
    ExReleaseFastMutex(&IopPnpLock);
    if (Status != STATUS_SUCCESS)
        return Status;
    if (Enable)
        Status = IopMakeLink(&Name, Pdo);
    else
        IopDropLink(&Name);
    ObfDereferenceObject(Pdo);
    if (NT_SUCCESS(Status))
        IopAnnounce(Enable ? &IopArrival : &IopRemoval, &Class, &Name);
    ObpFreeString(&Name);
    return Status;
}

NTSTATUS IoGetDeviceInterfaces(const GUID *InterfaceClassGuid, PDEVICE_OBJECT PhysicalDeviceObject, ULONG Flags,
                               PZZWSTR *SymbolicLinkList)
{
    SIZE_T Bytes = sizeof(WCHAR), At = 0;
    PUCHAR List = NULL;
    *SymbolicLinkList = NULL;
    /* Sized in one pass and filled in another; what was added in between waits for the next call. */
    for (ULONG Pass = 0; Pass < 2; Pass++) {
        if (Pass) {
            List = ExAllocatePool2(POOL_FLAG_PAGED, Bytes, 'LnuI');
            if (List == NULL)
                return STATUS_INSUFFICIENT_RESOURCES;
        }
        ExAcquireFastMutex(&IopPnpLock);
        for (PLIST_ENTRY E = IopInterfaces.Flink; E != &IopInterfaces; E = E->Flink) {
            IOP_INTERFACE *I = CONTAINING_RECORD(E, IOP_INTERFACE, Link);
            if (!IopSameGuid(&I->Class, InterfaceClassGuid) || (PhysicalDeviceObject && I->Node->Pdo != PhysicalDeviceObject) ||
                (!I->Enabled && !(Flags & DEVICE_INTERFACE_INCLUDE_NONACTIVE)))
                continue;
            if (Pass == 0) {
                Bytes += I->Name.Length + sizeof(WCHAR);
            } else if (At + I->Name.Length + 2 * sizeof(WCHAR) <= Bytes) {
                memcpy(List + At, I->Name.Buffer, I->Name.Length);
                At += I->Name.Length + sizeof(WCHAR);
            }
        }
        ExReleaseFastMutex(&IopPnpLock);
    }
    *SymbolicLinkList = (PZZWSTR)(PVOID)List;
    return STATUS_SUCCESS;
}

NTSTATUS IoOpenDeviceInterfaceRegistryKey(PUNICODE_STRING SymbolicLinkName, ACCESS_MASK DesiredAccess,
                                          PHANDLE DeviceInterfaceRegKey)
{
    PDEVICE_OBJECT Pdo = NULL;
    NTSTATUS Status = STATUS_OBJECT_NAME_NOT_FOUND;
    ExAcquireFastMutex(&IopPnpLock);
    IOP_INTERFACE *I = IopFindInterface(SymbolicLinkName);
    if (I) {
        Pdo = I->Node->Pdo;
        ObfReferenceObject(Pdo);
    }
    ExReleaseFastMutex(&IopPnpLock);
    if (Pdo == NULL)
        return Status;
    /* One key for all interfaces of a device: nothing tells them apart in this registry. */
    Status = IoOpenDeviceRegistryKey(Pdo, PLUGPLAY_REGKEY_DEVICE, DesiredAccess, DeviceInterfaceRegKey);
    ObfDereferenceObject(Pdo);
    return Status;
}

static VOID IopFreeInterface(IOP_INTERFACE *I)
{
    if (I->Enabled) {
        IopDropLink(&I->Name); /* it is out of the list already */
        IopAnnounce(&IopRemoval, &I->Class, &I->Name);
    }
    ObpFreeString(&I->Name);
    ExFreePoolWithTag(I, IOP_TAG);
}

VOID IopForgetInterfaces(IOP_NODE *Node)
{
    for (;;) {
        IOP_INTERFACE *Found = NULL;
        ExAcquireFastMutex(&IopPnpLock);
        for (PLIST_ENTRY E = IopInterfaces.Flink; E != &IopInterfaces && !Found; E = E->Flink)
            if (CONTAINING_RECORD(E, IOP_INTERFACE, Link)->Node == Node)
                Found = CONTAINING_RECORD(E, IOP_INTERFACE, Link);
        if (Found)
            RemoveEntryList(&Found->Link);
        ExReleaseFastMutex(&IopPnpLock);
        if (Found == NULL)
            return;
        IopFreeInterface(Found);
    }
}

VOID IopShutdownInterfaces(VOID)
{
    while (!IsListEmpty(&IopListeners))
        IoUnregisterPlugPlayNotificationEx(CONTAINING_RECORD(IopListeners.Flink, IOP_LISTENER, Link));
}
