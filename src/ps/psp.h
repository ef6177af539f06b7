/*
 * psp.h - processes and threads as objects: the layer's private face. SPDX-License-Identifier: MIT
 *
 * EPROCESS and KPROCESS are one structure, as are ETHREAD and KTHREAD (ke/ki.h). System is there always, and every host thread and
 * system thread belongs to it unless told otherwise. Others are made by the host-side API; one of them by itself, with the first
 * request of a thread that is in none. Each has an address space of its own (mm/space.c).
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
    BOOLEAN Listed;  /* (PspProcessLock) */
    PMM_SPACE Space; /* NULL: it could not be made */
    HANDLE ParentId;
    EX_RUNDOWN_REF ExitRundown;    /* PsAcquireProcessExitSynchronization */
    volatile LONG ThreadCount;     /* threads of the process: host threads acting for it, system threads made in it */
    volatile LONG Exiting, Exited; /* its end has begun; its address space and handles are gone */
    volatile NTSTATUS ExitStatus;  /* STATUS_PENDING while it runs */
    PVOID SectionBase;             /* where its program is mapped; NULL: none */
    LARGE_INTEGER CreateTime, ExitTime;
    /* Pool charged to the process: [0] nonpaged, [1] paged. Limit 0: none. */
    volatile LONG64 QuotaUsage[2], QuotaPeak[2];
    volatile LONG64 QuotaLimit[2];
} KPROCESS;

extern OBJECT_TYPE PspProcessType, PspThreadType;
extern KPROCESS *PspUserProcess; /* the requester of the host-side API, once there was a request */
/* Makes the user process on the first request; process notifications are told. STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS PspCreateUserProcess(VOID);
/* Ends it, if there is one: the next request makes another. Locked pages are bug check 0x76. The caller's requests are complete and
 * their files closed. PASSIVE_LEVEL. */
VOID PspEndUserProcess(NTSTATUS ExitStatus);
/* Another process, of a name; one reference is the caller's. STATUS_NO_MEMORY, STATUS_INSUFFICIENT_RESOURCES. PASSIVE_LEVEL. */
NTSTATUS PspCreateNamedProcess(const CHAR *Name, KPROCESS **Process);
/* Ends it: notifications, handles, address space; whoever waits for it is woken. Locked pages are bug check 0x76.
 * STATUS_PROCESS_IS_TERMINATING: it has ended, or is ending; STATUS_DEVICE_BUSY: threads are in it. PASSIVE_LEVEL. */
NTSTATUS PspEndProcess(KPROCESS *Process, NTSTATUS ExitStatus);
/* Whose requests the calling thread makes: its own process, if that is not System; else the user process. */
static inline KPROCESS *PspRequester(VOID)
{
    KPROCESS *Own = KiCurrentThread()->Process;
    return Own && !Own->System ? Own : PspUserProcess;
}
/* The calling thread becomes one of Process's, in Mode, until it is given back what *Saved holds. */
typedef struct _PSP_IDENTITY {
    KPROCESS *Process, *AttachedProcess;
    PHAL_ADDRESS_SPACE Space;
    KPROCESSOR_MODE PreviousMode;
} PSP_IDENTITY;
/* Runs a function of the host as a thread of Process in user mode: PreviousMode is UserMode, kernel addresses fault. An exception that it
 * does not handle ends it: *Result is its code. STATUS_PROCESS_IS_TERMINATING. PASSIVE_LEVEL (usermode.c). */
NTSTATUS PspRunUser(KPROCESS *Process, LONG (*Function)(PVOID), PVOID Argument, LONG *Result);
/* A thread that does not run yet (or the calling one) becomes one of the process's, which does not end before it leaves. FALSE: the process
 * is ending. PspLeaveProcess does nothing for a thread of System. */
BOOLEAN PspEnterProcess(KTHREAD *Thread, KPROCESS *Process);
VOID PspLeaveProcess(KTHREAD *Thread);
VOID PspBecome(KPROCESS *Process, KPROCESSOR_MODE Mode, PSP_IDENTITY *Saved);
VOID PspRevert(const PSP_IDENTITY *Saved);

/* The process's memory is gone, or (NULL) the system ends: so have its heaps (heap.c). IRQL <= APC_LEVEL. */
VOID PspForgetHeaps(KPROCESS *Process);
/* vmservice.c: extended parameters of an allocation or (Machine, PSP_ANY_MACHINE before) a view. STATUS_INVALID_PARAMETER,
 * STATUS_NOT_SUPPORTED, or what reading them says. */
#define PSP_ANY_MACHINE 0
struct _MM_ADDRESS_LIMITS;
NTSTATUS PspReadParameters(KPROCESSOR_MODE Mode, PMEM_EXTENDED_PARAMETER Parameters, ULONG Count,
                           struct _MM_ADDRESS_LIMITS *Limits, USHORT *Machine);
/* The process behind a handle, kept from ending until PspCloseSpace. STATUS_PROCESS_IS_TERMINATING. PASSIVE_LEVEL, else 0xC4/0xE5. */
NTSTATUS PspOpenSpace(HANDLE Handle, ACCESS_MASK Access, KPROCESSOR_MODE Mode, KPROCESS **Process);
VOID PspCloseSpace(KPROCESS *Process);
/* A system service, from its first line to its return: in whose name it works (Nt: the Nt form, which asks the previous mode), and with the
 * kernel's rights even if user code called it. */
typedef struct _PSP_SERVICE {
    KPROCESSOR_MODE Mode;
    BOOLEAN FromUser;
} PSP_SERVICE;
static inline PSP_SERVICE PspEnterService(BOOLEAN Nt)
{
    KTHREAD *Thread = KiCurrentThread();
    PSP_SERVICE Service = {Thread->UserRights || (Nt && Thread->PreviousMode != KernelMode) ? UserMode : KernelMode,
                           Thread->UserRights};
    if (__builtin_expect(Service.FromUser, 0)) {
        HalSetUserMode(FALSE);
        Thread->UserRights = FALSE;
    }
    return Service;
}
VOID PspReturnToUser(VOID); /* usermode.c */
static inline VOID PspLeaveService(PSP_SERVICE *Service)
{
    if (__builtin_expect(Service->FromUser, 0))
        PspReturnToUser();
}
#define PSP_SERVE(Nt) PSP_SERVICE Service_ __attribute__((cleanup(PspLeaveService), unused)) = PspEnterService(Nt)

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
