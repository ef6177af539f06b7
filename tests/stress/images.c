/*
 * images.c - four threads load, run and unload images at once, while a fifth looks addresses up; then the limit on
 * images, and RAM too small for one. SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ldr/ldr.h"
#include "mm/mm.h"
#include "ntmm.h"
#include "pe_builder.h"

#define THREADS 4
#define ROUNDS  60

static volatile int Done;

static BOOLEAN Count(LDR_IMAGE *Image, PVOID Context)
{
    (void)Image;
    ++*(ULONG *)Context;
    return TRUE;
}

/* Loads its own image and runs it; the return value that the image was built with says whose code ran. */
static void *LoadAndRun(void *Argument)
{
    UCHAR *File = malloc(PB_FILE_SIZE);
    ULONG Mine = (ULONG)(uintptr_t)Argument;
    uintptr_t Wrong = 0;
    for (ULONG Round = 0; Round < ROUNDS; Round++) {
        LDR_IMAGE *Image;
        CHAR Error[LDR_ERROR_CHARS], Name[32];
        ULONG Value = Mine * 1000 + Round;
        snprintf(Name, sizeof(Name), "stress%u.sys", Mine);
        PbBuild(File, Value);
        if (LdrLoadImage(Name, File, PB_FILE_SIZE, &Image, Error, sizeof(Error)) != STATUS_SUCCESS) {
            Wrong++;
            continue;
        }
        ULONG (*Entry)(VOID) = (PVOID)(Image->Base + Image->Pe.EntryPoint);
        for (ULONG Call = 0; Call < 20; Call++) {
            Wrong += KI_CALLOUT(ULONG, Entry, (VOID), ()) != Value;
        }
        Wrong += LdrpFindImage((ULONG_PTR)Entry) != Image;
        LdrpDiscardInit(Image);
        Wrong += LdrUnloadImage(Image) != STATUS_SUCCESS;
    }
    free(File);
    return (void *)Wrong;
}

static void *LookUp(void *Argument)
{
    MM_REGION_INFO Info;
    uintptr_t Looked = 0;
    (void)Argument;
    MmQueryRegion(MmRegionDriverImages, &Info);
    while (!__atomic_load_n(&Done, __ATOMIC_ACQUIRE)) {
        for (ULONG_PTR Address = Info.Base; Address < Info.Base + (1u << 20); Address += 0x1000) {
            Looked += LdrpFindImage(Address) != NULL;
        }
        HalYield();
    }
    return (void *)(Looked & 0);
}

static void LoadersAtOnce_EachRunsItsOwnCode(void **State)
{
    pthread_t Threads[THREADS], Watcher;
    MM_REGION_INFO Before, After;
    void *Wrong;
    ULONG Left = 0;
    (void)State;
    MmQueryRegion(MmRegionDriverImages, &Before);
    assert_int_equal(pthread_create(&Watcher, NULL, LookUp, NULL), 0);
    for (uintptr_t Index = 0; Index < THREADS; Index++) {
        assert_int_equal(pthread_create(&Threads[Index], NULL, LoadAndRun, (void *)(Index + 1)), 0);
    }
    for (int Index = 0; Index < THREADS; Index++) {
        pthread_join(Threads[Index], &Wrong);
        assert_null(Wrong);
    }
    __atomic_store_n(&Done, 1, __ATOMIC_RELEASE);
    pthread_join(Watcher, &Wrong);
    LdrpEnumerateImages(Count, &Left);
    assert_int_equal(Left, 0);
    MmQueryRegion(MmRegionDriverImages, &After);
    assert_int_equal(Before.PagesInUse, After.PagesInUse);
    assert_null(LdrpValidateImages());
    assert_null(MiValidateAll());
}

static void TooManyImages_IsSaidAndUndone(void **State)
{
    static LDR_IMAGE *Images[256];
    UCHAR *File = malloc(PB_FILE_SIZE);
    CHAR Error[LDR_ERROR_CHARS];
    MM_REGION_INFO Before, After;
    ULONG Loaded = 0;
    NTSTATUS Status = STATUS_SUCCESS;
    (void)State;
    PbBuild(File, 0);
    MmQueryRegion(MmRegionDriverImages, &Before);
    while (Loaded < ARRAYSIZE(Images) && Status == STATUS_SUCCESS) {
        Status = LdrLoadImage("many.sys", File, PB_FILE_SIZE, &Images[Loaded], Error, sizeof(Error));
        Loaded += Status == STATUS_SUCCESS;
    }
    assert_int_equal(Status, STATUS_INSUFFICIENT_RESOURCES);
    assert_string_equal(Error, "too many images are loaded");
    assert_null(LdrpValidateImages());
    while (Loaded > 0) {
        assert_int_equal(LdrUnloadImage(Images[--Loaded]), STATUS_SUCCESS);
    }
    MmQueryRegion(MmRegionDriverImages, &After);
    assert_int_equal(Before.PagesInUse, After.PagesInUse);
    free(File);
}

/* A gigantic section: the address space or the RAM says no, the loader says so, and nothing stays behind. */
static void ImageLargerThanRam_IsRefusedWhole(void **State)
{
    UCHAR *File = malloc(PB_FILE_SIZE);
    CHAR Error[LDR_ERROR_CHARS];
    MM_REGION_INFO Before, After;
    MM_COUNTERS Counters[2];
    LDR_IMAGE *Image;
    (void)State;
    PbBuild(File, 0);
    PbPut32(File, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC), 0);
    PbPut32(File, PB_DIR(IMAGE_DIRECTORY_ENTRY_BASERELOC) + 4, 0);
    PbPut32(File, PB_SEC(4, VirtualSize), 0x10000000);
    memcpy(File + PB_SECTIONS + 40 * 4, "BIG\0\0\0\0\0", 8);
    PbPut32(File, PB_OPT(SizeOfImage), 0x10005000);
    MmQueryRegion(MmRegionDriverImages, &Before);
    MmQueryCounters(&Counters[0]);
    assert_int_equal(LdrLoadImage("big.sys", File, PB_FILE_SIZE, &Image, Error, sizeof(Error)), STATUS_NO_MEMORY);
    assert_true(strstr(Error, "no room") != NULL || strstr(Error, "does not fit") != NULL);
    MmQueryRegion(MmRegionDriverImages, &After);
    MmQueryCounters(&Counters[1]);
    assert_int_equal(Before.PagesInUse, After.PagesInUse);
    assert_int_equal(Counters[0].Committed, Counters[1].Committed);
    assert_null(MiValidateAll());
    free(File);
}

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    return ntmm_start(&Options);
}

static int Stop(void **State)
{
    (void)State;
    return ntmm_stop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(LoadersAtOnce_EachRunsItsOwnCode),
        cmocka_unit_test(TooManyImages_IsSaidAndUndone),
        cmocka_unit_test(ImageLargerThanRam_IsRefusedWhole),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
