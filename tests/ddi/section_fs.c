/*
 * section_fs.c - what file systems do with sections: reading ahead of need, scanning, holding writes back; views of physical memory.
 * SPDX-License-Identifier: MIT
 *
 * Pages: MmPrefetchPages, FsRtlCreateSectionForDataScan, MmSetAddressRangeModified, MmFlushImageSection, MmCanFileBeTruncated,
 * MmDoesFileHaveUserWritableReferences, MmMapViewInSystemSpace, ZwOpenSection, ZwMapViewOfSection, ZwMapViewOfSectionEx.
 */
#include "section_kit.h"
#include "pe_builder.h"

static PFILE_OBJECT FileObject(HANDLE File)
{
    PVOID Object;
    assert_int_equal(ObReferenceObjectByHandle(File, 0, *IoFileObjectType, KernelMode, &Object, NULL), STATUS_SUCCESS);
    return Object;
}
static void Out(void)
{
    MmEmptyAllWorkingSets(TRUE);
    KitAssertValid();
}

/* "reads pages from secondary storage described in the read-lists"; "success ... if all of the requested pages were already in memory". */
static void Prefetch_ReadsBeforeNeed(void **State)
{
    (void)State;
    struct {
        READ_LIST List;
        FILE_SEGMENT_ELEMENT More[3];
    } Read = {.List = {.NumberOfEntries = 4}};
    PREAD_LIST Lists[2] = {&Read.List, &Read.List};
    MM_COUNTERS Before, After;
    HANDLE Section = SkFileSection(200 * PAGE_SIZE, PAGE_READWRITE), File = SkOpen(GENERIC_READ);
    Read.List.FileObject = FileObject(File);
    static const ULONG Pages[4] = {0, 5, 100, 199};
    for (ULONG Index = 0; Index < 4; Index++) {
        (&Read.List.List[0])[Index].Alignment = Pages[Index] * PAGE_SIZE;
    }
    assert_int_equal(MmPrefetchPages(0, Lists), STATUS_INVALID_PARAMETER_1);
    assert_int_equal(MmPrefetchPages(1, Lists), STATUS_SUCCESS);
    assert_int_equal(SkReads, 3); /* the second was read with the first */
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READONLY);
    LONG Reads = SkReads;
    assert_int_equal(MmPrefetchPages(2, Lists), STATUS_SUCCESS);
    assert_int_equal(SkReads, Reads);
    MmQueryCounters(&Before);
    INSIDE(One)
    {
        for (ULONG Index = 0; Index < 4; Index++) {
            assert_int_equal(A[Pages[Index] * PAGE_SIZE + 9], SkByte(Pages[Index] * PAGE_SIZE + 9));
        }
    }
    MmQueryCounters(&After);
    assert_int_equal(SkReads, Reads);
    assert_int_equal(After.HardFaults, Before.HardFaults);
    KitAssertValid();
    Read.List.List[0].Alignment = 50 * PAGE_SIZE;
    SkReadStatus = STATUS_DEVICE_DATA_ERROR;
    assert_int_equal(MmPrefetchPages(1, Lists), STATUS_DEVICE_DATA_ERROR);
    SkReadStatus = STATUS_SUCCESS;
    Read.List.List[0].Alignment = 1000 * PAGE_SIZE; /* beyond the end: nothing to read */
    assert_int_equal(MmPrefetchPages(1, Lists), STATUS_SUCCESS);
    Read.List.IsImage = TRUE; /* "The section object must already exist for the file" */
    assert_int_equal(MmPrefetchPages(1, Lists), STATUS_INVALID_PARAMETER_1);
    Read.List.IsImage = FALSE;
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
    assert_int_equal(MmPrefetchPages(1, Lists), STATUS_INVALID_PARAMETER_1);
    ObDereferenceObject(Read.List.FileObject);
    Read.List.FileObject = NULL; /* "a physical or pagefile-backed section" */
    assert_int_equal(MmPrefetchPages(1, Lists), STATUS_INVALID_PARAMETER_1);
    ZwClose(File);
}

