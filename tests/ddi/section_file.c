/*
 * section_file.c - sections: shared between processes, copied on write, reserved, of files, of images, in system space.
 * SPDX-License-Identifier: MIT
 *
 * Pages: ZwCreateSection, ZwMapViewOfSection, ZwUnmapViewOfSection, ZwFlushVirtualMemory, MmMapViewInSystemSpace, MmCanFileBeTruncated,
 * MmFlushImageSection, MmForceSectionClosed; and mm/section.c's invariants.
 */
#include "section_kit.h"
#include "pe_builder.h"
#include <sys/stat.h>

static char Folder[] = "/tmp/ntmm-sectionXXXXXX";

static PUCHAR Map(HANDLE Section, HANDLE Process, LONGLONG At, SIZE_T Bytes, ULONG Protect, NTSTATUS Expected)
{
    PVOID Base = NULL;
    LARGE_INTEGER Offset = {.QuadPart = At};
    assert_int_equal(ZwMapViewOfSection(Section, Process, &Base, 0, 0, &Offset, &Bytes, ViewUnmap, 0, Protect), Expected);
    return Base;
}
static void Unmap(HANDLE Process, PVOID Base)
{
    assert_int_equal(ZwUnmapViewOfSection(Process, Base), STATUS_SUCCESS);
}
static PFN_NUMBER FrameAt(PVOID Va)
{
    return MiPtePage(MiReadPte(MiPteOf((ULONG_PTR)Va)));
}

