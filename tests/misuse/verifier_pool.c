/*
 * verifier_pool.c - pool tracking, miscellaneous checks and low resources of the Verifier: the exact five numbers, and what comes
 * close and is right. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <ntifs.h>
#include "vf/vf.h"
#include "ex/ex.h"

#define TAG 'frVT'

static void Restart(uint32_t Verifier, const char *Options)
{
    ntmm_options Wanted;
    if (ntmm_running())
        assert_int_equal(ntmm_stop(), 0);
    ntmm_default_options(&Wanted);
    Wanted.ram = 64 << 20;
    Wanted.cpus = 2;
    Wanted.verifier = Verifier;
    if (Options != NULL)
        assert_int_equal(ntmm_parse_options(Options, &Wanted), 0);
    assert_int_equal(ntmm_start(&Wanted), 0);
}

static void FreeAt(void *At)
{
    ExFreePoolWithTag(At, TAG);
}

/* ---- what lives in freed memory ---- */
static void Freed_HoldsResource_C4_D2(void **State)
{
    static const struct {
        SIZE_T Size, At;
    } Blocks[] = {{300, 64}, {5 * PAGE_SIZE, 0}, {5 * PAGE_SIZE, 2 * PAGE_SIZE + 8}, {100 * PAGE_SIZE, 99 * PAGE_SIZE}};
    (void)State;
    Restart(VF_MISC, NULL);
    for (ULONG Index = 0; Index < RTL_NUMBER_OF(Blocks); Index++) {
        PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, Blocks[Index].Size, TAG);
        PERESOURCE Resource = (PERESOURCE)(PVOID)(Block + Blocks[Index].At);
        ExInitializeResourceLite(Resource);
        ExpectStop(FreeAt, Block, 0xC4, 0xD2, (uint64_t)Resource, (uint64_t)Block, Blocks[Index].Size);
        ExDeleteResourceLite(Resource);
        FreeAt(Block);
    }
}

static void InitResource(void *Resource)
{
    ExInitializeResourceLite(Resource);
}

static void DeleteResource(void *Resource)
{
    ExDeleteResourceLite(Resource);
}

static void Resource_InitTwiceDeleteTwice_C4_D0_D1(void **State)
{
    static ERESOURCE Resource;
    (void)State;
    InitResource(&Resource);
    ExpectStop(InitResource, &Resource, 0xC4, 0xD0, (uint64_t)&Resource, 0, 0);
    DeleteResource(&Resource);
    ExpectStop(DeleteResource, &Resource, 0xC4, 0xD1, (uint64_t)&Resource, 0, 0);
    InitResource(&Resource); /* right */
    DeleteResource(&Resource);
}

static void Freed_HoldsLookasideList_C4_CC(void **State)
{
    PNPAGED_LOOKASIDE_LIST List = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *List, TAG);
    (void)State;
    ExInitializeNPagedLookasideList(List, NULL, NULL, 0, 64, TAG, 0);
    ExpectStop(FreeAt, List, 0xC4, 0xCC, (uint64_t)List, (uint64_t)List, sizeof *List);
    ExDeleteNPagedLookasideList(List);
    FreeAt(List);
}

static KEVENT Blocked, Go;

static VOID Wait(PVOID Context)
{
    (void)Context;
    KeSetEvent(&Blocked, 0, FALSE);
    KeWaitForSingleObject(&Go, Executive, KernelMode, FALSE, NULL);
}

static VOID Nothing(PVOID Context)
{
    (void)Context;
}

static void Freed_HoldsQueuedWorkItem_96(void **State)
{
    enum { WORKERS = 64 };
    static WORK_QUEUE_ITEM Busy[WORKERS];
    PWORK_QUEUE_ITEM Item = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Item, TAG);
    ntmm_bugcheck Stop;
    KIRQL Old;
    unsigned Round;
    bool Caught = false;
    (void)State;
    (void)Busy, (void)Blocked, (void)Go, (void)Wait;
    ExInitializeWorkItem(Item, Nothing, NULL);
    /* No worker can be kept from the item for ever: it is queued and freed at once, until the free is first. */
    for (Round = 0; Round < 100000 && !Caught; Round++) {
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        ExQueueWorkItem(Item, DelayedWorkQueue);
        Caught = ntmm_catch(FreeAt, Item, &Stop);
        KeLowerIrql(Old);
        if (!Caught)
            Item = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Item, TAG);
        if (!Caught)
            ExInitializeWorkItem(Item, Nothing, NULL);
    }
    assert_true(Caught);
    assert_int_equal(Stop.code, 0x96);
    assert_int_equal(Stop.parameters[0], (uint64_t)Item);
    assert_int_equal(Stop.parameters[3], (uint64_t)(ULONG_PTR)Nothing);
}

