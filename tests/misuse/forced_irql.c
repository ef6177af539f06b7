/*
 * forced_irql.c - Driver Verifier's option 0x2: pageable memory touched at DISPATCH_LEVEL or above stops every time, resident or not,
 * also inside our own routines; and what comes close to it does not. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <ntifs.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CLANG_TSAN 1
#endif
#endif

static PUCHAR Paged; /* two pages of paged pool, and what the routines below take for their objects */

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 2;
    Options.verifier = 0x2;
    if (ntmm_start(&Options) != 0) {
        return -1;
    }
    Paged = ExAllocatePoolWithTag(PagedPool, 2 * PAGE_SIZE, 'tseT');
    return Paged && (KiIrqlWatch & KI_WATCH_DENY) ? 0 : -1;
}

static int Stop(void **State)
{
    ExFreePoolWithTag(Paged, 'tseT');
    return KitStop(State);
}

/* ---- a driver's own access ---- */
static void Access_EveryLevelAndKind_EveryTime(void **State)
{
    static const KIRQL Levels[] = {DISPATCH_LEVEL, 5, HIGH_LEVEL};
    (void)State;
    for (ULONG Round = 0; Round < 3; Round++) {
        for (ULONG Level = 0; Level < ARRAYSIZE(Levels); Level++) {
            Paged[PAGE_SIZE + 5] = 1; /* resident, dirty, in the TB */
            KitExpectAccessStop(Paged + PAGE_SIZE + 5, Levels[Level], 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Paged + PAGE_SIZE + 5,
                                Levels[Level], 0, (ULONG_PTR)KitLoad);
            KitExpectAccessStop(Paged + PAGE_SIZE + 6, Levels[Level], 'w', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Paged + PAGE_SIZE + 6,
                                Levels[Level], 1, (ULONG_PTR)KitStore);
        }
    }
    KIT_ACCESS Allowed = {Paged, APC_LEVEL, 'w'};
    assert_false(ntmm_catch(KitDoAccess, &Allowed, NULL));
    assert_true(KiTrims.Trims > 0);
    assert_true(KiTrims.Pages >= KiTrims.Trims);
    assert_true(KiTrims.Requests >= KiTrims.Trims);
}

static void Access_NonPagedAndLocked_AreLeftAlone(void **State)
{
    KIT_MDL Mdl;
    (void)State;
    PUCHAR Nonpaged = ExAllocatePoolWithTag(NonPagedPool, 64, 'tseT');
    KIT_ACCESS Access = {Nonpaged, HIGH_LEVEL, 'w'};
    assert_false(ntmm_catch(KitDoAccess, &Access, NULL));
    ExFreePoolWithTag(Nonpaged, 'tseT');
    volatile UCHAR OnStack = 0;
    Access.Address = &OnStack;
    assert_false(ntmm_catch(KitDoAccess, &Access, NULL));
    /* a locked buffer is touched through its mapping; its pageable address stays what it is */
    MmInitializeMdl(&Mdl.Mdl, Paged, PAGE_SIZE);
    assert_int_equal(KitLock(&Mdl.Mdl, KernelMode, IoModifyAccess), STATUS_SUCCESS);
    Access.Address = MmGetSystemAddressForMdlSafe(&Mdl.Mdl, NormalPagePriority);
    assert_non_null(Access.Address);
    assert_false(ntmm_catch(KitDoAccess, &Access, NULL));
    KitExpectAccessStop(Paged, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Paged, DISPATCH_LEVEL, 0,
                        (ULONG_PTR)KitLoad);
    MmUnlockPages(&Mdl.Mdl);
    KitAssertValid();
}

static void Access_UserMemory_IsPageableToo(void **State)
{
    (void)State;
    PUCHAR User = MmAllocateUserPages(1, PAGE_READWRITE);
    User[3] = 1;
    KitExpectAccessStop(User + 3, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, User + 3, DISPATCH_LEVEL, 0,
                        (ULONG_PTR)KitLoad);
    assert_int_equal(User[3], 1);
    MmFreeUserPages(User, 1);
}