/* Two processes that map one section see one memory: the same frame. */
static void Views_InTwoProcesses_ShareFrames(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(0x20000, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PUCHAR A = Map(Section, OneHandle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    PUCHAR B = Map(Section, TwoHandle, 0x10000, 0, PAGE_READWRITE, STATUS_SUCCESS);
    INSIDE(One)
    {
        strcpy((char *)A + 0x10010, "from one");
    }
    INSIDE(Two)
    {
        assert_string_equal((char *)B + 0x10, "from one");
        B[0x20] = 9;
    }
    assert_int_equal(FrameAt(A + 0x10000), FrameAt(B));
    INSIDE(One)
    {
        assert_int_equal(A[0x10020], 9);
        assert_int_equal(A[0], 0);
    }
    ZwClose(Section); /* the views keep it */
    Unmap(OneHandle, A + 0x1F000);
    INSIDE(Two)
    {
        assert_int_equal(B[0x20], 9);
        assert_int_equal(KitExceptionOf(A, 'r'), STATUS_ACCESS_VIOLATION);
    }
    Unmap(TwoHandle, B);
}

/* PAGE_WRITECOPY: "the process receives its own copy" */
static void WriteCopy_GivesTheWriterItsOwnPage(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    HANDLE Section = SkCreate(2 * PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PUCHAR A = Map(Section, OneHandle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    PUCHAR B = Map(Section, TwoHandle, 0, 0, PAGE_WRITECOPY, STATUS_SUCCESS);
    MEMORY_BASIC_INFORMATION Info;
    INSIDE(One)
    {
        A[0] = 1;
        A[PAGE_SIZE] = 2;
    }
    MmQueryCounters(&Before);
    ULONG64 Committed = KitCommitted();
    INSIDE(Two)
    {
        assert_int_equal(B[0], 1);
        assert_int_equal(FrameAt(A), FrameAt(B));
        B[0] = 5;
        assert_int_equal(B[PAGE_SIZE], 2);
    }
    MmQueryCounters(&After);
    assert_int_equal(After.CopyOnWriteFaults - Before.CopyOnWriteFaults, 1);
    assert_int_equal(KitCommitted() - Committed, 1);
    assert_true(FrameAt(A) != FrameAt(B));
    assert_int_equal(FrameAt(A + PAGE_SIZE), FrameAt(B + PAGE_SIZE));
    INSIDE(One)
    {
        assert_int_equal(A[0], 1);
        A[0] = 7;
    }
    INSIDE(Two)
    {
        assert_int_equal(B[0], 5);
        assert_int_equal(ZwQueryVirtualMemory(NtCurrentProcess(), B, MemoryBasicInformation, &Info, sizeof Info, NULL),
                         STATUS_SUCCESS);
    }
    assert_int_equal(Info.Protect, PAGE_READWRITE);
    assert_int_equal(Info.RegionSize, PAGE_SIZE);
    assert_int_equal(Info.AllocationProtect, PAGE_WRITECOPY);
    assert_int_equal(Info.Type, MEM_MAPPED);
    /* a driver that locks such a page for writing has it copied, too */
    KIT_MDL Mdl;
    INSIDE(Two)
    {
        MmInitializeMdl(&Mdl.Mdl, B + PAGE_SIZE, 1);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess), STATUS_SUCCESS);
        assert_true(Mdl.Frames[0] != FrameAt(A + PAGE_SIZE));
        MmUnlockPages(&Mdl.Mdl);
    }
    Unmap(OneHandle, A), Unmap(TwoHandle, B);
    MmQueryCounters(&After);
    ZwClose(Section);
}

/* SEC_RESERVE: "reserves all pages ... without allocating physical storage" */
static void Reserve_IsCommittedThroughAView(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(16 * PAGE_SIZE, PAGE_READWRITE, SEC_RESERVE, NULL, STATUS_SUCCESS);
    PUCHAR A = Map(Section, OneHandle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    PUCHAR B = Map(Section, TwoHandle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    MEMORY_BASIC_INFORMATION Info;
    INSIDE(One)
    {
        assert_int_equal(KitExceptionOf(A, 'r'), STATUS_ACCESS_VIOLATION);
    }
    PVOID Base = A + 2 * PAGE_SIZE;
    SIZE_T Size = 3 * PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(OneHandle, &Base, 0, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    INSIDE(One)
    {
        A[2 * PAGE_SIZE] = 3;
    }
    INSIDE(Two) /* committed for all */
    {
        assert_int_equal(B[2 * PAGE_SIZE], 3);
        assert_int_equal(KitExceptionOf(B + 5 * PAGE_SIZE, 'r'), STATUS_ACCESS_VIOLATION);
    }
    assert_int_equal(ZwQueryVirtualMemory(TwoHandle, B, MemoryBasicInformation, &Info, sizeof Info, NULL), STATUS_SUCCESS);
    assert_int_equal(Info.State, MEM_RESERVE);
    assert_int_equal(Info.RegionSize, 2 * PAGE_SIZE);
    Unmap(OneHandle, A), Unmap(TwoHandle, B);
    ZwClose(Section);
    Section = SkCreate(PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    A = Map(Section, OneHandle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    Base = A;
    Size = PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(OneHandle, &Base, 0, &Size, MEM_COMMIT, PAGE_READWRITE), STATUS_ALREADY_COMMITTED);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(OneHandle, &Base, &Size, MEM_RELEASE), STATUS_UNABLE_TO_DELETE_SECTION);
    Unmap(OneHandle, A);
    ZwClose(Section);
}

static void Map_BadArguments(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(0x30000, PAGE_READONLY, SEC_COMMIT, NULL, STATUS_SUCCESS);
    Map(Section, OneHandle, 0, 0, PAGE_READWRITE, STATUS_SECTION_PROTECTION);
    Map(Section, OneHandle, 0, 0, PAGE_EXECUTE_READ, STATUS_SECTION_PROTECTION);
    Map(Section, OneHandle, 0, 0, PAGE_READONLY | PAGE_READWRITE, STATUS_INVALID_PAGE_PROTECTION);
    Map(Section, OneHandle, 0x1000, 0, PAGE_READONLY, STATUS_MAPPED_ALIGNMENT);
    Map(Section, OneHandle, 0x30000, 0, PAGE_READONLY, STATUS_INVALID_VIEW_SIZE);
    Map(Section, OneHandle, 0x20000, 0x10001, PAGE_READONLY, STATUS_INVALID_VIEW_SIZE);
    Map(Section, (HANDLE)0x7770, 0, 0, PAGE_READONLY, STATUS_INVALID_HANDLE);
    Map(OneHandle, OneHandle, 0, 0, PAGE_READONLY, STATUS_OBJECT_TYPE_MISMATCH);
    PUCHAR A = Map(Section, OneHandle, 0x10000, PAGE_SIZE + 1, PAGE_READONLY, STATUS_SUCCESS);
    PVOID Base = A;
    SIZE_T Size = 0;
    ULONG Old;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_CONFLICTING_ADDRESSES);
    Base = A + PAGE_SIZE;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_MAPPED_ALIGNMENT);
    Base = NULL;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 25, 0, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_INVALID_PARAMETER_4);
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 1 << 20, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_INVALID_PARAMETER_5);
    Size = 0;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, (SECTION_INHERIT)7, 0, PAGE_READONLY),
                     STATUS_INVALID_PARAMETER_8);
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, ViewUnmap, MEM_COMMIT, PAGE_READONLY),
                     STATUS_INVALID_PARAMETER_9);
    Base = A;
    Size = PAGE_SIZE;
    assert_int_equal(ZwProtectVirtualMemory(OneHandle, &Base, &Size, PAGE_READWRITE, &Old), STATUS_SECTION_PROTECTION);
    assert_int_equal(ZwProtectVirtualMemory(OneHandle, &Base, &Size, PAGE_WRITECOPY, &Old), STATUS_SUCCESS);
    assert_int_equal(Old, PAGE_READONLY);
    INSIDE(One)
    {
        A[0] = 1; /* the view's own from now on */
    }
    Unmap(OneHandle, A);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_NOT_MAPPED_VIEW);
    ZwClose(Section);
    SkCreate(PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT | SEC_RESERVE, NULL, STATUS_INVALID_PARAMETER_6);
    SkCreate(PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT | 0x1, NULL, STATUS_INVALID_PARAMETER_6);
    SkCreate(PAGE_SIZE, PAGE_NOACCESS, SEC_COMMIT, NULL, STATUS_INVALID_PAGE_PROTECTION);
    SkCreate(1ll << 50, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SECTION_TOO_BIG);
    SkCreate(1ll << 32, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_COMMITMENT_LIMIT);
    SkCreate(PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT | SEC_LARGE_PAGES, NULL, STATUS_NOT_SUPPORTED);
}

