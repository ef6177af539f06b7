/*
 * iofn.h - the I/O manager's routines, for drivers: devices, IRPs, cancel-safe queues, work items, remove locks, timers,
 * Plug and Play and power. io.h has the structures and includes this.
 *
 * IRQL is in front of each group. Routines that take a name copy it; strings need not outlive the call.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_IOFN_
#define _NTMM_IOFN_

/* What a completion routine answers. Page: IO_COMPLETION_ROUTINE. */
#define STATUS_CONTINUE_COMPLETION STATUS_SUCCESS
typedef enum _IO_COMPLETION_ROUTINE_RESULT {
    ContinueCompletion = STATUS_CONTINUE_COMPLETION,
    StopCompletion = STATUS_MORE_PROCESSING_REQUIRED
} IO_COMPLETION_ROUTINE_RESULT,
    *PIO_COMPLETION_ROUTINE_RESULT;

/* ---- structures of the helpers ---- */
typedef struct _IO_REMOVE_LOCK_COMMON_BLOCK {
    BOOLEAN Removed;
    BOOLEAN Reserved[3];
    volatile LONG IoCount;
    KEVENT RemoveEvent;
} IO_REMOVE_LOCK_COMMON_BLOCK;
typedef struct _IO_REMOVE_LOCK {
    IO_REMOVE_LOCK_COMMON_BLOCK Common;
} IO_REMOVE_LOCK, *PIO_REMOVE_LOCK;
C_ASSERT(sizeof(IO_REMOVE_LOCK) == 0x20);

#define IO_TYPE_CSQ_IRP_CONTEXT 1
#define IO_TYPE_CSQ             2
#define IO_TYPE_CSQ_EX          3
struct _IO_CSQ;
typedef struct _IO_CSQ_IRP_CONTEXT {
    ULONG Type;
    struct _IRP *Irp;
    struct _IO_CSQ *Csq;
} IO_CSQ_IRP_CONTEXT, *PIO_CSQ_IRP_CONTEXT;
typedef VOID IO_CSQ_INSERT_IRP(struct _IO_CSQ *Csq, PIRP Irp);
typedef IO_CSQ_INSERT_IRP *PIO_CSQ_INSERT_IRP;
typedef NTSTATUS IO_CSQ_INSERT_IRP_EX(struct _IO_CSQ *Csq, PIRP Irp, PVOID InsertContext);
typedef IO_CSQ_INSERT_IRP_EX *PIO_CSQ_INSERT_IRP_EX;
typedef VOID IO_CSQ_REMOVE_IRP(struct _IO_CSQ *Csq, PIRP Irp);
typedef IO_CSQ_REMOVE_IRP *PIO_CSQ_REMOVE_IRP;
typedef PIRP IO_CSQ_PEEK_NEXT_IRP(struct _IO_CSQ *Csq, PIRP Irp, PVOID PeekContext);
typedef IO_CSQ_PEEK_NEXT_IRP *PIO_CSQ_PEEK_NEXT_IRP;
typedef VOID IO_CSQ_ACQUIRE_LOCK(struct _IO_CSQ *Csq, PKIRQL Irql);
typedef IO_CSQ_ACQUIRE_LOCK *PIO_CSQ_ACQUIRE_LOCK;
typedef VOID IO_CSQ_RELEASE_LOCK(struct _IO_CSQ *Csq, KIRQL Irql);
typedef IO_CSQ_RELEASE_LOCK *PIO_CSQ_RELEASE_LOCK;
typedef VOID IO_CSQ_COMPLETE_CANCELED_IRP(struct _IO_CSQ *Csq, PIRP Irp);
typedef IO_CSQ_COMPLETE_CANCELED_IRP *PIO_CSQ_COMPLETE_CANCELED_IRP;
typedef struct _IO_CSQ {
    ULONG Type;
    PIO_CSQ_INSERT_IRP CsqInsertIrp;
    PIO_CSQ_REMOVE_IRP CsqRemoveIrp;
    PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp;
    PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock;
    PIO_CSQ_RELEASE_LOCK CsqReleaseLock;
    PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp;
    PVOID ReservePointer;
} IO_CSQ, *PIO_CSQ;
C_ASSERT(sizeof(IO_CSQ) == 0x40 && sizeof(IO_CSQ_IRP_CONTEXT) == 0x18);

typedef struct _IO_WORKITEM *PIO_WORKITEM;
typedef VOID IO_WORKITEM_ROUTINE_EX(PVOID IoObject, PVOID Context, PIO_WORKITEM IoWorkItem);
typedef IO_WORKITEM_ROUTINE_EX *PIO_WORKITEM_ROUTINE_EX;

typedef struct _IO_ERROR_LOG_PACKET {
    UCHAR MajorFunctionCode;
    UCHAR RetryCount;
    USHORT DumpDataSize;
    USHORT NumberOfStrings;
    USHORT StringOffset;
    USHORT EventCategory;
    NTSTATUS ErrorCode;
    ULONG UniqueErrorValue;
    NTSTATUS FinalStatus;
    ULONG SequenceNumber;
    ULONG IoControlCode;
    LARGE_INTEGER DeviceOffset;
    ULONG DumpData[1];
} IO_ERROR_LOG_PACKET, *PIO_ERROR_LOG_PACKET;
C_ASSERT(sizeof(IO_ERROR_LOG_PACKET) == 0x30);
#define ERROR_LOG_MAXIMUM_SIZE 240

