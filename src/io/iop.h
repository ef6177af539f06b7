/*
 * iop.h - drivers, devices, requests: what io offers to ldr and to the host-side API. SPDX-License-Identifier: MIT
 */
#pragma once
#include "ps/psp.h"

NTSTATUS IoInitSystem(VOID); /* after PsInitSystem */
VOID IoShutdownSystem(VOID);
const CHAR *IopValidate(VOID); /* NULL, or the first broken invariant of drivers, devices and threads' IRPs */

/* ---- drivers (driver.c) ---- PASSIVE_LEVEL */
/* Pool that the system allocates for a driver, which is to give it back: IoAllocateMdl's and IoAllocateWorkItem's. */
#define IOP_MDL_TAG      0x206c644du /* 'Mdl ' */
#define IOP_WORKITEM_TAG 0x49576f49u /* 'IoWI' */

typedef struct _IOP_DRIVER_PARAMETERS {
    const CHAR *Name;         /* service name, without path or extension: \Driver\<Name> and its registry key */
    PDRIVER_INITIALIZE Entry; /* native or foreign: KI_CALLOUT decides */
    PVOID ImageBase;          /* NULL for a driver linked into the program */
    ULONG ImageSize;
    PVOID Section;          /* kept in DriverObject->DriverSection */
    const CHAR *HardwareId; /* of the root device that a driver with AddDevice gets; NULL: ROOT\<Name>; "": it gets none */
} IOP_DRIVER_PARAMETERS;
/* Makes \Driver\<Name> with every major function completing STATUS_INVALID_DEVICE_REQUEST, its registry key
 * \Registry\Machine\System\CurrentControlSet\Services\<Name>, and calls Entry. Success: a referenced driver object.
 * Otherwise Entry's status (*EntryCalled TRUE) after its devices and names were taken down, or ours. */
NTSTATUS IopCreateDriver(const IOP_DRIVER_PARAMETERS *Parameters, PDRIVER_OBJECT *Driver, BOOLEAN *EntryCalled);
/* What a loaded driver goes through after its entry: reinitialisation routines; AddDevice and start for a PnP driver, whose
 * status is the result (the driver stays loaded). */
NTSTATUS IopStartDriver(PDRIVER_OBJECT Driver);
/* Removes PnP devices, calls DriverUnload, and takes the object away. STATUS_INVALID_DEVICE_REQUEST: it has no DriverUnload
 * and stays loaded. What it left behind (devices, links) is in *Left and is taken away too. */
typedef struct _IOP_LEFTOVERS {
    ULONG Devices, SymbolicLinks, OpenFiles, WorkItems, Timers;
} IOP_LEFTOVERS;
NTSTATUS IopUnloadDriver(PDRIVER_OBJECT Driver, IOP_LEFTOVERS *Left);
/* Set by vf: a driver is about to be entered; it has been unloaded, or its entry failed, and
 * everything of it was taken down: Driver is only its name then. */
extern VOID (*IopDriverLoadingRoutine)(PDRIVER_OBJECT Driver, const CHAR *Name);
extern VOID (*IopDriverUnloadedRoutine)(PDRIVER_OBJECT Driver);

/* Set by the image loader: ZwLoadDriver makes the driver of a service from the file of that ImagePath, ZwUnloadDriver stops it and
 * takes its image away (load.c). */
extern NTSTATUS (*IopLoadService)(PCUNICODE_STRING Service, PCUNICODE_STRING ImagePath, PDRIVER_OBJECT *Driver);
extern NTSTATUS (*IopUnloadService)(PDRIVER_OBJECT Driver);

/* ---- requests of the user-mode requester (request.c) ---- PASSIVE_LEVEL ----
 * Buffers are host memory: their bytes are copied to user memory of the one user process, the request is made from
 * there as a UserMode request, and results are copied back. TimeoutMs 0: wait for ever. A request that does not come back
 * in time is cancelled; if it still does not, STATUS_IO_TIMEOUT is the answer and the request is left to the driver. */
NTSTATUS IopOpenUser(PCUNICODE_STRING Name, ACCESS_MASK Access, PFILE_OBJECT *File);
NTSTATUS IopCloseUser(PFILE_OBJECT File); /* cleanup, then close with the last reference */
NTSTATUS IopDeviceControlUser(PFILE_OBJECT File, BOOLEAN InternalControl, ULONG Code, const VOID *In, ULONG InLength, VOID *Out,
                              ULONG OutLength, ULONG TimeoutMs, ULONG_PTR *Information);
/* The pointers are addresses of the requester's own address space, right or wrong, and reach the driver as they are. */
NTSTATUS IopDeviceControlAsIs(PFILE_OBJECT File, ULONG Code, PVOID In, ULONG InLength, PVOID Out, ULONG OutLength,
                              ULONG TimeoutMs, ULONG_PTR *Information);
NTSTATUS IopReadUser(PFILE_OBJECT File, VOID *Buffer, ULONG Length, LONGLONG Offset, ULONG TimeoutMs, ULONG_PTR *Information);
NTSTATUS IopWriteUser(PFILE_OBJECT File, const VOID *Buffer, ULONG Length, LONGLONG Offset, ULONG TimeoutMs,
                      ULONG_PTR *Information);

BOOLEAN IopIsLiveIrp(const VOID *Block, SIZE_T Size, ULONG Tag); /* irp.c: a packet of IoAllocateIrp, not freed yet */
VOID IopForgetWatches(VOID);                                     /* invariant.c: what is known of requests under way */
