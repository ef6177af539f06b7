/*
 * registry.c - a small registry in memory, enough for a driver to find its service key. SPDX-License-Identifier: MIT
 *
 * Implements ZwOpenKey(Ex), ZwCreateKey, ZwDeleteKey, ZwQueryKey, ZwEnumerateKey, ZwFlushKey, ZwQueryValueKey,
 * ZwEnumerateValueKey, ZwSetValueKey, ZwDeleteValueKey. The Rtl helpers above them are in rtlreg.c. Nothing is read from
 * or written to the host: the tree starts with the keys below and is gone with the system. Security, symbolic key links,
 * transactions and notifications do not exist.
 *
 *     \REGISTRY (key object)                  node: name, parent, children, values
 *        +-- Machine -- System -- CurrentControlSet -- Services -- <one per driver>
 *        |         |                              +-- Control, Enum
 *        |         +-- Software, Hardware
 *        +-- User -- .Default
 *
 * A key object (what a handle names) points at a node. A node lives while it is in the tree or a key object uses it:
 *     in tree  --ZwDeleteKey--> deleted (STATUS_KEY_DELETED from every use)  --last key object closed--> freed
 *
 * Invariants (validated by tests through enumeration): 1. a node in the tree is in its parent's list once, names are unique
 * without regard to case; 2. Uses counts the key objects of the node; 3. a deleted node has no children and no parent.
 * Locks: CmpLock, a fast mutex (APC_LEVEL): data moves to and from callers outside it, through nonpaged copies.
 */
#include "ob/obp.h"

#define CMP_TAG 0x20204d43u /* 'CM  ' */

typedef struct _CMP_VALUE {
    LIST_ENTRY Link;
    UNICODE_STRING Name;
    ULONG Type, Length;
    PUCHAR Data; /* own block, or NULL */
} CMP_VALUE;

typedef struct _CMP_NODE {
    LIST_ENTRY Link; /* in Parent->Children */
    struct _CMP_NODE *Parent;
    UNICODE_STRING Name;
    LIST_ENTRY Children, Values;
    ULONG ChildCount, ValueCount, Uses;
    BOOLEAN Deleted;
    LARGE_INTEGER LastWriteTime;
} CMP_NODE;

typedef struct _CMP_KEY {
    CMP_NODE *Node;
    UNICODE_STRING Path; /* for ObQueryNameString: the path below \REGISTRY */
} CMP_KEY;

static FAST_MUTEX CmpLock;
static CMP_NODE *CmpRoot;

static NTSTATUS CmpParse(PVOID Object, PCUNICODE_STRING Rest, OBP_OPEN *Open, PVOID *Result);
static VOID CmpDeleteKeyObject(PVOID Object);
static VOID CmpQueryName(PVOID Object, PVOID *Base, PUNICODE_STRING Suffix)
{
    *Base = NULL;
    *Suffix = ((CMP_KEY *)Object)->Path;
}

OBJECT_TYPE ObpKeyType = {.Name = L"Key",
                          .Tag = '  yK',
                          .WaitOffset = -1,
                          .ValidAccess = KEY_ALL_ACCESS,
                          .Parse = CmpParse,
                          .Delete = CmpDeleteKeyObject,
                          .QueryName = CmpQueryName};
static POBJECT_TYPE CmpKeyTypePointer = &ObpKeyType;
POBJECT_TYPE *CmKeyObjectType = &CmpKeyTypePointer;

/* ---- nodes; CmpLock held ---- */
static CMP_NODE *CmpFindChild(CMP_NODE *Node, PCUNICODE_STRING Name)
{
    for (PLIST_ENTRY E = Node->Children.Flink; E != &Node->Children; E = E->Flink) {
        CMP_NODE *Child = CONTAINING_RECORD(E, CMP_NODE, Link);
        if (RtlEqualUnicodeString(&Child->Name, Name, TRUE))
            return Child;
    }
    return NULL;
}

