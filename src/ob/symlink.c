/*
 * symlink.c - symbolic links: names that stand for other names. SPDX-License-Identifier: MIT
 *
 * Implements ZwCreateSymbolicLinkObject, ZwOpenSymbolicLinkObject, ZwQuerySymbolicLinkObject; io builds
 * IoCreateSymbolicLink and IoDeleteSymbolicLink on ObpCreateLink and ObpRemoveLink. The look-up in directory.c follows them.
 *
 * A link's target is set once, when it is made, and lives as long as the link: it is read without a lock.
 */
#include "ob/obp.h"

typedef struct _OBP_LINK {
    UNICODE_STRING Target;
    LARGE_INTEGER CreationTime;
} OBP_LINK;

static VOID ObpDeleteLink(PVOID Object)
{
    ObpFreeString(&((OBP_LINK *)Object)->Target);
}

OBJECT_TYPE ObpSymbolicLinkType = {
    .Name = L"SymbolicLink", .Tag = 'bmyS', .WaitOffset = -1, .ValidAccess = SYMBOLIC_LINK_ALL_ACCESS, .Delete = ObpDeleteLink};

static NTSTATUS ObpSetupLink(PVOID Object, PVOID Context)
{
    OBP_LINK *Link = Object;
    KeQuerySystemTime(&Link->CreationTime);
    return ObpCopyString(Context, &Link->Target);
}

PCUNICODE_STRING ObpLinkTarget(PVOID Link)
{
    return &((OBP_LINK *)Link)->Target;
}

NTSTATUS ObpCreateLink(PCUNICODE_STRING Name, PCUNICODE_STRING Target, ULONG Attributes)
{
    PVOID Object;
    NTSTATUS Status = ObpCreateObject(&ObpSymbolicLinkType, sizeof(OBP_LINK), &Object);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpSetupLink(Object, (PVOID)Target);
    if (NT_SUCCESS(Status))
        Status = ObpInsertName(Object, NULL, Name, Attributes, NULL);
    ObfDereferenceObject(Object);
    return Status;
}

NTSTATUS ObpRemoveLink(PCUNICODE_STRING Name)
{
    OBP_OPEN Open = {.Type = &ObpSymbolicLinkType};
    PVOID Link;
    NTSTATUS Status = ObpLookup(NULL, Name, &Open, &Link);
    if (!NT_SUCCESS(Status))
        return Status;
    ObpRemoveName(Link);
    ObfDereferenceObject(Link);
    return STATUS_SUCCESS;
}

NTSTATUS ZwCreateSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes,
                                    PUNICODE_STRING LinkTarget)
{
    KI_CHECK_SERVICE(ObjectAttributes, LinkTarget, LinkHandle);
    if (LinkTarget == NULL || LinkTarget->Length == 0 || (LinkTarget->Length & 1))
        return STATUS_INVALID_PARAMETER;
    return ObpCreateWithHandle(&ObpSymbolicLinkType, sizeof(OBP_LINK), ObjectAttributes, DesiredAccess, ObpSetupLink,
                               LinkTarget, LinkHandle);
}

NTSTATUS ZwOpenSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, LinkHandle);
    return ObpOpenWithHandle(&ObpSymbolicLinkType, ObjectAttributes, DesiredAccess, NULL, LinkHandle);
}

NTSTATUS ZwQuerySymbolicLinkObject(HANDLE LinkHandle, PUNICODE_STRING LinkTarget, PULONG ReturnedLength)
{
    KI_CHECK_SERVICE(NULL, NULL, LinkTarget, ReturnedLength);
    PVOID Object;
    NTSTATUS Status =
        ObReferenceObjectByHandle(LinkHandle, SYMBOLIC_LINK_QUERY, &ObpSymbolicLinkType, KernelMode, &Object, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    PCUNICODE_STRING Target = ObpLinkTarget(Object);
    /* With ReturnedLength the terminating null counts and is stored. */
    ULONG Need = Target->Length + (ReturnedLength ? (ULONG)sizeof(WCHAR) : 0);
    if (ReturnedLength)
        *ReturnedLength = Need;
    if (LinkTarget->MaximumLength < Need) {
        Status = STATUS_BUFFER_TOO_SMALL;
    } else {
        memcpy(LinkTarget->Buffer, Target->Buffer, Target->Length);
        LinkTarget->Length = Target->Length;
        if (ReturnedLength)
            LinkTarget->Buffer[Target->Length / sizeof(WCHAR)] = 0;
    }
    ObfDereferenceObject(Object);
    return Status;
}
