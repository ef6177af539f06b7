/*
 * MmTrimAllSystemPagableMemory.c - pageable memory really leaves and comes back, as a driver sees it; working-set limits; races of
 * faults with trims, with each other, with frees; systems of 16 MiB and of 16 GiB. SPDX-License-Identifier: MIT
 *
 * "Paged pool ... can be paged in and out of the system" (Memory pools page); "code at DISPATCH_LEVEL or above must not access
 * pageable memory" (Managing hardware priorities).
 */
#include "mm_kit.h"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define TAG   'tirT'
#define PAGES 32u

static uint64_t RamOfTest = 32u << 20;

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.special_pool_sample = 0; /* its pages come and go beside a test that counts */
    Options.ram = RamOfTest;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm-trim-%d.sys", (int)getpid());
    Options.pagefile_size = 32u << 20;
    return ntmm_start(&Options);
}
static int Stop(void **State)
{
    const CHAR *Broken = MiValidateAll();
    ntmm_clear_disk_faults();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    return KitStop(State) || Broken ? -1 : 0;
}

static PUCHAR Filled(ULONG Pages)
{
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_PAGED, (SIZE_T)Pages * PAGE_SIZE, TAG);
    assert_non_null(Block);
    for (SIZE_T Byte = 0; Byte < (SIZE_T)Pages * PAGE_SIZE; Byte++) {
        Block[Byte] = (UCHAR)(Byte * 7 + Byte / PAGE_SIZE);
    }
    return Block;
}
static void Check(const UCHAR *Block, ULONG Pages)
{
    for (SIZE_T Byte = 0; Byte < (SIZE_T)Pages * PAGE_SIZE; Byte++) {
        assert_int_equal(Block[Byte], (UCHAR)(Byte * 7 + Byte / PAGE_SIZE));
    }
}

static void Trim_WithoutPurge_ComesBackFromMemory(void **State)
{
    MM_COUNTERS Before, After;
    (void)State;
    PUCHAR Block = Filled(PAGES);
    assert_true(MmIsAddressValid(Block));
    MmQueryCounters(&Before);
    assert_true(MmTrimAllSystemPageableMemory(FALSE));
    assert_false(MmIsAddressValid(Block));
    assert_int_equal(MmGetPhysicalAddress(Block).QuadPart, 0);
    Check(Block, PAGES);
    MmQueryCounters(&After);
    assert_true(After.SoftFaults >= Before.SoftFaults + PAGES);
    assert_int_equal(After.PageReads, Before.PageReads);
    ExFreePoolWithTag(Block, TAG);
}

static void Trim_WithPurge_ComesBackFromThePageFile(void **State)
{
    MM_COUNTERS Before, After;
    (void)State;
    PUCHAR Block = Filled(PAGES);
    PUCHAR Nonpaged = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, TAG);
    assert_non_null(Nonpaged);
    ULONG64 Physical = (ULONG64)MmGetPhysicalAddress(Nonpaged).QuadPart;
    Nonpaged[0] = 5;
    MmQueryCounters(&Before);
    MmTrimAllSystemPagableMemory(TRUE);
    MmQueryCounters(&After);
    assert_int_equal(After.StandbyPages, 0);
    assert_true(After.PagesWritten >= Before.PagesWritten + PAGES);
    assert_int_equal(MmGetPhysicalAddress(Nonpaged).QuadPart, Physical); /* nonpaged memory never moves */
    assert_true(MmIsAddressValid(Nonpaged));
    assert_int_equal(Nonpaged[0], 5);
    Check(Block, PAGES);
    MmQueryCounters(&After);
    assert_true(After.PagesRead >= Before.PagesRead + PAGES);
    assert_true(After.HardFaults > Before.HardFaults);
    ExFreePoolWithTag(Block, TAG);
    ExFreePoolWithTag(Nonpaged, TAG);
}

/* The user's worst bug: it works until the page happens to be out. */
static void Trim_ThenTouchAtDispatch_Is0xD1(void **State)
{
    (void)State;
    PUCHAR Block = Filled(1);
    (void)MmTrimAllSystemPageableMemory(FALSE);
    KitExpectAccessStop(Block, DISPATCH_LEVEL, 'r', 0xD1, Block, DISPATCH_LEVEL, 0, KitLoad);
    (void)MmTrimAllSystemPageableMemory(TRUE);
    KitExpectAccessStop(Block, DISPATCH_LEVEL, 'w', 0xD1, Block, DISPATCH_LEVEL, 1, KitStore);
    Check(Block, 1);
    ExFreePoolWithTag(Block, TAG);
}

