/*
 * directory.c - the namespace: directories, and finding and giving names. SPDX-License-Identifier: MIT
 *
 * Implements ObQueryNameString, ObReferenceObjectByName, ObOpenObjectByName, ZwCreateDirectoryObject,
 * ZwOpenDirectoryObject, ZwMakeTemporaryObject. Symbolic links are in symlink.c.
 *
 * The tree at start:
 *
 *     \  --+-- Device  Driver  FileSystem  KernelObjects  BaseNamedObjects  Callback  ObjectTypes
 *          +-- ??                       the DOS device names
 *          +-- DosDevices, GLOBAL??     symbolic links to \??     (and \??\Global, \??\GLOBALROOT)
 *          +-- REGISTRY                 a key: registry.c
 *
 * Names compare without regard to case, as a Windows system does by default whatever OBJ_CASE_INSENSITIVE says.
 * A look-up keeps one object referenced, the one it stands on, and walks:
 *     directory     -> the entry of the next component
 *     symbolic link -> starts again at target + rest, at most OBP_MAX_LINKS times (unless the link itself is wanted)
 *     has Parse     -> the type decides (device: a file object is made)
 *     anything else -> must be the end
 *
 * A directory does not keep a temporary entry alive: an entry whose count is zero is not found (ObpTryReference), and
 * leaves when its deletion gets to ObpForgetName. A permanent name holds one reference. An entry keeps its directory alive.
 *
 * Locks: ObpNameLock guards every directory list and every header's Directory and Name. Leaf. Names being looked up are
 * copied into nonpaged memory before it is taken.
 * Watch: ObpValidateNames() (invariant 3 of ob.h); tests/unit/ob_directory_test.c.
 */
#include "ob/obp.h"

#define OBP_MAX_LINKS 32

typedef struct _OBP_DIRECTORY {
    LIST_ENTRY Entries; /* OB_HEADER.DirectoryLink */
    ULONG Count;
} OBP_DIRECTORY;

OBJECT_TYPE ObpDirectoryType = {.Name = L"Directory", .Tag = 'eriD', .WaitOffset = -1, .ValidAccess = DIRECTORY_ALL_ACCESS};
PVOID ObpRootDirectory;
static KI_LOCK ObpNameLock;

NTSTATUS ObpCopyString(PCUNICODE_STRING Source, PUNICODE_STRING Copy)
{
    Copy->Length = Source->Length;
    Copy->MaximumLength = (USHORT)(Source->Length + sizeof(WCHAR));
    Copy->Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, (SIZE_T)Source->Length + sizeof(WCHAR), OBP_TAG_NAME);
    if (Copy->Buffer == NULL) {
        Copy->Length = Copy->MaximumLength = 0;
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Source->Length)
        memcpy(Copy->Buffer, Source->Buffer, Source->Length);
    return STATUS_SUCCESS;
}

VOID ObpFreeString(PUNICODE_STRING String)
{
    if (String->Buffer)
        ExFreePoolWithTag(String->Buffer, OBP_TAG_NAME);
    memset(String, 0, sizeof *String);
}

/* The next component of Rest ("\a\b": Component "a", Rest "\b"). FALSE: nothing left. */
static BOOLEAN ObpNextComponent(PUNICODE_STRING Rest, PUNICODE_STRING Component)
{
    ULONG Count = Rest->Length / sizeof(WCHAR), Start = 0, End;
    if (Count && Rest->Buffer[0] == L'\\')
        Start = 1;
    if (Start >= Count)
        return FALSE;
    for (End = Start; End < Count && Rest->Buffer[End] != L'\\'; End++) {
    }
    Component->Buffer = Rest->Buffer + Start;
    Component->Length = Component->MaximumLength = (USHORT)((End - Start) * sizeof(WCHAR));
    Rest->Buffer += End;
    Rest->Length = (USHORT)((Count - End) * sizeof(WCHAR));
    Rest->MaximumLength = Rest->Length;
    return TRUE;
}

