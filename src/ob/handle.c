/*
 * handle.c - handle tables. SPDX-License-Identifier: MIT
 *
 * Implements ZwClose, ObCloseHandle, ZwDuplicateObject, ObReferenceObjectByHandle(WithTag), ObOpenObjectByPointer(WithTag),
 * ObSetHandleAttributes, ZwQueryObject (its basic, name and type information).
 *
 * A table is an array of entries; a handle is four times (index + 1), and for the kernel's table also has the bits of
 * OBP_KERNEL_BIT set when it was made with OBJ_KERNEL_HANDLE, so that it means the same in every process. The System
 * process's own table is the kernel's.
 *
 *     handle  FFFFFFFF 8000000C          entry 2: { Object, Access, Attributes } -> body
 *             \___ kernel ___/\_ 4*(2+1)  free:   { NULL, next free index + 1 }
 *
 * An entry holds one reference and one of the object's handle counts (invariant 4 of ob.h). Only kernel callers use these
 * routines, so access is checked only where a caller says UserMode.
 *
 * Locks: one KI_LOCK per table, leaf. An object's Close and Delete run after it is released. Tables grow outside the lock.
 * Watch: ObpEnumerateHandles, ObpValidateHandles; tests/unit/ob_handle_test.c.
 */
#include "ob/obp.h"

#define OBP_KERNEL_BIT  0xffffffff80000000ull
#define OBP_MAX_HANDLES 0x100000u
#define OBP_TAG_TABLE   0x6c54624fu /* 'ObTl' */

typedef struct _OBP_ENTRY {
    PVOID Object;
    ACCESS_MASK Access;
    ULONG Attributes; /* in use: OBJ_*; free: index + 1 of the next free entry */
} OBP_ENTRY;

typedef struct _OBP_HANDLE_TABLE {
    KI_LOCK Lock;
    ULONG Capacity, Count;
    ULONG FirstFree; /* index + 1, or 0 */
    OBP_ENTRY *Entries;
} OBP_HANDLE_TABLE;

OBP_HANDLE_TABLE *ObpKernelTable;
OBP_HANDLE_TABLE *(*ObpCurrentTableRoutine)(VOID);
PVOID (*ObpPseudoHandleRoutine)(HANDLE Handle);

static OBP_HANDLE_TABLE *ObpCurrentTable(VOID)
{
    OBP_HANDLE_TABLE *Table = ObpCurrentTableRoutine ? ObpCurrentTableRoutine() : NULL;
    return Table ? Table : ObpKernelTable;
}

/* Which table a handle belongs to, and its index; NULL if it cannot be a handle. */
static OBP_HANDLE_TABLE *ObpDecode(HANDLE Handle, KPROCESSOR_MODE Mode, PULONG Index)
{
    ULONG_PTR Value = (ULONG_PTR)Handle;
    OBP_HANDLE_TABLE *Table;
    if ((Value & OBP_KERNEL_BIT) == OBP_KERNEL_BIT) {
        if (Mode != KernelMode)
            return NULL;
        Table = ObpKernelTable;
        Value &= ~OBP_KERNEL_BIT;
    } else {
        Table = ObpCurrentTable();
    }
    Value >>= 2; /* the two low bits are the caller's */
    if (Value == 0 || Value > OBP_MAX_HANDLES)
        return NULL;
    *Index = (ULONG)Value - 1;
    return Table;
}

/* The entry in use, with the lock held; NULL otherwise. */
static OBP_ENTRY *ObpEntryLocked(OBP_HANDLE_TABLE *Table, ULONG Index)
{
    if (Index >= Table->Capacity || Table->Entries[Index].Object == NULL)
        return NULL;
    return &Table->Entries[Index];
}

NTSTATUS ObpCreateHandleTable(OBP_HANDLE_TABLE **Table)
{
    *Table = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof **Table, OBP_TAG_TABLE);
    return *Table ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

