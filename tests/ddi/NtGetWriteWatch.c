/*
 * NtGetWriteWatch.c - which pages were written to, and contents that need not be kept. SPDX-License-Identifier: MIT
 *
 * Pages: GetWriteWatch, ResetWriteWatch, VirtualAlloc (MEM_WRITE_WATCH, MEM_RESET, MEM_RESET_UNDO).
 */
#include "mm_kit.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGES 96u
static const HANDLE Who = (HANDLE)(LONG_PTR)-1;

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0; /* its pages come and go beside a test that counts */
    Options.ram = 32u << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-watch-%d:16M", (int)getpid());
    return ntmm_start(&Options);
}
static int Stop(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidateAll();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    return ntmm_stop() | (Broken ? -1 : 0);
}

static PUCHAR Take(ULONG Type)
{
    PVOID Base = NULL;
    SIZE_T Size = PAGES * PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(Who, &Base, 0, &Size, MEM_RESERVE | MEM_COMMIT | Type, PAGE_READWRITE),
                     STATUS_SUCCESS);
    return Base;
}
static void Release(PUCHAR Va)
{
    PVOID Base = Va;
    SIZE_T Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(Who, &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
}
static NTSTATUS Alter(PUCHAR Va, ULONG Pages, ULONG Type)
{
    PVOID Base = Va;
    SIZE_T Size = Pages * PAGE_SIZE;
    return ZwAllocateVirtualMemory(Who, &Base, 0, &Size, Type, PAGE_READWRITE);
}
static void Write(PUCHAR Va, ULONG Page)
{
    *(volatile UCHAR *)(Va + Page * PAGE_SIZE + 7) = (UCHAR)(Page + 1);
}
static UCHAR Read(PUCHAR Va, ULONG Page)
{
    return *(volatile UCHAR *)(Va + Page * PAGE_SIZE + 7);
}

/* Exactly these pages (a mask of the first 64), and none above. */
static void Expect(PUCHAR Va, ULONG Flags, ULONG64 Mask)
{
    PVOID Found[PAGES];
    ULONG_PTR Count = PAGES;
    ULONG Granularity = 0;
    ULONG64 Seen = 0;
    assert_int_equal(NtGetWriteWatch(Who, Flags, Va, PAGES * PAGE_SIZE, Found, &Count, &Granularity), STATUS_SUCCESS);
    assert_int_equal(Granularity, PAGE_SIZE);
    for (ULONG i = 0; i < Count; i++) {
        SIZE_T Page = ((PUCHAR)Found[i] - Va) / PAGE_SIZE;
        assert_true(Page < 64 && (i == 0 || Found[i] > Found[i - 1]));
        Seen |= 1ull << Page;
    }
    assert_int_equal(Seen, Mask);
}

static void WrittenPages_AreListed_ReadOnesAreNot(void **State)
{
    (void)State;
    PUCHAR Va = Take(MEM_WRITE_WATCH);
    Expect(Va, 0, 0);
    for (ULONG Page = 0; Page < PAGES; Page++) { /* in order: nothing that comes along counts */
        assert_int_equal(Read(Va, Page), 0);
    }
    Expect(Va, 0, 0);
    Write(Va, 0);
    Write(Va, 5);
    Write(Va, 63);
    Expect(Va, 0, 1ull | 1ull << 5 | 1ull << 63);
    Expect(Va, 0, 1ull | 1ull << 5 | 1ull << 63); /* "If 0, does not reset the write-tracking state" */
    for (ULONG Page = 0; Page < 64; Page++) {
        Write(Va, Page);
    }
    Expect(Va, 0, ~0ull);
    Release(Va);
}

static void Reset_OnlyLaterWritesCount(void **State)
{
    (void)State;
    PUCHAR Va = Take(MEM_WRITE_WATCH);
    Write(Va, 1);
    Write(Va, 2);
    Expect(Va, WRITE_WATCH_FLAG_RESET, 6);
    Expect(Va, 0, 0);
    assert_int_equal(Read(Va, 1), 2);
    Expect(Va, 0, 0);
    Write(Va, 2);
    Expect(Va, 0, 4);
    assert_int_equal(NtResetWriteWatch(Who, Va, 2 * PAGE_SIZE), STATUS_SUCCESS);
    Expect(Va, 0, 4);
    assert_int_equal(NtResetWriteWatch(Who, Va, 3 * PAGE_SIZE), STATUS_SUCCESS);
    Expect(Va, 0, 0);
    KitAssertValid();
    Release(Va);
}

/* Tracking and contents survive trimming, the page file, and a protection without access. */
static void PagesThatLeaveAndComeBack(void **State)
{
    (void)State;
    PUCHAR Va = Take(MEM_WRITE_WATCH);
    ULONG Old;
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Write(Va, Page);
    }
    assert_int_equal(NtResetWriteWatch(Who, Va, PAGES * PAGE_SIZE), STATUS_SUCCESS);
    Write(Va, 3);
    MmEmptyAllWorkingSets(TRUE);
    Expect(Va, 0, 8);
    for (ULONG Page = 0; Page < PAGES; Page++) { /* hard faults, in order */
        assert_int_equal(Read(Va, Page), Page + 1);
    }
    Expect(Va, 0, 8);
    MmEmptyAllWorkingSets(FALSE);
    Write(Va, 9);
    PVOID Base = Va + 9 * PAGE_SIZE;
    SIZE_T Size = PAGE_SIZE;
    assert_int_equal(ZwProtectVirtualMemory(Who, &Base, &Size, PAGE_NOACCESS, &Old), STATUS_SUCCESS);
    Expect(Va, WRITE_WATCH_FLAG_RESET, 8 | 1 << 9);
    assert_int_equal(ZwProtectVirtualMemory(Who, &Base, &Size, PAGE_READWRITE, &Old), STATUS_SUCCESS);
    assert_int_equal(Read(Va, 9), 10);
    Expect(Va, 0, 0);
    KitAssertValid();
    Release(Va);
}

