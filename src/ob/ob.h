/*
 * ob.h - objects, names and handles, for the layers above: ps (threads, processes), io (drivers, devices, files).
 * SPDX-License-Identifier: MIT
 *
 * An object is a body behind a header in nonpaged pool. The header holds the type, two counts and the name:
 *
 *     +------------------+ <- pool block, tag = the type's
 *     | OB_HEADER        |    Magic, Type, PointerCount, HandleCount, name, place in its directory
 *     +------------------+ <- the "object": what drivers hold (DEVICE_OBJECT, KEVENT, KTHREAD, ...), 16-byte aligned
 *     | body             |
 *     +------------------+
 *
 * Life of an object:
 *     ObpCreateObject   one reference, the creator's; body zeroed; no name, no handle
 *     ObpInsertName     into a directory (a temporary name: it goes when the last handle closes, or with
 *                       ObpRemoveName; a permanent one keeps a reference until made temporary)
 *     ObpInsertHandle   +1 handle, +1 reference
 *     ObfDereferenceObject to 0: the type's Delete, then the block is freed. Deleted at once at PASSIVE_LEVEL, by a
 *                       worker above it.
 *
 * What is kept true (ObpValidate quotes the numbers):
 *   1. A live header's Magic is OBP_MAGIC and its Type one of ours.
 *   2. PointerCount >= HandleCount >= 0, and PointerCount > 0 while the object lives.
 *   3. An object with a directory is in that directory's list exactly once, under a unique name.
 *   4. A handle entry in use names a live object; the object's HandleCount is the number of such entries.
 */
#pragma once
#include "mm/mm.h"

#define OBP_MAGIC 0x4a424f21u /* alive */
#define OBP_DEAD  0x64616564u /* deleted; the block is about to be freed */

typedef struct _OBP_OPEN OBP_OPEN;
typedef struct _OBJECT_TYPE {
    const WCHAR *Name;
    ULONG Tag;
    GENERIC_MAPPING Mapping;
    ACCESS_MASK ValidAccess;
    LONG WaitOffset;           /* where the body's DISPATCHER_HEADER is; < 0: not waitable */
    BOOLEAN SupportsCallbacks; /* ObRegisterCallbacks */
    /* The last reference is gone. IRQL PASSIVE_LEVEL, no lock held. May be NULL. */
    VOID (*Delete)(PVOID Object);
    /* A handle was closed; Remaining handles are open in the whole system. PASSIVE_LEVEL. May be NULL. */
    VOID (*Close)(PVOID Object, LONG Remaining);
    /* A name goes on below this object (or ends at it): turns (Object, Rest) into another object, referenced.
     * Rest starts with a backslash or is empty. May be NULL: the name must end here. */
    NTSTATUS (*Parse)(PVOID Object, PCUNICODE_STRING Rest, OBP_OPEN *Open, PVOID *Result);
    /* The object's name is Base's, then Suffix (which stays valid while the object is referenced). May be NULL: its own. */
    VOID (*QueryName)(PVOID Object, PVOID *Base, PUNICODE_STRING Suffix);
    volatile LONG Objects, Handles; /* of this type, now */
} OBJECT_TYPE;

/* What travels through a name look-up. */
struct _OBP_OPEN {
    POBJECT_TYPE Type; /* wanted, or NULL */
    ACCESS_MASK Access;
    ULONG Attributes; /* OBJ_* */
    KPROCESSOR_MODE Mode;
    PVOID Context; /* the opener's, for Parse (io: its create parameters) */
};

typedef struct _OB_HEADER {
    ULONG Magic;
    ULONG Flags; /* OBP_F_* */
    POBJECT_TYPE Type;
    volatile LONG64 PointerCount;
    volatile LONG HandleCount;
    ULONG Reserved;
    struct _OB_HEADER *Directory; /* header of the directory it is named in, or NULL */
    LIST_ENTRY DirectoryLink;
    UNICODE_STRING Name; /* last component; own block */
    LIST_ENTRY DeferredLink;
    ULONG_PTR Pad[1];
} OB_HEADER, *POB_HEADER;
C_ASSERT(sizeof(OB_HEADER) % 16 == 0);
#define OBP_F_PERMANENT 0x1u
#define OBP_F_UNLINKED  0x4u /* dying, and its name was given to another */
#define OBP_F_KERNEL    0x2u /* built into the core; not in pool, never deleted */

static inline POB_HEADER ObpHeader(const volatile VOID *Object)
{
    return (POB_HEADER)((ULONG_PTR)Object - sizeof(OB_HEADER));
}
static inline PVOID ObpBody(POB_HEADER Header)
{
    return Header + 1;
}

/* ---- system ---- */
NTSTATUS ObInitSystem(VOID); /* after ExInitSystem: root directories, built-in types */
VOID ObShutdownSystem(VOID);
const CHAR *ObpValidate(VOID); /* NULL, or the first broken invariant */

/* ---- objects ---- IRQL <= DISPATCH_LEVEL unless said otherwise */
/* A body of BodySize zeroed bytes with one reference. STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS ObpCreateObject(POBJECT_TYPE Type, SIZE_T BodySize, PVOID *Object);
/* Makes the bytes before a body that lives outside the pool (OB_HEADER of them) its header: an object of the core's own
 * that is never deleted, with one reference. For threads of the host and other bodies made before pools exist. */
