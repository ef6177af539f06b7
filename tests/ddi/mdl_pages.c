/*
 * mdl_pages.c - MmAllocatePagesForMdlEx when memory is short: a test for each documented sentence about its flags.
 * SPDX-License-Identifier: MIT
 *
 * The machine: 32 MiB of RAM, with or without a page file, and paged pool that fills most of it.
 */
#include <stdio.h>
#include <unistd.h>
#include "mm_kit.h"

#define ANYWHERE At(0), At(~0ull), At(0)
#define CHUNK    (256u << 10)
#define CHUNKS   8u /* 512 pages: more than the system leaves to itself */

static PUCHAR Paged;
static SIZE_T PagedPages;

static PHYSICAL_ADDRESS At(ULONG64 Physical)
{
    PHYSICAL_ADDRESS Address;
    Address.QuadPart = (LONGLONG)Physical;
    return Address;
}

static int StartWith(bool PageFile)
{
    ntmm_options Options;
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    if (PageFile) {
        snprintf(Options.pagefile, sizeof(Options.pagefile), "/tmp/ntmm_mdl_pages_%d", (int)getpid());
        Options.pagefile_size = 64u << 20;
    }
    return ntmm_start(&Options);
}
static int StartPaging(void **State)
{
    (void)State;
    return StartWith(true);
}
static int StartStill(void **State) /* nothing leaves memory by itself */
{
    (void)State;
    return StartWith(false);
}

static ULONG64 Available(void)
{
    MM_COUNTERS Counters;
    MmQueryCounters(&Counters);
    return Counters.AvailablePages;
}

/* Resident paged pool until so many pages are left; each is dirty. */
static void FillUntil(ULONG64 Left)
{
    PagedPages = (SIZE_T)(Available() - Left);
    Paged = MmAllocatePages(MmRegionPagedPool, PagedPages, 0, NormalPoolPriority);
    assert_non_null(Paged);
    for (SIZE_T Page = 0; Page < PagedPages; Page++) {
        *(volatile ULONG64 *)(Paged + Page * PAGE_SIZE) = Page;
    }
}
static void CheckAndFree(void)
{
    for (SIZE_T Page = 0; Page < PagedPages; Page++) {
        assert_int_equal(*(volatile ULONG64 *)(Paged + Page * PAGE_SIZE), Page);
    }
    MmFreePages(Paged, PagedPages);
    assert_null(MiValidateAll());
}
static PMDL Allocate(SIZE_T Bytes, ULONG Flags)
{
    return MmAllocatePagesForMdlEx(ANYWHERE, Bytes, MmCached, Flags);
}
static void Free(PMDL Mdl)
{
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
}

/* MM_ALLOCATE_TRIM_IF_NECESSARY: working sets are trimmed to satisfy the request. Without it, with MM_ALLOCATE_NO_WAIT ("must not
 * block the calling thread"), or at DISPATCH_LEVEL ("never blocks callers at DISPATCH_LEVEL") they are not. */
static void TrimIfNecessary_TakesFromWorkingSets(void **State)
{
    MM_COUNTERS Before, After;
    KIRQL Old;
    (void)State;
    FillUntil(1200);
    MmQueryCounters(&Before);
    /* far more than the system makes available by itself meanwhile */
    SIZE_T More = (SIZE_T)(Available() + 4000) << PAGE_SHIFT;
    assert_null(Allocate(More, MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_NO_WAIT | MM_ALLOCATE_TRIM_IF_NECESSARY));
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    PMDL Mdl = Allocate(More, MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_TRIM_IF_NECESSARY);
    KeLowerIrql(Old);
    assert_null(Mdl);
    Mdl = Allocate(More, MM_ALLOCATE_FULLY_REQUIRED | MM_ALLOCATE_TRIM_IF_NECESSARY);
    assert_non_null(Mdl);
    assert_int_equal(MmGetMdlByteCount(Mdl), More);
    MmQueryCounters(&After);
    assert_true(After.TrimmedPages - Before.TrimmedPages >= 700);
    assert_null(MiValidateAll());
    Free(Mdl);
    CheckAndFree();
}

/* "Fewer pages than requested" is an answer of a caller that may not wait. */
static void NoWait_GivesWhatThereIs(void **State)
{
    (void)State;
    FillUntil(1200);
    ULONG64 There = Available();
    PMDL Mdl = Allocate((SIZE_T)(There + 2000) << PAGE_SHIFT, MM_ALLOCATE_NO_WAIT);
    assert_non_null(Mdl);
    assert_true(MmGetMdlByteCount(Mdl) >> PAGE_SHIFT <= There);
    Free(Mdl);
    CheckAndFree();
}

/* MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS moves pages that can be moved out of the way; with MM_ALLOCATE_FAST_LARGE_PAGES a chunk is had
 * as it stands or not at all. */
