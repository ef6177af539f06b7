/*
 * store.c - the compression store: pages kept compressed in RAM before any goes to the device. SPDX-License-Identifier: MIT
 *
 * A page on its way out is compressed (hal.h; LZ4 on Linux). If that saves a quarter or more, and the store has room within its
 * bound, the page stays here and the write is done: coming back costs a decompression, not the device. Its slot in the page file
 * is reserved all the same, so the store can always write on what it holds, and no promise of commitment rests on how well pages
 * compress. Windows keeps such a store in a process of its own; here it is the core's memory.
 *
 *      chunk.Places[slot] --> segment number, offset          a segment: 64 KiB of frames, filled from the front
 *                                 |                           +--------+------+--------+------+-------
 *                                 `-------------------------> | entry  | data | entry  | data | ...
 *                                                             +--------+------+--------+------+-------
 *      MI_SEGMENT states:
 *        None --(frames taken)--> Empty --MiOpenSegment--> Open --(no room for a page)--> Full --MiEvict--> Evicting
 *         ^                        | ^                                                     |                   |
 *         `---MiTrimStore----------' `--------------(last entry dead, no reader)-----------+-------------------'
 *
 * Eviction is oldest first, begun when few segments are left, by whoever puts a page in, and goes on from the completions of its
 * writes: the live pages of a segment are decompressed into frames of the evictor and written in runs of neighbouring slots. Until
 * a run is on the device its pages are served from here. A slot that is released meanwhile stays taken until the write is over
 * (MiStoreDrop says so), or an old page could land in a slot that has a new owner. A write that fails leaves the pages here; the
 * next insertion tries again.
 *
 * A page that finds no room, or does not compress, goes to the device as if there were no store.
 *
 * Invariants (MiValidateStore quotes the numbers):
 *   S1  Live is the number of entries of the segment whose slot's place is the entry.
 *   S2  An Empty or None segment has no live entry; only None has no frames; Resident counts the others.
 *   S3  Resident segments never exceed the limit.
 *
 * Locks: the store's Lock (places, segments, entries' flags), below all of mi.h's; a work area's Lock (compression), above it.
 * Frames are taken and given back with neither held. Watch: MmQueryPageStore. Tests: tests/unit/store_test.c.
 */
#include "mm/mi.h"

#define MI_NO_SEGMENT   0xFFFFFFFFu
#define MI_STORED_BYTES (PAGE_SIZE / 4 * 3) /* a page that does not fit is not worth it */
#define MI_WORK_AREAS   2u
#define MI_WORK_PAGES   (HAL_CODEC_BYTES / PAGE_SIZE + 1)
#define MI_LEAST_STORE  16u /* segments: 1 MiB */

typedef enum _MI_SEGMENT_STATE {
    MiSegmentNone,
    MiSegmentEmpty,
    MiSegmentOpen,
    MiSegmentFull,
    MiSegmentEvicting
} MI_SEGMENT_STATE;
typedef struct _MI_SEGMENT {
    PUCHAR Base;      /* through the window */
    ULONG Used, Live; /* (Lock) bytes filled; entries alive */
    ULONG Next, Prev; /* (Lock) on a list */
    USHORT Pins;      /* (Lock) readers at work */
    UCHAR State;      /* (Lock) */
} MI_SEGMENT;
typedef struct _MI_ENTRY {
    MI_SLOT Slot;
    USHORT Bytes;  /* of data behind it */
    UCHAR Busy;    /* (Lock) being written to the device */
    UCHAR Dropped; /* (Lock) its slot was released while it was busy */
    ULONG Unused;
} MI_ENTRY;
C_ASSERT(sizeof(MI_ENTRY) == 16);

typedef struct _MI_SEGMENT_LIST {
    ULONG Head, Tail, Count;
} MI_SEGMENT_LIST;
/* One eviction at a time: its frames, its transfer, and where in the segment it is. */
typedef struct _MI_EVICTOR {
    BOOLEAN Busy; /* (Lock) */
    ULONG Segment, Offset;
    PFN_NUMBER Frames; /* MI_IO_PAGES of them */
    ULONG Entries[MI_IO_PAGES];
    MI_PAGE_IO PageIo;
} MI_EVICTOR;
typedef struct _MI_STORE {
    KI_LOCK Lock;
    ULONG Limit, Resident;       /* segments */
    ULONG Open;                  /* (Lock) */
    MI_SEGMENT_LIST Empty, Full; /* (Lock) Full: oldest first */
    struct {
        KI_LOCK Lock;
        PUCHAR Target, Scratch;
    } Work[MI_WORK_AREAS];
    MI_EVICTOR Evictor;
    volatile ULONG64 Pages, Bytes, In, Out, Refused, Evicted, Failed; /* (Lock) */
    PFN_NUMBER TableBase, TablePages;
    MI_SEGMENT Segments[];
} MI_STORE;

