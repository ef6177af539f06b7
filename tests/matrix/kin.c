/*
 * kin.c - cases of the detection matrix: sins that Windows may report in more than one way, by the way they are reported here. The row is
 * one code (or type), the stop is another documented one, which the line shows. SPDX-License-Identifier: MIT
 *
 * Windows' pools keep headers in the blocks, and find a wrong one wherever they come upon it; here what is known lies out of line and
 * the slack behind a block is watched, so an overrun is told as one, at the free of the block that was overrun.
 */
#include "matrix.h"
#include "ps/psp.h"

/* ---- pool: damage that Windows finds in headers ---- */
SIN(overrun) /* small: where the next block's header would be */
{
    PUCHAR B = ExAllocatePoolWithTag(Argument & 0x1000 ? PagedPool : NonPagedPoolNx, 100, TAG);
    PUCHAR Next = NonPaged(100);
    memset(B + 100, 0x41, Argument & 0xFFF);
    Expect(0x19, 0x21, P(B), 100, ANY);
    ExFreePool(B);
    ExFreePool(Next);
}
RIGHT(overrun)
{
    for (SIZE_T Size = 1; Size < 400; Size++) {
        PUCHAR B = NonPaged(Size), Next = NonPaged(Size);
        memset(B, 0x41, Size);
        memset(Next, 0x42, Size);
        ExFreePool(B);
        ExFreePool(Next);
    }
}
SIN(full) /* with pool tracking every block has slack, whatever its size */
{
    PUCHAR B = NonPaged(Argument), Next = NonPaged(Argument);
    memset(B, 0x41, Argument + 1);
    Expect(0x19, 0x21, P(B), Argument, ANY);
    ExFreePool(B);
    ExFreePool(Next);
}
RIGHT(full)
{
    for (SIZE_T Size = 1; Size <= PAGE_SIZE; Size++) {
        PUCHAR B = Size & 1 ? NonPaged(Size) : Paged(Size);
        if (Size < PAGE_SIZE && P(B) >> PAGE_SHIFT != (P(B) + Size - 1) >> PAGE_SHIFT)
            KeBugCheckEx(MANUALLY_INITIATED_CRASH, Size, P(B), 0, 0); /* "does not cross a page boundary" */
        memset(B, 0x41, Size);
        ExFreePool(B);
    }
}
SIN(quota_overrun) /* where the charged process would be */
{
    PUCHAR B = ExAllocatePoolWithQuotaTag(NonPagedPoolNx, 100, TAG);
    memset(B + 100, 0x41, 8);
    Expect(0x19, 0x21, P(B), 100, ANY);
    ExFreePool(B);
}
RIGHT(quota_overrun)
{
    PUCHAR B = ExAllocatePoolWithQuotaTag(NonPagedPoolNx, 100, TAG);
    memset(B, 0x41, 100);
    ExFreePool(B);
}
SIN(written_after_free) /* where a free block's links would be */
{
    PUCHAR B = NonPaged(112);
    ExFreePool(B);
    memset(B + Argument, 0x41, 16);
    Expect(0xC6, ANY, 1, 0, ANY);
    for (unsigned Index = 0; Index < 100000; Index++)
        Sink = *NonPaged(112);
}
RIGHT(written_after_free)
{
    PUCHAR B = NonPaged(112);
    memset(B, 0x41, 112);
    ExFreePool(B);
    for (unsigned Index = 0; Index < 1000; Index++)
        ExFreePool(NonPaged(112));
}
SIN(special_fill)
{
    PUCHAR B = NonPaged(100);
    B[101] ^= 0x41;
    Expect(0xC1, P(B), P(B) + 101, ANY, 0x24);
    ExFreePool(B);
}
RIGHT(special_fill)
{
    PUCHAR B = NonPaged(100);
    memset(B, 0x41, 100);
    ExFreePool(B);
}
SIN(large_overrun) /* a block of whole pages, in special pool: the page behind it */
{
    PUCHAR B = NonPaged(2 * PAGE_SIZE);
    Expect(0xD6, P(B) + 2 * PAGE_SIZE, 1, ANY, 0);
    B[2 * PAGE_SIZE] = 1;
}
RIGHT(large_overrun)
{
    PUCHAR B = NonPaged(2 * PAGE_SIZE);
    memset(B, 1, 2 * PAGE_SIZE);
    ExFreePool(B);
}

