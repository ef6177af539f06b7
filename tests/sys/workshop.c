/*
 * workshop.c - a small WDM driver as users write them (a device, a lookaside list, a timer with its DPC, work items, MDLs, pageable
 * code), with a bug behind each control code: tests/real/workshop.c sends them. SPDX-License-Identifier: MIT
 *
 * Control code 0x222000 + 4 * N commits the bug that stands N-th in Bugs, and code 0 none but all that the driver has, rightly. The
 * line that a report is to name has the comment "bug" and the routine's name.
 */
#include <ntddk.h>

#ifndef MdlMappingNoExecute
#define MdlMappingNoExecute 0x40000000
#endif
#ifndef POOL_NX_ALLOCATION
#define POOL_NX_ALLOCATION 512
#endif
#define TAG 'pohS'

NTSYSAPI NTSTATUS NTAPI ZwCreateEvent(PHANDLE Handle, ACCESS_MASK Access, POBJECT_ATTRIBUTES Attributes, EVENT_TYPE Type,
                                      BOOLEAN Signalled);

typedef struct {
    PDEVICE_OBJECT Device;
    NPAGED_LOOKASIDE_LIST Records;
    KSPIN_LOCK Lock, Other;
    KTIMER Timer;
    KDPC Dpc;
    KEVENT Done;
    FAST_MUTEX Mutex;
    volatile PUCHAR Kept;
    volatile ULONG Sum;
} SHOP;

static SHOP *Shop;
static UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\Workshop");
static const CHAR Constant[] = "constant";
static UCHAR *volatile Buffer; /* of the request, and how long */
static volatile ULONG BufferBytes;

static PUCHAR Get(POOL_TYPE Type, SIZE_T Bytes)
{
    return ExAllocatePoolWithTag(Type, Bytes, TAG);
}

__attribute__((section("PAGE"), noinline)) static VOID Pageable(ULONG Value)
{
    Shop->Sum = Value * 7; /* bug CallPageable */
}

static VOID NTAPI Tick(PKDPC Dpc, PVOID Context, PVOID One, PVOID Two)
{
    (void)Dpc, (void)Context, (void)One, (void)Two;
    Shop->Sum++;
    KeSetEvent(&Shop->Done, 0, FALSE);
}
static VOID NTAPI BadTick(PKDPC Dpc, PVOID Context, PVOID One, PVOID Two)
{
    (void)Dpc, (void)Context, (void)One, (void)Two;
    Shop->Kept[9] = 1; /* bug PagedInDpc */
    KeSetEvent(&Shop->Done, 0, FALSE);
}
static VOID NTAPI Work(PDEVICE_OBJECT Device, PVOID Context)
{
    (void)Device, (void)Context;
    Shop->Sum++;
    KeSetEvent(&Shop->Done, 0, FALSE);
}

static VOID SetTimer(PKDEFERRED_ROUTINE Routine, LONGLONG Milliseconds)
{
    LARGE_INTEGER Due;
    Due.QuadPart = Milliseconds * -10000;
    KeClearEvent(&Shop->Done);
    KeInitializeDpc(&Shop->Dpc, Routine, NULL);
    KeSetTimer(&Shop->Timer, Due, &Shop->Dpc);
    Shop->Sum++;
}
static VOID Await(VOID)
{
    KeWaitForSingleObject(&Shop->Done, Executive, KernelMode, FALSE, NULL);
    KeClearEvent(&Shop->Done);
}
static PMDL Lock(PUCHAR At, ULONG Bytes)
{
    PMDL Mdl = IoAllocateMdl(At, Bytes, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess); /* bug LeftLocked */
    Shop->Sum++;
    return Mdl;
}

