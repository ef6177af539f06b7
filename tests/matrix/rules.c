/*
 * rules.c - cases of the detection matrix: the kernel's and the Verifier's rules: IRQL, locks, waits, objects in pool. SPDX-License-Identifier: MIT
 */
#include "matrix.h"

extern void Right_C2_8(void);

/* ---- the Verifier's rules ---- */
static KSPIN_LOCK Lock;
static FAST_MUTEX Mutex;
static KEVENT Event;
SIN(C4_0)
{
    Expect(0xC4, 0, PASSIVE_LEVEL, PagedPool, 0);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(PagedPool, 0, TAG));
}
RIGHT(C4_0)
{
    ExFreePool(ExAllocatePoolWithTag(PagedPool, 1, TAG));
}
SIN(C4_1)
{
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 1, DISPATCH_LEVEL, PagedPool, 100);
    Sink = (UCHAR)P(Paged(100));
}
SIN(C4_2)
{
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 2, DISPATCH_LEVEL + 1, NonPagedPoolNx, 100);
    Sink = (UCHAR)P(NonPaged(100));
}
SIN(C4_11)
{
    PUCHAR B = Paged(100);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x11, DISPATCH_LEVEL, PagedPool, P(B));
    ExFreePool(B);
}
SIN(C4_12)
{
    PUCHAR B = NonPaged(100);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x12, DISPATCH_LEVEL + 1, NonPagedPoolNx, P(B));
    ExFreePool(B);
}
SIN(C4_30)
{
    KIRQL Old;
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x30, DISPATCH_LEVEL, APC_LEVEL, 0);
    KeRaiseIrql(APC_LEVEL, &Old);
}
SIN(C4_31)
{
    Expect(0xC4, 0x31, PASSIVE_LEVEL, DISPATCH_LEVEL, 0);
    KeLowerIrql(DISPATCH_LEVEL);
}
RIGHT(C4_30)
{
    KIRQL Old = Raise(APC_LEVEL), Older = Raise(DISPATCH_LEVEL);
    KeLowerIrql(Older);
    KeLowerIrql(Old);
}
SIN(C4_32)
{
    KIRQL Old;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeReleaseSpinLock(&Lock, Old);
    Expect(0xC4, 0x32, PASSIVE_LEVEL, P(&Lock), 0);
    KeReleaseSpinLock(&Lock, Old);
}
RIGHT(C4_32)
{
    KIRQL Old;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeReleaseSpinLock(&Lock, Old);
    Old = Raise(DISPATCH_LEVEL);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeReleaseSpinLockFromDpcLevel(&Lock);
    KeLowerIrql(Old);
}
SIN(C4_33)
{
    ExInitializeFastMutex(&Mutex);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x33, DISPATCH_LEVEL, P(&Mutex), 0);
    ExAcquireFastMutex(&Mutex);
}
SIN(C4_34)
{
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    KeLowerIrql(PASSIVE_LEVEL);
    Expect(0xC4, 0x34, PASSIVE_LEVEL, ANY, P(&Mutex));
    ExReleaseFastMutex(&Mutex);
}
RIGHT(C4_33)
{
    ExInitializeFastMutex(&Mutex);
    ExAcquireFastMutex(&Mutex);
    ExReleaseFastMutex(&Mutex);
}
SIN(C4_3B)
{
    LARGE_INTEGER Short = {.QuadPart = -10};
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x3B, DISPATCH_LEVEL, P(&Event), P(&Short));
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Short);
}
RIGHT(C4_3B)
{
    LARGE_INTEGER Zero = {.QuadPart = 0};
    KIRQL Old;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Old = Raise(DISPATCH_LEVEL);
    KeWaitForSingleObject(&Event, Executive, KernelMode, FALSE, &Zero);
    KeLowerIrql(Old);
}
SIN(C4_3D)
{
    static UCHAR Memory[sizeof(ERESOURCE) + 16];
    PERESOURCE Resource = (PERESOURCE)(((P(Memory) + 7) & ~7ull) + 4);
    Expect(0xC4, 0x3D, 0, 0, P(Resource));
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(Resource, TRUE);
}
SIN(C4_40)
{
    KeInitializeSpinLock(&Lock);
    Expect(0xC4, 0x40, PASSIVE_LEVEL, P(&Lock), 0);
    KeAcquireSpinLockAtDpcLevel(&Lock);
}
SIN(C4_41)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLockAtDpcLevel(&Lock);
    KeLowerIrql(Old);
    Expect(0xC4, 0x41, PASSIVE_LEVEL, P(&Lock), 0);
    KeReleaseSpinLockFromDpcLevel(&Lock);
}
SIN(C4_42)
{
    KIRQL Old;
    KeInitializeSpinLock(&Lock);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x42, DISPATCH_LEVEL + 1, P(&Lock), 0);
    KeAcquireSpinLock(&Lock, &Old);
}
static VOID Unload(PDRIVER_OBJECT Driver)
{
    (void)Driver;
}
static enum { Nothing, Block, Heap } Leaks;
static NTSTATUS Entry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    (void)Path;
    Driver->DriverUnload = Unload;
    PUCHAR B = NonPaged(40);
    PVOID H = RtlCreateHeap(HEAP_GROWABLE, NULL, 0, 0, NULL, NULL);
    Sink = *(PUCHAR)RtlAllocateHeap(H, 0, 100); /* goes with the heap */
    if (Leaks != Block)
        ExFreePool(B);
    if (Leaks != Heap)
        RtlDestroyHeap(H);
    return STATUS_SUCCESS;
}
static void LoadAndUnload(int Leak)
{
    ntmm_driver *Driver;
    Leaks = Leak;
    if (ntmm_add_driver("matrix", (int32_t(*)(struct _DRIVER_OBJECT *, struct _UNICODE_STRING *))Entry, &Driver) != 0)
        return;
    if (Leak != Nothing)
        Expect(0xC4, 0x62, ANY, ANY, 1);
    ntmm_remove_driver(Driver, NULL);
}
SIN(C4_62)
{
    LoadAndUnload(Argument == 0 ? Block : Heap);
}
RIGHT(C4_62)
{
    LoadAndUnload(Nothing);
}
SIN(C4_80)
{
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x80, DISPATCH_LEVEL + 1, P(&Event), 0);
    KeSetEvent(&Event, 0, FALSE);
}
static NPAGED_LOOKASIDE_LIST List;
SIN(C4_CA)
{
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
    Expect(0xC4, 0xCA, P(&List), 0, 0);
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 64, TAG, 0);
}
SIN(C4_CB)
{
    Expect(0xC4, 0xCB, P(&List), 0, 0);
    ExDeleteNPagedLookasideList(&List);
}
SIN(C4_CC)
{
    PNPAGED_LOOKASIDE_LIST In = (PNPAGED_LOOKASIDE_LIST)NonPaged(sizeof *In);
    ExInitializeNPagedLookasideList(In, NULL, NULL, 0, 64, TAG, 0);
    Expect(0xC4, 0xCC, P(In), P(In), sizeof *In);
    ExFreePool(In);
}
SIN(C4_CD)
{
    Expect(0xC4, 0xCD, P(&List), 4, 8);
    ExInitializeNPagedLookasideList(&List, NULL, NULL, 0, 4, TAG, 0);
}
RIGHT(lookaside)
{
    PNPAGED_LOOKASIDE_LIST In = (PNPAGED_LOOKASIDE_LIST)NonPaged(sizeof *In);
    ExInitializeNPagedLookasideList(In, NULL, NULL, 0, 8, TAG, 0);
    ExFreeToNPagedLookasideList(In, ExAllocateFromNPagedLookasideList(In));
    ExDeleteNPagedLookasideList(In);
    ExInitializeNPagedLookasideList(In, NULL, NULL, 0, 64, TAG, 0);
    ExDeleteNPagedLookasideList(In);
    ExFreePool(In);
}
static ERESOURCE Resource;
SIN(C4_D0)
{
    ExInitializeResourceLite(&Resource);
    Expect(0xC4, 0xD0, P(&Resource), 0, 0);
    ExInitializeResourceLite(&Resource);
}
SIN(C4_D1)
{
    ExInitializeResourceLite(&Resource);
    ExDeleteResourceLite(&Resource);
    Expect(0xC4, 0xD1, P(&Resource), 0, 0);
    ExDeleteResourceLite(&Resource);
}
SIN(C4_D2)
{
    PERESOURCE In = (PERESOURCE)NonPaged(sizeof *In);
    ExInitializeResourceLite(In);
    Expect(0xC4, 0xD2, P(In), P(In), sizeof *In);
    ExFreePool(In);
}
RIGHT(resource)
{
    PERESOURCE In = (PERESOURCE)NonPaged(sizeof *In);
    ExInitializeResourceLite(In);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(In, TRUE);
    ExReleaseResourceLite(In);
    KeLeaveCriticalRegion();
    ExDeleteResourceLite(In);
    ExInitializeResourceLite(In);
    ExDeleteResourceLite(In);
    ExFreePool(In);
}
SIN(C4_E5)
{
    HANDLE Pool;
    Raise(APC_LEVEL);
    Expect(0xC4, 0xE5, APC_LEVEL, 0, 0);
    Sink = (UCHAR)ExCreatePool(POOL_CREATE_FLG_SECURE_POOL, TAG, NULL, &Pool);
}
static KDPC Dpc;
static VOID DpcRoutine(PKDPC Object, PVOID Context, PVOID A, PVOID B)
{
    (void)Object, (void)Context, (void)A, (void)B;
    Sink = (UCHAR)P(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_USE_QUOTA, 10, TAG));
}
SIN(C4_10B)
{
    KeInitializeDpc(&Dpc, DpcRoutine, NULL);
    Expect(0xC4, 0x10B, 0, 0, 0);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
    KeFlushQueuedDpcs();
}
static VOID Work(PVOID Context)
{
    (void)Context;
}
SIN(C4_131)
{
    PWORK_QUEUE_ITEM Item = (PWORK_QUEUE_ITEM)Paged(sizeof *Item);
    ExInitializeWorkItem(Item, Work, NULL);
    Expect(0xC4, 0x131, P(Item), 0, 0);
    ExQueueWorkItem(Item, DelayedWorkQueue);
}
SIN(C4_2000)
{
    Expect(0xC4, 0x2000, ANY, NonPagedPoolExecute, TAG);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(NonPagedPoolExecute, 100, TAG));
}
RIGHT(C4_2000)
{
    ExFreePool(ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG));
}
static VOID Idle(PKDPC Object, PVOID Context, PVOID A, PVOID B)
{
    (void)Object, (void)Context, (void)A, (void)B;
}
SIN(C7_0)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    PKTIMER Timer = (PKTIMER)NonPaged(sizeof *Timer);
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    Expect(0xC7, 0, P(Timer), P(Timer), P(Timer + 1));
    ExFreePool(Timer);
}
SIN(C7_1)
{
    PKDPC Queued = (PKDPC)NonPaged(sizeof *Queued);
    KeInitializeDpc(Queued, Idle, NULL);
    Raise(DISPATCH_LEVEL);
    KeInsertQueueDpc(Queued, NULL, NULL);
    Expect(0xC7, 1, P(Queued), P(Queued), P(Queued + 1));
    ExFreePool(Queued);
}
RIGHT(C7)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    PKTIMER Timer = (PKTIMER)NonPaged(sizeof *Timer);
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    KeCancelTimer(Timer);
    ExFreePool(Timer);
}
SIN(C7_3)
{
    KeInitializeDpc(&Dpc, DpcRoutine, NULL);
    Dpc.Number = 0x500 + 60;
    Expect(0xC7, 3, P(&Dpc), ANY, ANY);
    KeInsertQueueDpc(&Dpc, NULL, NULL);
}
SIN(21)
{
    Expect(0x21, P(PsGetCurrentProcess()), 1, ANY, ANY);
    PsReturnProcessPagedPoolQuota(PsGetCurrentProcess(), 1ull << 40);
}
RIGHT(21)
{
    PsChargePoolQuota(PsGetCurrentProcess(), PagedPool, 100);
    PsReturnPoolQuota(PsGetCurrentProcess(), PagedPool, 100);
}

