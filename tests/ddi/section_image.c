/*
 * section_image.c - image sections: relocated where they lie, looked at only, and files that are no images. SPDX-License-Identifier: MIT
 *
 * Pages: ZwCreateSection, ZwMapViewOfSection, CreateFileMapping (SEC_IMAGE_NO_EXECUTE), PE Format ("The .reloc Section", "Optional Header
 * Windows-Specific Fields"), NTSTATUS Values, PsSetLoadImageNotifyRoutine.
 */
#include "section_kit.h"
#include "pe_builder.h"

static HANDLE ImageSection(ULONG Protect, ULONG Attributes, NTSTATUS Expected)
{
    HANDLE File = SkOpen(GENERIC_READ), Section = SkCreate(0, Protect, Attributes, File, Expected);
    ZwClose(File);
    return Section;
}
static void Build(void)
{
    memset(SkBytes, 0, 0x10000);
    PbBuild(SkBytes, 0x1234);
    SkSize = PB_FILE_SIZE;
}
static PUCHAR MapImage(HANDLE Section, HANDLE Process)
{
    PVOID Base = NULL;
    SIZE_T Size = 0;
    assert_int_equal(ZwMapViewOfSection(Section, Process, &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_IMAGE_NOT_AT_BASE);
    return Base;
}
static ULONG64 Quad(const volatile UCHAR *At)
{
    return *(const volatile ULONG64 *)At;
}
static void Out(void)
{
    MmEmptyAllWorkingSets(TRUE);
    KitAssertValid();
}

/* "The loader ... applies base relocations if the image could not be loaded at its preferred base": each view has its own addresses. */
static void Image_IsRelocatedWhereItLies(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    MM_SPACE_INFO Space;
    Build();
    HANDLE Section = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR A = MapImage(Section, OneHandle), B = MapImage(Section, TwoHandle), Again = MapImage(Section, OneHandle);
    MmQueryCounters(&Before);
    INSIDE(One)
    {
        assert_int_equal(Quad(A + 0x3010), (ULONG_PTR)A + 0x3020);
        assert_int_equal(Quad(A + 0x2458), (ULONG_PTR)A + 0x3000);
        assert_int_equal(Quad(A + PB_OPT(ImageBase)), (ULONG_PTR)A);
        assert_int_equal(Quad(A + 0x3000), 0x00002B992DDFA232ull); /* what is no address is as it was */
        assert_memory_equal(A + 0x1000, SkBytes + PB_TEXT, 0x100);
        assert_int_equal(Quad(Again + 0x3010), (ULONG_PTR)Again + 0x3020); /* a second view has another base */
    }
    MmQueryCounters(&After);
    assert_int_equal(After.RelocationFaults - Before.RelocationFaults, 4);
    MmQuerySpace(One->Space, &Space);
    assert_int_equal(Space.CommittedPages, 4);
    INSIDE(Two)
    {
        assert_int_equal(Quad(B + 0x3010), (ULONG_PTR)B + 0x3020);
        assert_memory_equal(B + 0x1000, SkBytes + PB_TEXT, 0x100);
        assert_int_equal(KitExceptionOf(B + 0x2458, 'w'), STATUS_ACCESS_VIOLATION); /* relocated, but read-only all the same */
    }
    /* pages that need no change are shared, the others are not */
    assert_int_equal(MiPtePage(SkEntry(A + 0x1000)), MiPtePage(SkEntry(B + 0x1000)));
    assert_true(MiPteIsShared(SkEntry(A + 0x1000)));
    assert_true(MiPtePage(SkEntry(A + 0x3000)) != MiPtePage(SkEntry(B + 0x3000)));
    KitAssertValid();
    Out(); /* they go to the page file, and come back as they were */
    INSIDE(One)
    {
        assert_int_equal(Quad(A + 0x3010), (ULONG_PTR)A + 0x3020);
        assert_int_equal(Quad(A + 0x2458), (ULONG_PTR)A + 0x3000);
        *(volatile ULONG64 *)(A + 0x3010) = 77;
    }
    INSIDE(Two)
    {
        assert_int_equal(Quad(B + 0x3010), (ULONG_PTR)B + 0x3020);
    }
    Out();
    INSIDE(One)
    {
        assert_int_equal(Quad(A + 0x3010), 77);
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Again), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    MmQuerySpace(One->Space, &Space);
    assert_int_equal(Space.CommittedPages, 0);
    ZwClose(Section);
    assert_int_equal(SkBytes[PB_DATA + 0x10], 0x20); /* the file is what it was */
    assert_int_equal(SkWrites, 0);
}

/* A page is relocated whatever happens to it before its first touch: protected, guarded, locked, written. */
static void Image_FirstTouchOfAnyKind(void **State)
{
    (void)State;
    KIT_MDL Mdl;
    ULONG Old;
    Build();
    HANDLE Section = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR A = MapImage(Section, OneHandle), B = MapImage(Section, TwoHandle);
    PVOID Base = A + 0x2000;
    SIZE_T Size = PAGE_SIZE;
    assert_int_equal(ZwProtectVirtualMemory(OneHandle, &Base, &Size, PAGE_READWRITE, &Old), STATUS_SUCCESS);
    assert_int_equal(Old, PAGE_READONLY);
    Base = A + 0x3000;
    assert_int_equal(ZwProtectVirtualMemory(OneHandle, &Base, &Size, PAGE_READWRITE | PAGE_GUARD, &Old), STATUS_SUCCESS);
    assert_int_equal(Old, PAGE_WRITECOPY);
    INSIDE(One)
    {
        A[0x2000] ^= 1; /* a write first */
        assert_int_equal(Quad(A + 0x2458), (ULONG_PTR)A + 0x3000);
        assert_int_equal(KitExceptionOf(A + 0x3010, 'r'), STATUS_GUARD_PAGE_VIOLATION);
        assert_int_equal(Quad(A + 0x3010), (ULONG_PTR)A + 0x3020);
    }
    INSIDE(Two) /* a driver locks it */
    {
        MmInitializeMdl(&Mdl.Mdl, B + 0x3010, 8);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess), STATUS_SUCCESS);
        PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
        assert_int_equal(Quad(Mapped), (ULONG_PTR)B + 0x3020);
        Mapped[0] = 0x99;
        MmUnlockPages(&Mdl.Mdl);
        assert_int_equal(B[0x3010], 0x99);
        MmInitializeMdl(&Mdl.Mdl, B + 0x2458, 8);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoReadAccess), STATUS_SUCCESS);
        Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
        assert_int_equal(Quad(Mapped), (ULONG_PTR)B + 0x3000);
        MmUnlockPages(&Mdl.Mdl);
    }
    KitAssertValid();
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section);
}