static MI_STORE *MiStore(VOID)
{
    return MiState->Paging.Store;
}
static ULONG MiEntryBytes(ULONG Bytes)
{
    return (ULONG)sizeof(MI_ENTRY) + ((Bytes + 15) & ~15u);
}
static volatile ULONG *MiPlaceOf(MI_SLOT Slot)
{
    MI_PAGE_FILE *File = &MiState->Paging.Files[MiSlotFile(Slot)];
    return &MiChunkOfSlot(File, MiSlotOffset(Slot))->Places[MiSlotOffset(Slot) % MI_CHUNK_SLOTS];
}
/* A place: segment + 1 and the entry's offset in units of 16 bytes. */
static ULONG MiMakePlace(ULONG Segment, ULONG Offset)
{
    return (Segment + 1) << 12 | Offset / 16;
}
static MI_SEGMENT *MiSegmentOfPlace(ULONG Place)
{
    return &MiStore()->Segments[(Place >> 12) - 1];
}
static MI_ENTRY *MiEntryAt(const MI_SEGMENT *Segment, ULONG Offset)
{
    return (MI_ENTRY *)(PVOID)(Segment->Base + Offset);
}
static MI_ENTRY *MiEntryOfPlace(ULONG Place)
{
    return MiEntryAt(MiSegmentOfPlace(Place), (Place & 0xFFF) * 16);
}

/* ---- lists of segments; Lock held ---- */
static VOID MiAppendSegment(MI_SEGMENT_LIST *List, ULONG Index)
{
    MI_SEGMENT *Segment = &MiStore()->Segments[Index];
    Segment->Next = MI_NO_SEGMENT;
    Segment->Prev = List->Tail;
    *(List->Tail == MI_NO_SEGMENT ? &List->Head : &MiStore()->Segments[List->Tail].Next) = Index;
    List->Tail = Index;
    List->Count++;
}
static VOID MiUnlinkSegment(MI_SEGMENT_LIST *List, ULONG Index)
{
    MI_SEGMENT *Segment = &MiStore()->Segments[Index];
    *(Segment->Prev == MI_NO_SEGMENT ? &List->Head : &MiStore()->Segments[Segment->Prev].Next) = Segment->Next;
    *(Segment->Next == MI_NO_SEGMENT ? &List->Tail : &MiStore()->Segments[Segment->Next].Prev) = Segment->Prev;
    List->Count--;
}
/* A full segment that nobody needs any more is empty. */
static VOID MiCheckEmpty(ULONG Index)
{
    MI_SEGMENT *Segment = &MiStore()->Segments[Index];
    if (Segment->State == MiSegmentFull && Segment->Live == 0 && Segment->Pins == 0) {
        MiUnlinkSegment(&MiStore()->Full, Index);
        Segment->State = MiSegmentEmpty;
        Segment->Used = 0;
        MiAppendSegment(&MiStore()->Empty, Index);
    }
}

/* ---- frames; no lock held ---- */
static PVOID MiTakeStoreFrames(PFN_NUMBER Count)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    if (!MiChargeCommitment(Count, LowPoolPriority)) {
        return NULL;
    }
    if (!MiTakeContiguous(Count, 0, MiState->HighestPage, 0, &Base, &Dirty)) {
        MiReturnCommitment(Count);
        return NULL;
    }
    return HalWindow(Base);
}
static VOID MiGiveStoreFrames(PVOID Base, PFN_NUMBER Count)
{
    if (Base != NULL) {
        MiReturnCommitment(MiReleaseFrames(HalWindowPage(Base), Count));
    }
}