/* Every way up: spin locks of each kind, DPCs. */
static KSPIN_LOCK Lock;
static VOID NTAPI TouchInDpc(PKDPC Dpc, PVOID Context, PVOID A, PVOID B)
{
    (void)Dpc;
    (void)Context;
    (void)A;
    (void)B;
    (void)KitLoad(Paged);
}
static void BySpinLock(void *Argument)
{
    KIRQL Old;
    (void)Argument;
    KeAcquireSpinLock(&Lock, &Old);
    (void)KitLoad(Paged);
}
static void ByQueuedSpinLock(void *Argument)
{
    KLOCK_QUEUE_HANDLE Handle;
    (void)Argument;
    KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
    (void)KitLoad(Paged);
}
static void ByDpc(void *Argument)
{
    static KDPC Dpc;
    KIRQL Old;
    (void)Argument;
    KeInitializeDpc(&Dpc, TouchInDpc, NULL);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeLowerIrql(Old); /* runs it */
}

static void EveryWayUp_IsARaise(void **State)
{
    static void (*const Ways[])(void *) = {BySpinLock, ByQueuedSpinLock, ByDpc};
    (void)State;
    for (ULONG Way = 0; Way < ARRAYSIZE(Ways); Way++) {
        KeInitializeSpinLock(&Lock);
        Paged[0] = 1;
        KitExpectStop(Ways[Way], NULL, DRIVER_IRQL_NOT_LESS_OR_EQUAL, Paged, DISPATCH_LEVEL, 0, (ULONG_PTR)KitLoad);
        assert_int_equal(Paged[0], 1);
    }
}

/* ---- our own routines, given pageable memory ---- */
#define ROUTINE(Name, ...)                                                                                                     \
    static void Name(void)                                                                                                     \
    {                                                                                                                          \
        __VA_ARGS__;                                                                                                           \
    }
ROUTINE(ReadEvent, (void)KeReadStateEvent((PKEVENT)Paged))
ROUTINE(SetEvent, (void)KeSetEvent((PKEVENT)Paged, 0, FALSE))
ROUTINE(ResetEvent, (void)KeResetEvent((PKEVENT)Paged))
ROUTINE(ClearEvent, KeClearEvent((PKEVENT)Paged))
ROUTINE(InitEvent, KeInitializeEvent((PKEVENT)Paged, NotificationEvent, FALSE))
ROUTINE(WaitEvent, LARGE_INTEGER Zero = {.QuadPart = 0};
        (void)KeWaitForSingleObject(Paged, Executive, KernelMode, FALSE, &Zero))
ROUTINE(ReleaseSemaphore, (void)KeReleaseSemaphore((PKSEMAPHORE)Paged, 0, 1, FALSE))
ROUTINE(InitSemaphore, KeInitializeSemaphore((PKSEMAPHORE)Paged, 0, 1))
ROUTINE(InitTimer, KeInitializeTimer((PKTIMER)Paged))
ROUTINE(SetTimer, LARGE_INTEGER Due = {.QuadPart = -10000000}; (void)KeSetTimer((PKTIMER)Paged, Due, NULL))
ROUTINE(CancelTimer, (void)KeCancelTimer((PKTIMER)Paged))
ROUTINE(InitDpc, KeInitializeDpc((PKDPC)Paged, TouchInDpc, NULL))
ROUTINE(InsertDpc, (void)KeInsertQueueDpc((PKDPC)Paged, NULL, NULL))
ROUTINE(RemoveDpc, (void)KeRemoveQueueDpc((PKDPC)Paged))
ROUTINE(TakeLock, KeAcquireSpinLockAtDpcLevel((PKSPIN_LOCK)Paged))
ROUTINE(TryLock, (void)KeTryToAcquireSpinLockAtDpcLevel((PKSPIN_LOCK)Paged))
ROUTINE(InsertHead, static LIST_ENTRY Entry; (void)ExInterlockedInsertHeadList((PLIST_ENTRY)Paged, &Entry, &Lock))
ROUTINE(RemoveHead, (void)ExInterlockedRemoveHeadList((PLIST_ENTRY)Paged, &Lock))
ROUTINE(AddLarge, LARGE_INTEGER One = {.QuadPart = 1}; (void)ExInterlockedAddLargeInteger((PLARGE_INTEGER)Paged, One, &Lock))
ROUTINE(BuildMdl, MmBuildMdlForNonPagedPool((PMDL)Paged))
ROUTINE(UnlockMdl, MmUnlockPages((PMDL)Paged))
ROUTINE(MapMdl, (void)MmMapLockedPagesSpecifyCache((PMDL)Paged, KernelMode, MmCached, NULL, FALSE, NormalPagePriority))
ROUTINE(CompareMemory, static UCHAR Other[64]; (void)RtlCompareMemory(Other, Paged, 64))
ROUTINE(CopyUnicode, static WCHAR Text[8]; UNICODE_STRING To = {0, 16, Text}; RtlCopyUnicodeString(&To, (PUNICODE_STRING)Paged))
ROUTINE(InitUnicode, UNICODE_STRING To; RtlInitUnicodeString(&To, (PWSTR)Paged))
ROUTINE(SetBits, RTL_BITMAP Map; RtlInitializeBitMap(&Map, (PULONG)Paged, 64); RtlSetBits(&Map, 3, 9))
ROUTINE(SystemTime, KeQueryTickCount((PLARGE_INTEGER)Paged))