static POB_HEADER ObpFindLocked(OBP_DIRECTORY *Directory, PCUNICODE_STRING Name)
{
    for (PLIST_ENTRY Entry = Directory->Entries.Flink; Entry != &Directory->Entries; Entry = Entry->Flink) {
        POB_HEADER Header = CONTAINING_RECORD(Entry, OB_HEADER, DirectoryLink);
        if (RtlEqualUnicodeString(&Header->Name, Name, TRUE))
            return Header;
    }
    return NULL;
}

static PVOID ObpFindReferenced(PVOID Directory, PCUNICODE_STRING Name)
{
    PVOID Found = NULL;
    KiAcquireLock(&ObpNameLock);
    POB_HEADER Header = ObpFindLocked(Directory, Name);
    if (Header && ObpTryReference(ObpBody(Header)))
        Found = ObpBody(Header);
    KiReleaseLock(&ObpNameLock);
    return Found;
}

#define OBP_SHORT_NAME 128 /* characters of a path that is looked up without asking for pool: closing down needs no memory */

/* Joins Target and Rest into Short if they fit, else into a new nonpaged string. */
static NTSTATUS ObpJoin(PCUNICODE_STRING Target, PCUNICODE_STRING Rest, WCHAR Short[OBP_SHORT_NAME], PUNICODE_STRING Result)
{
    SIZE_T Length = (SIZE_T)Target->Length + Rest->Length;
    if (Length > 0xfff0)
        return STATUS_NAME_TOO_LONG;
    Result->Buffer = Length <= (OBP_SHORT_NAME - 1) * sizeof(WCHAR)
                         ? Short
                         : ExAllocatePool2(POOL_FLAG_NON_PAGED, Length + sizeof(WCHAR), OBP_TAG_NAME);
    if (Result->Buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    if (Target->Length)
        memcpy(Result->Buffer, Target->Buffer, Target->Length);
    if (Rest->Length)
        memcpy((PUCHAR)Result->Buffer + Target->Length, Rest->Buffer, Rest->Length);
    Result->Length = (USHORT)Length;
    Result->MaximumLength = (USHORT)(Length + sizeof(WCHAR));
    return STATUS_SUCCESS;
}

static VOID ObpFreeJoined(PUNICODE_STRING String, WCHAR Short[2][OBP_SHORT_NAME])
{
    if (String->Buffer != Short[0] && String->Buffer != Short[1])
        ObpFreeString(String);
}

NTSTATUS ObpLookup(PVOID Root, PCUNICODE_STRING Path, OBP_OPEN *Open, PVOID *Object)
{
    UNICODE_STRING Whole = {0}, Rest, Component;
    WCHAR Short[2][OBP_SHORT_NAME]; /* a join reads what the one before it made */
    PVOID Current;
    ULONG Links = 0;
    NTSTATUS Status;
    *Object = NULL;
    if ((Path->Length & 1) != 0)
        return STATUS_OBJECT_NAME_INVALID;
    BOOLEAN Absolute = Path->Length && Path->Buffer[0] == L'\\';
    if (Root ? Absolute : !Absolute)
        return STATUS_OBJECT_PATH_SYNTAX_BAD;
    UNICODE_STRING Slash = {sizeof(WCHAR), sizeof(WCHAR), (PWCH)L"\\"}, None = {0, 0, NULL};
    Status = ObpJoin(Root && Path->Length ? &Slash : &None, Path, Short[0], &Whole);
    if (!NT_SUCCESS(Status))
        return Status;
    Current = Root ? Root : ObpRootDirectory;
    ObfReferenceObject(Current);
    Rest = Whole;
    for (;;) {
        POBJECT_TYPE Type = ObpHeader(Current)->Type;
        BOOLEAN AtEnd = Rest.Length == 0;
        if (Type == &ObpDirectoryType) {
            if (!ObpNextComponent(&Rest, &Component))
                break;
            PVOID Child = ObpFindReferenced(Current, &Component);
            if (Child == NULL) {
                Status = Rest.Length <= sizeof(WCHAR) ? STATUS_OBJECT_NAME_NOT_FOUND : STATUS_OBJECT_PATH_NOT_FOUND;
                goto Fail;
            }
            ObfDereferenceObject(Current);
            Current = Child;
        } else if (Type == &ObpSymbolicLinkType && !(AtEnd && (Open->Type == Type || (Open->Attributes & OBJ_OPENLINK)))) {
            UNICODE_STRING Next;
            Status = Links < OBP_MAX_LINKS ? ObpJoin(ObpLinkTarget(Current), &Rest, Short[(Links + 1) % 2], &Next)
                                           : STATUS_OBJECT_PATH_NOT_FOUND;
            Links++;
            if (!NT_SUCCESS(Status))
                goto Fail;
            ObpFreeJoined(&Whole, Short);
            Whole = Rest = Next;
            ObfDereferenceObject(Current);
            Current = ObpRootDirectory;
            ObfReferenceObject(Current);
        } else if (Type->Parse && !(AtEnd && Open->Type == Type)) {
            PVOID Result = NULL;
            Status = Type->Parse(Current, &Rest, Open, &Result);
            if (!NT_SUCCESS(Status))
                goto Fail;
            ObfDereferenceObject(Current);
            Current = Result;
            break;
        } else if (AtEnd) {
            break;
        } else {
            Status = STATUS_OBJECT_TYPE_MISMATCH;
            goto Fail;
        }
    }
    if (Open->Type && ObpHeader(Current)->Type != Open->Type) {
        Status = STATUS_OBJECT_TYPE_MISMATCH;
        goto Fail;
    }
    ObpFreeJoined(&Whole, Short);
    *Object = Current;
    return STATUS_SUCCESS;
Fail:
    ObfDereferenceObject(Current);
    ObpFreeJoined(&Whole, Short);
    return Status;
}

/* The root object of an OBJECT_ATTRIBUTES, referenced, or NULL. */
static NTSTATUS ObpReferenceRoot(const OBJECT_ATTRIBUTES *Attributes, PVOID *Root)
{
    *Root = NULL;
    if (Attributes == NULL || Attributes->RootDirectory == NULL)
        return STATUS_SUCCESS;
    return ObReferenceObjectByHandle(Attributes->RootDirectory, 0, NULL, KernelMode, Root, NULL);
}

NTSTATUS ObpLookupAttributes(const OBJECT_ATTRIBUTES *Attributes, OBP_OPEN *Open, PVOID *Object)
{
    PVOID Root;
    *Object = NULL;
    if (Attributes == NULL || Attributes->Length != sizeof *Attributes)
        return STATUS_INVALID_PARAMETER;
    if (Attributes->ObjectName == NULL)
        return STATUS_OBJECT_PATH_SYNTAX_BAD;
    NTSTATUS Status = ObpReferenceRoot(Attributes, &Root);
    if (!NT_SUCCESS(Status))
        return Status;
    Open->Attributes = Attributes->Attributes;
    Status = ObpLookup(Root, Attributes->ObjectName, Open, Object);
    if (Root)
        ObfDereferenceObject(Root);
    return Status;
}

NTSTATUS ObpInsertName(PVOID Object, PVOID Root, PCUNICODE_STRING Path, ULONG Attributes, PVOID *Existing)
{
    POB_HEADER Header = ObpHeader(Object), Old;
    UNICODE_STRING Parent = *Path, Last, Name = {0};
    PVOID Directory;
    OBP_OPEN Open = {.Type = &ObpDirectoryType};
    ULONG Count = Path->Length / sizeof(WCHAR), Split = Count;
    NTSTATUS Status;
    if (Existing)
        *Existing = NULL;
    if ((Path->Length & 1) != 0 || Count == 0)
        return STATUS_OBJECT_NAME_INVALID;
    if (Root ? Path->Buffer[0] == L'\\' : Path->Buffer[0] != L'\\')
        return STATUS_OBJECT_PATH_SYNTAX_BAD;
    while (Split > 0 && Path->Buffer[Split - 1] != L'\\')
        Split--;
    if (Split == Count)
        return STATUS_OBJECT_NAME_INVALID;
    Last.Buffer = Path->Buffer + Split;
    Last.Length = Last.MaximumLength = (USHORT)((Count - Split) * sizeof(WCHAR));
    Parent.Length = (USHORT)((Split > 1 ? Split - 1 : Split) * sizeof(WCHAR));
    if (Root && Split == 0) {
        Directory = Root;
        ObfReferenceObject(Root);
        if (ObpHeader(Root)->Type != &ObpDirectoryType)
            Status = STATUS_OBJECT_TYPE_MISMATCH;
        else
            Status = STATUS_SUCCESS;
        if (!NT_SUCCESS(Status)) {
            ObfDereferenceObject(Root);
            return Status;
        }
    } else {
        Status = ObpLookup(Root, &Parent, &Open, &Directory);
        if (Status == STATUS_OBJECT_NAME_NOT_FOUND || Status == STATUS_OBJECT_TYPE_MISMATCH)
            Status = STATUS_OBJECT_PATH_NOT_FOUND;
        if (!NT_SUCCESS(Status))
            return Status;
    }
    Status = ObpCopyString(&Last, &Name);
    if (!NT_SUCCESS(Status)) {
        ObfDereferenceObject(Directory);
        return Status;
    }
    if (Attributes & OBJ_PERMANENT)
        ObfReferenceObject(Object);
    KiAcquireLock(&ObpNameLock);
    Old = ObpFindLocked(Directory, &Name);
    if (Old && !ObpTryReference(ObpBody(Old))) {
        /* On its way out: it loses the name now, its deletion finds none. */
        RemoveEntryList(&Old->DirectoryLink);
        InitializeListHead(&Old->DirectoryLink);
        ((OBP_DIRECTORY *)Directory)->Count--;
        __atomic_fetch_or(&Old->Flags, OBP_F_UNLINKED, __ATOMIC_ACQ_REL);
        Old = NULL;
    }
    if (Old == NULL) {
        Header->Name = Name;
        Header->Directory = ObpHeader(Directory);
        if (Attributes & OBJ_PERMANENT)
            __atomic_fetch_or(&Header->Flags, OBP_F_PERMANENT, __ATOMIC_ACQ_REL);
        InsertTailList(&((OBP_DIRECTORY *)Directory)->Entries, &Header->DirectoryLink);
        ((OBP_DIRECTORY *)Directory)->Count++;
    }
    KiReleaseLock(&ObpNameLock);
    if (Old == NULL)
        return STATUS_SUCCESS; /* the entry keeps the reference to its directory */
    if (Attributes & OBJ_PERMANENT)
        ObfDereferenceObject(Object);
    ObfDereferenceObject(Directory);
    ObpFreeString(&Name);
    if ((Attributes & OBJ_OPENIF) && Existing) {
        *Existing = ObpBody(Old);
        return STATUS_OBJECT_NAME_EXISTS;
    }
    ObfDereferenceObject(ObpBody(Old));
    return STATUS_OBJECT_NAME_COLLISION;
}

static VOID ObpForget(POB_HEADER Header, BOOLEAN IfIdle)
{
    UNICODE_STRING Name = {0};
    KiAcquireLock(&ObpNameLock);
    POB_HEADER Directory = Header->Directory;
    ULONG Flags = __atomic_load_n(&Header->Flags, __ATOMIC_ACQUIRE);
    /* Opened again, or permanent: the name stays. */
    if (IfIdle && ((Flags & OBP_F_PERMANENT) || __atomic_load_n(&Header->HandleCount, __ATOMIC_ACQUIRE)))
        Directory = NULL;
    if (Directory) {
        if (!(Flags & OBP_F_UNLINKED)) {
            RemoveEntryList(&Header->DirectoryLink);
            ((OBP_DIRECTORY *)ObpBody(Directory))->Count--;
        }
        Name = Header->Name;
        memset(&Header->Name, 0, sizeof Header->Name);
        Header->Directory = NULL;
        __atomic_fetch_and(&Header->Flags, ~OBP_F_UNLINKED, __ATOMIC_ACQ_REL);
    }
    KiReleaseLock(&ObpNameLock);
    if (Directory == NULL)
        return;
    ObpFreeString(&Name);
    ObfDereferenceObject(ObpBody(Directory));
}

VOID ObpForgetName(POB_HEADER Header)
{
    ObpForget(Header, FALSE);
}

VOID ObpForgetIdleName(POB_HEADER Header)
{
    ObpForget(Header, TRUE);
}

VOID ObpRemoveName(PVOID Object)
{
    POB_HEADER Header = ObpHeader(Object);
    ObpForgetName(Header);
    if (__atomic_fetch_and(&Header->Flags, ~OBP_F_PERMANENT, __ATOMIC_ACQ_REL) & OBP_F_PERMANENT)
        ObfDereferenceObject(Object);
}

VOID ObMakeTemporaryObject(PVOID Object)
{
    POB_HEADER Header = ObpHeader(Object);
    if (!(__atomic_fetch_and(&Header->Flags, ~OBP_F_PERMANENT, __ATOMIC_ACQ_REL) & OBP_F_PERMANENT))
        return;
    ObpForgetIdleName(Header);
    ObfDereferenceObject(Object);
}

VOID ObpEnumerateDirectory(PVOID Directory, VOID (*Visit)(PVOID, PCUNICODE_STRING, PVOID), PVOID Context)
{
    /* One entry at a time, by position from a marker in the list: Visit may remove what it is shown. */
    OBP_DIRECTORY *D = Directory;
    PVOID Previous = NULL;
    for (;;) {
        PVOID Next = NULL;
        UNICODE_STRING Name;
        WCHAR Buffer[64];
        KiAcquireLock(&ObpNameLock);
        PLIST_ENTRY Entry = D->Entries.Flink;
        if (Previous && ObpHeader(Previous)->Directory == ObpHeader(Directory) &&
            !(__atomic_load_n(&ObpHeader(Previous)->Flags, __ATOMIC_ACQUIRE) & OBP_F_UNLINKED))
            Entry = ObpHeader(Previous)->DirectoryLink.Flink;
        for (; Entry != &D->Entries; Entry = Entry->Flink) {
            POB_HEADER Header = CONTAINING_RECORD(Entry, OB_HEADER, DirectoryLink);
            if (!ObpTryReference(ObpBody(Header)))
                continue;
            Next = ObpBody(Header);
            Name.Length = Header->Name.Length < sizeof Buffer ? Header->Name.Length : (USHORT)sizeof Buffer;
            Name.MaximumLength = sizeof Buffer;
            Name.Buffer = Buffer;
            memcpy(Buffer, Header->Name.Buffer, Name.Length);
            break;
        }
        KiReleaseLock(&ObpNameLock);
        if (Previous)
            ObfDereferenceObject(Previous);
        if (Next == NULL)
            return;
        Visit(Next, &Name, Context);
        Previous = Next;
    }
}

static ULONG ObpNameBytesLocked(POB_HEADER Header)
{
    ULONG Bytes = 0;
    for (; Header->Directory; Header = Header->Directory)
        Bytes += sizeof(WCHAR) + Header->Name.Length;
    return Bytes;
}

NTSTATUS ObpQueryName(PVOID Object, PUNICODE_STRING Name)
{
    UNICODE_STRING Suffix = {0};
    PVOID Base = Object;
    POBJECT_TYPE Type = ObpHeader(Object)->Type;
    ULONG Room = 0;
    memset(Name, 0, sizeof *Name);
    if (Type->QueryName)
        Type->QueryName(Object, &Base, &Suffix);
    if (Object == ObpRootDirectory)
        Suffix = (UNICODE_STRING){sizeof(WCHAR), sizeof(WCHAR), (PWCH)L"\\"};
    for (;;) {
        ULONG Bytes = 0;
        KiAcquireLock(&ObpNameLock);
        if (Base)
            Bytes = ObpNameBytesLocked(ObpHeader(Base));
        if (Room && Bytes + Suffix.Length <= Room) {
            ULONG At = Bytes;
            for (POB_HEADER H = Base ? ObpHeader(Base) : NULL; H && H->Directory; H = H->Directory) {
                At -= H->Name.Length;
                memcpy((PUCHAR)Name->Buffer + At, H->Name.Buffer, H->Name.Length);
                At -= sizeof(WCHAR);
                *(PWCH)((PUCHAR)Name->Buffer + At) = L'\\';
            }
            Name->Length = (USHORT)Bytes;
        }
        KiReleaseLock(&ObpNameLock);
        if (Room && Bytes + Suffix.Length <= Room)
            break;
        if (Bytes + Suffix.Length == 0)
            return STATUS_SUCCESS;
        if (Bytes + Suffix.Length > 0xfff0)
            return STATUS_NAME_TOO_LONG;
        ObpFreeString(Name);
        Room = Bytes + Suffix.Length;
        Name->Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Room + sizeof(WCHAR), OBP_TAG_NAME);
        if (Name->Buffer == NULL)
            return STATUS_INSUFFICIENT_RESOURCES;
        Name->MaximumLength = (USHORT)(Room + sizeof(WCHAR));
    }
    if (Suffix.Length)
        memcpy((PUCHAR)Name->Buffer + Name->Length, Suffix.Buffer, Suffix.Length);
    Name->Length = (USHORT)(Name->Length + Suffix.Length);
    return STATUS_SUCCESS;
}