/* An empty segment gets frames, if the limit allows one more and RAM has them. */
static VOID MiWidenStore(VOID)
{
    MI_STORE *Store = MiStore();
    KiAcquireLock(&Store->Lock);
    BOOLEAN Wanted = Store->Empty.Count == 0 && Store->Resident < Store->Limit;
    Store->Resident += Wanted;
    KiReleaseLock(&Store->Lock);
    if (!Wanted) {
        return;
    }
    PUCHAR Base = (PUCHAR)MiTakeStoreFrames(MI_SEGMENT_PAGES);
    KiAcquireLock(&Store->Lock);
    if (Base == NULL) {
        Store->Resident--;
    } else {
        ULONG Index = 0;
        while (Store->Segments[Index].State != MiSegmentNone) {
            Index++;
        }
        Store->Segments[Index] = (MI_SEGMENT){.Base = Base, .State = MiSegmentEmpty};
        MiAppendSegment(&Store->Empty, Index);
    }
    KiReleaseLock(&Store->Lock);
}

/* Gives one segment's frames back when more than a quarter of those there are is empty. */
static VOID MiTrimStore(VOID)
{
    MI_STORE *Store = MiStore();
    PUCHAR Base = NULL;
    KiAcquireLock(&Store->Lock);
    if (Store->Empty.Count > 4 && Store->Empty.Count > Store->Resident / 4) {
        MI_SEGMENT *Segment = &Store->Segments[Store->Empty.Tail];
        MiUnlinkSegment(&Store->Empty, Store->Empty.Tail);
        Base = Segment->Base;
        Segment->Base = NULL;
        Segment->State = MiSegmentNone;
        Store->Resident--;
    }
    KiReleaseLock(&Store->Lock);
    MiGiveStoreFrames(Base, MI_SEGMENT_PAGES);
}

/* ---- eviction ---- */
/* Collects the next run of live neighbours of the segment being evicted. FALSE: no more. Lock held. */
static BOOLEAN MiNextEviction(MI_EVICTOR *Evictor)
{
    MI_SEGMENT *Segment = &MiStore()->Segments[Evictor->Segment];
    PMI_PAGE_IO PageIo = &Evictor->PageIo;
    PageIo->Count = 0;
    while (Evictor->Offset < Segment->Used && PageIo->Count < MI_IO_PAGES) {
        MI_ENTRY *Entry = MiEntryAt(Segment, Evictor->Offset);
        if (*MiPlaceOf(Entry->Slot) == MiMakePlace(Evictor->Segment, Evictor->Offset)) {
            if (PageIo->Count != 0 && (Entry->Slot != PageIo->Slot + PageIo->Count || Entry->Slot % MI_CHUNK_SLOTS == 0)) {
                break;
            }
            PageIo->Slot = PageIo->Count == 0 ? Entry->Slot : PageIo->Slot;
            Evictor->Entries[PageIo->Count] = Evictor->Offset;
            PageIo->Pages[PageIo->Count] = (ULONG)(Evictor->Frames + PageIo->Count);
            PageIo->Count++;
            Entry->Busy = TRUE;
        }
        Evictor->Offset += MiEntryBytes(Entry->Bytes);
    }
    return PageIo->Count != 0;
}

static VOID MiEvictRun(VOID);

/* A run is on the device, or was refused. */
static VOID MiEvictionDone(PMI_PAGE_IO PageIo)
{
    MI_STORE *Store = MiStore();
    MI_EVICTOR *Evictor = &Store->Evictor;
    MI_SEGMENT *Segment = &Store->Segments[Evictor->Segment];
    ULONG64 Dropped = 0;
    KiAcquireLock(&Store->Lock);
    for (ULONG Index = 0; Index < PageIo->Count; Index++) {
        MI_ENTRY *Entry = MiEntryAt(Segment, Evictor->Entries[Index]);
        Entry->Busy = FALSE;
        if (Entry->Dropped) {
            Dropped |= 1ull << Index;
        } else if (MiIsIoGood(PageIo, Index)) {
            *MiPlaceOf(Entry->Slot) = 0;
            Segment->Live--;
            Store->Pages--;
            Store->Bytes -= Entry->Bytes;
            Store->Evicted++;
        } else {
            Store->Failed++;
        }
    }
    KiReleaseLock(&Store->Lock);
    for (; Dropped != 0; Dropped &= Dropped - 1) {
        MI_SLOT Slot = PageIo->Slot + (ULONG)__builtin_ctzll(Dropped);
        MiFreeSlots(&MiState->Paging.Files[MiSlotFile(Slot)], MiSlotOffset(Slot), 1);
    }
    MiEvictRun();
}