static VOID Nothing(VOID)
{
    KIRQL Old;
    PIO_WORKITEM Item = IoAllocateWorkItem(Shop->Device);
    PUCHAR Paged = Get(PagedPool, 8192), Mapped;
    PMDL Mdl = Lock(Paged, 8192);
    PVOID Record = ExAllocateFromNPagedLookasideList(&Shop->Records);
    SetTimer(Tick, 1);
    Await();
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, NULL);
    Await();
    KeFlushQueuedDpcs(); /* Tick may not have returned yet */
    IoFreeWorkItem(Item);
    Mapped = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
    KeAcquireSpinLock(&Shop->Lock, &Old);
    Mapped[5000] = 1;
    KeReleaseSpinLock(&Shop->Lock, Old);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    ExFreePoolWithTag(Paged, TAG);
    ExFreeToNPagedLookasideList(&Shop->Records, Record);
    Pageable(1);
}
static VOID Overrun(VOID)
{
    PUCHAR Block = Get(NonPagedPoolNx, 100);
    for (ULONG Index = 0; Index <= 100; Index++)
        Block[Index] = 'A';
    ExFreePoolWithTag(Block, TAG); /* bug Overrun */
    Shop->Sum++;
}
static VOID ReadBehind(VOID)
{
    PUCHAR Block = Get(NonPagedPoolNx, 100);
    Shop->Sum = ((volatile UCHAR *)Block)[112]; /* bug ReadBehind */
    ExFreePoolWithTag(Block, TAG);
}
static VOID UseAfterFree(VOID)
{
    PUCHAR Block = Get(NonPagedPoolNx, 64);
    ExFreePoolWithTag(Block, TAG);
    ((volatile UCHAR *)Block)[8] = 1; /* bug UseAfterFree */
}
static VOID DoubleFree(VOID)
{
    PUCHAR Block = Get(PagedPool, 64);
    ExFreePoolWithTag(Block, TAG);
    ExFreePoolWithTag(Block, TAG); /* bug DoubleFree */
    Shop->Sum++;
}
static VOID WrongTag(VOID)
{
    ExFreePoolWithTag(Get(NonPagedPoolNx, 64), 'gnrW'); /* bug WrongTag */
    Shop->Sum++;
}
static VOID PagedUnderLock(VOID)
{
    KIRQL Old;
    PUCHAR Block = Get(PagedPool, 6400);
    Block[0] = 1;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    ((volatile UCHAR *)Block)[0] = 2; /* bug PagedUnderLock */
    KeReleaseSpinLock(&Shop->Lock, Old);
    ExFreePoolWithTag(Block, TAG);
}
static VOID AllocateUnderLock(VOID)
{
    KIRQL Old;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    Shop->Kept = Get(PagedPool, 64);
    KeReleaseSpinLock(&Shop->Lock, Old);
}
static VOID CallPageable(VOID)
{
    KIRQL Old;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    Pageable(2);
    KeReleaseSpinLock(&Shop->Lock, Old);
}
static VOID PagedInDpc(VOID)
{
    Shop->Kept = Get(PagedPool, 4096);
    SetTimer(BadTick, 1);
    Await();
}
static VOID Leak(VOID)
{
    Shop->Kept = ExAllocatePoolWithTag(NonPagedPoolNx, 333, 'kaeL'); /* bug Leak */
    Shop->Sum++;
}
static VOID LeakWorkItem(VOID)
{
    Shop->Kept = (PUCHAR)IoAllocateWorkItem(Shop->Device); /* bug LeakWorkItem */
    Shop->Sum++;
}
static VOID LeakMdl(VOID)
{
    Shop->Kept = (PUCHAR)IoAllocateMdl(Shop, 16, FALSE, FALSE, NULL); /* bug LeakMdl */
    Shop->Sum++;
}
static VOID LeftLocked(VOID)
{
    Shop->Kept = Get(PagedPool, 8192);
    Lock(Shop->Kept, 8192);
}
static VOID UnlockTwice(VOID)
{
    PMDL Mdl = Lock(Get(PagedPool, 8192), 8192);
    MmUnlockPages(Mdl);
    MmUnlockPages(Mdl); /* bug UnlockTwice */
    Shop->Sum++;
}
static VOID TimerInFreed(VOID)
{
    LARGE_INTEGER Due;
    PKTIMER Timer = (PKTIMER)Get(NonPagedPoolNx, sizeof *Timer);
    KeInitializeTimer(Timer);
    Due.QuadPart = -600000000;
    KeSetTimer(Timer, Due, NULL);
    ExFreePoolWithTag(Timer, TAG); /* bug TimerInFreed */
    Shop->Sum++;
}
static VOID TimerLeft(VOID)
{
    SetTimer(Tick, 60000);
}
static VOID AcquireTwice(VOID)
{
    KIRQL Old, Inner;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    KeAcquireSpinLock(&Shop->Lock, &Inner); /* bug AcquireTwice */
    KeReleaseSpinLock(&Shop->Lock, Inner);
}
static VOID WrongOrder(VOID)
{
    KIRQL Old, Inner;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    KeAcquireSpinLock(&Shop->Other, &Inner);
    KeReleaseSpinLock(&Shop->Other, Inner);
    KeReleaseSpinLock(&Shop->Lock, Old);
    KeAcquireSpinLock(&Shop->Other, &Old);
    KeAcquireSpinLock(&Shop->Lock, &Inner); /* bug WrongOrder */
    KeReleaseSpinLock(&Shop->Lock, Inner);
    KeReleaseSpinLock(&Shop->Other, Old);
}
static VOID WaitUnderLock(VOID)
{
    KIRQL Old;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    KeWaitForSingleObject(&Shop->Done, Executive, KernelMode, FALSE, NULL); /* bug WaitUnderLock */
    KeReleaseSpinLock(&Shop->Lock, Old);
}
static VOID LevelStays(VOID)
{
    KIRQL Old;
    KeAcquireSpinLock(&Shop->Lock, &Old);
}
static VOID WriteConstant(VOID)
{
    *(volatile CHAR *)&Constant[2] = 'X'; /* bug WriteConstant */
}
static VOID RunData(VOID)
{
    PUCHAR Block = Get(NonPagedPoolNx, 64);
    Block[0] = 0xc3;
    ((VOID(*)(VOID))(ULONG_PTR)Block)(); /* bug RunData */
    ExFreePoolWithTag(Block, TAG);
}
static VOID NullAtDispatch(VOID)
{
    KIRQL Old;
    KeAcquireSpinLock(&Shop->Lock, &Old);
    Shop->Kept[8] = 1; /* bug NullAtDispatch */
    KeReleaseSpinLock(&Shop->Lock, Old);
}
static VOID WildPointer(VOID)
{
    *(volatile ULONG *)(ULONG_PTR)0xffff800012345000 = 1; /* bug WildPointer */
}
static VOID FreeResource(VOID)
{
    PERESOURCE Resource = (PERESOURCE)Get(NonPagedPoolNx, sizeof *Resource);
    ExInitializeResourceLite(Resource);
    ExFreePoolWithTag(Resource, TAG); /* bug FreeResource */
    Shop->Sum++;
}
static VOID EntryTwice(VOID)
{
    PVOID Record = ExAllocateFromNPagedLookasideList(&Shop->Records);
    ExFreeToNPagedLookasideList(&Shop->Records, Record);
    ExFreeToNPagedLookasideList(&Shop->Records, Record);
}
static VOID BufferOverrun(VOID)
{
    Buffer[BufferBytes] = 1;
}
static VOID UnmapTooMuch(VOID)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = 0xfe000000;
    MmUnmapIoSpace(MmMapIoSpace(Address, 8192, MmNonCached), 12288); /* bug UnmapTooMuch */
    Shop->Sum++;
}
static VOID FreeMapped(VOID)
{
    PMDL Mdl = Lock(Get(PagedPool, 8192), 8192);
    Shop->Kept = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
    IoFreeMdl(Mdl); /* bug FreeMapped */
    Shop->Sum++;
}
__attribute__((noinline)) static ULONG Deeper(ULONG Depth)
{
    volatile UCHAR Room[1500];
    Room[0] = (UCHAR)Depth;
    if (Depth != 0)
        Room[1] = (UCHAR)Deeper(Depth - 1);
    return (ULONG)(Room[0] + Room[1]);
}
static VOID UseUpStack(VOID)
{
    Shop->Sum = Deeper(1000);
}
static VOID DereferenceTwice(VOID)
{
    HANDLE Handle;
    PVOID Object;
    OBJECT_ATTRIBUTES Attributes;
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, FALSE);
    ObReferenceObjectByHandle(Handle, EVENT_ALL_ACCESS, NULL, KernelMode, &Object, NULL);
    ZwClose(Handle);
    ObDereferenceObject(Object);
    ObDereferenceObject(Object); /* bug DereferenceTwice */
    Shop->Sum++;
}

