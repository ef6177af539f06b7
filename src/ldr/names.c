/*
 * names.c - which images are loaded, and what they export. SPDX-License-Identifier: MIT
 *
 * Owns the list of loaded images: LDRP_MAX_LOADED slots. Writers hold the loader's lock (image.c); LdrpFindImage takes none and
 * touches no image, only the slots, so that a trap, a stack walk or a report may ask from anywhere while another thread
 * unloads something else. Who gets an image from it may use it while the code at that address cannot be unloaded: it
 * runs there, or its driver is started. The other walks touch images and are for the loader itself and for quiet systems.
 *
 * Invariants:
 *  1. A slot's ranges are written before its Image is (release), and after it is cleared they are not trusted: a reader
 *     believes what it read if Image has not changed meanwhile.
 *  2. Images do not overlap: their pages are distinct runs of the driver-images region.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "ldr/ldrp.h"

#define LDRP_MAX_LOADED 64
static struct {
    LDR_IMAGE *Image; /* NULL: free */
    ULONG_PTR Base, Size, Stubs, StubSize;
} LdrpLoaded[LDRP_MAX_LOADED];

NTSTATUS LdrpInsertImage(LDR_IMAGE *Image)
{
    for (ULONG Index = 0; Index < LDRP_MAX_LOADED; Index++) {
        if (LdrpLoaded[Index].Image == NULL) {
            __atomic_store_n(&LdrpLoaded[Index].Base, (ULONG_PTR)Image->Base, __ATOMIC_RELAXED);
            __atomic_store_n(&LdrpLoaded[Index].Size, Image->Size, __ATOMIC_RELAXED);
            __atomic_store_n(&LdrpLoaded[Index].Stubs, (ULONG_PTR)Image->Stubs, __ATOMIC_RELAXED);
            __atomic_store_n(&LdrpLoaded[Index].StubSize, Image->StubPages * LDRP_PAGE_SIZE, __ATOMIC_RELAXED);
            __atomic_store_n(&LdrpLoaded[Index].Image, Image, __ATOMIC_RELEASE);
            return STATUS_SUCCESS;
        }
    }
    return STATUS_INSUFFICIENT_RESOURCES;
}

VOID LdrpRemoveImage(LDR_IMAGE *Image)
{
    for (ULONG Index = 0; Index < LDRP_MAX_LOADED; Index++) {
        if (LdrpLoaded[Index].Image == Image) {
            __atomic_store_n(&LdrpLoaded[Index].Image, NULL, __ATOMIC_SEQ_CST);
        }
    }
}

LDR_IMAGE *LdrpFindImage(ULONG_PTR Address)
{
    if (!HalIsSystemAddress(Address)) {
        return NULL;
    }
    for (ULONG Index = 0; Index < LDRP_MAX_LOADED; Index++) {
        LDR_IMAGE *Image = __atomic_load_n(&LdrpLoaded[Index].Image, __ATOMIC_ACQUIRE);
        if (Image == NULL) {
            continue;
        }
        ULONG_PTR Base = __atomic_load_n(&LdrpLoaded[Index].Base, __ATOMIC_ACQUIRE);
        ULONG_PTR Size = __atomic_load_n(&LdrpLoaded[Index].Size, __ATOMIC_ACQUIRE);
        ULONG_PTR Stubs = __atomic_load_n(&LdrpLoaded[Index].Stubs, __ATOMIC_ACQUIRE);
        ULONG_PTR StubSize = __atomic_load_n(&LdrpLoaded[Index].StubSize, __ATOMIC_ACQUIRE);
        if ((Address - Base < Size || Address - Stubs < StubSize) &&
            __atomic_load_n(&LdrpLoaded[Index].Image, __ATOMIC_ACQUIRE) == Image) {
            return Image;
        }
    }
    return NULL;
}

VOID LdrpEnumerateImages(BOOLEAN (*Routine)(LDR_IMAGE *Image, PVOID Context), PVOID Context)
{
    for (ULONG Index = 0; Index < LDRP_MAX_LOADED; Index++) {
        LDR_IMAGE *Image = __atomic_load_n(&LdrpLoaded[Index].Image, __ATOMIC_ACQUIRE);
        if (Image != NULL && !Routine(Image, Context)) {
            return;
        }
    }
}

