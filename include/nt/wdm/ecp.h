/*
 * ecp.h - extra create parameters: what file systems and their filters pass along with a create request. SPDX-License-Identifier: MIT
 *
 * An ECP is a context of its owner's, of a type that a GUID names; a list holds at most one of each type. The caller sees the context's
 * address, never what lies before it. The list travels with an IRP_MJ_CREATE, or is kept by who made it. IRQL <= APC_LEVEL.
 */
#ifndef _NTMM_ECP_
#define _NTMM_ECP_

typedef struct _ECP_LIST ECP_LIST, *PECP_LIST;
typedef ULONG FSRTL_ALLOCATE_ECPLIST_FLAGS;
typedef ULONG FSRTL_ALLOCATE_ECP_FLAGS;
typedef ULONG FSRTL_ECP_LOOKASIDE_FLAGS;
#define FSRTL_ALLOCATE_ECPLIST_FLAG_CHARGE_QUOTA 0x00000001
#define FSRTL_ALLOCATE_ECP_FLAG_CHARGE_QUOTA     0x00000001
#define FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL    0x00000002
#define FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL   0x00000002
typedef VOID FSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK(PVOID EcpContext, LPCGUID EcpType);
typedef FSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK *PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK;

EXTERN_C_START
/* A context of SizeOfContext bytes, contents undefined, of paged pool; FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL: nonpaged; _CHARGE_QUOTA: charged to the
 * current process. The callback is called as it is freed. STATUS_INSUFFICIENT_RESOURCES, and *EcpContext is NULL.
 * Page: FsRtlAllocateExtraCreateParameter */
_Must_inspect_result_
NTKERNELAPI NTSTATUS FsRtlAllocateExtraCreateParameter(LPCGUID EcpType, ULONG SizeOfContext, FSRTL_ALLOCATE_ECP_FLAGS Flags,
                                                       PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK CleanupCallback,
                                                       ULONG PoolTag, PVOID *EcpContext);
/* Frees a context that is in no list: its callback, then its memory, or back to its lookaside list. Page: FsRtlFreeExtraCreateParameter */
NTKERNELAPI VOID FsRtlFreeExtraCreateParameter(PVOID EcpContext);
/* An empty list, of paged pool. STATUS_INSUFFICIENT_RESOURCES, and *EcpList is NULL. Page: FsRtlAllocateExtraCreateParameterList */
_Must_inspect_result_
NTKERNELAPI NTSTATUS FsRtlAllocateExtraCreateParameterList(FSRTL_ALLOCATE_ECPLIST_FLAGS Flags, PECP_LIST *EcpList);
/* Frees the list and the contexts in it. Page: FsRtlFreeExtraCreateParameterList */
NTKERNELAPI VOID FsRtlFreeExtraCreateParameterList(PECP_LIST EcpList);
/* STATUS_INVALID_PARAMETER: there is one of that type in the list. Page: FsRtlInsertExtraCreateParameter */
NTKERNELAPI NTSTATUS FsRtlInsertExtraCreateParameter(PECP_LIST EcpList, PVOID EcpContext);
/* The context of a type and its size, each optional. STATUS_NOT_FOUND: NULL and 0. Page: FsRtlFindExtraCreateParameter */
NTKERNELAPI NTSTATUS FsRtlFindExtraCreateParameter(PECP_LIST EcpList, LPCGUID EcpType, PVOID *EcpContext,
                                                   ULONG *EcpContextSize);
/* The same, and takes it out of the list. STATUS_NOT_FOUND: NULL. Page: FsRtlRemoveExtraCreateParameter */
NTKERNELAPI NTSTATUS FsRtlRemoveExtraCreateParameter(PECP_LIST EcpList, LPCGUID EcpType, PVOID *EcpContext,
                                                     ULONG *EcpContextSize);
/* The context behind CurrentEcpContext, the first if that is NULL. STATUS_NOT_FOUND: there is none, NULL and 0; STATUS_INVALID_PARAMETER: no
 * list. Page: FsRtlGetNextExtraCreateParameter */
NTKERNELAPI NTSTATUS FsRtlGetNextExtraCreateParameter(PECP_LIST EcpList, PVOID CurrentEcpContext, LPGUID NextEcpType,
                                                      PVOID *NextEcpContext, ULONG *NextEcpContextSize);
/* Pages: FsRtlAcknowledgeEcp, FsRtlIsEcpAcknowledged, FsRtlPrepareToReuseEcp (not acknowledged any more), FsRtlIsEcpFromUserMode (FALSE here:
 * user mode makes none) */
NTKERNELAPI VOID FsRtlAcknowledgeEcp(PVOID EcpContext);
NTKERNELAPI BOOLEAN FsRtlIsEcpAcknowledged(PVOID EcpContext);
NTKERNELAPI VOID FsRtlPrepareToReuseEcp(PVOID EcpContext);
NTKERNELAPI BOOLEAN FsRtlIsEcpFromUserMode(PVOID EcpContext);
/* Lookaside: a PAGED_LOOKASIDE_LIST, or with FSRTL_ECP_LOOKASIDE_FLAG_NONPAGED_POOL an NPAGED_LOOKASIDE_LIST, in nonpaged memory; Size: of a
 * context. Pages: FsRtlInitExtraCreateParameterLookasideList, FsRtlDeleteExtraCreateParameterLookasideList (the same Flags; contexts that were
 * not freed stay) */
NTKERNELAPI VOID FsRtlInitExtraCreateParameterLookasideList(PVOID Lookaside, FSRTL_ECP_LOOKASIDE_FLAGS Flags, SIZE_T Size,
                                                            ULONG Tag);
NTKERNELAPI VOID FsRtlDeleteExtraCreateParameterLookasideList(PVOID Lookaside, FSRTL_ECP_LOOKASIDE_FLAGS Flags);
/* A context from such a list; one that is larger than the list's is allocated from pool, as by FsRtlAllocateExtraCreateParameter with the
 * list's tag. STATUS_INSUFFICIENT_RESOURCES, and *EcpContext is NULL. Page: FsRtlAllocateExtraCreateParameterFromLookasideList */
_Must_inspect_result_
NTKERNELAPI NTSTATUS FsRtlAllocateExtraCreateParameterFromLookasideList(
    LPCGUID EcpType, ULONG SizeOfContext, FSRTL_ALLOCATE_ECP_FLAGS Flags,
    PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK CleanupCallback, PVOID LookasideList, PVOID *EcpContext);
EXTERN_C_END

#endif
