/*
 * event.c - event objects by handle and by name. SPDX-License-Identifier: MIT
 *
 * Implements ZwCreateEvent, ZwOpenEvent, ZwSetEvent, ZwResetEvent, ZwClearEvent, ZwWaitForSingleObject,
 * IoCreateNotificationEvent, IoCreateSynchronizationEvent. The body is a KEVENT; waiting and signalling are ke's.
 *
 * Makes the events of \KernelObjects that tell of memory's conditions; when they are set and cleared is mm's (mm/condition.c).
 */
#include "ob/obp.h"
#include "mm/mm.h"

OBJECT_TYPE ObpEventType = {.Name = L"Event", .Tag = 'nevE', .WaitOffset = 0, .ValidAccess = EVENT_ALL_ACCESS};
static POBJECT_TYPE ObpEventTypePointer = &ObpEventType;
POBJECT_TYPE *ExEventObjectType = &ObpEventTypePointer;

typedef struct _OBP_NEW_EVENT {
    EVENT_TYPE Type;
    BOOLEAN State;
} OBP_NEW_EVENT;

static NTSTATUS ObpSetupEvent(PVOID Object, PVOID Context)
{
    OBP_NEW_EVENT *New = Context;
    KeInitializeEvent(Object, New->Type, New->State);
    return STATUS_SUCCESS;
}

NTSTATUS ZwCreateEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                       EVENT_TYPE EventType, BOOLEAN InitialState)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, EventHandle);
    OBP_NEW_EVENT New = {EventType, InitialState};
    if (EventType != NotificationEvent && EventType != SynchronizationEvent)
        return STATUS_INVALID_PARAMETER;
    return ObpCreateWithHandle(&ObpEventType, sizeof(KEVENT), ObjectAttributes, DesiredAccess, ObpSetupEvent, &New,
                               EventHandle);
}

NTSTATUS ZwOpenEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, EventHandle);
    return ObpOpenWithHandle(&ObpEventType, ObjectAttributes, DesiredAccess, NULL, EventHandle);
}

static NTSTATUS ObpEventByHandle(HANDLE Handle, PRKEVENT *Event)
{
    return ObReferenceObjectByHandle(Handle, EVENT_MODIFY_STATE, &ObpEventType, KernelMode, (PVOID *)Event, NULL);
}

NTSTATUS ZwSetEvent(HANDLE EventHandle, PLONG PreviousState)
{
    KI_CHECK_SERVICE(NULL, NULL, PreviousState);
    PRKEVENT Event;
    NTSTATUS Status = ObpEventByHandle(EventHandle, &Event);
    if (!NT_SUCCESS(Status))
        return Status;
    LONG Previous = KeSetEvent(Event, 0, FALSE);
    if (PreviousState)
        *PreviousState = Previous;
    ObfDereferenceObject(Event);
    return STATUS_SUCCESS;
}

NTSTATUS ZwResetEvent(HANDLE EventHandle, PLONG PreviousState)
{
    KI_CHECK_SERVICE(NULL, NULL, PreviousState);
    PRKEVENT Event;
    NTSTATUS Status = ObpEventByHandle(EventHandle, &Event);
    if (!NT_SUCCESS(Status))
        return Status;
    LONG Previous = KeResetEvent(Event);
    if (PreviousState)
        *PreviousState = Previous;
    ObfDereferenceObject(Event);
    return STATUS_SUCCESS;
}

NTSTATUS ZwClearEvent(HANDLE EventHandle)
{
    return ZwResetEvent(EventHandle, NULL);
}

NTSTATUS ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable, PLARGE_INTEGER Timeout)
{
    KI_CHECK_SERVICE(NULL, NULL, Timeout);
    PVOID Object;
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, SYNCHRONIZE, NULL, KernelMode, &Object, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    LONG Offset = ObpHeader(Object)->Type->WaitOffset;
    if (Offset < 0)
        Status = STATUS_OBJECT_TYPE_MISMATCH;
    else
        Status = KeWaitForSingleObject((PUCHAR)Object + Offset, UserRequest, KernelMode, Alertable, Timeout);
    ObfDereferenceObject(Object);
    return Status;
}

