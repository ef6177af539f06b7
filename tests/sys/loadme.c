/*
 * loadme.c - a driver that uses what the loader has to supply, one request each. SPDX-License-Identifier: MIT
 */
#include <ntddk.h>
#include "loadme.h"

#define POOL_FLAG_NON_PAGED 0x40ull
NTKERNELAPI PVOID NTAPI ExAllocatePool2(ULONG64 Flags, SIZE_T Bytes, ULONG Tag);
NTKERNELAPI VOID NTAPI PsNoSuchRoutineAnywhere(ULONG Argument);
int __cdecl _snprintf(char *Buffer, size_t Count, const char *Format, ...);

#define INIT_CODE __attribute__((section("INIT"), noinline))

static const char Constant[16] = "read only";
static const char *volatile ConstantPointer = Constant;
static volatile UCHAR Code[16] = {0xc3}; /* ret, in writable data */
static NPAGED_LOOKASIDE_LIST Lookaside;
static ULONG Allocations;

INIT_CODE static ULONG OnceOnly(ULONG Value)
{
    return Value * 3;
}

/* The address by volatile, so that the linker's relocations and not the compiler decide. */
static ULONG (*volatile OnceOnlyPointer)(ULONG) = OnceOnly;

static PVOID NTAPI CountedAllocate(POOL_TYPE Type, SIZE_T Bytes, ULONG Tag)
{
    Allocations++;
    return ExAllocatePoolWithTag(Type, Bytes, Tag);
}

static VOID NTAPI Thread(PVOID Context)
{
    (void)Context;
    *(volatile char *)(ULONG_PTR)(ConstantPointer + 3) = 'x';
    PsTerminateSystemThread(STATUS_SUCCESS);
}

__attribute__((noinline)) static ULONG Deeper(volatile char *Above)
{
    volatile char Page[5000];
    Page[0] = Above[0];
    ULONG Sum = Page[0] < 0 ? 0 : Deeper(Page);
    return Sum + (ULONG)Page[0];
}

