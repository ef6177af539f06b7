/*
 * scripted_pagefile.c - page files, transfers and the compression store over the scripted machine, where a test says when a
 * transfer ends and how. SPDX-License-Identifier: MIT
 */
#include "scripted_kit.h"

#define PAGES  8192u
#define FRAMES 256u
static const HAL_RUN Runs[] = {{16, PAGES, FALSE}};
static PFN_NUMBER First; /* FRAMES frames that the tests play with */

static int Setup(void **State)
{
    BOOLEAN Dirty;
    (void)State;
    StartMachine(Runs, 1, MmIoDone);
    assert_int_equal(MmInitSystem(Runs, 1), STATUS_SUCCESS);
    assert_true(MiChargeCommitment(FRAMES, HighPoolPriority));
    assert_true(MiTakeContiguous(FRAMES, 0, MiState->HighestPage, 0, &First, &Dirty));
    return 0;
}
static int Teardown(void **State)
{
    (void)State;
    const CHAR *Broken = MiValidatePageFiles();
    while (HalScriptRunIo(100) != 0) {
    }
    MiClosePageFiles();
    MiReturnCommitment(MiReleaseFrames(First, FRAMES));
    Broken = Broken ? Broken : MiValidateAll();
    /* nothing is left but what a system without page files has */
    if (Broken == NULL && MiState->Committed != MiState->TablePages) {
        Broken = "page files kept commitment";
    }
    return StopMachine(Broken);
}
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)

static ULONG Make(const CHAR *Path, ULONG64 Pages, ULONG64 Maximum, BOOLEAN Checked)
{
    MM_PAGE_FILE_OPTIONS Options = {Path, Pages << PAGE_SHIFT, Maximum << PAGE_SHIFT, FALSE, Checked};
    ULONG Number = 99;
    assert_int_equal(MmCreatePageFile(&Options, &Number), STATUS_SUCCESS);
    return Number;
}
static VOID Fill(PFN_NUMBER Frame, ULONG64 Seed, BOOLEAN Random)
{
    ULONG64 *Word = (ULONG64 *)HalWindow(Frame);
    for (ULONG i = 0; i < 512; i++) {
        ULONG64 Z = (Seed * 1000 + i) * 0x9E3779B97F4A7C15ull;
        Word[i] = Random ? (Z ^ Z >> 30) * 0xBF58476D1CE4E5B9ull : i == 0 ? Seed : 7;
    }
}
static BOOLEAN Holds(PFN_NUMBER Frame, ULONG64 Seed, BOOLEAN Random)
{
    const ULONG64 *Word = (const ULONG64 *)HalWindow(Frame);
    for (ULONG i = 0; i < 512; i++) {
        ULONG64 Z = (Seed * 1000 + i) * 0x9E3779B97F4A7C15ull;
        if (Word[i] != (Random ? (Z ^ Z >> 30) * 0xBF58476D1CE4E5B9ull : i == 0 ? Seed : 7)) {
            return FALSE;
        }
    }
    return TRUE;
}
static ULONG DoneCount;
static VOID OnDone(PMI_PAGE_IO PageIo)
{
    (void)PageIo;
    DoneCount++;
}
static VOID Prepare(PMI_PAGE_IO PageIo, MI_SLOT Slot, ULONG Frame, ULONG Count)
{
    memset(PageIo, 0xEE, sizeof *PageIo); /* what the contract does not ask for is garbage */
    PageIo->Slot = Slot;
    PageIo->Count = Count;
    PageIo->Wanted = 0;
    PageIo->Done = OnDone;
    for (ULONG i = 0; i < Count; i++) {
        PageIo->Pages[i] = (ULONG)(First + Frame + i);
    }
}
static NTSTATUS WriteNow(MI_SLOT Slot, ULONG Frame, ULONG Count)
{
    MI_PAGE_IO PageIo;
    Prepare(&PageIo, Slot, Frame, Count);
    return MiWriteSlotsAndWait(&PageIo);
}
static NTSTATUS ReadNow(MI_SLOT Slot, ULONG Frame, ULONG Count)
{
    MI_PAGE_IO PageIo;
    Prepare(&PageIo, Slot, Frame, Count);
    return MiReadSlotsAndWait(&PageIo);
}
static VOID Inject(HAL_IO_FAULT_KIND Kind, ULONG64 Count, ULONG64 Value)
{
    HAL_IO_FAULT Rule = {.Kind = Kind, .Count = Count, .Value = Value};
    assert_int_equal(HalInjectIoFault(&Rule), STATUS_SUCCESS);
}

