/*
 * object.c - object headers, types and reference counts. SPDX-License-Identifier: MIT
 *
 * Implements ObfReferenceObject, ObfDereferenceObject, ObDereferenceObjectDeferDelete, ObReferenceObjectByPointer,
 * ObGetObjectType and the type pointers of the object manager. The header, its states and its invariants are in ob.h.
 *
 * A reference is one interlocked add on a count that must be positive before. The header's Magic tells a live object from
 * everything else, so taking or dropping a reference of something that is no object, or no longer one, stops with
 * REFERENCE_BY_POINTER (0x18): parameter 1 the type if it is known, 2 the object, 3 and 4 zero (reserved).
 *
 *            ObpCreateObject                 ObfDereferenceObject, count 1 -> 0
 *     block ----------------> alive ----------------------------------------> dead --Delete--> freed
 *                                              (IRQL > PASSIVE or deferred: waits on ObpDeferred for the worker)
 *
 * Locks: ObpDeferredLock (leaf). Counts are atomic. The header of a freed object may be read (that is how a late
 * dereference is recognised), so the reader is exempt from sanitizers' checks.
 * Watch: ObpDirectoryType.Objects and its like; ObpValidate(); tests/unit/ob_object_test.c, tests/misuse/ob_overdereference.c.
 */
#include "ob/obp.h"

static LIST_ENTRY ObpDeferred = {&ObpDeferred, &ObpDeferred};
static KI_LOCK ObpDeferredLock;
static BOOLEAN ObpDeferredBusy;
static WORK_QUEUE_ITEM ObpDeferredItem;

/* Reads the words that identify a header without a sanitizer's opinion: the block may be a freed one. */
KI_NO_MSAN __attribute__((no_sanitize("address", "thread"), noinline)) static ULONG
ObpReadMagic(const volatile OB_HEADER *Header)
{
    return Header->Magic;
}
KI_NO_MSAN __attribute__((no_sanitize("address", "thread"), noinline)) static POBJECT_TYPE
ObpReadType(const volatile OB_HEADER *Header)
{
    return Header->Type;
}

static BOOLEAN ObpIsPlausible(const volatile VOID *Object)
{
    ULONG_PTR Va = (ULONG_PTR)Object;
    if (Va < 0x10000 || (Va & 7) != 0)
        return FALSE;
    if (HalIsSystemAddress(Va))
        return HalTranslate(Va - sizeof(OB_HEADER), &(PHYSICAL_ADDRESS){.QuadPart = 0});
    if (HalIsUserAddress(Va))
        return FALSE;
    return HalProbeHostMemory((const VOID *)(Va - sizeof(OB_HEADER)), sizeof(OB_HEADER), FALSE);
}

POBJECT_TYPE ObpTypeOf(const volatile VOID *Object)
{
    if (!ObpIsPlausible(Object))
        return NULL;
    POB_HEADER Header = ObpHeader(Object);
    return ObpReadMagic(Header) == OBP_MAGIC ? ObpReadType(Header) : NULL;
}

/* Change: what was done to the count; the Verifier has a stop of its own for it. */
DECLSPEC_NORETURN static VOID ObpBadReference(PVOID Object, LONG_PTR Change, const VOID *Caller, const CHAR *Words)
{
    POBJECT_TYPE Type = NULL;
    if (ObpIsPlausible(Object)) {
        ULONG Magic = ObpReadMagic(ObpHeader(Object));
        if (Magic == OBP_MAGIC || Magic == OBP_DEAD)
            Type = ObpReadType(ObpHeader(Object));
    }
    if (KiVerifies(KI_ANY_OPTION, Caller))
        KiStop(DRIVER_VERIFIER_DETECTED_VIOLATION, Words, NULL, 0x3F, (ULONG_PTR)Object, (ULONG_PTR)Change, 0);
    KiStop(REFERENCE_BY_POINTER, Words, NULL, (ULONG_PTR)Type, (ULONG_PTR)Object, 0, 0);
}

VOID ObpInitializeStatic(POBJECT_TYPE Type, PVOID Object)
{
    POB_HEADER Header = ObpHeader(Object);
    memset(Header, 0, sizeof *Header);
    Header->Type = Type;
    Header->Flags = OBP_F_KERNEL;
    Header->PointerCount = 1;
    InitializeListHead(&Header->DirectoryLink);
    __atomic_add_fetch(&Type->Objects, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&Header->Magic, OBP_MAGIC, __ATOMIC_RELEASE);
}

NTSTATUS ObpCreateObject(POBJECT_TYPE Type, SIZE_T BodySize, PVOID *Object)
{
    POB_HEADER Header = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(OB_HEADER) + BodySize, Type->Tag);
    *Object = NULL;
    if (Header == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    ObpInitializeStatic(Type, ObpBody(Header));
    Header->Flags = 0;
    *Object = ObpBody(Header);
    return STATUS_SUCCESS;
}

