/*
 * ldr.h - binary drivers: what this layer offers to unwinding, symbols, the host API and the command.
 * SPDX-License-Identifier: MIT
 *
 *   file bytes --pe.c--> LDR_PE (a checked description) --image.c--> LDR_IMAGE (mapped, relocated, imports bound)
 *                                                          |             |
 *                                     border.c: one ms_abi entry per DDI +--driver.c: DRIVER_OBJECT, DriverEntry, unload
 *
 * An LDR_IMAGE has two copies of the image's bytes: the pages at Base, in MmRegionDriverImages, which the driver runs
 * on and whose protections the memory manager enforces; and View, a private copy in host memory in image layout, never
 * relocated, never discarded. Whoever needs tables of the image (.pdata, .xdata, exports, strings) reads View, with RVAs
 * checked against Size: that never faults, at any IRQL, and a driver cannot have overwritten it.
 */
#pragma once
#include "ke/ki.h"
#include "ldr/pe.h"

/* ---- a loaded image ---- */
typedef struct _LDR_IMAGE {
    PUCHAR Base;                                    /* in MmRegionDriverImages */
    SIZE_T Size;                                    /* bytes, whole pages */
    CHAR Name[64];                                  /* "driver.sys" */
    CHAR *Path;                                     /* as given, or Name */
    const UCHAR *View;                              /* see the head of this file; [View, View + Size) */
    const LDR_RUNTIME_FUNCTION *ExceptionDirectory; /* in View, sorted; NULL: none */
    ULONG ExceptionCount;
    const UCHAR *File; /* the file's bytes, kept while loaded: COFF symbols, DWARF sections */
    SIZE_T FileSize;
    LDR_PE Pe;                  /* describes File */
    struct _MM_IMAGE *Sections; /* what mm knows of it; NULL until registered */
    BOOLEAN InitDiscarded;      /* INIT sections are gone */
    BOOLEAN Relocated;
    BOOLEAN UsesSharedData; /* KUSER_SHARED_DATA addresses in it point to the mirror page */
    ULONG ImportsBound, ImportsMissing;
    const CHAR **Missing; /* "module!name", ImportsMissing of them */
    PUCHAR Stubs;         /* code of the missing imports, in the images' region; NULL: none */
    SIZE_T StubPages;
    struct _LDRP_MISSING *MissingRecords;
    ULONG ReferenceCount; /* images that import from this one */
    struct _LDR_IMAGE *Uses[16];
    ULONG UseCount;
    PVOID DriverObject; /* PDRIVER_OBJECT once started */
    const CHAR
        *HardwareId; /* before LdrStartDriver: of the root device of a plug-and-play driver; NULL: ROOT\<name>; "": no device */
    PCUNICODE_STRING
    ObjectName; /* during LdrStartDriver: the file's full name for load notifications; NULL: as if in the drivers' folder */
    CHAR Service[64]; /* before LdrStartDriver: the driver's name; empty: the file's, without .sys */
} LDR_IMAGE;

/* Loads an image from Path, or from Bytes (Path is then its name; the bytes are copied). Maps, relocates, binds, does not
 * run anything. PASSIVE_LEVEL. Failure: a status, and one sentence in Error.
 * STATUS_INVALID_IMAGE_FORMAT (malformed, another machine's), STATUS_INVALID_IMAGE_WIN_32 (32-bit x86),
 * STATUS_NO_MEMORY, STATUS_CONFLICTING_ADDRESSES (must move, and cannot), STATUS_OBJECT_NAME_NOT_FOUND (no such file). */