/* ---- slots ---- */
static void Slots_RunsOfOneFile_FollowEachOther(void **State)
{
    MI_SLOT A, B, C;
    (void)State;
    assert_int_equal(MiReserveSlots(8, &A), 0);
    assert_int_equal(A, MI_NO_SLOT);
    assert_int_equal(Make("a", 4096, 0, FALSE), 0);
    assert_int_equal(MiFreeSlotCount(), 4095);
    assert_int_equal(MiReserveSlots(8, &A), 8);
    assert_int_equal(MiSlotOffset(A), 1); /* slot 0 is nobody's */
    assert_int_equal(MiReserveSlots(30, &B), 30);
    assert_int_equal(B, A + 8);
    MiReleaseSlots(A, 8);
    assert_int_equal(MiReserveSlots(8, &C), 8);
    assert_int_equal(C, B + 30); /* next fit: the hole behind is for later */
    assert_int_equal(MiFreeSlotCount(), 4095 - 38);
    assert_null(MiValidatePageFiles());
}

static void Slots_UntilFull_EachIsGivenOnce(void **State)
{
    static UCHAR Seen[3000];
    MI_SLOT Slot;
    ULONG Total = 0, Run;
    (void)State;
    memset(Seen, 0, sizeof Seen);
    Make("a", 3000, 0, FALSE);
    while ((Run = MiReserveSlots(MI_IO_PAGES, &Slot)) != 0) {
        assert_true(Run <= MI_IO_PAGES);
        for (ULONG i = 0; i < Run; i++) {
            assert_int_equal(Seen[MiSlotOffset(Slot) + i]++, 0);
        }
        Total += Run;
    }
    assert_int_equal(Total, 2999);
    assert_int_equal(Seen[0], 0);
    assert_int_equal(MiFreeSlotCount(), 0);
    for (ULONG i = 1; i < 3000; i += 2) {
        MiReleaseSlots(MiMakeSlot(0, i), 1);
    }
    assert_null(MiValidatePageFiles());
    assert_int_equal(MiReserveSlots(16, &Slot), 1); /* nothing longer is left */
    MiReleaseSlots(MiMakeSlot(0, 2), 1);
    MM_PAGE_FILE_INFO Info;
    MmQueryPageFile(0, &Info);
    assert_int_equal(Info.PeakPages, 2999);
}

static void Slots_SeveralFiles_TakeTurns(void **State)
{
    MI_SLOT Slot;
    ULONG Count[16] = {0};
    (void)State;
    for (ULONG i = 0; i < 16; i++) {
        CHAR Name[2] = {(CHAR)('a' + i), 0};
        assert_int_equal(Make(Name, 256, 0, FALSE), i);
    }
    MM_PAGE_FILE_OPTIONS Options = {"x", 1 << 20, 0, FALSE, FALSE};
    ULONG Number;
    assert_int_equal(MmCreatePageFile(&Options, &Number), STATUS_INSUFFICIENT_RESOURCES);
    for (ULONG i = 0; i < 32; i++) {
        assert_int_equal(MiReserveSlots(16, &Slot), 16);
        Count[MiSlotFile(Slot)]++;
    }
    for (ULONG i = 0; i < 16; i++) {
        assert_int_equal(Count[i], 2);
    }
}

static void Slots_ReleasedAcrossChunks_AreFree(void **State)
{
    MI_SLOT Slot;
    (void)State;
    Make("a", 4096, 0, TRUE);
    while (MiReserveSlots(64, &Slot) != 0) {
    }
    MiReleaseSlots(MiMakeSlot(0, 1000), 1100);
    assert_int_equal(MiFreeSlotCount(), 1100);
    assert_null(MiValidatePageFiles());
}

