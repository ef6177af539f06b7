/*
 * readahead_test.c - what comes along with a page that is read in: much for a reader in order, nothing for one at random, dirty
 * for one that writes. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <stdio.h>
#include <unistd.h>

#define PAGES 4096u
static PUCHAR Va;
static ULONG64 Reads, PagesRead, Hard, Soft;

static int SetupOf(unsigned RamMib, unsigned FileMib)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = RamMib << 20;
    Options.pagedpool = 160u << 20;
    Options.cpus = 2;
    Options.pagefile_check = true;
    snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-readahead-%d:%uM", (int)getpid(), FileMib);
    if (ntmm_start(&Options) != 0) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    Va = MmAllocatePages(MmRegionPagedPool, PAGES, 0, NormalPoolPriority);
    assert_non_null(Va);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        *(volatile ULONG64 *)(void *)(Va + Page * PAGE_SIZE) = Page * 0x9E3779B97F4A7C15ull + 1;
    }
    MmEmptyAllWorkingSets(TRUE);
    return 0;
}
static int Setup(void **State)
{
    (void)State;
    return SetupOf(128, 32);
}
static int SetupSmall(void **State)
{
    (void)State;
    return SetupOf(32, 128);
}
static int Teardown(void **State)
{
    (void)State;
    MmFreePages(Va, PAGES);
    const CHAR *Broken = MiValidateAll();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    return ntmm_stop() | (Broken ? -1 : 0);
}
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)

static void Begin(void)
{
    Reads = MiState->Pager.PageReads;
    PagesRead = MiState->Pager.PagesRead;
    Hard = MiState->HardFaults;
    Soft = MiState->SoftFaults;
}
static void End(void)
{
    MiWaitForReadsAhead();
    KiAcquireLock(&MiState->PfnLock);
    Reads = MiState->Pager.PageReads - Reads;
    PagesRead = MiState->Pager.PagesRead - PagesRead;
    KiReleaseLock(&MiState->PfnLock);
    Hard = MiState->HardFaults - Hard;
    Soft = MiState->SoftFaults - Soft;
}
static void Expect(ULONG Page)
{
    assert_int_equal(*(volatile ULONG64 *)(void *)(Va + Page * PAGE_SIZE), Page * 0x9E3779B97F4A7C15ull + 1);
}

static void InOrder_FewLargeReads_EachPageOnce(void **State)
{
    (void)State;
    Begin();
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Expect(Page);
    }
    End();
    assert_int_equal(PagesRead, PAGES);
    assert_true(Reads <= PAGES / 32);
    assert_true(Hard + Soft <= PAGES / 16); /* a run joins the working set at once */
    assert_true(Soft > Hard);               /* and was mostly there before it was asked for */
}

/* The end of one read begins the next: what a reader may want comes while it does nothing, and no more than that. */
static void InOrder_ReadsGoOnWithoutTheReader(void **State)
{
    ULONG Page = 0, Present = 0;
    (void)State;
    for (; Page < 1024 + 1; Page++) { /* the first of its window */
        Expect(Page);
    }
    MiWaitForReadsAhead();
    ULONG_PTR Limit = MiState->Pager.Readers[(ULONG)KiCurrentThread()->Id / 4 % MI_READERS].AheadLimit;
    for (; Page < PAGES && !MiPteIsPageFile(MiReadPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE))); Page++) {
        Present++;
    }
    assert_ptr_equal(Va + Page * PAGE_SIZE, (PUCHAR)Limit);
    assert_true(Present >= 24 * MI_IO_PAGES); /* more than are under way at once */
    for (; Page < PAGES; Page++) {
        assert_true(MiPteIsPageFile(MiReadPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE))));
    }
}

static void AtRandom_SinglePages(void **State)
{
    (void)State;
    Begin();
    for (ULONG i = 0; i < 256; i++) {
        Expect(i * 1031 % PAGES); /* far from each other */
    }
    End();
    assert_true(PagesRead <= 256 + 64);
}

static void Nearby_LooksAround(void **State)
{
    (void)State;
    Begin();
    for (ULONG i = 0; i < 256; i++) {
        Expect((i / 8 * 509 + i % 8 * 5 % 8) % PAGES); /* eight neighbours in disorder, then elsewhere */
    }
    End();
    assert_true(Reads < 256 * 3 / 4);
}

static void WritingInOrder_RunsAreDirtyAtOnce(void **State)
{
    HAL_TB_STATISTICS Before, After;
    (void)State;
    HalQueryTb(&Before);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        Expect(Page);
        *(volatile ULONG64 *)(void *)(Va + Page * PAGE_SIZE) += 1;
    }
    HalQueryTb(&After);
    /* Else the first write to each page is a fault of its own, or to those in the first window of each table. */
    assert_true(After.Faults - Before.Faults < PAGES / 8);
    MmEmptyAllWorkingSets(TRUE);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        assert_int_equal(*(volatile ULONG64 *)(void *)(Va + Page * PAGE_SIZE), Page * 0x9E3779B97F4A7C15ull + 2);
    }
}

