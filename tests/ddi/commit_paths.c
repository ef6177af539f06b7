/*
 * commit_paths.c - every path that charges commitment returns it to the page, failures included; nothing that was promised fails
 * later. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <ntifs.h>
#include <stdio.h>
#include <unistd.h>
#include "ldr/ldr.h"
#include "../pe_builder.h"

static UCHAR File[PB_FILE_SIZE];
static const PHYSICAL_ADDRESS Highest = {.QuadPart = MAXLONGLONG}, None;

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm.commit.%d", (int)getpid());
    Options.pagefile_size = 64u << 20;
    Options.special_pool_sample = 0; /* what is special pool's comes and goes by its own rules */
    return ntmm_start(&Options);
}

static void Threads(void);
static void Limits(void);
/* All, or what is not the pools' where a path is not about them; stacks are what Threads is about. */
static ULONG64 Charged(void (*Path)(void))
{
    if (Path == Limits) {
        return KitCommitted();
    }
    if (Path == Threads) {
        return KitCommitted() + __atomic_load_n(&MiState->Regions[MmRegionKernelStacks].PagesInUse, __ATOMIC_SEQ_CST);
    }
    return __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
}

/* What the pools hold and page tables are made once and kept: a path runs before it is measured.
 * A path that loses commitment loses it each time; a trim of the pools that comes between two looks does so once. */
static void Measure(const char *Name, void (*Path)(void))
{
    LONG64 Lost = 1;
    for (ULONG Round = 0; Round < 3; Round++) {
        Path();
    }
    for (ULONG Try = 0; Try < 8 && Lost != 0; Try++) {
        ULONG64 Before = Charged(Path);
        for (ULONG Round = 0; Round < 3; Round++) {
            Path();
        }
        for (ULONG Turn = 0; Path == Threads && Turn < 1000000 && Charged(Path) > Before; Turn++) {
            HalYield(); /* a worker thread frees the stacks, these and those of the rounds before */
        }
        Lost = (LONG64)(Charged(Path) - Before);
        if (Path == Threads && Lost < 0) {
            Lost = 0;
        }
    }
    if (Lost != 0) {
        fail_msg("%s: %lld pages of commitment are lost", Name, (long long)Lost);
    }
    if (MiValidateAll() != NULL) {
        fail_msg("%s: %s", Name, MiValidateAll());
    }
}

static void Pages(void)
{
    static const MM_REGION Regions[] = {MmRegionNonPagedPool, MmRegionPagedPool, MmRegionSystemData, MmRegionKernelStacks};
    for (ULONG Index = 0; Index < ARRAYSIZE(Regions); Index++) {
        PUCHAR Va = MmAllocatePages(Regions[Index], 40, 0, NormalPoolPriority);
        assert_non_null(Va);
        Va[5 * PAGE_SIZE] = 1;
        assert_int_equal(MmProtectPages(Va + 4 * PAGE_SIZE, 4, PAGE_NOACCESS), STATUS_SUCCESS);
        MmFreePages(Va, 40);
    }
}

static void Reserved(void)
{
    for (ULONG Resident = 0; Resident < 2; Resident++) {
        MM_REGION Region = Resident ? MmRegionNonPagedPool : MmRegionPagedPool;
        PUCHAR Va = MmAllocatePages(Region, 100, MM_PAGES_RESERVE, NormalPoolPriority);
        assert_int_equal(MmCommitPages(Va + 10 * PAGE_SIZE, 50, 0), STATUS_SUCCESS);
        Va[20 * PAGE_SIZE] = 1;
        MmDecommitPages(Va + 15 * PAGE_SIZE, 20);
        assert_int_equal(MmCommitPages(Va + 20 * PAGE_SIZE, 5, 0), STATUS_SUCCESS);
        assert_int_equal(MmCommitPages(Va + 24 * PAGE_SIZE, 5, 0), STATUS_ALREADY_COMMITTED);
        MmFreePages(Va, 100);
    }
}

