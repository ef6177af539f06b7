/*
 * badfree.c - a free of something that is not the exact start of a live block: which stop it is.
 * SPDX-License-Identifier: MIT
 *
 * All are BAD_POOL_CALLER, 0xC2. Microsoft's page lists several codes for one cause; the choice here is one
 * for each:
 *
 *   what was given to free                                       code     parameters 2, 3, 4
 *   a user address, or one of the first 64 KiB (NULL)            0x40     address, start of system space, 0
 *   an address of the lower half where this process has nothing  0x40     the same
 *   an address of this process that is no simulated memory       0x42     address, 0, 0
 *   an address of another kernel region (image, stack, mapping)  0x42     address, 0, 0
 *   the start of a block that is free already                    0x07     0, tag of the block, address
 *   inside a block, live or freed: nonpaged                      0x46     address, 0, 0
 *   inside a block, live or freed: paged                         0x41286  0, 0, page offset in paged pool
 *   never allocated: nonpaged                                    0x44     address, 0, 0
 *   never allocated: paged                                       0x50     address, page in pool, pool bytes
 */
#include "ex/exp.h"

/* Windows has user space in the whole lower half; here the host's memory lies there too, which stands for the kernel's own. */
static BOOLEAN ExpIsUserSpace(ULONG_PTR Address)
{
    return HalIsUserAddress(Address) || Address < 0x10000 ||
           (!HalIsSystemAddress(Address) && Address >> 47 == 0 && !HalProbeHostMemory((const VOID *)Address, 1, FALSE));
}

DECLSPEC_NORETURN VOID ExpStopBadFree(PVOID Block)
{
    ULONG_PTR Address = (ULONG_PTR)Block;
    EXP_BLOCK_INFO Info;
    MM_REGION Region;
    const EXP_MAP *Paged = &ExpState.Maps[1];
    if (ExpIsUserSpace(Address))
        KiStop(0xC2, "A user-mode address (or NULL) was given to the pool's free routine.", NULL, 0x40, Address,
               HalFacts.SystemBase, 0);
    Region = MmRegionOf(Block);
    if (Region != MmRegionNonPagedPool && Region != MmRegionPagedPool)
        KiStop(0xC2,
               HalIsSystemAddress(Address)
                   ? "An address of a kernel region other than the pools was given to the pool's free routine."
                   : "An address that was never pool (a stack, a global or a host allocation) was given to the "
                     "pool's "
                     "free routine.",
               NULL, 0x42, Address, 0, 0);
    if (ExpIsSecureBlock(Block))
        KiStop(0xC2, "A block of a secure pool was freed without its pool's handle and cookie (ExFreePool2).", Block, 0x99,
               Address, 0, 0);
    ExpDescribeBlock(Block, &Info);
    if ((Info.State == ExpBlockLive || Info.State == ExpBlockFreed) && (SIZE_T)Info.Offset < Info.Room) {
        if (Info.Offset == 0)
            KiStop(0xC2, "A pool block was freed that is free already: double free.", Block, 7, 0, Info.Tag, Address);
        if (Region == MmRegionPagedPool)
            KiStop(0xC2, "An address inside a paged pool block was freed, not the block's start.", Block, 0x41286, 0, 0,
                   (Address - Paged->Base) >> 12);
        KiStop(0xC2, "An address inside a pool block was freed, not the block's start.", Block, 0x46, Address, 0, 0);
    }
    if (Region == MmRegionPagedPool)
        KiStop(0xC2, "A paged pool address was freed that is not allocated.", Block, 0x50, Address,
               (Address - Paged->Base) >> 12, Paged->Size);
    KiStop(0xC2, "A nonpaged pool address was freed that is not allocated.", Block, 0x44, Address, 0, 0);
}
