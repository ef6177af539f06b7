/*
 * verifier_options.c - each option of the Verifier by its name and by its bit, at the start and live, for all drivers and for
 * others only; what is not here is refused (docs/VERIFIER.md). SPDX-License-Identifier: MIT
 */
#include <ntifs.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "mm_kit.h"
#include "vf/vf.h"

#define TAG 'tpOV'

static void *Memory;
/* the verifier's to see, not a sanitizer's */
#define SIN static __attribute__((noinline, no_sanitize("address", "thread"))) void
SIN Overrun(void *Unused) /* one byte behind: special pool's stop, or the ordinary pool's */
{
    (void)Unused;
    Memory = ExAllocatePool2(POOL_FLAG_NON_PAGED, 13, TAG);
    ((volatile UCHAR *)Memory)[13] ^= 0xFF;
    ExFreePool(Memory);
}
SIN PagedTouch(void *Unused)
{
    KIRQL Old;
    (void)Unused;
    volatile UCHAR *Paged = ExAllocatePool2(POOL_FLAG_PAGED, 5000, TAG);
    Paged[0] = 1;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    Paged[0] = 2;
    KeLowerIrql(Old);
}
static void FreeTimer(void *Unused)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    (void)Unused;
    PKTIMER Timer = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(KTIMER), TAG);
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    ExFreePool(Timer);
}
static void FreeIrp(void *Unused)
{
    (void)Unused;
    ExFreePool(IoAllocateIrp(1, FALSE));
}
static void TakeTwice(void *Unused)
{
    static KSPIN_LOCK Lock;
    KIRQL Old;
    (void)Unused;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeAcquireSpinLockAtDpcLevel(&Lock);
}
static void UserString(void *Unused)
{
    PVOID User = NULL;
    SIZE_T Size = PAGE_SIZE;
    (void)Unused;
    assert_int_equal(ZwAllocateVirtualMemory(NtCurrentProcess(), &User, 0, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE), 0);
    (void)ZwClose(*(PHANDLE)User);
    (void)ZwCreateEvent((PHANDLE)User, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
}
static void FreeResource(void *Unused)
{
    (void)Unused;
    PERESOURCE Resource = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Resource, TAG);
    ExInitializeResourceLite(Resource);
    ExFreePool(Resource);
}
static void Executable(void *Unused)
{
    (void)Unused;
    (void)ExAllocatePool2(POOL_FLAG_NON_PAGED_EXECUTE, 10, TAG);
}
static void Below4G(void *Unused)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = 0xFFFFFFFF};
    (void)Unused;
    (void)MmAllocateContiguousMemory(PAGE_SIZE, Highest);
}

/* The options, as Windows numbers them. Sin: what is stopped with Code (and parameter First, of those where it tells) when the option
 * is on, and not like that when it is off. */
static const struct {
    const char *Name;
    uint32_t Bit;
    bool Live;
    void (*Sin)(void *);
    uint32_t Code;
    unsigned Which;
    uint64_t Value;
} Options[] = {
    {"special_pool", 0x1, true, Overrun, 0xC1, 3, 0x24},
    {"force_irql", 0x2, true, PagedTouch, 0xD1, 1, DISPATCH_LEVEL},
    {"low_resources", 0x4, true, NULL, 0, 0, 0},
    {"pool_tracking", 0x8, true, FreeTimer, 0xC7, 0, 0},
    {"io", 0x10, true, FreeIrp, 0xC4, 0, 0x105},
    {"deadlock", 0x20, true, TakeTwice, 0xC4, 0, 0x1000},
    {"dma", 0x80, true, NULL, 0, 0, 0},
    {"security", 0x100, true, UserString, 0xC4, 0, 0xE3},
    {"misc", 0x800, true, FreeResource, 0xC4, 0, 0xD2},
    {"mdl_stack", 0x2000, true, NULL, 0, 0, 0},
    {"mdl_driver", 0x4000, true, NULL, 0, 0, 0},
    {"ddi", 0x20000, false, NULL, 0, 0, 0},
    {"ddi_additional", 0x80000, false, Below4G, 0xC4, 0, 0x141},
    {"code_integrity", 0x2000000, false, Executable, 0xC4, 0, 0x2000},
};

static void StartWith(const char *Text)
{
    ntmm_options Wanted;
    ntmm_default_options(&Wanted);
    Wanted.ram = 64u << 20;
    Wanted.cpus = 2;
    Wanted.special_pool_sample = 0;
    assert_int_equal(ntmm_parse_options(Text, &Wanted), 0);
    assert_int_equal(ntmm_start(&Wanted), 0);
}

/* Whether the sin is stopped as with the option; what the sin leaves behind goes with the system. */
static bool Caught(unsigned Index)
{
    ntmm_bugcheck Stop;
    return ntmm_catch(Options[Index].Sin, NULL, &Stop) && Stop.code == Options[Index].Code &&
           Stop.parameters[Options[Index].Which] == Options[Index].Value;
}

static uint32_t Level(void)
{
    VF_COUNTERS Counters;
    VfQueryCounters(&Counters);
    return Counters.Level;
}