typedef struct _SHARE_ACCESS {
    ULONG OpenCount;
    ULONG Readers;
    ULONG Writers;
    ULONG Deleters;
    ULONG SharedRead;
    ULONG SharedWrite;
    ULONG SharedDelete;
} SHARE_ACCESS, *PSHARE_ACCESS;

typedef VOID REQUEST_POWER_COMPLETE(struct _DEVICE_OBJECT *DeviceObject, UCHAR MinorFunction, POWER_STATE PowerState,
                                    PVOID Context, struct _IO_STATUS_BLOCK *IoStatus);
typedef REQUEST_POWER_COMPLETE *PREQUEST_POWER_COMPLETE;

#define WMIREG_ACTION_REGISTER     1
#define WMIREG_ACTION_DEREGISTER   2
#define WMIREG_ACTION_REREGISTER   3
#define WMIREG_ACTION_UPDATE_GUIDS 4
#define WMIREG_ACTION_BLOCK_IRPS   5

#define FSRTL_FSP_TOP_LEVEL_IRP       ((LONG_PTR)0x01)
#define FSRTL_CACHE_TOP_LEVEL_IRP     ((LONG_PTR)0x02)
#define FSRTL_MOD_WRITE_TOP_LEVEL_IRP ((LONG_PTR)0x03)
#define FSRTL_FAST_IO_TOP_LEVEL_IRP   ((LONG_PTR)0x04)
#define FSRTL_MAX_TOP_LEVEL_IRP_FLAG  ((LONG_PTR)0xFFFF)

EXTERN_C_START

/* ---- devices and names: PASSIVE_LEVEL ---- */
/* A device object with DeviceExtensionSize zeroed bytes behind it, first in the driver's list, DO_DEVICE_INITIALIZING set.
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_COLLISION and other name errors. Page: IoCreateDevice. */
NTKERNELAPI NTSTATUS IoCreateDevice(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize, PUNICODE_STRING DeviceName,
                                    DEVICE_TYPE DeviceType, ULONG DeviceCharacteristics, BOOLEAN Exclusive,
                                    PDEVICE_OBJECT *DeviceObject);
/* The same; the security descriptor string is not interpreted. Page: IoCreateDeviceSecure, WdmlibIoCreateDeviceSecure. */
NTKERNELAPI NTSTATUS WdmlibIoCreateDeviceSecure(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize,
                                                PUNICODE_STRING DeviceName, DEVICE_TYPE DeviceType, ULONG DeviceCharacteristics,
                                                BOOLEAN Exclusive, PCUNICODE_STRING DefaultSDDLString,
                                                const GUID *DeviceClassGuid, PDEVICE_OBJECT *DeviceObject);
#define IoCreateDeviceSecure WdmlibIoCreateDeviceSecure
/* Takes the device out of its driver and its name away; it is freed when the last reference is gone. Page: IoDeleteDevice. */
NTKERNELAPI VOID IoDeleteDevice(PDEVICE_OBJECT DeviceObject);
/* STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_PATH_NOT_FOUND. Page: IoCreateSymbolicLink. */
NTKERNELAPI NTSTATUS IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName);
NTKERNELAPI NTSTATUS IoCreateUnprotectedSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName);
/* STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH. Page: IoDeleteSymbolicLink. */
NTKERNELAPI NTSTATUS IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName);
/* Puts SourceDevice on top of the stack that TargetDevice is in; the device below it, or NULL: the top is being deleted.
 * Page: IoAttachDeviceToDeviceStack, IoAttachDeviceToDeviceStackSafe (STATUS_NO_SUCH_DEVICE). */
NTKERNELAPI PDEVICE_OBJECT IoAttachDeviceToDeviceStack(PDEVICE_OBJECT SourceDevice, PDEVICE_OBJECT TargetDevice);
NTKERNELAPI NTSTATUS IoAttachDeviceToDeviceStackSafe(PDEVICE_OBJECT SourceDevice, PDEVICE_OBJECT TargetDevice,
                                                     PDEVICE_OBJECT *AttachedToDeviceObject);
