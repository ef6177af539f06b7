/*
 * driver_test.c - a driver binary built by mingw, through the host-side API: what the loader supplies to it, request by
 * request (tests/sys/loadme.c). SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "ex/ex.h"
#include "ldr/ldr.h"
#include "mm/mm.h"
#include "ntmm.h"
#include "sys/loadme.h"

static ntmm_driver *Driver;
static ntmm_file *File;

static int Start(void **State)
{
    (void)State;
    return ntmm_start(NULL);
}

static int Stop(void **State)
{
    (void)State;
    return ntmm_stop();
}

static int Load(void **State)
{
    (void)State;
    if (ntmm_load_driver(NTMM_SYS "/loadme.sys", &Driver) != 0) {
        print_error("%s\n", ntmm_error());
        return -1;
    }
    if (LdrpValidateImages() != NULL) {
        print_error("%s\n", LdrpValidateImages());
        return -1;
    }
    return ntmm_open("LoadMe", &File);
}

static int Unload(void **State)
{
    ntmm_leftovers Left;
    (void)State;
    if (ntmm_close(File) != 0 || ntmm_remove_driver(Driver, &Left) != 0) {
        return -1;
    }
    return Left.devices + Left.symbolic_links + Left.open_files == 0 ? 0 : -1;
}

/* The answer of one request, in bytes. */
static uint64_t Ask(uint32_t Code, void *Out, size_t Size)
{
    uint64_t Information = 0;
    assert_int_equal(ntmm_ioctl(File, Code, NULL, 0, Out, Size, &Information), 0);
    return Information;
}

static void Echo_Buffered_ComesBackInverted(void **State)
{
    UCHAR In[5] = {0, 1, 2, 0x80, 0xff}, Out[8] = {0};
    uint64_t Information;
    (void)State;
    assert_int_equal(ntmm_ioctl(File, LOADME_ECHO, In, sizeof(In), Out, sizeof(Out), &Information), 0);
    assert_int_equal(Information, 5);
    assert_memory_equal(Out, "\xff\xfe\xfd\x7f\x00", 5);
}

