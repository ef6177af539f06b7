/*
 * section_paging.c - pages of sections leave memory and come back: to the page file, to their file, or dropped.
 * SPDX-License-Identifier: MIT
 *
 * Pages: ZwMapViewOfSection, ZwFlushVirtualMemory, MmMapViewInSystemSpace, Bug Check 0x7A, Managing Memory Sections ("File-Backed and
 * Page-File-Backed Sections"); and mm/section.c's invariants.
 */
#include "section_kit.h"

static void Fill(volatile UCHAR *Va, SIZE_T Bytes, ULONG Salt)
{
    for (SIZE_T At = 0; At < Bytes; At += 8) {
        *(volatile ULONG64 *)(Va + At) = (At + Salt) * 0x9E3779B97F4A7C15ull;
    }
}
static void Check(const volatile UCHAR *Va, SIZE_T Bytes, ULONG Salt)
{
    for (SIZE_T At = 0; At < Bytes; At += 8) {
        if (*(const volatile ULONG64 *)(Va + At) != (At + Salt) * 0x9E3779B97F4A7C15ull) {
            assert_int_equal(At, ~0ull);
        }
    }
}
static void CheckFile(const volatile UCHAR *Va, SIZE_T Bytes)
{
    for (SIZE_T At = 0; At < Bytes; At++) {
        if (Va[At] != SkByte(At)) {
            assert_int_equal(At, ~0ull);
        }
    }
}
static void Out(void) /* of every working set, to the devices, and forgotten */
{
    MmEmptyAllWorkingSets(TRUE);
    KitAssertValid();
}

/* A page that no view's working set holds goes to the page file and comes back, for every view. */
static void PageFile_PagesLeaveAndComeBack(void **State)
{
    (void)State;
    const SIZE_T Bytes = 100 * PAGE_SIZE;
    MM_COUNTERS Before, After;
    HANDLE Section = SkCreate(Bytes, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE), B = SkMap(Section, TwoHandle, 0, 0, PAGE_READWRITE);
    INSIDE(One)
    {
        Fill(A, Bytes, 1);
    }
    INSIDE(Two)
    {
        Check(B, Bytes, 1);
    }
    KitAssertValid();
    /* trimmed from one, the frame stays for the other */
    PFN_NUMBER Frame = MiPtePage(SkEntry(A));
    assert_int_equal(MiPfn(Frame)->u2.ShareCount, 2);
    (VOID) MiEmptyWorkingSet(&One->Space->WorkingSet);
    assert_true(MiPteIsPrototype(SkEntry(A)));
    assert_int_equal(MiPfn(Frame)->u2.ShareCount, 1);
    assert_int_equal(MiPfn(Frame)->State, MiPageActive);
    KitAssertValid();
    /* and from the other: on a list, and soft for both */
    (VOID) MiEmptyWorkingSet(&Two->Space->WorkingSet);
    assert_true(MiPteIsTransition(SkPrototype(A)));
    assert_int_equal(MiPfn(Frame)->State, MiPageModified);
    KitAssertValid();
    MmQueryCounters(&Before);
    INSIDE(One)
    {
        assert_int_equal(KitExceptionOf(A, 'r'), STATUS_SUCCESS);
    }
    MmQueryCounters(&After);
    assert_int_equal(After.HardFaults, Before.HardFaults);
    assert_int_equal(MiPtePage(SkEntry(A)), Frame);
    Out();
    assert_true(MiPteIsPageFile(SkPrototype(A)));
    INSIDE(Two)
    {
        Check(B, Bytes, 1);
        Fill(B, Bytes, 2);
    }
    MmQueryCounters(&After);
    assert_true(After.HardFaults > Before.HardFaults);
    Out();
    INSIDE(One)
    {
        Check(A, Bytes, 2);
    }
    KitAssertValid();
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    Out();
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section);
    KitAssertValid();
}

