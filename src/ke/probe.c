/*
 * probe.c - ProbeForRead and ProbeForWrite. SPDX-License-Identifier: MIT
 *
 * A probe checks that a range belongs to user-mode address space, by its addresses alone; whether memory is there only
 * ProbeForWrite finds out, by touching it. Both raise; neither returns a status. The order is the documented one: a length of
 * zero checks nothing, then the alignment, then the range, then (write) each page.
 *
 * Where we differ: user-mode address space ends at MmUserProbeAddress, which is chosen at start, and program memory of the host
 * above it counts as kernel memory.
 *
 * Watch it: tests/ddi/ProbeForRead.c.
 */
#include "ki.h"

static VOID Probe(ULONG_PTR Address, SIZE_T Length, ULONG Alignment)
{
    KiCurrentThread();
    if (Address & (Alignment - 1))
        ExRaiseDatatypeMisalignment();
    if (Address + Length < Address || Address + Length > MmUserProbeAddress)
        ExRaiseAccessViolation();
}

VOID ProbeForRead(const volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
    if (Length == 0)
        return;
    Probe((ULONG_PTR)Address, Length, Alignment);
}

__attribute__((no_sanitize("address", "thread"))) VOID ProbeForWrite(volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
    ULONG_PTR At = (ULONG_PTR)Address, End;
    if (Length == 0)
        return;
    Probe(At, Length, Alignment);
    End = (At + Length - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1);
    /* A locked operation, so that another writer's byte is not put back. */
    for (;;) {
        __asm__ volatile("lock; orb $0, %0" : "+m"(*(volatile UCHAR *)At));
        if ((At & ~(ULONG_PTR)(PAGE_SIZE - 1)) == End)
            break;
        At = (At & ~(ULONG_PTR)(PAGE_SIZE - 1)) + PAGE_SIZE;
    }
}