static CMP_VALUE *CmpFindValue(CMP_NODE *Node, PCUNICODE_STRING Name)
{
    for (PLIST_ENTRY E = Node->Values.Flink; E != &Node->Values; E = E->Flink) {
        CMP_VALUE *Value = CONTAINING_RECORD(E, CMP_VALUE, Link);
        if (RtlEqualUnicodeString(&Value->Name, Name, TRUE))
            return Value;
    }
    return NULL;
}

static CMP_NODE *CmpAddChild(CMP_NODE *Parent, PCUNICODE_STRING Name)
{
    CMP_NODE *Node = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Node, CMP_TAG);
    if (Node == NULL)
        return NULL;
    if (!NT_SUCCESS(ObpCopyString(Name, &Node->Name))) {
        ExFreePoolWithTag(Node, CMP_TAG);
        return NULL;
    }
    InitializeListHead(&Node->Children);
    InitializeListHead(&Node->Values);
    KeQuerySystemTime(&Node->LastWriteTime);
    Node->Parent = Parent;
    if (Parent) {
        InsertTailList(&Parent->Children, &Node->Link);
        Parent->ChildCount++;
        Parent->LastWriteTime = Node->LastWriteTime;
    }
    return Node;
}

static VOID CmpFreeValue(CMP_NODE *Node, CMP_VALUE *Value)
{
    RemoveEntryList(&Value->Link);
    Node->ValueCount--;
    if (Value->Data)
        ExFreePoolWithTag(Value->Data, CMP_TAG);
    ObpFreeString(&Value->Name);
    ExFreePoolWithTag(Value, CMP_TAG);
}

static VOID CmpFreeNode(CMP_NODE *Node)
{
    while (!IsListEmpty(&Node->Values))
        CmpFreeValue(Node, CONTAINING_RECORD(Node->Values.Flink, CMP_VALUE, Link));
    ObpFreeString(&Node->Name);
    ExFreePoolWithTag(Node, CMP_TAG);
}

static VOID CmpUnlink(CMP_NODE *Node)
{
    Node->Deleted = TRUE;
    if (Node->Parent) {
        RemoveEntryList(&Node->Link);
        Node->Parent->ChildCount--;
        KeQuerySystemTime(&Node->Parent->LastWriteTime);
        Node->Parent = NULL;
    }
}

static VOID CmpDeleteKeyObject(PVOID Object)
{
    CMP_KEY *Key = Object;
    if (Key->Node) {
        ExAcquireFastMutex(&CmpLock);
        BOOLEAN Free = --Key->Node->Uses == 0 && Key->Node->Deleted;
        ExReleaseFastMutex(&CmpLock);
        if (Free)
            CmpFreeNode(Key->Node);
    }
    ObpFreeString(&Key->Path);
}

/* The path of a node from the root; the caller frees it. */
static NTSTATUS CmpNodePath(CMP_NODE *Node, PUNICODE_STRING Path)
{
    UNICODE_STRING Empty = {0, 0, NULL};
    ULONG Bytes = 0;
    for (CMP_NODE *N = Node; N; N = N->Parent)
        Bytes += sizeof(WCHAR) + N->Name.Length;
    if (Bytes > 0xfff0)
        return STATUS_NAME_TOO_LONG;
    PWCH Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes + sizeof(WCHAR), OBP_TAG_NAME);
    *Path = Empty;
    if (Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    ULONG At = Bytes;
    for (CMP_NODE *N = Node; N; N = N->Parent) {
        At -= N->Name.Length;
        memcpy((PUCHAR)Buffer + At, N->Name.Buffer, N->Name.Length);
        At -= sizeof(WCHAR);
        *(PWCH)((PUCHAR)Buffer + At) = L'\\';
    }
    *Path = (UNICODE_STRING){(USHORT)Bytes, (USHORT)(Bytes + sizeof(WCHAR)), Buffer};
    return STATUS_SUCCESS;
}

/* What ZwCreateKey adds to a look-up: create the missing last component. */
typedef struct _CMP_OPEN {
    BOOLEAN Create;
    ULONG Disposition;
} CMP_OPEN;