BOOLEAN ObpTryReference(PVOID Object)
{
    POB_HEADER Header = ObpHeader(Object);
    LONG64 Count = __atomic_load_n(&Header->PointerCount, __ATOMIC_RELAXED);
    while (Count > 0)
        if (__atomic_compare_exchange_n(&Header->PointerCount, &Count, Count + 1, TRUE, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return TRUE;
    return FALSE;
}

LONG64 ObpPointerCount(PVOID Object)
{
    return __atomic_load_n(&ObpHeader(Object)->PointerCount, __ATOMIC_RELAXED);
}

LONG ObpHandleCount(PVOID Object)
{
    return __atomic_load_n(&ObpHeader(Object)->HandleCount, __ATOMIC_RELAXED);
}

static VOID ObpDelete(POB_HEADER Header)
{
    POBJECT_TYPE Type = Header->Type;
    ObpForgetName(Header);
    if (Type->Delete)
        Type->Delete(ObpBody(Header));
    __atomic_sub_fetch(&Type->Objects, 1, __ATOMIC_RELAXED);
    if (Header->Flags & OBP_F_KERNEL)
        return;
    ExFreePoolWithTag(Header, Type->Tag);
}

static VOID ObpRunDeferred(PVOID Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    for (;;) {
        POB_HEADER Header = NULL;
        KiAcquireLock(&ObpDeferredLock);
        if (IsListEmpty(&ObpDeferred))
            ObpDeferredBusy = FALSE;
        else
            Header = CONTAINING_RECORD(RemoveHeadList(&ObpDeferred), OB_HEADER, DeferredLink);
        KiReleaseLock(&ObpDeferredLock);
        if (Header == NULL)
            return;
        ObpDelete(Header);
    }
}

static VOID ObpDefer(POB_HEADER Header)
{
    KiAcquireLock(&ObpDeferredLock);
    BOOLEAN Start = !ObpDeferredBusy;
    ObpDeferredBusy = TRUE;
    InsertTailList(&ObpDeferred, &Header->DeferredLink);
    KiReleaseLock(&ObpDeferredLock);
    if (!Start)
        return;
    ExInitializeWorkItem(&ObpDeferredItem, ObpRunDeferred, NULL);
    ExQueueWorkItem(&ObpDeferredItem, DelayedWorkQueue);
}

LONG_PTR ObfReferenceObject(PVOID Object)
{
    if (ObpTypeOf(Object) == NULL)
        ObpBadReference(Object, 1, __builtin_return_address(0),
                        "A reference was taken on something that is not a live object.");
    LONG64 New = __atomic_add_fetch(&ObpHeader(Object)->PointerCount, 1, __ATOMIC_ACQ_REL);
    if (New <= 1) {
        __atomic_sub_fetch(&ObpHeader(Object)->PointerCount, 1, __ATOMIC_ACQ_REL);
        ObpBadReference(Object, 1, __builtin_return_address(0),
                        "A reference was taken on an object whose count had already reached zero.");
    }
    return New;
}

static LONG_PTR ObpDereference(PVOID Object, BOOLEAN Defer, const VOID *Caller)
{
    POBJECT_TYPE Type = ObpTypeOf(Object);
    if (Type == NULL)
        ObpBadReference(Object, -1, Caller,
                        "A reference was dropped on something that is not a live object: dereferenced once too often, or "
                        "never an object.");
    POB_HEADER Header = ObpHeader(Object);
    LONG HandleCount = __atomic_load_n(&Header->HandleCount, __ATOMIC_ACQUIRE);
    LONG64 New = __atomic_sub_fetch(&Header->PointerCount, 1, __ATOMIC_ACQ_REL);
    if (New > 0)
        return New;
    if (New < 0 || HandleCount > 0 || (Header->Flags & OBP_F_KERNEL)) {
        /* Put back: whoever catches the stop finds the object as it was. */
        __atomic_add_fetch(&Header->PointerCount, 1, __ATOMIC_ACQ_REL);
        ObpBadReference(Object, -1, Caller,
                        HandleCount > 0 ? "An object with open handles lost its last reference: dereferenced once too often."
                                        : "An object was dereferenced more often than it was referenced.");
    }
    __atomic_store_n(&Header->Magic, OBP_DEAD, __ATOMIC_RELEASE);
    if (Defer || KeGetCurrentIrql() != PASSIVE_LEVEL)
        ObpDefer(Header);
    else
        ObpDelete(Header);
    return 0;
}

LONG_PTR ObfDereferenceObject(PVOID Object)
{
    return ObpDereference(Object, FALSE, __builtin_return_address(0));
}

VOID ObDereferenceObjectDeferDelete(PVOID Object)
{
    ObpDereference(Object, TRUE, __builtin_return_address(0));
}

LONG_PTR ObfReferenceObjectWithTag(PVOID Object, ULONG Tag)
{
    UNREFERENCED_PARAMETER(Tag);
    return ObfReferenceObject(Object);
}

LONG_PTR ObfDereferenceObjectWithTag(PVOID Object, ULONG Tag)
{
    UNREFERENCED_PARAMETER(Tag);
    return ObpDereference(Object, FALSE, __builtin_return_address(0));
}

VOID ObDereferenceObjectDeferDeleteWithTag(PVOID Object, ULONG Tag)
{
    UNREFERENCED_PARAMETER(Tag);
    ObpDereference(Object, TRUE, __builtin_return_address(0));
}

NTSTATUS ObReferenceObjectByPointer(PVOID Object, ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
                                    KPROCESSOR_MODE AccessMode)
{
    UNREFERENCED_PARAMETER(DesiredAccess);
    POBJECT_TYPE Type = ObpTypeOf(Object);
    if (Type == NULL)
        ObpBadReference(Object, 1, __builtin_return_address(0),
                        "A reference was taken on something that is not a live object.");
    /* A symbolic link is referenced by kernel callers without naming its type. */
    if (Type != ObjectType && (AccessMode != KernelMode || ObjectType != NULL))
        return STATUS_OBJECT_TYPE_MISMATCH;
    ObfReferenceObject(Object);
    return STATUS_SUCCESS;
}

NTSTATUS ObReferenceObjectByPointerWithTag(PVOID Object, ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
                                           KPROCESSOR_MODE AccessMode, ULONG Tag)
{
    UNREFERENCED_PARAMETER(Tag);
    return ObReferenceObjectByPointer(Object, DesiredAccess, ObjectType, AccessMode);
}

POBJECT_TYPE ObGetObjectType(PVOID Object)
{
    return ObpTypeOf(Object);
}