/* "File-backed sections ... data is loaded from the file when it is needed and, if changed, written back to it"; clean pages are dropped. */
static void File_PagesAreDroppedOrWrittenBack(void **State)
{
    (void)State;
    const SIZE_T Bytes = 100 * PAGE_SIZE;
    MM_COUNTERS After;
    HANDLE Section = SkFileSection(Bytes, PAGE_READWRITE);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE), B = SkMap(Section, TwoHandle, 0, 0, PAGE_READONLY);
    INSIDE(One)
    {
        CheckFile(A, Bytes);
    }
    assert_int_equal(SkReadPages, 100);
    assert_true(SkReads < 10);
    Out();
    assert_true(MiPteIsInFile(SkPrototype(A)));
    assert_int_equal(SkWrites, 0); /* clean */
    ULONG64 Committed = KitCommitted();
    INSIDE(Two)
    {
        CheckFile(B, Bytes);
    }
    assert_int_equal(KitCommitted(), Committed); /* the file has them: nobody is charged */
    assert_int_equal(SkReadPages, 200);
    INSIDE(One)
    {
        for (ULONG Page = 10; Page < 50; Page++) {
            A[Page * PAGE_SIZE + 5] = 0xEE;
        }
    }
    PFN_NUMBER Frame = MiPtePage(SkEntry(A + 10 * PAGE_SIZE));
    (VOID) MiEmptyWorkingSet(&One->Space->WorkingSet);
    (VOID) MiEmptyWorkingSet(&Two->Space->WorkingSet);
    assert_int_equal(MiPfn(Frame)->State, MiPageMapped);
    MmQueryCounters(&After);
    assert_int_equal(After.MappedModifiedPages, 40);
    KitAssertValid();
    assert_true(SkBytes[10 * PAGE_SIZE + 5] != 0xEE);
    Out(); /* the mapped writer's work, in clusters */
    assert_int_equal(SkBytes[10 * PAGE_SIZE + 5], 0xEE);
    assert_int_equal(SkBytes[49 * PAGE_SIZE + 5], 0xEE);
    assert_int_equal(SkWritePages, 40);
    assert_true(SkWrites <= 2);
    INSIDE(Two)
    {
        for (ULONG Page = 0; Page < 100; Page++) {
            assert_int_equal(B[Page * PAGE_SIZE + 5], Page >= 10 && Page < 50 ? 0xEE : SkByte((ULONG64)Page * PAGE_SIZE + 5));
        }
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section);
}

/* ZwFlushVirtualMemory writes what was changed, wherever the page is: in a working set, on a list, or locked. */
static void Flush_FindsPagesWhereverTheyAre(void **State)
{
    (void)State;
    HANDLE Section = SkFileSection(16 * PAGE_SIZE, PAGE_READWRITE);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE);
    KIT_MDL Mdl;
    PVOID Base = A;
    SIZE_T Size = 0;
    IO_STATUS_BLOCK Iosb;
    INSIDE(One)
    {
        A[0] = 0xA1;
        MmInitializeMdl(&Mdl.Mdl, A + 2 * PAGE_SIZE, 1);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess), STATUS_SUCCESS);
    }
    (VOID) MiEmptyWorkingSet(&One->Space->WorkingSet);
    assert_true(MiPteIsTransition(SkPrototype(A + 2 * PAGE_SIZE)));
    INSIDE(One)
    {
        A[PAGE_SIZE] = 0xA2;
    }
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
    Mapped[0] = 0xA3;
    assert_int_equal(ZwFlushVirtualMemory(OneHandle, &Base, &Size, &Iosb), STATUS_SUCCESS);
    assert_int_equal(SkBytes[0], 0xA1);
    assert_int_equal(SkBytes[PAGE_SIZE], 0xA2);
    assert_int_equal(SkBytes[2 * PAGE_SIZE], 0xA3);
    Mapped[0] = 0xA4; /* what the driver writes after the flush is not lost */
    MmUnlockPages(&Mdl.Mdl);
    Size = 0;
    assert_int_equal(ZwFlushVirtualMemory(OneHandle, &Base, &Size, &Iosb), STATUS_SUCCESS);
    assert_int_equal(SkBytes[2 * PAGE_SIZE], 0xA4);
    LONG Writes = SkWrites;
    Size = 0;
    assert_int_equal(ZwFlushVirtualMemory(OneHandle, &Base, &Size, &Iosb), STATUS_SUCCESS);
    assert_int_equal(SkWrites, Writes); /* nothing is new */
    KitAssertValid();
    /* an error is told, and the page stays changed */
    INSIDE(One)
    {
        A[3 * PAGE_SIZE] = 0xA5;
        A[4 * PAGE_SIZE] = 0xA6;
    }
    SkWriteStatus = STATUS_IO_DEVICE_ERROR;
    SkBadOffset = 3 * PAGE_SIZE;
    Size = 0;
    assert_int_equal(ZwFlushVirtualMemory(OneHandle, &Base, &Size, &Iosb), STATUS_IO_DEVICE_ERROR);
    assert_int_equal(Iosb.Status, STATUS_IO_DEVICE_ERROR);
    assert_int_equal(SkBytes[4 * PAGE_SIZE], 0xA6);
    assert_true(SkBytes[3 * PAGE_SIZE] != 0xA5);
    SkWriteStatus = STATUS_SUCCESS;
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(SkBytes[3 * PAGE_SIZE], 0xA5);
    ZwClose(Section);
}

