/*
 * iopp.h - what the files of src/io share among themselves. SPDX-License-Identifier: MIT
 */
#pragma once
#include "io/iop.h"

/* ---- section.c ---- */
NTSTATUS IopInitSections(VOID);
NTSTATUS IopInitFsRtl(VOID);
VOID IopShutdownFsRtl(VOID);
VOID IopShutdownSections(VOID);

/* ---- behind a DRIVER_OBJECT ---- */
typedef struct _IOP_CLIENT_EXTENSION { /* IoAllocateDriverObjectExtension */
    struct _IOP_CLIENT_EXTENSION *Next;
    PVOID Id;
    ULONG_PTR Pad[2];
} IOP_CLIENT_EXTENSION;
typedef struct _IOP_REINITIALIZE {
    struct _IOP_REINITIALIZE *Next;
    PDRIVER_REINITIALIZE Routine;
    PVOID Context;
} IOP_REINITIALIZE;
typedef struct _IOP_NAME {
    struct _IOP_NAME *Next;
    UNICODE_STRING Name;
} IOP_NAME;
typedef struct _IOP_DRIVER {
    DRIVER_OBJECT Object; /* first: what drivers see */
    LIST_ENTRY Link;      /* all drivers */
    DRIVER_EXTENSION Extension;
    UNICODE_STRING RegistryPath;
    IOP_CLIENT_EXTENSION *Clients;
    IOP_REINITIALIZE *Reinitialize;
    IOP_NAME *DeviceNames;   /* every name IoCreateDevice was given: to find links left behind */
    volatile LONG WorkItems; /* queued or running for a device of this driver */
    volatile LONG ItemsRun;  /* those that run; futex word of who waits for their end */
    LONG OpenFiles;          /* on all its devices; IopDatabaseLock */
    CHAR Name[64];
    CHAR HardwareId[96];
    BOOLEAN ByService; /* ZwLoadDriver made it */
} IOP_DRIVER;

/* ---- behind a DEVICE_OBJECT ---- */
#define IOP_D_DELETE_PENDING 0x1u
#define IOP_D_DELETED        0x2u
#define IOP_D_DEFER_STARTIO  0x4u
#define IOP_D_NO_CANCEL      0x8u
#define IOP_D_SHUTDOWN       0x10u
#define IOP_D_LAST_SHUTDOWN  0x20u
typedef struct _IOP_DEVICE {
    DEVOBJ_EXTENSION Public; /* first: DeviceObject->DeviceObjectExtension */
    volatile ULONG Flags;    /* IOP_D_* */
    PDEVICE_OBJECT AttachedTo;
    LONG StartIoCount; /* StartIo calls on the stack, for deferred StartIo */
    LONG StartIoKey;
    BOOLEAN StartIoCancelable;
    LIST_ENTRY ShutdownLink;
    struct _IOP_NODE *Node; /* pnp.c: the device is a physical one */
} IOP_DEVICE;
static inline IOP_DEVICE *IopDevice(PDEVICE_OBJECT Device)
{
    return (IOP_DEVICE *)Device->DeviceObjectExtension;
}
static inline IOP_DRIVER *IopDriver(PDRIVER_OBJECT Driver)
{
    return CONTAINING_RECORD(Driver, IOP_DRIVER, Object);
}

extern OBJECT_TYPE IopDeviceType, IopDriverType, IopFileType;
/* Guards device lists, attachments, reference counts and flags of devices. Leaf. */
extern KI_LOCK IopDatabaseLock;

extern LIST_ENTRY IopDrivers; /* IOP_DRIVER.Link; IopDatabaseLock */
const CHAR *IopValidateDevices(VOID);
const CHAR *IopValidateIrps(VOID);

/* device.c */
VOID IopReferenceDevice(PDEVICE_OBJECT Device);   /* an open file object */
VOID IopDereferenceDevice(PDEVICE_OBJECT Device); /* finishes a deletion that waited for it */
BOOLEAN IopDeviceUsable(PDEVICE_OBJECT Device);
VOID IopShutdownDevices(VOID);
NTSTATUS IopInvalidDeviceRequest(PDEVICE_OBJECT Device, PIRP Irp);

/* file.c */
typedef struct _IOP_OPEN {
    ULONG Options, Disposition, FileAttributes, ShareAccess;
    PVOID EaBuffer;
    ULONG EaLength;
    ULONG TimeoutMs;
    NTSTATUS Status; /* what the driver answered */
    ULONG_PTR Information;
} IOP_OPEN;
VOID IopCleanupFile(PFILE_OBJECT File);
NTSTATUS IopParseDevice(PVOID Object, PCUNICODE_STRING Rest, OBP_OPEN *Open, PVOID *Result);

/* irp.c */
/* IRP.AllocationFlags. The low four bits have the names of wdm.h: a packet of ours is of a size that is fixed from IoAllocateIrp
 * on (IRP_ALLOCATED_FIXED_SIZE), and is no look-aside allocation. The high ones are ours. */