static NTSTATUS Scan(PFILE_OBJECT File, ULONG Protect, ULONG Attributes, PHANDLE Handle, PVOID *Object, PLARGE_INTEGER Size)
{
    OBJECT_ATTRIBUTES Names;
    InitializeObjectAttributes(&Names, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    return FsRtlCreateSectionForDataScan(Handle, Object, Size, File, SECTION_MAP_READ | SECTION_QUERY, &Names, NULL, Protect,
                                         Attributes, 0);
}

static void DataScan(void **State)
{
    (void)State;
    HANDLE File, Handle = NULL;
    PVOID Object, Mapped;
    LARGE_INTEGER Size;
    SIZE_T Bytes = 0;
    ZwClose(SkFileSection(10000, PAGE_READONLY));
    File = SkOpen(GENERIC_READ);
    PFILE_OBJECT It = FileObject(File);
    assert_int_equal(Scan(It, PAGE_EXECUTE_READ, SEC_COMMIT, &Handle, &Object, NULL), STATUS_INVALID_PARAMETER_8);
    assert_int_equal(Scan(It, PAGE_READONLY, 0, &Handle, &Object, NULL), STATUS_INVALID_PARAMETER_9);
    assert_int_equal(Scan(It, PAGE_READONLY, SEC_COMMIT | SEC_IMAGE, &Handle, &Object, NULL), STATUS_INVALID_PARAMETER_9);
    assert_int_equal(Scan(It, PAGE_READONLY, SEC_COMMIT | SEC_FILE, &Handle, &Object, &Size), STATUS_SUCCESS);
    assert_int_equal(Size.QuadPart, 10000);
    assert_int_equal(MmMapViewInSystemSpace(Object, &Mapped, &Bytes), STATUS_SUCCESS);
    for (ULONG At = 0; At < 10000; At++) {
        assert_int_equal(((PUCHAR)Mapped)[At], SkByte(At));
    }
    assert_int_equal(MmUnmapViewInSystemSpace(Mapped), STATUS_SUCCESS);
    assert_int_equal(ZwClose(Handle), STATUS_SUCCESS);
    assert_false(MmForceSectionClosed(&SkPointers, FALSE));
    ObDereferenceObject(Object); /* "close the section object's handle ... and dereference the section object itself" */
    assert_true(MmForceSectionClosed(&SkPointers, FALSE));
    SkSize = 0; /* "The size of the file specified by the FileObject parameter is zero." */
    assert_int_equal(Scan(It, PAGE_READONLY, SEC_COMMIT, &Handle, &Object, NULL), STATUS_END_OF_FILE);
    ObDereferenceObject(It);
    ZwClose(File);
}

/* MM_SYSTEM_VIEW_EXCEPTIONS_FOR_INPAGE_ERRORS: an exception in place of bug check 0x7A (which section_paging.c has). */
static void SystemView_RaisesInPageErrors(void **State)
{
    (void)State;
    PVOID Mapped, Other;
    SIZE_T Bytes = 0, Same = 0;
    HANDLE Section = SkFileSection(40 * PAGE_SIZE, PAGE_READWRITE);
    PVOID Object = SkObject(Section);
    assert_int_equal(MmMapViewInSystemSpaceEx(Object, &Mapped, &Bytes, NULL, 2), STATUS_INVALID_PARAMETER_5);
    assert_int_equal(MmMapViewInSystemSpaceEx(Object, &Mapped, &Bytes, NULL, MM_SYSTEM_VIEW_EXCEPTIONS_FOR_INPAGE_ERRORS),
                     STATUS_SUCCESS);
    assert_int_equal(MmMapViewInSystemSpace(Object, &Other, &Same), STATUS_SUCCESS);
    SkReadStatus = STATUS_DEVICE_DATA_ERROR;
    assert_int_equal(KitExceptionOf((PUCHAR)Mapped + 20 * PAGE_SIZE, 'r'), STATUS_IN_PAGE_ERROR);
    assert_int_equal(KitExceptionOf((PUCHAR)Mapped + 39 * PAGE_SIZE, 'w'), STATUS_IN_PAGE_ERROR);
    SkReadStatus = STATUS_SUCCESS;
    assert_int_equal(KitExceptionOf((PUCHAR)Mapped + 20 * PAGE_SIZE, 'r'), STATUS_SUCCESS);
    assert_int_equal(((volatile UCHAR *)Other)[20 * PAGE_SIZE], SkByte(20 * PAGE_SIZE));
    assert_int_equal(MmUnmapViewInSystemSpace(Mapped), STATUS_SUCCESS);
    assert_int_equal(MmUnmapViewInSystemSpace(Other), STATUS_SUCCESS);
    ObDereferenceObject(Object);
    ZwClose(Section);
}

/* "marks currently valid pages in the specified range of the system cache as modified ... TRUE if it marked at least one page" */
static void SetAddressRangeModified(void **State)
{
    (void)State;
    PVOID Mapped;
    SIZE_T Bytes = 0;
    HANDLE Section = SkFileSection(40 * PAGE_SIZE, PAGE_READWRITE);
    PVOID Object = SkObject(Section);
    assert_int_equal(MmMapViewInSystemSpace(Object, &Mapped, &Bytes), STATUS_SUCCESS);
    PUCHAR A = Mapped;
    assert_false(MmSetAddressRangeModified(A, Bytes)); /* none is valid */
    assert_int_equal(*(volatile UCHAR *)(A + 3 * PAGE_SIZE), SkByte(3 * PAGE_SIZE));
    assert_true(MmSetAddressRangeModified(A + 3 * PAGE_SIZE + 1, 1));
    assert_false(MmSetAddressRangeModified(A + 3 * PAGE_SIZE + 1, 1)); /* it is already */
    SkBytes[3 * PAGE_SIZE] = 0x11;                                     /* the file shall be written */
    Out();
    assert_int_equal(SkBytes[3 * PAGE_SIZE], SkByte(3 * PAGE_SIZE));
    assert_int_equal(SkWritePages, 1);
    assert_int_equal(MmUnmapViewInSystemSpace(Mapped), STATUS_SUCCESS);
    ObDereferenceObject(Object);
    ZwClose(Section);
}

/* Pages of such a section wait for a flush, however long. */
static void DisableModifiedWrite(void **State)
{
    (void)State;
    MM_COUNTERS Counters;
    assert_false(MmDisableModifiedWriteOfSection(&SkPointers));
    HANDLE Section = SkFileSection(40 * PAGE_SIZE, PAGE_READWRITE);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE);
    INSIDE(One)
    {
        A[5 * PAGE_SIZE] = 0x77;
    }
    (VOID) MiEmptyWorkingSet(&One->Space->WorkingSet);
    assert_true(MmDisableModifiedWriteOfSection(&SkPointers)); /* what waits for the writer does so no longer */
    INSIDE(One)
    {
        A[6 * PAGE_SIZE] = 0x78;
    }
    (VOID) MiEmptyWorkingSet(&One->Space->WorkingSet);
    MmQueryCounters(&Counters);
    assert_int_equal(Counters.ModifiedNoWritePages, 2);
    assert_int_equal(Counters.MappedModifiedPages, 0);
    Out();
    assert_int_equal(SkWrites, 0);
    INSIDE(One)
    {
        assert_int_equal(A[5 * PAGE_SIZE], 0x77);
        PVOID Base = A;
        SIZE_T Size = 0;
        IO_STATUS_BLOCK Iosb;
        assert_int_equal(ZwFlushVirtualMemory(NtCurrentProcess(), &Base, &Size, &Iosb), STATUS_SUCCESS);
    }
    assert_int_equal(SkBytes[5 * PAGE_SIZE], 0x77);
    assert_int_equal(SkBytes[6 * PAGE_SIZE], 0x78);
    Out();
    MmQueryCounters(&Counters);
    assert_int_equal(Counters.ModifiedNoWritePages, 0);
    INSIDE(One)
    {
        A[7 * PAGE_SIZE] = 0x79;
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
    assert_int_equal(SkBytes[7 * PAGE_SIZE], 0x79); /* nor is anything lost in the end */
}

static void FileSystemsQuestions(void **State)
{
    (void)State;
    KIT_MDL Mdl;
    LARGE_INTEGER Size = {.QuadPart = 0x10000}, Larger = {.QuadPart = 0x20000};
    assert_true(MmCanFileBeTruncated(&SkPointers, NULL));
    HANDLE Section = SkFileSection(0x10000, PAGE_READWRITE), File = SkOpen(GENERIC_READ);
    HANDLE Reader = SkCreate(0, PAGE_READONLY, SEC_COMMIT, File, STATUS_SUCCESS);
    assert_int_equal(MmDoesFileHaveUserWritableReferences(&SkPointers), 1);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE), B = SkMap(Reader, TwoHandle, 0, 0, PAGE_READONLY);
    assert_int_equal(MmDoesFileHaveUserWritableReferences(&SkPointers), 2); /* who only reads does not count */
    /* "One or more users hold references to the data section for the file, and NewFileSize <= the current file size." */
    assert_false(MmCanFileBeTruncated(&SkPointers, NULL));
    assert_false(MmCanFileBeTruncated(&SkPointers, &Size));
    assert_true(MmCanFileBeTruncated(&SkPointers, &Larger));
    /* "There are one or more outstanding write probes on the file's data section." */
    assert_true(MmFlushImageSection(&SkPointers, MmFlushForDelete));
    INSIDE(One)
    {
        MmInitializeMdl(&Mdl.Mdl, A, 10);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess), STATUS_SUCCESS);
    }
    assert_false(MmCanFileBeTruncated(&SkPointers, &Larger));
    assert_false(MmFlushImageSection(&SkPointers, MmFlushForDelete));
    assert_true(MmFlushImageSection(&SkPointers, MmFlushForWrite));
    MmUnlockPages(&Mdl.Mdl);
    assert_true(MmFlushImageSection(&SkPointers, MmFlushForDelete));
    assert_false(MmForceSectionClosedEx(&SkPointers, MM_FORCE_CLOSED_DATA));
    assert_true(MmForceSectionClosedEx(&SkPointers, MM_FORCE_CLOSED_IMAGE)); /* "no segment was located" */
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section);
    assert_int_equal(MmDoesFileHaveUserWritableReferences(&SkPointers), 0);
    ZwClose(Reader), ZwClose(File);
    assert_true(MmForceSectionClosedEx(&SkPointers, MM_FORCE_CLOSED_DATA | MM_FORCE_CLOSED_IMAGE));
    assert_true(MmCanFileBeTruncated(&SkPointers, &Size));
    /* "An image section exists for the file." */
    PbBuild(SkBytes, 0);
    SkSize = PB_FILE_SIZE;
    File = SkOpen(GENERIC_READ);
    Section = SkCreate(0, PAGE_READONLY, SEC_IMAGE, File, STATUS_SUCCESS);
    assert_false(MmCanFileBeTruncated(&SkPointers, &Larger));
    assert_false(MmForceSectionClosedEx(&SkPointers, MM_FORCE_CLOSED_IMAGE));
    assert_true(MmForceSectionClosedEx(&SkPointers, MM_FORCE_CLOSED_DATA));
    ZwClose(Section), ZwClose(File);
}