static void ReadingAfterWriting_DoesNotDirtyWhatIsOnlyRead(void **State)
{
    (void)State;
    for (ULONG Page = 0; Page < PAGES / 2; Page++) {
        *(volatile ULONG64 *)(void *)(Va + Page * PAGE_SIZE) += 1;
    }
    for (ULONG Page = PAGES / 2; Page < PAGES; Page++) {
        Expect(Page);
    }
    MiWaitForReadsAhead();
    ULONG Dirty = 0;
    for (ULONG Page = PAGES / 2; Page < PAGES; Page++) {
        Dirty += MiPteIsValid(MiReadPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE))) &&
                 MiPteIsDirty(MiReadPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE)));
    }
    assert_true(Dirty <= 2 * MI_IO_PAGES); /* at most the run in which it changed its mind */
}

/* Every read but those that somebody waits for fails: the pages they were to bring come when they are asked for. */
static void FailingDevice_AheadOfAReader_CostsNothing(void **State)
{
    ULONG Failed = 0;
    BOOLEAN Failing = FALSE;
    (void)State;
    for (ULONG Page = 0; Page < PAGES; Page++) {
        PMMPTE Pte = MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE);
        if (MiPteIsPageFile(MiReadPte(Pte))) { /* this one is waited for */
            Failed += ntmm_disk_fault_hits() != Failed;
            ntmm_clear_disk_faults();
            Failing = FALSE;
        } else if (Page % 512 >= 128 && Page % 512 < 256 &&
                   !Failing) { /* in the middle of a table: the next to be read is read ahead */
            MiWaitForReadsAhead();
            assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, -1, 0, 0, 0), 0);
            Failing = TRUE;
        }
        Expect(Page);
        MiWaitForReadsAhead();
    }
    assert_true(Failed > 0);
}

/* What was read ahead is older than all that is in standby. Others want memory: the rest of standby goes first; then, as nobody comes, what was
 * read ahead, too; and who does come at last has it all read again at once, not window by window. */
static BOOLEAN IsOut(ULONG Page)
{
    KiAcquireLock(&MiState->PfnLock); /* an entry in transition changes under it */
    BOOLEAN Out = MiPteIsPageFile(MiReadPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE)));
    KiReleaseLock(&MiState->PfnLock);
    return Out;
}
static ULONG64 Repurposed(void)
{
    KiAcquireLock(&MiState->PfnLock);
    ULONG64 Pages = MiState->Pager.RepurposedPages;
    KiReleaseLock(&MiState->PfnLock);
    return Pages;
}
static void InOrder_WhatWasReadAheadOutlivesTheRest_Once(void **State)
{
    const ULONG Filler = 20480, First = 2048 + MI_IO_PAGES;
    ULONG Last = First, Page = 0, Out = 0;
    (void)State;
    PUCHAR Others = MmAllocatePages(MmRegionPagedPool, Filler, 0, NormalPoolPriority);
    assert_non_null(Others);
    for (; Page <= 2048; Page++) { /* the first of its window: all of it comes along */
        Expect(Page);
    }
    MiWaitForReadsAhead();
    while (Last < PAGES && !IsOut(Last)) {
        Last++;
    }
    assert_true(Last - First >= 4 * MI_IO_PAGES);
    MmTrimAllSystemPageableMemory(FALSE); /* 2,112 pages that have a copy */
    ULONG64 Before = Repurposed();
    for (Page = 0; Page < Filler && Repurposed() - Before < 1024; Page++) {
        Others[Page * PAGE_SIZE] = 1;
    }
    assert_true(Page < Filler);
    for (ULONG Ahead = First; Ahead < Last; Ahead++) {
        assert_false(IsOut(Ahead));
    }
    for (; Page < Filler; Page++) { /* more than twice RAM: what was in standby is gone, first in first out */
        Others[Page * PAGE_SIZE] = 1;
    }
    for (ULONG Ahead = First; Ahead < Last; Ahead++) {
        Out += IsOut(Ahead);
    }
    assert_int_equal(Out, Last - First);
    MmFreePages(Others, Filler);
    Expect(First);
    MiWaitForReadsAhead();
    for (ULONG Ahead = First; Ahead < Last; Ahead++) {
        assert_false(IsOut(Ahead));
    }
    for (Page = First; Page < PAGES; Page++) {
        Expect(Page);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(InOrder_FewLargeReads_EachPageOnce),
        TEST(InOrder_ReadsGoOnWithoutTheReader),
        TEST(AtRandom_SinglePages),
        TEST(Nearby_LooksAround),
        TEST(WritingInOrder_RunsAreDirtyAtOnce),
        TEST(ReadingAfterWriting_DoesNotDirtyWhatIsOnlyRead),
        TEST(FailingDevice_AheadOfAReader_CostsNothing),
        cmocka_unit_test_setup_teardown(InOrder_WhatWasReadAheadOutlivesTheRest_Once, SetupSmall, Teardown),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
