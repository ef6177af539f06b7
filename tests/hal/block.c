/*
 * block.c - the contract of block devices, over both machines: what was written is read back, every transfer ends once, and
 * failures are what was injected. SPDX-License-Identifier: MIT
 */
#include "kit.h"
#include <stdio.h>
#include <unistd.h>

#define PAGES 64u
static volatile LONG Done;
static HAL_IO *LastDone;
static BOOLEAN ThreadWasAttached;

static VOID OnDone(HAL_IO *Io)
{
    __atomic_store_n(&LastDone, Io, __ATOMIC_RELAXED);
    __atomic_store_n(&ThreadWasAttached, HalCurrentThread() != NULL, __ATOMIC_RELAXED);
    __atomic_add_fetch(&Done, 1, __ATOMIC_SEQ_CST);
    HalWake(&Done, 1);
}

/* Until Count transfers have ended since the last call. */
static VOID Await(LONG Count)
{
    for (;;) {
#if KIT_SCRIPTED
        HalScriptRunIo(100);
#endif
        LONG Now = __atomic_load_n(&Done, __ATOMIC_SEQ_CST);
        if (Now >= Count) {
            break;
        }
#if !KIT_SCRIPTED
        HalWait(&Done, Now, HAL_FOREVER);
#endif
    }
    assert_int_equal(Done, Count);
    Done = 0;
}

static CHAR Path[128];
static PHAL_DEVICE Device;
static int Setup(void **State)
{
    KitOnIoDone = OnDone;
    KitSetup(State);
    snprintf(Path, sizeof Path, "/tmp/ntmm-block-%d", (int)getpid());
    HAL_DEVICE_OPTIONS Options = {Path, PAGES * HAL_PAGE_SIZE, 0};
    assert_int_equal(HalOpenBlockDevice(&Options, &Device), STATUS_SUCCESS);
    Done = 0;
    return 0;
}
static int Teardown(void **State)
{
    HalCloseBlockDevice(Device);
    KitTeardown(State);
    KitOnIoDone = NULL;
    return 0;
}
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)

static VOID Fill(PFN_NUMBER Frame, ULONG64 Seed)
{
    for (ULONG Word = 0; Word < HAL_PAGE_SIZE / 8; Word++) {
        KitFrame(Frame)[Word] = Seed * 0x9E3779B97F4A7C15ull + Word;
    }
}
static BOOLEAN Holds(PFN_NUMBER Frame, ULONG64 Seed)
{
    for (ULONG Word = 0; Word < HAL_PAGE_SIZE / 8; Word++) {
        if (KitFrame(Frame)[Word] != Seed * 0x9E3779B97F4A7C15ull + Word) {
            return FALSE;
        }
    }
    return TRUE;
}
/* Count frames from First, every Step-th, at page Slot. */
static VOID Prepare(HAL_IO *Io, HAL_SPAN *Spans, BOOLEAN Write, ULONG Slot, PFN_NUMBER First, ULONG Count, ULONG Step)
{
    *Io =
        (HAL_IO){.Device = Device, .Offset = (ULONG64)Slot * HAL_PAGE_SIZE, .Spans = Spans, .SpanCount = Count, .Write = Write};
    for (ULONG i = 0; i < Count; i++) {
        Spans[i] = (HAL_SPAN){HalWindow(First + i * Step), HAL_PAGE_SIZE};
    }
}
static VOID Now(BOOLEAN Write, ULONG Slot, PFN_NUMBER First, ULONG Count, HAL_IO *Io)
{
    HAL_SPAN Spans[HAL_IO_MAX_SPANS];
    Prepare(Io, Spans, Write, Slot, First, Count, 1);
    HalTransferIo(Io);
}