/* A locked page of a file stays, and is charged like what cannot leave. */
static void Locked_FilePageStaysAndIsCharged(void **State)
{
    (void)State;
    ULONG64 Committed;
    HANDLE Section = SkFileSection(16 * PAGE_SIZE, PAGE_READONLY);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READONLY);
    KIT_MDL Mdl;
    INSIDE(One)
    {
        CheckFile(A, 16 * PAGE_SIZE);
        Committed = KitCommitted();
        MmInitializeMdl(&Mdl.Mdl, A, 2 * PAGE_SIZE);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoReadAccess), STATUS_SUCCESS);
    }
    assert_int_equal(KitCommitted(), Committed + 2);
    Out();
    assert_true(MiPteIsTransition(SkPrototype(A)));
    assert_true(MiPteIsInFile(SkPrototype(A + 2 * PAGE_SIZE)));
    LONG Reads = SkReadPages;
    INSIDE(One)
    {
        assert_int_equal(A[0], SkByte(0));
        assert_int_equal(MiPtePage(SkEntry(A)), Mdl.Frames[0]);
    }
    assert_int_equal(SkReadPages, Reads);
    MmUnlockPages(&Mdl.Mdl);
    assert_int_equal(KitCommitted(), Committed);
    /* ZwLockVirtualMemory, through a trim */
    PVOID Base = A;
    SIZE_T Size = PAGE_SIZE;
    assert_int_equal(ZwLockVirtualMemory(OneHandle, &Base, &Size, MAP_PROCESS), STATUS_SUCCESS);
    Out();
    assert_int_equal(ZwUnlockVirtualMemory(OneHandle, &Base, &Size, MAP_PROCESS), STATUS_SUCCESS);
    Out();
    assert_true(MiPteIsInFile(SkPrototype(A)));
    /* unmapped while it is locked */
    INSIDE(One)
    {
        MmInitializeMdl(&Mdl.Mdl, A, PAGE_SIZE);
        assert_int_equal(KitLock(&Mdl.Mdl, KernelMode, IoReadAccess), STATUS_SUCCESS);
    }
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
    KitAssertValid();
    PUCHAR Mapped = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
    assert_int_equal(Mapped[7], SkByte(7));
    MmUnlockPages(&Mdl.Mdl);
    KitAssertValid();
}