/* ---- pool: bad frees ---- */
SIN(twice)
{
    PUCHAR B = Argument ? Paged(100) : NonPaged(100);
    ExFreePool(B);
    Expect(0xC2, 7, 0, TAG, P(B));
    ExFreePool(B);
}
RIGHT(twice)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    B = NonPaged(100);
    ExFreePool(B);
}
SIN(twice_special)
{
    PUCHAR B = NonPaged(100);
    ExFreePool(B);
    Expect(0xC1, P(B), 0, 0, 0x20);
    ExFreePool(B);
}
SIN(never_allocated)
{
    PUCHAR At = FarIn(Argument ? MmRegionPagedPool : MmRegionNonPagedPool);
    if (Argument)
        Expect(0xC2, 0x50, P(At), PageOf(MmRegionPagedPool, At), ANY);
    else
        Expect(0xC2, 0x44, P(At), 0, 0);
    ExFreePool(At);
}
SIN(no_pool)
{
    UCHAR Local[64];
    Expect(0xC2, 0x42, P(Local), 0, 0);
    (ExFreePool)(Local);
}
SIN(inside)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC2, 0x46, P(B) + 16, 0, 0);
    ExFreePool(B + 16);
}
RIGHT(inside)
{
    struct {
        ULONG First;
        LIST_ENTRY Links;
    } *B = (PVOID)NonPaged(100);
    PLIST_ENTRY Links = &B->Links;
    ExFreePool(CONTAINING_RECORD(Links, __typeof__(*B), Links));
}
SIN(inside_special)
{
    PUCHAR B = NonPaged(100);
    Expect(0xC1, P(B) + 16, 100, 84, 0x21);
    ExFreePool(B + 16);
}
SIN(special_irql) /* a request at DISPATCH_LEVEL that special pool would serve */
{
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 1, DISPATCH_LEVEL, PagedPool, 100);
    Sink = (UCHAR)P(Paged(100));
}
RIGHT(special_irql)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    PUCHAR B = NonPaged(100);
    KeLowerIrql(Old);
    ExFreePool(B);
    Old = Raise(APC_LEVEL);
    ExFreePool(Paged(100));
    KeLowerIrql(Old);
}
SIN(zero_bytes)
{
    Expect(0xC4, 0, PASSIVE_LEVEL, NonPagedPoolNx, ANY);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(NonPagedPoolNx, 0, TAG));
}
RIGHT(zero_bytes)
{
    ExFreePool(ExAllocatePoolWithTag(NonPagedPoolNx, 1, TAG));
}
SIN(must_succeed)
{
    Expect(0xC2, 0x9A, NonPagedPoolMustSucceed, 2 * PAGE_SIZE, TAG);
    Sink = (UCHAR)P(ExAllocatePoolWithTag(NonPagedPoolMustSucceed, 2 * PAGE_SIZE, TAG));
}
SIN(timer_inside)
{
    PKTIMER Timer = (PKTIMER)NonPaged(sizeof *Timer);
    LARGE_INTEGER Far = {.QuadPart = -600000000};
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Far, NULL);
    Expect(0xC7, 0, P(Timer), P(Timer), P(Timer + 1));
    ExFreePool(Timer);
}
RIGHT(timer_inside)
{
    PKTIMER Timer = (PKTIMER)NonPaged(sizeof *Timer);
    LARGE_INTEGER Far = {.QuadPart = -600000000};
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Far, NULL);
    KeCancelTimer(Timer);
    ExFreePool(Timer);
}
SIN(resource_inside)
{
    PERESOURCE Resource = (PERESOURCE)NonPaged(sizeof *Resource);
    ExInitializeResourceLite(Resource);
    Expect(0xC4, 0xD2, P(Resource), ANY, ANY);
    ExFreePool(Resource);
}
RIGHT(resource_inside)
{
    PERESOURCE Resource = (PERESOURCE)NonPaged(sizeof *Resource);
    ExInitializeResourceLite(Resource);
    ExDeleteResourceLite(Resource);
    ExFreePool(Resource);
}

