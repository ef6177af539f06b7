/*
 * blame.c - whether a bad access at raised IRQL is a driver's (0xD1) or this library's own (0x0A).
 * SPDX-License-Identifier: MIT
 *
 * Windows tells the two by the module the instruction lies in. Here a PE image's code is told by its address; everything else
 * (a source driver and the program around it) is a driver's, unless the instruction was compiled from this library's own
 * sources, or lies in its shared object (symbols.c). Without debug information in a static link nothing can be told to be the
 * library's: then it is 0xD1.
 *
 * Called in the trap path of an access that is about to stop the system, never otherwise, so that it may be slow. libdw wants
 * stack: where the thread has little left, the question is not asked.
 */
#include "host.h"
#include <dlfcn.h>

#define BLAME_STACK 0x10000u /* what a look-up needs at most, with room to spare */

BOOLEAN HostIsDriverCode(ULONG_PTR Rip)
{
    HOST_SYMBOL Symbol;
    ULONG_PTR Low, High;
    HalQueryStack(&Low, &High);
    if ((ULONG_PTR)__builtin_frame_address(0) - Low < BLAME_STACK) {
        return TRUE;
    }
    return HostSymbolize(Rip, TRUE, &Symbol, 1) == 0 || !Symbol.Library;
}

PVOID HostImageOf(PVOID Address)
{
    Dl_info Info;
    return dladdr(Address, &Info) ? Info.dli_fbase : NULL;
}