/* Writes the next run, or ends with the segment. */
static VOID MiEvictRun(VOID)
{
    MI_STORE *Store = MiStore();
    MI_EVICTOR *Evictor = &Store->Evictor;
    MI_SEGMENT *Segment = &Store->Segments[Evictor->Segment];
    KiAcquireLock(&Store->Lock);
    BOOLEAN More = MiNextEviction(Evictor);
    if (!More) {
        Segment->State = MiSegmentFull;
        MiAppendSegment(&Store->Full, Evictor->Segment);
        MiCheckEmpty(Evictor->Segment);
        Evictor->Busy = FALSE;
    }
    KiReleaseLock(&Store->Lock);
    if (!More) {
        return;
    }
    /* The entries are busy: they stay as they are until the write is over. */
    for (ULONG Index = 0; Index < Evictor->PageIo.Count; Index++) {
        MI_ENTRY *Entry = MiEntryAt(Segment, Evictor->Entries[Index]);
        if (!HalDecompressPage(Entry + 1, Entry->Bytes, HalWindow(Evictor->PageIo.Pages[Index]))) {
            KiStop(MEMORY_MANAGEMENT, "A page in the compression store is damaged.", NULL, 0x6001,
                   (ULONG_PTR)(LONG_PTR)STATUS_DATA_ERROR, (ULONG_PTR)Entry, 0);
        }
    }
    Evictor->PageIo.Done = MiEvictionDone;
    MiWriteSlotsPastStore(&Evictor->PageIo);
}

/* Begins to write the oldest segment to the device if room is short and nobody does already. */
static VOID MiEvictIfShort(VOID)
{
    MI_STORE *Store = MiStore();
    BOOLEAN Mine = FALSE;
    KiAcquireLock(&Store->Lock);
    ULONG Room = Store->Limit - Store->Resident + Store->Empty.Count, Low = Store->Limit / 8 > 2 ? Store->Limit / 8 : 2;
    if (Room < Low && !Store->Evictor.Busy && Store->Full.Count != 0) {
        ULONG Index = Store->Full.Head;
        MiUnlinkSegment(&Store->Full, Index);
        Store->Segments[Index].State = MiSegmentEvicting;
        Store->Evictor.Busy = Mine = TRUE;
        Store->Evictor.Segment = Index;
        Store->Evictor.Offset = 0;
    }
    KiReleaseLock(&Store->Lock);
    if (Mine) {
        MiEvictRun();
    }
}

/* ---- pages in, out, gone ---- */
/* Room for Bytes of data in the open segment, or in the next. Lock held. MI_NO_SEGMENT: none. */
static ULONG MiOpenSegment(ULONG Bytes)
{
    MI_STORE *Store = MiStore();
    if (Store->Open != MI_NO_SEGMENT) {
        if (Store->Segments[Store->Open].Used + MiEntryBytes(Bytes) <= MI_SEGMENT_BYTES) {
            return Store->Open;
        }
        ULONG Filled = Store->Open;
        Store->Open = MI_NO_SEGMENT;
        Store->Segments[Filled].State = MiSegmentFull;
        MiAppendSegment(&Store->Full, Filled);
        MiCheckEmpty(Filled);
    }
    if (Store->Empty.Count != 0) {
        Store->Open = Store->Empty.Head;
        MiUnlinkSegment(&Store->Empty, Store->Open);
        Store->Segments[Store->Open].State = MiSegmentOpen;
        Store->Segments[Store->Open].Used = 0;
    }
    return Store->Open;
}