static void Transfer_WrittenPages_AreReadBack(void **State)
{
    (void)State;
    HAL_IO Io;
    for (ULONG i = 0; i < PAGES; i++) {
        Fill(KIT_DATA + i, i + 1);
    }
    Now(TRUE, 0, KIT_DATA, PAGES, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    assert_int_equal(Io.Information, PAGES * HAL_PAGE_SIZE);
    /* scattered frames, from the middle */
    HAL_SPAN Spans[16];
    Prepare(&Io, Spans, FALSE, 10, KIT_DATA + 100, 16, 3);
    HalTransferIo(&Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    for (ULONG i = 0; i < 16; i++) {
        assert_true(Holds(KIT_DATA + 100 + i * 3, 10 + i + 1));
    }
}

static void Submit_ManyAtOnce_EachEndsOnceOnAnAttachedThread(void **State)
{
    (void)State;
    HAL_IO Io[32];
    HAL_SPAN Spans[32][2];
    for (ULONG i = 0; i < 64; i++) {
        Fill(KIT_DATA + i, 1000 + i);
    }
    for (ULONG i = 0; i < 32; i++) {
        Prepare(&Io[i], Spans[i], TRUE, i * 2, KIT_DATA + i * 2, 2, 1);
        HalSubmitIo(&Io[i]);
    }
    Await(32);
    assert_true(ThreadWasAttached);
    for (ULONG i = 0; i < 32; i++) {
        assert_int_equal(Io[i].Status, STATUS_SUCCESS);
        assert_int_equal(Io[i].Information, 2 * HAL_PAGE_SIZE);
        Prepare(&Io[i], Spans[i], FALSE, i * 2, KIT_DATA + 200 + i * 2, 2, 1);
        HalSubmitIo(&Io[i]);
    }
    Await(32);
    for (ULONG i = 0; i < 64; i++) {
        assert_true(Holds(KIT_DATA + 200 + i, 1000 + i));
    }
}

static void Submit_BeyondTheDevice_IsTheTransfersError(void **State)
{
    (void)State;
    HAL_IO Io;
    HAL_SPAN Spans[4];
    Prepare(&Io, Spans, TRUE, PAGES - 1, KIT_DATA, 2, 1);
    HalSubmitIo(&Io);
    Await(1);
    assert_ptr_equal(LastDone, &Io);
    assert_int_equal(Io.Status, STATUS_END_OF_FILE);
    assert_int_equal(Io.Information, 0);
    Prepare(&Io, Spans, TRUE, 0, KIT_DATA, 1, 1);
    Io.Offset = 512;
    HalTransferIo(&Io);
    assert_int_equal(Io.Status, STATUS_INVALID_PARAMETER);
    Prepare(&Io, Spans, TRUE, 0, KIT_DATA, 1, 1);
    Spans[0].Base = &Io; /* not RAM */
    HalTransferIo(&Io);
    assert_int_equal(Io.Status, STATUS_INVALID_PARAMETER);
}

static void Grow_Device_TakesTransfersBeyondItsOldEnd(void **State)
{
    (void)State;
    HAL_IO Io;
    assert_int_equal(HalGrowBlockDevice(Device, (PAGES - 1) * HAL_PAGE_SIZE), STATUS_INVALID_PARAMETER);
    assert_int_equal(HalGrowBlockDevice(Device, 2 * PAGES * HAL_PAGE_SIZE), STATUS_SUCCESS);
    Fill(KIT_DATA, 77);
    Now(TRUE, 2 * PAGES - 1, KIT_DATA, 1, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    Now(FALSE, 2 * PAGES - 1, KIT_DATA + 1, 1, &Io);
    assert_true(Holds(KIT_DATA + 1, 77));
}

static void Open_WrongOptions_AreRefused(void **State)
{
    (void)State;
    PHAL_DEVICE Other;
    HAL_DEVICE_OPTIONS Odd = {"/tmp/ntmm-block-odd", 100, 0}, None = {"/tmp/ntmm-block-odd", 0, 0}, Flag = {"/tmp/x", 4096, 64};
    assert_int_equal(HalOpenBlockDevice(&Odd, &Other), STATUS_INVALID_PARAMETER);
    assert_int_equal(HalOpenBlockDevice(&None, &Other), STATUS_INVALID_PARAMETER);
    assert_int_equal(HalOpenBlockDevice(&Flag, &Other), STATUS_INVALID_PARAMETER);
    assert_null(Other);
}

/* ---- failures ---- */
static VOID Inject(HAL_IO_FAULT_KIND Kind, ULONG64 After, ULONG64 Count, ULONG64 Value)
{
    HAL_IO_FAULT Fault = {.Kind = Kind, .After = After, .Count = Count, .Value = Value};
    assert_int_equal(HalInjectIoFault(&Fault), STATUS_SUCCESS);
}

static void Fault_ReadError_HitsTheReadsItNames(void **State)
{
    (void)State;
    HAL_IO Io;
    HAL_SPAN Spans[4];
    Fill(KIT_DATA, 5);
    Inject(HalIoReadError, 1, 2, 0);
    Now(TRUE, 3, KIT_DATA, 1, &Io); /* a write does not count */
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    Now(FALSE, 3, KIT_DATA + 1, 1, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    Now(FALSE, 3, KIT_DATA + 1, 1, &Io);
    assert_int_equal(Io.Status, STATUS_IO_DEVICE_ERROR);
    assert_int_equal(Io.Information, 0);
    Prepare(&Io, Spans, FALSE, 3, KIT_DATA + 1, 1, 1);
    HalSubmitIo(&Io);
    Await(1);
    assert_int_equal(Io.Status, STATUS_IO_DEVICE_ERROR);
    Now(FALSE, 3, KIT_DATA + 1, 1, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    assert_int_equal(HalQueryIoFaults(), 2);
}

static void Fault_WriteErrorAndNoSpace_LeaveTheDeviceAsItWas(void **State)
{
    (void)State;
    HAL_IO Io;
    Fill(KIT_DATA, 5);
    Fill(KIT_DATA + 1, 6);
    Now(TRUE, 3, KIT_DATA, 1, &Io);
    Inject(HalIoWriteError, 0, 1, 0);
    Now(TRUE, 3, KIT_DATA + 1, 1, &Io);
    assert_int_equal(Io.Status, STATUS_IO_DEVICE_ERROR);
    Inject(HalIoNoSpace, 0, 1, 0);
    Now(TRUE, 3, KIT_DATA + 1, 1, &Io);
    assert_int_equal(Io.Status, STATUS_DISK_FULL);
    Now(FALSE, 3, KIT_DATA + 2, 1, &Io);
    assert_true(Holds(KIT_DATA + 2, 5));
}

static void Fault_ShortRead_SaysSuccessWithFewerBytes(void **State)
{
    (void)State;
    HAL_IO Io;
    Inject(HalIoShortRead, 0, 0, 0);
    Now(FALSE, 0, KIT_DATA, 5, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    assert_int_equal(Io.Information, 2 * HAL_PAGE_SIZE);
    Now(FALSE, 0, KIT_DATA, 1, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    assert_int_equal(Io.Information, 0);
    assert_int_equal(HalInjectIoFault(NULL), STATUS_SUCCESS);
    Now(FALSE, 0, KIT_DATA, 1, &Io);
    assert_int_equal(Io.Information, HAL_PAGE_SIZE);
}

static void Fault_TornWrite_SaysSuccessAndWritesHalf(void **State)
{
    (void)State;
    HAL_IO Io;
    for (ULONG i = 0; i < 8; i++) {
        Fill(KIT_DATA + i, 20 + i);
        Fill(KIT_DATA + 8 + i, 40 + i);
    }
    Now(TRUE, 0, KIT_DATA, 8, &Io);
    Inject(HalIoTornWrite, 0, 1, 0);
    Now(TRUE, 0, KIT_DATA + 8, 8, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    assert_int_equal(Io.Information, 8 * HAL_PAGE_SIZE);
    Now(FALSE, 0, KIT_DATA + 16, 8, &Io);
    for (ULONG i = 0; i < 8; i++) {
        assert_true(Holds(KIT_DATA + 16 + i, (i < 4 ? 40 : 20) + i));
    }
}

static void Fault_Corrupt_ChangesTheNamedPageOnly(void **State)
{
    (void)State;
    HAL_IO Io;
    for (ULONG i = 0; i < 4; i++) {
        Fill(KIT_DATA + i, 60 + i);
    }
    Now(TRUE, 0, KIT_DATA, 4, &Io);
    Inject(HalIoCorrupt, 0, 1, 2);
    Now(FALSE, 0, KIT_DATA + 8, 4, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    for (ULONG i = 0; i < 4; i++) {
        assert_int_equal(Holds(KIT_DATA + 8 + i, 60 + i), i != 2);
    }
}

static void Fault_OfAPartOfTheDevice_SparesTheRest(void **State)
{
    (void)State;
    HAL_IO Io;
    HAL_IO_FAULT Fault = {.Kind = HalIoReadError, .Device = Device, .Offset = 4 * HAL_PAGE_SIZE, .Bytes = HAL_PAGE_SIZE};
    assert_int_equal(HalInjectIoFault(&Fault), STATUS_SUCCESS);
    Now(FALSE, 0, KIT_DATA, 4, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
    Now(FALSE, 3, KIT_DATA, 2, &Io);
    assert_int_equal(Io.Status, STATUS_IO_DEVICE_ERROR);
    Now(FALSE, 5, KIT_DATA, 1, &Io);
    assert_int_equal(Io.Status, STATUS_SUCCESS);
}

static void Fault_Delay_LetsLaterTransfersPass(void **State)
{
    (void)State;
    HAL_IO Slow, Quick;
    HAL_SPAN SlowSpan[1], QuickSpan[1];
    ULONG64 Start = HalQueryTime();
    Inject(HalIoDelay, 0, 1, 20000000);
    Prepare(&Slow, SlowSpan, FALSE, 0, KIT_DATA, 1, 1);
    Prepare(&Quick, QuickSpan, FALSE, 1, KIT_DATA + 1, 1, 1);
    HalSubmitIo(&Slow);
    HalSubmitIo(&Quick);
#if KIT_SCRIPTED
    assert_int_equal(HalScriptRunIo(10), 1);
    assert_ptr_equal(LastDone, &Quick);
    HalScriptAdvanceTime(20000000);
#endif
    Await(2);
    assert_ptr_equal(LastDone, &Slow);
    assert_int_equal(Slow.Status, STATUS_SUCCESS);
    assert_true(HalQueryTime() >= Start + 20000000);
}

static void Fault_TooManyRules_AreRefused(void **State)
{
    (void)State;
    HAL_IO_FAULT Fault = {.Kind = HalIoReadError, .Count = 1}, Unknown = {.Kind = HalIoFaultKinds};
    assert_int_equal(HalInjectIoFault(&Unknown), STATUS_INVALID_PARAMETER);
    for (ULONG i = 0; i < 16; i++) {
        assert_int_equal(HalInjectIoFault(&Fault), STATUS_SUCCESS);
    }
    assert_int_equal(HalInjectIoFault(&Fault), STATUS_INSUFFICIENT_RESOURCES);
}

static void Codec_Page_ComesBackAndKeepsItsBound(void **State)
{
    (void)State;
    static UCHAR Scratch[HAL_CODEC_BYTES] __attribute__((aligned(16)));
    UCHAR Packed[HAL_PAGE_SIZE + 1];
    memset(KitFrame(KIT_DATA), 0, HAL_PAGE_SIZE);
    KitFrame(KIT_DATA)[7] = 0x1234;
    ULONG Bytes = HalCompressPage(KitFrame(KIT_DATA), Packed, HAL_PAGE_SIZE, Scratch);
    assert_true(Bytes > 0 && Bytes < 256);
    assert_true(HalDecompressPage(Packed, Bytes, KitFrame(KIT_DATA + 1)));
    assert_memory_equal(KitFrame(KIT_DATA), KitFrame(KIT_DATA + 1), HAL_PAGE_SIZE);
    assert_false(HalDecompressPage(Packed, Bytes - 1, KitFrame(KIT_DATA + 1)));
    for (ULONG i = 0; i < HAL_PAGE_SIZE / 8; i++) { /* nothing to gain here */
        ULONG64 Z = (i + 1) * 0x9E3779B97F4A7C15ull;
        KitFrame(KIT_DATA)[i] = (Z ^ Z >> 30) * 0xBF58476D1CE4E5B9ull;
    }
    Packed[3000] = 0xEE;
    assert_int_equal(HalCompressPage(KitFrame(KIT_DATA), Packed, 3000, Scratch), 0);
    assert_int_equal(Packed[3000], 0xEE);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Transfer_WrittenPages_AreReadBack),
        TEST(Submit_ManyAtOnce_EachEndsOnceOnAnAttachedThread),
        TEST(Submit_BeyondTheDevice_IsTheTransfersError),
        TEST(Grow_Device_TakesTransfersBeyondItsOldEnd),
        TEST(Open_WrongOptions_AreRefused),
        TEST(Fault_ReadError_HitsTheReadsItNames),
        TEST(Fault_WriteErrorAndNoSpace_LeaveTheDeviceAsItWas),
        TEST(Fault_ShortRead_SaysSuccessWithFewerBytes),
        TEST(Fault_TornWrite_SaysSuccessAndWritesHalf),
        TEST(Fault_Corrupt_ChangesTheNamedPageOnly),
        TEST(Fault_OfAPartOfTheDevice_SparesTheRest),
        TEST(Fault_Delay_LetsLaterTransfersPass),
        TEST(Fault_TooManyRules_AreRefused),
        TEST(Codec_Page_ComesBackAndKeepsItsBound),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