/* "Base relocations were stripped ... the file must be loaded at its preferred base", or be without addresses: nothing is changed. */
static void Image_WithoutRelocations_IsShownAsItIs(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    Build();
    PbPut16(SkBytes, PB_FILE_HEADER + 18, IMAGE_FILE_EXECUTABLE_IMAGE | IMAGE_FILE_RELOCS_STRIPPED);
    HANDLE Section = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR A = MapImage(Section, OneHandle);
    MmQueryCounters(&Before);
    INSIDE(One)
    {
        assert_int_equal(Quad(A + 0x3010), PB_IMAGE_BASE + 0x3020);
        assert_int_equal(Quad(A + PB_OPT(ImageBase)), PB_IMAGE_BASE);
    }
    MmQueryCounters(&After);
    assert_int_equal(After.RelocationFaults, Before.RelocationFaults);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
    /* and where it lies at its preferred base, there is nothing to change */
    Build();
    PVOID Base = NULL;
    SIZE_T Size = 0x10000;
    assert_int_equal(ZwAllocateVirtualMemory(OneHandle, &Base, 0, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(OneHandle, &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
    PbPut64(SkBytes, PB_OPT(ImageBase), (ULONG_PTR)Base);
    Section = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    Size = 0;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_SUCCESS);
    INSIDE(One)
    {
        assert_int_equal(Quad((PUCHAR)Base + 0x3010), PB_IMAGE_BASE + 0x3020);
    }
    MmQueryCounters(&After);
    assert_int_equal(After.RelocationFaults, Before.RelocationFaults);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Base), STATUS_SUCCESS);
    ZwClose(Section);
}