BOOLEAN MiStoreInsert(MI_PAGE_FILE *File, MI_SLOT Slot, PFN_NUMBER Page)
{
    MI_STORE *Store = MiStore();
    ULONG Area = (ULONG)KiCurrentThread()->Id / 4 % MI_WORK_AREAS, Index = MI_NO_SEGMENT;
    UNREFERENCED_PARAMETER(File);
    KiAcquireLock(&Store->Work[Area].Lock);
    ULONG Bytes = HalCompressPage(HalWindow(Page), Store->Work[Area].Target, MI_STORED_BYTES, Store->Work[Area].Scratch);
    for (ULONG Try = 0; Bytes != 0 && Try < 2; Try++) {
        KiAcquireLock(&Store->Lock);
        Index = MiOpenSegment(Bytes);
        if (Index != MI_NO_SEGMENT) {
            MI_SEGMENT *Segment = &Store->Segments[Index];
            MI_ENTRY *Entry = MiEntryAt(Segment, Segment->Used);
            *Entry = (MI_ENTRY){.Slot = Slot, .Bytes = (USHORT)Bytes};
            memcpy(Entry + 1, Store->Work[Area].Target, Bytes);
            *MiPlaceOf(Slot) = MiMakePlace(Index, Segment->Used);
            Segment->Used += MiEntryBytes(Bytes);
            Segment->Live++;
            Store->Pages++;
            Store->Bytes += Bytes;
            Store->In++;
        }
        KiReleaseLock(&Store->Lock);
        if (Index != MI_NO_SEGMENT) {
            break;
        }
        KiReleaseLock(&Store->Work[Area].Lock);
        if (Try == 0) {
            MiWidenStore();
        }
        KiAcquireLock(&Store->Work[Area].Lock);
        /* Somebody else may have used the work area meanwhile. */
        Bytes = HalCompressPage(HalWindow(Page), Store->Work[Area].Target, MI_STORED_BYTES, Store->Work[Area].Scratch);
    }
    KiReleaseLock(&Store->Work[Area].Lock);
    if (Index == MI_NO_SEGMENT) {
        MiCount(&Store->Refused);
    }
    MiEvictIfShort();
    MiTrimStore();
    return Index != MI_NO_SEGMENT;
}

BOOLEAN MiStoreFetch(MI_PAGE_FILE *File, MI_SLOT Slot, PFN_NUMBER Page, BOOLEAN *Good)
{
    MI_STORE *Store = MiStore();
    UNREFERENCED_PARAMETER(File);
    KiAcquireLock(&Store->Lock);
    ULONG Place = *MiPlaceOf(Slot);
    if (Place == 0) {
        KiReleaseLock(&Store->Lock);
        return FALSE;
    }
    MI_SEGMENT *Segment = MiSegmentOfPlace(Place);
    MI_ENTRY *Entry = MiEntryOfPlace(Place);
    Segment->Pins++;
    Store->Out++;
    KiReleaseLock(&Store->Lock);
    *Good =
        Entry->Slot == Slot && Entry->Bytes <= MI_STORED_BYTES && HalDecompressPage(Entry + 1, Entry->Bytes, HalWindow(Page));
    KiAcquireLock(&Store->Lock);
    Segment->Pins--;
    MiCheckEmpty((ULONG)(Segment - Store->Segments));
    KiReleaseLock(&Store->Lock);
    return TRUE;
}

ULONG64 MiStoreDrop(MI_PAGE_FILE *File, MI_SLOT First, ULONG Count)
{
    MI_STORE *Store = MiStore();
    ULONG64 Kept = 0;
    UNREFERENCED_PARAMETER(File);
    KiAcquireLock(&Store->Lock);
    for (ULONG Index = 0; Index < Count; Index++) {
        volatile ULONG *Place = MiPlaceOf(First + Index);
        if (*Place == 0) {
            continue;
        }
        MI_SEGMENT *Segment = MiSegmentOfPlace(*Place);
        MI_ENTRY *Entry = MiEntryOfPlace(*Place);
        *Place = 0;
        Segment->Live--;
        Store->Pages--;
        Store->Bytes -= Entry->Bytes;
        if (Entry->Busy) {
            Entry->Dropped = TRUE;
            Kept |= 1ull << Index;
        }
        MiCheckEmpty((ULONG)(Segment - Store->Segments));
    }
    KiReleaseLock(&Store->Lock);
    return Kept;
}

