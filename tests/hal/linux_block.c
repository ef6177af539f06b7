/*
 * linux_block.c - what only the Linux machine's block devices do: both engines, names of files, sizes, the host's errors.
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile LONG Done;
static VOID OnDone(HAL_IO *Io)
{
    (void)Io;
    __atomic_add_fetch(&Done, 1, __ATOMIC_SEQ_CST);
    HalWake(&Done, 1);
}
static VOID Await(LONG Count)
{
    for (LONG Now; (Now = __atomic_load_n(&Done, __ATOMIC_SEQ_CST)) < Count;) {
        HalWait(&Done, Now, HAL_FOREVER);
    }
    Done = 0;
}

static VOID Start(ULONG Engine)
{
    KitOnIoDone = OnDone;
    KitIoEngine = Engine;
    KitStart(2048, 0);
    KitIoEngine = HAL_IO_ENGINE_AUTO;
}
static const CHAR *Name(VOID)
{
    static CHAR Path[128];
    snprintf(Path, sizeof Path, "/tmp/ntmm-linux-block-%d", (int)getpid());
    return Path;
}

/* The same traffic through an engine; eight pages a transfer, all frames different. */
static VOID Traffic(ULONG Engine, ULONG Flags)
{
    static HAL_IO Io[64];
    static HAL_SPAN Spans[64][8];
    PHAL_DEVICE Device;
    Start(Engine);
    HAL_DEVICE_OPTIONS Options = {Name(), 512 * HAL_PAGE_SIZE, Flags};
    NTSTATUS Status = HalOpenBlockDevice(&Options, &Device);
    if (Engine == HAL_IO_ENGINE_QUEUE && Status == STATUS_NOT_SUPPORTED) {
        KitStop();
        skip(); /* the host has no io_uring for us */
    }
    assert_int_equal(Status, STATUS_SUCCESS);
    assert_true(Engine == HAL_IO_ENGINE_AUTO || HalFacts.IoEngine == Engine);
    if (Flags & HAL_DEVICE_BUFFERED) {
        assert_false(HalIsDeviceDirect(Device));
    }
    for (ULONG Write = 1; Write < 2; Write--) {
        PFN_NUMBER First = Write ? KIT_DATA : KIT_DATA + 1024;
        for (ULONG i = 0; i < 64; i++) {
            for (ULONG j = 0; j < 8; j++) {
                Spans[i][j] = (HAL_SPAN){HalWindow(First + i * 8 + j), HAL_PAGE_SIZE};
                KitFrame(First + i * 8 + j)[0] = Write ? 7000 + i * 8 + j : 0;
                KitFrame(First + i * 8 + j)[511] = Write ? 9000 + i * 8 + j : 0;
            }
            Io[i] = (HAL_IO){
                .Device = Device, .Offset = i * 8 * HAL_PAGE_SIZE, .Spans = Spans[i], .SpanCount = 8, .Write = (BOOLEAN)Write};
            HalSubmitIo(&Io[i]);
        }
        Await(64);
        for (ULONG i = 0; i < 64; i++) {
            assert_int_equal(Io[i].Status, STATUS_SUCCESS);
            assert_int_equal(Io[i].Information, 8 * HAL_PAGE_SIZE);
        }
    }
    for (ULONG i = 0; i < 512; i++) {
        assert_int_equal(KitFrame(KIT_DATA + 1024 + i)[0], 7000 + i);
        assert_int_equal(KitFrame(KIT_DATA + 1024 + i)[511], 9000 + i);
    }
    HalCloseBlockDevice(Device);
    KitStop();
}
static void Queue_Traffic_ArrivesWhole(void **State)
{
    (void)State;
    Traffic(HAL_IO_ENGINE_QUEUE, 0);
}
static void Queue_TrafficThroughTheCache_ArrivesWhole(void **State)
{
    (void)State;
    Traffic(HAL_IO_ENGINE_QUEUE, HAL_DEVICE_BUFFERED);
}
static void Threads_Traffic_ArrivesWhole(void **State)
{
    (void)State;
    Traffic(HAL_IO_ENGINE_THREADS, 0);
}
static void Auto_Traffic_ChoosesAnEngine(void **State)
{
    (void)State;
    Traffic(HAL_IO_ENGINE_AUTO, 0);
}
static void Machine_UnknownEngine_IsRefused(void **State)
{
    (void)State;
    HAL_MACHINE Machine = KitMachine(2048);
    Machine.IoEngine = HAL_IO_ENGINE_SCRIPTED;
    assert_int_equal(HalStartMachine(&Machine), STATUS_INVALID_PARAMETER);
}

