/*
 * image.c - the sections of loaded images: which may be paged, and locking them by count. SPDX-License-Identifier: MIT
 *
 * Implements MmLockPagableDataSection (MmLockPagableCodeSection, MmLockPagableImageSection), MmLockPagableSectionByHandle,
 * MmUnlockPagableImageSection, MmPageEntireDriver, MmResetDriverPaging. The loader describes each image (MmRegisterImage); what it
 * maps is resident, and sections that are pageable by their name (PAGE...) join the system working set at once: they leave RAM and
 * come back like paged pool, with the contents they have, relocations and all.
 *
 *      MM_IMAGE --Sections[]--> Rva, Pages, AtLink, Pageable, Locks        a handle is the address of one of these
 *
 *      resident --Pageable and Locks == 0--> in the working set --Locks 0 -> 1, or not Pageable any more--> resident
 *
 * MmPageEntireDriver makes every section Pageable, MmResetDriverPaging puts back AtLink; locks count on through both. Sections that
 * were discarded (INIT) take no part.
 *
 * Code and data of the program itself, a source driver's, lies in host memory, which is never paged: as if it was linked without
 * pageable sections. All of it is one section, HostSection: its locks are counted and mean nothing else, so that code which locks
 * what it has put into PAGExxxx by alloc_text runs as it is, and unbalanced unlocking is still told.
 *
 * MmProtectDriverSection finds no virtual secure mode here, as on many a Windows.
 *
 * Misuse: locking an address in no section 0x1A/0x1234, unlocking what is not locked 0x1A/0x1010 (so also a bad handle), above
 * APC_LEVEL 0xC4/0xE5. A section that cannot be brought in because the device failed is 0x7A.
 *
 * Invariants (MiValidateImages quotes the numbers):
 *   I1  A section is in the working set (Paged) if and only if it is Pageable, not locked and not discarded.
 *   I2  The pages of a section that is not Paged are present, and none of them is in the working set.
 *
 * Lock: ImageGate, a synchronization event (paging in waits for devices while it is held). IRQL <= APC_LEVEL.
 * Tests: tests/ddi/pageable_images.c, tests/unit/image_paging_test.c.
 */
#include "mm/mi.h"

PVOID (*MiHostImageRoutine)(PVOID Address);

/* The addresses of images that were unloaded, the latest ones, until another image takes them. Faults read it without a lock. */
#define MI_UNLOADED_IMAGES 64
static struct {
    ULONG_PTR Base, End;
} MiUnloaded[MI_UNLOADED_IMAGES];
static ULONG MiUnloadedNext; /* (ImageGate) */

VOID MiInitializeImages(VOID)
{
    MiState->Images.Flink = MiState->Images.Blink = &MiState->Images;
    KeInitializeEvent(&MiState->ImageGate, SynchronizationEvent, TRUE);
    memset(&MiState->HostSection, 0, sizeof(MiState->HostSection));
    memset(MiUnloaded, 0, sizeof(MiUnloaded));
}

static VOID MiEnterImages(VOID)
{
    (VOID) KeWaitForSingleObject(&MiState->ImageGate, Executive, KernelMode, FALSE, NULL);
}
static VOID MiLeaveImages(VOID)
{
    (VOID) KeSetEvent(&MiState->ImageGate, 0, FALSE);
}

/* Makes the pages what the section's state says. Gate held. */
static VOID MiSettleSection(PMM_IMAGE Image, MM_IMAGE_SECTION *Section)
{
    BOOLEAN Paged = Section->Pageable && Section->Locks == 0 && !Section->Gone;
    ULONG_PTR Va = (ULONG_PTR)Image->Base + Section->Rva;
    if (Paged == Section->Paged || Section->Gone) {
        return;
    }
    if (Paged) {
        MiMakePagesPageable(Va, Section->Pages);
        HalFlushTb((PVOID)Va, Section->Pages); /* what is cached is not revocable */
    } else {
        NTSTATUS Status = MiMakePagesResident(Va, Section->Pages, &Va);
        if (!NT_SUCCESS(Status)) {
            MiLeaveImages();
            KiStop(KERNEL_DATA_INPAGE_ERROR, "A section of a driver could not be brought into memory to be locked.", NULL, 1,
                   (ULONG_PTR)(ULONG)Status, (ULONG_PTR)KiCurrentThread()->Process, Va);
        }
    }
    Section->Paged = Paged;
}

