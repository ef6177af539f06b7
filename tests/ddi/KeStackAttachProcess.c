/*
 * KeStackAttachProcess.c - processes have address spaces of their own: attach, detach, and what is out of reach without.
 * SPDX-License-Identifier: MIT
 *
 * Sentences are those of the pages KeStackAttachProcess, KeUnstackDetachProcess, PsGetCurrentProcess, PsGetProcessId,
 * PsLookupProcessByProcessId, and of the invariants in mm/space.c.
 */
#include "mm_kit.h"
#include "ps/psp.h"
#include <pthread.h>

static KPROCESS *One, *Two;

static int MakeProcesses(void **State)
{
    (void)State;
    return NT_SUCCESS(PspCreateNamedProcess("one", &One)) && NT_SUCCESS(PspCreateNamedProcess("two", &Two)) ? 0 : -1;
}
static int EndProcesses(void **State)
{
    (void)State;
    KPROCESS *All[2] = {One, Two};
    for (ULONG i = 0; i < 2; i++) {
        NTSTATUS Status = PspEndProcess(All[i], STATUS_SUCCESS);
        if (!NT_SUCCESS(Status) && Status != STATUS_PROCESS_IS_TERMINATING)
            return -1;
        ObDereferenceObject(All[i]);
    }
    const CHAR *Broken = MiValidateAll();
    if (Broken)
        print_error("%s\n", Broken);
    return Broken != NULL;
}

/* "attaches the current thread to the address space of the target process" */
static void Attach_ShowsTheProcesssMemory_AndDetachHidesIt(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    KeStackAttachProcess(One, &Apc);
    PUCHAR Va = MmAllocateUserPages(2, PAGE_READWRITE);
    assert_non_null(Va);
    memset(Va, 0x5A, 2 * PAGE_SIZE);
    assert_int_equal(Va[PAGE_SIZE], 0x5A);
    assert_true(MmIsAddressValid(Va));
    KeUnstackDetachProcess(&Apc);
    assert_false(MmIsAddressValid(Va));
    KIT_EXCEPTION_OF(Va, 'r', STATUS_ACCESS_VIOLATION);
    KIT_EXCEPTION_OF(Va, 'w', STATUS_ACCESS_VIOLATION);
    KeStackAttachProcess(Two, &Apc);
    KIT_EXCEPTION_OF(Va + PAGE_SIZE, 'r', STATUS_ACCESS_VIOLATION);
    KeUnstackDetachProcess(&Apc);
    KeStackAttachProcess(One, &Apc);
    assert_int_equal(Va[0], 0x5A);
    MmFreeUserPages(Va, 2);
    KeUnstackDetachProcess(&Apc);
}

static void AnotherProcesssAddress_AtDispatch_IsD1(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    KeStackAttachProcess(One, &Apc);
    PUCHAR Va = MmAllocateUserPages(1, PAGE_READWRITE);
    Va[0] = 1;
    KIRQL Old;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    assert_int_equal(*(volatile UCHAR *)Va, 1); /* its own, resident */
    KeLowerIrql(Old);
    KeUnstackDetachProcess(&Apc);
    KitExpectAccessStop(Va, DISPATCH_LEVEL, 'r', DRIVER_IRQL_NOT_LESS_OR_EQUAL, Va, DISPATCH_LEVEL, 0, KitLoad);
}

/* "If the current thread was already attached to another process ... saves the current APC state" */
static void Attach_Nests(void **State)
{
    (void)State;
    KAPC_STATE First, Second, Third;
    KeStackAttachProcess(One, &First);
    PULONG Va1 = MmAllocateUserPages(1, PAGE_READWRITE);
    *Va1 = 1;
    KeStackAttachProcess(Two, &Second);
    assert_ptr_equal(PsGetCurrentProcess(), Two);
    PULONG Va2 = MmAllocateUserPages(1, PAGE_READWRITE);
    *Va2 = 2;
    KIT_EXCEPTION_OF(Va1, 'r', STATUS_ACCESS_VIOLATION);
    KeStackAttachProcess(Two, &Third); /* where it is already */
    KeUnstackDetachProcess(&Third);
    assert_int_equal(*Va2, 2);
    assert_true(KeIsAttachedProcess());
    KeUnstackDetachProcess(&Second);
    assert_ptr_equal(PsGetCurrentProcess(), One);
    assert_int_equal(*Va1, 1);
    KeUnstackDetachProcess(&First);
    assert_false(KeIsAttachedProcess());
    assert_ptr_equal(PsGetCurrentProcess(), PsInitialSystemProcess);
    assert_ptr_equal(PsGetCurrentProcessId(), (HANDLE)4);
}