/* ---- touches ---- */
SIN(jump) /* to code that is not there */
{
    PUCHAR At = FarIn(MmRegionNonPagedPool);
    Raise(DISPATCH_LEVEL);
    Expect(0xD1, P(At), DISPATCH_LEVEL, 8, P(At));
    ((void (*)(void))(ULONG_PTR)At)();
}
static void Jumped(void)
{
    Sink = 1;
}
RIGHT(jump)
{
    void (*volatile To)(void) = Jumped;
    KIRQL Old = Raise(DISPATCH_LEVEL);
    To();
    KeLowerIrql(Old);
}
SIN(noncanonical)
{
    Expect(0x1E, 0xC0000005, ANY, 0, ~0ull);
    Sink = *(volatile UCHAR *)(ULONG_PTR)0x4141414141414141ull;
}
static KEVENT StackKnown;
static PUCHAR DeadStack;
static VOID LeavesItsStack(PVOID Context)
{
    volatile UCHAR Local[256];
    (void)Context;
    Local[0] = 1;
    DeadStack = (PUCHAR)(ULONG_PTR)Local;
    KeSetEvent(&StackKnown, 0, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}
static void RunAndEnd(void)
{
    HANDLE Handle;
    PVOID Thread;
    KeInitializeEvent(&StackKnown, NotificationEvent, FALSE);
    PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, LeavesItsStack, NULL);
    ObReferenceObjectByHandle(Handle, THREAD_ALL_ACCESS, NULL, KernelMode, &Thread, NULL);
    KeWaitForSingleObject(Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Thread);
    ZwClose(Handle);
}
SIN(dead_stack) /* a pointer to a local variable of a thread that has ended */
{
    RunAndEnd();
    LARGE_INTEGER Moment = {.QuadPart = -100000};
    for (ULONG Tries = 0; Tries < 2000 && MmIsAddressValid(DeadStack); Tries++)
        KeDelayExecutionThread(KernelMode, FALSE, &Moment); /* the thread's end is told before its stack goes */
    Expect(0x50, P(DeadStack), 2, ANY, ANY);
    *(volatile UCHAR *)DeadStack = 1;
}
RIGHT(dead_stack)
{
    for (int Index = 0; Index < 20; Index++)
        RunAndEnd();
}

/* ---- MDLs and mappings ---- */
SIN(other_frames) /* the array of frames was overwritten */
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    PMDL Other = IoAllocateMdl(Paged(PAGE_SIZE), PAGE_SIZE, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Other, KernelMode, IoReadAccess);
    PFN_NUMBER Theirs = MmGetMdlPfnArray(Other)[0];
    MmUnlockPages(Other);
    MmGetMdlPfnArray(Mdl)[0] = Theirs;
    Expect(0x4E, 7, Theirs, ANY, 0);
    MmUnlockPages(Mdl);
}
RIGHT(other_frames)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE), Other = LockedMdl(PAGE_SIZE);
    MmUnlockPages(Other);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
    IoFreeMdl(Other);
}
SIN(gone_buffer) /* the buffer went before the MDL was built */
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    PUCHAR B = MmAllocateContiguousMemory(16 * PAGE_SIZE, Highest);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    MmFreeContiguousMemory(B);
    Expect(0x1A, 0x1240, P(Mdl), ANY, 0);
    MmBuildMdlForNonPagedPool(Mdl);
}
RIGHT(gone_buffer)
{
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    PUCHAR B = MmAllocateContiguousMemory(16 * PAGE_SIZE, Highest);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    MmBuildMdlForNonPagedPool(Mdl);
    IoFreeMdl(Mdl);
    MmFreeContiguousMemory(B);
}
static KPROCESS *Another(PKAPC_STATE State)
{
    KPROCESS *Process;
    if (!NT_SUCCESS(PspCreateNamedProcess("other.exe", &Process)))
        exit(3);
    KeStackAttachProcess((PRKPROCESS)Process, State);
    return Process;
}
static PVOID UserPage(void)
{
    PVOID Base = NULL;
    SIZE_T Size = PAGE_SIZE;
    ZwAllocateVirtualMemory(NtCurrentProcess(), &Base, 0, &Size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    return Base;
}
SIN(unsecure_elsewhere) /* in another process than the one it was secured in */
{
    HANDLE Secured = MmSecureVirtualMemory(UserPage(), PAGE_SIZE, PAGE_READWRITE);
    KAPC_STATE State;
    Another(&State);
    Expect(0x1A, 0x15000, P(Secured), 0, 0);
    MmUnsecureVirtualMemory(Secured);
}
RIGHT(unsecure_elsewhere)
{
    KAPC_STATE State;
    KPROCESS *Process = Another(&State);
    HANDLE Secured = MmSecureVirtualMemory(UserPage(), PAGE_SIZE, PAGE_READWRITE);
    KeUnstackDetachProcess(&State);
    KeStackAttachProcess((PRKPROCESS)Process, &State);
    MmUnsecureVirtualMemory(Secured);
    KeUnstackDetachProcess(&State);
}
SIN(io_twice)
{
    PHYSICAL_ADDRESS Device = {.QuadPart = 0xFE000000};
    PUCHAR Va = MmMapIoSpaceEx(Device, PAGE_SIZE, PAGE_READWRITE | PAGE_NOCACHE);
    MmUnmapIoSpace(Va, PAGE_SIZE);
    Expect(0xDA, ANY, ANY, ANY, ANY);
    MmUnmapIoSpace(Va, PAGE_SIZE);
}
RIGHT(io_twice)
{
    PHYSICAL_ADDRESS Device = {.QuadPart = 0xFE000000};
    for (int Index = 0; Index < 2; Index++)
        MmUnmapIoSpace(MmMapIoSpaceEx(Device, PAGE_SIZE, PAGE_READWRITE | PAGE_NOCACHE), PAGE_SIZE);
}
SIN(C4_71)
{
    PMDL Mdl = IoAllocateMdl(NonPaged(PAGE_SIZE), 64, FALSE, FALSE, NULL);
    PEPROCESS Process = PsGetCurrentProcess();
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x71, DISPATCH_LEVEL + 1, P(Mdl), P(Process));
    MmProbeAndLockProcessPages(Mdl, Process, KernelMode, IoReadAccess);
}
SIN(C4_72)
{
    PUCHAR B = NonPaged(PAGE_SIZE);
    PMDL Mdl = IoAllocateMdl(B, 64, FALSE, FALSE, NULL);
    FILE_SEGMENT_ELEMENT Segment = {.Buffer = B};
    Raise(DISPATCH_LEVEL + 1);
    Expect(0xC4, 0x72, DISPATCH_LEVEL + 1, P(Mdl), P(PsGetCurrentProcess()));
    MmProbeAndLockSelectedPages(Mdl, &Segment, KernelMode, IoReadAccess);
}
SIN(C4_B1)
{
    PMDL Mdl = LockedMdl(PAGE_SIZE);
    Expect(0xC4, 0xB1, P(Mdl), (ULONG)(USHORT)Mdl->MdlFlags, ANY);
    MmProbeAndLockProcessPages(Mdl, PsGetCurrentProcess(), KernelMode, IoReadAccess);
}
RIGHT(process_pages)
{
    KAPC_STATE State;
    KPROCESS *Process = Another(&State);
    PVOID Va = UserPage();
    PMDL Mdl = IoAllocateMdl(Va, 64, FALSE, FALSE, NULL);
    KeUnstackDetachProcess(&State);
    MmProbeAndLockProcessPages(Mdl, (PEPROCESS)Process, KernelMode, IoReadAccess);
    MmUnlockPages(Mdl);
    MmProbeAndLockProcessPages(Mdl, (PEPROCESS)Process, KernelMode, IoWriteAccess);
    MmUnlockPages(Mdl);
    IoFreeMdl(Mdl);
}