/* ---- files ---- */
static void File_WrongSizesAndNames_AreRefused(void **State)
{
    ULONG Number;
    (void)State;
    MM_PAGE_FILE_OPTIONS Small = {"a", 512 << 10, 0, FALSE, FALSE}, Same = {"b", 1 << 20, 0, FALSE, FALSE};
    assert_int_equal(MmCreatePageFile(&Small, &Number), STATUS_INVALID_PARAMETER);
    Make("b", 256, 0, FALSE);
    assert_int_equal(MmCreatePageFile(&Same, &Number), STATUS_OBJECT_NAME_COLLISION);
    HalScriptFail(HalScriptOpenBlockDevice, 1);
    Same.Path = "c";
    assert_int_equal(MmCreatePageFile(&Same, &Number), STATUS_DISK_FULL);
    Same.MaximumBytes = 1ull << 43; /* its tables alone are more than RAM */
    assert_int_equal(MmCreatePageFile(&Same, &Number), STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(MiSlotCount(), 255);
}

static void File_Grows_ToItsMaximumAndNoFurther(void **State)
{
    MI_SLOT Slot;
    (void)State;
    Make("a", 256, 5000, TRUE);
    assert_int_equal(MiMaximumSlotCount(), 4999);
    while (MiReserveSlots(64, &Slot) != 0) {
    }
    assert_int_equal(MiGrowPageFiles(100), 100);
    assert_int_equal(MiFreeSlotCount(), 100);
    HalScriptFail(HalScriptGrowBlockDevice, 1);
    assert_int_equal(MiGrowPageFiles(100), 0); /* the host has no space */
    assert_null(MiValidatePageFiles());
    assert_int_equal(MiGrowPageFiles(100000), 5000 - 356);
    assert_int_equal(MiGrowPageFiles(1), 0);
    assert_int_equal(MiSlotCount(), 4999);
    while (MiReserveSlots(64, &Slot) != 0) {
    }
    Fill(First, 9, TRUE);
    assert_int_equal(WriteNow(MiMakeSlot(0, 4999), 0, 1), STATUS_SUCCESS);
    assert_int_equal(ReadNow(MiMakeSlot(0, 4999), 1, 1), STATUS_SUCCESS);
    assert_true(Holds(First + 1, 9, TRUE));
}

static void File_Removed_OnlyWhenEmpty(void **State)
{
    MI_SLOT Slot;
    (void)State;
    Make("a", 256, 0, TRUE);
    Make("b", 256, 0, TRUE);
    assert_int_equal(MiReserveSlots(4, &Slot), 4);
    assert_int_equal(MmRemovePageFile(MiSlotFile(Slot)), STATUS_DEVICE_BUSY);
    MiReleaseSlots(Slot, 4);
    assert_int_equal(MmRemovePageFile(MiSlotFile(Slot)), STATUS_SUCCESS);
    assert_int_equal(MmRemovePageFile(MiSlotFile(Slot)), STATUS_INVALID_PARAMETER);
    assert_int_equal(MiSlotCount(), 255);
    assert_int_equal(Make("c", 512, 0, TRUE), MiSlotFile(Slot)); /* the number is free again */
    assert_int_equal(MiSlotCount(), 255 + 511);
}

/* ---- transfers ---- */
static void Io_ScatteredFrames_ComeBackTogether(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    (void)State;
    Make("a", 1024, 0, TRUE);
    assert_int_equal(MiReserveSlots(64, &Slot), 64);
    Prepare(&PageIo, Slot, 0, 64);
    for (ULONG i = 0; i < 64; i++) {
        PageIo.Pages[i] = (ULONG)(First + (i * 37) % 64);
        Fill(PageIo.Pages[i], i + 1, TRUE);
    }
    DoneCount = 0;
    MiWriteSlots(&PageIo);
    assert_int_equal(DoneCount, 0);
    assert_int_equal(HalScriptRunIo(10), 1); /* one transfer for all */
    assert_int_equal(DoneCount, 1);
    assert_int_equal(PageIo.Status, STATUS_SUCCESS);
    assert_int_equal(PageIo.Good, ~0ull);
    Prepare(&PageIo, Slot, 100, 64);
    MiReadSlots(&PageIo);
    assert_int_equal(HalScriptRunIo(10), 1);
    assert_int_equal(PageIo.Good, ~0ull);
    for (ULONG i = 0; i < 64; i++) {
        assert_true(Holds(First + 100 + i, i + 1, TRUE));
    }
    MM_PAGE_FILE_INFO Info;
    MmQueryPageFile(0, &Info);
    assert_int_equal(Info.Reads, 1);
    assert_int_equal(Info.Writes, 1);
    assert_int_equal(Info.PagesRead, 64);
    assert_int_equal(Info.PagesWritten, 64);
}

static void Io_Gaps_AreReadOverAndLeaveNothing(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    (void)State;
    Make("a", 1024, 0, TRUE);
    MiReserveSlots(16, &Slot);
    for (ULONG i = 0; i < 16; i++) {
        Fill(First + i, i, TRUE);
        Fill(First + 32 + i, 500, FALSE);
    }
    assert_int_equal(WriteNow(Slot, 0, 16), STATUS_SUCCESS);
    Prepare(&PageIo, Slot, 32, 16);
    for (ULONG i = 0; i < 16; i++) {
        if (i % 3 != 0) {
            PageIo.Pages[i] = MI_IO_SKIP;
        }
    }
    PageIo.Wanted = 3;
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS);
    for (ULONG i = 0; i < 16; i++) {
        assert_int_equal(MiIsIoGood(&PageIo, i), i % 3 == 0);
        assert_true(i % 3 == 0 ? Holds(First + 32 + i, i, TRUE) : Holds(First + 32 + i, 500, FALSE));
    }
    assert_int_equal(HalScriptCalls(HalScriptTransferIo), 2);
}