static NTSTATUS CmpParse(PVOID Object, PCUNICODE_STRING RestPath, OBP_OPEN *Open, PVOID *Result)
{
    CMP_KEY *Key;
    CMP_OPEN *Want = Open->Type == &ObpKeyType ? Open->Context : NULL;
    ULONG Count = RestPath->Length / sizeof(WCHAR), At = 0;
    NTSTATUS Status = ObpCreateObject(&ObpKeyType, sizeof(CMP_KEY), (PVOID *)&Key);
    if (!NT_SUCCESS(Status))
        return Status;
    ExAcquireFastMutex(&CmpLock);
    CMP_NODE *Node = ((CMP_KEY *)Object)->Node;
    if (Node->Deleted)
        Status = STATUS_KEY_DELETED;
    while (NT_SUCCESS(Status)) {
        while (At < Count && RestPath->Buffer[At] == L'\\')
            At++;
        ULONG Start = At;
        while (At < Count && RestPath->Buffer[At] != L'\\')
            At++;
        if (Start == At)
            break;
        UNICODE_STRING Name = {(USHORT)((At - Start) * sizeof(WCHAR)), (USHORT)((At - Start) * sizeof(WCHAR)),
                               RestPath->Buffer + Start};
        CMP_NODE *Child = CmpFindChild(Node, &Name);
        if (Child == NULL && Want && Want->Create && At == Count) {
            Child = CmpAddChild(Node, &Name);
            if (Child == NULL)
                Status = STATUS_INSUFFICIENT_RESOURCES;
            Want->Disposition = REG_CREATED_NEW_KEY;
        }
        if (Child == NULL && NT_SUCCESS(Status))
            Status = STATUS_OBJECT_NAME_NOT_FOUND;
        Node = Child;
    }
    if (NT_SUCCESS(Status))
        Status = CmpNodePath(Node, &Key->Path);
    if (NT_SUCCESS(Status)) {
        Key->Node = Node;
        Node->Uses++;
    }
    ExReleaseFastMutex(&CmpLock);
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(Key);
        return Status;
    }
    *Result = Key;
    return STATUS_SUCCESS;
}

/* A key of a relative path: \REGISTRY's or a root handle's Parse is asked even if nothing is left of the name. */
static NTSTATUS CmpOpen(PHANDLE KeyHandle, ACCESS_MASK Access, POBJECT_ATTRIBUTES Attributes, CMP_OPEN *Want)
{
    OBP_OPEN Open = {.Type = &ObpKeyType, .Access = Access, .Mode = KernelMode, .Context = Want};
    PVOID Key;
    *KeyHandle = NULL;
    if (Attributes == NULL || Attributes->Length != sizeof *Attributes)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS Status = ObpLookupAttributes(Attributes, &Open, &Key);
    if (!NT_SUCCESS(Status))
        return Status == STATUS_OBJECT_PATH_NOT_FOUND ? STATUS_OBJECT_NAME_NOT_FOUND : Status;
    Status = ObpInsertHandle(Key, Access, Attributes->Attributes, KeyHandle);
    ObfDereferenceObject(Key);
    return Status;
}

NTSTATUS ZwOpenKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, KeyHandle);
    return CmpOpen(KeyHandle, DesiredAccess, ObjectAttributes, NULL);
}

NTSTATUS ZwOpenKeyEx(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, ULONG OpenOptions)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, KeyHandle);
    UNREFERENCED_PARAMETER(OpenOptions);
    return CmpOpen(KeyHandle, DesiredAccess, ObjectAttributes, NULL);
}

NTSTATUS ZwCreateKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, ULONG TitleIndex,
                     PUNICODE_STRING Class, ULONG CreateOptions, PULONG Disposition)
{
    KI_CHECK_SERVICE(ObjectAttributes, Class, KeyHandle, Disposition);
    UNREFERENCED_PARAMETER(TitleIndex);
    UNREFERENCED_PARAMETER(Class);
    UNREFERENCED_PARAMETER(CreateOptions);
    CMP_OPEN Want = {TRUE, REG_OPENED_EXISTING_KEY};
    NTSTATUS Status = CmpOpen(KeyHandle, DesiredAccess, ObjectAttributes, &Want);
    if (NT_SUCCESS(Status) && Disposition)
        *Disposition = Want.Disposition;
    return Status;
}

