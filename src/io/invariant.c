/*
 * invariant.c - invariant MDLs: the pages of a request's buffer do not change under it. SPDX-License-Identifier: MIT
 *
 * Driver Verifier's options 0x2000 (for the stack) and 0x4000 (for each driver), both with I/O verification (0x10):
 *
 *   write request   the buffer is what it was at the first IoCallDriver when the request is completed; with 0x4000 also at every
 *                   further IoCallDriver                                             else 0xC4/0x1010, device, IRP, buffer
 *   read request    nobody has written to the buffer when the request is passed on    else 0xC4/0x1011, device, IRP, buffer
 *
 * The device is the one that had the request when the change was found. Buffers are looked at through their frames, so that
 * neither a mapping nor an access is added; only requests with an MDL (direct I/O) are watched. The documents call it a
 * checksum: it is one of 64 bits (FNV-1a over words), so a change is missed once in 2^64.
 *
 * Places for 64 requests at a time; what finds none is not watched. Lock: the places' own, a leaf. IRQL <= DISPATCH_LEVEL.
 */
#include "io/iopp.h"

#define IOP_WATCHES 64

typedef struct _IOP_WATCH {
    PIRP Irp; /* NULL: free */
    ULONG64 Sum;
} IOP_WATCH;
static IOP_WATCH IopWatches[IOP_WATCHES];
static KI_LOCK IopWatchLock;

static ULONG64 IopSumMdl(PMDL Mdl)
{
    ULONG64 Sum = 0xcbf29ce484222325ull;
    for (; Mdl; Mdl = Mdl->Next) {
        if (!(Mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL)) || (Mdl->MdlFlags & MDL_IO_SPACE))
            continue; /* its page numbers say nothing */
        const PFN_NUMBER *Pages = MmGetMdlPfnArray(Mdl);
        ULONG Offset = Mdl->ByteOffset;
        for (ULONG Left = Mdl->ByteCount; Left; Pages++, Offset = 0) {
            ULONG Some = PAGE_SIZE - Offset < Left ? PAGE_SIZE - Offset : Left;
            const UCHAR *At = (const UCHAR *)HalWindow(*Pages) + Offset;
            ULONG Done = 0;
            for (; Done + 8 <= Some; Done += 8) {
                ULONG64 Word;
                memcpy(&Word, At + Done, 8);
                Sum = (Sum ^ Word) * 0x100000001b3ull;
                Sum ^= Sum >> 29;
            }
            for (; Done < Some; Done++) {
                Sum = (Sum ^ At[Done]) * 0x100000001b3ull;
            }
            Left -= Some;
        }
    }
    return Sum;
}

/* The sum at the first call, or FALSE: not watched. */
static BOOLEAN IopFindWatch(PIRP Irp, ULONG64 *Sum)
{
    BOOLEAN Found = FALSE;
    KiAcquireLock(&IopWatchLock);
    for (ULONG Index = 0; Index < IOP_WATCHES && !Found; Index++) {
        Found = IopWatches[Index].Irp == Irp;
        *Sum = Found ? IopWatches[Index].Sum : 0;
    }
    KiReleaseLock(&IopWatchLock);
    return Found;
}

static VOID IopSetWatch(PIRP From, PIRP To, ULONG64 Sum)
{
    KiAcquireLock(&IopWatchLock);
    for (ULONG Index = 0; Index < IOP_WATCHES; Index++) {
        if (IopWatches[Index].Irp == From) {
            IopWatches[Index].Irp = To;
            IopWatches[Index].Sum = Sum;
            break;
        }
    }
    KiReleaseLock(&IopWatchLock);
}

static PVOID IopBufferOf(PIRP Irp)
{
    PMDL Mdl = Irp->MdlAddress;
    return Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL) ? Mdl->MappedSystemVa
                                                                                   : MmGetMdlVirtualAddress(Mdl);
}

VOID IopWatchCall(PDEVICE_OBJECT DeviceObject, PIRP Irp, UCHAR MajorFunction)
{
    ULONG64 Before;
    if (Irp->MdlAddress == NULL || (MajorFunction != IRP_MJ_WRITE && MajorFunction != IRP_MJ_READ))
        return;
    if (Irp->CurrentLocation == Irp->StackCount) { /* the first call; it may not be the IRP's first life */
        IopSetWatch(Irp, NULL, 0);
        IopSetWatch(NULL, Irp, IopSumMdl(Irp->MdlAddress));
        return;
    }
    if (!IopFindWatch(Irp, &Before))
        return;
    if (MajorFunction == IRP_MJ_WRITE && !(KiVerifierFlags() & IOP_VERIFY_INVARIANT_DRIVER))
        return;
    if (IopSumMdl(Irp->MdlAddress) == Before)
        return;
    IopSetWatch(Irp, NULL, 0);
    if (MajorFunction == IRP_MJ_WRITE)
        KiStop(0xC4, "The buffer of a write request was changed by a driver that passed the request on.", NULL, 0x1010,
               (ULONG_PTR)DeviceObject, (ULONG_PTR)Irp, (ULONG_PTR)IopBufferOf(Irp));
    KiStop(0xC4, "The buffer of a read request was written to before the request was passed on.", NULL, 0x1011,
           (ULONG_PTR)DeviceObject, (ULONG_PTR)Irp, (ULONG_PTR)IopBufferOf(Irp));
}

VOID IopWatchComplete(PIRP Irp)
{
    PIO_STACK_LOCATION Location = Irp->Tail.Overlay.CurrentStackLocation;
    ULONG64 Before;
    if (!IopFindWatch(Irp, &Before))
        return;
    if (Irp->MdlAddress && Irp->CurrentLocation <= Irp->StackCount && Location->MajorFunction == IRP_MJ_WRITE &&
        IopSumMdl(Irp->MdlAddress) != Before) {
        IopSetWatch(Irp, NULL, 0);
        KiStop(0xC4, "The buffer of a write request changed while the request was under way.", NULL, 0x1010,
               (ULONG_PTR)Location->DeviceObject, (ULONG_PTR)Irp, (ULONG_PTR)IopBufferOf(Irp));
    }
}

VOID IopForgetWatches(VOID)
{
    KiAcquireLock(&IopWatchLock);
    memset(IopWatches, 0, sizeof(IopWatches));
    KiReleaseLock(&IopWatchLock);
}

VOID IopWatchEnd(PIRP Irp)
{
    IopSetWatch(Irp, NULL, 0);
}
