/*
 * aligned.c - blocks aligned to more than a page. SPDX-License-Identifier: MIT
 *
 * The pools align to a page at most, as NT's do. For more, a larger block is taken and an aligned address inside it handed
 * out; a table remembers which block that address belongs to. The address always lies behind the block's own start, so that
 * no address is both an entry of the table and a pool block's start.
 *
 * The table is open addressing with linear probing, of 16 bytes an entry, in pages of its own; it doubles when half full.
 * Such blocks are few and large, so one lock (AlignedLock, taken before any lock of the pools or none) is enough, and
 * free() asks only when PreloadAlignedCount is not 0 and the address is a multiple of two pages.
 *
 * Invariant: A1 PreloadAlignedCount is the number of entries whose Address is neither 0 nor GONE.
 */
#include <errno.h>
#include "preload/preload.h"

#define GONE      1ul
#define FIRST_LOG 8u

typedef struct _ALIGNED_ENTRY {
    ULONG_PTR Address; /* 0: free, GONE: was used */
    PVOID Block;
} ALIGNED_ENTRY;

static KI_LOCK AlignedLock;
static ALIGNED_ENTRY *AlignedTable;
static ULONG AlignedLog, AlignedUsed; /* entries that are not 0 */
volatile ULONG PreloadAlignedCount;

static SIZE_T AlignedPages(ULONG Log)
{
    return ((sizeof(ALIGNED_ENTRY) << Log) + PAGE_SIZE - 1) / PAGE_SIZE;
}

static ALIGNED_ENTRY *AlignedSlot(ULONG_PTR Address, BOOLEAN Insert)
{
    ULONG Mask = (1u << AlignedLog) - 1, Index;
    ALIGNED_ENTRY *Gone = NULL;
    if (AlignedTable == NULL)
        return NULL;
    for (Index = (ULONG)((Address >> 13) * 0x9E3779B1u >> 3) & Mask;; Index = (Index + 1) & Mask) {
        ALIGNED_ENTRY *Entry = &AlignedTable[Index];
        if (Entry->Address == Address)
            return Entry;
        if (Entry->Address == GONE && Gone == NULL)
            Gone = Entry;
        if (Entry->Address == 0)
            return !Insert ? NULL : Gone != NULL ? Gone : Entry;
    }
}

static BOOLEAN AlignedGrow(VOID)
{
    ALIGNED_ENTRY *Old = AlignedTable;
    ULONG OldLog = AlignedLog, Log = FIRST_LOG, Index;
    ALIGNED_ENTRY *New;
    while (Old != NULL && 4 * PreloadAlignedCount >= 1u << Log)
        Log++;
    New = MmAllocatePages(MmRegionSystemData, AlignedPages(Log), MM_PAGES_ZERO, HighPoolPriority);
    if (New == NULL)
        return FALSE;
    AlignedTable = New;
    AlignedLog = Log;
    AlignedUsed = PreloadAlignedCount;
    for (Index = 0; Old != NULL && Index < 1u << OldLog; Index++)
        if (Old[Index].Address > GONE)
            *AlignedSlot(Old[Index].Address, TRUE) = Old[Index];
    if (Old != NULL)
        MmFreePages(Old, AlignedPages(OldLog));
    return TRUE;
}

PVOID PreloadAllocateAligned(SIZE_T Size, SIZE_T Alignment)
{
    /* One page more than it takes: the address is never the block's start. */
    SIZE_T Room = Size + Alignment;
    PUCHAR Block = ExpMallocLike(Room < PAGE_SIZE ? PAGE_SIZE : Room, 16, PRELOAD_TAG);
    ULONG_PTR Address;
    ALIGNED_ENTRY *Entry = NULL;
    if (Block == NULL)
        return NULL;
    Address = ((ULONG_PTR)Block + Alignment) & ~(Alignment - 1);
    KiAcquireLock(&AlignedLock);
    if ((AlignedTable != NULL && 2 * AlignedUsed < 1u << AlignedLog) || AlignedGrow()) {
        Entry = AlignedSlot(Address, TRUE);
        AlignedUsed += Entry->Address == 0;
        Entry->Address = Address;
        Entry->Block = Block;
        __atomic_add_fetch(&PreloadAlignedCount, 1, __ATOMIC_RELAXED);
    }
    KiReleaseLock(&AlignedLock);
    if (Entry == NULL) {
        ExpFreeLike(Block);
        errno = ENOMEM;
        return NULL;
    }
    return (PVOID)Address;
}

PVOID PreloadFindAligned(PVOID Address, BOOLEAN Forget)
{
    ALIGNED_ENTRY *Entry;
    PVOID Block = NULL;
    KiAcquireLock(&AlignedLock);
    Entry = AlignedSlot((ULONG_PTR)Address, FALSE);
    if (Entry != NULL) {
        Block = Entry->Block;
        if (Forget) {
            Entry->Address = GONE;
            __atomic_sub_fetch(&PreloadAlignedCount, 1, __ATOMIC_RELAXED);
        }
    }
    KiReleaseLock(&AlignedLock);
    return Block;
}

VOID PreloadLockAligned(BOOLEAN Lock)
{
    if (Lock)
        KiAcquireLock(&AlignedLock);
    else
        KiReleaseLock(&AlignedLock);
}