static PMM_IMAGE MiFindImage(ULONG_PTR Va)
{
    for (PLIST_ENTRY Link = MiState->Images.Flink; Link != &MiState->Images; Link = Link->Flink) {
        PMM_IMAGE Image = CONTAINING_RECORD(Link, MM_IMAGE, Links);
        if (Va - (ULONG_PTR)Image->Base < Image->Size) {
            return Image;
        }
    }
    return NULL;
}

static MM_IMAGE_SECTION *MiFindSection(PMM_IMAGE Image, ULONG_PTR Va)
{
    ULONG_PTR Rva = Va - (ULONG_PTR)Image->Base;
    for (ULONG Index = 0; Index < Image->Count; Index++) {
        MM_IMAGE_SECTION *Section = &Image->Sections[Index];
        if (Rva - Section->Rva < (ULONG_PTR)Section->Pages << PAGE_SHIFT && !Section->Gone) {
            return Section;
        }
    }
    return NULL;
}

/* The image whose section the handle is; NULL: host memory's if *Host, else there is none. */
static PMM_IMAGE MiImageOfHandle(PVOID Handle, BOOLEAN *Host)
{
    ULONG_PTR At = (ULONG_PTR)Handle;
    *Host = Handle == (PVOID)&MiState->HostSection;
    for (PLIST_ENTRY Link = MiState->Images.Flink; Link != &MiState->Images; Link = Link->Flink) {
        PMM_IMAGE Image = CONTAINING_RECORD(Link, MM_IMAGE, Links);
        ULONG_PTR Offset = At - (ULONG_PTR)Image->Sections;
        if (Offset < Image->Count * sizeof(MM_IMAGE_SECTION) && Offset % sizeof(MM_IMAGE_SECTION) == 0) {
            return Image;
        }
    }
    return NULL;
}

BOOLEAN MiIsUnloadedImage(ULONG_PTR Va)
{
    for (ULONG Index = 0; Index < MI_UNLOADED_IMAGES; Index++) {
        if (Va >= __atomic_load_n(&MiUnloaded[Index].Base, __ATOMIC_RELAXED) &&
            Va < __atomic_load_n(&MiUnloaded[Index].End, __ATOMIC_RELAXED)) {
            return TRUE;
        }
    }
    return FALSE;
}

static VOID MiForgetUnloaded(ULONG_PTR Base, ULONG_PTR End)
{
    for (ULONG Index = 0; Index < MI_UNLOADED_IMAGES; Index++) {
        if (MiUnloaded[Index].Base < End && Base < MiUnloaded[Index].End) {
            __atomic_store_n(&MiUnloaded[Index].End, 0, __ATOMIC_RELAXED);
        }
    }
}

static VOID MiNoteUnloaded(ULONG_PTR Base, ULONG_PTR End)
{
    ULONG Index = MiUnloadedNext++ % MI_UNLOADED_IMAGES;
    __atomic_store_n(&MiUnloaded[Index].End, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&MiUnloaded[Index].Base, Base, __ATOMIC_RELAXED);
    __atomic_store_n(&MiUnloaded[Index].End, End, __ATOMIC_RELAXED);
}

VOID MmRegisterImage(PMM_IMAGE Image)
{
    MiEnterImages();
    MiForgetUnloaded((ULONG_PTR)Image->Base, (ULONG_PTR)Image->Base + Image->Size);
    Image->Links.Flink = &MiState->Images;
    Image->Links.Blink = MiState->Images.Blink;
    MiState->Images.Blink->Flink = &Image->Links;
    MiState->Images.Blink = &Image->Links;
    Image->Overridden = FALSE;
    for (ULONG Index = 0; Index < Image->Count; Index++) {
        MM_IMAGE_SECTION *Section = &Image->Sections[Index];
        Section->Pageable = Section->AtLink;
        Section->Paged = Section->Gone = FALSE;
        Section->Locks = 0;
        MiSettleSection(Image, Section);
    }
    MiLeaveImages();
}