static void DifferentProcesses_HaveDifferentTablesAndAddresses(void **State)
{
    (void)State;
    MM_SPACE_INFO A, B;
    MmQuerySpace(One->Space, &A);
    MmQuerySpace(Two->Space, &B);
    assert_true(A.Root != B.Root && A.Root != 0 && B.Root != 0);
    assert_true(A.High <= B.Low || B.High <= A.Low);
    assert_true(B.High - 1 <= (ULONG_PTR)MmHighestUserAddress || (ULONG_PTR)MmHighestUserAddress < B.High);
}

typedef struct {
    PUCHAR Va;
    KEVENT Go, Done;
    NTSTATUS Seen;
} TOUCH;
static VOID TouchFromSystem(PVOID Context)
{
    TOUCH *Touch = Context;
    KeWaitForSingleObject(&Touch->Go, Executive, KernelMode, FALSE, NULL);
    const HAL_ADDRESS_SPACE *Space = MmHalSpace(One->Space);
    HAL_TB_STATISTICS Statistics;
    /* until the process's thread waits, and its translations, which go after it, are gone: the last of that is under the
     * lock that the statistics are read under */
    while (__atomic_load_n(&Space->Running, __ATOMIC_ACQUIRE) != 0 || __atomic_load_n(&Space->Cached, __ATOMIC_ACQUIRE) != 0)
        YieldProcessor();
    HalQueryTb(&Statistics);
    Touch->Seen = KitExceptionOf(Touch->Va, 'w');
    KeSetEvent(&Touch->Done, 0, FALSE);
}
/* A driver's thread of System that touches a captured user pointer while the process's thread waits for it. */
static void SystemThread_TouchingAUserPointer_IsCaught(void **State)
{
    (void)State;
    TOUCH *Touch = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Touch, 'tseT');
    HANDLE Thread;
    KAPC_STATE Apc;
    KeInitializeEvent(&Touch->Go, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Touch->Done, SynchronizationEvent, FALSE);
    assert_int_equal(PsCreateSystemThread(&Thread, 0, NULL, NULL, NULL, TouchFromSystem, Touch), STATUS_SUCCESS);
    KeStackAttachProcess(One, &Apc);
    Touch->Va = MmAllocateUserPages(1, PAGE_READWRITE);
    Touch->Va[0] = 9; /* a translation stands */
    KeSetEvent(&Touch->Go, 0, FALSE);
    KeWaitForSingleObject(&Touch->Done, Executive, KernelMode, FALSE, NULL);
    assert_int_equal(Touch->Seen, STATUS_ACCESS_VIOLATION);
    assert_int_equal(Touch->Va[0], 9);
    KeUnstackDetachProcess(&Apc);
    ZwClose(Thread);
    ExFreePoolWithTag(Touch, 'tseT');
}