/* ---- the store as a whole ---- */
NTSTATUS MmEnablePageCompression(ULONG64 Bytes)
{
    ULONG64 Limit = Bytes / MI_SEGMENT_BYTES;
    if (MiStore() != NULL || MiState->Paging.FileCount != 0 || Limit < MI_LEAST_STORE || Limit >= 1u << 20) {
        return STATUS_INVALID_PARAMETER;
    }
    PFN_NUMBER TablePages = MI_BYTES_TO_PAGES(sizeof(MI_STORE) + Limit * sizeof(MI_SEGMENT));
    MI_STORE *Store = (MI_STORE *)MiTakeStoreFrames(TablePages);
    if (Store == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    memset(Store, 0, TablePages << PAGE_SHIFT);
    Store->TablePages = TablePages;
    Store->Limit = (ULONG)Limit;
    Store->Open = Store->Empty.Head = Store->Empty.Tail = Store->Full.Head = Store->Full.Tail = MI_NO_SEGMENT;
    MiState->Paging.Store = Store;
    BOOLEAN Good = TRUE;
    for (ULONG Area = 0; Area < MI_WORK_AREAS; Area++) {
        Store->Work[Area].Scratch = (PUCHAR)MiTakeStoreFrames(MI_WORK_PAGES);
        Good = Good && Store->Work[Area].Scratch != NULL;
        Store->Work[Area].Target = Store->Work[Area].Scratch + HAL_CODEC_BYTES;
    }
    PVOID Frames = MiTakeStoreFrames(MI_IO_PAGES);
    Store->Evictor.Frames = Frames ? HalWindowPage(Frames) : 0;
    if (!Good || Frames == NULL) {
        MiStoreClose();
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    return STATUS_SUCCESS;
}

VOID MiStoreClose(VOID)
{
    MI_STORE *Store = MiStore();
    if (Store == NULL) {
        return;
    }
    for (BOOLEAN Busy = TRUE; Busy;) { /* the last write ends on a thread of the machine */
        KiAcquireLock(&Store->Lock);
        Busy = Store->Evictor.Busy;
        KiReleaseLock(&Store->Lock);
        if (Busy) {
            HalYield();
        }
    }
    for (ULONG Index = 0; Index < Store->Limit; Index++) {
        MiGiveStoreFrames(Store->Segments[Index].Base, MI_SEGMENT_PAGES);
    }
    for (ULONG Area = 0; Area < MI_WORK_AREAS; Area++) {
        MiGiveStoreFrames(Store->Work[Area].Scratch, MI_WORK_PAGES);
    }
    if (Store->Evictor.Frames != 0) {
        MiGiveStoreFrames(HalWindow(Store->Evictor.Frames), MI_IO_PAGES);
    }
    MiState->Paging.Store = NULL;
    MiGiveStoreFrames(Store, Store->TablePages);
}

VOID MmQueryPageStore(MM_STORE_INFO *Info)
{
    MI_STORE *Store = MiStore();
    memset(Info, 0, sizeof(*Info));
    if (Store == NULL) {
        return;
    }
    KiAcquireLock(&Store->Lock);
    *Info = (MM_STORE_INFO){.Limit = (ULONG64)Store->Limit * MI_SEGMENT_BYTES,
                            .Resident = (ULONG64)Store->Resident * MI_SEGMENT_BYTES,
                            .StoredPages = Store->Pages,
                            .StoredBytes = Store->Bytes,
                            .In = Store->In,
                            .Out = Store->Out,
                            .Refused = __atomic_load_n(&Store->Refused, __ATOMIC_RELAXED),
                            .Evicted = Store->Evicted,
                            .Failed = Store->Failed};
    KiReleaseLock(&Store->Lock);
}

const CHAR *MiValidateStore(VOID)
{
    MI_STORE *Store = MiStore();
    const CHAR *Broken = NULL;
    ULONG Resident = 0;
    if (Store == NULL) {
        return NULL;
    }
    KiAcquireLock(&Store->Lock);
    for (ULONG Index = 0; Index < Store->Limit && Broken == NULL; Index++) {
        MI_SEGMENT *Segment = &Store->Segments[Index];
        ULONG Live = 0;
        Resident += Segment->State != MiSegmentNone;
        if ((Segment->State == MiSegmentNone) != (Segment->Base == NULL) ||
            (Segment->State <= MiSegmentEmpty && Segment->Live != 0)) {
            Broken = "S2: a segment of the store without pages has some, or one without frames";
        }
        for (ULONG Offset = 0; Segment->State > MiSegmentEmpty && Offset < Segment->Used;) {
            MI_ENTRY *Entry = MiEntryAt(Segment, Offset);
            Live += *MiPlaceOf(Entry->Slot) == MiMakePlace(Index, Offset);
            Offset += MiEntryBytes(Entry->Bytes);
        }
        if (Live != Segment->Live) {
            Broken = "S1: a segment of the store has another number of live pages than it counts";
        }
    }
    if (Broken == NULL && (Resident > Store->Resident || Store->Resident > Store->Limit)) {
        Broken = "S3: the store has more segments than it counts or may have";
    }
    KiReleaseLock(&Store->Lock);
    return Broken;
}
