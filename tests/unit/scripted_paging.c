/*
 * scripted_paging.c - paging over the scripted machine, step by step: a test says when a page is trimmed, when a transfer ends and
 * how, and what happens in between. No thread of paging's own runs; the modelled TLB shows a forgotten flush as stale data.
 * SPDX-License-Identifier: MIT
 */
#include "scripted_kit.h"

#define PAGES 1024u
static const HAL_RUN Runs[] = {{16, PAGES, FALSE}};
static PUCHAR Va; /* paged run of the test */
static ULONG VaPages;
static ULONG File;

static int Setup(void **State)
{
    (void)State;
    MM_PAGE_FILE_OPTIONS Options = {"scripted", 2048 * PAGE_SIZE, 0, FALSE, TRUE};
    StartMachine(Runs, 1, MmIoDone);
    assert_int_equal(MmInitSystem(Runs, 1), STATUS_SUCCESS);
    assert_int_equal(MmCreatePageFile(&Options, &File), STATUS_SUCCESS);
    Va = NULL;
    return 0;
}
static int Teardown(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidateAll();
    (void)HalInjectIoFault(NULL);
    while (HalScriptRunIo(100) != 0) {
    }
    if (Va) {
        MmFreePages(Va, VaPages);
    }
    Broken = Broken ? Broken : MiValidateAll();
    if (!Broken && MiFreeSlotCount() != MiSlotCount()) {
        Broken = "slots are still taken";
    }
    if (!Broken && (MiState->SystemWorkingSet.Pages || MiState->LockedFrames)) {
        Broken = "pages are still in the working set, or locked";
    }
    return StopMachine(Broken);
}

static BOOLEAN Write(ULONG Page, UCHAR Value)
{
    return HalScriptAccess((ULONG_PTR)Va + Page * PAGE_SIZE + 8, 1, HAL_SCRIPT_WRITE, &Value);
}
static int Read(ULONG Page)
{
    UCHAR Value = 0;
    return HalScriptAccess((ULONG_PTR)Va + Page * PAGE_SIZE + 8, 1, HAL_SCRIPT_READ, &Value) ? Value : -1;
}
static MMPTE Entry(ULONG Page)
{
    return MiReadPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE));
}
static ULONG64 Count(MI_PAGE_STATE State)
{
    return MiState->StateCount[State];
}
static VOID Begin(ULONG Pages)
{
    Va = MmAllocatePages(MmRegionPagedPool, Pages, 0, NormalPoolPriority);
    VaPages = Pages;
    assert_non_null(Va);
    for (ULONG Page = 0; Page < Pages; Page++) {
        assert_true(Write(Page, (UCHAR)(Page + 1)));
    }
}
static VOID Trim(VOID)
{
    (void)MiEmptyWorkingSet(&MiState->SystemWorkingSet);
    assert_int_equal(MiState->SystemWorkingSet.Pages, 0);
}
static VOID WriteOut(VOID)
{
    while (MiWriteModifiedPages(~0ull)) {
        while (HalScriptRunIo(100)) {
        }
    }
    assert_int_equal(Count(MiPageModified), 0);
}
static VOID Purge(VOID)
{
    KiAcquireLock(&MiState->PfnLock);
    while (MiPurgeStandbyLocked(64)) {
    }
    KiReleaseLock(&MiState->PfnLock);
    assert_int_equal(Count(MiPageStandby), 0);
}
static VOID PageOut(VOID)
{
    Trim();
    WriteOut();
    Purge();
}