static NTSTATUS CmpKeyByHandle(HANDLE Handle, CMP_KEY **Key)
{
    return ObReferenceObjectByHandle(Handle, 0, &ObpKeyType, KernelMode, (PVOID *)Key, NULL);
}

NTSTATUS ZwFlushKey(HANDLE KeyHandle)
{
    CMP_KEY *Key;
    NTSTATUS Status = CmpKeyByHandle(KeyHandle, &Key);
    if (NT_SUCCESS(Status))
        ObfDereferenceObject(Key);
    return Status;
}

NTSTATUS ZwDeleteKey(HANDLE KeyHandle)
{
    CMP_KEY *Key;
    NTSTATUS Status = CmpKeyByHandle(KeyHandle, &Key);
    if (!NT_SUCCESS(Status))
        return Status;
    ExAcquireFastMutex(&CmpLock);
    if (Key->Node->Deleted)
        Status = STATUS_KEY_DELETED;
    else if (Key->Node->ChildCount || Key->Node->Parent == NULL)
        Status = STATUS_CANNOT_DELETE;
    else
        CmpUnlink(Key->Node);
    ExReleaseFastMutex(&CmpLock);
    ObfDereferenceObject(Key);
    return Status;
}

/* ---- values ---- */
NTSTATUS ZwSetValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName, ULONG TitleIndex, ULONG Type, PVOID Data, ULONG DataSize)
{
    KI_CHECK_SERVICE(NULL, ValueName, Data);
    UNREFERENCED_PARAMETER(TitleIndex);
    CMP_KEY *Key;
    PUCHAR Copy = NULL;
    UNICODE_STRING Name = {0};
    CMP_VALUE *New = NULL;
    NTSTATUS Status = CmpKeyByHandle(KeyHandle, &Key);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpCopyString(ValueName, &Name);
    if (NT_SUCCESS(Status) && DataSize) {
        Copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, DataSize, CMP_TAG);
        if (Copy == NULL)
            Status = STATUS_INSUFFICIENT_RESOURCES;
        else
            memcpy(Copy, Data, DataSize);
    }
    if (NT_SUCCESS(Status)) {
        New = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *New, CMP_TAG);
        if (New == NULL)
            Status = STATUS_INSUFFICIENT_RESOURCES;
    }
    if (NT_SUCCESS(Status)) {
        ExAcquireFastMutex(&CmpLock);
        if (Key->Node->Deleted) {
            Status = STATUS_KEY_DELETED;
        } else {
            CMP_VALUE *Value = CmpFindValue(Key->Node, &Name);
            if (Value) {
                PUCHAR Old = Value->Data;
                Value->Data = Copy;
                Copy = Old;
            } else {
                Value = New;
                Value->Name = Name;
                Value->Data = Copy;
                InsertTailList(&Key->Node->Values, &Value->Link);
                Key->Node->ValueCount++;
                New = NULL;
                Copy = NULL;
                memset(&Name, 0, sizeof Name);
            }
            Value->Type = Type;
            Value->Length = DataSize;
            KeQuerySystemTime(&Key->Node->LastWriteTime);
        }
        ExReleaseFastMutex(&CmpLock);
    }
    if (New)
        ExFreePoolWithTag(New, CMP_TAG);
    if (Copy)
        ExFreePoolWithTag(Copy, CMP_TAG);
    ObpFreeString(&Name);
    ObfDereferenceObject(Key);
    return Status;
}

