/* machine.c - starting and stopping, RAM and the window: point 3 of the contract. SPDX-License-Identifier:
 * MIT */
#include "hal/kit.h"

static void Start_BadVersion_IsRefused(void **State)
{
    (void)State;
    HAL_MACHINE Machine = KitMachine(1024);
    Machine.Version = HAL_VERSION + 1;
    assert_int_equal(HalStartMachine(&Machine), STATUS_INVALID_PARAMETER);
    assert_int_equal(HalFacts.WindowBase, 0);
}

static void Start_BadRuns_AreRefused(void **State)
{
    (void)State;
    HAL_RUN Overlap[] = {{1, 100, FALSE}, {100, 10, FALSE}};
    HAL_RUN Unsorted[] = {{200, 100, FALSE}, {100, 10, FALSE}};
    HAL_RUN Empty[] = {{1, 0, FALSE}};
    HAL_RUN OnlyDevice[] = {{1, 10, TRUE}};
    HAL_RUN Beyond[] = {{1, 10, FALSE}, {(1ull << 40) - 1, 2, FALSE}};
    struct {
        const HAL_RUN *Runs;
        ULONG Count;
    } Bad[] = {{Overlap, 2}, {Unsorted, 2}, {Empty, 1}, {OnlyDevice, 1}, {Beyond, 2}, {NULL, 1}, {Overlap, 0}};
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        HAL_MACHINE Machine = KitMachine(1024);
        Machine.Runs = Bad[i].Runs;
        Machine.RunCount = Bad[i].Count;
        assert_int_equal(HalStartMachine(&Machine), STATUS_INVALID_PARAMETER);
    }
}

static void Start_BadSizes_AreRefused(void **State)
{
    (void)State;
    static const ULONG64 Bad[][2] = {{0, 1ull << 30}, {(1ull << 30) + 4096, 1ull << 30}, {1ull << 30, 4096}, {1ull << 47, 0}};
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        HAL_MACHINE Machine = KitMachine(1024);
        Machine.SystemBytes = Bad[i][0];
        Machine.UserBytes = Bad[i][1];
        assert_int_equal(HalStartMachine(&Machine), STATUS_INVALID_PARAMETER);
    }
}

static void Start_MoreThanTheHostHas_IsNoMemory(void **State)
{
    (void)State;
    HAL_RUN Runs[] = {{1, (1ull << 38), FALSE}}; /* a petabyte */
    HAL_MACHINE Machine = KitMachine(1024);
    Machine.Runs = Runs;
    Machine.RunCount = 1;
    assert_int_equal(HalStartMachine(&Machine), STATUS_NO_MEMORY);
    assert_int_equal(HalFacts.WindowBase, 0);
}

static void Start_Twice_IsRefused(void **State)
{
    (void)State;
    KitStart(1024, 0);
    HAL_MACHINE Machine = KitMachine(1024);
    ULONG_PTR Window = HalFacts.WindowBase;
    assert_int_equal(HalStartMachine(&Machine), STATUS_INVALID_PARAMETER);
    assert_int_equal(HalFacts.WindowBase, Window);
    KitStop();
}

static void Stop_ThenStart_IsANewMachine(void **State)
{
    (void)State;
    for (ULONG i = 0; i < 20; i++) {
        KitStart(1024, 0);
        KitMap(KitVa(5), KIT_DATA + 3, KIT_RW);
        assert_int_equal(KitRead(KitVa(5)), 0);
        KitWrite(KitVa(5), i + 1);
        KitStop();
        assert_int_equal(HalFacts.WindowBase, 0);
        assert_null(HalCurrentThread());
    }
}

static void Facts_DescribeTheMachine(void **State)
{
    (void)State;
    KitStart(1024, 100);
    assert_int_equal(HalFacts.SystemEnd - HalFacts.SystemBase, 64ull << 30);
    assert_int_equal(HalFacts.UserEnd - HalFacts.UserBase, 16ull << 30);
    assert_int_equal(HalFacts.SystemBase % (1ull << 30), 0);
    assert_int_equal(HalFacts.UserBase % (1ull << 30), 0);
    assert_true(HalFacts.UserEnd <= HalFacts.SystemBase);
    assert_int_equal(HalFacts.TlbEntries, 100);
    assert_true(HalFacts.HostProcessors >= 1);
    assert_true(HalFacts.StackBytes >= 0x10000);
    assert_true(HalIsSystemAddress(HalFacts.SystemBase) && !HalIsSystemAddress(HalFacts.SystemEnd));
    assert_true(HalIsUserAddress(HalFacts.UserEnd - 1) && !HalIsUserAddress(HalFacts.SystemBase));
    assert_int_equal(HalWindowPage(HalWindow(KIT_DATA + 5)), KIT_DATA + 5);
    KitStop();
}

static void Ram_IsZero_AndKeepsWhatIsWritten(void **State)
{
    (void)State;
    KitStart(1024, 0);
    for (ULONG Page = 0; Page < 1024; Page++) {
        for (ULONG i = 0; i < 512; i += 73) {
            assert_int_equal(KitFrame(KIT_DATA + Page)[i], 0);
        }
        KitFrame(KIT_DATA + Page)[7] = Page;
    }
    for (ULONG Page = 0; Page < 1024; Page++) {
        assert_int_equal(KitFrame(KIT_DATA + Page)[7], Page);
    }
    KitStop();
}

