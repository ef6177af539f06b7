/*
 * deadlock.c - cases of the detection matrix: locks used against their order or their kind, with deadlock detection on, and the page that
 * cannot be read back (0x7A). SPDX-License-Identifier: MIT
 */
#include "matrix.h"
#include "../lock_kit.h"
#include "ldr/ldr.h"
#include "mm/mi.h"
#include <unistd.h>

#define WATCHED   "verifier=deadlock"
#define STATUS(x) ((uint64_t)(ULONG)(x))

static KSPIN_LOCK A, B;
static FAST_MUTEX F;
static KEVENT Held, MayEnd;
static PKTHREAD Owner;

static void Initialize(void)
{
    KeInitializeSpinLock(&A);
    KeInitializeSpinLock(&B);
    ExInitializeFastMutex(&F);
    KeInitializeEvent(&Held, SynchronizationEvent, FALSE);
    KeInitializeEvent(&MayEnd, SynchronizationEvent, FALSE);
}
static void Wait(PVOID Object)
{
    (void)KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, NULL);
}
static HANDLE Spawn(PKSTART_ROUTINE Routine)
{
    HANDLE Thread = NULL;
    (void)PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Routine, NULL);
    return Thread;
}
static void Join(HANDLE Thread)
{
    ZwWaitForSingleObject(Thread, FALSE, NULL);
    ZwClose(Thread);
}

SIN(C4_1000)
{
    KIRQL Old;
    Initialize();
    Expect(0xC4, 0x1000, P(&A), 0, 0);
    KeAcquireSpinLock(&A, &Old);
    KeAcquireSpinLockAtDpcLevel(&A);
}
SIN(C4_1001)
{
    Initialize();
    Two(&A, &B);
    Expect(0xC4, 0x1001, P(&A), 0, 0);
    Two(&B, &A);
}
SIN(C4_1002)
{
    KIRQL Old;
    PKSPIN_LOCK Lock = (PKSPIN_LOCK)NonPaged(64);
    RtlFillMemory(Lock, 64, 0xA5);
    Expect(0xC4, 0x1002, P(Lock), 0, 0);
    KeAcquireSpinLock(Lock, &Old);
}
SIN(C4_1003)
{
    KIRQL Old;
    Initialize();
    KeAcquireSpinLock(&A, &Old);
    KeAcquireSpinLockAtDpcLevel(&B);
    Expect(0xC4, 0x1003, P(&A), P(&B), 0);
    KeReleaseSpinLock(&A, Old);
}
static VOID HoldF(PVOID Context)
{
    (void)Context;
    Owner = KeGetCurrentThread();
    ExAcquireFastMutex(&F);
    KeSetEvent(&Held, IO_NO_INCREMENT, FALSE);
    Wait(&MayEnd);
    ExReleaseFastMutex(&F);
}
SIN(C4_1004)
{
    Initialize();
    (void)Spawn(HoldF);
    Wait(&Held);
    KIRQL Old = Raise(APC_LEVEL); /* as a holder is */
    (void)Old;
    Expect(0xC4, 0x1004, P(&F), P(Owner), P(KeGetCurrentThread()));
    ExReleaseFastMutex(&F);
}
SIN(C4_1005)
{
    KIRQL Old;
    Initialize();
    KeAcquireSpinLock(&A, &Old);
    Expect(0xC4, 0x1005, P(&A), 0, 0);
    KeInitializeSpinLock(&A);
}
SIN(C4_1007)
{
    Initialize();
    Raise(DISPATCH_LEVEL);
    Expect(0xC4, 0x1007, P(&A), 0, 0);
    KeReleaseSpinLockFromDpcLevel(&A);
}
SIN(C4_1008)
{
    KLOCK_QUEUE_HANDLE Handle;
    Initialize();
    Two(&A, &B);
    Expect(0xC4, 0x1008, P(&A), 0, 0);
    KeAcquireInStackQueuedSpinLock(&A, &Handle);
}
SIN(C4_1009)
{
    KLOCK_QUEUE_HANDLE Handle;
    Initialize();
    KeAcquireInStackQueuedSpinLock(&A, &Handle);
    Expect(0xC4, 0x1009, P(&A), 0, 0);
    KeReleaseSpinLock(&A, Handle.OldIrql);
}
static VOID EndHolding(PVOID Context)
{
    (void)Context;
    Expect(0xC4, 0x100A, P(KeGetCurrentThread()), P(&F), 0);
    ExAcquireFastMutex(&F);
}
SIN(C4_100A)
{
    Initialize();
    Join(Spawn(EndHolding));
}
SIN(C4_100B)
{
    PUCHAR Block = NonPaged(256);
    ExInitializeFastMutex((PFAST_MUTEX)(Block + 64));
    ExAcquireFastMutex((PFAST_MUTEX)(Block + 64));
    Expect(0xC4, 0x100B, P(Block) + 64, P(KeGetCurrentThread()), 0);
    ExFreePool(Block);
}
/* Every lock by its own routines, in one order, released by its thread, freed when nobody holds it. */
RIGHT(locks)
{
    KIRQL Old;
    KLOCK_QUEUE_HANDLE Handle;
    KSPIN_LOCK Queued;
    PUCHAR Block = NonPaged(256);
    Initialize();
    KeInitializeSpinLock(&Queued);
    Two(&A, &B);
    KeAcquireSpinLock(&A, &Old);
    KeAcquireSpinLockAtDpcLevel(&B);
    KeReleaseSpinLockFromDpcLevel(&A); /* out of order, and still at DISPATCH_LEVEL */
    KeReleaseSpinLock(&B, Old);
    KeAcquireInStackQueuedSpinLock(&Queued, &Handle);
    KeReleaseInStackQueuedSpinLock(&Handle);
    KeInitializeSpinLock(&Queued);
    HANDLE Thread = Spawn(HoldF);
    Wait(&Held);
    KeSetEvent(&MayEnd, IO_NO_INCREMENT, FALSE);
    ExAcquireFastMutex(&F);
    ExReleaseFastMutex(&F);
    Join(Thread);
    ExInitializeFastMutex((PFAST_MUTEX)(Block + 64));
    ExAcquireFastMutex((PFAST_MUTEX)(Block + 64));
    ExReleaseFastMutex((PFAST_MUTEX)(Block + 64));
    ExFreePool(Block);
}