NTSTATUS ObQueryNameString(PVOID Object, POBJECT_NAME_INFORMATION ObjectNameInfo, ULONG Length, PULONG ReturnLength)
{
    UNICODE_STRING Name;
    NTSTATUS Status = ObpQueryName(Object, &Name);
    if (!NT_SUCCESS(Status))
        return Status;
    ULONG Need = sizeof(OBJECT_NAME_INFORMATION) + (Name.Length ? Name.Length + sizeof(WCHAR) : 0);
    *ReturnLength = Need;
    if (Length < Need) {
        Status = STATUS_INFO_LENGTH_MISMATCH;
    } else if (Name.Length == 0) {
        memset(ObjectNameInfo, 0, sizeof *ObjectNameInfo);
    } else {
        PWCH Buffer = (PWCH)(ObjectNameInfo + 1);
        memcpy(Buffer, Name.Buffer, Name.Length);
        Buffer[Name.Length / sizeof(WCHAR)] = 0;
        ObjectNameInfo->Name.Buffer = Buffer;
        ObjectNameInfo->Name.Length = Name.Length;
        ObjectNameInfo->Name.MaximumLength = (USHORT)(Name.Length + sizeof(WCHAR));
    }
    ObpFreeString(&Name);
    return Status;
}

NTSTATUS ObReferenceObjectByName(PUNICODE_STRING ObjectName, ULONG Attributes, PVOID AccessState, ACCESS_MASK DesiredAccess,
                                 POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode, PVOID ParseContext, PVOID *Object)
{
    UNREFERENCED_PARAMETER(AccessState);
    OBP_OPEN Open = {ObjectType, DesiredAccess, Attributes, AccessMode, ParseContext};
    if (ObjectName == NULL || ObjectName->Length == 0)
        return STATUS_OBJECT_NAME_INVALID;
    return ObpLookup(NULL, ObjectName, &Open, Object);
}