/* By name: opens the target with IRP_MJ_CREATE for attributes, attaches. Page: IoAttachDevice. */
NTKERNELAPI NTSTATUS IoAttachDevice(PDEVICE_OBJECT SourceDevice, PUNICODE_STRING TargetDevice, PDEVICE_OBJECT *AttachedDevice);
/* Takes off what is attached directly above TargetDevice. Page: IoDetachDevice. */
NTKERNELAPI VOID IoDetachDevice(PDEVICE_OBJECT TargetDevice);
/* <= DISPATCH_LEVEL. The top of the stack; the ...Reference forms reference what they return (lower: or NULL). */
NTKERNELAPI PDEVICE_OBJECT IoGetAttachedDevice(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI PDEVICE_OBJECT IoGetAttachedDeviceReference(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI PDEVICE_OBJECT IoGetLowerDeviceObject(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI PDEVICE_OBJECT IoGetDeviceAttachmentBaseRef(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI PDEVICE_OBJECT IoGetBaseFileSystemDeviceObject(PFILE_OBJECT FileObject);
NTKERNELAPI PDEVICE_OBJECT IoGetRelatedDeviceObject(PFILE_OBJECT FileObject);
/* Opens a device by name; the top of its stack and a referenced file object. Page: IoGetDeviceObjectPointer. */
NTKERNELAPI NTSTATUS IoGetDeviceObjectPointer(PUNICODE_STRING ObjectName, ACCESS_MASK DesiredAccess, PFILE_OBJECT *FileObject,
                                              PDEVICE_OBJECT *DeviceObject);
/* STATUS_OBJECT_NAME_COLLISION: the id is taken. Freed with the driver. Page: IoAllocateDriverObjectExtension. */
NTKERNELAPI NTSTATUS IoAllocateDriverObjectExtension(PDRIVER_OBJECT DriverObject, PVOID ClientIdentificationAddress,
                                                     ULONG DriverObjectExtensionSize, PVOID *DriverObjectExtension);
NTKERNELAPI PVOID IoGetDriverObjectExtension(PDRIVER_OBJECT DriverObject, PVOID ClientIdentificationAddress);
NTKERNELAPI NTSTATUS IoEnumerateDeviceObjectList(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT *DeviceObjectList,
                                                 ULONG DeviceObjectListSize, PULONG ActualNumberDeviceObjects);
/* A driver object for a routine of the caller; Page: none (IoCreateDriver is exported, not documented). */
NTKERNELAPI NTSTATUS IoCreateDriver(PUNICODE_STRING DriverName, PDRIVER_INITIALIZE InitializationFunction);
NTKERNELAPI VOID IoDeleteDriver(PDRIVER_OBJECT DriverObject);
NTKERNELAPI VOID IoRegisterDriverReinitialization(PDRIVER_OBJECT DriverObject,
                                                  PDRIVER_REINITIALIZE DriverReinitializationRoutine, PVOID Context);
NTKERNELAPI VOID IoRegisterBootDriverReinitialization(PDRIVER_OBJECT DriverObject,
                                                      PDRIVER_REINITIALIZE DriverReinitializationRoutine, PVOID Context);
/* IRP_MJ_SHUTDOWN at the end of the system. Page: IoRegisterShutdownNotification. */
NTKERNELAPI NTSTATUS IoRegisterShutdownNotification(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI NTSTATUS IoRegisterLastChanceShutdownNotification(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI VOID IoUnregisterShutdownNotification(PDEVICE_OBJECT DeviceObject);

/* ---- IRPs: <= DISPATCH_LEVEL ---- */
/* NULL: no memory. Page: IoAllocateIrp, IoAllocateIrpEx. */
NTKERNELAPI PIRP IoAllocateIrp(CCHAR StackSize, BOOLEAN ChargeQuota);
NTKERNELAPI PIRP IoAllocateIrpEx(PDEVICE_OBJECT DeviceObject, CCHAR StackSize, BOOLEAN ChargeQuota);
NTKERNELAPI PIRP IoMakeAssociatedIrp(PIRP Irp, CCHAR StackSize);
/* Not an IRP, or freed already: MULTIPLE_IRP_COMPLETE_REQUESTS (0x44: IRP, 0, 0, 0); still on a thread's list:
 * DRIVER_VERIFIER_IOMANAGER_VIOLATION (0xC9: 2, IRP, 0, 0). Page: IoFreeIrp. */
NTKERNELAPI VOID IoFreeIrp(PIRP Irp);
NTKERNELAPI VOID IoInitializeIrp(PIRP Irp, USHORT PacketSize, CCHAR StackSize);
NTKERNELAPI VOID IoReuseIrp(PIRP Irp, NTSTATUS Iostatus);
/* Calls the dispatch routine of the next stack location. None left: NO_MORE_IRP_STACK_LOCATIONS (0x35: IRP, 0, 0, 0); not an
 * IRP, or not a device: DRIVER_VERIFIER_IOMANAGER_VIOLATION (0xC9: 3, IRP, 0, 0; 4, device, 0, 0). With I/O verification: another
 * IRQL afterwards (0xC9: 5, device, before, after). Page: IoCallDriver. */
NTKERNELAPI NTSTATUS IofCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp);
#define IoCallDriver(DeviceObject, Irp) IofCallDriver(DeviceObject, Irp)
/* Walks the completion routines up, then finishes the request. Completed twice: MULTIPLE_IRP_COMPLETE_REQUESTS (0x44: IRP, 0,
 * 0, 0); a cancel routine is set: CANCEL_STATE_IN_COMPLETED_IRP (0x48: IRP, routine, 0, 0). Page: IoCompleteRequest. */
NTKERNELAPI VOID IofCompleteRequest(PIRP Irp, CCHAR PriorityBoost);
#define IoCompleteRequest(Irp, PriorityBoost) IofCompleteRequest(Irp, PriorityBoost)
/* An MDL for Length bytes at VirtualAddress, pages not filled in; with an IRP, its first or (SecondaryBuffer) last. NULL: no
 * memory, or 4 GiB and more. Page: IoAllocateMdl. */
NTKERNELAPI PMDL IoAllocateMdl(PVOID VirtualAddress, ULONG Length, BOOLEAN SecondaryBuffer, BOOLEAN ChargeQuota, PIRP Irp);
/* Frees one MDL, not its chain; does not unlock; takes down the mapping of a mapped partial MDL. Page: IoFreeMdl. */
NTKERNELAPI VOID IoFreeMdl(PMDL Mdl);
/* Makes TargetMdl describe part of SourceMdl; Length 0: all from VirtualAddress on. TARGET_MDL_TOO_SMALL (0x40: 0, 0, 0, 0),
 * INVALID_MDL_RANGE (0x12E: source, target, address, length). Page: IoBuildPartialMdl. */
NTKERNELAPI VOID IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress, ULONG Length);
/* Sends the IRP down with the same parameters and waits; FALSE: no stack location below. PASSIVE_LEVEL. */
NTKERNELAPI BOOLEAN IoForwardIrpSynchronously(PDEVICE_OBJECT DeviceObject, PIRP Irp);
/* STATUS_INSUFFICIENT_RESOURCES; the routine runs if the driver is there. Page: IoSetCompletionRoutineEx. */
NTKERNELAPI NTSTATUS IoSetCompletionRoutineEx(PDEVICE_OBJECT DeviceObject, PIRP Irp, PIO_COMPLETION_ROUTINE CompletionRoutine,
                                              PVOID Context, BOOLEAN InvokeOnSuccess, BOOLEAN InvokeOnError,
                                              BOOLEAN InvokeOnCancel);
/* NULL: no memory, or the buffer could not be locked. The IRP belongs to the calling thread and is freed by the I/O manager.
 * <= APC_LEVEL. Page: IoBuildDeviceIoControlRequest, IoBuildSynchronousFsdRequest. */
NTKERNELAPI PIRP IoBuildDeviceIoControlRequest(ULONG IoControlCode, PDEVICE_OBJECT DeviceObject, PVOID InputBuffer,
                                               ULONG InputBufferLength, PVOID OutputBuffer, ULONG OutputBufferLength,
                                               BOOLEAN InternalDeviceIoControl, PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock);
NTKERNELAPI PIRP IoBuildSynchronousFsdRequest(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, ULONG Length,
                                              PLARGE_INTEGER StartingOffset, PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock);
/* The caller's completion routine frees the IRP. Page: IoBuildAsynchronousFsdRequest. */
NTKERNELAPI PIRP IoBuildAsynchronousFsdRequest(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject, PVOID Buffer, ULONG Length,
                                               PLARGE_INTEGER StartingOffset, PIO_STATUS_BLOCK IoStatusBlock);
/* Marks the IRP cancelled and calls its cancel routine with the cancel spin lock held; FALSE: it had none.
 * Page: IoCancelIrp. */
NTKERNELAPI BOOLEAN IoCancelIrp(PIRP Irp);
NTKERNELAPI VOID IoCancelThreadIo(PETHREAD Thread);
NTKERNELAPI VOID IoAcquireCancelSpinLock(PKIRQL Irql);
NTKERNELAPI VOID IoReleaseCancelSpinLock(KIRQL Irql);
NTKERNELAPI VOID IoAcquireVpbSpinLock(PKIRQL Irql);
NTKERNELAPI VOID IoReleaseVpbSpinLock(KIRQL Irql);
NTKERNELAPI BOOLEAN IoIsOperationSynchronous(PIRP Irp);
/* FALSE: there are no 32-bit processes. Page: IoIs32bitProcess. */
NTKERNELAPI BOOLEAN IoIs32bitProcess(PIRP Irp);
NTKERNELAPI PEPROCESS IoGetRequestorProcess(PIRP Irp);
NTKERNELAPI ULONG IoGetRequestorProcessId(PIRP Irp);
NTKERNELAPI PIRP IoGetTopLevelIrp(VOID);
NTKERNELAPI VOID IoSetTopLevelIrp(PIRP Irp);
NTKERNELAPI PVOID IoGetInitialStack(VOID);
/* Whether a file object is a page file (of the system), or of a volume that maps files straight onto persistent memory: never here.
 * Pages: FsRtlIsPagingFile, FsRtlIsSystemPagingFile, FsRtlIsDaxVolume */
NTKERNELAPI LOGICAL FsRtlIsPagingFile(PFILE_OBJECT FileObject);
NTKERNELAPI LOGICAL FsRtlIsSystemPagingFile(PFILE_OBJECT FileObject);
NTKERNELAPI BOOLEAN FsRtlIsDaxVolume(PFILE_OBJECT FileObject);
/* ---- a file's data by MDL ---- a file system gives chains of MDLs of its cached pages, locked and not mapped; who asked gives them back.
 * There is no cache manager: what a file system does not do itself (by the fast I/O entries of the device on top of the file's, or by packets)
 * is not done. */
/* By the entry MdlRead (PrepareMdlWrite), or, where there is none or it says FALSE, by a packet of IRP_MN_MDL, waited for. *MdlChain must be
 * NULL. The status is IoStatus->Status; Information is the bytes that are locked. STATUS_INSUFFICIENT_RESOURCES: no packet. PASSIVE_LEVEL.
 * Pages: FsRtlMdlReadEx, FsRtlPrepareMdlWriteEx */
NTKERNELAPI NTSTATUS FsRtlMdlReadEx(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey,
                                    PMDL *MdlChain, PIO_STATUS_BLOCK IoStatus);
NTKERNELAPI NTSTATUS FsRtlPrepareMdlWriteEx(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey,
                                            PMDL *MdlChain, PIO_STATUS_BLOCK IoStatus);
/* From the system's cache alone, where no file is: FALSE, STATUS_NOT_SUPPORTED, no MDLs. IRQL <= APC_LEVEL.
 * Pages: FsRtlMdlReadDev, FsRtlPrepareMdlWriteDev */
NTKERNELAPI BOOLEAN FsRtlMdlReadDev(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey,
                                    PMDL *MdlChain, PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject);
NTKERNELAPI BOOLEAN FsRtlPrepareMdlWriteDev(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, ULONG Length, ULONG LockKey,
                                            PMDL *MdlChain, PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT DeviceObject);
/* Unlock the pages of a chain, unmap them and free it. The second: with FO_WRITE_THROUGH what sections of the file have modified there is
 * written first, and it is FALSE; the status of a write that fails is raised, and the chain stays. PASSIVE_LEVEL.
 * Pages: FsRtlMdlReadCompleteDev, FsRtlMdlWriteCompleteDev */
NTKERNELAPI BOOLEAN FsRtlMdlReadCompleteDev(PFILE_OBJECT FileObject, PMDL MdlChain, PDEVICE_OBJECT DeviceObject);
NTKERNELAPI BOOLEAN FsRtlMdlWriteCompleteDev(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, PMDL MdlChain,
                                             PDEVICE_OBJECT DeviceObject);
/* By the entry MdlReadComplete (MdlWriteComplete), or, where there is none or it says FALSE, as the two above. CcMdlWriteAbort: nothing is
 * written. PASSIVE_LEVEL. Pages: CcMdlReadComplete, CcMdlWriteComplete, CcMdlWriteAbort */
NTKERNELAPI VOID CcMdlReadComplete(PFILE_OBJECT FileObject, PMDL MdlChain);
NTKERNELAPI VOID CcMdlWriteComplete(PFILE_OBJECT FileObject, PLARGE_INTEGER FileOffset, PMDL MdlChain);
NTKERNELAPI VOID CcMdlWriteAbort(PFILE_OBJECT FileObject, PMDL MdlChain);
/* An auto-expand push lock, initialised, in a block of pool of that type and tag; NULL, or with POOL_RAISE_IF_ALLOCATION_FAILURE an
 * exception, if there is none. For FSRTL_ADVANCED_FCB_HEADER; nothing else takes it. IRQL <= APC_LEVEL.
 * Pages: FsRtlAllocateAePushLock, FsRtlFreeAePushLock */
NTKERNELAPI PVOID FsRtlAllocateAePushLock(POOL_TYPE PoolType, ULONG Tag);
NTKERNELAPI VOID FsRtlFreeAePushLock(PVOID AePushLock);
/* Obsolete: one of sixteen resources of the system's, in turn. Not to be deleted. Page: FsRtlAllocateResource */
NTKERNELAPI PERESOURCE FsRtlAllocateResource(VOID);
NTKERNELAPI VOID IoRaiseHardError(PIRP Irp, PVPB Vpb, PDEVICE_OBJECT RealDeviceObject);
NTKERNELAPI VOID IoSetHardErrorOrVerifyDevice(PIRP Irp, PDEVICE_OBJECT DeviceObject);
NTKERNELAPI NTSTATUS IoCheckShareAccess(ACCESS_MASK DesiredAccess, ULONG DesiredShareAccess, PFILE_OBJECT FileObject,
                                        PSHARE_ACCESS ShareAccess, BOOLEAN Update);
NTKERNELAPI VOID IoSetShareAccess(ACCESS_MASK DesiredAccess, ULONG DesiredShareAccess, PFILE_OBJECT FileObject,
                                  PSHARE_ACCESS ShareAccess);
NTKERNELAPI VOID IoUpdateShareAccess(PFILE_OBJECT FileObject, PSHARE_ACCESS ShareAccess);
NTKERNELAPI VOID IoRemoveShareAccess(PFILE_OBJECT FileObject, PSHARE_ACCESS ShareAccess);

/* Device queues: <= DISPATCH_LEVEL. Inserting: FALSE if the queue was not busy (it is now, and nothing was queued).
 * Removing: NULL if it was empty (it is no longer busy). Page: KeInitializeDeviceQueue and its neighbours. */
NTKERNELAPI VOID KeInitializeDeviceQueue(PKDEVICE_QUEUE DeviceQueue);
NTKERNELAPI BOOLEAN KeInsertDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry);
NTKERNELAPI BOOLEAN KeInsertByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry, ULONG SortKey);
NTKERNELAPI PKDEVICE_QUEUE_ENTRY KeRemoveDeviceQueue(PKDEVICE_QUEUE DeviceQueue);
NTKERNELAPI PKDEVICE_QUEUE_ENTRY KeRemoveByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, ULONG SortKey);
NTKERNELAPI PKDEVICE_QUEUE_ENTRY KeRemoveByKeyDeviceQueueIfBusy(PKDEVICE_QUEUE DeviceQueue, ULONG SortKey);
NTKERNELAPI BOOLEAN KeRemoveEntryDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY DeviceQueueEntry);