static void PagedOut(void)
{
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 64, 0, NormalPoolPriority);
    memset(Va, 0x33, 48 * PAGE_SIZE);
    MmEmptyAllWorkingSets(TRUE);
    for (ULONG Page = 0; Page < 16; Page++) {
        assert_int_equal(Va[Page * PAGE_SIZE], 0x33); /* read in: 16; in the file: 32; never touched: 16 */
    }
    MmEmptyAllWorkingSets(FALSE); /* in transition */
    MmFreePages(Va, 64);
}

static void Mdls(void)
{
    PMDL Mdl = MmAllocatePagesForMdlEx(None, Highest, None, 30 * PAGE_SIZE, MmCached, 0);
    assert_non_null(Mdl);
    assert_non_null(MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority));
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
    /* part of what is asked for: what was charged for the rest goes back */
    PHYSICAL_ADDRESS Low = {.QuadPart = 0x80000};
    Mdl = MmAllocatePagesForMdlEx(None, Low, None, 1u << 20, MmCached, 0);
    if (Mdl) {
        MmFreePagesFromMdl(Mdl);
        ExFreePool(Mdl);
    }
    assert_null(MmAllocatePagesForMdlEx(None, Low, None, 8u << 20, MmCached, MM_ALLOCATE_FULLY_REQUIRED));
}

static void Contiguous(void)
{
    PVOID Va = MmAllocateContiguousMemory(20 * PAGE_SIZE, Highest);
    assert_non_null(Va);
    MmFreeContiguousMemory(Va);
    PHYSICAL_ADDRESS Low = {.QuadPart = 0x20000};
    assert_null(MmAllocateContiguousMemory(64 * PAGE_SIZE, Low));
    Va = MmAllocateNonCachedMemory(3 * PAGE_SIZE);
    assert_non_null(Va);
    MmFreeNonCachedMemory(Va, 3 * PAGE_SIZE);
}

static void LockedWhenFreed(void)
{
    KIT_MDL Mdl;
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 8, 0, NormalPoolPriority);
    MmInitializeMdl(&Mdl.Mdl, Va, 8 * PAGE_SIZE);
    assert_int_equal(KitLock(&Mdl.Mdl, KernelMode, IoWriteAccess), STATUS_SUCCESS);
    ULONG64 Held = __atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED);
    MmFreePages(Va, 8);
    assert_int_equal(__atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED), Held); /* the frames are somebody's still */
    MmUnlockPages(&Mdl.Mdl);
    assert_int_equal(__atomic_load_n(&MiState->Committed, __ATOMIC_RELAXED), Held - 8);
}

static void Pools(void)
{
    PVOID Blocks[64];
    for (ULONG Index = 0; Index < 64; Index++) {
        Blocks[Index] =
            ExAllocatePoolWithTag(Index & 1 ? PagedPool : NonPagedPool, (SIZE_T)Index * 700 + 16 + (Index % 5) * 20000, 'tseT');
        assert_non_null(Blocks[Index]);
    }
    for (ULONG Index = 0; Index < 64; Index++) {
        ExFreePoolWithTag(Blocks[Index], 'tseT');
    }
}

static void Images(void)
{
    CHAR Error[LDR_ERROR_CHARS];
    LDR_IMAGE *Image;
    PbBuild(File, 0);
    assert_int_equal(LdrLoadImage("commit.sys", File, sizeof(File), &Image, Error, sizeof(Error)), STATUS_SUCCESS);
    LdrpDiscardInit(Image);
    (void)MmPageEntireDriver(Image->Base);
    MmEmptyAllWorkingSets(TRUE);
    MmResetDriverPaging(Image->Base);
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
}

static VOID NTAPI Thread(PVOID Context)
{
    (void)Context;
    PsTerminateSystemThread(STATUS_SUCCESS);
}
static void Threads(void)
{
    HANDLE Handle;
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Thread, NULL), STATUS_SUCCESS);
    assert_int_equal(ZwWaitForSingleObject(Handle, FALSE, NULL), STATUS_SUCCESS);
    ZwClose(Handle);
}

