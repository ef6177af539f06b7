/*
 * pagefile.h - page files: where pages go that leave RAM, and how they get there and back. SPDX-License-Identifier: MIT
 *
 * This is all that the rest of the memory manager knows of devices: slots, and transfers of frames to and from runs of
 * slots. A slot is the place of one page in one page file; slot 0 of a file is never given out, so that a page-file entry
 * (pte.h) is never mistaken for a demand-zero one.
 *
 *      faults, writer                  MI_SLOT            MI_PAGE_IO (the caller's memory)
 *           |  MiReserveSlots ............ |  MiReleaseSlots    |  MiReadSlots / MiWriteSlots
 *      pagefile.c  bitmaps, growth, files                  pageio.c  transfers, checksums, retries, counters
 *                                                             |  store.c: pages kept compressed in RAM before the device
 *                                                          HalSubmitIo / HalTransferIo (hal.h)
 *
 * Life of a slot:  free --MiReserveSlots--> reserved --MiWriteSlots--> written --MiReleaseSlots--> free
 *                                             ^------- write failed ------'  (reserved, or release it)
 * The writer of a cluster reserves a run, writes it, and owns the outcome page by page. A page that was changed while its
 * write was under way is still dirty: its slot is released, whatever the write says.
 *
 * IRQL and locks: every call may be made at any IRQL with no lock of rank 1-4 (mi.h) held except PfnLock or a PteLock
 * around MiReserveSlots and MiReleaseSlots, which rank below them; calls that wait or grow say so. MiWriteSlots and
 * MiReadSlots are called with no lock held.
 */
#pragma once
#include "mm/mm.h"
#include "mm/pte.h"

#define MI_MAX_PAGE_FILES 16
#define MI_IO_PAGES       64u         /* most pages of one transfer: 256 KiB */
#define MI_IO_SKIP        0xFFFFFFFFu /* in MI_PAGE_IO.Pages of a read: the slot is a gap, nobody wants it */

/* ---- slots ---- */
typedef ULONG64 MI_SLOT; /* file number << 32 | page offset in the file; neighbours differ by 1 */
#define MI_NO_SLOT ((MI_SLOT)0)
static inline MI_SLOT MiMakeSlot(ULONG File, ULONG Offset)
{
    return (MI_SLOT)File << 32 | Offset;
}
static inline ULONG MiSlotFile(MI_SLOT Slot)
{
    return (ULONG)(Slot >> 32);
}
static inline ULONG MiSlotOffset(MI_SLOT Slot)
{
    return (ULONG)Slot;
}
/* The slot that a page-file entry names, and the entry for a slot. */
static inline MI_SLOT MiSlotOfPte(MMPTE Pte)
{
    return MiMakeSlot(MiPteFileNumber(Pte), MiPteFileOffset(Pte));
}
static inline MMPTE MiPteOfSlot(MI_SLOT Slot, MI_PROT Protection)
{
    return MiPtePageFile(MiSlotFile(Slot), MiSlotOffset(Slot), Protection);
}

/* Takes up to Want slots that follow each other in one file, next to the ones given last if it can (so that pages written
 * one after the other are neighbours). Returns how many, *First the first; 0: every slot of every file is taken (see
 * MiGrowPageFiles). Any IRQL; never blocks. */
ULONG MiReserveSlots(ULONG Want, MI_SLOT *First);
/* Gives slots back; no transfer of them may be under way. Their contents are gone. Any IRQL; never blocks. */
VOID MiReleaseSlots(MI_SLOT First, ULONG Count);
/* Free slots of all files now / slots of all files now / at their maximum sizes. Any IRQL; may be a moment old. */
ULONG64 MiFreeSlotCount(VOID);
ULONG64 MiSlotCount(VOID);
ULONG64 MiMaximumSlotCount(VOID);
/* Grows the files, each within its maximum, by at least Pages slots in all. Returns by how many (0: all at their maximum,
 * or the host has no space). IRQL <= APC_LEVEL; blocks on the host. The commit limit follows (MiPageFileSizeChanged). */
ULONG64 MiGrowPageFiles(ULONG64 Pages);

