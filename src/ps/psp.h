/*
 * psp.h - processes and threads as objects: the layer's private face. SPDX-License-Identifier: MIT
 *
 * EPROCESS and KPROCESS are one structure, as are ETHREAD and KTHREAD (ke/ki.h). There are two processes: System, which
 * every host thread and every system thread belongs to, and the one user process whose requests `ntmm run` and the
 * host-side API make. One user address space exists and both see it.
 */
#pragma once
#include "ob/ob.h"

typedef struct _KPROCESS {
    DISPATCHER_HEADER Header; /* waitable; signalled when the process ends */
    HANDLE ProcessId;
    CHAR ImageFileName[16];
    UNICODE_STRING ImageName;
    LIST_ENTRY ProcessListEntry;
    struct _OBP_HANDLE_TABLE *HandleTable;
    BOOLEAN System;
    volatile LONG ThreadCount;
    LARGE_INTEGER CreateTime;
    /* Pool charged to the process: [0] nonpaged, [1] paged. Limit 0: none. */
    volatile LONG64 QuotaUsage[2], QuotaPeak[2];
    volatile LONG64 QuotaLimit[2];
} KPROCESS;

extern OBJECT_TYPE PspProcessType, PspThreadType;
extern KPROCESS *PspUserProcess; /* the requester of the host-side API, once there was a request */
/* Makes the user process on the first request; process notifications are told. STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS PspCreateUserProcess(VOID);
/* The calling thread becomes one of Process's, in Mode, until it is given back what *Saved holds. */
typedef struct _PSP_IDENTITY {
    KPROCESS *Process, *AttachedProcess;
    KPROCESSOR_MODE PreviousMode;
} PSP_IDENTITY;
VOID PspBecome(KPROCESS *Process, KPROCESSOR_MODE Mode, PSP_IDENTITY *Saved);
VOID PspRevert(const PSP_IDENTITY *Saved);

NTSTATUS PsInitSystem(VOID); /* after ObInitSystem: the processes; gives the running threads theirs */
VOID PsShutdownSystem(VOID);

/* Ends the system threads that still wait, and reports them (thread.c). */
VOID PspStopThreads(VOID);

/* quota.c: takes Bytes of the process's quota for a pool; STATUS_QUOTA_EXCEEDED. Returning more than is charged stops. IRQL <=
 * DISPATCH_LEVEL. */
NTSTATUS PspChargeQuota(KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
VOID PspReturnQuota(KPROCESS *Process, BOOLEAN Paged, SIZE_T Bytes);
VOID PspInitQuota(VOID);     /* the pools charge from now on */
VOID PspShutdownQuota(VOID); /* and no longer */

VOID PspNotifyProcess(KPROCESS *Process, BOOLEAN Create);
VOID PspShutdownNotify(VOID);
/* Notifications: called by whoever makes the event. PASSIVE_LEVEL. */
VOID PspNotifyThread(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create);
/* An image was mapped: Properties as in IMAGE_INFO (system mode image or not). */
VOID PspNotifyImage(PCUNICODE_STRING Name, HANDLE ProcessId, PVOID Base, SIZE_T Size, BOOLEAN SystemImage);