VOID MmDeregisterImage(PMM_IMAGE Image)
{
    MiEnterImages();
    Image->Links.Blink->Flink = Image->Links.Flink;
    Image->Links.Flink->Blink = Image->Links.Blink;
    MiNoteUnloaded((ULONG_PTR)Image->Base, (ULONG_PTR)Image->Base + Image->Size);
    MiLeaveImages();
}

VOID MmDiscardImageSection(PMM_IMAGE Image, ULONG Rva)
{
    MiEnterImages();
    MM_IMAGE_SECTION *Section = MiFindSection(Image, (ULONG_PTR)Image->Base + Rva);
    if (Section) {
        Section->Gone = TRUE;
        Section->Paged = FALSE;
        MmDecommitPages(Image->Base + Section->Rva, Section->Pages);
    }
    MiLeaveImages();
}

PVOID MmLockPagableDataSection(PVOID AddressWithinSection)
{
    ULONG_PTR Va = (ULONG_PTR)AddressWithinSection;
    MM_IMAGE_SECTION *Section = NULL;
    MiRequireIrql(APC_LEVEL, 0xE5, "MmLockPagableDataSection was called above APC_LEVEL.", 0, 0);
    MiEnterImages();
    PMM_IMAGE Image = MiFindImage(Va);
    if (Image) {
        Section = MiFindSection(Image, Va);
    } else if (!HalIsSystemAddress(Va) && !HalIsUserAddress(Va) && Va >= 0x10000) {
        Section = &MiState->HostSection;
    }
    if (Section == NULL) {
        MiLeaveImages();
        KiStop(MEMORY_MANAGEMENT, "A pageable section was to be locked by an address that is in no section of a loaded driver.",
               NULL, 0x1234, Va, 0, 0);
    }
    Section->Locks++;
    if (Image) {
        MiSettleSection(Image, Section);
    }
    MiLeaveImages();
    return Section;
}

NTSTATUS MmProtectDriverSection(PVOID AddressWithinSection, SIZE_T Size, ULONG Flags)
{
    ULONG_PTR Va = (ULONG_PTR)AddressWithinSection;
    (VOID) KiCurrentThread();
    if (Size != 0 || (Flags & ~(ULONG)MM_PROTECT_DRIVER_SECTION_VALID_FLAGS)) {
        return STATUS_INVALID_PARAMETER;
    }
    MiEnterImages();
    BOOLEAN Known = MiFindImage(Va) != NULL || (!HalIsSystemAddress(Va) && !HalIsUserAddress(Va) && Va >= 0x10000);
    MiLeaveImages();
    if (!Known) {
        KiStop(MEMORY_MANAGEMENT, "A driver's section was to be protected by an address that is in no loaded driver.", NULL,
               0x1100, Va, 0, 0);
    }
    return STATUS_INVALID_DEVICE_STATE; /* "Virtual Secure Mode is currently disabled" */
}

PVOID MmLockPagableImageSection(PVOID AddressWithinSection)
{
    return MmLockPagableDataSection(AddressWithinSection);
}

VOID MmLockPagableSectionByHandle(PVOID ImageSectionHandle)
{
    BOOLEAN Host;
    MiRequireIrql(APC_LEVEL, 0xE5, "MmLockPagableSectionByHandle was called above APC_LEVEL.", 0, 0);
    MiEnterImages();
    PMM_IMAGE Image = MiImageOfHandle(ImageSectionHandle, &Host);
    MM_IMAGE_SECTION *Section = ImageSectionHandle;
    if ((Image == NULL && !Host) || Section->Gone) {
        MiLeaveImages();
        KiStop(MEMORY_MANAGEMENT, "A pageable section was to be locked by a handle that is none.", NULL, 0x1234,
               (ULONG_PTR)ImageSectionHandle, 0, 0);
    }
    Section->Locks++;
    if (Image) {
        MiSettleSection(Image, Section);
    }
    MiLeaveImages();
}