/* StartIo: <= DISPATCH_LEVEL (IoStartNextPacket: at DISPATCH_LEVEL). Page: IoStartPacket, IoStartNextPacket. */
NTKERNELAPI VOID IoStartPacket(PDEVICE_OBJECT DeviceObject, PIRP Irp, PULONG Key, PDRIVER_CANCEL CancelFunction);
NTKERNELAPI VOID IoStartNextPacket(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable);
NTKERNELAPI VOID IoStartNextPacketByKey(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable, ULONG Key);
NTKERNELAPI VOID IoSetStartIoAttributes(PDEVICE_OBJECT DeviceObject, BOOLEAN DeferredStartIo, BOOLEAN NonCancelable);

/* ---- cancel-safe queues: <= DISPATCH_LEVEL. Page: IoCsqInitialize and its neighbours ---- */
NTKERNELAPI NTSTATUS IoCsqInitialize(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP CsqInsertIrp, PIO_CSQ_REMOVE_IRP CsqRemoveIrp,
                                     PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp, PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock,
                                     PIO_CSQ_RELEASE_LOCK CsqReleaseLock, PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp);
NTKERNELAPI NTSTATUS IoCsqInitializeEx(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP_EX CsqInsertIrp, PIO_CSQ_REMOVE_IRP CsqRemoveIrp,
                                       PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp, PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock,
                                       PIO_CSQ_RELEASE_LOCK CsqReleaseLock,
                                       PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp);