static VOID Dpc(PKDPC Object, PVOID Context, PVOID A, PVOID B)
{
    (void)Object, (void)Context, (void)A, (void)B;
}

static void Freed_HoldsTimer_C7(void **State)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    PKTIMER Timer;
    (void)State;
    Restart(VF_POOL_TRACKING, NULL);
    Timer = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4 * sizeof *Timer, TAG);
    KeInitializeTimer(&Timer[2]);
    KeSetTimer(&Timer[2], Late, NULL);
    ExpectStop(FreeAt, Timer, 0xC7, 0, (uint64_t)&Timer[2], (uint64_t)Timer, (uint64_t)Timer + 4 * sizeof *Timer);
    KeCancelTimer(&Timer[2]);
    FreeAt(Timer);
}

/* The same in special pool. */
static void FreedSpecial_HoldsTimer_C7(void **State)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    PKTIMER Timer;
    (void)State;
    Restart(VF_POOL_TRACKING | VF_SPECIAL_POOL, NULL);
    Timer = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Timer, TAG);
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    ExpectStop(FreeAt, Timer, 0xC7, 0, (uint64_t)Timer, (uint64_t)Timer, (uint64_t)(Timer + 1));
    KeCancelTimer(Timer);
    FreeAt(Timer);
    (void)Dpc;
}

/* ---- leaks at unload ---- */
static PVOID Kept[3];
static unsigned Keep;

static VOID Unload(PDRIVER_OBJECT Driver)
{
    (void)Driver;
}

static NTSTATUS Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    unsigned Index;
    (void)Path;
    Driver->DriverUnload = Unload;
    for (Index = 0; Index < Keep; Index++)
        Kept[Index] = ExAllocatePool2(Index & 1 ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, 40, TAG);
    ExFreePool(ExAllocatePool2(POOL_FLAG_PAGED, 10, TAG));
    return STATUS_SUCCESS;
}

static ntmm_driver *Add(const char *Name, PDRIVER_INITIALIZE Routine)
{
    ntmm_driver *Driver;
    assert_int_equal(ntmm_add_driver(Name, (int32_t(*)(struct _DRIVER_OBJECT *, struct _UNICODE_STRING *))Routine, &Driver), 0);
    return Driver;
}

static void Remove(void *Driver)
{
    assert_int_equal(ntmm_remove_driver(Driver, NULL), 0);
}

static void Unload_BlocksLeft_C4_62(void **State)
{
    PVOID Own;
    ntmm_driver *Driver;
    ntmm_bugcheck Stop;
    unsigned Special;
    (void)State;
    for (Special = 0; Special < 2; Special++) {
        Restart(VF_POOL_TRACKING | (Special ? VF_SPECIAL_POOL : 0), NULL);
        Own = ExAllocatePool2(POOL_FLAG_PAGED, 20, TAG); /* the program's, from before */
        Keep = 3;
        Driver = Add("leaky", Entry);
        assert_true(ntmm_catch(Remove, Driver, &Stop));
        assert_int_equal(Stop.code, 0xC4);
        assert_int_equal(Stop.parameters[0], 0x62);
        assert_string_equal((const char *)Stop.parameters[1], "leaky");
        assert_int_equal(Stop.parameters[3], 3);
        free(Driver); /* what the stop cut short */
        for (Keep = 0; Keep < 3; Keep++)
            ExFreePool(Kept[Keep]);
        /* Nothing is left: nothing is said. */
        Keep = 0;
        Driver = Add("tidy", Entry);
        assert_false(ntmm_catch(Remove, Driver, &Stop));
        ExFreePool(Own);
    }
    /* Another driver is verified: this one is not. */
    Restart(VF_POOL_TRACKING, "verifier_drivers=other.sys+third");
    Keep = 1;
    Driver = Add("leaky", Entry);
    assert_false(ntmm_catch(Remove, Driver, &Stop));
    ExFreePool(Kept[0]);
}

/* What is printed while the system stops. */
static void StopAndRead(char *Text, size_t Size)
{
    FILE *File = tmpfile();
    int Console = dup(2);
    assert_non_null(File);
    fflush(stderr);
    dup2(fileno(File), 2);
    assert_int_equal(ntmm_stop(), 0);
    dup2(Console, 2);
    close(Console);
    rewind(File);
    Text[fread(Text, 1, Size - 1, File)] = 0;
    fclose(File);
}