NTSTATUS LdrLoadImage(const CHAR *Path, const VOID *Bytes, SIZE_T Size, LDR_IMAGE **Image, CHAR *Error, SIZE_T ErrorSize);
/* Unmaps and frees. Its code must not be running. STATUS_DEVICE_BUSY: another image imports from it. */
NTSTATUS LdrUnloadImage(LDR_IMAGE *Image);
/* The image whose pages hold the address (its import stubs count), or NULL. Any IRQL, no lock. */
LDR_IMAGE *LdrpFindImage(ULONG_PTR Address);
/* Does the image around Address import from an image of whose base Is says so? */
BOOLEAN LdrImportsFrom(ULONG_PTR Address, BOOLEAN (*Is)(ULONG_PTR Base));
/* Calls Routine for each loaded image, oldest first, until it returns FALSE. */
VOID LdrpEnumerateImages(BOOLEAN (*Routine)(LDR_IMAGE *Image, PVOID Context), PVOID Context);
/* NULL, or the first broken invariant of a loaded image (image.c). PASSIVE_LEVEL. */
const CHAR *LdrpValidateImages(VOID);
/* The address of an export of a loaded image, forwarders followed; NULL: none. */
PVOID LdrFindExport(const LDR_IMAGE *Image, const CHAR *Name);
/* The exported name at or below Rva with the smallest distance, or NULL. For symbols. */
const CHAR *LdrFindNearestExport(const LDR_IMAGE *Image, ULONG Rva, ULONG *Offset);

/* ---- a driver: an image with a DRIVER_OBJECT (driver.c) ---- */
/* Frees the discardable sections; a later touch of them is a stop. */
VOID LdrpDiscardInit(LDR_IMAGE *Image);
/* Creates the driver object, runs DriverEntry, discards INIT sections. The status is DriverEntry's; *Entered tells
 * whether it ran. On a failure the driver object is gone and the image still loaded. PASSIVE_LEVEL. */
NTSTATUS LdrStartDriver(LDR_IMAGE *Image, BOOLEAN *Entered, CHAR *Error, SIZE_T ErrorSize);
/* Runs DriverUnload and deletes the driver object. STATUS_INVALID_DEVICE_REQUEST: the driver has no DriverUnload. */
struct _IOP_LEFTOVERS;
NTSTATUS LdrStopDriver(LDR_IMAGE *Image, struct _IOP_LEFTOVERS *Left /* what it left behind; may be NULL */);

/* ---- the border (border.c): what PE code links to ---- */
typedef enum _LDR_ENTRY_KIND {
    LdrRoutine,
    LdrVariable,       /* exported under this name */
    LdrPointedVariable /* the header's name is a pointer to what is exported: POBJECT_TYPE *IoFileObjectType */
} LDR_ENTRY_KIND;
typedef struct _LDR_ENTRY {
    const CHAR *Name;
    PVOID Border; /* an ms_abi entry, or the header's variable */
    PVOID Native; /* what source code calls, or the header's variable */
    LDR_ENTRY_KIND Kind;
} LDR_ENTRY;
/* What an import is bound to (Foreign), or what MmGetSystemRoutineAddress tells a source driver. NULL for NULL. */
static inline PVOID LdrEntryAddress(const LDR_ENTRY *Entry, BOOLEAN Foreign)
{
    if (Entry == NULL)
        return NULL;
    if (Entry->Kind == LdrPointedVariable)
        return *(PVOID *)Entry->Border;
    return Foreign ? Entry->Border : Entry->Native;
}
extern const LDR_ENTRY LdrEntries[]; /* grouped by component */
extern const ULONG LdrEntryCount;
/* NULL: we have no such routine. */
const LDR_ENTRY *LdrFindEntry(const CHAR *Name);
/* TRUE if the module is the kernel or the HAL, whose routines are in LdrEntries ("ntoskrnl.exe", "hal.dll"). */
BOOLEAN LdrIsKernelModule(const CHAR *Module);

/* The host has routines for a module that no image supplies (user-mode leftovers of a kernel library, a filter manager
 * made of mocks): images loaded from now on are bound to their Border addresses, which are ms_abi functions. Module and
 * Entries stay in use; Count 0 withdraws them. FALSE: too many modules. Not while an image is being loaded. */
BOOLEAN LdrSupplyModule(const CHAR *Module, const LDR_ENTRY *Entries, ULONG Count);
/* Once, at system start after ExInitSystem: border section bounds, KiEmulateRoutine. */
NTSTATUS LdrInitSystem(VOID);
VOID LdrShutdownSystem(VOID);
/* Gives the current thread what gs shows to PE code; called before PE code is entered on a thread that may be new. */
VOID LdrPrepareThread(VOID);
