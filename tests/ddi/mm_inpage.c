/*
 * mm_inpage.c - what a driver sees when the device of a page file fails: reads, writes, lateness, lost and wrong data.
 * SPDX-License-Identifier: MIT
 *
 * Pages: Bug Check 0x7A KERNEL_DATA_INPAGE_ERROR, Bug Check 0x1A MEMORY_MANAGEMENT (0x3F), EXCEPTION_RECORD (EXCEPTION_IN_PAGE_ERROR),
 * MmProbeAndLockPages.
 */
#include "mm_kit.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGES 48u
static char Path[64];

static int Start(int Check)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    snprintf(Path, sizeof Path, "/tmp/ntmm-inpage-%d", (int)getpid());
    snprintf(Options.pagefile, sizeof Options.pagefile, "%s:16M", Path);
    Options.pagefile_check = Check != 0;
    if (ntmm_start(&Options) != 0) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    return 0;
}
static int SetupChecked(void **State)
{
    (void)State;
    return Start(1);
}
static int SetupPlain(void **State)
{
    (void)State;
    return Start(0);
}
static int Teardown(void **State)
{
    (void)State;
    ntmm_clear_disk_faults();
    const CHAR *Broken = MiValidateAll();
    if (Broken) {
        print_error("%s\n", Broken);
    }
    return ntmm_stop() | (Broken ? -1 : 0);
}
#define CHECKED(Test) cmocka_unit_test_setup_teardown(Test, SetupChecked, Teardown)
#define PLAIN(Test)   cmocka_unit_test_setup_teardown(Test, SetupPlain, Teardown)

static ULONG64 Word(const volatile VOID *Va, ULONG Index)
{
    return ((ULONG_PTR)Va + Index) * 0x9E3779B97F4A7C15ull;
}
static void Fill(volatile UCHAR *Va)
{
    for (ULONG Page = 0; Page < PAGES; Page++) {
        for (ULONG i = 0; i < 512; i++) {
            ((volatile ULONG64 *)(Va + Page * PAGE_SIZE))[i] = Word(Va + Page * PAGE_SIZE, i);
        }
    }
}
static void Check(const volatile UCHAR *Va)
{
    for (ULONG Page = 0; Page < PAGES; Page++) {
        for (ULONG i = 0; i < 512; i++) {
            assert_int_equal(((const volatile ULONG64 *)(Va + Page * PAGE_SIZE))[i], Word(Va + Page * PAGE_SIZE, i));
        }
    }
}
static PUCHAR Paged(void)
{
    PUCHAR Va = ExAllocatePool2(POOL_FLAG_PAGED, PAGES * PAGE_SIZE, 'gpnI');
    assert_non_null(Va);
    Fill(Va);
    return Va;
}
static void Out(void)
{
    MmEmptyAllWorkingSets(TRUE);
}
static void Inject(ntmm_disk_fault Kind, ULONG64 Count, ULONG64 Value)
{
    assert_int_equal(ntmm_inject_disk_fault(Kind, -1, 0, Count, Value), 0);
}
static void Load(void *Va)
{
    (void)KitLoad(Va);
}

/* "0x7A: 1 the address of the PTE, 2 the error status, 3 the PTE contents, 4 the faulting address." */
static void KernelData_ReadError_Stops7A(void **State)
{
    (void)State;
    PUCHAR Va = Paged();
    Out();
    PMMPTE Pte = MiPteOf((ULONG_PTR)Va + 5 * PAGE_SIZE);
    MMPTE Entry = MiReadPte(Pte);
    assert_true(MiPteIsPageFile(Entry));
    Inject(NTMM_DISK_READ_ERROR, 0, 0);
    KitExpectStop(Load, Va + 5 * PAGE_SIZE, KERNEL_DATA_INPAGE_ERROR, Pte, (ULONG)STATUS_IO_DEVICE_ERROR, Entry.Long,
                  Va + 5 * PAGE_SIZE);
    ntmm_clear_disk_faults();
    Check(Va); /* the page is where it was */
    ExFreePool(Va);
}
static void KernelData_ShortRead_Stops7A(void **State)
{
    (void)State;
    PUCHAR Va = Paged();
    Out();
    PMMPTE Pte = MiPteOf((ULONG_PTR)Va);
    MMPTE Entry = MiReadPte(Pte);
    Inject(NTMM_DISK_SHORT_READ, 0, 0);
    /* of a cluster the first half comes, so a page in it is good; alone it never comes */
    ULONG Stopped = 0;
    for (ULONG Page = 0; Page < PAGES; Page++) {
        ntmm_bugcheck Stop;
        if (ntmm_catch(Load, Va + Page * PAGE_SIZE, &Stop)) {
            assert_int_equal(Stop.code, KERNEL_DATA_INPAGE_ERROR);
            assert_int_equal(Stop.parameters[1], (ULONG)STATUS_END_OF_FILE);
            assert_int_equal(Stop.parameters[3], (ULONG_PTR)Va + Page * PAGE_SIZE);
            Stopped++;
        }
    }
    assert_true(Stopped > 0);
    (void)Entry;
    ntmm_clear_disk_faults();
    Check(Va);
    ExFreePool(Va);
}