static void UserMemory(void)
{
    PVOID Base = NULL;
    SIZE_T Size = 40 * PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE),
                     STATUS_SUCCESS);
    memset(Base, 1, 10 * PAGE_SIZE);
    PVOID Part = (PUCHAR)Base + 4 * PAGE_SIZE;
    SIZE_T Bytes = 8 * PAGE_SIZE;
    assert_int_equal(ZwFreeVirtualMemory(NtCurrentProcess(), &Part, &Bytes, MEM_DECOMMIT), STATUS_SUCCESS);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
}

static void Sections(void)
{
    LARGE_INTEGER Size = {.QuadPart = 20 * PAGE_SIZE};
    HANDLE Section;
    PVOID View = NULL;
    SIZE_T Bytes = 0;
    assert_int_equal(ZwCreateSection(&Section, SECTION_ALL_ACCESS, NULL, &Size, PAGE_READWRITE, SEC_COMMIT, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(ZwMapViewOfSection(Section, NtCurrentProcess(), &View, 0, 0, NULL, &Bytes, ViewUnmap, 0, PAGE_READWRITE),
                     STATUS_SUCCESS);
    ((volatile UCHAR *)View)[7 * PAGE_SIZE] = 1;
    assert_int_equal(ZwUnmapViewOfSection(NtCurrentProcess(), View), STATUS_SUCCESS);
    ZwClose(Section);
}

/* What cannot be backed fails when it is asked for, leaves nothing behind, and what fits can then all be used. */
static void Limits(void)
{
    ULONG64 Most = MiState->CommitLimit;
    assert_null(MmAllocatePages(MmRegionPagedPool, Most, 0, HighPoolPriority));
    assert_null(MmAllocatePages(MmRegionNonPagedPool, (32u << 20) / PAGE_SIZE, 0, HighPoolPriority));
    PVOID Base = NULL;
    SIZE_T Size = Most << PAGE_SHIFT;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE),
                     STATUS_COMMITMENT_LIMIT);
    Base = NULL;
    Size = 4 * PAGE_SIZE;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS);
    Size = 0;
    assert_int_equal(ZwFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
    PUCHAR Va = MmAllocatePages(MmRegionPagedPool, 10000, 0, HighPoolPriority); /* more than RAM */
    assert_non_null(Va);
    for (ULONG Page = 0; Page < 10000; Page++) {
        *(volatile ULONG *)(Va + (SIZE_T)Page * PAGE_SIZE) = Page;
    }
    for (ULONG Page = 0; Page < 10000; Page += 7) {
        assert_int_equal(*(volatile ULONG *)(Va + (SIZE_T)Page * PAGE_SIZE), Page);
    }
    MmFreePages(Va, 10000);
    MiWaitForWrites(); /* pages on their way out keep their charge until then */
}

#define PATH(Name)                                                                                                             \
    static void Name##_ReturnsItsCommitment(void **State)                                                                      \
    {                                                                                                                          \
        (void)State;                                                                                                           \
        Measure(#Name, Name);                                                                                                  \
    }
PATH(Pages)
PATH(Reserved)
PATH(PagedOut)
PATH(Mdls)
PATH(Contiguous)
PATH(LockedWhenFreed)
PATH(Pools)
PATH(Images)
PATH(Threads)
PATH(UserMemory)
PATH(Sections)
PATH(Limits)

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Pages_ReturnsItsCommitment),      cmocka_unit_test(Reserved_ReturnsItsCommitment),
        cmocka_unit_test(PagedOut_ReturnsItsCommitment),   cmocka_unit_test(Mdls_ReturnsItsCommitment),
        cmocka_unit_test(Contiguous_ReturnsItsCommitment), cmocka_unit_test(LockedWhenFreed_ReturnsItsCommitment),
        cmocka_unit_test(Pools_ReturnsItsCommitment),      cmocka_unit_test(Images_ReturnsItsCommitment),
        cmocka_unit_test(Threads_ReturnsItsCommitment),    cmocka_unit_test(UserMemory_ReturnsItsCommitment),
        cmocka_unit_test(Sections_ReturnsItsCommitment),   cmocka_unit_test(Limits_ReturnsItsCommitment),
    };
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