/* MmMapViewInSystemSpace: a view is pageable memory. */
static void SystemView_IsPaged(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(32 * PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PVOID Object = SkObject(Section), Base = NULL;
    SIZE_T Size = 0;
    assert_int_equal(MmMapViewInSystemSpace(Object, &Base, &Size), STATUS_SUCCESS);
    Fill(Base, Size, 3);
    MmTrimAllSystemPageableMemory(TRUE);
    assert_true(MiPteIsPageFile(SkPrototype(Base)));
    KitAssertValid();
    Check(Base, Size, 3);
    KitAssertValid();
    MmTrimAllSystemPageableMemory(FALSE);
    KitExpectAccessStop((PUCHAR)Base, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Base, DISPATCH_LEVEL, 0,
                        (ULONG_PTR)KitLoad);
    assert_int_equal(MmUnmapViewInSystemSpace(Base), STATUS_SUCCESS);
    ObDereferenceObject(Object);
    ZwClose(Section);
}

/* 0x7A: "1 the address of the PTE, 2 the error status, 3 the PTE contents, 4 the faulting address"; a user address raises
 * STATUS_IN_PAGE_ERROR instead. */
static void ReadError_IsRaisedOrStops(void **State)
{
    (void)State;
    HANDLE Section = SkFileSection(32 * PAGE_SIZE, PAGE_READWRITE);
    PVOID Object = SkObject(Section), Base = NULL;
    SIZE_T Size = 0;
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE);
    KIT_MDL Mdl;
    assert_int_equal(MmMapViewInSystemSpace(Object, &Base, &Size), STATUS_SUCCESS);
    SkReadStatus = STATUS_DEVICE_DATA_ERROR;
    SkBadOffset = 5 * PAGE_SIZE;
    INSIDE(One)
    {
        assert_int_equal(KitExceptionOf(A + 5 * PAGE_SIZE, 'r'), STATUS_IN_PAGE_ERROR);
        assert_int_equal(KitExceptionOf(A + 5 * PAGE_SIZE, 'w'), STATUS_IN_PAGE_ERROR);
        assert_int_equal(A[4 * PAGE_SIZE], SkByte(4 * PAGE_SIZE)); /* a bad neighbour costs nobody a page */
        MmInitializeMdl(&Mdl.Mdl, A + 5 * PAGE_SIZE, 10);
        assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoReadAccess), STATUS_IN_PAGE_ERROR);
    }
    KitAssertValid();
    PUCHAR Bad = (PUCHAR)Base + 5 * PAGE_SIZE;
    KitExpectAccessStop(Bad, PASSIVE_LEVEL, 'r', KERNEL_DATA_INPAGE_ERROR, MiPteOf((ULONG_PTR)Bad),
                        (ULONG)STATUS_DEVICE_DATA_ERROR, SkEntry(Bad).Long, Bad);
    SkReadStatus = STATUS_SUCCESS;
    assert_int_equal(*Bad, SkByte(5 * PAGE_SIZE)); /* the device is well again */
    assert_int_equal(MmUnmapViewInSystemSpace(Base), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ObDereferenceObject(Object);
    ZwClose(Section);
}

/* A page that its file refuses stays in memory, is counted, and is written once the file takes it. */
static void WriteError_KeepsThePage(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    HANDLE Section = SkFileSection(32 * PAGE_SIZE, PAGE_READWRITE);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE);
    MmQueryCounters(&Before);
    INSIDE(One)
    {
        for (ULONG Page = 0; Page < 32; Page++) {
            A[Page * PAGE_SIZE] = 0xBB;
        }
    }
    SkWriteStatus = STATUS_IO_DEVICE_ERROR;
    SkBadOffset = 7 * PAGE_SIZE;
    Out();
    MmQueryCounters(&After);
    assert_int_equal(After.MappedWriteErrors, Before.MappedWriteErrors + 1);
    assert_int_equal(After.MappedPagesWritten, Before.MappedPagesWritten + 31);
    assert_int_equal(After.MappedModifiedPages, 1);
    assert_int_equal(SkBytes[8 * PAGE_SIZE], 0xBB);
    assert_true(SkBytes[7 * PAGE_SIZE] != 0xBB);
    INSIDE(One)
    {
        for (ULONG Page = 0; Page < 32; Page++) {
            assert_int_equal(A[Page * PAGE_SIZE], 0xBB);
        }
    }
    SkWriteStatus = STATUS_SUCCESS;
    Out();
    assert_int_equal(SkBytes[7 * PAGE_SIZE], 0xBB);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
}

/* With the page that is touched come those around it that are in memory. */
static void Fault_BringsItsNeighbours(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    HANDLE Section = SkCreate(32 * PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE), B = SkMap(Section, TwoHandle, 0, 0, PAGE_READWRITE);
    INSIDE(One)
    {
        Fill(A, 32 * PAGE_SIZE, 4);
    }
    MmQueryCounters(&Before);
    INSIDE(Two)
    {
        Check(B, 32 * PAGE_SIZE, 4);
    }
    MmQueryCounters(&After);
    assert_int_equal(After.AllFaults - Before.AllFaults, 2);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    assert_int_equal(ZwUnmapViewOfSection(TwoHandle, B), STATUS_SUCCESS);
    ZwClose(Section);
}