NTKERNELAPI VOID IoCsqInsertIrp(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context);
/* What the insert routine answered. */
NTKERNELAPI NTSTATUS IoCsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context, PVOID InsertContext);
NTKERNELAPI PIRP IoCsqRemoveNextIrp(PIO_CSQ Csq, PVOID PeekContext);
NTKERNELAPI PIRP IoCsqRemoveIrp(PIO_CSQ Csq, PIO_CSQ_IRP_CONTEXT Context);

/* ---- work items: <= DISPATCH_LEVEL. Page: IoAllocateWorkItem and its neighbours ---- */
NTKERNELAPI PIO_WORKITEM IoAllocateWorkItem(PDEVICE_OBJECT DeviceObject);
/* Queued while still queued: INVALID_WORK_QUEUE_ITEM (0x96). */
NTKERNELAPI VOID IoQueueWorkItem(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE WorkerRoutine, WORK_QUEUE_TYPE QueueType,
                                 PVOID Context);
NTKERNELAPI VOID IoQueueWorkItemEx(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE_EX WorkerRoutine, WORK_QUEUE_TYPE QueueType,
                                   PVOID Context);
NTKERNELAPI VOID IoFreeWorkItem(PIO_WORKITEM IoWorkItem);
NTKERNELAPI ULONG IoSizeofWorkItem(VOID);
NTKERNELAPI VOID IoInitializeWorkItem(PVOID IoObject, PIO_WORKITEM IoWorkItem);
NTKERNELAPI VOID IoUninitializeWorkItem(PIO_WORKITEM IoWorkItem);

