/*
 * block.c - block devices: files of the host, and transfers to and from them. SPDX-License-Identifier: MIT
 *
 * Owns the devices, the choice of the way transfers go (the engine), the blocking transfer, and what every engine shares. A
 * device is a file made new, given its whole size on the disk at once (so no write inside it runs out of space) and, unless it
 * is to be kept, without a name from then on. Transfers pass the host's cache by (O_DIRECT) where the file system takes that:
 * the pages in it would be the second copy of what just left RAM to save memory. A file system that refuses shows at the
 * first read, made when the device is opened; then the cache is used.
 *
 *     HalTransferIo ------------------------------> preadv / pwritev on the caller's thread
 *     HalSubmitIo ---+-- engine "queue"   ioqueue.c    io_uring, one thread that submits and completes
 *                    +-- engine "threads" iopool.c     a few threads that make blocking transfers
 *                    `-- a fault rule hits it, or it is no valid transfer: the pool, always
 *
 * The engine is chosen when the first device is opened: what HAL_MACHINE.IoEngine says, or, for AUTO, io_uring if the host
 * allows it (a container often does not) and works when tried, else threads. HalFacts.IoEngine says which.
 *
 * States of a transfer: the caller's -> (HalSubmitIo) queued -> under way -> (HalpFinishIo: Upcalls.IoDone) the caller's. A
 * transfer that moved less than asked is continued (HalpAdvance) until it is whole, fails or is at the end of the file.
 *
 * Lock: HalpOpenLock, for opening and closing; outermost. Tests: tests/hal/block.c, linux_block.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>
#include "hal/linux/block.h"
#include "hal/faultrules.h"
#include "hal/iocheck.h"

C_ASSERT(sizeof(HAL_SPAN) == sizeof(struct iovec) && offsetof(HAL_SPAN, Bytes) == offsetof(struct iovec, iov_len));

static pthread_mutex_t HalpOpenLock = PTHREAD_MUTEX_INITIALIZER;
static ULONG HalpEngine; /* HAL_IO_ENGINE_; AUTO: none runs */

NTSTATUS HalpIoStatus(LONG64 Error)
{
    switch (-Error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STATUS_DISK_FULL;
    case EEXIST:
        return STATUS_OBJECT_NAME_COLLISION;
    case ENOENT:
    case ENOTDIR:
        return STATUS_OBJECT_PATH_NOT_FOUND;
    case ENAMETOOLONG:
    case EISDIR:
        return STATUS_OBJECT_NAME_INVALID;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_ACCESS_DENIED;
    case EINVAL:
        return STATUS_INVALID_PARAMETER;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return STATUS_INSUFFICIENT_RESOURCES;
    default:
        return STATUS_IO_DEVICE_ERROR;
    }
}

/* ---- transfers ---- */
static NTSTATUS HalpCheckIo(const HAL_IO *Io)
{
    return HalpCheckTransfer(Io, HalpMachine.WindowBytes, __atomic_load_n(&Io->Device->Bytes, __ATOMIC_ACQUIRE));
}

BOOLEAN HalpAdvance(HAL_IO *Io, LONG64 Moved)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    if (HalpFailed(Moved) || Moved == 0) {
        Io->Status = Moved == 0 ? (Io->Write ? STATUS_DISK_FULL : STATUS_END_OF_FILE) : HalpIoStatus(Moved);
        return FALSE;
    }
    Io->Information += (ULONG64)Moved;
    for (ULONG64 Left = (ULONG64)Moved; Left != 0;) {
        HAL_SPAN *Span = &Io->Spans[State->First];
        ULONG64 Part = Left < Span->Bytes ? Left : Span->Bytes;
        Span->Base = (PUCHAR)Span->Base + Part;
        Span->Bytes -= Part;
        Left -= Part;
        State->First += Span->Bytes == 0;
    }
    Io->Status = STATUS_SUCCESS;
    return State->First < Io->SpanCount;
}

VOID HalpTransferPlain(HAL_IO *Io)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    LONG64 Moved;
    State->First = 0;
    Io->Information = 0;
    do {
        do {
            Moved =
                HalpSyscall(Io->Write ? SYS_pwritev : SYS_preadv, (ULONG64)Io->Device->File, (ULONG64)&Io->Spans[State->First],
                            Io->SpanCount - State->First, Io->Offset + Io->Information, 0, 0);
        } while (Moved == -EINTR || Moved == -EAGAIN);
    } while (HalpAdvance(Io, Moved));
}