/* ---- files ---- */
static void Put(const char *Name, const void *Bytes, size_t Count)
{
    char Path[200];
    snprintf(Path, sizeof Path, "%s/%s", Folder, Name);
    FILE *File = fopen(Path, "wb");
    assert_non_null(File);
    assert_int_equal(fwrite(Bytes, 1, Count, File), Count);
    fclose(File);
}
static size_t Get(const char *Name, void *Bytes, size_t Room)
{
    char Path[200];
    snprintf(Path, sizeof Path, "%s/%s", Folder, Name);
    FILE *File = fopen(Path, "rb");
    size_t Count = File ? fread(Bytes, 1, Room, File) : 0;
    if (File)
        fclose(File);
    return Count;
}
static HANDLE OpenFile(PCWSTR Text, ACCESS_MASK Access)
{
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Block;
    UNICODE_STRING Name;
    HANDLE File;
    RtlInitUnicodeString(&Name, Text);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    assert_int_equal(ZwCreateFile(&File, Access | SYNCHRONIZE, &Attributes, &Block, NULL, FILE_ATTRIBUTE_NORMAL,
                                  FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0),
                     STATUS_SUCCESS);
    return File;
}

static void File_IsReadAndWrittenThroughViews(void **State)
{
    (void)State;
    static UCHAR Bytes[10000], Back[10000];
    for (size_t i = 0; i < sizeof Bytes; i++)
        Bytes[i] = (UCHAR)(i * 13);
    Put("data.bin", Bytes, sizeof Bytes);
    HANDLE File = OpenFile(L"\\??\\C:\\data.bin", GENERIC_READ | GENERIC_WRITE),
           Again = OpenFile(L"\\??\\C:\\DATA.BIN", GENERIC_READ);
    HANDLE Section = SkCreate(0, PAGE_READWRITE, SEC_COMMIT, File, STATUS_SUCCESS);
    HANDLE Second = SkCreate(0, PAGE_READONLY, SEC_COMMIT, Again, STATUS_SUCCESS);
    ZwClose(File), ZwClose(Again); /* the sections keep the file */
    PUCHAR A = Map(Section, OneHandle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    PUCHAR B = Map(Second, TwoHandle, 0, 0, PAGE_READONLY, STATUS_SUCCESS);
    INSIDE(One)
    {
        assert_memory_equal(A, Bytes, sizeof Bytes);
        for (ULONG i = sizeof Bytes; i < 3 * PAGE_SIZE; i++)
            assert_int_equal(A[i], 0); /* behind the end of the file */
        A[5000] = 0xEE;
        A[9999] = 0xDD;
        A[10001] = 1; /* beyond the end: not the file's */
    }
    INSIDE(Two) /* two opens, two sections, one memory */
    {
        assert_int_equal(B[5000], 0xEE);
        assert_int_equal(KitExceptionOf(B, 'w'), STATUS_ACCESS_VIOLATION);
        assert_int_equal(FrameAt(A + PAGE_SIZE), FrameAt(B + PAGE_SIZE));
    }
    assert_int_equal(Get("data.bin", Back, sizeof Back), sizeof Back);
    assert_int_equal(Back[5000], Bytes[5000]); /* not yet */
    PVOID Base = A + 5000;
    SIZE_T Size = 1;
    IO_STATUS_BLOCK Iosb;
    assert_int_equal(ZwFlushVirtualMemory(OneHandle, &Base, &Size, &Iosb), STATUS_SUCCESS);
    assert_ptr_equal(Base, A + PAGE_SIZE);
    assert_int_equal(Size, PAGE_SIZE);
    assert_int_equal(Get("data.bin", Back, sizeof Back), sizeof Back);
    assert_int_equal(Back[5000], 0xEE);
    assert_int_equal(Back[9999], Bytes[9999]); /* another page */
    INSIDE(One)
    {
        A[5001] = 0x77; /* dirty again after the flush */
    }
    /* a driver's write through a locked page counts, too */
    KIT_MDL Mdl;
    INSIDE(One)
    {
        MmInitializeMdl(&Mdl.Mdl, A, 10);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess), STATUS_SUCCESS);
    }
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
    Mapped[3] = 0x55;
    MmUnlockPages(&Mdl.Mdl);
    Unmap(TwoHandle, B), Unmap(OneHandle, A);
    ZwClose(Section), ZwClose(Second);
    assert_int_equal(Get("data.bin", Back, sizeof Back), sizeof Back);
    Bytes[5000] = 0xEE, Bytes[5001] = 0x77, Bytes[9999] = 0xDD, Bytes[3] = 0x55;
    assert_memory_equal(Back, Bytes, sizeof Bytes);
    Base = A;
    assert_int_equal(ZwFlushVirtualMemory(OneHandle, &Base, &Size, &Iosb), STATUS_NOT_MAPPED_VIEW);
}