/* "If the SectionAlignment is less than the architecture's page size, then FileAlignment must match SectionAlignment": such an image is its
 * file. Its relocations may cross pages. */
static void Image_AlignedToLessThanAPage(void **State)
{
    (void)State;
    Build();
    PbPut32(SkBytes, PB_OPT(SectionAlignment), 0x200);
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_INVALID_IMAGE_FORMAT); /* its sections do not lie where they do in the file */
    PbPut32(SkBytes, PB_OPT(FileAlignment), 0x100);
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_INVALID_IMAGE_FORMAT);
    PbPut32(SkBytes, PB_OPT(FileAlignment), 0x200);
    PbPut32(SkBytes, PB_OPT(SizeOfImage), PB_FILE_SIZE);
    PbPut32(SkBytes, PB_OPT(AddressOfEntryPoint), PB_TEXT);
    for (ULONG Index = 0; Index < 5; Index++) {
        ULONG Raw;
        memcpy(&Raw, SkBytes + PB_SEC(Index, PointerToRawData), 4);
        PbPut32(SkBytes, PB_SEC(Index, VirtualAddress), Raw);
    }
    PbPut32(SkBytes, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), PB_RELOC);
    PbPut32(SkBytes, PB_RELOC, 0); /* of the first page: one that ends in the second, and ... */
    PbPut16(SkBytes, PB_RELOC + 8, 0xAFFD);
    PbPut16(SkBytes, PB_RELOC + 10, 0x3F00); /* ... the low half of a pointer */
    PbPut32(SkBytes, PB_RELOC + 12, 0x1000);
    PbPut16(SkBytes, PB_RELOC + 20, 0xA100);
    PbPut16(SkBytes, PB_RELOC + 22, 0x0000); /* padding */
    PbPut64(SkBytes, 0x1100, 5);
    /* The bytes that cross: the directory itself begins with them. Their sum carries over the pages' border. */
    static const UCHAR Low[3] = {0xFF, 0xFF, 0xFF};
    ULONG64 Across, F00 = 0x1122334455667788ull;
    memcpy(SkBytes + 0xFFD, Low, sizeof Low);
    memcpy(SkBytes + 0xF00, &F00, 8);
    memcpy(&Across, SkBytes + 0xFFD, 8);
    HANDLE Section = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR A = MapImage(Section, OneHandle);
    ULONG64 Delta = (ULONG_PTR)A - PB_IMAGE_BASE, Seen;
    MEMORY_BASIC_INFORMATION Info;
    INSIDE(One)
    {
        memcpy(&Seen, A + 0xFFD, 8);
        assert_int_equal(Seen, Across + Delta);
        assert_int_equal(Quad(A + 0x1100), 5 + Delta);
        assert_int_equal(Quad(A + 0xF00), (F00 & 0xFFFFFFFF00000000ull) | (ULONG)(F00 + Delta));
        assert_memory_equal(A + PB_TEXT, SkBytes + PB_TEXT, 0x100);
    }
    assert_int_equal(ZwQueryVirtualMemory(OneHandle, A, MemoryBasicInformation, &Info, sizeof Info, NULL), STATUS_SUCCESS);
    assert_int_equal(Info.Protect, PAGE_EXECUTE_READWRITE);
    assert_int_equal(Info.AllocationProtect, PAGE_EXECUTE_WRITECOPY);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
}