static void Trim_AboveApcLevel_IsRefused(void **State)
{
    KIRQL Old;
    (void)State;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    BOOLEAN Trimmed = MmTrimAllSystemPageableMemory(FALSE);
    NTSTATUS Status = MmAdjustWorkingSetSize((SIZE_T)-1, (SIZE_T)-1, 1, FALSE);
    KeLowerIrql(Old);
    assert_false(Trimmed);
    assert_int_equal(Status, STATUS_INVALID_LEVEL);
}

/* "MmProbeAndLockPages: pages remain resident until unlocked." */
static void Locked_PagesStayThroughTrims(void **State)
{
    KIT_MDL Mdl;
    PMDL M = (PMDL)&Mdl;
    (void)State;
    PUCHAR Block = Filled(4);
    MmTrimAllSystemPagableMemory(TRUE);
    MmInitializeMdl(M, Block, 4 * PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoWriteAccess);
    PUCHAR Second = MmGetSystemAddressForMdlSafe(M, NormalPagePriority);
    assert_non_null(Second);
    PFN_NUMBER Frame = MmGetMdlPfnArray(M)[2];
    MmTrimAllSystemPagableMemory(TRUE);
    Check(Second, 4); /* no fault: at any IRQL */
    Second[2 * PAGE_SIZE] = 0xEE;
    assert_int_equal(Block[2 * PAGE_SIZE], 0xEE);
    assert_int_equal(MmGetPhysicalAddress(Block + 2 * PAGE_SIZE).QuadPart >> PAGE_SHIFT, Frame);
    MmUnlockPages(M);
    MmTrimAllSystemPagableMemory(TRUE);
    assert_int_equal(Block[2 * PAGE_SIZE], 0xEE); /* what came through the second mapping was written out */
    ExFreePoolWithTag(Block, TAG);
}

static void Limits_MaximumOfTheSystem(void **State)
{
    (void)State;
    PUCHAR Block = Filled(PAGES);
    assert_int_equal(MmAdjustWorkingSetSize(64 * PAGE_SIZE, 32 * PAGE_SIZE, 1, TRUE), STATUS_BAD_WORKING_SET_LIMIT);
    assert_int_equal(MmAdjustWorkingSetSize(4 * PAGE_SIZE, 1024 * PAGE_SIZE, 1, TRUE), STATUS_SUCCESS);
    assert_int_equal(MmAdjustWorkingSetSize(0, 2048 * PAGE_SIZE, 1, FALSE), STATUS_PRIVILEGE_NOT_HELD);
    assert_int_equal(MmAdjustWorkingSetSize((SIZE_T)-1, (SIZE_T)-1, 1, FALSE), STATUS_SUCCESS);
    assert_false(MmIsAddressValid(Block));
    Check(Block, PAGES);
    ExFreePoolWithTag(Block, TAG);
}

/* ---- races ---- */
typedef struct _RACE {
    volatile ULONG64 *Word;
    volatile LONG *Go;
    ULONG64 Seen, Count;
} RACE;
static void *ReadOne(void *Argument)
{
    RACE *Race = Argument;
    while (!__atomic_load_n(Race->Go, __ATOMIC_ACQUIRE)) {
    }
    Race->Seen = *Race->Word;
    return NULL;
}
/* Collided faults: however many want a page, it is read once, and all see it. */
static void TwoFaults_OnePage_OneRead(void **State)
{
    MM_COUNTERS Before, After;
    volatile LONG Go = 0;
    pthread_t Thread[3];
    RACE Races[3];
    (void)State;
    ULONG64 *Block = (ULONG64 *)Filled(1);
    Block[0] = 0x1234567890ull;
    MmTrimAllSystemPagableMemory(TRUE);
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_DELAY, -1, 0, 1, 100000000), 0);
    MmQueryCounters(&Before);
    for (ULONG Index = 0; Index < 3; Index++) {
        Races[Index] = (RACE){.Word = Block, .Go = &Go};
        assert_int_equal(pthread_create(&Thread[Index], NULL, ReadOne, &Races[Index]), 0);
    }
    __atomic_store_n(&Go, 1, __ATOMIC_RELEASE);
    for (ULONG Index = 0; Index < 3; Index++) {
        pthread_join(Thread[Index], NULL);
        assert_int_equal(Races[Index].Seen, 0x1234567890ull);
    }
    MmQueryCounters(&After);
    assert_int_equal(After.PageReads, Before.PageReads + 1);
    ExFreePoolWithTag(Block, TAG);
}

