/*
 * layout_test.c - sizes, alignments and offsets of the structures that drivers see, x64. A binary driver has
 * them compiled in, so they are fixed: from the documents, the kit's metadata, and an independent compiler's
 * view of another kit. SPDX-License-Identifier: MIT
 */
#include "rtl_kit.h"

#define SIZE(Type, Size, Alignment)                                                                                            \
    do {                                                                                                                       \
        if (sizeof(Type) != (Size) || __alignof__(Type) != (Alignment))                                                        \
            fail_msg("%s: size 0x%zx, alignment %zu", #Type, sizeof(Type), __alignof__(Type));                                 \
    } while (0)
#define AT(Type, Field, Offset)                                                                                                \
    do {                                                                                                                       \
        if (offsetof(Type, Field) != (Offset))                                                                                 \
            fail_msg("%s.%s: 0x%zx", #Type, #Field, offsetof(Type, Field));                                                    \
    } while (0)

static void Kernel_Structures_HaveTheirLayout(void **State)
{
    UNREFERENCED_PARAMETER(State);
    SIZE(DISPATCHER_HEADER, 0x18, 8);
    AT(DISPATCHER_HEADER, SignalState, 4);
    AT(DISPATCHER_HEADER, WaitListHead, 8);
    SIZE(KEVENT, 0x18, 8);
    SIZE(KSEMAPHORE, 0x20, 8);
    AT(KSEMAPHORE, Limit, 0x18);
    SIZE(KMUTANT, 0x38, 8);
    AT(KMUTANT, MutantListEntry, 0x18);
    AT(KMUTANT, OwnerThread, 0x28);
    AT(KMUTANT, ApcDisable, 0x31);
    SIZE(KTIMER, 0x40, 8);
    AT(KTIMER, DueTime, 0x18);
    AT(KTIMER, TimerListEntry, 0x20);
    AT(KTIMER, Dpc, 0x30);
    AT(KTIMER, Period, 0x3C);
    SIZE(KDPC, 0x40, 8);
    AT(KDPC, DpcListEntry, 8);
    AT(KDPC, DeferredRoutine, 0x18);
    AT(KDPC, DeferredContext, 0x20);
    AT(KDPC, SystemArgument1, 0x28);
    AT(KDPC, SystemArgument2, 0x30);
    AT(KDPC, DpcData, 0x38);
    SIZE(KAPC, 0x58, 8);
    AT(KAPC, Size, 2);
    AT(KAPC, Thread, 8);
    AT(KAPC, ApcListEntry, 0x10);
    AT(KAPC, NormalContext, 0x38);
    AT(KAPC, SystemArgument1, 0x40);
    AT(KAPC, SystemArgument2, 0x48);
    AT(KAPC, ApcStateIndex, 0x50);
    AT(KAPC, ApcMode, 0x51);
    AT(KAPC, Inserted, 0x52);
    SIZE(KWAIT_BLOCK, 0x30, 8);
    AT(KWAIT_BLOCK, WaitListEntry, 0);
    AT(KWAIT_BLOCK, WaitType, 0x10);
    AT(KWAIT_BLOCK, WaitKey, 0x12);
    AT(KWAIT_BLOCK, Object, 0x20);
    SIZE(KLOCK_QUEUE_HANDLE, 0x18, 8);
    AT(KLOCK_QUEUE_HANDLE, LockQueue, 0);
    AT(KLOCK_QUEUE_HANDLE, OldIrql, 0x10);
    SIZE(KDEVICE_QUEUE, 0x28, 8);
    AT(KDEVICE_QUEUE, Type, 0);
    AT(KDEVICE_QUEUE, Size, 2);
    AT(KDEVICE_QUEUE, DeviceListHead, 8);
    AT(KDEVICE_QUEUE, Lock, 0x18);
    AT(KDEVICE_QUEUE, Busy, 0x20);
    SIZE(KDEVICE_QUEUE_ENTRY, 0x18, 8);
    AT(KDEVICE_QUEUE_ENTRY, DeviceListEntry, 0);
    AT(KDEVICE_QUEUE_ENTRY, SortKey, 0x10);
    AT(KDEVICE_QUEUE_ENTRY, Inserted, 0x14);
    SIZE(KAPC_STATE, 0x30, 8);
    AT(KAPC_STATE, Process, 0x20);
    AT(KAPC_STATE, KernelApcPending, 0x29);
    AT(KAPC_STATE, UserApcPending, 0x2A);
    SIZE(CONTEXT, 0x4D0, 16);
    AT(CONTEXT, ContextFlags, 0x30);
    AT(CONTEXT, MxCsr, 0x34);
    AT(CONTEXT, SegCs, 0x38);
    AT(CONTEXT, SegSs, 0x42);
    AT(CONTEXT, EFlags, 0x44);
    AT(CONTEXT, Dr0, 0x48);
    AT(CONTEXT, Dr7, 0x70);
    AT(CONTEXT, Rax, 0x78);
    AT(CONTEXT, Rcx, 0x80);
    AT(CONTEXT, Rdx, 0x88);
    AT(CONTEXT, Rbx, 0x90);
    AT(CONTEXT, Rsp, 0x98);
    AT(CONTEXT, Rbp, 0xA0);
    AT(CONTEXT, Rsi, 0xA8);
    AT(CONTEXT, Rdi, 0xB0);
    AT(CONTEXT, R8, 0xB8);
    AT(CONTEXT, R15, 0xF0);
    AT(CONTEXT, Rip, 0xF8);
    AT(CONTEXT, Xmm0, 0x1A0);
    AT(CONTEXT, Xmm15, 0x290);
    AT(CONTEXT, VectorRegister, 0x300);
    AT(CONTEXT, VectorControl, 0x4A0);
    AT(CONTEXT, DebugControl, 0x4A8);
    AT(CONTEXT, LastBranchToRip, 0x4B0);
    AT(CONTEXT, LastExceptionFromRip, 0x4C8);
    SIZE(EXCEPTION_RECORD, 0x98, 8);
    AT(EXCEPTION_RECORD, ExceptionFlags, 4);
    AT(EXCEPTION_RECORD, ExceptionRecord, 8);
    AT(EXCEPTION_RECORD, ExceptionAddress, 0x10);
    AT(EXCEPTION_RECORD, NumberParameters, 0x18);
    AT(EXCEPTION_RECORD, ExceptionInformation, 0x20);
    SIZE(KBUGCHECK_CALLBACK_RECORD, 0x40, 8);
    AT(KBUGCHECK_CALLBACK_RECORD, CallbackRoutine, 0x10);
    AT(KBUGCHECK_CALLBACK_RECORD, Buffer, 0x18);
    AT(KBUGCHECK_CALLBACK_RECORD, Length, 0x20);
    AT(KBUGCHECK_CALLBACK_RECORD, Component, 0x28);
    AT(KBUGCHECK_CALLBACK_RECORD, Checksum, 0x30);
    AT(KBUGCHECK_CALLBACK_RECORD, State, 0x38);
}

static void Executive_Structures_HaveTheirLayout(void **State)
{
    UNREFERENCED_PARAMETER(State);
    SIZE(FAST_MUTEX, 0x38, 8);
    AT(FAST_MUTEX, Count, 0);
    AT(FAST_MUTEX, Owner, 8);
    AT(FAST_MUTEX, Contention, 0x10);
    SIZE(ERESOURCE, 0x68, 8);
    AT(ERESOURCE, OwnerTable, 0x10);
    AT(ERESOURCE, ActiveCount, 0x18);
    AT(ERESOURCE, Flag, 0x1A);
    AT(ERESOURCE, SharedWaiters, 0x20);
    AT(ERESOURCE, ExclusiveWaiters, 0x28);
    AT(ERESOURCE, ActiveEntries, 0x40);
    AT(ERESOURCE, ContentionCount, 0x44);
    AT(ERESOURCE, NumberOfSharedWaiters, 0x48);
    AT(ERESOURCE, NumberOfExclusiveWaiters, 0x4C);
    AT(ERESOURCE, SpinLock, 0x60);
    SIZE(WORK_QUEUE_ITEM, 0x20, 8);
    AT(WORK_QUEUE_ITEM, List, 0);
    AT(WORK_QUEUE_ITEM, WorkerRoutine, 0x10);
    AT(WORK_QUEUE_ITEM, Parameter, 0x18);
    SIZE(SLIST_HEADER, 0x10, 16);
    SIZE(SLIST_ENTRY, 0x10, 16);
    SIZE(NPAGED_LOOKASIDE_LIST, 0x80, 64);
    AT(NPAGED_LOOKASIDE_LIST, L.Depth, 0x10);
    AT(NPAGED_LOOKASIDE_LIST, L.MaximumDepth, 0x12);
    AT(NPAGED_LOOKASIDE_LIST, L.TotalAllocates, 0x14);
    AT(NPAGED_LOOKASIDE_LIST, L.TotalFrees, 0x1C);
    AT(NPAGED_LOOKASIDE_LIST, L.Type, 0x24);
    AT(NPAGED_LOOKASIDE_LIST, L.Tag, 0x28);
    AT(NPAGED_LOOKASIDE_LIST, L.Size, 0x2C);
    AT(NPAGED_LOOKASIDE_LIST, L.Allocate, 0x30);
    AT(NPAGED_LOOKASIDE_LIST, L.Free, 0x38);
    AT(NPAGED_LOOKASIDE_LIST, L.ListEntry, 0x40);
    AT(NPAGED_LOOKASIDE_LIST, L.LastTotalAllocates, 0x50);
    SIZE(PAGED_LOOKASIDE_LIST, 0x80, 64);
    AT(PAGED_LOOKASIDE_LIST, L.Type, 0x24);
    AT(PAGED_LOOKASIDE_LIST, L.Allocate, 0x30);
    SIZE(LOOKASIDE_LIST_EX, 0x60, 16);
    AT(LOOKASIDE_LIST_EX, L.Type, 0x24);
    AT(LOOKASIDE_LIST_EX, L.Tag, 0x28);
    AT(LOOKASIDE_LIST_EX, L.Size, 0x2C);
    AT(LOOKASIDE_LIST_EX, L.ListEntry, 0x40);
}

static void Memory_Structures_HaveTheirLayout(void **State)
{
    UNREFERENCED_PARAMETER(State);
    SIZE(MDL, 0x30, 8);
    AT(MDL, Next, 0);
    AT(MDL, Size, 8);
    AT(MDL, MdlFlags, 0xA);
    AT(MDL, Process, 0x10);
    AT(MDL, MappedSystemVa, 0x18);
    AT(MDL, StartVa, 0x20);
    AT(MDL, ByteCount, 0x28);
    AT(MDL, ByteOffset, 0x2C);
    SIZE(PHYSICAL_MEMORY_RANGE, 0x10, 8);
    AT(PHYSICAL_MEMORY_RANGE, BaseAddress, 0);
    AT(PHYSICAL_MEMORY_RANGE, NumberOfBytes, 8);
    SIZE(SECTION_OBJECT_POINTERS, 0x18, 8);
    AT(SECTION_OBJECT_POINTERS, DataSectionObject, 0);
    AT(SECTION_OBJECT_POINTERS, SharedCacheMap, 8);
    AT(SECTION_OBJECT_POINTERS, ImageSectionObject, 0x10);
}

static void Io_Structures_HaveTheirLayout(void **State)
{
    UNREFERENCED_PARAMETER(State);
    SIZE(DRIVER_OBJECT, 0x150, 8);
    AT(DRIVER_OBJECT, Type, 0);
    AT(DRIVER_OBJECT, Size, 2);
    AT(DRIVER_OBJECT, DeviceObject, 8);
    AT(DRIVER_OBJECT, Flags, 0x10);
    AT(DRIVER_OBJECT, DriverStart, 0x18);
    AT(DRIVER_OBJECT, DriverSize, 0x20);
    AT(DRIVER_OBJECT, DriverSection, 0x28);
    AT(DRIVER_OBJECT, DriverExtension, 0x30);
    AT(DRIVER_OBJECT, DriverName, 0x38);
    AT(DRIVER_OBJECT, HardwareDatabase, 0x48);
    AT(DRIVER_OBJECT, FastIoDispatch, 0x50);
    AT(DRIVER_OBJECT, DriverInit, 0x58);
    AT(DRIVER_OBJECT, DriverStartIo, 0x60);
    AT(DRIVER_OBJECT, DriverUnload, 0x68);
    AT(DRIVER_OBJECT, MajorFunction, 0x70);
    SIZE(DRIVER_EXTENSION, 0x28, 8);
    AT(DRIVER_EXTENSION, DriverObject, 0);
    AT(DRIVER_EXTENSION, AddDevice, 8);
    AT(DRIVER_EXTENSION, Count, 0x10);
    AT(DRIVER_EXTENSION, ServiceKeyName, 0x18);
    SIZE(DEVICE_OBJECT, 0x150, 16);
    AT(DEVICE_OBJECT, Type, 0);
    AT(DEVICE_OBJECT, Size, 2);
    AT(DEVICE_OBJECT, ReferenceCount, 4);
    AT(DEVICE_OBJECT, DriverObject, 8);
    AT(DEVICE_OBJECT, NextDevice, 0x10);
    AT(DEVICE_OBJECT, AttachedDevice, 0x18);
    AT(DEVICE_OBJECT, CurrentIrp, 0x20);
    AT(DEVICE_OBJECT, Timer, 0x28);
    AT(DEVICE_OBJECT, Flags, 0x30);
    AT(DEVICE_OBJECT, Characteristics, 0x34);
    AT(DEVICE_OBJECT, Vpb, 0x38);
    AT(DEVICE_OBJECT, DeviceExtension, 0x40);
    AT(DEVICE_OBJECT, DeviceType, 0x48);
    AT(DEVICE_OBJECT, StackSize, 0x4C);
    AT(DEVICE_OBJECT, Queue, 0x50);
    AT(DEVICE_OBJECT, AlignmentRequirement, 0x98);
    AT(DEVICE_OBJECT, DeviceQueue, 0xA0);
    AT(DEVICE_OBJECT, Dpc, 0xC8);
    AT(DEVICE_OBJECT, ActiveThreadCount, 0x108);
    AT(DEVICE_OBJECT, SecurityDescriptor, 0x110);
    AT(DEVICE_OBJECT, DeviceLock, 0x118);
    AT(DEVICE_OBJECT, SectorSize, 0x130);
    AT(DEVICE_OBJECT, DeviceObjectExtension, 0x138);
    SIZE(FILE_OBJECT, 0xD8, 8);
    AT(FILE_OBJECT, DeviceObject, 8);
    AT(FILE_OBJECT, Vpb, 0x10);
    AT(FILE_OBJECT, FsContext, 0x18);
    AT(FILE_OBJECT, FsContext2, 0x20);
    AT(FILE_OBJECT, SectionObjectPointer, 0x28);
    AT(FILE_OBJECT, PrivateCacheMap, 0x30);
    AT(FILE_OBJECT, FinalStatus, 0x38);
    AT(FILE_OBJECT, RelatedFileObject, 0x40);
    AT(FILE_OBJECT, LockOperation, 0x48);
    AT(FILE_OBJECT, DeletePending, 0x49);
    AT(FILE_OBJECT, ReadAccess, 0x4A);
    AT(FILE_OBJECT, WriteAccess, 0x4B);
    AT(FILE_OBJECT, DeleteAccess, 0x4C);
    AT(FILE_OBJECT, SharedRead, 0x4D);
    AT(FILE_OBJECT, SharedWrite, 0x4E);
    AT(FILE_OBJECT, SharedDelete, 0x4F);
    AT(FILE_OBJECT, Flags, 0x50);
    AT(FILE_OBJECT, FileName, 0x58);
    AT(FILE_OBJECT, CurrentByteOffset, 0x68);
    AT(FILE_OBJECT, Waiters, 0x70);
    AT(FILE_OBJECT, Busy, 0x74);
    AT(FILE_OBJECT, LastLock, 0x78);
    AT(FILE_OBJECT, Lock, 0x80);
    AT(FILE_OBJECT, Event, 0x98);
    AT(FILE_OBJECT, CompletionContext, 0xB0);
    AT(FILE_OBJECT, IrpListLock, 0xB8);
    AT(FILE_OBJECT, IrpList, 0xC0);
    AT(FILE_OBJECT, FileObjectExtension, 0xD0);
    SIZE(IRP, 0xD0, 16);
    AT(IRP, Type, 0);
    AT(IRP, Size, 2);
    AT(IRP, MdlAddress, 8);
    AT(IRP, Flags, 0x10);
    AT(IRP, AssociatedIrp, 0x18);
    AT(IRP, ThreadListEntry, 0x20);
    AT(IRP, IoStatus, 0x30);
    AT(IRP, RequestorMode, 0x40);
    AT(IRP, PendingReturned, 0x41);
    AT(IRP, StackCount, 0x42);
    AT(IRP, CurrentLocation, 0x43);
    AT(IRP, Cancel, 0x44);
    AT(IRP, CancelIrql, 0x45);
    AT(IRP, ApcEnvironment, 0x46);
    AT(IRP, AllocationFlags, 0x47);
    AT(IRP, UserIosb, 0x48);
    AT(IRP, UserEvent, 0x50);
    AT(IRP, Overlay, 0x58);
    AT(IRP, CancelRoutine, 0x68);
    AT(IRP, UserBuffer, 0x70);
    AT(IRP, Tail, 0x78);
    AT(IRP, Tail.Overlay.Thread, 0x98);
    AT(IRP, Tail.Overlay.AuxiliaryBuffer, 0xA0);
    AT(IRP, Tail.Overlay.ListEntry, 0xA8);
    AT(IRP, Tail.Overlay.CurrentStackLocation, 0xB8);
    AT(IRP, Tail.Overlay.OriginalFileObject, 0xC0);
    SIZE(IO_STACK_LOCATION, 0x48, 8);
    AT(IO_STACK_LOCATION, MinorFunction, 1);
    AT(IO_STACK_LOCATION, Flags, 2);
    AT(IO_STACK_LOCATION, Control, 3);
    AT(IO_STACK_LOCATION, Parameters, 8);
    AT(IO_STACK_LOCATION, Parameters.Create.Options, 0x10);
    AT(IO_STACK_LOCATION, Parameters.Create.FileAttributes, 0x18);
    AT(IO_STACK_LOCATION, Parameters.Create.ShareAccess, 0x1A);
    AT(IO_STACK_LOCATION, Parameters.Create.EaLength, 0x20);
    AT(IO_STACK_LOCATION, Parameters.Read.Key, 0x10);
    AT(IO_STACK_LOCATION, Parameters.Read.ByteOffset, 0x18);
    AT(IO_STACK_LOCATION, Parameters.Write.Length, 8);
    AT(IO_STACK_LOCATION, Parameters.DeviceIoControl.OutputBufferLength, 8);
    AT(IO_STACK_LOCATION, Parameters.DeviceIoControl.InputBufferLength, 0x10);
    AT(IO_STACK_LOCATION, Parameters.DeviceIoControl.IoControlCode, 0x18);
    AT(IO_STACK_LOCATION, Parameters.DeviceIoControl.Type3InputBuffer, 0x20);
    AT(IO_STACK_LOCATION, Parameters.QueryFile.FileInformationClass, 0x10);
    AT(IO_STACK_LOCATION, Parameters.SetFile.FileObject, 0x18);
    AT(IO_STACK_LOCATION, Parameters.SetFile.DeleteHandle, 0x20);
    AT(IO_STACK_LOCATION, Parameters.FileSystemControl.FsControlCode, 0x18);
    AT(IO_STACK_LOCATION, DeviceObject, 0x28);
    AT(IO_STACK_LOCATION, FileObject, 0x30);
    AT(IO_STACK_LOCATION, CompletionRoutine, 0x38);
    AT(IO_STACK_LOCATION, Context, 0x40);
    SIZE(IO_STATUS_BLOCK, 0x10, 8);
    AT(IO_STATUS_BLOCK, Status, 0);
    AT(IO_STATUS_BLOCK, Information, 8);
    SIZE(VPB, 0x60, 8);
    AT(VPB, Flags, 4);
    AT(VPB, VolumeLabelLength, 6);
    AT(VPB, DeviceObject, 8);
    AT(VPB, RealDevice, 0x10);
    AT(VPB, SerialNumber, 0x18);
    AT(VPB, ReferenceCount, 0x1C);
    AT(VPB, VolumeLabel, 0x20);
    SIZE(WAIT_CONTEXT_BLOCK, 0x48, 8);
    AT(WAIT_CONTEXT_BLOCK, DeviceRoutine, 0x18);
    AT(WAIT_CONTEXT_BLOCK, DeviceContext, 0x20);
    AT(WAIT_CONTEXT_BLOCK, NumberOfMapRegisters, 0x28);
    AT(WAIT_CONTEXT_BLOCK, DeviceObject, 0x30);
    AT(WAIT_CONTEXT_BLOCK, CurrentIrp, 0x38);
    AT(WAIT_CONTEXT_BLOCK, BufferChainingDpc, 0x40);
    SIZE(FAST_IO_DISPATCH, 0xE0, 8);
    AT(FAST_IO_DISPATCH, FastIoCheckIfPossible, 8);
    AT(FAST_IO_DISPATCH, FastIoDeviceControl, 0x50);
    AT(FAST_IO_DISPATCH, ReleaseForCcFlush, 0xD8);
    SIZE(IO_SECURITY_CONTEXT, 0x18, 8);
    AT(IO_SECURITY_CONTEXT, AccessState, 8);
    AT(IO_SECURITY_CONTEXT, DesiredAccess, 0x10);
    AT(IO_SECURITY_CONTEXT, FullCreateOptions, 0x14);
}

static void Base_Structures_HaveTheirLayout(void **State)
{
    UNREFERENCED_PARAMETER(State);
    SIZE(UNICODE_STRING, 0x10, 8);
    AT(UNICODE_STRING, MaximumLength, 2);
    AT(UNICODE_STRING, Buffer, 8);
    SIZE(OBJECT_ATTRIBUTES, 0x30, 8);
    AT(OBJECT_ATTRIBUTES, RootDirectory, 8);
    AT(OBJECT_ATTRIBUTES, ObjectName, 0x10);
    AT(OBJECT_ATTRIBUTES, Attributes, 0x18);
    AT(OBJECT_ATTRIBUTES, SecurityDescriptor, 0x20);
    AT(OBJECT_ATTRIBUTES, SecurityQualityOfService, 0x28);
    SIZE(LIST_ENTRY, 0x10, 8);
    AT(LIST_ENTRY, Blink, 8);
    SIZE(CLIENT_ID, 0x10, 8);
    AT(CLIENT_ID, UniqueThread, 8);
    SIZE(TIME_FIELDS, 0x10, 2);
    AT(TIME_FIELDS, Year, 0);
    AT(TIME_FIELDS, Weekday, 0xE);
    SIZE(RTL_BITMAP, 0x10, 8);
    AT(RTL_BITMAP, Buffer, 8);
    SIZE(RTL_AVL_TABLE, 0x68, 8);
    AT(RTL_AVL_TABLE, OrderedPointer, 0x20);
    AT(RTL_AVL_TABLE, WhichOrderedElement, 0x28);
    AT(RTL_AVL_TABLE, NumberGenericTableElements, 0x2C);
    AT(RTL_AVL_TABLE, DepthOfTree, 0x30);
    AT(RTL_AVL_TABLE, RestartKey, 0x38);
    AT(RTL_AVL_TABLE, DeleteCount, 0x40);
    AT(RTL_AVL_TABLE, CompareRoutine, 0x48);
    AT(RTL_AVL_TABLE, AllocateRoutine, 0x50);
    AT(RTL_AVL_TABLE, FreeRoutine, 0x58);
    AT(RTL_AVL_TABLE, TableContext, 0x60);
    SIZE(RTL_BALANCED_LINKS, 0x20, 8);
    AT(RTL_BALANCED_LINKS, LeftChild, 8);
    AT(RTL_BALANCED_LINKS, RightChild, 0x10);
    AT(RTL_BALANCED_LINKS, Balance, 0x18);
    SIZE(RTL_GENERIC_TABLE, 0x48, 8);
    AT(RTL_GENERIC_TABLE, TableRoot, 0);
    AT(RTL_GENERIC_TABLE, InsertOrderList, 8);
    AT(RTL_GENERIC_TABLE, OrderedPointer, 0x18);
    AT(RTL_GENERIC_TABLE, WhichOrderedElement, 0x20);
    AT(RTL_GENERIC_TABLE, NumberGenericTableElements, 0x24);
    AT(RTL_GENERIC_TABLE, CompareRoutine, 0x28);
    AT(RTL_GENERIC_TABLE, TableContext, 0x40);
    SIZE(RTL_OSVERSIONINFOW, 0x114, 4);
    AT(RTL_OSVERSIONINFOW, dwBuildNumber, 0xC);
    AT(RTL_OSVERSIONINFOW, szCSDVersion, 0x14);
    SIZE(RTL_OSVERSIONINFOEXW, 0x11C, 4);
    AT(RTL_OSVERSIONINFOEXW, wServicePackMajor, 0x114);
    AT(RTL_OSVERSIONINFOEXW, wProductType, 0x11A);
    SIZE(OBJECT_HANDLE_INFORMATION, 8, 4);
    AT(OBJECT_HANDLE_INFORMATION, GrantedAccess, 4);
    SIZE(GUID, 0x10, 4);
    AT(GUID, Data2, 4);
    AT(GUID, Data4, 8);
}

static void Types_WidthsAndSigns(void **State)
{
    UNREFERENCED_PARAMETER(State);
    SIZE(LONG, 4, 4);
    SIZE(ULONG, 4, 4);
    SIZE(LONGLONG, 8, 8);
    SIZE(WCHAR, 2, 2);
    SIZE(BOOLEAN, 1, 1);
    SIZE(KIRQL, 1, 1);
    SIZE(KSPIN_LOCK, 8, 8);
    SIZE(EX_SPIN_LOCK, 4, 4);
    SIZE(PHYSICAL_ADDRESS, 8, 8);
    SIZE(MM_COPY_ADDRESS, 8, 8);
    SIZE(PFN_NUMBER, 8, 8);
    SIZE(POOL_FLAGS, 8, 8);
    SIZE(POOL_EXTENDED_PARAMETER, 16, 8);
    SIZE(MEMORY_BASIC_INFORMATION, 0x30, 8);
    assert_true((NTSTATUS)-1 < 0 && (LONG)-1 < 0 && (ULONG)-1 > 0 && (WCHAR)-1 > 0);
    assert_int_equal(sizeof(L"ab"), 6);
    assert_int_equal('tseT', 0x74736554); /* a tag reads backwards in memory */
    assert_int_equal(STATUS_INSUFFICIENT_RESOURCES, (NTSTATUS)0xC000009A);
    assert_true(NT_SUCCESS(STATUS_PENDING) && !NT_SUCCESS(STATUS_BUFFER_OVERFLOW) && NT_WARNING(STATUS_BUFFER_OVERFLOW));
    assert_int_equal(DRIVER_VERIFIER_DETECTED_VIOLATION, 0xC4);
    assert_int_equal(NonPagedPoolNx, 512);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Kernel_Structures_HaveTheirLayout), cmocka_unit_test(Executive_Structures_HaveTheirLayout),
        cmocka_unit_test(Memory_Structures_HaveTheirLayout), cmocka_unit_test(Io_Structures_HaveTheirLayout),
        cmocka_unit_test(Base_Structures_HaveTheirLayout),   cmocka_unit_test(Types_WidthsAndSigns),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