static void Io_ReadErrorOfARun_SparesTheWantedPage(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    (void)State;
    Make("a", 1024, 0, FALSE);
    MiReserveSlots(8, &Slot);
    Fill(First + 5, 55, TRUE);
    WriteNow(Slot, 0, 8);
    Inject(HalIoReadError, 1, 0);
    Prepare(&PageIo, Slot, 16, 8);
    PageIo.Wanted = 5;
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS);
    assert_int_equal(PageIo.Good, 1ull << 5);
    assert_true(Holds(First + 16 + 5, 55, TRUE));
    /* and if it fails alone too, that is what its reader hears */
    Inject(HalIoReadError, 2, 0);
    Prepare(&PageIo, Slot, 16, 8);
    PageIo.Wanted = 5;
    DoneCount = 0;
    MiReadSlots(&PageIo);
    assert_int_equal(HalScriptRunIo(10), 2);
    assert_int_equal(DoneCount, 1);
    assert_int_equal(PageIo.Status, STATUS_IO_DEVICE_ERROR);
    assert_int_equal(PageIo.Good, 0);
    MM_PAGE_FILE_INFO Info;
    MmQueryPageFile(0, &Info);
    assert_int_equal(Info.ReadErrors, 3);
    assert_int_equal(Info.Retries, 2);
}

static void Io_ShortRead_GivesWhatArrived(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    (void)State;
    Make("a", 1024, 0, FALSE);
    MiReserveSlots(8, &Slot);
    for (ULONG i = 0; i < 8; i++) {
        Fill(First + i, i, TRUE);
    }
    WriteNow(Slot, 0, 8);
    Inject(HalIoShortRead, 1, 0);
    Prepare(&PageIo, Slot, 16, 8);
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS);
    assert_int_equal(PageIo.Good, 0xF);
    Inject(HalIoShortRead, 1, 0);
    assert_int_equal(ReadNow(Slot, 16, 1), STATUS_END_OF_FILE);
    Inject(HalIoShortRead, 1, 0);
    Prepare(&PageIo, Slot, 16, 8);
    PageIo.Wanted = 7; /* behind what came: asked for again */
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS);
    assert_int_equal(PageIo.Good, 0x8F);
    assert_true(Holds(First + 23, 7, TRUE));
}

static void Io_WriteErrors_AreToldPageByPage(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    (void)State;
    Make("a", 1024, 0, TRUE);
    MiReserveSlots(8, &Slot);
    Fill(First, 1, TRUE);
    Inject(HalIoWriteError, 1, 0);
    Prepare(&PageIo, Slot, 0, 8);
    DoneCount = 0;
    MiWriteSlots(&PageIo);
    HalScriptRunIo(10);
    assert_int_equal(DoneCount, 1);
    assert_int_equal(PageIo.Status, STATUS_IO_DEVICE_ERROR);
    assert_int_equal(PageIo.Good, 0);
    Inject(HalIoNoSpace, 1, 0);
    assert_int_equal(WriteNow(Slot, 0, 8), STATUS_DISK_FULL);
    assert_int_equal(WriteNow(Slot, 0, 8), STATUS_SUCCESS); /* the next try */
    assert_int_equal(ReadNow(Slot, 20, 1), STATUS_SUCCESS);
    assert_true(Holds(First + 20, 1, TRUE));
    MM_PAGE_FILE_INFO Info;
    MmQueryPageFile(0, &Info);
    assert_int_equal(Info.WriteErrors, 2);
    assert_int_equal(Info.PagesWritten, 8);
}