static HANDLE DriverHandle;
static NTSTATUS EntryWithHandle(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    (void)Path;
    Driver->DriverUnload = Unload;
    return ObOpenObjectByPointer(Driver, OBJ_KERNEL_HANDLE, NULL, 0, *IoDriverObjectType, KernelMode, &DriverHandle);
}
/* A handle keeps an unloaded driver's object; it goes with the handle, which the system's end closes after its I/O layer has gone. */
static void Exit_UnloadedDriverStillReferenced_EndsWell(void **State)
{
    ntmm_driver *Driver;
    (void)State;
    for (int Round = 0; Round < 2; Round++) {
        Restart(0, NULL);
        Driver = Add("held", EntryWithHandle);
        assert_int_equal(ntmm_remove_driver(Driver, NULL), 0);
        assert_int_equal(ntmm_stop(), 0);
    }
    Restart(0, NULL);
}

/* A driver that nobody unloads, and a program without one: at the end of the system, by the place that allocated. */
static void Exit_BlocksLeft_AreListed(void **State)
{
    static char Text[65536];
    ntmm_driver *Driver;
    ntmm_bugcheck Stop;
    (void)State;
    Restart(VF_POOL_TRACKING, NULL);
    Keep = 3;
    Driver = Add("leaky", Entry);
    StopAndRead(Text, sizeof Text);
    assert_non_null(strstr(Text, "leaky has not freed 3 blocks of pool (120 bytes)"));
    assert_non_null(strstr(Text, "not freed:"));
    assert_non_null(strstr(Text, "verifier_pool"));
    free(Driver);
    /* Blocks from before are among them: how many, and no places, also not those of the leak that was told last. */
    Restart(VF_POOL_TRACKING, NULL);
    Keep = 2;
    Driver = Add("first", Entry);
    assert_true(ntmm_catch(Remove, Driver, &Stop));
    free(Driver);
    Keep = 1;
    Driver = Add("second", Entry);
    StopAndRead(Text, sizeof Text);
    assert_non_null(strstr(Text, "second has not freed 1 block of pool"));
    assert_null(strstr(Text, "not freed:"));
    free(Driver);
    Restart(VF_POOL_TRACKING, NULL);
    ExAllocatePool2(POOL_FLAG_PAGED, 20, TAG);
    StopAndRead(Text, sizeof Text);
    assert_non_null(strstr(Text, "program has not freed 1 block of pool (20 bytes)"));
    Restart(VF_POOL_TRACKING, NULL);
    ExFreePool(ExAllocatePool2(POOL_FLAG_PAGED, 20, TAG));
    StopAndRead(Text, sizeof Text);
    assert_string_equal(Text, "");
    Restart(0, NULL);
}

/* ---- rules of requests, with any option on ---- */
static void AskNothing(void *Unused)
{
    (void)Unused;
    (void)ExAllocatePoolWithTag(PagedPool, 0, TAG);
}

static void AskAt(void *Irql)
{
    KIRQL Old;
    KeRaiseIrql((KIRQL)(uintptr_t)Irql, &Old);
    (void)ExAllocatePool2((uintptr_t)Irql == DISPATCH_LEVEL ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, 10, TAG);
}

static void AskExecutable(void *Unused)
{
    (void)Unused;
    (void)ExAllocatePoolWithTag(NonPagedPoolExecute, 10, TAG);
}

static void FreeAtRaised(void *Block)
{
    KIRQL Old;
    KeRaiseIrql(MmRegionOf(Block) == MmRegionPagedPool ? DISPATCH_LEVEL : DISPATCH_LEVEL + 1, &Old);
    ExFreePoolWithTag(Block, TAG);
}

static void QueuePaged(void *Item)
{
    ExQueueWorkItem(Item, DelayedWorkQueue);
}

static void Rules_C4(void **State)
{
    PVOID Block;
    ntmm_bugcheck Stop;
    (void)State;
    Restart(VF_CODE_INTEGRITY | VF_MISC, NULL);
    ExpectStop(AskNothing, NULL, 0xC4, 0x00, PASSIVE_LEVEL, PagedPool, 0);
    ExpectStop(AskAt, (void *)DISPATCH_LEVEL, 0xC4, 0x01, DISPATCH_LEVEL, PagedPool, 10);
    ExpectStop(AskAt, (void *)(DISPATCH_LEVEL + 1), 0xC4, 0x02, DISPATCH_LEVEL + 1, NonPagedPoolNx, 10);
    assert_true(ntmm_catch(AskExecutable, NULL, &Stop));
    assert_int_equal(Stop.code, 0xC4);
    assert_int_equal(Stop.parameters[0], 0x2000);
    assert_int_equal(Stop.parameters[2], NonPagedPoolExecute);
    assert_int_equal(Stop.parameters[3], TAG);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, 10, TAG);
    ExpectStop(FreeAtRaised, Block, 0xC4, 0x11, DISPATCH_LEVEL, PagedPool, (uint64_t)Block);
    FreeAt(Block);
    Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 10, TAG);
    ExpectStop(FreeAtRaised, Block, 0xC4, 0x12, DISPATCH_LEVEL + 1, NonPagedPoolNx, (uint64_t)Block);
    FreeAt(Block);
    Block = ExAllocatePool2(POOL_FLAG_PAGED, sizeof(WORK_QUEUE_ITEM), TAG);
    ExInitializeWorkItem((PWORK_QUEUE_ITEM)Block, Nothing, NULL);
    ExpectStop(QueuePaged, Block, 0xC4, 0x131, (uint64_t)Block, 0, 0);
    FreeAt(Block);
}

