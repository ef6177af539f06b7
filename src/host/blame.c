/*
 * blame.c - whether a bad access at raised IRQL is a driver's (0xD1) or this library's own (0x0A).
 * SPDX-License-Identifier: MIT
 *
 * Windows tells the two by the module the instruction lies in. Here a PE image's code is told by its address; everything else
 * (a source driver and the program around it) is a driver's, unless the instruction was compiled from this library's own
 * sources, or lies in its shared object (symbols.c). Without debug information in a static link nothing can be told to be the
 * library's: then it is 0xD1.
 *
 * Called in the trap path of an access that is about to stop the system, never otherwise, so that it may be slow. libdw wants more
 * stack than a kernel's is large (it keeps a unit's lines there while it sorts them): it gets one of its own.
 */
#include "host.h"
#include <dlfcn.h>

typedef struct _BLAME {
    ULONG_PTR Rip;
    BOOLEAN Driver;
} BLAME;

static VOID LookUp(PVOID Context)
{
    BLAME *Blame = Context;
    HOST_SYMBOL Symbol;
    Blame->Driver = HostSymbolize(Blame->Rip, TRUE, &Symbol, 1) == 0 || !Symbol.Library;
}

BOOLEAN HostIsDriverCode(ULONG_PTR Rip)
{
    BLAME Blame = {Rip, TRUE};
    HostCallOnOwnStack(LookUp, &Blame);
    return Blame.Driver;
}

PVOID HostImageOf(PVOID Address)
{
    Dl_info Info;
    return dladdr(Address, &Info) ? Info.dli_fbase : NULL;
}