NTSTATUS ObpOpenWithHandle(POBJECT_TYPE Type, const OBJECT_ATTRIBUTES *Attributes, ACCESS_MASK Access, PVOID Context,
                           PHANDLE Handle)
{
    OBP_OPEN Open = {.Type = Type, .Access = Access, .Mode = KernelMode, .Context = Context};
    PVOID Object;
    NTSTATUS Status = ObpLookupAttributes(Attributes, &Open, &Object);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpInsertHandle(Object, Access, Attributes->Attributes, Handle);
    ObfDereferenceObject(Object);
    return Status;
}

NTSTATUS ObOpenObjectByName(POBJECT_ATTRIBUTES ObjectAttributes, POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
                            PVOID AccessState, ACCESS_MASK DesiredAccess, PVOID ParseContext, PHANDLE Handle)
{
    UNREFERENCED_PARAMETER(AccessMode);
    UNREFERENCED_PARAMETER(AccessState);
    return ObpOpenWithHandle(ObjectType, ObjectAttributes, DesiredAccess, ParseContext, Handle);
}

NTSTATUS ObpCreateWithHandle(POBJECT_TYPE Type, SIZE_T BodySize, const OBJECT_ATTRIBUTES *Attributes, ACCESS_MASK Access,
                             NTSTATUS (*Setup)(PVOID Object, PVOID Context), PVOID Context, PHANDLE Handle)
{
    PVOID Object, Root, Existing = NULL;
    NTSTATUS Status, Named = STATUS_SUCCESS;
    ULONG Flags = Attributes ? Attributes->Attributes : 0;
    if (Attributes && Attributes->Length != sizeof *Attributes)
        return STATUS_INVALID_PARAMETER;
    Status = ObpReferenceRoot(Attributes, &Root);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = ObpCreateObject(Type, BodySize, &Object);
    if (NT_SUCCESS(Status)) {
        if (Setup)
            Status = Setup(Object, Context);
        if (NT_SUCCESS(Status) && Attributes && Attributes->ObjectName && Attributes->ObjectName->Length)
            Named = ObpInsertName(Object, Root, Attributes->ObjectName, Flags, &Existing);
        if (NT_SUCCESS(Status))
            Status = Named;
        if (Existing) {
            ObfDereferenceObject(Object);
            Object = Existing;
            if (ObpHeader(Object)->Type != Type)
                Status = STATUS_OBJECT_TYPE_MISMATCH;
        }
        if (NT_SUCCESS(Status)) {
            Status = ObpInsertHandle(Object, Access, Flags, Handle);
            if (NT_SUCCESS(Status))
                Status = Named;
            else if (!Existing)
                ObMakeTemporaryObject(Object);
        }
        ObfDereferenceObject(Object);
    }
    if (Root)
        ObfDereferenceObject(Root);
    return Status;
}