LDR_IMAGE *LdrpFindImageByName(const CHAR *Name)
{
    for (ULONG Index = 0; Index < LDRP_MAX_LOADED; Index++) {
        LDR_IMAGE *Image = __atomic_load_n(&LdrpLoaded[Index].Image, __ATOMIC_ACQUIRE);
        if (Image != NULL && (strcasecmp(Image->Name, Name) == 0 || strcasecmp(Image->Pe.ExportName, Name) == 0)) {
            return Image;
        }
    }
    return NULL;
}

typedef struct _LDRP_EXPORT_SEARCH {
    const CHAR *Name;
    LDR_EXPORT Found;
} LDRP_EXPORT_SEARCH;

static BOOLEAN LdrpMatchExport(const LDR_EXPORT *Export, PVOID Context)
{
    LDRP_EXPORT_SEARCH *Search = Context;
    if (Export->Name == NULL || strcmp(Export->Name, Search->Name) != 0) {
        return TRUE;
    }
    Search->Found = *Export;
    return FALSE;
}

/* "MODULE.Name": the module's extension is left out. A chain of forwarders ends after a few steps or not at all. */
static PVOID LdrpFollowForwarder(const CHAR *Forwarder, ULONG Depth)
{
    CHAR Module[80];
    const CHAR *Dot = strrchr(Forwarder, '.');
    LDRP_EXPORT_SEARCH Search;
    for (; Depth < 4 && Dot != NULL && (SIZE_T)(Dot - Forwarder) < sizeof(Module) - 5; Depth++) {
        snprintf(Module, sizeof(Module), "%.*s.sys", (int)(Dot - Forwarder), Forwarder);
        const LDR_IMAGE *Image = LdrpFindImageByName(Module);
        if (Image == NULL) {
            snprintf(Module, sizeof(Module), "%.*s.exe", (int)(Dot - Forwarder), Forwarder);
            const LDR_ENTRY *Entry =
                LdrIsKernelModule(Module) || strncasecmp(Forwarder, "hal.", 4) == 0 ? LdrFindEntry(Dot + 1) : NULL;
            return LdrEntryAddress(Entry, TRUE);
        }
        Search.Name = Dot + 1;
        if (LdrPeEnumerateExports(&Image->Pe, LdrpMatchExport, &Search)) {
            return NULL;
        }
        if (Search.Found.Forwarder == NULL) {
            return Image->Base + Search.Found.Rva;
        }
        Forwarder = Search.Found.Forwarder;
        Dot = strrchr(Forwarder, '.');
    }
    return NULL;
}

PVOID LdrFindExport(const LDR_IMAGE *Image, const CHAR *Name)
{
    LDRP_EXPORT_SEARCH Search = {Name, {NULL, 0, 0, NULL}};
    if (LdrPeEnumerateExports(&Image->Pe, LdrpMatchExport, &Search)) {
        return NULL;
    }
    return Search.Found.Forwarder != NULL ? LdrpFollowForwarder(Search.Found.Forwarder, 0) : Image->Base + Search.Found.Rva;
}

typedef struct _LDRP_NEAREST {
    ULONG Rva, Best;
    const CHAR *Name;
} LDRP_NEAREST;

static BOOLEAN LdrpNearer(const LDR_EXPORT *Export, PVOID Context)
{
    LDRP_NEAREST *Nearest = Context;
    if (Export->Name != NULL && Export->Forwarder == NULL && Export->Rva <= Nearest->Rva &&
        (Nearest->Name == NULL || Export->Rva > Nearest->Best)) {
        Nearest->Best = Export->Rva;
        Nearest->Name = Export->Name;
    }
    return TRUE;
}

const CHAR *LdrFindNearestExport(const LDR_IMAGE *Image, ULONG Rva, ULONG *Offset)
{
    LDRP_NEAREST Nearest = {Rva, 0, NULL};
    LdrPeEnumerateExports(&Image->Pe, LdrpNearer, &Nearest);
    *Offset = Rva - Nearest.Best;
    return Nearest.Name;
}

BOOLEAN LdrImportsFrom(ULONG_PTR Address, BOOLEAN (*Is)(ULONG_PTR Base))
{
    const LDR_IMAGE *Image = LdrpFindImage(Address);
    for (ULONG Index = 0; Image != NULL && Index < Image->UseCount; Index++) {
        if (Is((ULONG_PTR)Image->Uses[Index]->Base)) {
            return TRUE;
        }
    }
    return FALSE;
}