NTSTATUS ZwDeleteValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName)
{
    KI_CHECK_SERVICE(NULL, ValueName, NULL);
    CMP_KEY *Key;
    UNICODE_STRING Name = {0};
    NTSTATUS Status = CmpKeyByHandle(KeyHandle, &Key);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpCopyString(ValueName, &Name);
    if (NT_SUCCESS(Status)) {
        ExAcquireFastMutex(&CmpLock);
        CMP_VALUE *Value = CmpFindValue(Key->Node, &Name);
        if (Key->Node->Deleted)
            Status = STATUS_KEY_DELETED;
        else if (Value == NULL)
            Status = STATUS_OBJECT_NAME_NOT_FOUND;
        else
            CmpFreeValue(Key->Node, Value);
        ExReleaseFastMutex(&CmpLock);
    }
    ObpFreeString(&Name);
    ObfDereferenceObject(Key);
    return Status;
}

/* A result under construction: bytes past Room are counted, not stored. */
typedef struct _CMP_OUT {
    PUCHAR Buffer;
    ULONG Room, Length;
} CMP_OUT;

static VOID CmpPut(CMP_OUT *Out, ULONG At, const VOID *Data, ULONG Length)
{
    if (Length == 0)
        return;
    if (At < Out->Room)
        memcpy(Out->Buffer + At, Data, Length < Out->Room - At ? Length : Out->Room - At);
    if (At + Length > Out->Length)
        Out->Length = At + Length;
}

#define CMP_PUT_FIELD(Out, Type, Field, Value)                                                                                 \
    do {                                                                                                                       \
        __typeof__(((Type *)0)->Field) Value_ = (Value);                                                                       \
        CmpPut(Out, (ULONG)offsetof(Type, Field), &Value_, sizeof Value_);                                                     \
    } while (0)

/* Fills Out with a value's information; Fixed is the size below which nothing is returned. */
static NTSTATUS CmpDescribeValue(CMP_VALUE *Value, KEY_VALUE_INFORMATION_CLASS Class, CMP_OUT *Out, PULONG Fixed)
{
    ULONG Offset;
    switch (Class) {
    case KeyValueBasicInformation:
        *Fixed = offsetof(KEY_VALUE_BASIC_INFORMATION, Name);
        CMP_PUT_FIELD(Out, KEY_VALUE_BASIC_INFORMATION, TitleIndex, 0);
        CMP_PUT_FIELD(Out, KEY_VALUE_BASIC_INFORMATION, Type, Value->Type);
        CMP_PUT_FIELD(Out, KEY_VALUE_BASIC_INFORMATION, NameLength, Value->Name.Length);
        CmpPut(Out, offsetof(KEY_VALUE_BASIC_INFORMATION, Name), Value->Name.Buffer, Value->Name.Length);
        return STATUS_SUCCESS;
    case KeyValueFullInformation:
    case KeyValueFullInformationAlign64:
        *Fixed = offsetof(KEY_VALUE_FULL_INFORMATION, Name);
        Offset = (ULONG)((offsetof(KEY_VALUE_FULL_INFORMATION, Name) + Value->Name.Length + 7) & ~7ull);
        CMP_PUT_FIELD(Out, KEY_VALUE_FULL_INFORMATION, TitleIndex, 0);
        CMP_PUT_FIELD(Out, KEY_VALUE_FULL_INFORMATION, Type, Value->Type);
        CMP_PUT_FIELD(Out, KEY_VALUE_FULL_INFORMATION, DataOffset, Offset);
        CMP_PUT_FIELD(Out, KEY_VALUE_FULL_INFORMATION, DataLength, Value->Length);
        CMP_PUT_FIELD(Out, KEY_VALUE_FULL_INFORMATION, NameLength, Value->Name.Length);
        CmpPut(Out, offsetof(KEY_VALUE_FULL_INFORMATION, Name), Value->Name.Buffer, Value->Name.Length);
        CmpPut(Out, Offset, Value->Data, Value->Length);
        return STATUS_SUCCESS;
    case KeyValuePartialInformation:
        *Fixed = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data);
        CMP_PUT_FIELD(Out, KEY_VALUE_PARTIAL_INFORMATION, TitleIndex, 0);
        CMP_PUT_FIELD(Out, KEY_VALUE_PARTIAL_INFORMATION, Type, Value->Type);
        CMP_PUT_FIELD(Out, KEY_VALUE_PARTIAL_INFORMATION, DataLength, Value->Length);
        CmpPut(Out, offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data), Value->Data, Value->Length);
        return STATUS_SUCCESS;
    case KeyValuePartialInformationAlign64:
        *Fixed = offsetof(KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, Data);
        CMP_PUT_FIELD(Out, KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, Type, Value->Type);
        CMP_PUT_FIELD(Out, KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, DataLength, Value->Length);
        CmpPut(Out, offsetof(KEY_VALUE_PARTIAL_INFORMATION_ALIGN64, Data), Value->Data, Value->Length);
        return STATUS_SUCCESS;
    default:
        return STATUS_INVALID_PARAMETER;
    }
}