static NTSTATUS ObpSetupDirectory(PVOID Object, PVOID Context)
{
    UNREFERENCED_PARAMETER(Context);
    InitializeListHead(&((OBP_DIRECTORY *)Object)->Entries);
    return STATUS_SUCCESS;
}

NTSTATUS ZwCreateDirectoryObject(PHANDLE DirectoryHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, DirectoryHandle);
    return ObpCreateWithHandle(&ObpDirectoryType, sizeof(OBP_DIRECTORY), ObjectAttributes, DesiredAccess, ObpSetupDirectory,
                               NULL, DirectoryHandle);
}

NTSTATUS ZwOpenDirectoryObject(PHANDLE DirectoryHandle, ACCESS_MASK DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes)
{
    KI_CHECK_SERVICE(ObjectAttributes, NULL, DirectoryHandle);
    return ObpOpenWithHandle(&ObpDirectoryType, ObjectAttributes, DesiredAccess, NULL, DirectoryHandle);
}

NTSTATUS ZwMakeTemporaryObject(HANDLE Handle)
{
    PVOID Object;
    NTSTATUS Status = ObReferenceObjectByHandle(Handle, DELETE, NULL, KernelMode, &Object, NULL);
    if (!NT_SUCCESS(Status))
        return Status;
    ObMakeTemporaryObject(Object);
    ObfDereferenceObject(Object);
    return STATUS_SUCCESS;
}

