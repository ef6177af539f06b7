/*
 * scripted_stackswap.c - the pages of a kernel stack, out and in, over the scripted machine: a test says when a transfer ends and how.
 * SPDX-License-Identifier: MIT
 */
#include "scripted_kit.h"

#define PAGES 1024u
#define STACK 12u /* pages */
#define LIVE  5u  /* of them, with the signature's */
static const HAL_RUN Runs[] = {{16, PAGES, FALSE}};
static ULONG_PTR Low, High, Sp;
static ULONG File;

static int Setup(void **State)
{
    (void)State;
    MM_PAGE_FILE_OPTIONS Options = {"scripted", 2048 * PAGE_SIZE, 0, FALSE, TRUE};
    StartMachine(Runs, 1, MmIoDone);
    assert_int_equal(MmInitSystem(Runs, 1), STATUS_SUCCESS);
    assert_int_equal(MmCreatePageFile(&Options, &File), STATUS_SUCCESS);
    Low = (ULONG_PTR)MmAllocatePages(MmRegionKernelStacks, STACK, MM_PAGES_PINNED | MM_PAGES_ZERO, HighPoolPriority);
    assert_true(Low != 0);
    High = Low + STACK * PAGE_SIZE;
    Sp = High - LIVE * PAGE_SIZE + 0x800;
    for (ULONG_PTR Va = Low; Va < High; Va += PAGE_SIZE) {
        UCHAR Value = (UCHAR)((Va - Low) / PAGE_SIZE + 1);
        assert_true(HalScriptAccess(Va + 0xF00, 1, HAL_SCRIPT_WRITE, &Value));
    }
    return 0;
}
static int Teardown(void **State)
{
    (void)State;
    (void)HalInjectIoFault(NULL);
    while (HalScriptRunIo(100) != 0) {
    }
    const CHAR *Broken = MiValidateAll();
    if (Low) {
        MmFreePages((PVOID)Low, STACK);
    }
    Broken = Broken ? Broken : MiValidateAll();
    if (!Broken && (MiFreeSlotCount() != MiSlotCount() || MiState->SystemWorkingSet.Pages)) {
        Broken = "slots are still taken, or pages in the working set";
    }
    return StopMachine(Broken);
}

static MMPTE Entry(ULONG Page)
{
    return MiReadPte(MiPteOf(Low + Page * PAGE_SIZE));
}
static int Read(ULONG Page)
{
    UCHAR Value = 0;
    return HalScriptAccess(Low + Page * PAGE_SIZE + 0xF00, 1, HAL_SCRIPT_READ, &Value) ? Value : -1;
}
static VOID WriteOut(VOID)
{
    while (MiWriteModifiedPages(~0ull)) {
        while (HalScriptRunIo(100)) {
        }
    }
}
static VOID Purge(VOID)
{
    KiAcquireLock(&MiState->PfnLock);
    while (MiPurgeStandbyLocked(64)) {
    }
    KiReleaseLock(&MiState->PfnLock);
}
static BOOLEAN BringIn(ULONG_PTR *P)
{
    memset(P, 0, 4 * sizeof *P);
    return MmBringStackIn(Low, Sp, High, P);
}
static VOID ExpectIn(VOID)
{
    for (ULONG Page = 0; Page < STACK; Page++) {
        assert_true(MiPteIsValid(Entry(Page)) && !MiPteIsInWorkingSet(Entry(Page)));
        assert_false(MiPfn(MiPtePage(Entry(Page)))->Flags & MI_PFN_PAGEABLE);
        assert_int_equal(Read(Page), Page < STACK - LIVE ? 0 : Page + 1);
    }
    assert_null(MiValidateAll());
}