/* A bad neighbour costs nobody anything: the page that is wanted is asked for again alone. */
static void KernelData_ClusterFailsOnce_PageComes(void **State)
{
    ntmm_page_file File;
    (void)State;
    PUCHAR Va = Paged();
    Out();
    Inject(NTMM_DISK_READ_ERROR, 1, 0);
    assert_int_equal(*(volatile ULONG64 *)(void *)(Va + 9 * PAGE_SIZE), Word(Va + 9 * PAGE_SIZE, 0));
    assert_true(ntmm_query_page_file(0, &File));
    assert_int_equal(File.read_errors, 1);
    assert_int_equal(File.retries, 1);
    Check(Va);
    ExFreePool(Va);
}

/* "0x1A/0x3F: an inpage operation failed with a CRC error: 2 the page file offset, 3 the page CRC value, 4 the expected." */
static void KernelData_Corrupted_Stops1A3F(void **State)
{
    ntmm_bugcheck Stop;
    (void)State;
    PUCHAR Va = Paged();
    Out();
    MMPTE Entry = MiReadPte(MiPteOf((ULONG_PTR)Va));
    ULONG Offset = MiPteFileOffset(Entry);
    ULONG Expected = MiState->Paging.Files[0].Chunks[Offset / MI_CHUNK_SLOTS].Checks[Offset % MI_CHUNK_SLOTS];
    Inject(NTMM_DISK_CORRUPT_READ, 0, 0); /* page 0 of every read */
    assert_true(ntmm_catch(Load, Va, &Stop));
    assert_int_equal(Stop.code, MEMORY_MANAGEMENT);
    assert_int_equal(Stop.parameters[0], 0x3F);
    assert_int_equal(Stop.parameters[1], Offset);
    assert_int_not_equal(Stop.parameters[2], Expected);
    assert_int_equal(Stop.parameters[3], Expected);
    ntmm_clear_disk_faults();
    Check(Va);
    ExFreePool(Va);
}

/* The device says that it wrote a cluster, and wrote half of it. */
static void KernelData_TornCluster_NoWrongByteIsSeen(void **State)
{
    ULONG Stopped = 0;
    (void)State;
    PUCHAR Va = Paged();
    Inject(NTMM_DISK_TORN_WRITE, 1, 0);
    Out();
    assert_int_equal(ntmm_disk_fault_hits(), 1);
    for (ULONG Page = 0; Page < PAGES; Page++) {
        ntmm_bugcheck Stop;
        if (ntmm_catch(Load, Va + Page * PAGE_SIZE, &Stop)) {
            assert_int_equal(Stop.code, MEMORY_MANAGEMENT);
            assert_int_equal(Stop.parameters[0], 0x3F);
            Stopped++;
        } else {
            assert_int_equal(*(volatile ULONG64 *)(void *)(Va + Page * PAGE_SIZE), Word(Va + Page * PAGE_SIZE, 0));
        }
    }
    assert_true(Stopped >= 1 && Stopped <= MI_IO_PAGES / 2);
    ExFreePool(Va);
}