static NTSTATUS ObpMakeDirectory(const WCHAR *Path)
{
    PVOID Object;
    UNICODE_STRING Name;
    NTSTATUS Status = ObpCreateObject(&ObpDirectoryType, sizeof(OBP_DIRECTORY), &Object);
    if (!NT_SUCCESS(Status))
        return Status;
    ObpSetupDirectory(Object, NULL);
    if (ObpRootDirectory == NULL) {
        ObpRootDirectory = Object;
        return STATUS_SUCCESS;
    }
    RtlInitUnicodeString(&Name, Path);
    Status = ObpInsertName(Object, NULL, &Name, OBJ_PERMANENT, NULL);
    ObfDereferenceObject(Object);
    return Status;
}

NTSTATUS ObpInitNames(VOID)
{
    static const WCHAR *const Directories[] = {L"\\",           L"\\Device",        L"\\Driver",           L"\\FileSystem",
                                               L"\\??",         L"\\KernelObjects", L"\\BaseNamedObjects", L"\\Callback",
                                               L"\\ObjectTypes"};
    static const WCHAR *const Links[] = {L"\\DosDevices", L"\\GLOBAL??", L"\\??\\Global"};
    NTSTATUS Status = STATUS_SUCCESS;
    UNICODE_STRING Name, Target;
    for (ULONG i = 0; i < ARRAYSIZE(Directories) && NT_SUCCESS(Status); i++)
        Status = ObpMakeDirectory(Directories[i]);
    RtlInitUnicodeString(&Target, L"\\??");
    for (ULONG i = 0; i < ARRAYSIZE(Links) && NT_SUCCESS(Status); i++) {
        RtlInitUnicodeString(&Name, Links[i]);
        Status = ObpCreateLink(&Name, &Target, OBJ_PERMANENT);
    }
    RtlInitUnicodeString(&Name, L"\\??\\GLOBALROOT");
    RtlInitUnicodeString(&Target, L"");
    if (NT_SUCCESS(Status))
        Status = ObpCreateLink(&Name, &Target, OBJ_PERMANENT);
    return Status;
}

