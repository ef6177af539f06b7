/*
 * objects.c - which ERESOURCEs and remove locks are in use, for Driver Verifier. SPDX-License-Identifier: MIT
 *
 * Every object of a kind whose option is on is entered here, by address, when it is initialised, until it is deleted:
 *
 *   kind                 option       initialised twice   in memory that is freed
 *   ExpObjectResource    misc 0x800   0xC4/0xD0           0xC4/0xD2 (vf/misc.c)
 *   ExpObjectRemoveLock  io 0x10      0xC4/0xD7           forgotten: the memory is another's then
 *
 * What was initialised before the option was turned on is not known, and is not accused. Without memory for a record the object is
 * not known either.
 *
 * ObjectsLock (leaf) guards the table; records are never given back while it is held. Any IRQL.
 */
#include "ex/exp.h"

#define OBJECT_BUCKETS 64u

typedef struct _OBJECT_RECORD {
    struct _OBJECT_RECORD *Next;
    const VOID *Object;
} OBJECT_RECORD;

static KI_LOCK ObjectsLock;
static OBJECT_RECORD *ExpObjects[ExpObjectKinds][OBJECT_BUCKETS];
static ULONG ExpObjectCount[ExpObjectKinds];

VOID ExpResetObjects(VOID)
{
    memset(ExpObjects, 0, sizeof(ExpObjects));
    memset(ExpObjectCount, 0, sizeof(ExpObjectCount));
}

static OBJECT_RECORD **ExpObjectBucket(EXP_OBJECT_KIND Kind, const VOID *Object)
{
    return &ExpObjects[Kind][((ULONG_PTR)Object >> 3) * 0x9E3779B97F4A7C15ull >> 58];
}

const VOID *ExpNoteObject(EXP_OBJECT_KIND Kind, const VOID *Object)
{
    OBJECT_RECORD *Record = ExpMetaAllocate(ExpMetaOther, sizeof(OBJECT_RECORD)), *Known;
    KiAcquireLock(&ObjectsLock);
    for (Known = *ExpObjectBucket(Kind, Object); Known != NULL && Known->Object != Object;)
        Known = Known->Next;
    if (Known == NULL && Record != NULL) {
        Record->Object = Object;
        Record->Next = *ExpObjectBucket(Kind, Object);
        *ExpObjectBucket(Kind, Object) = Record;
        Record = NULL;
        __atomic_fetch_add(&ExpObjectCount[Kind], 1, __ATOMIC_RELAXED);
    }
    KiReleaseLock(&ObjectsLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
    return Known;
}

/* Takes out the first record inside [Base, Base + Bytes) of one bucket, or NULL. Lock held. */
static OBJECT_RECORD *ExpTakeRecord(EXP_OBJECT_KIND Kind, OBJECT_RECORD **Link, const VOID *Base, SIZE_T Bytes)
{
    OBJECT_RECORD *Record;
    while ((Record = *Link) != NULL && (ULONG_PTR)Record->Object - (ULONG_PTR)Base >= Bytes)
        Link = &Record->Next;
    if (Record != NULL) {
        *Link = Record->Next;
        __atomic_fetch_sub(&ExpObjectCount[Kind], 1, __ATOMIC_RELAXED);
    }
    return Record;
}

VOID ExpForgetObject(EXP_OBJECT_KIND Kind, const VOID *Object)
{
    if (__atomic_load_n(&ExpObjectCount[Kind], __ATOMIC_RELAXED) == 0)
        return;
    KiAcquireLock(&ObjectsLock);
    OBJECT_RECORD *Record = ExpTakeRecord(Kind, ExpObjectBucket(Kind, Object), Object, 1);
    KiReleaseLock(&ObjectsLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
}

VOID ExpForgetObjects(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes)
{
    OBJECT_RECORD *Record;
    if (__atomic_load_n(&ExpObjectCount[Kind], __ATOMIC_RELAXED) == 0)
        return;
    for (ULONG Bucket = 0; Bucket < OBJECT_BUCKETS; Bucket++)
        do {
            KiAcquireLock(&ObjectsLock);
            Record = ExpTakeRecord(Kind, &ExpObjects[Kind][Bucket], Base, Bytes);
            KiReleaseLock(&ObjectsLock);
            if (Record != NULL)
                ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
        } while (Record != NULL);
}

PVOID ExpFindObject(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes)
{
    const VOID *Found = NULL;
    if (__atomic_load_n(&ExpObjectCount[Kind], __ATOMIC_RELAXED) == 0)
        return NULL;
    KiAcquireLock(&ObjectsLock);
    for (ULONG Bucket = 0; Bucket < OBJECT_BUCKETS && Found == NULL; Bucket++)
        for (const OBJECT_RECORD *Record = ExpObjects[Kind][Bucket]; Record != NULL && Found == NULL; Record = Record->Next)
            if ((ULONG_PTR)Record->Object - (ULONG_PTR)Base < Bytes)
                Found = Record->Object;
    KiReleaseLock(&ObjectsLock);
    return (PVOID)(ULONG_PTR)Found;
}