static void File_Sizes(void **State)
{
    (void)State;
    static UCHAR Back[0x20000];
    Put("small.bin", "hello", 5);
    Put("empty.bin", "", 0);
    HANDLE Small = OpenFile(L"\\??\\C:\\small.bin", GENERIC_READ | GENERIC_WRITE),
           Empty = OpenFile(L"\\??\\C:\\empty.bin", GENERIC_READ);
    SkCreate(0, PAGE_READONLY, SEC_COMMIT, Empty, STATUS_MAPPED_FILE_SIZE_ZERO);
    SkCreate(100, PAGE_READONLY, SEC_COMMIT, Small, STATUS_SECTION_TOO_BIG);
    HANDLE Section = SkCreate(0x11000, PAGE_READWRITE, SEC_COMMIT, Small, STATUS_SUCCESS); /* extends the file */
    assert_int_equal(Get("small.bin", Back, sizeof Back), 0x11000);
    PUCHAR A = Map(Section, OneHandle, 0x10000, 0, PAGE_READWRITE, STATUS_SUCCESS);
    INSIDE(One)
    {
        A[0xFFF] = 1;
    }
    LARGE_INTEGER Larger = {.QuadPart = 0x18000};
    assert_int_equal(ZwExtendSection(Section, &Larger), STATUS_SUCCESS);
    Larger.QuadPart = 5;
    assert_int_equal(ZwExtendSection(Section, &Larger), STATUS_SUCCESS);
    assert_int_equal(Larger.QuadPart, 0x18000);
    PUCHAR B = Map(Section, OneHandle, 0x10000, 0x8000, PAGE_READWRITE, STATUS_SUCCESS);
    INSIDE(One)
    {
        assert_int_equal(B[0xFFF], 1);
        B[0x7FFF] = 2;
    }
    SECTION_BASIC_INFORMATION Basic;
    SECTION_IMAGE_INFORMATION Image;
    assert_int_equal(ZwQuerySection(Section, SectionBasicInformation, &Basic, sizeof Basic, NULL), STATUS_SUCCESS);
    assert_int_equal(Basic.MaximumSize.QuadPart, 0x18000);
    assert_int_equal(Basic.AllocationAttributes, SEC_COMMIT | SEC_FILE);
    assert_int_equal(ZwQuerySection(Section, SectionImageInformation, &Image, sizeof Image, NULL), STATUS_SECTION_NOT_IMAGE);
    assert_int_equal(ZwQuerySection(Section, SectionBasicInformation, &Basic, 3, NULL), STATUS_INFO_LENGTH_MISMATCH);
    assert_int_equal(ZwQuerySection(Section, (SECTION_INFORMATION_CLASS)9, &Basic, 3, NULL), STATUS_INVALID_INFO_CLASS);
    /* what a file system asks */
    PFILE_OBJECT Object;
    assert_int_equal(ObReferenceObjectByHandle(Small, 0, *IoFileObjectType, KernelMode, (PVOID *)&Object, NULL),
                     STATUS_SUCCESS);
    LARGE_INTEGER Less = {.QuadPart = 0x1000};
    assert_false(MmCanFileBeTruncated(Object->SectionObjectPointer, &Less));
    assert_int_equal(MmDoesFileHaveUserWritableReferences(Object->SectionObjectPointer), 3); /* the section, too */
    assert_true(MmFlushImageSection(Object->SectionObjectPointer, MmFlushForWrite));
    assert_false(MmForceSectionClosed(Object->SectionObjectPointer, FALSE));
    INSIDE(One)
    {
        assert_int_equal(NtAreMappedFilesTheSame(A, B), STATUS_SUCCESS);
    }
    Unmap(OneHandle, A), Unmap(OneHandle, B);
    ZwClose(Section);
    assert_true(MmForceSectionClosed(Object->SectionObjectPointer, FALSE));
    assert_true(MmCanFileBeTruncated(Object->SectionObjectPointer, &Less));
    ObDereferenceObject(Object);
    ZwClose(Small), ZwClose(Empty);
    assert_int_equal(Get("small.bin", Back, sizeof Back), 0x18000);
    assert_memory_equal(Back, "hello", 5);
    assert_int_equal(Back[0x10FFF], 1);
    assert_int_equal(Back[0x17FFF], 2);
    HANDLE Paged = SkCreate(PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    assert_int_equal(ZwExtendSection(Paged, &Larger), STATUS_SECTION_NOT_EXTENDED);
    ZwClose(Paged);
}

static void Image_ShowsItsPartsWithTheirProtections(void **State)
{
    (void)State;
    static UCHAR File[PB_FILE_SIZE];
    PbBuild(File, 0x1234);
    Put("image.sys", File, sizeof File);
    Put("text.txt", "no image at all, but some sixty-four bytes of ordinary text in a file", 70);
    HANDLE Handle = OpenFile(L"\\??\\C:\\image.sys", GENERIC_READ), Text = OpenFile(L"\\??\\C:\\text.txt", GENERIC_READ);
    SkCreate(0, PAGE_READONLY, SEC_IMAGE, Text, STATUS_INVALID_IMAGE_NOT_MZ);
    HANDLE Section = SkCreate(0, PAGE_EXECUTE_READ, SEC_IMAGE, Handle, STATUS_SUCCESS);
    SECTION_IMAGE_INFORMATION Facts;
    assert_int_equal(ZwQuerySection(Section, SectionImageInformation, &Facts, sizeof Facts, NULL), STATUS_SUCCESS);
    assert_int_equal(Facts.Machine, 0x8664);
    assert_int_equal((ULONG_PTR)Facts.TransferAddress, PB_IMAGE_BASE + 0x1000);
    PUCHAR A = Map(Section, OneHandle, 0, 0, PAGE_READONLY, STATUS_IMAGE_NOT_AT_BASE);
    PUCHAR B = Map(Section, TwoHandle, 0, 0, PAGE_READONLY, STATUS_IMAGE_NOT_AT_BASE);
    MEMORY_BASIC_INFORMATION Info;
    INSIDE(One)
    {
        PbPut64(File, PB_OPT(ImageBase), (ULONG_PTR)A); /* tests/ddi/section_image.c has more of this */
        assert_memory_equal(A, File, 0x400);
        assert_memory_equal(A + 0x1000, File + PB_TEXT, 16);
        assert_memory_equal(A + 0x2000, File + PB_RDATA, 0x200);
        assert_int_equal(KitExceptionOf(A + 0x1000, 'w'), STATUS_ACCESS_VIOLATION);
        assert_int_equal(ZwQueryVirtualMemory(NtCurrentProcess(), A + 0x3000, MemoryBasicInformation, &Info, sizeof Info, NULL),
                         STATUS_SUCCESS);
        assert_int_equal(Info.Type, MEM_IMAGE);
        assert_int_equal(Info.Protect, PAGE_WRITECOPY);
        A[0x3100] = 0x42; /* its own copy */
    }
    INSIDE(Two)
    {
        assert_true(B[0x3100] != 0x42);
        assert_int_equal(B[0x3000], File[PB_DATA]);
    }
    PFILE_OBJECT Object;
    assert_int_equal(ObReferenceObjectByHandle(Handle, 0, *IoFileObjectType, KernelMode, (PVOID *)&Object, NULL),
                     STATUS_SUCCESS);
    assert_false(MmFlushImageSection(Object->SectionObjectPointer, MmFlushForDelete));
    assert_false(MmCanFileBeTruncated(Object->SectionObjectPointer, NULL));
    Unmap(OneHandle, A), Unmap(TwoHandle, B);
    ZwClose(Section);
    assert_true(MmFlushImageSection(Object->SectionObjectPointer, MmFlushForDelete));
    ObDereferenceObject(Object);
    /* files that contradict themselves */
    PbPut32(File, PB_SEC(1, PointerToRawData), 0x7000);
    Put("broken.sys", File, sizeof File);
    HANDLE Broken = OpenFile(L"\\??\\C:\\broken.sys", GENERIC_READ);
    SkCreate(0, PAGE_READONLY, SEC_IMAGE, Broken, STATUS_INVALID_IMAGE_FORMAT);
    ZwClose(Broken), ZwClose(Handle), ZwClose(Text);
    Get("image.sys", File, sizeof File);
    assert_int_equal(File[PB_DATA + 0x100] == 0x42, 0);
}

/* MmMapViewInSystemSpace: "maps the specified section into the system's address space" */
static void SystemView_SharesWithTheProcess(void **State)
{
    (void)State;
    PVOID Section, Kernel = NULL;
    SIZE_T Size = 0;
    LARGE_INTEGER Bytes = {.QuadPart = 0x20000};
    assert_int_equal(MmCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &Bytes, PAGE_READWRITE, SEC_COMMIT, NULL, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(MmMapViewInSystemSpace(Section, &Kernel, &Size), STATUS_SUCCESS);
    assert_int_equal(Size, 0x20000);
    assert_true((ULONG_PTR)Kernel >= (ULONG_PTR)MmSystemRangeStart);
    PVOID User = NULL;
    assert_int_equal(MmMapViewOfSection(Section, One, &User, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READWRITE), STATUS_SUCCESS);
    ((PUCHAR)Kernel)[0x1F000] = 0x21;
    INSIDE(One)
    {
        assert_int_equal(((PUCHAR)User)[0x1F000], 0x21);
        ((PUCHAR)User)[4] = 0x22;
    }
    assert_int_equal(((volatile UCHAR *)Kernel)[4], 0x22);
    assert_int_equal(FrameAt(Kernel), FrameAt(User));
    PVOID Part = NULL;
    LARGE_INTEGER Offset = {.QuadPart = 0x10000};
    Size = PAGE_SIZE;
    assert_int_equal(MmMapViewInSessionSpaceEx(Section, &Part, &Size, &Offset, 0), STATUS_SUCCESS);
    assert_int_equal(Size, PAGE_SIZE);
    assert_int_equal(MmUnmapViewInSessionSpace(Part), STATUS_SUCCESS);
    Size = 0x20001;
    assert_int_equal(MmMapViewInSystemSpace(Section, &Part, &Size), STATUS_INVALID_VIEW_SIZE);
    ObDereferenceObject(Section);
    assert_int_equal(MmUnmapViewInSystemSpace(Kernel), STATUS_SUCCESS);
    assert_int_equal(MmUnmapViewInSystemSpace(Kernel), STATUS_NOT_MAPPED_VIEW);
    assert_int_equal(MmUnmapViewOfSection(One, User), STATUS_SUCCESS);
}

/* Views end with their process, and what was changed in a file is not lost. */
static void ProcessEnd_UnmapsItsViews(void **State)
{
    (void)State;
    KPROCESS *Process;
    HANDLE Handle;
    UCHAR Back[8];
    Put("last.bin", "12345678", 8);
    HANDLE File = OpenFile(L"\\??\\C:\\last.bin", GENERIC_READ | GENERIC_WRITE);
    HANDLE Section = SkCreate(0, PAGE_READWRITE, SEC_COMMIT, File, STATUS_SUCCESS);
    ZwClose(File);
    assert_int_equal(PspCreateNamedProcess("maps", &Process), STATUS_SUCCESS);
    assert_int_equal(
        ObOpenObjectByPointer(Process, OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType, KernelMode, &Handle),
        STATUS_SUCCESS);
    PUCHAR A = Map(Section, Handle, 0, 0, PAGE_READWRITE, STATUS_SUCCESS);
    ZwClose(Section);
    INSIDE(Process)
    {
        A[0] = 'X';
    }
    ZwClose(Handle);
    assert_int_equal(PspEndProcess(Process, 0), STATUS_SUCCESS);
    ObDereferenceObject(Process);
    assert_int_equal(Get("last.bin", Back, 8), 8);
    assert_memory_equal(Back, "X2345678", 8);
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0; /* its pages come and go beside a test that counts */
    Options.ram = 64u << 20;
    if (mkdtemp(Folder) == NULL)
        return -1;
    snprintf(Options.drive, sizeof Options.drive, "%s", Folder);
    return ntmm_start(&Options);
}
static int EndProcesses(void **State)
{
    (void)State;
    MM_SPACE_INFO A, B;
    const CHAR *Broken = MiValidateAll();
    MmQuerySpace(One->Space, &A), MmQuerySpace(Two->Space, &B);
    ZwClose(OneHandle), ZwClose(TwoHandle);
    NTSTATUS First = PspEndProcess(One, 0), Second = PspEndProcess(Two, 0);
    ObDereferenceObject(One), ObDereferenceObject(Two);
    if (Broken)
        print_error("%s\n", Broken);
    if (A.VirtualBytes | B.VirtualBytes | A.CommittedPages | B.CommittedPages)
        print_error("left: %lu %lu bytes, %lu %lu pages\n", (unsigned long)A.VirtualBytes, (unsigned long)B.VirtualBytes,
                    (unsigned long)A.CommittedPages, (unsigned long)B.CommittedPages);
    return Broken != NULL || First != 0 || Second != 0 ||
           (A.VirtualBytes | B.VirtualBytes | A.CommittedPages | B.CommittedPages) != 0;
}
static int Stop(void **State)
{
    char Command[100];
    int Result = KitStop(State);
    snprintf(Command, sizeof Command, "rm -rf %s", Folder);
    return system(Command) != 0 || Result != 0;
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, SkMakeProcesses, EndProcesses)
        WITH(Views_InTwoProcesses_ShareFrames),
        WITH(WriteCopy_GivesTheWriterItsOwnPage),
        WITH(Reserve_IsCommittedThroughAView),
        WITH(Map_BadArguments),
        WITH(File_IsReadAndWrittenThroughViews),
        WITH(File_Sizes),
        WITH(Image_ShowsItsPartsWithTheirProtections),
        WITH(SystemView_SharesWithTheProcess),
        WITH(ProcessEnd_UnmapsItsViews),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