/* Makes room for one more entry than Capacity; called without the lock. */
static NTSTATUS ObpGrow(OBP_HANDLE_TABLE *Table, ULONG Capacity)
{
    ULONG New = Capacity ? Capacity * 2 : 64;
    if (New > OBP_MAX_HANDLES)
        return STATUS_INSUFFICIENT_RESOURCES;
    OBP_ENTRY *Entries = ExAllocatePool2(POOL_FLAG_NON_PAGED, (SIZE_T)New * sizeof *Entries, OBP_TAG_TABLE), *Old = Entries;
    if (Entries == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    KiAcquireLock(&Table->Lock);
    if (Table->Capacity == Capacity) {
        Old = Table->Entries;
        if (Capacity)
            memcpy(Entries, Old, (SIZE_T)Capacity * sizeof *Entries);
        for (ULONG i = New; i-- > Capacity;) {
            Entries[i].Attributes = Table->FirstFree;
            Table->FirstFree = i + 1;
        }
        Table->Entries = Entries;
        Table->Capacity = New;
    }
    KiReleaseLock(&Table->Lock);
    if (Old)
        ExFreePoolWithTag(Old, OBP_TAG_TABLE);
    return STATUS_SUCCESS;
}

NTSTATUS ObpInsertHandle(PVOID Object, ACCESS_MASK Access, ULONG Attributes, PHANDLE Handle)
{
    OBP_HANDLE_TABLE *Table = (Attributes & OBJ_KERNEL_HANDLE) ? ObpKernelTable : ObpCurrentTable();
    POB_HEADER Header = ObpHeader(Object);
    *Handle = NULL;
    ObfReferenceObject(Object);
    for (;;) {
        KiAcquireLock(&Table->Lock);
        ULONG Index = Table->FirstFree, Capacity = Table->Capacity;
        if (Index) {
            OBP_ENTRY *Entry = &Table->Entries[Index - 1];
            Table->FirstFree = Entry->Attributes;
            Entry->Object = Object;
            Entry->Access = Access;
            Entry->Attributes = Attributes & (OBJ_INHERIT | OBJ_KERNEL_HANDLE | OBJ_EXCLUSIVE);
            Table->Count++;
            __atomic_add_fetch(&Header->HandleCount, 1, __ATOMIC_ACQ_REL);
            __atomic_add_fetch(&Header->Type->Handles, 1, __ATOMIC_RELAXED);
        }
        KiReleaseLock(&Table->Lock);
        if (Index) {
            *Handle = (HANDLE)(((ULONG_PTR)Index << 2) | ((Attributes & OBJ_KERNEL_HANDLE) ? OBP_KERNEL_BIT : 0));
            return STATUS_SUCCESS;
        }
        NTSTATUS Status = ObpGrow(Table, Capacity);
        if (!NT_SUCCESS(Status)) {
            ObfDereferenceObject(Object);
            return Status;
        }
    }
}

/* The handle's count and reference go; its entry is free already. */
static VOID ObpHandleClosed(PVOID Object)
{
    POB_HEADER Header = ObpHeader(Object);
    POBJECT_TYPE Type = Header->Type;
    LONG Remaining = __atomic_sub_fetch(&Header->HandleCount, 1, __ATOMIC_ACQ_REL);
    __atomic_sub_fetch(&Type->Handles, 1, __ATOMIC_RELAXED);
    if (Type->Close)
        Type->Close(Object, Remaining);
    if (Remaining == 0 && Type->Parse == NULL)
        ObpForgetIdleName(Header);
    ObfDereferenceObject(Object);
}

static PVOID ObpTakeEntry(OBP_HANDLE_TABLE *Table, ULONG Index)
{
    PVOID Object = NULL;
    KiAcquireLock(&Table->Lock);
    OBP_ENTRY *Entry = ObpEntryLocked(Table, Index);
    if (Entry) {
        Object = Entry->Object;
        Entry->Object = NULL;
        Entry->Access = 0;
        Entry->Attributes = Table->FirstFree;
        Table->FirstFree = Index + 1;
        Table->Count--;
    }
    KiReleaseLock(&Table->Lock);
    return Object;
}

NTSTATUS ObpCloseHandle(HANDLE Handle, KPROCESSOR_MODE Mode)
{
    ULONG Index;
    if (Handle == ZwCurrentProcess() || Handle == ZwCurrentThread())
        return STATUS_SUCCESS;
    OBP_HANDLE_TABLE *Table = ObpDecode(Handle, Mode, &Index);
    PVOID Object = Table ? ObpTakeEntry(Table, Index) : NULL;
    if (Object == NULL)
        return STATUS_INVALID_HANDLE;
    ObpHandleClosed(Object);
    return STATUS_SUCCESS;
}

VOID ObpDestroyHandleTable(OBP_HANDLE_TABLE *Table)
{
    if (Table == NULL)
        return;
    for (ULONG i = 0; i < Table->Capacity; i++) {
        PVOID Object = ObpTakeEntry(Table, i);
        if (Object)
            ObpHandleClosed(Object);
    }
    if (Table->Entries)
        ExFreePoolWithTag(Table->Entries, OBP_TAG_TABLE);
    ExFreePoolWithTag(Table, OBP_TAG_TABLE);
}

NTSTATUS ZwClose(HANDLE Handle)
{
    return ObpCloseHandle(Handle, KernelMode);
}

NTSTATUS ObCloseHandle(HANDLE Handle, KPROCESSOR_MODE PreviousMode)
{
    return ObpCloseHandle(Handle, PreviousMode);
}

/* Security checks: what a driver takes the handle for, and what it is. */
static VOID ObpCheckHandle(HANDLE Handle, KPROCESSOR_MODE Mode, ULONG_PTR Caller)
{
    const KI_SECURITY_CHECKS *Checks = __atomic_load_n(&KiSecurityChecks, __ATOMIC_ACQUIRE);
    BOOLEAN Kernel = ((ULONG_PTR)Handle & OBP_KERNEL_BIT) == OBP_KERNEL_BIT;
    if (__builtin_expect(Checks == NULL, 1) || Handle == ZwCurrentProcess() || Handle == ZwCurrentThread())
        return;
    if (Handle == NULL)
        Checks->Handle(Caller, Handle, 0xF5);
    else if (Mode == KernelMode && !Kernel && ObpCurrentTable() != ObpKernelTable)
        Checks->Handle(Caller, Handle, 0xF6);
    else if (Mode != KernelMode && Kernel)
        Checks->Handle(Caller, Handle, 0xF7);
}

NTSTATUS ObReferenceObjectByHandle(HANDLE Handle, ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
                                   KPROCESSOR_MODE AccessMode, PVOID *Object, POBJECT_HANDLE_INFORMATION HandleInformation)
{
    OBP_ENTRY Found = {0};
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Index;
    KI_SECURITY(Routine, NULL, Object, sizeof *Object);
    ObpCheckHandle(Handle, AccessMode, (ULONG_PTR)__builtin_return_address(0));
    *Object = NULL;
    if (Handle == ZwCurrentProcess() || Handle == ZwCurrentThread()) {
        Found.Object = ObpPseudoHandleRoutine ? ObpPseudoHandleRoutine(Handle) : NULL;
        if (Found.Object == NULL)
            return STATUS_INVALID_HANDLE;
        Found.Access = ObpHeader(Found.Object)->Type->ValidAccess;
        ObfReferenceObject(Found.Object);
    } else {
        OBP_HANDLE_TABLE *Table = ObpDecode(Handle, AccessMode, &Index);
        if (Table == NULL)
            return STATUS_INVALID_HANDLE;
        KiAcquireLock(&Table->Lock);
        OBP_ENTRY *Entry = ObpEntryLocked(Table, Index);
        if (Entry) {
            Found = *Entry;
            /* The handle holds a reference, so the count is positive. */
            __atomic_add_fetch(&ObpHeader(Found.Object)->PointerCount, 1, __ATOMIC_ACQ_REL);
        }
        KiReleaseLock(&Table->Lock);
        if (Found.Object == NULL)
            return STATUS_INVALID_HANDLE;
    }
    if (ObjectType && ObpHeader(Found.Object)->Type != ObjectType)
        Status = STATUS_OBJECT_TYPE_MISMATCH;
    else if (AccessMode != KernelMode && (DesiredAccess & ~Found.Access) != 0)
        Status = STATUS_ACCESS_DENIED;
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(Found.Object);
        return Status;
    }
    if (HandleInformation) {
        HandleInformation->HandleAttributes = Found.Attributes & OBJ_INHERIT;
        HandleInformation->GrantedAccess = Found.Access;
    }
    *Object = Found.Object;
    return STATUS_SUCCESS;
}