static void Irql_ByCr8AndByImport_IsTheThreads(void **State)
{
    UCHAR Out[4];
    (void)State;
    assert_int_equal(Ask(LOADME_IRQL, Out, sizeof(Out)), 4);
    assert_int_equal(Out[0], PASSIVE_LEVEL);
    assert_int_equal(Out[1], DISPATCH_LEVEL);
    assert_int_equal(Out[2], HIGH_LEVEL + DISPATCH_LEVEL); /* the level, and the old one KeRaiseIrql stored */
    assert_int_equal(Out[3], PASSIVE_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static void SharedData_HasTheClocks(void **State)
{
    ULONG64 Out[3], Wall = HalQuerySystemTime();
    (void)State;
    assert_int_equal(Ask(LOADME_SHARED, Out, sizeof(Out)), 24);
    assert_true(Out[1] + 10000000 > Wall && Out[1] < Wall + 10000000);
    assert_true(Out[2] <= HalQueryTime() / 100 && Out[2] + 10000000 > HalQueryTime() / 100);
    assert_int_equal(Out[0], Out[2] / 156250);
}

static void Gs_ShowsThreadAndProcessor(void **State)
{
    ULONG64 Out[4];
    (void)State;
    assert_int_equal(Ask(LOADME_GS, Out, sizeof(Out)), 32);
    assert_int_equal(Out[0], (ULONG_PTR)KiCurrentThread());
    assert_int_equal(Out[0], Out[1]);
    assert_true(Out[2] < KiProcessorCount);
}

static void DataImports_AreTheVariables(void **State)
{
    ULONG64 Out[2];
    (void)State;
    assert_int_equal(Ask(LOADME_DATA, Out, sizeof(Out)), 16);
    assert_int_equal(Out[0], (ULONG_PTR)MmHighestUserAddress);
    assert_int_equal(Out[1], (ULONG_PTR)*IoFileObjectType);
}

static void Format_TakesTheDriversArguments(void **State)
{
    char Out[128] = "";
    (void)State;
    uint64_t Length = Ask(LOADME_FORMAT, Out, sizeof(Out));
    assert_int_equal(Length, strlen(Out) + 1);
    assert_string_equal(Out, "-5 text c 0000abcd 123456789abcdef wide    42|ws");
}

static void Lookaside_InlinedInTheDriver_CallsItsOwnAllocate(void **State)
{
    ULONG64 Out[2];
    (void)State;
    assert_int_equal(Ask(LOADME_LOOKASIDE, Out, sizeof(Out)), 16);
    assert_true(Out[0] >= 3); /* three misses in the first round; the second finds what the depth allows */
    assert_true(Out[1] >= 1 && Out[1] <= 3);
}

static void Privileged_Instructions_AreCarriedOut(void **State)
{
    ULONG64 Out[3];
    (void)State;
    assert_int_equal(Ask(LOADME_PRIVILEGED, Out, sizeof(Out)), 24);
    assert_int_equal(Out[0] & 0x20, 0x20);
    assert_int_equal(Out[1] & 0x80000001, 0x80000001);
    assert_int_equal(Out[2] & 0x800, 0x800);
}

static void Routine_ByName_WorksFromTheDriver(void **State)
{
    ULONG64 Out = 0;
    (void)State;
    assert_int_equal(Ask(LOADME_ROUTINE, &Out, sizeof(Out)), 8);
    assert_int_equal(Out, 1);
}

static void Leak_OfTheDriver_IsFoundByItsStack(void **State)
{
    ULONG64 Block = 0;
    EXP_BLOCK_INFO Info;
    BOOLEAN Named = FALSE;
    (void)State;
    assert_int_equal(Ask(LOADME_LEAK, &Block, sizeof(Block)), 8);
    assert_true(ExpDescribeBlock((PVOID)Block, &Info));
    assert_int_equal(Info.State, ExpBlockLive);
    assert_int_equal(Info.Size, 100);
    for (ULONG Frame = 0; Frame < Info.AllocFrames; Frame++) {
        LDR_IMAGE *Image = LdrpFindImage(Info.AllocStack[Frame]);
        Named = Named || (Image != NULL && strcmp(Image->Name, "loadme.sys") == 0);
    }
    assert_true(Named);
    ExFreePoolWithTag((PVOID)Block, 'kaeL');
}

/* ---- what stops: the same requests, each expected ---- */

static uint32_t Request;
static void Send(void *Argument)
{
    UCHAR Out[64];
    uint64_t Information;
    (void)Argument;
    ntmm_ioctl(File, Request, NULL, 0, Out, sizeof(Out), &Information);
}

static void ExpectStop(uint32_t Code, uint32_t Bugcheck, const char *Function)
{
    ntmm_bugcheck Stop;
    Request = Code;
    if (!ntmm_catch(Send, NULL, &Stop)) {
        fail_msg("request 0x%x did not stop", Code);
    }
    assert_int_equal(Stop.code, Bugcheck);
    assert_string_equal(Stop.driver, "loadme.sys");
    if (Function != NULL && strstr(Stop.where, Function) == NULL) {
        fail_msg("0x%x: blamed %s, expected %s", Bugcheck, Stop.where, Function);
    }
}

static void Misuse_StopsAtTheDriversLine(void **State)
{
    (void)State;
    /* A stop in the middle of a request leaves the request and the file behind: a driver of its own, and never unloaded. */
    assert_int_equal(Load(State), 0);
    ExpectStop(LOADME_MISSING, 0xC0000263, "loadme.c");
    ExpectStop(LOADME_INIT, 0x50, "OnceOnly");
    ExpectStop(LOADME_RODATA, 0xBE, "loadme.c");
    ExpectStop(LOADME_XTEXT, 0xFC, NULL);
}

static void Load_OfWhatIsNoDriver_SaysWhy(void **State)
{
    ntmm_driver *None;
    (void)State;
    assert_int_equal(ntmm_load_driver("/nonexistent.sys", &None), STATUS_OBJECT_NAME_NOT_FOUND);
    assert_null(None);
    assert_non_null(strstr(ntmm_error(), "/nonexistent.sys: No such file"));
    assert_int_equal(ntmm_load_driver("/proc/self/exe", &None), STATUS_INVALID_IMAGE_FORMAT);
    assert_non_null(strstr(ntmm_error(), "ELF"));
    assert_int_equal(ntmm_load_driver(NTMM_SYS "/refuses.sys", &None), STATUS_DEVICE_CONFIGURATION_ERROR);
    assert_non_null(strstr(ntmm_error(), "DriverEntry returned 0xC0000182"));
    assert_null(LdrpFindImage((ULONG_PTR)None));
}

static void LoadRunUnload_LeavesNothingAndIsQuick(void **State)
{
    EXP_POOL_TOTALS Before, After;
    MM_REGION_INFO Images[2];
    struct timespec From, To;
    UCHAR In = 1, Out;
    (void)State;
    for (int Warm = 0; Warm < 2; Warm++) {
        assert_int_equal(Load(State), 0);
        assert_int_equal(Unload(State), 0);
    }
    ExpQueryPool(FALSE, &Before);
    MmQueryRegion(MmRegionDriverImages, &Images[0]);
    clock_gettime(CLOCK_MONOTONIC, &From);
    for (int Round = 0; Round < 20; Round++) {
        assert_int_equal(Load(State), 0);
        assert_int_equal(ntmm_ioctl(File, LOADME_ECHO, &In, 1, &Out, 1, NULL), 0);
        assert_int_equal(Unload(State), 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &To);
    ExpQueryPool(FALSE, &After);
    MmQueryRegion(MmRegionDriverImages, &Images[1]);
    assert_int_equal(Before.Bytes, After.Bytes);
    assert_int_equal(Images[0].PagesInUse, Images[1].PagesInUse);
    assert_null(LdrpValidateImages());
    double Each = ((double)(To.tv_sec - From.tv_sec) * 1e3 + (double)(To.tv_nsec - From.tv_nsec) / 1e6) / 20;
    print_message("load, run, unload: %.3f ms\n", Each);
    assert_true(Each < 200); /* a bound that a loaded machine keeps; bench/ has the figure */
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test_setup_teardown(Echo_Buffered_ComesBackInverted, Load, Unload),
        cmocka_unit_test_setup_teardown(Irql_ByCr8AndByImport_IsTheThreads, Load, Unload),
        cmocka_unit_test_setup_teardown(SharedData_HasTheClocks, Load, Unload),
        cmocka_unit_test_setup_teardown(Gs_ShowsThreadAndProcessor, Load, Unload),
        cmocka_unit_test_setup_teardown(DataImports_AreTheVariables, Load, Unload),
        cmocka_unit_test_setup_teardown(Format_TakesTheDriversArguments, Load, Unload),
        cmocka_unit_test_setup_teardown(Lookaside_InlinedInTheDriver_CallsItsOwnAllocate, Load, Unload),
        cmocka_unit_test_setup_teardown(Privileged_Instructions_AreCarriedOut, Load, Unload),
        cmocka_unit_test_setup_teardown(Routine_ByName_WorksFromTheDriver, Load, Unload),
        cmocka_unit_test_setup_teardown(Leak_OfTheDriver_IsFoundByItsStack, Load, Unload),
        cmocka_unit_test(Load_OfWhatIsNoDriver_SaysWhy),
        cmocka_unit_test(LoadRunUnload_LeavesNothingAndIsQuick),
        cmocka_unit_test(Misuse_StopsAtTheDriversLine), /* last: see there */
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
