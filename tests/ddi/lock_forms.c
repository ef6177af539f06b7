/*
 * lock_forms.c - what the pages of the less common forms of the spin lock, stack and packet routines say. SPDX-License-Identifier: MIT
 */
#include "ke_kit.h"

/* KfRaiseIrql returns the old IRQL; KfLowerIrql takes it back. */
static void KfRaiseIrql_AndBack(void **State)
{
    (void)State;
    KIRQL Old = KfRaiseIrql(DISPATCH_LEVEL);
    KIRQL At = KeGetCurrentIrql();
    KfLowerIrql(Old);
    assert_int_equal(Old, PASSIVE_LEVEL);
    assert_int_equal(At, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

/* "If CustomThreadedDpc is executing at IRQL = PASSIVE_LEVEL, KeAcquireSpinLockForDpc raises the current IRQL to DISPATCH_LEVEL. If ... already
 * executing at IRQL = DISPATCH_LEVEL, [it] does not change the current IRQL." "returns the current IRQL at the time the routine is called". */
static void KeAcquireSpinLockForDpc_RaisesIfNeedBe(void **State)
{
    KSPIN_LOCK Lock;
    KLOCK_QUEUE_HANDLE Handle;
    KIRQL Outer, Old[2], Within[2], After[2], Queued, Left;
    (void)State;
    KeInitializeSpinLock(&Lock);
    for (ULONG Index = 0; Index < 2; Index++) {
        KeRaiseIrql(Index ? DISPATCH_LEVEL : PASSIVE_LEVEL, &Outer);
        Old[Index] = KeAcquireSpinLockForDpc(&Lock);
        Within[Index] = KeTestSpinLock(&Lock) ? 0xFF : KeGetCurrentIrql();
        KeReleaseSpinLockForDpc(&Lock, Old[Index]);
        After[Index] = KeGetCurrentIrql();
        KeLowerIrql(Outer);
    }
    assert_int_equal(Old[0], PASSIVE_LEVEL);
    assert_int_equal(Old[1], DISPATCH_LEVEL);
    assert_int_equal(Within[0], DISPATCH_LEVEL);
    assert_int_equal(Within[1], DISPATCH_LEVEL);
    assert_int_equal(After[0], PASSIVE_LEVEL);
    assert_int_equal(After[1], DISPATCH_LEVEL);
    assert_true(KeTestSpinLock(&Lock));
    KeAcquireInStackQueuedSpinLockForDpc(&Lock, &Handle);
    Queued = KeGetCurrentIrql();
    KeReleaseInStackQueuedSpinLockForDpc(&Handle);
    Left = KeGetCurrentIrql();
    assert_int_equal(Queued, DISPATCH_LEVEL);
    assert_int_equal(Left, PASSIVE_LEVEL);
    assert_true(KeTestSpinLock(&Lock));
}

/* The FromDpcLevel forms release and leave the IRQL alone. */
static void FromDpcLevel_LeavesTheIrql(void **State)
{
    KSPIN_LOCK Lock;
    EX_SPIN_LOCK Shared = 0;
    KIRQL Old, At;
    (void)State;
    KeInitializeSpinLock(&Lock);
    KeRaiseIrql(DISPATCH_LEVEL, &Old);
    KefAcquireSpinLockAtDpcLevel(&Lock);
    KefReleaseSpinLockFromDpcLevel(&Lock);
    ExAcquireSpinLockExclusiveAtDpcLevel(&Shared);
    ExReleaseSpinLockExclusiveFromDpcLevel(&Shared);
    ExAcquireSpinLockExclusiveAtDpcLevel(&Shared); /* free again */
    ExReleaseSpinLockExclusiveFromDpcLevel(&Shared);
    At = KeGetCurrentIrql();
    KeLowerIrql(Old);
    assert_int_equal(At, DISPATCH_LEVEL);
    assert_true(KeTestSpinLock(&Lock));
}

/* IoAcquireCancelSpinLock, IoAcquireVpbSpinLock: to DISPATCH_LEVEL; "the IRQL to restore" is what the release takes. */
static void SystemSpinLocks_RaiseAndRestore(void **State)
{
    KIRQL Cancel, Vpb, At;
    (void)State;
    IoAcquireCancelSpinLock(&Cancel);
    IoAcquireVpbSpinLock(&Vpb);
    At = KeGetCurrentIrql();
    IoReleaseVpbSpinLock(Vpb);
    IoReleaseCancelSpinLock(Cancel);
    assert_int_equal(Cancel, PASSIVE_LEVEL);
    assert_int_equal(Vpb, DISPATCH_LEVEL);
    assert_int_equal(At, DISPATCH_LEVEL);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
}

static VOID Callout(PVOID Parameter)
{
    *(ULONG_PTR *)Parameter = IoGetRemainingStackSize();
}
typedef struct EXPAND {
    KIRQL Irql;
    BOOLEAN Wait;
    SIZE_T Size;
    NTSTATUS Status;
    ULONG_PTR Left;
} EXPAND;
static VOID Expand(PVOID Context)
{
    EXPAND *This = Context;
    KIRQL Old;
    KeRaiseIrql(This->Irql, &Old);
    This->Status = KeExpandKernelStackAndCalloutEx(Callout, &This->Left, This->Size, This->Wait, NULL);
    KeLowerIrql(Old);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

/* "STATUS_INVALID_PARAMETER_3: The Size parameter is greater than MAXIMUM_EXPANSION_SIZE"; "STATUS_INVALID_PARAMETER_4: The Wait parameter is
 * TRUE but the routine was called at IRQL = DISPATCH_LEVEL"; "a minimum of Size bytes is available". */
static void KeExpandKernelStackAndCalloutEx_SizeWaitAndIrql(void **State)
{
    static const struct {
        EXPAND Call;
        NTSTATUS Status;
    } Cases[] = {{{PASSIVE_LEVEL, TRUE, 0x8000, 0, 0}, STATUS_SUCCESS},
                 {{DISPATCH_LEVEL, FALSE, 0x8000, 0, 0}, STATUS_SUCCESS},
                 {{DISPATCH_LEVEL, TRUE, 0x8000, 0, 0}, STATUS_INVALID_PARAMETER_4},
                 {{PASSIVE_LEVEL, TRUE, MAXIMUM_EXPANSION_SIZE + 1, 0, 0}, STATUS_INVALID_PARAMETER_3}};
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Cases); Index++) {
        EXPAND This = Cases[Index].Call;
        HANDLE Handle;
        assert_int_equal(PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Expand, &This), STATUS_SUCCESS);
        assert_int_equal(ZwWaitForSingleObject(Handle, FALSE, NULL), STATUS_SUCCESS);
        ZwClose(Handle);
        assert_int_equal(This.Status, Cases[Index].Status);
        assert_true(This.Status == STATUS_SUCCESS ? This.Left >= This.Size : This.Left == 0);
    }
}

/* IoAllocateIrpEx "allocates StackSize stack locations and initializes the IRP. It does not associate the IRP with a thread." */
static void IoAllocateIrpEx_AllocatesAndInitializes(void **State)
{
    (void)State;
    PIRP Irp = IoAllocateIrpEx(NULL, 3, FALSE);
    assert_non_null(Irp);
    assert_int_equal(Irp->StackCount, 3);
    assert_int_equal(Irp->CurrentLocation, 4);
    assert_int_equal(Irp->Size, IoSizeOfIrp(3));
    assert_null(Irp->Tail.Overlay.Thread);
    IoFreeIrp(Irp);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(KfRaiseIrql_AndBack),
        cmocka_unit_test(KeAcquireSpinLockForDpc_RaisesIfNeedBe),
        cmocka_unit_test(FromDpcLevel_LeavesTheIrql),
        cmocka_unit_test(SystemSpinLocks_RaiseAndRestore),
        cmocka_unit_test(KeExpandKernelStackAndCalloutEx_SizeWaitAndIrql),
        cmocka_unit_test(IoAllocateIrpEx_AllocatesAndInitializes),
    };
    return cmocka_run_group_tests(Tests, StartTwoProcessors, StopSystem);
}