NTSTATUS ObReferenceObjectByHandleWithTag(HANDLE Handle, ACCESS_MASK DesiredAccess, POBJECT_TYPE ObjectType,
                                          KPROCESSOR_MODE AccessMode, ULONG Tag, PVOID *Object,
                                          POBJECT_HANDLE_INFORMATION HandleInformation)
{
    UNREFERENCED_PARAMETER(Tag);
    return ObReferenceObjectByHandle(Handle, DesiredAccess, ObjectType, AccessMode, Object, HandleInformation);
}

NTSTATUS ObOpenObjectByPointer(PVOID Object, ULONG HandleAttributes, PVOID PassedAccessState, ACCESS_MASK DesiredAccess,
                               POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode, PHANDLE Handle)
{
    UNREFERENCED_PARAMETER(PassedAccessState);
    KI_SECURITY(Routine, NULL, Handle, sizeof *Handle);
    *Handle = NULL;
    NTSTATUS Status = ObReferenceObjectByPointer(Object, DesiredAccess, ObjectType, AccessMode);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpInsertHandleChecked(Object, DesiredAccess, HandleAttributes, FALSE, Handle);
    ObfDereferenceObject(Object);
    return Status;
}

NTSTATUS ObOpenObjectByPointerWithTag(PVOID Object, ULONG HandleAttributes, PVOID PassedAccessState, ACCESS_MASK DesiredAccess,
                                      POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode, ULONG Tag, PHANDLE Handle)
{
    UNREFERENCED_PARAMETER(Tag);
    return ObOpenObjectByPointer(Object, HandleAttributes, PassedAccessState, DesiredAccess, ObjectType, AccessMode, Handle);
}