static HANDLE OpenPhysicalMemory(void)
{
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\PhysicalMemory");
    HANDLE Section = NULL;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    assert_int_equal(ZwOpenSection(&Section, SECTION_ALL_ACCESS, &Attributes), STATUS_SUCCESS);
    return Section;
}
static NTSTATUS UserOpens(void *Context)
{
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\PhysicalMemory");
    HANDLE Section = NULL;
    (void)Context;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    return NtOpenSection(&Section, SECTION_MAP_READ, &Attributes);
}
static int UserResult;
static int32_t UserMain(void *Context)
{
    UserResult = UserOpens(Context);
    return 0;
}

/* \Device\PhysicalMemory: a view of RAM is that RAM, whoever else shows it; the offset is rounded down to 64 KiB, and told. */
static void PhysicalMemory(void **State)
{
    (void)State;
    HANDLE Section = OpenPhysicalMemory();
    PUCHAR Pool = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, 'hPkT');
    PHYSICAL_ADDRESS At = MmGetPhysicalAddress(Pool);
    LARGE_INTEGER Offset = At;
    PVOID Base = NULL;
    SIZE_T Size = (SIZE_T)(At.QuadPart & 0xFFFF) + PAGE_SIZE;
    MEMORY_BASIC_INFORMATION Info;
    MM_SPACE_INFO Space;
    Pool[7] = 0x31;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, &Offset, &Size, ViewUnmap, 0, PAGE_READWRITE),
                     STATUS_SUCCESS);
    assert_int_equal(Offset.QuadPart, At.QuadPart & ~0xFFFFll);
    PUCHAR Seen = (PUCHAR)Base + (At.QuadPart - Offset.QuadPart);
    INSIDE(One)
    {
        assert_int_equal(Seen[7], 0x31);
        Seen[8] = 0x32;
        assert_int_equal(MmGetPhysicalAddress(Seen).QuadPart, At.QuadPart);
    }
    assert_int_equal(((volatile UCHAR *)Pool)[8], 0x32);
    assert_int_equal(ZwQueryVirtualMemory(OneHandle, Base, MemoryBasicInformation, &Info, sizeof Info, NULL), STATUS_SUCCESS);
    assert_int_equal(Info.Type, MEM_MAPPED);
    assert_int_equal(Info.State, MEM_COMMIT);
    assert_int_equal(Info.Protect, PAGE_READWRITE);
    KitAssertValid();
    Out(); /* it is nobody's working set */
    INSIDE(One)
    {
        assert_int_equal(Seen[8], 0x32);
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Seen), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Seen), STATUS_NOT_MAPPED_VIEW);
    MmQuerySpace(One->Space, &Space);
    assert_int_equal(Space.VirtualBytes, 0);
    ExFreePoolWithTag(Pool, 'hPkT');
    /* holes read as ones */
    Base = NULL;
    Size = PAGE_SIZE;
    Offset.QuadPart = 1ll << 44;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, &Offset, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_SUCCESS);
    INSIDE(One)
    {
        assert_int_equal(*(PULONG)Base, 0xFFFFFFFF);
        assert_int_equal(KitExceptionOf(Base, 'w'), STATUS_ACCESS_VIOLATION);
    }
    /* this one stays until its process ends */
    Base = NULL;
    Size = 0;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READONLY),
                     STATUS_INVALID_VIEW_SIZE);
    Size = PAGE_SIZE;
    assert_int_equal(ZwMapViewOfSection(Section, OneHandle, &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_WRITECOPY),
                     STATUS_INVALID_PAGE_PROTECTION);
    PVOID Object = SkObject(Section);
    assert_int_equal(MmMapViewInSystemSpace(Object, &Base, &Size), STATUS_INVALID_PARAMETER_1);
    ObDereferenceObject(Object);
    LARGE_INTEGER More = {.QuadPart = 5};
    assert_int_equal(ZwExtendSection(Section, &More), STATUS_SECTION_NOT_EXTENDED);
    ZwClose(Section);
}