VOID ObpInitializeStatic(POBJECT_TYPE Type, PVOID Object);
/* The type of a live object, or NULL if the pointer is not one. Does not fault on a wrong pointer into the host. */
POBJECT_TYPE ObpTypeOf(const volatile VOID *Object);
/* Takes a reference unless the count is zero already (object on its way out). */
BOOLEAN ObpTryReference(PVOID Object);
LONG64 ObpPointerCount(PVOID Object);
LONG ObpHandleCount(PVOID Object);

/* ---- names ---- IRQL PASSIVE_LEVEL */
extern PVOID ObpRootDirectory;
/* Gives Object the name Path, absolute or relative to Root (a directory object or NULL). OBJ_PERMANENT keeps it.
 * STATUS_OBJECT_NAME_COLLISION (OBJ_OPENIF: *Existing is returned referenced, STATUS_OBJECT_NAME_EXISTS),
 * STATUS_OBJECT_PATH_NOT_FOUND, STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_OBJECT_NAME_INVALID, STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS ObpInsertName(PVOID Object, PVOID Root, PCUNICODE_STRING Path, ULONG Attributes, PVOID *Existing);
/* Takes the name away, and the reference that a permanent name holds. */
VOID ObpRemoveName(PVOID Object);
/* Finds a name through directories, symbolic links and Parse routines; the result is referenced. Root may be NULL.
 * STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH, STATUS_OBJECT_PATH_SYNTAX_BAD. */
NTSTATUS ObpLookup(PVOID Root, PCUNICODE_STRING Path, OBP_OPEN *Open, PVOID *Object);
/* The same from an OBJECT_ATTRIBUTES: its root handle, name, attributes. */
NTSTATUS ObpLookupAttributes(const OBJECT_ATTRIBUTES *Attributes, OBP_OPEN *Open, PVOID *Object);
/* Calls Visit for each name in a directory, with the entry referenced for the time of the call. */
VOID ObpEnumerateDirectory(PVOID Directory, VOID (*Visit)(PVOID Object, PCUNICODE_STRING Name, PVOID Context), PVOID Context);
/* The object's full name in new nonpaged memory (empty if it has none). */
NTSTATUS ObpQueryName(PVOID Object, PUNICODE_STRING Name);
/* A nonpaged copy of a string, NUL-terminated behind its Length. */
NTSTATUS ObpCopyString(PCUNICODE_STRING Source, PUNICODE_STRING Copy);
VOID ObpFreeString(PUNICODE_STRING String);
#define OBP_TAG_NAME 0x6d4e624fu /* 'ObNm': the tag of strings ObpFreeString frees */
/* Creates or opens a named (or unnamed) object as ZwCreate* do, and a handle to it. Setup fills the new body.
 * STATUS_OBJECT_NAME_EXISTS with OBJ_OPENIF. */
NTSTATUS ObpCreateWithHandle(POBJECT_TYPE Type, SIZE_T BodySize, const OBJECT_ATTRIBUTES *Attributes, ACCESS_MASK Access,
                             NTSTATUS (*Setup)(PVOID Object, PVOID Context), PVOID Context, PHANDLE Handle);
NTSTATUS ObpOpenWithHandle(POBJECT_TYPE Type, const OBJECT_ATTRIBUTES *Attributes, ACCESS_MASK Access, PVOID Context,
                           PHANDLE Handle);

/* A symbolic link Name -> Target; takes one away (STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH). */
NTSTATUS ObpCreateLink(PCUNICODE_STRING Name, PCUNICODE_STRING Target, ULONG Attributes);
NTSTATUS ObpRemoveLink(PCUNICODE_STRING Name);
PCUNICODE_STRING ObpLinkTarget(PVOID Link);

/* ---- handles ---- IRQL PASSIVE_LEVEL */
struct _OBP_HANDLE_TABLE;
NTSTATUS ObpCreateHandleTable(struct _OBP_HANDLE_TABLE **Table);
/* Closes what is open in it and frees it. */
VOID ObpDestroyHandleTable(struct _OBP_HANDLE_TABLE *Table);
/* A new handle, with its own reference, in the current process's table or (OBJ_KERNEL_HANDLE) the kernel's.
 * STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS ObpInsertHandle(PVOID Object, ACCESS_MASK Access, ULONG Attributes, PHANDLE Handle);
/* The same for a handle that a caller opens or duplicates: the callbacks of ObRegisterCallbacks see it and may take access away. */
NTSTATUS ObpInsertHandleChecked(PVOID Object, ACCESS_MASK Access, ULONG Attributes, BOOLEAN Duplicate, PHANDLE Handle);
/* STATUS_INVALID_HANDLE. */
NTSTATUS ObpCloseHandle(HANDLE Handle, KPROCESSOR_MODE Mode);
/* Calls Visit for each handle open in the kernel's table; used by reports of what a driver left open. */
VOID ObpEnumerateHandles(VOID (*Visit)(HANDLE Handle, PVOID Object, PVOID Context), PVOID Context);

/* Set by ps: the current process's table (NULL: the kernel's), and what NtCurrentProcess() and NtCurrentThread() mean. */
extern struct _OBP_HANDLE_TABLE *(*ObpCurrentTableRoutine)(VOID);
extern PVOID (*ObpPseudoHandleRoutine)(HANDLE Handle);
extern struct _OBP_HANDLE_TABLE *ObpKernelTable;

extern OBJECT_TYPE ObpDirectoryType, ObpSymbolicLinkType, ObpEventType, ObpKeyType;