/* ---- remove locks: <= DISPATCH_LEVEL (...AndWait: PASSIVE_LEVEL). Page: IoInitializeRemoveLock and its neighbours ---- */
NTKERNELAPI VOID IoInitializeRemoveLockEx(PIO_REMOVE_LOCK Lock, ULONG AllocateTag, ULONG MaxLockedMinutes, ULONG HighWatermark,
                                          ULONG RemlockSize);
/* STATUS_DELETE_PENDING: removal has begun. */
NTKERNELAPI NTSTATUS IoAcquireRemoveLockEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, PCSTR File, ULONG Line, ULONG RemlockSize);
NTKERNELAPI VOID IoReleaseRemoveLockEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, ULONG RemlockSize);
NTKERNELAPI VOID IoReleaseRemoveLockAndWaitEx(PIO_REMOVE_LOCK RemoveLock, PVOID Tag, ULONG RemlockSize);
#define IoInitializeRemoveLock(Lock, Tag, Maxmin, HighWater)                                                                   \
    IoInitializeRemoveLockEx(Lock, Tag, Maxmin, HighWater, sizeof(IO_REMOVE_LOCK))
#define IoAcquireRemoveLock(RemoveLock, Tag)        IoAcquireRemoveLockEx(RemoveLock, Tag, __FILE__, __LINE__, sizeof(IO_REMOVE_LOCK))
#define IoReleaseRemoveLock(RemoveLock, Tag)        IoReleaseRemoveLockEx(RemoveLock, Tag, sizeof(IO_REMOVE_LOCK))
#define IoReleaseRemoveLockAndWait(RemoveLock, Tag) IoReleaseRemoveLockAndWaitEx(RemoveLock, Tag, sizeof(IO_REMOVE_LOCK))

