/*
 * ecp.c - extra create parameters: contexts by type in a list, from pool or from their owner's lookaside list. SPDX-License-Identifier: MIT
 *
 * Implements FsRtlAllocateExtraCreateParameter and its kin (include/nt/wdm/ecp.h). What a caller sees is the context, behind its record:
 *
 *    ECP_LIST.Head <--> | ECP: Links, type, callback, where it came from | context: SizeOfContext bytes |  <--> ...
 *
 * A lookaside list for ECPs is an ordinary paged or nonpaged one, whose entries have room for the record. A context that does not fit is
 * pool's; each knows where it goes back to.
 *
 *    made --- insert ---> in a list --- remove ---> made --- free ---> gone (its callback first)
 *                             \--- the list is freed -------------------^
 *
 * Invariants: 1. a list has at most one ECP of a type; 2. ECP.Links points at itself while the ECP is in no list. A list is its owner's to
 * serialise; there is no lock here. IRQL <= APC_LEVEL. Watch: tests/ddi/FsRtlAllocateExtraCreateParameter.c.
 */
#include "ex/exp.h"
#include <wdm/ecp.h>

#undef ExFreePool

#define ECP_LIST_TAG 'lPCE'

typedef struct DECLSPEC_ALIGN(16) _ECP {
    LIST_ENTRY Links;
    GUID Type;
    PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK Cleanup;
    PVOID Lookaside; /* NULL: it is a block of pool */
    ULONG Size;
    BOOLEAN NonPaged; /* the lookaside list */
    BOOLEAN Acknowledged;
} ECP;
C_ASSERT(sizeof(ECP) == 64);

struct _ECP_LIST {
    LIST_ENTRY Head;
};

static ECP *ExpEcpOf(PVOID Context)
{
    return (ECP *)Context - 1;
}

static VOID ExpFormatEcp(ECP *Ecp, LPCGUID Type, ULONG Size, PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK Cleanup)
{
    memset(Ecp, 0, sizeof(*Ecp));
    InitializeListHead(&Ecp->Links);
    Ecp->Type = *Type;
    Ecp->Cleanup = Cleanup;
    Ecp->Size = Size;
}

static ECP *ExpFindEcp(PECP_LIST List, LPCGUID Type)
{
    for (PLIST_ENTRY Link = List->Head.Flink; Link != &List->Head; Link = Link->Flink) {
        ECP *Ecp = CONTAINING_RECORD(Link, ECP, Links);
        if (memcmp(&Ecp->Type, Type, sizeof(GUID)) == 0)
            return Ecp;
    }
    return NULL;
}

static VOID ExpUnlinkEcp(ECP *Ecp)
{
    RemoveEntryList(&Ecp->Links);
    InitializeListHead(&Ecp->Links);
}