static VOID InTheProcess(PVOID Context)
{
    TOUCH *Touch = Context;
    Touch->Seen = KitExceptionOf(Touch->Va, 'w');
    KeSetEvent(&Touch->Done, 0, FALSE);
}
/* PsCreateSystemThread: "ProcessHandle: ... the process in whose address space the thread is to be run" */
static void SystemThread_OfAProcess_UsesItsAddressSpace(void **State)
{
    (void)State;
    TOUCH *Touch = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *Touch, 'tseT');
    HANDLE Thread, Process;
    KAPC_STATE Apc;
    PVOID Object;
    KeInitializeEvent(&Touch->Done, SynchronizationEvent, FALSE);
    KeStackAttachProcess(One, &Apc);
    Touch->Va = MmAllocateUserPages(1, PAGE_READWRITE);
    KeUnstackDetachProcess(&Apc);
    assert_int_equal(
        ObOpenObjectByPointer(One, OBJ_KERNEL_HANDLE, NULL, PROCESS_ALL_ACCESS, *PsProcessType, KernelMode, &Process),
        STATUS_SUCCESS);
    assert_int_equal(PsCreateSystemThread(&Thread, 0, NULL, Process, NULL, InTheProcess, Touch), STATUS_SUCCESS);
    assert_int_equal(ObReferenceObjectByHandle(Thread, 0, *PsThreadType, KernelMode, &Object, NULL), STATUS_SUCCESS);
    KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
    assert_int_equal(Touch->Seen, STATUS_SUCCESS);
    ObDereferenceObject(Object);
    ZwClose(Thread);
    ZwClose(Process);
    ExFreePoolWithTag(Touch, 'tseT');
}

/* The process object is a dispatcher object: signalled when the process ends. */
static void End_SignalsTheProcess_AndGivesEverythingBack(void **State)
{
    (void)State;
    MM_COUNTERS Before, After;
    KPROCESS *Process;
    KAPC_STATE Apc;
    LARGE_INTEGER Now = {.QuadPart = 0};
    PVOID Looked;
    BOOLEAN Balanced = FALSE;
    /* the first ones warm up: pools keep and give back pages in their own time; a leak would show every time */
    for (ULONG Round = 0; Round < 20 && !Balanced; Round++) {
        ULONG64 Committed = KitCommitted();
        MmQueryCounters(&Before);
        assert_int_equal(PspCreateNamedProcess("ends", &Process), STATUS_SUCCESS);
        assert_int_equal(PsGetProcessExitStatus(Process), STATUS_PENDING);
        KeStackAttachProcess(Process, &Apc);
        PUCHAR Va = MmAllocateUserPages(300, PAGE_READWRITE);
        for (ULONG Page = 0; Page < 300; Page++)
            Va[(SIZE_T)Page * PAGE_SIZE] = 1;
        KeUnstackDetachProcess(&Apc);
        assert_int_equal(KeWaitForSingleObject(Process, Executive, KernelMode, FALSE, &Now), STATUS_TIMEOUT);
        assert_int_equal(PsAcquireProcessExitSynchronization(Process), STATUS_SUCCESS);
        PsReleaseProcessExitSynchronization(Process);
        assert_int_equal(PspEndProcess(Process, 17), STATUS_SUCCESS);
        assert_int_equal(PspEndProcess(Process, 17), STATUS_PROCESS_IS_TERMINATING);
        assert_int_equal(PsAcquireProcessExitSynchronization(Process), STATUS_PROCESS_IS_TERMINATING);
        assert_int_equal(PsGetProcessExitStatus(Process), 17);
        assert_int_equal(KeWaitForSingleObject(Process, Executive, KernelMode, FALSE, &Now), STATUS_SUCCESS);
        HANDLE Id = PsGetProcessId(Process);
        assert_int_equal(PsLookupProcessByProcessId(Id, (PEPROCESS *)&Looked), STATUS_SUCCESS); /* an object still */
        ObDereferenceObject(Looked);
        ObDereferenceObject(Process);
        assert_int_equal(PsLookupProcessByProcessId(Id, (PEPROCESS *)&Looked), STATUS_INVALID_CID);
        assert_null(Looked);
        MmQueryCounters(&After);
        Balanced = Before.ActivePages == After.ActivePages && Committed == KitCommitted();
    }
    assert_true(Balanced);
    KitAssertValid();
}

