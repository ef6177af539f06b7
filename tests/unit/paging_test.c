/*
 * paging_test.c - page files by option, on real files: syntax, sizes, names, growth, the ways they are read and written, and
 * their failures through the host-side API. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char Name[2][64];
static ntmm_options Options;
static int Setup(void **State)
{
    (void)State;
    for (int i = 0; i < 2; i++) {
        snprintf(Name[i], sizeof Name[i], "/tmp/ntmm-paging-%d-%d", (int)getpid(), i);
        unlink(Name[i]);
    }
    ntmm_default_options(&Options);
    Options.ram = 32u << 20;
    Options.cpus = 2;
    return 0;
}
static int Teardown(void **State)
{
    (void)State;
    if (ntmm_running()) {
        ntmm_stop();
    }
    unlink(Name[0]);
    unlink(Name[1]);
    return 0;
}
#define TEST(Test) cmocka_unit_test_setup_teardown(Test, Setup, Teardown)
static void Set(const char *Key, const char *Format, ...)
{
    char Text[512];
    va_list List;
    va_start(List, Format);
    vsnprintf(Text, sizeof Text, Format, List);
    va_end(List);
    if (ntmm_set_option(&Options, Key, Text) != 0) {
        fail_msg("%s", ntmm_error());
    }
}
static void Start(void)
{
    if (ntmm_start(&Options) != 0) {
        fail_msg("%s", ntmm_error());
    }
}

static void Options_PageFiles_HaveTheirOwnSizes(void **State)
{
    ntmm_page_file File;
    (void)State;
    Set("pagefile", "%s:2M:6M;%s", Name[0], Name[1]);
    Set("pagefile_size", "4M");
    Start();
    assert_true(ntmm_query_page_file(0, &File));
    assert_string_equal(File.path, Name[0]);
    assert_int_equal(File.bytes, 2 << 20);
    assert_int_equal(File.maximum_bytes, 6 << 20);
    assert_true(ntmm_query_page_file(1, &File));
    assert_string_equal(File.path, Name[1]);
    assert_int_equal(File.bytes, 4 << 20);
    assert_int_equal(File.maximum_bytes, 4 << 20);
    assert_false(ntmm_query_page_file(2, &File));
    assert_int_equal(access(Name[0], F_OK), -1);
    assert_int_equal(MiSlotCount(), (6 << 20) / 4096 - 2);
    assert_int_equal(ntmm_stop(), 0);
    assert_false(ntmm_query_page_file(0, &File));
}

static void Options_Kept_StaysBehindWithItsSize(void **State)
{
    struct stat Stat;
    (void)State;
    Set("pagefile", "%s:2M:8M", Name[0]);
    Set("pagefile_keep", "1");
    Start();
    assert_int_equal(MiGrowPageFiles(256), 256);
    assert_int_equal(ntmm_stop(), 0);
    assert_int_equal(stat(Name[0], &Stat), 0);
    assert_int_equal(Stat.st_size, 3 << 20);
    assert_int_equal(ntmm_start(&Options), -1); /* it is in the way now */
    assert_non_null(strstr(ntmm_error(), Name[0]));
    assert_non_null(strstr(ntmm_error(), "taken"));
}