/* In a child, as a sin leaves locks held, IRQLs raised and memory behind. */
static void InChild(void (*Test)(unsigned), unsigned Index)
{
    int Status;
    fflush(NULL);
    pid_t Id = fork();
    if (Id == 0) {
        Test(Index);
        _exit(0);
    }
    assert_int_equal(waitpid(Id, &Status, 0), Id);
    if (Status != 0)
        fail_msg("%s: status 0x%x", Options[Index].Name, Status);
}
#define REQUIRE(Condition)                                                                                                     \
    do {                                                                                                                       \
        if (!(Condition)) {                                                                                                    \
            fprintf(stderr, "%s: %s\n", Options[Index].Name, #Condition);                                                      \
            _exit(1);                                                                                                          \
        }                                                                                                                      \
    } while (0)

static void ByName(unsigned Index)
{
    char Text[64];
    snprintf(Text, sizeof Text, "verifier=%s", Options[Index].Name);
    StartWith(Text);
    REQUIRE(Level() == Options[Index].Bit);
    REQUIRE(Options[Index].Sin == NULL || Caught(Index));
}
static void ByMask(unsigned Index)
{
    char Text[64];
    snprintf(Text, sizeof Text, "verifier=0x%X", Options[Index].Bit);
    StartWith(Text);
    REQUIRE(Level() == Options[Index].Bit);
    REQUIRE(Options[Index].Sin == NULL || Caught(Index));
}
/* What the sin does where nobody stops it can be borne: a freed timer that runs cannot. */
static bool Bearable(unsigned Index)
{
    return Options[Index].Sin != NULL && Options[Index].Sin != FreeTimer;
}
static void Off(unsigned Index)
{
    StartWith("verifier=0");
    REQUIRE(Level() == 0);
    REQUIRE(!Bearable(Index) || !Caught(Index));
}
static void Live(unsigned Index)
{
    StartWith("verifier=0");
    if (!Options[Index].Live) {
        REQUIRE(ntmm_set_verifier(Options[Index].Bit) == -1);
        REQUIRE(strstr(ntmm_error(), "can be turned on and off") != NULL);
        REQUIRE(Level() == 0);
        return;
    }
    REQUIRE(ntmm_set_verifier(Options[Index].Bit) == 0);
    REQUIRE(Level() == Options[Index].Bit);
    REQUIRE(ntmm_set_verifier(0) == 0 && Level() == 0);
    REQUIRE(ntmm_set_verifier(Options[Index].Bit) == 0);
    REQUIRE(Options[Index].Sin == NULL || Caught(Index));
}
static void LiveOff(unsigned Index)
{
    if (!Options[Index].Live || !Bearable(Index))
        return;
    char Text[64];
    snprintf(Text, sizeof Text, "verifier=%s", Options[Index].Name);
    StartWith(Text);
    REQUIRE(ntmm_set_verifier(0) == 0);
    REQUIRE(!Caught(Index));
}
static void Each(void (*Test)(unsigned))
{
    for (unsigned Index = 0; Index < sizeof Options / sizeof *Options; Index++)
        InChild(Test, Index);
}
static void EachOption_ByName(void **State)
{
    (void)State;
    Each(ByName);
}
static void EachOption_ByMask(void **State)
{
    (void)State;
    Each(ByMask);
}
static void EachOption_Off_SaysNothing(void **State)
{
    (void)State;
    Each(Off);
}
static void EachOption_Live_AsDocumented(void **State)
{
    (void)State;
    Each(Live);
}
static void EachOption_TurnedOff_SaysNothing(void **State)
{
    (void)State;
    Each(LiveOff);
}

/* verifier_drivers: the others are left alone, by the options that go by driver. */
static void OtherDriver(unsigned Index)
{
    char Text[128];
    snprintf(Text, sizeof Text, "verifier=%s,verifier_drivers=other.sys", Options[Index].Name);
    StartWith(Text);
    REQUIRE(!Caught(Index));
}
static void EachOption_OtherDriver_SaysNothing(void **State)
{
    (void)State;
    InChild(OtherDriver, 0);  /* special pool */
    InChild(OtherDriver, 1);  /* forced IRQL checking */
    InChild(OtherDriver, 5);  /* deadlock detection */
    InChild(OtherDriver, 13); /* code integrity */
}

static void Mask_OfWhatIsNotHere_IsRefused(void **State)
{
    static const uint32_t Missing[] = {0x200, 0x400, 0x1000, 0x8000, 0x10000, 0x200000, 0x800000, 0x1000000};
    ntmm_options Wanted;
    char Text[32];
    (void)State;
    ntmm_default_options(&Wanted);
    for (unsigned Index = 0; Index < sizeof Missing / sizeof *Missing; Index++) {
        snprintf(Text, sizeof Text, "verifier=0x%X", Missing[Index] | 0x209BB);
        assert_int_equal(ntmm_parse_options(Text, &Wanted), -1);
        snprintf(Text, sizeof Text, "of these 0x%x are not here", Missing[Index]);
        assert_non_null(strstr(ntmm_error(), Text));
    }
    assert_int_equal(ntmm_parse_options("verifier=0x40000", &Wanted), -1);
    assert_non_null(strstr(ntmm_error(), "--fail-each"));
    Wanted.verifier = 0x400;
    assert_int_equal(ntmm_start(&Wanted), -1);
    assert_non_null(strstr(ntmm_error(), "not here"));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(EachOption_ByName),
        cmocka_unit_test(EachOption_ByMask),
        cmocka_unit_test(EachOption_Off_SaysNothing),
        cmocka_unit_test(EachOption_Live_AsDocumented),
        cmocka_unit_test(EachOption_TurnedOff_SaysNothing),
        cmocka_unit_test(EachOption_OtherDriver_SaysNothing),
        cmocka_unit_test(Mask_OfWhatIsNotHere_IsRefused),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