/* ---- locks ---- */
SIN(queued_lock)
{
    static KSPIN_LOCK Lock;
    KLOCK_QUEUE_HANDLE Handle;
    KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
    KeLowerIrql(PASSIVE_LEVEL);
    Expect(0xC4, 0x32, PASSIVE_LEVEL, P(&Lock), 0);
    KeReleaseInStackQueuedSpinLock(&Handle);
}
RIGHT(queued_lock)
{
    static KSPIN_LOCK Lock;
    KLOCK_QUEUE_HANDLE Handle;
    for (int Index = 0; Index < 10; Index++) {
        KeAcquireInStackQueuedSpinLock(&Lock, &Handle);
        KeReleaseInStackQueuedSpinLock(&Handle);
    }
}

CASES(Kin){"0x19/0x20", "", Sin_overrun, Right_overrun, 4}, {"0x19/0x5", "", Sin_overrun, NULL, 8},
    {"0x19/0x6", "", Sin_overrun, NULL, 9}, {"0x19/0x7", "", Sin_overrun, NULL, 10}, {"0x19/0x8", "", Sin_overrun, NULL, 11},
    {"0x19/0x9", "", Sin_overrun, NULL, 12}, {"0x19/0xA", "", Sin_overrun, NULL, 0x1008},
    {"0x19/0xD", "", Sin_overrun, NULL, 5}, {"0x19/0xE", "", Sin_overrun, NULL, 6}, {"0x19/0xF", "", Sin_overrun, NULL, 7},
    {"0x19/0x23", "", Sin_overrun, NULL, 1}, {"0x19/0x24", "", Sin_overrun, NULL, 2}, {"0x19/0x25", "", Sin_overrun, NULL, 3},
    {"0xC2/0x1", "", Sin_overrun, NULL, 12}, {"0xC2/0x2", "", Sin_overrun, NULL, 0x1002},
    {"0xC2/0x4", "", Sin_overrun, NULL, 0x100C}, {"0x19/0x3", "", Sin_written_after_free, Right_written_after_free, 0},
    {"0x1A/0x5200", "", Sin_written_after_free, NULL, 16},
    {"0x19/0x2", "verifier=special_pool", Sin_special_fill, Right_special_fill, 0},
    {"0x19/0x22", "", Sin_twice, Right_twice, 0}, {"0x19/0x22", "", Sin_never_allocated, NULL, 0},
    {"0xC2/0xB", "", Sin_quota_overrun, Right_quota_overrun, 0}, {"0xC2/0xC", "", Sin_quota_overrun, NULL, 0},
    {"0xC2/0xD", "", Sin_quota_overrun, NULL, 0}, {"0xD0", "verifier=special_pool", Sin_large_overrun, Right_large_overrun, 0},
    {"0xC2/0x0", STANDARD, Sin_zero_bytes, Right_zero_bytes, 0}, {"0xC2/0x6", "", Sin_twice, Right_twice, 1},
    {"0xC2/0x41", "", Sin_never_allocated, NULL, 0}, {"0xC2/0x43", "", Sin_no_pool, NULL, 0},
    {"0xC2/0x47", "", Sin_never_allocated, NULL, 0}, {"0xC2/0x48", "", Sin_never_allocated, NULL, 1},
    {"0x1A/0x41286", "", Sin_never_allocated, NULL, 1}, {"0xC1/0x22", STANDARD, Sin_inside_special, Right_inside, 0},
    {"0xC1/0x30", "verifier=special_pool", Sin_special_irql, Right_special_irql, 0},
    {"0xC4/0x3", STANDARD, Sin_must_succeed, NULL, 0},
    {"0xC4/0x10", "verifier=pool_tracking", Sin_never_allocated, Right_inside, 0},
    {"0xC4/0x13", "verifier=pool_tracking", Sin_twice, Right_twice, 0},
    {"0xC4/0x14", STANDARD, Sin_twice_special, Right_twice, 0},
    {"0xC4/0x15", STANDARD, Sin_timer_inside, Right_timer_inside, 0},
    {"0xC4/0x16", "verifier=pool_tracking", Sin_inside, Right_inside, 0},
    {"0xC4/0x17", STANDARD, Sin_resource_inside, Right_resource_inside, 0},
    {"0xC4/0x51", "verifier=pool_tracking", Sin_full, Right_full, 112},
    {"0xC4/0x52", "verifier=pool_tracking", Sin_full, NULL, 2048},
    {"0xC4/0x53", "verifier=pool_tracking", Sin_full, NULL, 4080}, {"0xC4/0x54", "verifier=pool_tracking", Sin_full, NULL, 64},
    {"0xC4/0x59", "verifier=pool_tracking", Sin_full, NULL, 16}, {"0xC4/0x13A", "verifier=pool_tracking", Sin_overrun, NULL, 5},
    {"0xC4/0x13B", "verifier=pool_tracking", Sin_overrun, NULL, 6},
    {"0xC4/0x13C", "verifier=pool_tracking", Sin_overrun, NULL, 7},
    {"0xC4/0x13D", "verifier=pool_tracking", Sin_overrun, NULL, 9},
    {"0xC4/0x13E", "verifier=pool_tracking", Sin_inside, Right_inside, 0}, {"0x0A#3", "", Sin_jump, Right_jump, 0},
    {"0x50/0x4", "", Sin_noncanonical, NULL, 0}, {"0x1A/0x3470", "", Sin_dead_stack, Right_dead_stack, 0},
    {"0x4E/0x2", "", Sin_other_frames, Right_other_frames, 0}, {"0x1A/0x1241", "", Sin_gone_buffer, Right_gone_buffer, 0},
    {"0x1A/0x15001", "", Sin_unsecure_elsewhere, Right_unsecure_elsewhere, 0},
    {"0x1A/0x61948", "", Sin_io_twice, Right_io_twice, 0}, {"0x1A/0x61949", "", Sin_io_twice, NULL, 0},
    {"0x1A/0x6194A", "", Sin_io_twice, NULL, 0}, {"0xC4/0x71", "", Sin_C4_71, Right_process_pages, 0},
    {"0xC4/0x72", "", Sin_C4_72, NULL, 0}, {"0xC4/0xB1", "", Sin_C4_B1, Right_process_pages, 0},
    {"0xC4/0x36", "", Sin_queued_lock, Right_queued_lock, 0}, END_CASES(Kin)