VOID MmUnlockPagableImageSection(PVOID ImageSectionHandle)
{
    BOOLEAN Host;
    MiRequireIrql(APC_LEVEL, 0xE5, "MmUnlockPagableImageSection was called above APC_LEVEL.", 0, 0);
    MiEnterImages();
    PMM_IMAGE Image = MiImageOfHandle(ImageSectionHandle, &Host);
    MM_IMAGE_SECTION *Section = ImageSectionHandle;
    if ((Image == NULL && !Host) || Section->Locks == 0) {
        MiLeaveImages();
        KiStop(MEMORY_MANAGEMENT,
               "A pageable section was unlocked that is not locked: never locked, or unlocked more often than locked.", NULL,
               0x1010, (ULONG_PTR)ImageSectionHandle, 0, 0);
    }
    Section->Locks--;
    if (Image) {
        MiSettleSection(Image, Section);
    }
    MiLeaveImages();
}

PVOID MmPageEntireDriver(PVOID AddressWithinSection)
{
    PVOID Base = NULL;
    MiRequireIrql(APC_LEVEL, 0xE5, "MmPageEntireDriver was called above APC_LEVEL.", 0, 0);
    MiEnterImages();
    PMM_IMAGE Image = MiFindImage((ULONG_PTR)AddressWithinSection);
    if (Image) {
        Base = Image->Base;
        Image->Overridden = TRUE;
        for (ULONG Index = 0; Index < Image->Count; Index++) {
            Image->Sections[Index].Pageable = TRUE;
            MiSettleSection(Image, &Image->Sections[Index]);
        }
    }
    MiLeaveImages();
    return Base == NULL && MiHostImageRoutine ? MiHostImageRoutine(AddressWithinSection) : Base;
}

VOID MmResetDriverPaging(PVOID AddressWithinSection)
{
    MiRequireIrql(APC_LEVEL, 0xE5, "MmResetDriverPaging was called above APC_LEVEL.", 0, 0);
    MiEnterImages();
    PMM_IMAGE Image = MiFindImage((ULONG_PTR)AddressWithinSection);
    if (Image && Image->Overridden) {
        Image->Overridden = FALSE;
        for (ULONG Index = 0; Index < Image->Count; Index++) {
            Image->Sections[Index].Pageable = Image->Sections[Index].AtLink;
            MiSettleSection(Image, &Image->Sections[Index]);
        }
    }
    MiLeaveImages();
}

const CHAR *MiValidateImages(VOID)
{
    const CHAR *Broken = NULL;
    MiEnterImages();
    for (PLIST_ENTRY Link = MiState->Images.Flink; Link != &MiState->Images && !Broken; Link = Link->Flink) {
        PMM_IMAGE Image = CONTAINING_RECORD(Link, MM_IMAGE, Links);
        for (ULONG Index = 0; Index < Image->Count && !Broken; Index++) {
            MM_IMAGE_SECTION *Section = &Image->Sections[Index];
            if (Section->Paged != (Section->Pageable && Section->Locks == 0 && !Section->Gone)) {
                Broken = "I1: a section's pages are not what its locks say";
            }
            for (ULONG Page = 0; Page < Section->Pages && !Section->Gone && !Section->Paged; Page++) {
                PMMPTE Pte = MiPteOf((ULONG_PTR)Image->Base + Section->Rva + ((ULONG_PTR)Page << PAGE_SHIFT));
                if (Pte == NULL || !MiPteIsValid(MiReadPte(Pte)) || MiPteIsInWorkingSet(MiReadPte(Pte))) {
                    Broken = "I2: a page of a resident section is not present for good";
                }
            }
        }
    }
    MiLeaveImages();
    return Broken;
}