/* Who locks a page for writing writes to it. */
static void LockedForWriting_Counts(void **State)
{
    (void)State;
    PUCHAR Va = Take(MEM_WRITE_WATCH);
    KIT_MDL Mdl;
    MmInitializeMdl(&Mdl.Mdl, Va + PAGE_SIZE, 2 * PAGE_SIZE);
    assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoReadAccess), STATUS_SUCCESS);
    MmUnlockPages(&Mdl.Mdl);
    Expect(Va, 0, 0);
    MmInitializeMdl(&Mdl.Mdl, Va + PAGE_SIZE, 2 * PAGE_SIZE);
    assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoWriteAccess), STATUS_SUCCESS);
    MmUnlockPages(&Mdl.Mdl);
    Expect(Va, 0, 6);
    SIZE_T Done;
    assert_int_equal(NtWriteVirtualMemory(Who, Va + 20 * PAGE_SIZE, &(UCHAR){5}, 1, &Done), STATUS_SUCCESS);
    Expect(Va, 0, 6 | 1 << 20);
    Release(Va);
}

static void ShortArrays_TheRestStays(void **State)
{
    (void)State;
    PUCHAR Va = Take(MEM_WRITE_WATCH);
    PVOID Found[4];
    ULONG_PTR Count = 4;
    ULONG Granularity;
    for (ULONG Page = 10; Page < 16; Page++) {
        Write(Va, Page);
    }
    assert_int_equal(NtGetWriteWatch(Who, WRITE_WATCH_FLAG_RESET, Va, PAGES * PAGE_SIZE, Found, &Count, &Granularity),
                     STATUS_SUCCESS);
    assert_int_equal(Count, 4);
    assert_ptr_equal(Found[3], Va + 13 * PAGE_SIZE);
    Expect(Va, 0, 1ull << 14 | 1ull << 15);
    Release(Va);
}

