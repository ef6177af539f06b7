/*
 * query.c - processes by handle: opening and asking. SPDX-License-Identifier: MIT
 *
 * Implements ZwOpenProcess, ZwQueryInformationProcess (basic, Wow64 and image name), PsGetProcessInheritedFromUniqueProcessId,
 * IoIsSystemThread. Process and thread ids come from process.c and thread.c.
 */
#include "ps/psp.h"

HANDLE PsGetProcessInheritedFromUniqueProcessId(PEPROCESS Process)
{
    return Process->ParentId;
}

BOOLEAN IoIsSystemThread(PETHREAD Thread)
{
    return PsIsSystemThread(Thread);
}

NTSTATUS ZwOpenProcess(PHANDLE ProcessHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                       PCLIENT_ID ClientId)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, ProcessHandle, ClientId);
    PEPROCESS Process;
    *ProcessHandle = NULL;
    if (ObjectAttributes->ObjectName && ClientId)
        return STATUS_INVALID_PARAMETER_MIX;
    if (ClientId == NULL)
        return STATUS_INVALID_PARAMETER_MIX;
    NTSTATUS Status = PsLookupProcessByProcessId(ClientId->UniqueProcess, &Process);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpInsertHandleChecked(Process, DesiredAccess, ObjectAttributes->Attributes, FALSE, ProcessHandle);
    ObfDereferenceObject(Process);
    return Status;
}

NTSTATUS ZwQueryInformationProcess(HANDLE ProcessHandle, PROCESSINFOCLASS ProcessInformationClass, PVOID ProcessInformation,
                                   ULONG ProcessInformationLength, PULONG ReturnLength)
{
    KI_CHECK_SERVICE(NULL, NULL, ProcessInformation, ReturnLength);
    KPROCESS *Process;
    ULONG Need = 0;
    NTSTATUS Status = ObReferenceObjectByHandle(ProcessHandle, PROCESS_QUERY_INFORMATION, &PspProcessType, KernelMode,
                                                (PVOID *)&Process, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    if (ProcessInformationClass == ProcessBasicInformation) {
        PROCESS_BASIC_INFORMATION Basic = {.ExitStatus = PsGetProcessExitStatus(Process),
                                           .AffinityMask = KeQueryActiveProcessors(),
                                           .BasePriority = 8,
                                           .UniqueProcessId = (ULONG_PTR)Process->ProcessId,
                                           .InheritedFromUniqueProcessId =
                                               (ULONG_PTR)PsGetProcessInheritedFromUniqueProcessId(Process)};
        Need = sizeof Basic;
        if (ProcessInformationLength != Need)
            Status = STATUS_INFO_LENGTH_MISMATCH;
        else
            memcpy(ProcessInformation, &Basic, sizeof Basic);
    } else if (ProcessInformationClass == ProcessWow64Information) {
        Need = sizeof(ULONG_PTR);
        if (ProcessInformationLength != Need)
            Status = STATUS_INFO_LENGTH_MISMATCH;
        else
            *(PULONG_PTR)ProcessInformation = 0;
    } else if (ProcessInformationClass == ProcessImageFileName) {
        PUNICODE_STRING Name = ProcessInformation;
        Need = (ULONG)sizeof *Name + Process->ImageName.Length + (ULONG)sizeof(WCHAR);
        if (ProcessInformationLength < Need) {
            Status = STATUS_INFO_LENGTH_MISMATCH;
        } else {
            PWCH Text = (PWCH)(Name + 1);
            memcpy(Text, Process->ImageName.Buffer, Process->ImageName.Length);
            Text[Process->ImageName.Length / sizeof(WCHAR)] = 0;
            *Name = (UNICODE_STRING){Process->ImageName.Length, (USHORT)(Process->ImageName.Length + sizeof(WCHAR)), Text};
        }
    } else {
        Status = STATUS_INVALID_INFO_CLASS;
    }
    if (ReturnLength)
        *ReturnLength = Need;
    ObfDereferenceObject(Process);
    return Status;
}
