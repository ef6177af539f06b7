/*
 * pnp.h - Plug and Play nodes, shared by pnp.c and devintf.c. SPDX-License-Identifier: MIT
 */
#pragma once
#include "io/iopp.h"

typedef struct _IOP_PROPERTY {
    struct _IOP_PROPERTY *Next;
    DEVPROPKEY Key;
    LCID Lcid;
    DEVPROPTYPE Type;
    ULONG Size;
} IOP_PROPERTY; /* the data follows */

typedef enum _IOP_NODE_STATE { IopNodeNew, IopNodeStarted, IopNodeFailed, IopNodeRemoved } IOP_NODE_STATE;

typedef struct _IOP_NODE {
    LIST_ENTRY Link; /* IopNodes; parents before children */
    struct _IOP_NODE *Parent;
    PDEVICE_OBJECT Pdo;      /* referenced */
    PDRIVER_OBJECT Function; /* whose AddDevice made the function device; NULL: the device runs raw, or not at all */
    IOP_NODE_STATE State;
    BOOLEAN Root;    /* the manager's own PDO */
    BOOLEAN Present; /* reported by its bus at the last enumeration */
    LONG References;
    UNICODE_STRING InstancePath; /* ROOT\<id>\0000 */
    UNICODE_STRING HardwareIds;  /* multi-string with its final zeros */
    DEVICE_CAPABILITIES Capabilities;
    IOP_PROPERTY *Properties;
} IOP_NODE;

/* The extension of the root's physical devices. */
#define IOP_CONFIG_BYTES 256u
typedef struct _IOP_ROOT_CHILD {
    ULONG ConfigBytes; /* (IopBusLock) of the configuration space that there are */
    UCHAR Config[IOP_CONFIG_BYTES];
} IOP_ROOT_CHILD;

extern LIST_ENTRY IopNodes;
/* Guards the tree, properties, interfaces and notifications. Fast mutex (APC_LEVEL); not held while a driver is called. */
extern FAST_MUTEX IopPnpLock;

/* The node a physical device belongs to. Anything else is PNP_DETECTED_FATAL_ERROR (0xCA: 2, device, 0, 0). */
IOP_NODE *IopNodeOfPdo(PDEVICE_OBJECT Pdo);
/* devintf.c: a device went: its interfaces are disabled and forgotten. */
VOID IopForgetInterfaces(IOP_NODE *Node);
VOID IopShutdownInterfaces(VOID);

/* TRUE: the device's node is known, *Node. Only below DISPATCH_LEVEL. */
BOOLEAN IopNumaNodeOf(PDEVICE_OBJECT Pdo, PULONG Node);
BOOLEAN IopIsRootPdo(PDEVICE_OBJECT Device);       /* PASSIVE_LEVEL */
BOOLEAN IopIsOtherBusesPdo(PDEVICE_OBJECT Device); /* a physical device that another driver's bus has. PASSIVE_LEVEL */
NTSTATUS IopQueryInterface(PDEVICE_OBJECT Pdo, const GUID *Type, USHORT Size, USHORT Version, PINTERFACE Interface);

/* businterface.c: IRP_MN_QUERY_INTERFACE, _READ_CONFIG, _WRITE_CONFIG for one of the root's devices; the status for the IRP. */
NTSTATUS IopRootBusRequest(PDEVICE_OBJECT Pdo, PIO_STACK_LOCATION Location, PIRP Irp);
extern const BUS_INTERFACE_STANDARD IopBusInterface;
extern const BUS_INTERFACE_STANDARD *IopForeignBusInterface; /* set by ldr: the same for driver binaries */
/* The host's side: bytes of the device's configuration space. FALSE: it is none of the root's, or too many. */
BOOLEAN IopGiveConfig(PDEVICE_OBJECT Pdo, ULONG Offset, const VOID *Bytes, ULONG Length);
/* TRUE: the device's bus makes its adapters itself; *Adapter is what it gave. */
BOOLEAN IopAskBusForAdapter(PDEVICE_OBJECT Pdo, PDEVICE_DESCRIPTION Description, PULONG NumberOfMapRegisters,
                            PDMA_ADAPTER *Adapter);
