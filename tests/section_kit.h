/*
 * section_kit.h - what the tests of sections share: sections and views by one call, and a device that is one file, in memory, whose
 * transfers a test can have fail. SPDX-License-Identifier: MIT
 */
#pragma once
#include "mm_kit.h"
#include "ps/psp.h"
#include "mm/section.h"
#include "mm/segment.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static KIT_UNUSED HANDLE SkCreate(LONGLONG Bytes, ULONG Protect, ULONG Attributes, HANDLE File, NTSTATUS Expected)
{
    HANDLE Section = NULL;
    LARGE_INTEGER Size = {.QuadPart = Bytes};
    OBJECT_ATTRIBUTES Names;
    InitializeObjectAttributes(&Names, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(ZwCreateSection(&Section, SECTION_ALL_ACCESS, &Names, Bytes ? &Size : NULL, Protect, Attributes, File),
                     Expected);
    return Section;
}
static KIT_UNUSED PUCHAR SkMap(HANDLE Section, HANDLE Process, LONGLONG At, SIZE_T Bytes, ULONG Protect)
{
    PVOID Base = NULL;
    LARGE_INTEGER Offset = {.QuadPart = At};
    NTSTATUS Status = ZwMapViewOfSection(Section, Process, &Base, 0, 0, &Offset, &Bytes, ViewUnmap, 0, Protect);
    assert_true(NT_SUCCESS(Status));
    return Base;
}
static KIT_UNUSED PVOID SkObject(HANDLE Section)
{
    PVOID Object;
    assert_int_equal(ObReferenceObjectByHandle(Section, SECTION_ALL_ACCESS, *MmSectionObjectType, KernelMode, &Object, NULL),
                     STATUS_SUCCESS);
    return Object;
}
#define INSIDE(Process)                                                                                                        \
    for (KAPC_STATE Apc_, *Once_ = (KeStackAttachProcess((Process), &Apc_), &Apc_); Once_;                                     \
         KeUnstackDetachProcess(&Apc_), Once_ = NULL)

/* What a view's page is: the entry, and the prototype entry behind it. */
static inline MMPTE SkEntry(const volatile void *Va)
{
    return MiReadPte(MiPteOf((ULONG_PTR)Va));
}
static KIT_UNUSED MMPTE SkPrototype(const volatile void *Va)
{
    MMPTE Entry = SkEntry(Va);
    if (MiPteIsValid(Entry)) {
        assert_true(MiPteIsShared(Entry));
        return MiReadPte(MiPfn(MiPtePage(Entry))->PteAddress);
    }
    assert_true(MiPteIsPrototype(Entry));
    return MiReadPte(MiPtePrototypeAddress(Entry));
}

/* ---- \Device\SectionFile: one file of up to SK_BYTES ---- */
#define SK_BYTES (8u << 20)
static UCHAR SkBytes[SK_BYTES];
static ULONG64 SkSize;
static SECTION_OBJECT_POINTERS SkPointers;
static volatile LONG SkReads, SkWrites, SkReadPages, SkWritePages;
static volatile NTSTATUS SkReadStatus, SkWriteStatus; /* what transfers end with; 0: good */
static volatile LONG64 SkBadOffset = -1;              /* only those that touch this byte fail; -1: all */
static VOID (*SkOnQuery)(VOID);                       /* called when the file's size was told */
static PDEVICE_OBJECT SkDevice;
static ntmm_driver *SkDriver;

static KIT_UNUSED NTSTATUS SkTransfer(PIRP Irp, BOOLEAN Write, ULONG_PTR *Moved)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG64 Offset = (ULONG64)Stack->Parameters.Read.ByteOffset.QuadPart, Length = Stack->Parameters.Read.Length;
    NTSTATUS Fails = Write ? SkWriteStatus : SkReadStatus;
    PUCHAR Buffer = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
    assert_true((Irp->Flags & IRP_PAGING_IO) != 0);
    assert_true(KeGetCurrentIrql() <= APC_LEVEL);
    __atomic_add_fetch(Write ? &SkWrites : &SkReads, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(Write ? &SkWritePages : &SkReadPages, (LONG)((Length + PAGE_SIZE - 1) / PAGE_SIZE), __ATOMIC_RELAXED);
    if (Fails != STATUS_SUCCESS && (SkBadOffset < 0 || (ULONG64)SkBadOffset - Offset < Length)) {
        return Fails;
    }
    if (Offset >= SkSize) {
        return STATUS_END_OF_FILE;
    }
    Length = Length < SkSize - Offset ? Length : SkSize - Offset;
    memcpy(Write ? SkBytes + Offset : Buffer, Write ? Buffer : SkBytes + Offset, Length);
    *Moved = Length;
    return STATUS_SUCCESS;
}

static NTSTATUS SkDispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG_PTR Moved = 0;
    (void)Device;
    switch (Stack->MajorFunction) {
    case IRP_MJ_CREATE:
        Stack->FileObject->SectionObjectPointer = &SkPointers;
        break;
    case IRP_MJ_READ:
    case IRP_MJ_WRITE:
        Status = SkTransfer(Irp, Stack->MajorFunction == IRP_MJ_WRITE, &Moved);
        break;
    case IRP_MJ_QUERY_INFORMATION: {
        PFILE_STANDARD_INFORMATION Info = Irp->AssociatedIrp.SystemBuffer;
        memset(Info, 0, sizeof *Info);
        Info->EndOfFile.QuadPart = Info->AllocationSize.QuadPart = (LONGLONG)SkSize;
        Moved = sizeof *Info;
        if (SkOnQuery != NULL) {
            SkOnQuery();
        }
        break;
    }
    case IRP_MJ_SET_INFORMATION:
        SkSize = (ULONG64)((PFILE_END_OF_FILE_INFORMATION)Irp->AssociatedIrp.SystemBuffer)->EndOfFile.QuadPart;
        break;
    default:
        break;
    }
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Moved;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static VOID SkUnload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

static KIT_UNUSED NTSTATUS SkEntryPoint(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\SectionFile");
    (void)Path;
    for (ULONG i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++) {
        Driver->MajorFunction[i] = SkDispatch;
    }
    Driver->DriverUnload = SkUnload;
    NTSTATUS Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_DISK_FILE_SYSTEM, 0, FALSE, &SkDevice);
    if (NT_SUCCESS(Status)) {
        SkDevice->Flags |= DO_DIRECT_IO;
        SkDevice->Flags &= ~DO_DEVICE_INITIALIZING;
    }
    return Status;
}