NTSTATUS ObSetHandleAttributes(HANDLE Handle, POBJECT_HANDLE_FLAG_INFORMATION HandleFlags, KPROCESSOR_MODE PreviousMode)
{
    ULONG Index;
    OBP_HANDLE_TABLE *Table = ObpDecode(Handle, PreviousMode, &Index);
    NTSTATUS Status = STATUS_INVALID_HANDLE;
    ULONG Inherit = HandleFlags->Inherit ? OBJ_INHERIT : 0;
    if (Table == NULL)
        return Status;
    KiAcquireLock(&Table->Lock);
    OBP_ENTRY *Entry = ObpEntryLocked(Table, Index);
    if (Entry) {
        Entry->Attributes = (Entry->Attributes & ~(ULONG)OBJ_INHERIT) | Inherit;
        Status = STATUS_SUCCESS;
    }
    KiReleaseLock(&Table->Lock);
    return Status;
}

NTSTATUS ZwDuplicateObject(HANDLE SourceProcessHandle, HANDLE SourceHandle, HANDLE TargetProcessHandle, PHANDLE TargetHandle,
                           ACCESS_MASK DesiredAccess, ULONG HandleAttributes, ULONG Options)
{
    KI_CHECK_SERVICE(NULL, NULL, TargetHandle);
    PVOID Object;
    OBJECT_HANDLE_INFORMATION Information;
    NTSTATUS Status;
    /* Both ends are the caller's own process: no other process runs code here. */
    if (SourceProcessHandle != ZwCurrentProcess() || (TargetProcessHandle && TargetProcessHandle != ZwCurrentProcess()))
        return STATUS_INVALID_HANDLE;
    Status = ObReferenceObjectByHandle(SourceHandle, 0, NULL, KernelMode, &Object, &Information);
    if (!NT_SUCCESS(Status))
        return Status;
    if (TargetProcessHandle && TargetHandle) {
        ULONG Attributes = (Options & DUPLICATE_SAME_ATTRIBUTES) ? Information.HandleAttributes : HandleAttributes;
        if (((ULONG_PTR)SourceHandle & OBP_KERNEL_BIT) == OBP_KERNEL_BIT)
            Attributes |= OBJ_KERNEL_HANDLE;
        Status = ObpInsertHandleChecked(Object, (Options & DUPLICATE_SAME_ACCESS) ? Information.GrantedAccess : DesiredAccess,
                                        Attributes, TRUE, TargetHandle);
    }
    if (Options & DUPLICATE_CLOSE_SOURCE)
        ObpCloseHandle(SourceHandle, KernelMode);
    ObfDereferenceObject(Object);
    return Status;
}