static void Io_TornWriteAndCorruption_AreSeenByTheChecksum(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    (void)State;
    Make("a", 1024, 0, TRUE);
    MiReserveSlots(8, &Slot);
    for (ULONG i = 0; i < 8; i++) {
        Fill(First + i, 10 + i, TRUE);
        Fill(First + 8 + i, 30 + i, TRUE);
    }
    assert_int_equal(WriteNow(Slot, 0, 8), STATUS_SUCCESS);
    Inject(HalIoTornWrite, 1, 0);
    assert_int_equal(WriteNow(Slot, 8, 8), STATUS_SUCCESS); /* the device says so */
    Prepare(&PageIo, Slot, 32, 8);
    PageIo.Wanted = 6;
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_CRC_ERROR);
    assert_int_equal(PageIo.Good, 0xF);
    assert_true(PageIo.Found != PageIo.Expected && PageIo.Expected != 0);
    Inject(HalIoCorrupt, 1, 2);
    Prepare(&PageIo, Slot, 32, 4);
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS); /* page 0 is right */
    assert_int_equal(PageIo.Good, 0xB);
    MM_PAGE_FILE_INFO Info;
    MmQueryPageFile(0, &Info);
    assert_int_equal(Info.CorruptPages, 5);
}

static void Io_PageFromAnotherSlot_IsWrong(void **State)
{
    MI_SLOT Slot;
    (void)State;
    ULONG File = Make("a", 1024, 0, TRUE);
    MiReserveSlots(2, &Slot);
    Fill(First, 1, TRUE);
    Fill(First + 1, 1, TRUE); /* the same contents: only the salt differs */
    assert_int_equal(WriteNow(Slot, 0, 2), STATUS_SUCCESS);
    volatile ULONG *Checks = MiState->Paging.Files[File].Chunks[0].Checks;
    assert_true(Checks[1] != Checks[2]);
    /* every bit of a page counts */
    for (ULONG Bit = 0; Bit < PAGE_SIZE * 8; Bit += 61) {
        ULONG Old = Checks[1];
        ((PUCHAR)HalWindow(First))[Bit / 8] ^= (UCHAR)(1u << Bit % 8);
        assert_int_equal(WriteNow(Slot, 0, 1), STATUS_SUCCESS);
        assert_true(Checks[1] != Old);
    }
}

static void Io_LateTransfers_DoNotHoldUpOthers(void **State)
{
    MI_SLOT A, B;
    static MI_PAGE_IO Slow, Quick;
    (void)State;
    Make("a", 1024, 0, TRUE);
    MiReserveSlots(8, &A);
    MiReserveSlots(8, &B);
    Inject(HalIoDelay, 1, 1000000000);
    Prepare(&Slow, A, 0, 8);
    Prepare(&Quick, B, 8, 8);
    DoneCount = 0;
    MiWriteSlots(&Slow);
    MiWriteSlots(&Quick);
    assert_int_equal(HalScriptRunIo(10), 1);
    assert_int_equal(Quick.Good, 0xFF);
    assert_int_equal(DoneCount, 1);
    HalScriptAdvanceTime(1000000000);
    assert_int_equal(HalScriptRunIo(10), 1);
    assert_int_equal(Slow.Good, 0xFF);
}

/* ---- the store ---- */
static VOID MakeStore(ULONG64 Bytes)
{
    assert_int_equal(MmEnablePageCompression(Bytes), STATUS_SUCCESS);
    Make("a", 8192, 0, TRUE);
}
static VOID WriteOne(MI_SLOT Slot, ULONG64 Seed, BOOLEAN Random)
{
    Fill(First, Seed, Random);
    assert_int_equal(WriteNow(Slot, 0, 1), STATUS_SUCCESS);
}
static VOID ExpectOne(MI_SLOT Slot, ULONG64 Seed, BOOLEAN Random)
{
    Fill(First + 1, ~Seed, TRUE);
    assert_int_equal(ReadNow(Slot, 1, 1), STATUS_SUCCESS);
    assert_true(Holds(First + 1, Seed, Random));
}