VOID HalpTransferLate(HAL_IO *Io)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    if (!NT_SUCCESS(Io->Status)) {
        return;
    }
    if (State->Fault != HALP_NO_FAULT) {
        HalpTransferFaulty(Io, State->Fault, State->Value, HalpTransferPlain);
    } else {
        HalpTransferPlain(Io);
    }
}

/* What there is to know of a transfer before it begins. TRUE: it goes the ordinary way. */
static BOOLEAN HalpPrepareIo(HAL_IO *Io)
{
    HALP_IO_STATE *State = HalpIoState(Io);
    HAL_IO_FAULT Fault;
    *State = (HALP_IO_STATE){.Fault = HALP_NO_FAULT};
    Io->Information = 0;
    Io->Status = HalpCheckIo(Io);
    if (!NT_SUCCESS(Io->Status)) {
        return FALSE;
    }
    if (!HalpTakeFault(Io, &Fault)) {
        return TRUE;
    }
    State->Fault = (ULONG)Fault.Kind;
    State->Value = Fault.Value;
    State->Due = Fault.Kind == HalIoDelay ? HalQueryTime() + Fault.Value : 0;
    return FALSE;
}

VOID HalTransferIo(HAL_IO *Io)
{
    if (HalpPrepareIo(Io)) {
        HalpTransferPlain(Io);
        return;
    }
    static volatile LONG Never;
    while (HalpIoState(Io)->Due > HalQueryTime()) {
        HalWait(&Never, 0, HalpIoState(Io)->Due);
    }
    HalpTransferLate(Io);
}

VOID HalSubmitIo(HAL_IO *Io)
{
    if (HalpPrepareIo(Io) && HalpEngine == HAL_IO_ENGINE_QUEUE) {
        HalpQueueSubmit(Io);
    } else {
        HalpPoolSubmit(Io);
    }
}

VOID HalpFinishIo(HAL_IO *Io)
{
    if (HalpCurrentThread == NULL && HalpMachine.Upcalls.AttachThread) {
        HalpMachine.Upcalls.AttachThread();
    }
    HalpMachine.Upcalls.IoDone(Io);
}

VOID HalpLeaveIoThread(VOID)
{
    if (HalpCurrentThread != NULL && HalpMachine.Upcalls.DetachThread) {
        HalpMachine.Upcalls.DetachThread(HalpCurrentThread);
    }
    HalSetCurrentThread(NULL);
}

/* ---- engines ---- */
#define POOL_THREADS 4u

static NTSTATUS HalpStartEngine(VOID)
{
    ULONG Wanted = HalpMachine.IoEngine;
    NTSTATUS Status;
    if (HalpEngine != HAL_IO_ENGINE_AUTO) {
        return STATUS_SUCCESS;
    }
    HalpForgetFaults();
    Status = Wanted == HAL_IO_ENGINE_THREADS ? STATUS_NOT_SUPPORTED : HalpStartQueue();
    if (!NT_SUCCESS(Status) && Wanted == HAL_IO_ENGINE_QUEUE) {
        return STATUS_NOT_SUPPORTED;
    }
    BOOLEAN Queue = NT_SUCCESS(Status);
    Status = HalpStartPool(Queue ? 1 : POOL_THREADS);
    if (!NT_SUCCESS(Status)) {
        if (Queue) {
            HalpStopQueue();
        }
        return Status;
    }
    HalpEngine = Queue ? HAL_IO_ENGINE_QUEUE : HAL_IO_ENGINE_THREADS;
    HalFacts.IoEngine = HalpEngine;
    return STATUS_SUCCESS;
}

VOID HalpStopIo(VOID)
{
    pthread_mutex_lock(&HalpOpenLock);
    if (HalpEngine != HAL_IO_ENGINE_AUTO) {
        HalpStopPool();
        if (HalpEngine == HAL_IO_ENGINE_QUEUE) {
            HalpStopQueue();
        }
        HalpEngine = HAL_IO_ENGINE_AUTO;
    }
    pthread_mutex_unlock(&HalpOpenLock);
}