static NTSTATUS CmpDescribeKey(CMP_NODE *Node, PCUNICODE_STRING Path, KEY_INFORMATION_CLASS Class, CMP_OUT *Out, PULONG Fixed)
{
    ULONG MaxName = 0, MaxValueName = 0, MaxData = 0;
    switch (Class) {
    case KeyBasicInformation:
        *Fixed = offsetof(KEY_BASIC_INFORMATION, Name);
        CMP_PUT_FIELD(Out, KEY_BASIC_INFORMATION, LastWriteTime, Node->LastWriteTime);
        CMP_PUT_FIELD(Out, KEY_BASIC_INFORMATION, TitleIndex, 0);
        CMP_PUT_FIELD(Out, KEY_BASIC_INFORMATION, NameLength, Node->Name.Length);
        CmpPut(Out, offsetof(KEY_BASIC_INFORMATION, Name), Node->Name.Buffer, Node->Name.Length);
        return STATUS_SUCCESS;
    case KeyNameInformation:
        *Fixed = offsetof(KEY_NAME_INFORMATION, Name);
        CMP_PUT_FIELD(Out, KEY_NAME_INFORMATION, NameLength, Path->Length);
        CmpPut(Out, offsetof(KEY_NAME_INFORMATION, Name), Path->Buffer, Path->Length);
        return STATUS_SUCCESS;
    case KeyFullInformation:
        for (PLIST_ENTRY E = Node->Children.Flink; E != &Node->Children; E = E->Flink) {
            CMP_NODE *Child = CONTAINING_RECORD(E, CMP_NODE, Link);
            if (Child->Name.Length > MaxName)
                MaxName = Child->Name.Length;
        }
        for (PLIST_ENTRY E = Node->Values.Flink; E != &Node->Values; E = E->Flink) {
            CMP_VALUE *Value = CONTAINING_RECORD(E, CMP_VALUE, Link);
            if (Value->Name.Length > MaxValueName)
                MaxValueName = Value->Name.Length;
            if (Value->Length > MaxData)
                MaxData = Value->Length;
        }
        *Fixed = offsetof(KEY_FULL_INFORMATION, Class);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, LastWriteTime, Node->LastWriteTime);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, TitleIndex, 0);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, ClassOffset, 0xffffffffu);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, ClassLength, 0);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, SubKeys, Node->ChildCount);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, MaxNameLen, MaxName);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, MaxClassLen, 0);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, Values, Node->ValueCount);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, MaxValueNameLen, MaxValueName);
        CMP_PUT_FIELD(Out, KEY_FULL_INFORMATION, MaxValueDataLen, MaxData);
        return STATUS_SUCCESS;
    default:
        return STATUS_INVALID_PARAMETER;
    }
}

typedef enum _CMP_QUERY { CmpQueryNamedValue, CmpQueryIndexedValue, CmpQueryKey, CmpQuerySubkey } CMP_QUERY;