/* "User applications cannot access \Device\PhysicalMemory directly" */
static void PhysicalMemory_IsNotTheUsers(void **State)
{
    (void)State;
    ntmm_process *Process = NULL;
    int32_t Code = -1;
    assert_int_equal(ntmm_process_create("user", &Process), 0);
    assert_int_equal(ntmm_process_run(Process, UserMain, NULL, &Code), 0);
    assert_int_equal(ntmm_process_end(Process, 0), 0);
    assert_int_equal(UserResult, STATUS_ACCESS_DENIED);
}

/* "ZwExtendSection extends a section"; two threads at once: the larger size is the file's and the section's, whoever is the last. */
static HANDLE Growing;
static volatile LONG Grown;
static PETHREAD Grower;
static VOID NTAPI GrowMore(PVOID Context)
{
    LARGE_INTEGER Size = {.QuadPart = 9 * PAGE_SIZE};
    (void)Context;
    assert_int_equal(ZwExtendSection(Growing, &Size), STATUS_SUCCESS);
    (void)InterlockedExchange(&Grown, 1);
}
/* Between the other's question how long the file is and its order how long it shall be. */
static VOID GrowMeanwhile(VOID)
{
    HANDLE Handle;
    SkOnQuery = NULL;
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, GrowMore, NULL), STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, NULL, KernelMode, (PVOID *)&Grower, NULL), STATUS_SUCCESS);
    ZwClose(Handle);
    while (!ReadAcquire(&Grown) && !KiIsWaiting(Grower)) {
        HalYield();
    }
}
static void Extend_TwoAtOnce_TheLargerStays(void **State)
{
    SECTION_BASIC_INFORMATION Info;
    LARGE_INTEGER Size = {.QuadPart = 5 * PAGE_SIZE};
    (void)State;
    Growing = SkFileSection(2 * PAGE_SIZE, PAGE_READWRITE);
    Grown = 0;
    SkOnQuery = GrowMeanwhile;
    assert_int_equal(ZwExtendSection(Growing, &Size), STATUS_SUCCESS);
    assert_int_equal(KeWaitForSingleObject(Grower, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    ObDereferenceObject(Grower);
    assert_int_equal(SkSize, 9 * PAGE_SIZE);
    assert_int_equal(ZwQuerySection(Growing, SectionBasicInformation, &Info, sizeof Info, NULL), STATUS_SUCCESS);
    assert_int_equal(Info.MaximumSize.QuadPart, 9 * PAGE_SIZE);
    ZwClose(Growing);
}

static int Start(void **State)
{
    (void)State;
    ntmm_options Options = SkOptions();
    return SkStart(&Options);
}

int main(void)
{
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, Start, SkStop)
    const struct CMUnitTest Tests[] = {
        WITH(Prefetch_ReadsBeforeNeed),
        WITH(DataScan),
        WITH(SystemView_RaisesInPageErrors),
        WITH(SetAddressRangeModified),
        WITH(DisableModifiedWrite),
        WITH(FileSystemsQuestions),
        WITH(Extend_TwoAtOnce_TheLargerStays),
        WITH(PhysicalMemory),
        WITH(PhysicalMemory_IsNotTheUsers),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