/* EXCEPTION_IN_PAGE_ERROR: "the first element read (0) or write (1), the second the address, the third the status." */
static ULONG_PTR Information[3];
static LONG Filter(PEXCEPTION_POINTERS Pointers)
{
    if (Pointers->ExceptionRecord->ExceptionCode != STATUS_IN_PAGE_ERROR || Pointers->ExceptionRecord->NumberParameters != 3) {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    memcpy(Information, Pointers->ExceptionRecord->ExceptionInformation, sizeof Information);
    return EXCEPTION_EXECUTE_HANDLER;
}
static NTSTATUS TryLoad(const volatile UCHAR *Va)
{
    NTSTATUS Status = STATUS_SUCCESS;
    __try {
        (void)KitLoad(Va);
    } __except (Filter(GetExceptionInformation())) {
        Status = GetExceptionCode();
    }
    return Status;
}
static void UserMemory_ReadError_RaisesInPageError(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocateUserPages(PAGES, PAGE_READWRITE);
    assert_non_null(Va);
    Fill(Va);
    Out();
    Inject(NTMM_DISK_READ_ERROR, 0, 0);
    assert_int_equal(TryLoad(Va + 7 * PAGE_SIZE), STATUS_IN_PAGE_ERROR);
    assert_int_equal(Information[0], EXCEPTION_READ_FAULT);
    assert_int_equal(Information[1], Va + 7 * PAGE_SIZE);
    assert_int_equal(Information[2], (ULONG)STATUS_IO_DEVICE_ERROR);
    ntmm_clear_disk_faults();
    Inject(NTMM_DISK_CORRUPT_READ, 0, 0);
    assert_int_equal(TryLoad(Va), STATUS_IN_PAGE_ERROR);
    assert_int_equal(Information[2], (ULONG)STATUS_CRC_ERROR);
    ntmm_clear_disk_faults();
    Check(Va);
    MmFreeUserPages(Va, PAGES);
}

/* "If the pages cannot be locked it raises": and nothing is locked then. */
static void ProbeAndLock_ReadError_RaisesAndLocksNothing(void **State)
{
    NTSTATUS Status = STATUS_SUCCESS;
    (void)State;
    PUCHAR Va = Paged();
    PMDL Mdl = IoAllocateMdl(Va, PAGES * PAGE_SIZE, FALSE, FALSE, NULL);
    Out();
    Inject(NTMM_DISK_READ_ERROR, 0, 0);
    __try {
        MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    assert_int_equal(Status, STATUS_IN_PAGE_ERROR);
    assert_false(Mdl->MdlFlags & MDL_PAGES_LOCKED);
    ntmm_clear_disk_faults();
    MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    assert_true(Mdl->MdlFlags & MDL_PAGES_LOCKED);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    Check(Va);
    ExFreePool(Va);
}

/* A page that cannot be written stays; it is counted, and written when the device takes it. */
static void Write_FailsForAWhile_NothingIsLost(void **State)
{
    ntmm_page_file File;
    static const ntmm_disk_fault Kinds[] = {NTMM_DISK_WRITE_ERROR, NTMM_DISK_NO_SPACE};
    (void)State;
    for (ULONG i = 0; i < ARRAYSIZE(Kinds); i++) {
        PUCHAR Va = Paged();
        ULONG64 Hard = MiState->HardFaults;
        Inject(Kinds[i], 0, 0);
        Out();
        assert_true(ntmm_query_page_file(0, &File));
        assert_true(File.write_errors > i);
        assert_true(MiState->StateCount[MiPageModified] >= PAGES);
        Check(Va); /* soft faults: nothing came from the device */
        assert_int_equal(MiState->HardFaults, Hard);
        ntmm_clear_disk_faults();
        for (ULONG Try = 0; Try < 100 && !MiPteIsPageFile(MiReadPte(MiPteOf((ULONG_PTR)Va))); Try++) {
            Out();
        }
        assert_true(MiPteIsPageFile(MiReadPte(MiPteOf((ULONG_PTR)Va))));
        Check(Va);
        ExFreePool(Va);
    }
}

/* A device that takes long holds up who waits for it, and nobody else; what comes is right. */
static void Read_Late_ComesRight(void **State)
{
    (void)State;
    PUCHAR Va = Paged();
    Out();
    ULONG64 Before = HalQueryTime();
    Inject(NTMM_DISK_DELAY, 1, 100000000);
    assert_int_equal(*(volatile ULONG64 *)(void *)Va, Word(Va, 0));
    assert_true(HalQueryTime() - Before >= 100000000);
    Check(Va);
    ExFreePool(Va);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        PLAIN(KernelData_ReadError_Stops7A),
        PLAIN(KernelData_ShortRead_Stops7A),
        CHECKED(KernelData_ClusterFailsOnce_PageComes),
        CHECKED(KernelData_Corrupted_Stops1A3F),
        CHECKED(KernelData_TornCluster_NoWrongByteIsSeen),
        CHECKED(UserMemory_ReadError_RaisesInPageError),
        CHECKED(ProbeAndLock_ReadError_RaisesAndLocksNothing),
        CHECKED(Write_FailsForAWhile_NothingIsLost),
        PLAIN(Read_Late_ComesRight),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