static void Store_CompressiblePages_NeverReachTheDevice(void **State)
{
    MI_SLOT Slot;
    MI_PAGE_IO PageIo;
    MM_STORE_INFO Info;
    (void)State;
    MakeStore(2 << 20);
    MiReserveSlots(16, &Slot);
    for (ULONG i = 0; i < 16; i++) {
        Fill(First + i, i, i == 7); /* one does not compress */
    }
    Prepare(&PageIo, Slot, 0, 16);
    DoneCount = 0;
    MiWriteSlots(&PageIo);
    assert_int_equal(HalScriptRunIo(10), 1);
    assert_int_equal(DoneCount, 1);
    assert_int_equal(PageIo.Good, 0xFFFF);
    Prepare(&PageIo, Slot, 32, 16);
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS);
    assert_int_equal(PageIo.Good, 0xFFFF);
    for (ULONG i = 0; i < 16; i++) {
        assert_true(Holds(First + 32 + i, i, i == 7));
    }
    MmQueryPageStore(&Info);
    assert_int_equal(Info.StoredPages, 15);
    assert_int_equal(Info.Refused, 1);
    assert_int_equal(Info.Out, 15);
    assert_int_equal(Info.StoredBytes, 15 * 24);
    MM_PAGE_FILE_INFO File;
    MmQueryPageFile(0, &File);
    assert_int_equal(File.PagesWritten, 1);
    assert_int_equal(File.PagesRead, 1);
    DoneCount = 0;
    Prepare(&PageIo, Slot, 0, 4);
    MiReadSlots(&PageIo);
    assert_int_equal(DoneCount, 1); /* at once: there is nothing to wait for */
    MiReleaseSlots(Slot, 16);
    MmQueryPageStore(&Info);
    assert_int_equal(Info.StoredPages, 0);
    assert_int_equal(Info.StoredBytes, 0);
    assert_null(MiValidatePageFiles());
}

/* Pages of about 1.3 KiB each, so that a store of 1 MiB overflows. */
static VOID FillHalf(PFN_NUMBER Frame, ULONG64 Seed)
{
    ULONG64 *Word = (ULONG64 *)HalWindow(Frame);
    for (ULONG i = 0; i < 512; i++) {
        Word[i] = Seed * 7919 + (i < 100 ? i : 0);
    }
}
static void Store_Full_WritesItsOldestOn(void **State)
{
    static MI_SLOT Slots[2000];
    MM_STORE_INFO Info;
    (void)State;
    MakeStore(1 << 20);
    for (ULONG i = 0; i < 2000; i += 16) {
        MI_SLOT Slot;
        assert_int_equal(MiReserveSlots(16, &Slot), 16);
        for (ULONG j = 0; j < 16; j++) {
            Slots[i + j] = Slot + j;
            FillHalf(First + j, i + j);
        }
        assert_int_equal(WriteNow(Slot, 0, 16), STATUS_SUCCESS);
        if (i % 160 == 0) {
            HalScriptRunIo(3);
            assert_null(MiValidatePageFiles());
        }
    }
    while (HalScriptRunIo(100) != 0) {
    }
    MmQueryPageStore(&Info);
    assert_true(Info.Evicted > 100);
    assert_true(Info.StoredPages > 300);
    assert_true(Info.Resident <= 1 << 20);
    for (ULONG i = 0; i < 2000; i++) {
        FillHalf(First, i);
        assert_int_equal(ReadNow(Slots[i], 1, 1), STATUS_SUCCESS);
        assert_memory_equal(HalWindow(First), HalWindow(First + 1), PAGE_SIZE);
    }
    assert_null(MiValidatePageFiles());
}

/* Fills the store until it has handed a run to the device, which has not moved yet. Returns pages written. */
static ULONG FillUntilEviction(MI_SLOT *Slots, ULONG Max)
{
    ULONG Count = 0;
    while (HalScriptPendingIo() == 0) {
        assert_true(Count < Max);
        assert_int_equal(MiReserveSlots(1, &Slots[Count]), 1);
        FillHalf(First, Count);
        assert_int_equal(WriteNow(Slots[Count], 0, 1), STATUS_SUCCESS);
        Count++;
    }
    return Count;
}