static void BadArguments(void **State)
{
    (void)State;
    PUCHAR Va = Take(MEM_WRITE_WATCH), Plain = Take(0);
    PVOID Found[4];
    ULONG_PTR Count = 4;
    ULONG Granularity;
    assert_int_equal(NtGetWriteWatch(Who, 2, Va, PAGE_SIZE, Found, &Count, &Granularity), STATUS_INVALID_PARAMETER_2);
    assert_int_equal(NtGetWriteWatch(Who, 0, Plain, PAGE_SIZE, Found, &Count, &Granularity), STATUS_INVALID_PARAMETER_1);
    assert_int_equal(NtGetWriteWatch(Who, 0, Va, (PAGES + 1) * PAGE_SIZE, Found, &Count, &Granularity),
                     STATUS_INVALID_PARAMETER_1);
    assert_int_equal(NtGetWriteWatch(Who, 0, Va, 0, Found, &Count, &Granularity), STATUS_INVALID_PARAMETER_3);
    assert_int_equal(NtGetWriteWatch(Who, 0, MmSystemRangeStart, 1, Found, &Count, &Granularity), STATUS_INVALID_PARAMETER_2);
    assert_int_equal(NtResetWriteWatch(Who, Plain, PAGE_SIZE), STATUS_INVALID_PARAMETER_1);
    assert_int_equal(NtResetWriteWatch((HANDLE)0x7770, Va, PAGE_SIZE), STATUS_INVALID_HANDLE);
    Count = 0;
    assert_int_equal(NtGetWriteWatch(Who, 0, Va, PAGE_SIZE, Found, &Count, &Granularity), STATUS_INVALID_PARAMETER_6);
    Release(Plain);
    Release(Va);
}

/* "the data ... is no longer of interest. The pages should not be read from or written to the paging file." */
static void Reset_PagesAreDroppedInPlaceOfBeingWritten(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    PUCHAR Va = Take(0);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Write(Va, Page);
    }
    assert_int_equal(Alter(Va, 64, MEM_RESET), STATUS_SUCCESS);
    Write(Va, 4); /* "the memory block will be used again later" */
    assert_int_equal(Read(Va, 5), 6);
    KitAssertValid();
    MmQueryCounters(&Before);
    ULONG64 Committed = KitCommitted();
    MmEmptyAllWorkingSets(TRUE);
    MmQueryCounters(&After);
    assert_true(After.PagesWritten - Before.PagesWritten <= PAGES - 64 + 1 + 16 /* what else the system has */);
    assert_int_equal(KitCommitted(), Committed); /* "it should not be decommitted" */
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(Read(Va, Page), Page == 4 || Page >= 64 ? Page + 1 : 0);
    }
    KitAssertValid();
    Release(Va);
}

/* "If the function succeeds, this means all data in the specified address range is intact" */
static void ResetUndo_Intact_OrFails(void **State)
{
    (void)State;
    PUCHAR Va = Take(0);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Write(Va, Page);
    }
    assert_int_equal(Alter(Va, PAGES, MEM_RESET), STATUS_SUCCESS);
    assert_int_equal(Alter(Va, PAGES, MEM_RESET_UNDO), STATUS_SUCCESS);
    MmEmptyAllWorkingSets(TRUE);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(Read(Va, Page), Page + 1);
    }
    assert_int_equal(Alter(Va, PAGES, MEM_RESET), STATUS_SUCCESS);
    MmEmptyAllWorkingSets(TRUE);
    assert_int_equal(Alter(Va, PAGES, MEM_RESET_UNDO), STATUS_UNSUCCESSFUL);
    assert_int_equal(Alter(Va, PAGES, MEM_RESET_UNDO), STATUS_SUCCESS);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(Read(Va, Page), 0);
    }
    KitAssertValid();
    Release(Va);
}

/* Locked pages keep their contents whatever was said of them. */
static void Reset_LockedPagesStay(void **State)
{
    (void)State;
    PUCHAR Va = Take(0);
    KIT_MDL Mdl;
    Write(Va, 0);
    MmInitializeMdl(&Mdl.Mdl, Va, PAGE_SIZE);
    assert_int_equal(KitLock(&Mdl.Mdl, UserMode, IoReadAccess), STATUS_SUCCESS);
    assert_int_equal(Alter(Va, PAGES, MEM_RESET), STATUS_SUCCESS);
    MmEmptyAllWorkingSets(TRUE);
    assert_int_equal(Read(Va, 0), 1);
    MmUnlockPages(&Mdl.Mdl);
    KitAssertValid();
    Release(Va);
}

#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Start, Stop)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(WrittenPages_AreListed_ReadOnesAreNot),
        TEST(Reset_OnlyLaterWritesCount),
        TEST(PagesThatLeaveAndComeBack),
        TEST(LockedForWriting_Counts),
        TEST(ShortArrays_TheRestStays),
        TEST(BadArguments),
        TEST(Reset_PagesAreDroppedInPlaceOfBeingWritten),
        TEST(ResetUndo_Intact_OrFails),
        TEST(Reset_LockedPagesStay),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