/* ---- once-a-second timers. Page: IoInitializeTimer (PASSIVE_LEVEL), IoStartTimer, IoStopTimer (<= DISPATCH_LEVEL) ---- */
NTKERNELAPI NTSTATUS IoInitializeTimer(PDEVICE_OBJECT DeviceObject, PIO_TIMER_ROUTINE TimerRoutine, PVOID Context);
NTKERNELAPI VOID IoStartTimer(PDEVICE_OBJECT DeviceObject);
NTKERNELAPI VOID IoStopTimer(PDEVICE_OBJECT DeviceObject);

/* ---- events by name: PASSIVE_LEVEL. A new event starts signalled. Page: IoCreateNotificationEvent ---- */
NTKERNELAPI PKEVENT IoCreateNotificationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle);
NTKERNELAPI PKEVENT IoCreateSynchronizationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle);

/* ---- error log: <= DISPATCH_LEVEL. A written entry is printed. Page: IoAllocateErrorLogEntry ---- */
NTKERNELAPI PVOID IoAllocateErrorLogEntry(PVOID IoObject, UCHAR EntrySize);
NTKERNELAPI VOID IoWriteErrorLogEntry(PVOID ElEntry);
NTKERNELAPI VOID IoFreeErrorLogEntry(PVOID ElEntry);

/* ---- Plug and Play and power ---- */
NTKERNELAPI NTSTATUS IoRegisterDeviceInterface(PDEVICE_OBJECT PhysicalDeviceObject, const GUID *InterfaceClassGuid,
                                               PUNICODE_STRING ReferenceString, PUNICODE_STRING SymbolicLinkName);
NTKERNELAPI NTSTATUS IoSetDeviceInterfaceState(PUNICODE_STRING SymbolicLinkName, BOOLEAN Enable);
NTKERNELAPI NTSTATUS IoGetDeviceInterfaces(const GUID *InterfaceClassGuid, PDEVICE_OBJECT PhysicalDeviceObject, ULONG Flags,
                                           PZZWSTR *SymbolicLinkList);
NTKERNELAPI NTSTATUS IoOpenDeviceInterfaceRegistryKey(PUNICODE_STRING SymbolicLinkName, ACCESS_MASK DesiredAccess,
                                                      PHANDLE DeviceInterfaceRegKey);
NTKERNELAPI NTSTATUS IoGetDeviceProperty(PDEVICE_OBJECT DeviceObject, DEVICE_REGISTRY_PROPERTY DeviceProperty,
                                         ULONG BufferLength, PVOID PropertyBuffer, PULONG ResultLength);
NTKERNELAPI NTSTATUS IoSetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid, ULONG Flags,
                                             DEVPROPTYPE Type, ULONG Size, PVOID Data);
NTKERNELAPI NTSTATUS IoGetDevicePropertyData(PDEVICE_OBJECT Pdo, const DEVPROPKEY *PropertyKey, LCID Lcid, ULONG Flags,
                                             ULONG Size, PVOID Data, PULONG RequiredSize, PDEVPROPTYPE Type);
NTKERNELAPI NTSTATUS IoOpenDeviceRegistryKey(PDEVICE_OBJECT DeviceObject, ULONG DevInstKeyType, ACCESS_MASK DesiredAccess,
                                             PHANDLE DeviceRegKey);
NTKERNELAPI VOID IoInvalidateDeviceRelations(PDEVICE_OBJECT DeviceObject, DEVICE_RELATION_TYPE Type);
NTKERNELAPI VOID IoInvalidateDeviceState(PDEVICE_OBJECT PhysicalDeviceObject);
NTKERNELAPI VOID IoRequestDeviceEject(PDEVICE_OBJECT PhysicalDeviceObject);
NTKERNELAPI NTSTATUS IoReportTargetDeviceChange(PDEVICE_OBJECT PhysicalDeviceObject, PVOID NotificationStructure);
NTKERNELAPI NTSTATUS IoRegisterPlugPlayNotification(IO_NOTIFICATION_EVENT_CATEGORY EventCategory, ULONG EventCategoryFlags,
                                                    PVOID EventCategoryData, PDRIVER_OBJECT DriverObject,
                                                    PDRIVER_NOTIFICATION_CALLBACK_ROUTINE CallbackRoutine, PVOID Context,
                                                    PVOID *NotificationEntry);
NTKERNELAPI NTSTATUS IoUnregisterPlugPlayNotification(PVOID NotificationEntry);
NTKERNELAPI NTSTATUS IoUnregisterPlugPlayNotificationEx(PVOID NotificationEntry);
/* The system is always in its working state. <= DISPATCH_LEVEL. Page: PoCallDriver, PoStartNextPowerIrp, PoSetPowerState,
 * PoRequestPowerIrp. */