static void Out_DeadPagesAreFree_LiveOnesModified(void **State)
{
    (void)State;
    ULONG64 Free = MiState->StateCount[MiPageFree] + MiState->StateCount[MiPageZeroed], Charge = MiState->Committed;
    ULONG64 Fixed = MiState->NonPageableFrames;
    assert_int_equal(MmTakeStackOut(Low, Sp, High), STACK);
    for (ULONG Page = 0; Page < STACK; Page++) {
        assert_true(Page < STACK - LIVE ? MiPteIsDemandZero(Entry(Page)) : MiPteIsTransition(Entry(Page)));
    }
    assert_int_equal(MiState->StateCount[MiPageFree] + MiState->StateCount[MiPageZeroed], Free + STACK - LIVE);
    assert_int_equal(MiState->StateCount[MiPageModified], LIVE);
    assert_int_equal(MiState->NonPageableFrames, Fixed - STACK);
    assert_int_equal(MiState->Committed, Charge);
    assert_int_equal(MiState->SystemWorkingSet.Pages, 0);
    assert_null(MiValidateAll());
    ULONG_PTR P[4];
    assert_true(BringIn(P)); /* soft */
    assert_int_equal(MiState->NonPageableFrames, Fixed);
    assert_int_equal(MiState->Pager.PageReads, 0);
    ExpectIn();
}

static void Out_ToThePageFile_AndBack(void **State)
{
    (void)State;
    ULONG_PTR P[4];
    for (ULONG Round = 0; Round < 3; Round++) {
        (void)MmTakeStackOut(Low, Sp, High);
        WriteOut();
        Purge();
        assert_true(MiPteIsPageFile(Entry(STACK - 1)));
        assert_null(MiValidateAll());
        assert_true(BringIn(P));
        ExpectIn();
        assert_int_equal(MiFreeSlotCount(), MiSlotCount()); /* what is resident has no copy */
    }
}

/* The thread is back while its pages are being written. */
static void In_WhileWritten(void **State)
{
    (void)State;
    ULONG_PTR P[4];
    (void)MmTakeStackOut(Low, Sp, High);
    assert_int_equal(MiWriteModifiedPages(~0ull), LIVE);
    assert_int_equal(HalScriptPendingIo(), 1);
    assert_true(BringIn(P));
    ExpectIn();
    while (HalScriptRunIo(100)) {
    }
    ExpectIn();
    assert_int_equal(MiFreeSlotCount(), MiSlotCount());
}

/* Others touched it meanwhile: their pages joined the working set, and leave it again. */
static void In_AfterTouches(void **State)
{
    (void)State;
    ULONG_PTR P[4];
    (void)MmTakeStackOut(Low, Sp, High);
    assert_int_equal(Read(0), 0);
    assert_int_equal(Read(STACK - 1), STACK);
    assert_int_equal(MiState->SystemWorkingSet.Pages, 2);
    assert_true(BringIn(P));
    assert_int_equal(MiState->SystemWorkingSet.Pages, 0);
    ExpectIn();
}

/* A page that somebody has locked stays where it is, and is the same one afterwards. */
static void LockedPage_KeepsItsFrame(void **State)
{
    (void)State;
    ULONG_PTR P[4];
    PFN_NUMBER Frame = MiPtePage(Entry(1)), Live = MiPtePage(Entry(STACK - 1));
    KiAcquireLock(&MiState->PfnLock);
    assert_true(MiReferenceFrameLocked(Frame) && MiReferenceFrameLocked(Live));
    KiReleaseLock(&MiState->PfnLock);
    (void)MmTakeStackOut(Low, Sp, High);
    WriteOut();
    Purge();
    assert_null(MiValidateAll());
    assert_true(BringIn(P));
    assert_int_equal(MiPtePage(Entry(1)), Frame);
    assert_int_equal(MiPtePage(Entry(STACK - 1)), Live);
    assert_int_equal(Read(1), 2); /* dead, but kept by the lock */
    ULONG64 Commit = 0;
    KiAcquireLock(&MiState->PfnLock);
    assert_true(MiDereferenceFrameLocked(Frame, &Commit) && MiDereferenceFrameLocked(Live, &Commit));
    KiReleaseLock(&MiState->PfnLock);
    assert_int_equal(Commit, 0);
    assert_null(MiValidateAll());
}