static VOID NTAPI Nothing(PVOID Context)
{
    (void)Context;
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS NTAPI OpenClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    (void)Device;
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static ULONG Answer(ULONG Function, PUCHAR Buffer, ULONG In, ULONG Out)
{
    ULONG64 *Words = (ULONG64 *)Buffer;
    switch (Function) {
    case LOADME_ECHO:
        for (ULONG Index = 0; Index < In; Index++) {
            Buffer[Index] = (UCHAR)~Buffer[Index];
        }
        return In < Out ? In : Out;
    case LOADME_IRQL: {
        ULONG_PTR Level = DISPATCH_LEVEL;
        KIRQL Old;
        Buffer[0] = KeGetCurrentIrql();
        __asm__ volatile("mov %0, %%cr8" : : "r"(Level) : "memory");
        __asm__ volatile("mov %%cr8, %0" : "=r"(Level));
        Buffer[1] = (UCHAR)Level;
        KeRaiseIrql(HIGH_LEVEL, &Old);
        Buffer[2] = (UCHAR)(KeGetCurrentIrql() + Old);
        KeLowerIrql(Old);
        Level = PASSIVE_LEVEL;
        __asm__ volatile("mov %0, %%cr8" : : "r"(Level) : "memory");
        Buffer[3] = KeGetCurrentIrql();
        return 4;
    }
    case LOADME_SHARED:
        Words[0] = *(volatile ULONG64 *)0xFFFFF78000000320ull;
        Words[1] = *(volatile ULONG64 *)0xFFFFF78000000014ull;
        Words[2] = *(volatile ULONG64 *)0xFFFFF78000000008ull;
        return 24;
    case LOADME_GS: {
        ULONG64 Thread;
        ULONG Number;
        __asm__ volatile("mov %%gs:0x188, %0" : "=r"(Thread));
        __asm__ volatile("mov %%gs:0x184, %0" : "=r"(Number));
        Words[0] = Thread;
        Words[1] = (ULONG64)PsGetCurrentThread();
        Words[2] = Number;
        Words[3] = KeGetCurrentProcessorNumber();
        return 32;
    }
    case LOADME_MISSING:
        PsNoSuchRoutineAnywhere(1);
        return 0;
    case LOADME_INIT:
        Buffer[0] = (UCHAR)OnceOnlyPointer(5);
        return 1;
    case LOADME_RODATA:
        *(volatile char *)(ULONG_PTR)(ConstantPointer + 3) = 'x';
        return 0;
    case LOADME_THREAD: {
        HANDLE Handle;
        PVOID Object;
        if (NT_SUCCESS(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Thread, NULL))) {
            if (NT_SUCCESS(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, NULL, KernelMode, &Object, NULL))) {
                KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
                ObDereferenceObject(Object);
            }
            ZwClose(Handle);
        }
        return 0;
    }
    case LOADME_BEYOND:
        *(volatile char *)0xFFFFF80000000000ull = 1;
        return 0;
    case LOADME_DEEP: {
        volatile char Seed = 1;
        return Deeper(&Seed);
    }
    case LOADME_LOOSE: {
        HANDLE Handle;
        if (NT_SUCCESS(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Nothing, NULL))) {
            ZwClose(Handle);
        }
        return 0;
    }
    case LOADME_XTEXT:
        ((void (*)(void))(ULONG_PTR)Code)();
        return 0;
    case LOADME_LEAK:
        Words[0] = (ULONG64)ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 'kaeL');
        return 8;
    case LOADME_DATA:
        Words[0] = (ULONG64)MmHighestUserAddress;
        /* The kernel exports a POBJECT_TYPE; mingw's header, unlike the WDK's, reads through the import again. */
        Words[1] = (ULONG64)IoFileObjectType;
        return 16;
    case LOADME_FORMAT: {
        UNICODE_STRING Name = RTL_CONSTANT_STRING(L"wide");
        return (ULONG)_snprintf((char *)Buffer, Out, "%d %s %c %08lx %I64x %wZ %5u|%ls", -5, "text", 'c', 0xabcdul,
                                0x123456789abcdefull, &Name, 42u, L"ws") +
               1;
    }
    case LOADME_LOOKASIDE: {
        PVOID Blocks[3];
        for (ULONG Round = 0; Round < 2; Round++) {
            for (ULONG Index = 0; Index < 3; Index++) {
                Blocks[Index] = ExAllocateFromNPagedLookasideList(&Lookaside);
                RtlZeroMemory(Blocks[Index], 48);
            }
            for (ULONG Index = 0; Index < 3; Index++) {
                ExFreeToNPagedLookasideList(&Lookaside, Blocks[Index]);
            }
        }
        Words[0] = Allocations;
        Words[1] = ExQueryDepthSList(&Lookaside.L.ListHead);
        return 16;
    }
    case LOADME_PRIVILEGED: {
        ULONG64 Cr0, Cr4;
        ULONG Low, High;
        __asm__ volatile("cli; mov %%cr4, %0; mov %%cr0, %1; sti" : "=r"(Cr4), "=r"(Cr0));
        __asm__ volatile("rdmsr" : "=a"(Low), "=d"(High) : "c"(0xC0000080u));
        Words[0] = Cr4;
        Words[1] = Cr0;
        Words[2] = Low | (ULONG64)High << 32;
        return 24;
    }
    case LOADME_ROUTINE: {
        UNICODE_STRING Name = RTL_CONSTANT_STRING(L"ExAllocatePoolWithTag"), None = RTL_CONSTANT_STRING(L"ExNoSuchThing");
        PVOID(NTAPI * Allocate)(POOL_TYPE, SIZE_T, ULONG) = MmGetSystemRoutineAddress(&Name);
        PVOID Block = Allocate(NonPagedPool, 64, 'tuoR');
        Words[0] = Block != NULL && MmGetSystemRoutineAddress(&None) == NULL;
        ExFreePoolWithTag(Block, 'tuoR');
        return 8;
    }
    default:
        return 0;
    }
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    (void)Device;
    if (Stack->Parameters.DeviceIoControl.IoControlCode == LOADME_LOCK) {
        PMDL Mdl = IoAllocateMdl(Irp->UserBuffer, Stack->Parameters.DeviceIoControl.OutputBufferLength, FALSE, FALSE, NULL);
        MmProbeAndLockPages(Mdl, UserMode, IoWriteAccess);
    }
    Irp->IoStatus.Information =
        Answer(Stack->Parameters.DeviceIoControl.IoControlCode, Irp->AssociatedIrp.SystemBuffer,
               Stack->Parameters.DeviceIoControl.InputBufferLength, Stack->Parameters.DeviceIoControl.OutputBufferLength);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(LOADME_LINK);
    ExDeleteNPagedLookasideList(&Lookaside);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
    DbgPrint("loadme: goodbye\n");
}

INIT_CODE NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(LOADME_DEVICE), Link = RTL_CONSTANT_STRING(LOADME_LINK);
    PDEVICE_OBJECT Device;
    NTSTATUS Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    ExInitializeNPagedLookasideList(&Lookaside, CountedAllocate, NULL, 0, 48, 'kooL', 0);
    Driver->MajorFunction[IRP_MJ_CREATE] = OpenClose;
    Driver->MajorFunction[IRP_MJ_CLOSE] = OpenClose;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = OpenClose;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
    Driver->DriverUnload = Unload;
    DbgPrint("loadme: hello from %wZ, %u\n", RegistryPath, OnceOnly(14));
    return STATUS_SUCCESS;
}