/* ---- devices ---- */
/* Gives the file its size. The host sends a signal to a process that goes beyond its own limit: ask first. */
static NTSTATUS HalpSizeFile(int File, ULONG64 Bytes)
{
    struct rlimit Limit;
    if (Bytes > 1ull << 62 ||
        (getrlimit(RLIMIT_FSIZE, &Limit) == 0 && Limit.rlim_cur != RLIM_INFINITY && Limit.rlim_cur < Bytes)) {
        return STATUS_DISK_FULL;
    }
    int Error;
    do {
        Error = posix_fallocate(File, 0, (off_t)Bytes);
    } while (Error == EINTR);
    return Error ? HalpIoStatus(-Error) : STATUS_SUCCESS;
}

/* Whether a page can be read past the host's cache: the one thing that says so for every file system. */
static BOOLEAN HalpTryDirect(int File)
{
    PVOID Page = mmap(NULL, HAL_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BOOLEAN Good = FALSE;
    if (Page == MAP_FAILED) {
        return FALSE;
    }
    int Flags = fcntl(File, F_GETFL);
    if (fcntl(File, F_SETFL, Flags | O_DIRECT) == 0) {
        Good = pread(File, Page, HAL_PAGE_SIZE, 0) == (ssize_t)HAL_PAGE_SIZE;
        if (!Good) {
            (VOID) fcntl(File, F_SETFL, Flags);
        }
    }
    munmap(Page, HAL_PAGE_SIZE);
    return Good;
}

NTSTATUS HalOpenBlockDevice(const HAL_DEVICE_OPTIONS *Options, PHAL_DEVICE *Device)
{
    int SavedErrno = errno;
    NTSTATUS Status;
    *Device = NULL;
    if (!HalpMachine.Started || HalpMachine.Upcalls.IoDone == NULL || Options->Path == NULL || Options->Bytes == 0 ||
        Options->Bytes % HAL_PAGE_SIZE != 0 || (Options->Flags & ~(HAL_DEVICE_KEEP | HAL_DEVICE_BUFFERED)) != 0) {
        return STATUS_INVALID_PARAMETER;
    }
    PHAL_DEVICE New = (PHAL_DEVICE)calloc(1, sizeof(*New));
    if (New == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    New->File = open(Options->Path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (New->File < 0) {
        Status = HalpIoStatus(-errno);
        free(New);
        errno = SavedErrno;
        return Status;
    }
    Status = HalpSizeFile(New->File, Options->Bytes);
    if (!NT_SUCCESS(Status) || !(Options->Flags & HAL_DEVICE_KEEP)) {
        unlink(Options->Path);
    }
    if (NT_SUCCESS(Status)) {
        pthread_mutex_lock(&HalpOpenLock);
        Status = HalpStartEngine();
        pthread_mutex_unlock(&HalpOpenLock);
        if (!NT_SUCCESS(Status) && (Options->Flags & HAL_DEVICE_KEEP)) {
            unlink(Options->Path);
        }
    }
    if (NT_SUCCESS(Status)) {
        New->Direct = !(Options->Flags & HAL_DEVICE_BUFFERED) && HalpTryDirect(New->File);
        New->Bytes = Options->Bytes;
        *Device = New;
    } else {
        close(New->File);
        free(New);
    }
    errno = SavedErrno;
    return Status;
}

VOID HalCloseBlockDevice(PHAL_DEVICE Device)
{
    int SavedErrno = errno;
    close(Device->File);
    free(Device);
    errno = SavedErrno;
}

NTSTATUS HalGrowBlockDevice(PHAL_DEVICE Device, ULONG64 Bytes)
{
    int SavedErrno = errno;
    NTSTATUS Status = STATUS_INVALID_PARAMETER;
    pthread_mutex_lock(&HalpOpenLock);
    if (Bytes % HAL_PAGE_SIZE == 0 && Bytes >= Device->Bytes) {
        Status = HalpSizeFile(Device->File, Bytes);
        if (NT_SUCCESS(Status)) {
            __atomic_store_n(&Device->Bytes, Bytes, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&HalpOpenLock);
    errno = SavedErrno;
    return Status;
}

BOOLEAN HalIsDeviceDirect(PHAL_DEVICE Device)
{
    return Device->Direct;
}