/* NTSTATUS Values: what a file that is no such image is said to be. */
static void Image_DamagedFiles(void **State)
{
    (void)State;
    static const struct {
        ULONG At, Bytes, Value;
        NTSTATUS Status;
    } Damage[] = {
        {0, 2, 0x4D5A, STATUS_INVALID_IMAGE_NOT_MZ}, /* "did not have an initial MZ" */
        {0x80, 4, 0x454E, STATUS_INVALID_IMAGE_NE_FORMAT},
        {0x80, 4, 0x454C, STATUS_INVALID_IMAGE_LE_FORMAT},
        {0x80, 4, 0x584C, STATUS_INVALID_IMAGE_LE_FORMAT},
        {0x80, 4, 0, STATUS_INVALID_IMAGE_PROTECT}, /* "did not have a proper e_lfarlc in the MZ header" */
        {0x3C, 4, 0x7FFFFFFF, STATUS_INVALID_IMAGE_PROTECT},
        {0x80, 4, 0x14550, STATUS_INVALID_IMAGE_FORMAT},
        {0x3C, 4, 0xFC0, STATUS_INVALID_IMAGE_PROTECT}, /* no room for headers there */
        {PB_FILE_HEADER, 2, 0x14C, STATUS_INVALID_IMAGE_FORMAT},
        {PB_FILE_HEADER + 2, 2, 0xFFFF, STATUS_INVALID_IMAGE_FORMAT},
        {PB_FILE_HEADER + 16, 2, 100, STATUS_INVALID_IMAGE_FORMAT},
        {PB_FILE_HEADER + 18, 2, 0, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(Magic), 2, 0x10B, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(ImageBase), 4, 0x1000, STATUS_INVALID_IMAGE_FORMAT}, /* "must be a multiple of 64K" */
        {PB_OPT(SectionAlignment), 4, 0, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(SectionAlignment), 4, 0x1800, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(FileAlignment), 4, 0x300, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(FileAlignment), 4, 0x2000, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(SizeOfImage), 4, 0, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(SizeOfImage), 4, 0x3000, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(SizeOfHeaders), 4, 0, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(SizeOfHeaders), 4, 0x7000, STATUS_INVALID_IMAGE_FORMAT},
        {PB_OPT(AddressOfEntryPoint), 4, 0x6000, STATUS_INVALID_IMAGE_FORMAT},
        {PB_SEC(1, VirtualAddress), 4, 0x1000, STATUS_INVALID_IMAGE_FORMAT},  /* over the one before */
        {PB_SEC(1, VirtualAddress), 4, 0x2200, STATUS_INVALID_IMAGE_FORMAT},  /* not aligned */
        {PB_SEC(4, VirtualAddress), 4, 0x6000, STATUS_INVALID_IMAGE_FORMAT},  /* behind the image */
        {PB_SEC(4, VirtualSize), 4, 0xFFFFFFFF, STATUS_INVALID_IMAGE_FORMAT}, /* larger than it */
        {PB_SEC(4, SizeOfRawData), 4, 0x400, STATUS_INVALID_IMAGE_FORMAT},    /* behind the file */
        {PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), 4, 0x6000, STATUS_INVALID_IMAGE_FORMAT},
        {PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC) + 4, 4, 0xFFFFFFFF, STATUS_INVALID_IMAGE_FORMAT},
        {PB_RELOC, 4, 0x7000, STATUS_INVALID_IMAGE_FORMAT}, /* outside the image */
        {PB_RELOC, 4, 0xFFFFF000, STATUS_INVALID_IMAGE_FORMAT},
        {PB_RELOC + 4, 4, 4, STATUS_INVALID_IMAGE_FORMAT},      /* no room for the block's own header */
        {PB_RELOC + 4, 4, 0x200, STATUS_INVALID_IMAGE_FORMAT},  /* longer than the directory */
        {PB_RELOC + 8, 2, 0x4458, STATUS_INVALID_IMAGE_FORMAT}, /* HIGHADJ */
        {PB_RELOC + 8, 2, 0xF458, STATUS_INVALID_IMAGE_FORMAT}, /* no type at all */
    };
    for (ULONG Index = 0; Index < ARRAYSIZE(Damage); Index++) {
        Build();
        memcpy(SkBytes + Damage[Index].At, &Damage[Index].Value, Damage[Index].Bytes);
        HANDLE File = SkOpen(GENERIC_READ), Section = NULL;
        OBJECT_ATTRIBUTES Names;
        InitializeObjectAttributes(&Names, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
        NTSTATUS Status = ZwCreateSection(&Section, SECTION_ALL_ACCESS, &Names, NULL, PAGE_READONLY, SEC_IMAGE, File);
        if (Status != Damage[Index].Status) {
            print_error("damage %u: status %08X\n", Index, (ULONG)Status);
        }
        assert_int_equal(Status, Damage[Index].Status);
        ZwClose(File);
    }
    Build();
    PbPut16(SkBytes, 0x80, 0x454E);
    SkBytes[0x80 + 0x36] = 2;
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_INVALID_IMAGE_WIN_16); /* "it appears to be a 16-bit Windows image" */
    Build();
    PbPut32(SkBytes, 0x80, 0);
    PbPut16(SkBytes, 0x18, 0x40);
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_INVALID_IMAGE_FORMAT);
    Build();
    SkSize = 63;
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_INVALID_IMAGE_NOT_MZ);
    SkSize = 0;
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_MAPPED_FILE_SIZE_ZERO);
    Build();
    SkReadStatus = STATUS_DEVICE_DATA_ERROR;
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_DEVICE_DATA_ERROR);
    SkBadOffset = PB_RELOC; /* the headers are there, the relocations are not */
    ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_DEVICE_DATA_ERROR);
    SkReadStatus = STATUS_SUCCESS;
    /* and a good one whose pages cannot be read later */
    HANDLE Section = ImageSection(PAGE_READONLY, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR A = MapImage(Section, OneHandle);
    SkReadStatus = STATUS_DEVICE_DATA_ERROR;
    SkBadOffset = PB_DATA;
    INSIDE(One)
    {
        assert_int_equal(KitExceptionOf(A + 0x3010, 'r'), STATUS_IN_PAGE_ERROR);
        assert_int_equal(KitExceptionOf(A + 0x1000, 'r'), STATUS_SUCCESS);
        SkReadStatus = STATUS_SUCCESS;
        assert_int_equal(Quad(A + 0x3010), (ULONG_PTR)A + 0x3020);
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
}

static PVOID LoadedBase;
static SIZE_T LoadedSize;
static HANDLE LoadedIn;
static ULONG Loads;
static VOID OnLoad(PUNICODE_STRING Name, HANDLE ProcessId, PIMAGE_INFO Info)
{
    (void)Name;
    Loads++;
    LoadedBase = Info->ImageBase;
    LoadedSize = Info->ImageSize;
    LoadedIn = Info->SystemModeImage ? NULL : ProcessId;
}

/* "an executable image file that will not be executed ... The SEC_IMAGE_NO_EXECUTE attribute must be combined with the PAGE_READONLY page
 * protection value"; "will not invoke driver callbacks registered using the PsSetLoadImageNotifyRoutine kernel API". */
static void Image_NoExecute(void **State)
{
    (void)State;
    MEMORY_BASIC_INFORMATION Info;
    SECTION_BASIC_INFORMATION Basic;
    Build();
    ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE_NO_EXECUTE, STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(PsSetLoadImageNotifyRoutine(OnLoad), STATUS_SUCCESS);
    HANDLE Section = ImageSection(PAGE_READONLY, SEC_IMAGE_NO_EXECUTE, STATUS_SUCCESS);
    assert_int_equal(ZwQuerySection(Section, SectionBasicInformation, &Basic, sizeof Basic, NULL), STATUS_SUCCESS);
    assert_int_equal(Basic.AllocationAttributes, SEC_IMAGE_NO_EXECUTE | SEC_FILE);
    PUCHAR A = MapImage(Section, OneHandle);
    assert_int_equal(Loads, 0);
    static const ULONG Expected[] = {PAGE_READONLY, PAGE_READONLY, PAGE_READONLY, PAGE_WRITECOPY, PAGE_READONLY, PAGE_READONLY};
    for (ULONG Page = 0; Page < ARRAYSIZE(Expected); Page++) {
        assert_int_equal(
            ZwQueryVirtualMemory(OneHandle, A + Page * PAGE_SIZE, MemoryBasicInformation, &Info, sizeof Info, NULL),
            STATUS_SUCCESS);
        assert_int_equal(Info.Protect, Expected[Page]);
        assert_int_equal(Info.Type, MEM_IMAGE);
    }
    PVOID Base = A + 0x1000;
    SIZE_T Size = PAGE_SIZE;
    ULONG Old;
    assert_int_equal(ZwProtectVirtualMemory(OneHandle, &Base, &Size, PAGE_EXECUTE_READ, &Old), STATUS_SECTION_PROTECTION);
    INSIDE(One)
    {
        assert_int_equal(Quad(A + 0x3010), (ULONG_PTR)A + 0x3020);
    }
    /* the same file, to be executed: the same pages */
    HANDLE Code = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR B = MapImage(Code, TwoHandle);
    assert_int_equal(Loads, 1);
    assert_ptr_equal(LoadedBase, B);
    assert_int_equal(LoadedSize, 0x6000);
    assert_ptr_equal(LoadedIn, PsGetProcessId(Two));
    INSIDE(One)
    {
        assert_int_equal(A[0x1000], 0xB8);
    }
    INSIDE(Two)
    {
        assert_int_equal(B[0x1000], 0xB8);
    }
    assert_int_equal(MiPtePage(SkEntry(A + 0x1000)), MiPtePage(SkEntry(B + 0x1000)));
    assert_true(MiPteIsNoExecute(SkEntry(A + 0x1000)));
    assert_false(MiPteIsNoExecute(SkEntry(B + 0x1000)));
    assert_int_equal(PsRemoveLoadImageNotifyRoutine(OnLoad), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section), ZwClose(Code);
}

/* "IMAGE_SCN_MEM_SHARED: the section can be shared in memory": what all processes write to is not relocated for one of them. */
static void Image_SharedSection(void **State)
{
    (void)State;
    Build();
    PbPut32(SkBytes, PB_SEC(2, Characteristics),
            IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ | IMAGE_SCN_MEM_WRITE | 0x10000000);
    HANDLE Section = ImageSection(PAGE_EXECUTE_READ, SEC_IMAGE, STATUS_SUCCESS);
    PUCHAR A = MapImage(Section, OneHandle), B = MapImage(Section, TwoHandle);
    INSIDE(One)
    {
        A[0x3100] = 0x42;
        assert_int_equal(Quad(A + 0x3010), PB_IMAGE_BASE + 0x3020);
    }
    INSIDE(Two)
    {
        assert_int_equal(B[0x3100], 0x42);
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section);
}

static int Start(void **State)
{
    (void)State;
    ntmm_options Options = SkOptions();
    Loads = 0;
    return SkStart(&Options);
}

int main(void)
{
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, Start, SkStop)
    const struct CMUnitTest Tests[] = {
        WITH(Image_IsRelocatedWhereItLies), WITH(Image_FirstTouchOfAnyKind), WITH(Image_WithoutRelocations_IsShownAsItIs),
        WITH(Image_AlignedToLessThanAPage), WITH(Image_DamagedFiles),        WITH(Image_NoExecute),
        WITH(Image_SharedSection),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