static void *Add(void *Argument)
{
    RACE *Race = Argument;
    while (!__atomic_load_n(Race->Go, __ATOMIC_ACQUIRE)) {
        for (ULONG Page = 0; Page < 8; Page++) {
            Race->Word[Page * (PAGE_SIZE / 8)]++;
        }
        Race->Count++;
    }
    return NULL;
}
/* No write is lost between the TB, the Dirty bit and the lists: each thread adds in words of its own while pages are taken away. */
static void Faults_AgainstTrims_NoWriteIsLost(void **State)
{
    volatile LONG Done = 0;
    pthread_t Thread[2];
    RACE Races[2];
    (void)State;
    ULONG64 *Block = ExAllocatePool2(POOL_FLAG_PAGED, 8 * PAGE_SIZE, TAG);
    assert_non_null(Block);
    for (ULONG Index = 0; Index < 2; Index++) {
        Races[Index] = (RACE){.Word = Block + Index, .Go = &Done};
        assert_int_equal(pthread_create(&Thread[Index], NULL, Add, &Races[Index]), 0);
    }
    for (ULONG Trim = 0; Trim < 60; Trim++) {
        (void)MmTrimAllSystemPageableMemory(Trim % 4 == 0);
    }
    __atomic_store_n(&Done, 1, __ATOMIC_RELEASE);
    for (ULONG Index = 0; Index < 2; Index++) {
        pthread_join(Thread[Index], NULL);
        for (ULONG Page = 0; Page < 8; Page++) {
            assert_int_equal(Block[Index + Page * (PAGE_SIZE / 8)], Races[Index].Count);
        }
    }
    ExFreePoolWithTag(Block, TAG);
}

/* Memory that is freed while the writer has it: the device's delay makes sure that it has. */
static void Free_DuringWrite_NothingIsLost(void **State)
{
    MM_COUNTERS Before, After;
    (void)State;
    MmTrimAllSystemPagableMemory(TRUE);
    PUCHAR Block = MmAllocatePages(MmRegionPagedPool, PAGES, 0, NormalPoolPriority);
    assert_non_null(Block);
    MmFreePages(Block, PAGES); /* its page table stays */
    ULONG64 Committed = KitCommitted();
    MmQueryCounters(&Before);
    Block = MmAllocatePages(MmRegionPagedPool, PAGES, 0, NormalPoolPriority);
    assert_non_null(Block);
    memset(Block, 3, PAGES * PAGE_SIZE);
    (void)MmTrimAllSystemPageableMemory(FALSE);
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_DELAY, -1, 0, 1, 50000000), 0);
    assert_true(MiWriteModifiedPages(~0ull) >= PAGES);
    MmFreePages(Block, PAGES);
    assert_null(MiValidateAll());
    MiWaitForWrites();
    MmQueryCounters(&After);
    assert_int_equal(KitCommitted(), Committed);
    assert_int_equal(After.TransitionPages, Before.TransitionPages);
}

/* ---- sizes ---- */
static void Small_16MiB_PagesTwiceItsSize(void **State)
{
    (void)State;
    PUCHAR Block[24];
    for (ULONG Index = 0; Index < 24; Index++) {
        Block[Index] = Filled(256);
    }
    for (ULONG Index = 0; Index < 24; Index++) {
        Check(Block[Index], 256);
        ExFreePoolWithTag(Block[Index], TAG);
    }
}
static void Large_16GiB_PagesOutAndIn(void **State)
{
    (void)State;
    MM_COUNTERS Counters;
    MmQueryCounters(&Counters);
    assert_true(Counters.TotalPages >= 16ull << 18);
    PUCHAR Block = Filled(PAGES);
    MmTrimAllSystemPagableMemory(TRUE);
    Check(Block, PAGES);
    ExFreePoolWithTag(Block, TAG);
}
static int StartSmall(void **State)
{
    RamOfTest = 16u << 20;
    return Start(State);
}
static int StartLarge(void **State)
{
    RamOfTest = 16ull << 30;
    return Start(State);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Trim_WithoutPurge_ComesBackFromMemory),
        cmocka_unit_test(Trim_WithPurge_ComesBackFromThePageFile),
        cmocka_unit_test(Trim_ThenTouchAtDispatch_Is0xD1),
        cmocka_unit_test(Trim_AboveApcLevel_IsRefused),
        cmocka_unit_test(Locked_PagesStayThroughTrims),
        cmocka_unit_test(Limits_MaximumOfTheSystem),
        cmocka_unit_test(TwoFaults_OnePage_OneRead),
        cmocka_unit_test(Faults_AgainstTrims_NoWriteIsLost),
        cmocka_unit_test(Free_DuringWrite_NothingIsLost),
    };
    const struct CMUnitTest Small[] = {cmocka_unit_test(Small_16MiB_PagesTwiceItsSize)};
    const struct CMUnitTest Large[] = {cmocka_unit_test(Large_16GiB_PagesOutAndIn)};
    int Failed = cmocka_run_group_tests_name("trimming", Tests, Start, Stop);
    Failed += cmocka_run_group_tests_name("a small system", Small, StartSmall, Stop);
    /* ThreadSanitizer's shadow of the window of so large a machine is more than a small host has. */
    return Failed + (NTMM_SANITIZED ? 0 : cmocka_run_group_tests_name("a large system", Large, StartLarge, Stop));
}