/* A stack that may leave RAM: a system thread's. */
static VOID WaitOnStack(PVOID Context)
{
    KEVENT Mine;
    LARGE_INTEGER Short = {.QuadPart = -1};
    KPROCESSOR_MODE Mode = Context != NULL ? UserMode : KernelMode;
    KeInitializeEvent(&Mine, NotificationEvent, FALSE);
    if (Mode == UserMode)
        Expect(0xC4, 0x123, P(&Mine), 0, 0);
    KeWaitForSingleObject(&Mine, Executive, Mode, FALSE, &Short);
    KeWaitForSingleObject(&Event, Executive, UserMode, FALSE, &Short);
    KeSetKernelStackSwapEnable(FALSE); /* now it may not */
    KeWaitForSingleObject(&Mine, Executive, UserMode, FALSE, &Short);
    KeSetKernelStackSwapEnable(TRUE);
}
static void InThread(PVOID Context)
{
    HANDLE Handle;
    KeInitializeEvent(&Event, NotificationEvent, FALSE);
    PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, WaitOnStack, Context);
    ZwWaitForSingleObject(Handle, FALSE, NULL);
    ZwClose(Handle);
}
SIN(C4_123)
{
    InThread(&Event);
}
RIGHT(C4_123)
{
    InThread(NULL);
}

