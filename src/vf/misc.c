/*
 * misc.c - memory that is freed while something lives in it. SPDX-License-Identifier: MIT
 *
 * When a block of the pools is freed:
 *
 *   it holds                     option           stop
 *   an active timer              pool tracking    0xC7/0 (timer, block's start, its end)
 *   a queued DPC                 pool tracking    0xC7/1 (DPC, ...)
 *   a lookaside list in use      misc             0xC4/0xCC (list, block's start, bytes)
 *   an ERESOURCE in use          misc             0xC4/0xD2 (resource, ...)
 *   a lock that a thread holds   deadlock         0xC4/0x100B (deadlock.c)
 *   an IRP, not freed            io               0xC4/0x105 (IRP)
 *   a queued work item           misc             0x96 (item, its queue, the queues, its routine)
 *
 * All but the first two are known by address (ex), not looked for in the block's bytes, so nothing that merely looks like one is
 * accused. IRQL <= DISPATCH_LEVEL; no locks here.
 */
#include "vf/vfp.h"

VOID ViCheckContents(PVOID Block, SIZE_T Size, ULONG Tag, EXP_KIND Kind)
{
    ULONG Flags = KiVerifierFlags();
    PVOID Found;
    if ((Flags & VF_POOL_TRACKING) && Kind != ExpPaged) {
        if ((Found = KiFindTimer(Block, Size)) != NULL)
            KiStop(0xC7, "A pool block that holds an active timer was freed.", Block, 0, (ULONG_PTR)Found, (ULONG_PTR)Block,
                   (ULONG_PTR)Block + Size);
        if ((Found = KiFindDpc(Block, Size)) != NULL)
            KiStop(0xC7, "A pool block that holds a queued DPC was freed.", Block, 1, (ULONG_PTR)Found, (ULONG_PTR)Block,
                   (ULONG_PTR)Block + Size);
    }
    if (Flags & VF_DEADLOCK)
        ViCheckLocksFreed(Block, Size);
    if (Flags & VF_IO) {
        ExpForgetObjects(ExpObjectRemoveLock, Block, Size);
        if (IopIsLiveIrp(Block, Size, Tag))
            KiStop(0xC4, "An IRP was freed as a pool block: IoFreeIrp is what frees it.", Block, 0x105, (ULONG_PTR)Block, 0, 0);
    }
    if (!(Flags & VF_MISC))
        return;
    if ((Found = ExpFindLookaside(Block, Size)) != NULL)
        KiStop(0xC4, "A pool block that holds a lookaside list in use was freed: delete the list first.", Block, 0xCC,
               (ULONG_PTR)Found, (ULONG_PTR)Block, Size);
    if ((Found = ExpFindObject(ExpObjectResource, Block, Size)) != NULL)
        KiStop(0xC4, "A pool block that holds an ERESOURCE in use was freed: delete the resource first.", Block, 0xD2,
               (ULONG_PTR)Found, (ULONG_PTR)Block, Size);
    ExpCheckNoWorkItem(Block, Size);
}