static const struct {
    const char *Name;
    void (*Routine)(void);
} Routines[] = {
#define R(Name)                                                                                                                \
    {                                                                                                                          \
#Name, Name                                                                                                            \
    }
    R(ReadEvent),     R(SetEvent),      R(ResetEvent),  R(ClearEvent),  R(InitEvent), R(WaitEvent),  R(ReleaseSemaphore),
    R(InitSemaphore), R(InitTimer),     R(SetTimer),    R(CancelTimer), R(InitDpc),   R(InsertDpc),  R(RemoveDpc),
    R(TakeLock),      R(TryLock),       R(InsertHead),  R(RemoveHead),  R(AddLarge),  R(BuildMdl),   R(UnlockMdl),
    R(MapMdl),        R(CompareMemory), R(CopyUnicode), R(InitUnicode), R(SetBits),   R(SystemTime),
};

static void CallRaised(void *Argument)
{
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    ((void (*)(void))(ULONG_PTR)Argument)();
    KeLowerIrql(Old);
}

static __attribute__((unused)) void Routines_GivenPageableMemory_StopAtTheirFirstTouch(void **State)
{
    KEVENT Model;
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Routines); Index++) {
        ntmm_bugcheck Stop = {0};
        KeInitializeSpinLock(&Lock);
        memset(Paged, 0, PAGE_SIZE);
        KeInitializeEvent(&Model, NotificationEvent, FALSE); /* to initialise one there is a sin of its own: 0xC4/0xE1 */
        memcpy(Paged, &Model, sizeof(Model));
        if (!ntmm_catch(CallRaised, (PVOID)(ULONG_PTR)Routines[Index].Routine, &Stop)) {
            fail_msg("%s: returned", Routines[Index].Name);
        }
        if (strncmp(Routines[Index].Name, "Init", 4) == 0 && Stop.code == DRIVER_VERIFIER_DETECTED_VIOLATION &&
            Stop.parameters[0] == 0xE1 && Stop.parameters[1] == (ULONG_PTR)Paged) {
            continue;
        }
        if ((Stop.code != IRQL_NOT_LESS_OR_EQUAL && Stop.code != DRIVER_IRQL_NOT_LESS_OR_EQUAL) ||
            Stop.parameters[0] - (ULONG_PTR)Paged >= PAGE_SIZE || Stop.parameters[1] < DISPATCH_LEVEL) {
            fail_msg("%s: stop 0x%X (0x%llx, 0x%llx, 0x%llx, 0x%llx)", Routines[Index].Name, Stop.code,
                     (unsigned long long)Stop.parameters[0], (unsigned long long)Stop.parameters[1],
                     (unsigned long long)Stop.parameters[2], (unsigned long long)Stop.parameters[3]);
        }
        assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    }
    /* and nothing of ours is left locked or changed */
    KEVENT Event;
    KeInitializeEvent(&Event, SynchronizationEvent, TRUE);
    assert_int_equal(KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    assert_ptr_equal(KiValidateWaits(), NULL);
    assert_ptr_equal(KiValidateTimers(), NULL);
    assert_ptr_equal(KiValidateDpcs(), NULL);
    KitAssertValid();
}