static NTSTATUS CmpQuery(HANDLE Handle, CMP_QUERY What, PCUNICODE_STRING ValueName, ULONG Index, ULONG Class, PVOID Information,
                         ULONG Length, PULONG ResultLength)
{
    CMP_KEY *Key;
    CMP_OUT Out = {NULL, Length < 0x110000 ? Length : 0x110000, 0};
    UNICODE_STRING Name = {0};
    ULONG Fixed = 0;
    NTSTATUS Status = CmpKeyByHandle(Handle, &Key);
    if (!NT_SUCCESS(Status))
        return Status;
    if (ValueName)
        Status = ObpCopyString(ValueName, &Name);
    if (NT_SUCCESS(Status) && Length) {
        Out.Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Out.Room, CMP_TAG);
        if (Out.Buffer == NULL)
            Status = STATUS_INSUFFICIENT_RESOURCES;
    }
    if (NT_SUCCESS(Status)) {
        ExAcquireFastMutex(&CmpLock);
        CMP_NODE *Node = Key->Node;
        PLIST_ENTRY Head = What == CmpQuerySubkey ? &Node->Children : &Node->Values, E = Head->Flink;
        CMP_VALUE *Value = NULL;
        if (Node->Deleted) {
            Status = STATUS_KEY_DELETED;
        } else if (What == CmpQueryKey) {
            Status = CmpDescribeKey(Node, &Key->Path, (KEY_INFORMATION_CLASS)Class, &Out, &Fixed);
        } else if (What == CmpQueryNamedValue) {
            Value = CmpFindValue(Node, &Name);
            Status = Value ? CmpDescribeValue(Value, (KEY_VALUE_INFORMATION_CLASS)Class, &Out, &Fixed)
                           : STATUS_OBJECT_NAME_NOT_FOUND;
        } else {
            while (E != Head && Index--)
                E = E->Flink;
            if (E == Head)
                Status = STATUS_NO_MORE_ENTRIES;
            else if (What == CmpQuerySubkey)
                Status = CmpDescribeKey(CONTAINING_RECORD(E, CMP_NODE, Link), &Key->Path, (KEY_INFORMATION_CLASS)Class, &Out,
                                        &Fixed);
            else
                Status =
                    CmpDescribeValue(CONTAINING_RECORD(E, CMP_VALUE, Link), (KEY_VALUE_INFORMATION_CLASS)Class, &Out, &Fixed);
        }
        ExReleaseFastMutex(&CmpLock);
    }
    if (NT_SUCCESS(Status)) {
        *ResultLength = Out.Length;
        if (Length < Fixed) {
            Status = STATUS_BUFFER_TOO_SMALL;
        } else {
            memcpy(Information, Out.Buffer, Length < Out.Length ? Length : Out.Length);
            if (Length < Out.Length)
                Status = STATUS_BUFFER_OVERFLOW;
        }
    }
    if (Out.Buffer)
        ExFreePoolWithTag(Out.Buffer, CMP_TAG);
    ObpFreeString(&Name);
    ObfDereferenceObject(Key);
    return Status;
}

NTSTATUS ZwQueryValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
                         PVOID KeyValueInformation, ULONG Length, PULONG ResultLength)
{
    KI_CHECK_SERVICE(NULL, ValueName, KeyValueInformation, ResultLength);
    return CmpQuery(KeyHandle, CmpQueryNamedValue, ValueName, 0, (ULONG)KeyValueInformationClass, KeyValueInformation, Length,
                    ResultLength);
}

NTSTATUS ZwEnumerateValueKey(HANDLE KeyHandle, ULONG Index, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
                             PVOID KeyValueInformation, ULONG Length, PULONG ResultLength)
{
    KI_CHECK_SERVICE(NULL, NULL, KeyValueInformation, ResultLength);
    return CmpQuery(KeyHandle, CmpQueryIndexedValue, NULL, Index, (ULONG)KeyValueInformationClass, KeyValueInformation, Length,
                    ResultLength);
}