static KIT_UNUSED HANDLE SkOpen(ACCESS_MASK Access)
{
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Block;
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\SectionFile\\it");
    HANDLE File;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    assert_int_equal(ZwCreateFile(&File, Access | SYNCHRONIZE, &Attributes, &Block, NULL, FILE_ATTRIBUTE_NORMAL,
                                  FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0),
                     STATUS_SUCCESS);
    return File;
}

/* A section of the whole file, filled by byte number. */
static inline UCHAR SkByte(ULONG64 At)
{
    return (UCHAR)((At >> 12) * 7 + At * 13 + 1);
}
static KIT_UNUSED HANDLE SkFileSection(ULONG64 Bytes, ULONG Protect)
{
    for (ULONG64 At = 0; At < Bytes; At++) {
        SkBytes[At] = SkByte(At);
    }
    SkSize = Bytes;
    SkReads = SkWrites = SkReadPages = SkWritePages = 0;
    SkReadStatus = SkWriteStatus = STATUS_SUCCESS;
    SkBadOffset = -1;
    HANDLE File = SkOpen(GENERIC_READ | GENERIC_WRITE), Section = SkCreate(0, Protect, SEC_COMMIT, File, STATUS_SUCCESS);
    ZwClose(File);
    return Section;
}

/* ---- the frame: a system with that file's driver, and two processes ---- */
static KIT_UNUSED KPROCESS *One, *Two;
static KIT_UNUSED HANDLE OneHandle, TwoHandle;

/* A small system with a page file. */
static KIT_UNUSED ntmm_options SkOptions(void)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 24u << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-section-%d:16M", (int)getpid());
    return Options;
}
static KIT_UNUSED int SkMakeProcesses(void **State)
{
    (void)State;
    return NT_SUCCESS(PspCreateNamedProcess("one", &One)) && NT_SUCCESS(PspCreateNamedProcess("two", &Two)) &&
                   NT_SUCCESS(ObOpenObjectByPointer(One, OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType,
                                                    KernelMode, &OneHandle)) &&
                   NT_SUCCESS(ObOpenObjectByPointer(Two, OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType,
                                                    KernelMode, &TwoHandle))
               ? 0
               : -1;
}
static KIT_UNUSED int SkStart(const ntmm_options *Options)
{
    if (ntmm_start(Options) != 0 || !NT_SUCCESS(ntmm_add_driver("SectionFile", SkEntryPoint, &SkDriver))) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    SkReadStatus = SkWriteStatus = STATUS_SUCCESS;
    SkBadOffset = -1;
    SkReads = SkWrites = SkReadPages = SkWritePages = 0;
    return SkMakeProcesses(NULL);
}
/* Nothing may be broken, and nothing left of the file's sections. */
static KIT_UNUSED int SkStop(void **State)
{
    ntmm_leftovers Left;
    const CHAR *Broken = MiValidateAll();
    (void)State;
    if (Broken) {
        print_error("%s\n", Broken);
    }
    ZwClose(OneHandle), ZwClose(TwoHandle);
    int Bad = PspEndProcess(One, 0) != 0 || PspEndProcess(Two, 0) != 0;
    ObDereferenceObject(One), ObDereferenceObject(Two);
    Bad |= ntmm_remove_driver(SkDriver, &Left) != 0;
    return ntmm_stop() | Bad | (Broken != NULL) | (SkPointers.ImageSectionObject != NULL) |
           (SkPointers.DataSectionObject != NULL);
}