NTKERNELAPI NTSTATUS PoCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp);
NTKERNELAPI VOID PoStartNextPowerIrp(PIRP Irp);
NTKERNELAPI POWER_STATE PoSetPowerState(PDEVICE_OBJECT DeviceObject, POWER_STATE_TYPE Type, POWER_STATE State);
NTKERNELAPI NTSTATUS PoRequestPowerIrp(PDEVICE_OBJECT DeviceObject, UCHAR MinorFunction, POWER_STATE PowerState,
                                       PREQUEST_POWER_COMPLETE CompletionFunction, PVOID Context, PIRP *Irp);
NTKERNELAPI NTSTATUS IoWMIRegistrationControl(PDEVICE_OBJECT DeviceObject, ULONG Action);
NTKERNELAPI NTSTATUS IoWMIWriteEvent(PVOID WnodeEventItem);

/* ---- what the headers do themselves ---- */
#define IoSizeOfIrp(StackSize) ((USHORT)(sizeof(IRP) + ((StackSize) * (sizeof(IO_STACK_LOCATION)))))
FORCEINLINE PIO_STACK_LOCATION IoGetCurrentIrpStackLocation(PIRP Irp)
{
    return Irp->Tail.Overlay.CurrentStackLocation;
}
FORCEINLINE PIO_STACK_LOCATION IoGetNextIrpStackLocation(PIRP Irp)
{
    return Irp->Tail.Overlay.CurrentStackLocation - 1;
}
FORCEINLINE VOID IoSetNextIrpStackLocation(PIRP Irp)
{
    Irp->CurrentLocation--;
    Irp->Tail.Overlay.CurrentStackLocation--;
}
FORCEINLINE VOID IoSkipCurrentIrpStackLocation(PIRP Irp)
{
    Irp->CurrentLocation++;
    Irp->Tail.Overlay.CurrentStackLocation++;
}
FORCEINLINE VOID IoCopyCurrentIrpStackLocationToNext(PIRP Irp)
{
    PIO_STACK_LOCATION IrpSp = IoGetCurrentIrpStackLocation(Irp), NextIrpSp = IoGetNextIrpStackLocation(Irp);
    __builtin_memcpy(NextIrpSp, IrpSp, offsetof(IO_STACK_LOCATION, CompletionRoutine));
    NextIrpSp->Control = 0;
}
FORCEINLINE VOID IoMarkIrpPending(PIRP Irp)
{
    IoGetCurrentIrpStackLocation(Irp)->Control |= SL_PENDING_RETURNED;
}
FORCEINLINE VOID IoSetCompletionRoutine(PIRP Irp, PIO_COMPLETION_ROUTINE CompletionRoutine, PVOID Context,
                                        BOOLEAN InvokeOnSuccess, BOOLEAN InvokeOnError, BOOLEAN InvokeOnCancel)
{
    PIO_STACK_LOCATION IrpSp = IoGetNextIrpStackLocation(Irp);
    IrpSp->CompletionRoutine = CompletionRoutine;
    IrpSp->Context = Context;
    IrpSp->Control = (UCHAR)((InvokeOnSuccess ? SL_INVOKE_ON_SUCCESS : 0) | (InvokeOnError ? SL_INVOKE_ON_ERROR : 0) |
                             (InvokeOnCancel ? SL_INVOKE_ON_CANCEL : 0));
}
FORCEINLINE PDRIVER_CANCEL IoSetCancelRoutine(PIRP Irp, PDRIVER_CANCEL CancelRoutine)
{
    return __atomic_exchange_n(&Irp->CancelRoutine, CancelRoutine, __ATOMIC_SEQ_CST);
}
FORCEINLINE VOID IoInitializeDpcRequest(PDEVICE_OBJECT DeviceObject, PIO_DPC_ROUTINE DpcRoutine)
{
    KeInitializeDpc(&DeviceObject->Dpc, (PKDEFERRED_ROUTINE)(ULONG_PTR)DpcRoutine, DeviceObject);
}
FORCEINLINE VOID IoRequestDpc(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
    KeInsertQueueDpc(&DeviceObject->Dpc, Irp, Context);
}
#define IoIsErrorUserInduced(Status)                                                                                           \
    ((BOOLEAN)(((Status) == STATUS_DEVICE_NOT_READY) || ((Status) == STATUS_IO_TIMEOUT) ||                                     \
               ((Status) == STATUS_MEDIA_WRITE_PROTECTED) || ((Status) == STATUS_NO_MEDIA_IN_DEVICE) ||                        \
               ((Status) == STATUS_VERIFY_REQUIRED) || ((Status) == STATUS_UNRECOGNIZED_MEDIA) ||                              \
               ((Status) == STATUS_WRONG_VOLUME)))
#define IoGetFunctionCodeFromCtlCode(ControlCode) ((ControlCode >> 2) & 0x00000FFF)

EXTERN_C_END

#endif
