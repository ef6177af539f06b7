/*
 * fsrtllock.c - locks that the file system library hands out. SPDX-License-Identifier: MIT
 *
 * Implements FsRtlAllocateAePushLock, FsRtlFreeAePushLock, FsRtlAllocateResource.
 *
 * An auto-expand push lock is one that Windows spreads over the processors when it is contended; no routine for drivers acquires it (it
 * belongs to the header of an FCB, whose contexts the system keeps). Here it is a push lock alone in its cache line. A resource is one of
 * IopResources, which start free with the system and go with it; drivers that are given the same one share it.
 */
#include "io/iopp.h"

#define IOP_RESOURCES 16u

typedef union _IOP_AE_PUSH_LOCK {
    EX_PUSH_LOCK Lock;
    UCHAR Line[SYSTEM_CACHE_ALIGNMENT_SIZE];
} IOP_AE_PUSH_LOCK;

static ERESOURCE IopResources[IOP_RESOURCES];
static ULONG IopNextResource;

PVOID FsRtlAllocateAePushLock(POOL_TYPE PoolType, ULONG Tag)
{
    IOP_AE_PUSH_LOCK *AePushLock = ExAllocatePoolWithTag(PoolType, sizeof *AePushLock, Tag);
    if (AePushLock != NULL)
        ExInitializePushLock(&AePushLock->Lock);
    return AePushLock;
}

VOID FsRtlFreeAePushLock(PVOID AePushLock)
{
    ExFreePool(AePushLock);
}

PERESOURCE FsRtlAllocateResource(VOID)
{
    return &IopResources[__atomic_fetch_add(&IopNextResource, 1, __ATOMIC_RELAXED) % IOP_RESOURCES];
}

NTSTATUS IopInitFsRtl(VOID)
{
    NTSTATUS Status = STATUS_SUCCESS;
    IopNextResource = 0;
    for (ULONG Index = 0; Index < IOP_RESOURCES && NT_SUCCESS(Status); Index++)
        Status = ExInitializeResourceLite(&IopResources[Index]);
    return Status;
}

VOID IopShutdownFsRtl(VOID)
{
    for (ULONG Index = 0; Index < IOP_RESOURCES; Index++)
        ExDeleteResourceLite(&IopResources[Index]);
}
