/*
 * pool3.c - the pool routines with extended parameters. SPDX-License-Identifier: MIT
 *
 * Implements ExAllocatePool3 and ExFreePool2. A parameter is a type, a bit that says whether it is optional, reserved bits
 * that are zero, and a value:
 *
 *    type               value                              does not do when
 *    Priority           EX_POOL_PRIORITY                   no such priority
 *    SecurePool         POOL_EXTENDED_PARAMS_SECURE_POOL   not with POOL_FLAG_NON_PAGED; bad handle, cookie flags (secure.c)
 *    NumaNode           node, or MM_ANY_NODE_OK with it    not with POOL_FLAG_NON_PAGED; no such node
 *    anything else                                         always
 *
 * Without MM_ANY_NODE_OK the call fails if the node has no room; with it another node's pages do, and a node that is none is ignored.
 * A parameter that does not do fails the call, or is ignored where it is optional. Of two of one type the last counts. A count of 0 is none.
 * A free takes no parameter for an ordinary block, and exactly one, SecurePool, for a secure one; anything else stops.
 */
#include "ex/exp.h"

typedef struct _POOL3_REQUEST {
    EX_POOL_PRIORITY Priority;
    const POOL_EXTENDED_PARAMS_SECURE_POOL *Secure;
    ULONG Node;        /* 1 + the node that its pages are wanted from; 0: none named, or there is only one */
    BOOLEAN OtherNode; /* will do too */
} POOL3_REQUEST;

static BOOLEAN ExpTakeParameter(POOL_FLAGS Flags, PCPOOL_EXTENDED_PARAMETER Parameter, POOL3_REQUEST *Request)
{
    ULONG Value;
    if (Parameter->Reserved != 0)
        return FALSE;
    switch (Parameter->Type) {
    case PoolExtendedParameterPriority:
        Value = (ULONG)Parameter->Priority;
        if ((Value & ~0x39u) != 0 || (Value & 0x30) == 0x30 || (Value & 9) == 1)
            return FALSE;
        Request->Priority = (EX_POOL_PRIORITY)Value;
        return TRUE;
    case PoolExtendedParameterNumaNode:
        Value = Parameter->PreferredNode & ~MM_ANY_NODE_OK;
        if (!(Flags & POOL_FLAG_NON_PAGED) ||
            (Value > KeQueryHighestNodeNumber() && !(Parameter->PreferredNode & MM_ANY_NODE_OK)))
            return FALSE;
        if (Value <= KeQueryHighestNodeNumber() && KeQueryHighestNodeNumber() != 0)
            Request->Node = Value + 1;
        Request->OtherNode = (Parameter->PreferredNode & MM_ANY_NODE_OK) != 0;
        return TRUE;
    case PoolExtendedParameterSecurePool:
        if (!(Flags & POOL_FLAG_NON_PAGED) || !ExpIsSecureRequest(Parameter->SecurePoolParams))
            return FALSE;
        Request->Secure = Parameter->SecurePoolParams;
        return TRUE;
    default:
        return FALSE;
    }
}

PVOID ExAllocatePool3(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag, PCPOOL_EXTENDED_PARAMETER ExtendedParameters,
                      ULONG ExtendedParametersCount)
{
    POOL3_REQUEST Request = {HighPoolPriority, NULL, 0, FALSE};
    ULONG Index;
    (VOID) KiCurrentThread(); /* first: it may be what starts the system */
    if (ExtendedParameters == NULL && ExtendedParametersCount != 0)
        return ExpFailFlags(Flags);
    for (Index = 0; Index < ExtendedParametersCount; Index++)
        if (!ExpTakeParameter(Flags, &ExtendedParameters[Index], &Request) && !ExtendedParameters[Index].Optional)
            return ExpFailFlags(Flags);
    if (Request.Node != 0)
        Request.Priority = EXP_ON_NODE(Request.Priority, Request.Node - 1, !Request.OtherNode);
    if (Request.Secure != NULL)
        return ExpAllocateSecure(Flags, NumberOfBytes, Tag, Request.Secure, Request.Priority);
    return ExpAllocateFlags(Flags, NumberOfBytes, Tag, Request.Priority, (ULONG_PTR)__builtin_return_address(0));
}

VOID ExFreePool2(PVOID P, ULONG Tag, PCPOOL_EXTENDED_PARAMETER ExtendedParameters, ULONG ExtendedParametersCount)
{
    (VOID) KiCurrentThread();
    if (ExtendedParameters == NULL && ExtendedParametersCount == 0) {
        ExFreePoolWithTag(P, Tag);
        return;
    }
    if (ExtendedParameters == NULL || ExtendedParametersCount != 1 || ExtendedParameters->Reserved != 0 ||
        ExtendedParameters->Type != PoolExtendedParameterSecurePool || ExtendedParameters->SecurePoolParams == NULL)
        KiStop(0xC2, "ExFreePool2 was given extended parameters that are not exactly one that names a secure pool.", P, 0x99,
               (ULONG_PTR)P, 0, 0);
    ExpFreeSecure(P, Tag, ExtendedParameters->SecurePoolParams);
}