static PKEVENT ObpNamedEvent(PUNICODE_STRING Name, PHANDLE Handle, EVENT_TYPE Type)
{
    OBJECT_ATTRIBUTES Attributes;
    PKEVENT Event = NULL;
    /* The handle is the kernel's: drivers use it in whatever process they are called in. A new event starts signalled. */
    InitializeObjectAttributes(&Attributes, Name, OBJ_CASE_INSENSITIVE | OBJ_OPENIF | OBJ_KERNEL_HANDLE, NULL, NULL);
    NTSTATUS Status = ZwCreateEvent(Handle, EVENT_ALL_ACCESS, &Attributes, Type, TRUE);
    if (!NT_SUCCESS(Status))
        return NULL;
    Status = ObReferenceObjectByHandle(*Handle, 0, &ObpEventType, KernelMode, (PVOID *)&Event, NULL);
    if (!NT_SUCCESS(Status))
        return NULL;
    /* The caller owns the handle only; the pointer lives as long as it. */
    ObfDereferenceObject(Event);
    return Event;
}

PKEVENT IoCreateNotificationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle)
{
    return ObpNamedEvent(EventName, EventHandle, NotificationEvent);
}

PKEVENT IoCreateSynchronizationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle)
{
    return ObpNamedEvent(EventName, EventHandle, SynchronizationEvent);
}

/* ---- the standard events of memory ---- */
static PKEVENT ObpConditionEvents[MmConditions];

NTSTATUS ObpInitMemoryEvents(VOID)
{
    static const WCHAR *const Names[MmConditions] = {
        [MmLowMemory] = L"\\KernelObjects\\LowMemoryCondition",
        [MmHighMemory] = L"\\KernelObjects\\HighMemoryCondition",
        [MmLowPagedPool] = L"\\KernelObjects\\LowPagedPoolCondition",
        [MmHighPagedPool] = L"\\KernelObjects\\HighPagedPoolCondition",
        [MmLowNonPagedPool] = L"\\KernelObjects\\LowNonPagedPoolCondition",
        [MmHighNonPagedPool] = L"\\KernelObjects\\HighNonPagedPoolCondition",
        [MmLowCommit] = L"\\KernelObjects\\LowCommitCondition",
        [MmHighCommit] = L"\\KernelObjects\\HighCommitCondition",
        [MmMaximumCommit] = L"\\KernelObjects\\MaximumCommitCondition",
    };
    for (ULONG Index = 0; Index < MmConditions; Index++) {
        OBJECT_ATTRIBUTES Attributes;
        UNICODE_STRING Name;
        HANDLE Handle;
        RtlInitUnicodeString(&Name, Names[Index]);
        InitializeObjectAttributes(&Attributes, &Name, OBJ_CASE_INSENSITIVE | OBJ_PERMANENT | OBJ_KERNEL_HANDLE, NULL, NULL);
        NTSTATUS Status = ZwCreateEvent(&Handle, EVENT_ALL_ACCESS, &Attributes, NotificationEvent, FALSE);
        if (!NT_SUCCESS(Status))
            return Status;
        Status = ObReferenceObjectByHandle(Handle, 0, &ObpEventType, KernelMode, (PVOID *)&ObpConditionEvents[Index], NULL);
        ZwClose(Handle);
        if (!NT_SUCCESS(Status))
            return Status;
    }
    MmSetConditionEvents(ObpConditionEvents);
    return STATUS_SUCCESS;
}

VOID ObpShutdownMemoryEvents(VOID)
{
    MmSetConditionEvents(NULL);
    for (ULONG Index = 0; Index < MmConditions; Index++) {
        if (ObpConditionEvents[Index])
            ObfDereferenceObject(ObpConditionEvents[Index]);
        ObpConditionEvents[Index] = NULL;
    }
}