/* Bug check 0x77: "status code, I/O status code, page file number, offset into page file". */
static void In_DeviceError_TellsStatusAndPlace(void **State)
{
    (void)State;
    ULONG_PTR P[4];
    (void)MmTakeStackOut(Low, Sp, High);
    WriteOut();
    Purge();
    MI_SLOT Slot = MiSlotOfPte(Entry(STACK - 1));
    HAL_IO_FAULT Rule = {.Kind = HalIoReadError};
    assert_int_equal(HalInjectIoFault(&Rule), STATUS_SUCCESS);
    assert_false(BringIn(P));
    assert_int_equal(P[0], (ULONG)STATUS_IO_DEVICE_ERROR);
    assert_int_equal(P[1], (ULONG)STATUS_IO_DEVICE_ERROR);
    assert_int_equal(P[2], MiSlotFile(Slot));
    assert_int_equal(P[3], (ULONG64)MiSlotOffset(Slot) << PAGE_SHIFT);
    assert_null(MiValidateAll());
    (void)HalInjectIoFault(NULL); /* nothing was lost: the device may be asked again */
    assert_true(BringIn(P));
    ExpectIn();
}

static void In_ShortPageAndWrongChecksum(void **State)
{
    (void)State;
    ULONG_PTR P[4], At = (Sp - 256) & ~(ULONG_PTR)15;
    (void)MmTakeStackOut(Low, Sp, High);
    WriteOut();
    Purge();
    HAL_IO_FAULT Short = {.Kind = HalIoShortRead};
    assert_int_equal(HalInjectIoFault(&Short), STATUS_SUCCESS);
    assert_false(BringIn(P));
    assert_true(P[0] == 2 && P[1] == 0 && P[2] == 0 && P[3] == At);
    (void)HalInjectIoFault(NULL);
    MI_SLOT Slot = MiSlotOfPte(Entry(STACK - LIVE)); /* the last of the cluster to be needed */
    HAL_IO_FAULT Corrupt = {.Kind = HalIoCorrupt, .Offset = (ULONG64)MiSlotOffset(Slot) << PAGE_SHIFT, .Bytes = PAGE_SIZE};
    assert_int_equal(HalInjectIoFault(&Corrupt), STATUS_SUCCESS);
    if (!BringIn(P)) { /* whichever page the bit was in */
        assert_int_equal(P[0], (ULONG)STATUS_CRC_ERROR);
        assert_int_equal(P[1], (ULONG)STATUS_CRC_ERROR);
    }
    (void)HalInjectIoFault(NULL);
    assert_true(BringIn(P));
    ExpectIn();
}

static void In_SignatureGone(void **State)
{
    (void)State;
    ULONG_PTR P[4], At = (Sp - 256) & ~(ULONG_PTR)15;
    ULONG64 Stray = 0x99;
    (void)MmTakeStackOut(Low, Sp, High);
    assert_true(HalScriptAccess(At, 8, HAL_SCRIPT_WRITE, &Stray));
    assert_false(BringIn(P));
    assert_true(P[0] == 0 && P[1] == 0x99 && P[2] == 0 && P[3] == At);
    (void)MmTakeStackOut(Low, Sp, High);
    assert_true(HalScriptAccess(At, 8, HAL_SCRIPT_WRITE, &Stray));
    (void)MiTrimPages(Low, STACK);
    WriteOut();
    Purge();
    assert_false(BringIn(P));
    assert_true(P[0] == 1 && P[1] == 0x99 && P[2] == 0 && P[3] == At);
}

/* A stack that is used to its last byte has no room for a signature, and none is looked for. */
static void FullStack_HasNoSignature(void **State)
{
    (void)State;
    ULONG_PTR P[4] = {0};
    assert_int_equal(MmTakeStackOut(Low, Low + 64, High), STACK);
    assert_int_equal(MiState->StateCount[MiPageModified], STACK);
    assert_true(MmBringStackIn(Low, Low + 64, High, P));
    for (ULONG Page = 0; Page < STACK; Page++) {
        assert_int_equal(Read(Page), Page + 1);
    }
}

#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Out_DeadPagesAreFree_LiveOnesModified),
        TEST(Out_ToThePageFile_AndBack),
        TEST(In_WhileWritten),
        TEST(In_AfterTouches),
        TEST(LockedPage_KeepsItsFrame),
        TEST(In_DeviceError_TellsStatusAndPlace),
        TEST(In_ShortPageAndWrongChecksum),
        TEST(In_SignatureGone),
        TEST(FullStack_HasNoSignature),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