/* Takes every name away, depth first, so that objects nobody else holds are deleted. */
static VOID ObpEmpty(PVOID Object, PCUNICODE_STRING Name, PVOID Context)
{
    UNREFERENCED_PARAMETER(Name);
    if (ObpHeader(Object)->Type == &ObpDirectoryType)
        ObpEnumerateDirectory(Object, ObpEmpty, Context);
    ObpRemoveName(Object);
}

VOID ObpShutdownNames(VOID)
{
    if (ObpRootDirectory == NULL)
        return;
    ObpEnumerateDirectory(ObpRootDirectory, ObpEmpty, NULL);
    ObfDereferenceObject(ObpRootDirectory);
    ObpRootDirectory = NULL;
}

const CHAR *ObpValidateNames(VOID)
{
    /* Invariant 3, for the tree two levels deep: lists and counts agree, links are consistent, names are unique. */
    const CHAR *Broken = NULL;
    if (ObpRootDirectory == NULL)
        return NULL;
    KiAcquireLock(&ObpNameLock);
    OBP_DIRECTORY *Stack[16];
    ULONG Depth = 0;
    Stack[Depth++] = ObpRootDirectory;
    while (Depth && Broken == NULL) {
        OBP_DIRECTORY *Directory = Stack[--Depth];
        ULONG Count = 0;
        for (PLIST_ENTRY Entry = Directory->Entries.Flink; Entry != &Directory->Entries && !Broken;
             Entry = Entry->Flink, Count++) {
            POB_HEADER Header = CONTAINING_RECORD(Entry, OB_HEADER, DirectoryLink);
            ULONG Magic = __atomic_load_n(&Header->Magic, __ATOMIC_ACQUIRE);
            if (Magic != OBP_MAGIC && Magic != OBP_DEAD)
                Broken = "ob 1: a named object has no live header";
            else if (Header->Directory != ObpHeader(Directory))
                Broken = "ob 3: a directory entry points at another directory";
            else if (ObpFindLocked(Directory, &Header->Name) != Header)
                Broken = "ob 3: two entries have one name";
            else if (Entry->Flink->Blink != Entry)
                Broken = "ob 3: a directory list is broken";
            else if (Header->Type == &ObpDirectoryType && Depth < ARRAYSIZE(Stack))
                Stack[Depth++] = ObpBody(Header);
        }
        if (!Broken && Count != Directory->Count)
            Broken = "ob 3: a directory's count is not the length of its list";
    }
    KiReleaseLock(&ObpNameLock);
    return Broken;
}