/* ---- 0x7A: what cannot be read back ---- */
static PUCHAR PagedOut(void)
{
    PUCHAR Bytes = Paged(64 * PAGE_SIZE);
    for (ULONG Index = 0; Index < 64 * PAGE_SIZE; Index += 8)
        *(ULONG64 *)(Bytes + Index) = Index * 0x9E3779B97F4A7C15ull;
    MmEmptyAllWorkingSets(TRUE);
    return Bytes;
}
SIN(7A)
{
    PUCHAR Bytes = PagedOut();
    PMMPTE Pte = MiPteOf(P(Bytes));
    ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, -1, 0, 0, 0);
    Expect(0x7A, P(Pte), STATUS(STATUS_IO_DEVICE_ERROR), MiReadPte(Pte).Long, P(Bytes));
    Sink = *(volatile UCHAR *)Bytes;
}
SIN(1A_3F)
{
    PUCHAR Bytes = PagedOut();
    ntmm_inject_disk_fault(NTMM_DISK_CORRUPT_READ, -1, 0, 0, 0);
    Expect(0x1A, 0x3F, ANY, ANY, ANY);
    for (ULONG Page = 0; Page < 64; Page++) /* one of them is the first of a read */
        Sink = *(volatile UCHAR *)(Bytes + Page * PAGE_SIZE);
}
RIGHT(7A) /* an error that passes, and one that is guarded */
{
    PUCHAR Bytes = PagedOut();
    PMDL Mdl = IoAllocateMdl(Bytes, PAGE_SIZE, FALSE, FALSE, NULL);
    ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, -1, 0, 0, 0);
    __try {
        MmProbeAndLockPages(Mdl, KernelMode, IoReadAccess);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Sink = 1;
    }
    ntmm_clear_disk_faults();
    Sink = *(volatile UCHAR *)Bytes;
}
/* Lock type 1: a section of a driver, to be locked. */
static PUCHAR LoadPageable(void)
{
    CHAR Error[LDR_ERROR_CHARS] = "";
    BOOLEAN Entered;
    LDR_IMAGE *Image;
    if (LdrLoadImage(NTMM_SYS "/pageable.sys", NULL, 0, &Image, Error, sizeof Error) != STATUS_SUCCESS ||
        LdrStartDriver(Image, &Entered, Error, sizeof Error) != STATUS_SUCCESS) {
        fprintf(stderr, "pageable.sys: %s\n", Error);
        exit(3);
    }
    return LdrFindExport(Image, "PagedBytes");
}
SIN(7A_1)
{
    PUCHAR Bytes = LoadPageable();
    ULONG_PTR Page = P(Bytes) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    MmEmptyAllWorkingSets(TRUE);
    ntmm_inject_disk_fault(NTMM_DISK_READ_ERROR, -1, 0, 0, 0);
    Expect(0x7A, 1, STATUS(STATUS_IO_DEVICE_ERROR), P(PsGetCurrentProcess()), Page);
    (void)MmLockPagableDataSection(Bytes);
}
RIGHT(7A_1)
{
    PUCHAR Bytes = LoadPageable();
    MmEmptyAllWorkingSets(TRUE);
    PVOID Handle = MmLockPagableDataSection(Bytes);
    Sink = *(volatile UCHAR *)Bytes;
    MmUnlockPagableImageSection(Handle);
}

#define ON_DISK "pagefile_size=16M"
CASES(Deadlock){"0xC4/0x1000", WATCHED, Sin_C4_1000, Right_locks, 0}, {"0xC4/0x1001", WATCHED, Sin_C4_1001, Right_locks, 0},
    {"0xC4/0x1002", WATCHED, Sin_C4_1002, Right_locks, 0}, {"0xC4/0x1003", WATCHED, Sin_C4_1003, Right_locks, 0},
    {"0xC4/0x1004", WATCHED, Sin_C4_1004, Right_locks, 0}, {"0xC4/0x1005", WATCHED, Sin_C4_1005, Right_locks, 0},
    {"0xC4/0x1007", WATCHED, Sin_C4_1007, Right_locks, 0}, {"0xC4/0x1008", WATCHED, Sin_C4_1008, Right_locks, 0},
    {"0xC4/0x1009", WATCHED, Sin_C4_1009, Right_locks, 0}, {"0xC4/0x100A", WATCHED, Sin_C4_100A, Right_locks, 0},
    {"0xC4/0x100B", WATCHED, Sin_C4_100B, Right_locks, 0}, {"0x7A/0x1", ON_DISK, Sin_7A_1, Right_7A_1, 0},
    {"0x7A", ON_DISK, Sin_7A, Right_7A, 0}, {"0x1A/0x3F", ON_DISK ",pagefile_check=1", Sin_1A_3F, Right_7A, 0},
    END_CASES(Deadlock)
