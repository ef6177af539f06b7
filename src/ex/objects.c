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
 * A bucket has the objects of some pages, so that who frees a block looks into those of its own pages alone; that one is empty
 * is seen without the lock.
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

VOID ExpResetObjects(VOID)
{
    memset(ExpObjects, 0, sizeof(ExpObjects));
}

static OBJECT_RECORD **ExpObjectBucket(EXP_OBJECT_KIND Kind, const VOID *Object)
{
    return &ExpObjects[Kind][((ULONG_PTR)Object >> PAGE_SHIFT) * 0x9E3779B97F4A7C15ull >> 58];
}

/* The Index-th bucket that objects inside [Base, Base + Bytes) can be in, or NULL: there are no more. */
static OBJECT_RECORD **ExpBucketInside(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes, ULONG Index)
{
    SIZE_T Pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(Base, Bytes);
    if (Index >= OBJECT_BUCKETS || Index >= Pages)
        return NULL;
    return Pages < OBJECT_BUCKETS ? ExpObjectBucket(Kind, (const UCHAR *)Base + ((SIZE_T)Index << PAGE_SHIFT))
                                  : &ExpObjects[Kind][Index];
}

static BOOLEAN ExpIsEmptyBucket(OBJECT_RECORD *const *Bucket)
{
    return __atomic_load_n(Bucket, __ATOMIC_RELAXED) == NULL;
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
        __atomic_store_n(ExpObjectBucket(Kind, Object), Record, __ATOMIC_RELAXED);
        Record = NULL;
    }
    KiReleaseLock(&ObjectsLock);
    if (Record != NULL)
        ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
    return Known;
}

/* Takes out the first record inside [Base, Base + Bytes) of one bucket, or NULL. Lock held. */
static OBJECT_RECORD *ExpTakeRecord(OBJECT_RECORD **Link, const VOID *Base, SIZE_T Bytes)
{
    OBJECT_RECORD *Record;
    while ((Record = *Link) != NULL && (ULONG_PTR)Record->Object - (ULONG_PTR)Base >= Bytes)
        Link = &Record->Next;
    if (Record != NULL)
        __atomic_store_n(Link, Record->Next, __ATOMIC_RELAXED);
    return Record;
}

/* Takes out and gives back every record inside [Base, Base + Bytes) of one bucket. */
static VOID ExpForgetInBucket(OBJECT_RECORD **Bucket, const VOID *Base, SIZE_T Bytes)
{
    while (!ExpIsEmptyBucket(Bucket)) {
        KiAcquireLock(&ObjectsLock);
        OBJECT_RECORD *Record = ExpTakeRecord(Bucket, Base, Bytes);
        KiReleaseLock(&ObjectsLock);
        if (Record == NULL)
            return;
        ExpMetaFree(ExpMetaOther, Record, sizeof(OBJECT_RECORD));
    }
}

VOID ExpForgetObject(EXP_OBJECT_KIND Kind, const VOID *Object)
{
    ExpForgetInBucket(ExpObjectBucket(Kind, Object), Object, 1);
}

VOID ExpForgetObjects(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes)
{
    OBJECT_RECORD **Bucket;
    for (ULONG Index = 0; (Bucket = ExpBucketInside(Kind, Base, Bytes, Index)) != NULL; Index++)
        ExpForgetInBucket(Bucket, Base, Bytes);
}

PVOID ExpFindObject(EXP_OBJECT_KIND Kind, const VOID *Base, SIZE_T Bytes)
{
    OBJECT_RECORD **Bucket;
    const VOID *Found = NULL;
    for (ULONG Index = 0; Found == NULL && (Bucket = ExpBucketInside(Kind, Base, Bytes, Index)) != NULL; Index++) {
        if (ExpIsEmptyBucket(Bucket))
            continue;
        KiAcquireLock(&ObjectsLock);
        for (const OBJECT_RECORD *Record = *Bucket; Record != NULL && Found == NULL; Record = Record->Next)
            if ((ULONG_PTR)Record->Object - (ULONG_PTR)Base < Bytes)
                Found = Record->Object;
        KiReleaseLock(&ObjectsLock);
    }
    return (PVOID)(ULONG_PTR)Found;
}