/* Issue: "transition faults that never touch the device". */
static void Soft_FromModifiedAndStandby_NoTransfer(void **State)
{
    (void)State;
    Begin(8);
    Trim();
    assert_int_equal(Count(MiPageModified), 8);
    assert_true(MiPteIsTransition(Entry(3)));
    assert_null(MiValidateAll());
    assert_int_equal(Read(3), 4);
    assert_int_equal(MiState->SoftFaults, 1);
    assert_true(MiPteIsValid(Entry(3)) && MiPteIsInWorkingSet(Entry(3)));
    Trim();
    WriteOut();
    assert_int_equal(Count(MiPageStandby), 8);
    assert_null(MiValidateAll());
    for (ULONG Page = 0; Page < 8; Page++) {
        assert_int_equal(Read(Page), Page + 1);
    }
    assert_int_equal(MiState->SoftFaults, 9);
    assert_int_equal(MiState->HardFaults, 0);
    assert_int_equal(MiState->Pager.PageReads, 0);
}

static void Hard_AfterRepurposing_ContentsComeBack(void **State)
{
    (void)State;
    Begin(40);
    PageOut();
    for (ULONG Page = 0; Page < 40; Page++) {
        assert_true(MiPteIsPageFile(Entry(Page)));
    }
    assert_null(MiValidateAll());
    for (ULONG Page = 0; Page < 40; Page++) {
        assert_int_equal(Read(Page), Page + 1);
    }
    assert_int_equal(MiState->Pager.PagesRead, 40);
    assert_in_range(MiState->Pager.PageReads, 2, 5); /* 8 pages, then 16, then the rest: in order */
}

/* Neighbours are written together: one transfer for 64 pages. */
static void Write_Neighbours_OneTransfer(void **State)
{
    (void)State;
    Begin(64);
    Trim();
    assert_int_equal(MiWriteModifiedPages(~0ull), 64);
    assert_int_equal(HalScriptPendingIo(), 1);
    assert_int_equal(Count(MiPageTransition), 64);
    assert_null(MiValidateAll());
    assert_int_equal(HalScriptRunIo(1), 1);
    assert_int_equal(MiState->Pager.PageWrites, 1);
    assert_int_equal(MiState->Pager.PagesWritten, 64);
}

static void Clean_TrimmedAgain_IsNotWrittenAgain(void **State)
{
    (void)State;
    Begin(4);
    PageOut();
    assert_int_equal(Read(1), 2);
    assert_false(MiPteIsDirty(Entry(1)));
    Trim();
    assert_int_equal(Count(MiPageModified), 0); /* the neighbours came to standby, the page read to standby again */
    assert_int_equal(Count(MiPageStandby), 4);
    assert_int_equal(MiState->Pager.PageWrites, 1);
    /* Written to: its copy is old, and its slot given up. */
    ULONG64 Free = MiFreeSlotCount();
    assert_true(Write(1, 77));
    assert_true(MiPteIsDirty(Entry(1)));
    Trim();
    assert_int_equal(Count(MiPageModified), 1);
    assert_int_equal(MiFreeSlotCount(), Free + 1);
    WriteOut();
    Purge();
    assert_int_equal(Read(1), 77);
}

/* The order that must be right: entry, TB, Dirty. A write through a cached translation after the trim faults. */
static void Trim_WriteAfterwards_IsNotLost(void **State)
{
    (void)State;
    Begin(2);
    assert_true(Write(0, 10));
    Trim();
    assert_true(Write(0, 11));
    assert_int_equal(MiState->SoftFaults, 1);
    PageOut();
    assert_int_equal(Read(0), 11);
    assert_int_equal(Read(1), 2);
}

static void Write_TouchedMeanwhile_StaysModified(void **State)
{
    (void)State;
    Begin(3);
    Trim();
    assert_int_equal(MiWriteModifiedPages(~0ull), 3);
    assert_true(Write(1, 99));    /* soft fault during the write */
    assert_int_equal(Read(2), 3); /* only read: what is being written is right */
    assert_int_equal(MiState->SoftFaults, 2);
    assert_null(MiValidateAll());
    while (HalScriptRunIo(10)) {
    }
    Trim();
    assert_int_equal(Count(MiPageModified), 1);
    assert_int_equal(Count(MiPageStandby), 2);
    WriteOut();
    Purge();
    assert_int_equal(Read(0), 1);
    assert_int_equal(Read(1), 99);
    assert_int_equal(Read(2), 3);
}

