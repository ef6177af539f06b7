/*
 * callback.c - drivers that watch handles to processes and threads being made. SPDX-License-Identifier: MIT
 *
 * Implements ObRegisterCallbacks, ObUnRegisterCallbacks, ObGetFilterVersion, and ObpInsertHandleChecked, which makes a handle
 * under their eyes.
 *
 *     ObpCallbacks -> registration (highest altitude) -> ... -> registration (lowest)     each with its operations
 *
 *     making a handle:  pre-operations from the top (each may clear bits of the desired access, never add any)
 *                       the handle
 *                       post-operations from the bottom, with each one's own CallContext
 *
 * Invariants: 1. the list is sorted by altitude, and no two are equal; 2. Calls counts the threads inside a registration's
 * callbacks, and it is not freed while there are any. Locks: ObpCallbackLock (leaf); callbacks run without it.
 */
#include "ob/obp.h"

#define OBP_CALLBACK_TAG 0x62434f42u /* 'BOCb' */
#define OBP_MAX_WATCHERS 16

typedef struct _OBP_WATCHER {
    LIST_ENTRY Link;
    UNICODE_STRING Altitude;
    PVOID Context;
    LONG Calls;
    BOOLEAN Dying;
    USHORT Count;
    OB_OPERATION_REGISTRATION Operations[];
} OBP_WATCHER;

static LIST_ENTRY ObpCallbacks = {&ObpCallbacks, &ObpCallbacks};
static KI_LOCK ObpCallbackLock;

USHORT ObGetFilterVersion(VOID)
{
    return OB_FLT_REGISTRATION_VERSION;
}

/* Decimal numbers with an optional fraction: < 0, 0, > 0. */
static LONG ObpCompareAltitude(PCUNICODE_STRING A, PCUNICODE_STRING B)
{
    ULONG CountA = A->Length / sizeof(WCHAR), CountB = B->Length / sizeof(WCHAR), WholeA = 0, WholeB = 0;
    while (WholeA < CountA && A->Buffer[WholeA] != L'.')
        WholeA++;
    while (WholeB < CountB && B->Buffer[WholeB] != L'.')
        WholeB++;
    if (WholeA != WholeB)
        return WholeA < WholeB ? -1 : 1;
    for (ULONG i = 0; i < CountA || i < CountB; i++) {
        WCHAR X = i < CountA ? A->Buffer[i] : L'0', Y = i < CountB ? B->Buffer[i] : L'0';
        if (X != Y)
            return X < Y ? -1 : 1;
    }
    return 0;
}

NTSTATUS ObRegisterCallbacks(POB_CALLBACK_REGISTRATION CallbackRegistration, PVOID *RegistrationHandle)
{
    USHORT Count = CallbackRegistration->OperationRegistrationCount;
    NTSTATUS Status = STATUS_SUCCESS;
    *RegistrationHandle = NULL;
    if (CallbackRegistration->Version != OB_FLT_REGISTRATION_VERSION || Count == 0)
        return STATUS_INVALID_PARAMETER;
    for (USHORT i = 0; i < Count; i++) {
        OB_OPERATION_REGISTRATION *Operation = &CallbackRegistration->OperationRegistration[i];
        if (Operation->ObjectType == NULL || *Operation->ObjectType == NULL || !(*Operation->ObjectType)->SupportsCallbacks ||
            (Operation->Operations & (OB_OPERATION_HANDLE_CREATE | OB_OPERATION_HANDLE_DUPLICATE)) == 0 ||
            (Operation->PreOperation == NULL && Operation->PostOperation == NULL))
            return STATUS_INVALID_PARAMETER;
    }
    OBP_WATCHER *New =
        ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *New + Count * sizeof(OB_OPERATION_REGISTRATION), OBP_CALLBACK_TAG);
    if (New == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Status = ObpCopyString(&CallbackRegistration->Altitude, &New->Altitude);
    if (!NT_SUCCESS(Status)) {
        ExFreePoolWithTag(New, OBP_CALLBACK_TAG);
        return Status;
    }
    New->Context = CallbackRegistration->RegistrationContext;
    New->Count = Count;
    memcpy(New->Operations, CallbackRegistration->OperationRegistration, Count * sizeof(OB_OPERATION_REGISTRATION));
    KiAcquireLock(&ObpCallbackLock);
    PLIST_ENTRY At = ObpCallbacks.Flink;
    for (; At != &ObpCallbacks; At = At->Flink) {
        LONG Order = ObpCompareAltitude(&CONTAINING_RECORD(At, OBP_WATCHER, Link)->Altitude, &New->Altitude);
        if (Order == 0)
            Status = STATUS_FLT_INSTANCE_ALTITUDE_COLLISION;
        if (Order <= 0)
            break;
    }
    if (NT_SUCCESS(Status))
        InsertTailList(At, &New->Link);
    KiReleaseLock(&ObpCallbackLock);
    if (!NT_SUCCESS(Status)) {
        ObpFreeString(&New->Altitude);
        ExFreePoolWithTag(New, OBP_CALLBACK_TAG);
        return Status;
    }
    *RegistrationHandle = New;
    return STATUS_SUCCESS;
}