static void Window_CoversRamAndDevices_NotHoles(void **State)
{
    (void)State;
    KitStart(1024, 0);
    static const struct {
        PFN_NUMBER Page;
        BOOLEAN There;
    } Check[] = {{0, FALSE},
                 {1, TRUE},
                 {4096, TRUE},
                 {4097, FALSE},
                 {KIT_DATA - 1, FALSE},
                 {KIT_DATA, TRUE},
                 {KIT_DATA + 1023, TRUE},
                 {KIT_DATA + 1024, FALSE},
                 {KIT_DEVICE - 1, FALSE},
                 {KIT_DEVICE, TRUE},
                 {KIT_DEVICE + 15, TRUE}};
    for (ULONG i = 0; i < ARRAYSIZE(Check); i++) {
        assert_int_equal(HalProbeHostMemory(HalWindow(Check[i].Page), 4096, FALSE), Check[i].There);
        assert_int_equal(HalProbeHostMemory(HalWindow(Check[i].Page), 4096, TRUE), Check[i].There);
    }
    KitFrame(KIT_DEVICE + 3)[0] = 77;
    assert_int_equal(KitFrame(KIT_DEVICE + 3)[0], 77);
    KitStop();
}

static void Zero_And_Discard_ReadAsZero(void **State)
{
    (void)State;
    KitStart(1024, 0);
    for (ULONG Page = 0; Page < 8; Page++) {
        memset(HalWindow(KIT_DATA + Page), 0xA5, 4096);
    }
    KitMap(KitVa(9), KIT_DATA + 5, KIT_RW);
    assert_int_equal(KitRead(KitVa(9)), 0xA5A5A5A5A5A5A5A5);
    HalZeroPages(KIT_DATA + 1, 2);
    HalDiscardPages(KIT_DATA + 4, 3);
    static const BOOLEAN Zero[] = {FALSE, TRUE, TRUE, FALSE, TRUE, TRUE, TRUE, FALSE};
    for (ULONG Page = 0; Page < 8; Page++) {
        assert_int_equal(KitFrame(KIT_DATA + Page)[0], Zero[Page] ? 0 : 0xA5A5A5A5A5A5A5A5);
        assert_int_equal(KitFrame(KIT_DATA + Page)[511], Zero[Page] ? 0 : 0xA5A5A5A5A5A5A5A5);
    }
    assert_int_equal(KitRead(KitVa(9)), 0);
    KitWrite(KitVa(9), 3);
    assert_int_equal(KitFrame(KIT_DATA + 5)[0], 3);
    KitStop();
}

static void Probe_TellsHostMemoryApart(void **State)
{
    (void)State;
    KitStart(1024, 0);
    static const CHAR Constant[] = "constant";
    CHAR Local[64];
    memset(Local, 'x', sizeof(Local));
    assert_true(HalProbeHostMemory(Constant, sizeof(Constant), FALSE));
    assert_false(HalProbeHostMemory(Constant, sizeof(Constant), TRUE));
    assert_true(HalProbeHostMemory(Local, sizeof(Local), TRUE));
    assert_int_equal(Local[0], 'x');
    assert_int_equal(Local[63], 'x');
    assert_false(HalProbeHostMemory(NULL, 1, FALSE));
    assert_false(HalProbeHostMemory((PVOID)~0xFFFull, 8, FALSE));
    assert_false(HalProbeHostMemory((PVOID)0x800000000000, 8, FALSE));
    assert_false(HalProbeHostMemory(Local, ~0ull, FALSE));
    assert_true(HalProbeHostMemory(NULL, 0, TRUE));
    /* simulated memory is not the host's, mapped or not */
    KitMap(KitVa(1), KIT_DATA, KIT_RW);
    KitWrite(KitVa(1), 1);
    assert_false(HalProbeHostMemory((PVOID)KitVa(1), 8, FALSE));
    assert_false(HalProbeHostMemory((PVOID)KitVa(2), 8, TRUE));
    KitStop();
}

static void Entropy_Differs(void **State)
{
    (void)State;
    ULONG64 A = HalQueryEntropy(), B = HalQueryEntropy(), C = HalQueryEntropy();
    assert_true(A != B && B != C && A != C);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Start_BadVersion_IsRefused),
        cmocka_unit_test(Start_BadRuns_AreRefused),
        cmocka_unit_test(Start_BadSizes_AreRefused),
        cmocka_unit_test(Start_MoreThanTheHostHas_IsNoMemory),
        cmocka_unit_test(Start_Twice_IsRefused),
        cmocka_unit_test(Stop_ThenStart_IsANewMachine),
        cmocka_unit_test(Facts_DescribeTheMachine),
        cmocka_unit_test(Ram_IsZero_AndKeepsWhatIsWritten),
        cmocka_unit_test(Window_CoversRamAndDevices_NotHoles),
        cmocka_unit_test(Zero_And_Discard_ReadAsZero),
        cmocka_unit_test(Probe_TellsHostMemoryApart),
        cmocka_unit_test(Entropy_Differs),
    };
    return cmocka_run_group_tests_name("hal.machine", Tests, NULL, NULL);
}
