/*
 * driver.c - driver objects: from DriverEntry to DriverUnload. SPDX-License-Identifier: MIT
 *
 * Implements IoCreateDriver, IoDeleteDriver, IoAllocateDriverObjectExtension, IoGetDriverObjectExtension,
 * IoRegister(Boot)DriverReinitialization, and IopCreateDriver, IopStartDriver, IopUnloadDriver for the loader and the host API.
 *
 *     IopCreateDriver:  \Driver\<Name>, service key, DriverEntry ----fails----> devices, links, object taken down
 *                            |
 *     IopStartDriver:   DO_DEVICE_INITIALIZING cleared, reinitialisation, AddDevice + IRP_MN_START_DEVICE
 *                            |
 *     IopUnloadDriver:  nodes removed, DRVO_UNLOAD_INVOKED (opens fail), DriverUnload, leftovers counted and taken down
 *
 * Devices that a driver leaves behind are deleted for it and counted; links left in \?? are known by their target: a name
 * that IoCreateDevice was given by this driver.
 *
 * Locks: IopDatabaseLock for the lists that hang off a driver.
 */
#include "io/iopp.h"
#include "ex/ex.h"

LIST_ENTRY IopDrivers = {&IopDrivers, &IopDrivers};

static VOID IopFreeDriver(PVOID Object)
{
    IOP_DRIVER *Driver = Object;
    KiAcquireLock(&IopDatabaseLock);
    RemoveEntryList(&Driver->Link);
    KiReleaseLock(&IopDatabaseLock);
    while (Driver->Clients) {
        IOP_CLIENT_EXTENSION *Next = Driver->Clients->Next;
        ExFreePoolWithTag(Driver->Clients, IOP_TAG);
        Driver->Clients = Next;
    }
    while (Driver->Reinitialize) {
        IOP_REINITIALIZE *Next = Driver->Reinitialize->Next;
        ExFreePoolWithTag(Driver->Reinitialize, IOP_TAG);
        Driver->Reinitialize = Next;
    }
    while (Driver->DeviceNames) {
        IOP_NAME *Next = Driver->DeviceNames->Next;
        ObpFreeString(&Driver->DeviceNames->Name);
        ExFreePoolWithTag(Driver->DeviceNames, IOP_TAG);
        Driver->DeviceNames = Next;
    }
    ObpFreeString(&Driver->Object.DriverName);
    ObpFreeString(&Driver->Extension.ServiceKeyName);
    ObpFreeString(&Driver->RegistryPath);
}

OBJECT_TYPE IopDriverType = {.Name = L"Driver", .Tag = 'virD', .WaitOffset = -1, .ValidAccess = 0, .Delete = IopFreeDriver};
static POBJECT_TYPE IopDriverTypePointer = &IopDriverType;
POBJECT_TYPE *IoDriverObjectType = &IopDriverTypePointer;

/* The default of every major function. */
NTSTATUS IopInvalidDeviceRequest(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Irp->IoStatus.Status = STATUS_INVALID_DEVICE_REQUEST;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_INVALID_DEVICE_REQUEST;
}

/* Prefix and name as a nonpaged string, for ObpFreeString. */
static NTSTATUS IopJoinName(const WCHAR *Prefix, PCUNICODE_STRING Name, PUNICODE_STRING Result)
{
    UNICODE_STRING Head;
    RtlInitUnicodeString(&Head, Prefix);
    SIZE_T Length = (SIZE_T)Head.Length + Name->Length;
    if (Length > 0xfff0)
        return STATUS_NAME_TOO_LONG;
    PWCH Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Length + sizeof(WCHAR), OBP_TAG_NAME);
    if (Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    memcpy(Buffer, Head.Buffer, Head.Length);
    memcpy((PUCHAR)Buffer + Head.Length, Name->Buffer, Name->Length);
    *Result = (UNICODE_STRING){(USHORT)Length, (USHORT)(Length + sizeof(WCHAR)), Buffer};
    return STATUS_SUCCESS;
}

static NTSTATUS IopSetValue(HANDLE Key, const WCHAR *Name, ULONG Type, const VOID *Data, ULONG Length)
{
    UNICODE_STRING ValueName;
    RtlInitUnicodeString(&ValueName, Name);
    return ZwSetValueKey(Key, &ValueName, 0, Type, (PVOID)Data, Length);
}

