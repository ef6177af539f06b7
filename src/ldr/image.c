/*
 * image.c - makes a running image of an accepted file: space, bytes, relocations, protections; and takes it away.
 * SPDX-License-Identifier: MIT
 *
 * Owns the pages of driver images in MmRegionDriverImages and the LDR_IMAGE of each. What Windows' loader documents:
 * sections are mapped with their own protections (a write to read-only data is bug check 0xBE, code in data does not
 * run), DIR64 relocations are applied when the image has them, the security cookie named by the load configuration gets
 * a value of its own whose top 16 bits are zero, and discardable sections are freed once DriverEntry has returned.
 *
 *   file bytes --LdrpMakeView--> View (host memory, kept) --copy--> Copy (relocated, bound) --pages, protect--> Base
 *
 *   pages:   headers R | .text RX | .rdata R | .data RW | PAGE* pageable | INIT RX until discarded | .reloc, .debug*: never mapped
 *
 * States of an image: parsed -> mapped (space reserved, nothing listed) -> listed (LdrpFindImage sees it) -> started
 * (driver.c; InitDiscarded) -> stopped -> unlisted and freed. LdrLoadImage undoes its steps in reverse order on failure.
 *
 * An image is never at its preferred base. One without relocations is taken for wholly RIP-relative, as Windows takes
 * it, unless the linker has marked relocations as stripped and absolute addresses are found in it: that is refused.
 *
 * Invariants (LdrpValidateImages quotes the numbers):
 *  1. A listed image has a Base in the driver-images region, and Size is SizeOfImage in whole pages.
 *  2. View is the file's sections in image layout, never written after LdrpMakeView.
 *  3. Every import address table slot holds the address of an export, of a border entry, or of one of the image's stubs.
 *  4. UseCount images count this one among their users; an image with users is not unloaded.
 *
 * Locks: LdrpLoaderLock (a host mutex, PASSIVE_LEVEL) serialises loading and unloading; readers of the list take none.
 * Watch it with `ntmm run --json`; tests: unit.image_test.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>
#include "ldr/ldrp.h"
#include "mm/mm.h"
#include "vf/vf.h"

#define LDRP_DEFAULT_COOKIE 0x00002B992DDFA232ull /* what the compiler puts there */
#define LDRP_MAX_FILE       (256u << 20)

static pthread_mutex_t LdrpLoaderLock = PTHREAD_MUTEX_INITIALIZER;

/* Debug information and relocations are read from the file; nothing of the driver looks at them. */
static BOOLEAN LdrpIsMapped(const LDR_SECTION *Section)
{
    return strncmp(Section->Name, ".debug", 6) != 0 && strcmp(Section->Name, ".reloc") != 0;
}