static void Write_FreedMeanwhile_FrameAndSlotComeBack(void **State)
{
    (void)State;
    Begin(5);
    Trim();
    assert_int_equal(MiWriteModifiedPages(~0ull), 5);
    ULONG64 Committed = MiState->Committed;
    MmFreePages(Va, 5);
    Va = NULL;
    assert_int_equal(MiState->Committed, Committed); /* the frames are still being written */
    assert_null(MiValidateAll());
    while (HalScriptRunIo(10)) {
    }
    assert_int_equal(MiState->Committed, Committed - 5);
    assert_int_equal(Count(MiPageTransition), 0);
    assert_int_equal(MiFreeSlotCount(), MiSlotCount());
}

static void Write_DeviceFails_PageStaysAndIsTriedAgain(void **State)
{
    HAL_IO_FAULT Rule = {.Kind = HalIoWriteError};
    (void)State;
    Begin(6);
    Trim();
    assert_int_equal(HalInjectIoFault(&Rule), STATUS_SUCCESS);
    assert_int_equal(MiWriteModifiedPages(~0ull), 6);
    while (HalScriptRunIo(10)) {
    }
    assert_int_equal(MiState->Pager.WriteErrors, 6);
    assert_int_equal(MiState->Pager.LastWriteError, STATUS_IO_DEVICE_ERROR);
    assert_int_equal(Count(MiPageModified), 6);
    assert_int_equal(MiFreeSlotCount(), MiSlotCount());
    assert_true(MiState->Pager.RetryDelay != 0);
    assert_null(MiValidateAll());
    assert_int_equal(Read(2), 3);
    assert_int_equal(HalInjectIoFault(NULL), STATUS_SUCCESS);
    PageOut();
    assert_int_equal(MiState->Pager.RetryDelay, 0);
    for (ULONG Page = 0; Page < 6; Page++) {
        assert_int_equal(Read(Page), Page + 1);
    }
}

/* 0x7A: "PTE address, status, PTE contents, faulting VA" (bugchecks.tsv). */
static void Read_DeviceFails_Is7AForTheKernel(void **State)
{
    HAL_IO_FAULT Rule = {.Kind = HalIoReadError};
    (void)State;
    Begin(9);
    PageOut();
    assert_int_equal(HalInjectIoFault(&Rule), STATUS_SUCCESS);
    MMPTE Before = Entry(4);
    assert_int_equal(Read(4), -1);
    assert_int_equal(Answer.StopCode, KERNEL_DATA_INPAGE_ERROR);
    assert_int_equal(Answer.Parameters[0], (ULONG_PTR)MiPteOf((ULONG_PTR)Va + 4 * PAGE_SIZE));
    assert_int_equal(Answer.Parameters[1], (ULONG)STATUS_IO_DEVICE_ERROR);
    assert_int_equal(Answer.Parameters[2], Before.Long);
    assert_int_equal(Answer.Parameters[3], (ULONG_PTR)Va + 4 * PAGE_SIZE + 8);
    assert_int_equal(Entry(4).Long, Before.Long);
    assert_int_equal(Count(MiPageTransition), 0);
    assert_null(MiValidateAll());
    /* A copy or a lock hears it as a status, and nothing is lost. */
    UCHAR Byte;
    assert_int_equal(MmCopyFromManaged(&Byte, Va + 4 * PAGE_SIZE, 1), STATUS_IN_PAGE_ERROR);
    assert_int_equal(HalInjectIoFault(NULL), STATUS_SUCCESS);
    assert_int_equal(Read(4), 5);
}

