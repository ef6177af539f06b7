/*
 * notify.c - who is told when processes and threads come and go and images are mapped. SPDX-License-Identifier: MIT
 *
 * Implements PsSetCreateProcessNotifyRoutine(Ex), PsSetCreateThreadNotifyRoutine, PsRemoveCreateThreadNotifyRoutine,
 * PsSetLoadImageNotifyRoutine, PsRemoveLoadImageNotifyRoutine. Three tables of 64 routines each.
 *
 * A routine may be removed while another thread is calling it; removal waits until no call runs, as documented for the
 * process routines, so that the driver can unload. A routine must not remove itself.
 *
 *     slot: Routine NULL: free.  Calls: how many threads are inside it now.
 *
 * Locks: PspNotifyLock (leaf); routines are called without it.
 */
#include "ps/psp.h"

#define PSP_MAX_NOTIFY 64

typedef struct _PSP_NOTIFY {
    PVOID Routine;
    BOOLEAN Extended, Dying;
    LONG Calls;
} PSP_NOTIFY;
typedef enum _PSP_EVENT { PspProcess, PspThread, PspImage, PspEvents } PSP_EVENT;
static PSP_NOTIFY PspTable[PspEvents][PSP_MAX_NOTIFY];
static KI_LOCK PspNotifyLock;

static NTSTATUS PspAdd(PSP_EVENT Event, PVOID Routine, BOOLEAN Extended, NTSTATUS Full)
{
    PSP_NOTIFY *Free = NULL;
    NTSTATUS Status = STATUS_SUCCESS;
    KiAcquireLock(&PspNotifyLock);
    for (ULONG i = 0; i < PSP_MAX_NOTIFY; i++) {
        PSP_NOTIFY *Slot = &PspTable[Event][i];
        if (Slot->Routine == NULL && Free == NULL)
            Free = Slot;
        if (Slot->Routine == Routine && !Slot->Dying && Event == PspProcess)
            Status = STATUS_INVALID_PARAMETER;
    }
    if (NT_SUCCESS(Status)) {
        if (Free)
            *Free = (PSP_NOTIFY){Routine, Extended, FALSE, 0};
        else
            Status = Full;
    }
    KiReleaseLock(&PspNotifyLock);
    return Status;
}

static NTSTATUS PspRemove(PSP_EVENT Event, PVOID Routine)
{
    PSP_NOTIFY *Found = NULL;
    KiAcquireLock(&PspNotifyLock);
    for (ULONG i = 0; i < PSP_MAX_NOTIFY && !Found; i++)
        if (PspTable[Event][i].Routine == Routine && !PspTable[Event][i].Dying)
            Found = &PspTable[Event][i];
    if (Found)
        Found->Dying = TRUE;
    KiReleaseLock(&PspNotifyLock);
    if (Found == NULL)
        return STATUS_PROCEDURE_NOT_FOUND;
    for (;;) {
        KiAcquireLock(&PspNotifyLock);
        BOOLEAN Idle = Found->Calls == 0;
        if (Idle)
            memset(Found, 0, sizeof *Found);
        KiReleaseLock(&PspNotifyLock);
        if (Idle)
            return STATUS_SUCCESS;
        HalYield();
    }
}

/* Slot i's routine, held for a call; FALSE: none there. */
static BOOLEAN PspEnter(PSP_EVENT Event, ULONG i, PSP_NOTIFY *Copy)
{
    KiAcquireLock(&PspNotifyLock);
    PSP_NOTIFY *Slot = &PspTable[Event][i];
    BOOLEAN There = Slot->Routine && !Slot->Dying;
    if (There) {
        Slot->Calls++;
        *Copy = *Slot;
    }
    KiReleaseLock(&PspNotifyLock);
    return There;
}

static VOID PspLeave(PSP_EVENT Event, ULONG i)
{
    KiAcquireLock(&PspNotifyLock);
    PspTable[Event][i].Calls--;
    KiReleaseLock(&PspNotifyLock);
}