/* ---- contexts ---- */
NTSTATUS FsRtlAllocateExtraCreateParameter(LPCGUID EcpType, ULONG SizeOfContext, FSRTL_ALLOCATE_ECP_FLAGS Flags,
                                           PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK CleanupCallback, ULONG PoolTag,
                                           PVOID *EcpContext)
{
    const ULONG Type = (Flags & FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL) ? (ULONG)NonPagedPoolNx : (ULONG)PagedPool;
    const SIZE_T Bytes = sizeof(ECP) + (SIZE_T)SizeOfContext;
    ECP *Ecp = (Flags & FSRTL_ALLOCATE_ECP_FLAG_CHARGE_QUOTA)
                   ? ExAllocatePoolWithQuotaTag((POOL_TYPE)(Type | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), Bytes, PoolTag)
                   : ExAllocatePoolWithTag((POOL_TYPE)Type, Bytes, PoolTag);
    *EcpContext = NULL;
    if (Ecp == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    ExpFormatEcp(Ecp, EcpType, SizeOfContext, CleanupCallback);
    *EcpContext = Ecp + 1;
    return STATUS_SUCCESS;
}

VOID FsRtlFreeExtraCreateParameter(PVOID EcpContext)
{
    ECP *Ecp = ExpEcpOf(EcpContext);
    ExpUnlinkEcp(Ecp);
    if (Ecp->Cleanup != NULL)
        KI_CALLOUT(VOID, Ecp->Cleanup, (PVOID, LPCGUID), (EcpContext, &Ecp->Type));
    if (Ecp->Lookaside == NULL)
        ExFreePool(Ecp);
    else if (Ecp->NonPaged)
        ExFreeToNPagedLookasideList(Ecp->Lookaside, Ecp);
    else
        ExFreeToPagedLookasideList(Ecp->Lookaside, Ecp);
}

VOID FsRtlAcknowledgeEcp(PVOID EcpContext)
{
    ExpEcpOf(EcpContext)->Acknowledged = TRUE;
}

BOOLEAN FsRtlIsEcpAcknowledged(PVOID EcpContext)
{
    return ExpEcpOf(EcpContext)->Acknowledged;
}

VOID FsRtlPrepareToReuseEcp(PVOID EcpContext)
{
    ExpEcpOf(EcpContext)->Acknowledged = FALSE;
}

BOOLEAN FsRtlIsEcpFromUserMode(PVOID EcpContext)
{
    UNREFERENCED_PARAMETER(EcpContext);
    return FALSE;
}

/* ---- lists ---- */
NTSTATUS FsRtlAllocateExtraCreateParameterList(FSRTL_ALLOCATE_ECPLIST_FLAGS Flags, PECP_LIST *EcpList)
{
    PECP_LIST List =
        (Flags & FSRTL_ALLOCATE_ECPLIST_FLAG_CHARGE_QUOTA)
            ? ExAllocatePoolWithQuotaTag((POOL_TYPE)(PagedPool | POOL_QUOTA_FAIL_INSTEAD_OF_RAISE), sizeof(*List), ECP_LIST_TAG)
            : ExAllocatePoolWithTag(PagedPool, sizeof(*List), ECP_LIST_TAG);
    *EcpList = List;
    if (List == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    InitializeListHead(&List->Head);
    return STATUS_SUCCESS;
}

VOID FsRtlFreeExtraCreateParameterList(PECP_LIST EcpList)
{
    while (!IsListEmpty(&EcpList->Head))
        FsRtlFreeExtraCreateParameter(CONTAINING_RECORD(EcpList->Head.Flink, ECP, Links) + 1);
    ExFreePoolWithTag(EcpList, ECP_LIST_TAG);
}

NTSTATUS FsRtlInsertExtraCreateParameter(PECP_LIST EcpList, PVOID EcpContext)
{
    ECP *Ecp = ExpEcpOf(EcpContext);
    if (ExpFindEcp(EcpList, &Ecp->Type) != NULL)
        return STATUS_INVALID_PARAMETER;
    InsertTailList(&EcpList->Head, &Ecp->Links);
    return STATUS_SUCCESS;
}

/* What the routines that look for a context tell of it; NULL: there is none. */
static NTSTATUS ExpTellEcp(ECP *Ecp, PVOID *Context, ULONG *Size)
{
    if (Context != NULL)
        *Context = Ecp != NULL ? Ecp + 1 : NULL;
    if (Size != NULL)
        *Size = Ecp != NULL ? Ecp->Size : 0;
    return Ecp != NULL ? STATUS_SUCCESS : STATUS_NOT_FOUND;
}

NTSTATUS FsRtlFindExtraCreateParameter(PECP_LIST EcpList, LPCGUID EcpType, PVOID *EcpContext, ULONG *EcpContextSize)
{
    return ExpTellEcp(ExpFindEcp(EcpList, EcpType), EcpContext, EcpContextSize);
}

NTSTATUS FsRtlRemoveExtraCreateParameter(PECP_LIST EcpList, LPCGUID EcpType, PVOID *EcpContext, ULONG *EcpContextSize)
{
    ECP *Ecp = ExpFindEcp(EcpList, EcpType);
    if (Ecp != NULL)
        ExpUnlinkEcp(Ecp);
    return ExpTellEcp(Ecp, EcpContext, EcpContextSize);
}

NTSTATUS FsRtlGetNextExtraCreateParameter(PECP_LIST EcpList, PVOID CurrentEcpContext, LPGUID NextEcpType, PVOID *NextEcpContext,
                                          ULONG *NextEcpContextSize)
{
    PLIST_ENTRY Link;
    ECP *Ecp = NULL;
    if (EcpList == NULL)
        return STATUS_INVALID_PARAMETER;
    Link = CurrentEcpContext != NULL ? ExpEcpOf(CurrentEcpContext)->Links.Flink : EcpList->Head.Flink;
    if (Link != &EcpList->Head) {
        Ecp = CONTAINING_RECORD(Link, ECP, Links);
        if (NextEcpType != NULL)
            *NextEcpType = Ecp->Type;
    }
    return ExpTellEcp(Ecp, NextEcpContext, NextEcpContextSize);
}

/* ---- lookaside lists ---- */
VOID FsRtlInitExtraCreateParameterLookasideList(PVOID Lookaside, FSRTL_ECP_LOOKASIDE_FLAGS Flags, SIZE_T Size, ULONG Tag)
{
    if (Flags & FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL)
        ExInitializeNPagedLookasideList(Lookaside, NULL, NULL, POOL_NX_ALLOCATION, Size + sizeof(ECP), Tag, 0);
    else
        ExInitializePagedLookasideList(Lookaside, NULL, NULL, 0, Size + sizeof(ECP), Tag, 0);
}

VOID FsRtlDeleteExtraCreateParameterLookasideList(PVOID Lookaside, FSRTL_ECP_LOOKASIDE_FLAGS Flags)
{
    if (Flags & FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL)
        ExDeleteNPagedLookasideList(Lookaside);
    else
        ExDeletePagedLookasideList(Lookaside);
}

NTSTATUS FsRtlAllocateExtraCreateParameterFromLookasideList(LPCGUID EcpType, ULONG SizeOfContext,
                                                            FSRTL_ALLOCATE_ECP_FLAGS Flags,
                                                            PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK CleanupCallback,
                                                            PVOID LookasideList, PVOID *EcpContext)
{
    const GENERAL_LOOKASIDE *List = LookasideList;
    BOOLEAN NonPaged = !(List->Type & PagedPool);
    ECP *Ecp;
    if (SizeOfContext + sizeof(ECP) > List->Size)
        return FsRtlAllocateExtraCreateParameter(EcpType, SizeOfContext, Flags, CleanupCallback, List->Tag, EcpContext);
    *EcpContext = NULL;
    Ecp = NonPaged ? ExAllocateFromNPagedLookasideList(LookasideList) : ExAllocateFromPagedLookasideList(LookasideList);
    if (Ecp == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    ExpFormatEcp(Ecp, EcpType, SizeOfContext, CleanupCallback);
    Ecp->Lookaside = LookasideList;
    Ecp->NonPaged = NonPaged;
    *EcpContext = Ecp + 1;
    return STATUS_SUCCESS;
}