static void Lock_DuringTrim_FrameStays(void **State)
{
    PFN_NUMBER Frame;
    ULONG64 Commit = 0;
    (void)State;
    Begin(4);
    assert_int_equal(MiMakePresent((ULONG_PTR)Va + PAGE_SIZE, TRUE, FALSE, &Frame), STATUS_SUCCESS);
    assert_int_equal(MiState->LockedFrames, 1);
    Trim();
    WriteOut();
    assert_true(MiPteIsTransition(Entry(1)));
    assert_int_equal(MiPtePage(Entry(1)), Frame);
    assert_int_equal(MiPfn(Frame)->State, MiPageTransition);
    Purge();
    assert_int_equal(MiPtePage(Entry(1)), Frame);
    ((PUCHAR)HalWindow(Frame))[8] = 55; /* a device writes */
    assert_int_equal(Read(1), 55);
    assert_int_equal(MiPtePage(Entry(1)), Frame);
    Trim();
    KiAcquireLock(&MiState->PfnLock);
    assert_true(MiDereferenceFrameLocked(Frame, &Commit));
    KiReleaseLock(&MiState->PfnLock);
    assert_int_equal(Commit, 0);
    assert_int_equal(MiState->LockedFrames, 0);
    assert_int_equal(Count(MiPageModified), 1); /* unlocked dirty pages become modified */
    WriteOut();
    Purge();
    assert_int_equal(Read(1), 55);
}

static void Ageing_UsedPagesStay(void **State)
{
    PMMSUPPORT Set = &MiState->SystemWorkingSet;
    (void)State;
    Begin(128);
    for (ULONG Look = 0; Look < 4; Look++) {
        assert_int_equal(MiTrimWorkingSet(Set, 0x1000, 128, 7), 0); /* 7: nobody is that old */
        for (ULONG Page = 0; Page < 128; Page += 4) {
            assert_int_equal(Read(Page), (UCHAR)(Page + 1));
        }
    }
    assert_int_equal(MiState->SoftFaults, 0);
    assert_int_equal(MiPteAge(Entry(1)), 3);
    assert_int_equal(MiPteAge(Entry(4)), 0);
    assert_int_equal(MiTrimWorkingSet(Set, 0x1000, 128, 2), 96);
    for (ULONG Page = 0; Page < 128; Page++) {
        assert_int_equal(MiPteIsValid(Entry(Page)), Page % 4 == 0);
    }
    assert_int_equal(Set->Pages, 32);
    assert_null(MiValidateAll());
}

static void Limits_HardMaximum_IsKept(void **State)
{
    PMMSUPPORT Set = &MiState->SystemWorkingSet;
    (void)State;
    assert_int_equal(MiSetWorkingSetLimits(Set, 30, 20, FALSE, FALSE), STATUS_BAD_WORKING_SET_LIMIT);
    assert_int_equal(MiSetWorkingSetLimits(Set, 0, 0, FALSE, TRUE), STATUS_BAD_WORKING_SET_LIMIT);
    assert_int_equal(MiSetWorkingSetLimits(Set, 8, 24, FALSE, TRUE), STATUS_SUCCESS);
    Begin(200);
    assert_in_range(Set->Pages, 16, 24);
    assert_int_equal(MiSetWorkingSetLimits(Set, 8, 10, FALSE, TRUE), STATUS_SUCCESS);
    assert_in_range(Set->Pages, 1, 10);
    assert_int_equal(MmAdjustWorkingSetSize((SIZE_T)-1, (SIZE_T)-1, 1, FALSE), STATUS_SUCCESS);
    assert_int_equal(Set->Pages, 0);
    for (ULONG Page = 0; Page < 200; Page++) {
        assert_int_equal(Read(Page), (UCHAR)(Page + 1));
    }
}

/* Four times more than there is, with nobody but the faulting thread to make room. */
static void Pressure_NoThreads_FaultsMakeRoom(void **State)
{
    (void)State;
    HAL_IO_FAULT Never = {.Kind = HalIoDelay, .Count = 0, .Value = 0};
    (void)Never;
    Begin(300);
    ULONG64 Plenty = MiState->Pager.Plenty;
    assert_in_range(Plenty, 20, 200);
    PVOID Nonpaged[PAGES];
    ULONG Got = 0;
    while ((Nonpaged[Got] = MmAllocatePages(MmRegionNonPagedPool, 1, 0, HighPoolPriority)) != NULL) {
        Got++;
        if (MiAvailable() <= MiState->Pager.Low) {
            Trim();
            WriteOut();
        }
    }
    /* Paging keeps what it needs. */
    assert_true(MiManagedPages() - MiState->NonPageableFrames >= MiState->Pager.LeastPageable);
    assert_null(MiValidateAll());
    while (Got) {
        MmFreePages(Nonpaged[--Got], 1);
    }
    for (ULONG Page = 0; Page < 300; Page++) {
        assert_int_equal(Read(Page), (UCHAR)(Page + 1));
    }
}

