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

extern LIST_ENTRY IopNodes;
/* Guards the tree, properties, interfaces and notifications. Fast mutex (APC_LEVEL); not held while a driver is called. */
extern FAST_MUTEX IopPnpLock;

/* The node a physical device belongs to. Anything else is PNP_DETECTED_FATAL_ERROR (0xCA: 2, device, 0, 0). */
IOP_NODE *IopNodeOfPdo(PDEVICE_OBJECT Pdo);
/* devintf.c: a device went: its interfaces are disabled and forgotten. */
VOID IopForgetInterfaces(IOP_NODE *Node);
VOID IopShutdownInterfaces(VOID);