static void Open_File_HasItsSizeAndNoName(void **State)
{
    (void)State;
    PHAL_DEVICE Device;
    struct stat Stat;
    Start(HAL_IO_ENGINE_AUTO);
    HAL_DEVICE_OPTIONS Options = {Name(), 64 * HAL_PAGE_SIZE, 0};
    assert_int_equal(HalOpenBlockDevice(&Options, &Device), STATUS_SUCCESS);
    assert_int_equal(access(Name(), F_OK), -1);
    HalCloseBlockDevice(Device);
    Options.Flags = HAL_DEVICE_KEEP;
    assert_int_equal(HalOpenBlockDevice(&Options, &Device), STATUS_SUCCESS);
    assert_int_equal(stat(Name(), &Stat), 0);
    assert_int_equal(Stat.st_size, 64 * HAL_PAGE_SIZE);
    assert_true(Stat.st_blocks * 512 >= 64 * HAL_PAGE_SIZE);
    assert_int_equal(Stat.st_mode & 0777, 0600);
    PHAL_DEVICE Second;
    assert_int_equal(HalOpenBlockDevice(&Options, &Second), STATUS_OBJECT_NAME_COLLISION);
    assert_null(Second);
    assert_int_equal(HalGrowBlockDevice(Device, 100 * HAL_PAGE_SIZE), STATUS_SUCCESS);
    assert_int_equal(stat(Name(), &Stat), 0);
    assert_int_equal(Stat.st_size, 100 * HAL_PAGE_SIZE);
    HalCloseBlockDevice(Device);
    assert_int_equal(unlink(Name()), 0);
    KitStop();
}

static void Open_HostsErrors_AreTold(void **State)
{
    (void)State;
    PHAL_DEVICE Device;
    struct rlimit Old, Small;
    Start(HAL_IO_ENGINE_AUTO);
    HAL_DEVICE_OPTIONS Nowhere = {"/nowhere/at/all", 4096, 0}, Folder = {"/tmp", 4096, 0};
    assert_int_equal(HalOpenBlockDevice(&Nowhere, &Device), STATUS_OBJECT_PATH_NOT_FOUND);
    assert_int_equal(HalOpenBlockDevice(&Folder, &Device), STATUS_OBJECT_NAME_COLLISION);
    getrlimit(RLIMIT_FSIZE, &Old);
    Small = Old;
    Small.rlim_cur = 1 << 20;
    setrlimit(RLIMIT_FSIZE, &Small);
    HAL_DEVICE_OPTIONS Large = {Name(), 2 << 20, HAL_DEVICE_KEEP};
    assert_int_equal(HalOpenBlockDevice(&Large, &Device), STATUS_DISK_FULL);
    setrlimit(RLIMIT_FSIZE, &Old);
    assert_int_equal(access(Name(), F_OK), -1); /* nothing is left behind */
    HAL_DEVICE_OPTIONS Endless = {Name(), 1ull << 61, HAL_DEVICE_KEEP};
    assert_int_equal(HalOpenBlockDevice(&Endless, &Device), STATUS_DISK_FULL);
    assert_int_equal(access(Name(), F_OK), -1);
    KitStop();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Queue_Traffic_ArrivesWhole),      cmocka_unit_test(Queue_TrafficThroughTheCache_ArrivesWhole),
        cmocka_unit_test(Threads_Traffic_ArrivesWhole),    cmocka_unit_test(Auto_Traffic_ChoosesAnEngine),
        cmocka_unit_test(Machine_UnknownEngine_IsRefused), cmocka_unit_test(Open_File_HasItsSizeAndNoName),
        cmocka_unit_test(Open_HostsErrors_AreTold),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
