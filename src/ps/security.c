/*
 * security.c - the security questions drivers ask most. SPDX-License-Identifier: MIT
 *
 * Implements SeSinglePrivilegeCheck, SePrivilegeCheck, SeCaptureSubjectContext and its companions, SeTokenObjectType. There are
 * no tokens and no access control: the system and the one user behind requests hold every privilege, so a check says TRUE.
 */
#include "ps/psp.h"

static OBJECT_TYPE SepTokenType = {.Name = L"Token", .Tag = 'ekoT', .WaitOffset = -1};
static POBJECT_TYPE SepTokenTypePointer = &SepTokenType;
POBJECT_TYPE *SeTokenObjectType = &SepTokenTypePointer;

BOOLEAN SeSinglePrivilegeCheck(LUID PrivilegeValue, KPROCESSOR_MODE PreviousMode)
{
    UNREFERENCED_PARAMETER(PrivilegeValue);
    UNREFERENCED_PARAMETER(PreviousMode);
    return TRUE;
}

BOOLEAN SePrivilegeCheck(PPRIVILEGE_SET RequiredPrivileges, PSECURITY_SUBJECT_CONTEXT SubjectSecurityContext,
                         KPROCESSOR_MODE AccessMode)
{
    UNREFERENCED_PARAMETER(SubjectSecurityContext);
    UNREFERENCED_PARAMETER(AccessMode);
    for (ULONG i = 0; i < RequiredPrivileges->PrivilegeCount; i++)
        RequiredPrivileges->Privilege[i].Attributes |= 0x80000000u; /* SE_PRIVILEGE_USED_FOR_ACCESS */
    return TRUE;
}

VOID SeCaptureSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    memset(SubjectContext, 0, sizeof *SubjectContext);
    SubjectContext->ProcessAuditId = PsGetCurrentProcessId();
}

VOID SeReleaseSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    memset(SubjectContext, 0, sizeof *SubjectContext);
}

VOID SeLockSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    UNREFERENCED_PARAMETER(SubjectContext);
}

VOID SeUnlockSubjectContext(PSECURITY_SUBJECT_CONTEXT SubjectContext)
{
    UNREFERENCED_PARAMETER(SubjectContext);
}