VOID PspNotifyProcess(KPROCESS *Process, BOOLEAN Create)
{
    HANDLE Parent = PsInitialSystemProcess->ProcessId;
    for (ULONG i = 0; i < PSP_MAX_NOTIFY; i++) {
        PSP_NOTIFY Slot;
        if (!PspEnter(PspProcess, i, &Slot))
            continue;
        if (Slot.Extended) {
            PS_CREATE_NOTIFY_INFO Info = {.Size = sizeof Info, .ParentProcessId = Parent, .ImageFileName = &Process->ImageName};
            Info.CreatingThreadId = (CLIENT_ID){PsGetCurrentProcessId(), KiCurrentThread()->ThreadId};
            KI_CALLOUT(VOID, Slot.Routine, (PEPROCESS, HANDLE, PPS_CREATE_NOTIFY_INFO),
                       (Process, Process->ProcessId, Create ? &Info : NULL));
        } else {
            KI_CALLOUT(VOID, Slot.Routine, (HANDLE, HANDLE, BOOLEAN), (Parent, Process->ProcessId, Create));
        }
        PspLeave(PspProcess, i);
    }
}

VOID PspNotifyThread(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create)
{
    for (ULONG i = 0; i < PSP_MAX_NOTIFY; i++) {
        PSP_NOTIFY Slot;
        if (!PspEnter(PspThread, i, &Slot))
            continue;
        KI_CALLOUT(VOID, Slot.Routine, (HANDLE, HANDLE, BOOLEAN), (ProcessId, ThreadId, Create));
        PspLeave(PspThread, i);
    }
}

VOID PspNotifyImage(PCUNICODE_STRING Name, HANDLE ProcessId, PVOID Base, SIZE_T Size, BOOLEAN SystemImage)
{
    for (ULONG i = 0; i < PSP_MAX_NOTIFY; i++) {
        PSP_NOTIFY Slot;
        UNICODE_STRING Copy = *Name;
        IMAGE_INFO Info = {.Properties = 0, .ImageBase = Base, .ImageSize = Size};
        Info.ImageAddressingMode = 3; /* IMAGE_ADDRESSING_MODE_32BIT */
        Info.SystemModeImage = SystemImage != 0;
        if (!PspEnter(PspImage, i, &Slot))
            continue;
        KI_CALLOUT(VOID, Slot.Routine, (PUNICODE_STRING, HANDLE, PIMAGE_INFO), (&Copy, ProcessId, &Info));
        PspLeave(PspImage, i);
    }
}

VOID PspShutdownNotify(VOID)
{
    memset(PspTable, 0, sizeof PspTable);
}

NTSTATUS PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine, BOOLEAN Remove)
{
    if (Remove)
        return PspRemove(PspProcess, (PVOID)(ULONG_PTR)NotifyRoutine);
    return PspAdd(PspProcess, (PVOID)(ULONG_PTR)NotifyRoutine, FALSE, STATUS_INVALID_PARAMETER);
}

NTSTATUS PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX NotifyRoutine, BOOLEAN Remove)
{
    if (Remove)
        return PspRemove(PspProcess, (PVOID)(ULONG_PTR)NotifyRoutine);
    return PspAdd(PspProcess, (PVOID)(ULONG_PTR)NotifyRoutine, TRUE, STATUS_INVALID_PARAMETER);
}

NTSTATUS PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine)
{
    return PspAdd(PspThread, (PVOID)(ULONG_PTR)NotifyRoutine, FALSE, STATUS_INSUFFICIENT_RESOURCES);
}

NTSTATUS PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine)
{
    return PspRemove(PspThread, (PVOID)(ULONG_PTR)NotifyRoutine);
}

NTSTATUS PsSetLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine)
{
    return PspAdd(PspImage, (PVOID)(ULONG_PTR)NotifyRoutine, FALSE, STATUS_INSUFFICIENT_RESOURCES);
}

NTSTATUS PsRemoveLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine)
{
    return PspRemove(PspImage, (PVOID)(ULONG_PTR)NotifyRoutine);
}