static void Options_Wrong_AreNamed(void **State)
{
    static const struct {
        const char *Key, *Value, *Words;
    } Bad[] = {
        {"pagefile", "", "path is missing"},
        {"pagefile", ";;", "path is missing"},
        {"pagefile", "/tmp/a:512K", "'/tmp/a:512K'"},
        {"pagefile", "/tmp/a:4M:2M", "second not below the first"},
        {"pagefile", "/tmp/a:1M:17T", "1M to 16T"},
        {"pagefile", "a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q", "more than 16"},
        {"compression", "512K", "'512K'"},
        {"compression", "maybe", "on|off|SIZE"},
        {"io", "fast", "auto|uring|threads"},
        {"pagefile_max", "1K", "'1K'"},
    };
    (void)State;
    for (size_t i = 0; i < sizeof Bad / sizeof Bad[0]; i++) {
        assert_int_equal(ntmm_set_option(&Options, Bad[i].Key, Bad[i].Value), -1);
        if (!strstr(ntmm_error(), Bad[i].Words)) {
            fail_msg("%s=%s: %s", Bad[i].Key, Bad[i].Value, ntmm_error());
        }
    }
    Set("compression", "on");
    assert_int_equal(ntmm_start(&Options), -1);
    assert_non_null(strstr(ntmm_error(), "compression needs pagefile"));
    Set("pagefile", "%s", Name[0]);
    Set("compression", "20M");
    assert_int_equal(ntmm_start(&Options), -1);
    assert_non_null(strstr(ntmm_error(), "half of RAM"));
    Set("compression", "off");
    Set("pagefile_size", "4M");
    Set("pagefile_max", "2M");
    assert_int_equal(ntmm_start(&Options), -1);
    assert_non_null(strstr(ntmm_error(), "pagefile_max"));
    Set("pagefile", "%s:2M;/nonexistent/b:2M", Name[0]);
    Options.pagefile_max = 0;
    assert_int_equal(ntmm_start(&Options), -1);
    assert_non_null(strstr(ntmm_error(), "/nonexistent/b"));
    assert_int_equal(access(Name[0], F_OK), -1);
    Set("pagefile", "%s:16T", Name[0]);
    assert_int_equal(ntmm_start(&Options), -1);
    assert_non_null(strstr(ntmm_error(), "no room for the tables"));
}

/* ---- transfers through both ways, from several threads ---- */
#define TURNS 200
static volatile LONG Wrong;
static volatile LONG Ended;
static VOID OnDone(PMI_PAGE_IO PageIo)
{
    (VOID) PageIo;
    __atomic_add_fetch(&Ended, 1, __ATOMIC_SEQ_CST);
    HalWake(&Ended, 1);
}
static VOID Worker(PVOID Argument)
{
    MI_PAGE_IO PageIo;
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    ULONG64 Seed = (ULONG64)(ULONG_PTR)Argument;
    if (!MiChargeCommitment(16, HighPoolPriority) || !MiTakeContiguous(16, 0, MiState->HighestPage, 0, &Base, &Dirty)) {
        __atomic_store_n(&Wrong, 1, __ATOMIC_RELAXED);
        return;
    }
    for (ULONG Turn = 0; Turn < TURNS; Turn++) {
        MI_SLOT Slot;
        ULONG Count = MiReserveSlots(1 + (Turn * 7 + (ULONG)Seed) % 16, &Slot);
        PageIo.Slot = Slot;
        PageIo.Count = Count;
        PageIo.Wanted = Count / 2;
        for (ULONG i = 0; i < Count; i++) {
            PageIo.Pages[i] = (ULONG)(Base + (i * 5) % 16);
            for (ULONG Word = 0; Word < 512; Word++) {
                ((ULONG64 *)HalWindow(PageIo.Pages[i]))[Word] =
                    Turn % 2 ? Seed << 40 | Turn << 20 | i : (Seed + Word) * (Turn + i + 1) * 0x9E3779B97F4A7C15ull;
            }
        }
        BOOLEAN Good = Count != 0 && NT_SUCCESS(MiWriteSlotsAndWait(&PageIo));
        for (ULONG i = 0; i < 16; i++) {
            memset(HalWindow(Base + i), 0xEE, PAGE_SIZE);
        }
        Good = Good && NT_SUCCESS(MiReadSlotsAndWait(&PageIo)) && PageIo.Good == (1ull << Count) - 1;
        for (ULONG i = 0; Good && i < Count; i++) {
            for (ULONG Word = 0; Word < 512; Word++) {
                Good = Good &&
                       ((ULONG64 *)HalWindow(PageIo.Pages[i]))[Word] ==
                           (Turn % 2 ? Seed << 40 | Turn << 20 | i : (Seed + Word) * (Turn + i + 1) * 0x9E3779B97F4A7C15ull);
            }
        }
        if (!Good) {
            __atomic_store_n(&Wrong, 1, __ATOMIC_RELAXED);
        }
        if (Turn % 3 != 0) {
            MiReleaseSlots(Slot, Count);
        }
    }
    MiReturnCommitment(MiReleaseFrames(Base, 16));
}
static void Traffic(const char *Io, const char *Compression)
{
    KTHREAD *Threads[3];
    Set("pagefile", "%s:16M;%s:16M", Name[0], Name[1]);
    Set("pagefile_check", "1");
    Set("io", "%s", Io);
    Set("compression", "%s", Compression);
    if (ntmm_start(&Options) != 0) {
        assert_non_null(strstr(ntmm_error(), "io=uring"));
        skip();
    }
    assert_true(!strcmp(Io, "auto") || strstr(ntmm_io_engine(), Io));
    Wrong = 0;
    for (ULONG i = 0; i < 3; i++) {
        assert_int_equal(KiCreateCoreThread(Worker, (PVOID)(ULONG_PTR)(i + 1), NULL, 0, &Threads[i]), STATUS_SUCCESS);
    }
    for (ULONG i = 0; i < 3; i++) {
        KiJoinCoreThread(Threads[i]);
    }
    assert_int_equal(Wrong, 0);
    assert_null(MiValidatePageFiles());
    assert_int_equal(ntmm_stop(), 0);
}
static void Traffic_Uring_NoByteIsWrong(void **State)
{
    (void)State;
    Traffic("uring", "off");
}
static void Traffic_Threads_NoByteIsWrong(void **State)
{
    (void)State;
    Traffic("threads", "off");
}
static void Traffic_Compressed_NoByteIsWrong(void **State)
{
    (void)State;
    Traffic("auto", "1M");
}