static void Processes_AsManyAsThereAreSlices(void **State)
{
    (void)State;
    KPROCESS *All[MI_MAX_SPACES];
    ULONG Count = 0;
    NTSTATUS Status;
    while (NT_SUCCESS(Status = PspCreateNamedProcess("many", &All[Count])))
        Count++;
    assert_int_equal(Status, STATUS_INSUFFICIENT_RESOURCES);
    assert_true(Count >= 8);
    KitAssertValid();
    while (Count--) {
        assert_int_equal(PspEndProcess(All[Count], 0), STATUS_SUCCESS);
        ObDereferenceObject(All[Count]);
    }
    assert_int_equal(PspCreateNamedProcess("again", &All[0]), STATUS_SUCCESS);
    assert_int_equal(PspEndProcess(All[0], 0), STATUS_SUCCESS);
    ObDereferenceObject(All[0]);
}

static void AttachFlat(void *Process)
{
    KeAttachProcess(Process);
}
static void AttachWhileAttached(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    KeStackAttachProcess(One, &Apc);
    KitExpectStop(AttachFlat, Two, INVALID_PROCESS_ATTACH_ATTEMPT, Two, One, 1, 0);
    KeUnstackDetachProcess(&Apc);
    KeAttachProcess(One);
    assert_ptr_equal(PsGetCurrentProcess(), One);
    KeDetachProcess();
    assert_ptr_equal(PsGetCurrentProcess(), PsInitialSystemProcess);
}

static KDPC Dpc;
static VOID AttachInDpc(PKDPC Own, PVOID Context, PVOID A, PVOID B)
{
    static KAPC_STATE Apc;
    (void)Own, (void)Context, (void)A, (void)B;
    KeStackAttachProcess(One, &Apc);
}
static void QueueAttachInDpc(void *Argument)
{
    KIRQL Old;
    (void)Argument;
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeLowerIrql(Old);
}
static void AttachInADpc(void **State)
{
    (void)State;
    KeInitializeDpc(&Dpc, AttachInDpc, NULL);
    KitExpectStop(QueueAttachInDpc, NULL, INVALID_PROCESS_ATTACH_ATTEMPT, One, PsInitialSystemProcess, 0, 1);
}

static void EndProcess(void *Process)
{
    (void)PspEndProcess(Process, 0);
}
static void ProcessEnds_WithLockedPages_Is76(void **State)
{
    (void)State;
    KAPC_STATE Apc;
    KIT_MDL Mdl;
    KPROCESS *Process;
    assert_int_equal(PspCreateNamedProcess("locked", &Process), STATUS_SUCCESS);
    KeStackAttachProcess(Process, &Apc);
    PUCHAR Va = MmAllocateUserPages(3, PAGE_READWRITE);
    MmInitializeMdl(&Mdl.Mdl, Va, 3 * PAGE_SIZE);
    MmProbeAndLockPages(&Mdl.Mdl, UserMode, IoWriteAccess);
    KeUnstackDetachProcess(&Apc);
    assert_ptr_equal(Mdl.Mdl.Process, Process);
    KitExpectStop(EndProcess, Process, PROCESS_HAS_LOCKED_PAGES, 0, Process, 3, 0);
    MmUnlockPages(&Mdl.Mdl);
    assert_int_equal(PspEndProcess(Process, 0), STATUS_SUCCESS);
    ObDereferenceObject(Process);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, MakeProcesses, EndProcesses)
        WITH(Attach_ShowsTheProcesssMemory_AndDetachHidesIt),
        WITH(AnotherProcesssAddress_AtDispatch_IsD1),
        WITH(Attach_Nests),
        WITH(DifferentProcesses_HaveDifferentTablesAndAddresses),
        WITH(SystemThread_TouchingAUserPointer_IsCaught),
        WITH(SystemThread_OfAProcess_UsesItsAddressSpace),
        cmocka_unit_test(End_SignalsTheProcess_AndGivesEverythingBack),
        cmocka_unit_test(Processes_AsManyAsThereAreSlices),
        WITH(AttachWhileAttached),
        WITH(AttachInADpc),
        cmocka_unit_test(ProcessEnds_WithLockedPages_Is76),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