/* \Registry\...\Services\<Name> with the values that every service has, and an empty Parameters key. */
static NTSTATUS IopCreateServiceKey(IOP_DRIVER *Driver, PCUNICODE_STRING Name)
{
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Key, Sub;
    ULONG Type = 1, Start = 3, Control = 1, Disposition;
    UNICODE_STRING Image, SubName;
    NTSTATUS Status;
    InitializeObjectAttributes(&Attributes, &Driver->RegistryPath, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwCreateKey(&Key, KEY_ALL_ACCESS, &Attributes, 0, NULL, 0, &Disposition);
    if (!NT_SUCCESS(Status))
        return Status;
    /* A key that was there describes the service already. */
    if (Disposition == REG_CREATED_NEW_KEY)
        Status = IopJoinName(L"\\??\\", Name, &Image);
    if (NT_SUCCESS(Status) && Disposition == REG_CREATED_NEW_KEY) {
        IopSetValue(Key, L"ImagePath", REG_EXPAND_SZ, Image.Buffer, Image.Length + (ULONG)sizeof(WCHAR));
        ObpFreeString(&Image);
        IopSetValue(Key, L"Type", REG_DWORD, &Type, sizeof Type);
        IopSetValue(Key, L"Start", REG_DWORD, &Start, sizeof Start);
        IopSetValue(Key, L"ErrorControl", REG_DWORD, &Control, sizeof Control);
    }
    if (NT_SUCCESS(Status)) {
        RtlInitUnicodeString(&SubName, L"Parameters");
        InitializeObjectAttributes(&Attributes, &SubName, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, Key, NULL);
        Status = ZwCreateKey(&Sub, KEY_ALL_ACCESS, &Attributes, 0, NULL, 0, NULL);
        if (NT_SUCCESS(Status))
            ZwClose(Sub);
    }
    ZwClose(Key);
    return Status;
}

static NTSTATUS IopMakeDriver(PCUNICODE_STRING Name, PCUNICODE_STRING FullName, IOP_DRIVER **Result)
{
    IOP_DRIVER *Driver;
    NTSTATUS Status = ObpCreateObject(&IopDriverType, sizeof *Driver, (PVOID *)&Driver);
    if (!NT_SUCCESS(Status))
        return Status;
    KiAcquireLock(&IopDatabaseLock);
    InsertTailList(&IopDrivers, &Driver->Link);
    KiReleaseLock(&IopDatabaseLock);
    Driver->Object.Type = IO_TYPE_DRIVER;
    Driver->Object.Size = sizeof(DRIVER_OBJECT);
    Driver->Object.DriverExtension = &Driver->Extension;
    Driver->Extension.DriverObject = &Driver->Object;
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        Driver->Object.MajorFunction[i] = IopInvalidDeviceRequest;
    for (ULONG i = 0; i < Name->Length / sizeof(WCHAR) && i < sizeof Driver->Name - 1; i++)
        Driver->Name[i] = Name->Buffer[i] < 0x7f ? (CHAR)Name->Buffer[i] : '?';
    Status = ObpCopyString(Name, &Driver->Extension.ServiceKeyName);
    if (NT_SUCCESS(Status)) {
        if (FullName)
            Status = ObpCopyString(FullName, &Driver->Object.DriverName);
        else
            Status = IopJoinName(L"\\Driver\\", Name, &Driver->Object.DriverName);
    }
    if (NT_SUCCESS(Status))
        Status = IopJoinName(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\", Name, &Driver->RegistryPath);
    if (NT_SUCCESS(Status))
        Status = ObpInsertName(Driver, NULL, &Driver->Object.DriverName, OBJ_PERMANENT, NULL);
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(Driver);
        return Status;
    }
    *Result = Driver;
    return STATUS_SUCCESS;
}

/* ---- what a driver leaves behind ---- */
typedef struct _IOP_LINK_SCAN {
    IOP_DRIVER *Driver;
    ULONG Count;
} IOP_LINK_SCAN;

static VOID IopVisitLink(PVOID Object, PCUNICODE_STRING Name, PVOID Context)
{
    IOP_LINK_SCAN *Scan = Context;
    UNREFERENCED_PARAMETER(Name);
    if (ObGetObjectType(Object) != &ObpSymbolicLinkType)
        return;
    for (IOP_NAME *N = Scan->Driver->DeviceNames; N; N = N->Next)
        if (RtlEqualUnicodeString(ObpLinkTarget(Object), &N->Name, TRUE)) {
            Scan->Count++;
            ObpRemoveName(Object);
            return;
        }
}

/* An address of the pools at which no block lives. */
static BOOLEAN IopIsFreedPool(const VOID *Address)
{
    MM_REGION Region = MmRegionOf(Address);
    EXP_BLOCK_INFO Info;
    if (Region != MmRegionNonPagedPool && Region != MmRegionPagedPool && Region != MmRegionSpecialPool &&
        Region != MmRegionPagedSpecialPool)
        return FALSE;
    return !ExpDescribeBlock(Address, &Info) || Info.State != ExpBlockLive;
}

#define IOP_ITEM_PATIENCE 10000000000ull /* ns: 10 s */
static VOID IopTakeDown(IOP_DRIVER *Driver, IOP_LEFTOVERS *Left)
{
    IOP_LEFTOVERS Ours = {0};
    IOP_LINK_SCAN Scan = {Driver, 0};
    OBP_OPEN Open = {.Type = &ObpDirectoryType};
    UNICODE_STRING Dos;
    PVOID Directory;
    PDEVICE_OBJECT Device;
    /* A routine that has done its work may still be on its way out, or run (its device's reference keeps Windows' driver in memory
     * until it returns): wait for it, but not for ever. */
    for (ULONG64 Until = HalQueryTime() + IOP_ITEM_PATIENCE;;) {
        LONG Runs = __atomic_load_n(&Driver->ItemsRun, __ATOMIC_SEQ_CST);
        if (Runs == 0)
            break;
        if (!HalWait(&Driver->ItemsRun, Runs, Until)) {
            ObfReferenceObject(Driver); /* for good: the routine that runs counts itself out there */
            break;
        }
    }
    Ours.WorkItems = (ULONG)__atomic_load_n(&Driver->WorkItems, __ATOMIC_ACQUIRE);
    RtlInitUnicodeString(&Dos, L"\\??");
    if (NT_SUCCESS(ObpLookup(NULL, &Dos, &Open, &Directory))) {
        ObpEnumerateDirectory(Directory, IopVisitLink, &Scan);
        ObfDereferenceObject(Directory);
    }
    Ours.SymbolicLinks = Scan.Count;
    for (;;) {
        KiAcquireLock(&IopDatabaseLock);
        Device = Driver->Object.DeviceObject;
        Ours.OpenFiles = (ULONG)Driver->OpenFiles;
        KiReleaseLock(&IopDatabaseLock);
        if (Device == NULL)
            break;
        Ours.Devices++;
        if (Device->Timer)
            Ours.Timers++;
        PDEVICE_OBJECT Lower = IopDevice(Device)->AttachedTo;
        if (Lower)
            IoDetachDevice(Lower);
        IoDeleteDevice(Device);
    }
    ObpRemoveName(Driver);
    /* The device extension that holds a timer is gone by now; Windows notices when it expires (0xC7, 0xCE, 0xD1). */
    if (Left && KiFindLostTimer(Driver->Object.DriverStart, Driver->Object.DriverSize, IopIsFreedPool) != NULL)
        Ours.Timers++;
    if (Left)
        *Left = Ours;
}

VOID (*IopDriverLoadingRoutine)(PDRIVER_OBJECT Driver, const CHAR *Name);
VOID (*IopDriverUnloadedRoutine)(PDRIVER_OBJECT Driver);

/* ---- load ---- */
static NTSTATUS IopCallEntry(IOP_DRIVER *Driver)
{
    NTSTATUS Status = KI_CALLOUT(NTSTATUS, Driver->Object.DriverInit, (PDRIVER_OBJECT, PUNICODE_STRING),
                                 (&Driver->Object, &Driver->RegistryPath));
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        if (Driver->Object.MajorFunction[i] == NULL)
            Driver->Object.MajorFunction[i] = IopInvalidDeviceRequest;
    return Status;
}

/* The hardware id of the root device a PnP driver gets: as told, or ROOT\<Name>. */
static VOID IopCopyId(IOP_DRIVER *Driver, const IOP_DRIVER_PARAMETERS *Parameters)
{
    const CHAR *Parts[2] = {Parameters->HardwareId ? Parameters->HardwareId : "ROOT\\",
                            Parameters->HardwareId ? "" : Parameters->Name};
    ULONG At = 0;
    for (ULONG i = 0; i < 2; i++)
        for (const CHAR *P = Parts[i]; *P && At < sizeof Driver->HardwareId - 1; P++)
            Driver->HardwareId[At++] = *P;
    Driver->HardwareId[At] = 0;
}

NTSTATUS IopCreateDriver(const IOP_DRIVER_PARAMETERS *Parameters, PDRIVER_OBJECT *Result, BOOLEAN *EntryCalled)
{
    WCHAR Wide[64];
    UNICODE_STRING Name = {0, sizeof Wide, Wide};
    IOP_DRIVER *Driver;
    PSP_IDENTITY Saved;
    NTSTATUS Status;
    *Result = NULL;
    if (EntryCalled)
        *EntryCalled = FALSE;
    for (ULONG i = 0; Parameters->Name[i]; i++) {
        if (i >= ARRAYSIZE(Wide) - 1 || Parameters->Name[i] == '\\')
            return STATUS_OBJECT_NAME_INVALID;
        Wide[i] = (UCHAR)Parameters->Name[i];
        Name.Length = (USHORT)((i + 1) * sizeof(WCHAR));
    }
    if (Name.Length == 0)
        return STATUS_OBJECT_NAME_INVALID;
    Status = IopMakeDriver(&Name, NULL, &Driver);
    if (!NT_SUCCESS(Status))
        return Status;
    IopCopyId(Driver, Parameters);
    Driver->Object.DriverStart = Parameters->ImageBase;
    Driver->Object.DriverSize = Parameters->ImageSize;
    Driver->Object.DriverSection = Parameters->Section;
    Driver->Object.DriverInit = Parameters->Entry;
    Status = IopCreateServiceKey(Driver, &Name);
    if (NT_SUCCESS(Status)) {
        if (EntryCalled)
            *EntryCalled = TRUE;
        if (IopDriverLoadingRoutine != NULL)
            IopDriverLoadingRoutine(&Driver->Object, Parameters->Name);
        PspBecome(PsInitialSystemProcess, KernelMode, &Saved);
        Status = IopCallEntry(Driver);
        PspRevert(&Saved);
    }
    if (!NT_SUCCESS(Status)) {
        IopTakeDown(Driver, NULL);
        ObfDereferenceObject(Driver);
        if (EntryCalled && *EntryCalled && IopDriverUnloadedRoutine != NULL)
            IopDriverUnloadedRoutine(&Driver->Object);
        return Status;
    }
    Driver->Object.Flags |= DRVO_INITIALIZED | (Driver->Extension.AddDevice ? 0 : DRVO_LEGACY_DRIVER);
    *Result = &Driver->Object;
    return STATUS_SUCCESS;
}

static VOID IopClearInitializing(PDRIVER_OBJECT Driver)
{
    KiAcquireLock(&IopDatabaseLock);
    for (PDEVICE_OBJECT Device = Driver->DeviceObject; Device; Device = Device->NextDevice)
        Device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    KiReleaseLock(&IopDatabaseLock);
}

NTSTATUS IopStartDriver(PDRIVER_OBJECT DriverObject)
{
    IOP_DRIVER *Driver = IopDriver(DriverObject);
    PSP_IDENTITY Saved;
    IopClearInitializing(DriverObject);
    PspBecome(PsInitialSystemProcess, KernelMode, &Saved);
    for (ULONG Count = 1;; Count++) {
        /* A routine may register itself again; one pass per registration, as documented. */
        KiAcquireLock(&IopDatabaseLock);
        IOP_REINITIALIZE *Entry = Driver->Reinitialize;
        if (Entry)
            Driver->Reinitialize = Entry->Next;
        KiReleaseLock(&IopDatabaseLock);
        if (Entry == NULL)
            break;
        Driver->Extension.Count = Count;
        KI_CALLOUT(VOID, Entry->Routine, (PDRIVER_OBJECT, PVOID, ULONG), (DriverObject, Entry->Context, Count));
        ExFreePoolWithTag(Entry, IOP_TAG);
        if (Count >= 64)
            break;
    }
    NTSTATUS Status = STATUS_SUCCESS;
    if (Driver->Extension.AddDevice && Driver->HardwareId[0])
        Status = IopAddRootDevice(DriverObject, Driver->HardwareId);
    PspRevert(&Saved);
    return Status;
}

NTSTATUS IopUnloadDriver(PDRIVER_OBJECT DriverObject, IOP_LEFTOVERS *Left)
{
    IOP_DRIVER *Driver = IopDriver(DriverObject);
    PSP_IDENTITY Saved;
    if (DriverObject->DriverUnload == NULL)
        return STATUS_INVALID_DEVICE_REQUEST;
    IopRemoveDriverNodes(DriverObject);
    DriverObject->Flags |= DRVO_UNLOAD_INVOKED;
    PspBecome(PsInitialSystemProcess, KernelMode, &Saved);
    KI_CALLOUT(VOID, DriverObject->DriverUnload, (PDRIVER_OBJECT), (DriverObject));
    PspRevert(&Saved);
    IopTakeDown(Driver, Left);
    ObfDereferenceObject(DriverObject);
    if (IopDriverUnloadedRoutine != NULL)
        IopDriverUnloadedRoutine(
            DriverObject); /* may stop the system: last, so that a stop that is caught leaves nothing behind */
    return STATUS_SUCCESS;
}

/* ---- for drivers ---- */
NTSTATUS IoCreateDriver(PUNICODE_STRING DriverName, PDRIVER_INITIALIZE InitializationFunction)
{
    UNICODE_STRING Last = {0};
    IOP_DRIVER *Driver;
    WCHAR Generated[24] = L"Created";
    static volatile LONG Counter;
    if (DriverName) {
        ULONG Count = DriverName->Length / sizeof(WCHAR), At = Count;
        while (At > 0 && DriverName->Buffer[At - 1] != L'\\')
            At--;
        Last = (UNICODE_STRING){(USHORT)((Count - At) * sizeof(WCHAR)), (USHORT)((Count - At) * sizeof(WCHAR)),
                                DriverName->Buffer + At};
    } else {
        ULONG Number = (ULONG)__atomic_add_fetch(&Counter, 1, __ATOMIC_RELAXED);
        for (ULONG i = 0; i < 8; i++)
            Generated[7 + i] = L"0123456789ABCDEF"[(Number >> (28 - 4 * i)) & 15];
        RtlInitUnicodeString(&Last, Generated);
    }
    NTSTATUS Status = IopMakeDriver(&Last, DriverName, &Driver);
    if (!NT_SUCCESS(Status))
        return Status;
    Driver->Object.Flags |= DRVO_BUILTIN_DRIVER;
    Driver->Object.DriverInit = InitializationFunction;
    Status = IopCallEntry(Driver);
    if (NT_SUCCESS(Status)) {
        IopClearInitializing(&Driver->Object);
        return Status; /* the reference goes with IoDeleteDriver */
    }
    IopTakeDown(Driver, NULL);
    ObfDereferenceObject(Driver);
    return Status;
}

VOID IoDeleteDriver(PDRIVER_OBJECT DriverObject)
{
    IopTakeDown(IopDriver(DriverObject), NULL);
    ObfDereferenceObject(DriverObject);
}

NTSTATUS IoAllocateDriverObjectExtension(PDRIVER_OBJECT DriverObject, PVOID ClientIdentificationAddress,
                                         ULONG DriverObjectExtensionSize, PVOID *DriverObjectExtension)
{
    IOP_DRIVER *Driver = IopDriver(DriverObject);
    IOP_CLIENT_EXTENSION *New, *Old;
    *DriverObjectExtension = NULL;
    New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *New + (SIZE_T)DriverObjectExtensionSize, IOP_TAG);
    if (New == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    New->Id = ClientIdentificationAddress;
    KiAcquireLock(&IopDatabaseLock);
    for (Old = Driver->Clients; Old && Old->Id != ClientIdentificationAddress;)
        Old = Old->Next;
    if (Old == NULL) {
        New->Next = Driver->Clients;
        Driver->Clients = New;
    }
    KiReleaseLock(&IopDatabaseLock);
    if (Old) {
        ExFreePoolWithTag(New, IOP_TAG);
        return STATUS_OBJECT_NAME_COLLISION;
    }
    *DriverObjectExtension = New + 1;
    return STATUS_SUCCESS;
}

PVOID IoGetDriverObjectExtension(PDRIVER_OBJECT DriverObject, PVOID ClientIdentificationAddress)
{
    KiAcquireLock(&IopDatabaseLock);
    IOP_CLIENT_EXTENSION *Entry = IopDriver(DriverObject)->Clients;
    while (Entry && Entry->Id != ClientIdentificationAddress)
        Entry = Entry->Next;
    KiReleaseLock(&IopDatabaseLock);
    return Entry ? Entry + 1 : NULL;
}

static VOID IopAddReinitialize(PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE Routine, PVOID Context)
{
    IOP_REINITIALIZE *New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *New, IOP_TAG), **Link;
    if (New == NULL)
        return;
    New->Routine = Routine;
    New->Context = Context;
    DriverObject->Flags |= DRVO_REINIT_REGISTERED;
    KiAcquireLock(&IopDatabaseLock);
    for (Link = &IopDriver(DriverObject)->Reinitialize; *Link;)
        Link = &(*Link)->Next;
    *Link = New;
    KiReleaseLock(&IopDatabaseLock);
}

VOID IoRegisterDriverReinitialization(PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE DriverReinitializationRoutine,
                                      PVOID Context)
{
    IopAddReinitialize(DriverObject, DriverReinitializationRoutine, Context);
}

VOID IoRegisterBootDriverReinitialization(PDRIVER_OBJECT DriverObject, PDRIVER_REINITIALIZE DriverReinitializationRoutine,
                                          PVOID Context)
{
    IopAddReinitialize(DriverObject, DriverReinitializationRoutine, Context);
}
