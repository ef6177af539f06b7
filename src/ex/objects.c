/*
 * objects.c - which ERESOURCEs are in use, for Driver Verifier's miscellaneous checks. SPDX-License-Identifier: MIT
 *
 * With the option (0x800) every initialised resource is entered here, by address, until it is deleted: so one that is initialised
 * twice is told (0xC4/0xD0), and one that lies in memory that is freed is found (ExpFindResource; 0xC4/0xD2). Resources
 * initialised before the option was turned on are not known, and are not accused. Without memory for a record the resource is
 * not known either.
 *
 * ObjectsLock (leaf) guards the table; records are never given back while it is held. Any IRQL.
 */
#include "ex/exp.h"

#define OBJECT_BUCKETS 64u
#define VERIFIER_MISC  0x800u

typedef struct _OBJECT_RECORD {
    struct _OBJECT_RECORD *Next;
    const VOID *Object;
} OBJECT_RECORD;

static KI_LOCK ObjectsLock;
static OBJECT_RECORD *ExpObjects[OBJECT_BUCKETS];
static ULONG ExpObjectCount;

VOID ExpResetObjects(VOID)
{
    memset(ExpObjects, 0, sizeof(ExpObjects));
    ExpObjectCount = 0;
}

static OBJECT_RECORD **ExpObjectBucket(const VOID *Object)
{
    return &ExpObjects[((ULONG_PTR)Object >> 3) * 0x9E3779B97F4A7C15ull >> 58];
}

VOID ExpNoteResource(const VOID *Resource)
{
    OBJECT_RECORD *Record, *Known;
    if (__builtin_expect(!(KeOptions.VerifierFlags & VERIFIER_MISC), 1))
        return;
    Record = ExpMetaAllocate(ExpMetaOther, sizeof(OBJECT_RECORD));
    KiAcquireLock(&ObjectsLock);
    for (Known = *ExpObjectBucket(Resource); Known != NULL && Known->Object != Resource;)
        Known = Known->Next;
    if (Known == NULL && Record != NULL) {
        Record->Object = Resource;
        Record->Next = *ExpObjectBucket(Resource);
        *ExpObjectBucket(Resource) = Record;
        Record = NULL;
        ExpObjectCount++;
    }
    KiReleaseLock(&ObjectsLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
    if (Known != NULL)
        KiStop(0xC4, "An ERESOURCE was initialised that is initialised already.", Resource, 0xD0, (ULONG_PTR)Resource, 0, 0);
}

VOID ExpForgetResource(const VOID *Resource)
{
    OBJECT_RECORD **Link, *Record;
    if (__atomic_load_n(&ExpObjectCount, __ATOMIC_RELAXED) == 0)
        return;
    KiAcquireLock(&ObjectsLock);
    for (Link = ExpObjectBucket(Resource); (Record = *Link) != NULL && Record->Object != Resource;)
        Link = &Record->Next;
    if (Record != NULL) {
        *Link = Record->Next;
        ExpObjectCount--;
    }
    KiReleaseLock(&ObjectsLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
}

PVOID ExpFindResource(const VOID *Base, SIZE_T Bytes)
{
    const VOID *Found = NULL;
    if (__atomic_load_n(&ExpObjectCount, __ATOMIC_RELAXED) == 0)
        return NULL;
    KiAcquireLock(&ObjectsLock);
    for (ULONG Bucket = 0; Bucket < OBJECT_BUCKETS && Found == NULL; Bucket++)
        for (const OBJECT_RECORD *Record = ExpObjects[Bucket]; Record != NULL && Found == NULL; Record = Record->Next)
            if ((ULONG_PTR)Record->Object - (ULONG_PTR)Base < Bytes)
                Found = Record->Object;
    KiReleaseLock(&ObjectsLock);
    return (PVOID)(ULONG_PTR)Found;
}