/* Quota in a DPC, under pool tracking. */
static KDPC QuotaDpc;
static ntmm_bugcheck DpcStop;
static volatile bool DpcCaught;

static void AskQuota(void *Unused)
{
    (void)Unused;
    (void)ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 10, TAG);
}

static VOID RunQuota(PKDPC Object, PVOID Context, PVOID A, PVOID B)
{
    (void)Object, (void)Context, (void)A, (void)B;
    DpcCaught = ntmm_catch(AskQuota, NULL, &DpcStop);
}

static void QuotaInDpc_C4_10B(void **State)
{
    (void)State;
    Restart(VF_POOL_TRACKING, NULL);
    KeInitializeDpc(&QuotaDpc, RunQuota, NULL);
    KeInsertQueueDpc(&QuotaDpc, NULL, NULL);
    KeFlushQueuedDpcs();
    assert_true(DpcCaught);
    assert_int_equal(DpcStop.code, 0xC4);
    assert_int_equal(DpcStop.parameters[0], 0x10B);
    ExFreePool(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 10, TAG)); /* right: in a thread */
}

/* ---- low resources ---- */
static unsigned CountFailures(unsigned Requests, ULONG Tag, SIZE_T Size)
{
    unsigned Index, Failed = 0;
    for (Index = 0; Index < Requests; Index++) {
        PVOID Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, Size, Tag);
        if (Block == NULL)
            Failed++;
        else
            ExFreePool(Block);
    }
    return Failed;
}

/* "Probability in 1/10000 (default 600)"; the same seed fails the same requests; only the tags chosen; none in the first time. */
static void LowResources_ProbabilityTagsDelay(void **State)
{
    unsigned First, Again;
    VF_COUNTERS Counters;
    (void)State;
    Restart(VF_LOW_RESOURCES, "seed=7");
    First = CountFailures(20000, TAG, 50);
    assert_in_range(First, 900, 1500); /* 1200 expected, within nine deviations */
    VfQueryCounters(&Counters);
    assert_true(Counters.AllocationsFailedDeliberately >= First);
    Restart(VF_LOW_RESOURCES, "seed=7");
    Again = CountFailures(20000, TAG, 50);
    assert_int_equal(First, Again);
    Restart(VF_LOW_RESOURCES, "fault_probability=10000,fault_tags=Abcd+TVrf");
    assert_int_equal(CountFailures(100, TAG, 50), 100);
    assert_int_equal(CountFailures(100, 'dcbA', 9000), 100);
    assert_int_equal(CountFailures(100, 'dcbB', 50), 0);
    Restart(VF_LOW_RESOURCES, "fault_probability=10000,fault_delay=1000000");
    assert_int_equal(CountFailures(100, TAG, 50), 0);
    Restart(VF_LOW_RESOURCES, "fault_probability=10000");
    assert_int_equal(VfSetFlags(0), STATUS_SUCCESS);
    assert_int_equal(CountFailures(100, TAG, 50), 0);
    assert_int_equal(VfSetFlags(VF_LOW_RESOURCES), STATUS_SUCCESS);
    assert_int_equal(CountFailures(100, TAG, 50), 100);
    assert_int_equal(VfSetFlags(0), STATUS_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Freed_HoldsResource_C4_D2),
        cmocka_unit_test(Resource_InitTwiceDeleteTwice_C4_D0_D1),
        cmocka_unit_test(Freed_HoldsLookasideList_C4_CC),
        cmocka_unit_test(Freed_HoldsQueuedWorkItem_96),
        cmocka_unit_test(Freed_HoldsTimer_C7),
        cmocka_unit_test(FreedSpecial_HoldsTimer_C7),
        cmocka_unit_test(Unload_BlocksLeft_C4_62),
        cmocka_unit_test(Exit_BlocksLeft_AreListed),
        cmocka_unit_test(Exit_UnloadedDriverStillReferenced_EndsWell),
        cmocka_unit_test(Rules_C4),
        cmocka_unit_test(QuotaInDpc_C4_10B),
        cmocka_unit_test(LowResources_ProbabilityTagsDelay),
    };
    return cmocka_run_group_tests(Tests, NULL, StopSystem);
}