static void Store_SlotReleasedDuringEviction_StaysTakenUntilWritten(void **State)
{
    static MI_SLOT Slots[2000];
    (void)State;
    MakeStore(1 << 20);
    ULONG Count = FillUntilEviction(Slots, 2000);
    ULONG64 Free = MiFreeSlotCount();
    MiReleaseSlots(Slots[0], 1); /* the oldest: on its way */
    assert_int_equal(MiFreeSlotCount(), Free);
    assert_null(MiValidatePageFiles());
    while (HalScriptRunIo(100) != 0) {
    }
    assert_int_equal(MiFreeSlotCount(), Free + 1);
    for (ULONG i = 1; i < Count; i++) {
        FillHalf(First, i);
        assert_int_equal(ReadNow(Slots[i], 1, 1), STATUS_SUCCESS);
        assert_memory_equal(HalWindow(First), HalWindow(First + 1), PAGE_SIZE);
    }
}

static void Store_EvictionRefused_KeepsThePages(void **State)
{
    static MI_SLOT Slots[2000];
    MM_STORE_INFO Info;
    (void)State;
    MakeStore(1 << 20);
    Inject(HalIoWriteError, 1, 0); /* the first run of the first eviction */
    ULONG Count = FillUntilEviction(Slots, 2000);
    while (HalScriptRunIo(100) != 0) {
    }
    MmQueryPageStore(&Info);
    assert_true(Info.Failed > 0);
    for (ULONG i = 0; i < Count; i++) {
        FillHalf(First, i);
        assert_int_equal(ReadNow(Slots[i], 1, 1), STATUS_SUCCESS);
        assert_memory_equal(HalWindow(First), HalWindow(First + 1), PAGE_SIZE);
    }
    assert_null(MiValidatePageFiles());
}

static void Store_DamagedPage_IsSeen(void **State)
{
    MI_SLOT Slot;
    (void)State;
    MakeStore(1 << 20);
    MiReserveSlots(1, &Slot);
    WriteOne(Slot, 5, FALSE);
    ExpectOne(Slot, 5, FALSE);
    ULONG Place = MiState->Paging.Files[0].Chunks[0].Places[MiSlotOffset(Slot)];
    assert_true(Place != 0);
    /* the word of the second run of the packed page, in the first segment: find it by its contents */
    for (PFN_NUMBER Page = 16; Page < 16 + PAGES; Page++) {
        ULONG64 *Word = (ULONG64 *)HalWindow(Page);
        if (Word[0] == Slot && (Word[1] & 0xFFFF) == 24) {
            ((PUCHAR)Word)[16 + 12 + 4] ^= 1;
        }
    }
    assert_int_equal(ReadNow(Slot, 1, 1), STATUS_CRC_ERROR);
}

static void Store_WrongSize_IsRefused(void **State)
{
    (void)State;
    assert_int_equal(MmEnablePageCompression(1 << 19), STATUS_INVALID_PARAMETER);
    assert_int_equal(MmEnablePageCompression(1ull << 40), STATUS_INVALID_PARAMETER);
    assert_int_equal(MmEnablePageCompression(1 << 20), STATUS_SUCCESS);
    assert_int_equal(MmEnablePageCompression(1 << 20), STATUS_INVALID_PARAMETER);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Slots_RunsOfOneFile_FollowEachOther),
        TEST(Slots_UntilFull_EachIsGivenOnce),
        TEST(Slots_SeveralFiles_TakeTurns),
        TEST(Slots_ReleasedAcrossChunks_AreFree),
        TEST(File_WrongSizesAndNames_AreRefused),
        TEST(File_Grows_ToItsMaximumAndNoFurther),
        TEST(File_Removed_OnlyWhenEmpty),
        TEST(Io_ScatteredFrames_ComeBackTogether),
        TEST(Io_Gaps_AreReadOverAndLeaveNothing),
        TEST(Io_ReadErrorOfARun_SparesTheWantedPage),
        TEST(Io_ShortRead_GivesWhatArrived),
        TEST(Io_WriteErrors_AreToldPageByPage),
        TEST(Io_TornWriteAndCorruption_AreSeenByTheChecksum),
        TEST(Io_PageFromAnotherSlot_IsWrong),
        TEST(Io_LateTransfers_DoNotHoldUpOthers),
        TEST(Store_CompressiblePages_NeverReachTheDevice),
        TEST(Store_Full_WritesItsOldestOn),
        TEST(Store_SlotReleasedDuringEviction_StaysTakenUntilWritten),
        TEST(Store_EvictionRefused_KeepsThePages),
        TEST(Store_DamagedPage_IsSeen),
        TEST(Store_WrongSize_IsRefused),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