NTSTATUS ZwQueryObject(HANDLE Handle, OBJECT_INFORMATION_CLASS ObjectInformationClass, PVOID ObjectInformation,
                       ULONG ObjectInformationLength, PULONG ReturnLength)
{
    KI_CHECK_SERVICE(NULL, NULL, ObjectInformation, ReturnLength);
    PVOID Object;
    OBJECT_HANDLE_INFORMATION Information;
    ULONG Need = 0;
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, 0, NULL, KernelMode, &Object, &Information);
    if (!NT_SUCCESS(Status))
        return Status;
    POB_HEADER Header = ObpHeader(Object);
    if (ObjectInformationClass == ObjectBasicInformation) {
        PUBLIC_OBJECT_BASIC_INFORMATION Basic = {.Attributes = Information.HandleAttributes,
                                                 .GrantedAccess = Information.GrantedAccess,
                                                 .HandleCount = (ULONG)ObpHandleCount(Object),
                                                 .PointerCount = (ULONG)ObpPointerCount(Object) - 1};
        Need = sizeof Basic;
        if (ObjectInformationLength != Need)
            Status = STATUS_INFO_LENGTH_MISMATCH;
        else
            memcpy(ObjectInformation, &Basic, sizeof Basic);
    } else if (ObjectInformationClass == ObjectNameInformation) {
        Status = ObQueryNameString(Object, ObjectInformation, ObjectInformationLength, &Need);
    } else if (ObjectInformationClass == ObjectTypeInformation) {
        PPUBLIC_OBJECT_TYPE_INFORMATION Type = ObjectInformation;
        UNICODE_STRING Name;
        RtlInitUnicodeString(&Name, Header->Type->Name);
        Need = (ULONG)sizeof *Type + Name.Length + (ULONG)sizeof(WCHAR);
        if (ObjectInformationLength < Need) {
            Status = STATUS_INFO_LENGTH_MISMATCH;
        } else {
            memset(Type, 0, sizeof *Type);
            Type->TypeName = (UNICODE_STRING){Name.Length, (USHORT)(Name.Length + sizeof(WCHAR)), (PWCH)(Type + 1)};
            memcpy(Type + 1, Name.Buffer, Name.Length + sizeof(WCHAR));
        }
    } else {
        Status = STATUS_INVALID_INFO_CLASS;
    }
    if (ReturnLength)
        *ReturnLength = Need;
    ObfDereferenceObject(Object);
    return Status;
}

VOID ObpEnumerateHandles(VOID (*Visit)(HANDLE, PVOID, PVOID), PVOID Context)
{
    OBP_HANDLE_TABLE *Table = ObpKernelTable;
    if (Table == NULL)
        return;
    for (ULONG i = 0;; i++) {
        PVOID Object = NULL;
        KiAcquireLock(&Table->Lock);
        ULONG Capacity = Table->Capacity;
        OBP_ENTRY *Entry = ObpEntryLocked(Table, i);
        if (Entry && ObpTryReference(Entry->Object))
            Object = Entry->Object;
        KiReleaseLock(&Table->Lock);
        if (i >= Capacity)
            return;
        if (Object == NULL)
            continue;
        Visit((HANDLE)(((ULONG_PTR)(i + 1) << 2) | OBP_KERNEL_BIT), Object, Context);
        ObfDereferenceObject(Object);
    }
}

NTSTATUS ObpInitHandles(VOID)
{
    return ObpCreateHandleTable(&ObpKernelTable);
}

VOID ObpShutdownHandles(VOID)
{
    ObpDestroyHandleTable(ObpKernelTable);
    ObpKernelTable = NULL;
    ObpCurrentTableRoutine = NULL;
}

const CHAR *ObpValidateHandles(VOID)
{
    OBP_HANDLE_TABLE *Table = ObpKernelTable;
    const CHAR *Broken = NULL;
    ULONG Used = 0, Free = 0;
    if (Table == NULL)
        return NULL;
    KiAcquireLock(&Table->Lock);
    for (ULONG i = 0; i < Table->Capacity && !Broken; i++) {
        if (Table->Entries[i].Object == NULL)
            continue;
        POB_HEADER Header = ObpHeader(Table->Entries[i].Object);
        Used++;
        /* Handles are counted before references when read: both may grow meanwhile, references first. */
        LONG Handles = __atomic_load_n(&Header->HandleCount, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&Header->Magic, __ATOMIC_ACQUIRE) != OBP_MAGIC)
            Broken = "ob 4: a handle names no live object";
        else if (Handles < 1)
            Broken = "ob 4: an object with a handle has no handle count";
        else if (__atomic_load_n(&Header->PointerCount, __ATOMIC_ACQUIRE) < 1)
            Broken = "ob 2: an object with a handle has no reference";
    }
    for (ULONG i = Table->FirstFree; i && Free <= Table->Capacity; i = Table->Entries[i - 1].Attributes)
        Free++;
    if (!Broken && Used != Table->Count)
        Broken = "ob 4: a handle table's count is wrong";
    if (!Broken && Used + Free != Table->Capacity)
        Broken = "ob 4: a handle table's free list is broken";
    KiReleaseLock(&Table->Lock);
    return Broken;
}