CASES(Rules){"0xC4/0x0", STANDARD, Sin_C4_0, Right_C4_0, 0}, {"0xC4/0x123", STANDARD, Sin_C4_123, Right_C4_123, 0},
    {"0xC4/0x1", STANDARD, Sin_C4_1, Right_C2_8, 0}, {"0xC4/0x2", STANDARD, Sin_C4_2, Right_C2_8, 0},
    {"0xC4/0x11", "verifier=misc", Sin_C4_11, Right_C2_8, 0}, {"0xC4/0x12", "verifier=misc", Sin_C4_12, Right_C2_8, 0},
    {"0xC4/0x30", "", Sin_C4_30, Right_C4_30, 0}, {"0xC4/0x31", "", Sin_C4_31, Right_C4_30, 0},
    {"0xC4/0x32", "", Sin_C4_32, Right_C4_32, 0}, {"0xC4/0x33", "", Sin_C4_33, Right_C4_33, 0},
    {"0xC4/0x34", "", Sin_C4_34, Right_C4_33, 0}, {"0xC4/0x3B", "", Sin_C4_3B, Right_C4_3B, 0},
    {"0xC4/0x3D", "", Sin_C4_3D, NULL, 0}, {"0xC4/0x40", "", Sin_C4_40, Right_C4_32, 0},
    {"0xC4/0x41", "", Sin_C4_41, Right_C4_32, 0}, {"0xC4/0x42", "", Sin_C4_42, Right_C4_32, 0},
    {"0xC4/0x62", STANDARD, Sin_C4_62, Right_C4_62, 0}, {"0xC4/0x62", STANDARD, Sin_C4_62, NULL, 1},
    {"0xC4/0x60", STANDARD, Sin_C4_62, NULL, 0}, {"0xC4/0x80", "", Sin_C4_80, NULL, 0},
    {"0xC4/0xCA", STANDARD, Sin_C4_CA, Right_lookaside, 0}, {"0xC4/0xCB", STANDARD, Sin_C4_CB, Right_lookaside, 0},
    {"0xC4/0xCC", STANDARD, Sin_C4_CC, Right_lookaside, 0}, {"0xC4/0xCD", STANDARD, Sin_C4_CD, Right_lookaside, 0},
    {"0xC4/0xD0", STANDARD, Sin_C4_D0, Right_resource, 0}, {"0xC4/0xD1", STANDARD, Sin_C4_D1, Right_resource, 0},
    {"0xC4/0xD2", STANDARD, Sin_C4_D2, Right_resource, 0}, {"0xC4/0xE5", "", Sin_C4_E5, NULL, 0},
    {"0xC4/0x10B", STANDARD, Sin_C4_10B, NULL, 0}, {"0xC4/0x131", STANDARD, Sin_C4_131, NULL, 0},
    {"0xC4/0x2000", "verifier=code_integrity", Sin_C4_2000, Right_C4_2000, 0}, {"0xC7/0x0", STANDARD, Sin_C7_0, Right_C7, 0},
    {"0xC7/0x1", STANDARD, Sin_C7_1, Right_C7, 0}, {"0xC7/0x3", "", Sin_C7_3, NULL, 0}, {"0x21", "", Sin_21, Right_21, 0},
    END_CASES(Rules)
