/*
 * security.c - cases of the detection matrix: what drivers hand to the kernel. Addresses and handles of user mode, malformed strings,
 * objects in pageable memory, references, remove locks, packets. SPDX-License-Identifier: MIT
 */
#include "matrix.h"

#define SECURITY "verifier=security"
static PVOID UserPage(void)
{
    PVOID Base = NULL;
    SIZE_T Size = 0x10000;
    ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    return Base;
}
static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\BaseNamedObjects\\Matrix");

/* ---- user addresses ---- */
SIN(E0) /* of a string, its buffer, a place for a result */
{
    PUCHAR User = UserPage();
    PUNICODE_STRING String = (PUNICODE_STRING)User;
    UNICODE_STRING Here = Name;
    PVOID Object;
    if (Argument == 0) {
        *String = Name;
        Expect(0xC4, 0xE0, P(User), sizeof *String, ANY);
        IoDeleteSymbolicLink(String);
    } else if (Argument == 1) {
        memcpy(User + 64, Name.Buffer, Name.Length);
        Here.Buffer = (PWCH)(User + 64);
        Expect(0xC4, 0xE0, P(User) + 64, Name.Length, ANY);
        IoDeleteSymbolicLink(&Here);
    } else {
        HANDLE Event;
        ZwCreateEvent(&Event, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
        Expect(0xC4, 0xE0, P(User), sizeof Object, ANY);
        ObReferenceObjectByHandle(Event, EVENT_ALL_ACCESS, NULL, KernelMode, (PVOID *)User, NULL);
    }
}
RIGHT(E0)
{
    HANDLE Event;
    PVOID Object;
    OBJECT_ATTRIBUTES Attributes;
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    IoDeleteSymbolicLink(&Name);
    ZwCreateEvent(&Event, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, FALSE);
    ObReferenceObjectByHandle(Event, EVENT_ALL_ACCESS, *ExEventObjectType, KernelMode, &Object, NULL);
    ObDereferenceObject(Object);
    ZwClose(Event);
}
SIN(E3) /* the handle's place, the attributes, the value's data */
{
    PUCHAR User = UserPage();
    HANDLE Handle;
    OBJECT_ATTRIBUTES Attributes, *InUser = (POBJECT_ATTRIBUTES)User;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    Expect(0xC4, 0xE3, ANY, P(User), ANY);
    if (Argument == 0) {
        ZwCreateEvent((PHANDLE)User, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
    } else if (Argument == 1) {
        *InUser = Attributes;
        ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, InUser, NotificationEvent, FALSE);
    } else {
        *(PUNICODE_STRING)User = Name;
        Attributes.ObjectName = (PUNICODE_STRING)User;
        ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, FALSE);
    }
}
SIN(E4) /* odd, too long, a buffer in user mode */
{
    PUCHAR User = UserPage();
    HANDLE Handle;
    UNICODE_STRING String = Name;
    OBJECT_ATTRIBUTES Attributes;
    InitializeObjectAttributes(&Attributes, &String, OBJ_KERNEL_HANDLE, NULL, NULL);
    if (Argument == 0) {
        String.Length--;
    } else if (Argument == 1) {
        String.MaximumLength = String.Length - 2;
    } else {
        memcpy(User, Name.Buffer, Name.Length);
        String.Buffer = (PWCH)User;
    }
    Expect(0xC4, 0xE4, ANY, P(&String), ANY);
    ZwOpenEvent(&Handle, EVENT_ALL_ACCESS, &Attributes);
}
RIGHT(services) /* whose values, not arguments, are user addresses */
{
    HANDLE Handle;
    OBJECT_ATTRIBUTES Attributes;
    PVOID Base = UserPage();
    SIZE_T Size = 0x10000;
    ULONG Old;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, FALSE);
    ZwSetEvent(Handle, NULL);
    ZwClose(Handle);
    ZwProtectVirtualMemory(NtCurrentProcess(), &Base, &Size, PAGE_READONLY, &Old);
    ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE);
}
static int32_t FromUserMode(void *Unused) /* user code passes its own addresses, and may */
{
    PVOID Base = NULL, *Place;
    SIZE_T Size = 0x1000;
    (void)Unused;
    ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    Place = Base;
    Place[0] = NULL;
    Place[1] = (PVOID)0x1000;
    return ZwAllocateVirtualMemory(NtCurrentProcess(), &Place[0], 0, (PSIZE_T)&Place[1], MEM_RESERVE, PAGE_READWRITE);
}
RIGHT(user)
{
    ntmm_process *Process;
    int32_t Result;
    ntmm_process_create("user.exe", &Process);
    ntmm_process_run(Process, FromUserMode, NULL, &Result);
    ntmm_process_end(Process, 0);
}
static DRIVER_OBJECT *Driver;
static PDEVICE_OBJECT Device;
static NTSTATUS Dispatch(PDEVICE_OBJECT Object, PIRP Irp)
{
    (void)Object;
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}
static NTSTATUS Entry(PDRIVER_OBJECT Object, PUNICODE_STRING Path)
{
    (void)Path;
    Driver = Object;
    Object->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Dispatch;
    return IoCreateDevice(Object, 64, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
}
static void Send(ULONG Code, PVOID In, PVOID Out)
{
    KEVENT Done;
    IO_STATUS_BLOCK Status;
    PIRP Irp;
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    Irp = IoBuildDeviceIoControlRequest(Code, Device, In, 16, Out, 16, FALSE, &Done, &Status);
    if (HalIsUserAddress((ULONG_PTR)In) || HalIsUserAddress((ULONG_PTR)Out))
        Expect(0xC4, 0xE2, P(Irp), HalIsUserAddress((ULONG_PTR)In) ? P(In) : P(Out), ANY);
    IoCallDriver(Device, Irp);
}
static void LoadDriver(void)
{
    ntmm_driver *Handle;
    ntmm_add_driver("matrix", (int32_t(*)(struct _DRIVER_OBJECT *, struct _UNICODE_STRING *))Entry, &Handle);
}
#define NEITHER  CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS)
#define BUFFERED CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
SIN(E2)
{
    UCHAR Bytes[16];
    PVOID User = UserPage();
    LoadDriver();
    Send(NEITHER, Argument ? User : Bytes, Argument ? Bytes : User);
}
RIGHT(E2)
{
    UCHAR Bytes[16] = {0};
    LoadDriver();
    Send(NEITHER, Bytes, Bytes);
    Send(BUFFERED, Bytes, Bytes);
}

/* ---- objects that must stay in memory ---- */
SIN(E1)
{
    PVOID Object = Paged(sizeof(ERESOURCE));
    Expect(0xC4, 0xE1, P(Object), ANY, ANY);
    switch (Argument) {
    case 0:
        KeInitializeEvent(Object, NotificationEvent, FALSE);
        break;
    case 1:
        KeInitializeSpinLock(Object);
        break;
    case 2:
        KeInitializeTimer(Object);
        break;
    case 3:
        ExInitializeFastMutex(Object);
        break;
    case 4:
        ExInitializeResourceLite(Object);
        break;
    case 5:
        KeInitializeSemaphore(Object, 0, 1);
        break;
    default:
        KeInitializeMutex(Object, 0);
    }
}
RIGHT(E1)
{
    KEVENT OnStack;
    PVOID Object = NonPaged(sizeof(ERESOURCE));
    KeInitializeEvent(&OnStack, NotificationEvent, FALSE);
    KeInitializeEvent(Object, NotificationEvent, FALSE);
    KeInitializeSpinLock(Object);
    KeInitializeTimer(Object);
    ExInitializeFastMutex(Object);
    KeInitializeSemaphore(Object, 0, 1);
    KeInitializeMutex(Object, 0);
    ExInitializeResourceLite(Object);
    ExDeleteResourceLite(Object);
    ExFreePool(Object);
}

/* ---- references, remove locks, packets ---- */
SIN(3F)
{
    HANDLE Handle;
    PVOID Object;
    ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
    ObReferenceObjectByHandle(Handle, EVENT_ALL_ACCESS, NULL, KernelMode, &Object, NULL);
    ZwClose(Handle);
    ObDereferenceObject(Object); /* it is gone */
    Expect(0xC4, 0x3F, P(Object), Argument, 0);
    if ((LONG)Argument < 0)
        ObDereferenceObject(Object);
    else
        ObReferenceObject(Object);
}
RIGHT(3F)
{
    HANDLE Handle;
    PVOID Object;
    ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
    ObReferenceObjectByHandle(Handle, EVENT_ALL_ACCESS, NULL, KernelMode, &Object, NULL);
    ZwClose(Handle);
    ObReferenceObject(Object); /* the first reference holds it */
    ObDereferenceObject(Object);
    ObDereferenceObject(Object);
}
SIN(D7)
{
    PIO_REMOVE_LOCK RemoveLock = (PIO_REMOVE_LOCK)NonPaged(sizeof *RemoveLock);
    IoInitializeRemoveLock(RemoveLock, TAG, 0, 0);
    Expect(0xC4, 0xD7, ANY, P(RemoveLock), ANY);
    IoInitializeRemoveLock(RemoveLock, TAG, 0, 0);
}
RIGHT(D7)
{
    for (int Round = 0; Round < 100; Round++) { /* memory used again, and a lock used again */
        PIO_REMOVE_LOCK RemoveLock = (PIO_REMOVE_LOCK)NonPaged(sizeof *RemoveLock);
        IoInitializeRemoveLock(RemoveLock, TAG, 0, 0);
        if (Round & 1) {
            IoAcquireRemoveLock(RemoveLock, NULL);
            IoReleaseRemoveLockAndWait(RemoveLock, NULL);
            IoInitializeRemoveLock(RemoveLock, TAG, 0, 0);
        }
        ExFreePool(RemoveLock);
    }
}
SIN(105)
{
    PIRP Irp = IoAllocateIrp(2, FALSE);
    Expect(0xC4, 0x105, P(Irp), 0, 0);
    ExFreePool(Irp);
}
RIGHT(105)
{
    PIRP Irp = IoAllocateIrp(2, FALSE);
    PUCHAR Own = NonPaged(IoSizeOfIrp(2));
    IoFreeIrp(Irp);
    IoInitializeIrp((PIRP)Own, IoSizeOfIrp(2), 2); /* the driver's own memory */
    ExFreePool(Own);
}
SIN(141)
{
    Expect(0xC4, 0x141, 0xFFFFFFFF, PAGE_SIZE, 0);
    Sink = (UCHAR)P(MmAllocateContiguousMemory(PAGE_SIZE, At(0xFFFFFFFF)));
}
RIGHT(141)
{
    MmFreeContiguousMemory(MmAllocateContiguousMemory(PAGE_SIZE, At(0x1FFFFFFFF)));
}

CASES(Security){"0xC4/0xE0", SECURITY, Sin_E0, Right_E0, 0}, {"0xC4/0xE0", SECURITY, Sin_E0, NULL, 1},
    {"0xC4/0xE0", SECURITY, Sin_E0, NULL, 2}, {"0xC4/0xE1", "verifier=force_irql", Sin_E1, Right_E1, 0},
    {"0xC4/0xE1", "verifier=force_irql", Sin_E1, NULL, 1}, {"0xC4/0xE1", "verifier=force_irql", Sin_E1, NULL, 2},
    {"0xC4/0xE1", "verifier=force_irql", Sin_E1, NULL, 3}, {"0xC4/0xE1", "verifier=force_irql", Sin_E1, NULL, 4},
    {"0xC4/0xE1", "verifier=force_irql", Sin_E1, NULL, 5}, {"0xC4/0xE1", "verifier=force_irql", Sin_E1, NULL, 6},
    {"0xC4/0xE2", SECURITY, Sin_E2, Right_E2, 0}, {"0xC4/0xE2", SECURITY, Sin_E2, NULL, 1},
    {"0xC4/0xE3", SECURITY, Sin_E3, Right_services, 0}, {"0xC4/0xE3", SECURITY, Sin_E3, Right_user, 1},
    {"0xC4/0xE3", SECURITY, Sin_E3, NULL, 2}, {"0xC4/0xE4", SECURITY, Sin_E4, Right_services, 0},
    {"0xC4/0xE4", SECURITY, Sin_E4, Right_user, 1}, {"0xC4/0xE4", SECURITY, Sin_E4, NULL, 2},
    {"0xC4/0x3F", STANDARD, Sin_3F, Right_3F, (unsigned long)-1L}, {"0xC4/0x3F", STANDARD, Sin_3F, NULL, 1},
    {"0xC4/0xD7", "verifier=io", Sin_D7, Right_D7, 0}, {"0xC4/0x105", "verifier=io", Sin_105, Right_105, 0},
    {"0xC4/0x141", "verifier=ddi_additional", Sin_141, Right_141, 0}, END_CASES(Security)