/* ---- failures, as a test of a driver injects them ---- */
static void Fault_Injected_HitsThePageFileNamed(void **State)
{
    MI_PAGE_IO PageIo;
    MI_SLOT Slot;
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    ntmm_page_file File;
    (void)State;
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, -1, 0, 1, 0), -1);
    Set("pagefile", "%s:1M", Name[0]);
    Start();
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, 1, 0, 1, 0), -1);
    assert_non_null(strstr(ntmm_error(), "no page file 1"));
    assert_true(MiChargeCommitment(1, HighPoolPriority));
    assert_true(MiTakeContiguous(1, 0, MiState->HighestPage, 0, &Base, &Dirty));
    PageIo.Count = MiReserveSlots(1, &Slot);
    PageIo.Slot = Slot;
    PageIo.Wanted = 0;
    PageIo.Pages[0] = (ULONG)Base;
    PageIo.Done = OnDone;
    assert_int_equal(MiWriteSlotsAndWait(&PageIo), STATUS_SUCCESS);
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, 0, 0, 1, 0), 0);
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_IO_DEVICE_ERROR);
    assert_int_equal(MiReadSlotsAndWait(&PageIo), STATUS_SUCCESS);
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_WRITE_ERROR, -1, 0, 1, 0), 0);
    Ended = 0;
    MiWriteSlots(&PageIo);
    while (__atomic_load_n(&Ended, __ATOMIC_SEQ_CST) == 0) {
        HalWait(&Ended, 0, HAL_FOREVER);
    }
    assert_int_equal(PageIo.Status, STATUS_IO_DEVICE_ERROR);
    assert_int_equal(ntmm_disk_fault_hits(), 2);
    assert_true(ntmm_query_page_file(0, &File));
    assert_int_equal(File.read_errors, 1);
    assert_int_equal(File.write_errors, 1);
    assert_int_equal(ntmm_inject_disk_fault(NTMM_DISK_NO_SPACE, -1, 0, 0, 0), 0);
    ntmm_clear_disk_faults();
    assert_int_equal(MiWriteSlotsAndWait(&PageIo), STATUS_SUCCESS);
    MiReleaseSlots(Slot, 1);
    MiReturnCommitment(MiReleaseFrames(Base, 1));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Options_PageFiles_HaveTheirOwnSizes),
        TEST(Options_Kept_StaysBehindWithItsSize),
        TEST(Options_Wrong_AreNamed),
        TEST(Traffic_Uring_NoByteIsWrong),
        TEST(Traffic_Threads_NoByteIsWrong),
        TEST(Traffic_Compressed_NoByteIsWrong),
        TEST(Fault_Injected_HitsThePageFileNamed),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