static VOID (*const Bugs[])(VOID) = {
    Nothing,      Overrun,      ReadBehind, UseAfterFree,  DoubleFree,   WrongTag,      PagedUnderLock, AllocateUnderLock,
    CallPageable, PagedInDpc,   Leak,       LeakWorkItem,  LeakMdl,      LeftLocked,    UnlockTwice,    TimerInFreed,
    TimerLeft,    AcquireTwice, WrongOrder, WaitUnderLock, LevelStays,   WriteConstant, RunData,        NullAtDispatch,
    WildPointer,  FreeResource, EntryTwice, BufferOverrun, UnmapTooMuch, FreeMapped,    UseUpStack,     DereferenceTwice};

static NTSTATUS NTAPI Control(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG Number = (Stack->Parameters.DeviceIoControl.IoControlCode >> 2) & 0x7ff;
    (void)Device;
    Buffer = Irp->AssociatedIrp.SystemBuffer;
    BufferBytes = Stack->Parameters.DeviceIoControl.InputBufferLength;
    Irp->IoStatus.Status = Number < RTL_NUMBER_OF(Bugs) ? STATUS_SUCCESS : STATUS_INVALID_DEVICE_REQUEST;
    Irp->IoStatus.Information = 0;
    if (Number < RTL_NUMBER_OF(Bugs))
        Bugs[Number]();
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Number < RTL_NUMBER_OF(Bugs) ? STATUS_SUCCESS : STATUS_INVALID_DEVICE_REQUEST;
}

static NTSTATUS NTAPI Succeed(PDEVICE_OBJECT Device, PIRP Irp)
{
    (void)Device;
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    (void)Driver;
    ExDeleteNPagedLookasideList(&Shop->Records);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Shop->Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Workshop");
    PDEVICE_OBJECT Device;
    NTSTATUS Status = IoCreateDevice(Driver, sizeof(SHOP), &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    (void)Path;
    if (!NT_SUCCESS(Status))
        return Status;
    Shop = Device->DeviceExtension;
    Shop->Device = Device;
    ExInitializeNPagedLookasideList(&Shop->Records, NULL, NULL, POOL_NX_ALLOCATION, 48, TAG, 0);
    KeInitializeSpinLock(&Shop->Lock);
    KeInitializeSpinLock(&Shop->Other);
    KeInitializeTimer(&Shop->Timer);
    KeInitializeEvent(&Shop->Done, NotificationEvent, FALSE);
    ExInitializeFastMutex(&Shop->Mutex);
    Driver->MajorFunction[IRP_MJ_CREATE] = Driver->MajorFunction[IRP_MJ_CLOSE] = Succeed;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    Driver->DriverUnload = Unload;
    return IoCreateSymbolicLink(&Link, &Name);
}
