/*
 * stackswap.c - the pages of kernel stacks that leave RAM. SPDX-License-Identifier: MIT
 *
 * A kernel stack is committed resident and pinned in the TB: its thread's host touches it at any moment. While its thread waits
 * elsewhere (ke/stackswap.c) the stack is memory like paged pool:
 *
 *      low              live                               high
 *       | dead pages     | signature, frames of the thread  |
 *
 *   out   every page becomes pageable and is trimmed from the system working set. Dead pages are thrown away at once: their
 *         entries are demand-zero, their frames free, only the charge stays. Live ones are modified and go to a page file when
 *         memory is short, like any other.
 *   in    every page is made present, taken out of the working set, and the whole stack pinned again.
 *
 * Below the last frame a signature is left (the address it lies at, mixed with a constant). One that is not there when
 * the stack comes back tells that somebody wrote to a stack that was out, or that the page file gave back what it was never
 * given. Every page is checked by checksum, too, where pagefile_check= says so.
 *
 * 0x77, KERNEL_STACK_INPAGE_ERROR:
 *      0  no signature; no page was read    (value found, 0, address of the signature)
 *      1  no signature; pages were read
 *      2  the device said success and gave less than the page     (0, 0, address of the signature)
 *      a status (an error of the device; STATUS_CRC_ERROR): the same again, number of the page file, offset in it
 *
 * Rule: between out and in, and in either, no thread runs on the stack; the caller sees to that. IRQL <= APC_LEVEL, no lock.
 * Tests: tests/unit/stackswap_test.c, scripted_stackswap.c.
 */
#include "mm/mi.h"

#define MI_SIGNATURE     0x53544B5F4E544D4Dull
#define MI_BELOW_RED     256u /* bytes under the stack pointer that its thread may have used */
#define MI_PATIENT_TRIES 3000u

static ULONG_PTR MiSignatureAt(ULONG_PTR Low, ULONG_PTR StackPointer)
{
    ULONG_PTR At = (StackPointer - MI_BELOW_RED) & ~(ULONG_PTR)15;
    return At >= Low && At < StackPointer ? At : 0;
}

/* Through the window, so that nobody takes it for a touch of the stack. The page is resident; it may still be on its way to a page file
 * from an earlier time, as that of any page that is written meanwhile. */
static volatile ULONG64 *MiSignatureWord(ULONG_PTR At)
{
    PUCHAR Page = (PUCHAR)HalWindow(MiPtePage(MiReadPte(MiPteOf(At))));
    return (volatile ULONG64 *)(Page + (At & (PAGE_SIZE - 1)));
}
KI_NO_TSAN static VOID MiSign(ULONG_PTR At)
{
    *MiSignatureWord(At) = At ^ MI_SIGNATURE;
}
KI_NO_TSAN static ULONG64 MiReadSignature(ULONG_PTR At)
{
    return *MiSignatureWord(At);
}

static ULONG_PTR MiLiveFrom(ULONG_PTR Low, ULONG_PTR StackPointer)
{
    ULONG_PTR At = MiSignatureAt(Low, StackPointer);
    return (At ? At : StackPointer) & ~(ULONG_PTR)(PAGE_SIZE - 1);
}

ULONG64 MmTakeStackOut(ULONG_PTR Low, ULONG_PTR StackPointer, ULONG_PTR High)
{
    ULONG_PTR At = MiSignatureAt(Low, StackPointer), Live = MiLiveFrom(Low, StackPointer);
    SIZE_T Dead = (Live - Low) >> PAGE_SHIFT, All = (High - Low) >> PAGE_SHIFT;
    if (At) {
        MiSign(At);
    }
    MiMakePagesPageable(Low, All);
    ULONG64 Taken = MiTrimPages(Low, All);
    (VOID) MiDiscardPages(Low, Dead);
    MiCount(&MiState->Pager.StacksOut);
    MiCheckConditions();
    return Taken;
}

/* FALSE: not, for the reason in P. */
static BOOLEAN MiBringPageIn(ULONG_PTR Va, ULONG_PTR Signature, BOOLEAN *Read, ULONG_PTR *P)
{
    MI_PRESENCE Presence;
    NTSTATUS Status = STATUS_NO_MEMORY;
    for (ULONG Try = 0; Status == STATUS_NO_MEMORY && Try < MI_PATIENT_TRIES; Try++) {
        volatile LONG Never = 0;
        if (Try) { /* commitment has a frame for it: somebody is about to give one back */
            (VOID) HalWait(&Never, 0, HalQueryTime() + 10000000);
        }
        Status = MiMakePageResident(Va, &Presence);
    }
    *Read = (BOOLEAN)(*Read || Presence.ReadIn);
    if (NT_SUCCESS(Status)) {
        return TRUE;
    }
    if (Status == STATUS_IN_PAGE_ERROR && Presence.DeviceStatus == STATUS_END_OF_FILE) {
        P[0] = 2;
        P[3] = Signature;
        return FALSE;
    }
    P[0] = P[1] = (ULONG_PTR)(ULONG)(Status == STATUS_IN_PAGE_ERROR ? Presence.DeviceStatus : Status);
    P[2] = Status == STATUS_IN_PAGE_ERROR ? MiSlotFile(Presence.Wrong.Slot) : 0;
    P[3] = Status == STATUS_IN_PAGE_ERROR ? (ULONG_PTR)MiSlotOffset(Presence.Wrong.Slot) << PAGE_SHIFT : 0;
    return FALSE;
}

BOOLEAN MmBringStackIn(ULONG_PTR Low, ULONG_PTR StackPointer, ULONG_PTR High, ULONG_PTR Parameters[4])
{
    ULONG_PTR At = MiSignatureAt(Low, StackPointer);
    BOOLEAN Read = FALSE;
    for (ULONG_PTR Va = High - PAGE_SIZE; Va >= Low; Va -= PAGE_SIZE) { /* what is used first, first */
        if (!MiBringPageIn(Va, At, &Read, Parameters)) {
            return FALSE;
        }
    }
    if (At && MiReadSignature(At) != (At ^ MI_SIGNATURE)) {
        Parameters[0] = Read;
        Parameters[1] = MiReadSignature(At);
        Parameters[3] = At;
        return FALSE;
    }
    while (!NT_SUCCESS(HalFillTb((PVOID)Low, (High - Low) >> PAGE_SHIFT, HAL_FILL_PINNED))) {
        HalFlushEntireTb(); /* the bound on mappings: what is not pinned makes room */
        HalYield();
    }
    MiCount(&MiState->Pager.StacksIn);
    MiCheckConditions();
    return TRUE;
}

static const KI_STACK_SWAPPER MiStackSwapper = {MmTakeStackOut, MmBringStackIn};

VOID MiOfferStackSwapping(BOOLEAN On)
{
    __atomic_store_n(&KiStackSwapper, On ? &MiStackSwapper : NULL, __ATOMIC_RELEASE);
}