static NTSTATUS LdrpReadFile(const CHAR *Path, UCHAR **Bytes, SIZE_T *Size, CHAR *Error, SIZE_T ErrorSize)
{
    struct stat Facts;
    int File = open(Path, O_RDONLY | O_CLOEXEC);
    if (File < 0) {
        LdrpSay(Error, ErrorSize, "%s", strerror(errno));
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    if (fstat(File, &Facts) != 0 || !S_ISREG(Facts.st_mode)) {
        LdrpSay(Error, ErrorSize, "not a regular file");
        close(File);
        return STATUS_OBJECT_NAME_NOT_FOUND;
    }
    if (Facts.st_size > LDRP_MAX_FILE) {
        LdrpSay(Error, ErrorSize, "a file of %lld bytes; a driver has at most %u", (long long)Facts.st_size, LDRP_MAX_FILE);
        close(File);
        return STATUS_INVALID_IMAGE_FORMAT;
    }
    *Size = (SIZE_T)Facts.st_size;
    *Bytes = malloc(*Size + 1);
    if (*Bytes == NULL) {
        LdrpSay(Error, ErrorSize, "no memory for a file of %zu bytes", (size_t)*Size);
        close(File);
        return STATUS_NO_MEMORY;
    }
    for (SIZE_T Done = 0; Done < *Size;) {
        ssize_t Got = read(File, *Bytes + Done, *Size - Done);
        if (Got < 0 && errno == EINTR) {
            continue;
        }
        if (Got <= 0) {
            LdrpSay(Error, ErrorSize, "cannot be read: %s", Got < 0 ? strerror(errno) : "it became shorter");
            free(*Bytes);
            close(File);
            return STATUS_OBJECT_NAME_NOT_FOUND;
        }
        Done += (SIZE_T)Got;
    }
    close(File);
    return STATUS_SUCCESS;
}

static UCHAR *LdrpMakeView(const LDR_PE *Pe)
{
    UCHAR *View = mmap(NULL, Pe->SizeOfImage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (View == MAP_FAILED) {
        return NULL;
    }
    memcpy(View, Pe->Bytes, Pe->SizeOfHeaders);
    for (ULONG Index = 0; Index < Pe->SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe->Sections[Index];
        if (LdrpIsMapped(Section)) {
            memcpy(View + Section->Rva, Pe->Bytes + Section->FileOffset, Section->FileSize);
        }
    }
    return View;
}

/* ---- relocation ---- */

typedef struct _LDRP_RELOCATE {
    UCHAR *Copy;
    ULONGLONG Delta;
} LDRP_RELOCATE;

static BOOLEAN LdrpRelocateSlot(ULONG Rva, PVOID Context)
{
    LDRP_RELOCATE *Relocate = Context;
    ULONGLONG Value;
    memcpy(&Value, Relocate->Copy + Rva, sizeof(Value));
    Value += Relocate->Delta;
    memcpy(Relocate->Copy + Rva, &Value, sizeof(Value));
    return TRUE;
}

/* RVA of something that looks like an absolute address of the image: an aligned pointer in data, or the operand of a
 * movabs in code; 0: nothing. The load configuration's own pointers do not count, nobody at run time follows them. */
static ULONG LdrpFindAbsoluteAddress(const LDR_PE *Pe, const UCHAR *Copy)
{
    IMAGE_DATA_DIRECTORY Config = Pe->Directory[IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG];
    for (ULONG Index = 0; Index < Pe->SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe->Sections[Index];
        BOOLEAN Code = (Section->Characteristics & IMAGE_SCN_MEM_EXECUTE) != 0;
        if (!LdrpIsMapped(Section)) {
            continue;
        }
        for (ULONG Offset = Code ? 2 : 0; Offset + 8 <= Section->FileSize; Offset += Code ? 1 : 8) {
            const UCHAR *At = Copy + Section->Rva + Offset;
            ULONGLONG Value;
            memcpy(&Value, At, sizeof(Value));
            if (Value - Pe->ImageBase >= Pe->SizeOfImage) {
                continue;
            }
            if (Code ? (At[-2] & 0xFE) == 0x48 && (At[-1] & 0xF8) == 0xB8
                     : Section->Rva + Offset - Config.VirtualAddress >= 0x200) {
                return Section->Rva + Offset;
            }
        }
    }
    return 0;
}

static NTSTATUS LdrpRelocate(LDR_IMAGE *Image, UCHAR *Copy, CHAR *Error, SIZE_T ErrorSize)
{
    LDRP_RELOCATE Relocate = {Copy, (ULONG_PTR)Image->Base - Image->Pe.ImageBase};
    if (Image->Pe.RelocationCount != 0) {
        LdrPeEnumerateRelocations(&Image->Pe, LdrpRelocateSlot, &Relocate);
        Image->Relocated = TRUE;
        return STATUS_SUCCESS;
    }
    if (Image->Pe.FileCharacteristics & IMAGE_FILE_RELOCS_STRIPPED) {
        ULONG Rva = LdrpFindAbsoluteAddress(&Image->Pe, Copy);
        if (Rva != 0) {
            LdrpSay(Error, ErrorSize,
                    "its relocations were stripped, and it holds absolute addresses (the first at RVA 0x%x): "
                    "it can only "
                    "run at 0x%llx, which is not available",
                    Rva, Image->Pe.ImageBase);
            return STATUS_CONFLICTING_ADDRESSES;
        }
    }
    return STATUS_SUCCESS;
}

static VOID LdrpSetCookie(LDR_IMAGE *Image, UCHAR *Copy)
{
    IMAGE_DATA_DIRECTORY Config = Image->Pe.Directory[IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG];
    ULONGLONG Address, Value;
    if (Config.VirtualAddress == 0) {
        return; /* older drivers seed their cookie themselves, from the shared tick count */
    }
    memcpy(&Address, LdrPeAt(&Image->Pe, Config.VirtualAddress + LDR_LOAD_CONFIG_SECURITY_COOKIE, 8), 8);
    if (Address == 0) {
        return;
    }
    do {
        Value = HalQueryEntropy() & 0x0000FFFFFFFFFFFFull;
    } while (Value == 0 || Value == LDRP_DEFAULT_COOKIE);
    memcpy(Copy + (Address - Image->Pe.ImageBase), &Value, sizeof(Value));
}

/* ---- pages ---- */

static ULONG LdrpProtectionOf(ULONG Characteristics)
{
    if (Characteristics & IMAGE_SCN_MEM_EXECUTE) {
        return Characteristics & IMAGE_SCN_MEM_WRITE ? PAGE_EXECUTE_READWRITE : PAGE_EXECUTE_READ;
    }
    return Characteristics & IMAGE_SCN_MEM_WRITE ? PAGE_READWRITE : PAGE_READONLY;
}

static NTSTATUS LdrpMapRange(LDR_IMAGE *Image, const UCHAR *Copy, ULONG Rva, SIZE_T Pages, ULONG Protection)
{
    BOOLEAN Execute = Protection == PAGE_EXECUTE_READ || Protection == PAGE_EXECUTE_READWRITE;
    NTSTATUS Status = MmCommitPages(Image->Base + Rva, Pages, MM_PAGES_ZERO | (Execute ? MM_PAGES_EXECUTE : 0));
    if (NT_SUCCESS(Status)) {
        Status = MmCopyToManaged(Image->Base + Rva, Copy + Rva, Pages * LDRP_PAGE_SIZE);
    }
    return NT_SUCCESS(Status) ? MmProtectPages(Image->Base + Rva, Pages, Protection) : Status;
}

static NTSTATUS LdrpMapPages(LDR_IMAGE *Image, const UCHAR *Copy)
{
    const LDR_PE *Pe = &Image->Pe;
    NTSTATUS Status = LdrpMapRange(Image, Copy, 0, LDRP_PAGES(Pe->SizeOfHeaders), PAGE_READONLY);
    for (ULONG Index = 0; NT_SUCCESS(Status) && Index < Pe->SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe->Sections[Index];
        if (LdrpIsMapped(Section)) {
            Status = LdrpMapRange(Image, Copy, Section->Rva, LDRP_PAGES(Section->VirtualSize),
                                  LdrpProtectionOf(Section->Characteristics));
        }
    }
    return Status;
}

/* Marked by the linker, or by its name, which compilers without such a mark give it. */
static BOOLEAN LdrpIsDiscardable(const LDR_SECTION *Section)
{
    return LdrpIsMapped(Section) &&
           ((Section->Characteristics & IMAGE_SCN_MEM_DISCARDABLE) || strcmp(Section->Name, "INIT") == 0);
}

/* By name, as the linker leaves it (alloc_text, code_seg), unless the section says no. */
static BOOLEAN LdrpIsPageable(const LDR_SECTION *Section)
{
    return strncmp(Section->Name, "PAGE", 4) == 0 && !(Section->Characteristics & IMAGE_SCN_MEM_NOT_PAGED);
}

/* From here on sections are paged. */
static NTSTATUS LdrpRegisterSections(LDR_IMAGE *Image)
{
    const LDR_PE *Pe = &Image->Pe;
    PMM_IMAGE Sections = calloc(1, sizeof(MM_IMAGE) + Pe->SectionCount * sizeof(MM_IMAGE_SECTION));
    if (Sections == NULL) {
        return STATUS_NO_MEMORY;
    }
    Sections->Base = Image->Base;
    Sections->Size = Image->Size;
    for (ULONG Index = 0; Index < Pe->SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe->Sections[Index];
        if (LdrpIsMapped(Section)) {
            MM_IMAGE_SECTION *New = &Sections->Sections[Sections->Count++];
            New->Rva = Section->Rva;
            New->Pages = (ULONG)LDRP_PAGES(Section->VirtualSize);
            New->AtLink = LdrpIsPageable(Section);
        }
    }
    MmRegisterImage(Sections);
    Image->Sections = Sections;
    return STATUS_SUCCESS;
}

VOID LdrpDiscardInit(LDR_IMAGE *Image)
{
    for (ULONG Index = 0; Index < Image->Pe.SectionCount; Index++) {
        const LDR_SECTION *Section = &Image->Pe.Sections[Index];
        if (LdrpIsDiscardable(Section)) {
            MmDiscardImageSection(Image->Sections, Section->Rva);
        }
    }
    Image->InitDiscarded = TRUE;
}

/* ---- load and unload ---- */

static VOID LdrpFreeImage(LDR_IMAGE *Image)
{
    LdrpReleaseSharedData(Image);
    LdrpFreeImports(Image);
    if (Image->Sections != NULL) {
        MmDeregisterImage(Image->Sections);
        free(Image->Sections);
    }
    if (Image->Base != NULL) {
        MmFreePages(Image->Base, LDRP_PAGES(Image->Size));
    }
    if (Image->View != NULL) {
        munmap((VOID *)Image->View, Image->Size);
    }
    free((VOID *)Image->File);
    free(Image->Path);
    free(Image);
}

static NTSTATUS LdrpBuildImage(LDR_IMAGE *Image, CHAR *Error, SIZE_T ErrorSize)
{
    if (!LdrParsePe(Image->File, Image->FileSize, &Image->Pe, Error, ErrorSize)) {
        USHORT Machine = 0;
        ULONG Header = 0;
        if (Image->FileSize >= 0x40) {
            memcpy(&Header, Image->File + 0x3c, 4);
        }
        if (Header != 0 && Header <= Image->FileSize && Image->FileSize - Header >= 6 && Image->File[0] == 'M') {
            memcpy(&Machine, Image->File + Header + 4, 2);
        }
        return Machine == IMAGE_FILE_MACHINE_I386 ? STATUS_INVALID_IMAGE_WIN_32 : STATUS_INVALID_IMAGE_FORMAT;
    }
    Image->Size = Image->Pe.SizeOfImage;
    UCHAR *View = LdrpMakeView(&Image->Pe);
    UCHAR *Copy = View != NULL ? LdrpMakeView(&Image->Pe) : NULL;
    NTSTATUS Status;
    if (Copy == NULL) {
        LdrpSay(Error, ErrorSize, "no memory for an image of 0x%zx bytes", (size_t)Image->Size);
        Status = STATUS_NO_MEMORY;
        goto Done;
    }
    if (Image->Pe.FunctionCount != 0) {
        Image->ExceptionDirectory =
            (const LDR_RUNTIME_FUNCTION *)(View + Image->Pe.Directory[IMAGE_DIRECTORY_ENTRY_EXCEPTION].VirtualAddress);
        Image->ExceptionCount = Image->Pe.FunctionCount;
    }
    Image->Base = MmAllocatePages(MmRegionDriverImages, LDRP_PAGES(Image->Size), MM_PAGES_RESERVE, HighPoolPriority);
    if (Image->Base == NULL) {
        LdrpSay(Error, ErrorSize, "the driver images' region has no room for 0x%zx bytes", (size_t)Image->Size);
        Status = STATUS_NO_MEMORY;
        goto Done;
    }
    Status = LdrpRelocate(Image, Copy, Error, ErrorSize);
    if (NT_SUCCESS(Status)) {
        LdrpSetCookie(Image, Copy);
        Status = LdrpRedirectSharedData(Image, Copy, Error, ErrorSize);
    }
    if (NT_SUCCESS(Status)) {
        Status = LdrpBindImports(Image, Copy, Error, ErrorSize);
    }
    if (NT_SUCCESS(Status)) {
        Status = LdrpMapPages(Image, Copy);
        Status = NT_SUCCESS(Status) ? LdrpRegisterSections(Image) : Status;
        if (!NT_SUCCESS(Status)) {
            LdrpSay(Error, ErrorSize, "RAM or commit is used up: an image of 0x%zx bytes does not fit", (size_t)Image->Size);
        }
    }
Done:
    if (Copy != NULL) {
        munmap(Copy, Image->Size);
    }
    if (View != NULL) {
        mprotect(View, Image->Size, PROT_READ); /* invariant 2 */
        Image->View = View;
    }
    return Status;
}

/* What code integrity has against an image. The parser has checked that headers and sections are where they are said to be. */
static VOID LdrpVerify(const LDR_IMAGE *Image)
{
    const LDR_PE *Pe = &Image->Pe;
    VF_IMAGE_FACTS Facts = {.Name = Image->Name};
    ULONG Header = 0, ImportTable = Pe->Directory[IMAGE_DIRECTORY_ENTRY_IAT].VirtualAddress;
    USHORT Optional = 0;
    memcpy(&Header, Image->View + 0x3c, sizeof(Header));
    memcpy(&Optional, Image->View + Header + 20, sizeof(Optional));
    for (ULONG Index = 0; Index < Pe->SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe->Sections[Index];
        if (!(Section->Characteristics & IMAGE_SCN_MEM_EXECUTE)) {
            continue;
        }
        if ((Section->Characteristics & IMAGE_SCN_MEM_WRITE) && Facts.WritableCode == NULL) {
            Facts.WritableCode = Image->View + Header + 24 + Optional + 40 * Index;
            Facts.WritableCodeName = Section->Name;
        }
        if (ImportTable != 0 && ImportTable - Section->Rva < Section->VirtualSize) {
            Facts.ImportDirectory = Image->View + Header + 24 + 112 + 8 * IMAGE_DIRECTORY_ENTRY_IAT;
            Facts.ImportSectionName = Section->Name;
        }
    }
    VfCheckImage(&Facts);
}

NTSTATUS LdrLoadImage(const CHAR *Path, const VOID *Bytes, SIZE_T Size, LDR_IMAGE **Loaded, CHAR *Error, SIZE_T ErrorSize)
{
    const CHAR *Name = strrchr(Path, '/') != NULL ? strrchr(Path, '/') + 1 : Path;
    NTSTATUS Status = STATUS_NO_MEMORY;
    UCHAR *File = NULL;
    *Loaded = NULL;
    if (ErrorSize != 0) {
        Error[0] = 0;
    }
    LDR_IMAGE *Image = calloc(1, sizeof(*Image));
    if (Image == NULL) {
        LdrpSay(Error, ErrorSize, "no memory");
        return STATUS_NO_MEMORY;
    }
    if (Bytes == NULL) {
        Status = LdrpReadFile(Path, &File, &Size, Error, ErrorSize);
    } else if ((File = malloc(Size + 1)) != NULL) {
        memcpy(File, Bytes, Size);
        Status = STATUS_SUCCESS;
    }
    if (!NT_SUCCESS(Status)) {
        free(Image);
        return Status;
    }
    Image->File = File;
    Image->FileSize = Size;
    Image->Path = strdup(Path);
    snprintf(Image->Name, sizeof(Image->Name), "%.63s", Name);

    LdrpEnableDispatch();
    LdrPrepareThread(); /* also: whoever links a loaded image links the loader's start */
    pthread_mutex_lock(&LdrpLoaderLock);
    Status = LdrpBuildImage(Image, Error, ErrorSize);
    if (NT_SUCCESS(Status)) {
        Status = LdrpInsertImage(Image);
        if (!NT_SUCCESS(Status)) {
            LdrpSay(Error, ErrorSize, "too many images are loaded");
        }
    }
    if (!NT_SUCCESS(Status)) {
        LdrpFreeImage(Image);
    }
    pthread_mutex_unlock(&LdrpLoaderLock);
    if (NT_SUCCESS(Status)) {
        *Loaded = Image;
        LdrpVerify(Image);
    }
    return Status;
}

NTSTATUS LdrUnloadImage(LDR_IMAGE *Image)
{
    NTSTATUS Status = STATUS_DEVICE_BUSY;
    pthread_mutex_lock(&LdrpLoaderLock);
    if (Image->ReferenceCount == 0) {
        LdrpRemoveImage(Image);
        LdrpFreeImage(Image);
        Status = STATUS_SUCCESS;
    }
    pthread_mutex_unlock(&LdrpLoaderLock);
    return Status;
}

/* ---- the validator ---- */

typedef struct _LDRP_VALIDATION {
    const CHAR *Broken;
    const LDR_IMAGE *Subject;
    ULONG Users;
} LDRP_VALIDATION;

static BOOLEAN LdrpCountUsers(LDR_IMAGE *Image, PVOID Context)
{
    LDRP_VALIDATION *Validation = Context;
    for (ULONG Index = 0; Index < Image->UseCount; Index++) {
        Validation->Users += Image->Uses[Index] == Validation->Subject;
    }
    return TRUE;
}

static BOOLEAN LdrpValidateOne(LDR_IMAGE *Image, PVOID Context)
{
    LDRP_VALIDATION *Validation = Context, Count = {NULL, Image, 0};
    const LDR_PE *Pe = &Image->Pe;
    if (MmRegionOf(Image->Base) != MmRegionDriverImages || Image->Size != Pe->SizeOfImage ||
        Image->Size % LDRP_PAGE_SIZE != 0) {
        Validation->Broken = "1: an image is not in the driver-images region, or not of its size";
    }
    if (memcmp(Image->View, Image->File, Pe->SizeOfHeaders) != 0) {
        Validation->Broken = "2: the headers in View are not the file's";
    }
    for (ULONG Index = 0; Index < Pe->SectionCount; Index++) {
        const LDR_SECTION *Section = &Pe->Sections[Index];
        if (LdrpIsMapped(Section) &&
            memcmp(Image->View + Section->Rva, Image->File + Section->FileOffset, Section->FileSize) != 0) {
            Validation->Broken = "2: a section in View is not the file's";
        }
    }
    if (!LdrpCheckImports(Image)) {
        Validation->Broken = "3: an import address table slot holds what it was not bound to";
    }
    LdrpEnumerateImages(LdrpCountUsers, &Count);
    if (Count.Users != Image->ReferenceCount) {
        Validation->Broken = "4: an image's users do not add up";
    }
    return Validation->Broken == NULL;
}

const CHAR *LdrpValidateImages(VOID)
{
    LDRP_VALIDATION Validation = {NULL, NULL, 0};
    pthread_mutex_lock(&LdrpLoaderLock);
    LdrpEnumerateImages(LdrpValidateOne, &Validation);
    pthread_mutex_unlock(&LdrpLoaderLock);
    return Validation.Broken;
}