VOID ObUnRegisterCallbacks(PVOID RegistrationHandle)
{
    OBP_WATCHER *Watcher = RegistrationHandle;
    for (;;) {
        KiAcquireLock(&ObpCallbackLock);
        Watcher->Dying = TRUE;
        BOOLEAN Idle = Watcher->Calls == 0;
        if (Idle)
            RemoveEntryList(&Watcher->Link);
        KiReleaseLock(&ObpCallbackLock);
        if (Idle)
            break;
        HalYield();
    }
    ObpFreeString(&Watcher->Altitude);
    ExFreePoolWithTag(Watcher, OBP_CALLBACK_TAG);
}

NTSTATUS ObpInsertHandleChecked(PVOID Object, ACCESS_MASK Access, ULONG Attributes, BOOLEAN Duplicate, PHANDLE Handle)
{
    POBJECT_TYPE Type = ObpHeader(Object)->Type;
    OBP_WATCHER *Watchers[OBP_MAX_WATCHERS];
    PVOID Contexts[OBP_MAX_WATCHERS] = {NULL};
    OB_OPERATION Operation = Duplicate ? OB_OPERATION_HANDLE_DUPLICATE : OB_OPERATION_HANDLE_CREATE;
    ACCESS_MASK Original = Access;
    ULONG Count = 0;
    NTSTATUS Status;
    if (!Type->SupportsCallbacks)
        return ObpInsertHandle(Object, Access, Attributes, Handle);
    KiAcquireLock(&ObpCallbackLock);
    for (PLIST_ENTRY E = ObpCallbacks.Flink; E != &ObpCallbacks && Count < OBP_MAX_WATCHERS; E = E->Flink) {
        OBP_WATCHER *Watcher = CONTAINING_RECORD(E, OBP_WATCHER, Link);
        if (Watcher->Dying)
            continue;
        Watcher->Calls++;
        Watchers[Count++] = Watcher;
    }
    KiReleaseLock(&ObpCallbackLock);
    for (ULONG i = 0; i < Count; i++)
        for (USHORT k = 0; k < Watchers[i]->Count; k++) {
            OB_OPERATION_REGISTRATION *R = &Watchers[i]->Operations[k];
            if (*R->ObjectType != Type || !(R->Operations & Operation) || R->PreOperation == NULL)
                continue;
            OB_PRE_OPERATION_PARAMETERS Parameters;
            memset(&Parameters, 0, sizeof Parameters);
            /* Both forms begin alike. */
            Parameters.CreateHandleInformation.DesiredAccess = Access;
            Parameters.CreateHandleInformation.OriginalDesiredAccess = Original;
            OB_PRE_OPERATION_INFORMATION Info = {
                .Operation = Operation, .Object = Object, .ObjectType = Type, .Parameters = &Parameters};
            Info.KernelHandle = (Attributes & OBJ_KERNEL_HANDLE) != 0;
            KI_CALLOUT(OB_PREOP_CALLBACK_STATUS, R->PreOperation, (PVOID, POB_PRE_OPERATION_INFORMATION),
                       (Watchers[i]->Context, &Info));
            Access &= Parameters.CreateHandleInformation.DesiredAccess;
            Contexts[i] = Info.CallContext;
        }
    Status = ObpInsertHandle(Object, Access, Attributes, Handle);
    for (ULONG i = Count; i-- > 0;)
        for (USHORT k = 0; k < Watchers[i]->Count; k++) {
            OB_OPERATION_REGISTRATION *R = &Watchers[i]->Operations[k];
            if (*R->ObjectType != Type || !(R->Operations & Operation) || R->PostOperation == NULL)
                continue;
            OB_POST_OPERATION_PARAMETERS Parameters = {.CreateHandleInformation = {Access}};
            OB_POST_OPERATION_INFORMATION Info = {.Operation = Operation,
                                                  .Object = Object,
                                                  .ObjectType = Type,
                                                  .CallContext = Contexts[i],
                                                  .ReturnStatus = Status,
                                                  .Parameters = &Parameters};
            Info.KernelHandle = (Attributes & OBJ_KERNEL_HANDLE) != 0;
            KI_CALLOUT(VOID, R->PostOperation, (PVOID, POB_POST_OPERATION_INFORMATION), (Watchers[i]->Context, &Info));
        }
    KiAcquireLock(&ObpCallbackLock);
    for (ULONG i = 0; i < Count; i++)
        Watchers[i]->Calls--;
    KiReleaseLock(&ObpCallbackLock);
    return Status;
}
