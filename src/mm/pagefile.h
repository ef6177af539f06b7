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
 * or the host has no space). IRQL <= APC_LEVEL; blocks on the host. The commit limit follows. */
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
    NTSTATUS Status; /* read: of page Wanted, whatever became of the others; write: of the first page that is not good:
                        STATUS_SUCCESS, STATUS_IO_DEVICE_ERROR, STATUS_DISK_FULL, STATUS_END_OF_FILE (short), STATUS_CRC_ERROR
                        (checksum), STATUS_INSUFFICIENT_RESOURCES, as the device said */
    ULONG Found,
        Expected; /* STATUS_CRC_ERROR: checksum of page Wanted as it came, and as it should be (0x1A/0x3F tells both) */

    /* pageio.c's own. */
    ULONG64 Todo;          /* pages that the device has still to move */
    UCHAR First, Length;   /* the run under way */
    BOOLEAN Write, Bypass; /* Bypass: past the store */
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
/* STATUS_DEVICE_BUSY while any slot of it is taken, or commitment needs it; else it is closed. PASSIVE_LEVEL. */
NTSTATUS MmRemovePageFile(ULONG File);
/* Closes all of them and the store, whatever they hold; no transfer may be under way. MmShutdownSystem. */
VOID MiClosePageFiles(VOID);
/* What the machine's IoDone upcall is to call. */
VOID MmIoDone(HAL_IO *Io);
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
PHAL_DEVICE MmPageFileDevice(ULONG File); /* for tests that inject failures; NULL: no such file */
typedef struct _MM_STORE_INFO {
    ULONG64 Limit, Resident;                   /* bytes of RAM it may have, has */
    ULONG64 StoredPages, StoredBytes;          /* pages in it, their compressed size */
    ULONG64 In, Out, Refused, Evicted, Failed; /* pages ever: taken in, read back, incompressible or no room, written on to the
                                                  device, evictions the device refused */
} MM_STORE_INFO;
VOID MmQueryPageStore(MM_STORE_INFO *Info);
/* NULL, or the first broken invariant of bitmaps and store. */
const CHAR *MiValidatePageFiles(VOID);

/* ---- structures: pagefile.c, pageio.c and store.c ---- */
/* The slots of a file come in chunks; a run never leaves one. The arrays of checksums and places in the store are a frame
 * each (1024 x 4 bytes), reached through the window. */
#define MI_CHUNK_SLOTS 1024u
typedef struct _MI_CHUNK {
    ULONG64 Taken[MI_CHUNK_SLOTS / 64]; /* (file's Lock) bit per slot */
    ULONG Free;                         /* (file's Lock) clear bits */
    ULONG Unused;
    volatile ULONG
        *Checks; /* checksum of what was written, 0: nothing yet; whoever owns the slot's contents. NULL: unchecked */
    volatile ULONG *Places; /* (store's Lock) where the store has the page, 0: not there. NULL: no store */
} MI_CHUNK;
typedef struct _MI_PAGE_FILE {
    volatile BOOLEAN InUse;
    BOOLEAN Direct, Checked;
    PHAL_DEVICE Device;
    KI_LOCK Lock;
    ULONG Pages, Maximum;             /* (Lock) slots there are, may be; slot 0 counted */
    ULONG Free;                       /* (Lock) */
    ULONG Hint;                       /* (Lock) where the next run is looked for */
    ULONG Peak;                       /* (Lock) */
    MI_CHUNK *Chunks;                 /* for Maximum slots, through the window */
    ULONG64 *NotFull;                 /* (Lock) bit per chunk: some slot of it is free */
    PFN_NUMBER TableBase, TablePages; /* the frames of both */
    volatile ULONG64 Reads, Writes, PagesRead, PagesWritten, ReadErrors, WriteErrors, CorruptPages, Retries; /* (interlocked) */
} MI_PAGE_FILE;

#define MI_SEGMENT_PAGES 16u
#define MI_SEGMENT_BYTES (MI_SEGMENT_PAGES * PAGE_SIZE)
typedef struct _MI_PAGING {
    MI_PAGE_FILE Files[MI_MAX_PAGE_FILES];
    volatile ULONG FileCount; /* files ever made in this system: Files[0 .. FileCount) */
    volatile ULONG NextFile;  /* who is asked first for the next run */
    volatile LONG Growing;    /* a thread makes, grows or removes a file; others wait for the word */
    PFN_NUMBER DummyPage;     /* takes what nobody wants */
    struct _MI_STORE *Store;  /* store.c; NULL: none */
} MI_PAGING;

static inline MI_CHUNK *MiChunkOfSlot(MI_PAGE_FILE *File, ULONG Offset)
{
    return &File->Chunks[Offset / MI_CHUNK_SLOTS];
}
/* pagefile.c */
VOID MiFreeSlots(MI_PAGE_FILE *File, ULONG Offset, ULONG Count); /* of one chunk: MiReleaseSlots, below the store */
/* store.c: what it does for a transfer and for a release; Store is not NULL. */
/* TRUE: the page is in the store now, and nothing goes to the device. */
BOOLEAN MiStoreInsert(MI_PAGE_FILE *File, MI_SLOT Slot, PFN_NUMBER Page);
/* TRUE: the slot's page is in the store; *Good: it was put into the frame, and is right. */
BOOLEAN MiStoreFetch(MI_PAGE_FILE *File, MI_SLOT Slot, PFN_NUMBER Page, BOOLEAN *Good);
/* Forgets up to 64 slots of one chunk. Returns those (bit n: First + n) that are just on their way to the device: the store frees
 * them once they are there. */
ULONG64 MiStoreDrop(MI_PAGE_FILE *File, MI_SLOT First, ULONG Count);
VOID MiStoreClose(VOID);
/* pageio.c: what the store writes itself */
VOID MiWriteSlotsPastStore(PMI_PAGE_IO PageIo);
const CHAR *MiValidateStore(VOID);