/* Protection and contents are two things: what is out of RAM keeps both. */
static void Protect_PagedOut_ContentsAndProtectionStay(void **State)
{
    UCHAR Byte;
    (void)State;
    Begin(6);
    assert_int_equal(MmProtectPages(Va, 2, PAGE_NOACCESS), STATUS_SUCCESS); /* trimmed by it */
    assert_int_equal(Read(0), -1);
    assert_int_equal(Answer.StopCode, PAGE_FAULT_IN_NONPAGED_AREA);
    PageOut();
    assert_int_equal(MmProtectPages(Va + 2 * PAGE_SIZE, 2, PAGE_READONLY), STATUS_SUCCESS);
    assert_int_equal(Read(2), 3);
    assert_false(Write(2, 1));
    assert_int_equal(Answer.StopCode, ATTEMPTED_WRITE_TO_READONLY_MEMORY);
    assert_int_equal(Read(1), -1);
    assert_int_equal(MmCopyFromManaged(&Byte, Va + 8, 1), STATUS_SUCCESS);
    assert_int_equal(Byte, 1);
    Byte = 200;
    assert_int_equal(MmCopyToManaged(Va + 8, &Byte, 1), STATUS_SUCCESS);
    PageOut();
    assert_int_equal(MmProtectPages(Va, 6, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(Read(0), 200);
    for (ULONG Page = 1; Page < 6; Page++) {
        assert_int_equal(Read(Page), Page + 1);
    }
}

static void Free_InEveryForm_NothingIsLeft(void **State)
{
    (void)State;
    Begin(12);
    PageOut(); /* 0-11 in the page file */
    for (ULONG Page = 0; Page < 4; Page++) {
        assert_true(Write(Page, 1)); /* some valid; neighbours in standby */
    }
    assert_int_equal(MmProtectPages(Va, 1, PAGE_NOACCESS), STATUS_SUCCESS); /* modified */
    ULONG64 Committed = MiState->Committed;
    MmFreePages(Va, 12);
    Va = NULL;
    assert_int_equal(MiState->Committed, Committed - 12);
    assert_int_equal(Count(MiPageModified) + Count(MiPageStandby) + Count(MiPageTransition), 0);
    assert_int_equal(MiFreeSlotCount(), MiSlotCount());
}

static void ReadAs(UCHAR Priority, ULONG First, ULONG Last)
{
    __atomic_store_n(&KiCurrentThread()->PagePriority, Priority, __ATOMIC_RELAXED);
    for (ULONG Page = First; Page <= Last; Page++) {
        assert_int_equal(Read(Page), Page + 1);
    }
    __atomic_store_n(&KiCurrentThread()->PagePriority, KI_PAGE_PRIORITY, __ATOMIC_RELAXED);
}
static void TrimAll(UCHAR Highest)
{
    PMMSUPPORT Set = &MiState->SystemWorkingSet;
    Set->Hand = (ULONG_PTR)Va;
    Set->Priority = Highest;
    assert_int_equal(MiTrimWorkingSet(Set, 4, 4, MI_AGE_ANY), 4);
    Set->Priority = MI_PRIORITIES - 1;
}

/* A page is as dear as to the thread that values it most; the cheapest goes first, and the oldest among them; a set bounds it. */
static void Priorities_LowestIsRepurposedFirst(void **State)
{
    (void)State;
    Begin(4);
    PageOut();
    ReadAs(1, 0, 3);
    TrimAll(7);
    assert_int_equal(MiState->Node[0].Standby[1].Total, 4);
    ReadAs(3, 2, 3);
    ReadAs(2, 0, 3);
    TrimAll(7);
    assert_int_equal(MiState->Node[0].Standby[1].Total, 0);
    assert_int_equal(MiState->Node[0].Standby[2].Total, 2);
    assert_int_equal(MiState->Node[0].Standby[3].Total, 2);
    assert_null(MiValidateAll());
    KiAcquireLock(&MiState->PfnLock);
    (void)MiPurgeStandbyLocked(3);
    KiReleaseLock(&MiState->PfnLock);
    assert_true(MiPteIsPageFile(Entry(0)) && MiPteIsPageFile(Entry(1)) && MiPteIsPageFile(Entry(2)));
    assert_true(MiPteIsTransition(Entry(3)));
    ReadAs(5, 0, 3);
    TrimAll(4);
    assert_int_equal(MiState->Node[0].Standby[4].Total, 4);
    assert_null(MiValidateAll());
}

static void Zeroing_FreePagesBecomeZeroed(void **State)
{
    (void)State;
    Begin(100);
    MmFreePages(Va, 100);
    Va = NULL;
    ULONG64 Zeroed = Count(MiPageZeroed);
    assert_true(Count(MiPageFree) >= 100);
    assert_int_equal(MiZeroFreePages(70), 70);
    assert_int_equal(Count(MiPageZeroed), Zeroed + 70);
    assert_null(MiValidateAll());
    for (ULONG Page = MiState->Node[0].Lists[MiPageZeroed].Head; Page != MI_NO_PAGE; Page = MiPfn(Page)->u1.Flink) {
        assert_int_equal(((PUCHAR)HalWindow(Page))[8], 0);
    }
}

static void Resident_MadePageable_LeavesAndStays(void **State)
{
    (void)State;
    PUCHAR Image = MmAllocatePages(MmRegionDriverImages, 8, MM_PAGES_ZERO, NormalPoolPriority);
    UCHAR Value = 42;
    assert_non_null(Image);
    assert_true(HalScriptAccess((ULONG_PTR)Image, 1, HAL_SCRIPT_WRITE, &Value));
    Trim();
    assert_true(MiPteIsValid(MiReadPte(MiPteOf((ULONG_PTR)Image)))); /* resident */
    ULONG64 Nonpageable = MiState->NonPageableFrames;
    MiMakePagesPageable((ULONG_PTR)Image, 8);
    assert_int_equal(MiState->NonPageableFrames, Nonpageable - 8);
    assert_int_equal(MiState->SystemWorkingSet.Pages, 8);
    assert_null(MiValidateAll());
    PageOut();
    assert_true(MiPteIsPageFile(MiReadPte(MiPteOf((ULONG_PTR)Image))));
    ULONG_PTR Failed;
    assert_int_equal(MiMakePagesResident((ULONG_PTR)Image, 8, &Failed), STATUS_SUCCESS);
    assert_int_equal(MiState->NonPageableFrames, Nonpageable);
    Trim();
    assert_true(MiPteIsValid(MiReadPte(MiPteOf((ULONG_PTR)Image))));
    Value = 0;
    assert_true(HalScriptAccess((ULONG_PTR)Image, 1, HAL_SCRIPT_READ, &Value));
    assert_int_equal(Value, 42);
    MmFreePages(Image, 8);
}

/* User memory: the device's failure is an exception with the device's status. */
static void Read_DeviceFails_UserHearsInPageError(void **State)
{
    HAL_IO_FAULT Rule = {.Kind = HalIoReadError};
    UCHAR Value = 9;
    (void)State;
    PUCHAR User = MmAllocateUserPages(2, PAGE_READWRITE);
    assert_non_null(User);
    assert_true(HalScriptAccess((ULONG_PTR)User, 1, HAL_SCRIPT_WRITE, &Value));
    PMMSUPPORT Set = MiWorkingSetOfVa((ULONG_PTR)User);
    assert_int_equal(Set->Pages, 1);
    assert_int_equal(MiEmptyWorkingSet(Set), 1);
    WriteOut();
    Purge();
    assert_int_equal(HalInjectIoFault(&Rule), STATUS_SUCCESS);
    assert_false(HalScriptAccess((ULONG_PTR)User, 1, HAL_SCRIPT_READ, &Value));
    assert_int_equal(Answer.Status, STATUS_IN_PAGE_ERROR);
    assert_int_equal(Answer.StopCode, 0);
    assert_int_equal(Answer.Information, (ULONG)STATUS_IO_DEVICE_ERROR);
    assert_int_equal(HalInjectIoFault(NULL), STATUS_SUCCESS);
    Value = 0;
    assert_true(HalScriptAccess((ULONG_PTR)User, 1, HAL_SCRIPT_READ, &Value));
    assert_int_equal(Value, 9);
    MmFreeUserPages(User, 2);
}

/* A page that is not resident, at DISPATCH_LEVEL: standby and page file alike. */
static void Irql_NotResident_Is0AOrD1(void **State)
{
    KIRQL Old;
    (void)State;
    Begin(2);
    Trim();
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_int_equal(Read(0), -1);
    KeLowerIrql(Old);
    assert_int_equal(Answer.StopCode, DRIVER_IRQL_NOT_LESS_OR_EQUAL);
    assert_int_equal(Answer.Parameters[0], (ULONG_PTR)Va + 8);
    assert_int_equal(Answer.Parameters[1], DISPATCH_LEVEL);
    WriteOut();
    Purge();
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_false(Write(0, 1));
    KeLowerIrql(Old);
    assert_int_equal(Answer.StopCode, DRIVER_IRQL_NOT_LESS_OR_EQUAL);
    assert_int_equal(Answer.Parameters[2], 1);
    assert_int_equal(Read(0), 1);
}

static void Validate_BrokenInvariants_AreNamed(void **State)
{
    (void)State;
    Begin(4);
    MiState->SystemWorkingSet.Pages++;
    assert_memory_equal(MiValidateWorkingSets(), "W1:", 3);
    MiState->SystemWorkingSet.Pages--;
    PMMPFN Pfn = MiPfn(MiPtePage(Entry(0)));
    Pfn->Flags &= (USHORT)~MI_PFN_PAGEABLE;
    assert_memory_equal(MiValidateWorkingSets(), "W2:", 3);
    assert_memory_equal(MiValidateFrames(), "P8:", 3);
    Pfn->Flags |= MI_PFN_PAGEABLE;
    PMMPFN Table = MiPfn(HalWindowPage(MiPteOf((ULONG_PTR)Va)));
    Table->WorkingSetPages++;
    assert_memory_equal(MiValidatePageTables(), "T6:", 3);
    Table->WorkingSetPages--;
    Trim();
    Pfn->Flags &= (USHORT)~MI_PFN_MODIFIED;
    assert_memory_equal(MiValidateFrames(), "P7:", 3);
    Pfn->Flags |= MI_PFN_MODIFIED | MI_PFN_WRITING;
    assert_memory_equal(MiValidateFrames(), "P9:", 3);
    Pfn->Flags &= (USHORT)~MI_PFN_WRITING;
    assert_null(MiValidateAll());
}

/* ---- ticks (tick.c) ---- */
#define SECOND 1000000000ull
static void Tick_PagesInUse_AgeAndStay(void **State)
{
    (void)State;
    Begin(8);
    ULONG64 Aged = MiState->Pager.AgedPages, Resident = MiState->SystemWorkingSet.Pages;
    MiTick(1 * SECOND);
    assert_int_equal(MiState->Pager.AgedPages, Aged + 8); /* all had been used */
    for (ULONG Tick = 2; Tick < 20; Tick++) {
        MiTick(Tick * SECOND);
    }
    assert_int_equal(MiState->Pager.AgedPages, Aged + 8);
    assert_int_equal(MiPteAge(Entry(0)), MI_AGE_MAX);
    assert_int_equal(Read(0), 1);
    MiState->SystemWorkingSet.Hand = (ULONG_PTR)Va;
    MiTick(20 * SECOND);
    assert_int_equal(MiState->Pager.AgedPages, Aged + 9);
    assert_int_equal(MiPteAge(Entry(0)), 0);
    assert_int_equal(MiPteAge(Entry(1)), MI_AGE_MAX);
    assert_int_equal(MiState->SystemWorkingSet.Pages, Resident);
}

static void Tick_ModifiedForFiveMinutes_IsWritten(void **State)
{
    (void)State;
    Begin(4);
    Trim();
    assert_int_equal(Count(MiPageModified), 4);
    MiTick(1 * SECOND);
    MiTick(300 * SECOND);
    assert_false(MiShouldWrite());
    MiTick(301 * SECOND);
    assert_true(MiShouldWrite());
    assert_int_equal(MiWriteModifiedPages(~0ull), 4);
    while (HalScriptRunIo(100) != 0) {
    }
    assert_int_equal(Count(MiPageModified), 0);
    assert_int_equal(Count(MiPageStandby), 4);
    assert_false(MiShouldWrite());
    MiTick(302 * SECOND);
    assert_int_equal(MiState->Pager.ModifiedSince, 0);
    for (ULONG Page = 0; Page < 4; Page++) { /* from standby: no read */
        assert_int_equal(Read(Page), Page + 1);
    }
    assert_int_equal(MiState->HardFaults, 0);
}

static void Tick_NothingHappens_ClockStops(void **State)
{
    ULONG Tick = 0;
    (void)State;
    Begin(4);
    while (!MiState->Pager.Dormant && Tick < 100) {
        MiTick(++Tick * SECOND);
    }
    assert_true(Tick > 8 && Tick < 100);
    assert_int_equal(MiState->Pager.NextTick, HAL_FOREVER);
    assert_int_equal(Read(0), 1); /* takes no page */
    assert_true(MiState->Pager.Dormant);
    MiState->Pager.Wake = 0;
    Trim();
    assert_false(MiState->Pager.Dormant);
    assert_int_equal(MiState->Pager.Wake, 1);
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
    const struct CMUnitTest Tests[] = {
        TEST(Soft_FromModifiedAndStandby_NoTransfer),
        TEST(Hard_AfterRepurposing_ContentsComeBack),
        TEST(Write_Neighbours_OneTransfer),
        TEST(Clean_TrimmedAgain_IsNotWrittenAgain),
        TEST(Trim_WriteAfterwards_IsNotLost),
        TEST(Write_TouchedMeanwhile_StaysModified),
        TEST(Write_FreedMeanwhile_FrameAndSlotComeBack),
        TEST(Write_DeviceFails_PageStaysAndIsTriedAgain),
        TEST(Read_DeviceFails_Is7AForTheKernel),
        TEST(Read_DeviceFails_UserHearsInPageError),
        TEST(Lock_DuringTrim_FrameStays),
        TEST(Ageing_UsedPagesStay),
        TEST(Limits_HardMaximum_IsKept),
        TEST(Pressure_NoThreads_FaultsMakeRoom),
        TEST(Protect_PagedOut_ContentsAndProtectionStay),
        TEST(Free_InEveryForm_NothingIsLeft),
        TEST(Priorities_LowestIsRepurposedFirst),
        TEST(Zeroing_FreePagesBecomeZeroed),
        TEST(Resident_MadePageable_LeavesAndStays),
        TEST(Irql_NotResident_Is0AOrD1),
        TEST(Validate_BrokenInvariants_AreNamed),
        TEST(Tick_PagesInUse_AgeAndStay),
        TEST(Tick_ModifiedForFiveMinutes_IsWritten),
        TEST(Tick_NothingHappens_ClockStops),
    };
    return cmocka_run_group_tests_name("paging over the scripted machine", Tests, NULL, NULL);
}