/* Two threads: one is at DISPATCH_LEVEL all the time, the other works on paged memory below: it is never stopped. */
static volatile LONG Phase;
static VOID NTAPI Worker(PVOID Context)
{
    PUCHAR Block = ExAllocatePoolWithTag(PagedPool, 64 * PAGE_SIZE, 'tseT');
    (void)Context;
    for (ULONG Round = 0; Round < 20; Round++) {
        for (ULONG Page = 0; Page < 64; Page++) {
            Block[Page * PAGE_SIZE] = (UCHAR)(Round + Page);
        }
        for (ULONG Page = 0; Page < 64; Page++) {
            if (Block[Page * PAGE_SIZE] != (UCHAR)(Round + Page)) {
                KeBugCheckEx(0xE2, Page, Round, 0, 0);
            }
        }
    }
    ExFreePoolWithTag(Block, 'tseT');
    __atomic_store_n(&Phase, 1, __ATOMIC_SEQ_CST);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static void OtherThreads_GoOn(void **State)
{
    HANDLE Handle;
    PVOID Thread;
    KIRQL Old;
    (void)State;
    Phase = 0;
    assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Worker, NULL), STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Handle, SYNCHRONIZE, NULL, KernelMode, &Thread, NULL), STATUS_SUCCESS);
    do {
        KeRaiseIrql(DISPATCH_LEVEL, &Old);
        KeLowerIrql(Old);
    } while (!__atomic_load_n(&Phase, __ATOMIC_SEQ_CST));
    assert_int_equal(KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL), STATUS_SUCCESS);
    ObDereferenceObject(Thread);
    ZwClose(Handle);
    KitAssertValid();
}

/* "Only verified drivers trigger it": with another driver chosen, this program's raises are neither counted nor a reason to trim. */
static void OtherDrivers_RaisesAreTheirOwn(void **State)
{
    ntmm_options Options;
    KIT_ACCESS Access = {NULL, DISPATCH_LEVEL, 'r'};
    ULONG64 Requests, Raises, Locks;
    KSPIN_LOCK Here;
    KIRQL Old;
    assert_int_equal(Stop(State), 0);
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.verifier = 0x2;
    strcpy(Options.verifier_drivers, "other.sys");
    assert_int_equal(ntmm_start(&Options), 0);
    Access.Address = ExAllocatePoolWithTag(PagedPool, PAGE_SIZE, 'tseT');
    *(volatile UCHAR *)Access.Address = 1;
    Requests = KiTrims.Requests;
    Raises = KiTrims.Raises;
    Locks = KiTrims.SpinLocks;
    KeInitializeSpinLock(&Here);
    KeAcquireSpinLock(&Here, &Old);
    KeReleaseSpinLock(&Here, Old);
    assert_false(ntmm_catch(KitDoAccess, &Access, NULL)); /* resident, so nobody notices */
    assert_int_equal(KiTrims.Requests, Requests);
    assert_int_equal(KiTrims.Raises, Raises);
    assert_int_equal(KiTrims.SpinLocks, Locks);
    ExFreePoolWithTag((PVOID)Access.Address, 'tseT');
    assert_int_equal(ntmm_stop(), 0);
    assert_int_equal(Start(State), 0);
}

#define TEST(Name) cmocka_unit_test(Name)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Access_EveryLevelAndKind_EveryTime),
        TEST(Access_NonPagedAndLocked_AreLeftAlone),
        TEST(Access_UserMemory_IsPageableToo),
        TEST(EveryWayUp_IsARaise),
#ifndef CLANG_TSAN
        /* clang's thread sanitizer faults inside its own atomics there, with its locks held. */
        TEST(Routines_GivenPageableMemory_StopAtTheirFirstTouch),
#endif
        TEST(OtherThreads_GoOn),
        TEST(OtherDrivers_RaisesAreTheirOwn),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