/* PAGE_GUARD on a page of a view: "the first access raises STATUS_GUARD_PAGE_VIOLATION and turns off the guard page status". */
static void Guard_InAView(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(4 * PAGE_SIZE, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE);
    PVOID Base = A + PAGE_SIZE;
    SIZE_T Size = PAGE_SIZE;
    ULONG Old;
    INSIDE(One)
    {
        A[PAGE_SIZE] = 3;
        assert_int_equal(ZwProtectVirtualMemory(OneHandle, &Base, &Size, PAGE_READWRITE | PAGE_GUARD, &Old), STATUS_SUCCESS);
        assert_int_equal(KitExceptionOf(A + PAGE_SIZE, 'r'), STATUS_GUARD_PAGE_VIOLATION);
        assert_int_equal(A[PAGE_SIZE], 3);
    }
    KitAssertValid();
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    ZwClose(Section);
}

/* More file than memory, and nothing of it charged: pages come and go. Without a page file, too. */
static void File_LargerThanWhatIsFree(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    HANDLE Section = SkFileSection(SK_BYTES, PAGE_READWRITE);
    MmQueryCounters(&Before);
    PVOID Hog = ExAllocatePool2(POOL_FLAG_NON_PAGED, (Before.AvailablePages - 1200) * PAGE_SIZE, 'goHS');
    assert_non_null(Hog);
    PUCHAR A = SkMap(Section, OneHandle, 0, 0, PAGE_READWRITE);
    INSIDE(One)
    {
        for (ULONG Round = 0; Round < 2; Round++) {
            for (ULONG64 At = 0; At < SK_BYTES; At += PAGE_SIZE) {
                assert_int_equal(A[At + 9], (UCHAR)(SkByte(At + 9) + Round));
                A[At + 9]++;
            }
        }
    }
    KitAssertValid();
    MmQueryCounters(&After);
    assert_true(After.RepurposedPages > Before.RepurposedPages);
    assert_true(After.MappedPagesWritten > Before.MappedPagesWritten);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
    for (ULONG64 At = 0; At < SK_BYTES; At += PAGE_SIZE) {
        assert_int_equal(SkBytes[At + 9], (UCHAR)(SkByte(At + 9) + 2));
    }
    ZwClose(Section);
    ExFreePool(Hog);
}

/* ---- the frame ---- */
static int StartWith(BOOLEAN PageFile)
{
    ntmm_options Options = SkOptions();
    Options.special_pool_sample = 0; /* its pages come and go beside a test that counts */
    Options.pagefile_check = PageFile;
    if (!PageFile) {
        Options.pagefile[0] = 0;
    }
    return SkStart(&Options);
}
static int Start(void **State)
{
    (void)State;
    return StartWith(TRUE);
}
static int StartWithout(void **State)
{
    (void)State;
    return StartWith(FALSE);
}

int main(void)
{
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, Start, SkStop)
#define WITHOUT(Test)                                                                                                          \
    {                                                                                                                          \
#Test " (no page file)", Test, StartWithout, SkStop, NULL                                                              \
    }
    const struct CMUnitTest Tests[] = {
        WITH(PageFile_PagesLeaveAndComeBack),
        WITH(File_PagesAreDroppedOrWrittenBack),
        WITHOUT(File_PagesAreDroppedOrWrittenBack),
        WITH(Flush_FindsPagesWhereverTheyAre),
        WITH(Locked_FilePageStaysAndIsCharged),
        WITHOUT(Locked_FilePageStaysAndIsCharged),
        WITH(SystemView_IsPaged),
        WITH(ReadError_IsRaisedOrStops),
        WITH(WriteError_KeepsThePage),
        WITHOUT(WriteError_KeepsThePage),
        WITH(Fault_BringsItsNeighbours),
        WITH(Guard_InAView),
        WITH(File_LargerThanWhatIsFree),
        WITHOUT(File_LargerThanWhatIsFree),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