/* ---- transfers ---- */
typedef struct _MI_PAGE_IO {
    /* The caller's, set before the call. The structure is the callee's from the call until Done is called or the waiting
     * call returns; it may lie on a kernel stack if the caller waits. */
    MI_SLOT Slot;                             /* the first; slots Slot .. Slot + Count - 1 of one file */
    ULONG Count;                              /* 1 .. MI_IO_PAGES */
    ULONG Wanted;                             /* read: index of the page that somebody waits for; the others are read-ahead */
    VOID (*Done)(struct _MI_PAGE_IO *PageIo); /* NULL only for MiReadSlotsAndWait and MiWriteSlotsAndWait */
    PVOID Context;                            /* the caller's */
    ULONG Pages[MI_IO_PAGES];                 /* frame numbers, locked or otherwise held by the caller; MI_IO_SKIP */

    /* The result. */
    ULONG64 Good;    /* bit n: page n was transferred whole (and its checksum is right); never set for a MI_IO_SKIP */
    NTSTATUS Status; /* STATUS_SUCCESS: all of them; else of page Wanted if that is bad, else of the first bad one:
                        STATUS_IO_DEVICE_ERROR, STATUS_DISK_FULL, STATUS_END_OF_FILE (short), STATUS_CRC_ERROR (checksum),
                        STATUS_INSUFFICIENT_RESOURCES, as the device said */

    /* pageio.c's own. */
    ULONG Flags, Next;
    volatile LONG Finished;
    HAL_IO Io;
    HAL_SPAN Spans[MI_IO_PAGES];
} MI_PAGE_IO, *PMI_PAGE_IO;

/* Writes frames Pages[0 .. Count) to the slots, asynchronously. Done is called exactly once: on a thread of the machine at
 * PASSIVE_LEVEL, or, if nothing had to go to the device (compression), before the call returns, at the caller's IRQL. It may
 * take locks, signal events and start further transfers; it neither waits nor touches pageable memory. The frames are only
 * read. IRQL <= DISPATCH_LEVEL; does not wait for the device. */
VOID MiWriteSlots(PMI_PAGE_IO PageIo);
/* Reads the slots into the frames, asynchronously; Done as for MiWriteSlots. A page whose bit in Good is clear has undefined
 * contents. If a run fails, page Wanted is tried again alone, so that a bad neighbour never costs a good page; other
 * pages of a failed run are just not Good. */
VOID MiReadSlots(PMI_PAGE_IO PageIo);
/* The same on the calling thread, back when it is done; Done is not called. Returns PageIo->Status. IRQL <= APC_LEVEL. */
NTSTATUS MiReadSlotsAndWait(PMI_PAGE_IO PageIo);
NTSTATUS MiWriteSlotsAndWait(PMI_PAGE_IO PageIo);
static inline BOOLEAN MiIsIoGood(const MI_PAGE_IO *PageIo, ULONG Index)
{
    return (BOOLEAN)(PageIo->Good >> Index & 1);
}

/* ---- page files as a whole ---- */
typedef struct _MM_PAGE_FILE_OPTIONS {
    const CHAR *Path;                   /* host's name; must be free */
    ULONG64 InitialBytes, MaximumBytes; /* rounded down to pages; maximum 0 or below initial: does not grow */
    BOOLEAN Keep;                       /* the file keeps its name; else it is gone with the process */
    BOOLEAN Checked;                    /* a checksum for each slot */
} MM_PAGE_FILE_OPTIONS;
/* Creates a page file and puts it to use. STATUS_INSUFFICIENT_RESOURCES (sixteen there are, or no RAM for its tables),
 * STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_PATH_NOT_FOUND, STATUS_ACCESS_DENIED, STATUS_DISK_FULL,
 * STATUS_INVALID_PARAMETER (smaller than 1 MiB), STATUS_IO_DEVICE_ERROR. PASSIVE_LEVEL. */
NTSTATUS MmCreatePageFile(const MM_PAGE_FILE_OPTIONS *Options, ULONG *File);
/* STATUS_DEVICE_BUSY while any slot of it is taken; else it is closed. PASSIVE_LEVEL. */
NTSTATUS MmRemovePageFile(ULONG File);
/* Closes all of them, whatever they hold; no transfer may be under way. MmShutdownSystem. */
VOID MiClosePageFiles(VOID);
/* Pages kept compressed in RAM before any goes to the device: at most this many bytes of RAM. Before the first page file. */
NTSTATUS MmEnablePageCompression(ULONG64 Bytes);

typedef struct _MM_PAGE_FILE_INFO {
    BOOLEAN InUse, Direct, Checked;
    ULONG64 Pages, MaximumPages, UsedPages, PeakPages;
    ULONG64 Reads, Writes, PagesRead, PagesWritten; /* transfers the device was asked for, pages they moved */
    ULONG64 ReadErrors, WriteErrors, CorruptPages,
        Retries; /* transfers that failed, pages with a wrong checksum, second tries */
} MM_PAGE_FILE_INFO;
VOID MmQueryPageFile(ULONG File, MM_PAGE_FILE_INFO *Info);
typedef struct _MM_STORE_INFO {
    ULONG64 Limit, Resident;                   /* bytes of RAM it may have, has */
    ULONG64 StoredPages, StoredBytes;          /* pages in it, their compressed size */
    ULONG64 In, Out, Refused, Evicted, Failed; /* pages ever: taken in, read back, incompressible or no room, written on to the
                                                  device, evictions the device refused */
} MM_STORE_INFO;
VOID MmQueryPageStore(MM_STORE_INFO *Info);
/* NULL, or the first broken invariant of bitmaps and store. */
const CHAR *MiValidatePageFiles(VOID);