static void FastLargePages_TakesWhatStandsFree(void **State)
{
    const ULONG Chunks = MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS | MM_ALLOCATE_FULLY_REQUIRED;
    ULONG64 Moved = MiState->MovedPages;
    PVOID *Holes = malloc(8192 * sizeof(PVOID));
    ULONG Count = 0;
    (void)State;
    /* single pages everywhere, every second of which goes again */
    for (; Count < 8192 && Available() > 900; Count++) {
        Holes[Count] = MmAllocatePages(MmRegionPagedPool, 1, 0, NormalPoolPriority);
        assert_non_null(Holes[Count]);
        *(volatile UCHAR *)Holes[Count] = (UCHAR)Count;
    }
    PMDL Rest = Allocate(32u << 20, MM_ALLOCATE_NO_WAIT | MM_DONT_ZERO_ALLOCATION);
    assert_non_null(Rest);
    assert_true(Available() < CHUNKS * CHUNK / PAGE_SIZE); /* so many chunks are left nowhere */
    for (ULONG Index = 1; Index < Count; Index += 2) {
        MmFreePages(Holes[Index], 1);
    }
    assert_null(
        MmAllocatePagesForMdlEx(At(0), At(~0ull), At(CHUNK), CHUNKS * CHUNK, MmCached, Chunks | MM_ALLOCATE_FAST_LARGE_PAGES));
    assert_int_equal(MiState->MovedPages, Moved);
    assert_null(Allocate(CHUNK, MM_ALLOCATE_FAST_LARGE_PAGES)); /* "only with MM_ALLOCATE_REQUIRE_CONTIGUOUS_CHUNKS" */
    assert_null(MmAllocatePagesForMdlEx(At(0), At(~0ull), At(CHUNK), CHUNKS * CHUNK, MmCached, Chunks | MM_ALLOCATE_NO_WAIT));
    PMDL Mdl = MmAllocatePagesForMdlEx(At(0), At(~0ull), At(CHUNK), CHUNKS * CHUNK, MmCached, Chunks);
    assert_non_null(Mdl);
    assert_true(MiState->MovedPages > Moved);
    const PFN_NUMBER *Frames = MmGetMdlPfnArray(Mdl);
    for (ULONG Page = 0; Page < CHUNKS * CHUNK / PAGE_SIZE; Page++) {
        ULONG In = Page % (CHUNK / PAGE_SIZE);
        assert_int_equal(Frames[Page], Frames[Page - In] + In);
        assert_int_equal(Frames[Page - In] % (CHUNK / PAGE_SIZE), 0);
    }
    PUCHAR Va = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority);
    for (ULONG Byte = 0; Byte < CHUNKS * CHUNK; Byte += 512) {
        assert_int_equal(Va[Byte], 0); /* moved pages left nothing behind */
    }
    Free(Mdl);
    Free(Rest);
    for (ULONG Index = 0; Index < Count; Index += 2) {
        assert_int_equal(*(volatile UCHAR *)Holes[Index], (UCHAR)Index);
        MmFreePages(Holes[Index], 1);
    }
    free(Holes);
    assert_null(MiValidateAll());
}

static ULONG64 RamInRanges(void)
{
    PPHYSICAL_MEMORY_RANGE Ranges = MmGetPhysicalMemoryRanges();
    ULONG64 Bytes = 0;
    assert_non_null(Ranges);
    for (ULONG Index = 0; Ranges[Index].NumberOfBytes.QuadPart; Index++) {
        Bytes += (ULONG64)Ranges[Index].NumberOfBytes.QuadPart;
    }
    ExFreePool(Ranges);
    return Bytes;
}

/* MM_ALLOCATE_AND_HOT_REMOVE: "the pages are removed", at PASSIVE_LEVEL only, not with MM_ALLOCATE_FULLY_REQUIRED; freeing brings them back. */
static void AndHotRemove_PagesAreNoRam(void **State)
{
    ULONG64 Ram = RamInRanges();
    KIRQL Old;
    (void)State;
    assert_null(Allocate(CHUNK, MM_ALLOCATE_AND_HOT_REMOVE | MM_ALLOCATE_FULLY_REQUIRED));
    KeRaiseIrql(APC_LEVEL, &Old);
    assert_null(Allocate(CHUNK, MM_ALLOCATE_AND_HOT_REMOVE));
    KeLowerIrql(Old);
    MiState->ScatterSeed = 7; /* pages here and there: a range for each */
    PMDL Mdl = Allocate(CHUNK, MM_ALLOCATE_AND_HOT_REMOVE);
    MiState->ScatterSeed = 0;
    assert_non_null(Mdl);
    assert_int_equal(RamInRanges(), Ram - CHUNK);
    assert_null(MiValidateAll());
    PHYSICAL_ADDRESS First = At((ULONG64)MmGetMdlPfnArray(Mdl)[0] << PAGE_SHIFT);
    LARGE_INTEGER Page = {.QuadPart = PAGE_SIZE};
    assert_int_equal(MmRemovePhysicalMemory(&First, &Page), STATUS_INVALID_ADDRESS); /* it is gone already */
    Free(Mdl);
    assert_int_equal(RamInRanges(), Ram);
    assert_null(MiValidateAll());
}

int main(void)
{
    const struct CMUnitTest Paging[] = {
        cmocka_unit_test(TrimIfNecessary_TakesFromWorkingSets),
    };
    const struct CMUnitTest Still[] = {
        cmocka_unit_test(NoWait_GivesWhatThereIs),
        cmocka_unit_test(FastLargePages_TakesWhatStandsFree),
        cmocka_unit_test(AndHotRemove_PagesAreNoRam),
    };
    return cmocka_run_group_tests(Paging, StartPaging, KitStop) + cmocka_run_group_tests(Still, StartStill, KitStop);
}