#define IOP_IRP_ALLOCATED           IRP_ALLOCATED_FIXED_SIZE /* from IoAllocateIrp */
#define IOP_IRP_REQUEST             0x40                     /* Tail.Overlay.IrpExtension is an IOP_REQUEST */
#define IOP_IRP_OWNED               0x80                     /* the I/O manager frees the IRP and its MDLs at the end */
#define IOP_VERIFY_IO               0x10                     /* Driver Verifier's mask: I/O verification */
#define IOP_VERIFY_INVARIANT_STACK  0x2000                   /* with IOP_VERIFY_IO: invariant MDL checking for the stack */
#define IOP_VERIFY_INVARIANT_DRIVER 0x4000                   /* ... and for each driver */
static inline BOOLEAN IopVerifiesBuffers(VOID)
{
    ULONG Flags = KiVerifierFlags();
    return (Flags & IOP_VERIFY_IO) && (Flags & (IOP_VERIFY_INVARIANT_STACK | IOP_VERIFY_INVARIANT_DRIVER));
}
/* invariant.c: a request is given to a driver, is completed by one, and is over. */
VOID IopWatchCall(PDEVICE_OBJECT DeviceObject, PIRP Irp, UCHAR MajorFunction);
VOID IopWatchComplete(PIRP Irp);
VOID IopWatchEnd(PIRP Irp);
PIRP IopAllocateIrp(CCHAR StackSize);

/* finish.c: what happens to an IRP after the last completion routine */
#define IOP_R_WAITING   0 /* the requester waits, and finishes the IRP itself */
#define IOP_R_DONE      1 /* completed; the event is set */
#define IOP_R_ABANDONED 2 /* nobody waits: the completer finishes it */
typedef struct _IOP_REQUEST {
    KEVENT Done;
    volatile LONG State;
    KPROCESSOR_MODE Mode;
    BOOLEAN KeepFile; /* FileObject is referenced by the request */
    PIRP Irp;
    PFILE_OBJECT FileObject;
    struct _KPROCESS *Process; /* the requester, referenced; NULL: kernel mode */
    PVOID UserPages[2];        /* user memory of it, to give back */
    SIZE_T UserPageCount[2];
    IO_STATUS_BLOCK IoStatus; /* the result, after IopFinish */
} IOP_REQUEST;
/* A request around an IRP; NULL: no memory. The IRP's end is the request's, see IopWait. */
IOP_REQUEST *IopCreateRequest(PIRP Irp);
VOID IopDestroyRequest(IOP_REQUEST *Request);
/* Sends the request's IRP to Device and waits; TimeoutMs as in iop.h. The IRP is gone afterwards, and the request too if
 * *Abandoned. Returns the final status (STATUS_IO_TIMEOUT if abandoned). */
NTSTATUS IopSendAndWait(PDEVICE_OBJECT Device, IOP_REQUEST *Request, ULONG TimeoutMs, ULONG_PTR *Information,
                        BOOLEAN *Abandoned);
/* The I/O manager's own part of completion: copies back, unlocks, stores the status, sets the event, frees the IRP. */
VOID IopFinish(PIRP Irp);
VOID IopCompleteTop(PIRP Irp);
VOID IopQueueThreadIrp(PIRP Irp);
VOID IopDequeueThreadIrp(PIRP Irp);

/* build.c */
/* Fills the next stack location, and the buffers as the device or the code asks for. On failure nothing is left behind. */
NTSTATUS IopSetTransfer(PIRP Irp, UCHAR Major, ULONG DeviceFlags, PVOID Buffer, ULONG Length, LONGLONG Offset,
                        KPROCESSOR_MODE Mode);
NTSTATUS IopSetControl(PIRP Irp, UCHAR Major, ULONG Code, PVOID In, ULONG InLength, PVOID Out, ULONG OutLength,
                       KPROCESSOR_MODE Mode);
/* Frees the buffers and MDLs of an IRP that was not sent. */
VOID IopUndo(PIRP Irp);
VOID IopFreeMdlChain(PMDL Mdl);                                       /* NULL: nothing; unlocks what is locked */
NTSTATUS IopTryCopy(PVOID Target, const VOID *Source, SIZE_T Length); /* the exception's code if it faults */

/* startio.c, timer.c, workitem.c, pnp.c */
VOID IopRemoveTimer(PDEVICE_OBJECT Device);
NTSTATUS IopInitPnp(VOID);
VOID IopShutdownPnp(VOID);
NTSTATUS IopAddRootDevice(PDRIVER_OBJECT Driver, const CHAR *HardwareId);
VOID IopRemoveDriverNodes(PDRIVER_OBJECT Driver);

#define IOP_TAG 0x20206f49u /* 'Io  ' */