NTSTATUS ZwQueryKey(HANDLE KeyHandle, KEY_INFORMATION_CLASS KeyInformationClass, PVOID KeyInformation, ULONG Length,
                    PULONG ResultLength)
{
    KI_CHECK_SERVICE(NULL, NULL, KeyInformation, ResultLength);
    return CmpQuery(KeyHandle, CmpQueryKey, NULL, 0, (ULONG)KeyInformationClass, KeyInformation, Length, ResultLength);
}

NTSTATUS ZwEnumerateKey(HANDLE KeyHandle, ULONG Index, KEY_INFORMATION_CLASS KeyInformationClass, PVOID KeyInformation,
                        ULONG Length, PULONG ResultLength)
{
    KI_CHECK_SERVICE(NULL, NULL, KeyInformation, ResultLength);
    return CmpQuery(KeyHandle, CmpQuerySubkey, NULL, Index, (ULONG)KeyInformationClass, KeyInformation, Length, ResultLength);
}

/* ---- start and stop ---- */
NTSTATUS CmpInitRegistry(VOID)
{
    static const WCHAR *const Keys[] = {L"Machine",
                                        L"Machine\\System",
                                        L"Machine\\System\\CurrentControlSet",
                                        L"Machine\\System\\CurrentControlSet\\Services",
                                        L"Machine\\System\\CurrentControlSet\\Control",
                                        L"Machine\\System\\CurrentControlSet\\Control\\Class",
                                        L"Machine\\System\\CurrentControlSet\\Control\\DeviceClasses",
                                        L"Machine\\System\\CurrentControlSet\\Enum",
                                        L"Machine\\Software",
                                        L"Machine\\Software\\Microsoft",
                                        L"Machine\\Hardware",
                                        L"Machine\\Hardware\\DeviceMap",
                                        L"User",
                                        L"User\\.Default"};
    UNICODE_STRING Name;
    CMP_KEY *Root;
    NTSTATUS Status;
    ExInitializeFastMutex(&CmpLock);
    RtlInitUnicodeString(&Name, L"REGISTRY");
    CmpRoot = CmpAddChild(NULL, &Name);
    if (CmpRoot == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    Status = ObpCreateObject(&ObpKeyType, sizeof *Root, (PVOID *)&Root);
    if (!NT_SUCCESS(Status))
        return Status;
    Root->Node = CmpRoot;
    CmpRoot->Uses = 1;
    RtlInitUnicodeString(&Name, L"\\REGISTRY");
    Status = ObpCopyString(&Name, &Root->Path);
    if (NT_SUCCESS(Status))
        Status = ObpInsertName(Root, NULL, &Name, OBJ_PERMANENT, NULL);
    for (ULONG i = 0; i < ARRAYSIZE(Keys) && NT_SUCCESS(Status); i++) {
        OBJECT_ATTRIBUTES Attributes;
        HANDLE Key;
        UNICODE_STRING Path;
        WCHAR Buffer[96] = L"\\REGISTRY\\";
        ULONG At = 10;
        for (const WCHAR *W = Keys[i]; *W && At < ARRAYSIZE(Buffer) - 1; W++)
            Buffer[At++] = *W;
        Path = (UNICODE_STRING){(USHORT)(At * sizeof(WCHAR)), sizeof Buffer, Buffer};
        InitializeObjectAttributes(&Attributes, &Path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
        Status = ZwCreateKey(&Key, KEY_ALL_ACCESS, &Attributes, 0, NULL, 0, NULL);
        if (NT_SUCCESS(Status))
            ZwClose(Key);
    }
    ObfDereferenceObject(Root);
    return Status;
}

VOID CmpShutdownRegistry(VOID)
{
    CMP_NODE *Node = CmpRoot;
    /* Deepest first. Nodes that an object still uses go with that object. */
    while (Node) {
        if (!IsListEmpty(&Node->Children)) {
            Node = CONTAINING_RECORD(Node->Children.Flink, CMP_NODE, Link);
            continue;
        }
        CMP_NODE *Parent = Node->Parent;
        CmpUnlink(Node);
        if (Node->Uses == 0)
            CmpFreeNode(Node);
        Node = Parent;
    }
    CmpRoot = NULL;
}
